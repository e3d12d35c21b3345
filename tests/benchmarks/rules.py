"""
What the alerting rules cost a real Prometheus: one group over all series of a large fleet.
"""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from tests.benchmarks.fleet import Fleet
from tests.benchmarks.row import Row, Sizes
from tests.golden.scenes import seen
from tests.golden.values import Scene, certificate, facts, intermediate, target
from tests.support.certificates import DAY
from tests.support.exposed import exposed
from tests.support.processes import wait_until
from tests.support.prometheus import prometheus

PATIENCE = 60.0
"""Seconds in which what is waited for has to come true."""

RULES = Path(__file__).parents[2] / "alerts" / "rules.yml"


def exposition(count: int, now: float, *, every: int = 100, left: float = 2) -> str:
    """
    What an exporter tells of so many targets, one of `every` so many with so few days `left`.

    With two days each has two alerts, with fifteen one.
    """
    scene = Scene()
    for number in range(count):
        end = now + (left if number % every == 0 else 60) * DAY
        name = f"host-{number}.example.com"
        leaf = certificate(name, begin=end - 90 * DAY, end=end)
        found = facts(leaf, intermediate(begin=now - 365 * DAY, end=now + 999 * DAY))
        scene.see(target(f"https://{name}", labels=(("team", f"team-{number % 20}"),)), seen(found), at=now)
    # As of an exporter that has run for long: each target was seen often, each certificate renewed once.
    return scene.text(at=now).replace(',unsettled="yes"', "")


def rules(_command: Sequence[str], nginx: Fleet, sizes: Sizes) -> Iterator[Row]:
    """
    Seconds of one evaluation, as Prometheus itself tells them: with few alerts, and with many.

    The exposition is made once by the exporter's own code and served by a small web server: what is
    measured is Prometheus.
    """
    for every, left, at_most in ((100, 15, 0.05), (100, 2, 0.05), (2, 15, 1.0)):
        body = exposition(sizes.fleet, time.time(), every=every, left=left)
        seconds, firing = _evaluation(body, nginx.directory / f"rules-{every}-{left}", sizes)
        what = f"rules over {sizes.fleet} targets, {firing} alerts firing: one evaluation"
        yield Row(what, seconds, "s", at_most=at_most)


def _evaluation(body: str, directory: Path, sizes: Sizes) -> tuple[float, int]:
    """
    Seconds of one evaluation over this exposition, and the number of alerts about targets.
    """
    directory.mkdir()
    with exposed(body) as address:
        configuration = {
            "global": {
                "scrape_interval": f"{sizes.interval}s",
                "evaluation_interval": f"{sizes.interval}s",
            },
            "rule_files": [str(RULES)],
            "scrape_configs": [{"job_name": "expiry", "static_configs": [{"targets": [address]}]}],
        }
        with prometheus(directory, configuration) as made:
            made.await_query("count(expiry_target_info)")
            seconds: list[float] = []
            for _ in range(sizes.evaluations):
                done = made.own("prometheus_rule_evaluations_total")
                wait_until(
                    lambda before=done: made.own("prometheus_rule_evaluations_total") > before + 30,  # type: ignore[misc]
                    deadline=PATIENCE,
                    what="an evaluation",
                )
                seconds.append(made.own("prometheus_rule_group_last_duration_seconds"))
            firing = int(made.query('count(ALERTS{target!=""})')[0].value)
    return median(seconds), firing
