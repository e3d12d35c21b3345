"""
The web server, with a real client, real configuration files and the demo's endpoints.
"""

import asyncio
import contextlib
import json
import logging
import math
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from socket import AF_INET
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.config.reader import load
from exporter.config.settings import Config
from exporter.demo import endpoints
from exporter.engine import saving
from exporter.engine.reserve import FIXED
from exporter.engine.scrape import Scrape
from exporter.model.targets import Target
from exporter.report.exposition import Exposition, Samples
from exporter.server.app import HANGS, application
from exporter.server.clients import Clients
from exporter.server.loops import LoopThread, Pulse
from exporter.server.pages.site import versions
from exporter.server.port import Port
from exporter.server.service import Options, Service

SILENT_TIMEOUT = 0.5


@dataclass(slots=True)
class Site:
    """
    A running server with its configuration file.
    """

    client: TestClient[Request, Application]
    service: Service
    config: Path
    shown: dict[str, Target]

    def write(self, *names: str, more: str = "") -> None:
        """
        Configure these targets of the demo; `more` is YAML that follows.
        """
        lines = ["targets:"]
        for name in names:
            one = self.shown[name]
            lines += [
                f"- url: {one.url.text}",
                f"  name: {json.dumps(one.name)}",
                f"  server_name: {one.server_name}",
                f"  ca_file: {one.ca_file}",
                f"  timeout: {SILENT_TIMEOUT * 1000:.0f}ms",
                "  labels: {team: demo}",
            ]
        if not names:
            lines = ["targets: []"]
        self.config.write_text("\n".join(lines) + "\n" + more, encoding="utf-8")

    async def get(self, path: str, **headers: str) -> tuple[int, str]:
        """
        Status and text of an answer.
        """
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.client.get(path, headers=sent) as answer:
            return answer.status, await answer.text()

    async def metrics(self) -> dict[str, dict[str, float]]:
        """
        The values of each metric of /metrics by target; metrics without targets under the empty name.
        """
        _, text = await self.get("/metrics")
        return values(text)


