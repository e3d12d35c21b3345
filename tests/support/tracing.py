"""
How long a test is traced for coverage: what it does for longer, it does again.
"""

import math
import threading
import time
from typing import Any

TRACED_SECONDS = 0.1
"""
Of the processor time of this process. Tests that compute for longer look at many of the same: traced, they
take two to four times as long, and reach hardly another line.
"""

_LOOK_AGAIN = 0.02
"""Seconds between two looks at how long a test has been traced."""


class Trace:
    """
    The trace for coverage of the tests of this process: off between them, and in a test that takes long.
    """

    def __init__(self, controller: Any) -> None:
        """
        `controller` is that of pytest-cov.
        """
        self._controller = controller
        self._lock = threading.Lock()
        self._until = math.inf
        threading.Thread(target=self._watch, name="trace of coverage", daemon=True).start()

    def begin(self) -> None:
        """
        Trace from now on.
        """
        with self._lock:
            self._controller.resume()
            self._until = time.process_time() + TRACED_SECONDS

    def end(self) -> None:
        """
        Trace no more.
        """
        with self._lock:
            self._controller.pause()
            self._until = math.inf

    def _watch(self) -> None:
        while True:
            time.sleep(_LOOK_AGAIN)
            with self._lock:
                if time.process_time() > self._until:
                    # Not by the controller, which changes the working directory beside the test.
                    self._controller.cov.stop()
                    self._until = math.inf
