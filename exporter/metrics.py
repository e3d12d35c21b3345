"""
Metrics: verdicts and held facts as lines of the Prometheus text format.

Pure. The lines of an endpoint that did not change are remembered, since writing
them costs as much as a handshake's own arithmetic; the process's own metrics are
left to prometheus-client (see `web`). Our families are all gauges, whose lines
are the same in the text format and in OpenMetrics.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from exporter.foreign_text import printable_lines
from exporter.judgement import JudgedItem, Verdict
from exporter.memory import Held
from exporter.observation import Certificate, Failed, Kind
from exporter.policies import Severity
from exporter.targets import Target

LABEL_LIMIT = 256
"""Characters of a label value that comes from a certificate."""


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """
    One metric: its name, its HELP text, and the labels that its series have. Each is equal to itself only.
    """

    name: str
    help: str
    labels: tuple[str, ...] = ()


_ITEM = ("target", "endpoint", "item", "kind")
_ENDPOINT = ("target", "endpoint")

NOT_AFTER = Family(
    "expiry_not_after_timestamp_seconds",
    "When the item ends, in seconds since the epoch. "
    "Held at its last seen value while the endpoint cannot be seen.",
    _ITEM,
)
NOT_BEFORE = Family(
    "expiry_not_before_timestamp_seconds", "When the item began, in seconds since the epoch.", _ITEM
)
RENEWAL_DUE = Family(
    "expiry_renewal_due_timestamp_seconds",
    "When a healthy renewer would have replaced the item, by the target's policy.",
    _ITEM,
)
ALERT = Family(
    "expiry_alert_timestamp_seconds",
    "When a person should be told about the item, by the target's policy and the item's lifetime.",
    (*_ITEM, "severity"),
)
NEWEST = Family(
    "expiry_newest_not_after_timestamp_seconds",
    "The latest end seen anywhere for an item of the same names and kind of key. "
    "What clients refuse for what it is does not count beside what they accept. "
    "Later than expiry_not_after_timestamp_seconds: renewed but not deployed here.",
    _ITEM,
)
PREVIOUS_NOT_AFTER = Family(
    "expiry_previous_not_after_timestamp_seconds",
    "When the item ended that was there before the present one. Absent until it changed for the first time.",
    _ITEM,
)
PREVIOUS_NOT_BEFORE = Family(
    "expiry_previous_not_before_timestamp_seconds",
    "When the item began that was there before the present one. Absent until it changed for the first time.",
    _ITEM,
)
IDENTITY_CHANGED = Family(
    "expiry_identity_changed_timestamp_seconds",
    "When issuer and key of a leaf last changed together outside any renewal window, and not back to those "
    "before. Absent if they never did.",
    _ITEM,
)
ROLLED_BACK = Family(
    "expiry_rolled_back_timestamp_seconds",
    "When an older leaf came back; three hours later after a change shortly before. "
    "Absent while the newest is there.",
    _ITEM,
)
RENEWAL_WINDOW = Family(
    "expiry_renewal_window_start_timestamp_seconds",
    "When the window begins in which the item's issuer wants it renewed (RFC 9773). "
    "Absent where the issuer said nothing.",
    _ITEM,
)
RENEWAL_EXPLANATION = Family(
    "expiry_renewal_explanation_info",
    "The page on which the item's issuer says why it wants it renewed then. Always 1.",
    (*_ITEM, "explanation_url"),
)
LAST_SEEN = Family(
    "expiry_last_seen_timestamp_seconds",
    "When the facts exported for the endpoint were really seen. Absent if they never were.",
    _ENDPOINT,
)
CERTIFICATE = Family(
    "expiry_certificate_info",
    "The certificate that is this item now. Always 1.",
    ("target", "endpoint", "item", "subject", "issuer", "serial", "fingerprint_sha256", "key"),
)
TLS = Family(
    "expiry_tls_info",
    "What the last finished handshake agreed on. Always 1.",
    ("target", "endpoint", "protocol", "cipher"),
)
SUCCESS = Family(
    "expiry_probe_success", "1 if the endpoint was seen without a failure in this scrape, else 0.", _ENDPOINT
)
DURATION = Family(
    "expiry_probe_duration_seconds", "How long the look at the endpoint took in this scrape.", _ENDPOINT
)
FAILURE = Family(
    "expiry_probe_failure_info",
    "Why the look at the endpoint failed in this scrape. 1 for that reason, absent when it did not.",
    (*_ENDPOINT, "reason"),
)
VERIFIED = Family(
    "expiry_verification_success",
    "1 if a normal client would accept what the endpoint presents, else 0. Absent if nothing was ever seen.",
    _ENDPOINT,
)
LAST_VERIFIED = Family(
    "expiry_verification_last_success_timestamp_seconds",
    "When a normal client would last have accepted the endpoint. Absent if it never would.",
    _ENDPOINT,
)
FAULT = Family(
    "expiry_verification_failure_info",
    "Why a normal client would refuse the endpoint. 1 for each fault found.",
    (*_ENDPOINT, "reason"),
)
HAZARD = Family(
    "expiry_hazard_info",
    "What will stop clients, or the next renewal, though nothing is wrong by now. 1 for each found.",
    (*_ENDPOINT, "reason"),
)
LOOKUP_FAILURE = Family(
    "expiry_lookup_failure_info",
    "What was asked of others about what is there, and gave nothing the last time: revocation by its list "
    "(crl) or responder (ocsp), renewal_information, or dns. 1 for each reason, absent otherwise. See if the "
    "exporter's host may reach whom it asks; the target's page says who that is.",
    (*_ENDPOINT, "lookup", "reason"),
)
TARGET = Family(
    "expiry_target_info",
    "Always 1, for every configured target, whatever its probe gave. Carries the user's labels too.",
    ("target", "prober", "policy"),
)
LEFT_OUT = Family(
    "expiry_target_left_out_endpoints",
    "Endpoints of the target that are not probed: addresses above the limit, or without a route from here.",
    ("target",),
)
SWEEP_DURATION = Family(
    "expiry_sweep_duration_seconds", "How long looking at all endpoints took in this scrape."
)
SWEEP_TIMEOUT = Family(
    "expiry_sweep_timeout_seconds",
    "How long it might have taken: the scrape's timeout less an offset and what the answer takes.",
)
SWEEP_COMPLETE = Family(
    "expiry_sweep_complete", "1 if every endpoint was looked at before the scrape's deadline, else 0."
)
SWEEP_TIME = Family(
    "expiry_sweep_timestamp_seconds",
    "When the sweep of this scrape was over, by the clock of the exporter's host.",
)
SWEEP_TARGETS = Family("expiry_sweep_targets", "Targets that the sweep of this scrape looked at.")
SWEEP_ENDPOINTS = Family("expiry_sweep_endpoints", "Endpoints that the sweep of this scrape looked at.")
SWEEP_FAILURES = Family("expiry_sweep_failures", "Endpoints whose look failed in this scrape.")
RELOAD_SUCCESS = Family(
    "expiry_config_last_reload_successful",
    "1 if the configuration was good when it was last loaded; 0: the one before it is still in use.",
)
RELOAD_TIME = Family(
    "expiry_config_last_reload_success_timestamp_seconds",
    "When the configuration in use was loaded, in seconds since the epoch.",
)
STATE_SUCCESS = Family(
    "expiry_state_last_save_successful",
    "1 if held facts could be written to --state.path last time, else 0. Absent without --state.path.",
)
CACHE_BYTES = Family(
    "expiry_cache_bytes",
    "Bytes that are remembered of what was made of certificates and answers, by cache.",
    ("cache",),
)
CACHE_ENTRIES = Family("expiry_cache_entries", "How many things are remembered, by cache.", ("cache",))
CACHE_LIMIT = Family(
    "expiry_cache_limit_bytes",
    "Bytes that all caches together may hold; what was not asked for longest goes first.",
)
WEB = Family(
    "expiry_web_info",
    "Where people reach the exporter's pages (--web.external-url). Always 1. Absent without that flag.",
    ("external_url",),
)
BUILD = Family(
    "expiry_build_info",
    "The exporter's version and its libraries'. Always 1.",
    ("version", "python", "openssl"),
)

ENDPOINT_FAMILIES = (
    NOT_AFTER,
    NOT_BEFORE,
    RENEWAL_DUE,
    ALERT,
    NEWEST,
    PREVIOUS_NOT_AFTER,
    PREVIOUS_NOT_BEFORE,
    IDENTITY_CHANGED,
    ROLLED_BACK,
    RENEWAL_WINDOW,
    RENEWAL_EXPLANATION,
    LAST_SEEN,
    CERTIFICATE,
    TLS,
    SUCCESS,
    DURATION,
    FAILURE,
    VERIFIED,
    LAST_VERIFIED,
    FAULT,
    HAZARD,
    LOOKUP_FAILURE,
)
"""Families with series for each endpoint."""

FAMILIES = (
    *ENDPOINT_FAMILIES,
    TARGET,
    LEFT_OUT,
    SWEEP_DURATION,
    SWEEP_TIMEOUT,
    SWEEP_COMPLETE,
    SWEEP_TIME,
    SWEEP_TARGETS,
    SWEEP_ENDPOINTS,
    SWEEP_FAILURES,
    RELOAD_SUCCESS,
    RELOAD_TIME,
    STATE_SUCCESS,
    CACHE_BYTES,
    CACHE_ENTRIES,
    CACHE_LIMIT,
    WEB,
    BUILD,
)
"""Every family of ours, in the order in which they are exported."""


@dataclass(frozen=True, slots=True)
class EndpointRow:
    """
    All that is exported for one endpoint.
    """

    target: Target
    label: str
    held: Held
    verdict: Verdict | None
    """None when nothing was ever seen there."""


@dataclass(frozen=True, slots=True)
class TargetRow:
    """
    All that is exported for one target besides its endpoints.
    """

    target: Target
    prober: str
    left_out: int


Samples = dict[Family, list[tuple[tuple[tuple[str, str], ...], float]]]
"""Labels and value of each series, by family."""

Lines = dict[Family, list[str]]
"""Sample lines by family."""


def escape(value: str) -> str:
    """
    A label value as the text format wants it, valid UTF-8 whatever it was.
    """
    if not value.isprintable():
        value = printable_lines(value)
    elif '"' not in value and "\\" not in value:
        return value
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def bounded(value: str) -> str:
    """
    A value from a certificate, cut to a length that a label may have.
    """
    return value if len(value) <= LABEL_LIMIT else value[: LABEL_LIMIT - 1] + "…"


def line(family: Family, labels: Iterable[tuple[str, str]], value: float) -> str:
    """
    One sample line, with its newline.
    """
    inside = ",".join(f'{name}="{escape(text)}"' for name, text in labels)
    series = f"{family.name}{{{inside}}}" if inside else family.name
    return f"{series} {float(value)!r}\n"


Found = TypeVar("Found")
"""What is told of an item besides its end."""

_Key = tuple[object, ...]
_Ends = dict[_Key, tuple[float, Found]]


def names_key(judged: JudgedItem) -> _Key | None:
    """
    What two items have in common if one may be the renewal of the other; None for items that have no names.

    A server may hold an RSA and an ECDSA certificate for the same names: neither renews the other.
    """
    certificate = judged.item.certificate
    if certificate is None or judged.item.kind is not Kind.LEAF:
        return None
    # Sorted, not a set: a set takes four times the room, and there is one for each leaf.
    names = tuple(sorted({*certificate.dns_names, *certificate.ip_addresses}))
    return (certificate.key_algorithm, names or certificate.subject)


class Newest(Generic[Found]):
    """
    What ends last for the same names and kind of key, of all that may be the renewal of an item.

    Where clients accept something under these names, what they refuse for what it is renews nothing of it: a
    self-signed one inside of a split horizon. Where they accept nothing, all is compared with all: a fleet of
    a private authority whose certificate the exporter was not given.
    """

    __slots__ = ("_elsewhere", "_refused", "_trusted")

    def __init__(self) -> None:
        self._trusted: _Ends[Found] = {}
        self._elsewhere: _Ends[Found] = {}
        self._refused: _Ends[Found] = {}

    def add(self, key: _Key, trusted: bool | None, end: float, found: Found) -> None:
        """
        Take in an item that clients trust, refuse, or are not shown (None). The first of equal ends stays.
        """
        ends = self._trusted if trusted else self._elsewhere if trusted is None else self._refused
        before = ends.get(key)
        if before is None or before[0] < end:
            ends[key] = end, found

    def of(self, key: _Key, trusted: bool | None) -> tuple[float, Found]:
        """
        The newest end for an item that was taken in, and what was told of it. Of equal ends, a trusted one's.
        """
        found = self._trusted.get(key)
        counts_all = trusted is False or found is None
        for ends in (self._elsewhere, self._refused) if counts_all else (self._elsewhere,):
            other = ends.get(key) if ends else None
            if other is not None and (found is None or found[0] < other[0]):
                found = other
        assert found is not None
        return found


def target_line(target: Target, prober: str) -> str:
    """
    The line of `expiry_target_info`.
    """
    labels = (("target", target.name), ("prober", prober), ("policy", target.policy.name), *target.labels)
    return line(TARGET, labels, 1)


def left_out_line(name: str, count: int) -> str:
    """
    The line of `expiry_target_left_out_endpoints`.
    """
    return f'{LEFT_OUT.name}{{target="{escape(name)}"}} {count}.0\n'


class Exposition:
    """
    Writes the text, and remembers the lines of endpoints that did not change.
    """

    def __init__(self) -> None:
        self._blocks: dict[tuple[str, str], _Block] = {}

    def text(self, targets: Sequence[TargetRow], endpoints: Sequence[EndpointRow], own: Samples) -> str:
        """
        The whole text, without what ends an OpenMetrics document.
        """
        return "".join(self.parts(targets, endpoints, own))

    def parts(
        self, targets: Sequence[TargetRow], endpoints: Sequence[EndpointRow], own: Samples
    ) -> Iterator[str]:
        """
        The text of each family. Of a large fleet the whole has tens of megabytes: nobody need hold it twice.
        """
        lines: Lines = {family: [] for family in FAMILIES}
        blocks = {(row.target.name, row.label): self._block(row) for row in endpoints}
        self._blocks = blocks
        newest: Newest[None] = Newest()
        for block in blocks.values():
            for key, trusted, end, _ in block.newest:
                newest.add(key, trusted, end, None)
        for row in endpoints:
            blocks[row.target.name, row.label].add_to(lines, row.held, newest)
        for target in targets:
            lines[TARGET].append(target_line(target.target, target.prober))
            lines[LEFT_OUT].append(left_out_line(target.target.name, target.left_out))
        for family, samples in own.items():
            lines[family] += [line(family, labels, value) for labels, value in samples]
        for family in FAMILIES:
            # Taken out, so that lines that were made for this answer only go with their family.
            found = lines.pop(family)
            if found:
                yield f"# HELP {family.name} {family.help}\n# TYPE {family.name} gauge\n{''.join(found)}"

    def prepare(self, row: EndpointRow) -> None:
        """
        Make the lines of an endpoint, before the text that they will be part of.
        """
        self._blocks[row.target.name, row.label] = self._block(row)

    def _block(self, row: EndpointRow) -> "_Block":
        block = self._blocks.get((row.target.name, row.label))
        if block is None or block.verdict is not row.verdict or block.facts is not row.held.facts:
            block = _Block(row)
        return block


class _Block:
    """
    The lines of one endpoint. All but the newest end, the last look and its time stay while the verdict does.
    """

    __slots__ = ("_fixed", "_look", "facts", "newest", "verdict")

    def __init__(self, row: EndpointRow) -> None:
        self.verdict = row.verdict
        self.facts = row.held.facts
        self._look = "{" + f'target="{escape(row.target.name)}",endpoint="{escape(row.label)}"'
        # Family, labels, and what follows them. The lines are put together anew each time: most of each is
        # its labels, which are one text for all lines of an item.
        self._fixed: list[tuple[Family, str, str]] = []
        self.newest: list[tuple[_Key, bool | None, float, str]] = []
        if row.verdict is not None:
            for judged in row.verdict.items:
                self._add_item(judged)
            if row.held.facts is not None and row.held.facts.presented:
                self._add(VERIFIED, self._look, not row.verdict.faults)
            for fault in row.verdict.faults:
                self._add(FAULT, self._look, 1, f',reason="{fault.fault}"')
        if row.held.facts is not None:
            for hazard in row.held.facts.hazards:
                self._add(HAZARD, self._look, 1, f',reason="{hazard.hazard}"')
            for lookup, reason in dict.fromkeys(
                (one.lookup, one.reason) for one in row.held.facts.unanswered
            ):
                self._add(LOOKUP_FAILURE, self._look, 1, f',lookup="{lookup}",reason="{reason}"')
        if row.held.facts is not None and row.held.facts.tls is not None:
            tls = row.held.facts.tls
            agreed = f',protocol="{escape(tls.protocol)}",cipher="{escape(tls.cipher)}"'
            self._add(TLS, self._look, 1, agreed)

    def _add(self, family: Family, labels: str, value: float, more: str = "") -> None:
        self._fixed.append((family, labels, f"{more}}} {float(value)!r}\n"))

    def _add_item(self, judged: JudgedItem) -> None:
        item = judged.item
        labels = f'{self._look},item="{escape(item.name)}",kind="{item.kind}"'
        if item.kind is not Kind.ROOT:
            # A root that is served is not what clients use: its end must not look like the server's.
            self._add(NOT_AFTER, labels, item.not_after)
            self._add(NOT_BEFORE, labels, item.not_before)
        if judged.deadlines is not None:
            due = judged.deadlines
            self._add(RENEWAL_DUE, labels, due.renewal_due)
            self._add(ALERT, labels, due.warning, f',severity="{Severity.WARNING}"')
            self._add(ALERT, labels, due.critical, f',severity="{Severity.CRITICAL}"')
        if item.renewal is not None and item.renewal.begin is not None:
            self._add(RENEWAL_WINDOW, labels, item.renewal.begin)
        if item.renewal is not None and item.renewal.explanation_url:
            url = escape(bounded(item.renewal.explanation_url))
            self._add(RENEWAL_EXPLANATION, labels, 1, f',explanation_url="{url}"')
        if item.certificate is not None:
            what = "".join(f',{name}="{escape(text)}"' for name, text in certificate_labels(item.certificate))
            self._add(CERTIFICATE, self._look, 1, f',item="{escape(item.name)}"{what}')
        key = names_key(judged)
        if key is not None:
            self.newest.append((key, judged.trusted, item.not_after, labels))

    def add_to(self, lines: Lines, held: Held, newest: Newest[None]) -> None:
        for family, labels, tail in self._fixed:
            lines[family].append(f"{family.name}{labels}{tail}")
        for key, trusted, _, labels in self.newest:
            end, _ = newest.of(key, trusted)
            lines[NEWEST].append(f"{NEWEST.name}{labels}}} {end!r}\n")
        look = self._look
        self._add_past(lines, held)
        if held.seen_at is not None:
            lines[LAST_SEEN].append(f"{LAST_SEEN.name}{look}}} {held.seen_at:.3f}\n")
        lines[DURATION].append(f"{DURATION.name}{look}}} {held.duration:.6f}\n")
        if isinstance(held.observation, Failed):
            lines[SUCCESS].append(f"{SUCCESS.name}{look}}} 0.0\n")
            lines[FAILURE].append(f'{FAILURE.name}{look},reason="{held.observation.reason}"}} 1.0\n')
        else:
            lines[SUCCESS].append(f"{SUCCESS.name}{look}}} 1.0\n")

    def _add_past(self, lines: Lines, held: Held) -> None:
        past = held.past
        if past.trusted_at is not None:
            lines[LAST_VERIFIED].append(f"{LAST_VERIFIED.name}{self._look}}} {past.trusted_at:.3f}\n")
        if not past.previous or held.facts is None:
            return
        for item in held.facts.items:
            before = past.previous.get(item.name)
            if before is None or item.kind is Kind.ROOT:
                continue
            labels = f'{self._look},item="{escape(item.name)}",kind="{item.kind}"}}'
            lines[PREVIOUS_NOT_AFTER].append(f"{PREVIOUS_NOT_AFTER.name}{labels} {before.not_after!r}\n")
            lines[PREVIOUS_NOT_BEFORE].append(f"{PREVIOUS_NOT_BEFORE.name}{labels} {before.not_before!r}\n")
            # Each is asked for once: a look may end meanwhile, in another thread.
            when = past.rolled_back_at.get(item.name)
            if when is not None:
                lines[ROLLED_BACK].append(f"{ROLLED_BACK.name}{labels} {when:.3f}\n")
            when = past.identity_changed_at.get(item.name)
            if when is not None:
                lines[IDENTITY_CHANGED].append(f"{IDENTITY_CHANGED.name}{labels} {when:.3f}\n")


def certificate_labels(certificate: Certificate) -> tuple[tuple[str, str], ...]:
    """
    What tells one certificate from another, as labels.
    """
    return (
        ("subject", bounded(certificate.subject)),
        ("issuer", bounded(certificate.issuer)),
        ("serial", bounded(certificate.serial)),
        ("fingerprint_sha256", certificate.fingerprint_sha256),
        ("key", certificate.key),
    )
