"""
The demo: servers of our own with certificates in every state.
"""
