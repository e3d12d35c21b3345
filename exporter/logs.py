"""
Logging: one record is one line, whatever it holds, as logfmt for people or as JSON for collectors.

No line is longer than LINE_LIMIT, and no event has more than EVENT_LINES lines a minute: a server or caller
whose input causes a line must not fill the disk with it.

    logger.warning("probe failed", extra=fields(target="lms", reason="timeout"))
    ts=2026-11-24T06:00:00.123Z level=warn msg="probe failed" target=lms reason=timeout
"""

import contextlib
import io
import json
import logging
import math
import os
import re
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Literal, TextIO, TypeAlias

LEVELS = MappingProxyType(
    {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
)
"""The level names that `setup` takes and the lines show. There is no level above `error`."""


Format: TypeAlias = Literal["logfmt", "json"]


Plain: TypeAlias = str | int | float | bool | None
"""A JSON value without nesting. None: the value is not known (`null`)."""


LINE_LIMIT = 8192
"""Bytes that a line may have. In a value that is too long for it, a note replaces the middle."""


EVENT_LINES = 100
"""Lines that one event may have within EVENT_SECONDS; one line afterwards has the number of the others."""


EVENT_SECONDS = 60.0
"""Seconds for which lines of an event are counted together."""


HELD_LIMIT = 256 * 1024
"""Bytes of lines that are held while nobody reads them; further ones are lost, and counted."""


PATIENCE = 0.05
"""Seconds that a line may wait until it is taken, before it is held."""


LAST_WAIT = 0.5
"""Seconds that the process waits at its end until what is held is read."""


_EVENT_SHOWN = 200
"""Characters of the first suppressed message that the line with their number shows."""


_VALUE_LIMITS = (4000, 2000, 1000, 500, 250, 120, 60)
"""Characters that a value may have, tried in this order until the line is within LINE_LIMIT."""


_KEY_FORBIDDEN = re.compile(r"[^A-Za-z0-9_.-]")


_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def setup(level: str, format: Format, stream: TextIO) -> None:  # noqa: A002  named as its flag, --log.format
    """
    Send the log records of the process, also those of libraries, from `level` on to `stream`.

    Raises ValueError for an unknown level or format. A later call replaces the settings of an earlier one.
    """
    if level not in LEVELS:
        raise ValueError(f"log level {level!r} is not known: use one of {', '.join(LEVELS)}")
    if format not in FORMATTERS:
        raise ValueError(f"log format {format!r} is not known: use one of {', '.join(FORMATTERS)}")
    if isinstance(stream, io.TextIOWrapper):
        # A stream in a C locale can't carry every character: the line is then escaped, not lost.
        stream.reconfigure(errors="backslashreplace")
    handler = RateLimitedHandler(stream)
    handler.setFormatter(FORMATTERS[format]())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[level])
    # One line for each scrape is noise, and query strings may hold what no log should.
    logging.getLogger("aiohttp.access").disabled = True
    logging.captureWarnings(capture=True)


def fields(**values: object) -> dict[str, dict[str, object]]:
    """
    Return the `extra` of a logging call that adds these values to the line, in this order.
    """
    return {"fields": values}


Event: TypeAlias = tuple[str, int, str, int, type[BaseException] | None]
"""The key of records that report the same event: logger, level, file, line, class of the exception."""


@dataclass(slots=True)
class _Minute:
    """
    The lines of one event since the first of them.
    """

    began: float
    """Seconds since the epoch."""
    lines: int = 0
    left_out: int = 0
    """Lines that were suppressed."""
    message: str = ""
    """The message of the first line that was suppressed."""


class RateLimiter:
    """
    Limits the lines of each event to EVENT_LINES in EVENT_SECONDS. The clock is the records' own time.
    """

    def __init__(self) -> None:
        self._minutes: dict[Event, _Minute] = {}

    def allows(self, record: logging.LogRecord) -> bool:
        """
        Count the record, and return True when it is to be written. Records of level debug always are.
        """
        if record.levelno <= logging.DEBUG:
            return True
        raised = record.exc_info[0] if record.exc_info else None
        event = record.name, record.levelno, record.pathname, record.lineno, raised
        minute = self._minutes.setdefault(event, _Minute(record.created))
        if minute.lines < EVENT_LINES:
            minute.lines += 1
            return True
        minute.left_out += 1
        minute.message = minute.message or _message(record)[:_EVENT_SHOWN]
        return False

    def counted(self, now: float, *, at_end: bool = False) -> Iterator[logging.LogRecord]:
        """
        Yield a record for each event whose minute is over and had lines suppressed, with their number.

        `now` is in seconds since the epoch; `at_end` ends all minutes, since the process ends.
        """
        # A clock that was set back must not make a minute last for longer.
        ended = [
            key for key, one in self._minutes.items() if at_end or not 0 <= now - one.began < EVENT_SECONDS
        ]
        for event in ended:
            minute = self._minutes.pop(event)
            if minute.left_out:
                name, level, path, line, _ = event
                counted = logging.LogRecord(
                    name, level, path, line, "there were more of these lines than are written", None, None
                )
                counted.created = now
                counted.__dict__.update(
                    fields(event=minute.message, left_out=minute.left_out, since=_moment(minute.began))
                )
                yield counted


