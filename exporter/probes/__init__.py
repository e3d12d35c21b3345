"""
The kinds of targets: one file each, one line each in the registry.

A probe returns facts or raises. It does not time itself, and it does not turn
exceptions into observations: `sweep` does both, for all of them, in one place.
It asks nobody about what it saw: the monitor does that afterwards (`lookups.enrich`).
"""

from exporter.model.urls import SCHEMES, Form
from exporter.probes.base import Probe
from exporter.probes.dns import zone
from exporter.probes.domains import probe as domains
from exporter.probes.files import probe as files
from exporter.probes.files import url
from exporter.probes.kubernetes import probe as kubernetes
from exporter.probes.tls import dtls, quic, wire

WIRE = Probe("wire", wire.endpoints, wire.look)


QUIC = Probe("quic", wire.endpoints, quic.look)


_URL = Probe("url", url.endpoints, url.look)


PROBES: dict[str, Probe] = {
    **{scheme: WIRE for scheme, meaning in SCHEMES.items() if meaning.form is Form.HOST},
    "quic": QUIC,
    "h3": QUIC,
    "dtls": Probe("dtls", wire.endpoints, dtls.look),
    "domain": Probe("domain", domains.endpoints, domains.look),
    "dns": Probe("dns", zone.endpoints, zone.look),
    "file": Probe("file", files.endpoints, files.look, files.look_all, local=True),
    **dict.fromkeys(("pem+https", "pem+http", "jwks+https"), _URL),
    "kubernetes": Probe("kubernetes", kubernetes.endpoints, kubernetes.look, kubernetes.look_all),
}
"""URL scheme to probe."""
