"""
TLS on the wire, from the first byte or after a STARTTLS dialogue, each address of the name an endpoint.
"""

import asyncio
import math
from collections.abc import Awaitable
from dataclasses import replace
from functools import partial
from typing import Protocol

from exporter.model.errors import LeftOut, ProbeError
from exporter.model.hosts import join_host_port
from exporter.model.observation import Facts
from exporter.model.reasons import Reason
from exporter.model.schemes import SCHEMES
from exporter.model.targets import USUAL_PATIENCE, Target
from exporter.net.network import Network
from exporter.pki.client_certificate import ClientCertificate, client_leaf, load_client_certificate
from exporter.probes.base import Endpoint, Endpoints, Trace
from exporter.probes.tls import clear, handshake, openssl
from exporter.probes.tls.connect import open_connection
from exporter.probes.tls.openssl import Offer
from exporter.probes.tls.refusals import (
    BAD_CERTIFICATE,
    BAD_STAPLE,
    facts,
    http_refuses,
    means,
    refusal,
    tls_words,
)
from exporter.probes.tls.starttls import DIALOGUES, FAREWELLS
from exporter.probes.tls.suites import Keys


class AnswerError(Exception):
    """
    A web server finished the handshake, and refused a request: its certificate was seen.
    """

    def __init__(self, reason: Reason, detail: str, seen: handshake.Seen) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.seen = seen

    def failure(self) -> ProbeError:
        """
        Return the failure of the probe, with the facts that were seen.
        """
        return ProbeError(self.reason, self.detail, facts(self.seen))


class Converse(Protocol):
    """
    One conversation with an endpoint, from the connection on.
    """

    def __call__(
        self,
        keys: Keys,
        client: ClientCertificate | None,
        deadline: float,
        *,
        offer: Offer,
        lenient: bool = False,
    ) -> Awaitable[handshake.Seen]:
        """
        Return what the handshake showed. For `lenient` see `handshake.Session`.

        Raises HandshakeError, AnswerError, ProbeError or OSError.
        """


async def endpoints(target: Target, network: Network) -> Endpoints:
    """
    Return each address of the target's name. With `addresses: first` there is one endpoint, labelled by the
    name.

    The same holds with a proxy, which resolves the name itself.
    """
    if target.proxy is not None:
        return Endpoints((Endpoint(target.url.authority),), lasting=True)
    if target.url.ip is not None:
        return Endpoints((Endpoint(target.url.authority, target.url.host),), lasting=True)
    chosen = await network.addresses(target)
    left_out = tuple(LeftOut(str(address), reason) for address, reason in chosen.left_out)
    if target.addresses == "first":
        # The first address changes from one look-up to the next: the name does not.
        return Endpoints((Endpoint(target.url.authority, str(chosen.probed[0])),), left_out)
    texts = [str(address) for address in chosen.probed]
    return Endpoints(tuple(Endpoint(join_host_port(text, target.url.port), text) for text in texts), left_out)


def look(target: Target, endpoint: Endpoint, network: Network, trace: Trace) -> Awaitable[Facts]:
    """
    Return the facts that the server at this address presents. Raises ProbeError, OSError or TimeoutError.
    """
    return look_by(partial(converse, target, endpoint, network, trace), target, network, trace)


def look_by(converse: Converse, target: Target, network: Network, trace: Trace) -> Awaitable[Facts]:
    """
    Return the facts that a server presents in these conversations. Raises ProbeError, OSError or
    TimeoutError.

    An unusable client certificate is a failure, but the server's certificate is reported all the same.
    """
    converse = partial(_whatever_is_shown, converse, network, trace)
    try:
        client = client_certificate(target, network)
    except ProbeError as unusable:
        trace.note("%s; looking without a client certificate", unusable.detail)
        return _without_client(converse, target, network, trace, unusable)
    return _presented(converse, target, trace, client)


