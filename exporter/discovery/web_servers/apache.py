"""
Apache httpd: virtual hosts, with what Debian's `envvars`, `Define` and conditions make of them.
"""

import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from exporter.discovery.web_servers.reading import CRL, NO_NAME, Listen, Reader, Site, missing

_BUILT_IN = frozenset(
    {"core", "http_core", "mod_so", "mod_log_config", "mod_logio", "mod_version", "mod_unixd", "mod_watchdog"}
)
"""Modules that Debian's server has without LoadModule."""


_OTHERS = (
    ("sslproxymachinecertificatefile", "Apache's client", "certificate"),
    ("sslproxymachinecertificatepath", "Apache's client", "certificate"),
    ("mdcertificatefile", "Apache", "certificate"),
    ("sslcarevocationfile", "Apache", CRL),
    ("sslproxycarevocationfile", "Apache", CRL),
)
"""Directives of files that are presented by no address: each with whose they are, and what."""


_TAKEN = frozenset({"sslcertificatefile", *(name for name, _, _ in _OTHERS)})


_KNOWN = re.compile(
    r"sslcertificate(?:key|chain)file|ssl(?:proxy)?cacertificate(?:file|path)"
    r"|sslproxymachinecertificatechainfile|mdcertificate(?:agreement|authority|check|keyfile|protocol|status)"
)
"""Directives of certificates that name only keys, CAs, or what is seen when a server presents it."""


_ANY = frozenset({"*", "_default_"})
"""How `<VirtualHost>` says that it is for all addresses."""


_VARIABLE = re.compile(r"\$\{([^}]+)\}")


@dataclass(slots=True)
class _Host:
    """
    The server itself, or a `<VirtualHost>`: its directives by their names in lower case.
    """

    path: str
    line: int
    addresses: Sequence[str] = ()
    directives: dict[str, list[list[str]]] = field(default_factory=dict)

    def last(self, name: str) -> str:
        """
        Return the first argument of the last such directive; empty when there is none.
        """
        values = self.directives.get(name, [[""]])[-1]
        return values[0] if values else ""


@dataclass(slots=True)
class _Macro:
    """
    A macro of mod_macro: its parameters, and its lines as they are written.
    """

    parameters: Sequence[str]
    lines: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _State:
    """
    The state of a reading, directive by directive: their order counts.
    """

    reader: Reader
    variables: dict[str, str]
    root: str
    server: _Host
    hosts: list[_Host] = field(default_factory=list)
    modules: set[str] = field(default_factory=lambda: set(_BUILT_IN))
    defined: set[str] = field(default_factory=set)
    macros: dict[str, _Macro] = field(default_factory=dict)
    """By their names in lower case."""
    used: list[str] = field(default_factory=list)
    """Macros whose lines are being taken."""
    managed: dict[str, str] = field(default_factory=dict)
    """Names whose certificates mod_md fetches, each with the first of its domain, that of the directory."""
    domain: str = ""
    """The first name of the `<MDomainSet>` that is open."""
    open: list[tuple[str, bool]] = field(default_factory=list)
    """Sections that are open, in lower case, each with whether it counts."""
    host: _Host | None = None
    proxied: Sequence[tuple[str, str]] = ()
    """Addresses at which the PROXY protocol is spoken: it is so for all hosts, whichever of them says it."""
    first: dict[tuple[str, str], _Host] = field(default_factory=dict)
    """By address, the host that has what no host there is named for."""


def sites(path: str, reader: Reader) -> list[Site]:
    """
    Return the virtual hosts of an `apache2.conf` or `httpd.conf`, or of a file that it would include.
    """
    above = [
        one
        for one in Path(path).parents
        if (one / "apache2.conf").is_file() or (one / "httpd.conf").is_file()
    ]
    root = str(above[0] if above else Path(path).parent)
    state = _State(reader, _environment(Path(root) / "envvars", reader), root, _Host(path, 0))
    _read(path, state, ())
    if "listen" not in state.server.directives and not reader.failed:
        words = "it has no `Listen`, so nothing is known to be presented: name the server's main file instead"
        reader.note(words, path)
    everyone = [*state.hosts, state.server]
    saying = [one for one in everyone if one.last("remoteipproxyprotocol").lower() == "on"]
    state.proxied = list(dict.fromkeys(_address(text) for one in saying for text in one.addresses or ["*"]))
    for host in state.hosts:
        for text in host.addresses:
            state.first.setdefault(_address(text), host)
    answer = [site for host in everyone for site in _sites(host, state)]
    others = [one for host in everyone for one in _others(host, state)]
    return [*(one for one in answer if one.certificates or one.listens), *others]


