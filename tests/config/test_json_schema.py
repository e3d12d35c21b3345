"""
The JSON schema and the reader accept and refuse the same values, key by key.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic import BaseModel

from exporter.config import reader, sources
from exporter.config.json_schema import json_schema
from exporter.config.schema import (
    BuiltInEntry,
    ClientCertificate,
    CoverageEntry,
    KubernetesEntry,
    MatchEntry,
    ModuleEntry,
    PolicyEntry,
    ProbeEntry,
    ProxyEntry,
    Sections,
    Settings,
    TargetEntry,
)
from exporter.yaml_lines import ConfigError

VALIDATOR = jsonschema.Draft202012Validator(json_schema())

Rows = tuple[str, str]
"""Values that are good, and values that are bad: in YAML, separated by two spaces."""

TEXT = ("a  'a b'  7  1.5  true  2024  'null'", "''  ~  [a]  {a: b}")
FILE = ("some.pem  /etc/ssl/some.pem  7", "''  ~  [some.pem]  {a: b}")
PRESENT = ("secret  ./secret", "''  ~  [secret]  {a: secret}")
"""A file that has to be there."""
SET = ("SECRET", "''  ~  [SECRET]  {a: SECRET}")
"""A variable of the environment."""
BOOL = (
    "true  false  True  yes  no  on  off  'true'  'NO'",
    "maybe  1  0  t  y  ''  ~  [true]  {a: true}  2.0",
)
NAME = ("a  'a b'  7  true  https://a/@b", "''  ~  [a]  {a: b}  ' '  '.'  '..'  https://me:pw@a")
TEXTS = ("[a]  [a, b]  [7]  [true]", "['']  [~]  [[a]]  {a: b}  ~")
LISTED = (f"{TEXTS[0]}  a  7", f"{TEXTS[1]}  ''")
"""A list, of which one text alone will do."""
DURATION = (
    "10s  1m30s  500ms  '10s'  1m",
    "5  0  1.5  10  '5'  '10'  0s  10x  s  1s1m  '10 s'  -1s  1e1s  ''  ~  [10s]  {a: 10s}  true  10S  1.5m",
)
INTERVAL = ("1s  1000ms  10s  1h30m  30d  720h  2w1d  none", f"{DURATION[1]}  None  999ms  31d  721h  5w")
DEADLINE = (
    "30d  33%  0.5%  50%  50.0%  7.25%  5%  [33%, 30d]  [30d, '33%']  1w2d  2h",
    (
        "30  0  0d  0%  51%  50.1%  100%  33  .5%  [33%]  [33%, 20%]  [30d, 20d]  [33%, 30d, 1d]  []"
        "  30 d  '30d '  ''  ~  {a: 30d}  true  33 %  -5%"
    ),
)
ISSUERS = (
    "any  'DigiCert Inc'  [DigiCert Inc, E5]  [7]  7",
    (
        "[]  ''  ['']  ~  {a: b}  [[a]]  CN=a  'dc = a'  'a*'  [any, a]  [any]  0f:f3:a1  ' '"
        "  deadbeefdeadbeefdeadbeefdeadbeef"
    ),
)
PROXY_URL = (
    "none  http://proxy.example.com:3128  socks5://192.0.2.80  'HTTP://proxy.example.com'  http://proxy:80/",
    (
        "https://proxy  proxy:3128  http://me:pw@proxy  'http://'  7  ''  ~  socks4://a  true  http://a/b  http://a:0"
        "  http://a:70000  ' none'"
    ),
)
SETTINGS: dict[str, Rows] = {
    "policy": ("manual  automatic", "''  ~  [manual]  {a: b}"),
    "issuers": ISSUERS,
    "labels": (
        "{}  {team: web}  {team: 7}  {team: true}  {team: ''}  {_a1: x}",
        "{1a: x}  {a-b: x}  {__a: x}  {job: x}  {policy: x}  {'': x}  {a: [x]}  {a: ~}  [a]  a  ~",
    ),
    "timeout": (f"{DURATION[0]}  10m  0h5m  9m60s  600000ms", f"{DURATION[1]}  11m  1h30m  601s  10m1h"),
    "interval": INTERVAL,
    "server_name": (
        "a.example  192.0.2.1  '2001:db8::1'  localhost",
        "https://a  a/b  'a b'  me@a  ''  ~  7  1.5  [a]  a:443  a..b  '10.1'  '[::1]'  -a  'a*'",
    ),
    "ca_file": FILE,
    "client_certificate": (
        "{cert_file: a.pem}",
        "a.pem  {}  ~  [a.pem]  {key_file: a.pem}  {cert_file: a, pass: b}",
    ),
    "password_file": PRESENT,
    "password_env": SET,
    "address_family": ("any  ipv4  ipv6", "ipv5  4  ''  ~  [any]  IPV4"),
    "addresses": ("all  first", "some  1  ''  ~  true"),
    "keys": ("any  both", "rsa  2  ''  ~"),
    "proxy": (f"{PROXY_URL[0]}  {{url: 'http://proxy:1'}}", f"{PROXY_URL[1]}  {{}}  [none]  {{a: b}}"),
    "proxy_protocol": ("none  v1  v2", "v3  1  true  ''  ~"),
    "crl": BOOL,
    "ocsp": BOOL,
    "renewal_information": BOOL,
    "dns_checks": (f"{BOOL[0]}  auto  AUTO", BOOL[1]),
    "dns_servers": (
        "[192.0.2.53]  ['192.0.2.53:5353', '[2001:db8::53]:53']  ['2001:db8::53']",
        (
            "[]  ['']  [7]  [~]  192.0.2.53  {a: b}  ~  [https://a/b]  [a]  ['192.0.2.53:0']"
            "  ['[2001:db8::53]:70000']"
        ),
    ),
    "kubernetes": ("{}  {scope: cluster}", "secrets  ~  [a]  {resource: [secrets]}"),
}
URLS = (
    (
        "https://a.example  'HTTPS://a.example'  tls://a:8443  domain:a.example  dns:a.example  file:///etc/a.pem"
        "  'file:///a b/c@d.pem'  kubernetes://*/*  'pem+https://a.example/b?c=d'  'smtp://[2001:db8::1]'"
        "  https://a.example/  'https://a.example.:0443/?'  kubernetes://me/a/b  domain://a.example  'https://ü.example'"
    ),
    (
        "a.example  https:a  https//a  gopher://a  https://  /etc/a.pem  ''  'https://a b'  https://me@a"
        "  7  true  ~  https://a.example/x  'https://a.example?x'  tls://a.example  smtp://a.example:25/x  https://a:0"
        "  https://a:65536  https://a:x  https://a..b  'https://*.example'  'https://[::g]'  'https://::1'  https://10.1"
        "  domain:192.0.2.1  domain:a.example/b  file://etc/a.pem  kubernetes://a  kubernetes://a/B  https://me%40a"
    ),
)
BUILT_IN: dict[str, Rows] = {
    "unseen": (f"{DEADLINE[0]}  1m  59s1000ms", f"{DEADLINE[1]}  59s  59s999ms  [33%, 59s]"),
    "interval": INTERVAL,
    "issuers": ISSUERS,
    "match": ("{}  {kinds: [leaf]}", "leaf  [leaf]  ~  {kind: [leaf]}"),
}
SCHEMES = "https  HTTPS  'https:'  https://  pem+https  domain"
SOURCE: dict[str, Rows] = {
    "labels": SETTINGS["labels"],
    "policy": SETTINGS["policy"],
    "interval": (INTERVAL[0].replace("  none", ""), f"{INTERVAL[1]}  none"),
    "include": LISTED,
    "exclude": LISTED,
    "limit": (
        "1  100000  '50'  ' 50 '  '1_000'",
        "'0'  0  100001  1.5  many  true  ''  ~  [1]  -1",
    ),
    "name": NAME,
}
PORTS = ("[443]  [1, 65535]  ['443']", "[]  443  [0]  [65536]  [https]  [1.5]  [true]  ~  [-1]")
RATE = ("50  0.5  1000  '5'  '.5'  '1e1'", "'0'  0  1001  fast  true  ''  ~  [5]  -1")
WEB = (
    "https://a.example/b  http://a",
    (
        "a.example  ftp://a  https://me:pw@a  https://me:1/pw@a  ''  7  ~  [https://a]  'https://a b'  'https://[::1'"
        "  'https://[::g]'  https://a:70000  https://a..b  https:///a"
    ),
)

TABLE: dict[str, tuple[type[BaseModel], dict[str, Rows]]] = {
    "defaults: {%s}": (Settings, SETTINGS),
    "targets: [{url: https://a.example, %s}]": (TargetEntry, SETTINGS | {"name": NAME}),
    "targets: [{name: a, %s}]": (TargetEntry, {"url": URLS}),
    "modules: {m: {scheme: https, %s}}": (
        ModuleEntry,
        SETTINGS | {"target": ("a.example", "''  ~  [a]  {a: b}")},
    ),
    "modules: {m: {%s}}": (ModuleEntry, {"scheme": (SCHEMES, "gopher  ''  ~  7  [https]  https:/")}),
    "defaults: {client_certificate: {cert_file: a.pem, %s}}": (
        ClientCertificate,
        {"key_file": FILE, "password_file": PRESENT, "password_env": SET},
    ),
    "defaults: {client_certificate: {%s}}": (ClientCertificate, {"cert_file": FILE}),
    "defaults: {proxy: {url: 'http://proxy:3128', %s}}": (
        ProxyEntry,
        {"credentials_file": ("credentials", PRESENT[1]), "credentials_env": ("CREDENTIALS", SET[1])},
    ),
    "defaults: {proxy: {%s}}": (ProxyEntry, {"url": PROXY_URL}),
    "defaults: {kubernetes: {%s}}": (
        KubernetesEntry,
        {
            "kubeconfig": FILE,
            "resources": ("[secrets]  [configmaps, webhooks]", "[]  secrets  [pods]  ~  [~]"),
            "types": (
                "[Opaque]  [kubernetes.io/tls]  [7]  [true]",
                "[]  Opaque  [helm.sh/release.v1]  ['a b']  ['']  ~  [~]",
            ),
            "selector": TEXT,
            "scope": ("object  namespace  cluster", "all  ''  ~  7"),
        },
    ),
    "policies: {mine: {warning: 30d, critical: 10d, %s}}": (PolicyEntry, BUILT_IN | {"habit": BOOL}),
    "policies: {mine: {critical: 1ms, %s}}": (PolicyEntry, {"warning": DEADLINE}),
    "policies: {mine: {warning: 1m, critical: 1s, %s}}": (PolicyEntry, {"renewal_due": DEADLINE}),
    "policies: {mine: {warning: 50%%, %s}}": (
        PolicyEntry,
        {"critical": (DEADLINE[0].replace("  50%  50.0%", ""), DEADLINE[1])},
    ),
    "policies: {manual: {%s}}": (BuiltInEntry, BUILT_IN),
    "policies: {manual: {match: {%s}}}": (
        MatchEntry,
        {
            "schemes": (f"[{SCHEMES.replace('  ', ', ')}]", "[]  https  [gopher]  [7]  ~"),
            "kinds": ("[leaf]  [crl, dnssec]", "[]  leaf  [cert]  ~"),
            "issuers": (TEXTS[0], f"{TEXTS[1]}  []  a"),
        },
    ),
    "discover: [{files: /a, %s}]": (sources.SourceEntry, SOURCE),
    "discover: [{%s}]": (
        sources.SourceEntry,
        {
            **dict.fromkeys(("web_servers", "stores", "files"), (LISTED[0], f"{LISTED[1]}  []")),
            "listening": BOOL,
            "kubernetes": ("{}  {context: a}", "a  ~  [a]  {contexts: a}"),
            "zone": (
                "{name: a, server: b}  {name: a, file: b}  {name: a, server: b, tsig_key_file: c}",
                (
                    "{}  {name: a}  {server: b}  {name: a, server: b, file: c}"
                    "  {name: a, file: b, tsig_key_file: c}  a  ~"
                ),
            ),
            "networks": ("{cidr: 192.0.2.0/24}", "192.0.2.0/24  {}  ~  {networks: a}"),
            "certificate_transparency": (
                "{domains: a.example}  {domains: a.example, source: certspotter, token_file: a}",
                (
                    "a.example  {}  ~  {domains: a.example, token_file: a}"
                    "  {domains: a.example, source: crt.sh, token_file: a}"
                ),
            ),
            "http": (f"{WEB[0]}  {{url: https://a}}", f"{WEB[1]}  {{}}  {{a: b}}"),
        },
    ),
    "discover: [{kubernetes: {%s}}]": (
        sources.KubernetesSource,
        {
            "kubeconfig": FILE,
            "context": TEXT,
            "namespaces": ("[]  [a, b-c]  shop  7  true", "[1.5]  [-1]  ['*']  A  ['']  ~  [a.b]  {a: b}"),
            "selector": TEXT,
            "resources": ("[ingresses]  [services, secrets]", "[]  ingresses  [pods]  ~"),
        },
    ),
    "discover: [{zone: {name: a.example, server: ns.example, %s}}]": (
        sources.ZoneSource,
        {"tsig_key_file": FILE, "ports": PORTS, "rate": RATE},
    ),
    "discover: [{zone: {name: a.example, %s}}]": (sources.ZoneSource, {"server": TEXT, "file": FILE}),
    "discover: [{zone: {server: ns.example, %s}}]": (sources.ZoneSource, {"name": TEXT}),
    "discover: [{networks: {cidr: 192.0.2.0/24, %s}}]": (
        sources.NetworksSource,
        {"ports": PORTS, "rate": RATE, "large": BOOL},
    ),
    "discover: [{networks: {%s}}]": (
        sources.NetworksSource,
        {
            "cidr": (
                "192.0.2.0/24  [192.0.2.0/24, '2001:db8::/120']  192.0.2.7  192.0.2.0/255.255.255.0  fe80::1",
                "[]  ''  a.example  7x  ~  [a.example]  '192.0.2.0/24 '  192.0.2.0/33  192.0.2  256.0.2.1",
            )
        },
    ),
    "discover: [{certificate_transparency: {domains: a.example, source: certspotter, %s}}]": (
        sources.TransparencySource,
        {"url": WEB, "token_file": FILE},
    ),
    "discover: [{certificate_transparency: {domains: a.example, %s}}]": (
        sources.TransparencySource,
        {"source": ("crt.sh  certspotter", "google  ''  ~  7")},
    ),
    "discover: [{certificate_transparency: {%s}}]": (
        sources.TransparencySource,
        {
            "domains": (
                "a.example  [a.example, b.example]  ü.example",
                "[]  ''  ['']  https://a.example  ~  7  [7]  a  192.0.2.1  '*.a.example'  a.example:443",
            )
        },
    ),
    "discover: [{http: {url: https://a.example, %s}}]": (
        sources.HttpSource,
        {"credentials_file": FILE, "ca_file": FILE},
    ),
    "discover: [{http: {%s}}]": (sources.HttpSource, {"url": WEB}),
    "coverage: {%s}": (CoverageEntry, {"alert": BOOL, "ignore": (f"{LISTED[0]}  []", LISTED[1])}),
    "probe: {%s}": (
        ProbeEntry,
        {
            "allow": (
                "[]  ['*']  [https://*.example.com]  ['*.example.com', db:5432]",
                "'*'  ['']  ~  [~]  {a: b}",
            ),
            "default_module": ("http_2xx  domain", "''  ~  [domain]"),
        },
    ),
    "%s": (
        Sections,
        {
            "defaults": ("{}  ~  {crl: true}", "[]  a  {crlf: true}"),
            "policies": (
                "{}  ~  {a: {warning: 30d, critical: 7d}}",
                "[]  a  {a: ~}  {a: {warning: 30d}}  {a: {critical: 7d}}",
            ),
            "modules": ("{}  ~  {a: {scheme: tls}}", "[]  a  {a: ~}  {a: {}}  {a: tls}"),
            "targets": ("[]  ~  [https://a]  [{url: https://a}]", "{}  https://a  [~]  [[https://a]]  [7]"),
            "discover": (
                "[]  ~  [{listening: true}]",
                "{}  listening  [listening]  [{}]  [{files: a, stores: b}]  [~]",
            ),
            "coverage": ("{}  ~", "[]  a  {alerts: true}"),
            "probe": ("{}  ~", "[]  a  {deny: []}"),
            "acme": (
                "{}  ~  {Example CA: https://ca.example.com/directory}  {7: http://ca}",
                "[]  a  {A: ca.example.com}  {A: https://me@ca}  {A: https://me:1/pw@ca}  {A: ~}  {A: ftp://ca}",
            ),
        },
    ),
}
"""By a document with a place for a key and its value: the model, and values of its keys."""

ONLY_READER = {
    "timeout": ("9m61s", "a sum of more than ten minutes"),
    "interval": ("4w3d", "a sum of more than thirty days"),
    "policy": ("nobody", "the names that the file itself gives, where it gives any"),
    "server_name": ("'b\u00fc..b'  'a:b::c:d:e:f:a:b:c'", "no host"),
    "dns_servers": ("['1:2:3']", "not quite an address"),
    "issuers": ("'0ff:3a1987e106c956ea036c0c4b15fa6335e7f'", "not quite a fingerprint"),
    "password_file": ("missing", "no such file"),
    "password_env": ("MISSING", "not set"),
}
"""Values of settings that the schema takes and the reader does not, and why."""


def split(values: str) -> list[str]:
    """
    The values of a row.
    """
    return values.split("  ")


ROWS = [
    (document.replace("%s", f"{key}: {value}").replace("%%", "%"), good)
    for document, (_, keys) in TABLE.items()
    for key, row in keys.items()
    for good, values in zip((True, False), row, strict=True)
    for value in split(values)
]


class CoreLoader(yaml.SafeLoader):
    """
    The types of YAML 1.2 (core schema), by which editors go: no `yes`, no dates, no numbers by the base 60.
    """


CoreLoader.yaml_implicit_resolvers = {}
for tag, pattern, firsts in (
    ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", "[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
):
    CoreLoader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), list(firsts))


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    The place of the configuration, with the files that have to be there.
    """
    made = tmp_path_factory.mktemp("configured")
    (made / "secret").write_text("secret", encoding="utf-8")
    (made / "credentials").write_text("me:secret", encoding="utf-8")
    return made


