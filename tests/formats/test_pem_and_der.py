"""
Certificates, revocation lists, PKCS#7 and OCSP responses, as PEM and as DER.
"""

import base64
import subprocess
from pathlib import Path

import pytest

from exporter.formats import ITEM_LIMIT, parse, recognised
from exporter.formats.budget import STEPS
from exporter.formats.parsed import ParseContext
from exporter.model.reasons import Fault
from exporter.pki import ber
from tests.formats.samples import (
    der,
    issuer,
    leaf,
    ocsp_response,
    pem,
    read,
    reasons,
    revocation_list,
    root,
    signed_data,
    told,
)
from tests.support.certificates import (
    DAY,
    ECDSA_WITH_SHA256,
    NOW,
    VALIDITY,
    forge,
    generalized_time,
    name_of,
    remade,
    signed,
    tlv,
    utc_time,
    validity,
)


def test_a_chain_is_a_leaf_with_what_is_above_it() -> None:
    """
    A CA certificate beside its leaf is named by its place and has the leaf that it accompanies.
    """
    parsed = read(leaf().pem + issuer().pem + root().pem)
    assert told(parsed) == {"leaf": "leaf", "chain-1": "intermediate", "chain-2": "root"}
    assert [one.fingerprint_sha256 for one in parsed.chains[0].certificates] == [
        item.certificate.fingerprint_sha256 for item in parsed.items if item.certificate is not None
    ]
    assert not parsed.chains[0].presented
    assert not parsed.facts.presented


def test_a_bundle_without_a_leaf_is_authorities() -> None:
    """
    CA certificates that accompany nothing stand for themselves, self-signed or not.
    """
    assert told(read(root().pem + issuer().pem)) == {
        "certificate-1": "authority",
        "certificate-2": "authority",
    }


def test_several_leaves_and_a_ca_of_none_of_them() -> None:
    """
    Leaves are counted; a CA certificate above none of them is an authority beside them.
    """
    other = root().issue("Other CA", not_before=NOW, not_after=NOW + DAY, ca=True)
    parsed = read(other.pem + leaf().pem + leaf("b.example").pem + issuer().pem + leaf().pem)
    assert told(parsed) == {
        "certificate-1": "authority",
        "leaf": "leaf",
        "leaf-2": "leaf",
        "chain-2": "intermediate",
    }
    assert len(parsed.chains) == 2


def test_a_ca_that_names_hosts_is_a_servers_own_certificate() -> None:
    """
    `openssl req -x509` marks the self-signed certificate of a server as a CA; on the wire it is a leaf too.
    """
    own = root().issue("own.example", ["own.example"], ca=True)
    assert told(read(own.pem)) == {"leaf": "leaf"}


def test_a_broken_block_hides_no_other() -> None:
    """
    The good blocks are told, the problem names the line, and no other certificate takes its place.
    """
    broken = pem("CERTIFICATE", leaf().der[:-20])
    parsed = read(leaf().pem + broken + issuer().pem)
    assert told(parsed) == {"leaf": "leaf", "chain-2": "intermediate"}
    assert reasons(parsed) == ["format_broken"]
    line = leaf().pem.count(b"\n") + 1
    assert f"line {line}" in parsed.problems[0].detail
    assert parsed.facts.partial


