"""
Packets of TDS, in which SQL Server wraps the handshake ([MS-TDS] section 2.2). Pure.
"""

from exporter.probes.tls.dialogue import HEARD_LIMIT, RefusedError, UnexpectedError

_TDS_PRELOGIN = 0x12
"""Type of the packets that TLS is wrapped in until the handshake is over ([MS-TDS] section 2.2.3.1.1)."""


_TDS_HEADER = 8
"""Bytes before the data of each packet."""


TDS_DATA_LIMIT = 4096 - _TDS_HEADER
"""Bytes of data in a packet until another size is negotiated."""


_TDS_ANSWER = 0x04


_TDS_ENCRYPTION = 1


def tds_packet(data: bytes) -> bytes:
    """
    Return the bytes as one packet of [MS-TDS], the last of its message.
    """
    return (
        bytes([_TDS_PRELOGIN, 1]) + (_TDS_HEADER + len(data)).to_bytes(2, "big") + bytes([0, 0, 1, 0]) + data
    )


def tds_data(data: bytes) -> tuple[bytes, bytes]:
    """
    Return the data of the complete packets at the beginning of these bytes, and the bytes after those.
    """
    inside: list[bytes] = []
    begin = 0
    while begin < len(data):
        if data[begin] not in {_TDS_PRELOGIN, _TDS_ANSWER}:
            raise UnexpectedError("no packet of TDS: '{}'", data[begin:])
        if len(data) < begin + _TDS_HEADER:
            break
        length = int.from_bytes(data[begin + 2 : begin + 4], "big")
        if length < _TDS_HEADER:
            raise UnexpectedError("a packet of TDS with {} bytes", str(length))
        if len(data) < begin + length:
            break
        inside.append(data[begin + _TDS_HEADER : begin + length])
        begin += length
    return b"".join(inside), data[begin:]


_TDS_REQUEST = tds_packet(
    # Options: version at 11 with 6 bytes, encryption at 17 with 1 byte, the end; version; encryption is on.
    bytes([0, 0, 11, 0, 6, _TDS_ENCRYPTION, 0, 17, 0, 1, 0xFF]) + bytes([16, 0, 0, 0, 0, 0]) + b"\x01"
)


def _tds_answer(data: bytes, _: int = 0) -> int:
    """
    Return the end of a PRELOGIN answer whose option ENCRYPTION permits TLS ([MS-TDS] section 2.2.6.5); 0
    while it is not complete.
    """
    if data[0] != _TDS_ANSWER or (len(data) > 1 and data[1] != 1):
        raise UnexpectedError("no answer of TDS: '{}'", data)
    if len(data) < _TDS_HEADER:
        return 0
    length = int.from_bytes(data[2:4], "big")
    if not _TDS_HEADER < length < HEARD_LIMIT:
        raise UnexpectedError("a packet of TDS with {} bytes", str(length))
    if len(data) < length:
        return 0
    options = data[_TDS_HEADER:length]
    position = 0
    while options[position : position + 1] not in {b"\xff", b""}:
        token, begin, size = (
            options[position],
            int.from_bytes(options[position + 1 : position + 3], "big"),
            int.from_bytes(options[position + 3 : position + 5], "big"),
        )
        if token == _TDS_ENCRYPTION and size == 1 and begin < len(options):
            # 0: for the login only, 1: for all, 2: it has none, 3: it demands it.
            if options[begin] == 2:
                raise RefusedError("the server has no encryption (ENCRYPT_NOT_SUP)")
            return length
        position += 5
    raise UnexpectedError("an answer of TDS without encryption: {}", options[:32].hex(" "))
