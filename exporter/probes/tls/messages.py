"""
Messages of a TLS handshake in clear, up to TLS 1.2: a client's first one made, a server's answer read. Pure.

Until TLS 1.3 a server shows its certificates before any key is agreed on (RFC 5246 section 7.3). So they
can be read of one whose keys, curves and ciphers no library here knows.
"""

from collections.abc import Iterable
from dataclasses import dataclass

_ALERT, _HANDSHAKE = 21, 22
"""Types of records (RFC 5246 section 6.2.1)."""


_RECORD_HEADER, _MESSAGE_HEADER = 5, 4
"""Bytes before the content of a record, and before that of a message."""


_RECORD_LIMIT = 1 << 14
"""Bytes of a record in clear (RFC 5246 section 6.2.1)."""


_CLIENT_HELLO, _SERVER_HELLO, _CERTIFICATE, _CERTIFICATE_REQUEST, _SERVER_HELLO_DONE = 1, 2, 11, 13, 14


_CERTIFICATE_STATUS = 22
"""Types of messages (RFC 5246 section 7.4, RFC 6066 section 8)."""


_VERSIONS = {b"\3\0": "SSLv3", b"\3\1": "TLSv1", b"\3\2": "TLSv1.1", b"\3\3": "TLSv1.2"}
"""OpenSSL's names of the versions that have certificates in clear."""


_RENEGOTIATION = 0x00FF
"""Stands for an extension in the list of cipher suites (RFC 5746 section 3.3)."""


# X25519, P-256, P-384, P-521, X448, brainpool, P-224, secp256k1, P-192, those of SEC 2 that only old
# libraries have, GOST's, finite fields.
_GROUPS = (29, 23, 24, 25, 30, 26, 27, 28, 21, 22, 19, 20, *range(1, 19), *range(34, 41), *range(256, 261))


_SIGNATURES = bytes.fromhex(
    # With a curve and a hash, RSA-PSS, RSA, DSA, GOST.
    "0403050306030807080803030203"
    "080408050806"
    "0809080a080b"
    "040105010601030102010101"
    "04020502060203020202"
    "08400841eeeeefefeded"
)


PRESENTED_LIMIT = 100
"""Certificates that are read of a message which the library refuses. A hundred kilobytes have room for 30,000
that are empty, and each is a fault with its words."""


class MessageError(Exception):
    """
    A server's answer has no certificates in clear: it is an alert, or nonsense. The message says which.
    """


def client_hello(server_name: str | None, suites: Iterable[int], random: bytes) -> bytes:
    """
    Return a record with the first message of a client that offers all it ever could, up to TLS 1.2.

    `random` has 32 bytes. A stapled OCSP response is asked for.
    """
    extensions = [
        # The renewed master secret is what some servers insist on (RFC 7627); compressed points are taken.
        _extension(0x17, b""),
        _extension(0x0A, _vector(2, b"".join(group.to_bytes(2) for group in _GROUPS))),
        _extension(0x0B, _vector(1, b"\0\1\2")),
        _extension(0x0D, _vector(2, _SIGNATURES)),
        _extension(0x05, b"\1" + _vector(2, b"") + _vector(2, b"")),
    ]
    if server_name is not None:
        names = _vector(2, b"\0" + _vector(2, server_name.encode("ascii")))
        extensions.insert(0, _extension(0x00, names))
    offered = b"".join(suite.to_bytes(2) for suite in (*suites, _RENEGOTIATION))
    body = b"\3\3" + random + _vector(1, b"") + _vector(2, offered) + _vector(1, b"\0")
    message = bytes([_CLIENT_HELLO]) + _vector(3, body + _vector(2, b"".join(extensions)))
    # Servers that know nothing newer want to see an old version before the message.
    return bytes([_HANDSHAKE]) + b"\3\1" + _vector(2, message)


GOODBYE = bytes([_ALERT]) + b"\3\1" + b"\0\2" + b"\1\0"
"""A record with the alert that ends a conversation (RFC 5246 section 7.2.1)."""


def _vector(size: int, content: bytes) -> bytes:
    """
    Return the content with its length before it, in `size` bytes.
    """
    return len(content).to_bytes(size) + content


def _extension(number: int, content: bytes) -> bytes:
    return number.to_bytes(2) + _vector(2, content)


