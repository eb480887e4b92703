"""Key sets: what is a usable key, and how a set stays fresh while its issuer does not."""

import asyncio
import contextlib
import json
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.access import signing_keys
from service.access.key_set import KeySet, KeySetError, parse_jwks
from service.access.key_sources import HttpKeySource, file_source
from service.access.tokens import TokenVerifier
from service.model.errors import InvalidToken
from tests.fixtures.jwks_server import JwksServer, jwks_server
from tests.fixtures.tokens import (
    AUDIENCE,
    ISSUER,
    LEEWAY_S,
    PrivateKey,
    jwks,
    public_jwk,
    token,
)


def _document(*keys: object) -> bytes:
    return json.dumps({"keys": keys}).encode()


GOOD = public_jwk("ES256", "good")


@pytest.mark.parametrize(
    "odd",
    [
        public_jwk("RS256", "k") | {"alg": "HS256"},
        public_jwk("RS256", "k") | {"alg": "RS512"},
        public_jwk("RS256", "k") | {"use": "enc"},
        public_jwk("RS256", "k") | {"key_ops": ["encrypt"]},
        public_jwk("RS256", "k") | {"kid": 7},
        public_jwk("RS256", "k") | {"n": "AQAB"},
        public_jwk("RS256", "k") | {"n": 5},
        public_jwk("ES256", "k") | {"crv": "P-384"},
        public_jwk("ES256", "k") | {"crv": ["P-256"]},
        public_jwk("ES256", "k") | {"x": "AA", "y": "AA"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "k", "alg": "HS256"},
        {"kty": "RSA", "kid": "k"},
        {"kty": None},
        {},
        [],
        None,
        "key",
    ],
)
def test_keys_that_cannot_verify_are_left_out(odd: object) -> None:
    assert list(parse_jwks(_document(odd, GOOD))) == ["good"]
    with pytest.raises(KeySetError):
        parse_jwks(_document(odd))


@pytest.mark.parametrize(
    "document",
    [b"", b"{}", b"[]", b"null", b'{"keys":{}}', b'{"keys":[]}', b"<html></html>", b"[" * 100_000],
)
def test_documents_that_are_no_key_set(document: bytes) -> None:
    with pytest.raises(KeySetError):
        parse_jwks(document)


@given(
    st.recursive(
        st.none() | st.text() | st.integers(),
        lambda s: (
            st.dictionaries(
                st.sampled_from(
                    ["keys", "kty", "crv", "n", "e", "x", "y", "kid", "use", "key_ops", "alg"]
                ),
                s,
            )
            | st.lists(s, max_size=3)
        ),
    )
)
def test_any_json_gives_keys_or_a_key_set_error(document: object) -> None:
    with contextlib.suppress(KeySetError):
        parse_jwks(json.dumps(document).encode())


def test_private_members_are_dropped() -> None:
    keys = parse_jwks(_document(signing_keys.generate()))
    assert not any(isinstance(key.key, PrivateKey) for each in keys.values() for key in each)


