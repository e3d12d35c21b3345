"""
Source `zone`: transfers from BIND and Knot with and without keys, and zone files, with a real server of TLS.
"""

import asyncio
import contextlib
import ipaddress
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import dns.name
import pytest

from exporter.config.reader import parse
from exporter.config.sources import ZoneSource
from exporter.discovery import source, trying, zone
from exporter.discovery.base import Context, Found, Listing, SourceError
from exporter.discovery.lists import wanting
from exporter.discovery.targets import made
from exporter.discovery.trying import Place
from exporter.discovery.zone import AGAIN
from exporter.model.errors import ProbeError
from exporter.model.hosts import IPAddress
from exporter.model.reasons import Reason
from exporter.model.schemes import SCHEMES, Form
from exporter.net import apart, zone_reader
from exporter.net.network import Network
from tests.support.certificates import DAY, NOW, authority
from tests.support.name_servers import NAMED, Zone, serves, write
from tests.support.processes import free_port, running
from tests.support.resolvers import Ask, Names, asks
from tests.support.servers import Server, Site, nginx

KNOT = "/usr/sbin/knotd"

SECRET = "c2VjcmV0IG9mIHRoZSB0ZXN0cyBvbmx5ISEhISEhISE="

KEYS = {
    "tsig-keygen": f'key "mover" {{\n\talgorithm hmac-sha256;\n\tsecret "{SECRET}";\n}};\n',
    "keymgr": f"key:\n  - id: mover\n    algorithm: hmac-sha256\n    secret: {SECRET}\n",
    "dig": f"hmac-sha256:mover:{SECRET}\n",
}

RECORDS = """\
@ NS ns1
ns1 A 127.0.0.9
www A 127.0.0.1
shop CNAME www
second CNAME shop
*.apps A 127.0.0.1
@ MX 10 mail.apps
_sip._tcp SRV 0 0 443 www
_acme-challenge A 127.0.0.1
a_b A 127.0.0.1
dead A 127.0.0.9
loop CNAME pool
pool CNAME loop
outside CNAME cdn.invalid.
xn--bcher-kva A 127.0.0.1
text TXT "no address"
"""

