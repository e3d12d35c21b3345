"""
The kinds of probes: one folder and one line in the registry for each.

A probe returns facts or raises. It does not time itself, and it does not turn exceptions into observations:
`sweep` does both, for all of them, in one place. It makes no look-ups about the certificates found: the
monitor does that afterwards (`lookups.enrich`).
"""

from exporter.model.urls import SCHEMES
from exporter.probes.base import Probe
from exporter.probes.dns import zone
from exporter.probes.domains import probe as domains
from exporter.probes.files import probe as files
from exporter.probes.files import url
from exporter.probes.kubernetes import probe as kubernetes
from exporter.probes.tls import dtls, quic, wire

PROBERS: dict[str, Probe] = {
    probe.name: probe
    for probe in (
        Probe("wire", wire.endpoints, wire.look),
        Probe("dtls", wire.endpoints, dtls.look),
        Probe("quic", wire.endpoints, quic.look),
        Probe("domain", domains.endpoints, domains.look),
        Probe("dns", zone.endpoints, zone.look),
        Probe("file", files.endpoints, files.look, files.look_all, local=True),
        Probe("url", url.endpoints, url.look),
        Probe("kubernetes", kubernetes.endpoints, kubernetes.look, kubernetes.look_all),
    )
}
"""Probes by name: a line for each `model.probers.Prober`."""


PROBES: dict[str, Probe] = {scheme: PROBERS[meaning.prober.name] for scheme, meaning in SCHEMES.items()}
"""Probes by scheme of the URL, as SCHEMES assigns them. A scheme whose prober is missing fails at import."""