def test_a_file_is_read_as_it_is_at_each_load(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    source = file_source(path)
    with pytest.raises(OSError, match="No such file"):
        asyncio.run(_call(source))
    for kid in ("a", "b"):
        path.write_bytes(jwks(("ES256", kid)))
        assert list(parse_jwks(asyncio.run(_call(source)))) == [kid]
    path.write_bytes(b" " * 300_000 + jwks(("ES256", "a")))
    with pytest.raises(KeySetError, match="more than"):
        asyncio.run(_call(source))


async def _call(source: Any) -> bytes:
    document: bytes = await source()
    return document


class _Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class _Issuer:
    """A key server, a set that is loaded from it by a clock we hold, and a verifier."""

    def __init__(self, server: JwksServer, timeout_s: float = 5.0) -> None:
        self.clock = _Clock()
        self.server = server
        source = HttpKeySource(server.url)
        self.keys = KeySet(source, timeout_s=timeout_s, now_s=self.clock)
        self.tokens = TokenVerifier({ISSUER: self.keys}, AUDIENCE, LEEWAY_S)

    async def accepts(self, sent: str) -> bool:
        try:
            return (await self.tokens.verify_waiting(sent)).subject == "alice"
        except InvalidToken:
            return False


def _run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


def test_a_thousand_made_up_key_ids_are_one_fetch() -> None:
    async def scenario() -> None:
        async with jwks_server() as server:
            server.say(jwks(("ES256", "a")))
            issuer = _Issuer(server)
            guesses = [token(headers={"kid": f"guess-{n}"}) for n in range(1000)]
            assert not any(await asyncio.gather(*map(issuer.accepts, guesses)))
            assert server.fetches == 1
            issuer.clock.now_s += 9.9
            assert not any(await asyncio.gather(*map(issuer.accepts, guesses)))
            assert server.fetches == 1
            issuer.clock.now_s += 0.1
            assert not any(await asyncio.gather(*map(issuer.accepts, guesses)))
            assert server.fetches == 2

    _run(scenario())


def test_a_rotated_key_is_known_with_its_first_token() -> None:
    async def scenario() -> None:
        async with jwks_server() as server:
            server.say(jwks(("ES256", "a")))
            issuer = _Issuer(server)
            old, new = token(kid="a"), token(kid="b")
            assert await issuer.accepts(old)
            server.say(jwks(("ES256", "a"), ("ES256", "b")))
            issuer.clock.now_s += 10
            assert await issuer.accepts(new)
            assert await issuer.accepts(old)
            server.say(jwks(("ES256", "b")))
            issuer.clock.now_s += 10
            await issuer.keys.refresh()
            assert not await issuer.accepts(old)
            assert await issuer.accepts(new)

    _run(scenario())


def test_an_issuer_that_is_down_or_odd_leaves_the_last_good_set() -> None:
    huge = b'{"keys":[' + b" " * (50 << 20) + jwks(("ES256", "b"))[9:]
    answers = [
        b"{}",
        b"<html>maintenance</html>",
        b'{"keys":[]}',
        huge,
        jwks(("ES256", "b"))[:-5],
    ]
    heads = [
        b"HTTP/1.1 500 Oops\r\n",
        b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:9/else\r\n",
        b"HTTP/1.1 204 No Content\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n",
        b"rubbish\r\n",
    ]

    async def scenario() -> None:
        async with jwks_server() as server:
            server.say(jwks(("ES256", "a")))
            issuer = _Issuer(server)
            known = token(kid="a")
            assert await issuer.accepts(known)

            async def check() -> None:
                issuer.clock.now_s += 10
                assert not await issuer.accepts(token(kid="b"))
                issuer.tokens.forget()
                assert issuer.tokens.verify(known).subject == "alice"

            for body in answers:
                server.say(body)
                await check()
            for head in heads:
                server.say(jwks(("ES256", "b")) if b"gzip" not in head else b"\x1f\x8b", head)
                await check()
            assert server.fetches == 1 + len(answers) + len(heads)
        await check()  # the server has stopped

    _run(scenario())


def test_a_slow_issuer_does_not_delay_known_keys() -> None:
    async def scenario() -> None:
        async with jwks_server() as server:
            server.say(jwks(("ES256", "a")))
            issuer = _Issuer(server, timeout_s=0.2)
            assert await issuer.accepts(token(kid="a"))
            server.slow = True
            issuer.clock.now_s += 10
            waiting = asyncio.create_task(issuer.accepts(token(kid="b")))
            for _ in range(1000):
                if server.fetches == 2:
                    break
                await asyncio.sleep(0.005)
            issuer.tokens.forget()
            # Both without a single turn of the event loop: this cannot have waited.
            assert issuer.tokens.verify(token(kid="a")).subject == "alice"
            assert not waiting.done()
            assert not await waiting

    _run(scenario())


def test_a_cancelled_request_leaves_the_load_to_the_others() -> None:
    async def scenario() -> None:
        async with jwks_server() as server:
            server.say(jwks(("ES256", "a")))
            server.slow = True
            issuer = _Issuer(server)
            first, second = (asyncio.create_task(issuer.accepts(token(kid="a"))) for _ in "12")
            await asyncio.sleep(0.01)
            first.cancel()
            server.release.set()
            assert await second
            assert server.fetches == 1

    _run(scenario())


def test_a_set_is_loaded_again_by_itself_until_it_is_closed() -> None:
    loads = 0

    async def source() -> bytes:
        nonlocal loads
        loads += 1
        if loads % 2 == 0:
            raise ZeroDivisionError
        return jwks(("ES256", "a"))

    async def scenario() -> None:
        keys = KeySet(source, refresh_s=0.001)
        await keys.open()
        for _ in range(1000):
            if loads >= 5:
                break
            await asyncio.sleep(0.005)
        await keys.close()
        assert loads >= 5
        assert keys.has("a")

    _run(scenario())


def test_nothing_of_an_answer_reaches_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with jwks_server() as server:
            server.say(b'{"keys":"sesame"}')
            await _Issuer(server).keys.refresh()
            server.say(b"sesame", b"HTTP/1.1 500 sesame\r\nset-cookie: sesame\r\n")
            await _Issuer(server).keys.refresh()

    _run(scenario())
    assert "key-set-not-loaded" in caplog.text
    assert "sesame" not in caplog.text
