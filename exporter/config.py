"""
Configuration: from a YAML file to a `Config`, or to every fault in it at once.

Three steps, one direction: `_compose` makes a tree of text that knows its lines,
the pydantic models below say what each key may hold, and `_Reading` puts the
parts together. Scalars stay the text that was written (`team: 007` is "007",
`yes` is "yes"): nothing here depends on what YAML takes a word for, except that
an empty value, `~` and `null` are no value. Messages never repeat the value of a
key that may hold a secret.
"""

import difflib
import fnmatch
import operator
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, NoReturn, Self, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    PlainValidator,
    ValidationError,
    field_validator,
    model_validator,
)

from exporter.policies import AUTOMATIC, BUILT_IN, DAY, HOUR, Before, Policy, lateness
from exporter.targets import (
    DEFAULT_PORTS,
    Target,
    TargetError,
    Url,
    normal_host,
    parse_url,
)

SIZE_LIMIT = 16 * 1024 * 1024
"""Bytes that a configuration file may have."""

NODE_LIMIT = 1_000_000
"""Values that a configuration may have, each alias and merge key counted with all it stands for."""

DEPTH_LIMIT = 32
"""How deep lists and mappings may be nested; the deepest that a valid file needs is 4."""

TIMEOUT_LIMIT = 600.0
"""Seconds. Prometheus's own scrape timeouts are far below."""

PASSWORD_LIMIT = 1024
"""Bytes; the longest pass phrase that OpenSSL takes (PEM_BUFSIZE)."""

NAME_LIMIT = 200
URL_LIMIT = 2048
LABEL_VALUE_LIMIT = 256

_OUR_LABELS = (
    "target endpoint item kind prober policy severity reason subject issuer serial fingerprint_sha256 key"
)
_PROMETHEUS_LABELS = "job instance le quantile alertname"
RESERVED_LABELS = frozenset(f"{_OUR_LABELS} {_PROMETHEUS_LABELS}".split())
"""Names that a user's label must not have, because another label of that name is there already."""

_UNIT_SECONDS = {"w": 7 * DAY, "d": DAY, "h": HOUR, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION = re.compile("".join(f"(?:([0-9]{{1,9}}){unit})?" for unit in _UNIT_SECONDS))
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_SHARE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)%")
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")

_EMPTY = 'the file is empty: the shortest useful one is "targets: [https://www.example.com]"'
_NO_VALUE = "has no value: write one, or remove the key"


@dataclass(frozen=True, slots=True)
class Config:
    """
    What one configuration file says.
    """

    targets: tuple[Target, ...] = ()
    """In the order of the file; no two share a name."""
    policies: Mapping[str, Policy] = field(default_factory=lambda: MappingProxyType(BUILT_IN))
    """The built-in and the user's policies, by name."""
    probe_allow: tuple[str, ...] = ("*",)
    """Patterns (fnmatch) of the URLs that `/probe` accepts besides configured targets."""
    warnings: tuple[str, ...] = ()
    """What is allowed but probably not meant, each with file and line."""
    defaults: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    """Arguments of Target that `defaults` sets. Not shown: a pass phrase may be among them."""


@dataclass(frozen=True, slots=True)
class ConfigFault:
    """
    One thing that is wrong in a configuration. `str()` gives `expiry.yml:12: targets[3].timeout: ...`.
    """

    file: str
    line: int
    """Counted from 1; 0 when the fault is of the file as a whole."""
    path: str
    """Where in the document, counted from 0 as in `targets[3].timeout`; empty for the document itself."""
    message: str

    def __str__(self) -> str:
        """
        The fault as one line, in the form that editors and compilers share.
        """
        place = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join(part for part in (place, self.path, self.message) if part)


class ConfigError(Exception):
    """
    A configuration that can't be used, with everything that is wrong in it. `str()` lists all, one a line.
    """

    def __init__(self, faults: Iterable[ConfigFault]) -> None:
        """
        Keeps the faults in the order of the file.
        """
        self.faults = tuple(sorted(faults, key=lambda fault: fault.line))
        super().__init__("\n".join(str(fault) for fault in self.faults))


