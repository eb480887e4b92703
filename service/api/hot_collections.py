"""The collections that the hot path of GET serves, with what it needs of each at hand."""

from typing import Final, Self

from service import native
from service.items.collections import Collections
from service.items.visibility import is_plain
from service.model.caller import satisfying
from service.model.collection import Collection
from service.model.resource import DEFAULT_VERSION, ITEMS, OTHERS
from service.observe.access_log import AccessLog
from service.observe.hot_answers import HotAnswers

# By whether the collection is ``items``: of canonical URLs; others take the general path.
_ROUTES: Final = {
    is_items: f"{(ITEMS if is_items else OTHERS).path(DEFAULT_VERSION)}/{{id}}"
    for is_items in (True, False)
}


class HotCollection(native.HotCollection):
    """What the hot path needs of a collection.

    ``is_plain``: what is found in it can be sent to all who may read, without another look at the
    definition; false from when that has changed.
    """

    __slots__ = ("collection", "kind", "scope")
    answers: HotAnswers

    def __new__(cls, collection: Collection, answers: HotAnswers) -> Self:
        scopes = satisfying(collection.resource.read_scope)
        return super().__new__(cls, collection.number, is_plain(collection), scopes, answers)

    def __init__(self, collection: Collection, _: HotAnswers) -> None:
        self.collection = collection
        self.kind = collection.resource
        self.scope = collection.resource.read_scope


class HotCollections:
    """``by_prefix`` are those of ``collections`` as they are now, without public ones.

    Public ones are read without credentials, which the general path does. ``log`` gets the answers.
    """

    def __init__(self, collections: Collections, log: AccessLog) -> None:
        self._collections = collections
        self._answers = {is_items: HotAnswers(route, log) for is_items, route in _ROUTES.items()}
        self.by_prefix: dict[str, HotCollection] = {}
        self._learn()
        collections.on_change.append(self._learn)

    def _learn(self) -> None:
        # Reads under way look again at collections that have changed.
        known = self.by_prefix.copy()
        self.by_prefix.clear()
        for prefix, collection in self._collections.hot_prefix.items():
            before = known.pop(prefix, None)
            if before is not None and before.collection is collection:
                self.by_prefix[prefix] = before
                continue
            if before is not None:
                before.is_plain = False
            if not collection.is_public:
                answers = self._answers[not collection.number]
                self.by_prefix[prefix] = HotCollection(collection, answers)
        for dropped in known.values():
            dropped.is_plain = False
