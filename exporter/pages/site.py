"""
Answers what people ask: pages, JSON, the calendar, and the three files that pages need.
"""

import asyncio
import gzip
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files
from urllib.parse import unquote_plus, urlsplit

from aiohttp import web

from exporter import document
from exporter.fleet import Entry, Fleet
from exporter.pages import overview, target
from exporter.pages.overview import Situation
from exporter.selection import (
    API_PARAMETERS,
    FILTERS,
    PAGE_PARAMETERS,
    ParameterError,
    Selection,
    parse,
)
from exporter.service import Service

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
    directory = files("exporter.pages") / "assets"
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

    def __init__(self, service: Service) -> None:
        self._service = service

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
        fleet = await self._fleet()
        return await _page(request, overview.render(fleet, selection, self._situation(), "./", versions()))

    async def show_target(self, request: web.Request) -> web.StreamResponse:
        """
        The page of one target.
        """
        fleet = await self._fleet()
        root = root_of(request.rel_url.raw_path, self._service.external_url)
        asked = request.match_info["name"]
        # Prometheus's `urlquery` writes a space as `+`, and a plus sign as `%2B`: decoded they are the same.
        as_query = unquote_plus(request.rel_url.raw_path.removeprefix("/targets/"))
        found = fleet.targets.get(asked) or fleet.find(as_query) or fleet.find(asked)
        if found is None:
            return await _page(request, target.render_missing(asked, root, versions()), 404)
        return await _page(request, target.render(fleet, found, self._situation(), root, versions()))

    async def show_items(self, request: web.Request) -> web.StreamResponse:
        """
        The items as JSON.
        """
        selection = _asked(request, API_PARAMETERS)
        fleet = await self._fleet()
        # Ten thousand items take a third of a second: beside the loop, which may have a scrape to answer.
        body = await asyncio.to_thread(_json, fleet, selection, self._service.clock())
        return await _answer(request, body, "application/json")

    async def show_calendar(self, request: web.Request) -> web.StreamResponse:
        """
        The deadlines as a calendar.
        """
        selection = _asked(request, FILTERS)
        fleet = await self._fleet()
        entries = fleet.select(selection, self._service.clock())
        # Beside the loop for the same reason: each event takes a third of a millisecond.
        body = await asyncio.to_thread(
            _calendar, entries, fleet.scrape.at, self._service.external_url, _calendar_name(selection)
        )
        return await _answer(request, body, "text/calendar")

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

    async def _fleet(self) -> Fleet:
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


def _json(fleet: Fleet, selection: Selection, now: float) -> bytes:
    return json.dumps(document.items(fleet, selection, now)).encode("ascii")


def _calendar(entries: Iterable[Entry], seen_at: float, external_url: str | None, name: str) -> bytes:
    from exporter import agenda  # noqa: PLC0415 - its library is large, and many never ask for a calendar

    return agenda.render(entries, seen_at, external_url, name)


def _calendar_name(selection: Selection) -> str:
    """
    What a program shows the calendar as.
    """
    parts = [f"{name}={value}" for name, value in selection.labels]
    parts += sorted(selection.targets)
    parts += [level.name.lower() for level in sorted(selection.levels)]
    parts += [selection.text] * bool(selection.text)
    return f"Expiry: {', '.join(parts)}" if parts else "Expiry"


async def _page(request: web.Request, html: str, status: int = 200) -> web.Response:
    # A name may hold what is no character (half of a surrogate pair): that must not be an error here.
    return await _answer(request, html.encode("utf-8", "replace"), "text/html", status)


async def _answer(request: web.Request, body: bytes, content_type: str, status: int = 200) -> web.Response:
    headers = {**HEADERS, "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("Accept-Encoding", "") and len(body) > 1024:
        body = await asyncio.to_thread(gzip.compress, body, 1)
        headers["Content-Encoding"] = "gzip"
    return web.Response(body=body, status=status, content_type=content_type, charset="utf-8", headers=headers)
