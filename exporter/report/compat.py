"""
The names and labels of other exporters, with their meaning, so that their rules and dashboards go on working.

Pure. Besides their own labels, all series have `target` and `location`, since one scrape has many endpoints.
What differs is meant: no series vanishes when a certificate expires, and an unknown value is absent.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from math import floor
from posixpath import basename

from cryptography import x509

from exporter.engine.memory import EndpointMemory
from exporter.engine.scrape import EndpointRow
from exporter.model.cipher_suites import CIPHERS
from exporter.model.foreign_text import printable
from exporter.model.observation import Certificate, Chain, Failed
from exporter.model.probers import (
    DOMAIN,
    DTLS,
    FILE,
    HTTP_DOCUMENT,
    HTTPS_DOCUMENT,
    KUBERNETES,
    QUIC,
    WIRE,
    Prober,
)
from exporter.model.reasons import Kind
from exporter.model.schemes import SCHEMES
from exporter.pki.revocation import extension
from exporter.pki.trust import judge
from exporter.report.compat_families import (
    DOMAIN_DAYS,
    DOMAIN_DURATION,
    DOMAIN_SUCCESS,
    PARTS,
    PROBE_CHAIN,
    PROBE_CHAIN_INFO,
    PROBE_CIPHER,
    PROBE_DURATION,
    PROBE_EARLIEST,
    PROBE_HTTP_SSL,
    PROBE_IP,
    PROBE_SUCCESS,
    PROBE_TLS,
    SSL_FILE_NOT_AFTER,
    SSL_FILE_NOT_BEFORE,
    SSL_KUBECONFIG_NOT_AFTER,
    SSL_KUBECONFIG_NOT_BEFORE,
    SSL_KUBERNETES_NOT_AFTER,
    SSL_KUBERNETES_NOT_BEFORE,
    SSL_NOT_AFTER,
    SSL_NOT_BEFORE,
    SSL_OCSP_STAPLED,
    SSL_PROBER,
    SSL_SUCCESS,
    SSL_TLS,
    SSL_VERIFIED_NOT_AFTER,
    SSL_VERIFIED_NOT_BEFORE,
    X509_CRL_BEGIN,
    X509_CRL_END,
    X509_CRL_STALE,
    X509_ERROR,
    X509_EXPIRED,
    X509_EXPIRES_IN,
    X509_NOT_AFTER,
    X509_NOT_BEFORE,
    X509_UP,
    X509_VALID_SINCE,
)
from exporter.report.compat_staple import said_of
from exporter.report.families import Family, bounded, escape

LIST_LIMIT = 1024
"""Characters of a label that lists the names on a certificate."""


SERIAL_LIMIT = 128
"""
Hexadecimal digits of a serial number that is written in decimal: RFC 5280 section 4.1.2.2 allows 40. A longer
one, which only a hostile certificate has, is left in hexadecimal.
"""


DAY = 86400


_BY_CLOCK: dict[Family, Callable[[float, float], float]] = {
    X509_EXPIRED: lambda end, at: at > end,
    X509_CRL_STALE: lambda end, at: at > end,
    X509_EXPIRES_IN: lambda end, at: end - at,
    X509_VALID_SINCE: lambda begin, at: at - begin,
    DOMAIN_DAYS: lambda end, at: floor((end - at) / DAY),
}
"""Families whose value changes by itself: from the end or the begin, and the time of the scrape."""


_GO_NAMES = {theirs: name for name, theirs in CIPHERS.items()}


_SERVERS = (WIRE, DTLS, QUIC)


_DOCUMENTS = (HTTP_DOCUMENT, HTTPS_DOCUMENT)


_STORES = (FILE, KUBERNETES)
"""Probers of what x509-certificate-exporter reads."""


_KINDS = {FILE.name: "file", HTTP_DOCUMENT.name: "http_file", KUBERNETES.name: "kubernetes"}
"""ssl_exporter's name for the prober of what is stored."""


