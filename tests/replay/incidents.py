"""
Public incidents as scenarios: what the exporter would have seen before and after each outage.

Secrets and keystores stand here as files: an item is an item, wherever it was read.
`blackbox_exporter` sees only what stands on the wire.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from exporter.demo.minter import Minted, root
from exporter.judgement.verdicts import judge_facts
from exporter.lookups.merge import added
from exporter.lookups.tlsa import tlsa_mismatch
from exporter.model.observation import Facts, FoundFault, Observed
from exporter.model.policies import AUTOMATIC, DAY, HOUR, MANUAL, Policy
from exporter.model.reasons import Fault
from exporter.net.dns_records import Tlsa
from exporter.pki.trust import Anchors, TrustStore
from exporter.probes.domains.probe import DELEGATION_AGAIN
from exporter.probes.domains.registries import AGAIN_AFTER
from tests.replay import promtool
from tests.replay.promtool import Firing, Name
from tests.replay.timeline import (
    MINUTE,
    YEAR,
    Fleet,
    Place,
    anchor,
    domain,
    fleet,
    issuer,
    leaf,
    place,
    presented,
    record,
    served,
    signed,
    stapled,
    stored,
)

FILE = Path(__file__).with_name("incidents.yml")

NOT_ON_THE_WIRE = "can't look"
NOTHING = "nothing"
GONE = "nothing: series gone"

# An outage that is never at the moment of a scrape.
OUTAGE = 100 * DAY + 7 * MINUTE


@dataclass(frozen=True, slots=True)
class Incident:
    """
    A row of the file.
    """

    id: str
    name: str
    date: str
    ended: str
    lead: float
    """Seconds before the outage at which the first alert must have fired; 0: right after the fact."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """
    What happened, and what must be said about it.
    """

    fleet: Fleet
    alert: str
    severity: str
    title: str
    """A part of the first alert's title: the cause."""
    wire: Place | None
    """What a blackbox probe would have been pointed at; None when it stands in no reach of one."""
    outage: float = OUTAGE
    fixed: float | None = OUTAGE + DAY
    """When what ran out was replaced; None when it never was in the timeline."""
    interval: float = 12 * HOUR
    until: float = OUTAGE + 2 * DAY
    known_after: float = 0.0
    """Seconds from the outage to the next look at what is looked up now and then only."""
    then: str = "ExpiryPassed"
    """The alert that says from the outage on that it has happened."""
    handed_over: bool = False
    """True when the first alert is over with the outage, because `then` takes its place."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What was said.
    """

    scenario: Scenario
    firings: Mapping[Name, Firing]
    first: Name
    """The first alert with the name and severity that the scenario wants."""
    lead: float
    """Seconds from then to the outage."""
    title: str
    blackbox: str
    """What blackbox_exporter with static rules would have said at that time."""

    @property
    def earliest(self) -> float:
        """
        Seconds from the first alert of all to the outage.
        """
        return self.scenario.outage - min(firing.first for firing in self.firings.values())


def incidents() -> list[Incident]:
    """
    The rows of the file.
    """
    rows: list[dict[str, Any]] = yaml.safe_load(FILE.read_text("utf-8"))
    return [
        Incident(
            row["id"],
            row["name"],
            str(row["date"]),
            row["ended"],
            float(row["lead"].removesuffix("d")) * DAY,
        )
        for row in rows
    ]


@dataclass(frozen=True, slots=True)
class Replay:
    """
    What the alerts said of scenarios that happened beside one another.
    """

    scenarios: Mapping[str, Scenario]
    firings: Mapping[Name, Firing]
    alerts: Mapping[tuple[str, float], Sequence[promtool.Alert]]


