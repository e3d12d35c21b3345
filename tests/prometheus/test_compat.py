"""
The rules of people who come from other exporters, in a Prometheus that scrapes `--metrics.compat`.
"""

import contextlib
import json
import time
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import yaml

from exporter.demo.minter import Minted, root
from tests.lookups.revocation.making import revocation_list
from tests.prometheus.conftest import NAME, minted
from tests.support import misbehaving
from tests.support.certificates import DAY, staple
from tests.support.prometheus import SCRAPE_INTERVAL, Listening, Prometheus, Sample, exporter, prometheus
from tests.support.readme import code, fenced, table
from tests.support.servers import Site, nginx

RULES: dict[str, set[str] | list[float]] = {
    # blackbox_exporter: its readme, its mixin, dashboards, and public collections of rules.
    "probe_ssl_earliest_cert_expiry - time() < 86400 * 30": {"late", "expired"},
    "0 <= round((probe_ssl_earliest_cert_expiry - time()) / 86400, 0.1) < 20": {"late"},
    "3 <= round((last_over_time(probe_ssl_earliest_cert_expiry[10m]) - time()) / 86400, 0.1) < 20": {"late"},
    "probe_ssl_earliest_cert_expiry - time() < 86400 * 21 and probe_ssl_earliest_cert_expiry - time() > 0": {
        *("late",)
    },
    "round((probe_ssl_earliest_cert_expiry - time()) / 86400, 0.1) < 0": {"expired"},
    "probe_ssl_last_chain_expiry_timestamp_seconds - time() < 86400 * 30": {"late", "expired"},
    (
        "probe_ssl_earliest_cert_expiry * on (target) group_left (team) "
        'expiry_target_info{team="shop"} - time() < 86400 * 30'
    ): {"late"},
    "probe_success == 0": {"expired", "refused"},
    "avg_over_time(probe_success[30d]) * 100 < 99.9": {"expired", "refused"},
    "(probe_ssl_earliest_cert_expiry - time()) / 86400 * (probe_success == 1) > 30": {"renewed"},
    "avg_over_time(probe_duration_seconds[1m]) >= 0 and probe_success == 1": {"late", "renewed"},
    "probe_duration_seconds * on (instance, job) group_left probe_success > 0": {"late", "renewed"},
    'probe_tls_version_info{version="TLS 1.3"}': {"late", "expired", "renewed"},
    'probe_tls_cipher_info{cipher=~"TLS_.*"}': {"late", "expired", "renewed"},
    "probe_http_ssl == 1": {"late", "renewed"},
    "probe_ip_protocol == 4": {"late", "expired", "renewed", "refused"},
    'max by (instance) (probe_success{job=~"expiry", instance=~"late"})': [1],
    '(count(probe_success{job=~"expiry"} == 1) or vector(0)) / count(probe_success{job=~"expiry"})': [0.5],
    'floor(min by (instance) (probe_ssl_earliest_cert_expiry{job=~"expiry"} - time()) / 86400)': [-2, 4, 79],
    'max by (instance, version) (probe_tls_version_info{job=~"expiry"})': [1, 1, 1],
    "count by (issuer) (probe_ssl_last_chain_info)": [3],
    "blackbox_exporter_config_last_reload_successful == 1": [1],
    # ssl_exporter: its readme, its dashboard, and public collections of rules.
    '(ssl_cert_not_after{dnsnames=~".*,shop.example.com,.*"} - time()) < 86400 * 30': {"late", "expired"},
    'ssl_verified_cert_not_after{chain_no="0", cn="shop.example.com"} - time() < 86400 * 30': {
        *("late", "expired"),
    },
    "min by (target) (ssl_verified_cert_not_after - time()) < 0": {"expired"},
    "count(max(ssl_cert_not_after) by (issuer_cn,serial_no))": [3],
    'count(max(ssl_cert_not_after{instance!="expired",job=~"expiry"}) by (instance))': [2],
    "((ssl_cert_not_after - time())/24/60/60) < 7": {"late", "expired"},
    'ssl_probe_success{target!~".*file"} == 0': {"expired", "refused"},
    "(up == 0 or ssl_probe_success == 0)^0": {"expired", "refused", "gone-file"},
    "ssl_ocsp_response_status == 1": {"expired"},
    "ssl_ocsp_response_stapled == 0": {"late", "renewed"},
    "ssl_file_cert_not_after - time() < 86400 * 30": {"late-file"},
    'ssl_kubeconfig_cert_not_after{type="user"} - time() < 86400 * 30': {"kubeconfig-file"},
    # x509-certificate-exporter: its rules and its dashboard, of versions 3 and 4.
    "((x509_cert_not_after - time()) / 86400) < 28": {"late-file", "kubeconfig-file"},
    "x509_cert_expires_in_seconds < 86400 * 28": {"late-file", "kubeconfig-file"},
    "x509_cert_expired == 0": {"late-file", "kubeconfig-file"},
    "(x509_cert_not_before - time()) < 0": {"late-file", "kubeconfig-file"},
    "sum(((x509_cert_not_after - time()) / 86400) < bool 0)": [0],
    "sum(0 < ((x509_cert_not_after - time()) / 86400) < bool 28)": [2],
    'bottomk(10, (x509_cert_not_after{filepath!=""} - x509_cert_not_before) / 86400)': {
        *("late-file", "kubeconfig-file"),
    },
    'count(x509_cert_not_after{filepath!="",embedded_key=""})': [1],
    'count(x509_cert_not_after{filepath!="",embedded_key!=""})': [1],
    "topk(10, sort_desc(count by (issuer_CN) (x509_cert_not_after)))": [2],
    'topk(10, sort_desc(count by (instance) (x509_cert_not_after{filepath!=""})))': [2],
    "(x509_crl_next_update - time()) < (2 * 86400) and x509_crl_stale == 0": {"list-file"},
    "x509_cert_error > 0": {"gone-file"},
    "x509_source_up == 0": {"gone-file"},
    "sum(x509_read_errors)": [1],
    "count(x509_read_errors)": [1],
    "sum (x509_read_errors > bool 0)": [1],
    # domain_exporter: its examples, and public rules.
    "domain_expiry_days < 30": {"late-domain", "ended-domain"},
    "domain_expiry_days < 30 and domain_expiry_days > 0": {"late-domain"},
    "domain_expiry_days < 30 and on(domain) domain_probe_success == 1": {"late-domain", "ended-domain"},
    "sort(domain_expiry_days)": [-4, 20, 200],
    'domain_expiry_days{domain="late.test"}': [20],
    "domain_probe_success == 0": {"gone-domain"},
}
"""
Expressions as people have them, with the targets that they find, or the values of sums over several. The
manual lists them.
"""


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
    Three servers, a port without one, files, a path without one, and domains.
    """
    now = float(round(time.time()))
    directory = tmp_path_factory.mktemp("compat")
    above = root("Test Root", not_before=now - 900 * DAY, not_after=now + 900 * DAY)
    leaves = {
        name: minted(now, left, above) for name, left in (("renewed", 80.0), ("late", 5.0), ("expired", -1.0))
    }
    (directory / "root.pem").write_bytes(above.pem)
    (directory / "late.pem").write_bytes(leaves["late"].pem)
    (directory / "kube.conf").write_text(kubeconfig(leaves["late"]), encoding="utf-8")
    (directory / "list.crl").write_bytes(revocation_list(above, this_update=now - DAY, next_update=now + DAY))
    with contextlib.ExitStack() as stack:
        urls = {
            **{f"{name}-domain": f"domain:{name}.test" for name in ("late", "ended", "renewed", "gone")},
            "late-file": f"file://{directory}/late.pem",
            "kubeconfig-file": f"file://{directory}/kube.conf",
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
            {
                "url": url,
                "name": name,
                "labels": {"team": "mail" if name == "expired" else "shop"},
                **(settings if "//127.0.0.1:" in url else {}),
            }
            for name, url in urls.items()
        ]
        configuration = directory / "expiry.yml"
        configuration.write_text(yaml.safe_dump({"targets": targets}), encoding="utf-8")
        flags = ("--metrics.compat=blackbox,ssl_exporter,x509,domain", "--state.path=none")
        ends = {
            "late.test": now + 20.5 * DAY,
            "ended.test": now - 3.5 * DAY,
            "renewed.test": now + 200.5 * DAY,
        }
        module = ("tests.prometheus.with_registries", json.dumps(ends))
        ours = stack.enter_context(exporter(configuration, *flags, module=module))
        job = {
            "job_name": "expiry",
            "scrape_interval": SCRAPE_INTERVAL,
            "static_configs": [{"targets": [ours.address]}],
            **yaml.safe_load(next(block for block in fenced("yaml") if "metric_relabel_configs" in block)),
        }
        yield Moved(stack.enter_context(prometheus(directory, {"scrape_configs": [job]})), ours)


def kubeconfig(user: Minted) -> str:
    """
    The configuration of a client who shows this certificate.
    """
    encoded = b64encode(user.pem).decode("ascii")
    one = {"name": "me", "user": {"client-certificate-data": encoded}}
    return yaml.safe_dump({"apiVersion": "v1", "kind": "Config", "users": [one]})


@pytest.mark.parametrize(("rule", "expected"), RULES.items())
def test_the_rules_of_others_find_what_they_are_about(
    moved: Moved, rule: str, expected: set[str] | list[float]
) -> None:
    """
    Each finds these targets and no other, or has these values.
    """

    def good(found: list[Sample]) -> bool:
        if isinstance(expected, set):
            return {one.labels.get("target") for one in found} == expected
        return sorted(one.value for one in found) == expected

    assert moved.prometheus.await_query(rule, good)


def test_the_instance_of_a_file_is_the_exporter_that_reads_it(moved: Moved) -> None:
    """
    That of all else is the target, as where each is a scrape of its own.
    """
    of_files = moved.prometheus.await_query('count by (instance) (x509_cert_not_after{filepath!=""})')
    assert {one.labels["instance"] for one in of_files} == {moved.exporter.address}
    others = moved.prometheus.await_query('{__name__=~"(probe|ssl|domain)_.*", target!=""}')
    assert all(one.labels["instance"] == one.labels["target"] for one in others)


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