_SSL_STORED = {
    "file": (SSL_FILE_NOT_AFTER, SSL_FILE_NOT_BEFORE),
    "http_file": (SSL_FILE_NOT_AFTER, SSL_FILE_NOT_BEFORE),
    "kubernetes": (SSL_KUBERNETES_NOT_AFTER, SSL_KUBERNETES_NOT_BEFORE),
    "kubeconfig": (SSL_KUBECONFIG_NOT_AFTER, SSL_KUBECONFIG_NOT_BEFORE),
}
"""By that name, the families with the end and the begin."""


_NAME_PART = re.compile(r"(?:^|[,+])([A-Za-z]+)=((?:\\.|[^\\,+])*)", re.DOTALL)
"""An attribute in an RFC 4514 string; those without a name of letters are not asked for."""


_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


_OBJECT = re.compile(r"([^/:]+)/(configmap/)?([^/:]+):(.+)", re.DOTALL)
"""The location of what is in a Secret or a ConfigMap."""


_WEBHOOKS = ("validatingwebhookconfiguration", "mutatingwebhookconfiguration")
"""Stand where a namespace does, in the locations of what is in none."""


_ENTRY = re.compile(r"(user|cluster)/(.+)", re.DOTALL)
"""The item of a kubeconfig's user or cluster."""


class Theirs:
    """
    The lines of one endpoint under the names of other exporters. Valid as long as its verdict and facts are.
    """

    __slots__ = ("_by_clock", "_by_probe", "_fixed", "_trusted")

    def __init__(self, row: EndpointRow, exporters: Collection[str], endpoint: str) -> None:
        """
        `endpoint` begins the labels of every line: the brace, target and location.
        """
        self._trusted = row.verdict is None or not row.verdict.faults
        self._fixed: list[tuple[Family, str, str]] = []
        self._by_clock: list[tuple[Family, str, float]] = []
        self._by_probe: list[tuple[Family, str]] = []
        seen: set[tuple[Family, str]] = set()
        for own, values in _found(row, exporters):
            labels = f"{endpoint}{own}}}"
            for family, value in values.items():
                # A server may present a certificate twice, or two that have the same labels.
                if (family, labels) not in seen:
                    seen.add((family, labels))
                    self._add(family, labels, value)

    def _add(self, family: Family, labels: str, value: float | None) -> None:
        if value is None:
            self._by_probe.append((family, labels))
        elif family in _BY_CLOCK:
            self._by_clock.append((family, labels, value))
        else:
            self._fixed.append((family, labels, f" {float(value)!r}\n"))

    def add_to(self, lines: dict[Family, list[str]], held: EndpointMemory, at: float) -> None:
        """
        Append the lines, in pieces, to those of each family; `at` is the time of the scrape in seconds since
        the epoch.
        """
        for family, labels, tail in self._fixed:
            lines[family] += (family.name, labels, tail)
        for family, labels, value in self._by_clock:
            lines[family] += (family.name, labels, f" {float(_BY_CLOCK[family](value, at))!r}\n")
        failed = isinstance(held.observation, Failed)
        for family, labels in self._by_probe:
            said = _of_probe(family, held.duration, failed=failed, trusted=self._trusted)
            lines[family] += (family.name, labels, f" {said}\n")


def _of_probe(family: Family, duration: float, *, failed: bool, trusted: bool) -> str:
    """
    Return the value of a family that the last probe decides.
    """
    if family in {PROBE_DURATION, DOMAIN_DURATION}:
        return f"{duration:.6f}"
    if family is X509_ERROR:
        return f"{float(failed)}"
    if family is X509_UP:
        return f"{float(not failed)}"
    return f"{float(trusted and not failed)}"


Found = Iterator[tuple[str, dict[Family, float | None]]]
"""Labels of series, and the value of each family for them; None: the last probe decides it."""


def read_errors(endpoints: Iterable[EndpointRow]) -> int | None:
    """
    Return how many files and objects of clusters can't be read; None where there are none.
    """
    stored = [row.held for row in endpoints if SCHEMES[row.target.url.scheme].prober in _STORES]
    return sum(isinstance(held.observation, Failed) for held in stored) if stored else None


