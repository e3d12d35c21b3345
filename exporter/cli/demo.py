"""
`expiry-exporter demo`: a server to try, with endpoints of its own in every state.
"""

import argparse
import asyncio
import tempfile
import threading
import time

from exporter.cli import arguments
from exporter.cli.serve import ListenError, fail, start
from exporter.config.settings import Config
from exporter.demo import endpoints
from exporter.server.port import Port
from exporter.yaml_lines import ConfigError

DESCRIPTION = """\
Start TLS servers in every state on this machine, and serve their metrics: expired,
about to expire, not trusted, silent, and fine. It leaves nothing behind."""


EXAMPLES = """\
examples:
  expiry-exporter demo
      then open http://localhost:10119/ in a browser; Ctrl-C ends it

  expiry-exporter demo --web.listen-address=127.0.0.1:20000
      on another port, and for this machine only

  curl 'http://localhost:10119/probe?target=expired&debug=true'
      from another terminal: one of its targets, step by step
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """
    Add the flags and the help.
    """
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    arguments.add_server_flags(parser)
    parser.set_defaults(state_path="none", shard_index=0, shard_total=1)


def run(options: argparse.Namespace) -> int:
    """
    Serve until a signal says to stop, and return the exit code.
    """
    with tempfile.TemporaryDirectory(prefix="expiry-demo-") as directory:
        try:
            port = Port(options.web_config, options.external_url, lifecycle=options.lifecycle)
            asyncio.run(_serve(options, directory, port)).cancel()
        except (ConfigError, ListenError) as error:
            return fail(str(error))
    return 0


async def _serve(options: argparse.Namespace, directory: str, port: Port) -> threading.Timer:
    shown = await endpoints.start(time.time(), directory)
    try:
        config = Config(shown.targets)
        return await start(options, lambda: config, port)
    finally:
        await shown.close()
