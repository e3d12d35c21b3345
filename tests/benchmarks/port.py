"""
What a crowd at the port costs a scrape: requests with TLS and a password, 500 a second.
"""

import asyncio
import ssl
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import aiohttp
import bcrypt

from tests.benchmarks import fleet as fleets
from tests.benchmarks.fleet import Fleet
from tests.benchmarks.row import Row, Sizes
from tests.support.processes import free_port, listening, running

PASSWORD = "benchmark"

RATE = 500
"""Requests a second."""

PAUSE = 1.0
"""Seconds between two scrapes."""


def port(command: Sequence[str], nginx: Fleet, sizes: Sizes) -> Iterator[Row]:
    """
    Scrapes alone, then beside the crowd, which is a process of its own and asks whether it is healthy.
    """
    web = nginx.directory / "web.yml"
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(10)).decode("ascii")
    web.write_text(
        "tls_server_config: {cert_file: chain.pem, key_file: key.pem}\n"
        f"basic_auth_users: {{prometheus: {hashed}}}\n",
        encoding="utf-8",
    )
    configuration = fleets.configuration(nginx.directory, nginx.endpoints(sizes.some), nginx.ca_file)
    number = free_port()
    flags = [f"--config.file={configuration}", f"--web.config.file={web}"]
    argv = [*command, *flags, f"--web.listen-address=127.0.0.1:{number}"]
    seconds = sizes.crowd
    crowd = [sys.executable, "-m", "tests.benchmarks.port", str(number), str(nginx.ca_file), str(seconds)]
    with running(argv, ready=listening(number), cwd=fleets.REPOSITORY):
        alone = asyncio.run(_scrapes(number, nginx.ca_file, seconds / 4))
        with running(crowd, cwd=fleets.REPOSITORY) as it:
            beside = asyncio.run(_scrapes(number, nginx.ca_file, seconds))
            it.wait(60 + seconds)
            asked, answered, slowest = map(float, it.output().split()[-3:])
    what = f"{RATE} requests a second with TLS and a password for {seconds} s"
    yield Row(f"{what}: asked", asked / seconds, "/s")
    yield Row(f"{what}: share that is answered", answered / asked, "", at_least=1.0)
    yield Row(f"{what}: slowest answer", slowest, "s")
    yield Row(
        f"{what}: scrape of {sizes.some} targets beside it and without",
        median(beside),
        "s",
        median(alone),
        median(beside) / median(alone),
        # Unaffected, but for what the crowd itself takes of the processors that it shares with the exporter.
        at_most=1.2,
    )
    yield Row(f"{what}: slowest scrape beside it", max(beside), "s", at_most=10)


async def _scrapes(number: int, ca_file: Path, seconds: float) -> list[float]:
    """
    Seconds of each scrape, one after the other, for so long. The first is not counted: it is a cold one.
    """
    taken: list[float] = []
    async with _session(number, ca_file) as session:
        end = time.monotonic() + seconds
        while time.monotonic() < end or len(taken) < 2:
            began = time.monotonic()
            async with session.get("/metrics") as answer:
                answer.raise_for_status()
                await answer.read()
            taken.append(time.monotonic() - began)
            await asyncio.sleep(PAUSE)
    return taken[1:]


def _session(number: int, ca_file: Path) -> aiohttp.ClientSession:
    context = ssl.create_default_context(cafile=str(ca_file))
    return aiohttp.ClientSession(
        f"https://127.0.0.1:{number}",
        connector=aiohttp.TCPConnector(ssl=context, limit=50),
        auth=aiohttp.BasicAuth("prometheus", PASSWORD),
        timeout=aiohttp.ClientTimeout(total=10),
    )


async def _crowd(number: int, ca_file: Path, seconds: float) -> str:
    """
    Ask at an even rate, whatever is answered; how many were asked and answered, and the slowest in seconds.
    """
    taken: list[float] = []
    async with _session(number, ca_file) as session:

        async def ask() -> None:
            began = time.monotonic()
            try:
                async with session.get("/-/healthy") as answer:
                    answer.raise_for_status()
                    await answer.read()
            except (aiohttp.ClientError, TimeoutError):
                return
            taken.append(time.monotonic() - began)

        await ask()
        taken.clear()
        asked: list[asyncio.Task[None]] = []
        began = time.monotonic()
        while (over := time.monotonic() - began) < seconds:
            asked += [asyncio.create_task(ask()) for _ in range(int(over * RATE) - len(asked))]
            await asyncio.sleep(0.01)
        await asyncio.gather(*asked)
    return f"{len(asked)} {len(taken)} {max(taken, default=0.0):.3f}"


if __name__ == "__main__":
    print(asyncio.run(_crowd(int(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))))
