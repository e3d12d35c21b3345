"""
Credential plugins of a kubeconfig: programs that print a token or a certificate for the API server.

The protocol is `client.authentication.k8s.io`, v1 and v1beta1, as in kubectl. A plugin is run without a shell
and without a terminal, with the environment of this process; its run time and its output are bounded. See
https://kubernetes.io/docs/reference/access-authn-authz/authentication/.
"""

import contextlib
import json
import os
import re
import selectors
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from exporter.model.errors import ProbeError
from exporter.model.foreign_text import HIDDEN, bounded, clean, printable
from exporter.model.observation import Certificate
from exporter.model.reasons import Reason
from exporter.model.times import rfc3339
from exporter.net.pools import Pool
from exporter.pki.certificates import parse_pem

GROUP = "client.authentication.k8s.io"


VERSIONS = (f"{GROUP}/v1", f"{GROUP}/v1beta1")
"""The supported API versions. kubectl dropped v1alpha1 too."""


TIMEOUT = 30.0
"""Seconds that a plugin may take. Those of the large clouds ask their servers."""


OUTPUT_LIMIT = 256 * 1024
"""Bytes of a plugin's output. A credential has some thousand."""


WORDS_LIMIT = 8192
"""Bytes that are kept of a plugin's standard error; the rest is dropped."""


_RUNNING = Pool("credential plugins", 16)


_CHUNK = 65536


_TICK = 0.1
"""Seconds between two checks whether a caller still waits."""


DETAIL_LIMIT = 400
"""Characters of standard error in a message."""


_TOKEN = re.compile(r"[\x21-\x7e]+")


_PASSWORD_NAME = "passw(?:or)?d|passphrase|pwd"  # noqa: S105 - a pattern of names, not a password


_SECRET_NAME = re.compile(f"secret|token|{_PASSWORD_NAME}|key|credential|authorization", re.IGNORECASE)


_PLACE_NAME = re.compile(r"(file|path|dir)$|^(old)?pwd$", re.IGNORECASE)
"""Names of variables with paths (`AWS_WEB_IDENTITY_TOKEN_FILE`, `PWD`), whose values stay in messages."""


_SHORTEST_VALUE = 8
"""Characters from which on a value of the environment counts as a secret by its name alone.

Shorter ones are settings: `SSH_ASKPASS_REQUIRE=prefer` is no secret, nor is `true`. A value in the
kubeconfig's `env`, or after an option that is named like a secret, counts whatever its length.
"""


_SECRET_RUN = re.compile(r"[A-Za-z0-9]{8,}")


_OPAQUE = re.compile(r"[A-Za-z0-9_+=-]{32,}")
"""A possible token, if there is a digit in it: a run without a space, a slash or a dot."""


_JWT = re.compile(r"\beyJ[\w.=-]*")


_ASSIGNED = re.compile(
    rf"(?P<name>secret|token|{_PASSWORD_NAME}|credential|api_?key|authorization)\w{{0,20}}[\"']? ?"
    r"(?P<by>[=:]) ?[\"']?(?P<scheme>(?:bearer|basic|digest|negotiate) )?(?P<value>[^\s\"',;]+)",
    re.IGNORECASE,
)
"""`password=...`, `Authorization: Bearer ...` and the like. Its parts are bounded, which bounds the time to
match."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """
    A credential plugin as a kubeconfig describes it. `repr()` has no secret in it.
    """

    command: str
    """A path, or a name to be found in $PATH."""
    arguments: tuple[str, ...] = field(repr=False)
    variables: tuple[tuple[str, str], ...] = field(repr=False)
    """Variables that are added to the environment."""
    version: str
    """One of VERSIONS."""
    info: str = field(repr=False)
    """The value of $KUBERNETES_EXEC_INFO, JSON."""
    hint: str = field(default="", repr=False)
    """The kubeconfig's `installHint`; empty when it has none."""


@dataclass(frozen=True, slots=True)
class Credential:
    """
    The credential that a plugin printed. `repr()` has no secret in it.
    """

    token: str | None = field(repr=False)
    certificate: bytes | None = field(repr=False)
    """Certificate and key, PEM."""
    expires: float | None
    """Seconds since the epoch; None: it is valid until the API server refuses it."""


