"""
The map for contributors leads to what is there.
"""

import re

from tests.support.readme import REPOSITORY
from tests.test_imports import MAY_IMPORT

MAP = (REPOSITORY / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_each_path_exists() -> None:
    """
    Files and folders that are named with a slash, from the top of the repository.
    """
    paths = re.findall(r"`([\w.-]+/[\w./-]*)`", MAP) + re.findall(r"^(tests/run)\b", MAP, re.MULTILINE)

    assert len(paths) > 30
    assert [path for path in paths if not (REPOSITORY / path).exists()] == []


def test_each_table_is_in_its_file() -> None:
    """
    The steps name a file, and behind it the tables in which there is a line to add.
    """
    steps = re.findall(r"`(exporter/[\w/]+\.py)`:([^.;]*)", MAP)
    named = [(path, table) for path, words in steps for table in re.findall(r"`([A-Z]{2,})`", words)]

    assert len(named) > 5
    texts = {path: (REPOSITORY / path).read_text(encoding="utf-8") for path, _ in named}
    assert [pair for pair in named if not re.search(rf"^{pair[1]}\b", texts[pair[0]], re.MULTILINE)] == []


def test_each_file_without_its_folder_exists_once() -> None:
    """
    Tests that are named again are called by their file only.
    """
    names = set(re.findall(r"`(\w+\.py)`", MAP))

    assert names
    assert {name for name in names if len([*(REPOSITORY / "tests").glob(f"**/{name}")]) != 1} == set()


def test_the_wings_are_those_of_the_code() -> None:
    """
    In the order of the data, with what each may import.
    """
    rows = re.findall(r"^\| `(\w+)` \| .* \| (.*) \|$", MAP, re.MULTILINE)
    wings = [wing for wing in MAY_IMPORT if wing != "__main__"]

    assert [wing for wing, _ in rows] == wings
    for number, (wing, allowed) in enumerate(rows):
        named = {"nothing": set(), "all of the above": {*wings[:number]}}.get(allowed, {*allowed.split(", ")})
        assert named == MAY_IMPORT[wing]


def test_it_is_one_page() -> None:
    """
    Whoever begins reads all of it.
    """
    assert len(MAP.splitlines()) <= 150
