"""
What may stand in a configuration file: each section as a model, each value with its faults in words.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationInfo,
    field_validator,
    model_validator,
)

from exporter.model.policies import DAY, HOUR, Before, Policy
from exporter.model.reasons import Kind
from exporter.model.suggestions import closest
from exporter.model.targets import HELM_TYPE, Objects, Resources, label_name
from exporter.model.urls import (
    SCHEMES,
    Proxy,
    TargetError,
    Url,
    closest_scheme,
    normal_host,
    parse_name_server,
    parse_proxy,
    parse_url,
)
from exporter.yaml_lines import shown

PASSWORD_LIMIT = 1024
"""Bytes; the longest pass phrase that OpenSSL takes (PEM_BUFSIZE)."""


_UNIT_SECONDS = {"w": 7 * DAY, "d": DAY, "h": HOUR, "m": 60.0, "s": 1.0, "ms": 0.001}


_DURATION = re.compile("".join(f"(?:([0-9]{{1,9}}){unit})?" for unit in _UNIT_SECONDS))


_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


_NO_VALUE = "has no value: write one, or remove the key"


# What pydantic found, in words for the person who wrote the file.
_MESSAGES = {
    "missing": "the key {key!r} is missing",
    "model_type": "must be a mapping (lines of 'key: value')",
    "dict_type": "must be a mapping (lines of 'key: value')",
    "list_type": "must be a list (lines that start with '- ')",
    "string_type": "must be a text, not a list or a mapping",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must not be empty: name what it is for, or remove the key",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "value_error": "{error}",
}


# From text to values: what each key may hold. All raise ValueError with a message for the operator.


def _text(value: Any) -> str:
    """
    The value as it is, if it is text.
    """
    if not isinstance(value, str):
        raise ValueError(_MESSAGES["string_type"])  # noqa: TRY004 - pydantic wants ValueError
    return value


def _name(value: Any) -> str:
    """
    A name that can stand in a label, a page and a log. Raises TargetError, which is a ValueError.
    """
    text = _text(value)
    if not text.strip() or len(text) > 200 or not text.isprintable():
        raise TargetError("a name (without one, the URL) is 1 to 200 printable characters")
    return text


def _url(value: Any) -> Url:
    """
    A target's URL. Raises TargetError, which is a ValueError.
    """
    text = _text(value)
    if len(text) > 2048:
        raise TargetError(f"a URL has at most 2048 characters, this one has {len(text)}")
    return parse_url(text)


def _duration(text: str) -> float:
    """
    Seconds of a duration in Prometheus's notation (`1m30s`), the larger unit first.
    """
    found = _DURATION.fullmatch(text)
    if not text or not found:
        raise ValueError(f"{shown(text)} is not a duration: write it like 10s, 1m30s, 500ms, 6h, 30d or 2w")
    numbers = map(int, found.groups("0"))
    return sum(number * unit for number, unit in zip(numbers, _UNIT_SECONDS.values(), strict=True))


def _timeout(value: Any) -> float:
    """
    A timeout in seconds, from a duration or a number of seconds.
    """
    text = _text(value)
    seconds = float(text) if _NUMBER.fullmatch(text) else _duration(text)
    # Prometheus's own scrape timeouts are far below.
    if not 0 < seconds <= 600:
        raise ValueError(f"must be more than 0 and at most 10m, not {text}")
    return seconds


def _share(text: str) -> float:
    """
    A share of the lifetime, from per cent.
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


def _deadline(value: Any) -> Before:
    """
    A moment before the end: `30d`, `33%`, or both in a list.
    """
    parts = [_text(part) for part in (value if isinstance(value, list) else [value])]
    shares = [_share(part) for part in parts if "%" in part]
    durations = [_duration(part) for part in parts if "%" not in part]
    if isinstance(value, list) and (len(shares), len(durations)) != (1, 1):
        raise ValueError("a list must hold one share and one duration, like [33%, 30d]: the lesser counts")
    if 0 in durations:
        raise ValueError("must be more than 0: told at the end is told too late")
    return Before(min(durations, default=None), min(shares, default=None))


def _directory(text: str) -> str:
    """
    The URL of an ACME directory.
    """
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
        raise ValueError("must be the URL of an ACME directory, like https://ca.example.com/acme/directory")
    return text


def _scheme(text: str) -> str:
    """
    A scheme that there is.
    """
    name = text.lower().removesuffix("//").removesuffix(":")
    if name not in SCHEMES:
        raise ValueError(f"there is no scheme {shown(text)}: {closest_scheme(name)}")
    return name


class Reading(Protocol):
    """
    What a value is checked against besides itself: the file that it stands in, and what that has so far.
    """

    directory: Path
    environ: Mapping[str, str]
    policies: dict[str, Policy]


