"""The account of a request without valid credentials, despite forged fields."""

from collections.abc import Callable, Iterator

import httpx
import pytest

from service.embedded import EmbeddedStack, Stack
from tests.fixtures.made_collections import made
from tests.fixtures.redis_server import redis_server
from tests.fixtures.running import RunningService, start_service

NOBODY = "/v1/items/01ARZ3NDEKTSV4RRFFQ69G5FAV"
QUOTA = 20
# One token drains in 30 s: a handful of requests sees a whole one at most.
WINDOW_S = 600
_FOLDERS = ("straight", "proxied")


@pytest.fixture(scope="module", params=_FOLDERS)
def limited(
    request: pytest.FixtureRequest,
    stack: EmbeddedStack,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RunningService]:
    """20 requests at once, one worker; called directly, or through a trusted proxy."""
    with redis_server() as server:
        yield from _running(Stack(stack.shards, server.url), tmp_path_factory, request.param)


def _running(stack: Stack, folders: pytest.TempPathFactory, kind: str) -> Iterator[RunningService]:
    running = start_service(
        stack,
        folders.mktemp(kind),
        HOTSHELF_LIMITS_QUOTA=str(QUOTA),
        HOTSHELF_LIMITS_WINDOW_S=str(WINDOW_S),
        HOTSHELF_HTTP_TRUSTED_PROXIES="127.0.0.0/8" if kind == "proxied" else "",
    )
    running.age_redis()
    yield running
    assert running.stop() == 0


def _ask(limited: RunningService, *lines: tuple[str, str], source: str = "127.0.0.1") -> int:
    transport = httpx.HTTPTransport(local_address=source)
    with httpx.Client(transport=transport, timeout=30) as client:
        return client.get(limited.url + NOBODY, headers=list(lines)).status_code


def _use_up(ask: Callable[[int], int]) -> None:
    """Asks until refused for the first time, and has to be refused in time."""
    statuses = [ask(n) for n in range(QUOTA + 3)]
    assert statuses[:QUOTA] == [401] * QUOTA
    assert statuses[-1] == 429


def test_no_invention_gives_a_fresh_allowance(limited: RunningService) -> None:
    proxied = "proxied" in str(limited.log)
    forged = ("x-real-ip", "forwarded", "x-client-ip", "true-client-ip", "x-forwarded-for")

    def invent(n: int) -> int:
        name = forged[n % (4 if proxied else 5)]
        value = f"for=203.0.113.{n}" if name == "forwarded" else f"203.0.113.{n}"
        return _ask(limited, (name, value))

    _use_up(invent)
    # Garbage where the proxy's own word should be counts as the proxy, which is used up.
    for garbage in ("garbage", "1.2.3.4, 300.1.1.1", "", ",", "1.2.3.4,", "[::1", "unknown"):
        assert _ask(limited, ("x-forwarded-for", garbage)) == 429


def test_a_key_has_its_own_limit_despite_headers(limited: RunningService) -> None:
    rate = f"7/{WINDOW_S}"
    key = limited.command("keys", "create", "--owner", "olivia", "--rate", rate)
    # From an address with tokens left: a key that is not known yet costs its address one.
    statuses = [
        _ask(limited, ("x-api-key", key), ("x-forwarded-for", f"192.0.2.{n}"), source="127.0.0.77")
        for n in range(10)
    ]
    assert statuses == [404] * 7 + [429] * 3


@pytest.mark.parametrize("limited", ["proxied"], indirect=True)
def test_behind_a_proxy_the_right_most_untrusted_address_counts(limited: RunningService) -> None:
    forwarded = "x-forwarded-for"
    _use_up(lambda n: _ask(limited, (forwarded, f"203.0.113.{n}, 198.51.100.20")))
    _use_up(lambda n: _ask(limited, (forwarded, f"198.51.100.2{n}"), (forwarded, "198.51.100.19")))
    _use_up(lambda n: _ask(limited, (forwarded, f"203.0.113.{n}, 198.51.100.18, 127.0.0.{n + 1}")))
    # Neither of two clients of the proxy pays for the other.
    assert _ask(limited, (forwarded, "198.51.100.17")) == 401


@pytest.mark.parametrize("limited", ["proxied"], indirect=True)
def test_an_ipv6_network_is_one_caller(limited: RunningService) -> None:
    forwarded = "x-forwarded-for"
    _use_up(lambda n: _ask(limited, (forwarded, f"2001:db8:29:1:{n:x}::{n * 777:x}")))
    assert _ask(limited, (forwarded, "[2001:db8:29:1::5]:4711")) == 429
    assert _ask(limited, (forwarded, "2001:db8:29:2::5")) == 401
    # An IPv4 address written as IPv6 is that IPv4 address and no network of four billion.
    _use_up(lambda _: _ask(limited, (forwarded, "::ffff:198.51.100.30")))
    assert _ask(limited, (forwarded, "198.51.100.30")) == 429
    assert _ask(limited, (forwarded, "::ffff:198.51.100.31")) == 401
    _use_up(lambda n: _ask(limited, (forwarded, f"fe80::{n:x}%eth{n}")))


@pytest.mark.parametrize("limited", ["proxied"], indirect=True)
@pytest.mark.parametrize("kind", ["token", "key"])
def test_guesses_are_counted_by_address_and_good_credentials_are_not(
    limited: RunningService, kind: str
) -> None:
    address = ("x-forwarded-for", f"198.51.100.{40 + len(kind)}")

    def guess(n: int) -> int:
        if kind == "key":
            return _ask(limited, address, ("x-api-key", f"hsk_{n:043d}"))
        return _ask(limited, address, ("authorization", f"Bearer {limited.token()}{n}"))

    _use_up(guess)
    good = f"Bearer {limited.token(f'good {kind}')}"
    assert _ask(limited, address, ("authorization", good)) == 404


def test_public_reads_are_limited_by_address(limited: RunningService) -> None:
    name = made(limited, read="public")
    paths = (f"/v1/{name}", f"/v1/{name}/{NOBODY[-26:]}", f"/v2/{name}?page[size]=1")
    source = "127.0.0.91"
    transport = httpx.HTTPTransport(local_address=source)
    with httpx.Client(base_url=limited.url, transport=transport, timeout=30) as nobody:
        statuses = [nobody.get(paths[n % 3]).status_code for n in range(QUOTA + 3)]
        assert set(statuses[:QUOTA]) == {200, 404}
        assert statuses[-1] == 429
        searched = nobody.post(f"/v1/{name}/search", json={})
        assert searched.status_code == 429
        # An account of its own.
        mine = {"authorization": f"Bearer {limited.token('alice', f'{name}:read')}"}
        assert nobody.get(paths[0], headers=mine).status_code == 200
