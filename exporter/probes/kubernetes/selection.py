"""
The objects of a Kubernetes cluster that hold items: listed once, then watched, so that a scrape sends no
requests.

There is one view for each list that is needed, shared by its targets. A view lists in pages, then watches
from the resourceVersion of the list. It lists again only when the server no longer has that version (410
Gone). See https://kubernetes.io/docs/reference/using-api/api-concepts/.
"""

import asyncio
import fnmatch
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote

from exporter.model.errors import LeftOut, Outcome, ProbeError
from exporter.model.observation import Facts
from exporter.model.reasons import Reason
from exporter.model.targets import Target
from exporter.net.network import Network
from exporter.probes.kubernetes.cluster import Cluster
from exporter.probes.kubernetes.kubeconfig import SERVICE_ACCOUNT
from exporter.probes.kubernetes.objects import (
    OPAQUE_TYPE,
    RESOURCES,
    TLS_TYPE,
    Key,
    Question,
    Renewed,
    with_renewal,
)
from exporter.probes.kubernetes.watch import USUAL_PACE, Pace, RefusedError, View

logger = logging.getLogger(__name__)


FORGET_AFTER = 3600.0
"""Seconds after its last use by a target until a watch ends."""


@dataclass(frozen=True, slots=True)
class Seen:
    """
    The outcomes of a target's endpoints now.
    """

    outcomes: Mapping[str, Outcome]
    """Outcomes by label, in order."""
    left_out: tuple[LeftOut, ...] = ()


_NOTHING = Seen({})


@dataclass(slots=True)
class Selection:
    """
    The objects that one target selects, and the views that hold them.
    """

    namespace: str
    """A name or a pattern."""
    name: str
    views: tuple[View, ...]
    asked: float = 0.0
    _changes: tuple[int, ...] = ()
    _seen: tuple[Seen, ...] = ()
    """One for each view, without regard to failures."""
    _told: tuple[object, Seen] | None = None
    """The last result of `seen`, with all that it depends on."""

    async def ready(self, timeout: float) -> None:
        """
        Wait until every view has a list or a failure. Raises TimeoutError.
        """
        async with asyncio.timeout(timeout):
            for view in self.views:
                await view.tried.wait()

    def seen(self, now: float) -> Seen:
        """
        Return the endpoints with their outcomes. Raises ProbeError when they can't be known, or there are
        none.
        """
        failures = [view.failure for view in self.views]
        for view, error in zip(self.views, failures, strict=True):
            # Objects that may exist must not count as gone. Refused lists stay refused.
            if error is not None and not view.listed and not isinstance(error, RefusedError):
                raise ProbeError(error.reason, error.detail)
        if failures[0] is not None and all(failures):
            raise ProbeError(failures[0].reason, failures[0].detail)
        # Each of thousands of endpoints may ask, one after the other.
        times = [None if view.age == 0 else round(now - view.age, 3) for view in self.views]
        depends = ([view.changes for view in self.views], failures, times)
        if self._told is None or self._told[0] != depends:
            self._told = (depends, self._merged(failures, now))
        return self._told[1]

    def _merged(self, failures: Sequence[ProbeError | None], now: float) -> Seen:
        outcomes: dict[str, Outcome] = {}
        left_out: list[LeftOut] = []
        for view, seen, error in zip(self.views, self._current(), failures, strict=True):
            left_out += seen.left_out
            if error is None:
                outcomes |= seen.outcomes if view.age == 0 else _dated(seen.outcomes, now - view.age)
            else:
                # A new exception for each: the same failure is raised many times.
                labels = tuple(seen.outcomes) or (view.question.place,)
                outcomes |= {label: ProbeError(error.reason, error.detail) for label in labels}
        if not outcomes:
            raise ProbeError(Reason.NO_MATCH, self._no_match(left_out))
        return Seen(outcomes, tuple(left_out))

    def _no_match(self, left_out: Sequence[LeftOut]) -> str:
        asked = " and ".join(dict.fromkeys(view.question.resource.name for view in self.views))
        words = f"none of the {asked} with the name {self.namespace}/{self.name} holds anything that expires"
        return "; ".join((words, *map(str, left_out[:3])))

    def _current(self) -> tuple[Seen, ...]:
        """
        Return the outcomes of each view; computed again only when one of them changed.
        """
        changes = tuple(view.changes for view in self.views)
        if changes != self._changes or not self._seen:
            renewed: dict[Key, Renewed] = {
                stored.renewed.secret: stored.renewed
                for view in self.views
                if view.question.resource in RESOURCES["certificates"]
                for stored in view.objects.values()
                if stored.renewed is not None
            }
            self._seen = tuple(self._of(view, renewed) for view in self.views)
            self._changes = changes
        return self._seen

    def _of(self, view: View, renewed: Mapping[Key, Renewed]) -> Seen:
        resource = view.question.resource
        outcomes: dict[str, Outcome] = {}
        left_out: list[LeftOut] = []
        secrets = RESOURCES["secrets"][0]
        for key in self._keys(view):
            stored = view.objects[key]
            renewal = renewed.get(key) if resource == secrets else None
            if renewal is None:
                outcomes |= stored.outcomes
            else:
                outcomes |= {label: with_renewal(one, renewal) for label, one in stored.outcomes.items()}
            left_out += stored.left_out
        return Seen(outcomes, tuple(left_out))

    def _keys(self, view: View) -> list[Key]:
        """
        Return which of a view's objects are selected. One that is named is not searched for: thousands of
        targets may share a view.
        """
        namespaced = view.question.resource.namespaced
        if namespaced and not is_pattern(self.namespace) and not is_pattern(self.name):
            key = self.namespace, self.name
            return [key] if key in view.objects else []
        return [
            (namespace, name)
            for namespace, name in sorted(view.objects)
            if _fits(name, self.name) and (not namespaced or _fits(namespace, self.namespace))
        ]


