"""What a look at a server found, in words for whoever runs it."""

import enum
from typing import NamedTuple


class Level(enum.StrEnum):
    """Whether the service can be started. ``UNREACHED`` servers may come up later."""

    OK = "ok"
    WARNING = "warning"
    UNREACHED = "not reached"
    ERROR = "error"


class Finding(NamedTuple):
    """``server`` never holds a password; ``text`` says what is and, of an error, what to do."""

    server: str
    level: Level
    text: str

    def __str__(self) -> str:
        return f"{self.server}: {self.level}: {self.text}"
