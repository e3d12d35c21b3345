"""
The dashboards as they are shipped, and Grafana's own arithmetic on their queries.
"""

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DIRECTORY = Path(__file__).parents[2] / "grafana"

Json = dict[str, Any]

DASHBOARDS: dict[str, Json] = {
    path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(DIRECTORY.glob("*.json"))
}

ALL = "$__all"
"""The choice of all values of a variable."""

RANGE_POINTS = 200
"""Points of a graph, where the panel does not bound them: what a panel of half a screen has."""


@dataclass(frozen=True, slots=True)
class Query:
    """
    One query of one panel.
    """

    dashboard: str
    panel: str
    name: str
    expression: str
    instant: bool
    points: int

    def __str__(self) -> str:
        return f"{self.dashboard} / {self.panel} / {self.name}"


def panels(dashboard: Json) -> Iterator[Json]:
    """
    The panels without the rows' headings.
    """
    return (panel for panel in dashboard["panels"] if panel["type"] != "row")


def queries(name: str) -> list[Query]:
    """
    Every query of a dashboard's panels.
    """
    return [
        Query(
            name,
            panel["title"],
            target["refId"],
            target["expr"],
            bool(target.get("instant")),
            int(panel.get("maxDataPoints", RANGE_POINTS)),
        )
        for panel in panels(DASHBOARDS[name])
        for target in panel.get("targets", ())
    ]


def interpolated(
    text: str,
    dashboard: Json,
    chosen: Mapping[str, str | Sequence[str]],
    interval: str = "15s",
    end: float | None = None,
) -> str:
    """
    The text with the values of variables as Grafana's Prometheus data source puts them in.

    The dashboard's time ends at `end`, usually now. What is not chosen has its default: all of several,
    else the current one. A value of a variable that allows several is a regular expression's literal; other
    values are put in as they are, with backslashes doubled.
    """
    values: dict[str, str] = {"__rate_interval": "1m", "__interval": interval, "__range": "1h"}
    values["__to"] = f"{time.time() if end is None else end:.0f}"
    for variable in dashboard["templating"]["list"]:
        name = variable["name"]
        choice = chosen.get(name, variable.get("current", {}).get("value", ""))
        values[name] = _value(variable, choice)
    # `$1` is a group of label_replace.
    return re.sub(r"\$\{(\w+)(?::[\w:]+)?\}|\$([a-z_]\w*)", lambda found: values[found[1] or found[2]], text)


def _value(variable: Json, choice: str | Sequence[str]) -> str:
    if choice == ALL:
        return str(variable["allValue"])
    if not variable["multi"]:
        return str(choice).replace("\\", "\\\\")
    literals = [_literal(one) for one in ([choice] if isinstance(choice, str) else choice)]
    return literals[0] if len(literals) == 1 else f"({'|'.join(literals)})"


def _literal(value: str) -> str:
    # Twice, since the regular expression stands in a string of PromQL.
    return re.sub(r"[$^*{}\[\]'+?.()|]", r"\\\\\g<0>", value.replace("\\", "\\\\\\\\"))
