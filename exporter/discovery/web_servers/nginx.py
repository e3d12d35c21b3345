"""
nginx: `server` blocks of http, stream and mail.

crossplane, the parser of nginx's own people, is not used: its last release is 0.5.8 of September 2022, and it
opens each included file itself, of any size, number and depth, so that no bound of `Reader` would hold.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from exporter.discovery.names import host_name
from exporter.discovery.web_servers.reading import CRL, NO_NAME, Listen, Reader, Site, ports_of

_TOKEN = re.compile(
    r"""\s+ | \#[^\n]* | (?P<mark>[{};]) | "(?P<two>(?:[^"\\]|\\.)*)" | '(?P<one>(?:[^'\\]|\\.)*)'
    | (?P<word>(?:[^\s{};"'\\$]|\\.|\$\{[^}\n]*\}|\$)(?:[^\s{};\\$]|\\.|\$\{[^}\n]*\}|\$)*)""",
    re.VERBOSE | re.DOTALL,
)


_LUA = re.compile(
    r"""(?:--)?\[(=*)\[(?:.*?\]\1\]|.*) | --[^\n]* | "(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*' | [{}]""",
    re.VERBOSE | re.DOTALL,
)
"""Braces of Lua, and the comments and texts whose braces are none."""


_CLIENT = re.compile(r"(?:proxy|grpc|uwsgi)_ssl_certificate")


_CRL = re.compile(r"(?:(?:proxy|grpc|uwsgi)_)?ssl_crl")


_KNOWN = re.compile(
    r"ssl_client_certificate|(?:\w+_)?ssl_(?:trusted_certificate|certificate(?:_key|_cache|_compression)?)"
)
"""Directives of certificates that are understood, or name only keys and CAs to trust."""


@dataclass(slots=True)
class _Block:
    """
    A block with its directives, those of included files among them.
    """

    path: str
    line: int
    words: list[str]
    children: list["_Block"] = field(default_factory=list)
    by_name: dict[str, list["_Block"]] = field(default_factory=dict)
    """Its directives by name: of ten thousand sites, each asks what is said for all."""

    def add(self, child: "_Block") -> None:
        """
        Add a directive or block, the last one so far.
        """
        self.children.append(child)
        self.by_name.setdefault(child.words[0], []).append(child)

    def below(self) -> Iterator["_Block"]:
        """
        Yield all that is inside, however deep.
        """
        waiting = self.children[::-1]
        while waiting:
            one = waiting.pop()
            yield one
            waiting += reversed(one.children)

    def all(self, name: str) -> Sequence["_Block"]:
        """
        Return the directives of this name.
        """
        return self.by_name.get(name, ())

    def last(self, name: str) -> str:
        """
        Return the first argument of a directive; empty when it is not there.
        """
        return next((one.words[1] for one in reversed(self.all(name)) if len(one.words) > 1), "")


def sites(path: str, reader: Reader) -> list[Site]:
    """
    Return the sites of an `nginx.conf`, or of a file that it would include.
    """
    root = _Block(path, 0, ["http"])
    base = _prefix(path)
    _read(path, root, reader, base, ())
    answer: list[Site] = []
    for kind in ("http", "stream", "mail"):
        for block in [*root.all(kind), *([root] if kind == "http" else [])]:
            answer += _sites_of(kind, block, base, reader)
    return [*answer, *_others(root, base, reader)]


def _others(root: _Block, base: str, reader: Reader) -> Iterator[Site]:
    """
    Yield what is shown to servers behind it, and the lists of what is revoked, wherever they are named.
    """
    for one in root.below():
        name, value = one.words[0], "".join(one.words[1:2])
        client, crl = _CLIENT.fullmatch(name), _CRL.fullmatch(name)
        if (client or crl) and value and _is_file(value, one, reader):
            who = "nginx's client" if client else "nginx"
            where = f"{who}, {one.path}, line {one.line}"
            whole = os.path.join(base, value)  # noqa: PTH118
            yield Site(where, [whole]) if client else Site(where, [whole], kind=CRL)
        elif "certificate" in name and not _KNOWN.fullmatch(name):
            reader.unknown(name, one.path, one.line)


def _read(path: str, into: _Block, reader: Reader, base: str, chain: tuple[str, ...]) -> None:
    """
    Add a file's directives to a block. A fault ends the file.
    """
    text = reader.text(path)
    if text is None:
        return
    chain = (*chain, path)
    open_blocks = [into]
    words: list[str] = []
    begin = 0
    for line, mark, word in _tokens(text):
        if not words:
            begin = line
        if mark == "error":
            reader.fail(f"syntax error at {word!r}: the rest of the file was passed over", path, line)
            return
        if not mark:
            words.append(word)
        elif mark == "}":
            if words or len(open_blocks) == 1:
                reader.fail("unexpected '}': the rest of the file was passed over", path, line)
                return
            open_blocks.pop()
        elif not words:
            reader.fail(f"unexpected {mark!r}: the rest of the file was passed over", path, line)
            return
        elif mark == ";" and words[0] == "include" and len(words) > 1:
            for one in reader.included(os.path.join(base, words[1]), chain, (path, begin)):  # noqa: PTH118
                _read(one, open_blocks[-1], reader, base, chain)
            words = []
        else:
            block = _Block(path, begin, words)
            open_blocks[-1].add(block)
            if mark == "{":
                open_blocks.append(block)
            words = []
    if words or len(open_blocks) > 1:
        reader.fail("the file ends inside of a directive or block", path, begin)


def _tokens(text: str) -> Iterator[tuple[int, str, str]]:
    """
    Yield `(line, mark, word)`: either a mark (`{`, `}`, `;`, `error`) or a word.
    """
    position, line, name = 0, 1, ""
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            yield line, "error", text[position : position + 20].partition("\n")[0]
            return
        if match["mark"]:
            yield line, match["mark"], ""
        elif match.lastgroup is not None:
            yield line, "", re.sub(r"\\(.)", _unescaped, match[match.lastgroup])
        end = match.end()
        if match["mark"] == "{" and name.endswith("_by_lua_block"):
            end = _end_of_lua(text, end)
        name = "" if match["mark"] else name or (match[match.lastgroup] if match.lastgroup else "")
        line += text.count("\n", position, end)
        position = end


def _end_of_lua(text: str, position: int) -> int:
    """
    Return where the `}` of a block of Lua is that begins here; the end of the text if it is not closed.
    """
    depth = 1
    for match in _LUA.finditer(text, position):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth == 0:
            return match.start()
    return len(text)


def _unescaped(match: re.Match[str]) -> str:
    """
    Return what an escape stands for: those of regular expressions stay.
    """
    return match[1] if match[1] in "\"'\\ ;{}" else match[0]


_Address = tuple[str, range]
"""Host, empty for all of IPv4, and ports."""


def _sites_of(kind: str, outer: _Block, base: str, reader: Reader) -> Iterator[Site]:
    servers = outer.all("server")
    # What one server says of an address is so for all that listen there.
    shared: dict[_Address, set[str]] = {}
    first: dict[_Address, _Block] = {}
    for server in servers:
        for one in server.all("listen"):
            address = _same(one)
            if address not in first or {"default_server", "default"} & set(one.words[2:]):
                first[address] = server
            if "quic" not in one.words[2:]:
                shared.setdefault(address, set()).update({"ssl", "proxy_protocol"} & set(one.words[2:]))
    for server in servers:
        where = f"nginx, {server.path}, line {server.line}"
        certificates, chosen = _by_choice(_certificates(server, outer, base, reader))
        names = [name for one in server.all("server_name") for name in one.words[1:]]
        if (server.last("ssl_reject_handshake") or outer.last("ssl_reject_handshake")) == "on":
            continue
        heard = server.all("listen")
        listens = list(_listens(kind, server, outer, heard, shared, reader))
        if listens or certificates or chosen:
            if not listens and server.all("ssl_certificate"):
                reader.note("has a certificate, but no address with TLS", server.path, server.line)
            # What the file is may only the running server know: what it presents is seen all the same.
            given = server.all("ssl_certificate") or outer.all("ssl_certificate")
            # Who asks for a name of no server gets the first one, or the one that is told to be it.
            usual = [one for one in heard if first[_same(one)] is server]
            own = list(_listens(kind, server, outer, usual, shared, reader))
            yield from _named(Site(where, certificates, names, listens if given else ()), own, reader)
            for name, paths in chosen.items():
                yield Site(where, paths, [name], listens)
        if passed_on := _passed_on(server, outer):
            yield Site(where, (), passed_on, list(_passing(server, shared)))


def _named(site: Site, usual: Sequence[Listen], reader: Reader) -> Iterator[Site]:
    """
    Yield a site with the names that lead to it. At the addresses in `usual`, any name does that no other
    server has.
    """
    names = [one for one in map(_plain, site.names) if one not in {"", "_"}]
    if any(map(host_name, names)):
        yield replace(site, names=names)
        return
    yield replace(site, names=[*names, ""], listens=[one for one in site.listens if one in usual])
    others = [one for one in site.listens if one not in usual]
    if others and names:
        yield replace(site, names=names, listens=others)
    elif others:
        reader.note(f"{site.where}: {NO_NAME}")


def _passed_on(server: _Block, outer: _Block) -> list[str]:
    """
    Return the names by which a server of `stream` chooses who speaks TLS instead of it.
    """
    if (server.last("ssl_preread") or outer.last("ssl_preread")) != "on":
        return []
    used = _variables(server.last("proxy_pass"))
    return [
        one.words[0]
        for block in outer.all("map")
        if len(block.words) == 3
        and _variables(block.words[1]) == {"ssl_preread_server_name"}
        and used & _variables(block.words[2])
        for one in block.children
        if host_name(one.words[0]) and one.words[0] not in {"default", "hostnames", "volatile", "include"}
    ]


def _passing(server: _Block, shared: Mapping[_Address, set[str]]) -> Iterator[Listen]:
    for one in server.all("listen"):
        host, ports = _address(one.words[1] if len(one.words) > 1 else "")
        proxied = "proxy_protocol" in shared.get(_same(one), set())
        yield from (Listen("tls", host, port, proxied) for port in ports if "udp" not in one.words)


def _by_choice(
    certificates: Iterable[tuple[str, Sequence[str]]],
) -> tuple[list[str], dict[str, list[str]]]:
    """
    Return the certificates that are for all names of a server, and those that a name chooses, by this name.
    """
    common: list[str] = []
    chosen: dict[str, list[str]] = {}
    for path, names in certificates:
        if not names:
            common.append(path)
        for name in names:
            chosen.setdefault(name, []).append(path)
    return common, chosen


def _plain(name: str) -> str:
    """
    Return a server name; nothing for a variable, which only the server knows.
    """
    return "" if "$" in name and not name.startswith("~") else name


def _certificates(
    server: _Block, outer: _Block, base: str, reader: Reader
) -> Iterator[tuple[str, Sequence[str]]]:
    """
    Yield the paths of the certificates, each with the names by which it is chosen if these choose it.
    """
    for one in server.all("ssl_certificate") or outer.all("ssl_certificate"):
        path = one.words[1] if len(one.words) > 1 else ""
        for known, names in _known_values(path, server, outer) or [(path, ())]:
            if _is_file(known, one, reader):
                yield os.path.join(base, known), names  # noqa: PTH118


def _variables(text: str) -> set[str]:
    """
    Return the names of the variables in a text.
    """
    return {one or other for one, other in re.findall(r"\$(?:\{(\w+)\}|(\w+))", text)}


def _known_values(text: str, server: _Block, outer: _Block) -> list[tuple[str, Sequence[str]]]:
    """
    Return what a path with one variable may be, with the names that make it so: by the names of the server,
    or by a `map`. Nothing if only the running server knows.
    """
    variables = _variables(text)
    if len(variables) != 1:
        return []
    (variable,) = variables
    if variable == "ssl_server_name":
        names = [name for one in server.all("server_name") for name in one.words[1:]]
        values = [(name, [name]) for name in names if host_name(name) and not name.startswith(".")]
    else:
        values = [
            (one.words[1], [one.words[0]] if block.words[1] == "$ssl_server_name" else [])
            for block in outer.all("map")
            if block.words[2:] == [f"${variable}"]
            for one in block.children
            if len(one.words) == 2 and one.words[0] != "include"
        ]
    pattern = re.compile(rf"\$(?:\{{{variable}\}}|{variable}\b)")
    return [
        (value.join(pattern.split(text)), [name for name in names if name != "default" and host_name(name)])
        for value, names in values
    ]


def _is_file(text: str, place: _Block, reader: Reader) -> bool:
    """
    Return whether a value is the path of a file; if not, it is noted.
    """
    if text.startswith(("data:", "engine:", "store:")) or not text:
        reader.note(f"{place.words[0]} names no file", place.path, place.line)
    elif "$" in text:
        reader.note(f"{text} has a variable that only the running server knows", place.path, place.line)
    else:
        return True
    return False


def _prefix(path: str) -> str:
    """
    Return the directory of the main configuration file, to which paths are relative.
    """
    above = [parent for parent in Path(path).parents if (parent / "nginx.conf").is_file()]
    return str(above[0] if above else Path(path).parent)


def _same(listen: _Block) -> _Address:
    """
    Return the address of a `listen`, the same for all ways to write it.
    """
    host, ports = _address(listen.words[1] if len(listen.words) > 1 else "")
    return "" if host in {"*", "0.0.0.0"} else host.lower(), ports  # noqa: S104 - read, not bound


def _listens(
    kind: str,
    server: _Block,
    outer: _Block,
    heard: Iterable[_Block],
    shared: Mapping[_Address, set[str]],
    reader: Reader,
) -> Iterator[Listen]:
    """
    Yield the addresses with TLS of these `listen` directives of a server.
    """
    switched = (server.last("ssl") or outer.last("ssl")) == "on"
    protocol = server.last("protocol")
    starttls = (server.last("starttls") or outer.last("starttls")) in {"on", "only"}
    for one in heard:
        text, options = one.words[1] if len(one.words) > 1 else "", set(one.words[2:])
        if text.startswith("unix:"):
            continue
        host, ports = _address(text)
        if not ports:
            reader.note(f"listen {text}: its port is not understood", one.path, one.line)
        common = shared.get(_same(one), set())
        proxied = "proxy_protocol" in common
        if "quic" in options:
            yield from (Listen("h3", host, port) for port in ports)
        elif switched or "ssl" in common:
            scheme = (
                "https"
                if kind == "http"
                else {"imap": "imaps", "pop3": "pop3s", "smtp": "smtps"}.get(protocol, "tls")
            )
            yield from (Listen(scheme, host, port, proxied) for port in ports)
        elif kind == "mail" and starttls and protocol in {"imap", "pop3", "smtp"}:
            yield from (Listen(protocol, host, port, proxied) for port in ports)


def _address(text: str) -> tuple[str, range]:
    """
    Return host and ports of `listen`; no port when it is neither a number nor a range.
    """
    if ports_of(text):
        return "", ports_of(text)
    if text.startswith("["):
        host, _, port = text.partition("]")
        return host[1:], ports_of(port.removeprefix(":") or "80")
    host, _, port = text.partition(":")
    return host, ports_of(port or "80")
