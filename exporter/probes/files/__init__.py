"""
Files and documents: `file:///path`, `pem+https://host/path`.
"""
