"""
Reader: the bytes of a configuration file to a `Config`, or to all its faults at once.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from itertools import chain, count
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from exporter.config import values
from exporter.config.content import content
from exporter.config.messages import in_words
from exporter.config.modules import BUILT_IN_MODULES, Module, url_in
from exporter.config.schema import (
    BuiltInEntry,
    ClientCertificate,
    CoverageEntry,
    KubernetesEntry,
    MatchEntry,
    ModuleEntry,
    PolicyEntry,
    ProbeEntry,
    ProxyEntry,
    Sections,
    Settings,
    TargetEntry,
)
from exporter.config.settings import Config, SchemeMatch
from exporter.config.sources import MODELS as SOURCE_MODELS
from exporter.config.sources import SourceEntry
from exporter.config.values import Elsewhere
from exporter.model.hosts import TargetError
from exporter.model.policies import AUTOMATIC, BUILT_IN, BY_KIND, DAY, Match, Policy, lateness
from exporter.model.probers import Setting
from exporter.model.schemes import SCHEMES
from exporter.model.suggestions import closest
from exporter.model.targets import DIRECTORIES, Target
from exporter.passwords import shown, without_user
from exporter.yaml_lines import UNEXPANDED, ConfigError, ConfigFault, Document, Loc, read

NO_TARGETS = "has no entries, so nothing is watched but what others ask for at /probe: {}"


_WATCHING = ("targets", "discover", "probe", "modules")
"""Keys of which one is enough for an exporter that does something."""


def load(
    path: str,
    environ: Mapping[str, str],
    elsewhere: Elsewhere | None = None,
    pause: Callable[[], None] | None = None,
) -> Config:
    """
    Read the configuration from a file. Raises ConfigError, also for a file that can't be read.
    """
    return parse(content(path, " (`expiry-exporter init` writes one)"), path, environ, elsewhere, pause)


def parse(
    data: bytes,
    file: str,
    environ: Mapping[str, str],
    elsewhere: Elsewhere | None = None,
    pause: Callable[[], None] | None = None,
) -> Config:
    """
    Parse the configuration. Raises ConfigError with all faults.

    `file` is the name in messages, and paths in the document are relative to its directory. `environ` holds
    the pass phrases that `password_env` names. With `elsewhere`, files and variables that the document names
    are not read but added to it, and relative paths are as they are there. `pause` is called often, and may
    let others work.
    """
    document = read(data, file, pause=pause)
    if document.value is None:
        document.refuse(
            (), 'the file is empty: the shortest useful one is "targets: [https://www.example.com]"'
        )
    config = _Reading(document, environ, elsewhere=elsewhere).config()
    if document.faults:
        raise ConfigError(document.faults)
    return config


def read_as(data: bytes, file: str, model: type["_Model"], inside: Mapping[str, type[BaseModel]]) -> "_Model":
    """
    Parse another file of ours as a model, with its nested models by key. Raises ConfigError with all faults.
    """
    document = read(data, file)
    reading = _Reading(document, {}, inside)
    parsed = reading.model(model, {} if document.value is None else document.value, ())
    if parsed is None or document.faults:
        raise ConfigError(document.faults)
    return parsed


_SERVERS = "servers that speak TLS"


_USES: Mapping[Setting, str] = MappingProxyType(
    {
        "server_name": _SERVERS,
        "ca_file": f"{_SERVERS}, and documents got by HTTPS",
        "client_certificate": f"{_SERVERS}, and documents got by HTTPS",
        "password_file": "files, documents and Kubernetes objects",
        "password_env": "files, documents and Kubernetes objects",
        "address_family": f"{_SERVERS}, zones and domains",
        "addresses": _SERVERS,
        "keys": f"{_SERVERS}, but for QUIC",
        "proxy": f"{_SERVERS} over TCP, and documents",
        "proxy_protocol": f"{_SERVERS} over TCP",
        "crl": _SERVERS,
        "ocsp": _SERVERS,
        "renewal_information": "certificates",
        "dns_checks": _SERVERS,
        "dns_servers": f"{_SERVERS}, zones and domains",
        "kubernetes": "objects of a Kubernetes cluster",
    }
)
"""By setting that not every prober uses, the targets that use it, in words."""


_DEADLINES = PolicyEntry.model_fields.keys() - BuiltInEntry.model_fields.keys()
"""Keys of a policy that a built-in one does not have."""


def _is_off(value: Any) -> bool:
    """
    Return True for a value that switches a setting off: such a value may stand at any target.
    """
    if isinstance(value, ProxyEntry):
        return value.proxy is None
    return value in (None, False, "none", "any", "all")


_MODELS: dict[str, type[BaseModel]] = {
    "defaults": Settings,
    "coverage": CoverageEntry,
    "probe": ProbeEntry,
    "client_certificate": ClientCertificate,
    "proxy": ProxyEntry,
    "kubernetes": KubernetesEntry,
    "match": MatchEntry,
}
"""Models inside models, by key."""


def _order_faults(policy: Policy) -> dict[str, str]:
    """
    Return a message by key for each deadline that does not come after the one before it.
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


