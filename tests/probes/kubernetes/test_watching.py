"""
What a watch gives and what becomes of it: pages, events, what is forgotten, refused, cut off and broken.
"""

import asyncio
import base64
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from exporter.engine.scrape import EndpointRow
from exporter.logs import LogfmtFormatter
from exporter.probes.kubernetes import bounds, probe, watch
from exporter.probes.kubernetes.api import Change, ReadObject, read_events
from exporter.probes.kubernetes.bounds import PAGE
from tests.formats.samples import leaf
from tests.probes.kubernetes.api_server import secret
from tests.probes.kubernetes.looking import FAST, World, eventually, of, world
from tests.support.certificates import DAY, NOW
from tests.support.rows import detail, told

WEB = "prod/web:tls.crt"


@contextlib.asynccontextmanager
async def with_one(tmp_path: Path, **pace: float) -> AsyncIterator[World]:
    """
    A cluster that holds one Secret for TLS, `prod/web`.
    """
    async with world(tmp_path, replace(FAST, **pace)) as here:
        here.fake.fill("secrets", secret("prod", "web", tls_crt=leaf().chain_pem, tls_key=leaf().key_pem))
        yield here


async def test_it_is_listed_once_and_in_pages_then_watched(tmp_path: Path) -> None:
    """
    Two types are two lists, each in pages; then scrapes ask nothing.
    """
    async with with_one(tmp_path) as here:
        pem = leaf().pem
        here.fake.fill(
            "secrets",
            *(secret("prod", f"web-{number}", tls_crt=pem) for number in range(2 * PAGE)),
            secret("prod", "own", "Opaque", some_pem=pem),
        )
        everything = of("*/*")
        assert len(await here.look(everything)) == 2 * PAGE + 2
        await eventually(lambda: here.fake.watching == 2)
        lists = here.fake.count("list")
        assert lists == 3 + 1
        for _ in range(3):
            await here.look(everything, of("*/web-*"))
        assert here.fake.count("list") == lists
        assert here.fake.count("watch") == 2
        assert [view.lists for view in here.kubernetes.views] == [1, 1]


async def test_a_secret_that_is_made_changed_and_deleted_is_told_of(tmp_path: Path) -> None:
    """
    By events of the watch, without another list.
    """
    async with with_one(tmp_path) as here:
        everything = of("prod/*")
        await here.look(everything)
        await here.fake.put("secrets", secret("prod", "new", tls_crt=leaf("new.example").pem))
        await here.until(everything, lambda rows: rows == {WEB: "seen", "prod/new:tls.crt": "seen"})
        renewed = leaf().issuer
        assert renewed is not None
        later = renewed.issue("www.example", ["www.example"], not_before=NOW, not_after=NOW + 90 * DAY)
        await here.fake.put("secrets", secret("prod", "web", tls_crt=later.pem))

        def ends(rows: list[EndpointRow]) -> float:
            facts = {row.label: row for row in rows}[WEB].held.facts
            assert facts is not None
            return facts.items[0].not_after

        await here.until_rows(everything, lambda rows: ends(rows) == NOW + 90 * DAY)
        await here.fake.delete("secrets", "prod", "new")
        await here.until(everything, lambda rows: rows == {WEB: "seen"})
        assert here.fake.count("list") == 2


async def test_nothing_left_is_a_failure_and_what_was_seen_stays(tmp_path: Path) -> None:
    """
    A Secret that was deleted is missed, not forgotten.
    """
    async with with_one(tmp_path) as here:
        await here.look(of("prod/web"))
        await here.fake.delete("secrets", "prod", "web")
        (row,) = await here.until(of("prod/web"), lambda rows: rows == {WEB: "no_match"})
        assert row.held.facts is not None
        assert "prod/web" in detail(row)


async def test_what_never_matched_says_so(tmp_path: Path) -> None:
    """
    One endpoint, named as the target.
    """
    async with with_one(tmp_path) as here:
        assert told(await here.look(of("prod/other-*"))) == {"prod/other-*": "no_match"}


