"""
A running service that compares a real server with what a fake of crt.sh knows, before and after a restart.
"""

import socket
import time
from pathlib import Path
from typing import Any

import pytest

from exporter.demo.minter import Minted, root
from tests.discovery.test_certificate_transparency import FakeLogs, logs
from tests.discovery.test_service import serving, until
from tests.replay.test_transparency import row
from tests.support.certificates import DAY
from tests.support.servers import Site, nginx

__all__ = ["logs"]

HOST = "www.example.com"


@pytest.fixture
def authorities() -> tuple[Minted, Minted]:
    """
    Our CA, and another one below the same root.
    """
    now = time.time()
    above = root("Test Root", not_before=now - 900 * DAY, not_after=now + 900 * DAY)
    return (
        above.issue("Test Intermediate", ca=True, path_length=0),
        above.issue("Other CA", ca=True, path_length=0),
    )


@pytest.fixture(autouse=True)
def no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    No name is looked up outside of this host.
    """
    real = socket.getaddrinfo

    def asked(host: Any, *others: Any, **more: Any) -> Any:
        if str(host).endswith("example.com"):
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return real(host, *others, **more)

    monkeypatch.setattr(socket, "getaddrinfo", asked)


async def test_logs_are_compared_with_what_is_served(
    tmp_path: Path, logs: FakeLogs, authorities: tuple[Minted, Minted]
) -> None:
    """
    A renewal that nginx does not serve, and a certificate that somebody else got: in metrics, on pages, and
    from the first scrape after a restart while the logs can't be asked.
    """
    ours, others = authorities
    # Certificates have whole seconds.
    now = float(int(time.time()))
    old = ours.issue(HOST, [HOST], not_before=now - 65 * DAY, not_after=now + 25 * DAY)
    new = ours.issue(HOST, [HOST], not_before=now - 5 * DAY, not_after=now + 85 * DAY)
    strange = others.issue(HOST, ["*.example.com"], not_before=now - DAY, not_after=now + 89 * DAY)
    logs.says([row(one, number) for number, one in enumerate((old, new, strange))])
    assert ours.issuer is not None
    (tmp_path / "root.pem").write_bytes(ours.issuer.pem)
    with nginx(tmp_path, Site([old.chain])) as server:
        (tmp_path / "expiry.yml").write_text(
            f"targets: [{{url: 'tls://{server.authority}', name: www, server_name: {HOST}, "
            "ca_file: root.pem, issuers: Test Intermediate}]\n"
            f"discover: [{{certificate_transparency: {{domains: example.com, url: '{logs.url}'}}}}]\n"
        )
        async with serving(tmp_path) as service:
            await until(lambda: not service.discovery.pending)
            text = service.text(await service.scrape(5))
        logs.says(b"", 502)
        async with serving(tmp_path) as service:
            later = service.text(await service.scrape(5))
            scrape = await service.scrape(5)
            finding = service.fleet_of(scrape).status(scrape.endpoints[0], scrape.at).findings[0].words
        for one in (text, later):
            item = '{target="www",item="leaf",kind="leaf",problem="not_deployed",severity="warning"'
            assert f"expiry_problem_end_timestamp_seconds{item}" in one
            item = '{target="www",item="issued by CN=Other CA",kind="leaf",problem="foreign_issuer"'
            end = f',severity="critical"}} {now + 89 * DAY!r}\n'
            assert f"expiry_problem_end_timestamp_seconds{item}{end}" in one
            newest = f'{{target="www",location="{server.authority}",item="leaf",kind="leaf"}}'
            assert f"expiry_newest_not_after_timestamp_seconds{newest} {now + 85 * DAY!r}\n" in one
            assert "a certificate for *.example.com was issued by CN=Other CA on" in one
        assert finding.startswith("not by the CAs in `issuers`: a certificate for *.example.com was issued")
