"""Every metric of the service. ``make docs`` writes docs/metrics.md from it.

A module that counts imports the instrument and increments it; values that exist anyway (a pool's
size, a breaker's state) are read at each scrape, by api/operator/samples.py.
"""

import sys

from service.observe.instruments import SIZES, Merge, Registry

REGISTRY = Registry()
_counter, _histogram, _sampled = REGISTRY.counter, REGISTRY.histogram, REGISTRY.sampled

REQUEST_SECONDS = _histogram(
    "hotshelf_request_duration_seconds",
    "From the request's head to its answer, by method, route, class of status (2xx) and, for "
    "reads of one item, source: near, redis, replica or primary.",
    ("method", "route", "status", "source"),
)
SENT_BYTES = _counter("hotshelf_sent_bytes_total", "Bytes of answers' bodies.")
LIMITER = _counter(
    "hotshelf_limiter_decisions_total",
    "Requests (in a batch: operations) that the limiter admitted or refused, by scope: shared "
    "(by all workers through Redis) or local (by this worker's share of the limit).",
    ("decision", "scope"),
)
IDEMPOTENCY = _counter(
    "hotshelf_idempotency_total",
    "Writes with an idempotency key: first, replayed, conflict (another one is running) or "
    "mismatch (the key was used for another request).",
    ("result",),
)
BATCH_SIZE = _histogram(
    "hotshelf_batch_size",
    "Requests served by one round trip to a database, by kind: read or write.",
    ("kind",),
    SIZES,
)
STATEMENT_SECONDS = _histogram(
    "hotshelf_statement_duration_seconds",
    "Round trips to PostgreSQL, by shard and kind.",
    ("shard", "kind"),
)
CACHE_EVENTS = _counter(
    "hotshelf_cache_events_total",
    "Steps of the cache protocol: mark and mark_failed (an invalidation, or a failed one), permit "
    "and permit_lost (a fill lease, or one held by another reader), fill, fill_refused (a newer value "
    "was present) and fill_given_back (a lease released, because nothing could be stored).",
    ("event",),
)
REDIS_COMMANDS = _counter(
    "hotshelf_redis_commands_total", "Commands sent, by name; scripts by their own.", ("command",)
)
REDIS_SECONDS = _histogram(
    "hotshelf_redis_reply_seconds", "Time from a write of commands to the last of their replies."
)
COMPRESSED_BYTES = _counter(
    "hotshelf_compressed_bytes_total",
    "Bytes of bodies before and after compression, by coding.",
    ("coding", "side"),
)
LOOP_LAG_SECONDS = _histogram(
    "hotshelf_event_loop_lag_seconds",
    "Delay of the event loop in waking a task, measured ten times a second.",
)
GC_SECONDS = _histogram(
    "hotshelf_gc_pause_seconds", "Pauses of Python's garbage collector, by generation.", ("gen",)
)
READS = _sampled(
    "hotshelf_reads_total",
    "Items read by id, by source: near, redis, replica or primary.",
    ("source",),
)
NEAR_HITS = _sampled("hotshelf_near_cache_hits_total", "Reads that the near cache answered.")
NEAR_MISSES = _sampled("hotshelf_near_cache_misses_total", "Reads that needed Redis or a database.")
NEAR_BYTES = _sampled(
    "hotshelf_near_cache_bytes", "Bytes held by the near caches, as they count them."
)
NEAR_ENTRIES = _sampled("hotshelf_near_cache_entries", "Items that the near caches hold.")
NEAR_ON = _sampled(
    "hotshelf_near_cache_on",
    "1 while its subscription is alive, so that it may hold entries.",
    merge=Merge.EACH,
)
BREAKER_STATE = _sampled(
    "hotshelf_breaker_state", "0 closed, 1 half-open, 2 open.", ("node",), Merge.EACH
)
BREAKER_OPENINGS = _sampled(
    "hotshelf_breaker_openings_total", "How often the breaker opened.", ("node",)
)
PRIMARIES_IGNORED = _sampled(
    "hotshelf_primaries_ignored",
    "Nodes that take writes but are not the primary: former primaries that came back.",
    ("shard",),
    Merge.MAX,
)
COMMITS_HANGING = _sampled(
    "hotshelf_commits_hanging",
    "Abandoned writes that are still running on the primary; usually a standby is missing.",
    ("shard",),
)
REDIS_CONNECTED = _sampled(
    "hotshelf_redis_connected", "1 while a connection is in use for commands.", merge=Merge.EACH
)
REDIS_REFUSED = _sampled(
    "hotshelf_redis_writes_refused",
    "1 for 3 s after Redis answered a command with an error (OOM, NOPERM, …).",
    merge=Merge.MAX,
)
LIMITER_LOCAL = _sampled(
    "hotshelf_limiter_local", "Workers that enforce only their share of the limits, without Redis."
)
LIMITER_WORKERS = _sampled(
    "hotshelf_limiter_workers", "How many workers share the limits.", merge=Merge.MAX
)
LIMITER_KEYS = _sampled("hotshelf_limiter_keys", "Keys that the limiter keeps in memory.")
POOL_CONNECTIONS = _sampled(
    "hotshelf_pool_connections",
    "Connections to a node, by state: used, idle, or max (the limit).",
    ("node", "state"),
)
POOL_WAITING = _sampled(
    "hotshelf_pool_waiting", "Requests that wait for a connection to the node.", ("node",)
)
POOL_WAITED = _sampled(
    "hotshelf_pool_wait_seconds_total", "Time spent waiting for a connection.", ("node",)
)
POOL_QUEUED = _sampled(
    "hotshelf_pool_queued_total", "Requests that had to wait for a connection.", ("node",)
)
POOL_USED = _sampled(
    "hotshelf_pool_use_seconds_total", "Time that connections were in use.", ("node",)
)
NODE_ROLE = _sampled(
    "hotshelf_node_role", "2 primary, 1 replica, 0 no answer.", ("node",), Merge.MAX
)
NODE_TIMELINE = _sampled(
    "hotshelf_node_timeline",
    "Timeline of the node, of a replica as of its last checkpoint.",
    ("node",),
    Merge.MAX,
)
LAG_BYTES = _sampled(
    "hotshelf_replica_lag_bytes",
    "WAL that the primary has flushed and the replica has not replayed.",
    ("node",),
    Merge.MAX,
)
LAG_SECONDS = _sampled(
    "hotshelf_replica_lag_seconds",
    "Age of the last replayed transaction; 0 if nothing is left to replay.",
    ("node",),
    Merge.MAX,
)
OUTBOX_ROWS = _sampled(
    "hotshelf_outbox_rows", "Changes whose invalidation Redis may not have.", ("shard",), Merge.MAX
)
OUTBOX_AGE = _sampled(
    "hotshelf_outbox_oldest_seconds", "Age of the oldest of them.", ("shard",), Merge.MAX
)
CONNECTIONS = _sampled(
    "hotshelf_open_connections",
    "Connections to the service's port on this host.",
    merge=Merge.MAX,
)
OPEN_FILES = _sampled(
    "hotshelf_worker_open_files", "File descriptors of the worker.", merge=Merge.EACH
)
HELD_BYTES = _sampled(
    "hotshelf_memory_bytes",
    "Bytes held: bodies, batches, answers, patches, tokens, limiter.",
    ("kind",),
)
HELD_REFUSED = _sampled(
    "hotshelf_memory_refused_total", "Requests answered 503 because of that.", ("kind",)
)
CPU = _sampled("hotshelf_worker_cpu_seconds_total", "CPU time of the worker processes.")
MEMORY = _sampled(
    "hotshelf_worker_memory_bytes", "Resident memory of the worker process.", merge=Merge.EACH
)
WORKERS = _sampled("hotshelf_workers", "Worker processes that are alive.")
BUILD = _sampled(
    "hotshelf_build_info",
    "Always 1; the labels are the running versions.",
    ("version", "python", "granian"),
    Merge.MAX,
)


