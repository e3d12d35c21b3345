"""
Covering: what no target looks at, compared anew when something that was seen has changed.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from operator import is_

from exporter.engine.scrape import EndpointRow
from exporter.engine.slices import beside, in_slices
from exporter.judgement.coverage import MOST_OF_ONE, Coverage, Seen, coverage
from exporter.lookups.addresses import NameAddresses
from exporter.model.coverage import Rules
from exporter.model.observation import Facts
from exporter.model.targets import Target
from exporter.net.dns_records import identifiers_of
from exporter.net.network import Network


class Covering:
    """
    The coverage of the latest scrape of all targets.
    """

    def __init__(self, network: Network) -> None:
        self.coverage = Coverage()
        """What no target looks at."""
        self.problems: Mapping[tuple[str, str], tuple[str, ...]] = {}
        """By target and location, the names that are a problem there; empty where nobody asked for it."""
        self._network = network
        self._private = False
        self._alerts = False
        """True when the names are a problem."""
        self._compared: tuple[object, ...] = ()
        """The rules, targets and facts that the coverage was made of."""

    @cached_property
    def _addresses(self) -> NameAddresses:
        return NameAddresses(self._network)

    async def compare(
        self, targets: Sequence[Target], rows: Sequence[EndpointRow], rules: Rules | None
    ) -> None:
        """
        Compare what was seen in a scrape of all targets with what they look at.

        `rules` is None where these are not all targets there are: then nobody knows.
        """
        if rules is None:
            return
        self._private = rules.private
        found = [one async for one in in_slices(_facts(rows))]
        compared = (rules.ignore, *targets, *found)
        made = self.coverage
        # In most scrapes these are the very objects of the one before.
        if len(compared) != len(self._compared) or not all(map(is_, compared, self._compared)):
            was_seen = tuple([one async for one in in_slices(seen(rows))])
            made = await beside(names_in(found), lambda: coverage(targets, was_seen, rules))
            self._compared = compared
        if made.gaps:
            self._addresses.want(self._names)
            if made.addressed is not self._addresses.known:
                made = replace(made, addressed=self._addresses.known)
        if (made.unread, made.nowhere) != (rules.unread, rules.nowhere):
            made = replace(made, unread=rules.unread, nowhere=rules.nowhere)
        alerts = rules.alert and not rules.unread
        if made is not self.coverage or alerts is not self._alerts:
            problems = await beside(len(made.gaps), lambda: made.problems) if alerts else {}
            # The same object while they are equal.
            if problems != self.problems:
                self.problems = problems
        self.coverage, self._alerts = made, alerts

    def told(self, row: EndpointRow) -> EndpointRow:
        """
        Return the row with the names that are a problem there.
        """
        names = self.problems.get((row.target.name, row.label), ())
        return row if row.unwatched == names else replace(row, unwatched=names)

    def _names(self) -> list[str]:
        """
        Return the names that nobody watches and that may be looked up.

        Names that a private CA issued for may be secret, and mean nothing to others' name servers.
        """
        return [
            gap.name
            for gap in self.coverage.gaps
            if not gap.wildcard and (self._private or identifiers_of(gap.certificate) is not None)
        ]


def names_in(found: Iterable[Facts]) -> int:
    """
    Return how many names are read of these facts, where each certificate counts as one more.
    """
    leaves = (one.certificate for facts in found for one in facts.items if one.certificate is not None)
    return sum(1 + min(MOST_OF_ONE, len(leaf.dns_names)) for leaf in leaves)


def _facts(rows: Iterable[EndpointRow]) -> Iterator[Facts]:
    """
    Yield the facts of `seen` alone.
    """
    for row in rows:
        if row.held.facts is not None:
            yield row.held.facts
        for one in row.others:
            if one.facts is not None:
                yield one.facts


def seen(rows: Iterable[EndpointRow]) -> Iterator[Seen]:
    """
    Yield what was seen at all endpoints. Servers that take turns behind one address were all seen.
    """
    for row in rows:
        if row.held.facts is not None:
            yield row.target, row.label, row.held.facts
        for one in row.others:
            if one.facts is not None:
                yield row.target, row.label, one.facts
