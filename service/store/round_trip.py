"""Several statements in one round trip: libpq's pipeline mode, with one Sync each.

psycopg's own pipelines wait for the socket before each statement; with them a PUT took 870 µs of
CPU time, with this 310 (docs/decisions/0080-writes.md). Statements are prepared at first use.
"""

import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from itertools import count
from typing import Any, TypeAlias

from psycopg import abc
from psycopg.abc import PQGen
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.generators import fetch_many, send
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult

from service.observe.metrics import STATEMENT_SECONDS
from service.observe.tracing import Work
from service.store.connection import Connection, Row
from service.store.statement_kinds import kind_of

Step: TypeAlias = tuple[str, Sequence[Any]]


async def round_trip(connection: Connection, *steps: Step) -> list[list[Row]]:
    """The rows of each statement; a step is a statement with its parameters.

    Outside of a transaction they form one. Raises the error of the first failing one; later ones
    were not executed then.
    """
    transformer = Transformer.from_context(connection)
    commands: list[Callable[[], None]] = []
    answered: list[str | None] = []
    preparing: set[str] = set()
    for statement, parameters in steps:
        is_new = statement not in connection.prepared and statement not in preparing
        if is_new:
            preparing.add(statement)
        for command, prepared in _commands(connection, transformer, statement, parameters, is_new):
            commands.append(command)
            answered.append(prepared)
    began, kind = time.perf_counter(), kind_of(steps)
    try:
        with Work("postgresql", {"db.operation.name": kind, "hotshelf.shard": connection.shard}):
            async with connection.lock:
                results = await connection.wait(_exchange(connection.pgconn, commands))
    finally:
        spread = STATEMENT_SECONDS.of(connection.shard, kind)
        spread.observe(time.perf_counter() - began)
    rows = []
    for result, prepared in zip(results, answered, strict=True):
        if result.status == ExecStatus.FATAL_ERROR:
            raise error_from_result(result, connection.info.encoding)
        if prepared is not None:
            connection.prepared.add(prepared)
        else:
            transformer.set_pgresult(result)
            rows.append(transformer.load_rows(0, result.ntuples, tuple))
    return rows


def _commands(
    connection: Connection,
    transformer: abc.Transformer,
    statement: str,
    parameters: Sequence[Any],
    is_new: bool,
) -> list[tuple[Callable[[], None], str | None]]:
    """The commands to send, each with the statement that it prepares, if any."""
    values = transformer.dump_sequence(parameters, [PyFormat.BINARY] * len(parameters))
    types, formats = transformer.types, transformer.formats
    pgconn = connection.pgconn
    name, text = _named(statement)
    execute = partial(pgconn.send_query_prepared, name, values, param_formats=formats)
    if not is_new:
        return [(execute, None)]
    return [(partial(pgconn.send_prepare, name, text, types), statement), (execute, None)]


_numbers = count(1)


@cache
def _named(statement: str) -> tuple[bytes, bytes]:
    """A unique name for the statement, and its text with numbered parameters."""
    first, *others = statement.split("%b")
    text = first + "".join(f"${n}{part}" for n, part in enumerate(others, 1))
    return b"hotshelf_%d" % next(_numbers), text.encode()


def _exchange(pgconn: PGconn, commands: Sequence[Callable[[], None]]) -> PQGen[list[PGresult]]:
    results: list[PGresult] = []
    pgconn.enter_pipeline_mode()
    for command in commands:
        command()
    pgconn.pipeline_sync()
    yield from send(pgconn)
    while True:
        fetched = yield from fetch_many(pgconn)
        if fetched and fetched[0].status == ExecStatus.PIPELINE_SYNC:
            break
        results += fetched[:1]
    pgconn.exit_pipeline_mode()
    return results
