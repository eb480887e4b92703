"""Sends answers, and ends connections whose client does not read them.

Granian (2.8) takes a whole body at once and keeps it until the client has read it: its streams have
no back-pressure and its server no write timeout. The only sign of completion is a stream that can
no longer be sent to: the server drops its end once the announced length was handed to the kernel,
or the connection has ended. So a large body is a stream of one piece and counts against the budget
until then; its connection is ended where that takes too long. Smaller bodies fit into the kernel's
send buffer.
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

# The timeout is granted once per MiB, begun ones included.
_PART_BYTES = 1 << 20
# First pause before checking whether an answer was taken; each later pause is twice as long.
_FIRST_LOOK_S, _LAST_LOOK_S = 0.005, 0.5


def address_of(client: str) -> str:
    """The host part of an address with a port, as Granian writes it."""
    return client.rsplit(":", 1)[0].strip("[]")


class Sending:
    """Sends the answers of one worker; belongs to its event loop.

    ``timeout_s`` is how long a client may take for each MiB of a large answer.
    """

    def __init__(self, budget: ByteBudget, timeout_s: float) -> None:
        self.budget = budget
        self.timeout_s = timeout_s
        self.ended = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, exchange: Exchange, client: str, holder: str, reply: Reply) -> None:
        """Send a reply that has a body, at once or in the background.

        ``client`` is the address and port of the connection, ``holder`` the account whose part of
        the budget is used. Raises Overloaded, with nothing sent, where too many bytes wait for
        clients.
        """
        if len(reply.body) <= LARGE_BYTES:
            exchange.response_bytes(*reply)
            return
        status, headers, body = reply
        lease = self.budget.lease(len(body), holder)
        # Begun here, because Granian answers 500 itself where a request ends without an answer.
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
                logger.warning("a client took too long to read its answer: connection ended")
                await BESIDE_THE_LOOP.run(end_connection, client)


async def _taken(stream: Stream) -> None:
    """Wait for the stream's end: an empty piece changes nothing, and fails after the end."""
    pause_s = _FIRST_LOOK_S
    with contextlib.suppress(ProtocolClosed):
        while True:
            await asyncio.sleep(pause_s)
            await stream.send_bytes(b"")
            pause_s = min(2 * pause_s, _LAST_LOOK_S)