def load(path: str, environ: Mapping[str, str]) -> Config:
    """
    The configuration in a file. Raises ConfigError, also for a file that can't be read.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(SIZE_LIMIT + 1)
    except IsADirectoryError:
        raise ConfigError(
            [ConfigFault(path, 0, "", "is a directory: give the path of a YAML file")]
        ) from None
    except (OSError, ValueError) as error:
        # ValueError: a path with a NUL in it.
        why = getattr(error, "strerror", None) or str(error)
        raise ConfigError([ConfigFault(path, 0, "", f"can't be read: {why}")]) from None
    return parse(data, path, environ)


def parse(data: bytes, file: str, environ: Mapping[str, str]) -> Config:
    """
    The configuration in these bytes. Raises ConfigError with all faults.

    `file` is the name in messages, and paths in the document are relative to its directory.
    `environ` holds the pass phrases that `password_env` names.
    """
    faults: list[ConfigFault] = []
    document = _compose(_text(data, file), file, faults)
    reading = _Reading(file, environ, document, faults)
    config = reading.config()
    if reading.faults:
        raise ConfigError(reading.faults)
    return config


def target_for(config: Config, url: str, policy: str | None) -> Target:
    """
    The target that `/probe?target=URL&policy=NAME` asks for.

    A configured target of that name, with all its settings; else a new one with the settings of
    `defaults`, if `probe.allow` permits its URL. `policy` replaces the target's policy; None keeps it.
    Raises TargetError with a message for the person who asked.
    """
    target = next((target for target in config.targets if target.name == url), None)
    if target is None:
        parsed = _url(url)
        if not _allowed(config.probe_allow, parsed):
            raise TargetError(
                f"{url!r} is not a configured target, and probe.allow of the configuration does not permit it"
            )
        target = Target(**{**config.defaults, "url": parsed, "name": _name(parsed.text)})
    return target if policy is None else replace(target, policy=_policy(policy, config.policies))


def _allowed(patterns: Sequence[str], url: Url) -> bool:
    """
    True when a pattern matches `scheme://host:port`, or `scheme://host` for the scheme's own port.

    The normal form is matched, not the text, so that no spelling of a host slips past a pattern.
    """
    forms = [f"{url.scheme}://{url.authority}"]
    if url.port == DEFAULT_PORTS[url.scheme]:
        forms.append(forms[0].removesuffix(f":{url.port}"))
    return any(fnmatch.fnmatchcase(form, pattern.lower()) for pattern in patterns for form in forms)


# From bytes to a tree that knows its lines.


class _Map(dict[str, "_Value"]):
    """
    A mapping of the document.
    """

    def __init__(self, line: int) -> None:
        """
        Starts empty, at this line.
        """
        super().__init__()
        self.line = line
        self.lines: dict[str, int] = {}
        """The line of each key."""
        self.size = 1
        """Values in it, itself included, with aliases and merge keys written out."""


class _List(list["_Value"]):
    """
    A list of the document.
    """

    def __init__(self, line: int) -> None:
        """
        Starts empty, at this line.
        """
        super().__init__()
        self.line = line
        self.lines: list[int] = []
        """The line of each element."""
        self.size = 1
        """Values in it, itself included, with aliases and merge keys written out."""


_Value = str | _Map | _List | None


@dataclass(slots=True)
class _Child:
    """
    A value inside a list or mapping that is not complete. Keys and values of a mapping alternate.
    """

    value: _Value
    line: int
    merge: bool = False
    """True for an unquoted `<<`."""


@dataclass(slots=True)
class _Frame:
    """
    A list or mapping that is not complete.
    """

    node: _Map | _List
    anchor: str | None
    children: list[_Child] = field(default_factory=list)

    def step(self) -> str:
        """
        The way to the child that comes next, as in a fault's path.
        """
        if isinstance(self.node, _List):
            return f"[{len(self.children)}]"
        key = self.children[-1].value if len(self.children) % 2 else None
        return _step(key) if isinstance(key, str) else ""


# libyaml when PyYAML was built with it: ten times as fast, same events.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_NULLS = {"", "~", "null", "Null", "NULL"}
# Tags that say what a value is already ("!" says: not what it looks like). All others ask for a
# conversion (!!binary, !!python/...) or for another program (!include, !vault).
_TAGS = {None, "!", *(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "map", "seq"))}

_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What YAML 1.1 section 5.1 keeps out of a document."""
_UNUSABLE = re.compile("[\x00\ud800-\udfff]")
"""What an escape ("\\0") may bring into a value, and neither a file name nor a page can hold."""

_SYNTAX_HINTS = (
    ("mapping values are not allowed", "a value with ': ' in it needs quotes, else check the indentation"),
    (
        "did not find expected '-'",
        "check the indentation: the elements of a list start with '- ' in one column",
    ),
    ("did not find expected key", "check the indentation: the keys of a mapping start in one column"),
    ("could not find expected ':'", "a key needs a ':' and a space after it"),
    ("found unexpected end of stream", "a closing quote is missing"),
    ("did not find expected ',' or", "a closing bracket or a comma is missing"),
    ("found character that cannot start any token", "a value that starts with this character needs quotes"),
    ("found unknown escape character", r"in double quotes a backslash is written \\"),
)


def _text(data: bytes, file: str) -> str:
    """
    The bytes as text, without a byte order mark. Raises ConfigError when they are no text for YAML.
    """
    if len(data) > SIZE_LIMIT:
        message = f"is larger than {SIZE_LIMIT // 1024 // 1024} MiB: is this the right file?"
        raise ConfigError([ConfigFault(file, 0, "", message)])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"byte 0x{data[error.start]:02x} is not UTF-8: save the file as UTF-8 text"
        raise ConfigError([ConfigFault(file, line, "", message)]) from None
    found = _UNPRINTABLE.search(text)
    if found:
        line = text.count("\n", 0, found.start()) + 1
        message = f"character U+{ord(found[0]):04X} is not allowed in YAML: is this a text file?"
        raise ConfigError([ConfigFault(file, line, "", message)])
    return text


