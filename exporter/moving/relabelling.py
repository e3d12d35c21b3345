"""
Relabelling of Prometheus: what `relabel_configs` make of the labels of one target.

The rules are those of its package model/relabel. The expressions are RE2's; those that Python would read in
another way can't be followed, and nobody guesses.
"""

import hashlib
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from exporter.moving.moved import items

_OTHERWISE = re.compile(r"\[\[:|\\[pPQECz]|\(\?[a-zA-Z]*U")
"""What RE2 has, and Python has not or reads as something else."""


_REFERENCE = re.compile(r"\$(?:(\$)|\{(\w+)\}|(\w+))", re.ASCII)
"""A group in a replacement, as Go's Regexp.Expand reads it."""


_NAME = re.compile(r"[a-zA-Z_]\w*", re.ASCII)


class DroppedError(Exception):
    """
    Relabelling drops the target. The message says by which step.
    """


class FollowError(Exception):
    """
    A step can't be followed. The message says which, and why.
    """


def relabelled(labels: Mapping[str, str], steps: Sequence[Any]) -> dict[str, str]:
    """
    Return the labels of a target behind all steps. Raises DroppedError and FollowError.
    """
    found = dict(labels)
    for step in steps:
        if isinstance(step, dict):
            _step(found, step)
    return found


def shown(step: Mapping[str, Any]) -> str:
    """
    Return what a step does, for messages: its action, its sources and its target.
    """
    source = ", ".join(map(str, items(step, "source_labels")))
    target = step.get("target_label")
    words = [_action(step), *([f"of {source}"] if source else []), *([f"to {target}"] if target else [])]
    return " ".join(words)


def _action(step: Mapping[str, Any]) -> str:
    return str(step.get("action", "replace")).lower()


def _step(labels: dict[str, str], step: Mapping[str, Any]) -> None:
    """
    Change the labels as one step does.
    """
    action, target = _action(step), str(step.get("target_label", ""))
    separator = str(step.get("separator", ";"))
    value = separator.join(labels.get(str(name), "") for name in items(step, "source_labels"))
    match action:
        case "replace":
            _replace(labels, step, value)
        case "keep" | "drop":
            if (_expression(step).fullmatch(value) is None) == (action == "keep"):
                raise DroppedError(shown(step))
        case "keepequal" | "dropequal":
            if (labels.get(target, "") == value) == (action == "dropequal"):
                raise DroppedError(shown(step))
        case "lowercase" | "uppercase":
            _set(labels, target, value.lower() if action == "lowercase" else value.upper())
        case "hashmod":
            digest = hashlib.md5(value.encode("utf-8"), usedforsecurity=False).digest()
            modulus = str(step.get("modulus", ""))
            if not modulus.isdecimal() or int(modulus) == 0:
                raise FollowError(f"{shown(step)}: it has no modulus")
            _set(labels, target, str(int.from_bytes(digest[8:]) % int(modulus)))
        case "labelmap":
            for name, found in tuple(labels.items()):
                if match := _expression(step).fullmatch(name):
                    _set(labels, _expanded(str(step.get("replacement", "$1")), match), found)
        case "labeldrop" | "labelkeep":
            for name in tuple(labels):
                if (_expression(step).fullmatch(name) is None) == (action == "labelkeep"):
                    del labels[name]
        case _:
            raise FollowError(f"{shown(step)}: the action is not known")


def _replace(labels: dict[str, str], step: Mapping[str, Any], value: str) -> None:
    match = _expression(step).fullmatch(value)
    if match is None:
        return
    target = _expanded(str(step.get("target_label", "")), match)
    if _NAME.fullmatch(target):
        _set(labels, target, _expanded(str(step.get("replacement", "$1")), match))


def _set(labels: dict[str, str], name: str, value: str) -> None:
    # A label without a value is one that is not there.
    if value:
        labels[name] = value
    else:
        labels.pop(name, None)


def _expression(step: Mapping[str, Any]) -> re.Pattern[str]:
    """
    Return the expression of a step, to be matched with the whole value.
    """
    text = str(step.get("regex", "(.*)"))
    if _OTHERWISE.search(text):
        raise FollowError(f"{shown(step)}: its expression {text!r} is one of RE2 that is not understood here")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return re.compile(text, re.ASCII | re.DOTALL)
    except (re.error, Warning, RecursionError, OverflowError) as error:
        raise FollowError(f"{shown(step)}: its expression {text!r} is not understood: {error}") from None


def _expanded(template: str, match: re.Match[str]) -> str:
    """
    Return a replacement with what the groups matched.
    """

    def group(reference: re.Match[str]) -> str:
        dollar, *names = reference.groups()
        if dollar:
            return "$"
        name = names[0] or names[1]
        try:
            return match[int(name) if name.isdecimal() else name] or ""
        except IndexError:
            return ""

    return _REFERENCE.sub(group, template)