def _found(row: EndpointRow, exporters: Collection[str]) -> Found:
    """
    Yield what these exporters say of an endpoint of its kind.
    """
    prober = SCHEMES[row.target.url.scheme].prober
    if prober in _SERVERS:
        yield from _server(row, exporters)
    elif prober in {*_STORES, *_DOCUMENTS}:
        yield from _stored(row, exporters, prober)
    elif prober is DOMAIN and "domain" in exporters:
        yield from _domain(row)


def _server(row: EndpointRow, exporters: Collection[str]) -> Found:
    """
    Yield what blackbox_exporter and ssl_exporter say of a server.
    """
    facts = row.held.facts
    chains = [one for one in facts.chains if one.presented and one.certificates] if facts is not None else []
    version = _version(facts.tls.protocol) if facts is not None and facts.tls is not None else ""
    asked = {"blackbox", "ssl_exporter"}.intersection(exporters)
    # Without need no path is looked for.
    paths = [path for one in chains if (path := _path(one, row))] if asked else []
    if "blackbox" in asked:
        yield from _blackbox(chains, paths)
        if row.target.url.scheme == "https":
            yield "", {PROBE_HTTP_SSL: None}
            if facts is not None and facts.tls is not None:
                agreed = _GO_NAMES.get(facts.tls.cipher, facts.tls.cipher)
                yield _labels([("cipher", agreed)]), {PROBE_CIPHER: 1}
        if version_of_ip := _version_of_ip(row.label):
            yield "", {PROBE_IP: version_of_ip}
        if version:
            yield version, {PROBE_TLS: 1}
    if "ssl_exporter" in asked:
        yield "", {SSL_SUCCESS: None}
        yield _labels([("prober", "https" if row.target.url.scheme == "https" else "tcp")]), {SSL_PROBER: 1}
        if version:
            yield version, {SSL_TLS: 1}
        if facts is not None and facts.tls is not None:
            yield "", {SSL_OCSP_STAPLED: facts.tls.staple is not None, **said_of(facts.tls.staple)}
        for cert in (cert for one in chains for cert in one.certificates):
            yield _ssl_names(cert), {SSL_NOT_AFTER: cert.not_after, SSL_NOT_BEFORE: cert.not_before}
        for number, path in enumerate(paths):
            for cert in path:
                yield (
                    f',chain_no="{number}"{_ssl_names(cert)}',
                    {SSL_VERIFIED_NOT_AFTER: cert.not_after, SSL_VERIFIED_NOT_BEFORE: cert.not_before},
                )


def _blackbox(chains: Sequence[Chain], paths: Sequence[Sequence[Certificate]]) -> Found:
    """
    Yield what blackbox_exporter says of what a server presented, and of the paths from there to an anchor.
    """
    yield "", {PROBE_SUCCESS: None, PROBE_DURATION: None}
    if chains:
        yield "", {PROBE_EARLIEST: min(cert.not_after for one in chains for cert in one.certificates)}
    if paths:
        yield "", {PROBE_CHAIN: min(cert.not_after for path in paths for cert in path)}
    for one in chains:
        if not one.lacks_leaf:
            yield _chain_info(one.leaf), {PROBE_CHAIN_INFO: 1}


