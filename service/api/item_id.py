"""The id in a path whose route has ``:id``."""

from service import native
from service.api.request import RequestContext
from service.model.errors import InvalidId, ItemNotFound


def existing_id(context: RequestContext) -> bytes:
    """The 16 bytes of the id. Raises ItemNotFound if it is not a ULID, because no item has it."""
    item_id = native.parse_id(context.path_params["id"])
    if item_id is None:
        raise ItemNotFound("There is no item with this id.")
    return item_id


def chosen_id(context: RequestContext) -> bytes:
    """The same for a PUT, which might create the item: raises InvalidId."""
    item_id = native.parse_id(context.path_params["id"])
    if item_id is None:
        raise InvalidId("An id is a ULID: 26 characters of Crockford's base 32, the first ≤ 7.")
    return item_id
