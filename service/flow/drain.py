"""Tells every worker that the service is about to stop: one byte in a file they all map.

A worker looks at it for each answer, so looking must cost no system call.
"""

import mmap
import os
import tempfile
from collections.abc import Mapping

ENV_NAME = "HOTSHELF_DRAIN_FILE"


class DrainFlag:
    """Whether the service drains; set once by the parent process, read by its workers."""

    def __init__(self, path: str | None) -> None:
        """``path`` names the shared file; None makes a flag of this process alone."""
        self.path = path
        if path is None:
            self._byte = mmap.mmap(-1, 1)
            return
        with open(path, "r+b") as file:
            self._byte = mmap.mmap(file.fileno(), 1)

    @classmethod
    def create(cls) -> "DrainFlag":
        """A cleared flag in a new temporary file, which ``remove`` deletes."""
        descriptor, path = tempfile.mkstemp(prefix="hotshelf-drain-")
        os.write(descriptor, b"\0")
        os.close(descriptor)
        return cls(path)

    @classmethod
    def inherited(cls, env: Mapping[str, str]) -> "DrainFlag":
        """The flag that the parent process named in the environment, else one never set."""
        return cls(env.get(ENV_NAME))

    def __bool__(self) -> bool:
        return self._byte[0] != 0

    def set(self) -> None:
        self._byte[0] = 1

    def remove(self) -> None:
        """Delete the file; processes that have it mapped go on seeing the flag."""
        if self.path is not None:
            os.unlink(self.path)
