"""
The configuration: what is accepted, and every fault with its line, its path and what would be right.
"""

import os
import random
import socket
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from exporter.config import schema
from exporter.config import settings as module
from exporter.config.reader import load, parse
from exporter.config.settings import Config, target_for
from exporter.model.hosts import TargetError
from exporter.model.policies import (
    AUTOMATIC,
    BUILT_IN,
    BY_KIND,
    DAY,
    DOMAIN,
    HOUR,
    MANUAL,
    Before,
    Match,
    Policy,
)
from exporter.model.reasons import Kind
from exporter.model.schemes import ALL_SCHEMES
from exporter.model.suggestions import closest
from exporter.model.targets import RESERVED_LABELS, Target, fingerprint
from exporter.model.urls import parse_url
from exporter.yaml_lines import ConfigError, ConfigFault

EXAMPLE = Path(module.__file__).parent / "example.yml"
SCHEMES = f"another scheme. {ALL_SCHEMES}"
*_KINDS, _LAST_KIND = (f"'{kind}'" for kind in Kind)
KINDS = f"{', '.join(_KINDS)} or {_LAST_KIND}"
"""All that can be probed, as messages list them."""


def read(text: str, environ: Mapping[str, str] | None = None) -> Config:
    """
    The configuration in this text.
    """
    return parse(text.encode(), "expiry.yml", environ or {})


