"""
Domain registrations, as registries publish them by RDAP and WHOIS. Pure.

RDAP (RFC 9083) is JSON. WHOIS (RFC 3912) has no format at all: the forms that many registries use are known
here, and any other date makes a failed look-up, never a guess.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from exporter.model.foreign_text import clean
from exporter.model.observation import Facts, FoundHazard, Item
from exporter.model.reasons import Hazard, Kind, Reason

ITEM = "registration"
"""The name of the item of a registration."""


SHORTEST_TERM = 365 * 86400.0
"""Seconds; the shortest term that registries sell (RFC 5731 section 2.1 has it as the usual default)."""


STATUS_LIMIT = 50
"""Statuses of one domain that are read; EPP has not half as many."""


class RegistrationError(ValueError):
    """
    An answer without a registration: its reason, and a sentence for a person.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Registration:
    """
    The registration of one domain at its registry. Times are seconds since the epoch.
    """

    end: float
    begin: float | None = None
    """None when the registry does not publish it."""
    statuses: tuple[str, ...] = ()
    """Statuses in the words and order of the registry, each once."""
    registrar: str = ""
    """The company that renews it; empty when the registry does not publish it."""
    paid: bool = False
    """True when the registrar publishes a date of its own, which has moved with the registry's: `is_paid`."""


def not_registered(domain: str) -> RegistrationError:
    """
    Return the exception for a domain that the registry does not have.
    """
    return RegistrationError(Reason.NOT_REGISTERED, f"the registry says that {domain} is not registered")


def _no_end(domain: str) -> RegistrationError:
    return RegistrationError(
        Reason.NOTHING_EXPIRES,
        f"the registry does not publish when {domain} ends (.de, .nl, .eu and some others never do): "
        "watch its invoice, or its certificate and DNS instead",
    )


_MONTHS = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), start=1
    )
}


_DATES = (
    # 2026-10-09, 2026. 10. 09., 2026/10/09, 20261009
    re.compile(r"(?P<year>\d{4})[-./年]\s?(?P<month>\d{1,2})[-./月]\s?(?P<day>\d{1,2})(?!\d)"),
    re.compile(r"(?P<year>\d{4})(?P<month>\d{2})(?P<day>\d{2})(?!\d)"),
    # 9-Oct-2026, 9th October 2026
    re.compile(
        r"(?P<day>\d{1,2})(?:st|nd|rd|th)?[-./ ]\s?(?P<name>[A-Za-z]{3,9})[-./, ]{1,2}(?P<year>\d{4})(?!\d)"
    ),
    # 2026-Oct-09
    re.compile(r"(?P<year>\d{4})[-./ ](?P<name>[A-Za-z]{3,9})[-./ ](?P<day>\d{1,2})(?!\d)"),
    # October 9 2026
    re.compile(r"(?P<name>[A-Za-z]{3,9})\.? {1,2}(?P<day>\d{1,2})(?:st|nd|rd|th)?,? (?P<year>\d{4})(?!\d)"),
    # Fri Oct  9 12:00:00 UTC 2026
    re.compile(
        r"[A-Za-z]{3},? (?P<name>[A-Za-z]{3}) {1,2}(?P<day>\d{1,2}) (?P<hour>\d{2}):(?P<minute>\d{2})"
        r":(?P<second>\d{2}) (?:[A-Z]{1,5} )?(?P<year>\d{4})(?!\d)"
    ),
    # 9.10.2026, 09/10/2026: no registry is known to put the month first
    re.compile(r"(?P<day>\d{1,2})[-./]\s?(?P<month>\d{1,2})[-./]\s?(?P<year>\d{4})(?!\d)"),
)


_TIME = re.compile(
    r"[T\s]{1,3}(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2}))?(?:[.,]\d{1,9})?"
    r"\s?(?P<zone>[+-]\d{2}(?::?\d{2})?)?"
)


def moment(text: str) -> float | None:
    """
    Parse a registry's time into seconds since the epoch; None when it is not a time.

    A date without a time of day is its first second, and a time zone that is not a number of hours counts as
    UTC: either is wrong by less than a day.
    """
    text = text.strip()[:80]
    for pattern in _DATES:
        found = pattern.match(text)
        if found is not None:
            return _seconds(found.groupdict(), text[found.end() :])
    return None


def _seconds(parts: Mapping[str, str | None], rest: str) -> float | None:
    month = _MONTHS.get(str(parts.get("name"))[:3].lower()) if parts.get("name") else int(parts["month"] or 0)
    time = _TIME.match(rest)
    clock = parts if parts.get("hour") else time.groupdict() if time is not None else {}
    try:
        day = datetime(int(parts["year"] or 0), month or 0, int(parts["day"] or 0), tzinfo=UTC).timestamp()
    except (ValueError, OverflowError):
        return None
    # 24:00 and leap seconds are written, too.
    hours, minutes, seconds = (int(clock.get(unit) or 0) for unit in ("hour", "minute", "second"))
    return day + hours * 3600 + minutes * 60 + seconds - _offset(clock.get("zone"))