@pytest.mark.parametrize(
    "blocks",
    [
        "-----BEGIN CERTIFICATE-----\nMIIB",
        "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
        "-----BEGIN TRUSTED CERTIFICATE-----\nAAAA\n-----END TRUSTED CERTIFICATE-----\n",
        "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
        "-----BEGIN X509 CRL-----\nAAAA",
        "-----BEGIN PKCS7-----\nMAMCAQE=\n-----END PKCS7-----\n",
    ],
)
def test_what_can_not_be_read_is_a_problem(blocks: str) -> None:
    """
    A block that is cut off, no base64, or not what its label says.
    """
    parsed = read(blocks.encode())
    assert parsed.items == ()
    assert reasons(parsed) == ["format_broken"]


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda data: data.replace(b"\n", b"\r\n"),
        lambda data: data.replace(b"\n", b"\r"),
        lambda data: b"\xef\xbb\xbf# a comment\n" + data,
        lambda data: b"Bag Attributes\n    friendlyName: x\n" + data,
        lambda data: data.replace(b"\n-----END", b"-----END"),
        lambda data: (data + data).replace(b"-----\n-----B", b"----------B"),
        lambda data: data.replace(b"CERTIFICATE-----", b"X509 CERTIFICATE-----"),
        lambda _: pem("TRUSTED CERTIFICATE", leaf().der + b"\x30\x03\x0c\x01a"),
    ],
)
def test_pem_of_every_writer_is_read(wrapped: object) -> None:
    """
    Line ends of any system, text around, other labels, and what OpenSSL puts behind a trusted certificate.
    """
    assert callable(wrapped)
    assert told(read(wrapped(leaf().pem))) == {"leaf": "leaf"}


_LEAF, _ISSUER = leaf().pem, issuer().pem
_LINES = _LEAF.splitlines(keepends=True)
_KEY = leaf().key_pem


@pytest.mark.parametrize(
    ("data", "is_told"),
    [
        (_LEAF + _ISSUER, False),
        (b"\xef\xbb\xbf" + _LEAF + _ISSUER, False),
        (b"\xef\xbb\xbf" + _LEAF + b"\xef\xbb\xbf" + _ISSUER, False),
        (_LEAF.replace(b"\n", b" \t\n") + _ISSUER, False),
        (_LINES[0] + b"\n" + b"".join(_LINES[1:]) + _ISSUER, False),
        (b"# -----BEGIN CERTIFICATE-----\n# abc\n# -----END CERTIFICATE-----\n" + _LEAF + _ISSUER, False),
        (b"what is in -----BEGIN CERTIFICATE----- lines\n" + _LEAF + _ISSUER, False),
        (_KEY + _LEAF + _ISSUER, False),
        (_LEAF.rstrip() + _ISSUER, True),
        (_KEY.rstrip() + _LEAF + _ISSUER, True),
        (_KEY.partition(b"-----END")[0] + _LEAF + _ISSUER, True),
        (b"subject=x " + _LEAF + _ISSUER, True),
        (_LEAF + b"subject=x " + _ISSUER, True),
        (b"  " + _LEAF + _ISSUER, True),
        (b"-" + _LEAF + _ISSUER, True),
        (_LEAF.replace(b"\n-----END", b"-----END") + _ISSUER, True),
        (_LEAF.replace(b"-----END", b" -----END") + _ISSUER, True),
        (_LEAF.rstrip() + b" # mine\n" + _ISSUER, True),
        (_LEAF.replace(b"END CERT", b"END X509 CERT") + _ISSUER, True),
        (_LEAF.replace(b"-----\nM", b"-----M") + _ISSUER, True),
        (b"".join(_LINES[:3]) + b"\n" + b"".join(_LINES[3:]) + _ISSUER, True),
        (b"".join(_LINES[:3]) + b"\r\n\r\n" + b"".join(_LINES[3:]) + _ISSUER, True),
    ],
    ids=range(22),
)
def test_what_openssl_leaves_out_is_read_and_told(data: bytes, is_told: bool, tmp_path: Path) -> None:
    """
    Servers that read the file with OpenSSL would lack a certificate, or refuse the file: a problem says so.
    """
    path = tmp_path / "chain.pem"
    path.write_bytes(data)
    command = ["openssl", "crl2pkcs7", "-nocrl", "-certfile", str(path)]
    collected = subprocess.run(command, capture_output=True, check=False).stdout
    shown = subprocess.run(
        ["openssl", "pkcs7", "-print_certs"], input=collected, capture_output=True, check=False
    )
    assert (shown.stdout.count(b"BEGIN") != 2) == is_told
    parsed = read(data)
    assert told(parsed) == {"leaf": "leaf", "chain-1": "intermediate"}
    assert reasons(parsed) == ["format_broken"] * is_told
    assert not is_told or "OpenSSL" in parsed.problems[0].detail


