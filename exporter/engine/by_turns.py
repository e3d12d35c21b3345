"""
Servers that take turns behind one address or name: what each of them showed is remembered for a while.

Pure: the clock is an argument. A load balancer leads each probe to another server, and a name may have
another address at each look-up. What each of them shows is there for clients, whatever the last probe saw.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from exporter.engine.sightings import MOMENT, MOMENT_OF_OLD, PLACES, Sightings, was_brief
from exporter.judgement.history import BACKDATED, changed_identity, is_older
from exporter.judgement.verdicts import Judged
from exporter.model.observation import Facts, Item
from exporter.model.reasons import Kind
from exporter.model.targets import Target

LIMIT = 4
"""Most servers of an address that are remembered, and most addresses of a name, besides those seen last."""


UNJUDGED_LIMIT = 4 * LIMIT
"""The limit while nobody knows which of them are unwell, as in the first probes after a restart."""


STAPLE = "staple"


@dataclass(slots=True)
class Shown:
    """
    The facts that one of several servers showed, and the last probe did not.
    """

    facts: Facts
    seen_at: float
    """Time at which they were last seen, in seconds since the epoch."""
    sightings: Sightings
    judged: Judged | None = None
    """The latest verdict on them; None before the first."""


def same_server(one: Facts, other: Facts) -> bool:
    """
    Return True when two probes show the same certificates or signatures with the same protocol.

    The answers of look-ups (revocation, renewal information) may differ: they come later, and from others.
    """
    return _shown(one) == _shown(other)


def _shown(facts: Facts) -> tuple[object, ...]:
    presented = [chain for chain in facts.chains if chain.presented]
    if not presented:
        return tuple((item.name, item.not_before, item.not_after, item.certificate) for item in facts.items)
    staples = tuple(
        (item.name, item.not_before, item.not_after)
        for item in facts.items
        if item.kind is Kind.OCSP and item.name.startswith(STAPLE)
    )
    protocol = facts.tls.protocol if facts.tls is not None else ""
    return *((chain.key, chain.certificates) for chain in presented), staples, protocol


def is_mistake(wrong: Shown, right: Shown, now: float) -> bool:
    """
    Return True when something was there for a moment only, until `now` (seconds since the epoch), where
    another was for long: a deployment that was put right.

    Of a server left behind it takes more to believe that: it has its turns.
    """
    moment = MOMENT_OF_OLD if is_left_behind(wrong, right) else MOMENT
    return was_brief(wrong.sightings, right.sightings, now, moment)


def is_turn(back: Shown, shown: Sightings, now: float) -> bool:
    """
    Return True when what was `shown` until `now` (seconds since the epoch) was there for about as long as
    what is back: they may take turns that are as long. What was there from the first look on has no turns.
    """
    last, this = back.seen_at - back.sightings.since, now - shown.since
    return back.sightings.came > 1 and last <= this <= (PLACES - 1) * last


def is_left_behind(one: Shown, other: Shown) -> bool:
    """
    Return True when one shows an older certificate for the same names than the other.
    """
    return any(
        is_older(item, newer) and _names(item) == _names(newer)
        for item in one.facts.items
        for newer in other.facts.items
        if item.name == newer.name
    )


def _names(item: Item) -> tuple[str, ...]:
    return item.certificate.dns_names if item.certificate is not None else ()


def is_doubtful(target: Target, before: Facts, judged: Judged | None, after: Facts, now: float) -> bool:
    """
    Return True when what is wrong with the facts of `before` may still be there, though a probe saw others.

    `judged` is the verdict on those, `now` is in seconds since the epoch.
    """
    return is_unwell(judged, now) and target.is_served and not same_server(before, after)


def is_strange(target: Target, before: Facts, after: Facts, now: float) -> bool:
    """
    Return True when the facts of `after` have an older leaf, or somebody else's: that is told where nothing
    shows those of `before` any more.
    """
    return target.is_served and any(
        old.name == new.name and (changed_identity(old, new, now) or is_older(new, old))
        for old in before.items
        for new in after.items
    )


def is_looked_for(one: Shown, shown: Shown, look: int, now: float, *, mixed: bool, tries: int) -> bool:
    """
    Return True when more probes must tell if one is still there, which this look does not show, but `shown`.

    It was a mistake that was put right, or one of so many servers that few probes meet it. Or it had its
    turns and is overdue, where probes at once are `mixed`: each may be led to another server. Until that is
    known, so many `tries` were made to find it out.
    """
    is_moment = one.sightings.limit is not None and not is_left_behind(one, shown)
    had_turns = one.sightings.is_overdue(look) if mixed else one.sightings.is_on_trial(look, tries)
    return (is_moment or had_turns) and is_due(one, look, now)


def was_issued_since(items: Iterable[Item], since: float) -> bool:
    """
    Return True when one of the items was issued after this time (seconds since the epoch).
    """
    return any(
        # One that lives for an hour only is not backdated by all of it.
        item.not_before > since - min(BACKDATED, (item.not_after - item.not_before) / 20)
        for item in items
        if item.kind in {Kind.LEAF, Kind.DNSSEC}
    )


def most_important(shown: Sequence[Shown], look: int, now: float) -> list[Shown]:
    """
    Return those that are remembered after this look: of more than the limit what was wrong and seen last.
    """
    kept = [one for one in shown if is_kept(one, look, now)]
    limit = limit_of(one.judged for one in kept)
    while len(kept) > limit:
        kept.remove(
            min(
                kept,
                key=lambda one: (is_due(one, look, now), is_unwell(one.judged, one.seen_at), one.seen_at),
            )
        )
    return kept


def limit_of(verdicts: Iterable[Judged | None]) -> int:
    """
    Return how many are remembered of those with these verdicts.
    """
    return UNJUDGED_LIMIT if None in list(verdicts) else LIMIT


def is_crowded(shown: Sequence[Shown], look: int, now: float) -> bool:
    """
    Return True when there are as many as are remembered, so that there may be more.
    """
    return sum(is_kept(one, look, now) for one in shown) >= LIMIT


def is_kept(one: Shown, look: int, now: float) -> bool:
    """
    Return True while it was there so lately that it would be known to come back.
    """
    return one.sightings.is_kept(look, now - one.seen_at)


def is_due(one: Shown, look: int, now: float) -> bool:
    """
    Return True while a later probe may see it again, so that it counts.
    """
    return one.sightings.is_due(look, now - one.seen_at)


def is_seldom(one: Shown) -> bool:
    """
    Return True when so few looks showed it that one of several servers may have done so, which has its turn
    once in a while.
    """
    return not one.sightings.was_alone(one.sightings.left + 1, one.seen_at)


def is_unwell(judged: Judged | None, now: float) -> bool:
    """
    Return True when clients refuse what was judged, or a deadline has passed at `now`.

    That may be when it was last seen: what was well then is no problem, and may have been renewed since.
    """
    if judged is None:
        return False
    verdict = judged.verdict
    # Before that, other faults or none may have been there: these came with time.
    return bool(verdict.faults and verdict.valid_from <= now) or any(
        one.deadlines is not None and one.deadlines.warning <= now for one in verdict.items
    )
