"""Commands for many items at once: import, export, seed."""

import argparse
import contextlib
import os
import sys
import time
from pathlib import Path

import psycopg

from service import native
from service.bulk.export_file import ExportFile, ExportFileInvalid
from service.bulk.export_items import export_lines
from service.bulk.import_items import ImportOptions, Totals, import_items
from service.bulk.seed import disk_need, seed_items
from service.bulk.shard_writers import ImportStopped
from service.bulk.source import Source, SourceBroken
from service.bulk.synthetic import KINDS, Plan, SeedInvalid
from service.cli.options import add_common, data_check, load_settings
from service.cli.progress import Progress
from service.settings import Database
from service.store.copy import ImportRefused
from service.store.migrate import MigrationError

_SIGINT_EXIT = 130
_SIGPIPE_EXIT = 141

_IMPORT_HELP = """\
A line is an exported item if it is an object with a member `data` and no others than id,
owner_id, version, created_at and updated_at: those are kept as they are. Any other object is
itself the data of a new item. With --bare every object is data.

CSV: the first record names the members. A cell without quotes that is a JSON number, true, false
or null is that, with every digit; an empty one leaves its member out; anything else, and every
cell in quotes, is text.

Lines that cannot be stored go to the rejects file with their number and the reason. An import
that was cut off goes on where it stopped when the same command is given again with its
--import-id: every line is stored exactly once.

exit status: 0 all lines stored, 1 some rejected, 2 ended early by an error
"""