async def test_bookmarks_move_the_place_from_which_a_watch_goes_on(tmp_path: Path) -> None:
    """
    When the server forgets what was before the bookmark, nothing has to be listed again.
    """
    async with with_one(tmp_path) as here:
        target = of("prod/web")
        await here.look(target)
        await eventually(lambda: here.fake.watching == 1)
        here.fake.forget()
        await here.fake.bookmark()
        view = here.kubernetes.views[0]
        await eventually(lambda: view._version == str(here.fake._version))
        here.fake.cut()
        await eventually(lambda: here.fake.count("watch") == 2 and here.fake.watching == 1)
        assert here.fake.count("list") == 1
        assert told(await here.look(target)) == {WEB: "seen"}


async def test_a_version_that_is_gone_is_listed_anew(tmp_path: Path) -> None:
    """
    410: what happened meanwhile is known by another list.
    """
    async with with_one(tmp_path) as here:
        target = of("prod/*")
        await here.look(target)
        await eventually(lambda: here.fake.watching == 2)
        here.fake.fill("secrets", secret("prod", "quiet", tls_crt=leaf().pem))
        here.fake.forget()
        here.fake.cut()
        await here.until(target, lambda rows: rows == {WEB: "seen", "prod/quiet:tls.crt": "seen"})
        assert [view.lists for view in here.kubernetes.views] == [2, 2]


async def test_a_watch_that_the_server_ends_is_begun_again_from_where_it_was(tmp_path: Path) -> None:
    """
    That is the usual end of a watch, and no failure.
    """
    async with with_one(tmp_path, watch=1.0) as here:
        target = of("prod/web")
        await here.look(target)
        await eventually(lambda: here.fake.count("watch") >= 3)
        assert here.fake.count("list") == 1
        assert told(await here.look(target)) == {WEB: "seen"}


async def test_while_a_watch_is_broken_what_it_gave_is_told_of_with_its_age(tmp_path: Path) -> None:
    """
    For a while. Then its endpoints fail, and what was seen is held; when it is back, all is well at once.
    """
    async with with_one(tmp_path, broken=0.4) as here:
        target = of("prod/web")
        await here.look(target)
        (view,) = here.kubernetes.views
        await eventually(lambda: view.age == 0)
        here.fake.status = 500
        here.fake.cut()
        await eventually(lambda: view.age > 0.01)
        (row,) = await here.look(target)
        assert told([row]) == {WEB: "seen"}
        assert row.held.seen_at is not None
        assert row.held.seen_at < NOW
        (row,) = await here.until(target, lambda rows: rows == {WEB: "http_failed"})
        assert row.held.facts is not None
        assert "500" in detail(row)
        here.fake.status = 200
        await here.until(target, lambda rows: rows == {WEB: "seen"})


async def test_an_api_server_that_is_down_says_so_at_once_and_after_a_while(tmp_path: Path) -> None:
    """
    A first list that fails is a failure of the target; one that hangs is a timeout, and goes on.
    """
    async with with_one(tmp_path) as here:
        here.fake.open.clear()
        slow = of("prod/web", timeout=0.1)
        (row,) = await here.look(slow)
        assert told([row]) == {"prod/web": "timeout"}
        here.fake.open.set()
        await here.until(slow, lambda rows: rows == {WEB: "seen"})
        here.fake.status = 503
        (row,) = await here.look(of("prod/other"))
        assert told([row]) == {"prod/other": "http_failed"}
        here.fake.status = 429
        await here.until(of("prod/other"), lambda rows: rows == {"prod/other": "rate_limited"})


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("header", "longest_wait", "least"),
    [
        ("1", 300.0, 1.0),
        ("Fri, 15 Jan 2027 08:00:01 GMT", 300.0, 1.0),
        ("86400", 0.4, 0.4),
        ("soon", 300.0, 0.0),
        ("-5", 300.0, 0.0),
    ],
)
async def test_a_server_that_asks_to_be_left_alone_is(
    tmp_path: Path, status: int, header: str, longest_wait: float, least: float
) -> None:
    """
    For as long as it says in Retry-After, in seconds or as a date, within a limit; then all is well.
    """
    async with with_one(tmp_path, longest_wait=longest_wait) as here:
        target = of("prod/web")
        here.fake.status, here.fake.retry_after = status, header
        await here.look(target)
        here.fake.status = 200
        await here.until(target, lambda rows: rows == {WEB: "seen"})
        refused, again, *_ = here.fake.asked
        assert least <= again.at - refused.at < least + 20


