"""All parsers of header fields, query strings and bodies are registered, bounded and linear.

Nothing is timed: lines and calls are counted, and the steps of every regular expression.
"""

import ast
import functools
import importlib
import re
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from service.access.peer import TrustedProxies
from service.access.tokens import TokenVerifier
from service.api.batch_body import parse
from service.api.headers.preconditions import parse_key
from service.api.headers.prefer import preference
from service.api.list_query import from_query_string
from service.api.query import parameters
from service.model.bounds import PARSERS, Parser
from tests.fixtures.backtracking import Steps, TooManySteps, characters
from tests.fixtures.counted_work import counted
from tests.fixtures.tokens import verifier

ROOT = Path(__file__).parents[2]
# Where text from outside is read.
_PLACES = [
    *sorted((ROOT / "service/api").glob("*.py")),
    *sorted((ROOT / "service/api/headers").glob("*.py")),
    *sorted((ROOT / "service/api/represent").glob("*.py")),
    *(ROOT / "service/access" / f"{name}.py" for name in ("credentials", "peer", "tokens")),
    *(ROOT / "service/model" / f"{name}.py" for name in ("entity_tag", "query", "bounds")),
    ROOT / "service/observe/trace_context.py",
]
_TEXTS = {"str", "bytes", "str | None", "bytes | None", "str | bytes", "memoryview"}
_TEXTS |= {"Sequence[str]", "Iterable[str]", "Lines"}
# What takes text and need not be registered, and why.
_OURS = "the text is our own, or an id"
_READ = "what is given is read by registered functions"
_ONE_LOOK = "compared, hashed, or matched against a pattern of fixed length, and no more"
_SCANNED = "a whole body: the native scanner is linear, and capped by http.body_max_bytes"
EXEMPT = {
    **dict.fromkeys(
        [
            "api.fingerprint.keyed",
            "api.fingerprint.fingerprinted",
            "api.headers.content_codings.encode",
            "api.headers.content_codings.coded",
            "api.headers.header_lists.field",
            "api.headers.header_lists.list_field",
            "api.headers.prefer.prefers",
            "api.headers.timing.timing_fields",
            "api.represent.batch_results.BatchResults.of_read",
            "api.represent.cursor_profile.media_type",
            "api.represent.fields.chosen_fields",
            "api.represent.fields.select",
            "api.represent.item_reply.ItemReplies.changed",
            "api.represent.item_reply.ItemReplies.of_stored",
            "api.represent.item_reply.ItemReplies.of_stored_at",
            "api.represent.item_reply.ItemReplies.selected_of",
            "api.represent.item_reply.ItemReplies.whole",
            "api.request.Exchange.response_bytes",
            "api.request.GeneralPath.send_large",
            "api.request.Stream.send_bytes",
            "api.represent.v1.render_entry",
            "api.represent.v2.render",
            "api.represent.v2_patch.patched",
            "api.represent.v2.resource",
            "api.represent.v2_errors.error_document",
            "access.tokens.words",
            "model.bounds.header_too_large",
            "model.entity_tag.entity_tag",
            "model.entity_tag.precondition_failed",
        ],
        _OURS,
    ),
    **dict.fromkeys(
        [
            "api.filter_values.checked_condition",
            "api.list_query.read_filters",
        ],
        _READ,
    ),
    **dict.fromkeys(
        [
            "access.credentials.Authenticator.recall",
            "access.credentials.api_key",
            "access.credentials.bearer_token",
            "access.peer.TrustedProxies.client_address",
            "access.peer.TrustedProxies.trust",
            "access.peer.last_forwarded",
            "access.peer.is_loopback",
            "access.peer.network_of",
            "access.tokens.TokenVerifier.remembered",
            "access.tokens.TokenVerifier.verify_waiting",
            "api.filter_values.check_operator",
            "api.gate.Gate.remembered",
            "api.headers.cors.with_cors",
            "api.headers.deprecation.is_about_items",
            "api.route_table.RouteTable.find",
            "api.route_table.RouteTable.methods",
        ],
        _ONE_LOOK,
    ),
    **dict.fromkeys(
        [
            "api.represent.collections.parse",
            "api.represent.v1.parse_body",
            "api.represent.v2_body.parse_body",
            "api.represent.v2_body.parse_update",
            "api.represent.v2_body.resource_members",
            "api.represent.v2_patch.updated",
        ],
        _SCANNED,
    ),
}
# Called otherwise than with the text alone; all registered functions are there by now.
_CALLS: dict[Callable[..., Any], Callable[[Any], object]] = {
    parse: lambda body: parse(body, 1 << 20),
    parse_key: lambda text: parse_key(text, "idempotency-key"),
    preference: lambda text: preference(text, "return"),
    parameters: lambda text: parameters(text, ("a",), "filter["),
    from_query_string: lambda text: from_query_string(text, 1),
    TokenVerifier.verify: verifier(("ES256", "k")).verify,
}
_STARTS = ["", "Bearer ", "filter[a][in]=", '{"filter":{"a":', '"', "a/b;", '{"operations":[']
_DELIMITERS = ',;"=\\ &%[.a'
_PAIRS = [*map("".join, product(_DELIMITERS, repeat=2))]
_UNITS = [
    *('"",', 'W/"a",', '"\\",', "a/b,", "a;q=1,", '"1-00000000",', "%41", "&a=1", "filter[a]=1&"),
    *('"x":1,', "1,", "[[", '{"a":', "1.1.1.1,", "::1,", '{"op":"get","id":""},', "eyJ.", "\t,"),
]


