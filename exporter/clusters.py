"""
How a Kubernetes cluster is reached: by a kubeconfig, or from inside by the service account of the pod.

All of it is read again each time it is asked for, since tokens and certificates are rotated in place. What a
credential plugin gave is kept until it ends or is refused. Keys and tokens stay in what is returned and in
OpenSSL; they are never logged, and never written to a disk.
"""

import asyncio
import base64
import binascii
import hashlib
import json
import os
import re
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

from exporter import credential_plugins
from exporter.credential_plugins import Credential, Plugin
from exporter.files import read
from exporter.foreign_text import credentials, printable
from exporter.network import ProbeError
from exporter.observation import Reason
from exporter.pools import Pool
from exporter.targets import join_host_port
from exporter.yaml_tree import ConfigError
from exporter.yaml_tree import read as read_yaml

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where Kubernetes puts the token and the CA of a pod's service account."""

SIZE_LIMIT = 1024 * 1024
"""Bytes of a kubeconfig, and of each file that it names."""

EXTENSION = f"{credential_plugins.GROUP}/exec"
"""The extension of a kubeconfig's cluster that holds settings for credential plugins."""

PLUGIN_PAUSE = 10.0
"""Seconds from one run of a credential plugin to the next at least, if it failed or its gift was refused."""

# What hangs, on a mount that does not answer, keeps its thread: other clusters have theirs.
_READING = Pool("kubeconfig", 16)

_TOKEN = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Access:
    """
    Where the API server is and what it is shown. `repr()` has no secret in it.
    """

    server: str
    """Its URL without a final slash."""
    headers: Mapping[str, str] = field(repr=False)
    tls: ssl.SSLContext
    server_name: str | None = None
    """Name to verify instead of the URL's host; None: the host."""
    proxy: str | None = field(default=None, repr=False)
    credential: Credential | None = field(default=None, repr=False)
    """What a credential plugin gave; None when none was asked."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """What the API server and the proxy are told in confidence."""


@dataclass(frozen=True, slots=True)
class _Read:
    """
    What was read of one cluster.
    """

    server: str
    authorities: bytes | None = None
    """PEM; None: those of the system."""
    verify: bool = True
    certificate: bytes | None = field(default=None, repr=False)
    """Our certificate and its key, PEM; None: none is shown."""
    token: str | None = field(default=None, repr=False)
    server_name: str | None = None
    proxy: str | None = field(default=None, repr=False)
    plugin: Plugin | None = None
    """What gives the token or the certificate; None: they are in the files."""


@dataclass(slots=True)
class _Run:
    """
    What a credential plugin gave when it last ran.
    """

    plugin: Plugin
    gave: Credential | ProbeError = field(repr=False)
    at: float
    """In seconds of the loop's clock."""
    refused: bool = False
    """True when the API server does not take it."""


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

    def __str__(self) -> str:
        """
        What the cluster is called in messages.
        """
        return f"context {self._context!r}" if self._context else "the cluster"

    async def access(self) -> Access:
        """
        How to reach the API server now. Raises ProbeError.
        """
        found = await _READING.run(self._read)
        credential = None
        if found.plugin is not None:
            credential = await self._credential(found.plugin)
            found = replace(found, token=credential.token, certificate=credential.certificate)
        headers = {} if found.token is None else {"Authorization": f"Bearer {found.token}"}
        tls = await _READING.run(partial(self._context_for, found))
        secrets = (*((found.token,) if found.token is not None else ()), *_of_url(found.proxy or ""))
        return Access(found.server, headers, tls, found.server_name, found.proxy, credential, secrets)

    def refused(self, access: Access) -> None:
        """
        Note that the API server does not take what it was shown: a credential plugin is asked for another.
        """
        if self._run is not None and self._run.gave is access.credential:
            self._run.refused = True

    async def _credential(self, plugin: Plugin) -> Credential:
        """
        What the plugin gave last, while that is good, else what it gives now. Raises ProbeError.
        """
        # Several watches ask at a time, and one run serves all.
        async with self._running:
            now = asyncio.get_running_loop().time()
            run = self._run
            if run is None or run.plugin != plugin or self._is_over(run, now - run.at):
                gave: Credential | ProbeError
                try:
                    gave = self._good(await credential_plugins.run(plugin, self._environ), plugin)
                except ProbeError as error:
                    gave = error
                run = self._run = _Run(plugin, gave, asyncio.get_running_loop().time())
            if isinstance(run.gave, ProbeError):
                # A new one, since the same failure may be raised many times.
                raise ProbeError(run.gave.reason, run.gave.detail)
            return run.gave

    def _good(self, given: Credential, plugin: Plugin) -> Credential:
        """
        The credential, unless it has ended already. Raises ProbeError.
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
        The settings for TLS; the same as long as the files say the same. Raises ProbeError.
        """
        parts = (found.authorities or b"", found.certificate or b"", b"1" if found.verify else b"0")
        digest = hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).digest()
        if self._tls is None or self._tls[0] != digest:
            self._tls = (digest, _tls(found))
        return self._tls[1]


