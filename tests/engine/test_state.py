"""
State: what survives a restart, and what happens to a file that can't be used.
"""

import contextlib
import errno
import json
import logging
import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from exporter.demo.minter import Minted
from exporter.engine.memory import EndpointMemory, Memory, TargetMemory
from exporter.engine.results import ProbeResult, TargetResult
from exporter.engine.scrape import EndpointRow, TargetRow
from exporter.engine.snapshots import Snapshot
from exporter.engine.state import BAD_ROWS_LOGGED, SCHEMA_VERSION, State, StateError
from exporter.engine.state_rows import Reading, certificates_of, decode, encode
from exporter.judgement.habit import Habit, Replacement
from exporter.judgement.history import Former, Past
from exporter.judgement.verdicts import judge_facts
from exporter.model.observation import (
    Certificate,
    Chain,
    Facts,
    Failed,
    FoundFault,
    FoundHazard,
    Item,
    Observed,
    Renewal,
    Tls,
)
from exporter.model.reasons import Fault, Hazard, Kind
from exporter.model.targets import Target
from exporter.pki import certificates
from exporter.pki.trust import Anchors, TrustStore
from exporter.probes.tls import refusals
from exporter.probes.tls.handshake import Seen
from exporter.report.exposition import Exposition
from tests.golden.values import target
from tests.support.certificates import DAY, NOW, shared_key
from tests.support.state import taken

ENDED = 1_700_000_000.0


def real(minted: Minted) -> Certificate:
    """
    The certificate as values.
    """
    return certificates.certificate(minted.der)


def handshake(
    *certificates: Certificate, key: str = "", sni: str | None = "x", staple: bytes | None = None
) -> Seen:
    """
    What one handshake gave.
    """
    tls = Tls("TLSv1.3", "TLS_AES_128_GCM_SHA256", sni, client_certificate_requested=True, staple=staple)
    return Seen(Chain(certificates, key), tls)


@pytest.fixture
def leaves(ca: Minted) -> tuple[Certificate, Certificate, Certificate]:
    """
    An ECDSA leaf, an RSA leaf, and the intermediate above both.
    """
    rsa = ca.issue("x", ["x", "192.0.2.1"], key=shared_key("rsa-2048"))
    return real(ca.issue("x", ["x"])), real(rsa), real(ca)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """
    Where the state file is.
    """
    return tmp_path / "state.sqlite"


def remembered(facts: Mapping[str, Facts], of: Target | None = None) -> Memory:
    """
    A memory in which these endpoints of one target were seen.
    """
    memory, of = Memory(), of or target()
    remember(memory, facts, of)
    return memory


def remember(memory: Memory, facts: Mapping[str, Facts], of: Target, at: float = NOW) -> None:
    """
    The endpoints of the target are these.
    """
    looks = tuple(ProbeResult(label, Observed(found), 0.1) for label, found in facts.items())
    memory.update(TargetResult(of, looks, located=True), at)


def save(path: Path, *memories: Memory) -> None:
    """
    Save one after the other with the same open file, and close it.
    """
    state = State(str(path))
    state.load(NOW)
    for memory in memories:
        state.save(taken(memory))
    state.close()


def load(path: Path) -> Mapping[str, TargetMemory]:
    """
    What a new process finds.
    """
    state = State(str(path))
    try:
        return state.load(NOW)
    finally:
        state.close()


def endpoints(path: Path) -> dict[tuple[str, str], EndpointMemory]:
    """
    What a new process finds, by target and endpoint.
    """
    return {
        (name, label): held for name, known in load(path).items() for label, held in known.endpoints.items()
    }


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    """
    What a query gives.
    """
    database = sqlite3.connect(path)
    try:
        return database.execute(query).fetchall()
    finally:
        database.close()


def test_a_new_file_knows_nothing(path: Path) -> None:
    """
    And is there afterwards, in this program's format.
    """
    assert load(path) == {}
    assert rows(path, "PRAGMA user_version") == [(SCHEMA_VERSION,)]


def test_every_kind_of_facts_survives_a_restart(
    path: Path, leaves: tuple[Certificate, Certificate, Certificate]
) -> None:
    """
    Chains of any length, two keys, with and without a staple or a server name; things without a certificate.
    """
    ecdsa, rsa, above = leaves
    facts = {
        "chain": refusals.facts(handshake(ecdsa, above)),
        "leaf only": refusals.facts(handshake(ecdsa)),
        "both keys": refusals.facts(handshake(rsa, above, key="rsa"), handshake(ecdsa, above, key="ecdsa")),
        "staple": refusals.facts(handshake(ecdsa, staple=b"\x00\xff staple")),
        "empty staple": refusals.facts(handshake(ecdsa, staple=b"")),
        "no server name": refusals.facts(handshake(ecdsa, sni=None)),
        "not on the wire": Facts((Item("registration", Kind.LEAF, 0.5, ENDED),)),
        "odd dates": Facts((Item("x", Kind.ROOT, -1e11, 253402300799.0, ecdsa),)),
        "nothing": Facts(()),
        'la"bel\n☃': refusals.facts(handshake(rsa)),
    }
    save(path, remembered(facts))
    found = endpoints(path)
    assert {label: held.facts for (_, label), held in found.items()} == facts
    assert {held.seen_at for held in found.values()} == {NOW}


