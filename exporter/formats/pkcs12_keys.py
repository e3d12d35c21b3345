"""
Key derivation from passwords in PKCS#12 and PKCS#5, with limits of work (RFC 7292, RFC 8018). Pure.
"""

import hashlib
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from threading import Lock

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from exporter.formats.budget import Budget
from exporter.pki import ber

SCRYPT_MEMORY_LIMIT = 160 * 1024 * 1024
"""Bytes that scrypt may need for a key: 128 r (N + p) (RFC 7914 section 6). OpenSSL usually takes 16 MiB."""


SALT_LIMIT = 4096
"""Bytes of a salt. 8 to 32 are usual."""


def _oid(text: str) -> bytes:
    """
    Return the content of an OBJECT IDENTIFIER (X.690 section 8.19).
    """
    first, second, *rest = map(int, text.split("."))
    content = bytearray([40 * first + second])
    for number in rest:
        septets = [number & 0x7F]
        while number := number >> 7:
            septets.append(0x80 | number & 0x7F)
        content += bytes(reversed(septets))
    return bytes(content)


_SCRYPT = _oid("1.3.6.1.4.1.11591.4.11")


_PBKDF2 = _oid("1.2.840.113549.1.5.12")


_HASHES = {
    _oid("1.3.14.3.2.26"): "sha1",
    _oid("2.16.840.1.101.3.4.2.4"): "sha224",
    _oid("2.16.840.1.101.3.4.2.1"): "sha256",
    _oid("2.16.840.1.101.3.4.2.2"): "sha384",
    _oid("2.16.840.1.101.3.4.2.3"): "sha512",
    _oid("2.16.840.1.101.3.4.2.5"): "sha512_224",
    _oid("2.16.840.1.101.3.4.2.6"): "sha512_256",
    _oid("2.16.840.1.101.3.4.2.7"): "sha3_224",
    _oid("2.16.840.1.101.3.4.2.8"): "sha3_256",
    _oid("2.16.840.1.101.3.4.2.9"): "sha3_384",
    _oid("2.16.840.1.101.3.4.2.10"): "sha3_512",
    _oid("1.2.840.113549.2.5"): "md5",
}


_HMACS = {
    _oid("1.2.840.113549.2.7"): "sha1",
    _oid("1.2.840.113549.2.8"): "sha224",
    _oid("1.2.840.113549.2.9"): "sha256",
    _oid("1.2.840.113549.2.10"): "sha384",
    _oid("1.2.840.113549.2.11"): "sha512",
    _oid("1.2.840.113549.2.12"): "sha512_224",
    _oid("1.2.840.113549.2.13"): "sha512_256",
    _oid("2.16.840.1.101.3.4.2.13"): "sha3_224",
    _oid("2.16.840.1.101.3.4.2.14"): "sha3_256",
    _oid("2.16.840.1.101.3.4.2.15"): "sha3_384",
    _oid("2.16.840.1.101.3.4.2.16"): "sha3_512",
}


class _UnsupportedError(ValueError):
    """
    A keystore of a kind that is not supported.
    """


@dataclass(frozen=True, slots=True)
class _Password:
    """
    A password in the two encodings that keystores use.
    """

    utf8: bytes = field(repr=False)
    wide: bytes = field(repr=False)
    """UTF-16 with two zero bytes at its end (RFC 7292 appendix B.1), or no bytes at all."""


_ONE_AT_A_TIME = Lock()
"""A lock for scrypt: files are parsed in several threads, and it needs much memory for each key."""


def _key(
    derivation: ber.Element, password: _Password, size: int | None, work: Budget, usual: int | None = None
) -> bytes:
    """
    Return the key of a password, of `size` bytes, else of the stated size, else of the `usual`. Raises
    ValueError.
    """
    (kind,) = derivation.parts(ber.OBJECT_IDENTIFIER)
    if kind.content not in {_PBKDF2, _SCRYPT}:
        words = f"the algorithm {ber.dotted(kind.content)}, which makes a key of the password"
        raise _UnsupportedError(f"{words}, is not supported")
    _, parameters = derivation.parts(ber.OBJECT_IDENTIFIER, ber.SEQUENCE)
    derive = _pbkdf2 if kind.content == _PBKDF2 else _scrypt
    return derive(parameters, password, size, work, usual)


