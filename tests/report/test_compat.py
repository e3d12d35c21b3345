"""
The names and labels of other exporters: what they say of servers, files, Secrets and domains.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from exporter.cli import main
from exporter.demo.minter import root as minted_root
from exporter.engine.results import ProbeResult
from exporter.judgement.verdicts import judge_again
from exporter.model.observation import Facts, Failed, Item, Observed
from exporter.model.reasons import Fault, Kind, Reason
from exporter.pki.certificates import certificate as parsed_certificate
from exporter.pki.trust import Anchors, TrustStore
from exporter.report.compat_families import EXPORTERS, chosen
from exporter.report.exposition import Exposition
from exporter.report.families import FAMILIES
from tests.golden.scenes import failed, seen
from tests.golden.values import TLS, Scene, certificate, facts, intermediate, target
from tests.report.test_exposition import parsed
from tests.support.certificates import DAY, NOW, staple
from tests.support.readme import code, table

ALL = frozenset(EXPORTERS)


_ISSUED = minted_root("Root", not_before=NOW - 900 * DAY, not_after=NOW + 900 * DAY).issue("leaf")

STAPLE = staple(_ISSUED, this_update=NOW - DAY, next_update=NOW + DAY)

REVOKED = staple(_ISSUED, this_update=NOW - DAY, next_update=NOW + DAY, revoked_at=NOW - 2 * DAY)


def text(scene: Scene, exporters: frozenset[str] = ALL, at: float = NOW) -> str:
    """
    The exposition with the names of these exporters.
    """
    return Exposition(None, exporters).text(scene.targets(), scene.rows(), {}, (), at)


def samples(exposed: str, name: str) -> list[tuple[dict[str, str], float]]:
    """
    Labels and value of each series of a metric, without `target` and `location`, which all have.
    """
    found = [one for family in parsed(exposed) for one in family.samples if one.name == name]
    assert all({"target", "location"} <= one.labels.keys() for one in found)
    return [
        ({key: value for key, value in one.labels.items() if key not in {"target", "location"}}, one.value)
        for one in found
    ]


def value(exposed: str, name: str) -> float | None:
    """
    The value of a metric with one series; None without any.
    """
    found = samples(exposed, name)
    assert len(found) <= 1
    return found[0][1] if found else None


def stored(url: str, label: str, *items: Item, at: float = NOW) -> Scene:
    """
    A scene with a file or an object of these items.
    """
    return Scene().see(target(url), ProbeResult(label, Observed(Facts(items)), 0.1), at=at)


def item(name: str, **settings: object) -> Item:
    """
    A leaf in a file.
    """
    made = certificate(**settings)  # type: ignore[arg-type] # the settings of `certificate`
    return Item(name, Kind.LEAF, made.not_before, made.not_after, made)


def test_nothing_is_added_without_the_flag() -> None:
    """
    The text is the same as ever, and begins the text with the flag.
    """
    scene = Scene().see(target(), seen(facts(certificate(), intermediate())))
    rows = Exposition().text(scene.targets(), scene.rows(), {}, (), NOW)

    assert {family.name for family in parsed(rows)} <= {family.name for family in FAMILIES}
    assert text(scene).startswith(rows)
    assert len(text(scene)) > len(rows)


def test_every_series_has_the_labels_that_are_told() -> None:
    """
    No label is exported that the family does not name, in any of the scenes here.
    """
    known = {family.name: set(family.labels) for theirs in EXPORTERS.values() for family in theirs}
    kinds = [
        Scene().see(target(), seen(facts(certificate(), intermediate(), tls=replace(TLS, staple=REVOKED)))),
        stored("file:///etc/tls.pem", "/etc/tls.pem", item("leaf"), Item("crl", Kind.CRL, NOW, NOW + DAY)),
        stored("file:///etc/kube.conf", "/etc/kube.conf", item("user/admin")),
        stored("kubernetes://prod/shop", "prod/shop:tls.crt", item("leaf")),
        stored("domain:example.com", "example.com", Item("registration", Kind.REGISTRATION, NOW, NOW + DAY)),
    ]
    names = set()
    for scene in kinds:
        for family in parsed(text(scene)):
            for sample in family.samples:
                if sample.name in known:
                    names.add(sample.name)
                    assert set(sample.labels) <= known[sample.name]

    needs_trust = {
        "probe_ssl_last_chain_expiry_timestamp_seconds",
        "ssl_verified_cert_not_after",
        "ssl_verified_cert_not_before",
    }
    assert names == set(known) - needs_trust - {"blackbox_exporter_config_last_reload_successful"}


def test_what_a_staple_says() -> None:
    """
    Good, revoked, or nothing; none is absent, and so is one that can't be read.
    """
    names = ("stapled", "status", "this_update", "next_update", "revoked_at")
    for response, expected in (
        (None, [0, None, None, None, None]),
        (b"", [1, None, None, None, None]),
        (b"\x30\x03\x0a\x01\x06", [1, None, None, None, None]),
        (b"nonsense", [1, None, None, None, None]),
        (STAPLE, [1, 0, NOW - DAY, NOW + DAY, None]),
        (REVOKED, [1, 1, NOW - DAY, NOW + DAY, NOW - 2 * DAY]),
    ):
        exposed = text(Scene().see(target(), seen(facts(certificate(), tls=replace(TLS, staple=response)))))
        assert [value(exposed, f"ssl_ocsp_response_{name}") for name in names] == expected


@pytest.mark.parametrize(
    ("label", "version"), [("192.0.2.1:443", 4), ("[2001:db8::1]:443", 6), ("lms.example.com:443", None)]
)
def test_the_version_of_ip_is_that_of_the_address(label: str, version: int | None) -> None:
    """
    Of an address that only a proxy knows there is none. The scheme says whether it is about a page.
    """
    for url, page in (("https://lms.example.com", 1), ("tls://lms.example.com:443", None)):
        shown = ProbeResult(label, Observed(facts(certificate())), 0.1)
        exposed = text(Scene().see(target(url), shown))
        assert value(exposed, "probe_ip_protocol") == version
        assert value(exposed, "probe_http_ssl") == page


def test_a_file_that_can_not_be_read_and_revocation_lists() -> None:
    """
    Which of several lists it is, is told; a list that has ended is stale.
    """
    lists = (Item("crl-1", Kind.CRL, NOW - DAY, NOW + DAY), Item("crl-2", Kind.CRL, NOW - DAY, NOW - 1))
    exposed = text(stored("file:///a.pem", "/a.pem", *lists))
    place = {"filename": "a.pem", "filepath": "/a.pem"}
    assert samples(exposed, "x509_crl_next_update") == [
        ({**place, "discriminator": "crl-1"}, NOW + DAY),
        ({**place, "discriminator": "crl-2"}, NOW - 1),
    ]
    assert [one for _, one in samples(exposed, "x509_crl_stale")] == [0, 1]
    assert samples(exposed, "x509_cert_error") == [(place, 0)]
    gone = ProbeResult("/a.pem", Failed(Reason.FILE_NOT_FOUND, "gone"), 0.1)
    exposed = text(Scene().see(target("file:///a.pem", name="a"), gone))
    assert samples(exposed, "x509_cert_error") == [(place, 1)]
    assert samples(exposed, "x509_source_up") == [({"source_kind": "file", "source_name": "a"}, 0)]


def test_one_series_counts_what_can_not_be_read() -> None:
    """
    As in x509-certificate-exporter, whose dashboard counts exporters by it. A server is not read.
    """
    gone = [
        ProbeResult(f"/{name}.pem", Failed(Reason.FILE_NOT_FOUND, "gone"), 0.1) for name in ("a", "b", "c")
    ]
    scene = stored("file:///z.pem", "/z.pem", item("leaf"))
    assert "\nx509_read_errors 0.0\n" in text(scene)
    scene.see(target("file:///*.pem"), *gone).see(target("https://d.example"), failed(Reason.TIMEOUT))
    assert text(scene).count("\nx509_read_errors") == text(scene).count("\nx509_read_errors 3.0\n") == 1
    assert "x509_read_errors" not in text(scene, ALL - {"x509"})
    assert "x509_read_errors" not in text(Scene().see(target(), failed(Reason.TIMEOUT)))


def test_blackbox_of_a_server() -> None:
    """
    The earliest end is that of all presented certificates; the serial number has whole bytes.
    """
    short = intermediate(end=NOW + 10 * DAY)
    exposed = text(Scene().see(target(), seen(facts(certificate(serial="a2b"), short))))

    assert value(exposed, "probe_success") == 1
    assert value(exposed, "probe_ssl_earliest_cert_expiry") == NOW + 10 * DAY
    assert samples(exposed, "probe_tls_version_info") == [({"version": "TLS 1.3"}, 1)]
    ((info, one),) = samples(exposed, "probe_ssl_last_chain_info")
    assert one == 1
    assert (info["serialnumber"], info["subject"]) == ("0a2b", "CN=lms.example.com")
    assert info["subjectalternative"] == "lms.example.com"
    # Without a trust store no path is known.
    assert value(exposed, "probe_ssl_last_chain_expiry_timestamp_seconds") is None


@pytest.mark.parametrize(
    ("protocol", "version"),
    [("TLSv1", "TLS 1.0"), ("TLSv1.3", "TLS 1.3"), ("DTLSv1.2", "DTLS 1.2"), ("Unknown", "unknown")],
)
def test_versions_are_named_as_go_names_them(protocol: str, version: str) -> None:
    """
    OpenSSL has other words for them.
    """
    shown = facts(certificate(), tls=replace(TLS, protocol=protocol))
    exposed = text(Scene().see(target(), seen(shown)))

    assert samples(exposed, "probe_tls_version_info") == [({"version": version}, 1)]


@pytest.mark.parametrize(
    ("cipher", "name"),
    [
        ("TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"),
        ("ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
        ("DHE-RSA-AES256-SHA", "DHE-RSA-AES256-SHA"),
    ],
)
def test_cipher_suites_are_named_as_go_names_them(cipher: str, name: str) -> None:
    """
    Of pages, as there; what Go does not speak keeps OpenSSL's name.
    """
    result = seen(facts(certificate(), tls=replace(TLS, cipher=cipher)))
    exposed = text(Scene().see(target(), result))
    assert samples(exposed, "probe_tls_cipher_info") == [({"cipher": name}, 1)]
    other = text(Scene().see(target("tls://lms.example.com:636", name="ldap"), result))
    assert samples(other, "probe_tls_cipher_info") == []


def test_a_series_stays_when_the_certificate_has_expired_and_the_server_is_down() -> None:
    """
    Held, with a success of 0; and it never was -1.
    """
    old = certificate(end=NOW - DAY)
    scene = Scene().see(target(), seen(facts(old)), found=[Fault.EXPIRED])
    expired = text(scene)
    down = text(scene.see(target(), failed(Reason.TIMEOUT)))

    for exposed in (expired, down):
        assert value(exposed, "probe_success") == value(exposed, "ssl_probe_success") == 0
        assert value(exposed, "probe_ssl_earliest_cert_expiry") == NOW - DAY
        assert [one for _, one in samples(exposed, "ssl_cert_not_after")] == [NOW - DAY]


def test_a_server_that_was_never_seen_has_no_end() -> None:
    """
    Its success is 0, all else is absent.
    """
    exposed = text(Scene().see(target(), failed(Reason.TIMEOUT)))

    assert value(exposed, "probe_success") == 0
    assert value(exposed, "probe_ssl_earliest_cert_expiry") is None
    assert samples(exposed, "ssl_cert_not_after") == []


def test_the_path_to_an_anchor_decides_the_end_of_the_chain() -> None:
    """
    A certificate that was presented for nothing counts for the earliest end only; dates do not hide a path.
    """
    above = minted_root("Root", not_before=NOW - 900 * DAY, not_after=NOW + 900 * DAY)
    other = minted_root("Needless", not_before=NOW - 900 * DAY, not_after=NOW + DAY)
    leaf = above.issue(
        "lms.example.com", ["lms.example.com"], not_before=NOW - 90 * DAY, not_after=NOW + 9 * DAY
    )
    chain = [parsed_certificate(one.der) for one in (leaf, other)]
    scene = Scene().see(target(), seen(facts(*chain)))
    anchors = Anchors(TrustStore([parsed_certificate(above.der)]))
    (row,) = scene.rows()
    assert row.held.facts is not None
    row.held.judged = judge_again(None, row.held.facts, row.target, anchors, NOW, {})

    exposed = text(scene)

    assert value(exposed, "probe_ssl_earliest_cert_expiry") == NOW + DAY
    assert value(exposed, "probe_ssl_last_chain_expiry_timestamp_seconds") == NOW + 9 * DAY
    verified = samples(exposed, "ssl_verified_cert_not_after")
    assert {(one["chain_no"], one["cn"], end) for one, end in verified} == {
        ("0", "lms.example.com", NOW + 9 * DAY),
        ("0", "Root", NOW + 900 * DAY),
    }


def test_ssl_exporter_of_a_server() -> None:
    """
    Serial numbers are decimal, lists have a comma on both sides, parts of names are unescaped.
    """
    leaf = certificate(
        subject=r"CN=lms.example.com,OU=second,OU=one\, first,O=Shop", issuer=r"CN=A \"b\",O=C", serial="1a2b"
    )
    exposed = text(Scene().see(target(), seen(facts(leaf, leaf))))

    assert samples(exposed, "ssl_cert_not_after") == [
        (
            {
                "serial_no": "6699",
                "issuer_cn": 'A "b"',
                "cn": "lms.example.com",
                "dnsnames": ",lms.example.com,",
                "ou": ",one, first,second,",
            },
            NOW + 75 * DAY,
        )
    ]
    assert [one for _, one in samples(exposed, "ssl_cert_not_before")] == [NOW - 15 * DAY]
    assert samples(exposed, "ssl_prober") == [({"prober": "https"}, 1)]
    assert samples(exposed, "ssl_tls_version_info") == [({"version": "TLS 1.3"}, 1)]


def test_a_hostile_serial_number_and_names_stay_short() -> None:
    """
    Python writes no number of more than 4300 digits in decimal; a label has a limit anyway.
    """
    leaf = certificate(serial="f" * 20_000, names=tuple(f"{number}.example.com" for number in range(5000)))
    exposed = text(Scene().see(target(), seen(facts(leaf))))

    for name in ("ssl_cert_not_after", "probe_ssl_last_chain_info"):
        ((labels, _),) = samples(exposed, name)
        assert max(map(len, labels.values())) <= 1024


def test_an_issuer_with_the_serial_number_zero_is_no_warning_at_each_scrape() -> None:
    """
    Authorities of 2004 are such. Python's warnings are errors in tests.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Old")])
    begin = datetime.fromtimestamp(NOW, UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, begin, begin + timedelta(days=9))
    for extension in (
        x509.SubjectAlternativeName([x509.RFC822Name("me@example.com")]),
        x509.AuthorityKeyIdentifier(b"k", [x509.DirectoryName(name)], 0),
    ):
        builder = builder.add_extension(extension, critical=False)
    der = builder.sign(key, SHA256()).public_bytes(Encoding.DER)
    exposed = text(Scene().see(target(), seen(facts(parsed_certificate(der)))))
    assert [labels["emails"] for labels, _ in samples(exposed, "ssl_cert_not_after")] == [",me@example.com,"]


