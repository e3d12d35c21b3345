"""
Metrics: the text that Prometheus reads.

Each state has a golden file in `tests/golden`, whole, as it is exported. After a change that is meant,
`python -m tests.golden` writes them anew; the difference is then part of the review.
"""

import itertools
import re
import subprocess
import tracemalloc
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.engine.results import ProbeResult
from exporter.engine.scrape import Scrape, TargetRow
from exporter.engine.sightings import FEW
from exporter.model.foreign_text import printable_lines
from exporter.model.observation import Certificate, Facts, Failed, Item, Observed
from exporter.model.reasons import Fault, Kind, Reason
from exporter.model.targets import RESERVED_LABELS
from exporter.report import advice
from exporter.report.exposition import AT_FIRST, NEW_FOR, Exposition, certificate_labels, line
from exporter.report.families import (
    ENDPOINT_FAMILIES,
    FAILURE,
    FAMILIES,
    FIRST_SEEN,
    LABEL_LIMIT,
    NEWEST,
    NOT_AFTER,
    PROBLEM,
    PROBLEM_INFO,
    PROBLEM_PENDING,
    TARGET,
    UNSEEN,
    URGENCY,
    Family,
    bounded,
    escape,
)
from tests.golden.scenes import DIRECTORY, SCENES, failed, seen
from tests.golden.values import Scene, certificate, facts, faults, intermediate, root, target, verdict
from tests.support.certificates import DAY, NOW

if TYPE_CHECKING:
    from exporter.engine.scrape import EndpointRow

NAMES = list(SCENES)


def golden(name: str) -> str:
    """
    The file, byte for byte.
    """
    return (DIRECTORY / f"{name}.txt").read_bytes().decode("utf-8")


def series(families: Iterable[Metric]) -> list[tuple[str, tuple[tuple[str, str], ...]]]:
    """
    The name and labels of every sample.
    """
    return [
        (sample.name, tuple(sorted(sample.labels.items())))
        for family in families
        for sample in family.samples
    ]


def parsed(text: str) -> list[Metric]:
    """
    The text as both parsers of the reference library read it, once they agree and no series comes twice.
    """
    families = list(parse_text(text))
    as_openmetrics = list(parse_openmetrics(f"{text}# EOF\n"))  # type: ignore[no-untyped-call] # it has no types
    assert [family.samples for family in families] == [family.samples for family in as_openmetrics]
    twice = [one for one, count in Counter(series(families)).items() if count > 1]
    assert twice == []
    assert len({family.name for family in families}) == len(families)
    return families


def values(text: str, name: str, *labels: str) -> dict[tuple[str, ...], float]:
    """
    The values of one metric by some of its labels.
    """
    return {
        tuple(sample.labels.get(label, "") for label in labels): sample.value
        for family in parsed(text)
        for sample in family.samples
        if sample.name == name
    }


def latest(text: str, label: str = "target") -> dict[tuple[str, ...], float]:
    """
    The latest end known for each leaf: that of another one if there is a series of it, else its own.
    """
    own: dict[tuple[str, ...], float] = {
        (sample.labels[label],): sample.value
        for family in parsed(text)
        for sample in family.samples
        if sample.name == NOT_AFTER.name and sample.labels["kind"] == "leaf"
    }
    newest = values(text, NEWEST.name, label)
    assert all(end > own[key] for key, end in newest.items())
    return own | newest


@pytest.mark.parametrize("name", NAMES)
def test_the_exposition_is_the_golden_one(name: str) -> None:
    """
    Byte for byte.
    """
    assert SCENES[name]() == golden(name)


def test_every_golden_file_has_a_scene() -> None:
    """
    None is left over from a state that is no longer tested.
    """
    assert sorted(path.stem for path in DIRECTORY.glob("*.txt")) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_promtool_finds_nothing_to_say(name: str) -> None:
    """
    Names, types, help and syntax are as Prometheus's own checker wants them.
    """
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=golden(name).encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert (done.returncode, done.stdout.decode()) == (0, "")


