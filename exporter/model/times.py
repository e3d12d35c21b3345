"""
Times as the Internet's protocols write them (RFC 3339), in seconds since the epoch. Pure.
"""

import re
from datetime import UTC, datetime

_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:(?P<second>\d\d)(?:\.\d+)?(?P<zone>[Zz]|[+-]\d\d:\d\d)?", re.ASCII
)


def rfc3339(text: object, *, utc_without_zone: bool = False) -> float | None:
    """
    Seconds since the epoch of a date-time (RFC 3339 section 5.6); None when it is none.

    Without a zone it is none either: this host's own zone says nothing about a time from elsewhere.
    `utc_without_zone` is for formats that say that such a time is in UTC.
    """
    found = _RFC3339.fullmatch(text) if isinstance(text, str) else None
    if found is None or not (found["zone"] or utc_without_zone):
        return None
    written = found[0].upper()
    # Section 5.7: a leap second, of which the library knows nothing. It has the number of the next one.
    is_leap = found["second"] == "60"
    if is_leap:
        written = f"{written[: found.start('second')]}59{written[found.end('second') :]}"
    try:
        moment = datetime.fromisoformat(written)
    except ValueError:
        return None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp() + is_leap
