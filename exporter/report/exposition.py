"""
Metrics: verdicts and held facts as lines of the Prometheus text format.

Pure. The lines of an endpoint that did not change are reused, since writing
them costs as much as a handshake's own arithmetic. The process's own metrics are
left to prometheus-client (see `web`). All families here are gauges, whose lines
are the same in the text format and in OpenMetrics.
"""

import sys
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from operator import is_
from typing import Any

from exporter.engine.memory import EndpointMemory, ProblemRow
from exporter.engine.scrape import EndpointRow, Scrape, TargetRow
from exporter.engine.sightings import FEW
from exporter.judgement.hidden import Beside, at_each_endpoint
from exporter.judgement.issued import NONE, Issuances, newer_ends
from exporter.judgement.problems import Key, pending
from exporter.judgement.verdicts import JudgedItem, Verdict
from exporter.model.observation import Certificate, Failed, Item
from exporter.model.policies import Severity
from exporter.model.reasons import Kind
from exporter.model.schemes import SCHEMES
from exporter.model.targets import Target
from exporter.report.compat import Theirs, read_errors
from exporter.report.compat_families import X509_READ_ERRORS, families
from exporter.report.families import (
    ALERT,
    CERTIFICATE,
    DURATION,
    FAILURE,
    FAMILIES,
    FAULT,
    FIRST_SEEN,
    HAZARD,
    IDENTITY_CHANGED,
    LAST_SEEN,
    LAST_VERIFIED,
    LEFT_OUT,
    LOOKUP_FAILURE,
    NEWEST,
    NOT_AFTER,
    NOT_BEFORE,
    PREVIOUS_NOT_AFTER,
    PREVIOUS_NOT_BEFORE,
    PROBLEM,
    PROBLEM_INFO,
    PROBLEM_PENDING,
    RENEWAL_DUE,
    RENEWAL_EXPLANATION,
    RENEWAL_HABIT,
    RENEWAL_WINDOW,
    ROLLED_BACK,
    SUCCESS,
    TARGET,
    TLS,
    UNSEEN,
    URGENCY,
    VERIFIED,
    Family,
    bounded,
    escape,
)
from exporter.report.problems import brief, end_of, fingerprint_of, is_remembered, reach, words
from exporter.report.status import WELL, onsets_at, standing

Samples = dict[Family, list[tuple[tuple[tuple[str, str], ...], float]]]
"""Labels and value of each series, by family."""


Lines = dict[Family, list[str]]
"""
Sample lines by family, most of them in pieces that stand one after the other.

Until a family is joined there is a line of each series: whole ones would take more room than the text itself.
"""


def line(family: Family, labels: Iterable[tuple[str, str]], value: float) -> str:
    """
    Return one sample line, with its newline.
    """
    inside = ",".join(f'{name}="{escape(text)}"' for name, text in labels)
    series = f"{family.name}{{{inside}}}" if inside else family.name
    return f"{series} {float(value)!r}\n"


def target_line(target: Target, prober: str, *, is_unsettled: bool = False) -> str:
    """
    Return the line of `expiry_target_info`. `is_unsettled`: see `unsettled`.
    """
    labels = (("target", target.name), ("prober", prober), ("policy", target.policy.name), *target.labels)
    # Absent where there is none: most fleets are configured by hand.
    rare = _present((("source", target.source), ("unsettled", "yes" if is_unsettled else "")))
    return line(TARGET, (*labels, *rare), 1)


def left_out_line(name: str, count: int) -> str:
    """
    Return the line of `expiry_target_left_out_endpoints` for the target of this name.
    """
    return f'{LEFT_OUT.name}{{target="{escape(name)}"}} {count}.0\n'


AT_A_TIME = 2048
"""Pieces of lines that are joined to one part of the text: a few hundred kilobytes at most."""


NEW_FOR = 900.0
"""Seconds for which an endpoint that was seen for the first time is exported as such."""


AT_FIRST = 120.0
"""Seconds from the first sight of all: what is seen so soon was there when the exporter began to watch."""


