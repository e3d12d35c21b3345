"""
The TLS handshake that never verifies: it is there to see, judgement comes later.

An expired, misnamed or untrusted certificate, an old protocol or a short key is
what the exporter exists to report, so nothing here refuses it.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from OpenSSL import SSL

# pyOpenSSL has no public call for groups, for signature algorithms, for learning that a certificate was
# asked for, and for looking at messages; its calls for the chain and the staple copy each certificate
# several times, and those for its memory raise for each wait. They go through the binding that pyOpenSSL
# itself uses; pyproject.toml keeps its version within what tests/test_tls.py has tried.
from OpenSSL.SSL import _ffi, _lib  # type: ignore[attr-defined]

from exporter.caches import remembered
from exporter.certificates import CertificateError, certificate, parse_pem
from exporter.dialogue import Dialogue, RefusedError, Steps, UnexpectedError
from exporter.network import Connection, EndlessError, ProbeError, Trace
from exporter.observation import Certificate, Chain, Reason, Tls
from exporter.regular_files import content

DTLS1_VERSION = 0xFEFF
DTLS1_2_VERSION = 0xFEFD
"""Numbers of DTLS count down (RFC 6347 section 4.1); pyOpenSSL has no names for these."""

BITE = 8192
"""Bytes that the library is given at a time, at most. Of the cheapest messages it reads through as many in
half a millisecond, and nothing else gets its turn meanwhile. What a usual server shows is one bite."""

HANDSHAKE_LIMIT = 256 * 1024
"""Bytes that are taken from a server in one handshake. The library takes 100 kB of certificates, and as
much of the names that a server wants client certificates from; the rest is small."""

AFTER_LIMIT = 64 * 1024
"""Bytes that are taken after the handshake: tickets, changes of keys, a verdict, last words."""

Keys = Literal["any", "rsa", "ecdsa"]
"""Which kind of server certificate the handshake asks for."""

Offer = Literal["usual", "wide", "anonymous"]
"""
What a handshake offers. No offer may hide what an ordinary client sees, since the server chooses from it.

`usual`: what ordinary clients offer, and no more. A server with a preference of its own might choose another
certificate for more, or none at all. `wide`: all the library has by which a server shows a certificate, for
those that refused the usual. `anonymous`: all the library has by which it shows none, which tells that it can
do no better.
"""

# A server must look through all that is offered, and one that prefers a post-quantum group would ask for a
# key of that kind, which costs a round trip and more arithmetic than the whole rest.

_GROUPS = b"X25519:P-256:P-384:P-521"
"""The first group is the one a key is sent for."""

_ALL_GROUPS = (
    b"?X25519:?P-256:?P-384:?P-521:?X448:?X25519MLKEM768:?SecP256r1MLKEM768:?SecP384r1MLKEM1024:?ffdhe2048:"
    b"?ffdhe3072:?ffdhe4096:?ffdhe6144:?ffdhe8192:?brainpoolP256r1:?brainpoolP384r1:?brainpoolP512r1:"
    b"?brainpoolP256r1tls13:?brainpoolP384r1tls13:?brainpoolP512r1tls13:?MLKEM512:?MLKEM768:?MLKEM1024:"
    b"?P-224:?secp256k1:?P-192"
)
"""The library's default leaves out some that it has. It passes over those it has not (`?`, OpenSSL 3.3)."""

_TLS13_SUITES = b"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

_ALL_TLS13_SUITES = _TLS13_SUITES + b":TLS_AES_128_CCM_SHA256:TLS_AES_128_CCM_8_SHA256"

# At the level that refuses no key and no hash: old servers are to be seen. Without the plain Diffie-Hellman
# exchange (kDHE), which browsers do not offer: the server says how long it takes.

