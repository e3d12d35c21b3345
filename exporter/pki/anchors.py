"""
Trust anchors from files, parsed again when their content changes.
"""

import logging
import os
import ssl
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from exporter.logs import fields
from exporter.model.errors import ProbeError
from exporter.model.targets import Target
from exporter.pki.trust import Anchors, TrustStore, TrustStoreError

logger = logging.getLogger(__name__)


SYSTEM_FILES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # Alpine, BSDs
)


def system_file() -> str:
    """
    Return the path of the system's trust store: `SSL_CERT_FILE`, the interpreter's, or the distribution's.

    The first that exists; when none does, a usual one, so that the message names it. Determined once.
    """
    return _system_file(os.environ.get("SSL_CERT_FILE"))


@lru_cache
def _system_file(named: str | None) -> str:
    candidates = (named, ssl.get_default_verify_paths().cafile, *SYSTEM_FILES)
    return next((name for name in candidates if name and Path(name).is_file()), SYSTEM_FILES[0])


def files_of(target: Target) -> tuple[str, ...]:
    """
    Return the files that the probe of this target and its judgement need.
    """
    anchors = target.ca_file or system_file()
    if target.client_certificate_file is None:
        return (anchors,)
    own = (target.client_certificate_file, target.client_key_file)
    return (anchors, *(name for name in own if name is not None))


class AnchorFiles:
    """
    The trust anchors of each file that targets name.
    """

    def __init__(self, read: Callable[[str], bytes]) -> None:
        """
        `read` returns the content of a file without waiting. It raises ProbeError.
        """
        self._content = read
        self._system = system_file()
        self._known: dict[str, tuple[bytes | str, Anchors]] = {}

    def anchors(self, ca_file: str | None) -> Anchors:
        """
        Return the anchors in a file (None: the system's), or the reason why there are none. The same object
        while unchanged.
        """
        name = ca_file or self._system
        try:
            content: bytes | str = self._content(name)
        except ProbeError as error:
            content = f"the trust anchors can't be read: {error.detail}"
        known = self._known.get(name)
        if known is not None and known[0] == content:
            return known[1]
        anchors = _anchors(name, content)
        if anchors.store is None:
            logger.error(
                "no trust anchors: what uses them is reported as not trusted",
                extra=fields(ca_file=name, cause=anchors.problem),
            )
        self._known[name] = (content, anchors)
        return anchors


def _anchors(name: str, content: bytes | str) -> Anchors:
    """
    Return the anchors in the content of a file. A string is the reason why there is no content.
    """
    if isinstance(content, str):
        return Anchors(None, content)
    try:
        return Anchors(TrustStore.from_pem(content))
    except TrustStoreError as error:
        return Anchors(None, f"no usable trust anchors in {name}: {error}")
