"""
The Fleet dashboard: problems that need a person today, and the renewals of the next year.
"""

from grafana_foundation_sdk.builders import barchart, bargauge, stat, table, timeseries
from grafana_foundation_sdk.models.dashboard import Dashboard

from exporter.model.problems import Problem
from exporter.model.reasons import Kind
from exporter.report import families
from grafana import panels, queries, shell
from grafana.meanings import ADVICE, KIND_NAMES, KINDS, PROBLEMS, RUNBOOKS, SEVERITIES, SORTS
from grafana.panels import Column, Place, Series, Word
from grafana.queries import (
    CHOSEN,
    ENDPOINT,
    ITEM,
    NOT_ABOVE,
    OWN,
    TARGET,
    chosen,
    milliseconds,
    none_of,
    of,
    one_of,
    problems,
)

NAME = "fleet"

WEEK = 7 * 86400
MONDAY = 4 * 86400
"""Seconds from the epoch, a Thursday, to the first Monday."""

WEEKS = 53

TILE = 5
"""Height of a tile: in a lower one Grafana leaves the small graph away."""

BARE = (Kind.CRL, Kind.OCSP, Kind.REGISTRATION, Kind.DNSSEC, Kind.SSH, Kind.METADATA)
"""Kinds of items that are no X.509 certificates."""

RANGE = 300
"""Points of the graph of problems."""

CERTIFICATES = 200
"""Rows of the table of certificates."""


def dashboard() -> Dashboard:
    """
    Return the whole dashboard.
    """
    stats = [
        exporters(),
        targets(),
        critical(),
        unknown(),
        renewal_late(),
        ends_soon(),
        not_deployed(),
        others(),
    ]
    return shell.dashboard(
        NAME,
        "Expiry / Fleet",
        "What needs a person today, the most urgent first; what expires in the year ahead; and how well"
        " renewals work. Click on a target to see why.",
        "now-24h",
        f"count by (alertname, severity) ({shell.ALERTS})",
        [
            ("", stats),
            ("What needs a person", [urgent()]),
            ("Everything that expires, and when", [certificates(), year_ahead()]),
            ("Where the problems are, and since when", [history(), reasons(), issuers(), owners()]),
            ("What is there", [protocols(), keys(), kinds()]),
        ],
        # Deadlines are hours and days.
        refresh="5m",
        within=True,
    )


WARNING, UNKNOWN, CRITICAL = queries.WARNING, queries.UNKNOWN, queries.CRITICAL

LATE = (Problem.RENEWAL_OVERDUE, Problem.SIGNATURE_STALE)
BY_HAND = (Problem.SOON, Problem.AUTHORITY_ENDING, Problem.DOMAIN_ENDING, Problem.CHAIN_ENDS_FIRST)
OLD = (Problem.NOT_DEPLOYED, Problem.WENT_BACKWARDS)
"""The worst problems that one tile counts of the warnings. The last tile counts the others."""


def _count(
    title: str,
    description: str,
    urgency: int,
    colour: str,
    alert: str,
    *,
    which: str = "",
    width: int = 3,
    trend: bool = False,
) -> stat.Panel:
    """
    Return the number of endpoints of an urgency, in its colour; a quiet `none` without any. `which` matches
    their worst problem; empty: any.

    `trend`: with a small graph, for what comes in numbers from one cause. Others are work done one by one.
    """
    matchers = [which] * bool(which)
    return panels.stat_panel(
        Place(title, description, width, TILE),
        queries.number(urgency, *matchers),
        trend=queries.trend(urgency, *matchers) if trend else "",
        colours=panels.steps(panels.QUIET, (1, colour)),
        mappings=panels.words({"0": Word("none")}),
        links={"Runbook": f"{shell.RUNBOOKS}/{alert}.md"},
    )


