"""Error objects of version 2: each detail is made of whole sentences."""

import orjson
import pytest

from service.api.represent.v2_errors import error_document
from service.model.errors import InvalidContent, Location


@pytest.mark.parametrize(
    ("location", "sentence"),
    [
        (Location("is missing", pointer="/data"), "The member /data is missing."),
        (Location("is not valid JSON", pointer=""), "The body is not valid JSON."),
        (Location("is no number", parameter="limit"), "The parameter limit is no number."),
        (Location("is not chunked", header="te"), "The header field te is not chunked."),
        (Location("Send it exactly once.", header="host"), "Send it exactly once."),
    ],
)
def test_a_location_is_named_in_a_sentence(location: Location, sentence: str) -> None:
    error = InvalidContent("The body cannot be stored.", location)
    [found] = orjson.loads(error_document(error, 422, "Invalid content", {}))["errors"]
    assert found["detail"] == f"The body cannot be stored. {sentence}"
