"""
What a probe raises: the failure that its exception means, and what was seen all the same.
"""

from exporter.model.foreign_text import bounded
from exporter.model.observation import Facts
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


class NoDescriptorError(ProbeError):
    """
    The process may open no more files by now: others have to close theirs first.
    """


class LeftOutError(Exception):
    """
    A file that matched a pattern and is no endpoint, with the reason in words.
    """


Outcome = Facts | ProbeError | LeftOutError
"""What a look at a file gave."""
