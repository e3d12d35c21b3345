"""
Whatever comes, the parsers give an answer or RevocationError, and a forged byte never makes a revocation.
"""

import contextlib

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from exporter.pki.certificates import certificate
from exporter.pki.ocsp import must_staple, read_response
from exporter.pki.revocation import RevocationError, pointers, read_list
from tests.lookups.revocation.making import (
    MUST_STAPLE,
    REVOKED,
    issuer_of,
    lists_at,
    responder,
    responders_at,
    response,
    revocation_list,
)
from tests.support.certificates import authority

# Thousands of inputs for the same lines: tracing these would only multiply their time.
pytestmark = pytest.mark.no_cover

CA = authority()
LEAF = CA.issue("www.example", ["www.example"])
GOOD_RESPONSE = response(LEAF)
RESPONSES = [
    GOOD_RESPONSE,
    response(LEAF, status=REVOKED, reason=x509.ReasonFlags.superseded),
    response(LEAF, signer=responder(CA), with_signer=True),
]
OTHERS = dict.fromkeys(range(1, 50))
GOOD_LIST = revocation_list(CA, OTHERS)
LISTS = [GOOD_LIST, revocation_list(CA, {LEAF.certificate.serial_number: x509.ReasonFlags.key_compromise})]
URL = "http://crl.example/"
CERTIFICATE = CA.issue("a.example", extensions=[MUST_STAPLE, lists_at(URL), responders_at(URL)]).der

flips = st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), min_size=1, max_size=4)


def flipped(data: bytes, changes: list[tuple[int, int]]) -> bytes:
    """
    The data with some bits of some bytes turned over.
    """
    changed = bytearray(data)
    for place, bits in changes:
        changed[place % len(changed)] ^= bits
    return bytes(changed)


def read_both(data: bytes) -> None:
    """
    Both parsers; each may refuse it.
    """
    with contextlib.suppress(RevocationError):
        read_response(data, LEAF.der, CA.der)
    with contextlib.suppress(RevocationError):
        read_list(data, CA.certificate, URL)


@given(st.binary(max_size=2000))
def test_any_bytes_are_refused_with_words(data: bytes) -> None:
    """
    Nothing but RevocationError is raised.
    """
    read_both(data)


@given(st.sampled_from(RESPONSES + LISTS), st.data())
def test_cut_off_anywhere(whole: bytes, data: st.DataObject) -> None:
    """
    No part of a response or list is one.
    """
    part = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with pytest.raises(RevocationError):
        read_response(part, LEAF.der, CA.der)
    with pytest.raises(RevocationError):
        read_list(part, CA.certificate, URL)


@given(st.sampled_from(RESPONSES + LISTS), flips)
def test_turned_bits_are_no_surprise(whole: bytes, changes: list[tuple[int, int]]) -> None:
    """
    Wherever they are.
    """
    read_both(flipped(whole, changes))


@given(flips)
def test_no_forgery_revokes(changes: list[tuple[int, int]]) -> None:
    """
    A response or list that says good says so, or nothing, whatever was done to it on the way.
    """
    with contextlib.suppress(RevocationError):
        assert read_response(flipped(GOOD_RESPONSE, changes), LEAF.der, CA.der).revoked_at is None
    with contextlib.suppress(RevocationError):
        found = read_list(flipped(GOOD_LIST, changes), CA.certificate, URL)
        assert found.reason(certificate(LEAF.der)) is None


@given(flips)
def test_turned_bits_of_a_certificate(changes: list[tuple[int, int]]) -> None:
    """
    What can't be read names nothing and demands nothing; nothing is raised.
    """
    odd = flipped(CERTIFICATE, changes)
    must_staple(odd)
    assert all(url.lower().startswith("http://") for url in pointers(odd).crl_urls + pointers(odd).ocsp_urls)


def test_a_large_list_is_kept_small() -> None:
    """
    Some twenty bytes for each entry, and the last of them is found.
    """
    ca = issuer_of(LEAF)
    serials = [(number << 100) + 12345 for number in range(1, 20_001)]
    found = read_list(revocation_list(ca, dict.fromkeys(serials)), ca.certificate, URL)
    assert len(found) == 20_000
    assert len(found.rows) <= 21 * 20_000
    last = ca.issue("last.example", serial=serials[-1])
    assert found.reason(certificate(last.der)) == ""
