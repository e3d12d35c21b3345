"""
What others configured, moved over: the result loads, and each thing that is not taken is told.
"""

import base64
import json
import textwrap
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.cli import main
from exporter.config import reader
from exporter.config.settings import Call, Config, NotAllowedError, target_for
from exporter.config.values import url as parsed
from exporter.moving import blackbox, others, prometheus
from exporter.moving.moved import Moved, MoveError

MODULES = """\
modules:
  web:
    prober: http
    timeout: 5s
    http:
      preferred_ip_protocol: ip6
      ip_protocol_fallback: false
      valid_status_codes: [200]
      tls_config: {insecure_skip_verify: true, ca_file: /etc/ca.pem, server_name: a.example.com}
  mail:
    prober: tcp
    tcp:
      query_response:
        - {expect: "^220 ([^ ]+) ESMTP (.+)$"}
        - {send: "EHLO me"}
        - {send: STARTTLS}
        - {starttls: true}
  inbox:
    prober: tcp
    tcp: {query_response: [{expect: "OK.*STARTTLS"}, {send: ". CAPABILITY"}, {starttls: true}]}
  ldap: {prober: tcp, tcp: {tls: true, tls_config: {cert_file: /c.pem, key_file: /c.key}}}
  plain: {prober: tcp}
  odd_dialogue: {prober: tcp, tcp: {query_response: [{send: HELLO}, {starttls: true}]}}
  ping: {prober: icmp}
  names: {prober: dns, dns: {query_name: example.com}}
  gopher: {prober: gopher}
"""


def moved(text: str) -> Moved:
    """
    The modules of blackbox_exporter in this text.
    """
    made = Moved()
    blackbox.of_blackbox(text, made)
    return made


def test_modules_of_blackbox_exporter() -> None:
    """
    Those that see a certificate; of the others the reason.
    """
    found = moved(MODULES)
    assert {name: module["scheme"] for name, module in found.modules.items()} == {
        "web": "https",
        "mail": "smtp",
        "inbox": "imap",
        "ldap": "tls",
    }
    assert found.modules["web"] == {
        "scheme": "https",
        "timeout": "5s",
        "ca_file": "/etc/ca.pem",
        "server_name": "a.example.com",
        "address_family": "ipv6",
        "addresses": "first",
    }
    assert found.modules["ldap"]["client_certificate"] == {"cert_file": "/c.pem", "key_file": "/c.key"}
    told = "\n".join(found.lines())
    for words in (
        "changes: module web: valid_status_codes: no page is asked for",
        "changes: module web: insecure_skip_verify is not needed",
        "left out: module plain: TCP without TLS",
        "left out: module odd_dialogue: its dialogue",
        "left out: module ping: prober icmp",
        "left out: module names: prober dns",
        "left out: module gopher: prober gopher is not known",
    ):
        assert words in told


@pytest.mark.parametrize(
    ("steps", "scheme"),
    [
        ("{expect: 'OK.*STARTTLS'}, {send: '. STARTTLS'}, {expect: OK}", "imap"),
        ("{send: a1 starttls}, {expect: ^a1 OK}", "imap"),
        ("{expect: ^220}, {send: STARTTLS}, {expect: ^220}", "smtp"),
        ("{expect: ^220, send: STARTTLS}", "smtp"),
        ("{expect: ^220}, {send: HELO x}, {expect: '250'}, {send: STARTTLS}", "smtp"),
        ("{expect: ^220}, {send: AUTH TLS}, {expect: ^234}", "ftp"),
        ("{send: STLS}, {expect: OK}", "pop3"),
        # NNTP, ManageSieve and IRC.
        ("{expect: ^200}, {send: STARTTLS}, {expect: ^382}", None),
        ("{expect: OK}, {send: STARTTLS}, {expect: OK}", None),
        ("{send: STARTTLS}, {expect: ' 670 '}", None),
    ],
)
def test_a_dialogue_is_known_by_what_only_its_protocol_says(steps: str, scheme: str | None) -> None:
    """
    The tag before a command of IMAP; the greeting of SMTP before its bare word.
    """
    text = f"modules: {{m: {{prober: tcp, tcp: {{query_response: [{steps}, {{starttls: true}}]}}}}}}"
    assert moved(text).modules.get("m", {}).get("scheme") == scheme


def test_modules_of_ssl_exporter() -> None:
    """
    TCP is TLS there; files and clusters are kinds of their own.
    """
    made = Moved()
    blackbox.of_ssl_exporter(
        """
modules:
  tcp: {prober: tcp}
  smtp: {prober: tcp, tcp: {starttls: smtp}}
  file: {prober: file, target: /etc/ssl/*.pem}
  secrets: {prober: kubernetes, kubernetes: {kubeconfig: /k}}
""",
        made,
    )
    assert {name: module["scheme"] for name, module in made.modules.items()} == {
        "tcp": "tls",
        "smtp": "smtp",
        "file": "file",
        "secrets": "kubernetes",
    }
    assert made.modules["file"]["target"] == "/etc/ssl/*.pem"
    assert made.modules["secrets"]["kubernetes"] == {"kubeconfig": "/k"}
    told = [line for line in made.changes if "probe.allow must permit what may be read" in line]
    assert len(told) == 1
    assert told[0].startswith("module secrets: ")


USUAL: list[Mapping[str, Any]] = [
    {"source_labels": ["__address__"], "target_label": "__param_target"},
    {"source_labels": ["__param_target"], "target_label": "instance"},
    {"target_label": "__address__", "replacement": "127.0.0.1:9115"},
]


def jobs(*made: Mapping[str, Any]) -> Moved:
    """
    What is taken of jobs, with the modules above, and one file of targets.
    """
    found = moved(MODULES)
    found.taken.clear()
    found.changes.clear()
    found.left.clear()
    text = yaml.safe_dump({"scrape_configs": list(made)})
    prometheus.jobs(text, found, lambda _: [("a.json", '[{"targets": ["h:25"], "labels": {"dc": "1"}}]')])
    return found


