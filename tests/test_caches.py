"""
Caches: what is remembered, what it weighs, and what goes first.
"""

import gc
import os
import sys
import tracemalloc
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from exporter.demo.minter import Minted
from exporter.engine.by_turns import LIMIT, UNJUDGED_LIMIT
from exporter.engine.memory import Memory
from exporter.engine.results import ProbeResult, TargetResult
from exporter.model import caches
from exporter.model.caches import LEAST_LIMIT, LIMIT_PER_TARGET, OVERHEAD, Budget, Cache, remembered, size
from exporter.model.observation import Certificate, Observed
from exporter.model.reasons import Kind
from exporter.pki import ocsp, revocation, trust
from exporter.pki.certificates import certificate
from exporter.probes.tls import handshake, refusals
from tests.golden.values import target
from tests.support.certificates import NOW, shared_key

MEGABYTE = 1_000_000


def test_a_function_is_called_once_for_the_same_bytes() -> None:
    """
    Equal ones: each handshake brings its own. The answer is the same object, and may be None.
    """
    asked: list[bytes] = []

    @remembered("words", budget=Budget())
    def words(data: bytes) -> list[str] | None:
        asked.append(data)
        return data.decode().split() or None

    first = words(b"two words")
    assert first == ["two", "words"]
    assert words(bytes(bytearray(b"two words"))) is first
    assert [words(b""), words(b"")] == [None, None]
    assert asked == [b"two words", b""]


def test_an_exception_is_not_remembered() -> None:
    """
    It is raised anew, by a new call.
    """
    asked: list[int] = []

    @remembered("broken", budget=Budget())
    def broken(number: int) -> None:
        asked.append(number)
        raise ValueError

    for _ in range(2):
        with pytest.raises(ValueError, match=r"^$"):
            broken(1)
    assert asked == [1, 1]


def test_all_caches_share_one_budget_and_what_was_used_stays() -> None:
    """
    What nobody asks for goes first, whichever cache it is in, and the sum never passes the limit.
    """
    budget = Budget(MEGABYTE)
    made: list[int] = []

    @remembered("used", lambda _value, _number: 10_000, budget=budget)
    def used(number: int) -> int:
        made.append(number)
        return number

    @remembered("new", lambda _value, _number: 30_000, budget=budget)
    def new(number: int) -> int:
        return number

    for number in range(300):
        for steady in range(20):
            used(steady)
        new(number)
        assert sum(weight for _, weight in budget.held.values()) <= MEGABYTE
    assert made == list(range(20))
    assert budget.held["used"] == (20, 20 * (10_000 + OVERHEAD))
    things, _ = budget.held["new"]
    assert things == (MEGABYTE - 20 * (10_000 + OVERHEAD)) // (30_000 + OVERHEAD)


def test_what_is_too_large_pushes_nothing_out() -> None:
    """
    It is made anew each time.
    """
    budget = Budget(MEGABYTE)
    cache: Cache[bytes] = Cache("any", budget)
    cache.put("small", b"x", 1000)
    cache.put("large", b"x", 900_000)
    assert (cache.get("small"), cache.get("large")) == (b"x", None)


def test_another_value_takes_the_place_of_the_first() -> None:
    """
    And its weight. However often that happens, nothing piles up.
    """
    budget = Budget(MEGABYTE)
    cache: Cache[int] = Cache("any", budget)
    for number in range(10_000):
        cache.put("key", number, number)
    assert cache.get("key") == 9999
    assert budget.held["any"] == (1, 9999 + OVERHEAD)
    assert len(budget._turns) == 1


def test_the_budget_fits_the_number_of_targets() -> None:
    """
    With fewer targets what is too much goes at once.
    """
    budget = Budget()
    assert budget.limit == LEAST_LIMIT
    budget.fit(100_000)
    assert budget.limit == 100_000 * LIMIT_PER_TARGET
    cache: Cache[int] = Cache("any", budget)
    for number in range(200):
        cache.put(number, number, MEGABYTE)
    assert budget.held["any"][0] == 200
    budget.fit(1)
    assert budget.limit == LEAST_LIMIT
    assert 60 < budget.held["any"][0] <= LEAST_LIMIT / MEGABYTE


def test_threads_may_use_it_at_a_time() -> None:
    """
    Nothing is counted twice or lost.
    """
    budget = Budget(100_000)

    @remembered("any", lambda _value, _number: 1000, budget=budget)
    def double(number: int) -> int:
        return 2 * number

    def use(seed: int) -> bool:
        return all(double(number * seed % 211) == 2 * (number * seed % 211) for number in range(5000))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(use, range(1, 9)))
    things, weight = budget.held["any"]
    assert weight == things * (1000 + OVERHEAD) <= 100_000
    assert things == len(budget._turns)


def test_a_size_counts_no_weak_reference() -> None:
    """
    Nor reads the slot of one, which raises TypeError in Debian 12's Python.
    """

    @dataclass(slots=True, weakref_slot=True)
    class Referred:
        text: str

    one = Referred("abc")
    alone = size(one)
    reference = weakref.ref(one)
    assert size(one) == alone
    assert reference() is one


