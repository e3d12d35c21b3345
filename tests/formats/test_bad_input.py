"""
Bad input: whatever the bytes, a parser gives problems of the closed list and raises nothing, in bounded time.
"""

import contextlib
import os
import random
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.formats import FORMATS, ber, failure, format_of
from exporter.observation import Kind, Reason
from tests.formats.samples import PASSWORD, every, leaf, read

SAMPLES = every()

EXPECTED = {
    Reason.FORMAT_BROKEN,
    Reason.FORMAT_UNKNOWN,
    Reason.KEYSTORE_LOCKED,
    Reason.KEYSTORE_PASSWORD_WRONG,
    Reason.FILE_TOO_LARGE,
}

FUZZ_SECONDS = float(os.environ.get("FUZZ_SECONDS", "5"))
"""How long the fuzz run at the end may take."""


def check(data: bytes) -> None:
    """
    Holds what is promised of every parser for any bytes.
    """
    for password in (None, PASSWORD):
        parsed = read(data, password, 1_800_000_000.0)
        assert {problem.reason for problem in parsed.problems} <= EXPECTED
        assert len({item.name for item in parsed.items}) == len(parsed.items)
        for item in parsed.items:
            assert isinstance(item.kind, Kind)
            assert item.not_after == item.not_after  # not a NaN
            item.name.encode("utf-8")
        found = failure(parsed)
        assert found is None or found.detail
        for problem in parsed.problems:
            problem.detail.encode("utf-8")


def test_every_format_has_a_sample() -> None:
    """
    What is tested below is all that there is, and the samples are good.
    """
    found = {name: format_of(data) for name, data in SAMPLES.items()}
    assert {one.name for one in found.values() if one is not None} == {one.name for one in FORMATS}
    for data in SAMPLES.values():
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
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), min_size=1, max_size=6))
def test_bits_flipped(name: str, changes: list[tuple[int, int]]) -> None:
    """
    Some bytes are others.
    """
    data = bytearray(SAMPLES[name])
    for position, mask in changes:
        data[position % len(data)] ^= mask
    check(bytes(data))


@settings(max_examples=300, deadline=None)
@given(
    begin=st.sampled_from([data[:size] for data in SAMPLES.values() for size in (4, 12, 40)]),
    rest=st.binary(max_size=300),
)
def test_anything_behind_the_begin_of_a_format(begin: bytes, rest: bytes) -> None:
    """
    Recognised, and then something else.
    """
    check(begin + rest)


@settings(max_examples=200, deadline=None)
@given(names=st.lists(st.sampled_from(sorted(SAMPLES)), min_size=2, max_size=4))
def test_files_glued_together(names: list[str]) -> None:
    """
    What `cat` makes of several files.
    """
    check(b"".join(SAMPLES[name] for name in names))


@pytest.mark.parametrize(
    "data",
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
    ],
    ids=range(24),
)
def test_nested_and_huge_input_takes_bounded_time(data: bytes) -> None:
    """
    What is built to exhaust a parser is given up soon: seconds of work of this process, at most.
    """
    begin = time.process_time()
    check(data)
    assert time.process_time() - begin < 10


@settings(max_examples=300, deadline=None)
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
    Random damage to all samples for some seconds. FUZZ_SECONDS makes it longer.
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
