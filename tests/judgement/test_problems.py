"""
Problems: which there are at a time, and that the forecast is the same asked about later.
"""

import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.engine.results import ProbeResult
from exporter.engine.scrape import EndpointRow
from exporter.judgement.hidden import Beside
from exporter.judgement.issued import newest_ends
from exporter.judgement.problems import Found, Key, is_well, problems
from exporter.model.observation import Facts, FoundHazard, Item, Observed
from exporter.model.policies import AUTOMATIC, CRL, DAY, DOMAIN, HOUR, MANUAL, Before, Policy, Severity
from exporter.model.problems import MEANINGS, Problem
from exporter.model.proxies import parse_proxy
from exporter.model.reasons import Fault, Hazard, Kind, Reason
from exporter.model.targets import Target
from exporter.report.forecast import forecast
from tests.golden.scenes import failed, seen
from tests.golden.values import ADDRESS, Scene, certificate, facts, intermediate, target
from tests.support.certificates import NOW

OTHER = "192.0.2.11:443"


def ending(left: float, lifetime: float = 90 * DAY, name: str = "lms.example.com") -> Facts:
    """
    A chain whose leaf has so much left.
    """
    return facts(certificate(name, begin=NOW + left - lifetime, end=NOW + left), intermediate())


def of(rows: list[EndpointRow], now: float = NOW) -> dict[tuple[str, str], Found]:
    """
    The problems by name and severity.
    """
    return {(problem, severity): one for (_, _, problem, severity), one in found(rows, now).items()}


def found(rows: list[EndpointRow], now: float) -> Any:
    """
    The problems of these endpoints.
    """
    return problems((row.known for row in rows), newest_ends(row.verdict for row in rows), now)


def well(row: EndpointRow, now: float) -> bool:
    """
    True when a glance at the endpoint says that nothing is wrong with it.
    """
    return is_well(row.held.observation, row.held.facts, row.verdict, row.held.past, now)


def test_a_healthy_fleet_has_none() -> None:
    """
    Three quarters of the lifetime are left, and clients accept it.
    """
    rows = Scene().see(target(), seen(ending(75 * DAY))).rows()
    assert all(well(row, NOW) for row in rows)
    assert of(rows) == {}


@pytest.mark.parametrize(
    ("left", "names"),
    [
        (20 * DAY, {("renewal_overdue", "warning")}),
        (7 * DAY, {("renewal_overdue", "warning"), ("soon", "critical")}),
        (-1.0, {("renewal_overdue", "warning"), ("soon", "critical"), ("passed", "critical")}),
    ],
)
def test_an_automatic_renewal_that_is_late(left: float, names: set[tuple[str, str]]) -> None:
    """
    Each step stays while the next is there too: Alertmanager hides what need not be said.
    """
    assert of(Scene().see(target(), seen(ending(left))).rows()).keys() == names


def test_a_renewal_by_hand_is_to_be_done() -> None:
    """
    No automatic renewal is late there.
    """
    rows = Scene().see(target(policy=MANUAL), seen(ending(40 * DAY, 365 * DAY))).rows()
    assert of(rows).keys() == {("soon", "warning")}


def test_the_worst_endpoint_speaks_for_all() -> None:
    """
    That where the item ends first, with how many have the problem and what is newer elsewhere.
    """
    scene = Scene().see(
        target(),
        seen(ending(6 * DAY)),
        seen(ending(5 * DAY), OTHER),
        seen(ending(89 * DAY), "192.0.2.12:443"),
    )
    one = of(scene.rows())["soon", "critical"]
    assert one.onset.known.location == OTHER
    assert one.endpoints == 2
    assert one.newer == NOW + 89 * DAY
    assert ("not_deployed", "critical") in of(scene.rows())


def failing(facts: Facts, policy: Policy = AUTOMATIC) -> Scene:
    """
    A target that was seen, and fails from a minute later on.
    """
    scene = Scene().see(target(policy=policy), seen(facts))
    for later in (60, 120):
        scene.see(target(policy=policy), failed(Reason.TIMEOUT), at=NOW + later)
    return scene


def test_what_was_never_seen_is_a_problem_after_a_quarter_of_an_hour() -> None:
    """
    Since the first probe that failed.
    """
    never = Scene().see(target(), failed(Reason.DNS_NOT_FOUND))
    never.see(target(), failed(Reason.DNS_NOT_FOUND), at=NOW + 300)
    assert of(never.rows(), NOW + 899) == {}
    assert of(never.rows(), NOW + 900).keys() == {("probe_failing", "warning")}


