"""
Files that targets name: when they are read, and what becomes of those on a file system that hangs.
"""

import asyncio
import os
import ssl
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from exporter.model.errors import ProbeError
from exporter.model.reasons import Reason
from exporter.model.targets import Target
from exporter.model.urls import parse_url
from exporter.net.file_threads import HUNG_TOGETHER, THREADS
from exporter.net.named_files import LIMIT, SYSTEM_FILES, NamedFiles, system_file
from tests.support.hung_mount import hung_mount


def run(work: Callable[[NamedFiles], Coroutine[Any, Any, None]]) -> None:
    """
    Some work with the files of a process.
    """

    async def main() -> None:
        with closing(NamedFiles(asyncio.get_running_loop())) as files:
            await work(files)

    asyncio.run(main())


def naming(path: Path) -> Target:
    """
    A target whose trust anchors are in this file.
    """
    url = "https://www.example.com"
    return Target(parse_url(url), url, ca_file=str(path))


async def swept(files: NamedFiles, path: Path) -> bytes:
    """
    The content of a file as a new sweep finds it. Raises ProbeError.
    """
    files.begin(())
    await files.ready(naming(path))
    return files.content(str(path))


def test_a_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    """
    At the next sweep, not in the middle of one; one that stays is the same object.
    """
    path = tmp_path / "ca.pem"

    async def work(files: NamedFiles) -> None:
        path.write_bytes(b"one")
        first = await swept(files, path)
        assert first == b"one"
        assert await swept(files, path) is first
        path.write_bytes(b"other")
        await files.ready(naming(path))
        assert files.content(str(path)) is first
        assert await swept(files, path) == b"other"

    run(work)


def test_a_file_of_the_same_size_and_date_is_read_again(tmp_path: Path) -> None:
    """
    Deployments that set dates (rsync, tar, container images) can't hide a change.
    """
    path = tmp_path / "ca.pem"

    async def work(files: NamedFiles) -> None:
        path.write_bytes(b"one")
        assert await swept(files, path) == b"one"
        old = path.stat()
        while path.stat().st_ctime_ns == old.st_ctime_ns:
            path.write_bytes(b"two")
        os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
        assert await swept(files, path) == b"two"

    run(work)


def test_what_is_no_file_says_so_until_it_is_one(tmp_path: Path) -> None:
    """
    What is missing, a directory, what is too large, and a pipe, which is not opened: nobody writes to it.
    """
    path = tmp_path / "ca.pem"

    async def fails(files: NamedFiles, reason: Reason) -> None:
        with pytest.raises(ProbeError) as caught:
            await swept(files, path)
        assert caught.value.reason is reason
        assert str(path) in caught.value.detail

    async def work(files: NamedFiles) -> None:
        with pytest.raises(ProbeError, match="not read yet"):
            files.content(str(path))
        await fails(files, Reason.FILE_NOT_FOUND)
        os.mkfifo(path)
        await fails(files, Reason.NOT_A_FILE)
        path.unlink()
        path.mkdir()
        await fails(files, Reason.NOT_A_FILE)
        path.rmdir()
        path.write_bytes(b"here")
        assert await swept(files, path) == b"here"
        os.truncate(path, LIMIT + 1)
        await fails(files, Reason.FILE_TOO_LARGE)

    run(work)


def test_a_mount_that_hangs_holds_up_no_other_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    A hundred files on it take a few threads; one that was read before keeps its content, and that is logged.
    """
    mount, here = tmp_path / "mount", tmp_path / "here.pem"
    mount.mkdir()
    here.write_bytes(b"here")
    (mount / "before.pem").write_bytes(b"before")
    there = [str(mount / f"{number}.pem") for number in range(100)]

    async def work(files: NamedFiles) -> None:
        assert await swept(files, mount / "before.pem") == b"before"
        with hung_mount(mount) as end:
            files.begin(there)
            assert await asyncio.wait_for(swept(files, here), 10) == b"here"
            await asyncio.wait_for(asyncio.gather(*(files.ready(naming(Path(one))) for one in there)), 30)
            for path in there:
                with pytest.raises(ProbeError, match="the file system did not answer for") as caught:
                    files.content(path)
                assert caught.value.reason is Reason.TIMEOUT
            assert len(files._threads.hung) <= HUNG_TOGETHER + THREADS
            for _ in range(3):
                assert await asyncio.wait_for(swept(files, mount / "before.pem"), 10) == b"before"
            end()
            while files._threads.hung:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.01)
            with pytest.raises(ProbeError) as caught:
                await swept(files, mount / "before.pem")
            assert caught.value.reason is Reason.FILE_UNREADABLE
        assert await swept(files, mount / "before.pem") == b"before"

    run(work)
    assert [one.getMessage() for one in caplog.records] == [
        "a file system does not answer: what was read before is used"
    ]


def test_the_environment_says_where_the_systems_anchors_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    `SSL_CERT_FILE`, as for OpenSSL; if that file exists.
    """
    path = tmp_path / "ca.pem"
    path.touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    assert system_file() == str(path)


def test_without_the_environment_the_interpreter_and_the_distribution_say_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A file that is not there is passed over.
    """
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    assert system_file() in {ssl.get_default_verify_paths().cafile, *SYSTEM_FILES}
