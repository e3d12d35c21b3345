"""
The status page and the pages of targets, as people use them.
"""

import re
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped] # it has no types
from playwright.sync_api import Browser, Page, expect

from tests.browser import scenes
from tests.browser.conftest import NARROW, SCREENSHOTS, WIDE, Open
from tests.golden.values import Scene
from tests.support.pages import serving

SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
LIST = "/"
TARGETS = {
    "shop": "https://shop.example.com",
    "script": scenes.SCRIPT,
    "right-to-left": "https://rtl.example.com",
    "many-names": "many names",
    "held": "renewed, now down",
    "never-seen": "https://ldap.example.com:636",
}
PATHS = {
    "list": LIST,
    "certificates": "/certificates",
    "probe": "/probe?target=https://127.0.0.1:9&debug=true",
    "not-watched": "/unwatched",
    **{key: f"/targets/{quote(name, safe='')}" for key, name in TARGETS.items()},
    "manual": "/docs/",
    "metrics": "/docs/metrics",
    "reasons": "/docs/reasons#timeout",
    "keys": "/docs/configuration#keys",
    "runbook": "/runbooks/ExpiryNotTrusted",
}


ROWS = 40
"""So many rows of a table are looked at by axe. Those below are made by the same code."""


COLOURS = ("color-contrast", "link-in-text-block")
"""The rules of axe that another choice of colours may break."""


def faults(page: Page, *rules: str) -> list[str]:
    """
    What axe finds by these rules, or else by all, that is serious or critical, of tables in the first rows:
    500 of them take half a minute.
    """
    options: dict[str, object] = {"resultTypes": ["violations"]}
    if rules:
        options["runOnly"] = {"type": "rule", "values": rules}
    found = Axe().run(page, {"exclude": [f"tr:nth-child(n+{ROWS + 1})"]}, options).response["violations"]
    return [
        f"{one['id']}: {node['target']} {node['failureSummary']}"
        for one in found
        if one["impact"] in {"serious", "critical"}
        for node in one["nodes"]
    ]


def overflow(page: Page) -> int:
    """
    Pixels by which the page is wider than its window.
    """
    wider: int = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return wider


def names(page: Page) -> list[str]:
    """
    The targets in the list, from the top.
    """
    return page.locator("table.list tbody a.target").all_inner_texts()


def keeps_out(page: Page, picture: Path) -> list[str]:
    """
    Whom the page keeps out in a wide and in a narrow window, light and dark. Each has a picture.

    In one tab: to start one takes longer than all that is done in it. What is heard is the same in the dark,
    so that the rules which do not look at colours are asked once.
    """
    found = []
    for width, size in (("wide", WIDE), ("narrow", NARROW)):
        page.set_viewport_size(size)
        heard: set[str] = set()
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            setting = f"{width}-{scheme}"
            found += [f"{setting}: {fault}" for fault in faults(page, *(COLOURS if heard else ()))]
            heard.add(page.locator("html").aria_snapshot())
            if overflow(page) > 0:
                found.append(f"{setting}: the page is wider than its window")
            page.screenshot(path=picture.with_name(f"{picture.name}-{setting}.png"))
        if len(heard) > 1:
            found.append(f"{width}: in the dark something else is heard")
    return found


def test_the_first_rows_of_a_table_are_looked_at(tab: Open) -> None:
    """
    A picture without a text is a fault in the last of them, and not looked at below.
    """
    page = tab()
    cells = [str(number) for number in range(2 * ROWS)]
    cells[ROWS - 1] = '<img id="last" src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">'
    cells[ROWS] = cells[ROWS - 1].replace("last", "below")
    rows = "".join(f"<tr><td>{cell}</td></tr>" for cell in cells)
    page.set_content(f"<html lang='en'><title>A</title><main><h1>A</h1><table>{rows}</table></main></html>")
    (fault,) = faults(page)
    assert fault.startswith("image-alt: ['#last']")


@pytest.mark.parametrize("name", PATHS)
def test_nothing_keeps_anybody_out(mixed: str, tab: Open, name: str) -> None:
    """
    Neither who hears the page, nor who sees little, nor who has a window of 360 pixels.
    """
    page = tab()
    page.goto(mixed + PATHS[name])
    assert keeps_out(page, SCREENSHOTS / name) == []


@pytest.mark.parametrize("scene", [Scene(), scenes.failing()], ids=["no-targets", "all-failing"])
def test_the_extremes_are_pages_too(tab: Open, scene: Scene, request: pytest.FixtureRequest) -> None:
    """
    Nothing configured; nothing to be seen.
    """
    with serving(scene) as url:
        page = tab()
        page.goto(url)
        assert keeps_out(page, SCREENSHOTS / request.node.callspec.id) == []


