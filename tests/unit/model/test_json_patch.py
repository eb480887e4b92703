"""Merge patch and JSON Patch: the RFCs' own examples, and every digit kept."""

import json
from decimal import Decimal
from typing import Any

import pytest

from service.model.errors import (
    InvalidSyntax,
    PatchConflict,
    PatchResultInvalid,
    PatchTestFailed,
)
from service.model.json_patch import JsonPatch
from tests.fixtures.patches import apply_merge_patch, patched, refused


def _value(text: bytes | str) -> Any:
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


# RFC 7396 appendix A, as far as target, patch and result are objects


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ('{"a":"b"}', '{"a":"c"}', '{"a":"c"}'),
        ('{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'),
        ('{"a":"b"}', '{"a":null}', "{}"),
        ('{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'),
        ('{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'),
        ('{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'),
        ('{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'),
        ('{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'),
        ('{"e":null}', '{"a":1}', '{"e":null,"a":1}'),
        ("{}", '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'),
        ('{"a":"foo"}', '{"a":{"b":[null,{"c":null}]}}', '{"a":{"b":[null,{"c":null}]}}'),
    ],
)
def test_merge_examples_of_rfc_7396(target: str, patch: str, result: str) -> None:
    assert apply_merge_patch(target.encode(), patch.encode()).decode() == result


@pytest.mark.parametrize("patch", ["[]", "null", '"bar"', "1", '["c"]'])
def test_a_merge_patch_that_makes_no_object(patch: str) -> None:
    with pytest.raises(PatchResultInvalid):
        apply_merge_patch(b'{"a":"foo"}', patch.encode())


# RFC 6902 appendix A


@pytest.mark.parametrize(
    ("data", "operations", "result"),
    [
        (
            '{"foo":"bar"}',
            ['{"op":"add","path":"/baz","value":"qux"}'],
            '{"foo":"bar","baz":"qux"}',
        ),
        (
            '{"foo":["bar","baz"]}',
            ['{"op":"add","path":"/foo/1","value":"qux"}'],
            '{"foo":["bar","qux","baz"]}',
        ),
        ('{"baz":"qux","foo":"bar"}', ['{"op":"remove","path":"/baz"}'], '{"foo":"bar"}'),
        (
            '{"foo":["bar","qux","baz"]}',
            ['{"op":"remove","path":"/foo/1"}'],
            '{"foo":["bar","baz"]}',
        ),
        (
            '{"baz":"qux","foo":"bar"}',
            ['{"op":"replace","path":"/baz","value":"boo"}'],
            '{"baz":"boo","foo":"bar"}',
        ),
        (
            '{"foo":{"bar":"baz","waldo":"fred"},"qux":{"corge":"grault"}}',
            ['{"op":"move","from":"/foo/waldo","path":"/qux/thud"}'],
            '{"foo":{"bar":"baz"},"qux":{"corge":"grault","thud":"fred"}}',
        ),
        (
            '{"foo":["all","grass","cows","eat"]}',
            ['{"op":"move","from":"/foo/1","path":"/foo/3"}'],
            '{"foo":["all","cows","eat","grass"]}',
        ),
        (
            '{"baz":"qux","foo":["a",2,"c"]}',
            [
                '{"op":"test","path":"/baz","value":"qux"}',
                '{"op":"test","path":"/foo/1","value":2}',
            ],
            '{"baz":"qux","foo":["a",2,"c"]}',
        ),
        (
            '{"foo":"bar"}',
            ['{"op":"add","path":"/child","value":{"grandchild":{}}}'],
            '{"foo":"bar","child":{"grandchild":{}}}',
        ),
        (
            '{"foo":"bar"}',
            ['{"op":"add","path":"/baz","value":"qux","xyz":123}'],
            '{"foo":"bar","baz":"qux"}',
        ),
        (
            '{"/":9,"~1":10}',
            ['{"op":"test","path":"/~01","value":10}'],
            '{"/":9,"~1":10}',
        ),
        (
            '{"foo":["bar"]}',
            ['{"op":"add","path":"/foo/-","value":["abc","def"]}'],
            '{"foo":["bar",["abc","def"]]}',
        ),
    ],
    ids=["1", "2", "3", "4", "5", "6", "7", "8", "10", "11", "14", "16"],
)
def test_json_patch_examples_of_rfc_6902(data: str, operations: list[str], result: str) -> None:
    assert patched(data, *operations) == result


