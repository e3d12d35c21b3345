"""
Revocation that was asked for and can't be known: it is seen wherever anybody looks, and never taken for good.
"""

import asyncio
import contextlib
import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from exporter.cli import check, main
from exporter.config.settings import Config
from exporter.demo.minter import Minted, root
from exporter.engine.monitor import Monitor
from exporter.engine.scrape import Scrape
from exporter.model.observation import Facts, FailedLookup
from exporter.model.reasons import Lookup, Reason
from exporter.probes.dependencies import Dependencies
from exporter.report.inventory import Inventory
from exporter.report.status import Level
from exporter.server.service import Options, Service
from tests.golden.values import status_of
from tests.lookups.revocation.making import (
    REVOKED,
    issuer_of,
    lists_at,
    place,
    responders_at,
    response,
    revocation_list,
)
from tests.probes.tls.wire.probing import NAME, facts, target, told
from tests.support import misbehaving
from tests.support.certificates import DAY, NOW, authority, shared_key
from tests.support.servers import Site, nginx
from tests.support.web_server import Page, WebServer

LIST, OCSP = "/ca.crl", "/ocsp"

Extension = tuple[x509.ExtensionType, bool]


def looked(*targets: Any, timeout: float = 10.0, now: float = NOW) -> Scrape:
    """
    What a process sees that looks once.
    """

    async def run() -> Scrape:
        network = Dependencies(asyncio.get_running_loop(), lambda: now)
        try:
            return await Monitor(network, 8, network.clock).look_once(targets, timeout)
        finally:
            network.close()

    return asyncio.run(run())


@contextlib.contextmanager
def serving(directory: Path, ca: Minted, *extensions: Extension) -> Iterator[str]:
    """
    `host:port` of a server whose certificate has these extensions.
    """
    directory.mkdir(exist_ok=True)
    with nginx(directory, Site([ca.issue(NAME, [NAME], extensions=extensions).chain])) as server:
        yield server.authority


def table(scrape: Scrape) -> str:
    """
    What `check` prints.
    """
    stream = io.StringIO()
    check.print_table(Inventory(scrape), NOW, stream)
    return stream.getvalue()


def failures(found: Facts) -> list[tuple[Lookup, Reason, bool]]:
    """
    What was asked and not learned.
    """
    return [(one.lookup, one.reason, one.stands) for one in found.unanswered]


# All that can be wrong with a list or a responder.

Answering = Callable[[Minted], Page]


def forged(ca: Minted) -> Page:
    """
    The list of another authority of the same name.
    """
    other = root("another", not_before=NOW - 100 * DAY, not_after=NOW + 100 * DAY)
    return Page(revocation_list(ca, signer=other))


