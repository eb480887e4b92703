"""Documents are correct where a program can check: generated pages, links, decisions' index."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.cli import reference

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
DECISIONS = sorted((DOCS / "decisions").glob("[0-9]*.md"))
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_TITLE = re.compile(r"# (\d{4}): [A-Z].*[^.]")
_STATUS = re.compile(
    r"Status: (proposed|accepted|rejected|superseded by \d{4}) · Date: (\d{4}-\d\d-\d\d)"
)


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _links(page: Path) -> Iterator[str]:
    for link in _LINK.findall(_CODE.sub("", page.read_text())):
        if "://" not in link:
            yield link


def _anchors(page: Path) -> set[str]:
    """As GitHub and mkdocs make them of plain headings."""
    heads = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


def test_the_command_line_page_is_generated_from_the_parsers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`make docs` writes it."""
    monkeypatch.delenv("HOTSHELF_DATA_DIR", raising=False)
    assert (DOCS / "cli.md").read_text() == reference.page()


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for link in _links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in _anchors(target), link


def test_every_page_is_in_the_site_and_links_within_it() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text()
    named = re.findall(r"^ *- (\S+\.md)$", navigation, re.MULTILINE)
    assert sorted(named) == sorted(str(p.relative_to(DOCS)) for p in DOCS.rglob("*.md"))
    for page in DOCS.rglob("*.md"):
        outside = [k for k in _links(page) if not (page.parent / k).resolve().is_relative_to(DOCS)]
        assert not outside, page


def test_pages_load_nothing_from_elsewhere() -> None:
    """Links may lead elsewhere; pictures, scripts and styles may not come from there."""
    loads = re.compile(r"(?i)!\[[^]]*\]\(https?:|<(?:img|script|iframe|link)\b[^>]*https?:")
    assert not [_name(page) for page in PAGES if loads.search(_CODE.sub("", page.read_text()))]
    assert "font: false" in (ROOT / "mkdocs.yml").read_text()


def test_every_decision_has_a_number_a_status_and_a_row() -> None:
    index = (DOCS / "decisions" / "index.md").read_text()
    numbers = []
    for page in DECISIONS:
        title, blank, status, *_ = page.read_text().splitlines()
        head, stated = _TITLE.fullmatch(title), _STATUS.fullmatch(status)
        assert head, title
        assert stated, status
        assert page.name.startswith(f"{head[1]}-")
        assert not blank
        words = title.removeprefix(f"# {head[1]}: ")
        assert f"| [{head[1]}]({page.name}) | {words} | {stated[1]} | {stated[2]} |" in index
        numbers.append(head[1])
    assert numbers
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_path_named_exists(page: Path) -> None:
    """Paths from the root of the repository, as code; the changelog names what was, too."""
    named = re.findall(
        r"`((?:service|native|tests|bench|deploy|loadtest)/[\w./-]+)`", page.read_text()
    )
    missing = [path for path in named if not (ROOT / path).exists()]
    assert page.name == "CHANGELOG.md" or not missing
