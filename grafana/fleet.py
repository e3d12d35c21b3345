"""
The Fleet dashboard: problems that need a person today, and the renewals of the next year.
"""

from grafana_foundation_sdk.builders import barchart, bargauge, stat, table, timeseries
from grafana_foundation_sdk.models.dashboard import Dashboard

from exporter.report import families
from grafana import panels, queries, shell
from grafana.meanings import ADVICE, KINDS, NEVER_SEEN, PROBLEMS, SORTS
from grafana.panels import Column, Place, Series, Word
from grafana.queries import (
    INFO,
    ITEM,
    NOT_ABOVE,
    OWN,
    OWNED,
    RANK,
    TARGET,
    chosen,
    due,
    milliseconds,
    of,
    rank,
    rest,
)

NAME = "fleet"

WEEK = 7 * 86400
MONDAY = 4 * 86400
"""Seconds from the epoch, a Thursday, to the first Monday."""

WEEKS = 53

COUNTED = 1_000_000
"""More than any number of certificates or targets: a factor for the first key of a sort by two keys."""

LEAF = 'kind="leaf"'


def dashboard() -> Dashboard:
    """
    Return the whole dashboard.
    """
    stats = [
        exporters(),
        targets(),
        expired(),
        refused(),
        ends_soon(),
        renewal_late(),
        not_deployed(),
        unseen(),
    ]
    return shell.dashboard(
        NAME,
        "Expiry / Fleet",
        "What needs a person today, the most urgent first; what ends in the year ahead; and how well"
        " renewals work. Click on a target to see why.",
        "now-24h",
        f"count by (alertname, severity) ({shell.ALERTS})",
        [
            ("", stats),
            ("What needs a person, the most urgent first", [urgent()]),
            ("The year ahead", [year_ahead()]),
            ("How well renewals work", [issuers(), shared()]),
            ("What is wrong, and since when", [reasons(), history()]),
            ("Overview", [protocols(), keys(), kinds(), owners()]),
        ],
        # Over thousands of targets it costs Prometheus seconds of CPU, and deadlines are hours and days.
        refresh="5m",
    )


def _count(title: str, description: str, condition: str, colour: str, alert: str) -> stat.Panel:
    """
    Return the number of items that meet the condition, in its colour; `none` in blue without any.
    """
    return panels.stat_panel(
        Place(title, description, 3, 4),
        queries.total(f"count by (target, item) ({chosen(condition)})"),
        colours=panels.steps(panels.FINE, (1, colour)),
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
            4,
        ),
        f"count({of('up')} == 0) or 0 * count({of('up')})",
        colours=panels.steps(panels.FINE, (1, panels.CRITICAL)),
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
            "Configured targets, whatever their last look gave. Fewer than you expect: compare the"
            " configuration and the variables above.",
            3,
            4,
        ),
        f"count(count by (target) ({queries.CHOSEN}))",
        colours=panels.steps(panels.QUIET),
    )


def expired() -> stat.Panel:
    """
    Number of items that have ended.
    """
    return _count(
        "Expired",
        "Items that have ended: clients refuse them now. Renew and deploy, then look at what is served.",
        f"{of(families.NOT_AFTER, OWN)} <= time()",
        panels.CRITICAL,
        "ExpiryPassed",
    )


def refused() -> stat.Panel:
    """
    Number of targets that clients refuse for other reasons than an end.
    """
    return _count(
        "Refused",
        "Targets with an endpoint that a normal client refuses though nothing has ended: another name, an"
        " unknown root, a missing intermediate. The table below says which.",
        of(families.FAULT, 'reason!="expired"'),
        panels.CRITICAL,
        "ExpiryNotTrusted",
    )


def ends_soon() -> stat.Panel:
    """
    Number of items whose end is critically near.
    """
    return _count(
        "Ends soon",
        "Items that have not ended and are past their critical deadline, which their policy sets."
        " A person must renew them now.",
        f"{of(families.NOT_AFTER, OWN)} > time() and on ({ITEM}) {due('critical', OWN)}",
        panels.CRITICAL,
        "ExpirySoon",
    )