async def _whatever_is_shown(
    converse: Converse,
    network: Network,
    trace: Trace,
    keys: Keys,
    client: ClientCertificate | None,
    deadline: float,
    *,
    offer: Offer,
    lenient: bool = False,
) -> handshake.Seen:
    """
    Return the conversation's result; repeat it leniently where the library can't parse the certificates or
    the staple.

    The library ends such a handshake. Other clients, and those that request no staple, may succeed.
    """
    network.connections += 1
    try:
        return await converse(keys, client, deadline, offer=offer, lenient=lenient)
    except AnswerError as refused:
        raise refused.failure() from None
    except handshake.HandshakeError as error:
        words = tls_words(error.error)
        if not means(words, BAD_STAPLE, *BAD_CERTIFICATE):
            raise
        trace.note("the library can't read what the server shows (%s); trying again without it", words)
    network.connections += 1
    try:
        seen = await converse(keys, client, deadline, offer=offer, lenient=True)
    except AnswerError as refused:
        raise refused.failure() from None
    except handshake.HandshakeError as error:
        if error.seen is None or not means(tls_words(error.error), *BAD_CERTIFICATE):
            raise
        why = tls_words(error.error).partition(";")[0]
        return handshake.Seen(replace(error.seen.chain, refused=why), error.seen.tls)
    if not means(words, BAD_STAPLE):
        return seen
    return handshake.Seen(replace(seen.chain, staple=b""), replace(seen.tls, staple=b""))


async def _without_client(
    converse: Converse, target: Target, network: Network, trace: Trace, unusable: ProbeError
) -> Facts:
    """
    Raise the failure that our client certificate is unusable, with the facts that were seen without it.

    When no facts were seen, the reason for that counts: it keeps a client out first.
    """
    try:
        seen: Facts | None = await _presented(converse, target, trace, None)
    except ProbeError as error:
        if error.facts is None:
            words = f"{error.detail}; besides, our own: {unusable.detail}"
            raise ProbeError(error.reason, words) from None
        seen = error.facts
    file = target.client_certificate_file
    if seen is not None and file is not None and client_leaf(file, network.named_files.content) is None:
        # Its dates are those of the last probe.
        seen = replace(seen, partial=True)
    raise ProbeError(unusable.reason, unusable.detail, seen)


class _RefusedAgainError(ProbeError):
    """
    A server ended the usual and the wide handshake before it showed a certificate.
    """


async def _presented(
    converse: Converse, target: Target, trace: Trace, client: ClientCertificate | None
) -> Facts:
    """
    Return the facts that the server presents to this client. Raises ProbeError, OSError or TimeoutError.
    """
    deadline = _deadline(target, trace)
    kinds: tuple[Keys, ...] = ("any",) if target.keys == "any" else ("rsa", "ecdsa")
    seen: list[handshake.Seen] = []
    failure: ProbeError | None = None
    for keys in kinds:
        try:
            seen.append(_of_kind(await _see(converse, target, trace, keys, client, deadline), keys))
        except ProbeError as error:
            # A server with one kind of certificate refuses the other: that is no failure.
            failure = error if failure is None or error.facts is not None else failure
    if not seen and isinstance(failure, _RefusedAgainError):
        seen += await _at_last(converse, target, trace, kinds, client, deadline, failure)
    if not seen and failure is not None:
        raise failure
    return with_leaves(*seen)


def _of_kind(seen: handshake.Seen, keys: Keys) -> handshake.Seen:
    return seen if keys == "any" else handshake.Seen(replace(seen.chain, key=keys), seen.tls)


