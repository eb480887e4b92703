"""The worker's memory of API keys, by a clock and a database that we hold in our hands."""

import asyncio

import pytest

from service.access import api_keys
from service.access.api_keys import OUTAGE_S, ApiKeys, new_key, secret_hash
from service.model.caller import Caller
from service.model.errors import (
    AccessUnavailable,
    InvalidApiKey,
)
from service.model.rate import Rate
from tests.fixtures.api_keys import REFRESH_S, ApiKeyWorld


def test_concurrent_requests_share_one_look_up() -> None:
    async def scenario() -> None:
        world = ApiKeyWorld()
        key = world.add(quota=5, window_s=10)
        callers = await asyncio.gather(*(world.keys.caller(key) for _ in range(20)))
        assert world.look_ups == 1
        account = f"key:{world.stored[secret_hash(key)].id}"
        expected = Caller("olivia", frozenset({"items:read"}), account, Rate(5, 10))
        assert set(callers) == {expected}
        assert world.keys.recall(key) == expected

    asyncio.run(scenario())


@pytest.mark.parametrize("key", ["", "x", "hsk_", "hsk_" + "a" * 44, "hsk_" + "ä" * 43, "\0"])
def test_a_malformed_key_costs_no_look_up(key: str) -> None:
    world = ApiKeyWorld()
    with pytest.raises(InvalidApiKey):
        world.keys.recall(key)
    assert world.look_ups == 0


def test_a_revoked_key_ends_in_time_whether_it_is_used_or_not() -> None:
    async def scenario() -> None:
        world = ApiKeyWorld()
        busy, idle = world.add(), world.add()
        await world.keys.caller(busy)
        await world.keys.caller(idle)
        world.stored.clear()
        world.now_s += REFRESH_S / 2
        assert await world.keys.caller(busy)  # starts the look-up that finds nothing
        await world.settle()
        with pytest.raises(InvalidApiKey):
            await world.keys.caller(busy)
        world.now_s += REFRESH_S / 2
        with pytest.raises(InvalidApiKey):
            await world.keys.caller(idle)

    asyncio.run(scenario())


def test_while_the_database_is_down_known_keys_go_on_and_unknown_ones_are_503() -> None:
    async def scenario() -> None:
        world = ApiKeyWorld()
        known, unknown = world.add(), world.add()
        await world.keys.caller(known)
        world.up = False
        for _ in range(100):
            world.now_s += 10
            assert (await world.keys.caller(known)).subject == "olivia"
            with pytest.raises(AccessUnavailable):
                await world.keys.caller(unknown)

        world.look_ups = 0
        for _ in range(100):
            world.now_s += OUTAGE_S / 200
            assert world.keys.recall(known) is not None  # no request waits in an outage
            await world.settle()
        assert world.look_ups <= 4

        world.up = True
        world.stored.pop(secret_hash(known))
        world.now_s += OUTAGE_S
        with pytest.raises(InvalidApiKey):
            await world.keys.caller(known)
        assert (await world.keys.caller(unknown)).subject == "olivia"

    asyncio.run(scenario())


def test_guesses_are_remembered_but_push_no_good_key_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_keys, "_MAX_ENTRIES", 10)

    async def scenario() -> None:
        world = ApiKeyWorld()
        key = world.add()
        await world.keys.caller(key)
        guesses = [new_key()[1] for _ in range(30)]
        for guess in guesses * 2:
            with pytest.raises(InvalidApiKey):
                await world.keys.caller(guess)
        assert world.keys.recall(key) is not None
        world.look_ups = 0
        for _ in range(5):
            with pytest.raises(InvalidApiKey):
                await world.keys.caller(guesses[-1])
        assert world.look_ups == 0

    asyncio.run(scenario())


def test_good_keys_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_keys, "_MAX_ENTRIES", 10)

    async def scenario() -> None:
        world = ApiKeyWorld()
        keys = [world.add() for _ in range(15)]
        for key in keys:
            await world.keys.caller(key)
        assert [world.keys.recall(key) is None for key in keys] == [True] * 5 + [False] * 10

    asyncio.run(scenario())


def test_look_ups_are_few_at_a_time_and_requests_that_wait_for_them_are_bounded() -> None:
    async def scenario() -> None:
        running = most = 0
        go = asyncio.Event()

        async def find(_: bytes) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await go.wait()
            running -= 1

        keys = ApiKeys(find)
        guesses = [asyncio.create_task(keys.caller(new_key()[1])) for _ in range(150)]
        await asyncio.sleep(0.01)
        refused = [guess for guess in guesses if guess.done()]
        assert {type(guess.exception()) for guess in refused} == {AccessUnavailable}
        assert (most, len(refused)) == (4, 50)
        go.set()
        outcomes = await asyncio.gather(*guesses, return_exceptions=True)
        assert sum(type(outcome) is InvalidApiKey for outcome in outcomes) == 100
        assert most == 4

    asyncio.run(scenario())
