"""
A file system that hangs.
"""

import contextlib
import ctypes
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def hung_mount(path: Path) -> Iterator[Callable[[], None]]:
    """
    A file system of which nobody answers what the kernel asks: a FUSE mount whose other side is never read.

    Gives what ends the hanging: who waits then has an error.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        other_side = os.open("/dev/fuse", os.O_RDWR)
    except OSError as error:
        pytest.skip(f"FUSE is not there: {error}")
    options = f"fd={other_side},rootmode=40000,user_id=0,group_id=0"
    if libc.mount(b"fuse", os.fsencode(path), b"fuse", 0, options.encode()):
        os.close(other_side)
        pytest.skip(f"nothing may be mounted here: {os.strerror(ctypes.get_errno())}")
    try:
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, other_side)
            yield stack.close
    finally:
        libc.umount2(os.fsencode(path), 2)
