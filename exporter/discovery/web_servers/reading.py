"""
The base of the readers of all servers: it reads files within bounds, and makes targets of sites.
"""

import glob
import ipaddress
import os
import re
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain as chained
from itertools import islice

from exporter.discovery.base import Found, file_url
from exporter.discovery.names import below_wildcards, host_name, hosts
from exporter.model.errors import ProbeError
from exporter.model.foreign_text import clean
from exporter.model.hosts import join_host_port
from exporter.model.observation import Certificate
from exporter.net.regular_files import read, unreadable
from exporter.pki.certificates import parse_pem

FILE_LIMIT = 4 * 1024 * 1024
"""Bytes of one configuration file."""


TOTAL_LIMIT = 128 * 1024 * 1024
"""Bytes of all configuration files of one run."""


FILES_LIMIT = 20_000
"""Configuration files of one run."""


DEPTH_LIMIT = 20
"""Files that include each other, from the first to the last."""


EXPANDED_LIMIT = 500_000
"""Lines that the snippets and macros of one run may make: a few that use each other make any number."""


MOST_REPEATED = 3
"""Repetitions in a regular expression that is tried: with each more, it may take 250 times as long."""


NOTES_LIMIT = 500


TARGETS_LIMIT = 100_000


NO_NAME = "it has no name, and another site is the default at its address: what it presents is not looked at"


CRL = "list of what is revoked"
"""Another kind of file that ends: then clients with certificates are not let in."""


@dataclass(frozen=True, slots=True)
class Listen:
    """
    One address on which a server speaks TLS.
    """

    scheme: str
    host: str
    """An address; empty or a wildcard: all addresses of the host, so that loopback reaches it."""
    port: int
    proxy_protocol: bool = False
    rest: bool = False
    """True: of this address it has only what no site that names an address has, as of all addresses."""

    @property
    def reached_at(self) -> str:
        """
        The address at which this host reaches it.
        """
        host = self.host.strip("[]")
        if host in {"", "*", "0.0.0.0", "_default_", "localhost"}:  # noqa: S104 - read, not bound
            return "127.0.0.1"
        return "::1" if host == "::" else host

    @property
    def is_rest(self) -> bool:
        """
        True if a site that names the address at which this is reached has it instead.
        """
        return self.rest or self.host.strip("[]") in {"", "*", "0.0.0.0", "::", "_default_"}  # noqa: S104

    @property
    def socket(self) -> tuple[bool, str, int]:
        """
        The place at which it is reached: True for UDP, address and port.
        """
        return self.scheme == "h3", self.reached_at, self.port


@dataclass(frozen=True, slots=True)
class Site:
    """
    Certificates that a server presents for these names on these addresses.
    """

    where: str
    """`nginx, /etc/nginx/sites-enabled/www, line 12`."""
    certificates: Sequence[str] = ()
    """Paths; none when the server gets its certificates elsewhere."""
    names: Sequence[str] = ()
    """
    As configured. Those that are no host name are passed over; if none is left, one of the certificates' is
    used. With `*.example.com`, `www.example.*` or `~` and a regular expression it has to fit that, and with
    `!www.example.com` not to be that; with `*` or an empty one it is any.
    """
    listens: Sequence[Listen] = ()
    kind: str = "certificate"
    """What the files are, for a person."""


