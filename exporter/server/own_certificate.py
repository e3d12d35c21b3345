"""
The certificates of a connection to the exporter's own port: its own, and that of a client.
"""

from dataclasses import replace

from cryptography import x509

from exporter.config.web_config import WebConfig, load
from exporter.model.observation import Certificate
from exporter.pki.certificates import parse_pem
from exporter.pki.revocation import extension
from exporter.report.times import ago, date
from exporter.server.port_tls import context


def load_at(path: str, now: float) -> WebConfig:
    """
    Read a web configuration, with a warning where its certificate has expired at `now` (seconds since the
    epoch). Raises ConfigError.
    """
    config = load(path, context)
    if config.tls is None:
        return config
    parsed = parse_pem(config.tls.pem)
    leaf = next((one for one in parsed if isinstance(one, Certificate)), None)
    if leaf is None or leaf.not_after >= now:
        return config
    warning = (
        f"{path}: tls_server_config: the exporter's own certificate, {config.tls.certificate}, expired "
        f"{ago(now - leaf.not_after)}, on {date(leaf.not_after)}: who verifies it, as Prometheus does, can't "
        "connect; renew it"
    )
    return replace(config, warnings=(*config.warnings, warning))


def alternative_names(der: bytes) -> set[str]:
    """
    Return the names of a client's certificate for which it may be let in: hosts, addresses, e-mail addresses
    and URIs, as Go writes them. Empty where they can't be read.
    """
    names = extension(der, x509.SubjectAlternativeName)
    kinds = (x509.DNSName, x509.RFC822Name, x509.UniformResourceIdentifier, x509.IPAddress)
    return set() if names is None else {str(name.value) for name in names if isinstance(name, kinds)}
