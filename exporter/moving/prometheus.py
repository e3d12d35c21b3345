"""
Jobs of a `prometheus.yml` that scrape by way of a prober: their targets and labels.

Which target and module a call of the prober has is what relabelling makes of it, as in Prometheus itself.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from exporter.config.modules import BUILT_IN_MODULES, Module, plain_page, url_in
from exporter.model.hosts import TargetError
from exporter.model.schemes import SCHEMES, Form
from exporter.moving.documents import list_in, mappings_in
from exporter.moving.moved import Group, Moved, MoveError, items, part, without_braces
from exporter.moving.operators import KINDS, jobs_of
from exporter.moving.relabelling import DroppedError, FollowError, Patience, relabelled

_PATIENCE = 5.0
"""Seconds that relabelling the targets of one job may take."""


Read = Callable[[str], list[tuple[str, str]]]
"""Returns name and text of each file that a pattern of a configuration matches. Raises OSError."""


_DISCOVERY = "_sd_configs"

_KNOWN = ("static_configs", "file_sd_configs")

_PORTS = {"9115": "blackbox_exporter", "9219": "ssl_exporter", "9222": "domain_exporter"}
"""The exporters by the port that each has unless somebody changed it."""


def jobs(text: str, moved: Moved, read: Read) -> None:
    """
    Take the targets of the jobs that name a module, or a target, of a prober. Raises MoveError.
    """
    found: list[Any] = []
    for one in mappings_in(text, "configuration of Prometheus", *_KEYS, also=_ALSO):
        found += [*([one] if "job_name" in one else ()), *items(one, "scrape_configs"), *jobs_of(one)]
        for pattern in items(one, "scrape_config_files"):
            for _, more in _files("Prometheus", str(pattern), moved, read):
                for there in mappings_in(more, "file of scrape_config_files", "scrape_configs"):
                    found += items(there, "scrape_configs")
    # A job of a list of jobs is found as such, too.
    for entry in {id(entry): entry for entry in found}.values():
        if isinstance(entry, dict) and _is_probing(entry):
            _take(_Job(entry, moved), read)
        elif isinstance(entry, dict):
            moved.left.append(f"job {entry.get('job_name', '?')}: it scrapes no prober")


_KEYS = ("scrape_configs", "scrape_config_files")


_ALSO = ("job_name", "serviceMonitor", "podMonitoring", *KINDS)
"""Keys of a job alone and of the values of blackbox_exporter's chart, and kinds of objects that stand for
jobs."""


def _is_probing(job: Mapping[str, Any]) -> bool:
    made = {str(part({"": step}, "").get("target_label")) for step in items(job, "relabel_configs")}
    return (
        str(job.get("metrics_path", "")).endswith("/probe")
        or not part(job, "params").keys().isdisjoint({"module", "target"})
        or "__param_target" in made
    )


@dataclass(slots=True)
class _Job:
    """
    One job, and what is found out of its targets.
    """

    job: Mapping[str, Any]
    moved: Moved
    groups: dict[str, Group] = field(default_factory=dict)
    """The targets by module."""
    dropped: dict[str, list[str]] = field(default_factory=dict)
    """By step of relabelling, the addresses that it drops."""
    pages: dict[str, None] = field(default_factory=dict)
    """Targets that are asked for without TLS, and taken with it."""
    paths: dict[str, set[str]] = field(default_factory=dict)
    """By URL of a server, its pages that are asked for."""
    fixed: dict[tuple[str, str], Mapping[str, str]] = field(default_factory=dict)
    """By module and target of calls in which each exporter is asked for the same, the labels of the first."""

    @property
    def name(self) -> str:
        """
        Its name.
        """
        return str(self.job.get("job_name", "?"))

    @property
    def where(self) -> str:
        """
        The begin of each message.
        """
        return f"job {self.name}"

    @property
    def labels(self) -> dict[str, str]:
        """
        The labels of all its targets, before relabelling.
        """
        params = {
            f"__param_{key}": str(values[0])
            for key, values in part(self.job, "params").items()
            if isinstance(values, list) and values
        }
        path = str(self.job.get("metrics_path", "/metrics"))
        return {"job": self.name, "__scheme__": "http", "__metrics_path__": path} | params

    @property
    def discoveries(self) -> list[str]:
        """
        The ways in which it finds targets that nobody knows here.
        """
        return [key for key in self.job if key.endswith(_DISCOVERY) and key not in _KNOWN]

    def lose(self, why: str) -> None:
        """
        Tell what can't be taken.
        """
        self.moved.left.append(f"{self.where}: {why}")

    def change(self, what: str) -> None:
        """
        Tell what has another meaning here.
        """
        self.moved.changes.append(f"{self.where}: {what}")


def _take(job: _Job, read: Read) -> None:
    """
    Take the targets of one job.
    """
    groups = [group for group in items(job.job, "static_configs") if isinstance(group, dict)]
    groups += _from_files(job, read)
    targets = [
        # A label without a value is one that is not there.
        {
            **job.labels,
            **{
                str(key): str(value)
                for key, value in part(group, "labels").items()
                if value not in (None, "")
            },
        }
        | {"__address__": str(target)}
        for group in groups
        for target in items(group, "targets")
    ]
    steps, patience = items(job.job, "relabel_configs"), Patience(_PATIENCE)
    for labels in targets:
        address = labels["__address__"]
        try:
            with patience.kept():
                after = relabelled(labels, steps)
        except DroppedError as error:
            job.dropped.setdefault(str(error), []).append(address)
        except FollowError as error:
            job.lose(f"target {address}: relabelling can't be followed: {error}")
        else:
            _call(job, labels, after)
    made = {str(step.get("target_label")) for step in steps if isinstance(step, dict)}
    for key in job.discoveries:
        if "__param_target" in job.labels and not made & {"__param_target", "__param_module"}:
            _call(job, job.labels, job.labels | {"__address__": f"each that {key} finds"})
        else:
            job.lose(
                f"{key}: who is found there is not known here; see the section `discover`, or keep the job "
                "and let it ask /probe of this exporter"
            )
    if not targets and not job.discoveries:
        _call(job, job.labels, job.labels)
    _tell(job)


_STAY = {
    "scrape_interval": "targets are probed when Prometheus scrapes this exporter; with `interval` they are "
    "probed less often",
    "metric_relabel_configs": "write them into the job that scrapes this exporter",
}
"""By key of a job that says nothing about its targets, what becomes of it."""


def _tell(job: _Job) -> None:
    job.moved.taken += job.groups.values()
    for key, words in _STAY.items():
        if job.groups and (value := job.job.get(key)):
            job.change(f"{key}{f' {value}' if isinstance(value, str) else ''}: {words}")
    sharded = any(
        part({"": step}, "").get("action") == "hashmod" for step in items(job.job, "relabel_configs")
    )
    for step, addresses in job.dropped.items():
        if sharded:
            job.lose(
                f"its relabelling by hashmod ({step}) leaves {', '.join(addresses)} to another Prometheus: "
                "take over the configuration of that one too"
            )
        else:
            job.change(f"not taken, as its relabelling drops them ({step}): {', '.join(addresses)}")
    if servers := [url for url, pages in job.paths.items() if len(pages) > 1]:
        job.change(f"all pages of a server are one target here: {', '.join(servers)}")
    if job.pages:
        job.change(
            f"asked for without TLS, taken as https://: {', '.join(job.pages)}; remove those that have none"
        )


def _module(job: _Job, after: Mapping[str, str]) -> tuple[str, Module] | None:
    """
    Return name and module of a call; None when it is not taken, which is told.
    """
    moved, name = job.moved, after.get("__param_module", "")
    if not name:
        address = after.get("__address__", "")
        kind = _PORTS.get(address.rpartition(":")[2], "")
        if not kind and len(moved.given) == 1:
            kind = next(iter(moved.given))
        if not kind:
            job.lose(
                "it names no module, and it is not known which exporter it asks, so neither is what its "
                "targets mean: name a module in its params"
            )
            return None
        name = moved.defaults[kind]
        job.change(f"it names no module; {name} is the one that {kind} uses then")
        moved.default_module = moved.default_module or name
        if name != moved.default_module:
            job.change(
                f"if it is to call /probe of this exporter, add `module: [{name}]` to its params: without a "
                f"module, {moved.default_module} is used"
            )
    if name in moved.modules:
        return name, Module(str(moved.modules[name]["scheme"]))
    if name in BUILT_IN_MODULES:
        return name, BUILT_IN_MODULES[name]
    job.lose(f"its module {name} is not taken")
    return None


def _call(job: _Job, before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """
    Take the target of one call of the prober, from the labels before and after relabelling.
    """
    found = _module(job, after)
    if found is None:
        return
    name, module = found
    text = job.moved.fixed.get(name) or after.get("__param_target", "")
    if not text:
        job.lose("its calls name no target: there is none in params, and no relabelling makes one")
        return
    address, form = after.get("__address__", ""), SCHEMES[module.scheme].form
    if form is Form.PATH and address:
        job.change(f"{text} is on the host of {address}: run this exporter there")
    own = {
        label: value
        for label, value in after.items()
        if not label.startswith("__")
        and (label, value) not in {("job", job.name), ("target", text)}
        and label != "instance"
    }
    # Then what stands in `targets` is the exporter, and one call says all.
    if text in {job.moved.fixed.get(name), job.labels.get("__param_target")}:
        first = job.fixed.setdefault((name, text), own)
        if first != own:
            job.change(f"{text}: the labels are those of the first exporter, not those of {address}")
        if first is not own:
            return
    settings = {
        key: value
        for key, value in job.moved.modules.get(name, {}).items()
        if key not in {"scheme", "target"}
    }
    if form is Form.HOST and after.get("__param_hostname"):
        settings.setdefault("server_name", after["__param_hostname"])
    group = job.groups.setdefault(name, Group(job.where, f", module {name}"))
    instance = after.get("instance", "")
    shown = "" if instance in {text, address, before.get("__address__", "")} else instance
    try:
        patterns = without_braces(text) if form is Form.PATH else [text]
        urls = [_url(job, name, module, one) for one in patterns]
    except (TargetError, MoveError) as error:
        job.lose(str(error))
        return
    if patterns != [text]:
        job.change(
            f"{text}: braces are written out as targets; a call of /probe of this exporter can't have them"
        )
    for url in urls:
        job.moved.add(group, url, own, settings, shown)


def _url(job: _Job, name: str, module: Module, text: str) -> str:
    """
    Return the URL of a target, as /probe makes it; tell of one that was asked for without TLS.

    To blackbox_exporter, a page without a scheme is one without TLS. Raises TargetError.
    """
    plain = text if name not in job.moved.pages or "://" in text else f"http://{text.strip()}"
    url = url_in(module, plain)
    if plain_page(module, plain) is not None:
        job.pages[text] = None
    job.paths.setdefault(url, set()).add(text)
    return url


def _files(where: str, pattern: str, moved: Moved, read: Read) -> list[tuple[str, str]]:
    """
    Return name and text of the files that a pattern matches; that there are none is told.
    """
    try:
        found = read(pattern)
    except OSError as error:
        moved.left.append(f"{where}: {pattern} can't be read: {error.strerror}")
        return []
    if not found:
        moved.left.append(f"{where}: no file is {pattern}")
    return found


def _from_files(job: _Job, read: Read) -> list[dict[str, Any]]:
    """
    Return the groups in the files of `file_sd_configs`.
    """
    groups: list[dict[str, Any]] = []
    for discovery in items(job.job, "file_sd_configs"):
        for pattern in map(str, items(discovery, "files")):
            found = _files(job.where, pattern, job.moved, read)
            for file, text in found:
                groups += [
                    {**group, "labels": {**part(group, "labels"), "__meta_filepath": file}}
                    for group in list_in(text, file)
                    if isinstance(group, dict)
                ]
            if found:
                job.change(f"the targets of {pattern} as they are now; to follow it, use `discover: files`")
    return groups
