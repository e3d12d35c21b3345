"""
Modules of `/probe`: calls as other exporters get them.
"""

from ipaddress import ip_address

import pytest

from exporter.config.reader import parse
from exporter.config.settings import Call, Config, NotAllowedError, target_for
from exporter.model.hosts import TargetError
from exporter.yaml_lines import ConfigError

OWN = """
modules:
  smtp_starttls: {scheme: smtp, timeout: 3s}
  ca: {scheme: file, target: /etc/ssl/certs/*.pem}
  internal: {scheme: tls, server_name: a.example}
"""
OPEN = "probe: {allow: ['*', 'kubernetes://*', 'file:///etc/*', 'pem+https://*']}\n"


def read(text: str) -> Config:
    """
    The configuration in this text.
    """
    return parse(text.encode(), "expiry.yml", {})


@pytest.mark.parametrize(
    ("module", "target", "url"),
    [
        ("http_2xx", "example.com", "https://example.com:443"),
        ("http_2xx", "https://example.com/page?query#part", "https://example.com:443"),
        ("http_2xx", "example.com:8443/page", "https://example.com:8443"),
        ("http_2xx", "http://example.com", "https://example.com:443"),
        ("http_2xx", "HTTP://example.com:80/page?http://x:1", "https://example.com:443"),
        ("https", "http://[2001:db8::1]:443/", "https://[2001:db8::1]:443"),
        ("http_2xx", "example.com:80/page", "https://example.com:443"),
        ("http_2xx", "[2001:db8::80]", "https://[2001:db8::80]:443"),
        ("tcp", "example.com:80", "tls://example.com:80"),
        ("tcp", "example.com:443", "tls://example.com:443"),
        ("tcp_connect", "[2001:db8::1]:636", "tls://[2001:db8::1]:636"),
        ("tcp", "imaps://example.com", "imaps://example.com:993"),
        ("smtp_starttls", "mail.example.com:25", "smtp://mail.example.com:25"),
        ("file", "/etc/a b/*.pem", "file:///etc/a b/*.pem"),
        ("kubeconfig", "/etc/kubernetes/admin.conf", "file:///etc/kubernetes/admin.conf"),
        ("kubernetes", "prod/tls-*", "kubernetes://prod/tls-*"),
        ("http_file", "https://example.com/ca.pem", "pem+https://example.com:443/ca.pem"),
        ("domain", "example.com", "domain:example.com"),
    ],
)
def test_a_module_says_what_a_target_without_a_scheme_is(module: str, target: str, url: str) -> None:
    """
    A server, a page, a path, an object or a name.
    """
    assert target_for(read(OWN + OPEN), target, None, Call(module)).url.normal == url


def test_a_module_s_settings_are_those_of_its_targets() -> None:
    """
    The built-in ones of servers look at one address, as their models do.
    """
    config = read(OWN)
    assert target_for(config, "a:25", None, Call("smtp_starttls")).timeout == 3
    assert target_for(config, "a:25", None, Call("smtp_starttls")).addresses == "all"
    assert target_for(config, "a:25", None, Call("tcp")).addresses == "first"


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (Call("tcp"), None),
        (Call("tcp", hostname="b.example"), "b.example"),
        (Call("internal"), "a.example"),
        (Call("internal", hostname="b.example"), "a.example"),
        (Call("internal", hostname="b.example", server_name="C.example"), "c.example"),
        (Call(server_name="c.example"), "c.example"),
    ],
)
def test_the_name_to_send_may_be_said(call: Call, name: str | None) -> None:
    """
    A module's own goes before `hostname`, and `server_name` before both.
    """
    assert target_for(read(OWN), "tls://192.0.2.1:443", None, call).server_name == name


def test_a_user_and_a_password_are_left_out_of_calls_of_other_exporters() -> None:
    """
    They are in no name either, which is a label. Without a module, or where needed, they are refused.
    """
    url = "https://me:secret@192.0.2.1:8443/page"
    found = target_for(read(OWN + OPEN), url, None, Call("http_2xx"))
    assert (found.url.normal, "secret" in found.name) == ("https://192.0.2.1:8443", False)
    with pytest.raises(TargetError, match="must not contain a user name") as error:
        target_for(read(OWN + OPEN), url, None)
    assert "secret" not in str(error.value)
    with pytest.raises(TargetError, match="must not contain a user name"):
        target_for(read(OWN + OPEN), url, None, Call("http_file"))
    # What is permitted is judged by what is asked.
    config = read("probe: {allow: ['*.example.org']}")
    with pytest.raises(NotAllowedError):
        target_for(config, "https://a.example.org@www.example.net", None, Call("http_2xx"))


def test_calls_with_other_settings_are_other_targets() -> None:
    """
    So that what is remembered of one is not taken for the other.
    """
    config = read(OWN)
    calls = (Call(), Call("tcp"), Call("internal"), Call("tcp", hostname="b.example"))
    names = {target_for(config, "tls://a:1", None, call).name for call in calls}
    assert names == {"tls://a:1", "tls://a:1 (tcp)", "tls://a:1 (internal)", "tls://a:1 as b.example (tcp)"}


def test_a_module_with_a_target_has_no_other() -> None:
    """
    It stands in the configuration, so that nothing else need permit it.
    """
    found = target_for(read(OWN), "https://example.com", None, Call("ca"))
    assert (found.url.path, found.configured) == ("/etc/ssl/certs/*.pem", True)


