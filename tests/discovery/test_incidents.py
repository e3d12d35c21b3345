"""
Incidents whose first cause was a list: a source would have found what ran out, long enough before.

Each is built as its source meets it, by a real server, a zone or files as a program writes them. The one
service that can't run here, a log of certificates, is a fake.
"""

import asyncio
import contextlib
import ipaddress
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.config.reader import parse
from exporter.demo.minter import Minted
from exporter.discovery import MODULES, listening, source
from exporter.discovery.runner import Discovery
from exporter.engine.monitor import Monitor
from exporter.engine.scrape import Scrape
from exporter.model.coverage import Rules
from exporter.model.errors import ProbeError
from exporter.model.hosts import IPAddress
from exporter.model.policies import DAY
from exporter.model.reasons import Reason
from exporter.probes.dependencies import Dependencies
from tests.discovery.test_certificate_transparency import crt_sh
from tests.discovery.test_service import until
from tests.replay.incidents import FILE
from tests.support.certificates import NOW, authority, write_pair
from tests.support.name_servers import Zone
from tests.support.name_servers import write as write_zone
from tests.support.readme import MANUAL
from tests.support.resolvers import asks
from tests.support.servers import Server, Site, haproxy, nginx
from tests.support.web_server import Page, web_server

END = NOW + 100 * DAY
"""When what ran out in an incident ends."""

GONE = "unused.bazel.example"


@dataclass(frozen=True, slots=True)
class Situation:
    """
    What is there before an incident.
    """

    configuration: str
    """What a person wrote: no more than where to look."""
    target: str
    """The name of the target that runs out; of an incident with `names`, that name."""
    problem: str = ""
    """What is the matter with it in time; empty where the place itself can't be built here."""


Build = Callable[[Path], contextlib.AbstractContextManager[Situation]]

BUILDERS: dict[str, Build] = {}


def situation(incident: str) -> Callable[[Callable[[Path], Iterator[Situation]]], Build]:
    """
    Registers the builder of an incident's situation.
    """

    def register(builder: Callable[[Path], Iterator[Situation]]) -> Build:
        BUILDERS[incident] = contextlib.contextmanager(builder)
        return BUILDERS[incident]

    return register


def ending(*names: str, lifetime: float = 365 * DAY, end: float = END) -> list[Minted]:
    """
    A certificate for these names that ends then, with its chain.
    """
    ca = authority()
    return list(ca.issue(names[0], names, not_before=end - lifetime, not_after=end).chain)


def renewed(chain: list[Minted]) -> Minted:
    """
    A later certificate for the same, as its issuer gave it in time.
    """
    old, ca = chain[0], authority()
    names = [str(name) for name in old.certificate.subject.rfc4514_string().removeprefix("CN=").split()]
    return ca.issue(names[0], names, not_before=END - 40 * DAY, not_after=END + 50 * DAY)


@situation("lms-2023")
def lms(directory: Path) -> Iterator[Situation]:
    """
    A bought certificate on one of several sites of an nginx.
    """
    sites = [
        Site([ending("www.example", end=END + 300 * DAY)], "www.example"),
        Site([ending("lms.example")], "lms.example"),
    ]
    with nginx(directory, *sites) as server:
        yield Situation(
            f"discover: [{{web_servers: {directory}/nginx.conf, policy: manual}}]",
            f"lms.example on {server.authority}",
            "soon",
        )


@situation("epic-2021")
def epic(directory: Path) -> Iterator[Situation]:
    """
    A wildcard on an internal service that stands in no inventory.
    """
    with nginx(directory, Site([ending("*.internal.example")]), host="127.0.0.3") as server:
        yield in_a_network(server, "www.internal.example")


def in_a_network(server: Server, name: str) -> Situation:
    """
    A service at an address that nobody wrote down.
    """
    networks = f"{{cidr: 127.0.0.0/28, ports: [{server.port}], rate: 1000}}"
    target = f"{name} on {server.authority}"
    return Situation(f"discover: [networks: {networks}]", target, "renewal_overdue")


@situation("equifax-2017")
def equifax(directory: Path) -> Iterator[Situation]:
    """
    A device that inspects traffic: nothing breaks when its certificate ends.
    """
    with nginx(directory, Site([ending("inspection.example")]), host="127.0.0.5") as server:
        yield in_a_network(server, "inspection.example")


