"""
Paths of the exporter's pages. Pure.
"""

from urllib.parse import quote


def target_path(name: str) -> str:
    """
    Return the path of a target's page, relative to the root of the site. Slashes in the name are escaped.
    """
    return f"targets/{quote(name, safe='', errors='replace')}"
