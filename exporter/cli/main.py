"""
The command `expiry-exporter`: runs one of its subcommands and returns its exit code.
"""

import argparse
import contextlib
import os
import resource
import sys
import textwrap
from collections.abc import Collection, Sequence
from importlib import import_module
from itertools import takewhile
from types import ModuleType

from exporter import __version__, logs
from exporter.cli import arguments
from exporter.cli.early import fill_streams, hold_reloads, lean_imports
from exporter.cli.hints import NAMED, Parser, is_configuration
from exporter.model.foreign_text import printable
from exporter.model.suggestions import closest
from exporter.passwords import shown, without_user

DESCRIPTION = """\
Warns you, before an outage, that a certificate is about to expire.

Without a command, it serves metrics to Prometheus: each scrape of /metrics probes
every configured target and says when its certificates expire, when their renewal
is due, and whether clients trust them.
"""


EXAMPLES = """\
examples:
  expiry-exporter demo
      try it: servers in every state on this machine, metrics and a status page

  expiry-exporter check https://example.com tls://db.internal:5432
      probe once, print a table, exit 0 (fine), 1 (warning), 2 (critical) or 3 (unknown)

  expiry-exporter forecast --config.file=expiry.yml
      which alerts will fire on which day of the next 90, if nothing is renewed

  expiry-exporter --config.file=expiry.yml
      serve; a minimal expiry.yml is:
          targets:
            - https://example.com

  expiry-exporter --config.file=expiry.yml --config.check
      list all faults of a configuration, and exit

  expiry-exporter manual
      the chapters of the manual, and a runbook for each alert

  expiry-exporter manual policies
      who renews when: the built-in policies for certbot, cert-manager, clouds and others

  kill -HUP PID
      reload the configuration; a bad one changes nothing
"""


SERVE_DESCRIPTION = """\
Serve metrics to Prometheus: each scrape of /metrics probes every configured target.
/ is a page for people, /docs/ is the manual. The same is done without a command.
"""


SERVE_EXAMPLES = """\
examples:
  expiry-exporter serve --config.file=expiry.yml
      then let Prometheus scrape http://localhost:10119/metrics once a minute

  expiry-exporter serve --config.file=expiry.yml --web.listen-address=127.0.0.1:10119
      for this machine only, as behind a reverse proxy

  expiry-exporter serve --config.file=expiry.yml --shard.index=0 --shard.total=3
      the first of three replicas that share the targets

  expiry-exporter manual install
      with systemd, Docker or Kubernetes
"""


COMMANDS = {
    "serve": "serve metrics to Prometheus; this is also done without a command",
    "init": "write a configuration to begin with",
    "check": "probe once and print what is found, the most urgent first",
    "forecast": "probe once and say which alerts will fire on which day",
    "discover": "find targets, and print them as a configuration",
    "alerts": "write the alerting rules, the Alertmanager example, templates and runbooks",
    "dashboards": "write the Grafana dashboards",
    "deploy": "write files to run it: compose, kubernetes, helm or systemd",
    "manual": "print a chapter of the manual, or the runbook of an alert",
    "schema": "print the JSON schema of the configuration, for editors",
    "completion": "print the script that lets a shell complete commands and flags",
    "migrate": "write a configuration from those of other exporters",
    "demo": "try it: TLS servers in every state on this machine, and their metrics",
}
"""
Each subcommand, a module beside this one, with its line in the help. Without one, `serve` is run.

The module has `add_arguments`, which takes the subcommand's parser, and `run`, which takes the parsed
arguments and returns the exit code.
"""


OTHER_NAMES = {
    "lint": "--config.check",
    "probe": "check",
    "run": "serve",
    "start": "serve",
    "validate": "--config.check",
    "verify": "--config.check",
}
"""What other programs call some commands and flags, which is spelled too differently."""


SERVING = ("serve", "demo")
"""Commands that run until they are told to stop, and take SIGHUP for a reload."""