@pytest.mark.parametrize("name", NAMES)
def test_both_formats_are_parsed_and_no_series_comes_twice(name: str) -> None:
    """
    As text and as OpenMetrics; with help for each family.
    """
    families = parsed(golden(name))
    assert families
    assert all(family.documentation and family.type == "gauge" for family in families)


def test_the_goldens_show_every_family() -> None:
    """
    No metric is without an example.
    """
    shown = {family.name for name in NAMES for family in parsed(golden(name))}
    assert shown == {family.name for family in FAMILIES}


def test_series_have_the_labels_that_their_family_says() -> None:
    """
    In every golden file; the user's labels are allowed only on the target's series and those that the rules
    compare with its problems.
    """
    # A problem of an endpoint has no item, and what has no certificate no fingerprint.
    missing = {"item", "kind", "fingerprint_sha256", "cause", "hidden_by", "remembered"}
    problems = {PROBLEM.name, PROBLEM_INFO.name, PROBLEM_PENDING.name}
    with_theirs = {TARGET.name, FIRST_SEEN.name, UNSEEN.name, URGENCY.name, *problems}
    # Some of a metric's series lack these.
    rare = {TARGET.name: {"source", "unsettled"}, UNSEEN.name: {"location"}, FAILURE.name: {"seen"}}
    rare |= {URGENCY.name: {"problem", "source"}, **dict.fromkeys(problems, missing)}
    stated = {family.name: family.labels for family in FAMILIES}
    for sample in (one for name in NAMES for family in parsed(golden(name)) for one in family.samples):
        extra = set(sample.labels) - set(stated[sample.name])
        absent = set(stated[sample.name]) - set(sample.labels)
        assert absent <= rare.get(sample.name, set())
        assert not extra or sample.name in with_theirs


def test_no_label_of_a_user_can_come_twice_in_a_series() -> None:
    """
    Where users' labels are, ours are names that they can't take.
    """
    theirs = (TARGET, PROBLEM, PROBLEM_INFO, PROBLEM_PENDING, FIRST_SEEN, UNSEEN, URGENCY)
    ours = {name for one in theirs for name in one.labels}
    assert ours <= RESERVED_LABELS


def by_labels(text: str, family: Family) -> list[dict[str, str]]:
    """
    The labels of each series of a family.
    """
    found = parse_text(text)
    return [sample.labels for one in found for sample in one.samples if sample.name == family.name]


def test_what_only_memory_makes_critical_is_marked() -> None:
    """
    One that starts without state reports the same as a warning, which is not marked.
    """
    told = [one for one in by_labels(golden("an_older_one_is_back"), PROBLEM_INFO) if "remembered" in one]
    assert [(one["problem"], one["severity"]) for one in told] == [("not_trusted", "critical")]
    older = certificate(issuer="CN=Other", key="rsa-2048", begin=NOW - 80 * DAY, end=NOW + 10 * DAY)
    fresh = Scene().see(target(), seen(facts(older, intermediate())), found=[Fault.UNTRUSTED_ROOT]).text()
    refused = [one for one in by_labels(fresh, PROBLEM_INFO) if one["problem"] == "not_trusted"]
    assert [(one["severity"], "remembered" in one) for one in refused] == [("warning", False)]


def test_a_critical_problem_that_needs_no_memory_is_not_marked() -> None:
    """
    Only that clients accepted it before is remembered.
    """
    marked = [one["problem"] for one in by_labels(golden("expired"), PROBLEM_INFO) if "remembered" in one]
    assert marked == []


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_names_and_help_are_well_formed(family: Family) -> None:
    """
    One prefix, and a help text of one line that is a sentence.
    """
    assert re.fullmatch(r"expiry_[a-z0-9_]+", family.name)
    assert family.help.endswith(".")
    assert not set(family.help) & {"\n", "\\"}


