"""
Backoff: the pauses after failures.
"""

from exporter.net.backoff import Backoff


def test_pauses_double_up_to_the_longest_and_begin_anew() -> None:
    """
    However often it fails, no pause is longer, and no number too large.
    """
    backoff = Backoff(1, 10)
    assert [backoff.failed() for _ in range(6)] == [1, 2, 4, 8, 10, 10]
    assert {backoff.failed() for _ in range(5000)} == {10}
    backoff.succeeded()
    assert backoff.failed() == 1


def test_pauses_are_spread_and_never_shorter_than_what_is_asked_for() -> None:
    """
    What the other side asks for may be longer than the longest pause, and is not spread.
    """
    backoff = Backoff(1, 10)
    assert backoff.failed(1.5) == 1.5
    assert backoff.failed(0.5, asked=60) == 60
    assert backoff.failed(0.5, asked=1) == 2
