"""
The TLS of the port: contexts for what a web configuration describes.

Python's own TLS does nearly all of it. It has no call to ask for a client's certificate and not verify it
(https://github.com/python/cpython/issues/75425), and before 3.15 none for several curves, nor always for one.
That pyOpenSSL does, for these configurations only, in the shape of Python's: asyncio takes no other context.
"""

import ssl
import warnings
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from exporter.config.web_tls import ANY, UNVERIFIED, VERIFIED, TlsChoice, TlsError
from exporter.net.tls_contexts import in_memory
from exporter.probes.tls.openssl import prefer_curves, written

T = TypeVar("T")


_PARTIAL_WRITE = 1
"""SSL_MODE_ENABLE_PARTIAL_WRITE of OpenSSL's ssl.h. pyOpenSSL sets it; without it, a write takes all."""


def context(choice: TlsChoice, names: Mapping[str, str]) -> ssl.SSLContext:
    """
    Return the context of a choice. Raises TlsError. `names` says what to call `pair` and `client_ca`.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # The versions are what the configuration says, also where OpenSSL's own level of security is higher.
    with warnings.catch_warnings():
        # Python warns of the old ones, whose use is the user's choice.
        warnings.simplefilter("ignore", DeprecationWarning)
        made.minimum_version, made.maximum_version = choice.versions
    if choice.ciphers:
        made.set_ciphers(choice.ciphers)
    # Python's own default is the server's order.
    if not choice.prefers_server:
        made.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    what, unknown = names["pair"], "not PEM, or the key is missing or encrypted"
    try:
        with in_memory(choice.certificate) as certificate, in_memory(choice.key) as key:
            made.load_cert_chain(certificate, key, password=lambda: b"")
        if choice.client_auth in VERIFIED and choice.authorities is None:
            made.load_default_certs(ssl.Purpose.CLIENT_AUTH)
        elif choice.authorities is not None:
            what, unknown = names["client_ca"], "a certificate in it can't be read"
            with in_memory(choice.authorities) as path:
                made.load_verify_locations(path)
    except (OSError, ValueError) as error:
        raise TlsError(f"{what}: {_why(error) or unknown}") from None
    made.verify_mode = VERIFIED.get(choice.client_auth, ssl.CERT_NONE)
    if choice.client_auth in UNVERIFIED or choice.curves:
        made = _Wider(ssl.PROTOCOL_TLS_SERVER)
        made.theirs = _context(choice)
    return made


def _why(error: OSError | ValueError) -> str:
    """
    Return why a certificate or key could not be loaded, for a person; empty where OpenSSL does not say.
    """
    if isinstance(error, ssl.SSLError):
        words = {
            "KEY_VALUES_MISMATCH": "the key does not belong to the certificate",
            "NO_START_LINE": "no certificate, or no key, in PEM is in it",
            "NO_CERTIFICATE_OR_CRL_FOUND": "no certificate in PEM is in it",
            "BAD_DECRYPT": "the key is encrypted, which is not possible here",
            "BAD_PASSWORD_READ": "the key is encrypted, which is not possible here",
        }
        if not error.reason:
            return ""
        return words.get(error.reason, error.reason.lower().replace("_", " "))
    return getattr(error, "strerror", None) or str(error)


class _Wider(ssl.SSLContext):
    """
    A context whose connections pyOpenSSL speaks. To asyncio it is one of Python's.
    """

    theirs: SSL.Context

    def wrap_bio(self, incoming: Any, outgoing: Any, *_: Any, **__: Any) -> Any:
        """
        Begin a connection of a client.
        """
        return _Speaking(self.theirs, incoming, outgoing)


def _context(choice: TlsChoice) -> SSL.Context:
    """
    Return the context of a choice with which Python's own could be made.
    """
    made = SSL.Context(SSL.TLS_SERVER_METHOD)
    made.clear_mode(_PARTIAL_WRITE)
    lowest, highest = choice.versions
    made.set_min_proto_version(lowest)
    made.set_max_proto_version(highest)
    # A resumed session would need what was found out about the client at its first connection.
    made.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    made.set_options(SSL.OP_NO_TICKET)
    if choice.prefers_server:
        made.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE)
    if choice.ciphers:
        made.set_cipher_list(choice.ciphers.encode("ascii"))
    if choice.curves:
        prefer_curves(made, choice.curves)
    with in_memory(choice.certificate) as path:
        made.use_certificate_chain_file(path)
    with in_memory(choice.key) as path:
        made.use_privatekey_file(path)
    mode = SSL.VERIFY_NONE
    if choice.client_auth != "NoClientCert":
        mode = SSL.VERIFY_PEER
        if choice.client_auth in ANY or choice.client_auth == "RequireAndVerifyClientCert":
            mode |= SSL.VERIFY_FAIL_IF_NO_PEER_CERT
    made.set_verify(mode, _anybody if choice.client_auth in UNVERIFIED else None)
    if choice.authorities is not None:
        with in_memory(choice.authorities) as path:
            made.load_verify_locations(path)
    elif choice.client_auth in VERIFIED:
        made.set_default_verify_paths()
    return made


def _anybody(*_: object) -> bool:
    return True


class _Speaking:
    """
    One connection, with as much of Python's `SSLObject` as asyncio asks of it.
    """

    def __init__(self, context: SSL.Context, incoming: Any, outgoing: Any) -> None:
        """
        `incoming` and `outgoing` are Python's `MemoryBIO`.
        """
        self._incoming, self._outgoing = incoming, outgoing
        self._connection = SSL.Connection(context, None)
        self._connection.set_accept_state()

    def do_handshake(self) -> None:
        """
        Go on with the handshake. Raises ssl.SSLWantReadError while more must come, and ssl.SSLError.
        """
        self._with(self._connection.do_handshake)

    def read(self, length: int) -> bytes:
        """
        Return what came; empty behind the client's last word.
        """
        try:
            return self._with(lambda: self._connection.recv(length))
        except ssl.SSLZeroReturnError:
            return b""

    def write(self, data: Any) -> int:
        """
        Encrypt all of `data`, and return its length.
        """
        return self._with(lambda: self._connection.send(data))

    def unwrap(self) -> None:
        """
        Say that nothing comes any more, and wait for the client to say so.
        """
        # The second call waits, as that of Python does.
        self._with(lambda: self._connection.shutdown() or self._connection.shutdown())

    def getpeercert(self, binary_form: bool = False) -> Any:
        """
        Return the client's certificate, DER, in binary form; None where there is none.
        """
        if not binary_form:
            return None
        found = self._connection.get_peer_certificate(as_cryptography=True)
        return found.public_bytes(Encoding.DER) if found is not None else None

    def cipher(self) -> tuple[str | None, str | None, int | None]:
        """
        Return name, version and bits of the cipher suite.
        """
        one = self._connection
        return one.get_cipher_name(), one.get_cipher_version(), one.get_cipher_bits()

    def compression(self) -> None:
        """
        Return None: nothing is compressed.
        """

    def _with(self, work: Callable[[], T]) -> T:
        """
        Call OpenSSL with what came meanwhile, and pass on what it has to say. Raises the errors of `ssl`.
        """
        if self._incoming.pending:
            self._connection.bio_write(self._incoming.read())
        if self._incoming.eof:
            self._connection.bio_shutdown()
        try:
            return work()
        except SSL.WantReadError:
            raise ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "more must come") from None
        except SSL.ZeroReturnError:
            raise ssl.SSLZeroReturnError(ssl.SSL_ERROR_ZERO_RETURN, "the connection was closed") from None
        except SSL.Error as error:
            raise ssl.SSLError(ssl.SSL_ERROR_SSL, str(error)) from None
        finally:
            self._outgoing.write(written(self._connection))
