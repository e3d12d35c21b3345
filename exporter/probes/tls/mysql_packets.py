"""
Packets of MySQL and MariaDB before and after the handshake. Pure.
"""

from exporter.probes.tls.dialogue import (
    HEARD_LIMIT,
    RefusedError,
    Step,
    Steps,
    TurnedAwayError,
    UnexpectedError,
)


def _mysql_greeting(data: bytes, _: int = 0) -> int:
    """
    Return the end of a handshake packet of version 10 with the flag CLIENT_SSL (MySQL's client/server
    protocol); 0 while it is not complete.
    """
    if len(data) >= 5 and data[4] not in {10, 0xFF}:
        raise UnexpectedError("no MySQL greeting of version 10: '{}'", data)
    if len(data) < 4:
        return 0
    length = int.from_bytes(data[:3], "little")
    # The number of the packet is 0, as the first of both sides is.
    if not 1 < length < HEARD_LIMIT or data[3] != 0:
        raise UnexpectedError("no MySQL greeting: '{}'", data)
    if len(data) < 4 + length:
        return 0
    payload = data[4 : 4 + length]
    if payload[0] == 0xFF:
        # Too many connections (1040), too many errors before (1129), not from there (1130).
        code = int.from_bytes(payload[1:3], "little")
        raise TurnedAwayError(f"error {code}: {{}}", payload[3:])
    # After the version: thread 4, first part of the salt 8, a zero, then the lower half of the flags.
    flags = payload[1:].partition(b"\0")[2][13:15]
    if len(flags) < 2:
        raise UnexpectedError("a MySQL greeting that is too short: '{}'", data)
    if not int.from_bytes(flags, "little") & _CLIENT_SSL:
        version = payload[1:].partition(b"\0")[0]
        raise RefusedError("the server (version {}) has TLS switched off", version)
    return 4 + length


_CLIENT_SSL = 0x0800


_MYSQL_HEAD = (
    # CLIENT_PROTOCOL_41, _SSL, _SECURE_CONNECTION, _PLUGIN_AUTH; packets up to 16 MB; utf8mb4.
    (0x0200 | _CLIENT_SSL | 0x8000 | 0x80000).to_bytes(4, "little") + b"\0\0\0\x01\x2d" + bytes(23)
)
"""The begin of the request for TLS and of the login inside of it."""


def _mysql_packet(number: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "little") + bytes([number & 0xFF]) + payload


# A server counts the clients that end a connection before they logged in or were refused, and in the end lets
# nobody in from their address (max_connect_errors). It does not count refused logins.

MYSQL_USER = "expiry-exporter"
"""The user name of the login that ends the probe when refused. There should be no such user."""


_MYSQL_PATIENCE = 12
"""Packet numbers within which a login must end."""


_MYSQL_NATIVE = b"mysql_native_password"


_MYSQL_EMPTY = {_MYSQL_NATIVE: b"", b"mysql_old_password": b"", b"client_ed25519": bytes(64)}
"""The answer of a client without a password, by authentication plugin; a zero for all others. Answers of
other lengths would count as errors (max_connect_errors)."""


def _mysql_answer(data: bytes, _: int = 0) -> int:
    """
    Return the end of a packet with any content; 0 while it is not complete.
    """
    end = 4 + int.from_bytes(data[:3], "little")
    return end if len(data) >= max(4, end) else 0


def _mysql_goes_on(parts: list[bytes]) -> Steps:
    """
    Return the steps after an answer to the login: none after a refusal, or a packet without content. A server
    may request another plugin first, and accept any user.
    """
    if len(parts[0]) < 5:
        return ()
    number, kind, content = parts[0][3] + 1, parts[0][4], parts[0][5:]
    if kind == 0:
        return (Step("quit", _mysql_packet(0, b"\x01"), None),)
    if kind not in {1, 0xFE} or number > _MYSQL_PATIENCE:
        return ()
    plugin = content.partition(b"\0")[0] if content else _MYSQL_NATIVE
    said = _MYSQL_EMPTY.get(plugin, b"\0") if kind == 0xFE else b"\0"
    packet = _mysql_packet(number, said)
    return (Step("answer to another login", packet, _mysql_answer, follow=_mysql_goes_on),)


_MYSQL_FAREWELL = (
    Step(
        "answer to the login",
        # The user, no password, and the plugin that had it (Protocol::HandshakeResponse41).
        _mysql_packet(2, _MYSQL_HEAD + MYSQL_USER.encode("ascii") + b"\0\0" + _MYSQL_NATIVE + b"\0"),
        _mysql_answer,
        follow=_mysql_goes_on,
    ),
)
