"""
The parts of every dashboard around its panels: variables, links, annotations, time and identity.
"""

from collections.abc import Sequence

from grafana_foundation_sdk.builders.dashboard import (
    AnnotationQuery,
    CustomVariable,
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    QueryVariable,
    Row,
    TextBoxVariable,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as model

from exporter.report import families
from exporter.report.families import Family
from grafana.panels import CRITICAL, SOURCE
from grafana.queries import of

REPOSITORY = "https://github.com/expiry-exporter/expiry-exporter/blob/main"
RUNBOOKS = f"{REPOSITORY}/alerts/runbooks"

STATUS = "http://localhost:10119"
"""The URL of the status page until another one is put into the text box."""

TAG = "expiry-exporter"

LABELS = (
    *("team", "service", "owner", "environment", "env", "cluster", "region", "site", "customer", "tier"),
)
"""Labels of targets in the list: those that many people give. Any other can be typed."""

WITHIN = ("7", "14", "30", "60", "90", "180", "400", "4000")
"""Days in the list of the variable `within`."""
WITHIN_FIRST = "60"

KEPT = "&".join(
    f"${{{name}:queryparam}}" for name in ("datasource", "job", "instance", "label", "value", "status")
)
TO_TARGET = f"/d/expiry-target?{KEPT}&var-target=${{__data.fields.Target:percentencode}}"
"""The Target dashboard of the row."""
TO_STATUS = "${status:raw}/targets/${__data.fields.Target:percentencode}"
"""The row's target on the exporter's status page."""
TO_REASON = "${status:raw}/docs/reasons#${__value.raw}"
"""The heading in the exporter's manual of the reason that the cell names."""
TO_RUNBOOK = f"{RUNBOOKS}/${{__value.text}}.md"
"""The runbook of the alert that the cell names."""

ALERTS = 'ALERTS{alertname=~"Expiry.+", alertname!="ExpiryHeartbeat", alertstate="firing"}'


def dashboard(
    name: str,
    title: str,
    description: str,
    since: str,
    alerts: str,
    rows: Sequence[tuple[str, Sequence[Builder[model.Panel]]]],
    *,
    known_by: Family = families.TARGET,
    labelled: bool = True,
    within: bool = False,
    target: bool = False,
    refresh: str = "1m",
) -> model.Dashboard:
    """
    Return the whole dashboard. Panels are numbered in the order of the page.

    `alerts` is the query of its annotations, `known_by` the metric whose series list the exporters. A row
    without a title has no heading.
    """
    made = (
        Dashboard(title)
        .uid(f"expiry-{name}")
        .description(description)
        .tags([TAG])
        .readonly()
        .timezone("browser")
        .time(since, "now")
        .refresh(refresh)
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .link(
            DashboardLink("Expiry dashboards")
            .type(model.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(as_dropdown=False)
            .include_vars(include_vars=True)
            .keep_time(keep_time=False)
        )
        .link(
            _outside("Status page", "${status:raw}", "The exporter's own page, with a page for each target")
        )
        .link(_outside("Runbooks", RUNBOOKS, "What to do about each alert"))
        .annotation(
            AnnotationQuery()
            .name("Alerts")
            .datasource(SOURCE)
            .enable(enable=True)
            .hide(hide=False)
            .icon_color(CRITICAL)
            .expr(alerts)
            .step("1m")
            .title_format("{{alertname}}")
            .text_format("{{severity}} {{target}}{{instance}}")
            .tag_keys("severity")
        )
    )
    for variable in _variables(known_by, labelled=labelled, within=within, target=target):
        made = made.with_variable(variable)
    for heading, panels in rows:
        if heading:
            made = made.with_row(Row(heading))
        for panel in panels:
            made = made.with_panel(panel)
    built = made.build()
    for number, placed in enumerate(built.panels or (), 1):
        # Also the rows: links to a panel go by its number.
        placed.id_val = number
    return built


def _outside(title: str, url: str, tooltip: str) -> DashboardLink:
    return (
        DashboardLink(title)
        .type(model.DashboardLinkType.LINK)
        .icon("external link")
        .url(url)
        .tooltip(tooltip)
        .target_blank(target_blank=True)
    )


def _variables(
    known_by: Family, *, labelled: bool, within: bool, target: bool
) -> list[Builder[model.VariableModel]]:
    job = f"label_values({known_by.name}, job)"
    instance = f'label_values({known_by.name}{{job=~"$job"}}, instance)'
    found: list[Builder[model.VariableModel]] = [
        DatasourceVariable("datasource")
        .label("Data source")
        .description("The Prometheus that scrapes the exporters.")
        .type("prometheus"),
        _several("job", "Job", job, "Scrape jobs in which exporters are."),
        _several(
            "instance",
            "Instance",
            instance,
            "Exporters. Replicas that see the same targets are counted once.",
        ),
    ]
    if labelled:
        value = f"label_values({of(families.TARGET)}, $label)"
        found += [
            CustomVariable("label")
            .label("By label")
            .description(
                "A label that your targets have in the configuration. Choose one, or type any other."
            )
            .values(",".join(LABELS))
            .current(model.VariableOption(text=LABELS[0], value=LABELS[0], selected=True))
            .multi(multi=False)
            .include_all(include_all=False)
            .allow_custom_value(allow_custom_value=True),
            # Targets that lack the label are chosen too: .* matches what is not there.
            _several(
                "value", "Value", value, "Targets with one of these values of that label.", all_value=".*"
            ),
        ]
    if within:
        found.append(
            CustomVariable("within")
            .label("Expires within (days)")
            .description(
                "How far ahead the table of certificates and the weeks beside it look. Choose, or type a"
                " number of days."
            )
            .values(",".join(WITHIN))
            .current(model.VariableOption(text=WITHIN_FIRST, value=WITHIN_FIRST, selected=True))
            .multi(multi=False)
            .include_all(include_all=False)
            .allow_custom_value(allow_custom_value=True)
        )
    if target:
        of_label = '$label=~"$value"'
        found.append(
            QueryVariable("target")
            .label("Target")
            .description("One target, by its name in the configuration.")
            .datasource(SOURCE)
            .query(f"label_values({of(families.TARGET, of_label)}, target)")
            .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(model.VariableSort.ALPHABETICAL_ASC)
            .multi(multi=False)
            .include_all(include_all=False)
        )
    found.append(
        TextBoxVariable("status")
        .label("Status page")
        .description("Where the exporter's own page is; links lead there. The address of --web.external-url.")
        .default_value(STATUS)
        .current(model.VariableOption(text=STATUS, value=STATUS, selected=True))
    )
    return found


def _several(name: str, label: str, query: str, description: str, *, all_value: str = ".+") -> QueryVariable:
    return (
        QueryVariable(name)
        .label(label)
        .description(description)
        .datasource(SOURCE)
        .query(query)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(all_value)
        .current(model.VariableOption(text="All", value="$__all", selected=True))
    )
