"""
The rules in a real Prometheus, with the labels that the Prometheus Operator and rulers over clusters set.
"""

import json
import re
import time
from pathlib import Path

import pytest

from exporter.model.policies import DAY, MANUAL
from exporter.model.reasons import Fault, Reason
from tests.golden.scenes import failed, seen
from tests.golden.values import Scene, certificate, facts, intermediate, target
from tests.support.exposed import exposed
from tests.support.processes import free_port, listening, running, wait_until
from tests.support.prometheus import Listening, Prometheus, prometheus

RULES = Path(__file__).parents[2] / "alerts" / "rules.yml"

PATIENCE = 60.0

OPERATOR = {
    "endpoint": "http-metrics",
    "service": "expiry-exporter",
    "namespace": "monitoring",
    "pod": "expiry-exporter-0",
    "container": "expiry-exporter",
}
"""What a ServiceMonitor adds to each series."""

CLUSTER = {"cluster": "eu (c++)"}
"""What a ruler over several clusters adds; a name may have marks of a pattern in it."""

EXPECTED = {
    ("ExpiryRenewalOverdue", "warning", "late"),
    ("ExpirySoon", "warning", "by-hand"),
    ("ExpiryNotTrusted", "critical", "refused"),
    ("ExpiryPassed", "critical", "over"),
}
"""Of each sort one, both severities among them, without those that must last first."""


def exposition(now: float) -> str:
    """
    A fleet in which something of each sort is wrong.
    """
    scene = Scene()
    for name, left in {"late": 20 * DAY, "over": -DAY, "fine": 75 * DAY}.items():
        leaf = certificate(name, begin=now + left - 90 * DAY, end=now + left)
        scene.see(target(name=name, labels=(("service", "lms"),)), seen(facts(leaf, intermediate())), at=now)
    scene.see(
        target(name="by-hand", policy=MANUAL, labels=(("service", "lms"),)),
        seen(facts(certificate("by-hand", begin=now - 345 * DAY, end=now + 10 * DAY), intermediate())),
        at=now,
    )
    refused = target(name="refused", labels=(("service", "lms"),))
    scene.see(refused, seen(facts(certificate("refused", end=now + 75 * DAY), intermediate())), at=now)
    scene.memory.known(refused).endpoints["192.0.2.10:443"].past.trusted_at = now - DAY
    scene.see(
        refused,
        seen(facts(certificate("refused", end=now + 75 * DAY), intermediate())),
        found=[Fault.NAME_MISMATCH],
        at=now,
    )
    scene.see(target(name="gone", labels=(("service", "lms"),)), failed(Reason.DNS_NOT_FOUND), at=now)
    return scene.text(at=now)


def firing(made: Prometheus, matcher: str = "") -> set[tuple[str, str, str]]:
    """
    Name, severity and target of each alert that fires and has this label.
    """
    return {
        (one.labels["alertname"], one.labels["severity"], one.labels["target"])
        for one in made.query(f'ALERTS{{alertstate="firing",target!="",{matcher}}}')
    }


@pytest.mark.parametrize("honor", [True, False])
@pytest.mark.parametrize("extra", [{}, OPERATOR, CLUSTER], ids=["plain", "operator", "cluster"])
def test_alerts_are_the_same_whatever_labels_a_scrape_adds(
    tmp_path: Path, extra: dict[str, str], honor: bool
) -> None:
    """
    No rule fails, the same alerts fire, and the user's own label `service` is on them under the name it got.
    """
    with exposed(exposition(time.time())) as address:
        configuration = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [
                {
                    "job_name": "expiry",
                    "honor_labels": honor,
                    "static_configs": [{"targets": [address], "labels": extra}],
                }
            ],
        }
        with prometheus(tmp_path, configuration) as made:
            wait_until(lambda: firing(made) >= EXPECTED, deadline=PATIENCE, what="the alerts fire")
            assert made.own("prometheus_rule_evaluation_failures_total") == 0
            label = "exported_service" if "service" in extra and not honor else "service"
            found = made.query('ALERTS{alertname="ExpiryPassed"}')
            assert [one.labels[label] for one in found] == ["lms"]
            assert [one.labels.get("cluster") for one in found] == [extra.get("cluster")]
            for one in made.api("alerts")["alerts"]:
                assert "target" not in one["labels"] or "Where: " in one["annotations"]["description"]


