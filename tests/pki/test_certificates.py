"""
Certificates out of bytes: the facts of usual, odd and broken ones.
"""

import base64
import gc
import inspect
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import cryptography_vectors
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from exporter.demo.minter import Minted, mint, new_key, root
from exporter.model.observation import Certificate
from exporter.pki.certificates import CertificateError, certificate, load, parse_der, parse_pem
from exporter.pki.mended import NAME_LIMIT, mended_name
from exporter.pki.revocation import issued
from tests.support.certificates import (
    ALGORITHM,
    EXTENSIONS,
    ISSUER,
    PUBLIC_KEY,
    SERIAL,
    SUBJECT,
    VALIDITY,
    children,
    extension,
    extensions_of,
    generalized_time,
    long_length,
    name_of,
    no_length,
    parts_of,
    pem,
    remade,
    tlv,
    utc_time,
    validity,
)

BEGIN = 1_700_000_000.0
END = 1_800_000_000.0
VERSION = b"\xa0\x03\x02\x01"
"""Encoding of a version but for its number (RFC 5280 section 4.1.2.1: 0 is version 1)."""
COMMON_NAME = bytes.fromhex("0603550403")
COUNTRY = bytes.fromhex("0603550406")


@pytest.fixture(scope="module")
def authority() -> Minted:
    """
    A root that issues the certificates of this module.
    """
    return root("Some Root", not_before=BEGIN, not_after=END)


@pytest.fixture(scope="module")
def leaf(authority: Minted) -> Minted:
    """
    A usual certificate of a server.
    """
    return authority.issue(
        "www.example.com", ["www.example.com", "*.example.org", "192.0.2.1", "2001:db8::1"]
    )


def patched(der: bytes, old: bytes, new: bytes) -> bytes:
    """
    The DER with other bytes of the same length in it; the signature no longer fits.
    """
    assert len(old) == len(new)
    assert old in der
    return der.replace(old, new)


def test_usual_certificate_gives_all_facts() -> None:
    """
    Every field of a certificate whose bytes never change has its known value.
    """
    with cryptography_vectors.open_vector_file("x509/cryptography.io.pem", "rb") as file:
        (found,) = parse_pem(file.read())
    assert isinstance(found, Certificate)
    assert replace(found, der=b"") == Certificate(
        fingerprint_sha256="dc4f4d1400d4526052b5da693394dc8560b29cc21df90b9e2ec7416261c73888",
        der=b"",
        subject="CN=www.cryptography.io,OU=Domain Control Validated - RapidSSL(R),"
        "OU=See www.rapidssl.com/resources/cps (c)14,OU=GT48742965",
        issuer="CN=RapidSSL SHA256 CA - G3,O=GeoTrust Inc.,C=US",
        issuer_organization="GeoTrust Inc.",
        common_name="www.cryptography.io",
        serial="3f20",
        not_before=1_413_374_972.0,
        not_after=1_542_330_903.0,
        key_algorithm="rsa",
        key_bits=4096,
        signature_hash="sha256",
        dns_names=("www.cryptography.io", "cryptography.io"),
        ip_addresses=(),
        is_ca=False,
        key_usage=frozenset({"digitalSignature", "keyEncipherment"}),
        extended_key_usage=frozenset({"1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"}),
        public_key_sha256="8de1e6291d413be60abd1dd17b6e6455b6c1722ee0dd3139d775348b5a3697c2",
    )


def test_minted_certificate_gives_what_was_minted(leaf: Minted) -> None:
    """
    Names, addresses, dates and uses come out as they went in.
    """
    found = parse_der(leaf.der)
    assert found.der == leaf.der
    assert found.fingerprint_sha256 == leaf.certificate.fingerprint(hashes.SHA256()).hex()
    assert (found.subject, found.issuer) == ("CN=www.example.com", "CN=Some Root")
    assert (found.not_before, found.not_after) == (BEGIN, END)
    assert found.serial == format(leaf.certificate.serial_number, "x")
    assert found.dns_names == ("www.example.com", "*.example.org")
    assert found.ip_addresses == ("192.0.2.1", "2001:db8::1")
    assert found.key == "ecdsa-256"
    assert not found.is_ca


@pytest.mark.parametrize(
    ("kind", "key", "signature_hash"),
    [
        ("ecdsa-256", "ecdsa-256", "sha256"),
        ("ecdsa-384", "ecdsa-384", "sha256"),
        ("ecdsa-521", "ecdsa-521", "sha256"),
        ("rsa-2048", "rsa-2048", "sha256"),
        ("ed25519", "ed25519", "none"),
        ("ed448", "ed448", "none"),
    ],
)
def test_key_and_signature_are_named(kind: str, key: str, signature_hash: str) -> None:
    """
    The key's algorithm and size, and the hash of the signature, are told for every usual kind of key.
    """
    found = parse_der(root(key=kind, not_before=BEGIN, not_after=END).der)
    assert (found.key, found.signature_hash) == (key, signature_hash)


def test_same_key_has_same_digest(authority: Minted) -> None:
    """
    Two certificates of one key share the digest of their key, two of different keys do not.
    """
    key = new_key()
    first, second = (parse_der(authority.issue(name, key=key).der) for name in ("first", "second"))
    other = parse_der(authority.issue("first").der)
    assert first.public_key_sha256 == second.public_key_sha256 != other.public_key_sha256


@pytest.mark.parametrize(
    "usages",
    [
        {"digitalSignature"},
        {"nonRepudiation", "keyEncipherment", "dataEncipherment"},
        {"keyCertSign", "cRLSign"},
        {"keyAgreement", "encipherOnly"},
        {"keyAgreement", "decipherOnly"},
    ],
)
def test_key_usages_have_the_names_of_the_standard(usages: set[str]) -> None:
    """
    Key usages are told by their names in RFC 5280.
    """
    minted = mint("a", not_before=BEGIN, not_after=END, key_usage=usages)
    assert parse_der(minted.der).key_usage == frozenset(usages)


