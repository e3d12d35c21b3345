"""
Who asks in the benchmarks: Prometheus's part of the work, made as cheap as possible.

Everything here runs on the same cores as what is measured, so a slow client would
make an exporter look slow.
"""

import gzip
import http.client
import re
import selectors
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from OpenSSL import SSL

_CONTENT_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_SUCCESS = re.compile(r'^expiry_probe_success\{(?:[^}]*,)?target="([^"]+)"[^}]*\} 1(?:\.0)?$', re.MULTILINE)


class BenchmarkError(RuntimeError):
    """
    A measurement that would not mean what it says.
    """


@dataclass(frozen=True, slots=True)
class Scrape:
    """
    One answered scrape of ours.
    """

    seconds: float
    text: str

    def succeeded(self) -> set[str]:
        """
        Names of the targets whose probe succeeded.
        """
        return set(_SUCCESS.findall(self.text))


def scrape(port: int, timeout: float, patience: float | None = None) -> Scrape:
    """
    What GET /metrics gave within this scrape timeout, in seconds, or within `patience` if that is given.

    Raises OSError where Prometheus would give up, BenchmarkError for any status but 200.
    """
    started = time.perf_counter()
    connection = http.client.HTTPConnection(
        "127.0.0.1", port, timeout=timeout if patience is None else patience
    )
    # As Prometheus asks, which takes compressed answers.
    headers = {"X-Prometheus-Scrape-Timeout-Seconds": str(timeout), "Accept-Encoding": "gzip"}
    connection.request("GET", "/metrics", headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    seconds = time.perf_counter() - started
    if answer.headers["Content-Encoding"] == "gzip":
        body = gzip.decompress(body)
    connection.close()
    if answer.status != http.client.OK:
        raise BenchmarkError(f"GET /metrics gave status {answer.status}: {body[:500]!r}")
    return Scrape(seconds, body.decode())


def probe_each(port: int, endpoints: Sequence[str], connections: int) -> float:
    """
    Seconds that blackbox_exporter takes for one `/probe` of each endpoint, over so many kept connections.

    Raises BenchmarkError when a probe failed.
    """
    started = time.perf_counter()
    waiting = iter(endpoints)
    with selectors.DefaultSelector() as selector:
        for endpoint in _first(waiting, connections):
            client = socket.create_connection(("127.0.0.1", port), timeout=30)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.sendall(_probe_request(endpoint))
            selector.register(client, selectors.EVENT_READ, (client, bytearray()))
        while selector.get_map():
            for key, _ in selector.select():
                client, read = key.data
                assert isinstance(client, socket.socket)
                assert isinstance(read, bytearray)
                data = client.recv(65536)
                read += data
                if not data:
                    raise BenchmarkError("blackbox_exporter ended a connection")
                if not _complete(read):
                    continue
                if b"\nprobe_success 1\n" not in read:
                    raise BenchmarkError(f"a probe by blackbox_exporter failed: {bytes(read)[:2000]!r}")
                read.clear()
                endpoint = next(waiting, "")
                if endpoint:
                    client.sendall(_probe_request(endpoint))
                else:
                    selector.unregister(client)
                    client.close()
    return time.perf_counter() - started


def handshakes(endpoints: Sequence[str], concurrent: int) -> float:
    """
    Seconds for one bare TLS handshake with each endpoint: nothing is read, judged or told.
    """
    context = _bare_context()
    started = time.perf_counter()
    waiting = iter(endpoints)
    with selectors.DefaultSelector() as selector:
        for endpoint in _first(waiting, concurrent):
            _begin(selector, context, endpoint)
        while selector.get_map():
            for key, _ in selector.select():
                connection = key.data
                assert isinstance(connection, SSL.Connection)
                try:
                    connection.do_handshake()
                except SSL.WantReadError:
                    selector.modify(key.fileobj, selectors.EVENT_READ, connection)
                    continue
                selector.unregister(key.fileobj)
                connection.close()
                endpoint = next(waiting, "")
                if endpoint:
                    _begin(selector, context, endpoint)
    return time.perf_counter() - started


def _bare_context() -> SSL.Context:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_verify(SSL.VERIFY_NONE)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    # One key share, of the cheapest kind by measurement: what is left is the least a handshake costs.
    assert SSL._lib.SSL_CTX_set1_curves_list(context._context, b"X25519:P-256") == 1  # type: ignore[attr-defined]  # pyOpenSSL has no public call
    return context


def _begin(selector: selectors.BaseSelector, context: SSL.Context, endpoint: str) -> None:
    host, _, port = endpoint.rpartition(":")
    client = socket.socket()
    client.setblocking(False)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.connect_ex((host, int(port)))
    connection = SSL.Connection(context, client)
    connection.set_tlsext_host_name(b"localhost")
    connection.set_connect_state()
    selector.register(client, selectors.EVENT_WRITE, connection)


def _first(endpoints: Iterator[str], count: int) -> Iterator[str]:
    # The iterator comes second: zip takes from the first before it sees that the other has ended.
    return (endpoint for _, endpoint in zip(range(count), endpoints, strict=False))


def _probe_request(endpoint: str) -> bytes:
    return f"GET /probe?module=tls&target={endpoint} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def _complete(read: bytearray) -> bool:
    """
    True when this is a whole HTTP/1.1 answer, by its length or its last chunk (RFC 9112 section 6).
    """
    head, separator, body = read.partition(b"\r\n\r\n")
    if not separator:
        return False
    length = _CONTENT_LENGTH.search(head)
    return len(body) >= int(length[1]) if length else body.endswith(b"0\r\n\r\n")