@pytest.mark.parametrize("label", ["cluster", "region"])
def test_what_is_wrong_in_a_cluster_stays_while_its_exporter_is_down(tmp_path: Path, label: str) -> None:
    """
    Though one with the same job, instance and targets answers in another, whatever the label is called.
    """
    rules = tmp_path / "rules.yml"
    rules.write_text(re.sub(r"\bcluster\b", label, RULES.read_text(encoding="utf-8")), encoding="utf-8")
    texts = [exposition(time.time()) + 'expiry_build_info{version="1.2.3"} 1\n']
    # Prometheus takes a page like this for no answer.
    with exposed(texts[0]) as east, exposed(lambda: texts[-1]) as west:
        jobs = [
            {"targets": [address], "labels": {label: name, "instance": "expiry-exporter:10119"}}
            for name, address in (("east", east), ("west", west))
        ]
        configuration = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules)],
            "scrape_configs": [{"job_name": "expiry", "static_configs": jobs}],
        }
        with prometheus(tmp_path, configuration) as made:
            wait_until(
                lambda: all(firing(made, f'{label}="{one}"') >= EXPECTED for one in ("east", "west")),
                deadline=PATIENCE,
                what="the alerts of both fire",
            )
            texts.append("<!DOCTYPE html>")
            # A rule behind those of problems: they were evaluated before it.
            made.await_query(f'ALERTS{{alertname="ExpiryExporterDown",{label}="west"}}')
            assert firing(made, f'{label}="west"') >= EXPECTED
            assert firing(made, f'{label}="east"') >= EXPECTED
            assert made.own("prometheus_rule_evaluation_failures_total") == 0


def told(vmalert: Listening) -> dict[tuple[str, str, str], str]:
    """
    By name, severity and target of each alert about a target that fires, its description.
    """
    _, _, body = vmalert.ask("GET", "/api/v1/alerts")
    return {
        (of["alertname"], of["severity"], of["target"]): one["annotations"]["description"]
        for one in json.loads(body)["data"]["alerts"] or ()
        if one["state"] == "firing" and "target" in (of := one["labels"])
    }


@pytest.mark.parametrize(
    ("extra", "flags", "label"),
    [
        ({}, [], "cluster"),
        (CLUSTER, [], "cluster"),
        ({}, ["-external.label=region=eu"], "cluster"),
        ({}, ["-external.label=cluster=eu"], "scraped_cluster"),
    ],
    ids=["plain", "cluster", "external label", "external cluster"],
)
def test_vmalert_tells_the_same(tmp_path: Path, extra: dict[str, str], flags: list[str], label: str) -> None:
    """
    It evaluates all rules itself, over what a Prometheus without rules scraped, and records there.

    `label` is by what the rules tell clusters apart.
    """
    rules = tmp_path / "rules.yml"
    rules.write_text(re.sub(r"\bcluster\b", label, RULES.read_text(encoding="utf-8")), encoding="utf-8")
    with exposed(exposition(time.time()) + 'expiry_build_info{version="1.2.3"} 1\n') as address:
        configuration = {
            "global": {"scrape_interval": "1s"},
            "scrape_configs": [
                {"job_name": "expiry", "static_configs": [{"targets": [address], "labels": extra}]}
            ],
        }
        with prometheus(tmp_path, configuration, "--web.enable-remote-write-receiver") as made:
            port, there = free_port(), f"http://{made.address}"
            command = ["vmalert", f"-rule={rules}", f"-datasource.url={there}", f"-remoteWrite.url={there}"]
            command += ["-evaluationInterval=1s", "-remoteWrite.flushInterval=200ms"]
            # Nobody listens there: what it would send is asked of it.
            command += [f"-httpListenAddr=127.0.0.1:{port}", f"-notifier.url=http://127.0.0.1:{free_port()}"]
            command += flags
            with running(command, ready=listening(port)) as process:
                vmalert = Listening(port, process)
                wait_until(
                    lambda: told(vmalert).keys() >= EXPECTED, deadline=PATIENCE, what="all alerts fire"
                )
                for said in told(vmalert).values():
                    assert "Where: " in said
                    assert f"More: http://{address}/targets/" in said
                # It would fire five minutes later.
                assert "ExpiryExporterDown" not in vmalert.ask("GET", "/api/v1/alerts")[2]


