"""
The fleet: searched, sorted, and compared with itself.
"""

import re
from dataclasses import replace

import pytest

from exporter.model.reasons import Fault, Reason
from exporter.report.filters import Selection, Sort
from exporter.report.inventory import NEVER, Entry, Inventory, Rhythm, deciding
from exporter.report.status import Level
from exporter.report.times import date, distance
from tests.golden.scenes import failed, seen
from tests.golden.values import Scene, certificate, facts, intermediate, target
from tests.support.certificates import DAY, NOW
from tests.support.pages import scrape


def mixed() -> Scene:
    """
    Endpoints of every level.
    """
    scene = Scene()
    scene.see(target(name="fine", labels=(("team", "a"),)), seen(facts(certificate(), intermediate()), "e6"))
    scene.see(target(name="never seen", labels=(("team", "b"),)), failed(Reason.DNS_TIMEOUT, "e5"))
    late = certificate("late.example.com", begin=NOW - 70 * DAY, end=NOW + 20 * DAY)
    scene.see(target(name="late", labels=(("team", "a"), ("tier", "1"))), seen(facts(late), "e4"))
    scene.see(target(name="wrong"), seen(facts(certificate()), "e3"), found=[Fault.NAME_MISMATCH])
    ended = certificate("ended.example.com", end=NOW - DAY, issuer="CN=Other CA")
    scene.see(target(name="ended"), seen(facts(ended), "e2"), found=[Fault.EXPIRED])
    return scene.see(target(name="sooner fine"), seen(facts(certificate(end=NOW + 74 * DAY)), "e1"))


def names(entries: list[Entry]) -> list[str]:
    """
    The names of the targets.
    """
    return [one.row.target.name for one in entries]


def select(scene: Scene, selection: Selection) -> list[str]:
    """
    The names of the targets that the selection finds.
    """
    return names(Inventory(scrape(scene)).select(selection, NOW))


URGENT = ["ended", "never seen", "late", "wrong", "sooner fine", "fine"]


def test_what_is_wrong_comes_first() -> None:
    """
    By level, then by what ends first; what was never seen has no end.
    """
    fleet = Inventory(scrape(mixed()))
    assert names(fleet.entries(NOW)) == URGENT
    assert fleet.entries(NOW)[1].end == NEVER
    assert fleet.counts(NOW) == {Level.CRITICAL: 1, Level.UNKNOWN: 1, Level.WARNING: 2, Level.OK: 2}


@pytest.mark.parametrize("selection", [Selection(), Selection(sort=Sort.END), Selection("fine")])
@pytest.mark.parametrize("size", [1, 2, 4, 5, 10])
def test_a_page_is_a_part_of_the_selection(selection: Selection, size: int) -> None:
    """
    Whether or not those that are well are on it.
    """
    whole = names(Inventory(scrape(mixed())).select(selection, NOW))
    for number in range(1, 8):
        # Of an inventory that nobody has asked for more.
        fleet = Inventory(scrape(mixed()))
        found, count = fleet.page(replace(selection, page=number), NOW, size)
        assert names(found) == whole[(number - 1) * size : number * size]
        assert count == len(whole)


def test_levels_are_judged_anew_when_time_has_passed() -> None:
    """
    Within the same scrape.
    """
    fleet = Inventory(scrape(mixed()))
    assert fleet.counts(NOW)[Level.WARNING] == 2
    assert fleet.counts(NOW + 14 * DAY)[Level.WARNING] == 1
    assert fleet.counts(NOW)[Level.WARNING] == 2


