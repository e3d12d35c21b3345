"""
Where people run the exporter: manifests, a chart, a compose file and units that are theirs once written.
"""
