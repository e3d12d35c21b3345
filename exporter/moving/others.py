"""
Configurations of domain_exporter, x509-certificate-exporter and telegraf's input `x509_cert`.
"""

import fnmatch
import re
import shlex
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from exporter.moving.documents import mappings_in
from exporter.moving.moved import EACH_VERSION, SKIPPED, Group, Moved, MoveError, file_urls, items, part
from exporter.yaml_lines import UNEXPANDED

_TELEGRAF = {
    "tcp": "tls",
    "udp": "dtls",
    "https": "https",
    "smtp": "smtp",
    **dict.fromkeys(("file", "jks", "pkcs12"), "file"),
}
"""Our scheme by that of a source."""


_TELEGRAF_KEYS = (
    *("sources", "timeout", "server_name", "tls_server_name", "tls_ca", "tls_cert", "tls_key", "tags"),
    *("pad_with_zeroes", "pad_serial_with_zeroes", "exclude_root_certs", "use_proxy", "proxy_url"),
    *("insecure_skip_verify", "password", "alias", "log_level"),
)
"""Keys of an input that are understood, or say nothing about what is watched and told."""


_TELEGRAF_TIMES = ("interval", "precision", "collection_jitter", "collection_offset")
"""Keys of every input that say how often it is run."""


_TELEGRAF_TLS = ("tls_min_version", "tls_max_version", "tls_cipher_suites", "tls_renegotiation_method")
"""Keys of an input that say which TLS is spoken."""


_TELEGRAF_RESULTS = (
    *("name_override", "name_prefix", "name_suffix", "taginclude", "tagexclude", "tagpass", "tagdrop"),
    *("fieldinclude", "fieldexclude", "fieldpass", "fielddrop", "namepass", "namedrop", "metricpass"),
)
"""Keys of every input that say what becomes of its result."""


_VARIABLE = re.compile(r"\$(?:\w|\{)")


_BARE = re.compile(r"""("(?:[^"\\\n]|\\.)*" | '[^'\n]*' | \#[^\n]*) | (\$\{[^}"'\n]*\})""", re.VERBOSE)
"""Texts and comments of TOML, or a variable that stands outside of them."""


def _quoted(text: str) -> str:
    """
    Return TOML of what telegraf makes TOML by its environment: a variable that is a whole value is a text.
    """
    return _BARE.sub(lambda one: one[1] or f"'{one[2]}'", text)


def domains(text: str, moved: Moved) -> None:
    """
    Take the domains of domain_exporter's file. Raises MoveError.
    """
    found = mappings_in(text, "configuration of domain_exporter", "domains")
    moved.given.add("domain_exporter")
    group = Group("domains of domain_exporter")
    for entry in (entry for document in found for entry in items(document, "domains")):
        name = str(entry.get("name", "") if isinstance(entry, dict) else entry)
        if not name:
            moved.left.append(f"domain {entry!r}: it has no name")
            continue
        if isinstance(entry, dict) and entry.get("host"):
            moved.changes.append(
                f"domain {name}: its WHOIS server {entry['host']}: the registry's own is asked"
            )
        moved.add(group, f"domain:{name}")
    moved.taken.append(group)


