"""
Times in ASN.1 (X.680 sections 46 and 47) of certificates, revocation lists and OCSP responses. Pure.

RFC 5280 section 4.1.2.5 allows one form of each, and GeneralizedTime from 2050 on only. OpenSSL, Go and Java
accept more, and so does this module. Of others, rustls and Firefox refuse all before 1970, which UTCTime may
say from 1950 on. A GeneralizedTime of years before 2050 is no fault: Python's cryptography alone refuses it.
"""

import re
from datetime import UTC, datetime

from exporter.pki.ber import GENERALIZED_TIME, UTC_TIME, content

SOME_TIME = bytes((UTC_TIME, 13)) + b"500101000000Z"
"""A valid time, as a placeholder."""


# Times as RFC 5280 section 4.1.2.5 wants them, then as OpenSSL, Go, Java and devices read and write them.
# Seconds, a fraction and the offset from UTC may be there or not.
_STRICT_TIMES = {
    UTC_TIME: re.compile(rb"(\d\d)" + rb"(\d\d)" * 5 + rb"Z"),
    GENERALIZED_TIME: re.compile(rb"(\d{4})" + rb"(\d\d)" * 5 + rb"Z"),
}


_REST_OF_TIME = rb"(\d\d)(\d\d)(\d\d)(?:(\d\d)(?:(\d\d)(?:[.,]\d+)?)?)?(?:Z|([+-]\d\d)(\d\d)?)?"


TIMES = {
    UTC_TIME: re.compile(rb"(\d\d)" + _REST_OF_TIME),
    GENERALIZED_TIME: re.compile(rb"(\d{4})" + _REST_OF_TIME),
}


_CALENDAR = 400
"""Years after which the Gregorian calendar repeats itself."""


_CALENDAR_SECONDS = 146_097 * 86_400


def read_time(time: bytes, what: str) -> tuple[float, str]:
    """
    Return the seconds since the epoch of a UTCTime or GeneralizedTime, and the reason why strict clients
    refuse it, in words.

    Fractions of a second are dropped, and a time without a zone counts as UTC. Raises ValueError.
    """
    tag, digits = time[0], content(time)
    if tag not in TIMES:
        raise ValueError(f"its {what} is no date")
    shown = digits[:30].decode("ascii", "replace")
    offset = 0
    strict = _STRICT_TIMES[tag].fullmatch(digits)
    if strict is not None:
        year, month, day, hour, minute, second = map(int, strict.groups())
    else:
        found = TIMES[tag].fullmatch(digits)
        if found is None:
            raise ValueError(f"its {what} {shown!r} is no date")
        year, month, day, hour, minute, second, hours, minutes = (int(part or 0) for part in found.groups())
        offset = hours * 3600 + (-minutes if found[7] and found[7].startswith(b"-") else minutes) * 60
    if tag == UTC_TIME:
        year += 2000 if year < 50 else 1900
    # The calendar of the library begins with the year 1.
    shift = _CALENDAR if year == 0 else 0
    try:
        whole = datetime(year + shift, month, day, hour, minute, second, tzinfo=UTC).timestamp()
    except ValueError as error:
        raise ValueError(f"its {what} {shown!r} is no date: {error}") from None
    moment = whole - offset - (_CALENDAR_SECONDS if shift else 0)
    if strict is None:
        form = "YYMMDDhhmmssZ" if tag == UTC_TIME else "YYYYMMDDhhmmssZ"
        return moment, f"its {what} {shown} is not of the form {form}"
    if tag == GENERALIZED_TIME and moment < 0:
        return moment, f"its {what} {shown} is before 1970"
    return moment, ""
