"""
`dns:example.com`: the signatures of a zone at each address of each of its name servers.
"""

import asyncio
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from exporter.judgement.verdicts import judge_facts
from exporter.model.errors import LeftOut
from exporter.model.policies import SIGNATURE
from exporter.model.reasons import Kind, Reason
from exporter.model.targets import Target
from exporter.model.urls import parse_url
from exporter.net.dns import Resolution, ResolutionError
from exporter.pki.trust import Anchors
from tests.probes.dns.asking import DAY, ONE, TWO, facts, failure, look, name_servers
from tests.support.name_servers import Zone
from tests.support.processes import free_port

BOTH = f"@ NS ns1\n@ NS ns2\nns1 A {ONE}\nns2 AAAA {TWO}\nwww A 192.0.2.1"
ALONE = f"@ NS ns1\nns1 A {ONE}\nwww A 192.0.2.1"


def target(name: str, port: int, **settings: Any) -> Target:
    """
    A target that asks the server at ONE for all that is recursive.
    """
    url = f"dns:{name}"
    return Target(parse_url(url), url, **{"dns_servers": ((ONE, port),), **settings})


def test_each_server_of_a_zone_is_an_endpoint(tmp_path: Path) -> None:
    """
    A zone that BIND signs by itself: each address of its servers is asked, and has its own signatures.
    """
    now = time.time()
    zones = [Zone("example.test", BOTH, policy=True)]
    with name_servers(tmp_path, zones, zones) as port:
        result = look(port, target("example.test", port))

    assert [one.label for one in result.looks] == [f"ns1.example.test ({ONE})", f"ns2.example.test ({TWO})"]
    for one in result.looks:
        (item,) = facts(one).items
        assert (item.name, item.kind) == ("dnssec", Kind.DNSSEC)
        assert item.not_before < now + 60
        # BIND's default policy signs for two weeks (named.conf(5): signatures-validity).
        assert now + 10 * DAY < item.not_after < now + 15 * DAY


def test_old_signatures_at_one_of_two_servers_are_seen(tmp_path: Path) -> None:
    """
    A secondary that was forgotten has signatures that ended, while the other server is well.
    """
    now = time.time()
    good = Zone("example.test", BOTH, signed=(now - DAY, now + 10 * DAY))
    old = Zone("example.test", BOTH, signed=(now - 30 * DAY, now - 3 * DAY))
    with name_servers(tmp_path, [good], [old]) as port:
        result = look(port, target("example.test", port))

    ends = [facts(one).items[0].not_after for one in result.looks]
    assert ends == [int(now + 10 * DAY), int(now - 3 * DAY)]


def test_a_signature_has_the_deadlines_of_dnssec(tmp_path: Path) -> None:
    """
    Without a policy of the user's, the one for signatures of zones holds.
    """
    now = time.time()
    zone = Zone("example.test", ALONE, signed=(now - DAY, now + 13 * DAY))
    with name_servers(tmp_path, [zone]) as port:
        one = target("example.test", port)
        (seen,) = look(port, one).looks

    (judged,) = judge_facts(facts(seen), one, Anchors(None), now).items
    assert judged.policy is SIGNATURE
    assert judged.deadlines is not None
    assert judged.deadlines.warning == pytest.approx(now + 13 * DAY - 14 / 6 * DAY, abs=2)


def test_a_name_in_a_zone_means_the_zone(tmp_path: Path) -> None:
    """
    `dns:www.example.test` is about the zone `example.test` that the name is in.
    """
    now = time.time()
    zone = Zone("example.test", ALONE, signed=(now - DAY, now + 10 * DAY))
    with name_servers(tmp_path, [zone]) as port:
        (seen,) = look(port, target("www.example.test", port)).looks

    assert facts(seen).items[0].not_after == int(now + 10 * DAY)
    assert any("signatures of example.test" in words for _, words in seen.steps)


def test_a_zone_without_signatures_has_nothing_that_ends(tmp_path: Path) -> None:
    """
    An unsigned zone is a failure with its reason, not a silence.
    """
    with name_servers(tmp_path, [Zone("example.test", ALONE)]) as port:
        (seen,) = look(port, target("example.test", port)).looks

    assert failure(seen).reason is Reason.NOTHING_EXPIRES
    assert "without DNSSEC signatures" in failure(seen).detail


