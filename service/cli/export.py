"""``hotshelf export``: all items as NDJSON, to a file or standard output."""

import argparse
import contextlib
import os
import sys
from pathlib import Path

import psycopg

from service import native
from service.bulk.export_file import ExportFile, ExportFileInvalid
from service.bulk.export_items import export_lines
from service.cli.collection_option import add_collection, chosen
from service.cli.options import add_common, load_settings, say_errors
from service.cli.progress import Progress, say
from service.store.migrate import MigrationError

_SIGPIPE_EXIT = 141


def add_commands(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add this module's command, which sets ``run``."""
    parser = subparsers.add_parser(
        "export",
        help="write all items of a collection as NDJSON",
        description="Write all items of a collection as NDJSON, one v1 representation a line, by "
        "ascending id.",
    )
    add_common(parser)
    add_collection(parser)
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="default: standard output; compressed with gzip if it ends in .gz",
    )
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--after", metavar="ID", help="only items with a greater id")
    start.add_argument(
        "--resume", action="store_true", help="continue after the last whole line of --output"
    )
    parser.set_defaults(run=lambda args: say_errors(lambda: _export(args)))


def _export(args: argparse.Namespace) -> int:
    of = chosen(args, load_settings(args)).checked.collection
    settings = load_settings(args).database
    after = native.parse_id(args.after) if args.after else None
    if (args.after and after is None) or (args.resume and not args.output):
        say("hotshelf export: --after takes an id, and --resume needs --output")
        return 2
    progress = Progress("items")
    count = 0
    try:
        with contextlib.closing(_output(args.output, args.resume)) as output:
            after = output.last_id if isinstance(output, ExportFile) and args.resume else after
            with contextlib.closing(export_lines(settings, after, of)) as lines:
                for line in lines:
                    output.write(line)
                    count += 1
                    if count % 1000 == 0:
                        progress.show(count, None)
    except BrokenPipeError:
        # The reader has closed the pipe, so the interpreter must not flush into it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _SIGPIPE_EXIT
    except (ExportFileInvalid, MigrationError, psycopg.Error, OSError) as error:
        progress.end(count)
        say(f"hotshelf export: {error}")
        return 2
    say(f"exported {progress.end(count)}")
    return 0


def _output(path: Path | None, resume: bool) -> "ExportFile | _StandardOutput":
    return ExportFile(path, resume) if path else _StandardOutput()


class _StandardOutput:
    """Writes lines to standard output, and leaves it open."""

    def write(self, line: bytes) -> None:
        sys.stdout.buffer.write(line)

    def close(self) -> None:
        sys.stdout.buffer.flush()
