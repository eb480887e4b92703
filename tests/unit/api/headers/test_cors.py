"""CORS by settings alone; over the wire in tests/wire/test_cors.py."""

import pytest

from service.api.headers.cors import with_cors
from service.api.request import Reply
from service.settings import Cors

SHOP = "https://shop.test"
PREFLIGHT = {"origin": [SHOP], "access-control-request-method": ["PUT"]}


def _fields(reply: Reply) -> dict[str, str]:
    fields = dict(reply.headers)
    assert len(fields) == len(reply.headers), "a field was sent twice"
    return fields


def test_without_the_setting_nothing_changes() -> None:
    reply = Reply(204, [("allow", "GET"), ("vary", "Accept")])
    assert with_cors(Cors(), "OPTIONS", PREFLIGHT, reply) is reply


def test_a_preflight_gets_the_path_s_methods_and_every_header_we_read() -> None:
    settings = Cors(allowed_origins=("https://else.test", SHOP), max_age_s=5)
    reply = with_cors(settings, "OPTIONS", PREFLIGHT, Reply(204, [("allow", "GET, PUT")]))
    fields = _fields(reply)
    assert fields["access-control-allow-origin"] == SHOP
    assert fields["access-control-allow-methods"] == fields["allow"] == "GET, PUT"
    assert fields["access-control-max-age"] == "5"
    assert fields["vary"] == "Origin"
    allowed = set(fields["access-control-allow-headers"].split(", "))
    asked = "authorization,if-match,if-none-match,x-idempotency-key,content-type,x-api-key"
    assert set(asked.split(",")) <= allowed


@pytest.mark.parametrize("status", [200, 304, 401, 404, 412, 429, 500, 503])
def test_every_answer_can_be_read(status: int) -> None:
    settings = Cors(allowed_origins=(SHOP,))
    sent = Reply(status, [("vary", "Accept"), ("etag", '"1"')], b"body")
    reply = with_cors(settings, "GET", {"origin": [SHOP]}, sent)
    fields = _fields(reply)
    assert (reply.status, reply.body) == (status, b"body")
    assert fields["access-control-allow-origin"] == SHOP
    assert fields["vary"] == "Accept, Origin"
    exposed = set(fields["access-control-expose-headers"].split(", "))
    assert exposed >= {"etag", "location", "link", "retry-after", "ratelimit", "ratelimit-policy"}
    assert "idempotency-replayed" in exposed


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": ["https://evil.test"]},
        {"origin": ["null"]},
        {"origin": [SHOP + ".evil.test"]},
        {"origin": [SHOP.upper()]},
        {"origin": [SHOP, SHOP]},
        {"origin": [""]},
    ],
)
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_other_origins_get_no_permission(method: str, headers: dict[str, list[str]]) -> None:
    asked = headers | {"access-control-request-method": ["PUT"]}
    reply = with_cors(Cors(allowed_origins=(SHOP,)), method, asked, Reply(204, [("allow", "GET")]))
    assert _fields(reply) == {"allow": "GET", "vary": "Origin"}


def test_any_origin() -> None:
    reply = with_cors(Cors(allowed_origins=("*",)), "GET", {"origin": [SHOP]}, Reply(200, []))
    assert _fields(reply)["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in _fields(reply)
