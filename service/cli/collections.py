"""``hotshelf collections``: what kinds of items there are, made and changed at the databases."""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import orjson
import psycopg

from service import native
from service.api.represent.collections import indexes, members
from service.bulk.check_items import violators
from service.cli.options import add_command, load_settings, say_errors
from service.cli.progress import Progress as Counter
from service.cli.progress import say
from service.items.collection_changes import CollectionChanges
from service.items.collection_indexes import Progress
from service.items.collections import Collections
from service.items.data_schema import DataSchema
from service.items.decision import Conditions
from service.model.collection import Collection, Definition, Read, WriteRule, items_collection
from service.model.entity_tag import entity_tag, parse_tag_condition
from service.model.errors import InvalidContent, Location
from service.setting_sources import SettingsError, declared_attributes
from service.settings import Settings
from service.store.collection_indexes import read_indexes
from service.store.migrate import MigrationError
from service.store.shards import Shards

Parsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

_NEW = Conditions(if_none_match=parse_tag_condition("*"))
_SAMPLE = 10
_WITHOUT = "none"


class _Operator:
    """The collections as the databases have them, and what changes them."""

    def __init__(self, settings: Settings, shards: Shards) -> None:
        self.settings = settings
        self.shards = shards.all
        items = items_collection(_schema(settings.data.schema), declared_attributes(settings))
        self.known = Collections(items, shards.all)
        timeout_s = settings.database.timeout_s
        self.changes = CollectionChanges(
            self.known, shards, settings.collections, timeout_s, settings.writes.idempotency_ttl_s
        )


Work: TypeAlias = Callable[[argparse.Namespace, _Operator], Awaitable[int]]


def add_commands(subparsers: Parsers) -> None:
    """Add this module's commands; each sets ``run``, which returns the exit status."""
    group = subparsers.add_parser("collections", help="kinds of items").add_subparsers(
        metavar="COMMAND", required=True
    )
    create = _command(group, "create", "make a collection", _create)
    _add_definition(create)
    update = _command(group, "update", "change what is given of a definition", _update)
    _add_definition(update)
    for parser in (create, update):
        parser.add_argument(
            "--check",
            action="store_true",
            help="change nothing: count the items that break the schema and show some",
        )
    text = "name, version, read, write, attributes, changed"
    _command(group, "list", text, _list, named=False)
    _command(group, "show", "print a definition, and how far its indexes are built, as JSON", _show)
    drop = _command(group, "drop", "drop a collection, at once for readers", _drop)
    drop.add_argument("--force", action="store_true", help="with its items")
    _command(group, "check", "list the items that break their collection's schema", _check)


def _command(
    group: Parsers, name: str, text: str, work: Work, named: bool = True
) -> argparse.ArgumentParser:
    def run(args: argparse.Namespace) -> int:
        return say_errors(lambda: asyncio.run(_with_operator(args, work)))

    parser = add_command(group, name, text, run)
    if named:
        parser.add_argument("name", metavar="NAME", help="the collection")
    return parser


