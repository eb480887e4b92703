"""That the search for printed secrets finds one: a planted secret of each kind."""

import base64
from pathlib import Path

import httpx
import pytest

from tests.fixtures.printed import Printed, note_request, note_response

SECRET = "planted-" + "s3cret" * 4
TOKEN = f"aaaa.bbbb.{SECRET}"
BASIC = base64.b64encode(f"till:{SECRET}".encode()).decode()


@pytest.fixture
def printed(tmp_path: Path) -> Printed:
    """A log that says one harmless line."""
    log = tmp_path / "service.log"
    log.write_text("INFO started\n")
    return Printed(logs={log})


def _plant(printed: Printed, text: str) -> None:
    (log,) = printed.logs
    log.write_text(f"{log.read_text()}WARNING refused {text}\n")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("authorization", f"Bearer {TOKEN}"),
        ("authorization", f"bearer  {TOKEN}"),
        ("authorization", f"Basic {BASIC}"),
        ("x-api-key", SECRET),
    ],
)
def test_a_credential_that_was_sent_is_found(printed: Printed, field: str, value: str) -> None:
    note_request(printed, httpx.Request("GET", "http://test/", headers={field: value}))
    assert printed.leaks() == []
    _plant(printed, f"({SECRET})")
    (leak,) = printed.leaks()
    assert leak.startswith("plan… in ")
    assert SECRET not in leak


def test_a_granted_token_is_found(printed: Printed) -> None:
    asked = httpx.Request("POST", "http://test/oauth2/token")
    note_response(printed, httpx.Response(200, request=asked, json={"access_token": TOKEN}))
    _plant(printed, TOKEN)
    assert len(printed.leaks()) == 1


@pytest.mark.parametrize(("status", "path"), [(500, "/v1/items"), (200, "/metrics")])
def test_errors_and_metrics_are_searched(printed: Printed, status: int, path: str) -> None:
    asked = httpx.Request("GET", f"http://test{path}")
    note_response(printed, httpx.Response(status, request=asked, text=f"key={SECRET}"))
    assert printed.leaks() == []
    printed.note(SECRET)
    assert len(printed.leaks()) == 1


def test_a_password_is_found_as_written_and_as_meant(printed: Printed) -> None:
    printed.note_url("postgresql://hotshelf:p%40ss@127.0.0.1/postgres")
    _plant(printed, "connection to p%40ss")
    _plant(printed, "connection to p@ss")
    assert len(printed.leaks()) == 2


def test_a_log_that_goes_away_is_kept(printed: Printed, tmp_path: Path) -> None:
    short_lived = tmp_path / "run.log"
    short_lived.write_text(SECRET)
    printed.keep(short_lived)
    short_lived.unlink()
    printed.note(SECRET)
    assert len(printed.leaks()) == 1


def test_short_words_are_no_secrets(printed: Printed) -> None:
    printed.note("started")
    assert printed.leaks() == []
