"""
DER files: a certificate, a revocation list, PKCS#7 (CMS), an OCSP response, or several in a row. Pure.

What the bytes are is told by their structure. A key is told too, and then left alone.
"""

from itertools import islice

from exporter.formats.budget import Budget
from exporter.formats.parsed import Findings, Format, ParseContext, Parsed, arranged, numbered
from exporter.model.observation import Certificate, FoundFault, Item
from exporter.model.reasons import Fault, Kind
from exporter.pki import ber
from exporter.pki.certificates import CertificateError
from exporter.pki.ocsp_data import about, answered, load_response
from exporter.pki.revocation import revoked
from exporter.pki.revocation_data import load_list

SIGNED_DATA = bytes.fromhex("2a864886f70d010702")
"""1.2.840.113549.1.7.2 (RFC 5652 section 5.1)."""


PIECE_LIMIT = 10_000
"""Encodings in a row that are read of one file."""


_TIMES = frozenset({ber.UTC_TIME, ber.GENERALIZED_TIME})


def recognises(data: bytes) -> bool:
    """
    Return True when the bytes begin like a SEQUENCE that may be the whole of them.
    """
    if len(data) < 2 or data[0] != ber.SEQUENCE:
        return False
    # Text may begin with a zero, which is the same byte. A length of several bytes is no text.
    return 0x80 <= data[1] <= 0x84 or len(data) == 2 + data[1]


def read(data: bytes, given: ParseContext) -> Parsed:
    """
    Return the items of every encoding in the file, and the problems.
    """
    others = Findings(given.budget)
    certificates: list[Certificate | None] = []
    position = 0
    for _ in given.budget.each(range(PIECE_LIMIT), 10):
        if not data[position : position + 64].strip(b"\0\r\n\t "):
            break
        try:
            piece = ber.element(data, position)
        except ber.BerError as error:
            others.broken(f"from byte {position} on: {error}")
            certificates.append(None)
            break
        place = f"at byte {position}"
        match _what(piece):
            case "certificate":
                certificates.append(others.certificate(piece.whole, place))
            case "revocation list":
                others.add(revocation_list(piece.whole, place, given.budget))
            case "signed data":
                others.add(signed_data(piece.whole, place, given.budget))
            case "OCSP response":
                others.add(ocsp_response(piece.whole, place, given.budget))
            case "BCFKS":
                others.unsupported(
                    f"{place}: this is a keystore of Bouncy Castle (BCFKS), which is not supported: "
                    "keytool -importkeystore makes a PKCS12 of it, which is"
                )
            case "":
                others.broken(f"{place}: this is an encoding (BER), but of nothing that is known here")
            case words:
                others.lasting[words] = None
        position = piece.end
    findings = arranged(certificates, given.budget)
    findings.add(others.parsed())
    return findings.parsed()


def _what(piece: ber.Element) -> str:
    """
    Return the type of an encoding in words, by its structure; empty when it is unknown.
    """
    try:
        piece.expect(ber.SEQUENCE)
        # A fourth part is none of ours, but is told from none.
        parts = list(islice(piece, 4))
        tags = tuple(part.tag for part in parts)
        if tags[:1] == (ber.OBJECT_IDENTIFIER,):
            return "signed data" if parts[0].content == SIGNED_DATA else "CMS content that is not signed"
        if tags[:1] == (ber.ENUMERATED,):
            return "OCSP response"
        if tags[:1] == (ber.INTEGER,):
            return "a private key"
        if tags == (ber.SEQUENCE, ber.OCTET_STRING):
            return "a private key"
        if tags == (ber.SEQUENCE, ber.SEQUENCE) and _tags(parts[0]) == (ber.SEQUENCE, ber.OCTET_STRING):
            return "BCFKS"
        if tags == (ber.SEQUENCE, ber.BIT_STRING):
            return "a public key"
        if tags == (ber.SEQUENCE, ber.SEQUENCE, ber.BIT_STRING):
            return _what_is_signed(parts[0])
    except ber.BerError:
        pass
    return ""


def _tags(piece: ber.Element) -> tuple[int, ...]:
    return tuple(part.tag for part in islice(piece, 4))


