"""
Bad input: whatever the bytes, a parser gives problems of the closed list and raises nothing, in bounded time.
"""

import contextlib
import encodings.aliases
import os
import random
import struct
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter import formats
from exporter.formats import FORMATS, pkcs12, pkcs12_keys, recognised
from exporter.formats.outcome import failure
from exporter.formats.parsed import ParseContext, Parsed
from exporter.model.reasons import Kind, Reason
from exporter.pki import ber
from tests.formats.samples import PASSWORD, der, every, leaf, metadata, read, unsupported

# Thousands of inputs for the same lines: tracing these would only multiply their time.
pytestmark = pytest.mark.no_cover

GOOD = every()

SAMPLES = GOOD | unsupported()

EXPECTED = {
    Reason.FORMAT_BROKEN,
    Reason.FORMAT_UNKNOWN,
    Reason.FORMAT_UNSUPPORTED,
    Reason.KEYSTORE_LOCKED,
    Reason.KEYSTORE_PASSWORD_WRONG,
    Reason.FILE_TOO_LARGE,
}

FUZZ_SECONDS = float(os.environ.get("FUZZ_SECONDS", "1"))
"""How long the fuzz run at the end may take."""


def check(data: bytes) -> None:
    """
    Holds what is promised of every parser for any bytes.
    """
    found = recognised(data)
    # No other format looks at a password.
    for password in (None, PASSWORD) if found.is_keystore else (None,):
        parsed = found.read(ParseContext(password, 1_800_000_000.0))
        assert {problem.reason for problem in parsed.problems} <= EXPECTED
        assert len({item.name for item in parsed.items}) == len(parsed.items)
        for item in parsed.items:
            assert isinstance(item.kind, Kind)
            assert item.not_after == item.not_after  # not a NaN
            item.name.encode("utf-8")
        told = failure(parsed)
        assert told is None or told.detail
        for problem in parsed.problems:
            assert "exporter failed" not in problem.detail
            problem.detail.encode("utf-8")


def test_every_format_has_a_sample() -> None:
    """
    What is tested below is all that there is, and the samples are good.
    """
    found = {name: recognised(data).format for name, data in SAMPLES.items()}
    assert {one.name for one in found.values() if one is not None} == {one.name for one in FORMATS}
    for data in GOOD.values():
        assert read(data, PASSWORD, 1_800_000_000.0).problems == ()


