"""
Registrations as they are looked up: over real HTTPS and WHOIS connections to fake registries.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from exporter.demo.minter import Minted
from exporter.engine.results import ProbeResult
from exporter.judgement.verdicts import judge_facts
from exporter.model.errors import ProbeError
from exporter.model.observation import Observed
from exporter.model.policies import DAY, DOMAIN, HOUR
from exporter.model.reasons import Hazard, Kind, Reason
from exporter.model.targets import Target
from exporter.model.urls import parse_url
from exporter.net.background import LookupFailedError
from exporter.pki.trust import Anchors
from exporter.probes.domains import registries, whois
from exporter.probes.domains.probe import PATIENCE
from exporter.probes.domains.rdap import from_rdap
from exporter.probes.domains.registration import Registration
from exporter.probes.domains.registries import AGAIN_AFTER, Registries
from tests.probes.domains.registry import BEGIN, END, Watching, asked, rdap, timestamp
from tests.support.certificates import NOW

Scene = Callable[[Watching], Awaitable[None]]


def play(ca: Minted, scene: Scene) -> None:
    """
    Runs the scene with registries and a watch of its own.
    """

    async def run() -> None:
        async with asked(ca) as watching:
            await scene(watching)

    asyncio.run(run())


async def settled(watching: Watching, url: str, done: Callable[[ProbeResult], bool]) -> ProbeResult:
    """
    The first look that is as the test waits for; look-ups go on in the background.
    """
    async with asyncio.timeout(10):
        while True:
            look = await watching.look(url)
            if done(look):
                return look
            await asyncio.sleep(0.01)


def test_a_registration_is_read_by_rdap(ca: Minted) -> None:
    """
    IANA's list says who is asked, over HTTPS; end, begin and the time it was seen are kept.
    """

    async def scene(watching: Watching) -> None:
        watching.registry.rdap["example.test"] = rdap("example.test")

        facts = await watching.facts("domain:example.test")

        (item,) = facts.items
        assert (item.name, item.kind) == ("registration", Kind.REGISTRATION)
        assert (item.not_before, item.not_after) == (BEGIN, END)
        assert facts.hazards == ()
        assert facts.seen_at == NOW
        assert watching.registry.asked == ["bootstrap", "rdap example.test"]

    play(ca, scene)


def test_an_answer_is_read_beside_the_event_loop(ca: Minted, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Those of a million bytes take a while, and so does the list of registries: scrapes go on meanwhile.
    """
    readers: list[threading.Thread] = []

    def noted(read: Callable[..., Any]) -> Callable[..., Any]:
        def noting(*given: Any) -> Any:
            readers.append(threading.current_thread())
            return read(*given)

        return noting

    monkeypatch.setattr("exporter.probes.domains.rdap.from_rdap", noted(from_rdap))
    monkeypatch.setattr(registries, "read_bootstrap", noted(registries.read_bootstrap))

    async def scene(watching: Watching) -> None:
        watching.registry.rdap["example.test"] = rdap("example.test")
        assert (await watching.facts("domain:example.test")).items

    registries.shipped()
    readers.clear()
    play(ca, scene)
    assert len(readers) == 2
    assert threading.main_thread() not in readers


def test_a_registration_has_the_deadlines_of_a_domain(ca: Minted) -> None:
    """
    Without a policy of the user's, the one for domains holds.
    """

    async def scene(watching: Watching) -> None:
        watching.registry.rdap["example.test"] = rdap("example.test")
        facts = await watching.facts("domain:example.test")
        target = Target(parse_url("domain:example.test"), "domain:example.test")

        (judged,) = judge_facts(facts, target, Anchors(None), NOW).items

        assert judged.policy is DOMAIN
        assert judged.deadlines is not None
        assert judged.deadlines.warning == END - 60 * DAY
        assert judged.deadlines.critical == END - 14 * DAY

    play(ca, scene)


def test_a_registry_without_rdap_is_asked_by_whois(ca: Minted) -> None:
    """
    A top-level domain that IANA's list does not have is asked at its WHOIS server.
    """

    async def scene(watching: Watching) -> None:
        watching.registry.whois["example.it"] = (
            b"Domain:      example.it\r\nStatus:      ok\r\nCreated:     1999-05-01 00:00:00\r\n"
            b"Expire Date: 2027-10-01\r\n"
        )

        (item,) = (await watching.facts("domain:example.it")).items

        assert timestamp(item.not_after) == "2027-10-01T00:00:00Z"
        assert watching.registry.asked == ["bootstrap", "whois example.it"]

    play(ca, scene)


