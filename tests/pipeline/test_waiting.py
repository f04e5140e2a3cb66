"""The queue of photos: bounded a level, the urgent first, none waits for ever."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listlens.pipeline.waiting import PATIENCE, Priority, Waiting

URGENT, NEW, BACKFILL = Priority.INTERACTIVE, Priority.NEW, Priority.BACKFILL


@dataclass(frozen=True)
class Item:
    name: int
    level: Priority
    n_bytes: int = 1


def waiting(capacity: int = 100, capacity_bytes: int = 10**6) -> Waiting[Item]:
    return Waiting(capacity, capacity_bytes)


def test_a_full_level_keeps_nobody_out_of_the_others() -> None:
    queue = waiting(capacity=2)
    assert [queue.put(Item(i, BACKFILL), BACKFILL) for i in range(3)] == [True, True, False]
    assert queue.put(Item(3, URGENT), URGENT)
    assert (len(queue), queue.count(BACKFILL), queue.count(URGENT)) == (3, 2, 1)


def test_bytes_are_bounded_but_one_item_always_fits() -> None:
    queue = waiting(capacity_bytes=10)
    assert queue.put(Item(0, NEW, 50), NEW)
    assert not queue.put(Item(1, NEW, 1), NEW)
    queue.take()
    assert [queue.put(Item(i, NEW, 5), NEW) for i in range(3)] == [True, True, False]


def test_the_urgent_go_first_and_a_level_keeps_its_order() -> None:
    queue = waiting()
    for i, level in enumerate([BACKFILL, NEW, URGENT, BACKFILL, URGENT]):
        queue.put(Item(i, level), level)
    assert [queue.take().name for _ in range(5)] == [2, 4, 1, 0, 3]


@pytest.mark.parametrize("level", [NEW, BACKFILL])
def test_nobody_waits_for_ever_while_others_keep_coming(level: Priority) -> None:
    queue = waiting()
    queue.put(Item(-1, level), level)
    taken = []
    for i in range(PATIENCE[level] + 1):
        queue.put(Item(i, URGENT), URGENT)
        taken.append(queue.take().name)
    assert taken[-1] == -1, "it goes once its patience is over"
    assert taken[:-1] == list(range(PATIENCE[level])), "and not before"


@given(st.lists(st.sampled_from(list(Priority)), max_size=80), st.randoms(use_true_random=False))
def test_whatever_comes_in_goes_out_once(levels: list[Priority], random: object) -> None:
    queue, taken, put = waiting(capacity=7, capacity_bytes=9), [], []
    for i, level in enumerate(levels):
        item = Item(i, level, 1 + i % 3)
        if queue.put(item, level):
            put.append(item)
        if len(queue) and random.random() < 0.4:  # type: ignore[attr-defined]
            taken.append(queue.take())
    taken += [queue.take() for _ in range(len(queue) // 2)]
    taken += queue.drain()
    assert sorted(i.name for i in taken) == [i.name for i in put]
    assert len(queue) == 0
    assert all(queue.put(Item(0, level, 9), level) for level in Priority), "the bytes are freed too"
