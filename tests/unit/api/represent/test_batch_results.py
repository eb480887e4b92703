"""Results of a batch beside the answers that their operations alone would get."""

from datetime import UTC, datetime

import orjson
import pytest

from service.access.peer import TrustedProxies
from service.api.headers.media_types import OFFERED
from service.api.public_url import PublicUrl
from service.api.represent.batch_results import BatchResults
from service.api.represent.item_reply import ItemReplies
from service.model.change import Outcome
from service.model.item import Item

NOW = datetime(2026, 1, 2, 3, 4, 5, 6, UTC)
ITEM = Item(bytes(range(16)), "alice", 1, NOW, NOW, b'{"n": 1}')


@pytest.mark.parametrize("public_url", ["", "https://shelf.example"])
@pytest.mark.parametrize("version", [1, 2])
def test_a_new_item_has_one_location_however_it_was_created(version: int, public_url: str) -> None:
    result = orjson.loads(BatchResults(version, public_url).of_write(Outcome("created", ITEM)))
    replies = ItemReplies("no-cache", PublicUrl(public_url, TrustedProxies(())))
    alone = replies.whole(ITEM, OFFERED[version][0], public_url, status=201)
    assert result["location"] == dict(alone.headers)["location"]
    assert result["location"].startswith(f"{public_url}/v{version}/")
