"""Idempotency records of changes of definitions, in the first shard.

Their transactions hold the lock of all such changes, so no two run under one key. Only a change
that was made is recorded: one that was refused changed nothing and may be tried again.
"""

from datetime import datetime
from typing import Final, Literal, NamedTuple, TypeAlias

from service.model.change import Claim, key_reused
from service.store.connection import Connection

Kind: TypeAlias = Literal["created", "changed", "dropped"]

_FIND: Final = """
    SELECT fingerprint, kind, number, version, definition, updated_at FROM collection_requests
     WHERE caller = %s AND name = %s AND key = %s
       AND recorded_at > now() - make_interval(secs => %s)"""
_EXPIRE: Final = """
    DELETE FROM collection_requests WHERE recorded_at <= now() - make_interval(secs => %s)"""
_RECORD: Final = """
    INSERT INTO collection_requests
           (caller, name, key, fingerprint, kind, number, version, definition, updated_at)
    SELECT %s, %s, %s, %s, %s, number, version, definition, updated_at
      FROM collections WHERE number = %s"""


class Request(NamedTuple):
    """A request to change a definition. ``claim.scope`` is the collection's name.

    A record is valid for ``ttl_s`` seconds.
    """

    claim: Claim
    ttl_s: float

    @property
    def identity(self) -> tuple[str, str, str]:
        claim = self.claim
        return claim.caller, claim.scope.decode(), claim.key


class Recorded(NamedTuple):
    """What the request under this key did, and the collection as it left it."""

    kind: Kind
    number: int
    version: int
    definition: bytes
    updated_at: datetime


async def find_request(connection: Connection, request: Request) -> Recorded | None:
    """The record of the same request. Raises IdempotencyKeyReused for another one's."""
    found = await connection.execute(_FIND, (*request.identity, request.ttl_s))
    row = await found.fetchone()
    if row is None:
        return None
    fingerprint, *columns = row
    if fingerprint != request.claim.fingerprint:
        raise key_reused()
    return Recorded(*columns)


async def record_request(connection: Connection, request: Request, kind: Kind, number: int) -> None:
    """Record a change in its own transaction, after it."""
    await connection.execute(_EXPIRE, (request.ttl_s,))
    fingerprint = request.claim.fingerprint
    await connection.execute(_RECORD, (*request.identity, fingerprint, kind, number))
