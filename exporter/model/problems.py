"""
The closed list of problems: conditions that a person may have to act on, and the alert that reports each.

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
    One condition of an item, an endpoint or a target that a person must act on. The values are API.
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
    FOREIGN_ISSUER = "foreign_issuer"
    NOT_TRUSTED = "not_trusted"
    PROBE_FAILING = "probe_failing"
    DOMAIN_STATUS = "domain_status"
    RENEWAL_BLOCKED = "renewal_blocked"
    UNWATCHED = "unwatched"


@dataclass(frozen=True, slots=True)
class Meaning:
    """
    One row of the table of problems.
    """

    alert: str
    """The name of the alert, and of its runbook."""
    summaries: Mapping[Severity, str]
    """By severity that it may have, one sentence with the meaning."""
    mended: str
    """The state once it is over, as a notification says it of the target. It may also be watched no more."""
    hides: frozenset[Problem] = frozenset()
    """Problems of the same target and item that need not be reported beside it, if no more severe."""
    covers: frozenset[Problem] = frozenset()
    """Problems of any item of the target that need not be told beside this one: they have the same cause."""
    lasts: Mapping[Severity, float] = field(default_factory=dict)
    """Seconds that it must last before an alert is sent; at once where a severity is missing."""


def _both(summary: str) -> Mapping[Severity, str]:
    return {WARNING: summary, CRITICAL: summary}


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
            "ExpiryPassed",
            {CRITICAL: "It has expired, and clients refuse it."},
            "what is in place now has not expired",
            _WAYS_TO_THE_END,
            frozenset({Problem.NOT_TRUSTED}),
        ),
        Problem.SOON: Meaning(
            "ExpirySoon",
            _both("It expires soon, and a person must renew it."),
            "one that lasts longer is in place",
            frozenset({Problem.RENEWAL_OVERDUE}),
        ),
        Problem.RENEWAL_OVERDUE: Meaning(
            "ExpiryRenewalOverdue",
            {WARNING: "An automatic renewal should have happened and did not."},
            "the renewed one is in place",
        ),
        Problem.NOT_DEPLOYED: Meaning(
            "ExpiryNotDeployed",
            _both("It was renewed, but this endpoint still serves the old one."),
            "the newer one is in place",
            frozenset({Problem.RENEWAL_OVERDUE, Problem.SOON}),
        ),
        Problem.CHAIN_ENDS_FIRST: Meaning(
            "ExpiryChainEndsBeforeLeaf",
            _both("An intermediate certificate that is served expires before the leaf."),
            "the chain lasts as long as the leaf, or clients need none of what expired",
        ),
        Problem.AUTHORITY_ENDING: Meaning(
            "ExpiryAuthorityEnding",
            _both("A CA certificate of yours must be replaced, which takes long."),
            "the CA certificate is replaced",
        ),
        Problem.DOMAIN_ENDING: Meaning(
            "ExpiryDomainEnding",
            _both("The registration of a domain must be renewed, or all of its names are lost."),
            "the registration lasts longer now",
        ),
        Problem.SIGNATURE_STALE: Meaning(
            "ExpirySignatureStale",
            _both("A signed list, staple or zone should have been signed again by now."),
            "it is signed anew",
        ),
        Problem.WENT_BACKWARDS: Meaning(
            "ExpiryWentBackwards",
            {WARNING: "An older certificate is served again."},
            "no older certificate is served any more",
        ),
        Problem.IDENTITY_CHANGED: Meaning(
            "ExpiryIdentityChanged",
            {WARNING: "Issuer and key changed together long before a renewal was due."},
            "no change of issuer and key in the last days",
        ),
        Problem.FOREIGN_ISSUER: Meaning(
            "ExpiryForeignIssuer",
            {CRITICAL: "None of the expected CAs issued it."},
            "one of the expected CAs issued what is in place now",
            frozenset({Problem.IDENTITY_CHANGED, Problem.WENT_BACKWARDS}),
        ),
        Problem.NOT_TRUSTED: Meaning(
            "ExpiryNotTrusted",
            {
                CRITICAL: "Clients refuse what is served, and did not before.",
                WARNING: "Clients refuse what is served, as they have since it was first seen.",
            },
            "clients accept what is served",
            covers=frozenset({Problem.WENT_BACKWARDS, Problem.IDENTITY_CHANGED}),
            lasts={WARNING: 900.0},
        ),
        Problem.PROBE_FAILING: Meaning(
            "ExpiryProbeFailing",
            _both("It can't be seen, so nobody knows when its certificate expires."),
            "it can be seen again",
        ),
        Problem.DOMAIN_STATUS: Meaning(
            "ExpiryDomainStatus",
            {
                CRITICAL: "The registry is taking a domain away, has, or will unless somebody pays.",
                WARNING: (
                    "The registry moved the end of a domain by itself, and undoes that if nobody pays."
                ),
            },
            "the registry's status of the domain is in order",
            covers=frozenset({Problem.DOMAIN_ENDING, Problem.PASSED}),
            lasts={WARNING: 900.0},
        ),
        Problem.RENEWAL_BLOCKED: Meaning(
            "ExpiryRenewalBlocked",
            {WARNING: "With the current DNS records, the next renewal will be refused."},
            "nothing in the DNS stops the next renewal",
            lasts={WARNING: 900.0},
        ),
        Problem.UNWATCHED: Meaning(
            "ExpiryUnwatched",
            {WARNING: "Its certificate names hosts that no target looks at."},
            "each host on its certificate is watched, or needs not be",
            lasts={WARNING: 900.0},
        ),
    }
)
"""The meaning of each problem."""
