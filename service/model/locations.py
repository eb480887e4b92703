"""Collects the faults of one request for one error."""

from service.model.errors import HotshelfError, Location

MAX_LOCATIONS = 20


class Locations:
    """The first ``MAX_LOCATIONS`` findings.

    No more are kept, because a body or query string can be wrong at nearly every byte, and
    reporting all would cost more than sending the request.
    """

    def __init__(self) -> None:
        self._found: list[Location] = []

    def add(self, *locations: Location) -> None:
        self._found += locations[: MAX_LOCATIONS - len(self._found)]

    @property
    def full(self) -> bool:
        """Whether further findings would be dropped."""
        return len(self._found) == MAX_LOCATIONS

    def raise_any(self, error: type[HotshelfError], detail: str) -> None:
        """Raise ``error`` with the findings, if there are any."""
        if self._found:
            raise error(detail, *self._found)
