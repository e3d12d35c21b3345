"""
Log lines: exact lines for given records, and that one record is one line whatever it holds.
"""

import io
import json
import logging
import math
import os
import re
import subprocess
import sys
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.logs import (
    EVENT_LINES,
    EVENT_SECONDS,
    FORMATTERS,
    LINE_LIMIT,
    Format,
    JsonFormatter,
    LogfmtFormatter,
    RateLimitedHandler,
    fields,
    setup,
)
from exporter.model.reasons import Reason

MOMENT = 1_795_500_000.123456
"""2026-11-24T06:00:00.123456Z."""


def record(
    message: str, *args: object, level: int = logging.INFO, name: str = "exporter.sweep", **values: object
) -> logging.LogRecord:
    """
    A record as `logger.log(level, message, *args, extra=fields(**values))` makes it, at MOMENT.
    """
    made = logging.LogRecord(name, level, "sweep.py", 1, message, args, None)
    made.created = MOMENT
    made.__dict__.update(fields(**values))
    return made


def with_fields(values: dict[str, object]) -> logging.LogRecord:
    """
    A record at MOMENT with fields of names that Python would not take as keywords here.
    """
    made = record("x")
    made.__dict__["fields"] = values
    return made


GOLDEN = [
    pytest.param(
        record("probe failed", level=logging.WARNING, target="lms", reason=Reason.TIMEOUT),
        'ts=2026-11-24T06:00:00.123Z level=warn msg="probe failed" target=lms reason=timeout',
        '{"ts":"2026-11-24T06:00:00.123Z","level":"warn","msg":"probe failed",'
        '"target":"lms","reason":"timeout"}',
        id="fields",
    ),
    pytest.param(
        record("swept %d targets", 3, level=logging.DEBUG, seconds=0.25, cold=True, shard=None, failed=0),
        'ts=2026-11-24T06:00:00.123Z level=debug msg="swept 3 targets" '
        "seconds=0.25 cold=true shard=null failed=0",
        '{"ts":"2026-11-24T06:00:00.123Z","level":"debug","msg":"swept 3 targets",'
        '"seconds":0.25,"cold":true,"shard":null,"failed":0}',
        id="numbers, booleans and null",
    ),
    pytest.param(
        record("ready", empty="", url="tls://[::1]:443", query="a=b", quote='say "no"', path="C:\\x"),
        "ts=2026-11-24T06:00:00.123Z level=info msg=ready "
        r'empty="" url=tls://[::1]:443 query="a=b" quote="say \"no\"" path="C:\\x"',
        '{"ts":"2026-11-24T06:00:00.123Z","level":"info","msg":"ready",'
        r'"empty":"","url":"tls://[::1]:443","query":"a=b","quote":"say \"no\"","path":"C:\\x"}',
        id="quotes and backslashes",
    ),
    pytest.param(
        record("a\nb", detail="c\r\n\td\x00\x1b[31m\x7f", separators="e\x85f\u2028g", tag="\U000e0001"),
        r'ts=2026-11-24T06:00:00.123Z level=info msg="a\nb" '
        r'detail="c\r\n\td\u0000\u001b[31m\u007f" separators="e\u0085f\u2028g" tag="\U000e0001"',
        r'{"ts":"2026-11-24T06:00:00.123Z","level":"info","msg":"a\nb",'
        r'"detail":"c\r\n\td\u0000\u001b[31m\u007f","separators":"e\u0085f\u2028g","tag":"\udb40\udc01"}',
        id="line ends and control characters",
    ),
    pytest.param(
        record("bücher", name_read="caf\udce9", raw=b"caf\xe9", turned="a\u202eb"),
        r"ts=2026-11-24T06:00:00.123Z level=info msg=bücher "
        r'name_read="caf\\udce9" raw="caf\\xe9" turned="a\u202eb"',
        r'{"ts":"2026-11-24T06:00:00.123Z","level":"info","msg":"b\u00fccher",'
        r'"name_read":"caf\\udce9","raw":"caf\\xe9","turned":"a\u202eb"}',
        id="what is no unicode, and what turns the direction of writing",
    ),
    pytest.param(
        record("done", level=logging.CRITICAL, infinite=math.inf, unknown=math.nan, parts=["a", 1]),
        "ts=2026-11-24T06:00:00.123Z level=error msg=done infinite=inf unknown=nan parts=\"['a', 1]\"",
        '{"ts":"2026-11-24T06:00:00.123Z","level":"error","msg":"done",'
        '"infinite":"inf","unknown":"nan","parts":"[\'a\', 1]"}',
        id="what JSON has no word for",
    ),
    pytest.param(
        with_fields({"level": "high", "exception": "none", "a key=1": 2, "": 3}),
        "ts=2026-11-24T06:00:00.123Z level=info msg=x level_=high exception_=none a_key_1=2 _=3",
        '{"ts":"2026-11-24T06:00:00.123Z","level":"info","msg":"x",'
        '"level_":"high","exception_":"none","a_key_1":2,"_":3}',
        id="keys",
    ),
    pytest.param(
        record("Unclosed connection", name="aiohttp.client", level=logging.ERROR),
        'ts=2026-11-24T06:00:00.123Z level=error msg="Unclosed connection" logger=aiohttp.client',
        '{"ts":"2026-11-24T06:00:00.123Z","level":"error","msg":"Unclosed connection",'
        '"logger":"aiohttp.client"}',
        id="another library's logger is named",
    ),
    pytest.param(
        record("%d targets", "many", level=5),
        "ts=2026-11-24T06:00:00.123Z level=debug msg=\"%d targets ('many',)\"",
        '{"ts":"2026-11-24T06:00:00.123Z","level":"debug","msg":"%d targets (\'many\',)"}',
        id="arguments that do not fit the message",
    ),
]


