"""
Trust that was judged before: a chain is verified once for all hosts that show it, and anew when time says so.
"""

from typing import Any

import pytest

from exporter.demo.minter import root
from exporter.model.observation import Certificate
from exporter.model.reasons import Fault
from exporter.pki import trust
from exporter.pki.certificates import certificate
from exporter.pki.trust import TrustStore, judge
from tests.support.certificates import DAY, NOW

AUTHORITY = root("Root", not_before=NOW - 1000 * DAY, not_after=NOW + 1000 * DAY)
ISSUER = AUTHORITY.issue("Issuer", ca=True, not_before=NOW - 9 * DAY, not_after=NOW + 9 * DAY)
STORE = TrustStore.from_pem(AUTHORITY.pem)


def faults(chain: tuple[Certificate, ...], name: str, now: float = NOW) -> list[Fault]:
    """
    The faults of this chain for a host of this name.
    """
    return [one.fault for one in judge(chain, name, STORE, now).faults]


def test_a_chain_of_many_hosts_is_verified_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Each host has its own fault of the name.
    """
    verified: list[Certificate] = []
    verify = trust._verify

    def counted(leaf: Certificate, *rest: Any) -> Any:
        verified.append(leaf)
        return verify(leaf, *rest)

    monkeypatch.setattr(trust, "_verify", counted)
    wildcard = ISSUER.issue("Wildcard", ["*.example.com"], not_before=NOW - 2 * DAY, not_after=NOW + 2 * DAY)
    chain = certificate(wildcard.der), certificate(ISSUER.der)
    hosts = [f"{number}.example.com" for number in range(20)]
    assert [faults(chain, host) for host in hosts] == [[]] * 20
    assert faults(chain, "example.net") == [Fault.NAME_MISMATCH]
    assert len(verified) == 1
    later = chain[0].not_after + 1
    assert [faults(chain, host, later) for host in hosts] == [[Fault.EXPIRED]] * 20
    assert faults(chain, "example.net", later) == [Fault.EXPIRED, Fault.NAME_MISMATCH]
    assert len(verified) == 2
    stranger = TrustStore.from_pem(root("Stranger", not_before=NOW - DAY, not_after=NOW + DAY).pem)
    assert judge(chain, hosts[0], stranger, NOW).path == ()


def test_what_was_judged_before_changes_no_judgement() -> None:
    """
    At any time, in any order, it is as if the chain were judged for the first time.
    """
    leaf = ISSUER.issue("www.example.com", [], not_before=NOW - 20 * DAY, not_after=NOW + 20 * DAY)
    chain = certificate(leaf.der), certificate(ISSUER.der)
    ends = [end for it in (*chain, *STORE.anchors) for end in (it.not_before, it.not_after, it.not_after + 1)]
    times = [moment + step for moment in (*ends, NOW) for step in (-1, 0, 1)]
    times += reversed(times)
    known = [judge(chain, "www.example.com", STORE, now) for now in times]
    for now, found in zip(times, known, strict=True):
        trust._judge_chain.cache_clear()
        assert judge(chain, "www.example.com", STORE, now) == found
        assert found.valid_from <= now < found.valid_until
