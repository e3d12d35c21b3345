"""
STARTTLS in all its forms: the dialogue before TLS begins, by scheme.

Pure: bytes in, bytes and results out. `DIALOGUES` has the dialogue of each scheme.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from exporter.pki import ber
from exporter.probes.tls.dialogue import (
    HEARD_LIMIT,
    LINE_LIMIT,
    Judge,
    RefusedError,
    Step,
    Steps,
    TurnedAwayError,
    UnexpectedError,
    line,
    up_to,
)
from exporter.probes.tls.mysql_packets import _MYSQL_FAREWELL, _MYSQL_HEAD, _mysql_greeting, _mysql_packet
from exporter.probes.tls.tds_packets import _TDS_REQUEST, _tds_answer


@dataclass(frozen=True, slots=True)
class Names:
    """
    The names and addresses of both sides.
    """

    server: str
    """The name or address that the server is expected to have."""
    client: str
    """The client's own IP address on this connection."""


_ANY = re.compile(rb"[45]..")
"""Codes of a greeting that refuses all service: nothing was requested yet."""


_CLOSING = re.compile(rb"4(?:21|00)")
"""Codes that may answer any command (RFC 5321 section 3.8, RFC 959 section 4.2.1, RFC 3977 section 3.2.1)."""


_NOT_YOU = re.compile(rb"4[25].|55.")
"""Answers to EHLO that are about the client, and not about the command (RFC 5321 section 4.2.2)."""


def _reply(*good: bytes, offers: bytes = b"", away: re.Pattern[bytes] = _CLOSING) -> Judge:
    """
    Return the judge of a reply with a code, of one line or several: SMTP (RFC 5321 section 4.2.1), FTP (RFC
    959 section 4.2).

    `offers` is a keyword that one of its lines must have; `away` has the codes that refuse more than TLS.
    """

    def judge(lines: list[bytes]) -> bool:
        first, last = lines[0], lines[-1]
        code, mark, ends = first[:3], first[3:4], {b" ", b"\r", b"\n"}
        if not (code.isdigit() and mark in {b"-", *ends}):
            raise UnexpectedError("no reply with a code: '{}'", first)
        # In FTP only the first and the last line of several need the code.
        if mark == b"-" and not (last[:3] == code and last[3:4] in ends):
            return False
        if code not in good:
            if away.fullmatch(code):
                raise TurnedAwayError("{}", b"".join(lines))
            kind = RefusedError if code[:1] in {b"4", b"5"} else UnexpectedError
            raise kind("{}", b"".join(lines))
        if offers and offers not in {one[4:].strip().split(b" ")[0].upper() for one in lines[1:]}:
            raise RefusedError(f"{offers.decode()} is not among what it offers: {{}}", b"".join(lines))
        return True

    return judge


def _starting(good: bytes, bad: bytes, refusal: type[RefusedError] = RefusedError) -> Judge:
    """
    Return the judge of one line that begins with either word, as in POP3 (RFC 1939 section 3).
    """

    def judge(lines: list[bytes]) -> bool:
        said = lines[0].upper()
        if said.startswith(bad):
            raise refusal("{}", lines[0])
        if not said.startswith(good):
            raise UnexpectedError("{}", lines[0])
        return True

    return judge


def _imap_greeting(lines: list[bytes]) -> bool:
    """
    Return True after a greeting (RFC 9051 section 7.1): `* OK`. Raises for a refusal of the connection.
    """
    status = lines[0].upper()
    if status.startswith(b"* PREAUTH"):
        # RFC 9051 section 6.2.1: STARTTLS is for the state before authentication only.
        raise RefusedError("it is logged in already, without TLS: {}", lines[0])
    if status.startswith(b"* BYE"):
        raise TurnedAwayError("{}", lines[0])
    if not status.startswith(b"* OK"):
        raise UnexpectedError("{}", lines[0])
    return True


def _imap_starttls(lines: list[bytes]) -> bool:
    """
    Return True after the answer to STARTTLS (RFC 9051 section 6.2.1). Lines that begin with `*` may come at
    any time.
    """
    tag, _, rest = lines[-1].upper().partition(b" ")
    if tag == b"*" and rest.startswith(b"BYE"):
        raise TurnedAwayError("{}", lines[-1])
    if tag == b"*":
        return False
    if tag != b"A1":
        raise UnexpectedError("{}", lines[-1])
    if not rest.startswith(b"OK"):
        raise RefusedError("{}", lines[-1])
    return True


