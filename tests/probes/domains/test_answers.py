"""
What registries write, and how it is read: RDAP, WHOIS, dates, statuses, and all that is broken.
"""

import contextlib
import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model.reasons import Hazard, Reason
from exporter.net.http import Downloaded
from exporter.probes.domains.rdap import from_rdap
from exporter.probes.domains.registration import Registration, RegistrationError, facts, hazards, moment
from exporter.probes.domains.registries import (
    BOOTSTRAP_AGE,
    age,
    rdap_servers,
    read_bootstrap,
    registrable,
    shipped,
)
from exporter.probes.domains.whois import from_whois, whois_referral
from tests.probes.domains.registry import BEGIN, END, rdap
from tests.support.certificates import NOW

DOMAIN = "example.test"


def utc(year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0) -> float:
    """
    Seconds since the epoch.
    """
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()


TWO_ENDS = (
    "Registry Expiry Date: 2028-10-09T00:00:00Z\n"
    "Registrar Registration Expiration Date: 2027-10-09T00:00:00Z\n"
)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2027-10-09T12:30:45Z", utc(2027, 10, 9, 12, 30, 45)),
        ("2027-10-09T12:30:45.123456Z", utc(2027, 10, 9, 12, 30, 45)),
        ("2027-10-09T12:30:45+03:00", utc(2027, 10, 9, 9, 30, 45)),
        ("2027-10-09 12:30:45+03", utc(2027, 10, 9, 9, 30, 45)),
        ("2027-10-09T12:30:45-0330", utc(2027, 10, 9, 16, 0, 45)),
        ("2027-10-09 12:30:45 CLST", utc(2027, 10, 9, 12, 30, 45)),
        ("2027-10-09 (YYYY-MM-DD)", utc(2027, 10, 9)),
        ("2027/10/09", utc(2027, 10, 9)),
        ("2027. 10. 09.", utc(2027, 10, 9)),
        ("2027.10.09 13:00:00", utc(2027, 10, 9, 13)),
        ("20271009 #12345", utc(2027, 10, 9)),
        ("09-Oct-2027", utc(2027, 10, 9)),
        ("9 October 2027", utc(2027, 10, 9)),
        ("9th October 2027", utc(2027, 10, 9)),
        ("09-Oct-2027 23:59:59 UTC", utc(2027, 10, 9, 23, 59, 59)),
        ("2027-Oct-09.", utc(2027, 10, 9)),
        ("October  9 2027", utc(2027, 10, 9)),
        ("Sat Oct  9 12:30:45 UTC 2027", utc(2027, 10, 9, 12, 30, 45)),
        ("9.10.2027", utc(2027, 10, 9)),
        ("09.10.2027 12:30:45", utc(2027, 10, 9, 12, 30, 45)),
        ("09/10/2027", utc(2027, 10, 9)),
        ("09-10-2027", utc(2027, 10, 9)),
        ("2027-10-09T24:00:00Z", utc(2027, 10, 10)),
        ("2027-02-30", None),
        ("31.02.2027", None),
        ("2027-13-01", None),
        ("0000-00-00", None),
        ("never", None),
        ("", None),
        ("20271", None),
    ],
)
def test_dates_of_registries_are_read(written: str, meant: float | None) -> None:
    """
    Each way that a registry is known to write a date is read, and what is no date is none.
    """
    assert moment(written) == meant


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("   Registry Expiry Date: 2027-10-09T00:00:00Z\r\n", utc(2027, 10, 9)),
        ("paid-till:     2027-10-09T00:00:00Z\nfree-date:     2027-11-10\n", utc(2027, 10, 9)),
        ("expires............: 9.10.2027 00:00:00\n", utc(2027, 10, 9)),
        ("** Expires on..............: 2027-Oct-09.\n", utc(2027, 10, 9)),
        ("[有効期限]                      2027/10/09\n", utc(2027, 10, 9)),
        ("Record expires on 2027-10-09 (YYYY-MM-DD)\n", utc(2027, 10, 9)),
        ("Expires    2027-10-09\n", utc(2027, 10, 9)),
        ("    Relevant dates:\n        Registered on: 01-May-1999\n        Expiry date:  09-Oct-2027\n",
         utc(2027, 10, 9)),
        ("Expiry Date:\n    2027-10-09\n", utc(2027, 10, 9)),
        ("expire:       09.10.2027\n", utc(2027, 10, 9)),
        ("domain_datebilleduntil: 2027-10-09T00:00:00+13:00\n", utc(2027, 10, 8, 11)),
        ("validity:     09-10-2027\n", utc(2027, 10, 9)),
        ("Expiration Date             : 2027. 10. 09.\n", utc(2027, 10, 9)),
        (TWO_ENDS, utc(2027, 10, 9)),
    ],
)  # fmt: skip
def test_ends_in_whois_answers_are_found(text: str, end: float) -> None:
    """
    Each form of WHOIS answer gives its end, the earlier one where there are two.
    """
    assert from_whois(f"Domain: {DOMAIN}\n{text}", DOMAIN).end == end


