"""The ``hotshelf`` command line."""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version

import orjson
import psycopg

from service import setting_sources
from service.api.describe import openapi
from service.api.routes import documented
from service.cli import access, check, collections, data, export, run
from service.cli.check import ServerUnfit, refuse_unfit_servers
from service.cli.options import add_common, load_settings
from service.cli.run import export_sources, serve_options
from service.embedded import StackError
from service.observe import logs
from service.process.serve import AddressUnusable, serve
from service.setting_sources import SettingsError
from service.store.migrate import MigrationError, migrate
from service.store.shards import ShardMapError


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand; the exit status is 2 for a mistake in the command line or settings."""
    args = command_line().parse_args(argv)
    try:
        status: int = args.run(args)
    except (SettingsError, MigrationError, ServerUnfit, ShardMapError, StackError) as error:
        print(f"hotshelf: {error}", file=sys.stderr)
        return 2
    except AddressUnusable as error:
        print(f"hotshelf: http.host, http.port: {error}", file=sys.stderr)
        return 2
    except psycopg.OperationalError as error:
        print(f"hotshelf: database: {str(error).strip()}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return status


def command_line() -> argparse.ArgumentParser:
    """The parser of the whole command line; each command sets ``run``."""
    parser = argparse.ArgumentParser(
        prog="hotshelf", description="A REST resource service over Redis and sharded PostgreSQL."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('hotshelf')}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    run.add_commands(commands)
    _add(commands, "serve", "run the service with the servers in the settings", _serve)
    _add(commands, "migrate", "bring every shard's schema up to date", _migrate)
    check.add_commands(commands)
    collections.add_commands(commands)
    data.add_commands(commands)
    export.add_commands(commands)
    access.add_commands(commands)
    text = "print every setting, its value and where it came from"
    _add(commands, "openapi", "print the OpenAPI document of /openapi.json", _openapi)
    settings = _add(commands, "settings", text, _settings)
    settings.add_argument(
        "--markdown", action="store_true", help="as the table of docs/settings.md"
    )
    return parser


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    text: str,
    function: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text)
    add_common(parser)
    parser.set_defaults(run=function)
    return parser


def _serve(args: argparse.Namespace) -> int:
    settings = load_settings(args)
    if not settings.database.shards:
        raise SettingsError("database.shards is not set: name your servers, or try `hotshelf run`")
    logs.configure(settings.log.level, settings.log.format)
    _refuse_read_only()
    refuse_unfit_servers(settings)
    export_sources(args.data_dir, args.config)
    return serve(serve_options(settings))


def _refuse_read_only() -> None:
    """Workers would end one after the other, since what they import asks for the directory."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        raise SettingsError(
            "no directory for temporary files can be written: make /tmp writable, or set TMPDIR "
            "to a directory that is (/dev/shm will do)"
        ) from None


def _migrate(args: argparse.Namespace) -> int:
    settings = load_settings(args)
    attributes = setting_sources.declared_attributes(settings)
    migrate(settings.database, lambda line: print(line, file=sys.stderr), attributes)
    return 0


def _openapi(args: argparse.Namespace) -> int:
    document = openapi.build(documented(), load_settings(args))
    print(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
    return 0


def _settings(args: argparse.Namespace) -> int:
    if args.markdown:
        print(setting_sources.markdown_table())
        return 0
    settings, sources = setting_sources.load(os.environ, args.config, args.data_dir)
    for row in setting_sources.describe(settings, sources):
        print(f"{row.name} = {row.shown}\n    {row.doc} [{row.source}]")
    return 0
