"""
Certificates of every age and shape, each as a real server presents it.
"""

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from exporter.demo.minter import Minted, root
from exporter.engine.scrape import EndpointRow
from exporter.probes.tls import openssl
from exporter.report.exposition import Exposition
from exporter.report.status import Level
from tests.golden.values import status_of
from tests.probes.tls.wire.probing import (
    NAME,
    alerting,
    detail,
    facts,
    items,
    leaf_of,
    scrape,
    see,
    shown,
    target,
    tls_server,
    told,
    watching,
)
from tests.support.certificates import (
    DAY,
    EXTENSIONS,
    NOW,
    SERIAL,
    VALIDITY,
    authority,
    extensions_of,
    forge,
    generalized_time,
    odd_subject,
    remade,
    shared_key,
    tlv,
    utc_time,
    validity,
)
from tests.support.misbehaving import serving
from tests.support.servers import s_server

YEAR = 365 * DAY

Presented = list[Minted]


def above(ca: Minted) -> Minted:
    """
    The root above the intermediate.
    """
    assert ca.issuer is not None
    return ca.issuer


def lone(**options: str) -> Presented:
    """
    A certificate for NAME that signed itself.
    """
    return [root(NAME, not_before=NOW - DAY, not_after=NOW + YEAR, ca=False, **options)]  # type: ignore[arg-type] # every option used here is a string


def early_intermediate(ca: Minted) -> Presented:
    """
    A leaf that outlives its intermediate.
    """
    short = above(ca).issue("Short", ca=True, not_before=NOW - YEAR, not_after=NOW + 20 * DAY)
    return [short.issue(NAME, [NAME], not_before=NOW - DAY, not_after=NOW + 89 * DAY), short]


def needless_cross_sign(ca: Minted) -> Presented:
    """
    A good chain, and our root once more as another root once signed it, until yesterday.
    """
    other = root("Old Root", not_before=NOW - 9 * YEAR, not_after=NOW - DAY)
    crossed = other.cross_sign(above(ca))
    return [*ca.issue(NAME, [NAME]).chain, crossed]


def expired_root(ca: Minted) -> Presented:
    """
    A good chain with an older certificate of our root, now over, of the same name and key.
    """
    trusted = above(ca)
    old = root(trusted.certificate.subject, not_before=NOW - 9 * YEAR, not_after=NOW - DAY, key=trusted.key)
    return [*ca.issue(NAME, [NAME]).chain, old]


@dataclass(frozen=True, slots=True)
class Case:
    """
    What is presented, and what is told of it.
    """

    chain: Callable[[Minted], Presented]
    told: tuple[str, ...] = ("seen",)
    alerting: tuple[str, ...] = ("leaf",)
    items: tuple[str, ...] = ("leaf", "chain-1")


def issued(*, shared: str = "", **options: object) -> Callable[[Minted], Presented]:
    """
    A leaf for NAME with these options, and the intermediate. `shared` is a kind of key that is slow to make.
    """
    usual = {"subject": NAME, "names": [NAME], "not_before": NOW - DAY, "not_after": NOW + 89 * DAY}

    def chain(ca: Minted) -> Presented:
        key = {"key": shared_key(shared)} if shared else {}
        return list(ca.issue(**{**usual, **options, **key}).chain)  # type: ignore[arg-type] # a table

    return chain


