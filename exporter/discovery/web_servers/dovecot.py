"""
Dovecot: its listeners, with the certificates of all and of each `local_name`.
"""

import ipaddress
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from exporter.discovery.web_servers.reading import Listen, Reader, Site, missing

_LISTENERS: dict[tuple[str, str], tuple[str, str, int, bool]] = {
    ("imap-login", "imap"): ("imap", "imap", 143, False),
    ("imap-login", "imaps"): ("imap", "imaps", 993, True),
    ("pop3-login", "pop3"): ("pop3", "pop3", 110, False),
    ("pop3-login", "pop3s"): ("pop3", "pop3s", 995, True),
    ("managesieve-login", "sieve"): ("sieve", "sieve", 4190, False),
    ("submission-login", "submission"): ("submission", "submission", 587, False),
    ("submission-login", "submissions"): ("submission", "submissions", 465, True),
}
"""Listeners that are there without configuration: protocol, name, port, whether TLS comes first."""


_IMPLICIT = {"imap": "imaps", "pop3": "pop3s", "submission": "smtps", "lmtp": "tls", "sieve": "tls"}


_LOGIN = frozenset({"imap", "imaps", "pop3", "pop3s", "sieve", "submission", "smtps"})
"""Schemes of the services for logins. Others (LMTP, doveadm) present the same certificate for every name."""


_CLIENT = ("ssl_client_cert", "ssl_client_cert_file")


_CERTIFICATES = ("ssl_cert", "ssl_alt_cert", "ssl_server_cert_file", "ssl_server_alt_cert_file")


@dataclass(slots=True)
class _Section:
    """
    A section with its settings; the whole configuration is one without a name.
    """

    words: list[str]
    path: str
    line: int
    settings: dict[str, str] = field(default_factory=dict)
    inside: list["_Section"] = field(default_factory=list)


def sites(path: str, reader: Reader) -> list[Site]:
    """
    Return the sites of a `dovecot.conf`.
    """
    root = _Section([], path, 0)
    _read(path, root, reader, ())
    protocols = set(root.settings.get("protocols", "imap pop3 lmtp").split())
    # Since 2.4 also as a section, with `imap = yes`.
    for section in (one for one in root.inside if one.words == ["protocols"]):
        given = {name for name, value in section.settings.items() if value == "yes"}
        protocols = (protocols if "protocols" in root.settings else set()) | given
    listens = list(_with_tls(root, list(_listens(root, protocols, reader))))
    if not listens and root.settings.get("ssl") == "no":
        return []
    answer = []
    for section, own in _with_certificates(root, listens):
        kind = section.words[0] if section.words else ""
        files = [_file(section.settings[key]) for key in _CERTIFICATES if key in section.settings]
        names = [name for name in section.words[1:] if name] if kind == "local_name" else []
        where = (
            f"Dovecot, {section.path}, line {section.line}" if section.line else f"Dovecot, {section.path}"
        )
        known = [one for one in files if one]
        if len(known) < len(files):
            reader.note(f"a certificate of {where} is no file, or has a variable")
        answer.append(Site(where, known, names, own))
    for section in _all(root):
        for key, value in section.settings.items():
            if key in _CLIENT and _file(value):
                answer.append(Site(f"Dovecot's client, {section.path}", [_file(value)]))
            elif re.search(r"cert(?:_file)?$", key) and value[:1] in "</" and key not in _CERTIFICATES:
                reader.unknown(key, section.path, section.line)
    return answer


def _all(section: _Section) -> Iterator[_Section]:
    yield section
    for one in section.inside:
        yield from _all(one)


def _file(value: str) -> str:
    path = value.removeprefix("<").strip()
    return path if path.startswith("/") and "$" not in path and "%" not in path else ""


def _own_listens(kind: str, words: Sequence[str], listens: Sequence[Listen]) -> Sequence[Listen]:
    """
    Return the listeners at which the certificates of a section are presented.
    """
    if kind == "protocol" and words:
        return [one for one in listens if one.scheme in {words[0], _IMPLICIT.get(words[0])}]
    logins = [one for one in listens if one.scheme in _LOGIN]
    return [replace(one, host=words[0]) for one in logins] if kind == "local" and words else logins


def _with_tls(root: _Section, listens: Sequence[Listen]) -> Iterator[Listen]:
    """
    Yield the listeners whose protocol speaks TLS: it may say so itself.
    """
    said = {
        one: section.settings["ssl"]
        for section in root.inside
        if section.words[0] == "protocol" and "ssl" in section.settings
        for one in _own_listens("protocol", section.words[1:], listens)
    }
    return (one for one in listens if said.get(one, root.settings.get("ssl")) != "no")


def _has_certificates(section: _Section) -> bool:
    return any(key in section.settings for key in _CERTIFICATES)


