"""The JSON scanner: its verdicts against Python's json and orjson, and our own rules."""

import json
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import native
from tests.fixtures.json_texts import CLEAN, SYNTAX
from tests.fuzz import oracle


def rules(text: bytes, max_depth: int = 64) -> list[tuple[str, str]]:
    return [(p.rule, p.pointer) for p in native.scan_value(text, max_depth)]


@pytest.mark.parametrize("text", CLEAN)
def test_clean_texts_are_accepted_by_all(text: bytes) -> None:
    assert native.scan_value(text) == []
    assert oracle.check(text) == "clean"
    orjson.loads(text)


@pytest.mark.parametrize("text", SYNTAX, ids=lambda text: repr(text[:20]))
def test_bad_syntax_is_refused_by_all(text: bytes) -> None:
    assert rules(text)[-1] == ("syntax", "")
    with pytest.raises((ValueError, RecursionError)):
        oracle.parse_strictly(text)
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'"a\\u0000b"', [("nul", "")]),
        (b'{"\\u0000":1}', [("nul", "/\0")]),
        (b'[{"a/b":"\\ud800"}]', [("lone-surrogate", "/0/a~1b")]),
        (b'{"m~n":["\\udc00"]}', [("lone-surrogate", "/m~0n/0")]),
        (b'{"\\uDFFF":null}', [("lone-surrogate", "/\ufffd")]),
        (b'"\\ud83d\\ud83d\\ude00"', [("lone-surrogate", "")]),
        (b'"\\ude00\\ud83d"', [("lone-surrogate", "")]),
        (b'"\\ud83d\\\\ude00"', [("lone-surrogate", "")]),
        (b'["\\ud800\\u0000"]', [("nul", "/0"), ("lone-surrogate", "/0")]),
        (b'["\\ud800\\q"]', [("syntax", "")]),
        (b'["\\ud800",', [("lone-surrogate", "/0"), ("syntax", "")]),
        (b"[1e131071,1e-131071]", [("number-too-long", "/0"), ("number-too-long", "/1")]),
        (b"1" * 1000, []),
        (b"1" * 1001, [("number-too-long", "")]),
        (b"-" + b"1" * 1000, []),
        (b"0." + b"0" * 999, []),
        (b"0." + b"0" * 1000, [("number-too-long", "")]),
        (b"1e999", []),
        (b"1e1000", [("number-too-long", "")]),
        (b"1e400", []),
        (b"1" * 100_000 + b".5", [("number-too-long", "")]),
        (b"[1" + b"0" * 5_000 + b"]", [("number-too-long", "/0")]),
        (b"1" * 100_000 + b".", [("syntax", "")]),
        (b'{"' + b"n" * 256 + b'":1}', []),
        (b'{"' + b"\\u00e9" * 128 + b'":1}', []),
        (b'{"' + b"\\u00e9" * 128 + b'n":1}', [("name-too-long", "/" + "é" * 128 + "…")]),
        (b"[" * 64 + b"]" * 64, []),
        (b"[" * 65 + b"]" * 65, [("too-deep", "/0" * 64)]),
        (b'{"a":' * 65 + b"1" + b"}" * 65, [("too-deep", "/a" * 64)]),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_content_rules(text: bytes, expected: list[tuple[str, str]]) -> None:
    assert rules(text) == expected


def test_depth_is_a_parameter() -> None:
    assert rules(b"[[1]]", 2) == []
    assert rules(b"[[1]]", 1) == [("too-deep", "/0")]
    assert rules(b"1", 0) == []


def test_a_mebibyte_of_brackets_is_judged_without_a_stack() -> None:
    assert rules(b"[" * 2**20) == [("too-deep", "/0" * 64), ("syntax", "")]
    assert rules(b"[" * 2**19 + b"]" * 2**19) == [("too-deep", "/0" * 64)]


def test_reports_are_bounded() -> None:
    lone = b"[" + b",".join([b'"\\ud800"'] * 100)
    assert rules(lone + b"]") == [("lone-surrogate", f"/{n}") for n in range(20)]
    assert rules(lone)[20:] == [("syntax", "")]