def test_iana_names_the_whois_server_of_other_registries(ca: Minted) -> None:
    """
    A registry that is in no table is found by the referral at IANA's WHOIS server, which is kept.
    """

    async def scene(watching: Watching) -> None:
        watching.registry.whois["zz"] = b"domain: ZZ\r\n\r\nwhois:  127.0.0.1\r\n"
        for name in ("one.zz", "two.zz"):
            watching.registry.whois[name] = b"domain: ONE.ZZ\npaid-till: 2027-10-01T00:00:00Z\n"

        await watching.facts("domain:one.zz")
        await watching.facts("domain:two.zz")

        assert watching.registry.asked == ["bootstrap", "whois zz", "whois one.zz", "whois two.zz"]

    play(ca, scene)


def test_a_whois_server_is_not_named_where_its_teller_could_not_go(ca: Minted) -> None:
    """
    The referral comes in clear text: whoever is on the way can write it.
    """

    async def scene(watching: Watching) -> None:
        watching.registry.whois["zz"] = b"domain: ZZ\r\n\r\nwhois:  169.254.169.254\r\n"

        failed = await watching.failed("domain:one.zz")

        assert failed.reason is Reason.LOOKUP_FAILED
        assert "it is not asked: it has 169.254.169.254, a link-local address" in failed.detail

    play(ca, scene)


def test_a_top_level_domain_without_any_server_is_said_to_have_none(ca: Minted) -> None:
    """
    Where IANA knows of no server there is nothing to ask, and the failure says so.
    """

    async def scene(watching: Watching) -> None:
        watching.registry.whois["zz"] = b"domain: ZZ\r\nstatus: ACTIVE\r\n"

        failed = await watching.failed("domain:example.zz")

        assert failed.reason is Reason.LOOKUP_FAILED
        assert ".zz has neither an RDAP nor a WHOIS server" in failed.detail

    play(ca, scene)


def test_a_name_below_a_registration_means_the_registration(ca: Minted) -> None:
    """
    `www.example.co.uk` is not registered, `example.co.uk` is: it is asked for, and is the endpoint.
    """

    async def scene(watching: Watching) -> None:
        watching.registry.services = [[["uk"], [f"{watching.registry.base}/rdap/"]]]
        watching.registry.rdap["example.co.uk"] = rdap("example.co.uk")
        await fetched(watching)

        look = await watching.look("domain:www.example.co.uk")

        assert isinstance(look.observation, Observed)
        assert look.label == "example.co.uk"
        assert any("is a name below example.co.uk" in words for _, words in look.steps)
        assert "rdap example.co.uk" in watching.registry.asked

    play(ca, scene)


async def fetched(watching: Watching) -> None:
    """
    Once IANA's list was fetched; what is shipped answers until then.
    """
    with pytest.raises(LookupFailedError):
        await watching.network.registries.look_up("nobody.zz")


def test_what_nobody_can_register_is_refused(ca: Minted) -> None:
    """
    A public suffix is no domain of anybody's.
    """

    async def scene(watching: Watching) -> None:
        failed = await watching.failed("domain:co.uk")

        assert failed.reason is Reason.NOT_REGISTERED
        assert "nobody can register co.uk" in failed.detail
        assert watching.registry.asked == []

    play(ca, scene)


def test_an_internationalised_name_is_asked_by_its_a_label(ca: Minted) -> None:
    """
    Registries know A-labels (RFC 5891).
    """

    async def scene(watching: Watching) -> None:
        watching.registry.rdap["xn--bcher-kva.test"] = rdap("xn--bcher-kva.test")

        look = await watching.look("domain:Bücher.test")

        assert isinstance(look.observation, Observed)
        assert look.label == "xn--bcher-kva.test"

    play(ca, scene)


@pytest.mark.parametrize(
    ("statuses", "hazards"),
    [
        (("active", "client transfer prohibited"), []),
        (("client hold",), [Hazard.DOMAIN_HOLD]),
        (("server hold",), [Hazard.DOMAIN_HOLD]),
        (("redemption period", "pending delete"), [Hazard.DOMAIN_REDEMPTION]),
        (("pending delete",), [Hazard.DOMAIN_PENDING_DELETE]),
        (("auto renew period", "client hold"), [Hazard.DOMAIN_HOLD, Hazard.DOMAIN_AUTO_RENEW]),
    ],
)
def test_statuses_say_what_the_date_does_not(
    ca: Minted, statuses: tuple[str, ...], hazards: list[Hazard]
) -> None:
    """
    A domain on hold, in redemption, about to be deleted or renewed by the registry alone is in danger.
    """

    async def scene(watching: Watching) -> None:
        watching.registry.rdap["example.test"] = rdap("example.test", status=statuses)

        facts = await watching.facts("domain:example.test")

        assert [found.hazard for found in facts.hazards] == hazards

    play(ca, scene)


