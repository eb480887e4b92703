"""Log lines: one object each, without exception messages, and unforgeable."""

import json
import logging
import random
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.observe.access_log import AccessLog
from service.observe.logs import JsonLines, TextLines, fields

SECRET = "the-row-said-4711"


def record(event: str, error: BaseException | None = None, **values: Any) -> logging.LogRecord:
    info = None if error is None else (type(error), error, error.__traceback__)
    made = logging.LogRecord("service.test", logging.WARNING, "x.py", 1, event, (), info)
    made.__dict__.update(fields(**values)["extra"])
    return made


def test_a_line_is_an_object_with_fields() -> None:
    line = json.loads(JsonLines(worker=3).format(record("breaker", node="redis", state="open")))
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "warning",
        "event": "breaker",
        "node": "redis",
        "state": "open",
        "worker": 3,
        "logger": "service.test",
    }


def test_text_is_for_a_terminal() -> None:
    line = TextLines().format(record("breaker", node="shard-0/node-1", why="it is slow"))
    assert line.endswith('WARNING breaker node=shard-0/node-1 why="it is slow" logger=service.test')


@given(st.text(), st.text())
def test_lines_cannot_be_forged(event: str, value: str) -> None:
    """Case: line feeds of all kinds, and what steers a terminal."""
    for lines in (JsonLines(), TextLines()):
        text = lines.format(record(event.replace("%", ""), value=value))
        assert len(text.splitlines()) == 1
        assert text.isascii()
        assert text.isprintable()


def test_a_text_value_cannot_pass_for_another_field() -> None:
    line = TextLines().format(record("request", route='x status=200 caller="a"'))
    assert 'route="x status=200 caller=\\"a\\""' in line


def _raised(error: Exception) -> Exception:
    try:
        try:
            raise psycopg.errors.CheckViolation(f"DETAIL: {SECRET}")
        except psycopg.Error as cause:
            raise error from cause
    except Exception as raised:
        return raised


@pytest.mark.parametrize("lines", [JsonLines(), TextLines()])
def test_exception_messages_are_left_out(lines: logging.Formatter) -> None:
    text = lines.format(record("request-failed", _raised(ValueError(SECRET))))
    assert SECRET not in text
    assert "ValueError" in text
    assert "CheckViolation" in text
    assert "23514" in text
    assert "test_logs.py" in text
    assert "_raised" in text


def test_asyncio_quotes_exceptions_on_further_lines() -> None:
    text = JsonLines().format(record(f"Task exception was never retrieved\nfuture: {SECRET}"))
    assert SECRET not in text


def _observe(log: AccessLog, status: int = 200, took_s: float = 0.001) -> None:
    log.observe("id-1", "", "GET", "/v1/items/{id}", status, took_s, "near", "subject:ada", 300)


def test_a_share_of_requests_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    log = AccessLog(0.1, 1.0, b"salt", random.Random(1))
    for _ in range(10_000):
        _observe(log)
    assert 800 < len(caplog.records) < 1200
    said = caplog.records[0].fields  # type: ignore[attr-defined]
    assert said == {
        "request_id": "id-1",
        "method": "GET",
        "route": "/v1/items/{id}",
        "status": 200,
        "duration_ms": 1.0,
        "source": "near",
        "caller": log.hashed("subject:ada"),
        "bytes": 300,
    }


@pytest.mark.parametrize(("share", "told"), [(0.0, 0), (1.0, 50)])
def test_none_or_all(caplog: pytest.LogCaptureFixture, share: float, told: int) -> None:
    caplog.set_level(logging.INFO)
    log = AccessLog(share, 1.0, b"salt")
    for _ in range(50):
        _observe(log)
    assert len(caplog.records) == told


def test_errors_and_slow_requests_are_always_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    log = AccessLog(0.0, 1.0, b"salt")
    _observe(log, status=404)
    _observe(log, status=503)
    _observe(log, took_s=1.0)
    told = [(r.levelname, r.fields["status"]) for r in caplog.records]  # type: ignore[attr-defined]
    assert told == [("ERROR", 503), ("INFO", 200)]


def test_an_outage_does_not_flood_the_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    caplog.set_level(logging.INFO)
    log = AccessLog(0.0, 1.0, b"salt")
    for _ in range(1000):
        _observe(log, status=503)
    assert len(caplog.records) == 100
    now[0] = 2.0
    _observe(log, status=503)
    assert caplog.records[-1].fields["left_out"] == 900  # type: ignore[attr-defined]


def test_callers_are_distinguished_only_under_one_salt() -> None:
    one, other = AccessLog(0, 1, b"one"), AccessLog(0, 1, b"other")
    assert one.hashed("ada") == one.hashed("ada") != one.hashed("bob")
    assert one.hashed("ada") != other.hashed("ada")
    assert "ada" not in one.hashed("ada")
