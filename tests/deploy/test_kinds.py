"""
The files of each kind: valid by the schemas of those who read them, and alike where they say the same.
"""

import hashlib
import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from exporter.cli import main
from exporter.config.reader import load
from tests.support import prometheus_rule
from tests.support.readme import REPOSITORY, fenced

HELM = shutil.which("helm") or str(REPOSITORY / ".tests" / "tools" / "helm")

VERSIONS = ("1.25", "1.28", "1.31", "1.34")
"""Versions of Kubernetes whose schemas are asked."""

SHAPES: dict[str, Sequence[str]] = {
    "plain": (),
    "shards": ("--shards=3",),
    "storage": ("--storage=100Mi", "--web.external-url=https://expiry.example.com/a%20b"),
    "rights": ("--shards=2", "--storage=1Gi", "--config.file={}", "--metadata-label=release=other"),
    "discover": ("--config.file={}/discover.yml",),
}
"""Flags for each shape that the objects may have."""

CONFIG = """\
# Not only ASCII: ü
targets:
  - url: kubernetes://*/*
    kubernetes: {resources: [webhooks, certificates]}
  - kubernetes://prod/web
  - kubernetes://prod/shop
  - kubernetes://test/*
  - url: kubernetes://test/ca
    kubernetes: {resources: [configmaps]}
  - kubernetes://other-cluster/prod/web
  - url: kubernetes://there/*
    kubernetes: {kubeconfig: there.yml}
"""

EXAMPLE = (REPOSITORY / "exporter" / "config" / "example.yml").read_text("utf-8")
"""The configuration with every key."""

DISCOVER = """\
targets: [kubernetes://prod/web, kubernetes://test/own]
discover:
  - kubernetes: {}
    name: all
  - kubernetes: {namespaces: [prod, test], resources: [ingresses]}
  - kubernetes: {context: other, namespaces: elsewhere}
  - stores: /etc/letsencrypt
"""


def deploy(kind: str, directory: Path, *flags: str) -> Path:
    """
    Write the files, and return where they are.
    """
    assert main.main(["deploy", kind, f"--output-dir={directory}", *flags]) == 0
    return directory


def objects(directory: Path) -> list[dict[str, Any]]:
    """
    All manifests in the directory.
    """
    return [one for path in sorted(directory.iterdir()) for one in documents(path.read_text("utf-8"))]


def documents(text: str) -> list[dict[str, Any]]:
    """
    All manifests in the text, by the loader in C: rules are long, and tracing the other takes seconds.
    """
    return list(yaml.load_all(text, yaml.CSafeLoader))


