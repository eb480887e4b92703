"""The status page and the operators' port: who may see them, and what a browser makes of it."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from service.embedded import EmbeddedStack, Stack
from tests.fixtures.ports import free_port
from tests.fixtures.running import RunningService, start_service
from tests.fixtures.wire import Connection, eventually, request

_DRAWN = """
    const drawn = (path) => path.getAttribute("d").length > 20;
    return [...document.querySelectorAll("path.series")].filter(drawn).length"""


@pytest.fixture(scope="module")
def running(
    stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningService]:
    running = start_service(
        Stack(stack.shards, stack.redis_url),
        tmp_path_factory.mktemp("status"),
        HOTSHELF_HTTP_WORKERS="2",
        HOTSHELF_ADMIN_PORT=str(free_port()),
    )
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def admin(running: RunningService) -> str:
    return f"http://127.0.0.1:{running.env['HOTSHELF_ADMIN_PORT']}"


@pytest.fixture(scope="module")
def busy(running: RunningService) -> str:
    """The page's URL, once there is something to draw."""
    with running.client("olga") as owner, running.client("reader") as reader:
        made = owner.post("/v1/items", json={"data": {}}, headers={"idempotency-key": "status"})
        path = f"/v1/items/{made.json()['id']}"

        def drawable() -> bool:
            for _ in range(50):
                reader.get(path)
            reader.get("/v1/items/0")
            history = data(running.url)["history"]
            return len([x for x in history.get("by_near", []) if x]) >= 3

        eventually_slowly(drawable)
    return f"{running.url}/status"


def eventually_slowly(condition: Any) -> None:
    """Points of the history are five seconds apart."""
    for _ in range(60):
        if condition():
            return
        time.sleep(1)
    raise AssertionError("it never came true")


def data(url: str) -> dict[str, Any]:
    answer = httpx.get(f"{url}/status/data", timeout=30)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize("path", ["/status", "/status/data", "/status/page.js"])
def test_this_machine_and_admins_may_see_it(running: RunningService, path: str) -> None:
    url = running.url + path
    assert httpx.get(url).status_code == 200
    passed_on = {"x-forwarded-for": "192.0.2.1"}
    assert httpx.get(url, headers=passed_on).status_code == 401
    with running.client() as client:
        assert client.get(path, headers=passed_on).json()["code"] == "insufficient-scope"
    with running.client("ada", "items:admin") as client:
        assert client.get(path, headers=passed_on).status_code == 200


def test_it_shows_the_hosts_numbers(running: RunningService, busy: str) -> None:
    eventually(lambda: len(data(running.url)["nodes"]) == 4)
    eventually(lambda: data(running.url)["gauges"]["workers"] == 2)
    found = data(running.url)
    assert {node["role"] for node in found["nodes"]} == {"primary", "replica"}
    assert all(node["timeline"] >= 1 for node in found["nodes"])
    lags = [node["lag_bytes"] for node in found["nodes"] if node["role"] == "replica"]
    assert len(lags) == 2
    assert None not in lags
    assert [shard["buckets"] for shard in found["shards"]] == ["0-7", "8-15"]
    assert all(shard["outbox_rows"] is not None for shard in found["shards"])
    assert {b["node"] for b in found["breakers"]} >= {"redis", "shard-0/primary"}
    assert {b["worker"] for b in found["breakers"]} == {0, 1}
    assert found["build"]["version"]
    eventually(lambda: "connections" in data(running.url)["gauges"])
    assert "reader" not in json.dumps(found)
    assert busy


def test_the_busiest_keys_are_hashed(running: RunningService) -> None:
    with running.client("the-busiest") as client:

        def told() -> bool:
            for _ in range(30):
                client.get("/v1/items/0")
            return bool(data(running.url)["busiest"])

        eventually_slowly(told)
    for key in data(running.url)["busiest"]:
        assert re.fullmatch(r"[0-9a-f]{16}", key["caller"])
        assert key["per_s"] > 0


