"""
Exceptions of probes: each carries the reason of the failure, and the facts seen in spite of it.
"""

from exporter.model.foreign_text import bounded
from exporter.model.observation import Facts, Item
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
        self.aside: tuple[Item, ...] = ()
        """Items on the exporter's side that expire, if nothing was seen: see `Failed.aside`."""


class NoDescriptorError(ProbeError):
    """
    The process has reached its limit of open files: others have to be closed first.
    """


class LeftOutError(Exception):
    """
    A file that matched a pattern but is not an endpoint, with the reason in words.
    """


Outcome = Facts | ProbeError | LeftOutError
"""Result of reading one file."""
