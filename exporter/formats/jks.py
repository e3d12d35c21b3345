"""
Java keystores of the types JKS and JCEKS. Pure.

Their certificates are not encrypted; their keys are, and are skipped. The password is used only for the
integrity check (a SHA-1 digest of password and content).
"""

import hashlib
import hmac
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from exporter.formats.budget import Budget
from exporter.formats.parsed import Findings, Format, ParseContext, Parsed, wrong_password
from exporter.model.foreign_text import quoted

if TYPE_CHECKING:
    from exporter.model.observation import Certificate


JKS = 0xFEEDFEED


JCEKS = 0xCECECECE


CHAIN_LIMIT = 100
"""Certificates that one entry may have."""


_KEY, _TRUSTED, _SECRET = 1, 2, 3


_DIGEST_SIZE = 20


# Put between password and content when the sum is made.
_WHITENER = b"Mighty Aphrodite"


def recognises(data: bytes) -> bool:
    """
    Return True when the bytes begin with the magic number of either type.
    """
    return data[:4] in {JKS.to_bytes(4), JCEKS.to_bytes(4)}


def read(data: bytes, given: ParseContext) -> Parsed:
    """
    Return the certificates of all entries under their aliases, and the problems.
    """
    findings = Findings(given.budget)
    reader = _Reader(data, 4, len(data) - _DIGEST_SIZE, given.budget)
    try:
        version = reader.number()
        if version not in {1, 2}:
            findings.broken(f"the keystore has version {version}; known are 1 and 2")
            return findings.parsed()
        for number in given.budget.each(range(1, reader.number() + 1), 10):
            _read_entry(reader, version, number, findings)
    except (ValueError, struct.error) as error:
        words = str(error) if not isinstance(error, struct.error) else "it is cut off"
        findings.broken(f"the keystore is damaged at byte {reader.position}: {words}")
    if given.password is not None and not findings.problems and not _intact(data, given.password):
        findings.problems.append(wrong_password(given.password))
    return findings.parsed()


def _intact(data: bytes, password: str) -> bool:
    """
    Return True when the digest at the end matches this password and this content.
    """
    wide = password.encode("utf-16-be", "surrogatepass")
    content, digest = data[:-_DIGEST_SIZE], data[-_DIGEST_SIZE:]
    made = hashlib.sha1(wide + _WHITENER + content, usedforsecurity=False).digest()
    return hmac.compare_digest(made, digest)


def _read_entry(reader: "_Reader", version: int, number: int, findings: Findings) -> None:
    kind = reader.number()
    alias = reader.text()
    reader.skip(8)  # when it was made
    if kind == _SECRET:
        findings.lasting["a secret key"] = None
        _Objects(reader).skip()
        return
    if kind not in {_KEY, _TRUSTED}:
        raise ValueError(f"entry {number} is of no known kind")
    count = 1
    if kind == _KEY:
        findings.lasting["a private key"] = None
        reader.skip(reader.number())
        count = reader.number()
        if count > CHAIN_LIMIT:
            raise ValueError(f"entry {number} has more than {CHAIN_LIMIT} certificates")
    chain: list[Certificate] = []
    for position in findings.budget.each(range(1, count + 1), 5):
        sort = reader.text() if version == 2 else "X.509"
        encoded = reader.take(reader.number())
        if sort not in {"X.509", "X509"}:
            continue
        one = findings.certificate(encoded, f"certificate {position} of entry {quoted(alias, 64)}")
        if one is not None:
            chain.append(one)
        elif position == 1:
            # Without its first certificate the rest of the entry would pass for something else.
            chain = []
            reader.skip_certificates(count - 1, version)
            break
    if chain:
        findings.add_entry(alias, chain)


@dataclass(slots=True)
class _Reader:
    """
    A reader of big-endian values. Raises ValueError or struct.error at the end of the bytes.
    """

    data: bytes
    position: int
    stop: int
    budget: Budget = field(repr=False)

    def number(self) -> int:
        """
        Return an unsigned integer of four bytes.
        """
        return int.from_bytes(self.take(4))

    def take(self, length: int) -> bytes:
        """
        Return the next bytes.
        """
        self.skip(length)
        return self.data[self.position - length : self.position]

    def skip(self, length: int) -> None:
        """
        Skip bytes.
        """
        if self.position + length > self.stop:
            raise ValueError("it is cut off")
        self.position += length

    def text(self) -> str:
        """
        Return a string as Java's DataOutput writes it (modified UTF-8).
        """
        encoded = self.take(int.from_bytes(self.take(2))).replace(b"\xc0\x80", b"\0")
        try:
            text = encoded.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            text = encoded.decode("utf-8", "replace")
        # What is beyond the Basic Multilingual Plane is written as two halves of three bytes each.
        return text.encode("utf-16-be", "surrogatepass").decode("utf-16-be", "replace")

    def each(self, count: int) -> Iterator[int]:
        """
        Yield the numbers of so many things, from 0 on. Raises ValueError when the budget is spent.
        """
        yield from self.budget.each(range(count), 2)
        if self.budget.is_spent:
            raise ValueError("it has too many parts")

    def skip_certificates(self, count: int, version: int) -> None:
        """
        Skip certificates.
        """
        for _ in self.budget.each(range(count), 2):
            if version == 2:
                self.skip(int.from_bytes(self.take(2)))
            self.skip(self.number())


