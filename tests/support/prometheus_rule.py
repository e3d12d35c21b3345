"""
The shape that the Prometheus Operator's definition of PrometheusRule (monitoring.coreos.com/v1) asks for.

As of version 0.82 of the operator; earlier ones know fewer fields, of which none is used here. An API server
refuses values of another type or pattern, and drops unknown fields without a word: here they are refused too.
"""

from typing import Any

import jsonschema

_DURATION = {
    "type": "string",
    "pattern": "^(0|(([0-9]+)y)?(([0-9]+)w)?(([0-9]+)d)?(([0-9]+)h)?(([0-9]+)m)?(([0-9]+)s)?(([0-9]+)ms)?)$",
}
_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}


def _closed(required: list[str], **fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": required, "additionalProperties": False}


_RULE = _closed(
    ["expr"],
    alert={"type": "string"},
    record={"type": "string"},
    expr={"anyOf": [{"type": "integer"}, {"type": "string"}]},
    **{"for": _DURATION},
    keep_firing_for={**_DURATION, "minLength": 1},
    labels=_TEXTS,
    annotations=_TEXTS,
)

_GROUP = _closed(
    ["name"],
    name={"type": "string", "minLength": 1},
    interval=_DURATION,
    query_offset=_DURATION,
    limit={"type": "integer"},
    labels=_TEXTS,
    rules={"type": "array", "items": _RULE},
)

SCHEMA = _closed(
    ["apiVersion", "kind", "metadata", "spec"],
    apiVersion={"const": "monitoring.coreos.com/v1"},
    kind={"const": "PrometheusRule"},
    # Name and labels are every object's, and not this definition's.
    metadata={"type": "object", "required": ["name"]},
    spec=_closed([], groups={"type": "array", "items": _GROUP}),
)
"""JSON Schema of a whole manifest."""


def check(manifest: dict[str, Any]) -> None:
    """
    Raise ValidationError for what the API server would refuse or drop.
    """
    jsonschema.Draft202012Validator(SCHEMA).validate(manifest)
    names = [group["name"] for group in manifest["spec"].get("groups", ())]
    # The list is a map by name.
    assert len(set(names)) == len(names)
