"""
A terminal in memory.
"""

import io
import re

import pytest

_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Screen(io.StringIO):
    """
    A stream that says it is a terminal with this encoding.
    """

    def __init__(self, encoding: str = "utf-8") -> None:
        super().__init__()
        self._encoding = encoding

    # The attribute of the base class is read-only.
    @property
    def encoding(self) -> str:  # type: ignore[override]
        """
        What its characters are written in.
        """
        return self._encoding

    def isatty(self) -> bool:
        """
        Yes.
        """
        return True

    @property
    def plain(self) -> str:
        """
        What is read there, without colours.
        """
        return _ESCAPE.sub("", self.getvalue())

    def style_of(self, words: str) -> str:
        """
        The last escape sequence before the first place with these words.
        """
        before = self.getvalue().partition(words)[0]
        return [found[0] for found in _ESCAPE.finditer(before)][-1]


def screen(
    monkeypatch: pytest.MonkeyPatch, width: int = 80, encoding: str = "utf-8", **environment: str
) -> Screen:
    """
    A terminal of this width that has colours, unless the environment says otherwise.
    """
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm-256color", "COLUMNS": str(width), **environment}.items():
        monkeypatch.setenv(name, value)
    return Screen(encoding)