_CIPHERS: dict[tuple[Offer, Keys], bytes] = {
    ("usual", "any"): b"DEFAULT:!kDHE:!PSK:!SRP:@SECLEVEL=0",
    ("usual", "rsa"): b"DEFAULT:!kDHE:!PSK:!SRP:!aECDSA:@SECLEVEL=0",
    ("usual", "ecdsa"): b"DEFAULT:!kDHE:!PSK:!SRP:!aRSA:@SECLEVEL=0",
    ("wide", "any"): b"ALL:COMPLEMENTOFALL:!aNULL:@SECLEVEL=0",
    ("wide", "rsa"): b"aRSA:@SECLEVEL=0",
    ("wide", "ecdsa"): b"aECDSA:@SECLEVEL=0",
    ("anonymous", "any"): b"aNULL:@SECLEVEL=0",
}

GROUP_LIMIT = 4096 // 8
"""Bytes of the largest prime that we calculate with, if a server names one (RFC 5246 section 7.4.3). That
takes a twelfth of a second; the 10,000 bits that the library takes are more than a second."""

_RSA_SIGNATURES = (
    b"rsa_pss_rsae_sha256:RSA+SHA256:rsa_pss_rsae_sha384:RSA+SHA384:rsa_pss_rsae_sha512:RSA+SHA512:"
    b"rsa_pss_pss_sha256:rsa_pss_pss_sha384:rsa_pss_pss_sha512:RSA+SHA224:RSA+SHA1"
)
_ECDSA_SIGNATURES = b"ECDSA+SHA256:ECDSA+SHA384:ECDSA+SHA512:ed25519:ed448:ECDSA+SHA224:ECDSA+SHA1"

_KEY_SIGNATURES: dict[Keys, bytes] = {
    "any": _ECDSA_SIGNATURES + b":" + _RSA_SIGNATURES,
    "rsa": _RSA_SIGNATURES,
    "ecdsa": _ECDSA_SIGNATURES,
}

_MORE_SIGNATURES: dict[Keys, bytes] = {
    "rsa": b"",
    "ecdsa": b":?ecdsa_brainpoolP256r1tls13_sha256:?ecdsa_brainpoolP384r1tls13_sha384"
    b":?ecdsa_brainpoolP512r1tls13_sha512",
}
"""What the wide offer has besides where it names them; for keys of any kind it has the library's own."""


@dataclass(frozen=True, slots=True, eq=False)
class ClientCertificate:
    """
    The certificate this side shows when a server asks for one. Each is equal to itself only.
    """

    chain: tuple[x509.Certificate, ...]
    key: PrivateKeyTypes


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """
    What a handshake showed, whether or not it came to its end. Each is equal to itself only.
    """

    chain: Chain
    tls: Tls


def load_client_certificate(cert_file: str, key_file: str | None, password: str | None) -> ClientCertificate:
    """
    The client certificate in these PEM files, read again when they change. Raises ProbeError.

    No message contains the key or the password.
    """
    try:
        changed = tuple(Path(file).stat().st_mtime_ns for file in (cert_file, key_file or cert_file))
    except OSError as error:
        raise _unusable(error) from None
    return _load_client_certificate(cert_file, key_file, password, changed)


def _unusable(error: OSError) -> ProbeError:
    return ProbeError(Reason.CLIENT_CERTIFICATE_UNUSABLE, f"can't read {error.filename}: {error.strerror}")


def client_leaf(cert_file: str) -> Certificate | None:
    """
    The client certificate in this PEM file, whatever its key is; None when there is none that can be read.
    """
    try:
        return _client_leaf(cert_file, Path(cert_file).stat().st_mtime_ns)
    except OSError:
        return None


@lru_cache(maxsize=256)
def _client_leaf(cert_file: str, _changed: int) -> Certificate | None:
    try:
        leaf = next(iter(parse_pem(content(cert_file))), None)
    except OSError:
        return None
    return leaf if isinstance(leaf, Certificate) else None


