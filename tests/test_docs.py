"""
Documents and code say the same: tables of README and manual are compared with the code that they describe.
"""

import argparse
import asyncio
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from exporter import formats, logs
from exporter.cli import check, main, serve
from exporter.cli.bundled_files import write_alerts
from exporter.config import reader, settings
from exporter.engine.results import ProbeResult
from exporter.engine.scrape import Scrape
from exporter.lookups import crl, dns_checking
from exporter.model.observation import Facts, Failed
from exporter.model.policies import (
    AUTOMATIC,
    BUILT_IN,
    DAY,
    HOUR,
    RENEWERS,
    Before,
    Policy,
    Severity,
    lateness,
)
from exporter.model.reasons import Fault, Kind, Reason
from exporter.model.schemes import SCHEMES, Form
from exporter.model.targets import ADDRESS_LIMIT, USUAL_PATIENCE, Target
from exporter.net import lifetimes, resolver, time_to_live
from exporter.probes import PROBERS
from exporter.probes.files import cache, glob
from exporter.probes.kubernetes import exec_plugins
from exporter.report import calendar, filters
from exporter.report.advice import FAILURES, FAULTS, HAZARDS
from exporter.report.families import FAMILIES
from exporter.report.inventory import Inventory
from exporter.report.status import Level
from exporter.report.times import span
from exporter.server import answers, app, bodies
from exporter.server.app import PROBE_PARAMETERS, application
from exporter.server.service import Options, Service
from exporter.yaml_lines import ConfigError
from tests.golden.scenes import seen
from tests.golden.values import Scene, certificate, facts, target
from tests.support.readme import MANUAL, README, REPOSITORY, code, fenced, pasted, sections, table, whole_text
from tests.support.screen import screen

EXAMPLE = REPOSITORY / "exporter" / "config" / "example.yml"
TEXT = whole_text()


def parsers() -> list[tuple[str, argparse.ArgumentParser]]:
    """
    The parser of each command; `serve` is what happens without one, too.
    """
    parser = main.parser()
    (commands,) = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return [("serve", parser), *commands.choices.items()]


def flags() -> dict[str, tuple[set[str], str]]:
    """
    Each flag with the commands that have it, and its default as the manual writes it.
    """
    found: dict[str, tuple[set[str], str]] = {}
    for command, parser in parsers():
        for action in parser._actions:
            for flag in action.option_strings:
                if flag in {"-h", "--help"}:
                    continue
                # `is`, since 0 equals False and is a default to tell.
                plain = any(action.default is nothing for nothing in (None, argparse.SUPPRESS, False))
                number = isinstance(action.default, float)
                default = "" if plain else f"{action.default:g}" if number else str(action.default)
                # `serve` leaves its defaults to the command without a name.
                names, known = found.get(flag, (set(), ""))
                found[flag] = (names | {command}, known or default)
    return found


def routes() -> set[str]:
    """
    `METHOD /path` of each route, as the manual writes it.
    """

    async def look() -> set[str]:
        service = Service(settings.Config, Options(), asyncio.get_running_loop())
        try:
            app = application(service, 0.5)
            return {
                f"{route.method} {route.resource.canonical}"
                for route in app.router.routes()
                if route.resource
            }
        finally:
            await service.close()

    # aiohttp answers HEAD wherever it answers GET.
    return {route for route in asyncio.run(look()) if not route.startswith("HEAD ")}


def keys(value: Any, path: str = "") -> Iterator[str]:
    """
    The keys of the example, written as in the manual: `targets[].url`, `policies.NAME.critical`.
    """
    if isinstance(value, list):
        for element in value:
            yield from keys(element, f"{path}[]")
    if isinstance(value, Mapping):
        for key, inside in value.items():
            name = "NAME" if path in {"policies", "modules"} else str(key)
            full = f"{path}.{name}" if path else name
            if name != "NAME":
                yield full
            # What is in these are the user's own names.
            if name not in {"labels", "acme"}:
                yield from keys(inside, full)


def words(before: Before | None) -> set[str]:
    """
    The numbers of a deadline, as the manual writes them.
    """
    if before is None:
        return set()
    duration = {f"{before.duration / DAY:g} d"} if before.duration is not None else set()
    return duration | ({f"1/{1 / before.share:g}"} if before.share is not None else set())


