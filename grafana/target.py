"""
The Target dashboard: the problems of one target, its history, its endpoints and its items.
"""

from grafana_foundation_sdk.builders import stat, statetimeline, table, timeseries
from grafana_foundation_sdk.models.common import BigValueTextMode
from grafana_foundation_sdk.models.dashboard import Dashboard

from exporter.model.policies import DAY
from exporter.report import families
from exporter.report.families import Family
from grafana import panels, queries, shell
from grafana.meanings import HEALTH, KINDS, NOTHING, PROBLEMS, RUNBOOKS, SEVERITIES, WORST
from grafana.panels import Column, Place, Series, Word
from grafana.queries import (
    ENDPOINT,
    ITEM,
    NOT_ABOVE,
    OWN,
    SPEAKING,
    THIS,
    milliseconds,
    numbered,
    of,
    shortened,
)

NAME = "target"

NOT_SEEN = "Not seen in this time, or not yet: dates are known after the first successful probe."
NOT_PROBED = "Not probed in this time, or not yet: results are known after the first scrape."

BANDS = 20
"""Bands in a graph: as many as a person can read."""

ROWS = 200

OTHERS = 'target!="$target"'

_VERIFIED = f"({of(families.VERIFIED, THIS)} or 0 * {of(families.SUCCESS, THIS)})"
_TURNED_AWAY = f"max by ({ENDPOINT}) ({of(families.FAILURE, THIS, queries.SEEN)})"
_SEEN = f"({_TURNED_AWAY} or on ({ENDPOINT}) {of(families.SUCCESS, THIS)})"
HEALTHY = f"max by (location) (2 * {_SEEN} + on ({ENDPOINT}) {_VERIFIED})"
"""By endpoint: 2 when the last probe saw it, and 1 more when clients would accept the facts last seen."""

ITEMS = f"bottomk({ROWS}, min by (location, item, kind) ({of(families.NOT_AFTER, THIS)}))"


def dashboard() -> Dashboard:
    """
    Return the whole dashboard.
    """
    return shell.dashboard(
        NAME,
        "Expiry / Target",
        "One target: what is wrong and what to do, how it came about, its addresses side by side, its"
        " chain, and everything else there that expires.",
        "now-7d",
        shell.ALERTS.replace("{", '{target="$target", ', 1),
        [
            ("", [worst(), deadlines(), probe(), age(), endpoints(), policy()]),
            ("What is wrong, and what to do", [diagnosis()]),
            ("How it came about", [served(), probes(), time_left(), durations()]),
            ("What is there", [addresses(), items(), chain(), elsewhere()]),
        ],
        target=True,
    )


def worst() -> stat.Panel:
    """
    The worst problem in words.
    """
    critical = _problems('severity="critical"')
    found = f"bottomk(1, {critical}) or on () bottomk(1, {_problems()})"
    named = f'label_join({found}, "worst", " ", "severity", "problem")'
    nothing = queries.words(f"max by (target) ({of(families.TARGET, THIS)})", "worst", NOTHING)
    return panels.stat_panel(
        Place(
            "Worst problem",
            "The most severe problem of this target; of several, the one that expires first. All of them"
            " stand below, with what to do.",
            6,
            6,
        ),
        f"max by (worst) ({named} or on () {nothing})",
        mappings=WORST,
        field="worst",
        no_value="The target is not known yet: it appears after a scrape.",
    )


def deadlines() -> table.Panel:
    """
    Table of the deadlines of what expires first.
    """
    each = {
        "renewal due": of(families.RENEWAL_DUE, THIS),
        "warning": of(families.ALERT, THIS, 'severity="warning"'),
        "critical": of(families.ALERT, THIS, 'severity="critical"'),
        "expiry": of(families.NOT_AFTER, THIS, SPEAKING),
    }
    found = "\n  or ".join(queries.words(f"min({one})", "deadline", name) for name, one in each.items())
    return panels.table_panel(
        Place(
            "Deadlines",
            "Of all items here, the first to come: when a healthy renewer would have replaced it, by the"
            " policy or by what its issuer says; when a person is told; when it expires. Coloured: it has"
            " passed. A renewal that is due is no reason for an alert yet.",
            7,
            6,
        ),
        [queries.days_left(found), milliseconds(found)],
        [
            Column("deadline", "Deadline", words=DEADLINES),
            Column("Value #A", "Days left", unit="none", decimals=1, scale=panels.PASSED, width=110),
            Column("Value #B", "Date", unit=panels.DATE, width=160),
        ],
        sorted_by=[("Date", False)],
        no_value="Not seen yet: deadlines are known after the first successful probe.",
    )