@pytest.mark.parametrize(("made", "logfmt", "json_line"), GOLDEN)
def test_lines_are_as_written(made: logging.LogRecord, logfmt: str, json_line: str) -> None:
    """
    A record gives exactly this logfmt line and this JSON line.
    """
    assert LogfmtFormatter().format(made) == logfmt
    assert JsonFormatter().format(made) == json_line


@pytest.mark.parametrize("format_name", list(FORMATTERS))
@given(message=st.text(st.characters()), value=st.one_of(st.text(st.characters()), st.binary(), st.floats()))
def test_any_record_is_one_line_of_utf8(format_name: str, message: str, value: object) -> None:
    """
    No message and no field can add a line, a control character or a byte that is no UTF-8.
    """
    line = FORMATTERS[format_name]().format(record(message.replace("%", "%%"), value=value))
    assert len(line.splitlines()) == 1
    assert line.isprintable()
    assert line.encode("utf-8")


@given(message=st.text(), value=st.text())
def test_json_says_what_was_logged(message: str, value: str) -> None:
    """
    A JSON parser gives back the message and the field, character for character.
    """
    parsed = json.loads(JsonFormatter().format(record("%s", message, value=value)))
    assert (parsed["msg"], parsed["value"]) == (message, value)


@given(value=st.text())
def test_logfmt_says_what_was_logged(value: str) -> None:
    """
    Undoing the quotes and escapes of a logfmt value gives the field back, character for character.
    """
    written = LogfmtFormatter().format(record("x", value=value)).partition(" value=")[2]
    if written.startswith('"'):
        pairs = written[1:-1].encode("latin-1", "backslashreplace").decode("unicode_escape")
        assert pairs == value
    else:
        assert written == value


@pytest.mark.parametrize("format_name", list(FORMATTERS))
def test_a_traceback_is_a_field_of_the_same_line(format_name: Format) -> None:
    """
    An exception comes with its traceback, its line ends escaped.
    """
    stream = io.StringIO()
    setup("info", format_name, stream)
    try:
        int("no\nwhere")
    except ValueError:
        logging.getLogger("exporter.web").exception("reload failed", stack_info=True)
    (line,) = stream.getvalue().splitlines()
    assert "Traceback (most recent call last):\\n" in line
    assert "ValueError: invalid literal" in line
    assert "Stack (most recent call last):\\n" in line


