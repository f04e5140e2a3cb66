"""Webhooks on SQLite and PostgreSQL: endpoints, leases, what is parked, the log and its bounds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from listlens.core.errors import InputError, NotFoundError
from listlens.store import webhooks
from listlens.store.event_rows import Announcement
from listlens.store.open import Store
from listlens.store.webhook_rows import DELIVERED, FAILED, RETRIED, Attempt

AT = datetime(2026, 5, 1, tzinfo=UTC)
URL = "https://shop.example/hooks"


def attempt(position: int, outcome: str = DELIVERED, **values: Any) -> Attempt:
    next_at = AT if outcome == RETRIED else None
    defaults: dict[str, Any] = {"number": 1, "status": 200, "detail": "", "at": AT}
    given = defaults | values
    return Attempt(
        position, given["number"], outcome, given["status"], 5, given["detail"], given["at"],
        given.get("next_at", next_at),
    )  # fmt: skip


def announce(store: Store, n: int) -> None:
    store.outbox.append([Announcement(f"k{i}", "k", "L", str(i), {}, ()) for i in range(n)])


def test_an_endpoint_is_kept_as_it_was_added(store: Store) -> None:
    announce(store, 3)
    hook = store.webhooks.add(URL, name="shop\0", kinds=["b", "a", "a"], tasks=["room"])
    assert store.webhooks.list() == (hook,)
    assert store.webhooks.get(hook.webhook_id) == hook
    assert (hook.name, hook.kinds, hook.tasks) == ("shop?", ("a", "b"), ("room",))
    assert (hook.cursor, hook.state, hook.delivered_at) == (store.outbox.last(), "active", None)
    assert store.webhooks.add(URL, after=0).cursor == 0
    assert hook.secret.startswith("whsec_") and len(hook.secret) == 50
    assert hook.secret not in repr(hook) + repr(hook.as_dict())


def test_a_secret_is_rotated_and_the_former_one_ends(store: Store) -> None:
    old = store.webhooks.add(URL)
    new = store.webhooks.rotate(old.webhook_id, timedelta(hours=1))
    assert new.former_until is not None
    assert new.signing(new.former_until - timedelta(seconds=1)) == (new.secret, old.secret)
    assert new.signing(new.former_until) == (new.secret,)


def test_a_removed_endpoint_is_gone_with_all_that_was_its(store: Store) -> None:
    hook = store.webhooks.add(URL, after=0)
    store.webhooks.settle(hook, [attempt(1), attempt(2, RETRIED), attempt(3, FAILED)], 3)
    assert store.webhooks.remove(hook.webhook_id).url == URL
    assert store.webhooks.list() == store.webhooks.log() == ()
    for ask in (store.webhooks.get, store.webhooks.remove, store.webhooks.enable):
        with pytest.raises(NotFoundError, match="webhooks list"):
            ask(hook.webhook_id)


def test_there_are_so_many_and_no_more(store: Store) -> None:
    for _ in range(webhooks.MOST_WEBHOOKS):
        store.webhooks.add(URL)
    with pytest.raises(InputError, match="which is the most"):
        store.webhooks.add(URL)


def test_an_endpoint_belongs_to_one_process_at_a_time(store: Store) -> None:
    hook = store.webhooks.add(URL)
    assert store.webhooks.lease(hook.webhook_id, "one", 1000)
    assert store.webhooks.lease(hook.webhook_id, "one", 1000)
    assert not store.webhooks.lease(hook.webhook_id, "two", 1000)
    store.webhooks.release("two")
    assert not store.webhooks.lease(hook.webhook_id, "two", 1000)
    store.webhooks.release("one")
    assert store.webhooks.lease(hook.webhook_id, "two", 0)
    assert store.webhooks.lease(hook.webhook_id, "one", 1000)
    assert not store.webhooks.lease(99, "one", 1)


def test_what_a_round_brought_is_kept(store: Store) -> None:
    hook = store.webhooks.add(URL, after=0)
    wrong = attempt(2, RETRIED, status=500, detail="it answers 500\0")
    store.webhooks.settle(hook, [attempt(1), wrong, attempt(3, FAILED)], 5, probe_at=AT)
    now = store.webhooks.get(hook.webhook_id)
    assert (now.cursor, now.n_waiting, now.n_failed, now.next_at) == (5, 1, 1, AT)
    assert (now.delivered_at, now.probe_at, now.failures) == (AT, None, 0), "it took one"
    assert store.webhooks.due(hook.webhook_id, AT - timedelta(seconds=1), 9) == {}
    assert store.webhooks.due(hook.webhook_id, AT, 9) == {2: (1, AT)}
    log = store.webhooks.log(hook.webhook_id)
    assert [(one.position, one.outcome) for one in log] == [
        (3, FAILED), (2, RETRIED), (1, DELIVERED),
    ]  # fmt: skip
    assert log[1].detail == "it answers 500?"
    assert [one.position for one in store.webhooks.log(limit=1, failed=True)] == [3]
    # The next try replaces it; one that is taken removes it.
    later = attempt(2, RETRIED, number=2, next_at=AT + timedelta(days=1))
    store.webhooks.settle(now, [later], 5, probe_at=AT)
    assert store.webhooks.get(hook.webhook_id).probe_at == AT
    assert store.webhooks.due(hook.webhook_id, AT + timedelta(days=2), 9) == {2: (2, AT)}
    store.webhooks.settle(now, [attempt(2, number=3)], 5)
    assert store.webhooks.get(hook.webhook_id).n_waiting == 0


def test_after_an_outage_all_that_waits_is_due_and_else_it_is_not(store: Store) -> None:
    far = datetime(2030, 1, 1, tzinfo=UTC)
    hook = store.webhooks.add(URL, after=0)
    store.webhooks.settle(hook, [attempt(1, RETRIED, next_at=far)], 1)
    hook = store.webhooks.get(hook.webhook_id)
    store.webhooks.settle(hook, [attempt(2)], 2)
    hook = store.webhooks.get(hook.webhook_id)
    assert (hook.next_at, hook.failures) == (far, 0)
    outage = [attempt(n, RETRIED, next_at=far) for n in range(3, 3 + webhooks.OUTAGE)]
    store.webhooks.settle(hook, outage, 9)
    hook = store.webhooks.get(hook.webhook_id)
    assert hook.failures == webhooks.OUTAGE
    store.webhooks.settle(hook, [attempt(10)], 10)
    assert len(store.webhooks.due(hook.webhook_id, datetime.now(UTC), 9)) == 4


def test_replaying_moves_back_and_a_round_under_way_does_not_undo_it(store: Store) -> None:
    announce(store, 9)
    hook = store.webhooks.add(URL)
    store.webhooks.settle(hook, [attempt(8, FAILED)], hook.cursor)
    assert store.webhooks.replay(hook.webhook_id) == 1
    assert store.webhooks.get(hook.webhook_id).n_waiting == 1
    assert store.webhooks.replay(hook.webhook_id, after=4) == 5
    moved = store.webhooks.get(hook.webhook_id)
    assert (moved.cursor, moved.n_waiting) == (4, 0)
    store.webhooks.settle(hook, [attempt(9)], 9)  # read before the replay
    assert store.webhooks.get(hook.webhook_id).cursor == 4
    assert store.webhooks.replay(hook.webhook_id, after=7) == 2
    assert store.webhooks.get(hook.webhook_id).cursor == 4, "never forward"


def test_disabling_and_enabling(store: Store) -> None:
    hook = store.webhooks.add(URL, after=0)
    far = datetime(2030, 1, 1, tzinfo=UTC)
    store.webhooks.settle(hook, [attempt(1, RETRIED, next_at=far)], 1)
    store.webhooks.disable(hook.webhook_id, "it answered 410 Gone")
    assert store.webhooks.list()[0].as_dict()["detail"] == "it answered 410 Gone"
    back, changed = store.webhooks.enable(hook.webhook_id)
    assert changed
    assert (back.state, back.detail, back.failures) == ("active", "", 0)
    assert back.next_at is not None and back.next_at < far
    store.webhooks.settle(back, [attempt(2, RETRIED, next_at=far)], 2)
    store.webhooks._update(hook.webhook_id, {"failures": 3, "detail": "it answers 500"})
    before = store.webhooks.get(hook.webhook_id)
    assert store.webhooks.enable(hook.webhook_id) == (before, False), "no try is spent on it"


def test_the_log_is_bounded_in_age_and_number(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "LOG_ROWS", 5)
    announce(store, 2)
    hook, other = store.webhooks.add(URL, after=0), store.webhooks.add(URL, after=0)
    store.webhooks.settle(hook, [attempt(1, at=AT - timedelta(days=9))], 1)
    store.webhooks.settle(hook, [attempt(n) for n in range(2, 12)], 1)
    store.webhooks.settle(other, [attempt(n) for n in (1, 2)], 1)
    known, unknown = attempt(1, FAILED), attempt(99, FAILED)
    store.webhooks.settle(other, [known, unknown], 1)
    assert store.webhooks.prune(AT - timedelta(days=1)) == 6
    assert [one.position for one in store.webhooks.log(hook.webhook_id)] == [11, 10, 9, 8, 7]
    assert len(store.webhooks.log(other.webhook_id)) == 4
    assert store.webhooks.get(other.webhook_id).n_failed == 1, "its event is not there any more"


def test_what_active_endpoints_were_told_is_up_to_the_one_that_is_furthest_behind(
    store: Store,
) -> None:
    assert store.webhooks.told() is None
    announce(store, 9)
    slow, quick = store.webhooks.add(URL, after=2), store.webhooks.add(URL, after=7)
    assert store.webhooks.told() == 2
    store.webhooks.settle(slow, [attempt(4, RETRIED), attempt(3, FAILED), attempt(6, RETRIED)], 6)
    assert store.webhooks.told() == 3, "4 is to be tried again, 3 failed for good"
    store.webhooks.disable(slow.webhook_id, "410")
    assert store.webhooks.told() == 7
    store.webhooks.disable(quick.webhook_id, "410")
    assert store.webhooks.told() is None
