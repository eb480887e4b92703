"""How many bytes of one kind a worker holds at a time, and who has to wait when it is too many."""

from types import TracebackType
from typing import Self

from service.model.errors import Overloaded


class ByteBudget:
    """Bytes that requests hold together, at most ``max_bytes``; what is more is refused with 503.

    ``used_bytes`` and ``refused`` (how often) are for gauges. Belongs to one event loop.
    """

    def __init__(self, name: str, max_bytes: int) -> None:
        self.name = name
        self.max_bytes = max_bytes
        self.used_bytes = 0
        self.refused = 0

    def lease(self, size_bytes: int = 0) -> "Lease":
        """What one request holds. Raises Overloaded."""
        lease = Lease(self)
        lease.grow(size_bytes)
        return lease


class Lease:
    """One request's part of a budget: ``close`` it, or leave the ``with`` block."""

    __slots__ = ("_budget", "held_bytes")

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self.held_bytes = 0

    def grow(self, size_bytes: int) -> None:
        """Hold ``size_bytes`` more. Raises Overloaded if they are spent, and holds what it held."""
        budget = self._budget
        if budget.used_bytes + size_bytes > budget.max_bytes:
            budget.refused += 1
            raise Overloaded(
                f"The memory for {budget.name} is in use by other requests.", retry_after_s=1
            )
        budget.used_bytes += size_bytes
        self.held_bytes += size_bytes

    def shrink(self, size_bytes: int) -> None:
        """Give ``size_bytes`` of it back."""
        self._budget.used_bytes -= size_bytes
        self.held_bytes -= size_bytes

    def close(self) -> None:
        """Give all of it back; may be called again."""
        self.shrink(self.held_bytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
