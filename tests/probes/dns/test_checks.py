"""
`dns_checks`: what DNS says of the names on a certificate, from a real web server and a real name server.
"""

import asyncio
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from exporter.demo.minter import Minted, root
from exporter.engine.monitor import Monitor
from exporter.engine.scrape import EndpointRow
from exporter.lookups.dns import are_to_be_checked, checks
from exporter.lookups.dns_checking import NAMES_LIMIT, QUERIES_AT_A_TIME, UNASKED_AGAIN_AFTER, check
from exporter.model.observation import Facts
from exporter.model.policies import BUILT_IN, Match
from exporter.model.proxies import parse_proxy
from exporter.model.reasons import Fault, Hazard, Lookup, Reason
from exporter.model.targets import Target
from exporter.model.urls import parse_url
from exporter.net.background import LookupFailedError, LookupState
from exporter.net.dns import Resolution, ResolutionError
from exporter.pki.certificates import certificate
from exporter.probes.dependencies import Dependencies
from exporter.report.status import Level
from tests.golden import values
from tests.golden.values import status_of
from tests.probes.dns.asking import DAY, ONE, facts, held, look, looks_until, name_servers
from tests.probes.tls.wire import probing
from tests.support.certificates import NOW
from tests.support.name_servers import Zone
from tests.support.servers import Server, Site, nginx

if TYPE_CHECKING:
    from exporter.net.network import Network
    from exporter.pki.authorities import Authorities

NAMES = ("www.example.test", "shop.example.test")
ALIVE = f"@ NS ns1\nns1 A {ONE}\nwww A {ONE}\nshop AAAA 2001:db8::1"


@pytest.fixture(scope="module")
def issuer() -> Minted:
    """
    A CA that calls itself as a large one does.
    """
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Let's Encrypt"),
            x509.NameAttribute(NameOID.COMMON_NAME, "E0"),
        ]
    )
    return root(name, not_before=NOW - 900 * DAY, not_after=NOW + 900 * DAY)


@pytest.fixture(scope="module")
def leaf(issuer: Minted) -> Minted:
    """
    A certificate for NAMES.
    """
    return issuer.issue("www.example.test", NAMES)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, leaf: Minted) -> Iterator[Server]:
    """
    A web server with `leaf`.
    """
    with nginx(tmp_path_factory.mktemp("web"), Site([[leaf]])) as running:
        yield running


def key_digest(minted: Minted) -> str:
    """
    SHA-256 of the public key, as TLSA records have it with selector 1.
    """
    key = minted.certificate.public_key()
    return sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def zone(records: Sequence[str] = (), *, alive: str = ALIVE, signed: bool = True) -> Zone:
    """
    The zone of NAMES with these records in it, signed now.
    """
    now = time.time()
    return Zone(
        "example.test", "\n".join([alive, *records]), signed=(now - DAY, now + 10 * DAY) if signed else None
    )


def target(server: Server, port: int, **settings: Any) -> Target:
    """
    A target that is checked, with the name server at this port.
    """
    one = probing.target(server, server_name=NAMES[0])
    # What this issuer would say of renewals is not asked: it is not what the certificate says it is.
    return replace(one, dns_checks=True, dns_servers=((ONE, port),), renewal_information=False, **settings)


def told(found: Facts) -> list[str]:
    """
    Faults and hazards that the look added.
    """
    return [*(str(one.fault) for one in found.faults), *(str(one.hazard) for one in found.hazards)]


def bad(server: Server, tmp_path: Path, one: Zone) -> tuple[list[str], str]:
    """
    What is told once something is, with the sentences.
    """
    with name_servers(tmp_path, [one]) as port:
        first, found = looks_until(port, target(server, port), lambda one: bool(one.faults or one.hazards))
    assert told(first) == [], "the first look waits for nobody"
    assert [item.name for item in found.items] == [item.name for item in first.items]
    details = [one.detail for one in found.faults] + [one.detail for one in found.hazards]
    return told(found), " / ".join(details)


def unasked(server: Server, port: int) -> Target:
    """
    A target that says nothing about checks.
    """
    return replace(target(server, port), dns_checks=None)


