"""
The configuration that is in use: targets, policies, and which targets a caller of /probe may name.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Any

from exporter.config.probe_allow import allowed
from exporter.config.schema import _name, _url
from exporter.model.policies import BUILT_IN, BY_KIND, Match, Policy
from exporter.model.suggestions import closest
from exporter.model.targets import Target
from exporter.model.urls import TargetError
from exporter.yaml_lines import shown


@dataclass(frozen=True, slots=True)
class Config:
    """
    What one configuration file says.
    """

    targets: tuple[Target, ...] = ()
    """In the order of the file; no two share a name."""
    policies: Mapping[str, Policy] = field(default_factory=lambda: MappingProxyType(BUILT_IN))
    """The built-in and the user's policies, by name."""
    probe_allow: tuple[str, ...] = ("*",)
    """What `/probe` accepts besides configured targets: see `probe_allow.allowed`."""
    warnings: tuple[str, ...] = ()
    """What is allowed but probably not meant, each with file and line."""
    matches: tuple["SchemeMatch", ...] = ()
    """Which policies fit which targets, in the order of the file."""
    defaults: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    """What `defaults` sets, for `_target`. Not shown: a pass phrase may be among it."""


class NotAllowedError(TargetError):
    """
    A target that `/probe` must not be asked for. The message says why, for a person.
    """


@dataclass(frozen=True, slots=True)
class SchemeMatch:
    """
    A policy for the targets with one of these schemes, as far as their items fit.
    """

    schemes: frozenset[str]
    """Empty: every scheme."""
    match: Match


def target_for(config: Config, url: str, policy: str | None) -> Target:
    """
    The target that `/probe?target=URL&policy=NAME` asks for.

    A configured target of that name, with all its settings; else a new one with the settings of
    `defaults`, if `probe.allow` permits its URL; its addresses are judged when they are known, by `forbids`.
    `policy` replaces the target's policy; None keeps it. Raises TargetError with a message for the person who
    asked, NotAllowedError where it is not permitted.
    """
    target = next((target for target in config.targets if target.name == url), None)
    if target is None:
        parsed = _url(url)
        permitted = allowed(config.probe_allow)
        settings = {"url": parsed, "name": _name(parsed.text), "forbids": partial(permitted.refusal, parsed)}
        target = _target(config.defaults, settings, config.matches)
        # The normal form is matched, not the text, so that no spelling of a host slips past a pattern.
        if not permitted.may_ask(parsed, by_proxy=target.proxy is not None):
            raise NotAllowedError(
                f"{url!r} is not a configured target, and probe.allow of the configuration does not permit it"
            )
    if policy is None:
        return target
    if policy not in config.policies:
        raise TargetError(f"there is no policy {shown(policy)}: {closest(policy, config.policies)}")
    return replace(target, policy=config.policies[policy], matches=())


def _target(
    defaults: Mapping[str, Any], settings: Mapping[str, Any], matches: Iterable["SchemeMatch"]
) -> Target:
    """
    A target with its own settings and those of `defaults` that it does not set; labels are merged.

    Its own policy goes before every match, and each match before the policy of `defaults`.
    """
    labels = {**defaults.get("labels", {}), **settings.get("labels", {})}
    arguments = {**defaults, **settings, "labels": tuple(sorted(labels.items()))}
    if "policy" in settings:
        arguments["matches"] = ()
    else:
        scheme = settings["url"].scheme
        fitting = [one.match for one in matches if not one.schemes or scheme in one.schemes]
        whole = next((one.policy for one in fitting if not one.kinds and not one.issuers), None)
        if whole is not None:
            arguments["policy"] = whole
        arguments["matches"] = (*fitting, *BY_KIND)
    return Target(**arguments)
