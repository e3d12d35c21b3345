"""
Sources `files` and `http`: Prometheus's file_sd and http_sd, from real files and a real server.
"""

import asyncio
import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exporter.config.sources import HttpSource
from exporter.discovery import http, source
from exporter.discovery.base import Context, Found, Listing, SourceError
from exporter.discovery.files import SIZE_LIMIT
from exporter.net.network import Network
from tests.support.web_server import Page, WebServer, web_server

JSON = {"Content-Type": "application/json; charset=utf-8"}


async def run(
    name: str,
    settings: Any,
    remembered: Any = None,
    before: tuple[Found, ...] = (),
    *,
    whole: bool = False,
) -> Listing:
    """
    One run of a source.
    """
    network = Network(asyncio.get_running_loop())
    try:
        return await source(name).run(settings, Context(network, 0.0, remembered, before, whole=whole))
    finally:
        network.close()


def urls(listing: Listing) -> list[str]:
    """
    The URLs that were found.
    """
    return [one.url for one in listing.found]


GROUPS = [
    {
        "targets": ["a.example.com", "b.example.com:636", "c.example.com:8443", "https://d.example.com/x"],
        "labels": {
            "team": "web",
            "job": "blackbox",
            "__meta_datacenter": "x",
            "__metrics_path__": "/m",
            "bad-name": "x",
            "empty": "",
        },
    },
    {"targets": ["e.example.com:5432"], "labels": {"__scheme__": "postgres"}},
    {"targets": ["f.example.com:80"], "labels": {"__scheme__": "http"}},
    {"targets": []},
    {"targets": None, "labels": None},
    {"labels": {"team": "web"}},
    {},
]


FOUND = [
    *(
        "https://a.example.com",
        "ldaps://b.example.com",
        "tls://c.example.com:8443",
        "https://d.example.com",
    ),
    *("postgres://e.example.com:5432", "tls://f.example.com:80"),
]


async def test_files_are_json_and_yaml(tmp_path: Path) -> None:
    """
    By their names, as Prometheus reads them; labels are kept but those that are for relabelling.
    """
    (tmp_path / "a.json").write_text(json.dumps(GROUPS))
    (tmp_path / "b.yml").write_text("- targets: [y.example.com]\n  labels: {team: db}\n")
    (tmp_path / "empty.yml").write_text("")
    listing = await run("files", [f"{tmp_path}/*.json", f"{tmp_path}/*.yml", f"{tmp_path}/*.none"])
    assert urls(listing) == [*FOUND, "https://y.example.com"]
    assert listing.found[0].labels == {"team": "web", "exported_job": "blackbox"}
    assert listing.found[-1].why == f"group 1 of {tmp_path}/b.yml"
    assert len(listing.notes) == 3
    again = await run("files", [f"{tmp_path}/*.json", f"{tmp_path}/*.yml"], listing.remember)
    assert again.unchanged
    # What was left out at the limit may have room now.
    again = await run("files", [f"{tmp_path}/*.json", f"{tmp_path}/*.yml"], listing.remember, whole=True)
    assert urls(again) == urls(listing)
    (tmp_path / "b.yml").write_text("- targets: [z.example.com, y.example.com]")
    changed = await run("files", [f"{tmp_path}/*.json", f"{tmp_path}/*.yml"], listing.remember)
    assert urls(changed)[-2:] == ["https://z.example.com", "https://y.example.com"]


@pytest.mark.parametrize(
    "content",
    [
        *("{", "[" * 100_000, '{"targets": []}', '[{"targets": "a"}]', "[7]", '[{"targets": [7]}]', "\xff"),
        '[{"targets": [], "labels": [1]}]',
        *('[{"target": ["a.example.com"]}]', '[{"labels": {"a": "b"}, "hosts": []}]'),
    ],
)
async def test_a_file_that_is_no_list_of_groups_is_refused(tmp_path: Path, content: str) -> None:
    """
    With its name in the message.
    """
    for name in ("a.json", "a.yml"):
        (tmp_path / name).write_bytes(content.encode("latin-1"))
        if name == "a.yml" and content == '[{"targets": [7]}]':
            continue  # scalars of YAML are text
        with pytest.raises(SourceError, match=name):
            await run("files", [str(tmp_path / name)])


async def test_a_key_that_is_written_twice_loses_no_target_without_a_word(tmp_path: Path) -> None:
    """
    Prometheus refuses such a file, too.
    """
    path = tmp_path / "sd.yml"
    path.write_text("- targets: [a.example.com]\n  targets: [b.example.com]\n")
    with pytest.raises(SourceError, match=r"sd.yml: line 2: \[0\].targets is written twice, first in line 1"):
        await run("files", [str(path)])