@pytest.mark.parametrize(
    "damaged",
    [
        _LEAF.replace(b"CERTIFICATE-----", b"certificate-----"),
        _LEAF.replace(b"BEGIN CERTIFICATE-----", b"BEGIN CERTIFICATE----"),
        _LEAF.replace(b"CERTIFICATE-----\n", b"CERTIFICATE----- x\n"),
    ],
    ids=range(3),
)
def test_a_damaged_begin_line_is_told_alone_and_before_others(damaged: bytes) -> None:
    """
    It is no block, and no silence: what follows it is read and keeps its place.
    """
    assert reasons(read(damaged)) == ["format_broken"]
    parsed = read(damaged + _ISSUER)
    assert told(parsed) == {"chain-1": "intermediate"}
    assert reasons(parsed) == ["format_broken"]
    assert "line 1" in parsed.problems[0].detail


def test_a_block_that_is_indented_as_a_whole_is_read() -> None:
    """
    It stands in a document of another format, which no server reads with OpenSSL.
    """
    parsed = read(
        b"data:\n" + b"".join(b"    " + line for line in (_LEAF + _ISSUER).splitlines(keepends=True))
    )
    assert told(parsed) == {"leaf": "leaf", "chain-1": "intermediate"}
    assert parsed.problems == ()


@pytest.mark.parametrize("broken", [pem("CERTIFICATE", leaf().der[:-20]), _LEAF[:300] + b"\n"], ids=range(2))
def test_beside_a_broken_block_no_authority_stands_alone(broken: bytes) -> None:
    """
    The leaf of a CA certificate may be what can't be read: it is what it was, and no authority.
    """
    assert told(read(broken + issuer().pem + root().pem)) == {"chain-1": "intermediate", "chain-2": "root"}
    assert told(read(issuer().der + broken[:40])) == {"chain-1": "intermediate"}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-16-le"])
def test_text_of_windows_is_read(encoding: str) -> None:
    """
    With a byte order mark, and in UTF-16, which is what PowerShell's `>` writes.
    """
    mark = "\ufeff" if encoding[-2:] in {"be", "le"} else ""
    parsed = read((mark + leaf().chain_pem.decode("ascii")).encode(encoding))
    assert told(parsed) == {"leaf": "leaf", "chain-1": "intermediate"}
    assert parsed.problems == ()


def test_base64_without_begin_and_end_is_read() -> None:
    """
    It is unambiguous: what it encodes begins like DER and is as long as it says.
    """
    assert told(read(base64.encodebytes(leaf().der))) == {"leaf": "leaf"}
    assert told(read(base64.b64encode(ocsp_response()))) == {"ocsp": "ocsp"}
    assert reasons(read(base64.b64encode(leaf().der[:-30]))) == ["format_broken"]
    assert reasons(read(b"MIT")) == ["format_unknown"]


@pytest.mark.parametrize(
    ("data", "words"), [(b"\x1f\x8b\x08\0", "gzip"), ("\ufeffhello".encode("utf-16-le"), "UTF-16")]
)
def test_what_is_unknown_is_named_where_it_can_be(data: bytes, words: str) -> None:
    """
    A person sees at once why it is not read.
    """
    (problem,) = read(data).problems
    assert problem.reason == "format_unknown"
    assert words in problem.detail


def test_an_answer_of_a_response_that_can_not_be_read_hides_no_other() -> None:
    """
    What it is about may be revoked, so it is told.
    """
    whole = ber.element(ocsp_response(revoked_at=NOW - 2 * DAY))
    _, explicit = whole
    ((kind, octets),) = explicit
    data, *signature = ber.element(octets.content)
    responder, produced, answers = (part.whole for part in data)
    body = der(0x30, responder, produced, der(0x30, der(0x30), ber.content(answers)))
    basic = der(0x30, body, *(part.whole for part in signature))
    parsed = read(der(0x30, b"\x0a\1\0", der(0xA0, der(0x30, kind.whole, der(0x04, basic)))))
    assert told(parsed) == {"ocsp": "ocsp"}
    assert [one.fault for one in parsed.faults] == [Fault.REVOKED]
    assert "answer 1 of the OCSP response can't be read" in parsed.problems[0].detail


