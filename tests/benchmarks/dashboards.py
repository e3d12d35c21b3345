"""
What the dashboards cost a real Prometheus: every query over a large fleet.
"""

import time
from collections.abc import Iterator, Sequence

from tests.benchmarks.fleet import Fleet
from tests.benchmarks.row import Row, Sizes
from tests.grafana.worlds import mostly_well, text
from tests.grafana.written import DASHBOARDS, Query, interpolated, queries
from tests.support.exposed import exposed
from tests.support.processes import wait_until
from tests.support.prometheus import Prometheus, prometheus

SCRAPES = 4

PATIENCE = 80.0
"""Seconds in which the fleet has to have been scraped."""

UNWELL = 100
"""Targets with a problem."""

TARGET = "https://host-3.example.com"
"""The target that the Target dashboard shows."""


def dashboards(_command: Sequence[str], nginx: Fleet, sizes: Sizes) -> Iterator[Row]:
    """
    Seconds of the slowest query of each dashboard, the best of some tries.

    A graph has as many points as in Grafana, but over the seconds that were scraped: what counts is the
    number of points that have data.
    """
    now = time.time()
    with exposed(text(mostly_well(sizes.fleet, now, UNWELL), now)) as address:
        configuration = {
            "global": {"scrape_interval": f"{sizes.interval}s"},
            "scrape_configs": [{"job_name": "expiry", "static_configs": [{"targets": [address]}]}],
        }
        with prometheus(nginx.directory, configuration) as made:
            wait_until(
                lambda: sum(one.value for one in made.query("count_over_time(up[1h])")) >= SCRAPES,
                deadline=PATIENCE,
                what="the fleet is scraped some times",
            )
            begin = min(one.value for one in made.query("min_over_time(timestamp(up)[1h:1s])"))
            for name in DASHBOARDS:
                # The slowest first; its time says nothing about others, so the name stands in the table.
                seconds, slowest = max(
                    (min(_seconds(made, query, begin) for _ in range(sizes.repeats)), str(query))
                    for query in queries(name)
                )
                fleet = f"{sizes.fleet} targets, {UNWELL} with problems"
                what = f"dashboards over {fleet}, the slowest query: {slowest}"
                yield Row(what, seconds, "s", at_most=0.3)


def _seconds(made: Prometheus, query: Query, begin: float) -> float:
    """
    How long Prometheus takes for a query as a panel asks it.
    """
    expression = interpolated(query.expression, DASHBOARDS[query.dashboard], {"target": TARGET})
    started = time.perf_counter()
    if query.instant:
        made.query(expression)
    else:
        end = time.time()
        step = (end - begin) / query.points
        made.api("query_range", query=expression, start=str(begin), end=str(end), step=f"{step:.3f}")
    return time.perf_counter() - started
