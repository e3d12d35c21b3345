"""
The manual on a terminal and in a pipe.
"""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from exporter.cli import main
from exporter.cli.manual import parts
from exporter.server.documents import manual, runbooks
from tests.support.readme import MANUAL, REPOSITORY

RUNBOOKS = REPOSITORY / "alerts" / "runbooks"


def on_a_terminal(*arguments: str) -> str:
    """
    What `manual` shows on a terminal of 80 columns, through a pager that begins with the word PAGED.
    """
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "PAGER": "echo PAGED; cat"}
    command = [sys.executable, "-m", "exporter", "manual", *arguments]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = bytearray()
        try:
            while piece := os.read(ours, 65536):
                shown += piece
        except OSError:
            # The other end is closed: Linux says so by EIO.
            pass
        finally:
            os.close(ours)
    assert process.returncode == 0
    return shown.decode()


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("reasons", MANUAL / "reasons.md"),
        ("Pages-and-API", MANUAL / "pages-and-api.md"),
        ("metrics.md", MANUAL / "metrics.md"),
        ("ExpirySoon", RUNBOOKS / "ExpirySoon.md"),
        ("expirysoon", RUNBOOKS / "ExpirySoon.md"),
    ],
)
def test_a_document_is_printed_as_it_is(name: str, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Where the output is no terminal: for grep, and for other readers of Markdown.
    """
    assert main.main(["manual", name]) == 0
    assert capsys.readouterr().out == file.read_text("utf-8")


@pytest.mark.parametrize("name", ["connection_refused", "EXPIRED", "Unreachable endpoints"])
def test_a_part_of_a_chapter_is_printed_by_its_heading(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """
    A reason, as a label or a log has it: its meaning and what to do, and nothing of the next one.
    """
    assert main.main(["manual", name]) == 0
    first, *others = capsys.readouterr().out.splitlines()
    assert first.lower().lstrip("#") == f" {name.lower()}"
    assert len("".join(others)) > 100
    assert not [line for line in others if line.startswith("#")]


def test_no_comment_in_an_example_looks_like_a_heading() -> None:
    """
    It would end the part of the chapter.
    """
    found = list(parts((manual(), runbooks())))
    assert len(found) > 100
    assert [heading for heading, text in found if text.count("```") % 2] == []


def test_without_a_name_each_document_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """
    With its name and what it is about.
    """
    assert main.main(["manual"]) == 0
    lines = capsys.readouterr().out.splitlines()
    found = {name: rest for name, _, rest in (line.strip().partition(" ") for line in lines) if rest}
    documents = {**manual().documents, **runbooks().documents}
    assert {name: found[name].strip() for name in documents} == {
        name: one.about for name, one in documents.items()
    }


@pytest.mark.parametrize(("name", "meant"), [("reason", "'reasons'"), ("ExpirySon", "'ExpirySoon'")])
def test_an_unknown_name_is_an_error_with_the_nearest(
    name: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    And with the way to all of them.
    """
    assert main.main(["manual", name]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        f"expiry-exporter manual: nothing is called {name!r}: did you mean {meant}? "
        "`expiry-exporter manual` lists all there is\n"
    )


def test_a_terminal_shows_it_laid_out_in_a_pager() -> None:
    """
    Without the marks of Markdown and without links that lead nowhere there, in the width of the terminal.
    """
    shown = on_a_terminal("reasons")
    assert shown.startswith("PAGED")
    assert "\x1b[1m" in shown
    assert "handshake_endless" in shown
    assert "**What to do:**" not in shown
    assert ".md" not in shown


def test_the_list_on_a_terminal_fits_it() -> None:
    """
    Lines that are too long go on below the words, not below the names.
    """
    lines = on_a_terminal().splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith(" " * 17) for line in lines)
