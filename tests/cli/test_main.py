"""
The command, as a process.
"""

import contextlib
import gc
import io
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from exporter import __version__
from exporter.cli import arguments as types
from exporter.cli import early, main, serve
from exporter.cli.one_shot import EMPTY
from exporter.demo.minter import Minted, root
from exporter.engine.descriptors import CONCURRENCY
from exporter.model.schemes import ALL_SCHEMES, SCHEMES
from tests.support import misbehaving
from tests.support.certificates import DAY
from tests.support.processes import Running, free_port, listening, running, wait_until
from tests.support.servers import Site, nginx

COMMAND = [sys.executable, "-m", "exporter"]


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """
    The finished command with its output.
    """
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=30
    )


@contextlib.contextmanager
def serving(*arguments: str | Path) -> Iterator[tuple[Running, int]]:
    """
    A process that serves, and its port.
    """
    port = free_port()
    command = [*COMMAND, f"--web.listen-address=127.0.0.1:{port}", *arguments]
    with running(command, ready=listening(port)) as process:
        yield process, port


def fetch(port: int, path: str = "/metrics") -> str:
    """
    The text at this path.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}{path}", timeout=15) as answer:
        return str(answer.read().decode())


def values(port: int) -> dict[str, dict[str, float]]:
    """
    The values of each metric by target.
    """
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(fetch(port)):
        for sample in family.samples:
            found.setdefault(sample.name, {})[sample.labels.get("target", "")] = sample.value
    return found


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """
    A configuration without targets.
    """
    file = tmp_path / "expiry.yml"
    file.write_text("targets: []\n", encoding="utf-8")
    return file


@pytest.fixture
def now_ca() -> Minted:
    """
    A root that is valid now: a process has the machine's clock.
    """
    return root("Now Root", not_before=time.time() - 365 * DAY, not_after=time.time() + 365 * DAY)


def leaf(ca: Minted, left: float, name: str = "127.0.0.1") -> tuple[Minted, ...]:
    """
    A 90-day certificate for the loopback address, or another name, with this much left.
    """
    now = time.time()
    names = [name]
    return ca.issue("here", names, not_before=now + left - 90 * DAY, not_after=now + left).chain[:1]


def ca_file(directory: Path, ca: Minted) -> Path:
    """
    The root as a file.
    """
    file = directory / "ca.pem"
    file.write_bytes(ca.pem)
    return file


def flags() -> list[str]:
    """
    Every flag of the parser and its commands.
    """
    parser = main.parser()
    (commands,) = (one for one in parser._actions if isinstance(one.choices, dict))
    assert isinstance(commands.choices, dict)
    return sorted(
        {
            flag
            for one in (parser, *commands.choices.values())
            for action in one._actions
            for flag in action.option_strings
        }
    )


def imported(*arguments: str) -> set[str]:
    """
    The modules that a command has imported when it ends.
    """
    words = "import sys; from exporter.cli.main import main; main(); print(*sys.modules)"
    command = [sys.executable, "-c", words, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(ended.stdout.splitlines()[-1].split())


def test_only_the_command_that_is_run_is_imported(tmp_path: Path) -> None:
    """
    A server does not carry what draws on a terminal, nor a command the server. Neither carries QUIC, which
    dnspython would bring along.
    """
    config = tmp_path / "expiry.yml"
    config.write_text("targets: [https://www.example]\n")
    server = imported("--config.check", f"--config.file={config}")
    assert {"exporter.cli.serve", "exporter.server.app"} <= server
    commands = {f"exporter.cli.{name}" for name in main.COMMANDS if name != "serve"}
    assert {"rich", "aioquic", *commands} & server == set()
    light = imported("dashboards", f"--output-dir={tmp_path}")
    assert commands & light == {"exporter.cli.dashboards"}
    assert {"asyncio", "cryptography", "exporter.cli.serve", "exporter.server.service"} & light == set()
    # Words behind the command are its own: a shell that completes them waits for none of the commands there.
    typed = imported("completion", "targets", "expiry-exporter", "check", f"--config.file={config}")
    assert commands & typed == {"exporter.cli.completion"}


def test_no_import_waits_for_the_trust_store(tmp_path: Path) -> None:
    """
    A library reads it twice as it is imported, for nothing: here it would wait for ever.
    """
    store = tmp_path / "ca.pem"
    os.mkfifo(store)
    config = tmp_path / "expiry.yml"
    config.write_text("targets: [https://www.example]\n")
    command = [sys.executable, "-m", "exporter", "--config.check", f"--config.file={config}"]
    environ = {**os.environ, "SSL_CERT_FILE": str(store)}
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, check=True, timeout=60)
    assert ended.stdout == f"{config}: good, 1 target\n"


def test_imports_leave_the_environment_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What comes later finds the trust store that the user named, or none that is named.
    """
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/ca.pem")
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    with early.lean_imports():
        assert os.environ["SSL_CERT_FILE"] == os.environ["SSL_CERT_DIR"] == os.devnull
    assert os.environ["SSL_CERT_FILE"] == "/etc/ca.pem"
    assert "SSL_CERT_DIR" not in os.environ
    assert "FROZENLIST_NO_EXTENSIONS" not in os.environ


