"""
The port with a web configuration: a real Prometheus scrapes it by TLS, with passwords and with certificates.
"""

import asyncio
import contextlib
import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import bcrypt
import pytest
import yaml
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage
from OpenSSL import SSL
from OpenSSL.SSL import _lib  # type: ignore[attr-defined]

from exporter.config.web_config import HEADERS, PEM_LIMIT, load
from exporter.demo.minter import Minted, root
from exporter.model.cipher_suites import CIPHERS
from exporter.net.pools import PoolFullError
from exporter.server.port import WAITING_EACH, Port, Rate
from exporter.server.port_tls import context
from exporter.yaml_lines import ConfigError
from tests.support.certificates import DAY, write_pair
from tests.support.processes import wait_until
from tests.support.prometheus import Listening, exporter, prometheus
from tests.support.readme import REPOSITORY, fenced

NAME = "expiry.example.com"

PASSWORD = "open sesame"

SLOW = "$2b$16$I/v1TRB2AHue43MPF63ale/G4fALd/VK1REdVJ2kWjyZ3VuMeym2e"

HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode("ascii")


PAIR = "tls_server_config: {cert_file: server.pem, key_file: server.key"


class Files:
    """
    The files of an exporter with a port of its own.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        now = float(round(time.time()))
        self.now = now
        self.ca = root("Port Root", not_before=now - 900 * DAY, not_after=now + 900 * DAY)
        (directory / "ca.pem").write_bytes(self.ca.pem)
        self.write("server", self.issue(NAME, 80))
        self.config = directory / "expiry.yml"
        self.config.write_text(f"targets: ['file://{directory}/ca.pem']\n", encoding="utf-8")
        self.web = directory / "web.yml"

    def issue(self, name: str, days: float, usage: x509.ObjectIdentifier = Usage.SERVER_AUTH) -> Minted:
        """
        A certificate with so many days left.
        """
        end = self.now + days * DAY
        return self.ca.issue(
            name,
            [name],
            not_before=end - 90 * DAY,
            not_after=end,
            extended_key_usage=[usage.dotted_string],
        )

    def write(self, name: str, minted: Minted) -> None:
        """
        Write it as `NAME.pem` and `NAME.key`, as a renewer does.
        """
        certificate, key = write_pair(self.directory, f"{name}-new", minted.chain)
        certificate.replace(self.directory / f"{name}.pem")
        key.replace(self.directory / f"{name}.key")

    def write_web(self, **sections: Any) -> Path:
        """
        Write the web configuration, with TLS unless the sections say otherwise.
        """
        tls = {"cert_file": "server.pem", "key_file": "server.key", **sections.pop("tls", {})}
        document = {"tls_server_config": tls, **sections}
        self.web.write_text(yaml.safe_dump(document), encoding="utf-8")
        return self.web

    def client(self, *, with_certificate: bool = False) -> ssl.SSLContext:
        """
        The TLS of somebody who trusts the CA.
        """
        context = ssl.create_default_context(cafile=str(self.directory / "ca.pem"))
        if with_certificate:
            context.load_cert_chain(self.directory / "client.pem", self.directory / "client.key")
        return context


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """
    A CA and the port's certificate.
    """
    return Files(tmp_path)


@contextlib.contextmanager
def serving(files: Files, *flags: str) -> Iterator[Listening]:
    """
    The exporter with the web configuration that was written.
    """
    with exporter(files.config, f"--web.config.file={files.web}", *flags) as it:
        yield it


def get(
    it: Listening,
    context: ssl.SSLContext | None,
    path: str = "/metrics",
    auth: str | None = None,
    **more: Any,
) -> tuple[int, str, dict[str, str]]:
    """
    Status, body and headers of an answer.
    """

    async def ask() -> tuple[int, str, dict[str, str]]:
        headers = dict(more.pop("headers", {}))
        if auth is not None:
            headers["Authorization"] = f"Basic {b64encode(auth.encode()).decode()}"
        scheme = "http" if context is None else "https"
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.request(
                more.pop("method", "GET"),
                f"{scheme}://127.0.0.1:{it.port}{path}",
                ssl=context if context is not None else False,
                server_hostname=NAME if context is not None else None,
                **more,
            ) as answer,
        ):
            return answer.status, await answer.text(), dict(answer.headers)

    return asyncio.run(ask())


def scraped(files: Files, it: Listening, **client: Any) -> None:
    """
    Let a real Prometheus scrape it, with its own keys for that.
    """
    http_config = {
        "scheme": "https",
        "tls_config": {
            "ca_file": str(files.directory / "ca.pem"),
            "server_name": NAME,
            **client.pop("tls", {}),
        },
        **client,
    }
    job = {
        "job_name": "expiry",
        "scrape_interval": "500ms",
        "scrape_timeout": "500ms",
        "static_configs": [{"targets": [f"127.0.0.1:{it.port}"]}],
        **http_config,
    }
    with prometheus(files.directory, {"scrape_configs": [job]}) as made:
        made.await_query('up{job="expiry"} == 1')
        made.await_query('expiry_not_after_timestamp_seconds{target="the exporter\'s own port"}')


def test_prometheus_scrapes_it_by_tls(files: Files) -> None:
    """
    And the port's own certificate is an item of its metrics. Plain HTTP has no answer.
    """
    files.write_web()
    with serving(files) as it:
        scraped(files, it)
        assert "url=https://" in it.process.output()
        with pytest.raises(aiohttp.ClientError):
            get(it, None)


def test_prometheus_scrapes_it_with_a_password(files: Files) -> None:
    """
    Without it, with another one and as another user the answer is 401, which costs no scrape.
    """
    files.write_web(basic_auth_users={"prometheus": HASH})
    with serving(files) as it:
        scraped(files, it, basic_auth={"username": "prometheus", "password": PASSWORD})
        client = files.client()
        for auth in (None, "prometheus:wrong", f"root:{PASSWORD}", f"prometheus:{'x' * 100}"):
            status, text, headers = get(it, client, "/-/healthy", auth)
            assert (status, text) == (401, "Unauthorized\n")
            assert headers["WWW-Authenticate"] == "Basic"
        assert get(it, client, "/-/healthy", f"prometheus:{PASSWORD}")[0] == 200
        assert PASSWORD not in it.process.output()


def test_prometheus_scrapes_it_with_a_client_certificate(files: Files) -> None:
    """
    Of the right CA, and with an allowed name; nobody else gets in.
    """
    files.write("client", files.issue("prometheus.example.com", 80, Usage.CLIENT_AUTH))
    files.write_web(
        tls={
            "client_auth_type": "RequireAndVerifyClientCert",
            "client_ca_file": "ca.pem",
            "client_allowed_sans": ["prometheus.example.com"],
        }
    )
    with serving(files) as it:
        pair = {
            "cert_file": str(files.directory / "client.pem"),
            "key_file": str(files.directory / "client.key"),
        }
        scraped(files, it, tls=pair)
        with pytest.raises((aiohttp.ClientError, ssl.SSLError)):
            get(it, files.client())
        files.write("client", files.issue("somebody.example.com", 80, Usage.CLIENT_AUTH))
        with pytest.raises(aiohttp.ClientError):
            get(it, files.client(with_certificate=True))


def lets_in(files: Files, it: Listening, certificate: str) -> bool:
    """
    Whether a client with this certificate (`none`, or the name of a file) is answered.
    """
    context = files.client()
    if certificate != "none":
        context.load_cert_chain(
            files.directory / f"{certificate}.pem", files.directory / f"{certificate}.key"
        )
    try:
        return get(it, context, "/-/healthy")[0] == 200
    except (aiohttp.ClientError, ssl.SSLError, ConnectionError):
        return False


ALL = {"none", "stranger", "other", "client"}


@pytest.mark.parametrize(
    ("tls", "answered"),
    [
        ({}, ALL),
        ({"client_auth_type": "RequestClientCert"}, ALL),
        ({"client_auth_type": "RequestClientCert", "client_ca_file": "ca.pem"}, ALL),
        ({"client_auth_type": "RequireAnyClientCert"}, ALL - {"none"}),
        ({"client_auth_type": "RequireClientCert", "client_allowed_sans": ["10.0.0.7"]}, {"stranger"}),
        ({"client_auth_type": "RequireAnyClientCert", "client_allowed_sans": []}, set()),
        ({"client_auth_type": "VerifyClientCertIfGiven", "client_ca_file": "ca.pem"}, ALL - {"stranger"}),
        ({"client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "ca.pem"}, {"other", "client"}),
        # Nobody here has one of a public CA.
        ({"client_auth_type": "RequireAndVerifyClientCert"}, set()),
    ],
)
@pytest.mark.parametrize("curves", [[], ["X25519", "CurveP256"]])
def test_who_is_let_in(
    authorized: tuple[Files, Listening], tls: dict[str, Any], answered: set[str], curves: list[str]
) -> None:
    """
    By each policy for clients' certificates, as Go has them; with several curves another library speaks.
    """
    files, it = authorized
    files.write_web(tls={**tls, **({"curve_preferences": curves} if curves else {})})
    reload(it)
    assert {one for one in ALL if lets_in(files, it, one)} == answered


@pytest.fixture(scope="module")
def authorized(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Files, Listening]]:
    """
    An exporter, and clients: one of its CA, another one of it, and one of another CA.
    """
    files = Files(tmp_path_factory.mktemp("authorized"))
    files.write("client", files.issue("prometheus.example.com", 80, Usage.CLIENT_AUTH))
    files.write("other", files.issue("somebody.example.com", 80, Usage.CLIENT_AUTH))
    own = files.ca
    files.ca = root("Strange Root", not_before=files.now - 900 * DAY, not_after=files.now + 900 * DAY)
    files.write("stranger", files.issue("10.0.0.7", 80, Usage.CLIENT_AUTH))
    files.ca = own
    files.write_web()
    with serving(files) as it:
        yield files, it


def reload(it: Listening) -> None:
    """
    Let it read its files again.
    """
    before = it.process.output().count('msg="configuration loaded"')
    it.process.signal(signal.SIGHUP)
    # The web configuration comes before the other.
    wait_until(
        lambda: it.process.output().count('msg="configuration loaded"') > before,
        deadline=60,
        what="the configuration to be loaded",
    )


def test_a_renewed_certificate_is_served_without_restart(files: Files) -> None:
    """
    And a broken web configuration changes nothing, is told once, and heals.
    """
    files.write_web(http_server_config={"headers": {"X-Frame-Options": "deny"}})
    with serving(files) as it:
        client = files.client()
        assert get(it, client)[2]["X-Frame-Options"] == "deny"
        before = ssl.get_server_certificate(("127.0.0.1", it.port))
        files.write("server", files.issue(NAME, 89))
        wait_until(
            lambda: ssl.get_server_certificate(("127.0.0.1", it.port)) != before,
            deadline=60,
            what="the new certificate",
        )
        files.web.write_text("tls_server_config: {cert_file: server.pem}\n", encoding="utf-8")

        def told() -> bool:
            assert get(it, client)[2]["X-Frame-Options"] == "deny"
            return (
                "key_file is missing" in it.process.output()
                and "expiry_web_config_last_reload_successful 0.0" in get(it, client)[1]
            )

        wait_until(told, deadline=60, what="the fault in the log")
        files.write_web(http_server_config={"headers": {"X-Frame-Options": "sameorigin"}})
        wait_until(
            lambda: get(it, client)[2]["X-Frame-Options"] == "sameorigin", deadline=60, what="the next one"
        )
        assert it.process.output().count("is not usable") == 1


def test_the_own_target_follows_the_certificate_in_use(files: Files) -> None:
    """
    Another `cert_file` is the target's from then on. A configuration that is being edited is not read for it.
    """
    files.write("other", files.issue(NAME, 20))
    files.write_web()
    own = 'expiry_not_after_timestamp_seconds{target="the exporter\'s own port"'

    def ends() -> dict[str, float]:
        lines = [line for line in get(it, files.client())[1].splitlines() if line.startswith(own)]
        return {
            line.partition('location="')[2].partition('"')[0]: float(line.rpartition(" ")[2])
            for line in lines
        }

    with serving(files) as it:
        assert ends() == {f"{files.directory}/server.pem": files.now + 80 * DAY}
        files.config.write_text("targets: [\n", encoding="utf-8")
        files.write_web(tls={"cert_file": "other.pem", "key_file": "other.key"})
        wait_until(
            lambda: ends() == {f"{files.directory}/other.pem": files.now + 20 * DAY},
            deadline=60,
            what="the other file's certificate",
        )
        assert "the new configuration is not usable" not in it.process.output()


def test_a_reload_tells_of_a_broken_web_configuration(files: Files) -> None:
    """
    Status 500 and the fault, which is gone with the next good one; each configuration is told of.
    """
    files.write_web()
    with serving(files, "--web.enable-lifecycle") as it:
        client = files.client()
        files.web.write_text("tls_server_config: {cert_file: server.pem}\n", encoding="utf-8")
        status, text, _ = get(it, client, "/-/reload", method="POST")
        assert status == 500
        assert text.startswith("the web configuration is not usable, the one before it stays in use:\n")
        assert "key_file is missing" in text
        files.config.write_text("nonsense: 1\n", encoding="utf-8")
        status, text, _ = get(it, client, "/-/reload", method="POST")
        assert status == 500
        assert "key_file is missing" in text
        assert f"{files.config}:1" in text
        files.config.write_text("targets: []\n", encoding="utf-8")
        files.write_web()
        assert get(it, client, "/-/reload", method="POST")[0] == 200


@pytest.mark.parametrize("curves", [[], ["X25519", "CurveP256"]])
def test_what_stands_in_the_configuration_itself_is_used(files: Files, curves: list[str]) -> None:
    """
    Certificate, key and CA of clients; the file is where the own target has its certificate from.
    """
    files.write("client", files.issue("prometheus.example.com", 80, Usage.CLIENT_AUTH))
    inside = {
        key: (files.directory / name).read_text(encoding="utf-8")
        for key, name in (("cert", "server.pem"), ("key", "server.key"), ("client_ca", "ca.pem"))
    }
    tls = {**inside, "client_auth_type": "RequireAndVerifyClientCert", "curve_preferences": curves}
    files.web.write_text(yaml.safe_dump({"tls_server_config": tls}, default_style="|"), encoding="utf-8")
    with serving(files) as it:
        assert not lets_in(files, it, "none")
        status, text, _ = get(it, files.client(with_certificate=True))
        assert status == 200
        where = f'{{target="the exporter\'s own port",location="{files.web}",item="leaf"'
        assert f"expiry_not_after_timestamp_seconds{where}" in text
        secret = inside["key"].splitlines()[1]
        assert secret not in it.process.output() + text


def test_a_reload_switches_tls_on_and_off(files: Files) -> None:
    """
    For new connections at once. One from before ends with its next request, and new ones alone bring it on.
    """
    plain = "http_server_config: {headers: {X-Frame-Options: deny}}\n"
    files.web.write_text(plain, encoding="utf-8")
    with serving(files) as it:
        kept = http.client.HTTPConnection("127.0.0.1", it.port, timeout=10)
        kept.request("GET", "/-/healthy")
        assert kept.getresponse().read() == b"expiry-exporter is healthy\n"
        files.write_web()
        reload(it)
        assert 'expiry_not_after_timestamp_seconds{target="the exporter' in get(it, files.client())[1]
        kept.request("GET", "/-/healthy")
        answer = kept.getresponse()
        assert (answer.status, answer.getheader("Connection")) == (400, "close")
        assert b"speaks HTTPS since" in answer.read()
        with pytest.raises(aiohttp.ClientError):
            get(it, None)
        files.web.write_text(plain, encoding="utf-8")

        def answered() -> bool:
            try:
                return "the exporter's own port" not in get(it, None)[1]
            except aiohttp.ClientError:
                return False

        wait_until(answered, deadline=60, what="plain HTTP")
        assert it.process.output().count("the port has changed its scheme") == 2


def test_large_answers_and_many_requests_pass_through_the_other_library(files: Files, tmp_path: Path) -> None:
    """
    That of several curves: each byte, and on one connection.
    """
    files.config.write_text(
        "targets:\n" + "".join(f"- {{url: 'file://{tmp_path}/ca.pem', name: t{n}}}\n" for n in range(2000)),
        encoding="utf-8",
    )
    files.write_web(tls={"curve_preferences": ["X25519", "CurveP256"]})
    with serving(files) as it:
        context = files.client()
        context.check_hostname = False
        kept = http.client.HTTPSConnection("127.0.0.1", it.port, timeout=30, context=context)
        for _ in range(3):
            kept.request("GET", "/metrics")
            text = kept.getresponse().read()
            assert text.count(b"expiry_not_after_timestamp_seconds{") == 2001
            assert len(text) > 1_000_000
            kept.request("GET", "/-/healthy")
            assert kept.getresponse().read() == b"expiry-exporter is healthy\n"
        kept.close()


def test_an_expired_certificate_is_served_and_told(files: Files) -> None:
    """
    Whoever looks nevertheless reads that it is the port's own that ended.
    """
    files.write("server", files.issue(NAME, -1))
    files.write_web()
    said = f"the exporter's own certificate, {files.directory}/server.pem, expired 1 d 0 h ago"
    command = [sys.executable, "-m", "exporter", f"--config.file={files.config}", "--config.check"]
    checked = subprocess.run(
        [*command, f"--web.config.file={files.web}"], capture_output=True, check=True, text=True
    )
    assert checked.stderr.startswith("warning: ")
    assert said in checked.stderr
    with serving(files) as it:
        lax = ssl._create_unverified_context()
        status, text, _ = get(it, lax)
        assert said in it.process.output()
    assert status == 200
    assert 'expiry_problem_end_timestamp_seconds{target="the exporter\'s own port"' in text
    assert 'problem="passed"' in text


def test_several_addresses_and_the_lifecycle(files: Files) -> None:
    """
    Each address answers; to reload and to quit must be allowed, and pages of others may not.
    """
    files.write_web()
    with serving(files, "--web.listen-address=[::1]:0") as it:
        wait_until(lambda: it.process.output().count("msg=listening") == 2, deadline=60, what="both")
        for path in ("/-/reload", "/-/quit"):
            status, text, _ = get(it, files.client(), path, method="POST")
            assert status == 403
            assert "Lifecycle API is not enabled" in text
    with serving(files, "--web.enable-lifecycle") as it:
        client = files.client()
        for headers in (
            {"Origin": "https://evil.example.org"},
            {"Origin": "https://evil.example.org", "Host": "evil.example.org"},
            {"Origin": f"https://127.0.0.1:{it.port}", "Sec-Fetch-Site": "cross-site"},
            {"Host": f"evil.example.org:{it.port}"},
            {"Host": "["},
            {"Host": ""},
            {"Origin": "https://["},
        ):
            assert get(it, client, "/-/reload", method="POST", headers=headers)[0] == 403
        own = {"Origin": f"https://127.0.0.1:{it.port}"}
        assert get(it, client, "/-/reload", method="POST", headers=own)[0] == 200
        assert get(it, client, "/-/reload", method="PUT")[0] == 200
        for host in (NAME, f"{NAME.upper()}:{it.port}", "localhost", "[::1]:1", socket.gethostname()):
            assert get(it, client, "/-/reload", method="POST", headers={"Host": host})[0] == 200, host
        assert get(it, client, "/-/quit", method="POST")[0] == 200
        assert it.process.wait(30) == 0


def test_sockets_of_systemd(files: Files) -> None:
    """
    They are taken as systemd passes them (sd_listen_fds(3)); without any the reason is said.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        # The descriptor must be 3, and LISTEN_PID the process's own: what systemd does before it starts one.
        script = (
            "import os, sys\n"
            f"os.dup2({listener.fileno()}, 3); os.set_inheritable(3, True)\n"
            "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))\n"
            "os.execv(sys.executable, [sys.executable, '-m', 'exporter', *sys.argv[1:]])\n"
        )
        flags = [f"--config.file={files.config}", "--web.systemd-socket", "--web.enable-lifecycle"]
        process = subprocess.Popen(
            [sys.executable, "-c", script, *flags],
            pass_fds=[listener.fileno()],
            cwd=REPOSITORY,
            stderr=subprocess.DEVNULL,
        )
        it = Listening(listener.getsockname()[1], None)  # type: ignore[arg-type] # it is not one of `running`
        assert get(it, None, "/-/healthy")[0] == 200
        assert get(it, None, "/-/quit", method="POST")[0] == 200
        assert process.wait(30) == 0
    alone = subprocess.run(
        [sys.executable, "-m", "exporter", *flags],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=REPOSITORY,
    )
    assert alone.returncode == 1
    assert "systemd passed no socket" in alone.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tls_server_config: {cert_file: server.pem}", "key_file is missing"),
        ("tls_server_config: {cert_file: no.pem, key_file: server.key}", "No such file"),
        ("tls_server_config: {cert_file: ca.pem, key_file: server.key}", "does not belong to the"),
        ("tls_server_config: {cert_file: server.key, key_file: server.key}", "server.key"),
        ("tls_servr_config: {}", "did you mean 'tls_server_config'"),
        (f"{PAIR}, min_versoin: TLS12}}", "'min_version'"),
        (f"{PAIR}, cipher_suites: [TLS_RC4]}}", "unknown cipher suite"),
        (f"{PAIR}, cert: secret}}", "cert and cert_file are both there"),
        (
            "tls_server_config: {cert_file: server.pem, key: secret}",
            "and key: not PEM, or the key is missing",
        ),
        ("tls_server_config: {client_auth_type: NoClientCert}", "cert_file is missing"),
        (f"{PAIR}, client_ca_file: ca.pem}}", "needs a client_auth_type"),
        (f"{PAIR}, client_ca_file: server.key, client_auth_type: RequestClientCert}}", "server.key"),
        (
            f"{PAIR}, client_ca_file: torn.pem, client_auth_type: RequestClientCert}}",
            "torn.pem: a certificate in it can't be read",
        ),
        (
            f"{PAIR}, client_allowed_sans: [a], client_auth_type: VerifyClientCertIfGiven}}",
            "a client may have no certificate",
        ),
        (f"{PAIR}, max_version: TLS12, cipher_suites: [TLS_AES_128_GCM_SHA256]}}", "none for TLS12"),
        (f"{PAIR}, curve_preferences: [CurveP257]}}", "did you mean 'CurveP256'"),
        (f"{PAIR}, min_version: TLS13, max_version: TLS12}}", "is above max_version"),
        ("basic_auth_users: {me: secret}", "is not a bcrypt hash"),
        ("basic_auth_users: {me: }", "has no value"),
        (f"basic_auth_users: {{'me:you': {SLOW}}}", "has no colon"),
        (f"basic_auth_users: {{me: {SLOW}}}", "4 to 15 is sensible, 10 is usual"),
        ("http_server_config: {headers: {Server: mine}}", "can't be set here"),
        ("http_server_config: {headers: {X-Frame-Options: never}}", "is deny or sameorigin, not 'never'"),
        ("http_server_config: {headers: {X-Frame-Options: ''}}", "is deny or sameorigin, not ''"),
        ("http_server_config: {headers: {X-Content-Type-Options: }}", "is nosniff, not ''"),
        ("http_server_config: {http2: 0}", "http2: must be true or false"),
        (f"{PAIR}, prefer_server_cipher_suites: 1}}", "prefer_server_cipher_suites: must be true or false"),
        ('http_server_config: {headers: {X-XSS-Protection: "a\\u0007b"}}', "has a control character"),
        ("http_server_config: [", "expected"),
        ("rate_limit: {interval: soon}", "is not a duration"),
    ],
)
def test_faults_are_told_with_their_place(files: Files, text: str, words: str) -> None:
    """
    What is wrong and where; never a password.
    """
    torn = files.ca.pem + b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    (files.directory / "torn.pem").write_bytes(torn)
    files.web.write_text(text + "\n", encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        load(str(files.web), context)
    assert words in str(error.value)
    assert str(files.web) in str(error.value)
    assert "secret" not in str(error.value)
    # The `$` in a hash begins no variable.
    assert "environment" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "basic_auth_users:\n",
        "http_server_config:\n",
        "http_server_config: {headers: }\n",
        "http_server_config: {http2: }\n",
        "http_server_config: {headers: {X-XSS-Protection: }}\n",
        "tls_server_config:\n",
        "tls_server_config: {cert_file: '', key_file: ''}\n",
        "tls_server_config: {cert_file: server.pem, key_file: server.key, cipher_suites: }\n",
        "tls_server_config: {cert_file: server.pem, key_file: server.key, client_ca_file: ''}\n",
        "tls_server_config: {cert_file: server.pem, key_file: server.key, min_version: }\n",
        "tls_server_config: {cert_file: server.pem, key_file: server.key, client_auth_type: ''}\n",
    ],
)
def test_what_has_no_value_is_absent_as_for_prometheus(files: Files, text: str) -> None:
    """
    Lines that are commented out do not stop the start. That nobody needs a password is said.
    """
    files.web.write_text(text, encoding="utf-8")
    subprocess.run(["promtool", "check", "web-config", files.web], check=True, capture_output=True)
    config = load(str(files.web), context)
    assert (config.tls is not None) == ("server.pem" in text)
    assert not config.users
    assert any("nobody needs a password" in one for one in config.warnings) == ("users" in text)