def test_families_are_distinct() -> None:
    """
    No name twice; the families of endpoints are among them.
    """
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)
    assert set(ENDPOINT_FAMILIES) < set(FAMILIES)


def test_a_held_endpoint_keeps_its_series_and_shows_their_age() -> None:
    """
    What was seen is exported as it was, and only the look itself is new.
    """
    text = golden("held_while_down")
    assert values(text, NOT_AFTER.name, "item")["leaf",] == NOW + 2 * DAY
    assert values(text, "expiry_last_seen_timestamp_seconds") == {(): NOW}
    assert values(text, "expiry_probe_success") == {(): 0}
    assert values(text, "expiry_probe_failure_info", "reason") == {("connection_refused",): 1}


def test_what_is_not_known_is_absent() -> None:
    """
    A target that was never seen has no end, no age and no verdict: not 0, not -1.
    """
    names = {name for name, _ in series(parsed(golden("never_seen")))}
    assert names == {
        "expiry_endpoint_urgency",
        "expiry_probe_success",
        "expiry_probe_duration_seconds",
        "expiry_probe_failure_info",
        "expiry_target_info",
        "expiry_problem_end_timestamp_seconds",
        "expiry_problem_info",
        "expiry_unseen_info",
    }


def test_every_fault_is_a_series() -> None:
    """
    Several at once, and the endpoint is not verified.
    """
    text = golden("untrusted_with_several_faults")
    assert values(text, "expiry_verification_success") == {(): 0}
    assert set(values(text, "expiry_verification_failure_info", "reason")) == {
        ("name_mismatch",),
        ("self_signed",),
        ("weak_key",),
        ("weak_protocol",),
        ("weak_cipher",),
    }


def test_a_served_root_has_no_end_but_is_shown() -> None:
    """
    Its end would be taken for the server's.
    """
    text = golden("served_root")
    assert set(values(text, NOT_AFTER.name, "item")) == {("leaf",), ("chain-1",)}
    assert ("chain-2",) in values(text, "expiry_certificate_info", "item")


def test_an_intermediate_has_deadlines_only_when_it_ends_first() -> None:
    """
    On both sides of the rule.
    """
    alert = "expiry_alert_timestamp_seconds"
    assert set(values(golden("healthy"), alert, "item")) == {("leaf",)}
    text = golden("intermediate_ends_before_leaf")
    assert set(values(text, alert, "item")) == {("leaf",), ("chain-1",)}


def test_the_newest_end_is_known_to_all_targets_of_the_same_names() -> None:
    """
    Three targets share names; the fourth has others.
    """
    newest = latest(golden("renewed_but_not_deployed"))
    assert newest == {("a",): NOW + 90 * DAY, ("b",): NOW + 90 * DAY, ("c",): NOW + 90 * DAY} | {
        ("d",): NOW + 100 * DAY
    }


def test_an_rsa_certificate_is_no_renewal_of_an_ecdsa_one() -> None:
    """
    A server with both has each its own newest end.
    """
    newest = latest(golden("dual_keys"), "item")
    assert newest == {("leaf-rsa",): NOW + 40 * DAY, ("leaf-ecdsa",): NOW + 75 * DAY}


def test_names_count_as_a_set_and_no_subject_stands_in_for_them() -> None:
    """
    Their order does not matter. Certificates without names are not compared between targets.
    """
    scene = Scene()
    ends = {"a": 1, "b": 2, "c": 3, "d": 4}
    names: tuple[tuple[str, ...], ...] = (("x", "y"), ("y", "x"), (), ())
    for (name, days), dns_names in zip(ends.items(), names, strict=True):
        one = certificate(end=NOW + days * DAY, names=dns_names)
        scene.see(target(name=name), seen(facts(one)))
    newest = latest(scene.text())
    assert newest == {
        ("a",): NOW + 2 * DAY,
        ("b",): NOW + 2 * DAY,
        ("c",): NOW + 3 * DAY,
        ("d",): NOW + 4 * DAY,
    }


