"""
The commands of `expiry-exporter`, each from its arguments to its exit code.
"""
