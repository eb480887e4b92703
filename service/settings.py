"""Every setting: frozen dataclasses, read once at start, each field with its unit.

Sources, strongest first: environment (``HOTSHELF_<SECTION>_<FIELD>``), the configuration file
(``--config``, else ``hotshelf.toml`` in the working directory), the file that ``hotshelf run``
leaves in the data directory, the default. A name nobody knows is refused with the nearest one.
"""

import dataclasses
import difflib
import tomllib
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ENV_PREFIX = "HOTSHELF_"
# Read by the programs that need them, not settings of the service.
OTHER_ENV = {
    "HOTSHELF_CONFIG",
    "HOTSHELF_DATA_DIR",
    "HOTSHELF_DRAIN_FILE",
    "HOTSHELF_PG_BIN",
    "HOTSHELF_REDIS_BIN",
}


class SettingsError(Exception):
    """A setting that cannot be used; the message names it and where it came from."""


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
    body_max_bytes: int = _setting(1 << 20, "largest request body, unpacked", ge=1024)
    body_timeout_s: float = _setting(20.0, "time for a whole request body to arrive", ge=0.1)
    idle_timeout_s: float = _setting(
        60.0, "head read and idle keep-alive share this timer", ge=0.1, le=60
    )
    drain_s: float = _setting(0.0, "not ready, still serving, before the listener closes", ge=0)
    grace_s: float = _setting(30.0, "time for running requests to end after that", ge=1)
    public_url: str = _setting("", "scheme and authority in Location and links; empty: relative")
    cache_control: str = _setting("private, no-cache", "Cache-Control of items")


@dataclass(frozen=True, slots=True)
class Database:
    shards: tuple[tuple[str, ...], ...] = _setting(
        (),
        "shards, each the URLs of its nodes; who is primary is asked of the nodes "
        "(environment: nodes separated by blanks, shards by semicolons)",
        secret=True,
    )
    buckets: int = _setting(
        16, "hash partitions of items; fixed at the first migrate", ge=1, le=1024
    )
    pool_size: int = _setting(10, "connections per worker and node", ge=1, le=1000)
    connect_timeout_s: float = _setting(2.0, "time to reach a node", ge=0.1)
    timeout_s: float = _setting(5.0, "database work of one request, waiting included", ge=0.05)


@dataclass(frozen=True, slots=True)
class Redis:
    url: str = _setting("", "redis://, rediss:// or unix:// URL; empty: no Redis", secret=True)
    timeout_s: float = _setting(0.25, "deadline of one command", ge=0.01)


@dataclass(frozen=True, slots=True)
class Auth:
    issuer: str = _setting("http://127.0.0.1:8080", "the iss that tokens must carry")
    audience: str = _setting("hotshelf", "the aud that tokens must carry or list")
    jwks: str = _setting(
        "", "key set of that issuer: a file or an http(s) URL; empty: the built-in issuer"
    )
    issuers: tuple[tuple[str, ...], ...] = _setting(
        (),
        "further issuers, each its iss and its key set (environment: the two separated by a "
        "blank, issuers by semicolons)",
    )
    jwks_refresh_s: float = _setting(30.0, "key sets are loaded anew this often", ge=1, le=30)
    token_ttl_s: int = _setting(900, "life of a token from /oauth2/token", ge=60, le=86400)
    leeway_s: int = _setting(30, "clock difference allowed in exp, nbf and iat", ge=0, le=300)


@dataclass(frozen=True, slots=True)
class Cors:
    allowed_origins: tuple[str, ...] = _setting(
        (), "origins whose pages may call from a browser, or * for all; empty: no CORS"
    )
    max_age_s: int = _setting(600, "browsers keep a preflight's answer", ge=0, le=86400)


@dataclass(frozen=True, slots=True)
class Writes:
    require_if_match: bool = _setting(True, "PUT and PATCH without If-Match answer 428")


@dataclass(frozen=True, slots=True)
class Log:
    level: str = _setting("info", "debug, info, warning or error")


@dataclass(frozen=True, slots=True)
class Settings:
    http: Http = field(default_factory=Http)
    database: Database = field(default_factory=Database)
    redis: Redis = field(default_factory=Redis)
    auth: Auth = field(default_factory=Auth)
    cors: Cors = field(default_factory=Cors)
    writes: Writes = field(default_factory=Writes)
    log: Log = field(default_factory=Log)


@dataclass(frozen=True, slots=True)
class Described:
    """One setting as ``hotshelf settings`` prints it; secrets are masked in ``shown``."""

    name: str
    shown: str
    source: str
    doc: str


