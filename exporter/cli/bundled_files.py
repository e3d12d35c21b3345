"""
The files that ship with the exporter: alerting rules, the Alertmanager example, templates, runbooks, and
the Grafana dashboards.
"""

import json
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.resources.abc import Traversable
from pathlib import Path

from exporter import __version__
from exporter.cli.rule_formats import (
    differences,
    format_of,
    grafana_alerts,
    grafana_recording,
    operator,
    stamped,
    version_of,
)
from exporter.server.documents import shipped

EXAMPLE = "alertmanager.yml"
"""The file that belongs to the user once it is written: it has their receivers and routes."""


_STATUS_PAGE = "http://localhost:10119"
"""URL of the exporter's pages in the dashboards, which a command-line flag replaces."""


_RUNBOOKS = "https://github.com/expiry-exporter/expiry-exporter/blob/main/alerts/runbooks"
"""URL of the runbooks in rules and dashboards, which a command-line flag replaces."""


_RUNBOOK = re.compile(rf"{re.escape(_RUNBOOKS)}(?:/([\w${{}}.]+)\.md)?")
"""The URL of the runbooks, with or without the name of an alert, which may be a variable of Grafana's."""


class BundleError(Exception):
    """
    Files that can't be written. The message says which, why, and what to do.
    """


@dataclass(frozen=True, slots=True)
class Written:
    """
    The result of writing. Files that already had the same content are in neither.
    """

    paths: tuple[Path, ...]
    """Files that were written."""
    kept: tuple[Path, ...] = ()
    """Files that the user has changed; they were left unchanged."""


FORMATS = ("prometheus", "operator", "grafana")
"""Formats of the rules; the first is the one of the shipped file."""


RELEASE = ("release", "kube-prometheus-stack")
"""Label by which the Prometheus of the chart kube-prometheus-stack, installed by that name, selects rules."""


@dataclass(frozen=True, slots=True)
class RuleStyle:
    """
    The form in which the rules are written.
    """

    format: str = FORMATS[0]
    """One of `FORMATS`."""
    labels: Mapping[str, str] = field(default_factory=lambda: dict([RELEASE]))
    """Labels of the Prometheus Operator's manifest."""
    datasource: str = "prometheus"
    """UID of Grafana's data source."""
    external_url: str | None = None
    """Address of the exporter's pages for people; None: it is not known."""


_SHIPPED_STYLE = RuleStyle()


def write_alerts(
    directory: Path,
    style: RuleStyle = _SHIPPED_STYLE,
    *,
    runbooks_url: str | None = None,
    force: bool,
) -> Written:
    """
    Write the alert files below the directory, and return what was written.

    Alerts link to the runbooks that the exporter serves at the external URL, or to their files at
    `runbooks_url`; with neither to the project's repository. No URL has a character that means something in
    YAML or in a template. Raises BundleError, and then has written nothing, when another file stands in the
    place of one and `force` is not set. The Alertmanager example is never replaced.
    """
    wanted = alert_files(style, runbooks_url)
    own = [EXAMPLE] if EXAMPLE in wanted else []
    return write_files(directory, wanted, own, force=force)


def alert_files(style: RuleStyle, runbooks_url: str | None = None) -> dict[str, str]:
    """
    Return the texts of the alert files by their path.
    """
    wanted = dict(_texts(shipped("alerts", "alerts"), ""))
    rules = _linked(wanted.pop("rules.yml"), style.external_url, runbooks_url)
    if style.format == "grafana":
        # Grafana's own Alertmanager reads neither.
        wanted = {name: text for name, text in wanted.items() if name.startswith("runbooks/")}
    return wanted | _rule_files(rules, style)


def installed_rules(text: str, style: RuleStyle) -> tuple[str, list[str]]:
    """
    Return the version that wrote these rules, empty when they name none, and how they differ from those that
    would be written now, a line for each rule. Raises FormatError.
    """
    rules = dict(_texts(shipped("alerts", "alerts"), ""))["rules.yml"]
    style = replace(style, format=format_of(text))
    files = _rule_files(_linked(rules, style.external_url, None), style).values()
    lines = [differences(text, one) for one in files]
    # Of Grafana's two files it is the one that resembles it more.
    return version_of(text), min(lines, key=len)


def _rule_files(rules: str, style: RuleStyle) -> dict[str, str]:
    match style.format:
        case "operator":
            manifest = operator(stamped(rules, __version__), style.labels, __version__)
            return {"prometheusrule.yml": manifest}
        case "grafana":
            return {
                "grafana-alerts.yml": grafana_alerts(
                    rules, style.datasource, style.external_url, __version__
                ),
                "grafana-recording.yml": grafana_recording(rules, style.datasource, __version__),
            }
    return {"rules.yml": stamped(rules, __version__)}


