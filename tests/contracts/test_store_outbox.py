"""What is announced, and the order of events, on SQLite and PostgreSQL."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from listlens.core.types import PhotoRow, Status
from listlens.store.event_rows import Announcement, EventRecord
from listlens.store.open import Store, open_store
from listlens.store.photos import PhotoRecord

AT = datetime(2026, 1, 1, tzinfo=UTC)


def said(
    name: str, kind: str = "photo.predicted", tasks: tuple[str, ...] = ("room",)
) -> Announcement:
    return Announcement(f"o-{name}", kind, "L1", name, {"id": f"o-{name}", "n": 1}, tasks)


def event(at_s: float, *, photo: str = "p", sequence: int = 0, source: str = "s") -> EventRecord:
    at = AT + timedelta(seconds=at_s)
    return EventRecord(f"e{at_s}", "photo.changed", "L1", photo, at, {}, source, 1, sequence)


def names(found: list[Announcement]) -> str:
    return "".join(one.photo_id for one in found)


def test_announcements_are_read_in_order_each_once(store: Store) -> None:
    assert store.outbox.last() == 0
    assert store.outbox.append([said("a"), said("b"), said("a")]) == 2
    assert store.outbox.append([said("b"), said("c")]) == 1
    found, at = store.outbox.read(limit=2)
    assert names(found) == "ab"
    assert found[0].body == {"id": "o-a", "n": 1}
    assert found[0].tasks == ("room",)
    assert found[1].position == at
    rest, at = store.outbox.read(at)
    assert names(rest) == "c"
    assert store.outbox.read(at) == ([], at)
    assert (store.outbox.last(), store.outbox.count(found[0].position)) == (at, 2)


def test_filters_leave_out_and_the_cursor_still_moves_on(store: Store) -> None:
    store.outbox.append(
        [said("a"), said("b", "photo.failed", ()), said("c", tasks=("style", "room")), said("d")]
        + [said(f"x{i}", tasks=("style",)) for i in range(1500)]
    )
    assert names(store.outbox.read(kinds={"photo.failed"})[0]) == "b"
    found, at = store.outbox.read(tasks={"room"}, limit=2)
    assert names(found) == "ac"
    found, at = store.outbox.read(at, tasks={"room"}, limit=2)
    assert (names(found), at) == ("d", store.outbox.last())
    assert store.outbox.read(tasks={"other"}) == ([], at)


def test_filters_look_through_no_more_than_a_part_at_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("listlens.store.outbox._SCAN", 2)
    monkeypatch.setattr("listlens.store.outbox.MOST_LOOKED", 4)
    store.outbox.append([said(name) for name in "abcdefghi"])
    store.outbox.append([said("j", "photo.failed"), said("k"), said("l", "photo.failed")])
    looks, at, found = 0, 0, []
    while at < store.outbox.last():
        some, after = store.outbox.read(at, kinds=["photo.failed"], limit=5)
        assert 0 < after - at <= 4
        looks, at, found = looks + 1, after, found + some
    assert (names(found), looks) == ("jl", 3)
    assert names(store.outbox.read(tasks=["room"], limit=3)[0]) == "abc"


def test_old_ones_that_every_reader_passed_are_removed(store: Store, tmp_path: Path) -> None:
    store.outbox.append([said("a"), said("b"), said("c")])
    _, second = store.outbox.read(limit=2)
    far = datetime(2030, 1, 1, tzinfo=UTC)
    assert store.outbox.prune(AT - timedelta(days=1), second) == 0
    assert store.outbox.prune(far, second) == 2
    assert names(store.outbox.read()[0]) == "c"
    store.outbox.append([said("d")])
    assert names(store.outbox.read(second)[0]) == "cd"


def test_the_greatest_position_ever_given_outlives_what_was_announced(store: Store) -> None:
    assert store.outbox.given() == 0
    store.outbox.append([said("a"), said("b"), said("c")])
    last = store.outbox.last()
    assert store.outbox.given() == last
    assert store.outbox.prune(datetime(2030, 1, 1, tzinfo=UTC), last) == 3
    assert (store.outbox.last(), store.outbox.given()) == (0, last)
    store.outbox.append([said("d")])
    assert store.outbox.given() == store.outbox.last() > last


def test_what_a_transaction_undoes_was_never_announced(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.together():
        store.outbox.append([said("a")])
        raise ZeroDivisionError
    assert store.outbox.read() == ([], 0)


def test_nothing_appears_before_a_position_that_was_read(store_url: str, tmp_path: Path) -> None:
    """On PostgreSQL a later number can commit first, unless writers take turns."""
    if store_url.startswith("sqlite"):
        pytest.skip("SQLite has one writer at a time")
    with open_store(store_url, tmp_path) as one, open_store(store_url, tmp_path) as two:
        second = threading.Thread(target=lambda: two.outbox.append([said("late")]))
        with one.together():
            one.outbox.append([said("first")])
            second.start()
            second.join(timeout=0.3)
            assert second.is_alive()  # it waits for our commit
            assert two.outbox.read() == ([], 0)
        second.join(timeout=10)
        assert [o.photo_id for o in one.outbox.read()[0]] == ["first", "late"]


def test_an_older_event_changes_nothing_after_a_newer_one(store: Store) -> None:
    assert store.order.advance([event(10)], [False]) == [True]
    assert store.order.stale([event(5), event(10), event(15)], [False] * 3) == [True, False, False]
    assert store.order.advance([event(5)], [False]) == [False]
    assert store.order.advance([event(15)], [False]) == [True]


def test_a_deleted_photo_comes_back_by_a_newer_event_alone(store: Store) -> None:
    assert store.order.advance([event(10)], [True]) == [True]
    assert store.order.advance([event(9)], [False]) == [False]
    assert store.order.advance([event(10)], [False]) == [False]  # at one moment deletion wins
    assert store.order.advance([event(10, sequence=1)], [False]) == [True]
    assert store.order.advance([event(10, sequence=1)], [True]) == [True]


def test_subjects_are_told_apart(store: Store) -> None:
    a, b, c = event(9, photo="a"), event(9, photo="b"), event(9, photo="a", source="t")
    assert store.order.advance([event(10, photo="a")], [False]) == [True]
    assert store.order.advance([a, b, c], [False] * 3) == [False, True, True]
    zone = EventRecord("z", "k", "L1", "a", a.at.astimezone(), {}, "s")
    assert store.order.stale([zone], [False]) == [True]


def test_forgetting_a_photo_removes_what_was_announced_of_it(store: Store) -> None:
    source = store.photos.source("s", "stream", "s")
    ingest = store.photos.begin_ingest(source)
    row = PhotoRow("L1", "p", "/p")
    store.photos.save(source, ingest, [PhotoRecord(row, 1, 1, None, Status.PENDING)])
    store.outbox.append([said("p"), said("q")])
    store.order.advance([event(10), event(10, photo="q")], [False, False])
    store.forgetting.execute(store.forgetting.plan(photo="p"))
    assert names(store.outbox.read()[0]) == "q"
    assert store.order.stale([event(9), event(9, photo="q")], [False] * 2) == [False, True]
