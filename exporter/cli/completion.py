"""
`expiry-exporter completion`: the script that lets a shell complete commands, flags, files and targets.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import shtab

from exporter.cli.arguments import DEFAULT_CONFIG
from exporter.passwords import shown
from exporter.yaml_lines import SIZE_LIMIT, ConfigError, read

DESCRIPTION = """\
Print the script that lets your shell complete commands, flags and their values, files,
and the targets of your configuration."""


EXAMPLES = """\
examples:
  expiry-exporter completion bash > /etc/bash_completion.d/expiry-exporter
      for all users of bash (package bash-completion)

  expiry-exporter completion zsh > "${fpath[1]}/_expiry-exporter"
      for zsh

  expiry-exporter completion fish > ~/.config/fish/completions/expiry-exporter.fish
      for fish
"""


SHELLS = ("bash", "zsh", "fish")


TARGETS = "targets"
"""What the scripts ask instead of a shell: the targets of the configuration that their line names."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """
    Add the flags and the help.
    """
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    parser.add_argument(
        "shell",
        type=_shell,
        metavar="SHELL",
        help=f"the shell that reads it: {', '.join(SHELLS)}",
    )
    # Python 3.11 would name it in the message about a shell that is missing.
    parser.add_argument("line", nargs=argparse.REMAINDER, help=argparse.SUPPRESS).required = False


def _shell(text: str) -> str:
    if text not in {*SHELLS, TARGETS}:
        raise argparse.ArgumentTypeError(f"{shown(text)} is not one of {', '.join(SHELLS)}")
    return text


def run(options: argparse.Namespace) -> int:
    """
    Print the script, and return the exit code.
    """
    if options.shell == TARGETS:
        sys.stdout.writelines(f"{name}\n" for name in targets(options.line) if name.isprintable())
    else:
        sys.stdout.write(script(options.shell))
    return 0


def targets(line: Sequence[str]) -> Iterator[str]:
    """
    Yield the names of the targets in the configuration that the words of a command line name, else in the
    usual one. None for a file that can't be read: nobody reads messages while typing.
    """
    named = re.findall(r"\0--config\.file[=\0]([^\0]+)", "\0" + "\0".join(line))
    file = Path(named[-1] if named else DEFAULT_CONFIG).expanduser()
    try:
        # Not a pipe, which may have nothing to read for ever.
        content = file.read_bytes() if file.is_file() and file.stat().st_size <= SIZE_LIMIT else b""
        found = read(content, str(file)).value
    except (OSError, ValueError, ConfigError):
        return
    entries = found.get("targets") if isinstance(found, dict) else None
    for one in entries if isinstance(entries, list) else ():
        name = one.get("name") or one.get("url") if isinstance(one, dict) else one
        if isinstance(name, str):
            yield name


def script(shell: str) -> str:
    """
    Return the script for a shell.
    """
    # Later, since that module imports this one.
    from exporter.cli.main import COMMANDS, parser  # noqa: PLC0415

    whole = parser()
    for name, words in COMMANDS.items():
        # Of its description a list of commands has room for the first line, which may end anywhere.
        whole.command(name).description = words
    for action in _actions(whole):
        _complete(action)
    first = {**_FIRST, "bash": _FIRST["bash"] + "".join(_bash_list(*one) for one in _lists().items())}
    made: str = shtab.complete(whole, shell=shell, preamble=first)  # type: ignore[arg-type]
    return {"bash": _bash, "zsh": _zsh}.get(shell, str)(made) + "\n"


def _complete(action: argparse.Action) -> None:
    """
    Say what the value of an action is, in words of the library. The parser parses nothing after this.
    """
    # Later: only this command needs it.
    from exporter.server import documents  # noqa: PLC0415

    whole: Any = action
    lists = _lists()
    words = {
        "SHELL": SHELLS,
        "CHAPTER": [*documents.manual().documents, *documents.runbooks().documents],
    }
    if action.metavar == "FILE":
        whole.complete = _FILES
    elif action.metavar == "DIR":
        whole.complete = _DIRECTORIES
    elif action.dest == "urls":
        whole.complete = _FILES_OR_TARGETS
    elif action.dest == "targets":
        whole.complete = _FILES
    elif action.metavar in words:
        action.choices = list(words[str(action.metavar)])
    elif action.metavar in lists:
        listed = f"_expiry_exporter_list {' '.join(lists[str(action.metavar)])}"
        whole.complete = {"bash": _of_list(str(action.metavar)), "zsh": listed, "fish": f"(_{listed})"}


def _lists() -> dict[str, Sequence[str]]:
    """
    Return the words of values that may be several with commas between, by metavar.
    """
    # Later: only these commands need them.
    from exporter.cli.check import MEANINGS  # noqa: PLC0415
    from exporter.report.compat_families import EXPORTERS  # noqa: PLC0415

    return {"LEVELS": [level.name.lower() for level in MEANINGS], "EXPORTERS": list(EXPORTERS)}


def _of_list(metavar: str) -> str:
    return f"_expiry_exporter_list_{metavar.lower()}"


def _bash_list(metavar: str, words: Sequence[str]) -> str:
    """
    Return the function for bash that completes such a value: there it can't be given the words.
    """
    return f'{_of_list(metavar)}() {{ _expiry_exporter_list "$1" {" ".join(words)}; }}\n'


_FILES = {"bash": "_shtab_compgen_files", "zsh": "_files", "fish": "(__expiry_exporter_files)"}


_DIRECTORIES = {"bash": "_shtab_compgen_dirs", "zsh": "_files -/", "fish": "(__expiry_exporter_directories)"}


_FILES_OR_TARGETS = {
    "bash": "_expiry_exporter_files_or_targets",
    "zsh": "_expiry_exporter_files_or_targets",
    "fish": "(__expiry_exporter_files; __expiry_exporter_targets)",
}


_FIRST = {
    # Not by `compgen -W`, which expands what it is given: a name may have a `$(command)` in it.
    "bash": """\
