"""
Access to a Kubernetes cluster: by a kubeconfig, or from inside by the service account of the pod.

All files are read again for each access, since tokens and certificates are rotated in place. A plugin's
credential is kept until it expires or is refused. Keys and tokens stay in the returned values and in OpenSSL;
they are never logged, and never written to a disk.
"""

import asyncio
import hashlib
import os
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

from exporter.model.errors import ProbeError
from exporter.model.foreign_text import credentials
from exporter.model.hosts import join_host_port
from exporter.model.reasons import Reason
from exporter.net.pools import Pool
from exporter.net.tls_contexts import tls_context
from exporter.probes.kubernetes import exec_plugins
from exporter.probes.kubernetes.bounds import CREDIT, Share, Weight
from exporter.probes.kubernetes.exec_plugins import Credential, Plugin
from exporter.probes.kubernetes.kubeconfig import SERVICE_ACCOUNT, _in_cluster, _Read, by_kubeconfig

PLUGIN_PAUSE = 10.0
"""Minimum seconds between two runs of a credential plugin, if it failed or its credential was refused."""


# A read that hangs, on a mount that does not answer, keeps its thread: other clusters have theirs.
_READING = Pool("kubeconfig", 16)


@dataclass(frozen=True, slots=True)
class Access:
    """
    The address of the API server and the credentials for it. `repr()` has no secret in it.
    """

    server: str
    """The server's URL without a final slash."""
    headers: Mapping[str, str] = field(repr=False)
    tls: ssl.SSLContext
    server_name: str | None = None
    """Name to verify instead of the URL's host; None: the host."""
    proxy: str | None = field(default=None, repr=False)
    credential: Credential | None = field(default=None, repr=False)
    """The credential of a plugin; None when no plugin is configured."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """The secrets that are sent to the API server and the proxy."""
    shows: bool = False
    """True when the API server may request our client certificate."""


@dataclass(slots=True)
class _Run:
    """
    The last run of a credential plugin.
    """

    plugin: Plugin
    gave: Credential | ProbeError = field(repr=False)
    at: float
    """Loop time of the run."""
    refused: bool = False
    """True when the API server refused the credential."""


class Cluster:
    """
    One cluster: a context of a kubeconfig, or the one that this process runs in.

    `clock` gives seconds since the epoch; `plugin_pause` is PLUGIN_PAUSE.
    """

    def __init__(
        self,
        kubeconfig: str | None,
        context: str,
        environ: Mapping[str, str],
        service_account: Path = SERVICE_ACCOUNT,
        clock: Callable[[], float] = time.time,
        plugin_pause: float = PLUGIN_PAUSE,
    ) -> None:
        self._kubeconfig = kubeconfig
        self._context = context
        self._environ = environ
        self._service_account = service_account
        self._clock = clock
        self._plugin_pause = plugin_pause
        self._tls: tuple[bytes, ssl.SSLContext] | None = None
        self._run: _Run | None = None
        self._running = asyncio.Lock()
        self.lists, self.events = Share(CREDIT), Share()
        self.weights: dict[object, Weight] = {}
        """The size of each of its lists."""

    def __str__(self) -> str:
        """
        Return the name of the cluster in messages.
        """
        return f"context {self._context!r}" if self._context else "the cluster"

    async def access(self) -> Access:
        """
        Return the access to the API server as configured now. Raises ProbeError.
        """
        found, tls = await _READING.run(self._ready)
        credential = None
        if found.plugin is not None:
            credential = await self._credential(found.plugin)
            found = replace(found, token=credential.token, certificate=credential.certificate)
        if tls is None:
            tls = await _READING.run(partial(self._context_for, found))
        headers = {} if found.token is None else {"Authorization": f"Bearer {found.token}"}
        secrets: tuple[str, ...] = () if found.token is None else (found.token,)
        if found.proxy is not None:
            secrets += _of_url(found.proxy)
        shows = found.certificate is not None
        return Access(found.server, headers, tls, found.server_name, found.proxy, credential, secrets, shows)

    def refused(self, access: Access) -> None:
        """
        Note that the API server refused the credentials: a plugin is run again for others.
        """
        if self._run is not None and self._run.gave is access.credential:
            self._run.refused = True

    async def _credential(self, plugin: Plugin) -> Credential:
        """
        Return the last credential while it is valid, else a new one from the plugin. Raises ProbeError.
        """
        # Several watches need it at a time, and one run serves all.
        async with self._running:
            now = asyncio.get_running_loop().time()
            run = self._run
            if run is None or run.plugin != plugin or self._is_over(run, now - run.at):
                gave: Credential | ProbeError
                try:
                    gave = self._good(await exec_plugins.run(plugin, self._environ), plugin)
                except ProbeError as error:
                    gave = error
                run = self._run = _Run(plugin, gave, asyncio.get_running_loop().time())
            if isinstance(run.gave, ProbeError):
                # A new exception, since the same failure may be raised many times.
                raise ProbeError(run.gave.reason, run.gave.detail)
            return run.gave

    def _good(self, given: Credential, plugin: Plugin) -> Credential:
        """
        Return the credential unless it has expired already. Raises ProbeError.
        """
        if given.expires is not None and given.expires <= self._clock():
            words = (
                f"the credential plugin {Path(plugin.command).name} gave a credential that has ended already"
            )
            raise ProbeError(Reason.ACCESS_DENIED, f"{words}: log in again, and look at the clocks")
        return given

    def _is_over(self, run: _Run, age: float) -> bool:
        if isinstance(run.gave, ProbeError) or run.refused:
            return age >= self._plugin_pause
        return run.gave.expires is not None and self._clock() >= run.gave.expires

    def _ready(self) -> tuple[_Read, ssl.SSLContext | None]:
        """
        Return the access as configured with its TLS context, which is None while a plugin is to say which
        certificate we have. Raises ProbeError.
        """
        found = self._read()
        return found, None if found.plugin is not None else self._context_for(found)

    def _read(self) -> _Read:
        if self._kubeconfig is not None:
            return by_kubeconfig([self._kubeconfig], self._context)
        named = [path for path in self._environ.get("KUBECONFIG", "").split(os.pathsep) if path]
        if named:
            return by_kubeconfig(named, self._context)
        host, port = (self._environ.get(f"KUBERNETES_SERVICE_{part}", "") for part in ("HOST", "PORT"))
        if host and port.isdecimal() and not self._context:
            return _in_cluster(join_host_port(host, int(port)), self._service_account)
        home = self._environ.get("HOME", "")
        usual = Path(home) / ".kube" / "config"
        if home and usual.exists():
            return by_kubeconfig([str(usual)], self._context)
        raise ProbeError(
            Reason.FILE_NOT_FOUND,
            "no Kubernetes cluster is known: this is no pod, and there is no kubeconfig; "
            "set `kubernetes.kubeconfig` of the target, or $KUBECONFIG",
        )

    def _context_for(self, found: _Read) -> ssl.SSLContext:
        """
        Return the TLS context, the same object as long as the files do not change. Raises ProbeError.
        """
        parts = (found.authorities or b"", found.certificate or b"", b"1" if found.verify else b"0")
        digest = hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).digest()
        if self._tls is None or self._tls[0] != digest:
            self._tls = (digest, _tls(found))
        return self._tls[1]


def _of_url(url: str) -> tuple[str, ...]:
    """
    Return the secrets in a proxy's URL.
    """
    userinfo = urlsplit(url).netloc.rpartition("@")[0]
    return credentials(unquote(userinfo))


def _tls(found: _Read) -> ssl.SSLContext:
    """
    Return a new TLS context. Raises ProbeError.
    """
    try:
        context = tls_context(found.authorities, found.certificate)
    except OSError as error:
        raise ProbeError(
            Reason.FORMAT_BROKEN, f"the CA certificates of the API server can't be read: {error}"
        ) from None
    if not found.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
