"""
Times in the format of the Internet's protocols (RFC 3339), in seconds since the epoch. Pure.
"""

import re
from datetime import UTC, datetime

_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:(?P<second>\d\d)(?:\.\d+)?(?P<zone>[Zz]|[+-]\d\d:\d\d)?", re.ASCII
)


def rfc3339(text: object, *, utc_without_zone: bool = False) -> float | None:
    """
    Parse a date-time (RFC 3339 section 5.6) into seconds since the epoch; None when it is invalid.

    A time without a zone is invalid, since this host's zone says nothing about a time from elsewhere.
    `utc_without_zone` is for formats that define such a time as UTC.
    """
    found = _RFC3339.fullmatch(text) if isinstance(text, str) else None
    if found is None or not (found["zone"] or utc_without_zone):
        return None
    written = found[0].upper()
    # Section 5.7: a leap second, which the library does not support. It has the number of the next second.
    is_leap = found["second"] == "60"
    if is_leap:
        written = f"{written[: found.start('second')]}59{written[found.end('second') :]}"
    try:
        moment = datetime.fromisoformat(written)
    except ValueError:
        return None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp() + is_leap