_expiry_exporter_list() {
  local before=
  [[ $1 == *,* ]] && before=${1%,*},
  compgen -P "$before" -W "${*:2}" -- "${1##*,}"
}
_expiry_exporter_files_or_targets() {
  local name
  compgen -f -- "$1"
  while IFS= read -r name; do
    [[ $name == "$1"* ]] && printf '%s\\n' "$name"
  done < <(expiry-exporter completion targets "${COMP_WORDS[@]}" 2>/dev/null)
}
""",
    "zsh": """\
_expiry_exporter_list() {
  # What stands before the last comma is there already.
  compset -P '*,'
  compadd "$@"
}
_expiry_exporter_files_or_targets() {
  # Of `words` the flags that were read are gone by now.
  local -a targets line=("${(@Q)${(@z)LBUFFER}}")
  targets=("${(@f)$(expiry-exporter completion targets "${line[@]}" 2>/dev/null)}")
  _alternative 'targets:target:compadd -a targets' 'files:file:_files'
}
""",
    # Of `--flag=value` the value alone is a path.
    "fish": """\
function __expiry_exporter_list
  set -l before (commandline -ct | string replace -r -- '^--[^=]*=' '' | string match -r '.*,')
  printf '%s\n' "$before"$argv
end
function __expiry_exporter_files
  __fish_complete_path (commandline -ct | string replace -r -- '^--[^=]*=' '')
end
function __expiry_exporter_directories
  __fish_complete_directories (commandline -ct | string replace -r -- '^--[^=]*=' '')
end
function __expiry_exporter_targets
  expiry-exporter completion targets (commandline -opc) 2>/dev/null
end
""",
}
"""Functions that the scripts use, by shell."""


def _bash(made: str) -> str:
    """
    Return the script for bash, whose words end at `=` and `:`: `--flag=value` and URLs are three words each.
    """
    return made.replace(
        "complete -o bashdefault -F _shtab_expiry_exporter ",
        """\
_expiry_exporter() {
  local words=() word glued= breaks=${COMP_WORDBREAKS-} at
  for ((at = 0; at <= COMP_CWORD; at++)); do
    word=${COMP_WORDS[at]}
    if [[ $word == = && $at -gt 0 && ${words[${#words[@]}-1]} == --* ]]; then
      # The value is a word of its own, as behind a space.
      ((at < COMP_CWORD)) && continue
      word=
    elif [[ $at -gt 0 && ( -n $glued || $word == :* ) && ${words[${#words[@]}-1]} != -* ]]; then
      words[${#words[@]}-1]+=$word
      [[ $word == *: ]] && glued=1 || glued=
      continue
    fi
    words+=("$word")
  done
  local COMP_WORDS=("${words[@]}") COMP_CWORD=$((${#words[@]} - 1))
  word=${words[COMP_CWORD]}
  _shtab_expiry_exporter
  if [[ $word == *:* && $breaks == *:* ]]; then
    # Bash replaces only what stands behind the last colon.
    word=${word%"${word##*:}"}
    COMPREPLY=("${COMPREPLY[@]#"$word"}")
  fi
}

complete -o bashdefault -F _expiry_exporter """,
    )


def _zsh(made: str) -> str:
    """
    Return the script for zsh with `--flag=value` besides `--flag value`, and a value that may be repeated.
    """
    made = re.sub(r'^(  "\*?--[\w.-]+)(\[.*\]:\w+:)', r"\1=\2", made, flags=re.MULTILINE)
    return made.replace('  "(*)::', '  "*:')


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """
    Yield the flags of a parser and of its commands.
    """
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way
        yield action
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - as above
            for command in action.choices.values():
                yield from _actions(command)
