"""Bearer tokens: which are accepted, and how they are cached."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from service.access import signing_keys
from service.access.key_set import KeySet
from service.access.tokens import TokenVerifier, UnknownKey
from service.model.bounds import TOKEN_MAX_BYTES
from service.model.caller import Caller
from service.model.errors import (
    AccessUnavailable,
    InvalidToken,
)
from tests.fixtures.tokens import (
    AUDIENCE,
    ISSUER,
    LEEWAY_S,
    claims,
    jwks,
    key_set,
    private_key,
    public_jwk,
    token,
    verifier,
)

NOT_VALID = "The access token is not valid."


def _encoded(part: object) -> str:
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _hand_made(header: object, payload: object, signature: bytes = b"") -> str:
    return f"{_encoded(header)}.{_encoded(payload)}.{_encoded(signature)}"


def _with_hmac(secret: bytes, kid: str = "rsa") -> str:
    signing_input = f"{_encoded({'alg': 'HS256', 'kid': kid})}.{_encoded(claims())}"
    digest = hmac.digest(secret, signing_input.encode(), hashlib.sha256)
    return f"{signing_input}.{_encoded(digest)}"


def _flipped(good: str) -> str:
    head, _, signature = good.rpartition(".")
    raw = bytearray(base64.urlsafe_b64decode(signature + "=="))
    raw[0] ^= 1
    return f"{head}.{_encoded(bytes(raw))}"


def _forgeries() -> dict[str, str]:
    rsa_key = private_key("RS256", "rsa")
    assert isinstance(rsa_key, RSAPrivateKey)
    public = rsa_key.public_key()
    good, es256 = claims(), token(kid="ec")
    return {
        "none": _hand_made({"alg": "none", "kid": "rsa"}, good),
        "nOnE": _hand_made({"alg": "nOnE", "kid": "rsa"}, good),
        "none without a kid": _hand_made({"alg": "none"}, good),
        "empty signature": es256.rpartition(".")[0] + ".",
        "alg a list": _hand_made({"alg": ["RS256"], "kid": "rsa"}, good),
        "alg null": _hand_made({"alg": None, "kid": "rsa"}, good),
        "no alg": _hand_made({"kid": "rsa"}, good),
        "kid a number": _hand_made({"alg": "RS256", "kid": 1}, good),
        "kid a list": _hand_made({"alg": "RS256", "kid": ["rsa"]}, good),
        "HMAC with PEM": _with_hmac(public.public_bytes(Encoding.PEM, PublicFormat.PKCS1)),
        "HMAC with SPKI PEM": _with_hmac(
            public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        ),
        "HMAC with DER": _with_hmac(
            public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        ),
        "HMAC with SSH": _with_hmac(public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)),
        "HMAC with JWK": _with_hmac(json.dumps(public_jwk("RS256", "rsa")).encode()),
        "HMAC with nothing": _with_hmac(b""),
        "another kind of key": token("ES256", "ec", {"kid": "rsa"}),
        "another key": token("ES256", "stranger", {"kid": "ec"}),
        "one byte changed": _flipped(es256),
        "crit": token(kid="ec", headers={"crit": ["exp"], "exp": 1}),
        "crit of a known name": token(kid="ec", headers={"crit": ["b64"], "b64": True}),
        "crit empty": _hand_made({"alg": "ES256", "kid": "ec", "crit": []}, good),
        "another type": token(kid="ec", headers={"typ": "logout+jwt"}),
        "type a list": _hand_made({"alg": "ES256", "kid": "ec", "typ": ["at+jwt"]}, good),
        "payload a list": _hand_made({"alg": "ES256", "kid": "ec"}, [good]),
        "iss a list": _hand_made({"alg": "ES256", "kid": "ec"}, good | {"iss": [ISSUER]}),
        "deep": _hand_made({"alg": "ES256", "kid": "ec"}, b'{"iss":' + b"[" * 5000),
        "words": "not-a-token",
        "dots": "....",
    }


FORGERIES = _forgeries()


def test_the_error_of_a_long_token_has_the_limit() -> None:
    with pytest.raises(InvalidToken, match=f"longer than {TOKEN_MAX_BYTES} bytes"):
        verifier(("ES256", "k")).verify(token(groups="g" * TOKEN_MAX_BYTES))


def test_a_token_with_200_groups_is_good() -> None:
    """As many as Microsoft Entra puts into one, each a UUID: 11 kB."""
    groups = [f"00000000-0000-4000-8000-{n:012d}" for n in range(200)]
    sent = token(groups=groups)
    assert len(sent) > 10_000
    assert verifier(("ES256", "k")).verify(sent).subject == "alice"


@pytest.mark.parametrize("forged", FORGERIES.values(), ids=FORGERIES)
def test_forged_tokens_are_refused_alike(forged: str) -> None:
    with pytest.raises(InvalidToken) as refused:
        asyncio.run(verifier(("RS256", "rsa"), ("ES256", "ec")).verify_waiting(forged))
    assert refused.value.detail == NOT_VALID


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_each_algorithm_by_its_own_key(algorithm: str) -> None:
    keys = verifier(("RS256", "RS256"), ("ES256", "ES256"), ("EdDSA", "EdDSA"))
    caller = keys.verify(token(algorithm, algorithm))
    assert caller == Caller(
        "alice", frozenset({"items:read", "items:write"}), account="subject:alice"
    )


NOW = int(time.time())


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": None},
        {"iss": None},
        {"aud": None},
        {"sub": None},
        {"iss": "https://else.test"},
        {"iss": ISSUER + "/"},
        {"aud": "else"},
        {"aud": []},
        {"aud": ["else"]},
        {"aud": [AUDIENCE, 1]},
        {"aud": {AUDIENCE: 1}},
        {"aud": AUDIENCE + "2"},
        {"sub": ""},
        {"sub": 7},
        {"sub": "a\0b"},
        {"sub": "\ud800"},
        {"sub": "x" * 256},
        {"scope": ["items:read"]},
        {"client_id": 7},
        {"exp": str(NOW + 600)},
        {"exp": True},
        {"exp": float("nan")},
        {"exp": float("inf")},
        {"exp": 10**400},
        {"nbf": "soon"},
        {"nbf": NOW + 3600},
        {"iat": NOW + 3600},
        {"iat": [NOW]},
    ],
)
def test_claims_that_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidToken) as refused:
        verifier(("ES256", "k")).verify(token(**changes))
    assert refused.value.detail == NOT_VALID


@pytest.mark.parametrize(
    ("claim", "offset_s", "good"),
    [
        ("exp", -LEEWAY_S + 1, True),
        ("exp", -LEEWAY_S, False),
        ("nbf", LEEWAY_S, True),
        ("nbf", LEEWAY_S + 1, False),
        ("iat", LEEWAY_S, True),
        ("iat", LEEWAY_S + 1, False),
    ],
)
def test_leeway(claim: str, offset_s: int, good: bool) -> None:
    tokens = TokenVerifier({ISSUER: key_set(jwks(("ES256", "k")))}, AUDIENCE, LEEWAY_S, lambda: NOW)
    changes: dict[str, Any] = {"exp": NOW + 600, "iat": NOW} | {claim: NOW + offset_s}
    sent = token(**changes)
    if good:
        assert tokens.verify(sent).subject == "alice"
    else:
        with pytest.raises(InvalidToken):
            tokens.verify(sent)


def test_audience_may_be_a_list() -> None:
    sent = token(aud=["else", AUDIENCE])
    assert verifier(("ES256", "k")).verify(sent).subject == "alice"


@given(st.lists(st.text(st.characters(codec="ascii", min_codepoint=33), min_size=1), max_size=5))
def test_scope_is_whole_words(scope: list[str]) -> None:
    caller = verifier(("ES256", "k")).verify(token(scope=" ".join(scope)))
    assert caller.scopes == frozenset(scope)
    assert caller.may("items:write") == bool({"items:write", "items:admin"} & set(scope))


def test_a_word_that_only_begins_like_a_scope_is_none() -> None:
    caller = verifier(("ES256", "k")).verify(token(scope="items:readonly xitems:write"))
    assert not caller.may("items:read")
    assert not caller.may("items:write")


def test_a_client_pays_for_itself_and_not_for_its_subject() -> None:
    caller = verifier(("ES256", "k")).verify(token(client_id="till-7"))
    assert (caller.subject, caller.account) == ("alice", "client:till-7")


def test_issuers_cannot_speak_for_each_other() -> None:
    other = "https://other.test"
    keys = {ISSUER: key_set(jwks(("ES256", "k"))), other: key_set(jwks(("EdDSA", "k")))}
    both = TokenVerifier(keys, AUDIENCE, LEEWAY_S)
    assert both.verify(token()).subject == "alice"
    assert both.verify(token("EdDSA", iss=other)).subject == "alice"
    for forged in (token(iss=other), token("EdDSA")):
        with pytest.raises(InvalidToken):
            both.verify(forged)


def test_a_token_without_kid_means_the_only_key() -> None:
    sent = token(headers={"kid": ""})
    assert verifier(("ES256", "")).verify(token(kid="")).subject == "alice"
    with pytest.raises(UnknownKey):
        verifier(("ES256", "k"), ("EdDSA", "e")).verify(sent)


def test_a_minted_token_is_an_rfc_9068_access_token() -> None:
    key = signing_keys.generate()
    keys = key_set(json.dumps({"keys": [signing_keys.public_part(key)]}).encode())
    minted = signing_keys.mint(key, ISSUER, AUDIENCE, "alice", "items:read", 60, "till-7")
    caller = TokenVerifier({ISSUER: keys}, AUDIENCE, LEEWAY_S).verify(minted)
    assert caller == Caller("alice", frozenset({"items:read"}), "client:till-7")
    header, payload = (
        json.loads(base64.urlsafe_b64decode(part + "==")) for part in minted.split(".")[:2]
    )
    assert header == {"typ": "at+jwt", "alg": "ES256", "kid": key["kid"]}
    assert payload.keys() == {"iss", "aud", "sub", "client_id", "scope", "iat", "exp", "jti"}
    assert "d" not in signing_keys.public_part(key)


def test_tokens_of_a_removed_key_are_refused() -> None:
    documents = [jwks(("ES256", "k"), ("EdDSA", "e")), jwks(("EdDSA", "e"))]

    async def source() -> bytes:
        return documents[0]

    async def scenario() -> None:
        keys = KeySet(source, cooldown_s=0)
        tokens = TokenVerifier({ISSUER: keys}, AUDIENCE, LEEWAY_S)
        sent = token()
        assert (await tokens.verify_waiting(sent)).subject == "alice"
        del documents[0]
        await keys.refresh()
        assert tokens.remembered(sent) is None
        with pytest.raises(InvalidToken):
            await tokens.verify_waiting(sent)

    asyncio.run(scenario())


def test_without_any_key_set_ever_the_answer_is_not_no() -> None:
    async def source() -> bytes:
        raise OSError

    async def scenario() -> None:
        tokens = TokenVerifier({ISSUER: KeySet(source)}, AUDIENCE, LEEWAY_S)
        with pytest.raises(AccessUnavailable) as refused:
            await tokens.verify_waiting(token())
        assert 1 <= (refused.value.retry_after_s or 0) <= 10

    asyncio.run(scenario())