@dataclass(slots=True)
class Reader:
    """
    Reads the files of one run, counts them, and takes notes.
    """

    notes: dict[str, None] = field(default_factory=dict)
    faults: dict[str, None] = field(default_factory=dict)
    """Why a part of the configuration is not known, which is no sign that it is gone."""
    failed: bool = False
    """True if there was a fault; set back by who wants to know of the next part."""
    files: int = 0
    size: int = 0
    expanded: int = 0
    """Lines that came from snippets and macros."""

    def note(self, words: str, path: str = "", line: int = 0) -> None:
        """
        Note what was passed over, with its place.
        """
        if len(self.notes) < NOTES_LIMIT:
            self.notes[_placed(words, path, line)] = None

    def unknown(self, directive: str, path: str, line: int) -> None:
        """
        Note a directive that by its name has to do with certificates, and that no reader knows.
        """
        self.note(f"{directive} is not understood: what it may name is not looked at", path, line)

    def fail(self, words: str, path: str = "", line: int = 0) -> None:
        """
        Tell why a part of the configuration is not known, with its place.
        """
        self.failed = True
        if len(self.faults) < NOTES_LIMIT:
            self.faults[_placed(words, path, line)] = None

    def text(self, path: str) -> str | None:
        """
        Return a configuration file's text; None, and a fault, when it can't be read.
        """
        if self.files >= FILES_LIMIT or self.size >= TOTAL_LIMIT:
            self.fail(
                f"no more files are read: the most are {FILES_LIMIT:,} files or {TOTAL_LIMIT:,} bytes "
                "of configuration"
            )
            return None
        self.files += 1
        try:
            data, _ = read(path, FILE_LIMIT)
        except ProbeError as error:
            self.fail(error.detail)
            return None
        self.size += len(data)
        if b"\0" in data:
            self.fail("this is not a text: it was passed over", path)
            return None
        return data.decode("utf-8", "surrogateescape").removeprefix("\ufeff")

    def may_expand(self, lines: int) -> bool:
        """
        Count the lines that a snippet or macro makes here; False, with a fault, when they are too many.
        """
        self.expanded += lines
        if self.expanded > EXPANDED_LIMIT:
            self.fail(f"snippets or macros make more than {EXPANDED_LIMIT:,} lines: the rest was passed over")
            return False
        return True

    def matching(self, pattern: str) -> list[str] | None:
        """
        Return the paths that a path or pattern means, in the order of their names; None, and a fault, when
        they can't be listed: no match would mean that they are gone.
        """
        if not glob.has_magic(pattern):
            return [pattern]
        parts = pattern.split("/")
        magic = next(number for number, part in enumerate(parts) if glob.has_magic(part))
        directory = "/".join(parts[:magic]) or "/"
        try:
            os.scandir(directory).close()
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            self.fail(unreadable(directory, error).detail)
            return None
        return sorted(glob.glob(pattern))  # noqa: PTH207 - absolute texts

    def included(self, pattern: str, chain: Sequence[str], place: tuple[str, int]) -> Iterator[str]:
        """
        Yield the files that a pattern means, in the order of their names, without those that are being read.

        `chain` has the files that include each other, up to the one that includes now.
        """
        if len(chain) >= DEPTH_LIMIT:
            self.fail(f"{DEPTH_LIMIT} files include each other: {pattern} was passed over", *place)
            return
        for path in self.matching(pattern) or ():
            if os.path.realpath(path) in map(os.path.realpath, chain):
                self.note(f"{path} includes itself: it was passed over here", *place)
            else:
                yield path

    def leaves(self, path: str) -> list[Certificate]:
        """
        Return the first certificate of a PEM file, if it has one. Nothing else of the file is looked at.
        """
        try:
            data, _ = read(path, FILE_LIMIT)
        except ProbeError:
            return []
        first = next((one for one in parse_pem(data) if isinstance(one, Certificate)), None)
        return [first] if first is not None else []


def missing(path: str) -> bool:
    """
    Return whether nothing is there; False also where that may not be known, since reading it then says why.
    """
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def ports_of(text: str) -> range:
    """
    Return the ports that `443` or `8443-8445` means; none for what is neither.
    """
    first, hyphen, last = text.partition("-")
    last = last if hyphen else first
    if not (first.isdecimal() and last.isdecimal()) or len(first + last) > 10:
        return range(0)
    return range(int(first), int(last) + 1) if int(first) > 0 and int(last) < 65536 else range(0)


def _placed(words: str, path: str, line: int) -> str:
    place = f"{path}, line {line}: " if line else f"{path}: " if path else ""
    return clean(place + words, 1000)


def certificate_names(leaves: Sequence[Certificate]) -> list[str]:
    """
    Return the host names of certificates, without wildcards and what is none.
    """
    return [name for leaf in leaves for name in hosts(leaf.dns_names)]


def _fits(name: str, patterns: Sequence[str]) -> bool:
    """
    Return whether the patterns select a name. All servers let a wildcard stand for one label at least.
    """
    if f"!{name}" in patterns:
        return False
    return f"*.{name.partition('.')[2]}" in patterns or any(
        name.startswith(one[:-1]) if one.endswith(".*") else one[:1] == "~" and _matches(one[1:], name)
        for one in patterns
    )


