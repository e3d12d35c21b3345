"""
The shipped Alertmanager configuration in a real Alertmanager: who is told what, and how it reads.

Waiting times are shortened, see `local_configuration`; all else is as shipped.
"""

import itertools
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.model.policies import DAY, Severity
from exporter.model.reasons import Fault, Reason
from exporter.report.forecast import forecast, numbered
from tests.golden.scenes import failed, seen
from tests.golden.values import Scene, certificate, facts, intermediate
from tests.golden.values import target as some_target
from tests.support.alertmanager import (
    PATIENCE,
    SECRETS,
    SHIPPED,
    Alertmanager,
    Inbox,
    Post,
    alertmanager,
    inbox,
    local_configuration,
)
from tests.support.certificates import NOW
from tests.support.processes import wait_until
from tests.support.readme import fenced

RUNBOOK = "https://github.com/expiry-exporter/expiry-exporter/blob/main/alerts/runbooks"
FINGERPRINT = "ab" * 32

ON_CALL = "secret of pagerduty-on-call"
PAYMENTS = "secret of pagerduty-payments"

ITEM_ALERTS = (
    ("ExpiryRenewalOverdue", "warning"),
    ("ExpirySoon", "warning"),
    ("ExpirySoon", "critical"),
    ("ExpiryPassed", "critical"),
    ("ExpiryNotDeployed", "warning"),
    ("ExpiryNotDeployed", "critical"),
    ("ExpiryWentBackwards", "warning"),
    ("ExpiryIdentityChanged", "warning"),
    ("ExpiryChainEndsBeforeLeaf", "warning"),
    ("ExpiryChainEndsBeforeLeaf", "critical"),
)
"""Alerts that are about one item of one target."""

TARGET_ALERTS = (
    ("ExpiryNotTrusted", "warning"),
    ("ExpiryNotTrusted", "critical"),
    ("ExpiryProbeFailing", "warning"),
    ("ExpiryProbeFailing", "critical"),
)

LINE_END = "\n"

Alert = dict[str, Any]


def alert(
    name: str,
    severity: str,
    *,
    title: str = "the cause",
    since: datetime | None = None,
    **labels: str,
) -> Alert:
    """
    An alert as Prometheus sends it; `since` is when it began, now if None.
    """
    return {
        "labels": {"alertname": name, "severity": severity, **labels},
        "annotations": {
            "summary": "One static sentence.",
            # Its first line is the title. No value that the exporter tells has an end of line.
            "description": f"{title.replace(LINE_END, ' ')}\nDescription of: {title}",
            "runbook_url": f"{RUNBOOK}/{name}.md",
        },
        "startsAt": (since or datetime.now(UTC)).isoformat(),
    }


def item_alert(name: str, severity: str, target: str = "https://lms.example.com", **more: Any) -> Alert:
    """
    An alert about the leaf of a target.
    """
    labels = {"item": "leaf", "kind": "leaf", "fingerprint_sha256": FINGERPRINT}
    return alert(name, severity, **{"target": target, **labels, **more})


def target_alert(name: str, severity: str, target: str = "https://lms.example.com", **more: Any) -> Alert:
    """
    An alert about a target.
    """
    return alert(name, severity, **{"target": target, **more})


def resolved(one: Alert) -> Alert:
    """
    The same alert, over now.
    """
    return {**one, "endsAt": datetime.now(UTC).isoformat()}


