"""
The metric families of other exporters, by the names that `--metrics.compat` has for these.

As in the sources of blackbox_exporter, ssl_exporter, x509-certificate-exporter and domain_exporter, read in
2026.
"""

from collections.abc import Collection

from exporter.model.suggestions import closest
from exporter.report.families import Family


def _family(name: str, words: str, *labels: str) -> Family:
    return Family(name, words, ("target", "location", *labels))


PROBE_SUCCESS = _family("probe_success", "1 if the server answered and a normal client would accept it.")


PROBE_DURATION = _family("probe_duration_seconds", "How long the probe took.")


PROBE_EARLIEST = _family(
    "probe_ssl_earliest_cert_expiry", "When the first of the presented certificates expires."
)


PROBE_CHAIN = _family(
    "probe_ssl_last_chain_expiry_timestamp_seconds",
    "When the first certificate on the path to a trust anchor expires. Absent without a path.",
)


PROBE_CHAIN_INFO = _family(
    "probe_ssl_last_chain_info",
    "The server's own certificate. Always 1.",
    *("fingerprint_sha256", "subject", "issuer", "subjectalternative", "serialnumber"),
)


PROBE_TLS = _family("probe_tls_version_info", "The version of TLS that was agreed on. Always 1.", "version")


PROBE_CIPHER = _family(
    "probe_tls_cipher_info",
    "The cipher suite that was agreed on with an https:// server, in Go's name if it has one. Always 1.",
    "cipher",
)


PROBE_IP = _family("probe_ip_protocol", "The version of IP: 4 or 6. Absent where a proxy knows it.")


PROBE_HTTP_SSL = _family(
    "probe_http_ssl", "1 if an https:// server answered by TLS, and a normal client would accept it."
)


BLACKBOX_RELOAD = Family(
    "blackbox_exporter_config_last_reload_successful", "As expiry_config_last_reload_successful."
)


_SSL_NAMES = ("serial_no", "issuer_cn", "cn", "dnsnames", "ips", "emails", "ou")


SSL_SUCCESS = _family(
    "ssl_probe_success", "1 if the probe worked, and a normal client would accept a server."
)


SSL_PROBER = _family("ssl_prober", "The kind of probe, in ssl_exporter's words. Always 1.", "prober")


SSL_TLS = _family("ssl_tls_version_info", "The version of TLS that was agreed on. Always 1.", "version")


SSL_NOT_AFTER = _family("ssl_cert_not_after", "When a presented certificate expires.", *_SSL_NAMES)


SSL_NOT_BEFORE = _family("ssl_cert_not_before", "From when a presented certificate is valid.", *_SSL_NAMES)


SSL_VERIFIED_NOT_AFTER = _family(
    "ssl_verified_cert_not_after",
    "When a certificate on the path to a trust anchor expires.",
    *("chain_no", *_SSL_NAMES),
)


SSL_VERIFIED_NOT_BEFORE = _family(
    "ssl_verified_cert_not_before",
    "From when a certificate on the path to a trust anchor is valid.",
    *("chain_no", *_SSL_NAMES),
)


SSL_FILE_NOT_AFTER = _family(
    "ssl_file_cert_not_after", "When a certificate in a file expires.", "file", *_SSL_NAMES
)


SSL_FILE_NOT_BEFORE = _family(
    "ssl_file_cert_not_before", "From when a certificate in a file is valid.", "file", *_SSL_NAMES
)


SSL_KUBERNETES_NOT_AFTER = _family(
    "ssl_kubernetes_cert_not_after",
    "When a certificate in a Secret expires.",
    *("namespace", "secret", "key", *_SSL_NAMES),
)


SSL_KUBERNETES_NOT_BEFORE = _family(
    "ssl_kubernetes_cert_not_before",
    "From when a certificate in a Secret is valid.",
    *("namespace", "secret", "key", *_SSL_NAMES),
)


SSL_KUBECONFIG_NOT_AFTER = _family(
    "ssl_kubeconfig_cert_not_after",
    "When a certificate in a kubeconfig expires.",
    *("kubeconfig", "name", "type", *_SSL_NAMES),
)


SSL_KUBECONFIG_NOT_BEFORE = _family(
    "ssl_kubeconfig_cert_not_before",
    "From when a certificate in a kubeconfig is valid.",
    *("kubeconfig", "name", "type", *_SSL_NAMES),
)


SSL_OCSP_STAPLED = _family("ssl_ocsp_response_stapled", "1 if an OCSP response was stapled, else 0.")


SSL_OCSP_STATUS = _family(
    "ssl_ocsp_response_status",
    "What the stapled OCSP response says: 0 good, 1 revoked, 2 unknown. Absent without one.",
)


SSL_OCSP_PRODUCED = _family("ssl_ocsp_response_produced_at", "When the stapled response was signed.")


SSL_OCSP_BEGIN = _family("ssl_ocsp_response_this_update", "When the stapled response began.")


SSL_OCSP_END = _family("ssl_ocsp_response_next_update", "When the stapled response ends. Absent if never.")