def job(module: str, *targets: str, **more: Any) -> dict[str, Any]:
    """
    A job as the documentation of blackbox_exporter has it.
    """
    labels = more.pop("labels", {})
    return {
        "job_name": f"job-{module}",
        "metrics_path": "/probe",
        "params": {"module": [module]},
        "static_configs": [{"targets": list(targets), "labels": labels}],
        "relabel_configs": USUAL,
        **more,
    }


def test_targets_of_jobs_keep_their_labels() -> None:
    """
    With the settings of their module; labels with a meaning here get a name of their own.
    """
    found = jobs(
        job(
            "web",
            "https://a.example.com/page",
            "https://b.example.com:8443",
            labels={"team": "x", "job": "y"},
        ),
        job("mail", file_sd_configs=[{"files": ["a.json"]}]),
    )
    first, second, mail = found.targets
    assert first["url"] == "https://a.example.com"
    assert first["labels"] == {"team": "x", "exported_job": "y"}
    assert (first["timeout"], first["server_name"]) == ("5s", "a.example.com")
    assert second["url"] == "https://b.example.com:8443"
    assert (mail["url"], mail["labels"]) == ("smtp://h:25", {"dc": "1"})
    assert found.left == []
    assert any(
        one.startswith("job job-web: the label job becomes exported_job, as ") for one in found.changes
    )
    assert not any("label team" in one or "label dc" in one for one in found.changes)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (job("ping", "a"), "its module ping is not taken"),
        (job("web", "http://a.example.com:8080"), "is not encrypted"),
        (job("web", "a.example.com:8443"), "is not encrypted"),
        (job("web", "a", consul_sd_configs=[{}]), "consul_sd_configs: who is found there"),
        (
            job("web", "a", relabel_configs=[*USUAL, {"action": "shuffle", "source_labels": ["x"]}]),
            "target a: relabelling can't be followed: shuffle of x: the action is not known",
        ),
        (
            job(
                "web",
                "a",
                relabel_configs=[*USUAL, {"source_labels": ["x"], "regex": r"\pL", "action": "drop"}],
            ),
            "target a: relabelling can't be followed: drop of x: its expression",
        ),
        (job("web", "a", relabel_configs=[]), "its calls name no target"),
        ({"job_name": "node", "static_configs": [{"targets": ["a:9100"]}]}, "it scrapes no prober"),
        ({"job_name": "x", "metrics_path": "/probe"}, "its calls name no target"),
    ],
)
def test_what_can_not_be_followed_is_said(made: Mapping[str, Any], words: str) -> None:
    """
    Never guessed.
    """
    assert any(words in line for line in jobs(made).left)


def test_an_expression_without_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Python tries all ways to take the name apart, where RE2 takes none; what came before it is taken.
    """
    monkeypatch.setattr(prometheus, "_PATIENCE", 0.2)
    step = {
        "source_labels": ["__address__"],
        "regex": r"(([a-zA-Z0-9-]+\.?)+):(\d+)",
        "target_label": "host",
    }
    endless = "shop-frontend-production-eu-central-1.example.com/health"
    found = jobs(
        job("web", "https://a.example.com", endless, "https://b.example.com", relabel_configs=[step, *USUAL]),
        job("web", "https://c.example.com"),
    )
    assert [one["url"] for one in found.targets] == ["https://a.example.com", "https://c.example.com"]
    assert found.left == [
        f"job job-web: target {address}: relabelling can't be followed: "
        "the expressions of the job take too long here"
        for address in (endless, "https://b.example.com")
    ]


def relabelled(*steps: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """
    The usual steps, with others before them.
    """
    return [*steps, *USUAL]


def test_relabelling_is_followed() -> None:
    """
    What it drops is told with the step; targets, modules, labels and names are what it makes of them.
    """
    by_address = {"source_labels": ["__address__"]}
    found = jobs(
        job(
            "web",
            *("https://keep.example.com", "https://drop.example.com"),
            relabel_configs=relabelled({**by_address, "regex": ".*drop.*", "action": "drop"}),
        ),
        job(
            "web",
            "c.example.com;shop",
            relabel_configs=[
                {
                    **by_address,
                    "regex": "(.*);(.*)",
                    "replacement": "https://$1",
                    "target_label": "__param_target",
                },
                {**by_address, "regex": "(.*);(.*)", "replacement": "${2}", "target_label": "instance"},
                USUAL[2],
            ],
        ),
        {
            **job("web", "d:636", labels={"about": "ldap"}),
            "relabel_configs": relabelled({"source_labels": ["about"], "target_label": "__param_module"}),
        },
    )
    assert [(one["url"], one.get("name"), one.get("labels")) for one in found.targets] == [
        ("https://keep.example.com", None, None),
        ("https://c.example.com", "shop", None),
        ("tls://d:636", None, {"about": "ldap"}),
    ]
    told = list(found.lines())
    assert "taken: job job-web: 1 target, module web" in told
    assert (
        "changes: job job-web: not taken, as its relabelling drops them (drop of __address__): "
        "https://drop.example.com"
    ) in told
    assert found.left == []


def test_what_a_job_says_of_its_scrapes_is_told() -> None:
    """
    It stays with Prometheus, and the pace of the probes changes.
    """
    relabel = [{"source_labels": ["__name__"], "regex": "probe_http.*", "action": "drop"}]
    found = jobs(job("web", "https://a", scrape_interval="1h", metric_relabel_configs=relabel))
    told = "\n".join(found.changes)
    assert "job job-web: scrape_interval 1h: targets are probed when Prometheus scrapes" in told
    assert "job job-web: metric_relabel_configs: write them into the job" in told
    assert found.left == []
    assert not any("scrape_interval" in one for one in jobs(job("ping", "a", scrape_interval="1h")).changes)
    probe = Moved()
    prometheus.jobs(PROBE.replace("module:", "interval: 30m\n  module:"), probe, lambda _: [])
    assert any(one.startswith("job probe/shop/pages: scrape_interval 30m: ") for one in probe.changes)


def test_a_share_of_the_targets_is_said_to_be_one() -> None:
    """
    What hashmod leaves to another Prometheus is left out here, and told.
    """
    targets = [f"https://h{number}.example.com" for number in range(8)]
    by_hash = {"source_labels": ["__address__"], "modulus": 2, "target_label": "__tmp", "action": "hashmod"}
    keep = {"source_labels": ["__tmp"], "regex": "0", "action": "keep"}
    found = jobs(job("web", *targets, relabel_configs=relabelled(by_hash, keep)))
    taken = {one["url"] for one in found.targets}
    assert 0 < len(taken) < 8
    (line,) = found.left
    assert "hashmod (keep of __tmp)" in line
    assert all((target in line) == (target not in taken) for target in targets)


def test_pages_without_tls_are_taken_with_it_or_left_and_told() -> None:
    """
    blackbox_exporter asks for them over HTTP, whether they say so or have no scheme.
    """
    found = jobs(
        job("web", "http://a", "b", "c:80/x", "HTTP://d:80", "https://e:8443", "f:8080", "http://g:81")
    )
    assert [one["url"] for one in found.targets] == [
        *("https://a", "https://b", "https://c", "https://d", "https://e:8443"),
    ]
    assert any("taken as https://: http://a, b, c:80/x, HTTP://d:80; remove" in one for one in found.changes)
    assert len(found.left) == 2
    assert all("is not encrypted" in line for line in found.left)


@pytest.mark.parametrize(
    "target", ["http://a", "c:80/x", "HTTP://d:80/", "http://[2001:db8::1]:443", "https://e:1"]
)
def test_a_call_of_probe_means_what_was_taken_over(target: str) -> None:
    """
    One call has one answer.
    """
    (taken,) = jobs(job("web", target)).targets
    assert target_for(Config(), target, None, Call("http_2xx")).url.normal == parsed(taken["url"]).normal


SSL = """default_module: https
modules:
  https: {prober: https}
  file: {prober: file}
  fixed: {prober: file, target: "/etc/{a,b}.pem"}
  kubernetes: {prober: kubernetes}