def test_a_domain_is_asked_for_every_few_hours_only(ca: Minted) -> None:
    """
    Scrapes in between get what is known, as the same object; after six hours or so it is looked up again.
    """

    async def scene(watching: Watching) -> None:
        watching.registry.rdap["example.test"] = rdap("example.test")
        first = await watching.facts("domain:example.test")
        watching.now[0] = NOW + AGAIN_AFTER * 0.8

        assert await watching.facts("domain:example.test") is first
        assert watching.registry.asked.count("rdap example.test") == 1

        watching.registry.rdap["example.test"] = rdap("example.test", end=END + DAY)
        watching.now[0] = NOW + AGAIN_AFTER * 1.2
        renewed = await settled(
            watching,
            "domain:example.test",
            lambda look: isinstance(look.observation, Observed) and look.observation.facts != first,
        )

        assert isinstance(renewed.observation, Observed)
        assert renewed.observation.facts.items[0].not_after == END + DAY
        assert renewed.observation.facts.seen_at == watching.now[0]
        assert watching.registry.asked.count("rdap example.test") == 2

    play(ca, scene)


def test_a_failed_look_up_changes_nothing_for_three_days(ca: Minted) -> None:
    """
    The date and the time it was seen stay while the registry is down; then the probe fails, with the reason.
    """

    async def scene(watching: Watching) -> None:
        watching.registry.rdap["example.test"] = rdap("example.test")
        first = await watching.facts("domain:example.test")
        watching.registry.rdap["example.test"] = web.Response(status=503)

        watching.now[0] = NOW + 2 * DAY
        await watching.facts("domain:example.test")
        await failing(watching)
        assert await watching.facts("domain:example.test") is first
        assert first.seen_at == NOW

        watching.now[0] = NOW + PATIENCE + HOUR
        failed = await watching.failed("domain:example.test")
        assert failed.reason is Reason.HTTP_FAILED
        assert "answered with status 503 when asked for example.test" in failed.detail

    play(ca, scene)


async def failing(watching: Watching) -> LookupFailedError:
    """
    The failure of the look-up under way.
    """
    failure: LookupFailedError | None = None
    async with asyncio.timeout(10):
        while failure is None:
            await asyncio.sleep(0.01)
            failure = watching.network.lookups.failure(("registration", "example.test"))
    return failure


def test_a_domain_that_is_no_longer_registered_is_told_at_once(ca: Minted) -> None:
    """
    A registry that says there is no such domain was reached: that is not waited out.
    """

    async def scene(watching: Watching) -> None:
        watching.registry.rdap["example.test"] = rdap("example.test")
        await watching.facts("domain:example.test")
        del watching.registry.rdap["example.test"]

        watching.now[0] = NOW + 7 * HOUR
        await watching.look("domain:example.test")
        await failing(watching)
        failed = await watching.failed("domain:example.test")

        assert failed.reason is Reason.NOT_REGISTERED
        assert "example.test is not registered" in failed.detail

    play(ca, scene)


def test_a_registry_that_refuses_is_left_alone_as_long_as_it_asks(ca: Minted) -> None:
    """
    After status 429 nothing is asked of that registry before Retry-After is over, for any domain.
    """

    async def scene(watching: Watching) -> None:
        watching.registry.rdap["example.test"] = web.Response(status=429, headers={"Retry-After": "7200"})
        watching.registry.rdap["other.test"] = rdap("other.test")

        failed = await watching.failed("domain:example.test")
        assert failed.reason is Reason.RATE_LIMITED

        watching.registry.rdap["example.test"] = rdap("example.test")
        watching.now[0] = NOW + 7100
        for name in ("example.test", "other.test"):
            assert (await watching.failed(f"domain:{name}")).reason is Reason.RATE_LIMITED
        assert watching.registry.asked == ["bootstrap", "rdap example.test"]

        watching.now[0] = NOW + 7300
        for name in ("example.test", "other.test"):
            await settled(watching, f"domain:{name}", lambda look: isinstance(look.observation, Observed))

    play(ca, scene)