def main(given: Sequence[str] | None = None) -> int:
    """
    Run the command with these arguments (None: those of the process), and return its exit code.
    """
    fill_streams()
    given = sys.argv[1:] if given is None else given
    if not given or given[0] in SERVING or given[0].startswith("-"):
        hold_reloads()
    # Behind the command its name is a word like others, which no module is imported for.
    reader = parser(given[:1] if given and given[0] in COMMANDS else given)
    _refuse_unknown(given, reader)
    options = reader.read(given)
    logs.setup(options.log_level, options.log_format, sys.stderr)
    _raise_file_limit()
    try:
        command = _module(options.command or "serve")
        exit_code: int = command.run(options)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader went away (`expiry-exporter check … | head`): nothing more can be printed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return exit_code


def parser(wanted: Collection[str] = COMMANDS) -> Parser:
    """
    Return the parser, whose result has the name of the command as `command`; None: the server.

    Only commands that are `wanted` have flags, so that others are not imported: a server does not import the
    modules that draw on a terminal, and who asks for the version waits for none of them.
    """
    raw = argparse.RawDescriptionHelpFormatter
    whole = Parser(
        prog="expiry-exporter",
        usage="%(prog)s [COMMAND] [FLAG ...]\n\n" + textwrap.fill(f"commands: {', '.join(COMMANDS)}", 80),
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=raw,
        allow_abbrev=False,
    )
    whole.add_argument("--version", action="version", version=f"expiry-exporter {__version__}")
    arguments.add_serve_flags(whole)
    arguments.add_log_flags(whole)
    commands = whole.add_subparsers(title="commands", metavar="COMMAND", dest="command", prog=whole.prog)
    for name, words in COMMANDS.items():
        command = commands.add_parser(name, help=words, formatter_class=raw, allow_abbrev=False)
        if name == "serve":
            command.description, command.epilog = SERVE_DESCRIPTION, SERVE_EXAMPLES
            arguments.add_serve_flags(command)
            arguments.add_log_flags(command)
            _keep_given(command)
        elif name in wanted:
            _module(name).add_arguments(command)
            arguments.add_log_flags(command)
    return whole


def _refuse_unknown(given: Sequence[str], reader: Parser) -> None:
    """
    End with a message that names the nearest command where the first argument is none, and the nearest flag
    where one before the command is none: its value would be taken for a command.
    """
    before = list(takewhile(lambda word: word not in COMMANDS, given))
    reader.refuse_wrong_dashes(before)
    reader.refuse_unknown_flags(before)
    word = given[0] if given else ""
    # What follows `completion` is the line that a shell completes.
    if word in COMMANDS and word != "completion":
        reader.command(word).refuse_wrong_dashes(given[1:])
    if not word or word.startswith("-") or word in COMMANDS:
        return
    flag, said = f"--{word.partition('=')[0].lower()}", printable(without_user(word))
    if flag == "--help" and given[1:] and given[1] in COMMANDS:
        meant = f"run `expiry-exporter {given[1]} --help`"
    elif word.lower() in OTHER_NAMES:
        meant = f"did you mean {OTHER_NAMES[word.lower()]!r}?"
    elif flag in reader.flags:
        meant = f"did you mean {flag!r}?"
    elif is_configuration(word):
        meant = NAMED.format(said)
    elif any(sign in word for sign in "./:"):
        meant = f"to probe it once, run `expiry-exporter check {said}`"
    else:
        meant = closest(word.lower(), COMMANDS, listed="`expiry-exporter --help` lists all commands.")
    reader.error(f"there is no command {shown(word)}: {meant}")


def _keep_given(command: argparse.ArgumentParser) -> None:
    """
    Let flags that stand before the command keep their values: those behind it have no default of their own.
    """
    for action in command._actions:  # noqa: SLF001 - argparse has no other way
        action.help = (action.help or "") % {"default": action.default}
        action.default = argparse.SUPPRESS


def _module(name: str) -> ModuleType:
    """
    Import the module of a command.
    """
    with lean_imports():
        return import_module(f"exporter.cli.{name}")


def _raise_file_limit() -> None:
    """
    Raise this process's soft limit of open files to the hard limit: each probe is a socket.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