"""


def test_the_exporter_is_no_target_and_calls_without_a_module_have_one() -> None:
    """
    As the documentation of ssl_exporter has its jobs; braces are written out.
    """
    found = Moved()
    blackbox.of_ssl_exporter(SSL, found)

    def asking(module: str, *targets: str, **more: Any) -> dict[str, Any]:
        params = {"module": [module]} | ({"target": list(targets)} if targets else {})
        static = [{"targets": ["127.0.0.1:9219"], "labels": {"team": "x"}}]
        return {
            "job_name": module,
            "metrics_path": "/probe",
            "params": params,
            "static_configs": static,
            **more,
        }

    nodes = {"static_configs": [], "kubernetes_sd_configs": [{"role": "node"}]}
    usual = job("", "a:443", "http://b")
    del usual["params"]
    domain = {**usual, "job_name": "d", "static_configs": [{"targets": ["example.com"]}]}
    domain["relabel_configs"] = [*USUAL[:2], {"target_label": "__address__", "replacement": "d:9222"}]
    ssl = {**usual, "relabel_configs": [*USUAL[:2], {"target_label": "__address__", "replacement": "s:1"}]}
    two = [{"targets": ["s:9219"], "labels": {"team": "x"}}, {"targets": ["t:9219"], "labels": {"team": "y"}}]
    made = [
        asking("file", "/etc/**/*.{crt,p{em,7b}}"),
        asking("kubernetes", "kube-system/*", static_configs=two),
        asking("fixed"),
    ]
    made += [asking("file", "/k/*.crt", **nodes), ssl, domain]
    prometheus.jobs(yaml.safe_dump({"scrape_configs": made}), found, lambda _: [])
    assert [one["url"] for one in found.targets] == [
        *(
            "file:///etc/**/*.crt",
            "file:///etc/**/*.pem",
            "file:///etc/**/*.p7b",
            "kubernetes://kube-system/*",
        ),
        *("file:///etc/a.pem", "file:///etc/b.pem", "file:///k/*.crt", "https://a:443", "https://b"),
        "domain:example.com",
    ]
    assert found.targets[0]["labels"] == {"team": "x"}
    told = list(found.lines())
    first = "the labels are those of the first exporter"
    nodes_only = "/k/*.crt is on the host of each that kubernetes_sd_configs finds: run this exporter there"
    for line in (
        f"changes: job kubernetes: kube-system/*: {first}, not those of t:9219",
        "taken: job kubernetes: 1 target, module kubernetes",
        "taken: job file: 3 targets, module file",
        "taken: default module https: as probe.default_module",
        f"changes: job file: {nodes_only}",
    ):
        assert line in told
    assert "target" not in found.modules["fixed"]
    assert any("its target /etc/{a,b}.pem: a module has one target here" in line for line in found.left)
    assert any("taken as https://: http://b; remove" in line for line in found.changes)


@pytest.mark.parametrize(
    ("flag", "text", "words"),
    [
        ("blackbox", "scrape_configs: []", "it has no `modules`; it looks like a file for --prometheus"),
        (
            "prometheus",
            MODULES,
            "has no `scrape_configs` or `scrape_config_files`; it looks like a file",
        ),
        ("blackbox", SSL, "it looks like one of ssl_exporter: give it as --ssl-exporter"),
        ("ssl-exporter", MODULES, "it looks like one of blackbox_exporter: give it as --blackbox"),
        ("x509", "domains: [a]", "it looks like a file for --domains"),
        ("domains", "global: {}", "it has no `domains`"),
        ("prometheus", "", "is empty"),
    ],
)
def test_a_file_of_another_kind_is_said_to_be_one(
    flag: str, text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    With the flag that it is for, as far as it shows.
    """
    (tmp_path / "given.yml").write_text(text, encoding="utf-8")
    assert main.main(["migrate", f"--{flag}", str(tmp_path / "given.yml")]) == 2
    out, err = capsys.readouterr()
    assert words in err
    assert not out


