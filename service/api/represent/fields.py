"""``fields``: answers with a selection of data's members."""

import json
from collections.abc import Mapping

from service import native
from service.model.resource import Resource

# Values are scanned only for their ends.
_scan = json.JSONDecoder(parse_float=str, parse_int=str).raw_decode


def parameter_of(version: int, resource: Resource) -> str:
    """The parameter's name (JSON:API 1.1, "Sparse Fieldsets")."""
    return "fields" if version == 1 else f"fields[{resource.json_api_type}]"


def chosen_fields(parameters: Mapping[str, str], name: str = "fields") -> frozenset[str] | None:
    """The requested names, separated by commas and not interpreted; None for all.

    ``name`` is the parameter's.
    """
    sent = parameters.get(name)
    return None if sent is None else frozenset(sent.split(",")) - {""}


def select(data: bytes, names: frozenset[str]) -> bytes:
    """The object's text with only these members, each byte for byte.

    ``data`` is in jsonb's notation. Names that it does not have are ignored.
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
    """The suffix of the entity tag of such an answer, because it is another representation."""
    if names is None:
        return ""
    return f".f{native.etag_hash(','.join(sorted(names)).encode())}"
