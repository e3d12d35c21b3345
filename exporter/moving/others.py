"""
Configurations of domain_exporter, x509-certificate-exporter and telegraf's input `x509_cert`.
"""

import shlex
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from exporter.moving.moved import Moved, MoveError, items, mapping_in, part

_TELEGRAF = {"tcp": "tls", "udp": "dtls", "https": "https", "smtp": "smtp", "file": "file", "jks": "file"}


def domains(text: str, moved: Moved) -> None:
    """
    Take the domains of domain_exporter's file. Raises MoveError.
    """
    document = mapping_in(text, "configuration of domain_exporter")
    for entry in items(document, "domains"):
        name = str(entry.get("name", "") if isinstance(entry, dict) else entry)
        if not name:
            moved.left.append(f"domain {entry!r}: it has no name")
            continue
        if isinstance(entry, dict) and entry.get("host"):
            moved.changes.append(
                f"domain {name}: its WHOIS server {entry['host']}: the registry's own is asked"
            )
        moved.add(f"domain:{name}", {}, {})
    moved.taken.append(f"{len(moved.targets)} domains")


def telegraf(text: str, moved: Moved) -> None:
    """
    Take the sources of each `inputs.x509_cert` of a telegraf configuration. Raises MoveError.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise MoveError(f"is not TOML: {error}") from None
    inputs = items(part(document, "inputs"), "x509_cert")
    if not inputs:
        moved.left.append("there is no [[inputs.x509_cert]] in it")
    for entry in inputs:
        settings = {
            ours: str(entry[theirs])
            for theirs, ours in (
                ("timeout", "timeout"),
                ("server_name", "server_name"),
                ("tls_ca", "ca_file"),
            )
            if entry.get(theirs)
        }
        client: dict[str, Any] = {}
        if entry.get("tls_cert"):
            client["client_certificate"] = {"cert_file": str(entry["tls_cert"])}
            if entry.get("tls_key"):
                client["client_certificate"]["key_file"] = str(entry["tls_key"])
        if entry.get("pad_with_zeroes") or entry.get("exclude_root_certs"):
            moved.changes.append(
                "exclude_root_certs, pad_with_zeroes: roots are never alarming, serials are hex"
            )
        labels = {str(key): str(value) for key, value in part(entry, "tags").items()}
        for source in map(str, items(entry, "sources")):
            scheme, separator, rest = source.partition("://")
            if not separator:
                moved.add(f"file://{quote(source, safe='/*?[]')}", labels, {})
            elif scheme.rstrip("46") in _TELEGRAF:
                ours = _TELEGRAF[scheme.rstrip("46")]
                wire = settings | client if ours != "file" else {}
                moved.add(f"{ours}://{rest.partition('/')[0] if ours != 'file' else rest}", labels, wire)
            else:
                moved.left.append(f"source {source}: its scheme is not known here")
    moved.taken.append(f"{len(moved.targets)} sources of x509_cert")


_PATHS = {
    "watch-file": "{}",
    "watch-dir": "{}/*",
    "watch-kubeconf": "{}",
}


def x509(text: str, moved: Moved) -> None:
    """
    Take what x509-certificate-exporter watches: the values of its Helm chart, or its arguments.

    Raises MoveError.
    """
    if text.lstrip().startswith("-"):
        _arguments(shlex.split(text, comments=True), moved)
        return
    document = mapping_in(text, "file of values of x509-certificate-exporter")
    secrets = part(document, "secretsExporter")
    if "secretsExporter" in document and secrets.get("enabled", True):
        _secrets(
            (entry.get("type", "") for entry in items(secrets, "secretTypes") if isinstance(entry, dict)),
            items(secrets, "includeNamespaces"),
            items(secrets, "includeLabels"),
            moved,
        )
        for key in ("excludeNamespaces", "excludeLabels"):
            if secrets.get(key):
                moved.left.append(
                    f"secretsExporter.{key}: what is left out there is seen here; see `selector`"
                )
    hosts = part(document, "hostPathsExporter")
    for name, daemon in {"": hosts, **part(hosts, "daemonSets")}.items():
        where = f"hostPathsExporter {name}".strip()
        for key, form in (("watchFiles", "{}"), ("watchDirectories", "{}/*"), ("watchKubeconfFiles", "{}")):
            _paths(form, map(str, items(daemon, key)), moved)
            if items(daemon, key):
                moved.changes.append(
                    f"{where}: run this exporter on each of these hosts, or its files are not seen"
                )


def _arguments(arguments: list[str], moved: Moved) -> None:
    """
    Take the arguments of the command line.
    """
    types: list[str] = []
    namespaces: list[str] = []
    labels: list[str] = []
    kubernetes = False
    for flag, value in _flags(arguments):
        if flag in _PATHS:
            _paths(_PATHS[flag], [value], moved)
        elif flag == "watch-kube-secrets":
            kubernetes = True
        elif flag in {"secret-type", "include-namespace", "include-label"}:
            {"secret-type": types, "include-namespace": namespaces, "include-label": labels}[flag].append(
                value
            )
        else:
            moved.left.append(f"--{flag}: it has no counterpart here")
    if kubernetes:
        _secrets((one.partition(":")[0] for one in types), namespaces, labels, moved)


def _flags(arguments: list[str]) -> Iterator[tuple[str, str]]:
    """
    Yield each flag with its value, written with `=` or behind it.
    """
    rest = iter(arguments)
    for argument in rest:
        flag, equals, value = argument.lstrip("-").partition("=")
        if not equals and flag not in {
            "watch-kube-secrets",
            "trim-path-components",
            "expose-relative-metrics",
        }:
            value = next(rest, "")
        yield flag, value


def _paths(form: str, paths: Iterable[str], moved: Moved) -> None:
    for path in paths:
        moved.add(f"file://{quote(form.format(path.rstrip('/')), safe='/*?[]')}", {}, {})
        moved.taken.append(f"{path}")


def _secrets(types: Iterable[str], namespaces: list[Any], labels: list[Any], moved: Moved) -> None:
    settings: Mapping[str, Any] = {"types": [one for one in map(str, types) if one]}
    if labels:
        settings = {**settings, "selector": ",".join(map(str, labels))}
    kubernetes = {key: value for key, value in settings.items() if value}
    for namespace in map(str, namespaces or [""]):
        moved.add(f"kubernetes://{namespace}", {}, {"kubernetes": kubernetes} if kubernetes else {})
    moved.taken.append("Secrets of the cluster")
