"""
From the objects of a cluster to targets. Opens nothing and reads no clock.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from exporter.config.sources import KubernetesSource
from exporter.discovery.base import Found
from exporter.discovery.kubernetes.objects import (
    NAMES,
    PROTOCOLS,
    Attached,
    Listener,
    Objects,
    Place,
    is_wildcard,
    place,
)
from exporter.model.foreign_text import printable
from exporter.probes.kubernetes.objects import OPAQUE_TYPE, TLS_TYPE, Key

NOTE_LIMIT = 1000
"""Notes of one run; more of them tell nobody more."""


_SECRET_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")


@dataclass(slots=True)
class Gathered:
    """
    What the objects of a cluster name.
    """

    hosts: dict[str, list[str]] = field(default_factory=dict)
    """By URL, the objects that name it."""
    secrets: dict[str, list[str]] = field(default_factory=dict)
    """By `NAMESPACE/NAME`, the objects that name this Secret."""
    notes: dict[str, None] = field(default_factory=dict)

    def note(self, words: str) -> None:
        """
        Keep a note, unless there are many.
        """
        if len(self.notes) < NOTE_LIMIT:
            self.notes[words] = None

    def take(self, one: Place, who: str) -> None:
        """
        Keep a place that an object, in words, names.
        """
        if one.url:
            self.hosts.setdefault(one.url, []).append(who)
        if one.secret:
            self.secrets.setdefault(one.secret, []).append(who)
        if one.note:
            self.note(f"{who}: {one.note}")


def gathered(lists: Mapping[str, Objects]) -> Gathered:
    """
    Return what the objects name. `lists` has the content of objects by kind (a key of NAMES), but for kinds
    that are not known.
    """
    found = Gathered()
    for name in ("ingresses", "gateways", "routes", "services"):
        if name == "gateways":
            _of_gateways(lists, found)
            continue
        for key, content in sorted(lists.get(name, {}).items()):
            for one in content:
                found.take(one, _words(name, key))
    return found


def _words(name: str, key: Key) -> str:
    return f"{NAMES[name]} {'/'.join(key)}"


def _of_gateways(lists: Mapping[str, Objects], found: Gathered) -> None:
    """
    Gather the hosts of listeners and of the routes that are attached to them.
    """
    # Unless the Gateways are known, nothing is known of a route but names.
    gateways = lists.get("gateways")
    if gateways is None:
        return
    silent: dict[tuple[str, str], Listener] = {}
    for key, listeners in sorted(gateways.items()):
        for one in listeners:
            who = f"{_words('gateways', key)}, listener {printable(one.name)}"
            for secret in one.secrets:
                found.take(Place("", secret), who)
            if one.host and not is_wildcard(one.host):
                found.take(place(one.host, one.port, web=one.protocol == "HTTPS"), who)
            else:
                silent["/".join(key), one.name] = one
    by_name = {"/".join(key): listeners for key, listeners in gateways.items()}
    for name in PROTOCOLS:
        for key, content in sorted(lists.get(name, {}).items()):
            for route in content:
                _of_route(name, key, route, by_name, silent, found)
    for (gateway, listener), one in silent.items():
        words = f"names {printable(one.host)}" if one.host else "names no host"
        found.note(
            f"Gateway {gateway}, listener {printable(listener)}: {words}, and no route that is attached does"
        )


def _of_route(
    name: str,
    key: Key,
    route: Attached,
    gateways: Mapping[str, tuple[Any, ...]],
    silent: dict[tuple[str, str], Listener],
    found: Gathered,
) -> None:
    """
    Gather the hosts of a route. Listeners whose hosts it names are removed from `silent`.
    """
    who = _words(name, key)
    for gateway, section, port in route.parents:
        listeners = gateways.get(gateway)
        if listeners is None:
            found.note(
                f"{who}: its Gateway {printable(gateway)} is not there, or in no namespace that is looked at"
            )
            continue
        for one in listeners:
            if one.protocol != PROTOCOLS[name] or section not in {"", one.name} or port not in {0, one.port}:
                continue
            if not one.shared and gateway.partition("/")[0] != key[0]:
                continue
            for host in _common(one.host, route.hosts):
                silent.pop((gateway, one.name), None)
                at = f"{who} at Gateway {gateway}"
                found.take(place(host, one.port, web=one.protocol == "HTTPS"), at)


def _common(listener: str, hosts: tuple[str, ...]) -> Iterator[str]:
    """
    Yield the names that a listener serves for a route. A wildcard is for one or more labels.
    """
    for host in hosts:
        if not listener or listener == host or _is_within(host, listener):
            yield host
        elif _is_within(listener, host):
            yield listener


def _is_within(host: str, wildcard: str) -> bool:
    return wildcard.startswith("*.") and host.endswith(wildcard[1:])


def listed(
    settings: KubernetesSource, lists: Mapping[str, Objects]
) -> tuple[tuple[Found, ...], tuple[str, ...]]:
    """
    Return the targets, and notes about what was passed over.
    """
    named = gathered(lists)
    found = [Found(url, _all(who)) for url, who in named.hosts.items()]
    if (secrets := lists.get("secrets")) is not None:
        found += _of_secrets(settings, secrets, named)
    return tuple(found), tuple(named.notes)


def _all(who: list[str]) -> str:
    more = len(set(who)) - 1
    return f"{who[0]} and {more} more" if more else who[0]


def _of_secrets(settings: KubernetesSource, secrets: Objects, named: Gathered) -> Iterator[Found]:
    """
    Yield a target for each Secret: those of the type for TLS, then others that objects name.
    """
    kubernetes: dict[str, Any] = {"types": [TLS_TYPE]}
    # Taken from the list that is watched: thousands of Secrets must not be thousands of connections.
    kubernetes["scope"] = "namespace" if settings.namespaces else "cluster"
    if settings.kubeconfig is not None:
        kubernetes["kubeconfig"] = settings.kubeconfig
    of_list = {**kubernetes, "selector": settings.selector} if settings.selector else kubernetes
    begin = f"kubernetes://{quote(settings.context, safe='/:')}/" if settings.context else "kubernetes://"
    for namespace, name in sorted(secrets):
        who = named.secrets.get(f"{namespace}/{name}")
        why = f"Secret {namespace}/{name}"
        why += f", named by {_all(who)}" if who else f" of the type {TLS_TYPE}"
        yield Found(f"{begin}{namespace}/{name}", why, settings={"kubernetes": of_list})
    others = {**kubernetes, "types": [TLS_TYPE, OPAQUE_TYPE]}
    for secret, who in named.secrets.items():
        namespace, _, name = secret.partition("/")
        if (namespace, name) in secrets:
            continue
        if not _SECRET_NAME.fullmatch(name) or not _SECRET_NAME.fullmatch(namespace):
            named.note(f"{who[0]}: {printable(secret)} is no name of a Secret")
        elif settings.namespaces and namespace not in settings.namespaces:
            named.note(f"{who[0]}: the Secret {secret} is in no namespace that is looked at")
        else:
            why = f"Secret {secret}, named by {_all(who)}"
            yield Found(f"{begin}{secret}", why, settings={"kubernetes": others})
