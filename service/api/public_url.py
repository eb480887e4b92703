"""Scheme and authority of Location and links, as clients know this service."""

from service.access.peer import FORWARDED_URL, TrustedProxies, is_authority, last_forwarded
from service.api.request import RequestContext

_SCHEMES = frozenset({"http", "https"})


class PublicUrl:
    """What goes before a path: the setting ``http.public_url``, or what a trusted proxy says.

    Empty where neither says anything; links are relative then, which is right anywhere.

    X-Forwarded-Proto and X-Forwarded-Host are read where the setting is empty and the peer is a
    trusted proxy. What one of them leaves open is taken from the request itself; a value that is
    no scheme, or no host with or without a port, counts as not sent.
    """

    def __init__(self, public_url: str, proxies: TrustedProxies) -> None:
        self.setting = public_url.rstrip("/")
        self._proxies = proxies

    def of(self, context: RequestContext) -> str:
        """The beginning of this request's links, without a slash at its end."""
        headers = context.headers
        if self.setting or FORWARDED_URL.isdisjoint(headers):
            return self.setting
        if not self._proxies.trust(context.peer):
            return ""
        scheme = last_forwarded(headers.get("x-forwarded-proto", ())).lower()
        host = last_forwarded(headers.get("x-forwarded-host", ()))
        if not is_authority(host):
            if scheme not in _SCHEMES:
                return ""
            host = "".join(headers.get("host", ()))
        if scheme not in _SCHEMES:
            scheme = context.scheme
        return f"{scheme}://{host}" if is_authority(host) else ""
