"""
Configuration: from a YAML file to a `Config`, or to every fault in it at once.

`yaml_tree` gives text that knows its lines, the pydantic models below say what each key may hold, and
`_Reading` puts the parts together. Messages never repeat the value of a key that may hold a secret.
"""

import difflib
import fnmatch
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self, TypeVar

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

from exporter.policies import AUTOMATIC, BUILT_IN, DAY, HOUR, Before, Policy, lateness
from exporter.targets import DEFAULT_PORTS, Target, TargetError, Url, normal_host, parse_url
from exporter.yaml_tree import SIZE_LIMIT, ConfigError, ConfigFault, Document, Loc, read, shown

__all__ = ["Config", "ConfigError", "ConfigFault", "load", "parse", "target_for"]

PASSWORD_LIMIT = 1024
"""Bytes; the longest pass phrase that OpenSSL takes (PEM_BUFSIZE)."""

_OURS = "target endpoint item kind prober policy severity reason subject issuer serial fingerprint_sha256 key"
RESERVED_LABELS = frozenset(f"{_OURS} job instance le quantile alertname".split())
"""Names that a user's label must not have, because we or Prometheus give them a meaning."""

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
    "literal_error": "must be {expected}",
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
    """Patterns (fnmatch) of the URLs that `/probe` accepts besides configured targets."""
    warnings: tuple[str, ...] = ()
    """What is allowed but probably not meant, each with file and line."""
    defaults: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    """What `defaults` sets, for `_target`. Not shown: a pass phrase may be among it."""


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
    `defaults`, if `probe.allow` permits its URL. `policy` replaces the target's policy; None keeps it.
    Raises TargetError with a message for the person who asked.
    """
    target = next((target for target in config.targets if target.name == url), None)
    if target is None:
        parsed = _url(url)
        # The normal form is matched, not the text, so that no spelling of a host slips past a pattern.
        forms = [f"{parsed.scheme}://{parsed.authority}"]
        if parsed.port == DEFAULT_PORTS[parsed.scheme]:
            forms.append(forms[0].removesuffix(f":{parsed.port}"))
        patterns = [pattern.lower() for pattern in config.probe_allow]
        if not any(fnmatch.fnmatchcase(form, pattern) for form in forms for pattern in patterns):
            raise TargetError(
                f"{url!r} is not a configured target, and probe.allow of the configuration does not permit it"
            )
        target = _target(config.defaults, {"url": parsed, "name": _name(parsed.text)})
    if policy is None:
        return target
    if policy not in config.policies:
        raise TargetError(f"there is no policy {shown(policy)}: {_closest(policy, config.policies)}")
    return replace(target, policy=config.policies[policy])


def _target(defaults: Mapping[str, Any], settings: Mapping[str, Any]) -> Target:
    """
    A target with its own settings and those of `defaults` that it does not set; labels are merged.
    """
    labels = {**defaults.get("labels", {}), **settings.get("labels", {})}
    return Target(**{**defaults, **settings, "labels": tuple(sorted(labels.items()))})


def _closest(word: str, known: Iterable[str]) -> str:
    """
    The end of a message about an unknown word: what was probably meant, or what there is.
    """
    known = sorted(filter(str.isprintable, known))
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"


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


def _label_name(text: str) -> str:
    """
    The name of a user's label.
    """
    if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", text):
        raise ValueError("a label's name has only letters, digits and '_', and does not begin with a digit")
    if text.startswith("__"):
        raise ValueError("labels that begin with '__' belong to Prometheus: choose another name")
    if text in RESERVED_LABELS:
        raise ValueError(f"the label {text!r} has a meaning already: choose another name")
    return text


def _policy_name(text: str) -> str:
    """
    The name of a user's policy.
    """
    if text in BUILT_IN:
        raise ValueError(f"the policy {text!r} is built in: choose another name, and name it in `policy`")
    return _name(text)


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
        raise ValueError(f"there is no policy {shown(text)}: {_closest(text, known)}")
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
            password = file.read(PASSWORD_LIMIT + 3).decode().removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise ValueError(f"the file can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError("the file is not UTF-8 text: is it the right one?") from None
    if not 0 < len(password.encode()) <= PASSWORD_LIMIT:
        raise ValueError(f"the file must hold 1 to {PASSWORD_LIMIT} bytes: is it the right one?")
    return password


_Text = Annotated[str, Field(min_length=1)]
_File = Annotated[_Text, AfterValidator(_absolute)]
_Deadline = Annotated[Before, PlainValidator(_deadline)]


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
        if isinstance(value, dict) and {"password_file", "password_env"} <= value.keys():
            raise ValueError("password_file and password_env exclude each other: remove one")
        return value


class _Settings(_Part):
    """
    What `defaults` may set, and each target for itself. Only what is in `model_fields_set` is read.
    """

    policy: Annotated[str, AfterValidator(_known_policy)] | None = None
    labels: (
        dict[Annotated[str, AfterValidator(_label_name)], Annotated[str, Field(max_length=256)]] | None
    ) = None
    timeout: Annotated[float, PlainValidator(_timeout)] | None = None
    server_name: Annotated[_Text, AfterValidator(normal_host)] | None = None
    ca_file: _File | None = None
    client_certificate: _ClientCertificate | None = None
    address_family: Literal["any", "ipv4", "ipv6"] | None = None
    addresses: Literal["all", "first"] | None = None
    keys: Literal["any", "both"] | None = None


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


class _PolicyEntry(_Part):
    """
    One of `policies`.
    """

    renewal_due: _Deadline | None = None
    warning: _Deadline | None = None
    critical: _Deadline

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
    policies: dict[Annotated[str, AfterValidator(_policy_name)], Any] = {}
    targets: list[Any] = []
    probe: _Probe = _Probe()


_MODELS: dict[str, type[BaseModel]] = {
    "defaults": _Settings,
    "probe": _Probe,
    "client_certificate": _ClientCertificate,
}
"""Models inside models, by key."""


def _message(error: Mapping[str, Any], model: type[BaseModel]) -> str:
    """
    One of pydantic's errors as a sentence.
    """
    *around, key = error["loc"] or ("",)
    if error["type"] == "extra_forbidden":
        if key in {"password", "passphrase"}:
            return "a pass phrase is not written here: use password_file or password_env"
        for step in around:
            model = _MODELS[step]
        return f"unknown key: {_closest(key, model.model_fields)}"
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
            self.policies.setdefault(name, self.policy(name, entry))
        sections = self.model(_Sections, written, ())
        defaults = self.arguments(sections.defaults, ("defaults",)) if sections else {}
        return Config(
            targets=self.targets(written.get("targets"), defaults),
            policies=MappingProxyType(self.policies),
            probe_allow=tuple(sections.probe.allow) if sections else (),
            warnings=tuple(self.warnings),
            defaults=MappingProxyType(defaults),
        )

    def policy(self, name: str, entry: Any) -> Policy:
        """
        One of the user's policies; any, if it is at fault: the targets that name it are not.
        """
        model = self.model(_PolicyEntry, entry, ("policies", name))
        due = model and (model.renewal_due or model.warning)
        if not model or not due:
            return AUTOMATIC
        policy = Policy(name, renewal_due=due, warning=model.warning, critical=model.critical)
        for key, message in _order_faults(policy).items():
            self.document.fault(("policies", name, key), message)
        return policy

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
            target = _target(defaults, {**self.arguments(model, loc), "name": model.name})
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

    def arguments(self, settings: _Settings, loc: Loc) -> dict[str, Any]:
        """
        What is set, as arguments of Target.

        A file that is missing is a warning only: it may come later, and the other targets do not need it.
        """
        arguments = {key: getattr(settings, key) for key in settings.model_fields_set}
        if settings.policy is not None:
            arguments["policy"] = self.policies[settings.policy]
        files = [((*loc, "ca_file"), settings.ca_file)]
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
