"""The public keys that sign one issuer's tokens (JWK Set, RFC 7517).

The algorithm is a property of the key, decided here and never by a token (RFC 8725 section 3.1).
"""

import asyncio
import contextlib
import json
import logging
import math
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK, PyJWTError

from service.flow.deadline import within
from service.observe.events import keys_changed
from service.observe.logs import fields

logger = logging.getLogger(__name__)

# Returns the bytes of a JWK Set, or raises; only the text of a KeySetError may be logged.
Source: TypeAlias = Callable[[], Awaitable[bytes]]

# RFC 7518 section 3.1 and RFC 8037: one algorithm per kind of key, nothing symmetric.
_ALGORITHMS: dict[tuple[str, str | None], str] = {
    ("RSA", None): "RS256",
    ("EC", "P-256"): "ES256",
    ("OKP", "Ed25519"): "EdDSA",
}
_PUBLIC_MEMBERS = ("kty", "crv", "n", "e", "x", "y", "kid")
_RSA_MIN_BITS = 2048
_MAX_KEYS = 100
# Signatures checked for one token: few issuers have as many keys without an id.
_MAX_CANDIDATES = 8

# By key id, which keys of different kinds may share (RFC 7517 section 4.5); "" for none.
Keys: TypeAlias = dict[str, tuple[PyJWK, ...]]


class KeySetError(Exception):
    """A document that is not a JWK Set, or has no key that could verify our tokens."""


class KeySet:
    """The keys of one issuer, loaded at ``open`` and then every ``refresh_s`` seconds or less.

    Finding a key never waits. A load that fails, is slow, or gives nothing usable keeps the last
    good set; the next good set replaces it completely. Unknown key ids, which any client can make
    up, cause at most one load per ``cooldown_s``.
    """

    def __init__(
        self,
        source: Source,
        *,
        refresh_s: float = 30.0,
        cooldown_s: float = 10.0,
        timeout_s: float = 5.0,
        now_s: Callable[[], float] = time.monotonic,
        name: str = "",
    ) -> None:
        """``name`` is the issuer, for the log."""
        self._source = source
        self._name = name
        self._refresh_s = refresh_s
        self._cooldown_s = cooldown_s
        self._timeout_s = timeout_s
        self._now_s = now_s
        self._keys: Keys = {}
        self._tried_at_s = float("-inf")
        self._loading: asyncio.Task[None] | None = None
        self._fresh: asyncio.Task[None] | None = None
        # Set by the owner of the cache of verified tokens.
        self.on_key_gone: Callable[[], None] = lambda: None

    @property
    def loaded(self) -> bool:
        """Whether a load has succeeded."""
        return bool(self._keys)

    @property
    def retry_after_s(self) -> int:
        """Whole seconds, at least 1, until ``refresh`` would load again."""
        return math.ceil(max(1.0, self._tried_at_s + self._cooldown_s - self._now_s()))

    def find(self, kid: str | None, algorithm: object) -> Sequence[PyJWK]:
        """The few keys that may have signed a token with this header.

        Those of its id, and those without one; all of them for a token that names none.
        """
        named = (
            self._keys.values() if kid is None else map(self._keys.get, dict.fromkeys((kid, "")))
        )
        keys = (key for each in named for key in each or ())
        return [key for key in keys if key.algorithm_name == algorithm][:_MAX_CANDIDATES]

    def has(self, kid: str) -> bool:
        """Whether a key of the set has this id."""
        return kid in self._keys

    async def open(self) -> None:
        """Load for the first time, then periodically until ``close``."""
        await self._load_once()
        self._fresh = asyncio.create_task(self._keep_fresh())

    async def close(self) -> None:
        for task in (self._fresh, self._loading):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def refresh(self) -> None:
        """Load unless one was tried within the cool-down; callers share a running load."""
        if self._loading is not None or self._now_s() - self._tried_at_s >= self._cooldown_s:
            await self._load_once()

    async def _keep_fresh(self) -> None:
        while True:
            pause_s = self._refresh_s if self.loaded else self._cooldown_s
            # Jitter, because workers that start together would otherwise always load together.
            await asyncio.sleep(pause_s * random.uniform(0.75, 1.0))  # noqa: S311
            await self._load_once()

    async def _load_once(self) -> None:
        if self._loading is None:
            self._tried_at_s = self._now_s()
            self._loading = asyncio.create_task(self._load())
        # Shielded, because other requests may wait for the same load.
        await asyncio.shield(self._loading)

    async def _load(self) -> None:
        try:
            keys = parse_jwks(await within(self._timeout_s, _awaited(self._source)))
        except KeySetError as error:
            logger.warning("key-set-not-loaded", **fields(issuer=self._name, reason=str(error)))
            return
        except Exception as error:  # the keys we have stay valid whatever fails
            reason = type(error).__name__
            logger.warning("key-set-not-loaded", **fields(issuer=self._name, reason=reason))
            return
        finally:
            self._loading = None
        old, self._keys = self._keys, keys
        added, gone = _without(keys, old), _without(old, keys)
        if added or gone:
            keys_changed(self._name, added, gone)
        if gone:
            self.on_key_gone()


async def _awaited(source: Source) -> bytes:
    return await source()


def _without(keys: Keys, others: Keys) -> int:
    """How many of the keys are not among the others."""
    known = {kid: [key.key for key in each] for kid, each in others.items()}
    return sum(key.key not in known.get(kid, ()) for kid, each in keys.items() for key in each)


def parse_jwks(document: bytes) -> Keys:
    """The usable keys of a JWK Set by key id; those without one are filed under "".

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
    keys: Keys = {}
    for entry in entries:
        key = _usable(entry)
        if key is not None:
            kid = key.key_id or ""
            keys[kid] = (*keys.get(kid, ()), key)
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
