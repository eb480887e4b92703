"""The public keys that sign one issuer's tokens (JWK Set, RFC 7517).

The algorithm is a property of the key, decided here and never by a token (RFC 8725 section 3.1).
"""

import json
from collections.abc import Mapping
from typing import Any, TypeAlias

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK, PyJWTError

Keys: TypeAlias = Mapping[str, PyJWK]

# RFC 7518 section 3.1 and RFC 8037: one algorithm per kind of key, nothing symmetric.
_ALGORITHMS: dict[tuple[str, str | None], str] = {
    ("RSA", None): "RS256",
    ("EC", "P-256"): "ES256",
    ("OKP", "Ed25519"): "EdDSA",
}
_PUBLIC_MEMBERS = ("kty", "crv", "n", "e", "x", "y", "kid")
_RSA_MIN_BITS = 2048
_MAX_KEYS = 100


class KeySetError(Exception):
    """A document that is no JWK Set, or one without a key that could verify our tokens."""


def parse_jwks(document: bytes) -> dict[str, PyJWK]:
    """The usable keys of a JWK Set by key id; a key without one is filed under "".

    Keys for encryption, of other kinds or algorithms, and RSA keys under 2,048 bits are left
    out, as RFC 7517 section 5 asks. Private members are dropped. Raises KeySetError.
    """
    try:
        parsed = json.loads(document)
        entries = parsed["keys"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise KeySetError("not a JWK Set") from None
    if not isinstance(entries, list) or len(entries) > _MAX_KEYS:
        raise KeySetError(f"a JWK Set of more than {_MAX_KEYS} keys, or none at all")
    keys: dict[str, PyJWK] = {}
    for entry in entries:
        key = _usable(entry)
        if key is not None:
            keys[key.key_id or ""] = key
    if not keys:
        raise KeySetError("no key in the set can verify RS256, ES256 or EdDSA")
    return keys


def _usable(entry: Any) -> PyJWK | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("kid", ""), str):
        return None
    kty, crv = entry.get("kty"), entry.get("crv")
    algorithm = _ALGORITHMS.get((str(kty), None if kty == "RSA" else str(crv)))
    if algorithm is None or entry.get("alg", algorithm) != algorithm:
        return None
    if entry.get("use", "sig") != "sig" or "verify" not in entry.get("key_ops", ["verify"]):
        return None
    try:
        key = PyJWK({name: entry[name] for name in _PUBLIC_MEMBERS if name in entry}, algorithm)
    except (PyJWTError, ValueError, TypeError):
        return None
    too_short = isinstance(key.key, RSAPublicKey) and key.key.key_size < _RSA_MIN_BITS
    return None if too_short else key
