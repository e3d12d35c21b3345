"""
Work in a process of its own: reading what is large keeps neither the event loop nor the interpreter lock.

The process is a module of this package. It is told what to do in one line on its standard input, answers in
lines, and ends with one that begins with `.`, or with `!` and what failed, for a person.
"""

import asyncio
import contextlib
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator

MEMORY = 1 << 30
"""Bytes of address space of such a process."""


FILES = 64
"""Open files: more mean that files include each other in a circle."""


TIME = 600
"""Seconds that it may take."""


LINE = 1 << 16
"""Bytes of one line of the answer."""


SLICE = 500
"""Lines that are taken before others get their turn on the event loop."""


class ApartError(Exception):
    """
    The work failed. The message is for a person.
    """


async def lines(module: str, told: bytes) -> AsyncIterator[str]:
    """
    Yield the lines that the module answers. Raises ApartError. The process is killed when nobody listens any
    more.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=LINE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        # A process that ended early is told of below.
        with contextlib.suppress(OSError):
            process.stdin.write(told)
            await process.stdin.drain()
            process.stdin.close()
        count = 0
        async for line in process.stdout:
            text = line.decode("utf-8", "replace").rstrip("\n")
            if text == ".":
                return
            if text.startswith("!"):
                raise ApartError(text[1:])
            yield text
            count += 1
            if count % SLICE == 0:
                await asyncio.sleep(0)
        code = await process.wait()
        raise ApartError(
            f"it took more than {TIME} s"
            if code == -signal.SIGALRM
            else f"it took more than {MEMORY >> 20} MiB of memory, or was killed (status {code})"
        )
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def answer(work: Callable[[bytes], Iterator[str]], *failures: type[Exception]) -> None:
    """
    Do the work of such a process: write the lines that it yields. The failures have messages for a person.
    """
    # A service or a container may not be let change it, as by SystemCallFilter=~@resources.
    with contextlib.suppress(OSError):
        os.nice(10)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(TIME)
    try:
        for line in work(sys.stdin.buffer.read()):
            sys.stdout.write(f"{line}\n")
        last = "."
    except failures as error:
        last = f"!{error}"[: LINE // 8]
    sys.stdout.write(" ".join(last.split("\n")) + "\n")
    sys.stdout.flush()
