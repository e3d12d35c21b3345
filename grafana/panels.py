"""
Types and styles of panels: a function for each type, and the colours with their meanings.

People with any colour vision can distinguish the colours (Okabe and Ito, "Color Universal Design", 2008), and
no colour is the only sign: a word or a number says the same. Behind words the colours are lighter or darker
than theirs, so that Grafana's text, nearly white or nearly black, can be read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

from grafana_foundation_sdk.builders import (
    barchart,
    bargauge,
    common,
    stat,
    statetimeline,
    table,
    text,
    timeseries,
)
from grafana_foundation_sdk.builders.dashboard import DashboardLink, FieldColor, ThresholdsConfig
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as styles
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat
from grafana_foundation_sdk.models.text import TextMode

from grafana.queries import NTH

SOURCE = styles.DataSourceRef(type_val="prometheus", uid="$datasource")

CRITICAL = "#C24D00"
"""A person must act now."""
WARNING = "#FFB20D"
"""A person must act, but not this minute."""
UNKNOWN = "#AA5585"
"""Unknown, since the endpoint can't be seen."""
FINE = "#0072B2"
CALM = "#56B4E9"
"""A quantity that is neither good nor bad; also the second of a pair of lines."""
YELLOW = "#F6EE8E"
QUIET = "#5F6570"

ORANGE = "#E69F00"
"""A line that warns: the colour for words would be too bright on white."""
COLOURS = ("#0072B2", "#009E73", "#CC79A7", "#56B4E9", ORANGE, "#D55E00")
"""Colours of lines without a meaning of their own. The last two are those of limits too."""
OTHERS = "#8A8F98"
"""The colour of lines that are too many for one each."""

DATE = "time:YYYY-MM-DD HH:mm"

PASSED = ((-1e9, WARNING), (0, "transparent"))
"""Colours of days to a deadline: it has passed, or not yet."""

DAYS = ((-1e9, CRITICAL), (0, WARNING), (7, YELLOW), (30, "transparent"))
"""Colours of days left. A scale of time only: what needs a person is said by the problem beside it."""

WHOLE = 24
"""Columns of Grafana's grid."""

TREND_POINTS = 24
"""Points of the small graph behind a number, some 200 pixels wide: one for each hour of a day."""

NAMES = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

EVERY_FIELD = "/.*/"
EMPTY_WHERE_UNKNOWN = [model.DynamicConfigValue("noValue", "")]
"""Empty cells are empty: the text for a panel without data is not repeated in them."""


class _Panel(Protocol):
    def title(self, title: str) -> Self: ...
    def description(self, description: str) -> Self: ...
    def datasource(self, datasource: styles.DataSourceRef) -> Self: ...
    def span(self, w: int) -> Self: ...
    def height(self, h: int) -> Self: ...


P = TypeVar("P", bound=_Panel)


NO_DATA = "no data yet"
"""What a tile says: it has no room for more."""
NO_SCRAPE = "Nothing is known yet: this appears after the first scrape."
NO_POINT = "Nothing in this time, or not yet: a graph of a day has a point every few minutes."
"""What panels without data wait for."""


@dataclass(frozen=True, slots=True)
class Place:
    """
    The title of a panel, its description, and its size in Grafana's grid of 24 columns.
    """

    title: str
    description: str
    width: int
    height: int = 8


@dataclass(frozen=True, slots=True)
class Series:
    """
    A query whose series are lines, bars or numbers.
    """

    expression: str
    name: str = ""
    """With labels in double braces; empty: Grafana's own."""
    colour: str = ""
    """Empty: by the panel's scheme."""
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """
    A column of a table: its field, title and style.
    """

    field: str
    """A label, or `Value #A` for the value of the first query; `Value` where there is only one query."""
    title: str
    unit: str = ""
    words: Sequence[model.ValueMapping] = ()
    links: Mapping[str, str] | None = None
    """URLs by their titles."""
    width: int | None = None
    coloured: bool = False
    """The cell has the colour of its word."""
    wrapped: bool = False
    decimals: int | None = None
    scale: Sequence[tuple[float, str]] = ()
    """Colours of the cell by its number, from the least on; empty: none."""
    heading: str = ""
    """Heading of the column instead of its title; may have variables."""


