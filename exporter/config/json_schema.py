"""
The JSON schema of a configuration file, for editors. It is made from the models that read the file.

An editor with it completes keys and marks mistakes while one types. What only the reader knows (a missing
file, two targets of one name, a duration that is too long) it does not tell.
"""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from exporter.config.modules import BUILT_IN_MODULES
from exporter.config.schema import BuiltInEntry, ModuleEntry, PolicyEntry, ProxyEntry, Sections, TargetEntry
from exporter.config.shapes import up_to
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
        "allOf": [
            _only("policies", list(BUILT_IN), _policies),
            _only("modules", list(BUILT_IN_MODULES), _module),
        ],
        # They hold what others merge.
        "patternProperties": {"^x-": {}},
    }


def _only(
    section: str, known: list[str], named: Callable[[dict[str, Any]], dict[str, Any]]
) -> dict[str, Any]:
    """
    Return that without names of the file's own in a section, only the built-in ones are known.

    `named` has where one is named, given the schema of a name.
    """
    own_none = {"anyOf": [{"type": "null"}, {"propertyNames": {"enum": known}}]}
    return {"if": {"properties": {section: own_none}}, "then": {"properties": named({"enum": known})}}


def _policies(name: dict[str, Any]) -> dict[str, Any]:
    having = {"properties": {"policy": name}}
    return {
        "defaults": having,
        "targets": {"items": having},
        "modules": {"additionalProperties": having},
        "discover": {"items": having},
    }


def _module(name: dict[str, Any]) -> dict[str, Any]:
    return {"probe": {"properties": {"default_module": name}}}


def _quoted(part: dict[str, Any]) -> str:
    """
    Return the pattern of numbers in quotes, which the reader takes as well.
    """
    if part["type"] == "integer":
        # Python's forms of it have no limit.
        other = r"(?=.*[_+.])(?=.*[1-9])\+?[0-9_]+(\.0*)?"
        return rf"^\s*(0*(?!0\s*$){up_to(part['maximum'])}|{other})\s*$"
    return r"^\s*(?=.*[1-9])\+?[0-9_]*\.?[0-9_]*([eE][-+]?[0-9]+)?\s*$"


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
    elif part.get("type") in ("integer", "number"):
        part["pattern"] = _quoted(part)
        part["type"] = [part["type"], "string"]
    for pattern, values in part.pop("patternProperties", {}).items():
        part["propertyNames"] = {"pattern": pattern, **part.get("propertyNames", {})}
        part["additionalProperties"] = values
    for one in list(part.values()):
        _complete(one)
