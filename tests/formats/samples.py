"""
Files in every format, made of minted certificates.
"""

import base64
import functools
import hashlib
import json
import struct
from collections.abc import Sequence
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import pkcs7, pkcs12

from exporter.demo.minter import Minted
from exporter.formats import parse
from exporter.formats.parsed import ParseContext, Parsed
from tests.support.certificates import DAY, NOW, authority, staple

PASSWORD = "open sesame ü"
"""Of every keystore here; not in ASCII, since each format encodes it in its own way."""


@functools.cache
def issuer() -> Minted:
    """
    An intermediate with a root above it.
    """
    return authority()


@functools.cache
def leaf(name: str = "www.example") -> Minted:
    """
    A server's certificate of that issuer.
    """
    return issuer().issue(name, [name], not_before=NOW - DAY, not_after=NOW + 89 * DAY)


def root() -> Minted:
    """
    The root above the issuer.
    """
    above = issuer().issuer
    assert above is not None
    return above


def read(data: bytes, password: str | None = None, modified: float | None = None) -> Parsed:
    """
    What is in these bytes.
    """
    return parse(data, ParseContext(password, modified))


def told(parsed: Parsed) -> dict[str, str]:
    """
    The kind of each item by its name.
    """
    return {item.name: str(item.kind) for item in parsed.items}


def reasons(parsed: Parsed) -> list[str]:
    """
    The reason of each problem.
    """
    return [str(problem.reason) for problem in parsed.problems]


def signed_data(*certificates: Minted, pem: bool = False) -> bytes:
    """
    PKCS#7 that holds certificates and signs nothing.
    """
    encoding = serialization.Encoding.PEM if pem else serialization.Encoding.DER
    return pkcs7.serialize_certificates([one.certificate for one in certificates], encoding)


def revocation_list(next_update: float = NOW + 7 * DAY) -> bytes:
    """
    A revocation list of the issuer, DER.
    """
    key = issuer().key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer().certificate.subject)
        .last_update(datetime.fromtimestamp(NOW - DAY, UTC))
        .next_update(datetime.fromtimestamp(next_update, UTC))
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def ocsp_response(revoked_at: float | None = None) -> bytes:
    """
    An OCSP response about the leaf, DER.
    """
    return staple(leaf(), this_update=NOW - DAY, next_update=NOW + 3 * DAY, revoked_at=revoked_at)


def pem(label: str, data: bytes) -> bytes:
    """
    A PEM block.
    """
    text = base64.encodebytes(data).decode("ascii")
    return f"-----BEGIN {label}-----\n{text}-----END {label}-----\n".encode("ascii")


def der(tag: int, *parts: bytes) -> bytes:
    """
    An element of DER.
    """
    content = b"".join(parts)
    length = len(content)
    size = bytes([length]) if length < 128 else b"\x84" + length.to_bytes(4)
    return bytes([tag]) + size + content


def pkcs12_store(name: bytes | None = b"web", password: str | None = PASSWORD) -> bytes:
    """
    A PKCS#12 keystore with key, leaf and its chain.
    """
    encryption = (
        serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
    )
    key = leaf().key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    chain = [issuer().certificate, root().certificate]
    return pkcs12.serialize_key_and_certificates(name, key, leaf().certificate, chain, encryption)


def old_pkcs12_store() -> bytes:
    """
    The same with the ciphers of old: 3DES and a MAC by SHA-1.
    """
    encryption = (
        serialization.PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(50)
        .key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC)
        .hmac_hash(hashes.SHA1())
        .build(PASSWORD.encode())
    )
    key = leaf().key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return pkcs12.serialize_key_and_certificates(b"web", key, leaf().certificate, None, encryption)


