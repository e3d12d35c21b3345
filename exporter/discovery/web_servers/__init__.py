"""
Configurations of the servers of this host.
"""