@dataclass(frozen=True, slots=True)
class Word:
    """
    The word for a value, with its colour; None: the colour of text.
    """

    text: str
    colour: str | None = None


def words(values: Mapping[str, Word]) -> list[model.ValueMapping]:
    """
    Return a mapping of values to words, in this order.
    """
    return [
        model.ValueMap(
            {
                value: model.ValueMappingResult(text=word.text, color=word.colour, index=index)
                for index, (value, word) in enumerate(values.items())
            }
        )
    ]


def at_least(least: float, suffix: str) -> model.ValueMapping:
    """
    Return a mapping of all numbers from `least` on to a word.
    """
    return model.RangeMap(
        model.DashboardRangeMapOptions(from_val=least, to=None, result=model.ValueMappingResult(text=suffix))
    )


def steps(first: str, *others: tuple[float, str]) -> ThresholdsConfig:
    """
    Return thresholds: the first colour below all of them, then that of the highest one that is reached.
    """
    found = [model.Threshold(None, first), *(model.Threshold(value, colour) for value, colour in others)]
    return ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(found)


def scheme(mode: model.FieldColorModeId, colour: str = "") -> FieldColor:
    """
    Return the colour scheme of a field; `colour` is for the fixed one.
    """
    made = FieldColor().mode(mode)
    return made.fixed_color(colour) if colour else made


def stat_panel(
    place: Place,
    expression: str,
    *,
    unit: str = "none",
    colours: ThresholdsConfig | None = None,
    mappings: Sequence[model.ValueMapping] = (),
    links: Mapping[str, str] | None = None,
    no_value: str = NO_DATA,
    decimals: int | None = None,
    name: str = "",
    text_mode: styles.BigValueTextMode = styles.BigValueTextMode.VALUE,
    field: str = "",
    trend: str = "",
) -> stat.Panel:
    """
    Return a panel with one large number, with a word or a colour; of a label `field` its value instead.

    `trend` is the query of the small graph behind the number, over the dashboard's time.
    """
    panel = (
        _placed(stat.Panel(), place)
        .unit(unit)
        .no_value(no_value)
        .with_target(_query(Series(expression, name), "A", instant=True, table=bool(field)))
        .reduce_options(
            common.ReduceDataOptions()
            .calcs(["lastNotNull"])
            .fields(f"/^{field}$/" if field else "")
            .values(values=False)
        )
        .graph_mode(styles.BigValueGraphMode.NONE)
        .color_mode(styles.BigValueColorMode.BACKGROUND_SOLID)
        .justify_mode(styles.BigValueJustifyMode.CENTER)
        .text_mode(text_mode)
        .color_scheme(scheme(model.FieldColorModeId.THRESHOLDS))
        .thresholds(colours or steps(QUIET))
        .mappings(list(mappings))
        .data_links(_links(links))
    )
    if trend:
        panel = _with_trend(panel, trend)
    return panel if decimals is None else panel.decimals(decimals)


def _with_trend(panel: stat.Panel, expression: str) -> stat.Panel:
    """
    Return the panel with a graph behind its number.

    The points of a graph are at multiples of its step, so its last one is up to a step old: an hour of a
    day. The number of now is put behind them, so that this one is shown, and ends the graph.
    """
    panel = panel.with_target(_query(Series(expression), "B", instant=False)).max_data_points(TREND_POINTS)
    for name, options in (
        ("merge", {}),
        ("sortBy", {"fields": {}, "sort": [{"field": "Time", "desc": False}]}),
    ):
        panel = panel.with_transformation(model.DataTransformerConfig(id_val=name, options=options))
    return panel.graph_mode(styles.BigValueGraphMode.AREA).min(0)


VALUE = "Value"
"""What Grafana calls the values of a table's query when no other one has an answer; else `Value #A`."""