def _compose(text: str, file: str, faults: list[ConfigFault], loader: Any = _LOADER) -> _Value:
    """
    The document as a tree. Faults that leave a tree are added to `faults`, others raise ConfigError.
    """
    composer = _Composer(file, faults)
    try:
        for event in yaml.parse(text, loader):
            composer.take(event, event.start_mark.line + 1)  # type: ignore[union-attr] # both parsers set it
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        composer.refuse(0 if mark is None else mark.line + 1, _syntax_message(error, text))
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # PyYAML's own scanner lets errors of chr() through for escapes beyond Unicode.
        composer.refuse(0, f"is not valid YAML: {error}")
    return composer.root


def _syntax_message(error: yaml.MarkedYAMLError, text: str) -> str:
    """
    A scanner's or parser's complaint, with what to do about it where that is known.
    """
    mark = error.problem_mark
    if mark is not None and text[mark.index : mark.index + 1] == "\t":
        return "a tab can't be used for indentation: use spaces"
    problem = str(error.problem)
    hint = next((f" ({hint})" for start, hint in _SYNTAX_HINTS if problem.startswith(start)), "")
    return f"is not valid YAML: {problem}{hint}"


class _Composer:
    """
    Makes the tree from a parser's events.

    An own composer, because PyYAML's recurses as deep as the document does, lets the last of two equal
    keys win and forgets the lines of keys. An alias is the same object as its anchor, so a document
    takes memory for what is written in it and not for what its aliases multiply to.
    """

    def __init__(self, file: str, faults: list[ConfigFault]) -> None:
        """
        Starts with nothing.
        """
        self.file = file
        self.faults = faults
        self.root: _Value = None
        self.documents = 0
        self.nodes = 0
        self.frames: list[_Frame] = []
        self.anchors: dict[str, _Value] = {}

    def take(self, event: yaml.Event, line: int) -> None:
        """
        One more event. Raises ConfigError when it makes the document unusable.
        """
        match event:
            case yaml.ScalarEvent():
                self.tagged(event.tag, line)
                self.scalar(event, line)
            case yaml.AliasEvent():
                self.alias(str(event.anchor), line)
            case yaml.DocumentStartEvent():
                self.documents += 1
                if self.documents > 1:
                    self.refuse(line, "a second document starts here (---): put everything into one")
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self.tagged(event.tag, line)
                node = _Map(line) if isinstance(event, yaml.MappingStartEvent) else _List(line)
                if len(self.frames) == DEPTH_LIMIT:
                    self.refuse(line, f"lists and mappings are nested more than {DEPTH_LIMIT} deep")
                self.frames.append(_Frame(node, event.anchor))
            case yaml.CollectionEndEvent():
                frame = self.frames.pop()
                self.complete(frame)
                self.add(frame.node, frame.anchor, frame.node.line)
            case _:
                pass  # the begin and end of the stream, the end of the document

    def scalar(self, event: yaml.ScalarEvent, line: int) -> None:
        """
        Adds a text, or None where nothing stands for a value.
        """
        # libyaml says "" and PyYAML None for the style of an unquoted scalar.
        plain = not event.style and event.tag is None
        text = _UNUSABLE.sub("\ufffd", event.value)
        if text != event.value:
            self.fault(line, "holds a character that can't be used: NUL or half a surrogate pair")
        value = None if plain and event.value in _NULLS else text
        self.add(value, event.anchor, line, merge=plain and value == "<<")

    def alias(self, anchor: str, line: int) -> None:
        """
        Adds what an anchor stands for.
        """
        if any(frame.anchor == anchor for frame in self.frames):
            self.refuse(
                line, "an alias stands inside the value it is an alias of: the document would be endless"
            )
        if anchor not in self.anchors:
            self.refuse(
                line, "an alias (*name) without an anchor (&name) above it; text with '*' needs quotes"
            )
        value = self.anchors[anchor]
        self.add(value, None, line)

    def add(self, value: _Value, anchor: str | None, line: int, *, merge: bool = False) -> None:
        """
        Puts a complete value where it belongs.
        """
        if anchor is not None:
            self.anchors[anchor] = value
        if not self.frames:
            self.root = value
            return
        self.frames[-1].children.append(_Child(value, line, merge))
        self.grow(self.frames[-1].node, _size(value), line)

    def grow(self, node: _Map | _List, size: int, line: int) -> None:
        """
        Counts values that came into a list or mapping. Raises ConfigError when they are too many.
        """
        node.size += size
        if node.size > NODE_LIMIT:
            self.refuse(
                line, f"the document has more than {NODE_LIMIT:,} values, counting what aliases repeat"
            )

    def complete(self, frame: _Frame) -> None:
        """
        Fills a list or mapping with its children.
        """
        node = frame.node
        if isinstance(node, _List):
            node.extend(child.value for child in frame.children)
            node.lines.extend(child.line for child in frame.children)
            return
        pairs = list(zip(frame.children[::2], frame.children[1::2], strict=True))
        for key, value in pairs:
            if not key.merge:
                self.put(node, key, value.value)
        # Last, because a key that is written wins over one that is merged, wherever it stands.
        for key, value in pairs:
            if key.merge:
                self.merge(node, key.line, value.value)

    def put(self, node: _Map, key: _Child, value: _Value) -> None:
        """
        Adds a pair to a mapping, if its key is one.
        """
        if not isinstance(key.value, str):
            self.fault(key.line, "a key must be text; a value that starts with '{' or '[' needs quotes")
        elif key.value in node:
            first = node.lines[key.value]
            self.fault(key.line, f"is written twice, first in line {first}: remove one", _step(key.value))
        else:
            node[key.value] = value
            node.lines[key.value] = key.line

    def merge(self, node: _Map, line: int, value: _Value) -> None:
        """
        Adds the pairs of a merge key's mappings; the earlier of them wins.
        """
        for source in value if isinstance(value, _List) else [value]:
            if not isinstance(source, _Map):
                self.fault(line, "a merge key (<<) needs a mapping or a list of mappings")
                continue
            self.grow(node, len(source), line)
            for key, merged in source.items():
                if key not in node:
                    node[key] = merged
                    node.lines[key] = source.lines[key]

    def tagged(self, tag: str | None, line: int) -> None:
        """
        Refuses a tag that asks for anything to be done.
        """
        if tag not in _TAGS:
            self.fault(
                line, "tags such as !!binary or !include are not supported; text with '!' needs quotes"
            )

    def fault(self, line: int, message: str, step: str = "") -> None:
        """
        Notes a fault at the place that is being read.
        """
        path = "".join([*(frame.step() for frame in self.frames), step]).removeprefix(".")
        self.faults.append(ConfigFault(self.file, line, path, message))

    def refuse(self, line: int, message: str) -> NoReturn:
        """
        Ends the reading: after this, nothing more can be said about the document.
        """
        raise ConfigError([*self.faults, ConfigFault(self.file, line, "", message)])


