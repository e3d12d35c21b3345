"""
What a Kubernetes cluster holds that expires: listed once, then watched, so that a scrape asks nothing.

There is one view for each list that is needed, whichever targets share it. A view lists in pages, then
watches from where the list ended. It lists again only when the server has forgotten where that was (410
Gone). See https://kubernetes.io/docs/reference/using-api/api-concepts/.
"""

import asyncio
import fnmatch
import logging
import os
import random
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import aiohttp

from exporter import __version__
from exporter.clusters import PLUGIN_PAUSE, SERVICE_ACCOUNT, Access, Cluster
from exporter.files import Outcome
from exporter.foreign_text import clean, holds
from exporter.kubernetes_answers import (
    Change,
    GoneError,
    json_object,
    message_of,
    read_events,
    read_page,
)
from exporter.kubernetes_objects import (
    OPAQUE_TYPE,
    RESOURCES,
    TLS_TYPE,
    Key,
    Renewed,
    Resource,
    Stored,
    key_of,
    version_of,
    with_renewal,
)
from exporter.logs import fields
from exporter.network import DETAIL_LIMIT, Network, ProbeError, connect_error
from exporter.observation import Facts, Reason
from exporter.pools import Pool
from exporter.renewal_information import seconds_of
from exporter.targets import Target

logger = logging.getLogger(__name__)

PAGE = 250
"""Objects that are asked for at a time; fewer once a page was too large."""

PAGE_LIMIT = 8 * 1024 * 1024
"""Bytes of a page, and of one event of a watch. The server takes no object of more than 3 MB.

JSON that is made to fill memory takes thirty times as much of it.
"""

ERROR_LIMIT = 65536
"""Bytes of an answer that says what is wrong."""

FORGET_AFTER = 3600.0
"""Seconds after which a watch ends that no target asks for."""

_CHUNK = 65536

_READING = Pool("kubernetes", 2)


@dataclass(frozen=True, slots=True)
class Pace:
    """
    How long things may take, in seconds.
    """

    watch: float = 100.0
    """A watch is ended by the server after this, and begun again: so it is known to be alive."""
    silence: float = 10.0
    """How much longer than that a server may be silent."""
    answer: float = 30.0
    """For the headers of an answer, and between two parts of a list."""
    connect: float = 5.0
    broken: float = 120.0
    """From when on what a broken watch last gave is no news any more."""
    first_pause: float = 1.0
    """After a failure. Each further one doubles it."""
    longest_pause: float = 30.0
    longest_wait: float = 300.0
    """How long a server is left alone at most that asks for it. Real ones ask for a second."""
    plugin: float = PLUGIN_PAUSE


class RefusedError(ProbeError):
    """
    The server gives no such objects, while it may give others.
    """


class _BusyError(ProbeError):
    """
    The server asks to be left alone for some seconds (`Retry-After`, RFC 9110 section 10.2.3).
    """

    def __init__(self, reason: Reason, detail: str, seconds: float) -> None:
        super().__init__(reason, detail)
        self.seconds = seconds
        """0 when it does not say for how long."""


class _TooLargeError(Exception):
    """
    A page has more bytes than the limit.
    """


@dataclass(frozen=True, slots=True)
class Question:
    """
    What one view asks for.
    """

    kubeconfig: str | None
    context: str
    resource: Resource
    namespace: str
    """Empty: all of them."""
    fields: str
    """Field selector."""
    selector: str
    password: str | None = field(default=None, repr=False)

    @property
    def place(self) -> str:
        """
        What is asked for, as a label: `prod/secrets`.
        """
        return f"{self.namespace}/{self.resource.name}" if self.namespace else self.resource.name

    @property
    def name(self) -> str:
        """
        The one object that is asked for; empty when it is not one.
        """
        found = [one for one in self.fields.split(",") if one.startswith("metadata.name=")]
        return found[0].partition("=")[2] if found else ""

    def __str__(self) -> str:
        """
        What is asked for, in words.
        """
        of = f" {self.name!r}" if self.name else ""
        where = f"namespace {self.namespace!r}" if self.namespace else "all namespaces"
        return f"{self.resource.name}{of}" + (f" in {where}" if self.resource.namespaced else "")