def split(*found: Fault) -> Scene:
    """
    Three targets with certificates of the same names: one that clients accept, one with these faults that
    ends later, and one in a file that ends before both.
    """
    scene = Scene().see(target(name="public"), seen(facts(certificate(end=NOW + 10 * DAY))))
    inside = facts(certificate(issuer="CN=lms.example.com", end=NOW + 3000 * DAY))
    scene.see(target(name="inside"), seen(inside), found=found)
    kept = facts(certificate(end=NOW + 5 * DAY, serial="5"))
    chains = tuple(replace(one, presented=False) for one in kept.chains)
    return scene.see(target(name="file"), seen(replace(kept, chains=chains, tls=None)))


@pytest.mark.parametrize("fault", Fault)
def test_what_clients_refuse_for_what_it_is_renews_nothing_that_they_accept(fault: Fault) -> None:
    """
    Neither on the server that they accept, nor in a file with the same names. All other faults are no reason.
    """
    own = fault in {
        Fault.SELF_SIGNED,
        Fault.UNTRUSTED_ROOT,
        Fault.INVALID_CHAIN,
        Fault.CA_AS_LEAF,
        Fault.WRONG_KEY_USAGE,
        Fault.REVOKED,
    }
    newest = latest(split(fault).text())
    assert newest == {
        ("public",): NOW + (10 if own else 3000) * DAY,
        ("file",): NOW + (10 if own else 3000) * DAY,
        ("inside",): NOW + 3000 * DAY,
    }


def test_what_clients_refuse_is_compared_with_all() -> None:
    """
    In a fleet of a private authority that the exporter does not know, what was not deployed is told too.
    """
    scene = Scene()
    for name, days in (("old", 10), ("new", 90)):
        one = certificate(issuer="CN=Private", end=NOW + days * DAY)
        scene.see(target(name=name), seen(facts(one)), found=[Fault.UNTRUSTED_ROOT])
    kept = facts(certificate(issuer="CN=Private", end=NOW + 5 * DAY))
    chains = tuple(replace(one, presented=False) for one in kept.chains)
    scene.see(target(name="file"), seen(replace(kept, chains=chains, tls=None)))
    newest = latest(scene.text())
    assert newest == {(name,): NOW + 90 * DAY for name in ("old", "new", "file")}

    good = certificate(end=NOW + 120 * DAY)
    scene.see(target(name="good"), seen(facts(good)))
    newest = latest(scene.text())
    assert newest == {(name,): NOW + 120 * DAY for name in ("old", "new", "file", "good")}


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain", "plain"),
        ('"', r"\""),
        ("\\", r"\\"),
        ("\n", r"\n"),
        ('\\n"', r"\\n\""),
        ("\udcff", r"\\xff"),
        ("\x1b\x07\r\x85\u202e", r"\\u001b\\u0007\\r\\u0085\\u202e"),
        ("é\N{SNOWMAN}", "é\N{SNOWMAN}"),
        ("", ""),
    ],
)
def test_label_values_are_escaped(value: str, written: str) -> None:
    """
    As the text format says, and what a terminal acts on or UTF-8 can't encode is shown as an escape.
    """
    assert escape(value) == written


@given(st.text(st.characters(exclude_categories=())))
def test_any_label_value_comes_back_from_the_parsers(value: str) -> None:
    """
    Whatever it is; what can't be printed as its escape.
    """
    text = f"# HELP {TARGET.name} x\n# TYPE {TARGET.name} gauge\n{line(TARGET, [('target', value)], 1)}"
    (family,) = parsed(text.encode("utf-8").decode("utf-8"))
    assert family.samples[0].labels["target"] == printable_lines(value)


@pytest.mark.parametrize("length", [LABEL_LIMIT - 1, LABEL_LIMIT, LABEL_LIMIT + 1, 10_000])
def test_long_values_are_cut(length: int) -> None:
    """
    On both sides of the limit; what is cut says so.
    """
    cut = bounded("é" * length)
    assert len(cut) == min(length, LABEL_LIMIT)
    assert cut.endswith("…") == (length > LABEL_LIMIT)


