"""
Targets as people type them: a host, a path of a file, a URL of a page, names from standard input.
"""

import difflib
import glob
import os
import re
import sys
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from urllib.parse import quote, unquote

from exporter.model.hosts import is_network, parse_ip
from exporter.model.paths import is_path
from exporter.model.schemes import SCHEMES, Form
from exporter.model.urls import second_scheme, url_of_host
from exporter.net.regular_files import is_there
from exporter.passwords import without_secrets
from exporter.yaml_lines import SIZE_LIMIT

IGNORED = "the path is ignored: a server has one certificate for all of its pages"
"""The remark about the path of a page."""

CONFIGURATION = (
    "it is read as a file with certificates. If it is your configuration, name it by --config.file"
)
"""The remark about a file that looks like a configuration."""

UNNAMED = "it is taken for a host. If it is the name of a target, name the configuration by --config.file"
"""The remark about a word that may be the name of a target, where there is no configuration."""


_NEXT = re.compile(r"\s[a-z][a-z0-9+.-]*://", re.IGNORECASE)
"""Where another URL begins, as in a variable of a shell that has several."""


def named(texts: Iterable[str]) -> Iterator[str]:
    """
    Yield the texts of the command line; of `-`, the lines of standard input without comments.
    """
    for text in texts:
        if text != "-":
            yield text
            continue
        for line in sys.stdin:
            # Some editors begin a file with a byte order mark.
            words = re.sub(r"(^|\s)#.*", "", line.removeprefix("\ufeff").strip(), flags=re.DOTALL).rstrip()
            if words:
                yield words


def meant(text: str, names: Collection[str]) -> tuple[str, str]:
    """
    Return the URL that is meant by a text, and a remark for its writer; empty when there is none.

    `names` are those of configured targets, which go before everything else. A text that is nothing of this
    is returned as it is.
    """
    if text in names:
        return text, ""
    # Of a name in a directory blanks are part.
    text = text if is_there(Path(text)) else text.strip()
    # The empty path is this directory, which nobody means who leaves a variable of the shell unset.
    if not text:
        return "", ""
    scheme, separator, rest = text.partition("://")
    if separator:
        place, path = _divided(rest)
        # A list is refused as it is: what follows the first host is no path.
        is_list = second_scheme(rest) is not None or re.search(r",|\S\s+\S", place) or _NEXT.search(path)
        if is_list or _may_have_password(place, path):
            return text, ""
        known = SCHEMES.get(scheme.lower())
        if known is not None and known.form is Form.HOST and place and path:
            return f"{scheme}://{place}", f"{without_secrets(text)}: {IGNORED}"
        return text, ""
    path_of_file = _from_home(text)
    exists = is_there(path_of_file)
    place, path = _divided(text)
    # What has another scheme gets a message of its own.
    may_be_host = "." in place or ":" in place or place.lower() == "localhost"
    # Where `https//www` lacks its colon, the slashes are two.
    is_below = re.fullmatch(r"[^/\s@]+/(?!/)[^\s@]*", text) is not None and not may_be_host
    if exists or is_path(text) or is_below:
        is_directory = path_of_file.is_dir() if exists else text.endswith("/")
        pattern = "/**" if is_directory else ""
        whole = os.fsencode(path_of_file.absolute())
        # What exists is meant itself, whatever else its name would match as a pattern.
        remark = f"{text}: {CONFIGURATION}" if exists and _is_configuration(path_of_file) else ""
        written = quote(glob.escape(whole) if exists else whole)
        return f"file://{written.rstrip('/') if pattern else written}{pattern}", remark
    if ("/" in text and not may_be_host) or is_network(text) or text.partition(":")[0].lower() in SCHEMES:
        return text, ""
    url = url_of_host(place)
    if url is None or _may_have_password(place, path):
        return text, ""
    if path:
        return url, f"{without_secrets(text)}: {IGNORED}"
    host, _, port = text.rpartition(":")
    if parse_ip(text) is not None and parse_ip(host) is not None and port.isdecimal():
        return url, f"{text}: it is taken for an address alone. With a port it is written [{host}]:{port}"
    return url, ""


def _from_home(text: str) -> Path:
    """
    Return the path of a file, whose `~` is somebody's home directory.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError:
        # Nobody has that name.
        return Path(text)


def _is_configuration(file: Path) -> bool:
    """
    Return whether a file may be meant as a configuration: by its name, and a line that each of them has.
    """
    if not re.search(r"\.ya?ml$", file.name) or not file.is_file():
        return False
    try:
        with file.open("rb") as opened:
            return re.search(b"^(targets|discover):", opened.read(SIZE_LIMIT), re.MULTILINE) is not None
    except OSError:
        return False


def _may_have_password(place: str, path: str) -> bool:
    """
    Return whether a host and what follows it may be a user and a password with a slash in it.

    Then it is refused as it is: its beginning would be asked of name servers, and be shown as a target.
    """
    place, path = unquote(place), unquote(path)
    return "@" in place or ("@" in path and (":" in place or url_of_host(place) is None))


def _divided(text: str) -> tuple[str, str]:
    """
    Return the host, with its port, and what follows it.
    """
    place, *rest = re.split("[/?#]", text, maxsplit=1)
    return place, "".join(rest)


def taken_for_host(text: str, url: str, names: Collection[str], file: str | None) -> str:
    """
    Return a remark about a word that is taken for a host and may be the name of a target; else empty.

    `url` is what `meant` made of it, `names` are those of the configuration `file`; None: there is none.
    """
    if url != f"https://{text}" or not re.fullmatch(r"[\w-]+", text) or text.lower() == "localhost":
        return ""
    if file is None:
        return f"{text}: {UNNAMED}"
    near = difflib.get_close_matches(text, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{text}: no target of {file} has this name, so it is taken for a host{hint}"