async def test_a_watch_that_is_told_to_wait_keeps_what_it_gave(tmp_path: Path) -> None:
    """
    A busy API server is no news about what expires.
    """
    async with with_one(tmp_path) as here:
        target = of("prod/web")
        await here.look(target)
        await eventually(lambda: here.fake.watching == 1)
        here.fake.status, here.fake.retry_after = 429, "60"
        here.fake.cut()
        (view,) = here.kubernetes.views
        await eventually(lambda: here.fake.count("watch") == 2 and view.age > 0)
        assert told(await here.look(target)) == {WEB: "seen"}


async def test_what_is_not_permitted_says_what_to_grant(tmp_path: Path) -> None:
    """
    Verbs, resource and namespace.
    """
    async with with_one(tmp_path) as here:
        here.fake.forbidden.add("* secrets")
        (row,) = await here.look(of("prod/*"))
        assert told([row]) == {"prod/*": "access_denied"}
        assert "grant the verbs list and watch on secrets in namespace 'prod'" in detail(row)
        (row,) = await here.look(of("*/*"))
        assert "secrets in the whole cluster" in detail(row)


async def test_a_watch_that_is_not_permitted_is_a_failure_though_the_list_was(tmp_path: Path) -> None:
    """
    Else the list would be all that is ever known.
    """
    async with with_one(tmp_path, broken=0.2) as here:
        here.fake.forbidden.add("watch *")
        await here.look(of("prod/web"))
        (row,) = await here.until(of("prod/web"), lambda rows: rows == {WEB: "access_denied"})
        assert "watch" in detail(row)


async def test_what_is_refused_does_not_hide_what_is_not(tmp_path: Path) -> None:
    """
    ConfigMaps that may not be read are an endpoint that fails, beside the Secrets that may.
    """
    async with with_one(tmp_path) as here:
        here.fake.forbidden.add("list configmaps")
        here.fake.absent.add("certificates")
        rows = await here.look(of("prod/*", "secrets", "configmaps", "certificates"))
        assert told(rows) == {
            WEB: "seen",
            "prod/configmaps": "access_denied",
            "prod/certificates": "http_failed",
        }


async def test_a_token_that_is_not_taken_is_told(tmp_path: Path) -> None:
    """
    401, of the whole target.
    """
    async with with_one(tmp_path) as here:
        here.fake.tokens.clear()
        (row,) = await here.look(of("prod/web", "secrets", "configmaps"))
        assert told([row]) == {"prod/web": "access_denied"}
        assert "401" in detail(row)


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"{",
        b"[]",
        b"[" * 100_000,
        b"null",
        b'{"items": []}',
        b'{"metadata": {"resourceVersion": "1"}, "items": {"a": 1}}',
        b'{"metadata": {"resourceVersion": "1"}, "items": [7]}',
        b'{"metadata": {"resourceVersion": "1"}, "items": [{"metadata": {"name": "a\\ud800"}}]}',
        b"\xff\xfe\x00",
    ],
)
async def test_a_list_that_is_none_is_a_failure(tmp_path: Path, garbage: bytes) -> None:
    """
    Cut off, of the wrong type, nested, not JSON.
    """
    async with with_one(tmp_path) as here:
        here.fake.garbage = garbage
        (row,) = await here.look(of("prod/web"))
        assert told([row]) == {"prod/web": "http_failed"}


