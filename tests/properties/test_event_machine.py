"""Whatever happens to events in whatever order: none is lost, none doubled, the ledger adds up."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from listlens.store.event_rows import EventRecord, EventState, Finished, PutOff
from listlens.store.open import Store, open_store

AT = datetime(2026, 1, 1, tzinfo=UTC)
OWNERS = st.sampled_from(["w1", "w2"])


def record(n: int, kind: str = "photo.added", at_s: float = 0.0, **more: Any) -> EventRecord:
    return EventRecord(f"e{n}", kind, "L", f"p{n}", AT + timedelta(seconds=at_s), {}, **more)


class Inbox(RuleBasedStateMachine):
    """The inbox beside a dictionary that says where each event must be."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.now = AT
        self.store: Store = open_store(
            "sqlite:///listlens.db", Path(self.folder.name), clock=lambda: self.now
        )
        self.states: dict[str, str] = {}
        self.held: dict[str, tuple[str, int, datetime]] = {}  # key: owner, id, until
        self.waits: dict[str, datetime] = {}
        self.duplicates = self.pruned = 0

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    @rule(numbers=st.lists(st.integers(0, 12), min_size=1, max_size=6))
    def put(self, numbers: list[int]) -> None:
        put = self.store.events.put([record(n) for n in numbers])
        new = {f"e{n}" for n in numbers} - self.states.keys()
        assert (put.new, put.duplicates, put.clashes) == (len(new), len(numbers) - len(new), 0)
        for key in new:
            self.states[key] = "waiting"
            self.waits[key] = self.now
        self.duplicates += len(numbers) - len(new)

    @rule(owner=OWNERS, n=st.integers(1, 5))
    def claim(self, owner: str, n: int) -> None:
        for key, (_, _, until) in list(self.held.items()):
            if until <= self.now:  # taken back by whoever comes first
                del self.held[key]
                self.states[key], self.waits[key] = "waiting", self.now
        due = {k for k, s in self.states.items() if s == "waiting" and self.waits[k] <= self.now}
        events = self.store.events.claim(owner, n, 10.0)
        taken = {event.event_key for event in events}
        assert taken <= due
        assert len(taken) == len(events) <= n
        suspects = {e.event_key for e in events if e.lost >= 3}
        assert not suspects or len(events) == 1
        for event in events:
            self.states[event.event_key] = "leased"
            until = self.now + timedelta(seconds=10)
            self.held[event.event_key] = (owner, event.event_id, until)

    @precondition(lambda self: self.held)
    @rule(owner=OWNERS, outcome=st.sampled_from(["predicted", "deleted", ""]))
    def finish(self, owner: str, outcome: str) -> None:
        mine = {key: pk for key, (who, pk, _) in self.held.items() if who == owner}
        with self.store.together():
            held = self.store.events.held(owner, mine.values())
            assert held == set(mine.values())
            reason = "" if outcome else "missing"
            self.store.events.finish([Finished(pk, outcome, reason) for pk in sorted(held)])
        for key in mine:
            self.states[key] = "done" if outcome else "dead"
            del self.held[key]

    @precondition(lambda self: self.held)
    @rule(owner=OWNERS, seconds=st.integers(0, 30))
    def put_off(self, owner: str, seconds: int) -> None:
        then = self.now + timedelta(seconds=seconds)
        for key, (who, pk, _) in list(self.held.items()):
            self.store.events.put_off(owner, [PutOff(pk, then, "timeout")])
            if who == owner:
                del self.held[key]
                self.states[key], self.waits[key] = "waiting", then

    @rule(owner=OWNERS)
    def release(self, owner: str) -> None:
        mine = [key for key, (who, _, _) in self.held.items() if who == owner]
        assert self.store.events.release(owner) == len(mine)
        for key in mine:
            del self.held[key]
            self.states[key], self.waits[key] = "waiting", self.now

    @rule(owner=OWNERS)
    def renew(self, owner: str) -> None:
        mine = {key: pk for key, (who, pk, _) in self.held.items() if who == owner}
        self.store.events.renew(owner, mine.values(), 10.0)
        for key, pk in mine.items():
            self.held[key] = (owner, pk, self.now + timedelta(seconds=10))

    @rule(seconds=st.integers(1, 20))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def replay(self) -> None:
        letters = list(self.store.dead.list())
        assert self.store.dead.replay([(one.event_id, one) for one in letters]) == len(letters)
        for one in letters:
            self.states[one.event_key], self.waits[one.event_key] = "waiting", self.now

    @rule()
    def prune(self) -> None:
        done = [key for key, state in self.states.items() if state == "done"]
        kept = {k for k in done if self.store.events.get(k).next_at >= self.now}  # type: ignore[operator]
        assert self.store.events.prune(self.now) == len(done) - len(kept)
        for key in set(done) - kept:
            del self.states[key]
            self.pruned += 1

    @invariant()
    def the_ledger_says_where_each_event_is(self) -> None:
        ledger = self.store.events.ledger()
        assert ledger.adds_up
        assert ledger.states == {
            state.value: list(self.states.values()).count(state.value) for state in EventState
        }
        assert (ledger.pruned, ledger.duplicates) == (self.pruned, self.duplicates)
        assert ledger.received == len(self.states) + self.pruned


Inbox.TestCase.settings = settings(
    max_examples=15, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
TestInbox = Inbox.TestCase


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[tuple[int, bool]], list[int], list[int]]:
    """What happened to a photo (second, deleted?), an order to hear it in, and batch sizes."""
    told = draw(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=8))
    order = draw(st.permutations(range(len(told))))
    return told, order, draw(st.lists(st.integers(1, 3), min_size=8, max_size=8))


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(histories())
def test_what_stands_in_the_end_does_not_depend_on_the_order_of_arrival(
    history: tuple[list[tuple[int, bool]], list[int], list[int]],
) -> None:
    """The newest event stands; at one moment a deletion, whatever came first."""
    told, order, sizes = history
    with (
        tempfile.TemporaryDirectory() as folder,
        open_store("sqlite:///listlens.db", Path(folder)) as store,
    ):
        standing: tuple[int, bool] | None = None
        waiting = [told[i] for i in order]
        for size in sizes:
            batch, waiting = waiting[:size], waiting[size:]
            for at_s, deleted in batch:
                kind = "photo.deleted" if deleted else "photo.changed"
                one = EventRecord("e", kind, "L", "p", AT + timedelta(seconds=at_s), {})
                stale = store.order.stale([one], [deleted])
                with store.together():
                    applied = store.order.advance([one], [deleted])
                assert applied == [not stale[0]]
                if applied[0]:
                    standing = (at_s, deleted)
        heard = [told[i] for i in order][: sum(sizes)]
        assert standing == max(heard, key=lambda one: (one[0], one[1]))
