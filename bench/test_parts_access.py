"""What it costs to know who asks, per request: `pytest bench/test_parts_access.py`."""

import asyncio

from pytest_benchmark.fixture import BenchmarkFixture

from service.access.credentials import Authenticator
from service.model.caller import Caller
from tests.fixtures.api_keys import ApiKeyWorld
from tests.fixtures.tokens import token, verifier


def test_token_hit(benchmark: BenchmarkFixture) -> None:
    tokens, sent = verifier(("ES256", "k")), token()
    tokens.verify(sent)
    assert benchmark(tokens.verify, sent).subject == "alice"


def test_authorization_field_to_caller(benchmark: BenchmarkFixture) -> None:
    authenticator = Authenticator(verifier(("ES256", "k")), ApiKeyWorld().keys)
    lines = [f"Bearer {token()}"]
    caller = benchmark(authenticator.recall, lines, ())
    assert caller is not None
    assert caller.subject == "alice"


def test_api_key_hit(benchmark: BenchmarkFixture) -> None:
    world = ApiKeyWorld()
    key = world.add()

    async def look_up() -> Caller:
        return await world.keys.caller(key)

    asyncio.run(look_up())
    assert benchmark(world.keys.recall, key).subject == "olivia"


def test_token_seen_for_the_first_time(benchmark: BenchmarkFixture) -> None:
    tokens, sent = verifier(("ES256", "k")), token()

    def verify() -> Caller:
        tokens.forget()
        return tokens.verify(sent)

    assert benchmark(verify).subject == "alice"