def test_what_was_learned_of_renewals_survives(
    path: Path, leaves: tuple[Certificate, Certificate, Certificate]
) -> None:
    """
    A file of an older version has a part of it, or nothing.
    """
    rich(path, leaves)
    past = endpoints(path)["rich", "a"].past
    assert (past.habits, past.formers) == (HABITS, FORMERS)
    ((text,),) = rows(path, "SELECT past FROM endpoint WHERE target = 'rich'")
    older = json.loads(str(text))
    older["habits"]["leaf"] = older["habits"]["leaf"][:3]
    older["formers"]["leaf"] = [one[:5] for one in older["formers"]["leaf"]]
    changed(path, f"UPDATE endpoint SET past = '{json.dumps(older)}' WHERE target = 'rich'")
    past = endpoints(path)["rich", "a"].past
    assert past.habits == {"leaf": Habit(NOW, NOW + 1, HABITS["leaf"].renewals)}
    assert past.formers == {"leaf": (Former("f", "i", "k", 1.0, returned=True),)}
    del older["habits"]
    changed(path, f"UPDATE endpoint SET past = '{json.dumps(older)}' WHERE target = 'rich'")
    assert endpoints(path)["rich", "a"].past.habits == {}


def test_what_is_empty_in_a_past_is_not_written(
    path: Path, leaves: tuple[Certificate, Certificate, Certificate]
) -> None:
    """
    There are ten thousand such pasts. Zero is a time, and three are there for older versions of this program.
    """
    memory = remembered({"a": refusals.facts(handshake(leaves[0]))})
    (held,) = memory.known(target()).endpoints.values()
    held.past = Past(first_at=0.0)
    save(path, memory)
    assert [json.loads(str(text)) for (text,) in rows(path, "SELECT past FROM endpoint")] == [
        {"previous": [], "identity_changed_at": {}, "trusted_at": None, "first_at": 0.0}
    ]
    (loaded,) = endpoints(path).values()
    assert loaded.past == held.past


def test_what_servers_show_by_turns_survives(
    path: Path, leaves: tuple[Certificate, Certificate, Certificate]
) -> None:
    """
    A file of an older version has no limit of its sightings, and does not say if probes at once are mixed.
    """
    good, wrong, above = leaves
    memory = remembered({"a": refusals.facts(handshake(good, above))})
    for day, leaf in ((1, wrong), (1.1, good)):
        remember(memory, {"a": refusals.facts(handshake(leaf, above))}, target(), NOW + day * DAY)
    (held,) = memory.known(target()).endpoints.values()
    (other,) = held.others
    assert other.sightings.limit is not None
    held.mixed = True
    save(path, memory)
    (loaded,) = endpoints(path).values()
    assert (loaded.looks, loaded.shown, loaded.mixed) == (held.looks, held.shown, True)
    assert [one.sightings for one in loaded.others] == [other.sightings]
    ((text,),) = rows(path, "SELECT past FROM endpoint")
    older = json.loads(str(text))
    del older["turns"]["mixed"]
    del older["turns"]["shown"][-3:]
    del older["turns"]["others"][0][2][-3:]
    changed(path, f"UPDATE endpoint SET past = '{json.dumps(older)}'")
    (loaded,) = endpoints(path).values()
    assert [one.sightings for one in loaded.others] == [replace(other.sightings, limit=None)]
    assert loaded.mixed is False


def test_what_is_loaded_counts_as_not_seen_now(
    path: Path, leaves: tuple[Certificate, Certificate, Certificate]
) -> None:
    """
    Until a sweep looked, the endpoint is no success.
    """
    save(path, remembered({"a": refusals.facts(handshake(*leaves))}))
    (held,) = endpoints(path).values()
    assert isinstance(held.observation, Failed)
    assert held.observation.detail == "not looked at since the exporter started"


def test_who_a_target_is_and_its_roster_survive(
    path: Path, leaves: tuple[Certificate, Certificate, Certificate]
) -> None:
    """
    So that held facts are never given to another place, and a rotating name goes on being one.
    """
    memory = remembered({"a": refusals.facts(handshake(*leaves))})
    memory.labels(target(), ["a", "b"], NOW)
    save(path, memory)
    known = load(path)[target().name]
    assert known.identity == target().identity
    assert known.roster == {"a": NOW, "b": NOW}


def test_the_roster_is_kept_also_when_no_facts_change(
    path: Path, leaves: tuple[Certificate, Certificate, Certificate]
) -> None:
    """
    Addresses rotate in front of the same certificate.
    """
    memory = remembered({"a": refusals.facts(handshake(*leaves))})
    state = State(str(path))
    state.load(NOW)
    state.save(taken(memory))
    memory.labels(target(), ["c"], NOW + DAY)
    state.save(taken(memory))
    state.close()
    assert load(path)[target().name].roster == {"c": NOW + DAY}


