"""
The certificate of the exporter's own port: whether clients that verify it can connect at all.
"""

from dataclasses import replace
from pathlib import Path

from exporter.config.web_config import WebConfig, load
from exporter.model.observation import Certificate
from exporter.pki.certificates import parse_pem
from exporter.report.times import ago, date


def load_at(path: str, now: float) -> WebConfig:
    """
    Read a web configuration, with a warning where its certificate has expired at `now` (seconds since the
    epoch). Raises ConfigError.
    """
    config = load(path)
    if config.certificate is None:
        return config
    try:
        parsed = parse_pem(Path(config.certificate).read_bytes())
    except OSError:
        return config  # it was there just now: the next look tells
    leaf = next((one for one in parsed if isinstance(one, Certificate)), None)
    if leaf is None or leaf.not_after >= now:
        return config
    warning = (
        f"{path}: tls_server_config.cert_file: the exporter's own certificate, {config.certificate}, expired "
        f"{ago(now - leaf.not_after)}, on {date(leaf.not_after)}: who verifies it, as Prometheus does, can't "
        "connect; renew it"
    )
    return replace(config, warnings=(*config.warnings, warning))