def load(
    env: Mapping[str, str], config: Path | None = None, data_dir: Path | None = None
) -> tuple[Settings, dict[str, str]]:
    """The settings and, per dotted name, where each value that is not a default came from.

    ``config`` None means ``$HOTSHELF_CONFIG``, else ``hotshelf.toml`` here if there is one; a
    named file must exist. Raises SettingsError.
    """
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    data_dir = data_dir or _path(env, "HOTSHELF_DATA_DIR")
    config = config or _path(env, "HOTSHELF_CONFIG")
    if config is not None and not config.exists():
        raise SettingsError(f"{config}: no such configuration file")
    here = Path("hotshelf.toml")
    files = [data_dir / "hotshelf.toml" if data_dir else None, config or here]
    for file in files:
        if file is not None and file.exists():
            for name, value in _from_toml(file):
                values[name], sources[name] = value, str(file)
    for name, value in _from_env(env):
        values[name], sources[name] = value, "environment"
    sections = {
        section: cls(
            **{
                f.name: _checked(f"{section}.{f.name}", f, cls, values, sources)
                for f in dataclasses.fields(cls)
                if f"{section}.{f.name}" in values
            }
        )
        for section, cls in _sections()
    }
    return Settings(**sections), sources


def describe(settings: Settings, sources: Mapping[str, str]) -> list[Described]:
    """Every setting with its value and source, passwords masked."""
    rows = []
    for section, cls in _sections():
        for f in dataclasses.fields(cls):
            value = getattr(getattr(settings, section), f.name)
            name = f"{section}.{f.name}"
            shown = _shown(value, bool(f.metadata["secret"]))
            rows.append(Described(name, shown, sources.get(name, "default"), f.metadata["doc"]))
    return rows


def env_name(name: str) -> str:
    """The environment variable of a dotted setting name."""
    return ENV_PREFIX + name.replace(".", "_").upper()


def mask_url(url: str) -> str:
    """A URL without its password, fit to be printed."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "***"
    if not parts.password:
        return url
    return url.replace(f":{parts.password}@", ":***@", 1)


def _sections() -> Iterator[tuple[str, type[Any]]]:
    for f in dataclasses.fields(Settings):
        yield f.name, typing.cast(type[Any], f.type)


def _names() -> list[str]:
    return [f"{section}.{f.name}" for section, cls in _sections() for f in dataclasses.fields(cls)]


def _path(env: Mapping[str, str], name: str) -> Path | None:
    return Path(env[name]) if env.get(name) else None


def _from_toml(file: Path) -> Iterator[tuple[str, Any]]:
    try:
        tables = tomllib.loads(file.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise SettingsError(f"{file}: {error}") from None
    known = _names()
    for section, table in tables.items():
        if not isinstance(table, dict):
            raise SettingsError(f"{file}: {section!r} must be a table; {_nearest(section, known)}")
        for key, value in table.items():
            name = f"{section}.{key}"
            if name not in known:
                raise SettingsError(f"{file}: unknown setting {name!r}; {_nearest(name, known)}")
            yield name, value


def _from_env(env: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    by_env = {env_name(name): name for name in _names()}
    for variable, value in env.items():
        if not variable.startswith(ENV_PREFIX) or variable in OTHER_ENV:
            continue
        if variable not in by_env:
            raise SettingsError(
                f"unknown environment variable {variable}; {_nearest(variable, list(by_env))}"
            )
        yield by_env[variable], value


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0)
    return f"the nearest known name is {close[0]}"


def _checked(
    name: str,
    f: dataclasses.Field[Any],
    cls: type[Any],
    values: Mapping[str, Any],
    sources: Mapping[str, str],
) -> Any:
    where = f"{name} ({sources[name]})"
    value = _typed(values[name], typing.get_type_hints(cls)[f.name], where)
    low, high = f.metadata["ge"], f.metadata["le"]
    if (low is not None and value < low) or (high is not None and value > high):
        raise SettingsError(
            f"{where}: {value} is outside {low} … {'any' if high is None else high}"
        )
    return value


def _typed(value: Any, wanted: Any, where: str) -> Any:
    """Read text from the environment, or check what TOML gave, as the field's type."""
    from_text = isinstance(value, str)
    try:
        if wanted is bool:
            return _boolean(value) if from_text else _exactly(value, bool)
        if wanted is int:
            return int(value) if from_text else _exactly(value, int)
        if wanted is float:
            return float(value) if from_text or type(value) is int else _exactly(value, float)
        if wanted is str:
            return _exactly(value, str)
        return _nested(value, wanted)
    except (ValueError, TypeError, KeyError):
        shape = wanted.__name__ if isinstance(wanted, type) else str(wanted)
        shown = "value" if "shards" in where else repr(value)
        raise SettingsError(f"{where}: {shown} is not a {shape}") from None


def _boolean(text: str) -> bool:
    return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[
        text.lower()
    ]


def _exactly(value: Any, wanted: type[Any]) -> Any:
    if type(value) is not wanted:
        raise TypeError
    return value


def _nested(value: Any, wanted: Any) -> Any:
    inner = typing.get_args(wanted)[0]
    if inner is str:
        return tuple(_exactly(v, str) for v in (value.split() if isinstance(value, str) else value))
    parts = [p for p in value.split(";") if p.strip()] if isinstance(value, str) else value
    return tuple(_nested(part, inner) for part in parts)


def _shown(value: Any, secret: bool) -> str:
    if isinstance(value, tuple):
        return "; ".join(" ".join(map(mask_url, v)) if isinstance(v, tuple) else v for v in value)
    return mask_url(value) if secret else str(value)
