"""Signals every worker that the service is about to stop: one byte of shared memory.

A worker reads it for each answer, so reading must cost no system call.
"""

import mmap
import os
from collections.abc import Callable, Mapping
from functools import partial
from operator import getitem
from typing import Any

ENV_NAME = "HOTSHELF_DRAIN_FILE"


class DrainFlag:
    """Whether the service drains; set once by the parent process, read by its workers.

    The memory is anonymous, so a killed parent leaves no file behind: the workers' environment
    names the parent's descriptor under /proc.
    ``read`` returns 0 until it is set.
    """

    def __init__(self, descriptor: int) -> None:
        """``descriptor`` is the shared memory's; this object closes it."""
        self._descriptor = descriptor
        self._byte = mmap.mmap(descriptor, 1)
        # Not a method, because Python would call that for each answer.
        self.read: Callable[[], Any] = partial(getitem, self._byte, 0)

    @classmethod
    def create(cls) -> "DrainFlag":
        """A cleared flag; its ``path`` is valid as long as this process keeps it open."""
        descriptor = os.memfd_create("hotshelf-drain")
        os.truncate(descriptor, 1)
        return cls(descriptor)

    @property
    def path(self) -> str:
        return f"/proc/{os.getpid()}/fd/{self._descriptor}"

    @classmethod
    def inherited(cls, env: Mapping[str, str]) -> "DrainFlag":
        """The flag that the parent named in the environment, else a new one that is never set."""
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
