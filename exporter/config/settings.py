"""
The configuration in use: targets, policies, and the targets that a caller of /probe may name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType

from exporter.config import values
from exporter.config.modules import BUILT_IN_MODULES, Module, url_in
from exporter.config.probe_allow import allowed
from exporter.config.schema import Settings
from exporter.config.sources import SourceEntry
from exporter.model.coverage import Rules
from exporter.model.hosts import IPAddress, TargetError, normal_host, without_user
from exporter.model.policies import AUTOMATIC, BUILT_IN, BY_KIND, Match, Policy
from exporter.model.schemes import SCHEMES, Form
from exporter.model.suggestions import closest
from exporter.model.targets import DIRECTORIES, Objects, Target
from exporter.model.urls import Url
from exporter.passwords import shown

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
    modules: Mapping[str, Module] = field(default_factory=lambda: BUILT_IN_MODULES, repr=False)
    """The built-in and the user's modules of `/probe`, by name."""
    default_module: str = ""
    """The module of calls of `/probe` that name none; empty: the target says itself what it is."""
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
    discover: tuple[SourceEntry, ...] = ()
    """Sources of further targets, in the order of the file; each has a `name` of its own."""
    coverage: Rules = field(default_factory=Rules)
    """What is told of names that no target looks at."""
    by_hand: tuple[Target, ...] = ()
    """With `discover`: all targets of the file, also those that other replicas probe."""
    directory: str = "."
    """The directory of the file, to which paths are relative."""
    is_mine: Callable[[str], bool] = field(default=lambda _: True, repr=False, compare=False)
    """True if this replica probes the discovered target of this name."""

    def keeping(self, before: "Config") -> "Config":
        """
        Return this configuration with the objects of `before` for the targets that are as they were.

        What was made for such a target stays of use.
        """
        known = {one.name: one for one in (*before.by_hand, *before.targets)}

        def kept(targets: tuple[Target, ...]) -> tuple[Target, ...]:
            return tuple(old if (old := known.get(one.name)) == one else one for one in targets)

        return replace(self, targets=kept(self.targets), by_hand=kept(self.by_hand))

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
        policy = own.policy or whole or settings.policy or self.policies[AUTOMATIC.name]
        # Where none is configured they are one object for all targets.
        matches = (*fitting, *self.by_kind) if fitting else self.by_kind
        intervals = (own.interval, policy.interval, settings.interval)
        return Target(
            url,
            name,
            policy,
            () if own.policy is not None else matches,
            issuers=settings.issuers,
            labels=tuple(sorted(settings.labels.items())),
            timeout=settings.timeout,
            interval=next((one for one in intervals if one is not None), 0.0),
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


@dataclass(frozen=True, slots=True)
class Call:
    """
    The parameters of `/probe` beside the target, as other exporters have them. Empty: not given.
    """

    module: str = ""
    hostname: str = ""
    """The name to send and to verify, unless the module has one."""
    server_name: str = ""
    """The name to send and to verify, in place of the module's."""


_PLAIN = Call()


def target_for(config: Config, url: str, policy: str | None, call: Call = _PLAIN) -> Target:
    """
    Return the target that `/probe?target=URL&policy=NAME` names.

    A configured target of that name, with all its settings; else a new one with the settings of `defaults`,
    if `probe.allow` permits its URL; its addresses are judged when they are known, by `forbids`; else the
    configured target of that URL. `policy` replaces the target's policy; None keeps it. Raises TargetError
    with a message for the caller, and NotAllowedError where the URL is not permitted.
    """
    target = None
    if call == _PLAIN:
        target = next((target for target in config.targets if target.name == url), None)
    if target is None:
        target = _asked(config, url, call)
    if policy is None:
        return target
    if policy not in config.policies:
        raise TargetError(f"there is no policy {shown(policy)}: {closest(policy, config.policies)}")
    return replace(target, policy=config.policies[policy], matches=())


def _asked(config: Config, text: str, call: Call) -> Target:
    """
    Return a target that is not configured, as a caller of `/probe` means it. Raises TargetError.
    """
    text = text.strip()
    chosen, module = _module(config, text, call)
    if module is not None and SCHEMES[module.scheme].form is Form.HOST:
        # blackbox_exporter logs in with them, which shows no other certificate.
        text = without_user(text)
    own = module.settings if module is not None else Settings()
    expected = call.server_name or (call.hostname if own.server_name is None else "")
    if expected:
        own = own.model_copy(update={"server_name": normal_host(expected)})
    if module is not None and module.target:
        # It stands in the configuration: the caller only chooses it.
        fixed = values.url(url_in(module, module.target))
        return config.target(fixed, values.name(f"{module.target} ({chosen})"), own)
    if not text:
        raise TargetError("say what to probe: /probe?target=https://example.com")
    parsed = values.url(text if module is None else url_in(module, text))
    # What is kept of a target is kept by its name: with other settings it has another.
    name = f"{text} as {expected}" if expected else text
    permitted = allowed(config.probe_allow)
    forbids = partial(permitted.refusal, parsed)
    target = config.target(parsed, values.name(f"{name} ({chosen})" if module else name), own, forbids)
    why = ""
    # The normal form is matched, not the text, so that no spelling of a host slips past a pattern.
    if not permitted.may_ask(parsed, by_proxy=target.proxy is not None):
        words = "is not a configured target, and probe.allow of the configuration does not permit it"
        why = f"{shown(text)} {words}"
    # At once, since behind a proxy nobody judges where it leads.
    elif parsed.ip is not None:
        why = permitted.refusal(parsed, parsed.ip)
    same = _configured(config, target)
    if why and same is None:
        raise NotAllowedError(why)
    if same is None or (not why and SCHEMES[parsed.scheme].form is not Form.HOST):
        return target
    # Where the configured one leads, this one may too. A document is not among these: it may lead elsewhere.
    return same if why else replace(target, forbids=_nothing)


def _nothing(_: IPAddress) -> str:
    """
    Forbid no address.
    """
    return ""


def _configured(config: Config, asked: Target) -> Target | None:
    """
    Return the configured target that a call means with other words; None where there is none.

    A module makes a URL of what other exporters are asked for, and that may be the URL of a target. Where
    nothing else permits it, it is answered with all settings of the target, as if the caller had named it: so
    nobody learns more than by its name. A target in another cluster, behind another proxy or with another
    server name is not the one meant.
    """
    meant = [
        target
        for target in config.targets
        if target.url.host == asked.url.host
        and target.url.normal == asked.url.normal
        and target.kubernetes.kubeconfig == asked.kubernetes.kubeconfig
        and target.proxy == asked.proxy
        and target.server_name == asked.server_name
    ]
    # Of several, the one that selects the same objects.
    return max(meant, key=lambda target: target.kubernetes == asked.kubernetes, default=None)


def _module(config: Config, text: str, call: Call) -> tuple[str, Module | None]:
    """
    Return the name and the module of a call; none for a target that says itself what it is.
    """
    name = call.module
    if not name and text.partition(":")[0].lower() not in SCHEMES:
        name = config.default_module
    if name and name not in config.modules:
        raise TargetError(f"there is no module {shown(name)}: {closest(name, config.modules)}")
    return name, config.modules[name] if name else None