class View:
    """
    All objects that one question means, kept up to date by a task.
    """

    def __init__(self, question: Question, cluster: Cluster, network: Network, pace: Pace) -> None:
        loop = network.loop
        self.question = question
        self.cluster = cluster
        self.objects: dict[Key, Stored] = {}
        self.changes = 0
        """How often the objects changed: the same number, the same objects."""
        self.listed = False
        self.lists = 0
        self.tried = asyncio.Event()
        """Set from the first list, or the first failure, on."""
        self._loop = loop
        self._clock = network.clock
        self._pace = pace
        self._page = PAGE
        self._version = ""
        self._watching = False
        self._contact = loop.time()
        self._failure: ProbeError | None = None
        self._failures = 0
        self._secrets: tuple[str, ...] = ()
        """What the API server was told in confidence last."""
        self._task = loop.create_task(self._run(), name=f"kubernetes {question.place}")

    def close(self) -> None:
        """
        End the watch.
        """
        self._task.cancel()

    @property
    def ended(self) -> bool:
        """
        True when the watch has ended, and nothing of it is open any more.
        """
        return self._task.done()

    @property
    def age(self) -> float:
        """
        Seconds since the server was last heard of; 0 while it is watched.
        """
        return 0.0 if self._watching else self._loop.time() - self._contact

    @property
    def failure(self) -> ProbeError | None:
        """
        Why nothing is known of the objects now; None when it is, or may be in a moment.
        """
        if self._failure is None or (self.listed and self.age < self._pace.broken):
            return None
        return self._failure

    async def _run(self) -> None:
        while True:
            begun = self._loop.time()
            try:
                await self._go_on()
                # One that ends at once, each time, is no watch, and must not become a storm.
                if self._loop.time() - begun < min(1.0, self._pace.first_pause):
                    await asyncio.sleep(self._pace.first_pause)
                continue
            except GoneError:
                self._version = ""
                if self._failures == 0 and self._loop.time() - begun > self._pace.first_pause:
                    continue
                words = "the API server forgets its own lists at once (410 Gone)"
                error = ProbeError(Reason.HTTP_FAILED, words)
            except ProbeError as caught:
                error = caught
            except aiohttp.ClientError as caught:
                error = failed(caught)
            except TimeoutError:
                error = ProbeError(Reason.TIMEOUT, "the API server did not answer in time")
            except OSError as caught:
                words = f"the connection to the API server broke: {caught.strerror or type(caught).__name__}"
                error = ProbeError(Reason.CONNECTION_RESET, words)
            except Exception as caught:
                logger.exception("internal error while watching Kubernetes")
                words = f"{type(caught).__name__}: please report it with the traceback in the exporter's log"
                error = ProbeError(Reason.INTERNAL_ERROR, words)
                self._version = ""
            await self._fail(error)

    async def _fail(self, error: ProbeError) -> None:
        detail = f"{self.question} of {self.cluster}: {clean(error.detail, DETAIL_LIMIT, self._secrets)}"
        if self._failure is None or self._failure.reason is not error.reason:
            logger.warning(
                "can't watch Kubernetes",
                extra=fields(resource=self.question.place, reason=error.reason, detail=detail),
            )
        kind = RefusedError if isinstance(error, RefusedError) else ProbeError
        self._failure = kind(error.reason, detail)
        self.tried.set()
        pause = min(self._pace.first_pause * 2.0**self._failures, self._pace.longest_pause)
        self._failures = min(self._failures + 1, 20)
        # What is asked for is a minimum, so it is spread to one side only.
        wait = min(error.seconds, self._pace.longest_wait) if isinstance(error, _BusyError) else 0.0
        spread = random.uniform(0.0, 0.4)  # noqa: S311 - spreads, keeps no secret
        await asyncio.sleep(max(pause * (0.8 + spread), wait * (1.0 + spread / 4)))

    def _heard(self) -> None:
        """
        Note that all is well.
        """
        self._contact = self._loop.time()
        if self._failure is not None:
            logger.info("Kubernetes can be watched again", extra=fields(resource=self.question.place))
        self._failure, self._failures = None, 0

    async def _go_on(self) -> None:
        """
        List, if need be, and watch until the server ends that.
        """
        # Each time, so that rotated tokens and certificates are taken up.
        access = await self.cluster.access()
        self._secrets = access.secrets
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=self._pace.connect, sock_read=self._pace.answer
        )
        async with aiohttp.ClientSession(
            headers={
                "User-Agent": f"expiry-exporter/{__version__}",
                "Accept": "application/json",
                **access.headers,
            },
            timeout=timeout,
            connector=aiohttp.TCPConnector(ssl=access.tls, socket_factory=_socket),
        ) as session:
            if not self._version:
                await self._list(session, access)
            try:
                await self._watch(session, access)
            finally:
                self._watching = False

    def _request(self, session: aiohttp.ClientSession, access: Access, **more: str) -> Any:
        """
        A GET of what is asked for.
        """
        asked = {"fieldSelector": self.question.fields, "labelSelector": self.question.selector, **more}
        options: dict[str, Any] = {}
        if access.server_name is not None:
            options["server_hostname"] = access.server_name
        if "watch" in more:
            silence = self._pace.watch + self._pace.silence
            options["timeout"] = aiohttp.ClientTimeout(
                total=None, sock_connect=self._pace.connect, sock_read=silence
            )
        return session.get(
            access.server + self.question.resource.path(self.question.namespace),
            params={key: value for key, value in asked.items() if value},
            # Where they led, the token would go too.
            allow_redirects=False,
            proxy=access.proxy,
            **options,
        )

    async def _list(self, session: aiohttp.ClientSession, access: Access) -> None:
        self.lists += 1
        objects: dict[Key, Stored] = {}
        position = ""
        while True:
            asked = {"limit": str(self._page), "continue": position}
            try:
                async with self._request(session, access, **asked) as answer:
                    await self._refuse_unless_good(answer, access)
                    data = await _content(answer, PAGE_LIMIT)
            except _TooLargeError:
                if self._page == 1:
                    words = f"one of the objects has more than {PAGE_LIMIT:,} bytes"
                    raise ProbeError(Reason.FILE_TOO_LARGE, words) from None
                self._page = max(1, self._page // 8)
                continue
            page = await _READING.run(partial(read_page, data, self._read_object))
            del data
            objects |= page.objects
            position = page.next
            if not position:
                break
        self.objects, self._version = objects, page.version
        self.changes += 1
        self.listed = True
        self._heard()
        self.tried.set()

    async def _watch(self, session: aiohttp.ClientSession, access: Access) -> None:
        asked = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(max(1, round(self._pace.watch))),
        }
        async with self._request(session, access, **asked) as answer:
            await self._refuse_unless_good(answer, access)
            self._watching = True
            self._heard()
            buffer = bytearray()
            async for chunk in answer.content.iter_any():
                self._contact = self._loop.time()
                buffer += chunk
                if len(buffer) > PAGE_LIMIT:
                    self._version = ""
                    words = f"an event of the watch has more than {PAGE_LIMIT:,} bytes"
                    raise ProbeError(Reason.FILE_TOO_LARGE, words)
                if b"\n" in chunk:
                    whole, _, rest = bytes(buffer).rpartition(b"\n")
                    buffer = bytearray(rest)
                    self._take(await _READING.run(partial(self._read_events, whole)))
            if buffer.strip():
                raise ProbeError(Reason.CONNECTION_CLOSED, "the watch was cut off in the middle of an event")

    def _read_object(self, obj: Any) -> tuple[Key, Stored]:
        key = key_of(obj)
        before = self.objects.get(key)
        version = version_of(obj)
        if before is not None and version and before.version == version:
            return key, before
        stored = self.question.resource.read(obj, self.question.password, before)
        if any(holds(name, self._secrets) for name in _names(key, stored)):
            words = "the API server repeats the token that it was shown, in the name of something"
            raise ProbeError(Reason.HTTP_FAILED, words)
        return key, stored

    def _read_events(self, data: bytes) -> list[Change]:
        """
        The events of a watch. Raises ProbeError and GoneError. Runs in a thread: keystores may take long.
        """
        try:
            return read_events(data, self._read_object)
        except ProbeError:
            # What is wrong there would be there the next time too.
            self._version = ""
            raise

    def _take(self, changes: Iterable[Change]) -> None:
        for one in changes:
            if one.stored is not None and one.key is not None:
                self.objects[one.key] = one.stored
                self.changes += 1
            elif one.key is not None:
                self.objects.pop(one.key, None)
                self.changes += 1
            self._version = one.version or self._version

    async def _refuse_unless_good(self, answer: aiohttp.ClientResponse, access: Access) -> None:
        """
        Raise what the status of an answer means, unless it is 200.
        """
        if answer.status == 200:
            return
        if answer.status == 410:
            raise GoneError
        try:
            message = message_of(json_object(await _content(answer, ERROR_LIMIT)), access.secrets)
        except (ProbeError, _TooLargeError):
            message = ""
        says = f": {message}" if message else ""
        question = self.question
        if answer.status == 401:
            self.cluster.refused(access)
            words = f"the API server does not take the token or certificate (401): is it expired?{says}"
            raise ProbeError(Reason.ACCESS_DENIED, words)
        if answer.status == 403:
            where = f"in namespace {question.namespace!r}" if question.namespace else "in the whole cluster"
            group = f" of the group {question.resource.group}" if question.resource.group else ""
            what = f"{question.resource.name}{group} {where}"
            words = f"not permitted (403): grant the verbs list and watch on {what}{says}"
            raise RefusedError(Reason.ACCESS_DENIED, words)
        if answer.status == 404:
            words = f"the API server has no {question.resource.api}/{question.resource.name} (404)"
            raise RefusedError(Reason.HTTP_FAILED, words)
        reason = Reason.RATE_LIMITED if answer.status == 429 else Reason.HTTP_FAILED
        words = f"the API server answered with HTTP status {answer.status}{says}"
        if answer.status in {429, 503}:
            wait = seconds_of(answer.headers.get("Retry-After"), self._clock())
            raise _BusyError(reason, words, wait or 0.0)
        raise ProbeError(reason, words)


