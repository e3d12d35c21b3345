"""
The TLS handshake that never verifies: it is there to see, judgement comes later.

An expired, misnamed or untrusted certificate, an old protocol or a short key is
what the exporter exists to report, so nothing here refuses it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from OpenSSL import SSL

from exporter.model.caches import Cache, size
from exporter.model.errors import ProbeError
from exporter.model.observation import Certificate, Chain, Tls
from exporter.model.reasons import Reason
from exporter.net.connection import Connection, EndlessError
from exporter.pki.certificates import CertificateError, certificate
from exporter.probes.base import Trace
from exporter.probes.tls import openssl
from exporter.probes.tls.dialogue import Dialogue, RefusedError, Steps, UnexpectedError
from exporter.probes.tls.messages import certificates_in

BITE = 8192
"""Bytes that the library is given at a time, at most. Of the cheapest messages it reads through as many in
half a millisecond, and nothing else gets its turn meanwhile. What a usual server shows is one bite."""


HANDSHAKE_LIMIT = 256 * 1024
"""Bytes that are taken from a server in one handshake. The library takes 100 kB of certificates, and as
much of the names that a server wants client certificates from; the rest is small."""


AT_ONCE = 16 * 1024
"""Bytes of a chain that is parsed in one go. A usual one has three to six thousand."""


AFTER_LIMIT = 64 * 1024
"""Bytes that are taken after the handshake: tickets, changes of keys, a verdict, last words."""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """
    The data that a handshake showed, complete or not. Each is equal to itself only.
    """

    chain: Chain
    tls: Tls

    @property
    def names(self) -> tuple[str, ...]:
        """
        The host names on the leaf, as they stand there; none if there is no leaf that could be parsed.
        """
        chain = self.chain
        return chain.leaf.dns_names if chain.certificates and not chain.lacks_leaf else ()


Shown = tuple[tuple[bytes, ...], str, str, str | None, bool, bytes | None]
"""The data of a handshake as it came: the arguments of `seen_from`."""


Read = Callable[[tuple[bytes, ...], str, str, str | None, bool, bytes | None], Awaitable[Seen]]
"""Makes what was seen of what was shown: `seen_in_turns` or `unparsed`."""


@dataclass(frozen=True, slots=True, eq=False)
class Unparsed(Seen):
    """
    The data that a handshake showed, with an empty chain: another process parses it.
    """

    shown: Shown


class LargeGroupError(Exception):
    """
    A server wants a calculation of us that would hold up everything else.
    """


class HandshakeError(Exception):
    """
    A handshake ended early, or its server took it back: with the error and what was seen before.

    The error is the library's, that of the connection, TimeoutError, EndlessError, LargeGroupError or
    MessageError.
    """

    def __init__(self, error: Exception, seen: Seen | None, *, answered: bool = True) -> None:
        """
        `answered`: the server began with TLS.
        """
        super().__init__(str(error))
        self.error = error
        self.seen = seen
        self.answered = answered

    @property
    def hung_up(self) -> bool:
        """
        True when the connection ended without a word of TLS, or with a goodbye.
        """
        ends = isinstance(self.error, SSL.SysCallError | SSL.ZeroReturnError | OSError)
        return ends and not isinstance(self.error, TimeoutError)


class Session:
    """
    One TLS conversation over a connection.

    The library never has the socket: it reads and writes memory, and is given what came in bites. With the
    socket it would stay in one call for as long as bytes come that lead nowhere, and so would this process.
    Each bite waits for its turn among all that is ready, and for the connection's deadline.
    """

    _limit = HANDSHAKE_LIMIT

    def __init__(
        self,
        connection: Connection,
        tls_context: SSL.Context,
        server_name: str | None,
        trace: Trace,
        *,
        lenient: bool = False,
        read: Read | None = None,
    ) -> None:
        """
        `lenient`: no OCSP response is asked for, and certificates that the library can't read are seen all
        the same. Its context must be so, too. `read` makes the data of what was shown; None: `seen_in_turns`.
        """
        self._connection = connection
        self._read = seen_in_turns if read is None else read
        self._server_name = server_name
        self._trace = trace
        self._up = False
        self._tls = openssl.Conversation(tls_context, server_name, wants_staple=not lenient)

    async def handshake(self) -> Seen:
        """
        Perform the handshake, and return what it showed. Raises HandshakeError or ProbeError.
        """
        self._trace.phase = "handshake"
        self._connection.allow(self._limit)
        try:
            # Our last word stays in memory: it goes with what is said next, which mostly is goodbye.
            while not self._tls.shake_hands():
                await self._more()
        except (SSL.Error, OSError, EndlessError) as error:
            # The alert that says why.
            self._part()
            meant = LargeGroupError() if self._tls.group_is_too_large else error
            raise HandshakeError(meant, await self._seen(), answered=self._answered()) from error
        self._up = True
        # What follows is done for several conversations in a row: a handshake leaves nothing else in the
        # processor's caches, and one by one after it all this takes twice the time.
        await asyncio.sleep(0)
        self._connection.allow(AFTER_LIMIT)
        seen = await self._seen()
        if seen is None:
            raise ProbeError(
                Reason.NO_CERTIFICATE,
                f"the server agrees on {self._tls.cipher}, which shows no certificate, "
                "and on none that shows one",
            )
        self._trace.note("handshake done: %s, %s", seen.tls.protocol, seen.tls.cipher)
        return seen

    async def verdict(self, question: bytes) -> bytes:
        """
        Return the server's answer after the handshake, by which it accepts our certificate, or our lack of
        one. Raises HandshakeError if the server refuses.

        In TLS 1.3 the client finishes before the server has checked its certificate (RFC 8446 section
        4.4.2.4): a refusal comes as an alert, an acceptance as tickets, data, or silence (then the answer is
        empty). The question is sent first, for servers that only judge requests. A server that closes the
        connection without an answer to it refuses; without a question it may have its own reasons, as a proxy
        without a backend does.
        """
        self._trace.phase = "client certificate"
        self._limit_time()
        try:
            if question:
                await self._say(question)
            return await self._hear()
        except (TimeoutError, EndlessError):
            return b""
        except HandshakeError as error:
            if question or not error.hung_up:
                raise
            return b""

    async def farewell(self, steps: Steps) -> None:
        """
        End the protocol that is spoken inside, for servers that take it amiss when a client just leaves.

        Raises HandshakeError if the server refuses our client certificate, as in `verdict`: its first answer
        is that too. Whatever else comes of it, or nothing in time, is no failure: what was seen is seen.
        """
        self._trace.phase = "farewell"
        self._limit_time()
        dialogue = Dialogue(steps)
        try:
            while (step := dialogue.step) is not None:
                await self._say(dialogue.say())
                while dialogue.step is step:
                    dialogue.hear(await self._hear())
        except (TimeoutError, EndlessError, RefusedError, UnexpectedError):
            return
        except HandshakeError as error:
            asked = error.seen is not None and error.seen.tls.client_certificate_requested
            if asked and dialogue.step is steps[0] and not error.hung_up:
                raise

    def _limit_time(self) -> None:
        connection = self._connection
        connection.deadline = min(connection.deadline, self._trace.clock() + VERDICT_TIMEOUT)

    async def _say(self, said: bytes) -> None:
        """
        Send this. Raises HandshakeError, TimeoutError or EndlessError.
        """
        openssl.clear_errors()
        try:
            self._tls.send(said)
            await self._connection.send(self._tls.written())
        except TimeoutError:
            raise
        except (SSL.Error, OSError) as error:
            failure = await self._broken(error)
            if not failure.hung_up:
                raise failure from error
            # Its alert came before the end of the connection, and still waits to be read.
            await self._hear()
            raise failure from error

    async def _hear(self) -> bytes:
        """
        Return the next bytes from the server. Raises HandshakeError, TimeoutError or EndlessError.
        """
        while True:
            openssl.clear_errors()
            try:
                return self._tls.recv(4096)
            except SSL.WantReadError:
                pass
            except SSL.Error as error:
                raise await self._broken(error) from error
            try:
                await self._more()
            except TimeoutError:
                raise
            except OSError as error:
                raise await self._broken(error) from error

    async def _broken(self, error: Exception) -> HandshakeError:
        # After an error nothing more may be sent (SSL_shutdown(3)).
        self._up = False
        return HandshakeError(error, await self._seen())

    def close(self) -> None:
        """
        Say goodbye, if there is somebody to say it to. The connection is closed by who made it.

        RFC 8446 section 6.1 demands it. Without it RabbitMQ may miss that the client left, and logs an error
        when it has waited for ten seconds.
        """
        if self._up:
            self._tls.say_goodbye()
            self._up = False
            self._part()
        self._tls.forget()

    async def _more(self) -> None:
        """
        Send what the library wrote, and give it the next bite, or the end of the connection.

        Raises OSError, TimeoutError, EndlessError or ProbeError.
        """
        data = await self._connection.exchange(self._tls.written(), BITE)
        if data:
            self._tls.hear(data)
        else:
            self._tls.bio_shutdown()

    def _part(self) -> None:
        """
        Send what the library wrote last. Nobody waits for room to send it.
        """
        if written := self._tls.written():
            self._connection.send_at_once(written)

    def _answered(self) -> bool:
        """
        Return True when the server began with TLS: until then the protocol is the newest that was offered.
        """
        older = self._tls.version in {"TLSv1", "TLSv1.1", "TLSv1.2"}
        return older or self._tls.cipher != ""

    async def _seen(self) -> Seen | None:
        """
        Return what was shown so far; None before a certificate came.
        """
        version = self._tls.version
        presented = self._tls.presented
        if not presented:
            # The library could not read them. The header in DTLS is longer (RFC 6347 section 4.2.2).
            body = self._tls.kept_message[12 if version.startswith("DTLS") else 4 :]
            presented = certificates_in(body, with_extensions=version.endswith("v1.3"))
        if not presented:
            return None
        return await self._read(
            presented,
            version,
            self._tls.cipher,
            self._server_name,
            self._tls.wants_client_certificate,
            self._tls.staple,
        )


_chains: Cache[Seen] = Cache("chains")


def seen_from(
    presented: tuple[bytes, ...],
    protocol: str,
    cipher: str,
    server_name: str | None,
    client_certificate_requested: bool,
    staple: bytes | None,
) -> Seen:
    """
    Return the parsed handshake data: the same object for the same arguments, so that an unchanged server
    costs no parsing. A certificate that can't be read hides no other.
    """
    rest = (protocol, cipher, server_name, client_certificate_requested, staple)
    if (known := _chains.get((presented, *rest))) is not None:
        return known
    return _made(presented, rest, [_read_one(der) for der in presented])


async def seen_in_turns(
    presented: tuple[bytes, ...],
    protocol: str,
    cipher: str,
    server_name: str | None,
    client_certificate_requested: bool,
    staple: bytes | None,
) -> Seen:
    """
    Return what `seen_from` does, and let the event loop do other work after each certificate of a long chain.

    To parse a hundred kilobytes that were made for it takes a tenth of a second.
    """
    rest = (protocol, cipher, server_name, client_certificate_requested, staple)
    if sum(map(len, presented)) <= AT_ONCE or _chains.get((presented, *rest)) is not None:
        return seen_from(presented, *rest)
    read: list[Certificate | CertificateError] = []
    for der in presented:
        read.append(_read_one(der))
        await asyncio.sleep(0)
    return _made(presented, rest, read)


def _read_one(der: bytes) -> Certificate | CertificateError:
    try:
        return certificate(der)
    except CertificateError as error:
        return error


def _made(
    presented: tuple[bytes, ...],
    rest: tuple[str, str, str | None, bool, bytes | None],
    read: Sequence[Certificate | CertificateError],
) -> Seen:
    """
    Return the handshake data with these certificates or errors, which are in the order of those presented.
    """
    certificates: list[Certificate] = []
    unread: list[tuple[int, str]] = []
    same: list[bytes] = []
    for place, (der, one) in enumerate(zip(presented, read, strict=True)):
        if isinstance(one, Certificate):
            certificates.append(one)
            # The bytes of an intermediate are kept once, not with each leaf that it issued.
            same.append(one.der)
        else:
            unread.append((place, str(one)))
            same.append(der)
    staple = rest[-1]
    seen = Seen(Chain(tuple(certificates), staple=staple, unread=tuple(unread)), Tls(*rest))
    key = (tuple(same), *rest)
    _chains.put(key, seen, size(key, seen))
    return seen


async def unparsed(
    presented: tuple[bytes, ...],
    protocol: str,
    cipher: str,
    server_name: str | None,
    client_certificate_requested: bool,
    staple: bytes | None,
) -> Unparsed:
    """
    Return the handshake data with its certificates as they came.
    """
    shown = (presented, protocol, cipher, server_name, client_certificate_requested, staple)
    return Unparsed(Chain(()), Tls(*shown[1:]), shown)


VERDICT_TIMEOUT = 1.0
"""Seconds to wait for a server's refusal of an absent client certificate before its silence is consent, and
for its last words."""
