"""
RC2 (RFC 2268), decryption only. Pure.

Keystores of Windows, of Java before 2018 and of OpenSSL before 3.0 encrypt certificates with RC2 keys of 40
bits, and libraries refuse keys that short. RC2 protects nothing; it is only needed to read them.
"""

import struct

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


_PIECE = 64 * 1024
"""Bytes that are decrypted at once: few enough for the processor's cache, and for other threads."""


_SHIFTS = (1, 2, 3, 5)


def decrypt_cbc(key: bytes, vector: bytes, content: bytes, bits: int) -> bytes:
    """
    Return the content decrypted in cipher block chaining, padding included. `bits`: the key's effective
    length.

    Raises ValueError for content that is no whole number of blocks.
    """
    if len(content) % 8 or len(vector) != 8 or not content:
        raise ValueError("the content is not a whole number of blocks")
    words = _expanded(key, bits)
    plain = b"".join(
        _decrypted(words, content[start : start + _PIECE]) for start in range(0, len(content), _PIECE)
    )
    before = int.from_bytes(vector + content[:-8])
    return (int.from_bytes(plain) ^ before).to_bytes(len(content))


def _expanded(key: bytes, bits: int) -> tuple[int, ...]:
    """
    Return the 64 words of the expanded key (RFC 2268 section 2).
    """
    size, effective = len(key), -(-bits // 8)
    buffer = bytearray(key) + bytearray(128 - size)
    for index in range(size, 128):
        buffer[index] = _PITABLE[(buffer[index - 1] + buffer[index - size]) & 0xFF]
    buffer[128 - effective] = _PITABLE[buffer[128 - effective] & 0xFF >> -bits % 8]
    for index in range(127 - effective, -1, -1):
        buffer[index] = _PITABLE[buffer[index + 1] ^ buffer[index + effective]]
    return struct.unpack("<64H", buffer)


def _decrypted(words: tuple[int, ...], content: bytes) -> bytes:
    """
    Return each block decrypted on its own (RFC 2268 section 4).

    In chaining, blocks are decrypted independently of each other. So all of them are decrypted at once: an
    integer holds the same word of every block, each in four bytes, of which the upper two take up carries.
    """
    blocks = len(content) // 8
    ones = int.from_bytes(b"\1\0\0\0" * blocks, "little")
    mask, carries = ones * 0xFFFF, ones * 0x40000
    lower, upper = _tables(words)
    lanes = bytearray(4 * blocks)
    state = []
    for index in range(4):
        lanes[0::4], lanes[1::4] = content[2 * index :: 8], content[2 * index + 1 :: 8]
        state.append(int.from_bytes(lanes, "little"))
    for turn in range(15, -1, -1):
        for index in (3, 2, 1, 0):
            shift = _SHIFTS[index]
            value = (state[index] >> shift & ones * (0xFFFF >> shift)) | (state[index] << (16 - shift) & mask)
            above, over, far = state[index - 1], state[index - 2], state[index - 3]
            taken = ones * words[4 * turn + index] + (above & over) + ((above ^ mask) & far)
            state[index] = (value + carries - taken) & mask
        if turn in {5, 11}:
            for index in (3, 2, 1, 0):
                chosen = state[index - 1].to_bytes(4 * blocks, "little")[0::4]
                lanes[0::4], lanes[1::4] = chosen.translate(lower), chosen.translate(upper)
                state[index] = (state[index] + carries - int.from_bytes(lanes, "little")) & mask
    plain = bytearray(len(content))
    for index in range(4):
        made = state[index].to_bytes(4 * blocks, "little")
        plain[2 * index :: 8], plain[2 * index + 1 :: 8] = made[0::4], made[1::4]
    return bytes(plain)


def _tables(words: tuple[int, ...]) -> tuple[bytes, bytes]:
    """
    Return tables of the lower and the upper byte of the word that each byte chooses by its lower six bits.
    """
    chosen = [words[number & 63] for number in range(256)]
    return bytes(word & 0xFF for word in chosen), bytes(word >> 8 for word in chosen)