async def _at_last(
    converse: Converse,
    target: Target,
    trace: Trace,
    kinds: tuple[Keys, ...],
    client: ClientCertificate | None,
    deadline: float,
    failure: _RefusedAgainError,
) -> list[handshake.Seen]:
    """
    Return what a server shows without a certificate; empty when it shows nothing.

    Before that it is asked for its certificates by the beginning of a handshake in clear: what it shows then
    are the facts of the `failure`, which is raised.
    """
    seen: list[handshake.Seen] = []
    is_refusal = False
    for keys in kinds:
        trace.note("refused again; asking in clear, with all that TLS ever had up to 1.2")
        try:
            seen.append(_of_kind(await converse(keys, client, deadline, offer="clear"), keys))
        except (handshake.HandshakeError, ProbeError) as error:
            is_refusal = _news(error, target, client) is Reason.HANDSHAKE_REFUSED
    if seen:
        raise _only_in_clear(failure, seen)
    if is_refusal and kinds == ("any",):
        trace.note("refused again; trying without a certificate")
        try:
            return [await converse("any", client, deadline, offer="anonymous")]
        except handshake.HandshakeError:
            pass
        except ProbeError as error:
            if error.reason is Reason.NO_CERTIFICATE:
                raise
    return []


def _only_in_clear(failure: ProbeError, seen: list[handshake.Seen]) -> ProbeError:
    """
    Return the failure of a server whose certificates were seen all the same, with these facts.
    """
    chosen = ", ".join(dict.fromkeys(f"{one.tls.protocol} with {one.tls.cipher}" for one in seen))
    words = (
        f"{failure.detail}; its certificate was seen all the same, since up to TLS 1.2 it comes before any "
        f"key is agreed on ({chosen})"
    )
    found = facts(*seen)
    return ProbeError(failure.reason, words, found if found.items else None)


def with_leaves(*seen: handshake.Seen) -> Facts:
    """
    Return the facts of these handshakes. Raises ProbeError, with all other facts, when a leaf can't be read.
    """
    unread = [why for one in seen for place, why in one.chain.unread if place == 0]
    found = facts(*seen)
    if unread:
        words = f"the server's own certificate can't be read: {unread[0]}"
        raise ProbeError(Reason.BAD_CERTIFICATE, words, found if found.items else None)
    return found


def _deadline(target: Target, trace: Trace) -> float:
    """
    Return the loop time at which a probe that begins now is given up.

    That is after the target's own patience in seconds. For a target without one it is after USUAL_PATIENCE,
    or shortly before the end of the scrape if that is later, so that the probe can report its failure. A
    probe that began too late for that is cut off by the scrape.
    """
    now = trace.clock()
    if target.patience < math.inf:
        return now + target.patience
    return max(now + USUAL_PATIENCE, trace.deadline - _SPARE)


_SPARE = 0.25
"""Seconds before the end of the scrape at which a probe gives up."""


def client_certificate(target: Target, network: Network) -> ClientCertificate | None:
    """
    Return the target's client certificate as its files are now; None when it has none. Raises ProbeError.
    """
    if target.client_certificate_file is None:
        return None
    return load_client_certificate(
        target.client_certificate_file,
        target.client_key_file,
        target.client_key_password,
        network.named_files.content,
    )


async def _see(
    converse: Converse,
    target: Target,
    trace: Trace,
    keys: Keys,
    client: ClientCertificate | None,
    deadline: float,
) -> handshake.Seen:
    """
    Return the result of one handshake. If the server ends it before a certificate, try a wider offer.

    The result of that counts if it shows a certificate; else the first failure does, as _RefusedAgainError if
    the server ended both.
    """
    try:
        return await converse(keys, client, deadline, offer="usual")
    except handshake.HandshakeError as error:
        failure = _failure(error, target, client)
        if error.seen is not None or failure.reason not in _ENDED_BY_THE_SERVER:
            raise failure from error
    # Or it ended the handshake because it has none of the protocols offered (ALPN).
    less = ", without ALPN" if SCHEMES[target.url.scheme].alpn else ""
    trace.note("%s; trying again with all that the library has%s", failure.detail, less)
    try:
        return await converse(keys, client, deadline, offer="wide")
    except (handshake.HandshakeError, ProbeError) as error:
        if _news(error, target, client) in _ENDED_BY_THE_SERVER:
            raise _RefusedAgainError(failure.reason, failure.detail) from error
    raise failure


