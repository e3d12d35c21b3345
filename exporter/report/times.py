"""
Times and durations in words for a person. Pure.
"""

from datetime import UTC, datetime

from exporter.model.policies import DAY, HOUR


def date(timestamp: float) -> str:
    """
    Return a time in UTC to the minute; outside the years 1 to 9999, as seconds since 1970.
    """
    try:
        return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError, OSError):
        return f"{timestamp:.0f} s since 1970"


def in_text(fields: dict[str, object], *keys: str) -> dict[str, object]:
    """
    Return JSON values with these times, which are in seconds since the epoch or None, once more as text in
    `rfc3339`.
    """
    return {**fields, "rfc3339": {key: _rfc3339(fields[key]) for key in keys}}


def _rfc3339(timestamp: object) -> str | None:
    """
    Return the time in UTC to the second; None for None, and outside the years 1 to 9999.
    """
    if not isinstance(timestamp, int | float):
        return None
    try:
        return datetime.fromtimestamp(int(timestamp), UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return None


def span(seconds: float) -> str:
    """
    Return a duration in its two largest units: `12 d 3 h`, `3 h 20 min`, `45 s`. Negative ones are 0 s.
    """
    seconds = max(seconds, 0.0)
    if seconds >= 100 * DAY:
        return f"{seconds / DAY:.0f} d"
    if seconds >= DAY:
        return f"{seconds // DAY:.0f} d {seconds % DAY // HOUR:.0f} h"
    if seconds >= HOUR:
        return f"{seconds // HOUR:.0f} h {seconds % HOUR // 60:.0f} min"
    if seconds >= 60:
        return f"{seconds // 60:.0f} min"
    return f"{int(seconds)} s"


def rounded(seconds: float) -> str:
    """
    Return a duration to the hour, or from two days on to the day: `24 h`, `7 d`; under an hour to the minute.
    """
    if seconds < HOUR:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / HOUR:.0f} h" if seconds < 2 * DAY else f"{seconds / DAY:.0f} d"


def ago(seconds: float) -> str:
    """
    Return a duration in the past, in words: `3 h 20 min ago`.
    """
    return f"{span(seconds)} ago"


def distance(timestamp: float, now: float) -> str:
    """
    Return the time between a moment and now, in words: `in 12 d 3 h`, `3 h 20 min ago`.
    """
    return f"in {span(timestamp - now)}" if timestamp >= now else ago(now - timestamp)
