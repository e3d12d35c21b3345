"""
The source at a fake API server, through the real watch: what it asks, what changes, what is refused.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from exporter.config.reader import parse
from exporter.config.sources import KubernetesSource
from exporter.discovery.base import Context, Listing, SourceError
from exporter.discovery.kubernetes import source
from exporter.discovery.runner import Discovery
from exporter.model.policies import Before
from exporter.probes.kubernetes import bounds
from tests.discovery.kubernetes.objects import attached, gateway, ingress, listener, obj, planned
from tests.formats.samples import leaf
from tests.probes.kubernetes.api_server import TOKEN, FakeApiServer, secret
from tests.probes.kubernetes.looking import FAST, World, eventually, seen_by, world
from tests.support.certificates import DAY, NOW
from tests.support.resolvers import Names, asks
from tests.support.rows import told

PACE = replace(FAST, absent=0.05)
"""Kinds that are not there are asked for again at once."""

GATEWAY_KINDS = {"gateways", "httproutes", "grpcroutes", "tlsroutes"}


def fill(fake: FakeApiServer) -> None:
    """
    One object of most kinds.
    """
    pem = leaf().pem
    fake.fill("secrets", secret("shop", "web-tls", tls_crt=pem), secret("infra", "alone", tls_crt=pem))
    fake.fill("ingresses", ingress("shop/web", "www.example.com", secret="web-tls"))
    fake.fill("gateways", gateway("infra/gw", listener("*.example.org", 8443, allowed="All")))
    fake.fill("httproutes", attached("shop/api", ["api.example.org"], {"name": "gw", "namespace": "infra"}))
    fake.fill("routes", obj("shop/route", {"host": "route.example.com", "tls": {}}))
    fake.fill(
        "services", obj("shop/db", {}, annotations={"expiry-exporter/targets": "5432"}), obj("shop/x", {})
    )


FOUND = [
    *("https://www.example.com", "https://api.example.org:8443", "postgres://db.shop.svc"),
    *("kubernetes://infra/alone", "kubernetes://shop/web-tls"),
]
"""What is found of them."""


class Reader:
    """
    Runs the source as the runner does.
    """

    def __init__(self, here: World, **given: Any) -> None:
        self.here = here
        self.settings = KubernetesSource.model_validate(given)
        self.remembered: Any = None
        self.found: list[str] = []
        self.error: SourceError | None = None
        self.whole = False

    async def run(self) -> Listing | None:
        """
        The listing of one run, also of one that failed.
        """
        self.error = None
        context = Context(self.here.network, NOW, self.remembered, whole=self.whole)
        listing: Listing | None
        try:
            listing = await source.run(self.settings, context)
        except SourceError as error:
            self.error, listing = error, error.listing
        if listing is not None and not listing.unchanged:
            self.remembered = listing.remember
            self.found = [one.url for one in (*listing.named, *listing.found)]
        return listing

    async def until(self, holds: Callable[[list[str]], bool]) -> None:
        """
        Run until this holds of what is found.
        """
        async with asyncio.timeout(30):
            while True:
                await self.run()
                if holds(self.found):
                    return
                await asyncio.sleep(0.01)


@asynccontextmanager
async def cluster(tmp_path: Path) -> AsyncIterator[World]:
    """
    A cluster with these objects.
    """
    async with world(tmp_path, PACE) as here:
        fill(here.fake)
        yield here


async def test_objects_are_listed_once_then_watched(tmp_path: Path) -> None:
    """
    A change is found without another list. Without one a run gives nothing new and asks nothing.
    """
    async with cluster(tmp_path) as here:
        reader = Reader(here)
        await reader.run()
        assert (reader.found, reader.error, source.SOURCE.steady) == (FOUND, None, True)
        # An empty mapping `tls` is no TLS. A full one is.
        changed = obj("shop/route", {"host": "route.example.com", "tls": {"termination": "edge"}})
        await here.fake.put("routes", changed)
        await reader.until(lambda found: "https://route.example.com" in found)
        await here.fake.put("ingresses", ingress("shop/new", "new.example.com"))
        await reader.until(lambda found: "https://new.example.com" in found)
        await here.fake.delete("ingresses", "shop", "new")
        await reader.until(lambda found: "https://new.example.com" not in found)
        await eventually(lambda: here.fake.watching == 9)
        asked = len(here.fake.asked)
        for _ in range(3):
            listing = await reader.run()
            assert listing is not None
            assert listing.unchanged
        # What was left out at the limit may have room now.
        reader.whole = True
        listing = await reader.run()
        assert listing is not None
        assert not listing.unchanged
        assert len(here.fake.asked) == asked
        kinds = [*GATEWAY_KINDS, "ingresses", "routes", "services", "secrets", "certificates"]
        assert [here.fake.count("list", kind) for kind in kinds] == [1] * 9


async def test_a_change_of_a_status_is_no_change(tmp_path: Path) -> None:
    """
    Controllers write them all the time: nothing is made anew.
    """
    async with cluster(tmp_path) as here:
        reader = Reader(here)
        await reader.run()
        (view,) = (one for one in here.kubernetes.views if one.question.resource.name == "ingresses")
        await eventually(lambda: here.fake.watching == 9)
        busy = ingress("shop/web", "www.example.com", secret="web-tls")
        await here.fake.put("ingresses", busy | {"status": {"loadBalancer": {}}})
        await here.fake.bookmark()
        await eventually(lambda: view.objects["shop", "web"].version == busy["metadata"]["resourceVersion"])
        listing = await reader.run()
        assert listing is not None
        assert listing.unchanged


async def test_found_secrets_share_the_watch_of_the_source(tmp_path: Path) -> None:
    """
    A hundred targets that name a Secret each are no list more. Those of another type are one more.
    """
    async with cluster(tmp_path) as here:
        here.fake.fill(
            "secrets",
            *(secret("shop", f"tls-{number}", tls_crt=leaf().pem) for number in range(100)),
            secret("shop", "opaque", "Opaque", tls_crt=leaf().pem),
        )
        reader = Reader(here)
        await reader.run()
        runner = Discovery(
            here.network, parse(b"discover: [{kubernetes: {}, include: 'kubernetes:*'}]", "expiry.yml", {})
        )
        runner.start()
        await eventually(lambda: not runner.pending)
        rows = await here.look(*runner.targets)
        assert len(rows) == len(runner.targets) == 102
        assert set(told(rows).values()) == {"seen"}
        assert here.fake.count("list", "secrets") == 1
        await here.fake.put("ingresses", ingress("shop/more", "more.org", secret="opaque"))
        await eventually(lambda: len(runner.targets) == 103)
        rows = await here.look(*runner.targets)
        assert told(rows)["shop/opaque:tls.crt"] == "seen"
        assert here.fake.count("list", "secrets") == 2
        assert {one.query.get("fieldSelector") for one in here.fake.asked if one.resource == "secrets"} == {
            *("type=kubernetes.io/tls", "type=Opaque"),
        }
        await here.fake.delete("secrets", "shop", "opaque")

        (deleted,) = (one for one in runner.targets if one.name == "kubernetes://shop/opaque")
        await here.until(deleted, lambda rows: rows == {"shop/opaque:tls.crt": "no_match"})
        await runner.close()


async def test_the_renewal_that_cert_manager_plans_is_the_one_that_is_due(tmp_path: Path) -> None:
    """
    Of the Secret that it keeps, and for the certificates after this one too.
    """
    async with cluster(tmp_path) as here:
        plan = planned("shop/web", "web-tls", "2026-03-31T00:00:00Z", "2026-03-21T00:00:00Z")
        here.fake.fill("certificates", plan)
        asks(here.network, Names())
        runner = Discovery(here.network, parse(b"discover: [kubernetes: {}]", "expiry.yml", {}))
        runner.start()
        await eventually(lambda: not runner.pending)
        by_name = {one.name: one for one in runner.targets}
        target = by_name["kubernetes://shop/web-tls"]
        assert target.policy.renewal_due == Before(10 * DAY)
        assert target.policy.name == by_name["kubernetes://infra/alone"].policy.name
        assert dict(target.labels) == {"object_namespace": "shop"}
        # Renewed: another end, the same plan, and thus the same target. Then the plan is changed.
        await eventually(lambda: here.fake.watching == 9)
        before = runner.targets
        await here.fake.put(
            "certificates", planned("shop/web", "web-tls", "2026-06-29T00:00:00Z", "2026-06-19T00:00:00Z")
        )
        await here.fake.put("ingresses", ingress("shop/after", "after.example.com"))
        await eventually(lambda: len(runner.targets) == len(before) + 1)
        assert target in runner.targets
        await here.fake.put(
            "certificates", planned("shop/web", "web-tls", "2026-06-29T00:00:00Z", "2026-06-09T00:00:00Z")
        )
        await eventually(lambda: Before(20 * DAY) in {one.policy.renewal_due for one in runner.targets})
        await runner.close()


async def test_plans_that_may_not_be_read_are_no_failure(tmp_path: Path) -> None:
    """
    No target is lost without them: it is told what to grant, and all else goes on.
    """
    async with cluster(tmp_path) as here:
        here.fake.forbidden.add("* certificates")
        reader = Reader(here)
        listing = await reader.run()
        assert (reader.found, reader.error) == (FOUND, None)
        assert listing is not None
        (note,) = listing.notes
        assert note.startswith("when cert-manager renews is not known: ")
        assert "grant the verbs list and watch on certificates" in note


async def test_what_a_cluster_does_not_have_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Told once for each kind, no failure, and found once it is installed; also in an older version.
    """
    caplog.set_level(logging.INFO)
    async with cluster(tmp_path) as here:
        here.fake.absent |= {*GATEWAY_KINDS, "routes"}
        reader = Reader(here)
        listing = await reader.run()
        assert listing is not None
        assert (reader.found, reader.error, listing.notes) == (
            ["https://www.example.com", "postgres://db.shop.svc", *FOUND[-2:]],
            *(None, ()),
        )
        await eventually(lambda: here.fake.count("list", "routes") > 3)
        lines = [one for one in caplog.records if "no such objects" in one.message]
        assert len(lines) == 5
        assert {one.levelname for one in lines} == {"INFO"}
        here.fake.paths["gateways"] = "/apis/gateway.networking.k8s.io/v1beta1/gateways"
        here.fake.paths["httproutes"] = "/apis/gateway.networking.k8s.io/v1beta1/httproutes"
        here.fake.absent.clear()
        await reader.until(lambda found: "https://api.example.org:8443" in found)
        # A cluster that is upgraded serves the older version no more.
        here.fake.paths["gateways"] = "/apis/gateway.networking.k8s.io/v1/gateways"
        here.fake.cut()
        await here.fake.put("gateways", gateway("infra/gw", listener("new.example.org", 443)))
        await reader.until(lambda found: "https://new.example.org" in found)
        # And when the kind is removed, so are its objects.
        here.fake.absent |= GATEWAY_KINDS
        here.fake.forget()
        here.fake.cut()
        await reader.until(lambda found: "https://new.example.org" not in found)
        assert reader.error is None