def test_an_ocsp_response_that_says_revoked_is_a_fault() -> None:
    """
    What lies beside a certificate for a server to staple tells every client that it is revoked.
    """
    parsed = read(ocsp_response(revoked_at=NOW - 2 * DAY))
    assert told(parsed) == {"ocsp": "ocsp"}
    (fault,) = parsed.facts.faults
    assert fault.fault == "revoked"
    assert f"{leaf().certificate.serial_number:x}" in fault.detail
    assert not parsed.facts.presented
    assert read(ocsp_response()).facts.faults == ()


def test_a_key_is_passed_over() -> None:
    """
    What is in the block of a key is not even decoded: it is told by its label.
    """
    nonsense = b"-----BEGIN PRIVATE KEY-----\n?? no base64 ??\n-----END PRIVATE KEY-----\n"
    parsed = read(nonsense + leaf().pem)
    assert told(parsed) == {"leaf": "leaf"}
    assert parsed.problems == ()
    assert parsed.lasting == ("a private key",)


@pytest.mark.parametrize("hidden", ["sha1", "md5"])
def test_an_old_certificate_is_told(hidden: str) -> None:
    """
    Ended long ago, signed with what nobody signs with any more: it gives its dates like any other.
    """
    old = forge(
        root().issue("old.example", ["old.example"], not_before=NOW - 900 * DAY, not_after=NOW - DAY,
                     key="ecdsa-256"),
        signature_hash=None if hidden == "md5" else hidden,
    )  # fmt: skip
    (item,) = read(old.der).items
    assert item.not_after == NOW - DAY


def test_der_of_each_kind_is_told_by_its_structure() -> None:
    """
    Nothing but the bytes says what they are.
    """
    assert told(read(leaf().der)) == {"leaf": "leaf"}
    assert told(read(root().der)) == {"certificate-1": "authority"}
    assert told(read(revocation_list())) == {"crl": "crl"}
    assert told(read(ocsp_response())) == {"ocsp": "ocsp"}
    assert told(read(signed_data(leaf(), issuer()))) == {"leaf": "leaf", "chain-1": "intermediate"}
    assert told(read(signed_data(leaf(), issuer(), pem=True))) == {"leaf": "leaf", "chain-1": "intermediate"}


def test_what_is_read_more_than_once_costs_more() -> None:
    """
    Odd certificates, and those that can't be read at all: a file of them takes no longer than others.
    """

    def cost(data: bytes) -> int:
        given = ParseContext()
        parse(data, given)
        return STEPS - given.budget.left

    plain = leaf()
    odd = remade(plain, {0: tlv(0xA0, b"\2\1\7")})
    damaged = plain.der[:4] + b"\x31" + plain.der[5:]
    # Signed anew, and a signature by ECDSA may be some bytes shorter.
    assert cost(odd.der) >= cost(plain.der) + len(odd.der) // 2 - 2
    assert cost(pem("CERTIFICATE", damaged)) >= cost(pem("CERTIFICATE", plain.der)) + len(damaged) // 2
    crl = revocation_list()
    broken = crl[:4] + b"\x31" + crl[5:]
    assert cost(pem("X509 CRL", broken)) >= cost(pem("X509 CRL", crl)) + len(crl) // 4


def test_certificates_in_a_row_are_a_bundle() -> None:
    """
    DER has no bundles, and some programs write them all the same.
    """
    assert told(read(leaf().der + issuer().der + b"\n")) == {"leaf": "leaf", "chain-1": "intermediate"}
    assert reasons(read(leaf().der + issuer().der[:-1])) == ["format_broken"]


