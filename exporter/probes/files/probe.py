"""
Files: `file:///path` and patterns of paths, each file an endpoint.
"""

from collections.abc import Awaitable, Callable, Sequence

from exporter.model.errors import LeftOut, Outcome, ProbeError
from exporter.model.observation import Facts
from exporter.model.reasons import Reason
from exporter.model.targets import Target
from exporter.probes.base import Endpoint, Endpoints, Trace
from exporter.probes.dependencies import Dependencies
from exporter.probes.files.cache import TOTAL_LIMIT, Tolerance, tolerance_of
from exporter.probes.files.glob import is_pattern
from exporter.probes.files.reading import label


async def endpoints(target: Target, dependencies: Dependencies) -> Endpoints:
    """
    Return the file, or each that matches the pattern. Raises ProbeError when none does.
    """
    path = target.url.path
    if not is_pattern(path):
        return Endpoints((Endpoint(label(path), path),), lasting=True)
    found = await dependencies.files.search(path)
    left_out = [
        LeftOut(label(one.path), f"the directory can't be read: {one.why}") for one in found.unreadable
    ]
    left_out += [LeftOut("", "more files than are looked at for one pattern, or for all")] * found.beyond
    if not found.paths:
        words = f"no file matches {label(path)}"
        if found.unreadable:
            raise ProbeError(Reason.FILE_UNREADABLE, "; ".join((words, *map(str, left_out[:3]))))
        if found.beyond:
            words = f"other patterns match {TOTAL_LIMIT:,} files already, and no more are looked at"
            raise ProbeError(Reason.FILE_UNREADABLE, words)
        raise ProbeError(Reason.NO_MATCH, words)
    by_label = {one.label: one for one in (Endpoint(label(path), path) for path in found.paths)}
    # A directory that can't be read is an endpoint that fails: its files may expire unseen.
    for one in found.unreadable:
        by_label[label(one.path)] = Endpoint(label(one.path), one.path, one.failure)
    return Endpoints(tuple(by_label.values()), tuple(left_out))


async def look(target: Target, endpoint: Endpoint, dependencies: Dependencies, trace: Trace) -> Facts:
    """
    Return the facts in one file. Raises ProbeError.
    """
    trace.phase = "reading the file"
    trace.note("reading %s", endpoint.label)
    if endpoint.failure is not None:
        raise endpoint.failure
    found: list[Outcome] = []

    def tell(_: int, outcome: Outcome, _seconds: float) -> None:
        found.append(outcome)

    paths = [endpoint.address]
    await dependencies.files.look(paths, target.password, target.patience, tell, tolerance=Tolerance.NONE)
    (outcome,) = found
    if isinstance(outcome, ProbeError):
        # A new exception: the same failure is kept and raised many times.
        raise ProbeError(outcome.reason, outcome.detail, outcome.facts)
    assert isinstance(outcome, Facts)  # only a pattern leaves files out
    trace.note("%s things that expire", len(outcome.items))
    return outcome


def look_all(
    target: Target,
    endpoints: Sequence[Endpoint],
    dependencies: Dependencies,
    tell: Callable[[int, Outcome, float], None],
) -> Awaitable[None]:
    """
    Report the outcome of all files of a target, each when it is known.
    """
    readable = [one for one in endpoints if one.failure is None]
    tell_readable = tell
    if len(readable) < len(endpoints):
        positions: list[int] = []
        for position, endpoint in enumerate(endpoints):
            if endpoint.failure is None:
                positions.append(position)
            else:
                tell(position, endpoint.failure, 0.0)

        def tell_readable(position: int, outcome: Outcome, duration: float) -> None:
            tell(positions[position], outcome, duration)

    paths = [one.address for one in readable]
    tolerance = tolerance_of(target.url.path)
    return dependencies.files.look(
        paths, target.password, target.patience, tell_readable, tolerance=tolerance
    )