def exporters() -> stat.Panel:
    """
    Exporters that are down, without which the other panels are out of date.
    """
    return panels.stat_panel(
        Place(
            "Exporters",
            "Whether Prometheus gets answers from all chosen exporters. While one is down nothing here"
            " changes for its targets, for better or worse: bring it back first.",
            3,
            TILE,
        ),
        f"count({of('up')} == 0) or 0 * count({of('up')})",
        colours=panels.steps(panels.QUIET, (1, panels.CRITICAL)),
        mappings=[*panels.words({"0": Word("all answer")}), panels.at_least(1, "DOWN")],
        links={"Runbook": f"{shell.RUNBOOKS}/ExpiryExporterDown.md"},
    )


def targets() -> stat.Panel:
    """
    Number of targets.
    """
    return panels.stat_panel(
        Place(
            "Targets",
            "Configured targets, whatever their last probe gave. Fewer than you expect: compare the"
            " configuration and the variables above.",
            2,
            TILE,
        ),
        f"count(count by (target) ({queries.CHOSEN}))",
        colours=panels.steps(panels.QUIET),
    )


def critical() -> stat.Panel:
    """
    Number of endpoints that are critical.
    """
    return _count(
        "Critical",
        "Endpoints (one address, one file, one Secret) that need a person now: expired, about to expire, or"
        " refused by clients that accepted them before. As on the status page, the tiles count each endpoint"
        " once, by its worst problem. The table below has a row for each problem.",
        CRITICAL,
        panels.CRITICAL,
        "ExpiryPassed",
        width=4,
        trend=True,
    )


def unknown() -> stat.Panel:
    """
    Number of endpoints of which not all is known.
    """
    return _count(
        "Unknown",
        "Endpoints that are not critical as far as is known, but can't be seen, also where it is too early"
        " for an alert, or can't be checked as configured (revocation, DNS: see what is wrong, by reason)."
        " What was seen there last is still shown, and its alerts go on. What was never seen may expire at"
        " any time.",
        UNKNOWN,
        panels.UNKNOWN,
        "ExpiryProbeFailing",
        trend=True,
    )


def renewal_late() -> stat.Panel:
    """
    Number of endpoints at which a renewal is late.
    """
    return _count(
        "Renewal late",
        "Endpoints with a warning, since what is there should have been renewed or signed anew automatically"
        " and was not. Read the log of what renews it.",
        WARNING,
        panels.WARNING,
        "ExpiryRenewalOverdue",
        which=one_of("problem", LATE),
        trend=True,
    )


def ends_soon() -> stat.Panel:
    """
    Number of endpoints at which a person must renew something.
    """
    return _count(
        "Renew by hand",
        "Endpoints with a warning, since a person must renew what is there: certificates, CA certificates,"
        " domain registrations, and chains that expire before their leaf.",
        WARNING,
        panels.WARNING,
        "ExpirySoon",
        which=one_of("problem", BY_HAND),
    )


def not_deployed() -> stat.Panel:
    """
    Number of endpoints that show an old certificate.
    """
    return _count(
        "Not deployed",
        "Endpoints with a warning, since what is there was renewed, while the old one is still served, or is"
        " served again. Reload or restart the server.",
        WARNING,
        panels.WARNING,
        "ExpiryNotDeployed",
        which=one_of("problem", OLD),
    )


def others() -> stat.Panel:
    """
    Number of endpoints with all other warnings.
    """
    return _count(
        "Other warnings",
        "Endpoints with a warning that no other tile counts: clients never accepted them, issuer and key"
        " changed, a domain is at risk, a renewal will be refused.",
        WARNING,
        panels.WARNING,
        "ExpiryNotTrusted",
        which=none_of("problem", (*LATE, *BY_HAND, *OLD)),
    )


