"""
The output of `discover`: a configuration with the targets of its sources, or JSON.

A plan of what renews (`renew_before_expiry` of certbot) is printed as a policy: so it is kept with the list.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from exporter.config.sources import SourceEntry
from exporter.discovery.base import Found, Listing
from exporter.model.foreign_text import printable
from exporter.model.policies import DAY, HOUR, Before, Policy
from exporter.model.targets import Target

LATE = 13 * DAY
"""Seconds before the end up to which a planned renewal is later than the usual deadlines allow for."""


USUAL_LIFETIME = 90 * DAY
"""Seconds that certificates last for which those are written that a late plan needs instead."""


@dataclass(frozen=True, slots=True)
class Looked:
    """
    The list of one source, or the error that it ended with.
    """

    entry: SourceEntry
    listing: Listing = field(default_factory=Listing)
    error: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """
    The part of the output that is about one source.
    """

    looked: Looked
    found: tuple[Found, ...]
    notes: tuple[str, ...]
    targets: tuple[Target, ...] = ()
    """The targets that the configuration makes of `found`."""

    @property
    def name(self) -> str:
        """
        The name of the source.
        """
        return self.looked.entry.name or self.looked.entry.source


def _keys(found: Found, entry: SourceEntry) -> dict[str, Any]:
    """
    Return the keys of a target as a configuration has them.
    """
    policy, labels = entry.policy or found.policy, {**found.labels, **entry.labels}
    written: dict[str, Any] = {"url": found.url}
    if found.name:
        written["name"] = found.name
    if policy:
        written["policy"] = policy
    if labels:
        written["labels"] = labels
    return {**written, **found.settings}


def as_json(groups: Sequence[Group]) -> str:
    """
    Return what was found as JSON, a list of sources.
    """
    value = [
        {
            "source": one.name,
            "error": one.looked.error or None,
            "notes": list(one.notes),
            "targets": [
                {
                    **_keys(found, one.looked.entry),
                    "why": found.why,
                    "renew_before_seconds": found.renew_before,
                }
                for found in one.found
            ],
        }
        for one in groups
    ]
    return json.dumps(value, indent=2) + "\n"


def as_yaml(groups: Sequence[Group]) -> str:
    """
    Return what was found as a configuration.
    """
    if not any(one.found for one in groups):
        return "# Nothing was found that is not configured.\ntargets: []\n"
    plans = {
        name: target.policy
        for group in groups
        for found, target in zip(group.found, group.targets, strict=False)
        if (name := _plan(group, found, target))
    }
    policies = "".join(f"  {name}: {_policy(policy)}\n" for name, policy in sorted(plans.items()))
    targets = "\n".join("\n".join(_lines(one)) + "\n" for one in groups if one.found)
    return f"policies:\n{policies}\ntargets:\n{targets}" if policies else f"targets:\n{targets}"


def _plan(group: Group, found: Found, target: Target | None) -> str:
    """
    Return the name of the policy with the plan of what renews a target; empty if there is no plan, or the
    entry of the source says the policy.
    """
    if found.renew_before is None or target is None or group.looked.entry.policy:
        return ""
    return f"{target.policy.name}-{_planned(found.renew_before)}"


def _planned(seconds: float) -> str:
    """
    Return the duration of a plan. That of one certificate may be off by hours, which the next one's is not.
    """
    return f"{round(seconds / DAY)}d" if seconds >= 2 * DAY else f"{max(1, round(seconds / HOUR))}h"


def _policy(policy: Policy) -> str:
    """
    Return a policy with a plan as a configuration has it, on one line.
    """
    assert policy.renewal_due.duration is not None
    keys = {"renewal_due": _planned(policy.renewal_due.duration), "critical": _before(policy.critical)}
    if policy.renewal_due.duration <= LATE:
        left = policy.time_left(USUAL_LIFETIME)
        keys |= {"warning": _minutes(left.warning), "critical": _minutes(left.critical)}
    if policy.unseen is not None:
        keys["unseen"] = _before(policy.unseen)
    if policy.interval is not None:
        keys["interval"] = f"{policy.interval:.0f}s"
    if policy.issuers:
        keys["issuers"] = json.dumps(policy.issuers)
    return f"{{{', '.join(f'{name}: {value}' for name, value in keys.items())}}}"


def _minutes(seconds: float) -> str:
    """
    Return a duration, in whole days if it has those, else in minutes.
    """
    return f"{seconds / DAY:.0f}d" if seconds and seconds % DAY == 0 else f"{max(1, round(seconds / 60))}m"


def _before(before: Before) -> str:
    share = [f"{100 * before.share:.6g}%"] if before.share is not None else []
    duration = [_minutes(before.duration)] if before.duration is not None else []
    both = [*share, *duration]
    return both[0] if len(both) == 1 else f"[{', '.join(both)}]"


def _lines(group: Group) -> Iterator[str]:
    entry = group.looked.entry
    yield f"  # {printable(group.name)}: {len(group.found)} found"
    for found, target in zip_longest(group.found, group.targets):
        why = printable(found.why)
        keys = _keys(found, entry)
        if found.renew_before is not None and (name := _plan(group, found, target)):
            why += f"; renewed {_planned(found.renew_before)} before the end"
            keys["policy"] = name
        first, *rest = (f"{name}: {_value(value)}" for name, value in keys.items())
        if not rest:
            first = _value(found.url)
        yield f"  - {first}  # {why}"
        yield from (f"    {line}" for line in rest)


def _value(value: Any) -> str:
    """
    Return a value in YAML on one line.
    """
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z/][\w./:@+%=-]*[\w/%=-]", value):
        return value
    return json.dumps(value)