@pytest.mark.parametrize(
    ("path", "title"),
    [
        ("/targets/nowhere", "There is no such target"),
        ("/no/such/page", "There is no such page"),
        ("/?colour=red", "This can't be shown"),
    ],
)
def test_what_is_missing_is_a_page_too(mixed: str, browser: Browser, path: str, title: str) -> None:
    """
    With a way back. (Not in a tab where nothing may be said: the browser tells of the 404.)
    """
    page = browser.new_page()
    page.goto(mixed + path)
    assert faults(page) == []
    expect(page.get_by_role("heading", level=1)).to_have_text(title)
    page.get_by_role("main").get_by_role("link", name="All targets").click()
    expect(page).to_have_url(f"{mixed}/")
    page.close()


LONG = 7
"""So many rows fit on a usual screen where all that is in them is long."""


def test_long_names_leave_room_for_others(tab: Open) -> None:
    """
    On a usual screen, and in the narrowest window in which the list is a table.
    """
    page = tab()
    with serving(scenes.long_names(30)) as address:
        page.goto(address)
        whole = "all => all.filter((one) => one.getBoundingClientRect().bottom <= innerHeight).length"
        assert page.locator("table.list tbody tr").evaluate_all(whole) >= LONG
        for width in (1060, 360):
            page.set_viewport_size({"width": width, "height": 900})
            assert overflow(page) == 0
            words = page.locator("table.list tbody td:last-child").first
            assert words.evaluate("one => one.getBoundingClientRect().width") >= 240


FLEETS = ("mixed", "large", "demo")


@pytest.mark.parametrize("fleet", FLEETS)
def test_the_list_is_dense_and_breaks_no_date_and_no_url(
    tab: Open, fleet: str, request: pytest.FixtureRequest
) -> None:
    """
    Ten rows on a usual screen, each column as wide as what is in it.
    """
    page = tab()
    page.goto(request.getfixturevalue(fleet))
    for path in ("", "certificates"):
        page.goto(f"{request.getfixturevalue(fleet)}/{path}")
        broken = page.locator("main :is(time, .nowrap, a.target:not(.long))").evaluate_all(
            "all => all.filter((one) => one.getClientRects().length > 1).map((one) => one.textContent)"
        )
        assert broken == []
        assert overflow(page) == 0
        widths = page.locator("thead th").evaluate_all("all => all.map((one) => one.offsetWidth)")
        # The state is one word; the last column has the rest.
        assert widths[0] < 130
        assert max(widths) == widths[-1]
    page.goto(request.getfixturevalue(fleet))
    bottoms = page.locator("tbody tr").evaluate_all(
        "all => all.map((one) => one.getBoundingClientRect().bottom)"
    )
    assert sum(bottom <= WIDE["height"] for bottom in bottoms) >= 10
    # Advice that is the same is told once.
    told = page.locator(".todo").all_inner_texts()
    assert len(told) == len(set(told))


def test_nothing_runs_into_its_neighbour_at_any_width(mixed: str, tab: Open) -> None:
    """
    The dates of a lifetime stay in their columns, and the search is in one line where it has room.
    """
    page = tab()
    target = f"{mixed}{PATHS['shop']}"
    for path, wrong in (
        (
            target,
            """() => [...document.querySelectorAll(".step time")].filter((one) =>
                one.getBoundingClientRect().right > one.closest(".step").getBoundingClientRect().right)""",
        ),
        (
            mixed,
            """() => [...document.querySelectorAll(".filters > :not([type=hidden])")].filter((one) =>
                one.offsetTop !== one.parentElement.firstElementChild.offsetTop)""",
        ),
    ):
        page.goto(path)
        expect(page.locator(".step, .filters").first).to_be_visible()
        found = []
        for width in range(520, 1300, 20):
            page.set_viewport_size({"width": width, "height": 900})
            if page.evaluate(f"({wrong})().length"):
                found.append(width)
        assert found == [], path


@pytest.mark.parametrize("fleet", FLEETS)
def test_a_small_screen_begins_with_the_worst(tab: Open, fleet: str, request: pytest.FixtureRequest) -> None:
    """
    The first card is all on the first screen.
    """
    page = tab(size=NARROW)
    page.goto(request.getfixturevalue(fleet))
    card = page.locator("tbody tr").first.bounding_box()
    assert card is not None
    assert card["y"] + card["height"] <= NARROW["height"]


