"""
The kinds of probes: one folder each, one line each in the registry.

A probe returns facts or raises. It does not time itself, and it does not turn
exceptions into observations: `sweep` does both, for all of them, in one place.
It asks nobody about what it saw: the monitor does that afterwards (`lookups.enrich`).
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
"""By name: a line for each `model.probers.Prober`."""


PROBES: dict[str, Probe] = {scheme: PROBERS[meaning.prober.name] for scheme, meaning in SCHEMES.items()}
"""By scheme of the URL, as the scheme says itself. One whose prober is missing ends the import."""