def values(text: str) -> dict[str, dict[str, float]]:
    """
    The values of each metric by target.
    """
    found: dict[str, dict[str, float]] = {}
    for family in parse_text(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[sample.labels.get("target", "")] = sample.value
    return found


@contextlib.asynccontextmanager
async def serving(
    directory: Path, *names: str, more: str = "", offset: float = 0.5, state: Path | None = None
) -> AsyncIterator[Site]:
    """
    A server that watches these targets of the demo.
    """
    shown = await endpoints.start(time.time(), str(directory))
    config = directory / "expiry.yml"
    by_name = {one.name: one for one in shown.targets}
    # The file is needed before there is a service to write it for.
    Site.write(Site(None, None, config, by_name), *names, more=more)  # type: ignore[arg-type] # see above
    options = Options(state_path=str(state) if state is not None else None)
    service = Service(lambda: load(str(config), {}), options, asyncio.get_running_loop())
    service.start()
    try:
        async with TestClient(TestServer(application(service, offset, port=Port(lifecycle=True)))) as client:
            yield Site(client, service, config, by_name)
    finally:
        await service.close()
        await shown.close()


Test = Callable[[Site], Awaitable[None]]


def serve(directory: Path, test: Test, *names: str, more: str = "", state: Path | None = None) -> None:
    """
    Run the test against a server.
    """

    async def run() -> None:
        async with serving(directory, *names, more=more, state=state) as site:
            await test(site)

    asyncio.run(run())


def test_metrics_are_told_as_text(tmp_path: Path) -> None:
    """
    The usual format, with ours and the process's own.
    """

    async def test(site: Site) -> None:
        async with site.client.get("/metrics") as answer:
            assert answer.status == 200
            assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        found = await site.metrics()
        assert found["expiry_probe_success"] == {"healthy": 1, "refused": 0}
        assert found["expiry_target_info"] == {"healthy": 1, "refused": 1}
        assert found["expiry_verification_success"] == {"healthy": 1}
        assert found["expiry_sweep_targets"] == {"": 2}
        assert found["expiry_sweep_failures"] == {"": 1}
        assert found["expiry_sweep_complete"] == {"": 1}
        assert found["expiry_config_last_reload_successful"] == {"": 1}
        assert found["expiry_build_info"] == {"": 1}
        assert found["process_start_time_seconds"][""] <= time.time() + 1
        # Without --state.path there is nothing to say about it.
        assert "expiry_state_last_save_successful" not in found

    serve(tmp_path, test, "healthy", "refused")


def test_what_is_asked_of_others_is_counted(tmp_path: Path) -> None:
    """
    Each connection that a probe begins, though nobody may answer it; and each look-up of a name.
    """

    async def test(site: Site) -> None:
        before = await site.metrics()
        assert before["expiry_probe_connections_total"] == {"": 2}
        await site.get("/probe?target=healthy")
        _, text = await site.get("/metrics")
        assert values(text)["expiry_probe_connections_total"] == {"": 5}
        assert 'expiry_dns_lookups_total{resolver="system"} 0.0' in text
        assert 'expiry_dns_lookups_total{resolver="name_server"} 0.0' in text
        await site.service.dependencies.resolver.resolve("localhost", AF_INET, 10)
        assert 'expiry_dns_lookups_total{resolver="system"} 1.0' in (await site.get("/metrics"))[1]

    serve(tmp_path, test, "healthy", "refused")


@pytest.mark.parametrize(("silence", "status"), [(HANGS, 200), (HANGS + 1, 503)])
async def test_health_is_told_while_the_loop_that_probes_is_busy(
    monkeypatch: pytest.MonkeyPatch, silence: float, status: int
) -> None:
    """
    Also by a request that comes while that loop does not turn at all; as 503 once it has not for long.
    """
    monkeypatch.setattr(Pulse, "silence", lambda _: silence)

    thread = LoopThread("port")
    service = Service(lambda: Config(()), Options(), asyncio.get_running_loop())
    runner = web.AppRunner(application(service, 0.5))
    try:
        address = await thread.run(_listening(runner))
        # Not awaited: it holds the loop of the service until it has its answer.
        connection = HTTPConnection(*address, timeout=60)
        connection.request("GET", "/-/healthy")
        assert connection.getresponse().status == status
        connection.close()
        scrape = HTTPConnection(*address, timeout=60)
        found = await asyncio.get_running_loop().run_in_executor(None, _got, scrape)
        assert "expiry_sweep_targets 0.0" in found
    finally:
        await thread.run(runner.cleanup())
        await thread.close()
        await service.close()


async def _listening(runner: web.AppRunner) -> tuple[str, int]:
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    return host, port


def _got(connection: HTTPConnection) -> str:
    connection.request("GET", "/metrics")
    with contextlib.closing(connection), connection.getresponse() as found:
        return found.read().decode()


@pytest.mark.parametrize("path", ["/metrics", "/probe?target=healthy"])
def test_metrics_are_told_as_openmetrics(tmp_path: Path, path: str) -> None:
    """
    As Prometheus asks for them; the document has its end.
    """

    async def test(site: Site) -> None:
        accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.3"
        async with site.client.get(path, headers={"Accept": accept}) as answer:
            assert answer.status == 200
            kind = "application/openmetrics-text; version=1.0.0; charset=utf-8"
            # What may follow is the library's way to write names.
            assert answer.headers["Content-Type"].startswith(kind)
            text = await answer.text()
        assert text.endswith("# EOF\n")
        openmetrics = parse_openmetrics(text)  # type: ignore[no-untyped-call] # it has no types
        assert "expiry_probe_success" in {family.name for family in openmetrics}

    serve(tmp_path, test, "healthy")


@pytest.mark.parametrize(
    ("accepted", "zipped"), [("gzip", True), ("gzip, deflate", True), ("identity", False)]
)
def test_an_answer_is_compressed_for_who_takes_it(tmp_path: Path, accepted: str, zipped: bool) -> None:
    """
    And caches are told that it depends.
    """

    async def test(site: Site) -> None:
        async with site.client.get("/metrics", headers={"Accept-Encoding": accepted}) as answer:
            # The client decompresses: what it reads is longer than what was sent.
            body = await answer.read()
            assert answer.headers.get("Content-Encoding") == ("gzip" if zipped else None)
            assert answer.headers["Vary"] == "Accept-Encoding"
            assert (len(body) > int(answer.headers["Content-Length"])) == zipped
        assert b"expiry_build_info" in body

    serve(tmp_path, test, "healthy")


@pytest.mark.parametrize(
    ("stated", "timeout"),
    [
        ("20", 19.5),
        ("1.5", 1.0),
        ("1", 0.5),
        ("0.6", 0.3),
        ("0.001", 0.0005),
        ("0", 9.5),
        ("-3", 9.5),
        ("nan", 9.5),
        ("inf", 9.5),
        ("3600", 119.5),
        ("120.5", 119.5),
        ("soon", 9.5),
        ("", 9.5),
        (None, 9.5),
    ],
)
def test_the_scrape_timeout_is_what_prometheus_says_less_an_offset(
    tmp_path: Path, stated: str | None, timeout: float
) -> None:
    """
    Half of it at least; what makes no sense counts as not said.
    """

    async def test(site: Site) -> None:
        headers = {} if stated is None else {"X-Prometheus-Scrape-Timeout-Seconds": stated}
        async with site.client.get("/metrics", headers=headers) as answer:
            assert answer.status == 200
            found = values(await answer.text())
        assert found["expiry_sweep_timeout_seconds"] == {"": timeout}

    serve(tmp_path, test)


@pytest.mark.parametrize(("waited", "timeout"), [(2.0, 7.5), (9.0, 4.5), (900.0, 4.5)])
def test_the_time_that_a_request_waited_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waited: float, timeout: float
) -> None:
    """
    Up to half of what it says: who asked so long ago is gone, and a sweep without time has failures only.
    """
    monkeypatch.setattr(Clients, "waited", lambda *_: waited)

    async def test(site: Site) -> None:
        async with TestClient(TestServer(application(site.service, 0.5, Clients(10)))) as client:
            text = await (await client.get("/metrics")).text()
        assert values(text)["expiry_sweep_timeout_seconds"] == {"": timeout}

    serve(tmp_path, test)


