"""The order of events and the outbox, against slow oracles that keep all in a list."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from listlens.store.event_rows import Announcement, EventRecord
from listlens.store.open import Store, open_store
from listlens.store.stream_tables import latest, outbox

AT = datetime(2026, 1, 1, tzinfo=UTC)
Told = tuple[str, str, int, int, bool]
"""listing, photo, moment, sequence, whether it deletes"""

TOLD = st.tuples(
    st.sampled_from("LM"), st.sampled_from("ab"), st.integers(0, 2), st.integers(-1, 1),
    st.booleans(),
)  # fmt: skip
KINDS, TASKS = ("photo.predicted", "photo.failed", "listing.changed"), ("room", "style")
QUICK = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with open_store("sqlite:///s.db", tmp_path_factory.mktemp("order"), clock=lambda: AT) as store:
        yield store


@pytest.fixture
def store(opened: Store) -> Store:
    return opened


def emptied(store: Store) -> Store:
    with store.order._db.write() as connection:
        for table in (latest, outbox):
            connection.execute(sa.delete(table))
    return store


def record(told: Told) -> EventRecord:
    listing, photo, at_s, sequence, gone = told
    kind = "photo.deleted" if gone else "photo.changed"
    at = AT + timedelta(seconds=at_s)
    return EventRecord(str(told), kind, listing, photo, at, {}, "s", 1, sequence)


def batches(several: list[Told]) -> list[list[Told]]:
    """Cut a history into batches that name each subject once, as a worker does."""
    cut: list[list[Told]] = [[]]
    for one in several:
        if one[:2] in {other[:2] for other in cut[-1]}:
            cut.append([])
        cut[-1].append(one)
    return cut


def advance(store: Store, batch: list[Told]) -> list[bool]:
    with store.together():
        return store.order.advance([record(one) for one in batch], [one[4] for one in batch])


@given(st.lists(TOLD, max_size=10))
@QUICK
def test_an_event_is_applied_where_no_newer_one_was(store: Store, several: list[Told]) -> None:
    emptied(store)
    newest: dict[tuple[str, str], tuple[int, int, bool]] = {}
    for batch in batches(several):
        expected = [one[2:] >= newest.get(one[:2], one[2:]) for one in batch]
        records, gone = [record(one) for one in batch], [one[4] for one in batch]
        assert store.order.stale(records, gone) == [not may for may in expected]
        assert advance(store, batch) == expected
        for one, may in zip(batch, expected, strict=True):
            newest[one[:2]] = one[2:] if may else newest[one[:2]]
    for listing in "LM":
        there = {
            photo for (name, photo), (*_, gone) in newest.items() if name == listing and not gone
        }
        assert store.order.known_photos(listing, "s") == there
        assert store.order.known_photos(listing, "other") == set()


@given(st.lists(TOLD, min_size=1, max_size=7).flatmap(
    lambda told: st.tuples(st.just(told), st.permutations(told))))  # fmt: skip
@QUICK
def test_in_whatever_order_events_arrive_the_end_is_the_same(
    store: Store, both: tuple[list[Told], list[Told]]
) -> None:
    ends = []
    for several in both:
        emptied(store)
        for batch in batches(several):
            advance(store, batch)
        with store.order._db.read() as connection:
            rows = connection.execute(sa.select(latest)).all()
        ends.append({(r.listing_id, r.photo_id, r.at, r.sequence, r.deleted) for r in rows})
    assert ends[0] == ends[1]
    newest = {one[:2]: max(o[2:] for o in both[0] if o[:2] == one[:2]) for one in both[0]}
    assert {(*key, *what) for key, what in newest.items()} == {
        (listing, photo, int((at - AT).total_seconds()), sequence, bool(gone))
        for listing, photo, at, sequence, gone in ends[0]
    }


@given(
    st.lists(st.tuples(st.integers(0, 8), st.sampled_from(KINDS), st.sets(st.sampled_from(TASKS))),
             max_size=12),
    st.sets(st.sampled_from(KINDS), max_size=2),
    st.sets(st.sampled_from(TASKS), max_size=1),
    st.integers(1, 4),
)  # fmt: skip
@QUICK
def test_page_by_page_a_reader_gets_each_that_it_asked_for_once(
    store: Store,
    several: list[tuple[int, str, set[str]]],
    kinds: set[str],
    tasks: set[str],
    limit: int,
) -> None:
    emptied(store)
    kept: dict[str, Announcement] = {}
    for n, kind, about in several:
        one = Announcement(f"k{n}", kind, "L", "p", {"n": n}, tuple(sorted(about)))
        assert store.outbox.append([one, one]) == (one.event_key not in kept)
        kept.setdefault(one.event_key, one)
    wanted = [
        one.event_key
        for one in kept.values()
        if (not kinds or one.kind in kinds) and (not tasks or tasks & set(one.tasks))
    ]
    got: list[Announcement] = []
    after = 0
    for _ in range(len(kept) + 1):
        page, at = store.outbox.read(after, limit=limit, kinds=kinds, tasks=tasks)
        assert len(page) <= limit and at >= after
        assert all(after < one.position <= at for one in page)
        got, after = got + page, at
    assert [one.event_key for one in got] == wanted
    assert after == store.outbox.last(), "what was left out is passed, too"
    assert store.outbox.at([one.position for one in got]) == {one.position: one for one in got}
    assert store.outbox.count() == len(kept)


@given(st.integers(0, 5), st.integers(0, 6), st.integers(1, 4))
@QUICK
def test_only_what_every_reader_passed_is_removed_and_positions_are_never_given_again(
    store: Store, n: int, upto: int, limit: int
) -> None:
    emptied(store)
    store.outbox.append([Announcement(f"k{i}", "photo.failed", "L", "p", {}) for i in range(n)])
    every, last = store.outbox.read()
    bound = every[min(upto, n) - 1].position if n and upto else 0
    gone = min(limit, sum(one.position <= bound for one in every))
    assert store.outbox.prune(AT + timedelta(seconds=1), bound, limit) == gone
    assert store.outbox.read()[0] == every[gone:]
    store.outbox.append([Announcement("new", "photo.failed", "L", "p", {})])
    (new,), _ = store.outbox.read(last)
    assert new.position > last