CASES = {
    "good": Case(issued()),
    "expired": Case(issued(not_before=NOW - 90 * DAY, not_after=NOW - DAY), ("seen", "expired")),
    "not yet valid": Case(issued(not_before=NOW + DAY, not_after=NOW + 91 * DAY), ("seen", "not_yet_valid")),
    "wrong host": Case(issued(names=["other.example"]), ("seen", "name_mismatch")),
    "only a common name": Case(issued(names=[]), ("seen", "name_mismatch")),
    "expired and wrong host": Case(
        issued(names=["other.example"], not_before=NOW - 90 * DAY, not_after=NOW - DAY),
        ("seen", "expired", "name_mismatch"),
    ),
    "self-signed": Case(lambda _: lone(), ("seen", "name_mismatch", "self_signed"), items=("leaf",)),
    "missing intermediate": Case(
        lambda ca: [ca.issue(NAME, [NAME])], ("seen", "missing_intermediate"), items=("leaf",)
    ),
    "untrusted root": Case(
        lambda _: list(authority("Unknown").issue(NAME, [NAME]).chain), ("seen", "untrusted_root")
    ),
    "untrusted root that is served": Case(
        lambda _: [*(leaf := authority("Unknown").issue(NAME, [NAME])).chain, above(leaf.chain[1])],
        ("seen", "untrusted_root"),
        items=("leaf", "chain-1", "chain-2"),
    ),
    "served root": Case(
        lambda ca: [*ca.issue(NAME, [NAME]).chain, above(ca)], items=("leaf", "chain-1", "chain-2")
    ),
    "served expired root": Case(expired_root, items=("leaf", "chain-1", "chain-2")),
    "expired cross-sign that nobody needs": Case(
        needless_cross_sign,
        # Clients do without it: it is dead weight, without deadlines.
        items=("leaf", "chain-1", "chain-2"),
    ),
    "intermediate that ends first": Case(early_intermediate, alerting=("leaf", "chain-1")),
    "certificates out of order": Case(
        lambda ca: [(one := ca.issue(NAME, [NAME])), above(ca), one.chain[1]],
        items=("leaf", "chain-1", "chain-2"),
    ),
    "the leaf twice": Case(
        lambda ca: [(one := ca.issue(NAME, [NAME])), one, one.chain[1]],
        # Places keep their numbers: the second one is the leaf again.
        items=("leaf", "chain-2"),
    ),
    "authority as leaf": Case(issued(ca=True), ("seen", "ca_as_leaf", "wrong_key_usage")),
    "for clients only": Case(
        issued(extended_key_usage=[ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string]),
        ("seen", "wrong_key_usage"),
    ),
    "no extended key usage": Case(issued(extended_key_usage=[])),
    "no common name": Case(
        issued(subject=x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Nameless")]))
    ),
    "empty subject": Case(issued(subject="")),
    "Ed25519": Case(issued(key="ed25519")),
    "Ed448": Case(issued(key="ed448")),
    "P-384": Case(issued(key="ecdsa-384", signature_hash="sha384")),
    "P-521": Case(issued(key="ecdsa-521", signature_hash="sha512")),
    "RSA of 2048 bits": Case(issued(shared="rsa-2048")),
    "RSA of 1024 bits": Case(issued(shared="rsa-1024"), ("seen", "weak_key")),
    "SHA-1": Case(
        lambda ca: [forge(ca.issue(NAME, [NAME]), signature_hash="sha1"), ca], ("seen", "weak_signature")
    ),
    "ends in 2099": Case(issued(not_after=datetime(2099, 1, 1, tzinfo=UTC)), alerting=("leaf", "chain-1")),
    "ends in the year 9999": Case(
        issued(not_after=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)), alerting=("leaf", "chain-1")
    ),
    "ends before it begins": Case(
        lambda ca: [
            forge(
                ca.issue(NAME, [NAME]),
                signature_hash="sha1",  # signed anew, since the times are
                not_before=datetime(2027, 6, 1, tzinfo=UTC),
                not_after=datetime(2026, 6, 1, tzinfo=UTC),
            ),
            ca,
        ],
        ("seen", "expired", "not_yet_valid", "weak_signature"),
    ),
    "1000 names": Case(issued(names=[NAME, *(f"host-{number}.example" for number in range(1000))])),
}


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_what_is_presented_is_seen_and_judged(tmp_path: Path, ca: Minted, anchors: str, case: Case) -> None:
    """
    The look succeeds with the server's certificates byte for byte, whatever is wrong with them.
    """
    chain = case.chain(ca)
    with s_server(tmp_path, chain, "-cipher", "DEFAULT:@SECLEVEL=0") as server:
        row = see(server, ca_file=anchors)
    assert told(row) == case.told
    assert shown(row, *chain)
    assert tuple(items(row)) == case.items
    assert tuple(alerting(row)) == case.alerting
    first = facts(row).items[0]
    assert first.not_before == chain[0].certificate.not_valid_before_utc.timestamp()
    assert first.not_after == chain[0].certificate.not_valid_after_utc.timestamp()


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["127.0.0.1"], ("seen",)),
        (["127.0.0.2"], ("seen", "name_mismatch")),
        # RFC 9525 section 6.4: an address as a DNS name is no address.
        ([x509.DNSName("127.0.0.1")], ("seen", "name_mismatch")),
    ],
)
def test_an_address_is_a_name_too(
    tmp_path: Path, ca: Minted, anchors: str, names: list[str], expected: tuple[str, ...]
) -> None:
    """
    A target by its address wants that address among the certificate's, and sends no server name.
    """
    with s_server(tmp_path, ca.issue("by address", names).chain) as server:
        assert told(see(server, ca_file=anchors, server_name=None)) == expected


def test_a_common_name_of_ten_kilobytes(tmp_path: Path, ca: Minted, anchors: str) -> None:
    """
    It is seen whole; metrics cut it.
    """
    with s_server(tmp_path, ca.issue(odd_subject("x" * 10_000), [NAME]).chain) as server:
        row = see(server, ca_file=anchors)
    assert told(row) == ("seen",)
    assert leaf_of(row).common_name == "x" * 10_000