def test_the_collector_never_looks_at_what_imports_made() -> None:
    """
    Its first look afterwards would be at all of it.
    """
    with early.lean_imports():
        assert not gc.isenabled()
        made: list[list[None]] = [[] for _ in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() > len(made)
    assert not any(one is made for one in gc.get_objects())


def test_a_section_costs_nothing_where_it_is_not_used(tmp_path: Path) -> None:
    """
    Neither the models of sources nor what plug-ins of other packages might change are looked at.
    """
    config = tmp_path / "expiry.yml"
    config.write_text("targets: [https://www.example]\n")
    plugin = tmp_path / "other-1.0.dist-info"
    plugin.mkdir()
    (plugin / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (plugin / "entry_points.txt").write_text("[pydantic]\nother = other_plugin\n")
    (tmp_path / "other_plugin.py").write_text("")
    words = (
        "import sys; from exporter.cli.main import main; main();"
        "from exporter.config import schema, sources;"
        "models = schema.TargetEntry, schema.PolicyEntry, sources.SourceEntry, sources.ZoneSource;"
        "print(*(one.__pydantic_complete__ for one in models), 'other_plugin' in sys.modules)"
    )
    command = [sys.executable, "-c", words, "--config.check", f"--config.file={config}"]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "True False False False False"


def help_of(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    """
    The help of the command itself, or of one in it.
    """
    with pytest.raises(SystemExit) as raised:
        main.main([*command, "--help"])
    assert raised.value.code == 0
    return capsys.readouterr().out


def test_help_names_every_flag_and_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    """
    Of the command itself and of each command in it.
    """
    text = help_of(capsys)
    assert "examples:" in text
    assert "expiry-exporter demo" in text
    assert "expiry-exporter --config.file=expiry.yml" in text
    whole = text + "".join(help_of(capsys, name) for name in main.COMMANDS)
    assert len(flags()) > 12
    assert [flag for flag in flags() if flag not in whole] == []
    assert max(len(line) for line in text.splitlines()) <= 100


@pytest.mark.parametrize(
    ("given", "file"),
    [
        (("serve",), "expiry.yml"),
        (("serve", "--config.file=b.yml"), "b.yml"),
        (("--config.file=a.yml", "serve"), "a.yml"),
        (("--config.file=a.yml", "serve", "--config.file=b.yml"), "b.yml"),
    ],
)
def test_serve_is_a_command_and_the_default(given: tuple[str, ...], file: str) -> None:
    """
    Its flags may stand before it and behind it, and mean the same.
    """
    options = main.parser(given).parse_args(given)
    assert options.config_file == file
    without = [word for word in given if word != "serve"]
    assert vars(main.parser(without).parse_args(without)) == {**vars(options), "command": None}


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("https://www.example.com", "to probe it once, run `expiry-exporter check https://www.example.com`"),
        ("www.example.com", "to probe it once, run `expiry-exporter check www.example.com`"),
        ("xyzzy", "`expiry-exporter --help` lists all commands."),
        ("help", "did you mean '--help'?"),
        ("version", "did you mean '--version'?"),
        ("config.check", "did you mean '--config.check'?"),
        ("config.file=a.yml", "did you mean '--config.file'?"),
        ("a.yml", "a configuration is named by --config.file=a.yml"),
        ("validate", "did you mean '--config.check'?"),
        ("probe", "did you mean 'check'?"),
        ("CHEK", "did you mean 'check'? `expiry-exporter --help` lists all commands."),
    ],
)
def test_what_is_no_command_is_told_what_is_meant(
    capsys: pytest.CaptureFixture[str], word: str, meant: str
) -> None:
    """
    A server is probed by a command.
    """
    with pytest.raises(SystemExit):
        main.main([word])
    assert capsys.readouterr().err.endswith(f"there is no command {word!r}: {meant}\n")


def test_the_usage_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """
    Also where one is misspelt.
    """
    with pytest.raises(SystemExit):
        main.main(["chek"])
    said = capsys.readouterr().err
    assert f"commands: {', '.join(main.COMMANDS)} " in " ".join(said.split())
    assert "there is no command 'chek': did you mean 'check'? `expiry-exporter --help` lists all" in said


@pytest.mark.parametrize("name", main.COMMANDS)
def test_the_help_of_each_command_says_what_it_does_and_shows_examples(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """
    In whole sentences, before its flags, and in lines for a terminal of 100 columns.
    """
    text = help_of(capsys, name)
    before, options, _ = text.partition("\noptions:\n")
    assert options
    described = before.partition("\n\n")[2]
    assert re.match("[A-Z].+[.:]", described, re.DOTALL), described
    assert re.search(r"^examples:\n  \S", text, re.MULTILINE)
    assert max(map(len, text.splitlines())) <= 100


def test_the_help_of_the_manual_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    """
    In lines that a terminal has room for.
    """
    text = help_of(capsys, "manual")
    assert text.count("  expiry-exporter manual") >= 5
    assert max(len(line) for line in text.splitlines()) <= 100


@pytest.mark.parametrize("command", [(), ("check",)])
def test_the_help_says_where_the_policies_are(
    capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    """
    Who renews when stands in no help.
    """
    assert "  expiry-exporter manual policies\n      " in help_of(capsys, *command)


@pytest.mark.parametrize("command", ["check", "forecast"])
def test_the_help_of_a_look_tells_its_exit_codes(capsys: pytest.CaptureFixture[str], command: str) -> None:
    """
    And shows examples, in lines that a terminal has room for.
    """
    text = help_of(capsys, command)
    codes = re.findall(r"^  (\d)  ", text, re.MULTILINE)
    assert codes == {"check": ["0", "1", "2", "3"], "forecast": ["0", "2", "3"]}[command]
    assert text.count(f"  expiry-exporter {command} ") >= 4
    assert max(len(line) for line in text.splitlines()) <= 100


def test_the_help_of_check_lists_every_scheme(capsys: pytest.CaptureFixture[str]) -> None:
    """
    As messages about an unknown one promise.
    """
    (listed,) = re.findall(r"\nschemes:\n((?:  .+\n)+)", help_of(capsys, "check"))
    assert [one.rstrip("/").rstrip(":") for one in re.split(r",\s+", listed.strip())] == sorted(SCHEMES)
    assert ALL_SCHEMES == "`expiry-exporter check --help` lists every scheme"


def test_the_version_is_told() -> None:
    """
    On one line.
    """
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"expiry-exporter {__version__}\n")


EN, EM = "\N{EN DASH}", "\N{EM DASH}"
"""As word processors write two hyphens."""

NO_USER = "no user, password, '?' or '#' may be in it; write %40 for '@'"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--web.listen-address=10119"], "'10119' is not [host]:port"),
        (["--web.listen-address=:99999"], "':99999' is not [host]:port"),
        (["--web.timeout-offset=soon"], "'soon' is not a number of seconds from 0 to 3600"),
        (["--web.timeout-offset=-1"], "not a number of seconds"),
        (["--web.external-url=expiry.example.com"], "is not a URL such as https://expiry.example.com"),
        (["--web.external-url=ftp://expiry.example.com"], "is not a URL such as"),
        (["--web.external-url=https://"], "is not a URL such as"),
        (["--web.external-url=https://a.example:port"], "is not a URL such as https://expiry.example.com"),
        (["--web.external-url=https://a.example/a b"], "is not a URL such as"),
        (["--web.external-url=https://me:secret@a.example"], NO_USER),
        (["--web.external-url=https://me:123/secret@a.example"], NO_USER),
        (["--web.external-url=https://a.example/?x=1"], NO_USER),
        (["--sweep.concurrency=0"], "'0' is not a whole number above 0"),
        (["--shard.total=0"], "'0' is not a whole number above 0"),
        (["--config.fil=x"], "there is no flag '--config.fil': did you mean '--config.file'?"),
        (["--confg.file", "x"], "there is no flag '--confg.file': did you mean '--config.file'?"),
        (["--state-path=x"], "there is no flag '--state-path': did you mean '--state.path'?"),
        (["-c", "expiry.yml"], "there is no flag '-c': did you mean '--config.check' or '--config.file'?"),
        (["--chek"], "there is no flag '--chek': did you mean the command 'check'?"),
        (["--Demo"], "there is no flag '--Demo': did you mean the command 'demo'?"),
        (["-V"], "there is no flag '-V': did you mean '--version'?"),
        (["--config-file", "a.yml"], "there is no flag '--config-file': did you mean '--config.file'?"),
        (["-config.file=a.yml"], "there is no flag '-config.file': did you mean '--config.file'?"),
        ([f"{EN}config.file", "a.yml"], f"there is no flag '{EN}config.file': did you mean '--config.file'?"),
        ([f"{EM}confg.file=a.yml"], f"there is no flag '{EM}confg.file': did you mean '--config.file'?"),
        (
            ["check", f"{EN}output", "json", "https://a"],
            f"expiry-exporter check: error: there is no flag '{EN}output': did you mean '--output'?",
        ),
        (["check", f"{EN}v", "https://a"], f"there is no flag '{EN}v': did you mean '-v'?"),
        (["check", "-output=json", "https://a"], "there is no flag '-output': did you mean '--output'?"),
        (["check", "-help"], "there is no flag '-help': did you mean '--help'?"),
        (["help", "check"], "there is no command 'help': run `expiry-exporter check --help`"),
        (["--log.level=DEBUG"], "'DEBUG' is not known: did you mean 'debug'?"),
        (["check", "--json", "https://a"], "there is no flag '--json': did you mean '--output=json'?"),
        (["check", "--verbos", "https://a"], "there is no flag '--verbos': did you mean '--verbose'?"),
        (["--validate"], "there is no flag '--validate': `expiry-exporter --help` lists all flags"),
        (["--config.check=a.yml"], "argument --config.check: takes no value\n"),
        (
            ["--config.check", "a.yml"],
            "'a.yml' is no command: a configuration is named by",
        ),
        (["serve", "a.yaml"], "no meaning here: a.yaml: a configuration is named by --config.file=a.yaml"),
        (["--xyzzy"], "there is no flag '--xyzzy': `expiry-exporter --help` lists all flags"),
        (
            ["init", "--fore"],
            "expiry-exporter init: error: there is no flag '--fore': did you mean '--force'?",
        ),
        (
            ["check", "-c", "expiry.yml"],
            "check: error: there is no flag '-c': did you mean '--ca-file' or",
        ),
        (["--log.level=debug", "chek"], "argument COMMAND: 'chek' is not known: did you mean 'check'?"),
        (["check", "--policy=manul", "https://a"], "'manul' is not known: did you mean 'manual'?"),
        (["completion", "tcsh"], "argument SHELL: 'tcsh' is not one of bash, zsh, fish\n"),
        (["schema", "more"], "schema: error: these words have no meaning here: more"),
        (["--log.level=loud"], "'loud' is not known: known are debug, error, info, warn"),
        (["check"], "name a URL after `check`, or a configuration by --config.file"),
        (["forecast"], "name a URL after `forecast`"),
        (["alerts", "--output-dir=/dev/null/x", "--runbooks-url=wiki"], "'wiki' is not a URL such as https"),
        (["alerts", "--output-dir=/dev/null/x", "--runbooks-url=https://a/{{x}}"], "must be percent-encoded"),
        (["alerts", "--output-dir=/dev/null/x", "--runbooks-url=https://a/ü"], "must be percent-encoded"),
        (
            ["dashboards", "--output-dir=/dev/null/x", "--runbooks-url=https://a/$x"],
            "must be percent-encoded",
        ),
        (
            ["dashboards", "--output-dir=/dev/null/x", "--runbooks-url=https://a/?x"],
            NO_USER,
        ),
        (["alerts", "--output-dir=/dev/null/x", "--web.external-url=https://a/{{x}}"], "percent-encoded"),
        (
            [
                *("alerts", "--output-dir=/dev/null/x"),
                *("--web.external-url=https://a.example", "--runbooks-url=https://b.example"),
            ],
            "argument --runbooks-url: not allowed with argument --web.external-url",
        ),
        (["check", "--timeout=0", "https://a.example"], "'0' is not a number of seconds above 0"),
        (["check", "--timeout=-1", "https://a.example"], "'-1' is not a number of seconds above 0"),
        (["check", "--timeout=nan", "https://a.example"], "'nan' is not a number of seconds above 0"),
        (["check", "--timeout=inf", "https://a.example"], "'inf' is not a number of seconds above 0"),
        (["check", "--only=critical,bad", "https://a.example"], "'bad' is not one of critical, unknown"),
        (["forecast", "--days=0", "https://a.example"], "'0' is not a whole number of days from 1"),
        (["forecast", "--days=90d", "https://a.example"], "'90d' is not a whole number of days"),
    ],
)
def test_a_wrong_flag_is_refused(
    arguments: Sequence[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    With what would be right, and status 2.
    """
    with pytest.raises(SystemExit) as raised:
        main.main(arguments)
    assert raised.value.code == 2
    assert said in capsys.readouterr().err


def test_the_alert_files_are_upgraded_by_the_same_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    It says what it wrote, what it left as it is, and what it would replace.
    """
    arguments = ["alerts", "--output-dir", str(tmp_path)]
    assert main.main(arguments) == 0
    assert f"{tmp_path / 'alertmanager.yml'}\n" in capsys.readouterr().out
    assert main.main(arguments) == 0
    assert capsys.readouterr() == ("", "")

    (tmp_path / "alertmanager.yml").write_text("mine")
    (tmp_path / "rules.yml").write_text("old")
    assert main.main(arguments) == 1
    out, errors = capsys.readouterr()
    assert out == ""
    assert errors.splitlines()[1:] == [
        f"  {tmp_path / 'rules.yml'}",
        "--force replaces them; alertmanager.yml is never replaced",
    ]

    assert main.main([*arguments, "--force"]) == 0
    out, errors = capsys.readouterr()
    assert out == f"{tmp_path / 'rules.yml'}\n"
    assert errors == (
        f"{tmp_path / 'alertmanager.yml'} is yours and was left as it is; "
        "another --output-dir gets the new example\n"
    )
    assert (tmp_path / "alertmanager.yml").read_text() == "mine"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":10119", (None, 10119)),
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("[::1]:80", ("::1", 80)),
        ("host.example:80", ("host.example", 80)),
    ],
)
def test_an_address_to_listen_on_is_read(text: str, address: tuple[str | None, int]) -> None:
    """
    Without a host it is every address.
    """
    assert types._address(text) == address


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://expiry.example.com", "https://expiry.example.com"),
        ("http://[::1]:10119/", "http://[::1]:10119"),
        ("https://a.example/expiry//", "https://a.example/expiry"),
    ],
)
def test_an_external_url_is_read_without_its_last_slash(text: str, url: str) -> None:
    """
    What follows it always begins with one.
    """
    assert types.external_url(text) == url


