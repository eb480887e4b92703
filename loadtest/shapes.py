"""How many users there are over time."""

import math

SHAPES = ("step", "spike", "soak")
_STEPS = 10
# A spike begins and ends at these shares of the time; before and after it there is a tenth.
_SPIKE = (0.4, 0.6)


def users_at(shape: str, share: float, most: int) -> int:
    """Users at a share, from 0 to 1, of the time. Raises KeyError for a shape of another name."""
    tenth = max(1, most // 10)
    users = {
        "step": math.ceil(most * min(_STEPS, math.floor(share * _STEPS) + 1) / _STEPS),
        "spike": most if _SPIKE[0] <= share < _SPIKE[1] else tenth,
        "soak": most,
    }
    return users[shape]
