"""
The latest end known at any endpoint for certificates with the same names.

If it is later than the end of the certificate served here, that one was renewed but not deployed here.
"""

from typing import Generic, TypeVar

from exporter.judgement.verdicts import JudgedItem
from exporter.model.reasons import Kind

Found = TypeVar("Found")
"""Type of the value that is kept with an end, such as the place of the item."""


_Key = tuple[object, ...]


_Ends = dict[_Key, tuple[float, Found]]


def names_key(judged: JudgedItem) -> _Key | None:
    """
    Return the key shared by a leaf and its possible renewals: type of key and names. None for other items.

    The type of key counts, since a server may have an RSA and an ECDSA certificate for the same names, and
    neither renews the other.
    """
    certificate = judged.item.certificate
    if certificate is None or judged.item.kind is not Kind.LEAF:
        return None
    # Sorted, not a set: a set takes four times the room, and there is one for each leaf.
    names = tuple(sorted({*certificate.dns_names, *certificate.ip_addresses}))
    return (certificate.key_algorithm, names or certificate.subject)


class Newest(Generic[Found]):
    """
    The latest end for each key of `names_key`, among the certificates that may be a renewal.

    A certificate that clients refuse (a self-signed one inside a split horizon) is no renewal of one that
    they trust. Where none of a key is trusted (a CA that the exporter was not given), all are compared.
    """

    __slots__ = ("_elsewhere", "_refused", "_trusted")

    def __init__(self) -> None:
        self._trusted: _Ends[Found] = {}
        self._elsewhere: _Ends[Found] = {}
        self._refused: _Ends[Found] = {}

    def add(self, key: _Key, trusted: bool | None, end: float, found: Found) -> None:
        """
        Add an item with its end in seconds since the epoch and a value; of equal ends the first stays.

        `trusted` is that of `JudgedItem`: None for an item that no client is shown, as in a file.
        """
        ends = self._trusted if trusted else self._elsewhere if trusted is None else self._refused
        before = ends.get(key)
        if before is None or before[0] < end:
            ends[key] = end, found

    def of(self, key: _Key, trusted: bool | None) -> tuple[float, Found]:
        """
        Return the latest end for an item that was added, and the value added with it.

        Of equal ends, the one of a trusted item wins.
        """
        found = self._trusted.get(key)
        counts_all = trusted is False or found is None
        for ends in (self._elsewhere, self._refused) if counts_all else (self._elsewhere,):
            other = ends.get(key) if ends else None
            if other is not None and (found is None or found[0] < other[0]):
                found = other
        assert found is not None
        return found
