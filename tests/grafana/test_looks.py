"""
Colours: what is written on them can be read, and lines can be told apart, whatever a person's colour vision.
"""

import itertools
from collections.abc import Sequence

import pytest

from grafana import panels
from tests.grafana.written import DASHBOARDS
from tests.grafana.written import panels as panels_of

Triple = tuple[float, float, float]

SIGHTS: dict[str, Sequence[Triple]] = {
    "all cones": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}
"""What linear red, green and blue look like (Machado, Oliveira and Fernandes 2009, severity 1)."""

LEAST_CONTRAST = 4.5
"""Of text (WCAG 2.2, 1.4.3)."""

LEAST_DISTANCE = 15.0
"""In CIE L*a*b*, of lines; from about 2 on colours side by side are not the same."""

WRITTEN_ON = ("CRITICAL", "WARNING", "UNKNOWN", "FINE", "YELLOW", "QUIET")


def parts(colour: str) -> Triple:
    """
    Red, green and blue of `#rrggbb`, from 0 to 1.
    """
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return red, green, blue


def linear(colour: str) -> Triple:
    """
    The same as amounts of light (IEC 61966-2-1).
    """
    red, green, blue = (
        one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts(colour)
    )
    return red, green, blue


def dot(left: Triple, right: Triple) -> float:
    """
    The sum of the products.
    """
    return sum(one * other for one, other in zip(left, right, strict=True))


def contrast(one: str, other: str) -> float:
    """
    From 1 to 21, as WCAG reckons.
    """
    less, more = sorted(dot((0.2126, 0.7152, 0.0722), linear(colour)) for colour in (one, other))
    return (more + 0.05) / (less + 0.05)


def text_on(colour: str) -> str:
    """
    The colour in which Grafana writes on this one.
    """
    brightness = 255 * dot((0.299, 0.587, 0.114), parts(colour))
    return "#202226" if brightness > 180 else "#f7f8fa"


def seen(colour: str, sight: str) -> Triple:
    """
    The colour in CIE L*a*b* (D65) as somebody with this sight has it.
    """
    bounded = [min(1.0, max(0.0, dot(row, linear(colour)))) for row in SIGHTS[sight]]
    light = (bounded[0], bounded[1], bounded[2])

    def root(weights: Triple, white: float) -> float:
        amount = dot(weights, light) / white
        return float(amount ** (1 / 3)) if amount > 0.008856 else 7.787 * amount + 16 / 116

    x = root((0.4124, 0.3576, 0.1805), 0.95047)
    y = root((0.2126, 0.7152, 0.0722), 1.0)
    z = root((0.0193, 0.1192, 0.9505), 1.08883)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize("name", WRITTEN_ON)
def test_words_on_a_colour_can_be_read(name: str) -> None:
    """
    On tiles, cells and bands Grafana chooses between two colours for the text, by the brightness.
    """
    colour = getattr(panels, name)
    assert contrast(colour, text_on(colour)) >= LEAST_CONTRAST


@pytest.mark.parametrize("sight", SIGHTS)
def test_lines_can_be_told_apart(sight: str) -> None:
    """
    Each from each other.
    """
    for one, other in itertools.combinations(panels.COLOURS, 2):
        between = zip(seen(one, sight), seen(other, sight), strict=True)
        distance = sum((left - right) ** 2 for left, right in between) ** 0.5
        assert distance >= LEAST_DISTANCE, (one, other)


@pytest.mark.parametrize("name", DASHBOARDS)
def test_no_panel_has_a_palette_of_grafana(name: str) -> None:
    """
    Of these neighbours look alike to many people.
    """
    modes = {
        panel["title"]: panel["fieldConfig"]["defaults"]["color"]["mode"]
        for panel in panels_of(DASHBOARDS[name])
        if "color" in panel["fieldConfig"]["defaults"]
    }
    assert modes
    assert {title for title, mode in modes.items() if mode not in {"fixed", "thresholds"}} == set()