def _environment(path: Path, reader: Reader) -> dict[str, str]:
    """
    Return the variables that Debian's start script exports. No shell runs: plain assignments only.
    """
    text = reader.text(str(path)) if path.is_file() else None
    values = {"SUFFIX": ""}
    for name, value in re.findall(r"^\s*export\s+(\w+)=(\S*)", text or "", re.MULTILINE):
        plain = value.strip("'\"")
        values[name] = re.sub(r"\$\{?(\w+)\}?", lambda one: values.get(one[1], ""), plain)
    return values


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """
    Yield logical lines with the numbers of their first lines.
    """
    begin, parts = 0, ""
    for number, line in enumerate(text.split("\n"), 1):
        begin = begin or number
        parts += line.rstrip("\r")
        if parts.endswith("\\"):
            parts = parts[:-1]
            continue
        yield begin, parts.strip()
        begin, parts = 0, ""
    if parts:
        yield begin, parts.strip()


def _words(text: str) -> list[str]:
    """
    Return the arguments of a directive: words, and quoted texts without their quotes.
    """
    found = re.findall(r"\"((?:[^\"\\]|\\.)*)\"|'((?:[^'\\]|\\.)*)'|(\S+)", text)
    return [two or one or word for two, one, word in found]


def _read(path: str, state: _State, chain: Sequence[str]) -> None:
    text = state.reader.text(path)
    if text is not None:
        _take([(line, raw) for line, raw in _lines(text)], path, state, (*chain, path))


def _take(lines: Sequence[tuple[int, str]], path: str, state: _State, chain: Sequence[str]) -> None:
    """
    Take the logical lines of a file, or of a macro.
    """
    depth = len(state.open)
    macro: _Macro | None = None
    for line, raw in lines:
        if not raw or raw.startswith("#"):
            continue
        if macro is not None:
            if re.fullmatch(r"</\s*macro\s*>", raw, re.IGNORECASE):
                macro = None
            else:
                macro.lines.append(raw)
            continue
        full = _VARIABLE.sub(lambda one: state.variables.get(one[1], one[0]), raw)
        begin = re.fullmatch(r"<\s*macro\s+(.+)>", full, re.IGNORECASE)
        if begin is not None:
            name, *parameters = _words(begin[1])
            macro = _Macro(parameters)
            if all(counts for _, counts in state.open):
                state.macros[name.lower()] = macro
        elif raw.startswith("<"):
            if not _section(full, path, line, state, depth):
                return
        elif all(counts for _, counts in state.open):
            _directive(full, path, line, state, chain)
    if macro is not None or len(state.open) > depth:
        name = "macro" if macro is not None else state.open[-1][0]
        state.reader.fail(f"<{name}> is not closed", path)
        _close(state, depth)


def _use(words: Sequence[str], path: str, line: int, state: _State, chain: Sequence[str]) -> None:
    """
    Take the lines of a macro with the arguments in the places of its parameters.
    """
    name = words[0].lower()
    macro = state.macros.get(name)
    if macro is None or name in state.used:
        why = "is defined nowhere before" if macro is None else "uses itself"
        state.reader.note(f"the macro {words[0]} {why}: passed over", path, line)
        return
    if not state.reader.may_expand(len(macro.lines)):
        return
    given = dict(zip(macro.parameters, words[1:], strict=False))
    # The longest first: `$name` begins `$names`.
    longest = sorted(filter(None, given), key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, longest)) or "(?!)")
    lines = [(line, pattern.sub(lambda one: given[one[0]], raw)) for raw in macro.lines]
    state.used.append(name)
    _take(lines, path, state, chain)
    state.used.pop()


