"""
The server: the service that lives as long as the process, its HTTP port, and its pages.
"""
