"""
Staples that real servers send, from the handshake to the verdict.
"""

from pathlib import Path

from exporter.demo.minter import Minted
from exporter.model.observation import Item
from exporter.model.policies import MANUAL
from exporter.model.reasons import Kind
from tests.lookups.revocation.making import MUST_STAPLE, REVOKED, issuer_of, response
from tests.probes.tls.wire.probing import NAME, facts, items, see, told
from tests.support.certificates import DAY, NOW, authority, shared_key
from tests.support.servers import Site, haproxy, nginx


def test_a_good_staple_is_an_item_with_deadlines(tmp_path: Path, ca: Minted, anchors: str) -> None:
    """
    After the certificates, and with the policy of signatures.
    """
    leaf = ca.issue(NAME, [NAME])
    with nginx(tmp_path, Site([leaf.chain], staple=response(leaf))) as server:
        row = see(server, ca_file=anchors)
    assert told(row) == ("seen",)
    assert facts(row).items[-1] == Item("staple", Kind.OCSP, NOW - DAY, NOW + 6 * DAY)
    assert row.verdict is not None
    assert row.verdict.items[-1].policy.name == "signature"
    assert row.verdict.items[-1].deadlines is not None


def test_the_policy_of_a_target_is_not_that_of_its_staples(tmp_path: Path, ca: Minted, anchors: str) -> None:
    """
    It says how the certificate is renewed. A staple of a week would always be late by it.
    """
    leaf = ca.issue(NAME, [NAME])
    with nginx(tmp_path, Site([leaf.chain], staple=response(leaf))) as server:
        row = see(server, ca_file=anchors, policy=MANUAL, matches=())
    assert row.verdict is not None
    policies = {judged.item.name: judged.policy.name for judged in row.verdict.items}
    assert policies == {"leaf": "manual", "chain-1": "manual", "staple": "signature"}


def test_a_server_that_staples_nothing_claims_nothing(tmp_path: Path, ca: Minted, anchors: str) -> None:
    """
    Neither good nor bad.
    """
    with nginx(tmp_path, Site([ca.issue(NAME, [NAME]).chain])) as server:
        row = see(server, ca_file=anchors)
    assert told(row) == ("seen",)
    assert items(row) == ["leaf", "chain-1"]


def test_must_staple_without_a_staple_is_a_fault(tmp_path: Path, ca: Minted, anchors: str) -> None:
    """
    With a staple it is none.
    """
    leaf = ca.issue(NAME, [NAME], extensions=[MUST_STAPLE])
    with nginx(tmp_path, Site([leaf.chain])) as server:
        assert told(see(server, ca_file=anchors)) == ("seen", "staple_missing")
    with nginx(tmp_path, Site([leaf.chain], staple=response(leaf))) as server:
        assert told(see(server, ca_file=anchors)) == ("seen",)


def test_a_staple_that_has_ended_shows_by_its_end(tmp_path: Path, ca: Minted, anchors: str) -> None:
    """
    It is an item like others, and alerts like them.
    """
    leaf = ca.issue(NAME, [NAME])
    old = response(leaf, this_update=NOW - 8 * DAY, next_update=NOW - DAY)
    with nginx(tmp_path, Site([leaf.chain], staple=old)) as server:
        row = see(server, ca_file=anchors)
    assert told(row) == ("seen",)
    assert facts(row).items[-1].not_after == NOW - DAY


def test_an_ended_staple_is_a_fault_where_one_is_demanded(tmp_path: Path, ca: Minted, anchors: str) -> None:
    """
    Clients that enforce must-staple refuse it as if there were none. On its last second it is still good.
    """
    leaf = ca.issue(NAME, [NAME], extensions=[MUST_STAPLE])
    for end, expected in ((NOW - 1, ("seen", "staple_invalid")), (NOW, ("seen",))):
        staple = response(leaf, this_update=NOW - 8 * DAY, next_update=end)
        with nginx(tmp_path, Site([leaf.chain], staple=staple)) as server:
            row = see(server, ca_file=anchors)
        assert told(row) == expected
        assert facts(row).items[-1] == Item("staple", Kind.OCSP, NOW - 8 * DAY, end)
        if len(expected) > 1:
            assert row.verdict is not None
            assert "past its next update" in row.verdict.faults[0].detail


def test_a_revoked_certificate_is_refused(tmp_path: Path, ca: Minted, anchors: str) -> None:
    """
    The server itself says so.
    """
    leaf = ca.issue(NAME, [NAME])
    with nginx(tmp_path, Site([leaf.chain], staple=response(leaf, status=REVOKED))) as server:
        row = see(server, ca_file=anchors)
    assert told(row) == ("seen", "revoked")
    assert "staple" in items(row)