def plugin(
    settings: Mapping[str, Any], directory: Path, cluster: Mapping[str, Any] | None, where: str
) -> Plugin:
    """
    Return the plugin of a user's `exec`. `where` is the user in words. Raises ProbeError.

    `directory` is that of the kubeconfig; `cluster` is the cluster's part of ExecCredential, None to omit it.
    """
    command, version = settings.get("command"), settings.get("apiVersion")
    if not isinstance(command, str) or not command or "\0" in command:
        raise _broken(f"`exec` of {where} names no command")
    if version not in VERSIONS:
        raise _broken(f"`exec` of {where} must have an apiVersion of {' or '.join(VERSIONS)}")
    mode = settings.get("interactiveMode", None if version == VERSIONS[0] else "IfAvailable")
    if mode == "Always":
        words = f"the credential plugin of {where} wants a terminal (interactiveMode: Always); there is none"
        raise ProbeError(Reason.ACCESS_DENIED, words)
    if mode not in {"Never", "IfAvailable"}:
        raise _broken(f"`exec` of {where} must have an interactiveMode of Never, IfAvailable or Always")
    arguments, variables = settings.get("args") or [], settings.get("env") or []
    pairs = [
        (one.get("name"), one.get("value")) if isinstance(one, dict) else (None, None)
        for one in (variables if isinstance(variables, list) else [None])
    ]
    if (
        not isinstance(arguments, list)
        or not all(isinstance(one, str) and "\0" not in one for one in arguments)
        or not all(_is_variable(name, value) for name, value in pairs)
    ):
        raise _broken(f"`exec` of {where}: args are a list of texts, env a list of names and values")
    spec: dict[str, Any] = {"interactive": False}
    if cluster is not None:
        spec["cluster"] = dict(cluster)
    hint = settings.get("installHint")
    return Plugin(
        str((directory / command).absolute()) if "/" in command else command,
        tuple(arguments),
        tuple((str(name), str(value)) for name, value in pairs),
        version,
        json.dumps({"kind": "ExecCredential", "apiVersion": version, "spec": spec}),
        hint if isinstance(hint, str) else "",
    )


def _is_variable(name: Any, value: Any) -> bool:
    return (
        isinstance(name, str)
        and bool(name)
        and "=" not in name
        and isinstance(value, str)
        and "\0" not in name + value
    )


async def run(asked: Plugin, environ: Mapping[str, str], timeout: float = TIMEOUT) -> Credential:
    """
    Run the plugin and return its credential. Raises ProbeError.
    """
    name = printable(Path(asked.command).name)
    found = shutil.which(asked.command, path=environ.get("PATH"))
    if found is None:
        hint = (
            f": {clean(asked.hint, DETAIL_LIMIT, tuple(_secrets(asked, environ)))}"
            if asked.hint
            else "; install it where the exporter runs, or use a token"
        )
        raise ProbeError(
            Reason.FILE_NOT_FOUND,
            f"the credential plugin {printable(asked.command)} of the kubeconfig is not there, "
            f"or is no program that may be run{hint}",
        )
    job = _Job(
        [found, *asked.arguments], {**environ, **dict(asked.variables), "KUBERNETES_EXEC_INFO": asked.info}
    )
    await job.done(timeout)
    if job.error is not None:
        why = (job.error.strerror if isinstance(job.error, OSError) else None) or type(job.error).__name__
        words = f"the credential plugin {printable(found)} can't be run: {why}"
        raise ProbeError(Reason.FILE_UNREADABLE, words)
    if job.late:
        raise ProbeError(Reason.TIMEOUT, f"the credential plugin {name} did not end in {timeout:g} s")
    if len(job.output) > OUTPUT_LIMIT:
        raise _broken(f"the credential plugin {name} prints more than {OUTPUT_LIMIT:,} bytes")
    if job.status != 0:
        how = f"with status {job.status}" if job.status > 0 else f"by signal {-job.status}"
        says = words_of(bytes(job.said), asked, environ, bytes(job.output))
        words = f"the credential plugin {name} ended {how}{': ' if says else ', and said nothing'}{says}"
        raise ProbeError(Reason.ACCESS_DENIED, words)
    return credential(bytes(job.output), asked.version, name)


