"""
The files that ship with the exporter: alerting rules, the Alertmanager example, templates, runbooks, and
the Grafana dashboards.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")

_LABELS = re.compile(r"group_left \((team, [a-z, ]+)\)")
"""The place in the rules where the labels stand that alerts carry from `expiry_target_info`."""


_STATUS_PAGE = "http://localhost:10119"
"""Where the dashboards look for the exporter's pages until they are told otherwise."""


class BundleError(Exception):
    """
    Files that can't be written. The message says which, why, and what to do.
    """


def alerts_directory() -> Traversable:
    """
    Where the alert files are.
    """
    return _directory("alerts", "alerts")


def dashboards_directory() -> Traversable:
    """
    Where the dashboards are.
    """
    return _directory("dashboards", "grafana")


def write_alerts(directory: Path, labels: Sequence[str], *, force: bool) -> list[Path]:
    """
    Write the alert files below the directory, and return what was written.

    `labels` replace the labels of targets that alerts carry; empty: the usual ones. Raises
    BundleError, and then has written nothing, when a file exists and `force` is not set.
    """
    for label in labels:
        if not LABEL_NAME.fullmatch(label):
            raise BundleError(f"{label!r} is not a label name: letters, digits and underscores")
    wanted = {
        directory / name: with_labels(text, labels) if name == "rules.yml" else text
        for name, text in _texts(alerts_directory(), "")
    }
    return _write(wanted, force=force)


def write_dashboards(directory: Path, status_page: str | None, *, force: bool) -> list[Path]:
    """
    Write the Grafana dashboards to the directory, and return what was written.

    `status_page` is where people reach the exporter's pages; None: the dashboards ask for it in a text box,
    in which this machine stands. Raises BundleError like `write_alerts`.
    """
    wanted = {
        directory / f"expiry-{name}": text.replace(_STATUS_PAGE, _inside_json(status_page or _STATUS_PAGE))
        for name, text in _texts(dashboards_directory(), "")
        if name.endswith(".json")
    }
    return _write(wanted, force=force)


def _inside_json(text: str) -> str:
    """
    The text as it stands between the quotes of a JSON string.
    """
    return json.dumps(text)[1:-1]


def _directory(installed_name: str, source_name: str) -> Traversable:
    """
    A directory inside the installed package, or beside it in a source tree.
    """
    package = files("exporter")
    installed = package / installed_name
    return installed if installed.is_dir() else Path(str(package)).parent / source_name


def _write(wanted: Mapping[Path, str], *, force: bool) -> list[Path]:
    existing = sorted(str(path) for path in wanted if path.exists())
    if existing and not force:
        raise BundleError(f"nothing was written, --force replaces what exists: {', '.join(existing)}")
    try:
        for path, text in wanted.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
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
        # Beside the dashboards of a checkout lie pictures of them, and tests beside the rules.
        elif not entry.name.endswith((".test.yml", ".png")):
            yield f"{prefix}{entry.name}", entry.read_text(encoding="utf-8")
