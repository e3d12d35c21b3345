"""
Runbooks: a person at 3 a.m. finds the same headings in each, and what they paste from it works.
"""

import json
import re
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from exporter.cli.main import parser
from exporter.lookups import dns_checking
from exporter.model.reasons import Fault, Reason
from exporter.report.families import FAMILIES
from tests.support.processes import answers, free_port, running
from tests.support.readme import REPOSITORY

RUNBOOKS = sorted((REPOSITORY / "alerts" / "runbooks").glob("*.md"))

_FENCE = re.compile(r"^( *)```(\w+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)

every_runbook = pytest.mark.parametrize("runbook", RUNBOOKS, ids=lambda path: path.stem)


def read(runbook: Path) -> str:
    """
    The text of a runbook.
    """
    return runbook.read_text(encoding="utf-8")


def fenced(runbook: Path, language: str) -> list[str]:
    """
    The fenced blocks of this language, also those in lists.
    """
    return [
        re.sub(rf"^{indent}", "", block, flags=re.MULTILINE)
        for indent, found, block in _FENCE.findall(read(runbook))
        if found == language
    ]


@every_runbook
def test_runbook_has_the_four_headings(runbook: Path) -> None:
    """
    Its title is the alert's name, then come Meaning, Impact, Diagnosis and Mitigation, each with some text.
    """
    sections = re.split(r"^#+ (.+)$", _FENCE.sub("", read(runbook)), flags=re.MULTILINE)
    assert sections[0] == ""
    assert sections[1::2] == [runbook.stem, "Meaning", "Impact", "Diagnosis", "Mitigation"]
    assert all(len(text.split()) >= 10 for text in sections[4::2])


@every_runbook
def test_runbook_is_short_and_has_something_to_paste(runbook: Path) -> None:
    """
    25 to 60 lines, no longer than 125 characters but in tables, with at least one command and one query.
    """
    lines = read(runbook).splitlines()
    assert 25 <= len(lines) <= 60
    assert not [line for line in lines if len(line) > 125 and not line.startswith("|")]
    assert fenced(runbook, "sh")
    assert fenced(runbook, "promql")


@every_runbook
def test_shell_accepts_the_commands(runbook: Path) -> None:
    """
    Every block of commands is good shell.
    """
    for block in fenced(runbook, "sh"):
        done = subprocess.run(
            ["bash", "-n"], input=block, capture_output=True, text=True, check=False, timeout=10
        )
        assert done.returncode == 0, block + done.stderr


def test_prometheus_accepts_the_queries(tmp_path: Path) -> None:
    """
    Every query of every runbook parses.
    """
    queries = [query for runbook in RUNBOOKS for query in fenced(runbook, "promql")]
    indented = (re.sub(r"^", "          ", query, flags=re.MULTILINE) for query in queries)
    rules = "".join(
        f"      - record: query:number{n}\n        expr: |\n{query}\n" for n, query in enumerate(indented)
    )
    file = tmp_path / "rules.yml"
    file.write_text(f"groups:\n  - name: runbooks\n    rules:\n{rules}", encoding="utf-8")
    done = subprocess.run(
        ["promtool", "check", "rules", file], capture_output=True, text=True, check=False, timeout=20
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(queries)} rules found" in done.stdout


@every_runbook
def test_runbook_names_only_what_exists(runbook: Path) -> None:
    """
    Metrics, flags, reasons in tables, and other runbooks are real ones.
    """
    text = read(runbook)
    assert set(re.findall(r"\bexpiry_\w+", text)) <= {family.name for family in FAMILIES}
    flags = {flag for action in parser()._actions for flag in action.option_strings}
    assert set(re.findall(r"--(?:config|log|shard|state|sweep|web)\.[a-z-]+", text)) <= flags
    cells = re.findall(r"^\| (`.+?`) \|", text, re.MULTILINE)
    assert {reason for cell in cells for reason in re.findall(r"`(\w+)`", cell)} <= {*Reason, *Fault}
    assert {f"{name}.md" for name in re.findall(r"\]\((Expiry\w+)\.md\)", text)} <= {
        one.name for one in RUNBOOKS
    }


OF_A_HOST = (
    r"\b(systemctl|journalctl|kubectl|certbot|dig|whois|chronyc|amtool|nginx|timedatectl|ps|jq|9090)\b"
)
"""What is no part of the demo: programs and files of the host that an alert is about."""

ON_THE_DEMO = [
    pytest.param(block, id=f"{runbook.stem}-{number}")
    for runbook in RUNBOOKS
    for number, block in enumerate(fenced(runbook, "sh"))
    if re.search(r"localhost:10119|openssl s_client|expiry-exporter", block)
    and not re.search(OF_A_HOST, block)
    and not re.search(r"/etc/(pki|ssl|letsencrypt|prometheus)", block)
]


@dataclass(frozen=True, slots=True)
class Demo:
    """
    The demo while it runs.
    """

    port: int
    location: str
    """Where its target `expired` is, as notifications name it."""
    configuration: Path
    """Names the same target."""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """
    A running demo that was scraped once.
    """
    port = free_port()
    address = f"127.0.0.1:{port}"
    command = [sys.executable, "-m", "exporter", "demo", f"--web.listen-address={address}"]
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with running(command, ready=answers(f"http://{address}/metrics")):
        with opener.open(f"http://{address}/api/v1/items?target=expired", timeout=10) as answer:
            (item, *_) = json.load(answer)["items"]
        configuration = tmp_path_factory.mktemp("demo") / "expiry.yml"
        configuration.write_text(f"targets:\n  - {{url: 'tls://{item['location']}', name: expired}}\n")
        yield Demo(port, item["location"], configuration)


def for_the_demo(block: str, demo: Demo) -> str:
    """
    The commands with the values that a notification about the demo has, and its address and configuration.
    """
    block = re.sub(r"\bTARGET=\S+", "TARGET=expired", block)
    block = re.sub(r"\bLOCATION=\S+ NAME=\S+", f"LOCATION={demo.location} NAME=expired.demo.example", block)
    block = block.replace("localhost:10119", f"127.0.0.1:{demo.port}")
    block = block.replace("/etc/expiry-exporter/expiry.yml", str(demo.configuration))
    return re.sub(r"^expiry-exporter ", f"{sys.executable} -m exporter ", block, flags=re.MULTILINE)


@pytest.mark.parametrize("block", ON_THE_DEMO)
def test_the_commands_work_as_they_are_pasted(block: str, demo: Demo) -> None:
    """
    With what the notification says of target, location and name each gives an answer and no error.
    """
    done = subprocess.run(
        ["bash", "-c", for_the_demo(block, demo)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=REPOSITORY,
    )
    # `check` exits with the urgency of what it finds.
    assert done.returncode in ({0, 2} if "exporter check" in block else {0}), done.stdout + done.stderr
    assert done.stdout.strip()
    assert "Traceback" not in done.stderr
    assert "unknown target" not in done.stdout


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "[::1]")])
def test_a_connection_is_tried_to_addresses_of_both_families(family: socket.AddressFamily, host: str) -> None:
    """
    The brackets around an IPv6 address are of the location, and no part of the address.
    """
    runbook = next(one for one in RUNBOOKS if one.stem == "ExpiryProbeFailing")
    (block,) = [one for one in fenced(runbook, "sh") if "/dev/tcp/" in one]
    with socket.socket(family) as listening:
        listening.bind((host.strip("[]"), 0))
        listening.listen()
        location = f"{host}:{listening.getsockname()[1]}"
        block = re.sub(r"^LOCATION=\S+", f"LOCATION={location}", block)
        lines = [line for line in block.splitlines() if not line.startswith(("dig", "openssl"))]
        done = subprocess.run(
            ["bash", "-c", "\n".join(lines)], capture_output=True, text=True, check=False, timeout=20
        )
    assert (done.stdout, done.stderr) == ("TCP is fine\n", "")


