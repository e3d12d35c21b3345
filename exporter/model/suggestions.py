"""
Suggestions for unknown words in messages.
"""

import difflib
from collections.abc import Iterable


def closest(word: str, known: Iterable[str], *, listed: str = "") -> str:
    """
    Return the end of a message about an unknown word: the closest known word, or all of them.

    `listed` says where all known words are listed, when they are too many for a message.
    """
    known = sorted(filter(str.isprintable, known))
    close = difflib.get_close_matches(word, known, n=1)
    meant = f"did you mean {close[0]!r}?" if close else ""
    if listed:
        return f"{meant} {listed}".lstrip()
    return meant or f"known are {', '.join(known)}"