def urgent() -> table.Panel:
    """
    Table of the most urgent problems, each with its remedy.
    """
    first = queries.first_of_each(100)
    ends, since = map(queries.rows, queries.ends_and_starts(first))
    return panels.table_panel(
        Place(
            "Problems",
            "One row for each problem; what expires first stands at the top. A certificate on many targets is"
            " one row, with the target where it expires first. What another problem of the same item says"
            " already is left out, as in notifications. Click on the target for what to do first. The first"
            " hundred of each severity. Empty is good, as long as all exporters answer.",
            24,
            14,
        ),
        [
            queries.days_left(ends),
            milliseconds(ends),
            milliseconds(since),
            queries.targets_of_each(first),
            queries.words_of_each(first),
        ],
        [
            Column("severity", "Severity", words=SEVERITIES, width=85, coloured=True),
            Column("problem", "Problem", words=PROBLEMS, width=150),
            Column("Value #A", "Days left", unit="none", decimals=1, scale=panels.DAYS, width=90),
            Column("Value #B", "Expires", unit=panels.DATE, width=135),
            Column("Value #C", "Not OK since", unit=panels.DATE, width=135),
            Column(
                "target",
                "Target",
                links={
                    "Why: the target's dashboard": shell.TO_TARGET,
                    "The exporter's status page": shell.TO_STATUS,
                },
            ),
            Column("Value #D", "Targets", unit="short", width=75),
            Column("item", "Item", width=95),
            Column("cause", "Cause"),
            Column("owner", "Owner", width=95, heading="${label}"),
            Column("alert", "Runbook", words=RUNBOOKS, links={"What to do": shell.TO_RUNBOOK}, width=205),
        ],
        sorted_by=[("Severity", False), ("Days left", False)],
        hidden=["same", "kind", "where", "advice", "Value #E"],
        no_value="Nothing needs a person.",
    )


def year_ahead() -> barchart.Panel:
    """
    What expires in each week of the next year.
    """
    monday = f"{1000 * WEEK} * floor((%s - {MONDAY}) / {WEEK}) + {1000 * MONDAY}"

    until = f"time() + 86400 * $within < time() + {WEEKS * WEEK}"
    within = f"{of(families.NOT_AFTER, OWN)} > time() < {until}"

    by_people = of(families.TARGET, 'policy!="automatic"')

    def ends(which: str) -> str:
        items = f"min by (target, item) ({chosen(within)} {which} on ({TARGET}) {by_people})"
        return f'count_values("week", {monday % items})'

    # Weeks without an end have a bar of height zero, up to the last that has one: else the eye is deceived
    # about distances.
    days = [queries.words(f"vector(time() + {WEEK * number})", "n", str(number)) for number in range(WEEKS)]
    each = "\n  or ".join(days)
    weeks = f"(\n  {each}\n) <= on () group_left () max({of(families.NOT_AFTER, OWN)} < {until})"
    return panels.calendar_panel(
        Place(
            "Expiring by week",
            "How many items expire in each week if nothing is renewed; a week begins on the Monday below its"
            " bar. Within the days chosen above, a year at most. An item that several endpoints of a target"
            " share counts once. Orange must be renewed by people: plan it. Blue renews itself, so its bars"
            " move on before their week comes; a high one is a fleet that renews all at once.",
            7,
            12,
        ),
        [
            Series(
                f"""{ends("unless")}\nor 0 * count_values("week", {monday % weeks})""",
                "renews itself",
                panels.FINE,
            ),
            Series(ends("and"), "renewed by people", panels.WARNING),
        ],
        "week",
        unit="time:MMM D",
        no_value="Nothing expires within these days.",
    )