def faults(text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    """
    The messages of the faults in this text, without the name of the file.
    """
    with pytest.raises(ConfigError) as error:
        read(text, environ)
    return [str(fault).removeprefix("expiry.yml:") for fault in error.value.faults]


def target(settings_of_it: str) -> Target:
    """
    The one target `https://a` with these settings, written in flow style.
    """
    return read(f"targets: [{{url: https://a, {settings_of_it}}}]").targets[0]


# One bad file, one exact message.

NO_PASSWORD = "a password is not written here: use credentials_file; in a path write %40 for '@'"
BAD_FILES = {
    # The document
    "empty": ("", '1: the file is empty: the shortest useful one is "targets: [https://www.example.com]"'),
    "only comments": (
        "# targets:\n# - https://a\n",
        '1: the file is empty: the shortest useful one is "targets: [https://www.example.com]"',
    ),
    "null": ("~", '1: the file is empty: the shortest useful one is "targets: [https://www.example.com]"'),
    "a list": (
        "- https://a",
        (
            "1: must be a mapping with the keys defaults, policies, modules, targets, discover, coverage, "
            "probe, acme: targets go under 'targets:'"
        ),
    ),
    "a text": (
        "https://a",
        (
            "1: must be a mapping with the keys defaults, policies, modules, targets, discover, coverage, "
            "probe, acme: targets go under 'targets:'"
        ),
    ),
    "two documents": (
        "targets: []\n---\ntargets: []\n",
        (
            "2: is not valid YAML: but found another document (it starts with this '---': put "
            "everything into one)"
        ),
    ),
    "NUL": ("targets: []\n\0", "2: is not UTF-8 text: control characters are not allowed"),
    "escape": ("a:\n  \x1b[1m", "2: is not UTF-8 text: control characters are not allowed"),
    "NUL by escape": (
        'targets:\n- {url: https://a, ca_file: "a\\0b"}',
        "2: targets[0].ca_file: holds the character NUL, which no setting may have",
    ),
    "NUL in a label": (
        'targets:\n- {url: https://a, labels: {team: "a\\0b"}}',
        "2: targets[0].labels.team: holds the character NUL, which no setting may have",
    ),
    # YAML
    "tab": (
        "targets:\n\t- https://a",
        (
            "2: is not valid YAML: found character that cannot start any token (indent with spaces, "
            "not tabs; a value that starts like this needs quotes)"
        ),
    ),
    "colon in a value": (
        "targets: a: b",
        (
            "1: is not valid YAML: mapping values are not allowed in this context "
            "(a value with ': ' in it needs quotes, else check the indentation)"
        ),
    ),
    "space missing after a key": (
        "targets:\n- url:https://a.example\n  name: a",
        (
            "3: is not valid YAML: mapping values are not allowed in this context "
            "(a space is missing in the line above, write - url: https://a.example)"
        ),
    ),
    "key missing": (
        "targets:\n- https://a.example\n  name: a",
        (
            "3: is not valid YAML: mapping values are not allowed in this context "
            "(an element with keys begins with one, write the line above as - url: https://a.example)"
        ),
    ),
    "unknown tag": (
        "targets:\n- !include https://a",
        "2: targets[0]: tags such as !!binary or !include are not supported; text with '!' needs quotes",
    ),
    "cycle": (
        "targets: &a\n- *a",
        (
            "1: targets[0]: lists and mappings are nested more than 32 deep, counting what aliases "
            "(*name) repeat"
        ),
    ),
    "cycle by merge": (
        "defaults: &a\n  <<: *a",
        (
            "1: defaults: lists and mappings are nested more than 32 deep, counting what aliases "
            "(*name) repeat"
        ),
    ),
    "merge of a fault": (
        "x-a: &a {tiemout: 1s}\ntargets:\n- url: https://a\n  <<: *a",
        "1: targets[0].tiemout: unknown key: did you mean 'timeout'?",
    ),
    "variable of the environment": (
        "targets:\n- https://${HOST}",
        (
            "2: targets[0]: '${host}' is not a host name (variables of the environment are not expanded "
            "here: write the value itself)"
        ),
    ),
    "two anchors of a name": (
        "targets:\n- &a https://a\n- &a https://b",
        "3: is not valid YAML: second occurrence (an anchor (&name) of this name stands above)",
    ),
    "name in an incomplete quote": (
        "targets: ['https://a",
        "1: is not valid YAML: found unexpected end of stream (a quote that is opened here is not closed)",
    ),
    "a quote that is never closed": (
        'targets:\n- "https://a\n- https://b\n- https://c\n',
        "2: is not valid YAML: found unexpected end of stream (a quote that is opened here is not closed)",
    ),
    "a quote that the next line closes": (
        'targets:\n- "https://a\n- "https://b"\n',
        (
            "2: is not valid YAML: did not find expected key "
            "(a quote that is opened here is not closed, or closed too early)"
        ),
    ),
    "a quote that a later line closes": (
        'targets:\n- url: https://a\n  name: "shop\n  interval: 1m\n  labels: {team: "x"}\n- https://b\n',
        (
            "3: is not valid YAML: did not find expected key "
            "(a quote that is opened here is not closed, or closed too early)"
        ),
    ),
    "a single quote that the next line closes": (
        "targets:\n- 'https://a\n- 'https://b'\n- 'https://c'\n",
        (
            "2: is not valid YAML: did not find expected key "
            "(a quote that is opened here is not closed, or closed too early)"
        ),
    ),
    "a quote that the next one of its line closes": (
        'defaults:\n  labels: {team: "x, env: "y"}\ntargets: []\n',
        (
            "2: is not valid YAML: did not find expected ',' or '}' "
            "(a quote that is opened here is not closed, or closed too early)"
        ),
    ),
    "a bracket that is never closed": (
        "targets: [https://a, https://b\nprobe: {}",
        (
            "2: is not valid YAML: did not find expected ',' or ']' "
            "(a [ or { above is not closed, or a comma is missing)"
        ),
    ),
    "a pattern without quotes": (
        "targets:\n- *.example.com",
        (
            "2: is not valid YAML: did not find expected alphabetic or numeric character "
            "(a value that starts with '*' or '&' needs quotes)"
        ),
    ),
    "a key without a space": (
        "targets:\n- url: https://a\n  timeout:5s\n",
        (
            "4: is not valid YAML: could not find expected ':' "
            "(a key has a colon and a space behind it; see also the line above)"
        ),
    ),
    "a configuration of Prometheus": (
        "scrape_configs: []",
        (
            "1: scrape_configs: unknown key: this is Prometheus's: "
            "`expiry-exporter migrate --prometheus FILE` takes targets over"
        ),
    ),
    "alias without anchor": (
        "targets: *a",
        (
            "1: is not valid YAML: found undefined alias (an alias (*name) needs an anchor (&name) "
            "above it; text with '*' needs quotes)"
        ),
    ),
    "deep": (
        f"targets: {'[' * 40}",
        ("1: lists and mappings are nested more than 32 deep, counting what aliases (*name) repeat"),
    ),
    "duplicate section": (
        "targets: []\ntargets: []",
        "2: targets: is written twice, first in line 1: remove one",
    ),
    "duplicate setting": (
        "targets:\n- url: https://a\n  timeout: 1s\n  timeout: 2s",
        "4: targets[0].timeout: is written twice, first in line 3: remove one",
    ),
    "duplicate policy": (
        "policies:\n  a: {warning: 2d, critical: 1d}\n  a: {warning: 3d, critical: 1d}",
        "3: policies.a: is written twice, first in line 2: remove one",
    ),
    "key is a mapping": (
        "targets: []\n{a: b}: 1",
        "2: a key must be text; a value that starts with '{' or '[' needs quotes",
    ),
    "key is nothing": (
        "defaults:\n  labels:\n    ~: x",
        "3: defaults.labels: a key must be text; a value that starts with '{' or '[' needs quotes",
    ),
    "merge of a text": (
        "defaults:\n  <<: x",
        "2: defaults: << takes a mapping, or a list of mappings: <<: *name",
    ),
    # Top level
    "unknown section": ("target: []", "1: target: unknown key: did you mean 'targets'?"),
    "unknown section, nothing close": (
        "x: 1",
        "1: x: unknown key: known are acme, coverage, defaults, discover, modules, policies, probe, targets",
    ),
    "odd key": (
        '"a\\nb": 1',
        (
            "1: ['a\\nb']: unknown key: known are acme, coverage, defaults, discover, modules, policies, "
            "probe, targets"
        ),
    ),
    "targets is a mapping": (
        "targets: {url: https://a}",
        "1: targets: must be a list (lines that start with '- ')",
    ),
    "targets is a text": (
        "targets: https://a",
        "1: targets: must be a list (lines that start with '- ')",
    ),
    "defaults is a list": (
        "targets: []\ndefaults: []",
        "2: defaults: must be a mapping (lines of 'key: value')",
    ),
    "policies is a text": ("policies: x", "1: policies: must be a mapping (lines of 'key: value')"),
    "probe is a list": ("probe: ['*']", "1: probe: must be a mapping (lines of 'key: value')"),
    "allow is a text": (
        "probe: {allow: '*'}",
        "1: probe.allow: must be a list (lines that start with '- ')",
    ),
    "allow is nothing": ("probe:\n  allow:", "2: probe.allow: has no value: write one, or remove the key"),
    "allow holds nothing": (
        "probe:\n  allow:\n  - '*'\n  -",
        "4: probe.allow[1]: has no value: write one, or remove the key",
    ),
    "url in defaults": (
        "defaults:\n  url: https://a",
        f"2: defaults.url: unknown key: {closest('url', schema.Settings.model_fields)}",
    ),
    # Targets
    "target is nothing": ("targets:\n-", "2: targets[0]: has no value: write one, or remove the key"),
    "target is a list": (
        "targets:\n- [https://a]",
        "2: targets[0]: must be a mapping (lines of 'key: value')",
    ),
    "target without url": ("targets:\n- name: a", "2: targets[0]: the key 'url' is missing"),
    "target without scheme": (
        "targets:\n- a.example",
        "2: targets[0]: 'a.example' has no scheme: write https://a.example, or " + SCHEMES,
    ),
    "url without scheme": (
        "targets:\n- name: a\n  url: a.example",
        "3: targets[0].url: 'a.example' has no scheme: write https://a.example, or " + SCHEMES,
    ),
    "url is a list": (
        "targets:\n- url: [https://a]",
        "2: targets[0].url: must be a text, not a list or a mapping",
    ),
    "long url": (
        f"targets: [https://{'a' * 2041}]",
        "1: targets[0]: a URL has at most 2048 characters, this one has 2049",
    ),
    "unknown setting": (
        "targets:\n- url: https://a\n  tiemout: 1s",
        "3: targets[0].tiemout: unknown key: did you mean 'timeout'?",
    ),
    "setting without value": (
        "targets:\n- url: https://a\n  timeout:",
        "3: targets[0].timeout: has no value: write one, or remove the key",
    ),
    "timeout with a space": (
        "defaults: {timeout: 10 s}",
        "1: defaults.timeout: '10 s' is not a duration: write it like 10s, 1m30s, 500ms, 6h, 30d or 2w",
    ),
    "timeout in base 60": (
        "defaults: {timeout: 1:30}",
        "1: defaults.timeout: '1:30' is not a duration: write it like 10s, 1m30s, 500ms, 6h, 30d or 2w",
    ),
    "timeout empty": (
        "defaults: {timeout: ''}",
        "1: defaults.timeout: '' is not a duration: write it like 10s, 1m30s, 500ms, 6h, 30d or 2w",
    ),
    "timeout 0": (
        "defaults: {timeout: 0}",
        "1: defaults.timeout: must be more than 0 and at most 10m, not 0",
    ),
    "timeout long": (
        "defaults: {timeout: 10m1s}",
        "1: defaults.timeout: must be more than 0 and at most 10m, not 10m1s",
    ),
    "interval too long": (
        "defaults: {interval: 5w}",
        "1: defaults.interval: must be from 1s to 30d, not 5w",
    ),
    "interval of a policy without a unit": (
        "policies: {manual: {interval: 60}}",
        "1: policies.manual.interval: '60' has no unit: write 60s if that is meant",
    ),
    "timeout is a mapping": (
        "defaults: {timeout: {s: 1}}",
        "1: defaults.timeout: must be a text, not a list or a mapping",
    ),
    "source without one": (
        "discover: [{}]",
        (
            "1: discover[0]: each element has one source: known are kubernetes, web_servers, stores, zone, "
            "listening, networks, certificate_transparency, files, http"
        ),
    ),
    "two sources in one element": (
        "discover:\n- files: a\n  http: https://a",
        "2: discover[0]: each element has one source: this has files and http",
    ),
    "source without value": (
        "discover:\n- files:",
        "2: discover[0].files: has no value: write one, or remove the key",
    ),
    "source with a pattern of namespaces": (
        "discover:\n- kubernetes: {namespaces: [a, team-*]}",
        (
            "2: discover[0].kubernetes.namespaces[1]: must be the name of a namespace, without wildcards; "
            "without the key all are looked at"
        ),
    ),
    "source with a kind that is not looked at": (
        "discover:\n- kubernetes: {resources: [pods]}",
        (
            "2: discover[0].kubernetes.resources[0]: must be 'ingresses', 'gateways', 'routes', 'services', "
            "'secrets' or 'certificates'"
        ),
    ),
    "source with a misspelt key": (
        "discover:\n- zone: {name: a, sever: b, file: c}",
        "2: discover[0].zone.sever: unknown key: did you mean 'server'?",
    ),
    "source with a port that is none": (
        "discover:\n- networks: {cidr: 10.0.0.0/24, ports: [70000]}",
        "2: discover[0].networks.ports[0]: must be at most 65535",
    ),
    "source with a rate that is none": (
        "discover:\n- networks: {cidr: 10.0.0.0/24, rate: 0}",
        "2: discover[0].networks.rate: must be more than 0",
    ),
    "limit of a source that is none": (
        "discover:\n- files: a\n  limit: many",
        "3: discover[0].limit: must be a whole number",
    ),
    "policy of a source that is not there": (
        "discover:\n- files: a\n  policy: manul",
        "3: discover[0].policy: there is no policy 'manul': did you mean 'manual'?",
    ),
    "label of a source with a meaning": (
        "discover:\n- files: a\n  labels: {source: x}",
        "3: discover[0].labels.source: the label 'source' has a meaning already: choose another name",
    ),
    "password in the URL of a source": (
        "discover:\n- http: https://user:secret@inventory",
        f"2: discover[0].http: {NO_PASSWORD}",
    ),
    "password with a slash in the URL of a source": (
        "discover:\n- http: https://me:123/secret@inventory",
        f"2: discover[0].http: {NO_PASSWORD}",
    ),
    "two sources of one name": (
        "discover:\n- {files: a, name: x}\n- {files: b, name: x}",
        "3: discover[1].name: another source has this name: choose one of its own",
    ),
    "unknown policy": (
        "targets:\n- url: https://a\n  policy: manul",
        "3: targets[0].policy: there is no policy 'manul': did you mean 'manual'?",
    ),
    "unknown policy, nothing close": (
        "defaults: {policy: x}",
        f"1: defaults.policy: there is no policy 'x': known are {', '.join(sorted(BUILT_IN))}",
    ),
    "server name": ("defaults: {server_name: a b}", "1: defaults.server_name: 'a b' is not a host name"),
    "address family": (
        "defaults: {address_family: inet6}",
        "1: defaults.address_family: must be 'any', 'ipv4' or 'ipv6'",
    ),
    "addresses": ("defaults: {addresses: [x]}", "1: defaults.addresses: must be 'all' or 'first'"),
    "keys": ("defaults: {keys: rsa}", "1: defaults.keys: must be 'any' or 'both'"),
    "crl": ("defaults: {crl: maybe}", "1: defaults.crl: must be true or false"),
    "ocsp is a list": ("defaults: {ocsp: [yes]}", "1: defaults.ocsp: must be true or false"),
    "ACME directory, no URL": (
        "acme: {Example: acme.example.com}",
        "1: acme.Example: must be the URL of an ACME directory, like https://ca.example.com/acme/directory",
    ),
    "ACME directory with a password": (
        "acme:\n  Example: https://user:word@acme.example.com/",
        "2: acme.Example: must be the URL of an ACME directory, like https://ca.example.com/acme/directory",
    ),
    "ACME directory with a password with a slash": (
        "acme:\n  Example: https://me:123/secret@acme.example.com/",
        "2: acme.Example: must be the URL of an ACME directory, like https://ca.example.com/acme/directory",
    ),
    "ca_file empty": ("defaults: {ca_file: ''}", "1: defaults.ca_file: must not be empty"),
    "name empty": (
        "targets:\n- url: https://a\n  name: ' '",
        "3: targets[0].name: a name (without one, the URL) is 1 to 300 printable characters",
    ),
    "name of this directory": (
        "targets:\n- url: https://a\n  name: .",
        "3: targets[0].name: '.' can't be a name: no link to its page would work",
    ),
    "name of the directory above": (
        "targets:\n- url: https://a\n  name: ..",
        "3: targets[0].name: '..' can't be a name: no link to its page would work",
    ),
    "name with a line end": (
        'targets:\n- url: https://a\n  name: "a\\nb"',
        "3: targets[0].name: a name (without one, the URL) is 1 to 300 printable characters",
    ),
    "name long": (
        f"targets:\n- url: https://a\n  name: {'a' * 301}",
        "3: targets[0].name: a name (without one, the URL) is 1 to 300 printable characters",
    ),
    "default name long": (
        f"targets:\n- file:///{'a/' * 150}",
        "2: targets[0]: a name (without one, the URL) is 1 to 300 printable characters",
    ),
    "one name, two targets": (
        "targets:\n- https://a\n- url: https://a\n  timeout: 1s",
        (
            "3: targets[1]: targets[0] in line 2 has the same name and other settings: "
            "give one of them a `name:` of its own"
        ),
    ),
    # Labels
    "labels is a list": (
        "defaults: {labels: [a]}",
        "1: defaults.labels: must be a mapping (lines of 'key: value')",
    ),
    "label name": (
        "defaults: {labels: {a-b: c}}",
        (
            "1: defaults.labels.a-b: a label's name has only letters, digits and '_', "
            "and does not begin with a digit"
        ),
    ),
    "label name with a line end": (
        'defaults: {labels: {"a\\n": c}}',
        (
            "1: defaults.labels['a\\n']: a label's name has only letters, digits and '_', "
            "and does not begin with a digit"
        ),
    ),
    "label of Prometheus": (
        "defaults: {labels: {__a: b}}",
        "1: defaults.labels.__a: labels that begin with '__' belong to Prometheus: choose another name",
    ),
    "label without value": (
        "defaults:\n  labels:\n    team:",
        "3: defaults.labels.team: has no value: write one, or remove the key",
    ),
    "label is a list": (
        "defaults: {labels: {team: [a]}}",
        "1: defaults.labels.team: must be a text, not a list or a mapping",
    ),
    "label long": (
        f"defaults: {{labels: {{team: {'a' * 257}}}}}",
        "1: defaults.labels.team: must have at most 256 characters",
    ),
    # Client certificates
    "client certificate is a text": (
        "defaults: {client_certificate: a.pem}",
        "1: defaults.client_certificate: must be a mapping (lines of 'key: value')",
    ),
    "client certificate without file": (
        "defaults: {client_certificate: {key_file: a.key}}",
        "1: defaults.client_certificate: the key 'cert_file' is missing",
    ),
    "client certificate, unknown key": (
        "defaults: {client_certificate: {cert_file: a, cert: a}}",
        "1: defaults.client_certificate.cert: unknown key: did you mean 'cert_file'?",
    ),
    "client certificate, key file without value": (
        "defaults: {client_certificate: {cert_file: a, key_file: }}",
        "1: defaults.client_certificate.key_file: has no value: write one, or remove the key",
    ),
    "password inline": (
        "defaults: {client_certificate: {cert_file: a, password: hunter2}}",
        (
            "1: defaults.client_certificate.password: a pass phrase is not written here: "
            "use password_file or password_env"
        ),
    ),
    "two passwords": (
        "defaults: {client_certificate: {cert_file: a, password_env: A, password_file: b}}",
        "1: defaults.client_certificate: password_file and password_env exclude each other: remove one",
    ),
    "variable not set": (
        "defaults: {client_certificate: {cert_file: a, password_env: ABSENT}}",
        (
            "1: defaults.client_certificate.password_env: the environment variable of this name is "
            "not set or empty"
        ),
    ),
    "variable empty": (
        "defaults: {client_certificate: {cert_file: a, password_env: EMPTY}}",
        (
            "1: defaults.client_certificate.password_env: the environment variable of this name is "
            "not set or empty"
        ),
    ),
    "password file missing": (
        "defaults: {client_certificate: {cert_file: a, password_file: no/such/file}}",
        (
            "1: defaults.client_certificate.password_file: there is no regular file of this name; "
            "paths are relative to this configuration"
        ),
    ),
    # Policies
    "policy is nothing": ("policies:\n  a:", "2: policies.a: has no value: write one, or remove the key"),
    "policy is a text": (
        "policies:\n  a: 30d",
        "2: policies.a: must be a mapping (lines of 'key: value')",
    ),
    "policy of a built-in name": (
        "policies: {manual: {warning: 2d, critical: 1d}}",
        (
            "1: policies.manual: the policy 'manual' is built in, only its `match`, `unseen`, `interval` and "
            "`issuers` may be set: choose another name for deadlines of your own, and name it in `policy`"
        ),
    ),
    "match of a built-in policy, wrong": (
        "policies: {manual: {match: {schemes: [smpt]}}}",
        f"1: policies.manual.match.schemes[0]: there is no scheme 'smpt': did you mean 'smtp'? {ALL_SCHEMES}",
    ),
    "built-in policy, unknown key": (
        "policies: {manual: {match: {}, matches: {}}}",
        "1: policies.manual.matches: unknown key: did you mean 'match'?",
    ),
    "deadline of a built-in policy beside what may be set": (
        "policies: {manual: {unseen: 2d, critical: 1d}}",
        (
            "1: policies.manual: the policy 'manual' is built in, only its `match`, `unseen`, `interval` and "
            "`issuers` may be set: choose another name for deadlines of your own, and name it in `policy`"
        ),
    ),
    "unseen for too short": (
        "policies: {manual: {unseen: 5s}}",
        "1: policies.manual.unseen: must be 1m or more: a single probe may fail anywhere",
    ),
    "issuers of nothing": (
        "targets: [{url: 'https://a', issuers: []}]",
        "1: targets[0].issuers: must not be empty: name the CAs, or write `any`",
    ),
    "issuers by a pattern": (
        "targets: [{url: 'https://a', issuers: ['*Encrypt*']}]",
        (
            "1: targets[0].issuers: '*Encrypt*' is a pattern, and whole names are compared: write each name "
            "in full"
        ),
    ),
    "issuers by another fingerprint": (
        f"targets: [{{url: 'https://a', issuers: ['{'d9:7e:d6:04:a7' * 4}']}}]",
        (
            f"1: targets[0].issuers: '{'d9:7e:d6:04:a7' * 4}' is no SHA-256 fingerprint: that has 64 "
            "hexadecimal digits, not 40; `openssl x509 -noout -fingerprint -sha256` prints it"
        ),
    ),
    "issuers by a piece of a fingerprint": (
        "targets: [{url: 'https://a', issuers: ['aa:bb:cc']}]",
        (
            "1: targets[0].issuers: 'aa:bb:cc' is no SHA-256 fingerprint: that has 64 hexadecimal digits, "
            "not 6; `openssl x509 -noout -fingerprint -sha256` prints it"
        ),
    ),
    "issuers by a whole name": (
        "targets: [{url: 'https://a', issuers: ['O=Example Ltd']}]",
        (
            "1: targets[0].issuers: 'O=Example Ltd' is a whole distinguished name: write the common name or "
            "the organization alone"
        ),
    ),
    "any issuer and others": (
        "targets: [{url: 'https://a', issuers: [any, Example]}]",
        "1: targets[0].issuers: `any` stands alone: remove it, or the others",
    ),
    "issuers, empty name": (
        "policies: {manual: {issuers: ['']}}",
        (
            "1: policies.manual.issuers: each is a common name, an organization or a SHA-256 fingerprint: "
            "1 to 256 printable characters"
        ),
    ),
    "match of nothing": (
        "policies: {a: {warning: 2d, critical: 1d, match: {issuers: []}}}",
        "1: policies.a.match.issuers: must not be empty: name what it is for, or remove the key",
    ),
    "match, unknown key": (
        "policies: {a: {warning: 2d, critical: 1d, match: {issuer: a}}}",
        "1: policies.a.match.issuer: unknown key: did you mean 'issuers'?",
    ),
    "match, unknown kind": (
        "policies: {a: {warning: 2d, critical: 1d, match: {kinds: [leef]}}}",
        f"1: policies.a.match.kinds[0]: must be {KINDS}",
    ),
    "policy name": (
        'policies: {"": {warning: 2d, critical: 1d}}',
        "1: policies['']: a name (without one, the URL) is 1 to 300 printable characters",
    ),
    "policy, unknown key": (
        "policies: {a: {warning: 2d, critical: 1d, warn: 1d}}",
        "1: policies.a.warn: unknown key: did you mean 'warning'?",
    ),
    "policy without critical": (
        "policies: {a: {warning: 2d}}",
        "1: policies.a: the key 'critical' is missing",
    ),
    "policy with critical only": (
        "policies: {a: {critical: 2d}}",
        "1: policies.a: must set renewal_due or warning, or both, besides critical",
    ),
    "deadline without unit": (
        "policies: {a: {warning: 30, critical: 2d}}",
        "1: policies.a.warning: '30' has no unit: write 30d if that is meant",
    ),
    "deadline 0": (
        "policies: {a: {warning: 30d, critical: 0s}}",
        "1: policies.a.critical: must be more than 0: told at the end is told too late",
    ),
    "deadline without value": (
        "policies: {a: {warning: , critical: 1d}}",
        "1: policies.a.warning: has no value: write one, or remove the key",
    ),
    "deadline is a mapping": (
        "policies: {a: {warning: {d: 1}, critical: 1d}}",
        "1: policies.a.warning: must be a text, not a list or a mapping",
    ),
    "share 0": (
        "policies: {a: {warning: 10%, critical: 0%}}",
        (
            "1: policies.a.critical: must be more than 0% and at most 50% of the lifetime, not 0%: "
            "nothing is due before the first half of its lifetime is over"
        ),
    ),
    "share large": (
        "policies: {a: {warning: 50.1%, critical: 1d}}",
        (
            "1: policies.a.warning: must be more than 0% and at most 50% of the lifetime, not 50.1%: "
            "nothing is due before the first half of its lifetime is over"
        ),
    ),
    "share not a number": (
        "policies: {a: {warning: x%, critical: 1d}}",
        "1: policies.a.warning: 'x%' is not a share of the lifetime: write it like 33%",
    ),
    "two durations": (
        "policies: {a: {warning: [30d, 4w], critical: 1d}}",
        (
            "1: policies.a.warning: a list must hold one share and one duration, like [33%, 30d]: "
            "the lesser counts"
        ),
    ),
    "no deadline": (
        "policies: {a: {warning: [], critical: 1d}}",
        (
            "1: policies.a.warning: a list must hold one share and one duration, like [33%, 30d]: "
            "the lesser counts"
        ),
    ),
    "warning before renewal is due": (
        "policies:\n  a:\n    renewal_due: 30d\n    warning: 31d\n    critical: 1d",
        (
            "4: policies.a.warning: must not leave more time than renewal_due: 31 d against 30 d "
            "when the lifetime is 90 d"
        ),
    ),
    "critical with warning": (
        "policies:\n  a:\n    warning: 14d\n    critical: 2w",
        (
            "4: policies.a.critical: must leave less time than the warning: 14 d against 14 d when "
            "the lifetime is 90 d"
        ),
    ),
    "critical before warning, shares": (
        "policies: {a: {warning: 33%, critical: 45%}}",
        (
            "1: policies.a.critical: must leave less time than the warning: 0.45 d against 0.33 d "
            "when the lifetime is 1 d"
        ),
    ),
    "critical before warning, mixed": (
        "policies: {a: {warning: 10d, critical: 33%}}",
        (
            "1: policies.a.critical: must leave less time than the warning: 29.7 d against 10 d "
            "when the lifetime is 90 d"
        ),
    ),
    "warning before renewal is due, mixed": (
        "policies: {a: {renewal_due: 10%, warning: 30d, critical: [1%, 1d]}}",
        (
            "1: policies.a.warning: must not leave more time than renewal_due: 30 d against 9 d "
            "when the lifetime is 90 d"
        ),
    ),
    "critical before renewal is due": (
        "policies: {a: {renewal_due: 33%, critical: 34%}}",
        (
            "1: policies.a.critical: must leave less time than the warning: 0.34 d against 0.205 d "
            "when the lifetime is 1 d (without `warning`, people are warned when the renewal is "
            "late)"
        ),
    ),
    "critical before renewal is late": (
        "policies: {a: {renewal_due: 45d, critical: 40d}}",
        (
            "1: policies.a.critical: must leave less time than the warning: 40 d against 40 d when "
            "the lifetime is 398 d (without `warning`, people are warned when the renewal is late)"
        ),
    ),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_one_bad_file_gives_one_exact_message(name: str) -> None:
    """
    Line, path, what is wrong and what would be right.
    """
    text, message = BAD_FILES[name]
    assert faults(text, {"EMPTY": ""}) == [message]


@pytest.mark.parametrize("label", sorted(RESERVED_LABELS))
def test_reserved_labels_are_refused(label: str) -> None:
    """
    A user's label never hides one of ours, or one that Prometheus sets.
    """
    assert faults(f"targets: [{{url: https://a, labels: {{{label}: x}}}}]") == [
        f"1: targets[0].labels.{label}: the label '{label}' has a meaning already: choose another name"
    ]


def test_all_faults_are_told_at_once_in_the_order_of_the_file() -> None:
    """
    Nobody mends a file one reload at a time.
    """
    text = """\
targets:
  - https://good.example
  - bad.example
  - url: https://a.example
    timeout: 1 s
    tiemout: 1s
    labels: {job: x, team: }
  - url: https://b.example
    policy: broken
  - url: https://c.example
    policy: unknown
    name: c
    name: d
policies:
  broken: {critical: 3d}
  wrong: {warning: 1d, critical: 2d}
defaults: {keys: no}
probe: {deny: []}
other: 1
"""
    with pytest.raises(ConfigError) as error:
        read(text)
    assert [(fault.line, fault.path) for fault in error.value.faults] == [
        (3, "targets[1]"),
        (5, "targets[2].timeout"),
        (6, "targets[2].tiemout"),
        (7, "targets[2].labels.job"),
        (7, "targets[2].labels.team"),
        (11, "targets[4].policy"),
        (13, "targets[4].name"),
        (15, "policies.broken"),
        (16, "policies.wrong.critical"),
        (17, "defaults.keys"),
        (18, "probe.deny"),
        (19, "other"),
    ]
    assert str(error.value) == "\n".join(str(fault) for fault in error.value.faults)


def test_a_fault_names_file_line_path_and_message() -> None:
    """
    In the form that editors jump to; what is not known is left out.
    """
    assert str(ConfigFault("expiry.yml", 12, "targets[3].timeout", "is odd")) == (
        "expiry.yml:12: targets[3].timeout: is odd"
    )
    assert str(ConfigFault("expiry.yml", 0, "", "can't be read")) == "expiry.yml: can't be read"


def test_a_fault_inside_an_alias_has_the_line_where_it_is_written() -> None:
    """
    The line to change is the anchor's, and each target that uses it is named.
    """
    text = "targets:\n- url: https://a\n  labels: &l\n    job: x\n- url: https://b\n  labels: *l\n"
    assert [fault.partition(": the label")[0] for fault in faults(text)] == [
        "4: targets[0].labels.job",
        "4: targets[1].labels.job",
    ]


# What is accepted.


def test_a_url_is_a_whole_target() -> None:
    """
    Its name is the text as written, everything else is the default.
    """
    assert read("targets: [https://A.example/]") == Config(
        targets=(Target(parse_url("https://A.example/"), "https://A.example/"),)
    )


@pytest.mark.parametrize("text", ["targets: []", "targets:", "{}", "policies:\nprobe:\ndefaults:\ntargets:"])
def test_no_targets_are_a_configuration_for_probe(text: str) -> None:
    """
    A section that is empty, or all commented out, is as good as absent.
    """
    assert replace(read(text), warnings=()) == Config()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10s", 10),
        ("1m30s", 90),
        ("500ms", 0.5),
        ("10m", 600),
        ("'3s'", 3),
        ("1s500ms", 1.5),
    ],
)
def test_timeouts(text: str, seconds: float) -> None:
    """
    A duration, or a number of seconds.
    """
    assert target(f"timeout: {text}").timeout == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    ["2d", "11m", "1s1m", "-1s", "+1", "1e2", ".5", "1_0", "0x1", "nan", "inf", "1.5s", "\u0661", "1s\\n"],
)
def test_other_timeouts_are_refused(text: str) -> None:
    """
    Nothing that has to be guessed at, and nothing longer than ten minutes.
    """
    [fault] = faults(f'defaults: {{timeout: "{text}"}}')
    assert fault.startswith("1: defaults.timeout: ")


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("007", "007"),
        ("1.10", "1.10"),
        ("yes", "yes"),
        ("2026-01-02", "2026-01-02"),
        ("'~'", "~"),
        ("!!str null", "null"),
        ("''", ""),
        ("ä€😀", "ä€😀"),
        ('"two\\nlines"', "two\nlines"),
    ],
)
def test_labels_keep_the_text_that_was_written(written: str, value: str) -> None:
    """
    Whatever YAML would take it for: a team's number keeps its zeros.
    """
    assert target(f"labels: {{team: {written}}}").labels == (("team", value),)


