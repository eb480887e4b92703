"""``hotshelf serve``: serves with the servers in the settings, after a look at each of them."""

import argparse
import os
import tempfile
from pathlib import Path

from service.cli.check import refuse_unfit_servers
from service.cli.options import add_command, load_settings
from service.observe import logs
from service.process.serve import ServeOptions, serve
from service.setting_sources import SettingsError
from service.settings import Settings


def add_commands(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add this module's command."""
    text = "run the service with the servers in the settings"
    add_command(subparsers, "serve", text, _serve)


def serve_options(settings: Settings) -> ServeOptions:
    """The settings of ``serve``."""
    http = settings.http
    return ServeOptions(
        host=http.host,
        port=http.port,
        workers=http.workers,
        drain_s=http.drain_s,
        grace_s=http.grace_s,
        idle_timeout_s=http.idle_timeout_s,
        log_level=settings.log.level.lower(),
        log_format=settings.log.format,
    )


def export_sources(data_dir: Path, config: Path | None) -> None:
    """Export where settings come from, so that workers read the same ones as this command."""
    os.environ["HOTSHELF_DATA_DIR"] = str(data_dir.absolute())
    if config is not None:
        os.environ["HOTSHELF_CONFIG"] = str(config.absolute())


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
