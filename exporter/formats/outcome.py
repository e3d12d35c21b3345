"""
The outcome of a parsed file: facts, a failure, or a file that is left out.
"""

from dataclasses import replace

from exporter.formats import DETAIL_PROBLEMS
from exporter.formats.parsed import Parsed, Problem
from exporter.model.errors import LeftOutError, Outcome, ProbeError
from exporter.model.reasons import Reason


def outcome_of(where: str, parsed: Parsed, *, had_items: bool = False) -> Outcome:
    """
    Return the outcome of a file. A file without items is left out, unless it had some before (`had_items`).

    `where` is the file in words, for messages.
    """
    if parsed.references:
        parsed = replace(parsed, references=(), lasting=(*parsed.lasting, "paths of files on another host"))
    problem = failure(parsed)
    if problem is None:
        return parsed.facts
    if problem.reason is Reason.NOTHING_EXPIRES and not had_items:
        return LeftOutError(where, problem.detail)
    facts = parsed.facts if parsed.items or parsed.faults else None
    return ProbeError(problem.reason, f"{where}: {problem.detail}", facts)


def failure(parsed: Parsed) -> Problem | None:
    """
    Return all problems of a file as one; None when there are none.
    """
    if parsed.problems:
        first = parsed.problems[0]
        words = "; ".join(one.detail for one in parsed.problems[:DETAIL_PROBLEMS])
        more = len(parsed.problems) - DETAIL_PROBLEMS
        return Problem(first.reason, f"{words}; and {more} more" if more > 0 else words)
    if not parsed.items and not parsed.faults:
        there = ", ".join(parsed.lasting) or "nothing at all"
        return Problem(Reason.NOTHING_EXPIRES, f"there is nothing in it that expires: it holds {there}")
    return None
