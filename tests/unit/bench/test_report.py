"""Figures of the benchmarks: medians, tables between their markers, folded stacks."""

import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.flame import stacks_of
from bench.flame_svg import flame_svg
from bench.load import Measure, build_pacer
from bench.processes import Server, cpu_s, tree
from bench.report import ratios, rewrite, source, summary
from bench.tables import Row
from tests.fixtures.redis_server import redis_server


def pair(number: int, server: str, rate: float, cpu_us: float = 20.0) -> Row:
    where = {"kind": "pair", "variant": "redis", "body_bytes": 300, "against": "go"}
    cpu = {"server_cpu_us": cpu_us, "redis_cpu_us": 5.0}
    return where | cpu | {"round": number, "server": server, "rate": rate}


def test_a_ratio_is_the_median_of_the_rounds_not_of_the_rates() -> None:
    rates = [(10.0, 10.0), (30.0, 10.0), (40.0, 20.0)]
    rows = [
        pair(n, *sample)
        for n, (ours, theirs) in enumerate(rates)
        for sample in (("ours", ours), ("go", theirs))
    ]
    (found,) = ratios([*rows, {"kind": "miss"}])
    assert found["rounds"] == [1.0, 3.0, 2.0]
    assert found["median"] == 2.0
    assert found["by_cpu"] == 1.0


def test_less_cpu_time_for_a_request_counts_for_us() -> None:
    (found,) = ratios([pair(0, "ours", 10.0, 20.0), pair(0, "go", 10.0, 45.0)])
    assert found["by_cpu"] == 2.0
    assert found["median"] == 1.0


def test_a_table_goes_between_its_markers_and_nowhere_else() -> None:
    page = "a\n<!-- soak -->\nold\n<!-- /soak -->\nb\n"
    assert rewrite(page, "soak", "new") == "a\n<!-- soak -->\nnew\n<!-- /soak -->\nb\n"
    with pytest.raises(ValueError, match="0 pairs of markers for end_to_end"):
        rewrite(page, "end_to_end", "new")


def teststacks_of_are_counted_outermost_first() -> None:
    script = (
        "python   12 \n\t ffff send ([kernel.kallsyms])\n\t 7f write (/usr/lib/libc.so.6)\n\n"
        "python   12 \n\t ffff send ([kernel.kallsyms])\n\t 7f write (/usr/lib/libc.so.6)\n\n"
        "tokio    13 \n\t 7f [unknown] (/x/_granian.so)\n\t 7e [unknown] (/x/_granian.so)\n\n"
    )
    assert stacks_of(script) == {
        ("python 12", "write", "send [k]"): 2,
        ("tokio 13", "_granian.so"): 1,
    }


def test_a_flame_graph_is_as_wide_as_its_samples() -> None:
    picture = flame_svg({("a", "b<1>"): 3, ("a", "c"): 1}, "title")
    root = ElementTree.fromstring(picture)  # noqa: S314
    titles = [e.text for e in root.iter("{http://www.w3.org/2000/svg}title")]
    assert titles == ["all: 100.00%", "a: 100.00%", "b<1>: 75.00%", "c: 25.00%"]


def test_cpu_time_is_of_the_whole_tree() -> None:
    assert len(tree(1)) > 1
    assert cpu_s(1) > 0


@pytest.fixture
def not_found() -> Iterator[int]:
    """The port of a server that has nothing."""

    class NotFound(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), NotFound)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def test_answers_that_are_errors_are_no_sample(not_found: int, tmp_path: Path) -> None:
    requests = tmp_path / "requests"
    requests.write_text("Authorization: Bearer x\n\n/v1/items/1\n")
    with redis_server() as server, server.client() as client:
        measure = Measure(build_pacer(), client, os.getpid(), ())
        with pytest.raises(RuntimeError, match="not every answer of broken"):
            measure.paced(Server("broken", not_found, os.getpid()), requests, 5, count=64)


@pytest.mark.parametrize(
    ("postgres_cpu_us", "redis_hits", "place"),
    [(150.0, 0.0, "PostgreSQL"), (2.0, 0.9, "Redis"), (2.0, 0.01, "near cache")],
)
def test_a_read_is_named_by_where_it_came_from(
    postgres_cpu_us: float, redis_hits: float, place: str
) -> None:
    row = pair(0, "ours", 1.0) | {"postgres_cpu_us": postgres_cpu_us, "redis_hits": redis_hits}
    assert source([row]) == place
    assert ("not what it should be" in summary({"ratios": [], "samples": [row]})) == (
        place != "Redis"
    )
