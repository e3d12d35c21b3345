"""
Configuration: from a YAML file to a `Config`, or to every fault in it at once.

`yaml_tree` gives text that knows its lines, the pydantic models below say what each key may hold, and
`_Reading` puts the parts together. Messages never repeat the value of a key that may hold a secret.
"""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from exporter.observation import Kind
from exporter.policies import AUTOMATIC, BUILT_IN, BY_KIND, DAY, HOUR, Before, Match, Policy, lateness
from exporter.probe_allow import allowed
from exporter.renewal_information import DIRECTORIES
from exporter.suggestions import closest
from exporter.targets import (
    HELM_TYPE,
    SCHEMES,
    Form,
    Objects,
    Proxy,
    Resources,
    Target,
    TargetError,
    Url,
    closest_scheme,
    label_name,
    normal_host,
    parse_name_server,
    parse_proxy,
    parse_url,
)
from exporter.yaml_tree import SIZE_LIMIT, ConfigError, ConfigFault, Document, Loc, read, shown

__all__ = ["Config", "ConfigError", "ConfigFault", "NotAllowedError", "load", "parse", "target_for"]

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


@dataclass(frozen=True, slots=True)
class Config:
    """
    What one configuration file says.
    """

    targets: tuple[Target, ...] = ()
    """In the order of the file; no two share a name."""
    policies: Mapping[str, Policy] = field(default_factory=lambda: MappingProxyType(BUILT_IN))
    """The built-in and the user's policies, by name."""
    probe_allow: tuple[str, ...] = ("*",)
    """What `/probe` accepts besides configured targets: see `probe_allow.allowed`."""
    warnings: tuple[str, ...] = ()
    """What is allowed but probably not meant, each with file and line."""
    matches: tuple["SchemeMatch", ...] = ()
    """Which policies fit which targets, in the order of the file."""
    defaults: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    """What `defaults` sets, for `_target`. Not shown: a pass phrase may be among it."""


class NotAllowedError(TargetError):
    """
    A target that `/probe` must not be asked for. The message says why, for a person.
    """


@dataclass(frozen=True, slots=True)
class SchemeMatch:
    """
    A policy for the targets with one of these schemes, as far as their items fit.
    """

    schemes: frozenset[str]
    """Empty: every scheme."""
    match: Match


