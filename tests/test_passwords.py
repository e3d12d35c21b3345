"""
Passwords that people write into URLs are shown nowhere.
"""

import pytest

from exporter.passwords import shown, without_user


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("postgres://me:secret@localhost/db", "postgres://...@localhost/db"),
        ("postgres://me:sec/ret@localhost/db", "postgres://...@localhost/db"),
        ("https://me:123/secret@localhost", "https://...@localhost"),
        ("https://me:sec?r#et@localhost", "https://...@localhost"),
        ("https://token@localhost/a?b", "https://...@localhost/a?b"),
        ("me:secret@localhost/a", "...@localhost/a"),
        ("me:sec@ret@localhost/a", "...@localhost/a"),
        ("me:my secret@localhost", "...@localhost"),
        ("https:/me:secret@localhost", "...@localhost"),
        ("//me:secret@localhost", "//...@localhost"),
        ("https://me%3Asecret%40localhost", "https://...@localhost"),
        ("file://me:secret@localhost/x", "file://...@localhost/x"),
        ("https://localhost/@me", "https://localhost/@me"),
        ("file:///etc/ssl/client@localhost.pem", "file:///etc/ssl/client@localhost.pem"),
        ("admin@localhost", "admin@localhost"),
        ("image@sha256:00", "image@sha256:00"),
        ("https://localhost:8443/a:b", "https://localhost:8443/a:b"),
        ("@", "@"),
        ("", ""),
    ],
)
def test_a_value_is_shown_without_a_password(text: str, bare: str) -> None:
    """
    However it is written, and only where there may be one.
    """
    assert without_user(text) == bare
    assert without_user(bare) == bare


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("https://me:secret@localhost", "'https://...@localhost'"),
        ("https://me:my 'secret'@localhost", "'https://...@localhost'"),
        ("https://me:my\tsecret@localhost", "'https://...@localhost'"),
        (f"https://me:{'secret' * 12}@localhost", "'https://...@localhost'"),
        ("me@localhost", "'me@localhost'"),
        ("postgresql://db/x?user=me&password=sec?ret", "'postgresql://db/x?...'"),
        ("https://me:secret@localhost/a?token=x y", "'https://...@localhost/a?...'"),
        ("jdbc:sqlserver://db:1433;user=me;password=sec;ret", "'jdbc:sqlserver://db:1433;...'"),
        ("host=db user=me Password = 'my secret'", "'host=db user=me Password=...'"),
        ("file:///etc/ssl/?.pem", "'file:///etc/ssl/?.pem'"),
        ("a\tb", r"'a\tb'"),
        ("a" * 61, f"'{'a' * 60}…'"),
    ],
)
def test_a_message_shows_a_value_without_a_password(text: str, words: str) -> None:
    """
    In quotes, whatever stands in it, and not all of what is long.
    """
    assert shown(text) == words
