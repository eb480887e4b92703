"""Commands that store many items at once: import and seed."""

import argparse
import contextlib
from collections.abc import Callable
from pathlib import Path

import psycopg
from ulid import ULID

from service.bulk.import_items import ImportOptions, Totals, import_items
from service.bulk.seed import disk_need, seed_items
from service.bulk.shard_writers import ImportStopped
from service.bulk.source import Source, SourceBroken
from service.bulk.synthetic import KINDS, Plan, SeedInvalid
from service.cli.collection_option import add_collection, chosen
from service.cli.options import add_common, load_settings, say_errors
from service.cli.progress import Progress, say
from service.settings import Database
from service.store.copy import ImportRefused
from service.store.migrate import MigrationError

_SIGINT_EXIT = 130
_STORE_ERRORS = (
    ImportRefused,
    ImportStopped,
    SourceBroken,
    SeedInvalid,
    MigrationError,
    psycopg.Error,
)

_IMPORT_HELP = """\
A line is an exported item if it is an object with a member `data` and no others than id, owner_id,
version, created_at and updated_at; their values are kept. Any other object is itself the data of a
new item. With --bare every object is the data of a new item.

CSV: the first record names the members. An unquoted cell that is a JSON number, true, false or
null keeps that value, with every digit; an empty one leaves its member out; any other cell, and
every quoted one, is a string.

Lines that cannot be stored go to the rejects file with their number and the reason. To resume an
interrupted import, repeat the command with its --import-id: every line is stored exactly once.

exit status: 0 all lines stored, 1 some rejected, 2 ended early by an error
"""


def add_commands(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add this module's commands; each sets ``run``, which returns the exit status."""
    _add_import(subparsers)
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
    add_collection(parser)
    parser.add_argument("file", metavar="FILE", help="the input; - is standard input")
    parser.add_argument(
        "--owner",
        type=_owner,
        required=True,
        metavar="O",
        help="owner of lines that have no owner_id",
    )
    parser.add_argument(
        "--format",
        choices=["ndjson", "csv"],
        help="default: csv if the name ends in .csv or .csv.gz, else ndjson",
    )
    parser.add_argument(
        "--text-columns",
        metavar="NAME,…",
        default="",
        help="CSV columns whose cells are always text; * for all",
    )
    parser.add_argument("--bare", action="store_true", help="every object is data of a new item")
    parser.add_argument(
        "--on-conflict",
        choices=["reject", "skip"],
        default="reject",
        help="what to do with a line whose id exists (default: %(default)s)",
    )
    parser.add_argument("--import-id", metavar="NAME", help="name of the import, to resume it by")
    parser.add_argument(
        "--rejects", type=Path, metavar="FILE", help="default: hotshelf-rejects-NAME.ndjson"
    )
    parser.set_defaults(run=lambda args: say_errors(lambda: _import(args)))


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
    into = chosen(args, settings)
    import_id = args.import_id or _fresh_name()
    is_csv = args.file.removesuffix(".gz").endswith(".csv")
    options = ImportOptions(
        owner_id=args.owner,
        import_id=import_id,
        rejects=args.rejects or Path(f"hotshelf-rejects-{import_id}.ndjson"),
        csv=args.format == "csv" or (args.format is None and is_csv),
        bare=args.bare,
        skip_duplicates=args.on_conflict == "skip",
        line_max_bytes=settings.http.body_max_bytes,
        check=into.check,
        checked=into.checked,
        text_columns=tuple(name.strip() for name in args.text_columns.split(",") if name.strip()),
    )

    def store(progress: Progress) -> int:
        _say_how_to_resume("import", import_id)
        source = Source(args.file)

        def show(totals: Totals) -> None:
            progress.show(totals.stored, source.consumed / source.size if source.size else None)

        with contextlib.closing(source):
            totals = import_items(source, options, settings.database, show)
        return _conclude(totals, progress, options)

    return _ended("import", store)


def _conclude(totals: Totals, progress: Progress, options: ImportOptions) -> int:
    summary = progress.end(totals.stored)
    if totals.finished_before:
        say(f"import {options.import_id} is already complete")
        return 0
    if totals.resumed_after:
        say(f"resumed after line {totals.resumed_after:,}")
    if totals.skipped:
        say(f"{totals.skipped:,} lines skipped: their ids exist")
    if totals.rejected:
        say(f"{totals.rejected:,} lines rejected: see {options.rejects}")
    print(f"imported {summary}")
    return 1 if totals.rejected else 0


def _add_seed(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "seed",
        help="store a synthetic catalog of any size",
        description="Store a synthetic catalog of realistic shape, the same for the same flags.",
    )
    add_common(parser)
    add_collection(parser)
    parser.add_argument("--items", type=int, required=True, metavar="N")
    parser.add_argument(
        "--bytes", type=int, default=600, metavar="B", help="mean size of an item (%(default)s)"
    )
    parser.add_argument(
        "--attributes",
        default="",
        metavar="NAME:KIND,…",
        help=f"additional members of every item; kinds: {', '.join(KINDS)}",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="another catalog")
    parser.add_argument("--import-id", metavar="NAME", help="name of the run, to resume it by")
    parser.add_argument(
        "--force", action="store_true", help="start even if the disks look too small"
    )
    parser.set_defaults(run=lambda args: say_errors(lambda: _seed(args)))


def _seed(args: argparse.Namespace) -> int:
    settings = load_settings(args).database
    into = chosen(args, load_settings(args)).checked
    import_id = args.import_id or _fresh_name()

    def store(progress: Progress) -> int:
        pairs = [pair.partition(":")[::2] for pair in args.attributes.split(",") if pair]
        plan = Plan(args.items, args.bytes, args.seed, tuple(pairs), into.collection)
        if not _has_room(plan, settings) and not args.force:
            return 2
        _say_how_to_resume("seed", import_id)
        progress.begin()
        stored, known = seed_items(
            plan,
            import_id,
            settings,
            lambda n, looked_at: progress.show(n, looked_at / args.items),
            into.version,
        )
        if known:
            say(f"{known:,} items existed already")
        print(f"stored {progress.end(stored)}")
        return 0

    return _ended("seed", store)


def _ended(command: str, store: Callable[[Progress], int]) -> int:
    """The exit status of a command that stores items, even if it is interrupted."""
    progress = Progress("items")
    try:
        return store(progress)
    except _STORE_ERRORS as error:
        progress.end()
        say(f"hotshelf {command}: {error}")
        return 2
    except KeyboardInterrupt:
        progress.end()
        say(f"hotshelf {command}: interrupted")
        return _SIGINT_EXIT


def _has_room(plan: Plan, settings: Database) -> bool:
    """Print the space that the catalog needs and whether the disks have it."""
    need = disk_need(plan, settings)
    text = (
        f"{plan.items:,} items need about {need.total_bytes / 1e9:,.2f} GB on all nodes "
        f"({need.row_bytes:,.0f} bytes an item with its indexes, measured)"
    )
    if need.missing_bytes is None:
        say(f"{text}; the disk of a node cannot be measured from here: use --force to start anyway")
    elif need.missing_bytes:
        say(f"{text}; {need.missing_bytes / 1e9:,.2f} GB are missing: use --force to start anyway")
    else:
        say(f"{text}; the disks have room")
    return need.missing_bytes == 0


def _fresh_name() -> str:
    return str(ULID())


def _say_how_to_resume(command: str, import_id: str) -> None:
    say(f"{command} {import_id}; to resume after an interruption: --import-id {import_id}")