def certificates() -> table.Panel:
    """
    Table of all certificates and other items; what expires first stands at the top.
    """
    who = "fingerprint_sha256, subject, issuer, key, kind"

    def near(kinds: str) -> str:
        return f"({of(families.NOT_AFTER, OWN, kinds)} < time() + 86400 * $within)"

    certified = near(none_of("kind", BARE))
    shown = f"{of(families.CERTIFICATE, NOT_ABOVE)} * on ({ITEM}) group_left (kind) {certified}"
    bare = f'label_join({near(one_of("kind", BARE))}, "subject", " ", "target", "item")'
    found = chosen(f"{shown} or {bare}")
    ends = f"bottomk({CERTIFICATES}, min by ({who}) ({found}))"
    # Of the same rows: others would have no days left, and stand at the top.
    where = f"count by ({who}) (count by ({who}, target) ({found})) and on ({who}) {ends}"
    return panels.table_panel(
        Place(
            "Certificates and other items by days left",
            "Everything that expires within the days chosen above, whether something is wrong with it or not;"
            " a certificate on many targets is one row; what is no certificate has its target and item as"
            " subject. The colours only show how much time is left: what needs a person stands in the table"
            " above.",
            17,
            12,
        ),
        [
            queries.shortened(one, "fingerprint_sha256", 8)
            for one in (queries.days_left(ends), milliseconds(ends), where)
        ],
        [
            Column("Value #A", "Days left", unit="none", decimals=1, scale=panels.DAYS, width=90),
            Column("Value #B", "Expires", unit=panels.DATE, width=135),
            Column("subject", "Subject", wrapped=True),
            Column("Value #C", "Targets", unit="short", width=80),
            Column("issuer", "Issuer", wrapped=True),
            Column("key", "Key", width=90),
            Column("kind", "Kind", words=KINDS, width=140),
            Column("fingerprint_sha256", "SHA-256", width=90),
        ],
        sorted_by=[("Days left", False)],
        no_value="Nothing expires within these days.",
    )


def issuers() -> table.Panel:
    """
    Table of issuers.
    """
    who = "issuer, fingerprint_sha256"
    leaves = chosen(of(families.CERTIFICATE, NOT_ABOVE))
    same = f"{TARGET}, item, fingerprint_sha256"
    unwell = f"{of(families.CERTIFICATE, NOT_ABOVE)} and on ({same}) {problems()}"
    return panels.table_panel(
        Place(
            "Certificates by issuer",
            "Certificates by issuer, and how many of them have a problem. Many problems with one issuer: its"
            " client or account is broken, not the hosts.",
            15,
        ),
        queries.most(
            "issuer", 25, *(f"count by (issuer) (count by ({who}) ({one}))" for one in (unwell, leaves))
        ),
        [
            Column("issuer", "Issuer", wrapped=True),
            Column("Value #A", "With a problem", unit="short", width=150),
            Column("Value #B", "Certificates", unit="short", width=115),
        ],
        sorted_by=[("With a problem", True), ("Certificates", True)],
        alone="Value #B",
        no_value="No certificate is known.",
    )


def reasons() -> table.Panel:
    """
    Endpoints by reason, fault or hazard.
    """
    each = "count by (reason, lookup) (count by (target, location, reason, lookup) (%s))"
    unanswered = of(families.LOOKUP_FAILURE, 'lookup!="renewal_information"')
    found = "\nor ".join(
        queries.words(each % chosen(those), "sort", sort)
        for sort, those in (
            ("refused", of(families.FAULT)),
            # What was seen all the same is OK.
            ("failed", of(families.FAILURE, queries.UNSEEN)),
            ("later", of(families.HAZARD)),
            ("unchecked", f"{unanswered} and on ({ENDPOINT}) {of(families.URGENCY)}"),
        )
    )
    advised = queries.words(found, "advice", "$1", "reason")
    return panels.table_panel(
        Place(
            "What is wrong, by reason",
            "Endpoints by reason: why clients refuse them, why their last probe failed, why they will fail"
            " later, or why they can't be checked. Many with one reason have one cause: look there first. The"
            " manual explains each reason.",
            15,
            10,
        ),
        [f'label_replace({advised}, "advice", "$1", "lookup", "(.+)")'],
        [
            Column("sort", "What", words=SORTS, coloured=True, width=140),
            Column("reason", "Reason", links={"Explanation": shell.TO_REASON}, width=195),
            Column("Value", "Endpoints", unit="short", width=105),
            Column("advice", "What to do", words=ADVICE, wrapped=True),
        ],
        sorted_by=[("Endpoints", True)],
        hidden=["lookup"],
        no_value="Every probe succeeds and no client refuses.",
    )


