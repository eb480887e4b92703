"""Samples a share of all requests with one random number per sample, not per request."""

import math
import random

_NEVER = 1 << 60


def skips_before_next(share: float, rng: random.Random) -> int:
    """How many requests to skip before the next sampled one; ``share`` is from 0 to 1."""
    if share >= 1:
        return 0
    if share <= 0:
        return _NEVER
    return int(math.log(1 - rng.random()) / math.log(1 - share))
