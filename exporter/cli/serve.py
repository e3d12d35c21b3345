"""
`serve`, the default command: the server with its signals, from start to end.
"""

import argparse
import asyncio
import contextlib
import errno
import gc
import logging
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256

from aiohttp import web

from exporter.config.reader import load
from exporter.config.settings import Config
from exporter.engine.descriptors import client_slots
from exporter.logs import fields
from exporter.model.urls import join_host_port
from exporter.server.app import application
from exporter.server.clients import Clients
from exporter.server.service import Options, Service
from exporter.yaml_lines import ConfigError

logger = logging.getLogger(__name__)


SHUTDOWN_TIMEOUT = 0.3
"""Seconds that responses under way get when the process is told to stop. Clients will ask again."""


STOP_TIMEOUT = 3.0
"""Seconds after which a process that was told to stop ends, whatever still hangs."""


SWITCH_INTERVAL = 0.001
"""Seconds that a thread may keep the interpreter from the others (Python's own choice is 0.005).

The event loop gives it up with every system call: this is what it waits beside a thread that is busy.
"""


LINGERING = 1.0
"""Seconds within which the rest of an unwanted request body may come."""


def run(options: argparse.Namespace) -> int:
    """
    Serve until a signal says to stop, or check the configuration only, and return the exit code.
    """
    if not 0 <= options.shard_index < options.shard_total:
        return fail(f"--shard.index {options.shard_index} is not from 0 to {options.shard_total - 1}")
    if options.config_check:
        return _check_config(options.config_file)

    def configuration() -> Config:
        config = load(options.config_file, os.environ)
        mine = [one for one in config.targets if shard(one.name, options.shard_total) == options.shard_index]
        return replace(config, targets=tuple(mine))

    try:
        asyncio.run(start(options, configuration)).cancel()
    except (ConfigError, ListenError) as error:
        return fail(str(error))
    return 0


def shard(name: str, total: int) -> int:
    """
    Return the replica that probes a target: the same for every replica, version and machine.
    """
    return int.from_bytes(sha256(name.encode("utf-8")).digest()[:8]) % total


def _check_config(file: str) -> int:
    try:
        config = load(file, os.environ)
    except ConfigError as error:
        return fail(str(error))
    for warning in config.warnings:
        sys.stderr.write(f"warning: {warning}\n")
    sys.stdout.write(f"{file}: good, {len(config.targets)} targets\n")
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


async def start(options: argparse.Namespace, configuration: Callable[[], Config]) -> threading.Timer:
    """
    Serve until a signal says to stop. Raises ConfigError and ListenError.

    Returns the timer that ends a hanging process soon: cancel it when everything has ended.
    """
    loop = asyncio.get_running_loop()
    calm_collector()
    sys.setswitchinterval(SWITCH_INTERVAL)
    service = Service(
        configuration, Options(options.concurrency, options.state_path, options.external_url), loop
    )
    service.start()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    clients = Clients(client_slots(limit))
    reloads: set[asyncio.Task[None]] = set()

    def reload() -> None:
        task = loop.create_task(_reload(service))
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGHUP, reload)
    runner = web.AppRunner(
        application(service, options.timeout_offset, clients),
        access_log=None,
        shutdown_timeout=SHUTDOWN_TIMEOUT,
        keepalive_timeout=clients.patience.idle,
        lingering_time=LINGERING,
    )
    try:
        await runner.setup()
        assert runner.server is not None
        listening = await _listen(clients, runner.server, *options.listen_address)
        watching = loop.create_task(clients.watch())
        await stop.wait()
        logger.info("stopping")
        last = threading.Timer(STOP_TIMEOUT, _end)
        last.daemon = True
        last.start()
        listening.close()
        watching.cancel()
    finally:
        await runner.cleanup()
        await service.close()
    return last


def _end() -> None:
    """
    End the process: it was told to stop, and a part of it hangs.
    """
    logger.error(
        "it did not stop in time and was ended: something hangs, as a disk or a resolver may; what was seen "
        "last may not be saved"
    )
    os._exit(1)


def calm_collector() -> None:
    """
    Run the garbage collector less often, and not over objects that live as long as the process.

    A sweep makes a hundred short-lived objects for each probe, nearly all freed by their reference counts.
    Collecting every 700 of them costs a fifteenth of a handshake.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 100, 100)


async def _reload(service: Service) -> None:
    # The service has logged the error, and keeps the present configuration.
    with contextlib.suppress(ConfigError):
        await service.reload()


async def _listen(
    clients: Clients, server: Callable[[], asyncio.Protocol], host: str | None, port: int
) -> asyncio.Server:
    try:
        listening = await clients.listen(server, host, port)
    except OSError as error:
        where = f"{host or ''}:{port}"
        if error.errno == errno.EADDRINUSE:
            raise ListenError(
                f"can't listen on {where}: another process does already. Stop it (ss -ltnp shows which), "
                "or choose another port with --web.listen-address"
            ) from error
        raise ListenError(f"can't listen on {where}: {error.strerror or error}") from error
    # With port 0 the system chooses: log its choice.
    for one in listening.sockets:
        name = one.getsockname()
        everywhere = name[0] in {"0.0.0.0", "::"}  # noqa: S104 - compared
        shown = join_host_port("localhost" if everywhere else name[0], name[1])
        logger.info(
            "listening", extra=fields(address=join_host_port(name[0], name[1]), url=f"http://{shown}/")
        )
    return listening
