"""
Values: from the text in a configuration to the value of each key.

All functions raise ValueError with a message for the person who wrote the file.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from pydantic import ValidationInfo

from exporter.model.hosts import TargetError, normal_host, parse_name_server
from exporter.model.policies import DAY, HOUR, Before, Policy
from exporter.model.proxies import Proxy, parse_proxy
from exporter.model.schemes import SCHEMES
from exporter.model.suggestions import closest
from exporter.model.targets import HELM_TYPE, fingerprint
from exporter.model.urls import Url, closest_scheme, parse_url
from exporter.passwords import shown, without_user

NAME_LIMIT = 300
"""Characters of a name: the URL of the longest host (253) at any port, by any scheme, is one."""


PASSWORD_LIMIT = 1024
"""Most bytes of a pass phrase that OpenSSL takes (PEM_BUFSIZE)."""


_UNIT_SECONDS = {"w": 7 * DAY, "d": DAY, "h": HOUR, "m": 60.0, "s": 1.0, "ms": 0.001}


_DURATION = re.compile("".join(f"(?:([0-9]{{1,9}}){unit})?" for unit in _UNIT_SECONDS))


_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


NO_VALUE = "has no value: write one, or remove the key"


NOT_TEXT = "must be a text, not a list or a mapping"


def _text(value: Any) -> str:
    """
    Return the value unchanged, if it is text.
    """
    if not isinstance(value, str):
        raise ValueError(NOT_TEXT)  # noqa: TRY004 - pydantic wants ValueError
    return value


def name(value: Any) -> str:
    """
    Return a name that can stand in a label, a page and a log. Raises TargetError, which is a ValueError.
    """
    text = _text(value)
    if not text.strip() or len(text) > NAME_LIMIT or not text.isprintable():
        raise TargetError(f"a name (without one, the URL) is 1 to {NAME_LIMIT} printable characters")
    # In the path of a page they mean a directory (RFC 3986 section 5.2.4), also percent-encoded.
    if text in {".", ".."}:
        raise TargetError(f"{text!r} can't be a name: no link to its page would work")
    if re.search("://.*(@|%40)", text) and without_user(text) != text:
        raise TargetError("a name is shown to everybody: it must not contain a user name or a password")
    return text


def listed(value: Any) -> Any:
    """
    Accept one text where a list of texts is meant.
    """
    return [value] if isinstance(value, str) else value


def url(value: Any) -> Url:
    """
    Parse a target's URL. Raises TargetError, which is a ValueError.
    """
    text = _text(value)
    if len(text) > 2048:
        raise TargetError(f"a URL has at most 2048 characters, this one has {len(text)}")
    if " - " in text:
        raise TargetError(
            f"{shown(text)} is two lines of a list: the '-' of each stands below that of the first"
        )
    return parse_url(text)


def _duration(text: str, unit: str) -> float:
    """
    Return the seconds of a duration in Prometheus's notation (`1m30s`), the larger unit first.

    `unit` is the likely one of a number without any, which is refused as Prometheus does.
    """
    if text == "0":
        return 0.0
    found = _DURATION.fullmatch(text)
    if _NUMBER.fullmatch(text):
        raise ValueError(f"{shown(text)} has no unit: write {text}{unit} if that is meant")
    if not text or not found:
        raise ValueError(f"{shown(text)} is not a duration: write it like 10s, 1m30s, 500ms, 6h, 30d or 2w")
    numbers = map(int, found.groups("0"))
    return sum(number * unit for number, unit in zip(numbers, _UNIT_SECONDS.values(), strict=True))


def timeout(value: Any) -> float:
    """
    Return a timeout in seconds, from a duration.
    """
    text = _text(value)
    seconds = _duration(text, "s")
    # Prometheus's own scrape timeouts are far below.
    if not 0 < seconds <= 600:
        raise ValueError(f"must be more than 0 and at most 10m, not {text}")
    return seconds


def interval(value: Any) -> float:
    """
    Return a pause between two runs in seconds, from a duration.
    """
    text = _text(value)
    seconds = _duration(text, "s")
    if not 1 <= seconds <= 30 * DAY:
        raise ValueError(f"must be from 1s to 30d, not {text}")
    return seconds


def probe_interval(value: Any) -> float:
    """
    Return the interval of probes in seconds, from a duration; 0 for `none`, in each scrape.
    """
    return 0.0 if value == "none" else interval(value)


def pause(value: Any) -> float:
    """
    Return a duration in seconds, of which 0 is one too.
    """
    return _duration(_text(value), "s")


def _share(text: str) -> float:
    """
    Return a share of the lifetime, from per cent.
    """
    number = text.removesuffix("%")
    if not _NUMBER.fullmatch(number):
        raise ValueError(f"{shown(text)} is not a share of the lifetime: write it like 33%")
    if not 0 < float(number) <= 50:
        raise ValueError(
            f"must be more than 0% and at most 50% of the lifetime, not {text}: "
            "nothing is due before the first half of its lifetime is over"
        )
    return float(number) / 100


def deadline(value: Any) -> Before:
    """
    Parse a time before the end: `30d`, `33%`, or both in a list.
    """
    parts = [_text(part) for part in (value if isinstance(value, list) else [value])]
    shares = [_share(part) for part in parts if "%" in part]
    durations = [_duration(part, "d") for part in parts if "%" not in part]
    if isinstance(value, list) and (len(shares), len(durations)) != (1, 1):
        raise ValueError("a list must hold one share and one duration, like [33%, 30d]: the lesser counts")
    if 0 in durations:
        raise ValueError("must be more than 0: told at the end is told too late")
    return Before(min(durations, default=None), min(shares, default=None))


def unseen(value: Any) -> Before:
    """
    Parse the time for which something may fail to be seen: `3d`, `5%`, or both in a list.
    """
    found = deadline(value)
    if found.duration is not None and found.duration < 60:
        raise ValueError("must be 1m or more: a single probe may fail anywhere")
    return found


def issuers(value: Any) -> tuple[str, ...]:
    """
    Return the CAs in a text or a list: names, or fingerprints of their certificates; empty for `any`.
    """
    if value == "any":
        return ()
    found = [_text(one).strip() for one in (value if isinstance(value, list) else [value])]
    if not found:
        raise ValueError("must not be empty: name the CAs, or write `any`")
    for one in found:
        if not one or len(one) > 256 or not one.isprintable():
            raise ValueError(
                "each is a common name, an organization or a SHA-256 fingerprint: 1 to 256 printable "
                "characters"
            )
        if "any" in found:
            raise ValueError("`any` stands alone: remove it, or the others")
        digits = one.lower().removeprefix("sha256:").replace(":", "")
        in_pairs = re.fullmatch("[0-9a-f]{2}(:[0-9a-f]{2})+", one.lower()) is not None
        is_hex = re.fullmatch("[0-9a-f]{32,}", digits) is not None
        if (in_pairs or is_hex) and fingerprint(one) is None:
            raise ValueError(
                f"{shown(one)} is no SHA-256 fingerprint: that has 64 hexadecimal digits, not {len(digits)}; "
                "`openssl x509 -noout -fingerprint -sha256` prints it"
            )
        if re.match(r"(CN|OU|O|C|DC)\s*=", one, re.IGNORECASE):
            raise ValueError(
                f"{shown(one)} is a whole distinguished name: write the common name or the organization alone"
            )
        if "*" in one or "?" in one:
            raise ValueError(
                f"{shown(one)} is a pattern, and whole names are compared: write each name in full"
            )
    return tuple(dict.fromkeys(found))


_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
"""The words of YAML 1.1, by which people write them."""


def boolean(value: Any) -> bool:
    """
    Return whether a text says yes.
    """
    found = _BOOLEANS.get(str(value).lower())
    if found is None:
        raise ValueError("must be true or false")
    return found


def dns_checks(value: Any) -> bool | None:
    """
    Return whether DNS is asked about the names on a certificate; None for `auto`.
    """
    text = str(value).lower()
    if text != "auto" and text not in _BOOLEANS:
        raise ValueError("must be true, false or auto")
    return _BOOLEANS.get(text)


def is_web_url(text: str) -> bool:
    """
    Return whether a text is the URL of a web server.
    """
    try:
        parts = urlsplit(text)
        is_host = parts.port != 0 and bool(normal_host(parts.hostname or ""))
    except ValueError:
        return False
    return is_host and parts.scheme in {"http", "https"} and text.isprintable() and " " not in text


def directory(text: str) -> str:
    """
    Return the URL of an ACME directory, if it is one.
    """
    if not is_web_url(text) or "@" in text:
        raise ValueError("must be the URL of an ACME directory, like https://ca.example.com/acme/directory")
    return text


def scheme(text: str) -> str:
    """
    Return a scheme, if it exists.
    """
    name = text.lower().removesuffix("//").removesuffix(":")
    if name not in SCHEMES:
        raise ValueError(f"there is no scheme {shown(text)}: {closest_scheme(name)}")
    return name


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """
    Another place, where the configuration will be used: what it names is there, and is not read here.
    """

    directory: str
    """The directory of the configuration there."""
    files: dict[str, str] = field(default_factory=dict)
    """By the path of each file, pattern and directory that is read there, the key that names it."""
    variables: dict[str, str] = field(default_factory=dict)
    """By environment variable, the key that names it. The name may be a pass phrase: it is not shown."""


_STAND_IN = "not:here"
"""In the place of what is elsewhere. It is also a user and a password."""


class Reading(Protocol):
    """
    The context in which a value is checked: the file it is in, and the policies read so far.
    """

    directory: Path
    environ: Mapping[str, str]
    policies: dict[str, Policy]
    elsewhere: Elsewhere | None


def _reading(info: ValidationInfo) -> Reading:
    """
    Return the context in which a value is checked.
    """
    assert info.context is not None
    reading: Reading = info.context
    return reading


def policy(value: Any, info: ValidationInfo) -> Policy:
    """
    Return the policy of this name.
    """
    text, known = _text(value), _reading(info).policies
    if text not in known:
        raise ValueError(f"there is no policy {shown(text)}: {closest(text, known)}")
    return known[text]


def absolute(text: str, info: ValidationInfo) -> str:
    """
    Return a path as seen from the directory of the configuration.
    """
    reading = _reading(info)
    path = str(reading.directory / text)
    if reading.elsewhere is not None:
        reading.elsewhere.files.setdefault(path, str(info.field_name))
    return path


def password_in_environment(text: str, info: ValidationInfo) -> str:
    """
    Return the pass phrase in an environment variable.

    The message does not name the variable: it may be the pass phrase itself, misplaced.
    """
    reading = _reading(info)
    if reading.elsewhere is not None:
        reading.elsewhere.variables.setdefault(text, str(info.field_name))
        return _STAND_IN
    password = reading.environ.get(text, "")
    if not password:
        raise ValueError("the environment variable of this name is not set or empty")
    return password


def password_in_file(path: str, info: ValidationInfo) -> str:
    """
    Return the pass phrase in a file, without its line end.

    The message does not name the file: it may be the pass phrase itself, misplaced.
    """
    if _reading(info).elsewhere is not None:
        return _STAND_IN
    try:
        # stat() first: to open a pipe that nobody writes to would block for ever.
        if not Path(path).is_file():
            raise ValueError(
                "there is no regular file of this name; paths are relative to this configuration"
            )
        with Path(path).open("rb") as file:
            # A byte order mark, which Windows writes, is not part of it.
            text = file.read(PASSWORD_LIMIT + 6).decode("utf-8-sig")
            password = text.removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise ValueError(f"the file can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError("the file is not UTF-8 text: is it the right one?") from None
    if not 0 < len(password.encode()) <= PASSWORD_LIMIT:
        raise ValueError(f"the file must hold 1 to {PASSWORD_LIMIT} bytes: is it the right one?")
    return password


def proxy(value: Any) -> Proxy | None:
    """
    Parse a proxy's URL; None for `none`. Raises TargetError, which is a ValueError.
    """
    text = _text(value)
    return None if text == "none" else parse_proxy(text)


def name_server(value: Any) -> tuple[str, int]:
    """
    Parse the address and port of a name server. Raises TargetError, which is a ValueError.
    """
    if value == "":
        raise ValueError("must not be empty")
    return parse_name_server(_text(value))


def credentials(text: str) -> str:
    """
    Return a user and a password that every kind of proxy takes.
    """
    user, colon, password = text.partition(":")
    # RFC 1929 section 2: one byte for each length.
    if not colon or not all(0 < len(part.encode()) <= 255 for part in (user, password)):
        raise ValueError("must be user:password, each of 1 to 255 bytes")
    if not text.isprintable():
        raise ValueError("must be user:password in one line")
    return text


def one_password(value: Any) -> Any:
    """
    Return the value unchanged, unless it names two sources for one password.
    """
    if isinstance(value, dict) and {"password_file", "password_env"} <= value.keys():
        raise ValueError("password_file and password_env exclude each other: remove one")
    return value


def secret_type(text: str) -> str:
    """
    Return a type of Secrets that is probed.
    """
    if text.startswith(HELM_TYPE):
        raise ValueError("Helm's releases are not looked at: they hold charts, not what is in use")
    if not re.fullmatch(r"[A-Za-z0-9._/-]{1,253}", text):
        raise ValueError(f"{shown(text)} is not a type of Secrets, like kubernetes.io/tls or Opaque")
    return text
