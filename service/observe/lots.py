"""Drawing a share of all requests without a lot for each."""

import math
import random

_NEVER = 1 << 60


def passed_over(share: float, rng: random.Random) -> int:
    """How many go by before the next that is drawn, where ``share`` of all, 0 to 1, are."""
    if share >= 1:
        return 0
    if share <= 0:
        return _NEVER
    return int(math.log(1 - rng.random()) / math.log(1 - share))
