"""
The entries of the section `discover`, one model for each source.
"""

import ipaddress
import json
import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationInfo,
    model_validator,
)

from exporter.config import shapes, values
from exporter.config.part import Bool, File, Listed, Part, Text, Texts
from exporter.config.schema import Labels
from exporter.config.shapes import form
from exporter.model.hosts import normal_host, parse_ip
from exporter.passwords import shown

PACE = {"rate", "large"}
"""Keys of a source that say nothing about where it looks."""


Port = Annotated[int, Field(ge=1, le=65535)]


Rate = Annotated[float, Field(gt=0, le=1000)]
"""New connections a second."""


NETWORK_LIMIT = 65_536
"""Addresses of one entry that are tried without a confirmation."""


LARGE_LIMIT = 1 << 24
"""Addresses of one entry that are tried at all: a /8."""


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def merged(cidr: Iterable[str]) -> list[Network]:
    """
    Return these networks, so that none has an address of another. Raises ValueError for what is none.
    """
    parsed = [ipaddress.ip_network(one, strict=False) for one in cidr]
    four = ipaddress.collapse_addresses(one for one in parsed if isinstance(one, ipaddress.IPv4Network))
    six = ipaddress.collapse_addresses(one for one in parsed if isinstance(one, ipaddress.IPv6Network))
    return [*four, *six]


def _web_url(text: str) -> str:
    """
    Return the URL of a web server, if it is one and has no password in it.
    """
    if not values.is_web_url(text):
        raise ValueError("must be a URL like https://inventory.example.com/targets")
    # Wherever it stands: what seems to be a path may be the rest of a password that has a slash in it.
    if "@" in text:
        raise ValueError("a password is not written here: use credentials_file; in a path write %40 for '@'")
    return text


def _domain(text: str) -> str:
    """
    Return a registered domain in A-labels.
    """
    name = normal_host(text)
    if parse_ip(name) is not None or "." not in name:
        raise ValueError("must be a registered domain like example.com")
    return name


def _namespace(text: str) -> str:
    """
    Return the name of a namespace.
    """
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", text):
        raise ValueError(
            "must be the name of a namespace, without wildcards; without the key all are looked at"
        )
    return text


def _policy(value: Any, info: ValidationInfo) -> str:
    return values.policy(value, info).name


Domain = Annotated[Text, AfterValidator(_domain), form(shapes.DOMAIN)]
Namespace = Annotated[Text, AfterValidator(_namespace), form(shapes.NAMESPACE)]


Paths = Annotated[list[File], Field(min_length=1), Listed()]
"""Files, directories and patterns, absolute."""


class KubernetesSource(Part):
    """
    A Kubernetes cluster.
    """

    kubeconfig: File | None = None
    context: Text | None = None
    """None: the kubeconfig's current context, else the cluster that the exporter runs in."""
    namespaces: Annotated[list[Namespace], Field(max_length=50), Listed()] = []
    """Empty: all."""
    selector: Annotated[Text, Field(max_length=1000)] = ""
    """Label selector, in the syntax of kubectl; empty: any labels."""
    resources: Annotated[
        list[Literal["ingresses", "gateways", "routes", "services", "secrets", "certificates"]],
        Field(min_length=1),
    ] = ["ingresses", "gateways", "routes", "services", "secrets", "certificates"]


class ZoneSource(Part):
    """
    A DNS zone: transferred from a name server, or read from a zone file.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": [key]} for key in ("server", "file")],
            "dependentRequired": {"tsig_key_file": ["server"]},
        }
    )

    name: Text
    server: Text | None = None
    tsig_key_file: File | None = None
    file: File | None = None
    ports: Annotated[list[Port], Field(min_length=1)] = [443]
    rate: Rate = 50.0

    @model_validator(mode="after")
    def one_place(self) -> "ZoneSource":
        """
        Refuse a zone without a place, with two, and a key that nothing uses.
        """
        if (self.server is None) == (self.file is None):
            raise ValueError("needs either `server` (a zone transfer) or `file` (a zone file)")
        if self.tsig_key_file is not None and self.server is None:
            raise ValueError("tsig_key_file is for a zone transfer: remove it, or name the `server`")
        return self


class NetworksSource(Part):
    """
    Networks whose addresses are tried.
    """

    cidr: Annotated[list[Annotated[Text, form(shapes.NETWORK)]], Field(min_length=1), Listed()]
    ports: Annotated[list[Port], Field(min_length=1)] = [443]
    rate: Rate = 50.0
    large: Bool = False
    """True: more addresses than a /16 has are meant."""

    @model_validator(mode="after")
    def of_a_bearable_size(self) -> "NetworksSource":
        """
        Refuse what is no network, and networks that are so large that they may be a typing error.
        """
        for text in self.cidr:
            try:
                merged([text])
            except ValueError:
                raise ValueError(
                    f"{shown(text)} is no network: write it like 10.1.0.0/24 or 2001:db8::/120"
                ) from None
        count = sum(one.num_addresses for one in merged(self.cidr))
        have = f"{self.cidr[0]} has" if len(self.cidr) == 1 else "these networks have together"
        if count > LARGE_LIMIT:
            raise ValueError(f"{have} more addresses than can be tried in a day: name fewer")
        if count > NETWORK_LIMIT and not self.large:
            raise ValueError(
                f"{have} {count:,} addresses, more than the {NETWORK_LIMIT:,} of a /16 (IPv6: a /112): "
                "name fewer, or confirm with `large: true`"
            )
        return self


class TransparencySource(Part):
    """
    Certificate transparency: what public logs know of registered domains.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"required": ["token_file"]},
            "then": {"properties": {"source": {"const": "certspotter"}}, "required": ["source"]},
        }
    )

    domains: Annotated[list[Domain], Field(min_length=1, max_length=1000), Listed()]
    source: Literal["crt.sh", "certspotter"] = "crt.sh"
    url: Annotated[Text, AfterValidator(_web_url), form(shapes.WEB_URL)] | None = None
    """Another address of the same API; None: the public one."""
    token_file: File | None = None

    @model_validator(mode="after")
    def a_token_for_its_user(self) -> "TransparencySource":
        """
        Refuse a token that nothing uses.
        """
        if self.token_file is not None and self.source != "certspotter":
            raise ValueError("token_file is for `source: certspotter`: crt.sh takes no token")
        return self