def test_every_setting_arrives_in_its_target(tmp_path: Path) -> None:
    """
    Defaults give what a target does not say; labels are merged, and a target's own win.
    """
    for name in ("ca.pem", "a.pem", "a.key"):
        (tmp_path / name).touch()
    text = """\
policies: {bought: {renewal_due: 45d, warning: 30d, critical: 14d}}
defaults:
  policy: bought
  timeout: 3s
  server_name: Bücher.example
  ca_file: ca.pem
  client_certificate: {cert_file: a.pem, key_file: a.key, password_env: PASS}
  address_family: ipv6
  addresses: first
  keys: both
  labels: {team: web, site: berlin}
targets:
- url: https://a
  labels: {team: pay, app: x}
- url: tls://b:1
  name: b
  policy: domain
  timeout: 4s
  server_name: 192.0.2.1
  ca_file: /etc/ca.pem
  client_certificate: {cert_file: /b.pem}
  address_family: any
  addresses: all
  keys: any
"""
    config = parse(text.encode(), str(tmp_path / "expiry.yml"), {"PASS": "hunter2"})
    bought = Policy(
        "bought",
        Before(duration=45 * DAY),
        warning=Before(duration=30 * DAY),
        critical=Before(duration=14 * DAY),
    )
    assert config.policies == {**BUILT_IN, "bought": bought}
    assert config.targets == (
        Target(
            url=parse_url("https://a"),
            name="https://a",
            policy=bought,
            labels=(("app", "x"), ("site", "berlin"), ("team", "pay")),
            timeout=3,
            server_name="xn--bcher-kva.example",
            ca_file=str(tmp_path / "ca.pem"),
            client_certificate_file=str(tmp_path / "a.pem"),
            client_key_file=str(tmp_path / "a.key"),
            client_key_password="hunter2",
            matches=BY_KIND,
            address_family="ipv6",
            addresses="first",
            keys="both",
        ),
        Target(
            url=parse_url("tls://b:1"),
            name="b",
            policy=DOMAIN,
            matches=(),
            labels=(("site", "berlin"), ("team", "web")),
            timeout=4,
            server_name="192.0.2.1",
            ca_file="/etc/ca.pem",
            client_certificate_file="/b.pem",
        ),
    )


