"""
Prints what would have been said before each incident: python -m tests.replay
"""

from collections.abc import Iterator

from exporter.policies import DAY, HOUR
from tests.replay.incidents import SCENARIOS, Incident, Outcome, incidents, replay

HEAD = ("Incident", "First notice before the outage", "Alert", "blackbox_exporter at that time")


def ahead(seconds: float) -> str:
    """
    Time before the outage, for a person.
    """
    if seconds < 0:
        return "with the outage"
    return f"{seconds / DAY:.0f} days" if seconds >= DAY else f"{seconds / HOUR:.0f} hours"


def row(incident: Incident, outcome: Outcome) -> tuple[str, ...]:
    """
    What the table says of an incident.
    """
    first = outcome.first
    return (
        f"{incident.name}, {incident.date}: {incident.ended}",
        ahead(outcome.lead),
        f"{first.alert} ({first.severity})",
        outcome.blackbox,
    )


def table() -> Iterator[str]:
    """
    The lines of the table, in Markdown.
    """
    yield "| " + " | ".join(HEAD) + " |"
    yield "|---" * len(HEAD) + "|"
    for incident in incidents():
        if incident.later is None:
            yield "| " + " | ".join(row(incident, replay(SCENARIOS[incident.id]()))) + " |"


def main() -> None:
    """
    Print the table, then what is not in it.
    """
    for line in table():
        print(line, flush=True)
    later = [f"{one.name} ({one.later})" for one in incidents() if one.later is not None]
    print(f"\nNot replayed yet: {'; '.join(later)}.")


if __name__ == "__main__":
    main()
