"""
Caches: parsed certificates and answers by their bytes, within one budget for the process. Pure.

The budget is in bytes, since a certificate has from 400 bytes to 100 kB and a limit by count would bound
nothing. Each entry has a weight, the memory that it takes. When all caches together exceed the budget, the
entry that was not used for longest is evicted, whichever cache it is in.
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
"""Share of the budget that one entry may have; a larger one is not cached."""


OVERHEAD = 350
"""Bytes that an entry takes besides its key and value."""


class _Entry:
    """
    One cached value with its key and its weight in bytes.
    """

    __slots__ = ("cache", "key", "used", "value", "weight")

    def __init__(self, cache: "Cache[object]", key: Hashable, value: object, weight: int) -> None:
        self.cache = cache
        self.key = key
        self.value = value
        self.weight = weight
        self.used = False
        """True when it was read since it was last considered for eviction."""


class Budget:
    """
    The bytes that caches share, with eviction. Safe to use from any thread.
    """

    def __init__(self, limit: int = LEAST_LIMIT) -> None:
        self._limit = limit
        self._held = 0
        # The clock algorithm (second chance): an entry that was used since its last turn gets another one. It
        # costs a hit one assignment, where a list in order of use would have to be rearranged.
        self._turns: deque[_Entry] = deque()
        self._names: dict[str, tuple[int, int]] = {}
        self._lock = Lock()

    @property
    def limit(self) -> int:
        """
        Bytes that all entries together may take.
        """
        return self._limit

    def fit(self, targets: int) -> None:
        """
        Set the limit for this number of configured targets, and evict entries that exceed it.
        """
        with self._lock:
            self._limit = max(LEAST_LIMIT, LIMIT_PER_TARGET * targets)
            self._shrink()

    @property
    def held(self) -> Mapping[str, tuple[int, int]]:
        """
        Entries and bytes that each cache holds, by the cache's name.
        """
        with self._lock:
            return dict(self._names)

    def register(self, name: str) -> None:
        """
        Begin to count the entries and bytes of the cache of this name.
        """
        with self._lock:
            self._names.setdefault(name, (0, 0))

    def add(self, entry: _Entry) -> None:
        """
        Add an entry, or replace the value of the one with the same key, then evict others beyond the limit.

        An entry larger than LARGEST of the limit is not added.
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
    A cache of one kind of values, within the shared budget.
    """

    def __init__(self, name: str, budget: Budget = BUDGET) -> None:
        """
        Register under this name, which is the label value in the metrics.
        """
        self.name = name
        self.table: dict[Hashable, _Entry] = {}
        self._budget = budget
        budget.register(name)

    def get(self, key: Hashable) -> V | None:
        """
        Return the value cached under this key, or None.
        """
        entry = self.table.get(key)
        if entry is None:
            return None
        entry.used = True
        return cast("V", entry.value)

    def put(self, key: Hashable, value: V, weight: int) -> None:
        """
        Cache the value in place of an earlier one. `weight` is the size of key and value in bytes.
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
    Decorate a function so that its results are cached by its arguments, which are positional and hashable.

    `weigh` takes the result and the arguments and returns their size in bytes. Without it, `size` measures
    them, without values of the types in `apart`: others hold those anyway. An exception is not cached.
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
    Return the bytes that the values and all they refer to take in memory, each object counted once.

    Values of the types in `apart` are left out. Memory that a C or Rust library allocates is not seen.
    """
    total = 0
    counted: set[int] = set()
    left = list(values)
    free = (type(None), bool, Enum, type, *apart)
    while left:
        value = left.pop()
        if id(value) in counted or isinstance(value, free):
            continue
        counted.add(id(value))
        total += getsizeof(value)
        # Most values of a large certificate are its thousands of names.
        if isinstance(value, str | bytes | int | float):
            continue
        if isinstance(value, tuple | list | frozenset | set):
            left += value
        elif isinstance(value, dict):
            left += value.keys()
            left += value.values()
        else:
            # Weak references own nothing; and before Python 3.11.3 a dataclass's slot for them can't be read.
            slots = (one for one in getattr(type(value), "__slots__", ()) if one != "__weakref__")
            left += [getattr(value, slot, None) for slot in slots]
    return total
