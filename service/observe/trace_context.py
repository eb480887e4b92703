"""Which trace a request is part of (W3C Trace Context, ``traceparent``)."""

import re
import secrets
from typing import NamedTuple

from service.model.bounds import bounded

# Later versions may append fields, version 00 may not (section 3.2.4).
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
# A bound for later versions: nine times the length of version 00.
_MAX_BYTES = 512


class TraceContext(NamedTuple):
    """The caller's trace, the span that this service is in it, and the caller's own span."""

    trace_id: str
    span_id: str
    flags: str
    parent_id: str = ""

    @property
    def traceparent(self) -> str:
        """The field value that names this service's span."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


@bounded(_MAX_BYTES)
def continued(traceparent: str) -> TraceContext | None:
    """A new span in the trace of that field value; None if the value is invalid."""
    if len(traceparent) > _MAX_BYTES:
        return None
    match = _TRACEPARENT.fullmatch(traceparent.strip(" \t"))
    if match is None:
        return None
    version, trace_id, parent_id, flags, rest = match.groups()
    if version == "ff" or (version == "00" and rest is not None):
        return None
    if not trace_id.strip("0") or not parent_id.strip("0"):
        return None
    # Only "sampled" is passed on, because version 00 defines no other flag.
    return TraceContext(trace_id, secrets.token_hex(8), f"{int(flags, 16) & 1:02x}", parent_id)
