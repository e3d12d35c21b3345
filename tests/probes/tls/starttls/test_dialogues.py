"""
Dialogues as tables: transcripts after the RFCs and manuals, good and bad, whole and cut at every byte.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exporter.probes.tls.dialogue import (
    HEARD_LIMIT,
    LINE_LIMIT,
    WORDS_LIMIT,
    Dialogue,
    RefusedError,
    Steps,
    TurnedAwayError,
    UnexpectedError,
    words,
)
from exporter.probes.tls.starttls import DIALOGUES, FAREWELLS, Names
from exporter.probes.tls.tds_packets import tds_data, tds_packet

NAMES = Names("www.example", "192.0.2.7")

FEATURES = (
    b"<?xml version='1.0'?><stream:stream from='www.example' id='t7AMCin9zjMNwQKDnplntZPIDEI=' version='1.0' "
    b"xml:lang='en' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
    b"<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>"
    b"</stream:features>"
)
PROCEED = b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
"""RFC 6120 section 9.1.1."""

LDAP_SUCCESS = bytes([0x30, 0x0C, 2, 1, 1, 0x78, 7, 0x0A, 1, 0, 4, 0, 4, 0])
LDAP_NAMED = (
    bytes([0x30, 36, 2, 1, 1, 0x78, 31, 0x0A, 1, 0, 4, 0, 4, 0, 0x8A, 22]) + b"1.3.6.1.4.1.1466.20037"
)
"""RFC 4511 section 4.14.2, with and without the name of the response."""


def ldap_result(code: int, said: bytes) -> bytes:
    """
    An ExtendedResponse with this result and these words.
    """
    inside = bytes([0x0A, 1, code, 4, 0, 4, len(said)]) + said
    return bytes([0x30, 5 + len(inside), 2, 1, 1, 0x78, len(inside)]) + inside


def mysql_greeting(flags: int = 0xFFFF, version: bytes = b"8.0.36") -> bytes:
    """
    Protocol::HandshakeV10.
    """
    payload = b"\x0a" + version + b"\0" + bytes(4) + b"12345678" + b"\0" + flags.to_bytes(2, "little")
    payload += b"\x21\x02\x00\xff\xc1\x15" + bytes(10) + b"123456789012\0mysql_native_password\0"
    return len(payload).to_bytes(3, "little") + b"\0" + payload


def postgres_error(said: bytes) -> bytes:
    """
    An ErrorResponse of PostgreSQL.
    """
    fields = b"SFATAL\0C08P01\0M" + said + b"\0\0"
    return b"E" + (4 + len(fields)).to_bytes(4, "big") + fields


def rdp_answer(kind: int, value: int) -> bytes:
    """
    The confirm of [MS-RDPBCGR] section 4.1.2.
    """
    head = bytes.fromhex("03 00 00 13 0e d0 00 00 12 34 00")
    return head + bytes([kind, 0, 8, 0]) + value.to_bytes(4, "little")


def tds_answer(encryption: int) -> bytes:
    """
    A PRELOGIN answer after the example of [MS-TDS] section 4.2.
    """
    options = bytes.fromhex("00001a0006 0100200001 0200210001 0300220000 0400220001 ff")
    data = options + bytes([9, 0, 0, 0, 0, 0, encryption, 0, 0])
    return b"\x04\x01" + (8 + len(data)).to_bytes(2, "big") + b"\0\0\x01\0" + data


GOOD: dict[str, tuple[str, Sequence[bytes]]] = {
    # RFC 3207 section 5.
    "smtp": (
        "smtp",
        (
            b"220 mail.imc.org SMTP service ready\r\n",
            b"250-mail.imc.org offers a warm hug\r\n250 STARTTLS\r\n",
            b"220 Go ahead\r\n",
        ),
    ),
    "smtp, many lines": (
        "smtp",
        (
            b"220-mail.example says:\r\n220-no spam\r\n220 ESMTP\r\n",
            b"250-mail.example\r\n250-SIZE 10\r\n250-starttls\r\n250-8BITMIME\r\n250 HELP\r\n",
            b"220-Ready\r\n220 to start TLS\r\n",
        ),
    ),
    "smtp, codes without text": ("smtp", (b"220\r\n", b"250-\r\n250 STARTTLS \r\n", b"220\r\n")),
    "smtp, ends of lines without CR": ("smtp", (b"220 a\n", b"250-a\n250 STARTTLS\n", b"220 b\n")),
    "submission": (
        "submission",
        (b"220 a ESMTP\r\n", b"250-a\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n", b"220 2.0.0 Ready\r\n"),
    ),
    "lmtp": (
        "lmtp",
        (
            b"220 foo.edu LMTP server ready\r\n",
            b"250-foo.edu\r\n250-STARTTLS\r\n250 SIZE\r\n",
            b"220 2.0.0 go\r\n",
        ),
    ),
    # RFC 9051 section 6.2.1.
    "imap": (
        "imap",
        (b"* OK [CAPABILITY IMAP4rev2 STARTTLS] ready\r\n", b"A1 OK Begin TLS negotiation now\r\n"),
    ),
    "imap, words in between": (
        "imap",
        (b"* ok hello\r\n", b"* CAPABILITY IMAP4rev1\r\n* OK still here\r\na1 ok go\r\n"),
    ),
    # RFC 9051 section 7: a client must be prepared for such lines at all times.
    "imap, words without being asked": (
        "imap",
        (b"* OK hello\r\n* CAPABILITY IMAP4rev1 STARTTLS\r\n* OK be", b" welcome\r\na1 ok go\r\n"),
    ),
    # RFC 2595 section 4.
    "pop3": ("pop3", (b"+OK POP3 server ready <1@a>\r\n", b"+OK Begin TLS negotiation\r\n")),
    # RFC 4217 section 12.1.
    "ftp": ("ftp", (b"220 FTPS server\r\n", b"234 AUTH TLS successful\r\n")),
    "ftp, many lines": (
        "ftp",
        (b"220-Welcome\r\n 220 users\r\nanything\r\n\r\n220 ready\r\n", b"234-a\r\n b\r\n234 c\r\n"),
    ),
    # RFC 4642 section 2.2.2.
    "nntp": ("nntp", (b"200 news.example ready\r\n", b"382 Continue with TLS negotiation\r\n")),
    "nntp, no posting": ("nntp", (b"201 news.example, no posting\r\n", b"382 go\r\n")),
    "irc": ("irc", (b":irc.example 670 * :STARTTLS successful, proceed with TLS handshake\r\n",)),
    "irc, notices before": (
        "irc",
        (b":a NOTICE * :*** Looking up\r\nNOTICE AUTH :*** Ident\r\nPING :123\r\n@time=1 :a 670 * :go\r\n",),
    ),
    # RFC 5804 section 2.2.
    "sieve": (
        "sieve",
        (
            b'"IMPLEMENTATION" "Example1 ManageSieved v001"\r\n"SASL" ""\r\n"STARTTLS"\r\nOK\r\n',
            b'OK "Begin TLS negotiation now."\r\n',
        ),
    ),
    "ldap": ("ldap", (LDAP_SUCCESS,)),
    "ldap, with its name": ("ldap", (LDAP_NAMED,)),
    "ldap, long lengths": (
        "ldap",
        (bytes([0x30, 0x84, 0, 0, 0, 16, 2, 1, 1, 0x78, 0x84, 0, 0, 0, 7, 0x0A, 1, 0, 4, 0, 4, 0]),),
    ),
    "xmpp": ("xmpp", (FEATURES, PROCEED)),
    "xmpp, other prefixes": (
        "xmpp",
        (
            b'<s:stream xmlns:s="a" id=">">\n<s:features><t:starttls/><x/></s:features>',
            b"<tls:proceed xmlns:tls='urn:ietf:params:xml:ns:xmpp-tls'></tls:proceed>",
        ),
    ),
    "xmpp, white space": ("xmpp", (b"\n" + FEATURES + b"\n", b"\r\n" + PROCEED)),
    "xmpp-server": ("xmpp-server", (FEATURES.replace(b"client", b"server"), PROCEED)),
    "postgres": ("postgres", (b"S",)),
    "mysql": ("mysql", (mysql_greeting(),)),
    "rdp": ("rdp", (rdp_answer(2, 1),)),
    "rdp, CredSSP": ("rdp", (rdp_answer(2, 8),)),
    "mssql": ("mssql", (tds_answer(1),)),
    "mssql, which demands it": ("mssql", (tds_answer(3),)),
}
"""What the server says, answer by answer."""

REFUSED: dict[str, tuple[str, Sequence[bytes], str]] = {
    "smtp: not offered": ("smtp", (b"220 a\r\n", b"250-a\r\n250 SIZE\r\n"), "250 SIZE"),
    "smtp: offered by the name of the host only": ("smtp", (b"220 a\r\n", b"250 STARTTLS\r\n"), "not among"),
    "smtp: crossed out by a firewall": ("smtp", (b"220 a\r\n", b"250-a\r\n250 XXXXXXXA\r\n"), "XXXXXXXA"),
    "smtp: no EHLO": ("smtp", (b"220 a\r\n", b"502 what\r\n"), "502 what"),
    # RFC 3207 section 4.
    "smtp: not now": (
        "smtp",
        (b"220 a\r\n", b"250-a\r\n250 STARTTLS\r\n", b"454 TLS not available due to temporary reason\r\n"),
        "454 TLS not available due to temporary reason",
    ),
    "lmtp": ("lmtp", (b"220 a\r\n", b"250 a\r\n"), "not among"),
    "imap: BAD": ("imap", (b"* OK\r\n", b"A1 BAD unknown command\r\n"), "BAD unknown command"),
    "imap: NO": ("imap", (b"* OK\r\n", b"* x\r\nA1 NO not now\r\n"), "NO not now"),
    "imap: PREAUTH": ("imap", (b"* PREAUTH hello\r\n",), "logged in already"),
    "pop3": ("pop3", (b"+OK\r\n", b"-ERR what is STLS\r\n"), "what is STLS"),
    "ftp": ("ftp", (b"220 a\r\n", b"530 Please login with USER and PASS.\r\n"), "530 Please login"),
    "ftp: not implemented": ("ftp", (b"220 a\r\n", b"502-no\r\n502 TLS\r\n"), "502-no 502 TLS"),
    "nntp: not now": ("nntp", (b"200 a\r\n", b"580 Can not initiate TLS negotiation\r\n"), "580 Can not"),
    "irc: 691": ("irc", (b":a 691 * :STARTTLS failed (Wrong moon phase)\r\n",), "Wrong moon phase"),
    "irc: 421": ("irc", (b":a 421 you STARTTLS :Unknown command\r\n",), "Unknown command"),
    "irc: 451": ("irc", (b":a NOTICE * :hello\r\n:a 451 * :You have not registered\r\n",), "not registered"),
    "sieve: not offered": ("sieve", (b'"SIEVE" "fileinto"\r\nOK\r\n',), "not among"),
    "sieve: NO": ("sieve", (b'"STARTTLS"\r\nOK\r\n', b'NO "already in TLS"\r\n'), "already in TLS"),
    "ldap": ("ldap", (ldap_result(2, b"unsupported"),), "result 2 (protocolError): unsupported"),
    "ldap: unavailable": ("ldap", (ldap_result(52, b"later"),), "result 52 (unavailable): later"),
    "ldap: another result": ("ldap", (ldap_result(80, b""),), "result 80 (no success)"),
    "xmpp: not offered": (
        "xmpp",
        (b"<stream:stream><stream:features><bind/></stream:features>",),
        "<stream:features><bind/>",
    ),
    "xmpp: nothing offered": ("xmpp", (b"<stream:stream><stream:features/>",), "<stream:features/>"),
    "xmpp: failure": ("xmpp", (FEATURES, b"<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"), "failure"),
    "postgres": ("postgres", (b"N",), "ssl = off"),
    "mysql": ("mysql", (mysql_greeting(0xFFFF & ~0x0800),), "version 8.0.36"),
    "rdp: own encryption only": (
        "rdp",
        (bytes([3, 0, 0, 11, 6, 0xD0, 0, 0, 0x12, 0x34, 0]),),
        "own encryption",
    ),
    "rdp: own encryption chosen": ("rdp", (rdp_answer(2, 0),), "own encryption"),
    "rdp: failure": ("rdp", (rdp_answer(3, 2),), "SSL_NOT_ALLOWED_BY_SERVER"),
    "rdp: no certificate": ("rdp", (rdp_answer(3, 3),), "SSL_CERT_NOT_ON_SERVER"),
    "rdp: another failure": ("rdp", (rdp_answer(3, 99),), "failure 99"),
    "mssql": ("mssql", (tds_answer(2),), "ENCRYPT_NOT_SUP"),
    "smtp: EHLO is no command": ("smtp", (b"220 a\r\n", b"500 what\r\n"), "500 what"),
    "ldap: a fault of its own": ("ldap", (ldap_result(1, b"no"),), "result 1 (operationsError)"),
    "postgres: too old": (
        "postgres",
        (postgres_error(b"unsupported frontend protocol 1234.5679"),),
        "1234.5679",
    ),
}
"""What the server says, and some of its words in the message: it does not offer TLS, or refuses it."""

TURNED_AWAY: dict[str, tuple[str, Sequence[bytes], str]] = {
    "smtp: no service": ("smtp", (b"554 5.7.1 not from you\r\n",), "554 5.7.1 not from you"),
    "smtp: many lines of no": ("smtp", (b"421-a\r\n421 b\r\n",), "421-a 421 b"),
    "imap: BYE at once": ("imap", (b"* BYE overloaded\r\n",), "BYE overloaded"),
    "imap: BYE later": ("imap", (b"* OK\r\n", b"* BYE overloaded\r\n"), "BYE overloaded"),
    "pop3: at once": ("pop3", (b"-ERR closed\r\n",), "-ERR closed"),
    "nntp: at once": ("nntp", (b"400 NNTP server unavailable\r\n",), "unavailable"),
    "irc: ERROR": ("irc", (b"ERROR :Closing link: banned\r\n",), "banned"),
    "sieve: BYE": ("sieve", (b'BYE "too many"\r\n',), "too many"),
    "xmpp: no such host": (
        "xmpp",
        (b"<stream:stream><stream:error><host-unknown/></stream:error></stream:stream>",),
        "host-unknown",
    ),
    "xmpp: error later": (
        "xmpp",
        (FEATURES, b"<stream:error><not-now/></stream:error>"),
        "<not-now/></stream:error>",
    ),
    "xmpp: the end": ("xmpp", (b"<stream:stream></stream:stream>",), "</stream:stream>"),
    "mysql: blocked": (
        "mysql",
        (b"\x1b\0\0\0\xff\x69\x04Host 'me' is blocked now",),
        "Host 'me' is blocked",
    ),
    "smtp: full": ("smtp", (b"421 4.7.0 too many connections\r\n",), "421 4.7.0 too many"),
    "smtp: going down after EHLO": ("smtp", (b"220 a\r\n", b"421 shutting down\r\n"), "421 shutting down"),
    "smtp: a client of no good name": ("smtp", (b"220 a\r\n", b"550-listed\r\n550 go\r\n"), "550-listed"),
    "smtp: going down": ("smtp", (b"220 a\r\n", b"250-a\r\n250 STARTTLS\r\n", b"421 bye\r\n"), "421 bye"),
    "pop3: busy": ("pop3", (b"-ERR [SYS/TEMP] busy\r\n",), "[SYS/TEMP] busy"),
    "ftp: full": ("ftp", (b"421 There are too many connected users\r\n",), "too many connected users"),
    "ftp: blocked": ("ftp", (b"530-no\r\n530 not from there\r\n",), "530-no"),
    "nntp: later": ("nntp", (b"200 a\r\n", b"400 going down\r\n"), "400 going down"),
    "nntp: for ever": ("nntp", (b"502 no\r\n",), "502 no"),
    "irc: throttled": ("irc", (b"ERROR :Closing link [Throttled]\r\n",), "[Throttled]"),
    "irc: 465": ("irc", (b":a 465 * :You are banned\r\n",), "You are banned"),
    "sieve: BYE later": ("sieve", (b'"STARTTLS"\r\nOK\r\n', b'BYE "full"\r\n'), "full"),
    "ldap: busy": ("ldap", (ldap_result(51, b"wait"),), "result 51 (busy): wait"),
    # RFC 4511 section 4.4.1.
    "ldap: a notice that it hangs up": (
        "ldap",
        (ldap_result(52, b"shutting down").replace(b"\x02\x01\x01", b"\x02\x01\x00"),),
        "shutting down",
    ),
    "postgres: no process": ("postgres", (b"Ecould not fork new process\n\0",), "could not fork"),
    "postgres: full": ("postgres", (postgres_error(b"no more connections allowed"),), "no more"),
    "mysql: full": ("mysql", (b"\x17\0\0\0\xff\x10\x04Too many connections",), "error 1040: Too many"),
}
"""The same for all service: it is full, goes down, or lets nobody in from here."""

NOT_THIS: Sequence[bytes] = (
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    b"\x15\x03\x03\x00\x02\x02\x28",
    b"\x16\x03\x03\x00\x7a\x02",
    bytes(64),
    b"\xff" * 64,
    b"\r\n",
    b"(\xb5\x2f\xfd garbage\r\n",
)
"""What other servers say; early TLS among it."""

UNEXPECTED: dict[str, tuple[str, Sequence[bytes], str]] = {
    "smtp: wrong order": ("smtp", (b"250 a\r\n",), "250 a"),
    "smtp: all at once": (
        "smtp",
        (b"220 a\r\n250-a\r\n250 STARTTLS\r\n220 go\r\n",),
        "went on without being asked: '250-a",
    ),
    "smtp: a line of another code": ("smtp", (b"220-a\r\n250 b\r\n" * 2000,), "no end of it"),
    "smtp: a positive answer that is no go-ahead": (
        "smtp",
        (b"220 a\r\n", b"250-a\r\n250 STARTTLS\r\n", b"250 fine\r\n"),
        "250 fine",
    ),
    "smtp: no code": ("smtp", (b"2200 a\r\n",), "no reply with a code"),
    "smtp: TLS before the go-ahead": (
        "smtp",
        (b"220 a\r\n", b"250-a\r\n250 STARTTLS\r\n", b"\x16\x03\x03\x00\x7a\x02\x00"),
        "began with TLS",
    ),
    "imap: another tag": ("imap", (b"* OK\r\n", b"A2 OK go\r\n"), "A2 OK go"),
    "imap: a command to go on": ("imap", (b"* OK\r\n", b"+ go on\r\n"), "+ go on"),
    "pop3": ("pop3", (b"* OK\r\n",), "* OK"),
    "irc: a welcome": ("irc", (b":a 001 you :Welcome\r\n",), "001 you"),
    "sieve": ("sieve", (b"* OK IMAP\r\n",), "* OK IMAP"),
    "ldap: bind response": ("ldap", (LDAP_SUCCESS.replace(b"\x78", b"\x61"),), "LDAP message"),
    "ldap: indefinite length": ("ldap", (b"\x30\x80\x02\x01\x01",), "no LDAP message"),
    "ldap: huge": ("ldap", (b"\x30\x84\x7f\xff\xff\xff\x02\x01\x01",), "2147483653 bytes"),
    "ldap: lengths that go beyond": (
        "ldap",
        (b"\x30\x0c\x02\x01\x01\x78\x7f\x0a\x01\0\x04\0\x04\0",),
        "is cut off",
    ),
    "xmpp: a document type": ("xmpp", (b"<!DOCTYPE lolz [<!ENTITY lol 'lol'>]>",), "no stream may have"),
    "xmpp: another document": ("xmpp", (b"<?xml version='1.0'?><html><body>",), "<html>"),
    "xmpp: features again": ("xmpp", (FEATURES, b"<message/>"), "<message/>"),
    "postgres: another letter": ("postgres", (b"R\0\0\0\x08",), "neither S nor N"),
    "mysql: an older version": ("mysql", (b"\x10\0\0\0\x09" + bytes(15),), "version 10"),
    "mysql: a later packet": ("mysql", (b"\x10\0\0\x01\x0a" + bytes(15),), "no MySQL greeting"),
    "mysql: cut off inside": ("mysql", (b"\x08\0\0\0\x0a5.5\0" + bytes(3),), "too short"),
    "rdp: another length": ("rdp", (bytes([3, 0, 0, 12, 7, 0xD0, 0, 0, 0, 0, 0, 0]),), "can't be read"),
    "mssql: no encryption": (
        "mssql",
        (b"\x04\x01\0\x14\0\0\x01\0\0\0\x06\0\x06\xff\0\0\0\0\0\0",),
        "without encryption",
    ),
    "mssql: empty": ("mssql", (b"\x04\x01\0\x08\0\0\x01\0",), "8 bytes"),
    **{
        f"{scheme}: {said[:12]!r}": (scheme, (said,), "")
        for scheme in DIALOGUES
        for said in NOT_THIS
        # To MySQL it may be a packet's begin, to XMPP it is nothing yet, and PostgreSQL says S for yes.
        if (scheme.partition("-")[0], said[:1]) not in {("mysql", b"\r"), ("xmpp", b"\r"), ("postgres", b"S")}
    },
}
"""What the server says, and some of the message."""


@dataclass(frozen=True, slots=True)
class Played:
    """
    What came of a dialogue.
    """

    verdict: str
    """`tls`, `waiting`, `turned away`, `refused` or `unexpected`."""
    message: str = ""
    said: tuple[bytes, ...] = ()
    left: bytes = b""
    """What does not belong to the dialogue any more."""


def play(steps: Steps, answers: Sequence[bytes], cut: int = 1 << 20) -> Played:
    """
    The dialogue with these answers, each heard `cut` bytes at a time.
    """
    dialogue = Dialogue(steps)
    said: list[bytes] = []
    waiting = list(answers)
    try:
        while (step := dialogue.step) is not None:
            said.append(dialogue.say())
            while dialogue.step is step:
                if not waiting:
                    return Played("waiting", words(dialogue.heard), tuple(said))
                piece, rest = waiting[0][:cut], waiting[0][cut:]
                used = dialogue.hear(piece)
                waiting[:1] = [one for one in (piece[used:] + rest,) if one]
    except TurnedAwayError as error:
        return Played("turned away", str(error), tuple(said))
    except RefusedError as error:
        return Played("refused", str(error), tuple(said))
    except UnexpectedError as error:
        return Played("unexpected", str(error), tuple(said))
    return Played("tls", "", tuple(said), b"".join(waiting))


def test_each_dialogue_has_a_transcript() -> None:
    """
    All that is tested with GOOD is so for each scheme.
    """
    assert {scheme for scheme, _ in GOOD.values()} == DIALOGUES.keys()


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("cut", [1, 2, 3, 7, 1 << 20])
def test_a_good_dialogue_ends_where_tls_begins(name: str, cut: int) -> None:
    """
    However the network cuts it, and with nothing left over.
    """
    scheme, answers = GOOD[name]
    played = play(DIALOGUES[scheme](NAMES), answers, cut)
    assert (played.verdict, played.left) == ("tls", b""), played


@pytest.mark.parametrize("name", GOOD)
def test_what_follows_the_go_ahead_does_not_belong_to_the_dialogue(name: str) -> None:
    """
    Lines that are injected after it are left, and told from it at every cut.
    """
    scheme, answers = GOOD[name]
    for cut in (1, 1 << 20):
        injected = (*answers[:-1], answers[-1] + b"220 injected\r\n")
        played = play(DIALOGUES[scheme](NAMES), injected, cut)
        if scheme == "mysql" and cut > 1:
            # After the greeting it is the client's turn.
            assert played.verdict == "unexpected"
        else:
            assert (played.verdict, played.left) == ("tls", b"220 injected\r\n")


@pytest.mark.parametrize("name", GOOD)
def test_half_a_dialogue_waits(name: str) -> None:
    """
    No beginning of a good dialogue is taken for its end, or for a bad one.
    """
    scheme, answers = GOOD[name]
    whole = b"".join(answers)
    for length in range(len(whole)):
        heard, left = [], length
        for answer in answers:
            heard.append(answer[:left])
            left = max(0, left - len(answer))
        played = play(DIALOGUES[scheme](NAMES), [one for one in heard if one])
        assert played.verdict == "waiting", (length, played)


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("cut", [1, 5, 1 << 20])
def test_a_refusal_has_the_servers_words(name: str, cut: int) -> None:
    """
    They are in the message.
    """
    scheme, answers, said = REFUSED[name]
    played = play(DIALOGUES[scheme](NAMES), answers, cut)
    assert played.verdict == "refused", played
    assert said in played.message


@pytest.mark.parametrize("name", TURNED_AWAY)
@pytest.mark.parametrize("cut", [1, 5, 1 << 20])
def test_who_is_turned_away_before_tls_is_told_so(name: str, cut: int) -> None:
    """
    Nothing is wrong with TLS there: to enable it would be no cure.
    """
    scheme, answers, said = TURNED_AWAY[name]
    played = play(DIALOGUES[scheme](NAMES), answers, cut)
    assert played.verdict == "turned away", played
    assert said in played.message


@pytest.mark.parametrize("name", UNEXPECTED)
def test_what_is_no_such_dialogue_is_unexpected(name: str) -> None:
    """
    It is told as soon as it can be known, in a message that quotes it.
    """
    scheme, answers, said = UNEXPECTED[name]
    played = play(DIALOGUES[scheme](NAMES), answers)
    assert played.verdict == "unexpected", played
    assert said in played.message


# What comes all at once can't be told, when it comes byte by byte, from a server that waits its turn.
@pytest.mark.parametrize("name", [name for name in UNEXPECTED if name != "smtp: all at once"])
def test_what_is_no_such_dialogue_never_leads_to_tls(name: str) -> None:
    """
    However the network cuts it.
    """
    scheme, answers, _ = UNEXPECTED[name]
    assert play(DIALOGUES[scheme](NAMES), answers, 1).verdict == "unexpected"


def test_an_answer_comes_after_its_question() -> None:
    """
    A server may speak at any time in IMAP, but what is said for an answer before the question is none.
    """
    played = play(DIALOGUES["imap"](NAMES), [b"* OK\r\n* OK\r\nA1 OK go\r\n"])
    assert played.verdict == "unexpected"
    assert "without being asked: '* OK A1 OK go'" in played.message


def test_what_the_client_says() -> None:
    """
    Each dialogue says what its specification wants, and no more.
    """
    said = {name: play(DIALOGUES[scheme](NAMES), answers).said for name, (scheme, answers) in GOOD.items()}
    assert said["smtp"] == (b"", b"EHLO [192.0.2.7]\r\n", b"STARTTLS\r\n")
    assert said["lmtp"] == (b"", b"LHLO [192.0.2.7]\r\n", b"STARTTLS\r\n")
    assert said["imap"] == (b"", b"A1 STARTTLS\r\n")
    assert said["pop3"] == (b"", b"STLS\r\n")
    assert said["ftp"] == (b"", b"AUTH TLS\r\n")
    assert said["nntp"] == (b"", b"STARTTLS\r\n")
    assert said["irc"] == (b"STARTTLS\r\n",)
    assert said["sieve"] == (b"", b"STARTTLS\r\n")
    # RFC 4511 section 4.12, in BER: message 1, ExtendedRequest, [0] name.
    assert said["ldap"] == (bytes.fromhex("301d020101771880 16") + b"1.3.6.1.4.1.1466.20037",)
    assert b" to='www.example' " in said["xmpp"][0]
    assert b" xmlns='jabber:client' " in said["xmpp"][0]
    assert b" xmlns='jabber:server' " in said["xmpp-server"][0]
    assert said["xmpp"][1] == b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
    assert said["postgres"] == ((8).to_bytes(4, "big") + (80877103).to_bytes(4, "big"),)
    greeting, request = said["mysql"]
    assert (greeting, len(request), request[:4]) == (b"", 36, b"\x20\0\0\x01")
    assert request[4:8] == (0x88A00).to_bytes(4, "little")
    assert said["rdp"] == (bytes.fromhex("030000130ee00000000000010008000b000000"),)
    assert said["mssql"] == (bytes.fromhex("1201001a0000010000000b00060100110001ff10000000000001"),)


def test_the_client_is_called_by_its_address() -> None:
    """
    An IPv6 address is tagged as such, and its zone is nobody else's business (RFC 5321 section 4.1.3).
    """
    said = play(DIALOGUES["smtp"](Names("www.example", "fe80::1%eth0")), GOOD["smtp"][1]).said
    assert said[1] == b"EHLO [IPv6:fe80::1]\r\n"


ENDLESS: dict[str, tuple[str, bytes]] = {
    "smtp": ("smtp", b"220-welcome\r\n"),
    "ftp": ("ftp", b"220-welcome\r\n"),
    "imap": ("imap", b"* OK welcome "),
    "irc": ("irc", b":a NOTICE * :welcome\r\n"),
    "sieve": ("sieve", b'"X" "y"\r\n'),
    "pop3": ("pop3", b"+OK welcome "),
    "nntp": ("nntp", b"200-welcome\r\n"),
    "xmpp": ("xmpp", b"<stream:stream>"),
    "xmpp, one tag": ("xmpp", b"<stream:stream a='b'" + b" x='y'"),
    "xmpp, a name": ("xmpp", b"<" + b"a" * 500 + b' ">'),
    "postgres": ("postgres", b"E"),
    "mysql": ("mysql", b"\xff\xff\xff\0\x0a"),
}


@pytest.mark.parametrize("name", ENDLESS)
@pytest.mark.parametrize("cut", [1, 1 << 20])
def test_an_endless_banner_is_given_up(name: str, cut: int) -> None:
    """
    After a bounded number of bytes, each of which costs little.
    """
    scheme, piece = ENDLESS[name]
    banner = piece * (2 * HEARD_LIMIT // len(piece))
    started = time.process_time()
    played = play(DIALOGUES[scheme](NAMES), [banner], cut)
    assert played.verdict in {"unexpected", "turned away"}, played
    assert len(played.message) < 3 * WORDS_LIMIT
    # It is some hundredths of a second; a cost that grows with the square of the length was minutes.
    assert time.process_time() - started < 2


def test_a_line_has_a_limit() -> None:
    """
    The longest line that is heard, and one byte more.
    """
    line = b"220 " + b"x" * (LINE_LIMIT - 6) + b"\r\n"
    assert play(DIALOGUES["nntp"](NAMES), [line]).message == words(line)
    assert "a line of more than" in play(DIALOGUES["nntp"](NAMES), [b"22" + line]).message


def test_words_are_bounded_and_printable() -> None:
    """
    A server's words can't break a line of a log, colour a terminal or fill a disk.
    """
    assert (
        words(b"  \x1b[31mred\r\nINFO forged \x00\xff\xe2\x80\xae ")
        == r"\u001b[31mred INFO forged \u0000\xff\u202e"
    )
    assert len(words(b"x" * 10_000)) == WORDS_LIMIT + 3


PIECES = sorted(
    {answer for _, answers in GOOD.values() for answer in answers} | set(NOT_THIS) | {b"\n", b"<", b"'"}
)


@given(
    st.sampled_from(sorted(DIALOGUES)),
    st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=40)), max_size=8),
    st.integers(1, 50),
    st.integers(0, 200),
    st.integers(0, 255),
)
@example("mysql", [mysql_greeting()], 50, 4, 10)
def test_no_bytes_lead_anywhere_else(
    scheme: str, answers: list[bytes], cut: int, place: int, value: int
) -> None:
    """
    Whatever a server says, cut off and with a byte of it changed: one of five ends, quickly.
    """
    if answers and answers[0]:
        where = place % len(answers[0])
        answers[0] = answers[0][:where] + bytes([value]) + answers[0][where + 1 :]
    answers = [answer for answer in answers if answer]
    started = time.process_time()
    played = play(DIALOGUES[scheme](NAMES), answers, cut)
    assert played.verdict in {"tls", "waiting", "turned away", "refused", "unexpected"}
    assert len(played.message) < 4 * WORDS_LIMIT
    assert played.message.isprintable()
    assert time.process_time() - started < 1


def mysql_packet(number: int, payload: bytes) -> bytes:
    """
    A packet of MySQL's protocol.
    """
    return len(payload).to_bytes(3, "little") + bytes([number]) + payload


DENIED = mysql_packet(
    3, b"\xff\x15\x04#28000Access denied for user 'expiry-exporter'@'a' (using password: NO)"
)


def switch(plugin: bytes) -> bytes:
    """
    Protocol::AuthSwitchRequest, with a challenge.
    """
    return mysql_packet(3, b"\xfe" + plugin + b"\0" + b"12345678901234567890\0")


@pytest.mark.parametrize(
    ("answers", "more"),
    [
        ((DENIED,), ()),
        # Whoever comes is let in: it says that it leaves.
        ((mysql_packet(3, b"\0\0\0\2\0\0\0"),), (mysql_packet(0, b"\x01"),)),
        ((switch(b"mysql_native_password"), DENIED), (mysql_packet(4, b""),)),
        ((mysql_packet(3, b"\xfe"), DENIED), (mysql_packet(4, b""),)),
        ((switch(b"caching_sha2_password"), DENIED), (mysql_packet(4, b"\0"),)),
        ((switch(b"client_ed25519"), DENIED), (mysql_packet(4, bytes(64)),)),
        (
            (switch(b"sha256_password"), mysql_packet(5, b"\x01\x04"), DENIED),
            (mysql_packet(4, b"\0"), mysql_packet(6, b"\0")),
        ),
        ((mysql_packet(3, b"\x2a what is this"),), ()),
    ],
)
@pytest.mark.parametrize("cut", [1, 1 << 20])
def test_a_login_at_mysql_comes_to_its_end(answers: Sequence[bytes], more: Sequence[bytes], cut: int) -> None:
    """
    Each packet has the next number, and each plugin the answer that has the length it wants.
    """
    played = play(FAREWELLS["mysql"], answers, cut)
    assert (played.verdict, played.said[1:], played.left) == ("tls", more, b"")
    login = played.said[0]
    assert login[:4] == (len(login) - 4).to_bytes(3, "little") + b"\x02"
    assert login[36:] == b"expiry-exporter\0\0mysql_native_password\0"


@given(st.lists(st.binary(min_size=1, max_size=60), max_size=6), st.integers(1, 50))
@example([bytes(5)], 1)
@example([bytes(4)], 50)
def test_no_bytes_keep_a_login_from_its_end(answers: list[bytes], cut: int) -> None:
    """
    It waits for more, or is over; what it says is bounded.
    """
    played = play(FAREWELLS["mysql"], answers, cut)
    assert played.verdict in {"tls", "waiting", "unexpected"}
    assert all(len(said) < 100 for said in played.said)


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=5), st.binary(max_size=7))
def test_packets_of_tds_are_unwrapped(inside: list[bytes], rest: bytes) -> None:
    """
    What was wrapped comes out, and the beginning of the next packet stays.
    """
    rest = b"\x12" + rest if rest else b""
    assert tds_data(b"".join(map(tds_packet, inside)) + rest[:7]) == (b"".join(inside), rest[:7])


@pytest.mark.parametrize("data", [b"\x16\x03\x03\x00\x05", b"\x12\x01\0\x07\0\0\0\0"])
def test_what_is_no_packet_of_tds_is_unexpected(data: bytes) -> None:
    """
    TLS that is not wrapped, and a length less than that of its own header.
    """
    with pytest.raises(UnexpectedError, match="packet of TDS"):
        tds_data(data)
