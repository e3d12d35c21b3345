"""
Pictures of the dashboards, drawn by Grafana's front-end libraries in Chromium.
"""
