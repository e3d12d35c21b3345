"""
The objects of a Kubernetes cluster. Pure.

They are built here only: with values they are manifests, with Helm's expressions the templates of a chart.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Manifest = dict[str, Any]

NAME = "expiry-exporter"

_USER = 65532
"""User and group of the image."""

_CONFIG = "/etc/expiry-exporter"

_STATE = "/var/lib/expiry-exporter"


@dataclass(frozen=True, slots=True)
class Inputs:
    """
    The values in which two installations differ. In a chart each field is an expression.
    """

    name: Any
    namespace: Any
    values: Callable[[str], Any]
    """A value of the chart, by its keys with dots between them."""
    config_hash: Any
    token: Any
    """True: the pod gets the token of its service account."""
    roles: Mapping[Any, Any]
    """Rules by namespace. In a chart it has one, that of the loop."""
    rules: Any
    """The content of the rules' file."""
    dashboards: Mapping[str, Any]
    """Each dashboard's text, by the name of its file."""
    joined: Callable[[Any, Any], Any]
    """Adds a list to a list, or a mapping to a mapping."""
    formatted: Callable[..., Any]
    """Puts values in the places of `{}`."""

    @property
    def selector(self) -> dict[str, Any]:
        """
        Return the labels of the pods that never change.
        """
        return {"app.kubernetes.io/name": NAME, "app.kubernetes.io/instance": self.name}


def chosen(values: Mapping[str, Any]) -> dict[str, bool]:
    """
    Return by file whether these values ask for it. A file that is not named is always there.
    """
    stateful = values["shards"] > 1
    return {
        "deployment.yaml": not stateful and not values["storage"],
        "statefulset.yaml": stateful and not values["storage"],
        "statefulset-with-storage.yaml": bool(values["storage"]),
        "clusterrole.yaml": bool(values["rbac"]["cluster"]),
        "roles.yaml": bool(values["rbac"]["namespaces"]),
        "networkpolicy.yaml": values["networkPolicy"]["enabled"],
        "servicemonitor.yaml": values["serviceMonitor"]["enabled"],
        "prometheusrule.yaml": values["prometheusRule"]["enabled"],
        "dashboards.yaml": values["dashboards"]["enabled"],
    }


def manifests(
    values: Mapping[str, Any], namespace: str, rules: Any, dashboards: Mapping[str, str]
) -> dict[str, list[Manifest]]:
    """
    Return the objects for these values of the chart, by the name of their file.
    """

    def value(path: str) -> Any:
        found: Any = values
        for key in path.split("."):
            found = found[key]
        return found

    rbac = values["rbac"]
    inputs = Inputs(
        name=NAME,
        namespace=namespace,
        values=value,
        config_hash=hashlib.sha256(values["config"].encode()).hexdigest(),
        token=bool(rbac["cluster"] or rbac["namespaces"]),
        roles=rbac["namespaces"],
        rules=rules,
        dashboards=dashboards,
        joined=lambda one, other: one | other if isinstance(one, dict) else one + other,
        formatted=str.format,
    )
    wanted = chosen(values)
    return {file: objects for file, objects in built(inputs).items() if wanted.get(file, True)}


def built(given: Inputs) -> dict[str, list[Manifest]]:
    """
    Return every object that there may be, by the name of its file.
    """
    monitored = given.values("metadataLabels")
    cluster = given.formatted("{}-{}", given.namespace, given.name)
    return {
        "serviceaccount.yaml": [_object("v1", "ServiceAccount", given, automountServiceAccountToken=False)],
        "configmap.yaml": [_object("v1", "ConfigMap", given, data={"expiry.yml": given.values("config")})],
        "deployment.yaml": [_deployment(given)],
        "statefulset.yaml": [_stateful(given, {})],
        "statefulset-with-storage.yaml": [_stateful(given, {"volumeClaimTemplates": [_claim(given)]})],
        "service.yaml": [_service(given)],
        "clusterrole.yaml": _bound_role(given, "Cluster", cluster, None, given.values("rbac.cluster")),
        "roles.yaml": [
            one
            for where, rules in given.roles.items()
            for one in _bound_role(given, "", given.name, where, rules)
        ],
        "networkpolicy.yaml": [_network_policy(given)],
        # A minute without an exporter loses nothing: the drain of a node need not wait for it.
        "poddisruptionbudget.yaml": [
            _object(
                "policy/v1",
                "PodDisruptionBudget",
                given,
                spec={"maxUnavailable": 1, "selector": {"matchLabels": given.selector}},
            )
        ],
        "servicemonitor.yaml": [
            _object("monitoring.coreos.com/v1", "ServiceMonitor", given, monitored, spec=_monitor(given))
        ],
        "prometheusrule.yaml": [
            _object("monitoring.coreos.com/v1", "PrometheusRule", given, monitored, spec=given.rules)
        ],
        "dashboards.yaml": [
            _object(
                "v1",
                "ConfigMap",
                given,
                given.values("dashboards.labels"),
                name=given.formatted("{}-{}", given.name, file.removesuffix(".json").removeprefix("expiry-")),
                data={file: text},
            )
            for file, text in sorted(given.dashboards.items())
        ],
    }


