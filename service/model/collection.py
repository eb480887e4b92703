"""Collections: the kinds of items that one installation serves, each with a definition.

``items`` is number 0 and always there; settings define it. All others are made while serving.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, TypeVar

import orjson

from service import native
from service.model.errors import InvalidContent, InvalidParameter, Location
from service.model.locations import Locations
from service.model.query import Path, format_path, parse_attributes
from service.model.resource import ITEMS, Resource

ITEMS_NUMBER: Final = 0
NUMBER_MAX: Final = 32_767
NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")
# First segments of our own routes, which a collection's URLs without a version would take.
RESERVED: Final = frozenset(
    {"collections", "docs", "livez", "metrics", "oauth2", "openapi", "readyz", "status"}
)
_VERSION = re.compile(r"v[0-9]+")

# The JSON text of a definition, as it is sent.
DEFINITION_MAX_BYTES: Final = 1 << 16
ATTRIBUTES_MAX: Final = 64
# A hundred years; PostgreSQL adds it to a time.
TTL_MAX_S: Final = 36_525 * 86_400
_DESCRIPTION_MAX = 1000

E = TypeVar("E", bound=StrEnum)


class Read(StrEnum):
    """Who may read: all with the scope, an item's owner alone, or everybody without credentials."""

    ANY = "any"
    OWNER = "owner"
    PUBLIC = "public"


class WriteRule(StrEnum):
    """Who may change an item, having the scope: its owner alone, or all."""

    OWNER = "owner"
    ANY = "any"


@dataclass(frozen=True, slots=True)
class Definition:
    """The rules of a collection; the defaults are those of ``items``.

    ``schema`` is a JSON Schema (2020-12), None for no rules; ``attributes`` are declared for
    sorting and ranges. An item ends ``ttl_s`` seconds after its last change. ``max_bytes`` is of
    the data's JSON text, as it is sent; None: the service's own limit.
    """

    schema: Any = None
    attributes: tuple[Path, ...] = ()
    read: Read = Read.ANY
    write: WriteRule = WriteRule.OWNER
    ttl_s: int | None = None
    max_bytes: int | None = None
    description: str = ""

    def members(self) -> dict[str, Any]:
        """As JSON shows it, all members present."""
        return {
            "schema": self.schema,
            "attributes": [format_path(path) for path in self.attributes],
            "read": self.read.value,
            "write": self.write.value,
            "ttl_s": self.ttl_s,
            "max_bytes": self.max_bytes,
            "description": self.description,
        }

    @classmethod
    def stored(cls, members: Mapping[str, Any]) -> "Definition":
        """What ``members`` made. A newer release may have added members: they are left out."""
        known = {name: members[name] for name in _MEMBERS if name in members}
        known["attributes"] = parse_attributes(tuple(known.get("attributes", ())))
        known["read"] = Read(known.get("read", Read.ANY))
        known["write"] = WriteRule(known.get("write", WriteRule.OWNER))
        return cls(**known)

    @classmethod
    def sent(cls, members: Mapping[str, Any]) -> "Definition":
        """A definition from outside; absent members have their defaults.

        Whether ``schema`` is a JSON Schema is not looked at. Raises InvalidContent, with every
        location.
        """
        wrong = Locations()
        wrong.add(
            *(
                Location("is no member of a definition", pointer=f"/{name}")
                for name in members
                if name not in _MEMBERS
            )
        )
        definition = cls(
            schema=_schema(members, wrong),
            attributes=_attributes(members, wrong),
            read=_choice(members, "read", Read.ANY, wrong),
            write=_choice(members, "write", WriteRule.OWNER, wrong),
            ttl_s=_number(members, "ttl_s", TTL_MAX_S, wrong),
            max_bytes=_number(members, "max_bytes", 1 << 31, wrong),
            description=_description(members, wrong),
        )
        wrong.raise_any(InvalidContent, "This cannot define a collection.")
        return definition


