"""
The newest end that is known anywhere for items of the same names.

Later than the end of what is served here means: renewed, and not deployed.
"""

from typing import Generic, TypeVar

from exporter.judgement.verdicts import JudgedItem
from exporter.model.reasons import Kind

Found = TypeVar("Found")
"""What is told of an item besides its end."""


_Key = tuple[object, ...]


_Ends = dict[_Key, tuple[float, Found]]


def names_key(judged: JudgedItem) -> _Key | None:
    """
    What two items have in common if one may be the renewal of the other; None for items that have no names.

    A server may hold an RSA and an ECDSA certificate for the same names: neither renews the other.
    """
    certificate = judged.item.certificate
    if certificate is None or judged.item.kind is not Kind.LEAF:
        return None
    # Sorted, not a set: a set takes four times the room, and there is one for each leaf.
    names = tuple(sorted({*certificate.dns_names, *certificate.ip_addresses}))
    return (certificate.key_algorithm, names or certificate.subject)


class Newest(Generic[Found]):
    """
    What ends last for the same names and kind of key, of all that may be the renewal of an item.

    Where clients accept something under these names, what they refuse for what it is renews nothing of it: a
    self-signed one inside of a split horizon. Where they accept nothing, all is compared with all: a fleet of
    a private authority whose certificate the exporter was not given.
    """

    __slots__ = ("_elsewhere", "_refused", "_trusted")

    def __init__(self) -> None:
        self._trusted: _Ends[Found] = {}
        self._elsewhere: _Ends[Found] = {}
        self._refused: _Ends[Found] = {}

    def add(self, key: _Key, trusted: bool | None, end: float, found: Found) -> None:
        """
        Take in an item that clients trust, refuse, or are not shown (None). The first of equal ends stays.
        """
        ends = self._trusted if trusted else self._elsewhere if trusted is None else self._refused
        before = ends.get(key)
        if before is None or before[0] < end:
            ends[key] = end, found

    def of(self, key: _Key, trusted: bool | None) -> tuple[float, Found]:
        """
        The newest end for an item that was taken in, and what was told of it. Of equal ends, a trusted one's.
        """
        found = self._trusted.get(key)
        counts_all = trusted is False or found is None
        for ends in (self._elsewhere, self._refused) if counts_all else (self._elsewhere,):
            other = ends.get(key) if ends else None
            if other is not None and (found is None or found[0] < other[0]):
                found = other
        assert found is not None
        return found
