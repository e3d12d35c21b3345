"""
The container image: its Dockerfile linted, built and run as it ships.
"""
