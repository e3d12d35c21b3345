"""
The web configuration: who may use the exporter's own port, and how. The format is exporter-toolkit's.

One file serves all exporters of a host: its keys and their meaning are those of
https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md. What Python's TLS can't
do is refused or said, never passed over.
"""

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, PlainValidator, model_validator

from exporter.config import values
from exporter.config.part import File, Part, Text
from exporter.config.reader import content, read_as
from exporter.model.suggestions import closest
from exporter.yaml_lines import ConfigError, ConfigFault

_VERSIONS = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}


CIPHERS: Mapping[str, str] = MappingProxyType(
    {
        "TLS_RSA_WITH_AES_128_CBC_SHA": "AES128-SHA",
        "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
        "TLS_RSA_WITH_AES_128_CBC_SHA256": "AES128-SHA256",
        "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256",
        "TLS_RSA_WITH_AES_256_GCM_SHA384": "AES256-GCM-SHA384",
        "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
        "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
        "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
        "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
        "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256": "ECDHE-ECDSA-AES128-SHA256",
        "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256": "ECDHE-RSA-AES128-SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
        # Of TLS 1.3 all suites are offered, as by Go: the names are accepted and change nothing.
        "TLS_AES_128_GCM_SHA256": "",
        "TLS_AES_256_GCM_SHA384": "",
        "TLS_CHACHA20_POLY1305_SHA256": "",
    }
)
"""OpenSSL's name of each cipher suite by its name in the file (IANA's and Go's); empty for TLS 1.3."""


_CURVES = {"CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1", "X25519": "X25519"}


HEADERS = (
    "Content-Security-Policy",
    "Strict-Transport-Security",
    "X-Content-Type-Options",
    "X-Frame-Options",
    "X-XSS-Protection",
)
"""The headers that a web configuration may set."""


_BCRYPT = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")


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


class _Tls(Part):
    """
    `tls_server_config`.
    """

    cert_file: File | None = None
    key_file: File | None = None
    client_auth_type: Literal[
        "NoClientCert",
        "RequestClientCert",
        "RequireAnyClientCert",
        "VerifyClientCertIfGiven",
        "RequireAndVerifyClientCert",
    ] = "NoClientCert"
    client_ca_file: File | None = None
    client_allowed_sans: list[Text] = []
    min_version: Literal["TLS10", "TLS11", "TLS12", "TLS13"] = "TLS12"
    max_version: Literal["TLS10", "TLS11", "TLS12", "TLS13"] = "TLS13"
    cipher_suites: list[Annotated[str, AfterValidator(_cipher)]] = []
    prefer_server_cipher_suites: bool = True
    curve_preferences: list[Annotated[str, AfterValidator(_curve)]] = []

    @model_validator(mode="after")
    def fitting(self) -> Self:
        """
        Refuse what does not go together, and what this exporter can't do.
        """
        if self.cert_file is None or self.key_file is None:
            raise ValueError(f"{'cert_file' if self.cert_file is None else 'key_file'} is missing")
        if self.client_auth_type == "RequireAnyClientCert":
            raise ValueError(
                "client_auth_type RequireAnyClientCert (a certificate of anybody) can't be done here: "
                "use RequireAndVerifyClientCert with client_ca_file"
            )
        verifies = self.client_auth_type in {"VerifyClientCertIfGiven", "RequireAndVerifyClientCert"}
        if verifies and self.client_ca_file is None:
            raise ValueError(f"client_auth_type {self.client_auth_type} needs client_ca_file")
        if self.client_ca_file is not None and not verifies:
            raise ValueError("client_ca_file needs client_auth_type: RequireAndVerifyClientCert")
        if self.client_allowed_sans and not verifies:
            raise ValueError("client_allowed_sans needs client_auth_type: RequireAndVerifyClientCert")
        if _VERSIONS[self.min_version] > _VERSIONS[self.max_version]:
            raise ValueError(f"min_version {self.min_version} is above max_version {self.max_version}")
        return self


class _Http(Part):
    """
    `http_server_config`.
    """

    http2: bool | None = None
    headers: dict[Annotated[str, AfterValidator(_header)], Annotated[str, Field(max_length=4096)]] = {}


