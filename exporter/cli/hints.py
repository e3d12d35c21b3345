"""
The parser of the command line, whose messages about unknown words name the nearest that is known.
"""

import argparse
import re
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from exporter.model.foreign_text import printable
from exporter.model.suggestions import closest
from exporter.passwords import shown, without_user


class Parser(argparse.ArgumentParser):
    """
    argparse's, with hints. Parsers of its subcommands are of this type too.
    """

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """
        Refuse a value that is none of the action's choices.
        """
        if action.choices is not None and value not in action.choices:
            words = f"{shown(str(value))} is not known: {closest(str(value), map(str, action.choices))}"
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
            parser.error(
                f"these words have no meaning here: {printable(' '.join(map(without_user, unknown)))}"
            )
        return options

    def error(self, message: str) -> NoReturn:
        """
        End the process with the message. Where argparse itself repeats a value, which may be a password, it
        is left out.
        """
        words = "ignored explicit argument|invalid int value"
        super().error(re.sub(f"({words}).*", r"\1", message, flags=re.DOTALL))

    def command(self, name: str | None) -> "Parser":
        """
        Return the parser of a subcommand; this one for None.
        """
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction) and name is not None:  # noqa: SLF001 - no other way
                found = action.choices[name]
                assert isinstance(found, Parser)
                return found
        return self

    def refuse_unknown_flags(self, words: Iterable[str]) -> None:
        """
        End the process with a message at the first word that looks like a flag and is none.
        """
        for word in words:
            # As argparse sees it, a negative number is a value.
            if re.match(r"--?[A-Za-z]", word) and word.partition("=")[0] not in self._option_string_actions:
                self.refuse_flag(word)

    def refuse_flag(self, word: str) -> None:
        """
        End the process with a message about an unknown flag.
        """
        flag = word.partition("=")[0]
        known = [one for one in self._option_string_actions if one.startswith("--")]
        # Of one letter none is near in spelling: those that begin with it may be meant.
        if len(flag) == 2 and (same := [repr(one) for one in known if one.startswith(f"-{flag}")]):
            hint = f"did you mean {' or '.join(sorted(same))}?"
        else:
            hint = closest(flag, known, listed=f"`{self.prog} --help` lists all flags")
        self.error(f"there is no flag {shown(flag)}: {hint}")