def test_a_policy_that_fits_goes_before_the_default_and_after_the_target_s_own() -> None:
    """
    The target's own, then the first of the file that fits its scheme, then that of `defaults`.
    """
    text = """\
defaults: {policy: domain}
policies:
  tls-only: {warning: 30d, critical: 10d, match: {schemes: [tls]}}
  bought: {warning: 40d, critical: 10d, match: {issuers: ["*DigiCert*"]}}
  manual: {match: {schemes: ["tls://"]}}
targets: [https://a, tls://b:1, {url: tls://c:1, policy: automatic}]
"""
    config = parse(text.encode(), "expiry.yml", {})
    policies = config.policies
    by_issuer = Match(policies["bought"], issuers=("*DigiCert*",))

    https, tls, own = config.targets
    assert (https.policy, https.matches) == (DOMAIN, (by_issuer, *BY_KIND))
    assert (tls.policy, tls.matches[:3]) == (
        policies["tls-only"],
        (Match(policies["tls-only"]), by_issuer, Match(MANUAL)),
    )
    assert (own.policy, own.matches) == (AUTOMATIC, ())
    assert target_for(config, "tls://d:1", None).policy == policies["tls-only"]
    assert target_for(config, "tls://d:1", "manual").matches == ()


@pytest.mark.parametrize(
    ("settings_of_it", "policy"),
    [
        (
            "renewal_due: [33%, 30d], critical: [7d, 12.5%]",
            Policy("a", Before(30 * DAY, 0.33), critical=Before(7 * DAY, 0.125)),
        ),
        (
            "warning: 1d12h, critical: 6h",
            Policy("a", Before(36 * HOUR), warning=Before(36 * HOUR), critical=Before(6 * HOUR), habit=False),
        ),
        (
            "warning: 1d, critical: 6h, habit: true",
            Policy("a", Before(DAY), warning=Before(DAY), critical=Before(6 * HOUR), habit=True),
        ),
        (
            "renewal_due: 60d, critical: 14d, habit: false",
            Policy("a", Before(60 * DAY), critical=Before(14 * DAY), habit=False),
        ),
        (
            "renewal_due: 50%, warning: 2w, critical: [1%, 7d]",
            Policy("a", Before(share=0.5), warning=Before(14 * DAY), critical=Before(7 * DAY, 0.01)),
        ),
        (
            "renewal_due: 60d, warning: 60d, critical: 14d",
            Policy("a", Before(60 * DAY), warning=Before(60 * DAY), critical=Before(14 * DAY)),
        ),
    ],
)
def test_policies(settings_of_it: str, policy: Policy) -> None:
    """
    Deadlines are durations, shares, or both; without renewal_due, renewal is due at the warning, by no habit.
    """
    config = read(f"policies: {{a: {{{settings_of_it}}}}}\ntargets: [{{url: https://a, policy: a}}]")
    assert config.policies["a"] == policy
    assert config.targets[0].policy == policy