def sight_lines(
    targets: Sequence[TargetRow], endpoints: Sequence[EndpointRow], at: float
) -> Iterator[tuple[Family, str]]:
    """
    Yield lines for what was never seen, and for what was seen for the first time just before `at`.

    Of a fleet that is watched for long and can be seen there are none. By them the rules know, without
    selecting each healthy endpoint, where what was wrong before may be so still.
    """
    seen = {row.target.name for row in endpoints if row.held.seen_at is not None}
    if len(seen) < len(targets):
        for one in targets:
            if one.target.name not in seen:
                yield UNSEEN, line(UNSEEN, (("target", one.target.name), *one.target.labels), 1)
    for row in [row for row in endpoints if row.held.seen_at is None]:
        if row.target.name in seen:
            yield UNSEEN, line(UNSEEN, _place(row), 1)
    firsts = [first_at for row in endpoints if (first_at := row.held.past.first_at) is not None]
    new_since = max(at - NEW_FOR, min(firsts, default=at) + AT_FIRST)
    # In most scrapes none is new, and a look at the latest tells so.
    for row in endpoints if max(firsts, default=at) > new_since else ():
        first_at = row.held.past.first_at
        if first_at is not None and new_since < first_at <= at:
            yield FIRST_SEEN, line(FIRST_SEEN, _place(row), first_at)


def unsettled(endpoints: Sequence[EndpointRow]) -> Collection[str]:
    """
    Return the names of targets that were seen too few times to know whether several servers take turns there.
    """
    few = {row.target.name for row in endpoints if row.is_unsettled}
    return few - {row.target.name for row in endpoints if row.held.looks >= FEW} if few else few


def _place(row: EndpointRow) -> tuple[tuple[str, str], ...]:
    return ("target", row.target.name), ("location", row.label), *row.target.labels


def problem_lines(problems: Sequence[ProblemRow], external_url: str | None) -> Iterator[tuple[Family, str]]:
    """
    Yield two lines for each problem: when it ends, and the facts that a person needs.

    `external_url` is the address of the exporter's pages for people; None: it is not known.
    """
    reached = reach(problems)
    present: dict[str, list[tuple[Key, float]]] = defaultdict(list)
    for row in problems:
        onset = row.found.onset
        present[onset.known.target.name].append((onset.key, onset.at))
    beside = {name: Beside(there) for name, there in present.items()}
    for row in problems:
        onset = row.found.onset
        target, said = onset.known.target, words(row, reached, external_url)
        named = (("target", target.name), ("item", onset.item))
        about = (("problem", onset.problem), ("severity", onset.severity))
        which = (("kind", onset.kind or ""), *about, ("fingerprint_sha256", fingerprint_of(row)))
        yield PROBLEM, line(PROBLEM, _present((*named, *which, *target.labels)), end_of(row))
        text = (("cause", said.cause), ("where", said.where), ("advice", said.advice), ("text", said.text))
        other = beside[target.name].hider(onset.key) or ""
        place = ("location", onset.known.location)
        rest = (place, *text, ("hidden_by", other), ("remembered", "yes" if is_remembered(row) else ""))
        yield PROBLEM_INFO, line(PROBLEM_INFO, _present((*named, *about, *rest, *target.labels)), 1)


def pending_lines(endpoints: Iterable[EndpointRow], at: float) -> Iterator[str]:
    """
    Yield a line for each target that can't be seen at `at`, for too short a time yet to be a problem.
    """
    failing = [row.known for row in endpoints if isinstance(row.held.observation, Failed)]
    for found in pending(failing, at) if failing else ():
        row, onset = ProblemRow(found, at), found.onset
        texts, target = zip(("cause", "where", "advice"), brief(row), strict=True), onset.known.target
        about = (("target", target.name), ("problem", onset.problem), ("severity", onset.severity))
        place = ("location", onset.known.location)
        yield line(PROBLEM_PENDING, _present((*about, place, *texts, *target.labels)), end_of(row))


def urgency_lines(endpoints: Iterable[EndpointRow], problems: Sequence[ProblemRow]) -> Iterator[str]:
    """
    Yield a line for each endpoint that is not OK.
    """
    places = at_each_endpoint([row.found for row in problems]) if problems else {}
    # Most targets have none, and a look-up of each place would cost as much as all else here.
    concerned = {name for name, _ in places}
    for row in endpoints:
        stands = standing(row, onsets_at(row, places) if row.target.name in concerned else ())
        if stands is not WELL:
            target = row.target
            about = (("target", target.name), ("location", row.label), ("problem", stands.problem or ""))
            # Those by which targets are chosen: to join them at each point of a graph would be slow.
            prober = SCHEMES[target.url.scheme].prober.name
            of = (("prober", prober), ("policy", target.policy.name), ("source", target.source))
            yield line(URGENCY, _present((*about, *of, *target.labels)), stands.urgency)


