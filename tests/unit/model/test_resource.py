import pytest

from service.model.resource import ITEMS, Resource, Target, url_version

ID = "01JHXSAMP1EKETT1E000000001"


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/items", Target(None, "")),
        ("/v1/items", Target(1, "")),
        ("/v2/items/search", Target(2, "/search")),
        ("/v1/items:batch", Target(1, ":batch")),
        (f"/v1/items/{ID}", Target(1, f"/{ID}")),
        ("/v1/items/\n", Target(1, "/\n")),
        ("/v3/items", None),
        ("/v1/itemsx", None),
        ("/v1/item", None),
        ("/livez", None),
    ],
)
def test_a_path_is_taken_apart(path: str, target: Target | None) -> None:
    assert ITEMS.match(path) == target


@pytest.mark.parametrize(
    ("below", "id_text"),
    [("", None), (f"/{ID}", ID), (f"/{ID}/", None), (f":{ID}", None), ("/" + "/" * 26, None)],
)
def test_an_id_is_a_whole_segment_of_26_characters(below: str, id_text: str | None) -> None:
    assert Target(1, below).id_text == id_text


def test_paths_that_are_made_are_matched_again() -> None:
    orders = Resource("orders")
    for version in (None, 1, 2):
        assert orders.match(orders.path(version)) == Target(version, "")
        assert orders.match(orders.path(version, ID)) == Target(version, f"/{ID}")
    assert orders.paths == ["/orders", "/v1/orders", "/v2/orders"]


def test_a_resource_names_its_scopes() -> None:
    orders = Resource("orders")
    scopes = (orders.read_scope, orders.write_scope, orders.admin_scope)
    assert scopes == ("orders:read", "orders:write", "orders:admin")


def test_only_a_prefix_names_a_version() -> None:
    assert [url_version(path) for path in ("/v2/items", "/v1/items", "/items", "/v2")] == [
        2,
        1,
        1,
        1,
    ]
