"""
Trust anchors and client certificates on a mount that hangs: what it costs, and whom.
"""

import asyncio
from pathlib import Path

import pytest

from exporter.model.targets import Target
from exporter.model.urls import parse_url
from tests.probes.tls.wire.probing import leaf_of, scrape, target, told, watching
from tests.support.certificates import NOW
from tests.support.hung_mount import hung_mount
from tests.support.rows import detail
from tests.support.servers import Server


async def test_it_costs_only_the_targets_that_use_it(
    tmp_path: Path, healthy: Server, anchors: str, caplog: pytest.LogCaptureFixture
) -> None:
    """
    The servers are probed and seen, the others are judged too, and the loop never waits.
    """
    mount = tmp_path / "mount"
    mount.mkdir()
    there = str(mount / "file.pem")
    document = parse_url("pem+https://127.0.0.1:1/a.pem")
    targets = [
        target(healthy, name="good", ca_file=anchors, crl=True),
        target(healthy, name="anchors", ca_file=there, crl=True),
        target(healthy, name="own", ca_file=anchors, client_certificate_file=there),
        Target(document, "document", ca_file=there),
        Target(document, "document with own", ca_file=anchors, client_certificate_file=there),
    ]

    with hung_mount(mount) as end:
        async with watching(NOW) as watch:
            for _ in range(3):
                rows = await asyncio.wait_for(scrape(watch, *targets, timeout=20), 60)
                assert [told(row) for row in rows] == [
                    ("seen",),
                    ("seen", "trust_store_unusable"),
                    ("client_certificate_unusable",),
                    ("http_failed",),
                    ("client_certificate_unusable",),
                ]
                assert rows[1].verdict is not None
                assert "did not answer" in rows[1].verdict.faults[0].detail
                assert leaf_of(rows[2]) == leaf_of(rows[0])
                for row in rows[2:]:
                    assert f"the file system did not answer for {there}" in detail(row)
            await watch._dependencies.lookups.settle(10)
            end()
            while watch._dependencies.named_files._threads.hung:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.01)
            rows = await scrape(watch, *targets, timeout=20)
            assert "can't be read" in detail(rows[2])
    # Once for verdicts and once for look-ups, whatever the number of sweeps; then again with the new cause.
    assert sum("no trust anchors" in one.getMessage() for one in caplog.records) <= 4