# Marks of the Java Object Serialization Specification, section 6.4.2.
_NULL, _REFERENCE, _CLASS, _OBJECT, _STRING, _ARRAY = 0x70, 0x71, 0x72, 0x73, 0x74, 0x75


_BLOCK, _END_BLOCK = 0x77, 0x78


_FIRST_HANDLE = 0x7E0000


_HAS_OWN_WRITER = 0x01


_IS_EXTERNAL = 0x04


_PRIMITIVES = {"B": 1, "C": 2, "D": 8, "F": 4, "I": 4, "J": 8, "S": 2, "Z": 1}
"""Bytes of a value of each primitive type."""


_OBJECT_DEPTH = 20


_VALUE_STEPS = 5
"""Steps for a value of an object, including its superclasses."""


@dataclass(slots=True)
class _ClassDescription:
    """
    A class description in a stream of serialised objects.
    """

    name: str
    flags: int = 0
    types: tuple[str, ...] = ()
    """The type of each field: the letter of a primitive type, `L` or `[`."""
    above: "_ClassDescription | None" = None


class _Objects:
    """
    Skips one serialised object, and constructs nothing from it.

    A secret key is a SealedObjectForKeyProtector: two arrays of bytes and two strings. It has no length, so
    its end is only known by parsing it.
    """

    def __init__(self, reader: _Reader) -> None:
        self._reader = reader
        self._handles: list[_ClassDescription | None] = []

    def skip(self) -> None:
        """
        Skip the object. Raises ValueError.
        """
        if self._reader.take(4) != b"\xac\xed\x00\x05":
            raise ValueError("a secret key is not a serialised object")
        self._value(_OBJECT_DEPTH)

    def _value(self, depth: int) -> None:
        if depth == 0:
            raise ValueError("a serialised object is nested too deep")
        reader = self._reader
        reader.budget.spend(_VALUE_STEPS)
        if reader.budget.is_spent:
            raise ValueError("a serialised object has too many parts")
        match reader.take(1)[0]:
            case mark if mark == _NULL:
                pass
            case mark if mark == _REFERENCE:
                reader.skip(4)
            case mark if mark == _STRING:
                self._handles.append(None)
                reader.text()
            case mark if mark == _BLOCK:
                reader.skip(reader.take(1)[0])
            case mark if mark == _ARRAY:
                described = self._class(depth - 1)
                self._handles.append(None)
                kind = described.name[1:2] if described is not None else ""
                self._values(kind, reader.number(), depth - 1)
            case mark if mark == _OBJECT:
                described = self._class(depth - 1)
                self._handles.append(None)
                self._fields(described, depth - 1)
            case mark:
                raise ValueError(f"a serialised object has mark {mark:#04x}, which no secret key has")

    def _values(self, kind: str, count: int, depth: int) -> None:
        if kind in _PRIMITIVES:
            self._reader.skip(_PRIMITIVES[kind] * count)
            return
        for _ in range(count):
            self._value(depth)

    def _fields(self, described: _ClassDescription | None, depth: int) -> None:
        """
        Skip the fields of an object, those of the topmost class first.
        """
        lineage: list[_ClassDescription] = []
        while described is not None and len(lineage) < _OBJECT_DEPTH:
            lineage.append(described)
            described = described.above
        for one in reversed(lineage):
            if not one.flags & _IS_EXTERNAL:
                for position in self._reader.each(len(one.types)):
                    self._values(one.types[position], 1, depth)
            if one.flags & (_HAS_OWN_WRITER | _IS_EXTERNAL):
                self._annotation(depth)

    def _class(self, depth: int) -> _ClassDescription | None:
        if depth == 0:
            raise ValueError("a serialised object is nested too deep")
        reader = self._reader
        mark = reader.take(1)[0]
        if mark == _NULL:
            return None
        if mark == _REFERENCE:
            handle = reader.number() - _FIRST_HANDLE
            if not 0 <= handle < len(self._handles):
                raise ValueError("a serialised object refers to what is not there")
            return self._handles[handle]
        if mark != _CLASS:
            raise ValueError(f"a serialised object has mark {mark:#04x} where a class belongs")
        described = _ClassDescription(reader.text())
        reader.skip(8)  # its version
        self._handles.append(described)
        described.flags = reader.take(1)[0]
        types = []
        for _ in reader.each(int.from_bytes(reader.take(2))):
            kind = chr(reader.take(1)[0])
            reader.text()
            if kind not in _PRIMITIVES:
                self._value(depth - 1)  # the name of the field's class
            types.append(kind)
        described.types = tuple(types)
        self._annotation(depth - 1)
        described.above = self._class(depth - 1)
        return described

    def _annotation(self, depth: int) -> None:
        """
        Skip the data that the class's own writeObject wrote, up to its end mark.
        """
        while self._reader.data[self._reader.position : self._reader.position + 1] != bytes([_END_BLOCK]):
            self._value(depth)
        self._reader.skip(1)


FORMAT = Format("Java keystore", recognises, read, is_keystore=True)
