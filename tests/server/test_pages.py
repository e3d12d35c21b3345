"""
The pages, as HTML: read as a browser would, and asked what they say.
"""

import asyncio
import re
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request
from yarl import URL

from exporter.engine.scrape import EndpointRow
from exporter.model.errors import LeftOut
from exporter.model.observation import Facts, Item, Renewal
from exporter.model.policies import MANUAL
from exporter.model.reasons import Fault, Kind, Reason
from exporter.report import calendar, inventory, json_items
from exporter.report.filters import PAGE_SIZE, Selection, Sort
from exporter.report.inventory import Inventory, Rhythm
from exporter.report.paths import target_path
from exporter.report.status import Finding, Level, Status, status
from exporter.server.app import application
from exporter.server.bodies import WAITING
from exporter.server.pages import certificates, faults, overview, target, unwatched
from exporter.server.pages.overview import Situation, headline
from exporter.server.pages.site import ASSETS, assets, root_of, versions
from exporter.server.pages.words import Told, finding
from tests.golden.scenes import failed, seen
from tests.golden.values import Scene, certificate, facts, intermediate
from tests.golden.values import target as made
from tests.support.certificates import DAY, NOW
from tests.support.html import Element, read
from tests.support.pages import EXTERNAL_URL, document_of_leaf, in_numbers, scrape, service

EVIL = "<script>alert('1')</script>\"&\N{RIGHT-TO-LEFT OVERRIDE}"

MINUTELY = Rhythm(NOW - 12, 60)


def page(
    scene: Scene,
    selection: Selection | None = None,
    *,
    rhythm: Rhythm | None = MINUTELY,
    load_succeeded: bool = True,
    complete: bool = True,
) -> Element:
    """
    The status page.
    """
    fleet = Inventory(scrape(scene, complete=complete))
    situation = Situation(NOW, rhythm, load_succeeded)
    return read(overview.render(fleet, selection or Selection(), situation, "./", "?v=1"))


def target_page(scene: Scene, name: str) -> Element:
    """
    The page of a target.
    """
    fleet = Inventory(scrape(scene))
    row = fleet.find(name)
    assert row is not None
    return read(target.render(fleet, row, Situation(NOW, MINUTELY), "../", "?v=1"))


def rows(html: Element) -> list[list[str]]:
    """
    The text of each cell of the list.
    """
    return [[cell.text for cell in row.all("td")] for row in html.one("tbody").all("tr")]


def hrefs(html: Element) -> Iterator[str]:
    """
    Where the links lead.
    """
    return (one.attributes["href"] for one in html.all("a"))


def facts_of(html: Element) -> dict[str, str]:
    """
    Terms and their values, of a list of facts.
    """
    return {one.one("dt").text: one.one("dd").text for one in html.children if isinstance(one, Element)}


def test_without_targets_the_page_says_what_to_do() -> None:
    """
    It is the first thing that a new user sees.
    """
    html = page(Scene(), rhythm=None)
    assert html.one("h1").text == "Nothing to watch yet"
    assert html.one("h2").text == "No targets are configured"
    assert "targets: - https://www.example.com" in html.one("pre").text
    assert html.all("table") == []
    assert html.all("form") == []
    assert "Each scrape of /metrics probes again." in html.one("p", class_="asof").text


def test_a_row_says_what_is_wrong_and_what_to_do() -> None:
    """
    Level, names, end, what is left, why, and the advice.
    """
    scene = Scene().see(made(name="ended"), seen(facts(certificate(end=NOW - DAY))), found=[Fault.EXPIRED])
    scene.see(made(name="late"), seen(facts(certificate(begin=NOW - 70 * DAY, end=NOW + 20 * DAY))))
    scene.see(made(name="gone"), failed(Reason.CONNECTION_REFUSED))
    html = page(scene)
    ended, gone, late = rows(html)
    assert ended[:4] == ["critical", "1 d 0 h ago 2027-01-14 08:00 UTC", "ended", "192.0.2.10:443"]
    # The late one has the same names and ends later.
    assert ended[4] == (
        "certificate EXPIRED 1 d 0 h ago, on 2027-01-14 08:00 UTC Renewed, but not deployed here: "
        "late at 192.0.2.10:443 has one until 2027-02-04 08:00 UTC . Install it "
        "here, and reload."
    )
    assert gone[1] == ""
    assert gone[4].startswith("connection_refused: words about connection_refused Start the server")
    assert late[:4] == ["warning", "in 20 d 0 h 2027-02-04 08:00 UTC", "late", "192.0.2.10:443"]
    assert "Read the log of what renews it" in late[4]
    assert html.one("h1").text == "1 critical, 1 unknown, 1 warning"
    assert html.one("title").text == "1 critical, 1 unknown, 1 warning: expiry-exporter"
    assert html.one("p", class_="asof").text == (
        "3 endpoints of 3 targets, probed 12 s ago. Scraped every 1 min, the next probe is due in 48 s."
    )


def test_large_numbers_have_their_thousands_apart() -> None:
    """
    In the title as in the filters below it.
    """
    assert headline({Level.CRITICAL: 3775, Level.UNKNOWN: 0, Level.OK: 9000}) == "3,775 critical"


def test_advice_is_told_once() -> None:
    """
    Where it applies again, a link leads to it. With another newer certificate, it is other advice.
    """
    late = {"begin": NOW - 70 * DAY, "end": NOW + 20 * DAY}
    scene = Scene()
    for name in ("a", "b", "c"):
        scene.see(made(name=name), seen(facts(certificate(f"{name}.example.com", **late))))  # type: ignore[arg-type] # two numbers
    scene.see(made(name="d"), seen(facts(certificate("d.example.com", **late)), "192.0.2.4:443"))  # type: ignore[arg-type]
    scene.see(made(name="e"), seen(facts(certificate("d.example.com")), "192.0.2.5:443"))
    html = page(scene)
    first, newer = html.all("p", class_="todo")
    assert first.text.startswith("Read the log of what renews it")
    assert newer.text.startswith("Renewed, but not deployed here: e at")
    assert [one.attributes["href"] for one in html.all("a", class_="again")] == [
        f"#{first.attributes['id']}"
    ] * 2
    # It is where the first row is, and the page of a target has its own.
    assert first in list(html.one("tbody").all("tr")[0])
    assert len(target_page(scene, "b").all("p", class_="todo")) == 1