def by_name(manifests: list[dict[str, Any]]) -> dict[tuple[str, str, str], dict[str, Any]]:
    """
    Manifests by what identifies them in a cluster.
    """
    found = {
        (one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]): one for one in manifests
    }
    assert len(found) == len(manifests)
    return found


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    The chart with its example.
    """
    return deploy("helm", tmp_path_factory.mktemp("chart"))


@pytest.fixture(params=SHAPES)
def flags(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """
    Flags of `deploy`.
    """
    path = tmp_path / "mine.yml"
    path.write_text(CONFIG, encoding="utf-8")
    (tmp_path / "discover.yml").write_text(DISCOVER, encoding="utf-8")
    return [flag.format(tmp_path if "{}/" in flag else path) for flag in SHAPES[request.param]]


def test_manifests_are_valid_in_each_version(flags: list[str], tmp_path: Path) -> None:
    """
    Strictly: without keys that Kubernetes does not know. Its schemas have no objects of the operator.
    """
    manifests = objects(deploy("kubernetes", tmp_path / "out", *flags))
    (rules,) = (one for one in manifests if one["kind"] == "PrometheusRule")
    prometheus_rule.check(rules)
    for version in VERSIONS:
        for one in manifests:
            if not one["apiVersion"].startswith("monitoring.coreos.com/"):
                kubernetes_validate.validate(one, version, strict=True)


def test_the_chart_gives_the_manifests(flags: list[str], tmp_path: Path) -> None:
    """
    The linter finds nothing, and each object of the chart is that of the manifests.
    """
    chart = deploy("helm", tmp_path / "chart", *flags)
    subprocess.run([HELM, "lint", "--strict", chart], check=True, capture_output=True)
    rendered = subprocess.check_output(
        [HELM, "template", "expiry-exporter", chart, "--namespace=elsewhere"], text=True
    )
    manifests = objects(deploy("kubernetes", tmp_path / "out", "--namespace=elsewhere", *flags))
    assert by_name(documents(rendered)) == by_name(manifests)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("shards=0", "shards: Must be greater than or equal to 1"),
        ("shards=many", "shards: Invalid type. Expected: integer, given: string"),
        ("storage=lots", "storage: Does not match pattern"),
        ("sharts=2", "Additional property sharts is not allowed"),
        ("image=", "image: Does not match pattern"),
        ("imagePullPolicy=Sometimes", "imagePullPolicy must be one of"),
        ("serviceMonitor.interval=often", "serviceMonitor.interval: Does not match pattern"),
        ("rbac.cluster[0].verbs[0]=delete", "rbac.cluster.0.verbs.0"),
        ("resources.limits.memory=plenty", "resources.limits.memory: Does not match pattern"),
        ("extraArgs[0]=verbose", "extraArgs.0: Does not match pattern"),
        ("extraVolumes[0].name=5", "extraVolumes.0.name: Invalid type"),
        ("metadataLabels.no label=x", 'metadataLabels: Property name of "no label" does not match'),
        ("networkPolicy.from.team=no label", "networkPolicy.from.team: Does not match pattern"),
        ("healthCheck.scheme=https", "healthCheck.scheme must be one of"),
        ("rbac=null", "rbac is required"),
        ("extraArgs=null", "extraArgs is required"),
        ("extraEnv[0].value=x", "name is required"),
        ("pod.volumes[0].name=x", "pod: Must not validate the schema"),
        ("serviceMonitor=null", "serviceMonitor is required"),
        ("resources.limits.memory=-5", "resources.limits.memory: Must be greater than or equal to 0"),
        ("extraVolumeMounts[0].mountPath=5", "extraVolumeMounts.0.mountPath: Invalid type"),
        ("extraEnv[0].value=7", "extraEnv.0.value: Invalid type"),
        ("healthCheck.httpHeaders[0].value=7", "healthCheck.httpHeaders.0.value: Invalid type"),
        ("pod.hostNetwork=yes", "pod.hostNetwork: Invalid type"),
        ("pod.tolerations=all", "pod.tolerations: Invalid type"),
        ("pod.nodeSelector.gpu=true", "pod.nodeSelector.gpu: Invalid type"),
        ("rbac.namespaces.Bad_NS=", 'rbac.namespaces: Property name of "Bad_NS" does not match'),
        ("serviceMonitor.interval=1s1h", "serviceMonitor.interval: Does not match pattern"),
        ("serviceMonitor.interval=0m0s", "serviceMonitor.interval: Must not validate the schema"),
        ("serviceMonitor.interval=", "serviceMonitor.interval: Must not validate the schema"),
        ("image=registry.example/Upper:1", "image: Does not match pattern"),
        ("image=https://registry.example/expiry:1", "image: Does not match pattern"),
        ("image=expiry@sha256:12", "image: Does not match pattern"),
        ("image=expiry:", "image: Does not match pattern"),
        ("extraVolumes[0].name=Web", "extraVolumes.0.name: Does not match pattern"),
        ("extraVolumes[0].name=state", "extraVolumes.0: Must not validate the schema"),
        ("extraVolumeMounts[0].mountPath=etc/web", "extraVolumeMounts.0.mountPath: Does not match pattern"),
        ("extraEnv[0].name=A=B", "extraEnv.0.name: Does not match pattern"),
        ("extraEnv[0].valueFrom=password", "extraEnv.0.valueFrom: Invalid type"),
        ("healthCheck.httpHeaders[0].name=A B", "healthCheck.httpHeaders.0.name: Does not match pattern"),
        ("rbac.cluster[0].verbs=null", "rbac.cluster.0"),
        ("serviceMonitor.endpoint.scheme=ftp", "serviceMonitor.endpoint.scheme must be one of"),
        ("serviceMonitor.endpoint.scrapeTimeout=soon", "endpoint.scrapeTimeout: Does not match pattern"),
        ("serviceMonitor.endpoint.tlsConfig=off", "serviceMonitor.endpoint.tlsConfig: Invalid type"),
        ("serviceMonitor.endpoint.basicAuth.username=me", "endpoint.basicAuth.username: Invalid type"),
        ("serviceMonitor.endpoint.port=web", "serviceMonitor.endpoint.port must be one of"),
    ],
)
def test_nonsense_values_are_refused(value: str, words: str, tmp_path: Path) -> None:
    """
    Helm names the value and what is wrong with it.
    """
    chart = deploy("helm", tmp_path)
    done = subprocess.run(
        [HELM, "template", chart, "--set", value], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert words in done.stderr


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("nonsense", "value config: must be a mapping"),
        ("- https://a.example", "value config: must be a mapping"),
        ("# targets:", "value config: has no key"),
        ("targtes: []", 'value config: has the unknown key "targtes": known are acme, '),
        ("targets: 5", "value config: targets must be a list"),
        ("policies: []", "value config: policies must be a mapping"),
        ({}, "config"),
        ({"targtes": []}, "config: Additional property targtes is not allowed"),
        ({"targets": 5}, "config.targets: Invalid type"),
        ({"targets": [{"url": "https://a.example", "tiemout": "5s"}]}, "property tiemout is not allowed"),
        ({"targets": ["htps://a.example"]}, "config.targets.0: Does not match pattern"),
        ({"targets": [{"url": "https://a.example", "name": "a\tb"}]}, "name: Does not match pattern"),
        (5, "config: Invalid type. Expected: [string,object], given: integer"),
    ],
)
def test_a_nonsense_configuration_is_refused(chart: Path, config: Any, words: str, tmp_path: Path) -> None:
    """
    A text at its top, keys as far as the configuration's schema goes.
    """
    done = templated(chart, tmp_path, config)
    assert done.returncode == 1
    assert words in done.stderr


@pytest.mark.parametrize(
    "config",
    [
        "targets:\n",
        "x-all: &all {timeout: 5s}\ntargets:\n  - {<<: *all, url: https://a.example}\n",
        EXAMPLE,
        yaml.safe_load(EXAMPLE),
    ],
    ids=["empty", "merged", "text", "keys"],
)
def test_a_configuration_is_a_text_or_keys(chart: Path, config: Any, tmp_path: Path) -> None:
    """
    A text goes into the ConfigMap as it is, keys with the same meaning. Either changes the pods' annotation.
    """
    done = templated(chart, tmp_path, config)
    assert done.returncode == 0, done.stderr
    manifests = documents(done.stdout)
    (written,) = (one["data"]["expiry.yml"] for one in manifests if "expiry.yml" in one.get("data", {}))
    if isinstance(config, str):
        assert written == config
    assert yaml.safe_load(written) == (yaml.safe_load(config) if isinstance(config, str) else config)
    (workload,) = (one for one in manifests if one["kind"] == "Deployment")
    annotations = workload["spec"]["template"]["metadata"]["annotations"]
    assert annotations["checksum/config"] == hashlib.sha256(written.encode()).hexdigest()


def templated(chart: Path, directory: Path, config: Any) -> subprocess.CompletedProcess[str]:
    """
    What Helm makes of the chart with this value.
    """
    (directory / "config.yaml").write_text(json.dumps({"config": config}))
    return subprocess.run(
        [HELM, "template", chart, f"--values={directory / 'config.yaml'}"],
        capture_output=True,
        text=True,
        check=False,
    )


def test_objects_that_are_switched_off_are_not_there(tmp_path: Path) -> None:
    """
    Without the operator, a sidecar and network policies, what remains runs.
    """
    chart = deploy("helm", tmp_path)
    off = ["serviceMonitor", "prometheusRule", "dashboards", "networkPolicy"]
    rendered = subprocess.check_output(
        [HELM, "template", chart, *(f"--set={one}.enabled=false" for one in off)], text=True
    )
    kinds = sorted(one["kind"] for one in documents(rendered))
    assert kinds == ["ConfigMap", "Deployment", "PodDisruptionBudget", "Service", "ServiceAccount"]


def test_more_of_the_pod_is_taken(tmp_path: Path) -> None:
    """
    Of the chart, behind its own.
    """
    chart = deploy("helm", tmp_path)
    extra = {
        "extraArgs": ["--web.config.file=/etc/web/web.yml"],
        "extraVolumes": [{"name": "web", "secret": {"secretName": "web"}}],
        "extraVolumeMounts": [{"name": "web", "mountPath": "/etc/web"}],
        "extraEnv": [{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "web", "key": "password"}}}],
        "pod": {
            "imagePullSecrets": [{"name": "registry"}],
            "tolerations": [{"operator": "Exists"}],
            "securityContext": {"fsGroup": 7},
        },
    }
    (tmp_path / "more.yaml").write_text(json.dumps(extra))
    rendered = subprocess.check_output(
        [HELM, "template", chart, f"--values={tmp_path / 'more.yaml'}"], text=True
    )
    (workload,) = (one for one in documents(rendered) if one["kind"] == "Deployment")
    pod = workload["spec"]["template"]["spec"]
    assert pod["containers"][0]["args"][-1:] == extra["extraArgs"]
    assert pod["volumes"][-1:] == extra["extraVolumes"]
    assert pod["containers"][0]["volumeMounts"][-1:] == extra["extraVolumeMounts"]
    assert pod["containers"][0]["env"] == extra["extraEnv"]
    assert (pod["imagePullSecrets"], pod["tolerations"]) == ([{"name": "registry"}], [{"operator": "Exists"}])
    # What is not named stays.
    assert (pod["securityContext"]["fsGroup"], pod["securityContext"]["runAsNonRoot"]) == (7, True)
    kubernetes_validate.validate(workload, VERSIONS[-1], strict=True)


def test_a_port_with_tls_and_a_password_is_called_so(tmp_path: Path) -> None:
    """
    By Kubernetes, which would else restart the pods for ever, and by Prometheus.
    """
    chart = deploy("helm", tmp_path)
    call = {"scheme": "HTTPS", "httpHeaders": [{"name": "Authorization", "value": "Basic eDp5"}]}
    endpoint = {"scheme": "https", "tlsConfig": {"serverName": "expiry.example"}}
    (tmp_path / "more.yaml").write_text(
        json.dumps({"healthCheck": call, "serviceMonitor": {"endpoint": endpoint}})
    )
    manifests = documents(
        subprocess.check_output([HELM, "template", chart, f"--values={tmp_path / 'more.yaml'}"], text=True)
    )
    (workload,) = (one for one in manifests if one["kind"] == "Deployment")
    kubernetes_validate.validate(workload, VERSIONS[-1], strict=True)
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    assert container["livenessProbe"]["httpGet"] == {"path": "/-/healthy", "port": "http", **call}
    assert container["readinessProbe"]["httpGet"] == {"path": "/-/ready", "port": "http", **call}
    (monitor,) = (one for one in manifests if one["kind"] == "ServiceMonitor")
    (scraped,) = monitor["spec"]["endpoints"]
    assert scraped == {"port": "http", "interval": "1m", "honorLabels": True, **endpoint}


def test_rights_are_just_what_the_configuration_needs(tmp_path: Path) -> None:
    """
    No more than `list` and `watch`, of named Secrets if they are named; nothing for other clusters.
    """
    (tmp_path / "mine.yml").write_text(CONFIG, encoding="utf-8")
    manifests = objects(
        deploy("kubernetes", tmp_path / "out", f"--config.file={tmp_path / 'mine.yml'}", "--namespace=here")
    )
    rules = {
        (one["kind"], one["metadata"].get("namespace", ""), *rule["resources"]): rule.get("resourceNames")
        for one in manifests
        for rule in one.get("rules", [])
    }
    assert rules == {
        ("ClusterRole", "", "validatingwebhookconfigurations"): None,
        ("ClusterRole", "", "mutatingwebhookconfigurations"): None,
        ("ClusterRole", "", "certificates"): None,
        ("Role", "prod", "secrets"): ["shop", "web"],
        ("Role", "test", "secrets"): None,
        ("Role", "test", "configmaps"): ["ca"],
    }
    verbs = [rule["verbs"] for one in manifests for rule in one.get("rules", [])]
    assert all(some == ["list", "watch"] for some in verbs)
    assert {one["subjects"][0]["namespace"] for one in manifests if "subjects" in one} == {"here"}


def rules(directory: Path, text: str) -> dict[tuple[str, ...], set[str]]:
    """
    Resources by kind and namespace of the role, group and verbs.
    """
    (directory / "mine.yml").write_text(text, encoding="utf-8")
    found: dict[tuple[str, ...], set[str]] = {}
    for one in objects(deploy("kubernetes", directory / "out", f"--config.file={directory / 'mine.yml'}")):
        for rule in one.get("rules", []):
            assert rule.keys() == {"apiGroups", "resources", "verbs"}
            key = one["kind"], one["metadata"].get("namespace", ""), *rule["apiGroups"], *rule["verbs"]
            found.setdefault(key, set()).update(rule["resources"])
    return found


def test_rights_of_sources(tmp_path: Path) -> None:
    """
    Each kind that is looked at, as the manual has it; by namespace if it names some.
    """
    everywhere = {
        ("ClusterRole", "", "", "list", "watch"): {"secrets", "services"},
        ("ClusterRole", "", "networking.k8s.io", "list", "watch"): {"ingresses"},
        ("ClusterRole", "", "gateway.networking.k8s.io", "list", "watch"): {
            *("gateways", "httproutes", "grpcroutes", "tlsroutes"),
        },
        ("ClusterRole", "", "route.openshift.io", "list", "watch"): {"routes"},
        ("ClusterRole", "", "cert-manager.io", "list", "watch"): {"certificates"},
    }
    assert rules(tmp_path, DISCOVER) == everywhere
    (written,) = (yaml.safe_load(one) for one in fenced("yaml") if "gateway.networking.k8s.io" in one)
    kubernetes_validate.validate(written, VERSIONS[-1], strict=True)
    described: dict[tuple[str, ...], set[str]] = {}
    for rule in written["rules"]:
        described["ClusterRole", "", *rule["apiGroups"], *rule["verbs"]] = set(rule["resources"])
    assert described == everywhere
    some = "discover: [{kubernetes: {namespaces: [a, b], resources: [services, routes]}}]"
    (tmp_path / "some").mkdir()
    assert rules(tmp_path / "some", some) == {
        ("Role", space, group, "list", "watch"): {kind}
        for space in "ab"
        for group, kind in (("", "services"), ("route.openshift.io", "routes"))
    }
    (tmp_path / "other").mkdir()
    assert rules(tmp_path / "other", "discover: [{kubernetes: {context: far}}]") == {}


def test_without_targets_in_the_cluster_there_are_no_rights(tmp_path: Path) -> None:
    """
    Nor a token of the service account.
    """
    manifests = objects(deploy("kubernetes", tmp_path))
    assert not [one for one in manifests if "Role" in one["kind"]]
    (workload,) = (one for one in manifests if one["kind"] == "Deployment")
    assert workload["spec"]["template"]["spec"]["automountServiceAccountToken"] is False


def test_the_pod_is_as_restricted_as_the_standard_asks(flags: list[str], tmp_path: Path) -> None:
    """
    The Pod Security Standard `restricted`, and a root file system that can't be written.
    """
    manifests = objects(deploy("kubernetes", tmp_path / "out", *flags))
    (workload,) = (one for one in manifests if one["kind"] in {"Deployment", "StatefulSet"})
    pod = workload["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"livenessProbe", "readinessProbe", "resources"} <= container.keys()
    served = main.parser(["serve"])
    given = [flag for flag in container["args"] if not flag.startswith("--shard.index")]
    assert served.parse_args(["serve", *given]).config_file == "/etc/expiry-exporter/expiry.yml"


def test_each_replica_takes_the_share_of_its_number(tmp_path: Path) -> None:
    """
    By the end of its pod's name, as the shell of the image reads it.
    """
    manifests = objects(deploy("kubernetes", tmp_path / "out", "--shards=12"))
    (workload,) = (one for one in manifests if one["kind"] == "StatefulSet")
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    program = tmp_path / "expiry-exporter"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)
    given = subprocess.check_output(
        [*container["command"], *container["args"]],
        env={"HOSTNAME": "expiry-exporter-11", "PATH": f"{tmp_path}:/usr/bin:/bin"},
        text=True,
    )
    options = main.parser(["serve"]).parse_args(["serve", *given.splitlines()])
    assert (options.shard_index, options.shard_total) == (11, 12)
    assert options.config_file == "/etc/expiry-exporter/expiry.yml"


def test_the_compose_file_is_valid(tmp_path: Path) -> None:
    """
    By the schema of the Compose specification. What it mounts is there.
    """
    directory = deploy("compose", tmp_path)
    document = yaml.safe_load((directory / "compose.yml").read_text("utf-8"))
    schema = files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    jsonschema.validate(document, json.loads(schema.read_text("utf-8")))
    for service in document["services"].values():
        for mount in service["volumes"]:
            source = mount.split(":")[0]
            assert source in document["volumes"] or (directory / source).is_dir()
        for flag in service.get("command", ()):
            # What Prometheus and Alertmanager link to is where a person reaches them.
            if flag.startswith("--web.external-url="):
                port = flag.rpartition(":")[2]
                assert service["ports"] == [f"127.0.0.1:{port}:{port}"]
        assert service is document["services"]["grafana"] or "--web.external-url=" in str(service["command"])
    main.parser(["serve"]).parse_args(["serve", *document["services"]["expiry-exporter"]["command"]])


@pytest.mark.parametrize(
    ("kind", "file"),
    [("compose", "expiry-exporter/expiry.yml"), ("systemd", "expiry-exporter/expiry.yml")],
)
def test_the_example_configuration_is_good(kind: str, file: str, tmp_path: Path) -> None:
    """
    The exporter takes it, without a warning.
    """
    path = deploy(kind, tmp_path) / file
    config = load(str(path), {})
    assert config.targets
    assert config.warnings == ()
    first, _, rest = path.read_text("utf-8").partition("\n")
    schema = path.parent / first.removeprefix("# yaml-language-server: $schema=")
    jsonschema.validate(yaml.safe_load(rest), json.loads(schema.read_text("utf-8")))


def test_the_example_in_a_cluster_is_good(tmp_path: Path) -> None:
    """
    That of manifests and chart, which is the same.
    """
    (config,) = objects_of_kind(deploy("kubernetes", tmp_path / "out"), "ConfigMap", "expiry.yml")
    path = tmp_path / "expiry.yml"
    # Which schema editors use is told where that lies beside it.
    assert "$schema" not in config["data"]["expiry.yml"]
    path.write_text(config["data"]["expiry.yml"], encoding="utf-8")
    assert load(str(path), {}).warnings == ()


def objects_of_kind(directory: Path, kind: str, key: str) -> list[dict[str, Any]]:
    """
    Objects of this kind with this key in their data.
    """
    return [one for one in objects(directory) if one["kind"] == kind and key in one["data"]]


@pytest.mark.parametrize("kind", ["compose", "kubernetes", "helm", "systemd"])
def test_a_faulty_configuration_is_refused(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    All its faults are told as the server tells them, and nothing is written.
    """
    path = tmp_path / "mine.yml"
    path.write_text("targets:\n  - url: htps://a.example\n    tiemout: 5s\n")
    assert main.main(["deploy", kind, f"--output-dir={tmp_path / 'out'}", f"--config.file={path}"]) == 1
    told = capsys.readouterr().err
    assert f"{path}:2" in told
    assert "tiemout" in told
    assert not (tmp_path / "out").exists()


