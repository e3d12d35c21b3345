"""
Targets as people type them: a host, a path of a file, a URL of a page, names from standard input.
"""

import os
import re
import sys
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

from exporter.model.urls import SCHEMES, Form, is_path, url_of_host

IGNORED = "the path is ignored: a server has one certificate for all of its pages"
"""The remark about the path of a page."""

NOT_CONFIGURED = "no target of the configuration has this name, so it is taken for a host"
"""The remark about a word that may be a misspelt name."""


def named(texts: Iterable[str]) -> Iterator[str]:
    """
    Yield the texts of the command line; of `-`, the lines of standard input that are no comment.
    """
    for text in texts:
        if text != "-":
            yield text
            continue
        for line in sys.stdin:
            words = line.strip()
            if words and not words.startswith("#"):
                yield words


def meant(text: str, names: Collection[str]) -> tuple[str, str]:
    """
    Return the URL that is meant by a text, and a remark for its writer; empty when there is none.

    `names` are those of configured targets, which go before everything else. A text that is nothing of this
    is returned as it is.
    """
    if text in names or not text:
        return text, ""
    scheme, separator, rest = text.partition("://")
    if separator:
        place, slash, path = rest.partition("/")
        known = SCHEMES.get(scheme.lower())
        if known is not None and known.form is Form.HOST and slash and path:
            return f"{scheme}://{place}", f"{text}: {IGNORED}"
        return text, ""
    path_of_file = Path(text).expanduser()
    if path_of_file.exists() or is_path(text):
        pattern = "/**" if path_of_file.is_dir() else ""
        return f"file://{quote(os.fsencode(path_of_file.absolute()))}{pattern}", ""
    place, _, path = text.partition("/")
    # What has another scheme gets a message of its own.
    if ("/" in text and "." not in place) or text.partition(":")[0].lower() in SCHEMES:
        return text, ""
    url = url_of_host(place)
    if url is None:
        return text, ""
    if path:
        return url, f"{text}: {IGNORED}"
    return url, f"{text}: {NOT_CONFIGURED}" if names and re.fullmatch(r"[\w-]+", text) else ""
