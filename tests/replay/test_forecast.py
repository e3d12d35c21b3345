"""
The forecast of one look is what the shipped alerts really do when time passes and nothing is renewed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from exporter.demo.minter import root
from exporter.model.observation import Facts, FoundHazard, Item, Renewal
from exporter.model.policies import BY_KIND, DAY, HOUR, MANUAL
from exporter.model.reasons import Hazard, Kind
from exporter.report.forecast import Forecast, forecast
from tests.replay.promtool import Firing, Name, firings
from tests.replay.timeline import (
    MINUTE,
    YEAR,
    Exporter,
    Place,
    anchor,
    fleet,
    issuer,
    leaf,
    place,
    presented,
    record,
    refused,
    served,
    stored,
    target,
)

HELD = {
    ("ExpiryNotTrusted", "warning"): 15 * MINUTE,
    ("ExpiryProbeFailing", "critical"): 5 * MINUTE,
    ("ExpiryProbeFailing", "warning"): 5 * MINUTE,
    ("ExpiryDomainStatus", "warning"): 15 * MINUTE,
    ("ExpiryRenewalBlocked", "warning"): 15 * MINUTE,
    ("ExpiryUnwatched", "warning"): 15 * MINUTE,
}
"""How long the rules wait (`for:`) before they tell."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """
    Places at which nothing ever changes.
    """

    places: Sequence[Place]
    expected: frozenset[tuple[str, str]]
    """Alerts with their severities that must be among those of the scenario, for it to be about them."""
    interval: float = 12 * HOUR
    days: float = 90


def still(url: str, *facts: Facts, **settings: Any) -> Place:
    """
    A target with an address for each of these, of which each stays as it is.
    """
    found = place(url, *[[(0.0, one)] for one in facts])
    return replace(found, target=replace(found.target, **settings))


def item(kind: Kind, begin: float, end: float, name: str = "") -> Item:
    """
    Something that ends and is no certificate.
    """
    return Item(name or str(kind), kind, begin, end)


def automatic() -> Scenario:
    """
    Three quarters of the lifetime are left, on two addresses that end at different times.
    """
    one, other = (leaf("shop.example.com", -15 * DAY + late, 90 * DAY) for late in (0.0, 9 * DAY))
    return Scenario(
        [still("https://shop.example.com", served(one), served(other))],
        frozenset(
            {("ExpiryRenewalOverdue", "warning"), ("ExpirySoon", "critical"), ("ExpiryPassed", "critical")}
        ),
    )


def by_hand() -> Scenario:
    """
    A bought certificate on two targets, one of them under another policy.
    """
    bought = served(leaf(["desk.example.com", "mail.example.com"], -300 * DAY, YEAR))
    return Scenario(
        [
            still("https://desk.example.com", bought, policy=MANUAL),
            still("tls://mail.example.com:993", bought),
        ],
        frozenset(
            {("ExpirySoon", "warning"), ("ExpiryRenewalOverdue", "warning"), ("ExpiryPassed", "critical")}
        ),
    )


def short_lived() -> Scenario:
    """
    Six days, looked at hourly.
    """
    return Scenario(
        [still("https://six.example.com", served(leaf("six.example.com", -HOUR, 6 * DAY)))],
        frozenset({("ExpiryRenewalOverdue", "warning"), ("ExpirySoon", "critical")}),
        HOUR,
        8,
    )


def under_way() -> Scenario:
    """
    What fires at the moment of the look: late, critical, over.
    """
    names = {"late": 20 * DAY, "near": 2 * DAY, "over": -3 * DAY}
    return Scenario(
        [
            still(
                f"https://{name}.example.com", served(leaf(f"{name}.example.com", left - 90 * DAY, 90 * DAY))
            )
            for name, left in names.items()
        ],
        frozenset({("ExpiryRenewalOverdue", "warning"), ("ExpiryPassed", "critical")}),
        days=30,
    )


def half_deployed() -> Scenario:
    """
    Renewed in the store and on one of two servers.
    """
    name = "media.example.com"
    old, new = leaf(name, -50 * DAY, 90 * DAY), leaf(name, -5 * DAY, 90 * DAY)
    return Scenario(
        [
            still(f"https://{name}", served(old), served(new)),
            still("tls://store.example.com:1", stored(new.pem)),
        ],
        frozenset({("ExpiryNotDeployed", "warning"), ("ExpiryNotDeployed", "critical")}),
        days=60,
    )


def short_chain() -> Scenario:
    """
    An intermediate ends before its leaf, and the chain with it.
    """
    cross = anchor().cross_sign(issuer(), not_before=-19 * YEAR, not_after=40 * DAY + 7 * MINUTE)
    name = "payments.example.com"
    return Scenario(
        [still(f"https://{name}", presented(leaf(name, -10 * DAY, 200 * DAY), cross), policy=MANUAL)],
        frozenset(
            {
                ("ExpiryChainEndsBeforeLeaf", "warning"),
                ("ExpiryChainEndsBeforeLeaf", "critical"),
                ("ExpiryNotTrusted", "critical"),
            }
        ),
    )


def late_start() -> Scenario:
    """
    Refused at the look since its leaf begins later, trusted then, refused again when the intermediate ends.
    """
    cross = anchor().cross_sign(issuer(), not_before=-19 * YEAR, not_after=20 * DAY + 7 * MINUTE)
    name = "soon.example.com"
    return Scenario(
        [still(f"https://{name}", presented(leaf(name, 10 * DAY, 200 * DAY), cross), policy=MANUAL)],
        frozenset({("ExpiryNotTrusted", "warning"), ("ExpiryNotTrusted", "critical")}),
        days=30,
    )


def every_kind() -> Scenario:
    """
    One item of each kind that a handshake does not show.
    """
    lived = {
        Kind.AUTHORITY: (-9 * YEAR, YEAR + 30 * DAY),
        Kind.REGISTRATION: (-300 * DAY, 75 * DAY),
        Kind.CRL: (-DAY, 6 * DAY),
        Kind.OCSP: (-DAY, 5 * DAY),
        Kind.DNSSEC: (-2 * DAY, 12 * DAY),
        Kind.SSH: (-DAY, 30 * DAY),
        Kind.METADATA: (-DAY, 14 * DAY),
    }
    return Scenario(
        [
            still(f"tls://{kind}.example.com:1", Facts((item(kind, begin, end + 77),)), matches=BY_KIND)
            for kind, (begin, end) in lived.items()
        ],
        frozenset(
            {
                ("ExpiryAuthorityEnding", "warning"),
                ("ExpiryDomainEnding", "critical"),
                ("ExpirySignatureStale", "warning"),
                ("ExpirySignatureStale", "critical"),
                ("ExpirySoon", "critical"),
            }
        ),
    )


def refused_by_clients() -> Scenario:
    """
    Of a stranger's root, for another name, not valid before ten days.
    """
    stranger = root("Replay Stranger", not_before=-YEAR, not_after=9 * YEAR)
    return Scenario(
        [
            still("https://a.example.com", served(leaf("a.example.com", -DAY, 90 * DAY, stranger))),
            still("https://b.example.com", served(leaf("c.example.com", -DAY, 90 * DAY))),
            still("https://d.example.com", served(leaf("d.example.com", 10 * DAY, 90 * DAY))),
        ],
        frozenset({("ExpiryNotTrusted", "warning")}),
        HOUR,
        12,
    )


def unseen() -> Scenario:
    """
    A server that is down and a name that is gone, with one that is fine.
    """
    down = target("https://down.example.com")
    return Scenario(
        [
            Place(down, lambda _: {"192.0.2.1:443": refused()}),
            Place(target("https://gone.example.com"), lambda _: refused()),
            still("https://fine.example.com", served(leaf("fine.example.com", -DAY, YEAR))),
        ],
        frozenset({("ExpiryProbeFailing", "warning")}),
        HOUR,
        3,
    )


def asked_for() -> Scenario:
    """
    The issuer of one wants it renewed long before the policy would.
    """
    name = "early.example.com"
    facts = served(leaf(name, -10 * DAY, 90 * DAY))
    first, *rest = facts.items
    early = replace(facts, items=(replace(first, renewal=Renewal(5 * DAY)), *rest))
    return Scenario(
        [still(f"https://{name}", early)], frozenset({("ExpiryRenewalOverdue", "warning")}), days=20
    )


def hazards() -> Scenario:
    """
    What the registry and the DNS say.
    """
    held = item(Kind.REGISTRATION, -300 * DAY, 300 * DAY)
    return Scenario(
        [
            still(
                f"tls://{hazard.replace('_', '-')}.example.com:1",
                Facts((held,), hazards=(FoundHazard(hazard, "simulated"),)),
                matches=BY_KIND,
            )
            for hazard in (
                Hazard.DOMAIN_REDEMPTION,
                Hazard.DOMAIN_AUTO_RENEW,
                Hazard.CAA_FORBIDS_ISSUER,
                Hazard.NAME_NOT_RESOLVING,
            )
        ],
        frozenset(
            {
                ("ExpiryDomainStatus", "critical"),
                ("ExpiryDomainStatus", "warning"),
                ("ExpiryRenewalBlocked", "warning"),
            }
        ),
        HOUR,
        3,
    )


SCENARIOS: list[Callable[[], Scenario]] = [
    automatic,
    by_hand,
    short_lived,
    under_way,
    half_deployed,
    short_chain,
    late_start,
    every_kind,
    refused_by_clients,
    unseen,
    asked_for,
    hazards,
]


def foretold(scenario: Scenario) -> Forecast:
    """
    What one look at time 0 tells.
    """
    looking = Exporter(scenario.places)
    looking.scrape(0.0)
    return forecast(looking.rows(0.0), 0.0, scenario.days)


@pytest.mark.parametrize("make", SCENARIOS, ids=lambda make: make.__name__)
def test_what_is_foretold_comes_and_nothing_else_does(make: Callable[[], Scenario]) -> None:
    """
    The same alerts with the same severities about the same things, each within a scrape and an evaluation.
    """
    scenario = make()
    interval = scenario.interval
    found = foretold(scenario)
    # What is due last gets time to be told.
    fired = firings(record(fleet(*scenario.places), found.until + 2 * interval, interval))

    told = {Name(one.name, one.severity, one.target, one.item): one.at for one in found.alerts}
    assert len(told) == len(found.alerts)
    assert scenario.expected <= {(name.alert, name.severity) for name in told}
    assert told.keys() <= fired.keys()
    assert {name for name, firing in fired.items() if firing.first <= found.until} <= told.keys()
    for name, at in told.items():
        assert in_time(fired[name], max(at, 0.0), interval, HELD.get((name.alert, name.severity), 0.0)), name


def in_time(firing: Firing, at: float, interval: float, held: float) -> bool:
    """
    True when an alert that is due at this moment fired as soon as Prometheus could know.

    A scrape may come an interval later, and what must last is told by the first evaluation after that.
    """
    waits = -(-held // interval) * interval
    return at <= firing.first <= at + interval + waits


def test_a_forecast_stays_true_while_time_passes() -> None:
    """
    Ten days later, what is still to come is the same.
    """
    scenario = automatic()
    early = foretold(scenario)
    looking = Exporter(scenario.places)
    looking.scrape(10 * DAY)
    late = forecast(looking.rows(10 * DAY), 10 * DAY, scenario.days - 10)

    assert late.until == early.until
    assert late.alerts == early.alerts