def _offset(zone: str | None) -> float:
    """
    Return the seconds by which a time zone such as `+03` or `-0330` is ahead of UTC; 0 for None.
    """
    if zone is None:
        return 0.0
    digits = zone[1:].replace(":", "")
    ahead = int(digits[:2]) * 3600 + int(digits[2:] or 0) * 60
    return float(-ahead if zone[0] == "-" else ahead)


HOLD = frozenset({"clienthold", "serverhold", "hold", "onhold", "notdelegated"})


REDEMPTION = frozenset({"redemptionperiod"})


PENDING_DELETE = frozenset({"pendingdelete"})


AUTO_RENEW = frozenset({"autorenewperiod"})


PAID = frozenset({"renewperiod", "transferperiod"})
"""
These five: statuses in lower case without spaces. EPP's `clientHold` is RDAP's `client hold` (RFC 8056
section 2).
"""


_HOLD_WORDS = (
    "the registry or the registrar took the domain out of DNS ({status}): no name below it resolves. "
    "Ask the registrar why; often a payment or a verification of the holder is missing"
)


_REDEMPTION_WORDS = (
    "the registration has lapsed ({status}): for about 30 days it can be restored{through}, for a fee; "
    "then it is deleted and anybody may register it"
)


_PENDING_DELETE_WORDS = (
    "the registry is about to delete the domain ({status}), within about five days: ask the registrar at "
    "once whether anything can still be done, and plan to register it anew"
)


_AUTO_RENEW_WORDS = (
    "the registration ended lately and the registry moved the date a year ahead by itself ({status}). It "
    "does so whether or not anybody paid, and says so for up to 45 days: see that the renewal{through} was "
    "paid, else the domain is deleted in spite of its date"
)


def hazards(registration: Registration) -> tuple[FoundHazard, ...]:
    """
    Return the hazards that the statuses mean, each once (EPP: RFC 5731 section 2.3, RFC 3915 section 3.1).
    """
    plain = _plain(registration)
    through = f" through {registration.registrar}" if registration.registrar else ""
    said = (
        (HOLD, Hazard.DOMAIN_HOLD, _HOLD_WORDS),
        (REDEMPTION, Hazard.DOMAIN_REDEMPTION, _REDEMPTION_WORDS),
        (PENDING_DELETE, Hazard.DOMAIN_PENDING_DELETE, _PENDING_DELETE_WORDS),
        (AUTO_RENEW, Hazard.DOMAIN_AUTO_RENEW, _AUTO_RENEW_WORDS),
    )
    found = []
    for marks, hazard, words in said:
        status = next((plain[mark] for mark in sorted(marks) if mark in plain), None)
        # RFC 3915 section 3.1: a domain in redemption is pendingDelete as well, and not yet lost.
        if hazard is Hazard.DOMAIN_PENDING_DELETE and REDEMPTION & plain.keys():
            continue
        if hazard is Hazard.DOMAIN_AUTO_RENEW and was_paid(registration):
            continue
        if status is not None:
            found.append(FoundHazard(hazard, words.format(status=status, through=through)))
    return tuple(found)


def was_paid(registration: Registration) -> bool:
    """
    Return True when it is known that somebody paid for the present term.
    """
    return registration.paid or bool(PAID & _plain(registration).keys())


def _plain(registration: Registration) -> dict[str, str]:
    """
    Return the statuses by their form in lower case without spaces.
    """
    return {re.sub(r"[^a-z]", "", one.lower()): one for one in registration.statuses}


def is_paid(ends: Collection[float], registrar_ends: Collection[float]) -> bool:
    """
    Return True when the registrar's own date (seconds since the epoch, as all here) is that of the registry.

    It is moved once the registrar is paid, and behind by the shortest term at least until then. They may
    differ by days all the same.
    """
    return bool(ends and registrar_ends) and min(registrar_ends) > max(ends) - SHORTEST_TERM / 2


def facts(registration: Registration, seen_at: float) -> Facts:
    """
    Return a registration as facts, seen at `seen_at` (seconds since the epoch).

    Without a begin, its lifetime is SHORTEST_TERM.
    """
    begin = registration.begin
    if begin is None or begin >= registration.end:
        begin = registration.end - SHORTEST_TERM
    item = Item(ITEM, Kind.REGISTRATION, begin, registration.end)
    return Facts((item,), hazards=hazards(registration), seen_at=seen_at, paid=was_paid(registration))


def _clean(text: str) -> str:
    """
    Return a registry's words in printable characters, at most 100 of them.
    """
    return clean(text, 100)
