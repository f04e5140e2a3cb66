"""Topics at brokers: counts that add up, one announcer at a time, and trouble that fades."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from listlens.store.event_rows import Announcement
from listlens.store.open import open_store
from listlens.stream.running import Tidying

AT = datetime(2026, 1, 1, tzinfo=UTC)
IN, OUT = "nats://h/in", "nats://h/out"


def announce(store: Any, *keys: str) -> None:
    store.outbox.append([Announcement(k, "photo.predicted", "L1", "a", {"id": k}) for k in keys])


def test_counts_add_up_by_topic_and_way(store):
    store.topics.count(IN, "in", 5, duplicates=1, dead=2)
    store.topics.count(IN, "in", 3, duplicates=1)
    store.topics.tell(OUT, "out", lag=7)
    first, second = store.topics.list()
    assert (first.name, first.way, first.n, first.duplicates, first.dead) == (IN, "in", 8, 2, 2)
    assert (second.name, second.way, second.n, second.lag) == (OUT, "out", 0, 7)


def test_counts_go_with_the_transaction_they_count(store):
    try:
        with store.together():
            store.topics.count(IN, "in", 5)
            raise KeyError
    except KeyError:
        pass
    assert store.topics.list() == ()


def test_a_new_topic_begins_now_or_at_the_beginning_and_goes_on_where_it_was(store):
    announce(store, "a", "b")
    last = store.outbox.last()
    assert store.topics.lease(OUT, "me", 60) == last
    assert store.topics.lease("nats://h/all", "me", 60, since="beginning") == 0
    announce(store, "c")
    assert store.topics.move(OUT, "me", store.outbox.last(), 1)
    store.topics.release("me")
    assert store.topics.lease(OUT, "you", 60, since="beginning") == store.outbox.last()
    assert [one.n for one in store.topics.list() if one.name == OUT] == [1]


def test_one_announces_to_a_topic_at_a_time_and_a_dead_one_is_replaced(new_database, tmp_path):
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    with open_store(new_database("sqlite"), tmp_path, clock=lambda: now[0]) as store:
        assert store.topics.lease(OUT, "first", 60) == 0
        assert store.topics.lease(OUT, "second", 60) is None
        assert not store.topics.move(OUT, "second", 9, 1)
        now[0] += timedelta(seconds=61)
        assert store.topics.lease(OUT, "second", 60) == 0
        assert not store.topics.move(OUT, "first", 9, 1)  # its lease ran out: nothing moves
        assert store.topics.list()[0].cursor == 0


def test_trouble_is_said_while_it_lasts_and_forgotten_where_nobody_repeats_it(
    new_database, tmp_path
):
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    with open_store(new_database("sqlite"), tmp_path, clock=lambda: now[0]) as store:
        store.topics.tell(IN, "in", lag=None, trouble="no answer")
        store.topics.tell(OUT, "out", lag=3)
        assert store.topics.troubles() == (f"{IN}: no answer",)
        now[0] += timedelta(minutes=4)
        assert store.topics.troubles() == ()
        store.topics.tell(IN, "in", lag=None, trouble="no answer")
        store.topics.tell(IN, "in", lag=0)
        assert store.topics.troubles() == ()


def test_a_full_inbox_is_noticed_by_what_is_due(store):
    from listlens.store.event_rows import EventRecord

    at = datetime(2026, 1, 1, tzinfo=UTC)
    store.events.put([EventRecord(f"e{i}", "photo.added", "L", f"{i}", at, {}) for i in range(3)])
    assert store.events.backed_up(2)
    assert not store.events.backed_up(3)
    store.events.claim("me", 1, 60)
    assert not store.events.backed_up(2)


def test_what_a_topic_still_has_to_be_told_is_known_while_the_topic_is_in_use(
    new_database, tmp_path
):
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    with open_store(new_database("sqlite"), tmp_path, clock=lambda: now[0]) as store:
        assert store.topics.told(now[0]) is None
        store.topics.lease(OUT, "me", 60)
        announce(store, "a", "b")
        store.topics.lease("nats://h/late", "me", 60)
        assert store.topics.told(now[0]) == 0
        store.topics.move(OUT, "me", 1, 1)
        assert store.topics.told(now[0]) == 1
        now[0] += timedelta(days=40)  # nobody announces to them any more
        assert store.topics.told(now[0] - timedelta(days=30)) is None


def test_one_topic_can_be_given_back_alone(store):
    store.topics.lease(OUT, "me", 60)
    store.topics.lease("nats://h/more", "me", 60)
    store.topics.release("me", OUT)
    assert store.topics.lease(OUT, "you", 60) == 0
    assert store.topics.lease("nats://h/more", "you", 60) is None


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_a_topic_that_fails_for_ever_holds_back_nothing_for_ever(
    new_database, kind, tmp_path, caplog
):
    now, fine = [AT], "nats://h/fine"
    with open_store(new_database(kind), tmp_path, clock=lambda: now[0]) as store:
        for name in (OUT, fine, "nats://h/unused"):
            store.topics.lease(name, "me", 60)
        announce(store, *"abcdef")
        positions = [one.position for one in store.outbox.read()[0]]
        store.topics.move(OUT, "me", positions[1], 2)
        tidying = Tidying(store, timedelta(days=30))

        def on(day: int) -> tuple[int, list[int]]:
            now[0] = AT + timedelta(days=day)
            store.topics.tell(OUT, "out", lag=None, trouble="no broker at h")
            store.topics.move(fine, "me", store.outbox.last(), 0)
            tidying.tidy()
            found = {one.name: one.lost for one in store.topics.list()}
            return store.outbox.count(), [found.pop(OUT), sum(found.values())]

        assert on(31) == (4, [0, 0]), "old, and waited for"
        announce(store, "young")
        assert on(89) == (5, [0, 0]) and not caplog.messages
        assert on(91) == (1, [4, 0]), "no longer; but each is counted for the topic that missed it"
        (logged,) = caplog.messages
        assert f"{OUT} was not told of 4 announcements, which are older than 90 days" in logged
        assert store.topics.troubles() == (
            f"{OUT}: no broker at h. 4 announcements grew too old before it was told of them.",
        )
        at = store.topics.lease(OUT, "me", 60)
        assert [one.event_key for one in store.outbox.read(at)[0]] == ["young"], "it goes on there"
        assert on(92) == (1, [4, 0]) and len(caplog.messages) == 1
        assert next(one for one in store.topics.list() if one.name == OUT).as_dict()["lost"] == 4


@pytest.mark.postgres
def test_what_another_worker_prunes_now_is_not_counted_as_missed_twice(new_database, tmp_path):
    url = new_database("postgres")  # SQLite has one writer at a time
    day = timedelta(days=1)
    with (
        open_store(url, tmp_path, clock=lambda: AT) as one,
        open_store(url, tmp_path, clock=lambda: AT + day) as two,
    ):
        two.topics.lease(OUT, "me", 60)
        announce(one, *"abc")
        with two.together():
            assert two.outbox.prune(AT + day / 2, 10**6) == 3
            assert one.outbox.prune(AT + day / 2, 10**6) == 0, "it does not wait for them"
        (topic,) = one.topics.list()
        assert (topic.lost, one.outbox.count()) == (3, 0)