def replay(scenarios: Mapping[str, Scenario], interval: float, until: float) -> Replay:
    """
    Let scenarios of one interval and duration happen beside one another, and see what the shipped alerts say.

    Each has an exporter of its own: the rules take nearly as long for one as for ten, and tell targets apart.
    """
    exporters = []
    for name, scenario in scenarios.items():
        (exporter,) = scenario.fleet.exporters
        exporter.instance = f"{name}:10119"
        exporters.append(exporter)
    targets = [place.target.name for exporter in exporters for place in exporter.places]
    assert len(set(targets)) == len(targets), "two incidents have a target of the same name"
    names = {one.alert for one in scenarios.values()}
    return Replay(scenarios, *promtool.told(record(Fleet(exporters), until, interval), *names))


def outcome(name: str, replay: Replay) -> Outcome:
    """
    What was said of the targets of a scenario, and of no target.
    """
    scenario, alerts = replay.scenarios[name], replay.alerts
    targets = {place.target.name for exporter in scenario.fleet.exporters for place in exporter.places}
    firings = {name: firing for name, firing in replay.firings.items() if name.target in {*targets, ""}}
    wanted = [name for name in firings if (name.alert, name.severity) == (scenario.alert, scenario.severity)]
    assert wanted, f"{scenario.alert} {scenario.severity} never fired, only {sorted(firings)}"
    first = min(wanted, key=lambda name: (firings[name].first, name))
    when = firings[first].first
    title = next(one.title for one in alerts[first.alert, when] if one.name == first)
    return Outcome(scenario, firings, first, scenario.outage - when, title, blackbox(scenario.wire, when))


def blackbox(place: Place | None, now: float) -> str:
    """
    What blackbox_exporter says with the usual static rules: less than 20 days, less than 3 days, expired.

    It looks at one address, IPv6 first, and takes the least end of what is presented. It verifies, so
    when a client would refuse the certificate its series is gone, and "expired" can never be said.
    """
    if place is None:
        return NOT_ON_THE_WIRE
    seen = place.see(now)
    if not isinstance(seen, Mapping):
        return GONE
    address = min(seen, key=lambda label: not label.startswith("["))
    observation = seen[address]
    if not isinstance(observation, Observed):
        return GONE
    anchors = Anchors(TrustStore.from_pem(anchor().pem))
    # It asks nobody but the server, and looks at certificates only.
    shown = replace(observation.facts, faults=())
    if judge_facts(shown, place.target, anchors, now).faults:
        return GONE
    left = min(one.not_after for chain in shown.chains for one in chain.certificates) - now
    if left < 3 * DAY:
        return "< 3 d"
    return "< 20 d" if left < 20 * DAY else NOTHING


def _predecessor(names: str | list[str]) -> tuple[float, Facts]:
    """
    What a timeline begins with that is longer than the life of the certificate it is about.
    """
    return 0.0, served(leaf(names, OUTAGE - 150 * DAY, 90 * DAY))


def _wire(url: str, name: str, lifetime: float, policy: Policy, alert: str, title: str) -> Scenario:
    """
    One server whose certificate nobody replaces in time.
    """
    fixed = OUTAGE + DAY
    old = leaf(name, OUTAGE - lifetime, lifetime)
    one = place(
        url,
        [_predecessor(name), (OUTAGE - lifetime, served(old)), (fixed, served(leaf(name, fixed, lifetime)))],
        policy=policy,
    )
    return Scenario(fleet(one), alert, "warning", title, one)


def _bought(name: str) -> Scenario:
    return _wire(f"https://{name}", name, 365 * DAY, MANUAL, "ExpirySoon", "somebody must renew it")


def _automatic(name: str, lifetime: float, url: str = "") -> Scenario:
    return _wire(
        url or f"https://{name}",
        name,
        lifetime,
        AUTOMATIC,
        "ExpiryRenewalOverdue",
        f"Renewal of the certificate for {name}",
    )


def _stored(name: str, lifetime: float = 2 * YEAR) -> Scenario:
    """
    A certificate that stands in a file, a Secret or a keystore, and that no handshake shows.
    """
    old = leaf(name, OUTAGE - lifetime, lifetime)
    one = place(f"file:///srv/{name}.pem", [(0, stored(old.pem))], policy=MANUAL)
    return Scenario(
        fleet(one),
        "ExpirySoon",
        "warning",
        f"Certificate for /srv/{name}.pem",
        None,
        fixed=None,
    )