def test_a_later_look_moves_the_time_only(
    path: Path, leaves: tuple[Certificate, Certificate, Certificate]
) -> None:
    """
    The facts are not written again.
    """
    memory = remembered({"a": refusals.facts(handshake(*leaves))})
    state = State(str(path))
    state.load(NOW)
    state.save(taken(memory))
    database = state._open()
    written: list[str] = []
    database.set_trace_callback(written.append)
    remember(memory, {"a": refusals.facts(handshake(*leaves))}, target(), NOW + 60)
    state.save(taken(memory))
    database.set_trace_callback(None)
    state.close()
    assert {held.seen_at for held in endpoints(path).values()} == {NOW + 60}
    assert not [statement for statement in written if statement.startswith("INSERT OR REPLACE INTO endpoint")]
    assert not [statement for statement in written if "INTO certificate" in statement]


def test_what_was_never_seen_is_not_saved(path: Path) -> None:
    """
    There is nothing to hold.
    """
    memory = Memory()
    memory.known(target())
    save(path, memory)
    assert endpoints(path) == {}


def test_removed_targets_and_endpoints_are_gone_from_the_file(
    path: Path, leaves: tuple[Certificate, Certificate, Certificate]
) -> None:
    """
    With the certificates that nobody needs any more; shared ones stay.
    """
    ecdsa, rsa, above = leaves
    kept, removed, unseen = target(name="kept"), target(name="removed"), target(name="unseen")
    memory = Memory()
    remember(
        memory, {"a": refusals.facts(handshake(ecdsa, above)), "b": refusals.facts(handshake(rsa))}, kept
    )
    remember(memory, {"a": refusals.facts(handshake(rsa, above))}, removed)
    memory.known(unseen)
    state = State(str(path))
    state.load(NOW)
    state.save(taken(memory))
    assert len(rows(path, "SELECT * FROM certificate")) == 3
    memory.keep_only(["kept"])
    remember(memory, {"a": refusals.facts(handshake(ecdsa, above))}, kept)
    # Seen once and not again it may be an address that has its turns; by now it is not.
    memory.known(kept).absent.clear()
    state.save(taken(memory))
    state.close()
    assert rows(path, "SELECT name FROM target") == [("kept",)]
    assert rows(path, "SELECT target, label FROM endpoint") == [("kept", "a")]
    left = {row[0] for row in rows(path, "SELECT fingerprint FROM certificate")}
    assert left == {ecdsa.fingerprint_sha256, above.fingerprint_sha256}


def test_a_target_that_was_never_seen_is_gone_from_the_file_too(
    path: Path, leaves: tuple[Certificate, Certificate, Certificate]
) -> None:
    """
    Also when nothing else changes.
    """
    memory = remembered({"a": refusals.facts(handshake(*leaves))}, target(name="kept"))
    memory.known(target(name="unseen"))
    state = State(str(path))
    state.load(NOW)
    state.save(taken(memory))
    assert len(rows(path, "SELECT name FROM target")) == 2
    memory.keep_only(["kept"])
    state.save(taken(memory))
    state.close()
    assert rows(path, "SELECT name FROM target") == [("kept",)]


def test_what_was_removed_before_a_restart_is_removed_after_it(
    path: Path, leaves: tuple[Certificate, Certificate, Certificate]
) -> None:
    """
    The first save of a process knows what the one before it wrote.
    """
    facts = refusals.facts(handshake(*leaves))
    save(path, remembered({"a": facts, "b": facts}))
    save(path, remembered({"b": facts}))
    assert [label for _, label in endpoints(path)] == ["b"]


def blocked(path: Path) -> sqlite3.Connection:
    """
    Another process that is writing: until it is closed nobody else can.
    """
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    return other


def test_what_was_removed_while_saving_failed_does_not_spoil_the_file(
    path: Path, leaves: tuple[Certificate, Certificate, Certificate]
) -> None:
    """
    A failed save, an address that goes, a save that works: the next start finds a good file.
    """
    ecdsa, rsa, _ = leaves
    memory = remembered({"a": refusals.facts(handshake(ecdsa)), "b": refusals.facts(handshake(rsa))})
    state = State(str(path))
    state.load(NOW)
    state.save(taken(memory))
    other = blocked(path)
    with pytest.raises(StateError, match="locked"):
        state.save(taken(memory))
    other.close()
    remember(memory, {"a": refusals.facts(handshake(ecdsa))}, target())
    state.save(taken(memory))
    state.close()
    assert [label for _, label in endpoints(path)] == ["a"]
    assert [file.name for file in path.parent.iterdir() if "damaged" in file.name] == []


def test_a_failed_save_leaves_the_file_as_it_was(
    path: Path, leaves: tuple[Certificate, Certificate, Certificate]
) -> None:
    """
    All of a save, or nothing of it.
    """
    facts = refusals.facts(handshake(*leaves))
    save(path, remembered({"a": facts}))
    state = State(str(path))
    state.load(NOW)
    broken = taken(remembered({"a": facts, "b": facts}))
    # A name that UTF-8 can't encode fails in the middle of the transaction.
    worse = replace(broken, targets=(*broken.targets, ("\udcff", "x", "{}")))
    with pytest.raises(UnicodeEncodeError):
        state.save(worse)
    state.close()
    assert [label for _, label in endpoints(path)] == ["a"]


