"""How a transaction ended, where that is not plain from its answer."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple

import psycopg

from service.model.errors import (
    HotshelfError,
    InvalidContent,
    OutcomeUnknown,
    Overloaded,
    Place,
)
from service.store import statements
from service.store.nodes import Connection
from service.store.round_trip import round_trip
from service.store.shards import BucketMoved, Shard

_ASK_AGAIN_S = 0.05


class Transaction(NamedTuple):
    """Enough to find a transaction again. ``timeline`` is the primary's, in hexadecimal."""

    xid: str
    timeline: str
    now: datetime


async def confirm(connection: Connection) -> None:
    """Call after COMMIT: if its wait for the synchronous replicas was cut, wait once more.

    Raises OutcomeUnknown if that was cut too: the change is there, but one failure may undo it.
    """
    if not connection.unconfirmed:
        return
    connection.unconfirmed = False
    await connection.execute(statements.WAIT_FOR_REPLICAS)
    if connection.unconfirmed:
        connection.unconfirmed = False
        raise unknown()


async def committed(shard: Shard, transaction: Transaction) -> bool:
    """Whether a transaction whose COMMIT got no answer took place.

    Its server process may still be at it; then this waits, for as long as the caller lets it.
    Raises OutcomeUnknown where no server can tell.
    """
    while True:
        try:
            async with shard.primary() as connection:
                asked = (statements.TRANSACTION_STATUS, (transaction.timeline, transaction.xid))
                [[[status]]] = await round_trip(connection, asked)
        except HotshelfError as error:
            if not error.run_again:
                raise unknown() from None
            status = "in progress"
        if status is None:
            raise unknown()
        if status != "in progress":
            return bool(status == "committed")
        await asyncio.sleep(_ASK_AGAIN_S)


def unknown() -> OutcomeUnknown:
    return OutcomeUnknown("Whether the change was made is not known.", retry_after_s=1)


@contextmanager
def refusals() -> Iterator[None]:
    """What the database itself has against a change, as our errors; nothing was changed.

    Raises InvalidContent, BucketMoved, and Overloaded where running it again helps.
    """
    try:
        yield
    except psycopg.errors.CheckViolation as error:
        if error.diag.constraint_name is not None:
            raise
        # A row for a partition that is not here.
        raise BucketMoved from None
    except psycopg.errors.NotNullViolation:
        raise Overloaded("Another request was faster.", retry_after_s=1, run_again=True) from None
    except psycopg.Error as error:
        too_much = (error.sqlstate or "").startswith("54")
        if not too_much and not isinstance(error, psycopg.DataError):
            raise
        place = Place("cannot be stored", pointer="/data")
        raise InvalidContent("The database cannot store this data.", place) from None