def _sieve_greeting(lines: list[bytes]) -> bool:
    """
    Return True after a greeting (RFC 5804 section 1.7): capabilities, then OK.
    """
    if not _sieve_status(lines[-1:]):
        return False
    if not any(one.upper().startswith(b'"STARTTLS"') for one in lines):
        raise RefusedError("STARTTLS is not among what it offers: {}", b"".join(lines))
    return True


def _sieve_status(lines: list[bytes]) -> bool:
    status = lines[-1].upper().strip().split(b" ")[0]
    if status == b"BYE":
        raise TurnedAwayError("{}", lines[-1])
    if status == b"NO":
        raise RefusedError("{}", lines[-1])
    if status != b"OK" and not lines[-1].startswith(b'"'):
        raise UnexpectedError("{}", lines[-1])
    return status == b"OK"


_IRC_BANNED = {b"463", b"465", b"466"}
"""RFC 1459 section 6.1: the server has no capacity for this host, or banned it."""


_IRC_COMMAND = re.compile(rb"(?:@\S+ +)?(?::\S+ +)?([A-Za-z]+|[0-9]{3})\s")
"""Tags and source may stand before it (IRCv3 message tags, RFC 2812 section 2.3.1)."""


def _irc_starttls(lines: list[bytes]) -> bool:
    """
    Return True after the answer to STARTTLS (IRCv3 `tls`): 670 accepts, 691 refuses, as any other error does.
    Notices may come before.
    """
    found = _IRC_COMMAND.match(lines[-1])
    if found is None:
        raise UnexpectedError("{}", lines[-1])
    command = found[1].upper()
    if command == b"670":
        return True
    if command == b"ERROR" or command in _IRC_BANNED:
        raise TurnedAwayError("{}", lines[-1])
    if command.isdigit() and command >= b"400":
        raise RefusedError("{}", lines[-1])
    if command not in {b"NOTICE", b"PING", b"020"}:
        raise UnexpectedError("{}", lines[-1])
    return False


# XMPP: as much XML as the beginning of a stream has (RFC 6120 section 11.1 forbids the rest).

# Possessive, so that a tag that is not complete is read through once: bytes may come one by one. Groups are
# not: before 3.11.5 Python keeps what such a one has tried in vain
# (https://github.com/python/cpython/issues/106052).
_TAG = re.compile(
    rb"""[^<>]*+<(/?)(?:[\w.-]++:)?([\w.?-]++)([^<>"']*+(?:(?:"[^"<]*+"|'[^'<]*+')[^<>"']*+)*)>"""
)


_DECLARATION = re.compile(rb"[^<>]*<!")
"""Document types, with entities in them, and comments."""


def _tag(data: bytes, position: int) -> int:
    """
    Return the end of a tag, with the text before it; 0 while it is not complete.
    """
    if not position and data.lstrip()[:1] not in {b"<", b""}:
        raise UnexpectedError("no XML: '{}'", data)
    if _DECLARATION.match(data, position):
        raise UnexpectedError("XML that no stream may have: '{}'", data[position:])
    if not up_to(b">", data, position):
        return 0
    tag = _TAG.match(data, position)
    if tag is not None:
        return tag.end()
    # The bracket may stand in an attribute.
    if len(data) - position > LINE_LIMIT:
        raise UnexpectedError("no XML: '{}'", data)
    return 0


def _read(tag: bytes) -> tuple[bytes, bool]:
    """
    Return the name without its prefix, and True when the tag closes its element.
    """
    found = _TAG.match(tag)
    assert found is not None
    return found[2], bool(found[1]) or found[3].endswith(b"/")


def _xmpp_features(tags: list[bytes]) -> bool:
    """
    Return True after the stream's begin and its features, which must have `starttls` (RFC 6120 section
    5.4.1).
    """
    name, closes = _read(tags[-1])
    if name in {b"error", b"stream"} and closes:
        # No such host here, too many connections, a rule (RFC 6120 section 4.9.3).
        raise TurnedAwayError("{}", b"".join(tags))
    if len(tags) <= 2 and name not in {b"?xml", b"stream", b"features", b"error"}:
        raise UnexpectedError("{}", b"".join(tags))
    if name != b"features" or not closes:
        return False
    if not any(_read(tag)[0] == b"starttls" for tag in tags):
        raise RefusedError("starttls is not among what it offers: {}", b"".join(tags[-20:]))
    return True


def _xmpp_proceed(tags: list[bytes]) -> bool:
    """
    Return True after `proceed` (RFC 6120 section 5.4.2.3); the refusal is section 5.4.2.2.
    """
    begun, _ = _read(tags[0])
    name, closes = _read(tags[-1])
    if begun == b"proceed" and name == begun:
        return closes
    if begun not in {b"failure", b"error", b"stream"}:
        raise UnexpectedError("{}", b"".join(tags))
    if closes and name in {b"failure", b"error", b"stream"}:
        kind = RefusedError if begun == b"failure" else TurnedAwayError
        raise kind("{}", b"".join(tags))
    return False


