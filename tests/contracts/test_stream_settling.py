"""What the worker writes at the end of a batch, on SQLite and PostgreSQL: all of it, or nothing."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from listlens.core.errors import ListlensError, PhotoError, StoreError
from listlens.core.types import EmbeddingSpace, Reason, Status
from listlens.core.watch_config import BudgetConfig
from listlens.store.contents import ContentRecord
from listlens.store.event_rows import EventRecord, EventState
from listlens.store.open import Store, open_store
from listlens.store.usage import Used
from listlens.stream.capping import Capping
from listlens.stream.retrying import Backoff
from listlens.stream.settling import Settling
from listlens.stream.work import Trouble, Work

AT = datetime(2026, 1, 1, tzinfo=UTC)
SPACE = EmbeddingSpace("tiny", "0" * 64, "squash8", "onnxruntime", "f32", 8)


class Hands:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = AT

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Hands:
    return Hands()


def settling(store: Store, owner: str = "w") -> Settling:
    backoff = Backoff(10.0, 100.0, 3, lambda: 0.0)
    return Settling(store, owner, backoff, {SPACE.id: SPACE}, top=3)


def record(name: str, kind: str = "photo.added", at_s: float = 0.0, **more: Any) -> EventRecord:
    photo = "" if kind == "listing.changed" else more.pop("photo", name)
    listing = more.pop("listing", "L1")
    source, sequence = more.pop("source", "events"), more.pop("sequence", 0)
    if kind in ("photo.added", "photo.changed"):
        more.setdefault("url", f"https://x/{photo}")
    at = AT + timedelta(seconds=at_s)
    return EventRecord(name, kind, listing, photo, at, more, source, 1, sequence)


def take(store: Store, *records: EventRecord, owner: str = "w") -> dict[str, Work]:
    """Put events in and lease them; by their keys."""
    store.events.put(records)
    events = store.events.claim(owner, 100, 60)
    return {event.event_key: Work(event, location=event.body.get("url", "")) for event in events}


def show(work: Work, content: str) -> Work:
    """Let a work have looked at a photo, just now."""
    work.sha256 = hashlib.sha256(content.encode()).hexdigest()
    work.n_bytes = len(content)
    work.record = ContentRecord(work.sha256, len(content), "JPEG", 8, 8, None, Status.OK)
    work.vectors = {SPACE.id: np.full(8, len(content), np.float16)}
    work.thumbnail = b"small " + content.encode()
    return work


def settle(store: Store, works: Any, owner: str = "w") -> dict[str, int]:
    return dict(settling(store, owner).settle(list(works), []))


def photos(store: Store) -> dict[str, Any]:
    return {view.photo_id: view for view in store.photos.scan()}


def announced(store: Store) -> list[tuple[str, str]]:
    return [(one.event_key, one.kind) for one in store.outbox.read()[0]]


def test_a_photo_its_content_its_embedding_and_its_news_come_together(store: Store) -> None:
    works = take(store, record("a", position=4, attributes={"price": 1}, seller_id="S"))
    show(works["a"], "kitchen")
    assert settle(store, works.values()) == {"predicted": 1}
    photo = photos(store)["a"]
    assert (photo.status, photo.location, photo.position) == (Status.OK, "https://x/a", 4)
    assert store.vectors.get(SPACE, [photo.content_id]).tolist() == [[7.0] * 8]
    assert store.thumbnails.get(photo.sha256) == b"small kitchen"
    assert store.photos.listing("L1")["attributes"] == {"price": 1}  # type: ignore[index]
    (news,), _ = store.outbox.read()
    assert news.body == {
        "id": "a/photo.predicted", "kind": "photo.predicted", "at": AT.isoformat(),
        "listing_id": "L1", "photo_id": "a", "source": "events", "event_id": "a",
        "sha256": photo.sha256, "results": {}, "location": "https://x/a", "position": 4,
    }  # fmt: skip
    assert store.events.get("a").outcome == "predicted"


def test_where_one_thing_cannot_be_written_nothing_is(store: Store, tmp_path: Any) -> None:
    works = take(store, record("a"), record("b"))
    show(works["a"], "kitchen")
    show(works["b"], "bath")
    works["b"].vectors = {SPACE.id: np.full(9, 1, np.float16)}  # of another length
    with pytest.raises(ValueError):
        settle(store, works.values())
    assert photos(store) == {}
    assert announced(store) == []
    assert store.events.ledger().states["leased"] == 2
    assert store.contents.lookup([works["a"].sha256]) == {}
    assert settle(store, [works["a"]]) == {"predicted": 1}


def test_whoever_lost_his_lease_writes_nothing(store: Store, clock: Hands) -> None:
    works = take(store, record("a"), record("b"))
    show(works["a"], "kitchen")
    show(works["b"], "bath")
    clock.now += timedelta(seconds=61)
    (again, other) = store.events.claim("other", 10, 60)
    assert settle(store, works.values()) == {}
    assert photos(store) == {}
    assert announced(store) == []
    theirs = [show(Work(again, location="x"), "kitchen"), show(Work(other, location="x"), "bath")]
    assert settle(store, theirs, "other") == {"predicted": 2}
    assert settle(store, works.values()) == {}
    assert len(announced(store)) == 2


def test_settling_the_same_batch_twice_changes_nothing(store: Store) -> None:
    works = take(store, record("a"), record("gone", "photo.deleted"))
    show(works["a"], "kitchen")
    assert settle(store, works.values()) == {"predicted": 1, "absent": 1}
    before = photos(store), announced(store), store.events.ledger()
    assert settle(store, works.values()) == {}
    assert (photos(store), announced(store), store.events.ledger()) == before


def test_of_one_photo_the_newest_event_counts_whatever_comes_first(store: Store) -> None:
    records = [record("1", at_s=1, photo="p"), record("3", "photo.changed", at_s=3, photo="p"),
               record("2", "photo.deleted", at_s=2, photo="p")]  # fmt: skip
    works = take(store, *records)
    show(works["1"], "first")
    show(works["3"], "third")
    assert settle(store, works.values()) == {"predicted": 1, "superseded": 2}
    assert photos(store)["p"].sha256 == works["3"].sha256
    assert announced(store) == [("3/photo.predicted", "photo.predicted")]
    assert store.contents.lookup([works["1"].sha256]) == {}  # nothing is kept of the old one


def test_at_one_moment_a_sequence_decides_and_else_a_deletion_wins(store: Store) -> None:
    works = take(
        store,
        record("add", at_s=1, photo="p"), record("delete", "photo.deleted", at_s=1, photo="p"),
        record("q1", at_s=1, photo="q", sequence=2),
        record("q2", "photo.deleted", at_s=1, photo="q", sequence=1),
    )  # fmt: skip
    show(works["add"], "p")
    show(works["q1"], "q")
    assert settle(store, works.values()) == {"absent": 1, "predicted": 1, "superseded": 2}
    assert list(photos(store)) == ["q"]


def test_sources_keep_their_photos_apart(store: Store) -> None:
    works = take(
        store, record("a1", photo="a", source="one"), record("a2", photo="a", source="two")
    )
    for work in works.values():
        show(work, "same")
    assert settle(store, works.values()) == {"predicted": 2}
    gone = take(store, record("a3", "photo.deleted", at_s=1, photo="a", source="one"))
    assert settle(store, gone.values()) == {"deleted": 1}
    assert len(list(store.photos.scan())) == 1
    (left,) = store.photos.scan()
    assert store.vectors.missing(SPACE, [left.content_id or 0]) == []


def test_a_content_that_was_deleted_meanwhile_is_looked_at_again(store: Store) -> None:
    first = take(store, record("a"))
    show(first["a"], "kitchen")
    settle(store, first.values())
    content_id = photos(store)["a"].content_id
    works = take(store, record("b"), record("c"))
    known = works["b"]
    known.sha256, known.content_id = first["a"].sha256, content_id
    show(works["c"], "bath")
    source = store.photos.source("events", "Stream", "events")
    store.forgetting.remove(source, [("L1", "a")])
    assert settle(store, works.values()) == {"put_off": 1, "predicted": 1}
    event = store.events.get("b")
    assert (event.state, event.attempts) == (EventState.WAITING, 0)  # no try of its own
    assert sorted(photos(store)) == ["c"]


def test_what_never_will_be_a_photo_is_a_row_a_letter_and_news(store: Store) -> None:
    works = take(store, record("gone"), record("broken"), record("known"))
    works["gone"].error = PhotoError(Reason.MISSING, "404 \0")
    broken = show(works["broken"], "cut")
    broken.vectors, broken.thumbnail = {}, None
    broken.error = PhotoError(Reason.TRUNCATED, "it ends early")
    broken.record = ContentRecord(
        broken.sha256, 3, "", 0, 0, None, Status.FAILED, Reason.TRUNCATED, "it ends early"
    )
    works["known"].error = PhotoError(Reason.FORBIDDEN, "403")
    assert settle(store, works.values()) == {"failed": 3}
    rows = photos(store)
    assert {n: rows[n].reason for n in rows} == {
        "gone": Reason.MISSING, "broken": Reason.TRUNCATED, "known": Reason.FORBIDDEN,
    }  # fmt: skip
    assert rows["broken"].content_id is not None  # known from now on to be no photo
    assert rows["gone"].content_id is None
    assert {letter.event_key for letter in store.dead.list()} == {"gone", "broken", "known"}
    assert {kind for _, kind in announced(store)} == {"photo.failed"}


def test_a_photo_that_fails_later_loses_what_it_showed(store: Store) -> None:
    works = take(store, record("1", at_s=1, photo="p"))
    show(works["1"], "kitchen")
    settle(store, works.values())
    later = take(store, record("2", "photo.changed", at_s=2, photo="p"))
    later["2"].error = PhotoError(Reason.MISSING, "404")
    assert settle(store, later.values()) == {"failed": 1}
    assert photos(store)["p"].status is Status.FAILED
    source = store.photos.source("events", "Stream", "events")
    store.forgetting.remove(source, [("L1", "p")])  # reaches the bytes that it showed before
    assert store.contents.lookup([works["1"].sha256]) == {}


def test_what_may_pass_waits_longer_each_time_and_is_buried_at_last(
    store: Store, clock: Hands
) -> None:
    works = take(store, record("a"))
    waits = []
    for counted in ("put_off", "put_off_again"):
        works["a"].trouble = Trouble(Reason.TIMEOUT, "10 s", retry_after_s=0)
        assert settle(store, works.values()) == {counted: 1}
        event = store.events.get("a")
        assert event.next_at is not None
        waits.append((event.next_at - clock.now).total_seconds())
        clock.now = event.next_at
        (again,) = store.events.claim("w", 1, 60)
        works = {"a": Work(again, location="https://x/a")}
    assert waits == [5.0, 10.0]
    works["a"].trouble = Trouble(Reason.TIMEOUT, "10 s")
    assert settle(store, works.values()) == {"failed": 1}
    assert photos(store)["a"].reason is Reason.TIMEOUT
    (letter,) = store.dead.list()
    assert (letter.reason, letter.attempts) == ("timeout", 3)


def test_a_host_that_asks_for_a_pause_gets_it(store: Store, clock: Hands) -> None:
    works = take(store, record("a"), record("b"))
    works["a"].trouble = Trouble(Reason.BUSY, "429", retry_after_s=500)
    works["b"].trouble = Trouble(Reason.BUSY, "too many wait", retry_after_s=7, counts=False)
    settle(store, works.values())
    a, b = store.events.get("a"), store.events.get("b")
    assert a.next_at == clock.now + timedelta(seconds=500)
    assert b.next_at == clock.now + timedelta(seconds=7)
    assert (a.attempts, b.attempts) == (1, 0)


def test_what_is_forgotten_leaves_no_row_and_no_news(store: Store) -> None:
    works = take(store, record("a"), record("b"))
    works["a"].forgotten = True
    show(works["b"], "bath")
    assert settle(store, works.values()) == {"forgotten": 1, "predicted": 1}
    assert sorted(photos(store)) == ["b"]
    ledger = store.events.ledger()
    assert (ledger.forgotten, ledger.states["done"], ledger.adds_up) == (1, 1, True)
    assert store.outbox.count() == 1


@pytest.mark.parametrize("for_good", [True, False])
def test_an_event_that_cannot_be_written_is_set_aside_alone(store: Store, for_good: bool) -> None:
    works = take(store, record("a"), record("b"))
    trouble = Trouble(Reason.UNEXPECTED, "KeyError: 'x'")
    settling(store).set_aside([works["a"]], trouble, for_good=for_good)
    event = store.events.get("a")
    assert event.state is (EventState.DEAD if for_good else EventState.WAITING)
    assert (event.reason, event.detail) == ("unexpected", "KeyError: 'x'")
    assert store.events.get("b").state is EventState.LEASED
    assert photos(store) == {}
    settling(store, "another").set_aside([works["b"]], trouble, for_good=True)
    assert store.events.get("b").state is EventState.LEASED


def test_photos_speak_for_their_listing_only_where_they_are_the_newest(store: Store) -> None:
    works = take(
        store,
        record("l", "listing.changed", at_s=5, attributes={"price": 5}, seller_id="S5"),
        record("a", at_s=4, attributes={"price": 4}),
        record("b", at_s=3, listing="L2", attributes={"price": 3}),
        record("c", at_s=6, listing="L2", attributes={"price": 6}, seller_id="S6"),
        record("d", at_s=7, listing="L2"),
    )
    for name in "abcd":
        show(works[name], name)
    assert settle(store, works.values()) == {"listing": 1, "predicted": 4}
    one, two = store.photos.listing("L1"), store.photos.listing("L2")
    assert one is not None and (one["attributes"], one["seller_id"]) == ({"price": 5}, "S5")
    assert two is not None and (two["attributes"], two["seller_id"]) == ({"price": 6}, "S6")
    late = take(store, record("late", "listing.changed", at_s=2, listing="L2",
                              attributes={"price": 2}))  # fmt: skip
    assert settle(store, late.values()) == {"superseded": 1}
    assert store.photos.listing("L2") == two


def test_a_replayed_letter_is_applied_though_its_moment_has_passed(store: Store) -> None:
    works = take(store, record("a", at_s=1))
    works["a"].error = PhotoError(Reason.MISSING, "404")
    settle(store, works.values())
    (letter,) = store.dead.list()
    store.dead.replay([(letter.event_id, letter)])
    (again,) = store.events.claim("w", 1, 60)
    assert settle(store, [show(Work(again, location="x"), "kitchen")]) == {"predicted": 1}
    assert photos(store)["a"].status is Status.OK
    assert [kind for _, kind in announced(store)] == ["photo.failed", "photo.predicted"]


def test_a_store_that_is_damaged_is_told_and_nothing_is_marked(store: Store) -> None:
    works = take(store, record("a"))
    show(works["a"], "kitchen")
    (store.root / "vectors").write_text("a file where a folder is due")
    with pytest.raises(StoreError):
        settle(store, works.values())
    assert store.events.get("a").state is EventState.LEASED
    (store.root / "vectors").unlink()
    assert settle(store, works.values()) == {"predicted": 1}


def test_equal_pictures_in_flight_count_once_against_the_cap_of_their_source(store: Store) -> None:
    """Both were looked at, since neither was stored when the other came."""
    config = BudgetConfig(daily_photos=3)
    capping = Capping(store, config, lambda: 0.0)
    backoff = Backoff(10.0, 100.0, 3, lambda: 0.0)
    line = Settling(store, "w", backoff, {SPACE.id: SPACE}, 3, capping)

    def used() -> int:
        found = store.usage.of([AT.date().isoformat()])
        return found["events"][AT.date().isoformat()].photos

    works = take(store, record("a"), record("b"), record("c"), record("d"), record("e"))
    for name in "abc":
        show(works[name], "kitchen")
    line.settle([works["a"], works["b"]], [])
    assert used() == 1
    line.settle([works["c"]], [])
    assert used() == 1, "in another transaction too"
    show(works["d"], "kitchen").again = True
    line.settle([works["d"]], [])
    assert used() == 2, "for another network it is looked at again, and that is spent"
    assert "budget.reached" not in dict(announced(store)).values()
    line.settle([show(works["e"], "bath")], [])
    assert used() == 3
    assert "budget.reached" in [kind for _, kind in announced(store)]


def test_an_event_that_waits_often_is_put_off_once(store: Store, clock: Hands) -> None:
    busy = Trouble(Reason.BUSY, "try later", 5.0)
    (first,) = take(store, record("a")).values()
    first.trouble = busy
    assert settle(store, [first]) == {"put_off": 1}
    for _ in range(2):
        clock.now += timedelta(seconds=500)
        other = take(store, record("a"))["a"]
        other.trouble = replace(busy, counts=False)
        assert settle(store, [other]) == {"put_off_again": 1}


@pytest.mark.postgres
def test_a_worker_that_counts_what_it_looked_at_blocks_nobody_it_waits_for(
    new_database: Callable[[str], str], tmp_path: Path, clock: Hands
) -> None:
    """Else one waits for a content that the other shows, the other for the count of a source."""
    url = new_database("postgres")  # SQLite has one writer at a time
    with open_store(url, tmp_path, clock=clock) as one, open_store(url, tmp_path) as two:
        works = take(one, record("a"))
        show(works["a"], "kitchen")
        settle(one, works.values())
        (shown,) = one.photos.scan()
        works = take(one, record("b"), record("gone", "photo.deleted", at_s=1, photo="a"))
        show(works["b"], "bath")
        capping = Capping(one, BudgetConfig(), lambda: 0.0)
        line = Settling(one, "w", Backoff(1.0, 1.0, 3, lambda: 0.0), {SPACE.id: SPACE}, 3, capping)
        ended: list[Any] = []

        def settle_both() -> None:
            try:
                ended.append(dict(line.settle(list(works.values()), [])))
            except ListlensError as error:
                ended.append(error)

        worker = threading.Thread(target=settle_both)
        with two.together() as connection:  # another worker, whose event shows the same bytes
            assert two.contents.hold([shown.content_id or 0])
            pid = connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
            worker.start()
            waits = sa.text("SELECT count(*) FROM pg_stat_activity "
                            "WHERE :pid = ANY(pg_blocking_pids(pid))")  # fmt: skip
            until = time.monotonic() + 60
            while worker.is_alive() and time.monotonic() < until:
                with one.usage._db.read() as looking:
                    if looking.execute(waits, {"pid": pid}).scalar_one():
                        break
            two.usage.add({"events": Used(1, 1.0)}, [AT.date().isoformat()])
        worker.join()
        assert ended == [{"predicted": 1, "deleted": 1}]
        today = AT.date().isoformat()
        assert one.usage.of([today])["events"][today].photos == 2
