"""
`expiry-exporter discover`: what it prints is a configuration, and it changes nothing.
"""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exporter.cli import discover
from exporter.cli.main import main
from exporter.config.reader import parse
from exporter.demo.minter import Minted
from exporter.discovery import stores
from exporter.model.policies import BUILT_IN, DAY
from tests.discovery.test_stores import write
from tests.formats.samples import leaf
from tests.support.servers import Server, Site, nginx


def files(tmp_path: Path, *targets: str, **labels: str) -> Path:
    """
    A file with these targets.
    """
    path = tmp_path / "sd.json"
    path.write_text(json.dumps([{"targets": targets, "labels": labels}]))
    return path


def output(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """
    Exit code and both outputs.
    """
    code = main(["discover", "--no-look", *arguments])
    return (code, *capsys.readouterr())


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("file: a", "'file: a': file: unknown key: did you mean 'files'?"),
        ("networks:10.0.0.0/8", "'networks:10.0.0.0/8': a space is missing behind networks:"),
        ("files", "'files': write what it has, as in `files: ...`"),
        (
            "networks: {cidr: 10.0.0.0/24, ports: [0]}",
            "'networks: {cidr: 10.0.0.0/24, ports: [0]}': networks.ports[0]: must be at least 1",
        ),
        ("files: [a", "'files: [a': is not valid YAML"),
    ],
)
def test_a_source_with_a_fault_is_shown_with_it(
    source: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    There is no file of a configuration that a line could be named of.
    """
    code, out, err = output(capsys, "listening: true", source)
    assert (code, out) == (2, "")
    assert err.startswith(f"expiry-exporter discover: error: {words}")


def test_it_prints_a_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    By source, with comments; whatever stands in names and labels.
    """
    path = files(tmp_path, "a.example.com", "b.example.com", team='a: "b" # c', site="yes")
    write(tmp_path / "le/live/www/fullchain.pem", leaf().chain_pem)
    write(tmp_path / "le/renewal/www.conf", "renew_before_expiry = 20 days\n")
    write(tmp_path / "le/live/hours/fullchain.pem", leaf().chain_pem)
    write(tmp_path / "le/renewal/hours.conf", "renew_before_expiry = 36 hours\n")
    certbot = f"stores: {tmp_path}/le, name: certbot"
    code, out, err = output(capsys, f"files: {path}, exclude: b.*", f"{{{certbot}}}")
    assert (code, "store" in err) == (0, True)
    config = parse(out.encode(), "expiry.yml", {})
    assert [(one.name, one.policy.name, dict(one.labels)) for one in config.targets] == [
        ("https://a.example.com", "automatic", {"team": 'a: "b" # c', "site": "yes"}),
        (f"file://{tmp_path}/le/live/hours/fullchain.pem", "acme-36h", {}),
        (f"file://{tmp_path}/le/live/www/fullchain.pem", "acme-20d", {}),
    ]
    # What certbot plans is kept; the other deadlines are those of the policy that fits.
    planned, usual = config.targets[2].policy.time_left(90 * DAY), BUILT_IN["acme"].time_left(90 * DAY)
    assert (planned.renewal_due, planned.critical) == (20 * DAY, usual.critical)
    assert "# files: 1 found\n" in out
    assert f"  # group 1 of {path}\n" in out
    assert "renewed 20d before the end" in out
    assert "  acme-20d: {renewal_due: 20d, critical: [12.5%, 7d]}\n" in out
    _, out, _ = output(capsys, f"{certbot}, policy: manual")
    assert {one.policy.name for one in parse(out.encode(), "expiry.yml", {}).targets} == {"manual"}
    assert "before the end" not in out


def test_what_is_configured_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    With the sources of the configuration, and with others.
    """
    path = files(tmp_path, "a.example.com", "b.example.com")
    config = tmp_path / "expiry.yml"
    config.write_text("targets: [{url: https://a.example.com:443, name: a}]\ndiscover: [{files: sd.json}]")
    before = config.read_bytes()
    for more in ([], [f"files: {path}"]):
        code, out, _ = output(capsys, f"--config.file={config}", "--output=json", *more)
        assert code == 0
        (group,) = json.loads(out)
        assert [one["url"] for one in group["targets"]] == ["https://b.example.com"]
    assert config.read_bytes() == before


def test_a_file_that_a_configured_pattern_fits_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The pattern has it already, and one line for each file would give it twice. `**` does not come past links.
    """
    for name in ("a", "b"):
        write(tmp_path / f"le/live/{name}/fullchain.pem", leaf().chain_pem)
    config = tmp_path / "expiry.yml"
    (tmp_path / "le/live/c").symlink_to("b")
    for pattern, left in (("le/live/a*/fullchain.pem", "bc"), ("**/*.pem", "c"), ("le/live/c/**", "ab")):
        config.write_text(f"targets: ['file://{tmp_path}/{pattern}']")
        code, out, _ = output(capsys, f"--config.file={config}", "--output=json", f"stores: {tmp_path}/le")
        assert code == 0
        (group,) = json.loads(out)
        urls = [one["url"] for one in group["targets"]]
        assert urls == [f"file://{tmp_path}/le/live/{name}/fullchain.pem" for name in left]


def test_a_source_that_fails_is_told_and_the_others_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Exit status 1.
    """
    code, out, err = output(capsys, f"files: {files(tmp_path, 'a', 'b_ad..')}", "files: /nowhere.json")
    assert code == 1
    assert "files-2: there is no file /nowhere.json" in err
    assert "b_ad" in err
    assert [one.name for one in parse(out.encode(), "x", {}).targets] == ["https://a"]


def names(host: str, *_: object) -> list[tuple[Any, ...]]:
    """
    Stands for the system's resolver.
    """
    if host.startswith("gone."):
        raise socket.gaierror(socket.EAI_NONAME, "gone")
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]


@pytest.fixture
def server(tmp_path: Path, ca: Minted) -> Iterator[Server]:
    """
    A server whose certificate is for other hosts, too, one of which has no address.
    """
    for_them = ["shop.example.com", "gone.example.com", "*.example.org"]
    with nginx(tmp_path, Site([(ca.issue("www", names=for_them), ca)])) as running:
        yield running


def test_a_defect_of_a_source_costs_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It is told like any failure, and the others are printed.
    """

    def broken(*_: object) -> None:
        raise TypeError("a defect")

    monkeypatch.setattr(stores, "listed", broken)
    code, out, err = output(capsys, f"files: {files(tmp_path, 'a.example.com')}", f"stores: {tmp_path}")
    assert code == 1
    assert "https://a.example.com" in out
    assert "stores: an internal error (TypeError): please report it" in err


def test_the_names_on_their_certificates_that_nobody_watches_are_printed(
    tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Of what is configured, and of what was found, on the port that showed it. What can't be a target is told.
    """
    monkeypatch.setattr(socket, "getaddrinfo", names)
    place = f"127.0.0.1:{server.port}"
    path = files(tmp_path, f"tls://{place}")
    assert main(["discover", f"files: {path}", "--output=json"]) == 0
    out, err = capsys.readouterr()
    sd, group = json.loads(out)
    assert (sd["source"], group["source"]) == ("files", "names that nobody watches")
    assert [(one["url"], one["why"]) for one in group["targets"]] == [
        (
            f"tls://shop.example.com:{server.port}",
            f"shop.example.com is on the certificate of tls://{place} at {place}",
        )
    ]
    assert "gone.example.com is on the certificate of" in err
    assert "and has no address" in err
    assert "*.example.org is on the certificate of" in err
    config = tmp_path / "expiry.yml"
    config.write_text(f"coverage: {{ignore: 'SHOP.*'}}\ntargets: ['tls://127.0.0.1:{server.port}']\n")
    assert main(["discover", f"--config.file={config}", f"files: {path}"]) == 0
    assert capsys.readouterr().out == "# Nothing was found that is not configured.\ntargets: []\n"
    monkeypatch.setattr(discover, "NAMED", 1)
    assert main(["discover", f"files: {path}"]) == 0
    out, err = capsys.readouterr()
    assert "1 more such names" in err
    assert f"  - tls://shop.example.com:{server.port}  # shop.example.com is on the certificate of" in out


@pytest.mark.parametrize("given", ["nonsense", "files:", "]", "stores: x, limit: 0", "{files: a"])
def test_wrong_usage_is_status_2(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    """
    With the faults, and nothing on standard output.
    """
    code, out, err = output(capsys, given)
    assert (code, out) == (2, "")
    assert err


def test_without_anything_it_looks_at_this_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    At usual places, as far as they are there.
    """
    write(tmp_path / "lego/certificates/a.crt")
    monkeypatch.setattr(discover, "STORES", (f"{tmp_path}/lego", f"{tmp_path}/none"))
    monkeypatch.setattr(discover, "WEB_SERVERS", ())
    monkeypatch.setattr(discover, "MODULES", {"stores": "stores"})
    code, out, _ = output(capsys)
    assert (code, "lego's certificate a" in out) == (0, True)
    monkeypatch.setattr(discover, "STORES", ())
    code, out, _ = output(capsys)
    empty: Any = parse(out.encode(), "x", {})
    assert (code, empty.targets) == (0, ())


def test_a_place_that_may_not_be_looked_into_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    As the home of root is to all others.
    """

    def refuse(_: Path) -> bool:
        raise PermissionError

    monkeypatch.setattr(Path, "exists", refuse)
    assert [one.source for one in discover._sources(())] in ([], ["listening"])
