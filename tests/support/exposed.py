"""
A text that Prometheus can scrape, as if an exporter had written it.
"""

import contextlib
import http.server
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def exposed(text: str | Callable[[], str]) -> Iterator[str]:
    """
    `host:port` of a small server that answers every request with this exposition, or the one of that moment.
    """

    def now() -> str:
        return text if isinstance(text, str) else text()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = now().encode("utf-8")
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