def _pbkdf2(
    parameters: ber.Element, password: _Password, size: int | None, work: Budget, usual: int | None
) -> bytes:
    """
    Return the key by PBKDF2 (RFC 8018 section 5.2).
    """
    salt, count, *more = list(islice(parameters, 4))
    hash_name = "sha1"
    for one in more:
        if one.tag == ber.INTEGER and size is None:
            size = one.number()
        elif one.tag == ber.SEQUENCE:
            hash_name = _named(_HMACS, one, "its way from the password to the key")
    rounds, length = count.number(), _size(usual if size is None else size)
    _allow(work, rounds, length, hash_name)
    return hashlib.pbkdf2_hmac(hash_name, password.utf8, _salt(salt), rounds, length)


def _scrypt(
    parameters: ber.Element, password: _Password, size: int | None, work: Budget, usual: int | None
) -> bytes:
    """
    Return the key by scrypt (RFC 7914 section 7).
    """
    salt, *numbers = list(islice(parameters, 5))
    if len(numbers) < 3:
        raise ber.BerError("it has too few parts")
    cost, block, parallel, *stated = (one.number() for one in numbers)
    # Section 2. Short of that the numbers are of no use, and beyond it they may be as long as the file is.
    if cost < 2 or cost & (cost - 1) or block < 1 or parallel < 1:
        raise _UnsupportedError("its parameters of scrypt are none")
    if 128 * block * (cost + parallel) > SCRYPT_MEMORY_LIMIT:
        words = f"it asks for more memory for scrypt than the {SCRYPT_MEMORY_LIMIT:,} bytes that it may have"
        raise _UnsupportedError(words)
    length = _size(stated[0] if size is None and stated else size or usual)
    # Each of these blocks is about the work of a round of hashing.
    if not work.allows_rounds(cost * block * parallel):
        raise _UnsupportedError(_TOO_MUCH.format(cost * block * parallel))
    derivation = Scrypt(_salt(salt), length, cost, block, parallel)
    with _ONE_AT_A_TIME:
        return derivation.derive(password.utf8)


def _size(stated: int | None) -> int:
    """
    Return the stated size of a key in bytes. Raises _UnsupportedError.
    """
    if stated is None or not 0 < stated <= 1024:
        raise _UnsupportedError("it states no usable size of the key")
    return stated


def _named(known: dict[bytes, str], algorithm: ber.Element, what: str) -> str:
    (name,) = algorithm.parts(ber.OBJECT_IDENTIFIER)
    if name.content not in known:
        raise _UnsupportedError(f"{what} uses the hash {ber.dotted(name.content)}, which is not supported")
    return known[name.content]


def _salt(salt: ber.Element) -> bytes:
    content = salt.expect(ber.OCTET_STRING).content
    if len(content) > SALT_LIMIT:
        raise _UnsupportedError(f"it has a salt of {len(content):,} bytes; at most {SALT_LIMIT:,} are used")
    return content


_TOO_MUCH = "to open it takes {:,} rounds of hashing, more than is done for one file"


def _allow(work: Budget, rounds: int, size: int, hash_name: str) -> None:
    """
    Subtract the rounds for so many bytes from the budget, by blocks of the hash. Raises _UnsupportedError.
    """
    blocks = -(-size // hashlib.new(hash_name, usedforsecurity=False).digest_size)
    if not work.allows_rounds(rounds * blocks):
        raise _UnsupportedError(_TOO_MUCH.format(rounds * blocks))


def _derived(
    password: _Password, salt: bytes, rounds: int, purpose: int, size: int, hash_name: str, work: Budget
) -> bytes:
    """
    Return bytes derived from a password (RFC 7292 appendix B.2): a key (purpose 1), an initialization vector
    (2) or a MAC key (3).
    """
    _allow(work, rounds, size, hash_name)
    block = hashlib.new(hash_name, usedforsecurity=False).block_size
    made = bytearray()
    mixed = bytearray(_filled(salt, block) + _filled(password.wide, block))
    while True:
        digest = hashlib.new(hash_name, bytes([purpose]) * block + mixed, usedforsecurity=False).digest()
        step = getattr(hashlib, hash_name, partial(hashlib.new, hash_name))
        for _ in range(rounds - 1):
            digest = step(digest).digest()
        made += digest
        if len(made) >= size:
            return bytes(made[:size])
        adding = int.from_bytes(_filled(digest, block)) + 1
        for start in range(0, len(mixed), block):
            total = (int.from_bytes(mixed[start : start + block]) + adding) % (1 << 8 * block)
            mixed[start : start + block] = total.to_bytes(block)


def _filled(text: bytes, block: int) -> bytes:
    """
    Return the text repeated to whole blocks.
    """
    length = -(-len(text) // block) * block
    return (text * (length // max(len(text), 1) + 1))[:length]
