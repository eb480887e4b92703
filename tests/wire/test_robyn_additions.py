"""Handlers and middleware that a user of the service adds to its Robyn application."""

import json
from collections.abc import Iterator

import pytest

from service.process.serve import ServeOptions
from tests.fixtures.running import RunningService
from tests.fixtures.wire import Answer, Server, request

TARGET = "tests.fixtures.robyn_additions:application"
NOBODY = "/v1/items/00000000000000000000000000"


class World:
    """The service with additions, called as alice."""

    def __init__(self, server: Server, token: str) -> None:
        self._server = server
        self._authorization = f"Authorization: Bearer {token}"

    def ask(self, method: str, path: str, *fields: str, body: bytes = b"") -> Answer:
        raw = request(method, path, self._authorization, *fields, body=body)
        return self._server.ask(raw, to_head=method == "HEAD")

    def stranger(self, method: str, path: str) -> Answer:
        return self._server.ask(request(method, path))

    def make(self) -> str:
        """The path of a new item."""
        fields = "Content-Type: application/json", "Idempotency-Key: robyn-additions"
        made = self.ask("POST", "/v1/items", *fields, body=b'{"data":{"a":1}}')
        assert made.status == 201, made
        return made.header("location") or ""


@pytest.fixture(scope="module", params=["handlers alone", "with middleware"])
def world(
    request: pytest.FixtureRequest,
    service: RunningService,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    more = {"ADD_MIDDLEWARE": "1"} if request.param == "with middleware" else {}
    more |= {"HOTSHELF_LIMITS_FIELDS": "always"}
    folder = tmp_path_factory.mktemp("additions")
    with Server.serving(ServeOptions(app_target=TARGET), folder, **service.env, **more) as server:
        yield World(server, service.token())


with_middleware = pytest.mark.parametrize("world", ["with middleware"], indirect=True)


def test_handlers_are_served_to_callers(world: World) -> None:
    answer = world.ask("GET", "/hello/you")
    assert json.loads(answer.body) == {"name": "you", "caller": "alice"}
    assert answer.header("ratelimit")
    assert world.ask("POST", "/echo", body=b"abc").body == b"abc"
    assert world.stranger("GET", "/hello/you").status == 401


def test_the_paths_of_handlers_have_the_rules_of_ours(world: World) -> None:
    refused = world.ask("PUT", "/hello/you")
    assert (refused.status, refused.header("allow")) == (405, "GET, HEAD, OPTIONS")
    assert world.ask("HEAD", "/hello/you").status == 200
    assert world.ask("GET", "/hello").status == 404


def test_our_routes_answer_as_ever(world: World) -> None:
    path = world.make()
    for method in ("GET", "GET", "HEAD"):
        assert world.ask(method, path).status == 200
    assert world.ask("GET", "/v1/items").status == 200
    assert world.ask("GET", NOBODY).status == 404
    assert world.stranger("GET", path).status == 401
    assert world.stranger("GET", "/livez").status == 200


@with_middleware
def test_middleware_sees_every_answer(world: World) -> None:
    path = world.make()
    for answer, status in (
        (world.ask("GET", path), 200),
        (world.ask("GET", path), 200),
        (world.ask("GET", "/v1/items"), 200),
        (world.ask("GET", "/hello/you"), 200),
        (world.ask("GET", NOBODY), 404),
        (world.ask("GET", "/nowhere"), 404),
        (world.ask("PUT", "/v1/items"), 405),
        (world.stranger("GET", path), 401),
        (world.stranger("GET", "/livez"), 200),
    ):
        assert (answer.status, answer.header("x-seen")) == (status, str(status))
    assert world.ask("GET", path).header("x-item") == path.rpartition("/")[2]
    assert world.ask("GET", "/v1/items").header("x-item") is None


@with_middleware
def test_middleware_may_stop_a_request_once_it_is_let_in(world: World) -> None:
    stopped = world.ask("GET", world.make(), "X-Stop: 1")
    assert (stopped.status, stopped.body, stopped.header("x-seen")) == (200, b"stopped", "200")
