"""The results of a batch in each version: one per operation, in their order.

In version 1 a result is the item or the problem. In version 2 it is the JSON:API document that the
operation alone would get, and the whole is a JSON:API document with ``meta`` only.
"""

from collections.abc import Sequence

import orjson

from service import native
from service.api.represent import v2, v2_errors
from service.api.represent.problem import TABLE, problem_document
from service.items.coherence import Stored
from service.model.change import Outcome
from service.model.entity_tag import entity_tag
from service.model.errors import HotshelfError
from service.model.item import Item
from service.model.item_json import render
from service.model.resource import ITEMS, Resource

_STATUS = {"created": 201, "changed": 200, "deleted": 204}


class BatchResults:
    """Renders results in one version. ``base_url`` prefixes the paths of locations and links."""

    def __init__(self, version: int, base_url: str) -> None:
        self._version = version
        self._base_url = base_url

    def body(self, results: Sequence[bytes]) -> bytes:
        """The answer to the whole batch."""
        text = b'{"results":[%b]}' % b",".join(results)
        return text if self._version == 1 else b'{"jsonapi":{"version":"1.1"},"meta":%b}' % text

    def of_read(self, item_id: bytes, stored: Stored, kind: Resource) -> bytes:
        """The result of a read."""
        entry = stored.entry
        tag = orjson.dumps(entity_tag(entry))
        if self._version == 1:
            return b'{"status":200,"etag":%b,"item":%b}' % (tag, entry.body)
        document = v2.render(entry.item(item_id), self._base_url, kind)
        return b'{"status":200,"etag":%b,"document":%b}' % (tag, document)

    def of_write(self, outcome: Outcome, kind: Resource = ITEMS) -> bytes:
        """The result of a write."""
        if outcome.error is not None:
            return self.of_error(outcome.error)
        result: dict[str, object] = {"status": _STATUS[outcome.kind]}
        if outcome.replayed:
            result["replayed"] = True
        if outcome.item is not None:
            result |= self._item(outcome.item, kind, is_new=outcome.kind == "created")
        return orjson.dumps(result)

    def of_error(self, error: HotshelfError) -> bytes:
        """An operation that was refused or failed."""
        row = TABLE[type(error)]
        result: dict[str, object] = {"status": row.status}
        if error.replayed:
            result["replayed"] = True
        if error.retry_after_s is not None:
            result["retry_after"] = error.retry_after_s
        if self._version == 1:
            return orjson.dumps(result | {"problem": problem_document(error)})
        document = v2_errors.error_document(error, row.status, row.title, {})
        return orjson.dumps(result | {"document": orjson.Fragment(document)})

    def _item(self, item: Item, kind: Resource, *, is_new: bool) -> dict[str, object]:
        found: dict[str, object] = {"etag": entity_tag(item)}
        if self._version == 1:
            name, text = "item", render(item)
        else:
            name, text = "document", v2.render(item, self._base_url, kind)
        if is_new:
            path = kind.path(self._version, native.format_id(item.id))
            found["location"] = self._base_url + path
        return found | {name: orjson.Fragment(text)}