def test_two_thousand_endpoints_are_written_once(
    path: Path, leaves: tuple[Certificate, Certificate, Certificate]
) -> None:
    """
    A fleet that did not change costs one small update each; one change costs one more row.
    """
    ecdsa, rsa, above = leaves
    memory, facts = Memory(), refusals.facts(handshake(ecdsa, above))
    for number in range(2000):
        remember(memory, {"a": facts}, target(name=f"{number}"))
    state = State(str(path))
    state.load(NOW)
    state.save(taken(memory))
    database = state._open()
    before = database.total_changes
    state.save(taken(memory))
    assert database.total_changes - before <= 2000
    before = database.total_changes
    remember(memory, {"a": refusals.facts(handshake(rsa, above))}, target(name="7"))
    state.save(taken(memory))
    # Its facts and two certificates; a replaced row counts twice.
    assert database.total_changes - before <= 2000 + 8
    state.close()
    assert len(endpoints(path)) == 2000
    assert rows(path, "SELECT count(*) FROM certificate") == [(3,)]


def damaged_files(directory: Path) -> list[Path]:
    """
    Files that were set aside.
    """
    return sorted(file for file in directory.iterdir() if ".damaged-" in file.name)


def good_bytes(path: Path, leaves: tuple[Certificate, Certificate, Certificate]) -> bytes:
    """
    A good file with forty targets, all in the file itself.
    """
    memory = Memory()
    for number in range(40):
        remember(memory, {"a": refusals.facts(handshake(*leaves))}, target(name=f"{number}"))
    save(path, memory)
    rows(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    return path.read_bytes()


def test_random_bytes_are_set_aside(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    Renamed, not deleted, said in the log, and a new file begun.
    """
    noise = random.Random(1).randbytes(10_000)
    path.write_bytes(noise)
    assert load(path) == {}
    (aside,) = damaged_files(path.parent)
    assert aside.name == "state.sqlite.damaged-20270115T080000Z"
    assert aside.read_bytes() == noise
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "damaged" in record.message
    assert getattr(record, "fields")["aside"] == str(aside)  # noqa: B009 - the type of a record has no such field
    assert endpoints(path) == {}
    assert len(damaged_files(path.parent)) == 1


def test_a_damaged_file_that_a_link_names_is_set_aside_where_it_is(path: Path) -> None:
    """
    The link stays, and leads to the new one.
    """
    link = path.with_name("link")
    link.symlink_to(path)
    path.write_bytes(b"no database" * 100)
    assert load(link) == {}
    assert [file.name for file in damaged_files(path.parent)] == ["state.sqlite.damaged-20270115T080000Z"]
    assert link.is_symlink()
    save(link, named("a"))
    assert list(load(path)) == ["a"]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_file_is_set_aside(
    path: Path, leaves: tuple[Certificate, Certificate, Certificate], share: float
) -> None:
    """
    Wherever it ends; what is new can be saved.
    """
    good = good_bytes(path, leaves)
    path.write_bytes(good[: int(len(good) * share)])
    assert load(path) == {}
    assert len(damaged_files(path.parent)) == 1
    save(path, remembered({"a": refusals.facts(handshake(*leaves))}))
    assert len(endpoints(path)) == 1


@pytest.mark.no_cover
@pytest.mark.parametrize("seed", range(40))
def test_changed_bytes_never_do_more_harm_than_a_lost_file(
    path: Path, leaves: tuple[Certificate, Certificate, Certificate], seed: int
) -> None:
    """
    The file is read, or set aside, or refused with a message: there is no other exception.
    """
    chance = random.Random(seed)
    data = bytearray(good_bytes(path, leaves))
    for _ in range(chance.choice([1, 10, 200])):
        data[chance.randrange(len(data))] = chance.randrange(256)
    path.write_bytes(data)
    try:
        known, refused = load(path), ""
    except StateError as error:
        known, refused = {}, str(error)
    assert not refused or str(path) in refused
    shown(known)
    # What was damaged is beside it now, once.
    aside = damaged_files(path.parent)
    assert load(path).keys() == known.keys()
    assert damaged_files(path.parent) == aside


def changed(path: Path, statement: str) -> None:
    """
    Change a file behind the program's back.
    """
    database = sqlite3.connect(path)
    database.execute(statement)
    database.commit()
    database.close()


@pytest.mark.parametrize(
    "statement",
    [
        f"PRAGMA user_version = {SCHEMA_VERSION + 1}",
        "ALTER TABLE endpoint RENAME COLUMN facts TO other",
        "DROP TABLE certificate",
    ],
)
def test_a_file_of_another_format_is_set_aside(
    path: Path,
    leaves: tuple[Certificate, Certificate, Certificate],
    statement: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    Nothing in it is guessed at.
    """
    save(path, remembered({"a": refusals.facts(handshake(*leaves))}))
    changed(path, statement)
    assert (load(path) == {}) == (not statement.startswith("DROP"))
    assert len(damaged_files(path.parent)) == 1
    of_another = "PRAGMA" in statement
    assert ("the state file is of another version of this program" in caplog.text) == of_another
    assert ("is damaged" in caplog.text or "are damaged" in caplog.text) != of_another


HABITS = {
    "leaf": Habit(NOW, NOW + 1, (Replacement(2.0, 3.0), Replacement(4.0, -1.0)), NOW - 1, ((NOW, 2.0),))
}

FORMERS: dict[str, tuple[Former, ...]] = {
    "leaf": (
        Former("f", "i", "k", 1.0, returned=True, turned=True, issued_at=2.0, trusted=True, displaced=True),
    )
}

DEEP = "[" * 100_000

BAD_VALUES = [
    "7",
    "-1e300",
    "1e999",
    "NaN",
    "1" * 400,
    "1" * 5000,
    "true",
    "null",
    '"text"',
    '"\\ud800"',
    '"\\u0000"',
    "[]",
    "[7]",
    "[[1]]",
    "{}",
    '{"a": "b"}',
    '{"leaf": NaN}',
    DEEP,
    DEEP + "]" * 100_000,
    '{"a":' * 100_000,
]
"""Values in JSON that may stand where another one is meant to."""


def places(value: object, before: tuple[int | str, ...] = ()) -> Iterator[tuple[int | str, ...]]:
    """
    The way to every value in a JSON value, the whole first.
    """
    yield before
    if isinstance(value, dict):
        for key, one in value.items():
            yield from places(one, (*before, key))
    if isinstance(value, list):
        for number, one in enumerate(value):
            yield from places(one, (*before, number))


def with_other(text: str, place: tuple[int | str, ...], other: str) -> str:
    """
    The JSON text with another value in that place.
    """
    mark = "a mark that is nowhere else"
    whole = [json.loads(text)]
    there: Any = whole
    way: tuple[int | str, ...] = (0, *place)
    for step in way[:-1]:
        there = there[step]
    there[way[-1]] = mark
    return json.dumps(whole[0]).replace(json.dumps(mark), other)


def shown(known: Mapping[str, TargetMemory]) -> str:
    """
    All that was loaded, judged and written as for Prometheus.
    """
    endpoints, targets = [], []
    for name, one in known.items():
        of = target(name=name)
        targets.append(TargetRow(of, "wire", 0))
        for label, held in one.endpoints.items():
            assert held.facts is not None
            verdict = judge_facts(held.facts, of, Anchors(TrustStore([])), NOW)
            endpoints.append(EndpointRow(of, label, held, verdict))
    text = Exposition().text(targets, endpoints, {})
    text.encode()
    return text


def rich(path: Path, leaves: tuple[Certificate, Certificate, Certificate]) -> None:
    """
    A file with two targets, of which one has a value in every place.
    """
    ecdsa, rsa, above = leaves
    renewal = Renewal(NOW, NOW - 1, "https://why.example/")
    made = replace(
        refusals.facts(handshake(ecdsa, above, staple=b"staple")),
        faults=(FoundFault(Fault.REVOKED, "it is revoked"),),
        hazards=(FoundHazard(Hazard.DOMAIN_HOLD, "it is on hold"),),
    )
    facts = replace(made, items=(replace(made.items[0], renewal=renewal), *made.items[1:]))
    memory = remembered({"a": facts}, target(name="rich"))
    held = memory.known(target(name="rich")).endpoints["a"]
    held.past = Past(
        {"leaf": Item("leaf", Kind.LEAF, 1.0, 2.0, rsa)},
        {"leaf": 1.0},
        {"leaf": 2.0},
        {"leaf": 3.0},
        NOW,
        formers=FORMERS,
        habits=HABITS,
    )
    memory.labels(target(name="rich"), ["a", "b"], NOW)
    remember(memory, {"a": refusals.facts(handshake(rsa))}, target(name="good"))
    save(path, memory)


@pytest.mark.no_cover
@pytest.mark.parametrize("column", ["facts", "past", "roster"])
def test_a_row_with_any_other_value_in_any_place_harms_no_other(
    path: Path, leaves: tuple[Certificate, Certificate, Certificate], column: str
) -> None:
    """
    It is read, or left out; what was read can be judged and shown. The other target is always there.
    """
    rich(path, leaves)
    table, key = ("target", "name") if column == "roster" else ("endpoint", "target")
    ((text,),) = rows(path, f"SELECT {column} FROM {table} WHERE {key} = 'rich'")
    assert isinstance(text, str)
    left_out = 0
    with closing(sqlite3.connect(path)) as database:
        for place in places(json.loads(text)):
            for other in BAD_VALUES:
                changed_text = with_other(text, place, other)
                database.execute(
                    f"UPDATE {table} SET {column} = ? WHERE {key} = 'rich'",
                    (changed_text,),
                )
                read = Reading(database)
                assert "good" in shown(read.found)
                assert [one.what.partition(",")[0] for one in read.bad] in ([], ["target 'rich'"])
                left_out += len(read.bad)
                if other.startswith((DEEP, '{"a":{')):
                    assert len(read.bad) == 1
    assert left_out > 50


@pytest.mark.no_cover
@pytest.mark.parametrize(
    "value", [None, 7, 7.5, b"", b"\xff\x00", "", "\x00", "text", 2**62, -1e300, float("inf")]
)
@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("certificate", "fingerprint"),
        ("certificate", "der"),
        ("target", "name"),
        ("target", "identity"),
        ("target", "roster"),
        ("endpoint", "target"),
        ("endpoint", "label"),
        ("endpoint", "seen_at"),
        ("endpoint", "facts"),
        ("endpoint", "past"),
    ],
)
def test_a_row_with_any_other_value_in_a_column_harms_no_other(
    path: Path,
    leaves: tuple[Certificate, Certificate, Certificate],
    table: str,
    column: str,
    value: object,
) -> None:
    """
    Bytes that are no UTF-8 too. After it was loaded once, the file is good.
    """
    rich(path, leaves)
    which = {"certificate": f"fingerprint = '{leaves[2].fingerprint_sha256}'", "target": "name = 'rich'"}
    other = "target = 'rich'"
    database = sqlite3.connect(path)
    with closing(database):
        query = f"UPDATE {table} SET {column} = ? WHERE {which.get(table, other)}"
        with contextlib.suppress(sqlite3.IntegrityError):  # it may not be NULL
            database.execute(query, (value,))
        database.commit()
        if isinstance(value, bytes):
            database.execute(query.replace("?", "CAST(? AS TEXT)"), (value,))
            database.commit()
    known = load(path)
    assert "good" in shown(known)
    assert len(damaged_files(path.parent)) <= 1
    aside = damaged_files(path.parent)
    assert load(path).keys() == known.keys()
    assert damaged_files(path.parent) == aside


