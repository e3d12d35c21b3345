"""
The web configuration: who may use the exporter's own port, and how. The format is exporter-toolkit's.

One file serves all exporters of a host: its keys and their meaning are those of
https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md. What Python's TLS can't
do, another one does (`server.port_tls`); what nobody here can is said, never passed over.
"""

import re
import ssl
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, model_validator

from exporter.config import values
from exporter.config.content import content
from exporter.config.part import Bool, File, Part, Text
from exporter.config.reader import read_as
from exporter.config.web_tls import ANY, VERIFIED, ClientAuth, TlsChoice, TlsError
from exporter.model.cipher_suites import CIPHERS
from exporter.model.suggestions import closest
from exporter.passwords import shown
from exporter.yaml_lines import ConfigError, ConfigFault

_VERSIONS = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}


_CURVES = {"CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1", "X25519": "X25519"}


HEADERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "Content-Security-Policy": (),
        "Strict-Transport-Security": (),
        "X-Content-Type-Options": ("nosniff",),
        "X-Frame-Options": ("deny", "sameorigin"),
        "X-XSS-Protection": (),
    }
)
"""The headers that a web configuration may set, each with its values; empty: any."""


_BCRYPT = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")


PEM_LIMIT = 1024 * 1024
"""Most bytes of a certificate with its chain, of a key, and of CAs."""


MOST_COST = 15
"""Of a bcrypt hash: at 15 one check takes two seconds of a processor."""


def _cipher(text: str) -> str:
    if text not in CIPHERS:
        raise ValueError(f"unknown cipher suite: {closest(text, CIPHERS)}")
    return text


def _curve(text: str) -> str:
    if text not in _CURVES:
        raise ValueError(f"unknown curve: {closest(text, _CURVES)}")
    return text


def _hash(text: str) -> str:
    found = _BCRYPT.fullmatch(text)
    # The hash itself is not shown: it may be the password, misplaced.
    if found is None:
        raise ValueError("is not a bcrypt hash: make one with `htpasswd -nBC 10 \"\" | tr -d ':\\n'`")
    if not 4 <= int(found[1]) <= MOST_COST:
        raise ValueError(f"has a cost of {int(found[1])}: from 4 to {MOST_COST} is sensible, 10 is usual")
    return text


def _header(text: str) -> str:
    if text not in HEADERS:
        raise ValueError(f"this header can't be set here: {closest(text, HEADERS)}")
    return text


def _blank(value: Any) -> Any:
    """
    Return an empty text for no value: as such a header is none.
    """
    return "" if value is None else value


def _user(name: str) -> str:
    if ":" in name:
        raise ValueError("the name of a user has no colon, behind which clients send the password (RFC 7617)")
    return name


def _header_value(text: str) -> str:
    """
    Return a value on one line, as Go makes it of several: a block of YAML ends with a line break.
    """
    line = re.sub(r"[\r\n]", " ", text).strip()
    if re.search(r"[\x00-\x08\x0b-\x1f\x7f]", line):
        raise ValueError("has a control character, which no header may have")
    return line


class _Section(Part):
    """
    A mapping of the file. As for Prometheus, a key without a value is as absent as one that is not there.
    """

    @model_validator(mode="before")
    @classmethod
    def without_the_absent(cls, written: Any) -> Any:
        """
        Leave out keys without a value; a mapping of which all lines are comments is an empty one.
        """
        if not isinstance(written, dict):
            return written
        known = cls.model_fields
        mappings = {key for key, field in known.items() if field.default == {}}
        given = {key: {} if value is None and key in mappings else value for key, value in written.items()}
        return {key: value for key, value in given.items() if value is not None or key not in known}


