"""
The watch of one kind of object in a cluster: listed once, then kept up to date by its events.
"""

import asyncio
import logging
import random
from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import aiohttp

from exporter.logs import fields
from exporter.model.errors import DETAIL_LIMIT, ProbeError
from exporter.model.foreign_text import clean, holds
from exporter.model.reasons import Reason
from exporter.net.backoff import Backoff
from exporter.net.http import TooLargeError, failed, read_body
from exporter.net.http_sessions import Session, session
from exporter.net.network import Network
from exporter.pki.renewal_information import seconds_of
from exporter.probes.kubernetes.api import Change, GoneError, json_object, message_of, read_events, read_page
from exporter.probes.kubernetes.bounds import ERROR_LIMIT, GROWTH, PAGE, PAGE_LIMIT, PAGES_LIMIT, Held, Weight
from exporter.probes.kubernetes.cluster import PLUGIN_PAUSE, Access, Cluster
from exporter.probes.kubernetes.objects import Key, Question, Stored, key_of, texts_of, version_of

logger = logging.getLogger(__name__)


SERVER = "the API server"
"""The server of a cluster, in words."""


Answer = AbstractAsyncContextManager[aiohttp.ClientResponse]
"""The answer to a request, for as long as it is read."""


AUTHORITIES = "certificate-authority of the kubeconfig"
"""The configuration of a private CA, in words."""


@dataclass(frozen=True, slots=True)
class Pace:
    """
    Intervals and timeouts in seconds.
    """

    watch: float = 100.0
    """The duration of a watch, which the server ends: a new one shows that the server is alive."""
    silence: float = 10.0
    """The grace after that duration before a silent server counts as gone."""
    answer: float = 30.0
    """The timeout for the headers of a response, and between two parts of a list."""
    page: float = 60.0
    """The timeout for a whole page of a list: a server that trickles is never silent."""
    connect: float = 5.0
    broken: float = 120.0
    """The age at which the last state of a broken watch counts as out of date."""
    first_pause: float = 1.0
    """The pause after a failure. Each further one doubles it."""
    longest_pause: float = 30.0
    longest_wait: float = 300.0
    """The longest pause for a server's Retry-After. Real servers ask for a second."""
    absent: float = 300.0
    """The pause after the server said that it has no such kind of object."""
    plugin: float = PLUGIN_PAUSE


USUAL_PACE = Pace()
"""The pace outside of tests."""


class RefusedError(ProbeError):
    """
    The server refuses such objects, while it may return others.
    """


class AbsentError(RefusedError):
    """
    The server has no such kind of object.
    """


class _BusyError(ProbeError):
    """
    The server asks for a pause (`Retry-After`, RFC 9110 section 10.2.3).
    """

    def __init__(self, reason: Reason, detail: str, seconds: float) -> None:
        super().__init__(reason, detail)
        self.seconds = seconds
        """The seconds of Retry-After; 0 when it has none."""


class _GrownError(Exception):
    """
    A watch added so many objects that they are to be listed again.
    """


