"""
Objects of Kubernetes that operators make jobs of Prometheus from, and the chart of blackbox_exporter.

As in prometheus-operator's pkg/prometheus/promcfg.go and VictoriaMetrics's operator, read in 2026. Pure.
"""

import re
from typing import Any

from exporter.moving.moved import items, part

KINDS = ("Probe", "VMProbe", "ScrapeConfig", "VMScrapeConfig", "ServiceMonitor", "VMServiceScrape")


_TO_TARGET = (
    {"source_labels": ["__address__"], "target_label": "__param_target"},
    {"source_labels": ["__param_target"], "target_label": "instance"},
)


def jobs_of(thing: dict[str, Any]) -> list[dict[str, Any]]:
    """
    Return the jobs that an object, or the chart's values, stands for; none for anything else.
    """
    kind = str(thing.get("kind", "")).removeprefix("VM").replace("ServiceScrape", "ServiceMonitor")
    match kind:
        case "Probe":
            return [_of_probe(thing)]
        case "ScrapeConfig":
            return [_job(part(thing, "spec"), thing, "scrapeConfig")]
        case "ServiceMonitor":
            return [_job(one, thing, "serviceMonitor") for one in _parts(part(thing, "spec"), "endpoints")]
    return [job for key in ("serviceMonitor", "podMonitoring") for job in _of_chart(part(thing, key))]


def _of_probe(thing: dict[str, Any]) -> dict[str, Any]:
    spec = part(thing, "spec")
    prober = part(spec, "prober") or part(spec, "vmProberSpec")
    static = part(part(spec, "targets"), "staticConfig")
    params = {str(one.get("name")): one.get("values") for one in _parts(spec, "params")}
    if spec.get("module"):
        params["module"] = [spec["module"]]
    job = {
        "jobName": spec.get("jobName"),
        "metricsPath": prober.get("path") or "/probe",
        "params": params,
        "interval": spec.get("interval"),
        "metricRelabelings": spec.get("metricRelabelings") or spec.get("metricRelabelConfigs"),
        "relabelings": [
            *_TO_TARGET,
            {"target_label": "__address__", "replacement": prober.get("url", "")},
            *items(static, "relabelingConfigs"),
        ],
    }
    if static:
        namespace = str(part(thing, "metadata").get("namespace") or "default")
        targets = items(static, "static") or items(static, "targets")
        labels = {"namespace": namespace, **part(static, "labels")}
        job["staticConfigs"] = [{"targets": targets, "labels": labels}]
    elif part(spec, "targets"):
        # Each Ingress that a selector finds.
        job["kubernetesSDConfigs"] = [{"role": "ingress"}]
    return _job(job, thing, "probe")


def _job(spec: dict[str, Any], thing: dict[str, Any], kind: str) -> dict[str, Any]:
    """
    Return a job of an object's part, whose keys are those of Prometheus in another spelling.
    """
    metadata = part(thing, "metadata")
    job = {_snake(key): value for key, value in spec.items()}
    job["job_name"] = spec.get("jobName") or "/".join(
        str(one) for one in (kind, metadata.get("namespace"), metadata.get("name")) if one
    )
    job["scrape_interval"] = spec.get("scrapeInterval") or spec.get("interval")
    job["metrics_path"] = spec.get("metricsPath") or spec.get("path") or "/metrics"
    job["metric_relabel_configs"] = items(spec, "metricRelabelings") or items(spec, "metricRelabelConfigs")
    steps = items(spec, "relabelings") or items(spec, "relabelConfigs")
    job["relabel_configs"] = [
        {_snake(key): value for key, value in part({"": one}, "").items()} for one in steps
    ]
    return job


def _of_chart(monitor: dict[str, Any]) -> list[dict[str, Any]]:
    """
    Return a job for each target in the values of the chart prometheus-blackbox-exporter.
    """
    defaults = part(monitor, "defaults")
    jobs = []
    for own in _parts(monitor, "targets"):
        target = {**defaults, **{key: value for key, value in own.items() if value}}
        params = {"module": [target.get("module") or "http_2xx"]}
        if target.get("hostname"):
            params["hostname"] = [target["hostname"]]
        name = {"target_label": "instance", "replacement": str(target.get("name", ""))}
        jobs.append(
            {
                "job_name": str(target.get("name", "?")),
                "metrics_path": "/probe",
                "scrape_interval": target.get("interval"),
                "params": params,
                "static_configs": [
                    {"targets": [target.get("url")], "labels": part(target, "additionalMetricsRelabels")}
                ],
                "relabel_configs": [*_TO_TARGET, name],
            }
        )
    return jobs


def _parts(value: Any, key: str) -> list[dict[str, Any]]:
    """
    Return the mappings in a list inside a mapping.
    """
    return [one for one in items(value, key) if isinstance(one, dict)]


def _snake(key: Any) -> str:
    """
    Return the name of a key in Prometheus: `kubernetesSDConfigs` is `kubernetes_sd_configs`.
    """
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", str(key)).lower()