def test_where_nothing_is_taken_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    And the exit status says so.
    """
    (tmp_path / "p.yml").write_text("scrape_configs: []", encoding="utf-8")
    made = tmp_path / "expiry.yml"
    assert main.main(["migrate", "--prometheus", str(tmp_path / "p.yml"), "--output-file", str(made)]) == 1
    assert "nothing could be taken" in capsys.readouterr().err
    assert not made.exists()


def test_the_default_module_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    As the reader of the configuration has it; not where its module is refused.
    """
    (tmp_path / "s.yml").write_text(SSL, encoding="utf-8")
    made = tmp_path / "expiry.yml"
    command = ["migrate", "--ssl-exporter", str(tmp_path / "s.yml"), "--output-file", str(made), "--force"]
    main.main(command)
    assert reader.load(str(made), {}).default_module == "https"
    capsys.readouterr()
    wrong = "default_module: a.b\nmodules: {a.b: {prober: tcp, timeout: soon}, c: {prober: tcp}}"
    (tmp_path / "s.yml").write_text(wrong, encoding="utf-8")
    assert main.main(command) == 1
    assert reader.load(str(made), {}).default_module == ""
    told = capsys.readouterr().err
    assert "left out: module a.b: 'soon' is not a duration" in told
    assert "left out: default module a.b: it is not taken" in told
    assert "taken: module a.b" not in told


def test_keys_that_are_passed_over_are_told() -> None:
    """
    Of each section; what is about a page is told once. The header Host names the server, as it did.
    """
    found = moved("""
modules:
  page:
    prober: http
    http:
      headers: {host: vhost.example.com}
      follow_redirects: true
      proxy_url: http://proxy.example.com:3128
      proxy_connect_header: {Proxy-Authorization: [Bearer token]}
      tls_config: {min_version: TLS12}
  queue:
    prober: tcp
    labels: {a: b}
    tcp: {tls: true, query_response: [{send: HELO}], source_ip_address: 127.0.0.1, colour: red}
  resolver:
    prober: dns
    dns: {query_name: example.com, dns_over_tls: true, tls_config: {server_name: dns.example}}
  socket: {prober: websocket}
""")
    assert {name: one["scheme"] for name, one in found.modules.items()} == {
        "page": "https",
        "queue": "tls",
        "resolver": "dot",
    }
    assert found.modules["page"]["server_name"] == "vhost.example.com"
    assert found.modules["resolver"]["server_name"] == "dns.example"
    told = "\n".join(found.lines())
    for words in (
        "changes: module page: headers, follow_redirects: no page is asked for",
        "changes: module page: tls_config.min_version: each version is spoken",
        "left out: module page: proxy_connect_header: a proxy is asked without further headers",
        "changes: module queue: query_response: nothing is said there",
        "left out: module queue: source_ip_address: connections come from the address that the system",
        "left out: module queue: labels, tcp.colour: not known here",
        "changes: module resolver: nothing is looked up",
        "left out: module socket: prober websocket",
    ):
        assert words in told
    assert "Bearer" not in told


def test_pages_that_must_not_have_tls_are_left_out() -> None:
    """
    No other page has its certificate.
    """
    found = moved(
        "modules: {m: {prober: http, http: {fail_if_ssl: true}}, n: {prober: http, http: {fail_if_ssl: no}}}"
    )
    assert list(found.modules) == ["n"]
    assert any(one.startswith("module m: fail_if_ssl: ") for one in found.left)


@pytest.mark.parametrize(
    ("take", "text", "told", "complete"),
    [
        ("telegraf", "interval = '1h'", "changes: interval: targets are probed when Prometheus", True),
        (
            "telegraf",
            "name_override = 'a'\nfieldpass = ['x']",
            "changes: name_override, fieldpass: metrics",
            True,
        ),
        ("telegraf", "insecure_skip_verify = true", "changes: insecure_skip_verify is not needed", True),
        ("telegraf", "tags = {severity = 'page'}", "sources of x509_cert: the label severity becomes", True),
        (
            "x509",
            "prometheusRules: {create: true, warningDaysLeft: 28, criticalDaysLeft: 14}",
            "changes: prometheusRules.warningDaysLeft: 28, prometheusRules.criticalDaysLeft: 14: when",
            True,
        ),
        (
            "x509",
            "exposeRelativeMetrics: true",
            "changes: exposeRelativeMetrics: --metrics.compat=x509",
            True,
        ),
        (
            "arguments",
            "--expose-relative-metrics --watch-file=/a.pem",
            "changes: --expose-relative-metrics: --metrics.compat=x509 has these metrics",
            True,
        ),
        ("arguments", "--trace --watch-file=/a.pem", "left out: --trace: it has no counterpart", False),
    ],
)
def test_what_changes_is_told_and_nothing_else_is_left_out(
    take: str, text: str, told: str, complete: bool
) -> None:
    """
    Settings whose effect is another one here, with what to do.
    """
    found = Moved()
    if take == "telegraf":
        others.telegraf(f"[[inputs.x509_cert]]\nsources = ['https://a']\n{text}\n", found)
    elif take == "x509":
        others.x509(f"{text}\nhostPathsExporter: {{watchFiles: [/a.pem]}}\n", found)
    else:
        others.x509(text, found)
    assert told in "\n".join(found.lines())
    assert (found.left == []) == complete


@pytest.mark.parametrize(
    ("included", "excluded", "seen", "complete"),
    [
        (["a", "b"], ["c"], ["a", "b"], True),
        (["a", "b"], ["b"], ["a"], True),
        (["b"], ["b"], [], True),
        (["a", "b"], ["b*"], ["a"], True),
        ([], ["b"], ["*"], False),
        (["a-*"], ["a-b"], ["a-*"], False),
    ],
)
def test_excluded_namespaces_are_left_out_where_others_are_named(
    included: list[str], excluded: list[str], seen: list[str], complete: bool
) -> None:
    """
    Only behind a pattern they are seen, which is told.
    """
    found = Moved()
    wanted = {"includeNamespaces": included, "excludeNamespaces": excluded}
    others.x509(yaml.safe_dump({"secretsExporter": wanted}), found)
    assert [one["url"] for one in found.targets] == [f"kubernetes://{one}/*" for one in seen]
    assert ("they are seen here" in "".join(found.left)) != complete