@situation("linkedin-2019")
def linkedin(_: Path) -> Iterator[Situation]:
    """
    A side domain, whose certificates are in public logs. Their service is a fake.
    """

    class Everywhere(dict[str, Page]):
        """
        The same answer to every query.
        """

        def get(self, *_: Any) -> Page:
            found = [crt_sh("links.side.example", "side.example", end="2027-06-01T00:00:00")]
            return Page(json.dumps(found).encode())

    with web_server() as logs:
        logs.pages = Everywhere()
        settings = f"{{domains: side.example, url: {logs.url('/')!r}}}"
        yield Situation(f"discover: [certificate_transparency: {settings}]", "https://links.side.example")


@situation("github-2020")
def github(directory: Path) -> Iterator[Situation]:
    """
    The main site is watched. Its certificate names the host of the assets, which is served elsewhere.
    """
    with nginx(directory, Site([ending("www.hub.example", "assets.hub.example")])) as server:
        yield Situation(f"targets: ['tls://{server.authority}']", "assets.hub.example", "unwatched")


@situation("bazel-2025")
def bazel(directory: Path) -> Iterator[Situation]:
    """
    A certificate with many names, one of which left the DNS: its renewal will fail.
    """
    with nginx(directory, Site([ending("www.bazel.example", GONE, lifetime=90 * DAY)])) as server:
        yield Situation(f"targets: ['tls://{server.authority}']", GONE)


@situation("cdc-2023")
def cdc(directory: Path) -> Iterator[Situation]:
    """
    A certificate that a Postfix shows to another's service.
    """
    certificate, _ = write_pair(directory, "client", ending("reports.example"))
    (directory / "postfix").mkdir()
    (directory / "postfix/main.cf").write_text(
        f"smtp_tls_cert_file = {certificate}\nsmtp_tls_key_file = $smtp_tls_cert_file\n"
    )
    (directory / "postfix/master.cf").write_text("smtp inet n - y - - smtpd\n")
    yield Situation(
        f"discover: [web_servers: {directory}/postfix]", f"file://{certificate}", "renewal_overdue"
    )


@situation("voice-2021")
def voice(directory: Path) -> Iterator[Situation]:
    """
    A front end on a port that is not the web's, on this host.
    """
    with nginx(directory, Site([ending("sip.example")])) as server, pytest.MonkeyPatch.context() as patch:
        real = listening.listening

        def this_one(proc: Path, _: dict[str, None]) -> Iterator[listening.Socket]:
            # Whatever else listens on the host of the tests is left alone.
            return (one for one in real(proc, {}) if one.port == server.port and not one.place)

        patch.setattr(listening, "listening", this_one)
        yield Situation(
            "discover: [listening: true]", f"sip.example on {server.authority}", "renewal_overdue"
        )


def zone_file(directory: Path, name: str, records: str, server: Server) -> str:
    """
    A configuration with a zone in a file.
    """
    file = directory / write_zone(directory, Zone(name, f"@ NS ns1\nns1 A 127.0.0.9\n{records}"))
    return f"discover: [zone: {{name: {name}, file: {file}, ports: [{server.port}], rate: 1000}}]"


@situation("prow-2021")
def prow(directory: Path) -> Iterator[Situation]:
    """
    A managed certificate on a host of a zone.
    """
    with nginx(directory, Site([ending("prow.k8s.example", lifetime=90 * DAY)])) as server:
        text = zone_file(directory, "k8s.example", "prow A 127.0.0.1\n", server)
        yield Situation(text, f"tls://prow.k8s.example:{server.port}", "renewal_overdue")


@situation("hachyderm-2023")
def hachyderm(directory: Path) -> Iterator[Situation]:
    """
    Copies on the nodes of a content network, each a name of the zone.
    """
    with nginx(directory, Site([ending("media.fedi.example", lifetime=90 * DAY)])) as server:
        records = "node1 A 127.0.0.9\nnode2 A 127.0.0.1\nmedia CNAME node2\n"
        text = zone_file(directory, "fedi.example", records, server)
        yield Situation(text, f"tls://media.fedi.example:{server.port}", "renewal_overdue")


@situation("gocardless-2020")
def gocardless(directory: Path) -> Iterator[Situation]:
    """
    An internal service whose file was renewed, and which was not told.
    """
    chain = ending("vault.example")
    with haproxy(directory, chain) as server:
        (directory / "haproxy-0.bundle").write_bytes(renewed(chain).chain_pem)
        text = f"discover: [web_servers: {directory}/haproxy.cfg]"
        yield Situation(text, f"vault.example on {server.authority}", "not_deployed")


