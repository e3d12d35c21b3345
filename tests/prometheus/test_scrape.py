"""
What Prometheus has after it scraped the exporter as the manual says.
"""

import re
import signal

import pytest
import yaml

from exporter.report.families import FAMILIES
from tests.prometheus.conftest import World
from tests.support.processes import wait_until
from tests.support.prometheus import PATIENCE, Sample
from tests.support.readme import fenced

JOBS = {"expiry": 1, "expiry-probe": 3, "expiry-discovered": 5}
"""Jobs of the manual, with the scrapes that each makes here."""

SAMPLE_FAULTS = (
    "prometheus_target_scrapes_sample_duplicate_timestamp_total",
    "prometheus_target_scrapes_sample_out_of_order_total",
    "prometheus_target_scrapes_sample_out_of_bounds_total",
    "prometheus_target_scrapes_exceeded_sample_limit_total",
    "prometheus_target_scrapes_exceeded_body_size_limit_total",
)


def by_target(samples: list[Sample]) -> dict[str, float]:
    """
    Values by the label `target`.
    """
    return {one.labels["target"]: one.value for one in samples}


def url_of(world: World, target: str) -> str:
    """
    What the job `expiry-probe` calls a target: there it is no configured one.
    """
    return world.urls[target]


@pytest.mark.parametrize(("job", "count"), JOBS.items())
def test_every_scrape_of_the_manual_is_up_and_has_samples(world: World, job: str, count: int) -> None:
    """
    `up` is 1 for each scrape of each job, none is without samples, and no error is on record.
    """
    up = world.prometheus.await_query(f'up{{job="{job}"}} == 1', lambda found: len(found) == count)
    scraped = world.prometheus.query(f'scrape_samples_scraped{{job="{job}"}}')
    kept = world.prometheus.query(f'scrape_samples_post_metric_relabeling{{job="{job}"}}')
    active = world.prometheus.api("targets", state="active")["activeTargets"]

    assert len(up) == count
    assert all(one.value > 0 for one in scraped)
    assert [one.value for one in kept] == [one.value for one in scraped]
    assert {target["lastError"] for target in active if target["labels"]["job"] == job} == {""}


def test_the_end_of_each_certificate_arrives_to_the_second(world: World) -> None:
    """
    For each server, expired or not, Prometheus has the end that its certificate was minted with.
    """
    query = 'expiry_not_after_timestamp_seconds{job="expiry",item="leaf",kind="leaf",target!="leaving"}'
    expected = {target: end for target, end in world.ends.items() if target != "leaving"}

    found = world.prometheus.await_query(query, lambda found: len(found) == len(expected))

    assert by_target(found) == expected


def test_a_probe_by_url_gives_the_same_end(world: World) -> None:
    """
    The multi-target job has the end under the URL, and the URL is the `instance` too.
    """
    found = world.prometheus.await_query(
        'expiry_not_after_timestamp_seconds{job="expiry-probe",item="leaf"}', lambda found: len(found) == 2
    )

    assert by_target(found) == {url_of(world, name): world.ends[name] for name in ("late", "expired")}
    assert all(one.labels["instance"] == one.labels["target"] for one in found)


def test_discovered_targets_have_their_names_as_instance(world: World) -> None:
    """
    The job that asks /targets probes every configured target by its name.
    """
    found = world.prometheus.await_query(
        'expiry_target_info{job="expiry-discovered"}', lambda found: len(found) >= len(world.urls)
    )

    assert {one.labels["instance"]: one.labels["target"] for one in found} == {
        name: name for name in world.urls
    }


@pytest.mark.parametrize(("job", "named"), [("expiry", True), ("expiry-probe", False)])
def test_a_refused_connection_is_a_failure_with_its_reason(world: World, job: str, named: bool) -> None:
    """
    Nothing listens: success is 0, the reason is there, the end is absent, and the scrape itself is well.
    """
    target = "refused" if named else url_of(world, "refused")
    selector = f'{{job="{job}",target="{target}"}}'

    failure = world.prometheus.await_query(f"expiry_probe_failure_info{selector}")
    success = world.prometheus.query(f"expiry_probe_success{selector}")

    assert [(one.labels["reason"], one.value) for one in failure] == [("connection_refused", 1.0)]
    assert [one.value for one in success] == [0.0]
    assert world.prometheus.query(f"expiry_not_after_timestamp_seconds{selector}") == []


