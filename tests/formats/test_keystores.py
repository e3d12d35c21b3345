"""
Keystores: PKCS#12, JKS and JCEKS, with the right password, a wrong one, an empty one and none.
"""

import functools
import hashlib
import shutil
import struct
import subprocess
import time
from pathlib import Path
from typing import Any

import cryptography_vectors
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from exporter.formats import parse, pkcs12, pkcs12_keys, rc2
from exporter.formats.budget import Budget
from exporter.formats.parsed import ParseContext
from exporter.pki import ber
from tests.formats.samples import (
    PASSWORD,
    der,
    issuer,
    java_store,
    leaf,
    old_pkcs12_store,
    pkcs12_store,
    read,
    reasons,
    sealed_key,
    told,
    unsupported,
)

CHAIN = {"web": "leaf", "web/chain-1": "intermediate", "web/chain-2": "root"}


def test_pkcs12_names_what_is_above_by_the_alias() -> None:
    """
    The alias is the name of the leaf, and begins those of its chain.
    """
    assert told(read(pkcs12_store(), PASSWORD)) == CHAIN
    assert told(read(old_pkcs12_store(), PASSWORD)) == {"web": "leaf"}


def test_pkcs12_without_an_alias_is_like_a_pem_file() -> None:
    """
    Not every tool writes an alias.
    """
    assert list(told(read(pkcs12_store(name=None), PASSWORD))) == ["leaf", "chain-1", "chain-2"]


@pytest.mark.parametrize("store", [pkcs12_store, old_pkcs12_store])
@pytest.mark.parametrize(
    ("password", "reason", "words"),
    [
        (None, "keystore_locked", "none is configured"),
        ("", "keystore_password_wrong", "is empty"),
        ("wrong", "keystore_password_wrong", "another password"),
    ],
)
def test_a_password_that_does_not_open_it(
    store: object, password: str | None, reason: str, words: str
) -> None:
    """
    None, an empty one and a wrong one are told apart, and none of them is repeated.
    """
    assert callable(store)
    parsed = read(store(), password)
    assert parsed.items == ()
    assert reasons(parsed) == [reason]
    assert words in parsed.problems[0].detail
    assert "wrong" not in parsed.problems[0].detail.replace("password_wrong", "")


def test_a_pkcs12_store_without_encryption_needs_no_password() -> None:
    """
    What can be read without one is told.
    """
    assert told(read(pkcs12_store(password=None))) == CHAIN


def test_more_rounds_than_the_limit_are_refused() -> None:
    """
    A keystore that asks for billions of rounds does not stop the exporter.
    """
    data = old_pkcs12_store()
    assert b"\x02\x01\x32" in data  # 50, of what is encrypted
    assert data.endswith(b"\x02\x02\x08\x00")  # 2048, of the MAC
    parsed = read(data.replace(b"\x02\x01\x32", b"\x02\x01\x00")[:-2] + b"\x00\x00", PASSWORD)
    assert set(reasons(parsed)) == {"format_unsupported"}
    assert "rounds" in parsed.problems[0].detail


SCRYPT = "1.3.6.1.4.1.11591.4.11"


