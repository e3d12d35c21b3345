"""
A TCP relay that is far away: `python -m tests.benchmarks.relay LISTEN_PORT UPSTREAM_PORT SECONDS`.

What the server says is handed on SECONDS after the client last spoke, so that a client pays
for each of its flights. What the client says is handed on at once.
"""

import asyncio
import gc
import sys

from tests.benchmarks.fleet import ADDRESSES
from tests.benchmarks.limits import raise_file_limit


class Near(asyncio.Protocol):
    """
    The client's side of one connection.
    """

    def __init__(self, upstream_port: int, delay: float) -> None:
        self.upstream_port = upstream_port
        self.delay = delay
        self.far = Far(self)
        self.spoke = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """
        Connect to the server for this client.
        """
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        loop = asyncio.get_running_loop()
        # Reading waits until there is somebody to write to.
        transport.pause_reading()
        connecting = loop.create_connection(lambda: self.far, "127.0.0.1", self.upstream_port)
        self.connecting = loop.create_task(connecting)

    def data_received(self, data: bytes) -> None:
        """
        A flight of the client: its answer is due from now on.
        """
        self.spoke = asyncio.get_running_loop().time()
        self.far.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  the protocol's signature
        """
        The client left: so does the server.
        """
        if self.connecting.done():
            self.far.transport.abort()
        else:
            self.connecting.cancel()


class Far(asyncio.Protocol):
    """
    The server's side of one connection.
    """

    def __init__(self, near: Near) -> None:
        self.near = near
        self.held = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """
        Now the client may be heard.
        """
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.near.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """
        Hold the answer until it is due.
        """
        if not self.held:
            asyncio.get_running_loop().call_at(self.near.spoke + self.near.delay, self._hand_on)
        self.held += data

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  the protocol's signature
        """
        The server left: so does the client, after the delay.
        """
        asyncio.get_running_loop().call_later(self.near.delay, self.near.transport.close)

    def _hand_on(self) -> None:
        self.near.transport.write(bytes(self.held))
        self.held.clear()


async def main(port: int, upstream_port: int, delay: float) -> None:
    """
    Relay from every address of the fleet until the process is ended.
    """
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Near(upstream_port, delay), ADDRESSES, port, backlog=4096, reuse_address=True
    )
    # Nothing here makes cycles worth a pause in the middle of a measurement.
    gc.disable()
    await server.serve_forever()


if __name__ == "__main__":
    raise_file_limit()
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
