"""
Answers what people ask: pages, JSON, the calendar, and the three files that pages need.
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
from exporter.server.answers import answer
from exporter.server.bodies import Renderings
from exporter.server.pages import overview, target
from exporter.server.pages.overview import Situation
from exporter.server.service import Service

HEADERS = {
    # Nothing but our own three files, and no style or script within a page.
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


ASSETS = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
"""The files that pages need, with their types."""


@dataclass(frozen=True, slots=True)
class Asset:
    """
    One such file.
    """

    body: bytes
    content_type: str


@lru_cache(maxsize=1)
def assets() -> dict[str, Asset]:
    """
    The files by name.
    """
    directory = files("exporter.server.pages") / "assets"
    return {name: Asset((directory / name).read_bytes(), kind) for name, kind in ASSETS.items()}


@lru_cache(maxsize=1)
def versions() -> str:
    """
    The query that tells these files from those of another version, so that browsers may keep them.
    """
    return f"?v={sha256(b''.join(one.body for one in assets().values())).hexdigest()[:12]}"


class Site:
    """
    The pages over a service.
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
        router.add_get("/api/v1/items", self.show_items)
        router.add_get("/calendar.ics", self.show_calendar)
        router.add_get("/assets/{file}", self.show_asset)

    async def show_overview(self, request: web.Request) -> web.StreamResponse:
        """
        The status page.
        """
        try:
            selection = parse(request.query.items(), PAGE_PARAMETERS)
        except ParameterError as error:
            return await _page(request, target.render_refused(str(error), "./", versions()), 400)
        fleet, situation = await self._fleet(), self._situation()

        def parts() -> Iterator[bytes]:
            yield _encoded(overview.render(fleet, selection, situation, "./", versions()))

        body = await self._rendered(fleet, ("overview", selection), parts)
        return await _told(request, body, "text/html")

    async def show_target(self, request: web.Request) -> web.StreamResponse:
        """
        The page of one target.
        """
        fleet, situation = await self._fleet(), self._situation()
        root = root_of(request.rel_url.raw_path, self._service.external_url)
        asked = request.match_info["name"]
        # Prometheus's `urlquery` writes a space as `+`, and a plus sign as `%2B`: decoded they are the same.
        as_query = unquote_plus(request.rel_url.raw_path.removeprefix("/targets/"))
        found = await self._renderings.run(
            lambda: fleet.targets.get(asked) or fleet.find(as_query) or fleet.find(asked)
        )
        if found is None:
            return await _page(request, target.render_missing(asked, root, versions()), 404)

        def parts() -> Iterator[bytes]:
            yield _encoded(target.render(fleet, found, situation, root, versions()))

        body = await self._rendered(fleet, ("target", found.target.name, root), parts)
        return await _told(request, body, "text/html")

    async def show_items(self, request: web.Request) -> web.StreamResponse:
        """
        The items as JSON.
        """
        selection = _asked(request, API_PARAMETERS)
        fleet, now = await self._fleet(), self._service.clock()
        body = await self._rendered(fleet, ("items", selection), lambda: _json(fleet, selection, now))
        return await _told(request, body, "application/json")

    async def show_calendar(self, request: web.Request) -> web.StreamResponse:
        """
        The deadlines as a calendar.
        """
        selection = _asked(request, FILTERS)
        fleet, now = await self._fleet(), self._service.clock()

        def parts() -> Iterator[bytes]:
            entries, name = fleet.select(selection, now), _calendar_name(selection)
            yield from calendar.parts(entries, fleet.scrape.at, self._service.external_url, name)

        body = await self._rendered(fleet, ("calendar", selection), parts)
        return await _told(request, body, "text/calendar")

    async def show_asset(self, request: web.Request) -> web.StreamResponse:
        """
        A file that pages need.
        """
        found = assets().get(request.match_info["file"])
        if found is None:
            raise web.HTTPNotFound(text="there is no such file\n")
        # Its address has its version in it.
        kept = request.query_string == versions()[1:]
        cache = "public, max-age=31536000, immutable" if kept else "no-cache"
        headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": cache}
        return web.Response(
            body=found.body, content_type=found.content_type, charset="utf-8", headers=headers
        )

    async def _rendered(
        self, fleet: Inventory, what: tuple[Hashable, ...], parts: Callable[[], Iterable[bytes]]
    ) -> bytes:
        """
        The parts as one, made once for all who ask for this of the same fleet within a few seconds.
        """
        situation = replace(self._situation(), now=self._service.clock() // FRESH)
        return await self._renderings.get((fleet, situation, *what), parts)

    async def _fleet(self) -> Inventory:
        return self._service.fleet_of(await self._service.recent())

    def _situation(self) -> Situation:
        return Situation(self._service.clock(), self._service.rhythm, self._service.load_succeeded)


def root_of(raw_path: str, external_url: str | None) -> str:
    """
    What leads from a target's page to the start of the site, whatever path a proxy puts before it.

    Our own links have a name as one step of the path. When it came in several, either its
    slashes were typed or a proxy decoded them: then only the external URL knows.
    """
    steps = raw_path.count("/") - 1
    if steps > 1 and external_url is not None:
        return f"{urlsplit(external_url).path}/"
    return "../" * steps


def _asked(request: web.Request, allowed: tuple[str, ...]) -> Selection:
    try:
        return parse(request.query.items(), allowed)
    except ParameterError as error:
        raise web.HTTPBadRequest(text=f"{error}\n") from None


def _calendar_name(selection: Selection) -> str:
    """
    What a program shows the calendar as.
    """
    parts = [f"{name}={value}" for name, value in selection.labels]
    parts += sorted(selection.targets)
    parts += [level.name.lower() for level in sorted(selection.levels)]
    parts += [selection.text] * bool(selection.text)
    return f"Expiry: {', '.join(parts)}" if parts else "Expiry"


async def _page(request: web.Request, html: str, status: int = 200) -> web.StreamResponse:
    return await _told(request, _encoded(html), "text/html", status)


async def _told(request: web.Request, body: bytes, kind: str, status: int = 200) -> web.StreamResponse:
    return await answer(request, body, f"{kind}; charset=utf-8", status=status, headers=HEADERS)


def _encoded(html: str) -> bytes:
    # A name may hold what is no character (half of a surrogate pair): that must not be an error here.
    return html.encode("utf-8", "replace")


def _json(fleet: Inventory, selection: Selection, now: float) -> Iterator[bytes]:
    head, items = json_items.items(fleet, selection, now)
    before = json.dumps(head).removesuffix("}") + ', "items": ['
    for one in items:
        yield (before + json.dumps(one)).encode("ascii")
        before = ", "
    yield ("]}" if before == ", " else f"{before}]}}").encode("ascii")