async def test_a_kind_that_is_not_permitted_keeps_its_last_list(tmp_path: Path) -> None:
    """
    The missing verbs and the resource are told; the others go on; over a restart too.
    """
    async with cluster(tmp_path) as here:
        reader = Reader(here)
        await reader.run()
        saved = reader.remembered
    for kind, url in (("ingresses", FOUND[0]), ("gateways", FOUND[1]), ("secrets", FOUND[-1])):
        async with world(tmp_path, PACE) as again:
            fill(again.fake)
            again.fake.fill("services", obj("shop/db", {}, annotations={"expiry-exporter/targets": "443"}))
            again.fake.forbidden.add(f"list {kind}")
            reader = Reader(again)
            reader.remembered = saved
            await reader.run()
            expected = ["https://db.shop.svc" if one.startswith("postgres") else one for one in FOUND]
            assert reader.found == expected
            assert url in reader.found
            assert f"grant the verbs list and watch on {kind}" in str(reader.error)
            assert "in the whole cluster" in str(reader.error)
            listing = await reader.run()
            assert listing is not None
            assert listing.unchanged
            again.fake.forbidden.clear()
            await reader.until(lambda _, reader=reader: reader.error is None)  # type: ignore[misc]  # its own
    async with cluster(tmp_path) as first:
        first.fake.forbidden.add("* ingresses")
        reader = Reader(first)
        await reader.run()
        assert reader.found[0] == FOUND[1]
        assert "of the group networking.k8s.io" in str(reader.error)


