"""
The simulation: that its figures are those of the manual as far as they do not depend on the machine, and that
the manual's arithmetic is right.
"""

import re
from pathlib import Path

import pytest

from tests.benchmarks.simulation import FLEETS, SHARE, replayed
from tests.support.readme import table


def measured() -> dict[str, float]:
    """
    What a target costs by the manual.
    """
    return {row[0]: float(row[1]) for row in table("What a target costs", "Measured")}


def test_a_target_has_the_series_and_bytes_of_the_manual(tmp_path: Path) -> None:
    """
    Replayed by the exporter's own code. Nothing is said of time, which the machine decides.
    """
    found = replayed(400, 1, tmp_path / "answer.txt")
    costs = measured()

    assert found.series / found.targets == pytest.approx(costs["series"], abs=0.1)
    assert found.text / found.targets == pytest.approx(costs["bytes of an answer"], rel=0.02)
    assert 0 < found.zipped < found.text / 5
    assert found.probed > 0
    assert found.held > 0
    assert (tmp_path / "answer.txt").stat().st_size == found.text


def test_the_manual_calculates_right() -> None:
    """
    Each sum is what it says, and each of its factors is a measured one, a size, or a unit.
    """
    rows = table("Fleet", "100,000 targets")
    costs = set(measured().values())
    sizes = {*map(float, FLEETS), float(SHARE), 60.0, 1000.0, 1e6, 2.0, 50.0}

    assert len(rows) > 8
    for row in rows:
        for cell in row[1:]:
            sum_, _, result = cell.replace(",", "").partition(" = ")
            numbers = re.findall(r"[0-9.]+", sum_)
            assert {float(one) for one in numbers} <= costs | sizes, cell
            assert re.fullmatch(r"[0-9. */+]+", sum_)
            digits = len(result.partition(".")[2])
            assert round(_value(sum_), digits) == float(result), cell


def _value(text: str) -> float:
    """
    The value of products and quotients that are added.
    """
    total = 0.0
    for term in text.split(" + "):
        first, *more = re.split(r" ([*/]) ", term)
        value = float(first)
        for sign, number in zip(more[::2], more[1::2], strict=True):
            value = value * float(number) if sign == "*" else value / float(number)
        total += value
    return total