def test_an_alias_stands_for_what_its_anchor_has() -> None:
    """
    A text, a list or a mapping, with the lines of the anchor.
    """
    text = """\
defaults: {labels: &l {team: web}, ca_file: &f /a.pem}
targets:
- {url: https://a, labels: *l, timeout: &t 1s}
- {url: https://b, labels: *l, timeout: *t, client_certificate: {cert_file: *f}}
"""
    a, b = read(text).targets
    assert a.labels == b.labels == (("team", "web"),)
    assert (a.timeout, b.timeout, b.client_certificate_file) == (1, 1, "/a.pem")


def test_merge_keys_share_settings_that_stand_elsewhere() -> None:
    """
    Under a key that begins with x-, or at another target; what is written at the target itself wins.
    """
    text = """\
x-shared: &shared {timeout: 2s, labels: {team: web}}
x-more: &more {timeout: 9s, addresses: first}
targets:
- {url: https://a, <<: *shared}
- {<<: [*shared, *more], url: https://b, labels: {team: db}}
"""
    a, b = read(text).targets
    assert (a.timeout, a.labels, a.addresses) == (2, (("team", "web"),), "all")
    assert (b.timeout, b.labels, b.addresses) == (2, (("team", "db"),), "first")


@pytest.mark.parametrize("variable", ["${ENV}", "$ENV", "${ENV:-test}", "$(ENV)"])
def test_a_variable_of_the_environment_is_a_warning(variable: str) -> None:
    """
    Where it is a value that could be meant, in each way in which others write one.
    """
    (warning,) = read(f"targets:\n- {{url: https://a, labels: {{env: '{variable}'}}}}").warnings
    assert "targets[0].labels.env: variables of the environment are not expanded" in warning


def test_targets_that_are_all_commented_out_are_a_warning() -> None:
    """
    An empty list is one too. Whoever sets what /probe may be asked for, or has no such section, means it so.
    """
    (warning,) = read("targets:\n# - https://a\n").warnings
    assert "targets: has no entries" in warning
    assert warning.endswith("are all commented out?")
    (warning,) = read("targets: []").warnings
    assert "targets: has no entries" in warning
    for empty in ("targets: []", "targets:"):
        assert read(f"{empty}\nprobe: {{allow: ['*']}}").warnings == ()
        assert read(f"{empty}\nmodules: {{a: {{scheme: tls}}}}").warnings == ()
        assert read(f"{empty}\ndiscover: [listening: true]").warnings == ()
    assert read("defaults: {timeout: 2s}").warnings == ()
    (warning,) = read("discover:\n# - listening: true").warnings
    assert "discover: has no entries" in warning


def test_a_quoted_merge_key_is_a_plain_key() -> None:
    """
    Only the unquoted sign would merge.
    """
    [fault] = faults("defaults: {'<<': {timeout: 1s}}")
    assert fault.startswith("1: defaults['<<']: unknown key")


def test_the_same_target_twice_is_one_target_and_a_warning() -> None:
    """
    However it is written, if all settings are equal.
    """
    config = read("targets:\n- https://a\n- https://b\n- url: https://a\n  addresses: all\n")
    assert [target.name for target in config.targets] == ["https://a", "https://b"]
    assert config.warnings == (
        "expiry.yml:4: targets[2]: the same target as targets[0] in line 2: it is probed once",
    )


def test_a_path_that_no_file_can_have_is_a_warning() -> None:
    """
    Like that of a missing file: a name that is too long does not end the reader.
    """
    (warning,) = read(f"targets: [{{url: https://a, ca_file: /{'a' * 300}}}]").warnings
    assert "is not a file that can be read" in warning


def test_a_missing_certificate_file_is_a_warning(tmp_path: Path) -> None:
    """
    The other targets must not suffer; the probe will report it.
    """
    text = "targets:\n- url: https://a\n  ca_file: no.pem\n  client_certificate:\n    cert_file: no.pem\n"
    file = tmp_path / "expiry.yml"
    config = parse(text.encode(), str(file), {})
    missing = f"{tmp_path}/no.pem is not a file that can be read: probes that need it fail until it is"
    assert sorted(config.warnings) == [
        f"{file}:3: targets[0].ca_file: {missing}",
        f"{file}:5: targets[0].client_certificate.cert_file: {missing}",
    ]
    assert config.targets[0].ca_file == str(tmp_path / "no.pem")


WIRE, DATAGRAMS = ["https://a", "smtp://a", "tls://a:1"], ["quic://a", "dtls://a:4433"]
FILE, SECRET, DOCUMENT, PLAIN = "file:///a.pem", "kubernetes://a/b", "pem+https://a/b", "pem+http://a/b"
ZONE, REGISTERED = "dns:a.example", "domain:a.example"
EVERY = [*WIRE, *DATAGRAMS, FILE, SECRET, DOCUMENT, PLAIN, ZONE, REGISTERED]

USED = [
    ("issuers: Example", EVERY),
    ("server_name: b", [*WIRE, *DATAGRAMS]),
    (f"ca_file: {__file__}", [*WIRE, *DATAGRAMS, DOCUMENT]),
    (f"client_certificate: {{cert_file: {__file__}}}", [*WIRE, *DATAGRAMS, DOCUMENT]),
    (f"password_file: {Path(__file__).with_name('__init__.py')}", [FILE, SECRET, DOCUMENT, PLAIN]),
    ("password_env: PASS", [FILE, SECRET, DOCUMENT, PLAIN]),
    ("address_family: ipv4", [*WIRE, *DATAGRAMS, ZONE, REGISTERED]),
    ("addresses: first", [*WIRE, *DATAGRAMS]),
    ("keys: both", [*WIRE, "dtls://a:4433"]),
    ("proxy: http://p:3128", [*WIRE, *DATAGRAMS, DOCUMENT, PLAIN]),
    ("proxy_protocol: v2", WIRE),
    ("crl: true", [*WIRE, *DATAGRAMS]),
    ("ocsp: true", [*WIRE, *DATAGRAMS]),
    ("renewal_information: true", [*WIRE, *DATAGRAMS, FILE, SECRET, DOCUMENT, PLAIN]),
    ("dns_checks: true", [*WIRE, *DATAGRAMS]),
    ("dns_servers: [192.0.2.1]", [*WIRE, *DATAGRAMS, ZONE, REGISTERED]),
    ("kubernetes: {selector: a=b}", [SECRET]),
    ("timeout: 3s", EVERY),
    ("interval: 6h", EVERY),
    ("policy: manual", EVERY),
    ("labels: {team: a}", EVERY),
]
"""Each setting with the targets that it is for."""


def test_each_setting_is_known_to_be_for_some_targets_or_all() -> None:
    """
    A new one is not forgotten above.
    """
    assert {setting.partition(":")[0] for setting, _ in USED} == schema.Settings.model_fields.keys()


@pytest.mark.parametrize(("setting", "used"), USED, ids=[setting.partition(":")[0] for setting, _ in USED])
def test_a_setting_that_does_nothing_is_a_warning(setting: str, used: list[str]) -> None:
    """
    It is at the target's own key; `defaults` are for all targets.
    """
    key, environ = setting.partition(":")[0], {"PASS": "phrase"}
    for url in EVERY:
        found = read(f"targets:\n- url: {url}\n  {setting}\n", environ).warnings
        if url in used:
            assert found == ()
            continue
        scheme = url.partition(":")[0]
        (warning,) = found
        assert warning.startswith(f"expiry.yml:3: targets[0].{key}: does nothing here: it is for ")
        assert warning.endswith(f", and this target has {scheme!r}; remove the key")
        assert read(f"defaults: {{{setting}}}\ntargets: ['{url}']", environ).warnings == ()


@pytest.mark.parametrize("setting", [setting for setting, _ in USED], ids=lambda one: one.partition(":")[0])
def test_each_setting_reaches_the_target(setting: str) -> None:
    """
    From the target itself and from `defaults`; without one, a target is as its type says.
    """
    # Of those that are on by themselves, the other value is one that does something.
    written, environ = setting.replace("information: true", "information: false"), {"PASS": "phrase"}
    plain = read("targets: ['https://a']").targets
    assert plain == (Target(parse_url("https://a"), "https://a"),)

    own = read(f"targets: [{{url: 'https://a', {written}}}]", environ).targets
    shared = read(f"defaults: {{{written}}}\ntargets: ['https://a']", environ).targets

    assert own != plain
    if not setting.startswith("policy:"):  # one of the target's own goes before every match
        assert own == shared


