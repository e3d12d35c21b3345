"""
The agenda: what calendar programs are told, read back by two libraries that are not ours.
"""

from datetime import UTC, datetime
from typing import Any

import icalendar
import pytest
import vobject

from exporter.model.foreign_text import printable_lines
from exporter.model.policies import AUTOMATIC, HOUR, MANUAL, Policy, Severity
from exporter.model.reasons import Kind, Reason
from exporter.report.advice import renewal
from exporter.report.calendar import EVENT_LIMIT, render, uid
from exporter.report.filters import Selection
from exporter.report.forecast import forecast
from exporter.report.inventory import Inventory
from tests.golden.scenes import failed, seen
from tests.golden.values import Scene, certificate, facts, intermediate, target
from tests.support.certificates import DAY, NOW
from tests.support.pages import EXTERNAL_URL, scrape


def calendar(
    scene: Scene, *, external_url: str | None = None, name: str = "Expiry", at: float = NOW
) -> bytes:
    """
    The calendar of all of the scene, seen at this time.
    """
    return render(Inventory(scrape(scene)).select(Selection(), at), at, external_url, name)


def events(text: bytes) -> list[Any]:
    """
    The events as one library reads them, after the other one has read the same.
    """
    # Lines end with CRLF and have 75 bytes at most (RFC 5545 section 3.1).
    assert text.endswith(b"\r\n")
    assert text.count(b"\n") == text.count(b"\r\n")
    assert max(len(line) for line in text.split(b"\r\n")) <= 75
    found = icalendar.Calendar.from_ical(text)
    assert found.errors == []
    assert all(event.errors == [] for event in found.events)
    others = vobject.readOne(text.decode("utf-8"))
    ours = sorted((str(event["uid"]), str(event["summary"])) for event in found.events)
    theirs = sorted((event.uid.value, event.summary.value) for event in getattr(others, "vevent_list", []))
    assert ours == theirs
    assert len({one for one, _ in ours}) == len(ours)
    return list(found.events)


def moments(text: bytes) -> dict[str, datetime]:
    """
    When each event is, by its summary.
    """
    return {str(event["summary"]): event["dtstart"].dt for event in events(text)}


def moment(timestamp: float) -> datetime:
    """
    The moment as a calendar has it.
    """
    return datetime.fromtimestamp(timestamp, UTC)


def test_each_item_with_deadlines_has_three_events() -> None:
    """
    Not the intermediate, which comes anew with the leaf.
    """
    text = calendar(Scene().see(target(name="shop"), seen(facts(certificate(), intermediate()))))
    assert moments(text) == {
        "shop: renewal of the certificate is due": moment(NOW + 45 * DAY),
        "shop: certificate is critical": moment(NOW + 68 * DAY),
        "shop: certificate expires": moment(NOW + 75 * DAY),
    }


@pytest.mark.parametrize("policy", [AUTOMATIC, MANUAL], ids=lambda one: one.name)
@pytest.mark.parametrize("lifetime", [HOUR, 6 * DAY, 90 * DAY, 398 * DAY])
def test_its_moments_are_those_of_the_forecast(policy: Policy, lifetime: float) -> None:
    """
    What the calendar calls critical is the first critical alert, and its end is ExpiryPassed.
    """
    of = target(name="shop", policy=policy)
    scene = Scene().see(of, seen(facts(certificate(begin=NOW, end=NOW + lifetime), intermediate())))
    found = forecast(scene.rows(), NOW, 1000).alerts
    shown = moments(calendar(scene))
    critical = min(one.at for one in found if one.severity is Severity.CRITICAL)
    assert shown["shop: certificate is critical"] == moment(int(critical))
    (passed,) = [one.at for one in found if one.name == "ExpiryPassed"]
    assert shown["shop: certificate expires"] == moment(passed)


def test_an_event_says_where_what_and_what_to_do() -> None:
    """
    With a link where the server knows its own address.
    """
    scene = Scene().see(target("https://a.example"), seen(facts(certificate("a, b; c"), intermediate())))
    page = f"{EXTERNAL_URL}/targets/https%3A%2F%2Fa.example"
    event = events(calendar(scene, external_url=EXTERNAL_URL))[0]
    assert str(event["description"]).splitlines() == [
        "At 192.0.2.10:443, from 2026-12-31 08:00 UTC to 2027-03-31 08:00 UTC.",
        "Subject: CN=a, b; c",
        "Issuer: CN=Test Intermediate",
        "Policy: automatic",
        renewal(Kind.LEAF, AUTOMATIC),
        page,
    ]
    assert event["url"] == page
    assert event["transp"] == "TRANSPARENT"
    assert event["dtstamp"].dt == moment(NOW)
    assert "url" not in events(calendar(scene))[0]


