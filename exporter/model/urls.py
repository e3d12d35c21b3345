"""
Target URLs: schemes, hosts, ports and paths, each fault with a message.
"""

import difflib
import re
import sys
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from exporter.model.hosts import IPAddress, TargetError, is_network, join_host_port, normal_host, parse_ip
from exporter.model.paths import is_path, is_windows_path, whole_path
from exporter.model.schemes import ALL_SCHEMES, SCHEMES, Form
from exporter.model.suggestions import OTHER_NAMES, closest
from exporter.passwords import shown, without_secrets

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
        write = _as_target(url_of_host(inner) or inner)
        raise TargetError(f"{shown(text)} is not a URL: quotes and brackets are around it, write {write}")
    if (inner := text.rstrip(",;")) != text and "://" in text and not {",", "*"} & {*inner}:
        raise TargetError(
            f"{shown(text)} is not a URL: a {text[-1]!r} is behind it, write {_as_target(inner)}"
        )
    scheme, separator, rest = text.partition(":")
    # One object for all targets.
    scheme = sys.intern(scheme.lower())
    if not separator or not scheme or (scheme not in SCHEMES and not rest.startswith("//")):
        if is_network(text):
            search = f"expiry-exporter discover 'networks: {{cidr: [{text}]}}'"
            raise TargetError(f"{shown(text)} is a network: `{search}` tries each address of it")
        raise TargetError(_without_scheme(text))
    if scheme not in SCHEMES:
        # `url=https://…`, or a link of Markdown.
        if (found := re.search(r"[^a-z0-9+.-]([a-z0-9+]+)$", scheme)) and found[1] in SCHEMES:
            write = _with_place(found[1], rest[2:].rstrip(_AROUND))
            raise TargetError(f"{shown(text)} is not a URL: write {write}")
        raise TargetError(f"scheme {shown(scheme)} is not known: {closest_scheme(scheme)}")
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
    if all(re.search("[.:]", word) and url_of_host(word) is not None for word in text.split()):
        return ", write each target by itself"
    found = re.search(r"(?:^|[^!-~])([a-z0-9+]+)://([!-~]+)[^!-~]*$", text, re.IGNORECASE)
    return (
        f", write {_with_place(found[1].lower(), found[2])}" if found and found[1].lower() in SCHEMES else ""
    )


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
    if not difflib.get_close_matches(word, SCHEMES, n=1):
        # Behind a plus is the driver of a library: `mysql+pymysql`.
        word = word.partition("+")[0]
    return closest(OTHER_NAMES.get(word, word), SCHEMES, listed=ALL_SCHEMES)


def _without_scheme(text: str) -> str:
    """
    Return the message about a text that has no scheme of a target, or none with slashes behind it.
    """
    if (advice := _with_scheme(text)) is not None:
        return f"{shown(text)} has no scheme: {advice} {ALL_SCHEMES}"
    scheme, colon, _ = text.partition(":")
    if colon and re.fullmatch("[a-z][a-z0-9+-]*", scheme, re.IGNORECASE):
        return f"scheme {scheme.lower()!r} is not known: {closest_scheme(scheme.lower())}"
    example = "a URL begins with one, such as https://www.example.com"
    return f"{shown(text)} has no scheme: {example}. {ALL_SCHEMES}"


def _with_scheme(text: str) -> str | None:
    """
    Return advice for a text that has no scheme, or a misspelt one; None when nothing is known that it may be.
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
        return f"write {_with_place(word, place)}."
    inner, separator, _ = rest.partition(":")
    # As `url:https://…` stands in a list of a configuration, where YAML wants the space.
    key = " (where `url` is a key, a space is missing behind its colon)" if name == "url" else ""
    if separator and inner.lower() in SCHEMES:
        return f"write {_as_target(rest)}{key}."
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
        is_host = ("." in name or name.lower() == "localhost") and url_of_host(name) is not None
        if re.search(r"[\[\]]", place) or (name != place and is_host):
            return f"{_port_fault(f'https://{place}')}."
        return _no_host(place) or (f"{shown(place)} is not a host name." if "." in name else None)
    return f"write {host}{_port_to_add(host)}, or another scheme."


def _with_place(scheme: str, rest: str) -> str:
    """
    Return the URL of a scheme and what was written behind its slashes, without what a target does not take:
    a path, or a password behind a '?' or a ';'.
    """
    if SCHEMES[scheme].form is not Form.HOST:
        return without_secrets(f"{scheme}:{'' if SCHEMES[scheme].form is Form.NAME else '//'}{rest}")
    url = f"{scheme}://{re.split('[/?#;]', rest, maxsplit=1)[0]}"
    return url + _port_to_add(url)


def _as_target(text: str) -> str:
    """
    Return what was written with more around it, in the form that a target takes.
    """
    scheme, separator, rest = text.partition("://")
    known = separator and scheme.lower() in SCHEMES
    return _with_place(scheme.lower(), rest) if known else without_secrets(text)


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
    is_address = _BRACKETS.fullmatch(host) is not None
    try:
        name = normal_host(host[1:-1] if is_address else host)
    except TargetError:
        return None
    if is_address is not (":" in name) or not _is_port(port or "443"):
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
    if not bare:
        raise TargetError(f"{scheme}: takes a domain name: write {scheme}:example.com")
    # RFC 4501 section 4 has a name server between slashes, and the name behind them.
    place = re.split(
        "[/:?#]" if "://" in bare else "[:?#]", bare.rpartition("://")[2].rstrip("/"), maxsplit=1
    )[0]
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
    # The base of an LDAP directory stands there too.
    return f": for a file, write file:///{path}" if re.fullmatch("[^?#=]+", path) else ""


def _is_port(text: str) -> bool:
    return re.fullmatch("[0-9]{1,5}", text) is not None and 0 < int(text) < 65536


def _port_fault(text: str) -> str:
    """
    Return what is wrong with a URL that the library can't divide, in words of its writer.
    """
    scheme, _, rest = text.partition("://")
    place = re.split("[/?#;]", rest, maxsplit=1)[0]
    host, _, port = place.rpartition(":")
    if parse_ip(place) is not None:
        write = f"{scheme}://[{place}]"
        # The last number may be one of the address as well as a port.
        other = f", or {scheme}://[{host}]:{port}" if parse_ip(host) is not None and port.isdigit() else ""
        return f"an IPv6 address stands in brackets, write {write}{_port_to_add(write)}{other}"
    if host and not place.endswith("]") and "[" not in port + host.rpartition("]")[2]:
        if ":" in host.rpartition("]")[2]:
            return "one colon and one port follow a host, and an IPv6 address stands in brackets"
        if not _is_port(port):
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
