"""
The calls of OpenSSL beyond pyOpenSSL's public ones, and the contexts for handshakes.

The only module that uses what is private in pyOpenSSL, where it has no public call, or one that costs a
handshake several microseconds. pyproject.toml keeps its version within what
tests/probes/tls/test_openssl.py has tried.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal

from OpenSSL import SSL
from OpenSSL.SSL import _ffi, _lib  # type: ignore[attr-defined]

from exporter.pki.client_certificate import ClientCertificate
from exporter.probes.tls.messages import server_hello
from exporter.probes.tls.suites import Keys

DTLS1_VERSION = 0xFEFF


DTLS1_2_VERSION = 0xFEFD
"""Numbers of DTLS count down (RFC 6347 section 4.1); pyOpenSSL has no names for these."""


Offer = Literal["usual", "wide", "clear", "anonymous"]
"""
The cipher suites and signatures that a handshake offers. No offer may hide what an ordinary client sees,
since the server chooses from it.

`usual`: those of ordinary clients, and no more. A server with a preference of its own might choose another
certificate for more, or none at all. `wide`: all those of the library with which a server shows a
certificate, for servers that refused the usual ones. `clear`: all those that there ever were up to TLS 1.2,
without the library and for the beginning of a handshake only (`clear`). `anonymous`: all those of the library
with which it shows none, to find out that the server can do no better.
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
"""The signatures that the wide offer adds where it names them; for keys of any kind it has the library's
own."""


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
    if kind == _SERVER_HELLO:
        hello = server_hello(message[begin:])
        if hello is not None and _is_plain(_lib.SSL_CIPHER_find(ssl, hello.suite.to_bytes(2))):
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
    Return True for a cipher suite whose keys come from plain Diffie-Hellman.
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
    Return a context that refuses nothing. The offer `anonymous` goes with keys of `any` kind only, and for
    `clear` there is none. `lenient`: see `Session`.

    `alpn` is the one protocol that is offered (RFC 7301); empty: that extension is not sent. With `datagrams`
    it is for DTLS.
    """
    made = SSL.Context(SSL.DTLS_METHOD if datagrams else SSL.TLS_METHOD)
    made.set_verify(SSL.VERIFY_NONE)
    # The library looks for a path to an anchor even so; of no length (-1 is its own choice) it gives up.
    made.set_verify_depth(-2)
    # Most conversations wait most of the time, and each would keep 33 kB of empty buffers for as long.
    made.set_mode(SSL.MODE_RELEASE_BUFFERS)
    made.set_min_proto_version(DTLS1_VERSION if datagrams else SSL.TLS1_VERSION)
    # A resumed session shows no certificate, and the tickets for it are only cost.
    made.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    made.set_options(SSL.OP_NO_TICKET | SSL.OP_LEGACY_SERVER_CONNECT)
    made.set_cipher_list(_CIPHERS[offer, keys])
    made.set_tls13_ciphersuites(_TLS13_SUITES if offer == "usual" else _ALL_TLS13_SUITES)
    if offer == "anonymous":
        made.set_max_proto_version(DTLS1_2_VERSION if datagrams else SSL.TLS1_2_VERSION)
    raw = made._context  # noqa: SLF001 - see above
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


def prefer_curves(context: SSL.Context, curves: Sequence[str]) -> None:
    """
    Let a context offer or take these curves only (OpenSSL's names), in this order.
    """
    _check(_lib.SSL_CTX_set1_curves_list(context._context, ":".join(curves).encode("ascii")))  # noqa: SLF001


def _check(result: int) -> None:
    if result != 1:
        raise AssertionError("the TLS library refused a list of names that this program holds")


def clear_errors() -> None:
    """
    Clear the errors that other uses of the library left in this thread.

    A call that may have to wait looks at all errors in the thread's queue to find out whether it failed
    (SSL_get_error(3)): so this comes before it.
    """
    _lib.ERR_clear_error()


def written(connection: SSL.Connection) -> bytes:
    """
    Return all that the library wrote for the other side, which is taken out; empty when it wrote nothing.

    pyOpenSSL's own `bio_read` raises when there is nothing, and must be told how much there is.
    """
    memory = connection._from_ssl  # noqa: SLF001 - see above
    length = _lib.BIO_get_mem_data(memory, _ffi.NULL)
    if not length:
        return b""
    room = _ffi.new("char[]", length)
    return bytes(_ffi.buffer(room, _lib.BIO_read(memory, room, length)))


class Conversation(SSL.Connection):
    """
    The client's end of a TLS conversation that reads and writes memory, of a context made here.

    It is set up in a third of the time of pyOpenSSL's own, which also notes each one for callbacks that these
    contexts do not have.
    """

    def __init__(self, context: SSL.Context, server_name: str | None, *, wants_staple: bool) -> None:
        """
        Without `wants_staple` no OCSP response is asked for.
        """
        ssl = _ffi.gc(_lib.SSL_new(context._context), _lib.SSL_free)  # noqa: SLF001 - see above
        into, out = _lib.BIO_new(_MEMORY), _lib.BIO_new(_MEMORY)
        assert all((ssl, into, out))
        self._ssl, self._context, self._socket, self._into_ssl, self._from_ssl = ssl, context, None, into, out
        # They are freed with it.
        _lib.SSL_set_bio(ssl, into, out)
        _lib.SSL_set_connect_state(ssl)
        if server_name is not None:
            _lib.SSL_set_tlsext_host_name(ssl, server_name.encode("ascii"))
        if wants_staple:
            _lib.SSL_set_tlsext_status_type(ssl, _lib.TLSEXT_STATUSTYPE_ocsp)

    def shake_hands(self) -> bool:
        """
        Return True when the handshake is done, False when it waits for more bytes. Raises SSL.Error.

        pyOpenSSL's own `do_handshake` raises for each wait, of which a handshake has at least one.
        """
        ssl = self._ssl
        _lib.ERR_clear_error()
        result = _lib.SSL_do_handshake(ssl)
        if result != 1 and _lib.SSL_get_error(ssl, result) != _lib.SSL_ERROR_WANT_READ:
            self._raise_ssl_error(ssl, result)
        return bool(result == 1)

    def say_goodbye(self) -> None:
        """
        Let the library write that nothing more is said.
        """
        _lib.ERR_clear_error()
        _lib.SSL_shutdown(self._ssl)

    def hear(self, data: bytes) -> None:
        """
        Give the library what came from the other side.
        """
        taken = _lib.BIO_write(self._into_ssl, data, len(data))
        assert taken == len(data)

    def written(self) -> bytes:
        """
        Return all that the library wrote for the other side, which is taken out.
        """
        return written(self)

    @property
    def version(self) -> str:
        """
        The version of the protocol: the newest that was offered, until the server began with TLS.
        """
        return _text(_lib.SSL_get_version(self._ssl))

    @property
    def cipher(self) -> str:
        """
        The name of the cipher suite; empty until one is agreed on.
        """
        cipher = _lib.SSL_get_current_cipher(self._ssl)
        return _text(_lib.SSL_CIPHER_get_name(cipher)) if cipher else ""

    @property
    def presented(self) -> tuple[bytes, ...]:
        """
        The DER bytes of the presented certificates, leaf first; empty before they came.

        pyOpenSSL's own `get_peer_cert_chain` makes an object of each, which takes twice the time.
        """
        chain = _lib.SSL_get_peer_cert_chain(self._ssl)
        if not chain:
            return ()
        bio = _lib.BIO_new(_MEMORY)
        try:
            start = _ffi.new("char **")
            ends = [0]
            for position in range(_lib.sk_X509_num(chain)):
                _check(_lib.i2d_X509_bio(bio, _lib.sk_X509_value(chain, position)))
                ends.append(_lib.BIO_get_mem_data(bio, start))
            together = bytes(_ffi.buffer(start[0], ends[-1]))
        finally:
            _lib.BIO_free(bio)
        return tuple([together[begin:end] for begin, end in pairwise(ends)])

    @property
    def staple(self) -> bytes | None:
        """
        The stapled OCSP response, DER; None when there is none. pyOpenSSL tells it only to a callback.
        """
        start = _ffi.new("unsigned char **")
        length = _lib.SSL_get_tlsext_status_ocsp_resp(self._ssl, start)
        return bytes(_ffi.buffer(start[0], length)) if length > 0 else None

    @property
    def wants_client_certificate(self) -> bool:
        """
        True when the server asked for a client certificate.
        """
        return bool(_requested) and self._address in _requested

    @property
    def group_is_too_large(self) -> bool:
        """
        True when the handshake was refused for a group that we do not calculate with.
        """
        return bool(_too_large) and self._address in _too_large

    @property
    def kept_message(self) -> bytes:
        """
        The Certificate message as it came, with its header; empty when none did, or the context does not keep
        it.
        """
        return _kept.get(self._address, b"") if _kept else b""

    def forget(self) -> None:
        """
        Forget what was noted of a conversation that is over.
        """
        if _requested or _plain or _kept:
            address = self._address
            for noted in (_requested, _plain, _too_large):
                noted.discard(address)
            _kept.pop(address, None)

    @property
    def _address(self) -> int:
        return int(_ffi.cast("uintptr_t", self._ssl))


_MEMORY = _lib.BIO_s_mem()
"""The kind of BIO that is memory."""


@lru_cache(maxsize=256)
def _text(words: object) -> str:
    """
    Return the text at an address where the library always has the same.
    """
    text: bytes = _ffi.string(words)
    return text.decode("ascii")