_ENDED_BY_THE_SERVER = frozenset(
    {Reason.HANDSHAKE_REFUSED, Reason.CONNECTION_CLOSED, Reason.CONNECTION_RESET}
)
"""Some servers close without an alert when there is nothing in common with the client."""


def _news(
    error: handshake.HandshakeError | ProbeError, target: Target, client: ClientCertificate | None
) -> Reason:
    """
    Return the reason for the failure of a further try, if it is not about a certificate; else raise it as
    ProbeError.
    """
    failure = _failure(error, target, client) if isinstance(error, handshake.HandshakeError) else error
    if failure.facts is not None or failure.reason in {Reason.BAD_CERTIFICATE, Reason.NO_CERTIFICATE}:
        raise failure from error
    return failure.reason


def _failure(error: handshake.HandshakeError, target: Target, client: ClientCertificate | None) -> ProbeError:
    """
    Return the ProbeError for a handshake that ended early.
    """
    failure = refusal(error, has_client_certificate=client is not None)
    if failure.reason is not Reason.NOT_TLS or target.url.scheme not in DIALOGUES:
        return failure
    # The same bytes are found before the handshake when they come a moment earlier.
    return ProbeError(
        Reason.STARTTLS_UNEXPECTED,
        f"{target.url.scheme}: bytes after the server's go-ahead that are not TLS: {tls_words(error.error)}",
    )


async def converse(
    target: Target,
    endpoint: Endpoint,
    network: Network,
    trace: Trace,
    keys: Keys,
    client: ClientCertificate | None,
    deadline: float,
    *,
    offer: Offer,
    lenient: bool = False,
    read: handshake.Read | None = None,
) -> handshake.Seen:
    """
    Connect, perform the handshake, and wait for the server's verdict on our client certificate, or on having
    none. Raises HandshakeError, AnswerError, ProbeError or OSError.

    `read` makes the result of what was shown; None: it is parsed.
    """
    # All that comes before is done for several targets in a row, as what follows a handshake.
    await asyncio.sleep(0)
    connection = await open_connection(target, endpoint, network, trace, deadline)
    session: handshake.Session | None = None
    sni = target.sni
    try:
        if offer == "clear":
            return await clear.see(connection, keys, sni, trace, read)
        alpn = SCHEMES[target.url.scheme].alpn if offer == "usual" else ""
        context = openssl.context(keys, client, offer=offer, lenient=lenient, alpn=alpn)
        session = handshake.Session(connection, context, sni, trace, lenient=lenient, read=read)
        offered = f", ALPN {alpn}" if alpn else ""
        trace.note("connected; TLS handshake, server name %s%s", sni or "not sent", offered)
        seen = await session.handshake()
        if (farewell := FAREWELLS.get(target.url.scheme)) is not None:
            trace.note("ending the protocol inside of TLS")
            await session.farewell(farewell)
        elif seen.tls.client_certificate_requested:
            trace.note("the server asked for a client certificate; waiting for its verdict")
            answer = await session.verdict(_http_question(target))
            if http_refuses(answer):
                first_line = answer.split(b"\r\n", 1)[0].decode("ascii", "replace")
                reason, got = (
                    (Reason.CLIENT_CERTIFICATE_REQUIRED, "none")
                    if client is None
                    else (Reason.CLIENT_CERTIFICATE_REFUSED, "ours")
                )
                raise AnswerError(
                    reason,
                    f"the server asked for a client certificate, got {got}, and answered a request with "
                    f"{first_line!r}",
                    seen,
                )
    finally:
        if session is not None:
            session.close()
        connection.close()
    return seen


def _http_question(target: Target) -> bytes:
    """
    Return a request whose answer shows whether a web server wants a client certificate. Empty for other
    protocols.

    nginx and others finish the handshake without one and refuse each request instead.
    """
    if target.url.scheme != "https":
        return b""
    return (
        f"HEAD / HTTP/1.1\r\nHost: {target.expected_name}\r\nUser-Agent: expiry-exporter\r\n"
        "Connection: close\r\n\r\n"
    ).encode("ascii")
