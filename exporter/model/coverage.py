"""
The rules about names that no target looks at: which of them are told, and how.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Nowhere:
    """
    An entry of a source whose name has no address: no target, since no client gets there by it.
    """

    url: str
    """That of the target which it would be."""
    source: str
    why: str


@dataclass(frozen=True, slots=True)
class Rules:
    """
    The rules about names that no target looks at.
    """

    ignore: tuple[str, ...] = ()
    """Shell patterns of names that need no target, in lower case: nobody is told of them."""
    alert: bool = False
    """True: a name that nobody watches is a problem of the target whose certificate has it."""
    private: bool = False
    """True: the host's resolver is asked for names on certificates of CAs that are not public, too."""
    unread: bool = False
    """True: a source has no list yet, so its targets are missing, and nobody is told of a name."""
    nowhere: tuple[Nowhere, ...] = ()
    """What the sources found under names without an address."""