@pytest.mark.parametrize(("text", "seconds"), [("1.5", 1.5), ("2s", 2.0), ("0", 0.0)])
def test_seconds_are_read_with_and_without_their_unit(text: str, seconds: float) -> None:
    """
    As people write them.
    """
    assert types._seconds(text) == seconds


def test_a_good_configuration_is_called_good(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    With the number of targets, and its warnings.
    """
    config.write_text("targets: [{url: 'https://x.example', ca_file: missing.pem}]\n", encoding="utf-8")
    assert main.main([f"--config.file={config}", "--config.check"]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{config}: good, 1 target\n"
    assert captured.err.startswith("warning: ")


def test_a_bad_configuration_is_told_whole(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Every fault with its line; serving with it fails the same way.
    """
    config.write_text("targets: ['gopher://x']\nnonsense: 1\n", encoding="utf-8")
    assert main.main([f"--config.file={config}", "--config.check"]) == 1
    checked = capsys.readouterr().err
    assert [line.partition(": ")[0] for line in checked.splitlines()] == [f"{config}:1", f"{config}:2"]
    served = run(f"--config.file={config}")
    assert served.returncode == 1
    assert checked in served.stderr
    assert "Traceback" not in served.stderr


def test_an_address_that_is_not_ours_is_told(config: Path) -> None:
    """
    Nobody has an address of TEST-NET-1 (RFC 5737).
    """
    done = run(f"--config.file={config}", "--web.listen-address=192.0.2.1:10119")
    assert done.returncode == 1
    assert "can't listen on 192.0.2.1:10119: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_signal_reloads(config: Path) -> None:
    """
    A good configuration is taken, a bad one changes nothing.
    """
    with serving(f"--config.file={config}") as (process, port):
        assert "expiry_target_info" not in values(port)
        config.write_text("targets: [{url: 'tls://127.0.0.1:1', name: new}]\n", encoding="utf-8")
        process.signal(signal.SIGHUP)
        wait_until(lambda: "new" in values(port).get("expiry_target_info", {}), what="the reload")
        config.write_text("nonsense: 1\n", encoding="utf-8")
        process.signal(signal.SIGHUP)
        wait_until(
            lambda: values(port)["expiry_config_last_reload_successful"] == {"": 0}, what="the refused reload"
        )
        assert "new" in values(port)["expiry_target_info"]
        assert "the new configuration is not usable" in process.output()


def test_it_runs_without_standard_streams(config: Path) -> None:
    """
    As some start it in the background. No file of its own gets their numbers.
    """
    port = free_port()
    address = f"--web.listen-address=127.0.0.1:{port}"
    command = [sys.executable, "-m", "exporter", f"--config.file={config}", address, "--state.path=none"]
    with running(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *command], ready=listening(port)) as process:
        names = [Path(f"/proc/{process.pid}/fd/{number}").readlink() for number in range(3)]
        assert names == [Path(os.devnull)] * 3
        process.signal(signal.SIGTERM)
        assert process.wait() == 0