@pytest.mark.parametrize(
    "event",
    [
        b"{\n",
        b"[]\n",
        b'{"type": "MODIFIED"}\n',
        b'{"type": "DELETED", "object": {}}\n',
        b'{"type": "MODIFIED", "object": {"metadata": {"name": 7}}}\n',
        b'{"type": "ERROR", "object": {"code": 500, "message": "told to"}}\n',
    ],
)
async def test_a_broken_event_is_got_over_by_a_list(tmp_path: Path, event: bytes) -> None:
    """
    What it should have said is in the list.
    """
    async with with_one(tmp_path) as here:
        target = of("prod/web")
        await here.look(target)
        await eventually(lambda: here.fake.watching == 1)
        await here.fake.say(event)
        await eventually(lambda: here.fake.count("list") == 2 and here.fake.watching == 1)
        assert told(await here.look(target)) == {WEB: "seen"}


async def test_an_event_without_an_end_is_cut_off(tmp_path: Path) -> None:
    """
    Before it takes all memory.
    """
    async with with_one(tmp_path) as here:
        await here.look(of("prod/web"))
        await eventually(lambda: here.fake.watching == 1)
        for _ in range(40):
            await here.fake.say(b"x" * 1024 * 1024)
            if here.fake.count("watch") > 1:
                break
        await eventually(lambda: here.fake.count("list") == 2)


BOOKMARK = b'{"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "7"}}}\n'


async def test_a_watch_that_never_comes_to_the_point_is_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Long before its time is over: tiny chunks cost more to read than to send.
    """
    async with with_one(tmp_path) as here:
        here.fake.flood = b" "
        assert told(await here.look(of("prod/web"))) == {WEB: "seen"}
        await eventually(lambda: here.fake.count("watch") > 1)
        here.fake.flood = b""
        await eventually(lambda: here.fake.watching == 1)
    log = "\n".join(map(LogfmtFormatter().format, caplog.records))
    assert "the API server sends without end, and next to no content" in log


async def test_a_watch_that_does_not_end_in_its_time_is_left(tmp_path: Path) -> None:
    """
    Whatever it sends meanwhile. It goes on from there.
    """
    async with with_one(tmp_path, watch=0.5, silence=0.1) as here:
        here.fake.flood = BOOKMARK
        await here.look(of("prod/web"))
        await eventually(lambda: here.fake.count("watch") > 1)
        assert here.fake.count("list") == 1


async def test_events_without_end_leave_time_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    After each lot there is a rest, which the reading of a larger one makes longer.
    """
    lots: list[tuple[float, float]] = []

    def read(data: bytes, reader: ReadObject) -> list[Change]:
        begun = time.monotonic()
        found = read_events(data, reader)
        lots.append((begun, time.monotonic()))
        return found

    monkeypatch.setattr(watch, "read_events", read)

    async with with_one(tmp_path) as here:
        here.fake.flood = BOOKMARK * 200
        await here.look(of("prod/web"))
        await eventually(lambda: len(lots) > 20)
    for (begun, ended), (following, _) in pairwise(lots):
        assert following - ended >= bounds.REST * (ended - begun)