def test_public_issuers_are_checked_unasked(server: Server, tmp_path: Path) -> None:
    """
    CAA, and a name that does not exist; TLSA records only for those who ask.
    """
    alive = f"@ NS ns1\nns1 A {ONE}\nwww A {ONE}"
    one = zone(
        ['@ CAA 0 issue "digicert.com"', f"_{server.port}._tcp.www TLSA 3 1 1 {'00' * 32}"], alive=alive
    )
    with name_servers(tmp_path, [one]) as port:
        _, found = looks_until(port, unasked(server, port), lambda one: bool(one.hazards))
    assert told(found) == [Hazard.CAA_FORBIDS_ISSUER, Hazard.NAME_NOT_RESOLVING]


def test_the_default_is_rationed_and_asks_nothing_about_private_issuers() -> None:
    """
    Every six hours; never of a certificate whose issuer is no public one, nor through a proxy, nor when off.
    """
    issuers = {"Let's Encrypt": True, "Example Internal CA": False}
    for organization, is_asked in issuers.items():
        leaf = values.certificate(issuer=organization)
        look = values.facts(leaf)
        one = values.target(dns_checks=None)
        assert are_to_be_checked(look, one) == is_asked
    look = values.facts(values.certificate(issuer="Let's Encrypt"))
    for one in (
        values.target(dns_checks=False),
        values.target(proxy=parse_proxy("http://proxy.example.com:3128")),
    ):
        assert not are_to_be_checked(look, one)
    # One look-up for all targets with the certificate.
    shared = Asked()
    for name in ("https://a.example.com", "https://b.example.com"):
        checks(look, values.target(name), cast("Network", shared), cast("Authorities", None))
    assert len(set(shared.keys)) == 1
    assert UNASKED_AGAIN_AFTER >= 6 * 3600


LOG = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2"), b"\x04\x00")


def policies(*oids: str) -> x509.CertificatePolicies:
    """
    An extension with these certificate policies.
    """
    return x509.CertificatePolicies(
        [x509.PolicyInformation(x509.ObjectIdentifier(oid), None) for oid in oids]
    )


@pytest.mark.parametrize(
    ("extension", "is_asked"),
    [
        (LOG, True),
        (policies("2.23.140.1.2.1"), True),
        (policies("1.2.3.4", "2.23.140.1.2.2"), True),
        (policies("2.23.140.1.1"), True),
        (policies("1.2.3.4", "2.23.140.1.3"), False),
        (policies("2.5.29.32.0"), False),
    ],
)
def test_a_public_issuer_is_known_by_its_certificates(extension: x509.ExtensionType, is_asked: bool) -> None:
    """
    Whatever it is called: those are in public logs, or keep the rules for public ones.
    """
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Some Regional Authority")])
    above = root(name, not_before=NOW - 900 * DAY, not_after=NOW + 900 * DAY)
    one = certificate(above.issue("www.example.test", NAMES, extensions=[(extension, False)]).der)
    assert are_to_be_checked(values.facts(one), values.target()) == is_asked


@pytest.mark.parametrize(
    ("settings", "issuer", "is_asked"),
    [
        ({"policy": BUILT_IN["acme"]}, "CN=CA,O=Example", True),
        ({"matches": (Match(BUILT_IN["acme"], issuers=("*O=Example*",)),)}, "CN=CA,O=Example", True),
        ({}, "CN=E0,O=(STAGING) Let's Encrypt", True),
        ({"policy": BUILT_IN["step"]}, "CN=CA,O=Example", False),
        ({}, "CN=CA,O=Example", False),
    ],
)
def test_what_is_renewed_by_acme_is_checked_unasked(
    settings: dict[str, Any], issuer: str, is_asked: bool
) -> None:
    """
    Whoever issues it looks the names up. Its policy or its issuer says so; nothing is asked of a stored one.
    """
    look = values.facts(values.certificate(issuer=issuer))
    stored = replace(look, chains=tuple(replace(one, presented=False) for one in look.chains))
    one = values.target(**settings)
    for seen, told in ((look, is_asked), (stored, False)):
        assert are_to_be_checked(seen, one) == told