def _of_url(url: str) -> tuple[str, ...]:
    """
    What is secret in a proxy's URL.
    """
    userinfo = urlsplit(url).netloc.rpartition("@")[0]
    return credentials(unquote(userinfo))


def _tls(found: _Read) -> ssl.SSLContext:
    """
    New settings for TLS. Raises ProbeError.
    """
    try:
        data = None if found.authorities is None else found.authorities.decode("ascii", "replace")
        context = ssl.create_default_context(cadata=data)
    except (ssl.SSLError, ValueError) as error:
        raise ProbeError(
            Reason.FORMAT_BROKEN, f"the CA certificates of the API server can't be read: {error}"
        ) from None
    if not found.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if found.certificate is not None:
        # The library takes certificates from files only; this one is in memory, and nobody else's.
        descriptor = os.memfd_create("client", os.MFD_CLOEXEC)
        try:
            with open(descriptor, "wb", closefd=False) as file:
                file.write(found.certificate)
            # With no pass phrase given, OpenSSL would ask for one on the terminal.
            context.load_cert_chain(f"/proc/self/fd/{descriptor}", password="")
        except (ssl.SSLError, ValueError, OSError) as error:
            words = getattr(error, "reason", None) or type(error).__name__
            raise ProbeError(
                Reason.CLIENT_CERTIFICATE_UNUSABLE,
                f"the client certificate for the API server, or its key, can't be used: {words}",
            ) from None
        finally:
            os.close(descriptor)
    return context


def _in_cluster(authority: str, service_account: Path) -> _Read:
    """
    The cluster of this pod. Raises ProbeError.
    """
    return _Read(
        f"https://{authority}",
        authorities=_content(service_account / "ca.crt"),
        token=_token(_content(service_account / "token"), str(service_account / "token")),
    )


def by_kubeconfig(paths: Sequence[str], context: str) -> _Read:
    """
    A context of kubeconfig files, the current one if none is named. Raises ProbeError.

    Of several files the first that has an entry counts, and those that are missing do not, as with kubectl.
    """
    there = [path for path in paths if Path(path).exists()] or [paths[0]]
    documents = [(Path(path), _document(path)) for path in there]
    where = printable(there[0])
    if not context:
        found = [one.get("current-context") for _, one in documents]
        context = next((one for one in found if isinstance(one, str) and one), "")
    if not context:
        raise ProbeError(
            Reason.FORMAT_BROKEN,
            f"{where} has no current-context: write the context in the URL, kubernetes://CONTEXT/NAMESPACE/NAME",
        )
    _, named = _named(documents, "contexts", "context", context, where)
    file, cluster = _named(documents, "clusters", "cluster", _text(named, "cluster"), where)
    cluster_at = user_at = file.parent
    user = dict[str, Any]()
    if _text(named, "user"):
        user_file, user = _named(documents, "users", "user", _text(named, "user"), where)
        user_at = user_file.parent
    server = _text(cluster, "server").rstrip("/")
    if not server.lower().startswith("https://"):
        raise ProbeError(
            Reason.FORMAT_BROKEN,
            f"the cluster of context {context!r} in {where} has no `server` that begins with https://",
        )
    made = _Read(
        server,
        _data(cluster, "certificate-authority", cluster_at),
        not _is_true(cluster, "insecure-skip-tls-verify"),
        _client(user, user_at),
        _user_token(user, user_at, context),
        _text(cluster, "tls-server-name") or None,
        _text(cluster, "proxy-url") or None,
    )
    asked = user.get("exec")
    # What stands in the file goes first, as with kubectl.
    if not isinstance(asked, dict) or made.token is not None or made.certificate is not None:
        return made
    told = None
    if _is_true(asked, "provideClusterInfo"):
        told = _told(cluster, made, _extension(file, _text(named, "cluster")))
    words = f"the user of context {context!r} in {where}"
    return replace(made, plugin=credential_plugins.plugin(asked, user_at, told, words))


