"""Which keys of an issuer's set may have signed a token."""

import json
from typing import Any

import jwt
import pytest

from service.access.tokens import TokenVerifier, UnknownKey
from tests.fixtures.tokens import (
    AUDIENCE,
    ISSUER,
    LEEWAY_S,
    claims,
    key_set,
    private_key,
    public_jwk,
)


@pytest.mark.parametrize(
    "keys",
    [
        [("RS256", "r"), ("ES256", None)],
        [("RS256", None), ("ES256", "e")],
        [("RS256", None), ("ES256", None)],
        [("RS256", "one"), ("ES256", "one")],
        [("ES256", "a"), ("ES256", None), ("ES256", None)],
        [("ES256", "one"), ("ES256", "one")],
    ],
)
def test_every_key_of_a_set_verifies(keys: list[tuple[str, str | None]]) -> None:
    """RFC 7517 section 4.5: an id is optional, and different kinds may share one."""
    document: list[dict[str, Any]] = []
    for n, (algorithm, kid) in enumerate(keys):
        jwk = public_jwk(algorithm, f"{n}") | {"kid": kid}
        document.append({name: value for name, value in jwk.items() if value is not None})
    tokens = TokenVerifier(
        {ISSUER: key_set(json.dumps({"keys": document}).encode())}, AUDIENCE, LEEWAY_S
    )
    for n, (algorithm, kid) in enumerate(keys):
        key = private_key(algorithm, f"{n}")
        for named in {kid, None}:
            header = {} if named is None else {"kid": named}
            sent = jwt.encode(claims(n=n), key, algorithm, header)
            assert tokens.verify(sent).subject == "alice"
    forged = jwt.encode(claims(), private_key("ES256", "stranger"), "ES256")
    with pytest.raises(UnknownKey):
        tokens.verify(forged)


def test_few_keys_are_tried_for_one_token() -> None:
    many = [public_jwk("ES256", f"{n}") | {"kid": ""} for n in range(40)]
    keys = key_set(json.dumps({"keys": many}).encode())
    assert len(keys.find(None, "ES256")) == 8
    assert keys.find(None, "RS256") == []
