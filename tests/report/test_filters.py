"""
Selections: what a query means, and the queries of links.
"""

from urllib.parse import parse_qsl

import pytest

from exporter.report.filters import API_PARAMETERS, PAGE_PARAMETERS, ParameterError, Selection, Sort, parse
from exporter.report.status import Level


def test_nothing_asked_is_everything() -> None:
    """
    Also when a form sends its empty fields.
    """
    assert parse([], PAGE_PARAMETERS) == Selection()
    assert parse([("q", ""), ("label", ""), ("sort", ""), ("page", "")], PAGE_PARAMETERS) == Selection()
    assert not Selection().narrowed


def test_everything_may_be_asked_at_once() -> None:
    """
    Filters may come more than once; a label's value may have a `=` in it.
    """
    query = (
        "q=+two++words+&level=critical&level=OK&label=team=a&label=x=y=z&label=team=a&target=t&target=u"
        "&sort=-end&page=3&limit=7"
    )
    found = parse(parse_qsl(query), API_PARAMETERS)
    assert found == Selection(
        "two  words",
        frozenset({Level.CRITICAL, Level.OK}),
        (("team", "a"), ("x", "y=z")),
        frozenset({"t", "u"}),
        Sort.END,
        descending=True,
        page=3,
        limit=7,
    )
    assert found.narrowed


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        (("colour", "red"), "unknown parameter 'colour': there are q, level"),
        (("limit", "5"), "unknown parameter 'limit'"),
        (("level", "bad"), "level 'bad' is not known: use ok, warning, critical, unknown"),
        (("label", "team"), "label 'team' is not NAME=VALUE"),
        (("label", "=x"), "label '=x' is not NAME=VALUE"),
        (("sort", "colour"), "sort 'colour' is not known: use urgency, target, location, end"),
        (("sort", "--end"), "sort '--end' is not known"),
        (("page", "0"), "page '0' is not a whole number from 1 to 10000"),
        (("page", "10001"), "page '10001'"),
        (("page", "-1"), "page '-1'"),
        (("page", "\N{ARABIC-INDIC DIGIT ONE}"), "page"),
        (("page", "9" * 5000), "page"),
    ],
)
def test_what_can_not_be_answered_is_refused_with_words(pair: tuple[str, str], said: str) -> None:
    """
    What is wrong, and what would be right.
    """
    with pytest.raises(ParameterError) as caught:
        parse([pair], PAGE_PARAMETERS)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "selection",
    [
        Selection(),
        Selection("a&b=c #%\N{HEBREW LETTER SHIN}"),
        Selection(levels=frozenset({Level.UNKNOWN, Level.WARNING})),
        Selection(labels=(("team", "a b"), ("x", "y=z"))),
        Selection(targets=frozenset({"https://a.example", "<script>"})),
        Selection(sort=Sort.TARGET),
        Selection(descending=True),
        Selection("x", sort=Sort.END, descending=True, page=9),
    ],
)
def test_a_link_leads_to_the_selection_it_was_made_of(selection: Selection) -> None:
    """
    What its query means is the same again.
    """
    query = selection.query(page=selection.page)
    assert query.startswith("?")
    assert parse(parse_qsl(query[1:], strict_parsing=len(query) > 1), PAGE_PARAMETERS) == selection


def test_another_filter_begins_at_the_first_page() -> None:
    """
    The ninth page of what was shown before means nothing for what is shown then.
    """
    assert parse(parse_qsl(Selection(page=9).query(text="x")[1:]), PAGE_PARAMETERS) == Selection("x")
