"""
Flags of the command itself and those that several commands have, and the types of their values.
"""

import argparse
import re
from collections.abc import Callable
from urllib.parse import urlsplit

from exporter import logs
from exporter.engine.descriptors import CONCURRENCY
from exporter.engine.gates import USUAL
from exporter.model.policies import BUILT_IN
from exporter.passwords import shown
from exporter.report.compat_families import chosen

DEFAULT_CONFIG = "expiry.yml"
"""The configuration where --config.file names none: in the directory in which the command is run."""


DEFAULT_ADDRESS = ":10119"
"""The exporters' range, 9100 to 9999, is fully allocated and its list goes on above 10000: this one is
free there."""


def add_look_flags(parser: argparse.ArgumentParser) -> None:
    """
    Add the flags of commands that probe once: the targets, and the limits.
    """
    parser.add_argument(
        "urls",
        nargs="*",
        metavar="URL",
        help=(
            "what to probe: https://example.com, a host (example.com, mail.example.com:25), the path of a "
            "file or directory, the name of a configured target, or - for a line each on standard input"
        ),
    )
    parser.add_argument(
        "--config.file",
        dest="config_file",
        metavar="FILE",
        help="probe the targets of this configuration, or those of them that are named (default: "
        f"{DEFAULT_CONFIG} in this directory, where no URL is given, or one is the name of a target there)",
    )
    parser.add_argument(
        "--state.path",
        dest="state_path",
        metavar="FILE",
        help="where the exporter keeps its state, with what its sources found last (default: as for the "
        "exporter itself; `none`: do without)",
    )
    parser.add_argument(
        "--policy",
        choices=sorted(BUILT_IN),
        metavar="NAME",
        help=f"the policy to judge by: {', '.join(sorted(BUILT_IN))} (default: by kind; servers: automatic)",
    )
    parser.add_argument("--ca-file", metavar="FILE", help="trust anchors, PEM (default: the system's)")
    parser.add_argument(
        "--server-name", metavar="NAME", help="name to send and verify instead of the URL's host"
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=patience,
        default=10.0,
        help="time for all of it (default: %(default)g)",
    )


def add_url(parser: argparse._ActionsContainer, reader: Callable[[str], str], words: str) -> None:
    """
    Add the flag for the exporter's URL; `words` are its help.
    """
    words = f"{words} (https://expiry.example.com)"
    parser.add_argument("--web.external-url", dest="external_url", metavar="URL", type=reader, help=words)


def add_runbooks_flag(parser: argparse._ActionsContainer) -> None:
    """
    Add the flag of commands that write links to the runbooks.
    """
    parser.add_argument(
        "--runbooks-url",
        dest="runbooks_url",
        metavar="URL",
        type=linked_url,
        help="where people find the files of runbooks/, to link there (default: the project's repository)",
    )


def add_server_flags(parser: argparse.ArgumentParser) -> None:
    """
    Add the flags of commands that serve.
    """
    add_url(parser, external_url, "where people reach this server; alerts then link to its pages")
    parser.add_argument(
        "--web.listen-address",
        dest="listen_address",
        metavar="ADDRESS",
        type=_address,
        action="append",
        help=f"[host]:port to listen on; may be repeated (default: {DEFAULT_ADDRESS})",
    )
    parser.add_argument(
        "--web.systemd-socket",
        dest="systemd_socket",
        action="store_true",
        help="listen on the sockets that systemd passes (.socket unit) instead",
    )
    parser.add_argument(
        "--web.config.file",
        dest="web_config",
        metavar="FILE",
        help="TLS, passwords and headers of the port, in exporter-toolkit's format (default: none)",
    )
    parser.add_argument(
        "--web.enable-lifecycle",
        dest="lifecycle",
        action="store_true",
        help="allow POST /-/reload and /-/quit (SIGHUP always reloads)",
    )
    parser.add_argument(
        "--web.timeout-offset",
        dest="timeout_offset",
        metavar="SECONDS",
        type=_seconds,
        default=0.5,
        help="taken off Prometheus's scrape timeout, so the answer arrives in time (default: %(default)g)",
    )
    parser.add_argument(
        "--metrics.compat",
        dest="compat",
        metavar="EXPORTERS",
        type=_compat,
        help="export the metrics of these too, with commas between: blackbox, ssl_exporter, x509, domain",
    )
    parser.add_argument(
        "--sweep.concurrency",
        dest="concurrency",
        metavar="N",
        type=positive,
        help=f"most probes at a time (default: {CONCURRENCY})",
    )
    for flag, name, default, words in (
        ("--sweep.per-address", "per_address", USUAL.most, "probes at a time"),
        ("--sweep.per-address-rate", "per_address_rate", USUAL.rate, "new probes a second"),
    ):
        parser.add_argument(
            flag,
            dest=name,
            metavar="N",
            type=_not_negative,
            default=default,
            help=f"{words} at one address of another host, 0: no limit (default: %(default)s)",
        )
    parser.add_argument(
        "--sweep.processes",
        dest="processes",
        metavar="N",
        type=positive,
        help="processes that probe servers; 1: only the first (default: from 2500 servers on, one "
        "for each processor, at most 4)",
    )