def _reading(info: ValidationInfo) -> Reading:
    """
    The reading that a value is checked for.
    """
    assert info.context is not None
    reading: Reading = info.context
    return reading


def _known_policy(text: str, info: ValidationInfo) -> str:
    """
    The name of a policy that there is.
    """
    known = _reading(info).policies
    if text not in known:
        raise ValueError(f"there is no policy {shown(text)}: {closest(text, known)}")
    return text


def _absolute(text: str, info: ValidationInfo) -> str:
    """
    A path as seen from the directory of the configuration.
    """
    return str(_reading(info).directory / text)


def _password_in_environment(text: str, info: ValidationInfo) -> str:
    """
    The pass phrase in a variable. The message does not name it: it may be the pass phrase itself, misplaced.
    """
    password = _reading(info).environ.get(text, "")
    if not password:
        raise ValueError("the environment variable of this name is not set or empty")
    return password


def _password_in_file(path: str) -> str:
    """
    The pass phrase in a file, without its line end. As above, messages do not name the file.
    """
    try:
        # Asked before it is opened: opening a pipe that nobody writes to would wait for ever.
        if not Path(path).is_file():
            raise ValueError(
                "there is no regular file of this name; paths are relative to this configuration"
            )
        with Path(path).open("rb") as file:
            # A byte order mark, which Windows writes, is no part of it.
            text = file.read(PASSWORD_LIMIT + 6).decode("utf-8-sig")
            password = text.removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise ValueError(f"the file can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError("the file is not UTF-8 text: is it the right one?") from None
    if not 0 < len(password.encode()) <= PASSWORD_LIMIT:
        raise ValueError(f"the file must hold 1 to {PASSWORD_LIMIT} bytes: is it the right one?")
    return password


def _proxy(value: Any) -> Proxy | None:
    """
    A proxy's URL, or None for `none`. Raises TargetError, which is a ValueError.
    """
    text = _text(value)
    return None if text == "none" else parse_proxy(text)


def _credentials(text: str) -> str:
    """
    A user and a password that every kind of proxy takes.
    """
    user, colon, password = text.partition(":")
    # RFC 1929 section 2: one byte for each length.
    if not colon or not all(0 < len(part.encode()) <= 255 for part in (user, password)):
        raise ValueError("must be user:password, each of 1 to 255 bytes")
    if not text.isprintable():
        raise ValueError("must be user:password in one line")
    return text


def _one_password(value: Any) -> Any:
    """
    The value as it is, unless it names two sources for one password.
    """
    if isinstance(value, dict) and {"password_file", "password_env"} <= value.keys():
        raise ValueError("password_file and password_env exclude each other: remove one")
    return value


_Text = Annotated[str, Field(min_length=1)]


_File = Annotated[_Text, AfterValidator(_absolute)]


_Deadline = Annotated[Before, PlainValidator(_deadline)]


_NameServer = Annotated[_Text, AfterValidator(parse_name_server)]


class _Part(BaseModel):
    """
    A mapping of the document: no key but these, none without a value. None means that a key is not there.
    """

    model_config = ConfigDict(extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def has_value(cls, value: Any) -> Any:
        """
        Refuses `timeout:` with nothing after it: whether the default was meant can't be known.
        """
        if value is None:
            raise ValueError(_NO_VALUE)
        return value


class _ClientCertificate(_Part):
    """
    What the exporter shows to a server that asks for a certificate. Its passwords are read, not named.
    """

    cert_file: _File
    key_file: _File | None = None
    """None: the key is in the certificate's file."""
    password_file: Annotated[_File, AfterValidator(_password_in_file)] | None = None
    password_env: Annotated[_Text, AfterValidator(_password_in_environment)] | None = None

    @model_validator(mode="before")
    @classmethod
    def one_password(cls, value: Any) -> Any:
        """
        Refuses two sources for one pass phrase.
        """
        return _one_password(value)


class _Proxy(_Part):
    """
    A proxy. Its credentials are read, not named. A URL alone is a whole proxy, and `none` is none.
    """

    url: Annotated[Proxy | None, PlainValidator(_proxy)]
    credentials_file: (
        Annotated[_File, AfterValidator(_password_in_file), AfterValidator(_credentials)] | None
    ) = None
    credentials_env: (
        Annotated[_Text, AfterValidator(_password_in_environment), AfterValidator(_credentials)] | None
    ) = None

    @model_validator(mode="before")
    @classmethod
    def as_mapping(cls, value: Any) -> Any:
        """
        Takes a text for the URL.
        """
        return {"url": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def one_place(self) -> Self:
        """
        Refuses credentials in two places, and for no proxy.
        """
        if self.credentials_file and self.credentials_env:
            raise ValueError("credentials_file and credentials_env exclude each other: remove one")
        if self.url is None and (self.credentials_file or self.credentials_env):
            raise ValueError("`none` has no credentials: remove them")
        return self

    @property
    def proxy(self) -> Proxy | None:
        """
        The proxy with its credentials.
        """
        credentials = self.credentials_env or self.credentials_file
        return replace(self.url, credentials=credentials) if self.url is not None else None


def _secret_type(text: str) -> str:
    """
    A type of Secrets that is looked at.
    """
    if text.startswith(HELM_TYPE):
        raise ValueError("Helm's releases are not looked at: they hold charts, not what is in use")
    if not re.fullmatch(r"[A-Za-z0-9._/-]{1,253}", text):
        raise ValueError(f"{shown(text)} is not a type of Secrets, like kubernetes.io/tls or Opaque")
    return text


class _Kubernetes(_Part):
    """
    Which objects of a Kubernetes cluster a target means.
    """

    kubeconfig: _File | None = None
    resources: Annotated[list[Resources], Field(min_length=1)] = ["secrets"]
    types: Annotated[list[Annotated[str, AfterValidator(_secret_type)]], Field(min_length=1)] = []
    selector: Annotated[_Text, Field(max_length=1000)] = ""

    @property
    def objects(self) -> Objects:
        """
        The same as a setting of a target.
        """
        resources, types = tuple(dict.fromkeys(self.resources)), tuple(dict.fromkeys(self.types))
        return Objects(self.kubeconfig, resources, types, self.selector)


class _Settings(_Part):
    """
    What `defaults` may set, and each target for itself. Only what is in `model_fields_set` is read.
    """

    policy: Annotated[str, AfterValidator(_known_policy)] | None = None
    labels: dict[Annotated[str, AfterValidator(label_name)], Annotated[str, Field(max_length=256)]] | None = (
        None
    )
    timeout: Annotated[float, PlainValidator(_timeout)] | None = None
    server_name: Annotated[_Text, AfterValidator(normal_host)] | None = None
    ca_file: _File | None = None
    client_certificate: _ClientCertificate | None = None
    password_file: Annotated[_File, AfterValidator(_password_in_file)] | None = None
    password_env: Annotated[_Text, AfterValidator(_password_in_environment)] | None = None
    address_family: Literal["any", "ipv4", "ipv6"] | None = None
    addresses: Literal["all", "first"] | None = None
    keys: Literal["any", "both"] | None = None
    proxy: _Proxy | None = None
    proxy_protocol: Literal["none", "v1", "v2"] | None = None
    crl: bool | None = None
    ocsp: bool | None = None
    renewal_information: bool | None = None
    dns_checks: bool | None = None
    dns_servers: Annotated[list[_NameServer], Field(min_length=1), AfterValidator(tuple)] | None = None
    kubernetes: _Kubernetes | None = None

    @model_validator(mode="before")
    @classmethod
    def one_password(cls, value: Any) -> Any:
        """
        Refuses two sources for one password of keystores.
        """
        return _one_password(value)


class _TargetEntry(_Settings):
    """
    One element of `targets`.
    """

    url: Annotated[Url, PlainValidator(_url)]
    name: Annotated[str, PlainValidator(_name)] = ""

    @model_validator(mode="after")
    def named(self) -> Self:
        """
        Takes the URL as it was written for a name, if there is none.
        """
        self.name = self.name or _name(self.url.text)
        return self


class _Match(_Part):
    """
    What a policy is for, besides the targets that name it. What is not set fits all.
    """

    schemes: Annotated[list[Annotated[str, AfterValidator(_scheme)]], Field(min_length=1)] = []
    kinds: Annotated[list[Kind], Field(min_length=1)] = []
    issuers: Annotated[list[_Text], Field(min_length=1)] = []


class _BuiltInEntry(_Part):
    """
    One of `policies` that has the name of a built-in one: it says only what that is for.
    """

    match: _Match


class _PolicyEntry(_Part):
    """
    One of `policies`.
    """

    renewal_due: _Deadline | None = None
    warning: _Deadline | None = None
    critical: _Deadline
    match: _Match | None = None

    @model_validator(mode="after")
    def first_deadline(self) -> Self:
        """
        Refuses a policy that says only when it is too late.
        """
        if self.renewal_due is None and self.warning is None:
            raise ValueError("must set renewal_due or warning, or both, besides critical")
        return self


class _Probe(_Part):
    """
    What `/probe` may be asked for.
    """

    allow: list[_Text] = ["*"]


class _Sections(_Part):
    """
    The whole file. Its policies and targets are then checked one by one, so that no fault hides another.
    """

    defaults: _Settings = _Settings()
    policies: dict[Annotated[str, AfterValidator(_name)], Any] = {}
    targets: list[Any] = []
    probe: _Probe = _Probe()
    acme: dict[_Text, Annotated[str, AfterValidator(_directory)]] = {}
