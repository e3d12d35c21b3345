"""
Targets: what the user configured, as values. Pure; the YAML around them is read in `config`.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Literal

from exporter.model.hosts import IPAddress, parse_ip
from exporter.model.policies import AUTOMATIC, BY_KIND, Match, Policy, Renewer, renewer_of
from exporter.model.proxies import Proxy
from exporter.model.reasons import Kind
from exporter.model.schemes import SCHEMES
from exporter.model.urls import Url
from exporter.passwords import shown

USUAL_PATIENCE = 5.0
"""Seconds that one probe may take unless its target or its scheme says otherwise."""


ADDRESS_LIMIT = 16
"""Most addresses of one name that are probed."""


_OURS = (
    "target location item kind prober policy severity reason subject issuer serial fingerprint_sha256 key "
    "problem cause where advice text hidden_by remembered source unsettled"
)


_OF_RULES = "heartbeat"


_OF_PROMETHEUS = "job instance pod container endpoint le quantile alertname alertstate"


RESERVED_LABELS = frozenset(f"{_OURS} {_OF_RULES} {_OF_PROMETHEUS}".split())
"""Names that a user's label must not have: metrics, rules, Prometheus or its Operator give them a meaning."""


Resources = Literal["secrets", "configmaps", "webhooks", "certificates"]
"""Kinds of objects that are requested from a Kubernetes cluster: `certificates` are those of cert-manager."""


Scope = Literal["object", "namespace", "cluster"]
"""
Which list an object that a URL names is taken from: one of it alone, or one of all that are in its namespace
or in the cluster. Targets that name many objects share one of these.
"""


HELM_TYPE = "helm.sh/release."
"""Begins the type of the Secrets in which Helm keeps its releases. They are large, and nothing uses them."""


@dataclass(frozen=True, slots=True)
class Objects:
    """
    The objects of a Kubernetes cluster that a target selects, besides the names in its URL.
    """

    kubeconfig: str | None = None
    """Path; None: $KUBECONFIG, else the cluster that the exporter runs in."""
    resources: tuple[Resources, ...] = ("secrets",)
    types: tuple[str, ...] = ()
    """Types of Secrets. Empty: those for TLS and opaque ones, or any type if the URL names one Secret."""
    selector: str = ""
    """Label selector, in the syntax of kubectl; empty: any labels."""
    scope: Scope = "object"


