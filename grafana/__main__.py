"""
Write the dashboards: `python -m grafana`.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana import exporter, fleet, target

DIRECTORY = Path(__file__).parent

LEAST_GRAFANA = "12.4.3"
"""The oldest version whose libraries have drawn the dashboards: those of tests/grafana/render."""


def text(dashboard: Dashboard) -> str:
    """
    Return the dashboard as JSON; equal dashboards have equal bytes.
    """
    plain = json.loads(json.dumps(dashboard, cls=JSONEncoder))
    plain["__requires"] = requirements({panel["type"] for panel in plain["panels"]} - {"row"})
    for panel in plain["panels"]:
        # Older tables had it; today it is a property of fields.
        panel.get("options", {}).pop("footer", None)
    for variable in plain["templating"]["list"]:
        # They are of intervals only.
        for key in ("auto", "auto_count", "auto_min"):
            variable.pop(key, None)
    return json.dumps(_unhidden(plain), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def requirements(panels: Iterable[str]) -> list[dict[str, str]]:
    """
    Return the needs of a dashboard with panels of these types, as Grafana shows them at an import.
    """
    return [
        {"type": "grafana", "id": "grafana", "name": "Grafana", "version": LEAST_GRAFANA},
        {"type": "datasource", "id": "prometheus", "name": "Prometheus", "version": "1.0.0"},
        *({"type": "panel", "id": one, "name": one, "version": ""} for one in sorted(panels)),
    ]


def _unhidden(value: Any) -> Any:
    """
    Return the JSON value without `placement`, with which the builder hides all links in a menu.
    """
    if isinstance(value, dict):
        return {key: _unhidden(inner) for key, inner in value.items() if key != "placement"}
    return [_unhidden(inner) for inner in value] if isinstance(value, list) else value


def texts() -> dict[str, str]:
    """
    Return the contents of the files to write, by file name.
    """
    return {f"{module.NAME}.json": text(module.dashboard()) for module in (fleet, target, exporter)}


if __name__ == "__main__":
    for name, content in texts().items():
        (DIRECTORY / name).write_text(content, encoding="utf-8")