def reads(text: str, directory: Path) -> Sequence[str]:
    """
    The reader's messages; none: it takes the text.
    """
    environ = {"SECRET": "secret", "CREDENTIALS": "me:secret"}
    try:
        reader.parse(text.encode(), str(directory / "expiry.yml"), environ)
    except ConfigError as error:
        return [fault.message for fault in error.faults]
    return []


def marks(text: str, loader: type[yaml.SafeLoader] = CoreLoader) -> list[str]:
    """
    The messages of the schema; none: an editor marks nothing.
    """
    document: Any = yaml.load(text, loader)
    return [error.message for error in VALIDATOR.iter_errors(document)]


def test_schema_and_reader_agree(directory: Path) -> None:
    """
    On each value in the table. What is good is good as well for an editor that knows the older YAML.
    """
    wrong = []
    for text, good in ROWS:
        messages = reads(text, directory)
        if bool(messages) == good:
            wrong.append(f"the reader on {text}: {messages}")
        if bool(marks(text)) == good:
            wrong.append(f"the schema on {text}: {marks(text)}")
        if good and marks(text, yaml.SafeLoader):
            wrong.append(f"the schema on {text}, as YAML 1.1: {marks(text, yaml.SafeLoader)}")
    assert wrong == []


def test_what_only_the_reader_knows_is_known(directory: Path) -> None:
    """
    An editor can't mark it; `--config.check` does.
    """
    for key, (values, _) in ONLY_READER.items():
        for value in split(values):
            text = (
                "policies: {own: {warning: 30d, critical: 7d}}\n"
                f"targets: [{{url: https://a.example, {key}: {value}}}]"
            )
            assert reads(text, directory), text
            assert marks(text) == [], text


