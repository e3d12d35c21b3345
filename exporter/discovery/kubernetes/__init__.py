"""
Source `kubernetes`: the hosts and Secrets that the objects of a cluster name.
"""