def test_a_problem_says_where_it_is() -> None:
    text = b'{\n "data":\n  {"\xc3\xa9": "\\u0000"}\n}'
    problem = native.scan_value(text)[0]
    assert (problem.line, problem.column) == (3, 10)
    assert problem.detail
    assert "nul" in repr(problem)
    assert problem == native.scan_value(text)[0]


def test_the_envelope_is_cut_into_raw_values() -> None:
    body = b'{ "data" : { "n": 1.10 , "n":2 } , "\\u0069d":"x"}'
    assert native.scan_envelope(body, ["id", "data", "other"]) == {
        "data": b'{ "n": 1.10 , "n":2 }',
        "id": b'"x"',
    }
    assert native.scan_envelope(b"{}", ["data"]) == {}
    assert native.scan_envelope(b"{}", []) == {}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"[]", [("not-an-object", "")]),
        (b'"x"', [("not-an-object", "")]),
        (b"null", [("not-an-object", "")]),
        (b"[", [("not-an-object", ""), ("syntax", "")]),
        (b"", [("syntax", "")]),
        (b"{} {}", [("syntax", "")]),
        (b'{"data":1} x', [("syntax", "")]),
        (b'{"data":1,"data":1}', [("duplicate-member", "/data")]),
        (b'{"data":1,"d\\u0061ta":1}', [("duplicate-member", "/data")]),
        (b'{"x/":1,"x/":2}', [("unknown-member", "/x~1"), ("unknown-member", "/x~1")]),
        (b'{"Data":1}', [("unknown-member", "/Data")]),
        (b'{"x":["\\u0000"]}', [("unknown-member", "/x"), ("nul", "/x/0")]),
        (b'{"data":' + b"[" * 65 + b"]" * 65 + b"}", [("too-deep", "/data" + "/0" * 64)]),
    ],
)
def test_envelope_rules(body: bytes, expected: list[tuple[str, str]]) -> None:
    found = native.scan_envelope(body, ["data", "id"])
    assert isinstance(found, list)
    assert [(p.rule, p.pointer) for p in found] == expected


def test_the_envelope_is_no_level_of_depth() -> None:
    value = b"[" * 64 + b"]" * 64
    assert native.scan_envelope(b'{"data":' + value + b"}", ["data"]) == {"data": value}
    assert isinstance(native.scan_envelope(b'{"data":[[]]}', ["data"], max_depth=1), list)


letters = st.characters()  # halves of surrogate pairs among them
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(letters),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(letters), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(json_values, st.sampled_from([None, 1, "\t"]))
def test_generated_json_is_clean_unless_it_breaks_a_rule(
    value: Any, indent: int | str | None
) -> None:
    assert oracle.check(json.dumps(value, indent=indent).encode()) in ("clean", "content")
    # Without escapes a lone half is bad UTF-8.
    plain = json.dumps(value, indent=indent, ensure_ascii=False)
    oracle.check(plain.encode("utf-8", "surrogatepass"))


# Fragments that nearly fit together.
fragments = st.lists(
    st.sampled_from(
        [*'[]{},:"-+.eE019 \n\\/', "null", "true", "NaN", '"a"', '"a":', "\\u", "d800", "\x00", "é"]
    ),
    max_size=14,
).map("".join)


@given(fragments)
def test_fragments_get_python_s_verdict(text: str) -> None:
    oracle.check(text.encode())


@given(st.binary(max_size=64))
def test_arbitrary_bytes_get_python_s_verdict(text: bytes) -> None:
    oracle.check(text)


@given(
    st.from_regex(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,4})?", fullmatch=True)
)
def test_numbers_are_as_long_as_written_out(token: str) -> None:
    digits = sum(letter.isdigit() for letter in f"{Decimal(token):f}")
    assert (native.scan_value(token.encode()) == []) == (digits <= 1000)


@given(st.lists(st.recursive(st.none() | st.integers() | st.text("aé,]}"), st.lists, max_leaves=5)))
def test_elements_are_cut_out_whole(values: list[Any]) -> None:
    body = json.dumps({"one": 7, "all": values}, indent=1).encode()
    found = native.scan_elements(body, ["one", "all"], "all", 3, 70)
    assert isinstance(found, tuple)
    others, spans = found
    assert others == {"one": b"7"}
    assert spans is not None
    assert [json.loads(body[start:end]) for start, end in spans] == values[:4]
