"""
The web server: a thin layer between requests and calls of the service.
"""

import asyncio
import json
import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterator

from aiohttp import web
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.exposition import choose_encoder

from exporter.config.settings import Call, NotAllowedError, target_for
from exporter.engine.scrape import Scrape
from exporter.logs import fields
from exporter.model.foreign_text import printable
from exporter.model.hosts import TargetError
from exporter.model.observation import Failed
from exporter.model.reasons import Reason
from exporter.model.targets import Target
from exporter.net.pools import PoolFullError
from exporter.passwords import without_user
from exporter.report.inventory import Inventory
from exporter.report.times import date
from exporter.server.answers import COMPRESSION, SENDING, Compression, Sending, answer, takes_gzip
from exporter.server.bodies import Renderings
from exporter.server.clients import Clients
from exporter.server.loops import Pulse
from exporter.server.pages import steps
from exporter.server.pages.site import Site, in_style, respond_page, versions, wants_page
from exporter.server.port import Port
from exporter.server.service import Service
from exporter.server.traffic import Traffic
from exporter.yaml_lines import ConfigError

logger = logging.getLogger(__name__)


DEFAULT_TIMEOUT = 10.0
"""Seconds that a scrape may take when the request states no timeout: Prometheus's own default."""


MOST_TIMEOUT = 120.0
"""Seconds that a scrape may take at most, whatever the request says."""


SERVICE: web.AppKey[Service] = web.AppKey("service", Service)


REGISTRY: web.AppKey[CollectorRegistry] = web.AppKey("registry", CollectorRegistry)


CLIENTS: web.AppKey[Clients | None] = web.AppKey("clients", Clients)


RENDERINGS: web.AppKey[Renderings] = web.AppKey("renderings", Renderings)


OFFSET: web.AppKey[float] = web.AppKey("offset", float)


PORT: web.AppKey[Port] = web.AppKey("port", Port)


REFUSED: web.AppKey[Counter] = web.AppKey("refused", Counter)


PULSE: web.AppKey[Pulse] = web.AppKey("pulse", Pulse)


STOP: web.AppKey[Callable[[], object]] = web.AppKey("stop", Callable)  # type: ignore[arg-type]


PROBE_PARAMETERS = ("target", "policy", "debug", "module", "hostname", "server_name", "host")
"""`host` is domain_exporter's, for a domain only. It changes nothing: the registry's own server is asked."""


HANGS = 30.0
"""Seconds for which the loop that probes may be silent: its slowest work takes a fraction of one."""


BODY_LIMIT = 64 * 1024
"""Largest body of a request in bytes. No route needs one."""


def application(
    service: Service,
    offset: float,
    clients: Clients | None = None,
    port: Port | None = None,
    stop: Callable[[], object] = lambda: None,
) -> web.Application:
    """
    Return the server's routes. `offset` (seconds) is subtracted from each scrape's timeout, for the response
    to arrive in time.

    `clients` records whose requests are being answered, and since when these wait. `port` says who may ask;
    None: everybody, but for what changes something. `stop` ends the process.
    """
    port = port if port is not None else Port()
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    registry.register(Traffic(service.dependencies))
    _web_config_gauge(port, registry)
    noting = [clients.note] if clients is not None else []
    app = web.Application(middlewares=[*noting, report_errors, port.guard], client_max_size=BODY_LIMIT)
    app.on_response_prepare.append(port.add_headers)
    app[PORT] = port
    app[STOP] = stop
    app[REFUSED] = Counter(
        "expiry_probe_refused_requests", "Requests to /probe that probe.allow refused.", registry=registry
    )
    app[SERVICE] = service
    app[PULSE] = Pulse(service.loop)
    app[REGISTRY] = registry
    app[OFFSET] = offset
    app[CLIENTS] = clients
    app[COMPRESSION] = Compression()
    app[SENDING] = Sending()
    app[RENDERINGS] = Renderings()
    Site(service, app[RENDERINGS]).add_to(app.router)
    app.router.add_get("/metrics", show_metrics)
    app.router.add_get("/probe", show_probe)
    app.router.add_get("/targets", show_targets)
    app.router.add_get("/-/healthy", show_healthy)
    app.router.add_get("/-/ready", show_healthy)
    app.router.add_post("/-/reload", reload)
    app.router.add_put("/-/reload", reload)
    app.router.add_post("/-/quit", end)
    app.router.add_put("/-/quit", end)
    return app


def _web_config_gauge(port: Port, registry: CollectorRegistry) -> None:
    gauge = Gauge(
        "expiry_web_config_last_reload_successful",
        "0: the web configuration on disk can't be used, and the one before it is in use.",
        registry=registry,
    )
    gauge.set_function(lambda: float(port.succeeded))


