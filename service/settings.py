"""Every setting: frozen dataclasses, read once at start, each field with its unit.

Where the values come from, and in which order, is ``setting_sources.py``.
"""

from dataclasses import dataclass, field
from typing import Any


def _setting(
    default: Any,
    doc: str,
    *,
    ge: float | None = None,
    le: float | None = None,
    secret: bool = False,
) -> Any:
    return field(default=default, metadata={"doc": doc, "ge": ge, "le": le, "secret": secret})


@dataclass(frozen=True, slots=True)
class Http:
    host: str = _setting("127.0.0.1", "address to listen on")
    port: int = _setting(8080, "TCP port to listen on", ge=0, le=65535)
    workers: int = _setting(1, "Granian worker processes", ge=1, le=256)
    body_max_bytes: int = _setting(1 << 20, "largest request body, decompressed", ge=1024)
    batch_max_bytes: int = _setting(
        16 << 20, "largest batch in bytes, decompressed", ge=1024, le=64 << 20
    )
    body_timeout_s: float = _setting(20.0, "time for a whole request body to arrive", ge=0.1)
    send_timeout_s: float = _setting(
        30.0, "time for a client to read some of its answer, and each MiB of a large one", ge=1
    )
    idle_timeout_s: float = _setting(
        60.0,
        "timeout for reading a request head and for idle keep-alive connections; set it above the "
        "idle timeout of a proxy in front",
        ge=0.1,
        le=3600,
    )
    drain_s: float = _setting(
        2.0, "time to be not ready but still serving, before the listener closes", ge=0
    )
    grace_s: float = _setting(30.0, "time for running requests to end after that", ge=1)
    trusted_proxies: tuple[str, ...] = _setting(
        (),
        "networks (CIDR) of proxies whose X-Forwarded-For is trusted for the client's address, and "
        "X-Forwarded-Proto and -Host for the requested URL",
    )
    open_metrics: bool = _setting(True, "/metrics needs no credentials from this machine")
    public_url: str = _setting(
        "",
        "scheme, authority and optional path at the beginning of Location and links; empty: from a "
        "trusted proxy's fields, else relative",
    )
    cache_control: str = _setting("private, no-cache", "Cache-Control of items")
    shared_max_age_s: int = _setting(
        60, "how long shared caches may keep items of a public collection (s-maxage)", ge=0
    )
    timing: str = _setting(
        "asked",
        "when to send Server-Timing and Cache-Status: asked (on Prefer: timing) or always, which "
        "disables the hot path",
    )


@dataclass(frozen=True, slots=True)
class Database:
    shards: tuple[tuple[str, ...], ...] = _setting(
        (),
        "shards, each the URLs of its nodes; the nodes are queried for their roles "
        "(environment: nodes separated by spaces, shards by semicolons)",
        secret=True,
    )
    buckets: int = _setting(
        16, "hash partitions of items; fixed at the first migrate", ge=1, le=1024
    )
    pool_size: int = _setting(10, "connections per worker and node", ge=1, le=1000)
    reads_in_flight: int = _setting(
        1000, "items being read per worker and node; more reads are answered 503", ge=1
    )
    connect_timeout_s: float = _setting(2.0, "timeout for connecting to a node", ge=0.1)
    timeout_s: float = _setting(
        5.0, "limit of one request's database work, waiting included", ge=0.05
    )


@dataclass(frozen=True, slots=True)
class Memory:
    bodies_max_bytes: int = _setting(
        128 << 20, "request bodies that a worker holds; more are answered 503", ge=1 << 20
    )
    batches_max_bytes: int = _setting(
        64 << 20, "bodies of batches that a worker holds; more are answered 503", ge=1 << 20
    )
    answers_max_bytes: int = _setting(
        128 << 20,
        "answers over 64 KiB that clients have not read yet, per worker, at most a quarter for one "
        "caller; more are answered 503",
        ge=32 << 20,
    )
    tokens_max_bytes: int = _setting(
        16 << 20, "verified tokens that a worker caches, with their scopes", ge=0
    )
    patches_max_bytes: int = _setting(
        160 << 20,
        "patches of large items while a worker processes them, eighty times "
        "http.body_max_bytes for each; more wait, or are answered 503",
        ge=1 << 20,
    )
    limiter_max_bytes: int = _setting(
        64 << 20,
        "keys of rate limits that a worker holds; others are read from Redis again",
        ge=1 << 20,
    )


@dataclass(frozen=True, slots=True)
class Redis:
    url: str = _setting("", "redis://, rediss:// or unix:// URL; empty: no Redis", secret=True)
    timeout_s: float = _setting(0.25, "deadline of one command", ge=0.01)


@dataclass(frozen=True, slots=True)
class Cache:
    ttl_s: float = _setting(3600.0, "TTL of an item in Redis after its last read", ge=1)
    max_age_s: float = _setting(86400.0, "maximum age of an item in Redis", ge=1)
    max_bytes: int = _setting(1 << 18, "larger items are not cached", ge=0)


@dataclass(frozen=True, slots=True)
class NearCache:
    bytes: int = _setting(64 << 20, "each worker's memory for recently read items; 0: off", ge=0)


@dataclass(frozen=True, slots=True)
class Native:
    hits: bool = _setting(True, "near cache hits are answered without Python code")


