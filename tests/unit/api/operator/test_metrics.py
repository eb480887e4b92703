"""The text for Prometheus, and the labels that requests are counted under."""

import os

import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.api.routes import ROUTES, Route
from service.model.resource import ITEMS
from service.observe.metrics import TABLE, Sample, exposition
from service.observe.requests import METHODS, OTHER, RequestCounts
from service.process import worker_board
from service.process.worker_board import WorkerBoard

ULID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


def _counts() -> RequestCounts:
    return RequestCounts((route.path for route in ROUTES), hot_path=ITEMS.path(1, ":id"))


def test_the_text_holds_every_metric_and_what_each_worker_counted() -> None:
    reads = [Sample("hotshelf_reads_total", 3, ("near",))]
    text = exposition({11: reads, 12: [*reads, Sample("hotshelf_near_cache_on", True)]}).decode()
    families = {f.name: f for f in text_string_to_metric_families(text)}
    assert len(families) == len(TABLE)
    assert all(families[m.name.removesuffix("_total")].documentation == m.text for m in TABLE)
    found = {
        (s.name, *sorted(s.labels.items()), s.value) for f in families.values() for s in f.samples
    }
    assert found == {
        ("hotshelf_reads_total", ("source", "near"), ("worker", "11"), 3.0),
        ("hotshelf_reads_total", ("source", "near"), ("worker", "12"), 3.0),
        ("hotshelf_near_cache_on", ("worker", "12"), 1.0),
    }


def test_what_is_in_no_table_is_no_metric() -> None:
    with pytest.raises(KeyError):
        exposition({1: [Sample("hotshelf_unheard_of", 1)]})


@pytest.mark.parametrize("route", ROUTES, ids=lambda r: f"{r.method} {r.path}")
def test_every_route_is_counted_by_its_template(route: Route) -> None:
    template = route.path.replace("/:id", "/{id}").replace("/:asset", "/{asset}")
    asked = route.path.replace("/:id", f"/{ULID}").replace("/:asset", "/start.js")
    counts = _counts()
    assert counts.route(asked) == template
    assert counts.route(asked + "/") == counts.route(asked + "/and/more") == OTHER


@pytest.mark.parametrize("path", ["", "/", "/v3/items", "/v1/items/", f"/v1/items/{ULID}/x", "/é"])
def test_what_no_route_has_is_other(path: str) -> None:
    assert _counts().route(path) == OTHER


def test_inventions_make_no_new_counts() -> None:
    counts = _counts()
    for number in range(1000):
        for method in ("GET", f"FOO{number}", "get"):
            counts.count(method, f"/{number}", 404)
            counts.count(method, f"/v1/items/{number}", 401)
    counted = dict(counts.counted())
    assert counted == {
        ("GET", OTHER, "4xx"): 1000,
        (OTHER, OTHER, "4xx"): 2000,
        ("GET", "/v1/items/{id}", "4xx"): 1000,
        (OTHER, "/v1/items/{id}", "4xx"): 2000,
    }
    assert OTHER not in METHODS


def test_the_hot_path_adds_to_the_same_count() -> None:
    counts = _counts()
    counts.hot[3] += 1
    counts.count("GET", f"/v1/items/{ULID}", 304)
    assert dict(counts.counted()) == {("GET", "/v1/items/{id}", "3xx"): 2}


def test_a_notice_is_read_whole_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_board, "_siblings", lambda: iter([os.getpid(), 1 << 22]))
    board = WorkerBoard()
    try:
        assert board.others() == {}
        board.write(b"a long notice")
        board.write(b"a short one")
        assert board.others() == {os.getpid(): b"a short one"}
        os.pwrite(board._descriptor, b"torn", 10)
        assert board.others() == {}
    finally:
        board.close()
