"""
Where strangers may lead us.
"""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model.destinations import Range, host_range, range_of, refusal

DOCUMENTATION = [ipaddress.ip_network(text) for text in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")]

PUBLIC, PRIVATE, LINK_LOCAL, LOOPBACK, NOBODY = Range


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("8.8.8.8", PUBLIC),
        ("172.32.0.1", PUBLIC),
        ("100.128.0.1", PUBLIC),
        ("2606:4700::1111", PUBLIC),
        ("10.1.2.3", PRIVATE),
        ("172.16.0.1", PRIVATE),
        ("172.31.255.255", PRIVATE),
        ("192.168.1.1", PRIVATE),
        ("100.64.0.1", PRIVATE),
        ("198.18.0.1", PRIVATE),
        ("fd12::1", PRIVATE),
        ("fec0::1", PRIVATE),
        ("127.0.0.1", LOOPBACK),
        ("127.255.255.254", LOOPBACK),
        ("::1", LOOPBACK),
        ("0.0.0.0", LOOPBACK),
        ("::", LOOPBACK),
        ("169.254.169.254", LINK_LOCAL),
        ("fe80::1", LINK_LOCAL),
        ("fe80::1%eth0", LINK_LOCAL),
        ("fd00:ec2::254", LINK_LOCAL),
        ("fd20:ce::254", LINK_LOCAL),
        ("fd00:c1::a9fe:a9fe", LINK_LOCAL),
        ("fd00:42::42", LINK_LOCAL),
        ("fd00:a9fe:a9fe::1", LINK_LOCAL),
        ("fd00:100::100:200", LINK_LOCAL),
        ("::ffff:0:a9fe:a9fe", LINK_LOCAL),
        ("::ffff:0:808:808", PUBLIC),
        ("100.100.100.200", LINK_LOCAL),
        ("168.63.129.16", LINK_LOCAL),
        ("224.0.0.1", NOBODY),
        ("255.255.255.255", NOBODY),
        ("240.0.0.1", NOBODY),
        ("ff02::1", NOBODY),
        # With an IPv4 address in them.
        ("::ffff:127.0.0.1", LOOPBACK),
        ("::ffff:10.0.0.1", PRIVATE),
        ("::ffff:169.254.169.254", LINK_LOCAL),
        ("::ffff:8.8.8.8", PUBLIC),
        ("::127.0.0.1", LOOPBACK),
        ("64:ff9b::7f00:1", LOOPBACK),
        ("64:ff9b::a9fe:a9fe", LINK_LOCAL),
        ("64:ff9b::808:808", PUBLIC),
        ("64:ff9b:1::a00:1", PRIVATE),
        ("64:ff9b:1::7f00:1", LOOPBACK),
        ("2002:7f00:1::", LOOPBACK),
        ("2002:a00:1::1", PRIVATE),
        ("2002:808:808::1", PUBLIC),
        # Teredo: the client's address stands inverted at the end.
        ("2001:0:808:808::80ff:fffe", LOOPBACK),
    ],
)
def test_every_address_has_its_range(address: str, place: Range) -> None:
    """
    Also where it is wrapped in another kind.
    """
    assert range_of(ipaddress.ip_address(address)) is place


@given(st.ip_addresses(v=4))
def test_ranges_agree_with_the_library(address: ipaddress.IPv4Address) -> None:
    """
    What is private for Python is never public here, but for the addresses of documentation.
    """
    place = range_of(address)
    if address.is_private and not any(address in network for network in DOCUMENTATION):
        assert place is not PUBLIC
    if address.is_multicast or address.is_reserved:
        assert place is NOBODY


@pytest.mark.parametrize(
    ("own", "permitted"),
    [
        ((), {PUBLIC}),
        ((PUBLIC,), {PUBLIC}),
        ((PRIVATE,), {PUBLIC, PRIVATE}),
        ((LOOPBACK,), {PUBLIC, PRIVATE, LOOPBACK}),
        ((LINK_LOCAL,), {PUBLIC, PRIVATE, LINK_LOCAL}),
        ((PUBLIC, PRIVATE), {PUBLIC, PRIVATE}),
        ((NOBODY,), {PUBLIC, PRIVATE}),
    ],
)
def test_a_stranger_leads_where_he_is_himself(own: tuple[Range, ...], permitted: set[Range]) -> None:
    """
    And to public places.
    """
    places = ("8.8.8.8", "10.0.0.1", "169.254.169.254", "127.0.0.1", "224.0.0.1")
    found = {range_of(ip) for ip in map(ipaddress.ip_address, places) if not refusal(ip, own)}
    assert found == permitted


def test_the_words_say_what_is_there() -> None:
    """
    For a person.
    """
    assert refusal(ipaddress.ip_address("127.0.0.1"), ()) == (
        "127.0.0.1, a loopback address, which is this host itself"
    )


@pytest.mark.parametrize(
    ("host", "place"),
    [
        ("localhost", LOOPBACK),
        ("LOCALHOST.", LOOPBACK),
        ("a.localhost", LOOPBACK),
        ("10.0.0.1", PRIVATE),
        ("www.example.com", PUBLIC),
        ("", PUBLIC),
    ],
)
def test_a_name_is_taken_to_be_public(host: str, place: Range) -> None:
    """
    But for those that always mean this host.
    """
    assert host_range(host) is place
