"""
Bad JSON of the Kubernetes API: whatever comes, reasons of the closed list, bounded, and others unharmed.
"""

import base64
import copy
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model.errors import ProbeError
from exporter.model.observation import Facts
from exporter.model.reasons import Reason
from exporter.probes.kubernetes.api import Change, GoneError, read_events, read_page
from exporter.probes.kubernetes.bounds import PAGE_LIMIT
from exporter.probes.kubernetes.objects import RESOURCES, Key, Resource, Stored, key_of, with_renewal
from tests.formats.samples import PASSWORD, every, issuer, leaf, root
from tests.probes.kubernetes.api_server import Object, secret

# Thousands of inputs for the same lines: tracing these would only multiply their time.
pytestmark = pytest.mark.no_cover

FUZZ_SECONDS = float(os.environ.get("FUZZ_SECONDS", "1"))
"""How long the fuzz run at the end may take."""

OF_OBJECTS = {
    Reason.FORMAT_BROKEN,
    Reason.FORMAT_UNKNOWN,
    Reason.NOTHING_EXPIRES,
    Reason.KEYSTORE_LOCKED,
    Reason.KEYSTORE_PASSWORD_WRONG,
    Reason.FILE_TOO_LARGE,
}
"""What a key of an object may fail with."""

GOOD = secret("prod", "good", tls_crt=leaf().chain_pem)
GOOD_KEY = "prod/good:tls.crt"


def encoded(data: bytes) -> str:
    """
    Base64.
    """
    return base64.b64encode(data).decode("ascii")


def webhooks(name: str) -> Object:
    """
    A configuration of webhooks with two bundles.
    """
    hooks = [
        {"name": "a.example", "clientConfig": {"caBundle": encoded(root().pem)}},
        {"name": "b.example", "clientConfig": {"caBundle": encoded(issuer().pem + root().pem)}},
    ]
    return {"metadata": {"name": name, "resourceVersion": "3"}, "webhooks": hooks}


OBJECTS: list[tuple[Resource, Object]] = [
    (RESOURCES["secrets"][0], secret("prod", "web", tls_crt=leaf().chain_pem, tls_key=leaf().key_pem)),
    (RESOURCES["secrets"][0], secret("prod", "empty")),
    *(
        (RESOURCES["secrets"][0], secret("prod", f"opaque-{number}", "Opaque", some_data=data))
        for number, data in enumerate(every().values())
    ),
    (
        RESOURCES["configmaps"][0],
        {
            "metadata": {"namespace": "prod", "name": "ca", "resourceVersion": "2"},
            "data": {"ca.crt": root().pem.decode(), "text": "hello"},
            "binaryData": {"ca.der": encoded(root().der)},
        },
    ),
    *((one, webhooks("policy")) for one in RESOURCES["webhooks"]),
    (
        RESOURCES["certificates"][0],
        {
            "metadata": {"namespace": "prod", "name": "web", "resourceVersion": "1"},
            "spec": {"secretName": "web"},
            "status": {"renewalTime": "2027-03-01T00:00:00Z", "notAfter": "2027-04-01T00:00:00Z"},
        },
    ),
]
"""Good ones of each kind."""


def reader(resource: Resource) -> Callable[[Any], tuple[Key, Stored]]:
    """
    Reads objects of a kind as a view does that knew none before.
    """
    return lambda obj: (key_of(obj), resource.read(obj, PASSWORD, None))


def check_stored(key: Key, stored: Stored) -> None:
    """
    Holds what is promised of every object that is kept.
    """
    namespace, name = key
    assert name
    for label, outcome in stored.outcomes.items():
        assert len(label) < 1500
        label.encode("ascii")
        assert name in label
        assert isinstance(outcome, Facts | ProbeError)
        if isinstance(outcome, ProbeError):
            assert outcome.reason in OF_OBJECTS
            outcome.detail.encode("utf-8")
        if stored.renewed is not None:
            with_renewal(outcome, stored.renewed)
    if stored.renewed is not None:
        assert stored.renewed.due == stored.renewed.due  # not a NaN
    assert isinstance(namespace, str)


def refused(error: ProbeError) -> None:
    """
    Holds what is promised of a refusal.
    """
    assert error.reason is Reason.HTTP_FAILED
    error.detail.encode("utf-8")
    assert len(error.detail) < 1000


def check_page(resource: Resource, data: bytes) -> bool:
    """
    Holds what is promised of every page. False when it is refused as a whole.
    """
    try:
        page = read_page(data, reader(resource))
    except ProbeError as error:
        refused(error)
        return False
    for key, stored in page.objects.items():
        check_stored(key, stored)
    return True