def java_store(
    entries: Sequence[tuple[str, Sequence[Minted] | None]] = (("web", ()), ("trusted", None)),
    *,
    password: str = PASSWORD,
    mark: int = 0xFEEDFEED,
    secret: bytes = b"",
) -> bytes:
    """
    A Java keystore: aliases with the chain of a key, or None for a trusted certificate (the root).

    An empty chain is the leaf and its issuer. `secret` is a serialised secret key to be put first.
    """

    def text(value: str) -> bytes:
        encoded = value.encode()
        return struct.pack(">H", len(encoded)) + encoded

    def certificate(one: Minted) -> bytes:
        return text("X.509") + struct.pack(">I", len(one.der)) + one.der

    body = struct.pack(">III", mark, 2, len(entries) + bool(secret))
    if secret:
        body += struct.pack(">I", 3) + text("hidden") + bytes(8) + secret
    for alias, chain in entries:
        if chain is None:
            body += struct.pack(">I", 2) + text(alias) + bytes(8) + certificate(root())
            continue
        presented = chain or (leaf(), issuer())
        key = b"not a key: nobody may look at it"
        body += struct.pack(">I", 1) + text(alias) + bytes(8) + struct.pack(">I", len(key)) + key
        body += struct.pack(">I", len(presented)) + b"".join(map(certificate, presented))
    digest = hashlib.sha1(password.encode("utf-16-be") + b"Mighty Aphrodite" + body)
    return body + digest.digest()


def sealed_key() -> bytes:
    """
    A serialised object of the class and fields that a JCEKS keystore seals secret keys in.
    """

    def text(value: str) -> bytes:
        return struct.pack(">H", len(value)) + value.encode()

    def described(name: str, flags: int, fields: bytes, count: int) -> bytes:
        return b"\x72" + text(name) + bytes(8) + bytes([flags]) + struct.pack(">H", count) + fields + b"\x78"

    array = b"\x75" + described("[B", 2, b"", 0) + b"\x70"
    # The second array and class name refer back to the first (handle: 0x7e0000 + position).
    fields = (
        b"[" + text("encodedParams") + b"\x74" + text("[B")
        + b"[" + text("encryptedContent") + b"\x71" + struct.pack(">I", 0x7E0001)
        + b"L" + text("paramsAlg") + b"\x74" + text("Ljava/lang/String;")
        + b"I" + text("number")
    )  # fmt: skip
    sealed = described("javax.crypto.SealedObject", 2, fields, 4) + b"\x70"
    values = (
        array + struct.pack(">I", 5) + b"12345"
        + b"\x75\x71" + struct.pack(">I", 0x7E0004) + struct.pack(">I", 3) + b"abc"
        + b"\x74" + text("PBEWithMD5AndTripleDES") + struct.pack(">I", 7)
    )  # fmt: skip
    return b"\xac\xed\x00\x05\x73" + sealed + values


def ssh_certificate(valid_before: int = int(NOW) + 30 * 86400) -> bytes:
    """
    A host's certificate as `ssh-keygen -s` writes it.
    """
    key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))
    built = (
        serialization.SSHCertificateBuilder()
        .public_key(key.public_key())
        .serial(1)
        .type(serialization.SSHCertificateType.HOST)
        .key_id(b"host")
        .valid_principals([b"host.example"])
        .valid_after(int(NOW) - 86400)
        .valid_before(valid_before)
        .sign(key)
    )
    return built.public_bytes() + b" root@host\n"


def ssh_public_key() -> bytes:
    """
    The file that `ssh-keygen` writes beside a private key.
    """
    key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key()
    encoded = key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return encoded + b" root@host\n"


def kubeconfig(**users: dict[str, str]) -> bytes:
    """
    A kubeconfig with an embedded CA, and these users.
    """
    ca = base64.b64encode(root().pem).decode("ascii")
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "prod", "cluster": {"certificate-authority-data": ca}}],
            "users": [{"name": name, "user": settings} for name, settings in users.items()],
        },
        indent=1,
    ).encode()


def key_set(*keys: dict[str, object]) -> bytes:
    """
    A JSON Web Key Set.
    """
    return json.dumps({"keys": list(keys)}).encode()


def x5c(*chain: Minted) -> list[str]:
    """
    Certificates as a key in a set carries them.
    """
    return [base64.b64encode(one.der).decode("ascii") for one in chain]