@pytest.mark.parametrize("step", [30 * DAY, -30 * DAY])
def test_a_registry_that_refused_while_the_clock_was_wrong_is_asked_in_its_time(
    ca: Minted, step: float
) -> None:
    """
    As is the list of registries that was fetched then: neither is left alone until that time of day comes.
    """

    async def scene(watching: Watching) -> None:
        watching.registry.rdap["example.test"] = web.Response(status=429, headers={"Retry-After": "7200"})
        watching.set_clock(step)
        await watching.failed("domain:example.test")
        watching.set_clock(-step)
        watching.registry.rdap["example.test"] = rdap("example.test")
        watching.now[0] += 7100
        assert (await watching.failed("domain:example.test")).reason is Reason.RATE_LIMITED
        watching.now[0] += 1000
        await settled(watching, "domain:example.test", lambda look: isinstance(look.observation, Observed))
        assert watching.registry.asked == ["bootstrap", *["rdap example.test"] * 2]

        watching.registry.rdap["other.test"] = rdap("other.test")
        watching.now[0] += 1.1 * DAY
        await settled(
            watching, "domain:other.test", lambda _: watching.registry.asked.count("bootstrap") == 2
        )

    play(ca, scene)


def test_no_server_silences_us_for_longer_than_a_day(ca: Minted) -> None:
    """
    A Retry-After of years would be the end of watching that registry.
    """

    async def scene(watching: Watching) -> None:
        watching.registry.rdap["example.test"] = web.Response(status=429, headers={"Retry-After": "99999999"})
        await watching.failed("domain:example.test")
        watching.registry.rdap["example.test"] = rdap("example.test")
        watching.now[0] = NOW + DAY + 1

        await settled(watching, "domain:example.test", lambda look: isinstance(look.observation, Observed))

    play(ca, scene)


def test_the_list_of_registries_is_fetched_rarely(ca: Minted) -> None:
    """
    IANA's list is used as long as its Cache-Control says, within a day and a month.
    """

    async def scene(watching: Watching) -> None:
        watching.registry.bootstrap_headers["Cache-Control"] = f"public, max-age={5 * 86400}"
        for name in ("one.test", "two.test", "three.test"):
            watching.registry.rdap[name] = rdap(name)

        await watching.facts("domain:one.test")
        watching.now[0] = NOW + 4.9 * DAY
        await watching.facts("domain:two.test")
        assert watching.registry.asked.count("bootstrap") == 1

        watching.now[0] = NOW + 5.1 * DAY
        await watching.facts("domain:three.test")
        assert watching.registry.asked.count("bootstrap") == 2

    play(ca, scene)


