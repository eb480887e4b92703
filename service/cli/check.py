"""``hotshelf check``, and the same checks of every server before ``serve`` starts."""

import argparse
import asyncio
import logging

from service.cache import examine as redis
from service.cli.options import add_command, load_settings
from service.model.finding import Finding, Level
from service.observe.logs import fields
from service.setting_sources import SettingsError
from service.settings import Settings
from service.store import examine as postgres

logger = logging.getLogger(__name__)


class ServerUnfit(SettingsError):
    """A server that must not be used; the message says which and what to do."""


def add_commands(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add this module's command."""
    text = "check every server in the settings and report problems"
    add_command(subparsers, "check", text, _check)


def refuse_unfit_servers(settings: Settings) -> None:
    """Log all problems; raise ServerUnfit where the service must not start.

    The service starts even if a server cannot be reached, because its workers check the encoding of
    each database again when they connect.
    """
    findings = [finding for finding in _examine(settings) if finding.level is not Level.OK]
    unfit = [finding for finding in findings if finding.level is Level.ERROR]
    for finding in findings:
        if finding not in unfit:
            logger.warning("server-check", **fields(finding=str(finding)))
    if unfit:
        raise ServerUnfit("\nhotshelf: ".join(map(str, unfit)))


def _check(args: argparse.Namespace) -> int:
    settings = load_settings(args)
    if not settings.database.shards:
        raise SettingsError("database.shards is not set: there is no server to check")
    findings = _examine(settings)
    for finding in findings:
        print(finding)
    return 2 if any(f.level in (Level.ERROR, Level.UNREACHED) for f in findings) else 0


def _examine(settings: Settings) -> list[Finding]:
    findings = postgres.examine(settings.database)
    if settings.redis.url:
        findings += asyncio.run(redis.examine(settings.redis.url))
    if settings.limits.redis_url:
        url = settings.limits.redis_url
        findings += asyncio.run(redis.examine(url, "limits.redis_url", evicts=False))
    return findings