def test_advice_that_is_told_elsewhere_is_found(large: str, tab: Open) -> None:
    """
    The link leads to it, and it stands out.
    """
    page = tab(script=False)
    page.goto(large)
    told = page.locator(".todo")
    expect(told).to_have_count(1)
    before = told.evaluate("one => getComputedStyle(one).backgroundColor")
    page.get_by_role("link", name="What to do").last.click()
    expect(told).to_be_in_viewport()
    assert told.evaluate("one => getComputedStyle(one).backgroundColor") != before


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_who_shares_a_certificate_is_found(mixed: str, tab: Open, *, script: bool) -> None:
    """
    From the list of endpoints, with what was searched for, and back to all endpoints of one certificate.
    """
    page = tab(script=script)
    page.goto(f"{mixed}/?q=shard")
    expect(page.get_by_role("status")).to_have_text("1 to 20 of 20 endpoints")
    page.get_by_role("link", name="By certificate").click()
    expect(page.get_by_role("status")).to_have_text("1 to 1 of 1 certificate")
    page.get_by_role("searchbox").fill("example.com")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("status")).to_have_text("1 to 11 of 11 certificates")
    expect(page).to_have_url(re.compile(r"/certificates\?q=example\.com(&label=)?$"))
    page.get_by_role("searchbox").fill("")
    page.get_by_role("button", name="Search").click()
    expect(page).to_have_url(re.compile(r"/certificates(\?q=&?(label=)?)?$"))
    page.get_by_role("link", name="20 endpoints").click()
    expect(page.get_by_role("status")).to_have_text("1 to 20 of 20 endpoints")


def test_the_metrics_of_a_probe_are_folded(mixed: str, tab: Open) -> None:
    """
    The steps are not.
    """
    page = tab(script=False)
    page.goto(mixed + PATHS["probe"])
    expect(page.get_by_text("connecting to 127.0.0.1 port 9")).to_be_in_viewport()
    metrics = page.get_by_text("expiry_probe_success{")
    expect(metrics).to_be_hidden()
    page.get_by_text("Metrics of this probe").click()
    expect(metrics).to_be_visible()


