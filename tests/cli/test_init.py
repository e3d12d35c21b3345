"""
The configuration of `init`: also what stands in it as a comment is accepted.
"""

import re
from pathlib import Path

import pytest

from exporter.cli import main
from exporter.cli.shorthand import IGNORED
from exporter.config.reader import parse
from exporter.demo.minter import root
from exporter.report.status import Level


def test_every_commented_target_is_accepted_when_uncommented(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    By the command that the file itself names, each alone and all together.
    """
    file = tmp_path / "expiry.yml"
    assert main.main(["init", "--output-file", str(file)]) == 0
    text = file.read_text("utf-8")
    commented = re.compile(r"^  # (- .*(?:\n  #   .*)*)", re.MULTILINE)
    found = commented.findall(text)
    assert any("kubernetes://*/*" in one for one in found)
    assert len(found) == text.count("\n  # - ")
    texts = [
        text.replace(f"  # {one}", f"  {one.replace(chr(10) + '  # ', chr(10) + '  ')}") for one in found
    ]
    texts.append(re.sub(r"^  # (- |  )", r"  \1", text, flags=re.MULTILINE))
    for one in texts:
        assert one != text
        file.write_text(one, encoding="utf-8")
        assert main.main([f"--config.file={file}", "--config.check"]) == 0, capsys.readouterr()


def test_the_example_label_is_on_no_alert_until_somebody_writes_one(tmp_path: Path) -> None:
    """
    A newcomer's alerts would name a team that does not exist. Uncommented it is accepted.
    """
    file = tmp_path / "expiry.yml"
    assert main.main(["init", "--output-file", str(file)]) == 0
    text = file.read_text("utf-8")
    assert [dict(one.labels) for one in parse(text.encode(), str(file), {}).targets] == [{}]
    uncommented = re.sub(r"^# (defaults:|  labels:|    team:)", r"\1", text, flags=re.MULTILINE)
    (target,) = parse(uncommented.encode(), str(file), {}).targets
    assert dict(target.labels) == {"team": "example"}


def test_the_next_step_that_is_named_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What has every key names password files that are not there, so it is not probed. A configuration to begin
    with is, and is named where there is none.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / "web.pem").write_bytes(root("Some Root", not_before=0, not_after=2e9).pem)
    for arguments, command in (
        (["--all", "--output-file=every-key.yml"], "init"),
        (["web.pem", "--output-file=web.yml"], "check --config.file=web.yml"),
    ):
        assert main.main(["init", *arguments]) == 0
        assert capsys.readouterr().out.endswith(f" Next: expiry-exporter {command}\n")
        assert main.main(command.split()) in {Level.OK, Level.WARNING, Level.CRITICAL}
        assert capsys.readouterr().err == ""
    assert main.main(["init", "--all", "--output-file=again.yml"]) == 0
    copied = "Copy what you need: its hosts and password files are examples."
    assert capsys.readouterr().out == f"again.yml: written. {copied}\n"


def test_comments_on_standard_output_name_the_usual_file(capsys: pytest.CaptureFixture[str]) -> None:
    """
    No file is called `-`.
    """
    assert main.main(["init", "--output-file", "-"]) == 0
    assert "--config.file=expiry.yml" in (text := capsys.readouterr().out)
    assert "--config.file=-" not in text


def test_the_name_of_a_configuration_is_not_taken_for_a_target(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Unless there is such a file: YAML may hold certificates.
    """
    monkeypatch.chdir(tmp_path)
    assert main.main(["init", "web.yml"]) == 2
    assert "--output-file=web.yml names the file to write" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    (tmp_path / "web.yml").touch()
    assert main.main(["init", "web.yml"]) == 0
    assert f"- file://{tmp_path}/web.yml" in (tmp_path / "expiry.yml").read_text("utf-8")


def test_what_was_written_otherwise_than_it_is_taken_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    As `check` says it. A name that no file can have is none that is there.
    """
    file = tmp_path / "expiry.yml"
    assert main.main(["init", "--output-file", str(file), "https://www.example.com/a?b=c"]) == 0
    assert capsys.readouterr().err == f"expiry-exporter init: https://www.example.com/a?...: {IGNORED}\n"
    assert [one.name for one in parse(file.read_bytes(), str(file), {}).targets] == [
        "https://www.example.com"
    ]
    long = f"{'a' * 300}.yml"
    assert main.main(["init", long]) == 2
    assert f"there is no file {long} to watch" in capsys.readouterr().err