def test_a_damaged_row_is_told_once_with_whose_it_is_and_kept_in_a_copy(
    path: Path, leaves: tuple[Certificate, Certificate, Certificate], caplog: pytest.LogCaptureFixture
) -> None:
    """
    The others are used, and the next start has nothing to say.
    """
    rich(path, leaves)
    changed(path, f"UPDATE endpoint SET facts = '{DEEP}' WHERE target = 'rich'")
    known = load(path)
    assert {name: list(one.endpoints) for name, one in known.items()} == {"rich": [], "good": ["a"]}
    row, whole = (getattr(record, "fields") for record in caplog.records)  # noqa: B009 - no such field
    assert (row["row"], row["cause"]) == ("target 'rich', endpoint 'a'", "it is nested too deeply")
    (aside,) = damaged_files(path.parent)
    assert (whole["rows"], whole["aside"]) == (1, f"a copy was kept as {aside}")
    assert rows(aside, "SELECT facts FROM endpoint WHERE target = 'rich'") == [(DEEP,)]
    caplog.clear()
    load(path)
    assert caplog.records == []


def test_many_damaged_rows_are_counted(
    path: Path, leaves: tuple[Certificate, Certificate, Certificate], caplog: pytest.LogCaptureFixture
) -> None:
    """
    Not told one by one.
    """
    good_bytes(path, leaves)
    changed(path, "UPDATE endpoint SET past = 'x'")
    load(path)
    assert len(caplog.records) == BAD_ROWS_LOGGED + 1
    assert getattr(caplog.records[-1], "fields")["rows"] == 40  # noqa: B009 - no such field