def _functions(path: Path) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Public functions and methods of public classes, by their dotted names below service."""
    module = ".".join(path.relative_to(ROOT / "service").with_suffix("").parts)
    for node in ast.parse(path.read_text()).body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{module}.{node.name}" if isinstance(node, ast.ClassDef) else module
        for function in inner:
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                name = f"{prefix}.{function.name}"
                if "._" not in name:
                    yield name, function


def _takes_text(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    given = function.args.posonlyargs + function.args.args + function.args.kwonlyargs
    return any(a.annotation is not None and ast.unparse(a.annotation) in _TEXTS for a in given)


def test_every_parser_is_registered_or_exempt_for_a_reason() -> None:
    registered = {parser.name.removeprefix("service.") for parser in _parsers()}
    taking = {
        name
        for path in _PLACES
        for name, function in _functions(path)
        if _takes_text(function) and not isinstance(function, type)
    }
    assert sorted(taking - registered - set(EXEMPT)) == []
    assert sorted(set(EXEMPT) - taking) == []
    assert not set(EXEMPT) & registered


def test_header_fields_are_read_in_one_place() -> None:
    """``header_lists.field`` has the bound; what else looks at lines only compares or counts."""
    reading = re.compile(r"headers(?:\.get\(|\[)\s*[\"'](accept|content-type|if-|prefer)")
    found = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "service").rglob("*.py"))
        for line in path.read_text().splitlines()
        if reading.search(line) and "len(" not in line
    ]
    # ``preferred`` takes the URL's version where Accept is too long; the form has its own rule.
    assert found == ["service/api/headers/media_types.py", "service/api/oauth2.py"]


def _modules() -> list[ModuleType]:
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in _PLACES]
    return [importlib.import_module(name.removesuffix(".__init__")) for name in names]


@functools.cache
def _parsers() -> list[Parser]:
    _modules()
    return list(PARSERS)


def _forget() -> None:
    for module in _modules():
        for value in vars(module).values():
            if hasattr(value, "cache_clear") and value is not _parsers:
                value.cache_clear()


def _call(parser: Parser) -> Callable[[Any], object]:
    call = _CALLS.get(parser.function, parser.function)
    takes_bytes = next(iter(parser.function.__annotations__.values())) is bytes
    return (lambda text: call(str(text).encode())) if takes_bytes else call  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("parser", _parsers(), ids=lambda p: p.name)
def test_twice_the_input_is_at_most_twice_the_work(parser: Parser) -> None:
    call, size = _call(parser), min(parser.max_bytes // 2, 200)
    # What is done once in a process is not done for the input.
    for factor in (1, 2):
        counted(call, ",," * (factor * size // 2))
    for start, unit in [*product([""], _PAIRS), *product(_STARTS, _UNITS)]:
        _forget()
        once = counted(call, start + unit * (size // len(unit)))
        twice = counted(call, start + unit * (2 * size // len(unit)))
        assert twice <= 2.2 * once + 60, (start, unit, once, twice)


# The body of a batch is cut off while it is read.
_BEYOND = [parser for parser in _parsers() if parser.function is not parse]


@pytest.mark.parametrize("parser", _BEYOND, ids=lambda p: p.name)
def test_beyond_its_bound_no_work_is_done(parser: Parser) -> None:
    call = _call(parser)
    for unit in (",", "a,", '"",', "&", ";", "1.1.1.1,"):
        _forget()
        most = counted(call, unit * (parser.max_bytes // len(unit)))
        beyond = counted(call, unit * (4 * parser.max_bytes // len(unit)))
        assert beyond <= 1.1 * most + 60, (unit, most, beyond)


def _patterns() -> dict[str, tuple[re.Pattern[str], bool]]:
    """Every pattern of those modules, and whether it is searched for at every position."""
    found = {}
    for path, module in zip(_PLACES, _modules(), strict=True):
        text = path.read_text()
        for name, value in vars(module).items():
            if isinstance(value, re.Pattern):
                searched = re.search(rf"\b{name}\.(search|findall|finditer|sub)\b", text)
                pattern = value.pattern
                if isinstance(pattern, bytes):
                    value = re.compile(pattern.decode("latin-1"), value.flags | re.ASCII)
                found[f"{module.__name__}.{name}"] = value, bool(searched)
    return found


def _steps(pattern: re.Pattern[str], searched: bool, text: str) -> int:
    steps = Steps(pattern)
    if searched:
        return steps.of_all(text)
    return max(steps.of(text, fullmatch=True), steps.of(text, fullmatch=False))


@pytest.mark.parametrize("name", _patterns())
def test_every_regular_expression_is_linear(name: str) -> None:
    pattern, searched = _patterns()[name]
    letters = characters(pattern)
    starts = ["", "bearer ", '"', "[", "00-"]
    for start, unit in product(starts, map("".join, product(letters, repeat=2))):
        for end in ("", "\N{SNOWMAN}"):
            once, twice = (_steps(pattern, searched, start + unit * n + end) for n in (10, 20))
            assert twice <= 2.6 * once + 20, (start, unit, end, once, twice)


def _is_linear(pattern: str) -> bool:
    texts = ["a" * n + "\N{SNOWMAN}" for n in (10, 20)]
    try:
        once, twice = (_steps(re.compile(pattern), False, text) for text in texts)
    except TooManySteps:
        return False
    return twice <= 2.6 * once + 20


def test_the_counting_detects_non_linear_parsers() -> None:
    assert _is_linear(r"a*+b")
    assert not any(map(_is_linear, (r"(a*)*b", r"(?:a|a)*c", r"a*a*b")))

    def slicing(text: str) -> None:
        at = 0
        while at < len(text):
            text[at:].lstrip(" ")
            at += 1

    once, twice = counted(slicing, "x" * 2000), counted(slicing, "x" * 4000)
    assert twice > 2.2 * once + 60


def test_only_the_last_bytes_of_forwarded_for_are_read() -> None:
    proxies = TrustedProxies(["10.0.0.0/8"])
    line = "1.2.3.4," + "10.1.1.1," * 2000 + "10.1.1.2"
    assert proxies.client_address("10.0.0.1", [line]).startswith("10.1.1.")