def test_a_cluster_is_not_asked_for_its_services() -> None:
    """
    The relabelling of discovered services can't be followed here, and that is said of each way to find them.
    """
    found = jobs(
        {
            "job_name": "services",
            "metrics_path": "/probe",
            "params": {"module": ["web"]},
            "kubernetes_sd_configs": [{"role": "service"}],
            "dns_sd_configs": [{"names": ["example.com"]}],
            "relabel_configs": [
                {"source_labels": ["__meta_kubernetes_service_annotation_probed"], "action": "keep"},
                *USUAL,
                {"action": "labelmap", "regex": "__meta_kubernetes_service_label_(.+)"},
            ],
        }
    )
    assert not found.targets
    assert len(found.left) == 2
    for key in ("kubernetes_sd_configs", "dns_sd_configs"):
        assert any(one.startswith(f"job services: {key}: who is found there") for one in found.left)


def test_telegraf_in_the_forms_of_its_versions() -> None:
    """
    Each scheme of a source; passwords and unknown keys are told.
    """
    made = Moved()
    others.telegraf(
        """
[[inputs.x509_cert]]
  sources = ["tcp://a.example.org:443", "udp://127.0.0.1:4433", "smtp+starttls://b.example.org:587",
    "/etc/ssl/a.pem", "file:///path/to/{a,b} c/*.pem", "jks:///k.jks", "pkcs12:///k.p12", "wincertstore://machine:Root"]
  tls_server_name = "c.example.org"
  password = "secret"
  pad_serial_with_zeroes = true
  use_proxy = true
  proxy_url = "http://localhost:8888"
  interval = "1h"
  minute_of_fame = 3
""",
        made,
    )
    assert [one["url"] for one in made.targets] == [
        *("tls://a.example.org:443", "dtls://127.0.0.1:4433", "smtp://b.example.org:587"),
        *("file:///etc/ssl/a.pem", "file:///path/to/a%20c/*.pem", "file:///path/to/b%20c/*.pem"),
        *("file:///k.jks", "file:///k.p12"),
    ]
    assert made.targets[0]["server_name"] == "c.example.org"
    assert made.targets[0]["proxy"] == "http://localhost:8888"
    told = "\n".join(made.lines())
    assert "left out: password: it is in a file here" in told
    assert "left out: minute_of_fame: not known here" in told
    assert "left out: source wincertstore://machine:Root" in told
    assert "secret" not in told


@pytest.mark.parametrize(
    ("sources", "left"),
    [
        ("['tcp://a:443', ${MORE}] # it's ${A} list", ["${MORE}"]),
        ("${ALL}", ["${ALL}"]),
        ("""["$ONE", 'tcp://a:443', "${TWO:-x}"]""", ["$ONE", "${TWO:-x}"]),
        (
            "['/etc/${NAME}.pem', '${SCHEME}://b:1', 'tcp://${HOST}:1', 'tcp://a:443']",
            ["/etc/${NAME}.pem", "${SCHEME}://b:1", "tcp://${HOST}:1"],
        ),
    ],
)
def test_telegraf_variables_are_told_and_cost_nothing_else(sources: str, left: list[str]) -> None:
    """
    Telegraf puts them in before it reads the file, so that one may be a whole value.
    """
    made = Moved()
    others.telegraf(
        f"[[inputs.x509_cert]]\nsources = {sources}\n[[inputs.x509_cert]]\nsources = ['/b']\n", made
    )
    why = "variables of the environment are not expanded here: write the value itself"
    assert made.left == [f"source {one}: {why}" for one in left]
    assert [one["url"] for one in made.targets] == [*["tls://a:443"][: "tcp://a" in sources], "file:///b"]


def test_values_and_configuration_of_version_4() -> None:
    """
    ConfigMaps, bundles of webhooks, directories with an extension; the chart's values and what they become.
    """
    by_values, by_sources = Moved(), Moved()
    others.x509(
        """
secretsExporter:
  secretTypes:
    - {type: kubernetes.io/tls, key: tls.crt}
    - {type: Opaque, keyPatterns: ['^.*\\.crt$']}
    - {type: Opaque, key: a.p12, format: pkcs12, pkcs12: {passphraseKey: b}}
  configMapKeys: [ca.crt]
  excludeLabels: [a=true]
cabundlesExporter:
  enabled: true
  resources: {mutating: true, validating: true, apiservice: true}
  includeNames: ["cert-manager-*"]
hostPathsExporter:
  watchSpecificExtensionDirectories: [{directory: /etc/pki, extension: crt}]
""",
        by_values,
    )
    others.x509(
        """
sources:
  - kind: kubernetes
    namespaces: {include: ["*"], includeLabels: [watch]}
    secrets:
      types:
        - {type: kubernetes.io/tls}
        - {type: Opaque, keyPatterns: ['x'], pkcs12: {tryEmptyPassphrase: true}}
      excludeLabels: [a=true]
    configMaps: {keyPatterns: ['^ca\\.crt$']}
  - {kind: cabundle, includeNames: ["cert-manager-*"]}
  - {kind: file, paths: [/etc/pki/*.crt]}
  - {kind: floppy, name: old}
""",
        by_sources,
    )
    cluster = {"types": ["kubernetes.io/tls", "Opaque"], "selector": "a!=true"}
    both = [
        {"url": "kubernetes://*/*", "kubernetes": {**cluster, "resources": ["secrets", "configmaps"]}},
        {"url": "kubernetes://*/cert-manager-*", "kubernetes": {"resources": ["webhooks"]}},
        {"url": "file:///etc/pki/*.crt"},
    ]
    assert by_values.targets == by_sources.targets == both
    told = "\n".join([*by_values.lines(), *by_sources.lines()])
    for words in (
        "left out: the password of keystores in Secrets",
        "left out: cabundlesExporter: apiservice: only the bundles of webhooks",
        "left out: source kubernetes: namespaces.includeLabels",
        "left out: source old: its kind floppy is not known here",
    ):
        assert words in told
    text = yaml.safe_dump({"targets": both})
    assert len(reader.parse(text.encode(), "expiry.yml", {}).targets) == 3