def test_dates_and_short_urls_in_words_stay_whole() -> None:
    """
    At the end of a line, too. What is longer than a line may be broken.
    """
    words = "renewed on 2027-01-15 08:00 UTC by https://ca.example/x, not https://ca.example/" + "y" * 60
    found = read(str(finding(Finding(Level.WARNING, words), None, "./", Told())))
    assert [one.text for one in found.all("span", class_="nowrap")] == [
        "2027-01-15 08:00 UTC",
        "https://ca.example/x",
    ]
    assert found.text.replace(" ", "") == words.replace(" ", "")


def test_long_names_may_be_broken() -> None:
    """
    Or the list would be wider than its window.
    """
    scene = Scene().see(made(name="short"), seen(facts(certificate()), "192.0.2.1:443"))
    scene.see(made(name="n" * 60), seen(facts(certificate()), f"/srv/{'p' * 60}"))
    html = page(scene)
    assert [one.text for one in html.one("tbody") if "long" in one.attributes.get("class", "").split()] == [
        "n" * 60,
        f"/srv/{'p' * 60}",
    ]


def certificates_page(scene: Scene, selection: Selection | None = None) -> Element:
    """
    The list of certificates.
    """
    fleet = Inventory(scrape(scene))
    return read(certificates.render(fleet, selection or Selection(), Situation(NOW, MINUTELY), "./", "?v=1"))


def sharing() -> Scene:
    """
    A wildcard on many endpoints, one of which can't be reached, and a certificate that is at one place.
    """
    above = intermediate()
    wildcard = certificate("*.example.com", names=("*.example.com", "example.com"))
    scene = Scene()
    for number in range(8):
        scene.see(
            made(name=f"shop {number}", labels=(("team", "shop"),)),
            seen(facts(wildcard, above), f"a{number}"),
        )
    scene.see(made(name="two"), seen(facts(wildcard, above), "b1"), seen(facts(wildcard, above), "b2"))
    late = certificate("late.example.com", begin=NOW - 70 * DAY, end=NOW + 20 * DAY)
    scene.see(made(name="late"), seen(facts(late, above), "c"))
    return scene.see(made(name="never seen"), failed(Reason.CONNECTION_REFUSED, "d"))


def test_certificates_are_listed_with_all_who_share_them() -> None:
    """
    Each once, the most urgent first. What is never seen has none, and a CA's is no renewal of anybody's own.
    """
    html = certificates_page(sharing())
    late, wildcard = rows(html)
    assert late[:2] == ["warning", "in 20 d 0 h 2027-02-04 08:00 UTC"]
    assert late[2].startswith("late.example.com SHA-256 ")
    assert late[3:] == ["CN=Test Intermediate", "late"]
    assert wildcard[2].startswith("*.example.com example.com SHA-256 ")
    assert wildcard[4] == ("10 endpoints of 9 targets shop 0 shop 1 shop 2 shop 3 shop 4 shop 5 and 3 more")
    assert html.one("p", id="shown").text == "1 to 2 of 2 certificates"
    fingerprint = certificate("*.example.com", names=("*.example.com", "example.com")).fingerprint_sha256
    assert f"./?q={fingerprint}" in set(hrefs(html))
    assert len(rows(page(sharing(), Selection(fingerprint)))) == 10


def test_the_states_of_certificates_are_counted_as_they_are_listed() -> None:
    """
    Each once, at the state of its worst endpoint. What has no certificate is none of them.
    """
    html = certificates_page(sharing())
    counts = [one.text.split() for one in html.one("nav", aria_label="Filter by state").all("a")]
    assert counts == [["0", "critical"], ["0", "unknown"], ["1", "warning"], ["1", "ok"]]
    for number, word in counts:
        only = Selection(levels=frozenset({Level[word.upper()]}))
        listed = certificates_page(sharing(), only)
        assert [row[0] for row in (rows(listed) if listed.all("tbody") else ())] == [word] * int(number)


def test_a_selection_of_certificates_is_that_of_their_endpoints() -> None:
    """
    Who shares one is told in full all the same, and the worst of these is its state.
    """
    scene = sharing()
    wildcard = certificate("*.example.com", names=("*.example.com", "example.com"))
    scene.see(made(name="wrong"), seen(facts(wildcard, intermediate()), "e"), found=[Fault.NAME_MISMATCH])
    (one,) = rows(certificates_page(scene, Selection(labels=(("team", "shop"),))))
    assert one[0] == "warning"
    assert one[4].startswith("11 endpoints of 10 targets")
    html = certificates_page(scene, Selection("late", sort=Sort.END, descending=True))
    assert len(rows(html)) == 1
    views = html.one("nav", aria_label="View").all("a")
    assert [(one.attributes["href"], one.attributes.get("aria-current")) for one in views] == [
        ("./?q=late", None),
        ("./certificates?q=late", "page"),
    ]
    assert html.one("form").attributes["action"] == "certificates"
    assert certificates_page(scene, Selection("nowhere")).one("p", id="shown").text == "No certificate fits"
    unseen = Scene().see(made(name="a"), failed(Reason.DNS_TIMEOUT))
    assert certificates_page(unseen).one("p", id="shown").text == "No certificate is known"


