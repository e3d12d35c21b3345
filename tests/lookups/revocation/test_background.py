"""
Revocation lists and OCSP responders, asked in the background, from real servers to the verdict.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from exporter.demo.minter import Minted
from exporter.engine.monitor import Monitor
from exporter.engine.scrape import EndpointRow
from exporter.lookups import crl
from exporter.lookups.crl import LIST_LIMIT
from exporter.lookups.issuers import LONGEST_PAUSE, SHORTEST_PAUSE, again
from exporter.model.observation import Item
from exporter.model.reasons import Kind, Reason
from exporter.model.targets import Target
from exporter.net.background import LookupFailedError
from exporter.probes.dependencies import Dependencies
from tests.lookups.revocation.making import (
    REVOKED,
    UNKNOWN,
    issuer_of,
    lists_at,
    responders_at,
    response,
    revocation_list,
)
from tests.probes.tls.wire.probing import NAME, facts, items, scrape, target, told, until
from tests.support.certificates import (
    DAY,
    ISSUER,
    NOW,
    SUBJECT,
    authority,
    children,
    name_of,
    remade,
    signed,
    tlv,
    write_pair,
)
from tests.support.clock import Clock
from tests.support.processes import free_port, running
from tests.support.servers import Site, nginx, s_server
from tests.support.web_server import Page, WebServer

LIST = "/ca.crl"
OCSP = "/ocsp"


def is_bound(port: int) -> bool:
    """
    True when somebody listens on this port: `openssl ocsp` would wait for the first question of who asks it.
    """
    tables = [Path(f"/proc/net/{name}").read_text(encoding="ascii") for name in ("tcp", "tcp6")]
    fields = [line.split() for table in tables for line in table.splitlines()[1:]]
    # proc(5): the local address is the second field, and state 0A is LISTEN.
    return any(it[1].endswith(f":{port:04X}") and it[3] == "0A" for it in fields)


@contextlib.asynccontextmanager
async def watching(
    clock: Clock | None = None, monotonic: Clock | None = None
) -> AsyncIterator[tuple[Monitor, Dependencies]]:
    """
    A watch by this clock, and its network. One clock is for both purposes unless there are two.
    """
    clock = clock or Clock()
    network = Dependencies(asyncio.get_running_loop(), clock, monotonic or clock)
    try:
        yield Monitor(network, 8, clock), network
    finally:
        network.close()


@pytest.fixture
def leaf(ca: Minted, web: WebServer) -> Minted:
    """
    A certificate that names a list and a responder of the web server.
    """
    return ca.issue(NAME, [NAME], extensions=[lists_at(web.url(LIST)), responders_at(web.url(OCSP))])


@pytest.fixture
def server(tmp_path: Path, leaf: Minted) -> Iterator[str]:
    """
    `host:port` of a server with that certificate.
    """
    with nginx(tmp_path, Site([leaf.chain])) as running_server:
        yield running_server.authority


def run(work: Coroutine[Any, Any, None]) -> None:
    """
    Until the end.
    """
    asyncio.run(work)


def has(name: str) -> Callable[[EndpointRow], bool]:
    """
    Holds when there is an item of that name.
    """
    return lambda row: name in items(row)


async def failed(watch: Monitor, network: Dependencies, one: Target) -> tuple[EndpointRow, LookupFailedError]:
    """
    The row and the failure, once the one look-up of a target has failed.
    """
    asked = network.lookups

    def failure() -> LookupFailedError | None:
        return next((found for key in asked._entries if (found := asked.failure(key)) is not None), None)

    row = await until(watch, one, lambda _: failure() is not None)
    found = failure()
    assert found is not None
    return row, found


def test_a_list_is_an_item_and_asked_for_once(ca: Minted, server: str, web: WebServer, anchors: str) -> None:
    """
    However often the server is looked at; what is known does not change, so the facts stay the same object.
    """
    web.pages[LIST] = Page(revocation_list(ca, {1: None}))

    async def work() -> None:
        async with watching() as (watch, _):
            one = target(server, ca_file=anchors, crl=True)
            row = await until(watch, one, has("crl"))
            assert facts(row).items[-1] == Item("crl", Kind.CRL, NOW - DAY, NOW + 6 * DAY)
            assert told(row) == ("seen",)
            (after,) = await scrape(watch, one)
            assert after.held.facts is row.held.facts
            assert after.verdict is row.verdict

    run(work())
    assert web.times(LIST) == 1


def test_a_list_is_asked_for_in_time_though_the_clock_was_set(
    ca: Minted, server: str, web: WebServer, anchors: str
) -> None:
    """
    Thirty days on, and back once the list was fetched: the next one is fetched within a day.
    """
    web.pages[LIST] = Page(revocation_list(ca, {1: None}))

    async def work() -> None:
        clock, monotonic = Clock(), Clock()
        async with watching(clock, monotonic) as (watch, _):
            one = target(server, ca_file=anchors, crl=True)
            clock.now += 30 * DAY
            await until(watch, one, has("crl"))
            clock.now -= 30 * DAY
            monotonic.now += 1.2 * DAY
            clock.now += 1.2 * DAY
            await until(watch, one, lambda _: web.times(LIST) == 2)

    run(work())


def test_without_the_settings_nobody_is_asked(server: str, web: WebServer, anchors: str) -> None:
    """
    They are off unless somebody wants them: what a certificate names is asked in our name.
    """

    async def work() -> None:
        async with watching() as (watch, network):
            await scrape(watch, target(server, ca_file=anchors))
            assert network.lookups._entries == {}

    run(work())
    assert web.asked == []


def test_a_revoked_leaf_is_refused(
    ca: Minted, leaf: Minted, server: str, web: WebServer, anchors: str
) -> None:
    """
    With the reason of the list.
    """
    serials = {leaf.certificate.serial_number: x509.ReasonFlags.key_compromise}
    web.pages[LIST] = Page(revocation_list(ca, serials))

    async def work() -> None:
        async with watching() as (watch, _):
            row = await until(watch, target(server, ca_file=anchors, crl=True), has("crl"))
            assert told(row) == ("seen", "revoked")
            assert row.verdict is not None
            assert "keyCompromise" in row.verdict.faults[0].detail

    run(work())


def test_a_revoked_intermediate_is_refused(tmp_path: Path, ca: Minted, web: WebServer, anchors: str) -> None:
    """
    By the list of the root, which is a trust anchor and not presented. It is a fault, and no item.
    """
    root = issuer_of(ca)
    below = root.issue("Below", ca=True, extensions=[lists_at(web.url("/root.crl"))])
    web.pages["/root.crl"] = Page(revocation_list(root, {below.certificate.serial_number: None}))

    async def work(authority: str) -> None:
        async with watching() as (watch, _):
            one = target(authority, ca_file=anchors, crl=True)
            row = await until(watch, one, lambda row: "revoked" in told(row))
            assert items(row) == ["leaf", "chain-1"]
            assert row.verdict is not None
            assert "CN=Below, of its chain," in row.verdict.faults[0].detail

    with nginx(tmp_path, Site([below.issue(NAME, [NAME]).chain])) as running_server:
        run(work(running_server.authority))


BAD_PAGES: dict[str, tuple[Callable[[Minted], Page], Reason]] = {
    "no page": (lambda _: Page(status=404), Reason.HTTP_FAILED),
    "an error": (lambda _: Page(status=503, headers={"Retry-After": "86400000"}), Reason.HTTP_FAILED),
    "too many questions": (lambda _: Page(status=429), Reason.RATE_LIMITED),
    "no list": (lambda _: Page(b"<html>maintenance</html>"), Reason.FORMAT_BROKEN),
    "a forged list": (
        lambda ca: Page(revocation_list(ca, signer=authority("Stranger"))),
        Reason.FORMAT_BROKEN,
    ),
    "too large": (lambda _: Page(bytes(LIST_LIMIT + 1)), Reason.FILE_TOO_LARGE),
    "sent elsewhere for ever": (lambda _: Page(status=302, headers={"Location": LIST}), Reason.HTTP_FAILED),
}


@pytest.mark.parametrize(("page", "reason"), BAD_PAGES.values(), ids=list(BAD_PAGES))
def test_a_list_that_can_not_be_got_says_nothing(
    ca: Minted,
    server: str,
    web: WebServer,
    anchors: str,
    page: Callable[[Minted], Page],
    reason: Reason,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    Neither revoked nor good. The log says why, once.
    """
    web.pages[LIST] = page(ca)

    async def work() -> None:
        async with watching() as (watch, network):
            row, failure = await failed(watch, network, target(server, ca_file=anchors, crl=True))
            assert failure.reason is reason
            assert failure.retry_after is None or failure.retry_after <= DAY
            assert told(row) == ("seen",)
            assert items(row) == ["leaf", "chain-1"]

    with caplog.at_level(logging.WARNING):
        run(work())
    assert [one.getMessage() for one in caplog.records] == ["a look-up failed"]