def _stored(row: EndpointRow, exporters: Collection[str], prober: Prober) -> Found:
    """
    Yield what ssl_exporter and x509-certificate-exporter say of a file, a document or a Secret.
    """
    items = row.held.facts.items if row.held.facts is not None else ()
    certificates = [(one.name, one.certificate) for one in items if one.certificate is not None]
    kind = _KINDS[prober.name]
    if kind == "file" and certificates and all(_ENTRY.fullmatch(name) for name, _ in certificates):
        kind = "kubeconfig"
    place = _in_cluster(row.label) if prober is KUBERNETES else None
    if "ssl_exporter" in exporters:
        yield "", {SSL_SUCCESS: None}
        yield _labels([("prober", kind)]), {SSL_PROBER: 1}
        not_after, not_before = _SSL_STORED[kind]
        in_secret = place is not None and place[0] == "secret"
        for name, cert in certificates if prober is not KUBERNETES or in_secret else ():
            labels = _ssl_place(kind, row.label, name, place) + _ssl_names(cert)
            yield labels, {not_after: cert.not_after, not_before: cert.not_before}
    if "x509" in exporters and prober in _STORES:
        source = kind if prober is FILE else f"kube-{place[0] if place else 'secret'}"
        yield _labels([("source_kind", source), ("source_name", row.target.name)]), {X509_UP: None}
        if prober is KUBERNETES and place is None:
            return
        yield _x509_place("", row.label, "", place), {X509_ERROR: None}
        for name, cert in certificates:
            labels = _x509_place(kind, row.label, name, place) + _x509_names(cert)
            yield labels, _x509_values(cert)
        for one in items:
            if one.kind is Kind.CRL:
                # One that is alone in its file needs nothing to tell it apart.
                apart = _labels([("discriminator", bounded(one.name) if one.name != "crl" else "")])
                ends = {X509_CRL_END: one.not_after, X509_CRL_STALE: one.not_after}
                yield (
                    _x509_place("", row.label, "", place) + apart,
                    {X509_CRL_BEGIN: one.not_before, **ends},
                )


def _ssl_place(kind: str, label: str, name: str, place: Sequence[str] | None) -> str:
    """
    Return the labels by which ssl_exporter says where a certificate is stored.
    """
    if place is not None:
        return _labels(zip(("namespace", "secret", "key"), place[1:], strict=True))
    if kind == "kubeconfig":
        which, _, entry = name.partition("/")
        return _labels([("kubeconfig", label), ("name", bounded(entry)), ("type", which)])
    return _labels([("file", label)])


def _x509_place(kind: str, label: str, name: str, place: Sequence[str] | None) -> str:
    """
    Return the labels by which x509-certificate-exporter says where a certificate is stored.
    """
    if place is not None:
        names = (f"{place[0]}_{part}" for part in ("namespace", "name", "key"))
        return _labels(zip(names, place[1:], strict=True))
    labels = [("filename", basename(label)), ("filepath", label)]
    if kind == "kubeconfig":
        which, _, entry = name.partition("/")
        labels += [("embedded_kind", which), ("embedded_key", bounded(entry))]
    return _labels(labels)


def _x509_values(certificate: Certificate) -> dict[Family, float | None]:
    return {
        X509_NOT_AFTER: certificate.not_after,
        X509_NOT_BEFORE: certificate.not_before,
        X509_EXPIRED: certificate.not_after,
        X509_EXPIRES_IN: certificate.not_after,
        X509_VALID_SINCE: certificate.not_before,
    }


def _domain(row: EndpointRow) -> Found:
    """
    Yield what domain_exporter says of a domain.
    """
    labels = _labels([("domain", row.target.url.host)])
    yield labels, {DOMAIN_SUCCESS: None, DOMAIN_DURATION: None}
    for item in row.held.facts.items if row.held.facts is not None else ():
        if item.kind is Kind.REGISTRATION:
            yield labels, {DOMAIN_DAYS: item.not_after}


def _path(chain: Chain, row: EndpointRow) -> tuple[Certificate, ...]:
    """
    Return the path from a presented leaf to a trust anchor, whatever the dates; empty when there is none.
    """
    judged, verdict = row.held.judged, row.verdict
    if judged is None or verdict is None or judged.anchors.store is None or chain.lacks_leaf:
        return ()
    # Any time for which the verdict holds gives the same path.
    at = max(row.held.seen_at or 0.0, verdict.valid_from)
    return judge(chain.certificates, row.target.expected_name, judged.anchors.store, at).path


