"""
Trust anchors from the content of files, parsed again when it changes.
"""

import logging
from collections.abc import Callable

from exporter.logs import fields
from exporter.model.errors import ProbeError
from exporter.pki.trust import Anchors, TrustStore, TrustStoreError

logger = logging.getLogger(__name__)


class AnchorFiles:
    """
    The trust anchors of each file that targets name.
    """

    def __init__(self, read: Callable[[str], bytes], system: str) -> None:
        """
        `read` returns the content of a file without waiting. It raises ProbeError. `system` is the path of
        the system's trust store.
        """
        self._content = read
        self._system = system
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
