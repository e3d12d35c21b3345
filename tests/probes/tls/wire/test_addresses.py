"""
Names with several addresses. Look-ups are a fake: see `probing.Names` for the reason.
"""

import socket
from pathlib import Path

import pytest

from exporter.demo.minter import Minted
from exporter.engine.scrape import EndpointRow
from exporter.model.errors import ProbeError
from exporter.model.reasons import Reason
from exporter.model.targets import ADDRESS_LIMIT
from tests.probes.tls.wire.probing import Names, detail, facts, look, scrape, shown, target, told, watching
from tests.support.certificates import NOW
from tests.support.servers import Server, Site, nginx


def by_label(rows: list[EndpointRow]) -> dict[str, tuple[str, ...]]:
    """
    What is told of each endpoint.
    """
    return {row.label: told(row) for row in rows}


def test_each_address_has_its_own_success_and_reason(tmp_path: Path, leaf: Minted, anchors: str) -> None:
    """
    One serves, one refuses, one is silent, one serves something else.
    """
    names = Names(many=["127.0.0.2", "127.0.0.3", "127.0.0.4"])
    with (
        nginx(tmp_path, Site([leaf.chain]), host="127.0.0.2") as server,
        # Nobody accepts: the kernel takes the connection, and no word ever comes.
        socket.create_server(("127.0.0.4", server.port)),
    ):
        rows = look(target(f"many.example:{server.port}", ca_file=anchors, timeout=0.4), names=names)
    assert by_label(rows) == {
        f"127.0.0.2:{server.port}": ("seen",),
        f"127.0.0.3:{server.port}": ("connection_refused",),
        f"127.0.0.4:{server.port}": ("handshake_timeout",),
    }
    assert {row.target.name for row in rows} == {f"tls://many.example:{server.port}"}


def test_addresses_with_different_certificates(tmp_path: Path, ca: Minted, anchors: str) -> None:
    """
    A renewal that reached one of two servers only is seen at each as it is.
    """
    begin = ca.certificate.not_valid_before_utc
    name = "www.example"
    old = ca.issue(name, [name], not_before=begin, not_after=begin.replace(month=6))
    new = ca.issue(name, [name])
    names = Names(two=["127.0.0.2", "127.0.0.3"])
    (tmp_path / "second").mkdir()
    with nginx(tmp_path, Site([new.chain]), host="127.0.0.2") as first:
        one = Site([old.chain], settings=[f"listen 127.0.0.3:{first.port} ssl"])
        with nginx(tmp_path / "second", one, host="127.0.0.9"):
            rows = look(target(f"two.example:{first.port}", ca_file=anchors), names=names)
    assert [(row.label.split(":")[0], told(row)) for row in rows] == [
        ("127.0.0.2", ("seen",)),
        ("127.0.0.3", ("seen", "expired")),
    ]
    assert shown(rows[0], *new.chain)
    assert shown(rows[1], *old.chain)


async def test_an_address_that_is_no_longer_given_is_dropped_at_once(healthy: Server) -> None:
    """
    Its series end, whether it was seen or not.
    """
    names = Names(many=["127.0.0.1", "127.0.0.3"])
    one = target(f"many.example:{healthy.port}")

    labels = []
    async with watching(names=names) as watch:
        for addresses in (["127.0.0.1", "127.0.0.3"], ["127.0.0.1"], ["127.0.0.3"]):
            names.addresses["many"] = addresses
            labels.append([row.label.split(":")[0] for row in await scrape(watch, one)])
    made = labels
    assert made == [["127.0.0.1", "127.0.0.3"], ["127.0.0.1"], ["127.0.0.3"]]


@pytest.mark.parametrize("reason", [Reason.DNS_FAILED, Reason.DNS_NOT_FOUND, Reason.DNS_TIMEOUT])
async def test_endpoints_are_held_while_the_name_can_not_be_resolved(healthy: Server, reason: Reason) -> None:
    """
    Those known before fail with the look-up's reason and keep their facts; afterwards they are seen again.
    """
    names = Names(many=["127.0.0.1", "127.0.0.3"])
    one = target(f"many.example:{healthy.port}")

    well = {"127.0.0.1": ("seen", True), "127.0.0.3": ("connection_refused", False)}
    held = {"127.0.0.1": (str(reason), True), "127.0.0.3": (str(reason), False)}
    told_each_time = []
    async with watching(names=names) as watch:
        for failure in (None, ProbeError(reason, "as the test wants"), None):
            names.failure = failure
            rows = await scrape(watch, one)
            told_each_time.append(
                {row.label.split(":")[0]: (told(row)[0], row.held.facts is not None) for row in rows}
            )
    made = told_each_time
    assert made == [well, held, well]


