"""
Problems over time: since when they are there, and which stay when one probe does not find them.
"""

from exporter.engine.lasting import BATCH, REFUSED_STAYS, ROTATING_STAYS, problem_batches, problem_rows
from exporter.engine.memory import Memory, ProblemRow
from exporter.model.observation import Facts
from exporter.model.policies import DAY
from exporter.model.reasons import Fault
from exporter.model.targets import ADDRESS_LIMIT
from tests.golden.scenes import seen
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


def test_what_clients_refuse_does_not_flap() -> None:
    """
    The servers behind one address take turns: it stays for ten minutes.
    """
    scene = Scene().see(target(), seen(ending(75 * DAY)), found=[Fault.NAME_MISMATCH])
    assert named(rows(scene, NOW)) == [("not_trusted", 0)]
    scene.see(target(), seen(ending(75 * DAY)), at=NOW + 60)
    assert named(rows(scene, NOW + REFUSED_STAYS - 1)) == [("not_trusted", 0)]
    assert named(rows(scene, NOW + REFUSED_STAYS)) == []


def test_what_was_wrong_with_one_of_many_rotating_addresses_stays_for_a_while() -> None:
    """
    Endpoints with numbers for names are other servers at each probe.
    """
    scene, of = Scene(), target()
    for number in range(2 * ADDRESS_LIMIT):
        (label,) = scene.memory.labels(of, [f"192.0.2.{number}:443"], NOW)
    scene.see(of, seen(ending(5 * DAY), label))
    assert ("soon", 0) in named(rows(scene, NOW))
    scene.see(of, seen(ending(89 * DAY), label), at=NOW + 60)
    assert ("soon", 0) in named(rows(scene, NOW + ROTATING_STAYS - 1))
    assert named(rows(scene, NOW + ROTATING_STAYS)) == []


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
