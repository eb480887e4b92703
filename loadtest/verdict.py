"""Whether a soak is well: everything that is not, in words."""

from typing import Any

MOST_GROWTH = 1.05
# Below this, growth says nothing about an hour's.
TELLING_MINUTES = 10.0
# A few more are no leak: a connection that a pool opens late.
_SPARE = {"descriptors": 16, "sockets": 16}


def troubles(result: dict[str, Any]) -> list[str]:
    """Empty if all is well."""
    found = [f"{failure['name']}: {failure['error']}" for failure in result["errors"]]
    found += [f"broken promise: {violation}" for violation in result["violations"]]
    if result["failures"] and not found:
        found.append(f"{result['failures']} requests failed")
    if result["replaced"]:
        found.append("a worker was replaced")
    if result["outbox_left"]:
        found.append(f"{result['outbox_left']} rows are left in the outbox")
    found += [f"a key in Redis has no TTL: {name}" for name in result["keys_without_ttl"]]
    if result["minutes"] >= TELLING_MINUTES:
        found += [grown for worker in result["workers"] for grown in _grown(worker)]
    return found


def _grown(worker: dict[str, float]) -> list[str]:
    found = []
    if worker["ratio"] > MOST_GROWTH:
        found.append(f"memory of a worker grew to {worker['ratio']:.3f} of what it was")
    for name, spare in _SPARE.items():
        first, last = worker[f"first_{name}"], worker[f"last_{name}"]
        if last > max(first * MOST_GROWTH, first + spare):
            found.append(f"{name} of a worker grew from {first:g} to {last:g}")
    return found