def table_panel(
    place: Place,
    queries: Sequence[str],
    columns: Sequence[Column],
    *,
    sorted_by: Sequence[tuple[str, bool]] = (),
    hidden: Sequence[str] = (),
    alone: str = "",
    no_value: str,
) -> table.Panel:
    """
    Return a table with the queries side by side, one row for each set of labels.

    `sorted_by` has titles of columns, with True for the largest first. `hidden` fields are not shown. `alone`
    is the field of the query that may be the only one with an answer: its name is `Value` then.
    """
    shown = {column.field: (index, column.title) for index, column in enumerate(columns)}
    if alone in shown:
        shown[VALUE] = shown[alone]
    left_out = (*hidden, VALUE) if alone in hidden else hidden
    panel = _placed(table.Panel(), place).unit("none").no_value(no_value)
    panel = panel.override_by_regexp(EVERY_FIELD, EMPTY_WHERE_UNKNOWN)
    for name, expression in zip(NAMES, queries, strict=False):
        panel = panel.with_target(_query(Series(expression), name, instant=True, table=True))
    # Without a merge Grafana shows one query at a time.
    panel = panel.with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
    panel = panel.with_transformation(
        model.DataTransformerConfig(
            id_val="organize",
            options={
                "excludeByName": dict.fromkeys(("Time", *left_out), True),
                "indexByName": {name: index for name, (index, _) in shown.items()},
                "renameByName": {name: title for name, (_, title) in shown.items()},
            },
        )
    )
    for column in columns:
        panel = panel.override_by_name(column.title, _properties(column))
    # Grafana measures the value, not the words that stand for it, so two lines of these need room always.
    tall = any(column.wrapped and column.words for column in columns)
    return (
        panel.cell_height(styles.TableCellHeight.LG if tall else styles.TableCellHeight.SM)
        .show_header(show_header=True)
        .filterable(filterable=False)
        .sort_by([common.TableSortByFieldState().display_name(name).desc(desc) for name, desc in sorted_by])
    )


def lines_panel(
    place: Place,
    series: Sequence[Series],
    *,
    unit: str,
    stacked: bool = False,
    at_least: float | None = None,
    up_to: float | None = None,
    decimals: int | None = None,
    points: int | None = None,
    stairs: bool = False,
    no_value: str = NO_POINT,
    limit: ThresholdsConfig | None = None,
) -> timeseries.Panel:
    """
    Return a graph of lines over the dashboard's time range. `points` bounds the evaluations of expensive
    queries; the axis goes at least from `at_least` to `up_to`.

    Series without a colour get one by their number, which is that of `queries.numbered`.
    """
    panel = (
        _placed(timeseries.Panel(), place)
        .unit(unit)
        .no_value(no_value)
        .draw_style(styles.GraphDrawStyle.LINE)
        .line_width(2)
        .fill_opacity(60 if stacked else 0)
        .show_points(styles.VisibilityMode.AUTO)
        .color_scheme(scheme(model.FieldColorModeId.FIXED, OTHERS))
        .legend(
            common.VizLegendOptions()
            .display_mode(styles.LegendDisplayMode.LIST)
            .placement(styles.LegendPlacement.BOTTOM)
            .show_legend(show_legend=True)
            .calcs(["lastNotNull"])
        )
        .tooltip(
            common.VizTooltipOptions().mode(styles.TooltipDisplayMode.MULTI).sort(styles.SortOrder.DESCENDING)
        )
    )
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(styles.StackingMode.NORMAL).group("A"))
    if stairs:
        panel = panel.line_interpolation(styles.LineInterpolation.STEP_AFTER)
    if at_least is not None:
        panel = panel.min(at_least)
    if up_to is not None:
        panel = panel.axis_soft_max(up_to)
    if decimals is not None:
        panel = panel.decimals(decimals)
    if points is not None:
        panel = panel.max_data_points(points)
    if limit is not None:
        panel = panel.thresholds(limit).thresholds_style(
            common.GraphThresholdsStyleConfig().mode(styles.GraphThresholdsStyleMode.LINE)
        )
    for name, one in zip(NAMES, series, strict=False):
        panel = panel.with_target(_query(one, name, instant=False))
        if one.colour:
            panel = panel.override_by_query(name, _line(one))
    if not all(one.colour for one in series):
        for number, colour in zip(NTH, COLOURS, strict=True):
            panel = panel.override_by_regexp(f"/^{number} /", [_fixed(colour)])
    return panel