def _xmpp(namespace: str) -> Callable[[Names], Steps]:
    def steps(names: Names) -> Steps:
        stream = (
            f"<?xml version='1.0'?><stream:stream to='{names.server}' version='1.0' xml:lang='en' "
            f"xmlns='{namespace}' xmlns:stream='http://etherx.jabber.org/streams'>"
        )
        return (
            Step("stream features", stream.encode("ascii"), _tag, _xmpp_features),
            Step(
                "answer to starttls",
                b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
                _tag,
                _xmpp_proceed,
            ),
        )

    return steps


# Protocols of bytes.


_LDAP_RESPONSE = 0x78


_LDAP_BUSY = 51


_LDAP_RESULTS = {
    1: "operationsError",
    2: "protocolError",
    _LDAP_BUSY: "busy",
    52: "unavailable",
    53: "unwillingToPerform",
}


def _ldap_starttls(data: bytes, _: int = 0) -> int:
    """
    Return the end of an ExtendedResponse (RFC 4511 section 4.12) with the result `success` (section 4.14.2);
    0 while it is not complete.
    """
    # Lengths are definite (RFC 4511 section 5.1).
    if data[0] != ber.SEQUENCE or data[1:2] == b"\x80":
        raise UnexpectedError("no LDAP message: '{}'", data)
    try:
        message = ber.element(data)
    except ber.CutOffError as error:
        if error.needed > HEARD_LIMIT:
            raise UnexpectedError("an LDAP message of {} bytes", str(error.needed)) from None
        return 0
    except ber.BerError:
        raise UnexpectedError("no LDAP message: {}", data[:16].hex(" ")) from None
    try:
        # LDAPMessage: its number, then the response; inside that the result, a name, the server's words.
        number, response = message.parts(ber.INTEGER, _LDAP_RESPONSE)
        result, _name, said = response.parts(ber.ENUMERATED, ber.OCTET_STRING, ber.OCTET_STRING)
    except ber.BerError as error:
        words = f"another LDAP message than the answer ({error}): {{}}"
        raise UnexpectedError(words, data[:32].hex(" ")) from None
    code = int.from_bytes(result.content)
    if code:
        name = _LDAP_RESULTS.get(code, "no success")
        # Number 0 is no answer, but the notice that the server hangs up (RFC 4511 section 4.4.1).
        kind = TurnedAwayError if code == _LDAP_BUSY or not any(number.content) else RefusedError
        raise kind(f"result {code} ({name}): {{}}", said.content)
    return message.end


def _postgres_answer(data: bytes, _: int = 0) -> int:
    """
    Return the end of the answer of one byte: S or N (PostgreSQL documentation, SSLRequest).

    Servers that are too old for it, or refuse all service, answer with an error: in the old form, a text that
    ends with a zero, or in the new one, with its length before it.
    """
    match data[:1]:
        case b"S":
            return 1
        case b"N":
            raise RefusedError("N, which means that TLS is off (ssl = off)")
        case b"E":
            old = data[1:2] != b"\0"
            end = data.find(b"\0", 1) if old else 1 + int.from_bytes(data[1:5], "big")
            if len(data) < max(5, end) or end < 0:
                return 0
            kind = RefusedError if b"unsupported frontend protocol" in data else TurnedAwayError
            raise kind("{}", data[1 if old else 5 : end])
        case _:
            raise UnexpectedError("neither S nor N: '{}'", data)


_RDP_FAILURES = {
    1: "SSL_REQUIRED_BY_SERVER",
    2: "SSL_NOT_ALLOWED_BY_SERVER",
    3: "SSL_CERT_NOT_ON_SERVER",
    4: "INCONSISTENT_FLAGS",
    5: "HYBRID_REQUIRED_BY_SERVER",
    6: "SSL_WITH_USER_AUTH_REQUIRED_BY_SERVER",
}
"""Failure codes of RDP_NEG_FAILURE ([MS-RDPBCGR] section 2.2.1.2.2)."""


_RDP_REQUEST = (
    # TPKT of 19 bytes (RFC 1006), X.224 connection request, RDP_NEG_REQ for TLS, CredSSP and its newer form.
    bytes([3, 0, 0, 19, 14, 0xE0, 0, 0, 0, 0, 0]) + bytes([1, 0, 8, 0]) + (1 | 2 | 8).to_bytes(4, "little")
)


