"""
Revocation lists: whose they are, what they are about, and who is on them.
"""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from exporter.demo.minter import Minted
from exporter.pki import revocation
from exporter.pki.certificates import certificate
from exporter.pki.revocation import RevocationError, RevocationList, loaded, read_list
from tests.lookups.revocation.making import issuer_of, place, revocation_list
from tests.support.certificates import (
    DAY,
    ECDSA_WITH_SHA256,
    NOW,
    SERIAL,
    authority,
    children,
    generalized_time,
    name_of,
    parts_of,
    remade,
    signed,
    tlv,
    utc_time,
)

URL = "http://crl.example/a.crl"
KEY_COMPROMISE = x509.ReasonFlags.key_compromise


@pytest.fixture(scope="module")
def leaf(ca: Minted) -> Minted:
    """
    A certificate that may be on a list.
    """
    return ca.issue("www.example", ["www.example"])


def read(data: bytes, ca: Minted) -> RevocationList:
    """
    The list, got from URL.
    """
    return read_list(data, ca.certificate, URL)


def refused(data: bytes, ca: Minted) -> str:
    """
    Why the list is none to go by.
    """
    with pytest.raises(RevocationError) as error:
        read(data, ca)
    return str(error.value)


def reason(found: RevocationList, minted: Minted) -> str | None:
    """
    What the list says of this certificate.
    """
    return found.reason(certificate(minted.der))


def test_an_empty_list_has_its_dates_and_nobody_on_it(ca: Minted, leaf: Minted) -> None:
    """
    Most lists of small authorities are empty.
    """
    found = read(revocation_list(ca), ca)
    assert (found.this_update, found.next_update, len(found)) == (NOW - DAY, NOW + 6 * DAY, 0)
    assert reason(found, leaf) is None


def test_who_is_on_the_list_is_found_with_the_reason(ca: Minted, leaf: Minted) -> None:
    """
    In the words of RFC 5280; empty where the list has none.
    """
    other = ca.issue("other.example")
    serials = {leaf.certificate.serial_number: KEY_COMPROMISE, other.certificate.serial_number: None, 1: None}
    found = read(revocation_list(ca, serials), ca)
    assert (reason(found, leaf), reason(found, other)) == ("keyCompromise", "")
    assert reason(found, ca.issue("third.example")) is None
    assert reason(found, ca.issue("first.example", serial=1)) == ""


def test_many_serial_numbers_of_every_length_are_told_apart(ca: Minted) -> None:
    """
    What is on the list is found, and its neighbours are not.
    """
    serials = [1, 0x7F, 0x80, 0xFF, 0x100, *(3**power for power in range(20, 100, 3)), 2**159 - 1]
    found = read(revocation_list(ca, dict.fromkeys(serials)), ca)
    assert len(found) == len(serials)
    for serial in serials:
        assert reason(found, ca.issue("a", serial=serial)) == ""
        if serial + 1 not in serials and serial + 1 < 2**159:
            assert reason(found, ca.issue("a", serial=serial + 1)) is None