def test_absent_extensions_are_none() -> None:
    """
    A certificate without extensions has no usages, which is not the same as an empty set, and is no CA.
    """
    minted = mint(
        "a",
        not_before=BEGIN,
        not_after=END,
        ca=None,
        key_usage=(),
        extended_key_usage=(),
        key_identifiers=False,
    )
    found = parse_der(minted.der)
    assert (found.key_usage, found.extended_key_usage, found.is_ca) == (None, None, False)
    assert (found.dns_names, found.ip_addresses) == ((), ())


@pytest.mark.parametrize(
    ("not_before", "not_after"),
    [
        (-631_152_000.0, BEGIN),  # 1950, the first year of UTCTime
        (-86_400.0, -1.0),
        (0.0, 0.0),
        (BEGIN, 2_524_607_999.0),  # the last second of UTCTime
        (BEGIN, 2_524_608_000.0),  # 2050, the first of GeneralizedTime
        (BEGIN, 253_402_300_799.0),  # 9999-12-31 23:59:59: "no end" (RFC 5280 section 4.1.2.5)
    ],
)
def test_dates_of_any_year(not_before: float, not_after: float) -> None:
    """
    Dates before 1970, in both encodings, and up to the year 9999 come out to the second.
    """
    found = parse_der(mint("a", not_before=not_before, not_after=not_after).der)
    assert (found.not_before, found.not_after) == (not_before, not_after)


def test_end_before_begin_is_a_fact() -> None:
    """
    A certificate that ends before it begins has a negative lifetime.
    """
    minted = mint("a", not_before=1_700_000_000, not_after=1_800_000_000)  # 2023-11-14 and 2027-01-15
    found = parse_der(patched(minted.der, b"231114221320Z", b"331114221320Z"))
    assert found.lifetime < 0


def test_empty_subject_and_issuer_are_empty_strings() -> None:
    """
    A certificate that names nobody has empty names and is not self-issued.
    """
    found = parse_der(mint("", ["a.example"], not_before=BEGIN, not_after=END).der)
    assert (found.subject, found.issuer, found.common_name, found.self_issued) == ("", "", "", False)


def test_most_specific_common_name_is_taken() -> None:
    """
    Of several common names the last one encoded counts, and the subject starts with it.
    """
    subject = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, "outer"), x509.NameAttribute(NameOID.COMMON_NAME, "inner")]
    )
    found = parse_der(mint(subject, not_before=BEGIN, not_after=END).der)
    assert (found.subject, found.common_name) == ("CN=inner,CN=outer", "inner")


def test_long_common_name_is_whole() -> None:
    """
    A common name of ten thousand characters, far over the limit of 64, is not cut here.
    """
    name = "a" * 10_000
    with pytest.warns(UserWarning, match="length"):  # of what mints, not of what reads
        attribute = x509.NameAttribute(NameOID.COMMON_NAME, name, _validate=False)
    minted = mint(x509.Name([attribute]), not_before=BEGIN, not_after=END)
    assert parse_der(minted.der).common_name == name


