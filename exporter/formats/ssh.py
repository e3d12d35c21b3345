"""
OpenSSH certificates (PROTOCOL.certkeys of OpenSSH): `*-cert.pub` of hosts and users, one a line. Pure.

Public keys (sshd(8), also in authorized_keys and known_hosts) have no end.
"""

import re
import struct
from collections.abc import Iterator

from exporter.formats.parsed import Findings, Format, ParseContext, Parsed, from_base64, numbered
from exporter.model.observation import Item
from exporter.model.reasons import Kind

LAST_YEAR = 253_402_300_799
"""The end of the year 9999. A later end counts as none, 2**64 - 1 (for ever) too: no calendar shows it."""


_KEYS_HEAD = 64 * 1024
"""Bytes within which the first public key must begin, comments before it included."""


# Strings and numbers of each kind of key, which stand between the nonce and the serial number.
_KEY_FIELDS = {
    "ssh-rsa": 2,
    "rsa-sha2-256": 2,
    "rsa-sha2-512": 2,
    "ssh-dss": 4,
    "ecdsa-sha2-nistp256": 2,
    "ecdsa-sha2-nistp384": 2,
    "ecdsa-sha2-nistp521": 2,
    "ssh-ed25519": 1,
    "sk-ecdsa-sha2-nistp256": 3,
    "sk-ssh-ed25519": 2,
}


_MARK = b"@openssh.com"


_MARK_LIMIT = 100_000
"""Names of key types that are examined: hardware keys have such names, too."""


_LEAD = re.compile(rb"(?:^|[ \t])([a-z0-9-]{1,40})-cert-v\d{2}@openssh\.com[ \t]+", re.MULTILINE)


_LEAD_SIZE = 1 + 40 + len("-cert-v01")


_BLANKS = 100


_BLOB = re.compile(rb"[A-Za-z0-9+/=]+")


# The first line that is no comment: the key may have options or the names of hosts before it.
_KEY = re.compile(
    rb"""(?:[ \t]*(?:\#[^\r\n]*)?\r?\n)*
    (?:[^\r\n\#]{1,500}?[ \t])?
    (?:ssh-(?:rsa|dss|ed25519)|ecdsa-sha2-nistp(?:256|384|521)
    |sk-(?:ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com)[ \t]+AAAA[A-Za-z0-9+/=]+(?:[ \t\r\n]|\Z)""",
    re.VERBOSE,
)


_RFC4716 = b"---- BEGIN SSH2 PUBLIC KEY ----"


def recognises(data: bytes) -> bool:
    """
    Return True when a line holds a certificate.
    """
    return next(_lines(data), None) is not None


def _lines(data: bytes) -> Iterator[tuple[int, str, bytes]]:
    """
    Yield for each certificate the position where it begins, the key type and the base64.

    All marks are found first: a search for the pattern is slow, and blocks other threads.
    """
    position = data.find(_MARK)
    for _ in range(_MARK_LIMIT):
        if position < 0:
            return
        begin = max(0, position - _LEAD_SIZE)
        end = position + len(_MARK)
        lead = _LEAD.search(data, begin, end + _BLANKS)
        blob = _BLOB.match(data, lead.end()) if lead is not None else None
        if lead is not None and blob is not None:
            yield lead.start(1), lead[1].decode("ascii"), blob[0]
            end = blob.end()
        position = data.find(_MARK, end)


def read(data: bytes, given: ParseContext) -> Parsed:
    """
    Return every certificate of the file, as items of kind `ssh`, and the problems.
    """
    findings = Findings(given.budget)
    times: list[tuple[int, int]] = []
    number, counted = 1, 0
    for start, kind, encoded in given.budget.each(_lines(data), 10):
        number += data.count(b"\n", counted, start)
        counted = start
        try:
            times.append(_validity(kind, encoded))
        except (ValueError, struct.error) as error:
            findings.broken(f"the certificate in line {number} can't be read: {error}")
    for name, (begin, end) in zip(numbered("ssh", len(times)), times, strict=True):
        if end > LAST_YEAR:
            findings.lasting["an OpenSSH certificate that is valid for ever"] = None
        else:
            findings.items.append(Item(name, Kind.SSH, float(begin), float(end)))
    return findings.parsed()


def _validity(kind: str, encoded: bytes) -> tuple[int, int]:
    """
    Return begin and end in seconds since the epoch. Raises ValueError or struct.error.
    """
    fields = _KEY_FIELDS.get(kind)
    if fields is None:
        raise ValueError(f"its kind of key is not known: {kind}")
    blob = from_base64(encoded)
    position = 0
    # Its type, the nonce, and the key.
    for _ in range(2 + fields):
        position = _after_string(blob, position)
    position += 8 + 4  # serial number and type
    # Key identifier and principals.
    for _ in range(2):
        position = _after_string(blob, position)
    begin, end = struct.unpack_from(">QQ", blob, position)
    return begin, end


def _after_string(blob: bytes, position: int) -> int:
    """
    Return the position after the string that begins here. Raises ValueError or struct.error.
    """
    (length,) = struct.unpack_from(">I", blob, position)
    if position + 4 + length > len(blob):
        raise ValueError("it is cut off")
    return int(position + 4 + length)


def _recognises_keys(data: bytes) -> bool:
    """
    Return True when the first line holds a public key, or begins one (RFC 4716 section 3.2).
    """
    return data.startswith(_RFC4716) or (b"AAAA" in data and _KEY.match(data[:_KEYS_HEAD]) is not None)


def _read_keys(_data: bytes, _given: ParseContext) -> Parsed:
    """
    Return no items: public keys do not expire.
    """
    return Parsed(lasting=("SSH public keys",))


FORMAT = Format("OpenSSH certificate", recognises, read)


KEYS = Format("SSH public keys", _recognises_keys, _read_keys)
