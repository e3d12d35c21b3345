"""
What others configured, moved over: nothing is guessed, and nothing is lost without a word.
"""

import yaml

from exporter.moving import blackbox, others, prometheus
from exporter.moving.moved import Moved


def test_a_protocol_before_tls_is_ours_or_left() -> None:
    """
    One that nobody knows is not taken for TLS from the first byte.
    """
    made = Moved()
    known = {"smtp": "smtp", "ftp": "ftp", "mysql": "mysql", "ldap": "ldap"}
    modules = {name: {"prober": "tcp", "tcp": {"starttls": name}} for name in (*known, "gopher", "https")}
    blackbox.of_ssl_exporter(yaml.safe_dump({"modules": modules}), made)
    assert {name: module["scheme"] for name, module in made.modules.items()} == known
    assert made.left == [
        f"module {name}: starttls {name} is no protocol that is known here" for name in ("gopher", "https")
    ]


def test_pages_of_one_server_are_one_target_and_told() -> None:
    """
    Their certificate is the same. A page alone needs no word.
    """
    made = Moved()
    job = {
        "job_name": "pages",
        "metrics_path": "/probe",
        "params": {"module": ["http_2xx"]},
        "static_configs": [
            {"targets": ["https://a.example/health", "https://a.example/login?x=1", "https://b.example/x"]}
        ],
        "relabel_configs": [
            {"source_labels": ["__address__"], "target_label": "__param_target"},
            {"target_label": "__address__", "replacement": "127.0.0.1:9115"},
        ],
    }
    blackbox.of_blackbox("modules: {http_2xx: {prober: http}}", made)
    made.changes.clear()
    prometheus.jobs(yaml.safe_dump({"scrape_configs": [job]}), made, lambda _: [])
    assert [one["url"] for one in made.targets] == ["https://a.example", "https://b.example"]
    (told,) = made.changes
    assert told.startswith("job pages: https://a.example/health, https://a.example/login?x=1: one server, ")


def test_one_table_of_telegraf_is_an_input_and_its_global_tags_are_told() -> None:
    """
    As it was written once; and which TLS is spoken is no setting here.
    """
    made = Moved()
    others.telegraf(
        """
[global_tags]
  zone = "europe"
[inputs.x509_cert]
  sources = ["tcp://a.example.org:443"]
  tls_min_version = "TLS12"
""",
        made,
    )
    assert [one["url"] for one in made.targets] == ["tls://a.example.org:443"]
    assert made.left == []
    assert made.changes == [
        "global_tags zone: write them as `labels` of the targets, or of the job that scrapes this exporter",
        "tls_min_version: each version is spoken, and expiry_tls_info tells which one was agreed on",
    ]
