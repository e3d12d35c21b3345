"""
Three shards of one configuration under one real Prometheus, beside one exporter that has all of it.
"""

import contextlib
import json
import math
import socket
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.cli.serve import shard
from exporter.demo.minter import Minted, root
from tests.benchmarks.fleet import Fleet, fleet, silence
from tests.benchmarks.fleet import configuration as configured
from tests.grafana.written import DASHBOARDS, interpolated, queries
from tests.support import misbehaving
from tests.support.certificates import DAY
from tests.support.processes import wait_until
from tests.support.prometheus import (
    PATIENCE,
    SCRAPE_INTERVAL,
    Listening,
    Prometheus,
    Sample,
    exporter,
    prometheus,
)
from tests.support.readme import REPOSITORY, fenced
from tests.support.servers import Site, nginx

SHARDS = 3

HEALTHY = 30

PROBLEMS = {"late": 5.0, "expired": -1.0}
"""Days that are left, by target."""

CHOSEN = ("late", "expired", "refused", "host-0")
"""The targets that the Target dashboard is asked about."""

OF_THE_LOOK = ("Probe duration", "Age of facts", "last_seen", "probe_duration")
"""What differs between two that look for themselves: words of such queries. Their labels are compared."""


@dataclass(slots=True)
class World:
    """
    All that runs.
    """

    directory: Path
    configuration: Path
    addresses: Path
    """The file in which Prometheus finds the shards."""
    document: dict[str, Any]
    shards: list[Listening]
    whole: Listening
    by_shards: Prometheus
    by_one: Prometheus

    def reload(self, targets: Sequence[Mapping[str, Any]]) -> None:
        """
        Give these targets to all exporters.
        """
        text = yaml.safe_dump({**self.document, "targets": list(targets)})
        self.configuration.write_text(text, encoding="utf-8")
        for one in (*self.shards, self.whole):
            assert one.ask("POST", "/-/reload")[0] == 200


def start(world_directory: Path, configuration: Path, index: int, total: int) -> Any:
    """
    One shard, which keeps its state in a file of its own.
    """
    return exporter(
        configuration,
        "--web.enable-lifecycle",
        f"--shard.index={index}",
        f"--shard.total={total}",
        f"--state.path={world_directory}/state-{index}-{total}.sqlite",
    )


def tell(file: Path, exporters: Sequence[Listening]) -> None:
    """
    Let Prometheus scrape these: it watches the file.
    """
    written = file.with_suffix(".next")
    written.write_text(json.dumps([{"targets": [one.address for one in exporters]}]), encoding="utf-8")
    written.rename(file)


def collecting(directory: Path, file: Path) -> contextlib.AbstractContextManager[Prometheus]:
    """
    A Prometheus with our rules that scrapes what the file says, all under one job.
    """
    directory.mkdir()
    configuration = {
        "global": {"scrape_interval": SCRAPE_INTERVAL, "evaluation_interval": SCRAPE_INTERVAL},
        "rule_files": [str(REPOSITORY / "alerts" / "rules.yml")],
        "scrape_configs": [{"job_name": "expiry", "file_sd_configs": [{"files": [str(file)]}]}],
    }
    return prometheus(directory, configuration)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """
    Servers, three shards and one exporter of the same targets, and a Prometheus for each of the two.
    """
    directory = tmp_path_factory.mktemp("shards")
    now = float(round(time.time()))
    above = root("Test Root", not_before=now - 900 * DAY, not_after=now + 900 * DAY)
    leaves = {f"host-{number}": leaf(above, f"host-{number}", now + 60 * DAY) for number in range(HEALTHY)}
    leaves |= {name: leaf(above, name, now + left * DAY) for name, left in PROBLEMS.items()}
    # Two certificates for the same name, in two shards.
    leaves |= {"old": leaf(above, "both", now + 5 * DAY), "new": leaf(above, "both", now + 80 * DAY)}
    (directory / "root.pem").write_bytes(above.pem)
    with contextlib.ExitStack() as stack:
        sites = [Site([one.chain], name=f"{name}.example.com") for name, one in leaves.items()]
        (directory / "nginx").mkdir()
        server = stack.enter_context(nginx(directory / "nginx", *sites))
        entries = [
            {"url": f"tls://{server.authority}", "name": name, "server_name": f"{name}.example.com"}
            for name in leaves
            if name not in ("old", "new")
        ]
        refusing = stack.enter_context(misbehaving.refusing())
        entries.append({"url": f"tls://127.0.0.1:{refusing}", "name": "refused"})
        defaults = {"ca_file": "root.pem", "timeout": "2s", "labels": {"team": "shop"}}
        document = {"defaults": defaults, "targets": entries}
        configuration = directory / "expiry.yml"
        configuration.write_text(yaml.safe_dump(document), encoding="utf-8")
        flags = ("--web.enable-lifecycle", f"--state.path={directory}/state.sqlite")
        whole = stack.enter_context(exporter(configuration, *flags))
        shards = [
            stack.enter_context(start(directory, configuration, index, SHARDS)) for index in range(SHARDS)
        ]
        one_file, shards_file = directory / "one.json", directory / "shards.json"
        tell(one_file, [whole])
        tell(shards_file, shards)
        by_shards = stack.enter_context(collecting(directory / "by-shards", shards_file))
        by_one = stack.enter_context(collecting(directory / "by-one", one_file))
        yield World(directory, configuration, shards_file, document, shards, whole, by_shards, by_one)