@pytest.mark.parametrize("value", [b"a", b"\xff", b"\x1b"])
def test_a_name_that_is_too_long_is_not_read(authority: Minted, value: bytes) -> None:
    """
    A certificate has room for thousands of parts, each of which takes its time. Equal names stay equal.
    """
    long = name_of(*[[("0603550403", 0x0C, value)]] * (NAME_LIMIT // 10))
    usual = authority.issue("x", ["a.example"])
    found = parse_der(remade(usual, {SUBJECT: long, ISSUER: long}).der)
    words = f"a name of {len(long)} bytes ({sha256(long).hexdigest()[:32]})"
    assert (found.subject, found.common_name, found.issuer) == (f"CN={words}", words, f"CN={words}")
    assert (found.dns_names, found.irregular) == (("a.example",), "")
    assert found.self_issued
    assert load(found.der).subject.rfc4514_string() == found.subject
    assert parse_der(remade(usual, {SUBJECT: long}).der).issuer == parse_der(usual.der).issuer
    short = name_of(*[[("0603550403", 0x0C, b"a")]] * (NAME_LIMIT // 13))
    assert parse_der(remade(usual, {SUBJECT: short}).der).common_name == "a"


def test_thousands_of_names_are_all_told(authority: Minted) -> None:
    """
    A certificate for five thousand names gives them all, in order.
    """
    names = tuple(f"host-{number}.example.com" for number in range(5000))
    assert parse_der(authority.issue("many", names).der).dns_names == names


@pytest.mark.parametrize(
    ("encoded", "common_name"),
    [
        (b"ab\ncdefgh", r"ab\ncdefgh"),
        (b"ab\0cdefgh", r"ab\u0000cdefgh"),
        (b"ab\x1bcdefgh", r"ab\u001bcdefgh"),
        ("ab\u202eefgh".encode(), r"ab\u202eefgh"),
        (b"ab\xffcdefgh", "ab\ufffdcdefgh"),
        (b"ab\xed\xa0\x80efgh", "ab\ufffd\ufffd\ufffdefgh"),  # a surrogate, which UTF-8 forbids
        ("äöücde".encode()[:9], "äöücde"),
    ],
)
def test_any_bytes_in_a_name_give_valid_text(encoded: bytes, common_name: str) -> None:
    """
    What can't be printed is shown as an escape, and bytes that are no UTF-8 become replacement characters:
    names are always one line of valid text.
    """
    found = parse_der(patched(mint("abcdefghi", not_before=BEGIN, not_after=END).der, b"abcdefghi", encoded))
    assert found.common_name == common_name
    for text in (found.subject, found.issuer):
        assert text.startswith("CN=")
        assert text.encode().decode() == text
        assert text.isprintable()


@pytest.mark.parametrize(
    ("tag", "encoded", "common_name"),
    [
        (0x1E, b"\0a\0b\0c\0d", "abcd"),  # BMPString
        (0x1E, b"\xd8\0\0b\0c\0d", "\ufffdbcd"),  # half of a surrogate pair
        (0x1C, b"\0\0\0a\0\0\0b", "ab"),  # UniversalString
        (0x14, b"abc\xe4efgh", "abcäefgh"),  # TeletexString, Latin-1 by custom
        (0x13, b"abc\xffefgh", "abcÿefgh"),  # PrintableString with what it can't have
    ],
)
def test_strings_of_every_kind_are_read(tag: int, encoded: bytes, common_name: str) -> None:
    """
    Names in the string types of the last century are read, broken ones too.
    """
    der = mint("abcdefgh", not_before=BEGIN, not_after=END).der
    value = COMMON_NAME + b"\x0c\x08abcdefgh"
    found = parse_der(patched(der, value, COMMON_NAME + bytes((tag, 8)) + encoded))
    assert found.common_name == common_name


def test_name_with_two_parts_of_a_type_in_one_set_is_read() -> None:
    """
    Two common names in one relative distinguished name, which is not allowed, both come out.
    """
    subject = x509.Name(
        [
            x509.RelativeDistinguishedName(
                [
                    x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
                    x509.NameAttribute(NameOID.COMMON_NAME, "example"),
                ]
            )
        ]
    )
    usual = mint(subject, not_before=BEGIN, not_after=END).der
    found = parse_der(patched(usual, COUNTRY + b"\x13", COMMON_NAME + b"\x13"))
    assert (found.subject, found.issuer) == ("CN=DE+CN=example", "CN=DE+CN=example")


def test_name_that_can_not_be_read_is_empty() -> None:
    """
    A name of a type that nobody knows how to read hides no dates.
    """
    usual = mint("abcdefgh", not_before=BEGIN, not_after=END).der
    value = b"\x0c\x08abcdefgh"
    found = parse_der(patched(usual, COMMON_NAME + value, COMMON_NAME + b"\x9f\x21\x07abcdefg"))
    assert (found.subject, found.issuer, found.not_after) == ("", "", END)


@pytest.mark.parametrize("number", [0, 3, 5, 0x7F, 0xFF])
def test_odd_version_gives_all_facts(leaf: Minted, number: int) -> None:
    """
    A version that does not exist (or version 1 spelled out) hides nothing else.
    """
    usual = parse_der(leaf.der)
    odd = parse_der(patched(leaf.der, VERSION + b"\x02", VERSION + bytes((number,))))
    assert odd.fingerprint_sha256 != usual.fingerprint_sha256
    assert odd.irregular == "its version is not 3, and the rest of it is"
    assert replace(odd, der=usual.der, fingerprint_sha256=usual.fingerprint_sha256, irregular="") == usual


@pytest.mark.parametrize(
    ("fields", "odd"),
    [
        ({1: b"\x02\x01\x85"}, "its serial number is negative (Go refuses that)"),
        ({1: b"\x02\x01\0"}, ""),
        ({1: b"\x02\x1e" + b"\x7f" * 30}, ""),
        # ecdsa-with-SHA512 (RFC 5758 section 3.2), and SHA-256 beside it.
        (
            {2: bytes.fromhex("300a06082a8648ce3d040304")},
            "it names one algorithm for its signature, and another beside it",
        ),
    ],
)
def test_what_go_and_java_refuse_to_read_gives_all_facts(
    leaf: Minted, fields: dict[int, bytes], odd: str
) -> None:
    """
    `keytool -printcert` and GnuTLS refuse two algorithms, Go since 1.23 a negative number.
    """
    found = parse_der(remade(leaf, fields).der)
    assert found.irregular == odd
    assert (found.not_before, found.not_after) == (BEGIN, END)


VERSIONS = {"version 1": b"", "version 1 in words": VERSION + b"\0", "version 2": VERSION + b"\1"}


@pytest.mark.parametrize("version", VERSIONS.values(), ids=list(VERSIONS))
def test_extensions_belong_to_version_3(leaf: Minted, version: bytes) -> None:
    """
    GnuTLS, Java and browsers refuse them in another version, OpenSSL does not. Without them it is well.
    """
    odd = parse_der(remade(leaf, {0: version}).der)
    assert odd.irregular == "its version is not 3, and the rest of it is"
    assert (odd.not_after, odd.dns_names) == (END, ("www.example.com", "*.example.org"))
    assert parse_der(remade(leaf, {0: version, EXTENSIONS: b""}).der).irregular == ""


@pytest.mark.parametrize(
    ("oid", "dotted"),
    [("0603551d11", "2.5.29.17"), ("0603551d13", "2.5.29.19"), ("06042a030405", "1.2.3.4.5")],
)
def test_an_extension_that_is_there_twice_is_told(leaf: Minted, oid: str, dotted: str) -> None:
    """
    Go, GnuTLS and browsers refuse it (RFC 5280 section 4.2). The first of two counts here.
    """
    other = extension(oid, b"\x30\x00")
    present = extensions_of(leaf, other, *([other] if bytes.fromhex(oid) not in leaf.der else []))
    found = parse_der(remade(leaf, {EXTENSIONS: present}).der)
    assert found.irregular == f"the extension {dotted} is in it twice"
    assert (found.not_after, found.dns_names) == (END, ("www.example.com", "*.example.org"))


@pytest.mark.parametrize(
    ("tag", "value", "shown", "odd"),
    [
        (0x0C, b"a\xff", "a\ufffd", "OpenSSL can't read it (invalid utf8string)"),
        (0x0C, b"\xed\xa0\x80", "\ufffd" * 3, "OpenSSL can't read it (invalid utf8string)"),
        (0x1E, b"abc", "\u6162\ufffd", "OpenSSL can't read it (bmpstring is wrong length)"),
        (0x1C, b"abc", "\ufffd", "OpenSSL can't read it (universalstring is wrong length)"),
        (0x02, b"\x05", "\\u0005", "OpenSSL can't read it (mstring wrong tag)"),
        (0x13, b"a_b@c&d", "a_b@c&d", ""),
        (0x16, b"a\xe4", "a\u00e4", ""),
    ],
)
@pytest.mark.parametrize("place", [ISSUER, SUBJECT])
def test_a_name_that_openssl_can_not_read_is_told(
    leaf: Minted, place: int, tag: int, value: bytes, shown: str, odd: str
) -> None:
    """
    Once for each certificate, whoever was seen before with that issuer; what it reads is no fault.
    """
    # The first has an odd version, too, and is mended as a whole.
    for version, serial in ((3, b"\x01"), (2, b"\x02"), (2, b"\x03")):
        name = name_of([("0603550403", tag, value)])
        fields = {0: VERSION + bytes((version,)), place: name, SERIAL: tlv(0x02, serial)}
        found = parse_der(remade(leaf, fields).der)
        assert found.irregular == (odd if version == 2 else "its version is not 3, and the rest of it is")
        assert f"CN={shown}" == (found.issuer if place == ISSUER else found.subject)
        assert found.not_after == END


@pytest.mark.parametrize(("encoded", "serial"), [(b"\x85", "-7b"), (b"\x00", "0"), (b"\x0f", "f")])
def test_any_serial_number_is_told_without_a_warning(encoded: bytes, serial: str) -> None:
    """
    Zero and negative serial numbers, which issuers must not use, come out and warn nobody.
    """
    minted = mint("a", not_before=BEGIN, not_after=END, serial=0x55)
    assert parse_der(patched(minted.der, b"\x02\x01\x55", b"\x02\x01" + encoded)).serial == serial


def test_country_of_wrong_length_does_not_warn() -> None:
    """
    A country of one letter, which the library warns about, comes out and warns nobody.
    """
    usual = mint("D", not_before=BEGIN, not_after=END).der
    found = parse_der(patched(usual, COMMON_NAME, COUNTRY))
    assert (found.subject, found.issuer) == ("C=D", "C=D")


def test_a_process_whose_warnings_are_errors_is_not_warned() -> None:
    """
    What the library warns about comes out of any process, however strict: pytest sets filters of its own.
    """
    usual = mint("D", not_before=BEGIN, not_after=END, serial=0x55).der
    odd = patched(patched(usual, COMMON_NAME, COUNTRY), b"\x02\x01\x55", b"\x02\x01\x85")
    # By `load` first: it reads the names for others, who must not be warned either.
    program = (
        "import sys; from exporter.pki.certificates import load, parse_der; "
        "der = bytes.fromhex(sys.argv[1]); load(der); found = parse_der(der); "
        "print(found.subject, found.serial)"
    )
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, odd.hex()], capture_output=True, text=True, check=False
    )
    assert (ended.stdout, ended.stderr) == ("C=D -7b\n", "")


def test_unknown_key_still_gives_facts(leaf: Minted) -> None:
    """
    A key of an algorithm that nobody knows is `unknown`, and has a digest all the same.
    """
    found = parse_der(
        patched(leaf.der, bytes.fromhex("06072a8648ce3d0201"), bytes.fromhex("06072a8648ce3d0279"))
    )
    assert (found.key, found.key_bits) == ("unknown", None)
    assert found.dns_names == ("www.example.com", "*.example.org")
    assert found.public_key_sha256 != parse_der(leaf.der).public_key_sha256


def test_key_that_can_not_sign_is_unknown(authority: Minted) -> None:
    """
    A key of a kind that servers do not have (X25519, RFC 8410) is `unknown`.
    """
    minted = authority.issue("a", key="ed25519")
    ed25519, x25519 = bytes.fromhex("300506032b6570"), bytes.fromhex("300506032b656e")
    assert parse_der(patched(minted.der, ed25519, x25519)).key == "unknown"


def test_point_not_on_the_curve_still_gives_facts(leaf: Minted) -> None:
    """
    A public key that can't be a key is `unknown`.
    """
    point = leaf.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    damaged = point[:-1] + bytes((point[-1] ^ 1,))
    assert parse_der(patched(leaf.der, point, damaged)).key == "unknown"


@pytest.mark.parametrize(
    ("oid", "name"),
    [
        ("2a864886f70d010102", "md2"),
        ("2a864886f70d010103", "md4"),
        ("2a864886f70d010104", "md5"),
        ("2a864886f70d010105", "sha1"),
        ("2a864886f70d01010e", "sha224"),
        ("2a864886f70d01017f", "unknown"),
    ],
)
def test_hash_of_any_signature_is_named(oid: str, name: str) -> None:
    """
    The hash of a signature is told for the weak algorithms, too, and `unknown` for those of nobody.
    """
    minted = mint("a", not_before=BEGIN, not_after=END, key="rsa-1024")
    usual = bytes.fromhex("06092a864886f70d01010b")
    assert parse_der(patched(minted.der, usual, b"\x06\x09" + bytes.fromhex(oid))).signature_hash == name


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"\x82\x0fwww.example.com", b"\x82\x0fwww.ex\xffmple.com"),  # not ASCII
        (b"\x82\x0fwww.example.com", b"\x8f\x0fwww.example.com"),  # no such kind
    ],
)
def test_unreadable_name_hides_no_other(leaf: Minted, old: bytes, new: bytes) -> None:
    """
    Of the subject alternative names those that can be read come out.
    """
    found = parse_der(patched(leaf.der, old, new))
    assert found.dns_names == ("*.example.org",)
    assert found.ip_addresses == ("192.0.2.1", "2001:db8::1")
    assert found.key_usage == frozenset({"digitalSignature"})


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param("2a" + "81" * 80 + "01", id="long"),
        pytest.param("2a" + "ff" * 19 + "01", id="a number of more than 128 bits"),
        pytest.param("2a" + "84" + "80" * 17 + "01", id="a number of one bit more than 128"),
        pytest.param("2a" + "83" + "ff" * 17 + "7f", id="a number of 128 bits"),
        pytest.param("2a8001", id="a number that begins with nothing"),
    ],
)
def test_an_object_identifier_that_can_not_be_read_hides_nothing_else(leaf: Minted, odd: str) -> None:
    """
    In a name, of an algorithm or of an extension: OpenSSL reads what the library does not.
    """
    oid = tlv(0x06, bytes.fromhex(odd))
    part = tlv(0x31, tlv(0x30, oid + tlv(0x0C, b"x")))
    more = tlv(0x30, oid + tlv(0x04, b""))
    usual = parse_der(leaf.der)
    for fields in (
        {SUBJECT: tlv(0x30, part)},
        {EXTENSIONS: extensions_of(leaf, more)},
        {PUBLIC_KEY: tlv(0x30, tlv(0x30, oid) + tlv(0x03, b"\0"))},
    ):
        found = parse_der(remade(leaf, fields).der)
        assert (found.not_after, found.dns_names) == (usual.not_after, usual.dns_names)
        assert found.key_usage == usual.key_usage
    body, _, signature = children(remade(leaf, {ALGORITHM: tlv(0x30, oid)}).der)
    found = parse_der(tlv(0x30, body + tlv(0x30, oid) + signature))
    assert (found.dns_names, found.signature_hash) == (usual.dns_names, "unknown")


