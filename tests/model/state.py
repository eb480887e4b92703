"""The state of the model: one item, its database, its key in Redis, and all actors.

All states are small tuples. A `Value` is one committed version together with the timeline it was
committed on (timeline * 8 + version), so values are ordered as clients must see them; 0 is "not
there". A `Key` is what stands under the item's key in Redis. Fields marked ghost exist for the
checks alone: no process reads them.
"""

from typing import NamedTuple

Value = int
Key = tuple[int, ...]

EMPTY: Key = ()
ENTRY, INVALIDATION, FILL_LEASE = 1, 2, 3
FRESH = 9  # a nonce just drawn; `search` gives it a small number at once
DEAD = 0  # a nonce that stands nowhere any more

LEASE = 2  # ticks: stands for 300 ms
WAIT = 2  # ticks: stands for 310 ms

# Where a reader is.
IDLE, GOT, MISSED, ASK_LSN, SNAPSHOT, POSITION, ROWS, PRIMARY, FILL = range(9)
# Where a writer is.
FIRST, EARLY, COMMITTED, CONFIRMED, ACKNOWLEDGED, OVER, DIED = range(7)
# What a worker's subscription is.
LIVE, LOST, NOTICED = range(3)


def entry(epoch: int, value: Value) -> Key:
    """A cached answer: an item, or "not there" for 0."""
    return (ENTRY, epoch, value)


def invalidation(epoch: int, value: Value, nonce: int) -> Key:
    """A write's trace, by which nothing older is served."""
    return (INVALIDATION, epoch, value, nonce)


def fill_lease(nonce: int) -> Key:
    """One reader's right to fill an empty key."""
    return (FILL_LEASE, 0, 0, nonce)


class Writer(NamedTuple):
    """One PUT: it commits, invalidates, acknowledges, and its outbox row goes."""

    pc: int = FIRST
    value: Value = 0
    epoch: int = 0
    age: int = 0  # ticks since COMMIT returned


class Reader(NamedTuple):
    """One GET at a time, through one worker, by the item's owner or another caller."""

    pc: int = IDLE
    worker: int = 0
    owner: bool = False
    floor: Value = 0  # ghost: the least value this read may answer
    knows: bool = True  # ghost: its worker knew the newest epoch when the read began
    epoch: int = 0  # what its worker knew when the read began
    source: int = 0  # the timeline of the primary that was asked
    hold: Key = EMPTY  # what a fill must find in Redis; while GOT: the reply in flight
    value: Value = 0
    lsn: int = -1
    leased: bool = False  # the read lease was live when the GET was sent
    may_store: bool = True  # nothing has forbidden the reply's way into the near cache
    proved: bool = True  # a fill may follow


class Poll(NamedTuple):
    """A relay pass: the rows it saw, those it invalidated for, and when it was sent."""

    todo: tuple[Value, ...]
    invalidated: tuple[Value, ...] = ()
    epoch: int = 0
    age: int = 0
    failed: bool = False


class Worker(NamedTuple):
    """The state that the actors of one worker share."""

    epoch: int = 0
    lease: int = LEASE  # ticks since the poll that renewed it was sent; LEASE: over
    poll: Poll | None = None
    near: Value = -1
    forgot: bool = False  # started anew with no memory, and met the former primary alone
    subscription: int = LIVE
    queue: int = 0  # published messages on their way
    memory: Value = 0  # newest value a database gave
    top: Value = 0  # ghost: newest value answered


class Replica(NamedTuple):
    """A standby: its timeline, how far it has replayed, and the item there."""

    epoch: int = 0
    position: int = 0
    value: Value = 0


class State(NamedTuple):
    """Everything at one moment."""

    log: tuple[Value, ...]  # the primary's WAL: the item after each record; last = now
    replica: Replica
    key: Key
    writers: tuple[Writer, ...]
    readers: tuple[Reader, ...]
    workers: tuple[Worker, ...]
    epoch: int = 0
    unflushed: bool = False
    outbox: tuple[Value, ...] = ()
    moved: tuple[Value, ...] = ()  # the item on the shard its bucket moved to, so far
    former: tuple[Value, int] = (0, 0)  # a primary left behind by a failover: item, LSN
    former_written: bool = False  # once is enough
    dump: Key | None = None
    cold: bool = False  # Redis came back from the dump and nobody has connected yet
    failovers: int = 0
    acked: Value = 0  # ghost: newest write acknowledged with Redis's confirmation
    acked_any: Value = 0  # ghost: newest write acknowledged
    broken: str = ""  # ghost: the promise that the last move broke

    @property
    def now(self) -> Value:
        """The item as the shard that owns it has it."""
        return self.moved[-1] if self.moved else self.log[-1]

    @property
    def history(self) -> tuple[Value, ...]:
        """Every version that has not been lost."""
        return self.log + self.moved


Move = tuple[str, State]