def test_vmalert_tells_the_same_over_victoriametrics(tmp_path: Path) -> None:
    """
    It scrapes, answers the queries of rules and annotations in its own dialect, and keeps what they record.
    """
    with exposed(exposition(time.time()) + 'expiry_build_info{version="1.2.3"} 1\n') as address:
        scrape = {
            "global": {"scrape_interval": "1s"},
            "scrape_configs": [{"job_name": "expiry", "static_configs": [{"targets": [address]}]}],
        }
        file = tmp_path / "scrape.yml"
        file.write_text(json.dumps(scrape), encoding="utf-8")
        stored, port = free_port(), free_port()
        there = f"http://127.0.0.1:{stored}"
        storage = ["victoria-metrics", f"-storageDataPath={tmp_path / 'data'}", f"-promscrape.config={file}"]
        # What it scraped and what was recorded would else be seen half a minute later.
        storage += [f"-httpListenAddr=127.0.0.1:{stored}", "-search.latencyOffset=1s"]
        command = ["vmalert", f"-rule={RULES}", f"-datasource.url={there}", f"-remoteWrite.url={there}"]
        command += ["-evaluationInterval=1s", "-remoteWrite.flushInterval=200ms"]
        command += [f"-httpListenAddr=127.0.0.1:{port}", f"-notifier.url=http://127.0.0.1:{free_port()}"]
        with running(storage, ready=listening(stored)), running(command, ready=listening(port)) as process:
            vmalert = Listening(port, process)
            wait_until(lambda: told(vmalert).keys() >= EXPECTED, deadline=PATIENCE, what="all alerts fire")
            for said in told(vmalert).values():
                assert "Where: " in said
                assert f"More: http://{address}/targets/" in said
            # It would fire five minutes later.
            assert "ExpiryExporterDown" not in vmalert.ask("GET", "/api/v1/alerts")[2]
            assert not re.search(
                r"^vmalert_\w+_rules_error\{.*\} 1$", vmalert.ask("GET", "/metrics")[2], re.MULTILINE
            )


def test_a_rule_that_fails_in_vmalert_is_told(tmp_path: Path) -> None:
    """
    By its own metrics, which are scraped beside the exporter.
    """
    rules = tmp_path / "rules.yml"
    text, broken = RULES.read_text(encoding="utf-8"), "      - {record: broken, expr: up * on () up}\n"
    rules.write_text(text.replace("    rules:\n", f"    rules:\n{broken}", 1), encoding="utf-8")
    port, datasource = free_port(), "http://127.0.0.1:"
    with exposed(exposition(time.time())) as address:
        configuration = {
            "global": {"scrape_interval": "1s"},
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": [one]}]}
                for job, one in (("expiry", address), ("vmalert", f"127.0.0.1:{port}"))
            ],
        }
        with prometheus(tmp_path, configuration, "--web.enable-remote-write-receiver") as made:
            datasource += str(made.port)
            command = ["vmalert", f"-rule={rules}", f"-datasource.url={datasource}", "-evaluationInterval=1s"]
            command += [f"-remoteWrite.url={datasource}", f"-httpListenAddr=127.0.0.1:{port}"]
            command += [f"-notifier.url=http://127.0.0.1:{free_port()}"]
            with running(command, ready=listening(port)):
                made.await_query('ALERTS{alertname="ExpiryRulesFailing",job="vmalert",alertstate="firing"}')
