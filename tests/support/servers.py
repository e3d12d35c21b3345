"""
Real TLS servers with minted certificates: nginx, HAProxy, stunnel, `openssl s_server`, `gnutls-serv`.

Each is a context manager that gives the running server, which listens before the block is entered.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from exporter.demo.minter import Minted
from exporter.model.hosts import join_host_port
from tests.support.certificates import write_pair
from tests.support.processes import ProcessError, Running, free_port, listening, running

LOOPBACK = "127.0.0.1"

_ATTEMPTS = 3

Chain = Sequence[Minted]
"""What a server presents, leaf first. It need not be a good chain."""


@dataclass(frozen=True, slots=True)
class Server:
    """
    A server that listens.
    """

    host: str
    port: int
    process: Running

    @property
    def authority(self) -> str:
        """
        `host:port` as in a URL.
        """
        return join_host_port(self.host, self.port)


@dataclass(frozen=True, slots=True)
class Site:
    """
    One `server` block of nginx.
    """

    chains: Sequence[Chain]
    """One chain, or one for each kind of key (RSA and ECDSA)."""
    name: str = ""
    """Host name that selects the site (SNI)."""
    client_ca: Minted | None = None
    """nginx then asks for a client certificate, and finishes the handshake without one (HTTP status 400)."""
    staple: bytes | None = None
    """OCSP response to staple, DER."""
    settings: Sequence[str] = ()
    """Further directives: `ssl_protocols TLSv1.2`, `ssl_ciphers ...`."""
    root: Path | None = None
    """Directory whose files it serves; None: every request is answered with status 200 and nothing."""


@contextlib.contextmanager
def nginx(directory: Path, *sites: Site, host: str = LOOPBACK) -> Iterator[Server]:
    """
    An nginx with these sites on one port. The first is the default for names that no site has.
    """
    blocks = [_site_lines(directory, number, site) for number, site in enumerate(sites)]

    def command(port: int) -> list[str | Path]:
        config = directory / "nginx.conf"
        listen = f"listen {join_host_port(host, port)} ssl;"
        servers = [line for block in blocks for line in ("server {", listen, *block, "}")]
        temporary = [
            f"{kind}_temp_path {directory}/{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        ]
        # One process without a master stays this user, so it can read the test's files also as root.
        head = ["daemon off;", "master_process off;", f"pid {directory}/nginx.pid;", "error_log stderr;"]
        lines = [*head, "events {}", "http {", "access_log off;", *temporary, *servers, "}"]
        config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return ["nginx", "-e", "stderr", "-p", directory, "-c", config]

    with _listening(host, command) as server:
        yield server


@contextlib.contextmanager
def haproxy(
    directory: Path,
    *chains: Chain,
    client_ca: Minted | None = None,
    settings: str = "",
    host: str = LOOPBACK,
) -> Iterator[Server]:
    """
    An HAProxy with these certificates, chosen by SNI, the first by default.

    `settings` extend its `bind` line. With a client CA the handshake fails without a client certificate.
    """
    bundles = []
    for number, chain in enumerate(chains):
        certificate, key = write_pair(directory, f"haproxy-{number}", chain)
        bundle = directory / f"haproxy-{number}.bundle"
        bundle.write_bytes(certificate.read_bytes() + key.read_bytes())
        bundles.append(f"crt {bundle}")
    if client_ca is not None:
        settings += f" verify required ca-file {_client_ca(directory, 'haproxy', client_ca)}"

    def command(port: int) -> list[str | Path]:
        config = directory / "haproxy.cfg"
        config.write_text(
            # Without `noreuseport` a second server would share the port instead of failing.
            "global\n  noreuseport\n  ssl-server-verify none\n"
            "defaults\n  mode http\n  timeout client 10s\n  timeout connect 1s\n  timeout server 1s\n"
            "frontend tls\n"
            f"  bind {host}:{port} ssl {' '.join(bundles)} {settings}\n"
            "  http-request return status 200\n",
            encoding="utf-8",
        )
        return ["haproxy", "-db", "-q", "-f", config]

    with _listening(host, command) as server:
        yield server


@contextlib.contextmanager
def stunnel(
    directory: Path, chain: Chain, *, settings: Sequence[str] = (), host: str = LOOPBACK
) -> Iterator[Server]:
    """
    A stunnel in front of nothing: after the handshake it finds nobody behind it, and hangs up.
    """
    certificate, key = write_pair(directory, "stunnel", chain)

    def command(port: int) -> list[str | Path]:
        config = directory / "stunnel.conf"
        lines = [
            "foreground = yes",
            "pid =",
            "syslog = no",
            "[tls]",
            f"accept = {host}:{port}",
            # Nothing ever listens on the discard port of a test machine.
            f"connect = {LOOPBACK}:9",
            f"cert = {certificate}",
            f"key = {key}",
            *settings,
        ]
        config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return ["stunnel4", config]

    with _listening(host, command) as server:
        yield server


@contextlib.contextmanager
def s_server(
    directory: Path,
    chain: Chain,
    *options: str,
    client_ca: Minted | None = None,
    staple: bytes | None = None,
    host: str = LOOPBACK,
) -> Iterator[Server]:
    """
    An `openssl s_server`, for all that proper servers don't do; it serves one connection after the other.

    Options as in openssl-s_server(1): `-tls1_1`, `-cipher`, `DEFAULT:@SECLEVEL=0`. With a client CA the
    handshake fails without a client certificate.
    """
    certificate, key = write_pair(directory, "s_server", chain)
    # Of this file `openssl s_server` takes the first certificate only.
    arguments: list[str | Path] = ["-cert", certificate, "-key", key]
    if chain[1:]:
        above, _ = write_pair(directory, "s_server-above", chain[1:])
        arguments += ["-cert_chain", above]
    if client_ca is not None:
        trusted = _client_ca(directory, "s_server", client_ca)
        arguments += ["-Verify", "5", "-verify_return_error", "-CAfile", trusted]
    if staple is not None:
        response = directory / "s_server-staple.der"
        response.write_bytes(staple)
        arguments += ["-status_file", response]

    def command(port: int) -> list[str | Path]:
        # -www: else it would talk over standard input, and end with it.
        accept: list[str | Path] = ["openssl", "s_server", "-www", "-accept", join_host_port(host, port)]
        return [*accept, "-no-CAfile", "-no-CApath", "-no-CAstore", *arguments, *options]

    with _listening(host, command) as server:
        yield server


@contextlib.contextmanager
def gnutls(directory: Path, chain: Chain, *options: str, staple: bytes | None = None) -> Iterator[Server]:
    """
    A `gnutls-serv`, which has old ciphers and staples any bytes: other servers look at them before.

    It can't be told to listen on loopback only. Options as in gnutls-serv(1): `--priority`.
    """
    certificate, key = write_pair(directory, "gnutls", chain)
    staples: list[str | Path] = []
    if staple is not None:
        response = directory / "gnutls-staple.der"
        response.write_bytes(staple)
        staples = ["--ocsp-response", response, "--ignore-ocsp-response-errors"]

    def command(port: int) -> list[str | Path]:
        files: list[str | Path] = ["--x509certfile", certificate, "--x509keyfile", key]
        return ["gnutls-serv", "--http", "--port", str(port), *files, *staples, *options]

    with _listening(LOOPBACK, command) as server:
        yield server


def _site_lines(directory: Path, number: int, site: Site) -> list[str]:
    lines = [f'server_name "{site.name}";', *(f"{setting};" for setting in site.settings)]
    for kind, chain in enumerate(site.chains):
        certificate, key = write_pair(directory, f"nginx-{number}-{kind}", chain)
        lines += [f"ssl_certificate {certificate};", f"ssl_certificate_key {key};"]
    if site.client_ca is not None:
        trusted = _client_ca(directory, f"nginx-{number}", site.client_ca)
        lines += ["ssl_verify_client on;", f"ssl_client_certificate {trusted};"]
    if site.staple is not None:
        response = directory / f"nginx-{number}-staple.der"
        response.write_bytes(site.staple)
        lines += ["ssl_stapling on;", f"ssl_stapling_file {response};"]
    return [*lines, "return 200;" if site.root is None else f"root {site.root};"]


def _client_ca(directory: Path, name: str, ca: Minted) -> Path:
    file = directory / f"{name}-client-ca.pem"
    file.write_bytes(ca.pem)
    return file


@contextlib.contextmanager
def _listening(host: str, command: Callable[[int], list[str | Path]]) -> Iterator[Server]:
    """
    A server started by `command(port)` on a free port, once it accepts connections.
    """
    with contextlib.ExitStack() as stack:
        for attempt in range(1, _ATTEMPTS + 1):
            port = free_port(host)
            try:
                process = stack.enter_context(running(command(port), ready=listening(port, host)))
                break
            except ProcessError:
                # Between the look for a free port and the server's start, another process may take it.
                if attempt == _ATTEMPTS:
                    raise
        yield Server(host, port, process)
