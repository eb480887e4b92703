"""Ids of requests: never the same twice, in one worker or in two."""

import re

from service.observe.request_ids import request_ids


def test_no_two_are_alike() -> None:
    makers = request_ids(), request_ids()
    made = [make() for make in makers for _ in range(1000)]
    assert len(set(made)) == len(made)
    assert all(re.fullmatch(r"[0-9a-f]{32}", one) for one in made)