def test_a_whois_answer_gives_begin_statuses_and_registrar() -> None:
    """
    The form that ICANN prescribes is read whole, without the links behind the statuses.
    """
    text = (
        "Domain Name: EXAMPLE.TEST\r\nRegistrar: Example Registrar, Inc.\r\n"
        "Creation Date: 1999-05-01T00:00:00Z\r\nRegistry Expiry Date: 2027-10-09T00:00:00Z\r\n"
        "Domain Status: clientHold https://icann.org/epp#clientHold\r\n"
        "Domain Status: redemptionPeriod (https://icann.org/epp#redemptionPeriod)\r\n"
    )

    found = from_whois(text, DOMAIN)

    assert found == Registration(
        utc(2027, 10, 9), utc(1999, 5, 1), ("clientHold", "redemptionPeriod"), "Example Registrar, Inc."
    )
    assert [one.hazard for one in hazards(found)] == [Hazard.DOMAIN_HOLD, Hazard.DOMAIN_REDEMPTION]


@pytest.mark.parametrize(
    ("line", "hazard"),
    [
        ("hold:        YES", Hazard.DOMAIN_HOLD),
        ("state:       REGISTERED, NOT DELEGATED, VERIFIED", Hazard.DOMAIN_HOLD),
        ("Status:      pendingDelete", Hazard.DOMAIN_PENDING_DELETE),
        ("eppstatus:   autoRenewPeriod", Hazard.DOMAIN_AUTO_RENEW),
    ],
)
def test_statuses_of_other_registries_are_understood(line: str, hazard: Hazard) -> None:
    """
    Some registries have words of their own for what EPP calls a hold.
    """
    found = from_whois(f"domain: {DOMAIN}\nexpires: 2027-10-09\n{line}\n", DOMAIN)

    assert [one.hazard for one in hazards(found)] == [hazard]


def test_a_domain_that_is_not_held_has_no_hazard() -> None:
    """
    `hold: NO` and the usual locks mean nothing bad.
    """
    text = "domain: example.test\nexpires: 2027-10-09\nhold: NO\nstatus: ACTIVE, clientTransferProhibited\n"

    assert hazards(from_whois(text, DOMAIN)) == ()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("% No match for example.test\n", Reason.NOT_REGISTERED),
        ("%ERROR:101: no entries found\n", Reason.NOT_REGISTERED),
        ("Domain: example.test\nStatus: AVAILABLE\n", Reason.NOT_REGISTERED),
        ("Domain: example.test\nStatus: connect\nChanged: 2025-01-01T00:00:00+01:00\n",
         Reason.NOTHING_EXPIRES),
        ("Domain: example.test\nExpires: soon\n", Reason.NOTHING_EXPIRES),
        ("Your query rate limit exceeded\n", Reason.RATE_LIMITED),
        ("55000000002 Connection refused; access control limit exceeded.\n", Reason.RATE_LIMITED),
        ("<html><body>hello</body></html>\n", Reason.LOOKUP_FAILED),
        ("", Reason.LOOKUP_FAILED),
    ],
)  # fmt: skip
def test_whois_answers_without_an_end_say_why(text: str, reason: Reason) -> None:
    """
    Not registered, not published, refused and not understood are four things.
    """
    with pytest.raises(RegistrationError) as failed:
        from_whois(text, DOMAIN)

    assert failed.value.reason is reason