SSL_OCSP_REVOKED = _family(
    "ssl_ocsp_response_revoked_at", "When the certificate was revoked, as the stapled response says."
)


PARTS = ("C", "ST", "L", "O", "OU", "CN")
"""Attributes of a name that x509-certificate-exporter has labels for."""


_X509_PLACE = (
    *("filename", "filepath"),
    *(f"{kind}_{part}" for kind in ("secret", "configmap") for part in ("namespace", "name", "key")),
)


_X509_NAMES = (
    *_X509_PLACE,
    *("embedded_kind", "embedded_key", "serial_number"),
    *(f"{whose}_{part}" for whose in ("issuer", "subject") for part in PARTS),
)


_X509_CRL = (*_X509_PLACE, "discriminator")
"""Whose a list is, is not among its labels: that is not kept."""


X509_NOT_AFTER = _family("x509_cert_not_after", "When the certificate expires.", *_X509_NAMES)


X509_NOT_BEFORE = _family("x509_cert_not_before", "From when the certificate is valid.", *_X509_NAMES)


X509_EXPIRED = _family("x509_cert_expired", "1 if the certificate has expired, else 0.", *_X509_NAMES)


X509_EXPIRES_IN = _family(
    "x509_cert_expires_in_seconds",
    "Seconds until the certificate expires; negative after that.",
    *_X509_NAMES,
)


X509_VALID_SINCE = _family(
    "x509_cert_valid_since_seconds", "Seconds since the certificate became valid.", *_X509_NAMES
)


X509_READ_ERRORS = Family(
    "x509_read_errors", "How many files and objects of clusters can't be read. Absent without any."
)


X509_ERROR = _family(
    "x509_cert_error",
    "1 if the file or the object could not be read, else 0.",
    *_X509_PLACE,
)


X509_UP = _family(
    "x509_source_up",
    "1 if the file or the object could be read, else 0.",
    *("source_kind", "source_name"),
)


X509_CRL_BEGIN = _family("x509_crl_this_update", "When the revocation list began.", *_X509_CRL)


X509_CRL_END = _family("x509_crl_next_update", "When the revocation list ends.", *_X509_CRL)


X509_CRL_STALE = _family("x509_crl_stale", "1 if the revocation list has ended, else 0.", *_X509_CRL)


DOMAIN_DAYS = _family(
    "domain_expiry_days",
    "Whole days until the registration expires, rounded down; below 0 after that. Absent if not known.",
    "domain",
)


DOMAIN_SUCCESS = _family("domain_probe_success", "1 if the registration could be looked up.", "domain")


DOMAIN_DURATION = _family(
    "domain_probe_duration_seconds", "How long the look-up of the registration took.", "domain"
)


EXPORTERS: dict[str, tuple[Family, ...]] = {
    "blackbox": (
        *(PROBE_SUCCESS, PROBE_DURATION, PROBE_EARLIEST, PROBE_CHAIN, PROBE_CHAIN_INFO, PROBE_TLS),
        *(PROBE_CIPHER, PROBE_IP, PROBE_HTTP_SSL, BLACKBOX_RELOAD),
    ),
    "ssl_exporter": (
        *(SSL_SUCCESS, SSL_PROBER, SSL_TLS, SSL_NOT_AFTER, SSL_NOT_BEFORE),
        *(SSL_VERIFIED_NOT_AFTER, SSL_VERIFIED_NOT_BEFORE, SSL_FILE_NOT_AFTER, SSL_FILE_NOT_BEFORE),
        *(SSL_KUBERNETES_NOT_AFTER, SSL_KUBERNETES_NOT_BEFORE),
        *(SSL_KUBECONFIG_NOT_AFTER, SSL_KUBECONFIG_NOT_BEFORE),
        *(SSL_OCSP_STAPLED, SSL_OCSP_STATUS, SSL_OCSP_PRODUCED, SSL_OCSP_BEGIN, SSL_OCSP_END),
        SSL_OCSP_REVOKED,
    ),
    "x509": (
        *(X509_NOT_AFTER, X509_NOT_BEFORE, X509_EXPIRED, X509_EXPIRES_IN, X509_VALID_SINCE),
        *(X509_CRL_BEGIN, X509_CRL_END, X509_CRL_STALE, X509_READ_ERRORS, X509_ERROR, X509_UP),
    ),
    "domain": (DOMAIN_DAYS, DOMAIN_SUCCESS, DOMAIN_DURATION),
}
"""The families by the name of the exporter in `--metrics.compat`."""


def chosen(text: str) -> frozenset[str]:
    """
    Return the exporters in a list with commas. Raises ValueError for an unknown one, with the nearest.
    """
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in EXPORTERS:
            raise ValueError(f"{name!r} is no exporter whose metrics are known: {closest(name, EXPORTERS)}")
    return frozenset(names)


def families(exporters: Collection[str]) -> tuple[Family, ...]:
    """
    Return the families of these exporters, in their order.
    """
    return tuple(one for name, theirs in EXPORTERS.items() if name in exporters for one in theirs)
