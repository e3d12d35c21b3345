"""
A fleet of some forty targets with believable names and troubles, as a function of time.

Only what stands where is made up here; what the exporter makes of it is its own work.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from exporter.demo.minter import Minted, root
from exporter.model.observation import Facts, FoundHazard, Item, Observed
from exporter.model.policies import AUTOMATIC, DAY, HOUR, MANUAL, Policy
from exporter.model.reasons import Hazard, Kind
from exporter.pki.certificates import certificate
from tests.replay.timeline import (
    YEAR,
    Place,
    Schedule,
    Seeing,
    Span,
    anchor,
    place,
    presented,
    served,
    target,
)

LIFETIME = 90 * DAY
RENEWED_AFTER = 60 * DAY
"""What a renewer that works does with certificates of ninety days."""

PAST = 30 * DAY
"""How far back the fleet's history goes."""

ENVIRONMENT = "production"

OLD_TLS = ("TLSv1.2", "ECDHE-RSA-AES256-GCM-SHA384")


class Fleet:
    """
    The targets, with all their troubles around the moment `now`.
    """

    def __init__(self, now: float) -> None:
        self._now = now
        self._ages = itertools.count(3)
        public, elliptic = (self._issuer(name) for name in ("Example Trust R3", "Example Trust E6"))
        self._public, self._elliptic = public, elliptic
        self._bought = self._issuer("Example Certificates DV CA 2")
        self._internal = self._issuer("Example Corp Internal CA 1")

    def _issuer(self, name: str) -> Minted:
        begin = self._now - 2 * YEAR
        return anchor().issue(name, ca=True, path_length=0, not_before=begin, not_after=begin + 8 * YEAR)

    def places(self) -> list[Place]:
        """
        All targets.
        """
        return [*self._web(), *self._mail(), *self._data(), *self._troubles(), *self._others()]

    def _leaf(self, host: str, begin: float, above: Minted, *, key: str = "ecdsa-256") -> Minted:
        return above.issue(host, [host], not_before=begin, not_after=begin + LIFETIME, key=key)

    def _renewing(self, host: str, above: Minted | None = None, key: str = "ecdsa-256") -> Schedule:
        """
        A certificate that is renewed in time, again and again; the fleet's renewals are spread over weeks.
        """
        age = (next(self._ages) * 7.3 * DAY) % RENEWED_AFTER
        begins = (self._now - age - RENEWED_AFTER, self._now - age, self._now - age + RENEWED_AFTER)
        issuer = above or self._public
        return [(begin, served(self._leaf(host, begin, issuer, key=key))) for begin in begins]

    def _bought_with(self, host: str, left: float, *, lifetime: float = 365 * DAY) -> Schedule:
        end = self._now + left
        leaf = self._bought.issue(host, [host], not_before=end - lifetime, not_after=end, key="rsa-2048")
        return [(0, served(leaf))]

    def _web(self) -> Iterator[Place]:
        hosts = {
            "www.example.com": "web",
            "docs.example.com": "web",
            "blog.example.com": "web",
            "search.example.com": "web",
            "status.example.org": "platform",
            "registry.example.org": "platform",
            "ci.example.org": "platform",
            "wiki.example.org": "platform",
            "help.example.com": "support",
            "forum.example.com": "support",
        }
        for number, (host, team) in enumerate(hosts.items()):
            above = self._elliptic if number % 3 else self._public
            yield _served(f"https://{host}", self._renewing(host, above), team=team)
        for host, team, servers in (
            ("api.example.com", "payments", 2),
            ("auth.example.org", "identity", 2),
            ("cdn.example.com", "web", 4),
        ):
            shared = self._renewing(host)
            down: list[Span] = []
            if team == "web":
                # An outage some days ago, which was over after two hours.
                down = [(self._now - 3.2 * DAY, self._now - 3.2 * DAY + 2 * HOUR)]
            yield _served(f"https://{host}", *[shared] * servers, failing=down, team=team)
        # One certificate for many names: what one missed renewal takes down.
        wildcard = self._renewing("*.apps.example.com", key="rsa-2048")
        for name in ("orders", "returns", "stock", "prices", "reports"):
            yield _served(f"https://{name}.apps.example.com", *[wildcard] * 2, team="logistics")

    def _mail(self) -> Iterator[Place]:
        host = "mail.example.com"
        mail = _with_tls(self._renewing(host, self._public, key="rsa-2048"), *OLD_TLS)
        night = [(self._now - 5.4 * DAY, self._now - 5.4 * DAY + 6 * HOUR)]
        yield _served(f"smtp://{host}:25", mail, failing=night, team="mail")
        yield _served(f"submission://{host}", mail, failing=night, team="mail")
        yield _served(f"imaps://{host}", mail, team="mail")

    def _data(self) -> Iterator[Place]:
        for host, scheme in (
            ("orders-db.internal.example.com", "postgres"),
            ("ledger-db.internal.example.com", "postgres"),
            ("cache.internal.example.com", "rediss"),
            ("queue.internal.example.com", "amqps"),
        ):
            yield _served(f"{scheme}://{host}", self._renewing(host, self._internal), team="data")
        for host, left in (("erp.example.com", 171 * DAY), ("sftp.example.com", 92 * DAY)):
            yield _served(f"https://{host}", self._bought_with(host, left), policy=MANUAL, team="finance")

    def _troubles(self) -> Iterator[Place]:
        now = self._now
        issuers = (self._public, self._elliptic)
        learn = self._leaf("learn.example.com", now - LIFETIME - 5.3 * HOUR, issuers[0])
        yield _served("https://learn.example.com", [(0, served(learn))], team="learning")
        yield self._not_deployed("shop.example.com", "payments")
        late = self._leaf("git.example.org", now - 70 * DAY, issuers[1])
        yield _served("https://git.example.org", [(0, served(late))], team="platform")
        soon = self._leaf("metrics.example.org", now - 87.6 * DAY, issuers[0])
        yield _served("https://metrics.example.org", [(0, served(soon))], team="platform")
        yield _served(
            "https://pay.example.com",
            self._bought_with("pay.example.com", 31 * DAY),
            policy=MANUAL,
            team="payments",
        )
        ldap = self._leaf("ldap.example.org", now - 72 * DAY, self._internal)
        yield _served(
            "ldaps://ldap.example.org",
            [(0, served(ldap))],
            failing=[(now - 9 * HOUR, now + DAY)],
            team="identity",
        )
        yield from self._refused()

    def _not_deployed(self, host: str, team: str) -> Place:
        """
        Renewed six days ago on two of three servers; the third one was not reloaded.
        """
        old, new = (
            served(self._leaf(host, begin, self._elliptic))
            for begin in (self._now - 68 * DAY, self._now - 6 * DAY)
        )
        renewed = [(0, old), (self._now - 6 * DAY, new)]
        return _served(f"https://{host}", renewed, renewed, [(0, old)], team=team)

    def _refused(self) -> Iterator[Place]:
        """
        What clients don't accept though it has not ended.
        """
        now = self._now
        stranger = root("Lab Root", not_before=now - YEAR, not_after=now + 9 * YEAR)
        lab = stranger.issue(
            "lab.example.org", ["lab.example.org"], not_before=now - DAY, not_after=now + 80 * DAY
        )
        yield _served(
            "https://lab.example.org",
            [(0, self._renewing("lab.example.org")[1][1]), (now - 1.5 * DAY, presented(lab, stranger))],
            team="research",
        )
        alone = self._leaf("partner.example.com", now - 20 * DAY, self._bought, key="rsa-2048")
        yield _served("https://partner.example.com", [(0, presented(alone))], team="finance")
        # The name of a service that is not there yet.
        yield _served(
            "https://next.example.com", [(0, served(alone))], unresolved=[(0, now + DAY)], team="web"
        )

    def _others(self) -> Iterator[Place]:
        now = self._now
        edge = certificate(self._leaf("edge.example.com", now - 24 * DAY, self._public, key="rsa-2048").der)
        leaf = Item("leaf", Kind.LEAF, edge.not_before, edge.not_after, edge)
        files = [(0.0, Facts((leaf,)))]
        yield _placed(
            "file:///etc/haproxy/certs/edge.pem", {"/etc/haproxy/certs/edge.pem": files}, team="web"
        )
        for domain, left in (("example.com", 210 * DAY), ("example.org", 48 * DAY)):
            registered = Facts((Item("registration", Kind.REGISTRATION, now - 9 * YEAR, now + left),))
            yield _placed(f"domain:{domain}", {domain: [(0.0, registered)]}, team="platform", policy=MANUAL)
        # Signed anew every week, for two.
        signed = [
            (begin, Facts((Item("dnssec", Kind.DNSSEC, begin, begin + 14 * DAY),)))
            for begin in (now - 2.4 * DAY + 7 * DAY * week for week in range(-5, 2))
        ]
        servers = {f"ns{number}.example.org": signed for number in (1, 2)}
        yield _placed("dns:example.org", servers, team="platform")
        forbidden = FoundHazard(Hazard.CAA_FORBIDS_ISSUER, "CAA of example.net names another issuer")
        schedule = [
            (at, replace(facts, hazards=(forbidden,))) for at, facts in self._renewing("www.example.net")
        ]
        yield _served("https://www.example.net", schedule, team="web")


def _served(
    url: str,
    *schedules: Schedule,
    team: str,
    policy: Policy = AUTOMATIC,
    failing: Iterable[Span] = (),
    unresolved: Iterable[Span] = (),
) -> Place:
    return place(
        url,
        *schedules,
        policy=policy,
        failing=failing,
        unresolved=unresolved,
        team=team,
        environment=ENVIRONMENT,
    )


def _with_tls(schedule: Schedule, protocol: str, cipher: str) -> Schedule:
    return [
        (at, replace(facts, tls=facts.tls and replace(facts.tls, protocol=protocol, cipher=cipher)))
        for at, facts in schedule
    ]


def _placed(url: str, schedules: Mapping[str, Schedule], *, team: str, policy: Policy = AUTOMATIC) -> Place:
    """
    A target whose endpoints are no addresses.
    """

    def see(now: float) -> Seeing:
        return {
            label: Observed([facts for begin, facts in schedule if begin <= now][-1])
            for label, schedule in schedules.items()
        }

    return Place(target(url, policy, team=team, environment=ENVIRONMENT), see)
