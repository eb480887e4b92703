"""Another revision of the repository, checked out and compiled beside this one."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from bench.machine import ROOT

# Kept between runs, so that only what differs is compiled again.
_TARGET = ROOT / "target" / "compare"
_BUILD = ["cargo", "build", "--quiet", "--locked", "--release", "--package", "hotshelf-native"]


@contextlib.contextmanager
def checked_out(revision: str, folder: Path, repository: Path = ROOT) -> Iterator[Path]:
    """The root of ``revision`` in a worktree under ``folder``, until the block ends.

    Raises CalledProcessError when there is no such revision.
    """
    root = folder / "revision"
    git = ["git", "-C", str(repository), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(root), revision], check=True)
    try:
        yield root
    finally:
        subprocess.run([*git, "remove", "--force", str(root)], check=True)


def compile_native(root: Path) -> None:
    """Its native extension, as it is shipped; Python packages are those that are installed here.

    Raises CalledProcessError when it does not compile.
    """
    env = os.environ | {"CARGO_TARGET_DIR": str(_TARGET)}
    build = [*_BUILD, "--features", "pyo3/extension-module"]
    subprocess.run(build, cwd=root, env=env, check=True)
    shutil.copy(_TARGET / "release" / "libnative.so", root / "service" / "native.abi3.so")