def metadata(valid_until: str = "2027-02-01T00:00:00Z", extra: str = "", head: str = "") -> bytes:
    """
    SAML metadata of one entity with the leaf as its signing key, in both of its roles.
    """
    certificate = base64.encodebytes(leaf().der).decode("ascii")
    key = (
        '<md:KeyDescriptor use="signing"><ds:KeyInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#">'
        f"<ds:X509Data><ds:X509Certificate>{certificate}</ds:X509Certificate></ds:X509Data></ds:KeyInfo>"
        "</md:KeyDescriptor>"
    )
    return (
        f'<?xml version="1.0"?>{head}<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" '
        f'entityID="https://idp.example" validUntil="{valid_until}">{extra}'
        f"<md:IDPSSODescriptor>{key}</md:IDPSSODescriptor><md:SPSSODescriptor>{key}</md:SPSSODescriptor>"
        "</md:EntityDescriptor>"
    ).encode()


def acme_json(*entries: object, resolver: str = "letsencrypt") -> bytes:
    """
    Traefik's acme.json with these certificates.
    """
    return json.dumps(
        {resolver: {"Account": {"PrivateKey": "c2VjcmV0"}, "Certificates": [*entries]}}
    ).encode()


def traefik_entry(name: str, chain: bytes) -> dict[str, object]:
    """
    One certificate as Traefik stores it.
    """
    return {
        "domain": {"main": name},
        "certificate": base64.b64encode(chain).decode(),
        "key": "c2VjcmV0",
        "Store": "default",
    }


@functools.cache
def every() -> dict[str, bytes]:
    """
    One good file of each format.
    """
    return {
        "PEM": leaf().chain_pem + leaf().key_pem,
        "PEM of others": pem("X509 CRL", revocation_list()) + signed_data(leaf(), pem=True),
        "DER": leaf().der,
        "CRL": revocation_list(),
        "PKCS#7": signed_data(leaf(), issuer()),
        "OCSP": ocsp_response(),
        "PKCS#12": old_pkcs12_store(),
        "JKS": java_store(),
        "JCEKS": java_store(mark=0xCECECECE, secret=sealed_key()),
        "OpenSSH": ssh_certificate(),
        "SSH keys": ssh_public_key(),
        "kubeconfig": kubeconfig(admin={"client-certificate-data": base64.b64encode(leaf().pem).decode()}),
        "JWKS": key_set({"kid": "one", "x5c": x5c(leaf(), issuer())}),
        "SAML": metadata(),
        "Traefik": acme_json(traefik_entry("www.example.com", leaf().chain_pem)),
    }