def test_a_configuration_in_another_encoding_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    YAML may be UTF-16; what is written around it is not.
    """
    path = tmp_path / "mine.yml"
    path.write_text("targets: [https://a.example]\n", encoding="utf-16")
    assert main.main(["deploy", "helm", f"--output-dir={tmp_path / 'out'}", f"--config.file={path}"]) == 1
    assert "is not UTF-8" in capsys.readouterr().err


NEEDING = """\
targets:
  - url: https://a.example
    ca_file: ca.pem
    proxy: {url: http://proxy.example, credentials_file: /run/secrets/proxy}
  - url: https://b.example
    client_certificate:
      {cert_file: ../pki/client.pem, key_file: ../pki/client.key, password_env: NOT_SET_HERE}
  - file:///srv/certs/*.pem
  - url: file:///srv/keys/k.p12
    password_file: /run/secrets/keys
discover:
  - stores: /srv/certs
  - http: {url: https://inventory.example, credentials_file: /run/secrets/inventory}
"""


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("compose", "`volumes` of expiry-exporter in compose.yml"),
        ("kubernetes", "`volumes` and `volumeMounts` of the pod"),
        ("helm", "extraVolumes and extraVolumeMounts in values.yaml"),
        ("systemd", "The user expiry-exporter must be able to read them"),
    ],
)
def test_files_that_must_be_there_are_told(
    kind: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    With the paths that they have there; here none of them exists, nor a variable with a pass phrase.
    """
    path = tmp_path / "mine.yml"
    path.write_text(NEEDING)
    deploy(kind, tmp_path / "out", f"--config.file={path}")
    told = capsys.readouterr().err
    assert [line.strip() for line in told.splitlines() if line.startswith("  ")] == [
        "/etc/expiry-exporter/ca.pem (ca_file)",
        "/etc/pki/client.key (key_file)",
        "/etc/pki/client.pem (cert_file)",
        "/run/secrets/inventory (credentials_file)",
        "/run/secrets/keys (password_file)",
        "/run/secrets/proxy (credentials_file)",
        "/srv/certs (stores)",
        "/srv/certs/*.pem (targets)",
        "/srv/keys/k.p12 (targets)",
    ]
    assert words in told
    assert "the environment variables that password_env names need" in told
    assert "NOT_SET_HERE" not in told
    assert ("is the ConfigMap" in told) is (kind in {"kubernetes", "helm"})


def test_what_the_unit_hides_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    The service would say that a file is not there which its owner sees.
    """
    path = tmp_path / "mine.yml"
    seen = "file:///srv/home/b.pem, file:///homes/c.pem"
    path.write_text(f"targets: [file:///home/me/*.pem, file:///tmp/a.pem, {seen}]")
    deploy("systemd", tmp_path / "out", f"--config.file={path}")
    told = capsys.readouterr().err
    assert "the unit hides /home (ProtectHome=), /tmp (PrivateTmp=): put these files elsewhere" in told
    deploy("compose", tmp_path / "other", f"--config.file={path}")
    path.write_text(f"targets: [{seen}]")
    deploy("systemd", tmp_path / "third", f"--config.file={path}")
    assert "the unit hides" not in capsys.readouterr().err


def test_many_files_are_not_all_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    What is left out is counted, and nothing is told of a configuration that names none.
    """
    path = tmp_path / "mine.yml"
    path.write_text("targets:\n" + "".join(f"  - file:///certs/{number}.pem\n" for number in range(60)))
    deploy("systemd", tmp_path / "out", f"--config.file={path}")
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 53
    assert told[-2].strip() == "and 10 more"
    path.write_text("targets: [https://a.example]\n")
    deploy("systemd", tmp_path / "other", f"--config.file={path}")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("kind", ["kubernetes", "helm"])
def test_a_configuration_that_no_configmap_holds_is_refused(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Before anything is written.
    """
    path = tmp_path / "mine.yml"
    path.write_text("targets: [https://a.example]\n" + "# more\n" * 150_000)
    assert main.main(["deploy", kind, f"--output-dir={tmp_path / 'out'}", f"--config.file={path}"]) == 1
    assert "1 MiB" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_the_user_changed_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Their configuration always; other files unless --force says so.
    """
    directory = deploy("compose", tmp_path)
    mine = directory / "expiry-exporter" / "expiry.yml"
    mine.write_text("targets: []\n")
    (directory / "compose.yml").write_text("services: {}\n")
    assert main.main(["deploy", "compose", f"--output-dir={directory}"]) == 1
    assert "compose.yml" in capsys.readouterr().err
    assert (directory / "compose.yml").read_text() == "services: {}\n"
    deploy("compose", directory, "--force")
    assert "@" not in (directory / "compose.yml").read_text()
    assert mine.read_text() == "targets: []\n"
    other = tmp_path / "other.yml"
    other.write_text("targets: [https://b.example]\n")
    deploy("compose", directory, "--force", f"--config.file={other}")
    assert mine.read_text() == other.read_text()


def test_containers_can_read_what_is_new(tmp_path: Path) -> None:
    """
    They have users of their own, and the umask may be strict. What was there keeps its mode, and the
    directory above all keeps the other users of this machine out.
    """
    mine = tmp_path / "out" / "expiry-exporter" / "expiry.yml"
    other = tmp_path / "other.yml"
    other.write_text("targets: [https://b.example]\n")
    before = os.umask(0o077)
    try:
        directory = deploy("compose", tmp_path / "out")
        for path in directory.rglob("*"):
            assert stat.S_IMODE(path.stat().st_mode) == (0o755 if path.is_dir() else 0o644), path
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        mine.chmod(0o640)
        deploy("compose", directory, "--force", f"--config.file={other}")
    finally:
        os.umask(before)
    assert mine.read_text() == other.read_text()
    assert stat.S_IMODE(mine.stat().st_mode) == 0o640


@pytest.mark.parametrize(
    "flag",
    [
        "--shards=0",
        "--shards=1001",
        "--storage=lots",
        "--image=A B",
        "--image=https://a/b",
        "--namespace=Up",
        "--metadata-label=x",
    ],
)
def test_flags_that_make_no_sense_are_refused(
    flag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    By the command line, with the flag's name.
    """
    with pytest.raises(SystemExit):
        main.main(["deploy", "kubernetes", f"--output-dir={tmp_path}", flag])
    assert flag.partition("=")[0] in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["compose", "systemd"])
def test_flags_of_another_kind_are_refused(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Rather than do less than was asked for.
    """
    given = ["deploy", kind, f"--output-dir={tmp_path / 'out'}", "--shards=2", "--storage=1Gi"]
    assert main.main(given) == 1
    assert f"--shards, --storage: only for kubernetes and helm, not for {kind}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
def test_the_unit_is_hardened(tmp_path: Path) -> None:
    """
    Its tool finds no fault in the units, and calls their exposure small: 10 is none, 0 the most protection.
    """
    odd = "--web.external-url=https://expiry.example.com/it's%20;(it)&!"
    units = deploy("systemd", tmp_path, odd) / "systemd" / "system"
    names = ("expiry-exporter.service", "expiry-exporter.socket")
    service = units / names[0]
    # What is started must exist.
    program = "/opt/expiry-exporter/bin/expiry-exporter"
    text = service.read_text()
    (started,) = re.findall(rf"^ExecStart={program} (.*)$", text, re.MULTILINE)
    # In double quotes nothing but these two has a meaning to systemd: systemd.service(5), "Command lines".
    words = shlex.split(started.replace("%%", "%"))
    options = main.parser(["serve"]).parse_args(["serve", *words])
    assert options.systemd_socket
    # With it, /proc has no `stat` and `sys`: no metrics of the process, and nothing that listens is found.
    assert not re.search("^ProcSubset=pid", text, re.MULTILINE)
    assert f"--web.external-url={options.external_url}" == odd
    service.write_text(text.replace(program, sys.executable))
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(str(units / name) for name in names)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert not [line for line in checked.stderr.splitlines() if "expiry-exporter" in line]
    exposure = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=15", service],
        capture_output=True,
        text=True,
        check=False,
    )
    assert exposure.returncode == 0, exposure.stdout[-300:]
