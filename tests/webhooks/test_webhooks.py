"""Delivering to real receivers that take, refuse, fail, hang and go away, on a clock set by us."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from listlens.core.config import FetchConfig
from listlens.core.errors import InputError, NotFoundError
from listlens.store.open import Store, open_store
from listlens.stream.relay import Relay, deliver_due
from listlens.stream.webhooks import (
    MOST_PARKED,
    PROBE_S,
    SCHEDULE_S,
    Delivery,
    Poster,
    check_endpoint,
    message_id,
    signed,
    webhook_rules,
)

standardwebhooks = pytest.importorskip("standardwebhooks")


# -- what is sent ----------------------------------------------------------------------------------


def test_a_delivery_is_verified_by_the_reference_implementation(
    tmp_path: Path, receiver: Any, post: Poster
) -> None:
    from listlens.store.event_rows import Announcement

    with open_store("sqlite:///listlens.db", tmp_path) as store:  # on the real clock
        hook = store.webhooks.add(receiver.url)
        body = {"id": "a", "photo_id": "Küche ☕"}
        store.outbox.append([Announcement("k", "photo.predicted", "L", "a", body, ("room",))])
        assert deliver_due(store, post) == 1
    headers, sent = receiver.got[0]
    said = standardwebhooks.Webhook(hook.secret).verify(sent, headers)
    assert (said["type"], said["data"]) == ("photo.predicted", body)
    assert datetime.fromisoformat(said["timestamp"]).tzinfo is not None
    assert headers["content-type"] == "application/json"
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(hook.secret).verify(sent.replace(b"a", b"b"), headers)


def test_our_signature_is_the_reference_one_for_any_secret_and_body() -> None:
    now = datetime(2026, 3, 1, 12, 0, 0, 999999, tzinfo=UTC)
    for secret in ("whsec_" + "QUJD" * 11, "whsec_AAAA"):
        for body in (b"", b"{}", '{"a": "Küche"}'.encode()):
            ours = signed([secret], "evt_1", now, body)["webhook-signature"]
            assert ours == standardwebhooks.Webhook(secret).sign("evt_1", now, body.decode())


def test_a_message_has_one_id_that_is_safe_in_a_header() -> None:
    odd = "e1\r\nX: y/photo.predicted Küche \ud800"
    assert message_id(odd) == message_id(odd) != message_id("e1")
    assert message_id(odd).removeprefix("evt_").isalnum()


def test_while_secrets_rotate_both_are_valid(
    store: Store, clock: Any, receiver: Any, post: Poster, announce: Any
) -> None:
    old = store.webhooks.add(receiver.url)
    new = store.webhooks.rotate(old.webhook_id, timedelta(hours=24))
    assert new.secret != old.secret == new.former_secret
    for name in "ab":
        announce(name)
        deliver_due(store, post)
        clock.pass_s(25 * 3600)
    during, after = (headers["webhook-signature"].split() for headers, _ in receiver.got)
    assert (len(during), len(after)) == (2, 1)
    for hook, signature in ((new, during[0]), (old, during[1])):
        headers, body = receiver.got[0]
        at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
        reference = standardwebhooks.Webhook(hook.secret)
        assert signature == reference.sign(headers["webhook-id"], at, body.decode())


def test_filters_say_who_is_told_what(
    store: Store, new_receiver: Callable[[], Any], post: Poster, announce: Any
) -> None:
    every, kinds, tasks = new_receiver(), new_receiver(), new_receiver()
    announce("before")
    store.webhooks.add(every.url)
    store.webhooks.add(kinds.url, kinds=["photo.failed"], after=0)
    store.webhooks.add(tasks.url, tasks=["style"], after=0)
    announce("a")
    announce("b", kind="photo.failed", task="")
    announce("c", task="style")
    assert deliver_due(store, post) == 5
    assert (every.photos, kinds.photos, tasks.photos) == (["a", "b", "c"], ["b"], ["c"])
    assert deliver_due(store, post) == 0


def test_an_endpoint_that_wants_few_of_many_is_told_them(
    store: Store, receiver: Any, post: Poster, announce: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("listlens.store.outbox._SCAN", 2)
    monkeypatch.setattr("listlens.store.outbox.MOST_LOOKED", 2)
    store.webhooks.add(receiver.url, kinds=["photo.failed"], after=0)
    for name in "abcdefg":
        announce(name)
    announce("h", kind="photo.failed")
    assert deliver_due(store, post) == 1
    assert receiver.photos == ["h"]


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1/", "http://u:p@shop.example/", "ftp://shop.example/", "https://[::1]/", ""],
)
def test_an_endpoint_inside_is_refused_when_told_or_when_added(
    store: Store, clock: Any, announce: Any, url: str
) -> None:
    rules = webhook_rules(FetchConfig(allow=("photos.example",)))
    try:
        checked = check_endpoint(url, rules)
    except InputError:
        return
    store.webhooks.add(checked)
    announce("a")
    poster = Poster(rules)
    deliver_due(store, poster)
    poster.close()
    assert store.webhooks.log()[0].detail.startswith("unsafe_address")


def test_a_redirect_is_a_failure_and_not_followed(
    store: Store, new_receiver: Callable[[], Any], post: Poster, announce: Any
) -> None:
    receiver, elsewhere = new_receiver(), new_receiver()
    receiver.answer, receiver.extra = lambda *_: 307, {"Location": elsewhere.url}
    store.webhooks.add(receiver.url)
    announce("a")
    deliver_due(store, post)
    assert (len(receiver.got), elsewhere.got) == (1, [])
    assert store.webhooks.get(1).n_waiting == 1


# -- when it is tried again ------------------------------------------------------------------------


def test_a_delivery_is_tried_on_the_schedule_and_the_endpoint_then_disabled(
    store: Store, clock: Any, receiver: Any, post: Poster, announce: Any
) -> None:
    receiver.answer = lambda *_: 500
    store.webhooks.add(receiver.url)
    announce("a")
    started, times = clock(), []
    while store.webhooks.get(1).state == "active":
        assert deliver_due(store, post) == 1
        times.append((clock() - started).total_seconds())
        next_at = store.webhooks.get(1).next_at
        clock.now = next_at or clock.now
    waits = [round(b - a) for a, b in pairwise(times)]
    assert waits == list(SCHEDULE_S)
    assert len(set(receiver.ids)) == 1
    hook = store.webhooks.get(1)
    assert (hook.state, hook.n_failed, hook.n_waiting) == ("disabled", 1, 0)
    assert "took nothing" in hook.detail and "500" in hook.detail
    announce("b")
    assert deliver_due(store, post) == 0
    # Once it is well, nothing is lost: what failed is replayed, the rest goes on.
    receiver.answer = lambda *_: 200
    store.webhooks.enable(1)
    assert store.webhooks.replay(1) == 1
    deliver_due(store, post)
    assert receiver.photos[-2:] == ["a", "b"]
    assert store.webhooks.get(1).as_dict()["failed"] == 0


def test_410_disables_at_once(store: Store, receiver: Any, post: Poster, announce: Any) -> None:
    receiver.answer = lambda *_: 410
    store.webhooks.add(receiver.url)
    announce("a", *(f"b{n}" for n in range(50)))
    deliver_due(store, post)
    hook = store.webhooks.get(1)
    assert (hook.state, hook.detail) == ("disabled", "it answered 410 Gone")
    assert len(receiver.got) <= 4
    receiver.answer = lambda *_: 200
    store.webhooks.enable(1)
    store.webhooks.replay(1)
    deliver_due(store, post)
    assert set(receiver.photos) == {"a", *(f"b{n}" for n in range(50))}


def test_retry_after_is_honoured(
    store: Store, clock: Any, receiver: Any, post: Poster, announce: Any
) -> None:
    receiver.answer, receiver.extra = lambda *_: 429, {"Retry-After": "900"}
    store.webhooks.add(receiver.url)
    announce("a")
    deliver_due(store, post)
    assert store.webhooks.get(1).next_at == clock() + timedelta(seconds=900)


def test_an_event_that_is_never_taken_keeps_to_its_schedule_and_holds_up_nothing(
    store: Store, clock: Any, receiver: Any, post: Poster, announce: Any
) -> None:
    receiver.answer = lambda _, said: 400 if said["data"]["photo_id"] == "poison" else 200
    store.webhooks.add(receiver.url)
    announce("poison")
    for n in range(80):
        announce(f"p{n}")
        deliver_due(store, post)
        clock.pass_s(3600)
    assert [p for p in receiver.photos if p != "poison"] == [f"p{n}" for n in range(80)]
    assert receiver.photos.count("poison") == len(SCHEDULE_S) + 1
    hook = store.webhooks.get(1)
    assert (hook.state, hook.n_failed) == ("active", 1)


def test_a_receiver_that_fails_for_an_hour_has_everything_a_minute_later(
    store: Store, clock: Any, receiver: Any, post: Poster, announce: Any
) -> None:
    started = clock()
    well_at = started + timedelta(hours=1)
    receiver.answer = lambda *_: 200 if clock() >= well_at else 503
    store.webhooks.add(receiver.url)
    n, taken_at = 0, {}
    while clock() < well_at + timedelta(seconds=PROBE_S + 30):
        if clock() < well_at:
            announce(*(f"p{n + i}" for i in range(5)), listing="")
            n += 5
        before = len(receiver.got)
        deliver_due(store, post)
        for photo in receiver.photos[before:] if clock() >= well_at else []:
            taken_at.setdefault(photo, clock())
        clock.pass_s(30)
    assert n == 600
    assert taken_at.keys() == {f"p{i}" for i in range(n)}, "every event, each once or more"
    assert max(taken_at.values()) <= well_at + timedelta(seconds=PROBE_S)
    hook = store.webhooks.get(1)
    assert (hook.n_waiting, hook.n_failed, hook.failures, hook.detail) == (0, 0, 0, "")
    # A dead receiver is left in peace: some tries at first, then about one new one a minute.
    n_wrong = len(store.webhooks.log(limit=10_000, failed=True))
    assert n_wrong <= 4 * (MOST_PARKED + 60)
    assert len(receiver.got) - n_wrong == n, "each was taken once"


def test_what_was_forgotten_meanwhile_is_not_sent(
    store: Store, clock: Any, receiver: Any, post: Poster, announce: Any
) -> None:
    receiver.answer = lambda *_: 500
    store.webhooks.add(receiver.url)
    announce("a")
    deliver_due(store, post)
    store.outbox.prune(clock() + timedelta(days=1), store.outbox.last())  # as forgetting does
    clock.pass_s(10)
    receiver.answer = lambda *_: 200
    deliver_due(store, post)
    assert len(receiver.got) == 1
    assert [one.outcome for one in store.webhooks.log()] == ["dropped", "retried"]
    assert store.webhooks.get(1).n_waiting == 0


def test_everything_after_a_position_can_be_told_again(
    store: Store, receiver: Any, post: Poster, announce: Any
) -> None:
    store.webhooks.add(receiver.url)
    announce("a", "b", "c")
    deliver_due(store, post)
    first = store.webhooks.log()[-1].position
    assert store.webhooks.replay(1, after=first) == 2
    deliver_due(store, post)
    assert receiver.photos == ["a", "b", "c", "b", "c"]
    assert len(set(receiver.ids)) == 3, "the same event has the same id"
    with pytest.raises(NotFoundError, match="webhooks list"):
        store.webhooks.replay(9)


# -- threads, processes ----------------------------------------------------------------------------


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it did not happen in time"
        time.sleep(0.01)


def test_a_hanging_endpoint_does_not_hold_up_another(
    store: Store, new_receiver: Callable[[], Any], post: Poster, announce: Any
) -> None:
    hanging, quick = new_receiver(), new_receiver()
    let_go = threading.Event()
    hanging.answer = lambda *_: 200 if let_go.wait(20) else 500
    store.webhooks.add(hanging.url)
    store.webhooks.add(quick.url)
    with Relay(store, post, poll_s=0.05):
        started = time.monotonic()
        for n in range(30):
            announce(f"p{n}")
            time.sleep(0.01)
        until(lambda: len(quick.got) == 30)
        assert time.monotonic() - started < 15, "the other answers after 20"
        assert not hanging.got
        let_go.set()
        until(lambda: len(hanging.got) == 30)
    assert sorted(quick.photos) == sorted(hanging.photos)
    assert store.webhooks.lease(1, "another", 1.0), "a relay that stops gives back what it had"


def test_events_of_one_listing_keep_their_order_and_others_go_beside_them(
    store: Store, receiver: Any, post: Poster, announce: Any
) -> None:
    at_once, most = [], []

    def answer(headers: Any, said: Any) -> int:
        at_once.append(1)
        most.append(len(at_once))
        time.sleep(0.02)
        at_once.pop()
        return 200

    receiver.answer = answer
    store.webhooks.add(receiver.url)
    for n in range(12):
        announce(f"p{n}", listing=f"L{n % 3}")
    deliver_due(store, post)
    for listing in range(3):
        mine = [p for p in receiver.photos if int(p[1:]) % 3 == listing]
        assert mine == [f"p{n}" for n in range(listing, 12, 3)]
    assert max(most) > 1


def test_one_announcement_is_delivered_soon(
    store: Store, receiver: Any, post: Poster, announce: Any
) -> None:
    with Relay(store, post) as relay:
        store.webhooks.add(receiver.url)
        time.sleep(0.3)
        announce("a")
        relay.wake()
        until(lambda: bool(receiver.got), 2.0)
        until(lambda: bool(store.webhooks.log()), 2.0)
        time.sleep(0.3)  # a round that is under way may end
        store.webhooks.remove(1)
        announce("b")
        time.sleep(0.4)
    assert receiver.photos == ["a"]


def test_after_an_outage_what_is_new_arrives_as_soon_as_ever(
    store: Store, clock: Any, receiver: Any, post: Poster, announce: Any
) -> None:
    receiver.answer = lambda *_: 503
    store.webhooks.add(receiver.url)
    with Relay(store, post, poll_s=0.02):
        announce(*(f"p{n}" for n in range(50)), listing="")
        until(lambda: store.webhooks.get(1).probe_at is not None)
        receiver.answer = lambda *_: 200
        clock.pass_s(PROBE_S + 1)
        until(lambda: store.webhooks.get(1).n_waiting == 0 and len(set(receiver.photos)) == 50)
        announce("late")
        until(lambda: "late" in receiver.photos, 3.0)


@pytest.mark.slow
def test_a_fault_while_delivering_or_looking_ends_no_thread(
    store: Store, receiver: Any, post: Poster, announce: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = [RuntimeError("can't start new thread"), UnicodeError("odd")]

    def faulty(*what: Any) -> Any:
        if faults:
            raise faults.pop()
        return post(*what)

    last, looks = store.outbox.last, [RuntimeError("can't start new thread")]

    def look() -> int:
        if looks:
            raise looks.pop()
        return last()

    monkeypatch.setattr(store.outbox, "last", look)
    store.webhooks.add(receiver.url, after=0)
    announce("a")
    with Relay(store, faulty, poll_s=0.02):
        until(lambda: bool(receiver.got), 10.0)
    assert receiver.photos == ["a"] and not faults and not looks


def test_two_processes_do_not_deliver_to_one_endpoint_at_once(
    store: Store, clock: Any, receiver: Any, post: Poster, announce: Any
) -> None:
    store.webhooks.add(receiver.url)
    announce("a")
    assert store.webhooks.lease(1, "another", 90.0)
    assert deliver_due(store, post) == 0
    clock.pass_s(91)  # the other one died
    assert deliver_due(store, post) == 1
    assert store.webhooks.lease(1, "another", 90.0)


def test_a_round_that_was_killed_before_its_commit_is_told_again_under_the_same_ids(
    store: Store, receiver: Any, post: Poster, announce: Any
) -> None:
    hook = store.webhooks.add(receiver.url)
    announce("a", "b")

    class Killed(Exception):
        pass

    settle = store.webhooks.settle

    def killed(*args: Any, **named: Any) -> None:
        raise Killed

    store.webhooks.settle = killed  # type: ignore[method-assign]
    with pytest.raises(Killed):
        Delivery(store, post).round(hook)
    store.webhooks.settle = settle  # type: ignore[method-assign]
    deliver_due(store, post)
    assert receiver.photos == ["a", "b", "a", "b"]
    assert len(set(receiver.ids)) == 2


def test_a_test_event_is_sent_and_kept_nowhere(store: Store, receiver: Any, post: Poster) -> None:
    hook = store.webhooks.add(receiver.url)
    sent, said = Delivery(store, post).test(hook)
    assert sent.taken
    assert b'"type":"listlens.test"' in receiver.got[0][1]
    assert said["body"].encode() == receiver.got[0][1]
    assert store.webhooks.log() == ()