@situation("veres-2018")
def veres(directory: Path) -> Iterator[Situation]:
    """
    Certbot renewed, and the server, which somebody watches, was not reloaded.
    """
    chain = ending("veres.example", lifetime=90 * DAY)
    live = directory / "letsencrypt/live/veres.example"
    live.mkdir(parents=True)
    (live / "fullchain.pem").write_bytes(renewed(chain).chain_pem)
    with nginx(directory, Site([chain], "veres.example")) as server:
        name = f"tls://{server.authority}"
        by_hand = f"targets: [{{url: '{name}', server_name: veres.example}}]"
        yield Situation(f"{by_hand}\ndiscover: [stores: {directory}/letsencrypt]", name, "not_deployed")


@situation("phacility-2017")
def phacility(directory: Path) -> Iterator[Situation]:
    """
    A wildcard that was replaced on all load balancers of the inventory but one.
    """
    chain = ending("*.phab.example")
    for name in ("one", "two"):
        (directory / name).mkdir()
    with (
        nginx(directory / "one", Site([renewed(chain).chain])) as new,
        nginx(directory / "two", Site([chain])) as old,
    ):
        servers = [f"tls://{one.authority}" for one in (new, old)]
        (directory / "balancers.json").write_text(json.dumps([{"targets": servers}]))
        yield Situation(f"discover: [files: {directory}/balancers.json]", servers[1], "not_deployed")


ROWS = {row["id"]: row for row in yaml.safe_load(FILE.read_text("utf-8")) if "found_by" in row}


def look_up(host: str, _: int) -> tuple[IPAddress, ...]:
    """
    Stands for the system's resolver.
    """
    if host == GONE:
        raise ProbeError(Reason.DNS_NOT_FOUND, "gone")
    return (ipaddress.ip_address("127.0.0.1"),)


async def looked(text: str, directory: Path, now: float) -> Scrape:
    """
    One scrape at this time of all that an exporter with this configuration knows of by then.
    """
    loop = asyncio.get_running_loop()
    network = Dependencies(loop, lambda: now)
    asks(network, look_up)
    discovery = Discovery(network, parse(text.encode(), str(directory / "expiry.yml"), {}))
    try:
        discovery.start()
        await until(lambda: not discovery.pending)
        assert all(feed.success for feed in discovery.feeds.values()), [
            one.failure for one in discovery.feeds.values()
        ]
        monitor = Monitor(network, 50, lambda: now)
        return await monitor.look_once(discovery.targets, 20.0, Rules(alert=True, private=True))
    finally:
        await discovery.close()
        network.close()


def test_each_incident_of_the_inventory_is_built() -> None:
    """
    By a source that there is, or by the names on certificates.
    """
    assert ROWS.keys() == BUILDERS.keys()
    assert len(ROWS) == 13
    assert {row["found_by"] for row in ROWS.values()} <= {*MODULES, "names"}


@pytest.mark.parametrize("incident", BUILDERS)
def test_what_ran_out_is_found_in_time(incident: str, tmp_path: Path) -> None:
    """
    As long before the outage as its first alert must come, the place is a target, and its problem is told.
    """
    row = ROWS[incident]
    lead = float(row["lead"].removesuffix("d")) * DAY
    with BUILDERS[incident](tmp_path) as built:
        scrape = asyncio.run(looked(built.configuration, tmp_path, END - lead))
    found, told = {one.target.name: one.target for one in scrape.targets}, set()
    for one in scrape.problems:
        told.add((one.found.onset.known.target.name, str(one.found.onset.problem)))
    coverage = scrape.coverage
    match row["found_by"]:
        case "names" if built.problem:
            assert [gap.name for gap in coverage.hosts if gap.name == built.target]
            assert built.problem in {problem for _, problem in told}
        case "names":
            assert [gap.name for gap in coverage.unresolved] == [built.target]
        case kind:
            # What comes up later is found that much later.
            assert source(kind).interval <= DAY < lead
            by_hand = built.configuration.startswith("targets")
            assert by_hand or found[built.target].source == kind
            assert not built.problem or (built.target, built.problem) in told


def test_the_manual_has_the_incidents() -> None:
    """
    Each with the source that would have found it.
    """
    chapter = (MANUAL / "discovery.md").read_text(encoding="utf-8")
    for row in ROWS.values():
        by = "names on certificates" if row["found_by"] == "names" else f"`{row['found_by']}`"
        assert f"| {row['name']}, {str(row['date'])[:4]} | {row['ended']} | {by} |" in chapter
