"""
Trust anchors: which file, and when it is read again.
"""

import os
import ssl
from pathlib import Path

import pytest

from exporter.demo.minter import Minted
from exporter.pki.anchors import SYSTEM_FILES, AnchorFiles, system_file
from exporter.pki.trust import Anchors
from tests.support.certificates import authority


def read(files: AnchorFiles, path: Path) -> Anchors:
    """
    The anchors as a new sweep finds them.
    """
    files.begin()
    return files.anchors(str(path))


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
    files = AnchorFiles()
    first = read(files, path)
    assert first.store is not None
    assert len(first.store.anchors) == 1
    assert read(files, path) is first


def test_a_file_that_changes_is_read_again(path: Path, ca: Minted) -> None:
    """
    At the next sweep, not in the middle of one.
    """
    files = AnchorFiles()
    first = read(files, path)
    assert ca.issuer is not None
    path.write_bytes(ca.pem + ca.issuer.pem)
    assert files.anchors(str(path)) is first
    second = read(files, path)
    assert second.store is not None
    assert len(second.store.anchors) == 2


def test_a_file_of_the_same_size_and_date_is_read_again(path: Path) -> None:
    """
    Deployments that set dates (rsync, tar, container images) can't hide a change.
    """
    files = AnchorFiles()
    read(files, path)
    old = path.stat()
    other = authority("Best")
    while len(other.pem) != old.st_size:
        other = authority("Best")
    path.write_bytes(other.pem)
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
    store = read(files, path).store
    assert store is not None
    assert [one.der for one in store.anchors] == [other.der]


def test_a_missing_file_is_said_once_and_read_when_it_comes(
    tmp_path: Path, ca: Minted, caplog: pytest.LogCaptureFixture
) -> None:
    """
    The problem names the file and the cause.
    """
    files, late = AnchorFiles(), tmp_path / "late.pem"
    for _ in range(3):
        found = read(files, late)
        assert found == Anchors(None, f"can't read the trust anchors in {late}: No such file or directory")
    assert len(caplog.records) == 1
    late.write_bytes(ca.pem)
    assert read(files, late).store is not None
    late.unlink()
    assert read(files, late).store is None
    assert len(caplog.records) == 2


@pytest.mark.parametrize("content", [b"", b"no certificate", b"\xff\x00"])
def test_a_file_without_anchors_says_so(tmp_path: Path, content: bytes) -> None:
    """
    It is not taken for a store that trusts nobody.
    """
    file = tmp_path / "bad.pem"
    file.write_bytes(content)
    found = read(AnchorFiles(), file)
    assert found.store is None
    assert found.problem.startswith(f"no usable trust anchors in {file}: ")


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    """
    A common mistake: OpenSSL's -CApath.
    """
    found = read(AnchorFiles(), tmp_path)
    assert found.problem == f"can't read the trust anchors in {tmp_path}: Is a directory"


def test_the_environment_says_where_the_systems_anchors_are(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    `SSL_CERT_FILE`, as for OpenSSL; if that file exists.
    """
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    assert system_file() == str(path)
    files = AnchorFiles()
    files.begin()
    assert files.anchors(None) is files.anchors(str(path))


def test_without_the_environment_the_interpreter_and_the_distribution_say_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A file that is not there is passed over.
    """
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    assert system_file() in {ssl.get_default_verify_paths().cafile, *SYSTEM_FILES}


def test_a_pipe_holds_no_anchors(tmp_path: Path) -> None:
    """
    It is refused, not opened: nobody may ever write to it.
    """
    pipe = tmp_path / "ca.pem"
    os.mkfifo(pipe)
    found = AnchorFiles().anchors(str(pipe))
    assert found.store is None
    assert "it is no regular file" in found.problem
