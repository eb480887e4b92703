"""The ``hotshelf`` command line."""

import argparse
import importlib
import os
import sys
from importlib.metadata import version
from typing import Final

import orjson
import psycopg

from service import setting_sources
from service.cli.options import add_command, load_settings
from service.process.serve import AddressUnusable
from service.setting_sources import SettingsError
from service.store.migrate import MigrationError, migrate
from service.store.shards import ShardMapError

# The modules of this package with commands of their own, in the order of the help. A command line
# imports only the one that it needs, because all of them take half a second.
_MODULES: Final = {
    "run": ("run",),
    "serve": ("serve",),
    "check": ("check",),
    "collections": ("collections",),
    "data": ("import", "seed"),
    "export": ("export",),
    "access": ("token", "keys", "clients", "signing-keys"),
}
_HERE: Final = ("migrate", "openapi", "settings")


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand; the exit status is 2 for a mistake in the command line or settings."""
    words = sys.argv[1:] if argv is None else argv
    args = command_line(next(iter(words), None)).parse_args(words)
    try:
        status: int = args.run(args)
    except (SettingsError, MigrationError, ShardMapError) as error:
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


def command_line(wanted: str | None = None) -> argparse.ArgumentParser:
    """The parser of the whole command line, or of the command ``wanted``; each sets ``run``."""
    parser = argparse.ArgumentParser(
        prog="hotshelf", description="A REST resource service over Redis and sharded PostgreSQL."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('hotshelf')}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    needed = [module for module, names in _MODULES.items() if wanted in names]
    if not needed and wanted not in _HERE:
        needed = list(_MODULES)
    for module in needed:
        importlib.import_module(f"service.cli.{module}").add_commands(commands)
    add_command(commands, "migrate", "bring every shard's schema up to date", _migrate)
    add_command(commands, "openapi", "print the OpenAPI document of /openapi.json", _openapi)
    text = "print every setting, its value and where it came from"
    settings = add_command(commands, "settings", text, _settings)
    settings.add_argument(
        "--markdown", action="store_true", help="as the table of docs/settings.md"
    )
    return parser


def _migrate(args: argparse.Namespace) -> int:
    settings = load_settings(args)
    attributes = setting_sources.declared_attributes(settings)
    migrate(settings.database, lambda line: print(line, file=sys.stderr), attributes)
    return 0


def _openapi(args: argparse.Namespace) -> int:
    from service.api.describe import openapi
    from service.api.routes import documented

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