def test_the_time_that_the_answer_takes_is_kept_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A fake of the text is slow: the next scrapes end their looks that much earlier.
    """
    slow, parts = 0.5, Exposition.parts

    def take_time(self: Exposition, *of: Any) -> Iterator[str]:
        time.sleep(slow)
        return parts(self, *of)

    monkeypatch.setattr(Exposition, "parts", take_time)

    async def test(site: Site) -> None:
        timeouts = []
        for _ in range(2):
            began = time.monotonic()
            _, text = await site.get("/metrics", X_Prometheus_Scrape_Timeout_Seconds="5")
            took = time.monotonic() - began
            timeouts.append(values(text)["expiry_sweep_timeout_seconds"][""])
        assert timeouts[0] > 4.4
        # Half as much again is kept free, and half of the time at most.
        assert 2.25 <= timeouts[1] <= 4.5 - 1.5 * (slow - FIXED)
        # The silent target has a timeout of its own.
        assert took < 5

    serve(tmp_path, test, "healthy", "silent")


def test_who_asks_at_the_same_time_has_the_same_body(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The text is written once for a hundred, one of whom goes away; the exporter's own metrics are taken once.
    """
    written, parts = 0, Exposition.parts
    taken, own = 0, Service._own

    def count(self: Exposition, *of: Any) -> Iterator[str]:
        nonlocal written
        written += 1
        return parts(self, *of)

    def count_own(self: Service, scrape: Scrape) -> Samples:
        nonlocal taken
        taken += 1
        return own(self, scrape)

    monkeypatch.setattr(Exposition, "parts", count)
    monkeypatch.setattr(Service, "_own", count_own)

    async def test(site: Site) -> None:
        asked = [asyncio.create_task(site.get("/metrics")) for _ in range(100)]
        while site.service._configured._sweeper._latest is None:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0)
        asked[0].cancel()
        texts = [text for _, text in await asyncio.gather(*asked[1:])]
        assert len(set(texts)) == 1
        assert values(texts[0])["expiry_probe_success"] == {"healthy": 1, "silent": 0}
        assert (written, taken) == (1, 1)
        await site.get("/metrics")
        assert (written, taken) == (2, 2)

    serve(tmp_path, test, "healthy", "silent")


