"""Flags that every subcommand shares, and how settings are loaded from them."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg

from service import setting_sources
from service.bulk.rows import CheckData
from service.items.data_schema import DataSchema
from service.model.errors import HotshelfError
from service.setting_sources import SettingsError
from service.settings import Settings

DEFAULT_DATA_DIR = Path(".hotshelf")


def add_common(parser: argparse.ArgumentParser) -> None:
    """``--data-dir`` finds the stack that ``hotshelf run`` keeps; ``--config`` names a file."""
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=Path(os.environ.get("HOTSHELF_DATA_DIR", DEFAULT_DATA_DIR)),
        metavar="DIR",
        help="where `hotshelf run` keeps its state (default %(default)s)",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration file (TOML)")


def add_command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    text: str,
    run: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    """A subcommand with the common flags; ``run`` returns its exit status."""
    parser = commands.add_parser(name, help=text, description=text)
    add_common(parser)
    parser.set_defaults(run=run)
    return parser


def load_settings(args: argparse.Namespace) -> Settings:
    """The settings for a parsed command line. Raises SettingsError."""
    return setting_sources.load(os.environ, args.config, args.data_dir)[0]


def say_errors(run: Callable[[], int]) -> int:
    """The exit status of ``run``; 2, with the reason told, where the service's parts refuse."""
    try:
        return run()
    except HotshelfError as error:
        print(f"hotshelf: {error.detail}", file=sys.stderr)
        for location in error.locations:
            place = location.pointer or location.parameter or location.header or ""
            print(f"hotshelf: {place.lstrip('/')} {location.detail}", file=sys.stderr)
    except psycopg.errors.UndefinedTable:
        print("hotshelf: tables are missing: run `hotshelf migrate`", file=sys.stderr)
    return 2


def data_check(settings: Settings) -> CheckData | None:
    """The check of data against the installation's schema; None without a schema.

    Raises SettingsError.
    """
    try:
        schema = DataSchema.in_file(settings.data.schema)
    except (ValueError, OSError) as error:
        raise SettingsError(f"data.schema: {error}") from None
    return schema.first_violation if schema.is_set else None
