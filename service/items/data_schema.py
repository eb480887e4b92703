"""An installation's optional JSON Schema (draft 2020-12) for the data of its items.

It is checked on every write over HTTP and every line of an import, with exact numbers; existing
items are not checked.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import jsonschema_rs
import orjson

from service.model.errors import HotshelfError, InvalidContent, Location, PatchResultInvalid
from service.model.json_text import pointer_token, value_of
from service.model.locations import MAX_LOCATIONS, Locations


class DataSchema:
    """The schema of data. ``validator`` None: any object is valid."""

    def __init__(self, validator: jsonschema_rs.Draft202012Validator | None = None) -> None:
        self._validator = validator

    @classmethod
    def in_file(cls, file: str) -> "DataSchema":
        """The schema in a file; "" for no schema. Raises ValueError and OSError.

        References must be within the schema itself.
        """
        if not file:
            return cls()
        try:
            schema = orjson.loads(Path(file).read_bytes())
            # Shortened, because messages that repeat the value would have no bound.
            validator = jsonschema_rs.Draft202012Validator(schema, mask="the value", offline=True)
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as error:
            raise ValueError(f"not a JSON Schema: {str(error).splitlines()[0]}") from None
        return cls(validator)

    @property
    def is_set(self) -> bool:
        return self._validator is not None

    def first_violation(self, data: bytes, at: str) -> Location | None:
        """The first violation in data at the pointer ``at``."""
        return next(self._violations(data, at), None)

    def check_sent(self, data: bytes, at: str) -> None:
        """Raises InvalidContent for invalid data at the pointer ``at`` of a body."""
        self._check(data, at, InvalidContent, "The data does not match its schema.")

    def check_patched(self, data: bytes, at: str) -> bytes:
        """The data, unchanged. Raises PatchResultInvalid, with locations in the patched item."""
        detail = "The patched data would not match its schema."
        self._check(data, at, PatchResultInvalid, detail)
        return data

    def _check(self, data: bytes, at: str, error: type[HotshelfError], detail: str) -> None:
        wrong = Locations()
        wrong.add(*islice(self._violations(data, at), MAX_LOCATIONS))
        wrong.raise_any(error, detail)

    def _violations(self, data: bytes, at: str) -> Iterator[Location]:
        if self._validator is not None:
            for found in self._validator.iter_errors(value_of(data)):
                yield Location(
                    f"violates the schema: {found.message[:300]}",
                    pointer=_pointer(at, found.instance_path),
                )


def _pointer(at: str, path: list[str | int]) -> str:
    names = (pointer_token(str(name)) for name in path)
    return "/".join((at, *names))[:1024]