@dataclass(frozen=True, slots=True)
class Notifier:
    """
    An Alertmanager with the shipped configuration, and where its notifications arrive.
    """

    alertmanager: Alertmanager
    inbox: Inbox

    def send(self, *alerts: Alert) -> None:
        """
        Send alerts, all in one request.
        """
        self.alertmanager.post(alerts)

    def all_told(self) -> None:
        """
        Return when whatever was sent before is told: alerts that are sent later were.

        When the first of them arrives, all groups before it are on their way; the second one gives them time.
        """
        for _ in range(2):
            count = len(self.inbox.mails) + 1
            self.send(alert(f"Later{count}", "none"))
            self.mailed(count)

    def told(self, channel: str, count: int = 1) -> list[Mapping[str, Any]]:
        """
        What a Slack channel was told, once it was told so many things.
        """
        wait_until(
            lambda: len(self.inbox.slack(channel)) >= count, deadline=PATIENCE, what=f"{channel} is told"
        )
        return self.inbox.slack(channel)

    def posted(self, path: str, count: int) -> list[Post]:
        """
        The posts of a webhook, once there are so many.
        """
        wait_until(
            lambda: len(self.inbox.webhooks(path)) >= count,
            deadline=PATIENCE,
            what=f"{count} posts to {path}",
        )
        return self.inbox.webhooks(path)

    def paged(self, key: str, count: int = 1) -> list[Mapping[str, Any]]:
        """
        The pages with a routing key, once there are so many.
        """
        wait_until(
            lambda: len(self.inbox.pages(key)) >= count, deadline=PATIENCE, what=f"{count} pages for {key}"
        )
        return self.inbox.pages(key)

    def mailed(self, count: int = 1) -> tuple[str, str, str]:
        """
        Subject, plain text and HTML of the mail with this number, once there is one.
        """
        wait_until(lambda: len(self.inbox.mails) >= count, deadline=PATIENCE, what=f"mail {count} arrives")
        mail = self.inbox.mails[count - 1]
        plain, html = mail.get_body(("plain",)), mail.get_body(("html",))
        assert plain is not None
        assert html is not None
        return mail["Subject"], plain.get_content(), html.get_content()

    def suppressed(self) -> dict[tuple[str, str, str], bool]:
        """
        Whether each alert is inhibited, by name, severity and target, once all that were sent are judged.
        """
        # Sources of inhibition are taken in one after the other: this pair's is the last one.
        marker = [item_alert("ExpirySoon", severity, "marker") for severity in ("warning", "critical")]
        self.send(*reversed(marker))
        found: dict[tuple[str, str, str], bool] = {}

        def judged() -> bool:
            found.clear()
            for one in self.alertmanager.alerts():
                labels = one["labels"]
                key = labels["alertname"], labels["severity"], labels.get("target", "")
                found[key] = one["status"]["state"] == "suppressed"
            return found.get(("ExpirySoon", "warning", "marker"), False)

        wait_until(judged, deadline=PATIENCE, what="the marker is inhibited")
        return {key: value for key, value in found.items() if key[2] != "marker"}


@pytest.fixture
def notifier(tmp_path: Path) -> Iterator[Notifier]:
    """
    A new Alertmanager.
    """
    with inbox() as box, alertmanager(tmp_path, local_configuration(tmp_path, box)) as running:
        yield Notifier(running, box)


@pytest.fixture
def undivided(tmp_path: Path) -> Iterator[Notifier]:
    """
    A new Alertmanager that mails everything: what a user has who took all but the routes.
    """
    with inbox() as box:
        configuration = local_configuration(tmp_path, box, lambda document: document["route"].pop("routes"))
        with alertmanager(tmp_path, configuration) as running:
            yield Notifier(running, box)


