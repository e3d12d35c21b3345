"""
What the annotations of a Secret say of the renewal of what is in it.
"""

import base64

import pytest

from exporter.demo.minter import root
from exporter.model.observation import Facts
from exporter.probes.kubernetes.objects import read_certificate, read_secret
from tests.support.certificates import DAY, NOW


@pytest.mark.parametrize(
    ("annotations", "renewer", "left"),
    [
        ({}, "", None),
        ({"cert-manager.io/certificate-name": "web"}, "cert-manager", None),
        ({"cert-manager.io/renew-before": "360h"}, "cert-manager", 15 * DAY),
        ({"cert-manager.io/renew-before": "1h30m0s"}, "cert-manager", 5400),
        ({"cert-manager.io/renew-before": "soon"}, "cert-manager", None),
    ],
)
def test_a_secret_of_cert_manager_says_so(
    annotations: dict[str, str], renewer: str, left: float | None
) -> None:
    """
    And when it is renewed, if that is written there.
    """
    one = root("Web", not_before=NOW, not_after=NOW + 90 * DAY, ca=False)
    data = {"tls.crt": base64.b64encode(one.pem).decode()}
    metadata = {"namespace": "prod", "name": "web", "annotations": annotations}
    found = read_secret({"metadata": metadata, "type": "kubernetes.io/tls", "data": data}, None, None)
    facts = found.outcomes["prod/web:tls.crt"]
    assert isinstance(facts, Facts)
    assert facts.renewer == renewer
    (item,) = facts.items
    assert (item.renewal and item.not_after - item.renewal.due) == left


def test_a_certificate_without_a_time_of_renewal_has_its_share_before_the_end() -> None:
    """
    `renewBefore` of the object itself.
    """
    metadata = {"namespace": "prod", "name": "web"}
    spec = {"secretName": "web-tls", "renewBefore": "240h0m0s"}
    found = read_certificate(
        {"metadata": metadata, "spec": spec, "status": {"notAfter": "2027-04-14T08:00:00Z"}}, None, None
    )
    assert found.renewed is not None
    assert found.renewed.not_after is not None
    assert found.renewed.not_after - found.renewed.due == 10 * DAY
