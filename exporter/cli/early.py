"""
The first steps of every command: open the standard streams, hold reloads that are asked for meanwhile, and
spare the libraries what nobody needs of their imports.
"""

import contextlib
import gc
import os
import signal
import sys
from collections.abc import Iterator

_asked: list[int] = []


def hold_reloads() -> None:
    """
    From now on keep SIGHUP in mind: until the server takes it, it would end the process.

    A service manager may reload a service as soon as its process runs, and systemd takes SIGHUP for a clean
    end, after which nobody starts it again.
    """
    # Only the main thread may set what a signal does.
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGHUP, lambda number, _: _asked.append(number))


def was_reload_asked() -> bool:
    """
    Return True when SIGHUP came since then.
    """
    return bool(_asked)


def fill_streams() -> None:
    """
    Open /dev/null for each standard stream that is closed.

    Else the next files that are opened, the state file among them, had their numbers, and got what others
    write to them.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STANDARD_ERROR:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


_STANDARD_ERROR = 2


@contextlib.contextmanager
def lean_imports() -> Iterator[None]:
    """
    Let the libraries that are imported meanwhile do less.

    aiohttp reads the system's trust store twice, for contexts that no download of ours uses
    (`net.tls_contexts`): a tenth of the start, so it is shown an empty one. Pydantic looks through all
    packages of the environment for plug-ins, which have no say in how a configuration is read. The lists of
    handlers of aiohttp, most of them empty, are written in C++, whose library takes a megabyte. And nothing
    of what imports make is garbage: to look for some takes a quarter of their time, and the first look after
    them would take a tenth, so the collector leaves them out from then on.
    """
    gc.disable()
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    before = {name: os.environ.get(name) for name in _MEANWHILE}
    os.environ.update(_MEANWHILE)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        gc.freeze()
        gc.enable()


_MEANWHILE = {"SSL_CERT_FILE": os.devnull, "SSL_CERT_DIR": os.devnull, "FROZENLIST_NO_EXTENSIONS": "1"}
"""Variables meanwhile: to OpenSSL, a trust store without certificates; aiohttp's lists written in Python."""
