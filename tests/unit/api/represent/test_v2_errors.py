"""Error objects of version 2: each detail is made of whole sentences."""

import orjson
import pytest

from service.api.represent.v2_errors import error_document
from service.model.errors import InvalidContent, Place


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        (Place("is missing", pointer="/data"), "The member /data is missing."),
        (Place("is not valid JSON", pointer=""), "The body is not valid JSON."),
        (Place("is no number", parameter="limit"), "The parameter limit is no number."),
        (Place("is not chunked", header="te"), "The header field te is not chunked."),
        (Place("Send it exactly once.", header="host"), "Send it exactly once."),
    ],
)
def test_a_place_is_told_in_a_sentence(place: Place, sentence: str) -> None:
    error = InvalidContent("The body cannot be stored.", place)
    [found] = orjson.loads(error_document(error, 422, "Invalid content", {}))["errors"]
    assert found["detail"] == f"The body cannot be stored. {sentence}"
