"""How often a caller may ask."""

import re
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Rate:
    """``quota`` requests in ``window_s`` seconds; a full bucket holds ``quota`` as well."""

    quota: int
    window_s: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``100/60``. Raises ValueError unless both are 1 … 1,000,000,000."""
        match = re.fullmatch(r"([0-9]{1,10})/([0-9]{1,10})", text)
        if match is None or not all(1 <= int(n) <= 10**9 for n in match.groups()):
            raise ValueError(f"{text!r} is not a rate such as 100/60")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.quota}/{self.window_s}"
