"""
`expiry-exporter completion`: the script that lets a shell complete commands, flags and files.
"""

import argparse
import sys
from collections.abc import Iterator

import shtab

DESCRIPTION = """\
Print the script that lets your shell complete commands, flags and their values."""


EXAMPLES = """\
examples:
  expiry-exporter completion bash > /etc/bash_completion.d/expiry-exporter
      for all users of bash (package bash-completion)

  expiry-exporter completion zsh > "${fpath[1]}/_expiry-exporter"
      for zsh

  expiry-exporter completion fish > ~/.config/fish/completions/expiry-exporter.fish
      for fish
"""


SHELLS = ("bash", "zsh", "fish")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """
    Add the flags and the help.
    """
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    parser.add_argument("shell", choices=SHELLS, help="the shell that reads it")


def run(options: argparse.Namespace) -> int:
    """
    Print the script, and return the exit code.
    """
    # Later, since that module imports this one.
    from exporter.cli.main import parser  # noqa: PLC0415

    whole = parser()
    for action in _actions(whole):
        if action.metavar == "FILE":
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif action.metavar == "DIR":
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    sys.stdout.write(shtab.complete(whole, shell=options.shell) + "\n")
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """
    Yield the flags of a parser and of its commands.
    """
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way
        yield action
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - as above
            for command in action.choices.values():
                yield from _actions(command)
