"""The inbox on SQLite and PostgreSQL: each event once, leased in batches, never lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from listlens.core.errors import InputError, NotFoundError
from listlens.core.types import PhotoRow, Status
from listlens.store.event_rows import EventRecord, EventState, Finished, PutOff
from listlens.store.events import ALONE_AFTER, ID_REUSED
from listlens.store.ledger import Left
from listlens.store.open import Store, open_store
from listlens.store.photos import PhotoRecord

AT = datetime(2026, 1, 1, tzinfo=UTC)


def record(name: str, **other: object) -> EventRecord:
    said = {"kind": "photo.added", "listing_id": "L1", "photo_id": name, "at": AT, "body": {}}
    return EventRecord(event_key=f"e-{name}", **{**said, **other})  # type: ignore[arg-type]


class Hands:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = AT

    def __call__(self) -> datetime:
        return self.now

    def pass_s(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Hands:
    return Hands()


def keys(store: Store, n: int = 100, lease_s: float = 60, owner: str = "w1") -> list[str]:
    return [event.event_key for event in store.events.claim(owner, n, lease_s)]


def test_an_event_comes_back_as_it_was_put(store: Store) -> None:
    one = record("a", body={"url": "https://x/ä.jpg", "position": 3}, sequence=2**40, priority=2)
    store.events.put([one])
    (found,) = store.events.claim("w1", 10, 60)
    names = EventRecord.__dataclass_fields__
    assert {n: getattr(found, n) for n in names} == {n: getattr(one, n) for n in names}
    assert (found.state, found.attempts, found.received_at) == (EventState.LEASED, 1, AT)
    assert store.events.get("e-a").state is EventState.LEASED


def test_what_is_left_is_counted_by_what_it_waits_for(store: Store, clock: Hands) -> None:
    assert store.events.left() == Left()
    store.events.put([record(name) for name in "abcdef"], [(record("g"), "bad_event", "no")])
    mine = store.events.claim("w1", 2, 60)
    clock.pass_s(10)
    store.events.claim("w2", 1, 60)
    first, second = mine
    later = clock.now + timedelta(seconds=90)
    store.events.put_off("w1", [PutOff(first.event_id, later, "timeout", "too slow")])
    store.events.finish([Finished(second.event_id, "predicted")])
    until = clock.now + timedelta(seconds=60)
    assert store.events.left() == Left(3, 1, until, 1, later)
    clock.pass_s(91)
    assert store.events.left().due == 4, "what was put off is due by now"


def test_a_dead_letter_is_found_by_the_beginning_of_its_id(store: Store) -> None:
    names = ["sha256:7f3a01", "sha256:7f3b02", "a_1", "ab1", "A_1x", "Ünder", "e%", "e%1"]
    names += [f"many{n}" for n in range(9)]
    letters = [(replace(record("x"), event_key=name), "bad_event", "why") for name in names]
    store.events.put([record("a")], letters)

    def found(given: str) -> str:
        return store.events.find(given).event_key

    assert found("7f3a") == found("sha256:7f3a") == "sha256:7f3a01"
    assert [found(given) for given in ("a_", "A", "Ü", "e%", "sha256:7f3b02")] == [
        "a_1", "A_1x", "Ünder", "e%", "sha256:7f3b02",
    ]  # fmt: skip
    with pytest.raises(InputError, match=r"'7f3' begins .*'sha256:7f3a01', 'sha256:7f3b02'\."):
        found("7f3")
    with pytest.raises(InputError, match=r"'many4' and more\. Write"):
        found("many")
    assert found("e-a") == "e-a"  # whatever its state
    for given in ("e-", "", "%", "zz", "x\udc80", "7F3A"):
        with pytest.raises(NotFoundError, match="listlens dead list"):
            found(given)


def test_of_a_back_fill_no_more_are_leased_than_asked_for(store: Store) -> None:
    store.events.put([record(name, priority=2) for name in "abcd"] + [record("e")])
    claim = store.events.claim
    assert [event.event_key for event in claim("w1", 3, 60, old=1)] == ["e-e", "e-a"]
    assert claim("w1", 3, 60, old=0) == []
    assert [event.event_key for event in claim("w1", 2, 60, old=9)] == ["e-b", "e-c"]


def test_the_same_event_is_taken_once_within_a_batch_and_across(store: Store) -> None:
    put = store.events.put([record("a"), record("b"), record("a")])
    assert (put.new, put.duplicates) == (2, 1)
    put = store.events.put([record("b"), record("c")])
    assert (put.new, put.duplicates, put.clashes) == (1, 1, 0)
    assert keys(store) == ["e-a", "e-b", "e-c"]
    ledger = store.events.ledger()
    assert (ledger.received, ledger.duplicates) == (3, 2)
    assert ledger.adds_up


def test_another_event_under_a_key_that_is_taken_is_kept_as_dead(store: Store) -> None:
    store.events.put([record("a")])
    other = record("a", body={"url": "https://x/other.jpg"})
    assert store.events.put([other]).clashes == 1
    assert store.events.put([other]).duplicates == 1
    (dead,) = store.dead.list()
    assert (dead.reason, dead.body) == (ID_REUSED, other.body)
    assert "e-a" in dead.detail
    assert keys(store) == ["e-a"]
    assert store.events.ledger().as_dict()["received"] == 2


def test_what_is_wrong_at_the_door_is_dead_with_its_reason(store: Store) -> None:
    wrong = record("a", kind="", body={"raw": "{"})
    put = store.events.put([record("b")], [(wrong, "bad_event", "no JSON \0")])
    assert (put.new, put.duplicates) == (2, 0)
    (dead,) = store.dead.list()
    assert (dead.state, dead.reason, dead.detail) == (EventState.DEAD, "bad_event", "no JSON ?")
    assert dead.finished_at == AT
    assert keys(store) == ["e-b"]


def test_an_id_that_no_database_keeps_is_refused(store: Store) -> None:
    with pytest.raises(InputError, match="NUL"):
        store.events.put([record("a", photo_id="a\0b")])
    assert store.events.ledger().received == 0


def test_the_urgent_go_first_then_the_oldest(store: Store, clock: Hands) -> None:
    store.events.put([record("old", priority=2)])
    clock.pass_s(1)
    store.events.put([record("b"), record("a")])
    clock.pass_s(1)
    store.events.put([record("c"), record("now", priority=0)])
    assert keys(store, 2) == ["e-now", "e-b"]
    assert keys(store, 2) == ["e-a", "e-c"]
    assert keys(store, 2) == ["e-old"]
    assert keys(store, 2) == []


def test_what_one_worker_has_no_other_takes_until_the_lease_runs_out(
    store: Store, clock: Hands
) -> None:
    store.events.put([record("a"), record("b")])
    assert keys(store, 1, lease_s=10, owner="w1") == ["e-a"]
    assert keys(store, owner="w2") == ["e-b"]
    clock.pass_s(11)
    (again,) = store.events.claim("w2", 10, 60)
    assert (again.event_key, again.lost, again.attempts) == ("e-a", 1, 1)
    assert store.events.held("w1", [again.event_id]) == set()
    assert store.events.held("w2", [again.event_id]) == {again.event_id}


def test_a_renewed_lease_holds_and_a_lost_one_stays_lost(store: Store, clock: Hands) -> None:
    store.events.put([record("a")])
    (event,) = store.events.claim("w1", 1, 10)
    clock.pass_s(9)
    store.events.renew("w1", [event.event_id], 10)
    clock.pass_s(9)
    assert keys(store, owner="w2") == []
    clock.pass_s(2)
    assert keys(store, owner="w2") == ["e-a"]
    store.events.renew("w1", [event.event_id], 1000)
    clock.pass_s(61)
    assert keys(store, owner="w3") == ["e-a"]


def test_a_done_event_is_never_taken_again(store: Store, clock: Hands) -> None:
    store.events.put([record("a"), record("b")])
    a, b = store.events.claim("w1", 2, 10)
    store.events.finish(
        [Finished(a.event_id, "predicted"), Finished(b.event_id, reason="missing", detail="404")]
    )
    clock.pass_s(100)
    assert keys(store) == []
    assert store.events.put([record("a"), record("b")]).duplicates == 2
    ledger = store.events.ledger()
    assert ledger.states == {"waiting": 0, "leased": 0, "done": 1, "dead": 1}
    assert (ledger.outcomes, ledger.reasons) == ({"predicted": 1}, {"missing": 1})


def test_an_event_that_was_put_off_waits_until_its_moment(store: Store, clock: Hands) -> None:
    store.events.put([record("a")])
    (event,) = store.events.claim("w1", 1, 10)
    then = clock.now + timedelta(seconds=30)
    store.events.put_off("w2", [PutOff(event.event_id, then, "timeout")])  # not its owner
    assert store.events.get("e-a").state is EventState.LEASED
    store.events.put_off("w1", [PutOff(event.event_id, then, "timeout", "10 s")])
    assert keys(store) == []
    assert store.events.next_due() == then
    assert store.events.waiting() == (0, None)
    clock.pass_s(31)
    assert store.events.waiting() == (1, then)
    (again,) = store.events.claim("w1", 1, 10)
    assert (again.attempts, again.reason, again.detail) == (2, "timeout", "10 s")


def test_what_a_worker_gives_back_counts_as_never_taken(store: Store) -> None:
    store.events.put([record("a"), record("b")])
    store.events.claim("w1", 2, 60)
    assert store.events.release("w2") == 0
    assert store.events.release("w1") == 2
    assert [(e.attempts, e.lost) for e in store.events.claim("w2", 2, 60)] == [(1, 0), (1, 0)]


def test_what_may_be_killing_workers_is_taken_alone(store: Store, clock: Hands) -> None:
    store.events.put([record("a"), record("b")])
    for _ in range(ALONE_AFTER):
        assert keys(store, lease_s=10) == ["e-a", "e-b"]
        clock.pass_s(11)
    store.events.put([record("c")])
    assert keys(store, lease_s=10) == ["e-a"]
    assert keys(store, lease_s=10) == ["e-b"]
    assert keys(store, lease_s=10) == ["e-c"]


def test_dead_letters_are_listed_in_pages_and_replayed_once(store: Store, clock: Hands) -> None:
    wrong = [(record(f"{i}"), "missing" if i % 2 else "damaged", "") for i in range(6)]
    store.events.put([], wrong)
    assert [d.event_key for d in store.dead.list(limit=2)] == ["e-0", "e-1"]
    (second,) = list(store.dead.list(reason="missing", limit=1))
    rest = store.dead.list(reason="missing", after=second.event_id)
    assert [d.event_key for d in rest] == ["e-3", "e-5"]
    mended = replace(record("1"), body={"url": "https://x/right.jpg"})
    assert store.dead.replay([(second.event_id, mended)]) == 1
    assert store.dead.replay([(second.event_id, mended)]) == 0
    (again,) = store.events.claim("w1", 10, 60)
    assert (again.event_key, again.body, again.attempts) == ("e-1", mended.body, 1)
    ledger = store.events.ledger()
    assert (ledger.replayed, ledger.states["dead"], ledger.adds_up) == (1, 5, True)


def test_an_unknown_event_says_how_long_they_are_kept(store: Store) -> None:
    with pytest.raises(NotFoundError, match="keep_days"):
        store.events.get("nobody")


def test_pruned_events_stay_in_the_counts(store: Store, clock: Hands) -> None:
    store.events.put([record(str(i)) for i in range(5)])
    events = store.events.claim("w1", 4, 60)
    outcomes = ["predicted", "predicted", "deleted", ""]
    store.events.finish(
        [
            Finished(e.event_id, outcome, "" if outcome else "missing")
            for e, outcome in zip(events, outcomes, strict=True)
        ]
    )
    clock.pass_s(10)
    before = store.events.ledger()
    assert store.events.prune(clock.now - timedelta(seconds=20)) == 0
    assert store.events.prune(clock.now, limit=2) == 2
    assert store.events.prune(clock.now) == 1
    ledger = store.events.ledger()
    assert ledger.outcomes == before.outcomes == {"predicted": 2, "deleted": 1}
    assert (ledger.pruned, ledger.states["done"], ledger.states["dead"]) == (3, 0, 1)
    assert ledger.adds_up


def test_forgetting_removes_the_events_and_the_ledger_still_adds_up(store: Store) -> None:
    source = store.photos.source("events", "stream", "events")
    ingest = store.photos.begin_ingest(source)
    rows = [PhotoRow(listing, name, "/x") for listing, name in (("L1", "a"), ("L2", "a"))]
    store.photos.save(
        source, ingest, [PhotoRecord(row, 1, 1, None, Status.PENDING) for row in rows]
    )
    store.events.put([record("a"), record("b"), replace(record("c"), listing_id="L2")])
    store.forgetting.execute(store.forgetting.plan(photo="a", listing="L1"))
    assert keys(store) == ["e-b", "e-c"]
    store.forgetting.execute(store.forgetting.plan(listing="L2"))
    ledger = store.events.ledger()
    assert (ledger.received, ledger.forgotten, ledger.states["leased"]) == (3, 2, 1)
    assert ledger.adds_up
    (left,) = store.events.held("w1", range(10))
    store.events.finish([Finished(left, "forgotten", erase=True)])
    assert store.events.ledger().forgotten == 3
    assert store.events.ledger().adds_up


def test_results_and_the_end_of_an_event_are_kept_together_or_not_at_all(store: Store) -> None:
    store.events.put([record("a")])
    (event,) = store.events.claim("w1", 1, 60)
    with pytest.raises(ZeroDivisionError), store.together():
        store.photos.source("half", "x", "x")
        store.events.finish([Finished(event.event_id, "predicted")])
        assert store.events.get("e-a").state is EventState.DONE  # seen inside
        raise ZeroDivisionError
    assert store.events.get("e-a").state is EventState.LEASED
    with store.together(), store.together():
        store.events.finish([Finished(event.event_id, "predicted")])
    assert store.events.get("e-a").outcome == "predicted"


@pytest.mark.postgres
def test_two_workers_on_postgres_never_take_the_same(
    store_url: str, tmp_path: Path, clock: Callable[[], datetime]
) -> None:
    if store_url.startswith("sqlite"):
        pytest.skip("SQLite has one writer at a time: nothing can overlap")
    with open_store(store_url, tmp_path) as one, open_store(store_url, tmp_path) as two:
        one.events.put([record(str(i)) for i in range(10)])
        with one.together():
            mine = {e.event_key for e in one.events.claim("w1", 4, 60)}
            theirs = {e.event_key for e in two.events.claim("w2", 10, 60)}  # does not wait
        assert len(mine) == 4
        assert len(theirs) == 6
        assert not mine & theirs


@pytest.mark.postgres
def test_two_workers_that_prune_at_once_count_each_event_once(
    new_database: Callable[[str], str], tmp_path: Path
) -> None:
    url = new_database("postgres")  # SQLite has one writer at a time
    with open_store(url, tmp_path) as one, open_store(url, tmp_path) as two:
        ends = ("predicted", "predicted", "deleted")  # the count of each outcome is a row
        one.events.put([], done=[(record(str(i)), end, "") for i, end in enumerate(ends)])
        later = datetime(2100, 1, 1, tzinfo=UTC)
        with one.together():
            assert one.events.prune(later, limit=2) == 2
            assert two.events.prune(later) == 1  # does not wait, and counts no other's
        ledger = two.events.ledger()
        assert (ledger.pruned, dict(ledger.outcomes)) == (3, {"predicted": 2, "deleted": 1})
        assert ledger.adds_up
