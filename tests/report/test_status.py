"""
Status: how urgent, and in which words.
"""

from dataclasses import replace

import pytest

from exporter.engine.memory import EndpointMemory
from exporter.engine.scrape import EndpointRow
from exporter.judgement.problems import LOST
from exporter.model.observation import Certificate, Chain, Facts, Failed, FoundHazard, Observed
from exporter.model.policies import AUTOMATIC, BUILT_IN, DAY, HOUR, Policy
from exporter.model.reasons import Fault, Hazard, Kind, Reason
from exporter.model.targets import ADDRESS_LIMIT
from exporter.probes.tls import refusals
from exporter.probes.tls.handshake import Seen
from exporter.report import advice
from exporter.report.status import (
    NOUNS,
    URGENCY,
    Finding,
    Level,
    Status,
    worst,
)
from exporter.report.times import ago, date, span
from tests.golden.scenes import seen
from tests.golden.values import (
    ADDRESS,
    TLS,
    Scene,
    certificate,
    facts,
    faults,
    intermediate,
    root,
    status_of,
    target,
    verdict,
)
from tests.support.certificates import NOW

END = NOW + 75 * DAY


def row(
    found: Facts | None,
    *reasons: Fault,
    failure: Failed | None = None,
    policy: Policy = AUTOMATIC,
    seen_at: float = NOW,
) -> EndpointRow:
    """
    An endpoint with these facts and faults; None: nothing was ever seen there.
    """
    of = target(policy=policy)
    if found is None:
        assert failure is not None
        return EndpointRow(of, "a", EndpointMemory(failure, 0.1), None)
    held = EndpointMemory(failure or Observed(found), 0.1, found, seen_at)
    return EndpointRow(of, "a", held, verdict(found, of, faults(*reasons)))


def words(of: EndpointRow, now: float = NOW) -> list[tuple[Level, str]]:
    """
    The findings as pairs.
    """
    return [(one.level, one.words) for one in status_of(of, now).findings]


def test_nothing_is_said_when_all_is_well() -> None:
    """
    And the level is OK.
    """
    found = status_of(row(facts(certificate(), intermediate(), root())), NOW)
    assert found == Status(())
    assert found.level is Level.OK


LIFETIMES = [HOUR, DAY, 6 * DAY, 45 * DAY, 90 * DAY, 398 * DAY, 3650 * DAY]


@pytest.mark.parametrize("policy", BUILT_IN.values(), ids=lambda policy: policy.name)
@pytest.mark.parametrize("lifetime", LIFETIMES)
def test_the_level_rises_at_each_deadline(policy: Policy, lifetime: float) -> None:
    """
    A second before it is as before, at it it is more urgent; at its end it still counts, after it no more.
    """
    found = facts(certificate(begin=END - lifetime, end=END))
    left = policy.time_left(lifetime)
    one = row(found, policy=policy)
    edges = [(END - left.warning, Level.WARNING), (END - left.critical, Level.CRITICAL)]
    below = Level.OK
    for edge, above in edges:
        assert status_of(one, edge - 1).level is below
        assert status_of(one, edge + 1).level is above
        below = above
    assert "EXPIRED" not in words(one, END)[0][1]
    assert "EXPIRED" in words(one, END + 1)[0][1]


def test_a_late_renewal_says_since_when_it_is_due() -> None:
    """
    Renewal was due with thirty days left; twenty are.
    """
    one = row(facts(certificate(begin=END - 90 * DAY, end=END)))
    assert words(one, END - 20 * DAY) == [
        (
            Level.WARNING,
            f"certificate expires in 20 d 0 h, on {date(END)}; renewal has been due for 10 d 0 h",
        )
    ]


def test_a_near_end_is_critical() -> None:
    """
    With the time that is left.
    """
    one = row(facts(certificate(begin=END - 90 * DAY, end=END)))
    assert words(one, END - 2 * DAY) == [(Level.CRITICAL, f"certificate expires in 2 d 0 h, on {date(END)}")]


