"""
Parsing of registrations in WHOIS answers (RFC 3912): free text, in another form for each registry. Pure.
"""

import re
from collections.abc import Iterable, Iterator

from exporter.model.reasons import Reason
from exporter.probes.domains.registration import (
    STATUS_LIMIT,
    Registration,
    RegistrationError,
    _clean,
    _no_end,
    is_paid,
    moment,
    not_registered,
)

LINE_LIMIT = 400
"""Characters of a WHOIS answer's line that are read."""


LINES_LIMIT = 3000
"""Lines of a WHOIS answer that are read."""


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
        "registry expiry date",
        "renewal date",
        "valid till",
        "valid until",
        "validity",
        "有効期限",
    }
)
"""Registries' names for the end of a registration, in lower case with spaces for `-` and `_`."""


REGISTRAR_END_KEYS = frozenset({"registrar registration expiration date"})
"""The registrar's own date, which it moves when it is paid."""


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
"""An end without a colon, which a few registries write: `Record expires on 2026-05-30`."""


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
    Parse the registration in a WHOIS answer. Raises RegistrationError when it has no end.
    """
    pairs = list(_pairs(text))
    ends, own = _times(pairs, END_KEYS), _times(pairs, REGISTRAR_END_KEYS)
    if not ends + own:
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
        min(ends + own),
        next(iter(_times(pairs, BEGIN_KEYS)), None),
        tuple(dict.fromkeys(one for one in statuses if one))[:STATUS_LIMIT],
        _clean(registrars[0]) if registrars else "",
        is_paid(ends, own),
    )


def whois_referral(text: str) -> str | None:
    """
    Return the server that IANA's WHOIS answer about a top-level domain refers to; None when it names none.
    """
    servers = (value for key, value in _pairs(text) if key in {"whois", "refer"})
    found = next((one.lower() for one in servers if re.fullmatch(r"[A-Za-z0-9.-]{1,253}", one)), None)
    return found.strip(".") or None if found is not None else None


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    """
    Yield each `key: value` of an answer, the keys in lower case. A value may be on the line after its key.
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
    Return the exception for an answer without an end.
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
