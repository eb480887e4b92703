"""The expected findings of the scanner for any bytes, derived from Python's json alone."""

import json
from decimal import Decimal
from typing import Any, Literal, NoReturn

from service import native

Verdict = Literal["clean", "content", "syntax"]


class Number(str):
    """A number as it was written."""

    __slots__ = ()


def check(text: bytes) -> Verdict | None:
    """Compare the scanner with Python; AssertionError where they part.

    None for what is nested too deep for Python to judge.
    """
    found = native.scan_value(text)
    rules = [problem.rule for problem in found]
    actual: Verdict = "syntax" if "syntax" in rules else "content" if rules else "clean"
    for problem in found:
        assert problem.line >= 1, text
        assert 1 <= problem.column <= len(text) + 1, text
        assert not problem.pointer or problem.pointer[0] == "/", text
    try:
        expected = _verdict(text)
    except RecursionError:
        assert actual != "clean", text
        return None
    assert actual == expected, (text, actual, expected, rules)
    if actual == "clean":
        body = b'{"data":' + text + b"}"
        assert native.scan_envelope(body, ["data"]) == {"data": text.strip(b" \t\r\n")}, text
    return actual


def parse_strictly(text: bytes) -> Any:
    """RFC 8259 as Python's json reads it, without its extensions.

    Numbers come as Number, objects as tuples of pairs. ValueError for anything else.
    """
    return json.loads(
        text.decode("utf-8"),
        parse_float=Number,
        parse_int=Number,
        parse_constant=_refuse,
        object_pairs_hook=tuple,
    )


def breaks_a_rule(value: Any, depth: int = 0) -> bool:
    """Whether a value from parse_strictly is one that we do not store.

    What all numbers gain together is left out: texts of a few hundred bytes cannot reach its bound.
    """
    match value:
        case Number():
            return _written_digits(value) > 1000
        case str():
            return any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in value)
        case list() | tuple() if depth == 64:
            return True
        case list():
            return any(breaks_a_rule(element, depth + 1) for element in value)
        case tuple():
            return any(
                len(name.encode("utf-8", "surrogatepass")) > 256
                or breaks_a_rule(name)
                or breaks_a_rule(member, depth + 1)
                for name, member in value
            )
    return False


def _verdict(text: bytes) -> Verdict:
    try:
        value = parse_strictly(text)
    except ValueError:
        return "syntax"
    return "content" if breaks_a_rule(value) else "clean"


def _written_digits(number: str) -> float:
    mantissa, _, exponent = number.lower().partition("e")
    # The 2**30 is where jsonb stops, also for a zero; it is far from what could be written out.
    if exponent and abs(Decimal(exponent)) >= 2**30 - 1:
        return float("inf")
    power = int(Decimal(exponent or 0))
    value, places = Decimal(mantissa), len(mantissa.partition(".")[2])
    whole = value.adjusted() + power + 1 if value else 1
    return max(whole, 1) + max(places - power, 0)


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)
