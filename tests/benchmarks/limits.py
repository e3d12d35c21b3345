"""
The one system limit that a thousand connections meet.
"""

import resource


def raise_file_limit() -> None:
    """
    Let this process and its children open as many files as the system allows without asking.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
