"""
`dns_checks` and `dns_servers` in a configuration.
"""

import pytest

from exporter.config.reader import parse
from exporter.model.hosts import TargetError, parse_name_server
from exporter.yaml_lines import ConfigError


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("192.0.2.53", ("192.0.2.53", 53)),
        ("192.0.2.53:5353", ("192.0.2.53", 5353)),
        ("2001:db8::53", ("2001:db8::53", 53)),
        ("[2001:DB8::53]", ("2001:db8::53", 53)),
        ("[2001:db8::53]:5353", ("2001:db8::53", 5353)),
    ],
)
def test_a_name_server_is_an_address_with_or_without_a_port(text: str, server: tuple[str, int]) -> None:
    """
    Port 53 unless it says another.
    """
    assert parse_name_server(text) == server


@pytest.mark.parametrize(
    "text",
    ["", "ns.example.com", "192.0.2.53:", "192.0.2.53:0", "192.0.2.53:65536", "[::1", "[::1]:x", "[a]:1"],
)
def test_what_is_no_name_server_is_refused(text: str) -> None:
    """
    A name would have to be looked up first: by whom?
    """
    with pytest.raises(TargetError, match="is not the address of a name server"):
        parse_name_server(text)


def test_the_settings_of_a_target() -> None:
    """
    They may be set for one target, and in `defaults` for all.
    """
    text = (
        b"defaults: {dns_servers: [192.0.2.53]}\n"
        b"targets:\n- https://a.example.com\n- {url: https://b.example.com, dns_checks: true,"
        b" dns_servers: ['[2001:db8::53]:5353', 192.0.2.54]}\n"
    )

    one, two = parse(text, "expiry.yml", {}).targets

    assert (one.dns_checks, one.dns_servers) == (None, (("192.0.2.53", 53),))
    assert (two.dns_checks, two.dns_servers) == (True, (("2001:db8::53", 5353), ("192.0.2.54", 53)))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("dns_servers: [ns.example.com]", "'ns.example.com' is not the address of a name server"),
        ("dns_servers: []", "must not be empty"),
        ("dns_servers: 192.0.2.53", "must be a list"),
        ("dns_checks: often", "must be true, false or auto"),
    ],
)
def test_faults_are_told_with_what_would_be_right(settings: str, words: str) -> None:
    """
    As for every other key.
    """
    with pytest.raises(ConfigError) as failed:
        parse(f"targets: [{{url: 'dns:example.com', {settings}}}]\n".encode(), "expiry.yml", {})

    (fault,) = failed.value.faults
    assert words in fault.message
    assert fault.line == 1