SPEAKING = ["mail.apps", "second", "shop", "www", "xn--bcher-kva"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """
    A server of TLS at 127.0.0.1.
    """
    leaf = authority().issue("www", ["www"], not_before=NOW - DAY, not_after=NOW + DAY)
    with nginx(tmp_path_factory.mktemp("nginx"), Site([[leaf]])) as found:
        yield found


def zone_of(**given: Any) -> ZoneSource:
    """
    The settings as a configuration gives them: its paths are absolute already.
    """
    usual = {"server": None, "tsig_key_file": None, "file": None, "ports": [443], "rate": 50.0}
    return ZoneSource.model_construct(**{**usual, **given})


def look_up(host: str, _: int) -> tuple[IPAddress, ...]:
    """
    Stands for the system's resolver, which knows what is in the zone, but for one name.
    """
    if host == "outside.example.test" or host.endswith(".invalid"):
        raise ProbeError(Reason.DNS_NOT_FOUND, "unknown")
    return (ipaddress.ip_address("127.0.0.1"),)


def run(
    settings: ZoneSource,
    remembered: Any = None,
    now: float = NOW,
    exclude: Sequence[str] = (),
    ask: Ask = look_up,
) -> tuple[Listing, list[str]]:
    """
    One run, and what it told meanwhile.
    """
    told: list[str] = []

    async def work() -> Listing:
        loop = asyncio.get_running_loop()
        network = Network(loop)
        asks(network, ask)
        try:
            context = Context(
                *(network, now, remembered),
                wanted=wanting((), exclude),
                progress=told.append,
            )
            return await source("zone").run(settings, context)
        finally:
            network.close()

    return asyncio.run(work()), told


def urls(port: int) -> list[str]:
    """
    The targets of the zone of the tests.
    """
    return [f"tls://{name}.example.test:{port}" for name in SPEAKING]


@contextlib.contextmanager
def bind(directory: Path, allow: str) -> Iterator[int]:
    """
    BIND with the zone of the tests, and who may transfer it.
    """
    served, port = Zone("example.test", RECORDS), free_port()
    (directory / "keys").mkdir()
    (directory / "named.conf").write_text(
        f'{KEYS["tsig-keygen"]} options {{ directory "{directory}"; pid-file none; session-keyfile none; '
        f"lock-file none; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; recursion no; "
        'dnssec-validation no; managed-keys-directory "keys"; notify no; };\ncontrols { };\n'
        f'zone "example.test" {{ type primary; check-names ignore; file "{write(directory, served)}"; '
        f"allow-transfer {{ {allow}; }}; }};\n"
    )
    command: list[str | Path] = [NAMED, "-g", "-n", "1", "-c", directory / "named.conf"]
    with running(command, ready=lambda: serves("127.0.0.1", port, served)):
        yield port


@contextlib.contextmanager
def knot(directory: Path) -> Iterator[int]:
    """
    Knot with the zone of the tests, which the key may transfer.
    """
    served, port = Zone("example.test", RECORDS), free_port()
    (directory / "knot.conf").write_text(
        f"server:\n  listen: 127.0.0.1@{port}\n  rundir: {directory}\n"
        f"database:\n  storage: {directory}/db\n{KEYS['keymgr']}"
        "acl:\n  - id: moving\n    key: mover\n    action: transfer\n"
        f"zone:\n  - domain: example.test\n    file: {write(directory, served)}\n    acl: moving\n"
    )
    command = [KNOT, "-c", str(directory / "knot.conf")]
    with running(command, ready=lambda: serves("127.0.0.1", port, served)):
        yield port


def key_file(directory: Path, form: str) -> str:
    """
    The file with the key.
    """
    file = directory / f"{form}.key"
    file.write_text(KEYS[form])
    return str(file)


@pytest.mark.parametrize("form", KEYS)
def test_bind_gives_the_zone_to_who_has_the_key(form: str, tmp_path: Path, server: Server) -> None:
    """
    Whatever program wrote the file of the key. What does not become a target is told.
    """
    with bind(tmp_path, "key mover") as port:
        settings = zone_of(
            name="example.test",
            server=f"127.0.0.1:{port}",
            tsig_key_file=key_file(tmp_path, form),
            ports=[server.port],
            rate=1000,
        )
        listing, _ = run(settings)
    assert sorted(one.url for one in listing.named) == urls(server.port)
    assert listing.named[0].why.endswith(
        f"is in the zone at 127.0.0.1:{port}, and speaks TLS on port {server.port}"
    )
    told = "zone example.test:"
    nowhere = "to a name for which this host finds no address: outside.example.test -> cdn.invalid"
    assert sorted(listing.notes) == [
        f"{told} aliases (CNAME) that lead in a circle, or too far: loop.example.test, pool.example.test",
        f"{told} aliases (CNAME) {nowhere}",
        f"{told} names with an underscore are no hosts: _acme-challenge.example.test, a_b.example.test",
        "zone example.test: wildcards have no name that could be asked for: *.apps.example.test",
    ]


def test_knot_gives_the_zone_to_who_has_the_key(tmp_path: Path, server: Server) -> None:
    """
    And to nobody else.
    """
    with knot(tmp_path) as port:
        place = {"name": "example.test", "server": f"127.0.0.1:{port}", "ports": [server.port], "rate": 1000}
        listing, _ = run(zone_of(**place, tsig_key_file=key_file(tmp_path, "keymgr")))
        with pytest.raises(SourceError, match=r"NOTAUTH|REFUSED"):
            run(zone_of(**place))
    assert sorted(one.url for one in listing.named) == urls(server.port)


def test_a_refused_zone_says_what_to_do(tmp_path: Path) -> None:
    """
    Without a key, and with one that the server does not know.
    """
    with bind(tmp_path, "none") as port:
        place = {"name": "example.test", "server": f"127.0.0.1:{port}"}
        with pytest.raises(SourceError, match=r"refuses the transfer without a key \(REFUSED\): allow this"):
            run(zone_of(**place))
        file = tmp_path / "other"
        file.write_text(f"hmac-sha256:other:{SECRET}")
        with pytest.raises(
            SourceError, match=r"does not accept the TSIG key .*: its name, algorithm"
        ) as caught:
            run(zone_of(**place, tsig_key_file=str(file)))
        assert SECRET not in str(caught.value)
        file.write_text(f"nothing {SECRET}")
        with pytest.raises(SourceError, match="the file of the TSIG key has none") as caught:
            run(zone_of(**place, tsig_key_file=str(file)))
        assert SECRET not in str(caught.value)
    with pytest.raises(SourceError, match="can't be reached: Connection refused"):
        run(zone_of(name="example.test", server=f"127.0.0.1:{free_port()}"))


def zone_file(directory: Path, records: str) -> str:
    """
    A zone file of these records.
    """
    return str(write(directory, Zone("example.test", records)))


def test_a_zone_file_and_its_includes_tried_once_a_day(tmp_path: Path, server: Server) -> None:
    """
    $INCLUDE, $ORIGIN and IDN are read. Only what is new, or changed, is tried before a day has passed.
    """
    (tmp_path / "more.zone").write_text("www A 127.0.0.1\n")
    records = "$INCLUDE more.zone sub\n$ORIGIN deep.example.test.\nwww A 127.0.0.1\nbücher A 127.0.0.1\n"
    settings = zone_of(name="example.test", file=zone_file(tmp_path, records), ports=[server.port], rate=1000)
    first, _ = run(settings)
    names = ["www.deep.example.test", "www.sub.example.test", "xn--bcher-kva.deep.example.test"]
    assert [one.url for one in first.named] == [f"tls://{name}:{server.port}" for name in names]
    again, told = run(settings, first.remember, NOW + 3600)
    assert (again.named, len(told)) == (first.named, 1)
    zone_file(tmp_path, records.replace("127.0.0.1", "127.0.0.9") + "new A 127.0.0.1\n")
    changed, told = run(settings, first.remember, NOW + 3600)
    # What moved to an address that does not answer is watched for some days: somebody has to know.
    both = sorted(["new.deep.example.test", *names])
    assert sorted(one.url for one in changed.named) == [f"tls://{name}:{server.port}" for name in both]
    assert told[-1] == "zone example.test: 3 of 3 places are tried"
    after, told = run(settings, changed.remember, NOW + AGAIN)
    assert (after.named, told[-1]) == (changed.named, "zone example.test: 1 of 1 places are tried")
    for day in (1, 2):
        assert after.named == changed.named
        after, told = run(settings, after.remember, NOW + 3600 + day * AGAIN)
    names = ["new.deep.example.test", "www.sub.example.test"]
    assert sorted(one.url for one in after.named) == [f"tls://{name}:{server.port}" for name in names]
    others: tuple[object, ...] = ([], {"www.deep.example.test 1": 5})
    for other in others:
        assert run(settings, other)[0].found == run(settings)[0].found


def test_a_run_that_is_stopped_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What has an answer is not tried again, and what spoke is a target then. What is tried is a fake.
    """
    begun: list[str] = []

    async def fake(_: Network, place: Place) -> tuple[str, ...] | None:
        begun.append(place.name)
        if len(begun) == 3:
            runs[0].cancel()
            await asyncio.sleep(3600)
        return () if place.name != "b.example.test" else None

    async def work() -> Any:
        network = Network(asyncio.get_running_loop())
        reached: list[Callable[[], Any]] = []
        context = Context(network, NOW, so_far=reached.append)
        runs.append(asyncio.ensure_future(source("zone").run(settings, context)))
        await asyncio.wait(runs)
        network.close()
        return json.loads(json.dumps(reached[-1]()))

    runs: list[asyncio.Future[Listing]] = []
    monkeypatch.setattr(trying, "names_at", fake)
    monkeypatch.setattr(trying, "AT_ONCE", 1)
    records = "".join(f"{name} A 127.0.0.1\n" for name in "abcd")
    settings = zone_of(name="example.test", file=zone_file(tmp_path, records), rate=1000)
    listing, _ = run(settings, asyncio.run(work()))
    assert begun == [f"{name}.example.test" for name in "abccd"]
    assert [one.url for one in listing.named] == [f"https://{name}.example.test" for name in "acd"]


def test_what_is_excluded_is_not_tried(tmp_path: Path, server: Server) -> None:
    """
    By host or URL. It may be excluded since it must not be.
    """
    records = "a A 127.0.0.1\nb.lab A 127.0.0.1\nc.lab A 127.0.0.1\nd A 127.0.0.1\n"
    settings = zone_of(name="example.test", file=zone_file(tmp_path, records), ports=[server.port], rate=1000)
    listing, told = run(settings, exclude=["*.lab.example.test", f"tls://a.*:{server.port}"])
    assert [one.url for one in listing.named] == [f"tls://d.example.test:{server.port}"]
    assert told[-1] == "zone example.test: 1 of 1 places are tried"
    assert list(listing.remember) == [f"d.example.test {server.port}"]


@pytest.mark.parametrize("length", [198, 253])
def test_a_host_of_any_length_can_be_a_target(length: int) -> None:
    """
    Its URL is its name: with the longest scheme and a port.
    """
    config = parse(b"discover: [{zone: {name: example.test, file: /x}}]", "expiry.yml", {})
    host = (
        ".".join(["a" * 60] * 4 + ["b" * (length - 244)]) if length > 244 else f"{'a' * 60}." * 3 + "b" * 15
    )
    assert len(host) == length
    urls = [f"{name}://{host}:65535" for name, one in SCHEMES.items() if one.form is Form.HOST]
    result = made([Found(url, "a zone") for url in urls], config.discover[0], config)
    assert [target.name for target in result.targets] == urls


def test_an_alias_out_of_the_zone_is_looked_up_as_this_host_does_it(tmp_path: Path, server: Server) -> None:
    """
    By the name in the zone, or else by the one that it leads to: /etc/hosts has that without a final dot.
    """
    records = "gw CNAME front\nfront CNAME localhost.\n" + "".join(
        f"{name} CNAME none.invalid.\n" for name in "abcd"
    )
    settings = zone_of(name="example.test", file=zone_file(tmp_path, records), ports=[server.port], rate=1000)

    def ask(host: str, family: int) -> tuple[IPAddress, ...]:
        return look_up("none.invalid" if len(host) == len("a.example.test") else host, family)

    listing, _ = run(settings, ask=ask)
    assert [one.url for one in listing.named] == [
        f"tls://{name}.example.test:{server.port}" for name in ("front", "gw")
    ]
    (note,) = listing.notes
    assert note.partition("no address: ")[2] == (
        "a.example.test -> none.invalid, b.example.test -> none.invalid, c.example.test -> none.invalid "
        "and 1 more"
    )


def test_an_alias_into_a_zone_below_is_looked_up(tmp_path: Path, server: Server) -> None:
    """
    What a zone delegates has no address in it. An alias of what nobody has is told.
    """
    records = (
        "sub NS ns.sub\nns.sub A 127.0.0.9\nfirst CNAME second\nsecond CNAME web.sub\nlost CNAME nobody\n"
    )
    settings = zone_of(name="example.test", file=zone_file(tmp_path, records), ports=[server.port], rate=1000)
    ask = Names(unknown="lost.example.test nobody.example.test")
    listing, _ = run(settings, ask=ask)
    assert [one.url for one in listing.named] == [
        f"tls://{name}.example.test:{server.port}" for name in ("first", "second")
    ]
    (note,) = listing.notes
    assert note.endswith("no address: lost.example.test -> nobody.example.test")


def test_what_leads_to_whoever_asks_is_no_target(tmp_path: Path, server: Server) -> None:
    """
    The name localhost, and the unspecified address, at which a connection gets to this host.
    """
    records = "localhost A 127.0.0.1\nblocked A 0.0.0.0\nblocked AAAA ::\nwww A 127.0.0.1\n"
    settings = zone_of(name="example.test", file=zone_file(tmp_path, records), ports=[server.port], rate=1000)
    listing, _ = run(settings)
    assert [one.url for one in listing.named] == [f"tls://www.example.test:{server.port}"]
    assert [note.partition(": ")[2] for note in listing.notes] == [
        "localhost is another host for each client: localhost.example.test"
    ]


def test_an_alias_for_which_there_was_no_time_waits_for_the_next_run(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Name servers that do not answer must not use up the time of all runs.
    """
    settings = zone_of(
        name="example.test",
        file=zone_file(tmp_path, "gw CNAME localhost.\n"),
        ports=[server.port],
        rate=1000,
    )
    with monkeypatch.context() as short:
        short.setattr(zone, "RUN", 0.0)
        listing, _ = run(settings)
    assert (listing.named, listing.remember) == ((), {})
    assert listing.notes == ("1 places are not tried yet: the next run goes on with them",)
    later, _ = run(settings, listing.remember)
    assert [one.url for one in later.named] == [f"tls://gw.example.test:{server.port}"]


def test_comments_and_texts_of_a_zone_file_may_be_in_any_encoding(tmp_path: Path, server: Server) -> None:
    """
    As for a name server, also those of a file that it includes.
    """
    (tmp_path / "more.zone").write_bytes("; für\nmore A 127.0.0.1\n".encode("latin-1"))
    path = Path(zone_file(tmp_path, ""))
    added = '; Müller\nwww A 127.0.0.1\n@ TXT "Müller"\n$INCLUDE more.zone\n'.encode("latin-1")
    path.write_bytes(path.read_bytes() + added)
    listing, _ = run(zone_of(name="example.test", file=str(path), ports=[server.port], rate=1000))
    assert [one.url for one in listing.named] == [
        f"tls://{name}.example.test:{server.port}" for name in ("more", "www")
    ]


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ("www A\n", r"example.test.zone:5: "),
        ("www A 127.0.0.1\n$INCLUDE example.test.zone\n", r"lead in a circle"),
        ("$INCLUDE none.zone\n", r"none.zone can't be read: No such file"),
        (f"{'a' * 64} A 127.0.0.1\n", r"A DNS label is > 63 octets long"),
        (f"{'.'.join(['a' * 60] * 4)} A 127.0.0.1\n", r"A DNS name is > 255 octets long"),
        ("\x00\x01\x02\n", r"the zone file has an error"),
    ],
    ids=["syntax", "circle", "missing", "label", "254 characters", "binary"],
)
def test_a_bad_zone_file(records: str, words: str, tmp_path: Path) -> None:
    """
    The file and line, and what is wrong.
    """
    with pytest.raises(SourceError, match=words):
        run(zone_of(name="example.test", file=zone_file(tmp_path, records)))