@pytest.mark.parametrize(
    ("selection", "found"),
    [
        (Selection(sort=Sort.TARGET), ["ended", "fine", "late", "never seen", "sooner fine", "wrong"]),
        (Selection(sort=Sort.LOCATION), ["sooner fine", "ended", "wrong", "late", "never seen", "fine"]),
        (Selection(sort=Sort.END), ["ended", "late", "sooner fine", "wrong", "fine", "never seen"]),
        (Selection(descending=True), URGENT[::-1]),
        (Selection(levels=frozenset({Level.OK, Level.UNKNOWN})), ["never seen", "sooner fine", "fine"]),
        (Selection(labels=(("team", "a"),)), ["late", "fine"]),
        (Selection(labels=(("team", "a"), ("tier", "1"))), ["late"]),
        (Selection(labels=(("team", "c"),)), []),
        (Selection(targets=frozenset({"fine", "late"})), ["late", "fine"]),
        (Selection("FINE"), ["sooner fine", "fine"]),
        (Selection("fine sooner"), ["sooner fine"]),
        (Selection("dns_timeout"), ["never seen"]),
        (Selection("name_mismatch"), ["wrong"]),
        (Selection("team=a"), ["late", "fine"]),
        (Selection("other ca"), ["ended"]),
        # One word in the name, the other in the certificate.
        (Selection("ended cn=ended"), ["ended"]),
        (Selection("e5"), ["never seen"]),
        (Selection(certificate().fingerprint_sha256[:20]), ["wrong", "fine"]),
        (Selection("nowhere"), []),
        (Selection("00000000"), []),
    ],
)
def test_a_selection_finds_what_it_asks_for(selection: Selection, found: list[str]) -> None:
    """
    In the order it asks for.
    """
    assert select(mixed(), selection) == found


LATE = NOW + 20 * DAY
"""The end of `late`."""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (date(LATE), ["late"]),
        (date(LATE).removesuffix(" UTC"), ["late"]),
        (date(LATE)[:10], ["late"]),
        (distance(LATE, NOW), ["late"]),
        (f"{distance(LATE, NOW)} {date(LATE)} late", ["late"]),
        (f"{date(LATE)} ended", []),
        ("in 20 d", ["late"]),
        # Not in `20 d 0 h`.
        ("0 d", []),
        ("in 0 s", []),
        (distance(NOW - DAY, NOW), ["ended"]),
        ("74 d", ["sooner fine"]),
        # For so long its renewal has been due.
        ("10 d 0 h", ["late"]),
        (date(NOW - 70 * DAY), ["late"]),
        (date(LATE).replace(" UTC", ":00Z").replace(" ", "T"), ["late"]),
    ],
)
def test_times_are_found_as_pages_show_them(text: str, found: list[str]) -> None:
    """
    Dates, and what is left until the end.
    """
    assert select(mixed(), Selection(text)) == found


@pytest.mark.parametrize("serial", ["d2fe1a09b", "0D:2F:E1:A0:9B", "0D2FE1A09B", "0xd2fe1a09b"])
def test_serial_numbers_and_fingerprints_are_found_as_other_programs_write_them(serial: str) -> None:
    """
    With colons, in capitals, with a leading zero.
    """
    one = certificate(serial="d2fe1a09b")
    scene = Scene().see(target(name="it"), seen(facts(one)))
    scene.see(target(name="other"), seen(facts(certificate(serial="d2fe1a09c"))))
    assert select(scene, Selection(serial)) == ["it"]
    pairs = ":".join(re.findall("..", one.fingerprint_sha256))
    for text in (pairs, pairs.upper(), pairs[3:40], f"SHA256:{one.fingerprint_sha256}"):
        assert select(scene, Selection(text)) == ["it"]
    assert select(scene, Selection("00000000")) == []


def test_names_are_found_as_proxies_and_templates_write_them() -> None:
    """
    Slashes that were made one, a plus for a space; an exact name goes before that.
    """
    fleet = Inventory(
        scrape(
            Scene()
            .see(target("https://a.example"), failed(Reason.TIMEOUT))
            .see(target(name="two words"), failed(Reason.TIMEOUT))
            .see(target(name="file:///etc/x.pem"), failed(Reason.TIMEOUT))
            .see(target(name="c++"), failed(Reason.TIMEOUT))
        )
    )

    def found(asked: str) -> str | None:
        row = fleet.find(asked)
        return row.target.name if row is not None else None

    assert found("https://a.example") == "https://a.example"
    assert found("https:/a.example") == "https://a.example"
    assert found("file:/etc/x.pem") == "file:///etc/x.pem"
    assert found("two+words") == "two words"
    assert found("c++") == "c++"
    assert found("three") is None


