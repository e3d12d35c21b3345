"""
Memory: what is held while an endpoint cannot be seen, and what is forgotten.
"""

import time
import tracemalloc
from dataclasses import replace

import pytest

from exporter.engine.by_turns import is_due
from exporter.engine.memory import ROSTER_AGE, Memory, TargetMemory
from exporter.engine.results import ProbeResult, TargetResult, seen_facts
from exporter.judgement.history import Past
from exporter.judgement.verdicts import Judged, Verdict
from exporter.model.errors import LeftOut
from exporter.model.observation import Facts, Failed, Item, Observed
from exporter.model.policies import HOUR
from exporter.model.reasons import Fault, Kind, Reason
from exporter.model.targets import ADDRESS_LIMIT, Target
from exporter.pki.trust import Anchors
from tests.golden.scenes import failed, seen
from tests.golden.values import certificate, facts, faults, target
from tests.support.certificates import DAY, NOW

FACTS = facts(certificate())
RENEWED = facts(certificate(serial="2"))


def take(memory: Memory, of: Target, *looks: ProbeResult, at: float = NOW, located: bool = True) -> list[str]:
    """
    The labels of endpoints whose facts changed by this sweep.
    """
    before = {label: held.facts for label, held in memory.known(of).endpoints.items()}
    memory.update(TargetResult(of, looks, located), at)
    after = {label: held.facts for label, held in memory.known(of).endpoints.items()}
    return [label for label, found in after.items() if found is not before.get(label)]


def addresses(count: int, first: int = 0) -> list[str]:
    """
    Labels of that many different addresses.
    """
    return [f"192.0.2.{number}:443" for number in range(first, first + count)]


def test_what_was_seen_is_held_while_the_endpoint_fails() -> None:
    """
    With the time at which it was really seen, however often it fails.
    """
    memory, of = Memory(), target()
    take(memory, of, seen(FACTS, "a"), at=NOW)
    for minute in range(1, 4):
        assert take(memory, of, failed(Reason.CONNECTION_REFUSED, "a"), at=NOW + 60 * minute) == []
    held = memory.known(of).endpoints["a"]
    assert (held.facts, held.seen_at) == (FACTS, NOW)
    assert isinstance(held.observation, Failed)
    assert held.duration == 1.0


def test_an_endpoint_that_was_never_seen_holds_nothing() -> None:
    """
    Neither facts nor a time.
    """
    memory, of = Memory(), target()
    take(memory, of, failed(Reason.TIMEOUT, "a"))
    held = memory.known(of).endpoints["a"]
    assert (held.facts, held.seen_at, held.judged) == (None, None, None)


def test_what_was_seen_before_a_failure_counts_as_seen() -> None:
    """
    A server that demands a client certificate has shown its own.
    """
    memory, of = Memory(), target()
    assert take(memory, of, failed(Reason.CLIENT_CERTIFICATE_REQUIRED, "a", FACTS)) == ["a"]
    assert memory.known(of).endpoints["a"].seen_at == NOW


def renewed(memory: Memory, of: Target, *labels: str) -> None:
    """
    Four certificates at these endpoints, one each week.
    """
    for week in range(4):
        begin = NOW + 7 * week * DAY
        found = facts(certificate(begin=begin, end=begin + 90 * DAY))
        take(memory, of, *(seen(found, label) for label in labels), at=begin)


def test_a_rhythm_is_learned_from_what_is_seen_of_an_endpoint() -> None:
    """
    Not where each probe may be at another server.
    """
    memory, one, many = Memory(), target(), target(name="many")
    renewed(memory, one, "a")
    assert memory.known(one).endpoints["a"].past.habits["leaf"].rhythm == 7 * DAY
    memory.labels(many, addresses(ADDRESS_LIMIT + 1), NOW)
    renewed(memory, many, "a")
    assert memory.known(many).endpoints["a"].past.habits == {}


def test_a_scrape_without_a_change_learns_nothing() -> None:
    """
    It is the same object, so no verdict is made anew.
    """
    memory, of = Memory(), target()
    renewed(memory, of, "a")
    held = memory.known(of).endpoints["a"]
    before, again = held.past.habits, facts(certificate(begin=NOW + 21 * DAY, end=NOW + 111 * DAY))
    assert take(memory, of, seen(again, "a"), at=NOW + 22 * DAY) == []
    assert held.past.habits is before