def test_an_endpoint_without_its_target_is_left_out(
    path: Path, leaves: tuple[Certificate, Certificate, Certificate]
) -> None:
    """
    It can't be known whose it was.
    """
    save(path, remembered({"a": refusals.facts(handshake(*leaves))}))
    changed(path, "DELETE FROM target")
    assert load(path) == {}


def test_a_directory_gets_a_file_in_it(
    tmp_path: Path, leaves: tuple[Certificate, Certificate, Certificate]
) -> None:
    """
    `--state.path=/var/lib/expiry-exporter` is what people write.
    """
    save(tmp_path, remembered({"a": refusals.facts(handshake(*leaves))}))
    assert (tmp_path / "state.sqlite").is_file()
    assert len(endpoints(tmp_path)) == 1


@pytest.fixture(params=["below a file", "in a missing directory", "in /proc", "too long"])
def unusable(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """
    A path where nobody, not even root, can make a file.
    """
    (tmp_path / "file").write_text("x", encoding="utf-8")
    return {
        "below a file": tmp_path / "file" / "state.sqlite",
        "in a missing directory": tmp_path / "missing" / "state.sqlite",
        "in /proc": Path("/proc/state.sqlite"),
        "too long": tmp_path / ("x" * 300),
    }[request.param]


def test_a_path_that_can_not_be_written_says_what_to_do(unusable: Path) -> None:
    """
    When loading and when saving, each time.
    """
    state = State(str(unusable))
    for use in (lambda: state.load(NOW), lambda: state.save(taken(Memory()))) * 2:
        with pytest.raises(StateError) as raised:
            use()
        assert str(unusable) in str(raised.value)
        assert "will not survive a restart" in str(raised.value)
    state.close()


def test_a_directory_of_somebody_else_says_what_to_do(tmp_path: Path) -> None:
    """
    A volume of another user, in which we can't even look for the file.
    """
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    was = os.geteuid()
    if was == 0:
        # The superuser may look everywhere: be somebody else meanwhile.
        os.seteuid(65534)
    try:
        with pytest.raises(StateError, match=r"can't keep state in .*Permission denied"):
            State(str(closed / "state.sqlite")).load(NOW)
    finally:
        os.seteuid(was)
        closed.chmod(0o700)


def test_a_damaged_file_that_can_not_be_renamed_is_refused(path: Path) -> None:
    """
    Two damaged files in one second, and the first one's name is taken by a directory.
    """
    path.write_bytes(b"no database" * 100)
    aside = path.with_name("state.sqlite.damaged-20270115T080000Z")
    (aside / "full").mkdir(parents=True)
    with pytest.raises(StateError, match=r"Is a directory|directory not empty"):
        load(path)
    assert path.read_bytes() == b"no database" * 100


HOLDS = """
import os, signal, sys
from exporter.engine.memory import Memory, TargetMemory
from exporter.engine.snapshots import part, snapshot
from exporter.engine.state import State
state = State(sys.argv[1])
state.load(0)
memory = Memory()
memory.restore("theirs", TargetMemory("x"))
state.save(snapshot([part(*one) for one in memory]))
print("holds", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def other_process(path: Path) -> Iterator[subprocess.Popen[str]]:
    """
    A process that keeps its state in this file, until its input ends or it is killed.
    """
    command = [sys.executable, "-c", HOLDS, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "holds\n"
        yield process
        process.kill()


def named(*names: str) -> Memory:
    """
    A memory that knows these targets.
    """
    memory = Memory()
    for name in names:
        memory.restore(name, TargetMemory("x"))
    return memory


@pytest.mark.parametrize("by", ["its own name", "a link"])
def test_a_second_process_writes_nothing_and_takes_over_from_the_first(path: Path, by: str) -> None:
    """
    It reads what the first one knew, and says why it does not write, however the file is named. The first one
    is killed: it can't tidy up.
    """
    mine = path
    with other_process(path) as process:
        if by == "a link":
            mine = path.with_name("link")
            mine.symlink_to(path)
        state = State(str(mine))
        assert list(state.load(NOW)) == ["theirs"]
        assert state.refused is not None
        assert str(state.refused).startswith(f"another process keeps its state in {mine}, so this one writes")
        with pytest.raises(StateError, match="another process keeps its state"):
            state.save(taken(named("mine")))
        assert rows(path, "SELECT name FROM target") == [("theirs",)]
        process.kill()
        process.wait()
        state.save(taken(named("mine")))
        state.close()
    assert list(load(path)) == ["mine"]


def test_a_file_with_two_names_is_written_by_neither(path: Path) -> None:
    """
    SQLite has a journal for each name, so two processes would damage what they share. It is read, and written
    again once it has one name.
    """
    save(path, named("a"))
    first, second = State(str(path)), State(str(path.with_name("hard link")))
    first.load(NOW)
    second.path.hardlink_to(path)
    assert list(second.load(NOW)) == ["a"]
    assert second.refused is not None
    assert str(second.refused).startswith(f"{second.path} has 2 names (hard links)")
    for state in (first, second):
        with pytest.raises(StateError, match="Remove the other names"):
            state.save(taken(named("b")))
    assert rows(path, "SELECT name FROM target") == [("a",)]
    second.path.unlink()
    first.save(taken(named("c")))
    assert rows(path, "SELECT name FROM target") == [("c",)]
    first.close()
    second.close()


def test_what_one_state_saved_is_written_anew_by_the_next(
    path: Path, leaves: tuple[Certificate, Certificate, Certificate]
) -> None:
    """
    The second one does not take its own rows for written, because it once read them.
    """
    facts = refusals.facts(handshake(*leaves))
    save(path, remembered({"a": facts}))
    first, second = State(str(path)), State(str(path))
    first.load(NOW)
    known = second.load(NOW)
    assert second.refused is not None
    first.save(taken(Memory()))
    first.close()
    memory = Memory()
    memory.restore(target().name, known[target().name])
    second.save(taken(memory))
    second.close()
    assert len(endpoints(path)) == 1


def test_a_lock_that_somebody_removed_is_made_again(path: Path) -> None:
    """
    The process whose lock was removed finds out before it writes.
    """
    first, second = State(str(path)), State(str(path))
    first.load(NOW)
    path.with_name("state.sqlite.lock").unlink()
    second.load(NOW)
    assert second.refused is None
    second.save(taken(named("second")))
    with pytest.raises(StateError, match="another process keeps its state"):
        first.save(taken(named("first")))
    second.close()
    first.save(taken(named("first")))
    first.close()
    assert list(load(path)) == ["first"]


@pytest.mark.parametrize("instead", ["nothing", "another file"])
def test_a_file_that_somebody_removed_is_made_again(path: Path, instead: str) -> None:
    """
    What goes into a file without a name would be lost, and nobody would know.
    """
    state = State(str(path))
    state.load(NOW)
    state.save(taken(named("a")))
    for file in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))):
        file.unlink()
    if instead == "another file":
        other = State(str(path.with_name("other.sqlite")))
        other.save(taken(named("b")))
        other.close()
        path.with_name("other.sqlite").rename(path)
    state.save(taken(named("a", "c")))
    state.close()
    assert sorted(load(path)) == ["a", "c"]


def test_a_file_that_is_damaged_while_it_is_used_is_set_aside(
    path: Path, leaves: tuple[Certificate, Certificate, Certificate]
) -> None:
    """
    Else each save would fail until the restart.
    """
    good = bytearray(good_bytes(path, leaves))
    state = State(str(path), clock=lambda: NOW)
    state.load(NOW)
    state._close_database()
    good[4096:] = b"\xff" * (len(good) - 4096)
    path.write_bytes(good)
    state.save(taken(named("a")))
    state.close()
    assert list(load(path)) == ["a"]
    assert [file.name for file in damaged_files(path.parent)] == ["state.sqlite.damaged-20270115T080000Z"]


def test_any_name_of_a_file_will_do(tmp_path: Path) -> None:
    """
    Also for the process that only reads.
    """
    path = tmp_path / "a dir" / "my state?100%#é.db"
    path.parent.mkdir()
    first, second = State(str(path)), State(str(path))
    first.save(taken(named("a")))
    assert list(second.load(NOW)) == ["a"]
    assert second.refused is not None
    first.close()
    second.close()
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name, f"{path.name}.lock"]


def test_what_a_killed_process_left_beside_the_file_is_read(path: Path) -> None:
    """
    SQLite's write-ahead log holds what the file itself does not yet.
    """
    with other_process(path) as process:
        process.kill()
    assert path.with_name("state.sqlite-wal").stat().st_size > 0
    assert list(load(path)) == ["theirs"]


def test_what_can_be_read_only_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Nothing can be made beside it, as on a file system that is read-only (fake: root may write everywhere).
    """
    save(path, named("a"))

    def refuse(name: Path, *_: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(name))

    monkeypatch.setattr("exporter.engine.state.os.open", refuse)
    state = State(str(path))
    assert list(state.load(NOW)) == ["a"]
    assert "Read-only file system" in str(state.refused)
    with pytest.raises(StateError, match="Read-only file system"):
        state.save(taken(named("b")))
    state.close()


def test_a_full_disk_is_called_that(path: Path) -> None:
    """
    What was saved before is still there, and once there is room all is saved. (The limit is SQLite's own,
    which it reports as it does the disk's.)
    """
    state = State(str(path))
    state.save(taken(named("a")))
    ((pages,),) = state._open().execute("PRAGMA page_count")
    state._open().execute(f"PRAGMA max_page_count = {pages + 2}")
    many = taken(named(*(f"target {number}" for number in range(5000))))
    with pytest.raises(
        StateError, match=r"database or disk is full.*: the disk is full\. What was saved before is"
    ):
        state.save(many)
    assert list(load(path)) == ["a"]
    state.save(many)
    state.close()
    assert len(load(path)) == 5000


FULL = """
import resource, sys
from exporter.engine.memory import Memory, TargetMemory
from exporter.engine.snapshots import part, snapshot
from exporter.engine.state import State, StateError
state = State(sys.argv[1])
state.load(0)
memory = Memory()
for number in range(5000):
    memory.restore(f"target {number}", TargetMemory("x" * 100))
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
taken = snapshot([part(*one) for one in memory])
try:
    state.save(taken)
except StateError as error:
    print("refused:", error)
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
state.save(taken)
state.close()
print("saved")
"""


def test_a_full_disk_is_an_error_that_passes(path: Path) -> None:
    """
    In a process that may not make files of more than 100 kB; once it may, all is saved.
    """
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path)], stdout=subprocess.PIPE, text=True, check=True
    )
    refused, saved = done.stdout.splitlines()
    assert refused.startswith("refused: can't keep state in")
    assert saved == "saved"
    assert len(rows(path, "SELECT name FROM target")) == 5000


