"""
Caddy: the sites of a Caddyfile, with their own certificates or those that Caddy fetches.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from exporter.discovery.web_servers import caddy_json
from exporter.discovery.web_servers.caddy_files import fetched, in_directory, whole
from exporter.discovery.web_servers.reading import Listen, Reader, Site

STORAGE = "/var/lib/caddy/.local/share/caddy"
"""Where Debian's Caddy keeps the certificates that it fetches."""


_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)"|`([^`]*)`|(?<!\S)(\#)[^\n]*|(\S+)')


Line = tuple[str, int, list[str]]
"""File, line and words."""


@dataclass(slots=True)
class _Block:
    """
    The words before a block, and its lines; blocks inside of it are flat, with braces of their own.
    """

    path: str
    line: int
    heads: list[str]
    lines: list[Line] = field(default_factory=list)

    def directives(self, inside: str = "") -> Iterator[Line]:
        """
        Yield the lines of the block itself, or of those blocks in it that begin with these words.
        """
        opened: list[str] = []
        for path, number, words in self.lines:
            if words[0] == "}":
                opened = opened[:-1]
                continue
            if opened == ([inside] if inside else []):
                yield path, number, words
            if words[-1] == "{":
                opened.append(" ".join(words[:-1]))


@dataclass(slots=True)
class _Options:
    """
    The global options that decide what is presented where.
    """

    https_port: int = 443
    http_port: int = 80
    storage: str = STORAGE
    bind: Sequence[str] = ()
    automatic: bool = True
    main: str = ""
    """The path of the Caddyfile itself."""


def sites(path: str, reader: Reader) -> list[Site]:
    """
    Return the sites of a Caddyfile, or of the JSON that Caddy makes of one.
    """
    if path.endswith(".json"):
        return list(_of_json(path, reader))
    blocks = _blocks(list(_lines(path, reader, (), {})), reader)
    options = _Options(main=path)
    answer: list[Site] = []
    for block in blocks:
        if not block.heads:
            _global(block, options)
        # A named route is used by sites, and is none.
        elif not block.heads[0].startswith("&("):
            answer += _sites(block, options, reader)
    return answer


def _of_json(path: str, reader: Reader) -> Iterator[Site]:
    text = reader.text(path)
    try:
        config = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        reader.fail(f"it is not JSON: {error}", path)
        return
    if isinstance(config, dict):
        yield from caddy_json.sites(path, config, STORAGE, reader)


def _lines(
    path: str, reader: Reader, chain: Sequence[str], snippets: dict[str, list[Line]]
) -> Iterator[Line]:
    """
    Yield the lines of a file, with what it imports in their places, and without snippets.
    """
    text = reader.text(path)
    if text is None:
        return
    raw = []
    text = re.sub(r"\\\n", " ", text)
    heredoc = ""
    for number, line in enumerate(text.split("\n"), 1):
        if heredoc:
            # Ends with its mark alone, which further words may follow.
            heredoc = "" if line.strip().partition(" ")[0] == heredoc else heredoc
            continue
        words = [_environment(word) for word in _words(line)]
        if words:
            raw.append((path, number, words))
            begins = re.fullmatch(r"<<([A-Za-z0-9_-]+)", words[-1])
            heredoc = begins[1] if begins is not None else ""
    yield from _expanded(raw, reader, (*chain, path), snippets)


def _expanded(
    lines: Sequence[Line],
    reader: Reader,
    chain: Sequence[str],
    snippets: dict[str, list[Line]],
    depth: int = 0,
) -> Iterator[Line]:
    """
    Yield lines of a file or snippet, with what they import in their places.
    """
    position = 0
    while position < len(lines):
        path, number, words = lines[position]
        position += 1
        snippet = re.fullmatch(r"\(([^)]+)\)", words[0])
        if snippet is not None and words[-1] == "{":
            body, position = _body(lines, position)
            snippets[snippet[1]] = body
            if position > len(lines):
                reader.fail(f"the snippet {snippet[1]} is not closed", path, number)
        elif words[0] != "import" or len(words) < 2:
            yield path, number, words
        else:
            block: list[Line] = []
            if words[-1] == "{":
                # The snippet has it at its places `{block}`.
                block, position = _body(lines, position)
                words = words[:-1]
            yield from _imported((path, number, words), block, reader, chain, snippets, depth)


def _body(lines: Sequence[Line], begin: int) -> tuple[list[Line], int]:
    """
    Return the lines of a block and the position behind it; one beyond the end when it is not closed.
    """
    depth = 1
    for position in range(begin, len(lines)):
        words = lines[position][2]
        depth += (words[-1] == "{") - (words[0] == "}")
        if depth == 0:
            return list(lines[begin:position]), position + 1
    return list(lines[begin:]), len(lines) + 1


def _imported(
    line: Line,
    block: Sequence[Line],
    reader: Reader,
    chain: Sequence[str],
    snippets: dict[str, list[Line]],
    depth: int,
) -> Iterator[Line]:
    """
    Yield what a line imports: a snippet, with its arguments and a block, or files.
    """
    path, number, words = line
    if words[1] in snippets:
        if depth > 10:
            reader.note("snippets import each other: passed over", path, number)
            return
        inside: list[Line] = []
        for file, place, inner in snippets[words[1]]:
            filled = [one for word in inner for one in _filled(word, words[2:])]
            inside += block if filled == ["{block}"] else [(file, place, filled)]
        if reader.may_expand(len(inside)):
            yield from _expanded(inside, reader, chain, snippets, depth + 1)
        return
    pattern = os.path.join(str(Path(path).parent), words[1])  # noqa: PTH118
    for one in reader.included(pattern, chain, (path, number)):
        yield from _lines(one, reader, chain, snippets)