def probe() -> stat.Panel:
    """
    Result of the last probe.
    """
    return panels.stat_panel(
        Place(
            "Last probe",
            "Whether the last probe saw each endpoint, even if the server then wanted a client certificate."
            " While one fails, what was seen there last is shown.",
            3,
            6,
        ),
        f"count({of(families.FAILURE, THIS, queries.UNSEEN)}) or 0 * count({of(families.SUCCESS, THIS)})",
        mappings=[*panels.words({"0": Word("success")}), panels.at_least(1, "failure")],
        colours=panels.steps(panels.QUIET, (1, panels.UNKNOWN)),
    )


def age() -> stat.Panel:
    """
    Age of the facts.
    """
    return panels.stat_panel(
        Place(
            "Age of the data",
            "How old the oldest data is that is shown here. If that is longer than a few scrapes, an endpoint"
            " can't be seen, and what is shown for it may have changed.",
            3,
            6,
        ),
        f"clamp_min(floor(time() - min({of(families.LAST_SEEN, THIS)})), 0)",
        unit="s",
        decimals=0,
        no_value="never seen",
    )


def endpoints() -> stat.Panel:
    """
    Number of endpoints.
    """
    return panels.stat_panel(
        Place(
            "Endpoints",
            "Places that are probed for this target: addresses, files, name servers. If there are more than"
            " you know of, the name resolves to something that you forgot.",
            3,
            6,
        ),
        f"count(count by (location) ({of(families.SUCCESS, THIS)}))",
    )


def policy() -> stat.Panel:
    """
    Policy of the target.
    """
    return panels.stat_panel(
        Place(
            "Policy",
            "How the target is renewed, as configured; it sets the deadlines. If it is wrong, set `policy`"
            " for the target.",
            2,
            6,
        ),
        f"count by (policy) ({of(families.TARGET, THIS)})",
        name="{{policy}}",
        text_mode=BigValueTextMode.NAME,
    )


def _problems(*matchers: str) -> str:
    return queries.told(THIS, *matchers)


def diagnosis() -> table.Panel:
    """
    Table of problems, each with its remedy.
    """
    by = "item, kind, problem, severity"
    each = f"min by ({by}) ({_problems()})"
    ends, since = queries.ends_and_starts(f"({each})")
    told = queries.told_in_words(_problems(), THIS)
    info = f"max by (item, problem, severity, cause, where, advice, alert) ({told})"
    well = queries.words(f"max by (target) ({of(families.TARGET, THIS)})", "severity", NOTHING)
    return panels.table_panel(
        Place(
            "Diagnosis",
            "All that is wrong with the target, the most severe first, with what to do. What another problem"
            " of the same item says already is left out, as in notifications. The runbook has the commands.",
            24,
            8,
        ),
        [
            f"{info}\nor on () {well}",
            queries.days_left(ends),
            milliseconds(ends),
            milliseconds(since),
        ],
        [
            Column("severity", "Severity", words=SEVERITIES, width=85, coloured=True),
            Column("problem", "Problem", words=PROBLEMS, width=150),
            Column("cause", "Cause", wrapped=True),
            # Where a serial number, which is one word, has room.
            Column("where", "Where", wrapped=True, width=365),
            Column("advice", "What to do first", wrapped=True),
            Column("item", "Item", width=90),
            Column("Value #B", "Days left", unit="none", decimals=1, scale=panels.DAYS, width=90),
            Column("Value #C", "Expires", unit=panels.DATE, width=135),
            Column("Value #D", "Not OK since", unit=panels.DATE, width=135),
            Column("alert", "Runbook", words=RUNBOOKS, links={"What to do": shell.TO_RUNBOOK}, width=205),
        ],
        sorted_by=[("Severity", False), ("Days left", False)],
        hidden=["target", "kind", "Value #A"],
        alone="Value #A",
        no_value="The target is not known yet: it appears after a scrape.",
    )


def served() -> statetimeline.Panel:
    """
    Certificates served over time: renewals as they became visible.
    """
    ends = f"bottomk({BANDS}, min by (location, item) ({of(families.NOT_AFTER, THIS, OWN)}))"
    return panels.states_panel(
        Place(
            "What is served: when it expires",
            "When each item expires, over time; later dates are blue, earlier ones grey. A new date is a"
            " renewal that reached this endpoint. Addresses that change at different times are a deployment"
            " that is slow, or stopped halfway. An earlier date than before: an old one is back.",
            12,
        ),
        [Series(milliseconds(ends), "{{location}} {{item}}")],
        no_value=NOT_SEEN,
        unit=panels.DATE,
    )


