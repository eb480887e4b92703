import pytest

from service.access.peer import TrustedProxies, network_of

PROXIES = TrustedProxies(["10.0.0.0/8", "192.0.2.1", "fd00::/8"])


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("10.1.1.1", [], "10.1.1.1"),
        ("10.1.1.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.1.1.1", ["made-up, 1.2.3.4, 198.51.100.1"], "198.51.100.1"),
        ("10.1.1.1", ["198.51.100.1, 192.0.2.1, 10.2.2.2"], "198.51.100.1"),
        ("10.1.1.1", ["1.2.3.4", "198.51.100.1"], "198.51.100.1"),
        ("10.1.1.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.1.1.1", ["[2001:db8::7]:4711"], "2001:db8::7"),
        ("10.1.1.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("::ffff:10.1.1.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.1.1.1", ["198.51.100.1, garbage"], "10.1.1.1"),
        ("10.1.1.1", ["198.51.100.1, garbage, 10.3.3.3"], "10.3.3.3"),
        ("10.1.1.1", [""], "10.1.1.1"),
        ("10.1.1.1", ["[2001:db8::7]"], "2001:db8::7"),
        *(
            ("10.1.1.1", [garbage], "10.1.1.1")
            for garbage in ("[::1", "[::1]x", "[]", "1.2.3.4:", "1.2.3.4:x", "1.2.3.4:5:6", "::1]")
        ),
        ("10.1.1.1", ["10.4.4.4"], "10.4.4.4"),
        ("fd00::1", ["2001:db8::7"], "2001:db8::7"),
    ],
)
def test_the_right_most_untrusted_address_counts(
    peer: str, forwarded_for: list[str], client: str
) -> None:
    assert PROXIES.client_address(peer, forwarded_for) == client


def test_without_proxies_forwarded_for_is_ignored() -> None:
    assert TrustedProxies([]).client_address("10.1.1.1", ["1.2.3.4"]) == "10.1.1.1"


def test_an_ipv6_caller_has_a_whole_network() -> None:
    assert network_of("2001:db8:1:2:3::4") == network_of("2001:db8:1:2:ffff::1")
    assert network_of("2001:db8:1:2::1") != network_of("2001:db8:1:3::1")
    assert network_of("198.51.100.1") == "198.51.100.1"


def test_an_invalid_network_is_refused() -> None:
    with pytest.raises(ValueError, match="proxy"):
        TrustedProxies(["proxy.example"])
