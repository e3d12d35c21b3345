"""
What the answers about public logs say was issued: read, bounded, remembered. The servers are fakes.
"""

import json
import string
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.discovery import certificate_transparency as source
from exporter.discovery import issuances as module
from exporter.discovery.base import SourceError
from exporter.discovery.issuances import bounded, distinguished_name, from_json, issuance, merged, to_json
from exporter.model.issuance import Issuance
from exporter.pki.issuance import issuer_names
from tests.discovery.test_certificate_transparency import (
    HOUR,
    NOW,
    FakeLogs,
    Query,
    cert_spotter,
    crt_sh,
    logs,
    run,
    settings,
)
from tests.support.certificates import authority

__all__ = ["logs"]


def one(number: int = 1, names: tuple[str, ...] = ("www.example.com",), begin: float = NOW) -> Issuance:
    """
    An issuance.
    """
    return Issuance(
        names, begin, NOW + 90 * 24 * HOUR, "O=A", "A", f"{number:x}", "", f"number {number} at x"
    )


def known(remembered: Any) -> tuple[Issuance, ...]:
    """
    What was issued by what is remembered, after it was kept as JSON.
    """
    return source.SOURCE.issuances(json.loads(json.dumps(remembered)))


def test_crt_sh_says_what_was_issued(logs: FakeLogs) -> None:
    """
    The names that fit either question, together; a precertificate and its certificate are one.
    """
    below = crt_sh("www.example.com", "*.Example.com", "b\u00fccher.example.com", "admin@example.com")
    logs.answer = lambda query: (
        200,
        [below, {**below, "id": 8}] if "%" in query["q"][0] else [{**below, "name_value": "example.com"}],
        {},
    )
    (found,) = known(run(settings(logs)).remember)
    assert found == Issuance(
        ("*.example.com", "example.com", "www.example.com", "xn--bcher-kva.example.com"),
        1_796_083_200.0,
        1_803_859_200.0,
        "CN=R11,O=Let's Encrypt,C=US",
        "Let's Encrypt",
        "3a1",
        "",
        found.reference,
    )
    assert found.reference in {"number 7 at crt.sh", "number 8 at crt.sh"}


def test_cert_spotter_says_what_was_issued(logs: FakeLogs) -> None:
    """
    With all names and the hash of the key; what is revoked, or without an issuer's name, is not compared.
    """
    row = cert_spotter(5, "www.example.com", "example.org")
    rows = [
        {**row, "pubkey_sha256": "AB" * 32},
        {**row, "id": "6", "revoked": True},
        {**row, "id": "7", "issuer": {"friendly_name": "Let's Encrypt", "name": ""}},
    ]
    logs.answer = lambda query: (200, [] if "after" in query else rows, {})
    first = run(settings(logs, source="certspotter"))
    (found,) = known(first.remember)
    assert (found.names, found.key, found.serial) == (("example.org", "www.example.com"), "ab" * 32, "")
    assert (found.issuer, found.reference) == ("CN=R11,O=Let's Encrypt,C=US", "number 5 at certspotter")
    again = run(settings(logs, source="certspotter"), first.remember, NOW + 6 * HOUR)
    assert known(again.remember) == (found,)


def test_it_stays_while_the_server_fails(logs: FakeLogs) -> None:
    """
    And goes when it is over.
    """
    logs.says([crt_sh("www.example.com")])
    first = run(settings(logs))
    assert len(known(first.remember)) == 1
    logs.says(b"", 502)
    with pytest.raises(SourceError) as failure:
        run(settings(logs), first.remember, NOW + 6 * HOUR)
    listing = failure.value.listing
    assert listing is not None
    assert known(listing.remember) == known(first.remember)
    with pytest.raises(SourceError) as failure:
        run(settings(logs), first.remember, NOW + 60 * 24 * HOUR)
    assert failure.value.listing is None


@pytest.mark.parametrize("name", ["crt.sh", "certspotter"])
def test_what_an_older_version_remembers_is_asked_for_again(logs: FakeLogs, name: str) -> None:
    """
    Its names stay, and all pages are read.
    """

    def answer(query: Query) -> tuple[int, Any, dict[str, str]]:
        row = crt_sh("www.example.com") if name == "crt.sh" else cert_spotter(9, "www.example.com")
        return 200, [] if "after" in query else [row], {}

    logs.answer = answer
    names = {"old.example.com": [NOW + HOUR, "A", "1", True]}
    older = {"place": [name, logs.url], "domains": {"example.com": [NOW, NOW, "9", names]}}
    assert known(older) == ()
    found = run(settings(logs, source=name), older)
    assert len(known(found.remember)) == 1
    assert len(logs.asked) == 2


