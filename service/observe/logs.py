"""Log lines: one JSON object each, or text for a terminal.

The caller of the logger names the fields. Exception messages are left out, because a driver's may
quote a row, and a parser's the body: a line has the exception's type, SQLSTATE and traceback. Line
ends and control characters are escaped, so that no line can be forged.
"""

import json
import logging
import logging.config
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson

_PLAIN = re.compile(r"[\w.:/{}+-]+", re.ASCII)
_MAX_FRAMES = 12
_HERE = Path(__file__).parents[2]


def fields(**values: Any) -> dict[str, Any]:
    """Named values of a line: ``logger.info("breaker", **fields(node=…, state=…))``."""
    return {"extra": {"fields": values}}


def configure(level: str, form: str, worker: int | None = None) -> None:
    """Log to standard error from now on.

    ``form`` is json or text; empty: text where standard error is a terminal. ``worker`` is the
    number that lines carry.
    """
    # No line contains them, and each record would query them.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(form, worker))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def formatter(form: str, worker: int | None = None) -> logging.Formatter:
    is_text = form == "text" or (not form and sys.stderr.isatty())
    return TextLines(worker) if is_text else JsonLines(worker)


class _Lines(logging.Formatter):
    def __init__(self, worker: int | None = None) -> None:
        super().__init__()
        self._worker = worker

    def said(self, record: logging.LogRecord) -> dict[str, Any]:
        """The line's fields in order; ``event`` is the message."""
        when = datetime.fromtimestamp(record.created, UTC)
        said: dict[str, Any] = {
            "time": when.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            # Only the first line, because asyncio's further ones quote exceptions.
            "event": record.getMessage().partition("\n")[0],
        }
        said |= getattr(record, "fields", {})
        if self._worker is not None:
            said["worker"] = self._worker
        said["logger"] = record.name
        if record.exc_info and record.exc_info[1] is not None:
            said |= described(record.exc_info[1])
        return said


class JsonLines(_Lines):
    """One JSON object a line, ASCII alone."""

    def format(self, record: logging.LogRecord) -> str:
        said = self.said(record)
        try:
            text = orjson.dumps(said, default=str)
        except TypeError:  # an integer over 64 bits, or half a surrogate pair
            text = b"\x80"
        # JSON leaves DEL as it is.
        if text.isascii() and b"\x7f" not in text:
            return text.decode()
        return json.dumps(said, default=str, separators=(",", ":"))


class TextLines(_Lines):
    """Time, level, event, then ``name=value``; values other than plain words are JSON."""

    def format(self, record: logging.LogRecord) -> str:
        said = self.said(record)
        head = f"{said.pop('time')} {said.pop('level').upper():7} {_safe(said.pop('event'))}"
        return " ".join([head, *(f"{name}={_word(value)}" for name, value in said.items())])


def _word(value: Any) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(value, default=str)


def _safe(text: str) -> str:
    return json.dumps(text)[1:-1].replace('\\"', '"')


def described(error: BaseException) -> dict[str, Any]:
    """Type, SQLSTATE, constraint and traceback of an exception, and the types of its causes."""
    found: dict[str, Any] = {"error": _kind(error)}
    cause = error.__cause__ or error.__context__
    if cause is not None:
        found["cause"] = _kind(cause)
    for of in (error, cause):
        if getattr(of, "sqlstate", None):
            found["sqlstate"] = of.sqlstate  # type: ignore[union-attr]
        constraint = getattr(getattr(of, "diag", None), "constraint_name", None)
        if constraint:
            found["constraint"] = constraint
    found["where"] = _way(error.__traceback__)
    return found


def _kind(error: BaseException) -> str:
    return f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")


def _way(traceback: TracebackType | None) -> list[str]:
    """The innermost frames, innermost last."""
    way = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        file = code.co_filename.removeprefix(f"{_HERE}/").rpartition("/site-packages/")[2]
        way.append(f"{file}:{traceback.tb_lineno} {code.co_name}")
        traceback = traceback.tb_next
    return way[-_MAX_FRAMES:]


def granian_config(form: str) -> dict[str, Any]:
    """Granian's own lines in the same format (its option ``log_dictconfig``)."""
    handler = {"formatter": "ours", "class": "logging.StreamHandler", "stream": "ext://sys.stderr"}
    return {
        "formatters": {"ours": {"()": formatter, "form": form}},
        "handlers": {"console": handler},
        "loggers": {"_granian": {"handlers": ["console"], "level": "INFO", "propagate": False}},
    }