def test_newlines_and_quotes_in_a_subject(tmp_path: Path, ca: Minted, anchors: str) -> None:
    """
    They are kept, and what can't be printed is shown as its escape.
    """
    odd = 'a"b\nc\\d\u202e'
    with s_server(tmp_path, ca.issue(odd, [NAME]).chain) as server:
        row = see(server, ca_file=anchors)
    assert told(row) == ("seen",)
    assert leaf_of(row).common_name == r'a"b\nc\d\u202e'


def test_a_certificate_message_over_100_kilobytes_says_so(tmp_path: Path, ca: Minted, anchors: str) -> None:
    """
    5000 names make more than the TLS library takes in one message: a failure that says what is too large.
    """
    names = [NAME, *(f"a-name-of-some-length-{number}.example" for number in range(5000))]
    with s_server(tmp_path, ca.issue(NAME, names).chain) as server:
        row = see(server, ca_file=anchors)
    assert told(row) == ("bad_certificate",)
    assert "100 kB" in detail(row)


# Certificates that OpenSSL reads, and strict clients do not.

BEGIN, END = utc_time("270114080000Z"), utc_time("270413080000Z")
"""The usual dates of the leaves above."""

NO_DATE = validity(utc_time("270230080000Z"), END)
"""February has no 30th: OpenSSL shows "Bad time value", and gnutls-cli and curl connect all the same."""


def fault_details(row: EndpointRow) -> list[str]:
    """
    The sentences of the faults.
    """
    assert row.verdict is not None
    return [found.detail for found in row.verdict.faults]


def usual(ca: Minted) -> Minted:
    """
    A good leaf with the usual dates.
    """
    return ca.issue(NAME, [NAME], not_before=NOW - DAY, not_after=NOW + 88 * DAY)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({VALIDITY: validity(utc_time("270114090000+0100"), END)}, "its begin 270114090000+0100 is not"),
        (
            {VALIDITY: validity(BEGIN, generalized_time("20270413080000.5Z"))},
            "its end 20270413080000.5Z is not",
        ),
        ({0: b""}, "its version is not 3, and the rest of it is"),
    ],
)
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_a_leaf_that_strict_clients_refuse_is_seen(
    tmp_path: Path, ca: Minted, anchors: str, fields: dict[int, bytes], words: str, version: str
) -> None:
    """
    Its dates are facts, and a fault says that strict clients refuse it.
    """
    leaf = remade(usual(ca), fields)
    with s_server(tmp_path, [leaf, ca], version) as server:
        row = see(server, ca_file=anchors)
    assert told(row) == ("seen", "malformed"), row.held.observation
    assert shown(row, leaf, ca)
    assert (leaf_of(row).not_before, leaf_of(row).not_after) == (NOW - DAY, NOW + 88 * DAY)
    (words_told,) = fault_details(row)
    assert words_told.startswith(f"Strict clients refuse to read the certificate leaf: {words}")


TOO_SHORT = {
    "UTCTime": validity(BEGIN, utc_time("2704130800Z")),
    "GeneralizedTime": validity(BEGIN, generalized_time("202704130800Z")),
}
"""Dates without seconds: OpenSSL 3, GnuTLS and Java read them, OpenSSL 4 ends the handshake."""


@pytest.mark.parametrize("dates", TOO_SHORT.values(), ids=list(TOO_SHORT))
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_a_leaf_at_which_the_library_ends_the_handshake_is_seen(
    tmp_path: Path, ca: Minted, anchors: str, dates: bytes, version: str
) -> None:
    """
    The message with the certificates is read all the same: they are facts, and that OpenSSL refuses a fault.
    """
    leaf = remade(usual(ca), {VALIDITY: dates})
    with s_server(tmp_path, [leaf, ca, above(ca)], version) as server:
        row = see(server, ca_file=anchors)
    assert told(row) == ("seen", "invalid_chain", "malformed"), row.held.observation
    assert shown(row, leaf, ca, above(ca))
    assert items(row) == ["leaf", "chain-1", "chain-2"]
    assert (leaf_of(row).not_before, leaf_of(row).not_after) == (NOW - DAY, NOW + 88 * DAY)
    words = fault_details(row)[1]
    assert words.startswith("Strict clients refuse to read the certificates that the server presents: ")
    assert words.endswith("time is too short.")
    assert not openssl._kept


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_a_certificate_at_which_the_library_ends_the_handshake_hides_no_leaf(
    tmp_path: Path, ca: Minted, anchors: str, version: str
) -> None:
    """
    The same where it stands above the leaf.
    """
    leaf, odd = usual(ca), remade(ca, {VALIDITY: TOO_SHORT["UTCTime"]})
    with s_server(tmp_path, [leaf, odd, ca], version) as server:
        row = see(server, ca_file=anchors)
    assert told(row) == ("seen", "malformed"), row.held.observation
    assert shown(row, leaf, odd, ca)


