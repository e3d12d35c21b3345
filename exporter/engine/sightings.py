"""
Sightings: how certain it is that what a place no longer shows is gone, and not only another server's turn.

Pure. Time is counted in looks, each with its number: between looks nothing is known.
"""

import math
from dataclasses import dataclass

from exporter.model.policies import DAY

LOOKS_KEPT = 300
"""Looks for which what left is remembered, or for a day, whichever is longer: nothing is due for longer."""


RECENT = 12
"""Returns that are remembered of each; an earlier one counts less with each new one."""


ASSUMED = 6
"""Returns that are assumed of each besides those that are known, so that a few are not taken for the rule."""


ASSUMED_LOOKS = 18.0
"""Looks from one to the next of these, together: as of one of three servers. Each new one takes from them."""


DOUBT = 1e-5
"""Chance at which what takes its turns may be forgotten although it comes back."""


FIRST_DOUBT = 1e-3
"""Chance below which a first change is taken for a renewal, although it may be the beginning of turns."""


SETTLED = 37
"""Looks that show the same before a first change, after which that is a renewal at once."""


ENOUGH = 4 * 3600.0
"""Seconds without what was there for a moment, after which that was a mistake."""


CERTAIN = 42
"""Looks without what was there first, after which it is gone: one of nine servers would have had its turn."""


MISTAKE = 3 * CERTAIN
"""Looks without what one look showed after long of something else, after which that was a mistake: that is
likelier than one of more than twenty servers."""


PROBED = 12 * CERTAIN
"""Looks without what had its turns after which it is gone at the earliest, where probes at once are mixed:
one of a hundred would have had its turn, though all may have had it before, so that it was seen often."""


UNUSUAL = 1 / 4
"""Share of the looks without something after which it is gone: what still has its turns is seldom away for as
long."""


FEW = 3 * CERTAIN
"""Looks up to which an exporter that knows nothing of before a restart may not have seen all that take turns:
after them, one of forty would have had its turn."""


PLACES = 4
"""Most that share the time between them for hours each: each is away for the turns of the others."""


MOMENT = 1 / 5
"""Share of the time of what was there before: what was there for no longer was there for a moment."""


MOMENT_OF_OLD = 1 / 20
"""The share for facts that are likely to have turns."""


