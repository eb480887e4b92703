"""The worker's memory of API keys, by a clock and a database that we hold in our hands."""

import asyncio
from datetime import UTC, datetime

import pytest

from service.access import api_keys
from service.access.api_keys import FRESH_S, OUTAGE_S, USABLE_S, ApiKeys, new_key, secret_hash
from service.access.credentials import Authenticator, api_key
from service.access.tokens import Caller, TokenVerifier
from service.model.errors import (
    AccessUnavailable,
    HotshelfError,
    InvalidApiKey,
    InvalidHeader,
    InvalidToken,
    ShardUnavailable,
    Unauthenticated,
)
from service.model.rate import Rate
from service.store.access import ApiKey
from tests.fixtures.tokens import token, verifier


class _World:
    """A clock, the stored keys by hash, and whether the database answers."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.stored: dict[bytes, ApiKey] = {}
        self.up = True
        self.look_ups = 0
        self.keys = ApiKeys(self._find, lambda: self.now_s)

    def add(self, owner: str = "olivia", rate: Rate | None = None) -> str:
        key_id, key, hashed = new_key()
        made = datetime(2026, 1, 1, tzinfo=UTC)
        self.stored[hashed] = ApiKey(key_id, owner, "items:read", rate, made, None)
        return key

    async def _find(self, hashed: bytes) -> ApiKey | None:
        self.look_ups += 1
        await asyncio.sleep(0)
        if not self.up:
            raise ShardUnavailable("down", retry_after_s=1)
        return self.stored.get(hashed)

    async def settle(self) -> None:
        """Let background look-ups end."""
        for _ in range(5):
            await asyncio.sleep(0)


def test_a_key_is_looked_up_once_by_all_who_ask_together() -> None:
    async def scenario() -> None:
        world = _World()
        key = world.add(rate=Rate(5, 10))
        callers = await asyncio.gather(*(world.keys.caller(key) for _ in range(20)))
        assert world.look_ups == 1
        account = f"key:{world.stored[secret_hash(key)].id}"
        expected = Caller("olivia", frozenset({"items:read"}), account, Rate(5, 10))
        assert set(callers) == {expected}
        assert world.keys.recall(key) == expected

    asyncio.run(scenario())


@pytest.mark.parametrize("key", ["", "x", "hsk_", "hsk_" + "a" * 44, "hsk_" + "ä" * 43, "\0"])
def test_what_cannot_be_a_key_costs_no_look_up(key: str) -> None:
    world = _World()
    with pytest.raises(InvalidApiKey):
        world.keys.recall(key)
    assert world.look_ups == 0


def test_a_revoked_key_ends_in_time_whether_it_is_used_or_not() -> None:
    async def scenario() -> None:
        world = _World()
        busy, idle = world.add(), world.add()
        await world.keys.caller(busy)
        await world.keys.caller(idle)
        world.stored.clear()
        world.now_s += FRESH_S
        assert await world.keys.caller(busy)  # starts the look-up that finds nothing
        await world.settle()
        with pytest.raises(InvalidApiKey):
            await world.keys.caller(busy)
        world.now_s += USABLE_S - FRESH_S
        with pytest.raises(InvalidApiKey):
            await world.keys.caller(idle)

    asyncio.run(scenario())


def test_while_the_database_is_down_known_keys_go_on_and_unknown_ones_are_503() -> None:
    async def scenario() -> None:
        world = _World()
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
        world = _World()
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
        world = _World()
        keys = [world.add() for _ in range(15)]
        for key in keys:
            await world.keys.caller(key)
        assert [world.keys.recall(key) is None for key in keys] == [True] * 5 + [False] * 10

    asyncio.run(scenario())


def _authenticate(world: _World, tokens: TokenVerifier, **headers: list[str]) -> Caller:
    sent = {name.replace("_", "-"): lines for name, lines in headers.items()}

    async def both_ways() -> Caller:
        authenticator = Authenticator(tokens, world.keys)
        caller = await authenticator.authenticate(sent)
        again = authenticator.recall(sent.get("authorization", []), sent.get("x-api-key", []))
        assert again == caller
        return caller

    return asyncio.run(both_ways())


def test_beside_a_token_the_key_says_whose_limit_and_nothing_else() -> None:
    world, tokens = _World(), verifier(("ES256", "k"))
    key = world.add(rate=Rate(7, 1))
    account = f"key:{world.stored[secret_hash(key)].id}"
    bearer = [f"Bearer {token(scope='items:admin')}"]
    alone = _authenticate(world, tokens, x_api_key=[key])
    assert alone == Caller("olivia", frozenset({"items:read"}), account, Rate(7, 1))
    both = _authenticate(world, tokens, authorization=bearer, x_api_key=[key])
    assert both == Caller("alice", frozenset({"items:admin"}), account, Rate(7, 1))
    without = _authenticate(world, tokens, authorization=bearer)
    assert without == Caller("alice", frozenset({"items:admin"}), "subject:alice", None)


def test_neither_credential_makes_up_for_the_other() -> None:
    world, tokens = _World(), verifier(("ES256", "k"))
    key, stranger = world.add(), new_key()[1]
    bearer, bad = f"Bearer {token()}", f"Bearer {token(aud='else')}"
    refused: list[tuple[dict[str, list[str]], type[HotshelfError]]] = [
        ({}, Unauthenticated),
        ({"x_api_key": [""]}, InvalidApiKey),
        ({"x_api_key": [stranger]}, InvalidApiKey),
        ({"x_api_key": [key, key]}, InvalidHeader),
        ({"authorization": [bearer], "x_api_key": [stranger]}, InvalidApiKey),
        ({"authorization": [bearer], "x_api_key": [""]}, InvalidApiKey),
        ({"authorization": [bad], "x_api_key": [key]}, InvalidToken),
        ({"authorization": [""], "x_api_key": [key]}, Unauthenticated),
        ({"authorization": ["Basic YTpi"], "x_api_key": [key]}, Unauthenticated),
        ({"authorization": [bearer, bearer], "x_api_key": [key]}, InvalidHeader),
    ]
    for headers, error in refused:
        with pytest.raises(error):
            _authenticate(world, tokens, **headers)


def test_an_empty_or_double_key_field() -> None:
    assert api_key(["k"]) == "k"
    with pytest.raises(InvalidApiKey):
        api_key([""])
    with pytest.raises(InvalidHeader):
        api_key(["k", "k"])


@pytest.mark.parametrize("text", ["100", "0/60", "100/0", "-1/60", "1.5/60", "१/60", "1/60 ", ""])
def test_rates_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="not a rate"):
        Rate.parse(text)


def test_a_rate_reads_as_it_is_written() -> None:
    assert str(Rate.parse("100/60")) == "100/60"
