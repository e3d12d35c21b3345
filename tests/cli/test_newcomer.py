"""
What somebody needs on the first day: a configuration to begin with, and its schema.
"""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from exporter.cli import init, main
from exporter.config import reader
from exporter.config.json_schema import json_schema
from tests.support.readme import REPOSITORY

EXAMPLE = REPOSITORY / "exporter/config/example.yml"

VALIDATOR = jsonschema.Draft202012Validator(json_schema())


def run(*arguments: str) -> int:
    """
    The exit code of the command.
    """
    return main.main(arguments)


def test_init_writes_a_configuration_that_loads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    With what was named, in any form that `check` takes for a host; and never over a file.
    """
    monkeypatch.chdir(tmp_path)
    assert run("init", "www.example.com", "smtp://mail.example.com", "file:///etc/ssl/*.pem") == 0
    assert "check --config.file=expiry.yml" in capsys.readouterr().out
    found = reader.load("expiry.yml", {})
    assert [one.name for one in found.targets] == [
        "https://www.example.com",
        "smtp://mail.example.com",
        "file:///etc/ssl/*.pem",
    ]
    Path("web.pem").touch()
    assert run("init", "web.pem", "--output-file", "-") == 0
    assert f"\n  - file://{tmp_path}/web.pem\n" in capsys.readouterr().out
    before = Path("expiry.yml").read_text("utf-8")
    assert run("init") == 1
    assert "--force" in capsys.readouterr().err
    assert Path("expiry.yml").read_text("utf-8") == before
    assert run("init", "--force") == 0
    assert run("init", "gopher://x", "--output-file", "other.yml") == 2
    assert run("init", "--output-file", "nowhere/expiry.yml") == 1
    assert "nowhere/expiry.yml can't be written" in capsys.readouterr().err


def test_init_prints_the_example_with_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    """
    As it ships.
    """
    assert run("init", "--all", "--output-file", "-") == 0
    assert capsys.readouterr().out == EXAMPLE.read_text("utf-8")


def test_the_schema_knows_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    """
    The command prints it; example, start and merged parts are valid by it.
    """
    assert run("schema") == 0
    assert json.loads(capsys.readouterr().out) == json_schema()
    VALIDATOR.check_schema(json_schema())
    for text in (
        EXAMPLE.read_text("utf-8"),
        init.start(["a.example.com"], Path("expiry.yml")),
        "targets:\n",
        "x-a: &a {timeout: 1s}\ntargets: [{url: https://a, <<: *a}]",
        "targets: [{url: https://a, labels: {shop: 7, on: true}, proxy: none}]",
    ):
        VALIDATOR.validate(yaml.safe_load(text))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("targets: [{url: https://a, tiemout: 5s}]", "tiemout"),
        ("targets: [{name: a}]", "'url' is a required property"),
        ("targets: https://a", "is not of type 'array'"),
        ("targets: [{url: https://a, timeout: 5}]", "is not of type 'string'"),
        ("policies: {a: {critcal: 5d}}", "critcal"),
        ("targets: [{url: https://a, addresses: some}]", "is not one of ['all', 'first']"),
        ("targts: []", "targts"),
    ],
)
def test_the_schema_marks_mistakes(text: str, words: str) -> None:
    """
    At the place where they are, as the reader does.
    """
    document: Any = yaml.safe_load(text)
    messages = [error.message for error in VALIDATOR.iter_errors(document)]
    assert any(words in message for message in messages), messages