class Outlet:
    """
    Writes lines to a stream, and never waits for who reads it.

    Who reads a pipe or a terminal may stop reading: a log driver whose disk is full, a person who pressed
    Ctrl-S. Then lines are held, up to HELD_LIMIT bytes, and a thread waits in place of the process.
    """

    def __init__(self, stream: TextIO, told: Callable[[int], str]) -> None:
        """
        `told` returns the line that so many were lost.
        """
        self._stream = stream
        self._told = told
        self._descriptor: int | None = None
        with contextlib.suppress(OSError, ValueError):
            # One in memory has none.
            self._descriptor = stream.fileno()
        self._lock = threading.Lock()
        self._held: deque[bytes] = deque()
        self._size = 0
        self._lost = 0
        self._waiting: threading.Thread | None = None

    def write(self, line: str) -> None:
        """
        Write the line, or hold it, or count it as lost. Raises OSError.
        """
        if self._descriptor is None:
            self._stream.write(f"{line}\n")
            self._stream.flush()
            return
        data = self._encoded(line)
        with self._lock:
            if self._waiting is None:
                data = _written_at_once(self._descriptor, data)
                if not data:
                    return
                self._waiting = threading.Thread(target=self._wait, daemon=True, name="log")
                self._waiting.start()
            elif self._size + len(data) > HELD_LIMIT:
                self._lost += 1
                return
            self._held.append(data)
            self._size += len(data)

    def close(self) -> None:
        """
        Give who reads the stream a little time to take what is held.
        """
        if (waiting := self._waiting) is not None:
            waiting.join(LAST_WAIT)

    def _encoded(self, line: str) -> bytes:
        return f"{line}\n".encode(self._stream.encoding or "utf-8", self._stream.errors or "strict")

    def _wait(self) -> None:
        """
        Write what is held, however long it takes, then how many lines were lost.
        """
        assert self._descriptor is not None
        while True:
            with self._lock:
                if not self._held and self._lost:
                    self._held.append(self._encoded(self._told(self._lost)))
                    self._lost = 0
                if not self._held:
                    self._size, self._waiting = 0, None
                    return
                data = self._held.popleft()
                self._size -= len(data)
            try:
                while data:
                    _ready(self._descriptor).poll()
                    data = data[os.write(self._descriptor, data[: select.PIPE_BUF]) :]
            except OSError:
                # Nobody will ever read it.
                continue


def _ready(descriptor: int) -> select.poll:
    """
    Return what waits until the descriptor takes bytes.
    """
    ready = select.poll()
    ready.register(descriptor, select.POLLOUT)
    return ready


def _written_at_once(descriptor: int, data: bytes) -> bytes:
    """
    Write what is taken without waiting for long, and return the rest. Raises OSError.
    """
    ready = _ready(descriptor)
    # A pipe that can be written takes as many bytes as PIPE_BUF (pipe(7)).
    while data and ready.poll(PATIENCE * 1000):
        data = data[os.write(descriptor, data[: select.PIPE_BUF]) :]
    return data