def numbers(cell: str) -> set[str]:
    """
    The durations and shares that a cell names.
    """
    return set(re.findall(r"1/\d+|\d+ [dh]\b", cell))


def commands() -> list[list[str]]:
    """
    Every command that the manual shows, as words; `test_first_steps.py` runs those of the README.
    """
    lines = [line for block in fenced("sh", manual()) for line in block.splitlines()]
    lines += [
        line.removeprefix("$ ")
        for block in fenced("console")
        for line in block.splitlines()
        if line.startswith("$ ")
    ]
    # What follows > is the shell's.
    return [shlex.split(part.partition(" >")[0]) for line in lines for part in line.split(" && ")]


def manual() -> str:
    """
    All chapters.
    """
    return whole_text().removeprefix(README.read_text(encoding="utf-8"))


def yaml_blocks(*, prometheus: bool) -> list[str]:
    """
    The YAML that is shown: Prometheus's configurations, or ours. Those of others have an `apiVersion`, that
    of the port is read by `tests/server/test_port.py`, a part of a job by `tests/prometheus/test_compat.py`,
    inhibitions by `tests/alerts/test_alertmanager.py`.
    """
    return [
        block
        for block in fenced("yaml")
        if (first := next(yaml.load_all(block, yaml.CSafeLoader)))
        .keys()
        .isdisjoint({"apiVersion", "tls_server_config", "metric_relabel_configs", "inhibit_rules"})
        and first.keys().isdisjoint({"scrape_configs", "rule_files"}) is not prometheus
    ]


def test_each_flag_is_described_with_its_commands_and_its_default() -> None:
    """
    The table of flags has exactly the flags of the command line, and what they default to.
    """
    described = {
        flag: (set(names.split(", ")), "".join(code(default)))
        for cell, names, default, _ in table("Flag", "Commands")
        for flag in code(cell)
    }

    assert described == flags()


def test_each_configuration_key_is_described() -> None:
    """
    The table of keys has exactly the keys of the example, where every key there is stands.
    """
    found = set(keys(yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))))
    of_defaults = {key for key in found if key.startswith("defaults.")}

    assert {code(row[0])[0] for row in table("Key", "Default")} == found - of_defaults
    assert {key.replace("defaults.", "targets[].") for key in of_defaults} <= found


def test_the_defaults_of_keys_are_those_of_a_target() -> None:
    """
    Where the table of keys names a default, a target has it.
    """
    described = {code(key)[0]: "".join(code(default)) for key, default, _ in table("Key", "Default")}
    defaults = {field.name: field.default for field in fields(Target)}

    for key in ("address_family", "addresses", "keys", "proxy_protocol"):
        assert described[f"targets[].{key}"] == defaults[key]
    for key in ("crl", "ocsp", "renewal_information"):
        assert described[f"targets[].{key}"] == str(defaults[key]).lower()
    assert described["targets[].timeout"] == f"{USUAL_PATIENCE:g}s"
    assert described["targets[].policy"] == AUTOMATIC.name
    assert yaml.safe_load(described["probe.allow"]) == list(settings.Config().probe_allow)


def test_each_key_that_defaults_may_set_works_there() -> None:
    """
    `defaults` takes all keys of a target but `url` and `name`, as the table says.
    """
    document = {
        "defaults": {
            "issuers": ["Example"],
            "policy": "manual",
            "labels": {"team": "one"},
            "timeout": "2s",
            "interval": "6h",
            "server_name": "www.example.com",
            "ca_file": str(EXAMPLE),
            "client_certificate": {"cert_file": str(EXAMPLE)},
            "password_env": "STORE",
            "address_family": "ipv4",
            "addresses": "first",
            "keys": "both",
            "proxy": "http://proxy.example.com:3128",
            "proxy_protocol": "v1",
            "crl": "true",
            "ocsp": "true",
            "renewal_information": "false",
            "dns_checks": "true",
            "dns_servers": ["192.0.2.53"],
            "kubernetes": {"resources": ["secrets"]},
        },
        "targets": ["https://www.example.com"],
    }
    described = {code(row[0])[0].removeprefix("targets[].") for row in table("Key", "Default")}
    ours = {key for key in described if not re.search(r"[.\[]", key)} - {
        "targets",
        "policies",
        "modules",
        "discover",
        "coverage",
        "probe",
        "acme",
    }

    reader.parse(yaml.safe_dump(document).encode(), "expiry.yml", {"STORE": "open sesame"})
    # It excludes password_env, and is read the same way.
    assert set(document["defaults"]) == ours - {"url", "name", "defaults", "password_file"}
    for key in ("url", "name"):
        refused = {"defaults": {key: "https://www.example.com"}, "targets": []}
        with pytest.raises(ConfigError):
            reader.parse(yaml.safe_dump(refused).encode(), "expiry.yml", {})