def _add_definition(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--schema", metavar="FILE", help="JSON Schema (2020-12) for the data, or none")
    add("--attributes", metavar="A,…", help="declared for sorting and ranges, or none")
    add("--read", choices=list(Read), help="who may read")
    add("--write", choices=list(WriteRule), help="who may change an item")
    add("--ttl", metavar="SECONDS", help="items end so long after their last change, or none")
    add("--max-bytes", metavar="N", help="largest data of an item, or none")
    add("--description", metavar="TEXT", help="what it is for")


async def _with_operator(args: argparse.Namespace, work: Work) -> int:
    settings = load_settings(args)
    if not settings.database.shards:
        raise SettingsError("database.shards is not set: name your servers, or a --data-dir")
    shards = Shards(settings.database)
    await shards.connect()
    try:
        operator = _Operator(settings, shards)
        await operator.known.refresh()
        return await work(args, operator)
    except TimeoutError:
        say("hotshelf: the databases did not answer in time")
        return 2
    finally:
        await shards.close()


async def _create(args: argparse.Namespace, operator: _Operator) -> int:
    definition = Definition.sent(_given(args))
    if args.check:
        say("0 of 0 items break the schema: the collection is new")
        return 0
    made, *_ = await operator.changes.put(args.name, definition, _NEW)
    _print(made)
    return 0


async def _update(args: argparse.Namespace, operator: _Operator) -> int:
    current = operator.known.find(args.name)
    definition = Definition.sent(current.definition.members() | _given(args))
    if args.check:
        return _report(operator, current, definition.schema, _SAMPLE)
    this = Conditions(if_match=parse_tag_condition(entity_tag(current)))
    changed, *_ = await operator.changes.put(args.name, definition, this)
    _print(changed)
    return 0


async def _list(_: argparse.Namespace, operator: _Operator) -> int:
    for name, collection in sorted(operator.known.by_name.items()):
        shown = members(collection)
        cells = (shown["read"], shown["write"], ",".join(shown["attributes"]) or "-")
        print("\t".join([name, str(collection.version), *cells, shown["updated_at"] or "-"]))
    return 0


async def _show(args: argparse.Namespace, operator: _Operator) -> int:
    collection = operator.known.find(args.name)
    progress = Progress.of(
        collection, {n: await read_indexes(shard) for n, shard in enumerate(operator.shards)}
    )
    _print(collection, indexes=indexes(progress))
    return 0


async def _drop(args: argparse.Namespace, operator: _Operator) -> int:
    await operator.changes.drop(args.name, Conditions(), with_items=args.force)
    return 0


async def _check(args: argparse.Namespace, operator: _Operator) -> int:
    collection = operator.known.find(args.name)
    return _report(operator, collection, collection.definition.schema, None)


def _report(operator: _Operator, collection: Collection, schema: Any, most: int | None) -> int:
    """Print violators, ``most`` of them or all; 1 if there are any."""
    progress = Counter("items checked")
    read = wrong = 0

    def show(count: int) -> None:
        nonlocal read
        read = count
        progress.show(count, None)

    try:
        check = _compiled(schema).first_violation
        for item_id, location in violators(
            operator.settings.database, collection.number, check, show
        ):
            wrong += 1
            if most is None or wrong <= most:
                print(native.format_id(item_id), location.pointer, location.detail, sep="\t")
    except (MigrationError, psycopg.Error) as error:
        progress.end()
        say(f"hotshelf collections: {error}")
        return 2
    progress.end(read)
    say(f"{wrong:,} of {read:,} items break the schema")
    return 1 if wrong else 0


def _given(args: argparse.Namespace) -> dict[str, Any]:
    """The members of a definition that the command line names. Raises InvalidContent."""
    given: dict[str, Any] = {
        name: getattr(args, name)
        for name in ("read", "write", "description")
        if getattr(args, name) is not None
    }
    if args.schema is not None:
        given["schema"] = None if args.schema == _WITHOUT else _schema(args.schema)
    if args.attributes is not None:
        named = "" if args.attributes == _WITHOUT else args.attributes
        given["attributes"] = [name for name in named.split(",") if name]
    for name, text in (("ttl_s", args.ttl), ("max_bytes", args.max_bytes)):
        if text is not None:
            given[name] = int(text) if text.isascii() and text.isdigit() else text
            given[name] = None if text == _WITHOUT else given[name]
    return given


def _schema(file: str) -> Any:
    """The JSON in a file; None for no file. Raises SettingsError."""
    try:
        return orjson.loads(Path(file).read_bytes()) if file else None
    except (OSError, ValueError) as error:
        raise SettingsError(f"{file}: {error}") from None


def _compiled(schema: Any) -> DataSchema:
    try:
        return DataSchema.of(schema)
    except ValueError as error:
        location = Location(str(error), pointer="/schema")
        raise InvalidContent("This cannot define a collection.", location) from None


def _print(collection: Collection, **more: Any) -> None:
    text = orjson.dumps(members(collection) | more, option=orjson.OPT_INDENT_2)
    sys.stdout.write(text.decode() + "\n")