@pytest.mark.programs
def test_what_is_no_zone_file(tmp_path: Path) -> None:
    """
    A directory, nothing, a file without records, and a bad name.
    """
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(SourceError, match="is no file, or can't be reached"):
            run(zone_of(name="example.test", file=str(path)))
    (tmp_path / "empty").touch()
    with pytest.raises(SourceError, match="has no records"):
        run(zone_of(name="example.test", file=str(tmp_path / "empty")))
    with pytest.raises(SourceError, match="is no name of a zone"):
        run(zone_of(name="a..b", file=str(tmp_path / "empty")))


def test_above_the_limit_names_are_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """
    Whatever the zone has, the memory for it is bounded.
    """
    monkeypatch.setattr(zone_reader, "NAMES", 10)
    names = zone_reader.Names("example.test")
    path = zone_file(tmp_path, "$GENERATE 1-50 host$ A 127.0.0.1\n")
    monkeypatch.chdir(tmp_path)
    zone_reader.read_file(path, dns.name.from_text("example.test"), names)
    lines = list(names.lines())
    assert len(names.addresses) == 20
    assert len(lines) == 11
    assert lines[-1] == "#40 records are above the limit of 10 names, and were left out"


FORBIDDING = """\
import asyncio, ctypes, os, platform, struct, sys

# seccomp(2): the call gets EPERM, all others pass. So does systemd with SystemCallFilter=~@resources.
number = {"x86_64": 141, "aarch64": 140}[platform.machine()]
steps = ((0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x50001), (0x06, 0, 0, 0x7FFF0000))
code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
program = struct.pack("HxxxxxxQ", len(steps), ctypes.addressof(code))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, program, 0, 0) == 0
try:
    os.nice(1)
except PermissionError:
    print("forbidden")

from exporter.net import apart

async def read():
    async for line in apart.lines("exporter.net.zone_reader", sys.argv[1].encode()):
        print(line)

asyncio.run(read())
"""


