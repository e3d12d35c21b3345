"""
What the rows of a scrape tell, in few words.
"""

from collections.abc import Sequence

from exporter.engine.scrape import EndpointRow
from exporter.model.observation import Failed


def outcome(row: EndpointRow) -> str:
    """
    `seen`, or the reason of the failure.
    """
    observation = row.held.observation
    return str(observation.reason) if isinstance(observation, Failed) else "seen"


def told(rows: Sequence[EndpointRow]) -> dict[str, str]:
    """
    `seen` or the reason of the failure, by label.
    """
    return {row.label: outcome(row) for row in rows}


def detail(row: EndpointRow) -> str:
    """
    The sentence of a failed look.
    """
    assert isinstance(row.held.observation, Failed)
    return row.held.observation.detail


def items(row: EndpointRow) -> list[str]:
    """
    The names of the items that are held; none when nothing is.
    """
    return [item.name for item in row.held.facts.items] if row.held.facts is not None else []