class _Rate(Part):
    """
    `rate_limit`: a bucket of so many requests, refilled by one each interval.
    """

    interval: Annotated[float, PlainValidator(values.pause)] = 0.0
    burst: Annotated[int, Field(ge=0, le=1_000_000)] = 0


class _Sections(Part):
    """
    The whole file.
    """

    tls_server_config: _Tls | None = None
    http_server_config: _Http = _Http()
    basic_auth_users: dict[Text, Annotated[str, AfterValidator(_hash)]] = {}
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
    """Path of the port's own certificate."""
    files: tuple[str, ...]
    """Paths that the context was made from."""
    allowed_sans: frozenset[str] = frozenset()
    """Names of which a client's certificate must have one; empty: any certificate of the CA."""


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


def load(path: str) -> WebConfig:
    """
    Read a web configuration. Raises ConfigError with all faults, also of the files that it names.
    """
    sections = read_as(content(path, " (named by --web.config.file)"), path, _Sections, MODELS)
    warnings = []
    if sections.http_server_config.http2:
        warnings.append(f"{path}: http2 has no effect: this exporter speaks HTTP/1.1")
    tls, written = None, sections.tls_server_config
    if written is not None:
        if len(written.curve_preferences) > 1:
            warnings.append(f"{path}: of curve_preferences only the first is offered")
        tls = _tls(path, written)
    rate = sections.rate_limit
    return WebConfig(
        tls=tls,
        users={name: one.encode("ascii") for name, one in sections.basic_auth_users.items()},
        headers=dict(sections.http_server_config.headers),
        rate=1 / rate.interval if rate.interval else 0.0,
        burst=max(1, rate.burst),
        warnings=tuple(warnings),
    )


def _tls(path: str, written: _Tls) -> WebTls:
    """
    Return the TLS that a configuration describes. Raises ConfigError.
    """
    assert written.cert_file is not None
    assert written.key_file is not None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # The versions are what the configuration says, also where OpenSSL's own level of security is higher.
    context.minimum_version = _VERSIONS[written.min_version]
    context.maximum_version = _VERSIONS[written.max_version]
    if written.min_version in {"TLS10", "TLS11"}:
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
    if written.prefer_server_cipher_suites:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    if suites := [CIPHERS[one] for one in written.cipher_suites if CIPHERS[one]]:
        context.set_ciphers(":".join(suites))
    if written.curve_preferences:
        context.set_ecdh_curve(_CURVES[written.curve_preferences[0]])
    files = [written.cert_file, written.key_file]
    what = f"cert_file {written.cert_file} and key_file {written.key_file}"
    try:
        context.load_cert_chain(written.cert_file, written.key_file, password=lambda: b"")
        if written.client_ca_file is not None:
            what = f"client_ca_file {written.client_ca_file}"
            files.append(written.client_ca_file)
            context.load_verify_locations(written.client_ca_file)
    except (OSError, ValueError) as error:
        raise ConfigError([ConfigFault(path, 0, "tls_server_config", f"{what}: {_why(error)}")]) from None
    if written.client_auth_type == "RequireAndVerifyClientCert":
        context.verify_mode = ssl.CERT_REQUIRED
    elif written.client_auth_type == "VerifyClientCertIfGiven":
        context.verify_mode = ssl.CERT_OPTIONAL
    return WebTls(context, written.cert_file, tuple(files), frozenset(written.client_allowed_sans))


def _why(error: OSError | ValueError) -> str:
    """
    Return why a certificate or key could not be loaded, for a person.
    """
    if isinstance(error, ssl.SSLError):
        words = {
            "KEY_VALUES_MISMATCH": "the key does not belong to the certificate",
            "NO_START_LINE": "no certificate, or no key, in PEM is in it",
            "BAD_DECRYPT": "the key is encrypted, which is not possible here",
            "BAD_PASSWORD_READ": "the key is encrypted, which is not possible here",
        }
        reason = error.reason or "not PEM, or the key is missing or encrypted"
        return words.get(reason, reason.lower().replace("_", " "))
    return getattr(error, "strerror", None) or str(error)