def test_the_operators_port_has_probes_metrics_and_status(
    running: RunningService, admin: str
) -> None:
    assert httpx.get(f"{admin}/livez").json() == {"status": "alive"}
    assert httpx.get(f"{admin}/readyz").json()["status"] == "ready"
    assert "hotshelf_workers 2" in httpx.get(f"{admin}/metrics").text
    assert data(admin)["gauges"]
    page = httpx.get(f"{admin}/status")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert httpx.get(f"{admin}/status/style.css").headers["content-type"].startswith("text/css")
    assert httpx.head(f"{admin}/livez").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/items", 404),
        ("GET", "/status/../v1/items", 404),
        ("GET", "/status/page.html", 404),
        ("POST", "/livez", 405),
    ],
)
def test_and_nothing_else(admin: str, method: str, path: str, status: int) -> None:
    assert httpx.request(method, admin + path).status_code == status


def test_a_name_from_elsewhere_that_leads_to_it_is_refused(admin: str) -> None:
    for host, status in (
        ("evil.test", 421),
        ("evil.test:80", 421),
        ("localhost:1", 200),
        ("[::1]:9", 200),
    ):
        assert httpx.get(f"{admin}/livez", headers={"host": host}).status_code == status


def test_probes_get_through_while_the_public_port_is_full(
    running: RunningService, admin: str
) -> None:
    port = int(running.url.rpartition(":")[2])
    with ExitStack() as held:
        for _ in range(300):
            connection = held.enter_context(Connection(port))
            connection.send(request("GET", "/v1/items")[:-2])
        assert httpx.get(f"{admin}/readyz").json()["status"] == "ready"
        eventually(lambda: bool(data(admin)["gauges"]["connections"] >= 300))


def test_a_browser_draws_it_without_other_hosts(
    chromium: Chrome, running: RunningService, busy: str
) -> None:
    chromium.get(busy)
    WebDriverWait(chromium, 60).until(lambda c: c.execute_script(_DRAWN) >= 6)
    updated = chromium.find_element(By.ID, "updated").text
    WebDriverWait(chromium, 60).until(lambda c: c.find_element(By.ID, "updated").text != updated)
    for name in ("nodes", "shards", "breakers", "percentiles"):
        assert chromium.find_elements(By.CSS_SELECTOR, f"#{name} td"), name
    hosts = {
        entry.split("/")[2]
        for entry in chromium.execute_script(
            "return performance.getEntriesByType('resource').map(e => e.name)"
        )
    }
    assert hosts == {running.url.partition("//")[2]}
    assert [line for line in chromium.get_log("browser") if line["level"] == "SEVERE"] == []  # type: ignore[no-untyped-call]


def test_a_keyboard_is_enough(chromium: Chrome, busy: str) -> None:
    chromium.get(busy)
    WebDriverWait(chromium, 60).until(lambda c: c.execute_script(_DRAWN) >= 6)
    chart = chromium.find_element(By.CSS_SELECTOR, "svg")
    latest = chart.get_attribute("aria-label")
    assert latest is not None
    assert "Answers: all" in latest
    focused: set[str] = set()
    for _ in range(6):
        chromium.switch_to.active_element.send_keys(Keys.TAB)
        focused.add(chromium.switch_to.active_element.tag_name)
    assert focused >= {"a", "button", "svg"}
    chart.send_keys(Keys.HOME)
    assert chart.get_attribute("aria-label") != latest
    assert chromium.find_elements(By.CSS_SELECTOR, "line.cursor")
    chart.send_keys(Keys.ESCAPE)
    assert not chromium.find_elements(By.CSS_SELECTOR, "line.cursor")
    pause = chromium.find_element(By.ID, "pause")
    pause.send_keys(Keys.SPACE)
    assert pause.get_attribute("aria-pressed") == "true"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_on_a_phone_in_light_and_dark(chromium: Chrome, busy: str, scheme: str) -> None:
    chromium.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    chromium.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 400, "height": 900, "deviceScaleFactor": 1, "mobile": True},
    )
    chromium.get(busy)
    WebDriverWait(chromium, 60).until(lambda c: c.execute_script(_DRAWN) >= 6)
    assert chromium.execute_script("return document.documentElement.scrollWidth") <= 400
    shade = chromium.execute_script("return getComputedStyle(document.body).backgroundColor")
    brightness = sum(int(part) for part in shade[4:-1].split(","))
    assert (brightness > 600) == (scheme == "light")
