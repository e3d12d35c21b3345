"""
PEM (RFC 7468): blocks of base64 between BEGIN and END lines, whatever stands around them. Pure.

Blocks of keys are told by their label and passed over: what is in them is not even decoded.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from exporter.formats import ber, der
from exporter.formats.parsed import Findings, Format, Given, Parsed, Problem, arranged
from exporter.observation import Certificate, Reason

BLOCK_LIMIT = 10_000
"""Blocks that are read of one file."""

LABEL_LIMIT = 64
"""Characters that a label may have."""

_BEGIN = b"-----BEGIN "
_END = b"-----END "
_DASHES = b"-----"
_LABEL = re.compile(rb"[A-Z0-9 .#-]+")

_CERTIFICATES = frozenset({"CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"})
_OTHERS: dict[str, Callable[[bytes, str], Parsed]] = {
    "X509 CRL": der.revocation_list,
    "PKCS7": der.signed_data,
    "PKCS #7 SIGNED DATA": der.signed_data,
    "CMS": der.signed_data,
    "OCSP RESPONSE": der.ocsp_response,
}
"""Labels of what may expire besides certificates."""


@dataclass(frozen=True, slots=True)
class _Begin:
    """
    A BEGIN line: where it begins, what it says, and where it ends.
    """

    start: int
    label: str
    stop: int


def recognises(data: bytes) -> bool:
    """
    True when there is a BEGIN line.
    """
    return next(_begins(data), None) is not None


def read(data: bytes, _given: Given) -> Parsed:
    """
    Every block of the file.
    """
    begins = list(_begins(data))
    others = Findings()
    certificates: list[Certificate | None] = []
    number, counted = 1, 0
    for index, begin in enumerate(begins[:BLOCK_LIMIT], 1):
        stop = begins[index].start if index < len(begins) else len(data)
        number += data.count(b"\n", counted, begin.start)
        counted = begin.start
        place = f"the {begin.label} block in line {number}"
        if begin.label in _CERTIFICATES:
            certificates.append(_certificate(data, begin, stop, place, others))
        elif begin.label in _OTHERS:
            try:
                others.add(_OTHERS[begin.label](_decoded(data, begin.stop, stop), place))
            except ValueError as error:
                others.broken(f"{place}: {error}")
        else:
            others.lasting[_words(begin.label)] = None
    if len(begins) > BLOCK_LIMIT:
        others.problems.append(
            Problem(Reason.FILE_TOO_LARGE, f"it has {len(begins)} blocks; the first {BLOCK_LIMIT} were read")
        )
    findings = arranged(certificates)
    if others != _NOTHING:
        findings.add(others.parsed())
    return findings.parsed()


_NOTHING = Findings()


def _begins(data: bytes) -> Iterator[_Begin]:
    """
    The BEGIN lines. Found with `find`: a pattern takes longer than all else that is done with a certificate.
    """
    position = data.find(_BEGIN)
    while position >= 0:
        start = position + len(_BEGIN)
        stop = data.find(_DASHES, start, start + LABEL_LIMIT + len(_DASHES))
        if stop > start and _LABEL.fullmatch(data, start, stop) and _begins_line(data, position):
            yield _Begin(position, data[start:stop].decode("ascii"), stop + len(_DASHES))
        position = data.find(_BEGIN, start)


def _begins_line(data: bytes, position: int) -> bool:
    """
    True at the start of a line, blanks aside, or right after an END line that lacks its line feed.
    """
    while position and data[position - 1] in b" \t":
        position -= 1
    return position == 0 or data[position - 1] in b"\r\n" or data[max(0, position - 5) : position] == _DASHES


def _certificate(data: bytes, begin: _Begin, stop: int, place: str, findings: Findings) -> Certificate | None:
    """
    The certificate of a block; None, and the problem noted, when there is none.
    """
    try:
        decoded = _decoded(data, begin.stop, stop)
        if begin.label == "TRUSTED CERTIFICATE":
            # OpenSSL puts something behind the certificate (x509(1), `-trustout`).
            decoded = ber.element(decoded).whole
    except ValueError as error:
        findings.broken(f"{place}: {error}")
        return None
    return findings.certificate(decoded, place)


def _decoded(data: bytes, start: int, stop: int) -> bytes:
    """
    The bytes of a block. Raises ValueError with words for a person.
    """
    end = data.find(_END, start, stop)
    if end < 0:
        raise ValueError("there is no END line: the file is cut off or damaged")
    text = data[start:end]
    if b":" in text:
        # Lines with a colon are headers of the older format (RFC 1421 section 4.4).
        text = b"".join(line for line in text.splitlines() if b":" not in line)
    try:
        return base64.b64decode(b"".join(text.split()), validate=True)
    except binascii.Error as error:
        raise ValueError(f"it is not base64: {error}") from None


def _words(label: str) -> str:
    return "a private key" if label.endswith("PRIVATE KEY") else f"a block {label}"


FORMAT = Format("PEM", recognises, read)
