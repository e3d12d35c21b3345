"""
Caddy's own form of its configuration: JSON, which a Caddyfile is made into.

https://caddyserver.com/docs/json/
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from exporter.discovery.web_servers.caddy_files import fetched, in_directory, whole
from exporter.discovery.web_servers.reading import Listen, Reader, Site, ports_of

_Object = Mapping[str, Any]


def sites(path: str, config: _Object, storage: str, reader: Reader) -> Iterator[Site]:
    """
    Yield the sites of a configuration. `storage` is where certificates are kept unless it says another place.
    """
    where = f"Caddy, {path}"
    apps = _object(config, "apps")
    http, tls = _object(apps, "http"), _object(apps, "tls")
    storage = _text(_object(config, "storage"), "root") or storage
    servers = {name: one for name, one in _object(http, "servers").items() if isinstance(one, dict)}
    listens = {name: list(_listens(one, http, path, reader)) for name, one in servers.items()}
    for name, server in servers.items():
        if listens[name]:
            for host in dict.fromkeys(_hosts(server)):
                yield Site(where, list(fetched(host, storage)), [host], listens[name])
    loaded = _object(tls, "certificates")
    for one in _objects(loaded, "load_files"):
        if _is_path(file := _text(one, "certificate"), path, reader):
            yield from _loaded(where, whole(file, path), set(_texts(one, "tags")), servers, listens)
    for directory in _texts(loaded, "load_folders"):
        yield Site(where, in_directory(whole(directory, path)))
    for file in dict.fromkeys(_client_certificates(apps)):
        if _is_path(file, path, reader):
            yield Site(f"Caddy's client, {path}", [whole(file, path)])


def _loaded(
    where: str, file: str, tags: set[str], servers: Mapping[str, Any], listens: Mapping[str, list[Listen]]
) -> Iterator[Site]:
    """
    Yield a certificate where its tags choose it, by the names that do. Else names of routes choose it, which
    are asked for anyway, or it is all that a server without such names has.
    """
    chosen: dict[str, list[str]] = {}
    for name, one in servers.items():
        for policy in _objects(one, "tls_connection_policies"):
            if tags & set(_texts(_object(policy, "certificate_selection"), "any_tag")):
                chosen.setdefault(name, []).extend(_texts(_object(policy, "match"), "sni"))
    for name, names in chosen.items():
        yield Site(where, [file], names, listens[name])
    if not chosen:
        nameless = [name for name, one in servers.items() if not any(_hosts(one))]
        yield Site(where, [file], (), [one for name in nameless for one in listens[name]])


def _listens(server: _Object, http: _Object, path: str, reader: Reader) -> Iterator[Listen]:
    """
    Yield the addresses at which a server speaks TLS: where it has policies for it, or where Caddy adds them.
    """
    automatic = not _object(server, "automatic_https").get("disable") and any(_hosts(server))
    if not automatic and not _objects(server, "tls_connection_policies"):
        return
    for text in _texts(server, "listen"):
        host, _, port = re.sub(r"^tcp[46]?/", "", text).rpartition(":")
        if text.startswith(("unix", "udp", "fd")):
            continue
        if not ports_of(port):
            reader.note(f"listen {text}: its port is not understood", path)
        for number in ports_of(port):
            if number != http.get("http_port", 80):
                yield Listen("https", host, number)


def _hosts(server: _Object) -> Iterator[str]:
    """
    Yield the names of a server's routes.
    """
    for route in _objects(server, "routes"):
        for match in _objects(route, "match"):
            yield from _texts(match, "host")


def _client_certificates(value: Any) -> Iterator[str]:
    """
    Yield what is shown to servers behind it, wherever a transport has it.
    """
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if isinstance(file := one.get("client_certificate_file"), str):
                yield file
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one


def _is_path(text: str, path: str, reader: Reader) -> bool:
    if "{" in text:
        reader.note(f"{text} has a variable that only the running server knows", path)
    return bool(text) and "{" not in text


def _object(value: _Object, key: str) -> _Object:
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def _objects(value: _Object, key: str) -> list[_Object]:
    return [one for one in _list(value, key) if isinstance(one, dict)]


def _texts(value: _Object, key: str) -> list[str]:
    return [one for one in _list(value, key) if isinstance(one, str)]


def _list(value: _Object, key: str) -> Iterable[Any]:
    found = value.get(key)
    return found if isinstance(found, list) else ()


def _text(value: _Object, key: str) -> str:
    found = value.get(key)
    return found if isinstance(found, str) else ""
