"""
Replays: timelines of a simulated fleet, through the exporter's own code and then the shipped alerts.
"""
