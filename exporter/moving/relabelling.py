"""
Relabelling of Prometheus: what `relabel_configs` make of the labels of one target.

The rules are those of its package model/relabel. The expressions are RE2's; those that Python would read in
another way can't be followed, and nobody guesses.
"""

import hashlib
import re
import signal
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from exporter.moving.moved import items

_ESCAPED = re.compile(r"\\[!-/:-@\[-`{-~]")
"""A character that stands for itself, to both."""


_OTHERWISE = re.compile(
    r"\\(?![aAbBdDfnrsStvwWx0])"
    r"|\(\?(?!:|P<\w+>|[ims]*(?:-[ims]+)?[:)])"
    r"|\{,|\{(?:\d+,)?(?:0\d|\d{4})|[*+?}]\+"
    r"|\[\[:|\[[^]]*\\b"
    r"|\(\?[a-z-]*i(?s:.*)(?:\\x|[^\x00-\x7f])",
    re.ASCII,
)
"""What one of RE2 and Python does not have, or reads as something else: escapes, groups, repetitions,
classes, letters in either case."""


_UNLIKE = (
    (re.compile(r"\(\?[a-z]*i"), re.compile("[\N{KELVIN SIGN}\N{LATIN SMALL LETTER LONG S}]")),
    (re.compile(r"\\[sS]|\$"), re.compile(r"[\n\v]")),
    (re.compile(r"\\B"), re.compile(r"\A\Z")),
)
"""Escapes that both have, with the characters of which they think otherwise."""


_ONE = re.compile(r"\[\^?\]?[^]]*\]|\(\?[a-z-]+\)")
"""A class of characters, and flags that stand alone."""


_GROUP = re.compile(r"\((?:\?(?:P<\w+>|[a-z-]*:))?([^()]*)\)([*+{]?)")
"""A group without others in it: what it matches, and the begin of its repetition."""


_REFERENCE = re.compile(r"\$(?:(\$)|\{(\w+)\}|(\w+))")
"""A group in a replacement, as Go's Regexp.Expand reads it."""


_NUMBER = re.compile(r"0|[1-9]\d{0,7}", re.ASCII)
"""Of a group; with a zero in front it is a name, to Go."""


_NAME = re.compile(r"[a-zA-Z_]\w*", re.ASCII)


class DroppedError(Exception):
    """
    Relabelling drops the target. The message says by which step.
    """


class FollowError(Exception):
    """
    A step can't be followed. The message says which, and why.
    """


@dataclass(slots=True)
class Patience:
    """
    The time that expressions may still be matched: Python tries all ways of matching, which RE2 never does.
    """

    left: float
    """Seconds of the processor."""

    @contextmanager
    def kept(self) -> Iterator[None]:
        """
        Raise FollowError in what takes longer; only the main thread can be stopped.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        if self.left <= 0:
            raise FollowError(_SLOW)
        before = signal.signal(signal.SIGVTALRM, _stop)
        signal.setitimer(signal.ITIMER_VIRTUAL, self.left)
        try:
            yield
        finally:
            self.left = signal.setitimer(signal.ITIMER_VIRTUAL, 0)[0]
            signal.signal(signal.SIGVTALRM, before)


_SLOW = "the expressions of the job take too long here"


def _stop(*_: object) -> None:
    raise FollowError(_SLOW)


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
    return _text(step, "action", "replace").lower()


def _text(step: Mapping[str, Any], key: str, default: str) -> str:
    # A key without a value has an empty one, not its default.
    value = step.get(key, default)
    return "" if value is None else str(value)


def _step(labels: dict[str, str], step: Mapping[str, Any]) -> None:
    """
    Change the labels as one step does.
    """
    action, target = _action(step), _text(step, "target_label", "")
    separator = _text(step, "separator", ";")
    value = separator.join(labels.get(str(name), "") for name in items(step, "source_labels"))
    match action:
        case "replace":
            _replace(labels, step, value)
        case "keep" | "drop":
            if (_matched(step, value) is None) == (action == "keep"):
                raise DroppedError(shown(step))
        case "keepequal" | "dropequal":
            if (labels.get(target, "") == value) == (action == "dropequal"):
                raise DroppedError(shown(step))
        case "lowercase" | "uppercase":
            _set(labels, target, _cased(step, value))
        case "hashmod":
            digest = hashlib.md5(value.encode("utf-8"), usedforsecurity=False).digest()
            modulus = _text(step, "modulus", "")
            if not modulus.isdecimal() or int(modulus) == 0:
                raise FollowError(f"{shown(step)}: it has no modulus")
            _set(labels, target, str(int.from_bytes(digest[8:]) % int(modulus)))
        case "labelmap":
            for name, found in tuple(labels.items()):
                if match := _matched(step, name):
                    _set(labels, _expanded(_text(step, "replacement", "$1"), match), found)
        case "labeldrop" | "labelkeep":
            for name in tuple(labels):
                if (_matched(step, name) is None) == (action == "labelkeep"):
                    del labels[name]
        case _:
            raise FollowError(f"{shown(step)}: the action is not known")


def _replace(labels: dict[str, str], step: Mapping[str, Any], value: str) -> None:
    match = _matched(step, value)
    if match is None:
        return
    target = _expanded(_text(step, "target_label", ""), match)
    if _NAME.fullmatch(target):
        _set(labels, target, _expanded(_text(step, "replacement", "$1"), match))


def _set(labels: dict[str, str], name: str, value: str) -> None:
    # A label without a value is one that is not there.
    if value:
        labels[name] = value
    else:
        labels.pop(name, None)


def _cased(step: Mapping[str, Any], value: str) -> str:
    """
    Return a value in the case of the step. Go makes one character of each.
    """
    found = [one.lower() if _action(step) == "lowercase" else one.upper() for one in value]
    if len("".join(found)) != len(value):
        raise FollowError(f"{shown(step)}: what it makes of {value!r} is not known here")
    return "".join(found)


def _matched(step: Mapping[str, Any], value: str) -> re.Match[str] | None:
    """
    Return how the expression of a step matches the whole value; None when it does not.
    """
    text = _text(step, "regex", "(.*)")
    bare = _ESCAPED.sub("_", text)
    if _OTHERWISE.search(bare):
        raise FollowError(f"{shown(step)}: its expression {text!r} is one of RE2 that is not understood here")
    if any(form.search(bare) and those.search(value) for form, those in _UNLIKE):
        raise FollowError(
            f"{shown(step)}: whether its expression {text!r} matches {value!r} for RE2 is not known here"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            expression = re.compile(text, re.ASCII | re.DOTALL)
            repeats_nothing = _repeats_nothing(bare)
    except (re.error, ValueError, Warning, RecursionError, OverflowError) as error:
        raise FollowError(f"{shown(step)}: its expression {text!r} is not understood: {error}") from None
    if repeats_nothing:
        raise FollowError(
            f"{shown(step)}: what the groups of its expression {text!r} match is not known here"
        )
    return expression.fullmatch(value)


def _repeats_nothing(expression: str) -> bool:
    """
    Return whether a group that may match nothing is repeated: RE2 and Python keep another of its matches.

    Escaped signs are replaced. Raises re.error.
    """
    text = _ONE.sub("_", expression)
    while found := _GROUP.search(text):
        may_be_empty = re.fullmatch(found[1], "") is not None
        if may_be_empty and found[2]:
            return True
        text = f"{text[: found.start()]}{'_?' if may_be_empty else '_' + found[2]}{text[found.end() :]}"
    return False


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
            return match[int(name) if _NUMBER.fullmatch(name) else name] or ""
        except IndexError:
            return ""

    return _REFERENCE.sub(group, template)
