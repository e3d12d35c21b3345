"""
The status page, as text.
"""

import re

import pytest

from exporter.memory import Look
from exporter.observation import Fault, Observed, Reason
from exporter.page import ROW_LIMIT, render
from exporter.watch import Scrape
from tests.golden.scenes import failed, seen
from tests.golden.values import Scene, certificate, facts, target
from tests.support.certificates import DAY, NOW


def page(scene: Scene) -> str:
    """
    The page a minute and a half after the scrape.
    """
    scrape = Scrape(tuple(scene.targets()), tuple(scene.rows()), (), 0.1, 9.5, complete=True, at=NOW - 90)
    return render(scrape, NOW, 90)


def rows(html: str) -> list[list[str]]:
    """
    The cells of each row, with their marks.
    """
    body = html.partition("<tbody>")[2]
    return [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", body)]


def test_without_targets_the_page_says_what_to_do() -> None:
    """
    It is the first thing a new user sees.
    """
    html = page(Scene())
    assert "No targets are configured" in html
    assert "<table>" not in html
    assert "0 critical, 0 unknown, 0 warning, 0 ok" in html


def test_the_most_urgent_comes_first() -> None:
    """
    By level, then by what ends first; what was never seen comes after what was.
    """
    scene = Scene()
    scene.see(target(name="fine"), seen(facts(certificate())))
    scene.see(target(name="never seen"), failed(Reason.TIMEOUT))
    scene.see(target(name="late"), seen(facts(certificate(begin=NOW - 70 * DAY, end=NOW + 20 * DAY))))
    scene.see(target(name="wrong"), seen(facts(certificate())), found=[Fault.NAME_MISMATCH])
    scene.see(target(name="ended"), seen(facts(certificate(end=NOW - DAY))), found=[Fault.EXPIRED])
    scene.see(target(name="sooner fine"), seen(facts(certificate(end=NOW + 74 * DAY))))
    html = page(scene)
    found = rows(html)
    assert [(row[0], row[1]) for row in found] == [
        ("critical", "ended"),
        ("critical", "wrong"),
        ("unknown", "never seen"),
        ("warning", "late"),
        ("ok", "sooner fine"),
        ("ok", "fine"),
    ]
    assert found[0][3:5] == ["2027-01-14 08:00 UTC", "ended 1 d 0 h ago"]
    assert found[2][3:] == ["", "", "<ul><li>timeout: words about timeout</li></ul>"]
    assert found[4][3:] == ["2027-03-30 08:00 UTC", "74 d 0 h", ""]
    assert "<title>expiry-exporter: 2 critical, 1 unknown, 1 warning, 2 ok</title>" in html
    assert "of 6 endpoints, as seen 1 min ago" in html


def test_nothing_from_outside_is_markup() -> None:
    """
    Target, endpoint and words of a server are escaped wherever they stand.
    """
    evil = "<script>alert('1')</script>\"&"
    look = Look(evil, Observed(facts(certificate(end=NOW - DAY))), 0.1)
    html = page(Scene().see(target(name=evil), look))
    assert "<script" not in html
    assert html.count("&lt;script&gt;alert(&#x27;1&#x27;)&lt;/script&gt;&quot;&amp;") == 2


@pytest.mark.parametrize("count", [ROW_LIMIT, ROW_LIMIT + 1])
def test_a_long_list_is_cut_and_says_so(count: int) -> None:
    """
    On both sides of the limit; the urgent one is shown wherever it stood.
    """
    scene = Scene()
    for number in range(count - 1):
        scene.see(target(name=f"{number}"), seen(facts(certificate())))
    scene.see(target(name="urgent"), seen(facts(certificate(end=NOW - DAY))))
    html = page(scene)
    found = rows(html)
    assert len(found) == ROW_LIMIT
    assert found[0][1] == "urgent"
    assert ("1 less urgent endpoints are not shown" in html) == (count > ROW_LIMIT)
    assert f"of {count} endpoints" in html