async def test_a_list_without_a_last_page_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Though no page holds anything: a few may, of what was not asked for.
    """
    monkeypatch.setattr(watch, "PAGES_LIMIT", 20)

    async with with_one(tmp_path) as here:
        here.fake.endless = True
        (row,) = await here.look(of("prod/web"))
        assert "the API server's list has no end: 21 pages hold 0 objects" in detail(row)
        here.fake.endless = False
        await here.until(of("prod/web"), lambda rows: rows == {WEB: "seen"})


async def test_a_list_that_trickles_is_left(tmp_path: Path) -> None:
    """
    Though the server is never silent for long.
    """
    async with with_one(tmp_path, page=0.3) as here:
        here.fake.drip = b" "
        (row,) = await here.look(of("prod/web"))
        assert "the API server did not answer in time" in detail(row)


async def test_many_objects_leave_the_event_loop_its_turns(tmp_path: Path) -> None:
    """
    While their outcomes are reported; and what did not change is put together once, however often it is asked
    for.
    """
    async with with_one(tmp_path) as here:
        here.fake.fill("secrets", *(secret("prod", f"web-{one}", tls_crt=b"no") for one in range(PAGE)))
        everything = of("prod/*")
        await here.look(everything)
        found = await probe.endpoints(everything, here.network)
        assert len(found.found) == PAGE + 1
        turns: list[int] = []
        reported: list[int] = []

        async def others() -> None:
            while len(reported) <= PAGE:
                turns.append(len(reported))
                await asyncio.sleep(0)

        beside = asyncio.create_task(others())
        await probe.look_all(
            everything, found.found, here.network, lambda position, *_: reported.append(position)
        )
        await beside
        assert len(set(turns)) > PAGE // probe.AT_ONCE
        selection = here.kubernetes.selection(everything)
        before = selection.seen(NOW)
        assert selection.seen(NOW) is before
        await here.fake.put("secrets", secret("prod", "new", tls_crt=leaf().pem))
        await here.until(everything, lambda rows: len(rows) == PAGE + 2)
        assert len(selection.seen(NOW).outcomes) == PAGE + 2


# Twenty megabytes of JSON within a probe's time, which tracing would take as well.
@pytest.mark.no_cover
async def test_pages_that_are_too_large_are_asked_for_in_smaller_ones(tmp_path: Path) -> None:
    """
    The limit of bytes holds for a page, not for all that there is.
    """
    async with with_one(tmp_path) as here:
        large = base64.b64encode(b"\0" * 1_000_000)
        for number in range(16):
            here.fake.fill("secrets", secret("prod", f"large-{number}", "Opaque", blob=large))
        here.fake.fill("secrets", secret("prod", "own", "Opaque", some_pem=leaf().pem))
        rows = await here.look(of("prod/*", types=("Opaque",), timeout=20))
        assert told(rows) == {"prod/own:some.pem": "seen"}
        limits = [int(one.query["limit"]) for one in here.fake.asked if one.verb == "list"]
        assert limits[0] == PAGE
        assert limits[-1] < PAGE


async def test_no_secret_is_in_any_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    Nor in what is told of failures, whatever breaks.
    """
    caplog.set_level(logging.DEBUG)
    value = base64.b64encode(b"hunter2-hunter2-hunter2").decode()

    async with with_one(tmp_path, broken=0.2) as here:
        target = of("prod/*")
        key = leaf().key_pem
        here.fake.fill(
            "secrets", secret("prod", "own", "Opaque", password=b"hunter2-hunter2-hunter2", k_pem=key)
        )
        rows = await here.look(target)
        await eventually(lambda: here.fake.watching == 2)
        for broken in (value, f'{{"type": "{value}"}}', f'{{"type": "ADDED", "object": "{value}"}}'):
            before = here.fake.count("list")
            await here.fake.say(broken.encode() + b"\n")
            await eventually(lambda before=before: here.fake.count("list") > before + 1)  # type: ignore[misc]  # bound now
            await eventually(lambda: here.fake.watching == 2)
            rows += await here.look(target)
        here.fake.garbage = value.encode()
        here.fake.forget()
        here.fake.cut()
        rows += await here.until(target, lambda rows: rows.get(WEB) == "http_failed")
        text = caplog.text + repr(rows) + repr([vars(record) for record in caplog.records])
        held = repr([view.objects for view in here.kubernetes.views])
        for hidden in (value, "hunter2", *here.fake.tokens, "PRIVATE KEY", key.decode().splitlines()[1]):
            assert hidden not in text
            assert hidden not in held
    assert "can't watch Kubernetes" in caplog.text


async def test_a_watch_that_nobody_asks_for_ends(tmp_path: Path) -> None:
    """
    After an hour, whatever else is asked for.
    """
    async with with_one(tmp_path) as here:
        await here.look(of("prod/web"))
        (first,) = here.kubernetes.views
        for selection in here.kubernetes._selections.values():
            selection.asked -= 7200
        here.kubernetes._cleaned -= 7200
        await here.look(of("prod/other"))
        assert first not in here.kubernetes.views
        await eventually(lambda: first.ended)
