"""
A real Prometheus scrapes the exporter, as the README says to.
"""
