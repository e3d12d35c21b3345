"""
Logging: one record is one line, whatever it holds, as logfmt for people or as JSON for collectors.

No line is longer than LINE_LIMIT, and no event has more than EVENT_LINES lines a minute: whoever can
cause a line by what he sends must not fill the disk with it.

    logger.warning("probe failed", extra=fields(target="lms", reason="timeout"))
    ts=2026-11-24T06:00:00.123Z level=warn msg="probe failed" target=lms reason=timeout
"""

import io
import json
import logging
import math
import re
import time
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
"""What JSON can say without nesting. None: the value is not known (`null`)."""


LINE_LIMIT = 8192
"""Bytes that a line may have. Values that are too long for it have a note in the place of their middle."""


EVENT_LINES = 100
"""Lines that one event may have within EVENT_SECONDS; the others are counted in one line after them."""


EVENT_SECONDS = 60.0
"""How long lines of an event are counted together."""


_EVENT_SHOWN = 200
"""Characters of a line that was left out which the line that counts them shows."""


_VALUE_LIMITS = (4000, 2000, 1000, 500, 250, 120, 60)
"""Characters that a value may have: the first of these with which the line is short enough."""


_KEY_FORBIDDEN = re.compile(r"[^A-Za-z0-9_.-]")


_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def setup(level: str, format: Format, stream: TextIO) -> None:  # noqa: A002  named as its flag, --log.format
    """
    Send all records of the process from `level` on, other libraries' too, to `stream`.

    Raises ValueError for an unknown level or format. May be called again: the last call holds.
    """
    if level not in LEVELS:
        raise ValueError(f"log level {level!r} is not known: use one of {', '.join(LEVELS)}")
    if format not in FORMATTERS:
        raise ValueError(f"log format {format!r} is not known: use one of {', '.join(FORMATTERS)}")
    if isinstance(stream, io.TextIOWrapper):
        # A stream in a C locale can't carry every character: the line is then escaped, not lost.
        stream.reconfigure(errors="backslashreplace")
    handler = RationedHandler(stream)
    handler.setFormatter(FORMATTERS[format]())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[level])
    # One line for each scrape is noise, and query strings may hold what no log should.
    logging.getLogger("aiohttp.access").disabled = True
    logging.captureWarnings(capture=True)


def fields(**values: object) -> dict[str, dict[str, object]]:
    """
    The `extra` of a logging call that puts these values on the line, in this order.
    """
    return {"fields": values}


Event: TypeAlias = tuple[str, int, str, int, type[BaseException] | None]
"""What records that say the same have in common: logger, level, file, line, and class of the exception."""


@dataclass(slots=True)
class _Minute:
    """
    The lines of one event since the first of them.
    """

    began: float
    """Seconds since the epoch."""
    lines: int = 0
    left_out: int = 0
    message: str = ""
    """What the first line that was left out would have said."""


class Ration:
    """
    Tells which records have a line. The time is that of the records.
    """

    def __init__(self) -> None:
        self._minutes: dict[Event, _Minute] = {}

    def admits(self, record: logging.LogRecord) -> bool:
        """
        True when this record has a line. Who asks for level debug wants each of them.
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
        A record for each minute that is over by now and had lines left out. At the end all of them are.
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


class RationedHandler(logging.StreamHandler[TextIO]):
    """
    Writes to a stream what its ration admits.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._ration = Ration()

    def emit(self, record: logging.LogRecord) -> None:
        """
        Write the record, after what is to be said of those that were left out before it.
        """
        for counted in self._ration.counted(record.created):
            super().emit(counted)
        if self._ration.admits(record):
            super().emit(record)

    def close(self) -> None:
        """
        Say what was left out until now: the process ends.
        """
        for counted in self._ration.counted(time.time(), at_end=True):
            super().emit(counted)
        super().close()


class LogfmtFormatter(logging.Formatter):
    """
    Lines of `key=value`; values with other than plain characters are quoted, as Go and C quote strings.
    """

    def format(self, record: logging.LogRecord) -> str:
        """
        The record as one line without its end.
        """
        return _bounded(record, _logfmt)


class JsonFormatter(logging.Formatter):
    """
    One JSON object (RFC 8259) a line, in ASCII, with the keys that the logfmt line has.
    """

    def format(self, record: logging.LogRecord) -> str:
        """
        The record as one line without its end.
        """
        return _bounded(record, lambda values: json.dumps(values, separators=(",", ":")))


def _logfmt(values: dict[str, Plain]) -> str:
    return " ".join(f"{key}={_logfmt_value(value)}" for key, value in values.items())


def _bounded(record: logging.LogRecord, write: Callable[[dict[str, Plain]], str]) -> str:
    """
    The line with as much of each value as it has room for.
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
    What a line says about a record: time, level, message, the logger if it is not ours, fields, traceback.

    A field never replaces one of the other keys: it gets a `_` after its name. No text has more characters
    than the limit, before they are escaped.
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
    A time as lines have it: 2026-11-24T06:00:00.123Z.
    """
    return datetime.fromtimestamp(timestamp, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _level_name(number: int) -> str:
    """
    The highest of our levels that is not above this one; `debug` for all below it.
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
    The value as JSON can say it; all that is no number or boolean becomes text.
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
    Text that UTF-8 can encode: lone surrogates, from names that were no UTF-8, become `\udcXX`.

    Of what is too long the beginning and the end: a list's first lines, and the last line of a traceback.
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
    The character itself when it can be shown. Line ends of any kind, controls and direction marks can't.
    """
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
