"""
What nobody watches, by certificates that were made by hand.
"""

from dataclasses import replace

import pytest

from exporter.engine.covering import seen as seen_at
from exporter.judgement import coverage as module
from exporter.judgement.coverage import Coverage, coverage
from exporter.model.coverage import Rules
from exporter.model.observation import Certificate, Chain, Facts, Item
from exporter.model.reasons import Kind
from tests.golden.scenes import seen
from tests.golden.values import Scene, certificate, facts, intermediate, target
from tests.support.certificates import DAY, NOW


def covered(scene: Scene) -> Coverage:
    """
    The coverage of all targets of a scene.
    """
    return scene.coverage()


def stored(leaf: Certificate) -> Facts:
    """
    What a file with this certificate gives.
    """
    item = Item("leaf", Kind.LEAF, leaf.not_before, leaf.not_after, leaf)
    return Facts((item,), (Chain((leaf,), presented=False),))


def one(*names: str, url: str = "https://lms.example.com", **settings: str) -> Coverage:
    """
    The coverage of one target that shows a certificate for these names.
    """
    return covered(
        Scene().see(target(url, **settings), seen(facts(certificate(names=names), intermediate())))
    )


def names(found: Coverage) -> list[str]:
    """
    The names that no target looks at.
    """
    return [gap.name for gap in found.gaps]


def test_a_name_without_a_target_is_said() -> None:
    """
    With the target that shows it, and the target that would look at it.
    """
    found = one("lms.example.com", "shop.example.com", "old.example.com")
    assert [(gap.name, gap.target.name, gap.suggestion) for gap in found.gaps] == [
        ("old.example.com", "https://lms.example.com", "https://old.example.com"),
        ("shop.example.com", "https://lms.example.com", "https://shop.example.com"),
    ]
    assert found.counts == {"https://lms.example.com": 2}
    assert found.complete


def test_nothing_is_said_without_targets_or_when_all_is_watched() -> None:
    """
    No gap, no count.
    """
    assert covered(Scene()) == Coverage()
    assert one("lms.example.com", "LMS.Example.COM.") == Coverage()


@pytest.mark.parametrize(
    ("url", "settings"),
    [
        ("tls://192.0.2.1:443", {"server_name": "shop.example.com"}),
        ("https://shop.example.com", {"server_name": "other.example.com"}),
        ("imaps://shop.example.com", {}),
        ("quic://shop.example.com", {}),
        ("dtls://shop.example.com:4433", {}),
    ],
)
def test_any_handshake_with_the_name_watches_it(url: str, settings: dict[str, str]) -> None:
    """
    Whatever the protocol, and whether it is the host or the name that is sent.
    """
    assert names(one("shop.example.com", url=url, **settings)) == []


@pytest.mark.parametrize(
    "url", ["domain:shop.example.com", "dns:shop.example.com", "file:///shop.example.com"]
)
def test_what_sees_no_handshake_watches_no_name(url: str) -> None:
    """
    A domain's registration may be watched while nobody looks at its certificate.
    """
    scene = Scene().see(target(), seen(facts(certificate(names=("shop.example.com",)))))
    scene.see(target(url), seen(Facts(())))
    assert names(covered(scene)) == ["shop.example.com"]


@pytest.mark.parametrize(
    ("wildcard", "watched"),
    [
        ("*.example.com", True),
        ("*.EXAMPLE.com", True),
        ("*.com", False),
        ("*.lms.example.com", False),
        ("*.example.org", False),
    ],
)
def test_a_wildcard_is_watched_by_a_host_one_label_below(wildcard: str, watched: bool) -> None:
    """
    As it matches one label (RFC 6125 section 6.4.3). No target can be suggested for it.
    """
    found = one("lms.example.com", wildcard)
    assert names(found) == ([] if watched else [wildcard.lower()])
    assert [(gap.wildcard, gap.suggestion) for gap in found.gaps] == [(True, "")] * (not watched)


@pytest.mark.parametrize(
    "written",
    [
        "localhost",
        "LOCALHOST.example.com",
        "a.localhost",
        "192.0.2.7",
        "",
        "*",
        "*.",
        "w*.example.org",
        "a b",
        "x" * 254,
        "\x00",
        "..",
        "-",
    ],
)
def test_what_is_no_host_is_passed_over(written: str) -> None:
    """
    A certificate may say anything.
    """
    assert names(one("lms.example.com", written)) == []


def test_the_usual_form_of_a_name_counts() -> None:
    """
    Two spellings are one name.
    """
    assert names(one("Bücher.example.com", "xn--bcher-kva.example.com", "BÜCHER.example.com.")) == [
        "xn--bcher-kva.example.com"
    ]


def test_a_name_counts_once_at_the_first_server() -> None:
    """
    The same certificate on many targets, and a name on several certificates; servers go before files.
    """
    leaf = certificate(names=("lms.example.com", "shop.example.com"))
    scene = Scene().see(target("file:///a.pem", name="a"), seen(stored(leaf)))
    for host in "cb":
        scene.see(target(f"ldaps://{host}.example.com:1636", name=host), seen(facts(leaf)))
    scene.see(target(name="d"), seen(facts(certificate(names=("shop.example.com",), serial="2"))))
    found = covered(scene)
    assert names(found) == ["shop.example.com"]
    assert found.counts == {"b": 1}
    assert found.gaps[0].suggestion == "ldaps://shop.example.com:1636"


def test_a_file_suggests_the_usual_port() -> None:
    """
    It does not say where its names are served.
    """
    scene = Scene().see(target("file:///a.pem"), seen(stored(certificate(names=("shop.example.com",)))))
    assert [gap.suggestion for gap in covered(scene).gaps] == ["https://shop.example.com"]


