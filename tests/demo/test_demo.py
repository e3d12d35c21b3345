"""
The demo's endpoints, looked at with another implementation: `openssl s_client`.
"""

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from exporter.demo import endpoints
from exporter.model.targets import Target
from tests.support.certificates import DAY, NOW

TIME_LEFT = {
    "healthy": 75 * DAY,
    "renewal-late": 20 * DAY,
    "two-days-left": 2 * DAY,
    "expired": -3 * DAY,
}


@contextlib.asynccontextmanager
async def demonstration(directory: Path) -> AsyncIterator[endpoints.Demo]:
    """
    The demo, closed at the end.
    """
    running = await endpoints.start(NOW, str(directory))
    try:
        yield running
    finally:
        await running.close()


def named(running: endpoints.Demo, name: str) -> Target:
    """
    The target of this name.
    """
    return next(target for target in running.targets if target.name == name)


async def s_client(target: Target, *options: str, at: float = NOW) -> tuple[int, str]:
    """
    The exit status and the output of a client that verifies everything at the time `at`.
    """
    assert target.server_name is not None
    assert target.ca_file is not None
    process = await asyncio.create_subprocess_exec(
        "openssl",
        "s_client",
        *("-connect", target.url.authority, "-servername", target.server_name),
        *("-verify_hostname", target.server_name, "-verify_return_error", "-CAfile", target.ca_file),
        *("-attime", f"{at:.0f}", "-showcerts", "-ign_eof", *options),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def open_connection(target: Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """
    A plain TCP connection to the target.
    """
    return await asyncio.open_connection(target.url.host, target.url.port)


SHOWS = {
    "healthy": "Verify return code: 0 (ok)",
    "renewal-late": "Verify return code: 0 (ok)",
    "two-days-left": "Verify return code: 0 (ok)",
    "expired": "certificate has expired",
    "not-yet-valid": "certificate is not yet valid",
    "wrong-name": "hostname mismatch",
    "untrusted": "unable to get local issuer certificate",
    "missing-intermediate": "unable to get local issuer certificate",
    "client-certificate": "alert certificate required",
    "refused": "Connection refused",
}


@pytest.mark.parametrize(("name", "said"), SHOWS.items())
def test_each_endpoint_shows_what_its_name_says(tmp_path: Path, name: str, said: str) -> None:
    """
    A client that verifies names, chain and time succeeds or fails in the way that the name tells.
    """

    async def look() -> tuple[int, str]:
        async with demonstration(tmp_path) as running:
            return await s_client(named(running, name))

    status, output = asyncio.run(look())
    assert said in output
    assert (status == 0) == ("(ok)" in said)


@pytest.mark.parametrize(("name", "presented"), [("untrusted", 2), ("missing-intermediate", 1)])
def test_chains_have_the_length_that_explains_the_fault(tmp_path: Path, name: str, presented: int) -> None:
    """
    Unknown root and missing intermediate look the same to a client; what was presented differs.
    """

    async def look() -> str:
        async with demonstration(tmp_path) as running:
            return (await s_client(named(running, name)))[1]

    assert asyncio.run(look()).count("BEGIN CERTIFICATE") == presented


@pytest.mark.parametrize(("name", "left"), TIME_LEFT.items())
def test_certificates_end_when_they_should(tmp_path: Path, name: str, left: float) -> None:
    """
    Each is good a second before its end, and no longer a second after it.
    """

    async def look() -> list[bool]:
        async with demonstration(tmp_path) as running:
            # Not at the end itself: openssl calls the last second of validity expired.
            moments = (NOW + left - 1, NOW + left + 1)
            return [(await s_client(named(running, name), at=moment))[0] == 0 for moment in moments]

    assert asyncio.run(look()) == [True, False]


def test_targets_are_ready_to_be_probed(tmp_path: Path) -> None:
    """
    All are distinct, on loopback, judged by the demo's root, and each is covered by a test here.
    """

    async def look() -> endpoints.Demo:
        async with demonstration(tmp_path) as running:
            return running

    targets = asyncio.run(look()).targets
    assert {target.name for target in targets} == {*SHOWS, "silent"}
    assert len({target.url.port for target in targets}) == len(targets)
    for target in targets:
        assert target.url.host == "127.0.0.1"
        assert target.server_name == f"{target.name}.demo.example"
        assert target.ca_file == str(tmp_path / "demo-root.pem")


def test_no_private_key_is_left_on_disk(tmp_path: Path) -> None:
    """
    While the demo runs, its directory has the root's certificate and nothing else.
    """

    def read() -> dict[str, str]:
        return {file.name: file.read_text(encoding="ascii") for file in tmp_path.iterdir()}

    async def look() -> dict[str, str]:
        async with demonstration(tmp_path):
            return read()

    files = asyncio.run(look())
    assert files.keys() == {"demo-root.pem"}
    assert "PRIVATE KEY" not in files["demo-root.pem"]


def test_the_silent_endpoint_accepts_and_says_nothing(tmp_path: Path) -> None:
    """
    The client's words are taken, and there is no answer until the demo ends.
    """

    async def look() -> bytes:
        async with demonstration(tmp_path) as running:
            reader, writer = await open_connection(named(running, "silent"))
            writer.write(b"hello")
            await writer.drain()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.2)
        said = await reader.read()
        writer.close()
        return said

    assert asyncio.run(look()) == b""


def test_bad_clients_make_no_noise(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    Garbage, a hang-up and a reset log nothing, and the endpoint goes on serving.
    """

    async def look() -> int:
        async with demonstration(tmp_path) as running:
            target = named(running, "healthy")
            reader, writer = await open_connection(target)
            writer.write(b"GET / HTTP/1.0\r\n\r\n")
            await reader.read()
            writer.close()
            _, writer = await open_connection(target)
            writer.close()
            with socket.create_connection((target.url.host, target.url.port)) as rude:
                rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return (await s_client(target))[0]

    assert asyncio.run(look()) == 0
    assert caplog.messages == []


def test_closing_is_quick_and_complete(tmp_path: Path) -> None:
    """
    Open connections don't delay it, no task is left, nothing listens any more, and a second call is harmless.
    """

    async def look() -> tuple[float, set[str], list[Target]]:
        async with contextlib.AsyncExitStack() as clients:
            running = await endpoints.start(NOW, str(tmp_path))
            for name in ("healthy", "silent", "client-certificate"):
                _, writer = await open_connection(named(running, name))
                clients.callback(writer.close)
            began = time.monotonic()
            await running.close()
            await running.close()
            took = time.monotonic() - began
            tasks = {task.get_name() for task in asyncio.all_tasks() - {asyncio.current_task()}}
        listening = []
        for target in running.targets:
            with contextlib.suppress(ConnectionRefusedError):
                _, writer = await open_connection(target)
                writer.close()
                listening.append(target)
        return took, tasks, listening

    took, tasks, listening = asyncio.run(look())
    assert took < 1
    assert tasks == set()
    assert listening == []


@pytest.mark.parametrize("turns", range(5))
def test_a_connection_that_comes_while_closing_is_dropped(tmp_path: Path, turns: int) -> None:
    """
    However far the event loop got with it, the client is not left waiting.
    """

    async def look() -> bytes:
        running = await endpoints.start(NOW, str(tmp_path))
        target = named(running, "silent")
        with socket.create_connection((target.url.host, target.url.port)) as client:
            for _ in range(turns):
                await asyncio.sleep(0)
            await running.close()
            client.setblocking(False)
            with contextlib.suppress(ConnectionResetError):
                return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 1), 5)
            return b""

    assert asyncio.run(look()) == b""