class _Job:
    """
    A program that runs, and the thread that waits for it.

    The subprocesses of asyncio wait for ever when their starter is cancelled at that moment.
    """

    def __init__(self, command: list[str], environ: Mapping[str, str]) -> None:
        self._command = command
        self._environ = environ
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._stopped = False
        self.error: OSError | ValueError | None = None
        """The error of starting it; None when it was started."""
        self.output = bytearray()
        """Its standard output, within OUTPUT_LIMIT."""
        self.said = bytearray()
        """The beginning of its standard error."""
        self.status = 0
        self.late = False

    async def done(self, timeout: float) -> None:
        """
        Wait for the program's end. It is killed after `timeout` seconds, or when the waiting is cancelled.
        """
        try:
            await _RUNNING.run(partial(self._work, timeout))
        finally:
            self._stop()

    def _work(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        with self._lock:
            if self._stopped:
                return
            try:
                process = self._process = subprocess.Popen(  # noqa: S603 - the operator's own kubeconfig names it
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    env=self._environ,
                    # A group of its own, to end what it started too.
                    start_new_session=True,
                )
            except (OSError, ValueError) as error:
                self.error = error
                return
        ended = self._listen(process, deadline)
        self._stop(whole=not ended)
        for pipe in (process.stdout, process.stderr):
            assert pipe is not None
            pipe.close()
        self.status = process.wait()

    def _listen(self, process: "subprocess.Popen[bytes]", deadline: float) -> bool:
        """
        Read its output. Return True when it ended by itself in time.
        """
        with selectors.DefaultSelector() as selector:
            for pipe in (process.stdout, process.stderr):
                assert pipe is not None
                selector.register(pipe, selectors.EVENT_READ)
            while selector.get_map():
                if self._stopped or len(self.output) > OUTPUT_LIMIT:
                    return False
                if time.monotonic() >= deadline:
                    self.late = True
                    return False
                for key, _ in selector.select(min(_TICK, max(0.0, deadline - time.monotonic()))):
                    chunk = os.read(key.fd, _CHUNK)
                    if not chunk:
                        selector.unregister(key.fileobj)
                    elif key.fileobj is process.stdout:
                        self.output += chunk
                    else:
                        # Output after the limit is read too, so that the program does not wait for a reader.
                        self.said += chunk[: WORDS_LIMIT - len(self.said)]
        # It may go on after it closed both; it is not reaped here, so that `_stop` can still kill its group.
        while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
            if self._stopped or time.monotonic() >= deadline:
                self.late = not self._stopped
                return False
            time.sleep(0.01)
        return True

    def _stop(self, *, whole: bool = True) -> None:
        """
        Kill the program and all that it started, unless it has ended; not `whole`: note that it has.
        """
        with self._lock:
            # Until it is reaped, no other process gets its id.
            if not self._stopped and whole and self._process is not None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, signal.SIGKILL)
            self._stopped = True


def credential(output: bytes, version: str, name: str) -> Credential:
    """
    Return the credential that a plugin printed. Raises ProbeError, whose message does not repeat the output.
    """
    try:
        document = json.loads(output)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or document.get("kind") != "ExecCredential":
        raise _broken(f"the credential plugin {name} printed no ExecCredential")
    if document.get("apiVersion") != version:
        raise _broken(f"the credential plugin {name} answered in another version than {version}")
    status = document.get("status")
    status = status if isinstance(status, dict) else {}
    token = status.get("token")
    certificate, key = status.get("clientCertificateData"), status.get("clientKeyData")
    if token and not (isinstance(token, str) and _TOKEN.fullmatch(token)):
        raise _broken(f"the token of the credential plugin {name} is none that can be sent")
    if (
        bool(certificate) != bool(key)
        or not isinstance(certificate, str | None)
        or not isinstance(key, str | None)
    ):
        raise _broken(f"the credential plugin {name} gave half of a certificate and its key")
    if not token and not certificate:
        raise _broken(f"the credential plugin {name} gave neither a token nor a certificate")
    pem = None
    if certificate and key:
        pem = f"{certificate}\n{key}".encode("utf-8", "replace")
    expires = _moment(status.get("expirationTimestamp"), name)
    return Credential(token or None, pem, _end_of(pem) if expires is None else expires)


