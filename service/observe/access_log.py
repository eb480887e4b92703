"""Which requests are worth a line, and what it says: nothing that a client sent as text.

A share of all is drawn by lot; answers of class 5xx and slow ones are always told, up to a
bound, since in an outage they are all there is.
"""

import hashlib
import logging
import random
import time

from service.observe.lots import passed_over

_logger = logging.getLogger("hotshelf.access")

# Lines a second beyond those that were drawn.
_ALWAYS_PER_S = 100


class AccessLog:
    """One worker's. ``share`` of all requests is logged, from 0 to 1; what takes ``slow_s`` or
    longer, and errors, always. ``salt`` makes the callers' hashes meaningless elsewhere.

    The hot path counts ``left`` down by itself and calls ``write`` where it falls below 0.
    """

    def __init__(
        self, share: float, slow_s: float, salt: bytes, rng: random.Random | None = None
    ) -> None:
        self._share = share
        self.slow_s = slow_s
        self._salt = salt
        self._rng = rng or random.SystemRandom()
        self._second, self._told, self._left_out = 0, 0, 0
        self.left = self._next()

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
        """An answer was sent; ``caller`` is whose limit it counted against, or empty."""
        self.left -= 1
        drawn = self.left < 0
        if drawn:
            self.left = self._next()
        if not drawn and not (self.must(status, took_s) and self._may()):
            return
        said: dict[str, object] = {
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
            said["left_out"], self._left_out = self._left_out, 0
        level = logging.ERROR if status >= 500 else logging.INFO
        # Made here and not by the logger, which would look through the stack for the caller.
        record = logging.LogRecord(_logger.name, level, "", 0, "request", (), None)
        record.fields = {name: value for name, value in said.items() if value != ""}
        if _logger.isEnabledFor(level):
            _logger.handle(record)

    def must(self, status: int, took_s: float) -> bool:
        """Whether it is told without being drawn."""
        return status >= 500 or took_s >= self.slow_s

    def hashed(self, caller: str) -> str:
        """The same for the same caller, as long as the salt is."""
        text = caller.encode(errors="surrogatepass")
        return hashlib.blake2b(text, key=self._salt, digest_size=8).hexdigest()

    def _may(self) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._told = second, 0
        self._told += 1
        self._left_out += self._told > _ALWAYS_PER_S
        return self._told <= _ALWAYS_PER_S

    def _next(self) -> int:
        return passed_over(self._share, self._rng)
