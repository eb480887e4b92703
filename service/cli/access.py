"""Commands that grant and revoke access: token, keys, clients, signing-keys.

A secret is printed once, alone on standard output; messages go to standard error.
"""

import argparse
import asyncio
import re
import secrets
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeAlias, TypeVar

from service.access import scopes, signing_keys
from service.access.api_keys import new_key, secret_hash
from service.access.issuer import PUBLISH_AHEAD_S, BuiltInIssuer
from service.access.tokens import is_name, words
from service.cli.options import add_command, add_common, load_settings, say_errors
from service.setting_sources import SettingsError
from service.settings import Database, Settings
from service.store.access import AccessRecords
from service.store.shards import Shards

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
Work: TypeAlias = Callable[[argparse.Namespace, AccessRecords], Awaitable[int]]

T = TypeVar("T")

_DAY_S = 86_400
# The default TTL of `hotshelf token`; a rotation keeps old keys valid for as long.
_OVERLAP_S = _DAY_S + 3600


def add_commands(subparsers: Commands) -> None:
    """Add this module's commands; each sets ``run``, which returns the exit status."""
    token = subparsers.add_parser("token", help="print an access token of the built-in issuer")
    add_common(token)
    token.add_argument("--sub", required=True, type=_name, help="subject of the token")
    _add_scope(token)
    token.add_argument(
        "--ttl",
        type=int,
        default=_DAY_S,
        metavar="SECONDS",
        help="lifetime of the token in seconds (default %(default)s)",
    )
    token.set_defaults(run=_token)
    _add_keys(_group(subparsers, "keys", "API keys"))
    _add_clients(_group(subparsers, "clients", "OAuth clients"))
    _add_signing_keys(_group(subparsers, "signing-keys", "signing keys of the built-in issuer"))


def mint_token(settings: Settings, subject: str, scope: str, ttl_s: int) -> str:
    """A token of the built-in issuer, signed with its current key. Raises HotshelfError."""

    async def mint(records: AccessRecords) -> str:
        auth = settings.auth
        issuer = BuiltInIssuer(auth.issuer, auth.audience, ttl_s, records)
        await issuer.load()
        return issuer.sign(subject, scope, subject)

    return asyncio.run(_with_records(settings.database, mint))


def _add_keys(keys: Commands) -> None:
    create = _command(
        keys, "create", "print a new API key, which cannot be shown again", _create_key
    )
    create.add_argument("--owner", required=True, type=_name, help="subject of the key's requests")
    _add_scope(create)
    create.add_argument(
        "--rate",
        type=_rate,
        default=(None, None),
        metavar="N/SECONDS",
        help="rate limit as requests/seconds, such as 100/60 (default: the service's)",
    )
    _command(keys, "list", "id, owner, scope, rate, created, revoked", _list_keys)
    _command(
        keys, "revoke", "revoke a key; it stops working within a minute", _revoke_key
    ).add_argument("id")


def _add_clients(clients: Commands) -> None:
    create = _command(
        clients, "create", "create an OAuth client and print its id and secret", _create_client
    )
    create.add_argument("--name", required=True, type=_name, help="name of the client for people")
    _add_scope(create)
    _command(clients, "list", "id, name, scope, created, revoked", _list_clients)
    _command(
        clients,
        "revoke",
        "revoke a client at once; its tokens stop working within a minute",
        _revoke_client,
    ).add_argument("id")


def _add_signing_keys(keys: Commands) -> None:
    _command(keys, "list", "id, created, signs from, verifies until", _list_signing_keys)
    rotate = _command(keys, "rotate", "create a new signing key and retire the old ones", _rotate)
    rotate.add_argument(
        "--overlap",
        type=int,
        default=_OVERLAP_S,
        metavar="SECONDS",
        help="how long tokens of the old keys stay valid (default %(default)s)",
    )
    rotate.add_argument(
        "--now",
        action="store_true",
        help="for a leaked key: end the old keys and all their tokens at once",
    )


def _group(subparsers: Commands, name: str, text: str) -> Commands:
    return subparsers.add_parser(name, help=text).add_subparsers(metavar="COMMAND", required=True)


def _command(group: Commands, name: str, text: str, work: Work) -> argparse.ArgumentParser:
    def run(args: argparse.Namespace) -> int:
        database = load_settings(args).database
        return say_errors(lambda: asyncio.run(_with_records(database, lambda r: work(args, r))))

    return add_command(group, name, text, run)


