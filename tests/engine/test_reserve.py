"""
The reserve: an answer has the time that answers were seen to take.
"""

import pytest

from exporter.engine.reserve import FIRST, FIXED, MEASURED, SHARE, SLACK, Reserve


def test_nothing_is_kept_free_for_an_empty_answer() -> None:
    """
    An exporter for /probe only.
    """
    assert Reserve().seconds(0, 10.0) == 0.0


def test_before_the_first_answer_it_is_guessed() -> None:
    """
    By the number of endpoints: two seconds and more for ten thousand.
    """
    assert Reserve().seconds(10_000, 100.0) == pytest.approx(FIXED + SLACK * 10_000 * FIRST)
    assert Reserve().seconds(10_000, 10.0) > 2


def test_a_busy_machine_has_more_time_for_its_first_answer() -> None:
    """
    As many times as it is slower, until an answer was measured.
    """
    reserve = Reserve(slowness=5.0)
    assert reserve.seconds(1000, 100.0) == pytest.approx(FIXED + SLACK * 1000 * FIRST * 5)
    reserve.note(1000, 0, FIXED + 0.1, 0.0)
    assert reserve.seconds(1000, 100.0) == pytest.approx(FIXED + SLACK * 0.1)


def test_it_is_what_was_measured_and_half_as_much_again() -> None:
    """
    For each endpoint, and for each new one as in the first; the slowest of the latest few counts.
    """
    reserve = Reserve()
    reserve.note(1000, 0, FIXED + 0.9, 0.0)
    assert reserve.seconds(1000, 100.0) == pytest.approx(FIXED + SLACK * 0.9)
    # From then on the first one counts no more: it judged everything anew.
    reserve.note(1000, 0, FIXED + 0.2, 0.0)
    reserve.note(1000, 0, FIXED + 0.1, 0.0)
    assert reserve.seconds(1000, 100.0) == pytest.approx(FIXED + SLACK * 0.2)
    assert reserve.seconds(3000, 100.0) == pytest.approx(FIXED + SLACK * (0.6 + 1.8))
    for _ in range(MEASURED):
        reserve.note(1000, 0, FIXED + 0.1, 0.0)
    assert reserve.seconds(1000, 100.0) == pytest.approx(FIXED + SLACK * 0.1)


def test_what_is_cut_off_for_the_first_time_is_reserved_for() -> None:
    """
    All servers fall silent at once: each must be written anew. Of those that always are, nothing is.
    """
    reserve = Reserve()
    reserve.note(1000, 0, FIXED + 0.5, 0.0)
    reserve.note(1000, 100, FIXED + 0.1, 0.0)
    known = FIXED + SLACK * 0.1
    assert reserve.seconds(1000, 100.0) == pytest.approx(known)
    assert reserve.seconds(1000, 100.0, cut=800) == pytest.approx(known + SLACK * 0.4)
    for _ in range(MEASURED):
        reserve.note(1000, 100, FIXED + 0.1, 0.0)
    assert reserve.seconds(1000, 100.0, cut=100) == pytest.approx(known)
    assert reserve.seconds(1000, 100.0, cut=900) == pytest.approx(known + SLACK * 0.4)


def test_an_answer_in_which_much_was_new_says_nothing_of_the_others() -> None:
    """
    It took longer for what was new, and later ones have none of it.
    """
    reserve = Reserve()
    reserve.note(1000, 0, FIXED + 0.5, 0.0)
    reserve.note(1000, 0, FIXED + 0.1, 0.0)
    reserve.note(1000, 1000, FIXED + 0.7, 0.0)
    assert reserve.seconds(1000, 100.0) == pytest.approx(FIXED + SLACK * 0.1)
    assert reserve.seconds(1000, 100.0, cut=1000) == pytest.approx(FIXED + SLACK * 0.7)


def test_what_all_took_is_not_charged_to_the_few_that_were_new() -> None:
    """
    A second answer with less time, in which a fifth was cut off: if these few had taken all of its time, all
    the others would be as slow, and half of the next scrape's time would be kept free for nothing.
    """
    reserve = Reserve()
    reserve.note(3600, 500, FIXED + 0.9, 0.0)
    reserve.note(3600, 1220, FIXED + 0.6, 0.0)
    assert reserve.seconds(3600, 100.0, cut=1220) == pytest.approx(FIXED + SLACK * (0.9 + 0.9 / 5))


def test_a_list_that_was_found_meanwhile_has_the_time_of_a_first_answer() -> None:
    """
    A hundred targets told nothing about ten thousand new ones.
    """
    reserve = Reserve()
    reserve.note(100, 0, FIXED + 0.001, 0.0)
    reserve.note(100, 0, 0.005, 0.0)
    assert reserve.seconds(500, 100.0) == pytest.approx(FIXED + SLACK * 400 * 0.000_01)
    assert reserve.seconds(10_000, 100.0) == pytest.approx(FIXED + SLACK * 9900 * FIRST)
    # It was measured now, and nothing is new the next time.
    reserve.note(10_000, 0, FIXED + 3.0, 0.0)
    assert reserve.seconds(10_000, 100.0) == pytest.approx(FIXED + SLACK * 3.0)
    reserve.note(10_000, 0, FIXED + 1.0, 0.0)
    assert reserve.seconds(10_000, 100.0) == pytest.approx(FIXED + SLACK * 1.0)


def test_one_who_reads_slowly_takes_no_time_of_the_looks() -> None:
    """
    Of the times that sending took the least counts: what even the quickest needs.
    """
    reserve = Reserve()
    for sending in (30.0, 0.25, 30.0):
        reserve.note(1000, 0, 0.0, sending)
    assert reserve.seconds(1000, 100.0) == pytest.approx(FIXED + 0.25)


def test_looks_have_half_of_the_time_at_least() -> None:
    """
    However slow the machine.
    """
    reserve = Reserve()
    reserve.note(10, 0, 60.0, 5.0)
    assert reserve.seconds(10, 9.5) == 9.5 * SHARE
