"""
The network: connections, names, downloads, DNS, and rationed look-ups in the background.
"""
