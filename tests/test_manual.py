"""
The manual: short README, links that lead somewhere, nothing said twice, lines of a usual length.
"""

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.support.readme import DOCUMENTS, MANUAL, README, REPOSITORY, anchors, prose, whole_text

CHAPTERS = sorted(MANUAL.glob("*.md"))
RUNBOOKS = sorted((REPOSITORY / "alerts" / "runbooks").glob("*.md"))

every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)


@every_document
def test_links_lead_somewhere(document: Path) -> None:
    """
    To a file that is there, and to a heading in it.
    """
    links = re.findall(r"\]\(([^)]+)\)", prose(document))
    for link in links:
        file, _, anchor = link.partition("#")
        there = document.parent / file if file else document
        assert there.is_file(), link
        assert not anchor or anchor in anchors(there), link


@every_document
def test_no_two_headings_have_one_anchor(document: Path) -> None:
    """
    A link to a heading leads to that one.
    """
    assert [name for name, count in Counter(anchors(document)).items() if count > 1] == []


def test_every_chapter_is_linked_from_the_readme() -> None:
    """
    Where it says what to read on.
    """
    _, _, read_on = README.read_text(encoding="utf-8").partition("\n## Read on\n")
    linked = re.findall(r"\]\(exporter/manual/([\w-]+\.md)\)", read_on)

    assert sorted(linked) == [path.name for path in CHAPTERS]


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_begins_with_its_title_and_what_it_is_about(chapter: Path) -> None:
    """
    The list of chapters shows both.
    """
    title, empty, first, *_ = chapter.read_text(encoding="utf-8").splitlines()

    assert re.fullmatch(r"# \S.*", title)
    assert empty == ""
    assert re.match(r"[A-Z0-9*]", first)


def test_the_readme_is_short() -> None:
    """
    At most 300 lines and 16 kB: five minutes.
    """
    data = README.read_bytes()

    assert len(data) <= 16_000
    assert data.count(b"\n") <= 300


def test_nothing_is_said_twice() -> None:
    """
    No paragraph, row of a table or line of a fenced block with ten words or more stands in two places.
    """
    parts = re.split(r"\n{2,}|(?<=\|)\n|\n(?=```|[-*] )|(?<=`)\n", whole_text())
    words = Counter(" ".join(part.split()) for part in parts)

    assert [part for part, count in words.items() if count > 1 and len(part.split()) >= 10] == []


@pytest.mark.parametrize("document", [*DOCUMENTS, *RUNBOOKS], ids=lambda path: path.stem)
def test_sentences_are_short(document: Path) -> None:
    """
    A tired reader keeps 45 words in mind at most; what stands behind a colon or a semicolon counts too.
    """
    parts = re.split(r"\n{2,}|\n(?=\s*(?:[-*]|\d+\.) )", prose(document))
    text = (" ".join(part.split()) for part in parts if not part.lstrip().startswith(("|", "#", "!")))
    sentences = (one for part in text for one in re.split(r"(?<=[.!?])\s+|(?<=:)\s+(?=[A-Z`*])", part))

    assert [one for one in sentences if len(one.split()) > 45] == []


@pytest.mark.parametrize("document", [*DOCUMENTS, *RUNBOOKS], ids=lambda path: path.stem)
def test_phrases_that_readers_stumbled_over_do_not_come_back(document: Path) -> None:
    """
    Each of them needed a second reading.
    """
    text = " ".join(prose(document).lower().split())
    stumbles = (
        *("in any case", "of use there", "no use there", "once in a file", "content by now", "run out"),
        *("or as make it", "would have had its turn", "# look around once", "# keep looking"),
        # Persons are told; things are reported or logged.
        *("out, and told", "is told by", "is told, and", "is not told", "it is told", "problem is told"),
        *("stands nowhere", "whose file it is is", "none of yours issued", "noticed by nobody"),
        *("exporters are it", "relative paths are relative", "a replica more"),
    )

    assert [one for one in stumbles if one in text] == []


@every_document
def test_lines_have_a_usual_length(document: Path) -> None:
    """
    At most 120 characters, but in tables, fenced blocks and pictures.
    """
    lines = prose(document).splitlines()

    assert [line for line in lines if len(line) > 120 and not line.startswith(("|", "!"))] == []


def test_files_that_are_named_are_there() -> None:
    """
    Paths of this repository in code spans of the documents.
    """
    named = set(re.findall(r"`((?:exporter|alerts|grafana|tests)/[\w./-]+\.\w+)`", whole_text()))

    assert named
    assert [name for name in named if not (REPOSITORY / name).is_file()] == []
