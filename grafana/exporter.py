"""
The Exporter dashboard: whether the exporters see everything in time, and their cost.
"""

from collections.abc import Sequence

from grafana_foundation_sdk.builders import stat, table, timeseries
from grafana_foundation_sdk.builders.dashboard import ThresholdsConfig
from grafana_foundation_sdk.models.dashboard import Dashboard, ValueMapping

from exporter.model.policies import DAY
from exporter.report import families
from exporter.report.families import Family
from grafana import panels, shell
from grafana.meanings import YES
from grafana.panels import Column, Place, Series
from grafana.queries import EXPORTERS, milliseconds, numbered, of

NAME = "exporter"

ROWS = 100

HERE = "job, instance"


def dashboard() -> Dashboard:
    """
    Return the whole dashboard.
    """
    stats = [answers(), complete(), budget(), targets(), failing(), configuration(), state(), clock()]
    return shell.dashboard(
        NAME,
        "Expiry / Exporter",
        "Whether the exporters see all that they should, in time, and what that costs.",
        "now-24h",
        shell.ALERTS.replace("{", f"{{{EXPORTERS}, ", 1),
        [
            ("", stats),
            ("What is probed, and how fast", [sweeps(), failures(), endpoints(), targets_over_time()]),
            ("The process", [memory(), cpu(), files(), loaded()]),
            ("Scrapes, as Prometheus sees them", [scrapes(), samples(), scrape_health()]),
            ("Where targets come from, and who probes them", [sources(), exporters()]),
        ],
        known_by=families.BUILD,
        labelled=False,
    )


def _tile(
    title: str,
    description: str,
    expression: str,
    alert: str,
    *,
    unit: str = "none",
    decimals: int | None = None,
    colours: ThresholdsConfig | None = None,
    mappings: Sequence[ValueMapping] = (),
    no_value: str = panels.NO_DATA,
) -> stat.Panel:
    """
    Return a number with a link to the runbook of the alert that fires when it is bad.
    """
    return panels.stat_panel(
        Place(title, description, 3, 4),
        expression,
        unit=unit,
        decimals=decimals,
        colours=colours,
        mappings=mappings,
        links={"Runbook": f"{shell.RUNBOOKS}/{alert}.md"},
        no_value=no_value,
    )


def _worst(
    title: str, description: str, expression: str, alert: str, no_value: str = panels.NO_DATA
) -> stat.Panel:
    """
    Return a yes or no: 1 if the condition holds for all chosen exporters.
    """
    return _tile(title, description, expression, alert, mappings=YES, no_value=no_value)


def answers() -> stat.Panel:
    """
    Exporters that answer scrapes.
    """
    return _worst(
        "All answer",
        "Whether Prometheus gets answers from all chosen exporters. If not: does the process run, and what"
        " does its log say? Alerts that fired stay meanwhile; new ones can't come.",
        f"min({of('up')})",
        "ExpiryExporterDown",
    )


def complete() -> stat.Panel:
    """
    Completeness of the last sweep.
    """
    return _worst(
        "Sweep complete",
        "Whether the last scrape had time to probe every endpoint. If not, the others are reported as"
        " `timeout`: raise scrape_timeout, or share the targets among several exporters with --shard.total.",
        f"min({of(families.SWEEP_COMPLETE)})",
        "ExpirySweepIncomplete",
    )


def budget() -> stat.Panel:
    """
    Share of the scrape's timeout that the slowest sweep took.
    """
    return _tile(
        "Timeout used",
        "How much of the scrape's timeout the last sweep of the slowest exporter took. From 80 % on, one more"
        " slow target can make sweeps incomplete: raise scrape_timeout, lower the targets' timeout, or"
        " share the targets among several exporters.",
        f"max({of(families.SWEEP_DURATION)} / {of(families.SWEEP_TIMEOUT)})",
        "ExpirySweepIncomplete",
        unit="percentunit",
        decimals=0,
        colours=panels.steps(panels.QUIET, (0.8, panels.WARNING), (1, panels.CRITICAL)),
    )