def _undeployed(
    name: str, url: str, store: str, lifetime: float, renewed: float, policy: Policy = AUTOMATIC
) -> Scenario:
    """
    The renewed certificate lies in a store; the server still serves the old one.
    """
    begin = OUTAGE - lifetime
    old, new = leaf(name, begin, lifetime), leaf(name, renewed, lifetime)
    fixed = OUTAGE + DAY
    wire = place(url, [_predecessor(name), (begin, served(old)), (fixed, served(new))], policy=policy)
    before = leaf(name, OUTAGE - 150 * DAY, 90 * DAY)
    schedule = [(0.0, stored(before.pem)), (begin, stored(old.pem)), (renewed, stored(new.pem))]
    kept_there = place(store, schedule, policy=policy)
    return Scenario(
        fleet(wire, kept_there), "ExpiryNotDeployed", "warning", "was renewed but not deployed", wire
    )


def lms() -> Scenario:
    """
    A purchase that a person had to think of.
    """
    return _bought("lms.example.com")


def epic() -> Scenario:
    """
    One certificate on many services.
    """
    old = leaf("*.internal.example.com", OUTAGE - YEAR, YEAR)
    places = [
        place(f"https://service-{number}.internal.example.com", [(0, served(old))], policy=MANUAL)
        for number in range(12)
    ]
    return Scenario(
        fleet(*places), "ExpirySoon", "warning", "somebody must renew it", places[0], fixed=None, interval=DAY
    )


def equifax() -> Scenario:
    """
    Nobody noticed for 19 months.
    """
    scenario = _stored("inspection.example.com", YEAR)
    return Scenario(
        scenario.fleet,
        scenario.alert,
        scenario.severity,
        scenario.title,
        None,
        fixed=None,
        interval=3 * DAY,
        until=OUTAGE + 19 * 30 * DAY,
    )


def bazel() -> Scenario:
    """
    A name left the DNS, so the renewal of the certificate with all names failed.
    """
    used, unused = "bazel.example.com", "old.bazel.example.com"
    old = leaf([used, unused], OUTAGE - 90 * DAY, 90 * DAY)
    fixed = OUTAGE + 13 * HOUR
    before = [_predecessor([used, unused])]
    one = place(
        f"https://{used}",
        [*before, (OUTAGE - 90 * DAY, served(old)), (fixed, served(leaf(used, fixed, 90 * DAY)))],
    )
    other = place(
        f"https://{unused}",
        [*before, (OUTAGE - 90 * DAY, served(old))],
        unresolved=[(OUTAGE - 57 * DAY, float("inf"))],
    )
    return Scenario(
        fleet(one, other),
        "ExpiryRenewalOverdue",
        "warning",
        f"Renewal of the certificate for {used}",
        one,
        fixed=fixed,
    )


def prow() -> Scenario:
    """
    The IPv6 address belonged to somebody else, so validation failed.
    """
    name = "prow.example.com"
    old = leaf(name, OUTAGE - 90 * DAY, 90 * DAY)
    other = leaf("elsewhere.example.com", -DAY, 5 * YEAR)
    fixed = OUTAGE + DAY
    first: list[tuple[float, Facts]] = [
        _predecessor(name),
        (OUTAGE - 90 * DAY, served(old)),
        (fixed, served(leaf(name, fixed, 90 * DAY))),
    ]
    one = place(f"https://{name}", first, [(0, served(other))], addresses=["192.0.2.1", "2001:db8::1"])
    return Scenario(
        fleet(one), "ExpiryRenewalOverdue", "warning", f"Renewal of the certificate for {name}", one
    )


