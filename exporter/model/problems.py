"""
The closed list of problems: what a person may have to do something about, and the alert that reports it.

A problem is decided in `judgement.problems` alone; metrics, rules, pages, commands and the calendar show it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from exporter.model.policies import Severity

WARNING, CRITICAL = Severity.WARNING, Severity.CRITICAL


class Problem(StrEnum):
    """
    One thing for a person to do about an item, an endpoint or a target. The values are API.
    """

    PASSED = "passed"
    SOON = "soon"
    RENEWAL_OVERDUE = "renewal_overdue"
    NOT_DEPLOYED = "not_deployed"
    CHAIN_ENDS_FIRST = "chain_ends_first"
    AUTHORITY_ENDING = "authority_ending"
    DOMAIN_ENDING = "domain_ending"
    SIGNATURE_STALE = "signature_stale"
    WENT_BACKWARDS = "went_backwards"
    IDENTITY_CHANGED = "identity_changed"
    NOT_TRUSTED = "not_trusted"
    PROBE_FAILING = "probe_failing"
    DOMAIN_STATUS = "domain_status"
    RENEWAL_BLOCKED = "renewal_blocked"


@dataclass(frozen=True, slots=True)
class Meaning:
    """
    One row of the table of problems.
    """

    alert: str
    """The name of the alert, and of its runbook."""
    summaries: Mapping[Severity, str]
    """By each severity that it may have, one sentence that says what it means."""
    hides: frozenset[Problem] = frozenset()
    """Problems of the same target and item that need not be reported beside it, if no more severe."""
    lasts: Mapping[Severity, float] = field(default_factory=dict)
    """Seconds that it must last before an alert is sent; at once where a severity is missing."""


_WAYS_TO_THE_END = frozenset(
    {
        *(Problem.RENEWAL_OVERDUE, Problem.SOON, Problem.NOT_DEPLOYED, Problem.WENT_BACKWARDS),
        *(Problem.IDENTITY_CHANGED, Problem.CHAIN_ENDS_FIRST, Problem.AUTHORITY_ENDING),
        Problem.DOMAIN_ENDING,
    }
)


MEANINGS: Mapping[Problem, Meaning] = MappingProxyType(
    {
        Problem.PASSED: Meaning(
            "ExpiryPassed", {CRITICAL: "It has run out, and clients refuse it."}, _WAYS_TO_THE_END
        ),
        Problem.SOON: Meaning(
            "ExpirySoon",
            {
                CRITICAL: "The end is so near that a person must act now.",
                WARNING: "It is time for a person to renew it.",
            },
            frozenset({Problem.RENEWAL_OVERDUE}),
        ),
        Problem.RENEWAL_OVERDUE: Meaning(
            "ExpiryRenewalOverdue", {WARNING: "An automatic renewal should have happened and did not."}
        ),
        Problem.NOT_DEPLOYED: Meaning(
            "ExpiryNotDeployed",
            {
                CRITICAL: "It was renewed, but this endpoint still serves the old one and the end is near.",
                WARNING: "It was renewed, but this endpoint still serves the old one.",
            },
            frozenset({Problem.RENEWAL_OVERDUE, Problem.SOON}),
        ),
        Problem.CHAIN_ENDS_FIRST: Meaning(
            "ExpiryChainEndsBeforeLeaf",
            {
                CRITICAL: "An intermediate certificate that is served ends before the leaf does, and soon.",
                WARNING: "An intermediate certificate that is served ends before the leaf does.",
            },
        ),
        Problem.AUTHORITY_ENDING: Meaning(
            "ExpiryAuthorityEnding",
            {
                CRITICAL: "A CA certificate of yours is near its end, and with it all that it issued.",
                WARNING: "A CA certificate of yours must be replaced, which takes long.",
            },
        ),
        Problem.DOMAIN_ENDING: Meaning(
            "ExpiryDomainEnding",
            {
                CRITICAL: "The registration of a domain is near its end, and all of its names with it.",
                WARNING: "It is time to renew the registration of a domain.",
            },
        ),
        Problem.SIGNATURE_STALE: Meaning(
            "ExpirySignatureStale",
            {
                CRITICAL: "A signed list, staple or zone is about to be refused, or is already.",
                WARNING: "A signed list, staple or zone should have been signed anew by now.",
            },
        ),
        Problem.WENT_BACKWARDS: Meaning(
            "ExpiryWentBackwards",
            {WARNING: "What is served now ends and began before what was served before."},
        ),
        Problem.IDENTITY_CHANGED: Meaning(
            "ExpiryIdentityChanged",
            {WARNING: "Issuer and key changed together long before a renewal was due."},
        ),
        Problem.NOT_TRUSTED: Meaning(
            "ExpiryNotTrusted",
            {
                CRITICAL: "Clients refuse what is served, and did not before.",
                WARNING: "Clients refuse what is served, as they have since it was first seen.",
            },
            lasts={WARNING: 900.0},
        ),
        Problem.PROBE_FAILING: Meaning(
            "ExpiryProbeFailing",
            {
                CRITICAL: "It can't be seen any more, and what was seen last is due.",
                WARNING: "It can't be seen, so nobody knows when what it serves ends.",
            },
            lasts={CRITICAL: 300.0, WARNING: 300.0},
        ),
        Problem.DOMAIN_STATUS: Meaning(
            "ExpiryDomainStatus",
            {
                CRITICAL: "The registry is taking a domain away, or has.",
                WARNING: (
                    "The registry moved the end of a domain by itself, which holds only if somebody pays."
                ),
            },
            lasts={WARNING: 900.0},
        ),
        Problem.RENEWAL_BLOCKED: Meaning(
            "ExpiryRenewalBlocked",
            {WARNING: "The next renewal will be refused as things stand in the DNS."},
            lasts={WARNING: 900.0},
        ),
    }
)
"""By problem, its row."""
