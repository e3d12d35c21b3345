"""
What tests share: certificates, processes, good and bad servers.
"""