def test_calls_for_files_and_secrets_go_on_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Nothing is added to what is written: the call of a job names a target there. Other files stay forbidden.
    """
    (tmp_path / "k").touch()
    cluster = f"{{prober: kubernetes, kubernetes: {{kubeconfig: {tmp_path / 'k'}}}}}"
    text = f"modules: {{file: {{prober: file}}, k8s: {cluster}, kubeconfig: {{prober: kubeconfig}}}}"
    (tmp_path / "s.yml").write_text(text, encoding="utf-8")
    calls = [("file", "/etc/ssl/*.pem"), ("k8s", "prod/*"), ("kubeconfig", "/etc/kubernetes/admin.conf")]
    static = [{"targets": ["ssl:9219"]}]
    made = [
        {
            "job_name": module,
            "metrics_path": "/probe",
            "params": {"module": [module], "target": [target]},
            "static_configs": static,
        }
        for module, target in calls
    ]
    (tmp_path / "p.yml").write_text(yaml.safe_dump({"scrape_configs": made}), encoding="utf-8")
    files = ["--ssl-exporter", str(tmp_path / "s.yml"), "--prometheus", str(tmp_path / "p.yml")]
    assert main.main(["migrate", *files]) == 0
    config = reader.parse(capsys.readouterr().out.encode(), str(tmp_path / "expiry.yml"), {})
    for (module, target), configured in zip(calls, config.targets, strict=True):
        assert target_for(config, target, None, Call(module)) is configured
    with pytest.raises(NotAllowedError):
        target_for(config, "/etc/shadow", None, Call("file"))


def test_domains_sources_and_paths() -> None:
    """
    domain_exporter, telegraf, and x509-certificate-exporter by values and by arguments.
    """
    found = Moved()
    others.domains("domains: [example.com, {name: example.org, host: whois.example.org}]", found)
    others.telegraf(
        """
[[inputs.x509_cert]]
sources = ["tcp://a:636", "https://b:443/", "udp://c:4433", "/etc/ssl/a.pem", "smtp://d:25", "gopher://e"]
timeout = "5s"
server_name = "a.example.com"
[inputs.x509_cert.tags]
team = "x"
""",
        found,
    )
    others.x509(
        "--watch-file=/a.pem --watch-dir /b --watch-kube-secrets --secret-type=kubernetes.io/tls:tls.crt",
        found,
    )
    others.x509(
        """
secretsExporter: {includeNamespaces: [shop]}
hostPathsExporter: {daemonSets: {cp: {watchFiles: [/c.pem], watchKubeconfFiles: [/k.conf]}}}
""",
        found,
    )
    urls = [one["url"] for one in found.targets]
    assert urls == [
        *("domain:example.com", "domain:example.org"),
        *("tls://a:636", "https://b:443", "dtls://c:4433", "file:///etc/ssl/a.pem", "smtp://d:25"),
        *("file:///a.pem", "file:///b/*", "kubernetes://*/*"),
        *("kubernetes://shop/*", "file:///c.pem", "file:///k.conf"),
    ]
    assert any("gopher://e" in line for line in found.left)


@pytest.mark.parametrize(
    ("text", "targets"),
    [
        ("secretsExporter: {enabled: true}", {"kubernetes://*/*": {}}),
        (
            "secretsExporter: {includeNamespaces: [prod, stage]}",
            {"kubernetes://prod/*": {}, "kubernetes://stage/*": {}},
        ),
        (
            (
                "secretsExporter:\n  includeLabels: [a=b, c]\n  excludeLabels: [d=e, f]\n"
                "  secretTypes: [{type: kubernetes.io/tls, key: tls.crt}]\n  excludeNamespaces: [kube-system]"
            ),
            {"kubernetes://*/*": {"types": ["kubernetes.io/tls"], "selector": "a=b,c,d!=e,!f"}},
        ),
        (
            "--debug\n--watch-kube-secrets --kubeconfig /k\n--secret-type=Opaque:k --include-label a=b",
            {"kubernetes://*/*": {"kubeconfig": "/k", "types": ["Opaque"], "selector": "a=b"}},
        ),
        ("secretsExporter: {enabled: false}\nhostPathsExporter: {}", {}),
    ],
)
def test_secrets_of_a_cluster(text: str, targets: dict[str, Any], tmp_path: Path) -> None:
    """
    Each as a pattern that the reader takes, with what narrows it; each of these is told.
    """
    found = Moved()
    others.x509(text, found)
    assert {one["url"]: one.get("kubernetes", {}) for one in found.targets} == targets
    (tmp_path / "values").write_text(text, encoding="utf-8")
    made = tmp_path / "expiry.yml"
    (tmp_path / "k").touch()
    main.main(["migrate", "--x509", str(tmp_path / "values"), "--output-file", str(made)])
    told = "\n".join(found.lines())
    for url, settings in targets.items():
        assert f"taken: Secrets of {url}: 1 target" in told
        assert url in {target.url.text for target in reader.load(str(made), {}).targets}
        if "types" in settings:
            assert f"taken: types of Secrets as kubernetes.types: {settings['types'][0]}" in told
        if "selector" in settings:
            assert f"taken: labels of Secrets as kubernetes.selector: {settings['selector']}" in told
    assert ("left out: excluded namespaces kube-system" in told) == ("kube-system" in text)


@pytest.mark.parametrize("text", ["[1", "- a\n", "modules: {a: [1]}", "a: *b", "\t- x"])
def test_what_is_no_configuration_is_an_error_or_nothing(text: str) -> None:
    """
    Never another exception.
    """
    for take in (blackbox.of_blackbox, others.domains, others.telegraf, others.x509):
        made = Moved()
        try:
            take(text, made)
        except MoveError:
            continue
        assert made.targets == []


def test_the_command_writes_what_loads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    A thousand targets; what the reader would refuse is left out and told; no file is replaced.
    """
    (tmp_path / "blackbox.yml").write_text(MODULES, encoding="utf-8")
    many = [f"https://h{number}.example.com/" for number in range(1000)]
    text = yaml.safe_dump({"scrape_configs": [job("web", *many, "not a host!", "h5.example.com")]})
    (tmp_path / "prometheus.yml").write_text(text, encoding="utf-8")
    made = tmp_path / "expiry.yml"
    command = ["migrate", "--blackbox", str(tmp_path / "blackbox.yml")]
    command += ["--prometheus", str(tmp_path / "prometheus.yml"), "--output-file", str(made)]
    assert main.main(command) == 1
    told = capsys.readouterr().err
    assert "left out: target https://not a host!" in told
    config = reader.load(str(made), {})
    assert len(config.targets) == 1000
    assert config.modules["mail"].scheme == "smtp"
    assert main.main(command) == 1
    assert "--force" in capsys.readouterr().err
    assert main.main(["migrate"]) == 2
    assert main.main(["migrate", "--blackbox", str(tmp_path / "none.yml")]) == 2


