"""
Which directories of found files are links.
"""

import asyncio
import threading
from pathlib import Path

import pytest

from exporter.discovery import links
from exporter.discovery.base import Found, Listing, SourceError, file_url
from exporter.discovery.links import looked_at


def files(directory: Path) -> Listing:
    """
    A file behind a link, one that is not, and what is no file.
    """
    (directory / "real").mkdir()
    (directory / "link").symlink_to("real")
    urls = [file_url(f"{directory}/{name}/a.pem") for name in ("link", "real")]
    return Listing(tuple(Found(url, "") for url in [*urls, "https://a", "file:relative"]))


async def given(listing: Listing, error: SourceError | None = None) -> Listing:
    """
    Stands for the run of a source.
    """
    if error is not None:
        raise error
    return listing


async def test_links_are_seen_also_of_what_could_be_read(tmp_path: Path) -> None:
    """
    By their place in the path.
    """
    listing = files(tmp_path)
    place = len(tmp_path.parts) - 1
    assert [one.links for one in (await looked_at(given(listing))).found] == [(place,), (), None, None]
    with pytest.raises(SourceError) as caught:
        await looked_at(given(listing, SourceError("half of it", listing=listing)))
    assert caught.value.listing is not None
    assert [one.links for one in caught.value.listing.found] == [(place,), (), None, None]
    with pytest.raises(SourceError):
        await looked_at(given(listing, SourceError("all of it")))


async def test_a_file_system_that_hangs_costs_no_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What is found there is given without them.
    """
    listing, over = files(tmp_path), threading.Event()
    monkeypatch.setattr(links, "PATIENCE", 0.01)
    monkeypatch.setattr(links, "_links", lambda *_: over.wait(60) and None)
    try:
        assert await looked_at(given(listing)) == listing
    finally:
        over.set()
        await asyncio.sleep(0)
