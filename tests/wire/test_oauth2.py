"""The built-in issuer beside an external one, and API keys, over the wire."""

from collections.abc import Callable, Iterator

import httpx
import pytest

from service.embedded import EmbeddedStack, Stack
from tests.fixtures.running import AUDIENCE, RunningService, start_service
from tests.fixtures.running import ISSUER as OURS
from tests.fixtures.tokens import ISSUER as THEIRS
from tests.fixtures.tokens import jwks, token

NOBODY = "/v1/items/01ARZ3NDEKTSV4RRFFQ69G5FAV"
SILENT = "https://silent.test"
GRANT = {"grant_type": "client_credentials"}


@pytest.fixture(scope="module")
def issuing(
    stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningService]:
    """A service with its built-in issuer and another one's key file."""
    folder = tmp_path_factory.mktemp("issuing")
    key_file = folder / "theirs.json"
    key_file.write_bytes(jwks(("ES256", "k")))
    running = start_service(
        Stack(stack.shards, stack.redis_url),
        folder,
        HOTSHELF_AUTH_JWKS="",
        HOTSHELF_LIMITS_FIELDS="always",
        HOTSHELF_AUTH_ISSUERS=f"{THEIRS} {key_file}; {SILENT} http://127.0.0.1:9/jwks.json",
    )
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def command(issuing: RunningService) -> Callable[..., str]:
    return issuing.command


@pytest.fixture(scope="module")
def credentials(command: Callable[..., str]) -> tuple[str, str]:
    """A client's id and secret."""
    made = command("clients", "create", "--name", "till", "--scope", "items:read items:write")
    fields = dict(line.split("=", 1) for line in made.splitlines())
    return fields["client_id"], fields["client_secret"]


@pytest.fixture
def client(issuing: RunningService) -> Iterator[httpx.Client]:
    """Sends no credentials of its own."""
    with httpx.Client(base_url=issuing.url, timeout=30) as client:
        yield client


def _bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_a_client_gets_a_token_that_works(
    client: httpx.Client, credentials: tuple[str, str], method: str
) -> None:
    if method == "client_secret_basic":
        granted = client.post("/oauth2/token", data=GRANT, auth=credentials)
    else:
        form = GRANT | {"client_id": credentials[0], "client_secret": credentials[1]}
        granted = client.post("/oauth2/token", data=form)
    assert granted.status_code == 200
    assert granted.headers["cache-control"] == "no-store"
    answer = granted.json()
    assert answer.keys() == {"access_token", "token_type", "expires_in", "scope"}
    assert (answer["token_type"], answer["scope"]) == ("Bearer", "items:read items:write")
    assert answer["expires_in"] == 900
    assert client.get(NOBODY, headers=_bearer(answer["access_token"])).status_code == 404


def test_a_narrower_scope(client: httpx.Client, credentials: tuple[str, str]) -> None:
    form = GRANT | {"scope": "items:write"}
    answer = client.post("/oauth2/token", data=form, auth=credentials).json()
    assert answer["scope"] == "items:write"
    refused = client.get(NOBODY, headers=_bearer(answer["access_token"]))
    assert refused.status_code == 403
    assert refused.headers["www-authenticate"].endswith(
        'error="insufficient_scope", scope="items:read"'
    )


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({}, 400, "invalid_request"),
        ({"grant_type": ""}, 400, "invalid_request"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        (GRANT | {"scope": "items:admin"}, 400, "invalid_scope"),
        (GRANT | {"scope": "items:read items:admin"}, 400, "invalid_scope"),
        (GRANT | {"scope": " "}, 400, "invalid_scope"),
        (GRANT | {"client_secret": "twice"}, 400, "invalid_request"),
        (GRANT | {"client_id": "someone"}, 400, "invalid_request"),
        (GRANT | {"scope": "\0"}, 400, "invalid_request"),
        (GRANT | {"x": "y" * 9000}, 400, "invalid_request"),
    ],
)
def test_token_errors(
    client: httpx.Client,
    credentials: tuple[str, str],
    form: dict[str, str],
    status: int,
    error: str,
) -> None:
    _refused(client.post("/oauth2/token", data=form, auth=credentials), status, error)