def test_terms_of_use_are_not_taken_for_an_answer() -> None:
    """
    The long lines of terms speak of limits and of what is not found, which says nothing of the domain.
    """
    terms = (
        "% The data is provided as is; queries beyond the rate limit get 'not found' until the quota is " * 2
    )

    with pytest.raises(RegistrationError) as failed:
        from_whois(f"{terms}\nDomain: {DOMAIN}\nStatus: connect\n", DOMAIN)

    assert failed.value.reason is Reason.NOTHING_EXPIRES


def body(value: Any) -> bytes:
    """
    JSON.
    """
    return json.dumps(value).encode()


def test_an_rdap_answer_gives_all_there_is() -> None:
    """
    End, begin, statuses and the registrar's name are read.
    """
    assert from_rdap(body(rdap(DOMAIN)), DOMAIN) == Registration(
        END, BEGIN, ("active",), "Example Registrar, Inc."
    )


def test_the_registrars_earlier_date_counts() -> None:
    """
    A registry that moved its date ahead of a payment is not believed where the registrar's date is told, too.
    """
    answer = rdap(DOMAIN)
    answer["events"].append({"eventAction": "registrar expiration", "eventDate": "2027-01-01T00:00:00Z"})

    assert from_rdap(body(answer), DOMAIN).end == utc(2027, 1, 1)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (rdap(DOMAIN, end=None), Reason.NOTHING_EXPIRES),
        ({}, Reason.NOTHING_EXPIRES),
        ({"events": [{"eventAction": "expiration", "eventDate": 12}]}, Reason.NOTHING_EXPIRES),
        ({"events": {"eventAction": "expiration"}}, Reason.NOTHING_EXPIRES),
        (rdap("other.test"), Reason.LOOKUP_FAILED),
        ([], Reason.LOOKUP_FAILED),
        ("text", Reason.LOOKUP_FAILED),
        ({"errorCode": 404}, Reason.NOT_REGISTERED),
        ({"errorCode": 429, "title": "slow down"}, Reason.RATE_LIMITED),
        ({"errorCode": ["500"], "title": {}}, Reason.HTTP_FAILED),
    ],
)
def test_rdap_answers_without_an_end_say_why(answer: Any, reason: Reason) -> None:
    """
    What is missing or of a wrong type gives no date, and a reason.
    """
    with pytest.raises(RegistrationError) as failed:
        from_rdap(body(answer), DOMAIN)

    assert failed.value.reason is reason


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"[" * 500_000, b'{"a":' * 100_000, b"{" + b"1" * 5000])
def test_what_is_not_json_is_a_failed_look_up(data: bytes) -> None:
    """
    Deep nesting and bytes of all kinds are refused as what they are.
    """
    with pytest.raises(RegistrationError) as failed:
        from_rdap(data, DOMAIN)

    assert failed.value.reason is Reason.LOOKUP_FAILED


def test_a_registrars_name_can_not_break_a_sentence() -> None:
    """
    Braces, line ends, half characters and endless names come out as plain, short text.
    """
    answer = rdap(DOMAIN, status=("redemption period",))
    answer["entities"][0]["vcardArray"][1][1][3] = "{status} \ud800\n" + "x" * 1000

    (found,) = hazards(from_rdap(body(answer), DOMAIN))

    assert found.detail.isprintable()
    assert "restored through {status}" in found.detail
    assert len(found.detail) < 400
    found.detail.encode("utf-8")


def test_a_registration_without_a_begin_runs_for_a_year() -> None:
    """
    The shortest term that is sold gives the deadlines of a domain as they should be.
    """
    (item,) = facts(Registration(END), NOW).items

    assert item.not_after - item.not_before == 365 * 86400


def test_a_hazard_of_automatic_renewal_claims_no_more_than_is_known() -> None:
    """
    The status is there for domains that were paid for as well, and the sentence says that.
    """
    (found,) = hazards(Registration(END, statuses=("autoRenewPeriod",)))

    assert "whether or not anybody paid" in found.detail