@pytest.mark.parametrize("path", ["/metrics", "/probe?target=healthy"])
def test_a_head_request_has_no_body(tmp_path: Path, path: str) -> None:
    """
    But all that is said of it.
    """

    async def test(site: Site) -> None:
        async with site.client.head(path) as answer:
            assert answer.status == 200
            assert int(answer.headers["Content-Length"]) > 100
            assert await answer.read() == b""
        assert (await site.get("/-/healthy"))[0] == 200

    serve(tmp_path, test, "healthy")


def test_a_scrape_answers_before_prometheus_gives_up(tmp_path: Path) -> None:
    """
    With a silent target that takes longer.
    """

    async def test(site: Site) -> None:
        began = time.monotonic()
        headers = {"X_Prometheus_Scrape_Timeout_Seconds": "0.6"}
        _, text = await site.get("/metrics", **headers)
        assert time.monotonic() - began < 0.6
        found = values(text)
        assert found["expiry_probe_success"] == {"silent": 0, "healthy": 1}
        assert 'reason="timeout"' in text

    serve(tmp_path, test, "healthy", "silent")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("", "say what to probe: /probe?target=https://example.com"),
        ("?target=", "say what to probe"),
        ("?target=https://x.example&modul=tcp", "unknown parameter 'modul'"),
        ("?target=gopher://x.example", "scheme 'gopher' is not known"),
        ("?target=tls://x.example", "names no port"),
        ("?target=https://user:secret@x.example", "must not contain a user name or a password"),
        ("?target=https://user:1/secret@x.example", "must not contain a user name or a password"),
        ("?target=file://user:secret@x.example/y", "must not contain a user name or a password"),
        ("?target=https://user%253Asecret%2540x.example", "must not contain a user name or a password"),
        ("?target=https://allowed.example&policy=https://user:secret@x", "'https://...@x'"),
        ("?target=https://allowed.example&host=whois.example", "the parameter 'host' is for domains only"),
        ("?target=domain:elsewhere.example&host=whois.example", "probe.allow of the configuration"),
        ("?https://user:secret@x=1", "unknown parameter 'https://...@x'"),
        ("?target=https://allowed.example&policy=other", "other"),
        ("?target=https://elsewhere.example", "probe.allow of the configuration does not permit it"),
    ],
)
def test_a_probe_that_can_not_be_is_refused_with_words(tmp_path: Path, query: str, said: str) -> None:
    """
    Status 400, or 403 where it is not permitted, what is wrong, and no password.
    """

    async def test(site: Site) -> None:
        status, text = await site.get(f"/probe{query}")
        assert status == (403 if "probe.allow" in said else 400)
        assert said in text
        assert "secret" not in text

    serve(tmp_path, test, more="probe: {allow: ['https://allowed.example']}\n")


def test_a_probe_of_any_url_that_is_allowed_is_made(tmp_path: Path) -> None:
    """
    With the policy that is asked for, and of the metrics of the exporter itself with its version only.
    """

    async def test(site: Site) -> None:
        url = site.shown["healthy"].url.text
        status, text = await site.get(f"/probe?target={url}&policy=manual")
        assert status == 200
        assert values(text)["expiry_probe_success"] == {url: 1}
        assert 'policy="manual"' in text
        assert "expiry_sweep_targets" not in text
        assert "expiry_build_info" in text
        # It is not configured, so it is nowhere else.
        assert url not in (await site.get("/metrics"))[1]

    serve(tmp_path, test)


def test_a_probe_of_a_configured_name_has_its_settings(tmp_path: Path) -> None:
    """
    Trust anchors and server name; so it is trusted. Also where probe.allow permits nothing.
    """

    async def test(site: Site) -> None:
        _, text = await site.get("/probe?target=healthy")
        assert values(text)["expiry_verification_success"] == {"healthy": 1}
        assert 'team="demo"' in text

    serve(tmp_path, test, "healthy", more="probe: {allow: []}\n")