def _with_certificates(
    section: _Section, listens: Sequence[Listen]
) -> Iterator[tuple[_Section, Sequence[Listen]]]:
    """
    Yield the sections that have certificates, each with the listeners at which these are presented.
    """
    if _has_certificates(section):
        # A protocol or an address that has its own presents no other.
        others = [
            one for one in section.inside if one.words[0] in {"protocol", "local"} and _has_certificates(one)
        ]
        taken = {own for one in others for own in _own_listens(one.words[0], one.words[1:], listens)}
        yield section, [one for one in listens if one not in taken]
    for one in section.inside:
        if one.words[0] in {"local_name", "local", "protocol"}:
            yield from _with_certificates(one, _own_listens(one.words[0], one.words[1:], listens))


def _read(path: str, into: _Section, reader: Reader, chain: Sequence[str]) -> None:
    text = reader.text(path)
    if text is None:
        return
    chain = (*chain, path)
    open_sections = [into]
    joined = re.sub(r"\\\n[ \t]*", " ", text)
    for number, raw in enumerate(joined.split("\n"), 1):
        line = re.sub(r"(?:^|\s)#.*$", "", raw).strip()
        if not line:
            continue
        here = open_sections[-1]
        if line == "}":
            if len(open_sections) == 1:
                reader.fail("unexpected '}': the rest of the file was passed over", path, number)
                return
            open_sections.pop()
        elif (include := re.fullmatch(r"!include(_try)?\s+(.+)", line)) is not None:
            pattern = os.path.join(str(Path(path).parent), include[2])  # noqa: PTH118
            for one in reader.included(pattern, chain, (path, number)):
                if not include[1] or not missing(one):
                    _read(one, here, reader, chain)
        elif line.endswith("{"):
            section = _Section(line[:-1].replace('"', " ").split() or [""], path, number)
            here.inside.append(section)
            open_sections.append(section)
        elif "=" in line:
            _set(line, here, open_sections[0])
        elif not line.endswith("}"):
            reader.fail(f"syntax error at {line[:40]!r}", path, number)
    if len(open_sections) > 1:
        reader.fail("the file ends inside of a section", path)


def _set(line: str, section: _Section, root: _Section) -> None:
    name, _, value = line.partition("=")
    name, value = name.strip(), value.strip()
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1]
    known = section.settings | {"protocols": root.settings.get("protocols", "")}
    section.settings[name] = re.sub(r"\$(\w+)", lambda one: known.get(one[1], ""), value)


def _listens(root: _Section, protocols: set[str], reader: Reader) -> Iterator[Listen]:
    """
    Yield the listeners of all protocols that are switched on, the usual ones among them.
    """
    # With commas, since 2.4 also with spaces.
    everywhere = root.settings.get("listen", "*, ::").replace(",", " ").split()
    changed: dict[tuple[str, str], dict[str, str]] = {}
    for service in (one for one in root.inside if one.words[0] == "service" and len(one.words) > 1):
        for listener in (one for one in service.inside if one.words[0] == "inet_listener"):
            name = listener.words[1] if len(listener.words) > 1 else ""
            changed.setdefault((service.words[1], name), {}).update(listener.settings)
    for service_name, name in [*_LISTENERS, *(key for key in changed if key not in _LISTENERS)]:
        usual = _LISTENERS.get((service_name, name))
        protocol = usual[0] if usual else service_name.removesuffix("-login").replace("managesieve", "sieve")
        settings = changed.get((service_name, name), {})
        if protocol in _IMPLICIT and protocol not in protocols:
            continue
        if usual is not None and name == "submissions" and not settings:
            continue
        port = settings.get("port", str(usual[2]) if usual else "0")
        if not port.isdecimal() or int(port) > 65535:
            reader.note(f"the port {port} of {service_name} is not understood")
            continue
        implicit = settings.get("ssl", "yes" if usual and usual[3] else "no") == "yes"
        # What another service speaks before TLS is not known: doveadm, say.
        if protocol not in _IMPLICIT and not implicit:
            continue
        scheme = _IMPLICIT.get(protocol, "tls") if implicit else protocol
        hosts = settings.get("address", settings.get("listen", "")).replace(",", " ").split() or everywhere
        proxied = "yes" in {settings.get("haproxy"), settings.get("inet_listener_haproxy")}
        for host in hosts if int(port) else ():
            listen = Listen(scheme, host, int(port), proxied)
            if not proxied or _trusts(root.settings.get("haproxy_trusted_networks", ""), listen.reached_at):
                yield listen
            else:
                reader.note(
                    f"Dovecot, port {port}: haproxy_trusted_networks does not have {listen.reached_at}, so "
                    "it would turn this host away, and is not looked at"
                )


def _trusts(networks: str, address: str) -> bool:
    """
    Return whether this address is in one of the networks; True if it is none, of which others tell.

    It is ours too: to an address of this host one connects from that address, or from 127.0.0.1.
    """
    try:
        own = ipaddress.ip_address("127.0.0.1" if address.startswith("127.") else address)
        return any(own in ipaddress.ip_network(one, strict=False) for one in re.findall(r"[^\s,]+", networks))
    except ValueError:
        return True