def test_files_and_secrets_have_the_labels_of_their_places() -> None:
    """
    A file, a Secret, a kubeconfig; a ConfigMap, of which ssl_exporter knows nothing.
    """
    ssl, x509 = "ssl_{}cert_not_after", "x509_cert_not_after"
    own = {"cn": "lms.example.com", "dnsnames": ",lms.example.com,", "issuer_cn": "Test Intermediate"}
    names = {"subject_CN": "lms.example.com", "issuer_CN": "Test Intermediate", "serial_number": "6699"}
    cases = [
        (
            *("file:///etc/tls/a.pem", "/etc/tls/a.pem", "leaf", "file_", "file"),
            {"file": "/etc/tls/a.pem"},
            {"filename": "a.pem", "filepath": "/etc/tls/a.pem"},
        ),
        (
            *("kubernetes://prod/shop", "prod/shop:tls.crt", "leaf", "kubernetes_", "kubernetes"),
            {"namespace": "prod", "secret": "shop", "key": "tls.crt"},
            {"secret_namespace": "prod", "secret_name": "shop", "secret_key": "tls.crt"},
        ),
        (
            *("kubernetes://prod/*", "prod/configmap/ca:ca.crt", "leaf", "", "kubernetes"),
            {},
            {"configmap_namespace": "prod", "configmap_name": "ca", "configmap_key": "ca.crt"},
        ),
        (
            *("file:///etc/kube.conf", "/etc/kube.conf", "user/a/b", "kubeconfig_", "kubeconfig"),
            {"kubeconfig": "/etc/kube.conf", "name": "a/b", "type": "user"},
            {
                "filename": "kube.conf",
                "filepath": "/etc/kube.conf",
                "embedded_kind": "user",
                "embedded_key": "a/b",
            },
        ),
    ]
    for url, label, name, family, prober, place, x509_place in cases:
        exposed = text(stored(url, label, item(name)))

        assert samples(exposed, ssl.format(family)) == (
            [({**place, **own, "serial_no": "6699"}, NOW + 75 * DAY)] if place else []
        )
        assert samples(exposed, "ssl_prober") == [({"prober": prober}, 1)]
        assert samples(exposed, x509) == [({**x509_place, **names}, NOW + 75 * DAY)]
        assert samples(exposed, "probe_success") == []