def _dated(outcomes: Mapping[str, Outcome], at: float) -> dict[str, Outcome]:
    """
    Return the outcomes with `at`, the time of the server's last answer, as the time they were seen.
    """
    return {
        label: replace(one, seen_at=at) if isinstance(one, Facts) else one for label, one in outcomes.items()
    }


def is_pattern(text: str) -> bool:
    """
    Return True when the text has wildcards.
    """
    return any(letter in text for letter in "*?[")


def _fits(text: str, pattern: str) -> bool:
    return pattern in {"*", text} or fnmatch.fnmatchcase(text, pattern)


def questions(target: Target) -> tuple[Question, ...]:
    """
    Return the lists needed for a target: as few as its URL and settings permit.
    """
    context, namespace, name = parts(target)
    settings = target.kubernetes
    inside = "" if is_pattern(namespace) or settings.scope == "cluster" else namespace
    named = "" if is_pattern(name) or settings.scope != "object" else name
    found: list[Question] = []
    for asked in settings.resources:
        for resource in RESOURCES[asked]:
            where = inside if resource.namespaced else ""
            of_all = Question(settings.kubeconfig, context, resource, where)
            if asked == "certificates":
                # Their names and labels are not those of the Secrets.
                found.append(of_all)
                continue
            types: tuple[str, ...] = ("",)
            if asked == "secrets":
                # One for each, so that no other Secret is ever sent, least of all the large ones of Helm.
                types = settings.types or (("",) if named else (TLS_TYPE, OPAQUE_TYPE))
            found += [
                replace(of_all, name=named, type=one, selector=settings.selector, password=target.password)
                for one in types
            ]
    return tuple(found)


def parts(target: Target) -> tuple[str, str, str]:
    """
    Return context (empty when there is none), namespace and name of a target's URL.
    """
    rest, _, name = target.url.path.rpartition("/")
    context, _, namespace = rest.rpartition("/")
    # A context may have slashes in it, and an '@', which in a URL is %40.
    return unquote(context), namespace, name


class Kubernetes:
    """
    All views of the process.
    """

    def __init__(
        self,
        network: Network,
        environ: Mapping[str, str] = os.environ,
        service_account: Path = SERVICE_ACCOUNT,
        pace: Pace = USUAL_PACE,
    ) -> None:
        self._network = network
        self._environ = environ
        self._service_account = service_account
        self._pace = pace
        self._clusters: dict[tuple[str | None, str], Cluster] = {}
        self._views: dict[Question, View] = {}
        self._selections: dict[tuple[tuple[Question, ...], str], Selection] = {}
        self._asked: dict[Question, float] = {}
        """When views were last asked for by themselves."""
        self._cleaned = network.loop.time()

    def close(self) -> None:
        """
        End all watches.
        """
        for view in self._views.values():
            view.close()

    def selection(self, target: Target) -> Selection:
        """
        Return the selection of a target. The lists that it needs are watched from now on.
        """
        asked = questions(target)
        key = (asked, target.url.path)
        now = self._now()
        found = self._selections.get(key)
        if found is None:
            _, namespace, name = parts(target)
            found = Selection(namespace, name, tuple(map(self._view, asked)))
            self._selections[key] = found
        found.asked = now
        return found

    def view(self, question: Question) -> View:
        """
        Return the view of these objects, which are watched from now on.
        """
        self._asked[question] = self._now()
        return self._view(question)

    @property
    def views(self) -> tuple[View, ...]:
        """
        All views that are watched.
        """
        return tuple(self._views.values())

    def _now(self) -> float:
        """
        Return the loop's time. Forgets what is not asked for any more.
        """
        now = self._network.loop.time()
        if now > self._cleaned + FORGET_AFTER / 8:
            self._forget(now)
        return now

    def _view(self, question: Question) -> View:
        found = self._views.get(question)
        if found is None:
            cluster = self._clusters.setdefault(
                (question.kubeconfig, question.context),
                Cluster(
                    question.kubeconfig,
                    question.context,
                    self._environ,
                    self._service_account,
                    self._network.clock,
                    self._pace.plugin,
                ),
            )
            found = self._views[question] = View(question, cluster, self._network, self._pace)
        return found

    def _forget(self, now: float) -> None:
        """
        End the watches that no target uses any more.
        """
        self._cleaned = now
        old = [key for key, one in self._selections.items() if one.asked < now - FORGET_AFTER]
        for key in old:
            del self._selections[key]
        unused = [question for question, asked in self._asked.items() if asked < now - FORGET_AFTER]
        for question in unused:
            del self._asked[question]
        if old or unused:
            used = {id(view) for one in self._selections.values() for view in one.views}
            used |= {id(self._views[question]) for question in self._asked}
            for question in [question for question, view in self._views.items() if id(view) not in used]:
                self._views.pop(question).close()