@pytest.mark.parametrize("name", ["shop", "a, b; c\\\\d", "\N{GRINNING FACE}" * 100, "x" * 1000])
def test_a_library_writes_the_same(name: str) -> None:
    """
    Names, order, escapes and lines: what programs know to read.
    """
    scene = Scene().see(target(name=name), seen(facts(certificate(), intermediate())))
    text = calendar(scene, external_url=EXTERNAL_URL, name=name)
    assert icalendar.Calendar.from_ical(text).to_ical() == text


@pytest.mark.parametrize("before", range(80))
def test_no_escape_is_divided(before: int) -> None:
    """
    Wherever it stands: some programs unfold lines after they read the escapes.
    """
    name = "x" * before + "\\,;\n" * 20
    scene = Scene().see(target(name=name), seen(facts(certificate(), intermediate())))
    text = calendar(scene)
    assert events(text)
    lines = text.split(b"\r\n")
    assert not [one for one in lines if (len(one) - len(one.rstrip(b"\\"))) % 2]


def test_a_renewal_moves_the_events() -> None:
    """
    The same UIDs, later, and in a version that replaces the one before, so that no program shows both.
    """
    old, renewed = (
        certificate(end=NOW + DAY, serial="1"),
        certificate(begin=NOW, end=NOW + 90 * DAY, serial="2"),
    )
    before = events(calendar(Scene().see(target(), seen(facts(old)))))
    after = events(calendar(Scene().see(target(), seen(facts(renewed))), at=NOW + HOUR))
    assert all(one["dtstart"].dt < two["dtstart"].dt for one, two in zip(before, after, strict=True))
    assert_replaced(before, after)


def assert_replaced(before: list[Any], after: list[Any]) -> None:
    """
    A program that knows the events of before takes those of after (RFC 5546 section 2.1.5).
    """
    assert [event["uid"] for event in before] == [event["uid"] for event in after]
    for old, new in zip(before, after, strict=True):
        assert (old["sequence"], old["dtstamp"].dt) < (new["sequence"], new["dtstamp"].dt)


@pytest.mark.parametrize("later", [60, HOUR, 300 * DAY])
@pytest.mark.parametrize("change", ["rolled back", "server gone", "policy", "forgotten"])
def test_no_change_is_ignored(change: str, later: float) -> None:
    """
    Programs ignore a version with a lower sequence: it does not fall when what is told of becomes older.
    """
    old = certificate(begin=NOW - 80 * DAY, end=NOW + 10 * DAY, serial="1")
    new = certificate(begin=NOW - HOUR, end=NOW + 89 * DAY, serial="2")
    newer = certificate(begin=NOW - HOUR, end=NOW + 88 * DAY, serial="3")
    scene = Scene().see(target(), seen(facts(old), "192.0.2.1:443"), at=NOW - DAY)
    scene.see(target(), seen(facts(new), "192.0.2.1:443"), seen(facts(newer), "192.0.2.2:443"))
    before = events(calendar(scene))
    at = NOW + later
    match change:
        case "rolled back":
            scene.see(target(), seen(facts(old), "192.0.2.1:443"), seen(facts(newer), "192.0.2.2:443"), at=at)
        case "server gone":
            scene.see(target(), seen(facts(new), "192.0.2.1:443"), at=at)
        case "policy":
            scene = Scene().see(target(policy=MANUAL), seen(facts(newer)), at=at)
        case _:
            scene = Scene().see(target(), seen(facts(old)), at=at)
    assert_replaced(before, events(calendar(scene, at=at)))


def test_the_uids_never_change() -> None:
    """
    Not with a new version of the exporter either: everybody's calendar would have everything twice.
    """
    assert str(uid("https://a.example", "leaf", "end")) == "b18cd820-696c-5d2e-b26b-a1d3bae56064"


def test_many_endpoints_of_a_target_have_one_event() -> None:
    """
    Of the one that ends first: it moves when the last server has the new certificate.
    """
    old, new = certificate(end=NOW + 10 * DAY, serial="1"), certificate(serial="2")
    scene = Scene().see(
        target(name="a"),
        seen(facts(new), "192.0.2.1:443"),
        seen(facts(old), "192.0.2.2:443"),
        seen(facts(new), "192.0.2.3:443"),
    )
    found = events(calendar(scene))
    assert len(found) == 3
    assert moments(calendar(scene))["a: certificate expires"] == moment(NOW + 10 * DAY)
    assert "At 192.0.2.2:443" in found[0]["description"]
    assert "At 2 other endpoints this comes then or later." in found[0]["description"]


