"""
Fleets as operators have them, healthy ones in one table: none of them gives a problem.

Each goes through the exporter's memory and judgement. What the rules make of problems is replayed elsewhere.
"""

import functools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate

import pytest

from exporter.demo.minter import Minted, root
from exporter.model.observation import Facts, Observed
from exporter.model.policies import AUTOMATIC, BY_KIND, DAY, HOUR, MANUAL, RENEWERS, Policy
from exporter.model.reasons import Reason
from tests.replay.timeline import (
    MINUTE,
    YEAR,
    Exporter,
    Place,
    Schedule,
    Seeing,
    Span,
    anchor,
    at,
    domain,
    issuer,
    kept,
    leaf,
    place,
    presented,
    refused,
    revocations,
    served,
    signed,
    stapled,
    stored,
    target,
    within,
)

HOST = "fleet.example.com"
URL = f"https://{HOST}"
ADDRESS = "192.0.2.1:443"

POLICIES = {one.policy.name: one.policy for one in RENEWERS}

WEEK = 7 * DAY

Told = dict[str, list[float]]
"""By target, problem and severity, the times of the scrapes that tell it."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """
    What stands where, and how it is looked at.
    """

    places: Sequence[Place]
    until: float
    interval: float
    gaps: Sequence[Span] = ()
    """Spans in which nothing is scraped."""
    stateless: bool = True
    """False where what is healthy is only known by what was seen before a restart."""


Make = Callable[[], list[Fleet]]
"""Makes fleets of one kind, each with many certificates: not before somebody wants to see them."""

Restarts = Sequence[tuple[float, bool]]
"""When the exporter starts anew, and whether it keeps its state."""


def told(fleet: Fleet, restarts: Restarts = ()) -> Told:
    """
    What the exporter tells.
    """
    exporter, found = Exporter(fleet.places), Told()
    for step in range(int(fleet.until // fleet.interval) + 1):
        now = step * fleet.interval
        for when, keep_state in restarts:
            if now - fleet.interval < when <= now:
                exporter.restart(keep_state=keep_state)
        if within(fleet.gaps, now):
            continue
        for one in sorted({(name, kind, severity) for name, _, kind, severity in exporter.problems(now)}):
            found.setdefault(" ".join(one), []).append(now)
    return found


def of_age(days: float, lifetime: float = 90, above: Minted | None = None, names: str = HOST) -> Facts:
    """
    A server's certificate that was issued so many days ago.
    """
    return served(leaf(names, -days * DAY, lifetime * DAY, above))


def renewed(first: float, lifetime: float, share: float, count: int, above: Minted | None = None) -> Schedule:
    """
    Certificates that are renewed after this share of their lifetime, the first one at this time.
    """
    begins = [first + number * lifetime * share for number in range(count)]
    return [(begin, served(leaf(HOST, begin, lifetime, above))) for begin in begins]


def balanced(shares: Sequence[float], *schedules: Schedule, policy: Policy = AUTOMATIC) -> Place:
    """
    Servers behind one address, each with its share of the looks.
    """

    def see(now: float) -> dict[str, Observed]:
        (number,) = random.Random(now).choices(range(len(schedules)), shares)
        return {ADDRESS: Observed(at(schedules[number], now))}

    return Place(target(URL, policy), see)


def by_turns(period: float, *schedules: Schedule, by_name: bool = False) -> Place:
    """
    Sites of which each serves for a period; `by_name`: each has its own address.
    """

    def see(now: float) -> dict[str, Observed]:
        number = int(now // period) % len(schedules)
        label = f"192.0.2.{number + 1}:443" if by_name else ADDRESS
        return {label: Observed(at(schedules[number], now))}

    return Place(target(URL), see)


def backends(count: int, lifetime: float, share: float, policy: Policy = AUTOMATIC) -> list[Fleet]:
    """
    Servers behind one address that renew by themselves, one after the other, with equal and unequal shares.
    """
    cycle = lifetime * share
    schedules = [renewed(-cycle * (number + 0.5) / count, lifetime, share, 6) for number in range(count)]
    shares = [2.0**number for number in range(count)] if count < 8 else [1.0] * count
    return [Fleet([balanced(shares, *schedules, policy=policy)], 4 * cycle, lifetime / 60)]


def single(lifetime: float, share: float, policy: Policy = AUTOMATIC) -> list[Fleet]:
    """
    A server that renews by itself; the state is of use where its habit is later than the policy.
    """
    one = place(URL, renewed(-lifetime * share / 2, lifetime, share, 6), policy=policy)
    return [Fleet([one], 5 * lifetime * share, max(MINUTE, lifetime / 150))]


def switched(*facts: Facts) -> list[Fleet]:
    """
    One after the other, each for sixty days but the first.
    """
    schedule = [(0.0, facts[0])]
    schedule += [(HOUR + number * 60 * DAY, one) for number, one in enumerate(facts[1:])]
    return [Fleet([place(URL, schedule)], schedule[-1][0] + 3 * DAY, 6 * HOUR)]


def made(
    url: str, make: Callable[[float, float], Facts], lifetime: float, begins: Sequence[float]
) -> list[Fleet]:
    """
    A list or a zone that is made at these times.
    """
    schedule = [(begin, make(begin, begin + lifetime)) for begin in begins]
    return [Fleet([place(url, schedule)], begins[-1] + HOUR, interval) for interval in (HOUR, 3 * HOUR)]


def working_days(
    first: int, days: int, off: Sequence[int] = (), hours: Sequence[float] = (8,)
) -> list[float]:
    """
    Times at which somebody works, where day 0 is this day of the week (0: Monday).
    """
    return [
        day * DAY + hour * HOUR
        for day in range(days)
        if (day + first) % 7 < 5 and day not in off
        for hour in hours
    ]


def authority(name: str) -> Minted:
    """
    Another organization that clients trust.
    """
    return anchor().issue(name, ca=True, path_length=0)


def client(name: str, begin: float, lifetime: float) -> Facts:
    """
    A certificate of a person, in a kubeconfig.
    """
    usage = ["1.3.6.1.5.5.7.3.2"]
    one = issuer().issue(name, not_before=begin, not_after=begin + lifetime, extended_key_usage=usage)
    return kept(one, f"user/{name}")


def together(*facts: Facts) -> Facts:
    """
    All in one document.
    """
    return Facts(tuple(item for one in facts for item in one.items))


def sites(first: float, second: float) -> tuple[Schedule, Schedule]:
    """
    Two sites that renew on days of their own.
    """
    one, other = (renewed((day - 60) * DAY, 90 * DAY, 2 / 3, 5) for day in (first, second))
    return one, other


def one(seen: Callable[[float], Seeing], until: float, interval: float) -> list[Fleet]:
    """
    A target with what is seen of it at each time. What can't be seen is healthy for those that saw it before.
    """
    return [Fleet([Place(target(URL), seen)], until, interval, stateless=False)]


def flapping(facts: Facts) -> Callable[[float], Seeing]:
    """
    A name server that is there every other time, and else knows of nothing or does not answer.
    """
    answers: list[Seeing] = [
        {ADDRESS: Observed(facts)},
        refused(Reason.DNS_NOT_FOUND),
        {ADDRESS: Observed(facts)},
        refused(Reason.DNS_FAILED),
    ]
    return lambda now: answers[int(now // (10 * MINUTE)) % 4]


def canary(now: float) -> Seeing:
    """
    A tenth of the looks is led to a server with the next certificate for an hour; then all are.
    """
    is_new = now >= DAY + HOUR or (now >= DAY and random.Random(now).random() < 0.1)
    return {ADDRESS: Observed(_next() if is_new else _before())}


def twentieth(seed: int, now: float) -> Seeing:
    """
    A twentieth of the looks is led to a server with the next certificate from half a day on; then all are.
    """
    dice = random.Random(f"{seed} {now}")
    is_new = now >= 2.5 * DAY or (now >= DAY / 2 and dice.random() < 0.05)
    return {ADDRESS: Observed(_soon() if is_new else _before())}


@functools.cache
def _soon() -> Facts:
    return served(leaf(HOST, DAY / 2, 90 * DAY))


@functools.cache
def _before() -> Facts:
    return of_age(60)


@functools.cache
def _next() -> Facts:
    return served(leaf(HOST, DAY, 90 * DAY))


@functools.cache
def _numbered(begin: float, number: int) -> Facts:
    return served(leaf(HOST, begin * HOUR - number * MINUTE, 40 * HOUR))


def replaced(now: float) -> Seeing:
    """
    Four servers take turns. Nobody looks for a day; then there are two others, one of them renewed lately.
    """
    hour = round(now / HOUR)
    facts = _numbered(-10, hour % 4) if hour < 36 else _numbered(39 if 40 <= hour < 50 else 36, 0)
    return {ADDRESS: Observed(facts)}


def lame(facts: Facts) -> Callable[[float], Seeing]:
    """
    An address of the other family that can't be reached for hours each day.
    """
    return lambda now: {
        ADDRESS: Observed(facts),
        "[2001:db8::1]:443": refused() if now % DAY > 16 * HOUR else Observed(facts),
    }


def documents() -> dict[str, Make]:
    """
    What is stored beside what is served.
    """
    old, new = leaf(HOST, -58 * DAY, 90 * DAY), leaf(HOST, 2 * DAY, 90 * DAY)
    ours = leaf(HOST, -300 * DAY, 2 * YEAR)
    parts = [
        place("file:///etc/tomcat.jks", [(0, kept(old, "tomcat")), (2.2 * DAY, kept(new, "tomcat"))]),
        place("file:///etc/fleet.pem", [(0, stored(old.pem)), (2 * DAY, stored(new.pem))]),
        place("kubernetes://prod/web", [(0, kept(old, "web:tls.crt")), (2 * DAY, kept(new, "web:tls.crt"))]),
        place(URL, [(0, served(old)), (3 * DAY, served(new))]),
    ]
    own = [
        root("Own CA", not_before=begin * YEAR, not_after=end * YEAR) for begin, end in ((-9, 1.5), (0, 10))
    ]
    bundle = place(
        "file:///etc/own.pem",
        [
            (0, stored(own[0].pem)),
            (30 * DAY, stored(own[0].pem + own[1].pem)),
            (1.6 * YEAR, stored(own[1].pem)),
        ],
    )
    admins = [
        place(f"file:///home/{name}/.kube/config", [(0, client("admin", begin * DAY, YEAR))])
        for name, begin in (("ada", -200), ("bob", -10))
    ]
    keys = [
        kept(leaf("idp", begin, 2 * YEAR), name)
        for begin, name in ((-YEAR, "signing-1"), (-DAY, "signing-2"))
    ]
    return {
        "a keystore, a file and a Secret beside a server that is deployed a day later": lambda: [
            Fleet(parts, 30 * DAY, 6 * HOUR)
        ],
        "a CA and its successor in one bundle": lambda: [
            Fleet([replace(bundle, target=replace(bundle.target, matches=BY_KIND))], 1.8 * YEAR, 3 * DAY)
        ],
        "kubeconfigs of two admins": lambda: [Fleet(admins, 60 * DAY, DAY)],
        "SAML metadata with two keys": lambda: [
            Fleet([place("file:///srv/idp.xml", [(0, together(*keys))], policy=MANUAL)], 200 * DAY, DAY)
        ],
        "a certificate of two years, bought with 45 days left": lambda: [
            Fleet([place(URL, [(0, served(ours))], policy=MANUAL)], 300 * DAY, DAY)
        ],
    }


def staples() -> dict[str, Make]:
    """
    OCSP responses of servers behind one address.
    """
    ours = leaf(HOST, -10 * DAY, 90 * DAY)

    def stapling(first: float, every: float, lifetime: float) -> Schedule:
        begins = [first + number * every for number in range(int(14 * DAY / every) + 2)]
        return [(begin, stapled(ours, begin, begin + lifetime)) for begin in begins]

    return {
        "a staple of one server of two": lambda: [
            Fleet([balanced([1, 1], stapling(0, 3.5 * DAY, WEEK), [(0, served(ours))])], 14 * DAY, 2 * HOUR)
        ],
        "staples of two servers": lambda: [
            Fleet(
                [balanced([3, 1], stapling(0, 3.5 * DAY, WEEK), stapling(-DAY, 3.5 * DAY, WEEK))],
                14 * DAY,
                2 * HOUR,
            )
        ],
        "staples of eight servers": lambda: [
            Fleet(
                [balanced([1] * 8, *(stapling(-number * 3 * HOUR, DAY, 4 * DAY) for number in range(8)))],
                8 * DAY,
                2 * HOUR,
            )
        ],
    }


def fleets() -> dict[str, Make]:
    """
    All that are healthy, by what they are.
    """
    own = ("client transfer prohibited",)
    wild = leaf(["*.example.com", "example.com"], -60 * DAY, 90 * DAY)
    vault, istio, spire = (POLICIES[name] for name in ("vault-agent", "istio", "spire"))
    gaps = [(4 * DAY, 5 * DAY), (9 * DAY, 11.5 * DAY)]
    by_hand = (0, 60, 120, 140, 200, 260)
    hourly = [(hour * HOUR, signed(hour * HOUR, hour * HOUR + WEEK)) for hour in range(15 * 24)]
    return {
        **documents(),
        **staples(),
        "two sites behind a balancer, renewed on days of their own": lambda: [
            Fleet([balanced(shares, *sites(5, 27))], 100 * DAY, 8 * HOUR) for shares in ([1, 1], [9, 1])
        ],
        "three sites": lambda: [
            Fleet([balanced([4, 2, 1], *sites(5, 27), sites(44, 0)[0])], 100 * DAY, 12 * HOUR),
        ],
        "weekly failover": lambda: [Fleet([by_turns(WEEK, *sites(5, 27))], 150 * DAY, 6 * HOUR)],
        "weekly failover by DNS": lambda: [
            Fleet([by_turns(WEEK, *sites(6, 28), by_name=True)], 150 * DAY, 6 * HOUR)
        ],
        "failover each three days, of which one is renewed": lambda: [
            Fleet([by_turns(3 * DAY, *sites(5, 27))], 13 * DAY, 10 * MINUTE)
        ],
        "blue and green, each renewed by itself": lambda: [
            Fleet([Place(target(URL), blue_green)], 150 * DAY, 6 * HOUR)
        ],
        "a drill each month, by DNS, to a site with an authority of its own": lambda: [
            Fleet([Place(target(URL), drill)], 130 * DAY, 2 * HOUR)
        ],
        "a content delivery network with two authorities, by DNS": lambda: [
            Fleet([Place(target(URL), delivered)], 3 * DAY, 10 * MINUTE)
        ],
        "monthly failover": lambda: [Fleet([by_turns(30 * DAY, *sites(12, 41))], 150 * DAY, 6 * HOUR)],
        "daily failover": lambda: [Fleet([by_turns(DAY, *sites(1, 35))], 100 * DAY, 6 * HOUR)],
        "two servers with certificates of an hour": lambda: backends(2, HOUR, 1 / 2),
        "three servers with certificates of an hour, a third left": lambda: backends(3, HOUR, 2 / 3),
        "eight servers with certificates of an hour": lambda: backends(8, HOUR, 1 / 2),
        "eight servers with certificates of an hour by SPIRE": lambda: backends(8, HOUR, 1 / 2, spire),
        "three servers with certificates of a day": lambda: backends(3, DAY, 2 / 3),
        "three servers with certificates of a day by Istio": lambda: backends(3, DAY, 1 / 2, istio),
        "three servers with certificates of three days by Vault Agent": lambda: backends(
            3, 3 * DAY, 0.9, vault
        ),
        "eight servers with certificates of six days": lambda: backends(8, 6 * DAY, 2 / 3),
        "three servers with certificates of 47 days": lambda: backends(3, 47 * DAY, 2 / 3),
        "servers of which four have expired since they were seen": lambda: [
            Fleet([Place(target(URL), replaced)], 52 * HOUR, HOUR, [(10 * HOUR, 36.5 * HOUR)])
        ],
        "an hour by Vault Agent": lambda: single(HOUR, 0.9, vault),
        "six days, half left": lambda: single(6 * DAY, 1 / 2),
        "six days, a third left": lambda: single(6 * DAY, 2 / 3),
        "ten days": lambda: single(10 * DAY, 2 / 3),
        "47 days, by a person each month": lambda: single(47 * DAY, 31 / 47, POLICIES["monthly"]),
        "a node's certificate by kubelet": lambda: single(YEAR, 0.88, POLICIES["kubelet"]),
        "a canary of the next certificate for an hour": lambda: one(canary, 3 * DAY, 5 * MINUTE),
        "a canary of a twentieth for two days, and then all": lambda: [
            Fleet([Place(target(URL), partial(twentieth, seed))], 3 * DAY, interval)
            for seed in range(4)
            for interval in (5 * MINUTE, 15 * MINUTE)
        ],
        "an issuer whose clock is ahead, and who does not backdate": lambda: [
            Fleet([place(URL, ahead(seconds))], 3 * DAY, interval)
            for seconds, interval in ((2.0, 15.0), (200.0, MINUTE))
        ],
        "Let's Encrypt, ZeroSSL, Google and back at renewals": lambda: switched(
            of_age(60, above=authority("R11")),
            *[
                served(leaf(HOST, HOUR + number * 60 * DAY, 90 * DAY, authority(name)))
                for number, name in enumerate(("ZeroSSL", "WR1", "R11"))
            ],
        ),
        "a new key at each renewal, and then the same one": lambda: switched(
            of_age(60), *[served(leaf(HOST, HOUR + number * 60 * DAY, 90 * DAY)) for number in range(3)]
        ),
        "a wildcard for one host, a name of its own for the other": lambda: [
            Fleet(
                [
                    place(URL, [(0, served(wild)), (DAY, served(leaf(HOST, DAY, 90 * DAY)))]),
                    place(
                        "https://www.example.com",
                        [(0, served(wild)), (2 * DAY, served(leaf(list(wild_names()), 2 * DAY, 90 * DAY)))],
                    ),
                ],
                40 * DAY,
                6 * HOUR,
            )
        ],
        "an intermediate that was issued again for the same key": lambda: switched(
            *_reissued(),
        ),
        "DNS that flaps": lambda: one(flapping(of_age(20)), 2 * DAY, 5 * MINUTE),
        "an address of IPv6 that is down for hours": lambda: one(lame(of_age(20)), 5 * DAY, 30 * MINUTE),
        "a host that is off each night": lambda: [
            Fleet(
                [
                    place(
                        URL,
                        renewed(-58 * DAY, 90 * DAY, 2 / 3, 3),
                        failing=[(day * DAY + 22 * HOUR, day * DAY + 30 * HOUR) for day in range(30)],
                    )
                ],
                30 * DAY,
                2 * HOUR,
                stateless=False,
            )
        ],
        "a zone that is signed weekly": lambda: made(
            "dns:example.com", signed, 14 * DAY, [number * WEEK for number in range(8)]
        ),
        "a zone that is signed hourly, and gaps of days": lambda: [
            Fleet([place("dns:example.com", hourly)], 14 * DAY, HOUR, gaps)
        ],
        "a list on working days, from any day on": lambda: [
            fleet
            for first in range(7)
            for fleet in made("file:///srv/ca.crl", revocations, 10 * DAY, working_days(first, 24))
        ],
        "a list on working days with holidays": lambda: [
            fleet
            for off in ((28,), (25, 28), (21, 22), (28, 29, 30), (23, 24, 25), (24, 25, 28))
            for fleet in made("file:///srv/ca.crl", revocations, 10 * DAY, working_days(0, 33, off))
        ],
        "a list in office hours": lambda: made(
            "file:///srv/ca.crl", revocations, WEEK, working_days(0, 26, (), (8, 10, 12, 14, 16))
        ),
        "a weekly list that comes on Tuesday after a holiday": lambda: made(
            "file:///srv/ca.crl",
            revocations,
            8.5 * DAY,
            list(accumulate([7 * DAY] * 4 + [8 * DAY, 6 * DAY, WEEK])),
        ),
        "a domain that is renewed two months ahead": lambda: [
            Fleet(
                [domain("example.com", [(0, 70 * DAY, own), (9 * DAY, YEAR + 70 * DAY, own)])], 90 * DAY, DAY
            )
        ],
        "one renewal by hand among others": lambda: [
            Fleet(
                [place(URL, [(day * DAY, served(leaf(HOST, day * DAY, 90 * DAY))) for day in by_hand])],
                300 * DAY,
                DAY,
            )
        ],
    }


@functools.cache
def colours() -> Sequence[Schedule]:
    """
    Two sites, each of which renews by itself, and a third with an authority of its own.
    """
    authorities = None, None, authority("DR Issuer")
    return [
        renewed(-age * DAY, 90 * DAY, 2 / 3, 4, above)
        for age, above in zip((20, 50, 40), authorities, strict=True)
    ]


def blue_green(now: float) -> Seeing:
    """
    A deployment every few days: the other site serves, or the same one again.
    """
    number = "0110100011"[int(now // (3.3 * DAY)) % 10]
    return {ADDRESS: Observed(at(colours()[int(number)], now))}


def drill(now: float) -> Seeing:
    """
    For eight hours of each thirty days, the name leads to the third site.
    """
    if 6 * HOUR <= now % (30 * DAY) - 29 * DAY < 14 * HOUR:
        return {"198.51.100.9:443": Observed(at(colours()[2], now))}
    return {ADDRESS: Observed(at(colours()[0], now))}


def delivered(now: float) -> Seeing:
    """
    Three of twelve addresses at each look-up, half of them of either authority.
    """
    numbers = random.Random(now).sample(range(12), 3)
    return {f"192.0.2.{number}:443": Observed(_by_authority(number % 2)) for number in numbers}


@functools.cache
def _by_authority(number: int) -> Facts:
    return of_age(10 + 10 * number, above=authority(("R11", "WE1")[number]))


def ahead(seconds: float) -> Schedule:
    """
    Certificates of a day that begin so many seconds after they are served.
    """
    days = [number * DAY / 2 for number in range(7)]
    return [(day, served(leaf(HOST, day + seconds, DAY))) for day in days]


def wild_names() -> tuple[str, ...]:
    """
    The names of the wildcard.
    """
    return ("*.example.com", "example.com")


def _reissued() -> tuple[Facts, Facts]:
    one_of_ours = authority("Reissued")
    again = anchor().cross_sign(one_of_ours, not_before=-DAY, not_after=9 * YEAR)
    ours = leaf(HOST, -10 * DAY, 90 * DAY, one_of_ours)
    return presented(ours, one_of_ours), presented(ours, again)


FLEETS = fleets()


@pytest.mark.parametrize("name", FLEETS)
def test_a_healthy_fleet_gives_no_problem(name: str) -> None:
    """
    In one run, and over restarts with the state and without.
    """
    for fleet in FLEETS[name]():
        restarts = [
            (fleet.until * share, keep_state or not fleet.stateless)
            for share, keep_state in ((0.3, True), (0.55, False), (0.9, True))
        ]
        assert told(fleet) == {}
        assert told(fleet, restarts) == {}
