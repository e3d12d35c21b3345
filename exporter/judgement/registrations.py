"""
Registrations of domains whose end was moved ahead: by somebody who paid, or by the registry alone. Pure.

Registries renew a domain by themselves when it ends, and undo that if the registrar is not paid (RFC 3915
section 3.1). Many say so by a status; of others only the date is seen to move. Times are in seconds since the
epoch.
"""

from exporter.model.observation import Facts, Item
from exporter.model.policies import DAY
from exporter.model.reasons import Hazard, Kind

YEAR = 365.25 * DAY
"""Seconds of a year, on average."""


UNDONE_WITHIN = 45 * DAY
"""Seconds after the end for which a registry undoes a renewal that nobody paid for."""


MOVED_WITHIN = 1.5 * DAY
"""Seconds after the end within which a registry moves it: on that day, in any time zone."""


MOVED_AHEAD = DAY / 2
"""Seconds by which a day may begin earlier where the registry is than in UTC."""


ONE_TERM = 1.5 * YEAR
"""Seconds by which a registry moves an end at most: it adds a year, and people may buy more."""


def moved_by_itself(old: Item, new: Item, last_seen: float, seen: float) -> bool:
    """
    Return True when the registry alone may have moved the end of a registration: at that end, by one term.

    `old` was last seen at `last_seen`, `new` first at `seen`. Who pays does so earlier or, where the registry
    moves nothing by itself, later.
    """
    # What has no time of day was taken for the first second of the day.
    begins = old.not_after - (MOVED_AHEAD if old.not_after % DAY == 0 else 0.0)
    is_at_end = seen >= begins and last_seen < old.not_after + MOVED_WITHIN
    return is_at_end and 0 < new.not_after - old.not_after < ONE_TERM


def is_explained(facts: Facts) -> bool:
    """
    Return True when the registry says how it is about a payment: by a status, which tells of its end too, or
    since somebody paid.
    """
    return facts.paid or any(one.hazard is Hazard.DOMAIN_AUTO_RENEW for one in facts.hazards)


def may_be_unpaid(facts: Facts | None, first_seen: float | None, now: float | None) -> bool:
    """
    Return True when the end of a registration may have been moved so lately that it can be undone, and before
    it was first seen, so that nobody knows who moved it. None for a time: it was never seen.
    """
    if facts is None or facts.paid or first_seen is None or now is None:
        return False
    # Whatever was paid for, the end is on the same day of the year.
    ages = [YEAR - (item.not_after - now) % YEAR for item in facts.items if item.kind is Kind.REGISTRATION]
    return any(age < UNDONE_WITHIN + MOVED_WITHIN and first_seen > now - age - DAY for age in ages)
