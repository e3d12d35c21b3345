"""
Prints what would have been said before each incident: python -m tests.replay
"""

from collections.abc import Iterator

from exporter.model.policies import DAY, HOUR
from tests.replay.incidents import Incident, Outcome, incidents, replayed

HEAD = ("Incident", "First notice before the outage", "Alert", "blackbox_exporter at that time")


def ahead(seconds: float) -> str:
    """
    Time before the outage, for a person.
    """
    if seconds < -HOUR / 2:
        return f"{-seconds / HOUR:.0f} hours after it, at the next look"
    if seconds < 0:
        return "with the outage"
    number, unit = (seconds / DAY, "day") if seconds >= DAY else (seconds / HOUR, "hour")
    return f"{number:.0f} {unit}{'' if round(number) == 1 else 's'}"


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
        yield "| " + " | ".join(row(incident, replayed(incident.id))) + " |"


def main() -> None:
    """
    Print the table.
    """
    for line in table():
        print(line, flush=True)


if __name__ == "__main__":
    main()
