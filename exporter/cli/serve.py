"""
`serve`, the default command: the server with its signals, from start to end.
"""

import argparse
import asyncio
import contextlib
import errno
import logging
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from aiohttp import web

from exporter.cli.early import was_reload_asked
from exporter.cli.state_path import state_path
from exporter.config import values
from exporter.config.reader import load
from exporter.config.schema import Settings
from exporter.config.settings import Config
from exporter.engine.collector import calm_collector
from exporter.engine.descriptors import client_slots
from exporter.engine.gates import Limits
from exporter.engine.open_files import fitting
from exporter.logs import fields
from exporter.model.hosts import join_host_port
from exporter.net import event_loop
from exporter.net.calm import Rests
from exporter.server.app import application
from exporter.server.clients import Clients
from exporter.server.loops import LoopThread
from exporter.server.own_certificate import load_at
from exporter.server.port import Port
from exporter.server.service import Options, Service
from exporter.yaml_lines import ConfigError

logger = logging.getLogger(__name__)


DEFAULT_ADDRESS = (None, 10119)
"""Host (None: all addresses of this machine) and port."""


OWN_CERTIFICATE = "the exporter's own port"
"""The name of the target that is added for the certificate of a web configuration."""


SHUTDOWN_TIMEOUT = 0.3
"""Seconds that responses under way get when the process is told to stop. Clients will ask again."""


STOP_TIMEOUT = 3.0
"""Seconds after which a process that was told to stop ends, whatever still hangs."""


SWITCH_INTERVAL = 0.000_1
"""Seconds that a thread may keep the interpreter from the others (Python's own choice is 0.005).

The event loop gives it up with every system call: this is what it waits beside a thread that is busy.
"""


READING_AT_ONCE = 0.001
"""Seconds of reading the configuration again between two rests: it may take seconds, and can wait."""


READING_RESTS = 9.0
"""How many times as long such a rest is."""


LINGERING = 1.0
"""Seconds within which the rest of an unwanted request body may come."""


def run(options: argparse.Namespace) -> int:
    """
    Serve until a signal says to stop, or check the configuration only, and return the exit code.
    """
    if not 0 <= options.shard_index < options.shard_total:
        return fail(f"--shard.index {options.shard_index} is not from 0 to {options.shard_total - 1}")
    if options.config_check:
        return _check_config(options.config_file, options.web_config)

    try:
        port = Port(options.web_config, options.external_url, lifecycle=options.lifecycle)

        def configuration() -> Config:
            rests = Rests(READING_AT_ONCE, READING_RESTS)
            config = load(options.config_file, os.environ, pause=rests.take)
            total: int = options.shard_total
            index: int = options.shard_index

            def is_mine(name: str) -> bool:
                return shard(name, total) == index

            mine = tuple(one for one in config.targets if is_mine(one.name))
            return replace(config, targets=mine, is_mine=is_mine)

        event_loop.run(start(options, configuration, port)).cancel()
    except (ConfigError, ListenError) as error:
        return fail(str(error))
    return 0


def shard(name: str, total: int) -> int:
    """
    Return the replica that probes a target: the same for every replica, version and machine.

    The one with the highest hash of name and replica (rendezvous hashing): with one replica more, only the
    targets that it gets are moved.
    """
    named = name.encode("utf-8")
    return max(range(total), key=lambda index: sha256(b"%d %s" % (index, named)).digest())


def with_own_certificate(config: Config, port: Port) -> Config:
    """
    Return the configuration with the port's own certificate as a target, unless it is one already.
    """
    if port.config.tls is None:
        return config
    url = values.url(f"file://{Path(port.config.tls.certificate).absolute()}")
    if any(one.url == url or one.name == OWN_CERTIFICATE for one in config.targets):
        return config
    own = config.target(url, OWN_CERTIFICATE, Settings())
    return replace(config, targets=(*config.targets, own))


def _check_config(file: str, web_config: str | None) -> int:
    try:
        config = load(file, os.environ)
        web_warnings = load_at(web_config, time.time()).warnings if web_config is not None else ()
    except ConfigError as error:
        return fail(str(error))
    for warning in web_warnings:
        sys.stderr.write(f"warning: {warning}\n")
    for warning in config.warnings:
        sys.stderr.write(f"warning: {warning}\n")
    count = len(config.targets)
    sys.stdout.write(f"{file}: good, {count} target{'' if count == 1 else 's'}\n")
    return 0


def fail(message: str) -> int:
    """
    Print why the command ends, and return its exit code.
    """
    sys.stderr.write(f"{message}\n")
    return 1


class ListenError(Exception):
    """
    The server can't listen. The message says where, why, and what to do.
    """


