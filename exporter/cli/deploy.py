"""
`expiry-exporter deploy`: the files to run the exporter with compose, Kubernetes, Helm or systemd.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Iterable
from itertools import chain, islice
from pathlib import Path

from exporter import __version__
from exporter.cli import arguments
from exporter.cli.alerts import add_label_flag
from exporter.cli.bundled_files import RELEASE, RuleStyle, alert_files, dashboard_files, report, write_files
from exporter.config.json_schema import json_schema
from exporter.config.reader import load
from exporter.config.settings import Config
from exporter.config.values import Elsewhere
from exporter.deploy.kinds import IMAGE, KINDS, Bundle, Wanted
from exporter.deploy.rights import rights
from exporter.discovery.kubernetes.source import questions
from exporter.model.foreign_text import printable
from exporter.model.schemes import SCHEMES, Form
from exporter.model.targets import Target
from exporter.passwords import shown
from exporter.probes.kubernetes.objects import Question
from exporter.yaml_lines import ConfigError

DESCRIPTION = """\
Write the files to run the exporter somewhere. They are yours once written.

  compose      the exporter, Prometheus, Alertmanager and Grafana, wired, with a
               target whose alert fires: docker compose up
  kubernetes   manifests: Deployment or StatefulSet, Service, ServiceMonitor, rules,
               dashboards, and just the rights that the configuration needs
  helm         a chart with the same objects
  systemd      a hardened unit with its socket, its user and its directories

Files that differ are replaced with --force only. The configuration is replaced when
another one is given with --config.file, too.
"""


EXAMPLES = f"""\
examples:
  expiry-exporter deploy compose --output-dir expiry
      then, there: docker compose up --detach

  expiry-exporter deploy kubernetes --output-dir manifests --config.file expiry.yml
      then: kubectl apply --server-side -f manifests

  expiry-exporter deploy kubernetes --output-dir manifests --shards 4 --storage 100Mi
      four replicas that share the targets, each with a volume

  expiry-exporter deploy helm --output-dir chart --config.file expiry.yml
      then: helm upgrade --install expiry-exporter chart --namespace monitoring

  expiry-exporter deploy systemd --output-dir /etc
      then: systemd-sysusers; systemd-tmpfiles --create; systemctl daemon-reload;
      systemctl enable --now expiry-exporter.socket expiry-exporter

  expiry-exporter deploy helm --output-dir chart --image registry.example.com/expiry-exporter:{__version__}
      from your own registry
"""


_CLUSTER_FLAGS = (
    ("--namespace", "namespace", "monitoring"),
    ("--prometheus-namespace", "prometheus_namespace", "monitoring"),
    ("--shards", "shards", 1),
    ("--storage", "storage", None),
    ("--metadata-label", "metadata_labels", None),
)
"""Flags that mean something in a cluster only, with the names of their values and their defaults."""


_CONFIG_MAP_BYTES = 1_000_000
"""The API server's limit is 1 MiB for all of an object."""


_DIRECTORY = "/etc/expiry-exporter"
"""Where the configuration is, in each kind."""


_SHOWN = 50
"""Files that are told."""


_MOUNTS = {
    "compose": f"those in {_DIRECTORY} go into expiry-exporter/ beside expiry.yml, the others need "
    "`volumes` of expiry-exporter in compose.yml. Its user, 65532, must be able to read them",
    "kubernetes": "they need `volumes` and `volumeMounts` of the pod",
    "helm": "they need extraVolumes and extraVolumeMounts in values.yaml",
    "systemd": "put them there. The user expiry-exporter must be able to read them",
}
"""By kind, how a file gets to the exporter."""


_HIDDEN = {
    **dict.fromkeys(("/home", "/root", "/run/user"), "ProtectHome"),
    **dict.fromkeys(("/tmp", "/var/tmp"), "PrivateTmp"),  # noqa: S108 - no file is made there
}
"""By directory that the written unit hides from the service, the directive that does it."""


_VARIABLES = {
    "compose": "`environment` of expiry-exporter in compose.yml",
    "kubernetes": "`env` of the pod's container",
    "helm": "extraEnv in values.yaml",
    "systemd": "`EnvironmentFile=` of the service",
}
"""By kind, how an environment variable gets to the exporter."""


