"""
Tests of the files for compose, Kubernetes, Helm and systemd.
"""
