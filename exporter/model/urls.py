"""
Target URLs: schemes, hosts, ports and paths, each fault with a message.
"""

import difflib
import re
from dataclasses import dataclass
from enum import Enum
from urllib.parse import unquote, urlsplit

from exporter.model.hosts import IPAddress, TargetError, is_network, join_host_port, normal_host, parse_ip
from exporter.model.paths import is_path, is_windows_path, whole_path
from exporter.model.probers import (
    DNS,
    DOMAIN,
    DTLS,
    FILE,
    HTTP_DOCUMENT,
    HTTPS_DOCUMENT,
    KUBERNETES,
    QUIC,
    WIRE,
    Prober,
)
from exporter.model.suggestions import OTHER_NAMES, closest
from exporter.passwords import shown


class Form(Enum):
    """
    The form of a URL, by its scheme.
    """

    HOST = "scheme://host:port"
    WEB = "scheme://host:port/path?query"
    NAME = "scheme:name"
    PATH = "scheme:///path"
    RESOURCE = "scheme://path"
    """A path that does not begin at the root: names between slashes."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """
    One scheme: the prober of its targets, and the rules for the URL behind it.
    """

    prober: Prober
    default_port: int | None = None
    """The port when the URL names none; None: it must name one."""
    form: Form = Form.HOST
    alpn: str = ""
    """
    The protocol that a handshake offers (RFC 7301); empty: none.

    Where one port serves several protocols, it decides who answers, with which certificate. It is left out of
    protocols whose servers do the same without it.
    """
    dialogue: bool = False
    """TLS begins after a dialogue, in which some servers keep strangers waiting on purpose."""


SCHEMES: dict[str, Scheme] = {
    "https": Scheme(WIRE, 443),
    "tls": Scheme(WIRE),
    "dtls": Scheme(DTLS),
    "smtp": Scheme(WIRE, 25, dialogue=True),
    "submission": Scheme(WIRE, 587, dialogue=True),
    "smtps": Scheme(WIRE, 465),
    "lmtp": Scheme(WIRE, 24, dialogue=True),
    "imap": Scheme(WIRE, 143, dialogue=True),
    "imaps": Scheme(WIRE, 993),
    "pop3": Scheme(WIRE, 110, dialogue=True),
    "pop3s": Scheme(WIRE, 995),
    "sieve": Scheme(WIRE, 4190, dialogue=True),
    "ftp": Scheme(WIRE, 21, dialogue=True),
    "ftps": Scheme(WIRE, 990),
    "ldap": Scheme(WIRE, 389, dialogue=True),
    "ldaps": Scheme(WIRE, 636),
    "xmpp": Scheme(WIRE, 5222, dialogue=True),
    # XEP-0368 section 3: a server may share port 443 with a web server.
    "xmpps": Scheme(WIRE, 5223, alpn="xmpp-client"),
    "xmpp-server": Scheme(WIRE, 5269, dialogue=True),
    "xmpps-server": Scheme(WIRE, 5270, alpn="xmpp-server"),
    "postgres": Scheme(WIRE, 5432, dialogue=True),
    "mysql": Scheme(WIRE, 3306, dialogue=True),
    "mssql": Scheme(WIRE, 1433, dialogue=True),
    # TDS 8, which drivers call `Encrypt=strict`.
    "mssqls": Scheme(WIRE, 1433, alpn="tds/8.0"),
    "rediss": Scheme(WIRE, 6379),
    "mongodb": Scheme(WIRE, 27017),
    "amqps": Scheme(WIRE, 5671),
    "nntp": Scheme(WIRE, 119, dialogue=True),
    "nntps": Scheme(WIRE, 563),
    "irc": Scheme(WIRE, 6667, dialogue=True),
    "ircs": Scheme(WIRE, 6697),
    "rdp": Scheme(WIRE, 3389, dialogue=True),
    # Servers with DNS over HTTPS on the same port tell the two apart by it; zone transfers need it (RFC 9103
    # section 7.1).
    "dot": Scheme(WIRE, 853, alpn="dot"),
    "quic": Scheme(QUIC, 443),
    "h3": Scheme(QUIC, 443),
    "domain": Scheme(DOMAIN, form=Form.NAME),
    "dns": Scheme(DNS, form=Form.NAME),
    "file": Scheme(FILE, form=Form.PATH),
    "pem+https": Scheme(HTTPS_DOCUMENT, 443, form=Form.WEB),
    "pem+http": Scheme(HTTP_DOCUMENT, 80, form=Form.WEB),
    "jwks+https": Scheme(HTTPS_DOCUMENT, 443, form=Form.WEB),
    "kubernetes": Scheme(KUBERNETES, form=Form.RESOURCE),
}
"""Schemes that can be probed."""


ALL_SCHEMES = "`expiry-exporter check --help` lists every scheme"
"""Where a person finds every scheme, for messages: they are too many for one."""


_BRACKETS = re.compile(r"\[[^\[\]]+\](:[0-9]*)?")


@dataclass(frozen=True, slots=True)
class Url:
    """
    A target's URL in its parts.
    """

    text: str
    """The user's own spelling, stripped."""
    scheme: str
    host: str = ""
    """Lower-case A-labels, or an IP address without brackets; empty where the scheme has none."""
    port: int = 0
    """0 where the scheme has none."""
    ip: IPAddress | None = None
    """The host as an address; None when it is a name."""
    path: str = ""
    """The path behind the host, with the query; of a file, its whole path or pattern, percent-decoded."""

    @property
    def authority(self) -> str:
        """
        The place in its shortest form: `host:port` (an IPv6 address in brackets), a name, or a path.
        """
        if self.port:
            return join_host_port(self.host, self.port)
        return self.host or self.path

    @property
    def shown(self) -> str:
        """
        The user's own spelling without the query of a document, which may be a secret.
        """
        if SCHEMES[self.scheme].form is not Form.WEB:
            return self.text
        before, question, _ = self.text.partition("?")
        return f"{before}?..." if question else before

    @property
    def normal(self) -> str:
        """
        The URL in the one form that patterns are compared with, whatever its spelling was.
        """
        if self.host and not self.port:
            return f"{self.scheme}:{self.host}"
        return f"{self.scheme}://{self.authority if self.port else ''}{self.path}"

    @property
    def shortest(self) -> str:
        """
        The normal form without a port that is the usual one of the scheme.
        """
        if self.port and self.port == SCHEMES[self.scheme].default_port:
            return f"{self.scheme}://{self.authority.removesuffix(f':{self.port}')}{self.path}"
        return self.normal


