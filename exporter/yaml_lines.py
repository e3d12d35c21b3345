"""
YAML as plain text, lists and dicts, with the line of each value and the faults found in it.

Scalars stay the text that was written (`team: 007` is "007", `yes` is "yes"), whatever type YAML would give
them. Only an empty value, `~` and `null` are None.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NoReturn

import yaml
from yaml.composer import Composer

from exporter.passwords import shown, without_user

SIZE_LIMIT = 16 * 1024 * 1024
"""Bytes that a file may have."""


VALUE_LIMIT = 1_000_000
"""Values that a document may have, those that an alias repeats counted each time."""


DEPTH_LIMIT = 32
"""Levels to which lists and mappings may be nested; a valid configuration needs at most 4."""


_PLAIN = "tag:yaml.org,2002:"


# All other tags ask for a conversion (!!binary, !!python/...) or for another program (!include, !vault).
_TAGS = {
    _PLAIN + name
    for name in ("str", "int", "float", "bool", "null", "timestamp", "value", "merge", "map", "seq")
}


_NOT_YAML = "is not valid YAML"


_TOO_DEEP = (
    f"lists and mappings are nested more than {DEPTH_LIMIT} deep, counting what aliases (*name) repeat"
)


_TOO_MANY = "there are more than {:,} values, counting what aliases (*name) repeat"


# Beginnings of the parser's messages, with advice.
_HINTS = {
    "mapping values are not allowed": "a value with ': ' in it needs quotes, else check the indentation",
    "did not find expected key": "check the indentation: the keys of a mapping start in one column",
    "did not find expected '-'": "check the indentation: elements of a list start with '- ' in one column",
    "found character that cannot": "indent with spaces, not tabs; a value that starts like this needs quotes",
    "did not find expected ',' or": "a [ or { above is not closed, or a comma is missing",
    "did not find expected alphabetic": "a value that starts with '*' or '&' needs quotes",
    "could not find expected ':'": "a key has a colon and a space behind it; see also the line above",
    "found undefined alias": "an alias (*name) needs an anchor (&name) above it; text with '*' needs quotes",
    "second occurrence": "an anchor (&name) of this name stands above",
    "but found another document": "it starts with this '---': put everything into one",
}


Loc = tuple[str | int, ...]
"""The keys and positions that lead to a value."""


@dataclass(frozen=True, slots=True)
class ConfigFault:
    """
    One fault in a configuration. `str()` returns `expiry.yml:12: targets[3].timeout: ...`.
    """

    file: str
    line: int
    """Counted from 1; 0 for a fault of the whole file."""
    path: str
    """The path of the value, such as `targets[3].timeout`, counted from 0; empty for the whole document."""
    message: str

    def __str__(self) -> str:
        """
        Return the fault on one line, as `FILE:LINE: PATH: MESSAGE`, which editors can open.
        """
        place = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join(part for part in (place, self.path, self.message) if part)

    @property
    def without_values(self) -> str:
        """
        Return line and message for a file whose values may be secrets: the parser's words may repeat one.
        """
        words = _NOT_YAML if self.message.startswith(_NOT_YAML) else self.message
        return f"line {self.line}: {words}" if self.line else words


class ConfigError(Exception):
    """
    A configuration that can't be used, with all faults in it. `str()` lists them, one on each line.
    """

    def __init__(self, faults: Iterable[ConfigFault]) -> None:
        """
        Keep the faults, in the order of their lines.
        """
        self.faults = tuple(sorted(faults, key=lambda fault: fault.line))
        super().__init__("\n".join(str(fault) for fault in self.faults))


_VARIABLE = re.compile(r"\A(?!\$2[abxy]\$).*?\$(\{\w+[^}]*\}|\([A-Z_]\w*\)|[A-Z_]\w*)", re.DOTALL)
"""A variable, as shells and pods write it: `${NAME}`, `${NAME:-default}`, `$NAME`, `$(NAME)`; in no hash of
bcrypt."""


UNEXPANDED = "variables of the environment are not expanded here: write the value itself"


class Document:
    """
    A YAML document: its value, the line of each part, and the faults found so far.
    """

    def __init__(
        self, file: str, value_limit: int = VALUE_LIMIT, pause: Callable[[], None] | None = None
    ) -> None:
        """
        Start without a value. `file` is the name in messages; `value_limit` bounds the number of values.
        `pause` is called often while the document is read, and may let others work; None: it goes on at once.
        """
        self.file = file
        self.value_limit = value_limit
        self.pause = pause
        self.value: Any = None
        """Text, lists, dicts with text as keys, or None."""
        self.lines: dict[Loc, int] = {(): 1}
        """The line of each key and element."""
        self.faults: list[ConfigFault] = []
        self.count = 0
        """Number of values so far."""
        self.merging: set[int] = set()
        """Identities of the mappings that are being merged: none may merge itself."""
        self.unexpanded: set[Loc] = set()
        """The places of texts with `${NAME}`."""

    def place(self, loc: Loc) -> tuple[int, str]:
        """
        Return the line and the path (`targets[3].labels.team`) of a value, or of the nearest known parent.
        """
        while loc not in self.lines:
            loc = loc[:-1]
        return self.lines[loc], "".join(map(_step, loc)).removeprefix(".")

    def fault(self, loc: Loc, message: str, line: int | None = None) -> None:
        """
        Add a fault of the value at `loc`. `line` replaces the value's own line.
        """
        known, path = self.place(loc)
        if loc in self.unexpanded or loc[:-1] in self.unexpanded:
            message += f" ({UNEXPANDED})"
        self.faults.append(ConfigFault(self.file, line or known, path, message))

    def refuse(self, loc: Loc, message: str, line: int | None = None) -> NoReturn:
        """
        Add a fault and raise ConfigError with all faults so far, since the document can't be read further.
        """
        self.fault(loc, message, line)
        raise ConfigError(self.faults)

    def take(self, node: yaml.Node, loc: Loc) -> Any:
        """
        Return the value of a node. An alias is the node of its anchor: its value is repeated and counted.

        Raises ConfigError when the values are too many or nested too deep.
        """
        self.count += 1
        if self.count > self.value_limit:
            self.refuse(loc, _TOO_MANY.format(self.value_limit))
        # This also ends an alias that stands inside the value it is an alias of.
        if len(loc) > DEPTH_LIMIT:
            self.refuse(loc[:2], _TOO_DEEP)
        if node.tag not in _TAGS:
            self.fault(loc, "tags such as !!binary or !include are not supported; text with '!' needs quotes")
        if isinstance(node, yaml.MappingNode):
            return self.take_mapping(node, loc)
        if isinstance(node, yaml.SequenceNode):
            for index, part in enumerate(node.value):
                self.lines[*loc, index] = _line(part)
            return [self.take(part, (*loc, index)) for index, part in enumerate(node.value)]
        if "\0" in node.value:
            self.fault(loc, "holds the character NUL, which no setting may have")
        if _VARIABLE.search(node.value):
            self.unexpanded.add(loc)
        return None if node.tag == f"{_PLAIN}null" else node.value.replace("\0", "\ufffd")

    def take_mapping(self, node: yaml.MappingNode, loc: Loc) -> dict[str, Any]:
        """
        Return the value of a mapping, without keys that have a fault. Raises ConfigError as `take` does.
        """
        if self.pause is not None:
            self.pause()
        mapping: dict[str, Any] = {}
        merged: list[yaml.Node] = []
        for key, value in node.value:
            line = _line(key)
            name = self.take(key, loc) if isinstance(key, yaml.ScalarNode) else None
            if name is None:
                self.fault(loc, "a key must be text; a value that starts with '{' or '[' needs quotes", line)
            elif key.tag == f"{_PLAIN}merge":
                merged.append(value)
            elif name in mapping:
                first = self.lines[*loc, name]
                self.fault((*loc, name), f"is written twice, first in line {first}: remove one", line)
            else:
                self.lines[*loc, name] = line
                mapping[name] = self.take(value, (*loc, name))
        for one in merged:
            self.merge(mapping, one, loc)
        return mapping

    def merge(self, mapping: dict[str, Any], node: yaml.Node, loc: Loc) -> None:
        """
        Add the keys of a mapping, or of each in a list, that are not there (https://yaml.org/type/merge.html).
        """
        if isinstance(node, yaml.SequenceNode):
            for one in node.value:
                self.merge(mapping, one, loc)
        elif not isinstance(node, yaml.MappingNode):
            self.fault(loc, "<< takes a mapping, or a list of mappings: <<: *name", _line(node))
        elif id(node) in self.merging:
            self.refuse(loc[:2], _TOO_DEEP)
        else:
            # Taken where it stands now, so that its faults are told of the place that uses it.
            own = dict(self.lines)
            self.merging.add(id(node))
            found = self.take_mapping(node, loc)
            self.merging.discard(id(node))
            mapping.update({name: value for name, value in found.items() if name not in mapping})
            self.lines.update(own)


class _Composer(Composer, yaml.CSafeLoader):
    """
    Makes the nodes of a document within its limits: this recurses as deep as the document does.

    The library's composer in C is a third faster, but keeps the interpreter from all other threads until it
    is done, which takes half a second for ten thousand targets.
    """

    def __init__(self, data: bytes, document: Document) -> None:
        yaml.CSafeLoader.__init__(self, data)
        Composer.__init__(self)
        self._document = document
        self._count = self._depth = 0

    def get_event(self) -> yaml.Event | None:
        """
        Return the next event. Raises ConfigError for one beyond the limits.
        """
        event = super().get_event()
        self._count += 1
        if isinstance(event, yaml.CollectionStartEvent):
            self._depth += 1
            if self._document.pause is not None:
                self._document.pause()
        self._depth -= isinstance(event, yaml.CollectionEndEvent)
        if self._depth > DEPTH_LIMIT:
            self._document.refuse((), _TOO_DEEP, _line(event))
        if self._count > self._document.value_limit:
            self._document.refuse((), _TOO_MANY.format(self._document.value_limit), _line(event))
        return event


def read(
    data: bytes, file: str, value_limit: int = VALUE_LIMIT, pause: Callable[[], None] | None = None
) -> Document:
    """
    Parse the YAML document in these bytes. Raises ConfigError when it is not YAML, too large or too deep.

    `pause` is that of `Document`.
    """
    document = Document(file, value_limit, pause)
    if len(data) > SIZE_LIMIT:
        message = f"is larger than {SIZE_LIMIT // 1024 // 1024} MiB: is this the right file?"
        raise ConfigError([ConfigFault(file, 0, "", message)])
    try:
        node = _Composer(data, document).get_single_node()
    except yaml.reader.ReaderError as error:
        line = data.count(b"\n", 0, error.position) + 1
        document.refuse((), f"is not UTF-8 text: {error.reason}", line)
    except yaml.MarkedYAMLError as error:
        # Without the name of the alias: it may be a secret that begins with an asterisk.
        problem = re.sub(r"(?s)^(found undefined alias) .*", r"\1", str(error.problem))
        hint = next((f" ({hint})" for start, hint in _HINTS.items() if problem.startswith(start)), "")
        mark = error.problem_mark
        line = mark.line + 1 if mark else 1
        above = data.decode("utf-8", "replace").splitlines()[line - 2 : line - 1] if line > 1 else []
        if problem.startswith("mapping values") and above and (key := _key_to_add(above[0])):
            hint = f" ({key})"
        # A quote that is never closed ends at the end of the file: it is told where it begins.
        if error.context_mark is not None and "quoted scalar" in str(error.context):
            line, hint = error.context_mark.line + 1, " (a quote that is opened here is not closed)"
        # A later quote has closed it, and what stood behind that one is a text of its own.
        elif (opened := _open_quote(data, line)) is not None:
            line, hint = opened, " (a quote that is opened here is not closed, or closed too early)"
        document.refuse((), f"{_NOT_YAML}: {problem}{hint}", line)
    document.value = None if node is None else document.take(node, ())
    return document


def _open_quote(data: bytes, last: int) -> int | None:
    """
    Return the line of the first quote up to line `last` whose closing one has more text directly behind it.

    None when there is none.
    """
    text = data.decode("utf-8-sig", "replace")
    try:
        for token in yaml.scan(data, yaml.CSafeLoader):
            if _line(token) > last:
                break
            if isinstance(token, yaml.ScalarToken) and str(token.style) in "'\"":
                behind = text[token.end_mark.index : token.end_mark.index + 1]
                if behind.strip(" \t\r\n,]}:"):
                    return _line(token)
    except yaml.YAMLError:
        return None
    return None


def _key_to_add(line: str) -> str:
    """
    Return the advice for the line above one that can't be a key, where it is an element without a key.
    """
    element = re.fullmatch(r"\s*-\s+([^\s'\"#&*!{\[]+:[^\s#]+)\s*", line)
    if element is None:
        return ""
    text = without_user(element[1])
    if text.startswith("url:"):
        return f"a space is missing in the line above, write - url: {text.removeprefix('url:')[:200]}"
    return f"an element with keys begins with one, write the line above as - url: {text[:200]}"


def _step(step: str | int) -> str:
    """
    Return a key or position as part of a fault's path.
    """
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if re.fullmatch(r"[A-Za-z0-9_-]{1,60}", step) else f"[{shown(step)}]"


def _line(place: Any) -> int:
    """
    Return the line on which a node or an event begins, counted from 1.
    """
    return int(place.start_mark.line) + 1


class WholeDumper(yaml.CSafeDumper):
    """
    Writes in full what is there twice: not every reader follows references. In C: the one in Python takes
    most of a second for dashboards and rules.
    """

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the base class's name
        """
        Return True: no value is a reference to another.
        """
        return True


def dumped(value: Any, dumper: type[WholeDumper] = WholeDumper, width: int = 120) -> str:
    """
    Return a value as YAML with its keys in order, in lines of about that width.
    """
    return str(yaml.dump(value, Dumper=dumper, sort_keys=False, allow_unicode=True, width=width))
