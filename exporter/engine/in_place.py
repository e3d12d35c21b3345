"""
The facts of other servers that take turns in the place of an endpoint, besides those that the last probe saw.

Pure.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from exporter.engine.by_turns import Shown, is_due
from exporter.engine.memory import EndpointMemory
from exporter.judgement.history import Past
from exporter.judgement.problems import Known
from exporter.judgement.verdicts import Verdict
from exporter.model.observation import Facts, Observed
from exporter.model.targets import Target


@dataclass(frozen=True, slots=True)
class InPlace:
    """
    The facts that were seen in a place besides those of the last probe, with their verdicts.
    """

    others: tuple[Known, ...] = ()
    """What may be seen there again."""
    before: tuple[Verdict, ...] = ()
    """Verdicts on all of it."""

    def and_more(self, more: "InPlace") -> "InPlace":
        """
        Return both together.
        """
        return InPlace(self.others + more.others, self.before + more.before)


NOTHING = InPlace()


def in_place(
    target: Target, label: str, held: EndpointMemory, shown: Iterable[Shown], look: int, now: float
) -> InPlace:
    """
    Return what was shown in this place, as problems are decided by it.
    """
    judged = [(one, one.judged) for one in shown if one.judged is not None]
    # What others showed from the first probe on was never accepted before it. What an endpoint shows itself,
    # to which the name does not lead now, is as it was then.
    accepted, never = Past(trusted_at=held.past.trusted_at), Past()
    returned = held.shown.returns > 0 or any(one.sightings.returns for one, _ in judged)
    others = tuple(
        Known(
            target,
            label,
            Observed(one.facts),
            one.seen_at,
            one.facts,
            last.verdict,
            last,
            never if one.facts is not held.facts and one.sightings.since == held.past.first_at else accepted,
            _facts(held),
            one_of_several=returned,
            elsewhere=True,
            likely=one.sightings.is_likely(look),
        )
        for one, last in judged
        if is_due(one, look, now)
    )
    return InPlace(others, tuple(last.verdict for _, last in judged))


def _facts(held: EndpointMemory) -> tuple[Facts, ...]:
    return (held.facts,) if held.facts is not None else ()
