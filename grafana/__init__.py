"""
Grafana dashboards as code. `python -m grafana` writes the JSON beside the modules.

`fleet`, `target` and `exporter` are a dashboard each, with one function for each panel; `queries` has
the PromQL that they share, `panels` the types and styles of panels, `meanings` the words for values, `shell`
the variables, links and annotations of every dashboard.
"""

import warnings

with warnings.catch_warnings():
    # Of its schemas the library warns when they are imported: it would rather have the new one (v2), which
    # only the newest Grafana takes.
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.builders import barchart, dashboard  # noqa: F401 - for their warnings only
