"""
Items as JSON values: what each of thousands in one file repeats of the others.
"""

from typing import Any

import pytest

from exporter.model.observation import Facts, Item
from exporter.model.reasons import Kind
from exporter.report import json_items
from exporter.report.filters import Selection
from exporter.report.inventory import Inventory
from exporter.report.json_items import FINDINGS_LIMIT
from tests.golden.scenes import seen
from tests.golden.values import Scene, certificate, target
from tests.support.certificates import DAY, NOW
from tests.support.pages import scrape


@pytest.mark.parametrize("number", [FINDINGS_LIMIT, FINDINGS_LIMIT + 1, 300])
def test_of_many_findings_an_item_has_the_most_urgent_and_its_own(number: int) -> None:
    """
    The document would else grow with the square of their number: three thousand items have gigabytes.
    """
    ends = [NOW + (1 if place == 3 else 20) * DAY for place in range(number)]
    held = [certificate(f"{place}.example", begin=NOW - 70 * DAY, end=end) for place, end in enumerate(ends)]
    items = [
        Item(f"certificate-{place}", Kind.LEAF, one.not_before, one.not_after, one)
        for place, one in enumerate(held)
    ]
    inventory = Inventory(scrape(Scene().see(target("file:///x.pem"), seen(Facts(tuple(items)), "/x.pem"))))
    head, made = json_items.items(inventory, Selection(limit=10_000), NOW)
    documents: list[dict[str, Any]] = list(made)
    assert head["total"] == len(documents) == number
    for one in documents:
        about = [found["item"] for found in one["findings"]]
        assert one["level"] == "critical"
        assert about[0] == "certificate-3"
        assert one["item"] in about
        assert len(about) == (number if number <= FINDINGS_LIMIT else 1 if one["item"] == about[0] else 2)