@pytest.mark.parametrize(("days", "due"), [(0.5, True), (3, False)])
def test_a_renewal_is_over_at_once_where_turns_were_over_long_before(days: float, due: bool) -> None:
    """
    When all else that was there is forgotten, it is as if it had always been alone.
    """
    memory, of = Memory(), target()
    looks = [FACTS] * 50 + [RENEWED] + [FACTS] * 10 + [RENEWED] + [FACTS] * int(days * 288)
    for number, found in enumerate(looks):
        take(memory, of, seen(found, "a"), at=NOW + 300 * number)
    held, last, now = memory.known(of).endpoints["a"], facts(certificate(serial="3")), NOW + 300 * len(looks)
    refused = Verdict((), faults(Fault.EXPIRED), float("-inf"), float("inf"))
    held.judged = Judged(FACTS, of, Anchors(None), refused)
    # Of those that have turns none is asked for: each is remembered as long as it needs.
    assert (held.doubted(of, last, now) is None) is due
    take(memory, of, seen(last, "a"), at=now)
    (left,) = (one for one in held.others if one.facts == FACTS)
    assert is_due(left, held.looks, now) is due


def test_only_changed_facts_are_told() -> None:
    """
    Equal facts keep the object that is there, so that what was made of it is still good.
    """
    memory, of = Memory(), target()
    assert take(memory, of, seen(FACTS, "a"), seen(FACTS, "b")) == ["a", "b"]
    # An equal value that is another object, as the next handshake makes it.
    again = type(FACTS)(FACTS.items, FACTS.chains, FACTS.tls)
    assert take(memory, of, seen(again, "a"), seen(RENEWED, "b"), at=NOW + 60) == ["b"]
    endpoints = memory.known(of).endpoints
    assert endpoints["a"].facts is FACTS
    assert endpoints["a"].seen_at == NOW + 60
    assert endpoints["b"].facts is RENEWED


def test_an_address_that_the_name_lost_is_forgotten() -> None:
    """
    Its certificate is served nowhere any more.
    """
    memory, of = Memory(), target()
    take(memory, of, seen(FACTS, "a"), seen(FACTS, "b"))
    take(memory, of, seen(FACTS, "b"))
    assert list(memory.known(of).endpoints) == ["b"]


def test_addresses_are_kept_while_the_name_can_not_be_looked_up() -> None:
    """
    A broken resolver must not silence a warning.
    """
    memory, of = Memory(), target()
    left_out = (LeftOut("c", "why"),)
    memory.update(
        TargetResult(of, (seen(FACTS, "a"), seen(FACTS, "b")), located=True, left_out=left_out), NOW
    )
    take(memory, of, failed(Reason.DNS_TIMEOUT, "a"), located=False)
    known = memory.known(of)
    assert list(known.endpoints) == ["a", "b"]
    assert known.left_out == left_out
    take(memory, of, seen(FACTS, "a"))
    assert memory.known(of).left_out == ()


def test_endpoints_without_a_place_have_the_names_they_had() -> None:
    """
    All that were known; else one, called by host and port, which goes when the name is found.
    """
    memory, of = Memory(), target()
    assert memory.unlocated(of) == ("lms.example.com:443",)
    take(memory, of, failed(Reason.DNS_NOT_FOUND, "lms.example.com:443"), located=False)
    take(memory, of, seen(FACTS, "a"), seen(FACTS, "b"))
    assert memory.unlocated(of) == ("a", "b")


@pytest.mark.parametrize(
    "other",
    [
        target(name="other"),
        target("https://elsewhere.example.com", name="https://lms.example.com"),
        target("tls://lms.example.com:443", name="https://lms.example.com"),
        target("https://lms.example.com:8443", name="https://lms.example.com"),
        target(server_name="virtual.example.com"),
        target(keys="both"),
    ],
    ids=lambda one: f"{one.name} {one.identity}",
)
def test_a_target_that_means_another_place_starts_anew(other: Target) -> None:
    """
    Another name, host, scheme, port, server name or set of keys: held facts are not its own.
    """
    memory, of = Memory(), target()
    take(memory, of, seen(FACTS, "a"))
    assert memory.known(other).endpoints == {}


