"""
What a page for a person costs: the first one after a scrape, when nothing is known of it yet.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from statistics import median

from exporter.engine.collector import calm_collector
from exporter.engine.scrape import Scrape
from exporter.report.filters import Selection
from exporter.report.inventory import Inventory, Rhythm
from exporter.server.pages import certificates, overview, target
from exporter.server.pages.overview import Situation
from tests.benchmarks.fleet import Fleet
from tests.benchmarks.row import Row, Sizes
from tests.browser.scenes import large
from tests.grafana.worlds import large as shared_certificates
from tests.support.certificates import NOW
from tests.support.pages import scrape

LIMIT = 0.1
"""Seconds of CPU that the status page of a large fleet may take."""

TIMES = 7


def pages(_command: Sequence[str], _nginx: Fleet, sizes: Sizes) -> Iterator[Row]:
    """
    Each page of a scrape that was just made, in this process, with the collector as a server has it.
    """
    fleet = scrape(large(sizes.fleet))
    calm_collector()
    situation = Situation(NOW, Rhythm(NOW - 12, 60))
    of = fleet.targets[-1]
    searched = Selection("host-0011")

    def measured(render: Callable[[Inventory], str], of_fleet: Scrape = fleet) -> float:
        taken = []
        for _ in range(TIMES):
            began = time.process_time()
            render(Inventory(of_fleet))
            taken.append(time.process_time() - began)
        return median(taken)

    what = f"CPU of a page about {sizes.fleet} endpoints"
    lists = {
        "status page": lambda fresh: overview.render(fresh, Selection(), situation, "./", ""),
        "search": lambda fresh: overview.render(fresh, searched, situation, "./", ""),
        "certificates": lambda fresh: certificates.render(fresh, Selection(), situation, "./", ""),
        "a target": lambda fresh: target.render(fresh, of, situation, "../", ""),
    }
    for name, render in lists.items():
        yield Row(f"{what}: {name}", measured(render), "s", at_most=LIMIT if name == "status page" else None)
    # What is in many places is compared with itself.
    shared = measured(lists["status page"], scrape(shared_certificates(sizes.fleet, NOW)))
    yield Row(f"{what}: status page, each certificate at three targets", shared, "s", at_most=LIMIT)