def test_a_name_that_is_a_script_does_not_run(mixed: str, tab: Open) -> None:
    """
    It is shown in the list, found by the search, and has its page.
    """
    page = tab()
    page.goto(mixed)
    page.get_by_role("searchbox").fill("alert(1)")
    expect(page.get_by_role("status")).to_have_text("1 to 1 of 1 endpoint")
    page.get_by_role("link", name=scenes.SCRIPT, exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(scenes.SCRIPT)


def test_the_policy_refuses_what_is_not_ours(mixed: str, browser: Browser) -> None:
    """
    Even if a script got into the page. (Not in a tab where nothing may be said: the browser tells of it.)
    """
    page = browser.new_page()
    page.goto(mixed)
    ran = page.evaluate(
        """async () => {
            const refused = new Promise((done) =>
                document.addEventListener("securitypolicyviolation", (one) => done(one.effectiveDirective)));
            const script = document.createElement("script");
            script.textContent = "window.ran = true";
            document.body.append(script);
            return [await refused, window.ran === true];
        }"""
    )
    assert ran == ["script-src-elem", False]
    page.close()


def test_text_from_right_to_left_turns_nothing_round(mixed: str, tab: Open) -> None:
    """
    What stands beside it stays beside it.
    """
    page = tab()
    page.goto(mixed + PATHS["right-to-left"])
    leaf = page.locator(".chain > li").first
    place, subject = leaf.locator(".place"), leaf.locator("strong bdi").first
    left, right = place.bounding_box(), subject.bounding_box()
    assert left is not None
    assert right is not None
    assert left["x"] + left["width"] <= right["x"]


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_the_list_is_searched_filtered_sorted_and_paged(large: str, tab: Open, *, script: bool) -> None:
    """
    With a script and without.
    """
    page = tab(script=script)
    page.goto(large)
    status = page.get_by_role("status")
    expect(status).to_have_text("1 to 100 of 2,500 endpoints")
    assert names(page)[0] == "https://host-00000.example.com"

    page.get_by_role("link", name="Next").click()
    expect(status).to_have_text("101 to 200 of 2,500 endpoints")
    page.get_by_role("link", name="Last").click()
    expect(status).to_have_text("2,401 to 2,500 of 2,500 endpoints")

    page.get_by_role("searchbox").fill("host-0011")
    page.get_by_role("button", name="Search").click()
    expect(status).to_have_text("1 to 10 of 10 endpoints")

    page.get_by_role("combobox", name="Label").select_option("team=platform")
    page.get_by_role("button", name="Search").click()
    expect(status).to_have_text("1 to 3 of 3 endpoints")
    expect(page).to_have_url(re.compile(r"\?q=host-0011&label=team%3Dplatform$"))

    page.get_by_role("columnheader", name="Target").get_by_role("link").click()
    expect(page.get_by_role("columnheader", name="Target")).to_have_attribute("aria-sort", "ascending")
    assert names(page) == [f"https://host-0011{last}.example.com" for last in (0, 4, 8)]
    page.get_by_role("columnheader", name="Target").get_by_role("link").click()
    expect(page.get_by_role("columnheader", name="Target")).to_have_attribute("aria-sort", "descending")
    assert names(page) == [f"https://host-0011{last}.example.com" for last in (8, 4, 0)]

    page.get_by_role("link", name="Remove the filter team=platform").click()
    expect(status).to_have_text("1 to 10 of 10 endpoints")
    page.get_by_role("navigation", name="Filter by state").get_by_role("link", name="warning").click()
    expect(status).to_have_text("1 to 1 of 1 endpoint")
    assert names(page) == ["https://host-00110.example.com"]


def test_a_label_in_a_row_leads_to_all_that_have_it(mixed: str, tab: Open) -> None:
    """
    Also from the page of a target.
    """
    page = tab(script=False)
    page.goto(mixed + PATHS["shop"])
    page.get_by_role("link", name="team=payments").click()
    expect(page.get_by_role("status")).to_have_text("1 to 8 of 8 endpoints")


def test_the_list_follows_what_is_typed(large: str, tab: Open) -> None:
    """
    Without a button, and the cursor stays where it is.
    """
    page = tab()
    page.goto(large)
    search = page.get_by_role("searchbox")
    search.press_sequentially("host-02499")
    expect(page.get_by_role("status")).to_have_text("1 to 1 of 1 endpoint")
    expect(search).to_be_focused()
    expect(search).to_have_value("host-02499")
    expect(page).to_have_url(f"{large}/?q=host-02499")
    page.reload()
    assert names(page) == ["https://host-02499.example.com"]


def test_the_page_is_used_with_the_keyboard(mixed: str, tab: Open) -> None:
    """
    The first stop skips to the content, `/` goes to the search, and every link of the list is reached.
    """
    page = tab()
    page.goto(mixed)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    expect(page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    page.keyboard.press("/")
    search = page.get_by_role("searchbox")
    expect(search).to_be_focused()
    expect(search).to_have_value("")
    page.keyboard.type("git.example")
    expect(page.get_by_role("status")).to_have_text("1 to 1 of 1 endpoint")
    link = page.get_by_role("link", name="https://git.example.com")
    for _ in range(20):
        page.keyboard.press("Tab")
        if link.evaluate("one => one === document.activeElement"):
            break
    expect(link).to_be_focused()
    outline = link.evaluate("one => getComputedStyle(one).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("https://git.example.com")


def test_the_page_renews_itself(mixed: str, tab: Open) -> None:
    """
    After a minute, unless somebody is in the list with the keyboard.
    """
    page = tab()
    page.clock.install()
    page.goto(mixed)
    old = page.locator("#results").element_handle()
    with page.expect_response(f"{mixed}/"):
        page.clock.run_for(60_000)
    expect(page.locator("#results")).to_have_count(1)
    page.wait_for_function("old => !old.isConnected", arg=old)
    kept = page.locator("#results a").first
    kept.focus()
    with page.expect_response(f"{mixed}/"):
        page.clock.run_for(60_000)
    expect(kept).to_be_focused()


def test_a_narrow_window_has_cards_that_are_still_a_table(mixed: str, tab: Open) -> None:
    """
    One below the other; a screen reader hears rows and cells.
    """
    page = tab(size=NARROW)
    page.goto(mixed)
    row = page.get_by_role("row").nth(1)
    boxes = [cell.bounding_box() for cell in row.get_by_role("cell").all()]
    tops = [box["y"] for box in boxes if box is not None]
    assert tops == sorted(set(tops))
    assert len(tops) == 5


def test_dates_have_the_time_of_the_reader_in_their_tips(mixed: str, tab: Open) -> None:
    """
    And are in UTC without a script.
    """
    page = tab()
    page.goto(mixed)
    when = page.locator("tbody time").first
    expect(when).to_have_text("2027-01-15 07:16 UTC")
    expect(when).to_have_attribute("datetime", "2027-01-15T07:16:40Z")
    assert when.get_attribute("title")