def test_an_end_that_is_over_is_critical_and_said_once() -> None:
    """
    The fault `expired` would say the same again.
    """
    one = row(facts(certificate(end=END)), Fault.EXPIRED)
    assert words(one, END + 3 * HOUR) == [
        (Level.CRITICAL, f"certificate EXPIRED 3 h 0 min ago, on {date(END)}")
    ]


def test_what_is_refused_besides_its_end_says_so() -> None:
    """
    A renewal that is as wrong would mend nothing. What is not over says it as its own problem.
    """
    one = row(facts(certificate(end=END)), Fault.EXPIRED, Fault.SELF_SIGNED, Fault.NAME_MISMATCH)
    found = status_of(one, END + 3 * HOUR).findings
    assert [(what.level, what.words, what.advice) for what in found[1:]] == [
        (Level.WARNING, f"not trusted either: words about {fault}", advice.FAULTS[fault])
        for fault in (Fault.SELF_SIGNED, Fault.NAME_MISMATCH)
    ]
    assert "either" not in str(words(one, END - 3 * HOUR))


def test_every_other_fault_is_said() -> None:
    """
    Each as a reason not to trust.
    """
    others = [fault for fault in Fault if fault is not Fault.EXPIRED]
    found = words(row(facts(certificate()), *Fault))
    assert found == [(Level.WARNING, f"not trusted: words about {fault}") for fault in others]


def test_an_intermediate_that_ends_first_is_named() -> None:
    """
    So that nobody renews the wrong thing.
    """
    end = END - 30 * DAY
    one = row(facts(certificate(begin=END - 90 * DAY, end=END), intermediate(end=end)))
    assert words(one, end - DAY) == [
        (
            Level.CRITICAL,
            f"intermediate certificate chain-1 expires in 1 d 0 h, on {date(end)}, before the leaf does",
        )
    ]


def test_an_ended_intermediate_without_deadlines_is_a_note() -> None:
    """
    It ended with or after the leaf, which is the problem.
    """
    one = row(facts(certificate(end=END), intermediate(end=END)))
    assert [level for level, _ in words(one, END + 1)] == [Level.CRITICAL, Level.OK]


def test_a_root_says_nothing() -> None:
    """
    Whatever its end.
    """
    ended = certificate("R", issuer="CN=R", end=NOW - DAY, is_ca=True)
    assert words(row(facts(certificate(), ended))) == []


def test_one_of_two_certificates_is_named() -> None:
    """
    A server with an RSA and an ECDSA certificate: which of them?
    """
    found = refusals.facts(
        Seen(Chain((certificate(key="rsa-2048", end=NOW + DAY),), "rsa"), TLS),
        Seen(Chain((certificate(),), "ecdsa"), TLS),
    )
    assert words(row(found)) == [
        (Level.CRITICAL, f"certificate leaf-rsa expires in 1 d 0 h, on {date(NOW + DAY)}")
    ]


REFUSED = Failed(Reason.CONNECTION_REFUSED, "nobody listens")


def test_what_was_never_seen_is_unknown() -> None:
    """
    With the reason and its words.
    """
    assert words(row(None, failure=REFUSED)) == [(Level.UNKNOWN, "connection_refused: nobody listens")]


def test_what_can_not_be_seen_now_says_when_it_was() -> None:
    """
    What was held is still judged.
    """
    one = row(facts(certificate(end=NOW + DAY)), failure=REFUSED, seen_at=NOW - 90)
    assert words(one) == [
        (Level.CRITICAL, f"certificate expires in 1 d 0 h, on {date(NOW + DAY)}"),
        (Level.UNKNOWN, "connection_refused: nobody listens (last seen 1 min ago)"),
    ]


def test_a_server_that_turned_us_away_is_no_problem() -> None:
    """
    Its certificate was seen all the same, and it is noted.
    """
    found = facts(certificate())
    turned_away = Failed(Reason.CLIENT_CERTIFICATE_REQUIRED, "it wants ours", found)
    assert words(row(found, failure=turned_away)) == [
        (Level.OK, "client_certificate_required: it wants ours")
    ]


