"""Ids of requests that brought none of their own."""

from collections.abc import Callable
from itertools import count
from secrets import token_hex


def request_ids() -> Callable[[], str]:
    """Makes ids of 32 hexadecimal digits, no two alike, nor any other maker's.

    They need not be secret: random digits for each would be a system call for each.
    """
    prefix, numbers = token_hex(10), count(1)
    return lambda: f"{prefix}{next(numbers):012x}"