@pytest.mark.parametrize(
    ("registrar", "statuses", "expected"),
    [
        # Nobody paid yet, or nothing is said about it.
        ("2026-10-09T00:00:00Z", ("auto renew period",), [Hazard.DOMAIN_AUTO_RENEW]),
        (None, ("auto renew period",), [Hazard.DOMAIN_AUTO_RENEW]),
        # The registrar's date has moved too, a day apart from the registry's.
        ("2027-10-08T00:00:00Z", ("auto renew period",), []),
        # It was renewed, or transferred with a renewal, since (RFC 3915 section 3.1).
        (None, ("auto renew period", "renew period"), []),
        (None, ("auto renew period", "transfer period"), []),
        # Whoever has paid may be on hold all the same.
        ("2027-10-08T00:00:00Z", ("auto renew period", "client hold"), [Hazard.DOMAIN_HOLD]),
    ],
)
def test_a_renewal_that_is_known_to_be_paid_is_no_hazard(
    registrar: str | None, statuses: tuple[str, ...], expected: list[Hazard]
) -> None:
    """
    By the registrar's own date or by the grace period that a renewal begins.
    """
    answer = rdap(DOMAIN, end=utc(2027, 10, 9), status=statuses)
    if registrar is not None:
        answer["events"].append({"eventAction": "registrar expiration", "eventDate": registrar})

    assert [one.hazard for one in hazards(from_rdap(body(answer), DOMAIN))] == expected


def test_a_registrars_own_date_in_whois_says_who_has_paid() -> None:
    """
    The earlier of both dates is the end; a registrar's that has moved too means that it was paid.
    """
    answer = (
        "Domain Name: EXAMPLE.TEST\nRegistry Expiry Date: 2027-10-09T12:00:00Z\n"
        "Registrar Registration Expiration Date: {}\nDomain Status: autoRenewPeriod\n"
    )
    unpaid, paid = (from_whois(answer.format(one), DOMAIN) for one in ("2026-10-09", "2027-10-09"))

    assert [one.hazard for one in hazards(unpaid)] == [Hazard.DOMAIN_AUTO_RENEW]
    assert unpaid.end == utc(2026, 10, 9)
    assert hazards(paid) == ()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["events", "eventAction", "eventDate", "status", "entities", "roles", "vcardArray"]
            )
            | st.text(max_size=5),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@pytest.mark.no_cover
@given(
    st.dictionaries(
        st.sampled_from(["events", "status", "entities", "ldhName", "errorCode", "title", "links"]), VALUES
    )
)
def test_any_json_gives_a_registration_or_a_reason(answer: dict[str, Any]) -> None:
    """
    No answer raises anything but the documented error, and what comes out can be exported.
    """
    try:
        found = from_rdap(body(answer), DOMAIN)
    except RegistrationError as error:
        error.detail.encode("utf-8")
    else:
        facts(found, NOW)


@given(st.binary(max_size=300))
def test_any_bytes_give_a_registration_or_a_reason(data: bytes) -> None:
    """
    Neither parser raises anything but the documented error, and none of them takes long.
    """
    started = time.thread_time()
    with contextlib.suppress(RegistrationError):
        from_rdap(data, DOMAIN)
    with contextlib.suppress(RegistrationError):
        from_whois(data.decode("latin-1"), DOMAIN)
    assert time.thread_time() - started < 1


LINES = st.builds(
    "{}{}{}".format,
    st.sampled_from(
        ["expires", "Expiry Date", "[有効期限", "paid-till", "Record expires on", "status", "hold"]
    ),
    st.sampled_from([":", "]", " ", "....: ", ": \n"]),
    st.text(st.sampled_from("0123456789-/. :TZ+年月JanOctst,"), max_size=40),
)


@given(st.lists(LINES | st.text(max_size=40), max_size=30))
def test_any_lines_give_a_registration_or_a_reason(lines: list[str]) -> None:
    """
    Lines that nearly are what registries write raise nothing but the documented error.
    """
    try:
        found = from_whois("\n".join(lines), DOMAIN)
    except RegistrationError as error:
        error.detail.encode("utf-8")
    else:
        hazards(found)


@pytest.mark.parametrize(
    "text",
    [
        "expires" + "." * 200_000,
        "\n" * 200_000,
        ("expires " + " " * 300 + "\n") * 600,
        ": : : : " * 25_000,
        "Expires: 1" * 20_000,
        "[" * 200_000,
        ("a" * 119 + "\n") * 1600,
    ],
)
def test_hostile_whois_answers_take_no_time(text: str) -> None:
    """
    The largest answer that is read at all is done with in a second, whatever is in it.
    """
    started = time.process_time()
    with pytest.raises(RegistrationError):
        from_whois(text, DOMAIN)

    assert time.process_time() - started < 1