def integer(number: int) -> bytes:
    """
    An INTEGER that is not negative.
    """
    return der(ber.INTEGER, number.to_bytes(number.bit_length() // 8 + 1))


def oid(text: str) -> bytes:
    """
    An OBJECT IDENTIFIER.
    """
    return der(ber.OBJECT_IDENTIFIER, pkcs12_keys._oid(text))


@functools.cache
def scrypt_key(cost: int, parallel: int, salt: bytes) -> bytes:
    """
    The key of that password.
    """
    return hashlib.scrypt(PASSWORD.encode(), salt=salt, n=cost, r=8, p=parallel, maxmem=2**26, dklen=32)


def scrypt_store(
    cost: int = 1024, parallel: int = 1, *, says: tuple[int, int, int] | None = None, parts: int = 1
) -> bytes:
    """
    A keystore without a MAC, encrypted by PBES2 with scrypt and AES-256, in so many parts.

    No tool that is at hand writes one. It may state other parameters (N, r and p) than the true ones.
    """
    salt, vector = b"salt of a test", bytes(range(16))
    key = scrypt_key(cost, parallel, salt)
    x509 = der(0x30, oid("1.2.840.113549.1.9.22.1"), der(0xA0, der(0x04, leaf().der)))
    bag = der(0x30, oid("1.2.840.113549.1.12.10.1.3"), der(0xA0, x509))
    padder = PKCS7(128).padder()
    plain = padder.update(der(0x30, bag)) + padder.finalize()
    encryptor = Cipher(AES(key), CBC(vector)).encryptor()
    encrypted = encryptor.update(plain) + encryptor.finalize()
    stated = [integer(number) for number in (*(says or (cost, 8, parallel)), 32)]
    derivation = der(0x30, oid(SCRYPT), der(0x30, der(0x04, salt), *stated))
    scheme = der(0x30, oid("2.16.840.1.101.3.4.1.42"), der(0x04, vector))
    algorithm = der(0x30, oid("1.2.840.113549.1.5.13"), der(0x30, derivation, scheme))
    data = oid("1.2.840.113549.1.7.1")
    info = der(0x30, data, algorithm, der(0x80, encrypted))
    content = der(0x30, oid("1.2.840.113549.1.7.6"), der(0xA0, der(0x30, integer(0), info)))
    return der(0x30, integer(3), der(0x30, data, der(0xA0, der(0x04, der(0x30, *[content] * parts)))))


def test_a_pkcs12_store_with_scrypt(tmp_path: Path) -> None:
    """
    A made one, which OpenSSL reads too.
    """
    store = scrypt_store(16384)
    (tmp_path / "store.p12").write_bytes(store)
    command: list[str | Path] = [
        "openssl",
        "pkcs12",
        "-in",
        tmp_path / "store.p12",
        "-nokeys",
        "-passin",
        f"pass:{PASSWORD}",
    ]
    done = subprocess.run([*command, "-nomacver"], check=True, capture_output=True)
    assert leaf().pem in done.stdout
    assert told(read(store, PASSWORD)) == {"leaf": "leaf"}
    assert reasons(read(store, "wrong")) == ["keystore_password_wrong"]
    assert reasons(read(store)) == ["keystore_locked"]


def test_a_key_by_scrypt_is_that_of_openssl(tmp_path: Path) -> None:
    """
    OpenSSL writes a private key so; what it encrypted is decrypted in the same way.
    """
    (tmp_path / "key.pem").write_bytes(leaf().key_pem)
    command: list[str | Path] = [
        "openssl",
        "pkcs8",
        "-topk8",
        "-scrypt",
        "-in",
        tmp_path / "key.pem",
        "-outform",
        "DER",
    ]
    done = subprocess.run([*command, "-passout", f"pass:{PASSWORD}"], check=True, capture_output=True)
    algorithm, encrypted = ber.element(done.stdout).parts(ber.SEQUENCE, ber.OCTET_STRING)
    assert pkcs12_keys._oid(SCRYPT) in done.stdout
    (password,) = pkcs12._candidates(PASSWORD)
    plain = pkcs12._plain(algorithm, encrypted.content, password, Budget())
    key = leaf().key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    assert plain == key


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ({"says": (2**30, 8, 1)}, "memory"),
        ({"says": (2**60, 8, 1)}, "memory"),
        ({"says": (2, 1, 2**21)}, "memory"),
        ({"says": (2**14, 8, 64)}, "8,388,608 rounds"),
        ({"says": (1025, 8, 1)}, "parameters"),
        ({"says": (1, 8, 1)}, "parameters"),
        ({"says": (1024, 0, 1)}, "parameters"),
        ({"cost": 2**14, "parallel": 8, "parts": 30}, "1,048,576 rounds"),
    ],
    ids=["memory", "a long number", "many", "work", "no power of two", "one", "none", "parts"],
)
def test_scrypt_is_bounded(made: dict[str, Any], words: str) -> None:
    """
    In memory and in time, for one key and for all of a keystore.
    """
    store = scrypt_store(**made)
    begin = time.process_time()
    parsed = read(store, PASSWORD)
    assert time.process_time() - begin < 30
    assert set(reasons(parsed)) == {"format_unsupported"}
    assert words in parsed.problems[-1].detail


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("cert-rc2-key-3des.p12", "cryptography"),
        ("cert-aes256cbc-no-key.p12", "cryptography"),
        ("cert-key-aes256cbc.p12", "cryptography"),
        ("no-cert-key-aes256cbc.p12", "cryptography"),
    ],
)
def test_keystores_of_other_tools(name: str, password: str) -> None:
    """
    Of a corpus: with 40 bits of RC2, with AES, without a certificate.
    """
    data = (Path(cryptography_vectors.__file__).parent / "pkcs12" / name).read_bytes()
    parsed = read(data, password)
    assert parsed.problems == ()
    assert len(parsed.items) == (0 if name.startswith("no-cert") else 1)