def _moment(value: Any, name: str) -> float | None:
    """
    Return the seconds since the epoch of an expirationTimestamp (RFC 3339); None when there is none. Raises
    ProbeError.
    """
    if value is None or value == "":
        return None
    moment = rfc3339(value)
    if moment is None:
        raise _broken(f"the expirationTimestamp of the credential plugin {name} is no time of RFC 3339")
    return moment


def _end_of(pem: bytes | None) -> float | None:
    """
    Return the end of a certificate in seconds since the epoch; None when there is none that can be read,
    which fails where it is used.
    """
    found = next(iter(parse_pem(pem or b"")), None)
    return found.not_after if isinstance(found, Certificate) else None


def words_of(said: bytes, asked: Plugin, environ: Mapping[str, str], output: bytes = b"") -> str:
    """
    Return the standard error of a plugin, for a message: bounded, on one line, without possible secrets.

    Removed are: values from the kubeconfig's `env`, after options that are named like secrets, and in
    arguments that look like secrets; values of the environment with such names; the printed credential; text
    after `password=` and the like; and every long run of letters and digits.
    """
    text = clean(said, WORDS_LIMIT, (*_secrets(asked, environ), *_printed(output)))
    text = _ASSIGNED.sub(_without_value, text)
    text = _JWT.sub(HIDDEN, text)
    text = _OPAQUE.sub(lambda found: HIDDEN if _has_digit(found[0]) else found[0], text)
    return bounded(text, DETAIL_LIMIT)


def _without_value(found: "re.Match[str]") -> str:
    """
    Return an assignment without its value, unless the value is a word about it (`token: expired`, `token:
    400`).
    """
    value = found["value"]
    if (
        found["by"] == "="
        or found["scheme"]
        or len(value) >= _SHORTEST_VALUE
        or re.fullmatch(_PASSWORD_NAME, found["name"], re.IGNORECASE)
        or (_has_digit(value) and not value.isdecimal())
    ):
        return found[0][: found.start("value") - found.start()] + HIDDEN
    return found[0]


def _has_digit(text: str) -> bool:
    return any(map(str.isdecimal, text))


def _secrets(asked: Plugin, environ: Mapping[str, str]) -> Iterator[str]:
    """
    Yield the secrets in the plugin's environment and its arguments.
    """
    for _, value in asked.variables:
        yield value
    for name, value in environ.items():
        if _SECRET_NAME.search(name) and not _PLACE_NAME.search(name) and len(value) >= _SHORTEST_VALUE:
            yield value
    for before, argument in zip(("", *asked.arguments), asked.arguments, strict=False):
        option, separator, value = argument.partition("=")
        if separator and _SECRET_NAME.search(option):
            yield value
        elif before.startswith("-") and "=" not in before and _SECRET_NAME.search(before):
            yield argument
        else:
            yield from _like_secrets(argument)


def _like_secrets(argument: str) -> Iterator[str]:
    """
    Yield the parts of an argument that look like secrets: runs of letters with digits among them, of at least
    twelve characters, or eight if there are letters of both cases, outside of paths and URLs.
    """
    for found in () if "/" in argument else _SECRET_RUN.findall(argument):
        long = len(found) >= 12 or (found != found.lower() and found != found.upper())
        if long and _has_digit(found) and not found.isdecimal():
            yield found


def _printed(output: bytes) -> tuple[str, ...]:
    """
    Return the token and the key in the plugin's output, also when it failed afterwards.
    """
    try:
        document = json.loads(output)
    except (ValueError, RecursionError):
        return ()
    status = document.get("status") if isinstance(document, dict) else None
    named = (status.get(key) for key in ("token", "clientKeyData")) if isinstance(status, dict) else ()
    return tuple(one for one in named if isinstance(one, str))


def _broken(words: str) -> ProbeError:
    return ProbeError(Reason.FORMAT_BROKEN, words)