async def start(
    options: argparse.Namespace, configuration: Callable[[], Config], port: Port
) -> threading.Timer:
    """
    Serve until a signal or a request says to stop. Raises ConfigError and ListenError.

    Returns the timer that ends a hanging process soon: cancel it when everything has ended.
    """
    loop = asyncio.get_running_loop()
    calm_collector()
    sys.setswitchinterval(SWITCH_INTERVAL)
    share = f"{options.shard_index}/{options.shard_total}" if options.shard_total > 1 else ""
    path = state_path(options.state_path, share, os.environ)
    limits = Limits(options.per_address, options.per_address_rate)
    chosen = Options(
        fitting(options.concurrency),
        path,
        options.external_url,
        share,
        options.processes,
        limits,
        options.compat or frozenset(),
    )

    def complete(config: Config) -> Config:
        return with_own_certificate(config, port)

    service = Service(configuration, chosen, loop, complete=complete)
    service.start()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    tasks: set[asyncio.Task[None]] = set()

    def begin(work: Coroutine[None, None, None]) -> None:
        task = loop.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    thread = LoopThread("port")
    loop.add_signal_handler(signal.SIGHUP, lambda: begin(_reload(service, port, thread)))
    if was_reload_asked():
        begin(_reload(service, port, thread))

    def complete_again() -> None:
        # Called in the port's loop.
        loop.call_soon_threadsafe(lambda: begin(service.complete_again()))

    port.on_certificate = complete_again
    server = _Server(service, port, lambda: loop.call_soon_threadsafe(stop.set))
    try:
        await thread.run(server.open(_places(options), options.timeout_offset))
        await stop.wait()
        logger.info("stopping")
        last = threading.Timer(STOP_TIMEOUT, _end)
        last.daemon = True
        last.start()
    finally:
        await thread.run(server.close())
        await thread.close()
        await service.close()
    return last


class _Server:
    """
    The web server. All of it is done in the port's loop.
    """

    def __init__(self, service: Service, port: Port, stop: Callable[[], object]) -> None:
        """
        `stop` ends the process.
        """
        self._service, self._port, self._stop = service, port, stop
        self._ending = contextlib.AsyncExitStack()

    async def open(self, places: Iterable[tuple[str | None, int] | socket.socket], offset: float) -> None:
        """
        Listen at these places. `offset` (seconds) is subtracted from each scrape's timeout.

        Raises ListenError.
        """
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        clients = Clients(client_slots(limit), accepts=self._port.accepts)
        runner = web.AppRunner(
            application(self._service, offset, clients, self._port, self._stop),
            access_log=None,
            shutdown_timeout=SHUTDOWN_TIMEOUT,
            keepalive_timeout=clients.patience.idle,
            lingering_time=LINGERING,
        )
        self._ending.push_async_callback(clients.end)
        self._ending.push_async_callback(runner.cleanup)
        self._ending.callback(self._port.close)
        await runner.setup()
        assert runner.server is not None
        for where in places:
            listening = await _listen(clients, runner.server, where, self._port)
            self._ending.push_async_callback(clients.stop_listening, listening)
        self._ending.callback(asyncio.get_running_loop().create_task(clients.watch()).cancel)

    async def close(self) -> None:
        """
        Listen no more, and end what is under way.
        """
        await self._ending.aclose()


def _end() -> None:
    """
    End the process: it was told to stop, and a part of it hangs.
    """
    logger.error(
        "it did not stop in time and was ended: something hangs, as a disk or a resolver may; what was seen "
        "last may not be saved"
    )
    os._exit(1)


async def _reload(service: Service, port: Port, thread: LoopThread) -> None:
    await thread.run(port.reload())
    # The service has logged the error, and keeps the present configuration.
    with contextlib.suppress(ConfigError):
        await service.reload()


def _places(options: argparse.Namespace) -> list[tuple[str | None, int] | socket.socket]:
    """
    Return where to listen: addresses, or the sockets that systemd passed. Raises ListenError.
    """
    if not options.systemd_socket:
        return list(options.listen_address or [DEFAULT_ADDRESS])
    # sd_listen_fds(3): the descriptors follow the three standard ones.
    passed = os.environ.pop("LISTEN_FDS", "")
    if os.environ.pop("LISTEN_PID", "") != str(os.getpid()) or not passed.isdigit() or int(passed) == 0:
        raise ListenError(
            "--web.systemd-socket is set, but systemd passed no socket: start the .socket unit, whose name "
            "must be that of the .service unit, or remove the flag"
        )
    return [socket.socket(fileno=3 + number) for number in range(int(passed))]


async def _listen(
    clients: Clients,
    server: Callable[[], asyncio.Protocol],
    where: tuple[str | None, int] | socket.socket,
    port: Port,
) -> asyncio.Server:
    try:
        listening = await clients.listen(server, where, port.context)
    except OSError as error:
        shown = "a socket of systemd" if isinstance(where, socket.socket) else f"{where[0] or ''}:{where[1]}"
        if error.errno == errno.EADDRINUSE:
            raise ListenError(
                f"can't listen on {shown}: another process does already. Stop it (ss -ltnp shows which), "
                "or choose another port with --web.listen-address"
            ) from error
        raise ListenError(f"can't listen on {shown}: {error.strerror or error}") from error
    # With port 0 the system chooses: log its choice.
    for one in listening.sockets:
        name = one.getsockname()
        if one.family == socket.AF_UNIX:
            logger.info("listening", extra=fields(address=name))
            continue
        everywhere = name[0] in {"0.0.0.0", "::"}  # noqa: S104 - compared
        shown = join_host_port("localhost" if everywhere else name[0], name[1])
        logger.info(
            "listening",
            extra=fields(address=join_host_port(name[0], name[1]), url=f"{port.scheme}://{shown}/"),
        )
    return listening
