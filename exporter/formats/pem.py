"""
PEM (RFC 7468): blocks of base64 between BEGIN and END lines, whatever stands around them. Pure.

Blocks of keys are recognised by their label and skipped: their content is not even decoded.

A block that OpenSSL refuses or skips, because of other text in its lines, is parsed all the same, and
reported: servers would leave out a certificate that is watched here.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from exporter.formats import der
from exporter.formats.budget import Budget
from exporter.formats.parsed import Findings, Format, ParseContext, Parsed, Problem, arranged, from_base64
from exporter.model.observation import Certificate
from exporter.model.reasons import Reason
from exporter.pki import ber

BLOCK_LIMIT = 10_000
"""Blocks that are parsed in one file."""


LABEL_LIMIT = 64
"""Characters that a label may have."""


BEGIN_LIMIT = 200_000
"""BEGIN marks that are examined, in lines of their own or not."""


LINE_LIMIT = 200
"""Bytes of a line that are examined before and after a BEGIN or END."""


_BEGIN = b"-----BEGIN "


_FIRST = b"-----BEGIN CERTIFICATE-----"


_END = b"-----END "


_DASHES = b"-----"


_LABEL = re.compile(rb"[A-Z0-9 .#-]+")


_MARK = b"\xef\xbb\xbf"
"""UTF-8's byte order mark. OpenSSL skips it at the start of any line."""


_CERTIFICATES = frozenset({"CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"})


_OTHERS: dict[str, Callable[[bytes, str, Budget], Parsed]] = {
    "X509 CRL": der.revocation_list,
    "PKCS7": der.signed_data,
    "PKCS #7 SIGNED DATA": der.signed_data,
    "CMS": der.signed_data,
    "OCSP RESPONSE": der.ocsp_response,
}
"""Parsers by label, for blocks other than certificates that may expire."""

_WORDS = (b"CERT", b"X509", b"CRL", b"PKCS", b"CMS", b"OCSP")
"""Parts of the labels above: a damaged BEGIN line that has one of them most probably began such a block."""


@dataclass(frozen=True, slots=True)
class _Begin:
    """
    A BEGIN line: its start, its label, and its end.
    """

    start: int
    label: str
    """Empty when the line is damaged."""
    stop: int
    before: bytes
    """The text before it in its line: nothing, blanks, or other text."""


def recognises(data: bytes) -> bool:
    """
    Return True when there is a BEGIN line.
    """
    # Most files begin with one.
    return data.startswith(_FIRST) or any(begin.label and not begin.before.strip() for begin in _begins(data))


def _recognises_loosely(data: bytes) -> bool:
    """
    Return True when there is a BEGIN that is damaged, or in a line with other text.
    """
    return next(_begins(data), None) is not None


def read(data: bytes, given: ParseContext) -> Parsed:
    """
    Return the items of every block in the file, and the problems.
    """
    # One more than are parsed, which shows where the last of these ends.
    begins = list(islice(_begins(data), BLOCK_LIMIT + 1))
    others = Findings(given.budget)
    certificates: list[Certificate | None] = []
    number, counted = 1, 0
    for index, begin in enumerate(given.budget.each(begins[:BLOCK_LIMIT], 5), 1):
        stop = begins[index].start if index < len(begins) else len(data)
        number += data.count(b"\n", counted, begin.start)
        counted = begin.start
        if not begin.label:
            line = data[begin.start : begin.start + LINE_LIMIT].splitlines()[0].upper()
            lasts = not any(word in line for word in _WORDS)
            others.broken(f"the BEGIN line in line {number} is damaged", lasts=lasts)
            certificates.append(None)
            continue
        place = f"the {begin.label} block in line {number}"
        end = data.find(_END, begin.stop, stop)
        known = len(others.problems)
        lasts = begin.label not in _CERTIFICATES and begin.label not in _OTHERS
        if begin.label in _CERTIFICATES:
            certificates.append(_certificate(data, begin, end, place, others))
        elif begin.label in _OTHERS:
            try:
                others.add(_OTHERS[begin.label](_decoded(data, begin.stop, end), place, given.budget))
            except ValueError as error:
                others.broken(f"{place}: {error}")
        else:
            others.lasting[_words(begin.label)] = None
            # What is signed in clear (RFC 9580 section 7) has an END line of another label.
            if end < 0 and stop < len(data) and not begin.label.startswith("PGP "):
                words = f"{place} has no END line, so OpenSSL refuses what follows it"
                others.broken(words, lasts=lasts)
        if len(others.problems) == known and end >= 0:
            fault = _fault(data, begin, end, last=stop == len(data))
            if fault:
                others.broken(f"{place}: {fault}", lasts=lasts)
    if len(begins) > BLOCK_LIMIT:
        others.problems.append(
            Problem(Reason.FILE_TOO_LARGE, f"it has more than {BLOCK_LIMIT:,} blocks; the first were read")
        )
    findings = arranged(certificates, given.budget)
    if others != _NOTHING:
        findings.add(others.parsed())
    return findings.parsed()


