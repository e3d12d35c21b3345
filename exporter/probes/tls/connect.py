"""
The steps before the handshake: connection, tunnel through a proxy, PROXY header, STARTTLS dialogue.
"""

import socket

from exporter.model.errors import ProbeError
from exporter.model.foreign_text import credentials
from exporter.model.hosts import join_host_port
from exporter.model.proxies import Proxy
from exporter.model.reasons import Reason
from exporter.model.targets import Target
from exporter.net.connection import CONNECT_TIMEOUT, Connection, connect
from exporter.net.network import Network
from exporter.net.resolver import RESOLVE_TIMEOUT, choose, has_route
from exporter.probes.base import Endpoint, Trace
from exporter.probes.tls.dialogue import (
    Dialogue,
    RefusedError,
    SaidError,
    Step,
    Steps,
    TurnedAwayError,
    UnexpectedError,
)
from exporter.probes.tls.proxies import http_connect, proxy_header, socks5
from exporter.probes.tls.starttls import DIALOGUES, Names
from exporter.probes.tls.tds import TdsConnection


def expect_no_proxy(target: Target, protocol: str) -> None:
    """
    Raise ProbeError when a target that is reached by UDP has a proxy: bypassing it would give a wrong result.
    """
    if target.proxy is not None:
        raise ProbeError(
            Reason.PROXY_FAILED,
            f"{target.proxy} is for TCP, and {protocol} is not: set `proxy: none` for this target",
        )


async def open_connection(
    target: Target, endpoint: Endpoint, network: Network, trace: Trace, deadline: float
) -> Connection:
    """
    Return a connection to the endpoint on which TLS can begin. Raises ProbeError.
    """
    trace.phase = "connect"
    if target.proxy is None:
        trace.note("connecting to %s port %s", endpoint.address, target.url.port)
        soon = min(deadline, trace.clock() + CONNECT_TIMEOUT)
        connection = await connect(network.readiness, endpoint.address, target.url.port, soon)
        connection.deadline = deadline
    else:
        connection = await _tunnel(target.proxy, target, network, trace, deadline)
    dialogue = DIALOGUES.get(target.url.scheme)
    if dialogue is None and target.proxy_protocol == "none":
        return connection
    try:
        if target.proxy_protocol != "none":
            trace.note("sending the header of the PROXY protocol, %s", target.proxy_protocol)
            source, destination = _names(connection.socket, direct=target.proxy is None)
            await connection.send(proxy_header(target.proxy_protocol, source, destination))
        if dialogue is not None:
            (address, _), _ = _names(connection.socket, direct=True)
            await _starttls(connection, dialogue(Names(target.expected_name, address)), target, trace)
    except BaseException:
        connection.close()
        raise
    if target.url.scheme == "mssql":
        return TdsConnection(connection)
    return connection


def _names(sock: socket.socket, *, direct: bool) -> tuple[tuple[str, int], tuple[str, int] | None]:
    """
    Return address and port of this end, and of the other end when the connection is direct.
    """
    near, far = sock.getsockname(), sock.getpeername()
    return (near[0], near[1]), (far[0], far[1]) if direct else None


async def _tunnel(
    proxy: Proxy, target: Target, network: Network, trace: Trace, deadline: float
) -> Connection:
    """
    Return a connection to the target's host, whose name the proxy resolves.
    """
    where = f"the proxy {proxy}"
    trace.note("connecting to %s", where)
    connection: Connection | None = None
    try:
        address = proxy.host
        if proxy.ip is None:
            patience = min(RESOLVE_TIMEOUT, deadline - trace.clock())
            found = await network.resolver.resolve(proxy.host, socket.AF_UNSPEC, patience)
            address = str(choose(found, "first", has_route).probed[0])
        soon = min(deadline, trace.clock() + CONNECT_TIMEOUT)
        connection = await connect(network.readiness, address, proxy.port, soon)
        connection.deadline = deadline
        host, port = target.url.host, target.url.port
        if proxy.scheme == "socks5":
            steps = socks5(host, port, proxy.credentials)
        else:
            steps = http_connect(join_host_port(host, port), proxy.credentials)
        trace.phase = "proxy"
        trace.note("asking the proxy for %s", target.url.authority)
        await _converse(connection, steps, trace)
        if target.url.scheme not in DIALOGUES:
            _expect_tls(connection)
    except (ProbeError, SaidError) as error:
        if connection is not None:
            connection.close()
        words = error.detail if isinstance(error, ProbeError) else _words(error, target)
        raise ProbeError(Reason.PROXY_FAILED, f"{where}: {words}") from None
    except BaseException:
        if connection is not None:
            connection.close()
        raise
    return connection