def hachyderm() -> Scenario:
    """
    The first tier was renewed; copies on two nodes of the second were not.
    """
    name = "media.example.com"
    old, new = leaf(name, OUTAGE - 90 * DAY, 90 * DAY), leaf(name, OUTAGE - 30 * DAY, 90 * DAY)
    start, renewed, fixed = OUTAGE - 90 * DAY, OUTAGE - 30 * DAY, OUTAGE + DAY
    good = [_predecessor(name), (start, served(old)), (renewed, served(new))]
    bad = [_predecessor(name), (start, served(old)), (fixed, served(new))]
    one = place(f"https://{name}", good, bad, good, bad)
    return Scenario(fleet(one), "ExpiryNotDeployed", "warning", f"{name} was renewed but not deployed", one)


def phacility() -> Scenario:
    """
    Rotated two weeks earlier, on all load balancers but one.
    """
    name = "secure.example.com"
    old, rotated = leaf(name, OUTAGE - YEAR, YEAR), OUTAGE - 14 * DAY
    new = leaf(name, rotated, YEAR)
    good = [(0.0, served(old)), (rotated, served(new))]
    bad = [(0.0, served(old)), (OUTAGE + DAY, served(new))]
    one = place(f"https://{name}", good, good, bad, policy=MANUAL)
    return Scenario(fleet(one), "ExpiryNotDeployed", "warning", f"{name} was renewed but not deployed", one)


def rollback() -> Scenario:
    """
    A rollback brought back a certificate that had ended, for 20 minutes.
    """
    name = "build.example.com"
    old, new = leaf(name, -95 * DAY, 90 * DAY), leaf(name, -20 * DAY, 90 * DAY)
    outage = 4 * HOUR + 30
    fixed = outage + 20 * MINUTE
    one = place(f"https://{name}", [(0, served(new)), (outage, served(old)), (fixed, served(new))])
    return Scenario(
        fleet(one),
        "ExpiryPassed",
        "critical",
        "an older one is served again",
        one,
        outage,
        fixed,
        MINUTE,
        fixed + 10 * MINUTE,
    )


def addtrust() -> Scenario:
    """
    The leaf was renewed under a chain that ended earlier than it.
    """
    name = "payments.example.com"
    old_root = anchor()
    cross = old_root.cross_sign(issuer(), not_before=-19 * YEAR, not_after=OUTAGE + 150 * DAY)
    outage = OUTAGE + 150 * DAY
    renewed, fixed = outage - 192 * DAY, outage + DAY
    before = leaf(name, renewed - 700 * DAY, 730 * DAY)
    after = leaf(name, renewed, 730 * DAY)
    one = place(
        f"https://{name}",
        [
            (0, served(before)),
            (renewed, presented(after, cross)),
            (fixed, served(after)),
        ],
        policy=MANUAL,
    )
    return Scenario(
        fleet(one),
        "ExpiryChainEndsBeforeLeaf",
        "warning",
        "before the leaf does",
        one,
        outage,
        fixed,
        DAY,
        fixed + DAY,
    )


def _authority(
    path: str, authority: Minted, outage: float, *others: Place, wire: Place | None = None
) -> Scenario:
    """
    A CA certificate in a file, and what depends on it.
    """
    one = place(f"file://{path}", [(0, stored(authority.pem))])
    return Scenario(
        fleet(one, *others),
        "ExpiryAuthorityEnding",
        "warning",
        f"of {path} expires in",
        wire,
        outage,
        None,
        DAY,
        outage + 2 * DAY,
    )


def dstx3() -> Scenario:
    """
    The root is a file of its own; leaves were renewed under an intermediate that ended with it.
    """
    outage = 400 * DAY + 7 * MINUTE
    name = "letters.example.com"
    cross = anchor().cross_sign(issuer(), not_before=-19 * YEAR, not_after=outage)
    issued = [60 * DAY * number for number in range(8)]
    one = place(
        f"https://{name}", [(begin, presented(leaf(name, begin, 90 * DAY), cross)) for begin in issued]
    )
    old_root = root("Letters Root", not_before=outage - 21 * YEAR, not_after=outage)
    return _authority("/etc/ssl/letters-root.pem", old_root, outage, one, wire=one)