@every_runbook
def test_each_connection_is_to_what_the_notification_names(runbook: Path) -> None:
    """
    By the same two words everywhere: LOCATION, which may be an address, and NAME. The text explains both.
    """
    blocks = [one for one in fenced(runbook, "sh") if "openssl s_client" in one]
    places = re.findall(r"openssl s_client -connect (\S+) -servername (\S+)", "".join(blocks))
    assert {name for _, name in places} <= {'"$NAME"'}
    assert {place for place, _ in places} <= {'"$LOCATION"', '"$address:${LOCATION##*:}"'}
    text = " ".join(read(runbook).split())
    assert not blocks or "LOCATION is in the alert's `Where`, NAME is" in text


@pytest.mark.parametrize("runbook", RUNBOOKS, ids=lambda one: one.stem)
def test_what_differs_from_place_to_place_is_stated_once(runbook: Path) -> None:
    """
    Whoever sets the words at the beginning gets no answer about another host, and none of an earlier paste.
    """
    for block in fenced(runbook, "sh"):
        rest = re.sub(r"\b[A-Z]+=\S+", "", block)
        assert "example.com" not in rest or not re.search(r"\$\{?[A-Z]", rest)
        assert "/tmp/" not in block


def test_what_is_not_deployed_is_compared_at_its_own_location_first(demo: Demo) -> None:
    """
    Also where no DNS has its name.
    """
    block = next(one for one in fenced(runbook_of("ExpiryNotDeployed"), "sh") if "LOCATION=" in one)
    command = ["bash", "-c", for_the_demo(block, demo)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert re.match(r"== 127\.0\.0\.1\nserial=\w+\nnotBefore=.*\nnotAfter=.*\n", done.stdout)


def runbook_of(alert: str) -> Path:
    """
    The runbook of this alert.
    """
    return next(one for one in RUNBOOKS if one.stem == alert)


def test_the_difference_of_clocks_is_the_one_that_the_alert_is_about() -> None:
    """
    The age of what was seen is up to a scrape interval longer, or as long as the interval of a target.
    """
    (query,) = fenced(runbook_of("ExpiryClockSkew"), "promql")
    assert f"abs({query.strip()}) > 60" in (REPOSITORY / "alerts" / "rules.yml").read_text(encoding="utf-8")


def test_the_alert_of_a_blocked_renewal_ends_with_the_next_check() -> None:
    """
    Which comes sooner where the configuration asks for it.
    """
    minutes, hours = dns_checking.AGAIN_AFTER / 60, dns_checking.UNASKED_AGAIN_AFTER / 3600
    assert (minutes, hours) == (15, 6)
    text = read(runbook_of("ExpiryRenewalBlocked"))
    assert "within 15 minutes with `dns_checks: true`, else within six hours." in text


def test_most_runbooks_about_certificates_are_tried() -> None:
    """
    None of these drops out because its commands are written in another way.
    """
    tried = {str(one.id).partition("-")[0] for one in ON_THE_DEMO}
    assert tried >= {
        *("ExpiryPassed", "ExpirySoon", "ExpiryNotTrusted", "ExpiryProbeFailing", "ExpiryWentBackwards"),
        *("ExpiryRenewalOverdue", "ExpiryChainEndsBeforeLeaf", "ExpiryTargetsShrunk"),
    }