def test_a_staple_of_another_certificate_is_a_fault(tmp_path: Path, ca: Minted, anchors: str) -> None:
    """
    As after a renewal, when the server goes on with the staple of the old one.
    """
    leaf, before = ca.issue(NAME, [NAME]), ca.issue(NAME, [NAME])
    with nginx(tmp_path, Site([leaf.chain], staple=response(before))) as server:
        row = see(server, ca_file=anchors)
    assert told(row) == ("seen", "staple_invalid")
    assert items(row) == ["leaf", "chain-1"]


def test_the_issuer_may_be_a_trust_anchor(tmp_path: Path, ca: Minted, anchors: str) -> None:
    """
    A private authority without intermediates: its own certificate is not presented.
    """
    leaf = issuer_of(ca).issue(NAME, [NAME])
    with nginx(tmp_path, Site([leaf.chain], staple=response(leaf))) as server:
        row = see(server, ca_file=anchors)
    assert told(row) == ("seen",)
    assert items(row) == ["leaf", "staple"]


def test_a_staple_whose_issuer_is_nowhere_claims_nothing(tmp_path: Path, ca: Minted) -> None:
    """
    Its signature can't be looked at. That the chain is not trusted is said anyway.
    """
    nowhere = authority("Nowhere")
    other = tmp_path / "other.pem"
    other.write_bytes(issuer_of(nowhere).pem)
    leaf = ca.issue(NAME, [NAME])
    with nginx(tmp_path, Site([[leaf]], staple=response(leaf, status=REVOKED))) as server:
        row = see(server, ca_file=str(other))
    assert told(row) == ("seen", "missing_intermediate")
    assert items(row) == ["leaf"]


def test_the_staple_of_one_of_two_certificates(tmp_path: Path, ca: Minted, anchors: str) -> None:
    """
    It is called like the certificate that it came with.
    """
    by_rsa = ca.issue(NAME, [NAME], key=shared_key("rsa-2048"))
    with nginx(tmp_path, Site([by_rsa.chain], staple=response(by_rsa))) as server:
        row = see(server, ca_file=anchors, keys="both")
    assert items(row) == ["leaf-rsa", "chain-rsa-1", "staple-rsa"]


def of_any_day(leaf: Minted) -> bytes:
    """
    A response that is valid for long: HAProxy staples none that is not, by the clock of the day.
    """
    return response(leaf, this_update=NOW - 2000 * DAY, next_update=NOW + 10_000 * DAY)


def test_each_of_two_certificates_has_its_staple(tmp_path: Path, ca: Minted, anchors: str) -> None:
    """
    HAProxy staples to each its own; nginx staples one file to both, which clients of the second refuse.
    """
    by_rsa = ca.issue(NAME, [NAME], key=shared_key("rsa-2048"))
    by_ecdsa = ca.issue(NAME, [NAME])
    for number, one in enumerate((by_rsa, by_ecdsa)):
        (tmp_path / f"haproxy-{number}.bundle.ocsp").write_bytes(of_any_day(one))
    with haproxy(tmp_path, by_rsa.chain, by_ecdsa.chain) as server:
        row = see(server, ca_file=anchors, keys="both")
    assert told(row) == ("seen",)
    leaves = ["leaf-rsa", "chain-rsa-1", "leaf-ecdsa", "chain-ecdsa-1"]
    assert items(row) == [*leaves, "staple-rsa", "staple-ecdsa"]
    with nginx(tmp_path, Site([by_rsa.chain, by_ecdsa.chain], staple=response(by_rsa))) as server:
        row = see(server, ca_file=anchors, keys="both")
    assert told(row) == ("seen", "staple_invalid")
    assert items(row) == [*leaves, "staple-rsa"]


def test_the_second_certificate_may_be_the_revoked_one(tmp_path: Path, ca: Minted, anchors: str) -> None:
    """
    Or the one that demands a staple.
    """
    by_rsa = ca.issue(NAME, [NAME], key=shared_key("rsa-2048"))
    by_ecdsa = ca.issue(NAME, [NAME], extensions=[MUST_STAPLE])
    (tmp_path / "haproxy-0.bundle.ocsp").write_bytes(of_any_day(by_rsa))
    with haproxy(tmp_path, by_rsa.chain, by_ecdsa.chain) as server:
        row = see(server, ca_file=anchors, keys="both")
    assert told(row) == ("seen", "staple_missing")
    with nginx(
        tmp_path, Site([by_rsa.chain, by_ecdsa.chain], staple=response(by_ecdsa, status=REVOKED))
    ) as at:
        row = see(at, ca_file=anchors, keys="both")
    assert told(row) == ("seen", "revoked", "staple_invalid")
    assert items(row)[-1] == "staple-ecdsa"