def test_every_text_of_a_certificate_is_bounded() -> None:
    """
    A server can't make a label longer than the limit.
    """
    huge = certificate("x", subject="s" * 10_000, issuer="i" * 10_000, serial="f" * 10_000)
    assert max(len(value) for _, value in certificate_labels(huge)) == LABEL_LIMIT


def test_a_series_without_labels_has_no_braces() -> None:
    """
    As people write it.
    """
    assert line(TARGET, [], 1) == "expiry_target_info 1.0\n"


TEXTS = st.text(st.characters(exclude_categories=()), max_size=12)
ENDS = st.floats(-1e11, 3e11).map(round).map(float)


@st.composite
def certificates(draw: st.DrawFn) -> Certificate:
    """
    Any certificate: few names, so that equal ones come up, any dates and any texts.
    """
    drawn = certificate(
        draw(st.sampled_from(["a.example", "b.example"])),
        subject=draw(TEXTS),
        issuer=draw(TEXTS),
        begin=draw(ENDS),
        end=draw(ENDS),
        key=draw(st.sampled_from(["rsa-2048", "ecdsa-256", "ed25519", "unknown"])),
        names=draw(st.sampled_from([("a.example",), ("b.example",), ()])),
    )
    return replace(drawn, issuer=drawn.subject) if draw(st.booleans()) else drawn


CHAINS = st.lists(certificates(), min_size=1, max_size=4)
FACTS = CHAINS.map(lambda chain: facts(*chain))
LOOKS = st.one_of(
    FACTS.map(Observed),
    st.builds(Failed, st.sampled_from(Reason), st.just("words"), st.none() | FACTS),
)
SEEN = st.dictionaries(TEXTS, LOOKS, min_size=1, max_size=3)
TARGETS = st.dictionaries(
    # Two surrogates would both be written as a question mark; a configuration refuses them in names.
    st.text(max_size=8),
    st.tuples(SEEN, st.lists(st.sampled_from(Fault), unique=True, max_size=3)),
    min_size=1,
    max_size=3,
)


@pytest.mark.no_cover
@given(TARGETS)
def test_whatever_was_seen_no_series_comes_twice(
    drawn: dict[str, tuple[dict[str, Observed | Failed], list[Fault]]],
) -> None:
    """
    Any chains, repeated certificates, failures and faults, on any targets.
    """
    scene = Scene()
    for name, (looks, found) in drawn.items():
        labels = {f"{number}": look for number, look in enumerate(looks.values())}
        scene.see(
            target(name=name), *(ProbeResult(label, look, 0.0) for label, look in labels.items()), found=found
        )
    families = parsed(scene.text())
    rows = Counter(name for name, _ in series(families))
    assert rows[TARGET.name] == len(drawn)
    assert rows["expiry_probe_success"] == sum(len(looks) for looks, _ in drawn.values())


@pytest.mark.no_cover
@given(st.lists(SEEN, min_size=2, max_size=4))
def test_remembered_lines_are_those_that_would_be_written(drawn: list[dict[str, Observed | Failed]]) -> None:
    """
    After any series of sweeps, an exposition that remembers writes what a new one does.
    """
    scene, exposition = Scene(), Exposition()
    rows_before: dict[Facts | None, EndpointRow] = {}
    for number, looks in enumerate(drawn):
        given_looks = [ProbeResult(f"{position}", look, 0.5) for position, look in enumerate(looks.values())]
        scene.see(target(), *given_looks, at=NOW + number)
        # A verdict is the same object while nothing changed, as `judge_again` keeps it.
        rows = [
            replace(row, verdict=rows_before.setdefault(row.held.facts, row).verdict) for row in scene.rows()
        ]
        text = exposition.text(scene.targets(), rows, {})
        assert text == Exposition().text(scene.targets(), rows, {})
        assert text == exposition.text(scene.targets(), rows, {})