def _matches(expression: str, name: str) -> bool:
    """
    Return whether a regular expression of a server selects a name; False if it is not understood, or may
    take for ever.
    """
    if re.search(r"\)[*+{]", expression) or len(re.findall(r"[*+{]", expression)) > MOST_REPEATED:
        return False
    try:
        # Groups that have a name are written so in PCRE too.
        return re.search(re.sub(r"\(\?<(?=\w)", "(?P<", expression), name, re.IGNORECASE) is not None
    except re.error:
        return False


def found(sites: Sequence[Site], reader: Reader) -> Iterator[Found]:
    """
    Yield the targets of all sites.
    """
    configured = {name for site in sites for one in site.names if (name := host_name(one))}
    named = {one.socket for site in sites for one in site.listens if not one.is_rest}
    targets: dict[tuple[str, str], Found] = {}
    presented: dict[tuple[str, str], list[str]] = {}
    for site in sites:
        for one in _files(site):
            targets.setdefault((one.url, ""), one)
        for one in _wires(site, configured, named, reader):
            key = one.url, one.name
            targets.setdefault(key, one)
            presented.setdefault(key, []).extend(site.certificates)
    for key, one in targets.items():
        quic = one.url.startswith("h3:")
        both = not quic and _both_keys(presented.get(key, ()), reader)
        yield replace(one, settings={**one.settings, "keys": "both"}) if both else one


def _files(site: Site) -> Iterator[Found]:
    for path in site.certificates:
        yield Found(
            file_url(os.path.normpath(path)),
            f"{site.kind} of {site.where}",
        )


def _both_keys(paths: Iterable[str], reader: Reader) -> bool:
    """
    Return whether these certificates have both types of key: most clients get one of them only.
    """
    given = dict.fromkeys(paths)
    return len(given) > 1 and {"rsa", "ecdsa"} <= {
        leaf.key_algorithm for path in given for leaf in reader.leaves(path)
    }


def _reached(site: Site, named: Container[tuple[bool, str, int]], reader: Reader) -> Iterator[Listen]:
    """
    Yield the addresses at which a site is reached from here. `named` are those that any site names: there
    nothing is presented of a site for all addresses.
    """
    own = {one.socket for one in site.listens if not one.is_rest}
    for one in site.listens:
        if one.is_rest and one.socket in named and one.socket not in own:
            place = join_host_port(one.reached_at, one.port)
            reader.note(f"{site.where}: at {place} another site is presented instead")
        else:
            yield one


def _wires(
    site: Site, configured: Container[str], named: Container[tuple[bool, str, int]], reader: Reader
) -> Iterator[Found]:
    listens = list(_reached(site, named, reader))
    names = [name for name in map(host_name, site.names) if name]
    if not names and listens:
        leaves = [leaf for path in site.certificates for leaf in reader.leaves(path)]
        patterns = [one for one in site.names if one[:1] in "*!~" or one.endswith(".*")]
        if {"", "_", "*"} & set(site.names):
            patterns = []
        presented = [name for leaf in leaves for name in leaf.dns_names]
        # Below a wildcard none that has a site of its own.
        below = (one for one in below_wildcards(presented) if one not in configured)
        candidates = chained(certificate_names(leaves), below)
        names = list(islice((one for one in candidates if not patterns or _fits(one, patterns)), 1))
        if not names:
            kind = "pattern" if any(one.startswith("~") for one in patterns) else "wildcard"
            why = (
                f"{', '.join(patterns)} is a {kind}, and its certificate has no name that fits it"
                if patterns
                else "it has no name that can be asked for, nor has its certificate, or that can't be read"
            )
            reader.note(
                f"{site.where}: {why}, so what it presents is not looked at: the source `listening` does"
            )
    four = {(one.scheme, one.port) for one in listens if one.reached_at == "127.0.0.1"}
    for listen in listens:
        host = listen.reached_at
        if host == "::1" and (listen.scheme, listen.port) in four:
            continue  # the same server
        try:
            ipaddress.ip_address(host)
        except ValueError:
            reader.note(f"{site.where}: {host!r} is no address, so it is not looked at")
            continue
        authority = join_host_port(host, listen.port)
        for name in dict.fromkeys(names):
            settings = {"server_name": name} | ({"proxy_protocol": "v1"} if listen.proxy_protocol else {})
            yield Found(
                f"{listen.scheme}://{authority}",
                f"name in {site.where}",
                f"{name} on {authority}",
                settings=settings,
            )
