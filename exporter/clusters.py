"""
How a Kubernetes cluster is reached: by a kubeconfig, or from inside by the service account of the pod.

All of it is read again each time it is asked for, since tokens and certificates are rotated in place. Keys
and tokens stay in what is returned and in OpenSSL; they are never logged, and never written to a disk.
"""

import asyncio
import base64
import binascii
import hashlib
import os
import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exporter.files import printable, read
from exporter.network import ProbeError
from exporter.observation import Reason
from exporter.targets import join_host_port
from exporter.yaml_tree import ConfigError
from exporter.yaml_tree import read as read_yaml

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where Kubernetes puts the token and the CA of a pod's service account."""

SIZE_LIMIT = 1024 * 1024
"""Bytes of a kubeconfig, and of each file that it names."""

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
    proxy: str | None = None


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
    proxy: str | None = None


class Cluster:
    """
    One cluster: a context of a kubeconfig, or the one that this process runs in.
    """

    def __init__(
        self,
        kubeconfig: str | None,
        context: str,
        environ: Mapping[str, str],
        service_account: Path = SERVICE_ACCOUNT,
    ) -> None:
        self._kubeconfig = kubeconfig
        self._context = context
        self._environ = environ
        self._service_account = service_account
        self._tls: tuple[bytes, ssl.SSLContext] | None = None

    def __str__(self) -> str:
        """
        What the cluster is called in messages.
        """
        return f"context {self._context!r}" if self._context else "the cluster"

    async def access(self) -> Access:
        """
        How to reach the API server now. Raises ProbeError.
        """
        return await asyncio.to_thread(self._access)

    def _access(self) -> Access:
        found = self._read()
        headers = {} if found.token is None else {"Authorization": f"Bearer {found.token}"}
        return Access(found.server, headers, self._context_for(found), found.server_name, found.proxy)

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
    documents = [(Path(path).parent, _document(path)) for path in there]
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
    cluster_at, cluster = _named(documents, "clusters", "cluster", _text(named, "cluster"), where)
    user_at, user = cluster_at, dict[str, Any]()
    if _text(named, "user"):
        user_at, user = _named(documents, "users", "user", _text(named, "user"), where)
    server = _text(cluster, "server").rstrip("/")
    if not server.lower().startswith("https://"):
        raise ProbeError(
            Reason.FORMAT_BROKEN,
            f"the cluster of context {context!r} in {where} has no `server` that begins with https://",
        )
    return _Read(
        server,
        _data(cluster, "certificate-authority", cluster_at),
        _text(cluster, "insecure-skip-tls-verify").lower() != "true",
        _client(user, user_at),
        _user_token(user, user_at, context),
        _text(cluster, "tls-server-name") or None,
        _text(cluster, "proxy-url") or None,
    )


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
    The entry of this name, and the directory of its file. Raises ProbeError.
    """
    for directory, document in documents:
        listed = document.get(entries)
        for entry in listed if isinstance(listed, list) else ():
            if isinstance(entry, dict) and entry.get("name") == name and isinstance(entry.get(kind), dict):
                return directory, entry[kind]
    raise ProbeError(Reason.FORMAT_BROKEN, f"{where} has no {kind} of the name {name[:200]!r}")


def _text(settings: Mapping[str, Any], key: str) -> str:
    value = settings.get(key)
    return value.strip() if isinstance(value, str) else ""


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
        for key in ("exec", "auth-provider", "username"):
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