_IMAGE = f"ghcr.io/expiry-exporter/expiry-exporter:{__version__}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """
    Add the flags and the help.
    """
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    parser.add_argument("kind", choices=tuple(KINDS), metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--output-dir", type=Path, required=True, metavar="DIR", help="where to write")
    parser.add_argument(
        "--config.file", dest="config_file", metavar="FILE", help="your configuration (default: an example)"
    )
    parser.add_argument(
        "--image",
        type=_matching(IMAGE, "an image such as registry.example.com/expiry-exporter:1.0"),
        metavar="IMAGE",
        help=f"the exporter's image (default: {_IMAGE})",
    )
    arguments.add_url(parser, arguments.linked_url, "where people reach the exporter; alerts then link to it")
    namespace = _matching(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", "the name of a namespace")
    parser.add_argument(
        "--namespace",
        type=namespace,
        default="monitoring",
        metavar="NAME",
        help="kubernetes: where the objects are (default: %(default)s)",
    )
    parser.add_argument(
        "--prometheus-namespace",
        dest="prometheus_namespace",
        type=namespace,
        default="monitoring",
        metavar="NAME",
        help="kubernetes, helm: from where the exporter may be scraped (default: %(default)s)",
    )
    parser.add_argument(
        "--shards",
        type=_shards,
        default=1,
        metavar="N",
        help="kubernetes, helm: how many replicas share the targets (default: %(default)s)",
    )
    parser.add_argument(
        "--storage",
        type=_matching(r"[1-9]\d*(Ki|Mi|Gi|Ti|k|M|G|T)?", "a size such as 100Mi"),
        metavar="SIZE",
        help="kubernetes, helm: volume of each replica for its state (default: it is lost with the pod)",
    )
    add_label_flag(parser, "kubernetes, helm: label by which Prometheus selects its objects")
    parser.add_argument("--force", action="store_true", help="replace files that differ")


def run(options: argparse.Namespace) -> int:
    """
    Write the files and print their paths; return the exit code.
    """
    useless = [
        flag
        for flag, name, default in _CLUSTER_FLAGS
        if options.kind in {"compose", "systemd"} and getattr(options, name) != default
    ]
    if useless:
        sys.stderr.write(f"{', '.join(useless)}: only for kubernetes and helm, not for {options.kind}\n")
        return 1
    text: str | None = None
    config, there = Config(), Elsewhere(_DIRECTORY)
    if options.config_file is not None:
        try:
            config = load(options.config_file, os.environ, there)
            text = Path(options.config_file).read_text(encoding="utf-8-sig")
        except ConfigError as error:
            sys.stderr.writelines(f"{fault}\n" for fault in error.faults)
            return 1
        except UnicodeDecodeError:
            sys.stderr.write(f"{options.config_file} is not UTF-8, as what is written must be: save it so\n")
            return 1
        if options.kind in {"kubernetes", "helm"} and len(text.encode()) > _CONFIG_MAP_BYTES:
            sys.stderr.write(
                f"{options.config_file} is larger than what a ConfigMap holds, 1 MiB: divide it, and deploy "
                "each part as an exporter of its own\n"
            )
            return 1
    wanted = Wanted(
        config=text,
        rights=rights(config.targets, _of_sources(config)),
        version=__version__,
        image=options.image or _IMAGE,
        url=options.external_url,
        namespace=options.namespace,
        prometheus_namespace=options.prometheus_namespace,
        shards=options.shards,
        storage=options.storage or "",
        labels=dict(options.metadata_labels or [RELEASE]),
    )
    bundle = Bundle(
        alert_files(RuleStyle(external_url=options.external_url)),
        dashboard_files(options.external_url),
        json.dumps(json_schema(), indent=2) + "\n",
    )
    files = KINDS[options.kind](wanted, bundle)
    own = files.own if text is not None else (*files.own, files.config)
    # Containers have users of their own. What a service reads, its tmpfiles.d gives to its user.
    by_others = options.kind == "compose"
    code = report(
        lambda: write_files(options.output_dir, files.texts, own, force=options.force, by_others=by_others)
    )
    if code == 0:
        sys.stderr.writelines(f"{line}\n" for line in _missing(options.kind, there, config.targets))
    return code


def _missing(kind: str, there: Elsewhere, targets: Iterable[Target]) -> list[str]:
    """
    Return what is still to be done so that the exporter finds what its configuration names.
    """
    found = {os.path.normpath(path): key for path, key in there.files.items()}
    for target in targets:
        if SCHEMES[target.url.scheme].form is Form.PATH:
            found.setdefault(os.path.normpath(target.url.path), "targets")
    lines = []
    if found:
        lines = ["the configuration names files, which must be there where the exporter runs:"]
        lines += [f"  {printable(path)} ({key})" for path, key in islice(sorted(found.items()), _SHOWN)]
        if len(found) > _SHOWN:
            lines.append(f"  and {len(found) - _SHOWN} more")
        lines.append(f"{kind}: {_MOUNTS[kind]}")
        hidden = [
            f"{place} ({directive}=)"
            for place, directive in _HIDDEN.items()
            if any(path == place or path.startswith(f"{place}/") for path in found)
        ]
        if hidden and kind == "systemd":
            lines.append(
                f"systemd: the unit hides {', '.join(hidden)}: put these files elsewhere, such as "
                f"{_DIRECTORY}, or change it"
            )
        inside = any(path.startswith(f"{_DIRECTORY}/") for path in found)
        if inside and kind in {"kubernetes", "helm"}:
            lines.append(
                f"{kind}: {_DIRECTORY} is the ConfigMap, in which nothing else is mounted: name files there "
                "by absolute paths elsewhere, such as /etc/expiry-files/ca.pem"
            )
    if there.variables:
        keys = ", ".join(sorted(set(there.variables.values())))
        lines.append(f"{kind}: the environment variables that {keys} names need {_VARIABLES[kind]}")
    return lines


def _of_sources(config: Config) -> tuple[Question, ...]:
    """
    Return the lists of a cluster that the sources of a configuration watch.
    """
    clusters = [entry.kubernetes for entry in config.discover if entry.kubernetes is not None]
    return tuple(chain.from_iterable(map(questions, clusters)))


def _shards(text: str) -> int:
    number = arguments.positive(text)
    if number > 1000:
        raise argparse.ArgumentTypeError(f"{shown(text)} is more than 1000")
    return number


def _matching(pattern: str, words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not re.fullmatch(pattern, text, re.ASCII):
            raise argparse.ArgumentTypeError(f"{shown(text)} is not {words}")
        return text

    return read
