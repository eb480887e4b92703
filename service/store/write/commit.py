"""COMMIT: its refusals as our errors, and its outcome after a lost connection."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple

import psycopg
from psycopg.types.numeric import Int2, Int8

from service.model.errors import (
    DefinitionChanged,
    HotshelfError,
    InvalidContent,
    Location,
    OutcomeUnknown,
    Overloaded,
)
from service.store.connection import Connection, Row, is_lost
from service.store.round_trip import Step, round_trip
from service.store.shards import BucketMoved, Shard
from service.store.write import statements
from service.store.write.request import ItemRequest

_ASK_AGAIN_S = 0.05


def limiting(statement_s: float | None) -> list[Step]:
    """A step that limits the time of the transaction's later statements; none for None.

    A statement over the limit raises DatabaseTimeout, and the transaction is rolled back.
    """
    if statement_s is None:
        return []
    return [(statements.LIMIT_STATEMENTS, (str(max(1, round(statement_s * 1000))),))]


def checking(requests: Sequence[ItemRequest]) -> list[Step]:
    """What makes sure that the definitions which requests were checked with are still the same.

    It goes before what it is to protect, in the same transaction, and fails with
    DefinitionChanged (see ``refusals``).
    """
    checked = {(one.collection, one.definition) for one in requests if one.collection}
    # In one order, because a change of a definition may come between.
    return [
        (statements.CHECK_DEFINITION, (Int2(collection), Int8(version)))
        for collection, version in sorted(checked)
    ]


class Transaction(NamedTuple):
    """Identifies a transaction; ``timeline`` is the primary's, in hexadecimal."""

    now: datetime
    xid: str
    timeline: str


async def commit(
    connection: Connection, requests: Sequence[ItemRequest], *steps: Step
) -> list[list[Row]]:
    """Run the steps and COMMIT in one round trip; returns the rows of each step.

    Raises what ``refusals`` and ``confirm`` raise.
    """
    _mark(requests, True)
    try:
        with refusals():
            *answers, _ = await round_trip(connection, *steps, ("COMMIT", ()))
    except psycopg.Error as error:
        _mark(requests, is_lost(error))
        raise
    except Exception:
        _mark(requests, False)
        raise
    await confirm(connection)
    _mark(requests, False)
    return answers


def _mark(requests: Sequence[ItemRequest], commit_sent: bool) -> None:
    for request in requests:
        request.commit_sent = commit_sent


async def confirm(connection: Connection) -> None:
    """Call after COMMIT: if its wait for the synchronous replicas was cancelled, wait once more.

    Raises OutcomeUnknown if that was cancelled too: the change is committed, but a failure of one
    server may lose it.
    """
    if not connection.unconfirmed:
        return
    connection.unconfirmed = False
    await connection.execute(statements.WAIT_FOR_REPLICAS)
    if connection.unconfirmed:
        connection.unconfirmed = False
        raise OutcomeUnknown


async def committed(shard: Shard, transaction: Transaction) -> bool:
    """Whether a transaction whose COMMIT got no answer was committed.

    Its server process may still be running; this waits for its end, until the caller's deadline.
    Raises OutcomeUnknown if no server knows.
    """
    asked = (statements.TRANSACTION_STATUS, (transaction.timeline, transaction.xid))
    while True:
        try:
            async with shard.primary(reading=True) as connection:
                [[[status]]] = await round_trip(connection, asked)
        except HotshelfError as error:
            if not error.run_again:
                raise OutcomeUnknown from None
            status = "in progress"
        if status is None:
            raise OutcomeUnknown
        if status != "in progress":
            return bool(status == "committed")
        await asyncio.sleep(_ASK_AGAIN_S)


@contextmanager
def refusals() -> Iterator[None]:
    """Translate the database's refusals of a change into our errors; nothing was changed.

    Raises InvalidContent, BucketMoved, DefinitionChanged, and Overloaded if a retry may succeed.
    """
    try:
        yield
    except psycopg.errors.CheckViolation as error:
        if error.diag.constraint_name is not None:
            raise
        # No constraint's name: there is no partition here for the row.
        raise BucketMoved from None
    except psycopg.errors.NotNullViolation:
        # See _REPLACE_EXPIRED in statements.
        raise Overloaded("Another request was faster.", run_again=True) from None
    except psycopg.Error as error:
        if error.sqlstate == statements.DEFINITION_CHANGED:
            raise DefinitionChanged from None
        too_much = (error.sqlstate or "").startswith("54")
        if not too_much and not isinstance(error, psycopg.DataError):
            raise
        where = Location("cannot be stored", pointer="/data")
        raise InvalidContent("The database cannot store this data.", where) from None