@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        [],
        {"domains": 7},
        {"domains": {"a": [1, 2, "", {}, [[1]]]}},
        {"domains": {"a": [1, 2, "", {}, [[[], 1, 2, *"abcde"]]]}},
    ],
)
def test_what_is_damaged_says_nothing(value: Any) -> None:
    """
    It may be of another version.
    """
    assert source.SOURCE.issuances(value) == ()


def test_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    By names and issuer, in all, by all names together, and by the names of one.
    """
    many = [one(number, begin=NOW - number) for number in range(1, 30)]
    kept, left_out = bounded(many, NOW)
    assert [found.serial for found in kept] == [f"{number:x}" for number in range(1, 9)]
    assert left_out == 0
    others = [one(number, (f"n{number}.example.com",), NOW - number) for number in range(10)]
    monkeypatch.setattr(module, "LIMIT", 4)
    assert bounded(others, NOW) == (others[:4], 6)
    monkeypatch.setattr(module, "NAMES_LIMIT", 3)
    assert bounded(others, NOW) == (others[:3], 7)
    assert bounded(others, NOW + 90 * 24 * HOUR) == ([], 0)
    names = [f"n{number}.example.com" for number in range(module.NAMES_OF_ONE + 1)]
    assert issuance(names, (0.0, 1.0), "O=A", "", "", "") is None
    assert issuance(names[1:], (0.0, 1.0), "O=A", "", "", "") is not None


def test_what_is_left_out_is_told(logs: FakeLogs, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    With the others, over all domains.
    """
    monkeypatch.setattr(module, "LIMIT", 2)
    rows = [{**crt_sh(f"{name}.example.com"), "serial_number": name} for name in "abc"]
    logs.says(rows)
    listing = run(settings(logs))
    assert len(known(listing.remember)) == 2
    assert "certificates that are not compared with what is served: 1, the oldest ones" in listing.notes


def test_what_two_domains_list_is_one() -> None:
    """
    By issuer, serial number and begin; without a serial number by where it was found.
    """
    a, b = one(names=("a.example.com",)), one(names=("b.example.org",))
    assert merged([a, b]) == [replace(a, names=("a.example.com", "b.example.org"))]
    assert len(merged([replace(a, serial=""), replace(b, serial="", reference="number 2 at x")])) == 2
    assert list(from_json(to_json([a, b]))) == [a, b]


@pytest.mark.parametrize(
    ("text", "issuer"),
    [
        ("C=US, O=Let's Encrypt, CN=R11", "CN=R11,O=Let's Encrypt,C=US"),
        (
            'C=US, ST=TX, O="cPanel, Inc.", CN="cPanel, Inc. CA"',
            "CN=cPanel\\, Inc. CA,O=cPanel\\, Inc.,ST=TX,C=US",
        ),
        ("CN=R11,O=Let's Encrypt,C=US", "CN=R11,O=Let's Encrypt,C=US"),
        ("C = AT, O = ZeroSSL + OU = x\\, y", "OU=x\\, y,O=ZeroSSL,C=AT"),
        ("CN=Only", "CN=Only"),
        ("no name at all", None),
        ("", None),
        ('O="never closed', None),
    ],
)
def test_the_name_of_an_issuer(text: str, issuer: str | None) -> None:
    """
    As certificates have it (RFC 4514), from OpenSSL's way and RFC 4514's.
    """
    found = issuance(["www.example.com"], (0.0, 1.0), text, "", "", "")
    assert (found.issuer if found is not None else None) == issuer


def test_it_is_the_name_that_the_certificate_has() -> None:
    """
    So that both are compared.
    """
    minted = authority('A "B", C+D')
    subject = minted.certificate.subject.rfc4514_string()
    attribute = distinguished_name(subject)
    assert attribute == [("CN", 'A "B", C+D Intermediate')]
    found = issuance(["www.example.com"], (0.0, 1.0), subject, "", "", "")
    assert found is not None
    assert issuer_names(found.issuer) == {'a "b", c+d intermediate'} == issuer_names(subject)


@given(st.text(alphabet=string.ascii_letters + ' ,+="\\#', max_size=600))
def test_any_text_is_a_name_or_none(text: str) -> None:
    """
    In time that does not explode.
    """
    found = issuance(["www.example.com"], (0.0, 1.0), text, "", text, text)
    assert found is None or issuer_names(found.issuer) is not None
