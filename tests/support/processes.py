"""
Real processes for tests and benchmarks: started, waited for, measured, and always ended.
"""

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
OUTPUT_SHOWN = 4000
"""How many characters of a process's last output an error shows."""

_LEAST_PAUSE, _MOST_PAUSE = 0.01, 0.1
"""Seconds between two looks at what is waited for."""


class ProcessError(RuntimeError):
    """
    A process that ended early, or was not ready in time. The message has the end of its output.
    """


@dataclass(frozen=True, slots=True)
class Running:
    """
    A process that is ready.
    """

    process: subprocess.Popen[bytes]
    output_file: Path

    @property
    def pid(self) -> int:
        """
        The process's id.
        """
        return self.process.pid

    def output(self) -> str:
        """
        All that the process wrote to standard output and standard error so far.
        """
        return self.output_file.read_text(encoding="utf-8", errors="replace")

    def signal(self, number: signal.Signals) -> None:
        """
        Send the process a signal.
        """
        self.process.send_signal(number)

    def wait(self, deadline: float = 10.0) -> int:
        """
        The exit status, once the process has ended. Raises TimeoutExpired after `deadline` seconds.
        """
        return self.process.wait(deadline)


@contextlib.contextmanager
def running(
    argv: Sequence[str | Path],
    *,
    ready: Callable[[], bool] = lambda: True,
    deadline: float = 20.0,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[Running]:
    """
    A process that lives as long as the `with` block, which is entered when `ready()` is true.

    `env` is added to this process's environment. An exception from the block gets the end of the
    process's output as a note. Raises ProcessError when the process ends before it is ready, or
    when it is not ready after `deadline` seconds.
    """
    command = [str(part) for part in argv]
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(tempfile.NamedTemporaryFile(prefix=f"{Path(command[0]).name}-"))
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            # A group of its own, so that its children can be ended with it.
            start_new_session=True,
        )
        stack.callback(_end, process)
        it = Running(process, Path(output.name))
        _wait_ready(it, command, ready, deadline)
        try:
            yield it
        except BaseException as error:
            error.add_note(_said(it, command))
            raise


def wait_until(condition: Callable[[], bool], *, deadline: float = 10.0, what: str = "the condition") -> None:
    """
    Return as soon as `condition()` is true. Raises TimeoutError, naming `what`, after `deadline` seconds.
    """
    began = time.monotonic()
    while not condition():
        waited = time.monotonic() - began
        if waited > deadline:
            raise TimeoutError(f"{what} did not come true in {deadline:g} s")
        # To look costs the processors, too: to ask a Prometheus, as much as what it does meanwhile.
        time.sleep(min(max(waited / 10, _LEAST_PAUSE), _MOST_PAUSE))


def listening(port: int, host: str = "127.0.0.1") -> Callable[[], bool]:
    """
    A readiness check: something accepts TCP connections there.
    """

    def ready() -> bool:
        try:
            socket.create_connection((host, port), timeout=1).close()
        except OSError:
            return False
        return True

    return ready


def answers(url: str) -> Callable[[], bool]:
    """
    A readiness check: a GET of this http URL is answered with status 200.
    """
    # Proxies from the environment must not see loopback requests.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ready() -> bool:
        try:
            with opener.open(url, timeout=5) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as error:
            error.close()
            return False
        except OSError:
            return False

    return ready


def free_port(host: str = "127.0.0.1") -> int:
    """
    A TCP port of this address that nothing listens on at the moment.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def family(pid: int) -> list[int]:
    """
    The process, and all whose parent is one of them.
    """
    found = [pid]
    for one in found:
        with contextlib.suppress(OSError):
            found += map(int, Path(f"/proc/{one}/task/{one}/children").read_text(encoding="ascii").split())
    return found


def cpu_seconds(pid: int) -> float:
    """
    User and system time of the process with its children, and all their threads, also ended ones (proc(5));
    steps of 10 ms.
    """
    return sum(map(_cpu_seconds, family(pid)))


def _cpu_seconds(pid: int) -> float:
    # The name in parentheses may hold spaces and parentheses: the fields start after the last one.
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def rss_bytes(pid: int) -> int:
    """
    Memory that the process and its children have in RAM now. What they share is counted for each.
    """
    return sum(_status_bytes(one, "VmRSS") for one in family(pid))


def peak_rss_bytes(pid: int) -> int:
    """
    The most memory that the process ever had in RAM, and that of each of its children.
    """
    return sum(_status_bytes(one, "VmHWM") for one in family(pid))


def _status_bytes(pid: int, key: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0]) * 1024
    raise ProcessError(f"process {pid} has no {key}: it has ended")


def _wait_ready(it: Running, command: list[str], ready: Callable[[], bool], deadline: float) -> None:
    end = time.monotonic() + deadline
    while True:
        # Ended is looked at first: another process may answer on its port.
        if it.process.poll() is not None:
            raise ProcessError(
                f"{command[0]} ended with status {it.process.returncode} before it was ready\n"
                + _said(it, command)
            )
        if ready():
            return
        if time.monotonic() > end:
            raise ProcessError(f"{command[0]} was not ready after {deadline:g} s\n" + _said(it, command))
        # Benchmarks measure how long a start takes.
        time.sleep(_LEAST_PAUSE)


def _said(it: Running, command: list[str]) -> str:
    return f"$ {' '.join(command)}\n{it.output()[-OUTPUT_SHOWN:].strip() or '(it wrote nothing)'}"


def _end(process: subprocess.Popen[bytes]) -> None:
    """
    SIGTERM, then SIGKILL after five seconds, for the process and what it left of its group.
    """
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
