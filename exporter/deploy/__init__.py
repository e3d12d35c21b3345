"""
Files to run the exporter with: manifests, a chart, a compose file and units; the user's own once written.
"""
