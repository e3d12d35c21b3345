"""
Modules of `/probe?module=NAME`: what a target means that has no scheme of its own, and the settings for it.

The built-in ones have the names that other exporters have without a configuration.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import quote

from exporter.config.schema import Settings
from exporter.model.hosts import TargetError, without_user
from exporter.model.schemes import SCHEMES, Form
from exporter.model.urls import refuse_user
from exporter.passwords import shown


@dataclass(frozen=True, slots=True)
class Module:
    """
    One module.
    """

    scheme: str
    """The scheme of targets that have none."""
    # Not shown: a pass phrase may be among them.
    settings: Settings = field(default_factory=Settings, repr=False)
    target: str = ""
    """The one target of the module, whatever the caller names; empty: the caller's."""


def _first(scheme: str) -> Module:
    """
    Return a module that looks at one address, as those do that it is named after.
    """
    return Module(scheme, Settings(addresses="first"))


BUILT_IN_MODULES: Mapping[str, Module] = MappingProxyType(
    {
        # blackbox_exporter
        "http_2xx": _first("https"),
        "tcp_connect": _first("tls"),
        # ssl_exporter
        "https": _first("https"),
        "http": _first("https"),
        "tcp": _first("tls"),
        "file": Module("file"),
        "http_file": Module("pem+https"),
        "kubernetes": Module("kubernetes"),
        "kubeconfig": Module("file"),
        # domain_exporter, which has no modules, for `probe.default_module`
        "domain": Module("domain"),
    }
)
"""Modules that are there unless the configuration has others of their names."""


def url_in(module: Module, text: str) -> str:
    """
    Return the URL of a target as a caller of other exporters writes it: `host:port`, a page, a path, a name.

    To a module of https, an unencrypted page is the encrypted one of the same server, to which it mostly
    redirects. Raises TargetError. What is wrong with the URL itself is told when it is parsed.
    """
    text = text.strip()
    form = SCHEMES[module.scheme].form
    bare = without_user(text)
    if form is Form.HOST:
        # What is still there has a slash in it: the place would be a part of the password.
        refuse_user(bare)
    scheme, separator, rest = text.partition("://")
    scheme = scheme.lower()
    if form is Form.WEB and separator and scheme in {"http", "https"}:
        return f"pem+{scheme}://{rest}"
    if (page := plain_page(module, text)) is not None:
        return _encrypted(text, page)
    if separator and scheme == "http":
        raise TargetError(
            f"{shown(text)} is not encrypted: it has no certificate; if it only leads to a page that has, "
            f"write https://{bare.partition('://')[2]}"
        )
    if form is Form.HOST and separator and scheme in SCHEMES and SCHEMES[scheme].form is Form.HOST:
        return f"{scheme}://{_place(rest)}"
    if separator or text.partition(":")[0].lower() in {"domain", "dns", "file"}:
        return text
    match form:
        case Form.NAME:
            return f"{module.scheme}:{text}"
        case Form.PATH:
            # A pattern is written as one.
            return f"file://{quote(text, safe='/*?[]')}"
        case Form.HOST:
            return f"{module.scheme}://{_place(text)}"
    return f"{module.scheme}://{text}"


_PAGE = re.compile(
    r"(?:http://(?P<host>\[[^\[\]/?#]*\]|[^:/?#]*)(?::(?P<port>[0-9]+))?|(?P<plain>\[[^\[\]/?#]*\]|[^:/?#]+):80)"
    r"(?:[/?#].*)?",
    re.DOTALL | re.IGNORECASE,
)
"""A page without encryption, as its scheme or its port says."""


def plain_page(module: Module, text: str) -> re.Match[str] | None:
    """
    Return the parts of a page without encryption that a module of https is asked for; None for anything else.
    """
    return _PAGE.fullmatch(text.strip()) if module.scheme == "https" else None


def _encrypted(text: str, page: re.Match[str]) -> str:
    """
    Return the URL of the encrypted page beside one without encryption. Raises TargetError.

    It is on the usual port; beside another one, nobody knows where.
    """
    host = page["plain"] or page["host"]
    if page["port"] in {None, "80", "443"}:
        return f"https://{host}"
    raise TargetError(
        f"{shown(text)} is not encrypted: it has no certificate; if this port is encrypted after all, write "
        f"https://{host}:{page['port']}"
    )


def _place(rest: str) -> str:
    """
    Return what stands before the path of a page: a server has its certificate for all of them.
    """
    for mark in "/?#":
        rest = rest.partition(mark)[0]
    return rest
