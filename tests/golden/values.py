"""
Values made by hand: certificates that nobody signed, targets, and what a look gave.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

from exporter.engine.covering import seen
from exporter.engine.lasting import problem_rows
from exporter.engine.memory import Memory
from exporter.engine.results import ProbeResult, TargetResult, seen_facts
from exporter.engine.scrape import EndpointRow, Scrape, TargetRow
from exporter.judgement.coverage import Coverage, coverage
from exporter.judgement.habit import Habits
from exporter.judgement.verdicts import Verdict, judge_facts, trustworthy
from exporter.model.errors import LeftOut
from exporter.model.observation import Certificate, Chain, Facts, FoundFault, Tls
from exporter.model.reasons import Fault
from exporter.model.targets import Target
from exporter.model.urls import parse_url
from exporter.pki.trust import Anchors
from exporter.probes.tls import refusals
from exporter.probes.tls.handshake import Seen
from exporter.report.exposition import Exposition, Samples
from exporter.report.inventory import Inventory
from exporter.report.status import Status
from tests.support.certificates import DAY, NOW

ADDRESS = "192.0.2.10:443"

TLS = Tls(
    "TLSv1.3", "TLS_AES_128_GCM_SHA256", "lms.example.com", client_certificate_requested=False, staple=None
)


def certificate(
    name: str = "lms.example.com",
    *,
    subject: str | None = None,
    issuer: str = "CN=Test Intermediate",
    begin: float = NOW - 15 * DAY,
    end: float = NOW + 75 * DAY,
    serial: str = "1a2b",
    key: str = "ecdsa-256",
    names: tuple[str, ...] | None = None,
    is_ca: bool = False,
) -> Certificate:
    """
    A certificate in values only; its fingerprint is the hash of what is said here.
    """
    subject = f"CN={name}" if subject is None else subject
    algorithm, _, bits = key.partition("-")
    der = repr((subject, issuer, begin, end, serial, key)).encode("utf-8", "backslashreplace")
    return Certificate(
        fingerprint_sha256=sha256(der).hexdigest(),
        der=der,
        subject=subject,
        issuer=issuer,
        issuer_organization=issuer,
        common_name=name,
        serial=serial,
        not_before=begin,
        not_after=end,
        key_algorithm=algorithm,
        key_bits=int(bits) if bits else None,
        signature_hash="sha256",
        dns_names=(name,) if names is None else names,
        ip_addresses=(),
        is_ca=is_ca,
        key_usage=frozenset({"keyCertSign"} if is_ca else {"digitalSignature"}),
        extended_key_usage=None,
        public_key_sha256=sha256(f"key {subject} {key}".encode("utf-8", "backslashreplace")).hexdigest(),
    )


def intermediate(
    *, begin: float = NOW - 365 * DAY, end: float = NOW + 4 * 365 * DAY, name: str = "Test Intermediate"
) -> Certificate:
    """
    A CA certificate between leaf and root.
    """
    return certificate(name, issuer="CN=Test Root", begin=begin, end=end, serial="10", names=(), is_ca=True)


def root() -> Certificate:
    """
    A CA certificate that issued itself.
    """
    return certificate(
        "Test Root",
        issuer="CN=Test Root",
        begin=NOW - 5 * 365 * DAY,
        end=NOW + 10 * 365 * DAY,
        serial="1",
        names=(),
        is_ca=True,
    )


def facts(*certificates: Certificate, key: str = "", tls: Tls = TLS) -> Facts:
    """
    What the probe makes of one handshake with this chain.
    """
    return refusals.facts(Seen(Chain(certificates, key), tls))


def target(url: str = "https://lms.example.com", **settings: Any) -> Target:
    """
    A target; its name is its URL unless the settings say another.
    """
    return Target(**{"url": parse_url(url), "name": url, **settings})


def faults(*found: Fault) -> tuple[FoundFault, ...]:
    """
    Faults, each with some words.
    """
    return tuple(FoundFault(one, f"words about {one}") for one in found)


def verdict(
    seen: Facts, of: Target, found: tuple[FoundFault, ...] = (), habits: Habits | None = None
) -> Verdict:
    """
    The verdict with deadlines as judged, and these faults.
    """
    judged = judge_facts(seen, of, Anchors(None), NOW, habits)
    shown = {chain.leaf.fingerprint_sha256 for chain in seen.chains if chain.presented}
    items = tuple(
        replace(
            one,
            trusted=trustworthy(found)
            if one.item.certificate is not None and one.item.certificate.fingerprint_sha256 in shown
            else None,
        )
        for one in judged.items
    )
    return Verdict(items, found, float("-inf"), float("inf"))


def status_of(row: EndpointRow, now: float) -> Status:
    """
    The status of an endpoint at this time, in a fleet of its own; its level is that in the list.
    """
    inventory = Inventory(Scrape((), (row,), (), 0.1, 9.5, complete=True, at=now))
    found, (listed,) = inventory.status(row, now), inventory.entries(now)
    assert listed.level is found.level
    return found


@dataclass(slots=True)
class Scene:
    """
    Targets with what was seen of them, through the real memory.
    """

    memory: Memory = field(default_factory=Memory)
    faults: dict[Target, tuple[FoundFault, ...]] = field(default_factory=dict)
    alert: bool = False
    """True: names that nobody watches are a problem."""

    def see(
        self,
        of: Target,
        *looks: ProbeResult,
        found: Iterable[Fault] = (),
        left_out: Sequence[LeftOut] = (),
        at: float = NOW,
        located: bool = True,
    ) -> "Scene":
        """
        The scene after a sweep gave these looks for the target.
        """
        self.faults[of] = faults(*found)
        self.memory.update(TargetResult(of, looks, located, tuple(left_out)), at)
        for held in self.memory.known(of).endpoints.values():
            found_now = seen_facts(held.observation)
            if not self.faults[of] and found_now is not None and found_now.presented:
                held.past.trusted_at = held.seen_at
        return self

    def rows(self) -> list[EndpointRow]:
        """
        The endpoints as they are exported.
        """
        rows = [
            EndpointRow(
                of,
                label,
                held,
                None if held.facts is None else verdict(held.facts, of, self.faults[of], held.past.habits),
            )
            for of in self.faults
            for label, held in self.memory.known(of).endpoints.items()
        ]
        names = coverage(list(self.faults), list(seen(rows))).problems if self.alert else {}
        return [replace(row, unwatched=names.get((row.target.name, row.label), ())) for row in rows]

    def coverage(self) -> Coverage:
        """
        What none of the targets looks at.
        """
        return coverage(list(self.faults), list(seen(self.rows())))

    def targets(self) -> list[TargetRow]:
        """
        The targets as they are exported.
        """
        return [TargetRow(of, "wire", len(self.memory.known(of).left_out)) for of in self.faults]

    def text(self, own: Samples | None = None, at: float = NOW) -> str:
        """
        The exposition of all targets at this time.
        """
        rows = self.rows()
        found = problem_rows(self.memory, self.faults, rows, at)
        return Exposition().text(self.targets(), rows, own or {}, found, at)
