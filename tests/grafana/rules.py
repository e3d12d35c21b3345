"""
Rules that a dashboard keeps: those of Grafana's dashboard-linter in strict mode, and some of our own.

Each gives a sentence for every place that breaks it.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import promql_parser
from grafana_foundation_sdk.models import units

from exporter.report import families
from tests.grafana.written import DIRECTORY, Json, interpolated, panels

Rule = Callable[[Json], Iterator[str]]

SOURCE = {"type": "prometheus", "uid": "$datasource"}

UNITS = {value for name, value in vars(units).items() if isinstance(value, str) and not name.startswith("_")}

FOREIGN = {
    *("up", "scrape_duration_seconds", "scrape_samples_scraped"),
    *("process_resident_memory_bytes", "process_cpu_seconds_total", "process_start_time_seconds"),
    *("process_open_fds", "process_max_fds"),
}
"""What Prometheus and its client library for Python know of each exporter."""

TYPES = {"stat", "table", "timeseries", "bargauge", "barchart", "state-timeline", "text"}

RUNBOOKS = "https://github.com/expiry-exporter/expiry-exporter/blob/main/alerts/runbooks"


def template_datasource(dashboard: Json) -> Iterator[str]:
    """
    A variable `datasource` of Prometheus, labelled "Data source", so that the dashboard works with any.
    """
    found = _variable(dashboard, "datasource")
    if (found.get("type"), found.get("query"), found.get("label")) != (
        "datasource",
        "prometheus",
        "Data source",
    ):
        yield f"the variable datasource is {found}"


def template_job(dashboard: Json) -> Iterator[str]:
    """
    A variable `job` in which several or all can be chosen.
    """
    yield from _several(dashboard, "job", "Job")


def template_instance(dashboard: Json) -> Iterator[str]:
    """
    The same for `instance`.
    """
    yield from _several(dashboard, "instance", "Instance")


def template_promql(dashboard: Json) -> Iterator[str]:
    """
    Variables ask for the values of a label of a selector that Prometheus takes.
    """
    for variable in _queried(dashboard):
        found = re.fullmatch(r"label_values\((.+), [\w$]+\)", variable["query"])
        if found is None:
            yield f"{variable['name']} asks {variable['query']}"
        else:
            yield from _parse(found[1], dashboard, variable["name"])[1]


def template_reload(dashboard: Json) -> Iterator[str]:
    """
    Variables are asked for again when the time changes.
    """
    for variable in _queried(dashboard):
        if variable["refresh"] != 2:
            yield f"{variable['name']} is not refreshed when the time changes"


def uneditable(dashboard: Json) -> Iterator[str]:
    """
    What is provisioned can't be edited in place: the next update would lose it.
    """
    if dashboard.get("editable") is not False:
        yield "it can be edited"


def panel_datasource(dashboard: Json) -> Iterator[str]:
    """
    Panels, queries, variables and annotations ask the data source that is chosen.
    """
    places = [*panels(dashboard), *_queried(dashboard), *dashboard["annotations"]["list"]]
    for place in [*places, *(target for _, target in _targets(dashboard))]:
        if place.get("datasource") != SOURCE:
            name = place.get("title") or place.get("name") or place.get("expr")
            yield f"{name} asks {place.get('datasource')}"


def panel_words(dashboard: Json) -> Iterator[str]:
    """
    A panel has a title and a description.
    """
    for panel in panels(dashboard):
        if not panel.get("title") or not panel.get("description"):
            yield f"panel {panel['id']} has no title or no description"


def panel_unit(dashboard: Json) -> Iterator[str]:
    """
    A panel with numbers says which unit they have, by a name that Grafana knows.
    """
    for panel in panels(dashboard):
        config = panel.get("fieldConfig", {"defaults": {}, "overrides": []})
        named = [config["defaults"].get("unit")]
        changes = [one for change in config["overrides"] for one in change["properties"]]
        named += [one["value"] for one in changes if one["id"] == "unit"]
        for unit in named:
            if (
                panel["type"] != "text"
                and unit not in UNITS
                and not str(unit).startswith(("time:", "suffix:"))
            ):
                yield f"{panel['title']} has the unit {unit}"


def panel_targets(dashboard: Json) -> Iterator[str]:
    """
    A panel that shows data asks for some, each query by a name of its own.
    """
    for panel in panels(dashboard):
        names = [target["refId"] for target in panel.get("targets", ())]
        if panel["type"] != "text" and not names:
            yield f"{panel['title']} asks nothing"
        if len(names) != len(set(names)):
            yield f"{panel['title']} has two queries of one name"


def panel_type(dashboard: Json) -> Iterator[str]:
    """
    Only panels that every Grafana has, in a number that can be maintained.
    """
    for panel in panels(dashboard):
        if panel["type"] not in TYPES:
            yield f"{panel['title']} is a {panel['type']}"


def panel_ids(dashboard: Json) -> Iterator[str]:
    """
    Each panel has a number of its own, since links to panels go by it.
    """
    numbers = [panel["id"] for panel in dashboard["panels"]]
    if len(numbers) != len(set(numbers)):
        yield f"numbers that occur twice in {numbers}"


def panel_places(dashboard: Json) -> Iterator[str]:
    """
    Panels do not overlap and stay in the grid of 24 columns.
    """
    taken: dict[tuple[int, int], str] = {}
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        if at["x"] + at["w"] > 24:
            yield f"{panel['title']} leaves the grid"
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                if (x, y) in taken:
                    yield f"{panel['title']} overlaps {taken[x, y]}"
                    return
                taken[x, y] = panel["title"]


def target_promql(dashboard: Json) -> Iterator[str]:
    """
    Queries parse.
    """
    for panel, target in _targets(dashboard):
        yield from _parse(target["expr"], dashboard, panel["title"])[1]


def target_job(dashboard: Json) -> Iterator[str]:
    """
    Every selector has `job=~"$job"`.
    """
    yield from _matched(dashboard, "job")


def target_instance(dashboard: Json) -> Iterator[str]:
    """
    Every selector has `instance=~"$instance"`.
    """
    yield from _matched(dashboard, "instance")


def target_rate_interval(dashboard: Json) -> Iterator[str]:
    """
    Ranges in brackets are `$__rate_interval`, which fits the scrape interval whatever that is.
    """
    for panel, target in _targets(dashboard):
        for found in re.findall(r"\[([^\]]+)\]", target["expr"]):
            if found != "$__rate_interval":
                yield f"{panel['title']} looks over {found}"


def target_counter(dashboard: Json) -> Iterator[str]:
    """
    A counter is shown as a rate.
    """
    for panel, target in _targets(dashboard):
        bare = re.sub(r"(?:rate|increase|irate)\(\w+_total\b", "", target["expr"])
        if found := re.search(r"\w+_total\b", bare):
            yield f"{panel['title']} shows {found[0]} as it is"


def target_metrics(dashboard: Json) -> Iterator[str]:
    """
    Only what the exporter, its library or Prometheus exports is asked for.
    """
    known = {family.name for family in families.FAMILIES} | FOREIGN
    for panel, target in _targets(dashboard):
        for selector in _selectors(target["expr"], dashboard):
            if selector.name not in known:
                yield f"{panel['title']} asks for {selector.name}"


def table_columns(dashboard: Json) -> Iterator[str]:
    """
    What a table renames and hides is a label that a query has, or the value of one of its queries.
    """
    for panel in panels(dashboard):
        names = [target["refId"] for target in panel.get("targets", ())]
        values = {"Value"} if len(names) == 1 else {f"Value #{name}" for name in names}
        asked = " ".join(target["expr"] for target in panel.get("targets", ()))
        # `Value` are the values of the only query that gives any.
        known = {"Time", "Value"} | values | set(re.findall(r"\w+", asked))
        for one in panel.get("transformations", ()):
            if one["id"] == "calculateField":
                known.add(one["options"]["alias"])
                quotient = one["options"]["binary"]
                if not {quotient["left"], quotient["right"]} <= values:
                    yield f"{panel['title']} divides {quotient}"
            if one["id"] == "organize":
                options = one["options"]
                for field in {**options["excludeByName"], **options["renameByName"]}:
                    if field not in known:
                        yield f"{panel['title']} has no field {field}"


def links(dashboard: Json) -> Iterator[str]:
    """
    Links lead to our dashboards, the exporter's pages or a runbook that exists, variables kept.
    """
    for url in _urls(dashboard):
        if url.startswith("/d/"):
            kept = set(re.findall(r"\$\{(\w+):queryparam\}", url))
            if (
                not re.match(r"/d/expiry-(fleet|target|exporter)\?", url)
                or not {"datasource", "job", "instance"} <= kept
            ):
                yield f"a link to {url}"
        elif url.startswith(RUNBOOKS):
            page = url.removeprefix(RUNBOOKS).removeprefix("/")
            if page and "$" not in page and not (DIRECTORY.parent / "alerts" / "runbooks" / page).is_file():
                yield f"a link to the runbook {page}, which there is not"
        elif not url.startswith(("${status:raw}", "${__value.raw}")):
            yield f"a link to {url}"


RULES: dict[str, Rule] = {
    rule.__name__: rule
    for rule in (
        template_datasource,
        template_job,
        template_instance,
        template_promql,
        template_reload,
        uneditable,
        panel_datasource,
        panel_words,
        panel_unit,
        panel_targets,
        panel_type,
        panel_ids,
        panel_places,
        target_promql,
        target_job,
        target_instance,
        target_rate_interval,
        target_counter,
        target_metrics,
        table_columns,
        links,
    )
}


def _variable(dashboard: Json, name: str) -> Json:
    return next((one for one in dashboard["templating"]["list"] if one["name"] == name), {})


def _queried(dashboard: Json) -> list[Json]:
    return [one for one in dashboard["templating"]["list"] if one["type"] == "query"]


def _several(dashboard: Json, name: str, label: str) -> Iterator[str]:
    wanted = {"type": "query", "label": label, "multi": True, "includeAll": True, "allValue": ".+"}
    wanted |= {"datasource": SOURCE}
    found = _variable(dashboard, name)
    for key, value in wanted.items():
        if found.get(key) != value:
            yield f"the variable {name} has {key} {found.get(key)}"


def _targets(dashboard: Json) -> list[tuple[Json, Json]]:
    return [(panel, target) for panel in panels(dashboard) for target in panel.get("targets", ())]


def _parse(text: str, dashboard: Json, where: str) -> tuple[Any, list[str]]:
    try:
        return promql_parser.parse(interpolated(text, dashboard, {})), []
    except ValueError as error:
        return None, [f"{where}: {error}"]


def _selectors(text: str, dashboard: Json) -> list[Any]:
    """
    The selectors of an expression; none when it does not parse, which is another rule's matter.
    """
    parsed, _ = _parse(text, dashboard, "")
    found: list[Any] = []
    if parsed is not None:

        def visit(expression: object) -> None:
            if isinstance(expression, promql_parser.VectorSelector):
                found.append(expression)

        promql_parser.walk(parsed, visit)
    return found


def _matched(dashboard: Json, label: str) -> Iterator[str]:
    for panel, target in _targets(dashboard):
        # As written: interpolated, a fixed value could look like the variable's.
        for inside in re.findall(r"(?<!\$)\{([^}]*)\}", target["expr"]):
            if f'{label}=~"${label}"' not in inside.split(", "):
                yield f"{panel['title']} selects {inside} without {label}"
        bare = [one for one in _selectors(target["expr"], dashboard) if not one.matchers.matchers]
        for selector in bare:
            yield f"{panel['title']} selects all of {selector.name}"


def _urls(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "url":
                yield inner
            else:
                yield from _urls(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _urls(inner)