class HttpSource(Part):
    """
    A web server that answers with Prometheus's http_sd format. A URL alone is a whole one.
    """

    url: Annotated[Text, AfterValidator(_web_url), form(shapes.WEB_URL)]
    credentials_file: File | None = None
    """A file with `user:password`, or with a token alone. It is read at each run."""
    ca_file: File | None = None

    @model_validator(mode="before")
    @classmethod
    def as_mapping(cls, value: Any) -> Any:
        """
        Accept a text as the URL.
        """
        return {"url": value} if isinstance(value, str) else value


class SourceEntry(Part):
    """
    One element of `discover`: a source, and what holds for all targets that it finds.
    """

    model_config = ConfigDict(json_schema_extra=lambda schema: schema.update(oneOf=_one_source()))

    kubernetes: KubernetesSource | None = None
    web_servers: Paths | None = None
    stores: Paths | None = None
    zone: ZoneSource | None = None
    listening: Bool | None = None
    networks: NetworksSource | None = None
    certificate_transparency: TransparencySource | None = None
    files: Paths | None = None
    http: HttpSource | None = None
    labels: Labels = {}
    policy: Annotated[str | None, PlainValidator(_policy), form(shapes.NAME)] = None
    interval: Annotated[float | None, PlainValidator(values.interval), form(shapes.PAUSE)] = None
    include: Texts = []
    exclude: Texts = []
    """Shell patterns, as in `probe.allow`, of the URLs or names that are wanted, or not."""
    limit: Annotated[int, Field(ge=1, le=100_000)] = 10_000
    """Most targets that are taken from it."""
    name: Annotated[str | None, PlainValidator(values.name), form(shapes.NAME)] = None
    """Its name in metrics and alerts; None: the source's key, with a number if there are several."""

    @model_validator(mode="after")
    def one_source(self) -> "SourceEntry":
        """
        Refuse an element without a source, and one with two.
        """
        given = [key for key in SOURCES if key in self.model_fields_set]
        if len(given) != 1:
            have = f"this has {' and '.join(given)}" if given else f"known are {', '.join(SOURCES)}"
            raise ValueError(f"each element has one source: {have}")
        return self

    @property
    def source(self) -> str:
        """
        The key of the source that is set.
        """
        return next(key for key in SOURCES if key in self.model_fields_set)

    @property
    def given(self) -> Any:
        """
        The parsed value of that key.
        """
        return getattr(self, self.source)

    @property
    def identity(self) -> str:
        """
        The place in which the source looks, as a text: the same after a reload and a restart, at any pace.
        """
        where = self.model_dump(mode="json", include={self.source}, exclude={self.source: PACE})
        return json.dumps([self.source, where], sort_keys=True)


SOURCES = (
    *("kubernetes", "web_servers", "stores", "zone", "listening", "networks", "certificate_transparency"),
    *("files", "http"),
)
"""The keys of `SourceEntry` that name a source."""


def _one_source() -> list[dict[str, list[str]]]:
    """
    Return the JSON schemas of which an element fits one.
    """
    return [{"required": [key]} for key in SOURCES]


MODELS: dict[str, type[Part]] = {
    "kubernetes": KubernetesSource,
    "zone": ZoneSource,
    "networks": NetworksSource,
    "certificate_transparency": TransparencySource,
    "http": HttpSource,
}
"""Models inside `SourceEntry`, by key."""
