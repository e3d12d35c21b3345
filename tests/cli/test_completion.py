"""
Completion in real shells, as when somebody types a line and the tabulator.
"""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from exporter.cli import main
from exporter.cli.completion import SHELLS, script, targets
from tests.support.readme import REPOSITORY

PATIENCE = 60.0
"""Seconds in which a shell has to answer."""

CONFIGURATION = """\
targets:
  - https://www.example.com
  - {url: https://shop.example.com, name: shop}
  - {url: tls://ldap.example.com:636, name: company ldap}
  - {url: domain:example.com, name: "$(touch harm)"}
"""

LINES = {
    "fore": "forecast",
    "check --pol": "check --policy",
    "check --policy man": "check --policy manual",
    "check --policy=man": "check --policy=manual",
    "check --config.file exp": "check --config.file expiry.yml",
    "check --config.file=exp": "check --config.file=expiry.yml",
    "--config.file=expiry.yml --config.c": "--config.file=expiry.yml --config.check",
    "serve --web.config.file=e": "serve --web.config.file=expiry.yml",
    "alerts --output-dir cer": "alerts --output-dir certs/",
    "alerts --output-dir=cer": "alerts --output-dir=certs/",
    "check --only crit": "check --only critical",
    "check --only critical,unk": "check --only critical,unknown",
    "check --only=critical,unknown,w": "check --only=critical,unknown,warning",
    "--metrics.compat bl": "--metrics.compat blackbox",
    "--metrics.compat=blackbox,ss": "--metrics.compat=blackbox,ssl_exporter",
    "serve --metrics.compat blackbox,x5": "serve --metrics.compat blackbox,x509",
    "manual conf": "manual configuration",
    "completion fi": "completion fish",
    "deploy comp": "deploy compose",
    "init certs/": "init certs/web.pem",
    "check certs/": "check certs/web.pem",
    "check sh": "check shop",
    "check https://w": "check https://www.example.com",
    "check -v mail.example.com:25 sh": "check -v mail.example.com:25 shop",
    "check comp": "check 'company ldap'",
    "forecast --config.file other.yml el": "forecast --config.file other.yml elsewhere",
    "forecast --config.file=other.yml el": "forecast --config.file=other.yml elsewhere",
    "check --config.file=bad.yml sh": "check --config.file=bad.yml sh",
}
"""Behind the program's name: what is typed before the tabulator, and what stands there after it."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    The directory that the shells work in, with the program and files to complete.
    """
    made = tmp_path_factory.mktemp("home")
    (made / "bin").mkdir()
    program = made / "bin" / "expiry-exporter"
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{REPOSITORY}" exec "{sys.executable}" -m exporter "$@"\n')
    program.chmod(0o755)
    work = made / "work"
    (work / "certs").mkdir(parents=True)
    (work / "certs" / "web.pem").touch()
    (work / "expiry.yml").write_text(CONFIGURATION, encoding="utf-8")
    (work / "other.yml").write_text("targets: [{url: https://a, name: elsewhere}]", encoding="utf-8")
    (work / "bad.yml").write_text("targets: [", encoding="utf-8")
    for shell in SHELLS:
        (made / shell).write_text(script(shell), encoding="utf-8")
    (made / "functions").mkdir()
    shutil.copy(made / "zsh", made / "functions" / "_expiry-exporter")
    return work


INTERACTIVE = {
    "bash": (
        ["bash", "--norc", "--noprofile", "-i"],
        "source ../bash; bind 'set completion-query-items 0'; bind 'set page-completions off'",
    ),
    "zsh": (
        ["zsh", "-f", "-i"],
        "fpath+=../functions; autoload -U compinit; compinit -uD; bindkey -e; setopt noautoremoveslash",
    ),
}


@pytest.mark.parametrize("shell", INTERACTIVE)
def test_a_line_is_completed(shell: str, home: Path) -> None:
    """
    On a terminal; nothing that a configuration says is run.
    """
    assert completed(shell, list(LINES), home) == list(LINES.values())
    assert not (home / "harm").exists()


