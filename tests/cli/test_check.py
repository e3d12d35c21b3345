"""
`expiry-exporter check`: the table and the JSON document, from values made by hand.
"""

import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from exporter.cli import check
from exporter.cli.one_shot import look
from exporter.cli.terminal import ASCII, bar, joined
from exporter.demo import endpoints
from exporter.engine.results import ProbeResult
from exporter.model.observation import Chain, Facts, Failed, FoundFault, Item, Observed
from exporter.model.policies import BUILT_IN
from exporter.model.reasons import Fault, Kind, Reason
from exporter.probes.tls import refusals
from exporter.probes.tls.handshake import Seen
from exporter.report.advice import FAILURES
from exporter.report.inventory import Inventory
from exporter.report.status import Level
from tests.golden.scenes import failed, seen
from tests.golden.values import ADDRESS, TLS, Scene, certificate, facts, intermediate, target
from tests.support.certificates import DAY, NOW
from tests.support.pages import document_of_leaf, in_numbers, scrape
from tests.support.screen import Screen, screen


def mixed() -> Scene:
    """
    One endpoint of each level, the most urgent in the middle.
    """
    scene = Scene().see(target(name="fine"), seen(facts(certificate(), intermediate())))
    scene.see(target(name="ended"), seen(facts(certificate(end=NOW - DAY))), found=[Fault.EXPIRED])
    scene.see(target(name="late"), seen(facts(certificate(begin=NOW - 70 * DAY, end=NOW + 20 * DAY))))
    return scene.see(target(name="[bold]gone"), failed(Reason.CONNECTION_REFUSED))


def table(scene: Scene, only: frozenset[Level] = frozenset(Level)) -> list[str]:
    """
    The lines that a pipe gets.
    """
    stream = io.StringIO()
    check.print_table(Inventory(scrape(scene)), NOW, stream, only)
    return stream.getvalue().splitlines()


def test_the_table_has_the_most_urgent_first() -> None:
    """
    One line for each endpoint, and the counts; a name in brackets is a name.
    """
    lines = table(mixed())
    assert " ".join(lines[0].split()) == "STATE TARGET LOCATION ITEM EXPIRES DAYS WHAT TO KNOW"
    assert [line.split()[:6] for line in lines[1:5]] == [
        ["CRITICAL", "ended", ADDRESS, "leaf", "2027-01-14T08:00:00Z", "-1.0"],
        ["UNKNOWN", "[bold]gone", ADDRESS, "-", "-", "-"],
        ["WARNING", "late", ADDRESS, "leaf", "2027-02-04T08:00:00Z", "20.0"],
        ["OK", "fine", ADDRESS, "leaf", "2027-03-31T08:00:00Z", "75.0"],
    ]
    assert lines[1].endswith("certificate EXPIRED 1 d 0 h ago, on 2027-01-14 08:00 UTC")
    assert lines[4].endswith("  fine")
    assert lines[5] == "1 critical, 1 unknown, 1 warning, 1 ok"
    assert "\x1b" not in "".join(lines)


def test_the_plain_table_has_stable_columns() -> None:
    """
    Each begins where its heading does, a cell is never empty, and no line has blanks at its end.
    """
    lines = table(mixed())
    starts = [lines[0].index(heading) for heading in check.HEADINGS]
    for line in lines[1:5]:
        assert all(line[start] != " " and line[start - 2 : start] in {"", "  "} for start in starts)
        assert line == line.rstrip()
        assert line.isprintable()


@pytest.mark.parametrize(
    ("left", "days"), [(1.0, "0.0"), (-1.0, "-0.1"), (0.19 * DAY, "0.1"), (-2.01 * DAY, "-2.1")]
)
def test_days_are_rounded_down(left: float, days: str) -> None:
    """
    What has ended has less than none left, by a second already.
    """
    end = NOW + left
    scene = Scene().see(target(), seen(facts(certificate(begin=end - 90 * DAY, end=end))))
    assert table(scene)[1].split()[5] == days


def several() -> Scene:
    """
    An endpoint with two leaves, of which one is late, and an intermediate that ends with the other.
    """
    above = intermediate(end=NOW + 39 * DAY)
    late = certificate(key="rsa-2048", begin=NOW - 80 * DAY, end=NOW + 10 * DAY)
    found = refusals.facts(
        Seen(Chain((late, intermediate()), "rsa"), TLS), Seen(Chain((certificate(), above), "ecdsa"), TLS)
    )
    return Scene().see(target(keys="both"), seen(found), found=[Fault.NAME_MISMATCH])


