"""
What DNS records mean: signatures, CAA, TLSA. Values only.
"""

import hashlib
import struct

import dns.dnssec
import dns.exception
import dns.message
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from hypothesis import given
from hypothesis import strategies as st

from exporter.demo.minter import Minted
from exporter.lookups.tlsa import tlsa_mismatch
from exporter.net.dns import Reply, ResolutionError, read
from exporter.net.dns_records import (
    IDENTIFIERS,
    KNOWN_TAGS,
    Caa,
    Signature,
    Tlsa,
    caa_refusal,
    climb,
    key_tag,
    signature_item,
    some,
)
from exporter.pki.certificates import certificate
from tests.support.certificates import VALIDITY, remade, utc_time, validity

OURS = frozenset({"letsencrypt.org"})


def issue(value: str, tag: str = "issue", flags: int = 0) -> Caa:
    """
    One CAA record.
    """
    return Caa(flags, tag, value)


@pytest.mark.parametrize(
    ("records", "wildcard", "refusal"),
    [
        ([], False, None),
        ([issue("letsencrypt.org")], False, None),
        ([issue(" LetsEncrypt.ORG ; validationmethods=dns-01")], False, None),
        ([issue("ca.example")], False, "only ca.example"),
        ([issue("b.example"), issue("a.example; x=y")], False, "only a.example, b.example"),
        ([issue("ca.example"), issue("letsencrypt.org")], False, None),
        ([issue(";")], False, "nobody"),
        ([issue("")], False, "nobody"),
        ([issue("letsencrypt.org", "ISSUE")], False, None),
        ([issue("ca.example", "issuewild")], False, None),
        ([issue("ca.example", "issuewild")], True, "only ca.example"),
        ([issue("letsencrypt.org"), issue(";", "issuewild")], True, "nobody"),
        ([issue("ca.example"), issue("letsencrypt.org", "issuewild")], True, None),
        ([issue("ca.example")], True, "only ca.example"),
        ([issue("mailto:a@example.test", "iodef")], False, None),
        ([issue("ca.example", "issuemail", 128)], False, None),
        ([issue("x", "tbs", 0), issue("letsencrypt.org")], False, None),
        ([issue("x", "tbs", 128), issue("letsencrypt.org")], False,
         "nobody who does not understand the critical property 'tbs'"),
        ([issue(f"ca{number}.example") for number in range(1, 6)], False,
         "only ca1.example, ca2.example, ca3.example and 2 more"),
        ([issue("ca\n.example")], False, r"only ca\n.example"),
    ],
)  # fmt: skip
def test_who_may_issue(records: list[Caa], wildcard: bool, refusal: str | None) -> None:
    """
    As RFC 8659 sections 4.2 to 4.5 have it.
    """
    assert caa_refusal(records, wildcard=wildcard, identifiers=OURS) == refusal


@given(st.integers(0, 65535), st.sampled_from([8, 13, 15]), st.binary(min_size=1, max_size=300))
def test_key_tags_are_those_of_dnspython(flags: int, algorithm: int, key: bytes) -> None:
    """
    A second implementation of RFC 4034 appendix B agrees.
    """
    wire = struct.pack("!HBB", flags, 3, algorithm) + key
    record = dns.rdata.from_wire(dns.rdataclass.IN, dns.rdatatype.DNSKEY, wire, 0, len(wire))
    assert isinstance(record, DNSKEY)

    assert key_tag(wire) == dns.dnssec.key_id(record)


@given(
    st.lists(
        st.builds(Caa, st.integers(0, 255), st.sampled_from([*sorted(KNOWN_TAGS), "x"]), st.text(max_size=20))
    ),
    st.booleans(),
)
def test_our_own_permission_is_never_lost_among_others(records: list[Caa], wildcard: bool) -> None:
    """
    Where no unknown property is critical, a record that permits us permits us, whatever else is there.
    """
    harmless = [one for one in records if one.tag in KNOWN_TAGS]
    ours = [issue("letsencrypt.org"), issue("letsencrypt.org", "issuewild")]

    assert caa_refusal([*harmless, *ours], wildcard=wildcard, identifiers=OURS) is None


def test_records_are_looked_for_upwards() -> None:
    """
    The nearest name first; a wildcard begins at its parent (RFC 8659 section 3).
    """
    assert climb("www.shop.example.test") == (
        "www.shop.example.test",
        "shop.example.test",
        "example.test",
        "test",
    )
    assert climb("*.example.test") == ("example.test", "test")
    assert climb("test") == ("test",)


def test_each_authority_has_names_in_caa_records() -> None:
    """
    The map is by lower-case organization, and every identifier is a domain name in lower case.
    """
    assert "let's encrypt" in IDENTIFIERS
    for organization, names in IDENTIFIERS.items():
        assert organization == organization.lower()
        assert names
        assert all(name == name.lower() and "." in name for name in names)


def test_the_signature_that_ends_first_counts() -> None:
    """
    Of those by keys that are published: what an old key signed is no longer renewed, and not needed.
    """
    signatures = [
        Signature("SOA", 1, 100.0, 900.0),
        Signature("DNSKEY", 2, 50.0, 500.0),
        Signature("NS", 3, 0.0, 10.0),
    ]

    item = signature_item(signatures, {1, 2})

    assert item is not None
    assert (item.not_before, item.not_after) == (50.0, 500.0)
    assert signature_item(signatures, set()) is None
    assert signature_item([], {1}) is None


def spki(minted: Minted) -> bytes:
    """
    The public key as it is in the certificate.
    """
    return minted.certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize("usage", [1, 3])
