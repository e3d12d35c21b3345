"""
Times of RFC 3339, wherever they come from.
"""

import os
import time
from collections.abc import Iterator

import pytest

from exporter.formats import parse
from exporter.formats.parsed import ParseContext
from exporter.model.times import rfc3339
from exporter.pki.renewal_information import RenewalInformationError, read_window
from exporter.probes.domains.rdap import from_rdap
from exporter.probes.kubernetes.objects import read_certificate

EIGHT = 1800000000.0
"""2027-01-15T08:00:00Z."""


@pytest.fixture(params=["UTC", "America/New_York", "Asia/Kathmandu"], autouse=True)
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """
    Runs each test with this host in several time zones.
    """
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_this_host_is_elsewhere() -> None:
    """
    The fixture does what it says: without it, the tests below would show nothing.
    """
    assert time.localtime(EIGHT).tm_hour == {"UTC": 8, "America/New_York": 3}.get(os.environ["TZ"], 13)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2027-01-15T08:00:00Z", EIGHT),
        ("2027-01-15t08:00:00z", EIGHT),
        ("2027-01-15 08:00:00Z", EIGHT),
        ("2027-01-15T08:00:00+00:00", EIGHT),
        ("2027-01-15T08:00:00-00:00", EIGHT),
        ("2027-01-15T13:45:00+05:45", EIGHT),
        ("2027-01-14T20:30:00.25-11:30", EIGHT + 0.25),
        ("2027-01-15T08:00:00.123456789Z", EIGHT + 0.123456),
        ("2016-12-31T23:59:60Z", 1483228800.0),
        ("1990-12-31T15:59:60.5-08:00", 662688000.5),
        ("0001-01-01T00:00:00+14:00", -62135596800.0 - 14 * 3600),
        ("9999-12-31T23:59:59-12:00", 253402300799.0 + 12 * 3600),
    ],
)
def test_a_time_of_rfc_3339_is_read(text: str, seconds: float) -> None:
    """
    With a zone of any kind, small letters, fractions and leap seconds (sections 5.6 and 5.7).
    """
    assert rfc3339(text) == pytest.approx(seconds, abs=1e-6)


@pytest.mark.parametrize(
    "text",
    [
        *("", "soon", "2027-01-15", "20270115T080000Z", "2027-W02-5T08:00:00Z", "2027-01-15T08:00Z"),
        *("2027-01-15T08:00:00,5Z", "2027-01-15T08:00:00.Z", "2027-02-29T08:00:00Z", "2027-01-15T24:00:01Z"),
        *(
            "2027-01-15T08:00:61Z",
            "2027-01-15T08:00:00+0100",
            "2027-01-15T08:00:00+25:00",
            "٢٠٢٧-01-15T08:00:00Z",
        ),
        *(
            "0000-01-15T08:00:00Z",
            " 2027-01-15T08:00:00Z",
            "2027-01-15T08:00:00Z\n",
            None,
            1800000000,
            b"2027",
        ),
    ],
)
def test_what_is_no_time_of_rfc_3339_is_none(text: object) -> None:
    """
    Other forms of ISO 8601, days that no calendar has, and what is no text.
    """
    assert rfc3339(text) is None
    assert rfc3339(text, utc_without_zone=True) is None


def test_a_time_without_a_zone_is_in_utc_or_none() -> None:
    """
    Never in the zone of this host.
    """
    assert rfc3339("2027-01-15T08:00:00") is None
    assert rfc3339("2027-01-15T08:00:00", utc_without_zone=True) == EIGHT


def test_kubernetes_takes_no_time_without_a_zone() -> None:
    """
    A metav1.Time is one of RFC 3339: the API server refuses others, and so does the exporter.
    """

    def due(when: str) -> float | None:
        status = {"renewalTime": when, "notAfter": "2027-02-15T08:00:00Z"}
        metadata = {"namespace": "prod", "name": "web", "resourceVersion": "1"}
        stored = read_certificate(
            {"metadata": metadata, "spec": {"secretName": "web"}, "status": status}, None, None
        )
        return stored.renewed.due if stored.renewed is not None else None

    assert due("2027-01-15T08:00:00Z") == EIGHT
    assert due("2027-01-15T08:00:00") is None


def test_renewal_information_takes_no_time_without_a_zone() -> None:
    """
    RFC 9773 section 4.2: timestamps of RFC 3339.
    """
    window = '{"suggestedWindow": {"start": "2027-01-14T08:00:00Z", "end": "2027-01-15T08:00:00%s"}}'

    assert read_window((window % "Z").encode()).due == EIGHT
    with pytest.raises(RenewalInformationError, match="not one of RFC 3339"):
        read_window((window % "").encode())


@pytest.mark.parametrize("written", ["2027-01-15T08:00:00Z", "2027-01-15t08:00:00z", "2027-01-15T08:00:00"])
def test_a_registry_is_understood_without_a_zone(written: str) -> None:
    """
    RFC 9083 wants RFC 3339; some registries leave out the zone, and an end in UTC is better than none.
    """
    answer = '{"ldhName": "a.test", "events": [{"eventAction": "expiration", "eventDate": "%s"}]}'

    assert from_rdap((answer % written).encode(), "a.test").end == EIGHT


@pytest.mark.parametrize(
    "written", ["2027-01-15T08:00:00Z", " 2027-01-15T09:00:00+01:00\n", "2027-01-15T08:00:00"]
)
def test_saml_is_in_utc_without_a_zone(written: str) -> None:
    """
    SAML core section 1.3.3: times are in UTC, and none has to say so.
    """
    namespace = "urn:oasis:names:tc:SAML:2.0:metadata"
    document = f'<EntityDescriptor xmlns="{namespace}" entityID="a" validUntil="{written}"/>'

    assert [item.not_after for item in parse(document.encode(), ParseContext()).items] == [EIGHT]