def _size(value: _Value) -> int:
    """
    How many values a value is.
    """
    return value.size if isinstance(value, _Map | _List) else 1


# From text to values: what each key may hold. All raise ValueError with a message for the operator.


def _shown(text: str) -> str:
    """
    A value as it may stand in a message: quoted, printable, not long.
    """
    return repr(text if len(text) <= 60 else text[:60] + "…")


def _step(key: str) -> str:
    """
    A key as part of a fault's path.
    """
    return f".{key}" if re.fullmatch(r"[A-Za-z0-9_-]{1,60}", key) else f"[{_shown(key)}]"


def _closest(word: str, known: Iterable[str]) -> str:
    """
    The end of a message about an unknown word: what was probably meant, or what there is.
    """
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"


def _string(value: Any) -> str:
    """
    The value as it is, if it is text.
    """
    if value is None:
        raise ValueError(_NO_VALUE)
    if not isinstance(value, str):
        raise ValueError("must be a text, not a list or a mapping")  # noqa: TRY004 - pydantic wants ValueError
    return value


def _duration(text: str) -> float:
    """
    Seconds of a duration in Prometheus's notation (`1m30s`), the larger unit first.
    """
    found = _DURATION.fullmatch(text)
    if not text or not found:
        raise ValueError(f"{_shown(text)} is not a duration: write it like 10s, 1m30s, 500ms, 6h, 30d or 2w")
    return sum(
        int(number) * seconds
        for number, seconds in zip(found.groups("0"), _UNIT_SECONDS.values(), strict=True)
    )


def _timeout(value: Any) -> float:
    """
    A timeout in seconds.
    """
    text = _string(value)
    seconds = float(text) if _SECONDS.fullmatch(text) else _duration(text)
    if not 0 < seconds <= TIMEOUT_LIMIT:
        raise ValueError(f"must be more than 0 and at most {_span(TIMEOUT_LIMIT)}, not {text}")
    return seconds


def _share(text: str) -> float:
    """
    A share of the lifetime, from per cent.
    """
    found = _SHARE.fullmatch(text)
    if not found:
        raise ValueError(f"{_shown(text)} is not a share of the lifetime: write it like 33%")
    share = float(found[1]) / 100
    if not 0 < share <= 0.5:
        raise ValueError(
            f"must be more than 0% and at most 50% of the lifetime, not {text}: "
            "nothing is due before the first half of its lifetime is over"
        )
    return share


