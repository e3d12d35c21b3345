"""
Lists of sources over time: what goes at once is kept, and what a day of runs confirms is given up.
"""

import base64
import zlib

import pytest

from exporter.discovery import lists
from exporter.discovery.base import Found
from exporter.discovery.lists import Kept, from_text, key_of, settled, to_text, wanted
from exporter.model.policies import DAY


def some(count: int, first: int = 0) -> tuple[Found, ...]:
    """
    So many targets.
    """
    return tuple(
        Found(f"https://host-{number}.example.com", "a list") for number in range(first, first + count)
    )


def urls(kept: Kept) -> list[str]:
    """
    The URLs of a list.
    """
    return [one.url for one in kept.found]


def test_a_list_that_loses_little_loses_it() -> None:
    """
    Three of a hundred go at once, and nobody is told.
    """
    kept = settled(Kept(some(100)), some(97), 1000, 0.0)
    assert (len(kept.found), kept.missing) == (97, {})


def test_a_list_that_loses_much_at_once_keeps_it() -> None:
    """
    A quarter, or all of it.
    """
    for left in (75, 0):
        kept = settled(Kept(some(100)), some(left), 1000, 0.0)
        assert (len(kept.found), len(kept.missing)) == (100, 100 - left)


@pytest.mark.parametrize(
    ("had", "left", "kept"),
    [(1, 0, 1), (2, 1, 0), (2, 0, 2), (3, 2, 0), (3, 1, 2), (3, 0, 3), (10, 9, 0), (10, 8, 0), (10, 7, 3)],
)
def test_a_short_list_loses_one_target_at_once_and_not_its_last(had: int, left: int, kept: int) -> None:
    """
    One is taken out by a person, a quarter of a list or all of it by what is broken.
    """
    assert len(settled(Kept(some(had)), some(left), 1000, 0.0).missing) == kept


def test_the_one_target_of_a_list_can_be_another() -> None:
    """
    A list that names something else in its place is not empty.
    """
    assert urls(settled(Kept(some(1)), some(1, first=1), 1000, 0.0)) == [some(1, first=1)[0].url]


def test_a_day_of_runs_confirms_a_loss() -> None:
    """
    Neither a day alone nor many runs alone do; what comes back is no longer missing.
    """
    kept = Kept(some(100))
    for hour in range(24):
        kept = settled(kept, some(50), 1000, hour * 3600.0)
        assert len(kept.missing) == 50
    back = settled(kept, some(60), 1000, 24 * 3600.0)
    assert (len(back.found), len(back.missing)) == (60, 0)

    slow = settled(settled(Kept(some(8)), (), 1000, 0.0), (), 1000, 5 * DAY)
    assert len(slow.missing) == 8
    assert settled(slow, (), 1000, 6 * DAY).found == ()


def test_answers_about_names_confirm_no_loss() -> None:
    """
    Only runs of the source do: while it can't be read, nothing is given up.
    """
    lost = kept = settled(Kept(some(8)), (), 1000, 0.0)
    for day in range(1, 5):
        kept = settled(kept, (), 1000, day * DAY, counts=False)
    assert kept == lost


def test_at_the_limit_nothing_is_pushed_out() -> None:
    """
    What was a target goes first, as it was, wherever new ones stand in the list.
    """
    kept = settled(Kept(some(5, first=10)), some(15), 6, 0.0)
    assert urls(kept) == [one.url for one in (*some(5, first=10), *some(1))]
    assert (kept.above, kept.missing) == (9, {})


def test_what_comes_and_goes_all_the_time_makes_no_list_ever_longer() -> None:
    """
    What was lost first is kept, and as many as there are now.
    """
    kept = Kept(some(100))
    for run in range(1, 20):
        kept = settled(kept, some(100, first=100 * run), 10_000, run)
        assert len(kept.found) == 200
    assert set(kept.missing) == set(map(key_of, some(100)))


def test_a_list_that_breaks_step_by_step_keeps_all() -> None:
    """
    Also when it is there again with others.
    """
    kept = Kept(some(100))
    for left in (60, 30, 0):
        kept = settled(kept, some(left), 10_000, 0.0)
        assert (len(kept.found), len(kept.missing)) == (100, 100 - left)
    kept = settled(kept, some(100, first=1000), 10_000, 0.0)
    assert (len(kept.found), len(kept.missing)) == (200, 100)


def test_the_ceiling_holds_for_what_is_kept_too() -> None:
    """
    What is new goes before what is missing; a million targets are cut.
    """
    kept = settled(Kept(some(10)), some(10, first=100), 12, 0.0)
    assert (len(kept.found), len(kept.missing)) == (12, 2)
    assert settled(Kept(), some(1000), 10, 0.0).above == 990


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        ([], [], 3),
        (["*.example.com"], [], 2),
        (["https://*"], ["a.example.com"], 1),
        ([], ["*"], 0),
        (["known"], [], 1),
        (["tls://b.example.com:636"], [], 1),
    ],
)
def test_patterns_choose(include: list[str], exclude: list[str], expected: int) -> None:
    """
    By URL, host or name.
    """
    found = [
        Found("https://a.example.com", ""),
        Found("tls://B.example.com:636", ""),
        Found("https://192.0.2.1", "", name="known"),
        Found("https://a.example.com", "said twice"),
    ]
    assert len(list(wanted(found, include, exclude))) == expected


def test_a_list_survives_as_text() -> None:
    """
    With what is missing and what the source remembers.
    """
    found = Found("https://a", "here", "n", {"team": "x"}, "manual", {"server_name": "b"}, 86400.0)
    kept = settled(Kept((found, *some(20))), [found], 1000, 5.0)
    assert from_text(to_text(kept, {"stamp": [1]})) == (kept, {"stamp": [1]})
    assert key_of(found) in {key_of(one) for one in kept.found}


def test_a_list_of_many_is_small_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    One target is much like the other; and a state file may be anything.
    """
    text = to_text(Kept(some(10_000)), None)
    assert len(text) < 50 * 10_000
    monkeypatch.setattr(lists, "UNPACKED_LIMIT", 1000)
    with pytest.raises(ValueError, match="too large"):
        from_text(text)


def test_a_list_of_an_earlier_version_is_read() -> None:
    """
    It was plain JSON.
    """
    text = '{"found": [["https://a", "b", "", {"x": "y"}, "", {}, null]], "missing": [], "above": 0}'
    known = from_text(text[:-1] + ', "remembered": 5}')
    assert known == (Kept((Found("https://a", "b", labels={"x": "y"}),)), 5)


@pytest.mark.parametrize(
    "text",
    [
        *("!", "eA==", base64.b64encode(zlib.compress(b"[]")).decode(), to_text(Kept(), 0)[:-8]),
        *("", "[]", "{}", "null", "[" * 100_000, '{"found": [[1, 2]], "missing": [], "above": 0}'),
        '{"found": [["a", "b", "c", [], "", {}, null]], "missing": [], "above": 0, "remembered": null}',
        '{"found": [["a", "b", "c", {"x": 1}, "", {}, null]], "missing": [], "above": 0, "remembered": null}',
    ],
)
def test_what_is_no_list_is_refused(text: str) -> None:
    """
    Whatever is in the state file.
    """
    with pytest.raises(ValueError, match=r".*"):
        from_text(text)
