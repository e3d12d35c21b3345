"""
Passwords in what people write: a URL with a user and a password, or a query, is shown without them. Pure.

    without_user("https://me:secret@example.com")  https://...@example.com
"""

import re


def without_user(text: str) -> str:
    """
    Return a value that somebody wrote, without the user and the password in it: `https://...@host`.

    A password may have any character, also a slash or a second '@'. Without a colon there is none, but what
    is between `://` and '@' may be a token. The path of a file is as it is.
    """
    start = re.match(r"([a-z][a-z0-9+.-]*:)?//|", text, re.IGNORECASE).group()  # type: ignore[union-attr]
    found = re.fullmatch(r"(.*)(?:@|%40)(.*)", text[len(start) :], re.DOTALL)
    if found is None or (start and found[1].startswith("/")):
        return text
    user, place = found.groups()
    secret = re.search(":|%3A", user, re.IGNORECASE) or (start and not re.search("[/?#]", user))
    return f"{start}...@{place}" if secret else text


def without_secrets(text: str) -> str:
    """
    Return a value that somebody wrote `without_user`, and without the query of a URL: `postgres://db/a?...`.

    A password or a token may be in that, or in what drivers of databases take: `db:1433;password=secret`,
    `host=db password=secret`. The path of a file may have a '?' as a pattern.
    """
    text = re.sub(r"([?;])[^?;\s=]*=.*", r"\1...", without_user(text), flags=re.DOTALL)
    return re.sub(r"\b(password|passwd|pwd)\s*=.*", r"\1=...", text, flags=re.DOTALL | re.IGNORECASE)


def shown(text: str) -> str:
    """
    Return a value for a message: quoted, printable, `without_secrets`, cut to 60 characters.
    """
    # Before it is cut: what is left of a password would not be known as one.
    text = without_secrets(text)
    return repr(text if len(text) <= 60 else text[:60] + "…")