def targets() -> stat.Panel:
    """
    Number of targets.
    """
    return panels.stat_panel(
        Place(
            "Targets",
            "Targets that the chosen exporters probed in their last sweeps; replicas with the same"
            " configuration count them twice.",
            3,
            4,
        ),
        f"sum({of(families.SWEEP_TARGETS)})",
        unit="short",
    )


def failing() -> stat.Panel:
    """
    Share of probes that fail.
    """
    return _tile(
        "Endpoints that fail",
        "The share of all endpoints at which the last probe failed. A few are servers that are down. Half or"
        " more: look at the exporter's own network, DNS or firewall.",
        f"sum({of(families.SWEEP_FAILURES)}) / (sum({of(families.SWEEP_ENDPOINTS)}) > 0)",
        "ExpiryProbeFailing",
        unit="percentunit",
        decimals=0,
        no_value="no endpoints",
        colours=panels.steps(panels.QUIET, (0.05, panels.WARNING), (0.5, panels.CRITICAL)),
    )


def configuration() -> stat.Panel:
    """
    Success of the last reload of the configuration.
    """
    return _worst(
        "Config good",
        "Whether the configuration was good when it was last loaded. If not, the one before it is still in"
        " use: expiry-exporter --config.check says what is wrong.",
        f"min({of(families.RELOAD_SUCCESS)})",
        "ExpiryConfigReloadFailed",
    )


def state() -> stat.Panel:
    """
    Success of saving the state, without which a restart loses held facts.
    """
    return _worst(
        "State saved",
        "Whether what was last seen could be written to the state file (--state.path), which is read after a"
        " restart. If not: is the disk full, or the file not writable? `not kept`: there is no such file,"
        " and a restart forgets what can't be seen then.",
        f"min({of(families.STATE_SUCCESS)})",
        "ExpiryProbeFailing",
        no_value="not kept",
    )


def clock() -> stat.Panel:
    """
    Difference between the clocks of exporters and Prometheus.
    """
    swept = of(families.SWEEP_TIME)
    return _tile(
        "Clock difference",
        "How far the clocks of exporter and Prometheus are apart, the time of scrape and sweep included. From"
        " a minute on, alerts come too early or too late: check the time synchronisation of both hosts.",
        f"max(abs(timestamp({swept}) - {swept}))",
        "ExpiryClockSkew",
        unit="s",
        decimals=0,
        colours=panels.steps(panels.QUIET, (60, panels.WARNING)),
    )


def sweeps() -> timeseries.Panel:
    """
    Sweep time.
    """
    return panels.lines_panel(
        Place(
            "Sweep duration",
            'How long the probes of all endpoints took, by exporter. The tile "Timeout used" says what share'
            " of the scrape's timeout that is. A line at the targets' own timeout: some endpoints do not"
            " answer.",
            12,
        ),
        [_compared(_each(families.SWEEP_DURATION))],
        unit="s",
        at_least=0,
    )


def endpoints() -> timeseries.Panel:
    """
    Number of endpoints.
    """
    return panels.lines_panel(
        Place(
            "Endpoints",
            "All endpoints of the chosen exporters. Fewer at one moment: a name that no longer resolves, or a"
            " configuration that lost targets.",
            12,
        ),
        [Series(f"sum({of(families.SWEEP_ENDPOINTS)})", "endpoints", panels.CALM)],
        unit="short",
        at_least=0,
        decimals=0,
    )


def targets_over_time() -> timeseries.Panel:
    """
    Targets of each exporter over time.
    """
    return panels.lines_panel(
        Place(
            "Targets by exporter",
            "Targets of each exporter. A quarter fewer within six hours is an alert,"
            " since nobody is told about the rest any more.",
            12,
        ),
        [_compared(_each(families.SWEEP_TARGETS))],
        unit="short",
        at_least=0,
        decimals=0,
        stairs=True,
    )


