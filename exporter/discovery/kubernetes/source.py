"""
Source `kubernetes`: hosts and Secrets by the watch of a cluster's objects.

Nothing is asked at a run: the watches that Secrets have too (`probes.kubernetes`) hold the objects, and a run
looks whether they changed.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from exporter.config.sources import KubernetesSource
from exporter.discovery.base import Context, Listing, Source, in_part
from exporter.discovery.kubernetes.listing import listed
from exporter.discovery.kubernetes.objects import KINDS, Objects, as_json, restored
from exporter.discovery.threads import in_thread
from exporter.probes.dependencies import Dependencies
from exporter.probes.kubernetes.objects import RESOURCES, TLS_TYPE, Question
from exporter.probes.kubernetes.watch import View

INTERVAL = 1.0
"""Seconds between two looks at the watches, each of which compares a few numbers."""


LIST_TIMEOUT = 60.0
"""Seconds for which a run waits for the first lists."""


def questions(settings: KubernetesSource) -> tuple[Question, ...]:
    """
    Return the lists that are watched.
    """
    return tuple(
        Question(
            *(settings.kubeconfig, settings.context or "", resource, namespace),
            type=TLS_TYPE if resource in RESOURCES["secrets"] else "",
            # The labels of cert-manager's Certificates are not those of their Secrets.
            selector="" if name == "certificates" else settings.selector,
        )
        for name in dict.fromkeys(settings.resources)
        for resource in KINDS[name]
        for namespace in dict.fromkeys(settings.namespaces or [""])
    )


async def run(settings: KubernetesSource, context: Context) -> Listing:
    """
    Return the targets that the objects of the cluster name. Raises SourceError.
    """
    network = context.network
    assert isinstance(network, Dependencies)  # as all that look at targets have it
    views = [network.kubernetes.view(one) for one in questions(settings)]
    await _ready(views, context)
    known = _remembered(context.remembered)
    faults = [words for view in views if (words := _fault(view)) and not _is_advice(view)]
    state = [f"{_place(view)} {_state(view)}" for view in views]
    if not any(view.listed or view.absent for view in views):
        raise in_part(faults or [_fault(view) for view in views])
    if known is not None and known.get("state") == state and not context.whole:
        listing = Listing(unchanged=True)
    else:
        # Taken here, since the watches go on while a thread reads them.
        objects = {
            _place(view): [(key, stored.content) for key, stored in view.objects.items()]
            for view in views
            if view.listed and not view.absent
        }
        began = network.monotonic()
        listing = await in_thread(lambda: _listed(settings, views, objects, known or {}, state))
        listing = replace(listing, took=network.monotonic() - began)
    if faults:
        raise in_part(faults, listing)
    return listing


async def _ready(views: Sequence[View], context: Context) -> None:
    """
    Wait until each view has a list or a failure, but not for ever.
    """
    try:
        async with asyncio.timeout(LIST_TIMEOUT):
            for view in views:
                if not view.tried.is_set():
                    context.progress(f"listing {view.question} of {view.cluster}")
                    await view.tried.wait()
    except TimeoutError:
        pass


def _fault(view: View) -> str:
    """
    Return why the objects of a view are not known, or no longer; empty when they are.
    """
    if view.absent:
        return ""
    if view.failure is not None:
        return view.failure.detail
    if view.listed:
        return ""
    return f"{view.question} of {view.cluster}: no whole list came in {LIST_TIMEOUT:g} s yet; it goes on"


def _is_advice(view: View) -> bool:
    """
    Return True for objects that only say when others are renewed.
    """
    return view.question.resource in KINDS["certificates"]


def _place(view: View) -> str:
    return view.question.place


def _state(view: View) -> str:
    """
    Return a text that is another one whenever the objects of a view may be others.
    """
    if view.absent:
        return "absent"
    return str(view.changes) if view.listed else "unknown"


def _remembered(value: Any) -> dict[str, Any] | None:
    return value if isinstance(value, dict) and isinstance(value.get("objects"), dict) else None


def _listed(
    settings: KubernetesSource,
    views: Sequence[View],
    now: Mapping[str, Any],
    known: Mapping[str, Any],
    state: Sequence[str],
) -> Listing:
    """
    Return the targets. What is not known now is as the last run knew it.
    """
    lists: dict[str, Objects] = {}
    remember: dict[str, Any] = {}
    for view in views:
        name, place = view.question.resource.name, _place(view)
        objects: Objects = {}
        if place in now:
            # Of Secrets the names are enough; what else says nothing is left out.
            objects = {key: content for key, content in now[place] if content or name == "secrets"}
        elif not view.absent:
            before = known.get("objects", {}).get(place)
            try:
                objects = restored(name, before)
            except ValueError:
                continue
        lists[name] = {**lists.get(name, {}), **objects}
        remember[place] = as_json(objects)
    listing = listed(settings, lists)
    # No target is lost without what these say: it is no failure.
    unknown = [words for view in views if _is_advice(view) and (words := _fault(view))]
    advice = tuple(f"when cert-manager renews is not known: {words}" for words in unknown)
    remembered = {"state": list(state), "objects": remember}
    return replace(listing, notes=(*listing.notes, *advice), remember=remembered)


SOURCE = Source("kubernetes", INTERVAL, run, steady=True)