def test_a_header_over_several_lines_is_sent_on_one(files: Files) -> None:
    """
    As Go makes it of a block of YAML, which ends with a line break; nothing is left unanswered.
    """
    value = "default-src 'self';\nimg-src *\n"
    files.write_web(http_server_config={"headers": {"Content-Security-Policy": value}})
    with serving(files) as it:
        status, _, headers = get(it, files.client(), "/-/healthy")
    assert (status, headers["Content-Security-Policy"]) == (200, "default-src 'self'; img-src *")


def test_a_certificate_without_end_is_refused(files: Files) -> None:
    """
    A device, by mistake, is not read for ever, nor is a file without end.
    """
    files.write_web(tls={"cert_file": "/dev/zero"})
    with pytest.raises(ConfigError, match="cert_file /dev/zero: it is a pipe, a device or a directory"):
        load(str(files.web), context)
    (files.directory / "large.pem").write_bytes(bytes(PEM_LIMIT + 1))
    files.write_web(tls={"cert_file": "large.pem"})
    with pytest.raises(ConfigError, match=r"large\.pem: is larger than 1024 KiB"):
        load(str(files.web), context)


def test_the_example_of_the_manual_is_good(files: Files) -> None:
    """
    With certificates of the names that stand there.
    """
    (block,) = (one for one in fenced("yaml") if "tls_server_config" in one)
    files.web.write_text(block, encoding="utf-8")
    config = load(str(files.web), context)
    assert config.tls is not None
    assert (list(config.users), config.warnings) == (["prometheus"], ())