def test_findings_are_in_order_of_urgency() -> None:
    """
    Critical, unknown, warning; equal ones in the order in which they were found.
    """
    found = refusals.facts(
        Seen(Chain((certificate(begin=NOW - 70 * DAY, end=NOW + 20 * DAY),), "rsa"), TLS),
        Seen(Chain((certificate(end=NOW + DAY),), "ecdsa"), TLS),
    )
    levels = [level for level, _ in words(row(found, Fault.NAME_MISMATCH, failure=REFUSED))]
    assert levels == [Level.CRITICAL, Level.UNKNOWN, Level.WARNING, Level.WARNING]


@pytest.mark.parametrize(
    ("levels", "most"),
    [
        ([], Level.OK),
        ([Level.OK], Level.OK),
        ([Level.WARNING, Level.OK], Level.WARNING),
        ([Level.WARNING, Level.UNKNOWN], Level.UNKNOWN),
        ([Level.UNKNOWN, Level.CRITICAL, Level.WARNING], Level.CRITICAL),
    ],
)
def test_the_worst_level_is_the_most_urgent(levels: list[Level], most: Level) -> None:
    """
    Not the one with the greatest exit code.
    """
    assert worst(levels) is most


def test_levels_are_exit_codes() -> None:
    """
    Those of monitoring plugins, each ordered somewhere.
    """
    assert {level.name: int(level) for level in Level} == {"OK": 0, "WARNING": 1, "CRITICAL": 2, "UNKNOWN": 3}
    assert set(URGENCY) == set(Level)
    assert Status((Finding(Level.UNKNOWN, "x"),)).level is Level.UNKNOWN


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-1, "0 s"),
        (0, "0 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (HOUR, "1 h 0 min"),
        (DAY - 1, "23 h 59 min"),
        (DAY, "1 d 0 h"),
        (3 * DAY + 5 * HOUR, "3 d 5 h"),
        (100 * DAY - 1, "99 d 23 h"),
        (100 * DAY, "100 d"),
        (8000 * 365 * DAY, "2920000 d"),
    ],
)
def test_a_span_has_the_units_that_matter(seconds: float, shown: str) -> None:
    """
    On both sides of each change of unit.
    """
    assert span(seconds) == shown
    assert ago(seconds) == f"{shown} ago"


@pytest.mark.parametrize("seconds", [59.5, 59.99])
def test_no_span_reads_as_sixty_seconds(seconds: float) -> None:
    """
    Rounding does not reach the next unit.
    """
    assert span(seconds) == "59 s"


@pytest.mark.parametrize(
    ("moment", "shown"),
    [
        (NOW, "2027-01-15 08:00 UTC"),
        (0, "1970-01-01 00:00 UTC"),
        (-DAY, "1969-12-31 00:00 UTC"),
        # GeneralizedTime 99991231235959Z: "no end" (RFC 5280 section 4.1.2.5).
        (253402300799, "9999-12-31 23:59 UTC"),
        (253402300800, "253402300800 s since 1970"),
        (-62135596801, "-62135596801 s since 1970"),
        (1e300, f"{1e300:.0f} s since 1970"),
    ],
)
def test_a_date_is_shown_as_good_as_it_can_be(moment: float, shown: str) -> None:
    """
    Far and broken ones too.
    """
    assert date(moment) == shown


def test_every_kind_has_a_name_in_sentences() -> None:
    """
    In the order of the enum.
    """
    assert list(NOUNS) == list(Kind)


@pytest.mark.parametrize("hazard", Hazard)
def test_a_hazard_is_told_before_it_harms(hazard: Hazard) -> None:
    """
    As a warning; what may take the domain away is critical.
    """
    found = replace(facts(certificate()), hazards=(FoundHazard(hazard, "words"),))
    level = Level.CRITICAL if hazard in LOST else Level.WARNING
    assert words(row(found)) == [(level, "words")]


def test_findings_say_what_to_do_and_about_which_item() -> None:
    """
    What is about the endpoint is about no item.
    """
    one = row(facts(certificate(end=NOW + DAY)), Fault.NAME_MISMATCH, failure=REFUSED)
    found = status_of(one, NOW).findings
    assert [finding.item for finding in found] == ["leaf", None, None]
    assert all(finding.advice for finding in found)