def test_address_of_wrong_length_is_no_address() -> None:
    """
    A network, or an address of five bytes, is not told as an address.
    """
    entry = x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x04\x02ab")
    minted = mint("a", [entry, "a.example"], not_before=BEGIN, not_after=END)
    content = bytes.fromhex("06022a03a004040261620000")[:10]
    assert content in minted.der
    start = minted.der.index(content) - 2
    length = minted.der[start + 1]
    found = parse_der(minted.der[:start] + b"\x87" + minted.der[start + 1 :])
    assert length not in {4, 16}
    assert (found.dns_names, found.ip_addresses) == (("a.example",), ())


def test_unreadable_extension_counts_as_absent(leaf: Minted) -> None:
    """
    An extension that can't be read is as if it were not there, and the others are.
    """
    usage = bytes.fromhex("0603551d0f0101ff040403020780")
    found = parse_der(patched(leaf.der, usage, usage[:-4] + b"\x04\x02\x07\x80"))
    assert found.key_usage is None
    assert found.dns_names == ("www.example.com", "*.example.org")
    assert found.extended_key_usage == frozenset({"1.3.6.1.5.5.7.3.1"})


def test_first_of_two_extensions_of_a_kind_counts(authority: Minted) -> None:
    """
    An extension that is there twice does not hide the others, and its first value is told.
    """
    spare = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.99"), b"\x30\x03\x82\x01b")
    minted = authority.issue("a", ["a.example"], extensions=[(spare, False)])
    found = parse_der(patched(minted.der, bytes.fromhex("0603551d63"), bytes.fromhex("0603551d11")))
    assert found.dns_names == ("a.example",)
    assert found.extended_key_usage == frozenset({"1.3.6.1.5.5.7.3.1"})