@dataclass(frozen=True, slots=True)
class Auth:
    issuer: str = _setting("http://127.0.0.1:8080", "the iss that tokens must have")
    audience: str = _setting("hotshelf", "the aud that tokens must have or list")
    jwks: str = _setting(
        "", "key set of that issuer: a file or an http(s) URL; empty: the built-in issuer"
    )
    issuers: tuple[tuple[str, ...], ...] = _setting(
        (),
        "further issuers, each its iss and its key set (environment: the two separated by a "
        "space, issuers by semicolons)",
    )
    refresh_s: float = _setting(
        30.0, "interval for reloading key sets, API keys and revoked clients", ge=1, le=30
    )
    token_ttl_s: int = _setting(900, "TTL of a token from /oauth2/token", ge=60, le=86400)
    leeway_s: int = _setting(30, "clock difference allowed in exp, nbf and iat", ge=0, le=300)


@dataclass(frozen=True, slots=True)
class Limits:
    quota: int = _setting(
        100,
        "requests that a key, client, subject or address may send per window",
        ge=1,
        le=1_000_000,
    )
    window_s: int = _setting(60, "the window of the quota", ge=1, le=86400)
    capacity: int = _setting(0, "requests that pass at once; 0: the quota", ge=0, le=1_000_000)
    redis_url: str = _setting(
        "",
        "a Redis with noeviction for the limits only, because a key whose level the cache's Redis "
        "evicts may use its capacity again; empty: redis.url",
        secret=True,
    )
    fields: str = _setting(
        "low",
        "when to send RateLimit and RateLimit-Policy: low (once less than half is left, and on "
        "429) or always, which slows the hot path",
    )


@dataclass(frozen=True, slots=True)
class Cors:
    allowed_origins: tuple[str, ...] = _setting(
        (), "origins whose pages may call from a browser, or * for all; empty: no CORS"
    )
    max_age_s: int = _setting(600, "how long browsers may cache a preflight", ge=0, le=86400)


@dataclass(frozen=True, slots=True)
class Writes:
    require_if_match: bool = _setting(True, "PUT and PATCH without If-Match are answered 428")
    idempotency_ttl_s: int = _setting(86400, "how long an idempotency key is valid", ge=1)
    tombstone_ttl_s: int = _setting(
        30 * 86400, "how long a deleted item's id and version are kept", ge=1
    )


@dataclass(frozen=True, slots=True)
class Lists:
    attributes: tuple[str, ...] = _setting(
        (),
        "attributes of data that lists can be sorted by and filtered by range; `hotshelf migrate` "
        "builds an index for each (dots between nested names)",
    )
    connections: int = _setting(
        0,
        "connections per worker and node that lists, searches and counts may use at a time; "
        "0: half of database.pool_size",
        ge=0,
        le=1000,
    )
    per_caller: int = _setting(
        2, "concurrent lists and searches of one caller per worker; more wait", ge=1
    )


@dataclass(frozen=True, slots=True)
class Data:
    schema: str = _setting(
        "", "file with a JSON Schema (2020-12) that the data of every write must match; empty: none"
    )


@dataclass(frozen=True, slots=True)
class Collections:
    max_indexes: int = _setting(
        1024, "declared attributes of all collections but items, times database.buckets", ge=0
    )
    definitions_max_bytes: int = _setting(16 << 20, "JSON text of all definitions", ge=1 << 16)


@dataclass(frozen=True, slots=True)
class Versions:
    v1_deprecated_at: str = _setting(
        "",
        "ISO 8601 time from which version 1 is deprecated, sent as Deprecation; empty: none",
    )
    v1_sunset_at: str = _setting(
        "", "ISO 8601 time at which version 1 will end, sent as Sunset; empty: none"
    )


@dataclass(frozen=True, slots=True)
class Log:
    level: str = _setting("info", "debug, info, warning or error")
    format: str = _setting(
        "", "json (one object per line) or text; empty: text on a terminal, else json"
    )
    access_sample: float = _setting(
        0.01, "share of requests that are logged; answers of class 5xx always are", ge=0, le=1
    )
    slow_s: float = _setting(0.5, "requests that take this long are always logged", ge=0)


@dataclass(frozen=True, slots=True)
class Otel:
    traces: bool = _setting(False, "send spans of sampled requests by OTLP; needs hotshelf[otel]")
    metrics: bool = _setting(False, "send the metrics of /metrics by OTLP; needs hotshelf[otel]")
    logs: bool = _setting(False, "send log lines by OTLP; needs hotshelf[otel]")
    endpoint: str = _setting(
        "", "URL of the collector, without /v1/…; empty: OTEL_EXPORTER_OTLP_ENDPOINT"
    )
    sample: float = _setting(
        0.01, "share of requests without traceparent that are sampled", ge=0, le=1
    )
    per_s: int = _setting(10, "most requests that a worker samples per second", ge=0)
    metrics_every_s: float = _setting(60.0, "pause between two exports of metrics", ge=1)


@dataclass(frozen=True, slots=True)
class Admin:
    host: str = _setting("127.0.0.1", "address of the operators' port")
    port: int = _setting(
        0, "separate TCP port for probes, metrics and status; 0: none", ge=0, le=65535
    )


@dataclass(frozen=True, slots=True)
class Settings:
    http: Http = field(default_factory=Http)
    database: Database = field(default_factory=Database)
    redis: Redis = field(default_factory=Redis)
    memory: Memory = field(default_factory=Memory)
    cache: Cache = field(default_factory=Cache)
    near_cache: NearCache = field(default_factory=NearCache)
    native: Native = field(default_factory=Native)
    auth: Auth = field(default_factory=Auth)
    limits: Limits = field(default_factory=Limits)
    cors: Cors = field(default_factory=Cors)
    writes: Writes = field(default_factory=Writes)
    lists: Lists = field(default_factory=Lists)
    data: Data = field(default_factory=Data)
    collections: Collections = field(default_factory=Collections)
    versions: Versions = field(default_factory=Versions)
    log: Log = field(default_factory=Log)
    otel: Otel = field(default_factory=Otel)
    admin: Admin = field(default_factory=Admin)
