"""
`expiry-exporter check`: the table and the JSON document, from values made by hand.
"""

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from exporter import check, demo
from exporter.advice import FAILURES
from exporter.observation import Fault, Observed, Reason
from exporter.status import Level
from exporter.watch import Scrape
from tests.golden.scenes import failed, seen
from tests.golden.values import ADDRESS, Scene, certificate, facts, intermediate, target
from tests.support.certificates import DAY, NOW


def scrape(scene: Scene) -> Scrape:
    """
    The scene as a scrape.
    """
    return Scrape(tuple(scene.targets()), tuple(scene.rows()), (), 0.1, 9.5, complete=True, at=NOW)


def mixed() -> Scene:
    """
    One endpoint of each level, the most urgent in the middle.
    """
    scene = Scene().see(target(name="fine"), seen(facts(certificate(), intermediate())))
    scene.see(target(name="ended"), seen(facts(certificate(end=NOW - DAY))), found=[Fault.EXPIRED])
    scene.see(target(name="late"), seen(facts(certificate(begin=NOW - 70 * DAY, end=NOW + 20 * DAY))))
    return scene.see(target(name="[bold]gone"), failed(Reason.CONNECTION_REFUSED))


def table(scene: Scene) -> list[str]:
    """
    The lines that are printed.
    """
    stream = io.StringIO()
    check.print_table(scrape(scene), NOW, stream)
    return stream.getvalue().splitlines()


def test_the_table_has_the_most_urgent_first() -> None:
    """
    One line for each endpoint, and the counts; a name in brackets is a name.
    """
    lines = table(mixed())
    assert lines[0].split() == ["STATE", "TARGET", "ENDPOINT", "ENDS", "LEFT", "WHAT", "TO", "KNOW"]
    assert [line.split()[:2] for line in lines[1:5]] == [
        ["CRITICAL", "ended"],
        ["UNKNOWN", "[bold]gone"],
        ["WARNING", "late"],
        ["OK", "fine"],
    ]
    assert "certificate EXPIRED 1 d 0 h ago" in lines[1]
    assert " none " in lines[1]
    assert lines[4].rstrip().endswith("fine")
    assert "2027-03-31 08:00 UTC  75 d 0 h" in lines[4]
    assert lines[5] == "1 critical, 1 unknown, 1 warning, 1 ok"
    assert "\x1b" not in "".join(lines)


class Terminal(io.StringIO):
    """
    A stream that says it is a terminal.
    """

    def isatty(self) -> bool:
        """
        Yes.
        """
        return True


def test_a_terminal_gets_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    And its own width.
    """
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    stream = Terminal()
    check.print_table(scrape(mixed()), NOW, stream)
    assert "\x1b[1;31mCRITICAL" in stream.getvalue()


def document(scene: Scene) -> Any:
    """
    The JSON document.
    """
    stream = io.StringIO()
    check.print_json(scrape(scene), NOW, stream)
    return json.loads(stream.getvalue())


def test_the_document_says_everything() -> None:
    """
    Of a healthy endpoint, whole.
    """
    leaf, above = certificate(), intermediate()
    found = document(Scene().see(target(name="fine"), seen(facts(leaf, above))))
    assert found == {
        "level": "ok",
        "endpoints": [
            {
                "target": "fine",
                "endpoint": ADDRESS,
                "policy": "automatic",
                "level": "ok",
                "findings": [],
                "probe": {"success": True, "reason": None, "detail": None, "duration_seconds": 0.0125},
                "verification": {"success": True, "faults": []},
                "items": [
                    {
                        "item": "leaf",
                        "kind": "leaf",
                        "not_before": NOW - 15 * DAY,
                        "not_after": NOW + 75 * DAY,
                        "renewal_due": NOW + 45 * DAY,
                        "warning": NOW + 49.5 * DAY,
                        "critical": NOW + 68 * DAY,
                        "subject": "CN=lms.example.com",
                        "issuer": "CN=Test Intermediate",
                        "serial": "1a2b",
                        "fingerprint_sha256": leaf.fingerprint_sha256,
                        "key": "ecdsa-256",
                        "dns_names": ["lms.example.com"],
                        "ip_addresses": [],
                    },
                    {
                        "item": "chain-1",
                        "kind": "intermediate",
                        "not_before": above.not_before,
                        "not_after": above.not_after,
                        "renewal_due": None,
                        "warning": None,
                        "critical": None,
                        "subject": "CN=Test Intermediate",
                        "issuer": "CN=Test Root",
                        "serial": "10",
                        "fingerprint_sha256": above.fingerprint_sha256,
                        "key": "ecdsa-256",
                        "dns_names": [],
                        "ip_addresses": [],
                    },
                ],
            }
        ],
    }


def test_the_document_says_what_failed() -> None:
    """
    What is not known is null.
    """
    found = document(Scene().see(target(name="gone"), failed(Reason.CONNECTION_REFUSED)))
    assert found == {
        "level": "unknown",
        "endpoints": [
            {
                "target": "gone",
                "endpoint": ADDRESS,
                "policy": "automatic",
                "level": "unknown",
                "findings": [
                    {
                        "level": "unknown",
                        "words": "connection_refused: words about connection_refused",
                        "advice": FAILURES[Reason.CONNECTION_REFUSED],
                        "item": None,
                    }
                ],
                "probe": {
                    "success": False,
                    "reason": "connection_refused",
                    "detail": "words about connection_refused",
                    "duration_seconds": 1.0,
                },
                "verification": {"success": None, "faults": []},
                "items": [],
            }
        ],
    }


def test_the_document_names_faults() -> None:
    """
    By the values that the metrics have.
    """
    scene = Scene().see(target(), seen(facts(certificate())), found=[Fault.NAME_MISMATCH, Fault.WEAK_KEY])
    assert document(scene)["endpoints"][0]["verification"] == {
        "success": False,
        "faults": [
            {"reason": "name_mismatch", "detail": "words about name_mismatch"},
            {"reason": "weak_key", "detail": "words about weak_key"},
        ],
    }


@pytest.mark.parametrize(
    ("scene", "expected"),
    [
        (Scene(), Level.OK),
        (Scene().see(target(), failed(Reason.TIMEOUT)), Level.UNKNOWN),
        (mixed(), Level.CRITICAL),
    ],
)
def test_the_level_is_the_most_urgent(scene: Scene, expected: Level) -> None:
    """
    Of all endpoints.
    """
    assert check.level(scrape(scene), NOW) is expected


@pytest.mark.parametrize("terminal", [True, False])
def test_a_look_shows_its_progress_on_a_terminal(tmp_path: Path, terminal: bool) -> None:
    """
    And nothing without one; it gives one scrape.
    """
    stream = Terminal()
    console = Console(file=stream, force_terminal=True, width=80) if terminal else None

    async def run() -> Scrape:
        shown = await demo.start(NOW, str(tmp_path))
        try:
            targets = [one for one in shown.targets if one.name in {"healthy", "refused"}]
            return await check.look(targets, 5.0, 8, console)
        finally:
            await shown.close()

    found = asyncio.run(run())
    seen_there = {row.target.name: isinstance(row.held.observation, Observed) for row in found.endpoints}
    assert seen_there == {"healthy": True, "refused": False}
    assert ("targets" in stream.getvalue()) == terminal
