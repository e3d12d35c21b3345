"""
The JSON schema of a configuration file, for editors. It is made from the models that read the file.

An editor with it completes keys and marks mistakes while one types. What only the reader knows (a missing
file, two targets of one name, a duration that is too long) it does not tell.
"""

from copy import deepcopy
from typing import Any

from exporter.config.schema import BuiltInEntry, ModuleEntry, PolicyEntry, ProxyEntry, Sections, TargetEntry
from exporter.config.sources import HttpSource, SourceEntry
from exporter.model.policies import BUILT_IN


class _Whole(Sections):
    """
    The sections with the parts that the reader checks one by one.
    """

    policies: dict[str, PolicyEntry] = {}
    built_in: dict[str, BuiltInEntry] = {}
    modules: dict[str, ModuleEntry] = {}
    targets: list[TargetEntry] = []
    discover: list[SourceEntry] = []


def json_schema() -> dict[str, Any]:
    """
    Return the schema (JSON Schema 2020-12).
    """
    # The models keep what they share.
    made = deepcopy(_Whole.model_json_schema())
    parts, sections = made["$defs"], made["properties"]
    # Of these one text is the whole: its URL.
    for model in (TargetEntry, ProxyEntry, HttpSource):
        whole = parts[model.__name__]
        parts[model.__name__] = {"if": {"type": "object"}, "then": whole, "else": whole["properties"]["url"]}
    sections["policies"]["properties"] = dict.fromkeys(
        BUILT_IN, sections.pop("built_in")["additionalProperties"]
    )
    _complete(made)
    # All of a section may be commented out.
    empty_or = {key: {"if": {"type": "null"}, "else": section} for key, section in sections.items()}
    made["properties"] = empty_or
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of expiry-exporter",
        **{key: value for key, value in made.items() if key != "title"},
        # They hold what others merge.
        "patternProperties": {"^x-": {}},
    }


_QUOTED = {"integer": "^[0-9]+$", "number": r"^[0-9]+(\.[0-9]+)?$"}
"""Numbers in quotes, which the reader takes as well."""


def _complete(part: Any) -> None:
    """
    Say of each value what the file may have: in YAML a text may look like a number, and no default is null.
    """
    if isinstance(part, list):
        for one in part:
            _complete(one)
    if not isinstance(part, dict):
        return
    part.pop("title", None)
    if part.get("default", "") is None:
        del part["default"]
    kinds = part.get("anyOf", [])
    if {"type": "null"} in kinds:
        # Absent is how it is left out: a key without a value is refused.
        kinds.remove({"type": "null"})
        if len(kinds) == 1:
            del part["anyOf"]
            part.update(kinds[0])
    if part.get("type") == "string" and part.keys().isdisjoint({"enum", "const", "pattern"}):
        part["type"] = ["string", "number", "boolean"]
    elif isinstance(part.get("type"), str) and part["type"] in _QUOTED:
        part["pattern"] = _QUOTED[part["type"]]
        part["type"] = [part["type"], "string"]
    for pattern, values in part.pop("patternProperties", {}).items():
        part["propertyNames"] = {"pattern": pattern, **part.get("propertyNames", {})}
        part["additionalProperties"] = values
    for one in list(part.values()):
        _complete(one)