@pytest.mark.parametrize(
    ("lifetime", "unseen", "pace"),
    [
        (HOUR, None, 900),
        (DAY, None, 24 * 60),
        (6 * DAY, None, 2.4 * HOUR),
        (90 * DAY, None, DAY),
        (3 * 365 * DAY, None, DAY),
        (90 * DAY, Before(3 * DAY), 3 * DAY),
        (90 * DAY, Before(share=0.1), 9 * DAY),
        (90 * DAY, Before(300), 300),
    ],
)
def test_what_can_not_be_seen_any_more_is_a_problem_at_the_pace_of_its_policy(
    lifetime: float, unseen: Before | None, pace: float
) -> None:
    """
    By default a sixtieth of the lifetime, between a quarter of an hour and a day.
    """
    scene = failing(ending(0.9 * lifetime, lifetime), replace(AUTOMATIC, unseen=unseen))
    assert of(scene.rows(), NOW + 59 + pace) == {}
    assert of(scene.rows(), NOW + 60 + pace).keys() == {("probe_failing", "warning")}


def test_near_its_end_what_can_not_be_seen_is_critical_after_a_quarter_of_an_hour() -> None:
    """
    Whatever pace its policy has: there is no time left to wait.
    """
    scene = failing(ending(5 * DAY), replace(AUTOMATIC, unseen=Before(3 * DAY)))
    assert ("probe_failing", "critical") not in of(scene.rows(), NOW + 959)
    assert ("probe_failing", "critical") in of(scene.rows(), NOW + 960)


def test_a_staple_does_not_set_the_pace_of_a_server() -> None:
    """
    It lives for days, and nobody needs it while the server is down.
    """
    leaf = ending(75 * DAY)
    staple = Item("staple", Kind.OCSP, NOW - DAY, NOW + DAY / 4)
    scene = failing(replace(leaf, items=(*leaf.items, staple)))
    assert not {name for name, _ in of(scene.rows(), NOW + DAY)} & {"probe_failing"}


def test_a_look_that_succeeds_begins_the_wait_anew() -> None:
    """
    A host that is down for a while each night is seen in between.
    """
    scene = failing(ending(75 * DAY))
    scene.see(target(), seen(ending(75 * DAY)), at=NOW + DAY)
    scene.see(target(), failed(Reason.TIMEOUT), at=NOW + DAY + 60)
    assert of(scene.rows(), NOW + 2 * DAY + 59) == {}


def test_what_clients_refuse_is_critical_when_they_took_it_before() -> None:
    """
    With every reason but the end itself, which is a problem of the item.
    """
    scene = Scene().see(target(), seen(ending(75 * DAY)), found=[Fault.NAME_MISMATCH, Fault.SELF_SIGNED])
    one = of(scene.rows())["not_trusted", "warning"]
    assert one.reasons == ("name_mismatch", "self_signed")
    (row,) = scene.rows()
    row.held.past.trusted_at = NOW - DAY
    assert of([row]).keys() == {("not_trusted", "critical")}
    ended = Scene().see(target(), seen(ending(-1.0)), found=[Fault.EXPIRED])
    assert not {name for name, _ in of(ended.rows())} & {"not_trusted"}


@pytest.mark.parametrize(
    ("hazard", "problem", "severity"),
    [
        (Hazard.DOMAIN_REDEMPTION, Problem.DOMAIN_STATUS, "critical"),
        (Hazard.DOMAIN_AUTO_RENEW, Problem.DOMAIN_STATUS, "warning"),
        (Hazard.CAA_FORBIDS_ISSUER, Problem.RENEWAL_BLOCKED, "warning"),
    ],
)
def test_a_hazard_is_a_problem(hazard: Hazard, problem: Problem, severity: str) -> None:
    """
    Of the domain, or of the next renewal.
    """
    held = Item("registration", Kind.REGISTRATION, NOW - 300 * DAY, NOW + 300 * DAY)
    look = ProbeResult(ADDRESS, Observed(Facts((held,), hazards=(FoundHazard(hazard, "words"),))), 0.01)
    assert of(Scene().see(target(), look).rows()).keys() == {(problem, severity)}


def in_grace(scene: Scene, of: Target, end: float, at: float) -> None:
    """
    The registry says at this time when the registration ends, and that it moved it by itself.
    """
    held = Item("registration", Kind.REGISTRATION, NOW - 300 * DAY, end)
    hazard = FoundHazard(Hazard.DOMAIN_AUTO_RENEW, "words")
    scene.see(of, ProbeResult("example.com", Observed(Facts((held,), hazards=(hazard,))), 0.01), at=at)


