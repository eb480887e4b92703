"""What is wrong with one request, collected to be named in one error."""

from service.model.errors import HotshelfError, Place

MAX_PLACES = 20


class Places:
    """The first ``MAX_PLACES`` findings.

    No more are kept, because a body or a query string can be wrong in as many places as it has
    bytes, and naming all would cost more than sending the request.
    """

    def __init__(self) -> None:
        self._found: list[Place] = []

    def add(self, *places: Place) -> None:
        self._found += places[: MAX_PLACES - len(self._found)]

    @property
    def full(self) -> bool:
        """Whether looking for more is of no use."""
        return len(self._found) == MAX_PLACES

    def raise_any(self, error: type[HotshelfError], detail: str) -> None:
        """Raise ``error`` with what was found; return if nothing was."""
        if self._found:
            raise error(detail, *self._found)