def test_a_moment_is_that_of_the_endpoint_where_it_comes_first() -> None:
    """
    What lasts for a year is critical before what lasts for six days, though that ends first.
    """
    short = certificate(begin=NOW - 3 * DAY, end=NOW + 3 * DAY, serial="1")
    long = certificate(begin=NOW - 393 * DAY, end=NOW + 5 * DAY, serial="2")
    scene = Scene().see(
        target(name="a"), seen(facts(short), "192.0.2.1:443"), seen(facts(long), "192.0.2.2:443")
    )
    found = {str(one["summary"]): one for one in events(calendar(scene))}
    assert "At 192.0.2.1:443" in found["a: certificate expires"]["description"]
    assert "At 192.0.2.2:443" in found["a: certificate is critical"]["description"]
    assert moments(calendar(scene))["a: certificate is critical"] < moment(NOW)


def test_several_items_are_told_apart() -> None:
    """
    An intermediate that ends before its leaf has deadlines of its own.
    """
    scene = Scene().see(target(name="a"), seen(facts(certificate(), intermediate(end=NOW + 50 * DAY))))
    found = moments(calendar(scene))
    assert len(found) == 6
    assert found["a: intermediate certificate chain-1 expires"] == moment(NOW + 50 * DAY)


def test_the_calendar_says_what_it_is() -> None:
    """
    Its name, and how often to ask; also where there is nothing in it.
    """
    text = calendar(
        Scene().see(target(), failed(Reason.TIMEOUT)), name="Expiry: team=a, b; c\\d\nBEGIN:VEVENT"
    )
    assert events(text) == []
    found = icalendar.Calendar.from_ical(text)
    assert found["method"] == "PUBLISH"
    assert found["version"] == "2.0"
    assert found["x-published-ttl"] == "PT1H"
    assert b"REFRESH-INTERVAL;VALUE=DURATION:PT1H\r\n" in text
    assert b"X-WR-CALNAME:Expiry: team=a\\, b\\; c\\\\d\\nBEGIN:VEVENT\r\n" in text
    assert vobject.readOne(text.decode()).x_wr_calname.value == "Expiry: team=a, b; c\\d\nBEGIN:VEVENT"


@pytest.mark.parametrize(
    "odd",
    [
        'a, b; c\\d: "e"',
        "two\nlines\r\nBEGIN:VEVENT",
        "bell\x07 null\x00 escape\x1b delete\x7f",
        "half a pair \udcff",
        "\N{RIGHT-TO-LEFT OVERRIDE}\N{HEBREW LETTER SHIN}",
        "\N{GRINNING FACE}" * 100,
        "x" * 1000,
    ],
)
def test_no_text_breaks_the_calendar(odd: str) -> None:
    """
    Escaped, folded between characters, and without what no calendar may have, or what turns it round.
    """
    scene = Scene().see(target(name=odd), seen(facts(certificate(odd, issuer=odd)), odd))
    found = events(calendar(scene, external_url=EXTERNAL_URL, name=odd))
    assert len(found) == 3
    text = str(found[0]["summary"])
    assert not [char for char in text if char < " " and char not in "\n\t"]
    assert text.startswith(printable_lines(odd)[:3])


@pytest.mark.parametrize(
    ("begin", "end", "count"),
    [
        (NOW, 253402300799.0, 3),
        (-2e9, -1e9, 3),
        # Year 800: four digits all the same.
        (-36.93e9, -36.9e9, 3),
        (NOW, 253402300800.0, 2),
        (NOW, 1e15, 0),
        (-1e15, -1e14, 0),
        (NOW, NOW, 3),
        (NOW + DAY, NOW - DAY, 3),
    ],
)
def test_far_moments_are_told_as_far_as_a_calendar_goes(begin: float, end: float, count: int) -> None:
    """
    From the year 1 to 9999; what is beyond has no event, and takes none of the others with it.
    """
    scene = Scene().see(target(name="far"), seen(facts(certificate(begin=begin, end=end))))
    scene.see(target(name="near"), seen(facts(certificate("near.example.com"))))
    found = moments(calendar(scene))
    assert len([one for one in found if one.startswith("far")]) == count
    assert len([one for one in found if one.startswith("near")]) == 3


@pytest.mark.no_cover
def test_a_calendar_has_the_soonest_events_and_says_when_there_are_more() -> None:
    """
    What is long over comes after all that is to come.
    """
    scene = Scene().see(
        target(name="over"), seen(facts(certificate(begin=NOW - 900 * DAY, end=NOW - 800 * DAY)))
    )
    for number in range(EVENT_LIMIT // 3 + 1):
        end = NOW + (50 + number) * DAY
        scene.see(target(name=f"{number}"), seen(facts(certificate(begin=end - 90 * DAY, end=end))))
    text = calendar(scene)
    found = moments(text)
    assert len(found) == EVENT_LIMIT
    assert not [one for one in found if one.startswith("over")]
    assert "0: certificate expires" in found
    words = str(icalendar.Calendar.from_ical(text)["description"])
    assert f"The first {EVENT_LIMIT} of {EVENT_LIMIT // 3 * 3 + 6} events" in words
