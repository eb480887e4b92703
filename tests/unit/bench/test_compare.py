"""When a revision counts as slower, and another one beside this."""

import subprocess
from pathlib import Path

import pytest

from bench import latency_chart, machine
from bench.compare import Compared
from bench.revision import checked_out


def repository(folder: Path) -> Path:
    """Two commits of one file."""
    git = ["git", "-C", str(folder), "-c", "user.name=x", "-c", "user.email=x@example.test"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    for text in ("old", "new"):
        (folder / "file").write_text(text)
        subprocess.run([*git, "add", "file"], check=True)
        subprocess.run([*git, "commit", "--quiet", "-m", text], check=True)
    return folder


def test_another_revision_stands_beside_this_one_until_the_block_ends(tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    repository(here)
    with checked_out("HEAD~1", tmp_path, here) as base:
        assert (base / "file").read_text() == "old"
        assert (here / "file").read_text() == "new"
    assert not base.exists()
    assert len(list((here / ".git").glob("worktrees/*"))) == 0
    with pytest.raises(subprocess.CalledProcessError), checked_out("none", tmp_path, here):
        pass


@pytest.mark.parametrize(
    ("by_rate", "by_cpu", "is_slower"),
    [
        ([0.9, 0.94, 1.2], [0.9, 0.9, 0.9], True),
        ([0.9, 0.96, 0.9], [0.9, 0.9, 0.9], True),  # the median, not the best
        ([0.8, 0.8, 0.8], [1.0, 0.99, 0.7], False),  # another program had the processor
        ([1.0, 1.0, 1.0], [0.9, 0.9, 0.9], False),
    ],
)
def test_slower_is_slower_by_rate_and_by_cpu_time(
    by_rate: list[float], by_cpu: list[float], is_slower: bool
) -> None:
    compared = Compared(by_rate, by_cpu)
    assert compared.is_slower == is_slower
    assert f"({min(by_rate):.3f} to {max(by_rate):.3f})" in str(compared)


def test_figures_of_changed_code_are_not_written_into_results(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here = repository(tmp_path)
    (here / "bench" / "results").mkdir(parents=True)
    monkeypatch.setattr(machine, "ROOT", here)
    monkeypatch.setattr(machine, "RESULTS", here / "bench" / "results")
    result = here / "bench" / "results" / "some.json"
    result.write_text("{}")  # what a report writes is no change
    machine.refuse_dirty(result)
    assert not str(machine.revision()).endswith("-dirty")
    (here / "file").write_text("changed")
    machine.refuse_dirty(tmp_path / "elsewhere.json")
    assert str(machine.revision()).endswith("-dirty")
    with pytest.raises(SystemExit, match="file"):
        machine.refuse_dirty(result)


def test_what_others_do_on_the_machine_is_seen_before_during_and_after() -> None:
    with machine.watched() as others:
        assert set(others) == {"before"}
    assert list(others) == ["before", "during", "after"]
    assert all(0 <= each["steal"] <= 1 for each in others.values())
    assert "stolen" in machine.told({"load_before": 1.0, "others": others})


@pytest.mark.parametrize(("load", "steal", "busy"), [(0.5, 0.0, 0), (1.5, 0.0, 1), (0.5, 0.2, 1)])
def test_a_machine_is_busy_by_load_or_by_steal(load: float, steal: float, busy: int) -> None:
    others = {"during": {"steal": steal, "load": 9.0}}
    assert machine.is_busy({"load_before": load, "cores": 2, "others": others}) == bool(busy)


def test_a_line_of_the_chart_is_the_median_of_the_rounds() -> None:
    place = {"kind": "paced", "variant": "near", "body_bytes": 300, "server": "ours"}
    rounds = [
        place | {"latencies_ms": [[0.0, 1.0], [0.9, ms], [1, 2 * ms]]} for ms in (1.0, 100.0, 10.0)
    ]
    # Without the longest: its share is 1 in every round, however many requests there were.
    assert latency_chart._line(rounds) == [(0.0, 1.0), (0.9, 10.0)]
    picture = latency_chart.latency_chart({"samples": rounds})
    assert picture.count("<polyline") == 1
    assert "99.9 %" in picture