def test_the_same_certificate_is_found_everywhere() -> None:
    """
    Wherever it is, whatever item it is there.
    """
    shared, other, above = certificate(), certificate("other.example.com"), intermediate()
    scene = Scene().see(target(name="a"), seen(facts(shared, above), "a1"), seen(facts(shared, above), "a2"))
    scene.see(target(name="b"), seen(facts(shared), "b1")).see(target(name="c"), seen(facts(other), "c1"))
    fleet = Inventory(scrape(scene))
    assert [one.row.label for one in fleet.sharing(shared)] == ["a1", "a2", "b1"]
    assert [one.judged.item.name for one in fleet.sharing(above)] == ["chain-1", "chain-1"]
    assert fleet.sharing(certificate("nowhere.example.com")) == []


def test_the_newer_certificate_of_the_same_names_is_found() -> None:
    """
    Not one with other names or another kind of key; CA certificates have none.
    """
    old, new = certificate(end=NOW + 10 * DAY, serial="1"), certificate(end=NOW + 90 * DAY, serial="2")
    rsa = certificate(end=NOW + 99 * DAY, key="rsa-2048")
    scene = Scene()
    for name, found in (("old", old), ("new", new), ("rsa", rsa)):
        scene.see(target(name=name), seen(facts(found, intermediate()), name))
    fleet = Inventory(scrape(scene))
    judged = {one.row.label: one.row.verdict for one in fleet.entries(NOW)}
    assert judged["old"] is not None
    assert judged["new"] is not None
    newer = fleet.newer(judged["old"].items[0])
    assert newer is not None
    assert (newer.row.label, newer.judged.item.certificate) == ("new", new)
    assert fleet.newest_end(judged["old"].items[0]) == NOW + 90 * DAY
    assert fleet.newer(judged["new"].items[0]) is None
    assert fleet.newest_end(judged["new"].items[0]) == NOW + 90 * DAY
    assert fleet.newer(judged["old"].items[1]) is None
    assert fleet.newest_end(judged["old"].items[1]) is None


def test_a_newer_certificate_that_clients_refuse_is_no_renewal_of_one_that_they_accept() -> None:
    """
    Behind a split horizon; where it stands it is the newest all the same.
    """
    scene = Scene().see(target(name="public"), seen(facts(certificate(end=NOW + 10 * DAY)), "public"))
    inside = certificate(issuer="CN=lms.example.com", end=NOW + 3000 * DAY)
    scene.see(target(name="inside"), seen(facts(inside), "inside"), found=[Fault.SELF_SIGNED])
    fleet = Inventory(scrape(scene))
    judged = {one.row.label: one.row.verdict.items[0] for one in fleet.entries(NOW) if one.row.verdict}
    assert fleet.newer(judged["public"]) is None
    assert fleet.newest_end(judged["public"]) == NOW + 10 * DAY
    assert fleet.newest_end(judged["inside"]) == NOW + 3000 * DAY


def test_a_certificate_that_is_refused_in_one_place_only_is_a_renewal() -> None:
    """
    A target without the `ca_file` of its authority refuses what another accepts: that one is told of.
    """
    scene = Scene().see(target(name="old"), seen(facts(certificate(end=NOW + 10 * DAY)), "old"))
    new = facts(certificate(end=NOW + 90 * DAY))
    scene.see(target(name="blind"), seen(new, "blind"), found=[Fault.UNTRUSTED_ROOT])
    scene.see(target(name="new"), seen(new, "new"))
    fleet = Inventory(scrape(scene))
    judged = {one.row.label: one.row.verdict.items[0] for one in fleet.entries(NOW) if one.row.verdict}
    newer = fleet.newer(judged["old"])
    assert newer is not None
    assert newer.row.label == "new"


def test_the_item_that_ends_first_decides() -> None:
    """
    Of those with deadlines; an intermediate that ends after the leaf has none.
    """
    scene = Scene().see(target(name="a"), seen(facts(certificate(), intermediate(end=NOW + 9 * DAY))))
    scene.see(target(name="b"), seen(facts(certificate(), intermediate())))
    scene.see(target(name="c"), failed(Reason.TIMEOUT))
    first = [deciding(row) for row in scene.rows()]
    assert [one.item.name if one is not None else None for one in first] == ["chain-1", "leaf", None]


def test_the_next_look_follows_the_rhythm() -> None:
    """
    As long after the last as two scrapes are apart.
    """
    assert Rhythm(NOW, 60).next == NOW + 60