def test_a_password_of_the_target_replaces_one_of_another_source(tmp_path: Path) -> None:
    """
    Whether it stands in a file or in the environment.
    """
    path = tmp_path / "password"
    path.write_text("from the file\n")
    of_file, of_env = f"password_file: {path}", "password_env: PASS"
    for shared, own, password in (
        (of_file, of_env, "of the environment"),
        (of_env, of_file, "from the file"),
    ):
        text = f"defaults: {{{shared}}}\ntargets: ['file:///a.p12', {{url: 'file:///b.p12', {own}}}]"
        first, second = read(text, {"PASS": "of the environment"}).targets
        assert (first.password != password, second.password) == (True, password)


@pytest.mark.parametrize(
    "setting",
    ["proxy_protocol: none", "proxy: none", "crl: false", "dns_checks: false", "keys: any", "addresses: all"],
)
def test_a_setting_that_asks_for_nothing_may_stand_anywhere(setting: str) -> None:
    """
    It says what is so in any case.
    """
    assert read(f"targets: [{{url: '{FILE}', {setting}}}]").warnings == ()


# Pass phrases.


@pytest.mark.parametrize(
    ("content", "password"),
    [
        (b"hunter2", "hunter2"),
        (b"hunter2\n", "hunter2"),
        (b"hunter2\r\n", "hunter2"),
        (b" hunter 2 \n\n", " hunter 2 \n"),
        ("pässword\n".encode(), "pässword"),
        (b"x" * 1024 + b"\r\n", "x" * 1024),
    ],
)
def test_a_password_file_loses_its_line_end_and_nothing_else(
    tmp_path: Path, content: bytes, password: str
) -> None:
    """
    An editor adds a line end; a pass phrase may have spaces.
    """
    (tmp_path / "secret").write_bytes(content)
    text = "targets: [{url: https://a, client_certificate: {cert_file: a.pem, password_file: secret}}]"
    [loaded] = parse(text.encode(), str(tmp_path / "expiry.yml"), {}).targets
    assert loaded.client_key_password == password


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file must hold 1 to 1024 bytes: is it the right one?"),
        (b"\n", "the file must hold 1 to 1024 bytes: is it the right one?"),
        (b"\xff\xfe", "the file is not UTF-8 text: is it the right one?"),
        (b"x" * 1025, "the file must hold 1 to 1024 bytes: is it the right one?"),
        (b"x" * 100_000, "the file must hold 1 to 1024 bytes: is it the right one?"),
        (None, "there is no regular file of this name; paths are relative to this configuration"),
    ],
)
def test_an_unusable_password_file_is_a_fault(tmp_path: Path, content: bytes | None, message: str) -> None:
    """
    And its content is not shown.
    """
    secret = tmp_path / "secret"
    secret.mkdir() if content is None else secret.write_bytes(content)
    text = (
        "targets:\n- url: https://a\n  client_certificate:\n    cert_file: a.pem\n    password_file: secret\n"
    )
    with pytest.raises(ConfigError) as error:
        parse(text.encode(), str(tmp_path / "expiry.yml"), {})
    [fault] = error.value.faults
    assert (fault.line, fault.path, fault.message) == (
        5,
        "targets[0].client_certificate.password_file",
        message,
    )


def test_a_pipe_for_a_password_file_is_a_fault(tmp_path: Path) -> None:
    """
    Opening it would wait until somebody writes.
    """
    os.mkfifo(tmp_path / "pipe")
    text = "defaults: {client_certificate: {cert_file: a, password_file: pipe}}"
    with pytest.raises(ConfigError, match="there is no regular file of this name"):
        parse(text.encode(), str(tmp_path / "expiry.yml"), {})


def test_a_password_file_that_cannot_be_read_is_a_fault() -> None:
    """
    With the system's reason. Nothing is mapped at the start of this process's memory, whoever reads it.
    """
    text = "defaults: {client_certificate: {cert_file: a, password_file: /proc/self/mem}}"
    [fault] = faults(text)
    assert fault.endswith("password_file: the file can't be read: Input/output error")


@pytest.mark.parametrize(
    "text",
    [
        "targets: ['https://user:hunter2@a']",
        "targets: ['user:hunter2@a']",
        "targets: ['https://user:hunter2@[::']",
        "targets: ['https://user:hunter2/@a']",
        "targets: ['ftp://user:hunter2@a']",
        "targets: ['https://a/hunter2']",
        "targets: [{url: ['https://a:hunter2@b']}]",
        "defaults: {client_certificate: {cert_file: a, password: hunter2}}",
        "defaults: {client_certificate: {cert_file: a, passphrase: hunter2}}",
        "defaults: {client_certificate: {cert_file: a, password_env: hunter2}}",
        "defaults: {client_certificate: {cert_file: a, password_file: hunter2}}",
        "defaults: {client_certificate: {cert_file: a, password_file: [hunter2]}}",
        "defaults: {client_certificate: {cert_file: a, password_env: {hunter2: hunter2}}}",
        "defaults: {client_certificate: {cert_file: a, password_env: *hunter2}}",
        "defaults: {client_certificate: {cert_file: a, password_env: !hunter2 x}}",
        "defaults: {client_certificate: {cert_file: a, password_env: hunter2: x}}",
        "defaults: {client_certificate: {cert_file: a, password_env: @hunter2}}",
        "defaults: {client_certificate: {cert_file: a, password_env: 'hunter2}}",
        "defaults: {client_certificate: hunter2}",
        "defaults: {password: hunter2}",
    ],
)
def test_a_secret_never_reaches_a_message(text: str) -> None:
    """
    Not even one that stands where none should.
    """
    assert "hunter2" not in "".join(faults(text))


def test_a_pass_phrase_is_not_in_any_repr() -> None:
    """
    A traceback or a debug log may show a configuration.
    """
    text = "defaults: {client_certificate: {cert_file: a, password_env: P}}\ntargets: [https://a]"
    config = read(text, {"P": "hunter2"})
    assert config.targets[0].client_key_password == "hunter2"
    assert "hunter2" not in repr(config)


# /probe


def test_a_configured_target_of_that_name_wins() -> None:
    """
    With all its settings, and whether or not its URL is permitted.
    """
    config = read("probe: {allow: []}\ntargets: [{url: https://a, name: b, timeout: 1s}]")
    assert target_for(config, "b", None) is config.targets[0]


def test_another_target_has_the_settings_of_defaults() -> None:
    """
    As if its URL stood in the file.
    """
    config = read("defaults: {timeout: 2s, policy: manual, labels: {team: a}}")
    assert target_for(config, "https://a", None) == Target(
        parse_url("https://a"), "https://a", policy=MANUAL, labels=(("team", "a"),), timeout=2
    )


def test_a_policy_that_is_asked_for_replaces_the_target_s() -> None:
    """
    Of a configured target and of another.
    """
    config = read("policies: {own: {warning: 2d, critical: 1d}}\ntargets: [{url: https://a, timeout: 1s}]")
    configured = target_for(config, "https://a", "own")
    assert (configured.policy.name, configured.timeout) == ("own", 1)
    assert target_for(config, "https://b", "domain").policy == DOMAIN
    assert target_for(config, "https://b", None).policy == AUTOMATIC


@pytest.mark.parametrize(
    ("url", "policy", "message"),
    [
        ("a", None, "'a' has no scheme: write https://a, or " + SCHEMES),
        ("", None, "say what to probe: /probe?target=https://example.com"),
        ("https://a.example", "manul", "there is no policy 'manul': did you mean 'manual'?"),
        ("https://" + "a" * 3000, None, "a URL has at most 2048 characters, this one has 3008"),
        (
            f"file:///{'a/' * 150}",
            None,
            "a name (without one, the URL) is 1 to 300 printable characters",
        ),
        (
            "https://b",
            None,
            "'https://b' is not a configured target, and probe.allow of the configuration does not permit it",
        ),
    ],
)
def test_a_bad_request_says_what_is_wrong(url: str, policy: str | None, message: str) -> None:
    """
    To the person who wrote the scrape configuration.
    """
    config = read("probe: {allow: ['https://*.example']}")
    with pytest.raises(TargetError) as error:
        target_for(config, url, policy)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("10.0.0.0/33", "the length of its network is /0 to /32, not /33"),
        ("10.0.0.0/", "the length of its network is /0 to /32, not /"),
        ("2001:db8::/129", "the length of its network is /0 to /128, not /129"),
        ("[2001:db8::]/200:443", "the length of its network is /0 to /128, not /200"),
        ("300.1.1.1/8", "300.1.1.1 is not an IP address"),
        ("10.0.0", "10.0.0 is not an IP address"),
        ("foo bar", "it has a space in it"),
        ("host:99999", "ports are numbers from 1 to 65535"),
        ("host:0", "ports are numbers from 1 to 65535"),
        ("10.0.0.0/8:443-80", "a range begins with the lower one"),
        ("https://x:99999", "ports are numbers from 1 to 65535"),
        ("https://x/path", "remove the path"),
        ("https:x", "no URL begins so"),
        ("gopher://x", "no URL begins so"),
        ("host:*", "no URL begins so"),
        ("a,b", "this is no host name"),
        ("b\u00fccher.example", "its xn-- form is compared"),
    ],
)
def test_an_entry_that_can_permit_nothing_is_a_fault(entry: str, why: str) -> None:
    """
    With what is wrong, in its line.
    """
    with pytest.raises(ConfigError) as error:
        read(f"probe:\n  allow:\n  - '*'\n  - '{entry}'")
    assert f":4: probe.allow[1]: {entry!r} can permit nothing: " in str(error.value)
    assert why in str(error.value)


