"""
The real proxies: tinyproxy for HTTP, microsocks for SOCKS5.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from exporter.model.proxies import Proxy
from tests.support.processes import free_port, listening, running
from tests.support.servers import LOOPBACK

CREDENTIALS = "probe:s3cret-of-the-proxy"
"""What both want, if they want anything."""


@contextlib.contextmanager
def tinyproxy(directory: Path, *, closed: bool = False, ports: tuple[int, ...] = ()) -> Iterator[Proxy]:
    """
    An HTTP proxy; `closed` to those without the credentials, and for these ports only if there are any.
    """
    port = free_port()
    user, _, password = CREDENTIALS.partition(":")
    lines = [
        f"Port {port}",
        f"Listen {LOOPBACK}",
        "Timeout 10",
        "MaxClients 10",
        "LogLevel Error",
        f"Allow {LOOPBACK}",
        *([f"BasicAuth {user} {password}"] if closed else []),
        *(f"ConnectPort {one}" for one in ports),
    ]
    config = directory / "tinyproxy.conf"
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with running(["tinyproxy", "-d", "-c", config], ready=listening(port)):
        yield Proxy("http", LOOPBACK, port)


@contextlib.contextmanager
def microsocks(*, closed: bool = False) -> Iterator[Proxy]:
    """
    A SOCKS5 proxy; `closed` to those without the credentials.
    """
    port = free_port()
    user, _, password = CREDENTIALS.partition(":")
    wanted = ["-u", user, "-P", password] if closed else []
    with running(["microsocks", "-i", LOOPBACK, "-p", str(port), *wanted], ready=listening(port)):
        yield Proxy("socks5", LOOPBACK, port)
