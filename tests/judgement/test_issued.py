"""
What only public logs know: which issuance renews which certificate, and which is of a strange CA.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from exporter.demo.minter import Minted
from exporter.engine.memory import ProblemRow
from exporter.engine.scrape import Scrape
from exporter.judgement.issued import STRANGERS, Elsewhere, Issuances, Renewed, Stranger, Unseen, newest_ends
from exporter.judgement.problems import problems
from exporter.judgement.verdicts import judge_facts
from exporter.model.issuance import Issuance
from exporter.model.observation import Certificate
from exporter.model.policies import AUTOMATIC, DAY, HOUR, Match
from exporter.model.targets import Target
from exporter.pki.certificates import certificate as load
from exporter.pki.trust import Anchors
from exporter.report.inventory import Inventory
from exporter.report.problems import Words, words
from exporter.report.status import Finding, Level
from tests.golden.scenes import seen
from tests.golden.values import Scene, certificate, facts, intermediate, target
from tests.support.certificates import NOW, authority

HOST = "www.example.com"
OURS = "CN=R11,O=Let's Encrypt,C=US"
THEIRS = "CN=ZeroSSL ECC Domain Secure Site CA,O=ZeroSSL,C=AT"


def served(begin: float = NOW - 65 * DAY, **given: Any) -> Certificate:
    """
    A certificate of 90 days that should have been renewed five days ago.
    """
    one = certificate(HOST, issuer=OURS, begin=begin, end=begin + 90 * DAY, names=(HOST,))
    return replace(one, issuer_organization="Let's Encrypt", **given)


def issued(begin: float = NOW - 5 * DAY, **given: Any) -> Issuance:
    """
    Its renewal as crt.sh knows it.
    """
    end = begin + given.pop("lifetime", 90 * DAY)
    organization = "ZeroSSL" if given.get("issuer") == THEIRS else "Let's Encrypt"
    one = Issuance((HOST,), begin, end, OURS, organization, "ff", "", "number 7 at crt.sh")
    return replace(one, **given)


def of(*leaves: Certificate, at: Target | None = None) -> list[Any]:
    """
    The items of an endpoint with these leaves.
    """
    at = at or target(f"https://{HOST}")
    return [one for leaf in leaves for one in judge_facts(facts(leaf), at, Anchors(None), NOW).items]


def renewed(
    leaf: Certificate, known: Iterable[Issuance], beside: Sequence[Certificate] = (), now: float = NOW
) -> Renewed | None:
    """
    What logs know of a renewal of the leaf, which is served beside others.
    """
    unseen = Unseen(Issuances(known), now)
    items = of(leaf, *beside)
    unseen.note(items)
    return unseen.renewed(items[0])


SURE, UNSURE, NONE = True, False, None
RENEWAL = served(NOW - 5 * DAY, serial="ff")


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ([issued()], SURE),
        # Whoever has it serves it: what was seen is compared as all that is seen.
        ([issued(NOW - 65 * DAY)], NONE),
        # Other names: another server's, or that of a CDN.
        ([issued(names=(HOST, "cdn.example.net"))], NONE),
        ([issued(names=("*.example.com",))], NONE),
        # Another CA on purpose, unless it has the same key.
        ([issued(issuer=THEIRS)], NONE),
        ([issued(issuer=THEIRS, key=served().public_key_sha256)], SURE),
        # Issued just now: nobody deploys in a minute, nor gets into the answers about logs.
        ([issued(NOW - HOUR)], NONE),
        ([issued(NOW - 47 * HOUR)], NONE),
        ([issued(NOW - 48 * HOUR)], SURE),
        # It ends no later.
        ([issued(lifetime=30 * DAY)], NONE),
        # One that stands beside it, as that for the other type of key, and is renewed on its own.
        ([issued(NOW - 62 * DAY)], UNSURE),
        ([issued(NOW - 62 * DAY, serial="fe"), issued()], UNSURE),
        ([issued(NOW - 62 * DAY, serial="fe"), issued(key=served().public_key_sha256)], SURE),
        # The one before it, which is not over yet, says nothing.
        ([issued(NOW - 124 * DAY, serial="fe", lifetime=200 * DAY), issued()], SURE),
        ([], NONE),
    ],
)
def test_what_renews_a_certificate(known: list[Issuance], expected: bool | None) -> None:
    """
    The same names, the same issuer or key, later, and time enough; certain where nothing else may be meant.
    """
    found = renewed(served(), known)
    assert (found.sure if found is not None else None) is expected


def test_what_was_seen_anywhere_is_not_known_from_logs_alone() -> None:
    """
    By its serial number, by its key, or by its validity and names.
    """
    for one in (issued(), issued(serial=""), issued(serial="", key=RENEWAL.public_key_sha256)):
        assert renewed(served(), [one]) is not None
        assert renewed(served(), [one], [RENEWAL]) is None
    assert renewed(served(), [issued(serial="ee")], [RENEWAL]) is not None
    assert renewed(served(), [issued(serial="", key="00")], [RENEWAL]) is not None


def test_two_that_are_served_beside_each_other() -> None:
    """
    Both types of key, of which one was renewed: no log says which. That which is served says it is not.
    """
    rsa = served(NOW - 64 * DAY, key_algorithm="rsa", serial="2", public_key_sha256="rsa")
    known = [issued(NOW - 65 * DAY, serial=served().serial), issued(NOW - 64 * DAY, serial="2"), issued()]
    for leaf, beside in ((served(), rsa), (rsa, served())):
        found = renewed(leaf, known, [beside])
        assert found is not None
        assert not found.sure
        assert renewed(leaf, known, [beside, RENEWAL]) is None


def test_a_short_lifetime_has_less_time() -> None:
    """
    A twentieth of it.
    """
    leaf = served(NOW - 5 * DAY, not_after=NOW + DAY)
    known = [issued(NOW - 7 * HOUR, lifetime=6 * DAY)]
    assert renewed(leaf, known, now=NOW) is None
    assert renewed(leaf, known, now=NOW + HOUR) is not None


def test_names_are_those_that_the_server_lists() -> None:
    """
    Of a certificate with names of two domains crt.sh lists one domain's, and the same of its renewal.
    """
    leaf = served(dns_names=(HOST, "www.example.org"), serial="1a")
    assert renewed(leaf, [issued()]) is None
    assert renewed(leaf, [issued(), issued(NOW - 65 * DAY, serial="1a")]) is not None


@pytest.mark.parametrize(
    "leaf",
    [
        served(extended_key_usage=frozenset({"1.3.6.1.5.5.7.3.2"})),
        served(subject=OURS),
        served(dns_names=("localhost",)),
    ],
)
def test_what_no_public_ca_renews(leaf: Certificate) -> None:
    """
    A client's certificate, one that signed itself, one that is another on each host.
    """
    assert renewed(leaf, [issued(names=leaf.dns_names)]) is None


def strangers(
    known: Iterable[Issuance], *targets: Target, items: Iterable[Any] = ()
) -> dict[str, list[Stranger]]:
    """
    What is told at each target.
    """
    unseen = Unseen(Issuances(known, targets), NOW)
    unseen.note(list(items))
    found = {one.name: list(unseen.strangers(one)) for one in targets}
    return {name: there for name, there in found.items() if there}


def expecting(*issuers: str, url: str = f"https://{HOST}", **given: Any) -> Target:
    """
    A target whose certificates are expected to be of these CAs.
    """
    return target(url, issuers=issuers, **given)


@pytest.mark.parametrize(
    ("issuers", "expected"),
    [
        (("Let's Encrypt",), True),
        (("R11", "DigiCert Inc"), True),
        (("zerossl",), None),
        ((" ZeroSSL ECC Domain Secure Site CA ",), None),
        # What stands above its issuer no log says.
        (("Let's Encrypt", "AB:" * 31 + "AB"), False),
        ((), None),
    ],
)
def test_a_ca_that_is_none_of_those_expected(issuers: tuple[str, ...], expected: bool | None) -> None:
    """
    By its common name or organization.
    """
    found = strangers([issued(issuer=THEIRS)], expecting(*issuers))
    assert [one.sure for there in found.values() for one in there] == [] if expected is None else [expected]
    assert bool(found) is (expected is not None)


def test_nothing_is_strange_without_issuers() -> None:
    """
    Nor at a target that may have any CA, nor where another target of the same name expects it.
    """
    known = [issued(issuer=THEIRS)]
    assert strangers(known, target(f"https://{HOST}")) == {}
    tls = f"tls://{HOST}:8443"
    assert strangers(known, expecting("Let's Encrypt"), target(tls)) == {}
    assert strangers(known, expecting("Let's Encrypt"), expecting("ZeroSSL", url=tls)) == {}
    assert list(strangers(known, expecting("Let's Encrypt"), expecting("R11", url=tls))) == [
        f"https://{HOST}"
    ]


def test_the_policy_says_which_cas_too() -> None:
    """
    That of the match that fits the issuer of the certificate.
    """
    policy = replace(AUTOMATIC, issuers=("Let's Encrypt",))
    known = [issued(issuer=THEIRS)]
    assert strangers(known, target(f"https://{HOST}", policy=policy)) != {}
    matches = (Match(replace(policy, issuers=("ZeroSSL",)), issuers=("*O=ZeroSSL*",)),)
    assert strangers(known, target(f"https://{HOST}", policy=policy, matches=matches)) == {}


def test_what_is_served_is_judged_where_it_is_served() -> None:
    """
    There its own problem says more.
    """
    leaf = certificate(HOST, issuer=THEIRS, begin=NOW - 5 * DAY, end=NOW + 85 * DAY, serial="ff")
    elsewhere = target("https://192.0.2.1")
    known, ours = [issued(issuer=THEIRS)], expecting("Let's Encrypt")
    assert strangers(known, ours, elsewhere) != {}
    assert strangers(known, ours, elsewhere, items=of(leaf, at=elsewhere)) == {}


def test_one_target_tells_it() -> None:
    """
    A whole name goes before a wildcard; the domain's target tells of names that no other target looks at.
    """
    host, other = expecting("R11"), expecting("R11", url="https://api.example.com")
    domain = expecting("R11", url="domain:example.com")
    strange = issued(issuer=THEIRS, names=("*.example.com", HOST))
    assert list(strangers([strange], other, host, domain)) == [host.name]
    wild = issued(issuer=THEIRS, names=("*.example.com",))
    assert list(strangers([wild], other, host, domain)) == [other.name]
    assert list(strangers([issued(issuer=THEIRS, names=("x.y.example.com",))], other, domain)) == [
        domain.name
    ]
    assert strangers([issued(issuer=THEIRS, names=("example.org",))], other, domain) == {}
    assert strangers([wild], target("domain:example.com")) == {}


def test_a_target_tells_so_many_and_no_more() -> None:
    """
    Whoever forgot a CA in `issuers` learns it from the first.
    """
    many = [issued(issuer=THEIRS, serial=f"{number:x}") for number in range(STRANGERS + 1)]
    (there,) = strangers(many, expecting("R11")).values()
    assert len(there) == STRANGERS


def test_cas_above_the_issuer_are_learned_from_what_is_served() -> None:
    """
    Where a root was named, only the organizations below it are known that were seen; the rest is not certain.
    """
    root = expecting("ISRG Root X1")
    accepted = [replace(one, expected=("ISRG Root X1",), foreign=()) for one in of(served())]
    assert strangers([issued()], root, items=accepted) == {}
    (there,) = strangers([issued(issuer=THEIRS)], root, items=accepted).values()
    assert [one.sure for one in there] == [False]


def test_what_is_over_is_no_stranger() -> None:
    """
    It can't be used any more.
    """
    assert strangers([issued(NOW - 90 * DAY, issuer=THEIRS)], expecting("R11")) == {}


def told(at: Target, minted: Minted, *known: Issuance) -> tuple[dict[tuple[str, str], Words], list[Finding]]:
    """
    The problems of a target in words, by name and severity, and what its page says.
    """
    leaf = load(minted.der)
    one, issuances = Scene().see(at, seen(facts(leaf, intermediate()))), Issuances(known, [at])
    rows = one.rows()
    newest = newest_ends((row.verdict for row in rows), issuances, NOW)
    found = problems((row.known for row in rows), newest, NOW)
    said = {(str(key[2]), str(key[3])): words(ProblemRow(there, NOW), {}) for key, there in found.items()}
    scrape = Scrape((), tuple(rows), (), 0.1, 9.5, complete=True, at=NOW, issuances=issuances)
    inventory = Inventory(scrape)
    (judged, *_) = rows[0].verdict.items if rows[0].verdict is not None else ()
    assert inventory.newest_end(judged) == newest.newer_end(judged) or newest.newer_end(judged) is None
    return said, list(inventory.status(rows[0], NOW).findings)


def of_ours(begin: float = NOW - 65 * DAY) -> Minted:
    """
    A certificate of 90 days by our CA.
    """
    return authority().issue(HOST, [HOST], not_before=begin, not_after=begin + 90 * DAY)


def ours(begin: float = NOW - 5 * DAY, **given: Any) -> Issuance:
    """
    A renewal by our CA.
    """
    name = "CN=Test Intermediate"
    return issued(begin, issuer=name, organization=name, **given)


ISSUED = "one until 2027-04-10 08:00 UTC was issued on 2027-01-10 08:00 UTC (number 7 at crt.sh)"


def test_what_is_certain_is_a_problem() -> None:
    """
    The cause says where it is known from.
    """
    said, findings = told(target(f"https://{HOST}"), of_ours(), ours())
    cause = said["not_deployed", "warning"].cause
    assert [one.words for one in findings][-1] == f"no target shows a newer certificate: {ISSUED}"
    assert cause.endswith(f"renewed but not deployed: {ISSUED}")


def test_what_is_not_certain_is_a_note() -> None:
    """
    Beside the problem that the renewal is late.
    """
    beside = ours(NOW - 64 * DAY, serial="fe", lifetime=80 * DAY)
    said, findings = told(target(f"https://{HOST}"), of_ours(), ours(), beside)
    assert ("not_deployed", "warning") not in said
    assert said["renewal_overdue", "warning"].cause.endswith(f"perhaps renewed but not deployed: {ISSUED}")
    notes = [one for one in findings if one.level is Level.OK]
    assert [one.words for one in notes] == [f"no target shows a newer certificate: {ISSUED}"]


def test_before_the_renewal_is_late_it_is_a_note() -> None:
    """
    Somebody may be about to deploy it.
    """
    said, findings = told(target(f"https://{HOST}"), of_ours(NOW - 62 * DAY), ours())
    assert said == {}
    assert [one.level for one in findings] == [Level.OK]


def test_a_stranger_in_words() -> None:
    """
    Who issued it for whom, where it is known from, who was expected, and what to do; the served one is fine.
    """
    at = expecting("Test Intermediate")
    strange = issued(issuer=THEIRS, names=("*.example.com", "a.example.com", "b.example.com", HOST))
    said, findings = told(at, of_ours(NOW - DAY), strange, replace(strange, serial="", names=(HOST,)))
    (there,) = said.values()
    assert list(said) == [("foreign_issuer", "critical")]
    assert there.cause == (
        "a certificate for *.example.com, a.example.com, b.example.com and 1 more was issued by ZeroSSL on "
        "2027-01-10 08:00 UTC (number 7 at crt.sh), no target shows it, expected is Test Intermediate"
    )
    assert there.where == f"in public logs (issuer {THEIRS}, serial ff); also 1 more"
    assert there.advice.startswith("Ask who ordered it.")
    assert "q=example.com" in there.text
    another = issued(issuer=THEIRS.replace("ZeroSSL", "Z"), organization="Z")
    assert {one.item for one in told(at, of_ours(NOW - DAY), strange, another)[1]} == {
        "issued by ZeroSSL",
        "issued by Z",
    }
    assert {one.level for one in findings} == {Level.CRITICAL}
    assert findings[0].words == f"not by the CAs in `issuers`: {there.cause}"


def test_a_stranger_that_is_not_certain_is_a_note() -> None:
    """
    It says how to make it certain.
    """
    root = authority().issuer
    assert root is not None
    at = expecting(load(root.der).fingerprint_sha256, "Test Intermediate")
    said, findings = told(at, of_ours(NOW - DAY), issued(issuer=THEIRS))
    assert said == {}
    assert "was issued by ZeroSSL" in findings[-1].words
    assert findings[-1].advice.startswith("Logs say only who issued it")


def test_all_that_is_known_elsewhere() -> None:
    """
    Of what was seen and what is in logs, the latest end counts.
    """
    seen_elsewhere = served(NOW - 20 * DAY, serial="5")
    for known, end in (([issued()], NOW + 85 * DAY), ([], NOW + 70 * DAY)):
        elsewhere: Elsewhere[None] = Elsewhere(Issuances(known), NOW)
        items = of(served(), seen_elsewhere)
        elsewhere.note(items, None)
        assert elsewhere.newer_end(items[0]) == end
