"""
`expiry-exporter check`: look once, tell a person or a program, exit as monitoring plugins do.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from exporter import document
from exporter.metrics import EndpointRow
from exporter.network import Network
from exporter.observation import Kind
from exporter.status import URGENCY, Level, Status, date, span, status, worst
from exporter.targets import Target
from exporter.watch import Scrape, Watch

STYLES = {Level.OK: "green", Level.WARNING: "yellow", Level.CRITICAL: "bold red", Level.UNKNOWN: "magenta"}


async def look(
    targets: Sequence[Target], timeout: float, concurrency: int, console: Console | None
) -> Scrape:
    """
    One scrape of the targets. Shows progress on the console, unless that is None.
    """
    network = Network(asyncio.get_running_loop())
    try:
        watch = Watch(network, concurrency, time.time)
        scrape = asyncio.ensure_future(watch.scrape(targets, timeout, lambda _: True))
        if console is not None:
            await _show_progress(watch, scrape, len(targets), console)
        return await scrape
    finally:
        network.close()


async def _show_progress(
    watch: Watch, scrape: "asyncio.Future[Scrape]", count: int, console: Console
) -> None:
    columns = (TextColumn("looking"), BarColumn(), MofNCompleteColumn(), TextColumn("targets"))
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=count)
        while not scrape.done():
            await asyncio.wait([scrape], timeout=0.2)
            progress.update(task, completed=watch.done)


def level(scrape: Scrape, now: float) -> Level:
    """
    The most urgent level of all endpoints: the exit code.
    """
    return worst(status(row, now).level for row in scrape.endpoints)


def print_table(scrape: Scrape, now: float, stream: TextIO) -> None:
    """
    The endpoints as a table, the most urgent first. In colour on a terminal, plain elsewhere.
    """
    console = Console(file=stream, highlight=False, soft_wrap=not stream.isatty())
    rows = [(status(row, now), row) for row in scrape.endpoints]
    rows.sort(key=lambda pair: -URGENCY.index(pair[0].level))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("STATE", "TARGET", "ENDPOINT", "ENDS", "LEFT", "WHAT TO KNOW"):
        table.add_column(heading, overflow="fold", no_wrap=heading in {"STATE", "ENDS", "LEFT"})
    for found, row in rows:
        _add_rows(table, found, row, now)
    if not stream.isatty():
        console.width = 240
    console.print(table)
    counts = {one: sum(found.level is one for found, _ in rows) for one in reversed(URGENCY)}
    console.print(", ".join(f"{count} {one.name.lower()}" for one, count in counts.items()))


def _add_rows(table: Table, found: Status, row: EndpointRow, now: float) -> None:
    leaves = [
        judged.item
        for judged in (row.verdict.items if row.verdict is not None else ())
        if judged.item.kind is Kind.LEAF
    ]
    ends = "\n".join(date(item.not_after) for item in leaves)
    left = "\n".join(span(item.not_after - now) if item.not_after >= now else "none" for item in leaves)
    words = "\n".join(one.words for one in found.findings) or "fine"
    # Text, not markup: a target may be named [bold].
    table.add_row(
        Text(found.level.name, style=STYLES[found.level]),
        Text(row.target.name),
        Text(row.label),
        Text(ends),
        Text(left),
        Text(words),
    )


def print_json(scrape: Scrape, now: float, stream: TextIO) -> None:
    """
    The endpoints as JSON: `{"level": ..., "endpoints": [...]}`, times in seconds since the epoch.
    """
    found = {
        "level": level(scrape, now).name.lower(),
        "endpoints": [document.endpoint(row, now) for row in scrape.endpoints],
    }
    json.dump(found, stream, indent=2)
    stream.write("\n")
