"""Who is asking: bearer tokens (RFC 6750, RFC 7519, RFC 9068) checked against a key set."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a request acts for. ``subject`` owns what it creates; ``scopes`` are whole words."""

    subject: str
    scopes: frozenset[str]

    def may(self, scope: str) -> bool:
        """items:admin implies every other items scope."""
        return scope in self.scopes or "items:admin" in self.scopes
