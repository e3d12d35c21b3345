"""
Words for values on the dashboards.
"""

from exporter.model.reasons import Kind
from exporter.report import advice
from grafana import panels
from grafana.panels import Word
from grafana.queries import problems

_COLOURS = {
    1: panels.CRITICAL,
    2: panels.CRITICAL,
    3: panels.CRITICAL,
    4: panels.CRITICAL,
    5: panels.UNKNOWN,
    6: panels.WARNING,
    7: panels.WARNING,
    8: panels.WARNING,
    9: panels.WARNING,
    10: panels.UNKNOWN,
    11: panels.YELLOW,
    12: panels.YELLOW,
}

PROBLEMS = panels.words(
    {
        **{str(one.rank): Word(one.words, _COLOURS[one.rank]) for one in problems()},
        str(len(problems()) + 1): Word("nothing is wrong", panels.FINE),
    }
)
"""Ranks of problems, and what comes after the last."""

SORTS = panels.words(
    {
        "refused": Word("clients refuse it", panels.CRITICAL),
        "unseen": Word("can't be seen", panels.UNKNOWN),
        "later": Word("will fail later", panels.YELLOW),
    }
)

KINDS = panels.words(
    {
        Kind.LEAF: Word("certificate"),
        Kind.CRL: Word("revocation list"),
        Kind.OCSP: Word("OCSP response"),
        Kind.REGISTRATION: Word("domain registration"),
        Kind.DNSSEC: Word("zone signature"),
        Kind.SSH: Word("SSH certificate"),
    }
)
"""The others are called as they are."""

ALERTS = {
    "ExpiryPassed": "It has ended. Renew it, deploy it, and look at what is served afterwards.",
    "ExpirySoon": "Renew it now, deploy it, and look at what is served afterwards.",
    "ExpiryNotDeployed": "Renewed, but not served here: reload or restart the server, then look again.",
    "ExpiryRenewalOverdue": "No automatic renewal happened: read the renewer's log, and run it by hand.",
    "ExpiryChainEndsBeforeLeaf": "Renew the certificate: that brings a new intermediate. Deploy both.",
}
"""Advice about an item, by the alert that fires for it."""

_TEXTS = [
    *ALERTS.items(),
    *advice.FAILURES.items(),
    *advice.FAULTS.items(),
    *advice.HAZARDS.items(),
    ("none", "Nothing to do."),
]

ADVICE = panels.words({str(value): Word(text.replace("`", "")) for value, text in _TEXTS})
"""Advice for a reason or an alert of an item."""

HEALTH = panels.words(
    {
        "0": Word("not seen", panels.UNKNOWN),
        "1": Word("not seen, was fine", panels.UNKNOWN),
        "2": Word("clients refuse it", panels.CRITICAL),
        "3": Word("fine", panels.FINE),
    }
)
"""2 when the last probe succeeded, and 1 more when clients would accept the facts last seen."""

YES = panels.words({"1": Word("yes", panels.FINE), "0": Word("NO", panels.CRITICAL)})

NEVER_SEEN = panels.words({"0": Word("never seen", panels.UNKNOWN)})
"""A time of 0 stands for what is not known."""
