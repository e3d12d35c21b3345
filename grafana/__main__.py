"""
Write the dashboards: `python -m grafana`.
"""

import json
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana import exporter, fleet, target

DIRECTORY = Path(__file__).parent


def text(dashboard: Dashboard) -> str:
    """
    The dashboard as JSON whose bytes depend on nothing but its contents.
    """
    plain = json.loads(json.dumps(dashboard, cls=JSONEncoder))
    return json.dumps(_unhidden(plain), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _unhidden(value: Any) -> Any:
    """
    The same without the place that the builder gives to all links: a menu, in which nobody looks.
    """
    if isinstance(value, dict):
        return {key: _unhidden(inner) for key, inner in value.items() if key != "placement"}
    return [_unhidden(inner) for inner in value] if isinstance(value, list) else value


def texts() -> dict[str, str]:
    """
    What is written, by the name of the file.
    """
    return {f"{module.NAME}.json": text(module.dashboard()) for module in (fleet, target, exporter)}


if __name__ == "__main__":
    for name, content in texts().items():
        (DIRECTORY / name).write_text(content, encoding="utf-8")