def test_each_metric_is_described_with_its_labels() -> None:
    """
    The table of metrics has exactly the families that are exported, in their order, with their labels.
    """
    described = [
        (code(name)[0], tuple(label for label in labels.split(", ") if label))
        for name, labels, _ in table("Metric", "Labels")
    ]

    assert described == [(family.name, family.labels) for family in FAMILIES]


def test_label_values_are_described_where_the_metrics_are() -> None:
    """
    Severities and probers are told in the table of metrics.
    """
    meanings = {code(name)[0]: code(meaning) for name, _, meaning in table("Metric", "Labels")}

    assert set(Severity) <= set(meanings["expiry_alert_timestamp_seconds"])
    assert set(PROBERS) <= set(meanings["expiry_target_info"])


@pytest.mark.parametrize(
    ("section", "advice"),
    [
        ("Probe failures", FAILURES),
        ("Verification failures", FAULTS),
        ("Hazards", HAZARDS),
    ],
)
def test_each_reason_is_described_with_what_the_exporter_says_to_do(
    section: str, advice: Mapping[str, str]
) -> None:
    """
    Each reason there is has a heading, in their order, then its meaning, then the words of the pages.
    """
    described = sections(MANUAL / "reasons.md", section, 4)

    assert list(described) == list(map(str, advice))
    for name, paragraphs in described.items():
        meaning, what, *_ = paragraphs
        assert meaning.endswith((".", ")"))
        assert what == f"**What to do:** {advice[name]}"


def test_each_kind_is_described() -> None:
    """
    The table of kinds has exactly the kinds of items, in their order.
    """
    assert [code(row[0])[0] for row in table("Kind", "Items")] == list(Kind)


def test_each_format_is_described() -> None:
    """
    The table of formats has the name of each format that is read, as messages have it.
    """
    described = " ".join(row[0] for row in table("Format", "Items"))

    assert {one.name for one in formats.FORMATS if one.name not in described} == set()


def test_each_scheme_is_described_with_its_port() -> None:
    """
    The table of schemes has exactly the schemes that can be probed, with their ports.
    """
    described = {code(scheme)[0]: port for scheme, port, _ in table("Scheme", "Default port")}

    written = {
        f"{scheme}{':' if meaning.form is Form.NAME else '://'}": meaning
        for scheme, meaning in SCHEMES.items()
    }
    assert described.keys() == written.keys()
    for scheme, meaning in written.items():
        port = meaning.default_port
        assert described[scheme].startswith("none" if port is None else str(port))


def test_each_policy_is_described_with_its_numbers() -> None:
    """
    The table of policies has exactly the built-in ones, and every number of theirs.
    """
    rows = [*table("Policy", "For"), *table("Policy", "Who renews")]
    described = {code(name)[0]: cells for name, _, *cells in rows}

    def expected(policy: Policy) -> list[set[str]]:
        # Ten days and the numbers of lateness are no fields: the next test holds them.
        late = {"1/20", "1 d", "5 d", "1/8"} if policy.warning is None else words(policy.warning)
        return [
            words(policy.renewal_due) | short(policy.renewal_due_short),
            late | short(policy.warning_short),
            words(policy.critical),
        ]

    def short(before: Before | None) -> set[str]:
        return set() if before is None else words(before) | {"10 d"}

    assert {name: [numbers(cell) for cell in cells] for name, cells in described.items()} == {
        name: expected(policy) for name, policy in BUILT_IN.items()
    }


