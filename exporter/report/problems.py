"""
Problems in words: the cause, where it is, and what to do first. Pure.

These are the texts of a notification. Nothing in them changes by the minute: the time left is added where
they are shown.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from exporter.engine.memory import ProblemRow
from exporter.judgement.history import identity_of
from exporter.judgement.issued import Renewed, Stranger
from exporter.judgement.problems import Onset, rolled_back_at
from exporter.judgement.verdicts import JudgedItem
from exporter.model.foreign_text import printable
from exporter.model.observation import Certificate, Failed, Item
from exporter.model.policies import DAY, Severity
from exporter.model.problems import Problem
from exporter.model.reasons import Fault, Hazard, Kind, Reason
from exporter.report import advice
from exporter.report.commands import command
from exporter.report.paths import target_path
from exporter.report.times import date, rounded

NAMED = 3
"""Most targets with the same certificate that are named."""


WORDS_LIMIT = 1000
"""Most bytes of each text, in UTF-8."""


TEXT_LIMIT = 2000
"""Most bytes of the whole. Mimir refuses a label value of more than 2,048 (max_label_value_length)."""


SEVERAL = "one of several behind this address"
"""The words about what one server of several shows."""


SILENT = "its registry does not say whether anybody paid"
"""The words about a domain whose end was moved ahead, as a registry does by itself."""


_MARKS = re.compile(r"\b(Where|Why|First step|Command|More|Since): ")
"""The beginnings of the parts of a notification: no text of a certificate may look like one."""


UNKNOWN = "http://exporter.invalid"
"""
Stands for the address of an exporter that was not told its own: no host can have this name (RFC 6761, 6.4).