@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("matching", [0, 1, 2])
def test_records_of_the_servers_own_certificate_are_compared(
    ca: Minted, usage: int, selector: int, matching: int
) -> None:
    """
    Whole, or by SHA-256 or SHA-512; the certificate or its key (RFC 6698 section 2.1).
    """

    def record(minted: Minted) -> Tlsa:
        content = minted.der if selector == 0 else spki(minted)
        digests = (content, hashlib.sha256(content).digest(), hashlib.sha512(content).digest())
        return Tlsa(usage, selector, matching, digests[matching])

    served, other = ca.issue("a", ["a.test"]), ca.issue("b", ["b.test"])
    chain = [certificate(one.der) for one in served.chain]

    assert tlsa_mismatch([record(served)], chain) is None
    assert tlsa_mismatch([record(other)], chain) is not None
    assert tlsa_mismatch([record(other), record(served)], chain) is None
    # The CA's certificate is not the server's.
    assert tlsa_mismatch([record(ca)], chain) is not None


def test_records_of_an_authority_are_compared_with_what_is_presented(ca: Minted) -> None:
    """
    DANE-TA by digest must be presented (RFC 7671 section 5.2); PKIX-TA may be the root that clients have.
    """
    assert ca.issuer is not None
    chain = [certificate(one.der) for one in ca.issue("a", ["a.test"]).chain]

    def record(usage: int, minted: Minted, matching: int = 1) -> Tlsa:
        return Tlsa(usage, 0, matching, hashlib.sha256(minted.der).digest() if matching else minted.der)

    assert tlsa_mismatch([record(2, ca)], chain) is None
    assert tlsa_mismatch([record(2, ca.issuer)], chain) is not None
    assert tlsa_mismatch([record(2, ca.issuer, matching=0)], chain) is None
    assert tlsa_mismatch([record(0, ca.issuer)], chain) is None


def test_the_key_of_a_certificate_that_strict_clients_refuse_is_compared(ca: Minted) -> None:
    """
    Whatever else of it is odd, the record is about its key.
    """
    dates = validity(utc_time("2701140800Z"), utc_time("270413080000+0000"))
    odd = remade(ca.issue("a", ["a.test"]), {VALIDITY: dates})
    record = Tlsa(3, 1, 2, hashlib.sha512(spki(odd)).digest())
    assert tlsa_mismatch([record], [certificate(odd.der)]) is None


@pytest.mark.parametrize("odd", [Tlsa(4, 1, 1, b""), Tlsa(3, 2, 1, b""), Tlsa(3, 1, 9, b"")])
def test_records_that_no_client_understands_mean_nothing(ca: Minted, odd: Tlsa) -> None:
    """
    RFC 6698 section 4.1: they are unusable, as if they were not there.
    """
    assert tlsa_mismatch([odd], [certificate(ca.der)]) is None
    assert tlsa_mismatch([], [certificate(ca.der)]) is None


@given(
    st.lists(
        st.builds(
            Tlsa, st.integers(0, 255), st.integers(0, 255), st.integers(0, 255), st.binary(max_size=70)
        ),
        max_size=5,
    )
)
def test_any_records_are_judged(ca: Minted, records: list[Tlsa]) -> None:
    """
    Nothing that a zone can hold raises.
    """
    found = tlsa_mismatch(records, [certificate(ca.der)])
    assert found is None or len(found) < 200


def test_a_few_names_stand_for_many() -> None:
    """
    A certificate for hundreds of names does not make a sentence of hundreds.
    """
    assert some(["a"]) == "a"
    assert some(["a", "b", "c"]) == "a, b, c"
    assert some(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"


def answer(text: str) -> Reply:
    """
    A DNS message, as it would come, read.
    """
    return read(dns.message.from_text(text))[0]


QUESTION = "id 1\nopcode QUERY\nrcode {}\nflags QR RD RA\n;QUESTION\nwww.example.test. IN A\n;ANSWER\n"


def test_aliases_are_followed() -> None:
    """
    The records are those of the last name, which is told.
    """
    reply = answer(
        QUESTION.format("NOERROR")
        + "www.example.test. 300 IN CNAME web.example.test.\nweb.example.test. 300 IN A 192.0.2.1\n"
    )

    assert [one.to_text() for one in reply.records] == ["192.0.2.1"]
    assert (reply.owner, reply.exists, reply.signed) == ("web.example.test", True, False)


def test_a_name_that_does_not_exist_is_told_from_one_without_records() -> None:
    """
    NXDOMAIN and an empty answer are two things.
    """
    assert not answer(QUESTION.format("NXDOMAIN")).exists
    assert answer(QUESTION.format("NOERROR")).exists
    assert answer(QUESTION.format("NOERROR")).records == ()


def test_aliases_in_a_circle_are_no_answer() -> None:
    """
    Such an answer makes no sense, and raises nothing else.
    """
    circle = "www.example.test. 300 IN CNAME b.test.\nb.test. 300 IN CNAME www.example.test.\n"

    with pytest.raises(ResolutionError):
        answer(QUESTION.format("NOERROR") + circle)


@given(st.binary(max_size=200))
def test_any_message_is_read_or_refused(tail: bytes) -> None:
    """
    Whatever dnspython takes for a message gives a reply or the documented error.
    """
    head = dns.message.make_query("www.example.test", "A").to_wire()
    try:
        message = dns.message.from_wire(
            head[:2] + b"\x81\x80" + head[4:6] + b"\x00\x01\x00\x00\x00\x00" + head[12:] + tail,
            ignore_trailing=True,
            continue_on_error=True,
        )
    except (dns.exception.DNSException, ValueError):
        return
    try:
        reply, seconds = read(message)
    except ResolutionError as error:
        assert error.detail  # noqa: PT017 - not raised is fine, too
    else:
        assert seconds >= 0
        assert reply.owner
