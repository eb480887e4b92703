"""The rules of the house that no linter knows: sizes, names, and tables that must be whole."""

import ast
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from service import setting_sources
from service.api.represent.problem import TABLE
from service.model import errors
from service.model.errors import CallerError, CapacityError, DependencyError, HotshelfError
from service.observe import metrics
from service.settings import Settings

ROOT = Path(__file__).parents[2]
PYTHON = sorted(
    path
    for folder in ("service", "tests", "bench", "loadtest")
    for path in (ROOT / folder).rglob("*.py")
)
RUST = sorted((ROOT / "native").rglob("*.rs"))
BANNED = {
    "utils",
    "util",
    "helpers",
    "helper",
    "common",
    "misc",
    "base",
    "manager",
    "handler",
    "core",
}


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _words(name: str) -> set[str]:
    return set(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().split("_"))


@pytest.mark.parametrize("path", [*PYTHON, *RUST], ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_fits_in_the_head(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 300


@pytest.mark.parametrize("path", PYTHON, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_function_fits_on_a_screen(path: Path) -> None:
    long = [f.name for f in _functions(path) if (f.end_lineno or 0) - f.lineno >= 50]
    assert not long


@pytest.mark.parametrize("path", [*PYTHON, *RUST], ids=lambda p: str(p.relative_to(ROOT)))
def test_no_name_is_generic(path: Path) -> None:
    assert not _words(path.stem) & BANNED
    if path.suffix == ".py":
        classes = [
            n.name for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ClassDef)
        ]
        assert not [name for name in classes if _words(name) & BANNED]


def test_every_rust_file_tests_itself() -> None:
    files = [p for p in RUST if p.parent.name == "src" and p.name != "lib.rs"]
    assert files
    assert not [p.name for p in files if "#[cfg(test)]" not in p.read_text()]


def _error_classes() -> list[type[HotshelfError]]:
    families = {HotshelfError, CallerError, CapacityError, DependencyError}
    found = [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, HotshelfError) and value not in families
    ]
    assert len(found) > 20
    return found


@pytest.mark.parametrize("error", _error_classes(), ids=lambda e: e.code)
def test_every_error_has_a_status_a_page_and_a_wire_test(error: type[HotshelfError]) -> None:
    assert error in TABLE
    row = f"| `{error.code}` | {TABLE[error].status} |"
    assert row in (ROOT / "docs" / "errors.md").read_text()
    wire = "\n".join(
        p.read_text() for p in (ROOT / "tests").rglob("test_*.py") if p != Path(__file__)
    )
    assert f'"{error.code}"' in wire


def test_every_error_code_is_unique() -> None:
    codes = [error.code for error in _error_classes()]
    assert len(codes) == len(set(codes)) == len(TABLE)


def test_every_setting_is_documented() -> None:
    """`make docs` writes the table."""
    assert setting_sources.markdown_table() in (ROOT / "docs" / "settings.md").read_text()


def test_every_metric_is_documented() -> None:
    """`make docs` writes the page."""
    assert metrics.markdown_page() == (ROOT / "docs" / "metrics.md").read_text()


def test_every_setting_has_words_of_its_own() -> None:
    rows = setting_sources.describe(Settings(), {})
    assert all(row.doc for row in rows)
    assert all(dataclasses.is_dataclass(getattr(Settings(), r.name.split(".")[0])) for r in rows)
