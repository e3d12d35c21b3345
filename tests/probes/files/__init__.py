"""
Files and documents: real files, links and pipes in a directory of the test, and real web servers.
"""
