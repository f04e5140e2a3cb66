"""The queue's promises, held against every order of comings and goings."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from listlens.pipeline.looked import Cost
from listlens.pipeline.waiting import PATIENCE, Priority, Waiting

CAPACITY, CAPACITY_BYTES = 25, 120


@dataclass
class Item:
    """One that waits, and how often a more urgent one went while it was the first of its level."""

    level: Priority
    n_bytes: int
    passed: int = field(default=0, compare=False)


class QueueMachine(RuleBasedStateMachine):
    """Against a plain list of all that wait, in the order they came."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: Waiting[Item] = Waiting(CAPACITY, CAPACITY_BYTES)
        self.all: list[Item] = []

    def at(self, level: Priority) -> list[Item]:
        return [item for item in self.all if item.level is level]

    @rule(
        level=st.sampled_from(Priority),
        n_bytes=st.sampled_from([0, 1, 4, 30]),
        times=st.integers(1, 12),
    )
    def put(self, level: Priority, n_bytes: int, times: int) -> None:
        for _ in range(times):
            item, there = Item(level, n_bytes), self.at(level)
            fits = len(there) < CAPACITY
            fits = fits and sum(one.n_bytes for one in there) + n_bytes <= CAPACITY_BYTES
            assert self.queue.put(item, level) == (fits or not there)
            self.all += [item] if fits or not there else []

    @precondition(lambda self: self.all)
    @rule(times=st.integers(1, 30))
    def take(self, times: int) -> None:
        for _ in range(min(times, len(self.all))):
            firsts = {level: self.at(level)[0] for level in Priority if self.at(level)}
            taken = self.queue.take()
            assert taken is firsts[taken.level], "a level keeps its order"
            tired = [x for x in firsts if x and firsts[x].passed >= PATIENCE[x]]
            assert taken.level == max(tired, default=min(firsts)), "urgent first, unless it is time"
            self.all = [one for one in self.all if one is not taken]
            for level, first in firsts.items():
                first.passed += int(level > taken.level)
                assert first.passed <= PATIENCE[level]

    @rule(times=st.sampled_from([7, 8, 9, 16]))
    def rush(self, times: int) -> None:
        """Somebody urgent comes before each that goes."""
        for _ in range(times):
            self.put(Priority.INTERACTIVE, 1, 1)
            self.take(1)

    @invariant()
    def counts_are_right(self) -> None:
        assert len(self.queue) == len(self.all)
        assert all(self.queue.count(level) == len(self.at(level)) for level in Priority)


QueueMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
TestQueue = QueueMachine.TestCase

seconds = st.floats(0, 10)


@given(st.lists(seconds, max_size=30), st.lists(st.tuples(seconds, st.integers(1, 8)), max_size=30))
def test_the_cost_of_a_photo_stays_within_what_was_measured(
    decoded: list[float], embedded: list[tuple[float, int]]
) -> None:
    cost = Cost()
    begun = cost.seconds / 2
    for took_s in decoded:
        cost.decoded(took_s)
    for took_s, n in embedded:
        cost.embedded(took_s, n)
    each = [took_s / n for took_s, n in embedded]
    assert min([begun, *decoded]) + min([begun, *each]) <= cost.seconds + 1e-9
    assert cost.seconds <= max([begun, *decoded]) + max([begun, *each]) + 1e-9


@given(seconds, st.integers(1, 16))
def test_a_block_counts_as_much_as_its_photos_one_by_one(each_s: float, n: int) -> None:
    together, alone = Cost(), Cost()
    together.embedded(each_s * n, n)
    for _ in range(n):
        alone.embedded(each_s, 1)
    assert abs(together.seconds - alone.seconds) < 1e-9
