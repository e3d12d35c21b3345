"""
The places of a target, as probes find them.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Endpoint:
    """
    One place of a target. `label` is what it is called in metrics, unless its name's addresses rotate.
    """

    label: str
    address: str = ""
    """An IP address or a path; empty for places that need neither."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """
    The places of a target, and those that are left out.
    """

    found: tuple[Endpoint, ...]
    left_out: tuple[str, ...] = ()
    """Places that are not looked at, each with the reason in words."""
