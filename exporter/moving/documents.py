"""
Configurations in the files that people have: alone, or inside a manifest of Kubernetes or a chart's values.
"""

import base64
import binascii
from collections.abc import Collection, Iterator
from typing import Any

import yaml

from exporter.moving.moved import MoveError, part

NESTED = 3
"""Texts inside each other that are YAML themselves: values inside an Application, a ConfigMap in them."""


_FLAGS = {
    "scrape_configs": "--prometheus",
    "job_name": "--prometheus",
    "modules": "--blackbox or --ssl-exporter",
    "domains": "--domains",
    "secretsExporter": "--x509",
    "hostPathsExporter": "--x509",
    "cabundlesExporter": "--x509",
    "sources": "--x509",
    "targets": "--config.file of this exporter itself",
}
"""By key, the flag that a file is for which has it."""


class _YesOrNo(str):
    """
    A yes or no as it is written, since it may be a label's value; no is false.
    """

    __slots__ = ()

    def __bool__(self) -> bool:
        """
        Return True for what YAML 1.1 takes for true.
        """
        return self.lower() in {"true", "yes", "on"}


class _Loader(yaml.CSafeLoader):
    """
    Leaves numbers and times as they are written, as programs in Go read them where they want a text: 1.10.
    """


def _as_written(_: _Loader, node: yaml.ScalarNode) -> str:
    return _YesOrNo(node.value) if node.tag.endswith(":bool") else str(node.value)


for _tag in ("int", "float", "timestamp", "bool"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", _as_written)


def _documents(text: str) -> list[Any]:
    """
    Return the YAML documents of a text, without empty ones; JSON is YAML too. Raises MoveError.
    """
    try:
        return [one for one in yaml.load_all(text, _Loader) if one is not None]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise MoveError(f"is not YAML{where}: {getattr(error, 'problem', None) or error}") from None
    except RecursionError:
        raise MoveError("is nested too deep") from None


def mappings_in(text: str, what: str, *keys: str, also: Collection[str] = ()) -> list[dict[str, Any]]:
    """
    Return the mappings with one of the keys, wherever they stand, the outer before those inside them.

    Raises MoveError when there is none. `what` the file should be; `also`: keys, and kinds of objects of
    Kubernetes, that do as well.
    """
    given = _documents(text)
    if not any(given):
        raise MoveError(f"is empty, so it is no {what}")
    if found := list(_found(given, (*keys, *also))):
        return found
    if not any(isinstance(one, dict) for one in given):
        raise MoveError(f"is no {what}: it must be a mapping of keys")
    other = next(_found(given, tuple(_FLAGS)), {})
    flag = next((flag for key, flag in _FLAGS.items() if key in other), "")
    looks = f"; it looks like a file for {flag}: were two files swapped?" if flag else ""
    raise MoveError(f"is no {what}: it has no {' or '.join(f'`{key}`' for key in keys)}{looks}")


def list_in(text: str, file: str) -> list[Any]:
    """
    Return the list that a YAML document is. Raises MoveError.
    """
    found = _documents(text)
    if len(found) > 1 or not all(isinstance(one, list) for one in found):
        raise MoveError(f"names {file}, which has no list of targets")
    return found[0] if found else []


def _found(documents: list[Any], words: Collection[str]) -> Iterator[dict[str, Any]]:
    """
    Yield the mappings with one of the words as a key or as their kind, in the order in which they stand.
    """
    waiting = [(one, 0) for one in reversed(documents)]
    # An alias of YAML is the same object once more, and may stand for millions. They are kept, so that no
    # other object gets the identity of one.
    seen: dict[int, Any] = {}
    while waiting:
        one, nested = waiting.pop()
        if id(one) in seen:
            continue
        seen[id(one)] = one
        inside: list[Any] = []
        if isinstance(one, str):
            if nested < NESTED and "\n" in one and any(word in one for word in words):
                inside = _documents_or_none(one)
                nested += 1
        elif isinstance(one, dict):
            if one.get("kind") in words or any(word in one for word in words):
                yield one
            inside = _parts_of(one)
        elif isinstance(one, list):
            inside = one
        waiting += [(each, nested) for each in reversed(inside)]


def _documents_or_none(text: str) -> list[Any]:
    """
    Return the YAML documents of a text in a file; none when it is something else, such as a template.
    """
    try:
        return _documents(text)
    except MoveError:
        return []


def _parts_of(one: dict[str, Any]) -> list[Any]:
    """
    Return what is in a mapping: of a Secret its texts, and of no object what a client noted about it.
    """
    parts = {key: value for key, value in one.items() if key != "metadata"}
    if one.get("kind") == "Secret":
        parts["data"] = [_text_of(value) for value in part(one, "data").values()]
    return list(parts.values())


def _text_of(value: Any) -> str:
    """
    Return a text that is in base64; empty when it is none.
    """
    try:
        return base64.b64decode(str(value)).decode("utf-8")
    except (binascii.Error, ValueError):
        return ""