def test_what_is_shipped_answers_while_the_list_can_not_be_fetched(
    ca: Minted, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Without IANA's list the shipped part of it is used, WHOIS for the rest, and the log says so.
    """

    async def scene(watching: Watching) -> None:
        watching.registry.bootstrap_status = 500
        watching.registry.services = []
        watching.registry.whois["example.it"] = b"Domain: example.it\nExpire Date: 2027-10-01\n"

        await watching.facts("domain:example.it")

        assert "the list of RDAP servers can't be fetched" in caplog.text

    play(ca, scene)


def test_a_server_that_is_not_trusted_is_not_believed(ca: Minted) -> None:
    """
    A registry's certificate is verified: another authority's gives a failed look-up, not a date.
    """

    async def scene(watching: Watching) -> None:
        watching.registry.rdap["example.test"] = rdap("example.test")
        # The system's authorities do not know the one of these tests.
        network = watching.network
        strict = Registries(network)
        strict._fetched = {"test": (f"{watching.registry.base}/rdap/",)}
        strict._fetch_due = float("inf")

        with pytest.raises(ProbeError) as failed:
            await strict.look_up("example.test")

        assert failed.value.reason is Reason.HTTP_FAILED
        assert watching.registry.asked == []

    play(ca, scene)


def test_a_second_server_is_asked_when_the_first_is_down(ca: Minted) -> None:
    """
    A registry may have several RDAP servers (RFC 9224): one that can't be reached harms nothing.
    """

    async def scene(watching: Watching) -> None:
        watching.registry.services = [[["test"], ["https://127.0.0.1:1/", f"{watching.registry.base}/rdap"]]]
        watching.registry.rdap["example.test"] = rdap("example.test")

        assert (await watching.facts("domain:example.test")).items[0].not_after == END

    play(ca, scene)


def test_a_huge_answer_is_refused(ca: Minted) -> None:
    """
    Neither an RDAP nor a WHOIS answer is read beyond its limit.
    """

    async def scene(watching: Watching) -> None:
        watching.registry.rdap["example.test"] = web.Response(body=b"[" * 1_100_000)
        watching.registry.whois["example.it"] = b"x" * 300_000

        assert "more than" in (await watching.failed("domain:example.test")).detail
        assert "more than" in (await watching.failed("domain:example.it")).detail

    play(ca, scene)


async def test_what_whois_says_is_read_beside_the_loop(ca: Minted, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A tenth of a second goes by for three thousand lines that are made for it.
    """
    read_in: list[threading.Thread] = []
    usual = whois.from_whois

    def noted(text: str, domain: str) -> Registration:
        read_in.append(threading.current_thread())
        return usual(text, domain)

    monkeypatch.setattr(whois, "from_whois", noted)
    async with asked(ca) as watching:
        watching.registry.whois["example.it"] = b"-" * 120 + b"\nExpire Date: 2027-10-01\n"
        await settled(watching, "domain:example.it", lambda look: isinstance(look.observation, Observed))
    assert read_in
    assert threading.main_thread() not in read_in


async def test_a_whois_server_that_can_not_be_reached_is_named(ca: Minted) -> None:
    """
    The failure says which server and port, since a firewall often lets port 43 not pass.
    """
    async with asked(ca, servers={"it": "127.0.0.9"}) as watching:
        failed = await watching.failed("domain:example.it")

        assert failed.reason is Reason.LOOKUP_FAILED
        assert f"the WHOIS server 127.0.0.9, port {watching.registry.whois_port}" in failed.detail


async def test_a_whois_server_whose_name_is_not_there_is_named(ca: Minted) -> None:
    """
    It is not the target's own name that can't be found, and the failure does not sound so.
    """
    async with asked(ca, servers={"it": "whois.invalid"}) as watching:
        failed = await watching.failed("domain:example.it")

        assert failed.reason is Reason.LOOKUP_FAILED
        assert "the WHOIS server whois.invalid, port" in failed.detail


def test_a_silent_registry_delays_the_first_scrape_only_so_long(ca: Minted) -> None:
    """
    A look waits for its own timeout, then says that the look-up goes on.
    """

    async def scene(watching: Watching) -> None:
        watching.registry.whois["example.it"] = None
        target = Target(parse_url("domain:example.it"), "domain:example.it", timeout=0.2)

        made = await watching.watch.probe(target, 10.0)

        observation = made.results[0].looks[0].observation
        assert not isinstance(observation, Observed)
        assert observation.reason is Reason.TIMEOUT
        assert "goes on in the background" in observation.detail

    play(ca, scene)


def test_questions_to_one_server_keep_their_distance(ca: Minted) -> None:
    """
    Many domains of one registry are not asked for in one burst.
    """

    async def scene(watching: Watching) -> None:
        names = [f"name{number}.test" for number in range(4)]
        for name in names:
            watching.registry.rdap[name] = rdap(name)
        asking = watching.network.registries
        await asking.look_up(names[0])
        object.__setattr__(asking._servers, "gap", 0.1)
        started = watching.network.loop.time()

        await asyncio.gather(*(asking.look_up(name) for name in names[1:]))

        assert watching.network.loop.time() - started >= 0.2

    play(ca, scene)


def test_a_registry_that_is_silent_does_not_hold_up_the_others(
    ca: Minted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Its domains do not wait for it one after the other: there is a place for few look-ups at a time.
    """
    monkeypatch.setattr(registries, "WHOIS_TIMEOUT", 0.3)
    monkeypatch.setattr(registries, "SILENCE", 0.2)

    async def scene(watching: Watching) -> None:
        registry = watching.registry
        registry.whois = {"a.it": None, "b.it": None}
        assert "did not answer in 0.3 s" in (await watching.failed("domain:a.it")).detail
        failed = await watching.failed("domain:b.it")
        assert failed.reason is Reason.TIMEOUT
        assert "127.0.0.1 did not answer us lately and is left alone for another 60 s" in failed.detail
        assert "whois b.it" not in registry.asked
        registry.whois = {"c.it": b"Expire Date: 2031-01-01\r\n"}
        watching.now[0] += 61
        assert (await watching.facts("domain:c.it")).items

    play(ca, scene)
