"""
SAML metadata (OASIS saml-metadata-2.0-os): its validity, and the certificates of its keys. Pure.

A document type is refused, and with it every entity: these make untrusted XML dangerous.
"""

import re
from dataclasses import dataclass
from xml.parsers import expat

from exporter.formats.parsed import Findings, Format, ParseContext, Parsed, from_base64
from exporter.model.observation import Item
from exporter.model.reasons import Kind
from exporter.model.times import rfc3339

METADATA = "urn:oasis:names:tc:SAML:2.0:metadata"


PUBLICATION = "urn:oasis:names:tc:SAML:metadata:rpi"


SIGNATURE = "http://www.w3.org/2000/09/xmldsig#"


USUAL_VALIDITY = 14 * 86400.0
"""Seconds of assumed validity when neither the metadata nor its file says since when it is valid."""


DEPTH_LIMIT = 100
"""Elements that may be nested in each other."""


TEXT_LIMIT = 100_000
"""Characters of one certificate."""


PREFIX_LIMIT = 1000
"""Namespace prefixes that may be declared at the same place."""


TAG_LIMIT = 1024 * 1024
"""Bytes of one tag with its attributes. The parser reads it anew with each further piece of it."""


_WAS_UTF16 = re.compile(rb"\s*<\?xml[^>]{0,100}encoding\s*=\s*[\"']utf-?16", re.IGNORECASE)

_MULTI_BYTE = "multi-byte encodings are not supported"
"""The parser's message for encodings that it has no table for."""

_PIECE = 256 * 1024
"""Bytes that are parsed at once."""


_ENTITY = "EntityDescriptor"


_ENTITIES = "EntitiesDescriptor"


_KEY = "KeyDescriptor"


_CERTIFICATE = "X509Certificate"


_INFO = "PublicationInfo"


_ELEMENTS = {METADATA: (_ENTITY, _ENTITIES, _KEY), PUBLICATION: (_INFO,), SIGNATURE: (_CERTIFICATE,)}
"""The elements that are parsed, by their namespace."""


@dataclass(frozen=True, slots=True)
class _Scope:
    """
    The namespaces declared at a place in the document.
    """

    prefixes: dict[str, str]
    """Namespaces by prefix; empty for a namespace that is not parsed."""
    elements: dict[str, str]
    """The parsed elements, by their names with the prefix."""


class _RefusedError(ValueError):
    """
    XML that is refused.
    """


class _SpentError(Exception):
    """
    The budget is spent: the items found so far are the result.
    """