@pytest.mark.parametrize(
    ("bits", "key", "plain", "encrypted"),
    [
        (63, "0000000000000000", "0000000000000000", "ebb773f993278eff"),
        (64, "ffffffffffffffff", "ffffffffffffffff", "278b27e42e2f0d49"),
        (64, "3000000000000000", "1000000000000001", "30649edf9be7d2c2"),
        (64, "88", "0000000000000000", "61a8a244adacccf0"),
        (64, "88bca90e90875a", "0000000000000000", "6ccf4308974c267f"),
        (64, "88bca90e90875a7f0f79c384627bafb2", "0000000000000000", "1a807d272bbe5db1"),
        (128, "88bca90e90875a7f0f79c384627bafb2", "0000000000000000", "2269552ab0f85ca6"),
    ],
)
def test_rc2_is_that_of_its_specification(bits: int, key: str, plain: str, encrypted: str) -> None:
    """
    RFC 2268 section 5, for one block and for many.
    """
    blocks, block = 20_000, bytes.fromhex(encrypted)
    made = rc2.decrypt_cbc(bytes.fromhex(key), bytes(8), block, bits)
    assert made.hex() == plain
    many = rc2.decrypt_cbc(bytes.fromhex(key), bytes(8), block * blocks, bits)
    chained = bytes(one ^ other for one, other in zip(made, block, strict=True))
    assert many == made + chained * (blocks - 1)


@pytest.mark.parametrize("content", [b"", b"1234567"])
def test_rc2_refuses_what_is_no_whole_number_of_blocks(content: bytes) -> None:
    """
    It is damaged, or not encrypted with RC2.
    """
    with pytest.raises(ValueError, match="blocks"):
        rc2.decrypt_cbc(b"12345", bytes(8), content, 40)


def test_object_identifiers_are_encoded_as_in_x690() -> None:
    """
    The table of identifiers is written with dots.
    """
    assert pkcs12_keys._oid("1.2.840.113549") == bytes.fromhex("2a864886f70d")


def test_jks_tells_by_alias() -> None:
    """
    A key's chain and a trusted certificate.
    """
    parsed = read(java_store(), PASSWORD)
    assert told(parsed) == {"web": "leaf", "web/chain-1": "intermediate", "trusted": "authority"}
    assert parsed.problems == ()
    assert parsed.lasting == ("a private key",)


def test_jks_is_read_without_a_password_and_not_believed_with_a_wrong_one() -> None:
    """
    Its certificates are not encrypted: the password only proves that nothing was changed.
    """
    assert read(java_store()).problems == ()
    parsed = read(java_store(), "wrong")
    assert told(parsed)["web"] == "leaf"
    assert reasons(parsed) == ["keystore_password_wrong"]
    assert reasons(read(java_store(), "")) == ["keystore_password_wrong"]


def test_jceks_secret_keys_are_passed_over() -> None:
    """
    A secret key is a Java object without a length: what stands behind it is found all the same.
    """
    parsed = read(java_store(mark=0xCECECECE, secret=sealed_key()), PASSWORD)
    assert told(parsed) == {"web": "leaf", "web/chain-1": "intermediate", "trusted": "authority"}
    assert set(parsed.lasting) == {"a secret key", "a private key"}


def test_a_secret_key_of_many_fields_costs_no_more_than_a_file_may() -> None:
    """
    Each field of its class counts, and each value: else a file of them would take many seconds.
    """
    described = b"\x72\0\1X" + bytes(8) + b"\2" + struct.pack(">H", 60_000) + b"B\0\0" * 60_000 + b"\x78\x70"
    entry = struct.pack(">I", 3) + b"\0\1a" + bytes(8) + b"\xac\xed\0\5\x73" + described + bytes(60_000)
    keystore = struct.pack(">III", 0xCECECECE, 2, 1) + entry + bytes(20)
    for steps, expected in ((300_000, []), (60_000, ["format_broken", "file_too_large"])):
        assert reasons(parse(keystore, ParseContext(budget=Budget(steps)))) == expected


