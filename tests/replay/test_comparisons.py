"""
What is compared with what stands elsewhere, and with what was there before, and what the alerts make of it.
"""

import pytest

from exporter.demo.minter import Minted, mint, root
from exporter.model.policies import DAY, HOUR
from exporter.report.forecast import forecast
from tests.golden.values import status_of
from tests.replay.promtool import Firing, Name, firings
from tests.replay.timeline import (
    MINUTE,
    YEAR,
    Exporter,
    Schedule,
    fleet,
    leaf,
    place,
    presented,
    record,
    served,
    stored,
)

HOST = "lms.example.com"
URL = f"https://{HOST}"
INSIDE = "tls://inside.example.com:443"
FILE = "file:///srv/lms.pem"

CHANGED = Name("ExpiryIdentityChanged", "warning", URL, "leaf")


def self_signed() -> Minted:
    """
    What an appliance made for itself, for the name of the others.
    """
    return mint(HOST, [HOST], not_before=-YEAR, not_after=9 * YEAR)


def alerts_of(found: dict[Name, Firing], url: str) -> set[str]:
    """
    The names of the alerts about a target.
    """
    return {name.alert for name in found if name.target == url}


def test_a_self_signed_certificate_inside_is_no_renewal_of_the_public_one() -> None:
    """
    The public one is late, which is the cause to be told; so is a file of it.
    """
    old = leaf(HOST, -80 * DAY, 90 * DAY)
    places = [
        place(URL, [(0.0, served(old))]),
        place(INSIDE, [(0.0, presented(self_signed()))]),
        place(FILE, [(0.0, stored(old.pem))]),
    ]
    found = dict(firings(record(fleet(*places), 4 * HOUR, 10 * MINUTE)))
    assert alerts_of(found, URL) == {"ExpiryRenewalOverdue"}
    assert alerts_of(found, FILE) == {"ExpiryRenewalOverdue"}
    assert alerts_of(found, INSIDE) == {"ExpiryNotTrusted"}


def test_a_private_fleet_without_its_authority_is_told_what_was_not_deployed() -> None:
    """
    Where clients refuse all, all is compared.
    """
    private = root("Replay Private", not_before=-YEAR, not_after=9 * YEAR)
    old, new = leaf(HOST, -80 * DAY, 90 * DAY, private), leaf(HOST, -20 * DAY, 90 * DAY, private)
    places = [
        place(URL, [(0.0, presented(old, private))]),
        place(INSIDE, [(0.0, presented(new, private))]),
    ]
    found = dict(firings(record(fleet(*places), 4 * HOUR, 10 * MINUTE)))
    assert alerts_of(found, URL) == {"ExpiryNotTrusted", "ExpiryRenewalOverdue", "ExpiryNotDeployed"}
    assert alerts_of(found, INSIDE) == {"ExpiryNotTrusted"}


@pytest.mark.parametrize("left", [380.0, 250.0, 140.0])
def test_another_identity_is_told_of_until_its_repair_and_that_is_not(left: float) -> None:
    """
    It ends with the repair. In each third of the lifetime but the last; a restart changes nothing.
    """
    good = served(leaf(HOST, (left - 398) * DAY, 398 * DAY))
    other = presented(self_signed())
    schedule: Schedule = [(0.0, good), (DAY, other), (2 * DAY, good)]
    down = [(1.5 * DAY, 1.5 * DAY + HOUR)]
    found = firings(record(fleet(place(URL, schedule), exporter_down=down), 6 * DAY, HOUR))
    assert (found[CHANGED].first, found[CHANGED].last) == (DAY, 2 * DAY - HOUR)
    assert alerts_of(dict(found), URL) == {"ExpiryIdentityChanged", "ExpiryNotTrusted"}


def test_what_is_told_on_the_page_and_foretold_is_what_fires() -> None:
    """
    From the change on, for another identity and for what went backwards.
    """
    old, new = served(leaf(HOST, -80 * DAY, 90 * DAY)), served(leaf(HOST, -20 * DAY, 90 * DAY))
    other = presented(self_signed())
    schedules: list[Schedule] = [
        [(0.0, new), (7 * HOUR, old)],
        [(0.0, new), (HOUR, other)],
    ]
    for schedule in schedules:
        one = place(URL, schedule)
        found = firings(record(fleet(one), 8 * HOUR, 10 * MINUTE))
        looking = Exporter([one])
        for step in range(49):
            now = step * 10 * MINUTE
            looking.scrape(now)
            (row,) = looking.rows(now)
            said = {" ".join(what.words.split()[1:3]) for what in status_of(row, now).findings}
            firing = {name.alert for name, fire in found.items() if fire.first <= now <= fire.last}
            assert ("went backwards" in said) == ("ExpiryWentBackwards" in firing)
            # Beside what clients refuse now it need not be said.
            alone = "ExpiryIdentityChanged" in firing and "ExpiryNotTrusted" not in firing
            assert ("changed its" in said) == alone
            foretold = forecast([row], now, 30)
            told = {what.name for what in foretold.alerts if foretold.firing(what)}
            for name in ("ExpiryWentBackwards", "ExpiryIdentityChanged"):
                assert (name in told) == (name in firing)
        assert {name.alert for name in found} & {"ExpiryWentBackwards", "ExpiryIdentityChanged"}