async def test_lists_for_other_probers_have_paths(tmp_path: Path) -> None:
    """
    Those of the blackbox exporter have pages. What is no server keeps its path.
    """
    listed = {
        "https://a.example.com/health?full=1#top": "https://a.example.com",
        "HTTPS://b.example.com:8443?x": "HTTPS://b.example.com:8443",
        "c.example.com/health": "https://c.example.com",
        "mongodb://d.example.com/db": "mongodb://d.example.com",
        "file:///srv/a.pem": "file:///srv/a.pem",
        "pem+https://e.example.com/ca.pem?x": "pem+https://e.example.com/ca.pem?x",
        "http://f.example.com/x": "http://f.example.com/x",
    }
    (tmp_path / "sd.json").write_text(json.dumps([{"targets": list(listed)}]))
    assert urls(await run("files", [str(tmp_path / "sd.json")])) == list(listed.values())


async def test_a_password_in_a_url_is_neither_needed_nor_repeated(tmp_path: Path) -> None:
    """
    The target is taken without it.
    """
    path = tmp_path / "sd.json"
    path.write_text(json.dumps([{"targets": ["https://me:secret@a.example.com/x@y", "file:///srv/a@b.pem"]}]))
    listing = await run("files", [str(path)])
    assert urls(listing) == ["https://a.example.com/x@y", "file:///srv/a@b.pem"]
    assert listing.notes == ("user and password of a URL are left out: a handshake needs none",)


@pytest.mark.parametrize("name", ["sd.json", "sd.yml"])
async def test_the_value_of_a_label_may_be_anything(tmp_path: Path, name: str) -> None:
    """
    What is no text costs the label, not the targets. Truth values and numbers are as they are written.
    """
    labels = '{"team": ["a"], "owner": {"a": "b"}, "on": true, "tier": 1.5, "none": null, "x": "y"}'
    (tmp_path / name).write_text(f'[{{"targets": ["a.example.com"], "labels": {labels}}}]')
    listing = await run("files", [str(tmp_path / name)])
    assert listing.found[0].labels == {"on": "true", "tier": "1.5", "x": "y"}
    assert listing.notes == (
        "the value of the label 'team' is no text, and is left out",
        "the value of the label 'owner' is no text, and is left out",
    )


async def test_a_file_that_is_missing_or_too_large_is_refused(tmp_path: Path) -> None:
    """
    Before it is read.
    """
    with pytest.raises(SourceError, match="there is no file"):
        await run("files", [str(tmp_path / "a.json")])
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(1024**3)
    with pytest.raises(SourceError, match=f"{SIZE_LIMIT:,}"):
        await run("files", [str(tmp_path / "a.json")])


async def test_one_file_that_can_not_be_read_takes_nothing_from_the_others(tmp_path: Path) -> None:
    """
    What it had before stays, and it is a failure; one that never had anything and is not there is a note.
    """
    paths = [str(tmp_path / name) for name in ("a.json", "b.json", "never.json")]
    (tmp_path / "a.json").write_text('[{"targets": ["a.example.com"]}]')
    (tmp_path / "b.json").write_text('[{"targets": ["b.example.com"]}]')
    first = await run("files", paths)
    assert urls(first) == ["https://a.example.com", "https://b.example.com"]
    assert first.notes == (f"there is no file {paths[2]}",)
    assert (await run("files", paths, first.remember, first.found)).unchanged
    (tmp_path / "b.json").write_text('[{"targets": ["c.example.com"]}]')
    for damage, words in (
        (lambda: (tmp_path / "a.json").write_text("{"), "a.json: it is not JSON"),
        ((tmp_path / "a.json").unlink, "there is no file .*a.json$"),
    ):
        damage()
        # The second time, nothing has changed: it is still a failure.
        remembered = first.remember
        for _ in range(2):
            with pytest.raises(SourceError, match=words) as caught:
                await run("files", paths, remembered, first.found)
            # The others are looked at as often as before, and so is what somebody mends.
            assert caught.value.listing is not None
            assert urls(caught.value.listing) == ["https://a.example.com", "https://c.example.com"]
            remembered = caught.value.listing.remember
    with pytest.raises(SourceError, match=r"a.json; there is no file .*never.json") as caught:
        await run("files", [paths[0], paths[2]], None, first.found)
    assert caught.value.listing is None


@pytest.fixture
def server() -> Iterator[WebServer]:
    """
    A real server.
    """
    with web_server() as made:
        yield made


async def test_a_server_lists_targets(server: WebServer) -> None:
    """
    The same answer costs no parsing.
    """
    server.pages["/sd"] = Page(json.dumps(GROUPS).encode(), headers=JSON)
    settings = HttpSource(url=server.url("/sd"))
    listing = await run("http", settings)
    assert urls(listing) == FOUND
    assert (await run("http", settings, listing.remember)).unchanged
    assert urls(await run("http", settings, listing.remember, whole=True)) == FOUND


@pytest.mark.parametrize(
    ("page", "words"),
    [
        (Page(b"[]", 500, JSON), "status 500"),
        (Page(b"[]", 401, JSON), "credentials_file"),
        (Page(b"[]"), "must with application/json"),
        (Page(b"<html>", headers=JSON), "it is not JSON"),
        (Page(b"{}", headers=JSON), "a list of groups"),
        (Page(b" " * (SIZE_LIMIT + 1), headers=JSON), "more than"),
    ],
)
async def test_an_answer_that_is_no_list_is_refused(server: WebServer, page: Page, words: str) -> None:
    """
    The message says what to do.
    """
    server.pages["/sd"] = page
    with pytest.raises(SourceError, match=words):
        await run("http", HttpSource(url=server.url("/sd")))


