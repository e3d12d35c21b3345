"""
The status page: one HTML page of what is wrong first, without scripts. Pure.
"""

from html import escape

from exporter import __version__
from exporter.metrics import EndpointRow
from exporter.observation import Kind
from exporter.status import URGENCY, Status, ago, date, span, status
from exporter.watch import Scrape

ROW_LIMIT = 2000
"""Endpoints on the page; the most urgent ones when there are more."""

STYLE = """
:root { color-scheme: light dark; --line: #8886; --critical: #b3261e; --warning: #8a5300; --unknown: #5b4b9a;
  --ok: #1b6b3a; }
@media (prefers-color-scheme: dark) { :root { --critical: #ff8a80; --warning: #ffc46b; --unknown: #bdaaff;
  --ok: #7fd6a0; } }
body { font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem auto; padding: 0 1rem; max-width: 90rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid var(--line);
  overflow-wrap: anywhere; }
.level { font-weight: 600; white-space: nowrap; }
.critical { color: var(--critical); } .warning { color: var(--warning); }
.unknown { color: var(--unknown); } .ok { color: var(--ok); }
.wide { overflow-x: auto; }
ul { margin: 0; padding-left: 1.1em; }
"""


def render(scrape: Scrape, now: float, age: float) -> str:
    """
    The page for a scrape that is `age` seconds old. Every value is escaped.
    """
    rows = [(status(row, now), row) for row in scrape.endpoints]
    rows.sort(key=lambda pair: (-URGENCY.index(pair[0].level), _soonest(pair[1])))
    counts = {level: sum(found.level is level for found, _ in rows) for level in reversed(URGENCY)}
    summary = ", ".join(f"{count} {level.name.lower()}" for level, count in counts.items())
    body = "".join(_row(found, row, now) for found, row in rows[:ROW_LIMIT])
    more = (
        f"<p>{len(rows) - ROW_LIMIT} less urgent endpoints are not shown.</p>"
        if len(rows) > ROW_LIMIT
        else ""
    )
    empty = "<p>No targets are configured. Use /probe?target=URL, or add targets to the configuration.</p>"
    table = (
        '<div class="wide"><table><thead><tr><th scope="col">State</th><th scope="col">Target</th>'
        '<th scope="col">Endpoint</th><th scope="col">Ends</th><th scope="col">Left</th>'
        f'<th scope="col">What to know</th></tr></thead><tbody>{body}</tbody></table></div>{more}'
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>expiry-exporter: {escape(summary)}</title><style>{STYLE}</style></head><body>"
        f"<h1>expiry-exporter</h1><p>{escape(summary)} of {len(rows)} endpoints, as seen {escape(ago(age))}. "
        '<a href="/metrics">Metrics</a>, <a href="/targets">targets</a>. '
        f"Version {escape(__version__)}.</p>{table if rows else empty}</body></html>\n"
    )


def _soonest(row: EndpointRow) -> float:
    """
    The end of the leaf that ends first; endpoints never seen come last.
    """
    if row.verdict is None:
        return float("inf")
    ends = [one.item.not_after for one in row.verdict.items if one.item.kind is Kind.LEAF]
    return min(ends, default=float("inf"))


def _row(found: Status, row: EndpointRow, now: float) -> str:
    end = _soonest(row)
    known = end != float("inf")
    ends, left = (
        (date(end), span(end - now) if end >= now else f"ended {ago(now - end)}") if known else ("", "")
    )
    name = found.level.name.lower()
    words = "".join(f"<li>{escape(one.words)}</li>" for one in found.findings)
    return (
        f'<tr><td class="level {name}">{name}</td><td>{escape(row.target.name)}</td>'
        f"<td>{escape(row.label)}</td><td>{escape(ends)}</td><td>{escape(left)}</td>"
        f"<td>{f'<ul>{words}</ul>' if words else ''}</td></tr>"
    )
