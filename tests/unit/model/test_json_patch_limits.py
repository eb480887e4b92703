"""Patches that are malformed, or that ask for more than an item may hold."""

import pytest

from service.model.errors import HotshelfError, InvalidContent, InvalidSyntax, PatchResultInvalid
from service.model.json_patch import MAX_OPERATIONS
from tests.fixtures.patches import apply_json_patch, apply_merge_patch, patched, refused

# What is wrong with the patch document itself


@pytest.mark.parametrize(
    ("patch", "error", "pointers"),
    [
        (b"", InvalidSyntax, [""]),
        (b"[", InvalidSyntax, [""]),
        (b"\xef\xbb\xbf[]", InvalidSyntax, [""]),
        (b"{}", InvalidSyntax, [""]),
        (b"null", InvalidSyntax, [""]),
        (b"[1,[],null]", InvalidSyntax, ["/0", "/1", "/2"]),
        (b'[{"path":"/a"}]', InvalidSyntax, ["/0/op"]),
        (b'[{"op":1,"path":"/a"}]', InvalidSyntax, ["/0/op"]),
        (b'[{"op":"ADD","path":"/a","value":1}]', InvalidSyntax, ["/0/op"]),
        (b'[{"op":"append","path":"/a","value":1}]', InvalidSyntax, ["/0/op"]),
        (b'[{"op":"add"}]', InvalidSyntax, ["/0/path", "/0/value"]),
        (b'[{"op":"move","path":"/a"}]', InvalidSyntax, ["/0/from"]),
        (b'[{"op":"remove","path":"a"}]', InvalidSyntax, ["/0/path"]),
        (b'[{"op":"remove","path":"/~2"}]', InvalidSyntax, ["/0/path"]),
        (b'[{"op":"remove","path":"/~"}]', InvalidSyntax, ["/0/path"]),
        (b'[{"op":"remove","path":1}]', InvalidSyntax, ["/0/path"]),
        (b'[{"op":"remove","path":null}]', InvalidSyntax, ["/0/path"]),
        (b'[{"op":"copy","from":["a"],"path":"/a"}]', InvalidSyntax, ["/0/from"]),
        (b'[{"op":"test","path":"","value":{}},{"op":"x"}]', InvalidSyntax, ["/1/op"]),
        (b'[{"op":"add","path":"/a\\u0000","value":1}]', InvalidContent, ["/0/path"]),
        (b'[{"op":"add","path":"/a","value":1e9999}]', InvalidContent, ["/0/value"]),
        (b'[{"op":"add","path":"/a","value":"\\ud800"}]', InvalidContent, ["/0/value"]),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_malformed_patches(patch: bytes, error: type[HotshelfError], pointers: list[str]) -> None:
    with pytest.raises(error) as caught:
        apply_json_patch(b"{}", patch)
    assert [location.pointer for location in caught.value.locations] == pointers


def test_malformed_merge_patches() -> None:
    for patch, error in ((b"{", InvalidSyntax), (b'{"a":"\\u0000"}', InvalidContent)):
        with pytest.raises(error):
            apply_merge_patch(b"{}", patch)


def test_the_number_of_operations_is_bounded() -> None:
    test = '{"op":"test","path":"","value":{}}'
    assert patched("{}", *[test] * MAX_OPERATIONS) == "{}"
    assert refused(InvalidSyntax, "{}", *[test] * (MAX_OPERATIONS + 1)) == [f"/{MAX_OPERATIONS}"]


# What the result may be


def test_copies_that_double_the_data_end_early() -> None:
    double = '{"op":"copy","from":"/a","path":"/a/-"}'
    data = '{"a":["' + "x" * 1000 + '"]}'
    # Ten times the thousand bytes doubled, and the sum of all copies is a mebibyte.
    assert refused(PatchResultInvalid, data, *[double] * 1000) == ["/10"]
    swap = '{"op":"copy","from":"/big","path":"/other"}'
    big = '{"big":"' + "x" * 400_000 + '"}'
    assert refused(PatchResultInvalid, big, *[swap] * 1000) == ["/2"]


def test_the_result_has_the_size_of_a_body() -> None:
    data = '{"a":"' + "x" * 600 + '"}'
    copied = b'[{"op":"copy","from":"/a","path":"/b"}]'
    assert len(apply_json_patch(data.encode(), copied, max_bytes=1220)) == 1215
    with pytest.raises(PatchResultInvalid):
        apply_json_patch(data.encode(), copied, max_bytes=1200)
    with pytest.raises(PatchResultInvalid):
        apply_merge_patch(data.encode(), b'{"b":"' + b"x" * 600 + b'"}', max_bytes=1200)


def test_an_oversized_item_may_be_patched() -> None:
    data = '{"a":"' + "x" * 2000 + '","b":1}'
    assert apply_merge_patch(data.encode(), b'{"b":null}', max_bytes=1200).startswith(b'{"a":')
    with pytest.raises(PatchResultInvalid):
        apply_merge_patch(data.encode(), b'{"b":1000}', max_bytes=1200)


def test_the_result_has_the_depth_of_a_body() -> None:
    deepest = "[" * 63 + "]" * 63
    add = f'{{"op":"add","path":"/a","value":{deepest}}}'
    assert patched("{}", add) == f'{{"a":{deepest}}}'
    deeper = '{"op":"add","path":"/a/0","value":[]}'
    deep = f'{{"op":"add","path":"/a/0","value":{deepest}}}'
    assert refused(PatchResultInvalid, '{"a":[]}', deeper, deep) == ["/a/0" + "/0" * 62]
    merge = b'{"a":' * 64 + b"1" + b"}" * 64
    assert apply_merge_patch(b"{}", merge) == merge
    with pytest.raises(InvalidContent):
        apply_merge_patch(b"{}", b'{"a":' * 65 + b"1" + b"}" * 65)


def test_nesting_without_end_isrefused() -> None:
    nest = [
        '{"op":"add","path":"/b","value":{}}',
        '{"op":"move","from":"/a","path":"/b/c"}',
        '{"op":"move","from":"/b","path":"/a"}',
    ]
    assert refused(PatchResultInvalid, '{"a":1}', *nest * 333) == [""]
    copy = '{"op":"copy","from":"/a","path":"/b"}'
    assert refused(PatchResultInvalid, '{"a":1}', *nest * 300, copy) == [""]


def test_a_name_made_by_a_path_is_checked() -> None:
    long = "n" * 257
    add = f'{{"op":"add","path":"/{long}","value":1}}'
    assert len(refused(PatchResultInvalid, "{}", add)) == 1
