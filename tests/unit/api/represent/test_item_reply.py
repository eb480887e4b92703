"""The representations of an item that a worker keeps: made once, and few at a time."""

from datetime import UTC, datetime

import orjson
import pytest

from service.access.peer import TrustedProxies
from service.api.headers.media_types import OFFERED
from service.api.public_url import PublicUrl
from service.api.represent.item_reply import ItemReplies
from service.cache.layout import ItemEntry, encode_item
from service.items.coherence import Stored
from service.model.entity_tag import NO_TAGS
from service.model.item import Item
from service.model.item_json import render
from service.model.resource import ITEMS

CODINGS = ("", "gzip", "br", "zstd")
WAYS = [(wanted, coding) for each in OFFERED.values() for wanted in each for coding in CODINGS]


@pytest.fixture
def replies() -> ItemReplies:
    return ItemReplies("private, no-cache", PublicUrl("http://here", TrustedProxies(())))


@pytest.fixture
def stored() -> Stored:
    now = datetime(2026, 1, 2, 3, 4, 5, 6, UTC)
    data = orjson.dumps({"text": "a long text " * 300})
    item = Item(bytes(range(16)), "alice", 1, now, now, data)
    body = render(item)
    return Stored(ItemEntry(encode_item(1, item, body, len(body) - len(data) - 1, 0)))


def test_a_form_is_made_once(replies: ItemReplies, stored: Stored) -> None:
    wanted = OFFERED[1][0]
    first, again = (replies.of_stored(stored, wanted, "br", NO_TAGS) for _ in range(2))
    assert first.body is again.body


def test_readers_of_all_representations_do_not_make_a_worker_large(
    replies: ItemReplies, stored: Stored
) -> None:
    alone = {way: replies.of_stored(Stored(stored.entry), *way, NO_TAGS) for way in WAYS}
    for _ in range(2):
        for way in WAYS:
            assert replies.of_stored(stored, *way, NO_TAGS) == alone[way]
            assert _kept_bytes(stored) <= 4 * len(stored.entry.body)


def test_representations_with_a_proxys_links_are_not_kept(
    replies: ItemReplies, stored: Stored
) -> None:
    wanted = OFFERED[2][0]
    for n in range(3):
        base = f"https://{n}.example"
        body = replies.of_stored_at(stored, wanted, "", NO_TAGS, base, ITEMS).body
        assert orjson.loads(body)["data"]["links"]["self"].startswith(f"{base}/v2/items/")
    assert not stored.representations
    kept = replies.of_stored_at(stored, wanted, "", NO_TAGS, "http://here", ITEMS)
    assert orjson.loads(kept.body)["data"]["links"]["self"].startswith("http://here/v2/items/")
    assert kept == replies.of_stored(stored, wanted, "", NO_TAGS)


def _kept_bytes(stored: Stored) -> int:
    return sum(len(prepared.body) for prepared in stored.representations.values())
