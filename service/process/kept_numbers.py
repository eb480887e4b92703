"""Numbers in the parent's memory that all workers share and that outlive each of them."""

import mmap
import os
from collections.abc import Mapping

ENV_NAME = "HOTSHELF_KEPT_FILE"
_COUNT, _BYTES = 1024, 8


class KeptNumbers:
    """``values`` are unsigned, initially 0. Workers find them in the same way as the DrainFlag."""

    def __init__(self, descriptor: int) -> None:
        """``descriptor`` is the shared memory's; this object closes it."""
        self._descriptor = descriptor
        self._memory = mmap.mmap(descriptor, _COUNT * _BYTES)
        self.values = memoryview(self._memory).cast("Q")

    @classmethod
    def create(cls) -> "KeptNumbers":
        descriptor = os.memfd_create("hotshelf-kept")
        os.truncate(descriptor, _COUNT * _BYTES)
        return cls(descriptor)

    @property
    def path(self) -> str:
        return f"/proc/{os.getpid()}/fd/{self._descriptor}"

    @classmethod
    def inherited(cls, env: Mapping[str, str]) -> "KeptNumbers":
        """Those that the parent named in the environment, else new ones of this process."""
        if ENV_NAME not in env:
            return cls.create()
        return cls(os.open(env[ENV_NAME], os.O_RDWR))

    def close(self) -> None:
        self.values.release()
        self._memory.close()
        os.close(self._descriptor)
