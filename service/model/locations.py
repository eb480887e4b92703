"""What is wrong with one request, collected to be named in one error."""

from service.model.errors import HotshelfError, Location

MAX_LOCATIONS = 20


class Locations:
    """The first ``MAX_LOCATIONS`` findings.

    No more are kept, because a body or a query string can be wrong in as many locations as it has
    bytes, and naming all would cost more than sending the request.
    """

    def __init__(self) -> None:
        self._found: list[Location] = []

    def add(self, *locations: Location) -> None:
        self._found += locations[: MAX_LOCATIONS - len(self._found)]

    @property
    def full(self) -> bool:
        """Whether looking for more is of no use."""
        return len(self._found) == MAX_LOCATIONS

    def raise_any(self, error: type[HotshelfError], detail: str) -> None:
        """Raise ``error`` with what was found; return if nothing was."""
        if self._found:
            raise error(detail, *self._found)
