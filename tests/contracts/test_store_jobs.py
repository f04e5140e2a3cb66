"""Jobs on SQLite and PostgreSQL: one at a time, taken up after a crash, and never lost."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from listlens.core.errors import BusyError, InputError, NotFoundError
from listlens.store import jobs
from listlens.store.jobs import LOG_CHARS, MOST_STARTS, JobState
from listlens.store.open import Store, open_store

MINUTE = timedelta(minutes=1)


class Clock:
    """A clock that is put forward by hand."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def timed(store_url: str, tmp_path: Path) -> Any:
    clock = Clock()
    with open_store(store_url, tmp_path, clock=clock) as store:
        yield store, clock


def test_a_job_waits_runs_and_is_done(store: Store) -> None:
    made = store.jobs.add("train", "room", who="token 1", budget_s=1.5, few=True)
    assert (made.state, made.starts, made.asked) == ("waiting", 0, {"budget_s": 1.5, "few": True})
    taken = store.jobs.claim("a", 20)
    assert taken is not None
    assert (taken.job_id, taken.state, taken.starts) == (made.job_id, JobState.RUNNING, 1)
    assert store.jobs.note(made.job_id, "a", 20, "folds", 3, 5, "one\ntwo") is False
    assert store.jobs.note(made.job_id, "b", 20, "stolen", 9, 9, "") is None
    told = store.jobs.get(made.job_id)
    assert (told.step, told.done, told.total, told.log) == ("folds", 3, 5, "one\ntwo")
    assert not store.jobs.finish(made.job_id, "b", JobState.DONE, result={"wrong": 1})
    assert store.jobs.finish(made.job_id, "a", JobState.DONE, result={"version": 2}, log="x")
    done = store.jobs.get(made.job_id)
    assert (done.state, done.result, done.ended) == ("done", {"version": 2}, True)
    assert (done.step, done.done, done.total) == ("done", 5, 5), "it was told of 3"
    assert done.finished_at is not None and store.jobs.claim("a", 20) is None
    assert "result" not in done.as_dict(whole=False)
    with pytest.raises(NotFoundError, match="jobs list"):
        store.jobs.get(99)


def test_what_is_asked_for_twice_is_one_job_until_it_ends(store: Store) -> None:
    first = store.jobs.add("diff", "room", version=2)
    assert store.jobs.add("diff", "room", version=2) == first
    assert store.jobs.add("diff", "room", version=3) != first
    assert store.jobs.add("diff", "view", version=2) != first
    store.jobs.cancel(first.job_id)
    assert store.jobs.add("diff", "room", version=2).job_id != first.job_id


def test_one_runs_at_once_the_oldest_first(store: Store) -> None:
    made = [store.jobs.add("tag", name).job_id for name in "abc"]
    with ThreadPoolExecutor(4) as pool:
        taken = [one for one in pool.map(lambda n: store.jobs.claim(f"p{n}", 20), range(4)) if one]
    assert [one.job_id for one in taken] == made[:1]
    both = store.jobs.claim("other", 20, at_once=2)
    assert both is not None and both.job_id == made[1]
    assert store.jobs.claim("third", 20, at_once=2) is None
    assert store.jobs.counts() | {"waiting": 1, "running": 2} == store.jobs.counts()


def test_a_job_whose_process_died_is_taken_up_and_fails_in_the_end(timed: Any) -> None:
    store, clock = timed
    made = store.jobs.add("train", "room")
    for start in range(1, MOST_STARTS + 1):
        taken = store.jobs.claim(f"p{start}", 20)
        assert taken is not None and taken.starts == start
        assert store.jobs.claim("other", 20) is None, "its lease has not run out"
        clock.now += MINUTE
    assert store.jobs.claim("last", 20) is None
    failed = store.jobs.get(made.job_id)
    assert failed.state == "failed" and failed.problem is not None
    assert failed.problem["status"] == 500 and "killed" in failed.problem["detail"]
    assert store.jobs.note(made.job_id, "p3", 20, "late", 1, 1, "") is None