def test_words_are_made_for_what_is_shown_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Of thousands of endpoints a page has a hundred: the others have a level, and no more.
    """
    asked: list[str] = []

    def counted(row: EndpointRow, *more: Any) -> Status:
        asked.append(row.target.name)
        return status(row, *more)

    monkeypatch.setattr(inventory, "status", counted)
    scene = Scene()
    for number in range(3 * PAGE_SIZE):
        late = certificate(f"{number}.example.com", begin=NOW - 70 * DAY, end=NOW + 20 * DAY)
        scene.see(made(name=f"{number:03}"), seen(facts(late)))
    assert len(rows(page(scene))) == PAGE_SIZE
    assert len(asked) == PAGE_SIZE


def test_all_well_is_said() -> None:
    """
    In as many words.
    """
    html = page(Scene().see(made(name="fine"), seen(facts(certificate(), intermediate()))))
    assert html.one("h1").text == "All is well"
    assert rows(html) == [["ok", "in 75 d 0 h 2027-03-31 08:00 UTC", "fine", "192.0.2.10:443", ""]]


@pytest.mark.parametrize(
    ("since", "said"),
    [
        (59.0, "the next probe is due in 1 s."),
        (60.0, "the next probe is due now."),
        (119.0, "the next probe is due now."),
        (121.0, "Nobody has scraped /metrics for 2 min, though it was scraped every 1 min before"),
    ],
)
def test_the_next_sweep_is_announced_until_it_does_not_come(since: float, said: str) -> None:
    """
    Only who scrapes knows when that is; when it stays away, that is worth a word.
    """
    html = page(Scene().see(made(), seen(facts(certificate()))), rhythm=Rhythm(NOW - since, 60))
    assert said in html.one("p", class_="asof").text


def test_trouble_of_the_exporter_itself_is_told_first() -> None:
    """
    No result is to be believed before that is known.
    """
    two = (
        Scene()
        .see(made(name="a"), failed(Reason.DNS_TIMEOUT))
        .see(made(name="b"), failed(Reason.DNS_TIMEOUT))
    )
    (said,) = page(two).all("p", class_="notice")
    assert said.text.startswith("Every single probe failed.")
    wanted, found = Reason.CLIENT_CERTIFICATE_REQUIRED, facts(certificate())
    turned_away = Scene().see(made(name="a"), failed(wanted, found=found))
    turned_away.see(made(name="b"), failed(wanted, found=found))
    fine = Scene().see(made(name="a"), seen(facts(certificate())))
    for well in (fine, turned_away):
        assert page(well).all("p", class_="notice") == []
    (said,) = page(fine, complete=False).all("p", class_="notice")
    assert said.text.startswith("The last scrape was cut off after 9.5 s")
    (said,) = page(fine, load_succeeded=False).all("p", class_="notice")
    assert said.text.startswith("The configuration on disk can't be used")


def test_sources_that_can_not_be_read_are_told_on_the_page() -> None:
    """
    Some of them by name: new targets are not found, which no endpoint shows.
    """
    fleet = Inventory(scrape(Scene().see(made(name="a"), seen(facts(certificate())))))
    for names, words in (
        (("logs", "zone"), "read: logs , zone . What"),
        (tuple("abcdefgh"), "read: a , b , c , d , e , f and 2 more. What"),
    ):
        situation = Situation(NOW, MINUTELY, failing_sources=names)
        (said,) = read(overview.render(fleet, Selection(), situation, "./", "")).all("p", class_="notice")
        assert words in said.text


def test_nothing_from_outside_is_markup() -> None:
    """
    Names, labels, addresses, subjects and words of servers are text wherever they stand.
    """
    odd = certificate(EVIL, subject=f"CN={EVIL}", issuer=EVIL, serial="1", names=(EVIL,))
    scene = Scene().see(
        made(name=EVIL, labels=(("team", EVIL),)),
        seen(facts(odd, intermediate()), EVIL),
        left_out=[LeftOut("", EVIL)],
    )
    found = Inventory(scrape(scene))
    row = found.find(EVIL)
    assert row is not None
    situation = Situation(NOW, None)
    for html in (
        overview.render(found, Selection(EVIL), situation, "./", ""),
        target.render(found, row, situation, "../", ""),
        certificates.render(found, Selection(), situation, "./", ""),
        faults.render_missing(EVIL, "../", ""),
        faults.render(404, EVIL, EVIL, "./", ""),
    ):
        tree = read(html)
        assert len(tree.all("script")) == 1
        assert not any(name.startswith("on") or name == "style" for one in tree for name in one.attributes)
        assert tree.all("style") == []
        assert EVIL.replace("\N{RIGHT-TO-LEFT OVERRIDE}", "") in tree.text.replace(
            "\N{RIGHT-TO-LEFT OVERRIDE}", ""
        )


def test_text_from_outside_keeps_its_direction_to_itself() -> None:
    """
    It stands in an element that isolates it.
    """
    name = "\N{HEBREW LETTER SHIN}1"
    scene = Scene().see(made(name=name), seen(facts(certificate(subject=f"CN={name}", issuer=f"O={name}"))))
    for html in (page(scene), target_page(scene, name)):
        body = html.one("body")
        holding = [
            one for one in body if name in "".join(part for part in one.children if isinstance(part, str))
        ]
        assert holding
        assert {one.name for one in holding} == {"bdi"}


def test_pages_are_short_and_linked() -> None:
    """
    A hundred rows each, whatever there is; the links go on to the next and keep the selection.
    """
    scene = Scene()
    for number in range(2 * PAGE_SIZE + 1):
        scene.see(made(name=f"host {number:03}", labels=(("team", "a"),)), seen(facts(certificate())))
    asked = Selection(labels=(("team", "a"),))
    first = page(scene, asked)
    assert len(rows(first)) == PAGE_SIZE
    assert first.one("p", id="shown").text == "1 to 100 of 201 endpoints"
    assert first.one("a", rel="next").attributes["href"] == "?label=team%3Da&page=2"
    assert first.all("a", rel="prev") == []
    last = page(scene, Selection(labels=(("team", "a"),), page=3))
    assert [row[2] for row in rows(last)] == ["host 200 team=a"]
    assert last.all("a", rel="next") == []
    beyond = page(scene, Selection(page=4))
    assert beyond.one("p", id="shown").text == "There is no page 4 of 201 endpoints"
    assert beyond.one("a", rel="prev").attributes["href"] == "?page=3"
    assert page(scene, Selection("nowhere")).one("p", id="shown").text == "No endpoint fits"


def test_filters_in_use_are_shown_and_can_be_taken_off() -> None:
    """
    One by one, or all; the form keeps those that it has no field for.
    """
    scene = Scene().see(made(name="a", labels=(("team", "x"), ("tier", "1"))), seen(facts(certificate())))
    asked = Selection("a", frozenset({Level.OK}), (("team", "x"), ("tier", "1")), frozenset({"a"}))
    html = page(scene, asked)
    chips = html.one("div", id="chosen").all("a")
    assert [one.attributes.get("aria-label", "all") for one in chips] == [
        "Remove the filter “a”",
        "Remove the filter ok",
        "Remove the filter team=x",
        "Remove the filter tier=1",
        "Remove the filter a",
        "all",
    ]
    assert chips[0].attributes["href"] == "?level=ok&label=team%3Dx&label=tier%3D1&target=a"
    form = html.one("form")
    hidden = [(one.attributes["name"], one.attributes["value"]) for one in form.all("input", type="hidden")]
    assert hidden == [("level", "ok"), ("target", "a"), ("label", "tier=1")]
    (chosen,) = [one for one in form.all("option") if "selected" in one.attributes]
    assert chosen.attributes["value"] == "team=x"
    tile = html.one("a", class_="tile", aria_current="true")
    assert tile.text == "1 ok"
    assert "level" not in tile.attributes["href"]


def test_headings_sort_and_say_how_it_is_sorted() -> None:
    """
    A second time the other way round.
    """
    scene = Scene().see(made(name="a"), seen(facts(certificate())))
    html = page(scene, Selection("a", sort=Sort.END))
    (active,) = [one for one in html.all("th") if "aria-sort" in one.attributes]
    assert active.text == "Expires ▲"
    assert active.attributes["aria-sort"] == "ascending"
    assert active.one("a").attributes["href"] == "?q=a&sort=-end"
    turned = page(scene, Selection(sort=Sort.END, descending=True))
    (active,) = [one for one in turned.all("th") if "aria-sort" in one.attributes]
    assert active.attributes["aria-sort"] == "descending"
    assert active.one("a").attributes["href"] == "?sort=end"


def test_a_target_page_has_its_deadlines_in_words_and_as_a_picture() -> None:
    """
    Each with how far off it is; the picture says the same to who can't see it.
    """
    scene = Scene().see(made(name="a", policy=MANUAL), seen(facts(certificate(), intermediate())))
    html = target_page(scene, "a")
    steps = [one.text for one in html.all("div", class_="step")]
    assert steps == [
        "Valid from 2026-12-31 08:00 UTC 15 d 0 h ago",
        "Renewal due 2027-02-14 08:00 UTC in 30 d 0 h",
        "Warning 2027-02-14 08:00 UTC in 30 d 0 h",
        "Critical 2027-03-10 08:00 UTC in 54 d 0 h",
        "Expires 2027-03-31 08:00 UTC in 75 d 0 h",
    ]
    picture = html.one("svg", class_="line")
    assert picture.attributes["role"] == "img"
    assert "renewal due 2027-02-14 08:00 UTC" in picture.attributes["aria-label"]
    # Due and warned at the same time: there is nothing to draw in between.
    assert [one.attributes["class"] for one in picture.all("rect")] == ["fine", "warned", "late"]


def test_a_target_page_shows_the_chain_and_who_has_the_same() -> None:
    """
    Of a CA's certificate only how many have it.
    """
    shared, above = certificate(), intermediate()
    scene = Scene().see(made(name="a"), seen(facts(shared, above), "192.0.2.1:443"))
    for number in range(15):
        scene.see(made(name=f"b{number}"), seen(facts(shared, above), "192.0.2.2:443"))
    html = target_page(scene, "a")
    leaf, ca = html.one("ol", class_="chain").all("dl")
    found = facts_of(leaf)
    assert found["SHA-256"] == shared.fingerprint_sha256
    assert found["Key"] == "ecdsa-256, signed with sha256"
    assert found["Also at"].startswith("b0 at 192.0.2.2:443 b1 at")
    assert found["Also at"].endswith("b11 at 192.0.2.2:443 and 3 more")
    assert facts_of(ca)["Also at"] == "15 other places"
    assert f"../?q={shared.fingerprint_sha256}" in hrefs(html)


def test_thousands_of_names_are_counted() -> None:
    """
    Ten are shown.
    """
    many = certificate(names=tuple(f"host-{number}.example.com" for number in range(5000)))
    html = target_page(Scene().see(made(name="a"), seen(facts(many))), "a")
    names = facts_of(html.one("ol", class_="chain").one("dl"))["Names"]
    assert names.startswith("host-0.example.com host-1.example.com")
    assert names.endswith("host-9.example.com and 4,990 more")


def test_what_was_there_before_and_what_is_newer_is_told() -> None:
    """
    In words and in the picture.
    """
    first = certificate(begin=NOW - 85 * DAY, end=NOW + 5 * DAY, serial="1")
    second = certificate(begin=NOW - 80 * DAY, end=NOW + 10 * DAY, serial="2")
    third = certificate(serial="3")
    of = made(name="a")
    scene = Scene().see(of, seen(facts(first)), at=NOW - 100).see(of, seen(facts(second)))
    scene.see(made(name="b"), seen(facts(third), "192.0.2.9:443"))
    html = target_page(scene, "a")
    hints = [one.text for one in html.all("p", class_="hint")]
    assert (
        "Before it: one from 2026-10-22 08:00 UTC to 2027-01-20 08:00 UTC , issued by CN=Test Intermediate ."
        in hints
    )
    assert (
        "Newer: b at 192.0.2.9:443 has one for the same names, from 2026-12-31 08:00 UTC to "
        "2027-03-31 08:00 UTC ."
    ) in hints
    drawn = {one.attributes["class"] for one in html.one("svg", class_="line").all("rect")}
    assert drawn == {"before", "fine", "due", "warned", "late", "newer"}


def said_and_advised(html: Element) -> dict[str, str]:
    """
    The findings on a page: the first words of each, and what to do.
    """
    found = {}
    for one in html.one("ul", class_="boxed").all("li"):
        again = one.all("a", class_="again")
        told = html.one("p", id=again[0].attributes["href"][1:]) if again else one.one("p", class_="todo")
        found[" ".join(one.one("p", class_="words").text.split()[:2])] = told.text
    return found


def test_a_newer_certificate_is_the_advice_where_it_would_help() -> None:
    """
    For what ends and for what went backwards; not for what may be somebody else's.
    """
    new, old = certificate(serial="1"), certificate(begin=NOW - 80 * DAY, end=NOW + 10 * DAY)
    of = made(name="a")
    scene = Scene().see(of, seen(facts(old)), at=NOW - 20 * DAY)
    for days in (14, 1):
        scene.see(of, seen(facts(new)), at=NOW - days * DAY)
    scene.see(of, seen(facts(old))).see(made(name="b"), seen(facts(new), "192.0.2.9:443"))
    found = said_and_advised(target_page(scene, "a"))
    install = "Renewed, but not deployed here: b at 192.0.2.9:443 has one until"
    assert found.keys() == {"certificate expires", "certificate went"}
    assert found["certificate expires"].startswith(install)
    assert found["certificate went"].startswith(install)
    other = certificate(issuer="CN=Other", key="ecdsa-384", begin=NOW - 80 * DAY, end=NOW + 10 * DAY)
    scene = Scene().see(of, seen(facts(new)), at=NOW - 100).see(of, seen(facts(other)))
    scene.see(made(name="b"), seen(facts(new), "192.0.2.9:443"))
    assert said_and_advised(target_page(scene, "a"))["certificate changed"].startswith("Was it planned")


def test_what_clients_refuse_is_not_advised_where_they_accept_another() -> None:
    """
    A self-signed certificate inside, for the name of a public one that ends.
    """
    scene = Scene().see(
        made(name="public"), seen(facts(certificate(begin=NOW - 80 * DAY, end=NOW + 10 * DAY)))
    )
    own = certificate(issuer="CN=lms.example.com", end=NOW + 3000 * DAY)
    scene.see(made(name="inside"), seen(facts(own)), found=[Fault.SELF_SIGNED])
    html = target_page(scene, "public")
    assert said_and_advised(html)["certificate expires"].startswith("Read the log of what renews it")
    assert "newer" not in {one.attributes["class"] for one in html.one("svg", class_="line").all("rect")}


@pytest.mark.parametrize(
    ("address", "linked"), [("https://ca.example/why", True), ("javascript:alert(1)", False), ("", False)]
)
def test_the_word_of_the_issuer_is_shown(address: str, linked: bool) -> None:
    """
    Its page is linked only if it is one.
    """
    leaf = certificate()
    said = Renewal(NOW + 50 * DAY, NOW + 49 * DAY, address)
    found = facts(leaf)
    item = Item("leaf", Kind.LEAF, leaf.not_before, leaf.not_after, leaf, said)
    html = target_page(Scene().see(made(name="a"), seen(type(found)((item,), found.chains, found.tls))), "a")
    (hint,) = html.all("p", class_="hint")
    assert "from 2027-03-05 08:00 UTC by 2027-03-06 08:00 UTC." in hint.text
    assert [one.attributes["href"] for one in hint.all("a")] == [address] * linked


def test_a_target_page_says_how_the_look_went() -> None:
    """
    Also that what it shows is old, or was never there.
    """
    of, never, turned = made(name="held"), made(name="never"), made(name="turned away")
    scene = Scene().see(
        of, seen(facts(certificate())), at=NOW - 90, left_out=[LeftOut("2001:db8::1", "no route")]
    )
    scene.see(of, failed(Reason.CONNECT_TIMEOUT), left_out=[LeftOut("2001:db8::1", "no route")])
    scene.see(never, failed(Reason.DNS_NOT_FOUND))
    scene.see(turned, failed(Reason.CLIENT_CERTIFICATE_REQUIRED, found=facts(certificate())))

    def said(name: str) -> str:
        return target_page(scene, name).one("section").all("p", class_="asof")[0].text

    assert said("held") == (
        "The last probe took 1.000 s and failed. What follows was last seen 1 min ago, "
        "2027-01-15 07:58 UTC . TLSv1.3, TLS_AES_128_GCM_SHA256."
    )
    assert said("never") == "The last probe took 1.000 s and failed. Nothing was ever seen here."
    assert "showed its certificate, then ended the conversation" in said("turned away")
    found = facts_of(target_page(scene, "held").one("dl", class_="card"))
    assert found["Left out"] == "1 address 2001:db8::1: no route"
    assert found["Last probe"].startswith("12 s ago. Scraped every 1 min")
    assert "Left out" not in facts_of(target_page(scene, "never").one("dl", class_="card"))


def test_a_target_with_many_endpoints_shows_the_most_urgent() -> None:
    """
    And where the others are.
    """
    looks = [seen(facts(certificate()), f"192.0.2.{number}:443") for number in range(51)]
    looks[50] = seen(facts(certificate(end=NOW - DAY)), "192.0.2.50:443")
    html = target_page(Scene().see(made(name="a b"), *looks), "a b")
    sections = html.all("section")
    assert len(sections) == target.SHOWN_ENDPOINTS
    assert sections[0].one("h2").text == "192.0.2.50:443"
    assert "../?target=a+b" in hrefs(html)
    # What is well is folded when there is more to look at.
    assert "open" in sections[0].one("details").attributes
    assert "open" not in sections[1].one("details").attributes


def test_a_file_with_hundreds_of_items_is_a_page_that_can_be_read() -> None:
    """
    Time lines for what ends first, the others in the list, the rest counted.
    """
    found = facts(certificate())
    items = tuple(
        Item(
            f"{number}",
            Kind.AUTHORITY,
            NOW - DAY,
            NOW + (1000 - number) * DAY,
            intermediate(name=f"{number}"),
        )
        for number in range(200)
    )
    html = target_page(Scene().see(made(name="a"), seen(type(found)(items))), "a")
    lines = [one.text for one in html.all("h3")]
    assert lines == [f"CA certificate {number}" for number in range(199, 199 - target.SHOWN_LINES, -1)]
    chain = html.one("details")
    assert chain.one("summary").text == "What it presents: 200 items"
    assert len(chain.one("ol", class_="chain").all("dl")) == target.SHOWN_ITEMS
    assert chain.text.endswith("and 150 more, which the JSON has")


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        (NOW, NOW),
        (NOW + DAY, NOW - DAY),
        (-2e9, -1e9),
        (0.0, 253402300799.0),
        (NOW - 1e15, NOW + 1e15),
    ],
)
def test_odd_lifetimes_break_no_page(begin: float, end: float) -> None:
    """
    None at all, backwards, before 1970, until 9999, and beyond every calendar.
    """
    scene = Scene().see(made(name="a"), seen(facts(certificate(begin=begin, end=end))))
    page(scene)
    html = target_page(scene, "a")
    for one in html.one("svg", class_="line").all("rect"):
        assert re.fullmatch(r"\d+\.\d\d%", one.attributes["x"])
        assert 0 <= float(one.attributes["x"].rstrip("%")) <= 100


@pytest.mark.parametrize(
    ("raw_path", "external_url", "root"),
    [
        ("/targets/https%3A%2F%2Fa.example", None, "../"),
        ("/targets/https%3A%2F%2Fa.example", EXTERNAL_URL, "../"),
        ("/targets/https://a.example", None, "../../../"),
        ("/targets/https://a.example", EXTERNAL_URL, "/pages/"),
        ("/targets/https:/a.example", "https://expiry.example.com", "/"),
    ],
)
def test_links_lead_to_the_start_of_the_site(raw_path: str, external_url: str | None, root: str) -> None:
    """
    Behind whatever path a proxy puts before it.
    """
    assert root_of(raw_path, external_url) == root


def test_a_name_is_one_step_of_a_path() -> None:
    """
    Whatever is in it.
    """
    assert target_path("https://a.example:443/?#%") == "targets/https%3A%2F%2Fa.example%3A443%2F%3F%23%25"


Client = TestClient[Request, Application]


def ask(scene: Scene, test: Callable[[Client], Awaitable[None]], external_url: str | None = None) -> None:
    """
    Run the test with a client of a server that has seen this scene.
    """

    async def run() -> None:
        made = service(scene, asyncio.get_running_loop(), external_url=external_url)
        try:
            async with TestClient(TestServer(application(made, 0.5))) as client:
                await test(client)
        finally:
            await made.close()

    asyncio.run(run())


BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


ONE = Scene().see(made(), seen(facts(certificate(), intermediate())))


def test_the_pages_are_served_with_a_strict_policy() -> None:
    """
    Nothing may run or be loaded but our own files, which are there; names with slashes lead to their page.
    """

    async def test(client: Client) -> None:
        for path in ("/", "/targets/https%3A%2F%2Flms.example.com", "/targets/https://lms.example.com"):
            async with client.get(path) as answer:
                assert answer.status == 200
                policy = answer.headers["Content-Security-Policy"]
                assert policy.startswith("default-src 'none'; style-src 'self'; script-src 'self'; ")
                assert "unsafe" not in policy
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
                html = read(await answer.text())
            assert "https://lms.example.com" in html.text
        async with client.get("/targets/nowhere") as answer:
            assert answer.status == 404
            assert "There is no such target" in await answer.text()
        async with client.get("/?colour=red", headers=BROWSER) as answer:
            assert answer.status == 400
            assert "unknown parameter &#x27;colour&#x27;" in await answer.text()

    ask(ONE, test)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("C%2B%2B+x", "C++ x"),
        ("C%2B%2B%20x", "C++ x"),
        ("D+++x", "D+++x"),
        ("D%2B%2B%2Bx", "D+++x"),
        ("https%3A%2Fa%2B+b", "https://a+ b"),
        ("https:/a%2B+b", "https://a+ b"),
        ("a%2Bb", "a+b"),
        ("a+b", "a+b"),
        ("a%20b", "a b"),
        ("a+b%2Bc", "a b+c"),
        ("a%2Bb+c", "a+b c"),
    ],
)
def test_a_plus_sign_in_a_link_means_a_space_where_no_name_has_it(path: str, name: str) -> None:
    """
    Alerts write `C++ x` as `C%2B%2B+x`, as in a query. A name that is so to the letter goes before that.
    """
    scene = Scene()
    for one in ("C++ x", "D+++x", "https://a+ b", "a+b", "a b", "a b+c", "a+b c"):
        scene.see(made(name=one), seen(facts(certificate())))

    async def test(client: Client) -> None:
        async with client.get(URL(f"/targets/{path}", encoded=True)) as answer:
            assert answer.status == 200
            assert read(await answer.text()).one("h1").text == name

    ask(scene, test)


@pytest.mark.parametrize("name", ASSETS)
def test_files_of_the_pages_are_kept_by_browsers_as_long_as_they_are_these(name: str) -> None:
    """
    An address without the version, or with another one, is asked for again.
    """

    async def test(client: Client) -> None:
        for query, kept in ((versions(), True), ("", False), ("?v=0", False)):
            async with client.get(f"/assets/{name}{query}") as answer:
                assert answer.status == 200
                assert answer.content_type == ASSETS[name]
                assert ("immutable" in answer.headers["Cache-Control"]) == kept
                assert await answer.read() == assets()[name].body
        for other in ("nothing.css", "..%2Fsite.py"):
            async with client.get(f"/assets/{other}") as answer:
                assert answer.status == 404

    ask(Scene(), test)


def test_a_name_that_is_no_valid_text_is_shown_all_the_same() -> None:
    """
    Half of a surrogate pair, which YAML can write.
    """
    broken = "a\udcff"

    async def test(client: Client) -> None:
        for path in ("/", "/calendar.ics", "/api/v1/items"):
            async with client.get(path) as answer:
                assert answer.status == 200
                await answer.text()

    ask(Scene().see(made(name=broken, labels=(("team", broken),)), seen(facts(certificate()))), test)


def test_answers_are_compressed_for_who_takes_it() -> None:
    """
    The list of a large fleet is mostly the same again and again.
    """

    async def test(client: Client) -> None:
        for accepted, encoding in (("gzip", "gzip"), ("identity", None)):
            async with client.get("/", headers={"Accept-Encoding": accepted}) as answer:
                assert answer.headers.get("Content-Encoding") == encoding
                assert answer.headers["Vary"] == "Accept-Encoding"
                assert "<!doctype html>" in await answer.text()

    ask(ONE, test)


def test_items_are_told_as_json() -> None:
    """
    One entry for each item, and one for an endpoint that has none.
    """
    leaf, above = certificate(), intermediate()
    scene = Scene().see(made(name="gone", labels=(("team", "b"),)), failed(Reason.CONNECTION_REFUSED))
    scene.see(made(name="fine", labels=(("team", "a"),)), seen(facts(leaf, above)), found=[Fault.WEAK_CIPHER])

    async def test(client: Client) -> None:
        async with client.get("/api/v1/items") as answer:
            assert answer.content_type == "application/json"
            found = in_numbers(await answer.json())
        assert {key: value for key, value in found.items() if key != "items"} == {
            "seen_at": NOW - 12,
            "total": 3,
            "page": 1,
            "pages": 1,
            "limit": 100,
        }
        third, first, second = found["items"]
        assert first == {
            "target": "fine",
            "location": "192.0.2.10:443",
            "labels": {"team": "a"},
            **document_of_leaf(leaf),
            "last_seen": NOW,
            "level": "warning",
            "findings": [
                {
                    "problem": "not_trusted",
                    "level": "warning",
                    "words": "not trusted: words about weak_cipher",
                    "advice": "Configure the server for modern ciphers (AES-GCM, ChaCha20).",
                    "item": None,
                }
            ],
            "probe": {"success": True, "reason": None, "detail": None, "duration_seconds": 0.0125},
            "verification": {
                "success": False,
                "faults": [{"reason": "weak_cipher", "detail": "words about weak_cipher"}],
            },
        }
        assert (second["item"], second["newest_not_after"], second["renewal_due"]) == ("chain-1", None, None)
        assert (third["target"], third["item"], third["not_after"]) == ("gone", None, None)
        assert third["probe"]["reason"] == "connection_refused"
        assert third["last_seen"] is None
        async with client.get("/api/v1/items?limit=2&page=2") as answer:
            found = await answer.json()
        assert (found["total"], found["pages"], [one["target"] for one in found["items"]]) == (3, 2, ["fine"])
        async with client.get("/api/v1/items?label=team=b&q=refused&level=unknown") as answer:
            assert [one["target"] for one in (await answer.json())["items"]] == ["gone"]
        async with client.get("/api/v1/items?q=nowhere") as answer:
            found = await answer.json()
        assert (found["total"], found["pages"], found["items"]) == (0, 0, [])
        async with client.get("/api/v1/items?limit=10000") as answer:
            assert (await answer.json())["pages"] == 1
        for limit in (0, 10_001):
            async with client.get(f"/api/v1/items?limit={limit}") as answer:
                assert answer.status == 400
                assert await answer.text() == f"limit '{limit}' is not a whole number from 1 to 10000\n"

    ask(scene, test)


def test_the_style_needs_nothing_from_elsewhere() -> None:
    """
    And every class of a level has its colour.
    """
    style = assets()["page.css"].body.decode()
    assert re.findall(r"url\(([^)]*)\)", style) == ['"icon.svg"']
    for level in Level:
        assert f".badge.{level.name.lower()}" in style
    script = assets()["page.js"].body.decode()
    assert not re.search(r"innerHTML|eval\(|document\.write|https?://", script)


def test_the_assets_are_the_files_that_are_there() -> None:
    """
    None is forgotten, none is left over.
    """
    directory = Path(overview.__file__).parent / "assets"
    assert {one.name for one in directory.iterdir()} == set(ASSETS)


def test_a_page_is_made_once_for_all_who_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    For those who ask for the same at the same time and soon after; another question is another page.
    """
    made: list[str] = []
    really = calendar.parts

    def counted(*values: Any) -> Iterator[bytes]:
        made.append(values[3])
        return really(*values)

    monkeypatch.setattr(calendar, "parts", counted)

    async def get(client: Client, path: str) -> bytes:
        async with client.get(path) as answer:
            assert answer.status == 200
            return await answer.read()

    async def test(client: Client) -> None:
        found = await asyncio.gather(*(get(client, "/calendar.ics") for _ in range(60)))
        assert len(set(found)) == 1
        assert await get(client, "/calendar.ics") == found[0]
        assert made == ["Expiry"]
        await get(client, "/calendar.ics?q=none")
        assert made == ["Expiry", "Expiry: none"]

    ask(ONE, test)