@web.middleware
async def report_errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """
    Log an unexpected exception, and answer 500 without its traceback; 503 when no more work is accepted.

    A browser gets each error as a page.
    """
    raised: web.HTTPException | None = None
    response: web.StreamResponse
    try:
        response = await handler(request)
    except asyncio.CancelledError:
        raise
    except web.HTTPException as error:
        response = raised = error
    except PoolFullError:
        response = web.Response(
            status=503,
            text="too many others wait for what takes its time: ask again in a few seconds\n",
            headers={"Retry-After": "5"},
        )
    except Exception:
        logger.exception("internal error while answering", extra=fields(path=request.path))
        response = web.Response(
            status=500, text="internal error: please report it with the traceback in the log\n"
        )
    page = in_style(request, response, request.app[SERVICE].external_url)
    if page is None and raised is not None:
        raise raised
    return page if page is not None else response


def scrape_timeout(request: web.Request) -> float:
    """
    Return the seconds within which the scrape must have its response.

    That is the timeout in the request, less the offset and the time for which the request has waited.
    """
    try:
        stated = float(request.headers.get("X-Prometheus-Scrape-Timeout-Seconds", DEFAULT_TIMEOUT))
    except ValueError:
        stated = DEFAULT_TIMEOUT
    if not 0 < stated < math.inf:
        stated = DEFAULT_TIMEOUT
    stated = min(stated, MOST_TIMEOUT)
    clients = request.app[CLIENTS]
    if clients is not None:
        # A client that waited longer has probably given up. With no time left, every probe would be a
        # failure.
        stated -= min(clients.waited(request), stated / 2)
    # The offset takes at most half of a short timeout.
    return max(stated - request.app[OFFSET], stated / 2)


async def show_metrics(request: web.Request) -> web.StreamResponse:
    """
    Scrape all configured targets, and answer with the metrics.
    """
    service = request.app[SERVICE]
    loop = asyncio.get_running_loop()
    encoder, kind = choose_encoder(request.headers.get("Accept", ""))
    zipped = takes_gzip(request.headers.get("Accept-Encoding", ""))
    # The library ends an OpenMetrics document; ours are gauges, which both formats write alike.
    scrape, body = await service.answered(
        scrape_timeout(request), lambda: encoder(request.app[REGISTRY]), kind, zipped=zipped
    )
    made = loop.time()
    sent = await answer(request, body, kind, zipped=zipped)
    await service.note_answer(scrape, made, loop.time())
    return sent


async def show_probe(request: web.Request) -> web.StreamResponse:
    """
    Probe the target that the request names, and answer with the metrics or, if wanted, with the steps.
    """
    service = request.app[SERVICE]
    target = _asked_target(request, service)
    debug = request.query.get("debug", "false").lower() in {"true", "1", "yes"}
    scrape = await service.probe(target, scrape_timeout(request), trace_steps=debug)
    if (why := _not_allowed(scrape)) is not None:
        request.app[REFUSED].inc()
        raise web.HTTPForbidden(text=f"{why}\n")
    if debug:
        text, now = service.probe_text(scrape), time.time()
        if wants_page(request):
            query = request.query_string
            # In a thread: a target may have thousands of endpoints.
            html = await request.app[RENDERINGS].run(
                lambda: steps.render(target, scrape, text, query, now, "./", versions())
            )
            return await respond_page(request, html)
        return web.Response(text=explain(scrape, text, now))
    encoder, kind = choose_encoder(request.headers.get("Accept", ""))
    zipped = takes_gzip(request.headers.get("Accept-Encoding", ""))
    body = await service.probe_body(scrape, lambda: encoder(CollectorRegistry()), zipped=zipped)
    return await answer(request, body, kind, zipped=zipped)


def _asked_target(request: web.Request, service: Service) -> Target:
    unknown = sorted(set(request.query) - set(PROBE_PARAMETERS))
    if unknown:
        word = without_user(unknown[0])
        raise web.HTTPBadRequest(
            text=f"unknown parameter {word!r}: /probe takes {', '.join(PROBE_PARAMETERS)}\n"
        )
    asked = request.query.get
    call = Call(asked("module", ""), asked("hostname", ""), asked("server_name", ""))
    try:
        target = target_for(service.discovery.known, asked("target", ""), asked("policy"), call)
    except NotAllowedError as error:
        request.app[REFUSED].inc()
        raise web.HTTPForbidden(text=f"{error}\n") from None
    except TargetError as error:
        raise web.HTTPBadRequest(text=f"{error}\n") from None
    if "host" in request.query and target.url.scheme != "domain":
        raise web.HTTPBadRequest(text="the parameter 'host' is for domains only: write hostname\n")
    return target


