"""
Objects of the Kubernetes API: the items in their JSON. Opens nothing and reads no clock.

Of a Secret only parsed certificates are kept. Keys and all other values are not.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from exporter.formats import parse
from exporter.formats.outcome import failure, outcome_of
from exporter.formats.parsed import ParseContext
from exporter.model.errors import LeftOut, LeftOutError, Outcome, ProbeError
from exporter.model.observation import Facts, Item, Renewal
from exporter.model.reasons import Kind, Reason
from exporter.model.targets import HELM_TYPE, Resources
from exporter.model.times import rfc3339

TLS_TYPE = "kubernetes.io/tls"


OPAQUE_TYPE = "Opaque"


TLS_CERTIFICATE = "tls.crt"


_PRIVATE_KEYS = frozenset({"tls.key", "ssh-privatekey"})
"""Keys of Secrets that hold private keys by the definition of their types: not even decoded."""


_CERT_MANAGER = "cert-manager.io/"
"""Begins the annotations of a Secret that cert-manager keeps."""


_RENEW_BEFORE = "cert-manager.io/renew-before"


_GO_DURATION = re.compile(r"(?:([0-9]{1,7})h)?(?:([0-9]{1,7})m)?(?:([0-9]{1,9})s)?")


_NAME = re.compile(r"[A-Za-z0-9._:-]{1,253}")


LEAST_SIZE = 1024
"""Bytes that each object, and each item or host in it, counts for at least."""


Key = tuple[str, str]
"""The namespace of an object, empty where it has none, and its name."""


@dataclass(frozen=True, slots=True)
class Renewed:
    """
    The time at which cert-manager renews the certificate in a Secret.
    """

    secret: Key
    due: float
    not_after: float | None
    """The end of the certificate that is renewed; None when it is not stated."""


@dataclass(frozen=True, slots=True)
class Stored:
    """
    The parts of one object that are kept.
    """

    version: str
    """The resourceVersion of the object."""
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)
    """Outcomes by label of the endpoint."""
    left_out: tuple[LeftOut, ...] = ()
    renewed: Renewed | None = None
    content: tuple[Any, ...] = ()
    """What the readers of `discovery` keep: texts, numbers, and tuples of them."""
    read: int = 0
    """Bytes of the values in which the outcomes were found."""

    @property
    def size(self) -> int:
        """
        The bytes that this counts for, where what is kept is bounded.
        """
        facts = (one.facts if isinstance(one, ProbeError) else one for one in self.outcomes.values())
        items = sum(len(one.items) for one in facts if isinstance(one, Facts))
        return max(self.read, LEAST_SIZE * (1 + items + len(self.content)))

    @property
    def named(self) -> int:
        """
        The number of endpoints or targets that this makes, 1 at least.
        """
        return max(1, len(self.outcomes) + len(self.content))


Read = Callable[[dict[str, Any], str | None, Stored | None], Stored]
"""Reads an object: takes it, the password of keystores, and the parts kept before. Raises ProbeError."""


@dataclass(frozen=True, slots=True)
class Resource:
    """
    One kind of object, and its reader.
    """

    name: str
    """The plural name in URLs of the API and in RBAC rules."""
    api: str
    """`v1`, or group and version."""
    read: Read
    namespaced: bool = True
    others: tuple[str, ...] = ()
    """Groups and versions to ask for instead, in this order, where a server does not have `api`."""
    optional: bool = False
    """True for what many clusters lack: that is no failure to warn of."""

    @property
    def group(self) -> str:
        """
        The API group in RBAC rules; empty for the core.
        """
        return self.api.rpartition("/")[0]

    def path(self, namespace: str, api: str) -> str:
        """
        Return the API server's path for the objects of a namespace; of all, if it is empty. `api` is one of
        its own or of `others`.
        """
        base = f"/{'apis' if self.group else 'api'}/{api}"
        inside = f"/namespaces/{namespace}" if namespace and self.namespaced else ""
        return f"{base}{inside}/{self.name}"


@dataclass(frozen=True, slots=True)
class Question:
    """
    The objects that one view lists and watches.
    """

    kubeconfig: str | None
    context: str
    resource: Resource
    namespace: str
    """One namespace; empty: all."""
    name: str = ""
    """The name of one object; empty: all."""
    type: str = ""
    """The type of Secrets; empty: all."""
    selector: str = ""
    password: str | None = field(default=None, repr=False)

    @property
    def place(self) -> str:
        """
        The namespace and kind as a label: `prod/secrets`.
        """
        return f"{self.namespace}/{self.resource.name}" if self.namespace else self.resource.name

    @property
    def fields(self) -> str:
        """
        The field selector of the API.
        """
        wanted = {"metadata.name": self.name, "type": self.type}
        return ",".join(f"{field}={value}" for field, value in wanted.items() if value)

    def __str__(self) -> str:
        """
        Return the objects in words.
        """
        of = f" {self.name!r}" if self.name else ""
        where = f"namespace {self.namespace!r}" if self.namespace else "all namespaces"
        return f"{self.resource.name}{of}" + (f" in {where}" if self.resource.namespaced else "")


def key_of(obj: Any) -> Key:
    """
    Return namespace and name. Raises ProbeError for JSON that is no object.
    """
    metadata = mapping(obj, "metadata") if isinstance(obj, dict) else {}
    namespace, name = metadata.get("namespace", ""), metadata.get("name")
    if not is_name(name) or not (namespace == "" or is_name(namespace)):
        raise ProbeError(Reason.HTTP_FAILED, "the API server sent something that is no object")
    return str(namespace), str(name)


def is_name(value: Any) -> bool:
    """
    Return True for a valid name of an object or a key in it, which is safe in a label.
    """
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def version_of(obj: Mapping[str, Any]) -> str:
    """
    Return the resourceVersion, empty when there is none.
    """
    found = mapping(obj, "metadata").get("resourceVersion")
    return found if isinstance(found, str) else ""


def read_secret(obj: dict[str, Any], password: str | None, before: Stored | None) -> Stored:
    """
    Return the keys of a Secret that hold an item.
    """
    namespace, name = key_of(obj)
    type_ = obj.get("type")
    reading = _Reading(password, before)
    # Requested by type, but a server in between may have ignored the selector.
    if not (isinstance(type_, str) and type_.startswith(HELM_TYPE)):
        data = mapping(obj, "data")
        for key, value in data.items():
            if key not in _PRIVATE_KEYS and is_name(key):
                must = type_ == TLS_TYPE and key == TLS_CERTIFICATE
                reading.encoded(f"{namespace}/{name}:{key}", value, must=must)
        if type_ == TLS_TYPE and TLS_CERTIFICATE not in data:
            where = f"{namespace}/{name}:{TLS_CERTIFICATE}"
            words = f"{where}: a Secret of type {TLS_TYPE} without {TLS_CERTIFICATE}"
            reading.outcomes[where] = ProbeError(Reason.NOTHING_EXPIRES, words)
    annotations = mapping(mapping(obj, "metadata"), "annotations")
    if any(name.startswith(_CERT_MANAGER) for name in annotations):
        before = annotations.get(_RENEW_BEFORE)
        reading.outcomes = {label: _of_cert_manager(one, before) for label, one in reading.outcomes.items()}
    return reading.stored(version_of(obj))


def _of_cert_manager(outcome: Outcome, renew_before: Any) -> Outcome:
    """
    Return the outcome of a Secret that cert-manager keeps, renewed as its annotation says, if it has one.
    """
    if not isinstance(outcome, Facts):
        return outcome
    facts, before = replace(outcome, renewer="cert-manager"), _seconds(renew_before)
    ends = {item.not_after for item in facts.items if item.kind is Kind.LEAF}
    if before is None or len(ends) != 1:
        return facts
    end = ends.pop()
    return _renewed_facts(facts, Renewed(("", ""), end - before, end))


def _seconds(value: Any) -> float | None:
    """
    Return the seconds of a duration as Go writes it (`360h0m0s`); None for anything else.
    """
    found = _GO_DURATION.fullmatch(value) if isinstance(value, str) else None
    if not value or found is None:
        return None
    hours, minutes, seconds = map(int, found.groups("0"))
    return hours * 3600.0 + minutes * 60 + seconds


def read_config_map(obj: dict[str, Any], password: str | None, before: Stored | None) -> Stored:
    """
    Return the keys of a ConfigMap that hold an item.
    """
    namespace, name = key_of(obj)
    reading = _Reading(password, before)
    for key, text in mapping(obj, "data").items():
        if isinstance(text, str) and is_name(key):
            reading.data(f"{namespace}/configmap/{name}:{key}", text.encode("utf-8", "replace"))
    for key, value in mapping(obj, "binaryData").items():
        if is_name(key):
            reading.encoded(f"{namespace}/configmap/{name}:{key}", value)
    return reading.stored(version_of(obj))


def _read_webhooks(kind: str) -> Read:
    def read(obj: dict[str, Any], password: str | None, before: Stored | None) -> Stored:
        _, name = key_of(obj)
        reading = _Reading(password, before)
        webhooks = obj.get("webhooks")
        for number, webhook in enumerate(webhooks if isinstance(webhooks, list) else (), 1):
            if not isinstance(webhook, dict):
                continue
            bundle = mapping(webhook, "clientConfig").get("caBundle")
            hook = webhook.get("name")
            if bundle:
                reading.encoded(f"{kind}/{name}:{hook if is_name(hook) else number}", bundle, must=True)
        return reading.stored(version_of(obj))

    return read


def read_certificate(obj: dict[str, Any], _password: str | None, _before: Stored | None) -> Stored:
    """
    Return the time at which cert-manager renews a certificate, with the Secret that holds it.
    """
    namespace, _ = key_of(obj)
    status = mapping(obj, "status")
    spec = mapping(obj, "spec")
    secret, end = spec.get("secretName"), rfc3339(status.get("notAfter"))
    due, before = rfc3339(status.get("renewalTime")), _seconds(spec.get("renewBefore"))
    if due is None and end is not None and before is not None:
        due = end - before
    renewed = None
    if isinstance(secret, str) and due is not None:
        renewed = Renewed((namespace, secret), due, end)
    return Stored(version_of(obj), renewed=renewed)


RESOURCES: dict[Resources, tuple[Resource, ...]] = {
    "secrets": (Resource("secrets", "v1", read_secret),),
    "configmaps": (Resource("configmaps", "v1", read_config_map),),
    "webhooks": tuple(
        Resource(f"{kind}s", "admissionregistration.k8s.io/v1", _read_webhooks(kind), namespaced=False)
        for kind in ("validatingwebhookconfiguration", "mutatingwebhookconfiguration")
    ),
    "certificates": (Resource("certificates", "cert-manager.io/v1", read_certificate),),
}


def with_renewal(outcome: Outcome, renewed: Renewed) -> Outcome:
    """
    Return the outcome with the time at which cert-manager renews its leaf, if that is about this leaf.
    """
    if isinstance(outcome, ProbeError) and outcome.facts is not None:
        return ProbeError(outcome.reason, outcome.detail, _renewed_facts(outcome.facts, renewed))
    return _renewed_facts(outcome, renewed) if isinstance(outcome, Facts) else outcome


def _renewed_facts(facts: Facts, renewed: Renewed) -> Facts:
    def about(item: Item) -> bool:
        # After a renewal the Secret may be known before the Certificate's status, or after it.
        return item.kind is Kind.LEAF and renewed.not_after in {None, item.not_after}

    items = tuple(
        replace(item, renewal=Renewal(renewed.due)) if about(item) else item for item in facts.items
    )
    return replace(facts, items=items)


def texts_of(key: Key, stored: Stored) -> Iterator[str]:
    """
    Yield all parts of a stored object that become a label or are part of a message.
    """
    yield from key
    yield from _texts(stored.content)
    for label, outcome in stored.outcomes.items():
        yield label
        facts = outcome.facts if isinstance(outcome, ProbeError) else outcome
        if isinstance(outcome, ProbeError):
            yield outcome.detail
        for item in facts.items if isinstance(facts, Facts) else ():
            yield item.name
            if item.certificate is not None:
                yield item.certificate.subject
                yield item.certificate.issuer


def _texts(content: Iterable[Any]) -> Iterator[str]:
    for one in content:
        if isinstance(one, str):
            yield one
        elif isinstance(one, tuple):
            yield from _texts(one)


@dataclass(slots=True)
class _Reading:
    """
    A collector of the items in the keys of one object.
    """

    password: str | None = field(repr=False)
    before: Stored | None
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)
    read: int = 0

    def encoded(self, label: str, value: Any, *, must: bool = False) -> None:
        """
        Add a base64 value; see `data`.
        """
        try:
            data = base64.b64decode(value if isinstance(value, str) else "", validate=True)
        except (binascii.Error, ValueError):
            if must:
                self.outcomes[label] = ProbeError(Reason.FORMAT_BROKEN, f"{label}: it is not base64")
            return
        self.data(label, data, must=must)

    def data(self, label: str, data: bytes, *, must: bool = False) -> None:
        """
        Add a value if it holds an item, did so before (`before`), or `must`.
        """
        had_items = self.before is not None and label in self.before.outcomes
        parsed = parse(data, ParseContext(self.password))
        outcome = outcome_of(label, parsed, had_items=had_items or must)
        if isinstance(outcome, LeftOutError):
            return
        if isinstance(outcome, ProbeError) and not parsed.items and not had_items and not must:
            if outcome.reason is Reason.KEYSTORE_LOCKED:
                # Nobody configured it to be read, and the Secret usually holds the same certificate as PEM.
                locked = failure(parsed)
                assert locked is not None
                self.left_out.append(LeftOut(label, locked.detail))
                return
            wrong = outcome.reason is Reason.KEYSTORE_PASSWORD_WRONG
            # Anything may be in an opaque Secret. Only a broken value that claims to be PEM is a failure.
            if not wrong and b"-----BEGIN " not in data:
                return
        self.outcomes[label] = outcome
        self.read += len(data)

    def stored(self, version: str) -> Stored:
        """
        Return the collected outcomes.
        """
        return Stored(version, self.outcomes, tuple(self.left_out), read=self.read)


def mapping(value: Mapping[str, Any], key: str) -> dict[str, Any]:
    """
    Return the mapping under a key; empty for anything else.
    """
    found = value.get(key)
    return found if isinstance(found, dict) else {}