def test_a_server_that_stops_gives_its_job_back_without_counting_it(store: Store) -> None:
    made = store.jobs.add("tag")
    for _ in range(MOST_STARTS + 2):
        assert store.jobs.claim("a", 20) is not None
        assert store.jobs.give_back("a") == 1
    again = store.jobs.get(made.job_id)
    assert (again.state, again.starts) == ("waiting", 0)
    store.jobs.claim("a", 20)
    store.jobs.lost(made.job_id, "a")
    assert (store.jobs.get(made.job_id).state, store.jobs.get(made.job_id).starts) == ("waiting", 1)


def test_a_job_is_cancelled_at_once_or_by_whoever_runs_it(timed: Any) -> None:
    store, clock = timed
    waiting, running, dead = (store.jobs.add("tag", name).job_id for name in "abc")
    assert store.jobs.cancel(waiting).state == "cancelled"
    store.jobs.claim("p", 20)
    told = store.jobs.cancel(running)
    assert (told.state, told.cancelling) == ("running", True)
    assert store.jobs.note(running, "p", 20, "s", 0, None, "") is True
    store.jobs.finish(running, "p", JobState.CANCELLED)
    with pytest.raises(InputError, match="ended already: it is cancelled"):
        store.jobs.cancel(running)
    store.jobs.claim("p", 20)
    store.jobs.cancel(dead)
    clock.now += MINUTE
    assert store.jobs.claim("p", 20) is None
    assert store.jobs.get(dead).state == "cancelled"


def test_jobs_are_listed_by_cursor_and_pruned_by_age(timed: Any) -> None:
    store, clock = timed
    ids = [store.jobs.add("tag", name).job_id for name in "abcd"]
    assert [one.job_id for one in store.jobs.list(limit=2)] == ids[:1:-1]
    assert [one.job_id for one in store.jobs.list(before=ids[2])] == ids[1::-1]
    assert [one.task for one in store.jobs.list(task="b")] == ["b"]
    assert store.jobs.list(kind="train") == store.jobs.list(state="done") == ()
    store.jobs.cancel(ids[0])
    clock.now += MINUTE
    store.jobs.cancel(ids[1])
    assert store.jobs.prune(clock.now) == 1
    assert [one.job_id for one in store.jobs.list()] == ids[:0:-1]


def test_what_is_kept_is_bounded(
    store: Store, monkeypatch: pytest.MonkeyPatch, clock: Callable[[], datetime]
) -> None:
    monkeypatch.setattr(jobs, "MOST_WAITING", 2)
    made = [store.jobs.add("tag", name) for name in "ab"]
    with pytest.raises(BusyError, match="2 jobs wait already"):
        store.jobs.add("tag", "c")
    assert store.jobs.add("tag", "a") == made[0], "what waits already is no new one"
    store.jobs.claim("p", 20)
    store.jobs.note(made[0].job_id, "p", 20, "s\0", 1, None, "x" * LOG_CHARS + "end\0")
    told = store.jobs.get(made[0].job_id)
    assert len(told.log) == LOG_CHARS and told.log.endswith("end?") and told.step == "s?"


def test_the_same_job_asked_for_twice_at_once_is_one(store: Store) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: store.jobs.add("train", "room").job_id, range(12)))
    assert len(set(made)) == 1 == len(store.jobs.list())


def test_a_list_leaves_out_what_may_be_megabytes_unless_it_is_asked_for(store: Store) -> None:
    made = store.jobs.add("diff", "room")
    store.jobs.claim("me", 60, 1)
    store.jobs.finish(made.job_id, "me", JobState.DONE, log="a line", result={"text": ["all"]})
    (brief,), (whole,) = store.jobs.list(), store.jobs.list(whole=True)
    assert (brief.log, brief.result) == ("", None)
    assert (whole.log, whole.result) == ("a line", {"text": ["all"]})
    assert brief.as_dict(whole=False) == whole.as_dict(whole=False)