def test_exc_info_without_an_exception_adds_nothing() -> None:
    """
    A record that asks for an exception when there is none has no `exception` field.
    """
    made = record("x")
    made.exc_info = (None, None, None)
    assert LogfmtFormatter().format(made) == "ts=2026-11-24T06:00:00.123Z level=info msg=x"


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("debug", ["debug", "info", "warn", "error"]),
        ("info", ["info", "warn", "error"]),
        ("warn", ["warn", "error"]),
        ("error", ["error"]),
    ],
)
def test_records_below_the_level_are_left_out(level: str, shown: list[str]) -> None:
    """
    A level shows itself and what is worse.
    """
    stream = io.StringIO()
    setup(level, "json", stream)
    logger = logging.getLogger("exporter.anything")
    logger.debug("1")
    logger.info("2")
    logger.warning("3")
    logger.error("4")
    assert [json.loads(line)["level"] for line in stream.getvalue().splitlines()] == shown


def test_other_libraries_and_warnings_come_through_the_same_handler() -> None:
    """
    Errors of asyncio and Python's warnings are lines like ours; aiohttp's access log is off.
    """
    stream = io.StringIO()
    setup("info", "logfmt", stream)
    logging.getLogger("asyncio").error("Task exception was never retrieved")
    logging.getLogger("aiohttp.access").info("GET /metrics")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0].endswith('level=error msg="Task exception was never retrieved" logger=asyncio')
    assert "DeprecationWarning: old" in lines[1]
    assert lines[1].endswith("logger=py.warnings")


def test_the_last_setup_holds() -> None:
    """
    A second setup replaces the first: a record is written once, to the new stream.
    """
    first, second = io.StringIO(), io.StringIO()
    setup("info", "logfmt", first)
    setup("warn", "json", second)
    logging.getLogger("exporter").warning("once")
    assert first.getvalue() == ""
    assert json.loads(second.getvalue())["msg"] == "once"


def test_who_logs_does_not_wait_for_who_reads() -> None:
    """
    A pipe that nobody reads holds up nobody. Once it is read, the lines come in order, and how many are lost.
    """
    total = 20_000
    reading, writing = os.pipe()
    with os.fdopen(writing, "w", encoding="utf-8") as stream, os.fdopen(reading, "rb") as read:
        handler = RateLimitedHandler(stream)
        handler.setFormatter(JsonFormatter())
        for number in range(total):
            handler.emit(record("x" * 60, level=logging.DEBUG, number=number))
        got = []
        for line in read:
            got.append(json.loads(line))
            if "lost" in got[-1]:
                break
        assert [one["number"] for one in got[:-1]] == list(range(len(got) - 1))
        assert len(got) - 1 + got[-1]["lost"] == total
        assert 0 < got[-1]["lost"] < total
        assert got[-1]["level"] == "warn"
        handler.emit(record("later"))
        assert json.loads(next(read))["msg"] == "later"
        handler.close()