def _object(
    api: str, kind: str, given: Inputs, labels: Any = None, *, name: Any = None, **rest: Any
) -> Manifest:
    own = given.selector if labels is None else given.joined(given.selector, labels)
    metadata = {"name": name or given.name, "namespace": given.namespace, "labels": own}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **rest}


def _deployment(given: Inputs) -> Manifest:
    state = [{"name": "state", "emptyDir": {}}]
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": given.selector},
        "template": _pod(given, state, given.values("extraArgs"), {}),
    }
    return _object("apps/v1", "Deployment", given, spec=spec)


def _stateful(given: Inputs, claims: Manifest) -> Manifest:
    shards = given.values("shards")
    share = [given.formatted("--shard.total={}", shards)]
    # The pod's number is the end of its name, in each version of Kubernetes.
    command = ["sh", "-c", f'exec {NAME} --shard.index="${{HOSTNAME##*-}}" "$@"', NAME]
    state = [] if claims else [{"name": "state", "emptyDir": {}}]
    spec = {
        "serviceName": given.name,
        "replicas": shards,
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": given.selector},
        "template": _pod(given, state, given.joined(share, given.values("extraArgs")), {"command": command}),
        **claims,
    }
    return _object("apps/v1", "StatefulSet", given, spec=spec)


def _claim(given: Inputs) -> Manifest:
    return {
        "metadata": {"name": "state"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": given.values("storage")}},
        },
    }


def _pod(given: Inputs, state: list[Manifest], arguments: Any, command: Manifest) -> Manifest:
    usual = [
        f"--config.file={_CONFIG}/expiry.yml",
        f"--state.path={_STATE}/state.sqlite",
        "--web.listen-address=:10119",
    ]
    mounts = [
        {"name": "config", "mountPath": _CONFIG, "readOnly": True},
        {"name": "state", "mountPath": _STATE},
    ]
    volumes = [{"name": "config", "configMap": {"name": given.name}}, *state]
    container = {
        "name": NAME,
        "image": given.values("image"),
        "imagePullPolicy": given.values("imagePullPolicy"),
        **command,
        "args": given.joined(usual, arguments),
        "env": given.values("extraEnv"),
        "ports": [{"name": "http", "containerPort": 10119}],
        "livenessProbe": _probe(given, "/-/healthy", periodSeconds=30, failureThreshold=3),
        "readinessProbe": _probe(given, "/-/ready", periodSeconds=10, failureThreshold=3),
        "resources": given.values("resources"),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": given.joined(mounts, given.values("extraVolumeMounts")),
    }
    spec = {
        "serviceAccountName": given.name,
        "automountServiceAccountToken": given.token,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": given.joined(volumes, given.values("extraVolumes")),
    }
    return {
        "metadata": {
            "labels": given.selector,
            # Another configuration makes new pods.
            "annotations": {"checksum/config": given.config_hash},
        },
        "spec": given.joined(spec, given.values("pod")),
    }


def _probe(given: Inputs, path: str, **rest: int) -> Manifest:
    # With TLS or a password, another request would get no answer, and the pod be restarted for ever.
    call = given.joined({"path": path, "port": "http"}, given.values("healthCheck"))
    return {"httpGet": call, "timeoutSeconds": 5, **rest}


def _service(given: Inputs) -> Manifest:
    ports = [{"name": "http", "port": 10119, "targetPort": "http"}]
    return _object("v1", "Service", given, spec={"selector": given.selector, "ports": ports})


def _bound_role(given: Inputs, prefix: str, name: Any, namespace: Any, rules: Any) -> list[Manifest]:
    """
    A role and its binding to the service account; `prefix` is `Cluster` for those of the whole cluster.
    """
    group = "rbac.authorization.k8s.io"
    account = {"kind": "ServiceAccount", "name": given.name, "namespace": given.namespace}
    reference = {"apiGroup": group, "kind": f"{prefix}Role", "name": name}
    objects = [
        _object(f"{group}/v1", f"{prefix}Role", given, name=name, rules=rules),
        _object(
            f"{group}/v1", f"{prefix}RoleBinding", given, name=name, roleRef=reference, subjects=[account]
        ),
    ]
    for one in objects:
        if namespace is None:
            del one["metadata"]["namespace"]
        else:
            one["metadata"]["namespace"] = namespace
    return objects


def _network_policy(given: Inputs) -> Manifest:
    """
    Only Prometheus may come in; what goes out is not limited, since targets may be anywhere.
    """
    allowed = {
        "from": [{"namespaceSelector": {"matchLabels": given.values("networkPolicy.from")}}],
        "ports": [{"port": "http"}],
    }
    spec = {
        "podSelector": {"matchLabels": given.selector},
        "policyTypes": ["Ingress"],
        "ingress": [allowed],
    }
    return _object("networking.k8s.io/v1", "NetworkPolicy", given, spec=spec)


def _monitor(given: Inputs) -> Manifest:
    endpoint = {
        "port": "http",
        "interval": given.values("serviceMonitor.interval"),
        # The exporter's labels say what a series is about; those of the pod do not replace them.
        "honorLabels": True,
    }
    return {
        "selector": {"matchLabels": given.selector},
        "endpoints": [given.joined(endpoint, given.values("serviceMonitor.endpoint"))],
    }
