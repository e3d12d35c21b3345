"""
Paths of files as labels of endpoints.
"""

import hashlib
import os

from exporter.model.foreign_text import printable

LABEL_LIMIT = 512
"""Characters of a path as a label."""


def label(path: str) -> str:
    """
    Return a path as the label of an endpoint: bounded, and still unique.
    """
    text = printable(path)
    if len(text) <= LABEL_LIMIT:
        return text
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    half = (LABEL_LIMIT - len(digest)) // 2 - 1
    return f"{text[:half]}…{digest}…{text[-half:]}"