def _present(labels: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    # To Prometheus an empty label is none.
    return [(name, value) for name, value in labels if value]


class Exposition:
    """
    Renders the text of a scrape, and reuses the lines of endpoints that did not change.
    """

    def __init__(self, external_url: str | None = None, exporters: Collection[str] = ()) -> None:
        """
        `external_url` is the address of the exporter's pages for people; None: it is not known. `exporters`
        are the others whose names are exported too (see `compat`).
        """
        self._external_url = external_url
        self.exporters = exporters
        self._families = (*FAMILIES, *families(exporters))
        self._blocks: dict[tuple[str, str], _Block] = {}
        self._targets: dict[str, tuple[Target, bool, str]] = {}
        """By name, the targets of the last text, whether they were unsettled, and their lines."""
        self._judged: list[Verdict | None] = []
        """The verdicts of the last text, by which newest ends were found; empty where logs know more."""

    def text(
        self,
        targets: Sequence[TargetRow],
        endpoints: Sequence[EndpointRow],
        own: Samples,
        problems: Sequence[ProblemRow] = (),
        at: float = 0.0,
        issuances: Issuances = NONE,
    ) -> str:
        """
        Return the whole text, without the `# EOF` of OpenMetrics. `own` are the exporter's own samples.

        `at` is the time of the scrape in seconds since the epoch: what is new, what other exporters say, and
        what logs know (`issuances`) goes by it.
        """
        return "".join(self._parts(targets, endpoints, own, problems, at, issuances))

    def parts(self, scrape: Scrape, own: Samples) -> Iterator[str]:
        """
        Yield the text in parts, since the whole may have tens of megabytes and need not be held twice.
        """
        yield from self._parts(
            scrape.targets, scrape.endpoints, own, scrape.problems, scrape.at, scrape.issuances
        )

    def _parts(
        self,
        targets: Sequence[TargetRow],
        endpoints: Sequence[EndpointRow],
        own: Samples,
        problems: Sequence[ProblemRow],
        at: float,
        issuances: Issuances,
    ) -> Iterator[str]:
        lines: Lines = {family: [] for family in self._families}
        blocks = [self._block(row) for row in endpoints]
        self._blocks = {
            (row.target.name, row.label): block for row, block in zip(endpoints, blocks, strict=True)
        }
        self._compare(blocks, endpoints, issuances, at)
        for row, block in zip(endpoints, blocks, strict=True):
            block.add_to(lines, row.held, at)
        if X509_READ_ERRORS in lines and (unread := read_errors(endpoints)) is not None:
            lines[X509_READ_ERRORS].append(line(X509_READ_ERRORS, (), unread))
        lines[TARGET] += self._target_lines(targets, unsettled(endpoints))
        for target in targets:
            if target.left_out:
                lines[LEFT_OUT].append(left_out_line(target.target.name, target.left_out))
        for family, text in sight_lines(targets, endpoints, at):
            lines[family].append(text)
        for family, text in problem_lines(problems, self._external_url):
            lines[family].append(text)
        lines[PROBLEM_PENDING] += pending_lines(endpoints, at)
        lines[URGENCY] += urgency_lines(endpoints, problems)
        for family, samples in own.items():
            lines[family] += [line(family, labels, value) for labels, value in samples]
        for family in self._families:
            # Taken out, so that lines that were made for this answer only go with their family.
            found = lines.pop(family)
            if found:
                yield f"# HELP {family.name} {family.help}\n# TYPE {family.name} gauge\n"
            for begin in range(0, len(found), AT_A_TIME):
                yield "".join(found[begin : begin + AT_A_TIME])

    def _compare(
        self,
        blocks: Sequence["_Block"],
        endpoints: Sequence[EndpointRow],
        issuances: Issuances,
        at: float,
    ) -> None:
        """
        Compare each leaf with all others, unless these are those of the last text.
        """
        judged = [verdict for row in endpoints for verdict in (row.verdict, *row.before)]
        same = len(judged) == len(self._judged) and all(map(is_, judged, self._judged))
        if same and issuances is NONE and all(block.is_compared for block in blocks):
            return
        self._judged = judged if issuances is NONE else []
        leaves = [leaf for block in blocks for leaf in block.compared()]
        ends = iter(newer_ends(leaves, judged, issuances, at))
        for block in blocks:
            block.take_newer(ends)

    def _target_lines(self, targets: Sequence[TargetRow], few: Collection[str]) -> list[str]:
        """
        Return the lines of `expiry_target_info`, each of which is the same while the target is, and while it
        is among the `few` that are unsettled or is not.
        """
        before, self._targets = self._targets, {}
        for row in targets:
            name, is_unsettled = row.target.name, row.target.name in few
            known = before.get(name)
            if known is None or known[0] is not row.target or known[1] is not is_unsettled:
                text = target_line(row.target, row.prober, is_unsettled=is_unsettled)
                known = row.target, is_unsettled, text
            self._targets[name] = known
        return [text for _, _, text in self._targets.values()]

    def prepare(self, row: EndpointRow) -> None:
        """
        Render the lines of an endpoint ahead of the text that they will be part of.
        """
        self._blocks[row.target.name, row.label] = self._block(row)

    def _block(self, row: EndpointRow) -> "_Block":
        block = self._blocks.get((row.target.name, row.label))
        if block is None or block.verdict is not row.verdict or block.facts is not row.held.facts:
            block = _Block(row, self.exporters)
        return block


class _Block:
    """
    The lines of one endpoint. They are valid while verdict and facts are the same objects.

    What is newer elsewhere is compared when some verdict has changed, and the result of the last probe is
    written each time.
    """

    __slots__ = ("_endpoint", "_fixed", "_newer", "_theirs", "facts", "verdict")

    def __init__(self, row: EndpointRow, exporters: Collection[str]) -> None:
        self.verdict = row.verdict
        self.facts = row.held.facts
        self._endpoint = "{" + f'target="{escape(row.target.name)}",location="{escape(row.label)}"'
        self._theirs = Theirs(row, exporters, self._endpoint) if exporters else None
        # Family, and what follows the labels of the endpoint, and so on: a tuple for each two would take as
        # much again. The lines are put together anew each time: most of each is these labels, one for all.
        self._fixed: list[Any] = []
        self._newer: Sequence[str] | None = None
        """Lines of ends that are newer elsewhere; None until they were compared."""
        if row.verdict is not None:
            for judged in row.verdict.items:
                self._add_item(judged)
            if row.held.facts is not None and row.held.facts.presented:
                self._add(VERIFIED, not row.verdict.faults)
            for fault in row.verdict.faults:
                self._add(FAULT, 1, f',reason="{fault.fault}"')
        if row.held.facts is not None:
            for hazard in row.held.facts.hazards:
                self._add(HAZARD, 1, f',reason="{hazard.hazard}"')
            for lookup, reason in dict.fromkeys(
                (one.lookup, one.reason) for one in row.held.facts.unanswered
            ):
                self._add(LOOKUP_FAILURE, 1, f',lookup="{lookup}",reason="{reason}"')
        if row.held.facts is not None and row.held.facts.tls is not None:
            tls = row.held.facts.tls
            agreed = f',protocol="{escape(tls.protocol)}",cipher="{escape(tls.cipher)}"'
            self._add(TLS, 1, agreed)

    def _add(self, family: Family, value: float, more: str = "") -> None:
        # Most are those of other endpoints too, all of the same intermediate for example: kept once.
        self._fixed += (family, sys.intern(f"{more}}} {float(value)!r}\n"))

    def _add_item(self, judged: JudgedItem) -> None:
        item, labels = judged.item, _labels(judged.item)
        if item.kind is not Kind.ROOT:
            # A root that is served is not what clients use: its end must not look like the server's.
            self._add(NOT_AFTER, item.not_after, labels)
            self._add(NOT_BEFORE, item.not_before, labels)
        if judged.deadlines is not None:
            due = judged.deadlines
            self._add(RENEWAL_DUE, due.renewal_due, labels)
            self._add(ALERT, due.warning, f'{labels},severity="{Severity.WARNING}"')
            self._add(ALERT, due.critical, f'{labels},severity="{Severity.CRITICAL}"')
            if judged.rhythm is not None:
                self._add(RENEWAL_HABIT, judged.rhythm, labels)
        if item.renewal is not None and item.renewal.begin is not None:
            self._add(RENEWAL_WINDOW, item.renewal.begin, labels)
        if item.renewal is not None and item.renewal.explanation_url:
            url = f',explanation_url="{escape(bounded(item.renewal.explanation_url))}"'
            self._add(RENEWAL_EXPLANATION, 1, labels + url)
        if item.certificate is not None:
            what = "".join(f',{name}="{escape(text)}"' for name, text in certificate_labels(item.certificate))
            self._add(CERTIFICATE, 1, f',item="{escape(item.name)}"{what}')

    @property
    def is_compared(self) -> bool:
        """
        True once its leaves were compared with all others.
        """
        return self._newer is not None

    def compared(self) -> list[JudgedItem]:
        """
        Return its leaves that are compared with all others.
        """
        return [one for one in self.verdict.items if one.kin is not None] if self.verdict is not None else []

    def take_newer(self, ends: Iterator[float | None]) -> None:
        """
        Take the newer end of each of its leaves, or None, from what was found of all.
        """
        begin = NEWEST.name + self._endpoint
        # Not one more than it has leaves: the next one is for the next endpoint.
        pairs = zip(self.compared(), ends, strict=False)
        found = [f"{begin}{_labels(one.item)}}} {end!r}\n" for one, end in pairs if end is not None]
        self._newer = tuple(found)

    def add_to(self, lines: Lines, held: EndpointMemory, at: float) -> None:
        """
        Append the endpoint's lines, in pieces, to those of each family.
        """
        parts, endpoint = iter(self._fixed), self._endpoint
        for family, tail in zip(parts, parts, strict=True):
            lines[family] += (family.name, endpoint, tail)
        if self._newer:
            lines[NEWEST] += self._newer
        if self._theirs is not None:
            self._theirs.add_to(lines, held, at)
        self._add_past(lines, held)
        if held.seen_at is not None:
            lines[LAST_SEEN] += (LAST_SEEN.name, endpoint, f"}} {held.seen_at:.3f}\n")
        lines[DURATION] += (DURATION.name, endpoint, f"}} {held.duration:.6f}\n")
        if isinstance(held.observation, Failed):
            lines[SUCCESS] += (SUCCESS.name, endpoint, "} 0.0\n")
            seen = ',seen="yes"' if not held.observation.saw_nothing else ""
            lines[FAILURE] += (FAILURE.name, endpoint, f',reason="{held.observation.reason}"{seen}}} 1.0\n')
        else:
            lines[SUCCESS] += (SUCCESS.name, endpoint, "} 1.0\n")

    def _add_past(self, lines: Lines, held: EndpointMemory) -> None:
        past = held.past
        if past.trusted_at is not None and past.trusted_at != held.seen_at:
            lines[LAST_VERIFIED] += (LAST_VERIFIED.name, self._endpoint, f"}} {past.trusted_at:.3f}\n")
        if not past.previous or held.facts is None:
            return
        for item in held.facts.items:
            before = past.previous.get(item.name)
            if before is None or item.kind is Kind.ROOT:
                continue
            labels = f"{self._endpoint}{_labels(item)}}}"
            lines[PREVIOUS_NOT_AFTER].append(f"{PREVIOUS_NOT_AFTER.name}{labels} {before.not_after!r}\n")
            lines[PREVIOUS_NOT_BEFORE].append(f"{PREVIOUS_NOT_BEFORE.name}{labels} {before.not_before!r}\n")
            # Each is read once: a probe may end meanwhile, in another thread.
            when = past.rolled_back_at.get(item.name)
            if when is not None:
                lines[ROLLED_BACK].append(f"{ROLLED_BACK.name}{labels} {when:.3f}\n")
            when = past.identity_changed_at.get(item.name)
            if when is not None:
                lines[IDENTITY_CHANGED].append(f"{IDENTITY_CHANGED.name}{labels} {when:.3f}\n")


def _labels(item: Item) -> str:
    """
    Return the labels of an item behind those of its endpoint.
    """
    return f',item="{escape(item.name)}",kind="{item.kind}"'


def certificate_labels(certificate: Certificate) -> tuple[tuple[str, str], ...]:
    """
    Return the labels that identify a certificate.
    """
    return (
        ("subject", bounded(certificate.subject)),
        ("issuer", bounded(certificate.issuer)),
        ("serial", bounded(certificate.serial)),
        ("fingerprint_sha256", certificate.fingerprint_sha256),
        ("key", certificate.key),
    )
