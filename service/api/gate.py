"""The first two steps of every request: authentication and rate limit (docs/api.md)."""

from collections.abc import Mapping
from time import perf_counter

from service.access.credentials import Authenticator
from service.access.limiter import Limiter
from service.access.peer import (
    FORWARDED_URL,
    TrustedProxies,
    is_loopback,
    is_loopback_host,
    network_of,
)
from service.api.request import RequestContext
from service.model.caller import Caller
from service.model.errors import (
    HeaderTooLarge,
    HotshelfError,
    InvalidApiKey,
    InvalidContent,
    InvalidHeader,
    InvalidToken,
    Location,
    RateLimited,
    Unauthenticated,
)
from service.model.rate import Admission, Rate
from service.observe.metrics import LIMITER
from service.observe.tracing import Work

_PASSED_ON = FORWARDED_URL | {"forwarded", "via", "x-forwarded-for", "x-real-ip"}
_REFUSED = (Unauthenticated, InvalidToken, InvalidApiKey, InvalidHeader, HeaderTooLarge)


class Gate:
    """Admits callers at their own rate, requests without valid credentials at their address's."""

    def __init__(
        self,
        authenticator: Authenticator,
        limiter: Limiter,
        rate: Rate,
        proxies: TrustedProxies,
        trusts_local: bool = True,
    ) -> None:
        self._trusts_local = trusts_local
        self._authenticator = authenticator
        self.tokens = authenticator.tokens
        self._limiter = limiter
        self.leases = limiter.leases
        self.rate = rate
        self._proxies = proxies
        self.passed = LIMITER.of("passed", "shared")

    async def enter(self, context: RequestContext) -> Caller:
        """The caller; also sets ``context.caller`` and ``context.admission``.

        Raises RateLimited, and what ``Authenticator.authenticate`` raises. Wrong credentials count
        against their address. A key that needs a database look-up is charged first, because guesses
        must not cause unlimited look-ups; the token is returned if the key is valid.
        """
        paid = self._authenticator.must_look_up(context.headers)
        if paid:
            await self.enter_unknown(context)
        began = perf_counter()
        try:
            caller = await self._authenticator.authenticate(context.headers)
            context.spent_s["auth"] = perf_counter() - began
        except _REFUSED:
            if not paid:
                await self.enter_unknown(context)
            raise
        if paid:
            self.leases.give_back(self._address(context))
        await self._take(context, caller.limit_key, caller.rate or self.rate)
        context.caller = caller
        return caller

    async def enter_unknown(self, context: RequestContext) -> None:
        """Count a request without credentials. Raises RateLimited."""
        context.address = self._address(context)
        await self._take(context, context.address, self.rate)

    def is_local(self, context: RequestContext) -> bool:
        """Whether the request comes from this machine itself, not through a proxy or another site.

        A browser names the origin of a request; the status page's own requests are allowed.
        """
        if not self._trusts_local or not _PASSED_ON.isdisjoint(context.headers):
            return False
        # HTTP/1.0 may have none.
        host = "".join(context.headers.get("host", ()))
        own_origin = [f"{context.scheme}://{host}"]
        if context.headers.get("origin", own_origin) != own_origin:
            return False
        return is_loopback(context.peer) and is_loopback_host(host)

    def remembered(self, token: str) -> Caller | None:
        """The caller of a bearer token that was verified before and has not expired."""
        return self.tokens.remembered(token)

    def recall(self, fields: Mapping[str, str]) -> Caller | None:
        """The caller if that is known without waiting; None does not mean invalid credentials."""
        authorization, key = fields.get("authorization"), fields.get("x-api-key")
        try:
            return self._authenticator.recall(
                () if authorization is None else (authorization,), () if key is None else (key,)
            )
        except HotshelfError:
            return None

    def spend(self, caller: Caller) -> Admission | None:
        """Count a request if the current lease covers it; else None, with nothing counted."""
        admission = self.leases.spend(caller.limit_key, caller.rate or self.rate)
        if admission is not None:
            self.passed.value += 1
        return admission

    async def admission(self, caller: Caller) -> Admission:
        """Count a request, with a call to Redis if needed; it may be refused."""
        rate = caller.rate or self.rate
        return self._counted(await self._limiter.admission(caller.limit_key, rate))

    async def charge(self, context: RequestContext, cost: int) -> None:
        """Count ``cost`` more for the caller that ``enter`` let in.

        For a batch, whose cost is known only once its body is parsed; ``enter`` has counted its
        first operation. Raises RateLimited, and InvalidContent for more than could ever pass.
        """
        caller = context.caller
        assert caller is not None
        rate = caller.rate or self.rate
        if cost > rate.capacity:
            location = Location(
                f"The rate limit admits at most {rate.capacity} operations at once.", pointer=""
            )
            raise InvalidContent(
                "The batch has more operations than the rate limit can ever admit.", location
            )
        await self._take(context, caller.limit_key, rate, cost)

    def _address(self, context: RequestContext) -> str:
        forwarded_for = context.headers.get("x-forwarded-for", ())
        address = self._proxies.client_address(context.peer, forwarded_for)
        return f"address:{network_of(address)}"

    def _counted(self, admission: Admission, cost: int = 1) -> Admission:
        decision = "passed" if admission.allowed else "refused"
        LIMITER.add(cost, decision, "local" if self._limiter.local else "shared")
        return admission

    async def _take(self, context: RequestContext, key: str, rate: Rate, cost: int = 1) -> None:
        began = perf_counter()
        admission = self.leases.spend(key, rate) if cost == 1 else None
        if admission is None:
            with Work("limiter"):
                admission = await self._limiter.admission(key, rate, cost)
        context.spent_s["limit"] = perf_counter() - began
        context.admission = self._counted(admission, cost)
        if not admission.allowed:
            raise rate_limited(admission)


def rate_limited(admission: Admission) -> RateLimited:
    """The error for a refused admission."""
    rate = admission.rate
    return RateLimited(
        f"More than {rate.quota} requests in {rate.window_s} s.",
        retry_after_s=admission.retry_after_s,
    )
