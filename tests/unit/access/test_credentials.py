"""Which credentials a request may carry, and what two of them mean."""

import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.access.api_keys import new_key, secret_hash
from service.access.credentials import Authenticator, api_key, bearer_token
from service.access.tokens import TokenVerifier
from service.model.caller import Caller
from service.model.errors import (
    HotshelfError,
    InvalidApiKey,
    InvalidHeader,
    InvalidToken,
    Unauthenticated,
)
from service.model.rate import Rate
from tests.fixtures.api_keys import ApiKeyWorld
from tests.fixtures.tokens import token, verifier


@pytest.mark.parametrize(
    "line", ["Bearer a.b.c", "bearer a.b.c", "BEARER   a.b.c", "Bearer a.b.c \t"]
)
def test_the_scheme_has_no_case_and_blanks_may_repeat(line: str) -> None:
    assert bearer_token([line]) == "a.b.c"


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        ([], Unauthenticated),
        ([""], Unauthenticated),
        (["Basic YTpi"], Unauthenticated),
        (["Bearers a"], Unauthenticated),
        (["a.b.c"], Unauthenticated),
        (["Bearer"], InvalidToken),
        (["Bearer "], InvalidToken),
        (["Bearer\ta.b.c"], InvalidToken),
        (["Bearer a b"], InvalidToken),
        (["Bearer a,b"], InvalidToken),
        (["Bearer a=b"], InvalidToken),
        (['Bearer token="a"'], InvalidToken),
        (["Bearer a, Bearer b"], InvalidHeader),
        (["Bearer a,bearer b"], InvalidHeader),
        (["Basic YTpi, Bearer b"], InvalidHeader),
        (["Bearer a", "Bearer a"], InvalidHeader),
        (["Bearer a", "Basic YTpi"], InvalidHeader),
    ],
)
def test_malformed_or_double_credentials(lines: list[str], error: type[HotshelfError]) -> None:
    with pytest.raises(error):
        bearer_token(lines)


@given(st.lists(st.text(st.characters(codec="ascii")), max_size=3))
def test_any_lines_give_a_token_or_an_error_of_ours(lines: list[str]) -> None:
    with contextlib.suppress(HotshelfError):
        assert bearer_token(lines) in lines[0]


def _authenticate(world: ApiKeyWorld, tokens: TokenVerifier, **headers: list[str]) -> Caller:
    sent = {name.replace("_", "-"): lines for name, lines in headers.items()}

    async def both_ways() -> Caller:
        authenticator = Authenticator(tokens, world.keys)
        caller = await authenticator.authenticate(sent)
        again = authenticator.recall(sent.get("authorization", []), sent.get("x-api-key", []))
        assert again == caller
        return caller

    return asyncio.run(both_ways())


def test_beside_a_token_the_key_says_whose_limit_and_nothing_else() -> None:
    world, tokens = ApiKeyWorld(), verifier(("ES256", "k"))
    key = world.add(quota=7, window_s=1)
    account = f"key:{world.stored[secret_hash(key)].id}"
    bearer = [f"Bearer {token(scope='items:admin')}"]
    alone = _authenticate(world, tokens, x_api_key=[key])
    assert alone == Caller("olivia", frozenset({"items:read"}), account, Rate(7, 1))
    both = _authenticate(world, tokens, authorization=bearer, x_api_key=[key])
    assert both == Caller("alice", frozenset({"items:admin"}), account, Rate(7, 1))
    without = _authenticate(world, tokens, authorization=bearer)
    assert without == Caller("alice", frozenset({"items:admin"}), "subject:alice", None)


def test_neither_credential_makes_up_for_the_other() -> None:
    world, tokens = ApiKeyWorld(), verifier(("ES256", "k"))
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