_PAGE = """# Metrics

`GET /metrics` covers one host: the worker that answers adds up the metrics of all workers of its
service, its own current ones and those of the others, which are at most a second old. A worker that
replaces one that ended continues its numbers, so a counter decreases only when the service
restarts. Where it matters, the label `worker` is the worker's number, from 0 to `http.workers` - 1,
never a process id.

It is open to this machine itself; a request through a proxy, or from another machine, needs the
scope `items:admin`. `Accept: application/openmetrics-text` gets OpenMetrics, with trace ids as
exemplars of the buckets of request durations; otherwise the format is Prometheus' own.

No label contains text from a client: a route is its template (`/v1/items/{id}`), and an unknown
path or method is `other`. Buckets of durations reach from 50 µs to 10 s. All of this costs a hit in
the near cache less than a microsecond (decision 0061).

"""


def markdown_page() -> str:
    """docs/metrics.md."""
    return f"{_PAGE}{_markdown_table()}\n"


def _markdown_table() -> str:
    rows = [
        f"| `{m.name}` | {m.kind} | {', '.join(_labels(m.labels, m.merge))} | {m.text} |"
        for m in REGISTRY.described.values()
    ]
    return "\n".join(["| metric | kind | labels | meaning |", "|---|---|---|---|", *rows])


def _labels(labels: tuple[str, ...], merge: Merge) -> tuple[str, ...]:
    return (*labels, "worker") if merge is Merge.EACH else labels


if __name__ == "__main__":
    sys.stdout.write(markdown_page())