@pytest.mark.parametrize(
    "label", ["prod/secrets", "prod/certificate/web", "validatingwebhookconfiguration/a:b.example.com"]
)
def test_what_is_in_no_secret_has_no_certificate_of_one(label: str) -> None:
    """
    Nobody would find it by the labels of Secrets, nor by those of ConfigMaps.
    """
    exposed = text(stored("kubernetes://prod/shop", label, item("leaf")))

    assert samples(exposed, "ssl_kubernetes_cert_not_after") == samples(exposed, "x509_cert_not_after") == []


@pytest.mark.parametrize(("days", "expired"), [(2.5, 0.0), (-2.5, 1.0)])
def test_what_goes_by_the_clock_goes_by_that_of_the_scrape(days: float, expired: float) -> None:
    """
    The same lines, another time: nothing but those values changes.
    """
    end = NOW + 75 * DAY
    at = end - days * DAY
    scene = stored("file:///a.pem", "/a.pem", item("leaf"))
    exposition = Exposition(None, ALL)
    exposition.text(scene.targets(), scene.rows(), {}, (), NOW)

    exposed = exposition.text(scene.targets(), scene.rows(), {}, (), at)

    assert value(exposed, "x509_cert_expired") == expired
    assert value(exposed, "x509_cert_expires_in_seconds") == days * DAY
    assert value(exposed, "x509_cert_valid_since_seconds") == at - (NOW - 15 * DAY)
    assert value(exposed, "x509_cert_not_after") == end