def test_an_expired_certificate_is_seen_and_not_trusted(world: World) -> None:
    """
    The probe of an expired certificate succeeds; its verification fails for that one fault.
    """
    selector = '{job="expiry",target="expired"}'

    faults = world.prometheus.await_query(f"expiry_verification_failure_info{selector}")
    values = world.prometheus.query(f"expiry_probe_success{selector} + expiry_verification_success{selector}")

    assert [one.labels["reason"] for one in faults] == ["expired"]
    assert [one.value for one in values] == [1.0]


@pytest.mark.parametrize("query", fenced("promql"))
def test_each_query_of_the_manual_finds_what_it_is_for(world: World, query: str) -> None:
    """
    With a late, an expired and an unreachable server none of the manual's queries is empty.
    """
    assert world.prometheus.await_query(query)


def of_job(samples: list[Sample], job: str = "expiry") -> set[tuple[str, str]]:
    """
    Targets with their problems.
    """
    return {(one.labels["target"], one.labels["problem"]) for one in samples if one.labels["job"] == job}


def test_what_is_critical_is_every_critical_problem(world: World) -> None:
    """
    Also one that no date of an item tells, and as the exporter decided it.
    """
    (query,) = (one for one in fenced("promql") if "critical" in one)
    found = world.prometheus.await_query(query, lambda found: len(of_job(found)) >= 2)

    every = 'expiry_problem_end_timestamp_seconds{severity="critical"}'
    assert of_job(found) == of_job(world.prometheus.query(every)) >= {("expired", "passed")}
    assert [one.value for one in found] == sorted(one.value for one in found)


def test_what_somebody_should_know_has_the_label_that_says_who(world: World) -> None:
    """
    Quotes and backslash and all.
    """
    (query,) = (one for one in fenced("promql") if one.startswith("min by (team"))

    found = world.prometheus.await_query(query, lambda found: len(found) >= 2)

    assert {one.labels["team"] for one in found} == {'the "shop" \\ team'}
    every = world.prometheus.query("expiry_problem_end_timestamp_seconds")
    assert {(one.labels["target"], one.labels["problem"], one.labels["severity"]) for one in found} == {
        (one.labels["target"], one.labels["problem"], one.labels["severity"]) for one in every
    }


def test_labels_of_the_user_join_by_target(world: World) -> None:
    """
    `group_left` brings the user's label, quotes and backslash and all, to each probe that fails.
    """
    (query,) = (one for one in fenced("promql") if "group_left" in one)

    found = world.prometheus.await_query(query, lambda found: len(found) >= 2)

    assert {one.labels["team"] for one in found} == {'the "shop" \\ team'}
    assert {one.labels["reason"] for one in found} == {"connection_refused"}


def test_a_later_certificate_for_the_same_names_shows_what_is_not_deployed(world: World) -> None:
    """
    One endpoint presents the renewed certificate: the others know its end, and it has nothing newer.
    """
    (query,) = (one for one in fenced("promql") if "newest" in one)

    found = world.prometheus.await_query(query, lambda found: len(found) >= 3)
    ours = by_target([one for one in found if one.labels["job"] == "expiry"])

    assert ours == dict.fromkeys(("late", "expired", "leaving"), world.ends["renewed"])


def test_prometheus_reads_openmetrics(world: World) -> None:
    """
    Prometheus asks for OpenMetrics first and gets it: only there a counter's family lacks `_total`.
    """
    world.prometheus.await_query('process_cpu_seconds_total{job="expiry"}')

    assert world.prometheus.api("metadata", metric="process_cpu_seconds")["process_cpu_seconds"][0][
        "type"
    ] == ("counter")
    assert world.prometheus.api("metadata", metric="process_cpu_seconds_total") == {}


RARE = {
    "expiry_state_last_save_successful",  # needs --state.path
    "expiry_previous_not_after_timestamp_seconds",  # these four need a certificate that changed
    "expiry_previous_not_before_timestamp_seconds",
    "expiry_identity_changed_timestamp_seconds",
    "expiry_rolled_back_timestamp_seconds",
    "expiry_renewal_window_start_timestamp_seconds",  # these two need an issuer that says when to renew
    "expiry_renewal_explanation_info",
    "expiry_renewal_habit_seconds",  # needs three renewals
    "expiry_hazard_info",  # needs a domain or a zone
    "expiry_lookup_failure_info",  # needs something that was asked for and not answered
    "expiry_discovery_success",  # these need sources of targets
    "expiry_discovery_last_success_timestamp_seconds",
    "expiry_discovery_targets",
    "expiry_discovery_kept_targets",
    "expiry_discovery_left_out_targets",
    "expiry_discovery_pending",
    "expiry_first_seen_timestamp_seconds",  # needs a target that comes later
    "expiry_web_info",  # needs --web.external-url
    "expiry_verification_last_success_timestamp_seconds",  # needs what clients do not accept any more
    "expiry_unwatched_names",  # needs a certificate for more than its target
    "expiry_target_left_out_endpoints",  # needs something that is left out
}

