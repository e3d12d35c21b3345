"""
The dashboards have the types that the least version of Grafana declares: no key or word unknown to it.
"""

import json
from collections.abc import Iterator

import pytest

from tests.grafana.render.browser import BUILT, RenderError, built, node
from tests.grafana.written import DASHBOARDS, Json

FOLDERS = {
    "stat": "stat",
    "table": "table",
    "timeseries": "timeseries",
    "bargauge": "bargauge",
    "barchart": "barchart",
    "state-timeline": "statetimeline",
    "text": "text",
}
"""Panels, and where their options are declared."""

RAW = "./node_modules/@grafana/schema/dist/types/raw"

IMPORTS = [("dashboard", "dashboard/x"), *((one, f"composable/{one}/panelcfg/x") for one in FOLDERS.values())]

HEAD = f"""\
{"".join(f"import type * as {name} from '{RAW}/{path}/types.gen';" for name, path in IMPORTS)}
type IsAny<T> = 0 extends 1 & T ? true : false;
// The words of an enumeration instead of its members, and no key is needed: Grafana knows what is usual.
type Plain<T> = IsAny<T> extends true ? any
  : T extends string ? `${{T}}`
  : T extends Array<infer U> ? Array<Plain<U>>
  : T extends object ? {{ [K in keyof T]?: Plain<T[K]> }}
  : T;
"""

OF_PROMETHEUS = ("expr", "step", "tagKeys", "textFormat", "titleFormat")
"""Keys of annotations that are the data source's own."""


def typed(one: Json) -> Iterator[str]:
    """
    The parts of a dashboard as constants of the types that they should have. Parts are taken out of it.
    """
    one.pop("__requires", None)
    for annotation in one["annotations"]["list"]:
        for key in OF_PROMETHEUS:
            annotation.pop(key, None)
    for panel in one.pop("panels"):
        if panel["type"] == "row":
            yield f"const row: Plain<dashboard.RowPanel> = {json.dumps(panel)};"
            continue
        folder = FOLDERS[panel["type"]]
        yield f"const options: Plain<{folder}.Options> = {json.dumps(panel.pop('options', {}))};"
        if custom := panel["fieldConfig"]["defaults"].pop("custom", None):
            yield f"const custom: Plain<{folder}.FieldConfig> = {json.dumps(custom)};"
        yield f"const panel: Plain<dashboard.Panel> = {json.dumps(panel)};"
    yield f"const whole: Plain<dashboard.Dashboard> = {json.dumps(one)};"


def check(*dashboards: Json) -> None:
    """
    Let TypeScript check them. Raises RenderError with what it says.
    """
    built()
    page = BUILT / "page"
    copies = json.loads(json.dumps(dashboards))
    parts = [f"{{ {part} }}" for one in copies for part in typed(one)]
    (page / "check.ts").write_text(HEAD + "\n".join(parts), encoding="utf-8")
    flags = ("--noEmit", "--strict", "--skipLibCheck", "--target", "es2022", "--module", "esnext")
    compiler = page / "node_modules" / "typescript" / "bin" / "tsc"
    node(compiler, *flags, "--moduleResolution", "bundler", "check.ts", cwd=page)


def test_the_dashboards_have_the_types_of_the_least_version() -> None:
    """
    Whole, with the options and fields of each panel; and nothing has to be migrated.
    """
    check(*DASHBOARDS.values())
    # The last version of this kind of dashboard; with another one Grafana would change it first.
    assert {one["schemaVersion"] for one in DASHBOARDS.values()} == {42}


def spoilt(where: str, key: str, value: object) -> Json:
    """
    A dashboard with this in a table's options or place.
    """
    one: Json = json.loads(json.dumps(DASHBOARDS["fleet"]))
    panel = next(panel for panel in one["panels"] if panel["type"] == "table")
    panel[where][key] = value
    return one


def test_what_the_version_does_not_know_is_found() -> None:
    """
    A key of an older version, a word that is none, a misspelt place: each in a dashboard of its own.
    """
    wrong = [
        spoilt("options", "footer", {"show": False}),
        spoilt("options", "cellHeight", "huge"),
        spoilt("gridPos", "left", 1),
    ]
    with pytest.raises(RenderError) as caught:
        check(*wrong)
    found = str(caught.value)
    assert found.count("error TS") == len(wrong)
    for words in ("'\"footer\"' does not exist", "'\"huge\"' is not assignable", "'\"left\"' does not exist"):
        assert words in found