def test_amtool_accepts_the_shipped_file() -> None:
    """
    The file is good as it is, without any secret on the machine, and so are its templates.
    """
    done = subprocess.run(
        ["amtool", "check-config", SHIPPED], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 templates" in done.stdout


def test_no_secret_stands_in_the_shipped_file() -> None:
    """
    Whatever names a secret names a file, and all of these files are in one directory.
    """
    keys = re.findall(
        r"^ +(?:- )?(\w*(?:key|password|token|credentials|api_url|secret)\w*): *(\S+)", text(), re.MULTILINE
    )
    assert len(keys) >= 5
    for key, value in keys:
        assert key.endswith("_file"), key
        assert value.startswith(SECRETS), value


def test_intervals_remind() -> None:
    """
    Critical alerts are repeated within hours, warnings daily, and both before Alertmanager forgets (5 days).
    """
    route = yaml.safe_load(text())["route"]
    critical = [
        one
        for one in routes(route)
        if 'severity="critical"' in one.get("matchers", ()) and len(one["matchers"]) == 1
    ]
    assert {one["repeat_interval"] for one in critical} <= {"1h", "2h", "3h", "4h"}
    assert len(critical) == 2
    assert route["repeat_interval"] == "1d"


def text() -> str:
    """
    The shipped file.
    """
    return SHIPPED.read_text(encoding="utf-8")


def routes(route: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """
    A route and all below it.
    """
    yield route
    for child in route.get("routes", ()):
        yield from routes(child)


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        ("alertname=ExpiryPassed severity=critical", "on-call"),
        ("alertname=ExpirySoon severity=warning", "chat"),
        ("alertname=ExpirySoon severity=critical team=nobody-knows", "on-call"),
        ("alertname=ExpirySoon severity=critical team=payments", "payments-pager"),
        ("alertname=ExpirySoon severity=warning team=payments", "payments-chat"),
        ("alertname=ExpiryExporterDown severity=critical job=expiry", "on-call"),
        ("alertname=ExpiryClockSkew severity=warning job=expiry", "chat"),
        ("alertname=ExpiryHeartbeat severity=critical heartbeat=true", "heartbeat-critical"),
        ("alertname=ExpiryHeartbeat severity=warning heartbeat=true", "heartbeat-warning"),
        # Prometheus's external labels come on heartbeats too.
        ("alertname=ExpiryHeartbeat severity=critical heartbeat=true team=payments", "heartbeat-critical"),
        ("alertname=ExpirySoon severity=critical heartbeat=true", "on-call"),
        ("alertname=DiskFull severity=warning", "everyone"),
        ("alertname=DiskFull", "everyone"),
        ("alertname=ExpirySoon", "everyone"),
    ],
)
def test_alert_is_routed(labels: str, receiver: str) -> None:
    """
    Severity and team choose who is told, and what no route takes is told to everyone.
    """
    command = ["amtool", "config", "routes", "test", f"--config.file={SHIPPED}"]
    done = subprocess.run(
        [*command, *labels.split()], capture_output=True, text=True, check=True, timeout=PATIENCE
    )
    assert done.stdout.split() == [receiver]


def test_heartbeats_come_again_and_again_on_both_routes(notifier: Notifier) -> None:
    """
    Each severity's switch is posted to repeatedly, with its token: critical does not inhibit warning here.
    """
    beats = [alert("ExpiryHeartbeat", severity, heartbeat="true") for severity in ("critical", "warning")]
    notifier.send(*beats)
    for severity in ("critical", "warning"):
        path = f"/expiry-{severity}"
        posts = notifier.posted(path, 3)
        assert {one.authorization for one in posts} == {"Bearer secret of deadmansswitch-token"}
    assert not any(notifier.suppressed().values())


def test_resolved_heartbeat_is_not_posted(notifier: Notifier) -> None:
    """
    A heartbeat that ended gives no post: a switch would take it for a sign of life.
    """
    beat = alert("ExpiryHeartbeat", "critical", heartbeat="true")
    notifier.send(beat)
    notifier.posted("/expiry-critical", 1)
    notifier.send(resolved(beat))
    wait_until(
        lambda: not notifier.alertmanager.alerts(), deadline=PATIENCE, what="the heartbeat is forgotten"
    )
    notifier.all_told()
    assert {one.document["status"] for one in notifier.inbox.webhooks("/expiry-critical")} == {"firing"}


def test_one_certificate_on_200_targets_is_one_notification(notifier: Notifier) -> None:
    """
    A wildcard on 200 hosts is told once, with the count in the title and a list that ends.
    """
    notifier.send(
        *(
            item_alert(
                "ExpirySoon", "warning", f"host-{n:03}", title=f"Certificate for host-{n:03} ends in 3d"
            )
            for n in range(200)
        )
    )
    (told,) = notifier.told("#certificates")
    assert re.fullmatch(
        r"Certificate for host-\d{3} ends in 3d and 199 more targets with the same certificate", told["title"]
    )
    assert told["fallback"] == told["title"]
    assert told["title_link"] == f"{RUNBOOK}/ExpirySoon.md"
    lines = told["text"].splitlines()
    assert "Firing, 200:" in lines
    assert len([line for line in lines if line.startswith("- ")]) == 20
    assert "… and 180 more" in lines
    notifier.all_told()
    assert len(notifier.inbox.slack("#certificates")) == 1