@dataclass(frozen=True, slots=True)
class ServerHello:
    """
    The version and the cipher suite that a server chose.
    """

    version: bytes
    suite: int
    """The number of the cipher suite."""


def server_hello(body: bytes) -> ServerHello | None:
    """
    Return what is in the message of a server's choice, without its header; None when it is too short.
    """
    # The session, which has its length before it, follows the version and 32 random bytes.
    position = 35 + body[34] if len(body) > 34 else len(body)
    if len(body) < position + 2:
        return None
    return ServerHello(body[:2], int.from_bytes(body[position : position + 2]))


def certificates_in(body: bytes, *, with_extensions: bool) -> tuple[bytes, ...]:
    """
    Return the first certificates in a Certificate message, as far as it is whole (RFC 5246 section 7.4.2).

    From TLS 1.3 on each has extensions, and a context stands before the list (RFC 8446 section 4.4.2).
    """
    position = 3 + (1 + body[0] if with_extensions and body else 0)
    found: list[bytes] = []
    while position + 3 < len(body) and len(found) < PRESENTED_LIMIT:
        start, position = position + 3, position + 3 + int.from_bytes(body[position : position + 3])
        found.append(body[start:position])
        if with_extensions:
            position += 2 + int.from_bytes(body[position : position + 2])
    return tuple(found)


class Flight:
    """
    The messages of a server in answer to `client_hello`, until it waits for the client.
    """

    def __init__(self) -> None:
        self.hello: ServerHello | None = None
        """None before it came."""
        self.certificates: tuple[bytes, ...] = ()
        """DER, leaf first; empty before they came."""
        self.staple: bytes | None = None
        self.wants_client_certificate = False
        self.over = False
        """True when the server waits for the client."""
        self._records = bytearray()
        self._messages = bytearray()

    @property
    def protocol(self) -> str:
        """
        OpenSSL's name of the version that the server chose. Only to be asked for when there are certificates.
        """
        assert self.hello is not None
        return _VERSIONS[self.hello.version]

    def hear(self, data: bytes) -> None:
        """
        Take what the server sent, in any pieces. Raises MessageError.
        """
        held = self._records
        held += data
        while not self.over and len(held) >= _RECORD_HEADER:
            kind, size = held[0], int.from_bytes(held[3:_RECORD_HEADER])
            if kind not in {_ALERT, _HANDSHAKE} or held[1] != 3 or size > _RECORD_LIMIT:
                raise MessageError(f"a record that is none of a handshake in clear: {held[:5].hex(' ')}")
            end = _RECORD_HEADER + size
            if len(held) < end:
                return
            content = bytes(held[_RECORD_HEADER:end])
            del held[:end]
            if kind == _ALERT:
                _refuse_alert(content)
            else:
                self._messages += content
                self._take_messages()

    def _take_messages(self) -> None:
        held = self._messages
        while not self.over and len(held) >= _MESSAGE_HEADER:
            end = _MESSAGE_HEADER + int.from_bytes(held[1:_MESSAGE_HEADER])
            if len(held) < end:
                return
            kind, body = held[0], bytes(held[_MESSAGE_HEADER:end])
            del held[:end]
            self._take(kind, body)

    def _take(self, kind: int, body: bytes) -> None:
        if kind == _SERVER_HELLO:
            hello = server_hello(body)
            if hello is None or hello.version not in _VERSIONS:
                raise MessageError("the server's choice of a protocol can't be read")
            self.hello = hello
        elif kind == _CERTIFICATE:
            if self.hello is None:
                raise MessageError("certificates before the choice of a protocol")
            self.certificates = certificates_in(body, with_extensions=False)
            if not self.certificates:
                raise MessageError("a list of certificates with none in it")
        elif kind == _CERTIFICATE_STATUS:
            self.staple = body[4 : 4 + int.from_bytes(body[1:4])]
        elif kind == _CERTIFICATE_REQUEST:
            self.wants_client_certificate = True
        elif kind == _SERVER_HELLO_DONE:
            if not self.certificates:
                raise MessageError("the end of its part of the handshake, without a certificate")
            self.over = True


def _refuse_alert(content: bytes) -> None:
    """
    Raise MessageError for an alert that ends the conversation. A warning, as of a name that a server does not
    know, ends nothing.
    """
    fatal, closing = content[:1] != b"\1", content[1:2] == b"\0"
    if fatal or closing:
        raise MessageError(f"the server's alert {int.from_bytes(content[1:2])}")