def _names(key: Key, stored: Stored) -> Iterator[str]:
    """
    All that becomes a label or stands in a message of what is stored of an object.
    """
    yield from key
    for label, outcome in stored.outcomes.items():
        yield label
        facts = outcome.facts if isinstance(outcome, ProbeError) else outcome
        if isinstance(outcome, ProbeError):
            yield outcome.detail
        for item in facts.items if isinstance(facts, Facts) else ():
            yield item.name
            if item.certificate is not None:
                yield item.certificate.subject
                yield item.certificate.issuer


def _socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """
    A socket that notices a peer which is gone, though a watch may be silent for long.
    """
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_KEEPIDLE, 20), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3)):
        made.setsockopt(socket.IPPROTO_TCP, option, value)
    return made


async def _content(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    content = bytearray()
    async for chunk in answer.content.iter_chunked(_CHUNK):
        content += chunk
        if len(content) > limit:
            raise _TooLargeError
    return bytes(content)


def failed(error: aiohttp.ClientError) -> ProbeError:
    """
    The reason for a request without an answer. What was received is not repeated: a Secret may be in it.
    """
    match error:
        case aiohttp.ClientConnectorDNSError():
            words = f"the API server {error.host!r} can't be looked up: {error.os_error}"
            return ProbeError(Reason.DNS_FAILED, words)
        case aiohttp.ClientConnectorCertificateError():
            words = f"the certificate of the API server is not trusted: {error.certificate_error}"
            return ProbeError(Reason.HTTP_FAILED, words)
        case aiohttp.ClientHttpProxyError() | aiohttp.ClientProxyConnectionError():
            return ProbeError(Reason.PROXY_FAILED, "the proxy to the API server can't be used")
        case aiohttp.ClientSSLError():
            why = getattr(error.os_error, "reason", None) or type(error.os_error).__name__
            words = f"the TLS handshake with the API server failed: {why}"
            return ProbeError(Reason.HANDSHAKE_REFUSED, words)
        case aiohttp.ClientConnectorError():
            return connect_error(error.os_error, error.host, error.port or 0)
        case aiohttp.ConnectionTimeoutError():
            return ProbeError(Reason.CONNECT_TIMEOUT, "the API server did not answer the connection")
        case aiohttp.ServerTimeoutError():
            return ProbeError(Reason.TIMEOUT, "the API server did not answer in time")
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError():
            words = "the API server closed the connection before its answer was whole"
            return ProbeError(Reason.CONNECTION_CLOSED, words)
        case aiohttp.ClientOSError():
            words = f"the connection to the API server broke: {error.strerror or type(error).__name__}"
            return ProbeError(Reason.CONNECTION_RESET, words)
    return ProbeError(Reason.HTTP_FAILED, f"the API server can't be asked: {type(error).__name__}")


@dataclass(frozen=True, slots=True)
class Seen:
    """
    What a target means now.
    """

    outcomes: Mapping[str, Outcome]
    """By label, in order."""
    left_out: tuple[str, ...] = ()


_NOTHING = Seen({})


@dataclass(slots=True)
class Selection:
    """
    What one target means, and the views that know it.
    """

    namespace: str
    """A name or a pattern."""
    name: str
    views: tuple[View, ...]
    asked: float = 0.0
    _changes: tuple[int, ...] = ()
    _seen: tuple[Seen, ...] = ()
    """For each view, without regard to failures."""

    async def ready(self, timeout: float) -> None:
        """
        Wait until every view has something to say. Raises TimeoutError.
        """
        async with asyncio.timeout(timeout):
            for view in self.views:
                await view.tried.wait()

    def seen(self, now: float) -> Seen:
        """
        The endpoints and what is in them. Raises ProbeError when that can't be known, or there are none.
        """
        failures = [view.failure for view in self.views]
        for view, error in zip(self.views, failures, strict=True):
            # What may be there must not be taken for gone. What the server refuses will stay refused.
            if error is not None and not view.listed and not isinstance(error, RefusedError):
                raise ProbeError(error.reason, error.detail)
        if failures[0] is not None and all(failures):
            raise ProbeError(failures[0].reason, failures[0].detail)
        outcomes: dict[str, Outcome] = {}
        left_out: list[str] = []
        for view, seen, error in zip(self.views, self._current(), failures, strict=True):
            left_out += seen.left_out
            if error is None:
                outcomes |= seen.outcomes if view.age == 0 else _dated(seen.outcomes, now - view.age)
            else:
                # A new one for each: the same failure is told many times.
                labels = tuple(seen.outcomes) or (view.question.place,)
                outcomes |= {label: ProbeError(error.reason, error.detail) for label in labels}
        if not outcomes:
            raise ProbeError(Reason.NO_MATCH, self._no_match(left_out))
        return Seen(outcomes, tuple(left_out))

    def _no_match(self, left_out: Sequence[str]) -> str:
        asked = " and ".join(dict.fromkeys(view.question.resource.name for view in self.views))
        words = f"none of the {asked} with the name {self.namespace}/{self.name} holds anything that expires"
        return "; ".join((words, *left_out[:3]))

    def _current(self) -> tuple[Seen, ...]:
        """
        What each view knows of the target; put together anew only when one of them changed.
        """
        changes = tuple(view.changes for view in self.views)
        if changes != self._changes or not self._seen:
            renewed: dict[Key, Renewed] = {
                stored.renewed.secret: stored.renewed
                for view in self.views
                for stored in view.objects.values()
                if stored.renewed is not None
            }
            self._seen = tuple(self._of(view, renewed) for view in self.views)
            self._changes = changes
        return self._seen

    def _of(self, view: View, renewed: Mapping[Key, Renewed]) -> Seen:
        resource = view.question.resource
        outcomes: dict[str, Outcome] = {}
        left_out: list[str] = []
        secrets = RESOURCES["secrets"][0]
        for key in sorted(view.objects):
            namespace, name = key
            if not _fits(name, self.name) or (resource.namespaced and not _fits(namespace, self.namespace)):
                continue
            stored = view.objects[key]
            renewal = renewed.get(key) if resource is secrets else None
            if renewal is None:
                outcomes |= stored.outcomes
            else:
                outcomes |= {label: with_renewal(one, renewal) for label, one in stored.outcomes.items()}
            left_out += stored.left_out
        return Seen(outcomes, tuple(left_out))


def _dated(outcomes: Mapping[str, Outcome], at: float) -> dict[str, Outcome]:
    """
    The same, seen when the server was last heard of.
    """
    return {
        label: replace(one, seen_at=at) if isinstance(one, Facts) else one for label, one in outcomes.items()
    }


def is_pattern(text: str) -> bool:
    """
    True when the text has characters that stand for others.
    """
    return any(letter in text for letter in "*?[")


def _fits(text: str, pattern: str) -> bool:
    return pattern in {"*", text} or fnmatch.fnmatchcase(text, pattern)


def questions(target: Target) -> tuple[Question, ...]:
    """
    What has to be asked for a target: as little as its URL and settings permit.
    """
    context, namespace, name = parts(target)
    settings = target.kubernetes
    inside = "" if is_pattern(namespace) else namespace
    named = "" if is_pattern(name) else f"metadata.name={name}"
    found: list[Question] = []
    for asked in settings.resources:
        for resource in RESOURCES[asked]:
            where = inside if resource.namespaced else ""
            selectors = [named]
            if asked == "secrets":
                types = settings.types or (() if named else (TLS_TYPE, OPAQUE_TYPE))
                # One for each, so that no other Secret is ever sent, least of all the large ones of Helm.
                selectors = [",".join(filter(None, (named, f"type={one}"))) for one in types] or [named]
            if asked == "certificates":
                # Their names and labels are not those of the Secrets.
                found.append(Question(settings.kubeconfig, context, resource, where, "", ""))
                continue
            found += [
                Question(
                    settings.kubeconfig, context, resource, where, one, settings.selector, target.password
                )
                for one in selectors
            ]
    return tuple(found)


def parts(target: Target) -> tuple[str, str, str]:
    """
    Context, empty when there is none, namespace and name of a target's URL.
    """
    rest, _, name = target.url.path.rpartition("/")
    context, _, namespace = rest.rpartition("/")
    # A context may have slashes in it, and an '@', which in a URL is %40.
    return unquote(context), namespace, name


class Kubernetes:
    """
    All views of the process.
    """

    def __init__(
        self,
        network: Network,
        environ: Mapping[str, str] = os.environ,
        service_account: Path = SERVICE_ACCOUNT,
        pace: Pace = Pace(),
    ) -> None:
        self._network = network
        self._environ = environ
        self._service_account = service_account
        self._pace = pace
        self._clusters: dict[tuple[str | None, str], Cluster] = {}
        self._views: dict[Question, View] = {}
        self._selections: dict[tuple[tuple[Question, ...], str], Selection] = {}
        self._cleaned = network.loop.time()

    def close(self) -> None:
        """
        End all watches.
        """
        for view in self._views.values():
            view.close()

    def selection(self, target: Target) -> Selection:
        """
        What a target means. What it needs is watched from now on.
        """
        asked = questions(target)
        key = (asked, target.url.path)
        now = self._network.loop.time()
        if now > self._cleaned + FORGET_AFTER / 8:
            self._forget(now)
        found = self._selections.get(key)
        if found is None:
            _, namespace, name = parts(target)
            found = Selection(namespace, name, tuple(map(self._view, asked)))
            self._selections[key] = found
        found.asked = now
        return found

    @property
    def views(self) -> tuple[View, ...]:
        """
        All that is watched.
        """
        return tuple(self._views.values())

    def _view(self, question: Question) -> View:
        found = self._views.get(question)
        if found is None:
            cluster = self._clusters.setdefault(
                (question.kubeconfig, question.context),
                Cluster(
                    question.kubeconfig,
                    question.context,
                    self._environ,
                    self._service_account,
                    self._network.clock,
                    self._pace.plugin,
                ),
            )
            found = self._views[question] = View(question, cluster, self._network, self._pace)
        return found

    def _forget(self, now: float) -> None:
        """
        End the watches that no target asks for any more.
        """
        self._cleaned = now
        old = [key for key, one in self._selections.items() if one.asked < now - FORGET_AFTER]
        for key in old:
            del self._selections[key]
        if old:
            used = {id(view) for one in self._selections.values() for view in one.views}
            for question in [question for question, view in self._views.items() if id(view) not in used]:
                self._views.pop(question).close()


def kubernetes(network: Network) -> Kubernetes:
    """
    The watches of the process.
    """
    return network.resource(Kubernetes, lambda: Kubernetes(network))