@pytest.mark.parametrize(
    "auth", [("nobody", "secret"), ("", ""), ("ü", "ü"), ("a\0b", "secret"), ("nobody", "")]
)
def test_a_client_that_is_none(client: httpx.Client, auth: tuple[str, str]) -> None:
    answer = client.post("/oauth2/token", data=GRANT, auth=auth)
    _refused(answer, 401, "invalid_client")
    assert answer.headers["www-authenticate"] == 'Basic realm="hotshelf"'


@pytest.mark.parametrize("value", ["Basic", "Basic !", "Basic YQ==", "Bearer x", "Basic //8="])
def test_malformed_client_credentials(client: httpx.Client, value: str) -> None:
    answer = client.post("/oauth2/token", data=GRANT, headers={"authorization": value})
    _refused(answer, 401, "invalid_client")


def test_no_client_credentials(client: httpx.Client, credentials: tuple[str, str]) -> None:
    _refused(client.post("/oauth2/token", data=GRANT), 401, "invalid_client")
    wrong = GRANT | {"client_id": credentials[0], "client_secret": "wrong"}
    answer = client.post("/oauth2/token", data=wrong)
    _refused(answer, 401, "invalid_client")
    assert "www-authenticate" not in answer.headers


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        (b"grant_type=client_credentials&grant_type=client_credentials", "form"),
        (b'{"grant_type":"client_credentials"}', "application/json"),
        (b"grant_type=client_credentials", ""),
        (b"grant_type=%ff", "form"),
        (b"grant_type=\xff", "form"),
        (b"&".join(b"a%d=1" % n for n in range(50)), "form"),
    ],
)
def test_forms_that_cannot_be_read(
    client: httpx.Client, credentials: tuple[str, str], body: bytes, media_type: str
) -> None:
    media_type = "application/x-www-form-urlencoded" if media_type == "form" else media_type
    headers = {"content-type": media_type} if media_type else {}
    answer = client.post("/oauth2/token", content=body, headers=headers, auth=credentials)
    _refused(answer, 400, "invalid_request")


def _refused(answer: httpx.Response, status: int, error: str) -> None:
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "application/json"


def test_a_revoked_client_gets_no_more_tokens(
    client: httpx.Client, command: Callable[..., str]
) -> None:
    made = command("clients", "create", "--name", "leaver", "--scope", "items:read")
    client_id, secret = (line.split("=", 1)[1] for line in made.splitlines())
    assert client.post("/oauth2/token", data=GRANT, auth=(client_id, secret)).status_code == 200
    command("clients", "revoke", client_id)
    _refused(
        client.post("/oauth2/token", data=GRANT, auth=(client_id, secret)), 401, "invalid_client"
    )


def test_metadata_leads_to_everything(client: httpx.Client, command: Callable[..., str]) -> None:
    resource = client.get("/.well-known/oauth-protected-resource").json()
    assert set(resource["authorization_servers"]) == {OURS, THEIRS, SILENT}
    server = client.get("/.well-known/oauth-authorization-server").json()
    assert server["issuer"] == OURS
    assert server["token_endpoint"] == f"{OURS}/oauth2/token"
    assert server["jwks_uri"] == f"{OURS}/.well-known/jwks.json"
    published = client.get("/.well-known/jwks.json")
    assert published.headers["content-type"] == "application/jwk-set+json"
    (key,) = published.json()["keys"]
    assert key.keys() == {"kty", "crv", "x", "y", "kid", "alg", "use"}
    assert command("signing-keys", "list").split("\t")[0] == key["kid"]


def test_two_issuers_at_once(client: httpx.Client, command: Callable[..., str]) -> None:
    for good in (command("token", "--sub", "alice"), token(aud=[AUDIENCE, "else"])):
        assert client.get(NOBODY, headers=_bearer(good)).status_code == 404
    bad = client.get(NOBODY, headers=_bearer(token(iss=OURS)))
    assert bad.status_code == 401
    assert bad.headers["www-authenticate"] == 'Bearer realm="hotshelf", error="invalid_token"'


