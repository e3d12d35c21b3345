"""
The wings of the package: who may import whom, and which of them are pure.

The way of the data is the order of the wings: nothing imports what comes after it.
"""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import exporter

DIRECTORY = Path(exporter.__file__).parent

GROUND = {"__init__", "logs", "passwords", "yaml_lines"}
"""Modules beside the wings that all of them may import. They import nothing of ours but each other."""

MAY_IMPORT: dict[str, set[str]] = {
    "model": set(),
    "pki": {"model"},
    "net": {"model"},
    "config": {"model"},
    "moving": {"model", "config"},
    "demo": {"model"},
    "formats": {"model", "pki"},
    "judgement": {"model", "pki"},
    "lookups": {"model", "pki", "net"},
    "probes": {"model", "pki", "net", "formats"},
    "discovery": {"model", "pki", "net", "config", "formats", "probes"},
    "engine": {"model", "pki", "net", "formats", "judgement", "lookups", "probes"},
    "report": {"model", "pki", "judgement", "lookups", "probes", "engine"},
    "server": {
        *("model", "pki", "net", "config", "judgement", "lookups", "probes", "discovery", "engine", "report"),
    },
    "deploy": {"model", "probes"},
    "cli": {
        *("model", "pki", "net", "config", "demo", "formats", "judgement", "lookups", "probes", "engine"),
        *("discovery", "report", "server", "deploy", "moving"),
    },
    "__main__": {"cli"},
}
"""By wing, the wings that it may import besides itself and the ground."""

PURE = {
    *("model", "formats", "judgement", "report"),
    *("moving.blackbox", "moving.documents", "moving.moved", "moving.operators", "moving.others"),
    "moving.relabelling",
    *(
        "pki.candidates",
        "pki.issuance",
        "pki.ber",
        "pki.certificates",
        "pki.faults",
        "pki.fields",
        "pki.mended",
        "pki.ocsp",
    ),
    *(
        "pki.name_constraints",
        "pki.ocsp_data",
        "pki.oddities",
        "pki.path_refusals",
        "pki.renewal_information",
        "pki.revocation",
        "pki.revocation_data",
        "pki.times",
        "pki.trust",
    ),
    *("lookups.tlsa", "net.backoff", "net.dns_records", "net.turns", "config.probe_allow"),
    *(
        "engine.descriptors",
        "engine.due",
        "engine.gates",
        "engine.in_place",
        "engine.lasting",
        "engine.absent",
        "engine.memory",
        "engine.gone_files",
        "engine.partial",
        "engine.reserve",
        "engine.results",
    ),
    *("engine.by_turns", "engine.partial", "engine.scrape", "engine.sightings", "passwords", "yaml_lines"),
    *("probes.tls.dialogue", "probes.tls.mysql_packets", "probes.tls.proxies", "probes.tls.starttls"),
    *("probes.tls.messages", "probes.tls.suites", "probes.tls.tds_packets"),
    *("probes.domains.registration", "probes.domains.rdap", "probes.domains.whois"),
    *("server.pages.markup", "server.pages.overview", "server.pages.target", "server.pages.timeline"),
    *("server.pages.documentation", "server.pages.shelves", "server.pages.unwatched", "server.pages.words"),
    *("server.pages.controls", "server.pages.certificates", "server.pages.faults", "server.pages.steps"),
    *("deploy.chart", "deploy.manifests"),
}
"""Wings and modules that open no socket or file and read no clock: bytes or values in, values out."""

IMPURE_MODULES = {
    *("OpenSSL.SSL", "aiohttp", "asyncio", "io", "os", "pathlib", "select", "selectors", "socket", "sqlite3"),
    *("ssl", "subprocess", "time"),
}

IMPURE_CALLS = {"datetime.now", "datetime.today", "datetime.utcnow", "date.today", "open", "time.time"}


def name_of(path: Path) -> str:
    """
    The dotted name of a module below the package: `probes.tls.wire`, `model` for `model/__init__.py`.
    """
    return ".".join(path.relative_to(DIRECTORY).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in sorted(DIRECTORY.glob("**/*.py"))}


def is_pure(name: str) -> bool:
    """
    True for a module that is held to be pure, by itself or with its wing.
    """
    return name in PURE or name.partition(".")[0] in PURE


PURE_MODULES = [name for name in MODULES if is_pure(name)]


@functools.cache
def parsed(source: str) -> ast.Module:
    """
    The tree of the code, which several tests look at.
    """
    return ast.parse(source)


def source_of(name: str) -> str:
    """
    The code of a module of ours.
    """
    return MODULES[name].read_text("utf-8")


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


def imported_of_ours(source: str) -> set[str]:
    """
    The modules of the package that the code imports, by their names below it.
    """
    names = (name.removeprefix("exporter.") for name in imported(parsed(source)) if name != "exporter")
    return {name for name in names if name in MODULES and name != "__init__"}


