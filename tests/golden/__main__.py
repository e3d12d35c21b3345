"""
Writes every golden file anew. Look at the difference before it is committed.
"""

from tests.golden.scenes import DIRECTORY, SCENES


def main() -> None:
    """
    Write the files, and remove those that no scene has any more.
    """
    for old in DIRECTORY.glob("*.txt"):
        if old.stem not in SCENES:
            old.unlink()
    for name, scene in SCENES.items():
        (DIRECTORY / f"{name}.txt").write_text(scene(), encoding="utf-8")


main()