PAGE = """\
- job_name: pages
  metrics_path: /probe
  params: {module: [http_2xx]}
  static_configs: [{targets: ["https://a.example.com/x"], labels: {team: x}}]
  relabel_configs:
    - {source_labels: [__address__], target_label: __param_target}
    - {target_label: __address__, replacement: "blackbox:9115"}
"""


def indented(text: str, spaces: int) -> str:
    """
    A text as a block in another one.
    """
    return textwrap.indent(text, " " * spaces)


def of_object(kind: str, spec: str) -> str:
    """
    An object of Kubernetes.
    """
    return f"kind: {kind}\nmetadata: {{name: pages, namespace: shop}}\nspec:\n{indented(spec, 2)}\n"


PROBE = of_object(
    "Probe",
    """\
module: http_2xx
prober: {url: "blackbox.monitoring:9115"}
targets:
  staticConfig:
    static: ["https://a.example.com/x"]
    labels: {team: x, namespace: other}
    relabelingConfigs: [{action: labeldrop, regex: namespace}]
""",
)


@pytest.mark.parametrize(
    "text",
    [
        PAGE,
        f"prometheus:\n  prometheusSpec:\n    additionalScrapeConfigs:\n{indented(PAGE, 6)}",
        f"extraScrapeConfigs: |\n{indented(PAGE, 2)}",
        f"metrics: {{configs: [{{name: a, scrape_configs: {json.dumps(yaml.safe_load(PAGE))}}}]}}",
        f"kind: ConfigMap\ndata:\n  rules.yml: 'x'\n  p.yml: |\n    scrape_configs:\n{indented(PAGE, 6)}",
        f"kind: List\nitems:\n- kind: Secret\n  stringData:\n    more.yaml: |\n{indented(PAGE, 6)}",
        f"kind: Secret\ndata: {{more.yaml: {base64.b64encode(PAGE.encode()).decode()}, key: AP8=}}",
        f"a: 1\n---\n{PROBE}",
        # What kubectl noted about an object is not one more.
        json.dumps({**yaml.safe_load(PROBE), "metadata": {"annotations": {"last": f"{PROBE}\n"}}}),
        of_object(
            "Application", f"source: {{helm: {{values: {json.dumps(f'a: |{chr(10)}{indented(PAGE, 2)}')}}}}}"
        ),
        of_object(
            "VMProbe",
            """\
module: http_2xx
jobName: pages
vmProberSpec: {url: "blackbox:9115"}
targets: {staticConfig: {targets: ["https://a.example.com/x"], labels: {team: x, namespace: ""}}}
""",
        ),
        of_object(
            "ScrapeConfig",
            """\
metricsPath: /probe
params: {module: [http_2xx]}
staticConfigs: [{targets: ["https://a.example.com/x"], labels: {team: x}}]
relabelings: [{sourceLabels: [__address__], targetLabel: __param_target, action: Replace}]
""",
        ),
    ],
)
def test_jobs_are_found_wherever_they_stand(text: str) -> None:
    """
    Alone, in values of charts, in manifests, and as objects that operators make jobs from.
    """
    found = Moved()
    prometheus.jobs(text, found, lambda _: [])
    assert found.targets == [{"url": "https://a.example.com", "labels": {"team": "x"}}]
    assert found.left == []


def test_labels_are_the_text_that_is_written() -> None:
    """
    Not what YAML makes of it in Python; without a value they are not there.
    """
    labels = "{port: 0443, version: 1.10, on: yes, since: 2024-01-01, off: False, empty: '', none: }"
    found = Moved()
    prometheus.jobs(PAGE.replace("{team: x}", labels), found, lambda _: [])
    assert found.targets[0]["labels"] == {
        "port": "0443",
        "version": "1.10",
        "on": "yes",
        "since": "2024-01-01",
        "off": "False",
    }
    for fallback, is_set in (("no", True), ("True", False)):
        http = f"{{preferred_ip_protocol: ip4, ip_protocol_fallback: {fallback}}}"
        made = moved(f"modules: {{m: {{prober: http, http: {http}}}}}")
        assert ("address_family" in made.modules["m"]) is is_set


def test_what_objects_say_beyond_targets() -> None:
    """
    The namespace is a label, as by the operator; what a selector of Ingresses finds is told.
    """
    found = Moved()
    static = "prober: {url: 'b:9115', path: /x/probe}\nparams: [{name: module, values: [tcp]}]\n"
    texts = (
        of_object("Probe", f"{static}targets: {{staticConfig: {{static: ['a:636']}}}}"),
        of_object("Probe", f"{static}targets: {{ingress: {{selector: {{}}}}}}"),
        of_object("ServiceMonitor", "endpoints: [{port: http, path: /metrics}]"),
        of_object("ServiceMonitor", "endpoints: [{path: /probe, params: {module: [tcp], target: ['b:1']}}]"),
    )
    prometheus.jobs("---\n".join(texts), found, lambda _: [])
    assert found.targets == [{"url": "tls://a:636", "labels": {"namespace": "shop"}}, {"url": "tls://b:1"}]
    told = "\n".join(found.lines())
    assert "left out: job probe/shop/pages: kubernetes_sd_configs: who is found there is not known" in told
    assert "left out: job serviceMonitor/shop/pages: it scrapes no prober" in told


FLAGS = (("blackbox", "values"), ("prometheus", "values"), ("prometheus", "more"))


def test_the_values_of_the_chart_are_modules_and_targets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Of blackbox_exporter's chart; each flag may be given more than once.
    """
    (tmp_path / "values.yml").write_text(
        """\