def test_examples_of_rfc_6902_that_fail() -> None:
    test = '{"op":"test","path":"/baz","value":"bar"}'
    assert refused(PatchTestFailed, '{"baz":"qux"}', test) == ["/0"]
    add = '{"op":"add","path":"/baz/bat","value":"qux"}'
    assert refused(PatchConflict, '{"foo":"bar"}', add) == ["/0"]
    twice = '{"op":"add","path":"/baz","value":"qux","op":"remove"}'
    assert refused(InvalidSyntax, "{}", twice) == ["/0"]
    text_and_number = '{"op":"test","path":"/~01","value":"10"}'
    assert refused(PatchTestFailed, '{"/":9,"~1":10}', text_and_number) == ["/0"]


# Numbers


DIGITS = '{"a":0.10,"b":1e400,"c":123456789012345678901234567890.5,"d":-0.0,"e":[1E2]}'


def _digits(text: bytes | str) -> Any:
    """The value with each number taken apart, so that 0.1 and 0.10 differ."""
    return json.loads(text, parse_float=_tuple, parse_int=_tuple)


def _tuple(number: str) -> tuple[object, ...]:
    return Decimal(number).as_tuple()


def test_untouched_numbers_keep_every_digit() -> None:
    assert _digits(apply_merge_patch(DIGITS.encode(), b"{}")) == _digits(DIGITS)
    assert _digits(patched(DIGITS)) == _digits(DIGITS)
    copied = patched(DIGITS, '{"op":"copy","from":"/e","path":"/f"}')
    assert _digits(copied) == _digits(DIGITS[:-1] + ',"f":[1E2]}')
    moved = patched(DIGITS, '{"op":"move","from":"/b","path":"/e/0"}')
    assert _digits(moved)["e"] == [_tuple("1e400"), _tuple("1E2")]


@pytest.mark.parametrize(
    "number",
    [
        "-0.1000000000000000055511151231257827e-20",
        *("999999999999999999", "9223372036854775808", "-9223372036854775809", "9" * 1000),
        *("18446744073709551616", "1e-400", "0.00", "-0.0", "0e-7", "1.0E+5"),
    ],
)
def test_numbers_of_the_patch_are_kept_too(number: str) -> None:
    patch = f'{{"n":{number},"m":1,"s":"{"9" * 20}"}}'
    assert _digits(apply_merge_patch(b"{}", patch.encode())) == _digits(patch)
    assert _digits(patched("{}", f'{{"op":"add","path":"","value":{patch}}}')) == _digits(patch)


@pytest.mark.parametrize(
    ("stored", "tested", "equal"),
    [
        ("1", "1.0", True),
        ("1e2", "100", True),
        ("-0", "0.0", True),
        ("1e400", "1" + "0" * 400, True),
        ("0.1", "0.1000000000000000055511151231257827", False),
        ("9007199254740993", "9007199254740992", False),
        ("1", "true", False),
        ("true", "1", False),
        ("0", "false", False),
        ("[1,true]", "[true,1]", False),
        ('"1"', "1", False),
        ("1", '"1"', False),
        ("null", "false", False),
        ("null", "null", True),
        ('{"x":1,"y":[2]}', '{"y":[2.0],"x":1e0}', True),
        ("[1,2]", "[2,1]", False),
        ('"\\u00e9"', '"é"', True),
        ('"e\\u0301"', '"é"', False),
        ('"\\ud83d\\ude00"', '"\U0001f600"', True),
        ("{}", "[]", False),
    ],
)
def test_how_a_test_compares(stored: str, tested: str, equal: bool) -> None:
    data = f'{{"v":{stored}}}'
    operation = f'{{"op":"test","path":"/v","value":{tested}}}'
    if equal:
        assert _value(patched(data, operation)) == _value(data)
    else:
        assert refused(PatchTestFailed, data, operation) == ["/0"]


# Where operations may point


