"""``fields``: only some of data's members in an answer."""

import json
from collections.abc import Mapping

from service import native
from service.model.resource import Resource

# The values are looked at only for where they end.
_scan = json.JSONDecoder(parse_float=str, parse_int=str).raw_decode


def parameter_of(version: int, resource: Resource) -> str:
    """What it is called: JSON:API 1.1, "Sparse Fieldsets"."""
    return "fields" if version == 1 else f"fields[{resource.json_api_type}]"


def chosen_fields(parameters: Mapping[str, str], name: str = "fields") -> frozenset[str] | None:
    """The names asked for, separated by commas and taken as they are; None for all.

    ``name`` is the parameter's.
    """
    sent = parameters.get(name)
    return None if sent is None else frozenset(sent.split(",")) - {""}


def select(data: bytes, names: frozenset[str]) -> bytes:
    """The text of the object with its other members cut out; what stays keeps every byte.

    ``data`` is spelled as jsonb spells it. A name that it does not have is no error.
    """
    text = data.decode()
    kept: list[str] = []
    start = 1
    while text[start] != "}":
        name, end_of_name = _scan(text, start)
        _, end = _scan(text, end_of_name + len(": "))
        if name in names:
            kept.append(text[start:end])
        start = end + len(", ") if text[end] == "," else end
    return f"{{{', '.join(kept)}}}".encode()


def tag_suffix(names: frozenset[str] | None) -> str:
    """What sets the entity tag of such an answer apart: it is another stored form."""
    if names is None:
        return ""
    return f".f{native.etag_hash(','.join(sorted(names)).encode())}"
