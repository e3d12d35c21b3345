"""
Objects of a cluster as its API has them, for these tests.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.probes.kubernetes.api_server import Object


def obj(path: str, spec: Mapping[str, Any], labels: Mapping[str, str] | None = None, **more: str) -> Object:
    """
    The object `NAMESPACE/NAME`. `more` are annotations.
    """
    namespace, _, name = path.partition("/")
    metadata: Object = {"namespace": namespace, "name": name, "labels": labels or {}, "annotations": more}
    return {"metadata": metadata, "spec": dict(spec)}


def ingress(path: str, *hosts: str, secret: str = "", rules: Sequence[str] = (), **labels: str) -> Object:
    """
    An Ingress with one entry for TLS.
    """
    entry = {"hosts": list(hosts)} | ({"secretName": secret} if secret else {})
    return obj(path, {"tls": [entry], "rules": [{"host": host} for host in rules]}, labels)


def gateway(path: str, *listeners: Mapping[str, Any], **labels: str) -> Object:
    """
    A Gateway.
    """
    return obj(path, {"gatewayClassName": "any", "listeners": list(listeners)}, labels)


def listener(
    host: str | None, port: int = 443, protocol: str = "HTTPS", *refs: str, name: str = "tls", **more: Any
) -> dict[str, Any]:
    """
    A listener, with references to Secrets of this name, or `NAMESPACE/NAME`.
    """
    found: dict[str, Any] = {"name": name, "protocol": protocol, "port": port, **more}
    if host is not None:
        found["hostname"] = host
    if refs:
        parts = [one.rpartition("/") for one in refs]
        found["tls"] = {
            "certificateRefs": [
                {"name": name} | ({"namespace": space} if space else {}) for space, _, name in parts
            ]
        }
    return found


def attached(path: str, hosts: Sequence[str], *parents: Mapping[str, Any]) -> Object:
    """
    A route at these Gateways.
    """
    return obj(path, {"hostnames": list(hosts), "parentRefs": list(parents)})


ALL = {"allowedRoutes": {"namespaces": {"from": "All"}}}
"""Of a listener that takes routes of every namespace."""
