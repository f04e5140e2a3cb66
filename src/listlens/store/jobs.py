"""Jobs: long work by its state, leased by one process at a time, and never lost.

A job waits, runs, and ends as done, failed or cancelled. Whoever runs one extends its lease; where
that runs out, its process died, and the job waits again, or fails once it has ended several.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from listlens.core.errors import BusyError, InputError, NotFoundError
from listlens.store.database import Database, clean_text
from listlens.store.job_tables import job

_LOCK = 0x6A6F6273  # "jobs": on PostgreSQL whoever adds or claims a job takes turns

MOST_WAITING = 100
MOST_STARTS = 3
"""Starts after which a job whose process died each time is not started again: it may be why."""

LOG_CHARS = 16_000
KEEP = timedelta(days=30)
"""How long jobs that have ended are kept."""


class JobState(StrEnum):
    """Where a job stands."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


_BRIEF = [column for column in job.c if column.name not in ("log", "result")]
_NO_RESULT = sa.null().label("result")

OPEN = (JobState.WAITING.value, JobState.RUNNING.value)
DIED = {
    "type": "urn:listlens:problem:internal",
    "title": "Something broke on our side",
    "status": 500,
    "detail": f"Its process ended {MOST_STARTS} times without a word: was it killed, or is there "
    "too little memory? Ask for it again to try once more.",
}


@dataclass(frozen=True, slots=True)
class Job:
    """A job.

    Args:
        job_id: its number.
        kind: what is done.
        task: that it is about; empty where it is about all.
        asked: further arguments, JSON-able.
        who: asked for it.
        state: where it stands.
        cancelling: somebody wants it to end.
        starts: how often it was started.
        step: what it does now.
        done: of that step.
        total: of that step; None where nobody knows.
        log: its last lines.
        result: JSON-able, once it is done.
        problem: why it failed, as RFC 9457 shapes it.
        created_at: when it was asked for.
        started_at: when it was started last.
        finished_at: when it ended.
    """

    job_id: int
    kind: str
    task: str
    asked: Mapping[str, Any]
    who: str
    state: JobState
    cancelling: bool
    starts: int
    step: str
    done: int
    total: int | None
    log: str
    result: Mapping[str, Any] | None
    problem: Mapping[str, Any] | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state.value not in OPEN

    def as_dict(self, *, whole: bool = True) -> dict[str, Any]:
        """JSON-able form; without log and result where many are listed."""
        shown: dict[str, Any] = {
            "id": self.job_id,
            "kind": self.kind,
            "task": self.task,
            "asked": dict(self.asked),
            "who": self.who,
            "state": self.state.value,
            "cancelling": self.cancelling,
            "starts": self.starts,
            "progress": {"step": self.step, "done": self.done, "total": self.total},
            "created_at": self.created_at.isoformat(timespec="seconds"),
            "started_at": _iso(self.started_at),
            "finished_at": _iso(self.finished_at),
            "problem": None if self.problem is None else dict(self.problem),
        }
        if whole:
            shown["log"] = self.log
            shown["result"] = None if self.result is None else dict(self.result)
        return shown


