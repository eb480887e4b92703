"""What many would write first: FastAPI, redis-py, PyJWT; the same promises on a read.

A verified token is kept until it expires, the limit is kept in leases from Redis, the entity
tag is stored beside the body: so what differs is the machinery, not the work asked of it.
"""

import asyncio
import os
import secrets
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jwt
import redis.asyncio
from fastapi import FastAPI, Request, Response

QUOTA, WINDOW_S = 1_000_000, 1
LEASE_TOKENS, LEASE_S = 20_000, 3.0
_CACHED_TOKENS = 10_000


@asynccontextmanager
async def _lifespan(app: FastAPI) -> Any:
    client = redis.asyncio.from_url(os.environ["BENCH_REDIS_URL"], max_connections=1024)
    app.state.redis = client
    app.state.limiter = Limiter(client)
    app.state.tokens = Tokens(Path(os.environ["BENCH_JWKS"]))
    yield
    await client.aclose()


app = FastAPI(lifespan=_lifespan, openapi_url=None)


class Tokens:
    def __init__(self, key_set: Path) -> None:
        keys = jwt.PyJWKSet.from_json(key_set.read_text()).keys
        self._keys = {key.key_id: key for key in keys}
        self._verified: dict[str, dict[str, Any]] = {}

    def claims(self, authorization: str) -> dict[str, Any] | None:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return None
        claims = self._verified.get(token)
        if claims is None:
            claims = self._verify(token)
            if claims is None:
                return None
            if len(self._verified) >= _CACHED_TOKENS:
                self._verified.clear()
            self._verified[token] = claims
        return claims if claims["exp"] > time.time() else None

    def _verify(self, token: str) -> dict[str, Any] | None:
        try:
            key = self._keys[jwt.get_unverified_header(token)["kid"]]
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=["ES256"],
                audience=os.environ["BENCH_AUDIENCE"],
                issuer=os.environ["BENCH_ISSUER"],
            )
        except (KeyError, jwt.InvalidTokenError):
            return None
        return claims


class Limiter:
    def __init__(self, client: redis.asyncio.Redis) -> None:
        script = (Path(__file__).parent / "go" / "lease.lua").read_text()
        self._take = client.register_script(script)
        self._leases: dict[str, tuple[int, float]] = {}
        self._taking = asyncio.Lock()

    async def remaining(self, subject: str) -> int:
        """Tokens left after this request's; negative: refused."""
        if self._spent(subject):
            async with self._taking:
                if self._spent(subject):
                    arguments = [QUOTA, QUOTA / WINDOW_S, LEASE_TOKENS]
                    left = int(await self._take(keys=[f"peer:limit:{subject}"], args=arguments))
                    self._leases[subject] = (left, time.monotonic() + LEASE_S)
        left, until = self._leases[subject]
        self._leases[subject] = (max(0, left - 1), until)
        return left - 1

    def _spent(self, subject: str) -> bool:
        left, until = self._leases.get(subject, (0, 0.0))
        return not left or time.monotonic() >= until


@app.get("/v1/items/{item_id}")
async def get_item(item_id: str, request: Request) -> Response:
    state = request.app.state
    claims = state.tokens.claims(request.headers.get("authorization", ""))
    if claims is None:
        return Response(status_code=401, headers={"www-authenticate": "Bearer"})
    remaining = await state.limiter.remaining(claims["sub"])
    headers = {
        "ratelimit-policy": f'"default";q={QUOTA};w={WINDOW_S}',
        "ratelimit": f'"default";r={max(0, remaining)};t=1',
        "x-request-id": request.headers.get("x-request-id") or secrets.token_hex(16),
    }
    if remaining < 0:
        return Response(status_code=429, headers=headers | {"retry-after": "1"})
    if "items:read" not in claims["scope"].split():
        return Response(status_code=403, headers=headers)
    stored = await state.redis.get(f"peer:item:{item_id}")
    if stored is None:
        return Response(status_code=404, headers=headers)
    tag, _, body = stored.partition(b"\n")
    headers["etag"] = tag.decode()
    headers["cache-control"] = "private, no-cache"
    headers["vary"] = "Accept, Accept-Encoding, Authorization"
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")
