"""
Jobs of a `prometheus.yml` that scrape by way of a prober: their targets and labels.
"""

from collections.abc import Callable, Mapping
from typing import Any

from exporter.config.modules import BUILT_IN_MODULES, Module, url_in
from exporter.model.urls import TargetError
from exporter.moving.moved import Moved, items, list_in, mapping_in, part

Read = Callable[[str], list[tuple[str, str]]]
"""Returns name and text of each file that a pattern of `file_sd_configs` matches. Raises OSError."""


_DISCOVERY = "_sd_configs"


def jobs(text: str, moved: Moved, read: Read) -> None:
    """
    Take the targets of the jobs that name a module, or a target, of a prober. Raises MoveError.
    """
    document = mapping_in(text, "configuration of Prometheus")
    for job in items(document, "scrape_configs"):
        if isinstance(job, dict) and _is_probing(job):
            _job(job, moved, read)
        elif isinstance(job, dict):
            moved.left.append(f"job {job.get('job_name', '?')}: it scrapes no prober")


def _is_probing(job: Mapping[str, Any]) -> bool:
    params = part(job, "params")
    return str(job.get("metrics_path", "")) == "/probe" or "module" in params or "target" in params


def _job(job: Mapping[str, Any], moved: Moved, read: Read) -> None:
    where, params = f"job {job.get('job_name', '?')}", part(job, "params")
    name = str(next(iter(items(params, "module")), ""))
    module = moved.modules.get(name)
    if module is None and name not in BUILT_IN_MODULES:
        moved.left.append(
            f"{where}: its module {name or '(none)'} is not taken"
            if name
            else f"{where}: it names no module, so what its targets mean is not known"
        )
        return
    for step in items(job, "relabel_configs"):
        if isinstance(step, dict) and not _usual(step):
            moved.left.append(
                f"{where}: relabelling of {_shown(step)} can't be followed; look at its targets"
            )
    known = Module(str(module["scheme"])) if module is not None else BUILT_IN_MODULES[name]
    shared = {key: value for key, value in (module or {}).items() if key not in {"scheme", "target"}}
    before = len(moved.targets)
    groups = [group for group in items(job, "static_configs") if isinstance(group, dict)]
    groups += _from_files(where, job, moved, read)
    groups += [{"targets": items(params, "target")}] if items(params, "target") else []
    for group in groups:
        labels = {str(key): str(value) for key, value in part(group, "labels").items()}
        dropped = [label for label in labels if label.startswith("__")]
        if dropped:
            moved.left.append(f"{where}: labels {', '.join(dropped)} are Prometheus's own")
        own = {label: value for label, value in labels.items() if label not in dropped}
        for target in items(group, "targets"):
            _target(where, str(target), known, own, shared, moved)
    moved.taken.append(f"{where}: {len(moved.targets) - before} targets, module {name}")
    for key in job:
        if key.endswith(_DISCOVERY) and key not in {"file_sd_configs", "static_configs"}:
            moved.left.append(
                f"{where}: {key}: who is found there is not known here; see the section `discover`, or keep "
                "the job and let it ask /probe of this exporter"
            )


def _target(
    where: str,
    text: str,
    module: Module,
    labels: Mapping[str, str],
    settings: Mapping[str, Any],
    moved: Moved,
) -> None:
    try:
        url = url_in(module, text)
    except TargetError as error:
        moved.left.append(f"{where}: {error}")
        return
    moved.add(url, labels, settings)


def _from_files(where: str, job: Mapping[str, Any], moved: Moved, read: Read) -> list[dict[str, Any]]:
    """
    Return the groups in the files of `file_sd_configs`.
    """
    groups: list[dict[str, Any]] = []
    for discovery in items(job, "file_sd_configs"):
        for pattern in items(discovery, "files"):
            try:
                found = read(str(pattern))
            except OSError as error:
                moved.left.append(f"{where}: {pattern} can't be read: {error.strerror}")
                continue
            if not found:
                moved.left.append(f"{where}: no file is {pattern}")
            for file, text in found:
                groups += [group for group in list_in(text, file) if isinstance(group, dict)]
            moved.changes.append(
                f"{where}: the targets of {pattern} as they are now; to follow it, use `discover: files`"
            )
    return groups


def _usual(step: Mapping[str, Any]) -> bool:
    """
    Return True for the steps that every job of a prober has: target to parameter, parameter to instance.
    """
    target, source = str(step.get("target_label", "")), items(step, "source_labels")
    replacement = str(step.get("replacement", "$1"))
    plain = step.get("action", "replace") == "replace" and step.get("regex", "(.*)") in {"(.*)", ".*"}
    if target == "__address__" and not source:
        return True
    moves = {
        ("__address__", "__param_target"),
        ("__param_target", "instance"),
        ("__param_target", "target"),
        ("__address__", "instance"),
    }
    return plain and replacement == "$1" and len(source) == 1 and (str(source[0]), target) in moves


def _shown(step: Mapping[str, Any]) -> str:
    source = ", ".join(map(str, items(step, "source_labels"))) or str(step.get("action", "replace"))
    return f"{source} to {step.get('target_label', '?')}"
