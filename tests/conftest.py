"""
Settings and fixtures that many tests share.
"""

import gc
import importlib
import logging
import os
import pkgutil
import sys
from collections import Counter
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from hypothesis import settings

import exporter
from exporter.demo.minter import Minted
from tests.support.certificates import authority
from tests.support.lanes import starts_programs
from tests.support.tracing import Trace

# No deadline: how long one example takes says more about the machine than about the code.
settings.register_profile("person", deadline=None, max_examples=50)
# In CI the same examples each time: a red run is then about the change.
settings.register_profile("ci", deadline=None, max_examples=50, derandomize=True)
# After a change to a parser: `--hypothesis-profile=deep`, and FUZZ_SECONDS=60 in the environment.
settings.register_profile("deep", deadline=None, max_examples=3000)
# Of what checks JSON against a schema, the part that none of ours uses: international addresses. Its grammars
# take five seconds to load, in each process of the run.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type] # None is how Python says: not to be had

# No exporter of a test keeps its state where people's exporters do: there is no directory below this file.
os.environ["XDG_STATE_HOME"] = os.devnull
settings.load_profile("ci" if os.environ.get("CI") else "person")

# Prometheus and its tools are written in Go. They run for seconds, and may let their garbage lie.
os.environ.setdefault("GOGC", "400")

# Thousands of tests are collected, and none of them is garbage: see pytest_runtestloop.
gc.disable()


TRACE = pytest.StashKey[Trace]()
"""The trace for coverage of this process, in its configuration; not there without coverage."""

TRACED_CASES = 3
"""
So many cases of each test are traced for coverage. The others reach the same lines, but for a few; to trace
them nearly doubles the time of what runs in this process.
"""


LONG = (
    "tests/test_release.py",
    "tests/benchmarks/",
    "tests/image/",
    "tests/grafana/render/",
    "tests/browser/",
    "tests/test_first_steps.py",
)
"""
What takes longest comes first: else, at the end of a run, all processes but one would have nothing to do.
"""


def length(item: pytest.Item) -> int:
    """
    The place in `LONG` of what a test is in; after them all if it is in none.
    """
    return next((place for place, name in enumerate(LONG) if item.nodeid.startswith(name)), len(LONG))


def pytest_addoption(parser: pytest.Parser) -> None:
    """
    `--quick` leaves out what starts programs, and what does the same thing thousands of times (`no_cover`).
    """
    parser.addoption("--quick", action="store_true", help="only tests that are quick and start no programs")


def pytest_configure(config: pytest.Config) -> None:
    """
    One trace for coverage, and in a quick run no program is started by a test that was not found to do so.
    """
    coverage = tracing(config)
    if coverage is not None and hasattr(config, "workerinput"):
        # Pytest-cov starts a trace in each worker that is meant for the process that hands out the tests, and
        # then that of the worker: whenever this one pauses, the former would go on instead.
        coverage.pause()
    if config.getoption("--quick"):

        def forbid(event: str, arguments: tuple[object, ...]) -> None:
            if event == "subprocess.Popen" and "PYTEST_CURRENT_TEST" in os.environ:
                raise RuntimeError(f"starts {arguments[0]} in a quick run: mark the test with `programs`")

        sys.addaudithook(forbid)


def tracing(config: pytest.Config) -> Any:
    """
    What starts and pauses the trace for coverage in this process; None without coverage.
    """
    return getattr(config.pluginmanager.getplugin("_cov"), "cov_controller", None)


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """
    Trace nothing but the first lines of our modules until a test asks for it: what pytest does around tests
    takes twice as long when it is traced.
    """
    coverage = tracing(session.config)
    if coverage is None:
        return
    # The process that hands out the tests runs none.
    if not session.config.pluginmanager.hasplugin("dsession"):
        for module in pkgutil.walk_packages(exporter.__path__, f"{exporter.__name__}."):
            if not module.name.endswith(".__main__"):
                importlib.import_module(module.name)
    coverage.pause()
    session.config.stash[TRACE] = Trace(coverage)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """
    Trace a test with its fixtures, until it takes long.
    """
    trace = item.config.stash.get(TRACE, None)
    if trace is None or item.get_closest_marker("no_cover"):
        return (yield)
    trace.begin()
    try:
        return (yield)
    finally:
        trace.end()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """
    Trace nothing after a test that asks for no coverage: pytest-cov then begins again.
    """
    try:
        return (yield)
    finally:
        coverage = tracing(item.config)
        if coverage is not None and item.get_closest_marker("no_cover"):
            coverage.pause()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """
    Begin with what is long, and leave out of a quick run what is not for it. Nobody else asks what starts
    programs.
    """
    if config.getoption("--quick"):
        for item in items:
            if isinstance(item, pytest.Function) and starts_programs(item):
                item.add_marker(pytest.mark.programs)
        slow = [it for it in items if any(it.get_closest_marker(name) for name in ("programs", "no_cover"))]
        config.hook.pytest_deselected(items=slow)
        left_out = set(slow)
        items[:] = [it for it in items if it not in left_out]
    items.sort(key=length)
    cases: Counter[str] = Counter()
    for item in items:
        function = item.nodeid.partition("[")[0]
        cases[function] += 1
        if cases[function] > TRACED_CASES:
            item.add_marker(pytest.mark.no_cover)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """
    Look for garbage from now on, among what the tests make: a look at all the rest takes half a second.

    So no test may call `gc.unfreeze`: the collector would look at all the rest until the end of the process.
    """
    gc.freeze()
    gc.enable()
    gc.set_threshold(10_000, 20, 50)


@pytest.fixture(scope="session")
def ca() -> Minted:
    """
    An intermediate CA; its root is `ca.issuer`. Both are valid for years around `NOW`.
    """
    return authority()


@pytest.fixture(autouse=True)
def _logging_restored() -> Iterator[None]:
    """
    The logging of the process is after each test what it was before: commands that run in it change it.
    """
    top, access = logging.getLogger(), logging.getLogger("aiohttp.access")
    handlers, level, disabled = top.handlers[:], top.level, access.disabled
    yield
    top.handlers[:] = handlers
    top.setLevel(level)
    access.disabled = disabled
    logging.captureWarnings(capture=False)