def test_a_changed_verdict_is_written() -> None:
    """
    The facts are the same, the judgement is not: remembered lines don't hide it.
    """
    scene, exposition = Scene().see(target(), seen(facts(certificate()))), Exposition()
    (row,) = scene.rows()
    assert "expiry_verification_success" in exposition.text(scene.targets(), [row], {})
    assert row.held.facts is not None
    refused = replace(row, verdict=verdict(row.held.facts, row.target, faults(Fault.EXPIRED)))
    text = exposition.text(scene.targets(), [refused], {})
    assert values(text, "expiry_verification_success") == {(): 0}


def test_what_is_no_certificate_has_an_end_and_no_certificate_info() -> None:
    """
    A domain registration, say; nothing else has its names.
    """
    found = Facts((Item("registration", Kind.LEAF, NOW, NOW + DAY),))
    names = {name for name, _ in series(parsed(Scene().see(target(), seen(found)).text()))}
    assert {NOT_AFTER.name, "expiry_alert_timestamp_seconds"} < names
    assert not names & {NEWEST.name, "expiry_certificate_info", "expiry_tls_info"}


def test_a_renewal_changes_no_labels_but_those_of_the_info_series() -> None:
    """
    All gauges keep their series, so that rules see one line that moves; what was before is told too.
    """
    scene = Scene().see(target(), seen(facts(certificate(serial="1"), intermediate(), root())))
    before = series(parsed(scene.text()))
    scene.see(target(), seen(facts(certificate(serial="2", end=NOW + 90 * DAY), intermediate(), root())))
    changed = set(before) ^ set(series(parsed(scene.text())))
    assert {name for name, _ in changed} == {
        "expiry_certificate_info",
        "expiry_previous_not_after_timestamp_seconds",
        "expiry_previous_not_before_timestamp_seconds",
    }


def test_endpoints_that_are_gone_are_forgotten() -> None:
    """
    Their remembered lines go with them.
    """
    exposition = Exposition()
    scene = Scene().see(target(), seen(facts(certificate()), "a"), seen(facts(certificate()), "b"))
    assert 'location="b"' in exposition.text(scene.targets(), scene.rows(), {})
    scene.see(target(), seen(facts(certificate()), "a"))
    assert 'location="b"' not in exposition.text(scene.targets(), scene.rows(), {})


def test_the_families_keep_their_order() -> None:
    """
    Samples of one family stand together, as the formats demand, in the order of the table.
    """
    scene = Scene().see(target(name="a"), seen(facts(certificate())), found=[Fault.EXPIRED])
    scene.see(target(name="b"), failed(Reason.TIMEOUT))
    written = re.findall(r"^(expiry_\w+)", scene.text(), re.MULTILINE)
    order = [family.name for family in FAMILIES]
    assert [name for name, _ in itertools.groupby(written)] == [name for name in order if name in written]


@pytest.mark.parametrize(("age", "new"), [(0, True), (NEW_FOR - 1, True), (NEW_FOR, False), (-1, False)])
def test_an_endpoint_is_new_for_a_while(age: float, *, new: bool) -> None:
    """
    Also in the very scrape that saw it first; not when the clock was set back since.
    """
    first = NOW + AT_FIRST + 1
    scene = Scene().see(target(name="old"), seen(facts(certificate())))
    scene.see(target(name="new"), seen(facts(certificate())), at=first)
    found = values(scene.text(at=first + age), FIRST_SEEN.name, "target")
    assert found == ({("new",): first} if new else {})


def test_what_was_there_from_the_beginning_is_not_new() -> None:
    """
    A sweep takes its time: a healthy fleet that is watched anew exports nothing of the sort.
    """
    scene = Scene().see(target(name="first"), seen(facts(certificate())))
    scene.see(target(name="last"), seen(facts(certificate())), at=NOW + AT_FIRST)
    text = scene.text(at=NOW + AT_FIRST)
    assert values(text, FIRST_SEEN.name, "target") == values(text, UNSEEN.name, "target") == {}


