"""Tells every worker that the service is about to stop: one byte in memory they all map.

A worker looks at it for each answer, so looking must cost no system call.
"""

import mmap
import os
from collections.abc import Mapping

ENV_NAME = "HOTSHELF_DRAIN_FILE"


class DrainFlag:
    """Whether the service drains; set once by the parent process, read by its workers.

    The memory has no file of its own that a killed parent could leave behind: workers find it
    among the parent's open files under /proc, named in their environment.
    """

    def __init__(self, descriptor: int) -> None:
        """``descriptor`` is the shared memory's, ours to close."""
        self._descriptor = descriptor
        self._byte = mmap.mmap(descriptor, 1)

    @classmethod
    def create(cls) -> "DrainFlag":
        """A cleared flag, whose ``path`` holds as long as this process has it open."""
        descriptor = os.memfd_create("hotshelf-drain")
        os.truncate(descriptor, 1)
        return cls(descriptor)

    @property
    def path(self) -> str:
        return f"/proc/{os.getpid()}/fd/{self._descriptor}"

    @classmethod
    def inherited(cls, env: Mapping[str, str]) -> "DrainFlag":
        """The flag that the parent process named in the environment, else one never set."""
        if ENV_NAME not in env:
            return cls.create()
        return cls(os.open(env[ENV_NAME], os.O_RDWR))

    def __bool__(self) -> bool:
        return self._byte[0] != 0

    def set(self) -> None:
        self._byte[0] = 1

    def close(self) -> None:
        self._byte.close()
        os.close(self._descriptor)
