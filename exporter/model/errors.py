"""
Exceptions of probes: each carries the reason of the failure, and the facts seen in spite of it.
"""

from dataclasses import dataclass

from exporter.model.foreign_text import bounded
from exporter.model.observation import Facts
from exporter.model.reasons import Reason

DETAIL_LIMIT = 2000
"""Characters of a failure's sentence. It may quote a server, and it goes into logs and pages."""


class ProbeError(Exception):
    """
    A failed probe: its reason, a sentence for a person, and the facts seen before the failure.
    """

    def __init__(self, reason: Reason, detail: str, facts: Facts | None = None) -> None:
        self.reason = reason
        self.detail = bounded(detail, DETAIL_LIMIT)
        super().__init__(self.detail)
        self.facts = facts


class NoDescriptorError(ProbeError):
    """
    The process has reached its limit of open files: others have to be closed first.
    """


@dataclass(frozen=True, slots=True)
class LeftOut:
    """
    A place of a target that is not probed. `str()` returns `place: why`.
    """

    place: str
    """A path, an address, a key of a Secret; empty for places that have no name."""
    why: str
    """In words that are the same for places that are left out for the same reason."""

    def __str__(self) -> str:
        return f"{self.place}: {self.why}" if self.place else self.why


class LeftOutError(Exception):
    """
    A file that matched a pattern but is not an endpoint. Its text is that of `left_out`.
    """

    def __init__(self, place: str, why: str) -> None:
        self.left_out = LeftOut(place, why)
        super().__init__(str(self.left_out))


Outcome = Facts | ProbeError | LeftOutError
"""Result of reading one file."""
