"""
`expiry-exporter migrate`: a configuration of ours from those of other exporters.
"""

import argparse
import glob
import json
import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from exporter.cli import output_file
from exporter.cli.output_file import OutputError
from exporter.config import reader
from exporter.model.foreign_text import printable, printable_lines
from exporter.moving import blackbox, others, prometheus
from exporter.moving.moved import TEXT_LIMIT, Moved, MoveError
from exporter.passwords import without_user
from exporter.yaml_lines import ConfigError

DESCRIPTION = """\
Write an expiry.yml from what you have for other exporters, and say line by line what
was taken, what changes and what can't be taken. Nothing of yours is changed. What
is YAML may also stand in a manifest of Kubernetes, or in the values of a chart. Each
flag may be repeated."""


EXAMPLES = """\
examples:
  expiry-exporter migrate --blackbox blackbox.yml --prometheus prometheus.yml > expiry.yml
      the modules, and the targets of all jobs that use one of them

  expiry-exporter migrate --ssl-exporter ssl_exporter.yml --prometheus prometheus.yml
      the same for ssl_exporter, on standard output

  expiry-exporter migrate --blackbox values.yaml --prometheus values.yaml --prometheus probes.yaml
      blackbox_exporter's Helm values, and what `kubectl get probes -A -o yaml` printed

  expiry-exporter migrate --x509 values.yaml --domains domains.yml --telegraf telegraf.conf
      x509-certificate-exporter's Helm values or arguments, domain_exporter, telegraf
"""


SOURCES = {
    "blackbox": (blackbox.of_blackbox, "blackbox_exporter's blackbox.yml: its modules"),
    "ssl-exporter": (blackbox.of_ssl_exporter, "ssl_exporter's file: its modules"),
    "x509": (others.x509, "x509-certificate-exporter: the chart's values, its configuration or arguments"),
    "domains": (others.domains, "domain_exporter's file: its domains"),
    "telegraf": (others.telegraf, "telegraf's configuration: inputs.x509_cert"),
}
"""By flag, the function that takes a text, and the help. `--prometheus` comes last: its jobs need modules."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """
    Add the flags and the help.
    """
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    words = "Prometheus's configuration: targets and labels of the jobs that use a prober"
    for flag, help_text in (*((flag, words) for flag, (_, words) in SOURCES.items()), ("prometheus", words)):
        parser.add_argument(f"--{flag}", type=Path, action="append", metavar="FILE", help=help_text)
    output_file.add_flags(parser, "-")


def run(options: argparse.Namespace) -> int:
    """
    Write the configuration, tell on standard error what happened, and return the exit code.

    0: all was taken; 1: something was left out, or could not be written, or there was nothing to take; 2:
    wrong usage, or no such file, or one of another kind.
    """
    moved = Moved()
    flags = (*SOURCES, "prometheus")
    given = [(flag, path) for flag in flags for path in getattr(options, flag.replace("-", "_")) or ()]
    if not given:
        return _fail("name at least one file to take something from: --help lists them", 2)
    for flag, path in given:
        try:
            text = _text(path)
            if flag == "prometheus":
                prometheus.jobs(text, moved, partial(_matching, path))
            else:
                SOURCES[flag][0](text, moved)
        except OSError as error:
            return _fail(f"{without_user(str(path))} can't be read: {error.strerror or error}", 2)
        except (MoveError, ValueError) as error:
            return _fail(f"{path} {error}", 2)
    try:
        written = _without_faults(moved, options.output_file)
    except ConfigError as error:
        return _fail(f"what was made of them is no configuration:\n{error}", 1)
    for line in moved.lines():
        sys.stderr.write(f"{printable(line)}\n")
    if not moved.targets and not moved.modules:
        return _fail("nothing could be taken from these files, so nothing is written", 1)
    try:
        output_file.write(written, options)
    except OutputError as error:
        return _fail(str(error), 1)
    return int(bool(moved.left))


def _text(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(TEXT_LIMIT + 1)
    if len(data) > TEXT_LIMIT:
        raise MoveError(f"is larger than {TEXT_LIMIT // 1024 // 1024} MiB: is it the right file?")
    return data.decode("utf-8")


def _matching(configuration: Path, pattern: str) -> list[tuple[str, str]]:
    """
    Return name and text of the files that a pattern in Prometheus's configuration matches.
    """
    # A pattern may be absolute, which `Path.glob` refuses.
    found = sorted(glob.glob(str(configuration.parent / pattern)))  # noqa: PTH207 - see above
    return [(file, _text(Path(file))) for file in found]


def _without_faults(moved: Moved, file: Path) -> str:
    """
    Return the configuration without what its own reader refuses, which is left out and told.
    """
    for _ in range(len(moved.modules) + 3):
        text = _configuration(moved)
        try:
            reader.parse(text.encode("utf-8"), str(file), os.environ)
        except ConfigError as error:
            last = error
            if not _drop(moved, error):
                break
        else:
            return text
    raise last


def _drop(moved: Moved, error: ConfigError) -> bool:
    """
    Leave out the targets and modules with faults; False when there is none among them.
    """
    bad: set[int] = set()
    broken: set[str] = set()
    for fault in error.faults:
        section, _, rest = fault.path.partition("[")
        number = rest.partition("]")[0]
        if section == "targets" and number.isdigit():
            bad.add(int(number))
            moved.left.append(f"target {moved.targets[int(number)]['url']}: {fault.message}")
        elif section == "probe.default_module":
            moved.left.append(f"default module {moved.default_module}: it is not taken")
            moved.default_module = ""
        else:
            # A name with a dot or a space stands in quotes.
            begins = {f"modules{form}": one for one in moved.modules for form in (f".{one}", f"[{one!r}]")}
            name = next(
                (begins[one] for one in begins if re.match(rf"{re.escape(one)}(?![\w-])", fault.path)), ""
            )
            if not name:
                return False
            broken.add(name)
            moved.left.append(f"module {name}: {fault.message}")
    moved.targets[:] = [one for number, one in enumerate(moved.targets) if number not in bad]
    for name in broken:
        del moved.modules[name]
    return True


def _configuration(moved: Moved) -> str:
    """
    Return the text of the configuration.
    """
    _name_apart(moved.targets)
    lines = ["# Made by `expiry-exporter migrate`. It is yours: change what you like.", "targets:"]
    lines += [f"  - {_target(one)}" for one in moved.targets] or ["  []"]
    if moved.modules:
        lines += ["", "# For /probe?module=NAME, as scrape configurations call it.", "modules:"]
        text = yaml.safe_dump(moved.modules, sort_keys=False, allow_unicode=True, width=1000)
        lines += [f"  {line}" for line in text.splitlines()]
    if moved.default_module:
        lines += ["", "# Of calls without a module.", "probe:"]
        lines += [f"  default_module: {json.dumps(moved.default_module, ensure_ascii=False)}"]
    return "\n".join(lines) + "\n"


def _target(target: dict[str, Any]) -> str:
    # A URL alone is a whole target. JSON is YAML, on one line.
    if target.keys() == {"url"}:
        return json.dumps(target["url"], ensure_ascii=False)
    return json.dumps(target, ensure_ascii=False)


def _name_apart(targets: list[dict[str, Any]]) -> None:
    """
    Give targets of the same URL names of their own.
    """
    seen: dict[str, int] = {}
    for target in targets:
        name = target.get("name", target["url"])
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            target["name"] = f"{name} ({seen[name]})"


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"expiry-exporter migrate: {printable_lines(message)}\n")
    return code
