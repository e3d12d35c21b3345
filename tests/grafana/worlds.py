"""
Expositions, made by the exporter's own code, of what the demo does not show and of a large fleet.
"""

from dataclasses import replace

from exporter.model.observation import Certificate, Facts, FailedLookup, FoundHazard, Renewal
from exporter.model.policies import AUTOMATIC, MANUAL
from exporter.model.reasons import Fault, Hazard, Lookup, Reason
from exporter.model.targets import Target
from exporter.report import families
from exporter.report.exposition import Samples
from tests.golden.scenes import failed, seen
from tests.golden.values import Scene, certificate, facts, intermediate, target
from tests.support.certificates import DAY

NAMES = (
    "not-deployed",
    "deployed",
    "deployed-too",
    "by-people",
    "chain-first",
    "unseen-and-due",
    "will-fail",
    "lost",
    "unpaid",
    "renewed",
    "unchecked",
)
"""The targets of `unusual`."""

KEYS = ("rsa-2048", "ecdsa-256", "rsa-4096")


def unusual(now: float) -> str:
    """
    A target for each problem, and a value for each column, that the demo's endpoints do not give.

    The names of the targets say which.
    """
    above = intermediate(begin=now - 365 * DAY, end=now + 999 * DAY)

    def leaf(name: str, left: float) -> Certificate:
        end = now + left * DAY
        return certificate(f"{name}.example.com", begin=end - 90 * DAY, end=end)

    scene = Scene()
    # The new one is seen at two targets, the old one is still served at another.
    for name, left in (("not-deployed", 20), ("deployed", 85), ("deployed-too", 85)):
        scene.see(target(name=name), seen(facts(leaf("shop", left), above)), at=now)
    scene.see(target(name="by-people", policy=MANUAL), seen(facts(leaf("by-people", 40), above)), at=now)
    ends_first = intermediate(begin=now - 365 * DAY, end=now + 30 * DAY)
    scene.see(target(name="chain-first"), seen(facts(leaf("chain-first", 60), ends_first)), at=now)
    # Seen an hour ago, with two days left, and not since.
    gone = target(name="unseen-and-due")
    scene.see(gone, seen(facts(leaf("gone", 2), above)), at=now - 3600)
    for at in (now - 1800, now):
        scene.see(gone, failed(Reason.CONNECT_TIMEOUT), at=at)
    scene.see(target(name="will-fail"), seen(_asked_for(facts(leaf("will-fail", 70), above), now)), at=now)
    for name, hazard in (("lost", Hazard.DOMAIN_REDEMPTION), ("unpaid", Hazard.DOMAIN_AUTO_RENEW)):
        found = replace(facts(leaf(name, 70), above), hazards=(FoundHazard(hazard, "words about it"),))
        scene.see(target(name=name), seen(found), at=now)
    asked = FailedLookup(Lookup.CRL, Reason.CONNECT_TIMEOUT, "words about it")
    found = replace(facts(leaf("unchecked", 70), above), unanswered=(asked,))
    scene.see(target(name="unchecked"), seen(found), at=now)
    changed = target(name="renewed")
    scene.see(changed, seen(facts(leaf("renewed", 10), above)), at=now - 3600)
    scene.see(changed, seen(facts(leaf("renewed", 80), above)), at=now)
    return text(scene, now)


def _asked_for(found: Facts, now: float) -> Facts:
    """
    The facts when the issuer says when and why it wants the certificate renewed, and CAA records forbid that.
    """
    renewal = Renewal(now + 40 * DAY, now + 38 * DAY, "https://ca.example/why")
    hazard = FoundHazard(Hazard.CAA_FORBIDS_ISSUER, "words about it")
    first, *others = found.items
    return replace(found, items=(replace(first, renewal=renewal), *others), hazards=(hazard,))


def large(count: int, now: float) -> Scene:
    """
    So many targets of forty issuers: three share a certificate, a twelfth ends within a month, some fail.
    """
    above = intermediate(begin=now - 365 * DAY, end=now + 999 * DAY)
    scene = Scene()
    for number in range(count):
        served = number // 3
        end = now + (served * 7919 % 3650) / 10 * DAY - 2 * DAY
        leaf = _one_of_many(served, now, end)
        of = _target_of_many(number)
        if number % 50 == 1:
            for at in (now - 3600, now):
                scene.see(of, failed(Reason.CONNECT_TIMEOUT), at=at)
        else:
            found = [Fault.NAME_MISMATCH] if number % 40 == 2 else []
            scene.see(of, seen(facts(leaf, above)), found=found, at=now)
    return scene


def mostly_well(count: int, now: float, unwell: int) -> Scene:
    """
    So many targets like those of `large`, of which so many have a problem: one of five by turns.
    """
    above = intermediate(begin=now - 365 * DAY, end=now + 999 * DAY)
    scene = Scene()
    every = count // unwell
    for number in range(count):
        of = _target_of_many(number)
        trouble = number // every % 5 if number % every == 0 else None
        served = number // 3 if trouble is None else count + number
        left = {0: 2.0, 1: -1.0, 2: 15.0}.get(-1 if trouble is None else trouble, 60 + served % 300)
        if trouble == 3:
            for at in (now - 3600, now):
                scene.see(of, failed(Reason.CONNECT_TIMEOUT), at=at)
            continue
        found = [Fault.NAME_MISMATCH] if trouble == 4 else []
        shown = facts(_one_of_many(served, now, now + left * DAY), above)
        scene.see(of, seen(shown), found=found, at=now)
    return scene


def _one_of_many(number: int, now: float, end: float) -> Certificate:
    return certificate(
        f"host-{number}.example.com",
        begin=min(now, end) - 90 * DAY,
        end=end,
        key=KEYS[number % len(KEYS)],
        issuer=f"CN=Issuer {number % 40}",
    )


def _target_of_many(number: int) -> Target:
    return target(
        f"https://host-{number}.example.com",
        policy=MANUAL if number % 5 == 0 else AUTOMATIC,
        labels=(("team", f"team-{number % 20}"),),
    )


def text(scene: Scene, now: float) -> str:
    """
    The exposition of a scene, with what an exporter says of itself.
    """
    return scene.text(_own(now), now)


def _own(now: float) -> Samples:
    values = {
        families.SWEEP_DURATION: 4.5,
        families.SWEEP_TIMEOUT: 9.5,
        families.SWEEP_COMPLETE: 1.0,
        families.SWEEP_TIME: now,
        families.SWEEP_TARGETS: 7.0,
        families.SWEEP_ENDPOINTS: 7.0,
        families.SWEEP_FAILURES: 1.0,
        families.RELOAD_SUCCESS: 1.0,
        families.RELOAD_TIME: now,
        families.STATE_SUCCESS: 1.0,
    }
    own: Samples = {family: [((), value)] for family, value in values.items()}
    own[families.BUILD] = [((("version", "1.2.3"), ("python", "3.11.2"), ("openssl", "OpenSSL 4.0.0")), 1.0)]
    for family, value in (
        (families.DISCOVERY_SUCCESS, 0.0),
        (families.DISCOVERY_TIME, now - 7200),
        (families.DISCOVERY_TARGETS, 40.0),
        (families.DISCOVERY_KEPT, 12.0),
        (families.DISCOVERY_LEFT_OUT, 1.0),
    ):
        own[family] = [((("source", "zone"),), value)]
    return own
