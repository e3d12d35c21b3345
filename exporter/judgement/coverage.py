"""
Coverage: names on certificates that no target looks at, and certificates that no server presents. Pure.

    names of all leaves that were seen, less the hosts and `server_name`s of the targets
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import islice

from exporter.judgement.newest import SERVER_USES
from exporter.model.coverage import Nowhere, Rules
from exporter.model.destinations import is_of_each_host
from exporter.model.hosts import NAME_LIMIT, TargetError, join_host_port, normal_host, parse_ip
from exporter.model.observation import Certificate, Facts
from exporter.model.probers import DTLS, QUIC, WIRE
from exporter.model.reasons import Kind
from exporter.model.schemes import SCHEMES
from exporter.model.targets import Target

MOST_NAMES = 10_000
"""Most names that are kept; further ones are not counted."""


MOST_OF_ONE = 1000
"""Most names of one certificate that are read."""


MOST_UNUSED = 1000
"""Most certificates that are kept of those that no server presents."""


CLIENT_ITEM = "client"
"""The item of the certificate that the exporter itself shows to servers."""


_HANDSHAKES = frozenset(name for name, one in SCHEMES.items() if one.prober in {WIRE, DTLS, QUIC})
"""Schemes whose probes see the certificate that a client would get."""


_PLAIN = Rules()


Seen = tuple[Target, str, Facts]
"""A target, the location of one of its endpoints, and what was seen there."""


@dataclass(frozen=True, slots=True)
class Gap:
    """
    A name that no target looks at.
    """

    name: str
    """In lower case, with A-labels. A wildcard keeps its `*.`."""
    target: Target
    location: str
    """With `target`, the first endpoint whose certificate has the name."""
    certificate: Certificate

    @property
    def wildcard(self) -> bool:
        """
        True for a name such as `*.example.com`, of which nobody can tell the hosts.
        """
        return self.name.startswith("*.")

    @property
    def suggestion(self) -> str:
        """
        The URL of a target that would look at the name; empty for a wildcard.

        It is on the port of the server that showed the certificate, and on 443 if no server did.
        """
        if self.wildcard:
            return ""
        url = self.target.url
        if url.scheme not in _HANDSHAKES:
            return f"https://{self.name}"
        if url.port == SCHEMES[url.scheme].default_port:
            return f"{url.scheme}://{self.name}"
        return f"{url.scheme}://{join_host_port(self.name, url.port)}"


@dataclass(frozen=True, slots=True)
class Unused:
    """
    A certificate in a file or an object of a cluster that no server presents.
    """

    target: Target
    location: str
    item: str
    certificate: Certificate


@dataclass(frozen=True, slots=True)
class Coverage:
    """
    The names and certificates that nobody watches, by all that was seen in one scrape.
    """

    gaps: tuple[Gap, ...] = ()
    """Sorted by name; each name once."""
    addressed: Mapping[str, bool] = field(default_factory=dict, compare=False, repr=False)
    """By name, whether it has an address; those that are not known yet are missing."""
    above: bool = False
    """True when there are more names than are kept."""
    unread: bool = False
    """True while a source has no list: what it would find may look at some of the names."""
    unused: tuple[Unused, ...] = ()
    """Each certificate once, the first to end first."""
    nowhere: tuple[Nowhere, ...] = ()
    """What sources found under names without an address."""

    @property
    def complete(self) -> bool:
        """
        True when these are all the names that nobody watches, and none that a source would have watched.
        """
        return not self.above and not self.unread

    @property
    def hosts(self) -> list[Gap]:
        """
        The names that a target could look at, as far as is known.
        """
        return [gap for gap in self.gaps if not gap.wildcard and self.addressed.get(gap.name) is not False]

    @property
    def wildcards(self) -> list[Gap]:
        """
        The names that are wildcards.
        """
        return [gap for gap in self.gaps if gap.wildcard]

    @property
    def unresolved(self) -> list[Gap]:
        """
        The names that have no address: no client can get there.
        """
        return [gap for gap in self.gaps if not gap.wildcard and self.addressed.get(gap.name) is False]

    @property
    def counts(self) -> dict[str, int]:
        """
        The number of names at each target, sorted; without the targets that have none.

        A name is counted at one target only, so the sum is the number of names.
        """
        return dict(sorted(Counter(gap.target.name for gap in self.gaps).items()))

    @property
    def problems(self) -> dict[tuple[str, str], tuple[str, ...]]:
        """
        By target and location, the names that are a problem there, sorted. Wildcards and names without an
        address are not among them: no target could look at these.
        """
        found: dict[tuple[str, str], list[str]] = defaultdict(list)
        for gap in self.hosts:
            found[gap.target.name, gap.location].append(gap.name)
        return {place: tuple(names) for place, names in found.items()}


def coverage(targets: Sequence[Target], seen: Sequence[Seen], rules: Rules = _PLAIN) -> Coverage:
    """
    Return what none of the targets looks at, by the leaf certificates that were seen.

    Of ten thousand targets, it takes some tenths of a second.
    """
    # What a server presents goes first, since it says on which port; then by name, so that a name stays at
    # its target from scrape to scrape.
    ordered = sorted(seen, key=lambda one: (not one[2].presented, one[0].name, one[1]))
    presented: dict[str, Certificate] = {}
    stored: dict[str, Unused] = {}
    first: dict[str, tuple[Target, str, Certificate]] = {}
    for target, location, facts in ordered:
        for item, leaf in _leaves(target, facts):
            first.setdefault(leaf.fingerprint_sha256, (target, location, leaf))
            if facts.presented:
                presented[leaf.fingerprint_sha256] = leaf
            elif leaf.fingerprint_sha256 not in presented:
                stored.setdefault(leaf.fingerprint_sha256, Unused(target, location, item, leaf))
    gaps, above = _gaps(_watched(targets), first.values(), rules.ignore)
    unused = _unused(stored.values(), list(presented.values()))
    return Coverage(gaps, unused=unused, above=above)


def _leaves(target: Target, facts: Facts) -> Iterator[tuple[str, Certificate]]:
    """
    Yield the leaf certificates that are for servers, each with its item's name.
    """
    shakes_hands = target.url.scheme in _HANDSHAKES
    for item in facts.items:
        leaf = item.certificate
        if item.kind is not Kind.LEAF or leaf is None or (shakes_hands and item.name == CLIENT_ITEM):
            continue
        if leaf.extended_key_usage is None or leaf.extended_key_usage & SERVER_USES:
            yield item.name, leaf


def _watched(targets: Iterable[Target]) -> set[str]:
    """
    Return the names that the targets look at, and for each the wildcard that covers it.

    A wildcard is watched if a host one label below its domain is.
    """
    names: set[str] = set()
    for target in targets:
        if target.url.scheme in _HANDSHAKES:
            for name in {target.url.host, target.expected_name.lower().removesuffix(".")}:
                names |= {name, f"*.{name.partition('.')[2]}"}
    return names


def _gaps(
    watched: set[str], seen: Iterable[tuple[Target, str, Certificate]], ignore: Sequence[str]
) -> tuple[tuple[Gap, ...], bool]:
    gaps: dict[str, Gap] = {}
    for target, location, leaf in seen:
        for written in islice(leaf.dns_names, MOST_OF_ONE):
            # Most names are watched, and written in their usual form.
            if written in watched or written in gaps:
                continue
            name = host_of(written)
            if not name or name in watched or name in gaps:
                continue
            if any(fnmatchcase(name, pattern) for pattern in ignore):
                continue
            if len(gaps) == MOST_NAMES:
                return _sorted(gaps), True
            gaps[name] = Gap(name, target, location, leaf)
    return _sorted(gaps), False


def _sorted(gaps: dict[str, Gap]) -> tuple[Gap, ...]:
    return tuple(gaps[name] for name in sorted(gaps))


# A host name in its usual form, whose last label is no number.
_USUAL = re.compile(r"(?:\*\.)?(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")


def host_of(written: str) -> str:
    """
    Return the host or wildcard that a certificate names, in its usual form; empty for what is no host.

    These are localhost, addresses, names with `*` in another place, and what is no host name at all.
    """
    star, base = ("*.", written[2:]) if written.startswith("*.") else ("", written)
    if is_of_each_host(base):
        return ""
    if _USUAL.fullmatch(written) and len(written) <= NAME_LIMIT:
        # What all that follows makes of nearly every name.
        return written
    try:
        name = normal_host(base)
    except TargetError:
        return ""
    if parse_ip(name) is not None or is_of_each_host(name):
        return ""
    return f"{star}{name}"


def _unused(stored: Iterable[Unused], presented: Sequence[Certificate]) -> tuple[Unused, ...]:
    """
    Return the stored certificates of which no server presents the key, nor a certificate of the same names.

    One of the same names is an earlier or a later one of the same host: it is compared elsewhere.
    """
    keys = {one.public_key_sha256 for one in presented}
    names = {frozenset(one.dns_names) for one in presented}
    found = [
        one
        for one in stored
        if one.certificate.public_key_sha256 not in keys
        and frozenset(one.certificate.dns_names) not in names
        and any(map(host_of, islice(one.certificate.dns_names, MOST_OF_ONE)))
    ]
    found.sort(key=lambda one: (one.certificate.not_after, one.target.name, one.location, one.item))
    return tuple(found[:MOST_UNUSED])
