"""
Sources of targets: where what ends is found by itself. One file for each source, and a line in the registry.

A source runs in the background, at its own pace, and gives targets. It never touches the sweep: the targets
of its last good run join the next scrape.
"""

from importlib import import_module
from typing import cast

from exporter.discovery.base import Source

MODULES: dict[str, str] = {
    "kubernetes": "kubernetes.source",
    "zone": "zone",
    "networks": "networks",
    "stores": "stores",
    "files": "files",
    "http": "http",
    "web_servers": "web_servers.source",
    "listening": "listening",
    "certificate_transparency": "certificate_transparency",
}
"""Modules by the key in `discover:`. Each has a `SOURCE`, and is imported when a configuration uses it."""


def source(name: str) -> Source:
    """
    Return the source of this name, a key of MODULES.
    """
    return cast("Source", import_module(f"exporter.discovery.{MODULES[name]}").SOURCE)
