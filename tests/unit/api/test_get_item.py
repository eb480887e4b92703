"""The hot path of GET: order of steps, cached sections, requests for the general path."""

import asyncio
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest

from service.api.get_item import GetItem
from service.api.headers import sections
from service.api.headers.media_types import OFFERED, Representation
from service.api.request import Admitted, Reply
from service.model.caller import Caller
from service.model.collection import items_collection
from service.model.errors import DatabaseTimeout, ItemNotFound, RateLimited
from service.model.rate import Admission, Rate
from service.observe.access_log import AccessLog

PATH = f"/v1/items/{'0' * 26}"
PLAIN = (("host", "shop"), ("authorization", "Bearer a"))
CALLER = Caller("alice", frozenset({"items:read"}))
YES, NO = Admission(True, Rate(), 5, 1, 0), Admission(False, Rate(), 0, 7, 7)
STORED = SimpleNamespace(source="redis", entry=SimpleNamespace(collection=0))

T = TypeVar("T")
Section = tuple[tuple[str, str], ...]


class Headers(list[tuple[str, str]]):
    """As Granian's: ``odd`` more fields have values that are not ASCII."""

    odd = 0

    def items(self) -> list[tuple[str, str]]:
        return list(self)

    def __len__(self) -> int:
        return super().__len__() + self.odd


class World:
    """A GetItem with fake collaborators; ``steps`` are the calls to them, in order.

    ``lease`` and ``near`` are available at once, ``limiter`` and ``remote`` are the later results.
    """

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.sent: list[tuple[int, dict[str, str], bytes]] = []
        self.general: list[Admitted | None] = []
        self.errors: list[tuple[Exception, Admission | None]] = []
        self.caller: Caller | None = CALLER
        self.lease: Admission | None = YES
        self.limiter = YES
        self.near: object = STORED
        self.remote: object = STORED
        self.log = AccessLog(0.0, 60.0, b"salt")
        self.hot_prefix = {"/v1/items/": items_collection()}
        self.on_change: list[object] = []

    # The gate

    def remembered(self, token: str) -> Caller | None:
        return self._step("caller", self.caller if token else None)

    def recall(self, fields: dict[str, str]) -> Caller | None:
        return self._step("recall", self.caller if "x-api-key" in fields else None)

    def spend(self, _: Caller) -> Admission | None:
        return self._step("lease", self.lease)

    async def admission(self, _: Caller) -> Admission:
        return self._step("limiter", self.limiter)

    # What is visible

    async def checked(self, *asked: object) -> object:
        return asked[-1]

    # The reader

    def get_near(self, *_: object) -> object:
        return self._step("near", self.near)

    async def get_remote(self, *_: object) -> object:
        if isinstance(self.remote, Exception):
            raise self.remote
        return self._step("remote", self.remote)

    async def get_where(self, *_: object) -> tuple[object, str]:
        near = self.get_near()
        return (near, "near") if near else (await self.get_remote(), "redis")

    # The representations

    def of_stored(self, _: object, wanted: Representation, coding: str, *__: object) -> Reply:
        return Reply(200, [("coding", coding)], wanted.media_type.encode())

    # The exchange and the general path

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.sent.append((status, dict(headers), body))

    async def answer(self, _: object, __: object, admitted: Admitted | None) -> None:
        self.general.append(admitted)

    def send_error(
        self,
        _: object,
        __: object,
        error: Exception,
        admission: Admission | None,
        began_s: float | None = None,
    ) -> None:
        assert began_s is not None
        self.errors.append((error, admission))

    def _step(self, name: str, result: T) -> T:
        self.steps.append(name)
        return result

    def run(self, *asked: Section, odd: int = 0, path: str = PATH, query: str = "") -> None:
        """One GET after the other with these header sections; the last has ``odd`` fields."""

        async def run() -> None:
            world: Any = self
            get = GetItem(
                world, world, world, world, world, lambda: False, self.log, native_hits=False
            )
            for number, section in enumerate(asked):
                headers = Headers(section)
                headers.odd = odd if number == len(asked) - 1 else 0
                scope: Any = SimpleNamespace(path=path, query_string=query, headers=headers)
                await get.hot(scope, world, world)

        asyncio.run(run())


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()

    parse = sections.Sections.parse

    def noted(self: sections.Sections, *section: Any) -> Any:
        world.steps.append("parse")
        return parse(self, *section)

    monkeypatch.setattr(sections.Sections, "parse", noted)
    return world


def test_a_section_is_parsed_once_and_after_credentials_and_limit(world: World) -> None:
    world.run(PLAIN, PLAIN, PLAIN)
    again = ["caller", "lease", "near"]
    assert world.steps == ["caller", "lease", "parse", "near", *again, *again]
    assert [(status, body) for status, _, body in world.sent] == [(200, b"application/json")] * 3
    assert world.sent[0][1]["ratelimit"] == '"default";r=5;t=1'
    world.lease = YES._replace(is_low=False)
    world.run(PLAIN)
    assert list(world.sent[-1][1]) == ["coding"]


