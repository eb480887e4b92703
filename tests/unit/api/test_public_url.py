"""How Location and links begin: by the setting, else as a trusted proxy says, else relative."""

import pytest

from service.access.peer import TrustedProxies
from service.api.public_url import PublicUrl
from service.api.request import RequestContext

PROXIES = TrustedProxies(["10.0.0.0/8", "2001:db8::/32"])
PROTO, HOST = "x-forwarded-proto", "x-forwarded-host"


async def _no_body() -> bytes:
    raise AssertionError


def _context(fields: dict[str, list[str]], peer: str = "10.0.0.1") -> RequestContext:
    headers = {"host": ["inner:8080"], **fields}
    return RequestContext("GET", "http", "/v1/items", "", headers, peer, "id", _no_body)


@pytest.mark.parametrize(
    ("fields", "base"),
    [
        ({}, ""),
        ({PROTO: ["https"], HOST: ["shop.example"]}, "https://shop.example"),
        ({PROTO: ["HTTPS"], HOST: ["shop.example:8443"]}, "https://shop.example:8443"),
        ({PROTO: ["https"]}, "https://inner:8080"),
        ({HOST: ["shop.example"]}, "http://shop.example"),
        ({HOST: ["[2001:db8::1]:443"], PROTO: ["https"]}, "https://[2001:db8::1]:443"),
        # What stands left of the proxy's own word may be the client's.
        ({PROTO: ["ftp, http", "http , https"], HOST: ["evil, shop.example"]},
         "https://shop.example"),
        ({PROTO: ["https"], HOST: ["x," * 5000 + "shop.example"]}, "https://shop.example"),
    ],
)  # fmt: skip
def test_fields_of_a_trusted_proxy_count(fields: dict[str, list[str]], base: str) -> None:
    assert PublicUrl("", PROXIES).of(_context(fields)) == base
    assert PublicUrl("", PROXIES).of(_context(fields, "2001:db8::9")) == base


@pytest.mark.parametrize(
    "host",
    [
        *("", "a b", "a/b", "u@a", "a?b", "a#b", "a\\b", '"a"', "a:b", "a:123456", "[::1", "::1"),
        *("a" * 254, "[" + "1" * 46 + "]", "https://a", "a%20", "a\r\nb: c", "a,"),
    ],
)
def test_a_host_that_is_none_counts_as_not_sent(host: str) -> None:
    base = PublicUrl("", PROXIES)
    assert base.of(_context({HOST: [host]})) == ""
    assert base.of(_context({HOST: [host], PROTO: ["https"]})) == "https://inner:8080"
    assert base.of(_context({"host": [host], PROTO: ["https"]})) == ""


@pytest.mark.parametrize("proto", ["", "ftp", "https:", "javascript", "https://", "ws", "https;"])
def test_a_scheme_that_is_none_counts_as_not_sent(proto: str) -> None:
    assert PublicUrl("", PROXIES).of(_context({PROTO: [proto]})) == ""
    sent = {PROTO: [proto], HOST: ["shop.example"]}
    assert PublicUrl("", PROXIES).of(_context(sent)) == "http://shop.example"


@pytest.mark.parametrize("peer", ["192.0.2.1", "", "unix", "11.0.0.1"])
def test_fields_of_others_are_ignored(peer: str) -> None:
    sent = {PROTO: ["https"], HOST: ["evil.example"]}
    assert PublicUrl("", PROXIES).of(_context(sent, peer)) == ""
    assert PublicUrl("", TrustedProxies(())).of(_context(sent, peer)) == ""


def test_the_setting_wins() -> None:
    sent = {PROTO: ["https"], HOST: ["other.example"]}
    base = PublicUrl("https://shop.example/api/", PROXIES)
    assert base.of(_context(sent)) == base.of(_context({})) == "https://shop.example/api"