def test_unreadable_dates_are_an_error(leaf: Minted) -> None:
    """
    A certificate with a thirteenth month is an error: without dates there is nothing to watch.
    """
    with pytest.raises(CertificateError, match="its begin '231314221320Z' is no date: month"):
        parse_der(patched(leaf.der, b"231114221320Z", b"231314221320Z"))


@pytest.mark.parametrize(
    "der", [b"", b"0", b"0\x80", b"0\x84\xff\xff\xff\xff", b"hello", b"\x30\x03\x02\x01\x01"]
)
def test_no_certificate_is_an_error(der: bytes) -> None:
    """
    Bytes of anything else are an error with words for a person.
    """
    with pytest.raises(CertificateError, match="not a certificate"):
        parse_der(der)


NOT_DER = "it is not DER (lengths, numbers or strings are in a form that DER forbids)"

ODD_DATES = {
    "UTCTime with an offset": (
        utc_time("231114231320+0100"),
        utc_time("270115030000-0500"),
        (
            "its begin 231114231320+0100 is not of the form YYMMDDhhmmssZ; "
            "its end 270115030000-0500 is not of the form YYMMDDhhmmssZ"
        ),
    ),
    "UTCTime with an offset of hours": (
        utc_time("231114231320+01"),
        utc_time("270115080000Z"),
        "its begin 231114231320+01 is not of the form YYMMDDhhmmssZ",
    ),
    "UTCTime with a fraction": (
        utc_time("231114221320.75Z"),
        utc_time("270115080000.999Z"),
        (
            "its begin 231114221320.75Z is not of the form YYMMDDhhmmssZ; "
            "its end 270115080000.999Z is not of the form YYMMDDhhmmssZ"
        ),
    ),
    "UTCTime without a zone": (
        utc_time("231114221320"),
        utc_time("270115080000Z"),
        "its begin 231114221320 is not of the form YYMMDDhhmmssZ",
    ),
    "UTCTime without seconds": (
        utc_time("231114221320Z"),
        utc_time("2701150800Z"),
        "its end 2701150800Z is not of the form YYMMDDhhmmssZ",
    ),
    "UTCTime without seconds, with an offset": (
        utc_time("231114221320Z"),
        utc_time("2701151330+0530"),
        "its end 2701151330+0530 is not of the form YYMMDDhhmmssZ",
    ),
    "GeneralizedTime with an offset": (
        generalized_time("20231114181320-0400"),
        generalized_time("20270115080000+0000"),
        (
            "its begin 20231114181320-0400 is not of the form YYYYMMDDhhmmssZ; "
            "its end 20270115080000+0000 is not of the form YYYYMMDDhhmmssZ"
        ),
    ),
    "GeneralizedTime with a fraction": (
        generalized_time("20231114221320.123456Z"),
        generalized_time("20270115080000,5Z"),
        (
            "its begin 20231114221320.123456Z is not of the form YYYYMMDDhhmmssZ; "
            "its end 20270115080000,5Z is not of the form YYYYMMDDhhmmssZ"
        ),
    ),
    "GeneralizedTime without minutes": (
        generalized_time("20231114221320Z"),
        generalized_time("2027011508Z"),
        ("its end 2027011508Z is not of the form YYYYMMDDhhmmssZ"),
    ),
    "GeneralizedTime where UTCTime belongs": (
        generalized_time("20231114221320Z"),
        generalized_time("20270115080000Z"),
        "",
    ),
    "in several parts": (
        tlv(0x37, utc_time("2311142213") + utc_time("20Z")),
        utc_time("270115080000Z"),
        NOT_DER,
    ),
}
"""Begin and end as encoded, both the usual ones, and what is odd about them. OpenSSL shows most of them."""


