"""
Words for values on the dashboards.
"""

from exporter.model.policies import Severity
from exporter.model.problems import MEANINGS, Problem
from exporter.model.reasons import Kind
from exporter.report import advice
from grafana import panels
from grafana.panels import Word
from grafana.queries import UNCHECKED

_PROBLEMS = {
    Problem.PASSED: "expired",
    Problem.SOON: "expires soon",
    Problem.RENEWAL_OVERDUE: "renewal overdue",
    Problem.NOT_DEPLOYED: "not deployed",
    Problem.CHAIN_ENDS_FIRST: "chain expires first",
    Problem.AUTHORITY_ENDING: "CA expires soon",
    Problem.DOMAIN_ENDING: "domain expires soon",
    Problem.SIGNATURE_STALE: "signature stale",
    Problem.WENT_BACKWARDS: "older one is back",
    Problem.IDENTITY_CHANGED: "issuer and key changed",
    Problem.FOREIGN_ISSUER: "unexpected issuer",
    Problem.NOT_TRUSTED: "clients refuse it",
    Problem.PROBE_FAILING: "can't be seen",
    Problem.DOMAIN_STATUS: "domain at risk",
    Problem.RENEWAL_BLOCKED: "renewal blocked",
    Problem.UNWATCHED: "hosts not watched",
}

_UNCHECKED = Word("can't be checked", panels.UNKNOWN)

PROBLEMS = panels.words(
    {problem: Word(text) for problem, text in _PROBLEMS.items()} | {UNCHECKED: Word(_UNCHECKED.text)}
)

RUNBOOKS = panels.words({problem: Word(meaning.alert) for problem, meaning in MEANINGS.items()})
"""The alert of each problem, which is the name of its runbook."""

NOTHING = "nothing"
"""Stands where a target has no problem."""

SEVERITIES = panels.words(
    {
        Severity.CRITICAL: Word("critical", panels.CRITICAL),
        Severity.WARNING: Word("warning", panels.WARNING),
        "unknown": Word("unknown", panels.UNKNOWN),
        NOTHING: Word("OK", panels.QUIET),
    }
)

WORST = panels.words(
    {
        f"{severity} {problem}": Word(text, colour)
        for problem, text in _PROBLEMS.items()
        for severity, colour in ((Severity.CRITICAL, panels.CRITICAL), (Severity.WARNING, panels.WARNING))
    }
    | {f"unknown {UNCHECKED}": _UNCHECKED, NOTHING: Word("nothing is wrong", panels.QUIET)}
)
"""A problem with its severity as colour."""

SORTS = panels.words(
    {
        "refused": Word("clients refuse it", panels.WARNING),
        "failed": Word("probe failed", panels.UNKNOWN),
        "later": Word("will fail later", panels.YELLOW),
        "unchecked": Word("not checked", panels.UNKNOWN),
    }
)

KIND_NAMES: dict[str, str] = {
    Kind.LEAF: "certificate",
    Kind.CRL: "revocation list",
    Kind.OCSP: "OCSP response",
    Kind.REGISTRATION: "domain registration",
    Kind.DNSSEC: "zone signature",
    Kind.SSH: "SSH certificate",
    Kind.AUTHORITY: "CA certificate",
}
"""The others are called as they are."""

KINDS = panels.words({kind: Word(name) for kind, name in KIND_NAMES.items()})

_TEXTS = [
    *(*advice.FAILURES.items(), *advice.FAULTS.items(), *advice.HAZARDS.items()),
    *advice.LOOKUPS.items(),
]

ADVICE = panels.words({str(value): Word(text.replace("`", "")) for value, text in _TEXTS})
"""Advice for a reason, or for a look-up."""

HEALTH = panels.words(
    {
        "0": Word("probe failed", panels.UNKNOWN),
        "1": Word("probe failed, accepted before", panels.UNKNOWN),
        "2": Word("clients refuse it", panels.WARNING),
        "3": Word("accepted", panels.QUIET),
    }
)
"""2 when the last probe saw it, and 1 more when clients would accept the facts last seen."""

YES = panels.words({"1": Word("yes", panels.QUIET), "0": Word("NO", panels.CRITICAL)})