BROKEN: dict[str, tuple[Answering, Reason, str]] = {
    "gone": (lambda _: Page(status=404), Reason.HTTP_FAILED, "answered with HTTP status 404"),
    "limited": (lambda _: Page(status=429), Reason.RATE_LIMITED, "answered with HTTP status 429"),
    "page": (lambda _: Page(b"<html>"), Reason.FORMAT_BROKEN, "no revocation list that can be read"),
    "of another": (
        lambda _: Page(revocation_list(authority("Stranger"))),
        Reason.FORMAT_BROKEN,
        "it is the list of another issuer",
    ),
    "forged": (forged, Reason.FORMAT_BROKEN, "its signature is not that of the issuer"),
    "delta": (
        lambda ca: Page(revocation_list(ca, extensions=[(x509.DeltaCRLIndicator(1), True)])),
        Reason.FORMAT_BROKEN,
        "a condition that is not known here: 2.5.29.27",
    ),
    "of another place": (
        lambda ca: Page(revocation_list(ca, extensions=[place("http://other.example/a.crl")])),
        Reason.FORMAT_BROKEN,
        "it is the list of another place",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_list_that_says_nothing_is_not_fine(
    tmp_path: Path, ca: Minted, web: WebServer, anchors: str, what: str
) -> None:
    """
    Unknown, in the words of whatever failed.
    """
    answer, reason, words = BROKEN[what]
    web.pages[LIST] = answer(ca)
    with serving(tmp_path, ca, lists_at(web.url(LIST))) as server:
        scrape = looked(target(server, ca_file=anchors, crl=True))
    (row,) = scrape.endpoints
    assert failures(facts(row)) == [(Lookup.CRL, reason, False)]
    (finding,) = status_of(row, NOW).findings
    assert finding.level is Level.UNKNOWN
    assert finding.words.startswith(f"revocation is not known from its list: {reason}: ")
    assert words in finding.words
    assert finding.advice
    assert check.level(Inventory(scrape), NOW) is Level.UNKNOWN
    assert "fine" not in table(scrape)
    assert told(row) == ("seen",)


@pytest.mark.parametrize("url", ["https://ca.example/a.crl", "ldap:///CN=a,DC=b?certificateRevocationList"])
def test_a_place_that_is_not_asked_is_said_at_once(
    tmp_path: Path, ca: Minted, anchors: str, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """
    By the first scrape already, and in the log.
    """

    async def scraped(server: str) -> Facts:
        network = Dependencies(asyncio.get_running_loop(), lambda: NOW)
        watch = Monitor(network, 8, network.clock)
        one = target(server, name="shop", ca_file=anchors, crl=True, ocsp=True)
        for _ in range(2):
            (row,) = (await watch.scrape([one], 10.0)).endpoints
        network.close()
        return facts(row)

    with serving(tmp_path, ca, lists_at(url), responders_at(url)) as server:
        found = asyncio.run(scraped(server))
    why = "is not asked: only http URLs of at most 2048 characters are asked"
    assert found.unanswered == (
        FailedLookup(Lookup.CRL, Reason.LOOKUP_FAILED, f"the revocation list {url} {why}"),
        FailedLookup(Lookup.OCSP, Reason.LOOKUP_FAILED, f"the OCSP responder {url} {why}"),
    )
    logged = [record.__dict__["fields"] for record in caplog.records if record.message == "a look-up failed"]
    assert [(line["lookup"], line["target"]) for line in logged] == [
        (f"the revocation list {url}", "shop"),
        (f"the OCSP responder {url}", "shop"),
    ]


def test_a_list_that_nobody_can_verify_is_not_asked(tmp_path: Path, ca: Minted, web: WebServer) -> None:
    """
    The issuer is neither presented nor trusted: whose signature it should bear is not known.
    """
    leaf = ca.issue(NAME, [NAME], extensions=[lists_at(web.url(LIST))])
    other = tmp_path / "other.pem"
    other.write_bytes(authority("Stranger").pem)
    with nginx(tmp_path, Site([leaf.chain[:1]])) as server:
        (row,) = looked(target(server, ca_file=str(other), crl=True)).endpoints
    (failed,) = facts(row).unanswered
    assert failed.reason is Reason.LOOKUP_FAILED
    assert "the issuer is neither presented nor among the trust anchors" in failed.detail
    assert web.asked == []


def test_only_what_may_be_above_the_leaf_is_asked_about(
    tmp_path: Path, ca: Minted, web: WebServer, anchors: str
) -> None:
    """
    A server that presents many more can't make this process ask for as many lists.
    """
    leaf = ca.issue(NAME, [NAME], extensions=[lists_at(web.url(LIST))])
    web.pages[LIST] = Page(revocation_list(ca))
    other = root("Other", not_before=NOW - DAY, not_after=NOW + DAY)
    more = [other.issue(f"{i}", ca=True, extensions=[lists_at(web.url(f"/{i}.crl"))]) for i in range(30)]
    with nginx(tmp_path, Site([[*leaf.chain, other, *more]])) as server:
        (row,) = looked(target(server, ca_file=anchors, crl=True)).endpoints
    assert failures(facts(row)) == []
    assert [path for _, path, _ in web.asked] == [LIST]


def test_what_names_neither_list_nor_responder_is_not_unknown(
    tmp_path: Path, ca: Minted, anchors: str
) -> None:
    """
    Authorities give one or the other: whoever asks for both in `defaults` would hear of nothing else.
    """
    with serving(tmp_path, ca) as server:
        scrape = looked(target(server, ca_file=anchors, crl=True, ocsp=True))
    assert check.level(Inventory(scrape), NOW) is Level.OK
    assert facts(scrape.endpoints[0]).unanswered == ()


def test_a_server_that_is_silent_is_waited_for_as_long_as_there_is_time(
    tmp_path: Path, ca: Minted, anchors: str
) -> None:
    """
    Then it is a timeout. What others answered counts, though there was no time for all.
    """
    with (
        misbehaving.serving(misbehaving.hang) as silent,
        serving(tmp_path, ca, responders_at(f"http://127.0.0.1:{silent}/ocsp")) as server,
    ):
        begun = time.monotonic()
        (row,) = looked(target(server, ca_file=anchors, ocsp=True), timeout=1.5).endpoints
        assert 1.4 < time.monotonic() - begun < 5
    (failed,) = facts(row).unanswered
    assert (failed.lookup, failed.reason) == (Lookup.OCSP, Reason.TIMEOUT)
    assert failed.detail.endswith("/ocsp: there was no answer in time (1.5 s for all): raise --timeout")
    assert status_of(row, NOW).level is Level.UNKNOWN


@pytest.mark.parametrize("setting", ["crl", "ocsp"])
def test_one_look_is_enough_to_see_a_revocation(
    tmp_path: Path, ca: Minted, web: WebServer, anchors: str, setting: str
) -> None:
    """
    Each server is connected to once, however long the answers take.
    """
    leaf = ca.issue(NAME, [NAME], extensions=[lists_at(web.url(LIST)), responders_at(web.url(OCSP))])
    web.pages[LIST] = Page(revocation_list(ca, {leaf.certificate.serial_number: None}))
    web.pages[OCSP] = Page(response(leaf, status=REVOKED))
    with nginx(tmp_path, Site([leaf.chain])) as server:
        one = target(server, ca_file=anchors, crl=setting == "crl", ocsp=setting == "ocsp")
        scrape = looked(one)
    (row,) = scrape.endpoints
    assert told(row) == ("seen", "revoked")
    assert facts(row).unanswered == ()
    assert check.level(Inventory(scrape), NOW) is Level.CRITICAL
    assert "says that the certificate is revoked" in table(scrape)


def test_both_kinds_of_keys_are_asked_about_once(
    tmp_path: Path, ca: Minted, web: WebServer, anchors: str
) -> None:
    """
    What is added when the answers come is added to what the look saw, not to what was added before.
    """
    web.pages[LIST] = Page(revocation_list(ca))
    issued = [
        ca.issue(NAME, [NAME], key=key, extensions=[lists_at(web.url(LIST))])
        for key in (shared_key("rsa-2048"), "ecdsa-256")
    ]
    with nginx(tmp_path, Site([one.chain for one in issued])) as server:
        (row,) = looked(target(server, ca_file=anchors, keys="both", crl=True, ocsp=True)).endpoints
    names = [item.name for item in facts(row).items]
    assert len(names) == len(set(names))
    assert {"crl-rsa", "crl-ecdsa"} <= set(names)
    assert web.times(LIST) == 1


async def test_a_list_that_was_got_before_stands(
    tmp_path: Path, ca: Minted, web: WebServer, anchors: str
) -> None:
    """
    The failure is told, but it makes nothing unknown: the list itself has an end of which is warned.
    """
    web.pages[LIST] = Page(revocation_list(ca))
    now = [NOW]

    with serving(tmp_path, ca, lists_at(web.url(LIST))) as server:
        network = Dependencies(asyncio.get_running_loop(), lambda: now[0], lambda: now[0])
        watch = Monitor(network, 8, network.clock)
        one = target(server, ca_file=anchors, crl=True)

        async def until(holds: Callable[[Facts], bool]) -> Any:
            async with asyncio.timeout(10):
                while True:
                    (row,) = (await watch.scrape([one], 10.0)).endpoints
                    if holds(facts(row)):
                        return row
                    await asyncio.sleep(0.01)

        await until(lambda found: found.items[-1].name == "crl")
        web.pages.clear()
        now[0] += DAY
        row = await until(lambda found: bool(found.unanswered))
        assert failures(facts(row)) == [(Lookup.CRL, Reason.HTTP_FAILED, True)]
        (finding,) = status_of(row, now[0]).findings
        assert finding.level is Level.OK
        assert finding.words.startswith("the revocation list was not got again: http_failed: ")
        web.pages[LIST] = Page(revocation_list(ca))
        now[0] += DAY
        assert (await until(lambda found: not found.unanswered)).held.facts.items[-1].name == "crl"
        network.close()


async def test_a_service_shows_it_as_a_metric_and_step_by_step(
    tmp_path: Path, ca: Minted, web: WebServer, anchors: str
) -> None:
    """
    One series for each reason, though there are two certificates; none for those who ask for nothing.
    """
    above = issuer_of(ca).issue("Inner", ca=True, extensions=[lists_at(web.url("/root.crl"))])
    leaf = above.issue(NAME, [NAME], extensions=[lists_at(web.url(LIST)), responders_at(web.url(OCSP))])
    web.pages[OCSP] = Page(response(leaf))

    with nginx(tmp_path, Site([leaf.chain])) as server:
        one = target(server.authority, name="shop", ca_file=anchors, crl=True, ocsp=True)
        quiet = target(server.authority, name="quiet", ca_file=anchors)
        service = Service(lambda: Config((one, quiet)), Options(), asyncio.get_running_loop(), lambda: NOW)
        try:
            async with asyncio.timeout(10):
                while True:
                    scrape = await service.scrape(10.0)
                    (row,) = [row for row in scrape.endpoints if row.target is one]
                    if len(facts(row).unanswered) == 2 and "ocsp" in [item.name for item in facts(row).items]:
                        break
                    await asyncio.sleep(0.01)
            (look,) = (await service.probe(one, 10.0, trace_steps=True)).results[0].looks
            text, steps = service.text(scrape), [words for _, words in look.steps]
        finally:
            await service.close()
    where = f'target="shop",location="{server.authority}"'
    assert [line for line in text.splitlines() if line.startswith("expiry_lookup_failure_info")] == [
        f'expiry_lookup_failure_info{{{where},lookup="crl",reason="http_failed"}} 1.0'
    ]
    assert steps[-3:] == [
        f"revocation list: http_failed: {web.url(LIST)} answered with HTTP status 404",
        f"revocation list: http_failed: {web.url('/root.crl')} answered with HTTP status 404",
        "OCSP responder: known for ocsp",
    ]


# The command, by the machine's clock.


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """
    Status, output and errors of a command in this process.
    """
    code = main.main(arguments)
    return (code, *capsys.readouterr())


@pytest.fixture
def configured(tmp_path: Path, web: WebServer) -> Iterator[tuple[Minted, str]]:
    """
    A certificate that is served, valid by the machine's clock, and a configuration that asks for its list.
    """
    now = time.time()
    above = root("Now Root", not_before=now - 365 * DAY, not_after=now + 365 * DAY)
    leaf = above.issue(
        NAME, [NAME], not_before=now - 9 * DAY, not_after=now + 81 * DAY, extensions=[lists_at(web.url(LIST))]
    )
    (tmp_path / "anchors.pem").write_bytes(above.pem)
    with nginx(tmp_path, Site([leaf.chain[:1]])) as server:
        entry = {
            "url": f"tls://{server.authority}",
            "server_name": NAME,
            "ca_file": str(tmp_path / "anchors.pem"),
            "crl": True,
        }
        (tmp_path / "expiry.yml").write_text(json.dumps({"targets": [entry]}))
        yield leaf, f"--config.file={tmp_path / 'expiry.yml'}"


@pytest.mark.parametrize("revoked", [True, False])
def test_check_and_forecast_wait_for_the_list(
    web: WebServer, configured: tuple[Minted, str], capsys: pytest.CaptureFixture[str], revoked: bool
) -> None:
    """
    A certificate that is on it is refused, and one that is not is fine.
    """
    leaf, config = configured
    now = time.time()
    serials: Sequence[int] = [leaf.certificate.serial_number] if revoked else []
    web.pages[LIST] = Page(
        revocation_list(
            issuer_of(leaf), dict.fromkeys(serials), this_update=now - DAY, next_update=now + 6 * DAY
        )
    )
    code, output, _ = command(capsys, "check", config)
    assert code == (2 if revoked else 0)
    (line,) = [line for line in output.splitlines() if "  leaf  " in line]
    assert ("says that the certificate is revoked" in line) == revoked
    assert line.endswith("  fine") != revoked
    code, output, errors = command(capsys, "forecast", config, "--days", "10")
    assert (code, errors) == (0, "")
    assert ("ExpiryNotTrusted" in output) == revoked


def test_check_and_forecast_say_that_there_was_no_list(
    configured: tuple[Minted, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Status 3: what was asked for was not checked.
    """
    _, config = configured
    code, output, _ = command(capsys, "check", config)
    assert code == 3
    assert "revocation is not known from its list: http_failed: " in output
    assert "  fine" not in output
    code, output, _ = command(capsys, "check", config, "--output", "json")
    document = json.loads(output)
    assert (code, document["level"]) == (3, "unknown")
    (finding,) = document["endpoints"][0]["findings"]
    assert (finding["level"], finding["words"].split(": ")[1]) == ("unknown", "http_failed")
    code, _, errors = command(capsys, "forecast", config)
    assert code == 3
    assert "revocation is not known from its list: http_failed: " in errors