def _deadline(value: Any) -> Before:
    """
    A moment before the end: `30d`, `33%`, or both in a list.
    """
    parts = [_string(part) for part in (value if isinstance(value, list) else [value])]
    shares = [_share(part) for part in parts if "%" in part]
    durations = [_duration(part) for part in parts if "%" not in part]
    if isinstance(value, list) and (len(shares), len(durations)) != (1, 1):
        raise ValueError("a list must hold one share and one duration, like [33%, 30d]: the lesser counts")
    if durations and not durations[0]:
        raise ValueError("must be more than 0: told at the end is told too late")
    return Before(durations[0] if durations else None, shares[0] if shares else None)


def _name(value: Any) -> str:
    """
    A name that can stand in a label, a page and a log. Raises TargetError, which is a ValueError.
    """
    text = _string(value)
    if not text.strip() or len(text) > NAME_LIMIT or not text.isprintable():
        raise TargetError(f"a name (without one, the URL) is 1 to {NAME_LIMIT} printable characters")
    return text


def _url(value: Any) -> Url:
    """
    A target's URL. Raises TargetError, which is a ValueError.
    """
    text = _string(value)
    if len(text) > URL_LIMIT:
        raise TargetError(f"a URL has at most {URL_LIMIT} characters, this one has {len(text)}")
    return parse_url(text)


def _host(value: Any) -> str:
    """
    A host name or IP address in its normal form.
    """
    return normal_host(_string(value))


def _label_name(text: str) -> str:
    """
    The name of a user's label.
    """
    if not _LABEL_NAME.fullmatch(text):
        raise ValueError("a label's name has only letters, digits and '_', and does not begin with a digit")
    if text.startswith("__"):
        raise ValueError("labels that begin with '__' belong to Prometheus: choose another name")
    if text in RESERVED_LABELS:
        raise ValueError(f"the label {text!r} has a meaning already: choose another name")
    return text


def _label_value(value: Any) -> str:
    """
    The value of a user's label.
    """
    text = _string(value)
    if len(text) > LABEL_VALUE_LIMIT:
        raise ValueError(f"a label's value has at most {LABEL_VALUE_LIMIT} characters, not {len(text)}")
    return text


def _filled(value: Any) -> str:
    """
    A text that is not empty.
    """
    text = _string(value)
    if not text.strip():
        raise ValueError("must not be empty")
    return text


_Text = Annotated[str, PlainValidator(_filled)]
_Labels = dict[Annotated[str, AfterValidator(_label_name)], Annotated[str, PlainValidator(_label_value)]]
_Deadline = Annotated[Before, PlainValidator(_deadline)]


class _Part(BaseModel):
    """
    A mapping of the document: no key but these, none without a value.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    @field_validator("*", mode="before")
    @classmethod
    def has_value(cls, value: Any) -> Any:
        """
        Refuses `timeout:` with nothing after it: whether the default was meant can't be known.
        """
        if value is None:
            raise ValueError(_NO_VALUE)
        return value


class _ClientCertificate(_Part):
    """
    What the exporter shows to a server that asks for a certificate.
    """

    cert_file: _Text
    key_file: _Text = ""
    """Empty: the key is in the certificate's file."""
    password_file: _Text = ""
    password_env: _Text = ""

    @model_validator(mode="after")
    def one_password(self) -> Self:
        """
        Refuses two sources for one pass phrase.
        """
        if self.password_file and self.password_env:
            raise ValueError("password_file and password_env exclude each other: remove one")
        return self


class _Settings(_Part):
    """
    What `defaults` may set, and each target for itself. Only `model_fields_set` is ever read.
    """

    policy: _Text | None = None
    labels: _Labels | None = None
    timeout: Annotated[float, PlainValidator(_timeout)] | None = None
    server_name: Annotated[str, PlainValidator(_host)] | None = None
    ca_file: _Text | None = None
    client_certificate: _ClientCertificate | None = None
    address_family: Literal["any", "ipv4", "ipv6"] | None = None
    addresses: Literal["all", "first"] | None = None
    keys: Literal["any", "both"] | None = None


class _TargetEntry(_Settings):
    """
    One element of `targets` that is a mapping.
    """

    url: Annotated[Url, PlainValidator(_url)]
    name: Annotated[str, PlainValidator(_name)] | None = None
    """None: the URL as it was written."""


class _PolicyEntry(_Part):
    """
    One of `policies`.
    """

    renewal_due: _Deadline | None = None
    warning: _Deadline | None = None
    critical: _Deadline

    @model_validator(mode="after")
    def first_deadline(self) -> Self:
        """
        Refuses a policy that says only when it is too late.
        """
        if self.renewal_due is None and self.warning is None:
            raise ValueError("must set renewal_due or warning, or both, besides critical")
        return self


class _Probe(_Part):
    """
    What `/probe` may be asked for.
    """

    allow: list[_Text] = ["*"]


class _Document(BaseModel):
    """
    The top level. Its parts are checked one by one, so that each tells all its faults.

    No value is as good as no key here: all of a section may be commented out.
    """

    model_config = _Part.model_config

    defaults: Any = None
    policies: Any = None
    targets: Any = None
    probe: Any = None


_NESTED: dict[str, type[BaseModel]] = {"client_certificate": _ClientCertificate}
"""Models inside models, by key."""