def _add_scope(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--scope",
        type=_scope,
        default=f"{scopes.READ} {scopes.WRITE}",
        help=f"space-separated words of {', '.join(scopes.ALL)}, and NAME:read or NAME:write of a "
        "collection (default: %(default)s)",
    )


def _name(text: str) -> str:
    if not is_name(text):
        raise argparse.ArgumentTypeError("must be 1 to 255 printable characters")
    return text


def _rate(text: str) -> tuple[int, int]:
    """Requests and seconds."""
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if match is None or not int(match[1]) or not int(match[2]):
        raise argparse.ArgumentTypeError("must be requests/seconds, such as 100/60")
    return int(match[1]), int(match[2])


def _scope(text: str) -> str:
    wanted = words(text)
    if not wanted or not all(map(scopes.is_scope, wanted)):
        known = f"{', '.join(scopes.ALL)}, or a collection's name:read or name:write"
        raise argparse.ArgumentTypeError(f"must be words of {known}")
    return " ".join(sorted(wanted))


async def _with_records(database: Database, work: Callable[[AccessRecords], Awaitable[T]]) -> T:
    if not database.shards:
        raise SettingsError("database.shards is not set: name your servers, or a --data-dir")
    shards = Shards(database)
    await shards.connect()
    try:
        return await work(AccessRecords(shards.all[0]))
    finally:
        await shards.close()


def _token(args: argparse.Namespace) -> int:
    settings = load_settings(args)

    def run() -> int:
        print(mint_token(settings, args.sub, args.scope, args.ttl))
        return 0

    return say_errors(run)


async def _create_key(args: argparse.Namespace, records: AccessRecords) -> int:
    key_id, key, hashed = new_key()
    await records.add_api_key(key_id, hashed, args.owner, args.scope, *args.rate)
    print(f"hotshelf: API key {key_id}; it cannot be shown again", file=sys.stderr)
    print(key)
    return 0


async def _list_keys(_: argparse.Namespace, records: AccessRecords) -> int:
    for k in await records.api_keys():
        rate = f"{k.quota}/{k.window_s}" if k.quota else "default"
        _row(k.id, k.owner_id, k.scope, rate, k.created_at, k.revoked_at)
    return 0


async def _revoke_key(args: argparse.Namespace, records: AccessRecords) -> int:
    return _found(await records.revoke_api_key(args.id), "API key", args.id)


async def _create_client(args: argparse.Namespace, records: AccessRecords) -> int:
    client_id, secret = f"client-{secrets.token_hex(8)}", secrets.token_urlsafe(32)
    await records.add_client(client_id, secret_hash(secret), args.name, args.scope)
    print(f"client_id={client_id}\nclient_secret={secret}")
    return 0


async def _list_clients(_: argparse.Namespace, records: AccessRecords) -> int:
    for c in await records.clients():
        _row(c.id, c.name, c.scope, c.created_at, c.revoked_at)
    return 0


async def _revoke_client(args: argparse.Namespace, records: AccessRecords) -> int:
    return _found(await records.revoke_client(args.id), "client", args.id)


async def _list_signing_keys(_: argparse.Namespace, records: AccessRecords) -> int:
    for k in await records.signing_keys():
        _row(k.jwk["kid"], k.created_at, k.signs_from, k.verifies_until)
    return 0


async def _rotate(args: argparse.Namespace, records: AccessRecords) -> int:
    key = signing_keys.generate()
    if args.now:
        await records.rotate_signing_key(key, 0, 0)
    else:
        overlap_s = PUBLISH_AHEAD_S + max(0, args.overlap)
        await records.rotate_signing_key(key, PUBLISH_AHEAD_S, overlap_s)
    print(key["kid"])
    return 0


def _found(found: bool, what: str, name: str) -> int:
    if not found:
        print(f"hotshelf: there is no {what} {name}", file=sys.stderr)
    return 0 if found else 1


def _row(*cells: object) -> None:
    print("\t".join(_cell(cell) for cell in cells))


def _cell(cell: object) -> str:
    if isinstance(cell, datetime):
        return cell.isoformat(timespec="seconds")
    return "-" if cell is None else str(cell)
