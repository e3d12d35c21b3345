"""
Domain registrations: what registries tell of them by RDAP and WHOIS. Pure.

RDAP (RFC 9083) is read as JSON. WHOIS (RFC 3912) has no format at all: what many registries write is
known here, and what is not understood is a failed look-up, never a guessed date.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from exporter.foreign_text import clean
from exporter.observation import Facts, FoundHazard, Hazard, Item, Kind, Reason

ITEM = "registration"
"""What the item of a registration is called."""

SHORTEST_TERM = 365 * 86400.0
"""Seconds; the shortest term that registries sell (RFC 5731 section 2.1 has it as the usual default)."""

LINE_LIMIT = 400
"""Characters of a WHOIS answer's line that are read."""

LINES_LIMIT = 3000
"""Lines of a WHOIS answer that are read."""

STATUS_LIMIT = 50
"""Statuses of one domain that are read; EPP has not half as many."""


class RegistrationError(ValueError):
    """
    An answer that gives no registration: for this reason, with this sentence for a person.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Registration:
    """
    What a registry tells of one domain. Times are seconds since the epoch.
    """

    end: float
    begin: float | None = None
    """None when the registry does not tell."""
    statuses: tuple[str, ...] = ()
    """As the registry writes them, each once, in its order."""
    registrar: str = ""
    """Through whom it is renewed; empty when the registry does not tell."""


def from_rdap(body: bytes, domain: str) -> Registration:
    """
    The registration in an RDAP answer (RFC 9083 section 5.3). Raises RegistrationError.
    """
    answer = _json_object(body)
    if "errorCode" in answer:
        raise _rdap_error(answer, domain)
    name = answer.get("ldhName")
    if isinstance(name, str) and name.lower().rstrip(".") != domain:
        raise RegistrationError(
            Reason.LOOKUP_FAILED, f"the registry answered about another name, {_clean(name)}, not {domain}"
        )
    events = [one for one in _list(answer.get("events")) if isinstance(one, dict)]
    # The registrar's own date is the earlier one while the registry's was moved ahead of a payment.
    ends = _event_times(events, "expiration") + _event_times(events, "registrar expiration")
    if not ends:
        raise _no_end(domain)
    statuses = tuple(
        dict.fromkeys(_clean(one) for one in _list(answer.get("status")) if isinstance(one, str))
    )
    begins = _event_times(events, "registration")
    return Registration(
        min(ends), min(begins, default=None), statuses[:STATUS_LIMIT], _rdap_registrar(answer)
    )


def _json_object(body: bytes) -> dict[str, Any]:
    """
    The JSON object in these bytes. Raises RegistrationError.
    """
    try:
        answer = json.loads(body)
    # RecursionError: ten thousand brackets.
    except (ValueError, RecursionError):
        raise RegistrationError(
            Reason.LOOKUP_FAILED, "the registry's RDAP server answered with something that is not JSON"
        ) from None
    if not isinstance(answer, dict):
        raise RegistrationError(Reason.LOOKUP_FAILED, "the registry's RDAP answer is not a JSON object")
    return answer


def _rdap_error(answer: Mapping[str, Any], domain: str) -> RegistrationError:
    """
    What an error in an answer means (RFC 9083 section 6).
    """
    code = answer["errorCode"]
    if code == 404:
        return not_registered(domain)
    reason = Reason.RATE_LIMITED if code == 429 else Reason.HTTP_FAILED
    title = answer.get("title")
    words = f": {_clean(title)}" if isinstance(title, str) else ""
    return RegistrationError(
        reason, f"the registry's RDAP server answered with error {_clean(str(code))}{words}"
    )


def _event_times(events: Iterable[Mapping[str, Any]], action: str) -> list[float]:
    """
    The times of all events of this kind that can be read.
    """
    times = []
    for event in events:
        said, date = event.get("eventAction"), event.get("eventDate")
        if isinstance(said, str) and isinstance(date, str) and said.strip().lower() == action:
            times.append(moment(date))
    return [time for time in times if time is not None]


def _rdap_registrar(answer: Mapping[str, Any]) -> str:
    """
    The name of the entity that has the role of the registrar; empty when there is none.
    """
    for entity in _list(answer.get("entities")):
        if not isinstance(entity, dict) or "registrar" not in _list(entity.get("roles")):
            continue
        # jCard (RFC 7095): ["vcard", [["fn", {}, "text", "The name"], ...]].
        card = _list(entity.get("vcardArray"))
        for entry in _list(card[1]) if len(card) > 1 else ():
            if isinstance(entry, list) and len(entry) > 3 and entry[0] == "fn" and isinstance(entry[3], str):
                return _clean(entry[3])
    return ""


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


END_KEYS = frozenset(
    {
        "domain datebilleduntil",
        "domain expiration date",
        "domain expires",
        "exp date",
        "expiration",
        "expiration date",
        "expiration time",
        "expire",
        "expire date",
        "expires",
        "expires at",
        "expires on",
        "expiry",
        "expiry date",
        "paid till",
        "paid until",
        "record expires on",
        "registrar registration expiration date",
        "registry expiry date",
        "renewal date",
        "valid till",
        "valid until",
        "validity",
        "有効期限",
    }
)
"""What registries call the end, in lower case with spaces for `-` and `_`."""

BEGIN_KEYS = frozenset(
    {
        "commencement date",
        "created",
        "created date",
        "created on",
        "creation date",
        "creation time",
        "domain name commencement date",
        "domain registered",
        "registered",
        "registered date",
        "registered on",
        "registration date",
        "registration time",
        "登録年月日",
    }
)

STATUS_KEYS = frozenset(
    {"domain status", "eppstatus", "hold", "registration status", "state", "status", "ロック状態", "状態"}
)

REGISTRAR_KEYS = frozenset({"registrar", "registrar name", "sponsoring registrar"})

_WITHOUT_COLON = re.compile(r"[ \t]*(?:record |domain )?expires?(?: on| at)?[ \t.:]+(?=\d)", re.IGNORECASE)
"""The few registries that write no colon: `Record expires on 2026-05-30`."""

_NOT_FOUND = re.compile(
    r"no match|not found|no entries found|no data found|nothing found|no object found|no such domain"
    r"|no information (was )?found|is not registered|domain unknown|does not exist"
    r"|^\W*((domain )?status|state)\s*:\s*(free|available)\b",
    re.IGNORECASE,
)

_LIMITED = re.compile(
    r"exceeded|too many|rate.?limit|quota|limit reached|throttl|try again later|access denied|blacklisted",
    re.IGNORECASE,
)


def from_whois(text: str, domain: str) -> Registration:
    """
    The registration in a WHOIS answer. Raises RegistrationError.
    """
    pairs = list(_pairs(text))
    ends = _times(pairs, END_KEYS)
    if not ends:
        raise _whois_error(text, pairs, domain)
    statuses: list[str] = []
    for key, value in pairs:
        if key == "hold":
            # AFNIC: `hold: NO`.
            statuses += ["hold"] if value.lower() == "yes" else []
        elif key in STATUS_KEYS:
            # ICANN's form has a link behind the status; others put several in one line.
            statuses += [_clean(re.sub(r"\(?https?:\S*", "", part)) for part in value.split(",")]
    registrars = [value for key, value in pairs if key in REGISTRAR_KEYS and value]
    return Registration(
        min(ends),
        next(iter(_times(pairs, BEGIN_KEYS)), None),
        tuple(dict.fromkeys(one for one in statuses if one))[:STATUS_LIMIT],
        _clean(registrars[0]) if registrars else "",
    )


def whois_referral(text: str) -> str | None:
    """
    The WHOIS server that IANA's names for a top-level domain; None when it names none.
    """
    servers = (value for key, value in _pairs(text) if key in {"whois", "refer"})
    found = next((one.lower() for one in servers if re.fullmatch(r"[A-Za-z0-9.-]{1,253}", one)), None)
    return found.strip(".") or None if found is not None else None


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    """
    Each `key: value`; a value may stand on the line below its key.
    """
    lines = [line[:LINE_LIMIT] for line in text.splitlines()[:LINES_LIMIT]]
    for number, line in enumerate(lines):
        bare = _WITHOUT_COLON.match(line)
        if bare is not None:
            yield "expires", line[bare.end() :].strip()
            continue
        if line.startswith("["):  # JPRS: `[有効期限]   2026/12/31`
            key, _, value = line[1:].partition("]")
        else:
            key, _, value = line.partition(":")
        if not value.strip() and number + 1 < len(lines):
            value = lines[number + 1] if ":" not in lines[number + 1] else ""
        name = " ".join(key.replace("-", " ").replace("_", " ").strip(" \t.*%#[]").lower().split())
        yield name, value.strip()


def _times(pairs: Iterable[tuple[str, str]], keys: frozenset[str]) -> list[float]:
    times = [moment(value) for key, value in pairs if key in keys]
    return [time for time in times if time is not None]


def _whois_error(text: str, pairs: Iterable[tuple[str, str]], domain: str) -> RegistrationError:
    """
    What an answer without an end means.
    """
    # Terms of use speak of limits and of what is not found, in long lines.
    lines = [line for line in text.splitlines()[:LINES_LIMIT] if len(line) <= 120]
    if any(_NOT_FOUND.search(line) for line in lines):
        return not_registered(domain)
    if any(key in {"domain", "domain name"} and domain in value.lower() for key, value in pairs):
        return _no_end(domain)
    if any(_LIMITED.search(line) for line in lines):
        return RegistrationError(
            Reason.RATE_LIMITED, "the registry's WHOIS server wants to be asked less often from this address"
        )
    words = _clean(" ".join(text.split())[:120])
    return RegistrationError(
        Reason.LOOKUP_FAILED, f"the registry's WHOIS answer could not be understood: {words!r}"
    )


def not_registered(domain: str) -> RegistrationError:
    """
    The registry knows no such domain.
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
    The time that a registry writes, in seconds since the epoch; None when it is not a time.

    A day without a time is its first second, and a zone that is not a number of hours is taken for UTC:
    either is wrong by less than a day.
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
    Seconds by which a zone such as `+03` or `-0330` is ahead of UTC.
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
"""
Statuses in lower case without spaces: EPP's `clientHold` is RDAP's `client hold` (RFC 8056 section 2).
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
    What the statuses say that the end does not.
    """
    plain = {re.sub(r"[^a-z]", "", one.lower()): one for one in registration.statuses}
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
        if status is not None:
            found.append(FoundHazard(hazard, words.format(status=status, through=through)))
    return tuple(found)


def facts(registration: Registration, seen_at: float) -> Facts:
    """
    A registration as facts. Without a begin, it is taken to run for the shortest term that is sold.
    """
    begin = registration.begin
    if begin is None or begin >= registration.end:
        begin = registration.end - SHORTEST_TERM
    item = Item(ITEM, Kind.REGISTRATION, begin, registration.end)
    return Facts((item,), hazards=hazards(registration), seen_at=seen_at)


def _clean(text: str) -> str:
    """
    A registry's words in printable characters, not many of them.
    """
    return clean(text, 100)
