"""deploy/prerequisites.sh says in one line what is missing, and an old cargo is missing too."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
# What the script looks at.
PROGRAMS = ("cc", "pg_config", "python3")


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A PATH of its own: everything that is needed, but no cargo."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for program in Path("/usr/bin").iterdir():
        if program.name not in ("cargo", *PROGRAMS):
            (folder / program.name).symlink_to(program)
    for name in PROGRAMS:
        if found := shutil.which(name):
            (folder / name).symlink_to(found)
    return folder


def _lines(programs: Path, cargo: str | None = None) -> list[str]:
    if cargo is not None:
        (programs / "cargo").write_text(f"#!/bin/sh\necho '{cargo}'\n")
        (programs / "cargo").chmod(0o755)
    ended = subprocess.run(
        ["/bin/sh", str(ROOT / "deploy" / "prerequisites.sh")],
        env={"PATH": str(programs)},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = ended.stderr.splitlines()
    assert all(line.startswith("hotshelf: ") for line in lines)
    assert ended.returncode == (1 if lines else 0)
    return [line for line in lines if "cargo" in line]


@pytest.mark.parametrize(
    "cargo", [None, "cargo 1.63.0", "cargo 1.85.0 (d73d2caf9 2024-12-31)", "cargo 1.9.0", "oops"]
)
def test_a_missing_or_old_cargo_is_one_line_that_names_rustup(
    programs: Path, cargo: str | None
) -> None:
    (line,) = _lines(programs, cargo)
    assert "1.88" in line
    assert "rustup" in line
    assert "apt-get" not in line


@pytest.mark.parametrize("cargo", ["cargo 1.88.0", "cargo 1.95.0 (f2d3ce0bd)", "cargo 2.0.0-beta"])
def test_a_new_cargo_will_do(programs: Path, cargo: str) -> None:
    assert _lines(programs, cargo) == []


def test_it_requires_the_crates_rust_version() -> None:
    manifest = (ROOT / "native" / "Cargo.toml").read_text()
    assert 'rust-version = "1.88"' in manifest
    assert "RUST=1.88" in (ROOT / "deploy" / "prerequisites.sh").read_text()
