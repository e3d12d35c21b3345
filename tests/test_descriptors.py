"""
Descriptors: what each part may open fits below the limit.
"""

import resource

import pytest

from exporter.engine.descriptors import CLIENTS, CONCURRENCY, ENOUGH, OWN, WATCHES, client_slots, probe_slots
from exporter.engine.open_files import fitting
from tests.support.readme import whole_text


@pytest.mark.parametrize("limit", [256, 512, 1024, 4096, 65_536, 1_048_576])
def test_all_parts_fit_below_the_limit(limit: int) -> None:
    """
    Looks of both sets of targets, clients, and what else there is.
    """
    assert OWN + client_slots(limit) + WATCHES * probe_slots(limit) <= limit
    assert client_slots(limit) <= CLIENTS


def test_usual_limits_allow_the_default() -> None:
    """
    With 1,024 open files nothing has to be said. With 256, looks and clients are fewer. The manual says
    where that begins.
    """
    assert probe_slots(810) >= ENOUGH > probe_slots(809)
    assert probe_slots(2688) >= CONCURRENCY > probe_slots(2687)
    assert "is below 2688, with a warning if it is below 810 or the flag is set |" in whole_text()
    assert f"a limit of 1024 allows {probe_slots(1024)} probes at a time" in whole_text().replace("\n", " ")
    assert (probe_slots(256), client_slots(256)) == (48, 32)


@pytest.mark.parametrize(
    ("limit", "asked", "most", "is_told"),
    [
        (4096, None, CONCURRENCY, False),
        (4096, 64, 64, False),
        (1024, None, 336, False),
        (1024, CONCURRENCY, 336, True),
        (256, None, 48, True),
        (resource.RLIM_INFINITY, 5000, 5000, False),
    ],
)
def test_what_the_limit_takes_is_told_where_it_matters(
    limit: int,
    asked: int | None,
    most: int,
    *,
    is_told: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    To who asks for more, and where usual servers would have to wait.
    """
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert fitting(asked) == most
    assert ("raise it" in caplog.text) == is_told


@pytest.mark.parametrize("limit", [0, 64, 128])
def test_a_limit_that_is_too_low_leaves_a_few(limit: int) -> None:
    """
    Then looks wait for each other's descriptors.
    """
    assert (probe_slots(limit), client_slots(limit)) == (2, 8)