def _in_cluster(label: str) -> tuple[str, str, str, str] | None:
    """
    Return what a location is in (`secret` or `configmap`), its namespace, its name and the key; None for
    what is in neither.
    """
    found = _OBJECT.fullmatch(label)
    if found is None or found[1] in _WEBHOOKS:
        return None
    return "configmap" if found[2] else "secret", found[1], found[3], found[4]


def _version(protocol: str) -> str:
    """
    Return the label for OpenSSL's name of a version, as Go names it: `TLSv1` is `TLS 1.0`.
    """
    found = re.fullmatch(r"(\w+)v(\d)(\.\d)?", protocol)
    return _labels([("version", f"{found[1]} {found[2]}{found[3] or '.0'}" if found else "unknown")])


def _version_of_ip(location: str) -> int:
    """
    Return the version of IP of an address with port; 0 for what is none.
    """
    return 6 if location.startswith("[") else 4 if location[:1].isdecimal() else 0


def _chain_info(leaf: Certificate) -> str:
    return _labels(
        [
            ("fingerprint_sha256", leaf.fingerprint_sha256),
            ("subject", bounded(leaf.subject)),
            ("issuer", bounded(leaf.issuer)),
            ("subjectalternative", bounded(",".join(leaf.dns_names), LIST_LIMIT)),
            # Whole bytes.
            ("serialnumber", bounded(leaf.serial if len(leaf.serial) % 2 == 0 else f"0{leaf.serial}")),
        ]
    )


def _ssl_names(certificate: Certificate) -> str:
    """
    Return the labels by which ssl_exporter tells certificates apart.
    """
    return _labels(
        [
            ("serial_no", _decimal(certificate.serial)),
            ("issuer_cn", _part(certificate.issuer, "CN")),
            ("cn", bounded(certificate.common_name)),
            ("dnsnames", _listed(certificate.dns_names)),
            ("ips", _listed(certificate.ip_addresses)),
            ("emails", _listed(_emails(certificate))),
            ("ou", _listed(_parts(certificate.subject, "OU"))),
        ]
    )


def _x509_names(certificate: Certificate) -> str:
    """
    Return the labels by which x509-certificate-exporter tells certificates apart.
    """
    names = (("issuer", certificate.issuer), ("subject", certificate.subject))
    parts = [(f"{whose}_{part}", _part(name, part)) for whose, name in names for part in PARTS]
    return _labels([("serial_number", _decimal(certificate.serial)), *parts])


def _labels(pairs: Iterable[tuple[str, str]]) -> str:
    """
    Return labels that follow others. To Prometheus an empty one is none.
    """
    return "".join(f',{name}="{escape(text)}"' for name, text in pairs if text)


def _listed(names: Collection[str]) -> str:
    """
    Return the names with a comma before and behind each, by which ssl_exporter's users match them.
    """
    return bounded(f",{','.join(names)},", LIST_LIMIT) if names else ""


def _decimal(serial: str) -> str:
    return str(int(serial, 16)) if len(serial) <= SERIAL_LIMIT else bounded(serial)


def _part(name: str, wanted: str) -> str:
    """
    Return the value of an attribute in an RFC 4514 string as Go has it: the last of several common names, the
    first of several others, as they are encoded. Empty when there is none.
    """
    found = _parts(name, wanted)
    return bounded(found[-1 if wanted == "CN" else 0]) if found else ""


def _parts(name: str, wanted: str) -> list[str]:
    """
    Return the values of an attribute in an RFC 4514 string, in the order in which they are encoded.
    """
    values = [text for key, text in _NAME_PART.findall(name) if key == wanted]
    return [_ESCAPED.sub(r"\1", text) for text in reversed(values)]


def _emails(certificate: Certificate) -> list[str]:
    """
    Return the e-mail addresses among the certificate's alternative names.
    """
    # Few have any, and parsing takes long.
    names = extension(certificate.der, x509.SubjectAlternativeName) if b"@" in certificate.der else None
    return [] if names is None else [printable(one) for one in names.get_values_for_type(x509.RFC822Name)]