OLD = certificate(begin=NOW - 60 * DAY, end=NOW + 30 * DAY, issuer="CN=Theirs", key="rsa-2048")
NEW = certificate(begin=NOW - 20 * DAY, end=NOW + 70 * DAY, issuer="CN=Ours")


def changed(
    *changes: tuple[float, Certificate], url: str = "https://lms.example.com", rotates: bool = False
) -> EndpointRow:
    """
    An endpoint that had these certificates from these times on.
    """
    scene, of, label = Scene(), target(url), ADDRESS if url.startswith("https:") else url
    for number in range(2 * ADDRESS_LIMIT if rotates else 0):
        (label,) = scene.memory.labels(of, [f"192.0.2.{number}:443"], NOW)
    for at, one in changes:
        scene.see(of, seen(facts(one, intermediate()), label), at=at)
        scene.memory.known(of).endpoints[label].past.trusted_at = at
    (found,) = scene.rows()
    return found


def test_an_older_one_that_is_back_is_a_warning_until_a_newer_one_is_there() -> None:
    """
    With both ends, and what to do.
    """
    ours = replace(OLD, issuer_organization=NEW.issuer_organization)
    came = changed((NOW - 25 * DAY, ours), (NOW - 19 * DAY, NEW), (NOW - DAY, NEW), (NOW, ours))
    (finding,) = status_of(came, NOW + 2 * HOUR).findings
    assert (finding.level, finding.words) == (
        Level.WARNING,
        (
            f"certificate went backwards 2 h 0 min ago, on {date(NOW)}: it expires on {date(OLD.not_after)}, "
            f"the one before it on {date(NEW.not_after)}"
        ),
    )
    assert (finding.advice, finding.item, finding.deploy) == (advice.ROLLED_BACK, "leaf", True)
    mended = changed(
        (NOW - 25 * DAY, ours), (NOW - 19 * DAY, NEW), (NOW - DAY, NEW), (NOW, ours), (NOW + DAY, NEW)
    )
    assert not any("backwards" in said for _, said in words(mended, NOW + DAY))


def test_issuer_and_key_that_changed_together_are_a_warning_for_three_days() -> None:
    """
    As long as the alert, with both issuers.
    """
    other = certificate(issuer="CN=Other", key="rsa-2048")
    came = changed((NOW - HOUR, NEW), (NOW, other))
    (finding,) = status_of(came, NOW + HOUR).findings
    assert (finding.level, finding.words) == (
        Level.WARNING,
        (
            "certificate changed its issuer from CN=Ours to CN=Other and its key together 1 h 0 min ago, "
            f"on {date(NOW)}, long before a renewal was due"
        ),
    )
    assert (finding.advice, finding.item, finding.deploy) == (advice.IDENTITY_CHANGED, "leaf", False)
    assert len(words(came, NOW + 3 * DAY - 1)) == 1
    assert words(came, NOW + 3 * DAY) == []


def test_a_change_of_identity_that_was_mended_is_over() -> None:
    """
    Going back is none of its own.
    """
    other = certificate(issuer="CN=Other", key="rsa-2048", begin=NOW - 30 * DAY)
    assert words(changed((NOW - DAY, NEW), (NOW, other)), NOW + HOUR)
    assert words(changed((NOW - DAY, NEW), (NOW, other), (NOW + HOUR, NEW)), NOW + 2 * HOUR) == []


def test_addresses_that_rotate_are_not_compared_with_each_other() -> None:
    """
    Each look may be at another server; so have it the alerts.
    """
    assert words(changed((NOW - HOUR, NEW), (NOW, OLD)), NOW)
    assert words(changed((NOW - HOUR, NEW), (NOW, OLD), rotates=True), NOW) == []


def test_a_file_that_is_called_like_a_number_went_backwards_like_others() -> None:
    """
    What a place is called says nothing of it.
    """
    ours = replace(OLD, issuer_organization=NEW.issuer_organization)
    url = "file:///etc/ssl/cert.pem#2"
    came = changed((NOW - 25 * DAY, ours), (NOW - 19 * DAY, NEW), (NOW, ours), url=url)
    assert came.label.endswith("#2")
    assert any("went backwards" in said for _, said in words(came, NOW))
