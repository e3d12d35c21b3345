"""
The kinds of probes: one folder and one function in the registry for each.

A probe returns facts or raises. It does not time itself, and it does not turn exceptions into observations:
`sweep` does both, for all of them, in one place. It makes no look-ups about the certificates found: the
monitor does that afterwards (`lookups.enrich`).

The code of a kind, and the libraries that it needs, are imported for the first target of that kind.
"""

from collections.abc import Callable

from exporter.model.schemes import SCHEMES
from exporter.probes.base import Probe


def _wire() -> Probe:
    from exporter.probes.tls import wire

    return Probe("wire", wire.endpoints, wire.look)


def _dtls() -> Probe:
    from exporter.probes.tls import dtls, wire

    return Probe("dtls", wire.endpoints, dtls.look)


def _quic() -> Probe:
    from exporter.probes.tls import quic, wire

    return Probe("quic", wire.endpoints, quic.look)


def _domain() -> Probe:
    from exporter.probes.domains import probe

    return Probe("domain", probe.endpoints, probe.look)


def _dns() -> Probe:
    from exporter.probes.dns import zone

    return Probe("dns", zone.endpoints, zone.look)


def _file() -> Probe:
    from exporter.probes.files import probe

    return Probe("file", probe.endpoints, probe.look, probe.look_all, local=True)


def _url() -> Probe:
    from exporter.probes.files import url

    return Probe("url", url.endpoints, url.look)


def _kubernetes() -> Probe:
    from exporter.probes.kubernetes import probe

    return Probe("kubernetes", probe.endpoints, probe.look, probe.look_all)


PROBERS: dict[str, Callable[[], Probe]] = {
    "wire": _wire,
    "dtls": _dtls,
    "quic": _quic,
    "domain": _domain,
    "dns": _dns,
    "file": _file,
    "url": _url,
    "kubernetes": _kubernetes,
}
"""Probes by name: a line for each `model.probers.Prober`."""


class _Probes(dict[str, Probe]):
    """
    Probes by scheme of the URL, each imported when it is first wanted.
    """

    def __missing__(self, scheme: str) -> Probe:
        probe = self[scheme] = PROBERS[SCHEMES[scheme].prober.name]()
        return probe


PROBES: dict[str, Probe] = _Probes()
"""Probes by scheme of the URL, as SCHEMES assigns them."""


if _missing := {meaning.prober.name for meaning in SCHEMES.values()} - PROBERS.keys():
    raise KeyError(*_missing)  # now, and not when the first target of that kind is probed