def renewal_late() -> stat.Panel:
    """
    Number of items whose renewal is late.
    """
    return _count(
        "Renewal late",
        "Items past their warning deadline, those that ended included: an automatic renewal that did not"
        " happen, or one that a person must do. Read the log of whatever renews them.",
        due("warning", OWN),
        panels.WARNING,
        "ExpiryRenewalOverdue",
    )


def not_deployed() -> stat.Panel:
    """
    Number of items that were renewed but not deployed.
    """
    newer = f"{of(families.NEWEST)} > on ({ITEM}) {of(families.NOT_AFTER, OWN)}"
    return _count(
        "Not deployed",
        "Items past their warning deadline of which a newer one is known from elsewhere: it was renewed,"
        " and this endpoint still serves the old one. Reload or restart the server.",
        f"{due('warning', OWN)} and on ({ITEM}) ({newer})",
        panels.WARNING,
        "ExpiryNotDeployed",
    )


def unseen() -> stat.Panel:
    """
    Number of targets whose last probe failed.
    """
    return _count(
        "Can't be seen",
        "Targets with an endpoint at which the last look failed. What was seen there last is still shown"
        " and still warns; what was never seen may end at any time. The table below says why.",
        f"{of(families.SUCCESS)} == 0",
        panels.UNKNOWN,
        "ExpiryProbeFailing",
    )


def urgent() -> table.Panel:
    """
    Table of the most urgent problems, each with its remedy.
    """
    packed = queries.urgent(100)
    return panels.table_panel(
        Place(
            "What needs a person",
            "One row for each target and problem, the hundred most urgent of them: what clients refuse now"
            " comes first, then what ends soonest. An item stands with its worst problem. Capital letters"
            " mean now, small ones this week. The target leads to its own dashboard, the alert to its"
            " runbook. Empty is good, as long as all exporters answer.",
            24,
            14,
        ),
        [rank(packed), milliseconds(rest(packed))],
        [
            Column("Value #A", "Problem", words=PROBLEMS, width=160, coloured=True),
            Column(
                "target",
                "Target",
                links={
                    "Why: the target's dashboard": shell.TO_TARGET,
                    "The exporter's status page": shell.TO_STATUS,
                },
            ),
            Column("Value #B", "Ends", unit="dateTimeFromNow", words=NEVER_SEEN, width=150),
            Column("reason", "Reason", width=190),
            Column("item", "Item", width=110),
            Column("kind", "Kind", words=KINDS, width=160),
            Column("owner", "Owner", width=130, heading="${label}"),
            Column("policy", "Policy", width=110),
            Column("alert", "Runbook", links={"What to do": shell.TO_RUNBOOK}, width=200),
        ],
        sorted_by=[("Problem", False), ("Ends", False)],
        no_value="Nothing needs a person.",
    )


def year_ahead() -> barchart.Panel:
    """
    Ends of items by week of the next year.
    """
    monday = f"{1000 * WEEK} * floor((%s - {MONDAY}) / {WEEK}) + {1000 * MONDAY}"

    def ends(matcher: str) -> str:
        within = f"{of(families.NOT_AFTER, OWN)} > time() < time() + {WEEKS * WEEK}"
        of_policy = of(families.TARGET, '$label=~"$value"', matcher)
        items = f"min by (target, item) ({within} and on ({TARGET}) {of_policy})"
        return f'count_values("week", {monday % items})'

    automatic = ends('policy="automatic"')
    # Weeks without an end have a bar of height zero, else the eye is deceived about distances.
    days = [f"vector(time() + {WEEK * number})" for number in range(WEEKS)]
    weeks = "\n  or ".join(f'count_values("week", {monday % day})' for day in days)
    return panels.calendar_panel(
        Place(
            "Ends by week, a year ahead",
            "How many items end in each week that begins on the Monday below, if nothing is renewed; an"
            " item that several endpoints of a target share counts once. Orange is work for people: plan"
            " it. Blue renews itself, so its bars move away before they arrive; a high one is a fleet that"
            " renews all at once.",
            24,
        ),
        [
            Series(
                f"{automatic}\nor 0 * (\n  {weeks}\n) and on () {queries.CHOSEN}",
                "renews itself",
                panels.FINE,
            ),
            Series(ends('policy!="automatic"'), "renewed by people", panels.WARNING),
        ],
        "week",
        unit="time:MMM D",
    )


