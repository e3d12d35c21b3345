"""
The core is pure: what parses, judges and renders opens no socket or file and reads no clock.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import exporter

DIRECTORY = Path(exporter.__file__).parent

PURE = {
    "advice",
    "selection",
    "status",
    "observation",
    "policies",
    "suggestions",
    "targets",
    "encodings",
    "caches",
    "certificates",
    "trust",
    "judgement",
    "memory",
    "metrics",
    "descriptors",
    "reserve",
    "turns",
    "dialogue",
    "foreign_text",
    "destinations",
    "probe_allow",
    "starttls",
    "proxies",
    "revocation",
    "revocation_data",
    "registration",
    "dns_facts",
    "renewal_information",
    "forecast",
    "formats",
    "yaml_tree",
}
"""Modules of the core. Those that do not exist yet are held to it as soon as they do."""

THERE = sorted(
    path
    for path in [*DIRECTORY.glob("*.py"), *DIRECTORY.glob("*/*.py")]
    if (path.stem if path.parent == DIRECTORY else path.parent.name) in PURE
)

IMPURE_MODULES = {
    "OpenSSL.SSL",
    "aiohttp",
    "asyncio",
    "io",
    "os",
    "pathlib",
    "select",
    "selectors",
    "socket",
    "sqlite3",
    "ssl",
    "subprocess",
    "time",
}

IMPURE_CALLS = {"datetime.now", "datetime.today", "datetime.utcnow", "date.today", "open", "time.time"}


def imported(tree: ast.AST) -> Iterator[str]:
    """
    Dotted names of all modules that are imported anywhere in the code, and of what is imported from them.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def called(tree: ast.AST) -> Iterator[str]:
    """
    What is called anywhere in the code, as it is written.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def impurities(source: str) -> list[str]:
    """
    Every import and call in the source that has no place in the core.
    """
    tree = ast.parse(source)
    modules = [
        name
        for name in imported(tree)
        if any(name == impure or name.startswith(f"{impure}.") for impure in IMPURE_MODULES)
    ]
    # `datetime.datetime.now` ends like `datetime.now`.
    calls = [
        name
        for name in called(tree)
        if any(name == impure or name.endswith(f".{impure}") for impure in IMPURE_CALLS - {"open"})
        or name == "open"
    ]
    return modules + calls


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import socket", ["socket"]),
        ("import os.path", ["os.path"]),
        ("from ssl import SSLContext", ["ssl", "ssl.SSLContext"]),
        ("from OpenSSL import SSL", ["OpenSSL.SSL"]),
        ("from OpenSSL.SSL import Context", ["OpenSSL.SSL", "OpenSSL.SSL.Context"]),
        ("def late():\n    import time", ["time"]),
        ("with open('x') as file: ...", ["open"]),
        ("datetime.now(UTC)", ["datetime.now"]),
        ("datetime.datetime.utcnow()", ["datetime.datetime.utcnow"]),
        ("time.time()", ["time.time"]),
        ("from OpenSSL import crypto", []),
        ("import timeit_of_ours\nreopen()\nnow = moment.now", []),
    ],
)
def test_impure_code_is_found(source: str, found: list[str]) -> None:
    """
    The check below finds every forbidden import and call, wherever it stands, and nothing else.
    """
    assert impurities(source) == found


@pytest.mark.parametrize("path", THERE, ids=lambda path: path.stem)
def test_core_is_pure(path: Path) -> None:
    """
    No module of the core imports or calls what reads a clock, a file or the network.
    """
    assert impurities(path.read_text("utf-8")) == []


def test_core_depends_on_the_core_only() -> None:
    """
    What a module of the core imports of ours is itself of the core, so no impurity comes in that way.
    """
    modules = {path.stem for path in DIRECTORY.iterdir()}
    ours = {
        (path.stem, name.split(".")[1])
        for path in THERE
        for name in imported(ast.parse(path.read_text("utf-8")))
        if name.startswith("exporter.") and name.split(".")[1] in modules
    }
    assert ("trust", "certificates") in ours
    assert {module for _, module in ours} <= PURE


def test_middle_types_import_nothing_of_ours() -> None:
    """
    Both sides depend on `observation`, and it on neither.
    """
    names = list(imported(ast.parse((DIRECTORY / "observation.py").read_text("utf-8"))))
    assert "dataclasses" in names
    assert [name for name in names if name.startswith((".", "exporter"))] == []


def test_core_is_where_it_is_looked_for() -> None:
    """
    The modules under test exist: a renamed one does not slip out of the check.
    """
    assert {"observation", "policies", "targets", "certificates", "trust"} <= {path.stem for path in THERE}
