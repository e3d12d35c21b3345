"""
Postfix: the services of `master.cf` that speak TLS, with the settings of `main.cf` and their own.
"""

import os
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from exporter.discovery.web_servers.reading import Listen, Reader, Site, certificate_names

_PORTS = {"smtp": 25, "submission": 587, "smtps": 465, "submissions": 465}


_FILES = ("smtpd_tls_cert_file", "smtpd_tls_eccert_file", "smtpd_tls_dcert_file")


_CLIENTS = {
    "smtp_tls_chain_files": ("smtp_tls_cert_file", "smtp_tls_eccert_file", "smtp_tls_dcert_file"),
    "lmtp_tls_chain_files": ("lmtp_tls_cert_file", "lmtp_tls_eccert_file", "lmtp_tls_dcert_file"),
}
"""Of what is shown to other servers: the parameter of chain files, and those that it replaces."""


_OTHER = re.compile(r"(?!(?:smtpd?|lmtp)_)(?:\w+_)?(?:tls|tlsproxy_client)_\w*(?:cert_file|chain_files)")
"""Parameters of certificates that are not understood."""


_DEFAULTS = {
    "inet_interfaces": "all",
    "default_database_type": "hash",
    "smtpd_tls_eccert_file": "",
    "smtpd_tls_dcert_file": "",
    "postscreen_tls_security_level": "$smtpd_tls_security_level",
    "mydomain": "localdomain",
    "config_directory": "",
}


@dataclass(frozen=True, slots=True)
class _Service:
    """
    A line of `master.cf` of type inet that runs smtpd, or postscreen before it; or one that runs a client.
    """

    line: int
    place: str
    """`smtp`, `10.0.0.1:2525`."""
    options: dict[str, str]
    screened: bool
    """True for postscreen, which presents the certificates of smtpd."""
    client: bool
    """True for what sends to other servers."""


def sites(path: str, reader: Reader) -> list[Site]:
    """
    Return the sites of a Postfix instance, by its `main.cf` or `master.cf`.
    """
    directory = Path(path).parent
    main = str(directory / "main.cf")
    settings = _DEFAULTS | {"myhostname": socket.gethostname(), "config_directory": str(directory)}
    for number, line in _lines(reader.text(main) or ""):
        name, equals, value = line.partition("=")
        if equals:
            settings[name.strip()] = value.strip()
            if _OTHER.fullmatch(name.strip()):
                reader.unknown(name.strip(), main, number)
    answer = list(_shown(settings, f"Postfix's client, {main}", main, reader))
    master = str(directory / "master.cf")
    for service in _services(reader.text(master) or ""):
        own = settings | service.options
        if not service.client:
            answer += _presented(service, own, main, master, reader)
        elif service.options:
            answer += _shown(own, f"Postfix's client, {master}, line {service.line}", master, reader)
    return answer


def _shown(settings: Mapping[str, str], where: str, path: str, reader: Reader) -> Iterator[Site]:
    """
    Yield what is shown to other servers.
    """
    for chains, single in _CLIENTS.items():
        if files := _files(settings, single, chains, reader, path):
            yield Site(where, files)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """
    Yield logical lines: one that begins with a blank continues the one before (postconf(5)).
    """
    begin, parts = 0, ""
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line[0] in " \t" and parts:
            parts += " " + line.strip()
            continue
        if parts:
            yield begin, parts
        begin, parts = number, line.strip()
    if parts:
        yield begin, parts


def _services(text: str) -> Iterator[_Service]:
    for number, line in _lines(text):
        words = line.split()
        client = len(words) > 7 and words[7] in {"smtp", "lmtp"}
        if not client and (len(words) < 8 or words[1] != "inet" or words[7] not in {"smtpd", "postscreen"}):
            continue
        arguments = " ".join(words[8:])
        pairs = re.findall(r"-o\s*(?:\{\s*([^{}=\s]+)\s*=\s*([^}]*?)\s*\}|([^\s={]+)=(\S*))", arguments)
        yield _Service(
            *(number, words[0], {one or two: first or second for one, first, two, second in pairs}),
            screened=words[7] == "postscreen",
            client=client,
        )


def _expanded(text: str, settings: Mapping[str, str], depth: int = 0) -> str:
    """
    Return a value with its `$name`, `${name}`, `${name?yes}`, `${name:no}` and `${name?{yes}:{no}}` replaced.
    """
    if depth > 20 or "$" not in text or len(text) > 100_000:
        return text

    def value(found: re.Match[str]) -> str:
        name, mark, rest = found[1] or found[2] or found[3], found[4] or "", found[5] or ""
        own = settings.get(name, "")
        both = re.fullmatch(r"\{(.*?)\}(?::\{(.*)\})?", rest)
        if mark == "?":
            return (both[1] if both else rest) if own else ((both[2] or "") if both else "")
        if mark == ":":
            return "" if own else (both[1] if both else rest)
        return own

    pattern = r"\$(?:(\w+)|\((\w+)\)|\{(\w+)(?:([?:])((?:[^{}]|\{[^{}]*\})*))?\})"
    return _expanded(re.sub(pattern, value, text), settings, depth + 1)


