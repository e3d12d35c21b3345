"""
A real HTTP server on loopback that answers what a test tells it to, and remembers what it was asked.
"""

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from exporter.net.http import Downloaded, download
from exporter.net.resolver import Resolver


@dataclass(frozen=True, slots=True)
class Page:
    """
    What is answered to a request.
    """

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class WebServer:
    """
    A server that listens. Its pages may be changed at any time.
    """

    port: int
    pages: dict[str, Page] = field(default_factory=dict)
    """By path. What is not there is answered with status 404."""
    asked: list[tuple[str, str, bytes]] = field(default_factory=list)
    """Method, path and body of each request."""

    def url(self, path: str) -> str:
        """
        The URL of a path.
        """
        return f"http://127.0.0.1:{self.port}{path}"

    def times(self, path: str) -> int:
        """
        How often a path was asked for.
        """
        return sum(asked == path for _, asked, _ in self.asked)


@contextlib.contextmanager
def web_server() -> Iterator[WebServer]:
    """
    A server without pages.
    """
    known = WebServer(0)

    class Handler(BaseHTTPRequestHandler):
        """
        Answers from the pages.
        """

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            known.asked.append((self.command, self.path, body))
            page = known.pages.get(self.path, Page(status=404))
            self.send_response(page.status)
            for name, value in page.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(page.body)))
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                # Who finds it too large hangs up.
                self.wfile.write(page.body)

        do_POST = do_GET  # noqa: N815 - the library calls it so

        def log_message(self, *_: object) -> None:
            """
            Nothing: the test knows what was asked.
            """

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        known.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield known
        finally:
            server.shutdown()
            thread.join()


def downloaded(url: str, limit: int = 1000, **settings: Any) -> Downloaded:
    """
    What a download of this URL gives. Raises ProbeError.
    """

    async def get() -> Downloaded:
        return await download(Resolver(asyncio.get_running_loop()), url, limit, **settings)

    return asyncio.run(get())
