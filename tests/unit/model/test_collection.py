"""Names and definitions of collections, as they are sent and as they are stored."""

import pytest

from service.model.collection import (
    ATTRIBUTES_MAX,
    Collection,
    Definition,
    Read,
    WriteRule,
    check_name,
    items_collection,
)
from service.model.errors import InvalidContent, InvalidParameter
from service.model.resource import Resource

SENT = {
    "schema": {"type": "object", "required": ["name"]},
    "attributes": ["price.amount", "name"],
    "read": "owner",
    "write": "any",
    "ttl_s": 60,
    "max_bytes": 2000,
    "description": "What the shop sells",
}


@pytest.mark.parametrize("name", ["a", "products", "a-1", "x" * 63, "v", "vat", "items-2"])
def test_a_name_is_a_short_lower_case_word(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize(
    "name", ["", "Products", "1a", "-a", "a_b", "a/b", "a.b", "x" * 64, "ä", "a\n", "docs", "v1"]
)
def test_any_other_name_and_those_of_routes_are_refused(name: str) -> None:
    with pytest.raises(InvalidParameter):
        check_name(name)


def test_a_definition_is_shown_as_it_was_sent() -> None:
    definition = Definition.sent(SENT)
    assert definition.members() == SENT
    assert Definition.stored(definition.members()) == definition
    assert definition.attributes == (("price", "amount"), ("name",))


def test_what_is_left_out_is_as_for_items() -> None:
    assert Definition.sent({}) == Definition() == items_collection().definition
    assert (Definition().read, Definition().write) == (Read.ANY, WriteRule.OWNER)


@pytest.mark.parametrize(
    ("member", "value", "pointer"),
    [
        ("schema", [], "/schema"),
        ("attributes", "name", "/attributes"),
        ("attributes", ["name", 1], "/attributes/1"),
        ("attributes", ["a..b"], "/attributes/0"),
        ("attributes", ["owner_id"], "/attributes/0"),
        ("attributes", ["a"] * (ATTRIBUTES_MAX + 1), "/attributes"),
        ("read", "all", "/read"),
        ("read", None, "/read"),
        ("write", "public", "/write"),
        ("ttl_s", 0, "/ttl_s"),
        ("ttl_s", True, "/ttl_s"),
        ("ttl_s", 1.5, "/ttl_s"),
        ("max_bytes", "1", "/max_bytes"),
        ("description", "x" * 1001, "/description"),
        ("colour", "red", "/colour"),
    ],
)
def test_each_member_that_is_wrong_is_named(member: str, value: object, pointer: str) -> None:
    with pytest.raises(InvalidContent) as raised:
        Definition.sent(SENT | {member: value, "more": 1})
    assert {pointer, "/more"} == {location.pointer for location in raised.value.locations}


def test_a_member_of_a_newer_release_is_left_out() -> None:
    assert Definition.stored(SENT | {"colour": "red"}) == Definition.sent(SENT)


def test_the_tag_changes_with_version_and_definition_alone() -> None:
    tags = {
        Collection(1, Resource("a"), version, definition).tag
        for version in (1, 2)
        for definition in (Definition(), Definition(ttl_s=1), Definition())
    }
    assert len(tags) == 4