def _filled(word: str, arguments: Sequence[str]) -> Sequence[str]:
    """
    Return a word of a snippet with the arguments of its import: for `{args[1:]}`, several words.
    """
    several = re.fullmatch(r"\{args\[(\d*):(\d*)\]\}", word)
    if several is not None:
        return arguments[int(several[1] or 0) : int(several[2] or len(arguments))]
    given: Mapping[str, str] = {str(number): value for number, value in enumerate(arguments)}
    return [re.sub(r"\{args(?:\[(\d+)\]|\.(\d+))\}", lambda one: given.get(one[1] or one[2], one[0]), word)]


def _words(text: str) -> list[str]:
    answer = []
    for double, back, comment, plain in _TOKEN.findall(text):
        if comment:
            break
        answer.append(re.sub(r'\\"', '"', double) or back or plain)
    return [word for word in answer if word]


def _environment(word: str) -> str:
    """
    Return a word with the defaults of its environment variables: the values are in Caddy's environment only.
    """
    return re.sub(r"\{\$(\w+):([^}]*)\}", lambda one: one[2], word)


def _blocks(lines: Sequence[Line], reader: Reader) -> list[_Block]:
    """
    Return the blocks of a Caddyfile. Without braces, the whole file is one site.
    """
    answer: list[_Block] = []
    heads: list[str] = []
    position = 0
    while position < len(lines):
        path, number, words = lines[position]
        position += 1
        heads += [head for word in words for head in word.split(",") if head and head != "{"]
        if words[-1].endswith(","):
            continue
        if words[-1] != "{":
            answer.append(_Block(path, number, heads, list(lines[position:])))
            return answer
        body, position = _body(lines, position)
        if position > len(lines):
            reader.fail("a block is not closed", path, number)
        answer.append(_Block(path, number, heads, body))
        heads = []
    return answer


def _global(block: _Block, options: _Options) -> None:
    for _, _, words in block.directives():
        match words:
            case ["https_port", port] if port.isdecimal():
                options.https_port = int(port)
            case ["http_port", port] if port.isdecimal():
                options.http_port = int(port)
            case ["default_bind", *hosts]:
                options.bind = hosts
            case ["auto_https", "off"]:
                options.automatic = False
            case ["storage", "file_system", root, *_] if root != "{":
                options.storage = root

    for _, _, words in block.directives("storage file_system"):
        match words:
            case ["root", root]:
                options.storage = root


def _sites(block: _Block, options: _Options, reader: Reader) -> Iterator[Site]:
    """
    Yield a site for each address of a block that is served by TLS.
    """
    own: list[str] = []
    bind: Sequence[str] = options.bind
    has_tls = False
    for path, number, words in block.directives():
        match words:
            case ["tls", certificate, key, *_] if key != "{" and certificate != "{":
                has_tls = True
                if "{" in certificate:
                    reader.note(
                        f"{certificate} has a variable that only the running server knows", path, number
                    )
                else:
                    own.append(whole(certificate, options.main))
            case ["tls", *_]:
                has_tls = True
            case ["bind", *hosts]:
                bind = [host for host in hosts if host != "{"]
    for path, number, words in block.directives("tls"):
        if words[0] == "load":
            own += [one for text in words[1:] for one in in_directory(whole(text, options.main))]
        elif words[0] == "get_certificate":
            reader.note("get_certificate: another program has the certificates", path, number)
    for path, number, words in block.lines:
        match words:
            case ["tls_client_auth", certificate, _] if "{" not in certificate:
                yield Site(f"Caddy's client, {path}, line {number}", [whole(certificate, options.main)])
    where = f"Caddy, {block.path}, line {block.line}"
    for head in block.heads:
        parsed = _address(head, options)
        if parsed is None:
            reader.note(f"{head} is no address of a site that is understood", block.path, block.line)
            continue
        scheme, name, port = parsed
        if scheme == "http" or (not has_tls and (not name or not options.automatic)):
            continue
        certificates = own or list(fetched(name, options.storage))
        hosts = [re.sub(r"^tcp[46]?/", "", host) for host in bind if not host.startswith(("unix/", "fd/"))]
        hosts = hosts or [""]
        yield Site(where, certificates, [name], [Listen("https", host, port) for host in hosts])


def _address(head: str, options: _Options) -> tuple[str, str, int] | None:
    """
    Return scheme, host and port of a site's address; None for what is none.
    """
    found = re.fullmatch(r"(?:(https?)://)?(\[[^\]]*\]|[^:/{}]*)(?::([0-9]{1,5}))?(?:/.*)?", head)
    if found is None or (found[3] and not 0 < int(found[3]) < 65536):
        return None
    scheme = found[1] or ("http" if found[3] == str(options.http_port) else "https")
    return scheme, found[2].strip("[]"), int(found[3] or options.https_port)
