"""``hotshelf run``: starts the service and its servers on this machine, and stops them."""

import argparse
import json
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from service import setting_sources
from service.access import scopes
from service.cli.access import mint_token
from service.cli.options import add_command
from service.cli.sample import load_sample
from service.cli.serve import export_sources, serve_options
from service.embedded import EmbeddedStack, Stack, StackError
from service.embedded.processes import Account, write_private
from service.model.resource import ITEMS
from service.observe import logs
from service.process.serve import serve
from service.setting_sources import SettingsError
from service.settings import Http, Settings
from service.store.migrate import migrate

_DEVELOPER = "developer"
_SCOPE = f"{scopes.READ} {scopes.WRITE} *:read *:write"
_TOKEN_TTL_S = 30 * 86_400
_SAMPLE_ID = "01JHXSAMP1EKETT1E000000001"


def add_commands(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add this module's command."""
    text = "start PostgreSQL, Redis and the service on this machine, with a sample catalog"
    parser = add_command(subparsers, "run", text, _run)
    parser.add_argument("--shards", type=int, default=2, help="PostgreSQL primaries (default 2)")
    parser.add_argument("--replicas", type=int, default=1, help="replicas of each (default 1)")
    parser.add_argument("--no-sample", action="store_true", help="start with an empty catalog")
    parser.add_argument("--port", type=int, help="TCP port of the service (default 8080)")
    parser.add_argument("--workers", type=int, help="worker processes (default 1)")


def _run(args: argparse.Namespace) -> int:
    try:
        return _serve_here(args)
    except StackError as error:
        raise SettingsError(str(error)) from None


def _serve_here(args: argparse.Namespace) -> int:
    with _terminated_as_interrupted():
        stack = EmbeddedStack(args.data_dir, args.shards, args.replicas, progress=_say)
        with stack:
            settings = _settle(args, Stack(stack.shards, stack.redis_url))
            migrate(settings.database, _say, setting_sources.declared_attributes(settings))
            if not args.no_sample:
                load_sample(settings, args.data_dir, _DEVELOPER)
            token = _write_token(args.data_dir, settings)
            _say("starting the service")
            logs.configure(settings.log.level, settings.log.format)
            return serve(
                serve_options(settings),
                lambda: _welcome(settings.http, token, args.data_dir / "dev-token"),
            )


def _settle(args: argparse.Namespace, stack: Stack) -> Settings:
    """Write the running stack's settings to the data directory, and load all settings."""
    args.data_dir.mkdir(parents=True, exist_ok=True)
    tables: dict[str, dict[str, object]] = {
        "database": {"shards": stack.shards},
        "redis": {"url": stack.redis_url},
        # Always sent, so that a first request shows these fields.
        "limits": {"fields": "always"},
        # No proxy is in front that would send requests meanwhile.
        "http": {"drain_s": 0.0},
    }
    export_sources(args.data_dir, args.config)
    for name in ("port", "workers"):
        if getattr(args, name) is not None:
            os.environ[setting_sources.env_name(f"http.{name}")] = str(getattr(args, name))
    _write_settings(args.data_dir, tables)
    settings, sources = setting_sources.load(os.environ, args.config, args.data_dir)
    if "auth.issuer" in sources:
        return settings
    # Because clients find the built-in issuer by its name, which has to be this URL.
    name = settings.http.public_url or f"http://127.0.0.1:{settings.http.port}"
    _write_settings(args.data_dir, tables | {"auth": {"issuer": name}})
    return setting_sources.load(os.environ, args.config, args.data_dir)[0]


def _write_settings(data_dir: Path, tables: dict[str, dict[str, object]]) -> None:
    lines = ["# Written by `hotshelf run` at every start; put your own settings elsewhere."]
    for table, values in tables.items():
        # A JSON string or array of strings is TOML too.
        lines += [f"[{table}]", *(f"{name} = {json.dumps(v)}" for name, v in values.items())]
    write_private(data_dir / "hotshelf.toml", "\n".join(lines) + "\n", _own_account())


def _write_token(data_dir: Path, settings: Settings) -> str:
    token = mint_token(settings, _DEVELOPER, _SCOPE, _TOKEN_TTL_S)
    write_private(data_dir / "dev-token", token + "\n", _own_account())
    return token


def _own_account() -> Account:
    return Account(os.geteuid(), os.getegid())


def _welcome(http: Http, token: str, token_file: Path) -> None:
    url = f"http://{http.host}:{http.port}"
    token_header = f'-H "Authorization: Bearer $(cat {shlex.quote(str(token_file.absolute()))})"'
    fields = "-H 'Content-Type: application/json' -H \"Idempotency-Key: $(date +%s%N)\""
    kettle = """-d '{"data":{"name":"kettle","price":19.90}}'"""
    print(
        f"""
Hotshelf serves at {url} (Ctrl-C stops everything).

A development token, valid for 30 days, also in {token_file}:
{token}

Create an item, read one of the sample catalog, query the service's state:
curl -i {url}{ITEMS.path(1)} {token_header} {fields} {kettle}
curl -i {url}{ITEMS.path(1, _SAMPLE_ID)} {token_header}
curl -i {url}/readyz
""",
        flush=True,
    )


def _say(line: str) -> None:
    print(f"hotshelf: {line}", file=sys.stderr, flush=True)


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Treat SIGTERM during the start like Ctrl-C, so that the servers are stopped."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