async def test_a_permission_that_is_taken_away_is_told(tmp_path: Path) -> None:
    """
    Once the watch is broken for some time. What was listed stays.
    """
    async with cluster(tmp_path) as here:
        reader = Reader(here)
        await reader.run()
        await eventually(lambda: here.fake.watching == 9)
        here.fake.forbidden.add("watch services")
        here.fake.cut()
        (view,) = (one for one in here.kubernetes.views if one.question.resource.name == "services")
        await eventually(lambda: here.fake.count("watch", "services") > 2)
        assert view.failure is None
        view._contact -= PACE.broken
        await reader.run()
        assert "cannot watch resource" in str(reader.error)
        assert reader.found == FOUND


async def test_what_is_forbidden_and_not_there_is_passed_over(tmp_path: Path) -> None:
    """
    A server forbids before it looks: what there is may be asked by anybody.
    """
    async with cluster(tmp_path) as here:
        here.fake.forbidden |= {"* routes", "* grpcroutes"}
        here.fake.absent |= {"routes", "grpcroutes"}
        reader = Reader(here)
        await reader.run()
        assert (reader.found, reader.error) == (FOUND, None)


async def test_many_failures_are_counted(tmp_path: Path) -> None:
    """
    When nothing can be listed, the last list stays as a whole.
    """
    async with cluster(tmp_path) as here:
        here.fake.forbidden.add("* *")
        reader = Reader(here)
        assert await reader.run() is None
        assert "; and 5 more" in str(reader.error)