def _section(text: str, path: str, line: int, state: _State, depth: int) -> bool:
    """
    Open or close a section; False, with a fault, for what is no section's beginning or end.
    """
    end = re.fullmatch(r"</\s*(\w+)\s*>", text)
    begin = re.fullmatch(r"<\s*(\w+)\s*(.*)>", text)
    if end is not None and len(state.open) > depth and state.open[-1][0] == end[1].lower():
        _close(state, len(state.open) - 1)
        return True
    if end is not None or begin is None:
        state.reader.fail(f"syntax error at {text[:40]!r}: the rest of the file was passed over", path, line)
        _close(state, depth)
        return False
    name, arguments = begin[1].lower(), begin[2].strip()
    counts = all(one for _, one in state.open) and _holds(name, arguments, state)
    state.open.append((name, counts))
    if name == "virtualhost" and counts:
        state.host = _Host(path, line, _words(arguments))
        state.hosts.append(state.host)
    return True


def _close(state: _State, depth: int) -> None:
    while len(state.open) > depth:
        name, _ = state.open.pop()
        if name == "virtualhost":
            state.host = None


def _holds(name: str, arguments: str, state: _State) -> bool:
    """
    Return whether the content of a section counts for what a site presents.
    """
    negated, argument = arguments.startswith("!"), arguments.removeprefix("!").strip('" ')
    if name == "ifdefine":
        return (argument in state.defined) != negated
    if name == "ifmodule":
        module = argument.removesuffix(".c")
        return (module in state.modules or argument in state.modules) != negated
    if name == "iffile":
        return Path(state.root, argument).exists() != negated
    if name in {"mdomain", "mdomainset"}:
        state.domain = next(iter(_words(arguments)), "").lower()
        _manage(_words(arguments), state.domain, state)
    # Others hold for some requests only: a certificate is chosen before.
    return name in {"virtualhost", "ifversion", "mdomain", "mdomainset", "proxy", "proxymatch"}


def _directive(text: str, path: str, line: int, state: _State, chain: Sequence[str]) -> None:
    name, *rest = _words(text) or [""]
    name = name.lower()
    if name == "serverroot" and rest:
        state.root = rest[0]
    elif name == "define" and rest:
        state.defined.add(rest[0])
        state.variables[rest[0]] = rest[1] if len(rest) > 1 else ""
    elif name == "undefine" and rest:
        state.defined.discard(rest[0])
        state.variables.pop(rest[0], None)
    elif name == "use" and rest:
        _use(rest, path, line, state, chain)
    elif name == "mdomain" and rest:
        _manage(rest, rest[0].lower(), state)
    elif name == "mdmember":
        _manage(rest, state.domain, state)
    elif name == "loadmodule" and len(rest) > 1:
        state.modules |= {rest[0], f"mod_{rest[0].removesuffix('_module')}"}
    elif name in {"include", "includeoptional"} and rest:
        for pattern in rest:
            whole = os.path.join(state.root, pattern)  # noqa: PTH118
            if name == "include" or glob.has_magic(whole) or not missing(whole):
                _include(whole, path, line, state, chain)
    else:
        if "certificate" in name and name not in _TAKEN and not _KNOWN.fullmatch(name):
            state.reader.unknown(_words(text)[0], path, line)
        host = state.host or state.server
        host.directives.setdefault(name, []).append(rest)


def _manage(names: Sequence[str], domain: str, state: _State) -> None:
    for one in names:
        state.managed.setdefault(one.lower(), domain)


def _include(pattern: str, path: str, line: int, state: _State, chain: Sequence[str]) -> None:
    """
    Read the files that match, and all that is below directories that do.
    """
    for one in state.reader.included(pattern, chain, (path, line)):
        if os.path.isdir(one):  # noqa: PTH112 - no error where it may not be known
            _include(os.path.join(glob.escape(one), "*"), path, line, state, (*chain, one))  # noqa: PTH118
        else:
            _read(one, state, chain)


def _sites(host: _Host, state: _State) -> Iterator[Site]:
    """
    Yield the site of a host. Without a name it has that of the server, and the first one any.
    """
    site = _site(host, state)
    if site.names or not site.listens or host is state.server:
        yield site
        return
    yield replace(site, listens=list(_listens(host, state, first=True)))
    others = list(_listens(host, state, first=False))
    if others and (name := _name_of(state.server)):
        yield replace(site, names=[name], listens=others)
    elif others:
        state.reader.note(f"{site.where}: {NO_NAME}")