@pytest.mark.parametrize("credentials", ["hunter2-hunter2", "prometheus:hunter2-hunter2"])
async def test_a_server_that_repeats_the_credentials_does_not_get_them_into_a_message(
    server: WebServer, tmp_path: Path, credentials: str
) -> None:
    """
    Neither as a type, nor in a list with faults, nor in a note, nor where it leads: as they are, or encoded.
    """
    file = tmp_path / "credentials"
    file.write_text(credentials)
    settings = HttpSource.model_construct(url=server.url("/sd"), credentials_file=str(file), ca_file=None)
    encoded = base64.b64encode(credentials.encode()).decode()
    said = []
    for secret in ("hunter2-hunter2", encoded):
        for page in (
            Page(b"[]", headers={"Content-Type": f"text/{secret}"}),
            Page(b"", 302, {"Location": f"http://127.0.0.1:1/{secret}/a"}),
        ):
            server.pages["/sd"] = page
            with pytest.raises(SourceError) as caught:
                await run("http", settings)
            said.append(str(caught.value))
        groups = [{"targets": ["a.example:443"], "labels": {f"{secret}-": "b"}}]
        server.pages["/sd"] = Page(json.dumps(groups).encode(), headers=JSON)
        said += (await run("http", settings)).notes
    assert len(said) == 6
    assert all("[hidden]" in one or "repeats the credentials" in one for one in said)
    assert "hunter2" not in "".join(said)
    assert encoded[:12] not in "".join(said) or ":" not in credentials


async def test_a_million_targets_are_bounded_and_said(
    server: WebServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """
    Before they are objects: the limit of the element comes after that.
    """
    body = json.dumps([{"targets": [f"host-{number}.example.com" for number in range(50)]}]).encode()
    server.pages["/sd"] = Page(body, headers=JSON)
    (tmp_path / "a.json").write_bytes(body)
    (tmp_path / "b.json").write_bytes(body)
    for module in ("http", "files", "sd"):
        monkeypatch.setattr(f"exporter.discovery.{module}.FOUND_LIMIT", 60 if module == "files" else 40)
    listing = await run("http", HttpSource(url=server.url("/sd")))
    assert (len(listing.found), listing.notes) == (
        *(40, ("more than 40 targets are listed: the rest is left out",)),
    )
    listing = await run("files", [str(tmp_path / "a.json"), str(tmp_path / "b.json")])
    assert len(listing.found) == 60
    assert len(listing.notes) == 1


async def test_a_list_that_moved_is_followed_and_a_circle_is_told(server: WebServer) -> None:
    """
    The targets are those of the first address, whatever it leads to.
    """
    server.pages["/old"] = Page(status=308, headers={"Location": "/sd"})
    server.pages["/sd"] = Page(json.dumps(GROUPS).encode(), headers=JSON)
    server.pages["/circle"] = Page(status=302, headers={"Location": "/circle"})
    listing = await run("http", HttpSource(url=server.url("/old")))
    assert (urls(listing), listing.found[0].why) == (FOUND, f"group 1 of {server.url('/old')}")
    with pytest.raises(SourceError, match="leads over more than 3 redirects"):
        await run("http", HttpSource(url=server.url("/circle")))


async def test_a_list_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    After the time for one answer, with what came until then.
    """
    monkeypatch.setattr(http, "ANSWER_TIMEOUT", 0.3)

    closed = asyncio.Event()

    async def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n[")
        await reader.readuntil(b"\r\n\r\n")
        await reader.read()
        writer.close()
        closed.set()

    async with await asyncio.start_server(begin, "127.0.0.1", 0) as slow:
        port = slow.sockets[0].getsockname()[1]
        with pytest.raises(SourceError, match=r"did not end its answer in 0.3 s: [0-9]+ bytes came"):
            await run("http", HttpSource(url=f"http://127.0.0.1:{port}/sd"))
        await closed.wait()


async def test_a_server_that_is_not_there_is_refused() -> None:
    """
    A closed port.
    """
    with pytest.raises(SourceError):
        await run("http", HttpSource(url="http://127.0.0.1:1/sd"))


async def test_credentials_are_read_at_each_run(server: WebServer, tmp_path: Path) -> None:
    """
    A file that is not there is told, and nothing of its content.
    """
    server.pages["/sd"] = Page(b"[]", headers=JSON)
    file = tmp_path / "token"
    settings = HttpSource.model_construct(url=server.url("/sd"), credentials_file=str(file), ca_file=None)
    with pytest.raises(SourceError, match="there is no file"):
        await run("http", settings)
    file.write_text("two\nlines secret")
    with pytest.raises(SourceError) as told:
        await run("http", settings)
    assert "secret" not in str(told.value)
    for text in ("user:word", "a-token\n"):
        file.write_text(text)
        assert (await run("http", settings)).found == ()
