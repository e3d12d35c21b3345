"""
The templates of the Helm chart: the manifests, with Helm's expressions in the places of values. Pure.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

import yaml

from exporter.deploy.manifests import Inputs, built
from exporter.yaml_lines import WholeDumper, dumped

_CONDITIONS: Mapping[str, str] = {
    "deployment.yaml": "and (le (int $.Values.shards) 1) (not $.Values.storage)",
    "statefulset.yaml": "and (gt (int $.Values.shards) 1) (not $.Values.storage)",
    "statefulset-with-storage.yaml": "$.Values.storage",
    "clusterrole.yaml": "$.Values.rbac.cluster",
    "networkpolicy.yaml": "$.Values.networkPolicy.enabled",
    "servicemonitor.yaml": "$.Values.serviceMonitor.enabled",
    "prometheusrule.yaml": "$.Values.prometheusRule.enabled",
    "dashboards.yaml": "$.Values.dashboards.enabled",
}
"""`manifests.chosen` in Helm's language."""

_LOOPS: Mapping[str, str] = {"roles.yaml": "$namespace, $rules := $.Values.rbac.namespaces"}
"""Files whose objects are there once for each of these."""


_CONFIG = '(ternary $.Values.config (toYaml $.Values.config) (kindIs "string" $.Values.config))'
"""The text of the configuration, which may be written as a text or as its keys."""

_CHECK = """\
{{- if kindIs "string" $.Values.config }}
{{- $sections := fromJson SECTIONS }}
{{- $read := fromYaml $.Values.config }}
{{- if hasKey $read "Error" }}
{{- fail (printf "value config: must be a mapping, with targets below `targets:`: %v" $read.Error) }}
{{- else if not $read }}
{{- fail "value config: has no key: the shortest useful one is targets: [https://www.example.com]" }}
{{- end }}
{{- $known := keys $sections | sortAlpha | join ", " }}
{{- range $key, $value := $read }}
{{- $kind := get $sections $key }}
{{- if not (or $kind (hasPrefix "x-" $key)) }}
{{- fail (printf "value config: has the unknown key %q: known are %s" $key $known) }}
{{- else if not (or (not $kind) (kindIs "invalid" $value) (kindIs $kind $value)) }}
{{- fail (printf "value config: %s must be a %s" $key (ternary "list" "mapping" (eq $kind "slice"))) }}
{{- end }}
{{- end }}
{{- end }}
"""
"""
Refuses a text that is no configuration at its top; its rest only the exporter reads. Keys have a schema.
"""


class Expression(str):
    """
    An expression of Helm's. What it gives is written as JSON, which YAML takes in any place.
    """

    __slots__ = ()


def templates(dashboards: list[str], sections: Mapping[str, str]) -> dict[str, str]:
    """
    Return the chart's templates by the name of their file.

    `dashboards` are names of files in the chart, `sections` the configuration's keys with their JSON types.
    """
    given = Inputs(
        name=Expression("$.Release.Name"),
        namespace=Expression("$.Release.Namespace"),
        values=_value,
        config_hash=Expression(f"sha256sum {_CONFIG}"),
        token=Expression("not (empty (or $.Values.rbac.cluster $.Values.rbac.namespaces))"),
        roles={Expression("$namespace"): Expression("$rules")},
        rules=Expression('fromYaml ($.Files.Get "rules.yml")'),
        dashboards={name: Expression(f'$.Files.Get "dashboards/{name}"') for name in dashboards},
        joined=_joined,
        formatted=_formatted,
    )
    found = {file: _template(file, objects) for file, objects in built(given).items()}
    kinds = {key: "slice" if kind == "array" else "map" for key, kind in sections.items()}
    found["configmap.yaml"] = _CHECK.replace("SECTIONS", f"`{json.dumps(kinds)}`") + found["configmap.yaml"]
    return found


def _template(file: str, objects: list[dict[str, Any]]) -> str:
    text = "".join(f"---\n{_dumped(one)}" for one in objects)
    if file in _LOOPS:
        return f"{{{{- range {_LOOPS[file]} }}}}\n{text}{{{{- end }}}}\n"
    if file in _CONDITIONS:
        return f"{{{{- if {_CONDITIONS[file]} }}}}\n{text}{{{{- end }}}}\n"
    return text


def _dumped(manifest: dict[str, Any]) -> str:
    found: list[Expression] = []

    def represent(dumper: WholeDumper, data: Expression) -> yaml.Node:
        found.append(data)
        return dumper.represent_scalar("tag:yaml.org,2002:str", f"EXPRESSION-{len(found) - 1}-")

    # A class for each call: the representers of a class are shared by its users.
    class Marking(WholeDumper):
        """
        Writes expressions as marked words, so that nothing quotes them.
        """

    Marking.add_representer(Expression, represent)
    text = dumped(manifest, Marking, width=10_000)
    return re.sub(r"EXPRESSION-(\d+)-", lambda mark: f"{{{{ {found[int(mark[1])]} | toJson }}}}", text)


def _value(path: str) -> Expression:
    return Expression({"shards": "int $.Values.shards", "config": _CONFIG}.get(path, f"$.Values.{path}"))


def _joined(one: Any, other: Expression) -> Expression:
    if isinstance(one, dict):
        return Expression(f"mergeOverwrite {_go(one)} {_go(other)}")
    return Expression(f"concat {_go(one)} {_go(other)}")


def _formatted(text: str, *values: Any) -> Expression:
    return Expression(" ".join(["printf", json.dumps(text.replace("{}", "%v")), *map(_go, values)]))


def _go(value: Any) -> str:
    """
    Return a value as an argument in Helm's language.
    """
    match value:
        case Expression():
            return f"({value})"
        case dict():
            inside = [part for key, one in value.items() for part in (json.dumps(key), _go(one))]
            return f"({' '.join(['dict', *inside])})"
        case list():
            return f"({' '.join(['list', *map(_go, value)])})"
    return json.dumps(value)