def _name_of(host: _Host) -> str:
    """
    Return the ServerName of a host, without scheme and port; empty when there is none.
    """
    name = host.last("servername")
    return re.sub(r":[0-9]+$", "", name.partition("://")[2] or name)


def _site(host: _Host, state: _State) -> Site:
    where = f"Apache, {host.path}, line {host.line}" if host.line else f"Apache, {host.path}"
    own, server = host.directives, state.server
    given = own.get("sslcertificatefile") or server.directives.get("sslcertificatefile", [])
    certificates = [words[0] for words in given if words]
    for unknown in [one for one in certificates if "${" in one or one.startswith("pkcs11:")]:
        token = unknown.startswith("pkcs11:")
        why = "is in a token, and no file" if token else "has a variable that is defined nowhere"
        state.reader.note(f"{unknown} {why}", host.path, host.line)
        certificates.remove(unknown)
    names = [name for name in [_name_of(host)] if name]
    names += [name for words in own.get("serveralias", []) for name in words]
    managed = next((one for name in names if (one := state.managed.get(name.lower()))), "")
    if managed and "sslcertificatefile" not in own:
        given, certificates = [[managed]], _fetched(managed, state)
    if not given:
        return Site(where)
    paths = [os.path.join(state.root, one) for one in certificates]  # noqa: PTH118
    engine = (host.last("sslengine") or server.last("sslengine")).lower()
    if engine not in {"on", "optional"}:
        return Site(where, paths if "sslcertificatefile" in own else ())
    return Site(where, paths, names, list(_listens(host, state)))


def _others(host: _Host, state: _State) -> Iterator[Site]:
    """
    Yield the files of a host that it shows to servers behind it, those for a domain of mod_md, and the lists
    of what is revoked.
    """
    place = f"{host.path}, line {host.line}" if host.line else host.path
    for name, who, kind in _OTHERS:
        given = [words[0] for words in host.directives.get(name, []) if words]
        paths = [os.path.join(state.root, one) for one in given if "${" not in one]  # noqa: PTH118
        if name.endswith("path"):
            paths = [inner for one in paths for inner in sorted(glob.glob(f"{glob.escape(one)}/*"))]  # noqa: PTH207
        if paths:
            yield Site(f"{who}, {place}", paths, kind=kind)


def _fetched(name: str, state: _State) -> list[str]:
    """
    Return the certificates of mod_md's store for a domain, one for each kind of key.
    """
    store = os.path.join(state.root, state.server.last("mdstoredir") or "md")  # noqa: PTH118
    return sorted(glob.glob(f"{glob.escape(store)}/domains/{glob.escape(name)}/pubcert*.pem"))  # noqa: PTH207


def _listens(host: _Host, state: _State, *, first: bool | None = None) -> Iterator[Listen]:
    """
    Yield the addresses of `Listen` that belong to a virtual host; to the server itself those at which no
    virtual host has every connection. `first`: only those at which it is the first host, or is not.
    """
    opened = [_address(words[0]) for words in state.server.directives.get("listen", []) if words]
    taken: set[str] = set()
    if host is state.server:
        hosts = [_address(one) for other in state.hosts for one in other.addresses]
        taken = {port for address, port in hosts if address in _ANY}
    addresses = [_address(one) for one in host.addresses]
    if first is not None:
        addresses = [one for one in addresses if (state.first[one] is host) is first]
    elif not addresses:
        addresses = [("*", "")]
    for own, port in addresses:
        for listened, number in opened:
            if port not in {"", "*", number} or not number.isdecimal() or not 0 < int(number) < 65536:
                continue
            if taken & {"", "*", number}:
                continue
            proxied = any(
                at in {"", "*", number} and (address in _ANY or address == own)
                for address, at in state.proxied
            )
            if own in _ANY:
                yield Listen("https", listened, int(number), proxied, rest=True)
            elif listened in {"", "*", "0.0.0.0", "::", own}:  # noqa: S104 - read, not bound
                yield Listen("https", own, int(number), proxied)


def _address(text: str) -> tuple[str, str]:
    """
    Return host and port; an empty host of a port alone, an empty port of a host alone.
    """
    if text.isdecimal():
        return "", text
    found = re.fullmatch(r"(?:\[([^\]]*)\]|([^:]*))(?::(.*))?", text)
    return (found[1] or found[2], found[3] or "") if found is not None else (text, "")