def test_a_size_counts_each_object_once_and_what_is_apart_not_at_all() -> None:
    """
    By what Python says of each.
    """
    text, data = "x" * 1000, b"y" * 2000
    alone = sys.getsizeof(text) + sys.getsizeof(data)
    assert size(text, data, None, True) == alone
    whole = (text, [text, {data: text}], Kind.LEAF)
    shells = sum(sys.getsizeof(one) for one in (whole, whole[1], {data: text}))
    assert size(whole) == alone + shells
    assert size((text, data), apart=(bytes,)) == sys.getsizeof((text, data)) + sys.getsizeof(text)


def leaves(ca: Minted, count: int, names: int) -> list[bytes]:
    """
    So many different certificates with so many names each.
    """
    key = shared_key("ecdsa-256")
    return [
        ca.issue(f"{one}", [f"{one}-{name}.long-name.example.com" for name in range(names)], key=key).der
        for one in range(count)
    ]


def look(presented: tuple[bytes, ...], memory: Memory) -> None:
    """
    All that is remembered of a look at a server that presents these.
    """
    seen = handshake.seen_from(presented, "TLSv1.3", "TLS_AES_128_GCM_SHA256", "x", False, None)
    facts = refusals.facts(seen)
    leaf = seen.chain.leaf.der
    ocsp.must_staple(leaf)
    revocation.pointers(leaf)
    revocation.issued(leaf, presented[-1])
    trust._latest(leaf)
    memory.update(TargetResult(target(), (ProbeResult("a", Observed(facts), 0.1),), located=True), NOW)


@pytest.mark.no_cover
def test_a_new_large_certificate_at_each_handshake_does_not_grow_the_process(
    ca: Minted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What is remembered stays within the budget, by its own count and by what Python has allocated.
    """
    # As many bytes of certificates come in, and sixteen times as much is made of them.
    limit = 3 * MEGABYTE
    monkeypatch.setattr(caches.BUDGET, "_limit", limit)
    ders = leaves(ca, 10, 3200)
    assert len(ders[0]) > 90_000
    memory = Memory()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(35):
            # A new one each time, as far as anybody can tell who does not verify the signature at its end.
            presented = ders[number % 10][:-8] + os.urandom(8)
            look((presented, ca.der), memory)
            assert sum(weight for _, weight in caches.BUDGET.held.values()) <= limit
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # What is made once for the first certificate is not counted. Nothing is judged here, so more of what may
    # take turns behind the address is remembered than else, each read.
    turns = (UNJUDGED_LIMIT - LIMIT) * 3 * len(ders[0])
    assert after - before < limit + turns + 1.8 * MEGABYTE


@pytest.mark.no_cover
def test_an_ordinary_fleet_fits_the_budget(ca: Minted, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Chains of two certificates with all that is asked about them: a second round parses nothing. (Five hundred
    targets, in their share of the budget, beside some certificates that nobody shows any more.)
    """
    count = 500
    monkeypatch.setattr(caches.BUDGET, "_limit", count * LIMIT_PER_TARGET)
    memory = Memory()
    for der in leaves(ca, 3, 2300):
        look((der, ca.der), memory)
    ders = leaves(ca, count, 3)
    for _ in range(2):
        for der in ders:
            look((der, ca.der), memory)
    parsed: list[bytes] = []

    def parse(der: bytes) -> Certificate:
        parsed.append(der)
        return certificate(der)

    monkeypatch.setattr(handshake, "certificate", parse)
    for der in ders:
        look((bytes(bytearray(der)), bytes(bytearray(ca.der))), memory)
    assert parsed == []


def test_what_openssl_parsed_of_a_leaf_is_not_kept(ca: Minted) -> None:
    """
    Each target has its own, which is judged once; that of the CA stays, for all that it issued.
    """
    authority = certificate(ca.der)
    store = trust.TrustStore([authority])
    before = caches.BUDGET.held["parsed"][0]
    for der in leaves(ca, 20, 4):
        assert trust.judge((certificate(der), authority), "x", store, NOW).path
    # Names of issuers and uses of keys are there once for all.
    assert caches.BUDGET.held["parsed"][0] - before < 10


def test_the_bytes_of_an_intermediate_are_kept_once(ca: Minted) -> None:
    """
    Each server sends them, and without care they would be kept with each leaf.
    """
    ders = leaves(ca, 20, 5)
    kept = [
        handshake.seen_from((der, bytes(bytearray(ca.der))), "TLSv1.3", "x", "y", False, None) for der in ders
    ]
    [one] = {id(seen.chain.certificates[1].der) for seen in kept}
    keys = [key for key in handshake._chains.table if isinstance(key, tuple)]
    presented = [shown for shown, *_ in keys if shown[0] in ders]
    assert [id(shown[1]) for shown in presented] == [one] * len(ders)
