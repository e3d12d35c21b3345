"""
Selections: the filters, order and page in the query of a request. Pure.

The status page, /api/v1/items and /calendar.ics take the same filters.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from urllib.parse import urlencode

from exporter.report.status import Level

PAGE_SIZE = 100
"""Endpoints on a page, and items in an answer to a request without `limit`."""


MOST = 10_000
"""Items that an answer may have at most."""


FILTERS = ("q", "level", "label", "target")


PAGE_PARAMETERS = (*FILTERS, "sort", "page")


API_PARAMETERS = (*PAGE_PARAMETERS, "limit")


class ParameterError(ValueError):
    """
    An invalid query. The message names the fault and what would be valid.
    """


class Sort(StrEnum):
    """
    Orders of the list of endpoints. The values are API.
    """

    URGENCY = "urgency"
    """The most urgent first, and among equals the first to end."""
    TARGET = "target"
    LOCATION = "location"
    END = "end"
    """The first to end first, endpoints that were never seen last."""


@dataclass(frozen=True, slots=True)
class Selection:
    """
    A selection of endpoints: filters, order and page.
    """

    text: str = ""
    """Each of its words must occur in a name, an address, a certificate, a label, a reason or a date."""
    levels: frozenset[Level] = frozenset()
    """Empty: all."""
    labels: tuple[tuple[str, str], ...] = ()
    """The user's labels, all of which a target must have."""
    targets: frozenset[str] = frozenset()
    """Names of targets; empty: all."""
    sort: Sort = Sort.URGENCY
    descending: bool = False
    page: int = 1
    limit: int = PAGE_SIZE

    def query(self, **changes: object) -> str:
        """
        Return the query of a link to this selection with these changes, with its question mark.

        The link leads to the first page, unless the changes name another.
        """
        one = replace(self, **{"page": 1, **changes})  # type: ignore[arg-type] # fields of this class
        pairs = [("q", one.text)] if one.text else []
        pairs += [("level", level.name.lower()) for level in sorted(one.levels)]
        pairs += [("label", f"{name}={value}") for name, value in one.labels]
        pairs += [("target", name) for name in sorted(one.targets)]
        if one.sort is not Sort.URGENCY or one.descending:
            pairs.append(("sort", f"{'-' * one.descending}{one.sort}"))
        if one.page > 1:
            pairs.append(("page", str(one.page)))
        return f"?{urlencode(pairs, errors='replace')}"

    @property
    def narrowed(self) -> bool:
        """
        True when a filter is set.
        """
        return bool(self.text or self.levels or self.labels or self.targets)


def parse(pairs: Iterable[tuple[str, str]], allowed: Collection[str]) -> Selection:
    """
    Parse the names and values of a query, in which only `allowed` names may occur. Empty values are ignored.

    Raises ParameterError for an unknown name or an invalid value.
    """
    text, sort, page, limit = "", "", 1, PAGE_SIZE
    levels: set[Level] = set()
    labels: dict[tuple[str, str], None] = {}
    targets: set[str] = set()
    for name, value in pairs:
        if name not in allowed:
            raise ParameterError(f"unknown parameter {name!r}: there are {', '.join(allowed)}")
        if not value:
            continue
        match name:
            case "q":
                text = value.strip()
            case "level":
                levels.add(_level(value))
            case "label":
                key, separator, wanted = value.partition("=")
                if not separator or not key:
                    raise ParameterError(f"label {value!r} is not NAME=VALUE, such as label=team=payments")
                labels[key, wanted] = None
            case "target":
                targets.add(value)
            case "sort":
                sort = value
            case "page":
                page = _whole(name, value, MOST)
            case _:
                limit = _whole(name, value, MOST)
    order = sort.removeprefix("-") or Sort.URGENCY
    if order not in list(Sort):
        raise ParameterError(f"sort {sort!r} is not known: use {', '.join(Sort)}, or one of them after '-'")
    return Selection(
        text,
        frozenset(levels),
        tuple(labels),
        frozenset(targets),
        Sort(order),
        sort.startswith("-"),
        page,
        limit,
    )


def _level(value: str) -> Level:
    try:
        return Level[value.upper()]
    except KeyError:
        known = ", ".join(level.name.lower() for level in Level)
        raise ParameterError(f"level {value!r} is not known: use {known}") from None


def _whole(name: str, value: str, most: int) -> int:
    if not value.isascii() or not value.isdigit() or len(value) > 9 or not 1 <= int(value) <= most:
        raise ParameterError(f"{name} {value!r} is not a whole number from 1 to {most}")
    return int(value)