@pytest.mark.parametrize(
    ("critical", "moved", "severity"),
    [
        # Two weeks before the end, at the end, and long after it, when the exporter was down.
        (14.0, 50.0, "critical"),
        (14.0, 60.0, "critical"),
        (14.0, 90.0, "critical"),
        # Renewed in time; and where nothing is critical before the last day.
        (14.0, 45.0, "warning"),
        (1.0, 60.0, "warning"),
    ],
)
def test_an_end_that_was_critical_when_the_registry_moved_it_stays_so(
    critical: float, moved: float, severity: str
) -> None:
    """
    Until the registry says no more that it moved it by itself. What was not critical, or not seen, is not.
    """
    policy = replace(DOMAIN, critical=Before(duration=critical * DAY))
    one = target("domain:example.com", policy=policy, matches=())
    scene, at = Scene(), NOW + moved * DAY
    in_grace(scene, one, NOW + 60 * DAY, NOW)
    in_grace(scene, one, NOW + 425 * DAY, at)
    assert of(scene.rows(), at).keys() == {("domain_status", severity)}
    fresh = Scene()
    in_grace(fresh, one, NOW + 425 * DAY, at)
    assert of(fresh.rows(), at).keys() == {("domain_status", "warning")}


def looked_up(reasons: list[tuple[float, Reason]], **settings: Any) -> set[str]:
    """
    The severities of what is wrong after these failures, at these seconds, of an endpoint that has expired.
    """
    one, scene = target(**settings), Scene()
    scene.see(one, seen(ending(-DAY)), at=NOW - HOUR)
    for at, reason in reasons:
        scene.see(one, failed(reason), at=NOW + at)
    now = NOW + reasons[-1][0]
    return {severity for _, severity in of(scene.rows(), now)}


GONE = Reason.DNS_NOT_FOUND


def test_nothing_is_critical_where_the_name_does_not_exist() -> None:
    """
    Once DNS has said so for an hour, and while nothing else is known.
    """
    both, warning = {"critical", "warning"}, {"warning"}
    assert looked_up([(0, GONE), (3599, GONE)]) == both
    assert looked_up([(0, GONE), (3600, GONE)]) == warning
    # No answer is no word on the name. After an hour without one nothing is known any more.
    assert looked_up([(0, GONE), (3600, GONE), (3900, Reason.DNS_TIMEOUT)]) == warning
    assert looked_up([(0, GONE), (3600, GONE), (7200, Reason.DNS_FAILED)]) == both
    assert looked_up([(0, Reason.DNS_FAILED), (DAY, Reason.DNS_FAILED)]) == both
    # It is back, though not seen; and gone again a moment later.
    assert looked_up([(0, GONE), (3600, GONE), (3660, Reason.CONNECTION_REFUSED)]) == both
    assert looked_up([(0, GONE), (3600, Reason.CONNECTION_REFUSED), (3660, GONE)]) == both
    # Clients may have addresses of the other family, and a proxy looks names up itself.
    assert looked_up([(0, GONE), (3600, GONE)], address_family="ipv4") == both
    assert looked_up([(0, GONE), (3600, GONE)], proxy=parse_proxy("http://proxy.example.com:3128")) == both


def test_a_name_that_does_not_exist_is_one_problem() -> None:
    """
    A renewal that was late before is none there, nor is what else was wrong, once the failure is a problem.
    """
    one, kept = target(), (Problem.RENEWAL_OVERDUE, "warning")
    scene = Scene().see(one, seen(ending(20 * DAY)))
    for at in (60, 3660, 3600 * 12):
        scene.see(one, failed(GONE), at=NOW + at)
    assert of(scene.rows(), NOW + DAY + 59).keys() == {kept}
    assert of(scene.rows(), NOW + DAY + 60).keys() == {(Problem.PROBE_FAILING, "warning")}
    # It may exist again.
    scene.see(one, failed(Reason.CONNECTION_REFUSED), at=NOW + 2 * DAY)
    assert of(scene.rows(), NOW + 2 * DAY).keys() == {kept, (Problem.PROBE_FAILING, "warning")}


def daily(left: float, at: float) -> Scene:
    """
    A list of ten days that was made each day, seen at this time; the last one has so much left then.
    """
    scene = Scene()
    for number in range(10):
        begin = at + left - (19 - number) * DAY
        look = ProbeResult(ADDRESS, Observed(Facts((Item("crl", Kind.CRL, begin, begin + 10 * DAY),))), 0.01)
        scene.see(target(policy=CRL), look, at=begin if number < 9 else at)
    return scene


@pytest.mark.parametrize(("left", "late"), [(7.7, False), (7.6, True)])
def test_a_list_is_late_by_its_habit(left: float, late: bool) -> None:
    """
    A day and a third after it should have come; never critical for that.
    """
    assert of(daily(left * DAY, NOW).rows()).keys() == (
        {(Problem.SIGNATURE_STALE, "warning")} if late else set()
    )


