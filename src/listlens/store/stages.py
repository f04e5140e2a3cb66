"""Which model answers a task: stages, their history, and the way back.

Every change is one transaction that also writes the history and lets the stamp grow, so whoever
looks sees the change whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from listlens.core.errors import InputError, NotFoundError
from listlens.store.database import Database
from listlens.store.models import MODEL, ModelView, Stage, lock_task, model_view, note_change
from listlens.store.schema import model, stage_change
from listlens.store.stamp import stamp


@dataclass(frozen=True, slots=True)
class StageChange:
    """One line of the history.

    Args:
        model_id: whose stage.
        version: of the model.
        action: ``registered``, ``promoted``, ``superseded`` (another was promoted), ``restored``
            (by a rollback), ``rolled_back``, ``shadowed``, ``canary``, ``recalled`` (a shadow or
            canary became a plain candidate) or ``retired``.
        from_stage: None for a new model.
        to_stage: since then.
        who: made the change; empty where nobody was named.
        why: in their words.
        at: when.
    """

    model_id: int
    version: int
    action: str
    from_stage: str | None
    to_stage: str
    who: str
    why: str
    at: datetime


class Stages:
    """Stages of models. At most one model a task is live; an index of the database holds it too."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def stamp(self) -> int:
        """Return a number that grows with every change of what answers; one look-up by key."""
        return stamp(self._db)

    def promote(self, model_id: int, *, who: str = "", why: str = "") -> ModelView | None:
        """Let a model answer; the one that did is retired, and `rollback` returns to it.

        Returns:
            The model that answered until now; None where none did, or this one did already.

        Raises:
            NotFoundError: no such model.
        """
        with self._changing(model_id) as (connection, this):
            before = _live(connection, this.task_id)
            if this.stage == "live":
                return None
            if before is not None:
                self._move(connection, before, "superseded", "retired", who, why)
            self._move(connection, this, "promoted", "live", who, why)
        return before

    def shadow(self, model_id: int, *, who: str = "", why: str = "") -> None:
        """Let a model answer beside the live one; its answers are stored and never given out.

        Raises:
            NotFoundError: no such model. InputError: it is live.
        """
        with self._changing(model_id) as (connection, this):
            _refuse_live(this)
            self._move(connection, this, "shadowed", "shadow", who, why)

    def canary(self, model_id: int, share: float, *, who: str = "", why: str = "") -> None:
        """Let a candidate answer a share of the contents; 0 makes it a plain candidate again.

        Any other canary of the task ends.

        Args:
            model_id: the candidate.
            share: of the contents, 0 or above and below 1.
            who: makes the change.
            why: in their words.

        Raises:
            NotFoundError: no such model. InputError: it is live, no other model is, or the share
                is out of range.
        """
        if not 0 <= share < 1:
            raise InputError(f"share {share:g}; allowed: 0 or more and below 1. For 1: promote.")
        with self._changing(model_id) as (connection, this):
            _refuse_live(this)
            if share and _live(connection, this.task_id) is None:
                raise InputError("no model of this task is live to answer the rest: promote one.")
            for other in _of_task(connection, this.task_id) if share else ():
                if other.share and other.model_id != model_id:
                    self._move(connection, other, "recalled", "candidate", who, why)
            action = "canary" if share else "recalled"
            self._move(connection, this, action, "candidate", who, why, share)

    def retire(self, model_id: int, *, live_too: bool = True, who: str = "", why: str = "") -> None:
        """Take a model out for good: `rollback` passes over it.

        Args:
            model_id: the model.
            live_too: also where it is live by now; no model answers then.
            who: makes the change.
            why: in their words.

        Raises:
            NotFoundError: no such model. InputError: it is live, and that is not meant.
        """
        with self._changing(model_id) as (connection, this):
            if not live_too:
                _refuse_live(this)
            self._move(connection, this, "retired", "retired", who, why)

    def previous(self, task_id: int) -> ModelView | None:
        """Return the model that `rollback` returns to; None where there is none."""
        with self._db.read() as connection:
            return _previous(connection, task_id)

    def rollback(
        self, task_id: int, *, to: int | None = None, who: str = "", why: str = ""
    ) -> tuple[ModelView | None, ModelView]:
        """Let the model answer that did before the live one, which is retired.

        Rolling back again goes further back, never forth. Where the live model was retired, the
        one before it answers again.

        Args:
            task_id: whose model.
            to: the model that is meant to answer again; None: whichever it is by now.
            who: makes the change.
            why: in their words.

        Returns:
            The model that answered until now, and the one that does from now on.

        Raises:
            NotFoundError: no model answered before.
            InputError: another one than `to` would answer: somebody was quicker.
        """
        with self._db.write() as connection:
            lock_task(connection, task_id)
            target = _previous(connection, task_id)
            if target is None:
                raise NotFoundError("no model of this task answered before the live one.")
            if to is not None and target.model_id != to:
                raise InputError(
                    f"the models of this task were changed meanwhile, and model {target.version} "
                    "would answer: look again (listlens models list)"
                )
            before = _live(connection, task_id)
            if before is not None:
                self._move(connection, before, "rolled_back", "retired", who, why)
            self._move(connection, target, "restored", "live", who, why)
        return before, target

    def history(self, task_id: int) -> tuple[StageChange, ...]:
        """Return every change of a task's models, oldest first."""
        with self._db.read() as connection:
            return _history(connection, task_id)

    @contextmanager
    def _changing(self, model_id: int) -> Iterator[tuple[Connection, ModelView]]:
        """Give a transaction that holds the model's task, and the model as it is now."""
        with self._db.write() as connection:
            task_id = connection.execute(
                sa.select(model.c.task_id).where(model.c.id == model_id)
            ).scalar()
            if task_id is None:
                raise NotFoundError(f"no model with id {model_id}")
            lock_task(connection, task_id)
            row = connection.execute(MODEL.where(model.c.id == model_id)).one()
            yield connection, model_view(row)

    def _move(
        self,
        connection: Connection,
        of: ModelView,
        action: str,
        to: Stage,
        who: str,
        why: str,
        share: float = 0.0,
    ) -> None:
        values: dict[str, Any] = {"stage": to, "share": share or None}
        connection.execute(sa.update(model).where(model.c.id == of.model_id).values(values))
        note_change(self._db, connection, of.model_id, action, of.stage, to, who, why)