def telegraf(text: str, moved: Moved) -> None:
    """
    Take the sources of each `inputs.x509_cert` of a telegraf configuration. Raises MoveError.
    """
    try:
        document = tomllib.loads(_quoted(text))
    except tomllib.TOMLDecodeError as error:
        raise MoveError(f"is not TOML: {error}") from None
    written = part(document, "inputs").get("x509_cert")
    # One table is an input too, as it was written once.
    inputs = [written] if isinstance(written, dict) else items(part(document, "inputs"), "x509_cert")
    if tags := part(document, "global_tags"):
        moved.changes.append(
            f"global_tags {', '.join(tags)}: write them as `labels` of the targets, or of the job that "
            "scrapes this exporter"
        )
    if not inputs:
        moved.left.append("there is no [[inputs.x509_cert]] in it")
    group = Group("sources of x509_cert")
    for entry in inputs:
        settings = {
            ours: str(entry[theirs])
            for theirs, ours in (
                ("timeout", "timeout"),
                ("server_name", "server_name"),
                ("tls_server_name", "server_name"),
                ("tls_ca", "ca_file"),
                ("proxy_url", "proxy"),
            )
            if entry.get(theirs)
        }
        client: dict[str, Any] = {}
        if entry.get("tls_cert"):
            client["client_certificate"] = {"cert_file": str(entry["tls_cert"])}
            if entry.get("tls_key"):
                client["client_certificate"]["key_file"] = str(entry["tls_key"])
        if plain := [key for key in entry if key == "exclude_root_certs" or key.startswith("pad_")]:
            moved.changes.append(f"{', '.join(plain)}: roots are never alarming, serials are hex")
        if entry.get("insecure_skip_verify"):
            moved.changes.append(SKIPPED)
        if spoken := [key for key in entry if key in _TELEGRAF_TLS]:
            moved.changes.append(f"{', '.join(spoken)}: {EACH_VERSION}")
        if times := [key for key in entry if key in _TELEGRAF_TIMES]:
            moved.changes.append(
                f"{', '.join(times)}: targets are probed when Prometheus scrapes; with `interval` they are "
                "probed less often"
            )
        if results := [key for key in entry if key in _TELEGRAF_RESULTS]:
            moved.changes.append(
                f"{', '.join(results)}: metrics have the names and labels of this exporter, and all are there"
            )
        if entry.get("use_proxy") and not entry.get("proxy_url"):
            moved.left.append("use_proxy: name the proxy of the environment in `proxy` of the targets")
        if entry.get("password"):
            moved.left.append(f"password: {_IN_A_FILE}")
        known = {*_TELEGRAF_KEYS, *_TELEGRAF_TIMES, *_TELEGRAF_TLS, *_TELEGRAF_RESULTS}
        if unknown := [key for key in entry if key not in known]:
            moved.left.append(f"{', '.join(unknown)}: not known here")
        labels = {str(key): str(value) for key, value in part(entry, "tags").items()}
        sources = entry.get("sources")
        for source in [sources] if isinstance(sources, str) else map(str, items(entry, "sources")):
            if _VARIABLE.search(source):
                moved.left.append(f"source {source}: {UNEXPANDED}")
                continue
            scheme, separator, rest = source.partition("://")
            scheme = scheme.removesuffix("+starttls")
            if not separator or _TELEGRAF.get(scheme) == "file":
                for url in file_urls(rest if separator else source):
                    moved.add(group, url, labels)
            elif scheme.rstrip("46") in _TELEGRAF:
                ours = _TELEGRAF[scheme.rstrip("46")]
                moved.add(group, f"{ours}://{rest.partition('/')[0]}", labels, settings | client)
            else:
                moved.left.append(f"source {source}: its scheme is not known here")
    moved.taken.append(group)


_PATHS = {
    "watch-file": "{}",
    "watch-dir": "{}/*",
    "watch-kubeconf": "{}",
}


def x509(text: str, moved: Moved) -> None:
    """
    Take what x509-certificate-exporter watches: the values of its Helm chart, its configuration, or its
    arguments, alone or in the manifest of its pods.

    Raises MoveError.
    """
    if text.lstrip().startswith("-"):
        _arguments(shlex.split(text, comments=True), moved)
        return
    keys = ("secretsExporter", "hostPathsExporter", "cabundlesExporter", "sources")
    what = "file of values of x509-certificate-exporter"
    for document in mappings_in(text, what, *keys, also=("args",)):
        arguments = list(map(str, items(document, "args")))
        # Of a container, which may be another program's.
        if any(flag in {*_PATHS, "watch-kube-secrets"} for flag, _ in _flags(arguments)):
            _arguments(arguments, moved)
        _values(document, moved)


def _values(document: Mapping[str, Any], moved: Moved) -> None:
    """
    Take the values of the chart, or its configuration.
    """
    for source in items(document, "sources"):
        _source(part({"": source}, ""), moved)
    secrets = part(document, "secretsExporter")
    if "secretsExporter" in document and secrets.get("enabled", True):
        wanted = {key: list(map(str, items(secrets, key))) for key in (*_LISTS, "configMapKeys")}
        wanted["secretTypes"] = _types(secrets, "secretTypes", moved)
        _secrets(wanted, moved)
        for key in _NO_COUNTERPART:
            if secrets.get(key):
                moved.left.append(f"secretsExporter.{key}: it has no counterpart here; more is seen, or less")
    for key in _OWN_SERIES:
        if document.get(key):
            moved.changes.append(f"{key}: {_OWN_SERIES[key]}")
    rules = part(document, "prometheusRules")
    if days := [key for key in rules if str(key).endswith("DaysLeft")]:
        written = ", ".join(f"prometheusRules.{key}: {rules[key]}" for key in days)
        moved.changes.append(
            f"{written}: when to warn is a policy here; write one with these as its `warning` and `critical` "
            "(in days: `28d`), and name it in `defaults`"
        )
    bundles = part(document, "cabundlesExporter")
    if bundles.get("enabled"):
        _bundles(bundles, "cabundlesExporter", moved)
    hosts = part(document, "hostPathsExporter")
    for name, daemon in {"": hosts, **part(hosts, "daemonSets")}.items():
        where = f"hostPathsExporter {name}".strip()
        watched = [
            *(
                ("{}", str(path))
                for key in ("watchFiles", "watchKubeconfFiles")
                for path in items(daemon, key)
            ),
            *(("{}/*", str(path)) for path in items(daemon, "watchDirectories")),
        ]
        for one in items(daemon, "watchSpecificExtensionDirectories"):
            entry = part({"": one}, "")
            watched.append((f"{{}}/*.{entry.get('extension', '')}", str(entry.get("directory", ""))))
        for form, path in watched:
            _paths(form, [path], moved)
        if watched:
            moved.changes.append(
                f"{where}: run this exporter on each of these hosts, or its files are not seen"
            )


