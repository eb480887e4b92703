"""Dashboards, alerts and docs/metrics.md, against a scrape of a loaded stack.

The queries are run by a real Prometheus where one is installed (Debian's package prometheus).
"""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.embedded import EmbeddedStack, Stack
from service.observe.metrics import REGISTRY
from tests.fixtures.looked_at import Load
from tests.fixtures.numbers import scrape
from tests.fixtures.ports import free_port
from tests.fixtures.running import RunningService, start_service
from tests.fixtures.wire import eventually

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/prometheus/rules.yml"
BOARDS = sorted((ROOT / "deploy/grafana").glob("*.json"))
_CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ["{rules}"]
scrape_configs:
  - job_name: hotshelf
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""
# What a healthy stack has no value for: a query alone says nothing of them.
_NOTHING_WHILE_ALL_IS_WELL = re.compile(r"==|>")


@pytest.fixture(scope="module")
def running(
    stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningService]:
    running = start_service(
        Stack(stack.shards, stack.redis_url),
        tmp_path_factory.mktemp("dashboards"),
        HOTSHELF_HTTP_WORKERS="2",
    )
    yield running
    assert running.stop() == 0


def _queries() -> list[tuple[str, str]]:
    """Title and query of each target, with Grafana's variables as it would fill them in."""
    found = []
    for board in BOARDS:
        for panel in json.loads(board.read_text())["panels"]:
            for target in panel.get("targets", ()):
                query = target["expr"].replace("$__rate_interval", "1m")
                query = query.replace("$job", ".*").replace("$instance", ".*")
                found.append((f"{board.stem}: {panel['title']}", query))
    return found


def _rules() -> list[dict[str, str]]:
    """The rules file by lines, since we install no YAML reader: alert or record, expr, link."""
    rules: list[dict[str, str]] = []
    for line in RULES.read_text().splitlines():
        found = re.fullmatch(r"\s*(- )?(alert|record|expr|runbook_url): (.*)", line)
        if found:
            if found[1]:
                rules.append({"name": found[3]})
            rules[-1][found[2]] = found[3]
    return rules


def test_the_metrics_page_and_a_scrape_under_load_name_the_same(running: RunningService) -> None:
    load = Load(running)
    page = (ROOT / "docs/metrics.md").read_text()
    documented = set(re.findall(r"^\| `(hotshelf_\w+)`", page, re.MULTILINE))
    assert documented == set(REGISTRY.described)

    def missing() -> set[str]:
        load.turn()
        names = {name for name, _ in scrape(running.url)}
        found = {re.sub("_(bucket|sum|count)$", "", name) for name in names}
        return documented - found

    eventually(lambda: not missing())


def test_under_load_every_label_says_something(running: RunningService) -> None:
    load = Load(running)
    for _ in range(3):
        load.turn()
    series = scrape(running.url)

    def values(name: str, label: str) -> set[str]:
        return {dict(labels)[label] for of, labels in series if of == name}

    assert values("hotshelf_request_duration_seconds_count", "source") >= {"near", "", "primary"}
    assert values("hotshelf_limiter_decisions_total", "scope") == {"shared"}
    assert values("hotshelf_idempotency_total", "result") >= {"first", "replayed", "mismatch"}
    assert values("hotshelf_batch_size_count", "kind") == {"read", "write"}
    kinds = values("hotshelf_statement_duration_seconds_count", "kind")
    assert kinds >= {"read", "create", "commit", "lock", "list", "outbox", "position"}
    assert "other" not in kinds
    assert values("hotshelf_cache_events_total", "event") >= {"mark", "permit", "fill"}
    assert values("hotshelf_redis_commands_total", "command") >= {"get", "mark", "swap", "take"}
    assert values("hotshelf_compressed_bytes_total", "coding") >= {"gzip", "br"}
    nodes = {"shard-0/node-0", "shard-0/node-1", "shard-1/node-0", "shard-1/node-1"}
    assert values("hotshelf_pool_connections", "node") == nodes


def test_every_alert_links_to_a_paragraph_of_the_runbook() -> None:
    runbook = (ROOT / "docs/runbook.md").read_text()
    anchors = {
        re.sub(r"[^a-z0-9-]", "", title.lower().replace(" ", "-"))
        for title in re.findall(r"^## (.*)$", runbook, re.MULTILINE)
    }
    alerts = [rule for rule in _rules() if "alert" in rule]
    assert len(alerts) > 15
    for rule in alerts:
        assert rule["runbook_url"].removeprefix("docs/runbook.md#") in anchors, rule
        assert rule["alert"] in runbook
    assert anchors == {rule["runbook_url"].partition("#")[2] for rule in alerts}


@contextmanager
def _prometheus(folder: Path, port: int) -> Iterator[str]:
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("no Prometheus here: apt-get install prometheus")
    config = folder / "prometheus.yml"
    config.write_text(_CONFIG.format(rules=RULES, port=port))
    address = f"127.0.0.1:{free_port()}"
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(program, f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"),
                *(f"--web.listen-address={address}", "--enable-feature=exemplar-storage"),
            ],
            stdout=log,
            stderr=log,
        )
    try:
        eventually(lambda: _is_ready(f"http://{address}"))
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(30)


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready").status_code == 200
    except httpx.TransportError:
        return False


def _asked(url: str, query: str) -> list[Any]:
    answer = httpx.get(f"{url}/api/v1/query", params={"query": query}, timeout=30).json()
    assert answer["status"] == "success", (query, answer)
    result: list[Any] = answer["data"]["result"]
    return result


def test_prometheus_answers_every_panel_and_every_rule(
    running: RunningService, tmp_path: Path
) -> None:
    port = int(running.url.rpartition(":")[2])
    with _prometheus(tmp_path, port) as url, Load(running).going_on():
        assert len(_queries()) > 45
        # What rules record comes with the interval of their group, 30 s.
        recorded = [(rule["record"], rule["record"]) for rule in _rules() if "record" in rule]
        wanted = [*_queries(), *recorded]
        for _ in range(60):
            empty = {title for title, q in wanted if not _has_a_number(_asked(url, q))}
            if not empty:
                break
            time.sleep(2)
        assert not empty
        for rule in _rules():
            found = _asked(url, rule["expr"])
            if "record" in rule:
                assert found, rule
            elif not _NOTHING_WHILE_ALL_IS_WELL.search(rule["expr"]):
                assert not found, rule
            else:
                # What it compares must be there, or it could never fire.
                compared = re.split(r" (?:>|==|unless) ", rule["expr"])[0]
                assert _asked(url, compared), rule
        groups = httpx.get(f"{url}/api/v1/rules").json()["data"]["groups"]
        assert [r for g in groups for r in g["rules"] if r["health"] == "err"] == []
        examples = httpx.get(
            f"{url}/api/v1/query_exemplars",
            params={
                "query": "hotshelf_request_duration_seconds_bucket",
                "start": time.time() - 600,
                "end": time.time(),
            },
        ).json()["data"]
        assert examples[0]["exemplars"][0]["labels"]["trace_id"]


def _has_a_number(result: list[Any]) -> bool:
    return any(value[1] not in ("NaN", "+Inf") for value in (series["value"] for series in result))


def test_promtool_finds_nothing_wrong_with_the_rules() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool here: apt-get install prometheus")
    subprocess.run([promtool, "check", "rules", str(RULES)], check=True, capture_output=True)


def test_no_two_panels_are_one() -> None:
    for board in BOARDS:
        panels = json.loads(board.read_text())["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels)
        assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)
