"""CSV (RFC 4180) records as JSON objects whose members are named by the header.

An unquoted cell that is a JSON number, true, false or null keeps that value, digit for digit; an
empty one leaves its member out; any other cell, and every quoted one, is a string. So is every cell
of a column that was named as text, for codes that only look like numbers (0042, 12E4).
"""

import re
from collections.abc import Collection, Iterator

import orjson

from service.bulk.source import Block, Source, SourceBroken

_CELL = re.compile(rb'(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r?\n)')
_OPEN_CELL = re.compile(rb'"(?:[^"]|"")*')
_LITERAL = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null")


def csv_blocks(
    source: Source, record_max_bytes: int, text_columns: Collection[str] = ()
) -> Iterator[Block]:
    """One block a record behind the header. Raises SourceBroken for a header of no use.

    ``text_columns`` are the names of columns of text, ``*`` among them stands for all.
    """
    names: list[bytes] | None = None
    as_text: list[bool] = []
    for record in _records(source, record_max_bytes):
        if names is None:
            plain = _header(source, record)
            as_text = _as_text(source, plain, text_columns)
            names = [orjson.dumps(name) for name in plain]
        elif record.rejected:
            yield Block(record.line, record.last_line, rejected=record.rejected)
        else:
            yield _block(record, names, as_text)


def _header(source: Source, record: Block) -> list[str]:
    cells = None if record.rejected else _cells(record.text)
    if cells is None:
        raise SourceBroken(f"{source.name}: the header is not a CSV record")
    try:
        names = [_text(*cell).strip() for cell in cells]
    except UnicodeDecodeError:
        raise SourceBroken(f"{source.name}: the header is not UTF-8") from None
    if not all(names) or len(set(names)) < len(names):
        raise SourceBroken(f"{source.name}: the header has an empty or a repeated name")
    return names


def _as_text(source: Source, names: list[str], text_columns: Collection[str]) -> list[bool]:
    unknown = set(text_columns) - {*names, "*"}
    if unknown:
        raise SourceBroken(f"{source.name}: the header has no column {min(unknown)!r}")
    return [name in text_columns or "*" in text_columns for name in names]


def _block(record: Block, names: list[bytes], as_text: list[bool]) -> Block:
    cells = _cells(record.text)
    place = (record.line, record.last_line)
    if cells is None:
        return Block(*place, rejected=("csv-syntax", "a quote is not allowed here"))
    if len(cells) != len(names):
        detail = f"the header has {len(names)} cells and this record {len(cells)}"
        return Block(*place, rejected=("csv-cells", detail))
    members = []
    try:
        for name, is_text, (quoted, raw) in zip(names, as_text, cells, strict=True):
            if raw != b"":
                members.append(name + b":" + _value(quoted, raw, is_text))
    except UnicodeDecodeError:
        return Block(*place, rejected=("syntax", "the record is not UTF-8"))
    return Block(*place, b"{" + b",".join(members) + b"}\n")


def _value(quoted: bytes | None, raw: bytes | None, is_text: bool) -> bytes:
    if not is_text and raw is not None and _LITERAL.fullmatch(raw):
        return raw
    return orjson.dumps(_text(quoted, raw))


def _text(quoted: bytes | None, raw: bytes | None) -> str:
    return (raw or b"").decode() if quoted is None else quoted.replace(b'""', b'"').decode()


def _cells(text: bytes) -> list[tuple[bytes | None, bytes | None]] | None:
    """The content of each cell, quoted or not; None if the line is not a record."""
    cells, at = [], 0
    while at < len(text):
        match = _CELL.match(text, at)
        if match is None:
            return None
        cells.append((match[1], match[2]))
        at = match.end()
    return cells


def _ends_in_quotes(line: bytes) -> bool:
    """Whether the line's last cell is quoted and continues on the next line."""
    at = 0
    while match := _CELL.match(line, at):
        at = match.end()
    return _OPEN_CELL.fullmatch(line, at) is not None


def _records(source: Source, record_max_bytes: int) -> Iterator[Block]:
    """Records: lines are joined where a quoted cell contains line ends; blank lines are skipped."""
    held: list[bytes] = []
    first, size, quotes = 1, 0, 0
    for line, text in _lines(source, record_max_bytes):
        if not held:
            first = line
        if text is None:
            detail = f"a line of the record is longer than {record_max_bytes} bytes"
            yield Block(first, line, b"", ("line-too-long", detail))
            held, size, quotes = [], 0, 0
            continue
        held.append(text)
        size += len(text)
        quotes += text.count(b'"')
        if size > record_max_bytes:
            detail = f"the record is longer than {record_max_bytes} bytes; is a quote unclosed?"
            yield Block(first, line, b"", ("record-too-long", detail))
        elif quotes % 2 and (len(held) > 1 or _ends_in_quotes(text)):
            continue
        elif held not in ([b"\n"], [b"\r\n"]):
            yield Block(first, line, b"".join(held))
        held, size, quotes = [], 0, 0
    if held:
        yield Block(first, line, b"", ("csv-syntax", "a quote is unclosed"))


def _lines(source: Source, line_max_bytes: int) -> Iterator[tuple[int, bytes | None]]:
    for block in source.blocks(line_max_bytes):
        if block.rejected:
            yield block.line, None
        else:
            for line, text in enumerate(block.text.split(b"\n")[:-1], block.line):
                yield line, text + b"\n"
