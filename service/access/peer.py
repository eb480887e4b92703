"""The client's address behind proxies (RFC 7239 section 8.1)."""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

from service.model.bounds import FIELD_MAX_BYTES, bounded

# The fields by which a proxy reports the requested URL.
FORWARDED_URL: Final = frozenset({"x-forwarded-host", "x-forwarded-proto"})
# A /64 is one customer's network, so a caller has all of its addresses.
_IPV6_PREFIX = 64
_HOST_MAX_BYTES = 64
# A registered name, an IPv4 address, or an IPv6 one in brackets (RFC 3986 section 3.2.2).
_AUTHORITY = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_AUTHORITY_MAX_BYTES = 259
_PORT = re.compile(r":[0-9]++\Z")
_WITH_PORT = re.compile(r"\[([^\]]+)\](?::[0-9]+)?|([0-9.]+):[0-9]+")


class TrustedProxies:
    """The proxies whose X-Forwarded fields are believed; networks in CIDR notation.

    Raises ValueError for an invalid network.
    """

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks: list[IPv4Network | IPv6Network] = [
            ipaddress.ip_network(network) for network in networks
        ]

    def client_address(self, peer: str, forwarded_for: Sequence[str]) -> str:
        """The right-most address that is not a trusted proxy's.

        ``peer`` is the connection's address, ``forwarded_for`` the lines of X-Forwarded-For.
        Forged entries are to the left of those that trusted proxies added, so they never count; nor
        do entries to the left of one that is not an address, or of the last 4,096 bytes.
        """
        address = _address(peer)
        if not forwarded_for or not self._trusts(address):
            return peer if address is None else str(address)
        entries = forwarded_entries(",".join(forwarded_for))
        while entries and self._trusts(address):
            further = _address(entries.pop())
            if further is None:
                break
            address = further
        return peer if address is None else str(address)

    def trust(self, peer: str) -> bool:
        """Whether the connection's address is one of theirs."""
        return bool(self._networks) and self._trusts(_address(peer))

    def _trusts(self, address: IPv4Address | IPv6Address | None) -> bool:
        return address is not None and any(address in network for network in self._networks)


@bounded(FIELD_MAX_BYTES)
def forwarded_entries(value: str) -> list[str]:
    """The entries of an X-Forwarded field, as many as the last 4,096 bytes hold whole.

    Proxies append, so a long beginning is no reason to refuse the request.
    """
    entries = value[-FIELD_MAX_BYTES:].split(",")
    return entries if len(value) <= FIELD_MAX_BYTES else entries[1:]


def last_forwarded(lines: Sequence[str]) -> str:
    """What the nearest proxy wrote into an X-Forwarded field; empty if nothing.

    What stands left of it may have come from the client.
    """
    entries = forwarded_entries(",".join(lines))
    return entries[-1].strip(" \t") if entries else ""


@bounded(_AUTHORITY_MAX_BYTES)
def is_authority(host: str) -> bool:
    """Whether it is a host, with or without a port."""
    return len(host) <= _AUTHORITY_MAX_BYTES and _AUTHORITY.fullmatch(host) is not None


def is_loopback(address: str) -> bool:
    """Whether the address is this machine's own."""
    parsed = _address(address)
    return parsed is not None and parsed.is_loopback


@bounded(_HOST_MAX_BYTES)
def is_loopback_host(host: str) -> bool:
    """Whether a Host field names this machine.

    Because a page of another site whose name resolves to this machine (DNS rebinding) sends its own
    name.
    """
    if len(host) > _HOST_MAX_BYTES:
        return False
    name = host[: -len(port[0])] if (port := _PORT.search(host)) else host
    return name.lower() == "localhost" or is_loopback(name)


def network_of(address: str) -> str:
    """The network that one caller is assumed to own: an IPv4 address, or an IPv6 /64."""
    parsed = _address(address)
    if isinstance(parsed, IPv6Address):
        return str(ipaddress.ip_network((parsed, _IPV6_PREFIX), strict=False))
    return address


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """An address, with or without brackets and port; IPv4 in IPv6 as the IPv4 it is."""
    text = text.strip(" \t")
    match = _WITH_PORT.fullmatch(text)
    try:
        address = ipaddress.ip_address(match[1] or match[2] if match else text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