def test_a_target_without_any_endpoint_was_never_seen() -> None:
    """
    Before its first probe is over nothing is known of it.
    """
    row = TargetRow(target(name="new"), "wire", 0)
    assert values(Exposition().text([row], [], {}), UNSEEN.name, "target") == {("new",): 1}


def test_what_can_not_be_seen_is_pending_until_it_is_a_problem() -> None:
    """
    From the first failed probe on, once for all places of a target. A server that showed its certificate was
    seen, though the probe failed.
    """
    gone, refuses = target(name="gone", labels=(("team", "a"),)), target(name="refuses")
    scene = Scene().see(gone, seen(facts(certificate()), "e1"), seen(facts(certificate()), "e2"))
    scene.see(refuses, failed(Reason.CLIENT_CERTIFICATE_REQUIRED, found=facts(certificate())), at=NOW + 60)
    for late in (60, DAY):
        scene.see(gone, *(failed(Reason.CONNECT_TIMEOUT, at) for at in ("e1", "e2")), at=NOW + late)
        text = scene.text(at=NOW + late)
        (found,) = (one for one in parsed(text) if one.name == PROBLEM_PENDING.name)
        ((labels, value),) = ((one.labels, one.value) for one in found.samples)
        assert value == NOW
        assert {name: labels[name] for name in ("target", "problem", "severity", "location", "team")} == {
            "target": "gone",
            "problem": "probe_failing",
            "severity": "warning",
            "location": "e1",
            "team": "a",
        }
        assert labels["cause"].startswith("connect_timeout, last seen ")
        assert labels["advice"] == advice.FAILURES[Reason.CONNECT_TIMEOUT]
        assert PROBLEM.name not in text
    scene.see(gone, *(failed(Reason.CONNECT_TIMEOUT, at) for at in ("e1", "e2")), at=NOW + 2 * DAY)
    text = scene.text(at=NOW + 2 * DAY)
    assert PROBLEM_PENDING.name not in text
    assert values(text, PROBLEM.name, "target", "problem") == {("gone", "probe_failing"): NOW}


def test_lines_take_less_room_than_their_text() -> None:
    """
    Those of all families are there before the first is written; what endpoints have in common is kept once.
    """
    of = target()
    scene = Scene().see(
        of, *(seen(facts(certificate(), intermediate()), f"192.0.2.{n}:443") for n in range(200))
    )
    rows = tuple(scene.rows())
    scrape = Scrape((TargetRow(of, "wire", 0),), rows, (), 1.0, 10.0, complete=True, at=NOW)
    exposition = Exposition()
    tracemalloc.start()
    try:
        size = sum(map(len, exposition.parts(scrape, {})))
        kept, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        assert sum(map(len, exposition.parts(scrape, {}))) == size
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 0.4 * size
    assert peak - kept < size


def test_no_part_of_the_text_grows_with_the_fleet() -> None:
    """
    Whoever compresses or sends the text holds little of it at a time, however many endpoints there are.
    """
    of = target()
    scene = Scene().see(of, *(seen(facts(certificate()), f"192.0.2.1:{n}") for n in range(2000)))
    scrape = Scrape((TargetRow(of, "wire", 0),), tuple(scene.rows()), (), 1.0, 10.0, complete=True, at=NOW)
    parts = list(Exposition().parts(scrape, {}))
    assert sum(map(len, parts)) > 2_000_000
    assert max(map(len, parts)) < 250_000


def test_a_target_is_unsettled_until_it_was_seen_often() -> None:
    """
    Its line, which is kept from one text to the next, says so as long as it is true.
    """
    of, scene, exposition = target(), Scene(), Exposition()
    said = []
    for number in range(FEW + 1):
        scene.see(of, seen(facts(certificate())), at=NOW + number)
        text = exposition.text([TargetRow(of, "wire", 0)], scene.rows(), {})
        said.append('unsettled="yes"' in text)
    assert said == [True] * (FEW - 1) + [False] * 2