@pytest.mark.skipif(platform.machine() not in {"x86_64", "aarch64"}, reason="another number of the call")
def test_a_zone_is_read_where_no_process_may_lower_its_priority(tmp_path: Path) -> None:
    """
    As in a hardened service. The priority is a courtesy, not a condition.
    """
    told = {"zone": "example.test", "file": zone_file(tmp_path, "a A 127.0.0.1\n"), "key": None}
    done = subprocess.run(
        [sys.executable, "-c", FORBIDDING, json.dumps(told)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout.splitlines()[:2] == ["forbidden", "+a.example.test 127.0.0.1"], done.stderr[-500:]


def test_a_reader_that_dies_is_told_and_one_without_listeners_is_killed() -> None:
    """
    A process never outlives who asked.
    """

    async def dying() -> None:
        async for _ in apart.lines("exporter.net.apart", b"{}"):
            pass

    with pytest.raises(apart.ApartError, match="memory"):
        asyncio.run(dying())

    async def cancelled() -> None:
        async for _ in apart.lines("exporter.net.zone_reader", b"{}"):
            pass

    async def cancel() -> None:
        task = asyncio.ensure_future(cancelled())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert not subprocess.run(
        ["pgrep", "-P", str(os.getpid()), "-f", "zone_reader"], check=False, capture_output=True
    ).stdout
