"""Licences of dependencies are compatible, and no crate is compiled twice.

Advisories are not looked up: that needs a database from the network.
"""

import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
# SPDX identifiers. LGPL: psycopg, which is imported and not linked or changed.
ALLOWED = {
    *("Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "MIT", "MIT-0", "MPL-2.0"),
    *("PSF-2.0", "Unicode-3.0", "Unlicense", "Zlib"),
    *("LGPL-3.0-only", "LGPL-2.1-or-later", "LLVM-exception"),
}
_CLASSIFIERS = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}


@cache
def _installed() -> dict[str, metadata.Distribution]:
    """The distributions that hotshelf[embedded] needs, however indirectly."""
    found: dict[str, metadata.Distribution] = {}
    wanted = [("hotshelf", frozenset({"embedded"}))]
    while wanted:
        name, extras = wanted.pop()
        if name in found:
            continue
        found[name] = metadata.distribution(name)
        for text in found[name].requires or ():
            needed = Requirement(text)
            marker = needed.marker
            if marker is None or any(marker.evaluate({"extra": e}) for e in ("", *extras)):
                wanted.append((needed.name.lower(), frozenset(needed.extras)))
    return found


def _licences(distribution: metadata.Distribution) -> Iterator[str]:
    """SPDX identifiers from its expression, else its classifiers, else its free text."""
    fields = distribution.metadata
    expressions = fields.get_all("License-Expression") or []
    classifiers = fields.get_all("Classifier") or []
    names = [c.rpartition(" :: ")[2] for c in classifiers if c.startswith("License :: ")]
    if names and not expressions:
        yield from (_CLASSIFIERS.get(name, name) for name in names)
    for expression in expressions or ([] if names else fields.get_all("License") or []):
        yield from _identifiers(expression)


def _identifiers(expression: str) -> list[str]:
    return [w for w in re.findall(r"[\w.\-]+", expression) if w not in ("AND", "OR", "WITH")]


@pytest.mark.parametrize("name", sorted(_installed()))
def test_a_package_has_a_licence_that_fits(name: str) -> None:
    licences = list(_licences(_installed()[name]))
    assert licences
    assert not set(licences) - ALLOWED


def _crates() -> list[dict[str, Any]]:
    command = ["cargo", "metadata", "--offline", "--locked", "--format-version", "1"]
    packages: list[dict[str, Any]] = json.loads(subprocess.check_output(command, cwd=ROOT))[
        "packages"
    ]
    return [package for package in packages if package["source"] is not None]


def test_crates_have_licences_that_fit_and_one_version_each() -> None:
    crates = _crates()
    assert len(crates) > 30
    unfit = {c["name"]: c["license"] for c in crates if set(_identifiers(c["license"])) - ALLOWED}
    assert not unfit
    versions = Counter(crate["name"] for crate in crates)
    assert not [name for name, count in versions.items() if count > 1]
