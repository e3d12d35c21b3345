"""
Source `files`: Prometheus's file_sd format, JSON or YAML.

Unchanged files cost a look at their status. A file with an error keeps its own targets of before, as in
Prometheus, and is told.
"""

from collections.abc import Iterator, Sequence
from glob import glob, has_magic
from typing import Any

from exporter.discovery.base import Context, Found, Listing, Source, SourceError, in_part
from exporter.discovery.sd import FOUND_LIMIT, GroupError, bounded, is_of, targets
from exporter.discovery.threads import in_thread
from exporter.model import foreign_json
from exporter.model.errors import ProbeError
from exporter.model.reasons import Reason
from exporter.net.regular_files import read, stamp_of
from exporter.yaml_lines import ConfigError
from exporter.yaml_lines import read as read_yaml

SIZE_LIMIT = 16 * 1024 * 1024
"""Bytes of one file."""


FILE_LIMIT = 10_000
"""Files of all patterns of one entry."""


async def run(paths: Sequence[str], context: Context) -> Listing:
    """
    Return the targets in the files. Raises SourceError.
    """
    return await in_thread(lambda: _listed(paths, context))


def _listed(paths: Sequence[str], context: Context) -> Listing:
    files, notes = _matching(paths)
    stamps = {path: (stamp_of(path) or b"").hex() for path in files}
    if context.remembered == stamps and not context.whole:
        return Listing(unchanged=True)
    found: list[Found] = []
    missing: list[str] = []
    failures: list[str] = []
    for path in files:
        try:
            found += bounded(_targets(path, notes), FOUND_LIMIT - len(found), notes)
        except (ProbeError, GroupError) as error:
            kept = [one for one in context.before if is_of(one, path)]
            found += kept
            gone = isinstance(error, ProbeError) and error.reason is Reason.FILE_NOT_FOUND
            words = str(error) if isinstance(error, ProbeError) else f"{path}: {error}"
            # One that never gave anything may be on other hosts only.
            (missing if gone and not kept else failures).append(words)
    if files and len(failures) + len(missing) == len(files):
        raise in_part([*failures, *missing])
    if failures:
        # It remembers no stamps: with the same ones, the next run would take it for the whole list.
        raise in_part(failures, Listing(tuple(found), (*missing, *notes)))
    return Listing(tuple(found), (*missing, *notes), stamps)


def _matching(paths: Sequence[str]) -> tuple[list[str], dict[str, None]]:
    """
    Return the files that the paths and patterns name, and notes. Raises SourceError.
    """
    files: dict[str, None] = {}
    notes: dict[str, None] = {}
    for path in paths:
        if not has_magic(path):
            files[path] = None
            continue
        found = sorted(glob(path, recursive=True))  # noqa: PTH207 - an absolute pattern
        if not found:
            notes[f"no file matches {path}"] = None
        files |= dict.fromkeys(found)
    if len(files) > FILE_LIMIT:
        raise SourceError(f"more than {FILE_LIMIT:,} files match: name fewer")
    return list(files), notes


def _targets(path: str, notes: dict[str, None]) -> Iterator[Found]:
    """
    Yield the targets in a file. Raises ProbeError and GroupError.
    """
    data, _ = read(path, SIZE_LIMIT)
    yield from targets(parsed(data, path), path, notes)


def parsed(data: bytes, path: str) -> Any:
    """
    Return the content of a file, YAML unless its name ends with `.json`. Raises GroupError.
    """
    try:
        if path.endswith(".json"):
            return foreign_json.loads(data)
        document = read_yaml(data, path)
        value, faults = document.value, document.faults
    except ConfigError as error:
        value, faults = None, list(error.faults)
    except RecursionError:
        raise GroupError("it is nested too deep") from None
    except ValueError as error:
        raise GroupError(f"it is not JSON: {error}") from None
    if faults:
        where = f"{faults[0].path} " if faults[0].path else ""
        raise GroupError(f"line {faults[0].line}: {where}{faults[0].message}")
    return value


SOURCE = Source("files", 30.0, run, steady=True)
