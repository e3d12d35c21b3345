"""
The rules in a real Prometheus that was away, while the exporter went down.
"""

import time
from pathlib import Path

from exporter.model.policies import DAY, MANUAL
from tests.golden.scenes import seen
from tests.golden.values import Scene, certificate, facts, intermediate, target
from tests.support.exposed import exposed
from tests.support.processes import wait_until
from tests.support.prometheus import prometheus

RULES = Path(__file__).parents[2] / "alerts" / "rules.yml"

PATIENCE = 60.0

LOOKBACK = 8
"""Seconds after which a sample is too old for Prometheus; five minutes if nothing else is said."""


def exposition(now: float, **left: float) -> str:
    """
    Targets whose certificates end in so many days, of an exporter that says who it is.
    """
    scene = Scene()
    for name, days in left.items():
        end = now + days * DAY
        leaf = certificate(name, begin=end - 345 * DAY, end=end)
        scene.see(target(name=name, policy=MANUAL), seen(facts(leaf, intermediate())), at=now)
    return scene.text(at=now) + 'expiry_build_info{version="1.2.3"} 1\n'


def test_what_was_wrong_is_there_when_prometheus_returns_and_the_exporter_is_gone(tmp_path: Path) -> None:
    """
    It fires again, with its words; what was over before does not. The exporter is missed.
    """
    now = time.time()
    texts = [exposition(now, over=-1, late=5, renewed=5)]
    with exposed(lambda: texts[-1]) as address:
        configuration = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [{"job_name": "expiry", "static_configs": [{"targets": [address]}]}],
        }
        flag = f"--query.lookback-delta={LOOKBACK}s"
        firing = 'count by (target) (ALERTS{alertstate="firing",target!=""})'
        with prometheus(tmp_path, configuration, flag) as made:
            made.await_query(firing, lambda found: len(found) == 3)
            texts.append(exposition(now, over=-1, late=5, renewed=300))
            made.await_query(firing, lambda found: len(found) == 2)
    stopped = time.time()
    wait_until(lambda: time.time() > stopped + LOOKBACK, deadline=PATIENCE, what="samples are too old")
    with prometheus(tmp_path, configuration, flag) as made:
        # A rule behind those of problems: they were evaluated before it.
        made.await_query('ALERTS{alertname="ExpiryExporterDown"}')
        assert sorted(one.labels["target"] for one in made.query(firing)) == ["late", "over"]
        told = {
            (one["labels"]["alertname"], one["labels"]["target"]): one["annotations"]
            for one in made.api("alerts")["alerts"]
            if "target" in one["labels"]
        }
        for annotations in told.values():
            assert "This is as last seen" in annotations["description"]
            assert "Where: 192.0.2.10:443" in annotations["description"]
        assert ", as last seen)" in told["ExpiryPassed", "over"]["description"].partition("\n")[0]
        assert ("ExpirySoon", "late") in told
        assert made.own("prometheus_rule_evaluation_failures_total") == 0