config: {modules: {http_2xx: {prober: http, timeout: 5s}, ldaps: {prober: tcp, tcp: {tls: true}}}}
serviceMonitor:
  targets:
    - {name: shop, url: "https://shop.example.com/health", hostname: front.example.com}
    - {name: ldap, url: "ldap.example.com:636", module: ldaps, additionalMetricsRelabels: {team: x}}
""",
        encoding="utf-8",
    )
    (tmp_path / "more.yml").write_text(PAGE, encoding="utf-8")
    given = [f"--{flag}={tmp_path}/{file}.yml" for flag, file in FLAGS]
    assert main.main(["migrate", *given]) == 0
    config = reader.parse(capsys.readouterr().out.encode(), "expiry.yml", {})
    assert [(one.name, one.url.normal, one.server_name, dict(one.labels)) for one in config.targets] == [
        ("shop", "https://shop.example.com:443", "front.example.com", {}),
        ("ldap", "tls://ldap.example.com:636", None, {"team": "x"}),
        ("https://a.example.com", "https://a.example.com:443", None, {"team": "x"}),
    ]


def test_short_flags_are_those_of_the_long_ones() -> None:
    """
    Their value stands behind them, with a blank or without.
    """
    found = Moved()
    text = "-f /a.pem -f/b.pem -d /c/ -k/d.conf --watch-kube-secrets -s kubernetes.io/tls:tls.crt -p 9793 -v"
    others.x509(text, found)
    assert [one["url"] for one in found.targets] == [
        *("file:///a.pem", "file:///b.pem", "file:///c/*", "file:///d.conf", "kubernetes://*/*"),
    ]
    assert found.targets[-1]["kubernetes"] == {"types": ["kubernetes.io/tls"]}
    assert found.left == ["--port: it has no counterpart here", "--v: it has no counterpart here"]


def test_arguments_are_those_of_its_container() -> None:
    """
    In a manifest; other programs have arguments, too.
    """
    found = Moved()
    containers = [
        {"args": ["--watch-file=/a.pem", "-d", "/b"]},
        {"args": ["--file=/c.pem", "-x"]},
        {"args": "-f"},
    ]
    text = json.dumps({"kind": "DaemonSet", "spec": {"template": {"spec": {"containers": containers}}}})
    others.x509(text, found)
    assert [one["url"] for one in found.targets] == ["file:///a.pem", "file:///b/*"]
    assert found.left == []


# An alias is not looked at once more, however many there are.
ALIASES = "".join(
    f"d{number}: &d{number} [{','.join([f'*d{number - 1}' if number else '1'] * 50)}]\n"
    for number in range(8)
)


@pytest.mark.parametrize(
    "text",
    [
        "kind: ConfigMap\ndata:\n  a.yaml: |\n    domains: [a.example]\n  b: |\n    domains: [\n",
        "release: {values: {config: {domains: [a.example]}}}",
        f"{ALIASES}x: {{domains: [a.example]}}",
    ],
)
def test_other_files_are_found_in_manifests_too(text: str) -> None:
    """
    By the keys that they have.
    """
    found = Moved()
    others.domains(text, found)
    assert [one["url"] for one in found.targets] == ["domain:a.example"]


def test_two_files_of_modules_in_one_manifest_are_both_taken() -> None:
    """
    A name that is there twice is told.
    """
    texts = ("modules: {x: {prober: http}}\n", "modules: {x: {prober: grpc}, 1: {prober: http}}\n")
    found = moved("\n---\n".join(json.dumps({"kind": "ConfigMap", "data": {"a": one}}) for one in texts))
    assert list(found.modules) == ["x", "1"]
    assert found.left == ["module x of blackbox_exporter: there is one of this name already"]


@pytest.mark.no_cover
def test_a_thousand_targets_are_moved_in_two_seconds(tmp_path: Path) -> None:
    """
    Of the processor's time: what else runs here is not counted.
    """
    (tmp_path / "blackbox.yml").write_text(MODULES, encoding="utf-8")
    many = [f"https://h{number}.example.com/" for number in range(1000)]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump({"scrape_configs": [job("web", *many)]}))
    flags = [f"--blackbox={tmp_path}/blackbox.yml", f"--prometheus={tmp_path}/prometheus.yml"]
    began = time.process_time()
    main.main(["migrate", *flags, f"--output-file={tmp_path}/expiry.yml"])
    assert time.process_time() - began < 2
    assert len(reader.load(str(tmp_path / "expiry.yml"), {}).targets) == 1000


def test_targets_of_one_url_have_names_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    As when two jobs give one server other labels.
    """
    one, two = job("web", "https://a", labels={"x": "1"}), job("web", "https://a", labels={"x": "2"})
    (tmp_path / "p.yml").write_text(json.dumps({"scrape_configs": [one, two]}), encoding="utf-8")
    (tmp_path / "b.yml").write_text(MODULES, encoding="utf-8")
    main.main(["migrate", "--blackbox", str(tmp_path / "b.yml"), "--prometheus", str(tmp_path / "p.yml")])
    found = reader.parse(capsys.readouterr().out.encode(), "expiry.yml", {})
    assert [target.name for target in found.targets] == ["https://a", "https://a (2)"]


def test_a_password_in_a_url_is_neither_needed_nor_repeated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The target is taken without it; of one that is left out, it is not shown.
    """
    found = job(
        "web", "https://me:secret@a.example.com/x", "http://me:secret@b.example.com:8443", "x://me:secret@c"
    )
    (tmp_path / "p.yml").write_text(json.dumps({"scrape_configs": [found]}), encoding="utf-8")
    (tmp_path / "b.yml").write_text(MODULES, encoding="utf-8")
    main.main(["migrate", "--blackbox", str(tmp_path / "b.yml"), "--prometheus", str(tmp_path / "p.yml")])
    out, err = capsys.readouterr()
    assert [one.name for one in reader.parse(out.encode(), "expiry.yml", {}).targets] == [
        "https://a.example.com"
    ]
    assert "changes: job job-web: user and password of a URL are left out: a handshake needs none" in err
    assert "left out: job job-web: 'http://...@b.example.com:8443' is not encrypted" in err
    assert "secret" not in out + err
