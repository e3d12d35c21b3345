"""
Paths of files as people write them where a URL is wanted. Pure.
"""

import re

_PATH = re.compile(
    r"/(?!/)|\.\.?/|~|[^:\\]*\.(pem|crt|cer|cert|der|p12|pfx|p7b|jks|key|conf|ya?ml)$", re.IGNORECASE
)
"""What begins like a path, or ends like that of a file that holds certificates."""


_WINDOWS_PATH = re.compile(r"(?:([a-z]):(?=[\\/])|[^/:]*\\)(.*)", re.IGNORECASE | re.DOTALL)
"""The drive, and what follows."""


def is_path(text: str) -> bool:
    """
    Return whether a text without a scheme can only be meant as the path of a file.
    """
    return _PATH.match(text) is not None


def is_windows_path(text: str) -> bool:
    r"""
    Return whether it can only be meant as the path of a file on Windows: `C:\web.pem`, `C:/web.pem`.
    """
    return _WINDOWS_PATH.match(text) is not None


def whole_path(path: str, *, in_url: bool = False) -> str:
    """
    Return advice for the path of a file in a place where only a URL with a whole path will do.

    `in_url`: it stands behind `file:`, where the slash of the root directory may be all that is missing, and
    a host that is this one may be before it (RFC 8089 section 2).
    """
    path = re.sub("^localhost(?=/)", "", path.strip(), flags=re.IGNORECASE) if in_url else path
    if (found := _WINDOWS_PATH.match(path)) is not None:
        drive, rest = found.groups()
        steps = [step for step in re.split(r"[\\/]", rest) if step.strip(".")] or ["FILE"]
        example = "/".join(["", "mnt", drive.lower(), *steps] if drive else ["", "DIRECTORY", *steps[-1:]])
        return f"it looks like a path of Windows, write where the file is on this host, like file://{example}"
    rest = re.sub(r"^(\.\.?/|/*~[^/]*/)+", "", path)
    below = rest.lstrip("/") or "FILE"
    if rest.startswith("/") and below != "FILE":
        return f"write file:///{below}"
    if in_url and rest == path and "/" in path.strip("/"):
        return f"write file:///{path} or file:///DIRECTORY/{path}, the whole path of the file"
    return f"write the whole path of a file, file:///DIRECTORY/{below}"
