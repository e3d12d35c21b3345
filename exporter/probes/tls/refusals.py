"""
The reason for a failed handshake, from OpenSSL's error messages.
"""

from OpenSSL import SSL

from exporter.model.caches import remembered
from exporter.model.errors import ProbeError
from exporter.model.observation import Certificate, Chain, Facts, FoundFault, Item
from exporter.model.reasons import Fault, Kind, Reason
from exporter.net.connection import EndlessError
from exporter.probes.tls import handshake, openssl


def http_refuses(answer: bytes) -> bool:
    """
    Return True for an HTTP answer that servers give to a request without the client certificate they asked
    for.

    400 is nginx's and HAProxy's, 403 Apache's and IIS's; 495 and 496 are nginx's own numbers for it.
    """
    return answer.startswith(b"HTTP/") and answer.split(b" ", 2)[1:2] in (
        [b"400"],
        [b"403"],
        [b"495"],
        [b"496"],
    )


@remembered("facts", apart=(handshake.Seen, Certificate))
def facts(*seen: handshake.Seen) -> Facts:
    """
    Return the handshakes of one endpoint as items: `leaf`, `chain-1`, or `leaf-rsa`, `chain-rsa-1` if keys
    are requested by type.

    A certificate that can't be read is a fault. A chain without its leaf gives items only.
    """
    items: list[Item] = []
    faults: list[FoundFault] = []
    for one in seen:
        suffix = f"-{one.chain.key}" if one.chain.key else ""
        told: set[Certificate] = set()
        for place, certificate in one.chain.places:
            if certificate in told:
                continue  # presented twice, which some servers do with the leaf
            told.add(certificate)
            if place == 0:
                name, kind = f"leaf{suffix}", Kind.LEAF
            else:
                name = f"chain{suffix}-{place}"
                kind = Kind.ROOT if certificate.self_issued else Kind.INTERMEDIATE
            items.append(Item(name, kind, certificate.not_before, certificate.not_after, certificate))
        faults += (_unread(place, why, one.chain) for place, why in one.chain.unread)
        if one.chain.refused:
            words = "Strict clients refuse to read the certificates that the server presents"
            faults.append(FoundFault(Fault.MALFORMED, f"{words}: {one.chain.refused}."))
    return Facts(
        tuple(items),
        tuple(one.chain for one in seen if not one.chain.lacks_leaf),
        seen[0].tls,
        tuple(faults),
        partial=any(one.chain.unread for one in seen),
    )


def _unread(place: int, why: str, chain: Chain) -> FoundFault:
    """
    Return the fault that a presented certificate can't be read.
    """
    count = len(chain.certificates) + len(chain.unread)
    words = (
        f"Certificate {place + 1} of the {count} that the server presents can't be read ({why}): strict "
        "clients (Go, Java) refuse them all."
    )
    return FoundFault(Fault.MALFORMED, words)


def refusal(error: handshake.HandshakeError, *, has_client_certificate: bool) -> ProbeError:
    """
    Return the ProbeError for a handshake that ended early, with the certificate if it came before the end.
    """
    seen = facts(error.seen) if error.seen is not None else None
    words = tls_words(error.error)
    match error.error:
        case TimeoutError():
            return ProbeError(
                Reason.HANDSHAKE_TIMEOUT,
                "the server accepted the TCP connection but did not finish the TLS handshake in time",
                seen,
            )
        case EndlessError() as endless:
            return ProbeError(
                Reason.HANDSHAKE_ENDLESS,
                f"the server does not end the handshake: it sent {endless}",
                seen,
            )
        case handshake.LargeGroupError():
            return ProbeError(
                Reason.HANDSHAKE_REFUSED,
                "we gave up the TLS handshake: the server wants a Diffie-Hellman key exchange with more than "
                f"{openssl.GROUP_LIMIT * 8} bits, which takes too long",
                seen,
            )
    if error.seen is not None and error.seen.tls.client_certificate_requested:
        if has_client_certificate:
            return ProbeError(
                Reason.CLIENT_CERTIFICATE_REFUSED, f"the server refused our client certificate: {words}", seen
            )
        return ProbeError(
            Reason.CLIENT_CERTIFICATE_REQUIRED,
            f"the server demands a client certificate and this target has none configured: {words}",
            seen,
        )
    if isinstance(error.error, SSL.SysCallError | SSL.ZeroReturnError | OSError):
        if isinstance(error.error, SSL.ZeroReturnError) or error.error.args[:1] == (-1,):
            return ProbeError(
                Reason.CONNECTION_CLOSED, "the server closed the connection during the TLS handshake", seen
            )
        return ProbeError(
            Reason.CONNECTION_RESET, f"the connection broke during the TLS handshake: {words}", seen
        )
    if means(words, *NOT_TLS) and error.answered:
        return ProbeError(
            Reason.HANDSHAKE_REFUSED,
            f"the server began with TLS, and went on with what is none: {words}",
            seen,
        )
    if means(words, *NOT_TLS):
        return ProbeError(Reason.NOT_TLS, f"what answers at this port does not speak TLS: {words}", seen)
    if means(words, TOO_LARGE):
        return ProbeError(
            Reason.BAD_CERTIFICATE,
            "the server's certificates are more than 100 kB together, which OpenSSL's clients refuse as "
            "this one does (names are what takes the room); or what it says before them is too large: "
            f"{words}",
            seen,
        )
    if means(words, *BAD_CERTIFICATE):
        return ProbeError(Reason.BAD_CERTIFICATE, f"the server's certificate can't be read: {words}", seen)
    return ProbeError(Reason.HANDSHAKE_REFUSED, f"the TLS handshake failed: {words}", seen)


NOT_TLS = (
    "wrong version number",
    "http request",
    "packet length too long",
    "unknown protocol",
    "record layer failure",
    "bad record type",
    "unexpected record",
)
"""OpenSSL's words for bytes that are not a TLS record."""


BAD_CERTIFICATE = ("asn1", "decode error", "length mismatch", "x509 lib")
"""OpenSSL's words for a certificate message that it can't parse, or with no certificate in it."""


BAD_STAPLE = "bad certificate status response"
"""OpenSSL's words for a stapled OCSP response that it can't parse (RFC 6066 section 8)."""


TOO_LARGE = "excessive message size"
"""OpenSSL's words for a message beyond its limit. A proper server has no such message but its list of
certificates."""


def means(words: str, *marks: str) -> bool:
    """
    Return True when the library itself found one of these in what the server sent.

    An alert of the server may have the same name (`decode_error`), and is about what we sent.
    """
    own = [part for part in words.split("; ") if _ALERT not in part]
    return any(mark in part for part in own for mark in marks)


_ALERT = " alert "
"""OpenSSL's word for what came as an alert: `tlsv1 alert decode error`."""


def tls_words(error: Exception) -> str:
    """
    Return the library's words for an error, lower case, with `; ` between several.
    """
    parts = error.args[0] if error.args else ()
    if isinstance(parts, list) and parts:
        # It has no words for the number of an alert that no standard has.
        return "; ".join(str(part[-1]).lower() or "an alert that TLS does not know" for part in parts)
    if isinstance(parts, list):
        return type(error).__name__
    return str(error.args[-1]).lower() if error.args else type(error).__name__