def test_a_broken_certificate_hides_no_other_entry() -> None:
    """
    The entry is missing and named, the others are told.
    """
    data = java_store([("one", (leaf(), issuer())), ("two", None)])
    parsed = read(data.replace(leaf().der[:8], b"\xff" * 8))
    assert told(parsed) == {"two": "authority"}
    assert "'one'" in parsed.problems[0].detail


def test_aliases_that_repeat_or_are_long_stay_apart() -> None:
    """
    Names of items differ and are bounded, whatever the file says.
    """
    parsed = read(java_store([("x" * 500, None), ("x" * 400, None), ("a\nb", None), ("", None)]))
    names = [item.name for item in parsed.items]
    assert len(set(names)) == 4
    assert max(map(len, names)) <= 135
    assert r"a\nb" in names
    assert "?" in names


@pytest.mark.skipif(shutil.which("keytool") is None, reason="Java's keytool is not on this machine")
@pytest.mark.parametrize("kind", ["JKS", "JCEKS", "PKCS12"])
def test_keystores_of_java(tmp_path: Path, kind: str) -> None:
    """
    Java's own keytool writes what is read here, with a secret key in between where the type takes one.
    """
    path = tmp_path / "store"
    common = ["-keystore", str(path), "-storetype", kind, "-storepass", "changeit", "-keypass", "changeit"]
    subprocess.run(
        ["keytool", "-genkeypair", "-alias", "a", "-keyalg", "EC", "-dname", "CN=a", *common],
        check=True, capture_output=True,
    )  # fmt: skip
    if kind != "JKS":
        subprocess.run(
            ["keytool", "-genseckey", "-alias", "b", "-keyalg", "AES", "-keysize", "128", *common],
            check=True, capture_output=True,
        )  # fmt: skip
    subprocess.run(
        ["keytool", "-genkeypair", "-alias", "c", "-keyalg", "EC", "-dname", "CN=c", *common],
        check=True, capture_output=True,
    )  # fmt: skip
    parsed = read(path.read_bytes(), "changeit")
    assert told(parsed) == {"a": "leaf", "c": "leaf"}
    assert parsed.problems == ()
    assert reasons(read(path.read_bytes(), "changed!")) == ["keystore_password_wrong"]


BKS = unsupported()["BKS"]


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (BKS, "BKS version 2"),
        (b"\0\0\0\1" + BKS[4:], "BKS version 1"),  # BKS-V1 differs in its hash only
        (b"\0\0\0\1" + BKS[4:32] + b"\0" + bytes(range(20)), "BKS version 1"),  # of no entries
        (unsupported()["UBER"], "UBER"),
        (unsupported()["BCFKS"], "BCFKS"),
    ],
)
def test_keystores_of_bouncy_castle_are_told_by_name(data: bytes, name: str) -> None:
    """
    Not as damage, nor as something unknown.
    """
    parsed = read(data, PASSWORD)
    assert reasons(parsed) == ["format_unsupported"]
    assert f"({name})" in parsed.problems[0].detail


@pytest.mark.parametrize(
    ("cipher", "words"),
    [
        ("RC2-CBC", ""),
        ("RC2-40-CBC", ""),
        ("RC2-64-CBC", ""),
        ("DES-CBC", "1.3.14.3.2.7"),
        ("CAMELLIA-256-CBC", "1.2.392"),
    ],
)
def test_old_and_foreign_ciphers_in_pbes2(tmp_path: Path, cipher: str, words: str) -> None:
    """
    RC2 is read, whatever its key's effective length; of others it is said which they are.
    """
    (tmp_path / "leaf.pem").write_bytes(leaf().key_pem + leaf().pem)
    command = ["openssl", "pkcs12", "-export", "-legacy", "-in", "leaf.pem", "-name", "web"]
    options = ["-certpbe", cipher, "-keypbe", "AES-256-CBC", "-passout", f"pass:{PASSWORD}"]
    made = subprocess.run([*command, *options], cwd=tmp_path, check=True, capture_output=True)
    parsed = read(made.stdout, PASSWORD)
    if words:
        assert reasons(parsed) == ["format_unsupported"]
        assert words in parsed.problems[0].detail
    else:
        assert reasons(parsed) == []
        assert told(parsed) == {"web": "leaf"}


def certificate_bag(certificate: bytes, *attributes: bytes) -> bytes:
    """
    A bag with a certificate (RFC 7292 section 4.2.3).
    """
    value = der(0xA0, der(0x30, oid("1.2.840.113549.1.9.22.1"), der(0xA0, der(0x04, certificate))))
    more = [der(0x31, *attributes)] if attributes else []
    return der(0x30, oid("1.2.840.113549.1.12.10.1.3"), value, *more)


