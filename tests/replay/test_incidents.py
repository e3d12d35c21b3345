"""
Incidents: each would have been told of in time, by an alert whose title names the cause.
"""

import functools

import pytest

from exporter.policies import DAY, HOUR
from tests.replay import promtool
from tests.replay.__main__ import row
from tests.replay.incidents import GONE, OUTAGE, SCENARIOS, Incident, Outcome, blackbox, incidents, replay
from tests.replay.promtool import Name
from tests.replay.timeline import MINUTE, YEAR, fleet, leaf, place, record, served
from tests.support.readme import REPOSITORY

README = (REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()

REPLAYED = [one for one in incidents() if one.later is None]


@functools.cache
def replayed(incident: str) -> Outcome:
    """
    The outcome of an incident; several tests may ask for it.
    """
    return replay(SCENARIOS[incident]())


def test_every_incident_is_replayed_or_says_why_not() -> None:
    """
    Nothing is forgotten, and nothing is replayed that is not in the file.
    """
    assert {one.id for one in REPLAYED} == set(SCENARIOS)


@pytest.mark.parametrize("incident", REPLAYED, ids=lambda one: one.id)
def test_an_incident_is_announced_in_time(incident: Incident) -> None:
    """
    The alert fires as long before the outage as it must, names the cause, and is in the README's table.
    """
    outcome = replayed(incident.id)
    scenario = outcome.scenario
    # Without any lead: in the first evaluation after the fact.
    assert outcome.lead >= (incident.lead or -scenario.interval)
    assert scenario.title in outcome.title
    assert f"| {' | '.join(row(incident, outcome))} |" in README, (
        "python -m tests.replay writes the table anew"
    )
    end = scenario.until if scenario.fixed is None else scenario.fixed
    for name, firing in outcome.firings.items():
        if (name.target, name.item) == (outcome.first.target, outcome.first.item):
            assert firing.complete, f"{name} went quiet before it was over"
            assert firing.last >= end - scenario.interval, f"{name} went quiet before the fix"
    passed = [name for name in outcome.firings if name.alert == "ExpiryPassed"]
    assert passed or outcome.first.alert == "ExpiryChainEndsBeforeLeaf"
    for name in passed:
        assert 0 < outcome.firings[name].first - scenario.outage <= scenario.interval


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
    firing = promtool.firings(recording)[passed]
    assert (firing.first, firing.last, firing.complete) == (outage + MINUTE, fixed - MINUTE, True)
    when = outage + 4 * MINUTE
    (alert,) = promtool.alerts(recording, [(passed.alert, when)])[passed.alert, when]
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
