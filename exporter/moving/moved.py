"""
What was moved over, what changes with it, and what can't be moved.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from exporter.model.targets import RESERVED_LABELS

TEXT_LIMIT = 16 * 1024 * 1024
"""Most bytes of a file that is moved."""


class MoveError(Exception):
    """
    A file can't be read as what it was said to be. The message says why.
    """


@dataclass(slots=True)
class Moved:
    """
    The parts of a configuration, and what a person should know about each.
    """

    targets: list[dict[str, Any]] = field(default_factory=list)
    """As elements of `targets`: `url`, `name`, `labels` and other keys."""
    modules: dict[str, dict[str, Any]] = field(default_factory=dict)
    """As the section `modules`."""
    taken: list[str] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    """What is taken, and means something else here."""
    left: list[str] = field(default_factory=list)
    """What can't be taken, and why."""

    def lines(self) -> Iterator[str]:
        """
        Yield what happened, a line each.
        """
        for word, lines in (("taken", self.taken), ("changes", self.changes), ("left out", self.left)):
            for line in dict.fromkeys(lines):
                yield f"{word}: {line}"

    def add(self, url: str, labels: Mapping[str, str], settings: Mapping[str, Any], name: str = "") -> None:
        """
        Add a target, unless the same one is there.
        """
        target: dict[str, Any] = {"url": url}
        if name and name != url:
            target["name"] = name
        if labels:
            target["labels"] = {usable(label): value for label, value in labels.items()}
        target |= settings
        if target not in self.targets:
            self.targets.append(target)


def usable(label: str) -> str:
    """
    Return the name of a label, with `exported_` before one that has a meaning here, as Prometheus does it.
    """
    return f"exported_{label}" if label in RESERVED_LABELS else label


def _document(text: str) -> Any:
    """
    Return what a YAML document is; JSON is YAML too. Raises MoveError.
    """
    try:
        return yaml.load(text, yaml.CSafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise MoveError(f"is not YAML{where}: {getattr(error, 'problem', None) or error}") from None
    except RecursionError:
        raise MoveError("is nested too deep") from None


def mapping_in(text: str, what: str) -> dict[str, Any]:
    """
    Return the mapping that a YAML document is. Raises MoveError.
    """
    found = _document(text)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise MoveError(f"is no {what}: it must be a mapping of keys")
    return found


def list_in(text: str, file: str) -> list[Any]:
    """
    Return the list that a YAML document is. Raises MoveError.
    """
    found = _document(text)
    if not isinstance(found, list | None):
        raise MoveError(f"names {file}, which has no list of targets")
    return found or []


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
        moved.changes.append(
            f"{where}: insecure_skip_verify is not needed: a certificate that clients refuse is seen all the "
            "same, and whether they refuse it is told (expiry_verification_success)"
        )
    moved.left += [
        f"{where}: tls_config.{key}: what stands in the configuration itself is not taken; put it into a file"
        for key in ("ca", "cert", "key")
        if tls.get(key)
    ]
    return settings