def _chromecast() -> Scenario:
    outage = 400 * DAY + 7 * MINUTE
    above = root("Devices Root", not_before=outage - 20 * YEAR, not_after=outage + 10 * YEAR)
    intermediate = above.issue(
        "Devices Intermediate", ca=True, not_before=outage - 3650 * DAY, not_after=outage
    )
    return _authority("/srv/devices-ca.pem", intermediate, outage)


def marketo() -> Scenario:
    """
    Nobody renewed the domain. The registry moved its date by itself; the registrar took it out of the DNS.
    """
    fixed = OUTAGE + DAY
    terms = [
        (0.0, OUTAGE, ("client transfer prohibited",)),
        (OUTAGE, OUTAGE + YEAR, ("auto renew period", "client hold")),
        (fixed, OUTAGE + YEAR, ("client transfer prohibited",)),
    ]
    return Scenario(
        fleet(domain("example.com", terms)),
        "ExpiryDomainEnding",
        "warning",
        "Registration of the domain example.com expires in",
        None,
        interval=4 * HOUR,
        known_after=AGAIN_AFTER,
        then="ExpiryDomainStatus",
        handed_over=True,
    )


def zoom() -> Scenario:
    """
    The registry put the domain on hold by mistake, right after it was last asked: it vanished from the zone.
    """
    outage = DAY + 30
    terms = [
        (0.0, 2 * YEAR, ("active",)),
        (outage, 2 * YEAR, ("server hold",)),
        (outage + DAY, 2 * YEAR, ("active",)),
    ]
    return Scenario(
        fleet(domain("example.com", terms)),
        "ExpiryDomainStatus",
        "critical",
        "The registry takes the domain example.com away (domain_hold)",
        None,
        outage,
        outage + DAY,
        10 * MINUTE,
        outage + 2 * DAY,
        2 * DELEGATION_AGAIN,
        "ExpiryDomainStatus",
    )


def le_ocsp() -> Scenario:
    """
    Responses for seven days, made anew every three days, until the responder made no more.
    """
    name = "stapled.example.com"
    outage = 21 * DAY + 7 * MINUTE
    fixed = outage + DAY
    one = leaf(name, -10 * DAY, 90 * DAY)
    begins = [outage - 7 * DAY - 3 * DAY * number for number in range(6, -1, -1)] + [fixed]
    wire = place(f"https://{name}", [(begin, stapled(one, begin, begin + 7 * DAY)) for begin in begins])
    return Scenario(
        fleet(wire),
        "ExpirySignatureStale",
        "warning",
        f"ocsp signature staple of {name} is stale",
        wire,
        outage,
        fixed,
        3 * HOUR,
        fixed + DAY,
        then="ExpirySignatureStale",
    )


def quad1() -> Scenario:
    """
    Signatures for thirteen days, as the root zone has them, made anew daily; one server has an old zone.
    """
    outage = 21 * DAY + 7 * MINUTE
    fixed = outage + DAY
    days = [number * DAY for number in range(-2, 25)]
    good = [(day, signed(day, day + 13 * DAY)) for day in days]
    stale = [one for one in good if one[0] <= outage - 13 * DAY - DAY]
    stale += [
        (outage - 13 * DAY, signed(outage - 13 * DAY, outage)),
        (fixed, signed(fixed, fixed + 13 * DAY)),
    ]
    one = place(
        "dns:example.com",
        good,
        stale,
        good,
        addresses=[f"ns{number}.example.com (192.0.2.{number})" for number in (1, 2, 3)],
    )
    return Scenario(
        fleet(one),
        "ExpirySignatureStale",
        "warning",
        "dnssec signature dnssec of example.com is stale",
        None,
        outage,
        fixed,
        3 * HOUR,
        fixed + DAY,
        then="ExpirySignatureStale",
    )


