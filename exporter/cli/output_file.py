"""
The file that a command writes for a person to keep.
"""

import argparse
import sys
from pathlib import Path


class OutputError(Exception):
    """
    The file was not written. The message says why, and what to do.
    """


def add_flags(parser: argparse.ArgumentParser, default: str) -> None:
    """
    Add the flags that name the file and allow to replace it. `default` is its path, or - for standard output.
    """
    parser.add_argument(
        "--output-file",
        type=Path,
        default=Path(default),
        metavar="FILE",
        help="where to write, or - for standard output (default: %(default)s)",
    )
    parser.add_argument("--force", action="store_true", help="replace a file that is there")


def write(text: str, options: argparse.Namespace) -> bool:
    """
    Write the text where the flags say. Return False for standard output. Raises OutputError.
    """
    file: Path = options.output_file
    if str(file) == "-":
        sys.stdout.write(text)
        return False
    try:
        with file.open("w" if options.force else "x", encoding="utf-8") as made:
            made.write(text)
    except FileExistsError:
        raise OutputError(f"{file} is there already: --force replaces it") from None
    except OSError as error:
        raise OutputError(f"{file} can't be written: {error.strerror}") from None
    return True
