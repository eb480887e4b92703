"""Popularity, shapes, the picture, and what makes a soak fail."""

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from loadtest.catalog import Catalog
from loadtest.picture import PERCENTILES, draw
from loadtest.rows import LIMITED
from loadtest.shapes import users_at
from loadtest.verdict import troubles
from loadtest.watch import growth, lasting_keys
from tests.fixtures.redis_server import redis_server

MIB = 1 << 20


def test_items_are_picked_by_zipfs_law() -> None:
    catalog = Catalog()
    assert catalog.pick() is None
    for rank in range(1, 1001):
        catalog.add(str(rank))
    counts = Counter(catalog.pick() for _ in range(50_000))
    # Of a thousand ranks the first has 1 / H(1000, 0.99) = 13 %, the second half of that.
    assert counts["1"] == pytest.approx(0.13 * 50_000, rel=0.1)
    assert counts["2"] == pytest.approx(counts["1"] / 2, rel=0.15)
    assert counts["1000"] < 50


def test_a_catalog_stays_as_large_as_it_may_be() -> None:
    catalog = Catalog(most=10)
    for number in range(100):
        catalog.add(str(number))
    assert len(catalog) == 10
    picked = {catalog.pick() for _ in range(1000)}
    assert {"0", "1", "2", "3", "4"} < picked  # new ones replace the less popular half


@pytest.mark.parametrize(
    ("shape", "users"),
    [
        ("step", [10, 10, 30, 60, 100, 100]),
        ("spike", [10, 10, 10, 100, 10, 10]),
        ("soak", [100] * 6),
    ],
)
def test_a_shape_is_a_number_of_users_over_time(shape: str, users: list[int]) -> None:
    assert [users_at(shape, share, 100) for share in (0, 0.05, 0.2, 0.5, 0.9, 1)] == users
    assert users_at(shape, 0.0, 1) == 1


def test_the_picture_shows_rates_and_percentiles(tmp_path: Path) -> None:
    history, picture = tmp_path / "history.csv", tmp_path / "load.png"
    heads = ["Timestamp", "User Count", "Name", "Requests/s", "Failures/s", *PERCENTILES]
    with history.open("w", newline="") as file:
        writer = csv.DictWriter(file, heads)
        writer.writeheader()
        for second in range(20):
            row: dict[str, object] = {
                "Timestamp": 1000 + second,
                "User Count": 5,
                "Failures/s": 0,
                "Requests/s": second,
            }
            # Locust knows no percentiles before the first answers.
            known = "N/A" if second < 2 else second
            row |= dict.fromkeys(PERCENTILES, known)
            writer.writerow(row | {"Name": "Aggregated"})
            writer.writerow(row | {"Name": LIMITED})
    draw(history, picture)
    assert picture.read_bytes().startswith(b"\x89PNG")


def well(**changes: Any) -> dict[str, Any]:
    worker = {"first_bytes": 100 * MIB, "last_bytes": 104 * MIB, "ratio": 1.04}
    worker |= {
        f"{when}_{name}": 50 for when in ("first", "last") for name in ("descriptors", "sockets")
    }
    result: dict[str, Any] = {
        "minutes": 60,
        "errors": [],
        "violations": [],
        "failures": 0,
        "replaced": False,
        "outbox_left": 0,
        "keys_without_ttl": [],
        "workers": [worker],
    }
    grown = {name: changes.pop(name) for name in list(changes) if name in (*worker, "ratio")}
    return result | changes | {"workers": [worker | grown]}


def test_a_soak_is_well_if_nothing_grows_or_breaks() -> None:
    assert troubles(well()) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"errors": [{"name": "POST again", "error": "wrong replay: …"}]}, "wrong replay"),
        ({"errors": [{"name": "GET own", "error": "stale read: …"}]}, "stale read"),
        ({"violations": ["P1: 3 given, 4 was there"]}, "P1"),
        ({"failures": 3}, "3 requests"),
        ({"replaced": True}, "replaced"),
        ({"outbox_left": 2}, "outbox"),
        ({"keys_without_ttl": ["item:…"]}, "TTL"),
        ({"ratio": 1.06}, "memory"),
        ({"last_descriptors": 90}, "descriptors"),
        ({"last_sockets": 90}, "sockets"),
    ],
)
def test_a_soak_fails_on_each_trouble(change: dict[str, Any], told: str) -> None:
    [found] = troubles(well(**change))
    assert told in found


def test_a_short_soak_says_nothing_about_growth() -> None:
    assert troubles(well(minutes=5, ratio=1.5)) == []


def test_growth_is_of_medians_and_of_workers_that_lived() -> None:
    samples = [
        (
            float(second),
            {1: (100 + second, 20, 10), 2: (1, 1, 1)} if second < 10 else {1: (150, 30, 12)},
        )
        for second in range(20)
    ]
    [worker] = growth(samples, first_s=4)
    assert worker["first_bytes"] == 106  # of seconds 4 to 8
    assert worker["ratio"] == pytest.approx(150 / 106, abs=1e-3)
    assert (worker["first_descriptors"], worker["last_descriptors"]) == (20, 30)
    assert (worker["first_sockets"], worker["last_sockets"]) == (10, 12)


def test_only_the_limiters_keys_may_last() -> None:
    with redis_server() as server, server.client() as client:
        client.set("limit-born:run:", 1)
        client.set("item:run:1", 1, ex=100)
        assert lasting_keys(client) == set()
        client.set("item:run:2", 1)
        assert lasting_keys(client) == {b"item:run:2"}