def _is_readable_file(path: str) -> bool:
    # Not opened: that would block for ever on a pipe that nobody writes to. Asked for access first: stat() of
    # what is in a closed directory, or has too long a name, raises.
    return os.access(path, os.R_OK) and Path(path).is_file()


_Model = TypeVar("_Model", bound=BaseModel)


class _Reading:
    """
    The reading of one document: records faults and goes on.
    """

    def __init__(
        self,
        document: Document,
        environ: Mapping[str, str],
        inside: Mapping[str, type[BaseModel]] = _MODELS,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        """
        Nothing is read yet. `inside` has the models inside models, by key.
        """
        self.document = document
        self.inside = inside
        self.elsewhere = elsewhere
        self.directory = Path(document.file).parent if elsewhere is None else Path(elsewhere.directory)
        self.environ = environ
        self.policies: dict[str, Policy] = dict(BUILT_IN)
        self.matches: list[SchemeMatch] = []
        self.warnings: list[str] = []
        # Thousands of targets name one file. Calls of the system in quick succession also keep the
        # interpreter from all other threads: one that waits for it never gets it in between.
        self.is_readable = cache(_is_readable_file)

    def config(self) -> Config:
        """
        Return the configuration, without the parts that have faults.
        """
        written = self.document.value
        if not isinstance(written, dict):
            known = ", ".join(Sections.model_fields)
            self.document.refuse((), f"must be a mapping with the keys {known}: targets go under 'targets:'")
        # Whoever sets what /probe may be asked for means it so. A key with nothing below it is what is left
        # when its lines are comments.
        empty = next((key for key in ("targets", "discover") if key in written), "")
        if empty and not any(written.get(key) for key in _WATCHING):
            meant = "are all commented out?" if written[empty] is None else "name what is to be watched"
            self.warn((empty,), NO_TARGETS.format(meant))
        # All of a section may be commented out. What begins with x- only holds what others merge.
        written = {
            key: value
            for key, value in written.items()
            if (value is not None or key not in Sections.model_fields) and not str(key).startswith("x-")
        }
        policies = written.get("policies")
        for name, entry in policies.items() if isinstance(policies, dict) else ():
            self.policies[name] = self.policy(name, entry)
        sections = self.model(Sections, written, ())
        if sections is None:
            sections = Sections()
        self.warn_of_files(sections.defaults, ("defaults",))
        config = Config(
            policies=MappingProxyType(self.policies),
            probe_allow=tuple(sections.probe.allow),
            matches=tuple(self.matches),
            by_kind=tuple(replace(one, policy=self.policies[one.policy.name]) for one in BY_KIND),
            defaults=sections.defaults,
            coverage=sections.coverage.rules,
            # One mapping for all targets.
            acme=MappingProxyType({**DIRECTORIES, **sections.acme}) if sections.acme else DIRECTORIES,
        )
        modules = self.modules(written.get("modules"))
        default = sections.probe.default_module
        if default and default not in modules:
            self.document.fault(
                ("probe", "default_module"),
                f"there is no module {shown(default)}: {closest(default, modules)}",
            )
        config = replace(config, modules=modules, default_module=default)
        targets = self.targets(written.get("targets"), config)
        for loc in sorted(self.document.unexpanded, key=lambda loc: self.document.lines.get(loc, 0)):
            self.warn(loc, UNEXPANDED)
        discover = self.discover(written.get("discover"))
        return replace(
            config,
            targets=targets,
            discover=discover,
            by_hand=targets if discover else (),
            directory=str(self.directory),
            warnings=tuple(self.warnings),
        )

    def discover(self, entries: Any) -> tuple[SourceEntry, ...]:
        """
        Return the sources without faults, each with a name of its own.
        """
        found: dict[str, SourceEntry] = {}
        for index, entry in enumerate(entries if isinstance(entries, list) else ()):
            loc = ("discover", index)
            model = self.model(SourceEntry, entry, loc, SOURCE_MODELS)
            # `listening: false` is the way to switch it off.
            if model is None or model.listening is False:
                continue
            if model.name is None:
                numbers = (f"{model.source}-{number}" for number in count(2))
                model.name = next(name for name in chain([model.source], numbers) if name not in found)
            elif model.name in found:
                self.document.fault((*loc, "name"), "another source has this name: choose one of its own")
            found[model.name] = model
        return tuple(found.values())

    def modules(self, entries: Any) -> Mapping[str, Module]:
        """
        Return the modules without faults, and the built-in ones of other names.
        """
        modules = dict(BUILT_IN_MODULES)
        for name, entry in entries.items() if isinstance(entries, dict) else ():
            loc = ("modules", name)
            model = self.model(ModuleEntry, entry, loc)
            if model is None:
                continue
            self.idle(model, model.scheme, loc)
            self.warn_of_files(model, loc)
            modules[name] = Module(model.scheme, model, model.target)
            try:
                if model.target:
                    values.url(url_in(modules[name], model.target))
            except TargetError as error:
                self.document.fault((*loc, "target"), str(error))
        return MappingProxyType(modules)

    def policy(self, name: str, entry: Any) -> Policy:
        """
        Return one of the user's policies.

        For one with faults, any policy: the targets that name it are not at fault.
        """
        if name in BUILT_IN:
            return self.built_in(name, entry)
        model = self.model(PolicyEntry, entry, ("policies", name))
        due = model and (model.renewal_due or model.warning)
        if not model or not due:
            return AUTOMATIC
        habit = model.renewal_due is not None if model.habit is None else model.habit
        policy = Policy(
            name,
            renewal_due=due,
            warning=model.warning,
            critical=model.critical,
            unseen=model.unseen,
            interval=model.interval,
            issuers=model.issuers,
            habit=habit,
        )
        for key, message in _order_faults(policy).items():
            self.document.fault(("policies", name, key), message)
        self.match(policy, model.match)
        return policy

    def built_in(self, name: str, entry: Any) -> Policy:
        """
        Return a built-in policy, of which the document may set all but the deadlines.
        """
        if isinstance(entry, dict) and set(entry) & _DEADLINES:
            self.document.fault(
                ("policies", name),
                f"the policy {name!r} is built in, only its `match`, `unseen`, `interval` and `issuers` may "
                "be set: choose another name for deadlines of your own, and name it in `policy`",
            )
            return BUILT_IN[name]
        model = self.model(BuiltInEntry, entry, ("policies", name))
        if model is None:
            return BUILT_IN[name]
        policy = replace(BUILT_IN[name], unseen=model.unseen, interval=model.interval, issuers=model.issuers)
        self.match(policy, model.match)
        return policy

    def match(self, policy: Policy, match: MatchEntry | None) -> None:
        """
        Record the items that a policy is for.
        """
        if match is not None:
            kinds = frozenset(map(str, match.kinds))
            self.matches.append(
                SchemeMatch(frozenset(match.schemes), Match(policy, kinds, tuple(match.issuers)))
            )

    def targets(self, entries: Any, config: Config) -> tuple[Target, ...]:
        """
        Return the targets without faults, each once, with the settings that `config` has for all.
        """
        targets: dict[str, tuple[Loc, Target]] = {}
        for index, entry in enumerate(entries if isinstance(entries, list) else ()):
            loc = ("targets", index)
            model = self.model(TargetEntry, entry if isinstance(entry, dict | list) else {"url": entry}, loc)
            if model is None:
                continue
            self.idle(model, model.url.scheme, loc)
            self.warn_of_files(model, loc)
            target = config.target(model.url, model.name, model)
            first, known = targets.setdefault(target.name, (loc, target))
            if first == loc:
                continue
            line, path = self.document.place(first)
            if known == target:
                self.warn(loc, f"the same target as {path} in line {line}: it is probed once")
            else:
                clash = f"{path} in line {line} has the same name and other settings"
                self.document.fault(loc, f"{clash}: give one of them a `name:` of its own")
        return tuple(target for _, target in targets.values())

    def idle(self, entry: Settings, scheme: str, loc: Loc) -> None:
        """
        Warn of each key of a target that has no effect there. Keys of `defaults` may be for other targets.
        """
        used, written = SCHEMES[scheme].prober.settings, entry.model_fields_set
        for key, words in _USES.items():
            if key in written and key not in used and not _is_off(getattr(entry, key)):
                why = f"it is for {words}, and this target has {scheme!r}"
                self.warn((*loc, key), f"does nothing here: {why}; remove the key")

    def warn_of_files(self, settings: Settings, loc: Loc) -> None:
        """
        Warn of each file that is missing. It may come later, and other targets do not need it.
        """
        if self.elsewhere is not None:
            return
        files = [((*loc, "ca_file"), settings.ca_file)]
        if settings.kubernetes is not None:
            files.append(((*loc, "kubernetes", "kubeconfig"), settings.kubernetes.kubeconfig))
        client = settings.client_certificate
        if client is not None:
            loc = (*loc, "client_certificate")
            files += [((*loc, "cert_file"), client.cert_file), ((*loc, "key_file"), client.key_file)]
        for where, path in files:
            if path is not None and not self.is_readable(path):
                why = f"{without_user(path)} is not a file that can be read"
                self.warn(where, f"{why}: probes that need it fail until it is")

    def model(
        self,
        model: type[_Model],
        value: Any,
        loc: Loc,
        inside: Mapping[str, type[BaseModel]] | None = None,
    ) -> _Model | None:
        """
        Parse a part of the document as a model; None, and all its faults recorded, when it is invalid.

        `inside` has the models inside it, by key; None: those of the whole document.
        """
        if self.document.pause is not None:
            self.document.pause()
        try:
            return model.model_validate(value, context=self)
        except ValidationError as invalid:
            for error in invalid.errors(include_url=False):
                self.document.fault((*loc, *error["loc"]), in_words(error, model, inside or self.inside))
            return None

    def warn(self, loc: Loc, message: str) -> None:
        """
        Record a warning about something that is allowed.
        """
        self.warnings.append(str(ConfigFault(self.document.file, *self.document.place(loc), message)))
