"""
ACME Renewal Information (RFC 9773): the window in which an issuer wants a certificate renewed. Pure.

An issuer that must revoke announces it here days before, and spreads renewals otherwise. The requests are
made in `probes.issuers`; this module has the identifiers, the answers and the pauses.
"""

import base64
import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509

from exporter.model import foreign_json
from exporter.model.caches import remembered
from exporter.model.observation import Renewal
from exporter.model.times import rfc3339
from exporter.pki.revocation import extension, loaded

SHORTEST_PAUSE = 60.0
"""Seconds between two requests at least (RFC 9773 section 4.3)."""


LONGEST_PAUSE = 86400.0
"""Seconds between two requests at most (same section): a planned revocation is then known within a day."""


USUAL_PAUSE = 6 * 3600.0
"""Seconds until the next request when the server names none, or after a lasting error."""


EXPLANATION_LIMIT = 256
"""Characters of an explanation's URL; a longer one is left out, since a cut one leads nowhere."""


_SECONDS = re.compile(r"[0-9]{1,9}")


class RenewalInformationError(ValueError):
    """
    An answer that violates RFC 8555 or RFC 9773. The message says why, for a person.
    """


@remembered("extensions")
def certificate_id(der: bytes) -> str | None:
    """
    Return the unique identifier of a certificate in requests (RFC 9773 section 4.1); None when it has none.

    It is the key identifier of its issuer and its serial number, each in base64url.
    """
    authority = extension(der, x509.AuthorityKeyIdentifier)
    if authority is None or authority.key_identifier is None:
        return None
    serial = loaded(der).serial_number
    if serial <= 0:
        return None
    # As in DER: a first bit that is set would make it negative, so a zero byte goes before it.
    return (
        f"{_base64url(authority.key_identifier)}.{_base64url(serial.to_bytes(serial.bit_length() // 8 + 1))}"
    )


def question(base: str, identifier: str) -> str:
    """
    Return the URL of a certificate's renewal information.
    """
    return f"{base.rstrip('/')}/{identifier}"


def read_directory(data: bytes, directory: str) -> str:
    """
    Return the URL for renewal information in this directory (RFC 8555 section 7.1.1); empty if it has none.

    Raises RenewalInformationError.
    """
    url = _mapping(data, "directory").get("renewalInfo", "")
    if not url:
        return ""
    if not _is_url(url, {"https", urlsplit(directory).scheme}):
        raise RenewalInformationError("the renewalInfo of the directory is not an https URL")
    return str(url)


def read_window(data: bytes) -> Renewal:
    """
    Return the window in which the issuer wants a certificate renewed (section 4.2). Raises
    RenewalInformationError.
    """
    answer = _mapping(data, "answer")
    window = answer.get("suggestedWindow")
    if not isinstance(window, dict):
        raise RenewalInformationError("the answer has no suggestedWindow")
    begin, end = _moment(window.get("start")), _moment(window.get("end"))
    if end <= begin:
        raise RenewalInformationError("the suggested window ends before it begins")
    url = answer.get("explanationURL", "")
    explained = _is_url(url, {"http", "https"}) and len(url) <= EXPLANATION_LIMIT
    return Renewal(end, begin, url if explained else "")


def pause(retry_after: str | None, now: float) -> float:
    """
    Return the seconds until the next request, by the Retry-After header (RFC 9110 section 10.2.3), within
    limits.
    """
    seconds = seconds_of(retry_after, now)
    return USUAL_PAUSE if seconds is None else min(max(seconds, SHORTEST_PAUSE), LONGEST_PAUSE)


def seconds_of(retry_after: str | None, now: float) -> float | None:
    """
    Return the seconds in a Retry-After header, a number or a date; None when there is none that can be read.
    """
    text = (retry_after or "").strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(moment.timestamp() - now, 0.0)


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _mapping(data: bytes, what: str) -> dict[str, Any]:
    try:
        value = foreign_json.loads(data)
    except (ValueError, RecursionError):
        raise RenewalInformationError(f"the {what} is not JSON") from None
    if not isinstance(value, dict):
        raise RenewalInformationError(f"the {what} is not a JSON object")
    return value


def _moment(value: object) -> float:
    """
    Return the seconds since the epoch of a time of the window (RFC 3339). Raises RenewalInformationError.
    """
    moment = rfc3339(value)
    if moment is None:
        raise RenewalInformationError("a time of the suggested window is not one of RFC 3339")
    return moment


def _is_url(value: object, schemes: set[str]) -> bool:
    """
    Return True for a URL with a host and one of these schemes, without a user or unusual characters.
    """
    if not isinstance(value, str) or not value.isprintable() or not value.isascii() or " " in value:
        return False
    try:
        parts = urlsplit(value)
        host = parts.hostname
    except ValueError:
        return False
    return parts.scheme in schemes and bool(host) and "@" not in parts.netloc