def completed(shell: str, lines: Sequence[str], work: Path) -> list[str]:
    """
    The lines as the shell completes them, behind the program's name.
    """
    command, setup = INTERACTIVE[shell]
    controller, terminal = pty.openpty()
    environment = {
        **os.environ,
        "PATH": f"{work.parent / 'bin'}:{os.environ['PATH']}",
        "HOME": str(work.parent),
        "TERM": "dumb",
        "PS1": "$ ",
        "COLUMNS": "250",
    }
    with subprocess.Popen(
        command,
        cwd=work,
        env=environment,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    ) as process:
        os.close(terminal)
        try:
            # Quoted in the middle, so that what is typed and echoed is no answer.
            os.write(controller, f"{setup}; echo RE''ADY\n".encode())
            _read_until(controller, b"READY\r\n")
            found = []
            for line in lines:
                # The cursor goes to the begin of the line (^A), and to its end (^E).
                typed = f"expiry-exporter {line}\t\x01print''f '<%s>' \x05; echo; echo E''ND\n"
                os.write(controller, typed.encode())
                said = _read_until(controller, b"END\r\n")
                words = re.findall(r"<([^<>]*)>", re.findall(r"^(<.*>)\r$", said.decode(), re.MULTILINE)[-1])
                found.append(" ".join(f"'{word}'" if " " in word else word for word in words[1:]))
            return found
        finally:
            process.kill()
            os.close(controller)


def _read_until(terminal: int, ending: bytes) -> bytes:
    found, end = b"", time.monotonic() + PATIENCE
    while ending not in found:
        ready, _, _ = select.select([terminal], [], [], max(0.0, end - time.monotonic()))
        assert ready, found
        found += os.read(terminal, 65536)
    return found


def test_fish_completes_a_line(home: Path) -> None:
    """
    By its own command for that: each line has one completion of its last word.
    """
    asked = "".join(
        f"complete -C 'expiry-exporter {line}' | string collect; echo; echo //\n" for line in LINES
    )
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"source ../fish\n{asked}"],
        cwd=home,
        env={**os.environ, "PATH": f"{home.parent / 'bin'}:{os.environ['PATH']}", "HOME": str(home.parent)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    answers = [one.strip("\n").splitlines() for one in done.stdout.split("//\n")[:-1]]
    for (line, expected), answer in zip(LINES.items(), answers, strict=True):
        words = [one.partition("\t")[0] for one in answer]
        before = line.rpartition(" ")[0]
        wanted = [expected.removeprefix(f"{before} ").strip("'")] if expected != line else []
        # What begins in another way, or has the letters inside, stands behind it.
        assert words[:1] == wanted, line
    assert done.stderr == ""
    assert not (home / "harm").exists()


@pytest.mark.parametrize("shell", ["fish", "zsh"])
def test_a_command_is_described_by_its_line_of_the_help(shell: str) -> None:
    """
    Which is whole: the first line of its own description may end in the middle of a sentence.
    """
    made = script(shell)
    for words in main.COMMANDS.values():
        assert words.replace("'", "\\'") in made or words in made


def test_a_missing_shell_is_all_that_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    """
    What the scripts pass on is no argument for people.
    """
    with pytest.raises(SystemExit):
        main.main(["completion"])
    assert capsys.readouterr().err.rstrip().endswith("required: SHELL")


@pytest.mark.parametrize("shell", SHELLS)
def test_shells_take_the_script(shell: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Each real shell reads it without a word; the command prints it.
    """
    assert main.main(["completion", shell]) == 0
    assert capsys.readouterr().out == script(shell)
    program = shutil.which(shell)
    assert program is not None
    done = subprocess.run(
        [program, "-n", home.parent / shell], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_line_without_a_configuration_has_no_targets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Whatever stands there instead of one.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.yml").touch()
    (tmp_path / "list.yml").write_text("[a]")
    (tmp_path / "odd.yml").write_text("targets: {a: b}")
    (tmp_path / "nested.yml").write_text("targets: [[a], {name: [b]}, {label: c}, ~, https://d]")
    os.mkfifo(tmp_path / "pipe.yml")
    for name in ("missing", "empty", "list", "odd", "pipe"):
        assert list(targets(["expiry-exporter", "check", f"--config.file={name}.yml"])) == [], name
    assert list(targets(["check"])) == []
    assert list(targets(["check", "--config.file", "nested.yml"])) == ["https://d"]