def _expect_tls(connection: Connection) -> None:
    """
    Raise UnexpectedError when bytes after a proxy's success come too early to be a server's TLS.
    """
    try:
        early = connection.peek()
    except OSError as error:
        raise UnexpectedError(f"the connection broke right after its go-ahead ({error.strerror})") from None
    if early is None:
        return
    if not early:
        raise UnexpectedError("it closed the connection right after its go-ahead")
    raise UnexpectedError(
        "bytes after its go-ahead, before TLS, its own or of a server that speaks first: '{}'", early
    )


def _words(error: SaidError, target: Target) -> str:
    """
    Return the error of a dialogue, in words.

    A server's words are left out for a target that is not configured: callers of /probe could read the
    answers of internal services. A proxy's secrets are removed, since its answer or that of the server behind
    it may repeat them.
    """
    proxy = target.proxy
    secrets = credentials(proxy.credentials if proxy is not None else None)
    return error.words(quoted=target.configured, secrets=secrets)


async def _starttls(connection: Connection, steps: Steps, target: Target, trace: Trace) -> None:
    """
    Run the scheme's dialogue to its successful end, with nothing after it. Raises ProbeError.
    """
    scheme = target.url.scheme
    try:
        await _converse(connection, steps, trace)
        _expect_silence(connection)
    except _BrokenOffError as error:
        raise ProbeError(error.reason, f"{scheme}: {_words(error, target)}") from None
    except TurnedAwayError as error:
        words = f"{scheme}, {trace.phase}: the server turned us away: {_words(error, target)}"
        raise ProbeError(Reason.SERVER_REFUSED, words) from None
    except RefusedError as error:
        words = f"{scheme}: the server refused TLS: {_words(error, target)}"
        raise ProbeError(Reason.STARTTLS_REFUSED, words) from None
    except UnexpectedError as error:
        words = f"{scheme}, {trace.phase}: {_words(error, target)}"
        raise ProbeError(Reason.STARTTLS_UNEXPECTED, words) from None
    trace.note("%s: TLS may begin", scheme)


def _expect_silence(connection: Connection) -> None:
    """
    Raise UnexpectedError when there are bytes already: in TLS the client speaks first.

    An attacker on the way may have inserted them, to pass for the server's (CVE-2021-23222).
    """
    early = connection.peek()
    if early:
        raise UnexpectedError("bytes after the server's go-ahead, before TLS: '{}'", early)


class _BrokenOffError(SaidError):
    """
    A dialogue without an end: the reason, and a sentence for a person.
    """

    def __init__(self, reason: Reason, sentence: str, said: bytes | None = None) -> None:
        super().__init__(sentence, said)
        self.reason = reason


async def _converse(connection: Connection, steps: Steps, trace: Trace) -> None:
    """
    Run the dialogue to its successful end. Bytes after it stay in the socket.

    Raises RefusedError, UnexpectedError and _BrokenOffError.
    """
    dialogue = Dialogue(steps)
    while (step := dialogue.step) is not None:
        trace.phase = step.name
        try:
            await connection.send(dialogue.say())
            while dialogue.step is step:
                # Each time, though there may be bytes already: see `Connection.receive`.
                await connection.wait_readable()
                data = connection.peek()
                if data:
                    connection.socket.recv(dialogue.hear(data))
                elif data is not None:
                    raise _broken_off(step, dialogue, "the server closed the connection")
        except TimeoutError:
            raise _timed_out(step, dialogue) from None
        except OSError as error:
            what = f"the connection broke ({error.strerror})"
            raise _broken_off(step, dialogue, what, Reason.CONNECTION_RESET) from None


def _broken_off(
    step: Step, dialogue: Dialogue, what: str, reason: Reason = Reason.CONNECTION_CLOSED
) -> _BrokenOffError:
    heard = "; heard until then: '{}'" if dialogue.heard else ""
    return _BrokenOffError(reason, f"{what} instead of its {step.name}{heard}", dialogue.heard or None)


def _timed_out(step: Step, dialogue: Dialogue) -> _BrokenOffError:
    if dialogue.heard:
        sentence = f"the server did not finish its {step.name} in time; heard until then: '{{}}'"
    elif step.say:
        sentence = f"no {step.name} came in time"
    else:
        # Mail servers may keep unknown clients waiting to see whether they speak too soon.
        sentence = (
            f"no {step.name} came in time: the server may delay it on purpose (then raise Prometheus's "
            "`scrape_timeout`, and this target's `timeout` if it has one), or wait for TLS from the first "
            "byte (then use the scheme for that: smtps, imaps and so on)"
        )
    return _BrokenOffError(Reason.HANDSHAKE_TIMEOUT, sentence, dialogue.heard or None)
