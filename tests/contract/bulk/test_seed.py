"""`hotshelf seed`: the same catalog for the same flags, in all shards, only where there is room."""

import re

from tests.fixtures.bulk import Bulk
from tests.fixtures.stack import execute

SEED = ("seed", "--items", "3000", "--bytes", "400", "--attributes", "size:int,colour:word")


def test_the_same_flags_make_the_same_catalog(bulk: Bulk) -> None:
    done = bulk.run(*SEED)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"stored 3,000 items in ")
    first = bulk.run("export").stdout
    assert len(first.splitlines()) == 3000
    again = bulk.run(*SEED)
    assert again.returncode == 0
    assert b"3,000 items existed already" in again.stderr
    assert bulk.run("export").stdout == first
    for url in bulk.urls:
        execute(url, "TRUNCATE items")
    assert bulk.run(*SEED).returncode == 0
    assert bulk.run("export").stdout == first


def test_every_shard_has_its_part(bulk: Bulk) -> None:
    assert bulk.run(*SEED, "--seed", "9").returncode == 0
    shares = [int(str(execute(url, "SELECT count(*) FROM items")[0][0])) for url in bulk.urls]
    assert sum(shares) == 3000
    assert min(shares) > 1000


def test_a_catalog_that_does_not_fit_is_refused_and_nothing_stored(bulk: Bulk) -> None:
    done = bulk.run("seed", "--items", "1000000000000", "--bytes", "2000")
    assert done.returncode == 2
    assert b"are missing" in done.stderr
    assert bulk.data() == []


def test_the_estimated_need_is_near_the_actual_use(bulk: Bulk) -> None:
    done = bulk.run("seed", "--items", "20000", "--bytes", "1000", "--force")
    assert done.returncode == 0, done.stderr
    match = re.search(rb"\(([\d,]+) bytes an item", done.stderr)
    assert match is not None
    measured = int(match[1].replace(b",", b""))
    query = "SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('items')"
    used = sum(int(str(execute(url, query)[0][0])) for url in bulk.urls)
    assert 0.8 < used / (20_000 * measured) < 1.25


def test_flags_that_make_no_sense_are_refused(bulk: Bulk) -> None:
    for flags in (["--items", "0"], ["--items", "1", "--attributes", "a:colour"]):
        done = bulk.run("seed", *flags)
        assert done.returncode == 2
        assert b"hotshelf seed: " in done.stderr