_IN_A_FILE = "it is in a file here, not in the configuration; name that file as password_file of the targets"


def _types(secrets: Mapping[str, Any], key: str, moved: Moved) -> list[str]:
    """
    Return the types of Secrets in a list of what to look at in each; tell of passwords for keystores.
    """
    wanted = [part({"": one}, "") for one in items(secrets, key)]
    if any(one.get(keystore) for one in wanted for keystore in ("pkcs12", "jks")):
        moved.left.append(f"the password of keystores in Secrets: {_IN_A_FILE}")
    return list(dict.fromkeys(str(one.get("type", "")) for one in wanted))


def _source(source: Mapping[str, Any], moved: Moved) -> None:
    """
    Take one of `sources` of its own configuration, as version 4 has it.
    """
    kind = source.get("kind")
    where = f"source {source.get('name', kind)}"
    if kind in {"file", "kubeconfig"}:
        for path in map(str, items(source, "paths")):
            _paths("{}", [path], moved)
        if items(source, "exclude") or items(source, "excludePaths"):
            moved.left.append(f"{where}: what it excludes is seen here")
    elif kind == "kubernetes":
        namespaces, secrets = part(source, "namespaces"), part(source, "secrets")
        included = list(map(str, items(namespaces, "include")))
        wanted = {
            "secretTypes": _types(secrets, "types", moved),
            "includeNamespaces": [] if "*" in included else included,
            "excludeNamespaces": list(map(str, items(namespaces, "exclude"))),
            **{key: list(map(str, items(secrets, key))) for key in ("includeLabels", "excludeLabels")},
            "configMapKeys": list(map(str, items(part(source, "configMaps"), "keyPatterns"))),
        }
        _secrets(wanted, moved, str(source.get("kubeconfig") or ""))
        for key in ("includeLabels", "excludeLabels"):
            if items(namespaces, key):
                moved.left.append(f"{where}: namespaces.{key}: it has no counterpart here; more is seen")
    elif kind == "cabundle":
        _bundles(source, where, moved)
    else:
        moved.left.append(f"{where}: its kind {kind} is not known here")


def _bundles(bundles: Mapping[str, Any], where: str, moved: Moved) -> None:
    """
    Take the CA bundles of webhooks.
    """
    resources = part(bundles, "resources")
    if other := [key for key in ("apiservice", "crdConversion") if resources.get(key)]:
        moved.left.append(f"{where}: {', '.join(other)}: only the bundles of webhooks are seen here")
    if items(bundles, "excludeNames"):
        moved.left.append(f"{where}: excludeNames: they are seen here")
    group = Group("CA bundles of webhooks")
    for name in map(str, items(bundles, "includeNames") or ["*"]):
        moved.add(group, f"kubernetes://*/{name}", {}, {"kubernetes": {"resources": ["webhooks"]}})
    moved.taken.append(group)


def _arguments(arguments: list[str], moved: Moved) -> None:
    """
    Take the arguments of the command line.
    """
    wanted: dict[str, list[str]] = {}
    kubernetes, kubeconfig = False, ""
    for flag, value in _flags(arguments):
        if flag in _PATHS:
            _paths(_PATHS[flag], [value], moved)
        elif flag == "watch-kube-secrets":
            kubernetes = True
        elif flag == "kubeconfig":
            kubeconfig = value
        elif flag in _LISTS.values():
            key = next(key for key, theirs in _LISTS.items() if theirs == flag)
            # Of `TYPE:KEY` the type.
            wanted.setdefault(key, []).append(value.partition(":")[0] if key == "secretTypes" else value)
        elif flag in _OWN_SERIES:
            moved.changes.append(f"--{flag}: {_OWN_SERIES[flag]}")
        else:
            moved.left.append(f"--{flag}: it has no counterpart here")
    if kubernetes:
        _secrets(wanted, moved, kubeconfig)


