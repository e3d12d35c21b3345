"""
A real Prometheus scrapes the exporter, as the manual says to.
"""
