"""
Logging: one record is one line, whatever it holds, as logfmt for people or as JSON for collectors.

    logger.warning("probe failed", extra=fields(target="lms", reason="timeout"))
    ts=2026-11-24T06:00:00.123Z level=warn msg="probe failed" target=lms reason=timeout
"""

import io
import json
import logging
import math
import re
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
    handler = logging.StreamHandler(stream)
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


class LogfmtFormatter(logging.Formatter):
    """
    Lines of `key=value`; values with other than plain characters are quoted, as Go and C quote strings.
    """

    def format(self, record: logging.LogRecord) -> str:
        """
        The record as one line without its end.
        """
        return " ".join(f"{key}={_logfmt_value(value)}" for key, value in line_values(record).items())


class JsonFormatter(logging.Formatter):
    """
    One JSON object (RFC 8259) a line, in ASCII, with the keys that the logfmt line has.
    """

    def format(self, record: logging.LogRecord) -> str:
        """
        The record as one line without its end.
        """
        return json.dumps(line_values(record), separators=(",", ":"))


FORMATTERS: MappingProxyType[str, type[logging.Formatter]] = MappingProxyType(
    {"logfmt": LogfmtFormatter, "json": JsonFormatter}
)


def line_values(record: logging.LogRecord) -> dict[str, Plain]:
    """
    What a line says about a record: time, level, message, the logger if it is not ours, fields, traceback.

    A field never replaces one of the other keys: it gets a `_` after its name.
    """
    moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    values: dict[str, Plain] = {
        "ts": moment.replace("+00:00", "Z"),
        "level": _level_name(record.levelno),
        "msg": _message(record),
    }
    if record.name.partition(".")[0] != "exporter":
        values["logger"] = _plain(record.name)
    reserved = {*values, "exception", "stack"}
    for name, value in getattr(record, "fields", {}).items():
        key = _KEY_FORBIDDEN.sub("_", name) or "_"
        values[f"{key}_" if key in reserved else key] = _plain(value)
    if record.exc_info and record.exc_info[0] is not None:
        values["exception"] = _plain(logging.Formatter().formatException(record.exc_info))
    if record.stack_info:
        values["stack"] = _plain(record.stack_info)
    return values


def _level_name(number: int) -> str:
    """
    The highest of our levels that is not above this one; `debug` for all below it.
    """
    return [name for name, level in LEVELS.items() if level <= max(number, logging.DEBUG)][-1]


def _message(record: logging.LogRecord) -> str:
    try:
        message = record.getMessage()
    except (TypeError, ValueError, KeyError):
        # Arguments that do not fit the message must not cost the record, nor spread it over lines.
        message = f"{record.msg} {record.args!r}"
    return _valid(message)


def _plain(value: object) -> Plain:
    """
    The value as JSON can say it; all that is no number or boolean becomes text.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        # JSON has no words for infinity and not-a-number (RFC 8259 section 6).
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return _valid(str(value))


def _valid(text: str) -> str:
    r"""
    Text that UTF-8 can encode: lone surrogates, from names that were no UTF-8, become `\udcXX`.
    """
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