def leaf(above: Minted, name: str, end: float) -> Minted:
    """
    A certificate of ninety days that ends then.
    """
    host = f"{name}.example.com"
    return above.issue(host, [host], not_before=end - 90 * DAY, not_after=end)


def names(world: World) -> list[str]:
    """
    All configured targets.
    """
    return sorted(str(one["name"]) for one in world.document["targets"])


def settled(world: World) -> None:
    """
    Return when both have all targets and the same alerts.
    """
    for one in (world.by_shards, world.by_one):
        one.await_query("expiry_target_info", lambda found: len(found) == HEALTHY + len(PROBLEMS) + 1)
        one.await_query("expiry_probe_success", lambda found: len(found) == HEALTHY + len(PROBLEMS) + 1)
        one.await_query('ALERTS{alertstate="firing",target!=""}', lambda found: len(found) >= len(PROBLEMS))


def test_every_target_is_there_exactly_once(world: World) -> None:
    """
    Whatever there is of a target is told by one shard, the same for all of it, and each shard has some.
    """
    settled(world)
    found = world.by_shards.query("count by (target, instance) ({target!='', job='expiry'})")

    assert sorted(one.labels["target"] for one in found) == names(world)
    assert {one.labels["instance"] for one in found} == {one.address for one in world.shards}
    assert sum(one.value for one in world.by_shards.query("expiry_sweep_targets")) == len(names(world))


def answers(of: Prometheus, expression: str, at: str) -> dict[frozenset[tuple[str, str]], float]:
    """
    Values at this time by their labels, without those that say which exporter told it.
    """
    result = of.api("query", query=expression, time=at)["result"]
    found = {
        frozenset((key, value) for key, value in one["metric"].items() if key != "instance"): float(
            one["value"][1]
        )
        for one in result
    }
    # No two series of different exporters are one.
    assert len(found) == len(result), expression
    return found


def assert_same(world: World, expression: str, *, values: bool) -> None:
    """
    Both answer alike: the same series, and the same values but for the seconds between two looks.
    """
    at = str(time.time())
    ours, theirs = (answers(one, expression, at) for one in (world.by_shards, world.by_one))
    assert ours.keys() == theirs.keys(), expression
    if values:
        different = {
            labels: (value, theirs[labels])
            for labels, value in ours.items()
            if not math.isclose(value, theirs[labels], rel_tol=1e-7, abs_tol=0.01)
        }
        assert not different, expression


def test_the_dashboards_have_the_same_answers(world: World) -> None:
    """
    Each query of the dashboards of a fleet and of a target; the one of exporters is about each by itself.
    """
    settled(world)
    asked = Counter[str]()
    for name in ("fleet", "target"):
        for query in queries(name):
            if query.dashboard == "fleet" and query.panel == "Exporters":
                continue
            for target in CHOSEN if name == "target" else CHOSEN[:1]:
                expression = interpolated(query.expression, DASHBOARDS[name], {"target": target})
                about_looks = any(word in expression or word in query.panel for word in OF_THE_LOOK)
                assert_same(world, expression, values=not about_looks)
                asked[name] += 1

    assert asked["fleet"] > 20
    assert asked["target"] > 80
