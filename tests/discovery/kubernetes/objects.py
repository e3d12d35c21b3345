"""
Objects of a cluster as its API has them, for these tests.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.probes.kubernetes.api_server import Object


def obj(
    path: str,
    spec: Mapping[str, Any],
    *,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Object:
    """
    The object `NAMESPACE/NAME`.
    """
    namespace, _, name = path.partition("/")
    metadata: Object = {"namespace": namespace, "name": name}
    metadata |= {"labels": labels or {}, "annotations": annotations or {}}
    return {"metadata": metadata, "spec": dict(spec)}


def ingress(path: str, *hosts: str, secret: str = "", rules: Sequence[str] = (), **labels: str) -> Object:
    """
    An Ingress with one entry for TLS.
    """
    entry = {"hosts": list(hosts)} | ({"secretName": secret} if secret else {})
    return obj(path, {"tls": [entry], "rules": [{"host": host} for host in rules]}, labels=labels)


def gateway(path: str, *listeners: Mapping[str, Any], **labels: str) -> Object:
    """
    A Gateway.
    """
    return obj(path, {"gatewayClassName": "any", "listeners": list(listeners)}, labels=labels)


def listener(
    host: str | None,
    port: int = 443,
    protocol: str = "HTTPS",
    *refs: str,
    name: str = "tls",
    allowed: str = "",
) -> dict[str, Any]:
    """
    A listener with references to Secrets: a name, or `NAMESPACE/NAME`. `allowed`: whose routes it takes.
    """
    found: dict[str, Any] = {"name": name, "protocol": protocol, "port": port}
    if allowed:
        found["allowedRoutes"] = {"namespaces": {"from": allowed}}
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


def planned(path: str, secret: str, end: str, due: str | None, **spec: Any) -> Object:
    """
    A Certificate of cert-manager with these times in its status.
    """
    found = obj(path, {"secretName": secret, **spec})
    return found | {"status": {"notAfter": end} | ({"renewalTime": due} if due else {})}