def test_a_probe_explains_itself(tmp_path: Path) -> None:
    """
    Steps, meaning, deadlines and metrics, for a person.
    """

    async def test(site: Site) -> None:
        status, text = await site.get("/probe?target=expired&debug=true")
        assert status == 200
        assert re.search(r"^target +expired$", text, re.MULTILINE)
        assert re.search(r"^expects +a certificate for expired.demo.example$", text, re.MULTILINE)
        assert re.search(r"^ +0\.\d{3} s +connecting to 127.0.0.1 port \d+$", text, re.MULTILINE)
        assert re.search(r"^127.0.0.1:\d+ is CRITICAL$", text, re.MULTILINE)
        assert "critical: certificate EXPIRED 3 d 0 h ago" in text
        assert "leaf expires " in text
        assert "renewal due " in text
        assert "chain-1 expires " in text
        assert 'expiry_probe_success{target="expired"' in text.partition("metrics:\n")[2]
        _, text = await site.get("/probe?target=refused&debug=1")
        assert "failed: connection_refused" in text
        assert "unknown: connection_refused" in text
        _, text = await site.get("/probe?target=refused&debug=false")
        assert text.startswith("# HELP")
        # A file may hold certificates for any names.
        _, text = await site.get("/probe?target=kept&debug=true")
        assert re.search(r"^target +kept$", text, re.MULTILINE)
        assert "expects" not in text

    more = f"- {{url: 'file://{tmp_path}/kept.pem', name: kept}}\n"
    serve(tmp_path, test, "expired", "refused", more=more)


def test_targets_are_as_http_sd_wants_them(tmp_path: Path) -> None:
    """
    A list of groups, each with targets and labels that are all strings.
    """

    async def test(site: Site) -> None:
        async with site.client.get("/targets") as answer:
            assert answer.status == 200
            assert answer.content_type == "application/json"
            groups = await answer.json()
        assert groups == [
            {
                "targets": [name],
                "labels": {
                    "__meta_expiry_url": site.shown[name].url.text,
                    "__meta_expiry_policy": "automatic",
                    "__meta_expiry_label_team": "demo",
                },
            }
            for name in ("healthy", "expired")
        ]
        site.write()
        await site.service.reload()
        assert await site.get("/targets") == (200, "[]")

    serve(tmp_path, test, "healthy", "expired")


@pytest.mark.parametrize("path", ["/-/healthy", "/-/ready"])
def test_health_is_told(tmp_path: Path, path: str) -> None:
    """
    Without a scrape.
    """

    async def test(site: Site) -> None:
        assert await site.get(path) == (200, "expiry-exporter is healthy\n")
        assert site.service.last is None

    serve(tmp_path, test, "silent")


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_reload_takes_the_new_configuration(tmp_path: Path, method: str) -> None:
    """
    By either method; the page shows it at once.
    """

    async def test(site: Site) -> None:
        assert "expired" not in (await site.get("/"))[1]
        site.write("expired")
        async with site.client.request(method, "/-/reload") as answer:
            assert (answer.status, await answer.text()) == (200, "configuration loaded\n")
        html = (await site.get("/"))[1]
        assert "<bdi>expired</bdi>" in html
        assert "<bdi>healthy</bdi>" not in html
        assert set((await site.metrics())["expiry_target_info"]) == {"expired"}

    serve(tmp_path, test, "healthy")


def test_a_bad_configuration_changes_nothing(tmp_path: Path) -> None:
    """
    Status 500 with every fault; the old one stays, a metric says so until the next good one.
    """

    async def test(site: Site) -> None:
        before = (await site.metrics())["expiry_config_last_reload_success_timestamp_seconds"]
        site.config.write_text("targets: ['gopher://x']\nnonsense: 1\n", encoding="utf-8")
        async with site.client.post("/-/reload") as answer:
            text = await answer.text()
            assert answer.status == 500
        assert "the one before it stays in use" in text
        assert f"{site.config}:1: " in text
        assert f"{site.config}:2: " in text
        found = await site.metrics()
        assert set(found["expiry_target_info"]) == {"healthy"}
        assert found["expiry_config_last_reload_successful"] == {"": 0}
        assert found["expiry_config_last_reload_success_timestamp_seconds"] == before
        site.write("healthy")
        async with site.client.post("/-/reload") as answer:
            assert answer.status == 200
        assert (await site.metrics())["expiry_config_last_reload_successful"] == {"": 1}

    serve(tmp_path, test, "healthy")


def test_looking_does_not_reload(tmp_path: Path) -> None:
    """
    A link that is followed must change nothing; other paths are not there.
    """

    async def test(site: Site) -> None:
        assert (await site.get("/-/reload"))[0] == 405
        assert (await site.get("/elsewhere"))[0] == 404

    serve(tmp_path, test)


