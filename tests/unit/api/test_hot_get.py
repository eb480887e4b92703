"""What the hot path remembers of header sections, and what it leaves to the other way."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from service.api.get_item import Answer, Slow, Terms
from service.api.headers.media_types import negotiate
from service.api.request import Reply
from service.http import hot_get
from service.http.hot_get import HotGet
from service.model.entity_tag import NO_TAGS
from service.model.rate import Admission, Rate

PATH = f"/v1/items/{'0' * 26}"
PLAIN = (("host", "shop"), ("authorization", "Bearer a"))
ADMISSION = Admission(True, Rate(), 5, 1, 0)


class Headers(list[tuple[str, str]]):
    """As Granian's: ``odd`` more fields have values that are not ASCII."""

    odd = 0

    def items(self) -> list[tuple[str, str]]:
        return list(self)

    def __len__(self) -> int:
        return super().__len__() + self.odd


class Exchange:
    def __init__(self) -> None:
        self.sent: list[tuple[int, dict[str, str], bytes]] = []

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.sent.append((status, dict(headers), body))

    def response_empty(self, status: int, headers: list[tuple[str, str]]) -> None:
        self.response_bytes(status, headers, b"")


@dataclass
class Items:
    """Answers everything at once and notes which sections it had to read."""

    read: list[Mapping[str, str]] = field(default_factory=list)

    def terms(self, fields: Mapping[str, str]) -> Terms | None:
        self.read.append(fields)
        wanted = negotiate(fields.get("accept", ""))
        return None if wanted is None else Terms(fields, "a", wanted, "", NO_TAGS)

    def at_once(self, terms: Terms, _: str) -> tuple[Reply, Admission] | None:
        return Reply(200, [], terms.fields["host"].encode()), ADMISSION

    def ask(self, *_: Any) -> tuple[Answer, Admission | None] | Slow | None:
        raise AssertionError("it was at hand")


def asked(items: Items, *sections: tuple[tuple[str, str], ...], odd: int = 0) -> list[Any]:
    """What was sent for each section in turn, None where it went the other way."""

    async def run() -> list[Any]:
        get = HotGet(items, lambda: False, lambda *_: None)
        answers = []
        for number, section in enumerate(sections):
            headers, exchange = Headers(section), Exchange()
            headers.odd = odd if number == len(sections) - 1 else 0
            scope: Any = SimpleNamespace(path=PATH, query_string="", headers=headers)
            assert (get(scope, exchange) is None) == (not exchange.sent)  # type: ignore[arg-type]
            answers.append(exchange.sent[0] if exchange.sent else None)
        return answers

    return asyncio.run(run())


def test_the_same_fields_are_read_once() -> None:
    items = Items()
    answers = asked(items, PLAIN, PLAIN, PLAIN)
    assert items.read == [dict(PLAIN)]
    assert [(status, body) for status, _, body in answers] == [(200, b"shop")] * 3
    assert answers[0][1]["ratelimit"] == '"default";r=5;t=1'
    assert len({headers["x-request-id"] for _, headers, _ in answers}) == 3


@pytest.mark.parametrize(
    "more",
    [("if-none-match", '"1-00000000"'), ("user-agent", "x" * hot_get._MAX_SECTION_CHARACTERS)],
    ids=["of one item", "long"],
)
def test_fields_that_hardly_come_again_are_not_kept(more: tuple[str, str]) -> None:
    items = Items()
    assert None not in asked(items, (*PLAIN, more), (*PLAIN, more))
    assert len(items.read) == 2


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hot_get, "_MAX_SECTIONS", 3)
    sections = [(*PLAIN, ("user-agent", str(n))) for n in range(4)]
    items = Items()
    asked(items, *sections, *sections[::-1])
    assert len(items.read) == 7, "only the last was still there"


def test_a_value_that_is_not_ascii_beside_known_fields_is_noticed() -> None:
    assert asked(Items(), PLAIN, PLAIN, odd=1)[1:] == [None]


@pytest.mark.parametrize(
    "section",
    [
        PLAIN[1:],
        (*PLAIN, ("host", "shop")),
        (*PLAIN, ("origin", "https://shop.example")),
        (*PLAIN, ("accept", "text/html")),
    ],
    ids=["no host", "twice", "CORS", "nothing to send"],
)
def test_other_requests_go_the_other_way(section: tuple[tuple[str, str], ...]) -> None:
    assert asked(Items(), section, section) == [None, None]
