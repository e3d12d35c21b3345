"""
The sections of a configuration file, each as a model.
"""

from dataclasses import replace
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, PlainValidator, model_validator

from exporter.config import probe_allow, shapes, values
from exporter.config.part import Bool, File, Part, Text, Texts
from exporter.config.shapes import form
from exporter.model.coverage import Rules
from exporter.model.hosts import normal_host
from exporter.model.policies import Before, Policy
from exporter.model.proxies import Proxy
from exporter.model.reasons import Kind
from exporter.model.targets import Objects, Resources, Scope, label_name
from exporter.model.urls import Url

_Deadline = Annotated[Before, PlainValidator(values.deadline), form(shapes.DEADLINE)]


_Issuers = Annotated[tuple[str, ...], PlainValidator(values.issuers), form(shapes.ISSUERS)]


_ProbeInterval = Annotated[float, PlainValidator(values.probe_interval), form(shapes.INTERVAL)]


_NameServer = Annotated[tuple[str, int], PlainValidator(values.name_server), form(shapes.NAME_SERVER)]


_Name = Annotated[str, AfterValidator(values.name), form(shapes.NAME)]


Labels = dict[
    Annotated[str, AfterValidator(label_name), form(shapes.LABEL)], Annotated[str, Field(max_length=256)]
]
"""Labels of targets."""


class ClientCertificate(Part):
    """
    The certificate that is presented to a server that requests one. Its passwords are read here.
    """

    model_config = ConfigDict(json_schema_extra=shapes.either("password_file", "password_env"))

    cert_file: File
    key_file: File | None = None
    """None: the key is in the certificate's file."""
    password_file: Annotated[File, AfterValidator(values.password_in_file)] | None = None
    password_env: Annotated[Text, AfterValidator(values.password_in_environment)] | None = None

    @model_validator(mode="before")
    @classmethod
    def one_password(cls, value: Any) -> Any:
        """
        Refuse two sources for one pass phrase.
        """
        return values.one_password(value)

    @property
    def password(self) -> str | None:
        """
        The pass phrase of the key; None when it has none.
        """
        return self.password_env or self.password_file


