"""Near cache hits by native code and by Python: the same answers, counts and leases.

Python's way is the reference. Each case runs in two worlds that differ in nothing else, under a
clock of their own; what native code passes on is noted.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fixtures.hit_world import IDS, LARGE, OWNED, TOKENS, Lines, World, stored


async def warm(is_native: bool) -> World:
    """Item 0 was asked for twice, so that the next such request is a plain hit."""
    world = World(is_native)
    for token in TOKENS:
        world.verify(token)
    world.lend("bob", 100)
    world.store(0)
    await world.ask()
    await world.ask()
    world.seen.clear()
    return world


async def drain(world: World) -> None:
    world.is_draining = True
    await world.ask()


async def own(world: World) -> None:
    world.collections.hot_prefix = {"/v1/products/": OWNED}
    world.collections.on_change[0]()
    world.store(0, collection=1)
    await world.ask(path="products")


def _then(change: Callable[[World], object], **asked: Any) -> Callable[[World], Awaitable[None]]:
    async def run(world: World) -> None:
        change(world)
        await world.ask(**asked)

    return run


def _nothing(_: World) -> None:
    pass


def _tag(text: str) -> Lines:
    return (("if-none-match", text),)


TAG = f'"1-{stored(IDS[0], 1).entry.tag[1]}"'
PLAIN = {
    "again": _then(_nothing),
    "its tag": _then(_nothing, more=_tag(TAG)),
    "seen as new": _then(lambda w: w.last_seen.note(IDS[0], 1, 1)),
    "slow": _then(lambda w: setattr(w.log, "slow_s", 0.0)),
}
NOT_PLAIN = {
    "expired": _then(lambda w: setattr(w, "now", w.now + 5)),
    "invalidated": _then(lambda w: w.near.invalidate(IDS[0])),
    "lost": _then(lambda w: w.near.subscribed(False)),
    "behind": _then(lambda w: w.last_seen.note(IDS[0], 1, 2)),
    "an owner": _then(lambda w: w.lend("alice", 100), token="alice"),
    "token expired": _then(lambda w: w.verify("bob", 0.0)),
    "token forgotten": _then(lambda w: w.tokens.forget()),
    "no scope": _then(lambda w: w.lend("writer", 100), token="writer"),
    "another rate": _then(lambda w: w.lend("rated", 10), token="rated"),
    "no lease": _then(lambda w: setattr(w.leases.by_key["account:subject:bob"], "left", 0)),
    "a renewal": _then(lambda w: setattr(w.leases.by_key["account:subject:bob"], "renew_at", 0.0)),
    "little left": _then(lambda w: w.lend("bob", 10, 100.0)),
    "a new section": _then(_nothing, more=(("accept", "application/json"),)),
    "another tag": _then(_nothing, more=_tag('"1-00000000"')),
    "a list of tags": _then(_nothing, more=_tag(f'"a", {TAG}')),
    "two tag fields": _then(_nothing, more=_tag(TAG) * 2),
    "not ASCII": _then(_nothing, more=(("x-request-id", "1"),)),
    "a query": _then(_nothing, path="items?a=b"),
    "another collection": _then(_nothing, path="products"),
    "no such collection": _then(_nothing, path="things"),
    "large": _then(lambda w: w.store(0, 2, text=LARGE)),
    "not prepared": _then(lambda w: w.store(0, 2)),
    "draining": drain,
    "its owners' alone": own,
}


def _both(
    happens: Callable[[World], Awaitable[None]],
    start: Callable[[bool], Awaitable[World]] = warm,
) -> tuple[World, World]:
    """Python's world, and the native one, in which the same happened."""

    async def run(is_native: bool) -> tuple[World, list[object]]:
        world = await start(is_native)
        world.get.in_python = 0
        await happens(world)
        return world, world.happened()

    (reference, wanted), (world, found) = (asyncio.run(run(way)) for way in (False, True))
    assert found == wanted
    return reference, world


@pytest.mark.parametrize("case", PLAIN)
def test_plain_hits_need_no_python(case: str) -> None:
    reference, world = _both(PLAIN[case])
    assert [said[0] for said in world.seen] == ["empty" if case == "its tag" else "sent"]
    assert (reference.get.in_python, world.get.in_python) == (1, 0)


@pytest.mark.parametrize("case", NOT_PLAIN)
def test_all_else_is_left_to_python(case: str) -> None:
    _, world = _both(NOT_PLAIN[case])
    assert world.seen
    assert world.get.in_python == 1


NUMBERS = st.integers(0, 2)
STEPS = st.one_of(
    st.tuples(
        st.just("ask"),
        NUMBERS,
        st.sampled_from(sorted(TOKENS)),
        st.sampled_from([(), (), (("accept-encoding", "gzip"),), _tag(TAG), _tag("*")]),
        st.sampled_from(["items", "items", "items", "products"]),
    ),
    st.tuples(
        st.just("store"), NUMBERS, st.integers(1, 3), st.integers(0, 1), st.sampled_from("xy")
    ),
    st.tuples(st.just("store"), NUMBERS, st.just(2), st.just(0), st.just(LARGE)),
    st.tuples(st.just("invalidate"), NUMBERS),
    st.tuples(st.just("note"), NUMBERS, st.integers(1, 3)),
    st.tuples(st.just("wait"), st.sampled_from([0.01, 0.5, 2.0, 6.0])),
    st.tuples(
        st.just("verify"), st.sampled_from(sorted(TOKENS)), st.sampled_from([0.0, 3.0, 99.0])
    ),
    st.tuples(
        st.just("lend"), st.sampled_from(sorted(TOKENS)), st.integers(0, 8), st.integers(0, 999)
    ),
    st.tuples(st.just("subscribed"), st.booleans()),
    st.tuples(st.just("drain"), st.booleans()),
)


async def _step(world: World, name: str, *given: Any) -> None:
    match name:
        case "ask":
            await world.ask(*given)
        case "invalidate":
            world.near.invalidate(IDS[given[0]])
        case "note":
            world.last_seen.note(IDS[given[0]], 1, given[1])
        case "wait":
            world.now += given[0]
        case "subscribed":
            world.near.subscribed(given[0])
        case "drain":
            world.is_draining = given[0]
        case _:
            getattr(world, name)(*given)


@given(st.lists(STEPS, min_size=10, max_size=60))
def test_whatever_happens_both_do_the_same(steps: list[tuple[Any, ...]]) -> None:
    async def happens(world: World) -> None:
        for step in steps:
            await _step(world, *step)

    _both(happens)