_AROUND = (
    "'\"`<>()\N{LEFT SINGLE QUOTATION MARK}\N{RIGHT SINGLE QUOTATION MARK}"
    "\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}\N{DOUBLE LOW-9 QUOTATION MARK}"
)
"""What texts, lists and shells put around a URL."""


_DOCUMENTS = "|".join(re.escape(name) for name, one in SCHEMES.items() if one.form is Form.WEB)


_MAY_HAVE_AT = re.compile(rf"file:/(?!/[^/])|(({_DOCUMENTS})://[^@%/]+/|kubernetes://)[^@]*$", re.IGNORECASE)
"""
What is the path of a file, without a host before it, or has an encoded '@' in the path of a document or in
the context of a kubeconfig.
"""


def refuse_user(text: str) -> None:
    """
    Raise TargetError for a text that is meant as a URL and may have a user or a password in it.

    Before anything else, because all other messages show the text.
    """
    if re.search("@|%40", text) and not _MAY_HAVE_AT.match(text):
        raise TargetError("a target's URL must not contain a user name or a password, so no '@'")


def parse_url(text: str) -> Url:
    """
    Parse a target's URL. Raises TargetError with a message for the person who wrote it.
    """
    text = text.strip()
    refuse_user(text)
    # urlsplit would drop tabs and line ends without a word.
    may_have_blanks = text.lower().startswith("file:") or is_windows_path(text)
    if not text.isprintable() or (" " in text and not may_have_blanks):
        raise TargetError(
            f"{shown(text)} is not a URL: it has a space or an unprintable character in it{_inside(text)}"
        )
    if text[:1] in _AROUND and (inner := text.strip(_AROUND)):
        raise TargetError(f"{shown(text)} is not a URL: quotes and brackets are around it, write {inner}")
    if (inner := text.rstrip(",;")) != text and "://" in text and not {",", "*"} & {*inner}:
        raise TargetError(f"{shown(text)} is not a URL: a {text[-1]!r} is behind it, write {inner}")
    scheme, separator, rest = text.partition(":")
    scheme = scheme.lower()
    if not separator or not scheme or (scheme not in SCHEMES and not rest.startswith("//")):
        if is_network(text):
            search = f"expiry-exporter discover 'networks: {{cidr: [{text}]}}'"
            raise TargetError(f"{shown(text)} is a network: `{search}` tries each address of it")
        raise TargetError(f"{shown(text)} has no scheme: {_with_scheme(text)} {ALL_SCHEMES}")
    if scheme not in SCHEMES:
        raise TargetError(f"scheme {scheme!r} is not known: {closest_scheme(scheme)}")
    form = SCHEMES[scheme].form
    if form is Form.NAME:
        return Url(text, scheme, _name(rest, scheme))
    if not rest.startswith("//"):
        if form is Form.PATH:
            raise TargetError(f"{shown(text)} is not a URL: {whole_path(rest.lstrip(':'))}")
        place = rest.lstrip(":/\\")
        write = f"write {_with_place(scheme, place)}" if place else "nothing is behind its scheme"
        raise TargetError(f"{shown(text)} is not a URL: {write}")
    if form is Form.PATH:
        return Url(text, scheme, path=_path(rest[2:], scheme))
    if form is Form.RESOURCE:
        return Url(text, scheme, path=_resource(rest[2:], scheme))
    return _network_url(text, scheme)


