"""
Which certificate may be the renewal of which, whatever names they share.
"""

from dataclasses import replace
from typing import Any

import pytest

from exporter.judgement.newest import Newest, kin_of
from exporter.model.observation import Certificate
from exporter.model.policies import DAY
from tests.golden.values import certificate
from tests.support.certificates import NOW

CLIENT = frozenset({"1.3.6.1.5.5.7.3.2"})
SERVER = frozenset({"1.3.6.1.5.5.7.3.1"})

Placed = tuple[Certificate, str, bool]
"""A leaf, the target that it is at, and whether clients are shown it."""


def newer(old: Placed, new: Placed) -> bool:
    """
    True when the second is known as the renewal of the first.
    """
    newest: Newest[str] = Newest()
    for one, target, served in (old, new):
        kin = kin_of(one, target, "leaf", served=served)
        if kin is not None:
            newest.add(kin, None, one.not_after, target)
    kin = kin_of(old[0], old[1], "leaf", served=old[2])
    return kin is not None and newest.newer(kin, None, old[0].not_after) is not None


OLD = certificate(issuer="O=One", end=NOW + 5 * DAY, key="ecdsa-256")
NEW = replace(
    certificate(issuer="O=One", end=NOW + 80 * DAY, serial="2"), public_key_sha256="another", subject="CN=x"
)
ELSEWHERE = replace(NEW, issuer="O=Two", issuer_organization="O=Two")
SIGNED_ITSELF: dict[str, Any] = {"issuer": "CN=x", "issuer_organization": "CN=x", "subject": "CN=x"}
NO_NAMES: dict[str, Any] = {"dns_names": (), "subject": "CN=admin"}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        # The same issuer, whatever the key.
        ((OLD, "a", True), (NEW, "b", True), True),
        # Another one: only at the addresses of one target, with the same key, or stored and served.
        ((OLD, "a", True), (ELSEWHERE, "b", True), False),
        ((OLD, "a", True), (ELSEWHERE, "a", True), True),
        ((OLD, "a", True), (replace(ELSEWHERE, public_key_sha256=OLD.public_key_sha256), "b", True), True),
        ((OLD, "a", True), (ELSEWHERE, "b", False), True),
        ((OLD, "a", False), (ELSEWHERE, "b", True), True),
        ((OLD, "a", False), (ELSEWHERE, "b", False), False),
        # Files of one target are not one service.
        ((OLD, "a", False), (ELSEWHERE, "a", False), False),
        # Other names, another type of key, another use.
        ((OLD, "a", True), (replace(NEW, dns_names=("other.example.com",)), "b", True), False),
        ((OLD, "a", True), (replace(NEW, key_algorithm="rsa"), "b", True), False),
        ((OLD, "a", True), (replace(NEW, extended_key_usage=CLIENT), "b", False), False),
        ((OLD, "a", True), (replace(NEW, extended_key_usage=CLIENT | SERVER), "b", True), True),
        # Without names nothing is compared but the addresses of one target.
        ((replace(OLD, **NO_NAMES), "a", True), (replace(NEW, **NO_NAMES), "b", True), False),
        ((replace(OLD, **NO_NAMES), "a", True), (replace(NEW, **NO_NAMES), "b", False), False),
        ((replace(OLD, **NO_NAMES), "a", False), (replace(NEW, **NO_NAMES), "a", False), False),
        ((replace(OLD, **NO_NAMES), "a", True), (replace(NEW, **NO_NAMES), "a", True), True),
        # Who signed itself has no issuer in common with anybody, and `localhost` is another host each time.
        ((replace(OLD, **SIGNED_ITSELF), "a", True), (replace(NEW, **SIGNED_ITSELF), "b", True), False),
        (
            (replace(OLD, dns_names=("localhost",)), "a", True),
            (replace(NEW, dns_names=("localhost",)), "b", True),
            False,
        ),
    ],
)
def test_a_renewal_shares_more_than_a_name(old: Placed, new: Placed, expected: bool) -> None:
    """
    Names and use, and besides them the issuer, the key, or the place.
    """
    assert newer(old, new) is expected


def test_what_ends_later_is_found_with_its_value_and_only_then() -> None:
    """
    The latest of several; none for the latest itself, nor before another was added.
    """
    newest: Newest[str] = Newest()
    ends = {"first": 5 * DAY, "second": 50 * DAY, "third": 80 * DAY}
    kin = kin_of(OLD, "a", "leaf", served=True)
    assert kin is not None
    for name, end in ends.items():
        newest.add(kin, True, end, name)
        assert newest.newer(kin, True, end) is None
        assert newest.newer(kin, True, 5 * DAY) == ((end, name) if name != "first" else None)


def test_what_clients_refuse_renews_only_what_they_refuse() -> None:
    """
    Unless they accept none of them.
    """
    newest: Newest[str] = Newest()
    kin = kin_of(OLD, "a", "leaf", served=True)
    assert kin is not None
    newest.add(kin, None, 5 * DAY, "file")
    newest.add(kin, False, 80 * DAY, "refused")
    assert newest.newer(kin, None, 5 * DAY) == (80 * DAY, "refused")
    newest.add(kin, True, 40 * DAY, "trusted")
    assert newest.newer(kin, None, 5 * DAY) == (40 * DAY, "trusted")
    assert newest.newer(kin, False, 5 * DAY) == (80 * DAY, "refused")
    assert newest.newer(kin, True, 40 * DAY) is None