def called(tree: ast.AST) -> Iterator[str]:
    """
    What is called anywhere in the code, as it is written.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def impurities(source: str) -> list[str]:
    """
    Every import and call in the source that has no place in a pure module.
    """
    tree = parsed(source)
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


def forbidden(name: str) -> set[str]:
    """
    The wings that a module imports and may not.
    """
    wing = name.partition(".")[0]
    allowed = GROUND | ({wing} | MAY_IMPORT[wing] if wing not in GROUND else set())
    return {one.partition(".")[0] for one in imported_of_ours(source_of(name))} - allowed


def test_a_wing_imports_only_what_it_may() -> None:
    """
    No import leads to a wing that comes later, nor to one that this wing has no business with.
    """
    assert {name: wings for name in MODULES if (wings := forbidden(name))} == {}


def test_every_module_is_in_a_wing() -> None:
    """
    Nothing stands beside the wings but the ground, and no wing of the table is missing.
    """
    assert {name.partition(".")[0] for name in MODULES} == GROUND | set(MAY_IMPORT)


def test_tests_mirror_the_wings() -> None:
    """
    Each wing and each kind of probe has a folder of tests with its name.
    """
    folders = {path.parent for path in DIRECTORY.glob("*/__init__.py")}
    folders |= {path.parent for path in DIRECTORY.glob("probes/*/__init__.py")}
    tests = Path(__file__).parent
    assert folders
    missing = [
        one.name for one in folders if not (tests / one.relative_to(DIRECTORY) / "__init__.py").is_file()
    ]
    assert missing == []


def test_what_is_pure_reads_no_clock_file_or_network() -> None:
    """
    No pure module imports or calls what does.
    """
    assert {name: found for name in PURE_MODULES if (found := impurities(source_of(name)))} == {}


def test_what_is_pure_depends_on_what_is_pure() -> None:
    """
    What a pure module imports of ours is pure itself, so no impurity comes in that way.
    """
    ours = {name: imported_of_ours(source_of(name)) for name in PURE_MODULES}
    impure = {one for found in ours.values() for one in found if not is_pure(one) and not is_empty(one)}
    assert {name: found & impure for name, found in ours.items() if found & impure} == {}


def is_empty(name: str) -> bool:
    """
    True for a package's own module that defines and imports nothing.
    """
    return len(parsed(source_of(name)).body) == 1


PRIVATE = {"_ssl", "_context", "_into_ssl", "_from_ssl", "_raise_ssl_error", "_lib", "_ffi", "_x509", "_pkey"}
"""Attributes of pyOpenSSL's objects and modules that are its own business."""


def private_names(source: str) -> list[str]:
    """
    What the code uses of pyOpenSSL and cryptography that is private to them: modules, names, attributes.
    """
    tree = parsed(source)
    libraries = (name for name in imported(tree) if name.partition(".")[0] in {"OpenSSL", "cryptography"})
    modules = [name for name in libraries if "._" in name or ".bindings" in name]
    attributes = (node for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    # An object of ours may have such an attribute, too.
    return modules + [
        ast.unparse(one) for one in attributes if one.attr in PRIVATE and ast.unparse(one.value) != "self"
    ]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from OpenSSL.SSL import Context, _lib", ["OpenSSL.SSL._lib"]),
        ("from OpenSSL._util import lib", ["OpenSSL._util", "OpenSSL._util.lib"]),
        ("import cryptography.hazmat.bindings._rust", ["cryptography.hazmat.bindings._rust"]),
        ("from OpenSSL import SSL\nSSL._lib.ERR_clear_error()", ["SSL._lib"]),
        ("self._tls._ssl", ["self._tls._ssl"]),
        ("from OpenSSL import SSL\nself._context = SSL.Context", []),
    ],
)
def test_private_names_are_found(source: str, found: list[str]) -> None:
    """
    However they are come by, and nothing else.
    """
    assert private_names(source) == found


def test_one_module_uses_what_is_private_to_the_tls_library() -> None:
    """
    An upgrade of pyOpenSSL can break this one file only.
    """
    found = {name: private for name in MODULES if (private := private_names(source_of(name)))}
    assert found.keys() == {"probes.tls.openssl"}, found


def test_a_module_that_says_it_is_pure_is_held_to_it() -> None:
    """
    The word in a module's docstring is no decoration.
    """
    claims = {
        name
        for name in MODULES
        if "Pure" in (ast.get_docstring(parsed(source_of(name))) or "").replace("Pure but", "")
    }
    assert claims
    assert {name for name in claims if not is_pure(name)} == set()


NO_SENTENCE = re.compile(
    r"(what|the same|same|as above|as below|see|likewise|ditto|whether)\b", re.IGNORECASE
)
"""Beginnings of docstrings that do not name the thing, or need the one before."""


def docstrings(source: str) -> Iterator[str]:
    """
    The docstrings of the module, and of all classes and functions in it.
    """
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for node in ast.walk(parsed(source)):
        if isinstance(node, kinds) and (text := ast.get_docstring(node)) is not None:
            yield text


def test_docstrings_say_what_a_thing_is_and_need_no_other() -> None:
    """
    Somebody reads them one at a time, from an editor, and English may be their third language.
    """
    bad = [(name, one) for name in MODULES for one in docstrings(source_of(name)) if NO_SENTENCE.match(one)]
    assert bad == []


def test_what_is_called_pure_is_there() -> None:
    """
    A module that was renamed does not slip out of the check.
    """
    assert {name for name in PURE if name not in MODULES} == set()
