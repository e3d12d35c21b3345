"""
The keys `proxy` and `proxy_protocol`: what may be written, what is told of what may not, and no secret in it.
"""

from pathlib import Path

import pytest

from exporter.config.reader import parse
from exporter.config.settings import Config
from exporter.model.proxies import Proxy
from exporter.yaml_lines import ConfigError

ENVIRONMENT = {"P": "me:hunter22", "BAD": "hunter22", "LONG": f"me:{'x' * 256}", "LINES": "me:a\nhunter22"}


def read(text: str) -> Config:
    """
    A configuration with one target besides this text.
    """
    return parse(f"{text}\n".encode(), "expiry.yml", ENVIRONMENT)


def fault(text: str) -> str:
    """
    The one fault of a configuration, after the name of the file.
    """
    with pytest.raises(ConfigError) as error:
        read(text)
    (found,) = error.value.faults
    return str(found).removeprefix("expiry.yml:")


@pytest.mark.parametrize(
    ("written", "proxy"),
    [
        ("http://proxy.example:8080", Proxy("http", "proxy.example", 8080)),
        ("http://Proxy.Example", Proxy("http", "proxy.example", 3128)),
        ("socks5://192.0.2.80/", Proxy("socks5", "192.0.2.80", 1080)),
        ('"http://[2001:db8::1]:3128"', Proxy("http", "2001:db8::1", 3128)),
        (
            "{url: http://proxy.example, credentials_env: P}",
            Proxy("http", "proxy.example", 3128, "me:hunter22"),
        ),
        ("none", None),
    ],
)
def test_a_proxy_in_its_parts(written: str, proxy: Proxy | None) -> None:
    """
    A URL alone, or a mapping; the ports are those that proxies usually have.
    """
    (target,) = read(f"targets: [{{url: https://a, proxy: {written}}}]").targets
    assert target.proxy == proxy


def test_a_proxy_is_shown_as_it_is_written() -> None:
    """
    With the brackets of an IPv6 address, and without credentials.
    """
    assert str(Proxy("http", "2001:db8::1", 3128, "me:hunter22")) == "http://[2001:db8::1]:3128"


def test_credentials_come_from_a_file(tmp_path: Path) -> None:
    """
    Without its line end.
    """
    (tmp_path / "secret").write_text("me:hunter:22 \n", encoding="utf-8")
    text = "targets: [{url: https://a, proxy: {url: http://p, credentials_file: secret}}]"
    (target,) = parse(text.encode(), str(tmp_path / "expiry.yml"), {}).targets
    assert target.proxy is not None
    assert target.proxy.credentials == "me:hunter:22 "


def test_a_target_takes_the_proxy_of_defaults_or_its_own_or_none() -> None:
    """
    Credentials of one proxy never go to another.
    """
    text = """
defaults:
  proxy: {url: http://p, credentials_env: P}
  proxy_protocol: v1
targets:
- https://a
- {url: https://b, proxy: socks5://q, proxy_protocol: v2}
- {url: https://c, proxy: none, proxy_protocol: none}
"""
    first, second, third = read(text).targets
    assert (first.proxy, first.proxy_protocol) == (Proxy("http", "p", 3128, "me:hunter22"), "v1")
    assert (second.proxy, second.proxy_protocol) == (Proxy("socks5", "q", 1080), "v2")
    assert (third.proxy, third.proxy_protocol) == (None, "none")


FORM = "write http://HOST:PORT or socks5://HOST:PORT"
NO_USER = "a proxy's URL must not contain a user or a password: use credentials_file or credentials_env"
NOT_HERE = "credentials are not written here: use credentials_file or credentials_env"
NOT_CREDENTIALS = "must be user:password, each of 1 to 255 bytes"

FAULTS: dict[str, tuple[str, str]] = {
    "no scheme": ("proxy.example:3128", f"proxy: a proxy is reached by HTTP (CONNECT) or SOCKS5: {FORM}"),
    "over TLS": ("https://p", f"proxy: a proxy is reached by HTTP (CONNECT) or SOCKS5: {FORM}"),
    "no host": ("'http://'", f"proxy: a proxy is reached by HTTP (CONNECT) or SOCKS5: {FORM}"),
    "port 0": ("http://p:0", f"proxy: a proxy's URL has a host and a port only: {FORM}"),
    "a path": ("http://p/x", f"proxy: a proxy's URL has a host and a port only: {FORM}"),
    "a bad port": ("http://p:x", f"proxy: this is not a URL: {FORM}"),
    "a bad host": ("http://p..q", "proxy: 'p..q' is not a host name"),
    "a password": ("http://me:hunter22@p", f"proxy: {NO_USER}"),
    "a list": ("[http://p]", "proxy: must be a mapping (lines of 'key: value')"),
    "no URL": ("{credentials_env: P}", "proxy: the key 'url' is missing"),
    "a password inside": ("{url: http://p, password: hunter22}", f"proxy.password: {NOT_HERE}"),
    "credentials inside": ("{url: http://p, credentials: hunter22}", f"proxy.credentials: {NOT_HERE}"),
    "another key": ("{url: http://p, urls: x}", "proxy.urls: unknown key: did you mean 'url'?"),
    "two places": (
        "{url: http://p, credentials_env: P, credentials_file: /dev/null}",
        (
            "proxy.credentials_file: there is no regular file of this name; paths are relative to this "
            "configuration"
        ),
    ),
    "not set": (
        "{url: http://p, credentials_env: ABSENT}",
        "proxy.credentials_env: the environment variable of this name is not set or empty",
    ),
    "no colon": ("{url: http://p, credentials_env: BAD}", f"proxy.credentials_env: {NOT_CREDENTIALS}"),
    "too long": ("{url: http://p, credentials_env: LONG}", f"proxy.credentials_env: {NOT_CREDENTIALS}"),
    "two lines": (
        "{url: http://p, credentials_env: LINES}",
        "proxy.credentials_env: must be user:password in one line",
    ),
    "credentials for none": (
        "{url: none, credentials_env: P}",
        "proxy: `none` has no credentials: remove them",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_says_what_would_be_right(name: str) -> None:
    """
    One exact message, with its place, and no secret in it.
    """
    written, message = FAULTS[name]
    found = fault(f"targets: [{{url: https://a, proxy: {written}}}]")
    assert found == f"1: targets[0].{message}"
    assert "hunter22" not in found


def test_credentials_stand_in_one_place(tmp_path: Path) -> None:
    """
    Which of two would count can't be known.
    """
    (tmp_path / "secret").write_text("me:too", encoding="utf-8")
    text = f"defaults: {{proxy: {{url: http://p, credentials_env: P, credentials_file: {tmp_path}/secret}}}}"
    assert (
        fault(text)
        == "1: defaults.proxy: credentials_file and credentials_env exclude each other: remove one"
    )


def test_a_version_of_the_header_that_there_is_not() -> None:
    """
    It is told which there are.
    """
    found = fault("defaults: {proxy_protocol: v3}")
    assert found == "1: defaults.proxy_protocol: must be 'none', 'v1' or 'v2'"


def test_credentials_are_in_no_repr() -> None:
    """
    A traceback or a debug log may show a configuration.
    """
    config = read("defaults: {proxy: {url: http://p, credentials_env: P}}\ntargets: [https://a]")
    assert "hunter22" not in repr(config)
    assert "hunter22" not in f"{config.targets[0]} {config.targets[0].proxy}"
