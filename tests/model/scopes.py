"""How much of the world a run explores: who takes part and which faults may strike.

`SCOPES` are small, so that each is explored whole within seconds; `LARGE` are the same stories
with more actors, for `make model`.
"""

from dataclasses import dataclass, replace

OWNER, OTHER = True, False


@dataclass(frozen=True, slots=True)
class Scope:
    """Numbers of actors and switches of faults.

    Replica lag and late fills are always on, and who takes no further step is dead or stalled.
    `readers` gives each reader's worker and whether it is the owner's.
    """

    writes: int = 2
    workers: int = 1
    readers: tuple[tuple[int, bool], ...] = ((0, OTHER),)
    starts_absent: bool = False
    relay: bool = False  # workers relay the outbox
    lost_replies: bool = False  # an invalidation is done but its reply does not arrive
    replays: bool = False  # writers die, and the client repeats the request
    clock: bool = False  # leases and waits take ticks
    in_flight: bool = False  # a GET's reply takes time
    near: bool = False
    failovers: int = 0
    former_answers: bool = False  # the primary left behind still answers who is connected to it
    former_writes: bool = False  # it takes writes, too, of whoever takes it for the primary
    role_unknown: bool = False  # after an invalidation a standby may be taken for the primary
    evictions: bool = True
    restart: bool = False  # Redis saves a dump and comes back with it
    restarts: bool = False  # workers start anew while the primary is away
    redis_away: bool = False  # a reader may not reach Redis
    primary_away: bool = False  # a reader may not reach the primary
    move: bool = False  # the bucket moves to another shard
    memory: bool = False  # versions through one worker are watched

    @property
    def watches_every_yes(self) -> bool:
        """Whether acknowledgements without Redis matter: to owners, and to reads without Redis."""
        return self.redis_away or any(owner for _, owner in self.readers)


SCOPES: dict[str, Scope] = {
    "core": Scope(relay=True, lost_replies=True),
    "stampede": Scope(readers=((0, OTHER), (0, OTHER))),
    "absent": Scope(starts_absent=True),
    "lease": Scope(
        writes=1,
        readers=((0, OWNER),),
        relay=True,
        clock=True,
        replays=True,
        in_flight=True,
    ),
    "relays": Scope(writes=1, workers=2, readers=((0, OWNER),), relay=True, clock=True),
    "failover": Scope(failovers=1),
    "split": Scope(failovers=1, former_answers=True, writes=1),
    "former": Scope(failovers=1, former_writes=True, restarts=True),
    "standby": Scope(failovers=1, role_unknown=True, evictions=False),
    "restart": Scope(restart=True),
    "primary_away": Scope(primary_away=True),
    "redis_away": Scope(starts_absent=True, redis_away=True),
    "redis_away_owner": Scope(readers=((0, OWNER),), redis_away=True),
    "joining": Scope(writes=1, readers=((0, OTHER), (0, OTHER)), in_flight=True),
    "memory": Scope(readers=((0, OWNER), (0, OTHER)), memory=True, writes=1),
    "moving": Scope(move=True),
    "near": Scope(near=True, in_flight=True, writes=1),
    "near_owner": Scope(readers=((0, OTHER), (0, OWNER)), near=True, writes=1, evictions=False),
    "near_memory": Scope(
        readers=((0, OTHER), (0, OWNER)), near=True, memory=True, writes=1, evictions=False
    ),
}

LARGE: dict[str, Scope] = {
    "core": replace(SCOPES["core"], writes=3, readers=((0, OTHER), (0, OTHER))),
    "lease": replace(SCOPES["lease"], writes=2, workers=2),
    "failover": replace(
        SCOPES["failover"], writes=3, workers=2, readers=((0, OTHER), (1, OTHER)), relay=True
    ),
    "restart": replace(SCOPES["restart"], writes=3, readers=((0, OTHER), (0, OTHER)), relay=True),
    "near": replace(SCOPES["near"], writes=2, workers=2, readers=((0, OTHER), (1, OTHER))),
    "memory": replace(SCOPES["memory"], writes=2),
    "moving": replace(SCOPES["moving"], writes=3, readers=((0, OTHER), (0, OTHER))),
}