def _inside(text: str) -> str:
    """
    Return advice for a text of several words: URLs, or what ends with one, such as a command; else empty.
    """
    if len(re.findall(r"(?:^|[^!-~])[a-z0-9+]+://", text, re.IGNORECASE)) > 1:
        return ", write each target by itself"
    found = re.search(r"(?:^|[^!-~])([a-z0-9+]+)://([!-~]+)[^!-~]*$", text, re.IGNORECASE)
    return f", write {found[1].lower()}://{found[2]}" if found and found[1].lower() in SCHEMES else ""


def second_scheme(rest: str) -> str | None:
    """
    Return the URL of the host where one with a scheme follows `scheme://`, as a host is pasted behind that;
    else None.
    """
    found = re.match(r"([a-z0-9+-]+):?//+([^/?#]+)", rest, re.IGNORECASE)
    word = found[1].lower() if found is not None else ""
    word = OTHER_NAMES.get(word, word)
    return f"{word}://{found[2]}" if found is not None and word in SCHEMES else None


def closest_scheme(unknown: str) -> str:
    """
    Return the end of a message about an unknown scheme: the closest one, and where all are listed.
    """
    word = unknown.removesuffix("+starttls")
    return closest(OTHER_NAMES.get(word, word), SCHEMES, listed=ALL_SCHEMES)


def _with_scheme(text: str) -> str:
    """
    Return advice for a text that has no scheme, or a misspelt one.
    """
    before, slashes, rest = text.partition("//")
    # What stands there in its place is next to it on a keyboard.
    scheme = before.lower().rstrip(";.,'")
    scheme = OTHER_NAMES.get(scheme, scheme)
    if slashes and scheme in SCHEMES:
        is_file = SCHEMES[scheme].form is Form.PATH
        write = whole_path(rest, in_url=True) if is_file else f"write {_with_place(scheme, rest)}"
        return f"a colon is missing, {write}."
    name, colon, rest = text.partition(":")
    inner, separator, place = rest.partition("://")
    word = OTHER_NAMES.get(inner.lower(), inner.lower())
    if separator and word != inner.lower():
        return f"write {word}://{place.partition('/')[0]}."
    inner, separator, _ = rest.partition(":")
    # As `url:https://…` stands in a list of a configuration, where YAML wants the space.
    key = " (where `url` is a key, a space is missing behind its colon)" if name == "url" else ""
    if separator and inner.lower() in SCHEMES:
        return f"write {rest}{key}."
    if not separator and word in SCHEMES and SCHEMES[word].form is Form.HOST and url_of_host(name):
        return f"write {word}://{name}{_port_to_add(f'{word}://{name}')}."
    if key and (host := url_of_host(rest.partition("/")[0])) is not None:
        return f"write {host}{_port_to_add(host)}, or another scheme{key}."
    other = OTHER_NAMES.get(name.lower(), "") if colon else ""
    if other and url_of_host(rest.partition("/")[0]) is not None:
        return f"write {_with_place(other, rest)}."
    near = difflib.get_close_matches(name.lower(), SCHEMES, n=1, cutoff=0.8) if colon else []
    if near and SCHEMES[near[0]].form is Form.NAME:
        return f"did you mean {near[0]}:{rest}?"
    if near and SCHEMES[near[0]].form is Form.PATH:
        return f"{whole_path(rest, in_url=True)}."
    if near:
        return f"did you mean {near[0]}://{rest.lstrip('/')}?"
    place, slash, _ = text.removeprefix(":").lstrip("/").partition("/")
    if is_path(text) or is_windows_path(text) or (slash and re.fullmatch(r"(?!localhost$)[\w-]+", place)):
        return f"{whole_path(text)}."
    host = url_of_host(place)
    if host is None:
        # A scheme would not help what has dots.
        if place.isdecimal():
            return "a port stands behind its host, as in www.example.com:8443."
        name = place.partition(":")[0]
        if re.search(r"[\[\]]", place) or (name != place and "." in name and url_of_host(name)):
            return f"{_port_fault(f'https://{place}')}."
        bad = _no_host(place) or ("." in place and f"{place!r} is not a host name.")
        return bad or "a URL begins with one, such as https://www.example.com."
    return f"write {host}{_port_to_add(host)}, or another scheme."


