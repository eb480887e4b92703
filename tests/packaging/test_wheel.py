"""The wheel: everything that is needed is inside, and it runs where there is no checkout."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# The profile that is compiled already, so that the build takes seconds.
PROFILE = "release" if (ROOT / ".venv/.installed-release").exists() else "fast"


def _run(*command: str | Path, folder: Path, **environment: str) -> str:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HOTSHELF_", "PYTHON"))}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=kept | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _wheel(folder: Path) -> Path:
    """Build it as ``make wheel`` does."""
    _run(
        *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"),
        *("--wheel-dir", folder, ROOT),
        folder=folder,
        MATURIN_PEP517_ARGS=f"--profile {PROFILE}",
        PIP_CONSTRAINT=str(ROOT / "constraints.txt"),
    )
    [wheel] = folder.glob("*.whl")
    return wheel


def _install(wheel: Path, folder: Path) -> Path:
    """A virtual environment with the wheel alone, which finds its dependencies in this one."""
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    _run(
        *(sys.executable, "-m", "pip", "--quiet", "--python", python, "install"),
        *("--no-deps", "--no-index", wheel),
        folder=folder,
    )
    [packages] = folder.glob("lib/python*/site-packages")
    # A plain path: the .pth file of the editable installation there is not followed.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


@pytest.mark.timeout(900)  # compiles the native extension where it has changed
def test_the_wheel_runs_outside_the_checkout(tmp_path: Path) -> None:
    wheel = _wheel(tmp_path)
    version = wheel.name.split("-")[1]
    assert "-cp311-abi3-" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    files = (path for path in (ROOT / "service").rglob("*") if path.is_file())
    needed = {str(p.relative_to(ROOT)) for p in files if p.suffix not in {".pyc", ".so"}}
    assert len(needed) > 150
    assert not needed - packed
    assert f"hotshelf-{version}.dist-info/licenses/LICENSE" in packed

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    python = _install(wheel, tmp_path / "venv")
    hotshelf = python.with_name("hotshelf")
    assert _run(hotshelf, "--version", folder=elsewhere) == f"hotshelf {version}\n"
    assert "http.port = 8080" in _run(hotshelf, "settings", folder=elsewhere)
    assert '"openapi": "3.1.1"' in _run(hotshelf, "openapi", folder=elsewhere)
    code = "import service.app, service.native; print(service.native.__file__)"
    assert _run(python, "-c", code, folder=elsewhere).startswith(str(tmp_path / "venv"))
