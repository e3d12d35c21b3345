"""
Advice: there is some for everything that can be wrong.
"""

import re
from dataclasses import replace
from pathlib import Path

import pytest

import exporter
from exporter.model.observation import Item
from exporter.model.policies import AUTOMATIC, BUILT_IN, MANUAL, Policy
from exporter.model.reasons import Fault, Hazard, Kind, Reason
from exporter.report import advice
from exporter.report.advice import FAILURES, FAULTS, HAZARDS, policy_hint, renewal
from tests.golden import values


def test_every_reason_fault_and_hazard_has_advice() -> None:
    """
    And in the order of its enum, so that none is looked for in vain.
    """
    assert list(FAILURES) == list(Reason)
    assert list(FAULTS) == list(Fault)
    assert list(HAZARDS) == list(Hazard)


@pytest.mark.parametrize("values", [Reason, Fault, Hazard])
def test_every_reason_fault_and_hazard_is_given_somewhere(values: type[Reason | Fault | Hazard]) -> None:
    """
    None is described that nothing gives.
    """
    modules = [
        path for path in Path(exporter.__file__).parent.glob("**/*.py") if path != Path(advice.__file__)
    ]
    code = "".join(path.read_text(encoding="utf-8") for path in modules)
    assert [one for one in values if not re.search(rf"\b{values.__name__}\.{one.name}\b", code)] == []


@pytest.mark.parametrize(
    "words",
    [
        *FAILURES.values(),
        *FAULTS.values(),
        *HAZARDS.values(),
        *(renewal(kind, policy) for kind in Kind for policy in BUILT_IN.values()),
    ],
)
def test_advice_is_whole_sentences(words: str) -> None:
    """
    It is shown as it stands, in a list and in a calendar.
    """
    assert words[0].isupper()
    assert words.endswith(".")
    assert "  " not in words
    assert len(words) < 250


@pytest.mark.parametrize(
    ("kind", "policy", "said"),
    [
        (Kind.LEAF, AUTOMATIC, "Read the log of what renews it"),
        (Kind.LEAF, MANUAL, "Renew it now (this takes a person)"),
        (Kind.INTERMEDIATE, AUTOMATIC, "Install the chain"),
        (Kind.REGISTRATION, AUTOMATIC, "Renew the domain"),
    ],
)
def test_who_renews_decides_what_is_to_be_done(kind: Kind, policy: Policy, said: str) -> None:
    """
    A machine that did not is looked at; a person who should is told to.
    """
    assert renewal(kind, policy).startswith(said)


@pytest.mark.parametrize(
    ("issuer", "place", "renewer", "policy", "named"),
    [
        ("CN=Vault", "https://a.example.com", "", AUTOMATIC, "vault-agent"),
        ("CN=Any", "/etc/letsencrypt/live/a/fullchain.pem", "", MANUAL, "acme"),
        ("CN=Any", "prod/web:tls.crt", "cert-manager", AUTOMATIC, "cert-manager"),
        ("CN=Vault", "https://a.example.com", "", replace(AUTOMATIC, name="mine"), ""),
        ("CN=Any", "https://a.example.com", "", AUTOMATIC, ""),
    ],
)
def test_the_policy_of_a_renewer_that_shows_is_named(
    issuer: str, place: str, renewer: str, policy: Policy, named: str
) -> None:
    """
    Unless somebody chose a policy, or nothing gives it away.
    """
    one = values.certificate(issuer=issuer)
    item = Item("leaf", Kind.LEAF, one.not_before, one.not_after, one)
    said = policy_hint(item, policy, [place], renewer)
    assert f"`policy: {named}`" in said if named else not said