def add_commands(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add this module's commands; each sets ``run``, which returns the exit status."""
    _add_import(subparsers)
    _add_export(subparsers)
    _add_seed(subparsers)


def _add_import(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "import",
        help="store the items of an NDJSON or CSV file, plain or gzip",
        description="Store the items of an NDJSON or CSV file, plain or gzip, in all shards.",
        epilog=_IMPORT_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_common(parser)
    parser.add_argument("file", metavar="FILE", help="the input; - is standard input")
    parser.add_argument(
        "--owner", type=_owner, required=True, metavar="O", help="owner of lines that name none"
    )
    parser.add_argument(
        "--format",
        choices=["ndjson", "csv"],
        help="default: csv if the name ends in .csv or .csv.gz, else ndjson",
    )
    parser.add_argument("--bare", action="store_true", help="every object is data")
    parser.add_argument(
        "--on-conflict",
        choices=["reject", "skip"],
        default="reject",
        help="what to do with a line whose id is taken (default: %(default)s)",
    )
    parser.add_argument("--import-id", metavar="NAME", help="name of the import, to resume it by")
    parser.add_argument(
        "--rejects", type=Path, metavar="FILE", help="default: hotshelf-rejects-NAME.ndjson"
    )
    parser.set_defaults(run=_import)


def _owner(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError("is not UTF-8") from None
    if not text:
        raise argparse.ArgumentTypeError("is empty")
    return text


def _import(args: argparse.Namespace) -> int:
    settings = load_settings(args)
    import_id = args.import_id or _fresh_name()
    csv = args.file.removesuffix(".gz").endswith(".csv") if not args.format else False
    options = ImportOptions(
        owner_id=args.owner,
        import_id=import_id,
        rejects=args.rejects or Path(f"hotshelf-rejects-{import_id}.ndjson"),
        csv=csv or args.format == "csv",
        bare=args.bare,
        skip_duplicates=args.on_conflict == "skip",
        line_max_bytes=settings.http.body_max_bytes,
        check=data_check(settings),
    )
    progress = Progress("items")
    stored = 0

    def show(totals: Totals) -> None:
        nonlocal stored
        stored = totals.stored
        progress.show(stored, source.consumed / source.size if source.size else None)

    try:
        _say(f"import {import_id}; to go on after an interruption: --import-id {import_id}")
        source = Source(args.file)
        with contextlib.closing(source):
            totals = import_items(source, options, settings.database, show)
    except (ImportRefused, ImportStopped, SourceBroken, MigrationError, psycopg.Error) as error:
        progress.end(stored)
        _say(f"hotshelf import: {error}")
        return 2
    except KeyboardInterrupt:
        progress.end(stored)
        _say("hotshelf import: interrupted")
        return _SIGINT_EXIT
    return _conclude(totals, progress, options)


def _conclude(totals: Totals, progress: Progress, options: ImportOptions) -> int:
    summary = progress.end(totals.stored)
    if totals.finished_before:
        _say(f"import {options.import_id} was complete already")
        return 0
    if totals.resumed_after:
        _say(f"resumed after line {totals.resumed_after:,}")
    if totals.skipped:
        _say(f"{totals.skipped:,} lines skipped: their ids are taken")
    if totals.rejected:
        _say(f"{totals.rejected:,} lines rejected: see {options.rejects}")
    print(f"imported {summary}")
    return 1 if totals.rejected else 0


def _add_export(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "export",
        help="write all items as NDJSON",
        description="Write all items as NDJSON, one v1 representation a line, by ascending id.",
    )
    add_common(parser)
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="default: standard output; packed if it ends in .gz",
    )
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--after", metavar="ID", help="only items with a greater id")
    start.add_argument(
        "--resume", action="store_true", help="go on behind the last whole line of --output"
    )
    parser.set_defaults(run=_export)


def _export(args: argparse.Namespace) -> int:
    settings = load_settings(args).database
    after = native.parse_id(args.after) if args.after else None
    if (args.after and after is None) or (args.resume and not args.output):
        _say("hotshelf export: --after takes an id, and --resume needs --output")
        return 2
    progress = Progress("items")
    count = 0
    try:
        with contextlib.closing(_output(args.output, args.resume)) as output:
            after = output.last_id if isinstance(output, ExportFile) and args.resume else after
            with contextlib.closing(export_lines(settings, after)) as lines:
                for line in lines:
                    output.write(line)
                    count += 1
                    if count % 1000 == 0:
                        progress.show(count, None)
    except BrokenPipeError:
        # Whoever read has enough. The interpreter must not flush into the closed pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _SIGPIPE_EXIT
    except (ExportFileInvalid, MigrationError, psycopg.Error, OSError) as error:
        progress.end(count)
        _say(f"hotshelf export: {error}")
        return 2
    _say(f"exported {progress.end(count)}")
    return 0


def _add_seed(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "seed",
        help="store a synthetic catalog of any size",
        description="Store a synthetic catalog of realistic shape, the same for the same flags.",
    )
    add_common(parser)
    parser.add_argument("--items", type=int, required=True, metavar="N")
    parser.add_argument(
        "--bytes", type=int, default=600, metavar="B", help="mean size of an item (%(default)s)"
    )
    parser.add_argument(
        "--attributes",
        default="",
        metavar="NAME:KIND,…",
        help=f"more members for every item; kinds: {', '.join(KINDS)}",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="another catalog")
    parser.add_argument("--import-id", metavar="NAME", help="name of the run, to resume it by")
    parser.add_argument("--force", action="store_true", help="whether there is room or not")
    parser.set_defaults(run=_seed)


def _seed(args: argparse.Namespace) -> int:
    settings = load_settings(args).database
    import_id = args.import_id or _fresh_name()
    progress = Progress("items")
    stored = 0

    def show(now_stored: int, looked_at: int) -> None:
        nonlocal stored
        stored = now_stored
        progress.show(stored, looked_at / args.items)

    try:
        pairs = [pair.partition(":")[::2] for pair in args.attributes.split(",") if pair]
        plan = Plan(args.items, args.bytes, args.seed, tuple(pairs))
        if not _has_room(plan, settings) and not args.force:
            return 2
        _say(f"seed {import_id}; to go on after an interruption: --import-id {import_id}")
        progress = Progress("items")
        stored, known = seed_items(plan, import_id, settings, show)
    except (
        ImportRefused,
        ImportStopped,
        SeedInvalid,
        MigrationError,
        psycopg.Error,
    ) as error:
        progress.end(stored)
        _say(f"hotshelf seed: {error}")
        return 2
    except KeyboardInterrupt:
        progress.end(stored)
        _say("hotshelf seed: interrupted")
        return _SIGINT_EXIT
    if known:
        _say(f"{known:,} items were there already")
    print(f"stored {progress.end(stored)}")
    return 0


def _has_room(plan: Plan, settings: Database) -> bool:
    """Say what the catalog needs and whether the disks have it."""
    need = disk_need(plan, settings)
    text = (
        f"{plan.items:,} items need about {need.total_bytes / 1e9:,.2f} GB on all nodes "
        f"({need.row_bytes:,.0f} bytes an item with its indexes, measured)"
    )
    if need.missing_bytes is None:
        _say(f"{text}; the disk of some node cannot be seen from here: --force goes on")
    elif need.missing_bytes:
        _say(f"{text}; {need.missing_bytes / 1e9:,.2f} GB are missing: --force goes on")
    else:
        _say(f"{text}; there is room")
    return need.missing_bytes == 0


def _output(path: Path | None, resume: bool) -> "ExportFile | _StandardOutput":
    return ExportFile(path, resume) if path else _StandardOutput()


class _StandardOutput:
    """Lines to standard output, which stays open."""

    def write(self, line: bytes) -> None:
        sys.stdout.buffer.write(line)

    def close(self) -> None:
        sys.stdout.buffer.flush()


def _fresh_name() -> str:
    return native.format_id(native.mint_in_bucket(time.time_ns() // 1_000_000, 0, 1))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