def test_an_issuer_that_never_answered_means_neither_yes_nor_no(client: httpx.Client) -> None:
    answer = client.get(NOBODY, headers=_bearer(token(iss=SILENT)))
    assert (answer.status_code, answer.json()["code"]) == (503, "access-unavailable")
    assert 1 <= int(answer.headers["retry-after"]) <= 10


def test_credentials_are_checked_before_stored_data(client: httpx.Client) -> None:
    """Whoever may not read learns nothing, not even by the true tag."""
    owner = _bearer(token())
    headers = owner | {"idempotency-key": "nineteen"}
    made = client.post("/v1/items", json={"data": {}}, headers=headers)
    path, etag = made.headers["location"], made.headers["etag"]
    assert client.get(path, headers=owner | {"if-none-match": etag}).status_code == 304
    reader = _bearer(token(sub="reader"))
    for _ in range(3):  # from now on it is in Redis and in the near cache
        assert client.get(path, headers=reader).status_code == 200
    another = owner | {"idempotency-key": "nineteen-again"}
    assert client.post("/v1/items", json={"data": {}}, headers=another).status_code == 201
    cursor = client.get("/v1/items?limit=1", headers=owner).json()["next_cursor"]
    assert cursor
    pages = ("/v1/items?limit=1", f"/v1/items?limit=1&cursor={cursor}")
    strangers = {
        "none": ({}, 401),
        "bad": (_bearer("a.b.c"), 401),
        "expired": (_bearer(token(exp=1)), 401),
        "no scope": (_bearer(token(scope="items:write")), 403),
    }
    for credentials, status in strangers.values():
        for method in ("GET", "HEAD"):
            for condition in ({}, {"if-none-match": etag}, {"if-none-match": "*"}):
                answer = client.request(method, path, headers=credentials | condition)
                nothing = client.request(method, NOBODY, headers=credentials | condition)
                assert _alike(answer) == _alike(nothing)
                assert answer.status_code == status
                assert not {"etag", "age", "last-modified"} & set(answer.headers)
                assert answer.headers["cache-control"] == "no-store"
            for page in pages:
                hidden = client.request(method, page, headers=credentials)
                assert hidden.status_code == status
                assert made.json()["id"] not in hidden.text
                assert "etag" not in hidden.headers


def _alike(answer: httpx.Response) -> tuple[list[tuple[str, str]], str]:
    """The answer without what differs from one request to the next."""
    own = answer.headers["x-request-id"]
    fields = [(n, v) for n, v in answer.headers.multi_items() if n not in ("x-request-id", "date")]
    return [f for f in fields if not f[0].startswith("ratelimit")], answer.text.replace(own, "")


@pytest.mark.parametrize("path", ["/.well-known/security.txt", "/.well-known/none", "/docs"])
def test_some_paths_need_no_credentials(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code in (200, 404)
    assert "ratelimit" in answer.headers


def test_an_api_key_is_an_identity(client: httpx.Client, command: Callable[..., str]) -> None:
    key = command("keys", "create", "--owner", "olivia", "--scope", "items:read items:write")
    made = client.post(
        "/v1/items",
        json={"data": {"n": 1}},
        headers={"x-api-key": key, "idempotency-key": "one"},
    )
    assert (made.status_code, made.json()["owner_id"]) == (201, "olivia")
    for refused in ("hsk_" + "a" * 43, key + "a", ""):
        answer = client.get(NOBODY, headers={"x-api-key": refused})
        assert (answer.status_code, answer.json()["code"]) == (401, "invalid-api-key")
        assert answer.headers["www-authenticate"].startswith("Bearer ")
    both = {"x-api-key": "hsk_" + "a" * 43} | _bearer(token())
    assert client.get(NOBODY, headers=both).status_code == 401