def test_each_item_with_a_deadline_has_a_line() -> None:
    """
    Of its own urgency; what is about the endpoint stands on its first line.
    """
    rows = [line.split() for line in table(several())[1:-1]]
    assert [(row[0], row[3], row[5]) for row in rows] == [
        ("WARNING", "leaf-rsa", "10.0"),
        ("WARNING", "chain-ecdsa-1", "39.0"),
        ("OK", "leaf-ecdsa", "75.0"),
    ]
    line = table(several())[1]
    assert line.index("certificate leaf-rsa expires in 10 d") < line.index(
        "not trusted: words about name_mismatch"
    )
    assert table(several())[-1] == "0 critical, 0 unknown, 1 warning, 0 ok"


def test_sentences_do_not_run_together() -> None:
    """
    Faults are told in whole sentences, and stand on one line with what is none.
    """
    scene = Scene()
    late = certificate(begin=NOW - 70 * DAY, end=NOW + 20 * DAY)
    scene.see(target(), seen(facts(late)))
    scene.faults[target()] = (
        FoundFault(Fault.WEAK_KEY, "It has a DSA key."),
        FoundFault(Fault.REVOKED, "It is so."),
    )
    (line,) = table(scene)[1:-1]
    assert "  not trusted: It has a DSA key; not trusted: It is so; certificate expires in 20 d" in line


def test_an_ellipsis_is_no_full_stop() -> None:
    """
    Words that were cut off stay marked.
    """
    assert joined(["One.", "two...", "three", "four."]) == "One; two...; three; four"


def test_what_is_no_target_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    As unknown, in the counts, in the level and in the document; a table without lines has no headings.
    """
    stream = io.StringIO()
    check.print_table(Inventory(scrape(Scene())), NOW, stream, refused=["nope", "nor this"])
    assert stream.getvalue() == "0 critical, 2 unknown, 0 warning, 0 ok\n"
    shown = screen(monkeypatch)
    check.print_table(Inventory(scrape(mixed())), NOW, shown, refused=["nope"])
    assert shown.plain.endswith("\n1 critical, 2 unknown, 1 warning, 1 ok\n")
    stream = io.StringIO()
    check.print_json(Inventory(scrape(Scene())), NOW, stream, ["nope"])
    assert in_numbers(json.loads(stream.getvalue())) == {
        "level": "unknown",
        "refused": ["nope"],
        "seen_at": NOW - 12,
        "endpoints": [],
    }
    assert check.level(Inventory(scrape(mixed())), NOW, ["nope"]) is Level.CRITICAL


def test_only_some_levels_are_shown_and_all_are_counted() -> None:
    """
    What is left out is said.
    """
    lines = table(mixed(), frozenset({Level.WARNING, Level.UNKNOWN}))
    assert [line.split()[0] for line in lines[1:-1]] == ["UNKNOWN", "WARNING"]
    assert lines[-1] == "1 critical, 1 unknown, 1 warning, 1 ok (2 of them not shown)"


def test_a_look_that_ran_out_of_time_is_said() -> None:
    """
    With what to do: it is easily taken for a failure of the servers.
    """
    stream = io.StringIO()
    check.print_table(Inventory(replace(scrape(mixed()), complete=False)), NOW, stream)
    assert stream.getvalue().endswith("; not all was probed in 9.5 s: raise --timeout\n")


def hostile() -> Scene:
    """
    A name and words with line ends, escapes and direction overrides.
    """
    weird = "a\x1b[2Jb\nc \N{RIGHT-TO-LEFT OVERRIDE}d"
    return Scene().see(
        target(name=weird), ProbeResult(ADDRESS, Failed(Reason.NOT_TLS, "\x1b]0;title\x07\r\nSSH-2.0"), 0.1)
    )


def test_nothing_in_a_name_acts_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Nor breaks a line of the plain table in two.
    """
    assert len(table(hostile())) == 3
    shown = screen(monkeypatch)
    check.print_table(Inventory(scrape(hostile())), NOW, shown)
    for text in ("".join(table(hostile())), shown.plain.replace("\n", "")):
        assert text.isprintable()
        assert "SSH-2.0" in text