def _rdp_answer(data: bytes, _: int = 0) -> int:
    """
    Return the end of an X.224 connection confirm with RDP_NEG_RSP ([MS-RDPBCGR] section 2.2.1.2); 0 while it
    is not complete.
    """
    if not bytes([3, 0, 0]).startswith(data[:3]) or (len(data) > 5 and data[5] & 0xF0 != 0xD0):
        raise UnexpectedError("no answer of RDP: '{}'", data)
    if len(data) < 4 or len(data) < data[3]:
        return 0
    length = data[3]
    if length == 11:
        raise RefusedError("the server knows RDP's own encryption only")
    if length != 19 or data[11] not in {2, 3}:
        raise UnexpectedError("an answer of RDP that can't be read: {}", data[:length].hex(" "))
    value = int.from_bytes(data[15:19], "little")
    if data[11] == 3:
        raise RefusedError(_RDP_FAILURES.get(value, f"failure {value}"))
    if value == 0:
        raise RefusedError("the server chose RDP's own encryption instead of TLS")
    return length


def _smtp(hello: str) -> Callable[[Names], Steps]:
    """
    Return the dialogue of SMTP (RFC 3207); with LHLO that of LMTP (RFC 2033).
    """

    def steps(names: Names) -> Steps:
        # RFC 5321 section 4.1.4: an address literal, where the client has no name that can be relied on.
        version = "IPv6:" if ":" in names.client else ""
        said = f"{hello} [{version}{names.client.partition('%')[0]}]\r\n".encode("ascii")
        return (
            Step("greeting", b"", line, _reply(b"220", away=_ANY)),
            Step(f"answer to {hello}", said, line, _reply(b"250", offers=b"STARTTLS", away=_NOT_YOU)),
            Step("answer to STARTTLS", b"STARTTLS\r\n", line, _reply(b"220")),
        )

    return steps


def _always(*steps: Step) -> Callable[[Names], Steps]:
    return lambda _: steps


DIALOGUES: dict[str, Callable[[Names], Steps]] = {
    "smtp": _smtp("EHLO"),
    "submission": _smtp("EHLO"),
    "lmtp": _smtp("LHLO"),
    "imap": _always(
        Step("greeting", b"", line, _imap_greeting),
        Step("answer to STARTTLS", b"A1 STARTTLS\r\n", line, _imap_starttls),
    ),
    # RFC 2595 section 4.
    "pop3": _always(
        Step("greeting", b"", line, _starting(b"+OK", b"-ERR", TurnedAwayError)),
        Step("answer to STLS", b"STLS\r\n", line, _starting(b"+OK", b"-ERR")),
    ),
    # RFC 4217 section 4.
    "ftp": _always(
        Step("greeting", b"", line, _reply(b"220", away=_ANY)),
        Step("answer to AUTH TLS", b"AUTH TLS\r\n", line, _reply(b"234")),
    ),
    # RFC 4642 section 2.2.
    "nntp": _always(
        Step("greeting", b"", line, _reply(b"200", b"201", away=_ANY)),
        Step("answer to STARTTLS", b"STARTTLS\r\n", line, _reply(b"382")),
    ),
    "irc": _always(Step("answer to STARTTLS", b"STARTTLS\r\n", line, _irc_starttls)),
    # RFC 5804 section 2.2.
    "sieve": _always(
        Step("greeting", b"", line, _sieve_greeting),
        Step("answer to STARTTLS", b"STARTTLS\r\n", line, _sieve_status),
    ),
    # RFC 4511 section 4.14.1: an ExtendedRequest with this name.
    "ldap": _always(
        Step(
            "answer to StartTLS",
            bytes([0x30, 29, 0x02, 1, 1, 0x77, 24, 0x80, 22]) + b"1.3.6.1.4.1.1466.20037",
            _ldap_starttls,
        )
    ),
    "xmpp": _xmpp("jabber:client"),
    "xmpp-server": _xmpp("jabber:server"),
    "postgres": _always(Step("answer to SSLRequest", b"\0\0\0\x08\x04\xd2\x16\x2f", _postgres_answer)),
    "mysql": _always(
        Step("greeting", b"", _mysql_greeting), Step("TLS", _mysql_packet(1, _MYSQL_HEAD), None)
    ),
    "rdp": _always(Step("answer to the connection request", _RDP_REQUEST, _rdp_answer)),
    "mssql": _always(Step("answer to PRELOGIN", _TDS_REQUEST, _tds_answer)),
}
"""The dialogue of each scheme with STARTTLS."""


FAREWELLS: dict[str, Steps] = {"mysql": _MYSQL_FAREWELL}
"""Dialogues inside of TLS, by scheme, for servers that count a disconnected client as an error."""
