"""Callers of batches: two creations and some reads at once, sent twice with the same keys."""

import json

from locust import constant_throughput, task

from loadtest.caller import RATE, WRITES, Caller, catalog, data, fail, key

_READS = 8


class Batcher(Caller):
    """Two changes a batch: with the writers' they come to WRITES for 100 reads."""

    weight = 1
    wait_time = constant_throughput(RATE * 0.01 * WRITES)

    @task
    def batch(self) -> None:
        operations: list[dict[str, object]] = [
            {"op": "create", "idempotency_key": key(), "data": data()} for _ in range(2)
        ]
        picked = (catalog.pick() for _ in range(_READS))
        operations += [{"op": "get", "id": item} for item in picked if item is not None]
        body = {"operations": operations}
        made = []
        for name in ("POST batch", "POST batch again"):
            with self.send("POST", "/v1/items:batch", (200,), name, None, body) as answer:
                if answer is None:
                    return
                results = json.loads(answer.text or "")["results"][:2]
                statuses = [result["status"] for result in results]
                if statuses != [201, 201]:
                    fail(answer, f"creations in a batch came to {statuses}")
                    return
                made.append([result["item"]["id"] for result in results])
                if made[0] != made[-1]:
                    fail(answer, "wrong replay: one key of a batch made two items")
        for item in made[0]:
            catalog.add(item)
