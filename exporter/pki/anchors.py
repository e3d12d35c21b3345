"""
Trust anchors from files, read again when the file changes.
"""

import logging
import os
import ssl
from pathlib import Path

from exporter.logs import fields
from exporter.pki.regular_files import content
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
    The file with the system's trust store: `SSL_CERT_FILE`, the interpreter's, or the distribution's.

    The first that exists; when none does, a usual one, so that the message names it.
    """
    paths = ssl.get_default_verify_paths()
    candidates = (os.environ.get("SSL_CERT_FILE"), paths.cafile, *SYSTEM_FILES)
    return next((name for name in candidates if name and Path(name).is_file()), SYSTEM_FILES[0])


class AnchorFiles:
    """
    The trust anchors of each file that a target names. A file is looked at again at each sweep.
    """

    def __init__(self) -> None:
        self._read: dict[str, tuple[tuple[int, int, int] | None, Anchors]] = {}
        self._fresh: dict[str | None, Anchors] = {}

    def begin(self) -> None:
        """
        Begin a sweep: files may have changed.
        """
        self._fresh = {}

    def anchors(self, ca_file: str | None) -> Anchors:
        """
        The anchors in a file (None: the system's), or why there are none. The same object while unchanged.
        """
        found = self._fresh.get(ca_file)
        if found is None:
            found = self._fresh[ca_file] = self._look(ca_file or system_file())
        return found

    def _look(self, name: str) -> Anchors:
        try:
            status = Path(name).stat()
            # Not the modification time: tools set it, and a permission that changes does not touch it.
            stamp: tuple[int, int, int] | None = (status.st_ino, status.st_ctime_ns, status.st_size)
        except OSError:
            stamp = None
        known = self._read.get(name)
        if known is not None and known[0] == stamp:
            return known[1]
        anchors = self._load(name)
        if anchors.store is None:
            logger.error(
                "no trust anchors: what uses them is reported as not trusted",
                extra=fields(ca_file=name, cause=anchors.problem),
            )
        self._read[name] = (stamp, anchors)
        return anchors

    @staticmethod
    def _load(name: str) -> Anchors:
        try:
            return Anchors(TrustStore.from_pem(content(name)))
        except OSError as error:
            return Anchors(None, f"can't read the trust anchors in {name}: {error.strerror}")
        except TrustStoreError as error:
            return Anchors(None, f"no usable trust anchors in {name}: {error}")