def history() -> timeseries.Panel:
    """
    Number of endpoints that are not OK, over time.
    """
    over = (
        ("critical", CRITICAL, panels.CRITICAL, False),
        ("unknown", UNKNOWN, panels.UNKNOWN, True),
        ("warning", WARNING, panels.ORANGE, False),
    )
    return panels.lines_panel(
        Place(
            "Not OK over time",
            "The endpoints in the tiles, over time, each by its worst problem. Many at one moment have one"
            " cause: a deployment, a firewall, a renewer that stopped.",
            9,
            10,
        ),
        [
            Series(queries.number_over_time(urgency), name, colour, dashed)
            for name, urgency, colour, dashed in over
        ],
        unit="short",
        at_least=0,
        decimals=0,
        points=RANGE,
        stairs=True,
    )


def protocols() -> bargauge.Panel:
    """
    Endpoints by negotiated protocol.
    """
    each = f"count by (target, location, protocol) ({chosen(of(families.TLS))})"
    return panels.bars_panel(
        Place(
            "Endpoints by protocol",
            "Endpoints by the TLS version of the last handshake, which offered all of them. Old versions"
            " are a reason to update the server before clients stop speaking them.",
            8,
        ),
        Series(f"topk(8, count by (protocol) ({each}))", "{{protocol}}"),
    )


def keys() -> bargauge.Panel:
    """
    Certificates by type of key.
    """
    each = f"count by (key, fingerprint_sha256) ({chosen(of(families.CERTIFICATE, NOT_ABOVE))})"
    return panels.bars_panel(
        Place(
            "Certificates by key",
            "Served certificates by type and size of their key. Small RSA keys and types that nobody asked"
            " for stand out here.",
            8,
        ),
        Series(f"topk(8, count by (key) ({each}))", "{{key}}"),
    )


def kinds() -> bargauge.Panel:
    """
    Items by kind.
    """
    each = f"count by (target, item, kind) ({chosen(of(families.NOT_AFTER, OWN))})"
    return panels.bars_panel(
        Place(
            "Items by kind",
            "Everything watched that expires, by its kind: certificates, and also domain registrations,"
            " revocation lists and zone signatures; intermediates go with their leaf. If a kind is missing"
            " that you expect, it is not watched.",
            8,
        ),
        Series(f"topk(10, count by (kind) ({each}))", "{{kind}}"),
        names=KIND_NAMES,
    )


def owners() -> table.Panel:
    """
    Targets, and endpoints that are not OK, by owner.
    """

    def by_owner(each: str) -> str:
        # If no target has the label there is a column all the same.
        unnamed = queries.words(f"count by ($label) ({each})", "owner", NO_OWNER)
        return f'max by (owner) (label_replace({unnamed}, "owner", "$1", "$label", "(.+)"))'

    return panels.table_panel(
        Place(
            "Targets by label",
            "How many targets and how many endpoints that are not OK there are, for each value of the label"
            ' chosen above. Choose another label under "By label", or type one.',
            9,
        ),
        queries.most(
            "owner",
            50,
            by_owner(f"count by ($label, target, location) ({chosen(of(families.URGENCY))})"),
            by_owner(f"count by ($label, target) ({CHOSEN})"),
        ),
        [
            Column("owner", "Owner", heading="${label}"),
            Column("Value #A", "Not OK", unit="short", width=90),
            Column("Value #B", "Targets", unit="short", width=80),
        ],
        sorted_by=[("Not OK", True), ("Targets", True)],
        alone="Value #B",
        no_value="No target is known.",
    )


NO_OWNER = "without this label"
