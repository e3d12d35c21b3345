"""
Problems over time: since when they are there, and which stay when one probe does not find them.
"""

from collections.abc import Iterator

from exporter.engine.lasting import BATCH, problem_batches, problem_rows
from exporter.engine.memory import Memory, ProblemRow
from exporter.model.observation import Facts, Item
from exporter.model.policies import DAY, Severity
from exporter.model.problems import Problem
from exporter.model.reasons import Fault, Kind, Reason
from exporter.model.targets import Target
from tests.golden.scenes import failed, seen
from tests.golden.values import Scene, certificate, facts, intermediate, target
from tests.support.certificates import NOW


def ending(left: float) -> Facts:
    """
    A chain whose leaf has so much left.
    """
    return facts(certificate(begin=NOW + left - 90 * DAY, end=NOW + left), intermediate())


def rows(scene: Scene, now: float) -> tuple[ProblemRow, ...]:
    """
    The problems of the scene at this time.
    """
    return problem_rows(scene.memory, scene.faults, scene.rows(), now)


def named(found: tuple[ProblemRow, ...]) -> list[tuple[str, float]]:
    """
    Each problem with the seconds for which it was there at NOW.
    """
    return [(row.found.onset.problem, row.since - NOW) for row in found]


def test_a_problem_keeps_the_time_of_its_first_sight() -> None:
    """
    And is another one when it comes back.
    """
    scene = Scene().see(target(), seen(ending(20 * DAY)))
    assert named(rows(scene, NOW)) == [("renewal_overdue", 0)]
    assert named(rows(scene, NOW + 60)) == [("renewal_overdue", 0)]
    scene.see(target(), seen(ending(89 * DAY)), at=NOW + 120)
    assert named(rows(scene, NOW + 120)) == []
    scene.see(target(), seen(ending(20 * DAY)), at=NOW + 180)
    assert ("renewal_overdue", 180) in named(rows(scene, NOW + 180))


def test_a_problem_keeps_the_time_of_its_first_sight_over_a_restart() -> None:
    """
    What is over by then is another one when it comes back.
    """
    scene = Scene().see(target(), seen(ending(20 * DAY)))
    known = scene.memory.known(target())
    key = ("https://lms.example.com", "leaf", Problem.RENEWAL_OVERDUE, Severity.WARNING)
    known.began = {key: NOW - DAY}
    assert named(rows(scene, NOW)) == [("renewal_overdue", -DAY)]
    scene.see(target(), seen(ending(89 * DAY)), at=NOW + 120)
    assert named(rows(scene, NOW + 120)) == []
    scene.see(target(), seen(ending(20 * DAY)), at=NOW + 180)
    assert ("renewal_overdue", 180) in named(rows(scene, NOW + 180))


def test_a_target_that_is_forgotten_has_no_problem() -> None:
    """
    What is held for a while is held with the target.
    """
    scene = Scene().see(target(), seen(ending(75 * DAY)), found=[Fault.NAME_MISMATCH])
    rows(scene, NOW)
    scene.memory = Memory()
    scene.see(target(), seen(ending(75 * DAY)), at=NOW + 60)
    assert rows(scene, NOW + 60) == ()


def test_problems_come_a_few_at_a_time() -> None:
    """
    So that the event loop answers others between, and with the same result as in one go.
    """
    scene = Scene()
    for number in range(3 * BATCH):
        scene.see(target(f"https://{number}.example.com"), seen(ending(20 * DAY)))
    batches = list(problem_batches(scene.memory, scene.faults, scene.rows(), NOW))
    assert max(map(len, batches)) <= BATCH
    assert len(batches) > 6
    assert tuple(row for few in batches for row in few) == rows(scene, NOW)
    assert len(rows(scene, NOW)) == 3 * BATCH


def test_what_is_no_problem_yet_comes_a_few_at_a_time_too() -> None:
    """
    Thousands of servers that fell silent just now are looked into one by one.
    """
    scene = Scene()
    for number in range(3 * BATCH):
        one = target(f"https://{number}.example.com")
        scene.see(one, seen(ending(80 * DAY)))
        scene.see(one, failed(Reason.TIMEOUT), at=NOW + 60)
    looked_into: list[str] = []

    def asked() -> Iterator[Target]:
        for one in (row.target for row in scene.rows()):
            looked_into.append(one.name)
            yield one

    most = before = 0
    for few in problem_batches(scene.memory, asked(), scene.rows(), NOW + 60):
        assert not few
        most, before = max(most, len(looked_into) - before), len(looked_into)
    assert len(looked_into) == 3 * BATCH
    assert most <= BATCH


def test_thousands_of_items_of_one_endpoint_come_in_small_steps() -> None:
    """
    A file may have so many: in one step they took 0.15 seconds, in which nothing else had its turn.
    """
    one = certificate(begin=NOW - 70 * DAY, end=NOW + 20 * DAY)
    items = (
        Item(f"certificate-{number}", Kind.LEAF, one.not_before, one.not_after, one) for number in range(1000)
    )
    scene = Scene().see(target("file:///x.pem"), seen(Facts(tuple(items)), "/x.pem"))
    batches = list(problem_batches(scene.memory, scene.faults, scene.rows(), NOW))
    assert len(batches) >= 2 * 1000 // BATCH
    assert sum(map(len, batches)) == 1000