def _refuse_live(this: ModelView) -> None:
    if this.stage == "live":
        raise InputError(
            f"version {this.version} is live; another has to be promoted first, or this one retired"
        )


def _live(connection: Connection, task_id: int) -> ModelView | None:
    return next((m for m in _of_task(connection, task_id) if m.stage == "live"), None)


def _of_task(connection: Connection, task_id: int) -> list[ModelView]:
    return [model_view(r) for r in connection.execute(MODEL.where(model.c.task_id == task_id))]


def _history(connection: Connection, task_id: int) -> tuple[StageChange, ...]:
    query = (
        sa.select(stage_change, model.c.version)
        .join(model, stage_change.c.model_id == model.c.id)
        .where(model.c.task_id == task_id)
        .order_by(stage_change.c.id)
    )
    return tuple(
        StageChange(
            r.model_id, r.version, r.action, r.from_stage, r.to_stage, r.who, r.why, r.created_at
        )
        for r in connection.execute(query)
    )


def way_back(history: Sequence[StageChange]) -> list[int]:
    """Return the models that answered, the first one first, the one to answer now last.

    A promotion adds one, a rollback takes one away, and retiring takes one out.

    Example:
        >>> moment = datetime(2026, 1, 1)
        >>> def line(model_id, action):
        ...     return StageChange(model_id, model_id, action, None, "live", "", "", moment)
        >>> way_back([line(1, "registered"), line(2, "promoted"), line(1, "restored")])
        [1]
    """
    line: list[int] = []
    for change in history:
        if change.action == "retired":
            line = [model_id for model_id in line if model_id != change.model_id]
        elif change.action == "restored":
            while line and line[-1] != change.model_id:
                line.pop()
        elif change.to_stage == "live":
            line = [m for m in line if m != change.model_id] + [change.model_id]
    return line


def _previous(connection: Connection, task_id: int) -> ModelView | None:
    line, live = way_back(_history(connection, task_id)), _live(connection, task_id)
    if live is not None and line and line[-1] == live.model_id:
        line.pop()
    if not line:
        return None
    return model_view(connection.execute(MODEL.where(model.c.id == line[-1])).one())
