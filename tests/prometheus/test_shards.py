"""
Three shards of one configuration under one real Prometheus, beside one exporter that has all of it.
"""

import contextlib
import json
import math
import re
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
    exporter,
    prometheus,
)
from tests.support.readme import REPOSITORY, fenced
from tests.support.servers import Site, nginx

SHARDS = 3

HEALTHY = 30

PROBLEMS = {"late": 5.0, "expired": -1.0}
"""Days that are left, by target."""

PAIR = {"old": 5.0, "new": 80.0}
"""The same of two that have one name, and are targets in one test only."""

CHOSEN = ("late", "expired", "refused", "host-0")
"""The targets that the Target dashboard is asked about."""

OF_THE_LOOK = ("Probe duration", "Age of the data", "last_seen", "probe_duration")
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


def told(one: Listening, metric: str) -> list[str]:
    """
    The targets that an exporter has a series of this metric for.
    """
    _, _, text = one.ask("GET", "/metrics")
    return re.findall(rf'^{metric}\{{(?:[^}}]*,)?target="([^"]+)"', text, re.MULTILINE)


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
    # Two certificates for the same names.
    leaves |= {name: leaf(above, "old", now + left * DAY, "new") for name, left in PAIR.items()}
    (directory / "root.pem").write_bytes(above.pem)
    with contextlib.ExitStack() as stack:
        sites = [Site([one.chain], name=f"{name}.example.com") for name, one in leaves.items()]
        (directory / "nginx").mkdir()
        server = stack.enter_context(nginx(directory / "nginx", *sites))
        entries = [
            {"url": f"tls://{server.authority}", "name": name, "server_name": f"{name}.example.com"}
            for name in leaves
            if name not in PAIR
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


def leaf(above: Minted, name: str, end: float, *more: str) -> Minted:
    """
    A certificate of ninety days that ends then, for these hosts of example.com.
    """
    hosts = [f"{one}.example.com" for one in (name, *more)]
    return above.issue(hosts[0], hosts, not_before=end - 90 * DAY, not_after=end)


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
    assert [one.value for one in world.by_shards.query("expiry_shard_ratio")] == [1 / SHARDS] * SHARDS
    assert [one.value for one in world.by_one.query("expiry_shard_ratio")] == [1]


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
    Both answer alike: the same series, and the same values but for the time between two looks. What a second
    look tells more is waited for.
    """
    found: list[dict[frozenset[tuple[str, str]], float]] = []

    def same() -> bool:
        at = str(time.time())
        found[:] = (answers(one, expression, at) for one in (world.by_shards, world.by_one))
        ours, theirs = found
        return ours.keys() == theirs.keys() and not (
            values
            and any(
                not math.isclose(value, theirs[labels], rel_tol=1e-7, abs_tol=0.01)
                for labels, value in ours.items()
            )
        )

    try:
        wait_until(same, deadline=PATIENCE, what=f"the same answer to {expression}")
    except TimeoutError as error:
        ours, theirs = (set(one.items()) for one in found)
        error.add_note(f"only of the shards: {ours - theirs}\nonly of the one exporter: {theirs - ours}")
        raise


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


def test_the_rules_give_the_same_alerts(world: World) -> None:
    """
    What fires and what the rules carry on are the same, with one alert for a problem.
    """
    settled(world)

    assert_same(world, 'ALERTS{target!=""}', values=True)
    assert_same(world, "expiry:problem:end_timestamp_seconds", values=True)
    firing = world.by_shards.query('ALERTS{alertstate="firing",target!=""}')
    assert {one.labels["target"] for one in firing} >= set(PROBLEMS)
    assert {one.labels.get("instance") for one in firing} == {None}


def of_shards(total: int) -> dict[bool, list[str]]:
    """
    Two names of targets in different shards (True), and in the same one (False).
    """
    first = "old"
    others = [f"new-{number}" for number in range(20)]
    return {
        apart: [first, next(one for one in others if (shard(one, total) != shard(first, total)) is apart)]
        for apart in (True, False)
    }


def test_a_renewal_is_known_within_a_shard_and_found_in_prometheus_across(world: World) -> None:
    """
    An old and a new certificate for one name. In one shard the old one is `not_deployed`; in two it is as
    late as without the new one, and the manual's query finds the new one.
    """
    (query,) = (one for one in fenced("promql") if "group_right" in one)
    server = world.document["targets"][0]["url"]
    problem = 'expiry_problem_info{target="old",hidden_by=""}'
    for apart, (old, new) in of_shards(SHARDS).items():
        pair = [
            {"url": server, "name": name, "server_name": f"{host}.example.com"}
            for name, host in zip((old, new), PAIR, strict=True)
        ]
        world.reload([*world.document["targets"], *pair])
        try:
            alone = world.by_one.await_query(problem)
            ours = world.by_shards.await_query(problem)
            assert [one.labels["problem"] for one in alone] == ["not_deployed"]
            assert [one.labels["problem"] for one in ours] == ["soon" if apart else "not_deployed"]
            for one in (world.by_shards, world.by_one):
                found = one.await_query(query)
                assert [sample.labels["target"] for sample in found] == ["old"]
        finally:
            world.reload(world.document["targets"])
            for one in (world.by_shards, world.by_one):
                one.await_query('expiry_target_info{target="old"}', lambda found: not found, "it is gone")


def test_one_certificate_on_many_targets_is_found_across_shards(world: World) -> None:
    """
    The dashboard of a target names the others that serve the same certificate, whoever probes them; and what
    Alertmanager groups alerts by is equal, so that they are one notification.
    """
    (query,) = (one for one in queries("target") if one.panel == "Targets with the same certificate")
    expired = next(one for one in world.document["targets"] if one["name"] == "expired")
    other = next(
        name
        for name in (f"expired-{number}" for number in range(20))
        if shard(name, SHARDS) != shard("expired", SHARDS)
    )
    world.reload([*world.document["targets"], {**expired, "name": other}])
    try:
        expression = interpolated(query.expression, DASHBOARDS["target"], {"target": "expired"})
        found = world.by_shards.await_query(expression)
        assert [one.labels["target"] for one in found] == [other]
        world.by_shards.await_query(
            'count by (fingerprint_sha256) (ALERTS{alertname="ExpiryPassed"})',
            lambda found: [one.value for one in found] == [2.0],
        )
    finally:
        world.reload(world.document["targets"])
        world.by_shards.await_query(
            f'expiry_target_info{{target="{other}"}}', lambda found: not found, "it is gone"
        )


def test_a_fourth_shard_takes_its_share_and_alerts_stay(world: World) -> None:
    """
    It gets its targets from the others, and nothing moves between these. Every target is there once again,
    and no alert is lost on the way.
    """
    settled(world)
    before = {
        name: index for index, one in enumerate(world.shards) for name in told(one, "expiry_target_info")
    }
    assert sorted(before) == names(world)
    firing = 'count(ALERTS{alertname=~"ExpiryPassed|ExpirySoon",alertstate="firing"})'
    world.by_shards.await_query(firing, lambda found: [one.value for one in found] == [3.0])
    begun = time.time()
    with contextlib.ExitStack() as stack:
        total = SHARDS + 1
        more = [
            stack.enter_context(start(world.directory, world.configuration, index, total))
            for index in range(total)
        ]
        tell(world.addresses, more)
        addresses = {one.address for one in more}
        found = world.by_shards.await_query(
            "count by (target, instance) (expiry_probe_success)",
            lambda found: {one.labels["instance"] for one in found} == addresses,
        )
        after = {name: index for index, one in enumerate(more) for name in told(one, "expiry_target_info")}
        assert sorted(one.labels["target"] for one in found) == sorted(after) == names(world)
        moved = {name for name in before if before[name] != after[name]}
        assert {after[name] for name in moved} == {SHARDS}
        assert 0 < len(moved) < 2 * len(before) / total

        at_each_second = world.by_shards.api(
            "query_range", query=firing, start=str(begun), end=str(time.time()), step="1"
        )["result"]
        # Each that is over or near is there all the time.
        assert {value for _, value in at_each_second[0]["values"]} == {"3"}
        tell(world.addresses, world.shards)


@dataclass(frozen=True, slots=True)
class Counted:
    """
    A server that counts connections, and an exporter with targets there and one silent one.
    """

    server: Fleet
    exporter: Listening


@contextlib.contextmanager
def counted(directory: Path, interval: str) -> Iterator[Counted]:
    """
    An nginx and an exporter of so many targets there, probed no more often than the interval says.
    """
    with fleet(directory) as server, silence() as silent:
        path = configured(directory, server.endpoints(HEALTHY), server.ca_file)
        document = json.loads(path.read_text(encoding="utf-8"))
        document["targets"].append({"url": f"tls://127.0.0.1:{silent}", "name": "silent", "timeout": "2s"})
        path.write_text(json.dumps({**document, "defaults": {"interval": interval}}), encoding="utf-8")
        with exporter(path, "--state.path=none") as ours:
            yield Counted(server, ours)


def test_two_scrapes_at_once_are_one_sweep(tmp_path: Path) -> None:
    """
    Two replicas whose scrapes overlap: the server sees one connection of each target, and both have all.
    """
    with counted(tmp_path, "none") as it:
        before = it.server.accepted()
        request = (
            f"GET /metrics HTTP/1.1\r\nHost: {it.exporter.address}\r\n"
            "X-Prometheus-Scrape-Timeout-Seconds: 10\r\nConnection: close\r\n\r\n"
        )
        with contextlib.ExitStack() as stack:
            replicas = [
                stack.enter_context(socket.create_connection(("127.0.0.1", it.exporter.port), PATIENCE))
                for _ in range(2)
            ]
            for one in replicas:
                one.sendall(request.encode())
            texts = [read_all(one) for one in replicas]
        seen = [
            len(re.findall(r"^expiry_probe_success\{.*\} 1(?:\.0)?$", text, re.MULTILINE)) for text in texts
        ]
        assert it.server.accepted() - before == HEALTHY
        assert seen == [HEALTHY, HEALTHY]


def read_all(connection: socket.socket) -> str:
    """
    What comes until the other side closes.
    """
    return b"".join(iter(lambda: connection.recv(65536), b"")).decode().replace("\r\n", "\n")


def test_two_replicas_of_prometheus_cost_the_sweeps_of_one_with_an_interval(tmp_path: Path) -> None:
    """
    Each scrapes every second; with an interval of four, the server sees each target once in four.
    """
    interval = 4
    with counted(tmp_path, f"{interval}s") as it, contextlib.ExitStack() as stack:
        replicas = []
        began = time.monotonic()
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            document = {
                # As people have it: Prometheus then spreads the scrapes of the two over the second.
                "global": {"scrape_interval": SCRAPE_INTERVAL, "external_labels": {"replica": name}},
                "scrape_configs": [
                    {"job_name": "expiry", "static_configs": [{"targets": [it.exporter.address]}]}
                ],
            }
            replicas.append(stack.enter_context(prometheus(tmp_path / name, document)))
        for one in replicas:
            one.await_query(
                "count_over_time(up[1m])", lambda found: bool(found) and found[0].value >= 2 * interval + 1
            )
            assert len(one.query("expiry_probe_success == 1")) == HEALTHY
        connections = it.server.accepted()
        elapsed = time.monotonic() - began

    # The first scrape after the start, and then the turns of each target that began since.
    assert 2 * HEALTHY <= connections <= HEALTHY * (1 + math.ceil(elapsed / interval))
