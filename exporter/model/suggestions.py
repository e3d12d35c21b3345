"""
What was probably meant by a word that is not known.
"""

import difflib
from collections.abc import Iterable


def closest(word: str, known: Iterable[str], *, listed: str = "") -> str:
    """
    The end of a message about an unknown word: what was probably meant, or what there is.

    `listed` says where all that is known is listed, when that is too much for a message. Empty: the message
    lists it.
    """
    known = sorted(filter(str.isprintable, known))
    close = difflib.get_close_matches(word, known, n=1)
    meant = f"did you mean {close[0]!r}?" if close else ""
    if listed:
        return f"{meant} {listed}".lstrip()
    return meant or f"known are {', '.join(known)}"