def test_who_asks_for_too_much_is_told_to_ask_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    As many different pages wait as there is room for. What is no page is answered meanwhile.
    """
    release = threading.Event()
    really = overview.render

    def slow(*values: Any) -> str:
        assert release.wait(30)
        return really(*values)

    monkeypatch.setattr(overview, "render", slow)

    async def status(client: Client, path: str) -> tuple[int, str | None]:
        async with client.get(path, headers=BROWSER) as answer:
            title = read(await answer.text()).one("h1").text if answer.status == 503 else None
            assert title in {None, "Too much to do just now"}
            return answer.status, answer.headers.get("Retry-After")

    async def test(client: Client) -> None:
        asked = [asyncio.create_task(status(client, f"/?q={number}")) for number in range(WAITING + 11)]
        done, waiting = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        while len(done) < 10:
            more, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            done |= more
        assert {one.result() for one in done} == {(503, "5")}
        assert await status(client, "/-/healthy") == (200, None)
        release.set()
        assert {await one for one in waiting} == {(200, None)}

    ask(ONE, test)


def half_watched() -> Scene:
    """
    A server whose certificate names another host and a wildcard, and a file that nobody serves.
    """
    leaf = certificate(names=("lms.example.com", "shop.example.com", "*.example.org"))
    unused = certificate("unused.example.net", subject=f"CN={EVIL}")
    item = Item("leaf", Kind.LEAF, unused.not_before, unused.not_after, unused)
    scene = Scene().see(made(name="lms"), seen(facts(leaf, intermediate())))
    return scene.see(made("file:///srv/unused.pem", name="file"), seen(Facts((item,)), "/srv/unused.pem"))


def test_what_nobody_watches_has_a_page() -> None:
    """
    Names, wildcards and unused certificates, each with its place, and the targets to add.
    """
    fleet = Inventory(scrape(half_watched()))
    html = read(unwatched.render(fleet, Situation(NOW, MINUTELY), "./", "?v=1", sharded=False))
    assert html.one("p", class_="asof").text == (
        "3 names without a target, and 1 stored certificate that no server presents. As of 12 s ago."
    )
    found = [
        [[cell.text for cell in row.all("td")][:2] for row in body.all("tr")] for body in html.all("tbody")
    ]
    assert found == [
        [["shop.example.com", "lms at 192.0.2.10:443"], ["unused.example.net", "file at /srv/unused.pem"]],
        [["*.example.org", "lms at 192.0.2.10:443"]],
        [["unused.example.net", "file at /srv/unused.pem, leaf"]],
    ]
    assert html.one("pre").text == "targets: - https://shop.example.com - https://unused.example.net"
    assert html.all("p", class_="notice") == []
    assert len(html.all("script")) == 1


def test_names_without_an_address_stand_apart() -> None:
    """
    They are no targets to add.
    """
    seen_now = scrape(half_watched())
    found = replace(seen_now.coverage, addressed={"shop.example.com": False, "unused.example.net": True})
    fleet = Inventory(replace(seen_now, coverage=found))
    html = read(unwatched.render(fleet, Situation(NOW, MINUTELY), "./", "?v=1", sharded=False))
    apart = html.one("section", aria_labelledby="unresolved")
    assert [row.all("td")[0].text for row in apart.one("tbody").all("tr")] == ["shop.example.com"]
    assert html.one("pre").text == "targets: - https://unused.example.net"
    document = json_items.unwatched(fleet)["names"]
    assert isinstance(document, list)
    assert [one["has_address"] for one in document] == [None, False, True]


def test_a_page_without_gaps_says_so_and_a_replica_says_what_it_knows() -> None:
    """
    Others may look at what this one does not.
    """
    fleet = Inventory(scrape(Scene().see(made(name="fine"), seen(facts(certificate())))))
    html = read(unwatched.render(fleet, Situation(NOW, MINUTELY), "./", "?v=1", sharded=True))
    assert html.one("p", class_="asof").text.startswith(
        "Each name on a certificate that was seen has a target"
    )
    empty = Inventory(scrape(Scene()))
    first = read(unwatched.render(empty, Situation(NOW, MINUTELY), "./", "?v=1", sharded=False))
    assert first.one("p", class_="asof").text.startswith("Nothing was seen yet")
    assert "its own share" in html.one("p", class_="notice").text
    assert html.all("table") == []


def test_the_page_says_when_these_are_not_all_names() -> None:
    """
    Or when a source that has no list may watch them.
    """

    def notices(*, above: bool = False, unread: bool = False) -> list[str]:
        found = scrape(half_watched())
        found = replace(found, coverage=replace(found.coverage, above=above, unread=unread))
        html = read(unwatched.render(Inventory(found), Situation(NOW, MINUTELY), "./", "?v=1", sharded=False))
        return [html.one("p", class_="asof").text[:9], *(one.text for one in html.all("p", class_="notice"))]

    assert len(notices()) == 1
    first, said = notices(above=True)
    assert (first, said.partition(":")[0]) == ("More than", "There are more names than are kept")
    first, said = notices(unread=True)
    assert first != "More than"
    assert said.startswith("A source of targets has no list")


def test_long_lists_are_cut_on_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The JSON has all.
    """
    monkeypatch.setattr(unwatched, "SHOWN", 1)
    fleet = Inventory(scrape(half_watched()))
    html = read(unwatched.render(fleet, Situation(NOW, MINUTELY), "./", "?v=1", sharded=False))
    assert "and 1 more: all as JSON" in html.one("main").text
    assert "api/v1/unwatched" in set(hrefs(html)) or "./api/v1/unwatched" in set(hrefs(html))