The rules put the address there at which Prometheus scrapes the exporter.
"""


Reach = Mapping[str, frozenset[str]]
"""By fingerprint of a certificate, the targets that have a problem with it."""


@dataclass(frozen=True, slots=True)
class Words:
    """
    The texts about a problem for a person.
    """

    cause: str
    where: str
    advice: str
    text: str
    """All that a notification says: these, a command that shows the problem, the page of the target."""


def reach(rows: Iterable[ProblemRow]) -> Reach:
    """
    Return the targets that have a problem with each certificate, by its fingerprint.
    """
    found: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if fingerprint := fingerprint_of(row):
            found[fingerprint].add(row.found.onset.known.target.name)
    return {fingerprint: frozenset(names) for fingerprint, names in found.items()}


def fingerprint_of(row: ProblemRow) -> str:
    """
    Return the SHA-256 of the certificate concerned; empty when the problem is about none.
    """
    certificate = _certificate(row.found.onset)
    return certificate.fingerprint_sha256 if certificate is not None else ""


def end_of(row: ProblemRow) -> float:
    """
    Return the end of the item, in seconds since the epoch.

    For a problem without an item: the time at which the endpoint was last well, or else the problem's start.
    """
    onset = row.found.onset
    if onset.judged is not None or onset.stranger is not None:
        return onset.end
    if _is_one_of_several(onset):
        return row.since
    seen_at, past = onset.known.seen_at, onset.known.past
    # What was never seen has been like this since the first probe.
    failing = past.failing_since if seen_at is None else seen_at
    well = {Problem.PROBE_FAILING: failing, Problem.NOT_TRUSTED: past.trusted_at}
    last = well.get(onset.problem)
    return row.since if last is None else last


def is_remembered(row: ProblemRow) -> bool:
    """
    Return True when only what the exporter saw before makes the problem critical: one without its state sees
    a milder one, though nothing is mended.
    """
    onset = row.found.onset
    moved = onset.problem is Problem.DOMAIN_STATUS and Hazard.DOMAIN_AUTO_RENEW in row.found.reasons
    return onset.severity is Severity.CRITICAL and (onset.problem is Problem.NOT_TRUSTED or moved)


def words(row: ProblemRow, reached: Reach, external_url: str | None = None) -> Words:
    """
    Return the texts about the problem. `external_url` is the address of the exporter's pages; None: unknown.
    """
    onset, address = row.found.onset, external_url or UNKNOWN
    name = onset.known.target.name
    cause, where, first = brief(row, reached.get(fingerprint_of(row), frozenset()) - {name})
    shown = _cut(command(onset, address), WORDS_LIMIT)
    rest = f"First step: {first} Command: {shown} More: {address}/{target_path(name)}"
    # What is cut is what may be long: names in certificates. What to do is whole.
    half = max((TEXT_LIMIT - len(f"Where: . Why: . {rest}".encode())) // 2, 0)
    why = f"Why: {_cut(cause, half)}. " if cause else ""
    return Words(cause, where, first, _cut(f"Where: {_cut(where, half)}. {why}{rest}", TEXT_LIMIT))


def _cut(text: str, limit: int) -> str:
    """
    Return the text in at most so many bytes of UTF-8, with `…` at its end if it was cut.
    """
    written = text.encode(errors="replace")
    return text if len(written) <= limit else written[: max(limit - 3, 0)].decode(errors="ignore") + "…"


def brief(row: ProblemRow, same: frozenset[str] = frozenset()) -> tuple[str, str, str]:
    """
    Return cause, place and what to do first. `same` are other targets that have a problem with its
    certificate.
    """
    texts = (
        _MARKS.sub(r"\1:", _cause(row)),
        _MARKS.sub(r"\1:", _where(row, same)),
        advice_of(row.found.onset),
    )
    cause, where, first = (_cut(text, WORDS_LIMIT) for text in texts)
    return cause, where, first


def _certificate(onset: Onset) -> Certificate | None:
    return onset.judged.item.certificate if onset.judged is not None else None


def _cause(row: ProblemRow) -> str:
    onset = row.found.onset
    if onset.problem is Problem.UNWATCHED:
        names = {name for one in row.found.onsets for name in one.known.unwatched}
        return f"no target looks at {some(sorted(names))}"
    if onset.stranger is not None:
        parts = [issued_by_stranger(onset.stranger)]
    elif onset.judged is None:
        parts = [", ".join(row.found.reasons), _silent(onset)]
        # What the last probe saw was at another server: it says nothing of this one, and changes with each.
        parts += (
            [SEVERAL, _presented(onset)]
            if _is_one_of_several(onset)
            else [_presented(onset), _last_well(onset)]
        )
    elif onset.judged.needless:
        parts = ["dead weight: clients accept the server without it"]
    else:
        parts = [
            _reached(onset),
            _compared(onset, onset.judged.item, changed=row.found.changed_identity),
            _habit(onset.judged, onset.known.seen_at),
        ]
        if onset.problem is Problem.FOREIGN_ISSUER:
            parts.insert(0, issued_by(onset.judged))
        parts.append(_renewed(row))
    return ", ".join(part for part in parts if part)


def _silent(onset: Onset) -> str:
    """
    Return that the registry does not say whether a domain was paid for, in words; empty where it does.
    """
    hazards = onset.known.facts.hazards if onset.known.facts is not None else ()
    is_said = onset.reason != Hazard.DOMAIN_AUTO_RENEW or onset.reason in {one.hazard for one in hazards}
    return "" if is_said else SILENT


def _renewed(row: ProblemRow) -> str:
    """
    Return in words what is known of a renewal, which was not deployed here; empty when nothing is.
    """
    newer, renewed = row.found.newer, row.found.renewed
    if renewed is not None and (newer is None or newer <= renewed.issuance.not_after):
        doubt = "" if renewed.sure else "perhaps "
        return f"{doubt}renewed but not deployed: {issued(renewed)}"
    return f"renewed but not deployed: one until {date(newer)} is known" if newer is not None else ""


def issued(renewed: Renewed) -> str:
    """
    Return what a log knows of a renewal, in words.
    """
    one = renewed.issuance
    return f"one until {date(one.not_after)} was issued on {date(one.not_before)} ({one.reference})"


def issued_by_stranger(stranger: Stranger) -> str:
    """
    Return what a log knows of a certificate that none of the expected CAs issued, in words.
    """
    one = stranger.issuance
    return (
        f"a certificate for {some(one.names)} was issued by {printable(one.organization)} on "
        f"{date(one.not_before)} ({one.reference}), no target shows it, expected is "
        f"{some(stranger.expected, ' or ')}"
    )


def some(names: Sequence[str], between: str = ", ") -> str:
    """
    Return the first few of the names, and how many more there are.
    """
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{between.join(map(printable, names[:NAMED]))}{more}"


def _leaf(onset: Onset) -> Item | None:
    """
    Return the leaf that is presented where the problem is, if one is.
    """
    items = onset.known.facts.items if onset.known.facts is not None else ()
    return next((item for item in items if item.kind is Kind.LEAF and item.name != "client"), None)


def _is_one_of_several(onset: Onset) -> bool:
    return onset.known.one_of_several and onset.problem is Problem.NOT_TRUSTED


def _presented(onset: Onset) -> str:
    """
    Return the name and the issuer of a certificate that clients refuse, and the issuer of the one before it.
    """
    leaf = _leaf(onset) if onset.problem is Problem.NOT_TRUSTED else None
    if leaf is None or leaf.certificate is None:
        return ""
    name = (
        printable(leaf.certificate.common_name or leaf.certificate.subject) or "a certificate without subject"
    )
    before = onset.known.past.previous.get(leaf.name)
    was = issuer_of(before) if before is not None and not _is_one_of_several(onset) else ""
    earlier = f" (before it one by {was})" if was and was != issuer_of(leaf) else ""
    return f"presented is {name} by {issuer_of(leaf)}{earlier}"


def _last_well(onset: Onset) -> str:
    """
    Return the time at which the endpoint was last accepted, or last seen, in words.
    """
    past, seen_at = onset.known.past, onset.known.seen_at
    if onset.problem is Problem.NOT_TRUSTED:
        return f"accepted until {date(past.trusted_at)}" if past.trusted_at is not None else "never accepted"
    if onset.problem is Problem.PROBE_FAILING:
        return f"last seen {date(seen_at)}" if seen_at is not None else "never seen"
    return ""


def _reached(onset: Onset) -> str:
    """
    Return the reason why the endpoint can't be seen now, or that a handshake shows DNS and TCP to be fine.
    """
    observation, judged = onset.known.observation, onset.judged
    if isinstance(observation, Failed):
        return observation.reason
    shown = onset.known.facts is not None and onset.known.facts.tls is not None
    is_leaf = judged is not None and judged.item.kind is Kind.LEAF and judged.item.name != "client"
    return "DNS and TCP fine" if shown and is_leaf else ""


def issued_by(judged: JudgedItem) -> str:
    """
    Return who issued a certificate that none of the expected CAs issued, and who those are, in words.
    """
    return f"issued by {issuer_of(judged.item)}, expected is {some(judged.foreign, ' or ')}"


def _compared(onset: Onset, item: Item, *, changed: bool) -> str:
    """
    Return a comparison with what was there before, or is there in turn, in words; empty for none.
    """
    if item.name == "client":
        return ""
    if onset.known.one_of_several:
        return SEVERAL
    if item.kind is not Kind.LEAF:
        return ""
    past, seen = onset.known.past, onset.known.seen_at
    before, trusted_at = past.previous.get(item.name), past.trusted_at
    if before is not None and rolled_back_at(onset.known, item) is not None:
        return f"an older one is served again: the one before it expires on {date(before.not_after)}"
    if changed and before is not None:
        return f"issuer and key changed lately, from {issuer_of(before)} to {issuer_of(item)}"
    # Clients accepted it, and it came before the last probe; or its predecessor had the same.
    came = past.changed_at.get(item.name, past.first_at)
    came = trusted_at if came is None else came
    accepted = came is not None and trusted_at is not None and seen is not None and came <= trusted_at
    same = accepted and came != seen
    same = same or (before is not None and identity_of(before) == identity_of(item) is not None)
    return "same key and issuer as before" if same else ""


def _habit(judged: JudgedItem, seen_at: float | None) -> str:
    """
    Return how often the item was renewed and until when; empty while that is not known, and in its rhythm.
    """
    age = seen_at - judged.item.not_before if seen_at is not None else 0.0
    if judged.rhythm is None or age <= judged.rhythm + DAY:
        return ""
    # In whole days, so that it is the same text all day long.
    return f"it was renewed every {rounded(judged.rhythm)} until {age // DAY:.0f} d ago"


def issuer_of(item: Item) -> str:
    """
    Return the organization that issued an item, or its name; `none` when it has no certificate.
    """
    return printable(item.certificate.issuer_organization) if item.certificate is not None else "none"


def _where(row: ProblemRow, same: frozenset[str]) -> str:
    onset, more = row.found.onset, row.found.endpoints - 1
    if onset.stranger is not None:
        one = onset.stranger.issuance
        others = len({other.stranger for other in row.found.onsets}) - 1
        text = f"in public logs (issuer {one.issuer}, serial {one.serial or 'not told'})"
        return text + (f"; also {others} more" if others else "")
    text = onset.known.location + (f" and {more} more" if more else "")
    certificate, leaf = _certificate(onset), _leaf(onset)
    if onset.problem is Problem.NOT_TRUSTED and leaf is not None:
        certificate = leaf.certificate
    if certificate is not None:
        names = f"subject {certificate.subject or 'empty'}, issuer {certificate.issuer}"
        text += f" ({names}, serial {certificate.serial})"
    if same:
        named = ", ".join(sorted(same)[:NAMED])
        text += f"; also {named}" + (f" and {len(same) - NAMED} more" if len(same) > NAMED else "")
    return text


def advice_of(onset: Onset) -> str:
    """
    Return what to do first about the problem.
    """
    if onset.stranger is not None:
        return advice.FOREIGN_ISSUANCE
    match onset.problem:
        case Problem.PROBE_FAILING:
            return advice.FAILURES[Reason(onset.reason)]
        case Problem.NOT_TRUSTED:
            return advice.FAULTS[Fault(onset.reason)]
        case Problem.DOMAIN_STATUS | Problem.RENEWAL_BLOCKED:
            return advice.HAZARDS[Hazard(onset.reason)]
        case Problem.WENT_BACKWARDS:
            return advice.ROLLED_BACK
        case Problem.IDENTITY_CHANGED:
            return advice.IDENTITY_CHANGED
        case Problem.FOREIGN_ISSUER:
            return advice.FOREIGN_ISSUER
        case Problem.NOT_DEPLOYED:
            return advice.NOT_DEPLOYED
        case Problem.UNWATCHED:
            return advice.UNWATCHED
    assert onset.judged is not None
    if onset.judged.needless:
        return advice.NEEDLESS
    judged, known = onset.judged, onset.known
    renew = advice.renewal(judged.item.kind, judged.policy)
    renewer = known.facts.renewer if known.facts is not None else ""
    places = (known.target.url.text, known.location)
    return renew + advice.policy_hint(judged.item, judged.policy, places, renewer)