class Asked:
    """
    Look-ups that are only counted.
    """

    def __init__(self) -> None:
        self.lookups = self
        self.keys: list[object] = []

    def hear(self, key: object, *_: object) -> LookupState:
        """
        Nothing is known yet, and the look-up failed.
        """
        self.keys.append(key)
        return LookupState(None, LookupFailedError(Reason.DNS_FAILED, "words"))


def test_a_failed_look_up_that_nobody_asked_for_is_no_news() -> None:
    """
    A host without public DNS is not told of it each minute.
    """
    look = values.facts(values.certificate(issuer="Let's Encrypt"))
    unasked_for, asked_for = values.target(), values.target(dns_checks=True)
    network, nobody = cast("Network", Asked()), cast("Authorities", None)
    assert checks(look, unasked_for, network, nobody) == look
    assert [one.lookup for one in checks(look, asked_for, network, nobody).unanswered] == [Lookup.DNS]


def test_a_caa_record_for_another_authority_is_told(server: Server, tmp_path: Path) -> None:
    """
    The next certificate of this issuer will be refused: the zone permits another.
    """
    names, words = bad(server, tmp_path, zone(['@ CAA 0 issue "digicert.com"']))

    assert names == [Hazard.CAA_FORBIDS_ISSUER]
    assert "Let's Encrypt issued this certificate and may not issue the next one" in words
    assert "shop.example.test, www.example.test: CAA records permit only digicert.com" in words


def test_the_nearest_caa_records_count(server: Server, tmp_path: Path) -> None:
    """
    Records of the name itself go before those of the zone (RFC 8659 section 3).
    """
    permitted = '@ CAA 0 issue "letsencrypt.org"'
    names, words = bad(server, tmp_path, zone([permitted, 'shop CAA 0 issue ";"']))

    assert names == [Hazard.CAA_FORBIDS_ISSUER]
    assert "for shop.example.test: CAA records permit nobody" in words


def test_an_answer_that_is_too_long_for_udp_is_read(server: Server, tmp_path: Path) -> None:
    """
    It is asked for again over TCP.
    """
    many = [f'@ CAA 0 issue "authority-{number:02}-{"x" * 50}.example"' for number in range(40)]
    names, words = bad(server, tmp_path, zone(many))

    assert names == [Hazard.CAA_FORBIDS_ISSUER]
    assert "and 37 more" in words


def test_a_name_that_does_not_exist_is_told(server: Server, tmp_path: Path) -> None:
    """
    A name that was taken out of DNS makes the next renewal fail.
    """
    alive = ALIVE.replace("shop AAAA 2001:db8::1", "")
    names, words = bad(server, tmp_path, zone(alive=alive))

    assert names == [Hazard.NAME_NOT_RESOLVING]
    assert "also for shop.example.test, and DNS says of shop.example.test: it does not exist" in words


def test_a_name_without_an_address_is_told(server: Server, tmp_path: Path) -> None:
    """
    A name with other records only can't be reached.
    """
    alive = ALIVE.replace("shop AAAA 2001:db8::1", "shop TXT text")
    names, words = bad(server, tmp_path, zone(alive=alive))

    assert names == [Hazard.NAME_NOT_RESOLVING]
    assert "it has no address" in words


