"""
Tests of what is looked at in Kubernetes.
"""