def test_a_list_that_does_not_come_is_given_up(
    tmp_path: Path, ca: Minted, anchors: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Its server takes the connection and is silent.
    """
    monkeypatch.setattr(crl, "LIST_TIMEOUT", 0.2)

    async def work(authority: str) -> None:
        async with watching() as (watch, network):
            _, failure = await failed(watch, network, target(authority, ca_file=anchors, crl=True))
            assert failure.reason is Reason.HTTP_FAILED
            assert "did not answer in 0.2 s" in str(failure)

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}{LIST}"
        leaf = ca.issue(NAME, [NAME], extensions=[lists_at(url)])
        with nginx(tmp_path, Site([leaf.chain])) as running_server:
            run(work(running_server.authority))


def test_the_last_list_stays_while_the_next_one_can_not_be_got(
    ca: Minted, leaf: Minted, server: str, web: WebServer, anchors: str
) -> None:
    """
    A revocation does not go away because the authority's server is down; the next list takes its place.
    """
    web.pages[LIST] = Page(revocation_list(ca, {leaf.certificate.serial_number: None}))
    clock = Clock()

    async def work() -> None:
        async with watching(clock) as (watch, network):
            one = target(server, ca_file=anchors, crl=True)
            await until(watch, one, has("crl"))
            web.pages[LIST] = Page(status=500)
            clock.now += 2 * DAY
            row, _ = await failed(watch, network, one)
            assert told(row) == ("seen", "revoked")
            assert facts(row).items[-1].not_after == NOW + 6 * DAY
            begin = NOW + 2 * DAY
            web.pages[LIST] = Page(revocation_list(ca, this_update=begin, next_update=begin + 7 * DAY))
            clock.now += DAY
            row = await until(watch, one, lambda row: facts(row).items[-1].not_after > NOW + 6 * DAY)
            assert told(row) == ("seen",)

    run(work())


def test_the_second_place_of_a_list_is_tried(
    tmp_path: Path, ca: Minted, web: WebServer, anchors: str
) -> None:
    """
    A certificate may name several.
    """
    web.pages["/good.crl"] = Page(revocation_list(ca))
    leaf = ca.issue(NAME, [NAME], extensions=[lists_at(web.url("/gone.crl"), web.url("/good.crl"))])

    async def work(authority: str) -> None:
        async with watching() as (watch, _):
            await until(watch, target(authority, ca_file=anchors, crl=True), has("crl"))

    with nginx(tmp_path, Site([leaf.chain])) as running_server:
        run(work(running_server.authority))
    assert [path for _, path, _ in web.asked] == ["/gone.crl", "/good.crl"]


def test_what_was_known_before_a_restart_stays_until_the_issuer_is_heard(
    ca: Minted, leaf: Minted, server: str, web: WebServer, anchors: str
) -> None:
    """
    Else each restart would end an alert that a revocation raised.
    """
    web.pages[LIST] = Page(revocation_list(ca, {leaf.certificate.serial_number: None}))

    async def work() -> None:
        one = target(server, ca_file=anchors, crl=True)
        async with watching() as (watch, _):
            before = facts(await until(watch, one, has("crl")))
        web.pages.clear()
        async with watching() as (watch, network):
            network.authorities.restore(before)
            (row,) = await scrape(watch, one)
            assert told(row) == ("seen", "revoked")
            assert facts(row) == before

    run(work())


ODD_NAMES = {
    "an underline": name_of([("0603550403", 0x13, b"CORP_ISSUING_CA")]),
    "out of order": name_of([("0603550403", 0x0C, b"Issuing CA"), ("060355040b", 0x0C, b"ops")]),
}
"""Names as many authorities have them, though no DER and no PrintableString is so."""


def renamed(ca: Minted, leaf: Minted, name: bytes) -> tuple[Minted, Minted]:
    """
    The leaf and its issuer where that one has this name, encoded.
    """
    return remade(leaf, {ISSUER: name}), remade(ca, {SUBJECT: name})


@pytest.mark.parametrize("name", ODD_NAMES.values(), ids=list(ODD_NAMES))
def test_the_list_of_an_issuer_with_an_odd_name_is_asked_for(
    tmp_path: Path, ca: Minted, leaf: Minted, web: WebServer, anchors: str, name: bytes
) -> None:
    """
    Certificate and list are read as OpenSSL reads them, and what the list says counts.
    """
    chain = renamed(ca, leaf, name)
    plain = x509.load_der_x509_crl(revocation_list(ca, {leaf.certificate.serial_number: None}))
    fields = children(plain.tbs_certlist_bytes)
    web.pages[LIST] = Page(signed(tlv(0x30, b"".join([*fields[:2], name, *fields[3:]])), ca))

    async def work(authority: str) -> None:
        async with watching() as (watch, _):
            row = await until(watch, target(authority, ca_file=anchors, crl=True), has("crl"))
            assert facts(row).items[-1] == Item("crl", Kind.CRL, NOW - DAY, NOW + 6 * DAY)
            assert "revoked" in told(row)

    with s_server(tmp_path, chain) as running_server:
        run(work(running_server.authority))


@pytest.mark.parametrize("revoked", [False, True])
@pytest.mark.parametrize("name", [None, *ODD_NAMES.values()], ids=["usual", *ODD_NAMES])
def test_a_real_responder_is_asked(
    tmp_path: Path, ca: Minted, anchors: str, revoked: bool, name: bytes | None
) -> None:
    """
    `openssl ocsp` as a server, with a certificate of its own that the issuer gave it for this.
    """
    port = free_port()
    leaf = ca.issue(NAME, [NAME], extensions=[responders_at(f"http://127.0.0.1:{port}/")])
    chain = leaf.chain if name is None else renamed(ca, leaf, name)
    serial = format(leaf.certificate.serial_number, "X")
    serial = serial if len(serial) % 2 == 0 else f"0{serial}"
    state = "R\t350101000000Z\t250101000000Z,keyCompromise" if revoked else "V\t350101000000Z\t"
    (tmp_path / "index.txt").write_text(f"{state}\t{serial}\tunknown\t/CN={NAME}\n")
    (tmp_path / "ca.pem").write_bytes(chain[1].pem)
    signer = ca.issue(
        "Responder",
        not_before=0.0,
        not_after=NOW + 36_500 * DAY,
        extended_key_usage=[ExtendedKeyUsageOID.OCSP_SIGNING.dotted_string],
    )
    if name is not None:
        signer = remade(signer, {ISSUER: name})
    certificate, key = write_pair(tmp_path, "responder", [signer])
    command: list[str | Path] = ["openssl", "ocsp", "-index", tmp_path / "index.txt", "-port", str(port)]
    command += ["-CA", tmp_path / "ca.pem", "-rsigner", certificate, "-rkey", key, "-ndays", "7"]

    async def work(authority: str) -> None:
        async with watching() as (watch, _):
            one = target(authority, ca_file=anchors, ocsp=True)
            row = await until(watch, one, has("ocsp"))
            item = facts(row).items[-1]
            assert item.kind is Kind.OCSP
            assert item.not_after - item.not_before == 7 * DAY
            assert ("revoked" in told(row)) is revoked
            assert name is not None or told(row) == (("seen", "revoked") if revoked else ("seen",))

    with (
        running(command, ready=lambda: is_bound(port)),
        s_server(tmp_path, chain) as running_server,
    ):
        run(work(running_server.authority))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda leaf: response(leaf, status=UNKNOWN), Reason.LOOKUP_FAILED),
        (lambda leaf: response(leaf, status=REVOKED, signer=authority("Stranger")), Reason.FORMAT_BROKEN),
        (lambda _: b"<html>", Reason.FORMAT_BROKEN),
    ],
    ids=["unknown", "forged", "no response"],
)
def test_a_responder_without_a_good_answer_says_nothing(
    leaf: Minted,
    server: str,
    web: WebServer,
    anchors: str,
    answer: Callable[[Minted], bytes],
    reason: Reason,
) -> None:
    """
    Neither revoked nor good.
    """
    web.pages[OCSP] = Page(answer(leaf))

    async def work() -> None:
        async with watching() as (watch, network):
            row, failure = await failed(watch, network, target(server, ca_file=anchors, ocsp=True))
            assert failure.reason is reason
            assert told(row) == ("seen",)
            assert items(row) == ["leaf", "chain-1"]

    run(work())


def test_a_responder_is_asked_by_post(leaf: Minted, server: str, web: WebServer, anchors: str) -> None:
    """
    With the question as RFC 6960 appendix A has it.
    """
    web.pages[OCSP] = Page(response(leaf))

    async def work() -> None:
        async with watching() as (watch, _):
            await until(watch, target(server, ca_file=anchors, ocsp=True), has("ocsp"))

    run(work())
    ((method, _, body),) = web.asked
    assert method == "POST"
    assert x509.ocsp.load_der_ocsp_request(body).serial_number == leaf.certificate.serial_number


@pytest.mark.parametrize(
    ("left", "pause"),
    [
        (None, LONGEST_PAUSE / 8),
        (-DAY, SHORTEST_PAUSE),
        (600.0, SHORTEST_PAUSE),
        (4 * DAY, DAY / 2),
        (300 * DAY, LONGEST_PAUSE),
    ],
)
def test_what_ends_soon_is_looked_at_more_often(left: float | None, pause: float) -> None:
    """
    So that the next one is known before somebody is told that it is late.
    """
    assert again(None if left is None else NOW + left, NOW) == pause


def test_the_encoding_of_a_list_does_not_matter(
    ca: Minted, server: str, web: WebServer, anchors: str
) -> None:
    """
    Some authorities give PEM.
    """
    found = x509.load_der_x509_crl(revocation_list(ca))
    web.pages[LIST] = Page(found.public_bytes(Encoding.PEM))

    async def work() -> None:
        async with watching() as (watch, _):
            await until(watch, target(server, ca_file=anchors, crl=True), has("crl"))

    run(work())
