"""
A real ACME server: a certificate is ordered, its window read, and a new one ordered, which moves what is due.
"""

import asyncio
import contextlib
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from exporter.demo.minter import root
from exporter.engine.monitor import Monitor
from exporter.engine.scrape import EndpointRow
from exporter.probes.dependencies import Dependencies
from tests.lookups.revocation.making import revocation_list
from tests.probes.tls.wire.probing import NAME, facts, target, until
from tests.support.certificates import DAY
from tests.support.processes import answers, free_port, running
from tests.support.readme import REPOSITORY

ISSUER = "Example ACME"
PYTHON = REPOSITORY / ".tests" / "acme" / "bin" / "python"
"""Of the environment that `tests/run` makes for the server and the client."""
SCRIPT = Path(__file__).with_name("acme_server.py")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """
    A directory with an authority for the server. Its times are by the system's clock, as the server's are.
    """
    now = time.time()
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ISSUER),
            x509.NameAttribute(NameOID.COMMON_NAME, "Example ACME CA"),
        ]
    )
    ca = root(name, not_before=now - DAY, not_after=now + 3650 * DAY, key="rsa-2048")
    (tmp_path / "ca.pem").write_bytes(ca.pem)
    (tmp_path / "ca.key").write_bytes(ca.key_pem)
    empty = x509.load_der_x509_crl(revocation_list(ca, this_update=now - DAY, next_update=now + DAY))
    (tmp_path / "crl.pem").write_bytes(empty.public_bytes(Encoding.PEM))
    (tmp_path / "certificates").mkdir()
    return tmp_path


@contextlib.contextmanager
def acme_server(home: Path, days: int) -> Iterator[str]:
    """
    The URL of the directory of a server that issues for so many days.
    """
    (home / "acme_srv.cfg").write_text(
        f"""
[CAhandler]
handler_module: acme2certifier.cahandlers.openssl_ca_handler
issuing_ca_key: {home}/ca.key
issuing_ca_cert: {home}/ca.pem
issuing_ca_crl: {home}/crl.pem
cert_save_path: {home}/certificates
cert_validity_days: {days}
[DBhandler]
handler_module: acme2certifier.dbhandlers.wsgi_handler
dbfile: {home}/acme.db
[Challenge]
challenge_validation_disable: True
[Renewalinfo]
renewalthreshold_pctg: 50
renewal_window_duration: 1d
"""
    )
    port = free_port()
    environment = {
        "ACME_SRV_CONFIGFILE": str(home / "acme_srv.cfg"),
        # Without it, challenges are validated whatever the configuration says.
        "ACME2CERTIFIER_I_KNOW_THE_RISK": "1",
    }
    url = f"http://127.0.0.1:{port}/directory"
    with running([PYTHON, SCRIPT, "serve", str(port)], ready=answers(url), env=environment, cwd=home):
        yield url


def order(directory: str, file: Path) -> None:
    """
    Put the key and the chain of a new certificate into the file.
    """
    command: list[str | Path] = [PYTHON, SCRIPT, "order", directory, NAME]
    made = subprocess.run(command, capture_output=True, check=False, timeout=60)
    assert made.returncode == 0, made.stderr.decode()
    file.write_bytes(made.stdout)


def due_by_the_issuer(row: EndpointRow) -> bool:
    """
    Holds when the issuer was heard.
    """
    return facts(row).items[0].renewal is not None


def test_issue_read_renew(home: Path) -> None:
    """
    The window is half of the lifetime after the begin and a day long; the new certificate has its own.
    """
    pair = home / "pair.pem"

    async def work(directories: tuple[str, str]) -> None:
        network = Dependencies(asyncio.get_running_loop())
        watch = Monitor(network, 8, network.clock)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair)
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        one = target(port, ca_file=str(home / "ca.pem"), acme={ISSUER: directories[0]})
        old = await until(watch, one, due_by_the_issuer)
        served = facts(old).chains
        assert_window(old, days=30)
        await asyncio.to_thread(order, directories[1], pair)
        context.load_cert_chain(pair)
        new = await until(watch, one, lambda row: due_by_the_issuer(row) and facts(row).chains != served)
        assert_window(new, days=60)
        assert renewal_due(new) > renewal_due(old) + 10 * DAY
        server.close()
        network.close()

    with acme_server(home, 30) as first:
        order(first, pair)
        # Both have the same database, so each knows what the other issued.
        with acme_server(home, 60) as second:
            asyncio.run(work((first, second)))


def renewal_due(row: EndpointRow) -> float:
    """
    When the renewal of the leaf is due.
    """
    assert row.verdict is not None
    deadlines = row.verdict.items[0].deadlines
    assert deadlines is not None
    return deadlines.renewal_due


def assert_window(row: EndpointRow, days: int) -> None:
    """
    The window is in the middle of a lifetime of so many days.
    """
    item = facts(row).items[0]
    assert item.renewal is not None
    assert item.renewal.begin is not None
    assert item.not_after - item.not_before == pytest.approx(days * DAY, abs=5)
    assert item.renewal.begin == pytest.approx(item.not_before + days * DAY / 2, abs=5)
    assert item.renewal.due == pytest.approx(item.renewal.begin + DAY, abs=5)
    assert renewal_due(row) == item.renewal.due
