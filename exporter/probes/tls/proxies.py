"""
The words that lead through a proxy, and the header of the PROXY protocol.

Pure: bytes in, bytes and verdicts out.
"""

import base64
import ipaddress

from exporter.model.hosts import parse_ip
from exporter.probes.tls.dialogue import Cut, RefusedError, Step, Steps, UnexpectedError, line

# Proxies. python-socks, the kept library for this, takes the first bytes that come for the whole answer to
# CONNECT and drops what the server behind the proxy said by then; its parser is no public interface.


def socks5(host: str, port: int, credentials: str | None) -> Steps:
    """
    Return the dialogue with a SOCKS5 proxy (RFC 1928), which resolves the host. `credentials` are
    `user:password`.

    They are offered beside no authentication, as usual clients do, and sent to a proxy that chooses them.
    """
    asked = b"\x05\x01\0" + _socks_address(host) + port.to_bytes(2, "big")
    connect = Step("answer to CONNECT", asked, _socks_connected)
    methods = _SOCKS_OPEN + _SOCKS_PASSWORD if credentials else _SOCKS_OPEN

    def follow(parts: list[bytes]) -> Steps:
        if parts[0][1:] == _SOCKS_OPEN:
            return (connect,)
        # RFC 1929 section 2: each with its length.
        user, _, password = (credentials or "").partition(":")
        told = b"".join(bytes([len(part)]) + part for part in (user.encode(), password.encode()))
        return (Step("answer to the password", b"\x01" + told, _socks_password), connect)

    hello = bytes([5, len(methods)]) + methods
    return (Step("answer to the proxy's greeting", hello, _socks_method(methods), follow=follow),)


_SOCKS_OPEN = b"\0"


_SOCKS_PASSWORD = b"\x02"
"""The methods offered (RFC 1928 section 3): no authentication, and username/password."""


def _socks_address(host: str) -> bytes:
    ip = parse_ip(host.partition("%")[0])
    if ip is not None:
        return (b"\x01" if ip.version == 4 else b"\x04") + ip.packed
    return bytes([3, len(host)]) + host.encode("ascii")


def _socks_method(offered: bytes) -> Cut:
    def cut(data: bytes, _: int) -> int:
        if data[0] != 5:
            raise UnexpectedError("no answer of SOCKS5: '{}'", data)
        if len(data) < 2:
            return 0
        if data[1] == 0xFF:
            raise RefusedError(
                "it takes no password" if _SOCKS_PASSWORD in offered else "it wants a password"
            )
        if data[1] not in offered:
            raise UnexpectedError(f"it chose method {data[1]}, which was not offered")
        return 2

    return cut


def _socks_password(data: bytes, _: int) -> int:
    if data[0] != 1:
        raise UnexpectedError("no answer to a password: '{}'", data)
    if len(data) < 2:
        return 0
    if data[1] != 0:
        raise RefusedError("it refused the user or the password")
    return 2


_SOCKS_REPLIES = {
    1: "general failure",
    2: "its rules do not allow it",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "time to live expired",
    7: "command not supported",
    8: "kind of address not supported",
}
"""RFC 1928 section 6."""


def _socks_connected(data: bytes, _: int) -> int:
    if data[0] != 5:
        raise UnexpectedError("no answer of SOCKS5: '{}'", data)
    if len(data) < 5:
        return 0
    if data[1] != 0:
        raise RefusedError(_SOCKS_REPLIES.get(data[1], f"reply {data[1]}"))
    # The address that the proxy uses: an IPv4 or IPv6 address, or a name with its length; then a port.
    sizes = {1: 4, 3: 1 + data[4], 4: 16}
    if data[3] not in sizes:
        raise UnexpectedError(f"no kind of address of SOCKS5: {data[3]}")
    length = 4 + sizes[data[3]] + 2
    return length if len(data) >= length else 0


def http_connect(authority: str, credentials: str | None) -> Steps:
    """
    Return the dialogue with an HTTP proxy (RFC 9110 section 9.3.6) for `host:port`.
    """
    head = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}", "User-Agent: expiry-exporter"]
    if credentials:
        # RFC 7617 section 2.
        head.append(f"Proxy-Authorization: Basic {base64.b64encode(credentials.encode()).decode()}")
    said = "\r\n".join([*head, "", ""]).encode("ascii")
    return (Step("answer to CONNECT", said, line, _http_connected),)


def _http_connected(lines: list[bytes]) -> bool:
    version, _, status = lines[0].partition(b" ")
    if not version.startswith(b"HTTP/1.") or not status[:3].isdigit():
        raise UnexpectedError("no answer of an HTTP proxy: '{}'", lines[0])
    if status[:1] != b"2":
        raise RefusedError("{}", status)
    return not lines[-1].strip()


def proxy_header(version: str, source: tuple[str, int], destination: tuple[str, int] | None) -> bytes:
    """
    Return the header of the PROXY protocol (HAProxy's proxy-protocol.txt), `v1` or `v2`, for this connection.

    `destination` is None when a proxy on the way resolved the name: then it is not known.
    """
    # The one kept library for it is made for servers, and for asyncio's streams.
    if destination is None:
        # LOCAL: the connection is the sender's own, as that of a health check.
        return b"PROXY UNKNOWN\r\n" if version == "v1" else _SIGNATURE + b"\x20\0\0\0"
    hosts = [ipaddress.ip_address(host.partition("%")[0]) for host, _ in (source, destination)]
    ports = [port for _, port in (source, destination)]
    if version == "v1":
        return f"PROXY TCP{hosts[0].version} {hosts[0]} {hosts[1]} {ports[0]} {ports[1]}\r\n".encode("ascii")
    addresses = b"".join([*(host.packed for host in hosts), *(port.to_bytes(2, "big") for port in ports)])
    family = 0x11 if hosts[0].version == 4 else 0x21
    return _SIGNATURE + bytes([0x21, family]) + len(addresses).to_bytes(2, "big") + addresses


_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