def test_a_server_that_does_not_serve_the_zone_is_named(tmp_path: Path) -> None:
    """
    A lame server fails with its own words, and does not hide the other.
    """
    now = time.time()
    zone = Zone("example.test", BOTH, signed=(now - DAY, now + 10 * DAY))
    with name_servers(tmp_path, [zone], [Zone("other.test", ALONE)]) as port:
        well, lame = look(port, target("example.test", port)).looks

    assert facts(well).items
    assert failure(lame).reason is Reason.DNS_FAILED
    assert f"ns2.example.test ({TWO}) is named as a server of example.test but answers REFUSED" in (
        failure(lame).detail
    )


def test_a_server_where_nothing_listens_fails_alone(tmp_path: Path) -> None:
    """
    One address that is down does not hide the other.
    """
    now = time.time()
    zone = Zone("example.test", BOTH, signed=(now - DAY, now + 10 * DAY))
    with name_servers(tmp_path, [zone]) as port:
        well, down = look(port, target("example.test", port)).looks

    assert facts(well).items
    assert failure(down).reason in {Reason.DNS_FAILED, Reason.DNS_TIMEOUT}
    assert f"name server {TWO} port {port}" in failure(down).detail


def test_a_server_without_an_address_is_left_out_with_the_reason(tmp_path: Path) -> None:
    """
    What can't be looked at is counted.
    """
    now = time.time()
    zone = Zone("example.test", f"{ALONE}\n@ NS gone.other.test.", signed=(now - DAY, now + 10 * DAY))
    with name_servers(tmp_path, [zone, Zone("other.test", f"{ALONE}\ngone TXT text")]) as port:
        result = look(port, target("example.test", port))

    assert [one.label for one in result.looks] == [f"ns1.example.test ({ONE})"]
    assert result.left_out == (LeftOut("gone.other.test", "it has no address"),)


def test_a_zone_whose_servers_have_no_addresses_is_a_failure(tmp_path: Path) -> None:
    """
    With an address family that none has, nothing can be looked at.
    """
    with name_servers(tmp_path, [Zone("example.test", ALONE)]) as port:
        (seen,) = look(port, target("example.test", port, address_family="ipv6")).looks

    assert failure(seen).reason is Reason.DNS_NOT_FOUND
    assert "no name server of example.test has an address" in failure(seen).detail


def test_a_name_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    """
    The zone above is not looked at in place of one that does not exist.
    """
    with name_servers(tmp_path, [Zone("example.test", ALONE)]) as port:
        (seen,) = look(port, target("gone.example.test", port)).looks

    assert failure(seen).reason is Reason.DNS_NOT_FOUND
    assert failure(seen).detail == "there is no name gone.example.test in DNS"


def test_what_a_resolver_refuses_is_a_failure(tmp_path: Path) -> None:
    """
    The words of the resolver that was asked are told.
    """
    with name_servers(tmp_path, [Zone("example.test", ALONE)]) as port:
        (seen,) = look(port, target("elsewhere.example", port)).looks

    assert failure(seen).reason is Reason.DNS_FAILED
    assert f"name server {ONE} port {port} answers REFUSED" in failure(seen).detail


def test_a_second_resolver_is_asked_when_the_first_is_down(tmp_path: Path) -> None:
    """
    As every program does with several name servers.
    """
    now = time.time()
    zone = Zone("example.test", ALONE, signed=(now - DAY, now + 10 * DAY))
    with name_servers(tmp_path, [zone]) as port:
        servers = ((ONE, free_port()), (ONE, port))
        (seen,) = look(port, target("example.test", port, dns_servers=servers)).looks

    assert facts(seen).items


def test_a_silent_resolver_is_a_timeout() -> None:
    """
    A firewall that drops questions is told from a name that is not there.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind((ONE, 0))
        port = silent.getsockname()[1]
        (seen,) = look(port, target("example.test", port)).looks

    assert failure(seen).reason is Reason.DNS_TIMEOUT
    assert f"name server {ONE} port {port} does not answer" in failure(seen).detail


@pytest.mark.parametrize("answer", [b"", b"x", b"\0" * 12, b"\xff" * 600])
async def test_a_resolver_that_talks_nonsense_is_a_failure(answer: bytes) -> None:
    """
    Bytes that are no DNS message, or not one to the question, give a reason.
    """

    class Nonsense(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            assert isinstance(self.transport, asyncio.DatagramTransport)
            self.transport.sendto(data[:2] + answer, addr)

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Nonsense, local_addr=(ONE, 0))
    try:
        server = (ONE, transport.get_extra_info("sockname")[1])
        with pytest.raises(ResolutionError) as failed:
            await Resolution(loop, one_try=0.2).ask((server,), "example.test", "SOA")
    finally:
        transport.close()
    assert failed.value.reason in {Reason.DNS_FAILED, Reason.DNS_TIMEOUT}