def test_all_that_is_wrong_with_a_certificate_is_one_notification(notifier: Notifier) -> None:
    """
    Several problems, items and targets of one certificate: one page, and one message about what is no page.
    """
    notifier.send(
        item_alert("ExpiryPassed", "critical", "sso", item="idp-signing", title="signing EXPIRED"),
        item_alert("ExpirySoon", "critical", "sso", item="idp-signing", title="signing ends"),
        item_alert("ExpiryNotDeployed", "critical", "sso", item="idp-signing", title="signing not deployed"),
        item_alert("ExpiryNotDeployed", "warning", "sso", item="idp-encryption", title="not deployed"),
        item_alert("ExpirySoon", "critical", "partner", item="idp-signing", title="partner's ends"),
        item_alert("ExpiryRenewalOverdue", "warning", "other", title="other's is overdue"),
    )
    (page,) = notifier.paged(ON_CALL)
    (told,) = notifier.told("#certificates")
    assert page["payload"]["summary"] in {
        f"{title} and 1 more alert about the same certificate"
        for title in ("signing EXPIRED", "partner's ends")
    }
    assert told["title"].endswith(" and 1 more alert about the same certificate")
    notifier.all_told()
    assert len(notifier.inbox.pages(ON_CALL)) == 1
    assert len(notifier.inbox.slack("#certificates")) == 1


def test_the_parts_of_a_description_are_lines(notifier: Notifier) -> None:
    """
    What, where, why, what first and with which command are found at a glance, and the command is unchanged.
    """
    command = "echo | openssl s_client -connect 192.0.2.1:443 -servername 'a b' | openssl x509 -noout -dates"
    one = item_alert("ExpirySoon", "critical", "a")
    one["annotations"]["description"] = (
        f"a ends in 2d\nWhere: 192.0.2.1:443. Why: it is so. First step: Renew it. Command: {command} More: b"
    )
    notifier.send(one)
    (page,) = notifier.paged(ON_CALL)
    lines = page["payload"]["custom_details"]["firing"].splitlines()
    assert lines[:6] == [
        *("a ends in 2d", "Where: 192.0.2.1:443.", "Why: it is so.", "First step: Renew it."),
        *(f"Command: {command}", "More: b"),
    ]


def test_two_certificates_are_two_notifications(notifier: Notifier) -> None:
    """
    Incidents with different certificates are told apart, each under its own title.
    """
    one, two = "11" * 32, "22" * 32
    notifier.send(
        item_alert("ExpirySoon", "warning", "a", title="a ends in 3d", fingerprint_sha256=one),
        item_alert("ExpirySoon", "warning", "b", title="b ends in 3d", fingerprint_sha256=two),
    )
    told = notifier.told("#certificates", 2)
    assert sorted(each["title"] for each in told) == ["a ends in 3d", "b ends in 3d"]


def test_each_team_is_told_of_its_own_targets(notifier: Notifier) -> None:
    """
    One certificate in two teams is one notification for each, and names only their targets.
    """
    notifier.send(
        item_alert("ExpiryPassed", "critical", "shop", title="Certificate for shop EXPIRED 1m ago"),
        item_alert(
            "ExpiryPassed", "critical", "pay", title="Certificate for pay EXPIRED 1m ago", team="payments"
        ),
    )
    (ours,) = notifier.paged(ON_CALL)
    (theirs,) = notifier.paged(PAYMENTS)
    assert ours["payload"]["summary"] == "Certificate for shop EXPIRED 1m ago"
    assert theirs["payload"]["summary"] == "Certificate for pay EXPIRED 1m ago"


def test_fleet_that_cannot_be_seen_is_one_notification(notifier: Notifier) -> None:
    """
    When the network fails, one page says how many targets can't be seen.
    """
    notifier.send(
        *(
            target_alert("ExpiryProbeFailing", "critical", f"host-{n:03}", title=f"host-{n:03} can't be seen")
            for n in range(200)
        )
    )
    (page,) = notifier.paged(ON_CALL)
    assert re.fullmatch(r"host-\d{3} can't be seen and 199 more targets", page["payload"]["summary"])
    notifier.all_told()
    assert len(notifier.inbox.pages(ON_CALL)) == 1


def test_title_names_what_is_new_in_a_group(notifier: Notifier) -> None:
    """
    A target that joins an old group is the reason of the next notification, so it is in its title.
    """
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    notifier.send(
        target_alert("ExpiryProbeFailing", "critical", "a-old", title="a-old can't be seen", since=long_ago)
    )
    notifier.paged(ON_CALL)
    notifier.send(target_alert("ExpiryProbeFailing", "critical", "z-new", title="z-new can't be seen"))
    assert notifier.paged(ON_CALL, 2)[1]["payload"]["summary"] == "z-new can't be seen and 1 more target"


