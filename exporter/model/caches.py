"""
Caches: what was made of the bytes of others, remembered by them within one budget for the process. Pure.

A count bounds nothing: certificates have from 400 bytes to 100 kB. So each thing that is remembered weighs
what it takes in memory, all caches together hold so many bytes, and what was not asked for longest goes
first, whichever cache it is in.
"""

from collections import deque
from collections.abc import Callable, Hashable, Mapping
from enum import Enum
from functools import wraps
from sys import getsizeof
from threading import Lock
from typing import Any, Generic, ParamSpec, TypeVar, cast

P = ParamSpec("P")


R = TypeVar("R")


V = TypeVar("V")


LEAST_LIMIT = 64 * 1024 * 1024
"""Bytes that all caches may hold, however few targets there are."""


LIMIT_PER_TARGET = 24 * 1024
"""Bytes for each configured target. An ordinary chain of two certificates takes half of it."""


LARGEST = 1 / 16
"""Share of the budget that one thing may have; a larger one is not remembered."""


OVERHEAD = 350
"""Bytes that remembering takes besides key and value."""


class _Entry:
    """
    One thing that is remembered.
    """

    __slots__ = ("cache", "key", "used", "value", "weight")

    def __init__(self, cache: "Cache[object]", key: Hashable, value: object, weight: int) -> None:
        self.cache = cache
        self.key = key
        self.value = value
        self.weight = weight
        self.used = False
        """True when it was asked for since its turn to go came last."""


class Budget:
    """
    The bytes that caches share. Any thread may use it.
    """

    def __init__(self, limit: int = LEAST_LIMIT) -> None:
        self._limit = limit
        self._held = 0
        # In a circle, as an operating system's pages: what was used since its last turn gets another one. It
        # costs a hit one assignment, where a list in order of use would have to be rearranged.
        self._turns: deque[_Entry] = deque()
        self._names: dict[str, tuple[int, int]] = {}
        self._lock = Lock()

    @property
    def limit(self) -> int:
        """
        Bytes that may be held.
        """
        return self._limit

    def fit(self, targets: int) -> None:
        """
        Make room for so many configured targets.
        """
        with self._lock:
            self._limit = max(LEAST_LIMIT, LIMIT_PER_TARGET * targets)
            self._shrink()

    @property
    def held(self) -> Mapping[str, tuple[int, int]]:
        """
        The number of things and of bytes that each cache holds, by its name.
        """
        with self._lock:
            return dict(self._names)

    def register(self, name: str) -> None:
        """
        Let a cache of this name be counted.
        """
        with self._lock:
            self._names.setdefault(name, (0, 0))

    def add(self, entry: _Entry) -> None:
        """
        Remember one more thing, or another value by a key that is there, and forget others for it.

        What is too large is not remembered.
        """
        with self._lock:
            there = entry.cache.table.get(entry.key)
            if there is not None:
                self._count(there, -1)
                there.value, there.weight = entry.value, entry.weight
                self._count(there, 1)
            elif entry.weight <= self._limit * LARGEST:
                entry.cache.table[entry.key] = entry
                self._turns.append(entry)
                self._count(entry, 1)
            self._shrink()

    def _shrink(self) -> None:
        while self._held > self._limit:
            entry = self._turns.popleft()
            if entry.used:
                entry.used = False
                self._turns.append(entry)
            else:
                del entry.cache.table[entry.key]
                self._count(entry, -1)

    def _count(self, entry: _Entry, by: int) -> None:
        things, weight = self._names[entry.cache.name]
        self._names[entry.cache.name] = things + by, weight + by * entry.weight
        self._held += by * entry.weight


BUDGET = Budget()
"""The budget of the process."""


class Cache(Generic[V]):
    """
    One kind of things that are remembered.
    """

    def __init__(self, name: str, budget: Budget = BUDGET) -> None:
        """
        The name is the label value of the metrics.
        """
        self.name = name
        self.table: dict[Hashable, _Entry] = {}
        self._budget = budget
        budget.register(name)

    def get(self, key: Hashable) -> V | None:
        """
        What is remembered by this key; None when nothing is.
        """
        entry = self.table.get(key)
        if entry is None:
            return None
        entry.used = True
        return cast("V", entry.value)

    def put(self, key: Hashable, value: V, weight: int) -> None:
        """
        Remember it, in place of what was there. `weight` is in bytes, of key and value.
        """
        self._budget.add(_Entry(cast("Cache[object]", self), key, value, weight + OVERHEAD))


def remembered(
    name: str,
    weigh: Callable[..., int] | None = None,
    *,
    apart: tuple[type, ...] = (),
    budget: Budget = BUDGET,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """
    Remember what a function gives, by its arguments, which are positional and hashable.

    `weigh` gets the result and the arguments, and gives bytes; without it, they are measured but for values
    of the types that are kept `apart`: others hold those too. An exception is not remembered.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        cache: Cache[object] = Cache(name, budget)
        table = cache.table

        @wraps(function)
        def recall(*arguments: Any) -> Any:
            entry = table.get(arguments)
            if entry is not None:
                entry.used = True
                return entry.value
            value = function(*arguments)  # type: ignore[call-arg] # there are none by keyword
            weight = size(arguments, value, apart=apart) if weigh is None else weigh(value, *arguments)
            budget.add(_Entry(cache, arguments, value, weight + OVERHEAD))
            return value

        return cast("Callable[P, R]", recall)

    return decorate


def size(*values: object, apart: tuple[type, ...] = ()) -> int:
    """
    Bytes that the values take in memory with all that is in them, each object once, without those `apart`.

    Of objects of libraries in other languages only the shell is seen.
    """
    total = 0
    counted: set[int] = set()
    left = list(values)
    while left:
        value = left.pop()
        if value is None or isinstance(value, (bool, Enum, type, *apart)) or id(value) in counted:
            continue
        counted.add(id(value))
        total += getsizeof(value)
        if isinstance(value, tuple | list | frozenset | set):
            left += value
        elif isinstance(value, dict):
            left += value.keys()
            left += value.values()
        elif not isinstance(value, str | bytes | int | float):
            left += [getattr(value, slot, None) for slot in getattr(type(value), "__slots__", ())]
    return total