@pytest.mark.parametrize(
    "other",
    [
        target(timeout=1.0),
        target(labels=(("team", "b"),)),
        target(ca_file="other.pem"),
        target(client_certificate_file="client.pem"),
        target("https://LMS.example.com:443/", name="https://lms.example.com"),
    ],
    ids=lambda one: one.url.text + repr((one.timeout, one.labels, one.ca_file)),
)
def test_other_settings_keep_what_is_known(other: Target) -> None:
    """
    A reload that changes a timeout, labels, trust anchors or the spelling of the URL forgets nothing.
    """
    memory, of = Memory(), target()
    take(memory, of, seen(FACTS, "a"))
    assert list(memory.known(other).endpoints) == ["a"]


def test_targets_that_are_not_named_are_forgotten() -> None:
    """
    They were removed from the configuration.
    """
    memory = Memory()
    for name in ("a", "b", "c"):
        take(memory, target(name=name), seen(FACTS))
    memory.keep_only(["c", "a", "new"])
    assert [name for name, _ in memory] == ["a", "c"]
    assert len(memory) == 2


@pytest.mark.parametrize(("count", "left"), [(0, []), (1, ["a"]), (2, ["c", "a"]), (3, ["b", "c", "a"])])
def test_those_asked_for_longest_ago_are_forgotten_first(count: int, left: list[str]) -> None:
    """
    Asking again makes a target new again.
    """
    memory = Memory()
    for name in ("a", "b", "c", "a"):
        take(memory, target(name=name), seen(FACTS))
    memory.keep_newest(count)
    assert [name for name, _ in memory] == left


def test_what_was_known_before_a_restart_is_taken_back() -> None:
    """
    If the target still means the same place.
    """
    memory, of = Memory(), target()
    before = TargetMemory(of.identity, roster={"a": NOW})
    memory.restore(of.name, before)
    assert memory.known(of) is before
    other = Memory()
    other.restore(of.name, TargetMemory("another place", roster={"a": NOW}))
    assert other.known(of).roster == {}


def test_what_was_known_before_a_restart_may_come_late() -> None:
    """
    What was seen since goes before it, and what failed since is as it was last seen.
    """
    before, memory, of = Memory(), Memory(), target()
    take(before, of, seen(FACTS, "a"), seen(FACTS, "b"), seen(FACTS, "c"))
    take(memory, of, seen(RENEWED, "a"), failed(Reason.TIMEOUT, "b"), at=NOW + 60)
    memory.restore(of.name, before.known(of))
    endpoints = memory.known(of).endpoints
    found = {label: (held.facts, held.seen_at) for label, held in endpoints.items()}
    assert found == {"a": (RENEWED, NOW + 60), "b": (FACTS, NOW), "c": (FACTS, NOW)}
    memory.restore(of.name, TargetMemory("another place", endpoints=dict(endpoints)))
    assert memory.known(of).endpoints is endpoints


def test_an_address_has_its_own_label() -> None:
    """
    A URL with an IP address has one endpoint that never rotates, and no roster.
    """
    memory, of = Memory(), target("https://192.0.2.1")
    for number in range(2 * ADDRESS_LIMIT):
        assert memory.labels(of, [f"{number}"], NOW) == (f"{number}",)
    assert memory.known(of).roster == {}


@pytest.mark.parametrize(
    ("count", "labels"),
    [(ADDRESS_LIMIT, ("192.0.2.99:443",)), (ADDRESS_LIMIT + 1, ("lms.example.com:443#1",))],
)
def test_more_addresses_in_a_week_than_are_probed_rotate(count: int, labels: tuple[str, ...]) -> None:
    """
    Sixteen different ones are places, seventeen are a rotation.
    """
    memory, of = Memory(), target()
    for number in range(count - 1):
        memory.labels(of, addresses(1, number), NOW + number)
    assert memory.labels(of, ["192.0.2.99:443"], NOW + 3600) == labels