def recognises(data: bytes) -> bool:
    """
    Return True for XML that names SAML's metadata.
    """
    head = data[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    return head[:1] == b"<" and (METADATA.encode("ascii") in data or b"EntitiesDescriptor" in head)


def read(data: bytes, given: ParseContext) -> Parsed:
    """
    Return the validity of the document and of each part that states one, the certificates of all keys, and
    the problems.
    """
    # Such text is UTF-8 by now (see `without_mark`), and its declaration says what it was before.
    reading = _Reading(given, "utf-8" if _WAS_UTF16.match(data) else None)
    try:
        for start in range(0, len(data), _PIECE):
            # What a handler raises is raised here, but only when the parser has read what it was given.
            reading.parser.Parse(data[start : start + _PIECE], start + _PIECE >= len(data))
            if start + _PIECE - reading.parser.CurrentByteIndex > TAG_LIMIT + _PIECE:
                raise _RefusedError(f"a tag has more than {TAG_LIMIT:,} bytes")
    except _SpentError:
        reading.end()
    except expat.ExpatError as error:
        reading.findings.broken(f"this is not well-formed XML: {error}")
    except LookupError as error:
        # The XML parser gets encodings that it does not know itself from Python.
        reading.findings.broken(f"its XML declaration names an encoding that is not known: {error}")
    except ValueError as error:
        note = reading.findings.unsupported if str(error) == _MULTI_BYTE else reading.findings.broken
        note(f"line {reading.parser.CurrentLineNumber}: {error}")
    return reading.findings.parsed()


class _Reading:
    """
    The parser of one document.
    """

    def __init__(self, given: ParseContext, encoding: str | None) -> None:
        """
        `encoding` overrides the one that the document states; None: the stated one counts.
        """
        self.findings = Findings(given.budget)
        # Prefixes are resolved here: the parser would put a namespace, which may be as long as the file,
        # before the name of each element and attribute.
        self.parser = expat.ParserCreate(encoding)
        # Else each line of text is handed over on its own.
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self._refuse
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters
        self._given = given
        self._scopes = [_Scope({}, {})]
        """The scopes of the document and of each open element."""
        self._single = True
        """True for the metadata of one entity, whose items need no entity in their names."""
        self._entity = ""
        self._valid: list[tuple[str, float]] = []
        self._created: float | None = None
        self._use: str | None = None
        """The use of the key that is being read; None outside of a key."""
        self._text: list[str] | None = None
        self._length = 0
        self._seen: set[tuple[str, str]] = set()
        self._counts: dict[tuple[str, str], int] = {}

    def _refuse(self, *_: object) -> None:
        raise _RefusedError("it has a document type, which metadata has not and which may be an attack")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        budget = self.findings.budget
        budget.spend(3 + len(attributes))
        if budget.is_spent:
            raise _SpentError
        scope = self._scopes[-1]
        if attributes and any(one.startswith("xmlns") for one in attributes):
            scope = self._declared(scope, attributes)
        self._scopes.append(scope)
        if self._depth > DEPTH_LIMIT:
            raise _RefusedError(f"elements are nested more than {DEPTH_LIMIT} deep")
        known = scope.elements.get(name)
        if known is not None or self._depth == 1:
            self._begin(known, attributes)

    def _declared(self, around: _Scope, attributes: dict[str, str]) -> _Scope:
        """
        Return the scope of an element that declares namespaces (Namespaces in XML section 3).
        """
        prefixes = around.prefixes | {
            name.removeprefix("xmlns").removeprefix(":"): value if value in _ELEMENTS else ""
            for name, value in attributes.items()
            if name == "xmlns" or name.startswith("xmlns:")
        }
        if len(prefixes) > PREFIX_LIMIT:
            raise _RefusedError(f"it declares more than {PREFIX_LIMIT:,} namespaces")
        self.findings.budget.spend(3 + len(prefixes) // 4)
        elements = {
            f"{prefix}:{name}" if prefix else name: name
            for prefix, namespace in prefixes.items()
            if namespace
            for name in _ELEMENTS[namespace]
        }
        return _Scope(prefixes, elements)

    @property
    def _depth(self) -> int:
        return len(self._scopes) - 1

    def _begin(self, name: str | None, attributes: dict[str, str]) -> None:
        if self._depth == 1:
            if name not in {_ENTITY, _ENTITIES}:
                raise _RefusedError("the outermost element is not one of SAML's metadata")
            self._single = name == _ENTITY
        if name == _ENTITY:
            self._entity = attributes.get("entityID", "")
        if name in {_ENTITY, _ENTITIES} and "validUntil" in attributes:
            whose = self._entity or attributes.get("Name", "")
            place = "metadata" if self._depth == 1 else f"metadata {whose}"
            self._note_validity(place, attributes["validUntil"])
        elif name == _INFO and self._created is None and "creationInstant" in attributes:
            self._created = _moment(attributes["creationInstant"])
        elif name == _KEY:
            self._use = attributes.get("use", "key")
        elif name == _CERTIFICATE and self._use is not None:
            self._text, self._length = [], 0

    def _end(self, name: str) -> None:
        known = self._scopes.pop().elements.get(name)
        if known == _CERTIFICATE and self._text is not None:
            self._add_certificate("".join(self._text))
            self._text = None
        elif known == _KEY:
            self._use = None
        if self._depth == 0:
            self.end()

    def _characters(self, text: str) -> None:
        if self._text is None:
            return
        self._length += len(text)
        if self._length > TEXT_LIMIT:
            raise _RefusedError(f"a certificate has more than {TEXT_LIMIT} characters")
        self._text.append(text)

    def _note_validity(self, place: str, text: str) -> None:
        self.findings.budget.spend(8)
        moment = _moment(text)
        if moment is None:
            self.findings.broken(f"line {self.parser.CurrentLineNumber}: validUntil is not a time")
        else:
            self._valid.append((place, moment))

    def end(self) -> None:
        """
        Put the items with a validity before the certificates.
        """
        stated: list[Item] = []
        for place, end in reversed(self._valid):
            begin = self._created if self._created is not None else self._given.modified
            if begin is None or begin >= end:
                begin = end - USUAL_VALIDITY
            stated.append(Item(place, Kind.METADATA, begin, end))
        self.findings.items[:0] = stated

    def _add_certificate(self, text: str) -> None:
        assert self._use is not None
        self.findings.budget.spend(8)
        place = f"the certificate that ends in line {self.parser.CurrentLineNumber} can't be read"
        try:
            found = self.findings.certificate(from_base64(text), place)
        except ValueError as error:
            self.findings.broken(f"{place}: {error}")
            return
        if found is None:
            return
        if (self._entity, found.fingerprint_sha256) in self._seen:
            return  # entities repeat it for each of their roles
        self._seen.add((self._entity, found.fingerprint_sha256))
        key = self._entity, self._use
        number = self._counts[key] = self._counts.get(key, 0) + 1
        name = f"{self._use}-{number}" if self._single else f"{self._entity} {self._use}-{number}"
        # It is trusted because it is listed here, whoever issued it: it is not a CA for others.
        self.findings.items.append(Item(name, Kind.LEAF, found.not_before, found.not_after, found))


def _moment(text: str) -> float | None:
    """
    Return the seconds since the epoch of an xs:dateTime, UTC without a zone (saml-core 1.3.3); None when it
    is none.
    """
    return rfc3339(text.strip(), utc_without_zone=True)


FORMAT = Format("SAML metadata", recognises, read)
