"""
From the objects of a cluster to targets. Opens nothing and reads no clock.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from exporter.config.sources import KubernetesSource
from exporter.discovery.base import Found, Listing
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


NAMESPACE_LABEL = "object_namespace"
"""
The label with the namespace of an object that names a target. `namespace` is set by the Prometheus Operator,
and by the usual configurations for a cluster: to that of the exporter.
"""


_SECRET_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")


@dataclass(slots=True)
class Gathered:
    """
    The URLs that the objects of a cluster name.
    """

    hosts: dict[str, list[str]] = field(default_factory=dict)
    """By URL, the objects that name it."""
    meant: set[str] = field(default_factory=set)
    """URLs that somebody wrote down for this purpose: in the annotation of a Service."""
    namespaces: dict[str, str] = field(default_factory=dict)
    """By URL, the namespace of the first of them."""
    secrets: dict[str, list[str]] = field(default_factory=dict)
    """By `NAMESPACE/NAME`, the objects that name this Secret."""
    notes: dict[str, None] = field(default_factory=dict)

    def note(self, words: str) -> None:
        """
        Keep a note, unless there are many.
        """
        if len(self.notes) < NOTE_LIMIT:
            self.notes[words] = None

    def take(self, one: Place, who: str, namespace: str) -> None:
        """
        Keep a place that an object of this namespace, in words, names.
        """
        if one.url:
            self.hosts.setdefault(one.url, []).append(who)
            self.namespaces.setdefault(one.url, namespace)
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
        for key, content in _sorted(lists, name):
            for one in content:
                found.take(one, _words(name, key), key[0])
                if name == "services":
                    found.meant.add(one.url)
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
                found.take(Place("", secret), who, key[0])
            if one.host and not is_wildcard(one.host):
                found.take(place(one.host, one.port, web=one.protocol == "HTTPS"), who, key[0])
            else:
                silent["/".join(key), one.name] = one
    by_name = {"/".join(key): listeners for key, listeners in gateways.items()}
    for name in PROTOCOLS:
        for key, content in _sorted(lists, name):
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
                found.take(place(host, one.port, web=one.protocol == "HTTPS"), at, key[0])


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


def listed(settings: KubernetesSource, lists: Mapping[str, Objects]) -> Listing:
    """
    Return the targets, and notes about what was passed over.

    A host of an Ingress, Gateway or route is one for its clients, who may be elsewhere.
    """
    named = gathered(lists)
    # One mapping for all targets of a namespace, of which there may be thousands.
    labels: dict[str, dict[str, str]] = {}
    hosts = [
        Found(url, _all(who), labels=_labels(named.namespaces[url], labels))
        for url, who in named.hosts.items()
    ]
    found = [one for one in hosts if one.url in named.meant]
    if (secrets := lists.get("secrets")) is not None:
        planned = {one.secret: one.before for _, some in _sorted(lists, "certificates") for one in some}
        found += _of_secrets(settings, secrets, named, planned, labels)
    others = tuple(one for one in hosts if one.url not in named.meant)
    return Listing(tuple(found), named=others, notes=tuple(named.notes))


def _labels(namespace: str, known: dict[str, dict[str, str]]) -> dict[str, str]:
    return known.setdefault(namespace, {NAMESPACE_LABEL: namespace})


def _sorted(lists: Mapping[str, Objects], name: str) -> list[tuple[Key, tuple[Any, ...]]]:
    return sorted(lists.get(name, {}).items())


def _all(who: list[str]) -> str:
    more = len(set(who)) - 1
    return f"{who[0]} and {more} more" if more else who[0]


def _of_secrets(
    settings: KubernetesSource,
    secrets: Objects,
    named: Gathered,
    planned: Mapping[str, float],
    labels: dict[str, dict[str, str]],
) -> Iterator[Found]:
    """
    Yield a target for each Secret: those of the type for TLS, then others that objects name. `planned` has
    the seconds before the end at which cert-manager renews; `labels` are those of each namespace.
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
        yield Found(
            f"{begin}{namespace}/{name}",
            why,
            labels=_labels(namespace, labels),
            settings={"kubernetes": of_list},
            renew_before=planned.get(f"{namespace}/{name}"),
        )
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
            yield Found(
                f"{begin}{secret}",
                why,
                labels=_labels(namespace, labels),
                settings={"kubernetes": others},
                renew_before=planned.get(secret),
            )
