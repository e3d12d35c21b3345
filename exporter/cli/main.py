"""
The command: which of its parts is run, and with which exit code it ends.
"""

import argparse
import asyncio
import contextlib
import os
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence

from exporter import logs
from exporter.cli import arguments as command_line
from exporter.cli import bundled_files, manual
from exporter.cli.serve import ListenError, _fail, _serve, _server
from exporter.config.settings import Config
from exporter.demo import endpoints
from exporter.model.policies import BUILT_IN


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command and return its exit code.
    """
    options = command_line.parser().parse_args(arguments)
    logs.setup(options.log_level, options.log_format, sys.stderr)
    _raise_file_limit()
    try:
        return _COMMANDS[options.command](options)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader went away (`expiry-exporter check … | head`): nothing is left to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _raise_file_limit() -> None:
    """
    Let this process open as many files as it may: each look is a socket.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _demo(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="expiry-demo-") as directory:
        try:
            asyncio.run(_serve_demo(options, directory)).cancel()
        except ListenError as error:
            return _fail(str(error))
    return 0


async def _serve_demo(options: argparse.Namespace, directory: str) -> threading.Timer:
    shown = await endpoints.start(time.time(), directory)
    try:
        config = Config(shown.targets, BUILT_IN, ("*",), ())
        return await _server(options, lambda: config)
    finally:
        await shown.close()


def _write_alerts(options: argparse.Namespace) -> int:
    return _tell(
        lambda: bundled_files.write_alerts(
            options.output_dir,
            options.labels or (),
            external_url=options.external_url,
            runbooks_url=options.runbooks_url,
            force=options.force,
        )
    )


def _write_dashboards(options: argparse.Namespace) -> int:
    return _tell(
        lambda: bundled_files.write_dashboards(
            options.output_dir, options.external_url, runbooks_url=options.runbooks_url, force=options.force
        )
    )


def _tell(write: Callable[[], bundled_files.Written]) -> int:
    """
    Write files and print their paths; on standard error what was left as it is.
    """
    try:
        written = write()
    except bundled_files.BundleError as error:
        return _fail(str(error))
    for path in written.paths:
        sys.stdout.write(f"{path}\n")
    for path in written.kept:
        sys.stderr.write(
            f"{path} is yours and was left as it is; another --output-dir gets the new example\n"
        )
    return 0


def _check(options: argparse.Namespace) -> int:
    from exporter.cli import one_shot as once  # noqa: PLC0415 - a server does not carry what draws on a terminal

    return once.print_check(options)


def _forecast(options: argparse.Namespace) -> int:
    from exporter.cli import one_shot as once  # noqa: PLC0415 - as above

    return once.print_forecast(options)


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "serve": _serve,
    "check": _check,
    "forecast": _forecast,
    "alerts": _write_alerts,
    "dashboards": _write_dashboards,
    "manual": manual.run,
    "demo": _demo,
}