def test_title_names_the_most_urgent_of_a_group(undivided: Notifier) -> None:
    """
    Where a group mixes severities, the title and the description are those of a critical alert.
    """
    undivided.send(
        # Alertmanager sorts by labels, and `item` comes before `severity`.
        item_alert("ExpirySoon", "warning", "a", item="chain-1", title="a ends in 40d"),
        item_alert(
            "ExpirySoon", "critical", "b", title="b ends in 2d", since=datetime(2020, 1, 1, tzinfo=UTC)
        ),
        item_alert("ExpirySoon", "warning", "c", title="c ends in 40d"),
    )
    subject, plain, _ = undivided.mailed()
    assert subject == "b ends in 2d and 2 more targets with the same certificate"
    assert "Since: 2020-01-01 00:00 UTC" in plain
    assert plain.splitlines()[:2] == ["b ends in 2d", "Description of: b ends in 2d"]


def test_critical_inhibits_warning_of_the_same_item_only(notifier: Notifier) -> None:
    """
    Of two severities of an alert only the critical one is told; other items, targets, exporters keep theirs.
    """
    notifier.send(
        item_alert("ExpirySoon", "critical", "same item"),
        item_alert("ExpirySoon", "warning", "same item"),
        item_alert("ExpirySoon", "critical", "other item", item="leaf-rsa"),
        item_alert("ExpirySoon", "warning", "other item", item="leaf-ecdsa"),
        item_alert("ExpirySoon", "warning", "other target"),
        item_alert("ExpiryWentBackwards", "warning", "same item"),
        alert("ExpiryClockSkew", "critical", job="expiry", instance="a"),
        alert("ExpiryClockSkew", "warning", job="expiry", instance="b"),
    )
    assert [key for key, value in notifier.suppressed().items() if value] == [
        ("ExpirySoon", "warning", "same item")
    ]


def test_inhibited_alert_is_not_told(notifier: Notifier) -> None:
    """
    While the page says that it has run out, the channel is not told that it will.
    """
    passed = item_alert("ExpiryPassed", "critical", title="EXPIRED")
    notifier.send(passed)
    notifier.paged(ON_CALL)
    notifier.send(*(item_alert(*one, title="EARLIER") for one in ITEM_ALERTS if one[0] != "ExpiryPassed"))
    notifier.all_told()
    assert [one["payload"]["summary"] for one in notifier.inbox.pages(ON_CALL)] == ["EXPIRED"]
    assert notifier.inbox.slack("#certificates") == []


def test_inhibition_of_a_pair(notifier: Notifier) -> None:
    """
    Exactly the pairs that are meant inhibit each other, of all pairs of alerts of one target.
    """
    everything = (*ITEM_ALERTS, *TARGET_ALERTS)
    expected: dict[tuple[str, str, str], bool] = {}
    for first, second in itertools.permutations(everything, 2):
        target = f"{'-'.join(first)} and {'-'.join(second)}"
        for one in (first, second):
            make = item_alert if one in ITEM_ALERTS else target_alert
            notifier.send(make(*one, target))
        expected[*second, target] = inhibits(first, second)
        expected[*first, target] = inhibits(second, first)
    assert notifier.suppressed() == expected


def inhibits(source: tuple[str, str], target: tuple[str, str]) -> bool:
    """
    True when the first alert is meant to inhibit the second one.
    """
    name, severity = source
    if name == target[0]:
        return (severity, target[1]) == ("critical", "warning")
    if name == "ExpiryPassed":
        return target in ITEM_ALERTS or target[0] == "ExpiryNotTrusted"
    if source == ("ExpiryNotTrusted", "critical"):
        return target[0] in {"ExpiryWentBackwards", "ExpiryIdentityChanged"}
    if name == "ExpiryNotDeployed":
        lower = severity == "critical" or target[1] == "warning"
        return target[0] in {"ExpiryRenewalOverdue", "ExpirySoon"} and lower
    return name == "ExpirySoon" and target[0] == "ExpiryRenewalOverdue"


