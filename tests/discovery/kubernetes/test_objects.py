"""
What becomes of each kind of object: targets, and what is passed over with a reason.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from exporter.config.sources import KubernetesSource
from exporter.discovery.base import Found, Listing
from exporter.discovery.kubernetes.listing import NOTE_LIMIT, listed
from exporter.discovery.kubernetes.objects import ANNOTATION, HOST_LIMIT, KINDS, NAMES, as_json, restored
from exporter.model.errors import ProbeError
from exporter.probes.kubernetes.objects import Key, Resource
from tests.discovery.kubernetes.objects import attached, gateway, ingress, listener, obj, planned
from tests.probes.kubernetes.api_server import Object
from tests.support.certificates import DAY
from tests.support.readme import fenced, whole_text

READING = SimpleNamespace(directory=Path("/"), policies={}, environ={}, elsewhere=None)
"""What paths in a configuration are read with."""

RESOURCES: dict[str, Resource] = {one.name: one for some in KINDS.values() for one in some}


def contents(objects: Mapping[str, list[Object]]) -> dict[str, dict[Key, tuple[Any, ...]]]:
    """
    What is kept of these objects, by kind, after a way through JSON as in the state.
    """
    found = {}
    for name, some in objects.items():
        read = {
            (one["metadata"]["namespace"], one["metadata"]["name"]): RESOURCES[name]
            .read(one, None, None)
            .content
            for one in some
        }
        found[name] = restored(name, json.loads(json.dumps(as_json(read))))
        assert found[name] == read
    return found


def looked(given: dict[str, Any] | None = None, /, **objects: list[Object]) -> tuple[list[str], list[str]]:
    """
    URLs and notes of what objects give.
    """
    listing = listed(KubernetesSource.model_validate(given or {}), contents(objects))
    return [one.url for one in all_of(listing)], list(listing.notes)


def all_of(listing: Listing) -> list[Found]:
    """
    The targets: those whose names have an address first, then the others.
    """
    return [*listing.named, *listing.found]


def test_hosts_of_an_ingress() -> None:
    """
    Those of its entries for TLS; rules say which hosts an entry without hosts, or a wildcard, is for.
    """
    rules = [{"host": host} for host in ("plain.example.com", "a.b.example.com", "A.example.com", "*.c.org")]
    tls = [
        {"hosts": ["WWW.example.com", "bücher.example"], "secretName": "web-tls"},
        {"hosts": ["*.b.example.com", "*.example.net", "a_b..c"]},
    ]
    assert looked(ingresses=[obj("prod/web", {"rules": rules, "tls": tls})]) == (
        ["https://www.example.com", "https://xn--bcher-kva.example", "https://a.b.example.com"],
        [
            "Ingress prod/web: *.example.net may be any host below it: write a target for one",
            "Ingress prod/web: 'a_b..c' is not a host name",
        ],
    )
    assert looked(ingresses=[obj("prod/web", {"rules": rules, "tls": [{"secretName": "all"}]})]) == (
        ["https://plain.example.com", "https://a.b.example.com", "https://a.example.com"],
        ["Ingress prod/web: *.c.org may be any host below it: write a target for one"],
    )
    assert looked(ingresses=[obj("prod/web", {"rules": rules})]) == ([], [])
    nothing = looked(ingresses=[obj("prod/web", {"tls": [{"hosts": []}]})])
    assert nothing == ([], ["Ingress prod/web: names no host"])


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        ("nginx.ingress.kubernetes.io/ssl-passthrough", "true", ["b.org"]),
        ("haproxy.org/ssl-passthrough", "true", ["b.org"]),
        ("traefik.ingress.kubernetes.io/router.tls", "true", ["b.org"]),
        ("haproxy.org/ssl-passthrough", "false", []),
        ("nginx.ingress.kubernetes.io/ssl-redirect", "true", []),
        ("alb.ingress.kubernetes.io/certificate-arn", "arn:aws:acm:eu-west-1:1:certificate/1", ["b.org"]),
        ("alb.ingress.kubernetes.io/listen-ports", '[{"HTTP": 80}, {"HTTPS":443}]', ["b.org"]),
        ("alb.ingress.kubernetes.io/listen-ports", '[{"HTTPS": 8443}]', ["b.org:8443"]),
        ("alb.ingress.kubernetes.io/listen-ports", '[{"HTTP": 80}]', []),
        ("alb.ingress.kubernetes.io/listen-ports", '[{"HTTPS": 70000}]', []),
        ("networking.gke.io/managed-certificates", "web, shop", ["b.org"]),
        ("ingress.gcp.kubernetes.io/pre-shared-cert", "web", ["b.org"]),
        ("ingress.gcp.kubernetes.io/pre-shared-cert", "", []),
        ("appgw.ingress.kubernetes.io/appgw-ssl-certificate", "web", ["b.org"]),
    ],
)
def test_an_annotation_says_that_all_rules_of_an_ingress_have_tls(
    annotation: str, value: str, expected: list[str]
) -> None:
    """
    Its controller passes it on, or has a certificate of its cloud: there need not be an entry for TLS.
    """
    rules = [{"host": host} for host in ("a.org", "B.org", "*.c.org")]
    spec = {"rules": rules, "tls": [{"hosts": ["a.org"], "secretName": "web"}]}
    urls, notes = looked(ingresses=[obj("prod/web", spec, annotations={annotation: value})])
    assert urls == [f"https://{host}" for host in ["a.org", *expected]]
    assert len(notes) == len(expected)


def test_one_host_of_two_ingresses_is_one_target() -> None:
    """
    The first by name is told, and how many more.
    """
    content = contents(
        {"ingresses": [ingress("b/web", "www.example.com"), ingress("a/web", "www.example.com", "a.org")]}
    )
    found = all_of(listed(KubernetesSource(), content))
    assert [(one.url, one.why) for one in found] == [
        ("https://www.example.com", "Ingress a/web and 1 more"),
        ("https://a.org", "Ingress a/web"),
    ]


def test_hosts_for_clients_elsewhere_are_told_from_those_that_are_meant() -> None:
    """
    An annotation of a Service is for this exporter: its names are targets, whatever the resolver knows.
    """
    annotations = {ANNOTATION: "5432 https://both.example.com"}
    listing = listed(
        KubernetesSource(),
        contents(
            {
                "ingresses": [ingress("shop/web", "www.example.com", "both.example.com")],
                "services": [obj("shop/db", {}, annotations=annotations)],
            }
        ),
    )
    assert [one.url for one in listing.named] == ["https://www.example.com"]
    assert [one.url for one in listing.found] == ["https://both.example.com", "postgres://db.shop.svc"]


def test_listeners_of_a_gateway() -> None:
    """
    Those with TLS, at their port. A listener that names no host is told unless a route names one.
    """
    found = gateway(
        "infra/gw",
        listener("www.example.com", 443),
        listener("mail.example.com", 8443),
        listener("db.example.com", 5432, "TLS"),
        listener("same.example.com", 443, "TLS"),
        listener("plain.example.com", 80, "HTTP"),
        listener("tcp.example.com", 99, "TCP"),
        listener("*.example.org", 443, name="wild"),
        listener(None, 443, name="all"),
        listener("bad.example.com", 70000),
        {"name": "odd", "protocol": "HTTPS", "port": "443", "hostname": 5},
    )
    assert looked(gateways=[found]) == (
        [
            *("https://www.example.com", "https://mail.example.com:8443", "tls://db.example.com:5432"),
            "https://same.example.com",
        ],
        [
            "Gateway infra/gw, listener wild: names *.example.org, and no route that is attached does",
            "Gateway infra/gw, listener all: names no host, and no route that is attached does",
        ],
    )


WILD = listener("*.example.com", 8443, name="wild", allowed="All")


@pytest.mark.parametrize(
    ("listening", "route", "urls"),
    [
        (WILD, ["a.example.com", "b.c.example.com"], ["https://a.example.com:8443", "https://b.c.example.com:8443"]),
        (WILD, ["a.example.org", "example.com"], []),
        (listener("a.example.com", allowed="All"), ["*.example.com"], ["https://a.example.com"]),
        (listener(None, 443, allowed="All"), ["A.example.com"], ["https://a.example.com"]),
        (listener("a.example.com", allowed="All"), [], ["https://a.example.com"]),
        (listener(None, 443), ["a.example.com"], []),
        (listener(None, 443, allowed="Selector"), ["a.org"], ["https://a.org"]),
        (listener(None, 80, "HTTP", allowed="All"), ["a.example.com"], []),
        (listener(None, 443, "TLS", allowed="All"), ["a.example.com"], []),
    ],
)  # fmt: skip
def test_names_of_a_route_that_a_listener_serves(
    listening: dict[str, Any], route: list[str], urls: list[str]
) -> None:
    """
    What both have in common, at the listener's port, if the listener takes routes of that namespace.
    """
    routes = [attached("prod/web", route, {"name": "gw", "namespace": "infra"})]
    assert looked(gateways=[gateway("infra/gw", listening)], httproutes=routes)[0] == urls


def test_a_route_chooses_its_listener() -> None:
    """
    By name and port; each kind of route has its protocol. What is no Gateway serves no host here.
    """
    gateways = [
        gateway(
            "prod/gw",
            listener(None, 443, name="a"),
            listener(None, 8443, name="b"),
            listener(None, 6443, "TLS", name="c"),
        )
    ]
    mesh = {"kind": "Service", "group": "", "name": "gw"}
    found, notes = looked(
        gateways=gateways,
        httproutes=[
            attached("prod/one", ["one.org"], {"name": "gw", "sectionName": "b"}),
            attached("prod/two", ["two.org"], {"name": "gw", "port": 443}, mesh),
            attached("prod/three", ["three.org"], mesh),
        ],
        grpcroutes=[attached("prod/rpc", ["rpc.org", "*.org"], {"name": "gw", "sectionName": "a"})],
        tlsroutes=[attached("prod/raw", ["raw.org"], {"name": "gw"}, {"name": "other"})],
    )
    assert found == ["https://one.org:8443", "https://two.org", "https://rpc.org", "tls://raw.org:6443"]
    assert notes == [
        "GRPCRoute prod/rpc at Gateway prod/gw: *.org may be any host below it: write a target for one",
        "TLSRoute prod/raw: its Gateway prod/other is not there, or in no namespace that is looked at",
    ]
    # Without the Gateways a route says too little, and nothing of it is told.
    assert looked(httproutes=[attached("prod/one", ["one.org"], {"name": "gw"})]) == ([], [])


def test_routes_of_openshift() -> None:
    """
    Those with TLS.
    """
    routes = [
        obj("prod/edge", {"host": "edge.example.com", "tls": {"termination": "edge"}}),
        obj("prod/own", {"host": "own.example.com", "tls": {"externalCertificate": {"name": "own-tls"}}}),
        obj("prod/plain", {"host": "plain.example.com"}),
    ]
    assert looked(routes=routes, secrets=[])[0] == [
        *("https://edge.example.com", "https://own.example.com", "kubernetes://prod/own-tls"),
    ]


@pytest.mark.parametrize(
    ("annotation", "urls"),
    [
        ("443", ["https://db.prod.svc"]),
        ("postgres:5432", ["postgres://db.prod.svc:5432"]),
        ("636, metrics\n5432", ["ldaps://db.prod.svc", "tls://db.prod.svc:9443", "postgres://db.prod.svc"]),
        ("tls:metrics", ["tls://db.prod.svc:9443"]),
        ("https:", ["https://db.prod.svc"]),
        ("imaps", ["imaps://db.prod.svc"]),
        ("https://www.example.com:8443", ["https://www.example.com:8443"]),
        (",", []),
    ],
)
def test_the_annotation_of_a_service(annotation: str, urls: list[str]) -> None:
    """
    Ports by number or name, schemes, and URLs of servers.
    """
    spec = {"ports": [{"name": "metrics", "port": 9443}, {"name": "odd", "port": "x"}]}
    services = [obj("prod/db", spec, annotations={ANNOTATION: annotation}), obj("prod/other", spec)]
    assert looked(services=services)[0] == urls


@pytest.mark.parametrize(
    "annotation",
    [
        *("true", "0", "70000", "nonsense:5", "tls", "file:///etc/shadow", "kubernetes://kube-system/*"),
        *("pem+https://a.org/x", "domain:example.com", "dns:example.com", "https://u:p@a.org", "https://*.org"),
        *("\x1b[31m", "https://" + "a" * 5000),
    ],
)  # fmt: skip
def test_an_annotation_that_names_no_server_is_told(annotation: str) -> None:
    """
    Whoever may write it must not choose files, Secrets or look-ups.
    """
    urls, notes = looked(services=[obj("prod/db", {}, annotations={ANNOTATION: annotation})])
    assert urls == []
    assert "Service prod/db: " in notes[0]
    assert notes[0].isprintable()
    assert len(notes[0]) < 1000


def test_the_service_of_the_manual() -> None:
    """
    Gives the targets that it says.
    """
    (service,) = (one for one in fenced("yaml") if ANNOTATION in one)
    urls, notes = looked(services=[yaml.safe_load(service)])
    first, second, third = (f"`{url}`" for url in urls)
    assert f"This gives {first}, {second} and {third}." in whole_text()
    assert notes == []


def secrets(*paths: str) -> list[Object]:
    """
    Secrets of the type for TLS.
    """
    return [obj(path, {}) for path in paths]


def test_each_secret_is_a_target_of_the_list_that_is_watched() -> None:
    """
    Those for TLS, and others that something names. Names that are patterns, and other namespaces, are told.
    """
    gateways = [gateway("infra/gw", listener("a.org", 443, "HTTPS", "gw", "b/own", "prod/web"))]
    ingresses = [ingress("prod/web", "www.org", secret="web"), ingress("prod/bad", "bad.org", secret="*")]
    given = {"context": "a@b/c", "kubeconfig": "/k", "namespaces": ["prod", "infra"], "selector": "x=y"}
    content = contents(
        {"ingresses": ingresses, "gateways": gateways, "secrets": secrets("prod/web", "prod/alone")}
    )
    listing = listed(KubernetesSource.model_validate(given, context=READING), content)
    common = {"kubeconfig": "/k", "scope": "namespace"}
    of_list = common | {"types": ["kubernetes.io/tls"], "selector": "x=y"}
    assert [(one.url, one.why, one.settings) for one in listing.found] == [
        (
            *("kubernetes://a%40b/c/prod/alone", "Secret prod/alone of the type kubernetes.io/tls"),
            {"kubernetes": of_list},
        ),
        (
            "kubernetes://a%40b/c/prod/web",
            "Secret prod/web, named by Ingress prod/web and 1 more",
            {"kubernetes": of_list},
        ),
        (
            *("kubernetes://a%40b/c/infra/gw", "Secret infra/gw, named by Gateway infra/gw, listener tls"),
            {"kubernetes": common | {"types": ["kubernetes.io/tls", "Opaque"]}},
        ),
    ]
    assert listing.notes == (
        "Ingress prod/bad: prod/* is no name of a Secret",
        "Gateway infra/gw, listener tls: the Secret b/own is in no namespace that is looked at",
    )
    # Without rights to Secrets, or without asking for them, there are none.
    assert looked(ingresses=ingresses)[0] == ["https://bad.org", "https://www.org"]


def test_cert_manager_says_when_it_renews() -> None:
    """
    Seconds before the end, so that they are the same after a renewal; what has no sense is left out.
    """
    end = "2026-03-31T00:00:00Z"
    certificates = [
        planned("prod/web", "web", end, "2026-03-01T00:00:00Z"),
        planned("prod/before", "before", end, None, renewBefore="360h0m0s"),
        planned("prod/late", "late", end, "2026-04-01T00:00:00Z"),
        planned("other/web", "alone", end, "2026-03-30T00:00:00Z"),
        obj("prod/new", {"secretName": "new", "renewBefore": "360h0m0s"}),
        obj("prod/none", {}),
    ]
    names = ("web", "before", "late", "alone", "new")
    lists = contents(
        {"certificates": certificates, "secrets": secrets(*(f"prod/{name}" for name in names))}
        | {"ingresses": [ingress("prod/opaque", "a.org", secret="opaque")]}
    )
    lists["certificates"]["prod", "opaque"] = (
        RESOURCES["certificates"]
        .read(planned("prod/opaque", "opaque", end, "2026-03-30T00:00:00Z"), None, None)
        .content
    )
    listing = listed(KubernetesSource(), lists)
    assert {one.url.rpartition("/")[2]: one.renew_before for one in listing.found} == {
        "web": 30 * DAY,
        "before": 15 * DAY,
        "late": None,
        "alone": None,
        "new": None,
        "opaque": DAY,
    }


def test_the_namespace_is_a_label() -> None:
    """
    Of the first object that names a host, and of a Secret; by a name that no scrape in a cluster sets.
    """
    ingresses = [ingress("shop/b", "www.org", secret="web"), ingress("infra/a", "www.org", secret="gone")]
    listing = listed(
        KubernetesSource(), contents({"ingresses": ingresses, "secrets": secrets("shop/web", "shop/x")})
    )
    assert {one.url: dict(one.labels) for one in all_of(listing)} == {
        "https://www.org": {"object_namespace": "infra"},
        "kubernetes://shop/web": {"object_namespace": "shop"},
        "kubernetes://shop/x": {"object_namespace": "shop"},
        "kubernetes://infra/gone": {"object_namespace": "infra"},
    }


def test_many_hosts_and_many_notes_are_bounded() -> None:
    """
    Of one object, and in all.
    """
    many = ingress("prod/web", *(f"host-{number}.org" for number in range(2 * HOST_LIMIT)))
    urls, notes = looked(ingresses=[many])
    assert len(urls) == HOST_LIMIT
    assert notes == ["Ingress prod/web: has more than 1,000 hosts: the others are left out"]
    bad = [ingress(f"prod/web-{number}", "*.org") for number in range(2 * NOTE_LIMIT)]
    assert len(looked(ingresses=bad)[1]) == NOTE_LIMIT


KEYS = (
    *("tls", "rules", "hosts", "host", "secretName", "listeners", "protocol", "port", "hostname", "from"),
    *("certificateRefs", "name", "namespace", "hostnames", "parentRefs", "externalCertificate", "ports"),
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=30,
)


@given(spec=JSON, metadata=JSON, name=st.sampled_from(sorted(set(NAMES) - {"secrets"})))
def test_nonsense_breaks_nothing(spec: Any, metadata: Any, name: str) -> None:
    """
    Any JSON in an object gives targets and notes, or a ProbeError.
    """
    for head in ({"namespace": "a", "name": "b", "annotations": {ANNOTATION: "443 x"}}, metadata):
        try:
            content = RESOURCES[name].read({"metadata": head, "spec": spec}, None, None).content
        except ProbeError:
            continue
        objects = {name: {("a", "b"): content}, "gateways": {("a", "b"): ()}} | {name: {("a", "b"): content}}
        listed(KubernetesSource(), objects)
        json.dumps(as_json(objects[name]))


@pytest.mark.parametrize(
    "value",
    [
        *(None, 5, {}, [1], [["a", "b"]], [["a", "b", [1]]], [["a", "b", [["x"]]]]),
        [["a", "b", [[1, 2, None, 3, 4, 5]]]],
    ],
)
@pytest.mark.parametrize("name", ["ingresses", "gateways", "httproutes", "certificates"])
def test_what_an_older_version_kept_is_checked(name: str, value: Any) -> None:
    """
    Anything but what is kept now is a ValueError, or nothing.
    """
    if value == {}:
        assert restored(name, value) == {}
        return
    with pytest.raises(ValueError, match="no objects"):
        restored(name, value)