def test_the_page_can_not_be_made_to_run_anything(tmp_path: Path) -> None:
    """
    A policy that allows our own script and no other, and a name that is markup is text.
    """

    async def test(site: Site) -> None:
        async with site.client.get("/") as answer:
            assert answer.status == 200
            assert answer.content_type == "text/html"
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "script-src 'self'" in policy
            assert "unsafe" not in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            html = await answer.text()
        assert re.findall("<script[^>]*>", html) == [f'<script src="./assets/page.js{versions()}" defer>']
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html

    evil = "- {url: 'tls://127.0.0.1:1', name: '<script>alert(1)</script>'}\n"
    serve(tmp_path, test, "healthy", more=evil)


def test_the_page_shows_the_last_scrape(tmp_path: Path) -> None:
    """
    It looks by itself only when there is none, or an old one.
    """

    async def test(site: Site) -> None:
        assert "No targets are configured" in (await site.get("/"))[1]
        first = site.service.last
        await site.get("/")
        assert site.service.last is first
        assert first is not None

    serve(tmp_path, test)


def test_two_scrapes_at_once_see_the_same(tmp_path: Path) -> None:
    """
    One sweep serves both.
    """

    async def test(site: Site) -> None:
        one, two = await asyncio.gather(site.metrics(), site.metrics())
        for name in ("expiry_last_seen_timestamp_seconds", "expiry_probe_duration_seconds"):
            assert one[name].keys() == two[name].keys() == {"healthy", "expired"}
        assert one["expiry_probe_duration_seconds"] == two["expiry_probe_duration_seconds"]

    serve(tmp_path, test, "healthy", "expired")


def test_a_target_that_is_removed_during_a_sweep_is_gone(tmp_path: Path) -> None:
    """
    In the very scrape that was under way.
    """

    async def test(site: Site) -> None:
        scrape = asyncio.create_task(site.metrics())
        while site.service._configured._sweeper._latest is None:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0)
        site.write("healthy")
        await site.service.reload()
        found = await scrape
        assert found["expiry_target_info"] == {"healthy": 1}
        assert set(found["expiry_probe_success"]) == {"healthy"}

    serve(tmp_path, test, "healthy", "silent")


def test_a_client_that_goes_away_harms_nothing(tmp_path: Path) -> None:
    """
    The next scrape has everything.
    """

    async def test(site: Site) -> None:
        with pytest.raises(asyncio.TimeoutError):
            await site.client.get("/metrics", timeout=aiohttp.ClientTimeout(total=0.1))
        assert set((await site.metrics())["expiry_probe_success"]) == {"healthy", "silent"}

    serve(tmp_path, test, "healthy", "silent")


def test_a_fault_of_ours_is_logged_and_not_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    Status 500 without the traceback, which is in the log.
    """

    async def test(site: Site) -> None:
        site.service._exposition = None  # type: ignore[assignment] # broken on purpose
        status, text = await site.get("/metrics")
        assert status == 500
        assert text == "internal error: please report it with the traceback in the log\n"
        assert "Traceback" not in text

    serve(tmp_path, test, "healthy")
    (record,) = (one for one in caplog.records if one.levelname == "ERROR")
    assert record.exc_info is not None


def test_state_that_can_not_be_kept_is_a_metric_and_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The exporter goes on; when it works again, that is said too.
    """
    # On a busy machine a save may take long, and the next one wait.
    monkeypatch.setattr(saving, "LONG", math.inf)
    caplog.set_level(logging.INFO)
    place = tmp_path / "later" / "state.sqlite"

    async def saved(site: Site) -> float:
        await site.metrics()
        assert site.service.saving is not None
        await site.service.saving.settle()
        return (await site.metrics())["expiry_state_last_save_successful"][""]

    async def test(site: Site) -> None:
        assert await saved(site) == 0
        assert await saved(site) == 0
        place.parent.mkdir()
        assert await saved(site) == 1

    serve(tmp_path, test, "healthy", state=place)
    assert len([one for one in caplog.messages if "can't keep state" in one]) == 1
    assert "state can be kept again" in caplog.messages
    assert place.is_file()
