"""One requested change, before the item's state is known."""

import time
from typing import NamedTuple

from service import native
from service.items.visibility import is_hidden
from service.model.caller import Caller
from service.model.change import Claim, Decide, Outcome
from service.model.collection import ITEMS_BY_DEFAULT, Collection
from service.model.errors import ItemNotFound
from service.store.write.request import ItemRequest, Write


class IdempotencyKey(NamedTuple):
    """A key as sent by the client, and the fingerprint of its request."""

    key: str
    fingerprint: bytes


class Planned(NamedTuple):
    """One change. ``item_id`` None is a create, whose id is minted; it always has a key.

    ``collection`` is the item's, with the definition that the change was checked with.

    ``data`` is the payload of a creation or replacement; ``patch_bytes`` the size of a patch.
    """

    item_id: bytes | None
    decide: Decide
    key: IdempotencyKey | None
    data: bytes = b""
    patch_bytes: int = 0
    collection: Collection = ITEMS_BY_DEFAULT


def shown(caller: Caller, planned: Planned, outcome: Outcome) -> Outcome:
    """The outcome. Raises ItemNotFound for a replay of another's item that is hidden by now."""
    item = outcome.item
    if outcome.replayed and item is not None and is_hidden(planned.collection, caller, item):
        raise ItemNotFound
    return outcome


def write_of(caller: Caller, planned: Planned, buckets: int) -> Write:
    """The change with its claim to the idempotency key.

    The id of a create is minted in the bucket that the key determines, so that all requests with
    the key find the same record.
    """
    item_id, decide, key, data, patch_bytes, collection = planned
    if item_id is None:
        assert key is not None
        bucket = native.hash_bytes([caller.subject.encode(), key.key.encode()]) % buckets
        item_id, scope = native.mint_in_bucket(time.time_ns() // 1_000_000, bucket, buckets), b""
    else:
        bucket, scope = native.bucket_of(item_id, buckets), item_id
    claim = None
    if key is not None:
        claim = Claim(bucket, caller.subject, scope, key.key, key.fingerprint)
    checked = (collection.number, collection.version)
    return Write(ItemRequest(item_id, bucket, claim, data, patch_bytes, *checked), decide)
