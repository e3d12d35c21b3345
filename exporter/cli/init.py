"""
`expiry-exporter init`: a configuration to begin with.
"""

import argparse
import json
import re
import sys
from pathlib import Path

from exporter.cli import output_file
from exporter.cli.arguments import DEFAULT_CONFIG
from exporter.cli.output_file import OutputError
from exporter.cli.shorthand import meant
from exporter.config import values
from exporter.model.hosts import TargetError
from exporter.net.regular_files import is_there

DESCRIPTION = """\
Write a short configuration with comments, to begin with. It never replaces a file
unless you say so."""


EXAMPLES = """\
examples:
  expiry-exporter init
      write expiry.yml into this directory

  expiry-exporter init https://www.example.com smtp://mail.example.com
      with these targets

  expiry-exporter init --all --output-file every-key.yml
      the example that has every key there is
"""


START = """\
# yaml-language-server: $schema=expiry.schema.json
# Configuration of expiry-exporter. So that your editor completes it:
#   expiry-exporter schema > expiry.schema.json
# `expiry-exporter --config.file={file} --config.check` says what is wrong with it,
# `expiry-exporter check --config.file={file}` probes everything once.
# Every key there is: expiry-exporter init --all --output-file every-key.yml

# Settings of all targets, unless a target has its own.
# defaults:
#   labels:
#     team: example        # on metrics and alerts: whom to call

targets:
{targets}
  # - url: https://shop.example.com
  #   name: shop           # in alerts; without it, the URL
  #   policy: manual       # a person renews it: alerts come earlier than for an ACME client
  # - smtp://mail.example.com
  # - tls://ldap.example.com:636
  # - domain:example.com
  # - file:///etc/letsencrypt/live/*/fullchain.pem
  # - kubernetes://*/*     # Secrets of all namespaces of the cluster it runs in
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """
    Add the flags and the help.
    """
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    parser.add_argument("targets", nargs="*", metavar="URL", help="what to probe (default: an example)")
    parser.add_argument("--all", action="store_true", help="every key there is, with an example of each")
    output_file.add_flags(parser, DEFAULT_CONFIG)


def run(options: argparse.Namespace) -> int:
    """
    Write the file, and return the exit code.
    """
    file: Path = options.output_file
    try:
        text = _every_key() if options.all else start(options.targets, file)
    except TargetError as error:
        return _fail(str(error), 2)
    try:
        if output_file.write(text, options):
            # Of the example there is nothing to run: it names files and variables that only its reader has.
            begin = "" if Path(DEFAULT_CONFIG).exists() else " Next: expiry-exporter init"
            copied = f"Copy what you need: its hosts and password files are examples.{begin}"
            probed = f"Next: expiry-exporter check --config.file={file}"
            sys.stdout.write(f"{file}: written. {copied if options.all else probed}\n")
    except OutputError as error:
        return _fail(str(error), 1)
    return 0


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"expiry-exporter init: {message}\n")
    return code


def start(targets: list[str], file: Path) -> str:
    """
    Return a configuration with these targets: URLs, hosts or paths. Raises TargetError. Prints what may be
    meant otherwise.
    """
    shown = []
    for text in targets or ["https://www.example.com"]:
        if re.search(r"\.ya?ml$", text) and "://" not in text and not is_there(text):
            raise TargetError(
                f"there is no file {text} to watch: --output-file={text} names the file to write"
            )
        url, remark = meant(text, ())
        values.url(url)
        if remark:
            sys.stderr.write(f"expiry-exporter init: {remark}\n")
        # JSON's quotes are YAML's too.
        shown.append(
            f"  - {json.dumps(url)}" if any(one in url for one in "*?[]{}#,&!|'\"%@`") else f"  - {url}"
        )
    # Whoever writes to standard output chooses the name: the comments take the usual one.
    return START.format(file=DEFAULT_CONFIG if str(file) == "-" else file, targets="\n".join(shown))


def _every_key() -> str:
    return (Path(values.__file__).parent / "example.yml").read_text("utf-8")
