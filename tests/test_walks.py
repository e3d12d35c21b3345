"""
The two walks from YAML to a line of metrics, as a newcomer makes them, stay short.
"""

import json
import subprocess
import sys

from exporter.engine.memory import Memory
from exporter.model.targets import Target
from exporter.model.urls import parse_url
from tests import walks


def test_a_walk_from_yaml_to_a_metric_changes_room_no_more_often_than_it_may() -> None:
    """
    In a process of its own, where nothing is remembered yet. Where it fails, the output says who calls whom.
    """
    script = (
        "import json; from tests import walks; "
        "print(json.dumps({name: list(one.changes) for name, one in walks.walks().items()}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True
    )
    found = json.loads(done.stdout)
    assert {name: len(changes) for name, changes in found.items() if len(changes) > walks.MOST[name]} == {}, (
        found
    )
    assert all(len(changes) > 20 for changes in found.values())
    places = {place for changes in found.values() for pair in changes for place in pair}
    assert [place for place in places if walks.TOP_LEVEL in place] == []


def test_what_a_property_calls_in_its_own_room_is_no_change_for_whoever_reads_it() -> None:
    """
    The memory asks a target's URL for its usual form, which the URL puts together with what stands beside it.
    """
    with walks.followed() as found:
        known = Memory().known(Target(parse_url("https://[::1]:8443"), "one"))
    assert known.identity.startswith("https://[::1]:8443")
    assert list(found.changes) == []
