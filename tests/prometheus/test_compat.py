"""
The rules of people who come from other exporters, in a Prometheus that scrapes `--metrics.compat`.
"""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import yaml

from exporter.demo.minter import root
from tests.prometheus.conftest import NAME, minted
from tests.support import misbehaving
from tests.support.certificates import DAY
from tests.support.prometheus import SCRAPE_INTERVAL, Listening, Prometheus, exporter, prometheus
from tests.support.readme import code, table
from tests.support.servers import Site, nginx

RULES = {
    # blackbox_exporter: its readme, and public collections of rules.
    "probe_ssl_earliest_cert_expiry - time() < 86400 * 30": {"late", "expired"},
    "0 <= round((probe_ssl_earliest_cert_expiry - time()) / 86400, 0.1) < 20": {"late"},
    "round((probe_ssl_earliest_cert_expiry - time()) / 86400, 0.1) < 0": {"expired"},
    "probe_ssl_last_chain_expiry_timestamp_seconds - time() < 86400 * 30": {"late", "expired"},
    "probe_success == 0": {"expired", "refused"},
    "(probe_ssl_earliest_cert_expiry - time()) / 86400 * (probe_success == 1) > 30": {"renewed"},
    "avg_over_time(probe_duration_seconds[1m]) >= 0 and probe_success == 1": {"late", "renewed"},
    'probe_tls_version_info{version="TLS 1.3"}': {"late", "expired", "renewed"},
    # ssl_exporter
    '(ssl_cert_not_after{dnsnames=~".*,shop.example.com,.*"} - time()) < 86400 * 30': {"late", "expired"},
    'ssl_verified_cert_not_after{chain_no="0", cn="shop.example.com"} - time() < 86400 * 30': {
        *("late", "expired"),
    },
    "min by (target) (ssl_verified_cert_not_after - time()) < 0": {"expired"},
    'ssl_probe_success{target!~".*file"} == 0': {"expired", "refused"},
    "ssl_file_cert_not_after - time() < 86400 * 30": {"late-file"},
    # x509-certificate-exporter
    "((x509_cert_not_after - time()) / 86400) < 28": {"late-file"},
    "x509_cert_expires_in_seconds < 86400 * 28": {"late-file"},
    "x509_cert_expired == 0": {"late-file"},
    "x509_read_errors > 0": {"gone-file"},
}
"""Expressions as people have them, with the targets that they find. The manual lists them."""


@dataclass(frozen=True, slots=True)
class Moved:
    """
    The exporter with everybody's names, and a Prometheus that scrapes it.
    """

    prometheus: Prometheus
    exporter: Listening


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moved]:
    """
    Three servers, a port without one, a file, and a path without one.
    """
    now = float(round(time.time()))
    directory = tmp_path_factory.mktemp("compat")
    above = root("Test Root", not_before=now - 900 * DAY, not_after=now + 900 * DAY)
    leaves = {
        name: minted(now, left, above) for name, left in (("renewed", 80.0), ("late", 5.0), ("expired", -1.0))
    }
    (directory / "root.pem").write_bytes(above.pem)
    (directory / "late.pem").write_bytes(leaves["late"].pem)
    with contextlib.ExitStack() as stack:
        urls = {
            "late-file": f"file://{directory}/late.pem",
            "gone-file": f"file://{directory}/gone.pem",
            "refused": f"tls://127.0.0.1:{stack.enter_context(misbehaving.refusing())}",
        }
        for name, leaf in leaves.items():
            own = directory / name
            own.mkdir()
            site = Site([leaf.chain], settings=["ssl_protocols TLSv1.3"])
            urls[name] = f"https://{stack.enter_context(nginx(own, site)).authority}"
        settings = {"ca_file": "root.pem", "server_name": NAME}
        targets = [
            {"url": url, "name": name, **({} if url.startswith("file:") else settings)}
            for name, url in urls.items()
        ]
        configuration = directory / "expiry.yml"
        configuration.write_text(yaml.safe_dump({"targets": targets}), encoding="utf-8")
        flags = ("--metrics.compat=blackbox,ssl_exporter,x509,domain", "--state.path=none")
        ours = stack.enter_context(exporter(configuration, *flags))
        job = {
            "job_name": "expiry",
            "scrape_interval": SCRAPE_INTERVAL,
            "static_configs": [{"targets": [ours.address]}],
        }
        yield Moved(stack.enter_context(prometheus(directory, {"scrape_configs": [job]})), ours)


@pytest.mark.parametrize(("rule", "targets"), RULES.items())
def test_the_rules_of_others_find_what_they_are_about(moved: Moved, rule: str, targets: set[str]) -> None:
    """
    Each finds these targets and no other.
    """
    found = moved.prometheus.await_query(
        rule, lambda some: {one.labels.get("target") for one in some} == targets
    )

    assert found


def test_a_probe_has_the_names_of_others_too(moved: Moved) -> None:
    """
    `/probe` says of one target what `/metrics` says of it.
    """
    status, _, text = moved.exporter.ask("GET", "/probe?target=late")

    assert status == 200
    assert 'probe_ssl_earliest_cert_expiry{target="late"' in text
    assert 'ssl_cert_not_after{target="late"' in text


def test_the_manual_lists_the_rules_that_answer() -> None:
    """
    Those that are run here, in their order.
    """
    assert [code(rule)[0] for rule, _ in table("Query", "Finds")] == list(RULES)