def _with_place(scheme: str, rest: str) -> str:
    """
    Return the URL of a scheme and what was written behind its slashes.
    """
    if SCHEMES[scheme].form is not Form.HOST:
        return f"{scheme}:{'' if SCHEMES[scheme].form is Form.NAME else '//'}{rest}"
    url = f"{scheme}://{re.split('[/?#]', rest, maxsplit=1)[0]}"
    return url + _port_to_add(url)


def _no_host(place: str) -> str:
    """
    Return advice for what is no host, if it is a kind of mistake; else empty.
    """
    if "*" in place:
        return "a pattern is no host, name each host (`expiry-exporter discover` finds some)."
    return "write each target by itself." if "," in place else ""


def _port_to_add(url: str) -> str:
    """
    Return what a URL lacks whose scheme has no usual port.
    """
    scheme, _, place = url.partition("://")
    return "" if SCHEMES[scheme].default_port or re.search(r":[0-9]+$", place) else ":PORT"


def url_of_host(text: str) -> str | None:
    """
    Return the URL of `host` or `host:port`, as people write them; None when it is neither.

    The scheme is the one whose usual port that is, and `tls` of any other port.
    """
    if (ip := parse_ip(text)) is not None:
        return f"https://[{ip}]" if ip.version == 6 else f"https://{ip}"
    host, port = re.fullmatch(r"(.*?)(?::([0-9]+))?", text, re.DOTALL).groups()  # type: ignore[union-attr]
    try:
        normal_host(host[1:-1] if _BRACKETS.fullmatch(host) else host)
    except TargetError:
        return None
    usual = (
        name
        for name, one in SCHEMES.items()
        if one.form is Form.HOST and one.default_port == int(port or 443)
    )
    scheme = next(usual, None)
    return f"{scheme}://{host}" if scheme is not None else f"tls://{text}"


def _name(rest: str, scheme: str) -> str:
    """
    Parse the domain name of `scheme:name`. Raises TargetError.
    """
    bare = rest.removeprefix("//")
    # RFC 4501 section 4 has a name server between slashes, and the name behind them.
    place = re.split("[/:?#]" if "://" in bare else "[:?#]", bare.rpartition("://")[2], maxsplit=1)[0]
    if place != bare and url_of_host(place) is not None:
        raise TargetError(f"{scheme}: takes a name alone: write {scheme}:{place}")
    host = normal_host(bare)
    if parse_ip(host) is not None:
        raise TargetError(f"{scheme}: takes a domain name, not an address: {host}")
    return host


def _path(rest: str, scheme: str) -> str:
    """
    Parse the path of `scheme:///path`, percent-decoded. Raises TargetError.
    """
    path = unquote(rest, errors="surrogateescape")
    if not path.startswith("/"):
        raise TargetError(
            f"{scheme}:// takes a whole path, which begins with a third slash: "
            f"{whole_path(rest, in_url=True)}"
        )
    if "\0" in path:
        raise TargetError("a path can't hold a NUL")
    return path


_OBJECT_NAME = re.compile(r"[a-z0-9.*?\[\]!-]{1,253}")