def bars_panel(
    place: Place,
    series: Series,
    *,
    unit: str = "none",
    colour: str = CALM,
    no_value: str = NO_SCRAPE,
    names: Mapping[str, str] | None = None,
) -> bargauge.Panel:
    """
    Return a panel with a horizontal bar for each series, the longest first, with its number.

    `names` are shown instead of those that the series have.
    """
    panel = (
        _placed(bargauge.Panel(), place)
        .unit(unit)
        .no_value(no_value)
        .with_target(_query(series, "A", instant=True))
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(values=False))
        .orientation(styles.VizOrientation.HORIZONTAL)
        .display_mode(styles.BarGaugeDisplayMode.BASIC)
        .value_mode(styles.BarGaugeValueMode.TEXT)
        # Names have a size by the height of their bar, and room by that size: a fixed one would be cut.
        .text(common.VizTextDisplayOptions().value_size(18))
        .sizing(styles.BarGaugeSizing.MANUAL)
        .min_viz_height(16)
        .max_viz_height(44)
        .name_placement(styles.BarGaugeNamePlacement.LEFT)
        .show_unfilled(show_unfilled=False)
        .min(0)
        .thresholds(steps(colour))
        .color_scheme(scheme(model.FieldColorModeId.FIXED, colour))
    )
    for name, shown in (names or {}).items():
        panel = panel.override_by_name(name, [model.DynamicConfigValue("displayName", shown)])
    return panel


def calendar_panel(
    place: Place,
    series: Sequence[Series],
    label: str,
    *,
    unit: str,
    no_value: str,
) -> barchart.Panel:
    """
    Return stacked bars over a label that holds a time in milliseconds, in the order of time.

    The first series must have data whenever another one has.
    """
    panel = _placed(barchart.Panel(), place).unit("short").no_value(no_value)
    panel = panel.override_by_regexp(EVERY_FIELD, EMPTY_WHERE_UNKNOWN)
    for name, one in zip(NAMES, series, strict=False):
        panel = panel.with_target(_query(one, name, instant=True, table=True))
        panel = panel.override_by_name(one.name, [_fixed(one.colour)])
    transformations = [
        ("merge", {}),
        (
            "organize",
            {
                "excludeByName": {"Time": True},
                "indexByName": {label: 0},
                "renameByName": {
                    # Where the other queries give nothing the first one's values have no letter.
                    "Value": series[0].name,
                    **{f"Value #{name}": one.name for name, one in zip(NAMES, series, strict=False)},
                },
            },
        ),
        (
            "convertFieldType",
            {
                # A label is a text, and a text of digits is not read as a time.
                "conversions": [
                    {"targetField": label, "destinationType": kind} for kind in ("number", "time")
                ],
                "fields": {},
            },
        ),
        ("sortBy", {"fields": {}, "sort": [{"field": label, "desc": False}]}),
    ]
    for name, options in transformations:
        panel = panel.with_transformation(model.DataTransformerConfig(id_val=name, options=options))
    return (
        panel.override_by_name(label, [model.DynamicConfigValue("unit", unit)])
        .x_field(label)
        .orientation(styles.VizOrientation.VERTICAL)
        .stacking(styles.StackingMode.NORMAL)
        .show_value(styles.VisibilityMode.AUTO)
        .x_tick_label_rotation(-45)
        .x_tick_label_spacing(100)
        .bar_width(0.9)
        .fill_opacity(90)
        .line_width(0)
        .min(0)
        .decimals(0)
        .legend(
            common.VizLegendOptions()
            .display_mode(styles.LegendDisplayMode.LIST)
            .placement(styles.LegendPlacement.BOTTOM)
            .show_legend(show_legend=True)
            .calcs([])
        )
        .tooltip(common.VizTooltipOptions().mode(styles.TooltipDisplayMode.MULTI).sort(styles.SortOrder.NONE))
    )


