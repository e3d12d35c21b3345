"""
Gates before addresses.
"""

import pytest

from exporter.engine.gates import PERIOD, Gates, Limits, is_own


def gates(most: int, rate: int) -> Gates[int]:
    """
    Gates of all addresses with these limits.
    """
    return Gates(Limits(most, rate), lambda _: False)


def test_so_many_at_a_time() -> None:
    """
    The others wait in their order; another address is not concerned.
    """
    gate = gates(2, 0)
    assert [gate.enter("a", number, 0) for number in range(4)] == [True, True, False, False]
    assert gate.enter("b", 9, 0)
    assert gate.free(0) == []
    assert gate.leave("a")
    assert gate.free(0, ["a"]) == [2]
    # It comes back before one that has not waited.
    assert not gate.enter("a", 7, 0)
    assert gate.enter("a", 2, 0, waited=True)
    gate.leave("a")
    gate.leave("a")
    assert gate.free(0) == [3, 7]
    assert len(gate) == 1
    assert not gate.leave("b")
    assert len(gate) == 0


def test_who_has_waited_and_finds_no_place_is_the_first_again() -> None:
    """
    Another one was faster.
    """
    gate = gates(1, 0)
    assert [gate.enter("a", number, 0) for number in (1, 2, 3)] == [True, False, False]
    gate.leave("a")
    assert gate.free(0) == [2]
    assert gate.enter("a", 9, 0, waited=True)
    assert not gate.enter("a", 2, 0, waited=True)
    gate.leave("a")
    assert gate.free(0) == [2]


def test_so_many_new_ones_in_a_second() -> None:
    """
    A tenth of them in each tenth of a second.
    """
    gate, begun = gates(0, 50), 0
    for number in range(1000):
        begun += gate.enter("a", number, 100.0)
    assert begun == 5
    assert gate.waiting
    for tenth in range(1, 11):
        now = 100.0 + (tenth + 0.5) * PERIOD
        freed = gate.free(now)
        assert len(freed) == 5
        assert all(gate.enter("a", number, now, waited=True) for number in freed)


def test_what_is_not_wanted_waits_no_more() -> None:
    """
    Its scrape is over.
    """
    gate = gates(1, 0)
    for number in range(4):
        gate.enter("a", number, 0)
    gate.keep(lambda number: number == 3)
    gate.leave("a")
    assert gate.free(0) == [3]
    assert not gate.waiting


@pytest.mark.parametrize("address", ["127.0.0.1", "127.1.2.3", "::1", "", "/etc/ssl/a.pem"])
def test_this_host_has_no_gate(address: str) -> None:
    """
    Nor has what is no address.
    """
    assert is_own(address)
    gate: Gates[int] = Gates(Limits(1, 1))
    assert all(gate.enter(address, number, 0) for number in range(10))
    assert not gate.leave(address)
    assert len(gate) == 0
    assert not is_own("192.0.2.1")
