"""
Incidents: each would have been told of in time, by an alert whose title names the cause.
"""

import pytest

from exporter.model.policies import DAY, HOUR
from tests.replay import promtool
from tests.replay.__main__ import row
from tests.replay.incidents import GONE, OUTAGE, SCENARIOS, Incident, Outcome, blackbox, incidents, replayed
from tests.replay.promtool import Name
from tests.replay.timeline import MINUTE, YEAR, fleet, leaf, place, record, served
from tests.support.readme import MANUAL

TABLE = (MANUAL / "comparison.md").read_text(encoding="utf-8").splitlines()

# Of the module: so the tests of one incident follow one another, in one process that replays it once.
each_incident = pytest.mark.parametrize("incident", incidents(), ids=lambda one: one.id, scope="module")


def test_every_incident_is_replayed() -> None:
    """
    Nothing is forgotten, and nothing is replayed that is not in the file.
    """
    assert {one.id for one in incidents()} == set(SCENARIOS)


@each_incident
def test_an_incident_is_announced_in_time(incident: Incident) -> None:
    """
    The alert fires as long before the outage as it must; without any lead, in the first evaluation of it.
    """
    outcome = replayed(incident.id)
    scenario = outcome.scenario
    assert outcome.lead >= (incident.lead or -scenario.interval - scenario.known_after)


@each_incident
def test_an_incident_is_told_of_by_its_cause_until_it_is_over(incident: Incident) -> None:
    """
    The first alert's title names the cause, nothing goes quiet before the fix, and the manual's table has it.
    """
    outcome = replayed(incident.id)
    scenario = outcome.scenario
    assert scenario.title in outcome.title
    assert f"| {' | '.join(row(incident, outcome))} |" in TABLE, (
        "python -m tests.replay writes the table anew"
    )
    end = scenario.until if scenario.fixed is None else scenario.fixed
    # What is handed over ends when the registry is next asked, and not before the outage.
    quiet = scenario.outage if scenario.handed_over else end
    for name, firing in outcome.firings.items():
        if (name.target, name.item) == (outcome.first.target, outcome.first.item):
            assert firing.complete, f"{name} went quiet before it was over"
            assert firing.last >= quiet - scenario.interval, f"{name} went quiet before the fix"
    assert then_says(outcome, end) or outcome.first.alert == "ExpiryChainEndsBeforeLeaf"


def then_says(outcome: Outcome, end: float) -> bool:
    """
    True when what has happened is said from the outage to the fix, in the first evaluations after each.
    """
    scenario = outcome.scenario
    said = [
        fire
        for name, fire in outcome.firings.items()
        if (name.alert, name.severity) == (scenario.then, "critical")
    ]
    for firing in said:
        begun = firing.first - scenario.outage <= scenario.interval + scenario.known_after
        assert begun, f"{scenario.then} came late"
        assert firing.last >= end - scenario.interval, f"{scenario.then} went quiet before the fix"
        # What has its own end is said to have ended when it has, not before.
        assert scenario.then != "ExpiryPassed" or firing.first > scenario.outage
    return bool(said)


def test_a_name_that_left_the_dns_is_told_of_first() -> None:
    """
    The renewal failed because of it a month later.
    """
    outcome = replayed("bazel-2025")
    failing = outcome.firings[Name("ExpiryProbeFailing", "warning", "https://old.bazel.example.com", "")]
    assert failing.first <= OUTAGE - 55 * DAY


def test_an_address_that_is_somebody_elses_is_told_of() -> None:
    """
    Months before the certificate ends.
    """
    outcome = replayed("prow-2021")
    assert outcome.firings[Name("ExpiryNotTrusted", "warning", "https://prow.example.com", "")].first <= DAY


def test_a_chain_that_ends_first_is_told_of_when_it_is_first_served() -> None:
    """
    In the first scrape of the leaf that outlives it.
    """
    outcome = replayed("dstx3-2021")
    chain = outcome.firings[
        Name("ExpiryChainEndsBeforeLeaf", "warning", "https://letters.example.com", "chain-1")
    ]
    assert chain.first == 360 * DAY


def test_a_domain_that_its_registry_takes_is_never_quiet() -> None:
    """
    The registry moves the end by itself: the alert on the end is over when the one on the status begins.
    """
    outcome = replayed("marketo-2017")
    target = outcome.first.target
    ending = outcome.firings[Name("ExpiryDomainEnding", "critical", target, "registration")]
    status = outcome.firings[Name("ExpiryDomainStatus", "critical", target, "")]
    assert status.first == ending.last + outcome.scenario.interval


def test_a_rollback_is_told_of_as_such() -> None:
    """
    Besides being told that the certificate has ended.
    """
    outcome = replayed("obs-2023")
    back = outcome.firings[Name("ExpiryWentBackwards", "warning", "https://build.example.com", "leaf")]
    assert back.first - outcome.scenario.outage <= 2 * MINUTE


def test_the_title_of_an_outage_names_its_cause() -> None:
    """
    Four minutes after the end nobody needs to suspect a break-in, a hung server or the DNS.
    """
    name, outage = "lms.example.com", HOUR
    old = leaf(name, outage - YEAR, YEAR)
    fixed = outage + 52 * MINUTE
    one = place(f"https://{name}", [(0, served(old)), (fixed, served(leaf(name, fixed, YEAR)))])
    recording = record(fleet(one), 2 * HOUR, MINUTE)
    passed = Name("ExpiryPassed", "critical", f"https://{name}", "leaf")
    firings, alerts = promtool.told(recording, passed.alert)
    firing = firings[passed]
    assert (firing.first, firing.last, firing.complete) == (outage + MINUTE, fixed - MINUTE, True)
    (alert,) = alerts[passed.alert, outage + 4 * MINUTE]
    assert alert.title == (
        f"Certificate for {name} EXPIRED 4m 0s ago (DNS and TCP fine, same key and issuer as before)"
    )


def test_blackbox_exporter_loses_sight_of_what_expired() -> None:
    """
    It verifies: from the end on there is no series that a rule could compare.
    """
    name = "lms.example.com"
    one = place(f"https://{name}", [(0, served(leaf(name, OUTAGE - YEAR, YEAR)))])
    said = [blackbox(one, OUTAGE - left) for left in (21 * DAY, 19 * DAY, 2 * DAY, -MINUTE)]
    assert said == ["nothing", "< 20 d", "< 3 d", GONE]
