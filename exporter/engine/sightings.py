"""
Sightings: how certain it is that what a place no longer shows is gone, and not only another server's turn.

Pure. Time is counted in looks, each with its number: between looks nothing is known.
"""

from dataclasses import dataclass
from math import inf

from exporter.model.policies import DAY

LOOKS_KEPT = 200
"""Looks for which what left is remembered, or for a day, whichever is longer: nothing is due for longer."""


RECENT = 8
"""Absences that are remembered of each; an earlier one counts less with each new one."""


DOUBT = 1e-4
"""Chance at which what takes its turns may be forgotten although it comes back."""


FIRST_DOUBT = 1e-3
"""Chance below which a first change is taken for a renewal, although it may be the beginning of turns."""


BY_CHANCE = 100
"""Looks without what one look showed between others, after which it is gone: most of a balancer's servers had
several turns in them."""


SETTLED = 37
"""Looks that show the same before a first change, after which that is a renewal at once."""


ENOUGH = 4 * 3600.0
"""Seconds without what was there for a moment, after which that was a mistake."""


CERTAIN = 42
"""Looks without what was seen once, after which it is gone, unless its absences are known to be longer."""


MOMENT = 1 / 5
"""Share of the time of what was there before: what was there for no longer was there for a moment."""


MOMENT_OF_OLD = 1 / 20
"""The same, of what is likely to have turns."""


@dataclass(slots=True)
class Sightings:
    """
    When one of those that a place shows by turns came, left and came back.
    """

    came: int = 0
    """Number of the look that showed it first, or first again."""
    since: float = 0.0
    """Time of that look, in seconds since the epoch."""
    left: int = 0
    """Number of the last look that showed it; 0 while it is shown."""
    returns: int = 0
    """Times that it came back, RECENT at most."""
    missed: float = 0.0
    """Looks without it, in all of these absences together."""
    patience: float = 0.0
    """Looks without it after which it is gone."""

    def leave(
        self, look: int, now: float, *, back: bool, renewed: bool, brief: bool = False, old: bool = False
    ) -> None:
        """
        Note that this look, at `now` in seconds since the epoch, is the first one without it.

        `back`: what this look shows was there before; `brief`: see `was_brief`; `old`: it is what a server
        shows that was left behind. `renewed`: what this look shows was issued since.
        """
        run = look - self.came
        self.left = look - 1
        if not self.returns and (not back or (brief and not old)):
            self.patience = 1 if renewed else _first_change(run)
            if brief:
                self.patience = min(self.patience, max(1.0, self._enough(run, now)))
            return
        if not self.returns:
            # Of what comes for hours, the next hours are expected to be as long; a few looks may be a small
            # share of all. If it was brief, it may be a mistake that was put right as well.
            self.patience = 2 * run if is_long(self, look) else BY_CHANCE / run
            if brief and is_long(self, look):
                self.patience = min(self.patience, self._enough(run, now))
            return
        # Absences end at any look alike; of few that are known, the next one may be much longer.
        self.patience = (self.missed + 2) * (DOUBT ** (-1 / (self.returns + 3)) - 1)
        if not back and run >= SETTLED:
            # The turns are long over: it was alone until something new came.
            self.patience = min(self.patience, _FRESH)

    def _enough(self, run: int, now: float) -> float:
        """
        Return the looks that are made in ENOUGH seconds, by the time that the `run` looks until now took.
        """
        interval = (now - self.since) / run
        return ENOUGH / interval if interval > 0 else inf

    def come_back(self, look: int, now: float, *, undone: bool = False) -> None:
        """
        Note that this look shows it again, at `now` in seconds since the epoch.

        `undone`: what was there meanwhile was a mistake, and this one is there as if it had never been away.
        """
        if undone:
            self.left = 0
            return
        if self.returns == RECENT:
            self.missed *= 1 - 1 / RECENT
        else:
            if not self.returns:
                # It was not there before it came first, either.
                self.missed = min(self.came - 1, CERTAIN)
            self.returns += 1
        self.missed += look - self.left - 1
        self.came, self.since, self.left = look, now, 0

    def is_due(self, look: int, age: float) -> bool:
        """
        Return True while it may come back, after this look. It was seen `age` seconds ago.
        """
        return look - self.left < self.patience and self.is_kept(look, age)

    def is_kept(self, look: int, age: float) -> bool:
        """
        Return True while it is remembered, so that its return would be known as one.
        """
        return look - self.left < LOOKS_KEPT or 0 <= age < DAY


def is_long(brief: Sightings, look: int) -> bool:
    """
    Return True when so many looks before this one showed something that it was there, and not by chance.
    """
    run = look - brief.came
    return 2 * run > _first_change(run)


def was_brief(brief: Sightings, earlier: Sightings, now: float, moment: float = MOMENT) -> bool:
    """
    Return True when what was there until `now` (seconds since the epoch) was so for a short time only, after
    what was there for long.

    So is a deployment that was a mistake. Those that take turns for hours do so for as long each.
    """
    is_first = not (brief.returns or earlier.returns)
    return is_first and now - brief.since < moment * (brief.since - earlier.since)


_FRESH = 2 * (DOUBT ** (-1 / 3) - 1)
"""The patience with something that was never absent before."""


def _first_change(run: int) -> int:
    """
    Return after how many looks without it something is gone that was shown by each of the `run` looks before.

    No share of looks makes such a row of looks as likely as FIRST_DOUBT.
    """
    if run >= SETTLED:
        return 1
    gone = 1
    while gone < _FRESH and (run / (run + gone)) ** run * (gone / (run + gone)) ** gone > FIRST_DOUBT:
        gone += 1
    return gone
