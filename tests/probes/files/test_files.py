"""
The file probe on real files: patterns, passwords, links that are swapped, and all that is no file.
"""

import asyncio
import base64
import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from glob import escape
from pathlib import Path

import pytest

from exporter.cli.main import main
from exporter.config.reader import parse
from exporter.demo.minter import mint
from exporter.discovery.base import Found, file_url
from exporter.discovery.links import with_links
from exporter.engine.gone_files import GRACE
from exporter.engine.memory import Memory
from exporter.engine.results import ProbeResult, TargetResult
from exporter.engine.scrape import EndpointRow
from exporter.engine.state import State
from exporter.model.errors import Outcome
from exporter.model.observation import Facts, Item, Observed
from exporter.model.reasons import Kind
from exporter.model.targets import Target
from exporter.model.urls import parse_url
from exporter.net.file_threads import HUNG_TOGETHER, THREADS, Progress
from exporter.net.regular_files import read as real
from exporter.probes.files import cache, glob, left_out, reading
from exporter.report.exposition import Exposition
from exporter.report.families import NEWEST, NOT_AFTER, VERIFIED
from tests.formats.samples import (
    PASSWORD,
    issuer,
    java_store,
    kubeconfig,
    leaf,
    ocsp_response,
    old_pkcs12_store,
    pem,
    root,
)
from tests.probes.tls.wire.probing import scrape, target, watching
from tests.support.certificates import DAY, NOW, authority
from tests.support.hung_mount import hung_mount
from tests.support.rows import detail, items, outcome
from tests.support.servers import Site, nginx
from tests.support.state import taken


def of(path: Path | str, **settings: object) -> Target:
    """
    The target of a path or pattern.
    """
    url = parse_url(f"file://{path}")
    return replace(Target(url, url.text), **settings)  # type: ignore[arg-type]  # fields of Target


def look(*targets: Target, now: float = NOW) -> list[EndpointRow]:
    """
    The rows of one scrape.
    """

    async def run() -> list[EndpointRow]:
        async with watching(now) as watch:
            return await scrape(watch, *targets)

    return asyncio.run(run())


def told(rows: Sequence[EndpointRow]) -> dict[str, str]:
    """
    What became of each file, by its name.
    """
    return {row.label.rpartition("/")[2]: outcome(row) for row in rows}


def test_a_file_is_an_endpoint_with_deadlines_and_without_a_clients_verdict(tmp_path: Path) -> None:
    """
    Nobody was asked to trust it: the chain follows its leaf, and there are no verification metrics.
    """
    path = tmp_path / "fullchain.pem"
    path.write_bytes(leaf().chain_pem)
    (row,) = look(of(path))
    assert row.label == str(path)
    assert items(row) == ["leaf", "chain-1"]
    assert row.verdict is not None
    assert row.verdict.faults == ()
    assert [judged.item.name for judged in row.verdict.items if judged.deadlines is not None] == ["leaf"]
    assert row.held.past.trusted_at is None
    text = Exposition().text([], [row], {})
    assert NOT_AFTER.name in text
    assert VERIFIED.name not in text
    assert "expiry_verification" not in text


def test_an_intermediate_that_ends_before_its_leaf_has_deadlines(tmp_path: Path) -> None:
    """
    As on the wire.
    """
    short = root().issue("Short", not_before=NOW - DAY, not_after=NOW + 10 * DAY, ca=True)
    own = short.issue("a.example", ["a.example"], not_before=NOW - DAY, not_after=NOW + 50 * DAY)
    path = tmp_path / "chain.pem"
    path.write_bytes(own.pem + short.pem)
    (row,) = look(of(path))
    assert row.verdict is not None
    assert all(judged.deadlines is not None for judged in row.verdict.items)


def test_everything_that_is_no_good_file_has_its_reason_and_harms_no_other(tmp_path: Path) -> None:
    """
    One pattern over all sorts of things: each is told on its own.
    """
    (tmp_path / "good.pem").write_bytes(leaf().pem)
    (tmp_path / "half.pem").write_bytes(leaf().pem + pem("CERTIFICATE", b"nothing"))
    (tmp_path / "broken.pem").write_bytes(leaf().pem[:300])
    (tmp_path / "data.pem").write_bytes(b"\0hello")
    (tmp_path / "empty.pem").touch()
    (tmp_path / "huge.pem").touch()
    os.truncate(tmp_path / "huge.pem", 100_000_000)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "directory").mkdir()
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "unreadable").symlink_to("/proc/self/mem")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/n\xff.pem")).write_bytes(leaf().pem)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        rows = look(of(tmp_path / "*"))
    assert told(rows) == {
        "good.pem": "seen",
        "half.pem": "format_broken",
        "broken.pem": "format_broken",
        "data.pem": "format_unknown",
        "empty.pem": "format_unknown",
        "huge.pem": "file_too_large",
        "dangling": "file_not_found",
        "loop": "file_not_found",
        "unreadable": "file_unreadable",
        "n\\xff.pem": "seen",
    }
    by_name = {row.label.rpartition("/")[2]: row for row in rows}
    assert items(by_name["half.pem"]) == ["leaf"]
    assert "nowhere" in detail(by_name["dangling"])
    assert "a link that leads to itself" in detail(by_name["loop"])
    Exposition().text([], rows, {}).encode("utf-8")