def _not_allowed(scrape: Scrape) -> str | None:
    """
    Return the reason why the target's addresses are not permitted; None when they are, or are not known.
    """
    for result in scrape.results:
        for look in result.looks:
            failed = look.observation
            if isinstance(failed, Failed) and failed.reason is Reason.ADDRESS_NOT_ALLOWED:
                return failed.detail
    return None


def explain(scrape: Scrape, text: str, now: float) -> str:
    """
    Return the steps of a probe, its findings and its metrics, as text for a person.
    """
    lines: list[str] = []
    for result in scrape.results:
        target = result.target
        lines.append(f"target    {target.name}")
        lines.append(f"policy    {target.policy.name}")
        if target.url.port:
            lines.append(f"expects   a certificate for {target.expected_name}")
        lines += [f"left out  {words}" for words in result.left_out]
        for look in result.looks:
            lines += ["", f"endpoint {look.label}, {look.duration:.3f} s"]
            lines += [f"  {when:7.3f} s  {words}" for when, words in look.steps]
    inventory = Inventory(scrape)
    for row in scrape.endpoints:
        found = inventory.status(row, now)
        lines += ["", f"{row.label} is {found.level.name}"]
        lines += [f"  {one.level.name.lower()}: {one.words}" for one in found.findings]
        if row.verdict is not None:
            for judged in row.verdict.items:
                lines.append(f"  {judged.item.name} expires {date(judged.item.not_after)}")
                if judged.deadlines is not None:
                    due = judged.deadlines
                    lines.append(
                        f"    renewal due {date(due.renewal_due)}, warning {date(due.warning)}, "
                        f"critical {date(due.critical)}"
                    )
    # Names and words come from others: no line break and no control sequence of theirs may act.
    return "\n".join(map(printable, lines)) + f"\n\nmetrics:\n{text}"


async def show_targets(request: web.Request) -> web.StreamResponse:
    """
    Answer with the configured targets for Prometheus's http_sd_configs.
    """
    service = request.app[SERVICE]
    # First: this is another thread than the one that changes them, and what is kept may be newer, not older.
    changes = service.discovery.changes
    targets = service.discovery.targets

    def parts() -> Iterator[bytes]:
        before = b"["
        for target in targets:
            yield before + json.dumps(_group(target)).encode("ascii")
            before = b", "
        yield b"]" if targets else b"[]"

    body = await request.app[RENDERINGS].get(("groups", changes), parts)
    return await answer(request, body, "application/json; charset=utf-8")


def _group(target: Target) -> dict[str, object]:
    """
    Return one target as a group of http_sd_configs.
    """
    return {
        "targets": [target.name],
        "labels": {
            "__meta_expiry_url": target.url.shown,
            "__meta_expiry_policy": target.policy.name,
            **{f"__meta_expiry_label_{name}": value for name, value in target.labels},
        },
    }


async def show_healthy(request: web.Request) -> web.StreamResponse:
    """
    Answer 200: the process runs and has a configuration; 503 when its other loop, which probes, hangs.
    """
    if (silence := request.app[PULSE].silence()) > HANGS:
        return web.Response(
            status=503,
            text=f"nothing has been probed for {silence:.0f} s: the event loop hangs, restart it\n",
        )
    return web.Response(text="expiry-exporter is healthy\n")


def _may_change(request: web.Request) -> None:
    """
    Raise 403 for a request that may not reload or end the exporter.
    """
    if why := request.app[PORT].refusal(request):
        raise web.HTTPForbidden(text=f"{why}\n")


async def reload(request: web.Request) -> web.StreamResponse:
    """
    Load the configuration and the web configuration again; 500 when either has faults, as Prometheus has it.
    """
    _may_change(request)
    refused = {"web configuration": await request.app[PORT].reload()}
    try:
        await request.app[SERVICE].reload()
    except ConfigError as error:
        refused["configuration"] = str(error)
    faults = [
        f"the {name} is not usable, the one before it stays in use:\n{why}\n"
        for name, why in refused.items()
        if why
    ]
    if faults:
        return web.Response(status=500, text="".join(faults))
    return web.Response(text="configuration loaded\n")


async def end(request: web.Request) -> web.StreamResponse:
    """
    End the exporter, as SIGTERM does, once this is answered.
    """
    _may_change(request)
    asyncio.get_running_loop().call_later(0.1, request.app[STOP])
    return web.Response(text="Requesting termination... Goodbye!\n")