def add_serve_flags(parser: argparse.ArgumentParser) -> None:
    """
    Add the flags of `serve`, which are those of the command itself.
    """
    parser.add_argument(
        "--config.file",
        dest="config_file",
        metavar="FILE",
        default=DEFAULT_CONFIG,
        help="the configuration (default: %(default)s)",
    )
    parser.add_argument(
        "--config.check",
        dest="config_check",
        action="store_true",
        help="list all faults of the configuration, and exit",
    )
    parser.add_argument(
        "--state.path",
        dest="state_path",
        metavar="FILE",
        help="keep what was last seen in this file, so that it survives a restart (default: state.sqlite in "
        "the first that can be written of $STATE_DIRECTORY, /var/lib/expiry-exporter, "
        "$XDG_STATE_HOME/expiry-exporter and ~/.local/state/expiry-exporter; `none`: keep nothing)",
    )
    parser.add_argument(
        "--shard.index",
        dest="shard_index",
        metavar="N",
        type=int,
        default=0,
        help="which share of the targets this replica probes, from 0 (default: %(default)s)",
    )
    parser.add_argument(
        "--shard.total",
        dest="shard_total",
        metavar="N",
        type=positive,
        default=1,
        help="how many replicas share the targets (default: %(default)s)",
    )
    add_server_flags(parser)


def add_log_flags(parser: argparse.ArgumentParser) -> None:
    """
    Add the flags of every command.
    """
    parser.add_argument(
        "--log.level",
        dest="log_level",
        choices=tuple(logs.LEVELS),
        default="info",
        help="(default: %(default)s)",
    )
    parser.add_argument(
        "--log.format",
        dest="log_format",
        choices=("logfmt", "json"),
        default="logfmt",
        help="(default: %(default)s)",
    )


def _address(text: str) -> tuple[str | None, int]:
    host, separator, port = text.rpartition(":")
    if not separator or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(
            f"{shown(text)} is not [host]:port, such as :10119 or 127.0.0.1:10119"
        )
    return host.removeprefix("[").removesuffix("]") or None, int(port)


def _compat(text: str) -> frozenset[str]:
    try:
        return chosen(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def external_url(text: str) -> str:
    """
    Return the URL of a web site without a final slash. Raises argparse.ArgumentTypeError.
    """
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{shown(text)} is not a URL such as https://expiry.example.com"
        ) from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or not text.isprintable() or " " in text:
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a URL such as https://expiry.example.com")
    # The URL is exported and shown: a password has no place in it.
    if any(mark in text for mark in "@?#"):
        raise argparse.ArgumentTypeError("no user, password, '?' or '#' may be in it; write %40 for '@'")
    return text.rstrip("/")


def linked_url(text: str) -> str:
    """
    Return an `external_url` that may stand in rules and dashboards. Raises argparse.ArgumentTypeError.
    """
    url = external_url(text)
    # In a rule or a dashboard, braces and '$' would begin a template, and quotes end what they stand in.
    if not re.fullmatch(r"[!%&'()*+,\-./0-9:;=@A-Z\[\]_a-z~]+", url):
        raise argparse.ArgumentTypeError(
            f"{shown(text)} has a character that must be percent-encoded in a URL"
        )
    return url


def _seconds(text: str) -> float:
    try:
        value = float(text.removesuffix("s"))
    except ValueError:
        value = -1.0
    if not 0 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a number of seconds from 0 to 3600")
    return value


def patience(text: str) -> float:
    """
    Return a number of seconds that a command may take. Raises argparse.ArgumentTypeError.
    """
    try:
        value = float(text.removesuffix("s"))
    except ValueError:
        value = -1.0
    if not 0 < value <= 3600:
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a number of seconds above 0, up to 3600")
    return value


def _not_negative(text: str) -> int:
    """
    Return a whole number, 0 or above. Raises argparse.ArgumentTypeError.
    """
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a whole number")
    return int(text)


def positive(text: str) -> int:
    """
    Return a whole number above 0. Raises argparse.ArgumentTypeError.
    """
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a whole number above 0")
    return int(text)
