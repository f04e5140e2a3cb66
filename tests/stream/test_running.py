"""What runs beside and between: tidying, other models coming into force, hosts, retries."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import listlens
from listlens.store.event_rows import Announcement
from listlens.store.webhook_rows import FAILED, RETRIED, Attempt
from listlens.stream.hosts import HostLimits
from listlens.stream.retrying import Backoff
from listlens.stream.running import MANY_SHARDS, TIDY_S, InForce, Tidying

Draw = Callable[..., Path]
Said = Callable[..., dict[str, Any]]


def test_waits_grow_with_chance_and_respect_what_the_host_asks() -> None:
    dice = iter([0.0, 0.999, 0.5, 0.0])
    backoff = Backoff(2.0, 100.0, 5, lambda: next(dice))
    assert backoff.seconds(1) == 1.0
    assert 1.99 < backoff.seconds(1) < 2.0
    assert backoff.seconds(3) == 6.0
    assert backoff.seconds(1, at_least_s=30) == 30
    assert [backoff.gives_up(n) for n in (1, 4, 5, 6)] == [False, False, True, True]
    assert Backoff(1.0, 60.0, 3, lambda: 0.0).seconds(10_000) == 30.0


def test_a_host_gets_no_more_than_its_share() -> None:
    limits = HostLimits(2)
    assert [limits.start("a") for _ in range(3)] == [True, True, False]
    assert [limits.start("") for _ in range(5)] == [True] * 5  # files are no host
    assert limits.running == 7
    limits.end("a")
    assert not limits.full("a")
    assert limits.start("a")


def test_old_events_and_noted_files_go_and_the_counts_stay(
    line: Any, draw_file: Draw, said: Said
) -> None:
    for n in range(3):
        draw_file(f"{n}.jpg", seed=n)
    line.put(*[said(f"{n}.jpg", at_s=1) for n in range(3)], said("9.jpg", at_s=1))
    line.drain()
    line.put(said("0.jpg", "photo.deleted", at_s=2))
    line.drain()
    store = line.project.store
    gone = list((store.root / "thumbnails").rglob("*.jpg"))
    before = store.events.ledger()
    moment = [0.0]
    tidying = Tidying(store, timedelta(seconds=-60), clock=lambda: moment[0])
    tidying()
    tidying.close()
    assert store.events.ledger() == before  # it is not time yet
    moment[0] = TIDY_S
    tidying()
    tidying.close()
    after = store.events.ledger()
    assert (after.pruned, after.states["done"], after.states["dead"]) == (4, 0, 1)
    assert (after.outcomes, after.received, after.adds_up) == (before.outcomes, 5, True)
    assert store.outbox.count() == 0
    assert len(list((store.root / "thumbnails").rglob("*.jpg"))) == len(gone) - 1
    line.put(said("0.jpg", "photo.changed", at_s=1))  # its mark was pruned too: it is new again
    assert line.drain().outcomes == {"predicted": 1}


def test_dead_letters_go_when_they_are_old_and_that_is_logged_and_counted(
    line: Any, said: Said, caplog: pytest.LogCaptureFixture
) -> None:
    store = line.project.store
    line.put(said("9.jpg"))
    line.drain()
    assert store.dead.reasons() == {"missing": 1}
    Tidying(store, timedelta(seconds=-60), keep_dead=timedelta(days=1)).tidy()
    Tidying(store, timedelta(seconds=-60)).tidy()  # none of zero days: until somebody acts
    assert store.dead.reasons() == {"missing": 1} and not caplog.messages
    Tidying(store, timedelta(seconds=-60), keep_dead=timedelta(microseconds=1)).tidy()
    ledger = store.events.ledger()
    assert (ledger.removed, ledger.states["dead"], ledger.adds_up) == ({"missing": 1}, 0, True)
    assert "removed: 1 missing" in caplog.text


def test_old_announcements_wait_for_active_webhooks_but_not_for_ever(
    line: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = line.project.store
    rows = [Announcement(key, "photo.predicted", "L", key, {}, ()) for key in "abcdef"]
    store.outbox.append(rows)
    first, *_, last = (one.position for one in store.outbox.read()[0])
    slow, quick = (store.webhooks.add("https://x.example", after=first + n) for n in (1, 4))
    tidying = Tidying(store, timedelta(seconds=-60))

    def left() -> int:
        tidying.tidy()
        return int(store.outbox.count())

    assert left() == 4, "the slow one has read two"
    now = store.clock()
    again = Attempt(first + 2, 1, RETRIED, 500, 5, "no", now, now)
    store.webhooks.settle(slow, [again], last)
    assert left() == 4, "one of them is to be tried again"
    store.webhooks.disable(quick.webhook_id, "410")
    for_good = replace(again, outcome=FAILED, next_at=None)
    store.webhooks.settle(store.webhooks.get(slow.webhook_id), [for_good], last)
    assert left() == 0, "what failed for good and a disabled one hold back nothing"
    store.outbox.append([replace(one, event_key=f"{one.event_key}2") for one in rows])
    assert left() == 6
    monkeypatch.setattr("listlens.stream.running.MOST_HELD_BACK", timedelta(seconds=-1))
    assert left() == 0


def test_many_small_files_of_embeddings_become_few(
    line: Any, draw_file: Draw, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = line.project.store
    for n in range(3):
        draw_file(f"{n}.jpg", seed=n + 20)
        line.put(said(f"{n}.jpg"))
        line.drain()
    n_before = store.vectors.n_small()
    assert 4 <= n_before < MANY_SHARDS
    Tidying(store, timedelta(days=1)).tidy()
    assert store.vectors.n_small() == n_before
    monkeypatch.setattr("listlens.stream.running.MANY_SHARDS", 3)
    Tidying(store, timedelta(days=1)).tidy()
    assert store.vectors.n_small() == 1
    assert list(store.contents.without_vector(line.inference.backbone.space.id)) == []


def test_what_cannot_be_tidied_now_keeps_nothing_else_from_it(
    line: Any, said: Said, caplog: pytest.LogCaptureFixture
) -> None:
    line.put(said("0.jpg", "photo.deleted"))
    line.drain()

    def tell() -> None:
        raise FileNotFoundError("models/room/3/reference.npz")

    store = line.project.store
    Tidying(store, timedelta(seconds=-60), tell=tell).tidy()
    assert store.events.ledger().pruned == 1
    assert "reference.npz" in caplog.text


def test_a_store_that_cannot_be_tidied_now_stops_no_worker(
    line: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with sqlite3.connect(line.project.root / "listlens.db") as connection:
        connection.execute("DROP TABLE outbox")
    Tidying(line.project.store, timedelta(days=1)).tidy()
    assert "no such table: outbox" in caplog.text


def test_what_the_registry_puts_into_force_answers_from_then_on(line: Any) -> None:
    moment = [0.0]
    models = InForce(line.project, clock=lambda: moment[0])
    assert [one.live.task for one in models()] == ["label"]
    before = models()
    with listlens.open(line.project.root) as other:
        model_id = other.store.models.list()[0].model_id
        policy = other.store.models.policy(model_id)[1]
        strict = type(policy)(
            (0.9999,) * len(policy.thresholds),
            (0.9999,) * len(policy.thresholds),
            (0.9999,) * len(policy.thresholds),
            "strict",
        )
        other.store.models.add_policy(model_id, strict)
    assert models() is before  # it is asked every two seconds
    moment[0] = 3.0
    assert models()[0].live.policy.target == "strict"


def test_several_workers_share_the_events_and_none_is_done_twice(
    line: Any, draw_file: Draw, said: Said
) -> None:
    for n in range(12):
        draw_file(f"{n}.jpg", seed=n + 40)
    line.put(*[said(f"{n}.jpg") for n in range(12)])
    workers = [line.worker(f"w{n}") for n in range(2)]
    threads = [
        threading.Thread(target=worker.run, args=(threading.Event(), "drained"))
        for worker in workers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    total = sum((worker.report.outcomes for worker in workers), Counter[str]())
    assert total == {"predicted": 12}
    assert len(line.announced()) == 12
    assert line.project.store.events.ledger().states["done"] == 12


def test_new_events_are_answered_within_two_seconds_of_their_coming_in(
    line: Any, draw_file: Draw, said: Said
) -> None:
    for n in range(5):
        draw_file(f"{n}.jpg", seed=n + 60)
    stop, worker = threading.Event(), line.worker()
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    waits = []
    for n in range(5):
        began = time.monotonic()
        line.put(said(f"{n}.jpg"))
        while len(line.announced()) <= n:
            time.sleep(0.02)
        waits.append(time.monotonic() - began)
    stop.set()
    worker.wake.set()
    thread.join(30)
    assert sorted(waits)[2] < 2.0 * 4  # four times the target, for a busy machine
    assert worker.report.outcomes == {"predicted": 5}


def test_a_project_does_in_python_what_the_commands_do(
    line: Any, draw_file: Draw, said: Said
) -> None:
    draw_file("a.jpg")
    project = line.project
    let = project.put_events([said("a.jpg"), said("late.jpg"), {"kind": "?"}], backfill=True)
    assert (let.new, let.duplicates, let.dead) == (2, 0, 1)
    line.drain()
    assert [one["reason"] for one in project.dead_letters()] == ["missing", "bad_event"]
    (missing,) = project.dead_letters("missing")
    with pytest.raises(listlens.ListlensError, match="not among the dead letters"):
        project.replay(["photo.added-a.jpg-None"])
    draw_file("late.jpg", seed=2)
    assert project.replay([missing["id"]]).again == 1
    line.drain()
    ledger = project.ledger()
    assert (ledger["done"], ledger["dead"], ledger["adds_up"]) == (2, 1, True)
    assert project.replay().left == 1
