"""
The files of each kind of deployment: texts by their path. Pure but for what ships with the package.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import yaml

from exporter.deploy.chart import templates
from exporter.deploy.manifests import NAME, manifests
from exporter.deploy.rights import Rights
from exporter.yaml_lines import WholeDumper, dumped

_FILES = files("exporter.deploy") / "files"


_FOR_EDITORS = "# yaml-language-server: $schema=expiry.schema.json\n"
"""Where the schema lies beside the configuration, editors find it by this line."""


_PART = "[a-z0-9]+([._-]+[a-z0-9]+)*"


IMAGE = (
    rf"([a-zA-Z0-9.-]+(:[0-9]+)?/)?{_PART}(/{_PART})*(:[a-zA-Z0-9_][a-zA-Z0-9_.-]{{0,127}})?"
    r"(@sha256:[0-9a-f]{64})?"
)
"""
The name of an image: host, path, tag and digest. Of another no node pulls anything, and nobody else refuses
it.
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """
    The choices of the user: the flags of `deploy`, and the configuration that they name.
    """

    config: str | None
    """Text of the user's configuration; None: an example."""
    rights: Rights
    """Rights that the configuration needs in a cluster."""
    version: str
    image: str
    url: str | None
    """The URL at which people reach the exporter."""
    namespace: str
    prometheus_namespace: str
    shards: int
    storage: str
    labels: Mapping[str, str]
    """Labels by which Prometheus selects ServiceMonitor and rules."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """
    The exporter's own files that go with it.
    """

    alerts: Mapping[str, str]
    dashboards: Mapping[str, str]
    schema: str
    """JSON schema of the configuration."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """
    Files to write.
    """

    texts: dict[str, str]
    config: str
    """The file with the configuration."""
    own: tuple[str, ...] = ()
    """Other files that the user will change."""


def compose(wanted: Wanted, bundle: Bundle) -> Deployment:
    """
    Return the files for `docker compose` and `podman-compose`: all four services and their configuration.
    """
    texts = {
        "compose.yml": _shipped("compose/compose.yml")
        .replace("@IMAGE@", wanted.image)
        .replace("@URL@", wanted.url or "http://localhost:10119"),
        "expiry-exporter/expiry.yml": wanted.config or _shipped("compose/expiry.yml"),
        "expiry-exporter/expiry.schema.json": bundle.schema,
        "prometheus/prometheus.yml": _shipped("compose/prometheus.yml"),
        "prometheus/rules.yml": bundle.alerts["rules.yml"],
        "alertmanager/alertmanager.yml": bundle.alerts["alertmanager.yml"],
        "grafana/provisioning/datasources/prometheus.yml": _shipped("compose/datasource.yml"),
        "grafana/provisioning/dashboards/expiry.yml": _shipped("compose/dashboards.yml"),
    }
    if wanted.config is None:
        texts["expiry-exporter/example.pem"] = _shipped("compose/example.pem")
    texts |= {f"grafana/dashboards/{name}": text for name, text in bundle.dashboards.items()}
    texts |= {
        f"alertmanager/{name}": text for name, text in bundle.alerts.items() if name.startswith("templates/")
    }
    own = ("prometheus/prometheus.yml", "alertmanager/alertmanager.yml")
    return Deployment(texts, "expiry-exporter/expiry.yml", own)


def kubernetes(wanted: Wanted, bundle: Bundle) -> Deployment:
    """
    Return the manifests for `kubectl apply`.
    """
    rules = yaml.safe_load(bundle.alerts["rules.yml"])
    objects = manifests(_values(wanted), wanted.namespace, rules, bundle.dashboards)
    texts = {file: "".join(f"---\n{_dumped(one)}" for one in some) for file, some in objects.items()}
    return Deployment(texts, "configmap.yaml")


def helm(wanted: Wanted, bundle: Bundle) -> Deployment:
    """
    Return the chart, with what the user asked for as its values.
    """
    chart = {
        "apiVersion": "v2",
        "name": NAME,
        "description": "Tells Prometheus what is about to expire",
        "type": "application",
        "version": wanted.version,
        "appVersion": wanted.version,
        "home": "https://github.com/expiry-exporter/expiry-exporter",
        "kubeVersion": ">=1.21.0-0",
    }
    configuration = _in_draft_7(json.loads(bundle.schema))
    schema = json.loads(_shipped("helm/values.schema.json"))
    schema["properties"]["image"]["pattern"] = f"^{IMAGE}$"
    schema["definitions"]["configuration"] = configuration | {"minProperties": 1}
    texts = {
        "Chart.yaml": _dumped(chart),
        "values.yaml": _with_values(_shipped("helm/values.yaml"), _values(wanted)),
        "values.schema.json": json.dumps(schema, indent=2) + "\n",
        "README.md": _shipped("helm/README.md"),
        "templates/NOTES.txt": _shipped("helm/NOTES.txt"),
        "rules.yml": bundle.alerts["rules.yml"],
    }
    texts |= {f"dashboards/{name}": text for name, text in bundle.dashboards.items()}
    sections = {
        # A section that is a model is a mapping.
        key: section["else"].get("type", "object")
        for key, section in configuration["properties"].items()
    }
    texts |= {
        f"templates/{file}": text for file, text in templates(sorted(bundle.dashboards), sections).items()
    }
    return Deployment(texts, "values.yaml")


def systemd(wanted: Wanted, bundle: Bundle) -> Deployment:
    """
    Return the units, the user and the directories, by where they belong below /etc.
    """
    service = _shipped("systemd/expiry-exporter.service")
    if wanted.url is not None:
        # A unit's specifiers begin with this sign; inside double quotes a single one is itself.
        flag = f'--web.systemd-socket "--web.external-url={wanted.url.replace("%", "%%")}"'
        service = service.replace("--web.systemd-socket", flag)
    texts = {
        "systemd/system/expiry-exporter.service": service,
        "systemd/system/expiry-exporter.socket": _shipped("systemd/expiry-exporter.socket"),
        "sysusers.d/expiry-exporter.conf": _shipped("systemd/sysusers.conf"),
        "tmpfiles.d/expiry-exporter.conf": _shipped("systemd/tmpfiles.conf"),
        "expiry-exporter/expiry.yml": wanted.config or _FOR_EDITORS + _shipped("expiry.yml"),
        "expiry-exporter/expiry.schema.json": bundle.schema,
    }
    return Deployment(texts, "expiry-exporter/expiry.yml")


KINDS = {"compose": compose, "kubernetes": kubernetes, "helm": helm, "systemd": systemd}
"""By kind, the function that makes its files."""


def _values(wanted: Wanted) -> dict[str, Any]:
    """
    The chart's values.
    """
    values: dict[str, Any] = yaml.safe_load(_shipped("helm/values.yaml"))
    values["image"] = wanted.image
    values["config"] = wanted.config or _shipped("expiry.yml")
    values["shards"] = wanted.shards
    values["storage"] = wanted.storage
    values["extraArgs"] = [f"--web.external-url={wanted.url}"] if wanted.url is not None else []
    values["rbac"] = {"cluster": wanted.rights.cluster, "namespaces": wanted.rights.namespaces}
    values["metadataLabels"] = dict(wanted.labels)
    values["networkPolicy"]["from"] = {"kubernetes.io/metadata.name": wanted.prometheus_namespace}
    return values


def _in_draft_7(part: Any) -> Any:
    """
    Return the configuration's schema as a part of that of the values, which Helm reads.

    Helm's patterns are Go's, without conditions on what follows.
    """
    match part:
        case list():
            return [_in_draft_7(one) for one in part]
        case dict():
            return {
                key: _in_draft_7_at(key, one)
                for key, one in part.items()
                if key not in {"$schema", "patternErrorMessage"}
            }
    return part


def _in_draft_7_at(key: str, value: Any) -> Any:
    match key, value:
        case "$ref", str():
            return value.replace("#/$defs/", "#/definitions/configuration/$defs/")
        case "pattern", str():
            return _unconditional(value)
    return _in_draft_7(value)


_PIECE = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]|\(\?<?[=!]|\(|\)|[^\\\[()]+", re.DOTALL)
"""A piece of a pattern: what has a backslash, a set, the begin of a condition or a group, an end, or text."""


def _unconditional(pattern: str) -> str:
    """
    Return a pattern without its conditions on what follows or stands before: it fits more.
    """
    pieces: list[str] = []
    inside = 0
    for piece in _PIECE.findall(pattern):
        if inside or piece.startswith(("(?=", "(?!", "(?<")):
            inside += piece.startswith("(") - (piece == ")")
        else:
            pieces.append(piece)
    return "".join(pieces)


def _with_values(text: str, values: Mapping[str, Any]) -> str:
    """
    Return the file of values with these in it, and its comments.
    """
    blocks = re.split(r"^(?=#|\w+:)", text, flags=re.MULTILINE)
    found = []
    for block in blocks:
        key = re.match(r"(\w+):", block)
        if key is None:
            found.append(block)
        else:
            gap = "\n" if block.endswith("\n\n") else ""
            found.append(_dumped({key[1]: values[key[1]]}) + gap)
    return "".join(found)


def _shipped(name: str) -> str:
    return (_FILES / name).read_text(encoding="utf-8")


class _Dumper(WholeDumper):
    """
    Writes texts of several lines as they are.
    """


def _text(dumper: WholeDumper, text: str) -> yaml.Node:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _dumped(value: Any) -> str:
    return dumped(value, _Dumper)
