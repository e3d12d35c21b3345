"""
Renewal information in bytes: names of certificates, answers, pauses.
"""

import contextlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from exporter.demo.minter import Minted
from exporter.model.observation import Renewal
from exporter.model.targets import DIRECTORIES
from exporter.pki.renewal_information import (
    EXPLANATION_LIMIT,
    LONGEST_PAUSE,
    SHORTEST_PAUSE,
    USUAL_PAUSE,
    RenewalInformationError,
    certificate_id,
    pause,
    question,
    read_directory,
    read_window,
)
from tests.support.certificates import NOW

DIRECTORY = "https://acme.example/directory"
WINDOW = {"start": "2027-01-02T04:00:00Z", "end": "2027-01-03T04:00:00Z"}
BEGIN, END = (datetime(2027, 1, day, 4, tzinfo=UTC).timestamp() for day in (2, 3))


def window(**changes: Any) -> bytes:
    """
    An answer with this window.
    """
    return json.dumps({"suggestedWindow": {**WINDOW, **changes}}).encode()


def named(ca: Minted, key_identifier: bytes | None, serial: int) -> bytes:
    """
    A certificate with this identifier of the issuer's key, DER.
    """
    extension = x509.AuthorityKeyIdentifier(key_identifier, None, None)
    return ca.issue("a", serial=serial, key_identifiers=False, extensions=[(extension, False)]).der


def test_the_name_of_the_standards_example(ca: Minted) -> None:
    """
    RFC 9773 section 4.1: the first bit of the serial number is set, so a zero byte goes before it.
    """
    der = named(ca, bytes.fromhex("69885B6B87464041E1B37B847BA0AE2CDE01C8D4"), 0x87654321)
    assert certificate_id(der) == "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"


def test_a_serial_number_without_its_first_bit(ca: Minted) -> None:
    """
    No zero byte goes before it, and the padding of base64 is not sent.
    """
    assert certificate_id(named(ca, b"\1", 0x7F)) == "AQ.fw"
    assert certificate_id(named(ca, b"\1", 0x80)) == "AQ.AIA"


def test_a_certificate_without_a_key_identifier_has_no_name(ca: Minted) -> None:
    """
    Nor has what is no certificate.
    """
    assert certificate_id(ca.issue("a", key_identifiers=False).der) is None
    assert certificate_id(b"no certificate") is None


def test_a_question_is_the_place_and_the_name() -> None:
    """
    With one slash between them.
    """
    assert question("https://a.example/ari", "a.b") == "https://a.example/ari/a.b"
    assert question("https://a.example/ari/", "a.b") == "https://a.example/ari/a.b"


def test_a_window_has_begin_and_end() -> None:
    """
    The end is when it is due.
    """
    assert read_window(window()) == Renewal(END, BEGIN, "")


@pytest.mark.parametrize(
    "end", ["2027-01-03T04:00:00.123456789Z", "2027-01-03T05:00:00+01:00", "2027-01-03t04:00:00z"]
)
def test_times_may_have_fractions_and_zones(end: str) -> None:
    """
    As RFC 3339 permits.
    """
    assert read_window(window(end=end)).due == pytest.approx(END, abs=1)


def test_the_page_that_explains_is_kept() -> None:
    """
    A person is sent there.
    """
    answer = {"suggestedWindow": WINDOW, "explanationURL": "https://a.example/why?id=1"}
    assert read_window(json.dumps(answer).encode()).explanation_url == "https://a.example/why?id=1"


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "ftp://a.example/",
        "https://user:word@a.example/",
        "https://",
        "https://a.example/\n",
        "https://[a.example/",
        "https://ä.example/",
        "https://a.example/" + EXPLANATION_LIMIT * "a",
        7,
        None,
        {},
    ],
)
def test_an_odd_page_is_left_out(url: Any) -> None:
    """
    The window counts all the same.
    """
    answer = {"suggestedWindow": WINDOW, "explanationURL": url}
    assert read_window(json.dumps(answer).encode()) == Renewal(END, BEGIN, "")


BAD_ANSWERS = {
    "nothing": b"",
    "text": b"<html>",
    "not UTF-8": b"\xff",
    "a list": b"[]",
    "no window": b"{}",
    "a window that is text": b'{"suggestedWindow": "tomorrow"}',
    "no end": json.dumps({"suggestedWindow": {"start": WINDOW["start"]}}).encode(),
    "a number": window(start=1767326400),
    "no time": window(start="tomorrow"),
    "no zone": window(start="2027-01-02T04:00:00"),
    "no such day": window(start="2027-02-30T00:00:00Z"),
    "the end first": window(end=WINDOW["start"]),
    "nested": b"[" * 100_000,
}