def failures() -> timeseries.Panel:
    """
    Failed probes by reason.
    """
    return panels.lines_panel(
        Place(
            "Failed probes by reason",
            "Endpoints by the reason for which the probe failed, the most frequent first. `timeout` is the"
            " exporter's own: its sweep was not complete. `dns_…` for many is a resolver. The manual"
            " explains each.",
            12,
        ),
        [
            Series(
                numbered(
                    f"count by (reason) ({of(families.FAILURE)})",
                    "reason",
                    f"-1 * count by (reason) ({of(families.FAILURE)} @ end())",
                ),
                "{{N}} {{reason}}",
            )
        ],
        unit="short",
        at_least=0,
        decimals=0,
        stacked=True,
        points=120,
        no_value="Every probe succeeds.",
    )


def memory() -> timeseries.Panel:
    """
    Memory of the process.
    """
    return panels.lines_panel(
        Place(
            "Memory",
            "Resident memory of each process. It grows with the number of endpoints and"
            " is level after a few sweeps; if it is not, that is a fault worth reporting.",
            6,
        ),
        [_compared(_each("process_resident_memory_bytes"))],
        unit="bytes",
        at_least=0,
    )


def cpu() -> timeseries.Panel:
    """
    CPU time of the process.
    """
    busy = f"rate({of('process_cpu_seconds_total')}[$__rate_interval])"
    return panels.lines_panel(
        Place(
            "CPU, of one core",
            "The share of one core that each process uses. It mostly works in one thread: near 100 % its"
            " sweeps take longer. Share the targets with --shard.total, or scrape less often.",
            6,
        ),
        [_compared(f"sum by ({HERE}) ({busy})")],
        unit="percentunit",
        at_least=0,
    )


def files() -> timeseries.Panel:
    """
    Open files of the process.
    """
    used = f"max by ({HERE}) ({of('process_open_fds')} / {of('process_max_fds')})"
    return panels.lines_panel(
        Place(
            "Open files, of the limit",
            "Open files as a share of the system's limit; each connection is one. Near 100 % probes fail:"
            " raise the limit (LimitNOFILE), or lower --sweep.concurrency.",
            6,
        ),
        [_compared(used)],
        unit="percentunit",
        at_least=0,
    )


def loaded() -> timeseries.Panel:
    """
    Age of the configuration in use.
    """
    return panels.lines_panel(
        Place(
            "Age of the configuration",
            "Time since each exporter loaded the configuration that it uses. It falls to zero with each good"
            " reload and each restart. If it does not after a reload, the new configuration has a fault.",
            6,
        ),
        [_compared(f"(time() - {_each(families.RELOAD_TIME)}) / {DAY:g}")],
        # Of seconds Grafana would make hours and days, with two decimals.
        unit="suffix:days",
        at_least=0,
        up_to=1,
        decimals=1,
    )


def scrapes() -> timeseries.Panel:
    """
    Duration of scrapes.
    """
    return panels.lines_panel(
        Place(
            "Scrape duration",
            "How long Prometheus waited for each exporter: the sweep and the writing and"
            " sending of the answer. Much longer than the sweep: the network between them, or too little"
            " CPU.",
            8,
        ),
        [_compared(_each("scrape_duration_seconds"))],
        unit="s",
        at_least=0,
    )


def samples() -> timeseries.Panel:
    """
    Samples of each scrape.
    """
    return panels.lines_panel(
        Place(
            "Samples per scrape",
            "Samples that each scrape brings: about fifteen for an endpoint with a chain"
            " of two. It is what the exporters cost Prometheus.",
            8,
        ),
        [_compared(_each("scrape_samples_scraped"))],
        unit="short",
        at_least=0,
        decimals=0,
    )


def scrape_health() -> timeseries.Panel:
    """
    Exporters that answer scrapes, over time.
    """
    return panels.lines_panel(
        Place(
            "Up and down",
            "Exporters from which Prometheus got an answer, and those from which it did not. A short gap is"
            " a restart; a long one fires ExpiryExporterDown.",
            8,
        ),
        [
            Series(f"sum({of('up')})", "answer", panels.CALM),
            Series(f"count({of('up')} == 0) or 0 * count({of('up')})", "do not", panels.CRITICAL),
        ],
        unit="short",
        at_least=0,
        decimals=0,
        stairs=True,
    )


