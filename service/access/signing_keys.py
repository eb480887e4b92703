"""Keys of the built-in issuer, and the access tokens it signs (RFC 9068).

A signing key is a private JWK (RFC 7517) for ES256, which every JOSE library verifies. Nothing
here logs, and no error message holds a key.
"""

import base64
import hashlib
import json
import secrets
import time
from typing import TypeAlias

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

Jwk: TypeAlias = dict[str, str]

ALGORITHM = "ES256"
_PUBLIC_MEMBERS = ("kty", "crv", "x", "y", "kid", "alg", "use")


def generate() -> Jwk:
    """A fresh private JWK; its ``kid`` is the key's thumbprint (RFC 7638)."""
    private = ec.generate_private_key(ec.SECP256R1())
    members = ECAlgorithm.to_jwk(private, as_dict=True)
    key = {name: str(members[name]) for name in ("kty", "crv", "x", "y", "d")}
    return key | {"kid": _thumbprint(key), "alg": ALGORITHM, "use": "sig"}


def public_part(key: Jwk) -> Jwk:
    """The public part of a key."""
    return {name: key[name] for name in _PUBLIC_MEMBERS}


def mint(
    key: Jwk,
    issuer: str,
    audience: str,
    subject: str,
    scope: str,
    ttl_s: int,
    client_id: str | None = None,
) -> str:
    """A signed access token (RFC 9068 section 2) that expires ``ttl_s`` seconds from now.

    ``scope`` is words separated by single spaces; ``client_id`` is the subject unless given.
    """
    now = int(time.time())
    claims = {
        "iss": issuer,
        "aud": audience,
        "sub": subject,
        "client_id": client_id or subject,
        "scope": scope,
        "iat": now,
        "exp": now + ttl_s,
        "jti": secrets.token_urlsafe(16),
    }
    headers = {"typ": "at+jwt", "kid": key["kid"]}
    return jwt.encode(claims, jwt.PyJWK(key, ALGORITHM).key, ALGORITHM, headers)


def _thumbprint(key: Jwk) -> str:
    required = {name: key[name] for name in ("crv", "kty", "x", "y")}
    canonical = json.dumps(required, separators=(",", ":"), sort_keys=True)
    digest = hashlib.sha256(canonical.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