def check_events(resource: Resource, data: bytes) -> list[Change]:
    """
    Holds what is promised of all that a watch sends. Empty when it is refused.
    """
    try:
        changes = read_events(data, reader(resource))
    except GoneError:
        return []
    except ProbeError as error:
        refused(error)
        return []
    for change in changes:
        if change.key is not None and change.stored is not None:
            check_stored(change.key, change.stored)
    return changes


def page_of(*objects: Any) -> bytes:
    """
    A list of these.
    """
    return json.dumps({"kind": "List", "metadata": {"resourceVersion": "9"}, "items": objects}).encode()


def event_of(obj: Any, kind: Any = "MODIFIED") -> bytes:
    """
    An event about this.
    """
    return json.dumps({"type": kind, "object": obj}).encode() + b"\n"


names = st.text(max_size=8) | st.sampled_from(
    ["metadata", "name", "namespace", "resourceVersion", "type", "data", "binaryData", "tls.crt", "webhooks"]
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.sampled_from([encoded(leaf().pem), "kubernetes.io/tls", "410", "\ud800", "-----BEGIN "])
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """
    The way to each value inside of one, and to itself.
    """
    found = [path]
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        found += places(one, (*path, key))
    return found


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """
    A copy with another value in one place.
    """
    if not path:
        return new
    made = copy.deepcopy(value)
    at = made
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = new
    return made


def test_all_that_is_damaged_below_is_good() -> None:
    """
    Each object is read, and of each kind there is one.
    """
    assert {one.name for one, _ in OBJECTS} == {one.name for kind in RESOURCES.values() for one in kind}
    for one, obj in OBJECTS:
        assert check_page(one, page_of(obj))
        (change,) = check_events(one, event_of(obj))
        assert change.stored is not None


@given(one=st.sampled_from(OBJECTS), data=st.data())
def test_a_value_of_another_type_harms_its_own_object_only(
    one: tuple[Resource, Object], data: st.DataObject
) -> None:
    """
    Anything in the place of anything. What has no name any more is refused with its page, else nothing is.
    """
    resource, obj = one
    path = data.draw(st.sampled_from(places(obj)))
    damaged = replaced(obj, path, data.draw(anything))
    if resource is not RESOURCES["secrets"][0]:
        check_page(resource, page_of(damaged))
    elif check_page(resource, page_of(GOOD, damaged)):
        found = read_page(page_of(GOOD, damaged), reader(resource)).objects
        if key_of(damaged) != ("prod", "good"):
            assert isinstance(found["prod", "good"].outcomes[GOOD_KEY], Facts)
    else:
        # A list without names is none: what it should have said can't be known.
        with pytest.raises(ProbeError):
            key_of(damaged)
    check_events(resource, event_of(GOOD) + event_of(damaged))


@given(one=st.sampled_from(OBJECTS), key=st.sampled_from(["tls.crt", "some.data"]), data=st.data())
def test_content_that_is_damaged_harms_its_own_key_only(
    one: tuple[Resource, Object], key: str, data: st.DataObject
) -> None:
    """
    Bits flipped, cut off, or not base64 any more.
    """
    resource, obj = one
    if key not in obj.get("data", {}) or resource is not RESOURCES["secrets"][0]:
        return
    content = bytearray(base64.b64decode(obj["data"][key]))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    text = encoded(bytes(content[: data.draw(st.integers(0, len(content)))]))
    text = text[: data.draw(st.integers(0, len(text)))]
    beside = replaced(obj, ("data", "good.pem"), encoded(root().pem))
    damaged = replaced(beside, ("data", key), text)
    assert check_page(resource, page_of(damaged, GOOD))
    found = read_page(page_of(damaged, GOOD), reader(resource)).objects
    assert isinstance(found["prod", "good"].outcomes[GOOD_KEY], Facts)
    namespace, name = key_of(damaged)
    assert isinstance(found[namespace, name].outcomes[f"{namespace}/{name}:good.pem"], Facts)


@given(one=st.sampled_from(OBJECTS), data=st.data())
def test_bytes_that_are_damaged_are_refused_or_read(
    one: tuple[Resource, Object], data: st.DataObject
) -> None:
    """
    Pages and events, cut off and with bits flipped.
    """
    resource, obj = one
    for whole, check in ((page_of(obj), check_page), (event_of(obj), check_events)):
        changed = bytearray(whole)
        for _ in range(data.draw(st.integers(0, 4))):
            changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
        check(resource, bytes(changed[: data.draw(st.integers(0, len(changed)))]))


@given(value=anything, kind=st.sampled_from(["ADDED", "DELETED", "BOOKMARK", "ERROR"]) | anything)
def test_any_json_is_borne(value: Any, kind: Any) -> None:
    """
    As a list, in a list, as an event, in an event.
    """
    for one in (RESOURCES["secrets"][0], RESOURCES["certificates"][0]):
        check_page(one, json.dumps(value).encode())
        check_page(one, page_of(value))
        check_events(one, json.dumps(value).encode())
        check_events(one, event_of(value, kind))


@given(data=st.binary(max_size=300))
def test_any_bytes_are_borne(data: bytes) -> None:
    """
    JSON or not.
    """
    check_page(RESOURCES["secrets"][0], data)
    check_events(RESOURCES["secrets"][0], data)


DEEP = b"[" * 900 + b"]" * 900

HUGE: dict[str, Callable[[], bytes]] = {
    "objects without names": lambda: page_of(*[{}] * 10).replace(b"{},", b"{}," * (PAGE_LIMIT // 31)),
    "small lists": lambda: b'{"metadata": {}, "items": [' + b"[]," * (PAGE_LIMIT // 3 - 20) + b"[]]}",
    "numbers": lambda: b'{"metadata": {}, "items": [' + b"1," * (PAGE_LIMIT // 2 - 20) + b"1]}",
    "one number": lambda: b'{"metadata": ' + b"1" * (PAGE_LIMIT - 20) + b"}",
    "one text": lambda: b'{"metadata": {}, "items": ["' + b"a" * (PAGE_LIMIT - 50) + b'"]}',
    "brackets": lambda: b"[" * PAGE_LIMIT,
    "a deep message": lambda: b'{"type": "ERROR", "object": {"message": ' + DEEP + b"}}",
    "a long message": lambda: event_of({"message": "a" * 8_000_000}, "ERROR"),
    "keys": lambda: page_of(secret("a", "b", "Opaque", **{f"k{n}": b"" for n in range(200_000)})),
    "lines": lambda: b"\n" * PAGE_LIMIT,
    "certificates": lambda: page_of(secret("a", "b", tls_crt=leaf().pem * 5_000)),
    "hooks": lambda: page_of({"metadata": {"name": "a"}, "webhooks": [{}] * 2_000_000}),
}


@pytest.mark.parametrize("name", HUGE)
def test_what_is_huge_takes_bounded_time(name: str) -> None:
    """
    Within the limit of a page: seconds of work, at most.
    """
    data = HUGE[name]()
    assert len(data) <= PAGE_LIMIT
    begin = time.process_time()
    # Only what is in an object is read in another way than in a Secret.
    one = RESOURCES["webhooks" if name == "hooks" else "secrets"][0]
    check_page(one, data)
    check_events(one, data)
    assert time.process_time() - begin < 40


MEASURED = """
from pathlib import Path
from exporter.model.errors import ProbeError
from tests.probes.kubernetes import test_bad_input as made
data = made.HUGE[{name!r}]()
try:
    made.read_page(data, made.reader(made.RESOURCES["secrets"][0]))
except ProbeError:
    # Not the peak of getrusage: that begins with what the parent had when it made this process.
    print(int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) // 1024)
"""


@pytest.mark.parametrize("name", ["objects without names", "small lists"])
def test_what_is_huge_takes_bounded_memory(name: str) -> None:
    """
    JSON that is made to fill it: megabytes of a process of its own, all in all.
    """
    done = subprocess.run(
        [sys.executable, "-c", MEASURED.format(name=name)], check=True, capture_output=True, timeout=120
    )
    assert int(done.stdout) < 400


def test_fuzz() -> None:
    """
    Random damage to all objects for a second. FUZZ_SECONDS makes it longer.
    """
    chance = random.Random(20270115)
    end = time.monotonic() + FUZZ_SECONDS
    while time.monotonic() < end:
        resource, obj = chance.choice(OBJECTS)
        damaged = obj
        for _ in range(chance.randint(0, 3)):
            _, other = chance.choice(OBJECTS)
            new = other
            for key in chance.choice(places(other)):
                new = new[key]
            damaged = replaced(damaged, chance.choice(places(damaged)), copy.deepcopy(new))
        data = bytearray(page_of(damaged, GOOD) if chance.random() < 0.5 else event_of(damaged))
        for _ in range(chance.choice([0, 0, 1, 5])):
            at = chance.randrange(len(data))
            data[at : at + chance.randint(0, 3)] = chance.randbytes(chance.randint(0, 3))
        try:
            check_page(resource, bytes(data))
            check_events(resource, bytes(data))
        except Exception as error:
            raise AssertionError(f"this is not borne: {bytes(data)!r}") from error
