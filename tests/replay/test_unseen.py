"""
What was wrong stays wrong until some exporter has seen that place again.
"""

from dataclasses import replace

import pytest

from exporter.model.policies import DAY, HOUR
from tests.replay.promtool import Firing, Name, firings
from tests.replay.timeline import (
    MINUTE,
    Exporter,
    Fleet,
    Place,
    Span,
    fleet,
    leaf,
    place,
    record,
    served,
)

HOST = "unseen.example.com"
URL = f"https://{HOST}"

SOON = Name("ExpirySoon", "critical", URL, "leaf")

FOREVER = float("inf")


def ending(failing: list[Span], *more: float, left: float = 2 * DAY) -> Place:
    """
    A server whose certificate ends soon, and that is renewed at the time `more` says.
    """
    schedule = [(0.0, served(leaf(HOST, left - 90 * DAY, 90 * DAY)))]
    schedule += [(when, served(leaf(HOST, when, 90 * DAY))) for when in more]
    return place(URL, schedule, failing=failing)


@pytest.mark.parametrize("interval", [MINUTE, 5 * MINUTE])
@pytest.mark.parametrize("down", [0, 1, 4])
def test_a_restart_without_state_resolves_nothing_that_was_not_seen(down: int, interval: float) -> None:
    """
    The server is down, the exporter starts anew, at once or after some scrapes. Then it is back, renewed.
    """
    begin, back = 20 * interval, 60 * interval
    one = ending([(10 * interval, back)], 40 * interval)
    restart = (begin, begin + down * interval + 1)
    simulated = replace(fleet(one, exporter_down=[restart]), keep_state=False)
    found = firings(record(simulated, 70 * interval, interval))
    assert found[SOON] == Firing(0, back - interval, complete=True)


def test_an_end_that_passes_meanwhile_is_told() -> None:
    """
    What is carried is compared with the time of day.
    """
    one = ending([(10 * MINUTE, FOREVER)], left=HOUR)
    simulated = replace(fleet(one, exporter_down=[(20 * MINUTE, 21 * MINUTE)]), keep_state=False)
    found = firings(record(simulated, 2 * HOUR, MINUTE))
    passed = found[Name("ExpiryPassed", "critical", URL, "leaf")]
    assert passed == Firing(HOUR + MINUTE, 2 * HOUR, complete=True)


def test_the_other_address_of_a_target_does_not_vouch_for_the_one_that_is_down() -> None:
    """
    Two servers; the one with the old certificate is down when the exporter starts anew.
    """
    old, new = served(leaf(HOST, -88 * DAY, 90 * DAY)), served(leaf(HOST, -20 * DAY, 90 * DAY))
    both = place(URL, [(0.0, old)], [(0.0, new)])
    lost = Exporter([both])

    def see(now: float) -> object:
        seen = both.see(now)
        assert isinstance(seen, dict)
        if now >= 10 * MINUTE:
            seen["192.0.2.1:443"] = place(URL, [(0.0, old)], failing=[(0, FOREVER)]).see(now)["192.0.2.1:443"]  # type: ignore[index]
        return seen

    lost.places = [replace(both, see=see)]  # type: ignore[arg-type]
    simulated = Fleet([lost], exporter_down=[(20 * MINUTE, 21 * MINUTE)], keep_state=False)
    found = firings(record(simulated, HOUR, MINUTE))
    assert found[SOON] == Firing(0, HOUR, complete=True)


def test_an_address_that_was_never_seen_keeps_no_alert_of_another() -> None:
    """
    One address can't be reached at all; the other one is renewed.
    """
    host = place(
        URL, [(0.0, served(leaf(HOST, -88 * DAY, 90 * DAY))), (HOUR, served(leaf(HOST, HOUR, 90 * DAY)))]
    )
    never = place(
        URL,
        [(0.0, served(leaf(HOST, -88 * DAY, 90 * DAY)))],
        failing=[(0, FOREVER)],
        addresses=["2001:db8::1"],
    )

    def see(now: float) -> object:
        return {**host.see(now), **never.see(now)}  # type: ignore[dict-item]

    simulated = fleet(replace(host, see=see))  # type: ignore[arg-type]
    found = firings(record(simulated, 2 * HOUR, 2 * MINUTE))
    assert found[SOON] == Firing(0, HOUR - 2 * MINUTE, complete=True)


def test_what_another_replica_has_seen_is_not_carried() -> None:
    """
    It was renewed while the first one was down, and the server is down when that one starts anew.
    """
    one = ending([(40 * MINUTE, FOREVER)], 25 * MINUTE)
    both = [Exporter([one], "a:10119"), Exporter([one], "b:10119")]
    simulated = Fleet(both, exporter_down=[(20 * MINUTE, 45 * MINUTE)], keep_state=False)
    found = firings(record(simulated, HOUR, MINUTE))
    assert found[SOON] == Firing(0, 24 * MINUTE, complete=True)
