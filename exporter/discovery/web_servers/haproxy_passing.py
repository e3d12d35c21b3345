"""
HAProxy in `mode tcp`: the names by which it chooses a server behind it that speaks TLS instead of it.

These are the names that a rule compares with the whole of `req.ssl_sni`. Where it compares a part of it
(`-m end`, `-m reg`), nobody knows which names there are.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from exporter.discovery.names import host_name
from exporter.discovery.web_servers.reading import Listen, Reader, Site

WORDS = frozenset({"acl", "default_backend", "tcp-request", "use-server", "use_backend"})
"""The first words of the lines that say who gets where."""


_SNI = re.compile(r"\breq[._]ssl_sni\b")


_WHOLE = re.compile(r"req[._]ssl_sni(?:,lower)?")


_MAP = re.compile(r"%\[req[._]ssl_sni(?:,lower)?,map(?:_str(?:_\w+)?)?\(([^,()]+)(?:,[^()]*)?\)\]")
"""The backend that a file has for a name."""


_WITHOUT_NAMES = frozenset({"found", "len"})


@dataclass(frozen=True, slots=True)
class Line:
    """
    One line of a section.
    """

    path: str
    number: int
    words: Sequence[str]


@dataclass(frozen=True, slots=True)
class Section:
    """
    A `frontend`, `listen` or `backend`.
    """

    name: str
    lines: Sequence[Line]
    listens: Callable[[], Sequence[Listen]]
    """Returns the addresses on which it passes on what it gets."""


@dataclass(slots=True)
class _Rules:
    """
    The names that a section passes on, and the sections that it passes them to.
    """

    names: list[tuple[Line, list[str]]] = field(default_factory=list)
    """Names that are passed on, and the line that says so."""
    backends: list[str] = field(default_factory=list)
    """The sections that go on to choose."""


def sites(
    sections: Sequence[Section], reader: Reader, patterns: Callable[[str, str], Iterable[str]]
) -> Iterator[Site]:
    """
    Yield what is presented for names that are passed on.

    `patterns` takes the path of a file, and that of the one that names it, and returns the first word of each
    of its lines.
    """
    known = {one.name: _Reading(reader, patterns).rules(one.lines) for one in sections}
    for section in sections:
        own = known[section.name]
        behind = [known[one] for one in dict.fromkeys(own.backends) if one in known and one != section.name]
        for rules in (own, *behind):
            for line, names in rules.names:
                if listens := section.listens():
                    yield Site(f"HAProxy, {line.path}, line {line.number}", (), names, listens)


@dataclass(slots=True)
class _Reading:
    """
    The reading of one section.
    """

    reader: Reader
    patterns: Callable[[str, str], Iterable[str]]
    lists: dict[str, list[str]] = field(default_factory=dict)
    """The names of each ACL."""

    def rules(self, lines: Iterable[Line]) -> _Rules:
        """
        Return the rules in the lines of one section.
        """
        found = _Rules()
        for line in lines:
            first, value = line.words[0], "".join(line.words[1:2])
            if first == "acl":
                self.lists.setdefault(value, []).extend(self._tested(line.words[2:], line))
                continue
            if first in {"default_backend", "use_backend"}:
                found.backends.append(value)
            names = [*self._by_condition(line), *self._by_map(value, line)]
            if hosts := [host for one in names if not one.startswith(".") and (host := host_name(one))]:
                found.names.append((line, hosts))
        return found

    def _by_condition(self, line: Line) -> Iterator[str]:
        refuses = line.words[0] == "tcp-request" and "reject" in line.words
        for passes, test in _tests(line.words):
            if passes is not refuses:
                yield from self.lists.get(test[0], ()) if len(test) == 1 else self._tested(test, line)

    def _by_map(self, backend: str, line: Line) -> Iterable[str]:
        if (found := _MAP.fullmatch(backend)) is not None:
            return self.patterns(found[1], line.path)
        if _SNI.search(backend):
            self._unknown(backend, line)
        return ()

    def _tested(self, words: Sequence[str], line: Line) -> list[str]:
        """
        Return the names that a test compares with the one that the client asks for.
        """
        if not words or not _SNI.search(words[0]):
            return []
        names: list[str] = []
        method = "str" if _WHOLE.fullmatch(words[0]) else words[0]
        rest = iter(words[1:])
        for word in rest:
            if word == "-m":
                method = next(rest, "")
            elif word == "-f":
                names += self.patterns(next(rest, ""), line.path)
            elif not re.fullmatch("-[a-zA-Z-]", word):
                names.append(word)
        if method == "str":
            return names
        if method not in _WITHOUT_NAMES or "map" in words[0]:
            self._unknown(" ".join(words), line)
        return []

    def _unknown(self, words: str, line: Line) -> None:
        self.reader.note(f"{words}: which names there are is not known here", line.path, line.number)


def _tests(words: Sequence[str]) -> Iterator[tuple[bool, Sequence[str]]]:
    """
    Yield the tests in the condition of a line: whether it is for those that pass the test, and the name of an
    ACL, or the words of a test without a name.
    """
    begin = next((place for place, word in enumerate(words) if word in {"if", "unless"}), len(words))
    usual = passes = words[begin : begin + 1] == ["if"]
    rest = iter(words[begin + 1 :])
    for word in rest:
        plain = word.lstrip("!")
        if (len(word) - len(plain)) % 2:
            passes = not passes
        if not plain:
            continue
        if plain == "{":
            yield passes, list(iter(lambda: next(rest, "}"), "}"))
        elif plain not in {"or", "||"}:
            yield passes, [plain]
        passes = usual