@pytest.mark.parametrize("answer", BAD_ANSWERS.values(), ids=list(BAD_ANSWERS))
def test_a_bad_answer_has_words(answer: bytes) -> None:
    """
    And nothing else is raised.
    """
    with pytest.raises(RenewalInformationError):
        read_window(answer)


def test_a_directory_says_where_to_ask() -> None:
    """
    Or it does not: then the server gives no renewal information.
    """
    assert (
        read_directory(b'{"renewalInfo": "https://acme.example/ari"}', DIRECTORY)
        == "https://acme.example/ari"
    )
    assert read_directory(b'{"newNonce": "https://acme.example/nonce"}', DIRECTORY) == ""


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b'{"renewalInfo": 7}', b'{"renewalInfo": "http://a.example/"}', b'{"renewalInfo": "/a"}'],
)
def test_a_bad_directory_has_words(data: bytes) -> None:
    """
    A server of https does not send us to http.
    """
    with pytest.raises(RenewalInformationError):
        read_directory(data, DIRECTORY)


def test_a_server_of_http_may_stay_there() -> None:
    """
    A private one behind a firewall, say: whoever configured it knows.
    """
    assert read_directory(b'{"renewalInfo": "http://a/ari"}', "http://a/directory") == "http://a/ari"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("21600", 21600.0),
        (" 3600 ", 3600.0),
        ("0", SHORTEST_PAUSE),
        ("1", SHORTEST_PAUSE),
        ("999999999", LONGEST_PAUSE),
        ("99999999999999999999", USUAL_PAUSE),
        ("Fri, 15 Jan 2027 10:00:00 GMT", 7200.0),
        ("Fri, 15 Jan 2027 10:00:00 -0000", 7200.0),
        ("Fri, 15 Jan 2010 10:00:00 GMT", SHORTEST_PAUSE),
        ("Fri, 15 Jan 2100 10:00:00 GMT", LONGEST_PAUSE),
        ("soon", USUAL_PAUSE),
        ("-5", USUAL_PAUSE),
        ("", USUAL_PAUSE),
        (None, USUAL_PAUSE),
    ],
)
def test_a_pause_is_what_the_server_wants_within_limits(header: str | None, seconds: float) -> None:
    """
    A minute at least, a day at most, six hours when it does not say. NOW is 2027-01-15 08:00 UTC.
    """
    assert pause(header, NOW) == seconds


def test_the_limits_are_those_of_the_standard() -> None:
    """
    RFC 9773 section 4.3.
    """
    assert (SHORTEST_PAUSE, LONGEST_PAUSE, USUAL_PAUSE) == (60.0, 86400.0, 6 * 3600.0)


def test_the_known_directories_are_of_https() -> None:
    """
    What is asked without being configured is asked safely.
    """
    assert "Let's Encrypt" in DIRECTORIES
    assert all(url.startswith("https://") for url in DIRECTORIES.values())


@given(st.binary(max_size=500) | st.text().map(str.encode))
def test_any_bytes_are_an_answer_or_refused(data: bytes) -> None:
    """
    Nothing but RenewalInformationError is raised.
    """
    with contextlib.suppress(RenewalInformationError):
        read_window(data)
    with contextlib.suppress(RenewalInformationError):
        read_directory(data, DIRECTORY)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.datetimes().map(str),
    lambda inside: st.lists(inside) | st.dictionaries(st.text(), inside),
    max_leaves=5,
)


@given(json_values, json_values, json_values)
def test_any_values_are_an_answer_or_refused(start: Any, end: Any, url: Any) -> None:
    """
    What is an answer ends after it began, and explains itself by a usual URL or not at all.
    """
    answer = {"suggestedWindow": {"start": start, "end": end}, "explanationURL": url, "renewalInfo": url}
    data = json.dumps(answer).encode()
    with contextlib.suppress(RenewalInformationError):
        found = read_window(data)
        assert found.begin is not None
        assert found.due > found.begin
        assert found.explanation_url == "" or found.explanation_url.startswith("http")
    with contextlib.suppress(RenewalInformationError):
        assert read_directory(data, DIRECTORY).startswith(("https://", ""))


@given(st.text(max_size=60))
def test_any_header_gives_a_pause_within_limits(header: str) -> None:
    """
    Whatever the server sends.
    """
    assert SHORTEST_PAUSE <= pause(header, NOW) <= LONGEST_PAUSE
