"""
Trust anchors: which file, and when it is read again.
"""

import os
from pathlib import Path

import pytest

from exporter.demo.minter import Minted
from exporter.net.regular_files import read
from exporter.pki.anchors import AnchorFiles
from exporter.pki.trust import Anchors


def now_in(path: str) -> bytes:
    """
    What is in a file now. Raises ProbeError.
    """
    return read(path, 100_000)[0]


@pytest.fixture
def path(tmp_path: Path, ca: Minted) -> Path:
    """
    A file with one anchor.
    """
    file = tmp_path / "ca.pem"
    file.write_bytes(ca.pem)
    return file


def test_a_file_that_stays_is_read_once(path: Path) -> None:
    """
    The same object, so that verdicts made of it hold.
    """
    files = AnchorFiles(now_in, "")
    first = files.anchors(str(path))
    assert first.store is not None
    assert len(first.store.anchors) == 1
    assert files.anchors(str(path)) is first


def test_a_file_that_changes_is_read_again(path: Path, ca: Minted) -> None:
    """
    It is another object then.
    """
    files = AnchorFiles(now_in, "")
    files.anchors(str(path))
    assert ca.issuer is not None
    path.write_bytes(ca.pem + ca.issuer.pem)
    second = files.anchors(str(path))
    assert second.store is not None
    assert len(second.store.anchors) == 2


def test_a_missing_file_is_said_once_and_read_when_it_comes(
    tmp_path: Path, ca: Minted, caplog: pytest.LogCaptureFixture
) -> None:
    """
    The problem names the file and the cause.
    """
    files, late = AnchorFiles(now_in, ""), tmp_path / "late.pem"
    for _ in range(3):
        found = files.anchors(str(late))
        assert found == Anchors(None, f"the trust anchors can't be read: there is no file {late}")
    assert len(caplog.records) == 1
    late.write_bytes(ca.pem)
    assert files.anchors(str(late)).store is not None
    late.unlink()
    assert files.anchors(str(late)).store is None
    assert len(caplog.records) == 2


@pytest.mark.parametrize("content", [b"", b"no certificate", b"\xff\x00"])
def test_a_file_without_anchors_says_so(tmp_path: Path, content: bytes) -> None:
    """
    It is not taken for a store that trusts nobody.
    """
    file = tmp_path / "bad.pem"
    file.write_bytes(content)
    found = AnchorFiles(now_in, "").anchors(str(file))
    assert found.store is None
    assert found.problem.startswith(f"no usable trust anchors in {file}: ")


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    """
    A common mistake: OpenSSL's -CApath.
    """
    found = AnchorFiles(now_in, "").anchors(str(tmp_path))
    assert found.problem.startswith(f"the trust anchors can't be read: {tmp_path} is a directory")


def test_a_target_without_a_file_of_its_own_has_the_systems(path: Path) -> None:
    """
    The same object as for whoever names it.
    """
    files = AnchorFiles(now_in, str(path))
    assert files.anchors(None) is files.anchors(str(path))


def test_a_pipe_holds_no_anchors(tmp_path: Path) -> None:
    """
    It is refused, not opened: nobody may ever write to it.
    """
    pipe = tmp_path / "ca.pem"
    os.mkfifo(pipe)
    found = AnchorFiles(now_in, "").anchors(str(pipe))
    assert found.store is None
    assert "is a pipe" in found.problem