def test_the_check_of_the_configuration_reads_it(files: Files) -> None:
    """
    Before anything is started.
    """
    files.web.write_text("basic_auth_users: {me: secret}\n", encoding="utf-8")
    command = [sys.executable, "-m", "exporter", f"--config.file={files.config}", "--config.check"]
    done = subprocess.run(
        [*command, f"--web.config.file={files.web}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=REPOSITORY,
    )
    assert done.returncode == 1
    assert "is not a bcrypt hash" in done.stderr


@pytest.mark.parametrize(
    ("key", "more"),
    [
        ("cert_file", {}),
        ("key_file", {}),
        ("client_ca_file", {"client_auth_type": "RequireAndVerifyClientCert"}),
    ],
)
def test_nobody_waits_for_a_pipe(files: Files, key: str, more: dict[str, str]) -> None:
    """
    A pipe or a device in place of a file is a fault, at once.
    """
    os.mkfifo(files.directory / "pipe")
    for name in ("pipe", "/dev/zero"):
        files.write_web(tls={key: name, **more})
        with pytest.raises(ConfigError, match="is a pipe, a device or a directory"):
            load(str(files.web), context)


def test_versions_and_suites_are_those_that_are_named(files: Files) -> None:
    """
    By the names of the format; HTTP/2, which is not there, is said.
    """
    suite = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"
    files.write_web(
        tls={"max_version": "TLS12", "cipher_suites": [suite]},
        http_server_config={
            "http2": True,
            "headers": {name: (*some, "")[0] for name, some in HEADERS.items()},
        },
    )
    config = load(str(files.web), context)
    assert config.tls is not None
    assert config.tls.context.maximum_version is ssl.TLSVersion.TLSv1_2
    offered = {one["name"] for one in config.tls.context.get_ciphers() if one["protocol"] != "TLSv1.3"}
    assert offered == {CIPHERS[suite]}
    assert "http2 has no effect" in config.warnings[0]
    assert config.headers == {"X-Content-Type-Options": "nosniff", "X-Frame-Options": "deny"}
    # Of TLS 1.3 alone: nothing older is spoken.
    files.write_web(tls={"cipher_suites": ["TLS_AES_128_GCM_SHA256"]})
    config = load(str(files.web), context)
    assert config.tls is not None
    assert config.tls.context.minimum_version is ssl.TLSVersion.TLSv1_3


def agreed(files: Files, tls: dict[str, Any], suites: str, curves: str) -> tuple[str, str]:
    """
    Suite and curve of a handshake of TLS 1.2 with a client that prefers these, without a network.
    """
    files.write_web(tls={"max_version": "TLS12", **tls})
    config = load(str(files.web), context)
    assert config.tls is not None
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = config.tls.context.wrap_bio(to_server, to_client, server_side=True)
    theirs = SSL.Context(SSL.TLS_METHOD)
    theirs.set_cipher_list(suites.encode())
    assert _lib.SSL_CTX_set1_curves_list(theirs._context, curves.encode()) == 1
    client = SSL.Connection(theirs, None)
    client.set_connect_state()
    done = 0
    for _ in range(6):
        with contextlib.suppress(SSL.WantReadError):
            client.do_handshake()
            done += 1
        with contextlib.suppress(SSL.WantReadError):
            to_server.write(client.bio_read(65536))
        with contextlib.suppress(ssl.SSLWantReadError):
            server.do_handshake()
        if to_client.pending:
            client.bio_write(to_client.read())
    assert done
    group = client.get_group_name()
    assert group is not None
    return client.get_cipher_name() or "", group


SUITES = ("ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256")


def test_a_curve_may_be_named_alone(files: Files) -> None:
    """
    Also X25519, which is none to the call of Python 3.11's first releases.
    """
    for curve, name in (("X25519", "X25519"), ("CurveP521", "secp521r1")):
        tls = {"curve_preferences": [curve]}
        assert agreed(files, tls, SUITES[0], "P-256:P-384:P-521:X25519")[1].lower() == name.lower()


@pytest.mark.parametrize("curves", [["CurveP384"], ["CurveP384", "CurveP256"]])
def test_orders_are_those_that_are_named(files: Files, curves: list[str]) -> None:
    """
    Of the suites the server's, or the client's if it is said so; of the curves the server's.
    """
    names = {ours: theirs for theirs, ours in CIPHERS.items()}
    suites = [names[one] for one in SUITES]
    tls: dict[str, Any] = {"cipher_suites": suites, "curve_preferences": curves}
    other = ":".join(reversed(SUITES))
    assert agreed(files, tls, other, "P-256:P-384") == (SUITES[0], "secp384r1")
    tls["prefer_server_cipher_suites"] = False
    assert agreed(files, tls, other, "P-256:P-384")[0] == SUITES[1]


def test_an_old_version_is_spoken_if_it_is_named(files: Files) -> None:
    """
    With suites that are named, too: OpenSSL's own level of security has none of it.
    """
    suite = "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"
    tls = {"min_version": "TLS10", "max_version": "TLS10", "cipher_suites": [suite]}
    assert agreed(files, tls, "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0", "P-256")[0] == "ECDHE-ECDSA-AES128-SHA"


def test_a_flood_of_wrong_passwords_keeps_nobody_out(files: Files) -> None:
    """
    It fills neither the queue nor what is remembered: a scrape whose password was right once is answered.
    """
    slow = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(10)).decode("ascii")
    files.web.write_text(yaml.safe_dump({"basic_auth_users": {"prometheus": slow}}), encoding="utf-8")

    async def work() -> None:
        port = Port(str(files.web))

        async def ask(password: str, client: str) -> object:
            basic = b64encode(f"prometheus:{password}".encode()).decode()
            try:
                return await port._knows(f"Basic {basic}", client)
            except PoolFullError:
                return "503"

        assert await ask(PASSWORD, "192.0.2.1") is True
        flood = [asyncio.ensure_future(ask(f"{n}", "192.0.2.2")) for n in range(100)]
        await asyncio.sleep(0)
        assert await ask(PASSWORD, "192.0.2.1") is True
        assert not flood[0].done()
        # Another one whose password was not checked yet finds room in the queue.
        assert await ask("wrong", "192.0.2.3") is False
        answers = await asyncio.gather(*flood)
        assert answers.count("503") == 100 - WAITING_EACH
        assert answers.count(False) == WAITING_EACH
        assert not port._waiting
        port.close()

    asyncio.run(work())


def test_the_rate_is_a_bucket() -> None:
    """
    So many at once, then so many a second.
    """
    rate = Rate()
    assert [rate.take(2.0, 3, 100.0) for _ in range(4)] == [True, True, True, False]
    assert [rate.take(2.0, 3, 100.5), rate.take(2.0, 3, 100.5)] == [True, False]


def test_without_a_web_configuration_the_port_is_open() -> None:
    """
    Plain HTTP for everybody, as before.
    """
    port = Port()
    assert port.context() is None
    assert port.scheme == "http"
    port.close()