# Made by Bouncy Castle 1.72 with keytool, a certificate each.
_BOUNCY_CASTLE = {
    "BKS": (
        "AAAAAgAAABQgcHcSOQH0W6fRUPQhT0JRXQyCRwAABjQBAAN3ZWIAAAGiIYksogAAAAAABVguNTA5AAABhTCCAYEwggEnoAMC"
        "AQICFFvmXzk3AmS0OqEQOaCJCrDqsb+oMAoGCCqGSM49BAMCMBYxFDASBgNVBAMMC2Jrcy5leGFtcGxlMB4XDTI2MTEyODA5"
        "NDI0NloXDTI2MTIyODA5NDI0NlowFjEUMBIGA1UEAwwLYmtzLmV4YW1wbGUwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQf"
        "NMQitaXikogiKzMiB+lKoqQ1Zq1vuwfisiw2C1xUXXgypFFWdjp4su94/oP2+aEd/KlIzpSa4RUq/b5JQZ/Ao1MwUTAdBgNV"
        "HQ4EFgQUJTxFr20KhySygSAqWKYa4X+SvCQwHwYDVR0jBBgwFoAUJTxFr20KhySygSAqWKYa4X+SvCQwDwYDVR0TAQH/BAUw"
        "AwEB/zAKBggqhkjOPQQDAgNIADBFAiAxtGNS3QW+bM/Ev25+Jr8ODq/poEoZ5n0rpMhM4g6pngIhANHj4SweBd9Vcdive27e"
        "/VC+Z87HOPr5w/4Z087PlWUIACsERUjeCoPQJ3FRwk6oF8Q6LHQt"
    ),
    "UBER": (
        "AAAAAQAAABSBUW3mRDKCZAFabNCwCpnLOPXJdAAABXbEbXZf24lhjqKC1awiiyjZm7fVsDkGOGbyW0in1n6iKuTOoyUFZag9"
        "R8lKyrtpAwG4X27AyRAyK/IcU8Z+rRPdG8o6XOjP+T+Q+JJiD8fagVnz7oInRkxep/s/G0BPQ0L8t3tTjf/+o8nCknkovxTa"
        "jvuhZjri6Y0rdKS0FOBcZGhYQFbbAqFiqZSaVT7y/0RfcdWTPLUiPq/9woFKktMAFxPrsxNJD6hmh0j2TFfa9SUd/cO1XCGk"
        "GJEtxQxvOG9bQdrYpoypp7S/k2OiRTLXtTTns+Y17GxBAtccsb4N/w+y7QNP0ckBpnKM4CCb/2cfiINpRN2ZWV4UWP6EI+O3"
        "Nb30CWpexghtK7dQtOe1lTi4gooyDVTWDSBDrjc4L0W5lxazVJ1OKg3En0niEu47IufSDGUhKWj0MyUh1d0ULVx9foPjQyMO"
        "5zDCm0+3hHJxywjDdZUgF6bbcKGqIQJxUYHunrjyYFEWkDRLdUlTrjESV4VpWVRpN6aEC1JpvY6mGkgOxj6zV3lhCWKiLADR"
        "HmH1HkZYTWsOygqOzQMdaBY+fxvkOPx737DyL755C7J8aw155HGaR0OvVpmvh7HI"
    ),
    "BCFKS": (
        "MIIDVDCCApYwgZUGCSqGSIb3DQEFDTCBhzBlBgkqhkiG9w0BBQwwWARAS7/mIA688DRDmCwz7NuWJYBHZ+PaNMY0S6SwAWK2"
        "TUtvwqrAR2JdziCF4Xy6rdY5/ok7bSwONdW83PswNV5vOgIDAMgAAgEgMAwGCCqGSIb3DQILBQAwHgYJYIZIAWUDBAEvMBEE"
        "DA3s9yrDCYT/k5qVkQIBCASCAfpjfWdiZ1oz4kthYcuonoZLgE2BuhryRv9aeBNjDZuGhLLUywdYclP80cXA0vtV0JUgcr4x"
        "5SuxALzHRdoQKRn/UIqdrbuuX4mintYhxvFXainFg/DgXhOfy6x8h68SbIU7Si9siwFJgRNKmIjnzexHbCqMfXncXLqRHdUJ"
        "evzHlZBk6OOF4kXBzkt6hNp3UF2nda9LOWsy55Qkqc8riY40ycj86+Wc1pVkj7Ef19lsImSME9D4djZJWE+pAK3Z4F3ewIKa"
        "aCsn5o500TTClp7mdJUpFV7xqYuxWSZNHcbmZpsJt2EkCgbVSHy1mv8KNlxWs8zbRc4Y+xFeXuHTskoGIPBBCY9DXMJ4+//L"
        "eU9gAps3aSL4lLStQ1GMc5wPOH1lyZ043enosJR/I/J0Ydw9mNY2NIUQHeTwoxk1nl3+407kvuPhpD/Dlo6M3O5mxisNb/sy"
        "f9hbiLQfdcNWPon8Bm0Y7cQCYhIuB+ypAM6HwZS2l0P8jHrbqkl1+gedaRGKg/MtCMQPJ1NhXn5OD/izArrKhteWTOF2B0Yk"
        "xYp+EJbHoDhPXQ9mCAG3sIX1jg7KVYqSET4TXT0/S4oRRifRpeY8eLBB13MiBB3GpMLUuE6siaGI4M01pPsIIMx65Jj/m3ys"
        "hE7TyoJ8p6fwS02X8NXzZ7xWUcUiSzCBtzAMBggqhkiG9w0CCwUAMGUGCSqGSIb3DQEFDDBYBED++D1PkfgNSbalJEghF8ys"
        "ooGMm3GyBnOgBSolPWfl+pL9Ry5m18S9qjfa9+Bmy4zEX3ylGp+TGfPBlx2jV4v5AgMAyAACAUAwDAYIKoZIhvcNAgsFAARA"
        "4BfAdAUtmDIdhPMXezlDvd3fWXA11kPbckUtRCPmPyrqQV0UJ/hwPzhRXPsouPTyxO7Vv2298JtQk6dF2IcYVw=="
    ),
}


def unsupported() -> dict[str, bytes]:
    """
    Files that are known by name and not read.
    """
    return {name: base64.b64decode(text) for name, text in _BOUNCY_CASTLE.items()}
