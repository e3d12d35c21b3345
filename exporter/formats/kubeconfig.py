"""
kubeconfig files: the certificates of users and of clusters' authorities, embedded or in other files. Pure.

Keys and tokens in them are not decoded and not kept.
"""

import re
from collections.abc import Iterator
from typing import Any

from exporter.formats import pem
from exporter.formats.budget import Budget
from exporter.formats.parsed import Findings, Format, ParseContext, Parsed, Reference, from_base64, renamed
from exporter.model import foreign_json
from exporter.yaml_lines import ConfigError
from exporter.yaml_lines import read as read_yaml

ENTRY_LIMIT = 1000
"""Users and clusters that are read from one file."""


SIZE_LIMIT = 1024 * 1024
"""Bytes of a kubeconfig: YAML is slow to parse."""


VALUE_LIMIT = 60_000
"""Values in a kubeconfig, keys of mappings included: 1,000 contexts with their users and clusters have half
as many."""


_LISTS = re.compile(rb"""(?:^|[{,])[ \t]*["']?(?:clusters|users)["']?[ \t]*:""", re.MULTILINE)


_DOCUMENT = re.compile(rb"^---(?:[ \t].*)?\r?$", re.MULTILINE)
"""The line that begins a YAML document (YAML 1.2 section 9.1.4)."""


_KIND = re.compile(rb"""["']?kind["']?[ \t]*:[ \t]*["']?Config\b""")


def recognises(data: bytes) -> bool:
    """
    Return True for text that has lists of clusters or users and says that it is a Config.
    """
    # Further behind it would not be read, and the patterns take long.
    head = data[:SIZE_LIMIT]
    return b"\0" not in data[:4096] and _KIND.search(head) is not None and _LISTS.search(head) is not None


def read(data: bytes, given: ParseContext) -> Parsed:
    """
    Return the certificates of the file as `user/NAME` and `cluster/NAME`, and the problems.
    """
    findings = Findings(given.budget)
    if len(data) > SIZE_LIMIT:
        findings.broken(f"a kubeconfig has at most {SIZE_LIMIT:,} bytes, this has {len(data):,}")
        return findings.parsed()
    try:
        document = _document(data, findings)
    except ConfigError as error:
        findings.broken(error.faults[0].without_values)
        return findings.parsed()
    for list_name, kind, data_key, file_key in (
        ("users", "user", "client-certificate-data", "client-certificate"),
        ("clusters", "cluster", "certificate-authority-data", "certificate-authority"),
    ):
        entries = given.budget.each(_entries(document, list_name, kind), 10)
        for number, (name, entry) in enumerate(entries, 1):
            prefix = f"{kind}/{name or number}"
            embedded, path = entry.get(data_key), entry.get(file_key)
            # Embedded data goes before a file, as in kubectl.
            if isinstance(embedded, str) and embedded:
                _add_embedded(embedded, prefix, given, findings)
            elif isinstance(path, str) and path:
                findings.references.append(Reference(path, prefix))
            else:
                findings.lasting[f"a {kind} without a certificate"] = None
    return findings.parsed()


def _document(data: bytes, findings: Findings) -> Any:
    """
    Return the first document of the file: kubectl reads no other. Raises ConfigError.
    """
    if data.lstrip()[:1] == b"{":
        try:
            return foreign_json.loads(data)
        except (ValueError, RecursionError):
            pass  # YAML has such braces too
    begin = 0
    for mark in _DOCUMENT.finditer(data):
        if _has_content(data[begin : mark.start()]):
            if _has_content(data[mark.start() :]):
                findings.broken("it has several YAML documents: only the first was read, as kubectl does")
            return read_yaml(data[: mark.start()], "kubeconfig", VALUE_LIMIT).value
        begin = mark.start()
    return read_yaml(data, "kubeconfig", VALUE_LIMIT).value


def _has_content(part: bytes) -> bool:
    """
    Return True when a part of a file has more in it than marks, directives and comments.
    """
    lines = (line.removeprefix(b"---").strip() for line in part.splitlines())
    return any(line and line[:1] not in {b"#", b"%"} for line in lines)


def _entries(document: Any, list_name: str, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """
    Yield the name and the settings of each user or cluster.
    """
    entries = document.get(list_name) if isinstance(document, dict) else None
    for entry in entries[:ENTRY_LIMIT] if isinstance(entries, list) else ():
        settings = entry.get(kind) if isinstance(entry, dict) else None
        if isinstance(settings, dict):
            name = entry.get("name")
            # JSON may state halves of characters, which are no text.
            yield name.encode("utf-8", "replace").decode() if isinstance(name, str) else "", settings


def _add_embedded(text: str, prefix: str, given: ParseContext, findings: Findings) -> None:
    try:
        data = from_base64(text)
    except ValueError:
        findings.broken(f"{prefix}: the embedded certificate is not base64")
        return
    if not pem.recognises(data):
        findings.broken(f"{prefix}: the embedded certificate is not PEM")
        return
    findings.add(prefixed(pem.read(data, given), prefix, given.budget))


def prefixed(parsed: Parsed, prefix: str, budget: Budget) -> Parsed:
    """
    Return the items renamed for a user or cluster, `PREFIX/NAME`; its first certificate is named PREFIX
    alone.
    """
    # A file that many users name is read once, but its items are reported for each.
    budget.spend(10 + 2 * len(parsed.items))
    findings = Findings(budget)
    findings.add(parsed, f"{prefix}/")
    for index, one in enumerate(findings.items):
        if one.name in {f"{prefix}/leaf", f"{prefix}/certificate-1"}:
            findings.items[index] = renamed(one, prefix)
    return findings.parsed()


FORMAT = Format("kubeconfig", recognises, read)