@lru_cache(maxsize=256)
def _load_client_certificate(
    cert_file: str, key_file: str | None, password: str | None, _changed: tuple[int, ...]
) -> ClientCertificate:
    try:
        chain = tuple(x509.load_pem_x509_certificates(content(cert_file)))
        key = serialization.load_pem_private_key(
            content(key_file or cert_file), password.encode() if password is not None else None
        )
        fits = chain[0].public_key() == key.public_key()
    except OSError as error:
        raise _unusable(error) from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The library's words may quote what it read; these do not.
        hint = (
            "wrong password, or no key in it" if password is not None else "no key in it, or it is encrypted"
        )
        raise ProbeError(
            Reason.CLIENT_CERTIFICATE_UNUSABLE,
            f"no usable certificate in {cert_file}, or no usable key in {key_file or cert_file} ({hint})",
        ) from None
    if not fits:
        raise ProbeError(
            Reason.CLIENT_CERTIFICATE_UNUSABLE,
            f"the key in {key_file or cert_file} is not that of the first certificate in {cert_file}",
        )
    return ClientCertificate(chain, key)


_requested: set[int] = set()
"""Addresses of the SSL objects whose server asked for a client certificate, until their handshake is over."""

_plain: set[int] = set()
_too_large: set[int] = set()
"""Addresses of those whose server chose plain Diffie-Hellman, and a group that we do not calculate with."""


@_ffi.callback("int(SSL *, void *)")  # type: ignore[untyped-decorator]
def _note_certificate_request(ssl: object, _: object) -> int:
    # OpenSSL calls this on the client's side exactly when a CertificateRequest came.
    _requested.add(int(_ffi.cast("uintptr_t", ssl)))
    return 1


_kept: dict[int, bytes] = {}
"""The Certificate message that came, by the address of the SSL object, until the conversation is over."""

_HANDSHAKE_CONTENT = 22
_SERVER_HELLO, _CERTIFICATE, _SERVER_KEY_EXCHANGE = 2, 11, 12
"""A type of records, and types of messages in them (RFC 5246 sections 6.2.1 and 7.4)."""


@_ffi.callback("void(int, int, int, void *, size_t, SSL *, void *)")  # type: ignore[untyped-decorator]
def _look_at_message(
    sent: int, version: int, content: int, data: object, length: int, ssl: object, _: object
) -> None:
    # OpenSSL calls this with each message that is whole, before it looks into it.
    if sent or content != _HANDSHAKE_CONTENT or not length:
        return
    message = _ffi.buffer(data, length)
    this = int(_ffi.cast("uintptr_t", ssl))
    kind = message[:1][0]
    if kind == _CERTIFICATE:
        _kept[this] = bytes(message)
    else:
        # The header of a message is longer in DTLS (RFC 6347 section 4.2.2).
        _refuse_large_group(kind, message, 12 if version >> 8 == DTLS1_VERSION >> 8 else 4, ssl, this)


def _refuse_large_group(kind: int, message: Any, begin: int, ssl: object, this: int) -> None:
    """
    Make the library refuse a group of plain Diffie-Hellman that takes seconds to calculate with.

    `begin` is where the message's content begins, `this` the address of the SSL object.
    """
    length = len(message)
    if kind == _SERVER_HELLO:
        # Behind the version, 32 random bytes and the session, which has its length before it.
        suite = begin + 35 + message[begin + 34 : begin + 35][0] if length > begin + 34 else length
        if suite + 2 <= length and _is_plain(_lib.SSL_CIPHER_find(ssl, message[suite : suite + 2])):
            _plain.add(this)
    elif kind == _SERVER_KEY_EXCHANGE and this in _plain:
        # The prime is first, with its length before it. There is no way to say no to a long one: so it gets
        # longer than the message, which the library refuses.
        if int.from_bytes(message[begin : begin + 2], "big") <= GROUP_LIMIT:
            return
        message[begin : begin + 2] = b"\xff\xff"
        _too_large.add(this)


def _is_plain(cipher: object) -> bool:
    """
    True for a cipher suite whose keys come from plain Diffie-Hellman.
    """
    name: bytes = b"" if cipher == _ffi.NULL else _ffi.string(_lib.SSL_CIPHER_get_name(cipher))
    return name.startswith((b"DHE-", b"ADH-"))