class ProxyEntry(Part):
    """
    A proxy. Its credentials are read here. A URL alone is a whole proxy, and `none` is no proxy.
    """

    model_config = ConfigDict(json_schema_extra=shapes.either("credentials_file", "credentials_env"))

    url: Annotated[Proxy | None, PlainValidator(values.proxy), form(shapes.PROXY)]
    credentials_file: (
        Annotated[File, AfterValidator(values.password_in_file), AfterValidator(values.credentials)] | None
    ) = None
    credentials_env: (
        Annotated[Text, AfterValidator(values.password_in_environment), AfterValidator(values.credentials)]
        | None
    ) = None

    @model_validator(mode="before")
    @classmethod
    def as_mapping(cls, value: Any) -> Any:
        """
        Accept a text as the URL.
        """
        return {"url": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def one_place(self) -> Self:
        """
        Refuse credentials in two places, and credentials without a proxy.
        """
        if self.credentials_file and self.credentials_env:
            raise ValueError("credentials_file and credentials_env exclude each other: remove one")
        if self.url is None and (self.credentials_file or self.credentials_env):
            raise ValueError("`none` has no credentials: remove them")
        return self

    @property
    def proxy(self) -> Proxy | None:
        """
        The proxy with its credentials; None for no proxy.
        """
        credentials = self.credentials_env or self.credentials_file
        return replace(self.url, credentials=credentials) if self.url is not None else None


class KubernetesEntry(Part):
    """
    The objects of a Kubernetes cluster that a target selects.
    """

    kubeconfig: File | None = None
    resources: Annotated[list[Resources], Field(min_length=1)] = ["secrets"]
    types: Annotated[
        list[Annotated[str, AfterValidator(values.secret_type), form(shapes.SECRET_TYPE)]],
        Field(min_length=1),
    ] = []
    selector: Annotated[Text, Field(max_length=1000)] = ""
    scope: Scope = "object"

    @property
    def objects(self) -> Objects:
        """
        Return the objects that a target selects. An entry that is named twice counts once.
        """
        resources, types = tuple(dict.fromkeys(self.resources)), tuple(dict.fromkeys(self.types))
        return Objects(self.kubeconfig, resources, types, self.selector, self.scope)


class Settings(Part):
    """
    The keys of `defaults` and of each target.
    """

    # `model_fields_set` has the keys that are written.
    model_config = ConfigDict(json_schema_extra=shapes.either("password_file", "password_env"))

    policy: Annotated[Policy | None, PlainValidator(values.policy), form(shapes.NAME)] = None
    issuers: _Issuers | None = None
    labels: Labels = {}
    timeout: Annotated[float | None, PlainValidator(values.timeout), form(shapes.TIMEOUT)] = None
    interval: _ProbeInterval | None = None
    server_name: Annotated[Text, AfterValidator(normal_host), form(shapes.HOST)] | None = None
    ca_file: File | None = None
    client_certificate: ClientCertificate | None = None
    password_file: Annotated[File, AfterValidator(values.password_in_file)] | None = None
    password_env: Annotated[Text, AfterValidator(values.password_in_environment)] | None = None
    address_family: Literal["any", "ipv4", "ipv6"] = "any"
    addresses: Literal["all", "first"] = "all"
    keys: Literal["any", "both"] = "any"
    proxy: ProxyEntry | None = None
    proxy_protocol: Literal["none", "v1", "v2"] = "none"
    crl: Bool = False
    ocsp: Bool = False
    renewal_information: Bool = True
    dns_checks: Annotated[bool | None, PlainValidator(values.dns_checks), form(shapes.DNS_CHECKS)] = None
    dns_servers: Annotated[list[_NameServer], Field(min_length=1)] = []
    kubernetes: KubernetesEntry | None = None

    @model_validator(mode="before")
    @classmethod
    def one_password(cls, value: Any) -> Any:
        """
        Refuse two sources for one password of keystores.
        """
        return values.one_password(value)

    @property
    def password(self) -> str | None:
        """
        The password of keystores; None when they have none, or one in a file beside them.
        """
        return self.password_env or self.password_file

    def over(self, defaults: "Settings") -> "Settings":
        """
        Return these settings, with those of `defaults` for keys that are not set here. Labels are merged.
        """
        written = {key: getattr(self, key) for key in self.model_fields_set & Settings.model_fields.keys()}
        if self.password is not None:
            written |= {"password_file": self.password_file, "password_env": self.password_env}
        if not written:
            # Most targets are but a URL.
            return defaults
        return defaults.model_copy(update={**written, "labels": {**defaults.labels, **self.labels}})


class TargetEntry(Settings):
    """
    One element of `targets`.
    """

    url: Annotated[Url, PlainValidator(values.url), form(shapes.URL)]
    name: Annotated[str, PlainValidator(values.name), form(shapes.NAME)] = ""

    @model_validator(mode="after")
    def named(self) -> Self:
        """
        Use the URL, as it is written, as the name of a target without one.
        """
        self.name = self.name or values.name(self.url.text)
        return self


class MatchEntry(Part):
    """
    The items that a policy is for, besides those of targets that name it. A key that is not set matches all.
    """

    schemes: Annotated[
        list[Annotated[str, AfterValidator(values.scheme), form(shapes.SCHEME)]], Field(min_length=1)
    ] = []
    kinds: Annotated[list[Kind], Field(min_length=1)] = []
    issuers: Annotated[list[Text], Field(min_length=1)] = []


class BuiltInEntry(Part):
    """
    An element of `policies` with the name of a built-in policy: it sets all but the deadlines.
    """

    unseen: Annotated[Before | None, PlainValidator(values.unseen), form(shapes.UNSEEN)] = None
    interval: _ProbeInterval | None = None
    issuers: _Issuers = ()
    match: MatchEntry | None = None


class PolicyEntry(BuiltInEntry):
    """
    One element of `policies`.
    """

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": [key]} for key in ("renewal_due", "warning")]}
    )

    renewal_due: _Deadline | None = None
    warning: _Deadline | None = None
    critical: _Deadline
    habit: Bool | None = None
    """None: what only tells people when to act has no rhythm, and all else has."""

    @model_validator(mode="after")
    def first_deadline(self) -> Self:
        """
        Refuse a policy that has only the last deadline.
        """
        if self.renewal_due is None and self.warning is None:
            raise ValueError("must set renewal_due or warning, or both, besides critical")
        return self


class ModuleEntry(Settings):
    """
    One element of `modules`: the settings of targets that `/probe?module=NAME` is asked for.
    """

    scheme: Annotated[str, AfterValidator(values.scheme), form(shapes.SCHEME)]
    target: Text = ""


class ProbeEntry(Part):
    """
    The section `probe`: the targets that `/probe` may be called for, and the module of calls without one.
    """

    allow: list[Annotated[Text, AfterValidator(probe_allow.entry), form(shapes.ALLOWED)]] = ["*"]
    default_module: Text = ""


class CoverageEntry(Part):
    """
    The section `coverage`: what is told of names that no target looks at.
    """

    alert: Bool = False
    """True: they are a problem of the target whose certificate has them."""
    ignore: Texts = []
    """Shell patterns of names that need no target."""

    @property
    def rules(self) -> Rules:
        """
        The rules of this section, in the form that the engine takes.
        """
        # Whoever wants to be told of every name agrees that it is looked up.
        return Rules(tuple(one.lower() for one in self.ignore), self.alert, private=self.alert)


class Sections(Part):
    """
    The whole file. Its policies, modules and targets are then checked one by one: no fault hides another.
    """

    defaults: Settings = Settings()
    policies: dict[_Name, Any] = {}
    modules: dict[_Name, Any] = {}
    targets: list[Any] = []
    discover: list[Any] = []
    coverage: CoverageEntry = CoverageEntry()
    probe: ProbeEntry = ProbeEntry()
    acme: dict[Text, Annotated[str, AfterValidator(values.directory), form(shapes.WEB_URL)]] = {}