def _resource(rest: str, scheme: str) -> str:
    """
    Parse `[context/]namespace/name`, each of the two a name or a pattern, as written. Raises TargetError.
    """
    *_, namespace, name = ("", "", *rest.split("/"))
    if not _OBJECT_NAME.fullmatch(namespace) or not _OBJECT_NAME.fullmatch(name):
        raise TargetError(
            f"{scheme}://{rest} is not {scheme}://[CONTEXT/]NAMESPACE/NAME: "
            "namespace and name are lower-case, and may be patterns (*/*, prod/tls-*)"
        )
    return rest


def _network_url(text: str, scheme: str) -> Url:
    """
    Parse a URL with a host. Raises TargetError.
    """
    rest = text.partition("//")[2]
    if (other := second_scheme(rest)) is not None:
        raise TargetError(f"{shown(text)} is not a URL: it has two schemes, write {other}")
    place = re.split("[/?#]", rest, maxsplit=1)[0]
    if "," in place:
        raise TargetError(f"{place!r} is not a host name: {_no_host(place).rstrip('.')}")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise TargetError(f"{shown(text)} is not a URL: {_port_fault(text)}") from None
    if not parts.hostname:
        raise TargetError(f"{shown(text)} names no host{_behind(scheme, rest) if not parts.netloc else ''}")
    path = ""
    if SCHEMES[scheme].form is Form.WEB:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    elif parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise TargetError(
            f"{scheme}:// takes a host and a port only: remove what follows {parts.netloc!r} in the URL"
        )
    port = SCHEMES[scheme].default_port if port is None else port
    if port is None:
        raise TargetError(f"{shown(text)} names no port: write {text.rstrip(':/')}:PORT")
    if port == 0:
        raise TargetError("port 0 can't be connected to: ports are 1 to 65535")
    # RFC 6874 section 2: in a URL the '%' before an address's zone is written %25.
    if "*" in parts.hostname:
        raise TargetError(f"{parts.hostname!r} is not a host name: {_no_host(parts.hostname).rstrip('.')}")
    host = normal_host(parts.hostname.replace("%25", "%", 1))
    if "[" in parts.netloc and not (":" in host and _BRACKETS.fullmatch(parts.netloc)):
        raise TargetError(f"{shown(text)} is not a URL: only an IPv6 address stands in brackets")
    return Url(text, scheme, host, port, parse_ip(host), path)


def _behind(scheme: str, rest: str) -> str:
    """
    Return advice for a URL with a slash too many, or with a path and no host; else empty.
    """
    path = rest.strip("/")
    place = re.split("[/?#]", path, maxsplit=1)[0]
    if (place == "localhost" or "." in place) and not is_path(place) and url_of_host(place) is not None:
        return f": write {_with_place(scheme, path)}"
    return f": for a file, write file:///{path}" if path else ""


def _port_fault(text: str) -> str:
    """
    Return what is wrong with a URL that the library can't divide, in words of its writer.
    """
    scheme, _, rest = text.partition("://")
    place = rest.partition("/")[0]
    host, _, port = place.rpartition(":")
    if parse_ip(place) is not None:
        write = f"{scheme}://[{place}]"
        # The last number may be one of the address as well as a port.
        other = f", or {scheme}://[{host}]:{port}" if parse_ip(host) is not None and port.isdigit() else ""
        return f"an IPv6 address stands in brackets, write {write}{_port_to_add(write)}{other}"
    is_port = re.fullmatch("[0-9]{1,5}", port) is not None and int(port) < 65536
    if host and not place.endswith("]") and "[" not in port + host.rpartition("]")[2]:
        if ":" in host.rpartition("]")[2]:
            return "one colon and one port follow a host, and an IPv6 address stands in brackets"
        if not is_port:
            return (
                f"{port!r} is not a port: ports are numbers from 1 to 65535" if port else "a port is missing"
            )
    if place.count("[") != place.count("]"):
        ip = parse_ip(place.strip("[]"))
        write = f", write {scheme}://[{ip}]{_port_to_add(f'{scheme}://[{ip}]')}" if ip is not None else ""
        return f"a bracket is missing: an IPv6 address stands in [ and ]{write}"
    if "[" in place:
        return "only an IPv6 address stands in brackets"
    return "its host has a character that no host name has"
