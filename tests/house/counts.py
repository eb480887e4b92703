"""Counts that keep this code legible; ``make counts`` prints them.

The house tests (test_counts.py) have a bound for each, so that none gets worse unnoticed.
"""

import ast
import re
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[2]
SERVICE = ROOT / "service"

# Raised by abstract methods.
_ABSTRACT = {"NotImplementedError"}
_REASON = re.compile(r"\b(because|otherwise|avoid|since|so that|unless|else)\b", re.IGNORECASE)
_UNIT = re.compile(
    r"_(S|MS|US|BYTES|CHARACTERS|ITEMS|ROWS|BITS|DAYS|DIGITS|[A-Z]+S|VERSION|DEPTH|PORT)$"
)


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts of ``service/``; lines include blank ones and comments."""

    files: int
    lines: int
    file_median: float
    file_max: int
    function_median: float
    function_p90: int
    function_max: int
    import_depth: int
    undocumented_modules: list[str]
    untyped_functions: list[str]
    functions_that_raise: int
    silent_about_errors: list[str]
    comments: int
    comments_with_a_reason: int
    constants: int
    constants_with_a_unit: int


def modules() -> Iterator[tuple[Path, str, ast.Module]]:
    """Every Python file of ``service/``, its text and its tree."""
    for path in sorted(SERVICE.rglob("*.py")):
        text = path.read_text()
        yield path, text, ast.parse(text)


def count() -> Counts:
    sizes: list[int] = []
    lengths: list[int] = []
    undocumented, untyped, silent = [], [], []
    raising = comments = reasons = constants = units = 0
    for path, text, tree in modules():
        name = str(path.relative_to(ROOT))
        sizes.append(len(text.splitlines()))
        if not ast.get_docstring(tree) and path.name != "__main__.py":
            undocumented.append(name)
        for function in _functions(tree):
            where = f"{name}:{function.lineno} {function.name}"
            lengths.append((function.end_lineno or 0) - function.lineno + 1)
            if function.returns is None:
                untyped.append(where)
        for where, is_documented in _raising(name, tree):
            raising += 1
            if not is_documented:
                silent.append(where)
        said = [line.strip() for line in text.splitlines() if line.strip().startswith("# ")]
        comments += len(said)
        reasons += sum(bool(_REASON.search(line)) for line in said)
        numbers = list(_numeric_constants(tree))
        constants += len(numbers)
        units += sum(bool(_UNIT.search(number)) for number in numbers)
    return Counts(
        files=len(sizes),
        lines=sum(sizes),
        file_median=statistics.median(sizes),
        file_max=max(sizes),
        function_median=statistics.median(lengths),
        function_p90=sorted(lengths)[len(lengths) * 9 // 10],
        function_max=max(lengths),
        import_depth=import_depth(),
        undocumented_modules=undocumented,
        untyped_functions=untyped,
        functions_that_raise=raising,
        silent_about_errors=silent,
        comments=comments,
        comments_with_a_reason=reasons,
        constants=constants,
        constants_with_a_unit=units,
    )


def import_depth() -> int:
    """Modules in the longest chain of imports, the package itself apart.

    There are no cycles, or this would not end.
    """
    graph = grimp.build_graph("service")
    below: Mapping[str, set[str]] = {
        module: graph.find_modules_directly_imported_by(module) - {"service"}
        for module in graph.modules
    }

    @cache
    def depth(module: str) -> int:
        return 1 + max(map(depth, below[module]), default=0)

    return max(map(depth, below))


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _raising(name: str, tree: ast.Module) -> Iterator[tuple[str, bool]]:
    """Public functions and methods that raise by themselves, and whether their words say so.

    A class may say it for its methods, a module for its functions.
    """
    scopes: list[tuple[ast.Module | ast.ClassDef, str]] = [(tree, ast.get_docstring(tree) or "")]
    scopes += [
        (node, ast.get_docstring(node) or "")
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]
    for scope, around in scopes:
        for node in scope.body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if node.name.startswith("_") and node.name != "__init__":
                continue
            raised = _raised(node)
            if raised:
                words = f"{around} {ast.get_docstring(node) or ''}"
                documented = re.search(r"\b[Rr]aise", words) or any(
                    error in words for error in raised
                )
                yield f"{name}:{node.lineno} {node.name}", bool(documented)


def _raised(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """The names of what ``raise`` statements of the function itself raise."""
    found = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Raise) and node.exc is not None:
            raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            if isinstance(raised, ast.Name) and raised.id not in _ABSTRACT:
                found.add(raised.id)
    return found


def _numeric_constants(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant | ast.BinOp):
            value = node.value
            if isinstance(value, ast.Constant) and not isinstance(value.value, int | float):
                continue
            for target in node.targets:
                if isinstance(target, ast.Name) and target.id.isupper():
                    yield target.id


def report(counted: Counts) -> str:
    documented = counted.functions_that_raise - len(counted.silent_about_errors)
    rows = [
        ("files, lines", f"{counted.files}, {counted.lines}"),
        ("file median, max", f"{counted.file_median:g}, {counted.file_max}"),
        (
            "function median, p90, max",
            f"{counted.function_median:g}, {counted.function_p90}, {counted.function_max}",
        ),
        ("longest chain of imports", str(counted.import_depth)),
        ("modules without a docstring", str(len(counted.undocumented_modules))),
        ("functions without a return type", str(len(counted.untyped_functions))),
        (
            "public functions that raise, and say so",
            f"{counted.functions_that_raise}, {documented}",
        ),
        ("comment lines, with a reason", f"{counted.comments}, {counted.comments_with_a_reason}"),
        ("numeric constants, with a unit", f"{counted.constants}, {counted.constants_with_a_unit}"),
    ]
    return "\n".join(f"{name:<42} {value}" for name, value in rows)


if __name__ == "__main__":
    found = count()
    print(report(found))  # noqa: T201 - it is a command
    for silent in found.silent_about_errors:
        print("  says nothing of its errors:", silent)  # noqa: T201