def tlsa() -> Scenario:
    """
    A renewal came with a new key, and the TLSA record still announces the old one.
    """
    name = "mail.example.com"
    outage = 4 * HOUR + 30
    fixed = outage + 2 * HOUR
    old, new = served(leaf(name, -60 * DAY, 90 * DAY)), served(leaf(name, 0, 90 * DAY))
    records = {
        when: [Tlsa(3, 1, 1, bytes.fromhex(facts.chains[0].leaf.public_key_sha256))]
        for when, facts in ((0.0, old), (fixed, new))
    }
    wire = place(
        f"smtp://{name}",
        [
            (0.0, _announced(old, records[0.0])),
            (outage, _announced(new, records[0.0])),
            (fixed, _announced(new, records[fixed])),
        ],
    )
    return Scenario(
        fleet(wire),
        "ExpiryNotTrusted",
        "critical",
        f"Clients refuse {name}: tlsa_mismatch",
        wire,
        outage,
        fixed,
        MINUTE,
        fixed + HOUR,
        then="ExpiryNotTrusted",
    )


def _announced(facts: Facts, records: list[Tlsa]) -> Facts:
    """
    What a server shows, judged by these TLSA records.
    """
    announced = tlsa_mismatch(records, facts.chains[0].certificates)
    if announced is None:
        return facts
    return added(facts, faults=(FoundFault(Fault.TLSA_MISMATCH, f"announced: {announced}"),))


SCENARIOS: dict[str, Callable[[], Scenario]] = {
    "lms-2023": lms,
    "epic-2021": epic,
    "ericsson-2018": lambda: _stored("gateway.example.com"),
    "teams-2020": lambda: _stored("tokens.example.com"),
    "linkedin-2019": lambda: _automatic("short.example.net", 398 * DAY),
    "github-2020": lambda: _automatic("assets.example.net", 398 * DAY),
    "cdc-2023": lambda: _stored("client.example.com"),
    "equifax-2017": equifax,
    "bazel-2025": bazel,
    "voice-2021": lambda: _automatic("sip.example.com", 90 * DAY, "tls://sip.example.com:5061"),
    "prow-2021": prow,
    "hachyderm-2023": hachyderm,
    "azure-2013": lambda: _undeployed(
        "storage.example.com",
        "https://storage.example.com",
        "file:///srv/store/storage.pem",
        YEAR,
        OUTAGE - 40 * DAY,
    ),
    "gocardless-2020": lambda: _undeployed(
        "vault.example.com",
        "tls://vault.example.com:8200",
        "file:///srv/store/vault.pem",
        90 * DAY,
        OUTAGE - 30 * DAY,
    ),
    "veres-2018": lambda: _undeployed(
        "ledger.example.com",
        "https://ledger.example.com",
        "file:///srv/store/ledger.pem",
        90 * DAY,
        OUTAGE - 30 * DAY,
    ),
    "phacility-2017": phacility,
    "obs-2023": rollback,
    "cratesio-2016": lambda: _bought("crates.example.com"),
    "hexpm-2025": lambda: _automatic("packages.example.com", 90 * DAY),
    "raven-2020": lambda: _bought("learning.example.com"),
    "addtrust-2020": addtrust,
    "dstx3-2021": dstx3,
    "chromecast-2025": _chromecast,
    "oculus-2018": lambda: _stored("signing.example.com"),
    "vcenter-2020": lambda: _stored("sts.example.com", 730 * DAY),
    "marketo-2017": marketo,
    "zoom-2025": zoom,
    "le-ocsp-2016": le_ocsp,
    "quad1-2023": quad1,
    "tlsa": tlsa,
}
"""How each incident is replayed, by its id."""


def replayed(incident: str) -> Outcome:
    """
    The outcome of an incident, by its id; several tests may ask for it.
    """
    return outcome(incident, replays(*_times(incident)))


@functools.cache
def replays(interval: float, until: float) -> Replay:
    """
    The incidents with this interval and duration, all together.
    """
    alike = {name: make() for name, make in SCENARIOS.items() if _times(name) == (interval, until)}
    return replay(alike, interval, until)


@functools.cache
def _times(incident: str) -> tuple[float, float]:
    scenario = SCENARIOS[incident]()
    return scenario.interval, scenario.until
