"""
Worker processes: they hold the TLS conversations of a large sweep, so that more than one processor works.

Order, limits, judgement and memory stay in this process, and so do all secrets. A worker is only ever a help:
what it does not answer, since it starts, ended or can't say, this process finds out by itself.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from exporter.engine.processors import processors
from exporter.engine.worker_process import Worker
from exporter.model.observation import Facts
from exporter.model.targets import Target
from exporter.net.network import Network
from exporter.probes import PROBES
from exporter.probes.base import Endpoint, Trace
from exporter.probes.tls import wire

FEWEST = 2500
"""Targets from which workers are of use, where the number of processes is not set: the first process alone
takes more than a second for so many. For fewer it takes an eighth less CPU time, and 50 MB less memory."""


MOST = 3
"""Workers at most, where the number of processes is not set."""


OWN = {1: 3, 2: 9}
"""By number of workers, one of how many targets the first process probes itself: then each process has about
as much to do. To ask, remember and judge costs it a quarter of a conversation: with three it has enough."""


Look = Callable[[Target, Endpoint, Network, Trace], Awaitable[Facts]]
"""As `Probe.look`."""


class Workers:
    """
    The workers of one set of targets, as many as it is worth.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, processes: int | None = None) -> None:
        """
        `processes` is the number of processes that probe, this one included; None: by the number of targets
        and of processors.
        """
        self._loop = loop
        self._processes = processes
        self._targets: tuple[Target, ...] = ()
        self._indices: dict[str, tuple[Target, int]] = {}
        """By name, the targets that workers probe. An index is never given again."""
        self._next = 0
        self._workers: list[Worker] = []
        self._ending: set[asyncio.Task[None]] = set()
        """The ends of workers that are too many."""

    @property
    def pids(self) -> list[int]:
        """
        The process ids of the workers that run.
        """
        return [one.process.pid for one in self._workers if one.process is not None]

    @property
    def ready(self) -> bool:
        """
        True when every worker answers.
        """
        return all(one.ready for one in self._workers)

    @property
    def rest(self) -> float:
        """
        Share of the time lately in which the busiest worker that answers had nothing to do; 1 without any.
        """
        return min((one.rest for one in self._workers if one.ready), default=1.0)

    def serve(self, targets: tuple[Target, ...]) -> None:
        """
        Have workers for these targets, and start those again that ended. Does little if it has them already.
        """
        if targets != self._targets:
            self._targets = targets
            self._arrange([target for target in targets if is_plain(target)])
        for worker in self._workers:
            worker.revive()

    def _arrange(self, plain: list[Target]) -> None:
        before, self._indices = self._indices, {}
        for target in plain:
            known = before.get(target.name)
            if known is not None and known[0] is target:
                self._indices[target.name] = known
            else:
                self._indices[target.name] = (target, self._next)
                self._next += 1
        count = self._wanted(len(plain))
        kept = {index for _, index in self._indices.values()}
        gone = [index for _, index in before.values() if index not in kept]
        for worker in self._workers:
            worker.forget(gone)
        for worker in self._workers[count:]:
            task = self._loop.create_task(worker.close())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
        del self._workers[count:]
        self._workers += (Worker(self._loop) for _ in range(count - len(self._workers)))

    def _wanted(self, plain: int) -> int:
        """
        Return the number of workers for this number of targets that they can probe.
        """
        if self._processes is not None:
            return min(self._processes - 1, plain)
        return min(MOST, processors() - 1) if plain >= FEWEST else 0

    def look(self, target: Target, *, shared: bool = True) -> Look | None:
        """
        Return how a worker probes the target; None when none does now, or it is one of those that this
        process probes itself where the work is `shared`.
        """
        known = self._indices.get(target.name)
        if known is None or known[0] is not target or not self._workers:
            return None
        index, count = known[1], len(self._workers)
        # Always the same one, which knows what it told last.
        worker = self._workers[index % count]
        if shared and (each := OWN.get(count)) is not None and index % each == each - 1:
            return None
        return partial(_look, worker, index) if worker.ready else None

    async def close(self) -> None:
        """
        End all workers.
        """
        await asyncio.gather(*(one.close() for one in self._workers), *self._ending)
        self._workers.clear()


def is_plain(target: Target) -> bool:
    """
    Return True for a target that workers may probe: one on the wire, without any secret.
    """
    return (
        PROBES[target.url.scheme].name == "wire"
        and target.client_certificate_file is None
        and target.proxy is None
        and target.configured
    )


def _look(
    worker: Worker, index: int, target: Target, endpoint: Endpoint, network: Network, trace: Trace
) -> Awaitable[Facts]:
    converse = partial(worker.converse, index, target, endpoint, network, trace)
    return wire.look_by(converse, target, network, trace)