def probes() -> statetimeline.Panel:
    """
    Results of probes over time.
    """
    return panels.states_panel(
        Place(
            "Probe results",
            "For each endpoint, whether the probe saw it, and whether clients would accept what it"
            " presents. While a probe fails, what was seen last is shown.",
            12,
        ),
        [Series(f"bottomk({BANDS}, {HEALTHY})", "{{location}}")],
        no_value=NOT_PROBED,
        mappings=HEALTH,
    )


def time_left() -> timeseries.Panel:
    """
    Time left over time: a saw tooth for each renewal.
    """
    own = of(families.NOT_AFTER, THIS, OWN)
    left = f"(min by (location, item) ({own}) - time()) / {DAY:g}"

    def deadline(severity: str, colour: str) -> Series:
        told = of(families.ALERT, THIS, OWN, f'severity="{severity}"')
        return Series(f"max({own} - on ({ITEM}) {told}) / {DAY:g}", severity, colour, dashed=True)

    return panels.lines_panel(
        Place(
            "Time left",
            "Days until each item expires: a line falls, and jumps up with each renewal. Below the first"
            " dashed line a person is warned, below the second it is critical, below zero clients refuse it."
            " Number ① expires first.",
            12,
        ),
        [
            Series(
                numbered(left, "location, item", f"min by (location, item) ({own} @ end())"),
                "{{N}} {{location}} {{item}}",
            ),
            deadline("warning", panels.ORANGE),
            deadline("critical", panels.CRITICAL),
        ],
        # Of seconds Grafana would make weeks, with two decimals.
        unit="suffix:days",
        decimals=1,
        no_value=NOT_SEEN,
    )


def durations() -> timeseries.Panel:
    """
    Duration of probes over time.
    """
    return panels.lines_panel(
        Place(
            "Probe duration",
            "How long each probe took. If that is near the target's timeout, raise the timeout, or find out"
            " why the server is slow before it stops answering.",
            12,
        ),
        [
            Series(
                numbered(
                    f"max by (location) ({of(families.DURATION, THIS)})",
                    "location",
                    # What was never seen comes first.
                    f"(min by (location) ({of(families.NOT_AFTER, THIS, OWN)} @ end())"
                    f" or 0 * max by (location) ({of(families.SUCCESS, THIS)} @ end()))",
                ),
                "{{N}} {{location}}",
            )
        ],
        unit="s",
        at_least=0,
        no_value=NOT_PROBED,
    )


def addresses() -> table.Panel:
    """
    Table of endpoints, which should be alike.
    """
    few = f"and on (location) bottomk({ROWS}, {HEALTHY})"
    leaf = f"{of(families.CERTIFICATE, THIS)} and on ({ITEM}) {of(families.NOT_AFTER, THIS, SPEAKING)}"
    return panels.table_panel(
        Place(
            "Endpoints side by side",
            "What the last probe of each endpoint found. They should be alike: another serial number is"
            " another certificate, an older protocol is a server that was forgotten in an update.",
            24,
            6,
        ),
        [
            f"bottomk({ROWS}, {HEALTHY})",
            milliseconds(f"min by (location) ({of(families.NOT_AFTER, THIS, SPEAKING)}) {few}"),
            milliseconds(f"min by (location) ({of(families.LAST_SEEN, THIS)}) {few}"),
            f"max by (location) ({of(families.DURATION, THIS)}) {few}",
            f"max by (location, reason) ({of(families.FAILURE, THIS)}) {few}",
            f"max by (location, protocol, cipher) ({of(families.TLS, THIS)}) {few}",
            shortened(f"max by (location, serial, key) ({leaf}) {few}", "serial"),
        ],
        [
            Column("location", "Location"),
            Column("Value #A", "Last probe", words=HEALTH, coloured=True, width=150),
            Column("reason", "Why it failed", width=200),
            Column("Value #B", "Expires", unit=panels.DATE, width=165),
            Column("serial", "Serial", width=170),
            Column("key", "Key", width=95),
            Column("protocol", "Protocol", width=90),
            Column("cipher", "Cipher"),
            Column("Value #C", "Last seen", unit="dateTimeFromNow", width=160),
            Column("Value #D", "Probe duration", unit="s", width=120),
        ],
        sorted_by=[("Last probe", False), ("Location", False)],
        hidden=["Value #E", "Value #F", "Value #G"],
        no_value="No endpoint is known.",
    )


