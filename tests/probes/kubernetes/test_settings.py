"""
URLs and settings of targets in Kubernetes: what is taken, and what is refused with which words.
"""

import pytest

from exporter.config.reader import parse
from exporter.config.settings import target_for
from exporter.model.hosts import TargetError
from exporter.model.targets import Objects
from exporter.model.urls import parse_url
from exporter.probes.kubernetes.selection import questions
from exporter.yaml_lines import ConfigError


@pytest.mark.parametrize(
    "path",
    ["prod/web", "*/*", "prod/tls-*", "a/b/c/prod/web", "arn:aws:x/one/prod/web", "admin%40x/prod/web"],
)
def test_urls_that_are_taken(path: str) -> None:
    """
    An optional context, a namespace and a name.
    """
    url = parse_url(f"kubernetes://{path}")
    assert url.normal == f"kubernetes://{path}"
    assert url.authority == path


@pytest.mark.parametrize("rest", ["", "web", "prod/", "/web", "prod/Web", "prod/web:key", "prod/web?x=1&y"])
def test_urls_that_are_refused(rest: str) -> None:
    """
    With what would be right.
    """
    with pytest.raises(TargetError, match=r"kubernetes://\[CONTEXT/\]NAMESPACE/NAME"):
        parse_url(f"kubernetes://{rest}")


def test_settings() -> None:
    """
    Each once, and the kubeconfig as seen from the configuration; a missing one is a warning.
    """
    document = b"""
    targets:
      - url: kubernetes://*/*
        kubernetes:
          kubeconfig: no/such/file
          resources: [secrets, secrets, webhooks]
          types: [kubernetes.io/tls]
          selector: team=web
      - kubernetes://prod/web
    """
    config = parse(document, "/etc/expiry.yml", {})
    assert [one.kubernetes for one in config.targets] == [
        Objects("/etc/no/such/file", ("secrets", "webhooks"), ("kubernetes.io/tls",), "team=web"),
        Objects(),
    ]
    (warning,) = config.warnings
    assert "kubernetes.kubeconfig" in warning


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("resources: [pods]", "must be"),
        ("resources: []", "must not be empty"),
        ("types: [helm.sh/release.v1]", "Helm"),
        ('types: ["a,b=c"]', "not a type"),
        ("token: hunter2", "unknown key"),
    ],
)
def test_settings_that_are_refused(settings: str, words: str) -> None:
    """
    With words for whoever wrote them, and without the value of what may be a secret.
    """
    document = f"targets: [{{url: 'kubernetes://*/*', kubernetes: {{{settings}}}}}]".encode()
    with pytest.raises(ConfigError, match=words) as refused:
        parse(document, "expiry.yml", {})
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("scope", "asked"),
    [
        ("object", [("prod", "web", "")]),
        ("namespace", [("prod", "", "kubernetes.io/tls"), ("prod", "", "Opaque")]),
        ("cluster", [("", "", "kubernetes.io/tls"), ("", "", "Opaque")]),
    ],
)
def test_the_list_that_an_object_is_taken_from(scope: str, asked: list[tuple[str, str, str]]) -> None:
    """
    One of it alone, or one that many targets share.
    """
    document = f"targets: [{{url: 'kubernetes://prod/web', kubernetes: {{scope: {scope}}}}}]"
    (target,) = parse(document.encode(), "expiry.yml", {}).targets
    assert [(one.namespace, one.name, one.type) for one in questions(target)] == asked


def test_a_probe_must_be_allowed_by_its_scheme() -> None:
    """
    It asks with the rights of the exporter: `*` does not mean it.
    """
    url = "kubernetes://prod/web"
    with pytest.raises(TargetError):
        target_for(parse(b"targets: []", "expiry.yml", {}), url, None)
    allowed = parse(b"{targets: [], probe: {allow: ['kubernetes://prod/*']}}", "expiry.yml", {})
    assert target_for(allowed, url, None).url.text == url
    with pytest.raises(TargetError):
        target_for(allowed, "kubernetes://dev/web", None)