def _told(cluster: Mapping[str, Any], found: _Read, extension: Any) -> dict[str, Any]:
    """
    What a credential plugin is told of the cluster, in the words of ExecCredential.
    """
    told: dict[str, Any] = {
        key: _text(cluster, key) for key in ("server", "tls-server-name", "proxy-url") if _text(cluster, key)
    }
    told |= {
        key: True for key in ("insecure-skip-tls-verify", "disable-compression") if _is_true(cluster, key)
    }
    if found.authorities is not None:
        told["certificate-authority-data"] = base64.b64encode(found.authorities).decode("ascii")
    return told if extension is None else {**told, "config": extension}


def _extension(file: Path, name: str) -> Any:
    """
    The settings for credential plugins of a cluster in a kubeconfig that was read; None when it has none.
    """
    # Read once more, by the types of YAML: for all else here, all is text.
    try:
        document = json.loads(json.dumps(yaml.load(_content(file), yaml.CSafeLoader), default=str))
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    _, cluster = _named([(file, document)], "clusters", "cluster", name, printable(str(file)))
    listed = cluster.get("extensions")
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, dict) and one.get("name") == EXTENSION:
            return one.get("extension")
    return None


def _document(path: str) -> dict[str, Any]:
    """
    A kubeconfig. Raises ProbeError.
    """
    data, _ = read(path, SIZE_LIMIT)
    try:
        document = read_yaml(data, printable(path)).value
    except ConfigError as error:
        # Its words may repeat a value, and values may be secrets.
        words = f"{printable(path)}: line {error.faults[0].line} is not YAML"
        raise ProbeError(Reason.FORMAT_BROKEN, words) from None
    if not isinstance(document, dict):
        raise ProbeError(Reason.FORMAT_BROKEN, f"{printable(path)} is not a kubeconfig")
    return document


def _named(
    documents: Sequence[tuple[Path, dict[str, Any]]], entries: str, kind: str, name: str, where: str
) -> tuple[Path, dict[str, Any]]:
    """
    The entry of this name, and its file. Raises ProbeError.
    """
    for file, document in documents:
        listed = document.get(entries)
        for entry in listed if isinstance(listed, list) else ():
            if isinstance(entry, dict) and entry.get("name") == name and isinstance(entry.get(kind), dict):
                return file, entry[kind]
    raise ProbeError(Reason.FORMAT_BROKEN, f"{where} has no {kind} of the name {name[:200]!r}")


def _text(settings: Mapping[str, Any], key: str) -> str:
    value = settings.get(key)
    return value.strip() if isinstance(value, str) else ""


def _is_true(settings: Mapping[str, Any], key: str) -> bool:
    return _text(settings, key).lower() == "true"


def _data(settings: Mapping[str, Any], key: str, directory: Path) -> bytes | None:
    """
    What `KEY-data` holds, or the file that `KEY` names; None when there is neither. Raises ProbeError.
    """
    embedded = _text(settings, f"{key}-data")
    if embedded:
        try:
            return base64.b64decode("".join(embedded.split()), validate=True)
        except binascii.Error:
            raise ProbeError(Reason.FORMAT_BROKEN, f"{key}-data in the kubeconfig is not base64") from None
    path = _text(settings, key)
    return _content(directory / path) if path else None


def _client(user: Mapping[str, Any], directory: Path) -> bytes | None:
    certificate = _data(user, "client-certificate", directory)
    if certificate is None:
        return None
    return certificate + b"\n" + (_data(user, "client-key", directory) or b"")


def _user_token(user: Mapping[str, Any], directory: Path, context: str) -> str | None:
    """
    The token of a user; None when there is none. Raises ProbeError.
    """
    path = _text(user, "tokenFile")
    if path:
        return _token(_content(directory / path), str(directory / path))
    if _text(user, "token"):
        return _token(_text(user, "token").encode(), "the kubeconfig")
    if not _text(user, "client-certificate") and not _text(user, "client-certificate-data"):
        for key in ("auth-provider", "username"):
            if key in user:
                raise ProbeError(
                    Reason.ACCESS_DENIED,
                    f"the user of context {context!r} proves who it is by `{key}`, which the exporter does "
                    "not do: give it the token of a service account (token or tokenFile)",
                )
    return None


def _token(data: bytes, where: str) -> str:
    """
    A token that can stand in a header. Raises ProbeError.
    """
    text = data.decode("ascii", "replace").strip()
    if not _TOKEN.fullmatch(text):
        raise ProbeError(Reason.FORMAT_BROKEN, f"the token in {printable(where)} is empty, or not a token")
    return text


def _content(path: Path) -> bytes:
    data, _ = read(str(path), SIZE_LIMIT)
    return data