def issuers() -> table.Panel:
    """
    Table of issuers.
    """
    deadline = of(families.ALERT, LEAF, 'severity="warning"')
    late = f"{of(families.CERTIFICATE, NOT_ABOVE)} * on ({ITEM}) group_left () ({deadline} <= bool time())"
    each = f"max by (issuer, policy, fingerprint_sha256) ({late} * on ({TARGET}) group_left (policy) {INFO})"
    packed = f"topk(25, sum by (issuer, policy) (1 + {COUNTED} * {each}))"
    return panels.table_panel(
        Place(
            "Renewal by issuer and policy",
            "Certificates that are served, by who issued them and how they are renewed, and how many of"
            " them are past the deadline at which a healthy renewal would have happened. The worst 25 come"
            " first. Many late ones of one issuer: its client or account is broken, not the hosts.",
            11,
        ),
        [f"{packed} % {COUNTED}", f"floor({packed} / {COUNTED})"],
        [
            Column("issuer", "Issuer", wrapped=True),
            Column("policy", "Policy", width=110),
            Column("Value #A", "Certificates", unit="short", width=115),
            Column("Value #B", "Late", unit="short", width=75),
            Column("share", "Share", unit="percentunit", bar=panels.WARNING, decimals=0, width=130),
        ],
        ratio=("share", "Value #B", "Value #A"),
        sorted_by=[("Late", True), ("Certificates", True)],
        no_value="No certificate is known.",
    )


def shared() -> table.Panel:
    """
    Table of certificates that several targets share.
    """
    who = "fingerprint_sha256, subject, issuer"
    ends = f"{of(families.CERTIFICATE, NOT_ABOVE)} * on ({ITEM}) group_left () {of(families.NOT_AFTER, LEAF)}"
    each = f"max by ({who}, target, location) ({chosen(ends)})"
    packed = f"topk(25, {RANK} * count by ({who}) ({each}) + min by ({who}) ({each}))"
    by_target = f"count by ({who}, target) ({of(families.CERTIFICATE, NOT_ABOVE)})"
    names = f"count by ({who}) ({by_target}) and on ({who}) {packed}"
    return panels.table_panel(
        Place(
            "Certificates by blast radius",
            "The certificates that are served at the most endpoints: if one of these is not renewed, all of"
            " them fail at once. Private keys that are on many hosts are also hard to replace in a hurry."
            " Think of a certificate for each host.",
            13,
        ),
        [
            queries.shortened(one, "fingerprint_sha256", 8)
            for one in (rank(packed), names, milliseconds(rest(packed)))
        ],
        [
            Column("subject", "Subject", wrapped=True),
            Column("Value #A", "Endpoints", unit="short", width=105),
            Column("Value #B", "Targets", unit="short", width=85),
            Column("Value #C", "Ends", unit="dateTimeFromNow", width=125),
            Column("issuer", "Issuer", wrapped=True),
            Column("fingerprint_sha256", "SHA-256", width=105),
        ],
        sorted_by=[("Endpoints", True), ("Ends", False)],
        no_value="No certificate is known.",
    )


def reasons() -> table.Panel:
    """
    Endpoints by reason, fault or hazard.
    """
    found = [
        queries.words(
            f"count by (reason) (count by (target, location, reason) ({chosen(of(family))}))", "sort", sort
        )
        for family, sort in (
            (families.FAULT, "refused"),
            (families.FAILURE, "unseen"),
            (families.HAZARD, "later"),
        )
    ]
    return panels.table_panel(
        Place(
            "What is wrong, by reason",
            "Endpoints with each reason for which clients refuse them, for which the last look at them"
            " failed, or for which they will fail later. Many with one reason have one cause: look there"
            " first. The manual explains each reason.",
            15,
            10,
        ),
        [queries.words("\nor ".join(found), "advice", "$1", "reason")],
        [
            Column("sort", "What", words=SORTS, coloured=True, width=140),
            Column("reason", "Reason", links={"Explanation": shell.TO_REASON}, width=195),
            Column("Value", "Endpoints", unit="short", width=105),
            Column("advice", "What to do", words=ADVICE, wrapped=True),
        ],
        sorted_by=[("Endpoints", True)],
        no_value="Every look succeeds and no client refuses.",
    )