def test_a_miss_looks_up_caller_lease_and_near_cache_once(world: World) -> None:
    world.near = None
    world.run(PLAIN, PLAIN)
    assert world.steps[-4:] == ["caller", "lease", "near", "remote"]
    assert [status for status, _, _ in world.sent] == [200, 200]


def test_a_lease_that_is_used_up_sends_to_the_limiter_before_anything_is_read(
    world: World,
) -> None:
    world.run(PLAIN)
    world.lease, world.near = None, None
    world.run(PLAIN)
    # A section that is new then takes the general path, where nothing was counted yet.
    assert world.general == [None]
    world.steps.clear()

    async def run() -> None:
        shared: Any = world
        get = GetItem(
            shared, shared, shared, shared, shared, lambda: True, world.log, native_hits=False
        )
        scope: Any = SimpleNamespace(path=PATH, query_string="", headers=Headers(PLAIN))
        world.lease = YES
        await get.hot(scope, shared, shared)
        world.lease = None
        world.steps.clear()
        await get.hot(scope, shared, shared)
        assert world.steps == ["caller", "lease", "limiter", "near", "remote"]
        world.limiter = NO
        await get.hot(scope, shared, shared)

    asyncio.run(run())
    assert world.sent[-1][1]["connection"] == "close"
    [(refused, admission)] = world.errors
    assert isinstance(refused, RateLimited)
    assert (refused.retry_after_s, admission) == (7, NO)


def test_strangers_cost_no_parsing(world: World) -> None:
    world.caller = None
    world.run((*PLAIN, ("accept", "a/b")), (*PLAIN, ("if-none-match", '"' * 4000)))
    assert world.steps == ["caller", "recall"] * 2
    assert world.general == [None, None]


def test_a_counted_request_is_not_counted_again(world: World) -> None:
    world.run((*PLAIN, ("accept", "text/html")))
    world.run((*PLAIN, ("if-none-match", "no tag")))
    assert world.general == [Admitted(CALLER, YES)] * 2


@pytest.mark.parametrize(
    ("remote", "error"),
    [(None, ItemNotFound), (DatabaseTimeout("late", retry_after_s=1), DatabaseTimeout)],
)
def test_errors_are_answered_as_counted(
    world: World, remote: object, error: type[Exception]
) -> None:
    world.near, world.remote = None, remote
    world.run(PLAIN)
    [(answered, admission)] = world.errors
    assert isinstance(answered, error)
    assert (admission, world.sent) == (YES, [])


def test_an_api_key_is_looked_up_among_the_fields(world: World) -> None:
    world.run((("host", "shop"), ("x-api-key", "k")), (*PLAIN, ("x-api-key", "k")))
    assert [status for status, _, _ in world.sent] == [200, 200]


def test_tags_of_one_item_are_read_and_not_kept(world: World) -> None:
    section = (*PLAIN, ("if-none-match", '"1-00000000"'))
    world.run(section, section)
    assert world.steps.count("parse") == len(world.sent) == 2


def test_cached_sections_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sections, "_MAX_SECTIONS", 3)
    several = [(*PLAIN, ("user-agent", str(n))) for n in range(4)]
    world.run(*several, *several[::-1])
    assert world.steps.count("parse") == 7, "only the last was still there"


def test_a_value_that_is_not_ascii_beside_known_fields_is_noticed(world: World) -> None:
    world.run(PLAIN, PLAIN, odd=1)
    assert (len(world.sent), world.general) == (1, [None])


@pytest.mark.parametrize(
    "section",
    [
        PLAIN[1:],
        (*PLAIN, ("host", "shop")),
        (*PLAIN, ("origin", "https://shop.example")),
        (*PLAIN, ("content-length", "3")),
        (*PLAIN, ("user-agent", "x" * sections._MAX_CHARACTERS)),
        tuple((f"x-{n}", "") for n in range(100)),
    ],
    ids=["no host", "twice", "CORS", "a body", "long", "many"],
)
def test_sections_that_need_more_go_on_unseen(world: World, section: Section) -> None:
    world.run(section, section)
    assert (world.general, world.steps) == ([None, None], [])


@pytest.mark.parametrize(
    ("path", "query"),
    [
        (PATH[:-1], ""),
        (f"{PATH}0", ""),
        (PATH.replace("v1", "v2"), ""),
        (PATH.removeprefix("/v1"), ""),
        (PATH, "fields=a"),
    ],
)
def test_other_urls_go_on_unseen(world: World, path: str, query: str) -> None:
    world.run(PLAIN, path=path, query=query)
    assert (world.general, world.steps) == ([None], [])


def test_malformed_ids_and_missing_scopes_take_the_general_path_uncounted(world: World) -> None:
    world.run(PLAIN, path=f"/v1/items/{'u' * 26}")
    world.caller = Caller("bob", frozenset({"items:write"}))
    world.run(PLAIN)
    assert (world.general, world.steps) == ([None, None], ["caller", "caller"])


def test_offered_types_are_chosen_from(world: World) -> None:
    for offered in OFFERED[1]:
        world.run((*PLAIN, ("accept", offered.media_type)))
    assert [body.decode() for _, _, body in world.sent] == [o.media_type for o in OFFERED[1]]
