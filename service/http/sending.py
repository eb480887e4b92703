"""How answers leave, and what becomes of those that nobody reads.

Granian takes a whole body at once and keeps it until the client has taken it: its streams have no
back-pressure and its server no write timeout (2.8). What tells is a stream that can no longer be
sent to: the server drops its end once the announced length was handed to the kernel, or the
connection has ended. So a large body is a stream of one piece, counted until then, and its
connection is ended where that takes too long. Smaller ones fit into the kernel's send buffer.
"""

import asyncio
import contextlib
import logging

from granian.rsgi import ProtocolClosed  # type: ignore[attr-defined]  # no __all__

from service.api.request import LARGE_BYTES, Exchange, Reply, Stream
from service.flow.byte_budget import ByteBudget, Lease
from service.flow.deadline import within
from service.flow.offload import BESIDE_THE_LOOP
from service.http.connections import end_connection

logger = logging.getLogger(__name__)

# A client may take as long for each of these, begun ones too.
_PART_BYTES = 1 << 20
# Whether an answer was taken is looked at after this time, and twice as long each time.
_FIRST_LOOK_S, _LAST_LOOK_S = 0.005, 0.5


def address_of(client: str) -> str:
    """The address of an address with a port, as Granian writes them."""
    return client.rsplit(":", 1)[0].strip("[]")


class Sending:
    """One worker's way of sending; belongs to its event loop.

    ``timeout_s`` is how long a client may take for each MiB of a large answer.
    """

    def __init__(self, budget: ByteBudget, timeout_s: float) -> None:
        self.budget = budget
        self.timeout_s = timeout_s
        self.ended = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, exchange: Exchange, client: str, holder: str, reply: Reply) -> None:
        """Send a reply that has a body, at once or in the background.

        ``client`` is the address and port of the connection, ``holder`` whose part of the budget
        is used. Raises Overloaded, with nothing sent, where too much waits for its clients.
        """
        if len(reply.body) <= LARGE_BYTES:
            exchange.response_bytes(*reply)
            return
        status, headers, body = reply
        lease = self.budget.lease(len(body), holder)
        # Begun here: Granian answers 500 itself where a request ends without an answer.
        stream = exchange.response_stream(status, [*headers, ("content-length", str(len(body)))])
        work = self._deliver(stream, client, body, lease)
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, stream: Stream, client: str, body: bytes, lease: Lease) -> None:
        parts = -(-len(body) // _PART_BYTES)
        with lease:
            await stream.send_bytes(body)
            del body  # Granian has a copy
            try:
                await within(self.timeout_s * parts, _taken(stream))
            except TimeoutError:
                self.ended += 1
                logger.warning("a client took too long for its answer: connection ended")
                await BESIDE_THE_LOOP.run(end_connection, client)


async def _taken(stream: Stream) -> None:
    """Until the stream has an end: an empty piece changes nothing, or cannot be sent."""
    pause_s = _FIRST_LOOK_S
    with contextlib.suppress(ProtocolClosed):
        while True:
            await asyncio.sleep(pause_s)
            await stream.send_bytes(b"")
            pause_s = min(2 * pause_s, _LAST_LOOK_S)
