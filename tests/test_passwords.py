"""
Passwords that people write into URLs are shown nowhere.
"""

import pytest

from exporter.passwords import without_user, without_users


@pytest.mark.parametrize(
    ("text", "shown"),
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
def test_a_value_is_shown_without_a_password(text: str, shown: str) -> None:
    """
    However it is written, and only where there may be one.
    """
    assert without_user(text) == shown
    assert without_user(shown) == shown


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("'https://me:secret@localhost' is not a name", "'https://...@localhost' is not a name"),
        ("'https://me:my secret@localhost' is not a name", "'https://...@localhost' is not a name"),
        ("write https://me:secret@localhost, or https://a", "write https://...@localhost, or https://a"),
        ("targets[0]['me:secret@localhost']: no such key", "targets[0]['...@localhost']: no such key"),
        (
            "a target's URL must not contain a user, so no '@'",
            "a target's URL must not contain a user, so no '@'",
        ),
        ("the host's name: write me@localhost", "the host's name: write me@localhost"),
    ],
)
def test_a_message_is_shown_without_a_password(message: str, shown: str) -> None:
    """
    Each value in it by itself, and the words around it as they are.
    """
    assert without_users(message) == shown
