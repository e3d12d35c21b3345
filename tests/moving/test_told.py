"""
What others configured, moved over: nothing is guessed, and nothing is lost without a word.
"""

import yaml

from exporter.moving import blackbox, others, prometheus
from exporter.moving.moved import Group, Moved


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
    assert made.changes == ["job pages: all pages of a server are one target here: https://a.example"]


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


CHANGED = """\
kind: Probe
metadata: {name: pages, namespace: shop}
spec:
  module: http_2xx
  prober: {url: "b:9115"}
  targets: {staticConfig: {static: ["https://a.example"]}}
  metricRelabelings: [{action: labeldrop, regex: pod}]
---
kind: VMProbe
metadata: {name: other, namespace: shop}
spec:
  module: http_2xx
  vmProberSpec: {url: "b:9115"}
  targets: {staticConfig: {targets: ["https://b.example"]}}
  metricRelabelConfigs: [{action: labeldrop, regex: pod}]
"""


def test_what_probes_do_to_their_metrics_is_told() -> None:
    """
    In both spellings of the operators.
    """
    made = Moved()
    blackbox.of_blackbox("modules: {http_2xx: {prober: http}}", made)
    made.changes.clear()
    prometheus.jobs(CHANGED, made, lambda _: [])
    assert len(made.targets) == 2
    words = "metric_relabel_configs: write them into the job that scrapes this exporter"
    assert made.changes == [f"job probe/shop/{name}: {words}" for name in ("pages", "other")]


def test_where_labels_of_targets_are_is_told_once() -> None:
    """
    Where there are any.
    """
    made = Moved()
    made.add(Group("some"), "https://a.example")
    assert not [line for line in made.lines() if "labels of targets" in line]
    for name in ("b", "c"):
        made.add(Group("some"), f"https://{name}.example", {"team": "x"})
    assert len([line for line in made.lines() if line.startswith("changes: labels of targets are on ")]) == 1


def test_defaults_of_the_chart_are_those_of_each_target() -> None:
    """
    A target's own come first.
    """
    made = Moved()
    values = {
        "config": {"modules": {name: {"prober": "tcp", "tcp": {"tls": True}} for name in ("one", "two")}},
        "serviceMonitor": {
            "defaults": {"module": "one", "interval": "30s", "additionalMetricsRelabels": {"team": "x"}},
            "targets": [
                {"name": "a", "url": "a.example:1"},
                {
                    "name": "b",
                    "url": "b.example:1",
                    "module": "two",
                    "additionalMetricsRelabels": {"dc": "y"},
                },
            ],
        },
    }
    text = yaml.safe_dump(values)
    blackbox.of_blackbox(text, made)
    prometheus.jobs(text, made, lambda _: [])
    assert [(one["name"], one["labels"]) for one in made.targets] == [
        ("a", {"team": "x"}),
        ("b", {"dc": "y"}),
    ]
    assert any(one.startswith("job a: scrape_interval 30s: ") for one in made.changes)