class View:
    """
    All objects of one list, kept up to date by a task.
    """

    def __init__(self, question: Question, cluster: Cluster, network: Network, pace: Pace) -> None:
        loop = network.loop
        self.question = question
        self.cluster = cluster
        self._held = Held()
        self.changes = random.getrandbits(48)
        """A number that each change raises: while it is the same, so are the objects. It begins anywhere, so
        that another view of the same objects has others."""
        self.listed = False
        self.lists = 0
        self.tried = asyncio.Event()
        """Set after the first list, or the first failure."""
        self._loop = loop
        self._clock = network.clock
        self._resolver = network.resolver
        self._pace = pace
        self._page = PAGE
        self._apis = (question.resource.api, *question.resource.others)
        self._api = 0
        """Which of them is asked for."""
        self._version = ""
        self._grew = False
        """True when the last watch added so many objects that they were to be listed again."""
        self._watching = False
        self._contact = loop.time()
        self._failure: ProbeError | None = None
        self._backoff = Backoff(pace.first_pause, pace.longest_pause)
        self._secrets: tuple[str, ...] = ()
        """The secrets that were sent to the API server last."""
        self._showed = False
        """True when a client certificate was shown to it then."""
        self._task = loop.create_task(self._run(), name=f"kubernetes {question.place}")

    def close(self) -> None:
        """
        End the watch.
        """
        self._task.cancel()
        self.cluster.weights.pop(self.question, None)

    @property
    def objects(self) -> Mapping[Key, Stored]:
        """
        The objects by their keys.
        """
        return self._held.objects

    @property
    def ended(self) -> bool:
        """
        True when the watch has ended, and nothing of it is open any more.
        """
        return self._task.done()

    @property
    def age(self) -> float:
        """
        Seconds since the server's last answer; 0 while it is watched.
        """
        return 0.0 if self._watching else self._loop.time() - self._contact

    @property
    def failure(self) -> ProbeError | None:
        """
        The failure while the objects are not known; None when they are, or may be in a moment.
        """
        if self._failure is None or (self.listed and self.age < self._pace.broken):
            return None
        return self._failure

    @property
    def absent(self) -> bool:
        """
        True when the server has no such kind of object.
        """
        return isinstance(self._failure, AbsentError)

    async def _run(self) -> None:
        while True:
            begun, grows = self._loop.time(), False
            try:
                await self._go_on()
                self._grew = False
                # A watch that ends at once, each time, counts as failed, and must not become a request storm.
                if self._loop.time() - begun < min(1.0, self._pace.first_pause):
                    await asyncio.sleep(self._pace.first_pause)
                continue
            except GoneError:
                self._version = ""
                if not self._backoff.failures and self._loop.time() - begun > self._pace.first_pause:
                    continue
                words = "the API server forgets its own lists at once (410 Gone)"
                error = ProbeError(Reason.HTTP_FAILED, words)
            except _GrownError:
                self._version = ""
                if not self._grew:
                    self._grew = True
                    continue
                grows = True
                words = f"one watch after another adds more than {GROWTH:,} things, and more than were listed"
                error = ProbeError(Reason.FILE_TOO_LARGE, f"{words}: all are listed again after a pause")
            except AbsentError as caught:
                self._version = ""
                self._api = (self._api + 1) % len(self._apis)
                if self._api:
                    continue
                error = caught
            except ProbeError as caught:
                error = caught
            except (aiohttp.ClientError, OSError) as caught:
                # Received data is not repeated: a Secret may be in it.
                error = failed(caught, SERVER, None, AUTHORITIES, showed=self._showed)
            except Exception as caught:
                logger.exception("internal error while watching Kubernetes")
                words = f"{type(caught).__name__}: please report it with the traceback in the exporter's log"
                error = ProbeError(Reason.INTERNAL_ERROR, words)
                self._version = ""
            self._grew = grows
            await self._fail(error)

    async def _fail(self, error: ProbeError) -> None:
        detail = f"{self.question} of {self.cluster}: {clean(error.detail, DETAIL_LIMIT, self._secrets)}"
        kind = type(error) if isinstance(error, RefusedError) else ProbeError
        absent = kind is AbsentError
        if self._failure is None or self._failure.reason is not error.reason:
            usual = absent and self.question.resource.optional
            logger.log(
                logging.INFO if usual else logging.WARNING,
                "the cluster has no such objects" if usual else "can't watch Kubernetes",
                extra=fields(resource=self.question.place, reason=error.reason, detail=detail),
            )
        self._failure = kind(error.reason, detail)
        self.tried.set()
        # Retry-After is a minimum, so it is spread to one side only.
        wait = self._pace.absent if absent else 0.0
        if isinstance(error, _BusyError):
            wait = min(error.seconds, self._pace.longest_wait)
        spread = random.uniform(0.0, 0.4)  # noqa: S311 - spreads, keeps no secret
        await asyncio.sleep(self._backoff.failed(0.8 + spread, wait * (1.0 + spread / 4)))

    def _heard(self) -> None:
        """
        Note that the server answered without failure.
        """
        self._contact = self._loop.time()
        if self._grew:
            # What it lists may be right, but it must not be asked for that all the time.
            return
        if self._failure is not None:
            logger.info("Kubernetes can be watched again", extra=fields(resource=self.question.place))
            self._failure = None
            self._backoff.succeeded()

    async def _go_on(self) -> None:
        """
        List, if need be, and watch until the server ends the watch.
        """
        # Read each time, so that rotated tokens and certificates are used.
        access = await self.cluster.access()
        self._secrets, self._showed = access.secrets, access.shows
        timeout = aiohttp.ClientTimeout(
            total=self._pace.page, sock_connect=self._pace.connect, sock_read=self._pace.answer
        )
        headers = {"Accept": "application/json", **access.headers}
        async with session(SERVER, self._resolver, headers, timeout) as server:
            try:
                if not self._version:
                    await self._list(server, access)
                await self._watch(server, access)
            except AbsentError:
                raise
            except RefusedError:
                await self._tell_absent(server, access)
                raise
            finally:
                self._watching = False

    async def _tell_absent(self, server: Session, access: Access) -> None:
        """
        Raise AbsentError when what was forbidden is not there at all: a server forbids before it looks.
        """
        resource, api = self.question.resource, self._apis[self._api]
        if not resource.optional:
            return
        async with self._get(server, access, f"{access.server}/apis/{api}") as answer:
            if answer.status == 200:
                data = await read_body(answer, PAGE_LIMIT)
                kinds = (await self.cluster.lists.read(partial(json_object, data))).get("resources")
                names = [one.get("name") for one in kinds or () if isinstance(one, dict)]
                if resource.name in names:
                    return
            elif answer.status != 404:
                return
        words = f"the API server has no {' or '.join(f'{api}/{resource.name}' for api in self._apis)}"
        raise AbsentError(Reason.HTTP_FAILED, words)

    def _request(self, server: Session, access: Access, **more: str) -> Answer:
        """
        Return a GET request for the objects.
        """
        asked = {"fieldSelector": self.question.fields, "labelSelector": self.question.selector, **more}
        options: dict[str, Any] = {"params": {key: value for key, value in asked.items() if value}}
        if "watch" in more:
            # It was told when to end: one that goes on, byte by byte or with ever new events, is left too.
            most = self._pace.watch + self._pace.silence
            options["timeout"] = aiohttp.ClientTimeout(total=most, sock_connect=self._pace.connect)
        path = self.question.resource.path(self.question.namespace, self._apis[self._api])
        return self._get(server, access, access.server + path, **options)

    def _get(self, server: Session, access: Access, url: str, **options: Any) -> Answer:
        if access.server_name is not None:
            options["server_hostname"] = access.server_name
        return server.get(url, proxy=access.proxy, ssl=access.tls, **options)

    async def _list(self, server: Session, access: Access) -> None:
        self.lists += 1
        held = Held()
        position, pages = "", 0
        while True:
            pages += 1
            if pages > PAGES_LIMIT + len(held.objects):
                words = (
                    f"the API server's list has no end: {pages:,} pages hold {len(held.objects):,} objects"
                )
                raise ProbeError(Reason.HTTP_FAILED, words)
            asked = {"limit": str(self._page), "continue": position}
            try:
                async with self._request(server, access, **asked) as answer:
                    await self._refuse_unless_good(answer, access)
                    data = await read_body(answer, PAGE_LIMIT)
            except TooLargeError:
                if self._page == 1:
                    words = f"one of the objects has more than {PAGE_LIMIT:,} bytes"
                    raise ProbeError(Reason.FILE_TOO_LARGE, words) from None
                self._page = max(1, self._page // 8)
                continue
            page = await self.cluster.lists.read(partial(read_page, data, self._read_object))
            del data
            for key, stored in page.objects.items():
                held.put(key, stored)
            held.refuse_too_much(self._others)
            position = page.next
            if not position:
                break
        held.listed()
        self._held, self._version = held, page.version
        self.cluster.weights[self.question] = held.weight
        self.changes += 1
        self.listed = True
        self._heard()
        self.tried.set()

    async def _watch(self, server: Session, access: Access) -> None:
        asked = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(max(1, round(self._pace.watch))),
        }
        async with self._request(server, access, **asked) as answer:
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
                    self._take(await self.cluster.events.read(partial(self._read_events, whole)))
            if buffer.strip():
                raise ProbeError(Reason.CONNECTION_CLOSED, "the watch was cut off in the middle of an event")

    def _read_object(self, obj: Any) -> tuple[Key, Stored]:
        key = key_of(obj)
        before = self.objects.get(key)
        version = version_of(obj)
        if before is not None and version and before.version == version:
            return key, before
        stored = self.question.resource.read(obj, self.question.password, before)
        if any(holds(name, self._secrets) for name in texts_of(key, stored)):
            words = "the API server repeats the token that it was shown, in the name of something"
            raise ProbeError(Reason.HTTP_FAILED, words)
        return key, stored

    def _read_events(self, data: bytes) -> list[Change]:
        """
        Return the events of a watch. Raises ProbeError and GoneError. Runs in a thread: keystores may take
        long.
        """
        try:
            return read_events(data, self._read_object)
        except ProbeError:
            # The same error would come the next time too.
            self._version = ""
            raise

    def _take(self, changes: Iterable[Change]) -> None:
        for one in changes:
            if one.stored is not None and one.key is not None:
                before = self.objects.get(one.key)
                self._held.put(one.key, one.stored)
                # Most changes are of what is not looked at: a status, an annotation.
                self.changes += before is None or replace(before, version=one.stored.version) != one.stored
            elif one.key is not None:
                self._held.drop(one.key)
                self.changes += 1
            self._version = one.version or self._version
            if self._held.grew:
                raise _GrownError
        self.cluster.weights[self.question] = self._held.weight
        try:
            self._held.refuse_too_much(self._others)
        except ProbeError:
            self._version = ""
            raise

    @property
    def _others(self) -> list[Weight]:
        """
        The sizes of the other lists of this API server.
        """
        return [weight for one, weight in self.cluster.weights.items() if one != self.question]

    async def _refuse_unless_good(self, answer: aiohttp.ClientResponse, access: Access) -> None:
        """
        Raise the error for the status of an answer, unless it is 200.
        """
        if answer.status == 200:
            return
        if answer.status == 410:
            raise GoneError
        try:
            message = message_of(json_object(await read_body(answer, ERROR_LIMIT)), access.secrets)
        except (ProbeError, TooLargeError):
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
            kinds = " or ".join(f"{api}/{question.resource.name}" for api in self._apis)
            words = f"the API server has no {kinds} (404)"
            raise AbsentError(Reason.HTTP_FAILED, words)
        reason = Reason.RATE_LIMITED if answer.status == 429 else Reason.HTTP_FAILED
        words = f"the API server answered with HTTP status {answer.status}{says}"
        if answer.status in {429, 503}:
            wait = seconds_of(answer.headers.get("Retry-After"), self._clock())
            raise _BusyError(reason, words, wait or 0.0)
        raise ProbeError(reason, words)