@pytest.mark.parametrize(("left", "days"), [(10.9, 10), (0.5, 0), (-0.5, -1), (-10.5, -11)])
def test_days_of_a_domain_are_rounded_down(left: float, days: float) -> None:
    """
    As Go's math.Floor does.
    """
    registration = Item("registration", Kind.REGISTRATION, NOW - 99 * DAY, NOW + left * DAY)
    exposed = text(stored("domain:example.com", "example.com", registration))

    assert samples(exposed, "domain_expiry_days") == [({"domain": "example.com"}, days)]
    assert samples(exposed, "domain_probe_success") == [({"domain": "example.com"}, 1)]


def test_a_domain_that_was_never_found_has_no_days() -> None:
    """
    Absent, not -1.
    """
    gone = ProbeResult("example.com", Failed(Reason.LOOKUP_FAILED, "no answer"), 0.1)
    exposed = text(Scene().see(target("domain:example.com"), gone))

    assert samples(exposed, "domain_expiry_days") == []
    assert samples(exposed, "domain_probe_success") == [({"domain": "example.com"}, 0)]


@pytest.mark.parametrize("name", EXPORTERS)
def test_one_exporter_brings_its_own_families_only(name: str) -> None:
    """
    Those of the others stay away.
    """
    scene = Scene().see(target(), seen(facts(certificate())))
    others = {family.name for theirs in EXPORTERS.values() for family in theirs}
    others -= {family.name for family in EXPORTERS[name]}

    assert others.isdisjoint(family.name for family in parsed(text(scene, frozenset({name}))))


def test_an_unknown_exporter_is_refused_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    """
    On the command line, before anything begins.
    """
    with pytest.raises(SystemExit):
        main.parser().parse_args(["--metrics.compat=blackbox,ssl_export"])

    assert "did you mean 'ssl_exporter'?" in capsys.readouterr().err
    assert chosen("blackbox, x509") == {"blackbox", "x509"}


def test_the_manual_tells_each_family() -> None:
    """
    The table has the exporters and their families, in their order.
    """
    told = {code(name)[0]: code(metrics) for name, _, metrics in table("Name", "Of")}

    assert told == {name: [family.name for family in theirs] for name, theirs in EXPORTERS.items()}
