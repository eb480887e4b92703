"""Checks a Redis server before anything is stored there."""

import re
from collections.abc import Iterator
from typing import Any

from service.cache.connection import Connection
from service.cache.endpoint import Endpoint, connect, execute, parse_url
from service.cache.entries import PROBE, SCRIPTS
from service.flow.deadline import within
from service.model.errors import CacheUnavailable
from service.model.finding import Finding, Level

# A scan of this many keys is enough, because foreign keys are almost surely among them.
_SCANS, _SCAN_COUNT = 20, 500
_TIMEOUT_S = 2.0
_SHOWN = 40
# Includes prefixes of earlier releases.
_OURS = (b"item:", b"limit:", b"limit-born", b"limit-workers", b"probe", b"cache:run")


async def examine(url: str, setting: str = "redis.url", *, evicts: bool = True) -> list[Finding]:
    """Check the Redis at ``url``, the value of ``setting``; takes at most two seconds.

    ``evicts``: whether it should evict keys when it is full; true for the cache, not for limits.
    """
    endpoint = parse_url(url)
    name = f"{setting} ({_where(endpoint)})"
    try:
        said = await within(_TIMEOUT_S, _examine(endpoint, evicts))
        return [Finding(name, *one) for one in said]
    except CacheUnavailable as error:
        if error.redis_error:
            return [Finding(name, Level.WARNING, f"refuses a required command: {error.__cause__}")]
        return [Finding(name, Level.UNREACHED, str(error))]
    except (OSError, TimeoutError) as error:
        return [Finding(name, Level.UNREACHED, str(error) or "no answer")]


async def _examine(endpoint: Endpoint, evicts: bool) -> list[tuple[Level, str]]:
    def make() -> Connection:
        return Connection(_TIMEOUT_S, lambda _: None)

    connection = await connect(endpoint, make, ())
    try:
        loads = [(b"SCRIPT", b"LOAD", script.source) for script in SCRIPTS]
        [info] = await execute(connection, (b"INFO",))
        said = list(_said(_fields(bytes(info)), await _foreign_key(connection), evicts))
        if all(level is not Level.ERROR for level, _ in said):
            await execute(connection, *loads, *PROBE)
    finally:
        connection.abort("The look at the server is over.")
    return said


def _said(info: dict[str, str], foreign: bytes | None, evicts: bool) -> Iterator[tuple[Level, str]]:
    version, policy = info.get("redis_version", "?"), info.get("maxmemory_policy", "?")
    if info.get("cluster_enabled") == "1":
        yield Level.ERROR, "is a node of a Redis Cluster; use a single Redis"
    elif foreign is not None:
        key = foreign[:_SHOWN].decode("ascii", "backslashreplace")
        yield (
            Level.ERROR,
            f'the database has foreign keys, such as "{key}"; give it a database of '
            "its own (the number at the end of the URL), since its cache may evict other keys",
        )
    else:
        yield Level.OK, f"Redis {version}, maxmemory-policy {policy}"
    if version.partition(".")[0].isdecimal() and int(version.partition(".")[0]) < 6:
        yield Level.WARNING, f"Redis {version} has no RESP3: near caches stay off; use 6 or newer"
    if not evicts and policy != "noeviction":
        yield Level.WARNING, f"maxmemory-policy is {policy}: an evicted limit starts again"
    if evicts and policy == "noeviction":
        yield (
            Level.WARNING,
            "maxmemory-policy is noeviction: once its memory is full the cache takes nothing more; "
            "set allkeys-lru (or volatile-lru) and maxmemory",
        )


async def _foreign_key(connection: Connection) -> bytes | None:
    """A key that is not ours, found by a bounded scan."""
    cursor = b"0"
    for _ in range(_SCANS):
        [[cursor, keys]] = await execute(
            connection, (b"SCAN", cursor, b"COUNT", b"%d" % _SCAN_COUNT)
        )
        for key in keys:
            if not bytes(key).startswith(_OURS):
                return bytes(key)
        if cursor == b"0":
            break
    return None


def _fields(info: bytes) -> dict[str, str]:
    return dict(re.findall(r"^(\w+):([^\r\n]*)", info.decode("utf-8", "replace"), re.MULTILINE))


def _where(endpoint: Endpoint) -> str:
    server: Any = endpoint.path or f"{endpoint.host}:{endpoint.port}"
    return f"{server}/{endpoint.database}"