@pytest.mark.parametrize(
    "entry",
    [
        *("*", "https://x", "HTTPS://*.example", "https*", "https://*:443", "*://a.example", "*.example:*"),
        *("10.0.0.0/8", "10.0.0.1/8", "192.0.2.1", "10.*", "10.0.0.0/8:443", "2001:db8::/32", "[::1]:443"),
        *("[2001:db8::]/32:8000-8999", "localhost", "db:5432", "*.example.com:443", "web[0-9].example"),
        *("file:///a b/*", "file:*", "kubernetes://prod/*", "domain:*.example", "pem+https://a.example/*"),
    ],
)
def test_every_form_of_an_entry_is_taken(entry: str) -> None:
    """
    As it is written.
    """
    assert read(f"probe: {{allow: ['{entry}']}}").probe_allow == (entry,)


@pytest.mark.parametrize(
    ("pattern", "url", "permitted"),
    [
        ("*", "tls://a:1", True),
        ("https://*", "tls://a:1", False),
        ("https://*.example", "https://a.example", True),
        ("https://*.example", "https://a.example:443", True),
        ("https://*.example", "HTTPS://A.Example./", True),
        ("HTTPS://*.Example", "https://a.example", True),
        ("https://*.example", "https://a.example:8443", False),
        ("https://*.example:*", "https://a.example:8443", True),
        ("https://*.example:443", "https://a.example", True),
        ("https://*.example", "https://a.example.evil", False),
        ("https://*.example", "https://evil:1#.example", None),
        ("https://*.example", "https://evil?.example", None),
        ("https://10.*", "https://10.0.0.1", True),
        ("https://10.*", "https://\uff11\uff10.0.0.1", True),
        ("https://xn--bcher-kva.example", "https://bücher.example", True),
    ],
)
def test_allow_is_compared_with_the_normal_form(pattern: str, url: str, permitted: bool | None) -> None:
    """
    No spelling of a URL slips past a pattern. None: it is not a target's URL at all.
    """
    config = read(f"probe: {{allow: ['{pattern}']}}")
    if permitted:
        assert target_for(config, url, None).name == url
        return
    with pytest.raises(TargetError) as error:
        target_for(config, url, None)
    assert ("probe.allow" in str(error.value)) == (permitted is False)


# The example.


def example_in(directory: Path) -> Path:
    """
    A copy of the example, with the files that it names beside it.
    """
    file = directory / "expiry.yml"
    file.write_bytes(EXAMPLE.read_bytes())
    (directory / "tls").mkdir()
    for name in ("internal-ca.pem", "exporter.pem", "exporter.key", "ledger.pem", "kubeconfig"):
        (directory / "tls" / name).touch()
    (directory / "tls" / "exporter.password").write_text("a\n", encoding="utf-8")
    (directory / "tls" / "kafka.password").write_text("e\n", encoding="utf-8")
    (directory / "proxy.credentials").write_text("me:c\n", encoding="utf-8")
    return file


def test_the_example_loads_without_a_warning(tmp_path: Path) -> None:
    """
    What we show people works.
    """
    environment = {"LEDGER_KEY_PASSWORD": "b", "PROXY_CREDENTIALS": "me:d", "STORE_PASSWORD": "f"}
    config = load(str(example_in(tmp_path)), environment)
    assert config.warnings == ()
    secrets = [target.client_key_password for target in config.targets if target.client_key_password]
    secrets += [target.proxy.credentials or "" for target in config.targets if target.proxy is not None]
    secrets += [target.password for target in config.targets if target.password is not None]
    assert secrets == ["a", "b", "me:c", "me:d", "e", "f"]
    assert set(config.policies) - set(BUILT_IN) == {"bought", "appliance"}


def keys_in(value: Any) -> set[str]:
    """
    All keys of all mappings in a document.
    """
    if isinstance(value, dict):
        return set(value).union(*map(keys_in, value.values()))
    return set().union(*map(keys_in, value)) if isinstance(value, list) else set()


def test_acme_directories_are_added_to_the_known_ones() -> None:
    """
    For configured targets and for those of /probe; a known one may be given another.
    """
    text = b"""
acme: {Example: "https://a.example/d", ZeroSSL: "https://b.example/d"}
targets: [https://www.example.com]
"""
    config = parse(text, "expiry.yml", {})
    for target in (config.targets[0], target_for(config, "https://other.example.com", None)):
        assert target.acme["Example"] == "https://a.example/d"
        assert target.acme["ZeroSSL"] == "https://b.example/d"
        assert target.acme["Let's Encrypt"].startswith("https://acme-v02.api.letsencrypt.org/")


def test_a_built_in_policy_takes_all_but_deadlines() -> None:
    """
    Also as the default, and as the policy of a kind.
    """
    text = """
policies:
  automatic: {unseen: [5%, 3d], issuers: [Example]}
  authority: {unseen: 2w}
targets: [https://a]
"""
    (one,) = read(text).targets
    assert one.policy == replace(AUTOMATIC, unseen=Before(3 * DAY, 0.05), issuers=("Example",))
    assert [match.policy.unseen for match in one.matches if match.policy.name == "authority"] == [
        Before(14 * DAY)
    ]


def test_an_interval_is_the_target_s_or_that_of_its_policy_or_of_defaults() -> None:
    """
    `none` undoes what would come after it.
    """
    text = """
defaults: {interval: 1h}
policies:
  automatic: {match: {schemes: [smtp]}, interval: 6h}
  domain: {interval: 1d}
  own: {warning: 30d, critical: 14d, interval: none}
targets:
- https://a
- smtp://a
- {url: smtp://b, interval: 5m}
- {url: https://b, policy: domain}
- {url: https://c, policy: own}
- {url: https://d, interval: none}
"""
    assert [one.interval for one in read(text).targets] == [21600, 21600, 300, 86400, 0, 0]
    assert [one.interval for one in read("targets: ['https://a']").targets] == [0]


def test_expected_issuers_are_those_of_the_target_or_of_defaults() -> None:
    """
    `any` undoes those of `defaults` and of the policy, which counts where there are none.
    """
    text = "{}targets: [https://a, {{url: https://b, issuers: any}}, {{url: https://c, issuers: Other}}]"
    given = read(text.format("defaults: {issuers: [Example, Second]}\n")).targets
    assert [one.issuers for one in given] == [("Example", "Second"), (), ("Other",)]
    assert [one.issuers for one in read(text.format("")).targets] == [None, (), ("Other",)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("AB:" * 31 + "AB", "ab" * 32),
        ("ab" * 32, "ab" * 32),
        ("SHA256:" + "Ab" * 32, "ab" * 32),
        ("sha256 Fingerprint", None),
        ("ab" * 20, None),
        ("DigiCert Inc", None),
    ],
)
def test_a_fingerprint_is_told_from_a_name(text: str, found: str | None) -> None:
    """
    With or without colons, in capitals or not.
    """
    assert fingerprint(text) == found


def test_issuers_are_asked_only_as_far_as_the_settings_say() -> None:
    """
    What a certificate names is asked when that is wanted; the known ACME servers unless it is not.
    """
    text = b"""
defaults: {crl: "true"}
targets: [https://a.example, {url: https://b.example, crl: false, ocsp: yes, renewal_information: no}]
"""
    one, other = parse(text, "expiry.yml", {}).targets
    assert (one.crl, one.ocsp, one.renewal_information) == (True, False, True)
    assert (other.crl, other.ocsp, other.renewal_information) == (False, True, False)


def test_the_example_shows_every_key() -> None:
    """
    A key that nobody is shown is not used.
    """
    models = [
        model for model in vars(schema).values() if isinstance(model, type) and issubclass(model, BaseModel)
    ]
    known = {key for model in models for key in model.model_fields}
    assert len(known) >= 20
    assert known - keys_in(yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))) == set()


# Files.


def test_unreadable_files_are_faults(tmp_path: Path) -> None:
    """
    With the system's reason, and without a line.
    """
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        for name, why in [
            (str(tmp_path), "can't be read: Is a directory"),
            (
                f"{tmp_path}/absent.yml",
                "can't be read: No such file or directory (`expiry-exporter init` writes one)",
            ),
            (path, "can't be read: No such device or address"),
        ]:
            with pytest.raises(ConfigError) as error:
                load(name, {})
            assert str(error.value) == f"{name}: {why}"
    with pytest.raises(ConfigError, match=r"^can't be read: its path is empty: is a variable of the shell"):
        load("", {})
    # What follows differs between versions of Python.
    with pytest.raises(ConfigError, match=r"^a\0b: can't be read: .*embedded null "):
        load("a\0b", {})