@dataclass(frozen=True, slots=True)
class Target:
    """
    One configured target. Two targets never share a name.
    """

    url: Url
    name: str
    policy: Policy = AUTOMATIC
    """For items that none of `matches` fits."""
    matches: tuple[Match, ...] = field(default=BY_KIND, hash=False)
    """The first that fits an item has its policy; empty when the configuration names this target's policy."""
    issuers: tuple[str, ...] | None = None
    """Names and fingerprints of the CAs whose certificates are expected; None: those of the policy."""
    labels: tuple[tuple[str, str], ...] = ()
    """The user's labels, sorted by name; exported on `expiry_target_info` and on its problems."""
    timeout: float | None = None
    """Seconds that one probe of one endpoint may take, after the name was resolved; None: see `patience`."""
    interval: float = 0.0
    """Seconds after which it is probed again; 0: it is in each scrape."""
    server_name: str | None = None
    """Name to send as SNI and to verify instead of the URL's host; None: the host."""
    ca_file: str | None = None
    """PEM file of trust anchors to judge by; None: the system's trust store."""
    client_certificate_file: str | None = None
    client_key_file: str | None = None
    """None: the key is in the certificate's file."""
    client_key_password: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    """
    Password of the keystores among the target's files; None: they have none, or one in a file beside them.
    """
    address_family: Literal["any", "ipv4", "ipv6"] = "any"
    addresses: Literal["all", "first"] = "all"
    keys: Literal["any", "both"] = "any"
    """`both`: ask the server for its RSA and for its ECDSA certificate."""
    proxy: Proxy | None = None
    proxy_protocol: Literal["none", "v1", "v2"] = "none"
    """Version of the PROXY protocol whose header is sent first."""
    crl: bool = False
    """Download the revocation lists that the presented certificates name."""
    ocsp: bool = False
    """Query the OCSP responder that the leaf names."""
    renewal_information: bool = True
    """Query the ACME server of the leaf's issuer for the time at which it wants the leaf renewed."""
    dns_checks: bool | None = None
    """
    Query DNS for records about the names on the presented certificate. None: rarely, and only about what the
    certificate of a public issuer, or one that is renewed by ACME, needs to be renewed.
    """
    dns_servers: tuple[tuple[str, int], ...] = ()
    """Addresses and ports of the recursive name servers to query; empty: those of the host."""
    kubernetes: Objects = Objects()
    """For a target in a Kubernetes cluster."""
    acme: Mapping[str, str] = field(default_factory=lambda: DIRECTORIES, hash=False, repr=False)
    """ACME directories by organization of the issuer."""
    source: str = ""
    """The name of the source that found it; empty: the configuration names it."""
    why: str = field(default="", compare=False)
    """Where that source found it, for a person."""

    forbids: Callable[[IPAddress], str] | None = field(default=None, compare=False, repr=False)
    """
    Returns the reason why `/probe` must not connect to an address, empty when it may; None: the target is
    configured.
    """

    @property
    def configured(self) -> bool:
        """
        False for a target that only a caller of `/probe` named.
        """
        return self.forbids is None

    @property
    def patience(self) -> float:
        """
        Seconds that one probe of one endpoint may take; infinite where only the scrape's timeout counts.
        """
        if self.timeout is not None:
            return self.timeout
        return math.inf if SCHEMES[self.url.scheme].dialogue else USUAL_PATIENCE

    @property
    def is_served(self) -> bool:
        """
        True for what servers show, of which several may take turns. A file shows one thing.
        """
        return bool(self.url.port) or self.url.scheme == "dns"

    @property
    def identity(self) -> str:
        """
        The key by which what was seen belongs to it: one of the same name and another URL has another.
        """
        return f"{self.url.normal} {self.server_name or ''} {self.keys}"

    def policy_of(self, kind: str, issuer: str | None, otherwise: Policy | None = None) -> Policy:
        """
        Return the policy of its items of this kind and issuer; `otherwise`, or its own, if no match fits.
        """
        fitting = (match.policy for match in self.matches if match.fits(kind, issuer))
        return next(fitting, otherwise or self.policy)

    def renewer_of(self, issuer: str, subject: str) -> Renewer | None:
        """
        Return what renews a leaf of this issuer and subject (RFC 4514 names), as its policy says or the names
        give away; None when that is not known.
        """
        return renewer_of(issuer, subject, (), self.policy_of(Kind.LEAF, issuer).name)

    @property
    def expected_name(self) -> str:
        """
        The name or address that the server's certificate must be valid for.
        """
        return self.server_name or self.url.host

    @property
    def sni(self) -> str | None:
        """
        The name sent as SNI (RFC 6066 section 3: never an IP address); None when there is none.
        """
        name = self.server_name or self.url.host
        return name if _is_name(name) else None


@lru_cache(maxsize=16_384)
def _is_name(host: str) -> bool:
    # Of an address that costs as much as all else that is prepared for a handshake.
    return parse_ip(host) is None


_FINGERPRINT = re.compile(r"(?:sha-?256[:=])?([0-9a-f]{2}(?::?[0-9a-f]{2}){31})")


def fingerprint(text: str) -> str | None:
    """
    Return the SHA-256 fingerprint in a text, in lower case without colons; None for a name.
    """
    found = _FINGERPRINT.fullmatch(text.strip().lower())
    return found[1].replace(":", "") if found else None


def label_name(text: str) -> str:
    """
    Return the name of a user's label. Raises ValueError when a target's label must not have it.
    """
    if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", text):
        raise ValueError("a label's name has only letters, digits and '_', and does not begin with a digit")
    if text.startswith("__"):
        raise ValueError("labels that begin with '__' belong to Prometheus: choose another name")
    if text in RESERVED_LABELS:
        raise ValueError(f"the label {shown(text)} has a meaning already: choose another name")
    return text


DIRECTORIES: Mapping[str, str] = MappingProxyType(
    {
        "Let's Encrypt": "https://acme-v02.api.letsencrypt.org/directory",
        "(STAGING) Let's Encrypt": "https://acme-staging-v02.api.letsencrypt.org/directory",
        "Google Trust Services": "https://dv.acme-v02.api.pki.goog/directory",
        "ZeroSSL": "https://acme.zerossl.com/v2/DV90",
        "Actalis S.p.A.": "https://acme-api.actalis.com/acme/directory",
    }
)
"""Organization of an issuer to its ACME directory, which says whether there is renewal information."""
