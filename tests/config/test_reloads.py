"""
A configuration that is read again beside the event loop: it gives way, and keeps what is as it was.
"""

from pathlib import Path

import pytest

from exporter.config import reader
from exporter.config.reader import load, parse

TARGETS = 200


def listed(path: Path, count: int, ca_file: str) -> Path:
    """
    A configuration with so many targets that trust the same file.
    """
    lines = [
        f"  - {{url: 'tls://h{number}.example:443', ca_file: {ca_file}, labels: {{team: a}}}}\n"
        for number in range(count)
    ]
    path.write_text("targets:\n" + "".join(lines))
    return path


@pytest.mark.parametrize("exists", [True, False])
def test_a_file_that_all_targets_name_is_looked_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    """
    Calls of the system in quick succession keep the interpreter from the event loop. Each target is still
    warned of.
    """
    anchor = tmp_path / "ca.pem"
    if exists:
        anchor.write_text("a trust anchor\n")
    looked: list[str] = []
    looking = reader._is_readable_file

    def look(path: str) -> bool:
        looked.append(path)
        return looking(path)

    monkeypatch.setattr(reader, "_is_readable_file", look)
    config = load(str(listed(tmp_path / "expiry.yml", TARGETS, anchor.name)), {})
    assert looked == [str(anchor)]
    assert len(config.warnings) == (0 if exists else TARGETS)


def test_reading_pauses_all_the_time(tmp_path: Path) -> None:
    """
    At least three times for each target: where it is parsed, where it is taken, and where it is checked.
    """
    paused = 0

    def pause() -> None:
        nonlocal paused
        paused += 1

    load(str(listed(tmp_path / "expiry.yml", TARGETS, "ca.pem")), {}, pause=pause)
    assert paused >= 3 * TARGETS


def test_a_target_that_is_as_it_was_is_the_same_object() -> None:
    """
    And one that changed in anything is new. So are those with a source beside them.
    """
    text = "targets: [https://a.example, {url: 'https://b.example', timeout: 3s}]\n"
    found = "discover: [{files: ['*.json']}]\n"
    before = parse(f"{text}{found}".encode(), "expiry.yml", {})
    changed = text.replace("3s", "4s") + found
    after = parse(changed.encode(), "expiry.yml", {}).keeping(before)
    assert after == parse(changed.encode(), "expiry.yml", {})
    assert after.targets[0] is before.targets[0]
    assert after.by_hand[0] is before.by_hand[0]
    assert after.targets[1] != before.targets[1]
