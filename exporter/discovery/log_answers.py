"""
Answers of servers that know public logs, bytes to certificates: crt.sh's JSON and Cert Spotter's.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from exporter.discovery.issuances import issuance
from exporter.model import foreign_json
from exporter.model.foreign_text import clean
from exporter.model.issuance import Issuance
from exporter.model.policies import DAY
from exporter.model.times import rfc3339

TEXT_LIMIT = 80
"""Characters of an issuer, and of the number of a certificate."""


BEGIN = datetime(1, 1, 1, tzinfo=UTC).timestamp()
END = datetime(9999, 12, 31, tzinfo=UTC).timestamp() + DAY
"""In seconds since the epoch, between which times a day has a name in UTC. With its zone, the last day of the
year 9999 may be one of a year that has none."""


class Certificate(NamedTuple):
    """
    One certificate, as the servers describe it.
    """

    names: tuple[str, ...]
    end: float
    """Seconds since the epoch."""
    issuer: str
    number: str
    """Its number at that server."""
    issuance: Issuance | None = None
    """None: it can't be compared with what is served, or was revoked."""


def of_crt_sh(body: bytes) -> list[Certificate]:
    """
    Return the certificates of an answer of crt.sh. Raises ValueError, and RecursionError for JSON too deep.
    """
    return _certificates(
        body,
        lambda row: Certificate(
            tuple(row["name_value"].split("\n")),
            _moment(row["not_after"]),
            _issuer(row["issuer_name"]),
            _number(row),
            _issued(row, row["name_value"].split("\n"), row["issuer_name"], "crt.sh"),
        ),
    )


def of_cert_spotter(body: bytes) -> list[Certificate]:
    """
    Return the certificates of an answer of Cert Spotter. Raises as `of_crt_sh` does.
    """
    return _certificates(
        body,
        lambda row: Certificate(
            tuple(name for name in row["dns_names"] if isinstance(name, str)),
            _moment(row["not_after"]),
            _issuer(row["issuer"].get("friendly_name") or row["issuer"]["name"]),
            _number(row),
            # The key's hash is there since 2019, the issuer's whole name where it is asked for.
            _issued(row, row["dns_names"], row["issuer"].get("name"), "certspotter"),
        ),
    )


def _issued(row: Any, names: Any, issuer: Any, where: str) -> Issuance | None:
    """
    Return what a server says of a certificate as an issuance; None when it says too little, or revoked it.
    """
    if not isinstance(issuer, str) or "not_before" not in row or row.get("revoked") is True:
        return None
    return issuance(
        (name for name in names if isinstance(name, str)),
        (_moment(row["not_before"]), _moment(row["not_after"])),
        issuer,
        f"number {_number(row)} at {where}",
        str(row.get("serial_number") or ""),
        str(row.get("pubkey_sha256") or ""),
    )


def _certificates(body: bytes, one: Callable[[Any], Certificate]) -> list[Certificate]:
    """
    Return the certificates of a list. One that has another form than the server's is passed over, unless all
    have: then it is another server's list.
    """
    rows = foreign_json.loads(body)
    if not isinstance(rows, list):
        raise ValueError("it is no list")  # noqa: TRY004 - of the answer, not of an argument
    certificates = []
    for row in rows:
        try:
            certificates.append(one(row))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            continue
    if rows and not certificates:
        raise ValueError("it is no list of certificates")
    return certificates


def _moment(text: str) -> float:
    """
    Return a time as both servers write it, in seconds since the epoch: UTC if no zone is said.
    """
    moment = rfc3339(text, utc_without_zone=True)
    if moment is None or not BEGIN <= moment < END:
        raise ValueError("it is no time, or one on a day that has no name")
    return moment


def _number(row: Any) -> str:
    if not isinstance(row["id"], str | int):
        raise TypeError("a certificate without a number")
    return clean(str(row["id"]), TEXT_LIMIT)


def _issuer(text: str) -> str:
    return clean(text, TEXT_LIMIT)
