"""
The certificate and key that this side shows when a server asks for one, read from files.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from exporter.model.errors import ProbeError
from exporter.model.observation import Certificate
from exporter.model.reasons import Reason
from exporter.pki.certificates import parse_pem
from exporter.pki.regular_files import content


@dataclass(frozen=True, slots=True, eq=False)
class ClientCertificate:
    """
    The certificate this side shows when a server asks for one. Each is equal to itself only.
    """

    chain: tuple[x509.Certificate, ...]
    key: PrivateKeyTypes


def load_client_certificate(cert_file: str, key_file: str | None, password: str | None) -> ClientCertificate:
    """
    The client certificate in these PEM files, read again when they change. Raises ProbeError.

    No message contains the key or the password.
    """
    try:
        changed = tuple(Path(file).stat().st_mtime_ns for file in (cert_file, key_file or cert_file))
    except OSError as error:
        raise _unusable(error) from None
    return _load_client_certificate(cert_file, key_file, password, changed)


def _unusable(error: OSError) -> ProbeError:
    return ProbeError(Reason.CLIENT_CERTIFICATE_UNUSABLE, f"can't read {error.filename}: {error.strerror}")


def client_leaf(cert_file: str) -> Certificate | None:
    """
    The client certificate in this PEM file, whatever its key is; None when there is none that can be read.
    """
    try:
        return _client_leaf(cert_file, Path(cert_file).stat().st_mtime_ns)
    except OSError:
        return None


@lru_cache(maxsize=256)
def _client_leaf(cert_file: str, _changed: int) -> Certificate | None:
    try:
        leaf = next(iter(parse_pem(content(cert_file))), None)
    except OSError:
        return None
    return leaf if isinstance(leaf, Certificate) else None


@lru_cache(maxsize=256)
def _load_client_certificate(
    cert_file: str, key_file: str | None, password: str | None, _changed: tuple[int, ...]
) -> ClientCertificate:
    try:
        chain = tuple(x509.load_pem_x509_certificates(content(cert_file)))
        key = serialization.load_pem_private_key(
            content(key_file or cert_file), password.encode() if password is not None else None
        )
        fits = chain[0].public_key() == key.public_key()
    except OSError as error:
        raise _unusable(error) from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The library's words may quote what it read; these do not.
        hint = (
            "wrong password, or no key in it" if password is not None else "no key in it, or it is encrypted"
        )
        raise ProbeError(
            Reason.CLIENT_CERTIFICATE_UNUSABLE,
            f"no usable certificate in {cert_file}, or no usable key in {key_file or cert_file} ({hint})",
        ) from None
    if not fits:
        raise ProbeError(
            Reason.CLIENT_CERTIFICATE_UNUSABLE,
            f"the key in {key_file or cert_file} is not that of the first certificate in {cert_file}",
        )
    return ClientCertificate(chain, key)
