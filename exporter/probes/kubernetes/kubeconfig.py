"""
The configuration of a cluster's access: a kubeconfig, or the service account of this process's pod.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from exporter.model.errors import ProbeError
from exporter.model.foreign_text import printable, quoted
from exporter.model.reasons import Reason
from exporter.net.regular_files import read
from exporter.probes.kubernetes import exec_plugins
from exporter.probes.kubernetes.exec_plugins import Plugin
from exporter.yaml_lines import ConfigError
from exporter.yaml_lines import read as read_yaml

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""The directory with the token and the CA of a pod's service account."""


SIZE_LIMIT = 1024 * 1024
"""Bytes of a kubeconfig, and of each file that it names."""


EXTENSION = f"{exec_plugins.GROUP}/exec"
"""The extension of a kubeconfig's cluster that holds settings for credential plugins."""


_TOKEN = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class _Read:
    """
    The configuration of one cluster's access, as read from its files.
    """

    server: str
    authorities: bytes | None = None
    """Trust anchors, PEM; None: those of the system."""
    verify: bool = True
    certificate: bytes | None = field(default=None, repr=False)
    """The client certificate and its key, PEM; None when there is none."""
    token: str | None = field(default=None, repr=False)
    server_name: str | None = None
    proxy: str | None = field(default=None, repr=False)
    plugin: Plugin | None = None
    """The plugin for the token or the certificate; None when the files have them."""


def _in_cluster(authority: str, service_account: Path) -> _Read:
    """
    Return the access to the cluster of this pod. Raises ProbeError.
    """
    return _Read(
        f"https://{authority}",
        authorities=_content(service_account / "ca.crt"),
        token=_token(_content(service_account / "token"), str(service_account / "token")),
    )


def by_kubeconfig(paths: Sequence[str], context: str) -> _Read:
    """
    Return the access for a context of kubeconfig files, the current one if none is named. Raises ProbeError.

    Of several files the first that has an entry counts, and missing files are ignored, as with kubectl.
    """
    there = [path for path in paths if Path(path).exists()] or [paths[0]]
    documents = [(Path(path), _document(path)) for path in there]
    where = there[0]
    if not context:
        found = [one.get("current-context") for _, one in documents]
        context = next((one for one in found if isinstance(one, str) and one), "")
    if not context:
        raise ProbeError(
            Reason.FORMAT_BROKEN,
            f"{printable(where)} has no current-context: write the context in the URL, kubernetes://CONTEXT/NAMESPACE/NAME",
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
            f"the cluster of context {context!r} in {printable(where)} has no `server` that begins with https://",
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
    # Embedded data goes before files, as with kubectl.
    if not isinstance(asked, dict) or made.token is not None or made.certificate is not None:
        return made
    told = None
    if _is_true(asked, "provideClusterInfo"):
        told = _told(cluster, made, _extension(file, _text(named, "cluster")))
    words = f"the user of context {context!r} in {printable(where)}"
    return replace(made, plugin=exec_plugins.plugin(asked, user_at, told, words))


def _told(cluster: Mapping[str, Any], found: _Read, extension: Any) -> dict[str, Any]:
    """
    Return the cluster's part of ExecCredential for a plugin (`spec.cluster`).
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
    Return the plugin settings of a cluster in a kubeconfig that was read; None when it has none.
    """
    # Read once more, by the types of YAML: for all else here, all is text.
    try:
        document = json.loads(json.dumps(yaml.load(_content(file), yaml.CSafeLoader), default=str))
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    _, cluster = _named([(file, document)], "clusters", "cluster", name, str(file))
    listed = cluster.get("extensions")
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, dict) and one.get("name") == EXTENSION:
            return one.get("extension")
    return None


def _document(path: str) -> dict[str, Any]:
    """
    Return the content of a kubeconfig. Raises ProbeError.
    """
    data, _ = read(path, SIZE_LIMIT)
    try:
        document = read_yaml(data, path).value
    except ConfigError as error:
        words = f"{printable(path)}: {error.faults[0].without_values}"
        raise ProbeError(Reason.FORMAT_BROKEN, words) from None
    if not isinstance(document, dict):
        raise ProbeError(Reason.FORMAT_BROKEN, f"{printable(path)} is not a kubeconfig")
    return document


def _named(
    documents: Sequence[tuple[Path, dict[str, Any]]], entries: str, kind: str, name: str, where: str
) -> tuple[Path, dict[str, Any]]:
    """
    Return the entry of this name, and its file. Raises ProbeError.
    """
    for file, document in documents:
        listed = document.get(entries)
        for entry in listed if isinstance(listed, list) else ():
            if isinstance(entry, dict) and entry.get("name") == name and isinstance(entry.get(kind), dict):
                return file, entry[kind]
    raise ProbeError(
        Reason.FORMAT_BROKEN, f"{printable(where)} has no {kind} of the name {quoted(name, 200)}"
    )


def _text(settings: Mapping[str, Any], key: str) -> str:
    value = settings.get(key)
    return value.strip() if isinstance(value, str) else ""


def _is_true(settings: Mapping[str, Any], key: str) -> bool:
    return _text(settings, key).lower() == "true"


def _data(settings: Mapping[str, Any], key: str, directory: Path) -> bytes | None:
    """
    Return the value of `KEY-data`, or the content of the file that `KEY` names; None when there is neither.
    Raises ProbeError.
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
    Return the token of a user; None when there is none. Raises ProbeError.
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
    Return a token that is a valid header value. Raises ProbeError.
    """
    text = data.decode("ascii", "replace").strip()
    if not _TOKEN.fullmatch(text):
        raise ProbeError(Reason.FORMAT_BROKEN, f"the token in {printable(where)} is empty, or not a token")
    return text


def _content(path: Path) -> bytes:
    data, _ = read(str(path), SIZE_LIMIT)
    return data