@lru_cache(maxsize=256)
def context(
    keys: Keys,
    client: ClientCertificate | None,
    *,
    offer: Offer = "usual",
    lenient: bool = False,
    alpn: str = "",
    datagrams: bool = False,
) -> SSL.Context:
    """
    A context that refuses nothing. The offer `anonymous` goes with keys of `any` kind only. `lenient`: see
    `Session`.

    `alpn` is the one protocol that is offered (RFC 7301); empty: that extension is not sent. With `datagrams`
    it is for DTLS.
    """
    made = SSL.Context(SSL.DTLS_METHOD if datagrams else SSL.TLS_METHOD)
    made.set_verify(SSL.VERIFY_NONE)
    made.set_min_proto_version(DTLS1_VERSION if datagrams else SSL.TLS1_VERSION)
    # A resumed session shows no certificate, and the tickets for it are only cost.
    made.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    made.set_options(SSL.OP_NO_TICKET | SSL.OP_LEGACY_SERVER_CONNECT)
    made.set_cipher_list(_CIPHERS[offer, keys])
    made.set_tls13_ciphersuites(_TLS13_SUITES if offer == "usual" else _ALL_TLS13_SUITES)
    if offer == "anonymous":
        made.set_max_proto_version(DTLS1_2_VERSION if datagrams else SSL.TLS1_2_VERSION)
    raw = made._context  # noqa: SLF001 - see the import of _lib
    _lib.SSL_CTX_set_cert_cb(raw, _note_certificate_request, _ffi.NULL)
    if offer != "usual" or lenient:
        _lib.SSL_CTX_set_msg_callback(raw, _look_at_message)
    _check(_lib.SSL_CTX_set1_curves_list(raw, _GROUPS if offer == "usual" else _ALL_GROUPS))
    if offer == "usual":
        _check(_lib.SSL_CTX_set1_sigalgs_list(raw, _KEY_SIGNATURES[keys]))
    elif keys != "any":
        _check(_lib.SSL_CTX_set1_sigalgs_list(raw, _KEY_SIGNATURES[keys] + _MORE_SIGNATURES[keys]))
    if datagrams:
        # Else the library asks its memory how much it takes at a time, and sends 256 bytes.
        made.set_options(SSL.OP_NO_QUERY_MTU)
    if alpn:
        made.set_alpn_protos([alpn.encode("ascii")])
    if client is not None:
        leaf, *rest = client.chain
        made.use_certificate(leaf)
        for above in rest:
            made.add_extra_chain_cert(above)
        made.use_privatekey(client.key)  # type: ignore[arg-type] # the library says which kinds it takes
    return made


def _check(result: int) -> None:
    if result != 1:
        raise AssertionError("the TLS library refused a list of names that this module holds")


class LargeGroupError(Exception):
    """
    A server wants a calculation of us that would hold up everything else.
    """


