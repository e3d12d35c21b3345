"""
Objects of the Kubernetes API that say where TLS is spoken. Opens nothing and reads no clock.

Ingress: https://kubernetes.io/docs/reference/kubernetes-api/service-resources/ingress-v1/. Gateway API:
https://gateway-api.sigs.k8s.io/reference/spec/. Route: the OpenShift API `route.openshift.io/v1`.
Certificate: https://cert-manager.io/docs/reference/api-docs/.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from exporter.model.foreign_text import printable
from exporter.model.hosts import TargetError, join_host_port, normal_host
from exporter.model.probers import DTLS, QUIC, WIRE
from exporter.model.schemes import SCHEMES
from exporter.model.urls import parse_url, url_of_host
from exporter.probes.kubernetes.objects import (
    RESOURCES,
    Key,
    Resource,
    Stored,
    key_of,
    mapping,
    read_certificate,
    version_of,
)

SERVED_WITH_TLS = ("/ssl-passthrough", "/router.tls", "/router.tls.passthrough")
"""
Ends of annotations by which all rules of an Ingress have TLS, without an entry for it: of ingress-nginx and
HAProxy, which pass it on to the Service, and of Traefik.
"""


CERTIFIED = (
    *("alb.ingress.kubernetes.io/certificate-arn", "appgw.ingress.kubernetes.io/appgw-ssl-certificate"),
    *("networking.gke.io/managed-certificates", "ingress.gcp.kubernetes.io/pre-shared-cert"),
)
"""Annotations that name a certificate which a cloud's load balancer presents, for all rules of an Ingress."""


LISTENS = "alb.ingress.kubernetes.io/listen-ports"
"""The annotation with the ports of AWS's load balancer: `[{"HTTP": 80}, {"HTTPS": 443}]`."""


ANNOTATION = "expiry-exporter/targets"
"""The annotation of a Service that names what of it speaks TLS."""


HOST_LIMIT = 1000
"""Hosts of one object."""


TEXT_LIMIT = 300
"""Characters that are kept of a text which may be anything."""


class Place(NamedTuple):
    """
    A place where an object says that TLS is spoken, or why that is none.
    """

    url: str
    """Empty: there is only a Secret, or a note."""
    secret: str = ""
    """`NAMESPACE/NAME` of the Secret with its certificate; empty: none is named."""
    note: str = ""


class Listener(NamedTuple):
    """
    A listener of a Gateway that speaks TLS.
    """

    name: str
    protocol: str
    """`HTTPS`, or `TLS` for any other protocol inside."""
    host: str
    """Empty: all; it may be a wildcard."""
    port: int
    shared: bool
    """True: routes of other namespaces may be attached."""
    secrets: tuple[str, ...] = ()
    """`NAMESPACE/NAME` of each Secret with a certificate."""


class Attached(NamedTuple):
    """
    The names of a route, and the Gateways that it wants to be served by.
    """

    hosts: tuple[str, ...]
    """Empty: those of the listener."""
    parents: tuple[tuple[str, str, int], ...]
    """Each `NAMESPACE/NAME` of a Gateway, the listener (empty: all) and the port (0: all)."""


class Planned(NamedTuple):
    """
    The time before the end at which cert-manager plans to renew the certificate in a Secret.
    """

    secret: str
    """`NAMESPACE/NAME`."""
    before: float
    """Seconds before its end: the same for the next certificate, so that no renewal makes another target."""


def _texts(value: Any) -> list[str]:
    """
    Return the texts in a list, bounded; none for what is no list.
    """
    found = value[: HOST_LIMIT + 1] if isinstance(value, list) else ()
    return [one[:TEXT_LIMIT] for one in found if isinstance(one, str)]


def _text(value: Mapping[str, Any], key: str, usual: str = "") -> str:
    found = value.get(key)
    return found[:TEXT_LIMIT] if isinstance(found, str) else usual