class RateLimitedHandler(logging.Handler):
    """
    Writes records to a stream within the limits of `RateLimiter`.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._limiter = RateLimiter()
        self._outlet = Outlet(stream, self._told)

    def emit(self, record: logging.LogRecord) -> None:
        """
        Write the record if it is allowed, after the numbers of records suppressed in minutes that are over.
        """
        for counted in self._limiter.counted(record.created):
            self._write(counted)
        if self._limiter.allows(record):
            self._write(record)

    def close(self) -> None:
        """
        Write the numbers of suppressed records, since the process ends, and close.
        """
        for counted in self._limiter.counted(time.time(), at_end=True):
            self._write(counted)
        self._outlet.close()
        super().close()

    def _write(self, record: logging.LogRecord) -> None:
        try:
            self._outlet.write(self.format(record))
        except Exception:  # noqa: BLE001 - as every handler does: what can't be logged stops nobody
            self.handleError(record)

    def _told(self, lost: int) -> str:
        words = "log lines are lost: who reads them did not take them in time"
        record = logging.LogRecord(__name__, logging.WARNING, __file__, 0, words, None, None)
        record.__dict__.update(fields(lost=lost))
        return self.format(record)


class LogfmtFormatter(logging.Formatter):
    """
    Formats lines of `key=value`; values with other than plain characters are quoted as Go quotes strings.
    """

    def format(self, record: logging.LogRecord) -> str:
        """
        Return the record as one line of logfmt, without a newline.
        """
        return _bounded(record, _logfmt)


class JsonFormatter(logging.Formatter):
    """
    Formats lines of one JSON object each (RFC 8259), in ASCII, with the same keys as logfmt lines.
    """

    def format(self, record: logging.LogRecord) -> str:
        """
        Return the record as one line of JSON, without a newline.
        """
        return _bounded(record, lambda values: json.dumps(values, separators=(",", ":")))


def _logfmt(values: dict[str, Plain]) -> str:
    return " ".join(f"{key}={_logfmt_value(value)}" for key, value in values.items())


def _bounded(record: logging.LogRecord, write: Callable[[dict[str, Plain]], str]) -> str:
    """
    Return the line that `write` makes, with values cut until it is within LINE_LIMIT.
    """
    for limit in _VALUE_LIMITS:
        line = write(line_values(record, limit))
        if len(line.encode("utf-8")) <= LINE_LIMIT:
            break
    return line


FORMATTERS: MappingProxyType[str, type[logging.Formatter]] = MappingProxyType(
    {"logfmt": LogfmtFormatter, "json": JsonFormatter}
)


def line_values(record: logging.LogRecord, limit: int) -> dict[str, Plain]:
    """
    Return the values of a record's line: time, level, message, a library's logger, fields, traceback.

    A field with the name of another key gets a `_` after its name. No text has more characters than `limit`,
    before they are escaped.
    """
    values: dict[str, Plain] = {
        "ts": _moment(record.created),
        "level": _level_name(record.levelno),
        "msg": _valid(_message(record), limit),
    }
    if record.name.partition(".")[0] != "exporter":
        values["logger"] = _plain(record.name, limit)
    reserved = {*values, "exception", "stack"}
    for name, value in getattr(record, "fields", {}).items():
        key = _KEY_FORBIDDEN.sub("_", name) or "_"
        values[f"{key}_" if key in reserved else key] = _plain(value, limit)
    if record.exc_info and record.exc_info[0] is not None:
        values["exception"] = _plain(logging.Formatter().formatException(record.exc_info), limit)
    if record.stack_info:
        values["stack"] = _plain(record.stack_info, limit)
    return values


def _moment(timestamp: float) -> str:
    """
    Return a time in seconds since the epoch as RFC 3339 in UTC, with milliseconds: 2026-11-24T06:00:00.123Z.
    """
    return datetime.fromtimestamp(timestamp, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _level_name(number: int) -> str:
    """
    Return the name of the highest of LEVELS that is not above this number; `debug` below all of them.
    """
    return [name for name, level in LEVELS.items() if level <= max(number, logging.DEBUG)][-1]


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):
        # Arguments that do not fit the message must not cost the record, nor spread it over lines.
        return f"{record.msg} {record.args!r}"


def _plain(value: object, limit: int) -> Plain:
    """
    Return the value as a JSON value; anything but a number, a boolean or None becomes text.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        # JSON has no words for infinity and not-a-number (RFC 8259 section 6).
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bytes):
        return _valid(value.decode("utf-8", "backslashreplace"), limit)
    return _valid(str(value), limit)


def _valid(text: str, limit: int) -> str:
    r"""
    Return text that UTF-8 can encode: lone surrogates, from names that were not UTF-8, become `\udcXX`.

    A text over the limit keeps its beginning and its end: a list's first lines, a traceback's last line.
    """
    if len(text) > limit:
        beginning, end = limit * 2 // 3, limit // 3
        left_out = len(text) - beginning - end
        text = f"{text[:beginning]} [... {left_out:,} characters are left out ...] {text[-end:]}"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _logfmt_value(value: Plain) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    escaped = "".join(_ESCAPES.get(character) or _escape(character) for character in value)
    # Logfmt has no types, so the text "true" needs no quotes: only what would end the value does.
    plain = value and escaped == value and not set(value) & {" ", "="}
    return value if plain else f'"{escaped}"'


def _escape(character: str) -> str:
    """
    Return the character, or its escape when it is a line end, a control or a direction mark.
    """
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