def test_lists_and_responses_end_when_the_next_is_due() -> None:
    """
    `next update` is the end of both.
    """
    (crl,) = read(revocation_list(NOW + 5 * DAY)).items
    assert (crl.not_before, crl.not_after) == (NOW - DAY, NOW + 5 * DAY)
    (response,) = read(ocsp_response()).items
    assert (response.not_before, response.not_after) == (NOW - DAY, NOW + 3 * DAY)


def test_a_list_with_an_odd_issuer_and_odd_dates_is_read() -> None:
    """
    As OpenSSL reads it; that strict clients refuse its dates is a fault.
    """
    name = name_of([("0603550403", 0x13, b"AT&T_CA"), ("060355040b", 0x0C, b"ops")])
    fields = [bytes.fromhex("020101"), ECDSA_WITH_SHA256, name]
    usual = [*fields, utc_time("270114080000Z"), utc_time("270120080000Z")]
    odd = [*fields, utc_time("2701140800Z"), generalized_time("20270120090000+0100")]
    for times, faults in ((usual, []), (odd, [Fault.MALFORMED])):
        parsed = read(pem("X509 CRL", signed(tlv(0x30, b"".join(times)), issuer())))
        (crl,) = parsed.items
        assert (crl.not_before, crl.not_after) == (NOW - DAY, NOW + 5 * DAY)
        assert [one.fault for one in parsed.faults] == faults


def test_certificates_that_strict_clients_refuse_are_read() -> None:
    """
    In PEM and DER, alone, beside others and in OpenSSL's own form.
    """
    odd = remade(leaf(), {VALIDITY: validity(utc_time("2701140800Z"), utc_time("270120090000+0100"))})
    for data in (odd.der, odd.pem, odd.pem + issuer().pem, pem("TRUSTED CERTIFICATE", odd.der + b"0\0")):
        item = read(data).items[0]
        assert (item.name, item.not_before, item.not_after) == ("leaf", NOW - DAY, NOW + 5 * DAY)
        assert item.certificate is not None
        assert item.certificate.irregular


def test_several_lists_are_told_apart() -> None:
    """
    Names of items never repeat.
    """
    parsed = read(pem("X509 CRL", revocation_list()) * 3)
    assert list(told(parsed)) == ["crl", "crl-2", "crl-3"]


def test_what_does_not_expire_is_named() -> None:
    """
    Keys and requests are told, so that a person knows what is in the file.
    """
    key = bytes.fromhex("302e020100300506032b657004220420") + bytes(32)
    assert read(key).lasting == ("a private key",)
    assert read(bytes.fromhex("302a300506032b6570032100") + bytes(32)).lasting == ("a public key",)
    refusal = bytes.fromhex("30030a0106")
    assert read(refusal).lasting == ("an OCSP responder's refusal to answer (unauthorized)",)


@pytest.mark.parametrize("data", [b"", b"hello", b"0123456789", b"\0" * 100, b"{}", b"<html/>", b"- yaml"])
def test_what_is_none_of_the_formats_is_unknown(data: bytes) -> None:
    """
    Text that begins with a zero looks like DER for one byte only.
    """
    assert recognised(data).format is None
    assert reasons(read(data)) == ["format_unknown"]


def test_more_items_than_the_limit_are_a_problem() -> None:
    """
    The first are watched, and the file fails: what is left out is not left out silently.
    """
    parsed = parse(pem("X509 CRL", revocation_list()) * (ITEM_LIMIT + 1), ParseContext())
    assert len(parsed.items) == ITEM_LIMIT
    assert reasons(parsed) == ["file_too_large"]


def test_a_text_that_is_signed_in_clear_is_no_damaged_certificate() -> None:
    """
    Its first block never has an END line of the same label (RFC 9580 section 7): nothing in it expires.
    """
    text = (
        b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nOrigin: Debian\n-----BEGIN PGP SIGNATURE-----\n"
    )
    found = parse(text + b"\niQIz\n-----END PGP SIGNATURE-----\n", ParseContext())
    assert found.items == ()
    assert found.problems == ()