def items() -> table.Panel:
    """
    Table of items with their deadlines.
    """
    few = f"and on (location, item) {ITEMS}"

    def moment(family: Family, *matchers: str) -> str:
        return milliseconds(f"min by (location, item, kind) ({of(family, THIS, *matchers)}) {few}")

    why = f"max by (location, item, kind, explanation_url) ({of(families.RENEWAL_EXPLANATION, THIS)}) {few}"
    return panels.table_panel(
        Place(
            "Everything that expires here",
            "All items with their deadlines: certificates, domain registrations, revocation lists, stapled"
            " responses, zone signatures. `Newest` later than `Expires` means renewed but not served here. An"
            " intermediate without deadlines outlives the certificate that it comes with, which is as it"
            " should be.",
            24,
            8,
        ),
        [
            milliseconds(ITEMS),
            moment(families.NOT_BEFORE),
            moment(families.RENEWAL_DUE),
            moment(families.ALERT, 'severity="warning"'),
            moment(families.ALERT, 'severity="critical"'),
            moment(families.NEWEST),
            moment(families.PREVIOUS_NOT_AFTER),
            moment(families.RENEWAL_WINDOW),
            why,
            queries.days_left(ITEMS),
        ],
        [
            Column("kind", "Kind", words=KINDS, width=140),
            Column("location", "Location"),
            Column("item", "Item", width=90),
            Column("Value #J", "Days left", unit="none", decimals=1, scale=panels.DAYS, width=90),
            Column("Value #A", "Expires", unit=panels.DATE, width=140),
            Column("Value #B", "Valid from", unit=panels.DATE, width=140),
            Column("Value #C", "Renewal due", unit=panels.DATE, width=140),
            Column("Value #D", "Warning", unit=panels.DATE, width=140),
            Column("Value #E", "Critical", unit=panels.DATE, width=140),
            Column("Value #F", "Newest", unit=panels.DATE, width=140),
            Column("Value #G", "Previous expiry", unit=panels.DATE, width=140),
            Column("Value #H", "Issuer wants it", unit=panels.DATE, width=140),
            Column("explanation_url", "Why", links={"The issuer's page": "${__value.raw}"}, width=70),
        ],
        sorted_by=[("Expires", False)],
        hidden=["Value #I"],
        no_value="Nothing was ever seen here.",
    )


def chain() -> table.Panel:
    """
    Table of the chain's certificates, the leaf first.
    """
    who = "item, subject, issuer, key, serial, fingerprint_sha256"
    end = f"{of(families.CERTIFICATE, THIS)} * on ({ITEM}) group_left () {of(families.NOT_AFTER, THIS)}"
    few = f"topk({ROWS}, count by ({who}) ({of(families.CERTIFICATE, THIS)}))"
    return panels.table_panel(
        Place(
            "Certificate chain",
            "The presented certificates with their issuers. Each issuer should be the subject of the next"
            " row, up to a root that clients have. Several rows for one item: endpoints present different"
            " ones.",
            24,
            6,
        ),
        [
            shortened(one, "fingerprint_sha256")
            for one in (few, milliseconds(f"min by ({who}) ({end}) and on ({who}) {few}"))
        ],
        [
            Column("item", "Item", width=90),
            Column("subject", "Subject", wrapped=True),
            Column("issuer", "Issuer", wrapped=True),
            Column("Value #B", "Expires", unit=panels.DATE, width=160),
            Column("key", "Key", width=95),
            Column("Value #A", "Endpoints", unit="short", width=105),
            Column("serial", "Serial", width=370),
            Column("fingerprint_sha256", "SHA-256", width=175),
        ],
        sorted_by=[("Expires", False)],
        no_value="No certificate was ever seen here.",
    )


def elsewhere() -> table.Panel:
    """
    Table of all targets with the same certificates.
    """
    own = f"{of(families.CERTIFICATE, THIS)} and on ({ITEM}) {of(families.NOT_AFTER, THIS, SPEAKING)}"
    same = f"{of(families.CERTIFICATE, NOT_ABOVE, OTHERS)} and on (fingerprint_sha256) ({own})"
    return panels.table_panel(
        Place(
            "Targets with the same certificate",
            "The other targets that fail when this certificate expires. It is renewed once, and must be"
            " deployed to all of them.",
            24,
            5,
        ),
        [f"topk({ROWS}, count by (target, subject) (count by (target, subject, location) ({same})))"],
        [
            Column(
                "target",
                "Target",
                links={
                    "This target's dashboard": shell.TO_TARGET,
                    "The exporter's status page": shell.TO_STATUS,
                },
            ),
            Column("subject", "Subject"),
            Column("Value", "Endpoints", unit="short", width=105),
        ],
        sorted_by=[("Endpoints", True), ("Target", False)],
        no_value="No other target is known to have it.",
    )


DEADLINES = panels.words(
    {
        name: Word(text)
        for name, text in (
            ("renewal due", "Renewal due"),
            ("warning", "Warning"),
            ("critical", "Critical"),
            ("expiry", "Expiry"),
        )
    }
)