def test_what_nobody_watches_is_told_as_json_and_counted() -> None:
    """
    The page, the document and the metric are of the same scrape.
    """
    scene = half_watched()

    async def test(client: Client) -> None:
        async with client.get("/unwatched") as answer:
            assert (answer.status, answer.content_type) == (200, "text/html")
        async with client.get("/api/v1/unwatched") as answer:
            assert answer.content_type == "application/json"
            found = in_numbers(await answer.json())
        assert (found["seen_at"], found["complete"]) == (NOW - 12, True)
        assert [(one["name"], one["suggestion"], one["target"]) for one in found["names"]] == [
            ("*.example.org", None, "lms"),
            ("shop.example.com", "https://shop.example.com", "lms"),
            ("unused.example.net", "https://unused.example.net", "file"),
        ]
        assert [(one["location"], one["dns_names"]) for one in found["unused"]] == [
            ("/srv/unused.pem", ["unused.example.net"])
        ]

    ask(scene, test)


@pytest.mark.parametrize("shard", ["", "0/2"])
def test_names_without_a_target_are_a_metric_where_all_targets_are_known(shard: str) -> None:
    """
    A replica would count what another one watches. Both ways to the text have it.
    """

    async def test() -> None:
        one = service(half_watched(), asyncio.get_running_loop(), shard=shard)
        try:
            assert one.last is not None
            body = await one.body(one.last, lambda: b"", "text/plain", zipped=False)
            for text in (one.text(one.last), body.decode()):
                counts = dict(re.findall(r'expiry_unwatched_names\{target="(.*)"\} (.*)', text))
                assert counts == ({} if shard else {"file": "1.0", "lms": "2.0"})
        finally:
            await one.close()

    asyncio.run(test())