def test_each_renewer_is_described_with_its_source() -> None:
    """
    The tables have exactly the renewers that there are, in their order, each with who states its rule.
    """
    assert [(code(name)[0], who) for name, who, *_ in table("Policy", "Who renews")] == [
        (one.policy.name, one.who) for one in RENEWERS
    ]
    assert [(code(name)[0], rule, url) for name, rule, url in table("Policy", "When it renews")] == [
        (one.policy.name, one.rule, f"<{one.source}>") for one in RENEWERS
    ]


def test_the_numbers_of_lateness_and_of_short_lifetimes_are_the_described_ones() -> None:
    """
    A late renewal warns after 1/20 of the lifetime, 1 d at least, 5 d or 1/8 at most; half is for under 10 d.
    """
    assert lateness(60 * DAY) == 60 * DAY / 20
    assert lateness(14 * DAY) == DAY
    assert lateness(200 * DAY) == 5 * DAY
    assert lateness(8 * HOUR) == HOUR
    assert AUTOMATIC.time_left(10 * DAY).renewal_due == pytest.approx(10 * DAY / 3)
    assert AUTOMATIC.time_left(10 * DAY - 1).renewal_due == pytest.approx((10 * DAY - 1) / 2)


def test_the_deadlines_of_usual_lifetimes_are_the_described_ones() -> None:
    """
    The table of lifetimes is what the policy `automatic` makes of them.
    """
    for lifetime, *cells in table("Lifetime", "Renewal due"):
        left = AUTOMATIC.time_left(float(lifetime.removesuffix(" d")) * DAY)

        assert cells == [span(left.renewal_due), span(left.warning), span(left.critical)]


def test_each_route_is_described() -> None:
    """
    The table of HTTP endpoints has exactly the routes of the server.
    """
    assert {code(row[0])[0] for row in table("Request", "Answer")} == routes()


def test_each_parameter_of_probe_is_described() -> None:
    """
    The row of /probe names its parameters, and no other.
    """
    answer = dict(table("Request", "Answer"))["`GET /probe`"]

    assert {text.partition("=")[0] for text in code(answer)} == set(PROBE_PARAMETERS)


def test_the_exit_codes_of_check_are_described() -> None:
    """
    The sentence on exit codes has the level of each.
    """
    (sentence,) = re.findall(r"`check` exits with (.*?), as monitoring", TEXT, re.DOTALL)
    described = dict(re.findall(r"(\d) \((\w+)", sentence))

    assert described == {"0": "fine", "1": "warning", "2": "critical", "3": "unknown"}
    assert [level.name for level in Level] == ["OK", "WARNING", "CRITICAL", "UNKNOWN"]
    assert [level.value for level in Level] == [0, 1, 2, 3]


def test_the_limit_of_addresses_is_the_described_one() -> None:
    """
    The manual and the code agree on how many addresses of a name are looked at.
    """
    assert f"at most {ADDRESS_LIMIT} of them" in TEXT
    assert f"more than {ADDRESS_LIMIT}, or no route" in TEXT


@pytest.mark.parametrize(
    ("what", "numbers"),
    [
        ("a scrape", {app.MOST_TIMEOUT}),
        ("resolving a name", {resolver.RESOLVE_TIMEOUT}),
        (
            "asking how long the addresses of a name live",
            {time_to_live.TIMEOUT, lifetimes.AT_A_TIME, lifetimes.MOST / 60},
        ),
        ("addresses of a name", {ADDRESS_LIMIT}),
        ("items of a file", {formats.ITEM_LIMIT}),
        ("files of a pattern, and of all patterns", {glob.MATCH_LIMIT, cache.TOTAL_LIMIT}),
        ("a revocation list", {crl.LIST_LIMIT / 1e6, crl.LIST_TIMEOUT}),
        ("names of a certificate that `dns_checks` looks up", {dns_checking.NAMES_LIMIT}),
        ("a credential plugin of Kubernetes", {exec_plugins.TIMEOUT}),
        ("a piece of an answer, 128 kB", {answers.READ_TIMEOUT}),
        ("renderings that wait", {bodies.WAITING}),
        ("events of the calendar", {calendar.EVENT_LIMIT}),
        ("items on a page of `/api/v1/items`", {filters.MOST}),
        ("log", {logs.EVENT_LINES, logs.LINE_LIMIT / 1024}),
        ("stopping", {serve.STOP_TIMEOUT}),
    ],
)
def test_the_bounds_are_the_described_ones(what: str, numbers: set[float]) -> None:
    """
    The table of all bounds has the numbers of the code, in its units.
    """
    (bound,) = (row[1] for row in table("What", "Bound") if row[0] == what)

    assert {f"{number:,g}" for number in numbers} <= set(re.findall(r"[\d,]*\d", bound))