@pytest.mark.parametrize(("begin", "end", "odd"), ODD_DATES.values(), ids=list(ODD_DATES))
def test_dates_of_every_form_are_read(
    authority: Minted, leaf: Minted, begin: bytes, end: bytes, odd: str
) -> None:
    """
    Dates as devices write them are read to the second, and what strict clients refuse is told.
    """
    found = parse_der(remade(leaf, {VALIDITY: validity(begin, end)}).der)
    assert (found.not_before, found.not_after, found.irregular) == (BEGIN, END, odd)
    assert found.dns_names == ("www.example.com", "*.example.org")
    assert (found.subject, found.key, found.signature_hash) == ("CN=www.example.com", "ecdsa-256", "sha256")
    assert issued(found.der, authority.der)


@pytest.mark.parametrize("text", ["20231114240000Z", "20230230000000Z", "2023111422132 Z", "", "2023", "now"])
def test_what_is_no_date_is_an_error(leaf: Minted, text: str) -> None:
    """
    An hour, a day or a text that no calendar has is an error that shows it.
    """
    odd = remade(leaf, {VALIDITY: validity(generalized_time(text), utc_time("270115080000Z"))})
    with pytest.raises(CertificateError, match=f"its begin '{text}' is no date"):
        parse_der(odd.der)


@pytest.mark.parametrize(
    ("text", "moment", "odd"),
    [
        ("00000101000000Z", -62_167_219_200.0, "its begin 00000101000000Z is before 1970"),
        ("00001231235959Z", -62_135_596_801.0, "its begin 00001231235959Z is before 1970"),
        ("00000229000000Z", -62_162_121_600.0, "its begin 00000229000000Z is before 1970"),
        ("00010101000000Z", -62_135_596_800.0, "its begin 00010101000000Z is before 1970"),
        ("19691231235959Z", -1.0, "its begin 19691231235959Z is before 1970"),
        ("19700101000000Z", 0.0, ""),
        ("20491231235959Z", 2_524_607_999.0, ""),
        ("20500101000000Z", 2_524_608_000.0, ""),
        ("99991231235959Z", 253_402_300_799.0, ""),
        (
            "99991231235959-0100",
            253_402_304_399.0,
            "its begin 99991231235959-0100 is not of the form YYYYMMDDhhmmssZ",
        ),
    ],
)
def test_years_without_a_calendar_are_read(leaf: Minted, text: str, moment: float, odd: str) -> None:
    """
    The year 0, which was a leap year of the same calendar, and the first hour of the year 10000.
    """
    dates = validity(generalized_time(text), utc_time("270115080000Z"))
    found = parse_der(remade(leaf, {VALIDITY: dates}).der)
    assert (found.not_before, found.not_after, found.irregular) == (moment, END, odd)


def test_short_years_turn_at_fifty(leaf: Minted) -> None:
    """
    In UTCTime 50 is 1950, as RFC 5280 section 4.1.2.5.1 has it and OpenSSL shows it, and 49 is 2049.
    """
    dates = validity(utc_time("500101000000Z"), utc_time("491231235959Z"))
    found = parse_der(remade(leaf, {VALIDITY: dates}).der)
    assert (found.not_before, found.not_after, found.irregular) == (-631_152_000.0, 2_524_607_999.0, "")


def out_of_order(leaf: Minted) -> bytes:
    """
    With a common name before a unit, which DER wants first: it is the shorter one.
    """
    name = name_of([("0603550403", 0x0C, b"localhost"), ("060355040b", 0x0C, b"ops")])
    return remade(leaf, {SUBJECT: name}).der


def with_long_lengths(leaf: Minted) -> bytes:
    """
    With lengths of more bytes than they need, at several depths.
    """
    usual = parts_of(leaf)
    return long_length(remade(leaf, {place: long_length(usual[place]) for place in (4, 5, 6, 7)}).der)


def without_lengths(leaf: Minted) -> bytes:
    """
    With lengths that are known at the end only.
    """
    usual = parts_of(leaf)
    return no_length(remade(leaf, {place: no_length(usual[place]) for place in (3, 4, 5)}).der)


def with_a_padded_number(leaf: Minted) -> bytes:
    """
    With a serial number that begins with zeros, which Java and GnuTLS read.
    """
    return remade(leaf, {SERIAL: tlv(0x02, b"\0\0\x05")}).der


@pytest.mark.parametrize(
    ("make", "odd"),
    [
        (out_of_order, ""),  # no client minds
        (with_long_lengths, NOT_DER),
        (without_lengths, NOT_DER),
        (with_a_padded_number, NOT_DER),
    ],
)
def test_what_is_not_der_is_read(
    leaf: Minted, authority: Minted, make: Callable[[Minted], bytes], odd: str
) -> None:
    """
    BER, as OpenSSL, GnuTLS or Java read it, gives all facts, and is told where others refuse it.
    """
    found, usual = parse_der(make(leaf)), parse_der(leaf.der)
    assert (found.not_before, found.not_after, found.irregular) == (BEGIN, END, odd)
    assert (found.dns_names, found.ip_addresses) == (usual.dns_names, usual.ip_addresses)
    assert (found.issuer, found.key, found.key_usage) == (usual.issuer, usual.key, usual.key_usage)
    assert found.extended_key_usage == usual.extended_key_usage
    assert issued(found.der, authority.der)