# What pydantic found, in words for the person who wrote the file.
_MESSAGES = {
    "missing": "is missing",
    "model_type": "must be a mapping (lines of 'key: value')",
    "dict_type": "must be a mapping (lines of 'key: value')",
    "list_type": "must be a list (lines that start with '- ')",
}


def _message(error: Mapping[str, Any], model: type[BaseModel]) -> str:
    """
    One of pydantic's errors as a sentence.
    """
    kind, context, loc = error["type"], error.get("ctx", {}), error["loc"]
    if kind == "value_error":
        return str(context["error"])
    if error["input"] is None:
        return _NO_VALUE
    if kind == "literal_error":
        given = f", not {_shown(error['input'])}" if isinstance(error["input"], str) else ""
        return f"must be {context['expected']}{given}"
    if kind == "extra_forbidden":
        if len(loc) > 1:
            model = _NESTED[loc[0]]
        if loc[-1] in {"password", "passphrase"}:
            return "a pass phrase is not written here: use password_file or password_env"
        return f"unknown key: {_closest(loc[-1], model.model_fields)}"
    return _MESSAGES.get(kind) or str(error["msg"])


def _span(seconds: float) -> str:
    """
    A duration for people, in its two largest units: `14d`, `2h24m`.
    """
    parts: list[str] = []
    left = round(seconds)
    for unit, size in (("d", DAY), ("h", HOUR), ("m", 60), ("s", 1)):
        number, left = divmod(left, int(size))
        if number:
            parts.append(f"{number}{unit}")
    return "".join(parts[:2]) or "0s"


_LIFETIMES = (DAY, 90 * DAY, 398 * DAY, 3650 * DAY)
"""Lifetimes at which deadlines that can't be compared as written are compared."""


def _order_faults(policy: Policy) -> Iterator[tuple[str, str]]:
    """
    Key and message of each deadline that does not come after the one before it.
    """
    due, warning, critical = policy.renewal_due, policy.warning, policy.critical
    told = "must leave less time than the warning, or nobody is warned before it is critical"
    if warning is None:
        why = _disorder(chain(_sides(critical, due, 4), _lateness_sides(critical, due)), operator.ge)
        if why:
            yield "critical", f"{told}: {why}"
        return
    why = _disorder(_sides(warning, due, 2), operator.gt)
    if why:
        yield "warning", f"must not leave more time than renewal_due, or people are told of nothing: {why}"
    why = _disorder(_sides(critical, warning, 4), operator.ge)
    if why:
        yield "critical", f"{told}: {why}"


_Sides = Iterable[tuple[float, float, str]]
"""What is left at the later and at the earlier deadline, and the same in words."""


def _disorder(sides: _Sides, wrong: Callable[[float, float], bool]) -> str | None:
    """
    The words of the first comparison that is wrong; None when all are right.
    """
    return next((words for later, earlier, words in sides if wrong(later, earlier)), None)


def _sides(later: Before, earlier: Before, part: int) -> _Sides:
    """
    Two deadlines as written when both are durations or both are shares; else at some lifetimes.

    There the later one is at most the `part`-th part of the lifetime, the earlier one half, as in a Policy.
    """
    match later, earlier:
        case Before(duration=float(low), share=None), Before(duration=float(high), share=None):
            yield low, high, f"{_span(low)} against {_span(high)}"
        case Before(duration=None, share=float(low)), Before(duration=None, share=float(high)):
            yield low, high, f"{100 * low:g}% against {100 * high:g}%"
        case _:
            for lifetime in _LIFETIMES:
                low, high = min(later.left(lifetime), lifetime / part), _due(earlier, lifetime)
                yield low, high, _compared(lifetime, low, high)


def _lateness_sides(critical: Before, due: Before) -> _Sides:
    """
    The critical deadline and the warning that follows from `renewal_due`, at some lifetimes.
    """
    for lifetime in _LIFETIMES:
        late = lateness(lifetime)
        low, high = min(critical.left(lifetime), lifetime / 4), _due(due, lifetime) - late
        why = f"(a policy without `warning` warns when renewal is {_span(late)} late)"
        yield low, high, f"{_compared(lifetime, low, max(high, 0))} {why}"


def _due(before: Before, lifetime: float) -> float:
    """
    Seconds left at a deadline that never comes before the first half of the lifetime is over.
    """
    return min(before.left(lifetime), lifetime / 2)


def _compared(lifetime: float, low: float, high: float) -> str:
    """
    The words for two deadlines at a lifetime.
    """
    return f"{_span(low)} against {_span(high)} when the lifetime is {_span(lifetime)}"


def _policy(name: str, policies: Mapping[str, Policy]) -> Policy:
    """
    The policy of that name. Raises TargetError when there is none.
    """
    if name not in policies:
        raise TargetError(f"there is no policy {_shown(name)}: {_closest(name, policies)}")
    return policies[name]