class Jobs:
    """The jobs of a project. What they do is `listlens.serve.job_kinds`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    # -- asking -----------------------------------------------------------------------------

    def add(self, kind: str, task: str = "", *, who: str = "", **asked: Any) -> Job:
        """Ask for a job; where the same one waits or runs already, return that.

        Raises:
            BusyError: too many wait.
        """
        now = self._db.clock()
        with self._db.write() as connection:
            for row in self._open(connection):
                if (row.kind, row.task, row.asked) == (kind, task, asked) and not row.cancelling:
                    return _view(row)
            query = sa.select(sa.func.count()).where(job.c.state == JobState.WAITING.value)
            if connection.execute(query).scalar_one() >= MOST_WAITING:
                raise BusyError(f"{MOST_WAITING} jobs wait already", 60.0)
            row = {
                "kind": kind, "task": task, "asked": asked, "who": clean_text(who),
                "state": JobState.WAITING.value, "cancelling": 0, "starts": 0, "step": "",
                "done": 0, "log": "", "created_at": now,
            }  # fmt: skip
            made = connection.execute(sa.insert(job).values(row).returning(job)).one()
        return _view(made)

    def get(self, job_id: int) -> Job:
        """Return a job; raises NotFoundError."""
        with self._db.read() as connection:
            row = connection.execute(sa.select(job).where(job.c.id == job_id)).first()
        if row is None:
            raise NotFoundError(f"no job {job_id}; `listlens jobs list` shows them")
        return _view(row)

    def list(
        self,
        *,
        state: str | None = None,
        kind: str | None = None,
        task: str | None = None,
        before: int | None = None,
        limit: int = 100,
        whole: bool = False,
    ) -> tuple[Job, ...]:
        """Return jobs, the newest first.

        Args:
            state: only those in it.
            kind: only those of it.
            task: only those about it.
            before: only those with a smaller number: a cursor.
            limit: how many at most.
            whole: with their logs and results, which may be megabytes each.
        """
        columns = [job] if whole else [*_BRIEF, sa.literal("").label("log"), _NO_RESULT]
        query = sa.select(*columns).order_by(job.c.id.desc()).limit(limit)
        for column, value in ((job.c.state, state), (job.c.kind, kind), (job.c.task, task)):
            query = query if value is None else query.where(column == clean_text(value))
        query = query if before is None else query.where(job.c.id < before)
        with self._db.read() as connection:
            return tuple(map(_view, connection.execute(query)))

    def cancel(self, job_id: int) -> Job:
        """End a job: at once where it waits, and within seconds where it runs.

        Raises:
            NotFoundError: no such job. InputError: it has ended.
        """
        found = self.get(job_id)
        at = job.c.id == job_id
        ended = {"state": JobState.CANCELLED.value, "finished_at": self._db.clock()}
        with self._db.write() as connection:
            waits, runs = (sa.update(job).where(at, job.c.state == state) for state in OPEN)
            n = connection.execute(waits.values(ended)).rowcount
            n += connection.execute(runs.values(cancelling=1)).rowcount
        if not n:
            raise InputError(f"job {job_id} has ended already: it is {found.state.value}")
        return self.get(job_id)

    def counts(self) -> dict[str, int]:
        """Return how many jobs there are in each state."""
        with self._db.read() as connection:
            query = sa.select(job.c.state, sa.func.count()).group_by(job.c.state)
            found = {state: int(n) for state, n in connection.execute(query)}
        return {state.value: found.get(state.value, 0) for state in JobState}

    # -- running ----------------------------------------------------------------------------

    def claim(self, owner: str, lease_s: float, at_once: int = 1) -> Job | None:
        """Lease the job that waits longest; None where none does, or enough run already.

        Args:
            owner: who takes it; unique among processes.
            lease_s: how long nobody else takes it.
            at_once: how many may run at once, in all processes.
        """
        with self._db.read() as connection:  # a look costs less than a lock
            found = sa.select(job.c.id).where(job.c.state.in_(OPEN)).limit(1)
            if connection.execute(found).first() is None:
                return None
        now = self._db.clock()
        with self._db.write() as connection:
            rows = self._open(connection)
            lost = [r for r in rows if r.leased_until is not None and r.leased_until <= now]
            for row in lost:
                self._take_back(connection, row, now)
            rows = self._open(connection) if lost else rows
            running = sum(row.state == JobState.RUNNING for row in rows)
            waiting = next((row for row in rows if row.state == JobState.WAITING), None)
            if waiting is None or running >= at_once:
                return None
            values = {
                "state": JobState.RUNNING.value, "owner": owner, "starts": waiting.starts + 1,
                "leased_until": now + timedelta(seconds=lease_s), "started_at": now, "step": "",
                "done": 0, "total": None,
            }  # fmt: skip
            taken = sa.update(job).where(job.c.id == waiting.id).values(values).returning(job)
            return _view(connection.execute(taken).one())

    def note(
        self, job_id: int, owner: str, lease_s: float, step: str, done: int, total: int | None,
        log: str,
    ) -> bool | None:  # fmt: skip
        """Extend a lease and say how far the job is.

        Returns:
            Whether somebody wants it to end; None where the lease was lost.
        """
        values = {
            "leased_until": self._db.clock() + timedelta(seconds=lease_s),
            "step": clean_text(step), "done": done, "total": total,
            "log": clean_text(log[-LOG_CHARS:]),
        }  # fmt: skip
        with self._db.write() as connection:
            mine = sa.update(job).where(*_held(job_id, owner)).values(values)
            found = connection.execute(mine.returning(job.c.cancelling)).first()
        return None if found is None else bool(found.cancelling)

    def finish(
        self,
        job_id: int,
        owner: str,
        state: JobState,
        *,
        log: str = "",
        result: Mapping[str, Any] | None = None,
        problem: Mapping[str, Any] | None = None,
    ) -> bool:
        """Keep what came of a job; False where its lease was lost meanwhile.

        The progress of one that is done is its end, however far it was said to be.
        """
        values: dict[str, Any] = {
            "state": state.value, "result": None if result is None else dict(result),
            "problem": None if problem is None else dict(problem), "owner": None,
            "leased_until": None, "log": clean_text(log[-LOG_CHARS:]),
            "finished_at": self._db.clock(),
        }  # fmt: skip
        if state is JobState.DONE:  # whatever was told last: nothing is left
            far = sa.func.coalesce(job.c.total, job.c.done)
            values |= {"step": "done", "done": far, "total": far}
        with self._db.write() as connection:
            mine = sa.update(job).where(*_held(job_id, owner)).values(values)
            return connection.execute(mine).rowcount == 1

    def give_back(self, owner: str) -> int:
        """Let what an owner runs wait again, as if it had never been started; return how many."""
        values = {
            "state": JobState.WAITING.value, "owner": None, "leased_until": None,
            "starts": job.c.starts - 1,
        }  # fmt: skip
        with self._db.write() as connection:
            mine = sa.update(job).where(job.c.owner == owner, job.c.state == JobState.RUNNING.value)
            return connection.execute(mine.values(values)).rowcount

    def lost(self, job_id: int, owner: str) -> None:
        """Let a job whose process ended without a word wait again, or fail after several."""
        with self._db.write() as connection:
            query = sa.select(job).where(*_held(job_id, owner))
            row = connection.execute(query.with_for_update()).first()
            if row is not None:
                self._take_back(connection, row, self._db.clock())

    def prune(self, before: datetime) -> int:
        """Remove jobs that ended before a moment; return how many."""
        old = sa.delete(job).where(job.c.state.not_in(OPEN), job.c.finished_at < before)
        with self._db.write() as connection:
            return connection.execute(old).rowcount

    def _open(self, connection: Connection) -> Sequence[Any]:
        """Jobs that wait or run, the oldest first; nobody else adds or claims one meanwhile."""
        if not self._db.is_sqlite:
            project = sa.func.hashtext(sa.func.current_schema())
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK, project)))
        query = sa.select(job).where(job.c.state.in_(OPEN)).order_by(job.c.id)
        return connection.execute(query.with_for_update()).all()

    def _take_back(self, connection: Connection, row: Any, now: datetime) -> None:
        """Decide about a job whose process died."""
        values: dict[str, Any] = {"owner": None, "leased_until": None}
        if row.cancelling:
            values |= {"state": JobState.CANCELLED.value, "finished_at": now}
        elif row.starts >= MOST_STARTS:
            values |= {"state": JobState.FAILED.value, "finished_at": now, "problem": DIED}
        else:
            values |= {"state": JobState.WAITING.value}
        connection.execute(sa.update(job).where(job.c.id == row.id).values(values))


def _held(job_id: int, owner: str) -> tuple[Any, ...]:
    running = job.c.state == JobState.RUNNING.value
    return job.c.id == job_id, job.c.owner == owner, running


def _view(row: Any) -> Job:
    return Job(
        row.id, row.kind, row.task, row.asked, row.who, JobState(row.state), bool(row.cancelling),
        row.starts, row.step, row.done, row.total, row.log, row.result, row.problem,
        row.created_at, row.started_at, row.finished_at,
    )  # fmt: skip


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")