def test_inhibition_never_silences_a_matter(notifier: Notifier) -> None:
    """
    Of any three alerts of an item, and of all, one that is told is as severe as the most severe.
    """
    sets = [*itertools.combinations(ITEM_ALERTS, 3), ITEM_ALERTS]
    names = {f"set-{number}": alerts for number, alerts in enumerate(sets)}
    notifier.send(*(item_alert(*one, target) for target, alerts in names.items() for one in alerts))
    suppressed = notifier.suppressed()
    assert len(suppressed) == sum(map(len, sets))
    for target, alerts in names.items():
        told = {severity for name, severity in alerts if not suppressed[name, severity, target]}
        assert min(told) == min(severity for _, severity in alerts), alerts


def test_a_cluster_inhibits_nothing_of_another(notifier: Notifier) -> None:
    """
    What a ruler over several clusters sends of targets of the same name are several matters.
    """
    notifier.send(
        item_alert("ExpiryPassed", "critical", "api", cluster="east"),
        item_alert("ExpirySoon", "critical", "api", cluster="west"),
        item_alert("ExpirySoon", "warning", "other", cluster="east"),
        item_alert("ExpirySoon", "critical", "other", cluster="west"),
        target_alert("ExpiryNotTrusted", "critical", "api", cluster="west"),
    )
    assert not any(notifier.suppressed().values())


STOCK = {
    "source_matchers": ['severity = "critical"'],
    "target_matchers": ['severity =~ "warning|info"'],
    "equal": ["namespace", "alertname"],
}
"""The inhibition that the Alertmanager of kube-prometheus-stack comes with."""


@pytest.mark.parametrize("advised", [False, True])
def test_the_manual_says_how_to_keep_warnings_beside_the_rule_of_a_chart(
    tmp_path: Path, advised: bool
) -> None:
    """
    The chart's rule silences other targets and a heartbeat, the one that is advised does not.
    """
    (block,) = (one for one in fenced("yaml") if one.startswith("inhibit_rules"))
    rules = yaml.safe_load(block)["inhibit_rules"] if advised else [STOCK]
    with inbox() as box:
        configuration = local_configuration(
            tmp_path, box, lambda document: document.update(inhibit_rules=rules)
        )
        with alertmanager(tmp_path, configuration) as running:
            notifier = Notifier(running, box)
            notifier.send(
                item_alert("ExpirySoon", "critical", "a", namespace="monitoring"),
                item_alert("ExpirySoon", "warning", "a", namespace="monitoring"),
                item_alert("ExpirySoon", "warning", "b", namespace="monitoring"),
                alert("ExpiryHeartbeat", "critical"),
                alert("ExpiryHeartbeat", "warning"),
                alert("DiskFull", "critical", namespace="monitoring"),
                alert("DiskFull", "warning", namespace="monitoring"),
            )
            silenced = {key for key, value in notifier.suppressed().items() if value}
    others = {("ExpirySoon", "warning", "b"), ("ExpiryHeartbeat", "warning", "")}
    always = {("ExpirySoon", "warning", "a"), ("DiskFull", "warning", "")}
    assert silenced == (always if advised else always | others)


def test_exporter_that_is_down_inhibits_nothing(notifier: Notifier) -> None:
    """
    What was wrong before the exporter went down is told while it is down.
    """
    notifier.send(
        alert("ExpiryExporterDown", "critical", job="expiry", instance="one:10119"),
        alert("ExpiryConfigReloadFailed", "warning", job="expiry", instance="one:10119"),
        item_alert("ExpirySoon", "warning"),
        item_alert("ExpiryPassed", "critical", "another"),
        target_alert("ExpiryProbeFailing", "warning"),
    )
    assert not any(notifier.suppressed().values())


def test_alerts_of_other_rules_are_left_alone(notifier: Notifier) -> None:
    """
    Our inhibitions don't reach into what the same Alertmanager is told by others.
    """
    notifier.send(
        alert("DiskFull", "critical", instance="a"),
        alert("DiskFull", "warning", instance="a"),
        item_alert("ExpiryPassed", "critical"),
        target_alert("LatencyHigh", "warning"),
    )
    assert not any(notifier.suppressed().values())