def _port(value: Mapping[str, Any]) -> int:
    found = value.get("port")
    return found if type(found) is int and 0 < found < 65536 else 0


def _mappings(value: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    found = value.get(key)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def is_wildcard(host: str) -> bool:
    """
    Return True for a name that may be any host below another.
    """
    return "*" in host


def place(host: str, port: int, *, web: bool, secret: str = "") -> Place:
    """
    Return the place of a host: its URL, or why it can't be one. `web` is False where it is not HTTPS.
    """
    if not host:
        return Place("", secret, "names no host")
    if is_wildcard(host):
        return Place("", secret, f"{printable(host)} may be any host below it: write a target for one")
    try:
        name = normal_host(host)
    except TargetError as error:
        return Place("", secret, str(error))
    if port == 443:
        # The same for all protocols, so that a host is one target whoever names it.
        return Place(f"https://{name}", secret)
    return Place(f"{'https' if web else 'tls'}://{join_host_port(name, port)}", secret)


def _bounded(places: Iterator[Place]) -> tuple[Place, ...]:
    """
    Return the places of one object, each once and not too many.
    """
    found: dict[Place, None] = {}
    for one in places:
        if len(found) == HOST_LIMIT:
            found[Place("", "", f"has more than {HOST_LIMIT:,} hosts: the others are left out")] = None
            break
        found[one] = None
    return tuple(found)


def read_ingress(obj: dict[str, Any], _password: str | None, _before: Stored | None) -> Stored:
    """
    Return the hosts of an Ingress that are served with TLS, each with its Secret.
    """
    return Stored(version_of(obj), content=_bounded(_of_ingress(obj)))


def _of_ingress(obj: dict[str, Any]) -> Iterator[Place]:
    namespace, _ = key_of(obj)
    spec = mapping(obj, "spec")
    rules = [host for rule in _mappings(spec, "rules") if (host := _text(rule, "host").lower())]
    served: set[str] = set()
    for entry in _mappings(spec, "tls"):
        name = _text(entry, "secretName")
        secret = f"{namespace}/{name}" if name else ""
        for host in _texts(entry.get("hosts")) or [""]:
            # An entry without hosts is for all rules, and a wildcard for those that are one label below it.
            fitting = [one for one in rules if not host or _is_below(one, host.lower())]
            for one in fitting if fitting and (not host or is_wildcard(host)) else [host]:
                served.add(one.lower())
                yield place(one, 443, web=True, secret=secret)
    ports = _ports_with_tls(mapping(mapping(obj, "metadata"), "annotations"))
    yield from (place(host, port, web=True) for host in rules if host not in served for port in ports)


def _ports_with_tls(annotations: Mapping[str, Any]) -> list[int]:
    """
    Return the ports at which all rules of an Ingress are served with TLS by its annotations.
    """
    said = re.findall(r'"HTTPS" *: *([0-9]{1,5})', _text(annotations, LISTENS))
    if ports := [int(one) for one in said if 0 < int(one) < 65536]:
        return ports
    passed = any(key.endswith(SERVED_WITH_TLS) and value == "true" for key, value in annotations.items())
    return [443] if passed or any(_text(annotations, one) for one in CERTIFIED) else []


def _is_below(host: str, wildcard: str) -> bool:
    return wildcard.startswith("*.") and host.partition(".")[2] == wildcard[2:] and not is_wildcard(host)


def read_route(obj: dict[str, Any], _password: str | None, _before: Stored | None) -> Stored:
    """
    Return the host of an OpenShift Route, if it is served with TLS.
    """
    namespace, _ = key_of(obj)
    spec = mapping(obj, "spec")
    tls = mapping(spec, "tls")
    name = _text(mapping(tls, "externalCertificate"), "name")
    secret = f"{namespace}/{name}" if name else ""
    content = (place(_text(spec, "host"), 443, web=True, secret=secret),) if tls else ()
    return Stored(version_of(obj), content=content)


def read_gateway(obj: dict[str, Any], _password: str | None, _before: Stored | None) -> Stored:
    """
    Return the listeners of a Gateway that speak TLS.
    """
    namespace, _ = key_of(obj)
    found: list[Listener] = []
    for listener in _mappings(mapping(obj, "spec"), "listeners")[:HOST_LIMIT]:
        protocol, port, tls = _text(listener, "protocol"), _port(listener), mapping(listener, "tls")
        if protocol not in {"HTTPS", "TLS"} or not port:
            continue
        allowed = mapping(mapping(listener, "allowedRoutes"), "namespaces")
        secrets = tuple(
            f"{_text(one, 'namespace', namespace)}/{name}"
            for one in _mappings(tls, "certificateRefs")[:HOST_LIMIT]
            if (name := _text(one, "name"))
            and _text(one, "kind", "Secret") == "Secret"
            and not _text(one, "group")
        )
        found.append(
            Listener(
                _text(listener, "name"),
                protocol,
                _text(listener, "hostname").lower(),
                port,
                _text(allowed, "from", "Same") != "Same",
                secrets,
            )
        )
    return Stored(version_of(obj), content=tuple(found))


def read_attached(obj: dict[str, Any], _password: str | None, _before: Stored | None) -> Stored:
    """
    Return the names of an HTTPRoute, GRPCRoute or TLSRoute, and its Gateways.
    """
    namespace, _ = key_of(obj)
    spec = mapping(obj, "spec")
    parents = tuple(
        (f"{_text(one, 'namespace', namespace)}/{_text(one, 'name')}", _text(one, "sectionName"), _port(one))
        for one in _mappings(spec, "parentRefs")[:HOST_LIMIT]
        if _text(one, "kind", "Gateway") == "Gateway"
        and _text(one, "group", "gateway.networking.k8s.io") == "gateway.networking.k8s.io"
    )
    hosts = tuple(host.lower() for host in _texts(spec.get("hostnames"))[:HOST_LIMIT])
    return Stored(version_of(obj), content=(Attached(hosts, parents),) if parents else ())


def read_service(obj: dict[str, Any], _password: str | None, _before: Stored | None) -> Stored:
    """
    Return what the annotation of a Service names.
    """
    annotation = _text(mapping(mapping(obj, "metadata"), "annotations"), ANNOTATION)
    return Stored(version_of(obj), content=_bounded(_of_service(obj, annotation)) if annotation else ())


def _of_service(obj: dict[str, Any], annotation: str) -> Iterator[Place]:
    namespace, name = key_of(obj)
    host = f"{name}.{namespace}.svc"
    ports = {
        _text(one, "name"): number
        for one in _mappings(mapping(obj, "spec"), "ports")
        if (number := _port(one))
    }
    for word in re.split(r"[\s,]+", annotation.strip(", \t\n")):
        scheme, _, rest = word.partition(":")
        if "://" in word:
            text: str | None = word
        elif word.isdecimal() or word in ports:
            text = url_of_host(f"{host}:{ports.get(word, word)}")
        elif rest:
            text = f"{scheme}://{host}:{ports.get(rest, rest)}"
        else:
            text = f"{scheme}://{host}"
        yield _of_word(word, text or word)


def _of_word(word: str, text: str) -> Place:
    """
    Return the place of one word of an annotation, which as a URL is `text`.
    """
    try:
        url = parse_url(text)
        # Whoever may write an annotation must not choose files, documents or look-ups.
        fault = "" if SCHEMES[url.scheme].prober in {WIRE, DTLS, QUIC} else f"{url.scheme} is of no server"
    except TargetError as error:
        fault = printable(str(error))
    if fault:
        return Place("", "", f"{printable(word)} in the annotation {ANNOTATION} is no port or URL: {fault}")
    return Place(text)


def read_planned(obj: dict[str, Any], _password: str | None, _before: Stored | None) -> Stored:
    """
    Return when cert-manager plans to renew a certificate that it has issued.
    """
    renewed = read_certificate(obj, None, None).renewed
    if renewed is None or renewed.not_after is None or renewed.not_after <= renewed.due:
        return Stored(version_of(obj))
    planned = Planned("/".join(renewed.secret)[:TEXT_LIMIT], renewed.not_after - renewed.due)
    return Stored(version_of(obj), content=(planned,))


def _gateway_kind(name: str, *apis: str) -> Resource:
    group = "gateway.networking.k8s.io"
    first, *others = (f"{group}/{one}" for one in apis)
    read = read_gateway if name == "gateways" else read_attached
    return Resource(name, first, read, others=tuple(others), optional=True)


KINDS: dict[str, tuple[Resource, ...]] = {
    "ingresses": (
        Resource(
            *("ingresses", "networking.k8s.io/v1", read_ingress),
            others=("networking.k8s.io/v1beta1",),
            optional=True,
        ),
    ),
    "gateways": (
        _gateway_kind("gateways", "v1", "v1beta1"),
        _gateway_kind("httproutes", "v1", "v1beta1"),
        _gateway_kind("grpcroutes", "v1", "v1alpha2"),
        _gateway_kind("tlsroutes", "v1", "v1alpha3", "v1alpha2"),
    ),
    "routes": (Resource("routes", "route.openshift.io/v1", read_route, optional=True),),
    "services": (Resource("services", "v1", read_service),),
    "secrets": RESOURCES["secrets"],
    "certificates": (Resource("certificates", "cert-manager.io/v1", read_planned, optional=True),),
}
"""The kinds of objects that are listed and watched, by the value in `resources` of the source."""


NAMES = {
    "ingresses": "Ingress",
    "gateways": "Gateway",
    "httproutes": "HTTPRoute",
    "grpcroutes": "GRPCRoute",
    "tlsroutes": "TLSRoute",
    "routes": "Route",
    "services": "Service",
    "secrets": "Secret",
    "certificates": "Certificate",
}
"""Kinds as people write them."""


PROTOCOLS = {"httproutes": "HTTPS", "grpcroutes": "HTTPS", "tlsroutes": "TLS"}
"""The protocol of the listeners that serve a kind of route."""


Objects = Mapping[Key, tuple[Any, ...]]
"""The content of the objects of one kind."""


def as_json(objects: Objects) -> list[list[Any]]:
    """
    Return the content of objects as `restored` takes it.
    """
    return [[*key, list(content)] for key, content in objects.items()]


def restored(name: str, value: Any) -> dict[Key, tuple[Any, ...]]:
    """
    Return the content of objects of a kind (a key of NAMES) from JSON. Raises ValueError for what is none.
    """
    read: Callable[..., Any] = _FROM_JSON.get(name, _place)
    try:
        return {
            (str(namespace), str(one)): tuple(read(*item) for item in content)
            for namespace, one, content in value
        }
    except (TypeError, ValueError):
        raise ValueError("no objects of a cluster") from None


def _place(url: Any, secret: Any, note: Any) -> Place:
    return Place(str(url), str(secret), str(note))


def _listener(name: Any, protocol: Any, host: Any, port: Any, shared: Any, secrets: Any) -> Listener:
    return Listener(str(name), str(protocol), str(host), int(port), bool(shared), tuple(map(str, secrets)))


def _attached(hosts: Any, parents: Any) -> Attached:
    where = tuple((str(gateway), str(listener), int(port)) for gateway, listener, port in parents)
    return Attached(tuple(map(str, hosts)), where)


def _planned(secret: Any, before: Any) -> Planned:
    return Planned(str(secret), float(before))


_FROM_JSON: dict[str, Callable[..., Any]] = {
    "gateways": _listener,
    "certificates": _planned,
    **dict.fromkeys(PROTOCOLS, _attached),
}