def history() -> timeseries.Panel:
    """
    Number of problems over time.
    """
    failed = f"{of(families.SUCCESS)} == 0"
    over = (
        ("expired", f"{of(families.NOT_AFTER, OWN)} <= time()", panels.CRITICAL, False),
        ("refused for another reason", of(families.FAULT, 'reason!="expired"'), panels.CRITICAL, True),
        ("renewal late", due("warning", OWN), panels.ORANGE, False),
        ("can't be seen", failed, panels.UNKNOWN, True),
    )
    return panels.lines_panel(
        Place(
            "Problems over time",
            "How many targets have each problem. A step up at one moment is one cause: a deployment, a"
            " firewall, a renewer that stopped. The lines come from the metrics themselves, without"
            " recorded series.",
            9,
            10,
        ),
        [
            Series(queries.total(f"count by (target) ({chosen(condition)})"), name, colour, dashed)
            for name, condition, colour, dashed in over
        ],
        unit="short",
        at_least=0,
        decimals=0,
        points=60,
        stairs=True,
    )


def protocols() -> bargauge.Panel:
    """
    Endpoints by negotiated protocol.
    """
    each = f"count by (target, location, protocol) ({chosen(of(families.TLS))})"
    return panels.bars_panel(
        Place(
            "Protocols",
            "Endpoints by the TLS version of the last handshake, which offered all of them. Old versions"
            " are a reason to update the server before clients stop speaking them.",
            6,
        ),
        Series(f"topk(8, count by (protocol) ({each}))", "{{protocol}}"),
    )


def keys() -> bargauge.Panel:
    """
    Certificates by type of key.
    """
    leaf = f"{of(families.CERTIFICATE, NOT_ABOVE)} and on ({ITEM}) {of(families.NOT_AFTER, LEAF)}"
    each = f"count by (key, fingerprint_sha256) ({chosen(leaf)})"
    return panels.bars_panel(
        Place(
            "Keys",
            "Served certificates by kind and size of their key. Small RSA keys and kinds that nobody asked"
            " for stand out here.",
            6,
        ),
        Series(f"topk(8, count by (key) ({each}))", "{{key}}"),
    )


def kinds() -> bargauge.Panel:
    """
    Items by kind.
    """
    each = f"count by (target, item, kind) ({chosen(of(families.NOT_AFTER))})"
    return panels.bars_panel(
        Place(
            "Kinds of items",
            "Everything with an end date that is watched, by its kind: certificates, and also registrations"
            " of domains, revocation lists, signatures of zones. A kind that you expect and that is missing"
            " is not watched.",
            6,
        ),
        Series(f"topk(10, count by (kind) ({each}))", "{{kind}}"),
    )


def owners() -> table.Panel:
    """
    Targets and late renewals by owner.
    """
    late = f"0 * max by ({TARGET}) ({due('warning', OWN)}) + {COUNTED + 1}"
    each = f"max by (owner, target) ({OWNED} * on ({TARGET}) group_left () ({late}) or {OWNED})"
    packed = f"topk(25, sum by (owner) ({each}))"
    return panels.table_panel(
        Place(
            "Targets by label",
            "How many targets each value of the label chosen above has, and how many of them have a late"
            " renewal. The"
            ' worst 25 come first. Choose another label under "By label", or type one.',
            6,
        ),
        [f"{packed} % {COUNTED}", f"floor({packed} / {COUNTED})"],
        [
            Column("owner", "Owner", words=NO_OWNER, heading="${label}"),
            Column("Value #A", "Targets", unit="short", width=80),
            Column("Value #B", "Late", unit="short", width=65),
        ],
        sorted_by=[("Late", True), ("Targets", True)],
        no_value="No target is known.",
    )


NO_OWNER = panels.words({"": Word("without this label")})
