"""
What a probe raises: the failure that its exception means, and what was seen all the same.
"""

from dataclasses import dataclass

from exporter.model.foreign_text import bounded
from exporter.model.observation import Facts, Item
from exporter.model.reasons import Reason

DETAIL_LIMIT = 2000
"""Characters of the sentence of a failure: others may have a part in it, and it goes into logs and pages."""


class ProbeError(Exception):
    """
    A probe could not go on: for this reason, with this sentence for a person, having seen these facts.
    """

    def __init__(self, reason: Reason, detail: str, facts: Facts | None = None) -> None:
        self.reason = reason
        self.detail = bounded(detail, DETAIL_LIMIT)
        super().__init__(self.detail)
        self.facts = facts
        self.aside: tuple[Item, ...] = ()
        """What expires on our side, if nothing was seen: see `Failed`."""


class NoDescriptorError(ProbeError):
    """
    The process may open no more files by now: others have to close theirs first.
    """


@dataclass(frozen=True, slots=True)
class LeftOut:
    """
    A place of a target that is not probed. `str()` gives `place: why`.
    """

    place: str
    """A path, an address, a key of a Secret; empty for places that have no name."""
    why: str
    """In words that are the same for places that are left out for the same reason."""

    def __str__(self) -> str:
        return f"{self.place}: {self.why}" if self.place else self.why


class LeftOutError(Exception):
    """
    A file that matched a pattern and is no endpoint. Its text is that of `left_out`.
    """

    def __init__(self, place: str, why: str) -> None:
        self.left_out = LeftOut(place, why)
        super().__init__(str(self.left_out))


Outcome = Facts | ProbeError | LeftOutError
"""What a look at a file gave."""
