"""
The configuration in use: targets, policies, and the targets that a caller of /probe may name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType

from exporter.config import values
from exporter.config.probe_allow import allowed
from exporter.config.schema import Settings
from exporter.model.policies import AUTOMATIC, BUILT_IN, BY_KIND, Match, Policy
from exporter.model.suggestions import closest
from exporter.model.targets import DIRECTORIES, Objects, Target
from exporter.model.urls import IPAddress, TargetError, Url
from exporter.yaml_lines import shown

_USUAL_OBJECTS = Objects()


@dataclass(frozen=True, slots=True)
class Config:
    """
    The content of one configuration file.
    """

    targets: tuple[Target, ...] = ()
    """In the order of the file; no two share a name."""
    policies: Mapping[str, Policy] = field(default_factory=lambda: MappingProxyType(BUILT_IN))
    """The built-in and the user's policies, by name."""
    probe_allow: tuple[str, ...] = ("*",)
    """Patterns of the targets that `/probe` accepts besides configured ones: see `probe_allow.allowed`."""
    warnings: tuple[str, ...] = ()
    """Things that are allowed but probably not meant, each with file and line."""
    matches: tuple["SchemeMatch", ...] = ()
    """The policies for targets by scheme, in the order of the file."""
    defaults: Settings = field(default_factory=Settings, repr=False)
    """Settings that targets share. Not shown: a pass phrase may be among them."""
    acme: Mapping[str, str] = field(default_factory=lambda: DIRECTORIES, repr=False)
    """ACME directories by organization of the issuer."""
    by_kind: tuple[Match, ...] = BY_KIND
    """The policies of kinds that have one of their own, after `matches`."""

    def target(
        self,
        url: Url,
        name: str,
        own: Settings,
        forbids: Callable[[IPAddress], str] | None = None,
    ) -> Target:
        """
        Return a target with its `own` settings, and those of `defaults` for keys that it does not set.

        Its own policy precedes every match, and each match the policy of `defaults`.
        """
        settings = own.over(self.defaults)
        client, proxy = settings.client_certificate, settings.proxy
        fitting = [one.match for one in self.matches if not one.schemes or url.scheme in one.schemes]
        whole = next((one.policy for one in fitting if not one.kinds and not one.issuers), None)
        return Target(
            url,
            name,
            own.policy or whole or settings.policy or self.policies[AUTOMATIC.name],
            () if own.policy is not None else (*fitting, *self.by_kind),
            issuers=settings.issuers,
            labels=tuple(sorted(settings.labels.items())),
            timeout=settings.timeout,
            server_name=settings.server_name,
            ca_file=settings.ca_file,
            client_certificate_file=client.cert_file if client is not None else None,
            client_key_file=client.key_file if client is not None else None,
            client_key_password=client.password if client is not None else None,
            password=settings.password,
            address_family=settings.address_family,
            addresses=settings.addresses,
            keys=settings.keys,
            proxy=proxy.proxy if proxy is not None else None,
            proxy_protocol=settings.proxy_protocol,
            crl=settings.crl,
            ocsp=settings.ocsp,
            renewal_information=settings.renewal_information,
            dns_checks=settings.dns_checks,
            dns_servers=tuple(settings.dns_servers),
            kubernetes=settings.kubernetes.objects if settings.kubernetes is not None else _USUAL_OBJECTS,
            acme=self.acme,
            forbids=forbids,
        )


class NotAllowedError(TargetError):
    """
    A target that `/probe` does not permit. The message says why, for a person.
    """


@dataclass(frozen=True, slots=True)
class SchemeMatch:
    """
    A policy for the targets with one of these schemes, as far as their items fit.
    """

    schemes: frozenset[str]
    """Empty: every scheme."""
    match: Match


def target_for(config: Config, url: str, policy: str | None) -> Target:
    """
    Return the target that `/probe?target=URL&policy=NAME` names.

    A configured target of that name, with all its settings; else a new one with the settings of `defaults`,
    if `probe.allow` permits its URL; its addresses are judged when they are known, by `forbids`. `policy`
    replaces the target's policy; None keeps it. Raises TargetError with a message for the caller, and
    NotAllowedError where the URL is not permitted.
    """
    target = next((target for target in config.targets if target.name == url), None)
    if target is None:
        parsed = values.url(url)
        permitted = allowed(config.probe_allow)
        name = values.name(parsed.text)
        target = config.target(parsed, name, Settings(), partial(permitted.refusal, parsed))
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
