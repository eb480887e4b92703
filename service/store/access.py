"""API keys, OAuth clients and signing keys: the control tables on the first shard.

All secrets except signing keys are hashes here. Every method raises ShardUnavailable,
DatabaseTimeout or Overloaded; reads use a replica while there is no primary.
"""

import json
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from service.flow.deadline import within
from service.model.errors import DependencyError, ShardUnavailable
from service.store.connection import Connection
from service.store.shards import Shard

_READ_TIMEOUT_S = 1.0

_KEY_COLUMNS = "id, owner_id, scope, quota, window_s, created_at, revoked_at"
_CLIENT_COLUMNS = "id, secret_hash, name, scope, created_at, revoked_at"
_SIGNING_COLUMNS = "jwk, created_at, signs_from, verifies_until, signs_from <= now()"

_FIND_API_KEY = f"SELECT {_KEY_COLUMNS} FROM api_keys WHERE secret_hash = %s AND revoked_at IS NULL"
_FIND_CLIENT = f"SELECT {_CLIENT_COLUMNS} FROM oauth_clients WHERE id = %s AND revoked_at IS NULL"
# Two days, because a token from /oauth2/token is valid for at most one (auth.token_ttl_s) and a
# leeway.
_REVOKED_CLIENTS = "SELECT id FROM oauth_clients WHERE revoked_at > now() - interval '2 days'"
_SIGNING_KEYS = f"""
    SELECT {_SIGNING_COLUMNS} FROM signing_keys
     WHERE verifies_until IS NULL OR verifies_until > now()
     ORDER BY signs_from DESC, kid"""
_FIRST_SIGNING_KEY = """
    INSERT INTO signing_keys (kid, jwk, signs_from) VALUES (%s, %s, now())
    ON CONFLICT DO NOTHING"""
_RETIRE_SIGNING_KEYS = """
    UPDATE signing_keys
       SET verifies_until = least(verifies_until, now() + make_interval(secs => %s))
     WHERE verifies_until IS NULL OR verifies_until > now()"""
_NEXT_SIGNING_KEY = """
    INSERT INTO signing_keys (kid, jwk, signs_from)
    VALUES (%s, %s, now() + make_interval(secs => %s))"""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """``scope`` is space-separated; ``quota`` and ``window_s`` None mean the default rate."""

    id: str
    owner_id: str
    scope: str
    quota: int | None
    window_s: int | None
    created_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """``secret_hash`` is the secret's SHA-256; ``scope`` is the maximum that it may request."""

    id: str
    secret_hash: bytes
    name: str
    scope: str
    created_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class SigningKey:
    """``jwk`` is private. ``signs`` was evaluated on the database's clock at the read."""

    jwk: dict[str, str]
    created_at: datetime
    signs_from: datetime
    verifies_until: datetime | None
    signs: bool


class AccessRecords:
    """The control tables on their shard."""

    def __init__(self, first_shard: Shard) -> None:
        self._shard = first_shard

    async def find_api_key(self, secret_hash: bytes) -> ApiKey | None:
        """The key, unless it is unknown or revoked."""
        rows = await self._read(_FIND_API_KEY, (secret_hash,))
        return ApiKey(*rows[0]) if rows else None

    async def api_keys(self) -> list[ApiKey]:
        rows = await self._read(f"SELECT {_KEY_COLUMNS} FROM api_keys ORDER BY created_at, id")
        return [ApiKey(*row) for row in rows]

    async def add_api_key(
        self,
        key_id: str,
        secret_hash: bytes,
        owner_id: str,
        scope: str,
        quota: int | None,
        window_s: int | None,
    ) -> None:
        await self._change(
            "INSERT INTO api_keys (id, secret_hash, owner_id, scope, quota, window_s)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            (key_id, secret_hash, owner_id, scope, quota, window_s),
        )

    async def revoke_api_key(self, key_id: str) -> bool:
        """Revoke a key; False if there is none. Repeating it has no effect."""
        return await self._change(
            "UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE id = %s", (key_id,)
        )

    async def find_client(self, client_id: str) -> OAuthClient | None:
        """The client, unless it is unknown or revoked."""
        rows = await self._read(_FIND_CLIENT, (client_id,))
        return OAuthClient(*rows[0]) if rows else None

    async def clients(self) -> list[OAuthClient]:
        rows = await self._read(
            f"SELECT {_CLIENT_COLUMNS} FROM oauth_clients ORDER BY created_at, id"
        )
        return [OAuthClient(*row) for row in rows]

    async def add_client(self, client_id: str, secret_hash: bytes, name: str, scope: str) -> None:
        await self._change(
            "INSERT INTO oauth_clients (id, secret_hash, name, scope) VALUES (%s, %s, %s, %s)",
            (client_id, secret_hash, name, scope),
        )

    async def revoke_client(self, client_id: str) -> bool:
        """Revoke a client; False if there is none. Repeating it has no effect."""
        return await self._change(
            "UPDATE oauth_clients SET revoked_at = coalesce(revoked_at, now()) WHERE id = %s",
            (client_id,),
        )

    async def revoked_clients(self) -> frozenset[str]:
        """Ids of revoked clients whose last token may not have expired yet."""
        rows = await self._read(_REVOKED_CLIENTS)
        return frozenset(row[0] for row in rows)

    async def signing_keys(self) -> list[SigningKey]:
        """Every key that still verifies; the first one with ``signs`` is the one to sign with."""
        rows = await self._read(_SIGNING_KEYS)
        return [SigningKey(json.loads(row[0]), *row[1:]) for row in rows]

    async def add_first_signing_key(self, jwk: dict[str, str]) -> None:
        """Store it unless there is a current key: of several starting workers one wins."""
        await self._change(_FIRST_SIGNING_KEY, (jwk["kid"], json.dumps(jwk)))

    async def rotate_signing_key(
        self, jwk: dict[str, str], signs_in_s: int, old_verify_s: int
    ) -> None:
        """Make this the current key after ``signs_in_s``; old ones verify for ``old_verify_s``."""
        async with self._shard.primary() as connection, connection.transaction():
            await connection.execute("DELETE FROM signing_keys WHERE verifies_until <= now()")
            await connection.execute(_RETIRE_SIGNING_KEYS, (old_verify_s,))
            await connection.execute(_NEXT_SIGNING_KEY, (jwk["kid"], json.dumps(jwk), signs_in_s))

    async def _change(self, statement: str, parameters: Sequence[object]) -> bool:
        async with self._shard.primary() as connection:
            return (await connection.execute(statement, parameters)).rowcount > 0

    async def _read(self, statement: str, parameters: Sequence[object] = ()) -> list[Any]:
        try:
            return await _rows(self._shard.primary(reading=True), statement, parameters)
        except ShardUnavailable:
            for node in self._shard.nodes:
                try:
                    return await _rows(node.connection(reading=True), statement, parameters)
                except DependencyError:
                    continue
            raise


async def _rows(
    source: AbstractAsyncContextManager[Connection], statement: str, parameters: Sequence[object]
) -> list[Any]:
    async def query() -> list[Any]:
        async with source as connection:
            return await (await connection.execute(statement, parameters)).fetchall()

    try:
        return await within(_READ_TIMEOUT_S, query())
    except TimeoutError:
        raise ShardUnavailable("The database did not answer.", retry_after_s=1) from None