def test_plain_paths_have_their_reasons_too(tmp_path: Path) -> None:
    """
    A file that is not there, a directory, and a key.
    """
    (tmp_path / "key.pem").write_bytes(leaf().key_pem)
    missing, directory, key = look(of(tmp_path / "none"), of(tmp_path), of(tmp_path / "key.pem"))
    assert outcome(missing) == "file_not_found"
    assert outcome(directory) == "not_a_file"
    assert f"{tmp_path}/*" in detail(directory)
    assert outcome(key) == "nothing_expires"
    assert "private key" in detail(key)


def test_a_pattern_that_matches_nothing_fails(tmp_path: Path) -> None:
    """
    Silence would pass for health.
    """
    (row,) = look(of(tmp_path / "**" / "*.pem"))
    assert outcome(row) == "no_match"
    assert row.label == f"{tmp_path}/**/*.pem"


async def test_keys_that_match_a_pattern_are_left_out(tmp_path: Path) -> None:
    """
    `/etc/letsencrypt/live/*/*` means the certificates: the key beside them is no failure.
    """
    (tmp_path / "cert.pem").write_bytes(leaf().pem)
    (tmp_path / "privkey.pem").write_bytes(leaf().key_pem)
    (tmp_path / "store.p12").write_bytes(old_pkcs12_store())
    (tmp_path / "store.p12.password").write_text(PASSWORD, "utf-8")
    async with watching() as watch:
        made = await watch.scrape([of(tmp_path / "*")], 10)
        assert told(made.endpoints) == {"cert.pem": "seen", "store.p12": "seen"}
        assert made.targets[0].left_out == 1
        # A certificate that turns into a key is another matter.
        (tmp_path / "cert.pem").write_bytes(leaf().key_pem)
        made = await watch.scrape([of(tmp_path / "*")], 10)
        assert told(made.endpoints)["cert.pem"] == "nothing_expires"


def test_patterns_are_those_of_a_shell(tmp_path: Path) -> None:
    """
    `**` goes down but not over links, and hidden names must be asked for.
    """
    for name in ("a.pem", "b/a.pem", "b/c/a.pem", ".hidden/a.pem", "b/x.crt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b" / "up").symlink_to(tmp_path)

    def found(pattern: str) -> list[str]:
        there = glob.search(f"{tmp_path}/{pattern}", Progress())
        return [path.removeprefix(f"{tmp_path}/") for path in there.paths]

    assert found("*.pem") == ["a.pem"]
    assert found("**/*.pem") == ["a.pem", "b/a.pem", "b/c/a.pem"]
    assert found("**") == ["a.pem", "b/a.pem", "b/x.crt", "b/c/a.pem"]
    assert found("b/*/a.pem") == ["b/c/a.pem", "b/up/a.pem"]
    assert found("b/up/**/x.crt") == ["b/up/b/x.crt"]
    assert found(".h*/*") == [".hidden/a.pem"]
    assert found("[ab]*/?.crt") == ["b/x.crt"]
    assert found("none/*") == []
    assert found("b/c/*/d") == []


def test_what_a_pattern_covers_is_what_its_search_finds(tmp_path: Path) -> None:
    """
    Told by the paths as a source writes them, for `**` also by which directories are links; and quickly.
    """
    (tmp_path / "b/c/deep").mkdir(parents=True)
    (tmp_path / "b/link").symlink_to("c")
    names: tuple[str, ...] = (
        "a.pem",
        "b/a.pem",
        "b/c/a.pem",
        ".hidden/a.pem",
        "b/.a.pem",
        "*.example.com/a.pem",
        "[x]/b.pem",
    )
    names = (
        *names,
        "b/link/l.pem",
        "b/link/deep/d.pem",
        "b/c/deep/d.pem",
        "b/c/deep/.d.pem",
        ".hidden/x/a.pem",
    )
    paths = [str(tmp_path / name) for name in names]
    for path in paths:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).touch()

    def links(path: str) -> tuple[int, ...]:
        (found,) = with_links([Found(file_url(path), "")])
        assert found.links is not None
        return found.links

    for pattern in (
        "*.pem",
        "*/a.pem",
        "*/*",
        "b/*/*.pem",
        ".h*/a.pem",
        "b/.*",
        "[*]*/?.pem",
        "//[[]*//*.pem",
        "**",
        "**/*.pem",
        "b/**",
        "**/c/**/*.pem",
        "**/deep/d.pem",
        "b/**/deep/*",
        "b/link/**",
        "b/*/**",
        "**/l*/l.pem",
        ".hidden/**",
        "**/**/a.pem",
    ):
        covers = glob.covering([str(tmp_path / "none" / "*"), f"{tmp_path}/{pattern}"])
        covered = [path for path in paths if covers(escape(path), links(path))]
        assert covered == [
            path for path in paths if path in glob.search(f"{tmp_path}/{pattern}", Progress()).paths
        ]
        assert covered
    assert not glob.covering([f"{tmp_path}/**"])(paths[0], None)
    assert not glob.covering([f"{tmp_path}/**"])(f"{tmp_path}{'/a' * 40}", ())
    assert not glob.covering([paths[0]])(paths[0], ())
    assert not glob.covering([f"{tmp_path}/*.pem"])(f"{tmp_path}/a*.pem", ())

    covers = glob.covering([f"/live/*/{number}*.pem" for number in range(10)])
    begun = time.process_time()
    assert not any(covers(f"/live/{number}/fullchain.pem", None) for number in range(10_000))
    assert time.process_time() - begun < 5