def exporters() -> table.Panel:
    """
    Table of exporters.
    """
    build = f"topk({ROWS}, max by ({HERE}, version, python, openssl) ({of(families.BUILD)}))"
    few = f"and on ({HERE}) {build}"

    def each(metric: Family | str) -> str:
        return f"{_each(metric)} {few}"

    return panels.table_panel(
        Place(
            "Exporters",
            "Each chosen exporter with its version and its last sweep. Replicas should be alike; an older"
            " version was forgotten in an update.",
            24,
            5,
        ),
        [
            build,
            each(families.SWEEP_TARGETS),
            each(families.SWEEP_ENDPOINTS),
            each(families.SWEEP_FAILURES),
            each(families.SWEEP_DURATION),
            each("process_resident_memory_bytes"),
            milliseconds(each(families.RELOAD_TIME)),
            milliseconds(each("process_start_time_seconds")),
        ],
        [
            Column("job", "Job", width=120),
            Column("instance", "Instance"),
            Column("version", "Version", width=90),
            Column("python", "Python", width=90),
            Column("openssl", "OpenSSL"),
            Column("Value #B", "Targets", unit="short", width=90),
            Column("Value #C", "Endpoints", unit="short", width=95),
            Column("Value #D", "Failed", unit="short", width=80),
            Column("Value #E", "Sweep", unit="s", width=90),
            Column("Value #F", "Memory", unit="bytes", width=100),
            Column("Value #G", "Config loaded", unit="dateTimeFromNow", width=160),
            Column("Value #H", "Started", unit="dateTimeFromNow", width=160),
        ],
        sorted_by=[("Sweep", True)],
        hidden=["Value #A"],
        no_value="No exporter is known.",
    )


def sources() -> table.Panel:
    """
    Table of the sources of discovered targets.
    """
    there = f"topk({ROWS}, max by ({HERE}, source) ({of(families.DISCOVERY_TARGETS)}))"

    def each(metric: Family) -> str:
        return f"max by ({HERE}, source) ({of(metric)}) and on ({HERE}, source) {there}"

    return panels.table_panel(
        Place(
            "Sources",
            "Each source under `discover` of the chosen exporters, and how many targets its list has. While"
            " it can't be read, the last list is used, and nothing new is found: the exporter's log says why."
            " Kept: too many went at once, so they are probed for another day. Left out: above the `limit`,"
            " or no target.",
            24,
            5,
        ),
        [
            there,
            each(families.DISCOVERY_SUCCESS),
            milliseconds(each(families.DISCOVERY_TIME)),
            each(families.DISCOVERY_KEPT),
            each(families.DISCOVERY_LEFT_OUT),
        ],
        [
            Column("job", "Job", width=120),
            Column("instance", "Instance"),
            Column("source", "Source", links={"Runbook": f"{shell.RUNBOOKS}/ExpiryDiscoveryFailing.md"}),
            Column("Value #A", "Targets", unit="short", width=90),
            Column("Value #B", "Can be read", words=YES, coloured=True, width=110),
            Column("Value #C", "Last read", unit="dateTimeFromNow", width=160),
            Column("Value #D", "Kept", unit="short", width=90),
            Column("Value #E", "Left out", unit="short", width=90),
        ],
        sorted_by=[("Last read", False)],
        hidden=[],
        no_value="No sources: the configuration names all targets.",
    )


def _compared(expression: str) -> Series:
    """
    Return a line for each exporter, those that are down first, with the same number and colour in all panels.
    """
    order = f"max by ({HERE}) ({of('up')} @ end())"
    return Series(numbered(expression, HERE, order), "{{N}} {{instance}}")


def _each(metric: Family | str) -> str:
    return f"max by ({HERE}) ({of(metric)})"
