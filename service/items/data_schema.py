"""An installation's optional JSON Schema (draft 2020-12) for the data of its items.

It is checked on every write over HTTP and every line of an import, with exact numbers; existing
items are not checked.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import jsonschema_rs
import orjson

from service.model.errors import (
    BodyTooLarge,
    HotshelfError,
    InvalidContent,
    Location,
    PatchResultInvalid,
)
from service.model.json_text import pointer_token, value_of
from service.model.locations import MAX_LOCATIONS, Locations


class DataSchema:
    """The schema of data. ``validator`` None: any object is valid.

    ``max_bytes`` is of its JSON text; None for no rule.
    """

    def __init__(
        self,
        validator: jsonschema_rs.Draft202012Validator | None = None,
        max_bytes: int | None = None,
    ) -> None:
        self._validator = validator
        self._max_bytes = max_bytes

    @classmethod
    def of(cls, schema: Any, max_bytes: int | None = None) -> "DataSchema":
        """For a JSON Schema, or None for no schema. Raises ValueError if it is not a schema.

        References must be within the schema itself.
        """
        if schema is None:
            return cls(None, max_bytes)
        try:
            # Shortened, because messages that repeat the value would have no bound.
            validator = jsonschema_rs.Draft202012Validator(schema, mask="the value", offline=True)
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as error:
            raise ValueError(f"not a JSON Schema: {str(error).splitlines()[0]}") from None
        return cls(validator, max_bytes)

    @classmethod
    def in_file(cls, file: str) -> "DataSchema":
        """The schema in a file; "" for none. Raises ValueError and OSError."""
        return cls.of(schema_in(file))

    @property
    def is_set(self) -> bool:
        return self._validator is not None or self._max_bytes is not None

    def first_violation(self, data: bytes, at: str) -> Location | None:
        """The first violation in data at the pointer ``at``."""
        if self._is_too_large(data):
            return Location(f"has more than {self._max_bytes} bytes", pointer=at)
        return next(self._violations(data, at), None)

    def check_sent(self, data: bytes, at: str) -> None:
        """Raises InvalidContent and BodyTooLarge for data at the pointer ``at`` of a body."""
        if self._is_too_large(data):
            detail = f"Data in this collection has at most {self._max_bytes} bytes."
            raise BodyTooLarge(detail, extra={"max_bytes": self._max_bytes or 0})
        self._check(data, at, InvalidContent, "The data does not match its schema.")

    def check_patched(self, data: bytes, at: str) -> bytes:
        """The data, unchanged. Raises PatchResultInvalid, with locations in the patched item."""
        if self._is_too_large(data):
            location = Location(f"would have more than {self._max_bytes} bytes", pointer=at)
            raise PatchResultInvalid("The patched data would be too large.", location)
        detail = "The patched data would not match its schema."
        self._check(data, at, PatchResultInvalid, detail)
        return data

    def _is_too_large(self, data: bytes) -> bool:
        return self._max_bytes is not None and len(data) > self._max_bytes

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


def schema_in(file: str) -> Any:
    """The JSON in a file, None for no file. Raises ValueError and OSError."""
    return orjson.loads(Path(file).read_bytes()) if file else None


def _pointer(at: str, path: list[str | int]) -> str:
    names = (pointer_token(str(name)) for name in path)
    return "/".join((at, *names))[:1024]
