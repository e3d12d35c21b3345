"""
The minter, judged by another implementation: the `openssl` command.
"""

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from exporter.demo.minter import Minted, mint, new_key, root
from tests.support.certificates import DAY, NOW, forge, odd_subject, shared_key, staple, write_pair

YEAR_9999 = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


def openssl(*arguments: str | Path, given: bytes = b"") -> str:
    """
    What the command says; it must succeed.
    """
    done = subprocess.run(
        ["openssl", *arguments], input=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    said = done.stdout.decode(errors="replace")
    assert done.returncode == 0, said
    return said


def text(minted: Minted) -> str:
    """
    The certificate as openssl reads it.
    """
    return openssl("x509", "-noout", "-text", "-nameopt", "utf8,sep_comma_plus", given=minted.pem)


def verify(directory: Path, anchor: Minted, minted: Minted, *options: str) -> str:
    """
    What `openssl verify` says at the time NOW.
    """
    chain, _ = write_pair(directory, "chain", minted.chain)
    trusted, _ = write_pair(directory, "anchor", [anchor])
    at = ("-attime", str(int(NOW)), "-no-CApath", "-no-CAstore")
    return openssl("verify", *at, *options, "-CAfile", trusted, "-untrusted", chain, chain)


def test_a_chain_of_any_depth_verifies(tmp_path: Path) -> None:
    """
    Five intermediates below a root, and a leaf for a name and an address.
    """
    anchor = issuer = root(not_before=NOW - DAY, not_after=NOW + DAY)
    for number in range(5):
        issuer = issuer.issue(f"Intermediate {number}", ca=True)
    leaf = issuer.issue("leaf", ["leaf.example", "192.0.2.1"])
    assert len(leaf.chain) == 6
    verify(tmp_path, anchor, leaf, "-x509_strict", "-verify_hostname", "leaf.example")
    verify(tmp_path, anchor, leaf, "-purpose", "sslserver", "-verify_ip", "192.0.2.1")


def test_a_chain_leaves_the_root_out() -> None:
    """
    What a server presents ends below the root; a certificate that signed itself stands alone.
    """
    anchor = root(not_before=0, not_after=DAY)
    intermediate = anchor.issue("Intermediate", ca=True)
    leaf = intermediate.issue("leaf")
    assert leaf.chain == (leaf, intermediate)
    assert leaf.chain_pem == leaf.pem + intermediate.pem
    assert anchor.chain == (anchor,)


def test_a_cross_signed_authority_leads_to_both_roots(tmp_path: Path) -> None:
    """
    One leaf is good for those who trust the old root and for those who trust the new one.
    """
    old = root("Old Root", not_before=NOW - DAY, not_after=NOW + DAY)
    new = root("New Root", not_before=NOW - DAY, not_after=NOW + DAY)
    leaf = new.issue("leaf")
    crossed = old.cross_sign(new)
    verify(tmp_path, new, leaf)
    bridged = Minted(leaf.certificate, leaf.key, crossed)
    assert bridged.chain == (bridged, crossed)
    verify(tmp_path, old, bridged)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("ecdsa-256", "ASN1 OID: prime256v1"),
        ("ecdsa-384", "ASN1 OID: secp384r1"),
        ("ecdsa-521", "ASN1 OID: secp521r1"),
        ("ed25519", "Public Key Algorithm: ED25519"),
        ("ed448", "Public Key Algorithm: ED448"),
        ("rsa-1024", "Public-Key: (1024 bit)"),
        ("rsa-2048", "Public-Key: (2048 bit)"),
        ("rsa-4096", "Public-Key: (4096 bit)"),
    ],
)
def test_every_kind_of_key_signs_and_is_signed(tmp_path: Path, kind: str, said: str) -> None:
    """
    A root and a leaf of the same kind of key verify.
    """
    anchor = root(not_before=NOW - DAY, not_after=NOW + DAY, key=shared_key(kind))
    leaf = anchor.issue("leaf", key=shared_key(kind))
    assert said in text(leaf)
    verify(tmp_path, anchor, leaf, "-auth_level", "0")


@pytest.mark.parametrize("kind", ["", "rsa", "rsa-", "rsa-big", "dsa-1024", "ecdsa-257"])
def test_an_unknown_kind_of_key_is_refused_by_name(kind: str) -> None:
    """
    The error repeats what was asked for.
    """
    with pytest.raises(ValueError, match=f"no kind of key: '{kind}'"):
        new_key(kind)


