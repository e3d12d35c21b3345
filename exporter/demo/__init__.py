"""
The demo: local servers with certificates in every state.
"""
