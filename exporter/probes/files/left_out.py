"""
Files that a pattern leaves out: those without certificates, and the trust stores of the system.

A pattern such as `/etc/ssl/**` matches more than its author means to watch. A file that is named is always
watched.
"""

import os
import re

from exporter.formats.parsed import Parsed
from exporter.model.errors import ProbeError
from exporter.model.reasons import Kind, Reason

STORES = (
    "/usr/share/ca-certificates/",
    "/usr/share/pki/",
    "/etc/pki/ca-trust/extracted/",
    "/etc/ca-certificates/extracted/",
    "/var/lib/ca-certificates/",
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/certs/ca-bundle.crt",
    "/etc/ssl/certs/java/cacerts",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/java/cacerts",
)
"""
Directories in which distributions (Debian, Fedora, SUSE, Arch, Alpine) keep their trusted roots.

Without those for an administrator's own roots (`/usr/local/share/ca-certificates`, `ca-trust/source`).
"""


MANY_ROOTS = 50
"""Roots in one file from which on it counts as a trust store, wherever it is (Java's, Python's certifi)."""


TRUST_STORE = "it belongs to the system's trust store: name it without a pattern to watch it"


_CERTIFICATE_NAME = re.compile(
    r".*\.(?:pem|crt|cert?|cer|der|p7[bcs]|p12|pfx|jks|jceks|bcfks|bks|keystore|truststore|crl|ocsp|ca-bundle)",
    re.IGNORECASE | re.DOTALL,
)


_OTHER_NAME = re.compile(r".*[^/]\.[A-Za-z0-9_-]{1,10}", re.DOTALL)


_KEY_NAME = re.compile(
    r".*(?:\.key|/privkey[^/]*\.pem|[-_.]key\.pem|/private/[^/]*)", re.IGNORECASE | re.DOTALL
)


def why(path: str, parsed: Parsed, problem: ProbeError | None) -> str:
    """
    Return the reason why a pattern leaves out a file that never had an item, or a trust store; empty when it
    does not.
    """
    if problem is None:
        return TRUST_STORE if _is_store(path, parsed) else ""
    if parsed.items:
        return ""
    lasts = bool(parsed.problems) and all(one.lasts for one in parsed.problems)
    match problem.reason:
        case Reason.NOT_A_FILE:
            return "it is no file"
        case Reason.FILE_NOT_FOUND if _OTHER_NAME.fullmatch(path) and not _CERTIFICATE_NAME.fullmatch(path):
            return "a link that leads nowhere, and that has not the name of a certificate"
        case Reason.FILE_UNREADABLE if _KEY_NAME.fullmatch(path):
            return "a private key that can't be read, and need not be"
        case Reason.FORMAT_UNKNOWN | Reason.FILE_TOO_LARGE if not _CERTIFICATE_NAME.fullmatch(path):
            return "it is no certificate, neither by its content nor by its name"
        case Reason.FORMAT_UNKNOWN if lasts:
            return "it is text without a certificate, in spite of its name"
        case Reason.FORMAT_BROKEN if lasts and not _CERTIFICATE_NAME.fullmatch(path):
            return "what is damaged in it is no certificate"
    return ""


def _is_store(path: str, parsed: Parsed) -> bool:
    """
    Return True when the file holds CA certificates only, and is in a trust store's directory or holds many.
    """
    if not parsed.items or any(one.kind is not Kind.AUTHORITY for one in parsed.items):
        return False
    roots = sum(one.certificate is not None and one.certificate.self_issued for one in parsed.items)
    return roots >= MANY_ROOTS or any(where.startswith(STORES) for where in (path, os.path.realpath(path)))
