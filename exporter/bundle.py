"""
The files that ship with the exporter: alerting rules, the Alertmanager example, templates and runbooks.
"""

import re
from collections.abc import Iterator, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")

_LABELS = re.compile(r"group_left \((team, [a-z, ]+)\)")
"""The place in the rules where the labels stand that alerts carry from `expiry_target_info`."""


class BundleError(Exception):
    """
    Files that can't be written. The message says which, why, and what to do.
    """


def alerts_directory() -> Traversable:
    """
    Where the alert files are: inside the installed package, or beside it in a source tree.
    """
    package = files("exporter")
    installed = package / "alerts"
    return installed if installed.is_dir() else Path(str(package)).parent / "alerts"


def write_alerts(directory: Path, labels: Sequence[str], *, force: bool) -> list[Path]:
    """
    Write the alert files below the directory, and return what was written.

    `labels` replace the labels of targets that alerts carry; empty: the usual ones. Raises
    BundleError, and then has written nothing, when a file exists and `force` is not set.
    """
    for label in labels:
        if not LABEL_NAME.fullmatch(label):
            raise BundleError(f"{label!r} is not a label name: letters, digits and underscores")
    wanted = {directory / name: text for name, text in _texts(alerts_directory(), "")}
    existing = sorted(str(path) for path in wanted if path.exists())
    if existing and not force:
        raise BundleError(f"nothing was written, --force replaces what exists: {', '.join(existing)}")
    try:
        for path, text in wanted.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(with_labels(text, labels) if path.name == "rules.yml" else text, encoding="utf-8")
    except OSError as error:
        raise BundleError(f"can't write {error.filename}: {error.strerror}") from error
    return sorted(wanted)


def with_labels(rules: str, labels: Sequence[str]) -> str:
    """
    The rules with these labels of targets on every alert; with the usual ones when there are none.
    """
    return _LABELS.sub(f"group_left ({', '.join(labels)})", rules) if labels else rules


def _texts(directory: Traversable, prefix: str) -> Iterator[tuple[str, str]]:
    for entry in sorted(directory.iterdir(), key=lambda one: one.name):
        if entry.is_dir():
            yield from _texts(entry, f"{prefix}{entry.name}/")
        elif not entry.name.endswith(".test.yml"):
            yield f"{prefix}{entry.name}", entry.read_text(encoding="utf-8")
