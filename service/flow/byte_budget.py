"""Bounds the bytes of one kind that a worker holds; requests beyond the bound are refused."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from service.model.errors import Overloaded
from service.settings import Memory


class ByteBudget:
    """At most ``max_bytes`` that all requests hold together; more is refused with 503.

    A named holder gets at most ``share`` of it. ``used_bytes`` and ``refused`` (a count) are for
    metrics. Belongs to one event loop.
    """

    def __init__(self, name: str, max_bytes: int, share: float = 1.0) -> None:
        self.name = name
        self.max_bytes = max_bytes
        self._share_bytes = int(max_bytes * share)
        self._held_bytes: dict[str, int] = {}
        self.used_bytes = 0
        self.refused = 0

    def lease(self, size_bytes: int = 0, holder: str = "") -> "Lease":
        """The bytes of one request, counted for ``holder`` if it is named. Raises Overloaded."""
        lease = Lease(self, holder)
        lease.grow(size_bytes)
        return lease

    def change(self, holder: str, size_bytes: int) -> None:
        """For leases only. Raises Overloaded where the budget would be exceeded."""
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
        """Hold ``size_bytes`` more. Raises Overloaded, without a change, if there are too few."""
        self._budget.change(self._holder, size_bytes)
        self.held_bytes += size_bytes

    def shrink(self, size_bytes: int) -> None:
        """Return ``size_bytes`` of it."""
        self._budget.change(self._holder, -size_bytes)
        self.held_bytes -= size_bytes

    def close(self) -> None:
        """Return all of it; may be called again."""
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
    """The byte budgets of one worker; docs/memory.md adds up everything it holds."""

    bodies: ByteBudget
    batches: ByteBudget
    answers: ByteBudget
    patches: ByteBudget

    def __iter__(self) -> Iterator[ByteBudget]:
        return iter((self.bodies, self.batches, self.answers, self.patches))

    @classmethod
    def of(cls, memory: Memory) -> "Budgets":
        """One caller gets at most a quarter of the answers, so that slow readers do not block
        others.
        """
        return cls(
            ByteBudget("bodies", memory.bodies_max_bytes),
            ByteBudget("batches", memory.batches_max_bytes),
            ByteBudget("answers", memory.answers_max_bytes, share=0.25),
            ByteBudget("patches", memory.patches_max_bytes),
        )
