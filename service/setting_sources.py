"""Where settings come from.

Strongest first: environment (``HOTSHELF_<SECTION>_<FIELD>``), the configuration file
(``--config``, else ``hotshelf.toml`` in the working directory), the file that ``hotshelf run``
leaves in the data directory, the default. An unknown name is refused; the error suggests the
nearest one.
"""

import dataclasses
import difflib
import tomllib
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from service.model.query import Path as AttributePath
from service.model.query import parse_attributes
from service.settings import Settings

ENV_PREFIX = "HOTSHELF_"
# Read by the programs that need them; they are not settings of the service.
OTHER_ENV = {
    "HOTSHELF_BOARD_FILE",
    "HOTSHELF_CONFIG",
    "HOTSHELF_DATA_DIR",
    "HOTSHELF_DRAIN_FILE",
    "HOTSHELF_KEPT_FILE",
    "HOTSHELF_PG_BIN",
    "HOTSHELF_REDIS_BIN",
}


class SettingsError(Exception):
    """A setting that cannot be used; the message names it and where it came from."""


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
    settings = Settings(**sections)
    if settings.log.format not in ("", "json", "text"):
        raise SettingsError("log.format: must be json, text or empty")
    if settings.http.timing not in ("asked", "always"):
        raise SettingsError("http.timing: must be asked or always")
    if settings.limits.fields not in ("low", "always"):
        raise SettingsError("limits.fields: must be low or always")
    if settings.log.level.lower() not in ("debug", "info", "warning", "error"):
        raise SettingsError("log.level: must be debug, info, warning or error")
    return settings, sources


def declared_attributes(settings: Settings) -> tuple[AttributePath, ...]:
    """The paths of ``lists.attributes``. Raises SettingsError for an invalid one."""
    try:
        return parse_attributes(settings.lists.attributes)
    except ValueError as error:
        raise SettingsError(f"lists.attributes: {error}") from None


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


def markdown_table() -> str:
    """The settings with their defaults, as docs/settings.md lists them."""
    rows = []
    for row in describe(Settings(), {}):
        default = f"`{row.shown}`" if row.shown else "none"
        rows.append(f"| `{row.name}` | `{env_name(row.name)}` | {default} | {row.doc} |")
    return "\n".join(["| setting | environment | default | meaning |", "|---|---|---|---|", *rows])


def env_name(name: str) -> str:
    """The environment variable of a dotted setting name."""
    return ENV_PREFIX + name.replace(".", "_").upper()


def mask_url(url: str) -> str:
    """A URL without its passwords, fit to be printed; what cannot be taken apart is hidden.

    libpq takes passwords among the query's parameters too (``password``, ``sslpassword``), and
    connection strings of ``key=value``, which are no URLs.
    """
    try:
        parts = urlsplit(url)
        sent = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        return "***"
    if not url or (not parts.scheme and "=" not in url):
        return url
    if not parts.scheme or any("password" in name.lower() for name, _ in sent):
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
    """The value as the field's type: parsed from the environment, or checked if from TOML."""
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
        if from_text and wanted == tuple[str, ...]:
            # Lists of names, origins or networks may also use commas.
            value = value.replace(",", " ")
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
