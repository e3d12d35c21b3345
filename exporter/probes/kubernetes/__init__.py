"""
Kubernetes objects: `kubernetes://context/...`.
"""