@pytest.mark.parametrize(
    ("not_before", "not_after", "begins", "ends"),
    [
        (NOW, NOW + DAY, "Jan 15 08:00:00 2027 GMT", "Jan 16 08:00:00 2027 GMT"),
        (NOW + 0.9, NOW + 0.9, "Jan 15 08:00:00 2027 GMT", "Jan 15 08:00:00 2027 GMT"),
        (-DAY, 0, "Dec 31 00:00:00 1969 GMT", "Jan  1 00:00:00 1970 GMT"),
        (
            datetime(1950, 1, 1, tzinfo=UTC),
            YEAR_9999,
            "Jan  1 00:00:00 1950 GMT",
            "Dec 31 23:59:59 9999 GMT",
        ),
        (-631152000, 253402300799, "Jan  1 00:00:00 1950 GMT", "Dec 31 23:59:59 9999 GMT"),
    ],
)
def test_times_are_what_was_asked_for(
    not_before: datetime | float, not_after: datetime | float, begins: str, ends: str
) -> None:
    """
    Datetimes and seconds, before 1970, the year 9999; a fraction of a second is cut off.
    """
    said = text(mint("x", not_before=not_before, not_after=not_after))
    assert f"Not Before: {begins}" in said
    assert f"Not After : {ends}" in said


def test_an_end_before_the_beginning_is_refused() -> None:
    """
    The library does not sign such a certificate; `forge` makes one.
    """
    with pytest.raises(ValueError, match="must be after the not valid before date"):
        mint("x", not_before=NOW, not_after=NOW - 1)
    said = text(forge(mint("x", not_before=NOW, not_after=NOW), not_after=datetime(1949, 5, 6, tzinfo=UTC)))
    assert "Not Before: Jan 15 08:00:00 2027 GMT" in said
    assert "Not After : May  6 00:00:00 1949 GMT" in said


@pytest.mark.parametrize("name", ["line\nbreak", 'quo"te\\', "\u05d0\u202eabc", "x" * 64, "nul\0"])
def test_a_common_name_is_kept_as_it_is(name: str) -> None:
    """
    Line breaks, quotes, right-to-left text, the longest name that RFC 5280 allows.
    """
    certificate = mint(name, not_before=0, not_after=1).certificate
    assert [part.value for part in certificate.subject] == [name]


def test_a_subject_may_be_empty_or_whole() -> None:
    """
    No string is no part at all; a name of several parts is taken as it is.
    """
    assert list(mint("", not_before=0, not_after=1).certificate.subject) == []
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example"),
            x509.NameAttribute(NameOID.COMMON_NAME, "a"),
        ]
    )
    assert mint(name, not_before=0, not_after=1).certificate.subject == name


@pytest.mark.parametrize("name", ["", "x" * 10_000])
def test_a_common_name_outside_the_limits_is_possible(name: str) -> None:
    """
    Empty and 10,000 characters, by way of `odd_subject`.
    """
    assert name.encode() in mint(odd_subject(name), not_before=0, not_after=1).der


def test_thousands_of_names_are_possible_and_not_critical() -> None:
    """
    5,000 DNS names; with none, the extension is absent.
    """
    names = [f"host-{number}.example" for number in range(5000)]
    found = mint("x", names, not_before=0, not_after=1).certificate.extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert found.value.get_values_for_type(x509.DNSName) == names
    assert not found.critical
    assert "Subject Alternative Name" not in text(mint("x", not_before=0, not_after=1))


def test_names_may_be_addresses_or_any_general_name() -> None:
    """
    What reads as an address becomes one.
    """
    names: list[str | x509.GeneralName] = ["192.0.2.1", "2001:db8::1", "*.example"]
    names.append(x509.UniformResourceIdentifier("spiffe://a/b"))
    said = text(mint("x", names, not_before=0, not_after=1))
    assert "IP Address:192.0.2.1, IP Address:2001:DB8:0:0:0:0:0:1, DNS:*.example, URI:spiffe://a/b" in said