MODELS: list[type[BaseModel]] = [
    Sections,
    Settings,
    TargetEntry,
    ModuleEntry,
    PolicyEntry,
    BuiltInEntry,
    MatchEntry,
    ClientCertificate,
    ProxyEntry,
    KubernetesEntry,
    CoverageEntry,
    ProbeEntry,
    sources.SourceEntry,
    *sources.MODELS.values(),
]
"""Of a configuration file."""


def test_the_table_has_every_key() -> None:
    """
    Of every model, with good and bad values.
    """
    told: dict[type[BaseModel], set[str]] = {}
    for model, keys in TABLE.values():
        told.setdefault(model, set()).update(keys)
    assert told == {model: set(model.model_fields) for model in MODELS}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "targets: [{url: https://a, password_file: secret, password_env: SECRET}]",
            "should not be valid under",
        ),
        (
            "defaults: {proxy: {url: none, credentials_file: secret, credentials_env: A}}",
            "should not be valid under",
        ),
        ("policies: {manual: {critical: 5d}}", "critical"),
        ("defaults: {policy: nobody}", "is not one of"),
        ("targets: [{url: https://a, policy: nobody}]", "is not one of"),
        ("policies: ~\nmodules: {a: {scheme: tls, policy: nobody}}", "is not one of"),
        (
            "policies: {manual: {interval: 1h}}\ndiscover: [{listening: true, policy: nobody}]",
            "is not one of",
        ),
        ("probe: {default_module: nothing}", "is not one of"),
    ],
)
def test_keys_that_exclude_each_other_are_marked(text: str, words: str, directory: Path) -> None:
    """
    By both.
    """
    assert reads(text, directory)
    assert any(words in message for message in marks(text))
