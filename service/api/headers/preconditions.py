"""Preconditions (RFC 9110 section 13) and idempotency keys."""

import re
from collections.abc import Mapping

from service.api.headers.header_lists import field
from service.items.decision import Conditions
from service.model.bounds import FIELD_MAX_BYTES, bounded
from service.model.entity_tag import TagCondition, parse_tag_condition
from service.model.errors import IdempotencyKeyMissing, InvalidHeader, Location

_KEY_HEADERS = ("idempotency-key", "x-idempotency-key", "x-idempotent-id")
KEY = re.compile(r"[!-~]{1,255}")


def conditions_of(headers: Mapping[str, list[str]]) -> Conditions:
    """If-Match and If-None-Match. Raises InvalidHeader for a malformed one, HeaderTooLarge."""
    return Conditions(_tags(headers, "if-match"), _tags(headers, "if-none-match"))


def idempotency_key(headers: Mapping[str, list[str]]) -> str | None:
    """The key under any of its three names, outer quotes removed once; None if not sent.

    Raises InvalidHeader for a malformed key and for two different ones.
    """
    sent = [(name, value) for name in _KEY_HEADERS if name in headers for value in headers[name]]
    keys = [parse_key(value, name) for name, value in sent]
    if len(keys) > 1 and len(set(keys)) > 1:
        raise InvalidHeader(
            "Two different idempotency keys were sent.",
            *(Location("differs", header=name) for name in _KEY_HEADERS if name in headers),
        )
    return keys[0] if keys else None


@bounded(FIELD_MAX_BYTES)
def parse_key(value: str, name: str) -> str:
    """The key in a value of the field ``name``. Raises InvalidHeader."""
    key = value.strip(" \t") if len(value) <= FIELD_MAX_BYTES else ""
    if len(key) >= 2 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if not KEY.fullmatch(key):
        raise InvalidHeader(
            "An idempotency key has 1 to 255 visible ASCII characters.",
            Location("is not an idempotency key", header=name),
        )
    return key


def required_idempotency_key(headers: Mapping[str, list[str]]) -> str:
    """Like ``idempotency_key``, but raises IdempotencyKeyMissing where there is none."""
    key = idempotency_key(headers)
    if key is None:
        raise IdempotencyKeyMissing(
            "Send an Idempotency-Key, so that a retry cannot create the item twice.",
            Location("is missing", header="idempotency-key"),
        )
    return key


def _tags(headers: Mapping[str, list[str]], name: str) -> TagCondition | None:
    value = field(headers, name)
    if value is None:
        return None
    try:
        return parse_tag_condition(value)
    except ValueError:
        raise InvalidHeader(
            "Entity tags are written in double quotes and separated by commas.",
            Location("is not a list of entity tags", header=name),
        ) from None