async def test_a_name_that_was_never_resolved_is_one_endpoint(healthy: Server) -> None:
    """
    It is called by host and port, and gone when addresses are known.
    """
    names = Names(late=["127.0.0.1"])
    one = target(f"late.example:{healthy.port}")

    found = []
    async with watching(names=names) as watch:
        for failure in (ProbeError(Reason.DNS_FAILED, "as the test wants"), None):
            names.failure = failure
            found.append({row.label: told(row)[0] for row in await scrape(watch, one)})
    made = found
    assert made == [
        {f"late.example:{healthy.port}": "dns_failed"},
        {f"127.0.0.1:{healthy.port}": "seen"},
    ]


@pytest.fixture
def everywhere(leaf: Minted) -> Site:
    """
    A site for a server that listens on all of 127.0.0.0/8.
    """
    return Site([leaf.chain])


async def test_forty_addresses(tmp_path: Path, everywhere: Site) -> None:
    """
    Sixteen are probed, always the same ones, and the rest is told.
    """
    texts = [f"127.0.0.{number}" for number in range(1, 41)]
    names = Names(many=texts)

    with nginx(tmp_path, everywhere, host="0.0.0.0") as server:
        port = server.port
        found = []
        async with watching(names=names) as watch:
            for order in (texts, texts[::-1]):
                names.addresses["many"] = order
                made = await watch.scrape([target(f"many.example:{port}")], 10.0)
                assert made.failures == 0
                found.append(
                    (
                        [row.label for row in made.endpoints],
                        made.targets[0].left_out,
                        made.results[0].left_out,
                    )
                )
        (first, second) = found
    assert first == second
    labels, count, words = first
    assert labels == [f"{text}:{server.port}" for text in texts[:ADDRESS_LIMIT]]
    assert count == len(words) == 40 - ADDRESS_LIMIT
    assert str(words[0]) == f"127.0.0.17: more than {ADDRESS_LIMIT} addresses"


async def test_addresses_that_rotate_make_a_bounded_number_of_endpoints(
    tmp_path: Path, everywhere: Site
) -> None:
    """
    A hundred sweeps of a name with eight new addresses each time.
    """
    names = Names(cdn=[])

    with nginx(tmp_path, everywhere, host="0.0.0.0") as server:
        ever: set[str] = set()
        async with watching(names=names) as watch:
            for sweep in range(100):
                names.addresses["cdn"] = [f"127.1.{sweep}.{number}" for number in range(1, 9)]
                rows = await scrape(watch, target(f"cdn.example:{server.port}"))
                assert len(rows) == 8
                assert {told(row)[0] for row in rows} == {"seen"}
                ever |= {row.label for row in rows}
    assert len(ever) <= 2 * ADDRESS_LIMIT
    assert [row.label for row in rows] == [f"cdn.example:{server.port}#{number}" for number in range(1, 9)]


async def test_addresses_first_is_one_endpoint_with_a_name(healthy: Server) -> None:
    """
    Whichever address comes first is looked at, and the endpoint is called by host and port.
    """
    names = Names(two=["127.0.0.1", "127.0.0.3"])
    one = target(f"two.example:{healthy.port}", addresses="first")

    label = f"two.example:{healthy.port}"
    found = []
    async with watching(names=names) as watch:
        for order in (["127.0.0.1", "127.0.0.3"], ["127.0.0.3", "127.0.0.1"]):
            names.addresses["two"] = order
            rows = await scrape(watch, one)
            found.append([(row.label, told(row)[0], row.held.facts is not None) for row in rows])
    made = found
    assert made == [[(label, "seen", True)], [(label, "connection_refused", True)]]


def test_the_address_of_ipv6(tmp_path: Path, ca: Minted, anchors: str) -> None:
    """
    It stands in brackets, by itself and as the address of a name, and is a name of the certificate.
    """
    with nginx(tmp_path, Site([ca.issue("v6", ["::1", "six.example"]).chain]), host="::1") as server:
        by_address, by_name = look(
            target(f"[::1]:{server.port}", server_name=None, ca_file=anchors),
            target(f"six.example:{server.port}", server_name=None, ca_file=anchors),
            names=Names(six=["::1"]),
        )
    assert told(by_address) == told(by_name) == ("seen",)
    assert by_address.label == by_name.label == f"[::1]:{server.port}"
    assert facts(by_address).tls != facts(by_name).tls


def test_nothing_listens_on_ipv6(healthy: Server) -> None:
    """
    The failure names the address.
    """
    (row,) = look(target(f"[::1]:{healthy.port}"), now=NOW)
    assert told(row) == ("connection_refused",)
    assert f"::1 port {healthy.port}" in detail(row)