@dataclass(slots=True)
class Sightings:
    """
    The looks at which one of those that a place shows by turns came, left and came back.
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
    """Looks from the last one that showed it to each of these returns, together, with what is assumed."""
    patience: float = 0.0
    """Looks without it after which it is gone."""
    limit: float | None = None
    """Seconds without it after which it is gone, however few looks there were; None: only looks count."""
    at_once: int = 0
    """Looks since it came that were made at once after others."""
    turn: bool = False
    """True when what came after it may be there for a turn that is as long."""

    def leave(
        self,
        look: int,
        *,
        back: bool,
        renewed: bool,
        brief: bool = False,
        old: bool = False,
        crowded: bool = False,
        probed: bool = False,
        put_right: bool = False,
    ) -> None:
        """
        Note that this look is the first one without it.

        `back`: what this look shows was there before; `brief`: see `was_brief`; `old`: it is what a server
        shows that was left behind. `renewed`: what this look shows was issued since. `crowded`: there may be
        more that take turns than are remembered. `probed`: more probes are made once it `is_overdue`.
        `put_right`: it is what a rollback had brought back.
        """
        run = self.run(look)
        self.left = look - 1
        self.limit = DAY if put_right else None
        if brief and (not old or _is_long(run)):
            self.limit = ENOUGH
        if self.returns:
            self.patience = max(self._certain(), PROBED if probed else 0)
            if not back and run >= SETTLED:
                # The turns are long over: it was alone until something new came.
                self.patience = min(self.patience, CERTAIN)
            return
        # What came between others may be one of many; what was alone for long may not.
        self.missed = ASSUMED_LOOKS + (CERTAIN if self.came > 1 and run < SETTLED else 0)
        if not back:
            self.patience = 1 if renewed else min(_first_change(run), CERTAIN)
            if crowded and not renewed:
                # Among so many, what seems to be new is most likely one that was forgotten.
                self.patience = max(self.patience, self._certain() / run**2)
        elif brief and not old:
            self.patience = min(_first_change(run), MISTAKE)
        else:
            # A small share of looks seldom gives two in a row. Of what comes for hours, each turn is expected
            # to be as long: it may have begun just after the look before, and ended just before this one.
            self.patience = max((PLACES - 1) * (run + 1), self._certain() / run**2)

    def _certain(self) -> float:
        """
        Return after how many looks without it something is gone that came back so often.

        Absences end at any look alike. The next one is longer with a chance of DOUBT, if the share of looks
        is estimated by these; with few of them, it may be much longer.
        """
        return self.missed * (math.pow(DOUBT, -1 / (self.returns + ASSUMED)) - 1)

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
            self.returns += 1
        self.missed += look - self.left
        self.came, self.since, self.left, self.at_once = look, now, 0, 0

    def run(self, look: int) -> int:
        """
        Return how many looks before this one showed it in a row; those that were made at once are one.
        """
        return max(look - self.came - self.at_once, 1)

    def note_turns(self) -> None:
        """
        Note that others take turns in its place: what seemed to be its replacement may be one of these.
        """
        run = self.run(self.left + 1)
        if not self.returns and run < SETTLED:
            self.missed = ASSUMED_LOOKS + CERTAIN
            self.patience = max(self.patience, self._certain() / run**2)

    def is_due(self, look: int, age: float) -> bool:
        """
        Return True while it may come back, after this look. It was seen `age` seconds ago.
        """
        in_time = self.limit is None or age < self.limit
        return in_time and look - self.left < self.patience and self.is_kept(look, age)

    def was_alone(self, look: int, now: float) -> bool:
        """
        Return True when it was there for a day, or for so many looks that another one is a change at once.
        """
        return self.run(look) >= SETTLED or now - self.since >= DAY

    def is_overdue(self, look: int) -> bool:
        """
        Return True when it had its turns, and was not seen for longer than is usual.
        """
        return self.returns > 0 and look - self.left >= self._certain() * UNUSUAL

    def is_on_trial(self, look: int, tries: int) -> bool:
        """
        Return True when it has its turns, has just left, and few probes at once tried to find it.
        """
        return self.returns > 0 and look == self.left + 1 and tries < PROBED

    def is_likely(self, look: int) -> bool:
        """
        Return True while the next looks are likely to show it again, if it may come back at all.

        What never came back may also have been there for long and be gone for good.
        """
        return self.returns > 0 or self.turn or look - self.left < CERTAIN

    def is_kept(self, look: int, age: float) -> bool:
        """
        Return True while it is remembered, so that its return would be known as one.
        """
        return look - self.left < LOOKS_KEPT or 0 <= age < DAY


def is_long(brief: Sightings, look: int) -> bool:
    """
    Return True when so many looks before this one showed something that it was there, and not by chance.
    """
    return _is_long(look - brief.came)


def _is_long(run: int) -> bool:
    return 2 * run > _first_change(run)


def was_brief(brief: Sightings, earlier: Sightings, now: float, moment: float = MOMENT) -> bool:
    """
    Return True when what was there until `now` (seconds since the epoch) was so for a short time only, after
    what was there for long until it came.

    So is a deployment that was a mistake. Those that take turns for hours do so for as long each: what left
    earlier was away for the turns of others as well.
    """
    is_first = not (brief.returns or earlier.returns) and earlier.left == brief.came - 1
    return is_first and now - brief.since < moment * (brief.since - earlier.since)


def _first_change(run: int) -> int:
    """
    Return after how many looks without it something is gone that was shown by each of the `run` looks before.

    No share of looks makes such a row of looks as likely as FIRST_DOUBT.
    """
    if run >= SETTLED:
        return 1
    gone = 1
    while (run / (run + gone)) ** run * (gone / (run + gone)) ** gone > FIRST_DOUBT:
        gone += 1
    return gone