def alias(*values: bytes) -> bytes:
    """
    The attribute that holds the alias of a bag.
    """
    return der(0x30, oid("1.2.840.113549.1.9.20"), der(0x31, *values))


def store_of(*parts: bytes, mac: bytes = b"") -> bytes:
    """
    A keystore of these parts (SafeContents), which are not encrypted.
    """
    data = oid("1.2.840.113549.1.7.1")
    safe = der(0x30, *(der(0x30, data, der(0xA0, der(0x04, part))) for part in parts))
    return der(0x30, integer(3), der(0x30, data, der(0xA0, der(0x04, safe))), mac)


def mac_of(algorithm: str, rounds: int) -> bytes:
    """
    A MAC by a hash of this object identifier, made by so many rounds. It is wrong.
    """
    digest = der(0x30, der(0x30, oid(algorithm), b"\x05\0"), der(0x04, bytes(20)))
    return der(0x30, digest, der(0x04, bytes(8)), integer(rounds))


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(alias(der(0x0C, b"web")), id="an alias in UTF-8"),
        pytest.param(alias(), id="an alias without a value"),
        pytest.param(der(0x04, b"?"), id="an attribute that is none"),
    ],
)
def test_an_alias_that_can_not_be_read_hides_no_certificate(odd: bytes) -> None:
    """
    OpenSSL and Java pass over it as well.
    """
    parsed = read(store_of(der(0x30, certificate_bag(leaf().der, odd))))
    assert (reasons(parsed), told(parsed)) == ([], {"leaf": "leaf"})


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param([der(0x30, der(0x30, oid("1.2.3"))), der(0x30)], id="a bag without a value"),
        pytest.param([der(0x30, certificate_bag(b"")), der(0x30)], id="an empty certificate"),
        pytest.param([der(0x04, b"?")], id="a part that is none"),
        pytest.param([b""], id="an empty part"),
    ],
)
def test_what_is_damaged_in_a_keystore_hides_no_certificate(broken: list[bytes]) -> None:
    """
    What stands beside it is read, in the same part and in others.
    """
    good = certificate_bag(leaf().der)
    first = broken[0]
    beside = der(0x30, *([first[2:]] if first[:1] == b"\x30" else []), good)
    for parts in ([first, der(0x30, good)], [beside]):
        parsed = read(store_of(*parts))
        assert told(parsed)["leaf"] == "leaf"
    assert reasons(read(store_of(*broken, der(0x30, good)))) == ["format_broken"]


@pytest.mark.parametrize(
    ("mac", "reason"),
    [
        pytest.param(mac_of("1.2.3.4", 1), [], id="a hash that is not known"),
        pytest.param(mac_of("1.3.14.3.2.26", 10**9), [], id="too many rounds"),
        pytest.param(der(0x30, integer(1)), ["format_broken"], id="damaged"),
    ],
)
@pytest.mark.parametrize("password", [None, PASSWORD])
def test_a_mac_that_can_not_be_checked_hides_no_certificate(
    mac: bytes, reason: list[str], password: str | None
) -> None:
    """
    It protects a keystore against changes, and says nothing about when its certificates end.
    """
    parsed = read(store_of(der(0x30, certificate_bag(leaf().der)), mac=mac), password)
    assert (reasons(parsed), told(parsed)) == (reason, {"leaf": "leaf"})


@pytest.mark.parametrize("name", ["sha3-256", "sha3-512", "sha512-256", "sm3"])
def test_hashes_of_the_mac_are_those_of_openssl(tmp_path: Path, name: str) -> None:
    """
    The password is checked with them. With another hash it is what decrypts the certificates.
    """
    (tmp_path / "leaf.pem").write_bytes(leaf().key_pem + leaf().pem)
    command = ["openssl", "pkcs12", "-export", "-in", "leaf.pem", "-name", "web", "-macalg", name]
    made = subprocess.run(
        [*command, "-passout", f"pass:{PASSWORD}"], cwd=tmp_path, check=True, capture_output=True
    )
    right, wrong = read(made.stdout, PASSWORD), read(made.stdout, "wrong")
    assert (reasons(right), told(right)) == ([], {"web": "leaf"})
    assert (reasons(wrong), told(wrong)) == (["keystore_password_wrong"], {})
