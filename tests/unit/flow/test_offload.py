import asyncio
import subprocess
import sys
import threading

import pytest

from service.flow.offload import Offload
from service.model.errors import Overloaded


def test_work_is_done_in_daemon_threads_of_its_own() -> None:
    async def scenario() -> None:
        offload = Offload(threads=2, max_waiting=4, deadline_s=30)
        threads = await asyncio.gather(*(offload.run(threading.current_thread) for _ in range(6)))
        assert all(thread.daemon for thread in threads)
        assert 1 <= len({thread.ident for thread in threads}) <= 2
        assert offload.running == 0
        with pytest.raises(ZeroDivisionError):
            await offload.run(lambda n: 1 // n, 0)

    asyncio.run(scenario())


def test_more_than_its_line_is_refused() -> None:
    async def scenario() -> None:
        offload, go = Offload(threads=1, max_waiting=1, deadline_s=30), threading.Event()
        both = [asyncio.ensure_future(offload.run(go.wait)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await offload.run(go.wait)
        go.set()
        assert await asyncio.gather(*both) == [True, True]

    asyncio.run(scenario())


def test_a_job_that_waits_too_long_is_not_begun() -> None:
    async def scenario() -> None:
        begun: list[int] = []
        offload, go = Offload(1, 4, deadline_s=0.05), threading.Event()
        first = asyncio.ensure_future(offload.run(go.wait))
        second = asyncio.ensure_future(offload.run(begun.append, 1))
        for task in (first, second):
            with pytest.raises(Overloaded):
                await task
        go.set()
        assert await offload.run(lambda: 7) == 7
        assert begun == []

    asyncio.run(scenario())


@pytest.mark.parametrize("turns", range(8))
def test_a_caller_that_is_cancelled_ends_so_whenever_it_happens(turns: int) -> None:
    """Also between the work's end and the caller's next turn, which asyncio.wait_for misses."""

    async def run() -> None:
        offload = Offload(threads=1, max_waiting=1, deadline_s=60)
        begun, release, ended = (threading.Event() for _ in range(3))

        def work() -> None:
            begun.set()
            release.wait()
            # The result follows at once; the loop stands still meanwhile.
            ended.set()

        caller = asyncio.create_task(offload.run(work))
        await asyncio.sleep(0)
        begun.wait()
        release.set()
        # Its result waits for the loop, which stands still until then.
        ended.wait()
        for _ in range(turns):
            await asyncio.sleep(0)
        if caller.cancel():
            with pytest.raises(asyncio.CancelledError):
                await caller

    asyncio.run(run())


def test_a_process_ends_while_work_runs() -> None:
    script = (
        "import asyncio, threading; from service.flow.offload import Offload\n"
        "async def main():\n"
        "    task = asyncio.ensure_future(Offload(1, 1, 60).run(threading.Event().wait))\n"
        "    await asyncio.sleep(0.1); task.cancel()\n"
        "asyncio.run(main()); print('ended')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, timeout=60, check=True
    )
    assert ended.stdout == b"ended\n"
