"""A worker's counts, the sums over workers, and the text for Prometheus."""

import time
from typing import Any

import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from service.observe.exposition import OPENMETRICS, PROMETHEUS, exposition, media_type
from service.observe.instruments import OTHER, SECONDS, Histogram, Merge, Registry
from service.observe.totals import Sample, Totals, merged

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class World:
    """A registry with one metric of each kind."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.asked = self.registry.counter("asked_total", 'How "often"\\ asked.', ("who",))
        self.took = self.registry.histogram("took_seconds", "How long.", ("who",))
        self.held = self.registry.sampled("held", "What is held.")
        self.most = self.registry.sampled("most", "The most.", ("of",), Merge.MAX)
        self.each = self.registry.sampled("each", "Each worker's.", merge=Merge.EACH)
        self.spent = self.registry.sampled("spent_total", "What was spent.")

    def totals(self, *samples: Sample) -> Totals:
        return Totals.taken(self.registry, samples)

    def text(self, host: Totals, media: str = PROMETHEUS) -> str:
        return exposition(self.registry.described, host, media).decode()


def series(text: str) -> dict[str, float]:
    return {
        s.name + "".join(f" {name}={value}" for name, value in sorted(s.labels.items())): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }


def test_durations_fall_into_buckets_from_50_microseconds_to_10_seconds() -> None:
    assert (SECONDS[0], SECONDS[-1]) == (0.00005, 10.0)
    assert list(SECONDS) == sorted(SECONDS)
    world = World()
    for value in (0.00001, 0.00005, 0.000051, 9.9, 10.5):
        world.took.of("a").observe(value)
    found = series(world.text(world.totals()))
    assert found["took_seconds_bucket le=5e-05 who=a"] == 2
    assert found["took_seconds_bucket le=0.0001 who=a"] == 3
    assert found["took_seconds_bucket le=10.0 who=a"] == 4
    assert found["took_seconds_bucket le=+Inf who=a"] == found["took_seconds_count who=a"] == 5
    assert found["took_seconds_sum who=a"] == pytest.approx(20.400111)


def test_every_metric_is_described_before_anything_was_counted() -> None:
    world = World()
    for media in (PROMETHEUS, OPENMETRICS):
        text = world.text(world.totals(), media)
        assert text.count("# HELP ") == text.count("# TYPE ") == 6
    families = {f.name: f for f in text_string_to_metric_families(world.text(Totals()))}
    assert families["asked"].documentation == 'How "often"\\ asked.'


def test_label_values_are_escaped() -> None:
    world = World()
    odd = 'a"b\\c\nd'
    world.asked.add(2, odd)
    readers: list[tuple[Any, str]] = [
        (text_string_to_metric_families, PROMETHEUS),
        (openmetrics.text_string_to_metric_families, OPENMETRICS),
    ]
    for parse, media in readers:
        text = world.text(world.totals(), media)
        [sample] = [s for f in parse(text) for s in f.samples if s.name == "asked_total"]
        assert (sample.labels, sample.value) == ({"who": odd}, 2)


def test_openmetrics_has_the_latest_trace_of_a_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    world, now = World(), [1000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    took = world.took.of("a")
    took.observe(0.2)
    took.observe_traced(0.2, "0" * 31 + "1")
    took.observe_traced(0.2, "0" * 31 + "2")
    now[0] += 1.5
    took.observe_traced(0.21, TRACE)
    text = world.text(world.totals(), OPENMETRICS)
    assert text.endswith("# EOF\n")
    examples = [
        (s.labels["le"], s.exemplar)
        for f in openmetrics.text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
        for s in f.samples
        if s.exemplar is not None
    ]
    [(bound, example)] = examples
    assert (bound, example.labels, example.value) == ("0.25", {"trace_id": TRACE}, 0.21)
    assert float(example.timestamp) == 1001.5
    assert TRACE not in world.text(world.totals())
    assert series(world.text(world.totals()))["took_seconds_count who=a"] == 4


def test_openmetrics_is_sent_only_if_accepted() -> None:
    assert media_type("application/openmetrics-text;version=1.0.0,text/plain;q=0.5") == OPENMETRICS
    assert media_type("text/plain;version=0.0.4") == media_type("*/*") == PROMETHEUS


def test_workers_add_up_to_one_host() -> None:
    first, second = World(), World()
    for world, amount in ((first, 1), (second, 10)):
        world.asked.add(amount, "a")
        world.took.of("a").observe(amount)
    host = merged(
        first.registry.described,
        {
            0: first.totals(Sample("held", 3), Sample("most", 9, ("x",)), Sample("each", 1)),
            1: second.totals(Sample("held", 4), Sample("most", 2, ("x",)), Sample("each", 0)),
        },
        [first.totals(Sample("held", 100), Sample("spent_total", 5))],
    )
    found = series(first.text(host))
    assert found["asked_total who=a"] == 12
    assert found["took_seconds_count who=a"] == 3
    assert found["spent_total"] == 5
    assert found["held"] == 7, "a gauge of a worker that ended counts no more"
    assert found["most of=x"] == 9
    assert (found["each worker=0"], found["each worker=1"]) == (1, 0)


def test_encoded_totals_decode_to_the_same() -> None:
    world = World()
    world.asked.add(2.5, "a")
    world.took.of("a").observe_traced(0.3, TRACE)
    totals = world.totals(Sample("most", 9, ("x",)), Sample("each", True))
    assert Totals.decoded(totals.encoded()) == totals


def test_a_successor_continues_its_predecessors_numbers() -> None:
    before, after = World(), World()
    before.asked.add(3, "a")
    before.asked.add(1, "only before")
    before.took.of("a").observe(1)
    after.asked.add(4, "a")
    totals = after.totals(Sample("held", 1))
    totals.grow(before.totals(Sample("held", 50)))
    found = series(after.text(totals))
    assert found["asked_total who=a"] == 7
    assert found["asked_total who=only before"] == 1
    assert found["took_seconds_count who=a"] == 1
    assert found["held"] == 1


def test_the_limiters_keys_are_those_of_all_workers() -> None:
    first, second = Totals(keys={"a": [1.0, 5.0], "b": [2.0, 1.0]}), Totals(keys={"a": [3.0, 4.0]})
    host = merged({}, {0: first, 1: Totals.decoded(second.encoded())}, [first])
    assert host.keys == {"a": [4.0, 5.0], "b": [2.0, 1.0]}


def test_metrics_unknown_to_the_registry_are_errors() -> None:
    with pytest.raises(KeyError):
        World().totals(Sample("unheard_of", 1))


def test_labels_are_bounded() -> None:
    histogram: Histogram = World().took
    for number in range(10_000):
        histogram.of(str(number)).observe(1)
    assert len(histogram.children) <= 513
    assert sum(histogram.children[(OTHER,)].counts) == 10_000 - 512
