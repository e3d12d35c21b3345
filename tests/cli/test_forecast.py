"""
The forecast as it is printed, from values made by hand.
"""

import csv
import io
import json

import pytest

from exporter.cli import forecast as forecast_command
from exporter.cli.terminal import iso
from exporter.model.observation import Certificate
from exporter.model.reasons import Fault, Reason
from exporter.report.forecast import Forecast, forecast
from tests.golden.scenes import failed, seen
from tests.golden.values import ADDRESS, Scene, certificate, facts, intermediate, target
from tests.support.certificates import DAY, NOW
from tests.support.screen import screen

WIDTHS = (80, 160)


def leaf(days: float, name: str = "lms.example.com") -> Certificate:
    """
    A 90-day certificate that ends in so many days.
    """
    return certificate(name, begin=NOW + (days - 90) * DAY, end=NOW + days * DAY)


def mixed() -> Forecast:
    """
    Something now, something in each of two weeks, a certificate on six targets, and what can't be seen.
    """
    scene = Scene().see(target(name="[bold]shop\x1b[2J"), seen(facts(leaf(-1))))
    for number in range(6):
        scene.see(target(name=f"service-{number}"), seen(facts(leaf(28, "*.example.com"))))
    scene.see(target(name="gone"), failed(Reason.CONNECTION_REFUSED))
    return forecast(scene.rows(), NOW, 30)


def plain(found: Forecast) -> list[str]:
    """
    The lines that a pipe gets.
    """
    stream = io.StringIO()
    forecast_command.print_text(found, stream)
    return stream.getvalue().splitlines()


def test_the_plain_list_has_a_line_for_each_alert() -> None:
    """
    In columns without blanks, `now` or the moment first; then the counts, and what was not seen.
    """
    lines = plain(mixed())
    assert lines[0].split() == list(forecast_command.HEADINGS)
    assert lines[1].split()[:6] == ["now", "1", "critical", "ExpiryPassed", r"[bold]shop\u001b[2J", "leaf"]
    first = next(line.split() for line in lines if "service-0" in line)
    assert first == [
        "2027-01-17T20:00:00Z",
        *("3", "warning", "ExpiryRenewalOverdue", "service-0", "leaf", ADDRESS, "1", "6"),
        iso(NOW + 28 * DAY),
        "-",
    ]
    assert len({len(line.split()) for line in lines[:-2]}) == 1
    assert lines[-2] == (
        "5 notifications (3 critical, 2 warning; 1 now) of 22 alerts in 30 days if nothing is renewed, "
        "about 8 of 8 targets"
    )
    assert lines[-1].startswith(f"not seen, so not forecast: gone at {ADDRESS} (connection_refused: ")
    assert "\x1b" not in "".join(lines)


def test_nothing_to_come_is_a_sentence() -> None:
    """
    Below the headings, so that a program finds what it expects.
    """
    scene = Scene().see(target(), seen(facts(leaf(75))))
    heading, said = plain(forecast(scene.rows(), NOW, 1))
    assert heading.split() == list(forecast_command.HEADINGS)
    assert said == "no alert about 1 target in 1 day, even if nothing is renewed"


def test_many_that_were_not_seen_are_counted() -> None:
    """
    By reason, the most frequent first: a network that is down must not bury the rest.
    """
    scene = Scene()
    for number in range(40):
        reason = Reason.CONNECT_TIMEOUT if number % 4 else Reason.DNS_FAILED
        scene.see(target(name=f"t{number}"), failed(reason))
    assert plain(forecast(scene.rows(), NOW, 1))[-2:] == [
        "not seen, so not forecast: 30 endpoints (connect_timeout)",
        "not seen, so not forecast: 10 endpoints (dns_failed)",
    ]


