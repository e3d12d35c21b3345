"""
PKCS#12 keystores (RFC 7292): `.p12`, `.pfx`, and Java's PKCS12. Pure.

Libraries decrypt and load the private key with everything else. This parser reads the bags of certificates
and skips the others, so that no key is ever decrypted.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm, Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES

from exporter.formats import rc2
from exporter.formats.budget import Budget
from exporter.formats.parsed import Findings, Format, ParseContext, Parsed, arranged, renamed, wrong_password
from exporter.formats.pkcs12_keys import (
    _HASHES,
    _HMACS,
    _derived,
    _key,
    _named,
    _oid,
    _Password,
    _salt,
    _UnsupportedError,
)
from exporter.model.observation import Certificate
from exporter.model.reasons import Kind
from exporter.pki import ber

_BAG_DEPTH = 8


_DATA = _oid("1.2.840.113549.1.7.1")


_ENCRYPTED_DATA = _oid("1.2.840.113549.1.7.6")


_CERTIFICATE_BAG = _oid("1.2.840.113549.1.12.10.1.3")


_NESTED_BAGS = _oid("1.2.840.113549.1.12.10.1.6")


_KEY_BAGS = {_oid("1.2.840.113549.1.12.10.1.1"), _oid("1.2.840.113549.1.12.10.1.2")}


_X509 = _oid("1.2.840.113549.1.9.22.1")


_FRIENDLY_NAME = _oid("1.2.840.113549.1.9.20")


_PBES2 = _oid("1.2.840.113549.1.5.13")


_PBMAC1 = _oid("1.2.840.113549.1.5.14")


# Ciphers of PBES2 (RFC 8018 appendix B.2), each with the bytes of its key.
_CIPHERS: dict[bytes, tuple[Callable[[bytes], BlockCipherAlgorithm], int]] = {
    _oid("2.16.840.1.101.3.4.1.2"): (AES, 16),
    _oid("2.16.840.1.101.3.4.1.22"): (AES, 24),
    _oid("2.16.840.1.101.3.4.1.42"): (AES, 32),
    _oid("1.2.840.113549.3.7"): (TripleDES, 24),
}


# Those of RFC 7292 appendix C, likewise.
_OLD_CIPHERS: dict[bytes, tuple[Callable[[bytes], BlockCipherAlgorithm], int]] = {
    _oid("1.2.840.113549.1.12.1.3"): (TripleDES, 24),
    _oid("1.2.840.113549.1.12.1.4"): (TripleDES, 16),
}


_OLD_RC2 = {_oid("1.2.840.113549.1.12.1.5"): 16, _oid("1.2.840.113549.1.12.1.6"): 5}
"""RC2 ciphers of RFC 7292 appendix C, with keys of 128 and of 40 bits, each with the bytes of its key."""


_RC2 = _oid("1.2.840.113549.3.2")


_RC2_BITS = {160: 40, 120: 64, 58: 128}
"""The effective bits of an RC2 key, by the version that encodes them (RFC 8018 appendix B.2.3)."""


@dataclass(frozen=True, slots=True)
class _Bag:
    """
    A certificate in a keystore. The name is its alias, empty when it has none.
    """

    certificate: Certificate | None
    name: str


def recognises(data: bytes) -> bool:
    """
    Return True for a SEQUENCE that begins with the version 3 and a SEQUENCE.
    """
    try:
        version, _ = ber.element(data[:64]).parts(ber.INTEGER, ber.SEQUENCE)
    except ber.BerError:
        # The keystore is longer than these bytes, so only its beginning can be parsed.
        head = data[:16]
        return head[:1] == b"\x30" and b"\x02\x01\x03\x30" in head[2:10]
    return version.content == b"\x03"


def read(data: bytes, given: ParseContext) -> Parsed:
    """
    Return the certificates of the keystore, those of entries under their aliases, and the problems.
    """
    findings = Findings(given.budget)
    bags: list[_Bag] = []
    try:
        _read(data, given.password, findings, bags)
    except _UnsupportedError as error:
        findings.unsupported(f"the keystore is of a kind that can't be read: {error}")
    except (ber.BerError, ValueError, UnsupportedAlgorithm) as error:
        findings.broken(f"the keystore is damaged: {error}")
    result = _arranged(bags, given.budget)
    result.add(findings.parsed())
    return result.parsed()


def _read(data: bytes, password: str | None, findings: Findings, bags: list[_Bag]) -> None:
    fields = list(islice(ber.element(data).expect(ber.SEQUENCE), 3))
    if len(fields) < 2:
        raise ber.BerError("it has too few parts")
    kind, explicit = fields[1].expect(ber.SEQUENCE).parts(ber.OBJECT_IDENTIFIER, 0xA0)
    if kind.content != _DATA:
        raise _UnsupportedError("it is signed with a key, not with a password")
    (octets,) = explicit.parts(ber.OCTET_STRING)
    safe = octets.content
    candidates = _candidates(password)
    work = findings.budget
    proven: _Password | None = None
    locked = False
    if len(fields) > 2:
        try:
            # The MAC shows which one is right; without a MAC, only decryption does.
            proven = next((one for one in candidates if _mac_fits(fields[2], safe, one, work)), None)
        except _UnsupportedError:
            pass  # What can be read without it is read: it says nothing about a certificate.
        except ValueError as error:
            findings.broken(f"its message authentication code is damaged: {error}")
        else:
            candidates = [proven] if proven is not None else []
            locked = proven is None and password is not None
    parts = work.each(ber.element(safe).expect(ber.SEQUENCE), 20)
    for number, content in enumerate(parts, 1):
        try:
            locked |= _read_part(content, candidates, findings, bags, is_proven=proven is not None)
        except (_UnsupportedError, UnsupportedAlgorithm) as error:
            findings.unsupported(f"part {number} of the keystore can't be read: {error}")
        except ValueError as error:
            findings.broken(f"part {number} of the keystore is damaged: {error}")
    if locked:
        findings.problems.append(wrong_password(password))


def _read_part(
    content: ber.Element,
    candidates: Iterable[_Password],
    findings: Findings,
    bags: list[_Bag],
    *,
    is_proven: bool,
) -> bool:
    """
    Add the certificates of one part of a keystore, and return True when no password opens it. Raises
    ValueError.

    `is_proven`: the MAC has shown that the password is right.
    """
    kind, explicit = content.expect(ber.SEQUENCE).parts(ber.OBJECT_IDENTIFIER, 0xA0)
    if kind.content == _DATA:
        (octets,) = explicit.parts(ber.OCTET_STRING)
        bags += _bags(ber.element(octets.content), findings, _BAG_DEPTH)
    elif kind.content == _ENCRYPTED_DATA:
        decrypted = _decrypted(explicit, candidates, findings.budget)
        if decrypted is not None:
            bags += _bags(decrypted, findings, _BAG_DEPTH)
        elif is_proven:
            raise ber.BerError("its password is right, and it can't be decrypted")
        else:
            return True
    else:
        findings.lasting["what is encrypted with a key, not with a password"] = None
    return False


def _candidates(password: str | None) -> list[_Password]:
    """
    Return the passwords to try. An empty one has two encodings; both are tried when no password is
    configured, too.
    """
    if password:
        wide = password.encode("utf-16-be", "surrogatepass") + b"\0\0"
        return [_Password(password.encode("utf-8", "surrogatepass"), wide)]
    return [_Password(b"", b"\0\0"), _Password(b"", b"")]


def _bags(found: ber.Element, findings: Findings, depth: int) -> Iterator[_Bag]:
    """
    Yield the certificates in SafeContents (RFC 7292 section 4.2). Raises BerError where a bag does not end.
    """
    bags = findings.budget.each(found.expect(ber.SEQUENCE), 20)
    for number, bag in enumerate(bags, 1):
        try:
            yield from _in_bag(bag, number, findings, depth)
        except ber.BerError as error:
            findings.broken(f"bag {number} of the keystore is damaged: {error}")
            # It keeps its number: it may have been a certificate.
            yield _Bag(None, "")


def _in_bag(bag: ber.Element, number: int, findings: Findings, depth: int) -> Iterator[_Bag]:
    """
    Yield the certificates in a bag. Raises BerError.
    """
    kind, value = bag.expect(ber.SEQUENCE).parts(ber.OBJECT_IDENTIFIER, 0xA0)
    if kind.content == _CERTIFICATE_BAG:
        (inner,) = value.parts(ber.SEQUENCE)
        sort, explicit = inner.parts(ber.OBJECT_IDENTIFIER, 0xA0)
        if sort.content != _X509:
            return
        (octets,) = explicit.parts(ber.OCTET_STRING)
        name = _friendly_name(bag)
        place = f"certificate {name!r}" if name else f"the certificate in bag {number}"
        yield _Bag(findings.certificate(octets.content, place), name)
    elif kind.content == _NESTED_BAGS and depth:
        (inner,) = value.parts(ber.SEQUENCE)
        yield from _bags(inner, findings, depth - 1)
    elif kind.content in _KEY_BAGS:
        findings.lasting["a private key"] = None


def _friendly_name(bag: ber.Element) -> str:
    """
    Return the alias among the attributes of a bag; empty when there is none that can be read.
    """
    try:
        for attribute in islice(next(islice(bag, 2, 3), ()), 100):
            kind, values = attribute.parts(ber.OBJECT_IDENTIFIER, ber.SET)
            if kind.content == _FRIENDLY_NAME:
                (value,) = values.parts(ber.BMP_STRING)
                return value.content.decode("utf-16-be", "replace")
    except ber.BerError:
        pass  # OpenSSL and Java pass over it, too.
    return ""


def _arranged(bags: list[_Bag], budget: Budget) -> Findings:
    """
    Return the certificates as items. Leaves, and CA certificates that stand alone, have their aliases.
    """
    findings = arranged([bag.certificate for bag in bags], budget)
    names = {
        bag.certificate.fingerprint_sha256: bag.name
        for bag in bags
        if bag.certificate is not None and bag.name
    }
    aliases: dict[str, str] = {}
    for chain in findings.chains:
        alias = names.get(chain.leaf.fingerprint_sha256)
        for position, one in enumerate(chain.certificates[1:], 1):
            if alias is not None:
                aliases.setdefault(one.fingerprint_sha256, f"{alias}/chain-{position}")
    for index, found in enumerate(findings.items):
        assert found.certificate is not None
        fingerprint = found.certificate.fingerprint_sha256
        if found.kind in {Kind.LEAF, Kind.AUTHORITY} and fingerprint in names:
            findings.items[index] = renamed(found, names[fingerprint])
        elif fingerprint in aliases:
            findings.items[index] = renamed(found, aliases[fingerprint])
    return findings


def _mac_fits(mac: ber.Element, content: bytes, password: _Password, work: Budget) -> bool:
    """
    Return True when the password verifies the keystore's MAC (RFC 7292 section 5.1). Raises ValueError.
    """
    digest_info, salt = mac.expect(ber.SEQUENCE).parts(ber.SEQUENCE, ber.OCTET_STRING)
    more = list(islice(mac, 2, 3))
    algorithm, digest = digest_info.parts(ber.SEQUENCE, ber.OCTET_STRING)
    (name,) = algorithm.parts(ber.OBJECT_IDENTIFIER)
    if name.content == _PBMAC1:
        _, parameters = algorithm.parts(ber.OBJECT_IDENTIFIER, ber.SEQUENCE)
        derivation, scheme = parameters.parts(ber.SEQUENCE, ber.SEQUENCE)
        hash_name = _named(_HMACS, scheme, "its message authentication code")
        key = _key(derivation, password, None, work)
    else:
        hash_name = _named(_HASHES, algorithm, "its message authentication code")
        rounds = more[0].number() if more else 1
        size = hashlib.new(hash_name, usedforsecurity=False).digest_size
        key = _derived(password, _salt(salt), rounds, 3, size, hash_name, work)
    return hmac.compare_digest(hmac.digest(key, content, hash_name), digest.content)


def _decrypted(explicit: ber.Element, candidates: Iterable[_Password], work: Budget) -> ber.Element | None:
    """
    Return the SafeContents in EncryptedData (RFC 5652 section 8); None when no password decrypts it. Raises
    ValueError.
    """
    (data,) = explicit.parts(ber.SEQUENCE)
    _, info = data.parts(ber.INTEGER, ber.SEQUENCE)
    _, algorithm, content = info.parts(ber.OBJECT_IDENTIFIER, ber.SEQUENCE, 0)
    for password in candidates:
        try:
            plain = _plain(algorithm, content.content, password, work)
            found = ber.element(plain).expect(ber.SEQUENCE)
        except _UnsupportedError:
            raise
        except (ValueError, ber.BerError):
            # A wrong password gives noise, or a padding that is none.
            continue
        return found
    return None


def _plain(algorithm: ber.Element, content: bytes, password: _Password, work: Budget) -> bytes:
    """
    Return the decrypted content. Raises ValueError when the password is wrong.
    """
    work.spend(20 + len(content) // 64)
    (kind,) = algorithm.parts(ber.OBJECT_IDENTIFIER)
    if kind.content == _PBES2:
        return _plain_by_scheme(algorithm, content, password, work)
    rc2_size = _OLD_RC2.get(kind.content)
    size = rc2_size or _cipher(_OLD_CIPHERS, kind.content)[1]
    _, parameters = algorithm.parts(ber.OBJECT_IDENTIFIER, ber.SEQUENCE)
    salt, count = parameters.parts(ber.OCTET_STRING, ber.INTEGER)
    rounds = count.number()
    key = _derived(password, _salt(salt), rounds, 1, size, "sha1", work)
    vector = _derived(password, _salt(salt), rounds, 2, 8, "sha1", work)
    if rc2_size is not None:
        return _plain_rc2(key, vector, content, 8 * rc2_size, work)
    # Two keys of the three are the first one.
    key = key + key[:8] if size == 16 else key
    return _unpadded(_OLD_CIPHERS[kind.content][0](key), vector, content)


def _plain_by_scheme(algorithm: ber.Element, content: bytes, password: _Password, work: Budget) -> bytes:
    """
    Return the content decrypted by PBES2 (RFC 8018 section 6.2). Raises ValueError when the password is
    wrong.
    """
    _, parameters = algorithm.parts(ber.OBJECT_IDENTIFIER, ber.SEQUENCE)
    derivation, scheme = parameters.parts(ber.SEQUENCE, ber.SEQUENCE)
    (name,) = scheme.parts(ber.OBJECT_IDENTIFIER)
    if name.content == _RC2:
        _, settings = scheme.parts(ber.OBJECT_IDENTIFIER, ber.SEQUENCE)
        *version, vector = list(islice(settings, 2))
        number = version[0].number() if version else 0
        bits = _RC2_BITS.get(number, number if number >= 256 else 32)
        # Where the length of the key is not stated, it is that of its effective bits.
        key = _key(derivation, password, None, work, usual=bits // 8)
        if not 1 <= len(key) <= 128 or bits > 1024:
            raise _UnsupportedError(f"its RC2 key has {len(key)} bytes, {bits} bits effective")
        return _plain_rc2(key, vector.content, content, bits, work)
    cipher, size = _cipher(_CIPHERS, name.content)
    _, vector = scheme.parts(ber.OBJECT_IDENTIFIER, ber.OCTET_STRING)
    return _unpadded(cipher(_key(derivation, password, size, work)), vector.content, content)


def _plain_rc2(key: bytes, vector: bytes, content: bytes, bits: int, work: Budget) -> bytes:
    steps = 200 + len(content) // 8
    if steps > work.left:
        raise _UnsupportedError(f"{len(content):,} bytes are encrypted with RC2, which takes too long")
    work.spend(steps)
    return _without_padding(rc2.decrypt_cbc(key, vector, content, bits), 64)


def _cipher(
    known: dict[bytes, tuple[Callable[[bytes], BlockCipherAlgorithm], int]], name: bytes
) -> tuple[Callable[[bytes], BlockCipherAlgorithm], int]:
    if name not in known:
        raise _UnsupportedError(f"the algorithm {ber.dotted(name)}, which encrypts it, is not supported")
    return known[name]


def _unpadded(cipher: BlockCipherAlgorithm, vector: bytes, content: bytes) -> bytes:
    try:
        decryptor = Cipher(cipher, modes.CBC(vector)).decryptor()
    except UnsupportedAlgorithm:
        raise _UnsupportedError(f"this OpenSSL does not offer the old cipher {cipher.name}") from None
    plain = decryptor.update(content) + decryptor.finalize()
    return _without_padding(plain, cipher.block_size)


def _without_padding(plain: bytes, block_bits: int) -> bytes:
    unpadder = padding.PKCS7(block_bits).unpadder()
    return unpadder.update(plain) + unpadder.finalize()


FORMAT = Format("PKCS#12", recognises, read, is_keystore=True)