@dataclass(frozen=True, slots=True)
class Collection:
    """One kind of items as a worker knows it.

    ``version`` counts the changes of all definitions of the installation, so a later change of
    any has a higher one; 0 for ``items``. ``updated_at`` is None for ``items``.
    """

    number: int
    resource: Resource = field(compare=False)
    version: int
    definition: Definition
    updated_at: datetime | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        return self.resource.name

    @property
    def is_public(self) -> bool:
        """Whether everybody may read it."""
        return self.definition.read is Read.PUBLIC

    @property
    def tag(self) -> tuple[int, str]:
        """What the definition's entity tag is made of."""
        text = orjson.dumps(self.definition.members(), option=orjson.OPT_SORT_KEYS)
        return self.version, native.etag_hash(text)


def items_collection(schema: Any = None, attributes: tuple[Path, ...] = ()) -> Collection:
    """The collection that always exists, from the settings."""
    return Collection(ITEMS_NUMBER, ITEMS, 0, Definition(schema, attributes))


# For requests whose path is of no collection.
ITEMS_BY_DEFAULT: Final = items_collection()


def stored_collection(
    number: int, name: str, version: int, definition: bytes, updated_at: datetime
) -> Collection:
    """What a row of the database says; ``definition`` is JSON text."""
    members = Definition.stored(orjson.loads(definition))
    return Collection(number, Resource(name), version, members, updated_at)


def check_name(name: str) -> None:
    """Raises InvalidParameter for what cannot name a collection."""
    if not NAME.fullmatch(name):
        detail = "is not 1 to 63 of a-z, 0-9 and -, beginning with a letter"
    elif name in RESERVED or _VERSION.fullmatch(name):
        detail = "is reserved for the service's own URLs"
    else:
        return
    raise InvalidParameter("This cannot name a collection.", Location(detail, parameter="name"))


_MEMBERS = tuple(Definition().members())


def _schema(members: Mapping[str, Any], wrong: Locations) -> Any:
    schema = members.get("schema")
    if schema is not None and not isinstance(schema, dict | bool):
        wrong.add(Location("is not an object, true, false or null", pointer="/schema"))
    return schema


def _attributes(members: Mapping[str, Any], wrong: Locations) -> tuple[Path, ...]:
    names = members.get("attributes", [])
    if not isinstance(names, list):
        wrong.add(Location("is not an array", pointer="/attributes"))
        return ()
    if len(names) > ATTRIBUTES_MAX:
        wrong.add(Location(f"holds more than {ATTRIBUTES_MAX}", pointer="/attributes"))
        return ()
    paths: list[Path] = []
    for position, name in enumerate(names):
        try:
            paths += parse_attributes((name,)) if isinstance(name, str) else _no_string()
        except ValueError as error:
            wrong.add(Location(str(error), pointer=f"/attributes/{position}"))
    return tuple(dict.fromkeys(paths))


def _no_string() -> tuple[Path, ...]:
    raise ValueError("is not a string")


def _choice(members: Mapping[str, Any], name: str, default: E, wrong: Locations) -> E:
    value = members.get(name, default)
    kind = type(default)
    if not isinstance(value, str) or value not in list(kind):
        wrong.add(Location(f"is none of {', '.join(kind)}", pointer=f"/{name}"))
        return default
    return kind(value)


def _number(members: Mapping[str, Any], name: str, most: int, wrong: Locations) -> int | None:
    value = members.get(name)
    if value is None:
        return None
    if type(value) is not int or not 1 <= value <= most:
        wrong.add(
            Location(f"is neither null nor a whole number from 1 to {most}", pointer=f"/{name}")
        )
        return None
    return value


def _description(members: Mapping[str, Any], wrong: Locations) -> str:
    text = members.get("description", "")
    if not isinstance(text, str) or len(text) > _DESCRIPTION_MAX:
        wrong.add(
            Location(
                f"is not a string of at most {_DESCRIPTION_MAX} characters", pointer="/description"
            )
        )
        return ""
    return text