def test_addresses_that_rotate_are_numbered() -> None:
    """
    As many numbers as there are addresses now.
    """
    memory, of = Memory(), target()
    memory.labels(of, addresses(ADDRESS_LIMIT), NOW)
    assert memory.labels(of, addresses(3, 100), NOW) == tuple(f"lms.example.com:443#{n}" for n in (1, 2, 3))


@pytest.mark.parametrize(
    ("later", "rotates"), [(ROSTER_AGE - 1, True), (ROSTER_AGE, True), (ROSTER_AGE + 1, False)]
)
def test_an_address_that_was_not_given_for_a_week_counts_no_more(later: float, rotates: bool) -> None:
    """
    On both sides of its edge.
    """
    memory, of = Memory(), target()
    memory.labels(of, addresses(ADDRESS_LIMIT), NOW)
    labels = memory.labels(of, ["192.0.2.99:443"], NOW + later)
    assert labels == (("lms.example.com:443#1",) if rotates else ("192.0.2.99:443",))


def test_an_address_that_is_given_again_is_remembered_from_then() -> None:
    """
    A name with the same addresses forever never rotates, and they never grow old.
    """
    memory, of = Memory(), target()
    for day in range(30):
        found = addresses(ADDRESS_LIMIT)
        assert memory.labels(of, found, NOW + day * 86400) == tuple(found)
    assert set(memory.known(of).roster.values()) == {NOW + 29 * 86400}


def test_of_what_accompanied_a_leaf_only_the_dates_are_kept() -> None:
    """
    A server that shows large certificates in ever other places of its chain would fill the memory.
    """
    memory, of = Memory(), target()
    above = replace(certificate(serial="3"), is_ca=True)
    chain = replace(FACTS, items=(*FACTS.items, Item("chain-1", Kind.INTERMEDIATE, 1.0, 2.0, above)))
    take(memory, of, seen(chain, "a"))
    memory.known(of).endpoints["a"].past.trusted_at = NOW
    new = replace(RENEWED, items=(*RENEWED.items, Item("chain-1", Kind.INTERMEDIATE, 3.0, 4.0, above)))
    take(memory, of, seen(new, "a"))
    previous = memory.known(of).endpoints["a"].past.previous
    assert previous["chain-1"] == Item("chain-1", Kind.INTERMEDIATE, 1.0, 2.0)
    assert previous["leaf"] == FACTS.items[0]


def test_the_roster_goes_on_when_the_clock_is_set_back() -> None:
    """
    Addresses that were given while the clock was a month ahead are forgotten as others are, a week later.
    """
    memory, of = Memory(), target()
    memory.labels(of, addresses(ADDRESS_LIMIT), NOW + 30 * DAY)
    assert memory.labels(of, addresses(1, 100), NOW) == ("lms.example.com:443#1",)
    assert memory.labels(of, addresses(1, 100), NOW + ROSTER_AGE + 1) == tuple(addresses(1, 100))


def test_the_roster_stays_small() -> None:
    """
    Whatever a name gives; those given last are kept.
    """
    memory, of = Memory(), target()
    for number in range(1000):
        memory.labels(of, [f"address-{number}", f"other-{number}"], NOW)
    roster = memory.known(of).roster
    assert len(roster) == 2 * ADDRESS_LIMIT
    assert "address-999" in roster
    assert f"address-{1000 - ADDRESS_LIMIT - 1}" not in roster


@pytest.mark.parametrize(
    ("look", "found"),
    [
        (Observed(FACTS), FACTS),
        (Failed(Reason.CLIENT_CERTIFICATE_REQUIRED, "", FACTS), FACTS),
        (Failed(Reason.TIMEOUT, ""), None),
    ],
)
def test_seen_facts_are_those_of_the_look(look: Observed | Failed, found: object) -> None:
    """
    Also those from before a failure.
    """
    assert seen_facts(look) is found


def leaf(begin: float, end: float) -> Facts:
    """
    One leaf with these dates.
    """
    return facts(certificate(begin=begin, end=end))


def test_an_older_one_that_is_back_counts_until_the_newer_one_is() -> None:
    """
    At once, if the newer one was in service for long; a second time it is known to come and go.
    """
    old, new = leaf(NOW - DAY, NOW + DAY), leaf(NOW, NOW + 2 * DAY)
    past = Past()

    past.note_change(new, old, NOW + 3 * HOUR)
    assert past.rolled_back_at == {"leaf": NOW + 3 * HOUR}
    past.note_change(old, new, NOW + 4 * HOUR)
    assert past.rolled_back_at == {}
    past.note_change(new, old, NOW + 20 * HOUR)
    assert past.rolled_back_at == {}