_P = TypeVar("_P", bound=BaseModel)
_Loc = tuple[str | int, ...]


class _Reading:
    """
    One reading of one document: collects faults and goes on.
    """

    def __init__(
        self, file: str, environ: Mapping[str, str], document: _Value, faults: list[ConfigFault]
    ) -> None:
        """
        Reads nothing yet. `faults` are those known from the text.
        """
        self.file = file
        self.environ = environ
        self.document = document
        self.faults = faults
        self.warnings: list[str] = []
        self.policies: dict[str, Policy] = dict(BUILT_IN)
        self.known_policies: set[str] = set()
        """Names in `policies`, also of those that are at fault."""

    def config(self) -> Config:
        """
        The configuration, as far as it is without fault.
        """
        if self.document is None:
            self.fault((), _EMPTY)
            return Config()
        if not isinstance(self.document, _Map):
            known = ", ".join(_Document.model_fields)
            self.fault(
                (), f"must be a mapping with the keys {known}: a list of targets goes under 'targets:'"
            )
            return Config()
        # For unknown keys only: each part is checked by itself, so that no fault hides another.
        self.model(_Document, self.document, ())
        for name, entry in self.mapping("policies").items():
            self.read_policy(name, entry)
        probe = self.model(_Probe, self.mapping("probe"), ("probe",))
        settings = self.model(_Settings, self.mapping("defaults"), ("defaults",))
        defaults = {} if settings is None else self.arguments(settings, ("defaults",))
        return Config(
            targets=self.targets(defaults),
            policies=MappingProxyType(self.policies),
            probe_allow=() if probe is None else tuple(probe.allow),
            warnings=tuple(self.warnings),
            defaults=MappingProxyType(defaults),
        )

    def mapping(self, key: str) -> _Map:
        """
        The mapping under a top-level key; empty when there is none.
        """
        value = self.part(key)
        if value is None or isinstance(value, _Map):
            return value or _Map(0)
        self.fault((key,), _MESSAGES["dict_type"])
        return _Map(0)

    def part(self, key: str) -> _Value:
        """
        What stands under a top-level key; None when nothing does.
        """
        return self.document.get(key) if isinstance(self.document, _Map) else None

    def read_policy(self, name: str, entry: _Value) -> None:
        """
        Adds one of the user's policies.
        """
        loc = ("policies", name)
        if name in BUILT_IN:
            self.fault(loc, f"the policy {name!r} is built in: choose another name, and name it in `policy`")
            return
        # Known even when it is at fault: a target that names it is not.
        self.known_policies.add(name)
        try:
            _name(name)
        except ValueError as error:
            self.fault(loc, str(error))
        model = self.model(_PolicyEntry, entry, loc)
        if model is None:
            return
        first = model.renewal_due or model.warning
        assert first is not None  # the model sees to it
        policy = Policy(name, renewal_due=first, warning=model.warning, critical=model.critical)
        for key, message in _order_faults(policy):
            self.fault((*loc, key), message)
        self.policies[name] = policy

    def targets(self, defaults: Mapping[str, Any]) -> tuple[Target, ...]:
        """
        The targets without fault, each once.
        """
        entries = self.part("targets")
        if entries is not None and not isinstance(entries, _List):
            self.fault(("targets",), _MESSAGES["list_type"])
            return ()
        targets: dict[str, tuple[int, Target]] = {}
        for index, entry in enumerate(entries or ()):
            target = self.target(index, entry, defaults)
            if target is None:
                continue
            first, known = targets.setdefault(target.name, (index, target))
            if first != index:
                self.twice(("targets", index), ("targets", first), same=known == target)
        return tuple(target for _, target in targets.values())

    def twice(self, loc: _Loc, first: _Loc, *, same: bool) -> None:
        """
        Notes that two elements have one name: harmless when they are the same in all.
        """
        known = self.located(first, "")
        where = f"{known.path} in line {known.line}"
        if same:
            self.warn(loc, f"the same target as {where}: it is probed once")
        else:
            self.fault(
                loc, f"{where} has the same name and other settings: give one of them a `name:` of its own"
            )

    def target(self, index: int, entry: _Value, defaults: Mapping[str, Any]) -> Target | None:
        """
        One target; None when it has a fault.
        """
        loc = ("targets", index)
        if isinstance(entry, _List):
            self.fault(loc, "must be a URL, or a mapping with the key 'url'")
            return None
        before = len(self.faults)
        model = self.model(_TargetEntry, {"url": entry} if not isinstance(entry, _Map) else entry, loc)
        if model is None:
            return None
        arguments = self.arguments(model, loc)
        labels = dict(defaults.get("labels", ())) | dict(arguments.get("labels", ()))
        name = model.name
        if name is None:
            try:
                name = _name(model.url.text)
            except ValueError as error:
                self.fault(loc, str(error))
        if name is None or len(self.faults) > before:
            return None
        settings = {**defaults, **arguments, "labels": tuple(sorted(labels.items()))}
        return Target(url=model.url, name=name, **settings)

    def arguments(self, settings: _Settings, loc: _Loc) -> dict[str, Any]:
        """
        What is set, as arguments of Target.
        """
        arguments: dict[str, Any] = {}
        for key in settings.model_fields_set - {"url", "name"}:
            value = getattr(settings, key)
            match key:
                case "policy":
                    arguments[key] = self.policy(value, (*loc, key))
                case "labels":
                    arguments[key] = tuple(sorted(value.items()))
                case "ca_file":
                    arguments[key] = self.file_name(value, (*loc, key))
                case "client_certificate":
                    arguments |= self.client_certificate(value, (*loc, key))
                case _:
                    arguments[key] = value
        return arguments

    def policy(self, name: str, loc: _Loc) -> Policy:
        """
        The policy that a target or `defaults` names.
        """
        if name in self.known_policies and name not in self.policies:
            return AUTOMATIC  # never used: the policy's own fault refuses the configuration
        try:
            return _policy(name, self.policies)
        except TargetError as error:
            self.fault(loc, str(error))
            return AUTOMATIC

    def client_certificate(self, model: _ClientCertificate, loc: _Loc) -> dict[str, Any]:
        """
        A client certificate as arguments of Target: all of them, so that nothing of `defaults` is mixed in.
        """
        key_file = model.key_file
        return {
            "client_certificate_file": self.file_name(model.cert_file, (*loc, "cert_file")),
            "client_key_file": self.file_name(key_file, (*loc, "key_file")) if key_file else None,
            "client_key_password": self.password(model, loc),
        }

    def password(self, model: _ClientCertificate, loc: _Loc) -> str | None:
        """
        The pass phrase of a client's key; None when it has none, or at fault.

        Messages show neither the name of the variable nor of the file: a person in a hurry may have written
        the pass phrase itself there.
        """
        if model.password_env:
            password = self.environ.get(model.password_env)
            if not password:
                what = "not set" if password is None else "empty"
                self.fault((*loc, "password_env"), f"the environment variable of this name is {what}")
            return password
        if not model.password_file:
            return None
        loc = (*loc, "password_file")
        try:
            with Path(self.absolute(model.password_file)).open("rb") as file:
                data = file.read(PASSWORD_LIMIT + 3)
            password = data.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            self.fault(loc, "the file is not UTF-8 text: is it the right one?")
            return None
        except OSError as error:
            self.fault(
                loc, f"the file can't be read: {error.strerror} (paths are relative to this configuration)"
            )
            return None
        if not password:
            self.fault(loc, "the file is empty")
        if len(password.encode()) > PASSWORD_LIMIT:
            self.fault(loc, f"the file holds more than {PASSWORD_LIMIT} bytes: is it the right one?")
        return password

    def file_name(self, text: str, loc: _Loc) -> str:
        """
        The path of a file that is read when a target is probed.

        It may come into being later, and the other targets do not need it: so its absence is no fault.
        """
        path = self.absolute(text)
        # Asked, not opened: opening a pipe that nobody writes to would wait for ever.
        if not (os.access(path, os.R_OK) and Path(path).is_file()):
            self.warn(loc, f"{path} is not a file that can be read: probes that need it fail until it is")
        return path

    def absolute(self, path: str) -> str:
        """
        A path as seen from the directory of the configuration.
        """
        return str(Path(self.file).parent / path)

    def model(self, model: type[_P], value: Any, loc: _Loc) -> _P | None:
        """
        A part of the document as a model; None, and all its faults noted, when it is not one.
        """
        try:
            return model.model_validate(value)
        except ValidationError as invalid:
            for error in invalid.errors(include_url=False):
                self.fault((*loc, *error["loc"]), _message(error, model))
            return None

    def fault(self, loc: _Loc, message: str) -> None:
        """
        Notes a fault.
        """
        self.faults.append(self.located(loc, message))

    def warn(self, loc: _Loc, message: str) -> None:
        """
        Notes something that is allowed.
        """
        self.warnings.append(str(self.located(loc, message)))

    def located(self, loc: _Loc, message: str) -> ConfigFault:
        """
        A message with the line of that place, or of the nearest thing around it that the document has.
        """
        node: _Value = self.document
        line = node.line if isinstance(node, _Map | _List) else 1
        for depth, step in enumerate(loc):
            if isinstance(node, _Map) and isinstance(step, str):
                if step not in node:
                    break  # a key that is missing is part of the path
                line = node.lines[step]
                node = node[step]
            elif isinstance(node, _List) and isinstance(step, int):
                line = node.lines[step]
                node = node[step]
            else:
                # The models see more than is written: a URL as {url: ...}, a label's name as [key].
                loc = loc[:depth]
                break
        return ConfigFault(self.file, line, _path(loc), message)


def _path(loc: _Loc) -> str:
    """
    A place as text: `targets[3].labels.team`.
    """
    return "".join(f"[{step}]" if isinstance(step, int) else _step(step) for step in loc).removeprefix(".")
