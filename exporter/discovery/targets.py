"""
From what sources found to targets: with the settings of the configuration, each once.

What a person wrote goes before what was found, and an earlier source before a later one.
"""

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from exporter.config.schema import TargetEntry
from exporter.config.settings import Config
from exporter.config.sources import SourceEntry
from exporter.config.values import Elsewhere
from exporter.discovery.base import Found
from exporter.logs import fields
from exporter.model.foreign_text import printable
from exporter.model.hosts import hidden_user
from exporter.model.policies import Before, Policy
from exporter.model.targets import Target
from exporter.passwords import shown
from exporter.probes.files.glob import covering

logger = logging.getLogger(__name__)


WHY_LIMIT = 200
"""Characters of the words about where a target was found."""


LABEL_LIMIT = 256
"""Characters of the value of a label."""


_SAME_HANDSHAKE = {"https", "tls"}
"""Schemes that say the same of a host and port: TLS from the first byte on, and no protocol is offered."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """
    The context in which the settings of a found target are checked.
    """

    directory: Path
    policies: Mapping[str, Policy]
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    elsewhere: Elsewhere | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """
    The targets that were made of a list.
    """

    targets: tuple[Target, ...] = ()
    by_found: Mapping[int, tuple[Found, Target]] = field(default_factory=dict)
    """By the identity of what was found: it is made into a target once."""
    notes: tuple[str, ...] = ()
    """What can't be a target, and why."""
    decided: bool = False
    """True if the element of the configuration says the policy of all."""


def made(found: Iterable[Found], entry: SourceEntry, config: Config, before: Made | None = None) -> Made:
    """
    Return the targets of a list; what can't be one becomes a note. `before` are those of the same settings.
    """
    reading = _Reading(Path(config.directory), config.policies)
    known = before.by_found if before is not None else {}
    by_found: dict[int, tuple[Found, Target]] = {}
    notes: list[str] = []
    for one in found:
        old = known.get(id(one))
        if old is not None and old[0] is one:
            by_found[id(one)] = old
            continue
        try:
            by_found[id(one)] = one, _target(one, entry, config, reading)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            words = str(first.get("ctx", {}).get("error") or first["msg"])
            url = hidden_user(one.url[:300])
            notes.append(f"{shown(url)} ({printable(one.why[:WHY_LIMIT])}): {printable(words)}")
    return Made(tuple(target for _, target in by_found.values()), by_found, tuple(notes), bool(entry.policy))


def _target(one: Found, entry: SourceEntry, config: Config, reading: _Reading) -> Target:
    """
    Return the target that was found. Raises ValidationError.
    """
    written: dict[str, Any] = {**one.settings, "url": one.url}
    if one.name:
        written["name"] = one.name
    if entry.policy:
        written["policy"] = entry.policy
    labels = {name: str(value)[:LABEL_LIMIT] for name, value in one.labels.items()}
    written["labels"] = {**labels, **entry.labels}
    model = TargetEntry.model_validate(written, context=reading)
    target = config.target(model.url, model.name, model)
    if not entry.policy:
        target = replace(target, policy=_fitting(one, config, target.policy))
    return replace(target, source=entry.name or entry.source, why=printable(one.why)[:WHY_LIMIT])


def _fitting(one: Found, config: Config, usual: Policy) -> Policy:
    """
    Return the policy that the source knows to fit, with the time at which the renewer says it renews.
    """
    policy = config.policies.get(one.policy, usual)
    if one.renew_before is None:
        return policy
    return replace(policy, renewal_due=Before(one.renew_before), renewal_due_short=None, planned=True)


def joined(config: Config, lists: Sequence[Made]) -> tuple[Target, ...]:
    """
    Return the targets of the configuration and those of the lists, none twice.
    """
    if not lists:
        return config.targets
    names = {target.name for target in config.by_hand}
    names |= {target.name for target in config.targets}
    places = {_place(target) for target in config.by_hand}
    # What is found is mostly one file; what a person wrote may be the pattern of them all, `**` too.
    covered = covering([target.url.path for target in config.by_hand if target.url.scheme == "file"])
    known: dict[tuple[str, str], Policy] = {}
    for made_here in lists:
        for found, target in made_here.by_found.values():
            if _knows(found) and not made_here.decided:
                known.setdefault(_place(target), target.policy)
    taken: list[Target] = []
    for made_here in lists:
        for found, target in made_here.by_found.values():
            place = _place(target)
            by_pattern = target.url.scheme == "file" and covered(target.url.path, found.links)
            if target.name in names or place in places or by_pattern:
                logger.debug(
                    "a target is there already", extra=fields(target=target.name, source=target.source)
                )
                continue
            names.add(target.name)
            places.add(place)
            if not config.is_mine(target.name):
                continue
            # The first source has it, but the one that is of what renews it knows when that is.
            if place in known and not made_here.decided and not _knows(found):
                target = replace(target, policy=known[place])  # noqa: PLW2901 - the same one
            taken.append(target)
    return (*config.targets, *taken)


def _knows(found: Found) -> bool:
    """
    Return True when the source knows how this is renewed.
    """
    return bool(found.policy) or found.renew_before is not None


def _place(target: Target) -> tuple[str, str]:
    url = target.url
    place = url.authority if url.scheme in _SAME_HANDSHAKE else url.normal
    return place, target.server_name or url.host