class _Tls(_Section):
    """
    `tls_server_config`.
    """

    cert_file: File | None = None
    key_file: File | None = None
    client_ca_file: File | None = None
    # What stands in the configuration itself. Not shown: the key is a secret.
    cert: Text | None = None
    key: Annotated[Text | None, Field(repr=False)] = None
    client_ca: Text | None = None
    client_auth_type: ClientAuth = "NoClientCert"
    client_allowed_sans: list[Text] | None = None
    min_version: Literal["TLS10", "TLS11", "TLS12", "TLS13"] = "TLS12"
    max_version: Literal["TLS10", "TLS11", "TLS12", "TLS13"] = "TLS13"
    cipher_suites: list[Annotated[str, AfterValidator(_cipher)]] = []
    prefer_server_cipher_suites: Bool = True
    curve_preferences: list[Annotated[str, AfterValidator(_curve)]] = []

    @model_validator(mode="before")
    @classmethod
    def without_the_empty(cls, written: Any) -> Any:
        """
        Leave out keys with an empty text, where that means none.
        """
        may = {"client_auth_type", *_GIVEN, *(f"{key}_file" for key in _GIVEN)}
        if not isinstance(written, dict):
            return written
        return {key: value for key, value in written.items() if value or key not in may}

    @property
    def is_on(self) -> bool:
        """
        False where nothing says that there is to be TLS: versions and suites alone do not.
        """
        return "client_auth_type" in self.model_fields_set or any(
            getattr(self, f"{key}{form}") is not None for key in _GIVEN for form in ("", "_file")
        )

    @model_validator(mode="after")
    def fitting(self) -> Self:
        """
        Refuse what does not go together.
        """
        if not self.is_on:
            return self
        for key in _GIVEN:
            inside, file = getattr(self, key), getattr(self, f"{key}_file")
            if inside is not None and file is not None:
                raise ValueError(f"{key} and {key}_file are both there: one of them must go")
            if inside is None and file is None and key != "client_ca":
                raise ValueError(f"{key}_file is missing (or {key}, with the PEM text itself)")
        if (self.client_ca or self.client_ca_file) and self.client_auth_type == "NoClientCert":
            raise ValueError("client_ca_file needs a client_auth_type: RequireAndVerifyClientCert")
        if self.client_allowed_sans is not None and self.client_auth_type not in {
            *ANY,
            "RequireAndVerifyClientCert",
        }:
            raise ValueError(
                "client_allowed_sans needs client_auth_type: RequireAndVerifyClientCert; with "
                f"{self.client_auth_type} a client may have no certificate, so no name"
            )
        if _VERSIONS[self.min_version] > _VERSIONS[self.max_version]:
            raise ValueError(f"min_version {self.min_version} is above max_version {self.max_version}")
        if self.max_version != "TLS13" and self.cipher_suites and not self.suites:
            raise ValueError(f"cipher_suites has none for {self.max_version}, only for TLS13")
        return self

    @property
    def suites(self) -> list[str]:
        """
        OpenSSL's names of the suites up to TLS 1.2.
        """
        return [CIPHERS[one] for one in self.cipher_suites if CIPHERS[one]]


_GIVEN = ("cert", "key", "client_ca")
"""Keys whose value is in the configuration itself, or in a file: then the key has `_file` behind it."""


class _Http(_Section):
    """
    `http_server_config`.
    """

    http2: Bool | None = None
    headers: dict[
        Annotated[str, AfterValidator(_header)],
        Annotated[str, Field(max_length=4096), AfterValidator(_header_value), BeforeValidator(_blank)],
    ] = {}

    @model_validator(mode="after")
    def sensible(self) -> Self:
        """
        Refuse what browsers would not understand. Where any value will do, an empty one is none.
        """
        for name, value in self.headers.items():
            if HEADERS[name] and value not in HEADERS[name]:
                raise ValueError(f"header {name} is {' or '.join(HEADERS[name])}, not {shown(value)}")
        return self


class _Rate(_Section):
    """
    `rate_limit`: a bucket of so many requests, refilled by one each interval.
    """

    interval: Annotated[float, PlainValidator(values.pause)] = 0.0
    burst: Annotated[int, Field(ge=0, le=1_000_000)] = 0


class _Sections(_Section):
    """
    The whole file.
    """

    tls_server_config: _Tls | None = None
    http_server_config: _Http = _Http()
    basic_auth_users: dict[Annotated[Text, AfterValidator(_user)], Annotated[str, AfterValidator(_hash)]] = {}
    rate_limit: _Rate = _Rate()


MODELS: Mapping[str, type[Part]] = MappingProxyType(
    {"tls_server_config": _Tls, "http_server_config": _Http, "rate_limit": _Rate}
)
"""Models inside models, by key."""


@dataclass(frozen=True, slots=True)
class WebTls:
    """
    The TLS of the port.
    """

    context: ssl.SSLContext
    certificate: str
    """Path of the file in which the port's own certificate is: the configuration itself, it may be."""
    pem: bytes
    """The port's own certificate, in PEM."""
    files: tuple[str, ...]
    """Paths that the context was made from."""
    allowed_sans: frozenset[str] | None = None
    """Names of which a client's certificate must have one; None: any certificate will do."""


@dataclass(frozen=True, slots=True)
class WebConfig:
    """
    The content of a web configuration.
    """

    tls: WebTls | None = None
    """None: plain HTTP."""
    users: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """Hash (bcrypt) of each user's password; empty: everybody may ask."""
    headers: Mapping[str, str] = field(default_factory=dict)
    rate: float = 0.0
    """Requests a second that are answered in the long run; 0: any number."""
    burst: int = 0
    """Requests that are answered at once."""
    warnings: tuple[str, ...] = ()

    @property
    def certificate(self) -> str | None:
        """
        Path of the port's own certificate; None for plain HTTP.
        """
        return None if self.tls is None else self.tls.certificate

    @property
    def files(self) -> tuple[str, ...]:
        """
        Paths of the files that it names.
        """
        return () if self.tls is None else self.tls.files


