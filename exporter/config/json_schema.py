"""
The JSON schema of a configuration file, for editors. It is made from the models that read the file.

An editor with it completes keys and marks mistakes while one types. What only the reader knows (a missing
file, two targets of one name) it does not tell.
"""

from typing import Any

from exporter.config.schema import ModuleEntry, PolicyEntry, ProxyEntry, Sections, TargetEntry


class _Whole(Sections):
    """
    The sections with the parts that the reader checks one by one.
    """

    policies: dict[str, PolicyEntry] = {}
    modules: dict[str, ModuleEntry] = {}
    targets: list[TargetEntry] = []


def json_schema() -> dict[str, Any]:
    """
    Return the schema (JSON Schema 2020-12).
    """
    made = _Whole.model_json_schema()
    parts = made["$defs"]
    # One text is a whole target or proxy.
    for model in (TargetEntry, ProxyEntry):
        name = model.__name__
        parts[name] = {"if": {"type": "object"}, "then": parts[name], "else": {"type": "string"}}
    # A built-in policy has no deadlines in the file.
    del parts[PolicyEntry.__name__]["required"]
    _complete(made)
    for section in made["properties"].values():
        # All of a section may be commented out.
        if "type" in section:
            section["type"] = [section["type"], "null"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of expiry-exporter",
        **{key: value for key, value in made.items() if key != "title"},
        # They hold what others merge.
        "patternProperties": {"^x-": {}},
    }


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
    if part.get("type") == "string" and part.keys().isdisjoint({"enum", "const"}):
        part["type"] = ["string", "number", "boolean"]
    for one in list(part.values()):
        _complete(one)
