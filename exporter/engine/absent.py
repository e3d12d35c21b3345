"""
Endpoints that a target's name leads to in turn: those that it does not lead to now are remembered.

Pure: the clock is an argument.
"""

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from exporter.engine.by_turns import LIMIT, Shown, is_left_behind, is_mistake, is_unwell, limit_of
from exporter.engine.sightings import is_long

if TYPE_CHECKING:
    from exporter.engine.memory import EndpointMemory, TargetMemory


def change_listed(
    known: "TargetMemory", gone: Iterable[str], back: "Collection[EndpointMemory]", now: float
) -> None:
    """
    Note what the name leads to since this look: it does not to the labels that are `gone`, and does again to
    those that are `back`. `now` is in seconds since the epoch.
    """
    look = known.looks
    lost = [last for label in gone if (last := _last(known.endpoints[label])) is not None]
    earlier = [last for held in back if (last := _last(held)) is not None]
    changes = [(wrong, right) for wrong in lost for right in earlier]
    brief = bool(changes) and all(is_mistake(*change, now) for change in changes)
    old = any(is_left_behind(*change) for change in changes)
    undone = brief and all(is_long(one.sightings, look) for one in lost)
    crowded = len(known.absent) >= LIMIT
    for held in back:
        held.listed.come_back(look, now, undone=undone)
    if back and not undone:
        for held in known.absent.values():
            if is_still_listed(known, held, now):
                held.listed.note_turns()
    for label in gone:
        held = known.endpoints[label]
        if held.facts is not None and held.seen_at is not None:
            held.listed.leave(look, back=bool(back), renewed=False, brief=brief, old=old, crowded=crowded)
            known.absent[label] = held
    if known.absent:
        forget_absent(known, now)


def forget_absent(known: "TargetMemory", now: float) -> None:
    """
    Forget endpoints that the name did not lead to for long, and of too many the less important ones.
    """
    absent = known.absent
    for label in [
        label for label, held in absent.items() if not held.listed.is_kept(known.looks, _age(held, now))
    ]:
        del absent[label]
    limit = limit_of(held.judged for held in absent.values())
    while len(absent) > limit:
        del absent[
            min(
                absent,
                key=lambda label: (
                    is_still_listed(known, absent[label], now),
                    is_unwell(absent[label].judged, absent[label].seen_at or 0.0),
                    absent[label].listed.left,
                ),
            )
        ]


def is_still_listed(known: "TargetMemory", held: "EndpointMemory", now: float) -> bool:
    """
    Return True while the name may lead to an absent endpoint again, so that it counts.
    """
    return held.listed.is_due(known.looks, _age(held, now))


def _last(held: "EndpointMemory") -> Shown | None:
    """
    Return what was last seen at an endpoint, and when the name led to it; None when nothing ever was.
    """
    if held.facts is None or held.seen_at is None:
        return None
    return Shown(held.facts, held.seen_at, held.listed)


def _age(held: "EndpointMemory", now: float) -> float:
    return now - held.seen_at if held.seen_at is not None else 0.0