def _has_open(pid: int, path: Path) -> bool:
    """
    True when the process has this file open.
    """
    for one in Path(f"/proc/{pid}/fd").iterdir():
        # It may have closed one meanwhile.
        with contextlib.suppress(FileNotFoundError):
            if one.readlink() == path:
                return True
    return False


def test_a_reload_while_it_starts_is_not_its_end(tmp_path: Path) -> None:
    """
    A service manager may reload as soon as the process runs: that is done once it serves.
    """
    pipe, port = tmp_path / "expiry.yml", free_port()
    os.mkfifo(pipe)
    # Opened for both, so that it is not the end of the file until we say so.
    writing = os.open(pipe, os.O_RDWR)
    address = f"--web.listen-address=127.0.0.1:{port}"
    command = [sys.executable, "-m", "exporter", f"--config.file={pipe}", address, "--state.path=none"]
    with running(command) as process:
        wait_until(lambda: _has_open(process.pid, pipe), what="the start")
        process.signal(signal.SIGHUP)
        os.write(writing, b"targets: []\n")
        os.close(writing)
        # Read again, the pipe holds nothing.
        wait_until(lambda: "the new configuration is not usable" in process.output(), what="the reload")
        wait_until(listening(port), what="the port")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_at_once_and_cleanly(config: Path, number: signal.Signals) -> None:
    """
    Also while a silent target is looked at: status 0 within a second or so, without a complaint.
    """
    with misbehaving.serving(misbehaving.hang) as silent:
        config.write_text(f"targets: ['tls://127.0.0.1:{silent}']\n", encoding="utf-8")
        with serving(f"--config.file={config}", f"--state.path={config.parent}") as (process, port):
            with subprocess.Popen(
                ["curl", "-s", "--noproxy", "*", f"http://127.0.0.1:{port}/metrics"],
                stdout=subprocess.DEVNULL,
            ) as scraping:
                # The look is under way when the silent server has a connection of this process.
                wait_until(lambda: connected(silent), what="the look")
                began = time.monotonic()
                process.signal(number)
                assert process.wait() == 0
                assert time.monotonic() - began < 1
                scraping.wait(5)
            output = process.output()
            assert "msg=stopping" in output
            assert "Traceback" not in output
            assert "level=error" not in output


def connected(port: int) -> bool:
    """
    True when a TCP connection to this local port is established (proc(5), state 1).
    """
    lines = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    return any(line.split()[2].endswith(f":{port:04X}") and line.split()[3] == "01" for line in lines)


