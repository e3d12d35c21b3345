"""
The client certificate and key that this exporter presents to servers, from the content of their files.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from exporter.model.errors import ProbeError
from exporter.model.observation import Certificate
from exporter.model.reasons import Reason
from exporter.pki.certificates import parse_pem


@dataclass(frozen=True, slots=True, eq=False)
class ClientCertificate:
    """
    The client certificate that is presented to servers which request one. Each is equal to itself only.
    """

    chain: tuple[x509.Certificate, ...]
    key: PrivateKeyTypes


Read = Callable[[str], bytes]
"""Returns the content of a file without waiting. Raises ProbeError."""


def load_client_certificate(
    cert_file: str, key_file: str | None, password: str | None, read: Read
) -> ClientCertificate:
    """
    Return the client certificate in these PEM files, parsed again when they change. Raises ProbeError.

    No message contains the key or the password.
    """
    try:
        certificate, key = read(cert_file), read(key_file or cert_file)
    except ProbeError as error:
        raise ProbeError(Reason.CLIENT_CERTIFICATE_UNUSABLE, error.detail) from None
    return _client_certificate(cert_file, key_file or cert_file, password, certificate, key)


def client_leaf(cert_file: str, read: Read) -> Certificate | None:
    """
    Return the client certificate in this PEM file, whatever its key is; None when it can't be read.
    """
    try:
        return _client_leaf(read(cert_file))
    except ProbeError:
        return None


@lru_cache(maxsize=256)
def _client_leaf(content: bytes) -> Certificate | None:
    leaf = next(iter(parse_pem(content)), None)
    return leaf if isinstance(leaf, Certificate) else None


@lru_cache(maxsize=256)
def _client_certificate(
    cert_file: str, key_file: str, password: str | None, cert_pem: bytes, key_pem: bytes
) -> ClientCertificate:
    try:
        chain = tuple(x509.load_pem_x509_certificates(cert_pem))
        key = serialization.load_pem_private_key(key_pem, password.encode() if password is not None else None)
        fits = chain[0].public_key() == key.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The library's message may quote the file; this one does not.
        hint = (
            "wrong password, or no key in it" if password is not None else "no key in it, or it is encrypted"
        )
        raise ProbeError(
            Reason.CLIENT_CERTIFICATE_UNUSABLE,
            f"no usable certificate in {cert_file}, or no usable key in {key_file} ({hint})",
        ) from None
    if not fits:
        raise ProbeError(
            Reason.CLIENT_CERTIFICATE_UNUSABLE,
            f"the key in {key_file} is not that of the first certificate in {cert_file}",
        )
    return ClientCertificate(chain, key)