_NOTHING = Findings()


def _begins(data: bytes) -> Iterator[_Begin]:
    """
    Yield the BEGIN lines. Found with `find`: a regular expression takes longer than all other work on a
    certificate.

    A BEGIN within a line counts only where it ends the line: else it is in a sentence or a program. In a
    comment it does not count.
    """
    position = data.find(_BEGIN)
    for _ in range(BEGIN_LIMIT):
        if position < 0:
            return
        start = position + len(_BEGIN)
        stop = data.find(_DASHES, start, start + LABEL_LIMIT + len(_DASHES))
        before = _before(data, position)
        is_good = stop > start and _LABEL.fullmatch(data, start, stop) is not None
        stop += len(_DASHES)
        if not before.strip():
            yield _Begin(position, data[start : stop - 5].decode("ascii") if is_good else "", stop, before)
        elif is_good and not before.lstrip().startswith(b"#") and not _behind(data, stop):
            yield _Begin(position, data[start : stop - 5].decode("ascii"), stop, before)
        position = data.find(_BEGIN, start)


def _before(data: bytes, position: int) -> bytes:
    """
    Return the text in the line before a BEGIN or END. An END line that lacks its line feed is another line.
    """
    if position == 0 or data[position - 1] in b"\r\n":
        return b""
    text = data[max(0, position - LINE_LIMIT) : position]
    text = text[max(text.rfind(b"\n"), text.rfind(b"\r")) + 1 :].removeprefix(_MARK)
    return b"" if text.endswith(_DASHES) and _END in text else text


def _behind(data: bytes, position: int) -> bytes:
    """
    Return the text in the line after a BEGIN or END, without blanks around it.
    """
    if data[position : position + 1] in {b"", b"\n", b"\r"}:
        return b""
    text = data[position : position + LINE_LIMIT].lstrip(b" \t")
    return text[:1].strip()


def _fault(data: bytes, begin: _Begin, end: int, *, last: bool) -> str:
    """
    Return the reason why OpenSSL would not read a block that can be read here, in words; empty when it would.
    """
    before_end = _before(data, end)
    # All of it may be indented, as in a document of another format that it stands in.
    if begin.before.strip() or (begin.before and begin.before != before_end) or _behind(data, begin.stop):
        return "its BEGIN is not alone in its line, so OpenSSL passes over the block"
    label = begin.label.encode("ascii") + _DASHES
    start = end + len(_END)
    if not data.startswith(label, start) or _behind(data, start + len(label)):
        return "its END is not alone in its line, so OpenSSL refuses it (bad end line)"
    if before_end != begin.before and not last:
        return "its END is not alone in its line, so OpenSSL passes over the block that follows"
    text = data[begin.stop : end].lstrip()
    if (b"\n\n" in text or b"\n\r\n" in text) and b":" not in text:
        return "there is an empty line in it, so OpenSSL refuses it (bad end line)"
    return ""


def _certificate(data: bytes, begin: _Begin, end: int, place: str, findings: Findings) -> Certificate | None:
    """
    Return the certificate of a block; None, with a problem noted, when it can't be read.
    """
    try:
        decoded = _decoded(data, begin.stop, end)
        if begin.label == "TRUSTED CERTIFICATE":
            # OpenSSL puts something behind the certificate (x509(1), `-trustout`).
            decoded = ber.element(decoded).whole
    except ValueError as error:
        findings.broken(f"{place}: {error}")
        return None
    return findings.certificate(decoded, place)


def _decoded(data: bytes, start: int, end: int) -> bytes:
    """
    Return the decoded bytes of a block. Raises ValueError with words for a person.
    """
    if end < 0:
        raise ValueError("there is no END line: the file is cut off or damaged")
    text = data[start:end]
    if b":" in text:
        # Lines with a colon are headers of the older format (RFC 1421 section 4.4), and stand first.
        text = text[text.find(b"\n", text.rfind(b":")) + 1 :]
    return from_base64(text)


def _words(label: str) -> str:
    return "a private key" if label.endswith("PRIVATE KEY") else f"a block {label}"


FORMAT = Format("PEM", recognises, read)


LOOSE = Format("PEM", _recognises_loosely, read)
"""The format for files of no other: the only BEGIN is damaged, or in a line with other text."""
