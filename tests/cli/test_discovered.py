"""
`check` and `forecast` with a configuration whose sources find targets: those are looked at too.
"""

import asyncio
import json
import socket
from pathlib import Path

import pytest

from exporter.cli.main import main
from exporter.cli.state_path import OFF, kept_state
from exporter.config.reader import load
from exporter.demo.minter import root
from exporter.engine.state_rows import read_lists
from exporter.server.service import Options, Service
from tests.discovery.test_service import until


@pytest.fixture(autouse=True)
def _no_state_of_this_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "none"))
    monkeypatch.setattr("exporter.cli.state_path.PACKAGE_DIRECTORY", tmp_path / "none")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "none"))


def configured(directory: Path, source: str = "files: sd.json") -> tuple[str, str]:
    """
    A certificate, a list in which it is, and a configuration with the list: the flag, and the target's name.
    """
    certificate = directory / "www.pem"
    certificate.write_bytes(root("Test CA", not_before=0, not_after=7e9).issue("a", names=["a.test"]).pem)
    labels = {"__name": "www"}
    (directory / "sd.json").write_text(json.dumps([{"targets": [f"file://{certificate}"], "labels": labels}]))
    (directory / "expiry.yml").write_text(f"discover: [{{{source}}}]\n")
    return f"--config.file={directory / 'expiry.yml'}", f"file://{certificate}"


async def keep(directory: Path) -> str:
    """
    The state of an exporter that has run the sources.
    """
    state = str(directory / "state.sqlite")
    file = str(directory / "expiry.yml")
    service = Service(lambda: load(file, {}), Options(state_path=state), asyncio.get_running_loop())
    service.start()
    try:
        await until(lambda: not service.discovery.pending)
        await service.scrape(5)
    finally:
        await service.close()
    return state


@pytest.mark.parametrize("command", ["check", "forecast"])
def test_what_sources_find_is_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """
    As if it stood in the file.
    """
    flag, name = configured(tmp_path)
    assert main([command, flag, "--output=json"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    if command == "check":
        assert [one["target"] for one in found["endpoints"]] == [name]
    else:
        assert found["targets"] == 1
    assert err == ""


@pytest.mark.parametrize("command", ["check", "forecast"])
def test_a_source_that_fails_is_said_and_has_its_last_list(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """
    Not everything was looked at: the exit status says so, to forecasts and monitoring plugins.
    """
    flag, name = configured(tmp_path)
    state = asyncio.run(keep(tmp_path))
    (tmp_path / "sd.json").unlink()
    assert main([command, flag, "--output=json", f"--state.path={state}"]) == 3
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert f"source files: there is no file {tmp_path}/sd.json; its 1 targets are those of 20" in err
    if command == "check":
        assert [one["target"] for one in found["endpoints"]] == [name]
        assert found["refused"] == ["discover: files"]
    assert main([command, flag, f"--state.path={OFF}"]) == 3
    assert "its targets are missing here" in capsys.readouterr().err


def test_a_source_that_takes_long_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    It has half of the time that the command has.
    """
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        flag, name = configured(tmp_path, f"http: {url!r}}}, {{files: sd.json")
        assert main(["check", flag, "--timeout=1", "--output=json"]) == 3
    out, err = capsys.readouterr()
    assert "source http: not done within 0.5 s: raise --timeout; its targets are missing here" in err
    assert [one["target"] for one in json.loads(out)["endpoints"]] == [name]


def test_a_target_that_was_found_can_be_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    With its settings, by what the exporter keeps in its state. No source is run for it.
    """
    flag, name = configured(tmp_path)
    (tmp_path / "expiry.yml").write_text("discover: [{files: sd.json, policy: manual}]\n")
    state = asyncio.run(keep(tmp_path))
    (tmp_path / "sd.json").unlink()
    assert main(["check", name, flag, f"--state.path={state}", "--output=json"]) == 0
    (endpoint,) = json.loads(capsys.readouterr().out)["endpoints"]
    assert endpoint["policy"] == "manual"


def test_names_that_nobody_watches_are_a_problem_where_it_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    When all targets are looked at, and not when some are named.
    """
    flag, name = configured(tmp_path)
    text = "coverage: {alert: true}\ndiscover: [{files: sd.json}, {files: more.json}]\n"
    (tmp_path / "expiry.yml").write_text(text)
    (tmp_path / "more.json").write_text("[]")
    assert main(["check", flag]) in {0, 1}
    # Whether DNS says that the name is gone, or is silent, depends on the host.
    assert main(["check", name, flag]) == 0
    assert "no target looks at" not in capsys.readouterr().out.splitlines()[-2]


def test_no_name_is_a_problem_while_a_source_could_never_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    What it would find may watch the name.
    """
    flag, _ = configured(tmp_path)
    text = "coverage: {alert: true}\ndiscover: [{files: sd.json}, {files: more.json}]\n"
    (tmp_path / "expiry.yml").write_text(text)
    assert main(["check", flag]) == 3
    out, err = capsys.readouterr()
    assert "no target looks at" not in out
    assert f"there is no file {tmp_path}/more.json; its targets are missing here" in err


def test_the_state_is_found_where_the_exporter_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The first of the directories that has one.
    """
    nowhere = tmp_path / "nothing"
    environ = {"STATE_DIRECTORY": str(tmp_path), "HOME": str(nowhere)}
    assert kept_state(None, environ, nowhere) is None
    (tmp_path / "state.sqlite").touch()
    assert kept_state(None, environ, nowhere) == tmp_path / "state.sqlite"
    assert kept_state("x", environ, nowhere) == Path("x")
    assert kept_state(OFF, environ, nowhere) is None

    def refuse(_: Path) -> bool:
        raise PermissionError

    monkeypatch.setattr(Path, "is_file", refuse)
    assert kept_state(None, environ, nowhere) is None


def test_a_file_that_is_no_state_has_no_lists(tmp_path: Path) -> None:
    """
    Nor one that is not there, which is not made either.
    """
    assert read_lists(tmp_path / "nothing") == {}
    assert not (tmp_path / "nothing").exists()
    (tmp_path / "text").write_text("text")
    assert read_lists(tmp_path / "text") == {}
