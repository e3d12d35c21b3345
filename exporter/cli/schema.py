"""
`expiry-exporter schema`: the JSON schema of the configuration, for editors.
"""

import argparse
import json
import sys

from exporter.config.json_schema import json_schema

DESCRIPTION = """\
Print the JSON schema of the configuration. An editor that knows it completes keys
and marks mistakes while you type."""


EXAMPLES = """\
examples:
  expiry-exporter schema > expiry.schema.json
      beside expiry.yml, whose first line then is:
          # yaml-language-server: $schema=expiry.schema.json

  check-jsonschema --schemafile expiry.schema.json expiry.yml
      in a pipeline without the exporter; with it, --config.check says more
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """
    Add the help.
    """
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES


def run(_: argparse.Namespace) -> int:
    """
    Print the schema, and return the exit code.
    """
    sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n")
    return 0
