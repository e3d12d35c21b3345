"""
Files that matched a pattern and are gone: they are held for a while.

Pure: the clock is an argument.
"""

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from exporter.model.observation import Failed
from exporter.model.reasons import Reason

if TYPE_CHECKING:
    from exporter.engine.memory import TargetMemory

logger = logging.getLogger(__name__)


GRACE = 3600.0
"""
Seconds for which a file is held that matched a pattern and no longer does.

A file that is renewed by removing and creating it is the same file, and its warnings must not go quiet.
"""


GONE = Failed(
    Reason.FILE_NOT_FOUND, "it matched the pattern before, and now it is gone: an hour later it is forgotten"
)
"""The observation of a file that matched a pattern and is gone."""


def hold_files(known: "TargetMemory", gone: Iterable[str], now: float) -> list[str]:
    """
    Return the labels of files that are gone and still held: those in which something was seen that expires.
    """
    kept: list[str] = []
    new: list[str] = []
    over: list[str] = []
    for label in gone:
        held = known.endpoints[label]
        if held.facts is None:
            continue
        if held.gone_at is None:
            held.gone_at = now
            held.observation, held.duration = GONE, 0.0
            new.append(label)
        # The time of day may have been set back since.
        held.gone_at = min(held.gone_at, now)
        if now - held.gone_at < GRACE:
            kept.append(label)
        else:
            over.append(label)
    for words, labels in (("files of a pattern are gone", new), ("files that are gone are forgotten", over)):
        if labels:
            name = known.target.name if known.target is not None else ""
            # A pure module can't import `exporter.logs`, which makes such fields.
            said = {"target": name, "files": len(labels), "first": labels[0]}
            logger.warning(words, extra={"fields": said})
    return kept