def load(path: str, environ: Mapping[str, str]) -> Config:
    """
    The configuration in a file. Raises ConfigError, also for a file that can't be read.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(SIZE_LIMIT + 1)
    # ValueError: a path with a NUL in it.
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ConfigError([ConfigFault(path, 0, "", f"can't be read: {why}")]) from None
    return parse(data, path, environ)


def parse(data: bytes, file: str, environ: Mapping[str, str]) -> Config:
    """
    The configuration in these bytes. Raises ConfigError with all faults.

    `file` is the name in messages, and paths in the document are relative to its directory.
    `environ` holds the pass phrases that `password_env` names.
    """
    document = read(data, file)
    if document.value is None:
        document.refuse(
            (), 'the file is empty: the shortest useful one is "targets: [https://www.example.com]"'
        )
    config = _Reading(document, environ).config()
    if document.faults:
        raise ConfigError(document.faults)
    return config


def target_for(config: Config, url: str, policy: str | None) -> Target:
    """
    The target that `/probe?target=URL&policy=NAME` asks for.

    A configured target of that name, with all its settings; else a new one with the settings of
    `defaults`, if `probe.allow` permits its URL; its addresses are judged when they are known, by `forbids`.
    `policy` replaces the target's policy; None keeps it. Raises TargetError with a message for the person who
    asked, NotAllowedError where it is not permitted.
    """
    target = next((target for target in config.targets if target.name == url), None)
    if target is None:
        parsed = _url(url)
        permitted = allowed(config.probe_allow)
        settings = {"url": parsed, "name": _name(parsed.text), "forbids": partial(permitted.refusal, parsed)}
        target = _target(config.defaults, settings, config.matches)
        # The normal form is matched, not the text, so that no spelling of a host slips past a pattern.
        if not permitted.may_ask(parsed, by_proxy=target.proxy is not None):
            raise NotAllowedError(
                f"{url!r} is not a configured target, and probe.allow of the configuration does not permit it"
            )
    if policy is None:
        return target
    if policy not in config.policies:
        raise TargetError(f"there is no policy {shown(policy)}: {closest(policy, config.policies)}")
    return replace(target, policy=config.policies[policy], matches=())


def _target(
    defaults: Mapping[str, Any], settings: Mapping[str, Any], matches: Iterable["SchemeMatch"]
) -> Target:
    """
    A target with its own settings and those of `defaults` that it does not set; labels are merged.

    Its own policy goes before every match, and each match before the policy of `defaults`.
    """
    labels = {**defaults.get("labels", {}), **settings.get("labels", {})}
    arguments = {**defaults, **settings, "labels": tuple(sorted(labels.items()))}
    if "policy" in settings:
        arguments["matches"] = ()
    else:
        scheme = settings["url"].scheme
        fitting = [one.match for one in matches if not one.schemes or scheme in one.schemes]
        whole = next((one.policy for one in fitting if not one.kinds and not one.issuers), None)
        if whole is not None:
            arguments["policy"] = whole
        arguments["matches"] = (*fitting, *BY_KIND)
    return Target(**arguments)


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


def _reading(info: ValidationInfo) -> "_Reading":
    """
    The reading that a value is checked for.
    """
    assert isinstance(info.context, _Reading)
    return info.context


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


@dataclass(frozen=True, slots=True)
class _Use:
    """
    What a setting is for, where that is not every target.
    """

    schemes: frozenset[str]
    words: str


def _schemes(*forms: Form) -> frozenset[str]:
    return frozenset(name for name, scheme in SCHEMES.items() if scheme.form in forms)


_WIRE = _Use(_schemes(Form.HOST), "servers that speak TLS")
_WEB = _schemes(Form.WEB)
_ENCRYPTED = _WIRE.schemes | {name for name in _WEB if name.endswith("https")}
_STREAMS = frozenset(name for name in _WIRE.schemes if not SCHEMES[name].datagrams)
_KEYSTORES = _Use(_WEB | _schemes(Form.PATH, Form.RESOURCE), "files, documents and Kubernetes objects")

_USES: Mapping[str, _Use] = MappingProxyType(
    {
        "server_name": _WIRE,
        "ca_file": _Use(_ENCRYPTED, "servers that speak TLS, and documents got by HTTPS"),
        "client_certificate": _Use(_ENCRYPTED, "servers that speak TLS, and documents got by HTTPS"),
        "password_file": _KEYSTORES,
        "password_env": _KEYSTORES,
        "address_family": _Use(
            _WIRE.schemes | {"dns", "domain"}, "servers that speak TLS, zones and domains"
        ),
        "addresses": _WIRE,
        "keys": _Use(_WIRE.schemes - {"quic", "h3"}, "servers that speak TLS, but for QUIC"),
        # With QUIC and DTLS each look fails and says so.
        "proxy": _Use(_WIRE.schemes | _WEB, "servers that speak TLS over TCP, and documents"),
        "proxy_protocol": _Use(_STREAMS, "servers that speak TLS over TCP"),
        "crl": _WIRE,
        "ocsp": _WIRE,
        "renewal_information": _Use(_WIRE.schemes | _KEYSTORES.schemes, "certificates"),
        "dns_checks": _WIRE,
        "dns_servers": _Use(_WIRE.schemes | {"dns", "domain"}, "servers that speak TLS, zones and domains"),
        "kubernetes": _Use(frozenset({"kubernetes"}), "objects of a Kubernetes cluster"),
    }
)
"""What each setting is for that not every target uses. The others are for all."""


def _is_off(value: Any) -> bool:
    """
    True for a value that asks for nothing: such a one may stand anywhere.
    """
    if isinstance(value, _Proxy):
        return value.proxy is None
    return value in (False, "none", "any", "all")


_MODELS: dict[str, type[BaseModel]] = {
    "defaults": _Settings,
    "probe": _Probe,
    "client_certificate": _ClientCertificate,
    "proxy": _Proxy,
    "kubernetes": _Kubernetes,
    "match": _Match,
}
"""Models inside models, by key."""


def _message(error: Mapping[str, Any], model: type[BaseModel]) -> str:
    """
    One of pydantic's errors as a sentence.
    """
    *around, key = error["loc"] or ("",)
    if error["type"] == "extra_forbidden":
        if around[-1:] == ["proxy"] and key in {"credentials", "password", "user", "username"}:
            return "credentials are not written here: use credentials_file or credentials_env"
        if key in {"password", "passphrase"}:
            return "a pass phrase is not written here: use password_file or password_env"
        for step in around:
            model = _MODELS[step]
        return f"unknown key: {closest(key, model.model_fields)}"
    if error["input"] is None:
        return _NO_VALUE
    return _MESSAGES[error["type"]].format(key=key, **error.get("ctx", {}))


def _order_faults(policy: Policy) -> dict[str, str]:
    """
    The message for each key whose deadline does not come after the one before it.
    """
    faults: dict[str, str] = {}
    for lifetime in (DAY, 90 * DAY, 398 * DAY, 3650 * DAY):
        due, critical = policy.renewal_due.left(lifetime), policy.critical.left(lifetime)
        warning = policy.warning.left(lifetime) if policy.warning else due - lateness(lifetime)
        when = f"when the lifetime is {lifetime / DAY:g} d"
        # What would fall into the first half of a lifetime is moved by the policy: it needs no order.
        if due < warning <= lifetime / 2:
            why = f"{warning / DAY:.4g} d against {due / DAY:.4g} d {when}"
            faults.setdefault("warning", f"must not leave more time than renewal_due: {why}")
        if warning <= critical <= lifetime / 2:
            why = f"{critical / DAY:.4g} d against {warning / DAY:.4g} d {when}"
            if policy.warning is None:
                why += " (without `warning`, people are warned when the renewal is late)"
            faults.setdefault("critical", f"must leave less time than the warning: {why}")
    return faults


_Model = TypeVar("_Model", bound=BaseModel)


class _Reading:
    """
    One reading of one document: notes faults in it and goes on.
    """

    def __init__(self, document: Document, environ: Mapping[str, str]) -> None:
        """
        Reads nothing yet.
        """
        self.document = document
        self.directory = Path(document.file).parent
        self.environ = environ
        self.policies: dict[str, Policy] = dict(BUILT_IN)
        self.matches: list[SchemeMatch] = []
        self.warnings: list[str] = []

    def config(self) -> Config:
        """
        The configuration, as far as it is without fault.
        """
        written = self.document.value
        if not isinstance(written, dict):
            known = ", ".join(_Sections.model_fields)
            self.document.refuse((), f"must be a mapping with the keys {known}: targets go under 'targets:'")
        # All of a section may be commented out.
        written = {
            key: value
            for key, value in written.items()
            if value is not None or key not in _Sections.model_fields
        }
        policies = written.get("policies")
        for name, entry in policies.items() if isinstance(policies, dict) else ():
            self.policies[name] = self.policy(name, entry)
        sections = self.model(_Sections, written, ())
        defaults = self.arguments(sections.defaults, ("defaults",)) if sections else {}
        if sections and sections.acme:
            # One mapping for all targets, which is no setting of theirs.
            defaults["acme"] = MappingProxyType({**DIRECTORIES, **sections.acme})
        return Config(
            targets=self.targets(written.get("targets"), defaults),
            policies=MappingProxyType(self.policies),
            probe_allow=tuple(sections.probe.allow) if sections else (),
            warnings=tuple(self.warnings),
            matches=tuple(self.matches),
            defaults=MappingProxyType(defaults),
        )

    def policy(self, name: str, entry: Any) -> Policy:
        """
        One of the user's policies; any, if it is at fault: the targets that name it are not.
        """
        if name in BUILT_IN:
            return self.built_in(name, entry)
        model = self.model(_PolicyEntry, entry, ("policies", name))
        due = model and (model.renewal_due or model.warning)
        if not model or not due:
            return AUTOMATIC
        policy = Policy(name, renewal_due=due, warning=model.warning, critical=model.critical)
        for key, message in _order_faults(policy).items():
            self.document.fault(("policies", name, key), message)
        self.match(policy, model.match)
        return policy

    def built_in(self, name: str, entry: Any) -> Policy:
        """
        A built-in policy, of which the document may only say what it is for.
        """
        if isinstance(entry, dict) and set(entry) & (_PolicyEntry.model_fields.keys() - {"match"}):
            self.document.fault(
                ("policies", name),
                f"the policy {name!r} is built in, only its `match` may be set: choose another name for "
                "deadlines of your own, and name it in `policy`",
            )
        else:
            model = self.model(_BuiltInEntry, entry, ("policies", name))
            self.match(BUILT_IN[name], model.match if model is not None else None)
        return BUILT_IN[name]

    def match(self, policy: Policy, match: _Match | None) -> None:
        """
        Notes what a policy is for.
        """
        if match is not None:
            kinds = frozenset(map(str, match.kinds))
            self.matches.append(
                SchemeMatch(frozenset(match.schemes), Match(policy, kinds, tuple(match.issuers)))
            )

    def targets(self, entries: Any, defaults: Mapping[str, Any]) -> tuple[Target, ...]:
        """
        The targets without fault, each once.
        """
        targets: dict[str, tuple[Loc, Target]] = {}
        for index, entry in enumerate(entries if isinstance(entries, list) else ()):
            loc = ("targets", index)
            model = self.model(_TargetEntry, entry if isinstance(entry, dict | list) else {"url": entry}, loc)
            if model is None:
                continue
            self.idle(model, loc)
            target = _target(defaults, {**self.arguments(model, loc), "name": model.name}, self.matches)
            first, known = targets.setdefault(target.name, (loc, target))
            line, path = self.document.place(first)
            if first == loc:
                continue
            if known == target:
                self.warn(loc, f"the same target as {path} in line {line}: it is probed once")
            else:
                clash = f"{path} in line {line} has the same name and other settings"
                self.document.fault(loc, f"{clash}: give one of them a `name:` of its own")
        return tuple(target for _, target in targets.values())

    def idle(self, entry: _TargetEntry, loc: Loc) -> None:
        """
        Warns of each key of a target that does nothing there. Those of `defaults` are for the other targets.
        """
        scheme = entry.url.scheme
        for key, use in _USES.items():
            if (
                key in entry.model_fields_set
                and scheme not in use.schemes
                and not _is_off(getattr(entry, key))
            ):
                why = f"it is for {use.words}, and this target has {scheme!r}"
                self.warn((*loc, key), f"does nothing here: {why}; remove the key")

    def arguments(self, settings: _Settings, loc: Loc) -> dict[str, Any]:
        """
        What is set, as arguments of Target.

        A file that is missing is a warning only: it may come later, and the other targets do not need it.
        """
        arguments = {key: getattr(settings, key) for key in settings.model_fields_set}
        if settings.policy is not None:
            arguments["policy"] = self.policies[settings.policy]
        if settings.proxy is not None:
            arguments["proxy"] = settings.proxy.proxy
        if arguments.keys() & {"password_file", "password_env"}:
            arguments["password"] = arguments.pop("password_env", None) or arguments.pop("password_file")
        files = [((*loc, "ca_file"), settings.ca_file)]
        if settings.kubernetes is not None:
            arguments["kubernetes"] = settings.kubernetes.objects
            files.append(((*loc, "kubernetes", "kubeconfig"), settings.kubernetes.kubeconfig))
        client = settings.client_certificate
        if client is not None:
            loc = (*loc, "client_certificate")
            files += [((*loc, "cert_file"), client.cert_file), ((*loc, "key_file"), client.key_file)]
            del arguments["client_certificate"]
            # All three, so that nothing of `defaults` is mixed in.
            arguments["client_certificate_file"] = client.cert_file
            arguments["client_key_file"] = client.key_file
            arguments["client_key_password"] = client.password_env or client.password_file
        for where, path in files:
            # Asked, not opened: opening a pipe that nobody writes to would wait for ever.
            if path is not None and not (Path(path).is_file() and os.access(path, os.R_OK)):
                self.warn(
                    where, f"{path} is not a file that can be read: probes that need it fail until it is"
                )
        return arguments

    def model(self, model: type[_Model], value: Any, loc: Loc) -> _Model | None:
        """
        A part of the document as a model; None, and all its faults noted, when it is not one.
        """
        try:
            return model.model_validate(value, context=self)
        except ValidationError as invalid:
            for error in invalid.errors(include_url=False):
                self.document.fault((*loc, *error["loc"]), _message(error, model))
            return None

    def warn(self, loc: Loc, message: str) -> None:
        """
        Notes something that is allowed.
        """
        self.warnings.append(str(ConfigFault(self.document.file, *self.document.place(loc), message)))
