"""
A probe, step by step, as a page for a browser.
"""

from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from exporter.server.pages.site import in_style
from tests.server.test_app import Site, serve
from tests.support.html import Element, read

BROWSER = "text/html,application/xhtml+xml,*/*;q=0.8"


async def page(site: Site, query: str) -> Element:
    """
    The page of a probe.
    """
    status, text = await site.get(f"/probe?{query}&debug=true", Accept=BROWSER)
    assert status == 200
    return read(text)


def test_a_browser_gets_the_steps_first_and_the_metrics_folded(tmp_path: Path) -> None:
    """
    Then what is known of the target, with a way to ask again. A program gets the text.
    """

    async def test(site: Site) -> None:
        html = await page(site, "target=expired")
        assert html.one("h1").text == "Probe of expired"
        main = html.one("main")
        order = [one.name for one in main.children if isinstance(one, Element)]
        assert order == ["div", "section", "dl", "details"]
        steps = main.one("ol", class_="steps").all("li")
        assert "connecting to 127.0.0.1 port" in steps[0].text
        assert "handshake done" in steps[-1].text
        assert main.one("p", class_="words").text.startswith("certificate EXPIRED 3 d 0 h ago")
        assert "leaf expires" in main.one("ul", class_="ends").text
        folded = main.one("details")
        assert "open" not in folded.attributes
        assert 'expiry_probe_success{target="expired"' in folded.one("pre").text
        links = {one.text: one.attributes["href"] for one in main.all("a")}
        assert links["Probe again"] == "?target=expired&debug=true"
        assert links["Page of the target"] == "./targets/expired"
        for accepted in ("*/*", "text/plain"):
            _, text = await site.get("/probe?target=expired&debug=true", Accept=accepted)
            assert text.startswith("target    expired")
        _, text = await site.get("/probe?target=expired", Accept=BROWSER)
        assert text.startswith("# HELP")

    serve(tmp_path, test, "expired")


def test_what_could_not_be_reached_and_is_not_configured_has_its_steps(tmp_path: Path) -> None:
    """
    It has no page of its own to lead to.
    """

    async def test(site: Site) -> None:
        html = await page(site, f"target={site.shown['refused'].url.text}")
        assert html.one("main").one("p", class_="words").text.startswith("connection_refused: ")
        assert "it is not configured" in html.one("dl").text
        assert "Page of the target" not in html.text

    serve(tmp_path, test, more="probe: {allow: ['127.0.0.0/8']}\n")


def test_a_browser_gets_each_error_as_a_page(tmp_path: Path) -> None:
    """
    In words, with the way back, wherever it is. A program gets the words alone.
    """

    async def test(site: Site) -> None:
        for path, status, words in (
            ("/nowhere", 404, "Nothing answers at /nowhere."),
            ("/a/b/%3Cscript%3E", 404, "Nothing answers at /a/b/<script>."),
            ("/-/reload", 405, "/-/reload wants another method: the header Allow"),
            ("/?colour=red", 400, "unknown parameter 'colour'"),
            ("/certificates?sort=size", 400, "sort 'size' is not known"),
            ("/api/v1/items?limit=0", 400, "limit '0' is not a whole number"),
            ("/probe?target=https://192.0.2.1", 403, "probe.allow"),
            ("/assets/none.css", 404, "there is no such file"),
            ("/targets/nothing", 404, "No target is called nothing"),
            ("/targets/https:%2F%2Fme:secret@host", 404, "No target is called https://...@host"),
        ):
            async with site.client.get(path, headers={"Accept": BROWSER}) as answer:
                assert answer.status == status, path
                assert answer.content_type == "text/html"
                assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
                assert (answer.headers.get("Allow") is not None) == (status == 405)
                html = read(await answer.text())
                steps = answer.url.raw_path.count("/") - 1
            assert words in html.one("main").text
            back = html.one("main").one("a")
            assert (back.text, back.attributes["href"]) == ("All targets", "../" * steps or "./")
        for accepted in ("*/*", "application/json"):
            async with site.client.get("/nowhere", headers={"Accept": accepted}) as answer:
                assert (answer.status, answer.content_type) == (404, "text/plain")

    serve(tmp_path, test, "healthy", more="probe: {allow: []}\n")


@pytest.mark.parametrize("status", [401, 429])
def test_who_has_no_password_yet_or_asks_too_often_gets_no_page(status: int) -> None:
    """
    It would tell the version, and cost more than the request is worth.
    """
    request = make_mocked_request("GET", "/", headers={"Accept": BROWSER})
    assert in_style(request, web.Response(status=status, text="no\n"), None) is None
    assert in_style(request, web.Response(status=500, text="no\n"), None) is not None
