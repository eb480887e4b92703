"""A resource's name, URLs, scopes and JSON:API type, in one place for all other modules.

URLs are ``/v1/{name}``, ``/v2/{name}`` and, without a version, ``/{name}``, which means version 1.
Below each are ``/{id}``, ``/search`` and, joined by a colon, ``:batch``.
"""

import re
from typing import Final, NamedTuple

VERSIONS: Final = (1, 2)
DEFAULT_VERSION: Final = 1

_ID_CHARACTERS = 26
# DOTALL, because a decoded path may hold a line feed.
_PATH = re.compile(r"(?:/v([12]))?/([a-z][a-z0-9-]{0,62})((?:[/:].*)?)", re.DOTALL)


class Target(NamedTuple):
    """The target of a path of a resource.

    ``version`` is None if the path has none. ``below`` is the rest after the resource's
    name: empty for the list, else beginning with ``/`` or ``:``.
    """

    version: int | None
    below: str

    @property
    def id_text(self) -> str | None:
        """The id in the path, 26 characters that may be no ULID; None for other paths."""
        is_id = len(self.below) == _ID_CHARACTERS + 1 and self.below[0] == "/"
        return self.below[1:] if is_id and "/" not in self.below[1:] else None


class Resource:
    """One kind of resource. ``name`` is the plural, as in URLs and scopes."""

    BATCH: Final = ":batch"
    SEARCH: Final = "/search"

    def __init__(self, name: str) -> None:
        self.name = name
        self.json_api_type = name
        self.read_scope = f"{name}:read"
        self.write_scope = f"{name}:write"
        self.admin_scope = f"{name}:admin"

    @property
    def paths(self) -> list[str]:
        """The list's path without a version, then those with each version."""
        return [self.path(None), *map(self.path, VERSIONS)]

    def path(self, version: int | None, item_id: str | None = None) -> str:
        """The path of the list, or of one item by the text of its id."""
        prefix = "" if version is None else f"/v{version}"
        below = "" if item_id is None else f"/{item_id}"
        return f"{prefix}/{self.name}{below}"

    def match(self, path: str) -> Target | None:
        """The target of a decoded path, existing or not; None if it is no path of this resource."""
        found = split(path)
        return found[1] if found is not None and found[0] == self.name else None


def split(path: str) -> tuple[str, Target] | None:
    """The name of a decoded path's resource, existing or not, and the target within it."""
    found = _PATH.fullmatch(path)
    if found is None:
        return None
    return found[2], Target(int(found[1]) if found[1] else None, found[3])


def url_version(path: str) -> int:
    """The version of a decoded path; 1 if it has none."""
    return 2 if path.startswith("/v2/") else DEFAULT_VERSION


ITEMS: Final = Resource("items")
# What stands for the names of all other collections, where there must be few.
OTHERS: Final = Resource("{collection}")