def states_panel(
    place: Place,
    series: Sequence[Series],
    *,
    no_value: str,
    unit: str = "none",
    mappings: Sequence[model.ValueMapping] = (),
) -> statetimeline.Panel:
    """
    Return a panel with a band for each series, whose colour and word change with the value.

    Without words the upper half of the values has one colour, and the lower half another.
    """
    panel = (
        _placed(statetimeline.Panel(), place)
        .unit(unit)
        .no_value(no_value)
        .mappings(list(mappings))
        .color_scheme(scheme(model.FieldColorModeId.THRESHOLDS))
        .thresholds(
            steps(QUIET) if mappings else steps(QUIET, (50, FINE)).mode(model.ThresholdsMode.PERCENTAGE)
        )
        .merge_values(merge_values=True)
        .show_value(styles.VisibilityMode.AUTO)
        .align_value(styles.TimelineValueAlignment.LEFT)
        .row_height(0.85)
        .fill_opacity(85)
        .line_width(0)
        .max_data_points(300)
        .legend(
            common.VizLegendOptions()
            .display_mode(styles.LegendDisplayMode.LIST)
            .placement(styles.LegendPlacement.BOTTOM)
            .show_legend(bool(mappings))
            .calcs([])
        )
        .tooltip(
            common.VizTooltipOptions().mode(styles.TooltipDisplayMode.SINGLE).sort(styles.SortOrder.NONE)
        )
    )
    for name, one in zip(NAMES, series, strict=False):
        panel = panel.with_target(_query(one, name, instant=False))
    return panel


def text_panel(place: Place, markdown: str) -> text.Panel:
    """
    Return a panel with text.
    """
    return _placed(text.Panel(), place).mode(TextMode.MARKDOWN).content(markdown)


def _placed(panel: P, place: Place) -> P:
    return (
        panel.title(place.title)
        .description(place.description)
        .datasource(SOURCE)
        .span(place.width)
        .height(place.height)
    )


def _query(series: Series, name: str, *, instant: bool, table: bool = False) -> Dataquery:
    query = Dataquery().expr(series.expression).ref_id(name).datasource(SOURCE)
    query = query.instant() if instant else query.range()
    query = query.format(PromQueryFormat.TABLE if table else PromQueryFormat.TIME_SERIES)
    return query.legend_format(series.name) if series.name and not table else query


def _line(series: Series) -> list[model.DynamicConfigValue]:
    found = [_fixed(series.colour)]
    if series.dashed:
        found += [
            model.DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [10, 6]}),
        ]
    return found


def _fixed(colour: str) -> model.DynamicConfigValue:
    return model.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})


def _links(links: Mapping[str, str] | None) -> list[Builder[model.DashboardLink]]:
    # Links to other sites open beside the dashboard.
    return [
        DashboardLink(title).url(url).target_blank(not url.startswith("/d/"))
        for title, url in (links or {}).items()
    ]


def _properties(column: Column) -> list[model.DynamicConfigValue]:
    found = []
    if column.heading:
        found.append(model.DynamicConfigValue("displayName", column.heading))
    if column.unit:
        found.append(model.DynamicConfigValue("unit", column.unit))
    if column.decimals is not None:
        found.append(model.DynamicConfigValue("decimals", column.decimals))
    if column.words:
        found.append(model.DynamicConfigValue("mappings", list(column.words)))
    if column.width is not None:
        found.append(model.DynamicConfigValue("custom.width", column.width))
    if column.links:
        links = [
            {"title": title, "url": url, "targetBlank": not url.startswith("/d/")}
            for title, url in column.links.items()
        ]
        found.append(model.DynamicConfigValue("links", links))
    cell: dict[str, object] | None = None
    if column.coloured:
        cell = {"type": "color-background", "mode": "basic"}
        # Words, though what they stand for are numbers.
        found.append(model.DynamicConfigValue("custom.align", "left"))
    elif column.scale:
        cell = {"type": "color-background", "mode": "basic"}
        found.append(model.DynamicConfigValue("color", {"mode": "thresholds"}))
        found.append(model.DynamicConfigValue("thresholds", _scale(column.scale)))
    if column.wrapped:
        cell = {**(cell or {"type": "auto"}), "wrapText": True}
        # Where Grafana 12.4 and later look for it.
        found.append(model.DynamicConfigValue("custom.wrapText", value=True))
    if cell is not None:
        found.append(model.DynamicConfigValue("custom.cellOptions", cell))
    return found


def _scale(colours: Sequence[tuple[float, str]]) -> dict[str, object]:
    # An empty cell has the colour of the first step, which needs no number.
    steps_of = [(None, "transparent"), *colours]
    return {"mode": "absolute", "steps": [{"value": value, "color": colour} for value, colour in steps_of]}