@pytest.mark.parametrize(("first", "second"), [("Who has", "can"), ("What", "Bound")])
def test_the_tests_that_the_manual_names_exist(first: str, second: str) -> None:
    """
    Each threat and each bound has one.
    """
    for what, *_, tests in table(first, second):
        named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", tests)
        assert named, what
        for file, name in named:
            assert f"def {name}(" in (Path(__file__).parent / file).read_text(encoding="utf-8"), (file, name)


def test_the_shown_output_of_check_is_what_it_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The excerpt at the top, to the letter, for endpoints in these states.
    """
    now = datetime(2026, 11, 24, 6, 53, 2, tzinfo=UTC).timestamp()

    def leaf(host: str, end: datetime) -> Facts:
        return facts(certificate(host, begin=end.timestamp() - 90 * DAY, end=end.timestamp()))

    new = leaf("shop.example.com", datetime(2027, 2, 3, 6, 53, 2, tzinfo=UTC))
    old = leaf("shop.example.com", datetime(2026, 11, 28, 9, 53, 2, tzinfo=UTC))
    over = leaf("learn.example.com", datetime(2026, 11, 24, 6, 9, 59, tzinfo=UTC))
    down = Failed(
        Reason.CONNECTION_REFUSED, "192.0.2.30 port 636 refused the connection: nothing listens there"
    )
    scene = Scene()
    scene.see(target("https://shop.example.com"), seen(new, "192.0.2.10:443"), seen(old, "192.0.2.11:443"))
    scene.see(target("https://learn.example.com"), seen(over, "192.0.2.20:443"), found=[Fault.EXPIRED])
    scene.see(target("tls://ldap.example.com:636"), ProbeResult("192.0.2.30:636", down, 0.1))
    shown = screen(monkeypatch, 100)
    rows = tuple(scene.rows())
    found = Scrape((), rows, (), 0.1, 10.0, complete=True, at=now)
    check.print_table(Inventory(found), now, shown)

    assert fenced("console")[0].splitlines()[1:] == shown.plain.splitlines()


def test_the_shown_metrics_exist() -> None:
    """
    The excerpt of metrics has families that are exported, with their labels.
    """
    labels = {family.name: family.labels for family in FAMILIES}
    shown = [line for block in fenced("text") for line in block.splitlines()]

    assert shown
    for line in shown:
        # Few failed probes saw what expires all the same.
        known = tuple(name for name in labels[line.partition("{")[0]] if name != "seen")
        assert tuple(re.findall(r'(\w+)="', line)) == known


@pytest.mark.parametrize("block", yaml_blocks(prometheus=False))
def test_each_configuration_of_the_readme_is_good(block: str) -> None:
    """
    Whatever is shown as an expiry.yml loads without a fault or a warning.
    """
    assert reader.parse(block.encode(), "expiry.yml", {"PROXY_CREDENTIALS": "user:secret"}).warnings == ()


def test_an_exporter_without_targets_of_its_own_is_possible() -> None:
    """
    The empty list that the manual advises for /probe loads.
    """
    assert "`targets: []`" in TEXT
    assert reader.parse(b"targets: []\n", "expiry.yml", {}).targets == ()


@pytest.mark.parametrize("block", yaml_blocks(prometheus=True))
def test_each_prometheus_configuration_of_the_readme_is_good(block: str, tmp_path: Path) -> None:
    """
    Whatever is shown as a prometheus.yml is good as it stands.
    """
    file = tmp_path / "prometheus.yml"
    file.write_text(block, encoding="utf-8")
    write_alerts(tmp_path / "expiry", force=False)

    checked = subprocess.run(
        ["promtool", "check", "config", file], capture_output=True, text=True, check=False
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_alerting_is_shown_with_the_scrape_that_is_shown_first() -> None:
    """
    A reader who replaces the README's prometheus.yml by the manual's scrapes as before.
    """
    (whole,) = (one.partition("\n")[2].removesuffix("END") for one in pasted() if "<<'END'" in one)
    plain, *_ = (one for one in yaml_blocks(prometheus=True) if "scrape_configs" in one)
    assert "rule_files" in whole

    assert yaml.safe_load(whole)["scrape_configs"] == yaml.safe_load(plain)["scrape_configs"]


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_each_command_of_the_manual_exists(command: list[str]) -> None:
    """
    Each command is one that is here, with flags, modules, paths and routes that are.
    """
    program, *arguments = command
    dockerfile = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
    match Path(program).name:
        case "expiry-exporter":
            # Ends the test (SystemExit) when a flag or a command does not exist.
            main.parser().parse_args(arguments)
        case "promtool" | "amtool" | "prometheus" | "alertmanager":
            # Run by `test_first_steps.py`.
            assert arguments
        case "python":
            assert arguments[0] == "-m"
            assert importlib.util.find_spec(arguments[1]) is not None
        case "python3":
            assert arguments[:2] == ["-m", "venv"]
        case "pip":
            assert arguments == ["install", "."]
            assert (REPOSITORY / "pyproject.toml").is_file()
        case "run":
            assert os.access(REPOSITORY / program, os.X_OK)
        case "curl":
            assert urlsplit(arguments[-1]).path in {route.partition(" ")[2] for route in routes()}
        case "pkill":
            # The kernel keeps 15 characters of a process's name (proc(5)); -x compares all of it.
            assert arguments == ["-HUP", "-x", "expiry-exporter"]
            assert len(arguments[-1]) <= 15
        case "systemd-sysusers" | "systemd-tmpfiles" | "systemctl" | "kubectl" | "helm":
            # What they read is tested in tests/deploy.
            assert arguments or program == "systemd-sysusers"
        case "docker":
            for argument in arguments:
                if argument.startswith("BASE="):
                    assert f"ARG {argument}\n" in dockerfile
                if (mounted := re.fullmatch(r"[^:]+:(/[^:]+)(:ro)?", argument)) is not None:
                    assert mounted[1] in dockerfile
        case _:
            pytest.fail(f"nothing is known about the command {program}: say here how to check it")


def test_the_files_that_the_readme_names_exist() -> None:
    """
    The documents name files beside them as they are called.
    """
    assert "[Apache-2.0](LICENSE)" in TEXT
    assert (REPOSITORY / "LICENSE").read_text(encoding="utf-8").lstrip().startswith("Apache License")
    assert "`exporter/config/example.yml`" in TEXT
    assert EXAMPLE.is_file()


def test_the_example_configuration_is_good(tmp_path: Path) -> None:
    """
    The example that readers are sent to loads; it warns only of the files that are not there.
    """
    file = tmp_path / "expiry.yml"
    shutil.copy(EXAMPLE, file)
    (tmp_path / "tls").mkdir()
    (tmp_path / "tls" / "exporter.password").write_text("not a secret", encoding="utf-8")
    (tmp_path / "tls" / "kafka.password").write_text("not a secret", encoding="utf-8")
    (tmp_path / "proxy.credentials").write_text("not:a secret", encoding="utf-8")

    secrets = {
        "LEDGER_KEY_PASSWORD": "not a secret either",
        "PROXY_CREDENTIALS": "not:a secret",
        "STORE_PASSWORD": "nor this",
    }
    loaded = reader.load(str(file), secrets)

    assert all("is not a file that can be read" in warning for warning in loaded.warnings)


def test_each_picture_is_there() -> None:
    """
    Every picture that is shown or linked is a PNG file of less than half a megabyte.
    """
    pictures = re.findall(r"\]\((?:\.\./\.\./)?(grafana/[^)]+\.png)\)", TEXT)

    assert len(pictures) >= 7
    for picture in pictures:
        data = (REPOSITORY / picture).read_bytes()
        assert data.startswith(b"\x89PNG")
        assert len(data) < 500_000
