"""The labels that requests are counted under."""

import re

import pytest

from service.api.routes import ROUTES, Route
from service.observe import requests
from service.observe.instruments import OTHER, Histogram, Registry
from service.observe.requests import METHODS, RequestTimes, of_route

ULID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
Counted = dict[tuple[str, ...], int]


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> Histogram:
    labels = ("method", "route", "status", "source")
    histogram = Registry().histogram("seconds", "Of this test alone.", labels)
    monkeypatch.setattr(requests, "REQUEST_SECONDS", histogram)
    return histogram


def counted(histogram: Histogram) -> Counted:
    sums = {labels: sum(spread.counts) for labels, spread in histogram.children.items()}
    return {labels: number for labels, number in sums.items() if number}


def _times() -> RequestTimes:
    return RequestTimes(route.path for route in ROUTES)


@pytest.mark.parametrize("route", ROUTES, ids=lambda r: f"{r.method} {r.path}")
def test_every_route_is_counted_by_its_template(route: Route) -> None:
    values = {"id": ULID, "asset": "start.js", "collection": "products"}
    template = re.sub(r"/:(\w+)", r"/{\1}", route.path)
    asked = re.sub(r"/:(\w+)", lambda found: f"/{values[found[1]]}", route.path)
    times = _times()
    assert times.route(asked) == template
    assert times.route(asked + "/") == times.route(asked + "/and/more") == OTHER


@pytest.mark.parametrize("path", ["", "/", "/v3/items", "/v1/items/", f"/v1/items/{ULID}/x", "/é"])
def test_unknown_routes_and_methods_are_other(path: str) -> None:
    assert _times().route(path) == OTHER


def test_inventions_make_no_new_series(seconds: Histogram) -> None:
    times = _times()
    for number in range(1000):
        for method in ("GET", f"FOO{number}", "get"):
            times.observe(*times.known(method, f"/{number}"), 404, 0.001)
            times.observe(*times.known(method, f"/v1/items/{number}"), 401, 0.001)
    assert counted(seconds) == {
        ("GET", OTHER, "4xx", ""): 1000,
        (OTHER, OTHER, "4xx", ""): 2000,
        ("GET", "/v1/items/{id}", "4xx", ""): 1000,
        (OTHER, "/v1/items/{id}", "4xx", ""): 2000,
    }
    assert OTHER not in METHODS


def test_the_hot_path_adds_to_the_same_series(seconds: Histogram) -> None:
    times, near = _times(), of_route("GET", "/v1/items/{id}", "near")
    near[3].observe(0.00004)
    times.observe(*times.known("GET", f"/v1/items/{ULID}"), 304, 0.2, "near", "1" * 32)
    assert counted(seconds) == {("GET", "/v1/items/{id}", "3xx", "near"): 2}
    assert [e[0] for e in near[3].examples.values()] == ["1" * 32]