@pytest.mark.parametrize(("hours", "counts"), [(2, False), (2.4, True)])
def test_what_was_in_service_for_a_short_time_only_was_tried(hours: float, counts: bool) -> None:
    """
    A twentieth of its lifetime of two days.
    """
    past = Past()
    past.note_change(leaf(NOW, NOW + 2 * DAY), leaf(NOW - DAY, NOW + DAY), NOW + hours * HOUR)
    assert bool(past.rolled_back_at) is counts


def test_what_clients_refused_is_no_predecessor() -> None:
    """
    Neither does an older one go back to it, nor is another identity a change.
    """
    past = Past()
    past.note_change(leaf(NOW, NOW + 2 * DAY), leaf(NOW - DAY, NOW + DAY), NOW + DAY, accepted=False)
    assert (past.previous, past.rolled_back_at) == ({}, {})
    past = Past()
    past.note_change(of("A", "rsa-2048"), of("B", "ecdsa-256"), NOW, accepted=False)
    assert past.identity_changed_at == {}


@pytest.mark.parametrize(("begin", "end"), [(NOW + 1, NOW + DAY), (NOW - DAY, NOW + 3 * DAY)])
def test_what_began_later_or_ends_later_is_no_older_one(begin: float, end: float) -> None:
    """
    A newer one with a shorter life ends earlier.
    """
    past = Past()
    past.note_change(leaf(NOW, NOW + 2 * DAY), leaf(begin, end), NOW)

    assert past.rolled_back_at == {}


OURS = certificate(issuer="CN=A")
"""Of ninety days, 75 of which are left at NOW."""


def of(issuer: str, key: str, begin: float = NOW - DAY, end: float = NOW + 89 * DAY) -> Facts:
    """
    A leaf of this issuer and key.
    """
    return facts(certificate(issuer=f"CN={issuer}", key=key, begin=begin, end=end))


@pytest.mark.parametrize(
    ("lifetime", "left"),
    [
        (1 / 24, 1 / 48),
        (6, 3),
        (47, 23.5),
        (90, 45),
        (120, 60),
        (150, 60),
        (200, 200 / 3),
        (398, 398 / 3),
        (3650, 3650 / 3),
    ],
)
@pytest.mark.parametrize(("earlier", "counts"), [(60, True), (0, False), (-60, False)])
def test_issuer_and_key_count_together_before_anybody_renews(
    lifetime: float, left: float, earlier: float, counts: bool
) -> None:
    """
    On both sides of the moment from which on renewers come: days of lifetime, and of these left.
    """
    end = NOW + left * DAY + earlier
    past = Past()
    past.note_change(of("A", "rsa-2048", end - lifetime * DAY, end), of("B", "ecdsa-256"), NOW)
    assert past.identity_changed_at == ({"leaf": NOW} if counts else {})


@pytest.mark.parametrize(("issuer", "key"), [("A", "ecdsa-256"), ("B", "rsa-2048"), ("A", "rsa-2048")])
def test_a_new_issuer_or_a_new_key_alone_is_usual(issuer: str, key: str) -> None:
    """
    So is a new certificate for the same two.
    """
    past = Past()
    past.note_change(of("A", "rsa-2048"), of(issuer, key, NOW), NOW)
    assert past.identity_changed_at == {}


def test_what_is_no_leaf_has_no_identity() -> None:
    """
    The chain comes with the leaf, and is not compared.
    """
    past = Past()
    one, other = (facts(OURS, certificate(name, issuer=f"CN={name}", is_ca=True)) for name in ("I", "J"))
    past.note_change(one, other, NOW)
    assert (list(past.changed_at), past.identity_changed_at) == (["chain-1"], {})


