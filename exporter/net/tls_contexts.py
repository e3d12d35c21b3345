"""
TLS contexts of the HTTP library, made from bytes: OpenSSL opens no file of the configuration.
"""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Literal
from urllib.parse import urlsplit

from exporter.model.errors import ProbeError
from exporter.model.reasons import Reason
from exporter.net.pools import Pool

_READING = Pool("trust store", 1)


async def system_trust(url: str) -> ssl.SSLContext | Literal[True]:
    """
    Return the context that trusts the system's CAs, read in a thread; True for a URL that is not HTTPS.

    The HTTP library's own is what it read as it was imported, which is nothing: see `cli.early`.
    """
    return await _READING.run(system_context) if urlsplit(url).scheme == "https" else True


@cache
def system_context() -> ssl.SSLContext:
    """
    Return that context. It is made for the first download: to read some hundred certificates takes 40 ms.
    """
    context = tls_context(None, None)
    context.set_alpn_protocols(("http/1.1",))
    return context


def tls_context(
    authorities: bytes | None, certificate: bytes | None, password: str | None = None
) -> ssl.SSLContext:
    """
    Return a context that trusts these CAs (PEM; None: the system's), and shows this certificate, followed by
    its key (PEM; None: none). Blocks while the system's are read.

    Raises OSError for CAs that can't be read, and ProbeError for a certificate that can't be used.
    """
    with in_memory(authorities) if authorities is not None else nullcontext() as path:
        context = ssl.create_default_context(cafile=path)
    if certificate is not None:
        with in_memory(certificate) as path:
            try:
                # With no pass phrase given, OpenSSL would ask for one on the terminal.
                context.load_cert_chain(path, password=password or "")
            except (OSError, ValueError) as error:
                words = getattr(error, "reason", None) or type(error).__name__
                raise ProbeError(
                    Reason.CLIENT_CERTIFICATE_UNUSABLE,
                    f"our client certificate, or its key, can't be used: {words}",
                ) from None
    return context


@contextmanager
def in_memory(content: bytes) -> Iterator[str]:
    """
    Yield the path of an anonymous file in memory with this content: Python's TLS loads from files only.
    """
    descriptor = os.memfd_create("pem", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