def test_the_certificates_of_facts_are_all_of_them(
    leaves: tuple[Certificate, Certificate, Certificate],
) -> None:
    """
    In chains and in items; things without one have none.
    """
    ecdsa, rsa, above = leaves
    facts = Facts(
        (Item("file", Kind.LEAF, 0, 1, rsa), Item("none", Kind.LEAF, 0, 1)), (Chain((ecdsa, above)),)
    )
    past = Past({"file": Item("file", Kind.LEAF, 0, 1, above)})
    assert list(certificates_of(facts, past.previous.values())) == [ecdsa, above, rsa, above]
    by_fingerprint = {one.fingerprint_sha256: one for one in leaves}
    assert decode(encode(facts), by_fingerprint) == facts


def test_the_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    """
    Not one byte of it changes, and a person is told.
    """
    path = tmp_path / "other.sqlite"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()

    with pytest.raises(StateError, match="the database of another program"):
        State(str(path)).load(NOW)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_lists_of_discovered_targets_are_kept(tmp_path: Path) -> None:
    """
    The content while it is the same, the time each time; what is gone is deleted, a damaged row left out.
    """
    state = State(str(tmp_path / "state.sqlite"))
    for lists in ((("a", 1.0, "one"), ("b", 1.0, "two")), (("a", 2.0, "one"), ("c", 3.0, "three"))):
        state.save(Snapshot((), (), (), lists))
    state.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "state.sqlite")) as database, database:
        database.execute("INSERT INTO listing VALUES ('d', 'late', 'x')")
    again = State(str(tmp_path / "state.sqlite"))
    again.load(NOW)
    again.close()
    assert again.lists == {"a": (2.0, "one"), "c": (3.0, "three")}
