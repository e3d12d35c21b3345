"""
What others say, made fit for a log, a label, a page and a terminal.
"""

import base64
import html
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model.foreign_text import (
    HIDDEN,
    bounded,
    clean,
    credentials,
    holds,
    printable,
    printable_lines,
    quoted,
)

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJleHBvcnRlciJ9.c2lnbmF0dXJl"
PASSWORD = 'pass&word "ü" /+'


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, é, ☃ and 日本", "plain, é, ☃ and 日本"),
        ("\x1b[31mred\x07", r"\u001b[31mred\u0007"),
        ("C1 \x85\x9b and DEL \x7f", r"C1 \u0085\u009b and DEL \u007f"),
        ("turned \u202e\u2066\u2069\u200e\u200f", r"turned \u202e\u2066\u2069\u200e\u200f"),
        ("no width \u200b\u200d\ufeff\u00ad", r"no width \u200b\u200d\ufeff\u00ad"),
        ("lines\r\n\u2028\u2029\v\f", r"lines\r\n\u2028\u2029\u000b\u000c"),
        ("a\ttab, a\u00a0hard and a\u3000wide blank", r"a\ttab, a hard and a wide blank"),
        ("half \ud800 and a byte \udcff", r"half \ud800 and a byte \xff"),
        ("tags \U000e0001", r"tags \U000e0001"),
        (r"a back\slash", r"a back\slash"),
    ],
)
def test_what_can_not_be_printed_is_an_escape(text: str, shown: str) -> None:
    """
    Everywhere the same one.
    """
    assert printable(text) == shown


@given(st.text(st.characters(exclude_categories=())), st.integers(1, 50))
def test_any_text_is_one_printable_line(text: str, limit: int) -> None:
    """
    Which UTF-8 can encode, and which is as long as it may be.
    """
    for shown in (
        printable(text),
        bounded(text, limit),
        clean(text, limit),
        clean(text.encode("utf-8", "replace"), limit),
    ):
        assert shown.isprintable()
        assert shown.encode("utf-8").decode("utf-8") == shown
    assert max(len(bounded(text, limit)), len(clean(text, limit))) <= limit + len("...")
    assert all(line.isprintable() for line in printable_lines(text).split("\n"))


def test_what_was_said_is_one_line_of_words() -> None:
    """
    Line ends and indents of a server's words are blanks, and bytes that are no UTF-8 are shown.
    """
    assert clean(b"250-mail\r\n250 \xff\x00 ok\r\n", 50) == r"250-mail 250 \xff\u0000 ok"
    assert clean("x" * 100, 10) == "xxxxxxxxxx..."
    assert len(clean(b"x" * 10_000_000, 20)) == 23


@pytest.mark.parametrize("secret", [TOKEN, PASSWORD, "hunter2", "s3cr", "a b\nc d e f"])
def test_a_secret_is_hidden_however_it_is_repeated(secret: str) -> None:
    """
    As it is, encoded, and inside of what is encoded.
    """
    data = secret.encode()
    forms = [
        secret,
        f"Bearer {secret}",
        quote(secret, safe=""),
        json.dumps(secret),
        html.escape(secret),
        repr(secret),
        base64.b64encode(data).decode(),
        base64.urlsafe_b64encode(data).decode(),
        data.hex(),
    ]
    for form in forms:
        said = clean(f"denied: <{form}>, try again", 2000, (secret,))
        assert HIDDEN in said, form
        assert said.startswith("denied: <")
        assert said.endswith(">, try again")
        assert secret not in said
        assert "".join(secret.split()) not in said


@pytest.mark.parametrize("before", ["", "u:", "user:", "someone:"])
@pytest.mark.parametrize("after", ["", ":x", "\n"])
def test_a_secret_inside_of_base64_is_hidden(before: str, after: str) -> None:
    """
    Wherever it begins in it.
    """
    encoded = base64.b64encode(f"{before}{TOKEN}{after}".encode()).decode()
    said = clean(f"Basic {encoded}", 500, (TOKEN,))
    assert HIDDEN in said
    assert len(said) < len("Basic ") + len(HIDDEN) + 20


@given(st.integers(0, len(TOKEN) - 8), st.integers(8, len(TOKEN)))
def test_a_part_of_a_secret_is_hidden_too(begin: int, length: int) -> None:
    """
    Servers show the beginning or the end, and messages are cut off.
    """
    part = TOKEN[begin : begin + length]
    assert clean(f"token {part} is expired", 500, (TOKEN,)) == f"token {HIDDEN} is expired"


def test_a_secret_is_hidden_before_the_text_is_cut() -> None:
    """
    What the limit cuts off would leave a part of it that nobody recognises.
    """
    said = clean(f"{'x' * 95} {TOKEN}", 100, (TOKEN,))
    assert said == f"{'x' * 95} {HIDDEN[:4]}..."


def test_short_secrets_are_hidden_where_they_are_words() -> None:
    """
    The letters of one are in every other word; an empty one is none.
    """
    assert (
        clean("abc is no alphabet: abcd, abc.", 100, ("abc",)) == f"{HIDDEN} is no alphabet: abcd, {HIDDEN}."
    )
    assert clean("a problem", 100, ("",)) == "a problem"
    assert clean("the password 1234 of 12345", 100, ("1234",)) == f"the password {HIDDEN} of {HIDDEN}5"


@given(st.text(), st.lists(st.text(), max_size=3))
def test_secrets_of_any_kind_are_no_surprise(text: str, secrets: list[str]) -> None:
    """
    And what is long is not left.
    """
    said = clean(text, 500, tuple(secrets))
    assert said.isprintable()
    for secret in secrets:
        if len(secret) >= 4 and secret.isprintable() and "  " not in secret and HIDDEN not in secret:
            assert secret not in said or secret in HIDDEN


def test_names_that_hold_a_secret_are_told() -> None:
    """
    As a whole only: parts of human words are in many a name.
    """
    assert holds(f"prod/{TOKEN}:tls.crt", (TOKEN,))
    assert holds(f"prod/{TOKEN.encode().hex()}", (TOKEN,))
    assert not holds("prod/cluster-cert", ("my-cluster-token",))
    assert not holds("prod/abc", ("abc",))


def test_the_user_alone_is_no_secret() -> None:
    """
    The password is, and both as they are sent.
    """
    assert credentials("me:hunter22") == ("hunter22", "bWU6aHVudGVyMjI=")
    assert credentials(None) == credentials("") == ()


@pytest.mark.parametrize("secret", [TOKEN, PASSWORD, "hunter2", "Straße-İstanbul-9"])
def test_a_secret_in_other_letters_is_hidden_whole(secret: str) -> None:
    """
    Servers and programs write names and headers in their own case; what stands around it keeps its own.
    """
    for said in (
        secret.upper(),
        secret.lower(),
        secret.swapcase(),
        base64.b64encode(secret.encode()).decode().upper(),
    ):
        if len(said) == len(secret) or said.isascii():
            assert clean(f"Denied: <{said}>, Try Again", 2000, (secret,)) == f"Denied: <{HIDDEN}>, Try Again"
            assert len(secret) < 8 or holds(f"prod/{said}", (secret,))


def test_what_is_quoted_is_printable_and_bounded() -> None:
    """
    That it was cut is shown.
    """
    assert quoted("it's\x1b", 10) == r"'it's\u001b'"
    assert quoted("x" * 100, 3) == "'xxx...'"
