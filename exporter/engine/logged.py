"""
Certificates in public logs, compared anew with the targets when either have changed.
"""

from collections.abc import Callable, Collection

from exporter.engine.slices import in_slices
from exporter.judgement.issued import NONE, Issuances
from exporter.model.issuance import Issuance
from exporter.model.targets import Target


class Logged:
    """
    The issuances with which scrapes of all targets are compared.
    """

    def __init__(self) -> None:
        self.issuances: Issuances = NONE
        self._compared: tuple[Collection[Issuance], Collection[Target]] = (), ()

    async def compare(
        self, issued: Collection[Issuance], targets: Collection[Target], clock: Callable[[], float]
    ) -> float:
        """
        Compare what public logs know to be `issued` with the targets. Return the seconds of `clock` it took.
        """
        if self._compared[0] is issued and self._compared[1] is targets:
            return 0.0
        made, began = NONE, clock()
        if issued:
            async for one in in_slices(Issuances.in_steps(issued, targets)):
                made = one
        self.issuances, self._compared = made, (issued, targets)
        return clock() - began if issued else 0.0