@pytest.mark.parametrize(
    ("status", "garbage"),
    [
        *((500, None), (200, b"<html>"), (200, b'{"items": 5, "metadata": {}}')),
        (200, b'{"items": [{}], "metadata": {}}'),
    ],
)
async def test_nonsense_of_a_server_is_a_failure(tmp_path: Path, status: int, garbage: bytes | None) -> None:
    """
    And the last list stays.
    """
    async with cluster(tmp_path) as here:
        here.fake.status, here.fake.garbage = status, garbage
        reader = Reader(here, resources=["ingresses"])
        assert await reader.run() is None
        assert "ingresses in all namespaces" in str(reader.error)


async def test_a_server_that_is_slow_is_waited_for_only_so_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Its list goes on, and a later run has it.
    """
    monkeypatch.setattr(source, "LIST_TIMEOUT", 0.05)
    async with cluster(tmp_path) as here:
        here.fake.open.clear()
        reader = Reader(here)
        assert await reader.run() is None
        assert "no whole list came in 0.05 s" in str(reader.error)
        here.fake.open.set()
        await reader.until(lambda found: found == FOUND)


async def test_a_version_that_is_gone_is_listed_again(tmp_path: Path) -> None:
    """
    410 Gone: what changed meanwhile is found.
    """
    async with cluster(tmp_path) as here:
        reader = Reader(here, resources=["ingresses"])
        await reader.run()
        await eventually(lambda: here.fake.watching == 1)
        here.fake.fill("ingresses", ingress("shop/late", "late.example.com"))
        here.fake.forget()
        here.fake.cut()
        await reader.until(lambda found: "https://late.example.com" in found)
        assert here.fake.count("list", "ingresses") == 2


async def test_a_bookmark_spares_a_list(tmp_path: Path) -> None:
    """
    A watch that was cut off goes on from there.
    """
    async with cluster(tmp_path) as here:
        reader = Reader(here, resources=["ingresses"])
        await reader.run()
        await eventually(lambda: here.fake.watching == 1)
        await here.fake.bookmark()
        (view,) = here.kubernetes.views
        await eventually(lambda: view._version == str(here.fake._version))
        here.fake._oldest = here.fake._version
        here.fake.cut()
        await here.fake.put("ingresses", ingress("shop/late", "late.example.com"))
        await reader.until(lambda found: "https://late.example.com" in found)
        assert here.fake.count("list", "ingresses") == 1


async def test_only_what_is_named_is_asked_for(tmp_path: Path) -> None:
    """
    Namespaces, labels and kinds.
    """
    async with cluster(tmp_path) as here:
        here.fake.fill("ingresses", ingress("shop/team", "team.example.com", team="a"))
        reader = Reader(here, namespaces=["shop", "infra"], selector="team=a", resources=["ingresses"])
        await reader.run()
        assert reader.found == ["https://team.example.com"]
        # A Certificate of cert-manager does not have the labels of its Secret.
        both = KubernetesSource(selector="team=a", resources=["secrets", "certificates"])
        assert [one.selector for one in source.questions(both)] == ["team=a", ""]
        asked = {(one.resource, one.namespace, one.query["labelSelector"]) for one in here.fake.asked}
        assert asked == {("ingresses", "shop", "team=a"), ("ingresses", "infra", "team=a")}


async def test_a_look_at_all_objects_says_how_long_it_took(tmp_path: Path) -> None:
    """
    So that the source rests after it; a run that finds nothing new needs no rest.
    """
    async with cluster(tmp_path) as here:
        reader = Reader(here)
        first, again = await reader.run(), None
        assert first is not None
        assert first.took > 0
        async with asyncio.timeout(30):
            while again is None or not again.unchanged:
                again = await reader.run()
        assert again.took == 0


async def test_too_many_objects_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    In a list, and when they grow.
    """
    monkeypatch.setattr(bounds, "OBJECT_LIMIT", 3)
    async with cluster(tmp_path) as here:
        reader = Reader(here, resources=["ingresses"])
        await reader.run()
        await eventually(lambda: here.fake.watching == 1)
        for number in range(3):
            await here.fake.put("ingresses", ingress(f"shop/{number}", "a.org"))
        await eventually(lambda: here.kubernetes.views[0]._failure is not None)
        here.kubernetes.views[0]._contact -= 1000
        await reader.run()
        assert "more than 3 objects" in str(reader.error)
        assert "https://www.example.com" in reader.found
    async with cluster(tmp_path) as here:
        here.fake.fill("ingresses", *(ingress(f"shop/{number}", "a.org") for number in range(4)))
        reader = Reader(here, resources=["ingresses"])
        assert await reader.run() is None
        assert "more than 3 objects" in str(reader.error)


async def test_a_server_that_repeats_the_token_as_a_host_is_refused(tmp_path: Path) -> None:
    """
    No secret becomes a target.
    """
    async with cluster(tmp_path) as here:
        here.fake.fill("ingresses", ingress("shop/echo", f"{TOKEN}.example.com"))
        reader = Reader(here, resources=["ingresses"])
        assert await reader.run() is None
        assert TOKEN not in str(reader.error)
        assert "repeats the token" in str(reader.error)


async def test_no_cluster_is_a_failure_in_words(tmp_path: Path) -> None:
    """
    Outside of a pod, without a kubeconfig.
    """
    async with world(tmp_path) as here, seen_by(here.fake, {}, tmp_path / "none", PACE) as outside:
        reader = Reader(outside)
        assert await reader.run() is None
        assert "no Kubernetes cluster is known" in str(reader.error)
