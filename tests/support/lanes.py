"""
Finds the tests that start programs: servers, browsers, promtool, the exporter as a command.

They are found by what their code refers to, so that nobody has to mark them.
"""

import functools
import inspect
import subprocess
from collections.abc import Iterable, Iterator
from types import CodeType, FunctionType, ModuleType

import pytest

from tests.support.processes import running

_harmless: dict[int, object] = {}
"""What was followed and leads nowhere. Many tests have the same parameters, and some are large."""

_STARTERS = {"create_subprocess_exec", "create_subprocess_shell", "sync_playwright"}
"""Names of others' functions that start programs."""

_PLAIN = (str, bytes, int, float, type(None))
"""Of these there are many, and they lead nowhere."""


def starts_programs(item: pytest.Function) -> bool:
    """
    True when the test, one of its fixtures or one of its parameters leads to a function that starts programs.
    """
    # Pytest has no public name for the fixtures that an item uses.
    definitions = item._fixtureinfo.name2fixturedefs.values()
    fixtures = [one.func for several in definitions for one in several]
    parameters = list(item.callspec.params.values()) if hasattr(item, "callspec") else []
    return any(_function_leads(one) for one in [item.function, *fixtures]) or _leads(parameters)


@functools.cache
def _function_leads(function: object) -> bool:
    # Many tests share a function or a fixture.
    return _leads(function)


def _leads(start: object) -> bool:
    """
    True when a way leads from an object to a function that starts programs, through code of the tests.
    """
    todo: list[object] = [start]
    seen: dict[int, object] = {}
    while todo:
        one = todo.pop()
        if one is subprocess or one is running:
            return True
        if isinstance(one, _PLAIN) or id(one) in seen or id(one) in _harmless:
            continue
        seen[id(one)] = one
        if isinstance(one, dict):
            todo += one.values()
        elif isinstance(one, (list, tuple, set, frozenset)):
            todo += one
        elif isinstance(one, functools.partial):
            todo += [one.func, *one.args]
        elif inspect.isclass(one) and one.__module__.startswith("tests"):
            todo += vars(one).values()
        elif callable(one) and isinstance(inspect.unwrap(one), FunctionType):
            function = inspect.unwrap(one)
            if not function.__module__.startswith("tests"):
                continue
            names = set(_names(function.__code__))
            if names & _STARTERS:
                return True
            found = [function.__globals__[name] for name in names & function.__globals__.keys()]
            # `servers.nginx` is two names: the module's, and that of the function in it.
            modules = [it for it in found if isinstance(it, ModuleType) and it.__name__.startswith("tests")]
            todo += [it for it in found if it not in modules]
            todo += [vars(it)[name] for it in modules for name in names & vars(it).keys()]
    _harmless.update(seen)
    return False


def _names(code: CodeType) -> Iterator[str]:
    """
    The names that a function and those within it refer to.
    """
    yield from code.co_names
    inner: Iterable[object] = code.co_consts
    for one in inner:
        if isinstance(one, CodeType):
            yield from _names(one)
