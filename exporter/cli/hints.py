"""
The parser of the command line, whose messages about unknown words name the nearest that is known.
"""

import argparse
import difflib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NoReturn

from exporter.model.foreign_text import printable
from exporter.model.suggestions import closest
from exporter.passwords import shown, without_user

_DASHES = "-\N{HYPHEN}\N{NON-BREAKING HYPHEN}\N{EN DASH}\N{EM DASH}\N{MINUS SIGN}"
"""The characters that word processors put in place of a hyphen, or of two."""


NAMED = "a configuration is named by --config.file={}"


def is_configuration(word: str) -> bool:
    """
    Return whether a word is meant as the file of a configuration.
    """
    return re.search(r"\.ya?ml$", word, re.IGNORECASE) is not None


class Parser(argparse.ArgumentParser):
    """
    argparse's, with hints. Parsers of its subcommands are of this type too.
    """

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """
        Refuse a value that is none of the action's choices.
        """
        if action.choices is self.commands and is_configuration(value):
            words = f"{shown(value)} is no command: {NAMED.format(printable(without_user(value)))}"
            raise argparse.ArgumentError(action, words)
        if action.choices is not None and value not in action.choices:
            words = (
                f"{shown(str(value))} is not known: {closest(str(value).lower(), map(str, action.choices))}"
            )
            raise argparse.ArgumentError(action, words)

    def read(self, given: Sequence[str]) -> argparse.Namespace:
        """
        Return the arguments. Ends the process at unknown flags, with the nearest flag of the same command.
        """
        options, unknown = self.parse_known_args(given)
        if unknown:
            parser = self.command(options.command)
            flag = next((word for word in unknown if word.startswith("-")), None)
            if flag is not None:
                parser.refuse_flag(flag)
            said = printable(" ".join(map(without_user, unknown)))
            takes_one = is_configuration(said) and "--config.file" in parser.flags
            hint = f": {NAMED.format(said)}" if takes_one else ""
            parser.error(f"these words have no meaning here: {said}{hint}")
        return options

    def error(self, message: str) -> NoReturn:
        """
        End the process with the message. Where argparse itself repeats a value, which may be a password, it
        is left out.
        """
        message = re.sub("ignored explicit argument.*", "takes no value", message, flags=re.DOTALL)
        super().error(re.sub("(invalid int value).*", r"\1", message, flags=re.DOTALL))

    def command(self, name: str | None) -> "Parser":
        """
        Return the parser of a subcommand; this one for None.
        """
        return self.commands[name] if name is not None else self

    @property
    def commands(self) -> "Mapping[str, Parser]":
        """
        The parsers of its subcommands by name; none in a subcommand.
        """
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - no other way
                return action.choices
        return {}

    @property
    def flags(self) -> Collection[str]:
        """
        Its flags in all of their spellings.
        """
        return self._option_string_actions

    def refuse_unknown_flags(self, words: Iterable[str]) -> None:
        """
        End the process with a message at the first word that looks like a flag and is none.
        """
        for word in words:
            # As argparse sees it, a negative number is a value.
            if re.match(r"--?[A-Za-z]", word) and word.partition("=")[0] not in self.flags:
                self.refuse_flag(word)

    def refuse_wrong_dashes(self, words: Iterable[str]) -> None:
        """
        End the process with a message at the first flag of this parser that begins with other dashes than it
        should: with one instead of two, or with those of typography.
        """
        for word in words:
            flag = word.partition("=")[0]
            name = flag.lstrip(_DASHES)
            meant = f"{'-' if len(name) == 1 else '--'}{name}"
            if flag in self.flags or flag == name:
                continue
            near = [meant] if meant in self.flags else difflib.get_close_matches(meant, self.flags, n=1)
            # One hyphen before a word may be flags of one letter each.
            if near and (near[0] == meant or not flag.isascii()):
                self.error(f"there is no flag {shown(flag)}: did you mean {near[0]!r}?")

    def refuse_flag(self, word: str) -> None:
        """
        End the process with a message about an unknown flag.
        """
        flag = word.partition("=")[0]
        name = flag.lstrip("-").lower()
        known = [one for one in self.flags if one.startswith("--")]
        near = difflib.get_close_matches(
            name, [*(one.removeprefix("--") for one in known), *self.commands], n=1
        )
        # What stands for the value of a flag: `--json`.
        valued = [
            one.option_strings[0]
            for one in self._actions
            if one.option_strings and name in (one.choices or ())
        ]
        # Of one letter none is near in spelling: those that begin with it may be meant.
        same = [repr(one) for one in known if len(flag) == 2 and one.startswith(f"-{flag.lower()}")]
        if same:
            hint = f"did you mean {' or '.join(sorted(same))}?"
        elif valued:
            hint = f"did you mean '{valued[0]}={name}'?"
        elif near and near[0] in self.commands:
            hint = f"did you mean the command {near[0]!r}?"
        else:
            meant = f"did you mean '--{near[0]}'? " if near else ""
            hint = f"{meant}`{self.prog} --help` lists all flags"
        self.error(f"there is no flag {shown(flag)}: {hint}")