def test_what_is_over_is_told(notifier: Notifier) -> None:
    """
    The pager's incident is closed and the channel is told what was resolved.
    """
    passed = item_alert("ExpiryPassed", "critical", title="Certificate for a EXPIRED 4m ago")
    late = item_alert("ExpiryRenewalOverdue", "warning", "b", title="Renewal of b is overdue")
    notifier.send(passed, late)
    (opened,) = notifier.paged(ON_CALL)
    notifier.told("#certificates")
    notifier.send(resolved(passed), resolved(late))
    _, closed = notifier.paged(ON_CALL, 2)
    assert (opened["event_action"], closed["event_action"]) == ("trigger", "resolve")
    assert opened["dedup_key"] == closed["dedup_key"]
    told = notifier.told("#certificates", 2)
    assert told[1]["title"] == "Resolved: b: the renewed one is in place, or it is watched no more"
    assert told[1]["text"].startswith(
        "b: the renewed one is in place, or it is watched no more.\nIt was: Renewal of b is overdue\nFrom "
    )
    assert "Resolved, 1:\n- b: the renewed one is in place, or it is watched no more" in told[1]["text"]
    assert told[0]["color"] != told[1]["color"]


def test_what_is_over_in_a_group_that_fires_is_listed(notifier: Notifier) -> None:
    """
    While a part of a group fires, the title is about that part and the text lists what is over.
    """
    first, second = (item_alert("ExpirySoon", "warning", name, title=f"{name} ends in 3d") for name in "ab")
    notifier.send(first, second)
    notifier.told("#certificates")
    notifier.send(resolved(first))
    told = notifier.told("#certificates", 2)[1]
    assert told["title"] == "b ends in 3d"
    assert "Resolved, 1:\n- a: one that lasts longer is in place, or it is watched no more" in told["text"]
    assert "Firing" not in told["text"]


HOSTILE = (
    'Certificate for "a\'b"\r\nBcc: x@example.com\u2028<script>alert(1)</script> <!channel> &lt;\u202e\x07.'
)
HARMLESS = (
    'Certificate for "a\'b" Bcc: x@example.com '
    "\u2039script\u203aalert(1)\u2039/script\u203a \u2039!channel\u203a &lt; ."
)
"""What a reader shall see of it."""


def test_hostile_values_are_harmless_in_chat_and_pager(notifier: Notifier) -> None:
    """
    Quotes stay, line ends and control characters become a space, and no value can be Slack's markup.
    """
    notifier.send(
        item_alert("ExpirySoon", "warning", HOSTILE, title=HOSTILE),
        item_alert("ExpirySoon", "critical", "another", title=HOSTILE),
    )
    (told,) = notifier.told("#certificates")
    (page,) = notifier.paged(ON_CALL)
    assert told["title"] == told["fallback"] == HARMLESS
    assert page["payload"]["summary"] == HARMLESS
    assert "<" not in told["text"]
    assert f"Description of: {HARMLESS}" in told["text"]
    assert f"target: {HARMLESS}" in told["text"]
    assert page["payload"]["custom_details"]["firing"].startswith(f"{HARMLESS}\nDescription of: {HARMLESS}\n")