def test_a_name_out_of_order_is_read(leaf: Minted) -> None:
    """
    Its parts are told in the order of DER.
    """
    assert parse_der(out_of_order(leaf)).subject == "OU=ops+CN=localhost"


@pytest.mark.parametrize(
    "data", [b"\x30\x80" * 50_000, b"\x30\x80" * 40 + b"\0\0" * 40, b"\x30\x00" * 30_000]
)
def test_nesting_without_end_is_an_error(data: bytes) -> None:
    """
    What is nested deep or has thousands of parts is given up, not followed.
    """
    with pytest.raises(CertificateError):
        parse_der(data)
    with pytest.raises(CertificateError):
        parse_der(tlv(0x30, data))


def test_something_after_the_certificate_is_told(leaf: Minted) -> None:
    """
    Bytes after the certificate, which OpenSSL passes over in PEM, hide no dates, and are told.
    """
    found = parse_der(leaf.der + b"junk")
    assert (found.not_after, found.irregular) == (END, "4 bytes follow it")


@pytest.mark.parametrize("value", [b"\x30\x00", b"junk"])
def test_extended_key_usage_that_allows_nothing_is_not_absent(leaf: Minted, value: bytes) -> None:
    """
    An empty one, and one that can't be read, allow nothing: OpenSSL refuses both.
    """
    extensions = extensions_of(leaf, extension("0603551d25", value), without="0603551d25")
    found = parse_der(remade(leaf, {EXTENSIONS: extensions}).der)
    assert found.extended_key_usage == frozenset()
    assert found.dns_names == ("www.example.com", "*.example.org")


def test_basic_constraints_in_ber_are_read(authority: Minted) -> None:
    """
    Any byte but zero is true in BER.
    """
    issuer = authority.issue("Issuer", ca=True)
    odd = extension("0603551d13", bytes.fromhex("3003010101"))
    found = parse_der(remade(issuer, {EXTENSIONS: extensions_of(issuer, odd, without="0603551d13")}).der)
    assert found.is_ca


TRUST = bytes.fromhex("06082b06010505070301")
MAIL = bytes.fromhex("06082b06010505070304")
ANY_USE = bytes.fromhex("0604551d2500")


@pytest.mark.parametrize(
    ("behind", "counts"),
    [
        (b"", True),
        (tlv(0x30, b""), True),
        (tlv(0x30, tlv(0x0C, b"an alias")), True),
        (tlv(0x30, tlv(0x30, TRUST)), True),
        (tlv(0x30, tlv(0x30, MAIL + ANY_USE)), True),
        (tlv(0x30, tlv(0x30, MAIL)), False),
        (tlv(0x30, tlv(0xA0, TRUST)), False),
        (tlv(0x30, tlv(0x30, TRUST) + tlv(0xA0, ANY_USE)), False),
        (tlv(0x30, tlv(0xA0, MAIL)), True),
        (b"junk", False),
        (tlv(0x30, tlv(0x30, b"junk")), False),
    ],
)
def test_trusted_certificate_blocks_are_read(authority: Minted, behind: bytes, *, counts: bool) -> None:
    """
    OpenSSL's own blocks are certificates, unless they say that they are not trusted for servers.
    """
    (found,) = parse_pem(pem("TRUSTED CERTIFICATE", authority.der + behind))
    if counts:
        assert found == parse_der(authority.der)
    else:
        assert isinstance(found, CertificateError)


def test_same_bytes_give_the_same_object_while_it_lives(leaf: Minted) -> None:
    """
    A certificate is remembered by its bytes, and forgotten when nobody holds it.
    """
    found = certificate(leaf.der)
    assert certificate(bytes(bytearray(leaf.der))) is found
    assert found == parse_der(leaf.der)
    forgotten = weakref.ref(found)
    del found
    gc.collect()
    assert forgotten() is None


def test_pem_gives_every_certificate_in_order(authority: Minted, leaf: Minted) -> None:
    """
    All certificates of a file come out; keys and text around them are passed over.
    """
    data = b"a bundle\n" + leaf.pem + leaf.key_pem + b"Subject: the root\n" + authority.pem
    assert parse_pem(data) == (parse_der(leaf.der), parse_der(authority.der))


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (b"-----BEGIN CERTIFICATE-----\nMIIB*\n-----END CERTIFICATE-----\n", "base64"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "not a certificate"),
        (b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", "not a certificate"),
        (b"-----BEGIN CERTIFICATE-----\nMIIB\n", "no END line"),
    ],
)
def test_broken_block_hides_no_other(authority: Minted, leaf: Minted, broken: bytes, words: str) -> None:
    """
    A block that can't be read is an error in its place, between the good ones.
    """
    first, error, last = parse_pem(leaf.pem + broken + authority.pem)
    assert (first, last) == (parse_der(leaf.der), parse_der(authority.der))
    assert isinstance(error, CertificateError)
    assert words in str(error)


@pytest.mark.parametrize(
    "change",
    [
        lambda pem: pem.replace(b"\n", b"\r\n"),
        lambda pem: pem.replace(b"\n", b"\r"),
        lambda pem: pem.replace(b"\n", b" \n"),
        lambda pem: b"  " + pem,
        lambda pem: pem.rstrip(b"\n"),
        lambda pem: pem.replace(b"CERTIFICATE", b"X509 CERTIFICATE"),
        lambda pem: pem.replace(b"CERTIFICATE-----\n", b"CERTIFICATE-----\nOrigin: somewhere\n\n", 1),
    ],
)
def test_pem_of_any_style_is_read(leaf: Minted, change: Callable[[bytes], bytes]) -> None:
    """
    Line ends of all systems, old headers and missing line feeds change nothing.
    """
    assert parse_pem(change(leaf.pem) + change(leaf.pem)) == (parse_der(leaf.der),) * 2


