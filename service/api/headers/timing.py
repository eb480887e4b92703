"""Server-Timing (W3C) and Cache-Status (RFC 9211).

Sent on ``Prefer: timing``, or with every answer if ``http.timing`` is ``always``.
"""

from collections.abc import Mapping

# Cache-Status of a read of one item, by its source.
_STATUS = {
    "near": "hotshelf; hit; detail=near",
    "redis": "hotshelf; hit; detail=redis",
    "replica": "hotshelf; fwd=miss; detail=replica",
    "primary": "hotshelf; fwd=miss; detail=primary",
}


def timing_fields(
    spent_s: Mapping[str, float], took_s: float, source: str
) -> list[tuple[str, str]]:
    """Both fields. ``spent_s`` are parts of ``took_s``, all in seconds; ``source`` is what
    answered a read of one item, or empty.
    """
    parts = [f"{name};dur={seconds * 1000:.3f}" for name, seconds in spent_s.items()]
    parts.append(f"total;dur={took_s * 1000:.3f}")
    fields = [("server-timing", ", ".join(parts))]
    if source in _STATUS:
        fields.append(("cache-status", _STATUS[source]))
    return fields
