"""How many bytes of one kind a worker holds at a time, and who has to wait when it is too many."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from service.model.errors import Overloaded
from service.settings import Memory


class ByteBudget:
    """Bytes that requests hold together, at most ``max_bytes``; what is more is refused with 503.

    No holder that is named has more than ``share`` of it. ``used_bytes`` and ``refused`` (how
    often) are for gauges. Belongs to one event loop.
    """

    def __init__(self, name: str, max_bytes: int, share: float = 1.0) -> None:
        self.name = name
        self.max_bytes = max_bytes
        self._share_bytes = int(max_bytes * share)
        self._held_bytes: dict[str, int] = {}
        self.used_bytes = 0
        self.refused = 0

    def lease(self, size_bytes: int = 0, holder: str = "") -> "Lease":
        """What one request holds, for ``holder`` if it is named. Raises Overloaded."""
        lease = Lease(self, holder)
        lease.grow(size_bytes)
        return lease

    def change(self, holder: str, size_bytes: int) -> None:
        """For leases only. Raises Overloaded where there would be more than there may be."""
        used_bytes = self.used_bytes + size_bytes
        held_bytes = self._held_bytes.get(holder, 0) + size_bytes
        most_bytes = self._share_bytes if holder else self.max_bytes
        if size_bytes > 0 and (used_bytes > self.max_bytes or held_bytes > most_bytes):
            self.refused += 1
            raise Overloaded(f"The memory for {self.name} is in use.", retry_after_s=1)
        self.used_bytes = used_bytes
        if held_bytes:
            self._held_bytes[holder] = held_bytes
        else:
            self._held_bytes.pop(holder, None)


class Lease:
    """One request's part of a budget: ``close`` it, or leave the ``with`` block."""

    __slots__ = ("_budget", "_holder", "held_bytes")

    def __init__(self, budget: ByteBudget, holder: str) -> None:
        self._budget = budget
        self._holder = holder
        self.held_bytes = 0

    def grow(self, size_bytes: int) -> None:
        """Hold ``size_bytes`` more. Raises Overloaded if they are spent, and holds what it held."""
        self._budget.change(self._holder, size_bytes)
        self.held_bytes += size_bytes

    def shrink(self, size_bytes: int) -> None:
        """Give ``size_bytes`` of it back."""
        self._budget.change(self._holder, -size_bytes)
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


@dataclass(frozen=True, slots=True)
class Budgets:
    """What one worker may hold for requests; docs/memory.md has the whole sum."""

    bodies: ByteBudget
    batches: ByteBudget
    answers: ByteBudget
    patches: ByteBudget

    def __iter__(self) -> Iterator[ByteBudget]:
        return iter((self.bodies, self.batches, self.answers, self.patches))

    @classmethod
    def of(cls, memory: Memory) -> "Budgets":
        """One caller has at most a quarter of the answers, so slow readers do not stop others."""
        return cls(
            ByteBudget("bodies", memory.bodies_max_bytes),
            ByteBudget("batches", memory.batches_max_bytes),
            ByteBudget("answers", memory.answers_max_bytes, share=0.25),
            ByteBudget("patches", memory.patches_max_bytes),
        )
