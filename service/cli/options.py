"""Flags that every subcommand shares, and the settings they lead to."""

import argparse
import os
from pathlib import Path

from service import setting_sources
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


def load_settings(args: argparse.Namespace) -> Settings:
    """The settings for a parsed command line. Raises SettingsError."""
    return setting_sources.load(os.environ, args.config, args.data_dir)[0]
