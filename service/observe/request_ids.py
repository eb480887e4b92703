"""Ids for requests that arrive without one."""

from collections.abc import Callable
from itertools import count
from secrets import token_hex


def request_ids() -> Callable[[], str]:
    """A function that makes ids of 32 hexadecimal digits, unique across all workers.

    Only the prefix is random, because ids need not be secret and random bytes cost a system call.
    """
    prefix, numbers = token_hex(10), count(1)
    return lambda: f"{prefix}{next(numbers):012x}"
