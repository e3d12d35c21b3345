"""
The latest end known at any endpoint for certificates that may be a renewal of this one. Pure.

If it is later than the end of the certificate served here, that one was renewed but not deployed here.

A shared name alone makes no renewal: the client certificates of two admins may have the same subject, and one
name may have a certificate inside and another outside. `kin_of` decides what else two must share.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, TypeVar

from exporter.model.destinations import is_of_each_host
from exporter.model.observation import Certificate

Found = TypeVar("Found")
"""Type of the value that is kept with an end, such as the place of the item."""


About = tuple[str, str, tuple[str, ...], str]
"""Type of the key, use, names, and the target outside of which the names mean nothing (else empty)."""


_Link = tuple[str, str]


SERVER_USES = frozenset({"1.3.6.1.5.5.7.3.1", "2.5.29.37.0"})
"""Extended key usages of a server: server authentication, and any (RFC 5280 section 4.2.1.12)."""


_CLIENT = "1.3.6.1.5.5.7.3.2"


@dataclass(frozen=True, slots=True)
class Kin:
    """
    A leaf as it is compared with others.
    """

    about: About
    """Equal for a leaf and its renewal."""
    leaf: Certificate
    target: str
    item: str
    served: bool
    """True when clients are shown it; False for one in a file or the like."""

    @property
    def links(self) -> tuple[_Link, ...]:
        """
        Values of which a leaf and its renewal share one at least.
        """
        # Made when asked for: hardly any are, and there is one of these for each leaf.
        leaf = self.leaf
        shared: list[_Link] = []
        if leaf.dns_names or leaf.ip_addresses:
            shared.append(("key", leaf.public_key_sha256))
            if not leaf.self_issued:
                # Whoever signed itself is nobody's customer: its issuer is but the name again.
                shared.append(("issuer", leaf.issuer_organization))
        if self.served:
            # The addresses of a target are one service, whoever issues for it.
            shared.append(("item", f"{self.target} {self.item}"))
        return tuple(shared)

    @property
    def names(self) -> tuple[str, ...]:
        """
        The names of the leaf, sorted.
        """
        return self.about[2]

    @property
    def is_for_servers(self) -> bool:
        """
        True for the certificate of a server whose names mean the same host for everybody.
        """
        return self.about[1] == "server" and not self.about[3]


def kin_of(leaf: Certificate, target: str, item: str, *, served: bool) -> Kin | None:
    """
    Return a leaf as it is compared with others; None when nothing may be its renewal.

    The type of key counts, since a server may have an RSA and an ECDSA certificate for the same names, and
    neither renews the other.
    """
    use, names, is_of_each = _about(leaf)
    if names:
        within = target if is_of_each else ""
        return Kin((leaf.key_algorithm, use, names, within), leaf, target, item, served)
    if served:
        return Kin((leaf.key_algorithm, use, (leaf.subject,), target), leaf, target, item, served)
    return None


# Few, since a certificate may have a hundred kilobytes. Many targets may show the same one.
@lru_cache(maxsize=16)
def _about(leaf: Certificate) -> tuple[str, tuple[str, ...], bool]:
    """
    Return the use of a leaf, its names, and whether these are another host on each machine.
    """
    # Sorted, not a set: a set takes four times the room, and there is one for each leaf.
    names = tuple(sorted({*leaf.dns_names, *leaf.ip_addresses}))
    # Most have one name only, or a few in order: then they are not kept twice.
    names = leaf.dns_names if names == leaf.dns_names else names
    return _use(leaf), names, _is_of_each_host(leaf)


def _use(leaf: Certificate) -> str:
    """
    Return what a certificate is for: `server`, `client`, or its extended key usages.
    """
    uses = leaf.extended_key_usage
    if uses is None or not SERVER_USES.isdisjoint(uses):
        return "server"
    return "client" if _CLIENT in uses else " ".join(sorted(uses))


def _is_of_each_host(leaf: Certificate) -> bool:
    """
    Return True for a certificate whose names are another host on each machine (RFC 6761 section 6.3).
    """
    return all(map(is_of_each_host, leaf.dns_names)) and all(
        address == "::1" or address.startswith("127.") for address in leaf.ip_addresses
    )


class _Ends(Generic[Found]):
    """
    The latest end of those that clients accept, of those that no client is shown, and of those they refuse.
    """

    __slots__ = ("by_trust",)

    def __init__(self) -> None:
        self.by_trust: dict[bool | None, tuple[float, Found]] = {}

    def add(self, trusted: bool | None, end: float, found: Found) -> None:
        """
        Add an end; of equal ones the first stays.
        """
        before = self.by_trust.get(trusted)
        if before is None or before[0] < end:
            self.by_trust[trusted] = end, found


class _Group(Generic[Found]):
    """
    All leaves with the same names and use.
    """

    __slots__ = ("_by_link", "latest", "members")

    def __init__(self) -> None:
        self.latest = float("-inf")
        self.members: list[tuple[Kin, bool | None, float, Found]] = []
        self._by_link: dict[_Link, _Ends[Found]] = {}

    def by_link(self) -> dict[_Link, _Ends[Found]]:
        """
        Return the latest ends by what is shared. Made when first asked for: most groups never are.
        """
        for kin, trusted, end, found in self.members:
            for link in (*kin.links, ("served", str(kin.served))):
                self._by_link.setdefault(link, _Ends()).add(trusted, end, found)
        self.members.clear()
        return self._by_link


class Newest(Generic[Found]):
    """
    The latest ends of all leaves, to be asked for what may be the renewal of one of them.

    A certificate that clients refuse (a self-signed one inside a split horizon) is no renewal of one that
    they trust. Where none that may be is trusted (a CA that the exporter was not given), all are compared.
    """

    __slots__ = ("_groups",)

    def __init__(self) -> None:
        self._groups: dict[About, _Group[Found]] = {}

    def add(self, kin: Kin, trusted: bool | None, end: float, found: Found) -> None:
        """
        Add a leaf with its end in seconds since the epoch and a value; of equal ends the first stays.

        `trusted` is that of `JudgedItem`: None for an item that no client is shown, as in a file.
        """
        group = self._groups.get(kin.about)
        if group is None:
            group = self._groups[kin.about] = _Group()
        group.members.append((kin, trusted, end, found))
        group.latest = max(group.latest, end)

    def newer(self, kin: Kin, trusted: bool | None, end: float) -> tuple[float, Found] | None:
        """
        Return the latest end that is later than this leaf's own, with its value; None when there is none.

        Of equal ends, the one of a trusted item wins.
        """
        group = self._groups.get(kin.about)
        if group is None or group.latest <= end:
            return None
        by_link = group.by_link()
        # One that is served and one that is stored for the same names are the two ends of a deployment.
        shared = [by_link[one] for one in (*kin.links, ("served", str(not kin.served))) if one in by_link]
        counted: tuple[bool | None, ...] = (True, None, False)
        if trusted or (trusted is None and any(True in ends.by_trust for ends in shared)):
            counted = (True, None)
        best: tuple[float, Found] | None = None
        for kind in counted:
            for ends in shared:
                other = ends.by_trust.get(kind)
                if other is not None and other[0] > (end if best is None else best[0]):
                    best = other
        return best