def test_what_is_sorted_in_parts_is_in_order(ca: Minted, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A list of a million is not sorted at once, and all on it are found all the same.
    """
    monkeypatch.setattr(revocation, "SORTED_AT_ONCE", 3)
    revoked = [ca.issue(f"{number}", [f"{number}"]) for number in range(10)]
    serials: dict[int, x509.ReasonFlags | None] = {one.certificate.serial_number: None for one in revoked}
    found = read(revocation_list(ca, serials), ca)
    assert [reason(found, one) for one in revoked] == [""] * 10
    rows = [found.rows[at : at + found.width] for at in range(0, len(found.rows), found.width)]
    assert rows == sorted(rows)


def test_a_long_serial_number_is_not_on_a_list_of_short_ones(ca: Minted, leaf: Minted) -> None:
    """
    Whatever the last bytes of it are.
    """
    found = read(revocation_list(ca, {leaf.certificate.serial_number & 0xFFFF | 1: None}), ca)
    assert reason(found, leaf) is None


def test_a_list_may_be_pem(ca: Minted, leaf: Minted) -> None:
    """
    RFC 5280 says DER, and some authorities do not care.
    """
    der = revocation_list(ca, {leaf.certificate.serial_number: None})
    pem = x509.load_der_x509_crl(der).public_bytes(Encoding.PEM)
    text = b"Certificate Revocation List (CRL):\n        Version 2 (0x1)\n"
    for before in (b"", b"\n", b"\xef\xbb\xbf", text):
        assert reason(read(before + pem, ca), leaf) == ""
    assert "there is no X509 CRL block in it" in refused(b"<html>", ca)


def test_a_serial_number_may_be_negative(ca: Minted, leaf: Minted) -> None:
    """
    It must not be, and OpenSSL takes such a certificate: it may be revoked as well as others.
    """
    body, *_ = children(revocation_list(ca, {5: None, 2**100: None}))
    listed = signed(tlv(0x30, b"".join(children(body)).replace(b"\x30\x12\2\1\5", b"\x30\x12\2\1\x85")), ca)
    found = read(listed, ca)
    assert reason(found, remade(leaf, {SERIAL: b"\2\1\x85"})) == ""
    assert reason(found, remade(leaf, {SERIAL: b"\2\2\xff\x85"})) == ""
    for other in (b"\2\1\5", b"\2\2\0\x85", b"\2\1\x86"):
        assert reason(found, remade(leaf, {SERIAL: other})) is None


@pytest.mark.parametrize(
    ("extension", "of_leaf", "of_ca"),
    [
        (place(URL), "", ""),
        (place("http://other.example/", URL), "", ""),
        (place(URL, user=True), "", None),
        (place(URL, ca=True), None, ""),
        (place(user=True), "", None),
    ],
    ids=["all", "two places", "users", "authorities", "users, no place"],
)
def test_a_list_tells_only_of_what_it_is_about(
    ca: Minted,
    leaf: Minted,
    extension: tuple[x509.ExtensionType, bool],
    of_leaf: str | None,
    of_ca: str | None,
) -> None:
    """
    One of servers has no word on authorities, and the other way round.
    """
    below = ca.issue("Sub CA", ca=True)
    serials = {leaf.certificate.serial_number: None, below.certificate.serial_number: None}
    found = read(revocation_list(ca, serials, extensions=[extension]), ca)
    assert (reason(found, leaf), reason(found, below)) == (of_leaf, of_ca)


@pytest.mark.parametrize(
    ("extensions", "words"),
    [
        ([place("http://other.example/b.crl")], "another place"),
        ([place(URL, indirect=True)], "other issuers"),
        ([place(URL, attribute=True)], "other issuers"),
        ([place(URL, reasons=frozenset({KEY_COMPROMISE}))], "other issuers"),
        ([(x509.DeltaCRLIndicator(1), True)], "not known here: 2.5.29.27"),
    ],
    ids=["another place", "indirect", "attributes", "some reasons", "delta"],
)
def test_lists_of_other_kinds_are_none_to_go_by(
    ca: Minted, extensions: list[tuple[x509.ExtensionType, bool]], words: str
) -> None:
    """
    Somebody who is not on them may still be revoked.
    """
    assert words in refused(revocation_list(ca, extensions=extensions), ca)


def test_a_list_that_the_issuer_did_not_sign(ca: Minted) -> None:
    """
    In its name, or in another's.
    """
    stranger = authority("Stranger")
    assert "signature" in refused(revocation_list(ca, signer=stranger), ca)
    assert "another issuer" in refused(revocation_list(stranger), ca)


def test_the_list_of_an_issuer_with_another_key(ca: Minted) -> None:
    """
    The name alone is not enough.
    """
    namesake = issuer_of(ca).issue(ca.certificate.subject, ca=True)
    assert "signature" in refused(revocation_list(namesake), ca)


@pytest.mark.parametrize("data", [b"", b"<html>", b"-----BEGIN X509 CRL-----", b"\x30\x84\xff\xff\xff\xff"])
def test_what_is_no_list(ca: Minted, data: bytes) -> None:
    """
    An error page, say.
    """
    assert "no revocation list" in refused(data, ca)


def test_a_cut_list_is_none_to_go_by(ca: Minted, leaf: Minted) -> None:
    """
    Wherever the download broke off.
    """
    whole = revocation_list(ca, {leaf.certificate.serial_number: None})
    for end in range(0, len(whole), 7):
        refused(whole[:end], ca)


# Lists that the library does not read, and OpenSSL does.

COMMON_NAME, UNIT = "0603550403", "060355040b"
PRINTABLE, UTF8 = 0x13, 0x0C

ODD_NAMES = {
    "an ampersand": (name_of([(COMMON_NAME, PRINTABLE, b"AT&T Issuing CA")]), "CN=AT&T Issuing CA"),
    "an underline": (name_of([(COMMON_NAME, PRINTABLE, b"CORP_ISSUING_CA")]), "CN=CORP_ISSUING_CA"),
    "an at sign": (name_of([(COMMON_NAME, PRINTABLE, b"ca@corp")]), "CN=ca@corp"),
    "out of order": (
        name_of([(COMMON_NAME, UTF8, b"Issuing CA"), (UNIT, UTF8, b"ops")]),
        "OU=ops+CN=Issuing CA",
    ),
}
"""Names of authorities as encoded, and how they are told."""


def listed(
    ca: Minted, issuer: bytes, *entries: bytes, times: bytes = b"", algorithm: bytes = ECDSA_WITH_SHA256
) -> bytes:
    """
    A revocation list, encoded by hand, with the usual dates unless the test says otherwise.
    """
    times = times or utc_time("270114080000Z") + utc_time("270121080000Z")
    revoked = tlv(0x30, b"".join(entries)) if entries else b""
    return signed(tlv(0x30, bytes.fromhex("020101") + algorithm + issuer + times + revoked), ca)


def entry(minted: Minted, time: bytes) -> bytes:
    """
    The entry of a revoked certificate.
    """
    return tlv(0x30, parts_of(minted)[1] + time)


@pytest.mark.parametrize(("name", "told"), ODD_NAMES.values(), ids=list(ODD_NAMES))
def test_a_list_of_an_issuer_with_an_odd_name_is_read(
    ca: Minted, leaf: Minted, name: bytes, told: str
) -> None:
    """
    Many authorities have such a name: their lists are read as their certificates are, and count.
    """
    issuer = remade(ca, {5: name})
    assert certificate(issuer.der).subject == told
    found = read_list(listed(ca, name, entry(leaf, utc_time("270114080000Z"))), loaded(issuer.der), URL)
    assert (found.this_update, found.next_update) == (NOW - DAY, NOW + 6 * DAY)
    assert found.reason(certificate(leaf.der)) == ""
    with pytest.raises(RevocationError, match="signature"):
        read_list(listed(authority(), name), loaded(issuer.der), URL)
    with pytest.raises(RevocationError, match="another issuer"):
        read_list(listed(ca, name), ca.certificate, URL)


@pytest.mark.parametrize(
    ("this_update", "next_update"),
    [
        (utc_time("270114090000+0100"), utc_time("270121080000Z")),
        (utc_time("2701140800Z"), utc_time("2701210800Z")),
        (generalized_time("20270114080000.5Z"), generalized_time("20270121080000.25Z")),
    ],
)
def test_a_list_with_odd_dates_is_read(
    ca: Minted, leaf: Minted, this_update: bytes, next_update: bytes
) -> None:
    """
    Its own dates and those of its entries may have the forms that those of certificates have.
    """
    issuer = parts_of(ca)[5]
    data = listed(ca, issuer, entry(leaf, this_update), times=this_update + next_update)
    found = read(data, ca)
    assert (found.this_update, found.next_update) == (NOW - DAY, NOW + 6 * DAY)
    assert reason(found, leaf) == ""
    assert reason(found, ca.issue("other", ["other"])) is None


def test_a_list_without_a_date_is_refused(ca: Minted) -> None:
    """
    It can't be told from an old one.
    """
    assert "does not say when it was made" in refused(listed(ca, parts_of(ca)[5], times=tlv(0x05, b"")), ca)