def test_a_log_that_nobody_reads_keeps_nobody_from_the_end() -> None:
    """
    A process whose log is not read ends with its own status.
    """
    script = (
        "import logging, sys; from exporter.logs import setup; setup('debug', 'logfmt', sys.stderr)\n"
        "for _ in range(2000): logging.getLogger('exporter').debug('x' * 1000)\n"
        "sys.exit(5)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE) as process:
        assert process.wait(30) == 5


def test_a_reader_that_is_gone_harms_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The line is lost; whoever logs goes on.
    """
    # It would say so on standard error.
    monkeypatch.setattr(logging, "raiseExceptions", False)
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", encoding="utf-8") as stream:
        handler = RateLimitedHandler(stream)
        for _ in range(3):
            handler.emit(record("x"))
        handler.close()


def test_a_stream_that_is_no_utf8_gets_escapes() -> None:
    """
    In a C locale a record with other characters is written, with escapes, rather than lost.
    """
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    setup("info", "logfmt", stream)
    logging.getLogger("exporter").info("bücher", extra=fields(target="地"))
    stream.flush()
    assert raw.getvalue().endswith(rb"level=info msg=b\xfccher target=\u5730" + b"\n")


def test_unknown_levels_and_formats_are_refused() -> None:
    """
    A misspelt level or format is an error that names the right ones.
    """
    with pytest.raises(
        ValueError, match="log level 'warning' is not known: use one of debug, info, warn, error"
    ):
        setup("warning", "logfmt", sys.stderr)
    with pytest.raises(ValueError, match="log format 'xml' is not known: use one of logfmt, json"):
        setup("info", "xml", sys.stderr)  # type: ignore[arg-type]  # what a person may write


@pytest.mark.parametrize("format_name", list(FORMATTERS))
@pytest.mark.parametrize(
    ("text", "begins", "ends"),
    [
        ("".join(f"fault {number}: no such key\n" for number in range(150_000)), "fault 0:", "fault 149999:"),
        ("\U000e0001" * 90_000, "", ""),
        ("ü\u2028" * 50_000, "ü", ""),
    ],
    ids=["many faults", "what is escaped at length", "what takes several bytes"],
)
def test_a_line_is_short_and_says_what_it_lacks(
    format_name: Format, text: str, begins: str, ends: str
) -> None:
    """
    The beginning and the end of a value stay, with the number of characters in between.
    """
    line = FORMATTERS[format_name]().format(record("no", level=logging.ERROR, cause=text, target="lms"))
    assert len(line.encode()) <= LINE_LIMIT
    assert len(line.splitlines()) == 1
    left_out = re.search(r"\[\.\.\. ([0-9,]+) characters are left out \.\.\.\]", line)
    assert left_out is not None
    assert len(text) - 4100 <= int(left_out[1].replace(",", "")) < len(text)
    assert json.dumps(begins)[1:-1] in line or begins in line
    assert ends in line
    assert "lms" in line


def rationed(*records: logging.LogRecord) -> list[str]:
    """
    The lines that these records make.
    """
    stream = io.StringIO()
    handler = RateLimitedHandler(stream)
    handler.setFormatter(LogfmtFormatter())
    for one in records:
        handler.handle(one)
    handler.close()
    return stream.getvalue().splitlines()


def later(seconds: float, message: str = "bad request from %s", line: int = 7) -> logging.LogRecord:
    """
    A record of one place of the code, this long after MOMENT.
    """
    made = logging.LogRecord("aiohttp.server", logging.ERROR, "web.py", line, message, ("x",), None)
    made.created = MOMENT + seconds
    return made


def test_an_event_has_so_many_lines_a_minute() -> None:
    """
    What it would have had besides is counted in one line as soon as anything is logged after the minute.
    """
    flood = [later(number / 1000) for number in range(1000)]
    lines = rationed(*flood, later(EVENT_SECONDS + 1, "another thing than %s", line=9))
    assert len(lines) == EVENT_LINES + 2
    assert lines[-2] == (
        'ts=2026-11-24T06:01:01.123Z level=error msg="there were more of these lines than are written" '
        f'logger=aiohttp.server event="bad request from x" left_out={1000 - EVENT_LINES} '
        "since=2026-11-24T06:00:00.123Z"
    )
    assert "another thing than x" in lines[-1]


def test_events_have_their_lines_each_for_itself() -> None:
    """
    One that floods takes no line from another, and has lines again after a minute.
    """
    flood = [later(number / 1000) for number in range(500)]
    lines = rationed(*flood, later(1, line=8), later(EVENT_SECONDS + 0.1))
    assert sum("more of these" in line for line in lines) == 1
    assert len(lines) == EVENT_LINES + 3


def test_what_was_left_out_is_told_at_the_end() -> None:
    """
    Also when the process ends within the minute. A clock that was set back does not make the minute longer.
    """
    lines = rationed(*[later(0)] * (EVENT_LINES + 5))
    assert len(lines) == EVENT_LINES + 1
    assert "left_out=5" in lines[-1]
    assert len(rationed(*[later(0)] * EVENT_LINES, later(-1000))) == EVENT_LINES + 1


def test_a_person_who_debugs_gets_each_line() -> None:
    """
    The lines of level debug are not rationed.
    """
    made = record("probe failed", level=logging.DEBUG)
    assert len(rationed(*[made] * 500)) == 500