@pytest.mark.parametrize("name", SAMPLES)
def test_truncated(name: str) -> None:
    """
    A file that was cut off, at many places.
    """
    data = SAMPLES[name]
    for length in {*range(0, len(data), max(1, len(data) // 150)), len(data) - 1}:
        check(data[:length])


@pytest.mark.parametrize("name", SAMPLES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), min_size=1, max_size=6))
def test_bits_flipped(name: str, changes: list[tuple[int, int]]) -> None:
    """
    Some bytes are others.
    """
    data = bytearray(SAMPLES[name])
    for position, mask in changes:
        data[position % len(data)] ^= mask
    check(bytes(data))


@given(
    begin=st.sampled_from([data[:size] for data in SAMPLES.values() for size in (4, 12, 40)]),
    rest=st.binary(max_size=300),
)
def test_anything_behind_the_begin_of_a_format(begin: bytes, rest: bytes) -> None:
    """
    Recognised, and then something else.
    """
    check(begin + rest)


@given(names=st.lists(st.sampled_from(sorted(SAMPLES)), min_size=2, max_size=4))
def test_files_glued_together(names: list[str]) -> None:
    """
    What `cat` makes of several files.
    """
    check(b"".join(SAMPLES[name] for name in names))


SAML = b"<md:EntitiesDescriptor xmlns:md='urn:oasis:names:tc:SAML:2.0:metadata'>"


def many_attributes() -> bytes:
    """
    Metadata with an element that has 300,000 attributes.
    """
    return SAML + b"<a " + b" ".join(b'a%d=""' % number for number in range(300_000)) + b"/>"


def nested_octets() -> bytes:
    """
    PKCS#12 whose content is a string in 600,000 parts, within 60 others without a length.
    """
    string = b"\x04\x01\x00" * 600_000
    for _ in range(60):
        string = b"\x24\x80" + string + b"\0\0"
    data = der(ber.OBJECT_IDENTIFIER, pkcs12._DATA)
    return b"\x30\x80\x02\x01\x03\x30\x80" + data + b"\xa0\x80" + string + b"\0" * 6


def rc2_parts(count: int, size: int) -> bytes:
    """
    PKCS#12 with so many parts of so many bytes each that are encrypted with RC2.
    """
    kind = der(ber.OBJECT_IDENTIFIER, pkcs12_keys._oid("1.2.840.113549.1.12.1.6"))
    salt_and_rounds = der(ber.SEQUENCE, der(ber.OCTET_STRING, bytes(8)), der(ber.INTEGER, b"\1"))
    data = der(ber.OBJECT_IDENTIFIER, pkcs12._DATA)
    info = der(ber.SEQUENCE, data, der(ber.SEQUENCE, kind, salt_and_rounds), der(0x80, bytes(size)))
    encrypted = der(ber.OBJECT_IDENTIFIER, pkcs12._ENCRYPTED_DATA)
    part = der(ber.SEQUENCE, encrypted, der(0xA0, der(ber.SEQUENCE, der(ber.INTEGER, b"\0"), info)))
    safe = der(0xA0, der(ber.OCTET_STRING, der(ber.SEQUENCE, part * count)))
    return der(ber.SEQUENCE, der(ber.INTEGER, b"\3"), der(ber.SEQUENCE, data, safe))


def broken_chains() -> bytes:
    """
    A Java keystore with 8,000 chains of 100 certificates each, of which none can be read.
    """
    certificate = b"\0\5X.509" + struct.pack(">I", 5) + b"\x30\3\2\1\1"
    entry = struct.pack(">I", 1) + b"\0\0" + bytes(8) + struct.pack(">II", 0, 100) + certificate * 100
    return b"\xfe\xed\xfe\xed" + struct.pack(">II", 2, 2**32 - 1) + entry * 8000


@pytest.mark.parametrize(
    "made",
    [
        b"\x30\x80" * 100_000,
        b"\x24\x80" * 100_000,
        b"\x30\x84\x7f\xff\xff\xff" * 1000,
        b"\x30\x82\xff\xff" * 20_000,
        b"-----BEGIN CERTIFICATE-----\n" * 20_000,
        (b"-----BEGIN CERTIFICATE-----\n" + b" " * 1000) * 2000,
        b"-----BEGIN " * 200_000,
        b"\xfe\xed\xfe\xed\0\0\0\2\xff\xff\xff\xff" + b"\0\0\0\1" * 100_000,
        b"\xce\xce\xce\xce\0\0\0\2\0\0\0\1\0\0\0\3\0\0" + bytes(8) + b"\xac\xed\0\5" + b"\x73\x72" * 50_000,
        b'{"keys":[' + b"{}," * 100_000 + b"{}]}",
        b"kind: Config\nusers:\n" + b"- &a [*a, *a]\n" * 1000,
        b"<md:EntitiesDescriptor xmlns:md='urn:oasis:names:tc:SAML:2.0:metadata'>" + b"<a>" * 100_000,
        b"ssh-ed25519-cert-v01@openssh.com AAAA\n" * 50_000,
        b"0" * 5_000_000,
        b"\x30\x83" + (3_000_000).to_bytes(3) + b"\x02\x00" * 1_500_000,
        leaf().der * 3000,
        b"-----BEGIN \n" * 100_000,
        (b"x" * 150 + b"-----BEGIN CERTIFICATE-----") * 20_000,
        (b"-----BEGIN CERTIFICATE-----" + b"\n" * 1000 + b"-----END CERTIFICATE-----") * 1000,
        b"MI" + b"A" * 5_000_000,
        b"\xff\xfe" + b"\x00\xd8" * 2_000_000,
        b"kind: Config\nusers:\n" + b"---\n" * 200_000,
        b"# ssh-rsa AAAA\n \n" * 100_000 + b"AAAA",
        b"x " * 100_000 + b"ssh-rsa AAAA",
        broken_chains,
        b"-----BEGIN CERTIFICATE-----\n" + b"a:\n" * 5_000_000 + b"-----END CERTIFICATE-----\n",
        b"kind: Config\nusers: [" + b"a," * 500_000 + b"]",
        b"kind" * 4_000_000 + b"Config",
        b'{"keys":[' + b"[]," * 1_300_000 + b"{}]}",
        SAML + b'<md:EntityDescriptor validUntil="2030-01-01T00:00:00Z"/>' * 230_000,
        SAML + b'<a xmlns:x="' + b"u" * 1_000_000 + b'">' + b"<x:a/>" * 100_000,
        many_attributes,
        SAML + b"\n" * 15_000_000,
        b"@openssh.com " + b"a " * 8_000_000,
        nested_octets,
        partial(rc2_parts, 20, 512 * 1024),
        partial(rc2_parts, 100_000, 8),
    ],
    ids=count(),
)
def test_nested_and_huge_input_takes_bounded_time(made: bytes | Callable[[], bytes]) -> None:
    """
    What is built to exhaust a parser is given up soon: seconds of work of this process, at most.
    """
    data = made if isinstance(made, bytes) else made()
    begin = time.process_time()
    check(data)
    assert time.process_time() - begin < 60


@given(data=st.binary(max_size=200))
def test_ber_is_read_or_refused(data: bytes) -> None:
    """
    An element lies within the bytes, and so do all inside it.
    """
    with contextlib.suppress(ber.BerError):
        found = ber.element(data)
        assert 0 <= found.start <= found.stop <= found.end <= len(data)
        for part in found:
            assert found.start <= part.begin < part.end <= found.stop


def test_ber_of_indefinite_length_and_strings_in_parts() -> None:
    """
    What Windows writes: the ends are marked, and strings come in pieces.
    """
    data = bytes.fromhex("3080 2480 0402 6162 2404 0402 6364 0000 0201 05 0000".replace(" ", ""))
    text, number = ber.element(data).parts(ber.OCTET_STRING, ber.INTEGER)
    assert text.content == b"abcd"
    assert number.number() == 5
    with pytest.raises(ber.BerError, match="tag"):
        number.expect(ber.SEQUENCE)
    with pytest.raises(ber.BerError, match="few"):
        ber.element(data).parts(0, 0, 0)


def test_fuzz() -> None:
    """
    Random damage to all samples for a second. FUZZ_SECONDS makes it longer.
    """
    chance = random.Random(20270115)
    samples = list(SAMPLES.values())
    end = time.monotonic() + FUZZ_SECONDS
    while time.monotonic() < end:
        data = bytearray(chance.choice(samples))
        for _ in range(chance.randint(1, 8)):
            at = chance.randrange(len(data))
            match chance.randrange(4):
                case 0:
                    data[at] = chance.randrange(256)
                case 1:
                    del data[at : at + chance.randint(1, 20)]
                case 2:
                    data[at:at] = chance.randbytes(chance.randint(1, 20))
                case 3:
                    other = chance.choice(samples)
                    begin = chance.randrange(len(other))
                    data[at : at + 30] = other[begin : begin + 30]
            if not data:
                break
        try:
            check(bytes(data))
        except Exception as error:
            raise AssertionError(f"these bytes are not borne: {bytes(data).hex()}") from error


@pytest.mark.parametrize(
    "name", sorted({*encodings.aliases.aliases.values(), "UTF-9", "UTF-88", "none", "\u00fc"})
)
def test_a_document_in_any_encoding(name: str) -> None:
    """
    Python is asked for what the XML parser does not know: text, no text at all, or nothing by that name.
    """
    check(metadata().replace(b"?>", f' encoding="{name}"?>'.encode(), 1))


def test_an_encoding_that_is_none_is_told() -> None:
    """
    As damage of the file, with its name.
    """
    parsed = read(metadata().replace(b"?>", b' encoding="UTF-9"?>', 1))
    assert [str(one.reason) for one in parsed.problems] == ["format_broken"]
    assert "UTF-9" in parsed.problems[0].detail


def test_a_fault_of_ours_is_one_of_the_file(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Whatever a parser raises, the others are seen; it is logged once.
    """

    def fails(_data: bytes, _given: ParseContext) -> Parsed:
        raise LookupError("nobody thought of this")

    failing = replace(formats.saml.FORMAT, read=fails)
    monkeypatch.setattr(formats, "FORMATS", (failing,))
    monkeypatch.setattr(formats, "_reported", set())
    for _ in range(2):
        parsed = read(metadata())
        assert [str(one.reason) for one in parsed.problems] == ["format_broken"]
        assert "LookupError" in parsed.problems[0].detail
    assert [record.getMessage() for record in caplog.records] == ["internal error while reading a format"]
    failing = replace(failing, recognises=lambda data: bool(fails(data, ParseContext())))
    monkeypatch.setattr(formats, "FORMATS", (failing, formats.der.FORMAT))
    assert read(leaf().der).problems == ()
