"""
The certificate that is shown to servers ends too: it is an item of each endpoint that it is meant for.
"""

import os
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from exporter.demo.minter import Minted
from exporter.model.observation import Item
from exporter.model.reasons import Kind
from exporter.pki.certificates import certificate
from tests.probes.tls.wire.probing import NAME, alerting, facts, items, scrape, see, target, told, watching
from tests.support.certificates import DAY, NOW, VALIDITY, authority, remade, utc_time, validity, write_pair
from tests.support.processes import free_port
from tests.support.servers import Server, Site, nginx

CLIENT_AUTH = [ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string]


def client(end: float = NOW + 100 * DAY, ca: Minted | None = None) -> Minted:
    """
    A client certificate that ends then.
    """
    above = (ca or authority("Clients")).issuer
    assert above is not None
    return above.issue("probe", not_before=NOW - 400 * DAY, not_after=end, extended_key_usage=CLIENT_AUTH)


def shown_with(directory: Path, minted: Minted) -> dict[str, Any]:
    """
    Settings of a target with this client certificate.
    """
    certificate_file, key_file = write_pair(directory, "client", [minted])
    return {"client_certificate_file": str(certificate_file), "client_key_file": str(key_file)}


def remove(file: str) -> None:
    """
    Take this file away.
    """
    Path(file).unlink()


def item_of(minted: Minted) -> Item:
    """
    The item that it is.
    """
    ours = certificate(minted.der)
    return Item("client", Kind.LEAF, ours.not_before, ours.not_after, ours)


def test_one_that_strict_clients_refuse_is_an_item(tmp_path: Path, healthy: Server, anchors: str) -> None:
    """
    The library that shows it can't use it, and its end is told all the same.
    """
    odd = remade(client(), {VALIDITY: validity(utc_time("2701140800Z"), utc_time("2702140800Z"))})
    row = see(healthy, ca_file=anchors, **shown_with(tmp_path, odd))
    # It is no fault of the server's.
    assert told(row) == ("client_certificate_unusable",)
    assert items(row) == ["leaf", "chain-1", "client"]
    assert facts(row).items[-1].not_after == NOW + 30 * DAY


def test_it_is_an_item_with_deadlines_after_the_servers(
    tmp_path: Path, healthy: Server, anchors: str
) -> None:
    """
    Whether the server wants to see it or not.
    """
    ours = client()
    row = see(healthy, ca_file=anchors, **shown_with(tmp_path, ours))
    assert items(row) == ["leaf", "chain-1", "client"]
    assert facts(row).items[-1] == item_of(ours)
    assert alerting(row) == ["leaf", "client"]
    assert told(row) == ("seen",)


def test_an_expired_one_is_no_fault_of_the_server(tmp_path: Path, healthy: Server, anchors: str) -> None:
    """
    Its end is told by its item alone.
    """
    row = see(healthy, ca_file=anchors, **shown_with(tmp_path, client(NOW - DAY)))
    assert told(row) == ("seen",)
    assert facts(row).items[-1].not_after == NOW - DAY


def test_a_server_that_refuses_it_does_not_hide_it(tmp_path: Path, ca: Minted, anchors: str) -> None:
    """
    That is when its dates matter most.
    """
    settings = shown_with(tmp_path, client(NOW - DAY))
    wanted = authority("Others").issuer
    with nginx(tmp_path, Site([ca.issue(NAME, [NAME]).chain], client_ca=wanted)) as server:
        row = see(server, scheme="https", ca_file=anchors, **settings)
    assert told(row) == ("client_certificate_refused",)
    assert items(row) == ["leaf", "chain-1", "client"]


def test_a_server_that_was_never_reached_does_not_hide_it(tmp_path: Path) -> None:
    """
    Nothing is claimed of the server: it was not seen.
    """
    ours = client()
    row = see(free_port(), **shown_with(tmp_path, ours))
    assert told(row) == ("connection_refused",)
    assert facts(row).items == (item_of(ours),)
    assert row.held.seen_at is None
    assert not facts(row).presented


async def test_a_server_that_is_down_keeps_its_own_dates(tmp_path: Path, ca: Minted, anchors: str) -> None:
    """
    While ours are those of the file as it is now.
    """
    old, new = client(), client(NOW + 300 * DAY)
    settings = shown_with(tmp_path, old)
    async with watching() as watch:
        with nginx(tmp_path, Site([ca.issue(NAME, [NAME]).chain])) as server:
            one = target(server, ca_file=anchors, **settings)
            (before,) = await scrape(watch, one)
            seen = facts(before)
        shown_with(tmp_path, new)
        (row,) = await scrape(watch, one)
        assert told(row) == ("connection_refused",)
        assert facts(row).items == (*seen.items[:-1], item_of(new))
        assert facts(row).chains == seen.chains
        (again,) = await scrape(watch, one)
        assert again.held.facts is row.held.facts


async def test_a_renewed_file_is_seen_at_the_next_look(tmp_path: Path, healthy: Server, anchors: str) -> None:
    """
    It is read again when it changed, and only then.
    """
    async with watching() as watch:
        settings = shown_with(tmp_path, client())
        one = target(healthy, ca_file=anchors, **settings)
        (before,) = await scrape(watch, one)
        (unchanged,) = await scrape(watch, one)
        assert unchanged.held.facts is before.held.facts
        assert unchanged.verdict is before.verdict
        renewed = client(NOW + 300 * DAY)
        shown_with(tmp_path, renewed)
        (after,) = await scrape(watch, one)
        assert facts(after).items[-1] == item_of(renewed)


@pytest.mark.parametrize("break_it", [os.unlink, lambda path: Path(path).write_text("no certificate")])
def test_a_file_that_is_not_usable_has_a_reason_of_its_own(
    tmp_path: Path, healthy: Server, break_it: Any
) -> None:
    """
    And no item, as nothing is known of it. The server's are seen.
    """
    settings = shown_with(tmp_path, client())
    break_it(settings["client_certificate_file"])
    row = see(healthy, **settings)
    assert told(row)[0] == "client_certificate_unusable"
    assert items(row) == ["leaf", "chain-1"]


@pytest.mark.parametrize("break_it", [os.unlink, lambda path: Path(path).write_text("no key")])
def test_its_dates_are_told_whatever_its_key_is(tmp_path: Path, healthy: Server, break_it: Any) -> None:
    """
    A certificate that ends is to be renewed, also when its key was lost.
    """
    ours = client()
    settings = shown_with(tmp_path, ours)
    break_it(settings["client_key_file"])
    row = see(healthy, **settings)
    assert told(row)[0] == "client_certificate_unusable"
    assert facts(row).items[-1] == item_of(ours)


async def test_a_file_that_went_away_does_not_silence_its_end(
    tmp_path: Path, healthy: Server, anchors: str
) -> None:
    """
    What was last read of it stays, beside what the server shows now.
    """
    ours = client()
    async with watching() as watch:
        settings = shown_with(tmp_path, ours)
        one = target(healthy, ca_file=anchors, **settings)
        await scrape(watch, one)
        remove(settings["client_certificate_file"])
        (row,) = await scrape(watch, one)
        assert told(row) == ("client_certificate_unusable",)
        assert items(row) == ["leaf", "chain-1", "client"]
        assert facts(row).items[-1] == item_of(ours)
        (again,) = await scrape(watch, one)
        assert again.held.facts is row.held.facts
