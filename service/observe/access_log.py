"""The access log: which requests get a line, and its fields, none of which is text of a client's.

A random share is sampled; answers of class 5xx and slow ones are always logged, up to a bound,
because in an outage every request is one of these.
"""

import hashlib
import logging
import random
import time

from service import native
from service.observe.sampling import skips_before_next

_logger = logging.getLogger("hotshelf.access")

# Lines a second beyond the sampled ones.
_ALWAYS_PER_S = 100


class AccessLog(native.Skips):
    """The access log of one worker. ``share`` of all requests is logged, from 0 to 1; requests of
    ``slow_s`` or longer, and errors, always. ``salt`` makes the callers' hashes unusable elsewhere.

    The hot path counts ``left`` down by itself and calls ``observe`` only where it reaches 0.
    """

    def __init__(
        self, share: float, slow_s: float, salt: bytes, rng: random.Random | None = None
    ) -> None:
        self._share = share
        self.slow_s = slow_s
        self._salt = salt
        self._rng = rng or random.SystemRandom()
        self._second, self._unsampled, self._left_out = 0, 0, 0
        self.left = self._next_skips()

    def observe(
        self,
        request_id: str,
        trace_id: str,
        method: str,
        route: str,
        status: int,
        took_s: float,
        source: str,
        caller: str,
        sent_bytes: int,
    ) -> None:
        """An answer was sent; ``caller`` is the account it counted against, or empty."""
        self.left -= 1
        sampled = self.left < 0
        if sampled:
            self.left = self._next_skips()
        if not sampled and not (self.always_logs(status, took_s) and self._within_bound()):
            return
        values: dict[str, object] = {
            "request_id": request_id,
            "trace_id": trace_id,
            "method": method,
            "route": route,
            "status": status,
            "duration_ms": round(took_s * 1000, 3),
            "source": source,
            "caller": self.hashed(caller) if caller else "",
            "bytes": sent_bytes,
        }
        if self._left_out:
            values["left_out"], self._left_out = self._left_out, 0
        level = logging.ERROR if status >= 500 else logging.INFO
        # Made here, because the logger would walk the stack to find the calling line.
        record = logging.LogRecord(_logger.name, level, "", 0, "request", (), None)
        record.fields = {name: value for name, value in values.items() if value != ""}
        if _logger.isEnabledFor(level):
            _logger.handle(record)

    def always_logs(self, status: int, took_s: float) -> bool:
        """Whether the request is logged even if it is not sampled."""
        return status >= 500 or took_s >= self.slow_s

    def hashed(self, caller: str) -> str:
        """A hash of the caller, stable for the same salt."""
        text = caller.encode(errors="surrogatepass")
        return hashlib.blake2b(text, key=self._salt, digest_size=8).hexdigest()

    def _within_bound(self) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._unsampled = second, 0
        self._unsampled += 1
        self._left_out += self._unsampled > _ALWAYS_PER_S
        return self._unsampled <= _ALWAYS_PER_S

    def _next_skips(self) -> int:
        return skips_before_next(self._share, self._rng)
