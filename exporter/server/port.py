"""
The port: its TLS, who may ask, and what may be asked, as the web configuration says.

The file is read again when it, a certificate or a key changes; a faulty one changes nothing.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import logging
import os
import secrets
import socket
import ssl
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import bcrypt
from aiohttp import web

from exporter.config.web_config import WebConfig
from exporter.logs import fields
from exporter.model.destinations import is_this_host
from exporter.model.hosts import parse_ip
from exporter.model.observation import Certificate
from exporter.net.pools import Pool, PoolFullError
from exporter.pki.certificates import parse_pem
from exporter.server.own_certificate import alternative_names, load_at
from exporter.yaml_lines import ConfigError

logger = logging.getLogger(__name__)


REREAD_AFTER = 1.0
"""Seconds after which the files are looked at again, once somebody asks."""


CHECKED = 1024
"""Most wrong passwords that are remembered: each costs a tenth of a second to find out."""


READING = 30.0
"""Seconds that a reload waits for the files to be read."""


WAITING = 64
"""Most requests that wait for their password to be checked; more are refused with 503."""


WAITING_EACH = 8
"""Most of these from one address, so that a flood from one leaves room for others."""


_NOBODY = b"$2b$10$.hTuTdRR156qJrSyaY4ICun0i3tMUFhhBpSUP0iTp.p0hgBLjR4Bi"
"""A hash that is checked for users who do not exist, so that the time of an answer does not tell them."""


class Rate:
    """
    A bucket of requests (RFC 2697's idea): `burst` at once, then `rate` a second.
    """

    def __init__(self) -> None:
        """
        Full, whatever its size.
        """
        self._left = float("inf")
        self._at = 0.0

    def take(self, rate: float, burst: int, now: float) -> bool:
        """
        Take one request out of it at `now` (seconds of any clock); False when it is empty.
        """
        self._left = min(self._left + (now - self._at) * rate, burst)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Port:
    """
    The settings of the port, for the life of the process. Raises ConfigError when its first file is faulty.
    """

    def __init__(
        self, path: str | None = None, external_url: str | None = None, *, lifecycle: bool = False
    ) -> None:
        """
        `path` is the web configuration; None: plain HTTP for everybody. `lifecycle` allows reload and quit.
        """
        self._path = path
        self._external = urlsplit(external_url or "").hostname
        self.lifecycle = lifecycle
        self._fault = ""
        self.on_certificate: Callable[[], None] = lambda: None
        """Called when another file than before has the port's own certificate."""
        self.config = WebConfig() if path is None else load_at(path, time.time())
        """The last one that was without fault."""
        self.succeeded = True
        """False while the file can't be used, and an earlier one holds."""
        for warning in self.config.warnings:
            logger.warning(warning)
        self._stamps = self._stamped(self.config)
        self._looked_at = 0.0
        self._reading: asyncio.Task[None] | None = None
        self._files = Pool("web-config", 1, waiting=1)
        self._passwords = Pool("passwords", 1, waiting=WAITING)
        self._key = secrets.token_bytes(32)
        self._right: set[bytes] = set()
        """Apart from the wrong ones, whose flood would push them out. At most one for each user."""
        self._wrong: OrderedDict[bytes, None] = OrderedDict()
        self._waiting: Counter[str] = Counter()
        """Password checks under way, by the client's address."""
        self._rate = Rate()

    def context(self) -> ssl.SSLContext | None:
        """
        Return the TLS for a new connection; None for plain HTTP.
        """
        self.refresh()
        return self.config.tls.context if self.config.tls is not None else None

    @property
    def scheme(self) -> str:
        """
        `https` or `http`.
        """
        return "http" if self.config.tls is None else "https"

    def close(self) -> None:
        """
        Let the threads end.
        """
        self._files.close()
        self._passwords.close()

    def refresh(self) -> None:
        """
        Begin to look whether the files have changed, unless that was done just now.
        """
        if self._path is None:
            return
        loop = asyncio.get_running_loop()
        if loop.time() - self._looked_at < REREAD_AFTER:
            return
        if self._reading is None or self._reading.done():
            self._looked_at = loop.time()
            self._reading = loop.create_task(self._reread())

    async def reload(self) -> str:
        """
        Read the files now if they have changed. Return why they can't be used; empty when all is well.
        """
        if self._path is None:
            return ""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(READING):
                while self._reading is not None and not self._reading.done():
                    await asyncio.wait([self._reading])
                self._looked_at = loop.time()
                self._reading = loop.create_task(self._reread())
                await asyncio.wait([self._reading])
        except TimeoutError:
            return f"{self._path}: it, or a file that it names, was not read within {READING:g} s"
        return "" if self.succeeded else self._fault

    async def _reread(self) -> None:
        assert self._path is not None
        path, before, files, works = self._path, self._stamps, self.config, self.succeeded

        def read() -> tuple[tuple[object, ...], WebConfig | ConfigError | None]:
            # Stamps first: a file that is written meanwhile is then read again.
            stamps = self._stamped(files)
            # A faulty one may lack a file that comes later: it is tried until it is good.
            if stamps == before and works:
                return stamps, None
            try:
                return stamps, load_at(path, time.time())
            except ConfigError as error:
                return stamps, error

        try:
            stamps, found = await self._files.run(read)
        except PoolFullError:
            return
        if found is None:
            return
        self._stamps = stamps
        if isinstance(found, ConfigError):
            self._keep(str(found))
        else:
            self._take(found)

    def _keep(self, why: str) -> None:
        if not self.succeeded and why == self._fault:
            return  # told already
        self.succeeded, self._fault = False, why
        logger.error(
            "the new web configuration is not usable; the one before it stays in use",
            extra=fields(cause=why),
        )

    def _take(self, config: WebConfig) -> None:
        before, self.config, self.succeeded = self.config, config, True
        if config.files != before.files:
            self._stamps = ()  # the next look takes those of the new files
        if config.users != before.users:
            self._right.clear()
        if config.certificate != before.certificate:
            self.on_certificate()
        for warning in config.warnings:
            logger.warning(warning)
        if (config.tls is None) != (before.tls is None):
            logger.warning("the port has changed its scheme", extra=fields(scheme=self.scheme))
        logger.info("web configuration loaded", extra=fields(file=self._path))

    def _stamped(self, config: WebConfig) -> tuple[object, ...]:
        """
        Return what changes when one of the files does.
        """
        return tuple(map(_stamp, (() if self._path is None else (self._path, *config.files))))

    def accepts(self, transport: asyncio.BaseTransport) -> bool:
        """
        Return False when the client's certificate has none of the names that are allowed.
        """
        tls = self.config.tls
        if tls is None or tls.allowed_sans is None:
            return True
        spoken = transport.get_extra_info("ssl_object")
        shown = spoken.getpeercert(binary_form=True) if spoken is not None else None
        return shown is not None and not tls.allowed_sans.isdisjoint(alternative_names(shown))

    @web.middleware
    async def guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """
        Answer 401 without the right password, 429 beyond the rate; for all others, add the headers.

        A connection from before TLS was switched on or off ends with its next request, which gets 400.
        """
        self.refresh()
        config = self.config
        if request.secure != (config.tls is not None):
            text = (
                f"this port speaks {self.scheme.upper()} since its web configuration changed: connect anew\n"
            )
            changed = web.Response(status=400, text=text)
            changed.force_close()
            return changed
        if config.rate and not self._rate.take(config.rate, config.burst, asyncio.get_running_loop().time()):
            return web.Response(status=429, text="too many requests: see rate_limit of the web config\n")
        if config.users and not await self._knows(
            request.headers.get("Authorization", ""), request.remote or ""
        ):
            return web.Response(
                status=401, text="Unauthorized\n", headers={"WWW-Authenticate": "Basic", **config.headers}
            )
        return await handler(request)

    async def add_headers(self, _: web.Request, response: web.StreamResponse) -> None:
        """
        Add the headers that the configuration names to a response.
        """
        response.headers.update(self.config.headers)

    async def _knows(self, authorization: str, client: str) -> bool:
        """
        Return True for the name and password of a user (RFC 7617). Raises PoolFullError.
        """
        method, _, text = authorization.partition(" ")
        try:
            pair = base64.b64decode(text.strip(), validate=True)
        except (binascii.Error, ValueError):
            return False
        name, colon, password = pair.partition(b":")
        # bcrypt takes 72 bytes; what is longer can't have been hashed.
        if method.lower() != "basic" or not colon or len(password) > 72 or b"\0" in password:
            return False
        known = self.config.users.get(name.decode("utf-8", "replace"))
        hashed = known or _NOBODY
        # Neither password nor hash is kept, only what nobody can turn back.
        key = hmac.digest(self._key, hashed + b"\0" + pair, hashlib.sha256)
        if key in self._right:
            return True
        if key in self._wrong:
            self._wrong.move_to_end(key)
            return False
        fits = await self._check(password, hashed, client) and known is not None
        if fits and self.config.users.get(name.decode("utf-8", "replace")) == known:
            self._right.add(key)
        elif not fits:
            self._wrong[key] = None
            if len(self._wrong) > CHECKED:
                self._wrong.popitem(last=False)
        return fits

    async def _check(self, password: bytes, hashed: bytes, client: str) -> bool:
        """
        Return whether the password fits, found out in a thread. Raises PoolFullError.
        """
        if self._waiting[client] >= WAITING_EACH:
            raise PoolFullError
        self._waiting[client] += 1
        try:
            return await self._passwords.run(lambda: bcrypt.checkpw(password, hashed))
        finally:
            self._waiting[client] -= 1
            self._waiting += Counter()  # without those that have none

    def refusal(self, request: web.Request) -> str:
        """
        Return why this request may not change anything, in words; empty when it may.

        A page whose name its owner makes lead to this port (DNS rebinding) must not do it, so the name that
        is asked for has to be ours; and neither must a page elsewhere (CSRF): a browser says where it is.
        """
        if not self.lifecycle:
            return "Lifecycle API is not enabled: start the exporter with --web.enable-lifecycle"
        origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
        name = request.headers.get("Host")
        # Only a client of HTTP/1.0 names no host, and that is no browser.
        if (name is not None or origin is not None) and not self._is_ours(host := _host_of(name or "")):
            return f"nothing is changed under the name {host!r}: set --web.external-url if it is right"
        if site not in {None, "none", "same-origin"} or (
            origin is not None and origin.partition("://")[2] != name
        ):
            return "a page of another site may not do this"
        return ""

    def _is_ours(self, host: str) -> bool:
        """
        Return True for a name that nobody else can make lead here: an address, this host's name, the URL's,
        or one on the port's own certificate.
        """
        if parse_ip(host) is not None or is_this_host(host):
            return True
        parsed = parse_pem(self.config.tls.pem) if self.config.tls is not None else ()
        leaf = next((one for one in parsed if isinstance(one, Certificate)), None)
        presented = {name.lower() for name in leaf.dns_names} if leaf is not None else set()
        own = {self._external, socket.gethostname().lower(), *presented}
        return host in own or f"*.{host.partition('.')[2]}" in presented


def _host_of(name: str) -> str:
    """
    Return the host in a header `Host`, in lower case; empty for what is none.
    """
    try:
        return urlsplit(f"//{name}").hostname or ""
    except ValueError:
        return ""


def _stamp(path: str) -> object:
    """
    Return what changes with a file; None when there is none.
    """
    try:
        found = os.stat(path)  # noqa: PTH116 - a path as it is in the configuration
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
