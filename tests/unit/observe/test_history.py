"""The charts of the status page: rates, shares and percentiles of the last minutes."""

import pytest

from service.observe import metrics
from service.observe.history import Point, charts, point
from service.observe.instruments import SECONDS
from service.observe.totals import Spread, Totals

_BUCKETS = len(SECONDS) + 1


def _buckets(**counts: int) -> list[int]:
    found = [0] * _BUCKETS
    for bucket, count in counts.items():
        found[int(bucket[1:])] = count
    return found


def _point(at: float, requests: int, near: int = 0, **counts: int) -> Point:
    return Point(at, [requests, 0, 2, 1], [near, near, 0, 0], 0.0, _buckets(**counts))


def test_a_point_adds_up_all_routes() -> None:
    name = metrics.REQUEST_SECONDS.described.name
    spread = Spread(_buckets(b1=2), 0.1)
    totals = Totals(
        counters={
            (metrics.READS, ("near",)): 7,
            (metrics.LIMITER.described.name, ("refused", "local")): 3,
            (metrics.LIMITER.described.name, ("passed", "shared")): 30,
        },
        spreads={
            (name, ("GET", "/v1/items/{id}", "2xx", "near")): spread,
            (name, ("POST", "/v1/items", "2xx", "")): spread,
            (name, ("GET", "/v1/items", "5xx", "")): spread,
        },
    )
    found = point(totals, 100.0)
    assert found == Point(100.0, [4, 0, 0, 2], [7, 0, 0, 0], 3, _buckets(b1=6))


def test_rates_and_shares_are_of_the_time_between_two_points() -> None:
    drawn = charts([_point(0, 10), _point(5, 60, near=25, b2=50)])
    assert drawn["at"] == [5]
    assert drawn["requests"] == [10.0]
    assert drawn["server_errors"] == drawn["client_errors"] == [0.0]
    assert (drawn["by_near"], drawn["by_replica"]) == ([0.5], [0.0])


def test_percentiles_lie_in_their_bucket() -> None:
    drawn = charts([_point(0, 0), _point(5, 100, b0=50, b6=49, b17=1)])
    low, high = SECONDS[5] * 1000, SECONDS[6] * 1000
    assert 0 < drawn["p50"][0] <= SECONDS[0] * 1000
    assert low < drawn["p95"][0] <= high
    assert low < drawn["percentiles"]["p99"] <= high
    assert drawn["percentiles"]["p99.9"] == SECONDS[-1] * 1000


@pytest.mark.parametrize("at", [16.0, -1.0])
def test_no_rate_is_computed_across_a_gap(at: float) -> None:
    assert charts([_point(0, 0), _point(at, 100)])["requests"] == [None]


def test_a_restarted_service_has_no_negative_rate() -> None:
    drawn = charts([_point(0, 100), _point(5, 3), _point(10, 13)])
    assert drawn["requests"] == [None, 2.0]


def test_nothing_is_known_before_two_points() -> None:
    for points in ([], [_point(0, 5)]):
        drawn = charts(points)
        assert drawn["at"] == []
        assert set(drawn["percentiles"].values()) == {None}
    idle = charts([_point(0, 5), _point(5, 5)])
    assert (idle["requests"], idle["p99"], idle["by_near"]) == ([0.0], [None], [None])