def test_usual_extensions_suit_the_certificate() -> None:
    """
    A leaf serves, an authority signs; RSA keys may also encipher.
    """
    leaf = text(mint("x", not_before=0, not_after=1))
    assert "CA:FALSE" in leaf
    assert "Digital Signature\n" in leaf
    assert "TLS Web Server Authentication" in leaf
    assert "Digital Signature, Key Encipherment\n" in text(
        mint("x", not_before=0, not_after=1, key=shared_key("rsa-2048"))
    )
    authority = text(root(not_before=0, not_after=1, path_length=3))
    assert "CA:TRUE, pathlen:3" in authority
    assert "Certificate Sign, CRL Sign\n" in authority
    assert "Extended Key Usage" not in authority


def test_every_extension_may_differ_or_be_absent() -> None:
    """
    What is said is what is in the certificate, down to none at all.
    """
    said = text(
        mint(
            "x",
            not_before=0,
            not_after=1,
            key_usage=["cRLSign", "keyAgreement", "encipherOnly"],
            extended_key_usage=["1.3.6.1.5.5.7.3.2", "1.2.3.4"],
            serial=0xABCDEF,
            signature_hash="sha384",
            extensions=[(x509.TLSFeature([x509.TLSFeatureType.status_request]), False)],
        )
    )
    for expected in (
        "Key Agreement, CRL Sign, Encipher Only\n",
        "TLS Web Client Authentication, 1.2.3.4",
        "11259375 (0xabcdef)",
        "ecdsa-with-SHA384",
        "status_request",
    ):
        assert expected in said
    bare = root(not_before=0, not_after=1, ca=None, key_usage=(), key_identifiers=False)
    assert "X509v3 Basic Constraints" not in text(bare)
    leaf = mint(
        "x", not_before=0, not_after=1, ca=None, key_usage=(), extended_key_usage=(), key_identifiers=False
    )
    assert list(leaf.certificate.extensions) == []


def test_an_unknown_key_usage_is_refused_by_name() -> None:
    """
    A typo must not make another certificate than the one that was meant.
    """
    with pytest.raises(ValueError, match="no key usage of RFC 5280: digitalsignature"):
        mint("x", not_before=0, not_after=1, key_usage=["digitalsignature"])


@pytest.mark.parametrize(
    ("key", "signature_hash", "said"),
    [
        ("rsa-2048", "sha1", "sha1WithRSAEncryption"),
        ("rsa-2048", "md5", "md5WithRSAEncryption"),
        ("ecdsa-256", "sha1", "ecdsa-with-SHA1"),
    ],
)
def test_forged_signatures_with_broken_hashes_are_valid(
    tmp_path: Path, key: str, signature_hash: str, said: str
) -> None:
    """
    `forge` signs with SHA-1 and MD5, which the library no longer does.
    """
    anchor = root(not_before=NOW - DAY, not_after=NOW + DAY, key=shared_key(key))
    leaf = forge(anchor.issue("leaf"), signature_hash=signature_hash)
    assert text(leaf).count(f"Signature Algorithm: {said}") == 2
    verify(tmp_path, anchor, leaf, "-auth_level", "0")


def test_a_staple_is_a_valid_response(tmp_path: Path, ca: Minted) -> None:
    """
    What a server would staple is accepted by openssl, and its times are what was asked for.
    """
    leaf = ca.issue("leaf")
    response = tmp_path / "staple.der"
    response.write_bytes(staple(leaf, this_update=NOW - DAY, next_update=NOW + DAY))
    assert ca.issuer is not None
    trusted, _ = write_pair(tmp_path, "root", [ca.issuer])
    signer, _ = write_pair(tmp_path, "ca", [ca])
    said = openssl(
        "ocsp",
        *("-respin", response, "-CAfile", trusted, "-verify_other", signer),
        *("-text", "-attime", f"{NOW:.0f}"),
    )
    assert "Response verify OK" in said
    assert "Next Update: Jan 16 08:00:00 2027 GMT" in said


def test_the_key_fits_the_certificate(ca: Minted) -> None:
    """
    The PEM of key and certificate have the same public key.
    """
    leaf = ca.issue("leaf")
    assert openssl("pkey", "-pubout", given=leaf.key_pem) == openssl(
        "x509", "-noout", "-pubkey", given=leaf.pem
    )


def test_a_minted_certificate_does_not_show_its_key(ca: Minted) -> None:
    """
    What a log or a failed assertion prints has no secret.
    """
    assert "PRIVATE KEY" not in repr(ca)
