"""
A fake API server in a process of its own, which floods:

    python -m tests.probes.kubernetes.flooding DIRECTORY KIND

It writes a kubeconfig to the directory once it listens, and a letter to `watches` for each watch. A list is
one object. Each watch gets events as fast as they are taken, of objects that are never the same: see KINDS.
"""

import asyncio
import base64
import contextlib
import json
import ssl
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from exporter.demo.minter import Minted, root
from tests.support.certificates import DAY

TOKEN = "of-a-server-that-floods"

BLOB = base64.b64encode(bytes(700_000)).decode()

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def authority() -> Minted:
    """
    A root of now.
    """
    now = time.time()
    return root("Flood CA", not_before=now - DAY, not_after=now + 90 * DAY)


def _certificates(ca: Minted) -> list[str]:
    now = time.time()
    names = [f"host-{number}.example" for number in range(300)]
    leaves = (ca.issue(name, [name], not_before=now - DAY, not_after=now + 80 * DAY) for name in names)
    return [base64.b64encode(leaf.pem).decode() for leaf in leaves]


KINDS: dict[str, Callable[[list[str], int], dict[str, object]]] = {
    "small": lambda *_: {"data": {"tls.crt": "bm8="}},
    "certificates": lambda leaves, number: {"data": {"tls.crt": leaves[number % len(leaves)]}},
    "huge": lambda leaves, _: {"data": {"tls.crt": leaves[0], "blob": BLOB}},
    "structures": lambda leaves, _: {"data": {"tls.crt": leaves[0]}, "x": [{}] * 60_000},
}
"""What is in the objects, besides their names: takes certificates and a number."""


class _Flood:
    def __init__(self, kind: str, ca: Minted, directory: Path) -> None:
        self._watches = directory / "watches"
        self._watches.touch()
        self._make = KINDS[kind]
        self._leaves = _certificates(ca)
        self._numbers = count()

    def _object(self, type_: str) -> dict[str, object]:
        number = next(self._numbers)
        metadata = {"namespace": "flood", "name": f"o{number}", "resourceVersion": str(number + 1)}
        return {"metadata": metadata, "type": type_, **self._make(self._leaves, number)}

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """
        Answer the requests of a connection.
        """
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                asked = parse_qs(urlsplit(head.split()[1].decode()).query)
                type_ = asked["fieldSelector"][0].removeprefix("type=")
                if "watch" in asked:
                    with self._watches.open("a", encoding="utf-8") as told:
                        told.write("w")
                    writer.write(_HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
                    while True:
                        event = json.dumps({"type": "ADDED", "object": self._object(type_)}).encode() + b"\n"
                        writer.write(b"%x\r\n%b\r\n" % (len(event), event))
                        await writer.drain()
                        # What was written to TLS is sent only then.
                        await asyncio.sleep(0)
                page = {"metadata": {"resourceVersion": "1"}, "items": [self._object(type_)]}
                body = json.dumps(page).encode()
                writer.write(_HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
                await writer.drain()


async def _serve(directory: Path, kind: str) -> None:
    ca = authority()
    own = directory / "server.pem"
    minted = ca.issue("127.0.0.1", ["127.0.0.1"])
    own.write_bytes(minted.pem + minted.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own)
    server = await asyncio.start_server(_Flood(kind, ca, directory).answer, "127.0.0.1", 0, ssl=context)
    where = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    trusted = base64.b64encode(ca.pem).decode()
    access = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "flood",
        "clusters": [{"name": "c", "cluster": {"server": where, "certificate-authority-data": trusted}}],
        "users": [{"name": "u", "user": {"token": TOKEN}}],
        "contexts": [{"name": "flood", "context": {"cluster": "c", "user": "u"}}],
    }
    made = directory / "kubeconfig.new"
    made.write_text(json.dumps(access), encoding="utf-8")
    made.rename(directory / "kubeconfig")
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), sys.argv[2]))
