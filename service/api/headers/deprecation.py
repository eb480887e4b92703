"""The end of version 1: Deprecation (RFC 9745) and Sunset (RFC 8594)."""

from datetime import UTC, datetime
from email.utils import format_datetime

from service.model.resource import ITEMS
from service.settings import Versions


def deprecation_fields(versions: Versions) -> list[tuple[str, str]]:
    """The fields of answers in version 1. Raises ValueError for an invalid date."""
    fields = []
    deprecated = _moment(versions.v1_deprecated_at)
    sunset = _moment(versions.v1_sunset_at)
    if deprecated is not None:
        fields.append(("deprecation", f"@{int(deprecated.timestamp())}"))
    if sunset is not None:
        fields.append(("sunset", format_datetime(sunset, usegmt=True)))
    if deprecated is not None and sunset is not None and sunset < deprecated:
        raise ValueError("v1_sunset_at is before v1_deprecated_at")
    return fields


def is_about_items(path: str) -> bool:
    """Whether the path is one of ``items``, which exist in several versions."""
    return ITEMS.match(path) is not None


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
