"""With all rules no state breaks a promise; with any one left out a short way leads to one."""

from functools import cache
from pathlib import Path

import pytest

from tests.model.__main__ import row, without
from tests.model.rules import RULES
from tests.model.scopes import SCOPES
from tests.model.search import Found, search
from tests.model.switches import Rules

PAGE = (Path(__file__).parents[2] / "docs" / "cache-protocol.md").read_text()


@cache
def with_all_rules(scope: str) -> Found:
    return search(Rules(), SCOPES[scope])


@pytest.mark.parametrize("scope", SCOPES)
def test_no_promise_breaks_with_all_rules(scope: str) -> None:
    found = with_all_rules(scope)
    assert found.whole, "the bound cut the search short"
    assert not found.promise, str(found)


@pytest.mark.parametrize("name", RULES)
def test_each_rule_is_needed_and_the_page_says_why(name: str) -> None:
    found = without(name)
    assert found.promise, f"{found.states} states and nothing wrong"
    assert 1 <= found.steps <= 14
    assert row(name, found) in PAGE


def test_a_trace_can_be_read() -> None:
    lines = str(without("fill_lease_before_lsn")).splitlines()
    assert len(lines) == 2 + without("fill_lease_before_lsn").steps
    assert lines[1].lstrip().startswith("1. ")
    assert all("| Redis" in line and "primary v" in line for line in lines[1:-1])
    assert lines[-1].lstrip().startswith("P1: ")


@pytest.mark.parametrize(
    ("scope", "step"),
    [
        ("core", "reader A: fills v3"),
        ("core", "reader A: the replica has that LSN"),
        ("core", "reader A: the replica is behind"),
        ("core", "reader A: answers entry v2 (epoch 0)"),
        ("core", "relay of worker 1: invalidates for v2"),
        ("core", "writer 1: its row is gone, acknowledges v2"),
        ("stampede", "reader B: another has the fill lease, goes on without"),
        ("lease", "reader A (owner): answers entry v2 (epoch 0)"),
        ("lease", "relay of worker 1: deletes what it invalidated, renews its lease"),
        ("lease", "writer 1: acknowledges v2 without Redis's confirmation"),
        ("failover", "failover to a new timeline, losing v2"),
        ("failover", "reader A: answers entry v2' (epoch 1)"),
        ("split", "reader A: a former primary answers v1"),
        ("standby", "reader A: a former primary, now a standby, answers v1"),
        ("restart", "a worker connects, the run id is new: names are new"),
        ("moving", "reader A: that shard no longer owns the bucket"),
        ("memory", "reader B: entry v1 (epoch 0) is below what this worker has seen"),
        ("near", "worker 1: hears of the item, drops it from the near cache"),
        ("redis_away", "reader A without Redis: the primary answers v2"),
        ("primary_away", "reader A: no primary, the replica answers v1"),
    ],
)
def test_the_model_reaches_the_states_of_interest(scope: str, step: str) -> None:
    """A search that never fills, lags or fails would find nothing wrong either."""
    assert step in with_all_rules(scope).labels


def test_every_scope_is_used() -> None:
    assert {rule.scope for rule in RULES.values()} | {"stampede", "split"} == set(SCOPES)