@pytest.mark.parametrize("width", WIDTHS)
def test_a_terminal_shows_now_and_then_weeks(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """
    Each with its counts; a day is named once; nothing in a name acts on the terminal.
    """
    shown = screen(monkeypatch, width)
    forecast_command.print_text(mixed(), shown)
    lines = shown.plain.splitlines()
    assert [
        line for line in lines if line and not line.startswith((" ", "not seen", "5 ", "Not", "minutes"))
    ][:4] == [
        "Now  1 critical",
        "Later this week  2 warning",
        "Week of Monday 2027-02-01  1 critical",
        "Week of Monday 2027-02-08  1 critical",
    ]
    (when,) = [line for line in lines if "Sun 17 Jan 20:00" in line]
    assert when.startswith("  Sun 17 Jan 20:00  warning   ExpiryRenewalOverdue")
    assert r"[bold]shop\u001b[2J" in shown.plain
    assert max(map(len, lines)) <= width
    assert all(line == line.rstrip() for line in lines)


@pytest.mark.parametrize("width", WIDTHS)
def test_one_certificate_on_many_targets_is_one_line(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """
    With the first names, and how many more there are; fewer names once it has been told.
    """
    shown = screen(monkeypatch, width)
    forecast_command.print_text(mixed(), shown)
    text = " ".join(shown.plain.split())
    assert text.count("service-0, service-1, service-2 and 3 more targets") == 1
    assert text.count("service-0 and 5 more targets") == 2
    assert "ends 25 d 12 h later (2027-02-12 08:00) at 6 endpoints of 6 targets" in text


def test_the_first_alert_about_a_thing_is_in_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Those that follow say the same again, and are dim.
    """
    shown = screen(monkeypatch)
    forecast_command.print_text(mixed(), shown)
    assert shown.style_of("ExpiryPassed") == "\x1b[1;31m"
    assert shown.style_of("ExpirySoon") == "\x1b[2m"
    assert shown.style_of("ExpiryProbeFailing") == "\x1b[1;33m"


def test_no_colour_is_asked_for_and_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    NO_COLOR leaves the groups as they are.
    """
    shown = screen(monkeypatch, NO_COLOR="1")
    forecast_command.print_text(mixed(), shown)
    assert shown.plain.startswith("Now  1 critical")
    assert "\x1b[3" not in shown.getvalue()
    assert ";3" not in shown.getvalue()


def test_each_alert_says_where_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The worst endpoint and how many others; the item unless it is the one that servers have; the reasons.
    """
    chain = facts(leaf(75), intermediate(end=NOW + 50 * DAY))
    scene = Scene().see(
        target(name="shop"),
        *(seen(chain, f"192.0.2.{number}:443") for number in range(1, 4)),
        found=[Fault.NAME_MISMATCH, Fault.WEAK_KEY],
    )
    shown = screen(monkeypatch, 160)
    forecast_command.print_text(forecast(scene.rows(), NOW, 1), shown)
    text = " ".join(shown.plain.split())
    places = "192.0.2.1:443 and 2 other endpoints"
    assert f"shop intermediate certificate chain-1 ends in 50 d 0 h (2027-03-06 08:00) at {places}" in text
    assert f"shop name_mismatch, weak_key at {places}" in text


def test_a_moment_that_no_calendar_has_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A certificate may end after the year 9999, and ended before the year 1 by its clock.
    """
    scene = Scene().see(target(), seen(facts(certificate(begin=-1e13, end=-9e12))))
    shown = screen(monkeypatch, 160)
    forecast_command.print_text(forecast(scene.rows(), NOW, 1), shown)
    assert "-9000000000000" in shown.plain
    assert "-9000000000000" in plain(forecast(scene.rows(), NOW, 1))[1]


def test_the_csv_has_the_columns_and_times() -> None:
    """
    For a spreadsheet.
    """
    stream = io.StringIO()
    scene = Scene().see(target(name='a "name", with everything'), seen(facts(leaf(75))))
    forecast_command.print_csv(forecast(scene.rows(), NOW, 90), stream)
    first, *_ = csv.DictReader(io.StringIO(stream.getvalue()))
    assert first == {
        "when": iso(NOW + 49.5 * DAY),
        "notification": "1",
        "severity": "warning",
        "alert": "ExpiryRenewalOverdue",
        "target": 'a "name", with everything',
        "item": "leaf",
        "location": ADDRESS,
        "endpoints": "1",
        "targets": "1",
        "ends": iso(NOW + 75 * DAY),
        "reasons": "",
    }


def test_the_json_document_is_one_value() -> None:
    """
    The whole forecast.
    """
    stream = io.StringIO()
    forecast_command.print_json(mixed(), stream)
    found = json.loads(stream.getvalue())
    assert (found["now"], found["until"], found["targets"]) == (NOW, NOW + 30 * DAY, 8)
    assert len(found["alerts"]) == 22
    assert [one["target"] for one in found["unseen"]] == ["gone"]
