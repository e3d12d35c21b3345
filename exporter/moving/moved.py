"""
The result of a move: the parts that were taken, those that mean something else here, and those left behind.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from exporter.model.hosts import hidden_user, without_user
from exporter.model.targets import RESERVED_LABELS

TEXT_LIMIT = 16 * 1024 * 1024
"""Most bytes of a file that is moved."""


LABELS = (
    "labels of targets are on expiry_target_info and expiry_problem_end_timestamp_seconds, not on each "
    "series: rules that select by them join `on (target)`"
)


class MoveError(Exception):
    """
    A file can't be read as what it was said to be. The message says why.
    """


@dataclass(slots=True)
class Group:
    """
    Targets that were taken together. What the reader refuses afterwards is not counted.
    """

    what: str
    more: str = ""
    """What is said behind their number."""
    targets: dict[int, dict[str, Any]] = field(default_factory=dict)
    """By identity."""


@dataclass(slots=True)
class Moved:
    """
    The parts of a configuration, and what a person should know about each.
    """

    targets: list[dict[str, Any]] = field(default_factory=list)
    """As elements of `targets`: `url`, `name`, `labels` and other keys."""
    modules: dict[str, dict[str, Any]] = field(default_factory=dict)
    """As the section `modules`."""
    default_module: str = ""
    """As `probe.default_module`: of calls that name none."""
    taken: list[str | Group] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    """What is taken, and means something else here."""
    left: list[str] = field(default_factory=list)
    """What can't be taken, and why."""
    defaults: dict[str, str] = field(
        default_factory=lambda: {
            "blackbox_exporter": "http_2xx",
            "ssl_exporter": "tcp",
            "domain_exporter": "domain",
        }
    )
    """By exporter, the module that it uses when a call names none."""
    given: set[str] = field(default_factory=set)
    """The exporters whose files were read."""
    fixed: dict[str, str] = field(default_factory=dict)
    """By module, the target that it has whatever a caller names."""
    pages: set[str] = field(default_factory=lambda: {"http_2xx"})
    """Modules to which a target without a scheme is a page without TLS."""
    _seen: dict[str, dict[str, Any]] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        """
        Yield what happened, a line each.
        """
        there = set(map(id, self.targets))
        taken = [f"module {name}: scheme {module['scheme']}" for name, module in self.modules.items()]
        for one in self.taken:
            if isinstance(one, str):
                taken.append(one)
            elif number := len(there & one.targets.keys()):
                taken.append(f"{one.what}: {counted(number, 'target')}{one.more}")
        if self.default_module:
            taken.append(f"default module {self.default_module}: as probe.default_module")
        changes = [*self.changes, *([LABELS] if any("labels" in one for one in self.targets) else ())]
        for word, lines in (("taken", taken), ("changes", changes), ("left out", self.left)):
            for line in dict.fromkeys(lines):
                yield hidden_user(f"{word}: {line}")

    def add(
        self,
        group: Group,
        url: str,
        labels: Mapping[str, str] = MappingProxyType({}),
        settings: Mapping[str, Any] = MappingProxyType({}),
        name: str = "",
    ) -> None:
        """
        Add a target to its group, and to all unless the same one is there.
        """
        target: dict[str, Any] = {"url": without_user(url)}
        if target["url"] != url:
            words = "user and password of a URL are left out: a handshake needs none"
            self.changes.append(f"{group.what}: {words}")
        url, name = target["url"], without_user(name)
        if name and name != url:
            target["name"] = name
        if labels:
            target["labels"] = {usable(label): value for label, value in labels.items()}
        target |= settings
        same = json.dumps(target, sort_keys=True, default=str)
        if same not in self._seen:
            self._seen[same] = target
            self.targets.append(target)
            self.changes += [
                f"{group.what}: the label {label} becomes {usable(label)}, as {label} has a meaning here: "
                "change routes and rules that use it"
                for label in labels
                if usable(label) != label
            ]
        target = self._seen[same]
        group.targets[id(target)] = target


def counted(number: int, word: str) -> str:
    """
    Return a number with a word in singular or plural.
    """
    return f"{number} {word}{'' if number == 1 else 's'}"


_BRACES = re.compile(r"\{([^{}]*)\}")

BRACES_LIMIT = 256
"""Most patterns that are made of one with braces."""


def without_braces(pattern: str) -> list[str]:
    """
    Return the patterns that one with alternatives in braces stands for, which ours do not have.

    Raises MoveError when they are too many.
    """
    found, done = [pattern], []
    while found:
        one = found.pop()
        # The innermost first, so that those around it are plain in the end.
        braces = _BRACES.search(one)
        if braces is None:
            done.append(one)
        else:
            begin, end = one[: braces.start()], one[braces.end() :]
            found += [begin + choice + end for choice in reversed(braces[1].split(","))]
        if len(found) + len(done) > BRACES_LIMIT:
            raise MoveError(f"has the pattern {pattern}, which stands for more than {BRACES_LIMIT}")
    return list(dict.fromkeys(done))


def file_urls(pattern: str) -> list[str]:
    """
    Return the URLs of a path or pattern of files. Raises MoveError.
    """
    return [f"file://{quote(one, safe='/*?[]')}" for one in without_braces(pattern)]


def usable(label: str) -> str:
    """
    Return the name of a label, with `exported_` before one that has a meaning here, as Prometheus does it.
    """
    return f"exported_{label}" if label in RESERVED_LABELS else label


def part(value: Any, key: str) -> dict[str, Any]:
    """
    Return a mapping inside a mapping; empty when it is missing or something else.
    """
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def items(value: Any, key: str) -> list[Any]:
    """
    Return a list inside a mapping; empty when it is missing or something else.
    """
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, list) else []


SKIPPED = (
    "insecure_skip_verify is not needed: a certificate that clients refuse is seen all the same, and whether "
    "they refuse it is told (expiry_verification_success)"
)


EACH_VERSION = "each version is spoken, and expiry_tls_info tells which one was agreed on"


def tls_settings(tls: Mapping[str, Any], where: str, moved: Moved) -> dict[str, Any]:
    """
    Return our settings for a `tls_config` of Prometheus's common library.
    """
    settings: dict[str, Any] = {}
    for key in ("ca_file", "server_name"):
        if tls.get(key):
            settings[key] = str(tls[key])
    if tls.get("cert_file"):
        client = {"cert_file": str(tls["cert_file"])}
        if tls.get("key_file"):
            client["key_file"] = str(tls["key_file"])
        settings["client_certificate"] = client
    if tls.get("insecure_skip_verify"):
        moved.changes.append(f"{where}: {SKIPPED}")
    if versions := [key for key in ("min_version", "max_version", "renegotiation") if tls.get(key)]:
        moved.changes.append(f"{where}: tls_config.{', '.join(versions)}: {EACH_VERSION}")
    moved.left += [
        f"{where}: tls_config.{key}: what stands in the configuration itself is not taken; put it into a file"
        for key in ("ca", "cert", "key")
        if tls.get(key)
    ]
    return settings