@given(st.text(max_size=100))
def test_any_text_is_a_time_or_none(text: str) -> None:
    """
    No text raises.
    """
    found = moment(text)
    assert found is None or isinstance(found, float)


def test_referrals_of_iana_are_read() -> None:
    """
    A server is named by `whois` or `refer`, and nothing else is taken for one.
    """
    assert whois_referral("domain: ZZ\n\nwhois:        whois.nic.zz\n") == "whois.nic.zz"
    assert whois_referral("refer: whois.nic.zz.\n") == "whois.nic.zz"
    assert whois_referral("domain: ZZ\nwhois:\nstatus: ACTIVE\n") is None
    assert whois_referral("whois: http://whois.nic.zz/?a=b\n") is None
    assert whois_referral("whois: ...\n") is None


def test_the_longest_name_of_a_bootstrap_file_fits() -> None:
    """
    RFC 9224 section 4: the entry with the most labels wins, and HTTPS goes before HTTP.
    """
    services = read_bootstrap(
        body(
            {
                "services": [
                    [["uk"], ["http://a.example/", "https://b.example"]],
                    [["CO.UK."], ["https://c.example/rdap/"]],
                    [["odd"], ["ftp://d.example/", 3]],
                ]
            }
        )
    )

    assert rdap_servers(services, "example.co.uk") == ("https://c.example/rdap/",)
    assert rdap_servers(services, "example.uk") == ("https://b.example/", "http://a.example/")
    assert rdap_servers(services, "example.odd") == ()
    assert rdap_servers(services, "uk.example") == ()


@given(st.binary(max_size=200) | VALUES.map(body) | VALUES.map(lambda one: body({"services": one})))
def test_any_bootstrap_file_is_one_or_is_not(data: bytes) -> None:
    """
    A file that is broken, or of a wrong type somewhere, is refused with the documented error.
    """
    try:
        read_bootstrap(data)
    except ValueError as error:
        assert str(error)  # noqa: PT017 - not raised is fine, too


def test_the_shipped_part_of_the_list_is_good() -> None:
    """
    It is a bootstrap file, all its servers speak HTTPS, and it says what it is.
    """
    assert rdap_servers(shipped(), "example.com") == ("https://rdap.verisign.com/com/v1/",)
    assert rdap_servers(shipped(), "example.co.uk") == ("https://rdap.nominet.uk/uk/",)
    assert rdap_servers(shipped(), "example.de") == ()
    assert all(url.startswith("https://") for urls in shipped().values() for url in urls)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Cache-Control": "public, max-age=200000"}, 200_000),
        ({"Cache-Control": "max-age=1"}, BOOTSTRAP_AGE[0]),
        ({"Cache-Control": "max-age=999999999"}, BOOTSTRAP_AGE[1]),
        ({"Expires": "Mon, 18 Jan 2027 08:00:00 GMT"}, 3 * 86400),
        ({"Expires": "0"}, BOOTSTRAP_AGE[0]),
        ({}, BOOTSTRAP_AGE[0]),
    ],
)
def test_a_bootstrap_file_is_kept_as_long_as_its_headers_say(headers: dict[str, str], seconds: float) -> None:
    """
    Within a day and a month (RFC 9111 section 5).
    """
    assert age(Downloaded(200, b"", None, headers), NOW) == seconds


@pytest.mark.parametrize(
    ("name", "domain"),
    [
        ("www.example.co.uk", "example.co.uk"),
        ("example.com", "example.com"),
        ("deep.below.example.com", "example.com"),
        # GitHub's customers register nothing: github.io is GitHub's.
        ("somebody.github.io", "github.io"),
        ("www.xn--bcher-kva.de", "xn--bcher-kva.de"),
        ("host.of.internal", "of.internal"),
        ("co.uk", None),
        ("com", None),
    ],
)
def test_what_is_registered_for_a_name(name: str, domain: str | None) -> None:
    """
    The part of the public suffix list that is about registries says where registrations are sold.
    """
    assert registrable(name) == domain
