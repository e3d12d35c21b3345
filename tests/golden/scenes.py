"""
The states that have a golden file. A function's name is its file's name.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from exporter.engine.results import ProbeResult
from exporter.model.errors import LeftOut
from exporter.model.observation import Chain, Facts, Failed, FailedLookup, FoundHazard, Observed, Renewal, Tls
from exporter.model.policies import MANUAL
from exporter.model.reasons import Fault, Hazard, Lookup, Reason
from exporter.probes.tls import refusals
from exporter.probes.tls.handshake import Seen
from exporter.report import exposition, families
from tests.golden.values import ADDRESS, TLS, Scene, certificate, facts, intermediate, root, target
from tests.support.certificates import DAY, NOW

DIRECTORY = Path(__file__).parent

OVERRIDE = "\N{RIGHT-TO-LEFT OVERRIDE}"


def seen(found: Facts, label: str = ADDRESS) -> ProbeResult:
    """
    A look that went well and took 12.5 ms.
    """
    return ProbeResult(label, Observed(found), 0.0125)


def failed(reason: Reason, label: str = ADDRESS, found: Facts | None = None) -> ProbeResult:
    """
    A look that failed after a second.
    """
    return ProbeResult(label, Failed(reason, f"words about {reason}", found), 1.0)


def ending(end: float) -> str:
    """
    A trusted 90-day certificate that ends then.
    """
    return (
        Scene().see(target(), seen(facts(certificate(begin=end - 90 * DAY, end=end), intermediate()))).text()
    )


def healthy() -> str:
    """
    Nothing is wrong.
    """
    return ending(NOW + 75 * DAY)


def renewal_late() -> str:
    """
    Twenty days are left: after the warning, which comes with 25.5.
    """
    return ending(NOW + 20 * DAY)


def late_by_its_habit() -> str:
    """
    Renewed each week while 83 days were left, and then not: half of its lifetime is over.
    """
    scene = Scene()
    for number in range(4):
        begin = NOW - (46 + 7 * (3 - number)) * DAY
        scene.see(
            target(), seen(facts(certificate(begin=begin, end=begin + 90 * DAY), intermediate())), at=begin
        )
    return scene.text()


def near_end() -> str:
    """
    Two days are left: after the critical deadline, which comes with seven.
    """
    return ending(NOW + 2 * DAY)


def expired() -> str:
    """
    The leaf ended three days ago, and clients refuse it.
    """
    end = NOW - 3 * DAY
    found = facts(certificate(begin=end - 90 * DAY, end=end), intermediate())
    return Scene().see(target(), seen(found), found=[Fault.EXPIRED]).text()


def held_while_down() -> str:
    """
    Seen once, refused a minute later: all that was seen is still there, with its age.
    """
    scene = Scene().see(target(), seen(facts(certificate(end=NOW + 2 * DAY), intermediate())))
    return scene.see(target(), failed(Reason.CONNECTION_REFUSED), at=NOW + 60).text()


def never_seen() -> str:
    """
    The name has no address and never had: one endpoint, called by host and port.
    """
    return (
        Scene()
        .see(target(), failed(Reason.DNS_NOT_FOUND, "lms.example.com:443"), located=False)
        .text(at=NOW + 900)
    )


def untrusted_with_several_faults() -> str:
    """
    Each fault is a series.
    """
    tls = Tls("TLSv1", "RC4-SHA", "lms.example.com", client_certificate_requested=False, staple=None)
    found = facts(certificate("other.example.com", issuer="CN=other.example.com", key="rsa-1024"), tls=tls)
    reasons = [Fault.NAME_MISMATCH, Fault.SELF_SIGNED, Fault.WEAK_KEY, Fault.WEAK_PROTOCOL, Fault.WEAK_CIPHER]
    return Scene().see(target(), seen(found), found=reasons).text()


def client_certificate_demanded() -> str:
    """
    The probe failed and the certificate is fresh all the same.
    """
    found = facts(certificate(), intermediate())
    return Scene().see(target(), failed(Reason.CLIENT_CERTIFICATE_REQUIRED, found=found)).text()


def dual_keys() -> str:
    """
    An RSA and an ECDSA certificate for the same names; neither renews the other.
    """
    above = intermediate()
    found = refusals.facts(
        Seen(Chain((certificate(key="rsa-2048", end=NOW + 40 * DAY), above), "rsa"), TLS),
        Seen(Chain((certificate(key="ecdsa-256"), above), "ecdsa"), TLS),
    )
    return Scene().see(target(keys="both"), seen(found)).text()


def served_root() -> str:
    """
    The root is shown, but it has no end of its own here: clients use their own copy.
    """
    return Scene().see(target(), seen(facts(certificate(), intermediate(), root()))).text()


def intermediate_ends_before_leaf() -> str:
    """
    Then, and only then, the intermediate has deadlines: those of a thing with the leaf's lifetime.
    """
    return Scene().see(target(), seen(facts(certificate(), intermediate(end=NOW + 50 * DAY)))).text()


def an_older_one_is_back() -> str:
    """
    Another issuer and another key, early in the life of what was there, which ended and began later.
    """
    scene = Scene().see(target(), seen(facts(certificate(), intermediate())), at=NOW - 60)
    older = certificate(issuer="CN=Other", key="rsa-2048", begin=NOW - 80 * DAY, end=NOW + 10 * DAY)
    return scene.see(target(), seen(facts(older, intermediate())), found=[Fault.UNTRUSTED_ROOT]).text()


def weird_label_values() -> str:
    """
    Quotes, line ends, backslashes, what is no UTF-8, ten thousand characters, right to left.
    """
    odd = certificate(
        "x",
        subject="CN=" + "a" * 10_000,
        issuer=f'CN="q\\uote",O=line\nend\t\N{LINE SEPARATOR},OU={OVERRIDE}txet,L=\udcff\udcfe',
        serial="f" * 40,
        key="unknown",
    )
    weird = f'a "name"\\ with\nlines {OVERRIDE}and \udcff'
    return Scene().see(target(name=weird), seen(facts(odd))).text()


def renewal_by_its_issuer() -> str:
    """
    The issuer says when it wants the leaf renewed, and the zone's CAA records forbid it by now. Neither lists
    nor the responder can be reached.
    """
    found = facts(certificate(), intermediate())
    leaf = replace(found.items[0], renewal=Renewal(NOW + 40 * DAY, NOW + 38 * DAY, "https://ca.example/why"))
    hazard = FoundHazard(Hazard.CAA_FORBIDS_ISSUER, "words about it")
    unanswered = (
        FailedLookup(Lookup.CRL, Reason.HTTP_FAILED, "words about it"),
        FailedLookup(Lookup.CRL, Reason.HTTP_FAILED, "words about the list of its issuer"),
        FailedLookup(Lookup.OCSP, Reason.TIMEOUT, "words about it", stands=True),
    )
    items = (leaf, *found.items[1:])
    return (
        Scene()
        .see(target(), seen(replace(found, items=items, hazards=(hazard,), unanswered=unanswered)))
        .text()
    )


def user_labels() -> str:
    """
    They stand on `expiry_target_info` and nowhere else; so does the policy.
    """
    labels = (("environment", "production"), ("team", 'pay"ments'))
    return Scene().see(target(name="shop", policy=MANUAL, labels=labels), seen(facts(certificate()))).text()


def renewed_but_not_deployed() -> str:
    """
    Three targets present certificates of the same names, one of them the newer: all know its end.
    """
    old, new = certificate(end=NOW + 10 * DAY, serial="1"), certificate(end=NOW + 90 * DAY, serial="2")
    # The same names in another order; other names and no names are not concerned.
    other = certificate("other.example.com", end=NOW + 100 * DAY)
    scene = Scene()
    for name, found in (("a", old), ("b", old), ("c", new), ("d", other)):
        scene.see(target(name=name), seen(facts(found)))
    return scene.text()


def several_addresses() -> str:
    """
    Two addresses present different certificates, one is down and never was seen, one is left out.
    """
    first, second = certificate(serial="1"), certificate(end=NOW + DAY, serial="2")
    return (
        Scene()
        .see(
            target(),
            seen(facts(first), "192.0.2.10:443"),
            seen(facts(second), "192.0.2.11:443"),
            failed(Reason.CONNECT_TIMEOUT, "192.0.2.12:443"),
            left_out=[LeftOut("2001:db8::1", "no route to IPv6 from here")],
        )
        .text(at=NOW + 900)
    )


def seen_for_the_first_time() -> str:
    """
    One server was there when the exporter began to watch; ten minutes later its name leads to one more.
    """
    old, new = (seen(facts(certificate(), intermediate()), f"192.0.2.{n}:443") for n in (10, 11))
    return Scene().see(target(), old).see(target(), old, new, at=NOW + 600).text(at=NOW + 900)


def rotating_addresses() -> str:
    """
    A name with ever new addresses: its endpoints are numbered, so that series stay.
    """
    scene = Scene()
    of = target()
    for day in range(17):
        labels = scene.memory.labels(of, [f"192.0.2.{day}:443", f"198.51.100.{day}:443"], NOW + day * 3600)
    return scene.see(of, *(seen(facts(certificate()), label) for label in labels)).text()


def the_exporter_itself() -> str:
    """
    No target is configured.
    """
    values = (
        (families.SWEEP_DURATION, 0.25),
        (families.SWEEP_TIMEOUT, 9.5),
        (families.SWEEP_COMPLETE, 1),
        (families.SWEEP_TIME, NOW + 0.5),
        (families.SWEEP_TARGETS, 0),
        (families.SHARD_RATIO, 1),
        (families.SWEEP_ENDPOINTS, 0),
        (families.SWEEP_FAILURES, 0),
        (families.RELOAD_SUCCESS, 0),
        (families.RELOAD_TIME, NOW),
        (families.STATE_SUCCESS, 1),
        (families.CACHE_LIMIT, 64 * 1024 * 1024),
        (families.DISCOVERY_PENDING, 0),
    )
    own: exposition.Samples = {family: [((), float(value))] for family, value in values}
    own[families.CACHE_BYTES] = [((("cache", "chains"),), 7300.0)]
    own[families.CACHE_ENTRIES] = [((("cache", "chains"),), 1.0)]
    of_sources = (
        (families.DISCOVERY_SUCCESS, 1),
        (families.DISCOVERY_TIME, NOW - 30),
        (families.DISCOVERY_TARGETS, 40),
        (families.DISCOVERY_KEPT, 12),
        (families.DISCOVERY_LEFT_OUT, 1),
    )
    own |= {family: [((("source", "files"),), float(value))] for family, value in of_sources}
    own[families.WEB] = [((("external_url", "https://expiry.example.com"),), 1.0)]
    own[families.BUILD] = [((("version", "1.2.3"), ("python", "3.11.2"), ("openssl", "OpenSSL 4.0.0")), 1.0)]
    return Scene().text(own)


def names_that_nobody_watches() -> str:
    """
    One certificate at two targets with two names that none of them looks at: they count at the first.
    """
    leaf = certificate(names=("lms.example.com", "old.example.com", "shop.example.com"))
    scene = Scene().see(target(), seen(facts(leaf)))
    scene.see(target("https://lms.example.com:8443"), seen(facts(leaf), "192.0.2.10:8443"))
    own = scene.coverage().counts
    return scene.text({families.UNWATCHED: [((("target", name),), count) for name, count in own.items()]})


def hosts_that_somebody_should_watch() -> str:
    """
    The same where it is to be told: a wildcard is no problem.
    """
    leaf = certificate(
        names=("lms.example.com", "*.example.org", *(f"n{number}.example.com" for number in range(5)))
    )
    return Scene(alert=True).see(target(), seen(facts(leaf, intermediate()))).text()


_ALL: tuple[Callable[[], str], ...] = (
    healthy,
    names_that_nobody_watches,
    hosts_that_somebody_should_watch,
    renewal_late,
    late_by_its_habit,
    near_end,
    expired,
    held_while_down,
    never_seen,
    untrusted_with_several_faults,
    client_certificate_demanded,
    dual_keys,
    served_root,
    intermediate_ends_before_leaf,
    an_older_one_is_back,
    weird_label_values,
    renewal_by_its_issuer,
    user_labels,
    renewed_but_not_deployed,
    several_addresses,
    seen_for_the_first_time,
    rotating_addresses,
    the_exporter_itself,
)
SCENES: dict[str, Callable[[], str]] = {scene.__name__: scene for scene in _ALL}
