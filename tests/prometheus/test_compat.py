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
from tests.lookups.revocation.making import revocation_list
from tests.prometheus.conftest import NAME, minted
from tests.support import misbehaving
from tests.support.certificates import DAY, staple
from tests.support.prometheus import SCRAPE_INTERVAL, Listening, Prometheus, exporter, prometheus
from tests.support.readme import code, fenced, table
from tests.support.servers import Site, nginx

RULES: dict[str, set[str | None]] = {
    # blackbox_exporter: its readme, its mixin, and public collections of rules.
    "probe_ssl_earliest_cert_expiry - time() < 86400 * 30": {"late", "expired"},
    "0 <= round((probe_ssl_earliest_cert_expiry - time()) / 86400, 0.1) < 20": {"late"},
    "3 <= round((last_over_time(probe_ssl_earliest_cert_expiry[10m]) - time()) / 86400, 0.1) < 20": {"late"},
    "probe_ssl_earliest_cert_expiry - time() < 86400 * 21 and probe_ssl_earliest_cert_expiry - time() > 0": {
        *("late",)
    },
    "round((probe_ssl_earliest_cert_expiry - time()) / 86400, 0.1) < 0": {"expired"},
    "probe_ssl_last_chain_expiry_timestamp_seconds - time() < 86400 * 30": {"late", "expired"},
    "probe_success == 0": {"expired", "refused"},
    "avg_over_time(probe_success[30d]) * 100 < 99.9": {"expired", "refused"},
    "(probe_ssl_earliest_cert_expiry - time()) / 86400 * (probe_success == 1) > 30": {"renewed"},
    "avg_over_time(probe_duration_seconds[1m]) >= 0 and probe_success == 1": {"late", "renewed"},
    'probe_tls_version_info{version="TLS 1.3"}': {"late", "expired", "renewed"},
    'probe_tls_cipher_info{cipher=~"TLS_.*"}': {"late", "expired", "renewed"},
    "probe_http_ssl == 1": {"late", "renewed"},
    "probe_ip_protocol == 4": {"late", "expired", "renewed", "refused"},
    'max by (instance) (probe_success{job=~"expiry", instance=~"late"})': {None},
    "blackbox_exporter_config_last_reload_successful == 1": {None},
    # ssl_exporter: its readme, its dashboard, and public collections of rules.
    '(ssl_cert_not_after{dnsnames=~".*,shop.example.com,.*"} - time()) < 86400 * 30': {"late", "expired"},
    'ssl_verified_cert_not_after{chain_no="0", cn="shop.example.com"} - time() < 86400 * 30': {
        *("late", "expired"),
    },
    "min by (target) (ssl_verified_cert_not_after - time()) < 0": {"expired"},
    "count(max(ssl_cert_not_after) by (issuer_cn,serial_no))": {None},
    'ssl_probe_success{target!~".*file"} == 0': {"expired", "refused"},
    "(up == 0 or ssl_probe_success == 0)^0": {"expired", "refused", "gone-file"},
    "ssl_ocsp_response_status == 1": {"expired"},
    "ssl_ocsp_response_stapled == 0": {"late", "renewed"},
    "ssl_file_cert_not_after - time() < 86400 * 30": {"late-file"},
    # x509-certificate-exporter: its rules and its dashboard, of versions 3 and 4.
    "((x509_cert_not_after - time()) / 86400) < 28": {"late-file"},
    "x509_cert_expires_in_seconds < 86400 * 28": {"late-file"},
    "x509_cert_expired == 0": {"late-file"},
    "sum(0 < ((x509_cert_not_after - time()) / 86400) < bool 28)": {None},
    'bottomk(10, (x509_cert_not_after{filepath!=""} - x509_cert_not_before) / 86400)': {"late-file"},
    'count(x509_cert_not_after{filepath!="",embedded_key=""})': {None},
    "(x509_crl_next_update - time()) < (2 * 86400) and x509_crl_stale == 0": {"list-file"},
    "x509_cert_error > 0": {"gone-file"},
    "x509_source_up == 0": {"gone-file"},
    "x509_read_errors > 0": {"gone-file"},
}
"""Expressions as people have them, with the targets that they find (None: a sum of several). The manual lists
them."""


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
    (directory / "list.crl").write_bytes(revocation_list(above, this_update=now - DAY, next_update=now + DAY))
    with contextlib.ExitStack() as stack:
        urls = {
            "late-file": f"file://{directory}/late.pem",
            "list-file": f"file://{directory}/list.crl",
            "gone-file": f"file://{directory}/gone.pem",
            "refused": f"tls://127.0.0.1:{stack.enter_context(misbehaving.refusing())}",
        }
        for name, leaf in leaves.items():
            own = directory / name
            own.mkdir()
            revoked = {"this_update": now - 60, "next_update": now + DAY, "revoked_at": now - DAY}
            response = staple(leaf, **revoked) if name == "expired" else None
            site = Site([leaf.chain], staple=response, settings=["ssl_protocols TLSv1.3"])
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
            **yaml.safe_load(next(block for block in fenced("yaml") if "metric_relabel_configs" in block)),
        }
        yield Moved(stack.enter_context(prometheus(directory, {"scrape_configs": [job]})), ours)


@pytest.mark.parametrize(("rule", "targets"), RULES.items())
def test_the_rules_of_others_find_what_they_are_about(
    moved: Moved, rule: str, targets: set[str | None]
) -> None:
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
