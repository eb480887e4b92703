"""The work for a client that has closed its connection ends."""

from collections.abc import Iterator
from pathlib import Path

import orjson
import psycopg
import pytest

from service.embedded import EmbeddedStack, Stack
from tests.fixtures.databases import empty_databases
from tests.fixtures.running import RunningService, start_service
from tests.fixtures.stack import execute
from tests.fixtures.wire import Connection, eventually, request

WAITING = """
    SELECT count(*) FROM pg_stat_activity
     WHERE wait_event_type = 'Lock' AND datname = current_database()"""
CLIENTS = 5


@pytest.fixture
def patient(stack: EmbeddedStack, tmp_path: Path) -> Iterator[tuple[RunningService, str]]:
    """One worker, whose statements may take longer than the test."""
    with empty_databases(stack) as [[primary, *_]]:
        running = start_service(
            Stack([[primary]], stack.redis_url), tmp_path, HOTSHELF_DATABASE_TIMEOUT_S="300"
        )
        yield running, primary
        assert running.stop() == 0


ROW = "SELECT FROM items FOR UPDATE"
TABLE = "LOCK TABLE items IN ACCESS EXCLUSIVE MODE"


@pytest.mark.parametrize(
    ("lock", "method", "path", "body"),
    [
        (ROW, "PUT", "/v1/items/{}", b'{"data":{"n":2}}'),
        (TABLE, "PUT", "/v1/items/{}", b'{"data":{"n":2}}'),
        (TABLE, "POST", "/v1/items/search", b"{}"),
        (TABLE, "POST", "/v1/items:batch", b'{"operations":[{"op":"get","id":"{}"}]}'),
    ],
)
def test_their_statements_end(
    patient: tuple[RunningService, str], lock: str, method: str, path: str, body: bytes
) -> None:
    running, database = patient
    with running.client() as client:
        key = {"idempotency-key": "k"}
        item = client.post("/v1/items", json={"data": {"n": 1}}, headers=key).json()["id"]
    fields = [f"Authorization: Bearer {running.token()}", "Content-Type: application/json"]
    sent = request(
        method,
        path.replace("{}", item),
        *fields,
        *(["If-Match: *"] if method == "PUT" else []),
        body=body.replace(b'"{}"', b'"%b"' % item.encode()),
    )
    with psycopg.connect(database) as holder:
        holder.execute(lock)
        left = [Connection(int(running.url.rpartition(":")[2])) for _ in range(CLIENTS)]
        for connection in left:
            connection.send(sent)
        eventually(lambda: execute(database, WAITING) != [(0,)])
        for connection in left:
            connection.__exit__()
        eventually(lambda: execute(database, WAITING) == [(0,)])
        # Not as many as there are clients, if the service has not read all their requests.
        eventually(lambda: _statuses(running) == {499})
        holder.rollback()
    with running.client() as client:
        assert client.get(f"/v1/items/{item}").json()["data"] == {"n": 1}
        changed = client.put(f"/v1/items/{item}", json={"data": {}}, headers={"if-match": "*"})
        assert changed.status_code == 200


def _statuses(running: RunningService) -> set[int]:
    """Of failed requests, from the access log."""
    lines = [orjson.loads(line) for line in running.log.read_bytes().splitlines()]
    return {line["status"] for line in lines if line.get("status", 200) >= 400}