@pytest.mark.parametrize(
    "operation",
    [
        '{"op":"remove","path":""}',
        '{"op":"remove","path":"/x"}',
        '{"op":"remove","path":"/a/2"}',
        '{"op":"remove","path":"/a/-"}',
        '{"op":"remove","path":"/a/01"}',
        '{"op":"remove","path":"/a/+1"}',
        '{"op":"remove","path":"/a/-1"}',
        '{"op":"remove","path":"/a/1e0"}',
        '{"op":"remove","path":"/a/\uff11"}',
        '{"op":"remove","path":"/s/0"}',
        '{"op":"remove","path":"/n/0"}',
        '{"op":"replace","path":"/x","value":1}',
        '{"op":"replace","path":"/a/2","value":1}',
        '{"op":"replace","path":"/a/-","value":1}',
        '{"op":"replace","path":"/s/0","value":1}',
        '{"op":"replace","path":"/null/x","value":1}',
        '{"op":"add","path":"/a/3","value":1}',
        '{"op":"add","path":"/a/00","value":1}',
        '{"op":"add","path":"/a/x","value":1}',
        '{"op":"add","path":"/a/99999999999999999999999999","value":1}',
        '{"op":"add","path":"/s/-","value":1}',
        '{"op":"add","path":"/n/x","value":1}',
        '{"op":"move","from":"/x","path":"/y"}',
        '{"op":"move","from":"/x","path":"/x"}',
        '{"op":"move","from":"/o","path":"/o/child"}',
        '{"op":"move","from":"","path":"/o"}',
        '{"op":"move","from":"/a/-","path":"/y"}',
        '{"op":"copy","from":"/a/-","path":"/y"}',
        '{"op":"copy","from":"/x","path":"/y"}',
        '{"op":"copy","from":"/o","path":"/x/y"}',
    ],
)
def test_paths_that_the_item_does_not_have(operation: str) -> None:
    data = '{"a":[1,2],"s":"text","n":12,"null":null,"o":{}}'
    nothing = '{"op":"add","path":"/new","value":1}'
    assert refused(PatchConflict, data, nothing, operation) == ["/1"]


@pytest.mark.parametrize("path", ["/x", "/a/-", "/a/7", "/a/01", "/s/0", "/x/y/z"])
def test_a_test_of_an_absent_path_fails(path: str) -> None:
    operation = f'{{"op":"test","path":"{path}","value":null}}'
    assert refused(PatchTestFailed, '{"a":[1],"s":"t"}', operation) == ["/0"]


def test_names_that_look_like_something_else_are_names() -> None:
    data = '{"":{"":1},"-":2,"01":3,"a/b":4,"m~n":5,"__proto__":6,"%2F":7,"é":8}'
    for path in ("//", "/-", "/01", "/a~1b", "/m~0n", "/__proto__", "/%2F", "/é"):
        renewed = patched(data, f'{{"op":"replace","path":"{path}","value":"new"}}')
        assert renewed.count('"new"') == 1


def test_the_whole_data_may_be_replaced_by_another_object() -> None:
    assert patched('{"a":1}', '{"op":"replace","path":"","value":{"b":2}}') == '{"b":2}'
    assert patched('{"a":1}', '{"op":"add","path":"","value":{"b":2}}') == '{"b":2}'
    assert patched('{"a":{"b":2}}', '{"op":"move","from":"/a","path":""}') == '{"b":2}'
    assert patched('{"a":{"b":2}}', '{"op":"copy","from":"/a","path":""}') == '{"b":2}'
    assert patched('{"a":1}', '{"op":"move","from":"","path":""}') == '{"a":1}'
    for value in ("[]", "null", "1", '"x"'):
        replaced = f'{{"op":"replace","path":"","value":{value}}}'
        assert refused(PatchResultInvalid, "{}", replaced) == [""]


@pytest.mark.parametrize("padding", [0, 70_000])
def test_a_patch_is_the_same_each_time_it_is_applied(padding: int) -> None:
    """Later operations change what earlier ones added, and must not change the patch."""
    operations = [
        {"op": "add", "path": "/a", "value": [0]},
        {"op": "add", "path": "/a/-", "value": {"b": "x" * padding}},
        {"op": "add", "path": "/a/1/c", "value": 1},
        {"op": "remove", "path": "/a/0"},
    ]
    patch = JsonPatch(json.dumps(operations).encode())
    assert patch.apply(b"{}") == patch.apply(b"{}") == patch.apply(b"{}")
    assert _value(patch.apply(b"{}")) == {"a": [{"b": "x" * padding, "c": 1}]}