async def test_kubernetes_swaps_a_link_and_the_new_certificate_is_seen(tmp_path: Path) -> None:
    """
    A mounted Secret is `tls.crt -> ..data/tls.crt`, and `..data` is renamed over: the label stays.
    """
    renewed = issuer().issue("www.example", ["www.example"], not_before=NOW, not_after=NOW + 90 * DAY)
    for name, one in (("..one", leaf()), ("..two", renewed)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tls.crt").write_bytes(one.pem)
    (tmp_path / "..data").symlink_to("..one")
    (tmp_path / "tls.crt").symlink_to("..data/tls.crt")
    async with watching() as watch:
        (row,) = await scrape(watch, of(tmp_path / "**"))
        assert row.held.facts is not None
        assert row.held.facts.items[0].not_after == NOW + 89 * DAY
        (tmp_path / "..new").symlink_to("..two")
        (tmp_path / "..new").replace(tmp_path / "..data")
        (again,) = await scrape(watch, of(tmp_path / "**"))
        assert again.label == row.label == f"{tmp_path}/tls.crt"
        assert again.held.facts is not None
        assert again.held.facts.items[0].not_after == NOW + 90 * DAY
        assert again.held.past.previous["leaf"].not_after == NOW + 89 * DAY


async def test_a_file_that_breaks_keeps_what_was_last_read(tmp_path: Path) -> None:
    """
    Half overwritten, then gone: the leaf's end is still told, with the reason beside it.
    """
    path = tmp_path / "a.pem"
    async with watching() as watch:
        path.write_bytes(leaf().chain_pem)
        (row,) = await scrape(watch, of(path))
        assert items(row) == ["leaf", "chain-1"]
        path.write_bytes(leaf().pem[:200] + b"\n" + issuer().pem)
        (row,) = await scrape(watch, of(path))
        assert outcome(row) == "format_broken"
        assert {"leaf", "chain-1"} <= set(items(row))
        path.unlink()
        (row,) = await scrape(watch, of(path))
        assert outcome(row) == "file_not_found"
        assert "leaf" in items(row)
        path.write_bytes(leaf().chain_pem)
        (row,) = await scrape(watch, of(path))
        assert outcome(row) == "seen"
        assert items(row) == ["leaf", "chain-1"]


async def test_a_broken_leaf_makes_no_authority_of_its_issuer(tmp_path: Path) -> None:
    """
    The intermediate is what it was before, and never what stands alone, with deadlines of a year.
    """
    held, new, bundle = (tmp_path / name for name in ("held.pem", "new.pem", "bundle.pem"))
    broken = pem("CERTIFICATE", leaf().der[:-20])
    held.write_bytes(leaf().chain_pem)
    bundle.write_bytes(issuer().pem + root().pem)
    new.write_bytes(broken + issuer().pem)
    async with watching() as watch:
        await scrape(watch, of(held), of(bundle))
        held.write_bytes(broken + issuer().pem)
        bundle.write_bytes(broken + root().pem)
        rows = await scrape(watch, of(held), of(new), of(bundle))
        assert [outcome(row) for row in rows] == ["format_broken"] * 3
        kinds = [
            {item.name: str(item.kind) for item in row.held.facts.items}
            for row in rows
            if row.held.facts is not None
        ]
        assert kinds == [
            {"leaf": "leaf", "chain-1": "intermediate"},
            {"chain-1": "intermediate"},
            {"certificate-1": "authority", "certificate-2": "authority"},
        ]
        assert rows[0].verdict is not None
        assert [one.item.name for one in rows[0].verdict.items if one.deadlines is not None] == ["leaf"]


async def test_a_file_that_leaves_a_pattern_is_held(tmp_path: Path) -> None:
    """
    Removed while others still match: it fails, and its end is still told; back, it has its history.
    """
    for name in ("a.pem", "b.pem"):
        (tmp_path / name).write_bytes(leaf().pem)
    (tmp_path / "text.pem").write_bytes(b"nothing that was ever seen")
    renewed = issuer().issue("www.example", ["www.example"], not_before=NOW, not_after=NOW + 90 * DAY)
    async with watching() as watch:
        await scrape(watch, of(tmp_path / "*.pem"))
        (tmp_path / "a.pem").unlink()
        (tmp_path / "text.pem").unlink()
        rows = await scrape(watch, of(tmp_path / "*.pem"))
        assert told(rows) == {"a.pem": "file_not_found", "b.pem": "seen"}
        assert [items(row) for row in rows] == [["leaf"], ["leaf"]]
        (tmp_path / "a.pem").write_bytes(renewed.pem)
        rows = await scrape(watch, of(tmp_path / "*.pem"))
        assert told(rows) == {"a.pem": "seen", "b.pem": "seen"}
        (row,) = (row for row in rows if row.label.endswith("a.pem"))
        assert row.held.past.previous["leaf"].not_after == NOW + 89 * DAY


def test_a_file_that_stays_away_is_forgotten_with_a_line(caplog: pytest.LogCaptureFixture) -> None:
    """
    An hour after it was first missed, however long ago it was last seen; one line a target each time.
    """
    target, memory = of("/x/*"), Memory()
    facts = Facts((Item("leaf", Kind.LEAF, NOW, NOW + DAY),))
    there, gone = (ProbeResult(label, Observed(facts), 0.1) for label in ("/x/there", "/x/gone"))
    memory.update(TargetResult(target, (there, gone), located=True), NOW)
    with caplog.at_level("WARNING"):
        for after, known in ((0.0, 2), (GRACE - 1, 2), (GRACE, 1), (GRACE + 1, 1)):
            memory.update(TargetResult(target, (there,), located=True), NOW + 9 * DAY + after)
            assert len(memory.known(target).endpoints) == known
    assert [record.getMessage() for record in caplog.records] == [
        "files of a pattern are gone",
        "files that are gone are forgotten",
    ]


def test_a_file_that_stays_away_is_forgotten_though_the_clock_was_set_back() -> None:
    """
    It was missed while the clock was a month ahead: an hour after it was set back it is forgotten.
    """
    target, memory = of("/x/*"), Memory()
    look = ProbeResult("/x/gone", Observed(Facts((Item("leaf", Kind.LEAF, NOW, NOW + DAY),))), 0.1)
    memory.update(TargetResult(target, (look,), located=True), NOW)
    for after, known in ((30 * DAY, 1), (0.0, 1), (GRACE - 1, 1), (GRACE, 0)):
        memory.update(TargetResult(target, (), located=True), NOW + after)
        assert len(memory.known(target).endpoints) == known


async def test_all_patterns_together_have_a_limit(tmp_path: Path) -> None:
    """
    What is beyond it is counted, and a pattern keeps what it had; one that is asked for no more makes room.
    """
    for name in ("a/1", "a/2", "b/1", "b/2"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    now = [NOW]
    all_files = cache.Files(asyncio.get_running_loop(), lambda: NOW, limit=3, monotonic=lambda: now[0])
    for _ in range(2):
        found = [await all_files.search(f"{tmp_path}/{name}/*") for name in ("a", "b")]
        assert [(len(one.paths), one.beyond) for one in found] == [(2, 0), (1, 1)]
    now[0] += cache.ASKED + 1
    found_later = await all_files.search(f"{tmp_path}/b/*")
    assert (len(found_later.paths), found_later.beyond) == (2, 0)


def test_what_can_not_be_asked_for_is_no_fault_of_ours(tmp_path: Path) -> None:
    """
    A name that is too long, a kubeconfig that names no path, and the root directory, which has no name.
    """
    (tmp_path / "config").write_bytes(kubeconfig(one={"client-certificate": "a\0b"}))
    long, config, directory = look(of(tmp_path / ("a" * 300)), of(tmp_path / "config"), of("/"))
    assert outcome(long) == "file_not_found"
    assert outcome(config) == "format_broken"
    assert "user/one" in detail(config)
    assert outcome(directory) == "not_a_file"
    assert detail(directory).startswith("/ is a directory: /* ")


def test_a_revoked_certificates_staple_is_a_fault_of_the_file(tmp_path: Path) -> None:
    """
    The reason is told, and nothing is said to have been verified.
    """
    (tmp_path / "www.ocsp").write_bytes(ocsp_response(revoked_at=NOW - DAY))
    (row,) = look(of(tmp_path / "www.ocsp"))
    assert outcome(row) == "seen"
    text = Exposition().text([], [row], {})
    assert 'reason="revoked"' in text
    assert VERIFIED.name + "{" not in text


def test_an_unchanged_file_is_not_opened_again(tmp_path: Path) -> None:
    """
    Its stamp is all that is asked for: the outcome is the same object.
    """
    path = tmp_path / "a.pem"
    path.write_bytes(leaf().pem)
    later = path.stat().st_ctime + 3600

    loop = asyncio.new_event_loop()
    remembered = cache.Files(loop, lambda: later)
    one, _ = remembered._look(str(path), None, later, Progress())
    two, _ = remembered._look(str(path), None, later, Progress())
    assert one is two
    path.write_bytes(leaf().chain_pem)
    three, _ = remembered._look(str(path), None, later, Progress())
    assert three != one
    loop.close()


def test_a_file_that_changed_a_moment_ago_is_read_again(tmp_path: Path) -> None:
    """
    Two changes within one tick of the file system's clock look like one.
    """
    path = tmp_path / "a.pem"
    path.write_bytes(leaf().pem)
    loop = asyncio.new_event_loop()
    now = path.stat().st_ctime + 0.5
    fresh = cache.Files(loop, lambda: now)
    one, _ = fresh._look(str(path), None, now, Progress())
    two, _ = fresh._look(str(path), None, now, Progress())
    assert one is not two
    assert one == two
    loop.close()


@pytest.mark.parametrize("store", [old_pkcs12_store, java_store])
async def test_a_keystores_password_may_lie_beside_it(tmp_path: Path, store: Callable[[], bytes]) -> None:
    """
    `NAME.password` goes before the target's own, since it is the nearer of the two.
    """
    path = tmp_path / "store"
    path.write_bytes(store())
    beside = tmp_path / "store.password"
    beside.write_bytes(PASSWORD.encode() + b"\r\n")
    async with watching() as watch:
        (row,) = await scrape(watch, of(path, password="wrong"))
        assert outcome(row) == "seen"
        for encoding in ("utf-8-sig", "utf-16"):
            beside.write_text(PASSWORD + "\n", encoding)
            (row,) = await scrape(watch, of(path, password="wrong"))
            assert outcome(row) == "seen"
        beside.write_bytes(b"")
        (row,) = await scrape(watch, of(path, password=PASSWORD))
        assert outcome(row) == "keystore_password_wrong"
        assert "empty" in detail(row)
        beside.write_bytes(b"\xff\x00")
        (row,) = await scrape(watch, of(path, password=PASSWORD))
        assert outcome(row) == "keystore_locked"
        beside.unlink()
        beside.mkdir()
        (row,) = await scrape(watch, of(path, password=PASSWORD))
        assert outcome(row) == "keystore_locked"
        beside.rmdir()
        (row,) = await scrape(watch, of(path, password=PASSWORD))
        assert outcome(row) == "seen"
        (row,) = await scrape(watch, of(path, password="sesame"))
        assert outcome(row) == "keystore_password_wrong"
        assert "sesame" not in detail(row)


def test_a_keystore_without_a_password_is_locked(tmp_path: Path) -> None:
    """
    None configured, and none beside it.
    """
    path = tmp_path / "store.p12"
    path.write_bytes(old_pkcs12_store())
    (row,) = look(of(path))
    assert outcome(row) == "keystore_locked"


def test_passwords_come_from_a_file_or_the_environment(tmp_path: Path) -> None:
    """
    The configuration names them; a value that stands in it is refused.
    """
    (tmp_path / "password").write_text("from a file\n", "utf-8")
    text = """
defaults: {password_env: STORE}
targets:
  - file:///a.p12
  - {url: "file:///b.p12", password_file: password}
"""
    config = parse(text.encode(), str(tmp_path / "expiry.yml"), {"STORE": "from a variable"})
    assert [one.password for one in config.targets] == ["from a variable", "from a file"]
    assert "from a" not in repr(config.targets)


async def test_kubeconfig_is_read_with_the_files_that_it_names(tmp_path: Path) -> None:
    """
    Relative to its own directory; one that is missing is told, and seen when it comes.
    """
    (tmp_path / "config").write_bytes(
        kubeconfig(
            one={"client-certificate": "one.pem"}, two={"client-certificate": str(tmp_path / "two.pem")}
        )
    )
    (tmp_path / "one.pem").write_bytes(leaf().pem)
    async with watching() as watch:
        (row,) = await scrape(watch, of(tmp_path / "config"))
        assert outcome(row) == "file_not_found"
        assert "user/two" in detail(row)
        assert sorted(items(row)) == ["cluster/prod", "user/one"]
        (tmp_path / "two.pem").write_bytes(leaf().pem)
        (row,) = await scrape(watch, of(tmp_path / "config"))
        assert outcome(row) == "seen"
        assert sorted(items(row)) == ["cluster/prod", "user/one", "user/two"]


def test_a_directory_that_is_named_is_no_file_however_it_is_written(tmp_path: Path) -> None:
    """
    It was not searched, so nothing is said of searching.
    """
    (row,) = look(of(f"{tmp_path}/."))
    assert outcome(row) == "not_a_file"


def test_a_directory_that_becomes_unreadable_hides_nothing(tmp_path: Path) -> None:
    """
    What was found in it before fails, and so does the directory; other matches are seen.
    """
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.pem").write_bytes(leaf().pem)
    tmp_path.chmod(0o755)
    for above in tmp_path.parents:
        if above.owner() == tmp_path.owner() and above.stat().st_mode & 0o005 != 0o005:
            above.chmod(above.stat().st_mode | 0o055)

    async def run() -> None:
        async with watching() as watch:
            await scrape(watch, of(tmp_path / "**"))
            (tmp_path / "b").chmod(0)
            rows = await scrape(watch, of(tmp_path / "**"))
        held = {row.label.removeprefix(f"{tmp_path}/"): row for row in rows}
        assert {name: outcome(row) for name, row in held.items()} == {
            "a/x.pem": "seen",
            "b": "file_unreadable",
            "b/x.pem": "file_unreadable",
        }
        assert items(held["b/x.pem"]) == ["leaf"]
        assert detail(held["b"]) == f"{tmp_path}/b can't be read: Permission denied"

    was = os.geteuid()
    if was == 0:
        # The superuser may read everything: be somebody else meanwhile.
        os.chown(tmp_path / "b", 65534, 65534)
        os.seteuid(65534)
    try:
        asyncio.run(run())
    finally:
        os.seteuid(was)
        (tmp_path / "b").chmod(0o755)


def test_renewed_on_disk_and_not_deployed(tmp_path: Path) -> None:
    """
    The newest end of the same names is that of the file, at the server that still has the old one.
    """
    ca = authority("Deployed")
    old = ca.issue("www.example", ["www.example"], not_before=NOW - 60 * DAY, not_after=NOW + 30 * DAY)
    new = ca.issue("www.example", ["www.example"], not_before=NOW, not_after=NOW + 90 * DAY)
    (tmp_path / "new.pem").write_bytes(new.chain_pem)
    with nginx(tmp_path, Site([old.chain])) as server:
        rows = look(target(server, name="server"), of(tmp_path / "new.pem", name="disk"))
    text = Exposition().text([], rows, {})
    newest = [line for line in text.splitlines() if line.startswith(NEWEST.name)]
    assert len(newest) == 1
    assert 'target="server"' in newest[0]
    assert newest[0].endswith(f" {NOW + 90 * DAY!r}")


async def test_state_brings_files_back_as_they_were(tmp_path: Path) -> None:
    """
    Chains of files come back as chains that no client was asked to trust.
    """
    (tmp_path / "a.pem").write_bytes(leaf().chain_pem)
    state = State(str(tmp_path / "state.sqlite"))
    state.load(NOW)
    async with watching() as watch:
        (row,) = await scrape(watch, of(tmp_path / "a.pem"))
        state.save(taken(watch.memory))
        again = State(str(state.path))
        (known,) = again.load(NOW).values()
        again.close()
        (held,) = known.endpoints.values()
        assert held.facts == row.held.facts
        assert held.facts is not None
        assert not held.facts.presented
    state.close()


def test_long_paths_are_bounded_labels_of_their_own() -> None:
    """
    Two long paths that differ in the middle have two labels.
    """
    one, two = (reading.label("/" + "a" * 400 + letter + "b" * 400) for letter in "xy")
    assert one != two
    assert len(one) <= reading.LABEL_LIMIT


def test_many_files_are_looked_at_in_parts(tmp_path: Path) -> None:
    """
    Each outcome finds its file, whichever part it was in.
    """
    count = 1100
    for number in range(count):
        (tmp_path / f"{number:04}.pem").write_bytes(leaf().pem if number % 2 else b"\0")
    rows = look(of(tmp_path / "*.pem"))
    assert len(rows) == count
    assert {name for name, found in told(rows).items() if found == "seen"} == {
        f"{number:04}.pem" for number in range(1, count, 2)
    }


async def test_a_pattern_leaves_out_what_is_no_certificate_at_all(tmp_path: Path) -> None:
    """
    Configuration, text, keys, sockets; a container that is broken fails, and so does what held something.
    """
    (tmp_path / "private").mkdir()
    (tmp_path / "openssl.cnf").write_text("[req]\n", "utf-8")
    (tmp_path / "random").write_bytes(bytes(range(256)))
    (tmp_path / "empty").touch()
    (tmp_path / "huge").touch()
    os.truncate(tmp_path / "huge", 100_000_000)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "source.zip").symlink_to("nowhere")
    (tmp_path / "other.json").write_text('{"keys": {"a": 1}}', "utf-8")
    (tmp_path / "site").write_bytes(leaf().pem)
    (tmp_path / "site.crt").write_bytes(leaf().pem)
    (tmp_path / "broken").write_bytes(leaf().der[:-20])
    (tmp_path / "empty.crt").touch()
    (tmp_path / "letter").write_text("-----BEGIN pgp SIGNED MESSAGE-----\nhello\n", "utf-8")
    (tmp_path / "letter.pem").write_text("-----BEGIN pgp SIGNED MESSAGE-----\nhello\n", "utf-8")
    (tmp_path / "dummy.crt").write_text("This is a dummy root certificate file. Caf\u00e9.\n", "utf-8")
    (tmp_path / "random.crt").write_bytes(bytes(range(256)))
    (tmp_path / "half.crt").write_bytes(leaf().pem[-200:])
    (tmp_path / "bare.crt").write_bytes(base64.b64encode(leaf().der)[:-21])
    (tmp_path / "cut").write_text("-----BEGIN CERTIFICAT-\n", "utf-8")
    async with watching() as watch:
        made = await watch.scrape([of(tmp_path / "**")], 10)
        assert told(made.endpoints) == {
            "site": "seen",
            "site.crt": "seen",
            "broken": "format_broken",
            "empty.crt": "format_unknown",
            "letter.pem": "format_broken",
            "random.crt": "format_unknown",
            "half.crt": "format_unknown",
            "bare.crt": "format_unknown",
            "cut": "format_broken",
        }
        assert made.targets[0].left_out == 10
        (words,) = {str(one) for one in made.results[0].left_out if "openssl.cnf" in one.place}
        assert (
            words == f"{tmp_path}/openssl.cnf: it is no certificate, neither by its content nor by its name"
        )
        (tmp_path / "site").write_bytes(b"anything else")
        (tmp_path / "site.crt").write_bytes(b"404 Not Found")
        made = await watch.scrape([of(tmp_path / "**")], 10)
        assert told(made.endpoints)["site"] == told(made.endpoints)["site.crt"] == "format_unknown"
    # What is named is to be a certificate: alone, or at the end of a pattern.
    for path in ("openssl.cnf", "fifo", "empty", "dummy.crt"):
        (alone,) = await asyncio.to_thread(look, of(tmp_path / path))
        (by_pattern,) = await asyncio.to_thread(look, of(f"{str(tmp_path)[:-1]}?/{path}"))
        assert outcome(alone) == outcome(by_pattern) == ("not_a_file" if path == "fifo" else "format_unknown")


async def test_a_pattern_leaves_out_trust_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    By their place, through links too, or by holding many roots. A root of one's own is watched.
    """
    roots = [
        mint(f"Root {number}", ca=True, not_before=NOW - 9 * DAY, not_after=NOW - DAY)
        for number in range(left_out.MANY_ROOTS)
    ]
    store, local, certs = (tmp_path / name for name in ("store", "local", "certs"))
    for directory in (store, local, certs):
        directory.mkdir()
    (store / "theirs.crt").write_bytes(roots[0].pem)
    (store / "broken.crt").write_bytes(roots[0].pem[:300])
    (local / "ours.crt").write_bytes(root().pem)
    (certs / "theirs.pem").symlink_to(store / "theirs.crt")
    (certs / "ours.pem").symlink_to(local / "ours.crt")
    (certs / "0123abcd.0").symlink_to("ours.pem")
    (certs / "bundle").write_bytes(b"".join(one.pem for one in roots))
    (certs / "few").write_bytes(roots[0].pem + roots[1].pem)
    (certs / "cacerts").write_bytes(java_store([(f"{at}", None) for at in range(left_out.MANY_ROOTS)]))
    monkeypatch.setattr(left_out, "STORES", (f"{store}/",))
    async with watching() as watch:
        made = await watch.scrape([of(tmp_path / "**")], 10)
        assert told(made.endpoints) == {
            "broken.crt": "format_broken",
            "ours.crt": "seen",
            "ours.pem": "seen",
            "few": "seen",
        }
        assert {one.why for one in made.results[0].left_out} == {left_out.TRUST_STORE}
        assert made.targets[0].left_out == 4
    (row,) = await asyncio.to_thread(look, of(certs / "theirs.pem"))
    assert outcome(row) == "seen"
    assert [str(one.kind) for one in row.held.facts.items] == ["authority"] if row.held.facts else False
    (row,) = await asyncio.to_thread(look, of(certs / "0123abcd.*"))
    assert outcome(row) == "seen"


def file_threads() -> int:
    """
    Threads that read files, now.
    """
    return sum(one.name == "files" for one in threading.enumerate())


async def test_a_mount_that_hangs_hinders_no_file_beside_it(tmp_path: Path) -> None:
    """
    What is on it fails with `timeout`, later at once and without new threads, until it answers.
    """
    mount, links = tmp_path / "mount", tmp_path / "links"
    mount.mkdir()
    links.mkdir()
    for number in range(20):
        (links / f"{number:02}-away.pem").symlink_to(mount / f"{number}.pem")
    (links / "good.pem").write_bytes(leaf().pem)
    (tmp_path / "z.pem").write_bytes(leaf().pem)

    before = file_threads()
    with hung_mount(mount) as end:
        async with watching() as watch:
            targets = [
                of(tmp_path / "**", timeout=1.0),
                of(mount / "0.pem", timeout=1.0),
                of(tmp_path / "z.pem"),
            ]
            made = await watch.scrape(targets, 60)
            found = told(made.endpoints)
            assert found["good.pem"] == found["z.pem"] == "seen"
            assert {name for name, what in found.items() if what == "timeout"} == {
                "mount",
                "0.pem",
                *(f"{number:02}-away.pem" for number in range(20)),
            }
            (words,) = (detail(row) for row in made.endpoints if row.label == f"{mount}/0.pem")
            assert "did not answer" in words
            begin = time.monotonic()
            for _ in range(5):
                made = await watch.scrape(targets, 60)
                assert told(made.endpoints) == found
            assert time.monotonic() - begin < 20
            # Of the others, a directory, a file and some links hang with a thread each.
            assert file_threads() <= before + THREADS + HUNG_TOGETHER + 2
            end()
            deadline = time.monotonic() + 30
            while "timeout" in told(made.endpoints).values():
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
                made = await watch.scrape(targets, 60)
            assert told(made.endpoints)["00-away.pem"] == "file_unreadable"


async def test_a_slow_file_is_waited_for_and_hinders_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A faked file system, which gives one file only after all others were told of.
    """
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.pem").write_bytes(leaf().pem)
    go_on = threading.Event()

    def read(path: str, limit: int) -> tuple[bytes, os.stat_result | None]:
        if path.endswith("/a.pem"):
            assert go_on.wait(60)
        return real(path, limit)

    monkeypatch.setattr(cache, "read", read)
    order: list[int] = []
    remembered = cache.Files(asyncio.get_running_loop(), lambda: NOW)

    def tell(position: int, _outcome: Outcome, _seconds: float) -> None:
        order.append(position)
        if len(order) == 2:
            go_on.set()

    paths = [str(tmp_path / f"{name}.pem") for name in ("a", "b", "c")]
    await remembered.look(paths, None, 60, tell, tolerance=cache.Tolerance.ALL)
    assert order == [1, 2, 0]


async def test_looks_that_are_cut_off_leave_one_thread_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A faked file system that hangs, and scrapes that end before anybody knows: it is asked once.
    """
    path = tmp_path / "a.pem"
    path.write_bytes(leaf().pem)
    go_on = threading.Event()
    asked: list[str] = []

    def read(path: str, _limit: int) -> tuple[bytes, os.stat_result | None]:
        asked.append(path)
        assert go_on.wait(60)
        return leaf().pem, None

    monkeypatch.setattr(cache, "read", read)
    remembered = cache.Files(asyncio.get_running_loop(), lambda: NOW)
    outcomes: list[Outcome] = []

    def tell(_: int, outcome: Outcome, _seconds: float) -> None:
        outcomes.append(outcome)

    for _ in range(2 * THREADS):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await remembered.look([str(path)], None, 60, tell, tolerance=cache.Tolerance.NONE)
    assert outcomes == []
    assert len(asked) == 1
    go_on.set()
    await remembered.look([str(path)], None, 60, tell, tolerance=cache.Tolerance.NONE)
    assert isinstance(outcomes[0], Facts)


@pytest.mark.no_cover
def test_a_file_that_many_entries_name_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    900 users of a kubeconfig with the same certificate; and what they name together has a limit.
    """
    (tmp_path / "one.pem").write_bytes(leaf().chain_pem)
    users = {f"u{number}": {"client-certificate": "one.pem"} for number in range(900)}
    (tmp_path / "config").write_bytes(kubeconfig(**users))
    reads: list[str] = []

    def read(path: str, limit: int) -> tuple[bytes, os.stat_result | None]:
        reads.append(path)
        return real(path, limit)

    monkeypatch.setattr(cache, "read", read)
    (row,) = look(of(tmp_path / "config"))
    assert outcome(row) == "seen"
    assert len(items(row)) == 1 + 2 * 900
    assert len(reads) == 2
    monkeypatch.setattr(cache, "SIZE_LIMIT", 200_000)
    large = leaf().pem + b" " * 1000
    for number in range(900):
        (tmp_path / f"{number}.pem").write_bytes(large)
    users = {f"u{number}": {"client-certificate": f"{number}.pem"} for number in range(900)}
    (tmp_path / "config").write_bytes(kubeconfig(**users))
    (row,) = look(of(tmp_path / "config"))
    assert outcome(row) == "file_too_large"
    assert 50 < len(items(row)) < 200


def test_check_says_what_a_pattern_leaves_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    How much and why, in one line a target, and no level for it.
    """
    (tmp_path / "key.pem").write_bytes(leaf().key_pem)
    for name in ("a.conf", "b: c.conf"):
        (tmp_path / name).write_text("text", "utf-8")
    assert main(["check", f"file://{tmp_path}/**"]) == 0
    told_lines = capsys.readouterr().out.splitlines()
    assert told_lines[0].startswith(f"left out of file://{tmp_path}/**: 2 (it is no certificate")
    assert told_lines[0].endswith("1 (there is nothing in it that expires: it holds a private key)")
    assert told_lines[1] == "0 critical, 0 unknown, 0 warning, 0 ok"