def write_dashboards(
    directory: Path, external_url: str | None, *, runbooks_url: str | None = None, force: bool
) -> Written:
    """
    Write the Grafana dashboards to the directory, and return what was written.

    `external_url` is the address of the exporter's pages for people; None: the dashboards have a text box for
    it, with this machine as default. Links to runbooks lead to their files at `runbooks_url`; without it, to
    the exporter's pages, else to the project's repository. Raises BundleError, and then has written nothing,
    when a file differs from one already there and `force` is not set.
    """
    return write_files(directory, dashboard_files(external_url, runbooks_url), force=force)


def dashboard_files(external_url: str | None, runbooks_url: str | None = None) -> dict[str, str]:
    """
    Return the texts of the dashboards by the name of their file.
    """
    page = _inside_json(external_url) if external_url is not None else None
    wanted = {}
    for name, text in _texts(shipped("dashboards", "grafana"), ""):
        if name.endswith(".json"):
            paged = text.replace(_STATUS_PAGE, page or _STATUS_PAGE)
            wanted[f"expiry-{name}"] = _linked(paged, page, runbooks_url)
    return wanted


def _linked(text: str, external_url: str | None, runbooks_url: str | None) -> str:
    """
    Return the text with links to the files at `runbooks_url`, else to the pages at `external_url`, else
    unchanged.
    """
    if runbooks_url is not None:
        return text.replace(_RUNBOOKS, runbooks_url)
    if external_url is not None:
        return _RUNBOOK.sub(lambda found: f"{external_url}/runbooks/{found[1] or ''}", text)
    return text


def _inside_json(text: str) -> str:
    """
    Return the text escaped for a JSON string, without the quotes.
    """
    return json.dumps(text)[1:-1]


def write_files(
    directory: Path,
    texts: Mapping[str, str],
    own: Collection[str] = (),
    *,
    force: bool,
    by_others: bool = False,
) -> Written:
    """
    Write the files whose content differs; of `own`, the user's, only those that do not exist.

    `by_others`: other users read them, whatever the umask says: files and directories that were not there
    are readable for all who reach the directory itself.

    Raises BundleError, and then has written nothing, when another file stands in the place of one and `force`
    is not set.
    """
    wanted = {directory / name: text for name, text in texts.items()}
    try:
        there = {path: path.read_bytes() if path.exists() else None for path in wanted}
    except OSError as error:
        raise BundleError(f"can't read what is at {error.filename}: {error.strerror}") from error
    to_write = {path: text for path, text in wanted.items() if there[path] != text.encode()}
    kept = sorted(path for name in own if (path := directory / name) in to_write and there[path] is not None)
    for path in kept:
        del to_write[path]
    others = sorted(str(path) for path in to_write if there[path] is not None)
    if others and not force:
        never = f"; {', '.join(own)} {'is' if len(own) == 1 else 'are'} never replaced" if own else ""
        listed = "".join(f"\n  {path}" for path in others)
        raise BundleError(
            f"nothing was written, these files are there and differ:{listed}\n--force replaces them{never}"
        )
    try:
        for path, text in to_write.items():
            new = [path] if there[path] is None else []
            new += [one for one in path.parents if directory in one.parents and not one.exists()]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())
            for one in new if by_others else ():
                one.chmod(one.stat().st_mode | (0o555 if one.is_dir() else 0o444))
    except OSError as error:
        raise BundleError(f"can't write {error.filename}: {error.strerror}") from error
    return Written(tuple(sorted(to_write)), tuple(kept))


def report(write: Callable[[], Written]) -> int:
    """
    Write files and print their paths, on standard error those that were left unchanged; return the exit code.
    """
    try:
        written = write()
    except BundleError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.writelines(f"{path}\n" for path in written.paths)
    sys.stderr.writelines(
        f"{path} is yours and was left as it is; another --output-dir gets the new example\n"
        for path in written.kept
    )
    return 0


def _texts(directory: Traversable, prefix: str) -> Iterator[tuple[str, str]]:
    for entry in sorted(directory.iterdir(), key=lambda one: one.name):
        # In a checkout Python keeps bytecode beside the code that makes the dashboards.
        if entry.name == "__pycache__":
            continue
        if entry.is_dir():
            yield from _texts(entry, f"{prefix}{entry.name}/")
        # Beside the dashboards of a checkout lie pictures of them, and tests beside the rules.
        elif not entry.name.endswith((".test.yml", ".png")):
            yield f"{prefix}{entry.name}", entry.read_text(encoding="utf-8")
