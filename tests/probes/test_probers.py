"""
Each scheme states its prober, and each prober says what may be asked of it.
"""

from typing import get_args

import pytest

from exporter.config.probe_allow import allowed
from exporter.config.reader import _USES, parse
from exporter.config.schema import Settings
from exporter.model.probers import Prober, Setting
from exporter.model.schemes import SCHEMES, Scheme
from exporter.model.urls import parse_url
from exporter.probes import PROBERS, PROBES


def test_each_prober_has_code_and_a_scheme() -> None:
    """
    None is stated that does not probe, and none probes what no URL names.
    """
    assert {meaning.prober.name for meaning in SCHEMES.values()} == PROBERS.keys()
    assert {scheme: PROBES[scheme].name for scheme in SCHEMES} == {
        scheme: meaning.prober.name for scheme, meaning in SCHEMES.items()
    }


def test_a_scheme_without_a_prober_can_not_be_written() -> None:
    """
    The type checker refuses it, too: else the comment below would be one too many for it.
    """
    with pytest.raises(TypeError, match="prober"):
        Scheme(default_port=22)  # type: ignore[call-arg]


def test_each_setting_of_a_prober_is_a_key_and_has_words() -> None:
    """
    A key that only some targets use says which, where it does nothing.
    """
    assert set(get_args(Setting)) == _USES.keys()
    assert _USES.keys() <= Settings.model_fields.keys()
    used = [meaning.prober.settings for meaning in SCHEMES.values()]
    assert set().union(*used) == _USES.keys()


@pytest.mark.parametrize("is_public", [True, False])
def test_a_new_kind_of_probe_takes_what_it_says(is_public: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Whatever its URLs look like: one with a host and a port does not speak TLS for that.
    """
    banner = Prober("ssh", frozenset({"address_family"}), is_public=is_public)
    monkeypatch.setitem(SCHEMES, "ssh", Scheme(banner, 22))
    text = "targets: [{url: 'ssh://a', address_family: ipv4, ocsp: true, server_name: b, timeout: 3s}]"

    config = parse(text.encode(), "expiry.yml", {})

    assert [warning.partition(": does nothing")[0] for warning in config.warnings] == [
        "expiry.yml:1: targets[0].server_name",
        "expiry.yml:1: targets[0].ocsp",
    ]
    assert allowed(("*",)).may_ask(parse_url("ssh://a"), by_proxy=False) == is_public
    assert allowed(("ssh:*",)).may_ask(parse_url("ssh://a"), by_proxy=False)
