"""
The routes for people: pages, JSON, the calendar, and the three assets of pages.
"""

import json
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files
from urllib.parse import unquote_plus, urlsplit

from aiohttp import web

from exporter.report import calendar, json_items
from exporter.report.filters import API_PARAMETERS, FILTERS, PAGE_PARAMETERS, ParameterError, Selection, parse
from exporter.report.inventory import FRESH, Inventory
from exporter.server import documents
from exporter.server.answers import answer
from exporter.server.bodies import Renderings
from exporter.server.pages import certificates, faults, overview, target, unwatched
from exporter.server.pages.overview import Situation
from exporter.server.service import Service

HEADERS = {
    # Only the three assets are loaded, and no style or script within a page.
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


ASSETS = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
"""Content types of the files that pages load, by name."""


RenderList = Callable[[Inventory, Selection, Situation, str, str], str]
"""Renders a list of what is selected."""


@dataclass(frozen=True, slots=True)
class Asset:
    """
    A file that pages load.
    """

    body: bytes
    content_type: str


@lru_cache(maxsize=1)
def assets() -> dict[str, Asset]:
    """
    Return the files that pages load, by name.
    """
    directory = files("exporter.server.pages") / "assets"
    return {name: Asset((directory / name).read_bytes(), kind) for name, kind in ASSETS.items()}


@lru_cache(maxsize=1)
def versions() -> str:
    """
    Return the query of the assets' URLs, which changes with their contents, so that browsers may cache them.
    """
    return f"?v={sha256(b''.join(one.body for one in assets().values())).hexdigest()[:12]}"


class Site:
    """
    The handlers of the routes for people, over a service.
    """

    def __init__(self, service: Service, renderings: Renderings) -> None:
        self._service = service
        self._renderings = renderings

    def add_to(self, router: web.UrlDispatcher) -> None:
        """
        Add the routes.
        """
        router.add_get("/", self.show_overview)
        router.add_get("/targets/{name:.+}", self.show_target)
        router.add_get("/certificates", self.show_certificates)
        router.add_get("/unwatched", self.show_unwatched)
        router.add_get("/api/v1/items", self.show_items)
        router.add_get("/api/v1/unwatched", self.show_unwatched_items)
        router.add_get("/calendar.ics", self.show_calendar)
        for place in ("docs", "runbooks"):
            router.add_get(f"/{place}", show_slash_missing)
            router.add_get(f"/{place}/", self.show_document)
            router.add_get(f"/{place}/{{name:.+}}", self.show_document)
        router.add_get("/assets/{file}", self.show_asset)

    async def show_overview(self, request: web.Request) -> web.StreamResponse:
        """
        Answer with the status page; 400 for an invalid query.
        """
        return await self._show_list(request, overview.render, "endpoints")

    async def show_certificates(self, request: web.Request) -> web.StreamResponse:
        """
        Answer with the list of certificates; 400 for an invalid query.
        """
        return await self._show_list(request, certificates.render, "certificates")

    async def _show_list(self, request: web.Request, render: RenderList, what: str) -> web.StreamResponse:
        selection = _selection(request, PAGE_PARAMETERS)
        inventory, situation = await self._inventory(), self._situation()

        def parts() -> Iterator[bytes]:
            yield _encoded(render(inventory, selection, situation, "./", versions()))

        body = await self._rendered(inventory, (what, selection), parts)
        return await _respond(request, body, "text/html")

    async def show_target(self, request: web.Request) -> web.StreamResponse:
        """
        Answer with the page of one target; 404 for an unknown one.
        """
        inventory, situation = await self._inventory(), self._situation()
        root = root_of(request.rel_url.raw_path, self._service.external_url)
        asked = request.match_info["name"]
        # Prometheus's `urlquery` writes a space as `+`, and a plus sign as `%2B`: decoded they are the same.
        as_query = unquote_plus(request.rel_url.raw_path.removeprefix("/targets/"))
        found = await self._renderings.run(
            lambda: inventory.targets.get(asked) or inventory.find(as_query) or inventory.find(asked)
        )
        if found is None:
            return await respond_page(request, faults.render_missing(asked, root, versions()), 404)

        def parts() -> Iterator[bytes]:
            yield _encoded(target.render(inventory, found, situation, root, versions()))

        body = await self._rendered(inventory, ("target", found.target.name, root), parts)
        return await _respond(request, body, "text/html")

    async def show_items(self, request: web.Request) -> web.StreamResponse:
        """
        Answer with the selected items as JSON; 400 for an invalid query.
        """
        selection = _selection(request, API_PARAMETERS)
        inventory, now = await self._inventory(), self._service.clock()
        body = await self._rendered(inventory, ("items", selection), lambda: _json(inventory, selection, now))
        return await _respond(request, body, "application/json")

    async def show_unwatched(self, request: web.Request) -> web.StreamResponse:
        """
        Answer with the page of what no target looks at.
        """
        inventory, situation, sharded = await self._inventory(), self._situation(), self._service.sharded

        def parts() -> Iterator[bytes]:
            yield _encoded(unwatched.render(inventory, situation, "./", versions(), sharded=sharded))

        body = await self._rendered(inventory, ("unwatched",), parts)
        return await _respond(request, body, "text/html")

    async def show_unwatched_items(self, request: web.Request) -> web.StreamResponse:
        """
        Answer with what no target looks at as JSON.
        """
        inventory = await self._inventory()

        def parts() -> Iterator[bytes]:
            yield json.dumps(json_items.unwatched(inventory)).encode("ascii")

        body = await self._rendered(inventory, ("unwatched items",), parts)
        return await _respond(request, body, "application/json")

    async def show_calendar(self, request: web.Request) -> web.StreamResponse:
        """
        Answer with the deadlines as a calendar (RFC 5545); 400 for an invalid query.
        """
        selection = _selection(request, FILTERS)
        inventory, now = await self._inventory(), self._service.clock()

        def parts() -> Iterator[bytes]:
            entries, name = inventory.select(selection, now), _calendar_name(selection)
            yield from calendar.parts(entries, inventory.scrape.at, self._service.external_url, name)

        body = await self._rendered(inventory, ("calendar", selection), parts)
        return await _respond(request, body, "text/calendar")

    async def show_document(self, request: web.Request) -> web.StreamResponse:
        """
        Answer with a chapter of the manual or a runbook; without a name, with the list of all.
        """
        place = request.path.split("/")[1]
        # The files are called so, and links to them may be in use.
        name = request.match_info.get("name", "").removesuffix(".md")
        shelf = documents.manual() if place == "docs" else documents.runbooks()
        root = root_of(request.rel_url.raw_path, self._service.external_url)
        shown = shelf.documents.get(name)

        def parts() -> Iterator[bytes]:
            from exporter.server.pages import documentation  # noqa: PLC0415 - its library is large, and many never need it

            if shown is not None:
                yield _encoded(documentation.render(shown, place, root, versions()))
            elif name:
                yield _encoded(documentation.render_missing(name, shelf, root, versions()))
            else:
                yield _encoded(documentation.render_shelf(shelf, root, versions()))

        body = await self._renderings.get((place, name, root), parts)
        return await _respond(request, body, "text/html", 404 if name and shown is None else 200)

    async def show_asset(self, request: web.Request) -> web.StreamResponse:
        """
        Answer with an asset; 404 for an unknown one.
        """
        found = assets().get(request.match_info["file"])
        if found is None:
            raise web.HTTPNotFound(text="there is no such file\n")
        # A URL with the present version never gets other contents.
        kept = request.query_string == versions()[1:]
        cache = "public, max-age=31536000, immutable" if kept else "no-cache"
        headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": cache}
        return web.Response(
            body=found.body, content_type=found.content_type, charset="utf-8", headers=headers
        )

    async def _rendered(
        self, inventory: Inventory, what: tuple[Hashable, ...], parts: Callable[[], Iterable[bytes]]
    ) -> bytes:
        """
        Return the parts as one body, made once for equal requests within FRESH seconds.
        """
        situation = replace(self._situation(), now=self._service.clock() // FRESH)
        return await self._renderings.get((inventory, situation, *what), parts)

    async def _inventory(self) -> Inventory:
        return self._service.fleet_of(await self._service.recent())

    def _situation(self) -> Situation:
        service = self._service
        return Situation(service.clock(), service.rhythm, service.load_succeeded, service.discovery.failing)


def wants_page(request: web.Request) -> bool:
    """
    Return True for a browser that shows what it gets, rather than a program.
    """
    return "text/html" in request.headers.get("Accept", "")


def in_style(
    request: web.Request, response: web.StreamResponse, external_url: str | None
) -> web.Response | None:
    """
    Return the page to send to a person instead of an error in plain text; None for any other answer.

    Who has no password yet, or asks too often, gets no page.
    """
    if response.status < 400 or response.status in {401, 429} or response.content_type != "text/plain":
        return None
    if not isinstance(response, web.Response) or response.text is None or not wants_page(request):
        return None
    root = root_of(request.rel_url.raw_path, external_url)
    html = faults.render(response.status, response.text, request.path, root, versions())
    kept = {name: response.headers[name] for name in ("Allow", "Retry-After") if name in response.headers}
    return web.Response(
        status=response.status,
        body=_encoded(html),
        headers={**HEADERS, **kept, "Content-Type": "text/html; charset=utf-8"},
    )


async def show_slash_missing(request: web.Request) -> web.StreamResponse:
    """
    Redirect from `/docs` to `/docs/`, whatever path a proxy puts before it.
    """
    raise web.HTTPPermanentRedirect(f"{request.path[1:]}/")


def root_of(raw_path: str, external_url: str | None) -> str:
    """
    Return the URL of the site's start relative to a target's page, whatever path a proxy puts before it.

    Links of the pages have a target's name as one segment of the path. When it came in several, its slashes
    were typed, or a proxy decoded them: then only the external URL has the answer.
    """
    steps = raw_path.count("/") - 1
    if steps > 1 and external_url is not None:
        return f"{urlsplit(external_url).path}/"
    return "../" * steps or "./"


def _selection(request: web.Request, allowed: tuple[str, ...]) -> Selection:
    try:
        return parse(request.query.items(), allowed)
    except ParameterError as error:
        raise web.HTTPBadRequest(text=f"{error}\n") from None


def _calendar_name(selection: Selection) -> str:
    """
    Return the name of the calendar that calendar programs show.
    """
    parts = [f"{name}={value}" for name, value in selection.labels]
    parts += sorted(selection.targets)
    parts += [level.name.lower() for level in sorted(selection.levels)]
    parts += [selection.text] * bool(selection.text)
    return f"Expiry: {', '.join(parts)}" if parts else "Expiry"


async def respond_page(request: web.Request, html: str, status: int = 200) -> web.StreamResponse:
    """
    Send a page.
    """
    return await _respond(request, _encoded(html), "text/html", status)


async def _respond(request: web.Request, body: bytes, kind: str, status: int = 200) -> web.StreamResponse:
    return await answer(request, body, f"{kind}; charset=utf-8", status=status, headers=HEADERS)


def _encoded(html: str) -> bytes:
    # A name may hold what is no character (half of a surrogate pair): that must not be an error here.
    return html.encode("utf-8", "replace")


def _json(inventory: Inventory, selection: Selection, now: float) -> Iterator[bytes]:
    head, items = json_items.items(inventory, selection, now)
    before = json.dumps(head).removesuffix("}") + ', "items": ['
    for one in items:
        yield (before + json.dumps(one)).encode("ascii")
        before = ", "
    yield ("]}" if before == ", " else f"{before}]}}").encode("ascii")