def _what_is_signed(body: ber.Element) -> str:
    """
    Return the type of a signed structure in words, by the fields of its body (RFC 5280 sections 4.1 and 5.1,
    RFC 2986 section 4).
    """
    tags = [part.tag for part in islice(body, 4)]
    if tags[:1] == [0xA0]:
        return "certificate"
    if tags[:1] == [ber.SEQUENCE]:
        return "revocation list"
    if tags[:1] == [ber.INTEGER] and tags[3:4] and tags[3] in _TIMES:
        return "revocation list"
    if tags[:1] == [ber.INTEGER] and tags[3:4] == [0xA0]:
        return "a certificate request"
    return "certificate" if tags[:1] == [ber.INTEGER] else ""


def revocation_list(data: bytes, place: str, budget: Budget) -> Parsed:
    """
    Return a revocation list (RFC 5280 section 5), which ends when the next one is due.
    """
    findings = Findings(budget)
    # Some microseconds for the smallest; what is revoked is only passed over.
    budget.spend(50 + len(data) // 128)
    try:
        found = load_list(data)
    except CertificateError as error:
        # It was read more than once, each time without another part.
        budget.spend(50 + len(data) // 4)
        findings.broken(f"{place}: the revocation list can't be read: {error}")
        return findings.parsed()
    if found.irregular:
        words = f"Strict clients refuse to read the revocation list: {found.irregular}."
        findings.faults.append(FoundFault(Fault.MALFORMED, words))
    if found.next_update is None:
        findings.lasting["a revocation list that does not say when the next one comes"] = None
    else:
        findings.items.append(Item("crl", Kind.CRL, found.this_update, found.next_update))
    return findings.parsed()


def ocsp_response(data: bytes, place: str, budget: Budget) -> Parsed:
    """
    Return the answers of an OCSP response (RFC 6960 section 4.2), each of which ends when a newer one is due.
    """
    findings = Findings(budget)
    budget.spend(20 + len(data) // 128)
    times: list[tuple[float, float]] = []
    try:
        response = load_response(data)
    except CertificateError as error:
        findings.broken(f"{place}: the OCSP response can't be read: {error}")
        return findings.parsed()
    if response.status:
        findings.lasting[f"an OCSP responder's refusal to answer ({response.status})"] = None
    for number, encoded in enumerate(budget.each(response.answers, 20), 1):
        try:
            serial, single = about(encoded).serial, answered(encoded)
        except ValueError as error:
            findings.broken(f"{place}: answer {number} of the OCSP response can't be read: {error}")
            continue
        if single.revoked_at is not None:
            # RFC 5280 section 4.1.2.2 allows 20 bytes.
            which = f"the certificate with the serial number {f'{serial:x}'[:40]}"
            findings.faults.append(revoked("The OCSP response in the file", single.reason, which))
        if single.next_update is None:
            findings.lasting["an OCSP response that does not say when a newer one comes"] = None
        else:
            times.append((single.this_update, single.next_update))
    for name, (begin, end) in zip(numbered("ocsp", len(times)), times, strict=True):
        findings.items.append(Item(name, Kind.OCSP, begin, end))
    return findings.parsed()


def signed_data(data: bytes, place: str, budget: Budget) -> Parsed:
    """
    Return the certificates and revocation lists of PKCS#7 or CMS signed data (RFC 5652 section 5.1).
    """
    others = Findings(budget)
    certificates: list[Certificate | None] = []
    try:
        kind, content = ber.element(data).expect(ber.SEQUENCE).parts(ber.OBJECT_IDENTIFIER, 0xA0)
        if kind.content != SIGNED_DATA:
            others.lasting["CMS content that is not signed"] = None
            return others.parsed()
        (signed,) = content.parts(ber.SEQUENCE)
        for field in signed:
            parts = field if field.tag in {0xA0, 0xA1} else ()
            for number, one in enumerate(budget.each(parts, 5), 1):
                if field.tag == 0xA1:
                    others.add(revocation_list(one.whole, f"{place}, list {number}", budget))
                elif one.tag == ber.SEQUENCE:
                    certificates.append(others.certificate(one.whole, f"{place}, certificate {number}"))
    except ber.BerError as error:
        others.broken(f"{place}: the PKCS#7 structure can't be read: {error}")
    findings = arranged(certificates, budget)
    findings.add(others.parsed())
    return findings.parsed()


FORMAT = Format("DER", recognises, read)