class HandshakeError(Exception):
    """
    A handshake ended early, or its server took it back: with the error and what was seen before.

    The error is the library's, that of the connection, TimeoutError, EndlessError or LargeGroupError.
    """

    def __init__(self, error: Exception, seen: Seen | None) -> None:
        super().__init__(str(error))
        self.error = error
        self.seen = seen

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

    def __init__(
        self,
        connection: Connection,
        tls_context: SSL.Context,
        server_name: str | None,
        trace: Trace,
        *,
        lenient: bool = False,
    ) -> None:
        """
        `lenient`: no OCSP response is asked for, and certificates that the library can't read are seen all
        the same. Its context must be so, too.
        """
        self._connection = connection
        self._server_name = server_name
        self._trace = trace
        self._up = False
        connection.allow(HANDSHAKE_LIMIT)
        self._tls = SSL.Connection(tls_context, None)
        if server_name is not None:
            self._tls.set_tlsext_host_name(server_name.encode("ascii"))
        self._tls.set_connect_state()
        if not lenient:
            self._tls.request_ocsp()

    async def handshake(self) -> Seen:
        """
        What the server showed. Raises HandshakeError or ProbeError.
        """
        self._trace.phase = "handshake"
        try:
            await self._shake_hands()
        except (SSL.Error, OSError, EndlessError) as error:
            # The alert that says why.
            self._part()
            raise HandshakeError(self._meant(error), self._seen()) from error
        self._up = True
        self._connection.allow(AFTER_LIMIT)
        seen = self._seen()
        if seen is None:
            raise ProbeError(
                Reason.NO_CERTIFICATE,
                f"the server agrees on {self._tls.get_cipher_name()}, which shows no certificate, "
                "and on none that shows one",
            )
        return seen

    async def _shake_hands(self) -> None:
        ssl = self._tls._ssl  # noqa: SLF001 - see the import of _lib
        while True:
            # Errors that others left in the thread's queue would be taken for this connection's.
            _lib.ERR_clear_error()
            result = _lib.SSL_do_handshake(ssl)
            if result == 1:
                break
            # Not pyOpenSSL's do_handshake: it raises for each wait, which a handshake has at least one of.
            if _lib.SSL_get_error(ssl, result) != _lib.SSL_ERROR_WANT_READ:
                self._tls._raise_ssl_error(ssl, result)  # noqa: SLF001 - see the import of _lib
            await self._more()
        await self._flush()

    def _meant(self, error: Exception) -> Exception:
        return LargeGroupError() if _too_large and self._identity() in _too_large else error

    async def verdict(self, question: bytes) -> bytes:
        """
        What the server says of our certificate, or of our having none. Raises HandshakeError if it refuses.

        In TLS 1.3 the client has finished before the server has looked (RFC 8446 section
        4.4.2.4): the refusal comes as an alert, the consent as tickets, data, or silence
        (then the answer is empty). The question is sent first, for servers that only
        judge requests. A server that hangs up without an answer to it refuses; one that
        was asked nothing may have its own reasons, as a proxy with nobody behind it.
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
        try:
            self._tls.send(said)
            await self._flush()
        except TimeoutError:
            raise
        except (SSL.Error, OSError) as error:
            failure = self._broken(error)
            if not failure.hung_up:
                raise failure from error
            # Its alert came before the end of the connection, and still waits to be read.
            await self._hear()
            raise failure from error

    async def _hear(self) -> bytes:
        """
        What the server says next. Raises HandshakeError, TimeoutError or EndlessError.
        """
        while True:
            try:
                return self._tls.recv(4096)
            except SSL.WantReadError:
                pass
            except SSL.Error as error:
                raise self._broken(error) from error
            try:
                await self._more()
            except TimeoutError:
                raise
            except OSError as error:
                raise self._broken(error) from error

    def _broken(self, error: Exception) -> HandshakeError:
        # After an error nothing more may be sent (SSL_shutdown(3)).
        self._up = False
        return HandshakeError(error, self._seen())

    def close(self) -> None:
        """
        Say goodbye, if there is somebody to say it to. The connection is closed by who made it.

        RFC 8446 section 6.1 demands it. Without it RabbitMQ may miss that the client left, and logs an error
        when it has waited for ten seconds.
        """
        if self._up:
            _lib.SSL_shutdown(self._tls._ssl)  # noqa: SLF001 - see the import of _lib
            _lib.ERR_clear_error()
            self._up = False
            self._part()
        if _requested or _plain:
            for noted in (_requested, _plain, _too_large):
                noted.discard(self._identity())
        if _kept:
            _kept.pop(self._identity(), None)

    async def _more(self) -> None:
        """
        Send what the library wrote, and give it the next bite, or the end of the connection.

        Raises OSError, TimeoutError, EndlessError or ProbeError.
        """
        await self._flush()
        data = await self._connection.receive(BITE)
        if data:
            self._take(data)
        else:
            self._tls.bio_shutdown()

    def _take(self, data: bytes) -> None:
        """
        Give this to the library.
        """
        _lib.BIO_write(self._tls._into_ssl, data, len(data))  # noqa: SLF001 - see the import of _lib

    async def _flush(self) -> None:
        """
        Send what the library wrote. Raises OSError or TimeoutError.
        """
        if written := self._written():
            await self._connection.send(written)

    def _part(self) -> None:
        """
        Send what the library wrote last. Nobody waits for room to send it.
        """
        if written := self._written():
            self._connection.send_at_once(written)

    def _written(self) -> bytes:
        """
        What the library wrote and was not sent yet.
        """
        memory = self._tls._from_ssl  # noqa: SLF001 - see the import of _lib
        length = _lib.BIO_get_mem_data(memory, _ffi.NULL)
        if not length:
            return b""
        room = _ffi.new("char[]", length)
        return bytes(_ffi.buffer(room, _lib.BIO_read(memory, room, length)))

    def _kept_certificates(self) -> tuple[bytes, ...]:
        """
        The certificates in the message that the library could not read.
        """
        # A message of DTLS has the longer header (RFC 6347 section 4.2.2).
        version = self._tls.get_protocol_version_name()
        body = _kept[self._identity()][12 if version.startswith("DTLS") else 4 :]
        return certificates_in(body, with_extensions=version.endswith("v1.3"))

    def _identity(self) -> int:
        return int(_ffi.cast("uintptr_t", self._tls._ssl))  # noqa: SLF001 - see the import of _lib

    def _seen(self) -> Seen | None:
        """
        What was shown so far; None before a certificate came.
        """
        ssl = self._tls._ssl  # noqa: SLF001 - see the import of _lib
        presented = _presented(ssl)
        if not presented and self._identity() in _kept:
            presented = self._kept_certificates()
        if not presented:
            return None
        return seen_from(
            presented,
            self._tls.get_protocol_version_name(),
            self._tls.get_cipher_name() or "",
            self._server_name,
            bool(_requested) and self._identity() in _requested,
            _staple(ssl),
        )


def certificates_in(body: bytes, *, with_extensions: bool) -> tuple[bytes, ...]:
    """
    The certificates in a Certificate message, as far as it is whole (RFC 5246 section 7.4.2).

    From TLS 1.3 on each has extensions, and a context stands before the list (RFC 8446 section 4.4.2).
    """
    position = 3 + (1 + body[0] if with_extensions and body else 0)
    found = []
    while position + 3 < len(body):
        start, position = position + 3, position + 3 + int.from_bytes(body[position : position + 3])
        found.append(body[start:position])
        if with_extensions:
            position += 2 + int.from_bytes(body[position : position + 2])
    return tuple(found)


def _presented(ssl: object) -> tuple[bytes, ...]:
    """
    The DER bytes of the presented certificates, leaf first; empty before they came.
    """
    chain = _lib.SSL_get_peer_cert_chain(ssl)
    if chain == _ffi.NULL:
        return ()
    bio = _lib.BIO_new(_lib.BIO_s_mem())
    try:
        start = _ffi.new("char **")
        ends = [0]
        for position in range(_lib.sk_X509_num(chain)):
            _check(_lib.i2d_X509_bio(bio, _lib.sk_X509_value(chain, position)))
            ends.append(_lib.BIO_get_mem_data(bio, start))
        together = bytes(_ffi.buffer(start[0], ends[-1]))
    finally:
        _lib.BIO_free(bio)
    return tuple(together[begin:end] for begin, end in pairwise(ends))


def _staple(ssl: object) -> bytes | None:
    """
    The stapled OCSP response, DER; None when there is none.
    """
    start = _ffi.new("unsigned char **")
    length = _lib.SSL_get_tlsext_status_ocsp_resp(ssl, start)
    return bytes(_ffi.buffer(start[0], length)) if length > 0 else None


@remembered("chains")
def seen_from(
    presented: tuple[bytes, ...],
    protocol: str,
    cipher: str,
    server_name: str | None,
    client_certificate_requested: bool,
    staple: bytes | None,
) -> Seen:
    """
    What these bytes and words mean: the same object for the same ones, so that a server which did not change
    costs no parsing. A certificate that can't be read hides no other.
    """
    certificates: list[Certificate] = []
    unread: list[tuple[int, str]] = []
    for place, der in enumerate(presented):
        try:
            certificates.append(certificate(der))
        except CertificateError as error:
            unread.append((place, str(error)))
    return Seen(
        Chain(tuple(certificates), staple=staple, unread=tuple(unread)),
        Tls(protocol, cipher, server_name, client_certificate_requested, staple),
    )


VERDICT_TIMEOUT = 1.0
"""Seconds to wait for a server's refusal of an absent client certificate before its silence is consent, and
for its last words."""