def test_log_lines_are_json_on_request(config: Path) -> None:
    """
    Each of them.
    """
    with serving(f"--config.file={config}", "--log.format=json", "--log.level=debug") as (process, port):
        fetch(port)
        process.signal(signal.SIGTERM)
        process.wait()
        lines = [json.loads(line) for line in process.output().splitlines()]
    by_message = {line["msg"]: line for line in lines}
    assert by_message["configuration loaded"]["targets"] == 0
    assert by_message["listening"]["url"] == f"http://127.0.0.1:{port}/"
    assert "stopping" in by_message


def check(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """
    Status, output and errors of a check in this process.
    """
    status = main.main(["check", *map(str, arguments)])
    return (status, *capsys.readouterr())


@pytest.mark.parametrize(("left", "status", "word"), [(75, 0, "OK"), (20, 1, "WARNING"), (2, 2, "CRITICAL")])
def test_check_tells_and_exits_by_urgency(
    tmp_path: Path, now_ca: Minted, capsys: pytest.CaptureFixture[str], left: float, status: int, word: str
) -> None:
    """
    As a table for a person, without log lines beside it.
    """
    with nginx(tmp_path, Site([leaf(now_ca, left * DAY)])) as server:
        anchors = ca_file(tmp_path, now_ca)
        found, output, errors = check(capsys, f"tls://{server.authority}", "--ca-file", anchors)
    assert found == status
    assert output.splitlines()[1].startswith(word)
    assert errors == ""


def test_check_prints_json(tmp_path: Path, now_ca: Minted, capsys: pytest.CaptureFixture[str]) -> None:
    """
    For a program.
    """
    with nginx(tmp_path, Site([leaf(now_ca, 75 * DAY)])) as server:
        url = f"https://{server.authority}"
        options = ("--output", "json", "--ca-file", ca_file(tmp_path, now_ca), "--policy", "manual")
        status, output, _ = check(capsys, url, *options)
    document = json.loads(output)
    assert (status, document["level"]) == (0, "ok")
    (endpoint,) = document["endpoints"]
    assert (endpoint["target"], endpoint["policy"]) == (url, "manual")
    assert endpoint["verification"] == {"success": True, "faults": []}


def test_check_of_another_name_is_not_trusted(
    tmp_path: Path, now_ca: Minted, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    `--server-name` is sent and verified.
    """
    with nginx(tmp_path, Site([leaf(now_ca, 75 * DAY)])) as server:
        url = f"tls://{server.authority}"
        anchors = ca_file(tmp_path, now_ca)
        status, output, _ = check(capsys, url, "--ca-file", anchors, "--server-name", "other.example")
    assert status == 1
    assert "other.example" in output


def test_check_of_what_can_not_be_seen_is_unknown() -> None:
    """
    Status 3, which is that of the process, and the reason; without log lines beside it.
    """
    with misbehaving.refusing() as port:
        done = run("check", f"tls://127.0.0.1:{port}")
    assert done.returncode == 3
    assert "connection_refused" in done.stdout
    assert done.stderr == ""


def test_check_looks_at_the_good_urls_when_one_is_bad(
    tmp_path: Path, now_ca: Minted, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The bad one is said, and makes the result unknown; equal URLs are one.
    """
    with nginx(tmp_path, Site([leaf(now_ca, 75 * DAY)])) as server:
        url = f"tls://{server.authority}"
        status, output, errors = check(capsys, url, "gopher://x", url, "--ca-file", ca_file(tmp_path, now_ca))
    assert status == 3
    assert errors.startswith("expiry-exporter check: scheme 'gopher' is not known")
    assert [line.split()[0] for line in output.splitlines()[1:]] == ["OK", "0"]
    assert output.endswith("\n0 critical, 1 unknown, 0 warning, 1 ok\n")


def test_check_of_bad_urls_only_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    """
    Nothing was looked at, which is not fine; said twice it is still one.
    """
    status, output, errors = check(capsys, "gopher://example.com", "gopher://example.com")
    assert status == 3
    assert output == "0 critical, 1 unknown, 0 warning, 0 ok\n"
    assert errors.count("\n") == 1


@pytest.mark.parametrize("command", ["check", "forecast"])
def test_a_command_without_any_target_is_unknown(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    As when a configuration has none: an empty list, or one of comments, is not fine.
    """
    monkeypatch.setattr("sys.stdin", io.StringIO("# none yet\n\n"))
    assert main.main([command, "-"]) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"expiry-exporter {command}: there is no target: standard input names none\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgres://me:secret@localhost/db", "postgres://...@localhost/db"),
        ("https://me:123/secret@localhost", "https://...@localhost"),
        ("me:123/secret@localhost", "...@localhost"),
        ("file://me:secret@localhost/x", "file://...@localhost/x"),
        ("https://me%3Asecret%40localhost", "https://...@localhost"),
    ],
)
def test_a_password_in_a_url_is_not_repeated(
    capsys: pytest.CaptureFixture[str], text: str, shown: str
) -> None:
    """
    Neither in the message nor in the document, and nothing is asked about a part of it.
    """
    code, out, err = check(capsys, "--output=json", text)
    assert code == 3
    document = json.loads(out)
    assert (document["refused"], document["endpoints"]) == ([shown], [])
    assert "secret" not in out + err


@pytest.mark.parametrize(
    "words",
    [
        ["{}"],
        ["check", "--policy={}", "https://localhost"],
        ["check", "--timeout={}", "https://localhost"],
        ["check", "--ca-file={}", "https://localhost"],
        ["forecast", "--days", "{}"],
        ["serve", "{}"],
        ["--{}"],
        ["--config.check={}"],
        ["--config.file={}"],
        ["--shard.index={}"],
        ["migrate", "--blackbox={}"],
        ["manual", "{}"],
        ["discover", 'http: "{}"'],
    ],
    ids=str,
)
@pytest.mark.parametrize("password", ["secret", "my secret", "my 'secret"])
def test_a_password_at_the_wrong_place_is_not_repeated(
    capsys: pytest.CaptureFixture[str], words: Sequence[str], password: str
) -> None:
    """
    Where the command line is refused, whatever it was meant for.
    """
    try:
        code: object = main.main([word.format(f"https://me:{password}@localhost") for word in words])
    except SystemExit as ended:
        code = ended.code
    captured = capsys.readouterr()
    assert code
    assert captured.err
    assert "secret" not in captured.out + captured.err


def test_check_of_an_empty_text_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """
    As a variable that is not set gives it.
    """
    status, _, errors = check(capsys, "")
    assert (status, errors) == (3, f"expiry-exporter check: {EMPTY}\n")


def test_check_with_trust_anchors_that_can_not_be_used_is_unknown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The file is at fault, not the server: nothing is looked at.
    """
    empty = tmp_path / "empty.pem"
    empty.touch()
    for file, why in (
        (tmp_path / "none.pem", "none.pem"),
        (tmp_path, "is a directory: name one PEM file"),
        (empty, "it holds no certificate"),
        (tmp_path / ("a" * 300), "there is no file"),
    ):
        status, output, errors = check(capsys, "https://localhost:1", "--ca-file", file)
        assert (status, output) == (3, "")
        assert errors.startswith("expiry-exporter check: --ca-file: ")
        assert why in errors


def test_a_web_configuration_that_is_missing_is_named_as_such(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Not with the advice for the other file.
    """
    flag = f"--web.config.file={config.parent}/nope.yml"
    assert main.main([f"--config.file={config}", "--config.check", flag]) == 1
    assert capsys.readouterr().err == (
        f"{config.parent}/nope.yml: can't be read: No such file or directory (named by --web.config.file)\n"
    )


def test_check_of_a_documents_levels_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """
    `--only` would make a document that says less than the exit code.
    """
    status, _, errors = check(capsys, "https://a.example", "--output", "json", "--only", "ok")
    assert status == 2
    assert "--only is for the table" in errors


def test_check_shows_some_levels_and_exits_by_all(
    tmp_path: Path, now_ca: Minted, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    `--only` is about what is printed.
    """
    with misbehaving.refusing() as port, nginx(tmp_path, Site([leaf(now_ca, 75 * DAY)])) as server:
        urls = (f"tls://{server.authority}", f"tls://127.0.0.1:{port}")
        anchors = ca_file(tmp_path, now_ca)
        status, output, _ = check(capsys, *urls, "--ca-file", anchors, "--only", "ok,warning")
    assert status == 3
    assert [line.split()[0] for line in output.splitlines()[1:]] == ["OK", "0"]


def written(directory: Path, name: str, *minted: Minted) -> Path:
    """
    Certificates in a PEM file.
    """
    file = directory / name
    file.write_bytes(b"".join(one.pem for one in minted))
    return file


def test_check_reads_files(tmp_path: Path, now_ca: Minted, capsys: pytest.CaptureFixture[str]) -> None:
    """
    `probe.allow` is about strangers who ask; whoever starts the command may read what it can.
    """
    file = written(tmp_path, "server.pem", *leaf(now_ca, 75 * DAY))
    status, output, _ = check(capsys, f"file://{file}")
    assert status == 0
    assert output.splitlines()[1].split()[:4] == ["OK", f"file://{file}", str(file), "leaf"]


def test_check_shows_all_that_a_certificate_says(
    tmp_path: Path, now_ca: Minted, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Below the table, in words where there are some.
    """
    file = written(tmp_path, "server.pem", *leaf(now_ca, 75 * DAY))
    _, output, _ = check(capsys, "-v", str(file))
    _, _, shown = output.partition("\n\n")
    fields = {line[4:20].strip(): line[20:] for line in shown.splitlines() if line.startswith("    ")}
    assert fields["names"] == "127.0.0.1"
    assert fields["extended usage"] == "serverAuth"
    assert {"subject", "issuer", "serial", "SHA-256", "key", "not before", "not after", "renewal due"} <= set(
        fields
    )


@pytest.fixture
def two_files(tmp_path: Path, now_ca: Minted, config: Path) -> Path:
    """
    A configuration with a file that is fine, and one that somebody must renew within 40 days.
    """
    fine = written(tmp_path, "fine.pem", *leaf(now_ca, 75 * DAY))
    bought = written(tmp_path, "bought.pem", *leaf(now_ca, 40 * DAY, "bought.example.com"))
    config.write_text(
        f"targets: [{{url: 'file://{fine}', name: fine}},"
        f" {{url: 'file://{bought}', name: bought, policy: manual}}]\n",
        encoding="utf-8",
    )
    return config


@pytest.mark.parametrize(
    ("names", "flags", "expected"),
    [
        ([], [], [("WARNING", "bought"), ("OK", "fine")]),
        (["fine"], [], [("OK", "fine")]),
        (["bought"], ["--policy=automatic"], [("OK", "bought")]),
    ],
)
def test_check_looks_at_configured_targets(
    two_files: Path,
    capsys: pytest.CaptureFixture[str],
    names: list[str],
    flags: list[str],
    expected: list[tuple[str, str]],
) -> None:
    """
    At all of them or at those named, with their own settings unless a flag says otherwise.
    """
    _, output, _ = check(capsys, f"--config.file={two_files}", *names, *flags)
    assert [tuple(line.split()[:2]) for line in output.splitlines()[1:-1]] == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], [("WARNING", "bought"), ("OK", "fine")]),
        (["bought"], [("WARNING", "bought")]),
        # A path is what it is, also where a configuration has other settings for the file.
        (["bought.pem"], [("OK", "file:")]),
        (["bought", "bought.pem"], [("WARNING", "bought"), ("OK", "file:")]),
        (["-"], [("OK", "fine")]),
    ],
)
def test_check_knows_the_configuration_beside_it(
    two_files: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    names: list[str],
    expected: list[tuple[str, str]],
) -> None:
    """
    As the exporter itself does: by its usual name, in the directory where the command is run.
    """
    monkeypatch.chdir(two_files.parent)
    monkeypatch.setattr("sys.stdin", io.StringIO("fine\n"))
    _, output, errors = check(capsys, *names)
    found = [line.split()[:2] for line in output.splitlines()[1:-1]]
    assert [(level, "file:" if name.startswith("file:") else name) for level, name in found] == expected
    assert errors == ""


@pytest.mark.parametrize("command", ["check", "forecast"])
def test_a_bad_configuration_beside_it_stops_only_what_needs_it(
    tmp_path: Path,
    now_ca: Minted,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
) -> None:
    """
    Nobody named it: it may be anything.
    """
    monkeypatch.chdir(tmp_path)
    written(tmp_path, "server.pem", *leaf(now_ca, 75 * DAY))
    Path("expiry.yml").write_text("targets: [nonsense]\n", encoding="utf-8")
    assert main.main([command]) == 3
    assert capsys.readouterr().err.startswith("expiry.yml:1: targets[0]: ")
    assert main.main([command, "server.pem"]) == 0
    assert capsys.readouterr().err.startswith(
        f"expiry-exporter {command}: expiry.yml has faults, so the names of its targets are not known here: "
        "expiry.yml:1: targets[0]: "
    )
    assert main.main([command, f"file://{tmp_path}/server.pem"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("command", ["check", "forecast"])
def test_a_bad_configuration_is_unknown(
    config: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """
    With its faults: nothing was looked at, which is not fine.
    """
    config.write_text("targets: [nonsense]\n", encoding="utf-8")
    assert main.main([command, f"--config.file={config}"]) == 3
    assert f"{config}:1" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["check", "forecast"])
def test_a_configuration_without_targets_is_unknown(
    config: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """
    An empty list is easily written by mistake.
    """
    assert main.main([command, f"--config.file={config}"]) == 3
    assert capsys.readouterr().err == f"expiry-exporter {command}: {config} has no targets to probe\n"


def forecast(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """
    Status, output and errors of a forecast in this process.
    """
    status = main.main(["forecast", *map(str, arguments)])
    return (status, *capsys.readouterr())


def test_a_forecast_tells_what_will_fire(two_files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Of the configured targets, by their policies; it is complete, so the status is 0.
    """
    status, output, errors = forecast(capsys, f"--config.file={two_files}", "--days=60")
    assert (status, errors) == (0, "")
    rows = (line.split() for line in output.splitlines()[1:-1])
    told = [(when, *what) for when, _, *what in (row[:5] for row in rows)]
    assert [(when == "now", *what) for when, *what in told] == [
        (True, "warning", "ExpirySoon", "bought"),
        (False, "critical", "ExpirySoon", "bought"),
        (False, "critical", "ExpiryPassed", "bought"),
        (False, "warning", "ExpiryRenewalOverdue", "fine"),
    ]


@pytest.mark.parametrize("output", ["text", "json", "csv"])
def test_a_forecast_that_lacks_something_says_so(capsys: pytest.CaptureFixture[str], output: str) -> None:
    """
    By its status, whatever is printed.
    """
    with misbehaving.refusing() as port:
        status, printed, errors = forecast(capsys, f"tls://127.0.0.1:{port}", "--output", output)
    assert status == 3
    assert "connection_refused" in printed
    assert "ExpiryProbeFailing" in printed
    assert errors.startswith("not seen, so not forecast: ") == (output == "csv")


def test_a_forecast_that_ran_out_of_time_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """
    With what to do: what is missing may be what fires first. Here one more than are looked at at a time.
    """
    with misbehaving.serving(misbehaving.hang, "0.0.0.0") as port:
        urls = [f"tls://127.0.{number // 200}.{number % 200 + 1}:{port}" for number in range(CONCURRENCY + 1)]
        status, _, errors = forecast(capsys, *urls, "--timeout=1")
    assert status == 3
    assert errors == "expiry-exporter forecast: not all was probed in 1 s: raise --timeout\n"


@pytest.mark.parametrize(
    ("scheme", "reason", "words"),
    [
        ("tls", "handshake_timeout", "did not finish the TLS handshake in time"),
        ("smtp", "handshake_timeout", "no greeting came in time"),
    ],
)
def test_check_of_a_silent_server_says_what_it_waited_for(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, scheme: str, reason: str, words: str
) -> None:
    """
    With and without a configuration: the look ends before the whole does, which would not know.
    """
    with misbehaving.serving(misbehaving.hang) as port:
        url = f"{scheme}://127.0.0.1:{port}"
        (tmp_path / "expiry.yml").write_text(f"targets: ['{url}']")
        for arguments in ([url], [f"--config.file={tmp_path / 'expiry.yml'}"]):
            status, output, _ = check(capsys, *arguments, "--timeout=2")
            assert status == 3
            assert f"{reason}: " in output
            assert words in output


def test_check_of_a_host_that_drops_packets_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """
    It is another thing than a server that says nothing.
    """
    with misbehaving.unanswering() as port:
        status, output, _ = check(capsys, f"tls://127.0.0.1:{port}", "--timeout=2")
    assert status == 3
    assert "connect_timeout: " in output


def test_a_forecast_looks_at_the_good_urls_when_one_is_bad(
    tmp_path: Path, now_ca: Minted, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The bad one is said, and the forecast is not the whole.
    """
    file = written(tmp_path, "server.pem", *leaf(now_ca, 75 * DAY))
    status, output, errors = forecast(capsys, f"file://{file}", "gopher://x")
    assert status == 3
    assert errors.startswith("expiry-exporter forecast: scheme 'gopher' is not known")
    assert "ExpiryRenewalOverdue" in output


def test_names_that_the_output_can_not_write_are_written_otherwise(config: Path, tmp_path: Path) -> None:
    """
    A log or terminal in ASCII gets an escape, not a traceback.
    """
    config.write_text(
        f"targets: [{{url: 'file://{tmp_path}/none.pem', name: 'm\u00fcnchen'}}]\n", encoding="utf-8"
    )
    done = subprocess.run(
        [*COMMAND, "check", f"--config.file={config}"],
        capture_output=True,
        check=False,
        timeout=30,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == 3
    assert rb"m\xfcnchen" in done.stdout


def told_to_stop(port: int) -> threading.Thread:
    """
    A thread that sends this process SIGTERM as soon as it serves at this port.
    """

    def stop() -> None:
        try:
            wait_until(listening(port), deadline=60, what="the server in this process")
        finally:
            # Else the test would never end.
            os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop)
    thread.start()
    return thread


@pytest.fixture
def _collector_restored() -> Iterator[None]:
    """
    The garbage collector looks afterwards as it did before, and threads take turns as before.
    """
    threshold, interval = gc.get_threshold(), sys.getswitchinterval()
    yield
    sys.setswitchinterval(interval)
    gc.set_threshold(*threshold)


@pytest.mark.usefixtures("_collector_restored")
@pytest.mark.parametrize("demo", [False, True])
def test_serving_ends_with_status_0(config: Path, caplog: pytest.LogCaptureFixture, demo: bool) -> None:
    """
    With a configuration, and with the demo's endpoints; nothing is left open.
    """
    port = free_port()
    stopping = told_to_stop(port)
    arguments = ["demo"] if demo else [f"--config.file={config}"]
    assert main.main([*arguments, f"--web.listen-address=127.0.0.1:{port}"]) == 0
    stopping.join()
    assert caplog.messages == []


@pytest.mark.parametrize("demo", [False, True])
@pytest.mark.usefixtures("_collector_restored")
def test_serving_at_a_taken_port_ends_with_status_1(
    config: Path, capsys: pytest.CaptureFixture[str], demo: bool
) -> None:
    """
    With what to do about it; the demo too.
    """
    arguments = ["demo"] if demo else [f"--config.file={config}"]
    with misbehaving.serving(misbehaving.hang) as port:
        assert main.main([*arguments, f"--web.listen-address=127.0.0.1:{port}"]) == 1
    said = capsys.readouterr().err
    assert f"can't listen on 127.0.0.1:{port}: another process does already" in said
    assert "--web.listen-address" in said
    assert "Traceback" not in said


def test_check_ends_quietly_when_nobody_reads_on() -> None:
    """
    As in `expiry-exporter check … | head -0`.
    """
    with misbehaving.refusing() as port:
        command = " ".join([*COMMAND, "check", f"tls://127.0.0.1:{port}"])
        script = f"set -o pipefail; {command} | true"
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, timeout=30)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_a_warning_survives_a_restart_while_the_server_is_down(tmp_path: Path, config: Path) -> None:
    """
    The new process never saw the certificate, and tells when it ends and how old that is.
    """
    ca = root("R", not_before=time.time() - DAY, not_after=time.time() + 365 * DAY)
    arguments = [f"--config.file={config}", f"--state.path={tmp_path / 'state.sqlite'}"]
    with nginx(tmp_path, Site([leaf(ca, 2 * DAY)])) as server:
        config.write_text(f"targets: [{{url: 'tls://{server.authority}', name: shop}}]\n", encoding="utf-8")
        with serving(*arguments) as (_, port):
            before = values(port)
    assert before["expiry_probe_success"] == {"shop": 1}
    with serving(*arguments) as (_, port):
        after = values(port)
    assert after["expiry_probe_success"] == {"shop": 0}
    for name in ("expiry_not_after_timestamp_seconds", "expiry_last_seen_timestamp_seconds"):
        assert after[name] == before[name]


def test_a_state_path_that_can_not_be_written_does_not_stop_it(config: Path) -> None:
    """
    It serves, and says that it can't.
    """
    with serving(f"--config.file={config}", f"--state.path={config}/state.sqlite") as (process, port):
        assert values(port)["expiry_state_last_save_successful"] == {"": 0}
        assert "can't keep state in" in process.output()


def test_two_processes_with_one_state_path_do_not_write_over_each_other(config: Path, tmp_path: Path) -> None:
    """
    The second one says so and serves all the same; when the first one ends it takes over.
    """
    arguments = [f"--config.file={config}", f"--state.path={tmp_path / 'state.sqlite'}"]
    works = "expiry_state_last_save_successful"
    with serving(*arguments) as (first, port):
        assert values(port)[works] == {"": 1}
        with serving(*arguments) as (second, other_port):
            assert values(other_port)[works] == {"": 0}
            assert "another process keeps its state in" in second.output()
            assert values(port)[works] == {"": 1}
            first.signal(signal.SIGKILL)
            first.wait()
            wait_until(lambda: values(other_port)[works] == {"": 1}, what="the second one's save")
            assert "state can be kept again" in second.output()


def test_a_locked_state_file_does_not_delay_the_end(config: Path, tmp_path: Path) -> None:
    """
    Somebody looks at it with another program, and forgot to end that.
    """
    path = tmp_path / "state.sqlite"
    with serving(f"--config.file={config}", f"--state.path={path}") as (process, port):
        fetch(port)
        wait_until(path.exists, what="the state file")
        with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as other:
            other.execute("BEGIN IMMEDIATE")
            fetch(port)
            began = time.monotonic()
            process.signal(signal.SIGTERM)
            assert process.wait() == 0
            assert time.monotonic() - began < 4
        assert "has locked the file" in process.output()


def test_shards_cover_every_target_once(config: Path) -> None:
    """
    Three replicas share thirty targets.
    """
    names = [f"target-{number}" for number in range(30)]
    lines = [f"- {{url: 'tls://127.0.0.1:1', name: {name}}}" for name in names]
    config.write_text("\n".join(["targets:", *lines, ""]), encoding="utf-8")
    seen: list[str] = []
    for index in range(3):
        with serving(f"--config.file={config}", f"--shard.index={index}", "--shard.total=3") as (_, port):
            mine = list(values(port)["expiry_target_info"])
        assert mine
        seen += mine
    assert sorted(seen) == sorted(names)


def test_the_split_is_the_same_for_every_version() -> None:
    """
    A change would move held facts between replicas.
    """
    assert [serve.shard(name, 4) for name in ("a", "b", "https://www.example.com", "é")] == [0, 0, 2, 1]


def test_one_replica_more_moves_only_what_it_gets() -> None:
    """
    A share of the targets like that of each other replica, from all of them; nothing moves between these.
    """
    names = [f"https://host-{number}.example.com" for number in range(3000)]
    before, after = ([serve.shard(name, total) for name in names] for total in (3, 4))
    moved = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert {new for _, new in moved} == {3}
    assert {old for old, _ in moved} == {0, 1, 2}
    assert 650 < len(moved) < 850
    assert all(650 < after.count(index) < 850 for index in range(4))


@pytest.mark.parametrize("index", [-1, 3])
def test_a_shard_that_is_none_is_refused(index: int, capsys: pytest.CaptureFixture[str]) -> None:
    """
    They are counted from 0.
    """
    assert main.main([f"--shard.index={index}", "--shard.total=3"]) == 1
    assert capsys.readouterr().err == f"--shard.index {index} is not from 0 to 2\n"


def test_the_system_chooses_a_port_and_it_is_told(config: Path) -> None:
    """
    With port 0, as the demo in a script may want.
    """
    command = [*COMMAND, f"--config.file={config}", "--web.listen-address=127.0.0.1:0"]
    with running(command) as process:
        pattern = re.compile(r"url=\"?http://127\.0\.0\.1:(\d+)/")
        wait_until(lambda: pattern.search(process.output()) is not None, what="the line that says where")
        found = pattern.search(process.output())
        assert found is not None
        assert "expiry_build_info" in fetch(int(found[1]))