@pytest.mark.parametrize("width", [80, 160])
def test_a_terminal_gets_groups_with_counts(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """
    The most urgent first, each with a heading; no line is longer than the terminal or ends in blanks.
    """
    shown = screen(monkeypatch, width)
    check.print_table(Inventory(scrape(mixed())), NOW, shown)
    lines = shown.plain.splitlines()
    headings = [line for line in lines if line.startswith(" ") and not line.startswith("  ")]
    assert headings == [
        " CRITICAL  1 endpoint: act now",
        " UNKNOWN  1 endpoint: could not be seen or checked",
        " WARNING  1 endpoint: act soon",
        " OK  1 endpoint: fine",
    ]
    assert [line for line in lines if "[bold]gone" in line] == [f"  [bold]gone  {ADDRESS}"]
    assert lines[-1] == "1 critical, 1 unknown, 1 warning, 1 ok"
    assert max(map(len, lines)) <= width
    assert all(line == line.rstrip() for line in lines)


def test_a_terminal_gets_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Of the urgency, in the heading and the words; the bar has that of its own deadlines.
    """
    shown = screen(monkeypatch)
    check.print_table(Inventory(scrape(several())), NOW, shown)
    assert shown.style_of(" WARNING ") == "\x1b[1;7;33m"
    assert shown.style_of("not trusted") == "\x1b[33m"
    assert "\x1b[33m█" in shown.getvalue()
    assert "\x1b[32m█" in shown.getvalue()


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colours_where_none_are_wanted(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    """
    NO_COLOR leaves groups and bars; a terminal that can do nothing gets the plain table.
    """
    shown = screen(monkeypatch, 80, **environment)
    check.print_table(Inventory(scrape(mixed())), NOW, shown)
    assert not re.search(r"\x1b\[[\d;]*3\d", shown.getvalue())
    assert ("┃" in shown.getvalue()) == ("NO_COLOR" in environment)
    assert (shown.plain.splitlines() == table(mixed())) == ("TERM" in environment)


@pytest.mark.parametrize(
    ("begin", "end", "drawn"),
    [
        # Renewal is due with a third left, at most 30 days.
        (0, 90, "###|######"),
        (-15, 75, "###|####.."),
        (-59, 31, "###|......"),
        (-70, 20, "##.|......"),
        (-89.9, 0.1, "#..|......"),
        (-91, -1, "...|......"),
        (30, 120, "###|######"),
        (-3649, 1, "|........."),
        (0, 0, "|........."),
        (5, 0, "|........."),
    ],
)
def test_a_bar_is_what_is_left_and_its_mark_is_when_renewal_is_due(
    begin: float, end: float, drawn: str
) -> None:
    """
    Shorter than the mark: overdue. Also of what has not begun, has ended, or has no life at all.
    """
    leaf = certificate(begin=NOW + begin * DAY, end=NOW + end * DAY)
    (row,) = Scene().see(target(), seen(facts(leaf))).rows()
    assert row.verdict is not None
    assert bar(row.verdict.items[0], NOW, 10, ASCII).plain == drawn


def test_a_terminal_that_lacks_the_characters_gets_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Bars are drawn all the same.
    """
    shown = screen(monkeypatch, encoding="latin-1")
    check.print_table(Inventory(scrape(mixed())), NOW, shown)
    shown.getvalue().encode("latin-1")
    assert "###|####.." in shown.plain


def test_what_to_do_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A hundred servers may need the same.
    """
    scene = Scene()
    for number in range(100):
        scene.see(target(name=f"t{number:03}"), failed(Reason.CONNECTION_REFUSED))
    shown = screen(monkeypatch)
    check.print_table(Inventory(scrape(scene)), NOW, shown)
    assert shown.plain.count("connection_refused:") == 100
    assert shown.plain.count("→ Start the server") == 1


def bundle() -> Scene:
    """
    A file with forty CA certificates, of which one is over.
    """
    end = [NOW - DAY, *(NOW + 800 * DAY + number * DAY for number in range(39))]
    items = tuple(
        Item(
            f"certificate-{number}",
            Kind.AUTHORITY,
            NOW - 900 * DAY,
            end[number],
            certificate(f"CA {number}", end=end[number]),
        )
        for number in range(40)
    )
    return Scene().see(target("file:///etc/bundle.pem"), seen(Facts(items), "/etc/bundle.pem"))


def test_a_terminal_shows_few_of_many_items_that_are_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What is not fine is shown with its subject; a pipe gets a line for each.
    """
    shown = screen(monkeypatch, 120)
    check.print_table(Inventory(scrape(bundle())), NOW, shown)
    assert "certificate-0 EXPIRED 1 d 0 h ago, on 2027-01-14 08:00 UTC (CN=CA 0)" in shown.plain
    assert [name for name in range(40) if f" certificate-{name} " in shown.plain] == [0, 1, 2, 3, 4, 5]
    assert "… 34 more items, fine, expiring later" in shown.plain
    assert len(table(bundle())) == 42


def test_a_place_that_is_too_long_stands_above(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The rest is then below it, in columns still.
    """
    name = "https://" + "a-very-long-name." * 4 + "example.com"
    shown = screen(monkeypatch)
    check.print_table(
        Inventory(scrape(Scene().see(target(name=name), seen(facts(certificate()))))), NOW, shown
    )
    lines = shown.plain.splitlines()
    # A name without blanks may be broken anywhere.
    assert "".join(line.strip() for line in lines[3:5]).startswith(name)
    assert "    ███┃████░░   75 d 0 h  2027-03-31 08:00" in lines
    assert max(map(len, lines)) <= 80


def test_nothing_to_show_is_no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The counts stand alone.
    """
    shown = screen(monkeypatch)
    check.print_table(Inventory(scrape(Scene())), NOW, shown)
    assert shown.plain == "0 critical, 0 unknown, 0 warning, 0 ok\n"


def document(scene: Scene) -> Any:
    """
    The JSON document.
    """
    stream = io.StringIO()
    check.print_json(Inventory(scrape(scene)), NOW, stream)
    return in_numbers(json.loads(stream.getvalue()))


def test_the_document_says_everything() -> None:
    """
    Of a healthy endpoint, whole.
    """
    leaf, above = certificate(), intermediate()
    found = document(Scene().see(target(name="fine"), seen(facts(leaf, above))))
    assert found == {
        "level": "ok",
        "refused": [],
        "seen_at": NOW - 12,
        "endpoints": [
            {
                "target": "fine",
                "location": ADDRESS,
                "labels": {},
                "policy": "automatic",
                "last_seen": NOW,
                "level": "ok",
                "findings": [],
                "probe": {"success": True, "reason": None, "detail": None, "duration_seconds": 0.0125},
                "verification": {"success": True, "faults": []},
                "items": [
                    document_of_leaf(leaf),
                    {
                        "item": "chain-1",
                        "kind": "intermediate",
                        "policy": "automatic",
                        "not_before": above.not_before,
                        "not_after": above.not_after,
                        "renewal_due": None,
                        "warning": None,
                        "critical": None,
                        "newest_not_after": None,
                        "subject": "CN=Test Intermediate",
                        "issuer": "CN=Test Root",
                        "serial": "10",
                        "fingerprint_sha256": above.fingerprint_sha256,
                        "key": "ecdsa-256",
                        "dns_names": [],
                        "ip_addresses": [],
                    },
                ],
            }
        ],
    }


def test_the_document_says_what_failed() -> None:
    """
    What is not known is null.
    """
    found = document(Scene().see(target(name="gone"), failed(Reason.CONNECTION_REFUSED)))
    assert found == {
        "level": "unknown",
        "refused": [],
        "seen_at": NOW - 12,
        "endpoints": [
            {
                "target": "gone",
                "location": ADDRESS,
                "labels": {},
                "policy": "automatic",
                "last_seen": None,
                "level": "unknown",
                "findings": [
                    {
                        "problem": None,
                        "level": "unknown",
                        "words": "connection_refused: words about connection_refused",
                        "advice": FAILURES[Reason.CONNECTION_REFUSED],
                        "item": None,
                    }
                ],
                "probe": {
                    "success": False,
                    "reason": "connection_refused",
                    "detail": "words about connection_refused",
                    "duration_seconds": 1.0,
                },
                "verification": {"success": None, "faults": []},
                "items": [],
            }
        ],
    }


def test_the_document_names_faults() -> None:
    """
    By the values that the metrics have.
    """
    scene = Scene().see(target(), seen(facts(certificate())), found=[Fault.NAME_MISMATCH, Fault.WEAK_KEY])
    assert document(scene)["endpoints"][0]["verification"] == {
        "success": False,
        "faults": [
            {"reason": "name_mismatch", "detail": "words about name_mismatch"},
            {"reason": "weak_key", "detail": "words about weak_key"},
        ],
    }


@pytest.mark.parametrize(
    ("scene", "expected"),
    [
        (Scene(), Level.OK),
        (Scene().see(target(), failed(Reason.TIMEOUT)), Level.UNKNOWN),
        (mixed(), Level.CRITICAL),
    ],
)
def test_the_level_is_the_most_urgent(scene: Scene, expected: Level) -> None:
    """
    Of all endpoints.
    """
    assert check.level(Inventory(scrape(scene)), NOW) is expected


@pytest.mark.parametrize("terminal", [True, False])
async def test_a_look_shows_its_progress_on_a_terminal(tmp_path: Path, terminal: bool) -> None:
    """
    And nothing without one; it gives one scrape.
    """
    stream = Screen()
    console = Console(file=stream, force_terminal=True, width=80) if terminal else None

    shown = await endpoints.start(NOW, str(tmp_path))
    try:
        targets = [one for one in shown.targets if one.name in {"healthy", "refused"}]
        found = await look(targets, 5.0, 8, console)
    finally:
        await shown.close()
    seen_there = {row.target.name: isinstance(row.held.observation, Observed) for row in found.endpoints}
    assert seen_there == {"healthy": True, "refused": False}
    assert ("targets" in stream.getvalue()) == terminal


def test_what_is_expired_and_not_trusted_says_both() -> None:
    """
    The end first. The details have each fault, and where there is none that clients accept it.
    """
    wrong = [Fault.EXPIRED, Fault.SELF_SIGNED, Fault.NAME_MISMATCH]
    scene = Scene().see(target(name="ended"), seen(facts(certificate(end=NOW - DAY))), found=wrong)
    scene.see(target(name="fine"), seen(facts(certificate(), intermediate())))
    lines = table(scene)
    assert lines[1].startswith("CRITICAL  ended")
    words = lines[1].partition("certificate EXPIRED")[2]
    verdict = scene.rows()[0].verdict
    details = [one.detail.removesuffix(".") for one in (verdict.faults if verdict is not None else ())]
    besides = "; ".join(f"not trusted either: {detail}" for detail in details[1:])
    assert words == f" 1 d 0 h ago, on 2027-01-14 08:00 UTC; {besides}"
    stream = io.StringIO()
    check.print_details(Inventory(scrape(scene)), NOW, stream, frozenset(Level))
    told = [line.split(maxsplit=1)[1] for line in stream.getvalue().splitlines() if " verification " in line]
    assert [one.partition(":")[0] for one in told] == [
        *(f"refused, {one}" for one in wrong),
        "accepted",
    ]


def test_what_is_expired_is_said_before_what_is_not_trusted() -> None:
    """
    A certificate that is both: the end explains the rest.
    """
    ended = seen(facts(certificate(end=NOW - DAY)))
    scene = Scene().see(target(name="both"), ended, found=[Fault.EXPIRED, Fault.NAME_MISMATCH])
    line = table(scene)[1]
    assert "EXPIRED" in line
    assert "not trusted" not in line.partition("EXPIRED")[0]


def test_details_have_what_a_person_opens_a_certificate_for() -> None:
    """
    Handshake, names, key, fingerprint and deadlines; only of the levels that are shown.
    """
    stream = io.StringIO()
    check.print_details(Inventory(scrape(mixed())), NOW, stream, {Level.OK})
    text, leaf = stream.getvalue(), certificate()
    assert "\nfine  " in text
    assert "late  " not in text
    for word in (leaf.subject, leaf.issuer, leaf.serial, leaf.fingerprint_sha256, leaf.key, *leaf.dns_names):
        assert word in text
    for word in ("protocol", "chain", "stapled", "renewal due", "critical"):
        assert word in text


def test_details_name_the_policy_of_what_seems_to_renew() -> None:
    """
    Where nobody chose one, also in a log, whose table has no advice.
    """
    amazon = seen(facts(certificate(issuer="CN=Amazon RSA 2048 M02,O=Amazon,C=US")))
    scene = Scene().see(target(name="default"), amazon)
    scene.see(target(name="chosen", policy=BUILT_IN["cloud-60"]), amazon)
    stream = io.StringIO()
    check.print_details(Inventory(scrape(scene)), NOW, stream, frozenset(Level))
    (line,) = [one for one in stream.getvalue().splitlines() if "cloud-60`" in one]
    assert line.split(maxsplit=1)[0] == "hint"
    assert "set `policy: cloud-60`" in line
