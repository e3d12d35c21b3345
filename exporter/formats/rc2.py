"""
RC2 (RFC 2268), decryption only. Pure.

Keystores of Windows, of Java before 2018 and of OpenSSL before 3.0 encrypt certificates with keys of 40 bits
of it, and libraries refuse keys that short. It protects nothing; it must only be read.
"""

import struct

SIZE_LIMIT = 512 * 1024
"""Bytes that are decrypted: each kilobyte takes some milliseconds."""

# Table of RFC 2268 section 2.
_PITABLE = bytes.fromhex(
    "d978f9c419ddb5ed28e9fd794aa0d89dc67e37832b76538e624c6488448bfba2"
    "179a59f587b34f1361456d8d09817d32bd8f40eb86b77b0bf09521225c6b4e82"
    "54d66593ce60b21c7356c014a78cf1dc1275ca1f3bbee4d1423dd430a33cb626"
    "6fbf0eda4669075727f21d9bbc944303f811c7f690ef3ee706c3d52fc8661ed7"
    "08e8eade8052eef784aa72ac354d6a2a961ad2715a1549744b9fd05e0418a4ec"
    "c2e0416e0f51cbcc2491af50a1f47039997c3a8523b8b47afc02365b25559731"
    "2d5dfa98e38a92ae05df2910676cbac9d300e6cfe19ea82c6316013f58e289a9"
    "0d38341bab33ffb0bb480c5fb9b1cd2ec5f3db47e5a59c770aa62068fe7fc1ad"
)

_MASK = 0xFFFF
_SHIFTS = (1, 2, 3, 5)


def decrypt_cbc(key: bytes, vector: bytes, content: bytes) -> bytes:
    """
    The content decrypted in cipher block chaining, padding included; the key's whole length counts.

    Raises ValueError for what is no whole number of blocks, or too much.
    """
    if len(content) % 8 or len(vector) != 8 or not content:
        raise ValueError("the content is not a whole number of blocks")
    if len(content) > SIZE_LIMIT:
        raise ValueError(f"more than {SIZE_LIMIT} bytes are encrypted with RC2")
    words = _expanded(key)
    plain = bytearray()
    for start in range(0, len(content), 8):
        block = content[start : start + 8]
        made = _decrypted(words, block)
        plain += bytes(one ^ other for one, other in zip(made, vector, strict=True))
        vector = block
    return bytes(plain)


def _expanded(key: bytes) -> tuple[int, ...]:
    """
    The 64 words of a key (RFC 2268 section 2).
    """
    size = len(key)
    buffer = bytearray(key) + bytearray(128 - size)
    for index in range(size, 128):
        buffer[index] = _PITABLE[(buffer[index - 1] + buffer[index - size]) & 0xFF]
    buffer[128 - size] = _PITABLE[buffer[128 - size]]
    for index in range(127 - size, -1, -1):
        buffer[index] = _PITABLE[buffer[index + 1] ^ buffer[index + size]]
    return struct.unpack("<64H", buffer)


def _decrypted(words: tuple[int, ...], block: bytes) -> bytes:
    """
    One block (RFC 2268 section 4).
    """
    state = list(struct.unpack("<4H", block))
    for turn in range(15, -1, -1):
        for index in (3, 2, 1, 0):
            shift = _SHIFTS[index]
            value = (state[index] >> shift | state[index] << (16 - shift)) & _MASK
            above, over, far = state[index - 1], state[index - 2], state[index - 3]
            state[index] = (value - words[4 * turn + index] - (above & over) - (~above & far)) & _MASK
        if turn in {5, 11}:
            for index in (3, 2, 1, 0):
                state[index] = (state[index] - words[state[index - 1] & 63]) & _MASK
    return struct.pack("<4H", *state)
