"""
Where the state is kept when nobody says where.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from exporter.cli.state_path import OFF, state_path
from exporter.engine.state import State

NOW = 1_800_000_000.0


@contextmanager
def unwritable(path: Path) -> Iterator[Path]:
    """
    A place in which nobody can make a directory, not even root: a file.
    """
    path.write_text("", encoding="utf-8")
    yield path / "below"


def test_what_is_given_is_taken(tmp_path: Path) -> None:
    """
    Whatever the environment says; `none` and an empty path keep nothing.
    """
    environ = {"STATE_DIRECTORY": str(tmp_path)}
    assert state_path("here.sqlite", "", environ) == "here.sqlite"
    assert state_path(OFF, "", environ) is None
    assert state_path("", "", environ) is None


def test_the_directory_of_the_service_comes_first_and_the_user_s_last(tmp_path: Path) -> None:
    """
    Each only if it can be written.
    """
    service, package, users, home = (tmp_path / name for name in ("service", "package", "users", "home"))
    package.mkdir()
    environ = {
        "STATE_DIRECTORY": f"{service}:/var/lib/other",
        "XDG_STATE_HOME": str(users),
        "HOME": str(home),
    }
    assert state_path(None, "", environ, package) == str(service / "state.sqlite")
    del environ["STATE_DIRECTORY"]
    assert state_path(None, "", environ, package) == str(package / "state.sqlite")
    package.rmdir()
    assert state_path(None, "", environ, package) == str(users / "expiry-exporter" / "state.sqlite")
    environ["XDG_STATE_HOME"] = "relative"
    assert state_path(None, "", environ, package) == str(
        home / ".local" / "state" / "expiry-exporter" / "state.sqlite"
    )
    with unwritable(tmp_path / "file") as no_place:
        environ["STATE_DIRECTORY"] = str(no_place)
        assert state_path(None, "", environ, package) == str(
            home / ".local" / "state" / "expiry-exporter" / "state.sqlite"
        )


def test_shards_on_one_host_have_files_of_their_own(tmp_path: Path) -> None:
    """
    They see different targets.
    """
    environ = {"STATE_DIRECTORY": str(tmp_path)}
    assert state_path(None, "0/2", environ) == str(tmp_path / "state-0-2.sqlite")
    assert state_path(None, "1/2", environ) == str(tmp_path / "state-1-2.sqlite")


def test_no_place_for_the_state_is_said_with_what_was_tried(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    The exporter goes on without.
    """
    with unwritable(tmp_path / "file") as no_place, caplog.at_level(logging.WARNING):
        assert state_path(None, "", {"STATE_DIRECTORY": str(no_place)}, no_place) is None
    (record,) = caplog.records
    assert "--state.path" in record.message
    assert record.__dict__["fields"]["tried"] == str(no_place)


def test_a_second_process_with_the_default_says_so_and_keeps_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Until the first one has ended.
    """
    environ = {"STATE_DIRECTORY": str(tmp_path)}
    path = state_path(None, "", environ)
    assert path is not None
    first = State(path)
    first.load(NOW)
    assert state_path(None, "", environ) is None
    assert "another process keeps its state" in caplog.text
    first.close()
    assert state_path(None, "", environ) == path