Making = Callable[[TlsChoice, Mapping[str, str]], ssl.SSLContext]
"""Makes a context; the mapping says what to call `pair` and `client_ca`. Raises TlsError."""


def load(path: str, make: Making) -> WebConfig:
    """
    Read a web configuration. Raises ConfigError with all faults, also of the files that it names.
    """
    sections = read_as(content(path, " (named by --web.config.file)"), path, _Sections, MODELS)
    warnings = []
    if sections.http_server_config.http2:
        warnings.append(f"{path}: http2 has no effect: this exporter speaks HTTP/1.1")
    tls, written = None, sections.tls_server_config
    if written is not None and written.is_on:
        tls = _tls(path, written, make)
        if written.client_auth_type in VERIFIED and not (written.client_ca or written.client_ca_file):
            warnings.append(
                f"{path}: client_auth_type {written.client_auth_type} without client_ca_file: every "
                "certificate of a CA that this system trusts lets its owner in"
            )
    elif written is not None:
        warnings.append(
            f"{path}: tls_server_config has no cert_file and no key_file: the port is without TLS"
        )
    if "basic_auth_users" in sections.model_fields_set and not sections.basic_auth_users:
        warnings.append(f"{path}: basic_auth_users has no entries: nobody needs a password")
    rate = sections.rate_limit
    return WebConfig(
        tls=tls,
        users={name: one.encode("ascii") for name, one in sections.basic_auth_users.items()},
        headers={name: value for name, value in sections.http_server_config.headers.items() if value},
        rate=1 / rate.interval if rate.interval else 0.0,
        burst=max(1, rate.burst),
        warnings=tuple(warnings),
    )


def _tls(path: str, written: _Tls, make: Making) -> WebTls:
    """
    Return the TLS that a configuration describes. Raises ConfigError.
    """
    files = tuple(file for key in _GIVEN if (file := getattr(written, f"{key}_file")) is not None)
    ciphers = ":".join(written.suites)
    lowest = _VERSIONS[written.min_version]
    if written.min_version in {"TLS10", "TLS11"}:
        # OpenSSL's own level of security has no such version.
        ciphers = f"{ciphers or 'DEFAULT'}:@SECLEVEL=0"
    if written.cipher_suites and not written.suites:
        # None is left for what is older.
        lowest = max(lowest, ssl.TLSVersion.TLSv1_3)
    names = {
        "pair": f"{_named('cert', written)} and {_named('key', written)}",
        "client_ca": _named("client_ca", written),
    }
    try:
        certificate, key = _given("cert", written), _given("key", written)
        assert certificate is not None
        assert key is not None
        choice = TlsChoice(
            certificate,
            key,
            _given("client_ca", written),
            written.client_auth_type,
            (lowest, _VERSIONS[written.max_version]),
            ciphers,
            written.prefer_server_cipher_suites,
            tuple(_CURVES[one] for one in written.curve_preferences),
        )
        made = make(choice, names)
    except TlsError as error:
        raise ConfigError([ConfigFault(path, 0, "tls_server_config", str(error))]) from None
    sans = written.client_allowed_sans
    allowed = None if sans is None else frozenset(sans)
    return WebTls(made, written.cert_file or path, certificate, files, allowed)


def _named(key: str, written: _Tls) -> str:
    """
    Return what to call a part in messages: its key, and the file that it is in.
    """
    file = getattr(written, f"{key}_file")
    return key if file is None else f"{key}_file {file}"


def _given(key: str, written: _Tls) -> bytes | None:
    """
    Return what is given by this key or as a file; None if it is not. Raises TlsError.
    """
    inside, file = getattr(written, key), getattr(written, f"{key}_file")
    if file is None:
        return None if inside is None else str(inside).encode()
    try:
        found = _pem(Path(file))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise TlsError(f"{_named(key, written)}: {why}") from None
    if len(found) > PEM_LIMIT:
        raise TlsError(f"{_named(key, written)}: is larger than {PEM_LIMIT // 1024} KiB")
    return found


def _pem(file: Path) -> bytes:
    """
    Return the content of a file, cut after PEM_LIMIT and one more. Raises OSError or ValueError.
    """
    # Whoever opens a pipe waits for who writes to it.
    if not stat.S_ISREG(file.stat().st_mode):
        raise ValueError("it is a pipe, a device or a directory")
    with file.open("rb") as opened:
        return opened.read(PEM_LIMIT + 1)