class Markup(HTMLParser):
    """
    Collects the tags, the text and the links of a page.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str | None] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """
        Note the tag.
        """
        self.tags.add(tag)
        self.links += [value for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        """
        Note the text.
        """
        self.words += data


def test_hostile_values_are_harmless_in_mail(undivided: Notifier) -> None:
    """
    The subject is one line that adds no header, and the page has our tags only and shows the text.
    """
    one = item_alert("ExpirySoon", "warning", HOSTILE, title=HOSTILE)
    one["annotations"]["runbook_url"] = 'javascript:alert(1)"><script>'
    undivided.send(one)
    subject, plain, html = undivided.mailed()
    assert subject == HARMLESS
    assert undivided.inbox.mails[0]["Bcc"] is None
    assert plain.splitlines()[:2] == [HARMLESS, f"Description of: {HARMLESS}"]
    page = Markup()
    page.feed(html)
    assert page.tags == {"html", "body", "h1", "p", "a", "pre"}
    assert page.words.count(HARMLESS) >= 3
    assert not any(link is not None and link.startswith("javascript") for link in page.links)


def test_mail_has_title_description_runbook_and_labels(undivided: Notifier) -> None:
    """
    A mail says the cause in its subject and, in both forms, what to do and whom it concerns.
    """
    undivided.send(item_alert("ExpiryPassed", "critical", title="EXPIRED", team="payments"))
    subject, plain, html = undivided.mailed()
    assert subject == "EXPIRED"
    page = Markup()
    page.feed(html)
    for words in ("Description of: EXPIRED", f"Runbook: {RUNBOOK}/ExpiryPassed.md", "team: payments"):
        assert words in plain
        assert words in page.words
    assert page.links == [f"{RUNBOOK}/ExpiryPassed.md"]


def test_alert_without_annotations_is_told_by_its_name(undivided: Notifier) -> None:
    """
    Other rules' alerts, which lack our annotations, have a title and their labels too; some have a title.
    """
    undivided.send({"labels": {"alertname": "DiskFull", "instance": "db-1"}})
    subject, plain, html = undivided.mailed()
    assert subject == "DiskFull"
    said = {"title": "The disk is full", "description": "Two lines\nof others."}
    # One of them may have a name like ours.
    for number, name in enumerate(("DiskFuller", "ExpiryOfOurDisks"), start=2):
        undivided.send({"labels": {"alertname": name}, "annotations": said})
        subject, body, _ = undivided.mailed(number)
        assert subject == "The disk is full"
        assert body.splitlines()[0] == "Two lines of others."
    undivided.send({"labels": {"alertname": "ExpiryOfTeam"}, "annotations": {"summary": "It ends."}})
    assert undivided.mailed(4)[0] == "It ends."
    assert "Runbook:" not in plain
    assert "instance: db-1" in plain
    assert "db-1" in html


def test_long_values_are_cut(notifier: Notifier) -> None:
    """
    A title and a line of the list are bounded, so that a notification is never refused for its size.
    """
    notifier.send(
        *(item_alert("ExpirySoon", "warning", f"{n}", title=f"{n} " + "é" * 5000) for n in range(30))
    )
    (told,) = notifier.told("#certificates")
    assert len(told["title"]) < 1100
    assert len(told["text"]) < 24_000


def test_the_forecast_counts_what_is_really_sent(notifier: Notifier) -> None:
    """
    Its notifications of now are the groups that arrive, and what it says is inhibited is suppressed.
    """
    scene = Scene()
    for number in range(5):
        ended = certificate("*.example.com", begin=NOW - 90 * DAY, end=NOW - DAY)
        scene.see(some_target(name=f"wild-{number}"), seen(facts(ended)))
        scene.see(some_target(name=f"gone-{number}"), failed(Reason.CONNECT_TIMEOUT), at=NOW - DAY)
    late = certificate("late.example.com", begin=NOW - 83 * DAY, end=NOW + 7.5 * DAY)
    scene.see(some_target(name="late"), seen(facts(late)), found=[Fault.NAME_MISMATCH], at=NOW - DAY)
    chain = facts(certificate("chain.example.com"), intermediate(end=NOW + 5 * DAY))
    scene.see(some_target(name="chain"), seen(chain))
    foreseen = forecast(scene.rows(), NOW, 1)
    now = [one for one in foreseen.alerts if foreseen.firing(one)]
    sent = [one for one in foreseen.notifications if one.at <= NOW]
    assert len(sent) < len(now)
    assert {one.severity for one in sent} == {Severity.WARNING, Severity.CRITICAL}
    notifier.send(
        *(
            alert(
                one.name,
                one.severity,
                target=one.target,
                item=one.item,
                fingerprint_sha256=one.fingerprint_sha256 or "",
            )
            for one in now
        )
    )
    notifier.all_told()
    for channel, severity in (("#certificates", Severity.WARNING), (None, Severity.CRITICAL)):
        arrived = notifier.inbox.slack(channel) if channel else notifier.inbox.pages(ON_CALL)
        assert len(arrived) == sum(one.severity is severity for one in sent), severity
    suppressed = {
        (one["labels"]["alertname"], one["labels"]["target"], one["labels"]["severity"])
        for one in notifier.alertmanager.alerts()
        if one["status"]["state"] == "suppressed"
    }
    numbers = numbered(foreseen)
    assert suppressed == {(one.name, one.target, str(one.severity)) for one in now if one.key not in numbers}