def test_a_module_permits_nothing() -> None:
    """
    What reads this host's files must still be allowed by its scheme.
    """
    for module, target in (("file", "/etc/passwd"), ("kubernetes", "a/b"), ("http_file", "https://a/b.pem")):
        with pytest.raises(NotAllowedError):
            target_for(read(OWN), target, None, Call(module))


WATCHED = """
probe: {allow: []}
modules:
  k8s: {scheme: kubernetes}
  other: {scheme: kubernetes, kubernetes: {kubeconfig: /k}}
  proxied: {scheme: https, proxy: "http://192.0.2.1:3128"}
targets:
  - file:///etc/a b/*.pem
  - {url: "kubernetes://prod/*", name: some, kubernetes: {selector: a=b}}
  - {url: "kubernetes://prod/*", name: secrets}
  - {url: "https://a.example", name: shop}
  - https://192.0.2.9
"""


@pytest.mark.parametrize(
    ("target", "call", "name"),
    [
        ("/etc/a b/*.pem", Call("file"), "file:///etc/a b/*.pem"),
        ("/etc/a b/*.pem", Call("kubeconfig"), "file:///etc/a b/*.pem"),
        ("file:///etc/a%20b/*.pem", Call("file"), "file:///etc/a b/*.pem"),
        ("file:///etc/a%20b/*.pem", Call(), "file:///etc/a b/*.pem"),
        ("prod/*", Call("k8s"), "secrets"),
        ("a.example/page", Call("http_2xx"), "shop"),
        ("192.0.2.9/page", Call("http_2xx"), "https://192.0.2.9"),
    ],
)
def test_what_is_configured_is_permitted_in_the_words_of_other_exporters(
    target: str, call: Call, name: str
) -> None:
    """
    It is the configured target itself, with its settings.
    """
    config = read(WATCHED)
    found = target_for(config, target, None, call)
    assert found.name == name
    assert found in config.targets


def test_where_a_configured_target_leads_its_url_may_too() -> None:
    """
    Also where probe.allow permits networks, and so judges the addresses of each name.
    """
    config = read("probe: {allow: [10.0.0.0/8]}\ntargets: [https://a.example]")
    address = ip_address("192.0.2.1")
    ours = target_for(config, "a.example/page", None, Call("http_2xx"))
    assert ours.addresses == "first"
    assert ours.forbids is not None
    assert ours.forbids(address) == ""
    other = target_for(config, "b.example", None, Call("http_2xx"))
    assert other.forbids is not None
    assert "permits neither" in other.forbids(address)


@pytest.mark.parametrize(
    ("target", "call"),
    [
        ("/etc/a b/c.pem", Call("file")),
        ("prod/*", Call("other")),
        ("prod/a", Call("k8s")),
        ("a.example", Call("proxied")),
        ("a.example", Call("http_2xx", hostname="b.example")),
        ("a.example:8443", Call("http_2xx")),
    ],
)
def test_what_is_like_a_configured_target_is_not_permitted(target: str, call: Call) -> None:
    """
    Another file, cluster, way or server.
    """
    with pytest.raises(NotAllowedError):
        target_for(read(WATCHED), target, None, call)


def test_calls_without_a_module_may_have_a_default() -> None:
    """
    Where the target does not say itself what it is; a configured name is what it was.
    """
    config = read("probe: {default_module: domain}\ntargets: [{url: https://a, name: own.example}]")
    assert target_for(config, "example.com", None).url.normal == "domain:example.com"
    assert target_for(config, "https://example.com", None).url.normal == "https://example.com:443"
    assert target_for(config, "own.example", None) is config.targets[0]


@pytest.mark.parametrize(
    ("target", "call", "message"),
    [
        ("a", Call("http_2x"), "there is no module 'http_2x': did you mean 'http_2xx'?"),
        ("a", Call("tcp"), "'tls://a' names no port: write tls://a:PORT"),
        ("", Call("tcp"), "say what to probe: /probe?target=https://example.com"),
        ("a:1", Call("tcp", hostname="a b"), "'a b' is not a host name"),
        (
            "http://a",
            Call("tcp"),
            (
                "'http://a' is not encrypted: it has no certificate; if it only leads to a page that has, "
                "write https://a"
            ),
        ),
        (
            "http://a:8080/page",
            Call("http_2xx"),
            (
                "'http://a:8080/page' is not encrypted: it has no certificate; if this port is encrypted "
                "after all, write https://a:8080"
            ),
        ),
    ],
)
def test_a_bad_call_says_what_is_wrong(target: str, call: Call, message: str) -> None:
    """
    To the person who wrote the scrape configuration.
    """
    with pytest.raises(TargetError) as error:
        target_for(read(OWN), target, None, call)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modules: {a: {timeout: 1s}}", "1: modules.a: the key 'scheme' is missing"),
        ("modules: {a: {scheme: file, target: x}}", "1: modules.a.target: file:// takes a whole path, which"),
        ("modules: {a: {scheme: tls, url: x}}", "1: modules.a.url: unknown key: "),
        (
            "probe: {default_module: htp}",
            "1: probe.default_module: there is no module 'htp': did you mean 'http'",
        ),
    ],
)
def test_a_bad_module_is_a_fault(text: str, message: str) -> None:
    """
    With its line and path.
    """
    with pytest.raises(ConfigError) as error:
        read(f"{text}\n")
    assert str(error.value).startswith(f"expiry.yml:{message}")