def test_a_pipe_is_read_and_nobody_waits_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What a program writes is a configuration; a pipe that nobody writes to, or that stays silent, is a fault.
    """
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(ConfigError, match="it is a pipe, and nobody writes to it"):
        load(str(path), {})
    monkeypatch.setattr("exporter.config.content.PIPE_TIMEOUT", 0.1)
    reading, writing = os.pipe()
    try:
        os.write(writing, b"targets: [https://a.example]")
        with pytest.raises(ConfigError, match="it is a pipe, and nothing came from it in"):
            load(f"/dev/fd/{reading}", {})
        os.write(writing, b"targets: [https://a.example]")
    finally:
        os.close(writing)
    assert [one.name for one in load(f"/dev/fd/{reading}", {}).targets] == ["https://a.example"]
    os.close(reading)


def test_a_huge_file_is_refused_without_reading_it_all() -> None:
    """
    An endless one is.
    """
    with pytest.raises(ConfigError) as error:
        load("/dev/zero", {})
    assert str(error.value) == "/dev/zero: is larger than 16 MiB: is this the right file?"


def test_what_is_not_utf_8_is_refused_with_its_line() -> None:
    """
    Text in an old encoding; a byte order mark is no fault.
    """
    assert parse(b"\xef\xbb\xbfprobe: {allow: ['*']}\r\n", "a", {}) == Config()
    for data, line, why in [
        (b"targets: []\n# \xe9t\xe9 \n", 2, "invalid trailing UTF-8 octet"),
        (b"\n\n\xc3", 3, "incomplete UTF-8 octet sequence"),
        (b"\xff", 1, "invalid leading UTF-8 octet"),
    ]:
        with pytest.raises(ConfigError) as error:
            parse(data, "a", {})
        assert str(error.value) == f"a:{line}: is not UTF-8 text: {why}"


def test_a_binary_file_is_refused() -> None:
    """
    A certificate in DER, say.
    """
    with pytest.raises(ConfigError):
        parse(bytes.fromhex("3082010a02820101"), "a", {})


BOMBS = {
    "aliases of aliases": "\n".join(
        ["targets:", "- &a0 [x,x,x,x,x,x,x,x,x]"]
        + [f"- &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 20)]
    ),
    "aliases": "\n".join(
        [f"a: &a {{{','.join(f'k{n}: 1' for n in range(2000))}}}"] + [f"b{n}: *a" for n in range(1000)]
    ),
    "elements": f"targets: [{'x,' * 1_100_000}]",
}


@pytest.mark.no_cover
@pytest.mark.parametrize("name", BOMBS)
def test_documents_that_multiply_are_refused(name: str) -> None:
    """
    At a million values, however many more the aliases stand for.
    """
    [fault] = faults(BOMBS[name])
    assert fault.endswith("there are more than 1,000,000 values, counting what aliases (*name) repeat")


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? ", "{[", "{? ["])
def test_deep_nesting_ends_early(opening: str) -> None:
    """
    Neither the stack nor the time of the parser is used up.
    """
    started = time.process_time()
    [fault] = faults(opening * 1_000_000)
    # Ours, or that of a PyYAML that has a limit of its own.
    assert "nested more than 32 deep" in fault or "maximum nesting depth" in fault
    assert time.process_time() - started < 5


def test_aliases_of_aliases_nest_no_deeper() -> None:
    """
    Also where each anchor is shallow.
    """
    text = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 40))
    [fault] = faults(text)
    assert "nested more than 32 deep" in fault


@pytest.mark.no_cover
def test_ten_thousand_targets_load() -> None:
    """
    A fleet in one file, in order.
    """
    text = "defaults: {labels: {a: b}}\ntargets:\n" + "".join(
        f"- url: https://h{n}.example:8443\n  name: h{n}\n  policy: manual\n  labels: {{n: {n}}}\n"
        for n in range(10_000)
    )
    started = time.process_time()
    config = read(text)
    assert [target.name for target in config.targets] == [f"h{n}" for n in range(10_000)]
    # Measured 1.5 s; the bound is for slow machines, and finds what is not linear.
    assert time.process_time() - started < 30


# Any bytes.

FRAGMENTS = st.sampled_from(
    [
        *("targets:", "defaults:", "policies:", "probe:", "allow:", "url:", "labels:", "name:", "timeout:"),
        *(
            "client_certificate:",
            "cert_file:",
            "password_env:",
            "a:",
            "critical:",
            "warning:",
            "renewal_due:",
        ),
        *("https://a", "https://b", "30d", "33%", "manual", "'", '"', "\\ud800", "\\UFFFFFFFF", "\\0", "~"),
        *(
            "- ",
            "  ",
            "\n",
            "\n  ",
            "\n- ",
            "[",
            "]",
            "{",
            "}",
            ",",
            ": ",
            "&a ",
            "*a",
            "<<: ",
            "!!x ",
            "? ",
            "|\n",
        ),
        *("# ", "--- ", "...", "%YAML 1.1\n", "\t", "\u2028", "\x85", "é"),
    ]
)


def outcome(data: bytes) -> str:
    """
    The faults in these bytes, or nothing; every fault is one printable line.
    """
    try:
        parse(data, "f", {})
    except ConfigError as error:
        assert error.faults  # noqa: PT017 - one of two outcomes
        for fault in error.faults:
            assert fault.message
            assert str(fault).isprintable()
        return str(error)
    return ""


@given(st.binary(max_size=200))
@example(b"\xef\xbb\xbf")
@example(b"a: !")
def test_any_bytes_are_a_configuration_or_faults(data: bytes) -> None:
    """
    Never another exception.
    """
    outcome(data)


@given(st.lists(FRAGMENTS, max_size=40).map("".join))
def test_any_text_that_looks_like_ours_is_a_configuration_or_faults(text: str) -> None:
    """
    Never another exception.
    """
    outcome(text.encode())


@settings(deadline=None)
@given(st.integers(min_value=0), st.integers(1, 12))
def test_a_damaged_example_is_a_configuration_or_faults(seed: int, damages: int) -> None:
    """
    Never another exception.
    """
    chance = random.Random(seed)
    data = bytearray(EXAMPLE.read_bytes())
    for _ in range(damages):
        place = chance.randrange(len(data))
        if chance.random() < 0.5:
            data[place : place + chance.randrange(30)] = b""
        else:
            data[place:place] = chance.choice([b"\n", b" ", b":", b"- ", b"[", b"}", b"'", b"*", b"\t", b"0"])
    outcome(bytes(data))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | FRAGMENTS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(FRAGMENTS.map(lambda s: s.rstrip(":")), inner)
    ),
    max_leaves=8,
)
SETTINGS = st.dictionaries(st.sampled_from(sorted(schema.TargetEntry.model_fields)), VALUES, max_size=4)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "targets": VALUES | st.lists(SETTINGS | VALUES, max_size=4),
            "defaults": VALUES | SETTINGS,
            "policies": VALUES | st.dictionaries(st.text(max_size=5), VALUES, max_size=3),
            "probe": VALUES,
        },
    )
)
def test_any_structure_is_a_configuration_or_faults(document: Any) -> None:
    """
    Never another exception, whatever stands where.
    """
    try:
        data = yaml.safe_dump(document, allow_unicode=True).encode()
    except UnicodeEncodeError:
        return
    outcome(data)


def test_sources_have_names_of_their_own() -> None:
    """
    Their keys, numbered where there are several; one that is switched off is none. Paths are absolute.
    """
    text = (
        "discover:\n- files: a\n- {files: b, name: mine}\n- files: [c]\n- listening: false\n- http: http://a"
    )
    config = parse(text.encode(), "/etc/expiry.yml", {})
    assert [one.name for one in config.discover] == ["files", "mine", "files-2", "http"]
    assert [one.given for one in config.discover[:3]] == [["/etc/a"], ["/etc/b"], ["/etc/c"]]
    assert config.directory == "/etc"


PASSWORDS = (
    "https://me:secret@a.example",
    "https://me:123/secret@a.example",
    "https://me:my secret@a.example",
    "https://me:my 'secret@a.example",
    "https://me%3Asecret%40a.example",
    "file://me:secret@a.example/x",
    f"https://me:{'secret' * 12}@a.example",
)


@pytest.mark.parametrize("url", PASSWORDS)
@pytest.mark.parametrize(
    "text",
    [
        'targets: ["{url}"]',
        "targets:\n- {url}\n  policy: manual",
        "targets:\n- url:{url}\n  policy: manual",
        'targets:\n- {{name: "{url}", url: "https://b.example"}}',
        'targets:\n- "{url}": x',
        '"{url}": x\n"{url}": y',
        'defaults: {{policy: "{url}"}}',
        'defaults: {{proxy: "{url}"}}',
        'defaults: {{timeout: "{url}"}}',
        'targets:\n- {{url: "https://b.example", server_name: "{url}"}}',
        'targets:\n- {{url: "https://b.example", ca_file: "{url}"}}',
        'modules: {{"{url}": {{}}}}',
        'modules: {{a: {{scheme: "{url}"}}}}',
        'modules: {{a: {{scheme: tls, target: "{url}"}}}}',
        'discover: [{{networks: {{cidr: "{url}"}}}}]',
    ],
)
def test_a_password_in_a_url_is_in_no_fault(text: str, url: str) -> None:
    """
    Wherever somebody wrote it, also where no URL belongs and what is shown is cut.
    """
    try:
        said = list(read(text.format(url=url)).warnings)
    except ConfigError as error:
        said = [str(fault) for fault in error.faults]
    assert said
    assert [words for words in said if "secret" in words] == []


def test_a_name_is_no_place_for_a_password() -> None:
    """
    It is a label of metrics. A host's path and a file may have the sign.
    """
    words = "a name is shown to everybody: it must not contain a user name or a password"
    assert faults("targets: [{url: https://a, name: 'https://me:secret@a'}]") == [
        f"1: targets[0].name: {words}"
    ]
    for name in ("https://a/@me", "file:///a@b.pem", "me@a", "db:1@a"):
        assert [one.name for one in read(f"targets: [{{url: https://a, name: '{name}'}}]").targets] == [name]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("- https://a.example:", "a colon behind it makes a key of the URL: write https://a.example"),
        (
            "- https://a.example: 8443",
            "a space before the port makes a key of the URL: write https://a.example:8443",
        ),
        (
            "- https://a.example:\n    policy: manual",
            "a URL is no key: write - url: https://a.example, and its settings below `url`",
        ),
    ],
)
def test_a_url_that_became_a_key_is_told_how_it_is_written(text: str, fault: str) -> None:
    """
    YAML sees a key where a colon is followed by a space or the end of the line.
    """
    assert f"2: targets[0]['https://a.example']: {fault}" in faults(f"targets:\n{text}\n")


def test_lines_of_a_list_that_do_not_stand_below_each_other() -> None:
    """
    To YAML the second one continues the first.
    """
    told = "is two lines of a list: the '-' of each stands below that of the first"
    text = "targets:\n - https://a.example\n  - https://b.example\n"
    assert faults(text) == [f"2: targets[0]: 'https://a.example - https://b.example' {told}"]
