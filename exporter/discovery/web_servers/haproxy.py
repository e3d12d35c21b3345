"""
HAProxy: `bind` lines with their certificates, lists and directories of certificates, and what it shows to
servers.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path

from exporter.discovery.web_servers import haproxy_passing as passing
from exporter.discovery.web_servers.reading import CRL, Listen, Reader, Site, missing, ports_of

_SECTIONS = frozenset(
    {
        "global",
        "defaults",
        "frontend",
        "backend",
        "listen",
        "userlist",
        "peers",
        "mailers",
        "resolvers",
        "cache",
        "program",
        "ring",
        "http-errors",
        "log-forward",
        "crt-store",
        "fcgi-app",
        "traces",
        "acme",
    }
)


_NO_CERTIFICATES = (".key", ".ocsp", ".issuer", ".sctl")


_KINDS = (".rsa", ".ecdsa", ".dsa")
"""Endings of files that are one certificate for several kinds of keys."""


_PROXIES = frozenset({"frontend", "listen", "backend", "defaults"})
"""Sections that have a `mode`."""


_KNOWN = frozenset(
    {"crt", "crt-list", "default-crt", "crt-base", "crt-store", "crt-ignore-err", "generate-certificates"}
)
"""Words with `crt` or `cert` in them that are understood, or name no file."""


_SOCKETS = ("/", "unix@", "abns@", "abnsz@", "fd@", "sockpair@", "uxst@", "rhttp@", "rev@")
"""How addresses begin that are none of a network."""


_WORD = re.compile(r"""(?:[^\s"'\\#]|\\.|"(?:[^"\\]|\\.)*"|'[^']*')+|(\#)""")


@dataclass(slots=True)
class _Binding:
    """
    A certificate with the names that select it; no names: those on the certificate.
    """

    paths: Sequence[str]
    names: Sequence[str] = ()


@dataclass(slots=True)
class _State:
    reader: Reader
    base: str = ""
    """crt-base."""
    authorities: str = ""
    """ca-base, where lists of what is revoked are too."""
    origin: str = ""
    """The directory of `default-path`; empty: that of the file."""
    store: str = ""
    """The name of the `crt-store` that is read."""
    store_base: str = ""
    """Its crt-base."""
    stored: dict[str, str] = field(default_factory=dict)
    """Files of the stores, by `@STORE/ALIAS` and `@STORE/FILE`."""
    environment: dict[str, str] = field(default_factory=dict)
    mode: str = "tcp"
    default_mode: str = "tcp"
    modes: dict[str, str] = field(default_factory=dict)
    """By the name of its `defaults`, the mode of those sections that are `from` it."""
    section: str = ""
    name: str = ""
    waiting: list[tuple[str, int, list[str]]] = field(default_factory=list)
    """`bind` lines of this section, whose mode may be said later."""
    common: list[str] = field(default_factory=list)
    """What `default-bind` says of all of them."""
    used: list[tuple[str, int, list[str]]] = field(default_factory=list)
    """`ssl-f-use` lines of this section: certificates of all its `bind` lines with TLS."""
    rules: list[passing.Line] = field(default_factory=list)
    """Lines of this section that may choose where a connection goes."""
    sections: list[passing.Section] = field(default_factory=list)
    """All sections so far that pass TLS on."""


def sites(path: str, reader: Reader) -> list[Site]:
    """
    Return the sites of a `haproxy.cfg`.
    """
    text = reader.text(path)
    state = _State(reader)
    answer: list[Site] = []
    for line, raw in enumerate((text or "").split("\n"), 1):
        words = [_with_environment(word, state.environment) for word in _words(raw)]
        if not words:
            continue
        if words[0].startswith("."):
            if words[0] == ".if":
                reader.note(".if: conditions are not evaluated, all that they enclose counts", path, line)
        elif words[0] in _SECTIONS:
            answer += _ended(state)
            _begin(words, state)
            state.store, state.store_base = words[1] if len(words) > 1 else "", state.base
        elif words[0] in {"setenv", "presetenv"} and len(words) > 2:
            state.environment[words[1]] = words[2]
        elif words[0] == "crt-base" and len(words) > 1 and state.section == "crt-store":
            state.store_base = words[1]
        elif words[0] == "crt-base" and len(words) > 1:
            state.base = words[1]
        elif words[0] == "ca-base" and len(words) > 1:
            state.authorities = words[1]
        elif words[0] == "default-path" and len(words) > 1:
            own = Path(path).parent
            known = {"parent": str(own.parent), "origin": "".join(words[2:3])}
            state.origin = known.get(words[1], "")
        elif words[0] == "load" and state.section == "crt-store":
            _load(path, words[1:], state)
        elif words[0] == "mode" and len(words) > 1:
            state.mode = words[1]
            if state.section == "defaults":
                state.default_mode = state.modes[state.name] = words[1]
        elif words[0] == "bind" and len(words) > 1:
            state.waiting.append((path, line, words[1:]))
        elif words[:2] == ["stats", "socket"] and len(words) > 2:
            state.waiting.append((path, line, words[2:]))
        elif words[0] == "default-bind":
            state.common += words[1:]
        elif words[0] == "ssl-f-use":
            state.used.append((path, line, words[1:]))
        elif words[0] in passing.WORDS:
            state.rules.append(passing.Line(path, line, words))
        elif words[0] in {"server", "server-template", "default-server"}:
            answer += _shown(path, line, words[1:], state)
        elif re.search("crt|cert", words[0]) and words[0] not in _KNOWN:
            reader.unknown(words[0], path, line)
    answer += _ended(state)
    return [*answer, *passing.sites(state.sections, reader, partial(_patterns, state))]


def _begin(words: Sequence[str], state: _State) -> None:
    """
    Begin a section: `frontend NAME`, `defaults NAME from OTHER`.
    """
    state.section, state.name = words[0], words[1] if len(words) > 1 else ""
    if state.section not in _PROXIES:
        state.mode = "tcp"
        return
    usual = "tcp" if state.section == "defaults" else state.default_mode
    given = next((after for word, after in pairwise(words) if word == "from"), "")
    state.mode = state.modes.get(given, usual)
    if state.section == "defaults":
        state.default_mode = state.modes[state.name] = state.mode


def _words(text: str) -> list[str]:
    """
    Return the words of a line, without quotes and comment.
    """
    answer = []
    for match in _WORD.finditer(text):
        if match[1]:
            break
        answer.append(re.sub(r"\\(.)|[\"']", lambda one: one[1] or "", match[0]))
    return answer


def _with_environment(word: str, environment: Mapping[str, str]) -> str:
    """
    Return a word with its environment variables, as far as the configuration sets them or has a default.
    """
    pattern = r"\$(?:(\w+)|\{(\w+)(?:-([^}]*))?\})"
    return re.sub(
        pattern, lambda one: environment.get(one[1] or one[2], one[0] if one[3] is None else one[3]), word
    )


def _load(path: str, options: Sequence[str], state: _State) -> None:
    """
    Keep a certificate of a `crt-store`: `crt FILE ... alias NAME`.
    """
    given = dict(pairwise([*options, ""]))
    file = given.get("crt", "")
    if file:
        whole = os.path.join(state.store_base or _directory(path, state), file)  # noqa: PTH118
        for name in (file, given.get("alias", file)):
            state.stored[f"@{state.store}/{name}"] = whole


def _ended(state: _State) -> Iterator[Site]:
    """
    Yield the sites of a section.
    """
    listens: list[Listen] = []
    for path, line, words in state.waiting:
        options = [*words[1:], *state.common]
        scheme = "https" if state.mode == "http" else "tls"
        given = [words[0], *options]
        own = list(_listens(given, (path, line), scheme, state.reader)) if "ssl" in options else []
        if "ssl" in options and words[0].startswith(_SOCKETS):
            why = f"bind {words[0]}: what is presented at a socket of this host is not looked at"
            state.reader.note(why, path, line)
        yield from _bound(path, line, options, own, state)
        listens += own
    for path, line, options in state.used:
        yield from _bound(path, line, options, listens, state)
    if state.section in {"frontend", "listen", "backend"} and state.mode == "tcp":
        binds = [
            (path, line, [*words, *state.common])
            for path, line, words in state.waiting
            if "ssl" not in (*words, *state.common)
        ]
        state.sections.append(
            passing.Section(state.name, state.rules, partial(_passing, binds, state.reader))
        )
    state.waiting, state.common, state.used, state.rules = [], [], [], []


def _passing(binds: Sequence[tuple[str, int, list[str]]], reader: Reader) -> list[Listen]:
    """
    Return the addresses of these `bind` lines, on which it speaks no TLS itself.
    """
    return [one for path, line, words in binds for one in _listens(words, (path, line), "tls", reader)]


def _patterns(state: _State, text: str, path: str) -> list[str]:
    """
    Return the first word of each line in a file of patterns, or of a map; none of one that has no file.
    """
    optional, file = text.startswith("opt@"), text.removeprefix("opt@").removeprefix("file@")
    place = os.path.join(_directory(path, state), file)  # noqa: PTH118
    if "$" in file or file.startswith("virt@") or (optional and missing(place)):
        state.reader.note(f"{text}: which names there are is not known here", path)
        return []
    lines = (state.reader.text(place) or "").split("\n")
    return [words[0] for line in lines if (words := line.split()) and not words[0].startswith("#")]


def _bound(
    path: str, line: int, options: list[str], listens: Sequence[Listen], state: _State
) -> Iterator[Site]:
    """
    Yield the sites of a line with certificates: one for each of them.
    """
    bindings: list[_Binding] = []
    for option, value in pairwise([*options, ""]):
        if option in {"crt", "default-crt"}:
            bindings += [_Binding(paths) for paths in _certificates(value, path, line, state)]
        elif option == "crt-list":
            bindings += _listed(value, path, state, strict="strict-sni" in options)
    where = f"HAProxy, {path}, line {line}"
    for one in bindings:
        yield Site(where, one.paths, one.names, listens)
    yield from _revoked(where, path, options, state)


def _shown(path: str, line: int, options: list[str], state: _State) -> Iterator[Site]:
    """
    Yield what is shown to a server behind it that asks for a certificate.
    """
    where = f"HAProxy's client, {path}, line {line}"
    for option, value in pairwise([*options, ""]):
        if option == "crt":
            yield from (Site(where, paths) for paths in _certificates(value, path, line, state))
    yield from _revoked(where, path, options, state)


def _revoked(where: str, path: str, options: list[str], state: _State) -> Iterator[Site]:
    """
    Yield the lists of what is revoked: when one ends, nobody is let in.
    """
    for option, value in pairwise([*options, ""]):
        if option == "crl-file" and "$" not in value:
            whole = os.path.join(state.authorities or _directory(path, state), value)  # noqa: PTH118
            yield Site(where, [whole], kind=CRL)


def _directory(path: str, state: _State) -> str:
    """
    Return the directory to which the paths in a file are relative.
    """
    return state.origin or str(Path(path).parent)


def _certificates(text: str, path: str, line: int, state: _State) -> list[list[str]]:
    """
    Return the certificates that `crt` means, each with its files: one, or one for each kind of key.
    """
    text = state.stored.get(text, text)
    if "$" in text or text.startswith("@"):
        state.reader.note(f"crt {text}: its variable or store of certificates is not known here", path, line)
        return []
    whole = os.path.join(state.base or _directory(path, state), text)  # noqa: PTH118
    try:
        if Path(whole).is_dir():
            inside = sorted(one for one in Path(whole).iterdir() if one.is_file())
            return [
                [str(one)]
                for one in inside
                if not one.name.startswith(".") and not one.name.endswith(_NO_CERTIFICATES)
            ]
        kinds = [f"{whole}{kind}" for kind in _KINDS if Path(f"{whole}{kind}").is_file()]
        return [kinds if kinds and not Path(whole).is_file() else [whole]]
    except OSError as error:
        state.reader.fail(f"{whole} can't be read: {error.strerror}", path, line)
        return []


def _listed(text: str, path: str, state: _State, *, strict: bool) -> Iterator[_Binding]:
    """
    Yield the certificates of a `crt-list`: `file [options] name !name ...`. `strict`: there is no fallback
    for other names.
    """
    place = os.path.join(_directory(path, state), text)  # noqa: PTH118
    for number, raw in enumerate((state.reader.text(place) or "").split("\n"), 1):
        content = raw.strip()
        if not content or content.startswith("#"):
            continue
        file, *names = re.sub(r"\[[^\]]*\]", " ", content).split()
        # What has no file is asked for all the same.
        for paths in _certificates(file, place, number, state) or [[]]:
            # With `!*` none of its names chooses it: it is what others get.
            yield _Binding(paths, names if strict or names != ["!*"] else [])


def _listens(words: list[str], place: tuple[str, int], scheme: str, reader: Reader) -> Iterator[Listen]:
    """
    Yield the addresses of a `bind` line. `words`: the addresses and the options.
    """
    for part in words[0].split(","):
        if part.startswith(_SOCKETS):
            continue
        quic = part.startswith("quic")
        plain = re.sub(r"^(?:quic)?(?:ipv)?[46]?@", "", part)
        host, colon, port = plain.rpartition(":")
        if "$" in part or not colon or not ports_of(port):
            reader.note(f"bind {part}: its port is not understood", *place)
            continue
        if part.startswith(("ipv6@", "quic6@")) and host in {"", "*"}:
            host = "::"
        for number in ports_of(port):
            yield Listen("h3" if quic else scheme, host, number, "accept-proxy" in words)