def test_what_is_not_seen_is_not_late_by_its_habit_unless_it_was_before() -> None:
    """
    Nobody knows whether a new one came; but what is known to be late stays so.
    """
    for left, late in ((7.7, False), (7.6, True)):
        scene = daily(left * DAY, NOW)
        rows = scene.see(target(policy=CRL), failed(Reason.TIMEOUT)).rows()
        stale = {key for key in of(rows, NOW + DAY) if key[0] is Problem.SIGNATURE_STALE}
        assert stale == ({(Problem.SIGNATURE_STALE, "warning")} if late else set())
        # By the policy it is.
        assert (Problem.SIGNATURE_STALE, "warning") in of(rows, NOW + (left - 0.4) * DAY)


@given(
    left=st.floats(-30 * DAY, 400 * DAY),
    lifetime=st.floats(HOUR, 400 * DAY),
    later=st.floats(0, 100 * DAY),
    reason=st.sampled_from([None, Reason.TIMEOUT, Reason.CONNECTION_REFUSED, GONE]),
    manual=st.booleans(),
)
def test_the_forecast_is_the_problems_of_later(
    left: float, lifetime: float, later: float, reason: Reason | None, manual: bool
) -> None:
    """
    What is foretold for a moment is what is wrong then, if nothing changes.
    """
    one = target(policy=MANUAL) if manual else target()
    scene = Scene()
    if reason is GONE:
        # For long enough to be believed, and to be a problem.
        scene.see(one, seen(ending(left, lifetime)), at=NOW - 3 * DAY)
        scene.see(one, failed(GONE), at=NOW - 2 * DAY)
    else:
        scene.see(one, seen(ending(left, lifetime)))
    if reason is not None:
        scene.see(one, failed(reason))
    rows = scene.rows()
    foretold = {
        (alert.name, alert.severity, alert.item)
        for alert in forecast(rows, NOW, 101).alerts
        if alert.at <= NOW + later
    }
    then = {
        (MEANINGS[problem].alert, severity, item) for _, item, problem, severity in found(rows, NOW + later)
    }
    assert foretold == then
    # A glance is enough only where nothing is wrong.
    assert not (then and all(well(row, NOW + later) for row in rows))


WARNED, CRITICAL = Severity.WARNING, Severity.CRITICAL


@pytest.mark.parametrize(
    ("beside", "severity", "hider"),
    [
        ([], WARNED, None),
        ([("leaf", Problem.SOON, CRITICAL)], WARNED, Problem.SOON),
        ([("leaf", Problem.PASSED, CRITICAL)], CRITICAL, Problem.PASSED),
        ([("leaf", Problem.NOT_DEPLOYED, WARNED)], WARNED, Problem.NOT_DEPLOYED),
        ([("leaf", Problem.NOT_DEPLOYED, WARNED)], CRITICAL, None),
        ([("leaf", Problem.NOT_DEPLOYED, CRITICAL)], CRITICAL, Problem.NOT_DEPLOYED),
        ([("chain-1", Problem.PASSED, CRITICAL)], CRITICAL, None),
        ([("leaf", Problem.RENEWAL_OVERDUE, WARNED), ("", Problem.NOT_TRUSTED, CRITICAL)], WARNED, None),
    ],
    ids=(
        *("alone", "critical itself", "expired", "not deployed", "that is milder", "that is as bad"),
        *("another item", "hides nothing"),
    ),
)
def test_an_end_that_is_near_is_hidden_by_what_says_more(
    beside: list[tuple[str, Problem, Severity]], severity: Severity, hider: Problem | None
) -> None:
    """
    By the table: never by something milder, nor by a problem of another item.
    """
    key: Key = ("shop", "leaf", Problem.SOON, severity)
    there = Beside((one, NOW) for one in (key, *(("shop", *one) for one in beside)))
    assert there.hider(key) == hider
    assert there.hider(key, NOW - 1) is None


@pytest.mark.no_cover
def test_thousands_beside_each_other_take_time_that_grows_with_their_number() -> None:
    """
    A file may have as many items, each with a warning and what is critical. Each with each took seconds.
    """
    ends = (Problem.SOON, WARNED), (Problem.SOON, CRITICAL), (Problem.NOT_TRUSTED, CRITICAL)
    keys: list[Key] = [("file", f"certificate-{number}", *end) for number in range(3000) for end in ends]
    began = time.thread_time()
    there = Beside((key, NOW) for key in keys)
    hidden = [key for key in keys if there.hider(key) is not None]
    assert time.thread_time() - began < 0.5
    assert len(hidden) == 3000
