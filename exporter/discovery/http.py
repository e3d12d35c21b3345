"""
Source `http`: a web server that answers in Prometheus's http_sd format.
"""

import base64
import ssl
from dataclasses import replace
from hashlib import sha256
from typing import Any

from exporter.config.sources import HttpSource
from exporter.discovery.base import Context, Listing, Source, SourceError
from exporter.discovery.files import SIZE_LIMIT, parsed
from exporter.discovery.sd import FOUND_LIMIT, GroupError, bounded, targets
from exporter.discovery.threads import in_thread
from exporter.model.errors import ProbeError
from exporter.model.foreign_text import clean, of_authorization
from exporter.net.http import Downloaded, download, shown
from exporter.net.regular_files import read
from exporter.net.tls_contexts import tls_context

SECRET_LIMIT = 64 * 1024
"""Bytes of the files with credentials and with trust anchors."""


INTERVAL = 60.0


NOTE_LIMIT = 300
"""Characters of a note, and of what is wrong with a list."""


ANSWER_TIMEOUT = 20.0
"""Seconds that one answer may take."""


async def run(settings: HttpSource, context: Context) -> Listing:
    """
    Return the targets that the server lists. Raises SourceError.
    """
    where = shown(settings.url)
    try:
        headers, trust = await in_thread(lambda: _prepared(settings))
        got = await download(
            context.network.resolver,
            settings.url,
            SIZE_LIMIT,
            timeout=ANSWER_TIMEOUT,
            headers={"Accept": "application/json", **headers},
            trust=trust,
            authorities="`ca_file` of the source",
        )
    except ProbeError as error:
        raise SourceError(error.detail) from None
    secrets = of_authorization(headers.get("Authorization", ""))
    _refuse(got, where, secrets)
    digest = sha256(got.body).hexdigest()
    if context.remembered == digest and not context.whole:
        return Listing(unchanged=True)
    try:
        listing = await in_thread(lambda: _listed(got.body, where, digest))
    except GroupError as error:
        raise SourceError(f"{where}: {clean(str(error), NOTE_LIMIT, secrets)}") from None
    return replace(listing, notes=tuple(clean(note, NOTE_LIMIT, secrets) for note in listing.notes))


def _prepared(settings: HttpSource) -> tuple[dict[str, str], ssl.SSLContext | None]:
    """
    Return the headers and the trust anchors for the request. Raises ProbeError and SourceError.
    """
    headers: dict[str, str] = {}
    if settings.credentials_file is not None:
        data, _ = read(settings.credentials_file, SECRET_LIMIT)
        words = data.decode("utf-8", "replace").strip()
        if not words.isprintable() or not words:
            raise SourceError(f"{settings.credentials_file} must hold one line: user:password, or a token")
        basic = base64.b64encode(words.encode()).decode() if ":" in words else ""
        headers["Authorization"] = f"Basic {basic}" if basic else f"Bearer {words}"
    if settings.ca_file is None:
        return headers, None
    content, _ = read(settings.ca_file, 16 * 1024 * 1024)
    try:
        return headers, tls_context(content, None)
    except OSError:
        raise SourceError(f"{settings.ca_file} has no certificates that can be used") from None


def _refuse(got: Downloaded, where: str, secrets: tuple[str, ...]) -> None:
    """
    Raise SourceError for what is no list.
    """
    if got.status != 200:
        hint = ": check `credentials_file`" if got.status in {401, 403} else ""
        raise SourceError(f"{where} answered with status {got.status}{hint}")
    kind = got.headers.get("Content-Type", "")
    if kind.partition(";")[0].strip().lower() != "application/json":
        said = clean(kind, 100, secrets) or "no type"
        raise SourceError(f"{where} answered with {said}, and must with application/json")


def _listed(body: bytes, where: str, digest: Any) -> Listing:
    notes: dict[str, None] = {}
    groups = parsed(body, ".json")
    found = bounded(targets(groups, where, notes), FOUND_LIMIT, notes)
    return Listing(tuple(found), tuple(notes), digest)


SOURCE = Source("http", INTERVAL, run)