def test_a_begin_in_the_year_0_is_seen(tmp_path: Path, ca: Minted, anchors: str) -> None:
    """
    No calendar of Python has that year, and its metrics and words are made all the same.

    Strict clients refuse it.
    """
    leaf = remade(usual(ca), {VALIDITY: validity(generalized_time("00000101000000Z"), END)})
    with s_server(tmp_path, [leaf, ca]) as server:
        row = see(server, ca_file=anchors)
    assert told(row) == ("seen", "malformed")
    assert (leaf_of(row).not_before, leaf_of(row).not_after) == (-62_167_219_200.0, NOW + 88 * DAY)
    assert alerting(row) == ["leaf"]
    text = Exposition().text([], [row], {})
    assert 'item="leaf",kind="leaf"} -62167219200.0\n' in text
    assert status_of(row, NOW).level is Level.WARNING


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_an_unreadable_certificate_in_a_chain_hides_no_other(
    tmp_path: Path, ca: Minted, anchors: str, version: str
) -> None:
    """
    What can be read is facts, in its place, and the rest is a fault that says where it stands and why.
    """
    leaf, broken = usual(ca), remade(above(ca).issue("Broken", ca=True), {VALIDITY: NO_DATE})
    with s_server(tmp_path, [leaf, broken, ca], version) as server:
        row = see(server, ca_file=anchors)
    assert told(row) == ("seen", "malformed"), row.held.observation
    assert shown(row, leaf, ca)
    assert items(row) == ["leaf", "chain-2"]
    assert (leaf_of(row).not_before, leaf_of(row).not_after) == (NOW - DAY, NOW + 88 * DAY)
    (words,) = fault_details(row)
    assert words == (
        "Certificate 2 of the 3 that the server presents can't be read (the certificate cannot be read: its "
        "begin '270230080000Z' is no date: day is out of range for month): strict clients (Go, Java) refuse "
        "them all."
    )


def test_an_unreadable_leaf_is_a_failure_with_what_else_was_seen(
    tmp_path: Path, ca: Minted, anchors: str
) -> None:
    """
    The dates that matter are not known, so the look has failed; those of the chain are.
    """
    leaf = remade(usual(ca), {VALIDITY: NO_DATE})
    with s_server(tmp_path, [leaf, ca]) as server:
        row = see(server, ca_file=anchors)
    assert told(row) == ("bad_certificate", "malformed")
    assert detail(row).startswith("the server's own certificate can't be read: ")
    assert items(row) == ["chain-1"]
    assert facts(row).chains == ()


def test_a_lone_unreadable_leaf_is_a_failure(tmp_path: Path, ca: Minted) -> None:
    """
    Where nothing can be read there are no facts.
    """
    with s_server(tmp_path, [remade(usual(ca), {VALIDITY: NO_DATE})]) as server:
        row = see(server)
    assert told(row) == ("bad_certificate",)
    assert row.held.facts is None


async def test_a_leaf_that_can_not_be_read_any_more_stays(ca: Minted, anchors: str) -> None:
    """
    What was seen of it before keeps its alerts until another can be read.
    """
    good = usual(ca)
    contexts = [tls_server([leaf, ca]) for leaf in (good, remade(good, {VALIDITY: NO_DATE}))]

    def answer(connection: socket.socket, _: threading.Event) -> None:
        with contexts.pop(0).wrap_socket(connection, server_side=True) as conversation:
            conversation.recv(1)

    with serving(answer) as port:
        one = target(port, ca_file=anchors)
        async with watching() as watch:
            await scrape(watch, one)
            (row,) = await scrape(watch, one)
    assert told(row)[0] == "bad_certificate"
    assert items(row) == ["chain-1", "leaf"]
    assert leaf_of(row).der == good.der
    assert "leaf" in alerting(row)


def test_unreadable_parts_that_do_not_matter_are_no_fault(tmp_path: Path, ca: Minted, anchors: str) -> None:
    """
    An extension that nobody can read and nobody must, and a serial number of 0. A negative one is a fault,
    since Go refuses it (SQL Server makes such certificates for itself).
    """
    leaf = usual(ca)
    junk = tlv(0x30, bytes.fromhex("06042a030405") + tlv(0x04, b"junk"))
    for number, faults in ((b"\0", ()), (b"\x85", ("malformed",))):
        odd = remade(leaf, {SERIAL: tlv(0x02, number), EXTENSIONS: extensions_of(leaf, junk)})
        with s_server(tmp_path, [odd, ca]) as server:
            assert told(see(server, ca_file=anchors)) == ("seen", *faults)