def _value(name: str, settings: Mapping[str, str]) -> str:
    return _expanded(settings.get(name, ""), settings).strip()


def _split(text: str) -> list[str]:
    return [one for one in re.split(r"[\s,]+", text) if one]


def _files(
    settings: Mapping[str, str], single: Sequence[str], chains: str, reader: Reader, path: str
) -> list[str]:
    """
    Return the files with certificates. Files of keys alone, as stand among chain files, are left out.
    """
    listed = [one for one in _split(_value(chains, settings)) if not _is_key(one)]
    if not listed:
        listed = [one for name in single if (one := _value(name, settings)) and one != "none"]
    for one in [one for one in listed if not one.startswith("/")]:
        reader.note(f"{one} is no whole path: Postfix would not find it", path)
        listed.remove(one)
    return listed


def _is_key(path: str) -> bool:
    """
    True for a file that holds a private key alone, by its name: it is not opened to see.
    """
    # keycloak.example.pem is none.
    return re.search(r"key(?![a-z])", os.path.basename(path), re.IGNORECASE) is not None  # noqa: PTH119


def _presented(
    service: _Service, settings: Mapping[str, str], main: str, master: str, reader: Reader
) -> Iterator[Site]:
    level = _value(f"{'postscreen' if service.screened else 'smtpd'}_tls_security_level", settings)
    wrapped = not service.screened and _value("smtpd_tls_wrappermode", settings) == "yes"
    wanted = level in {"may", "encrypt"} or "yes" in {
        _value("smtpd_use_tls", settings),
        _value("smtpd_enforce_tls", settings),
    }
    files = _files(settings, _FILES, "smtpd_tls_chain_files", reader, main)
    if not files or not (wanted or wrapped):
        return
    listens = list(_listens(service, settings, master, reader, wrapped=wrapped))
    where = f"Postfix, {master}, line {service.line}"
    names = certificate_names([leaf for path in files for leaf in reader.leaves(path)])
    own = _value("myhostname", settings)
    yield Site(where, files, [own] if own in names else names[:1], listens)
    for table in re.findall(
        r"inline:\{(?:[^{}]|\{[^{}]*\})*\}|[^\s,]+", _value("tls_server_sni_maps", settings)
    ):
        yield from _by_name(table, where, listens, reader)


def _by_name(table: str, where: str, listens: Sequence[Listen], reader: Reader) -> Iterator[Site]:
    """
    Yield the sites of a table `name file file ...`: of its text, from which postmap makes the database.
    """
    kind, colon, path = table.partition(":")
    if kind == "inline":
        pairs = re.findall(r"\{\s*([^{}=\s]+)\s*=([^{}]*)\}|([^{}=\s,]+)=([^{}\s,]+)", path)
        lines = [("inline", f"{one or two} {first or second}") for one, first, two, second in pairs]
    elif kind in {"hash", "btree", "lmdb", "cdb", "dbm", "texthash"} and colon:
        lines = [(f"{path}, line {number}", line) for number, line in _lines(reader.text(path) or "")]
    else:
        reader.note(f"tls_server_sni_maps {table}: only tables that are made from a text are understood")
        return
    for place, line in lines:
        name, *files = _split(line)
        own = [one for one in files if not _is_key(one)]
        # `.example.com` means the names below it.
        wanted = f"*{name}" if name.startswith(".") else name
        yield Site(f"{where}, {place}", own, [wanted], listens)


def _listens(
    service: _Service, settings: Mapping[str, str], master: str, reader: Reader, *, wrapped: bool
) -> Iterator[Listen]:
    host, _, name = service.place.rpartition(":")
    port = int(name) if name.isdecimal() else _PORTS.get(name, 0)
    if not 0 < port < 65536:
        reader.note(f"the port {name} is not known", master, service.line)
        return
    server = "postscreen" if service.screened else "smtpd"
    proxied = _value(f"{server}_upstream_proxy_protocol", settings) == "haproxy"
    hosts = [host.strip("[]")] if host else _split(_value("inet_interfaces", settings))
    scheme = "smtps" if wrapped else "submission" if port == 587 else "smtp"
    for one in hosts:
        address = {"all": "", "loopback-only": "127.0.0.1", "localhost": "127.0.0.1"}.get(one, one)
        yield Listen(scheme, address, port, proxied)