def test_only_certificates_for_servers_name_hosts() -> None:
    """
    Not those for clients, and not the one that the exporter shows itself.
    """
    client = replace(
        certificate(names=("client.example.com",)), extended_key_usage=frozenset({"1.3.6.1.5.5.7.3.2"})
    )
    ours = certificate(names=("exporter.example.com",), serial="3")
    seen_facts = facts(certificate(), intermediate())
    with_ours = replace(
        seen_facts,
        items=(*seen_facts.items, Item("client", Kind.LEAF, ours.not_before, ours.not_after, ours)),
    )
    scene = Scene().see(target(), seen(with_ours)).see(target("file:///c.pem"), seen(stored(client)))
    assert covered(scene) == Coverage()


def test_our_own_certificate_for_a_server_never_seen_names_no_host() -> None:
    """
    It is all that is known there.
    """
    ours = certificate(names=("exporter.example.com",))
    item = Item("client", Kind.LEAF, ours.not_before, ours.not_after, ours)
    assert covered(Scene().see(target(), seen(Facts((item,))))) == Coverage()


def test_servers_that_take_turns_are_all_looked_at() -> None:
    """
    What one of them presents is in use, and its names count.
    """
    turned = certificate("turned.example.com", names=("turned.example.com", "lms.example.com"))
    scene = Scene().see(target(), seen(facts(certificate())))
    scene.see(target("file:///a.pem"), seen(stored(turned)))
    row, file = scene.rows()
    assert covered(scene).unused
    row = replace(row, others=(replace(row.known, facts=facts(turned)),))
    found = coverage([one.target for one in scene.targets()], list(seen_at([row, file])))
    assert (found.unused, found.counts) == ((), {"https://lms.example.com": 1})


def test_most_names_are_kept_and_said_to_be_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A certificate with thousands of names costs no more than its share.
    """
    monkeypatch.setattr(module, "MOST_OF_ONE", 5)
    assert len(one(*(f"n{number}.example.com" for number in range(9))).gaps) == 5
    monkeypatch.setattr(module, "MOST_NAMES", 3)
    found = one(*(f"n{number}.example.com" for number in range(4)))
    assert (names(found), found.complete) == ([f"n{number}.example.com" for number in range(3)], False)
    assert one(*(f"n{number}.example.com" for number in range(3))).complete


def test_a_stored_certificate_that_no_server_presents_is_said() -> None:
    """
    Once, at the first of its files; the first to end goes first.
    """
    late = certificate("b.example.com", end=NOW + 9 * DAY)
    soon = certificate("a.example.com", end=NOW + 2 * DAY)
    scene = Scene().see(target(), seen(facts(certificate(), intermediate())))
    scene.see(target("file:///late.pem"), seen(stored(late)))
    scene.see(target("file:///twice.pem"), seen(stored(late)))
    scene.see(target("file:///soon.pem"), seen(stored(soon)))
    assert [(found.target.name, found.item, found.certificate) for found in covered(scene).unused] == [
        ("file:///soon.pem", "leaf", soon),
        ("file:///late.pem", "leaf", late),
    ]


@pytest.mark.parametrize(
    "leaf",
    [
        pytest.param(certificate(), id="the same certificate"),
        pytest.param(certificate(serial="2", names=("new.example.com",)), id="the same key"),
        pytest.param(certificate(serial="2", key="rsa-2048"), id="the same names"),
        pytest.param(certificate("no names", names=()), id="no host"),
    ],
)
def test_a_stored_certificate_is_used_by(leaf: Certificate) -> None:
    """
    What a server presents, its key, or its names: the last may wait for a reload.
    """
    scene = Scene().see(target("file:///a.pem"), seen(stored(leaf)))
    scene.see(target(), seen(facts(certificate(), intermediate())))
    assert covered(scene).unused == ()


def test_names_that_need_no_target_are_not_said() -> None:
    """
    By patterns, whatever the case of the name.
    """
    scene = Scene().see(target(), seen(facts(certificate(names=("A.old.example.com", "shop.example.com")))))
    found = coverage(
        [row.target for row in scene.targets()], list(seen_at(scene.rows())), Rules(("*.old.example.com",))
    )
    assert names(found) == ["shop.example.com"]


def test_wildcards_and_names_without_an_address_are_told_apart() -> None:
    """
    Neither is a problem; a name of which nothing is known is one.
    """
    every = ("*.example.org", "gone.example.com", "shop.example.com", "unknown.example.com")
    found = replace(one(*every), addressed={"gone.example.com": False, "shop.example.com": True})
    assert [gap.name for gap in found.wildcards] == ["*.example.org"]
    assert [gap.name for gap in found.unresolved] == ["gone.example.com"]
    assert found.problems == {
        ("https://lms.example.com", "192.0.2.10:443"): ("shop.example.com", "unknown.example.com")
    }
    assert found.counts == {"https://lms.example.com": 4}


@pytest.mark.parametrize(
    "name",
    [
        *("www.example.com", "*.example.com", "a.b", "xn--bcher-kva.example", "1.2.3.a", "x-1.y-2.z", "a.b1"),
        *("localhost.example.com", "a.localhost", "*.localhost", "*.localhost.example.com", "localhost"),
        *("1.2.3.4", "a.1", "10.1", "a..b", ".a.b", "-a.b", "a-.b", "a.b-", "a_b.c", "a b.c", "*.*.a", "a.*"),
        *(f"{'a' * 63}.b", f"{'a' * 64}.b", f"{'a.' * 126}a", f"{'a.' * 127}a", f"*.{'a.' * 126}a", "a.b."),
    ],
)
def test_a_name_in_its_usual_form_is_what_all_others_become(name: str) -> None:
    """
    It is recognised at a glance, and so as if it were looked into: in capitals it is.
    """
    assert module.host_of(name) == module.host_of(name.upper())