def test_commented_block_is_passed_over(leaf: Minted) -> None:
    """
    A block that somebody commented out is no certificate.
    """
    assert parse_pem(b"".join(b"#" + line for line in leaf.pem.splitlines(keepends=True))) == ()


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_file_without_certificate_gives_none(data: bytes) -> None:
    """
    A file without a CERTIFICATE block gives nothing, not an error.
    """
    assert parse_pem(data) == ()


def facts_or_error(der: bytes) -> Certificate | None:
    """
    The facts, after a check that they are well formed; None for an error. Anything else fails the test.
    """
    try:
        found = parse_der(der)
    except CertificateError:
        return None
    assert found.der == der
    for text in (found.subject, found.issuer, found.common_name, *found.dns_names, *found.ip_addresses):
        text.encode()  # raises for lone surrogates
    assert found.key
    assert found.not_before == int(found.not_before)
    return found


@given(st.binary(max_size=300))
def test_any_bytes_give_facts_or_an_error(data: bytes) -> None:
    """
    Bytes of any kind raise nothing but CertificateError, alone and in PEM.
    """
    facts_or_error(data)
    facts_or_error(b"\x30\x82" + len(data).to_bytes(2) + data)
    parse_pem(data)
    for inside in (data, base64.b64encode(data)):
        assert parse_pem(b"-----BEGIN CERTIFICATE-----\n" + inside + b"\n-----END CERTIFICATE-----\n")


FIXED = mint(
    x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
            x509.NameAttribute(NameOID.COMMON_NAME, "www.example.com"),
        ]
    ),
    ["www.example.com", "192.0.2.1"],
    not_before=BEGIN,
    not_after=END,
).der


@given(st.integers(0, len(FIXED) - 1))
def test_truncated_certificate_is_an_error(length: int) -> None:
    """
    A certificate that is cut off anywhere is an error.
    """
    assert facts_or_error(FIXED[:length]) is None


@given(st.dictionaries(st.integers(0, len(FIXED) - 1), st.integers(1, 255), min_size=1, max_size=4))
def test_damaged_certificate_gives_facts_or_an_error(damage: dict[int, int]) -> None:
    """
    Flipped bits anywhere in a certificate raise nothing but CertificateError.
    """
    damaged = bytearray(FIXED)
    for position, flips in damage.items():
        damaged[position] ^= flips
    facts_or_error(bytes(damaged))


def test_every_single_damaged_byte_gives_facts_or_an_error() -> None:
    """
    Whichever byte is damaged, nothing else is raised, and most damage leaves the facts readable.
    """
    readable = 0
    for position in range(len(FIXED)):
        for flips in (0x01, 0x1F, 0x80, 0xFF):
            damaged = FIXED[:position] + bytes((FIXED[position] ^ flips,)) + FIXED[position + 1 :]
            readable += facts_or_error(damaged) is not None
    assert readable > 2 * len(FIXED)


def vectors() -> Iterator[tuple[str, bytes]]:
    """
    Name and content of the files that the makers of `cryptography` test with: certificates and much else.
    """
    directory = Path(cryptography_vectors.__file__).parent
    for path in sorted(directory.rglob("*")):
        if path.suffix in {".pem", ".der", ".crt"}:
            yield path.relative_to(directory).as_posix(), path.read_bytes()


def test_published_certificates_give_facts_or_an_error() -> None:
    """
    Of a large public collection every file is read, and every certificate with readable dates gives facts.
    """
    files = facts = 0
    refused = set()
    for name, data in vectors():
        files += 1
        for block in [parse_der_or_error(data)] if data[:1] == b"0" else parse_pem(data):
            if isinstance(block, Certificate):
                assert facts_or_error(block.der) == block
                facts += 1
            # DER files elsewhere are keys, requests, lists and responses.
            elif not name.endswith(".der"):
                refused.add(name)
    assert refused == {"x509/badasn1time.pem"}
    assert files >= 700
    assert facts >= 530


def parse_der_or_error(der: bytes) -> Certificate | CertificateError:
    """
    What a block of a PEM file with these bytes would give.
    """
    try:
        return parse_der(der)
    except CertificateError as error:
        return error


def test_dsa_key_is_named() -> None:
    """
    A DSA key, which nobody mints any more, is told with its size.
    """
    with cryptography_vectors.open_vector_file("x509/custom/dsa_selfsigned_ca.pem", "rb") as file:
        (found,) = parse_pem(file.read())
    assert isinstance(found, Certificate)
    assert found.key == "dsa-2048"


def test_no_signature_is_verified_with_a_dsa_key_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    With the largest that OpenSSL takes each costs ten milliseconds, and a server can show many.
    """
    with cryptography_vectors.open_vector_file("x509/custom/dsa_selfsigned_ca.pem", "rb") as file:
        (found,) = parse_pem(file.read())
    assert isinstance(found, Certificate)
    verified = inspect.unwrap(issued)
    assert verified(found.der, found.der)
    monkeypatch.setattr("exporter.pki.revocation.LARGEST_DSA", 2047)
    assert not verified(found.der, found.der)


def test_signature_of_the_pss_kind_is_named() -> None:
    """
    The hash of an RSASSA-PSS signature stands in its parameters (RFC 4055 section 3.1).
    """
    with cryptography_vectors.open_vector_file("x509/ee-pss-sha1-cert.pem", "rb") as file:
        (found,) = parse_pem(file.read())
    assert isinstance(found, Certificate)
    assert found.signature_hash == "sha1"


def test_a_name_says_each_thing_once() -> None:
    """
    Of a part that holds the same twice one is kept, and a part that holds nothing is left out: the library
    reads neither, and OpenSSL both.
    """
    common_name = bytes.fromhex("3008 0603550403 0c0178")
    twice = bytes((0x31, 2 * len(common_name))) + 2 * common_name
    once = bytes((0x31, len(common_name))) + common_name
    odd = twice + b"\x31\x00"
    assert mended_name(bytes((0x30, len(odd))) + odd) == bytes((0x30, len(once))) + once
