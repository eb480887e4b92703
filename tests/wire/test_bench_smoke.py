"""The benchmark runs and reports its measurements; their values are not asserted."""

import json
import shutil
import statistics
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
import redis

from bench import bench_observe, compare
from bench.chart import chart
from bench.compare import Side
from bench.end_to_end import AGAINST, Plan, run
from bench.latency_chart import latency_chart
from bench.load import measure_of
from bench.machine import ROOT
from bench.report import end_to_end_tables, summary
from bench.tables import Row
from service.embedded import EmbeddedStack, Stack
from tests.fixtures.stack import short_directory

PLAN = Plan(sizes=(300,), items=10, misses=20, rounds=1, seconds=1, peers=("webdis", "fastapi"))


@pytest.fixture(scope="module")
def result(small_stack_files: Path) -> Row:
    """A second of each server, as a result file holds it; on its own stack: Redis is emptied."""
    folder = short_directory()
    files = folder / "stack"
    subprocess.run(["/bin/cp", "-a", str(small_stack_files), str(files)], check=True)
    try:
        with EmbeddedStack(files, shards=1, replicas=1, durable=False) as stack:
            measured = run(PLAN, stack, folder, say=lambda _line: None)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    parsed: Row = json.loads(json.dumps(measured))
    return parsed


def samples(result: Row, **wanted: object) -> list[Row]:
    rows: list[Row] = result["samples"]
    return [row for row in rows if wanted.items() <= row.items()]


def test_every_peer_is_measured_or_named_as_left_out(result: Row) -> None:
    for peer in PLAN.peers:
        assert bool(samples(result, server=peer)) != (peer in result["skipped"])
    assert "fastapi" not in result["skipped"]


def test_every_sample_was_requested_and_answered(result: Row) -> None:
    for row in result["samples"]:
        assert row["requests"] > 0
        assert row["errors"] == 0
        assert row["rate"] == pytest.approx(row["requests"] / row["seconds"], rel=1e-2)
        assert 0 < row["p50_ms"] <= row["p90_ms"] <= row["p99_ms"] <= row["p999_ms"]
        assert row["p999_ms"] <= row["max_ms"]
        assert row["generator_cpu_s"] > 0
    # Together, since a clock tick is long beside what one of a few hundred requests takes.
    for server in ("server_cpu_us", "redis_cpu_us", "postgres_cpu_us"):
        assert sum(row[server] for row in result["samples"]) > 0


def test_a_ratio_is_the_quotient_of_neighbouring_samples(result: Row) -> None:
    assert {row["against"] for row in result["ratios"]} >= {"fastapi"}
    for row in result["ratios"]:
        place = {"kind": "pair", "variant": row["variant"], "against": row["against"]}
        ours = samples(result, server="ours", **place)
        theirs = samples(result, server=row["against"], **place)
        quotients = [a["rate"] / b["rate"] for a, b in zip(ours, theirs, strict=True)]
        assert row["rounds"] == pytest.approx(quotients, abs=1e-3)
        assert row["median"] == pytest.approx(statistics.median(quotients), abs=1e-3)
        assert row["against"] in AGAINST[row["variant"]]


def test_everybody_is_paced_at_a_share_of_their_own_highest_rate(result: Row) -> None:
    paced = samples(result, kind="paced", variant="redis")
    assert {row["server"] for row in paced} >= {"ours", "fastapi"}
    for row in paced:
        alone = samples(result, kind="pair", variant="redis", server=row["server"])
        highest = statistics.median(sample["rate"] for sample in alone)
        due = highest * result["plan"]["paced_share"] * PLAN.seconds
        # Every request that was due is asked for, however late: none is left out.
        assert row["requests"] == pytest.approx(due, abs=1.01)
        assert 0 <= row["late_p50_ms"] <= row["late_p99_ms"] <= row["late_max_ms"]


def test_percentiles_of_paced_load_rise_to_the_longest_latency(result: Row) -> None:
    for row in samples(result, kind="paced"):
        shares, latencies = zip(*row["latencies_ms"], strict=True)
        assert list(shares) == sorted(shares)
        assert list(latencies) == sorted(latencies)
        told = dict(row["latencies_ms"])
        assert told[0.5] == row["p50_ms"]
        assert told[0.9] == row["p90_ms"]
        assert told[1] == row["max_ms"] >= row["p999_ms"]
    assert all("latencies_ms" not in row for row in samples(result, kind="pair"))


def test_misses_ask_for_every_item_once_and_reach_postgresql(result: Row) -> None:
    rows = samples(result, kind="miss")
    assert [row["requests"] for row in rows] == [PLAN.misses] * PLAN.rounds


def test_the_report_shows_every_ratio(result: Row) -> None:
    tables, lines = end_to_end_tables(result), summary(result)
    for row in result["ratios"]:
        assert f"**{row['median']:.2f}**" in tables
        assert f"{row['median']:.2f}" in lines
    for picture in (chart(result), latency_chart(result)):
        ElementTree.fromstring(picture)  # noqa: S314


def test_the_cost_of_observability_is_measured(stack: EmbeddedStack, tmp_path: Path) -> None:
    servers = Stack(stack.shards, stack.redis_url)
    found = bench_observe.measure(servers, tmp_path, ("near",), rounds=1, seconds=0.5)
    assert set(found["near"]["least_us"]) == {"off", "on", "traced"}
    assert all(us > 0 for us in found["near"]["least_us"].values())
    assert found["spans"] > 0


def test_two_revisions_are_compared_in_turns(stack: EmbeddedStack, tmp_path: Path) -> None:
    """The base is this code as well, run as another revision's is: from a folder of its own."""
    with redis.Redis.from_url(stack.redis_url) as client:
        measure = measure_of(stack, client)
        pair = Side("this", stack, measure, ""), Side("base", stack, measure, str(ROOT))
        plan = compare.Plan(rounds=2, seconds=0.3, items=5)
        found = compare.compare(pair, tmp_path, {"list": {}}, plan)
    assert len(found["list"].by_rate) == len(found["list"].by_cpu) == plan.rounds
    assert all(ratio > 0 for ratio in found["list"].by_rate)