_ALONE = (
    "watch-kube-secrets",
    "expose-per-cert-error-metrics",
    "expose-relative-metrics",
    "debug",
    "profile",
)
"""Flags that have no value."""


_SHORT = {
    "f": "watch-file",
    "d": "watch-dir",
    "k": "watch-kubeconf",
    "s": "secret-type",
    "b": "listen-address",
    "p": "port",
    "l": "expose-labels",
}
"""The long form of each short flag with a value."""


def _flags(arguments: list[str]) -> Iterator[tuple[str, str]]:
    """
    Yield each flag in its long form with its value, which is written behind it or, of a long one, after `=`.
    """
    rest = list(reversed(arguments))
    while rest:
        written = rest.pop()
        if written.startswith("--"):
            flag, has_value, value = written.removeprefix("--").partition("=")
        else:
            flag, value = _SHORT.get(written[1:2], written.removeprefix("-")), written[2:]
            has_value = value
        if not has_value and flag not in _ALONE and rest and not rest[-1].startswith("-"):
            value = rest.pop()
        yield flag, value


def _paths(form: str, paths: Iterable[str], moved: Moved) -> None:
    for path in paths:
        group = Group(path)
        for url in file_urls(form.format(path.rstrip("/"))):
            moved.add(group, url)
        moved.taken.append(group)


_LISTS = {
    "secretTypes": "secret-type",
    "includeNamespaces": "include-namespace",
    "excludeNamespaces": "exclude-namespace",
    "includeLabels": "include-label",
    "excludeLabels": "exclude-label",
}
"""Keys of the chart that select Secrets, with the flag of each."""


_NO_COUNTERPART = ("includeNamespaceLabels", "excludeNamespaceLabels", "exposeSecretLabels", "extraArgs")


_OWN_SERIES = dict.fromkeys(
    (
        *("exposeRelativeMetrics", "expose-relative-metrics"),
        *("exposePerCertificateErrorMetrics", "expose-per-cert-error-metrics"),
    ),
    "--metrics.compat=x509 has these metrics",
)
"""By key of the chart and by flag that adds metrics, where they are here."""


def _secrets(wanted: Mapping[str, list[str]], moved: Moved, kubeconfig: str = "") -> None:
    """
    Take the Secrets of a cluster. `wanted`: by the keys of the chart, names, types and labels.
    """
    kubernetes: dict[str, Any] = {"kubeconfig": kubeconfig} if kubeconfig else {}
    if types := [one for one in wanted.get("secretTypes", ()) if one]:
        kubernetes["types"] = types
        moved.taken.append(f"types of Secrets as kubernetes.types: {', '.join(types)}")
        moved.changes.append("of a Secret every key is seen in which something expires, whatever its name")
    else:
        moved.changes.append(
            "no types of Secrets are named: kubernetes.io/tls and Opaque are seen; kubernetes.types says "
            "otherwise"
        )
    without = (one.partition("=") for one in wanted.get("excludeLabels", ()))
    terms = [
        *wanted.get("includeLabels", ()),
        *(f"{label}!={value}" if equals else f"!{label}" for label, equals, value in without),
    ]
    if terms:
        kubernetes["selector"] = ",".join(terms)
        moved.taken.append(f"labels of Secrets as kubernetes.selector: {kubernetes['selector']}")
    if wanted.get("configMapKeys"):
        kubernetes["resources"] = ["secrets", "configmaps"]
        moved.taken.append("ConfigMaps as kubernetes.resources")
        moved.changes.append("of a ConfigMap every key is seen in which something expires, whatever its name")
    included, excluded = wanted.get("includeNamespaces", []), wanted.get("excludeNamespaces", [])
    seen = [
        one for one in included or ["*"] if not any(fnmatch.fnmatchcase(one, pattern) for pattern in excluded)
    ]
    # Of those that are named one by one, none is left to be excluded.
    if excluded and any("*" in one for one in seen):
        moved.left.append(
            f"excluded namespaces {', '.join(excluded)}: they are seen here; name those to be seen instead, "
            "as kubernetes://NAMESPACE/*"
        )
    for namespace in seen:
        group = Group(f"Secrets of kubernetes://{namespace}/*")
        moved.add(group, f"kubernetes://{namespace}/*", {}, {"kubernetes": kubernetes} if kubernetes else {})
        moved.taken.append(group)