def test_putting_back_what_was_there_ends_a_change_of_identity() -> None:
    """
    However late, and what comes again is known; a third identity counts anew.
    """
    ours, theirs, third = of("A", "rsa-2048"), of("B", "ecdsa-256"), of("C", "ed25519")
    past = Past()
    past.note_change(ours, theirs, NOW)
    assert past.identity_changed_at == {"leaf": NOW}
    past.note_change(theirs, ours, NOW + 10 * DAY)
    assert past.identity_changed_at == {}
    past.note_change(ours, theirs, NOW + 11 * DAY)
    assert past.identity_changed_at == {}
    past.note_change(theirs, third, NOW + 12 * DAY)
    assert past.identity_changed_at == {"leaf": NOW + 12 * DAY}


@pytest.mark.parametrize("later", [HOUR, 2 * DAY])
def test_a_repair_with_a_new_key_ends_it_too(later: float) -> None:
    """
    By the issuer of before.
    """
    past = Past()
    past.note_change(of("A", "rsa-2048"), of("B", "ecdsa-256"), NOW)
    past.note_change(of("B", "ecdsa-256"), of("A", "ed25519"), NOW + later)
    assert past.identity_changed_at == {}


@pytest.mark.parametrize(
    ("url", "label"),
    [
        ("https://lms.example.com", "192.0.2.1:443"),
        ("file:///etc/ssl/cert.pem#2", "/etc/ssl/cert.pem#2"),
        ("kubernetes://prod/web", "prod/web:key#1"),
    ],
)
def test_an_older_one_that_is_back_counts_whatever_its_place_is_called(url: str, label: str) -> None:
    """
    A name that ends like the number of a rotating address is a name like others.
    """
    memory, of = Memory(), target(url)
    take(memory, of, seen(leaf(NOW, NOW + 2 * DAY), label))
    past = memory.known(of).endpoints[label].past
    past.trusted_at = NOW
    take(memory, of, seen(leaf(NOW - DAY, NOW + DAY), label), at=NOW + DAY)
    assert past.rolled_back_at == {"leaf": NOW + DAY}


def test_addresses_that_rotate_are_not_compared_also_after_a_restart() -> None:
    """
    Each look may be at another server: an older certificate there, or another issuer, is no news.
    """
    memory, site = Memory(), target()
    roster = dict.fromkeys(addresses(ADDRESS_LIMIT + 1), NOW)
    memory.restore(site.name, TargetMemory(site.identity, roster=roster))
    (label,) = memory.labels(site, ["192.0.2.1:443"], NOW)
    older = of("B", "ecdsa-256", begin=NOW - 2 * DAY, end=NOW + 60 * DAY)
    take(memory, site, seen(of("A", "rsa-2048"), label))
    take(memory, site, seen(older, label), at=NOW + 60)
    past = memory.known(site).endpoints[label].past
    assert (past.rolled_back_at, past.identity_changed_at) == ({}, {})
    assert past.changed_at == {"leaf": NOW + 60}


def test_what_is_healthy_takes_little_room() -> None:
    """
    Of what never changed there is nothing to remember but when it was seen.
    """
    memory, same = Memory(), Observed(facts(certificate()))
    looks = tuple(ProbeResult(f"192.0.2.1:{port}", same, 0.1, turn=1.0) for port in range(1000))
    result = TargetResult(target(), looks, located=True)
    tracemalloc.start()
    try:
        memory.update(result, NOW)
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size / len(looks) < 700


@pytest.mark.no_cover
@pytest.mark.parametrize("kind", [Kind.LEAF, Kind.CRL])
def test_many_items_that_change_at_once_take_their_number_of_times_as_long_as_one(kind: Kind) -> None:
    """
    Not its square: five thousand in one file held the loop for a third of a second. CPU time, the best of 3.
    """
    old, new = certificate(), replace(certificate(), fingerprint_sha256="ab" * 32)

    def seconds(count: int) -> float:
        before, after = (
            Facts(tuple(Item(f"c{number}", kind, begin, begin + 90 * DAY, shown) for number in range(count)))
            for begin, shown in ((NOW - 60 * DAY, old), (NOW, new))
        )
        past = Past()
        past.note_change(before, after, NOW)
        began = time.thread_time()
        past.note_change(after, before, NOW + DAY)
        return time.thread_time() - began

    few, many = (min(seconds(count) for _ in range(3)) for count in (300, 4800))
    assert many < 50 * few
