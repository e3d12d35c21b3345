"""
The Grafana dashboards: their rules, and every query against a real Prometheus.
"""
