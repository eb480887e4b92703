"""API keys, clients and signing keys in a real PostgreSQL, and the commands that keep them."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable

import pytest
from jwt.utils import base64url_decode

from service.access import signing_keys
from service.access.api_keys import ApiKeys, secret_hash
from service.access.issuer import BuiltInIssuer
from service.access.key_set import KeySet
from service.access.tokens import TokenVerifier
from service.cli.main import main
from service.embedded import EmbeddedStack
from service.model.errors import InvalidApiKey, InvalidToken, ShardUnavailable
from service.model.rate import Rate
from service.settings import Database
from service.store.access import AccessRecords
from service.store.migrate import connect_primary, migrate
from service.store.shards import Shards


@pytest.fixture
def database(stack: EmbeddedStack) -> Database:
    """Migrated shards without any credentials."""
    settings = Database(shards=tuple(map(tuple, stack.shards)))
    migrate(settings)
    with connect_primary(0, settings.shards[0], settings) as connection:
        connection.execute("TRUNCATE api_keys, oauth_clients, signing_keys")
    return settings


@pytest.fixture
def command(
    database: Database, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str]]:
    """Runs a command line: exit status and standard output."""
    for name in [name for name in os.environ if name.startswith("HOTSHELF_")]:
        monkeypatch.delenv(name)
    shards = ";".join(" ".join(nodes) for nodes in database.shards)
    monkeypatch.setenv("HOTSHELF_DATABASE_SHARDS", shards)

    def run(*words: str) -> tuple[int, str]:
        status = main([*words])
        return status, capsys.readouterr().out

    return run


def _with_records(database: Database, work: Callable[[AccessRecords], Awaitable[None]]) -> None:
    async def scenario() -> None:
        shards = Shards(database)
        await shards.connect()
        try:
            await work(AccessRecords(shards.all[0]))
        finally:
            await shards.close()

    asyncio.run(scenario())


def test_a_key_is_shown_once_and_only_its_hash_is_stored(
    command: Callable[..., tuple[int, str]], database: Database
) -> None:
    status, out = command(
        "keys", "create", "--owner", "olivia", "--scope", "items:read", "--rate", "5/10"
    )
    key = out.rstrip("\n")
    assert (status, out) == (0, f"{key}\n")
    status, listed = command("keys", "list")
    assert status == 0
    key_id, *cells = listed.rstrip("\n").split("\t")
    assert cells[:3] == ["olivia", "items:read", "5/10"]
    assert cells[4] == "-"
    with connect_primary(0, database.shards[0], database) as connection:
        row = connection.execute("SELECT api_keys::text FROM api_keys").fetchone()
    assert row is not None
    assert secret_hash(key).hex() in row[0]
    assert key.removeprefix("hsk_") not in row[0] + listed

    async def lookup(records: AccessRecords) -> None:
        caller = await ApiKeys(records.find_api_key).caller(key)
        assert (caller.subject, caller.rate) == ("olivia", Rate(5, 10))

    _with_records(database, lookup)
    assert command("keys", "revoke", key_id) == (0, "")
    assert command("keys", "revoke", key_id) == (0, "")
    assert command("keys", "revoke", "nobody")[0] == 1
    assert command("keys", "list")[1].rstrip("\n").split("\t")[-1] != "-"

    async def refused(records: AccessRecords) -> None:
        with pytest.raises(InvalidApiKey):
            await ApiKeys(records.find_api_key).caller(key)

    _with_records(database, refused)


def test_a_client_is_shown_once(
    command: Callable[..., tuple[int, str]], database: Database
) -> None:
    status, out = command("clients", "create", "--name", "till 7", "--scope", "items:read")
    made = dict(line.split("=", 1) for line in out.splitlines())
    assert (status, list(made)) == (0, ["client_id", "client_secret"])
    listed = command("clients", "list")[1]
    assert listed.startswith(f"{made['client_id']}\ttill 7\titems:read\t")
    assert made["client_secret"] not in listed

    async def stored(records: AccessRecords) -> None:
        client = await records.find_client(made["client_id"])
        assert client is not None
        assert client.secret_hash == secret_hash(made["client_secret"])

    _with_records(database, stored)
    assert command("clients", "revoke", made["client_id"]) == (0, "")

    async def gone(records: AccessRecords) -> None:
        assert await records.find_client(made["client_id"]) is None

    _with_records(database, gone)


def test_workers_that_start_together_agree_on_one_first_key(database: Database) -> None:
    async def start(records: AccessRecords) -> None:
        issuers = [BuiltInIssuer("https://us.test", "hotshelf", 60, records) for _ in range(8)]
        documents = await asyncio.gather(*(issuer.load() for issuer in issuers))
        assert len(set(documents)) == 1
        (key,) = json.loads(documents[0])["keys"]
        assert "d" not in key
        assert len(await records.signing_keys()) == 1

    _with_records(database, start)


def _verifier(issuer: BuiltInIssuer) -> tuple[KeySet, TokenVerifier]:
    keys = KeySet(issuer.load, cooldown_s=0)
    return keys, TokenVerifier({issuer.name: keys}, "hotshelf", 30)


def test_a_rotation_interrupts_no_request(
    command: Callable[..., tuple[int, str]], database: Database
) -> None:
    async def before_and_after(records: AccessRecords) -> None:
        issuer = BuiltInIssuer("https://us.test", "hotshelf", 60, records)
        keys, tokens = _verifier(issuer)
        await keys.refresh()
        old = issuer.sign("alice", "items:read", "alice")
        first = (await records.signing_keys())[0].jwk["kid"]
        status, out = await asyncio.to_thread(command, "signing-keys", "rotate")
        assert status == 0
        await keys.refresh()
        new = out.strip()
        # Published, but not signing before every worker has had the time to load it.
        assert keys.has(new)
        still_old = issuer.sign("alice", "items:read", "alice")
        assert json.loads(_header(still_old))["kid"] == first
        tokens.forget()
        assert tokens.verify(old).subject == tokens.verify(still_old).subject == "alice"
        listed = (await asyncio.to_thread(command, "signing-keys", "list"))[1]
        assert {line.split("\t")[0] for line in listed.splitlines()} == {first, new}

    _with_records(database, before_and_after)


def test_a_leaked_key_ends_at_once(
    command: Callable[..., tuple[int, str]], database: Database
) -> None:
    async def before_and_after(records: AccessRecords) -> None:
        issuer = BuiltInIssuer("https://us.test", "hotshelf", 60, records)
        keys, tokens = _verifier(issuer)
        await keys.refresh()
        old = issuer.sign("alice", "items:read", "alice")
        assert tokens.verify(old).subject == "alice"
        await asyncio.to_thread(command, "signing-keys", "rotate", "--now")
        await keys.refresh()
        with pytest.raises(InvalidToken):
            await tokens.verify_waiting(old)
        assert tokens.verify(issuer.sign("bob", "items:read", "bob")).subject == "bob"

    _with_records(database, before_and_after)


def _header(token: str) -> bytes:
    return base64url_decode(token.split(".", maxsplit=1)[0])


def test_a_printed_token_is_one_that_workers_accept(
    command: Callable[..., tuple[int, str]], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOTSHELF_AUTH_ISSUER", "https://us.test")
    status, out = command("token", "--sub", "alice", "--scope", "items:admin items:read")
    assert status == 0

    async def accepted(records: AccessRecords) -> None:
        issuer = BuiltInIssuer("https://us.test", "hotshelf", 60, records)
        caller = await _verifier(issuer)[1].verify_waiting(out.rstrip("\n"))
        assert (caller.subject, caller.scopes) == (
            "alice",
            frozenset({"items:admin", "items:read"}),
        )

    _with_records(database, accepted)


@pytest.mark.parametrize(
    "words",
    [
        ("token", "--sub", ""),
        ("token", "--sub", "a", "--scope", "items:raed"),
        ("keys", "create", "--owner", "a\0b"),
        *(
            ("keys", "create", "--owner", "a", "--rate", rate)
            for rate in ("100", "0/60", "100/0", "-1/60", "1.5/60", "१/60", "1/60 ", "")
        ),
        ("keys", "create"),
        ("clients", "create"),
        ("keys",),
    ],
)
def test_command_lines_that_make_no_sense(
    command: Callable[..., tuple[int, str]], words: tuple[str, ...]
) -> None:
    with pytest.raises(SystemExit) as ended:
        command(*words)
    assert ended.value.code == 2


def test_reads_go_to_a_replica_while_there_is_no_primary(database: Database) -> None:
    async def without_primary(records: AccessRecords) -> None:
        await records.add_first_signing_key(signing_keys.generate())

    _with_records(database, without_primary)
    replicas = Database(shards=(database.shards[0][1:],))

    async def on_replica(records: AccessRecords) -> None:
        for _ in range(200):  # until it has replayed what the primary wrote
            if await records.signing_keys():
                break
            await asyncio.sleep(0.05)
        assert len(await records.signing_keys()) == 1
        with pytest.raises(ShardUnavailable):
            await records.revoke_api_key("any")

    _with_records(replicas, on_replica)


def test_missing_tables_and_servers_are_one_line(
    command: Callable[..., tuple[int, str]],
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unmigrated = database.shards[0][0].rpartition("/")[0] + "/template1"
    for url in (unmigrated, "postgresql://127.0.0.1:9/none"):
        monkeypatch.setenv("HOTSHELF_DATABASE_SHARDS", url)
        assert command("keys", "list") == (2, "")
