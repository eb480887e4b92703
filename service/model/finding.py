"""A finding about a server, for its operator."""

import enum
from typing import NamedTuple


class Level(enum.StrEnum):
    """Whether the service can be started. ``UNREACHED`` servers may come up later."""

    OK = "ok"
    WARNING = "warning"
    UNREACHED = "not reached"
    ERROR = "error"


class Finding(NamedTuple):
    """``server`` never contains a password; ``text`` is the state and, for errors, what to do."""

    server: str
    level: Level
    text: str

    def __str__(self) -> str:
        return f"{self.server}: {self.level}: {self.text}"
