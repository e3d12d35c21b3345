"""
The rights that the exporter needs in its cluster: what its configuration lists and watches, no more.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any

from exporter.model.schemes import SCHEMES
from exporter.model.targets import Target
from exporter.probes.kubernetes.objects import Question
from exporter.probes.kubernetes.selection import questions

Rule = dict[str, Any]
"""A rule of a Role, as in its manifest."""


@dataclass(frozen=True, slots=True)
class Rights:
    """
    Rules of roles.
    """

    cluster: list[Rule]
    """Of a ClusterRole; empty: none is needed."""
    namespaces: dict[str, list[Rule]]
    """Of Roles, by namespace."""


def rights(targets: Iterable[Target], of_sources: Iterable[Question] = ()) -> Rights:
    """
    Return the rights for these targets, and for the lists that sources watch.

    What has a kubeconfig or a context of its own needs none: it is not the cluster's service account.
    """
    asked: dict[str, dict[tuple[str, str], set[str]]] = {}
    kubernetes = SCHEMES["kubernetes"]
    of_targets = (questions(target) for target in targets if SCHEMES[target.url.scheme] == kubernetes)
    for question in (*chain.from_iterable(of_targets), *of_sources):
        if question.kubeconfig is None and not question.context:
            resource = (question.resource.group, question.resource.name)
            asked.setdefault(question.namespace, {}).setdefault(resource, set()).add(question.name)
    everywhere = asked.pop("", {})
    wanted = {
        namespace: {
            resource: names
            for resource, names in resources.items()
            # What may be read in every namespace needs no rule for one.
            if "" not in everywhere.get(resource, ())
        }
        for namespace, resources in sorted(asked.items())
    }
    return Rights(_rules(everywhere), {where: _rules(some) for where, some in wanted.items() if some})


def _rules(asked: dict[tuple[str, str], set[str]]) -> list[Rule]:
    found: list[Rule] = []
    for (group, resource), names in sorted(asked.items()):
        rule: Rule = {"apiGroups": [group], "resources": [resource], "verbs": ["list", "watch"]}
        # A target that names no object needs all of them.
        if "" not in names:
            rule["resourceNames"] = sorted(names)
        found.append(rule)
    return found