PROCESS = {
    "expiry_web_config_last_reload_successful": "gauge",
    "expiry_probe_refused_requests": "counter",
    "expiry_probe_connections": "counter",
    "expiry_dns_lookups": "counter",
}
"""Type of what is told of the process, whatever its targets are."""


def test_prometheus_knows_the_type_and_the_help_of_each_metric(world: World) -> None:
    """
    Every family of ours that is there is a gauge with its HELP text, but for those of the process.
    """
    world.prometheus.await_query('up{job="expiry"} == 1')
    known = world.prometheus.api("metadata")
    ours = {
        name: [(one["type"], one["help"]) for one in told] for name, told in known.items() if "expiry" in name
    }

    process = {name: told[0][0] for name, told in ours.items() if name in PROCESS}
    assert process == PROCESS
    assert {name: told for name, told in ours.items() if name not in PROCESS} == {
        family.name: [("gauge", family.help)] for family in FAMILIES if family.name not in RARE
    }


def test_prometheus_takes_every_sample_and_complains_of_none(world: World) -> None:
    """
    No sample is a duplicate, out of order, or over a limit, and the log has no warning of a scrape.
    """
    scrapes = world.prometheus.await_query(
        "min(count_over_time(up[1m]))", lambda found: bool(found) and found[0].value >= 3, "three scrapes"
    )

    assert scrapes
    assert {name: world.prometheus.own(name) for name in SAMPLE_FAULTS} == dict.fromkeys(SAMPLE_FAULTS, 0.0)
    assert re.findall(r"^.*level=(?:warn|error).*$", world.prometheus.process.output(), re.MULTILINE) == []


@pytest.mark.parametrize(("job", "count"), JOBS.items())
def test_no_series_is_exported_twice(world: World, job: str, count: int) -> None:
    """
    As many series are stored as samples were read: Prometheus says nothing of a second one that is equal.
    """
    stored = f'count by (instance) ({{job="{job}",__name__!~"up|scrape_.*"}})'

    equal = world.prometheus.await_query(
        f'{stored} == on (instance) scrape_samples_scraped{{job="{job}"}}', lambda found: len(found) >= count
    )

    assert all(one.value > 0 for one in equal)


def test_a_warning_does_not_go_quiet_when_the_server_goes_down(world: World) -> None:
    """
    A server that was seen stops: its end stays in Prometheus, success falls to 0, last seen stands still.
    """
    selector = '{job="expiry",target="leaving"}'
    world.prometheus.await_query(f"expiry_probe_success{selector} == 1")

    world.leaving.process.signal(signal.SIGTERM)
    world.prometheus.await_query(f"expiry_probe_success{selector} == 0")
    (last,) = world.prometheus.query(f"expiry_last_seen_timestamp_seconds{selector}")
    # Of a series that vanished an instant query would still find the last sample: ask for samples after it.
    later = f"timestamp(expiry_not_after_timestamp_seconds{selector}) > {last.value + 2}"
    world.prometheus.await_query(later, what="a sample taken after the server went down")

    end = world.prometheus.query(f'expiry_not_after_timestamp_seconds{selector[:-1]},item="leaf"}}')
    assert [one.value for one in end] == [world.ends["leaving"]]
    assert world.prometheus.query(f"expiry_last_seen_timestamp_seconds{selector}") == [last]


def test_a_reload_shows_in_the_next_scrape_and_in_the_discovery(world: World) -> None:
    """
    A target that is added arrives after `POST /-/reload`, and one that is removed goes: no series is left.
    """
    before = world.configuration.read_text(encoding="utf-8")
    document = yaml.safe_load(before)
    document["targets"].append({"url": world.urls["renewed"], "name": "added"})
    world.configuration.write_text(yaml.safe_dump(document), encoding="utf-8")

    assert world.exporter.ask("POST", "/-/reload")[0] == 200
    try:
        for job in ("expiry", "expiry-discovered"):
            world.prometheus.await_query(f'expiry_probe_success{{job="{job}",target="added"}} == 1')
    finally:
        world.configuration.write_text(before, encoding="utf-8")
        assert world.exporter.ask("POST", "/-/reload")[0] == 200
    for job in ("expiry", "expiry-discovered"):
        world.prometheus.await_query(
            f'{{job="{job}",target="added"}}', lambda found: not found, "the removed target is gone"
        )
    wait_until(
        lambda: "added" not in str(world.prometheus.api("targets", state="active")),
        deadline=PATIENCE,
        what="the removed target is not scraped any more",
    )