def test_no_more_names_than_the_limit_are_looked_up(
    issuer: Minted, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """
    Of two names that do not exist, the last that is looked up is told, the first behind it is not.
    """
    alive = [f"n{number}" for number in range(NAMES_LIMIT - 2)]
    names = ["www", *alive, "last", "behind"]
    many = issuer.issue("www.example.test", [f"{name}.example.test" for name in names])
    records = [f"{name} A {ONE}" for name in alive]
    with nginx(tmp_path_factory.mktemp("many"), Site([[many]])) as server:
        found, detail = bad(server, tmp_path, zone(records))
    assert found == [Hazard.NAME_NOT_RESOLVING]
    assert "last.example.test" in detail
    assert "behind.example.test" not in detail


def test_a_check_asks_little_at_a_time_and_ends(issuer: Minted, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A certificate names servers that are silent: its check takes no places from probes, and none for long.
    """
    names = [f"{number}.a.b.c.example.test" for number in range(NAMES_LIMIT)]
    leaf = certificate(issuer.issue("many", names).der)
    under_way, most, asked = 0, 0, 0

    class Silent:
        async def ask(self, _servers: object, name: str, _kind: str) -> None:
            nonlocal under_way, most, asked
            under_way, asked = under_way + 1, asked + 1
            most = max(most, under_way)
            await asyncio.sleep(0)
            under_way -= 1
            raise ResolutionError(Reason.DNS_TIMEOUT, f"nobody answers for {name}")

    network = cast("Network", SimpleNamespace(resolution=Silent()))
    one = Target(parse_url("https://www.example.test"), "one")
    with pytest.raises(LookupFailedError):
        asyncio.run(check([[leaf]], one, network))
    assert most == QUERIES_AT_A_TIME
    assert asked == 2 * NAMES_LIMIT
    monkeypatch.setattr("exporter.lookups.dns_checking.LONGEST", 0.0)
    with pytest.raises(LookupFailedError) as caught:
        asyncio.run(check([[leaf]], one, network))
    assert caught.value.reason is Reason.DNS_TIMEOUT
    assert "the names on the certificate took more than 0 s: not all were looked up" in caught.value.detail
    assert asked == 2 * NAMES_LIMIT


def test_an_alias_that_leads_nowhere_is_told(server: Server, tmp_path: Path) -> None:
    """
    The usual remains of a service that was ended.
    """
    alive = ALIVE.replace("shop AAAA 2001:db8::1", "shop CNAME gone")
    names, _ = bad(server, tmp_path, zone(alive=alive))

    assert names == [Hazard.NAME_NOT_RESOLVING]


def test_a_tlsa_record_of_the_old_key_is_told(server: Server, tmp_path: Path, issuer: Minted) -> None:
    """
    The certificate was renewed with a new key and the record was forgotten: mail servers refuse.
    """
    old = key_digest(issuer.issue("old", ["www.example.test"]))
    name = f"_{server.port}._tcp.www"
    names, words = bad(server, tmp_path, zone([f"{name} TLSA 3 1 1 {old}"]))

    assert names == [Fault.TLSA_MISMATCH]
    assert f"{name}.example.test announce another certificate or key (3 1 1 {old[:16]}...)" in words


def good(server: Server, tmp_path: Path, one: Zone, marker: str) -> None:
    """
    Asserts that nothing is told, once the check is known to be done: it tells that `marker` is dead.
    """
    with name_servers(tmp_path, [one]) as port:
        checked = target(server, port)
        _, found = looks_until(port, checked, lambda one: bool(one.hazards or one.faults))
    assert told(found) == [Hazard.NAME_NOT_RESOLVING]
    assert marker in found.hazards[0].detail


DEAD_SHOP = ALIVE.replace("shop AAAA 2001:db8::1", "")
"""In a check of which this is all that is told, all else was found well."""


@pytest.mark.parametrize(
    "records",
    [
        ['@ CAA 0 issue "digicert.com"', '@ CAA 0 issue "letsencrypt.org; accounturi=https://a.example/1"'],
        ['@ CAA 0 iodef "mailto:a@example.test"'],
        ['@ CAA 0 issuewild "digicert.com"'],
        ["_{port}._tcp.www TLSA 3 1 1 {old}", "_{port}._tcp.www TLSA 3 1 1 {new}"],
        ["_{port}._tcp.www TLSA 3 0 1 {whole}"],
        ["_{port}._tcp.www TLSA 255 1 1 {old}"],
    ],
)
def test_what_is_permitted_or_announced_is_not_told(
    server: Server, leaf: Minted, issuer: Minted, tmp_path: Path, records: list[str]
) -> None:
    """
    One permission among several is enough, and so is one record that fits.
    """
    known = {
        "port": str(server.port),
        "old": key_digest(issuer.issue("old", ["www.example.test"])),
        "new": key_digest(leaf),
        "whole": sha256(leaf.der).hexdigest(),
    }
    good(server, tmp_path, zone([one.format_map(known) for one in records], alive=DEAD_SHOP), "shop")


def test_tlsa_records_that_nobody_can_verify_mean_nothing(
    server: Server, issuer: Minted, tmp_path: Path
) -> None:
    """
    In a zone without DNSSEC no client looks at them (RFC 6698 section 4.1).
    """
    old = key_digest(issuer.issue("old", ["www.example.test"]))
    record = f"_{server.port}._tcp.www TLSA 3 1 1 {old}"
    good(server, tmp_path, zone([record], alive=DEAD_SHOP, signed=False), "shop")


def test_an_issuer_that_is_not_known_is_not_judged(
    tmp_path: Path, ca: Minted, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """
    What a private authority calls itself in CAA records can't be known.
    """
    private = ca.issue("www.example.test", NAMES)
    with nginx(tmp_path_factory.mktemp("private"), Site([private.chain])) as server:
        good(server, tmp_path, zone(['@ CAA 0 issue "digicert.com"'], alive=DEAD_SHOP), "shop")


async def test_name_servers_that_do_not_answer_change_nothing(server: Server) -> None:
    """
    The look itself is not delayed, sees what it sees, and nothing is claimed of the names.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind((ONE, 0))
        one = target(server, silent.getsockname()[1])
        network = Dependencies(asyncio.get_running_loop())
        asking = Resolution(network.loop, one_try=0.1)
        network.resolution = asking
        watch = Monitor(network, 8, time.time)
        known = network.lookups
        try:
            async with asyncio.timeout(10):
                while not any(known.failure(key) for key in known._entries):
                    assert told(held(await watch.probe(one, 10.0))) == []
                    await asyncio.sleep(0.02)
            failed = next(known.failure(key) for key in known._entries)
        finally:
            network.close()
    assert failed is not None
    assert failed.reason is Reason.DNS_TIMEOUT


def looked(one: Target, one_try: float) -> EndpointRow:
    """
    What a process sees that looks once, and waits so many seconds for each answer of a name server.
    """

    async def run() -> EndpointRow:
        network = Dependencies(asyncio.get_running_loop())
        network.resolution = Resolution(network.loop, one_try=one_try)
        try:
            (row,) = (await Monitor(network, 8, time.time).look_once([one], 10.0)).endpoints
            return row
        finally:
            network.close()

    return asyncio.run(run())


def test_one_look_is_enough_to_see_a_hazard(server: Server, tmp_path: Path) -> None:
    """
    A process that ends then waits for what it asked.
    """
    with name_servers(tmp_path, [zone(['@ CAA 0 issue "digicert.com"'])]) as port:
        row = looked(target(server, port), 2.0)
    assert row.held.facts is not None
    assert told(row.held.facts) == [Hazard.CAA_FORBIDS_ISSUER]
    assert row.held.facts.unanswered == ()


def test_without_any_answer_it_is_not_known_what_dns_says(server: Server) -> None:
    """
    It was asked for, and it was not checked.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind((ONE, 0))
        row = looked(target(server, silent.getsockname()[1]), 0.1)
    (finding,) = [one for one in status_of(row, time.time()).findings if "DNS" in one.words]
    assert finding.level is Level.UNKNOWN
    assert finding.words.startswith(
        "what DNS says of its names is not known: dns_timeout: name server 127.0.0.1"
    )


def test_a_question_among_many_without_an_answer_is_told(server: Server, tmp_path: Path) -> None:
    """
    What the others gave stands: the server has one zone only, and refuses to say anything of another name.
    """
    other = Zone("www.example.test", f"@ NS ns1\nns1 A {ONE}\n@ A {ONE}", signed=None)
    with name_servers(tmp_path, [other]) as port:
        row = looked(target(server, port), 2.0)
    assert row.held.facts is not None
    (failed,) = row.held.facts.unanswered
    assert (failed.lookup, failed.reason, failed.stands) == (Lookup.DNS, Reason.DNS_FAILED, True)
    assert [one.level for one in status_of(row, time.time()).findings if failed.detail in one.words] == [
        Level.OK
    ]


def test_nothing_is_asked_unless_it_is_set(server: Server, tmp_path: Path) -> None:
    """
    Without `dns_checks` the facts are those of the handshake.
    """
    with name_servers(tmp_path, [zone(['@ CAA 0 issue "digicert.com"'])]) as port:
        (seen,) = look(port, replace(target(server, port), dns_checks=False)).looks

    assert told(facts(seen)) == []
