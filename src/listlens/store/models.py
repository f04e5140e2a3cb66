"""The registry of models, their policies, and the runs that trained them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal, get_args

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from listlens.core.errors import InputError, NotFoundError
from listlens.core.types import EmbeddingSpace, Policy
from listlens.store.database import Database, clean_text
from listlens.store.schema import model, policy, run, space, stage_change, task
from listlens.store.spaces import save_space, to_space
from listlens.store.stamp import bump

Stage = Literal["candidate", "shadow", "live", "retired"]
"""Where a model stands: waiting to be promoted; answering beside, without its answers being given
out; answering; and not any more. A task has at most one live model."""


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """A trained model, as it is registered. The row is the truth, the folder is checked by hash.

    Args:
        task_id: what it answers.
        version: 1, 2, ...; see `Models.next_version`.
        folder: relative to the project, such as ``models/room/1``.
        sha256: of the folder, 64 hex digits.
        space: of the embeddings it was trained on.
        taxonomy_version: the classes it answers with.
        card: what a person should know of it, JSON-able.
        run_id: the training, where it was recorded.
        stage: empty: ``live`` for a task's first model, ``candidate`` for every later one.
    """

    task_id: int
    version: int
    folder: str
    sha256: str
    space: EmbeddingSpace
    taxonomy_version: int
    card: Mapping[str, Any]
    run_id: int | None = None
    stage: Stage | Literal[""] = ""


@dataclass(frozen=True, slots=True)
class ModelView(ModelRecord):
    """A registered model.

    Args:
        model_id: its row.
        created_at: when it was registered.
        share: of the contents that it answers as a candidate, in (0, 1); 0: none.
    """

    model_id: int = 0
    created_at: datetime | None = None
    share: float = 0.0


@dataclass(frozen=True, slots=True)
class PolicyView:
    """Thresholds of a model, as they were set at a moment; the newest is in force."""

    policy_id: int
    version: int
    policy: Policy
    created_at: datetime


@dataclass(frozen=True, slots=True)
class RunView:
    """One training: everything needed to repeat it, and what came of it."""

    run_id: int
    task_id: int
    config: dict[str, Any]
    fingerprint: str
    seed: int
    status: str
    started_at: datetime
    finished_at: datetime | None
    result: dict[str, Any] | None


# A model with its space.
MODEL = sa.select(model, *(c for c in space.c if c.name != "id")).join(
    space, model.c.space_id == space.c.id
)


class Models:
    """Models by task and version."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def next_version(self, task_id: int) -> int:
        """Return the version a new model of this task should have."""
        with self._db.read() as connection:
            query = sa.select(sa.func.max(model.c.version)).where(model.c.task_id == task_id)
            return (connection.execute(query).scalar() or 0) + 1

    def register(
        self, record: ModelRecord, place: Callable[[], None] = lambda: None, *, who: str = ""
    ) -> int:
        """Add a model; return its id.

        Args:
            record: the model.
            place: called in the transaction once the version is surely this model's; where it
                raises, nothing is added.
            who: had it trained, for the history.

        Raises:
            InputError: the version is taken, the task or run is not there, or there is no such
                stage.
        """
        if record.stage not in ("", *get_args(Stage)):
            raise InputError(f"stage {record.stage!r}; allowed: {', '.join(get_args(Stage))}")
        try:
            with self._db.write() as connection:
                model_id = self._register(connection, record, who)
                place()
                return model_id
        except Exception as error:
            if isinstance(error.__cause__, IntegrityError):
                raise InputError(
                    f"cannot register version {record.version} of task {record.task_id}: the "
                    "version is taken, or the task or run does not exist. Use next_version()."
                ) from error
            raise

    def _register(self, connection: Connection, record: ModelRecord, who: str) -> int:
        lock_task(connection, record.task_id)
        there = sa.select(model.c.id).where(model.c.task_id == record.task_id).limit(1)
        first = connection.execute(there).first() is None
        stage = record.stage or ("live" if first else "candidate")
        row = {
            "task_id": record.task_id,
            "version": record.version,
            "folder": record.folder,
            "sha256": record.sha256,
            "space_id": save_space(self._db, connection, record.space),
            "taxonomy_version": record.taxonomy_version,
            "run_id": record.run_id,
            "stage": stage,
            "card": dict(record.card),
            "created_at": self._db.clock(),
        }
        insert = sa.insert(model).values(row).returning(model.c.id)
        model_id = int(connection.execute(insert).scalar_one())
        note_change(self._db, connection, model_id, "registered", None, stage, who)
        return model_id

    def live(self, task_id: int) -> ModelView | None:
        """Return the model that answers a task, or None."""
        query = MODEL.where(model.c.task_id == task_id, model.c.stage == "live")
        with self._db.read() as connection:
            row = connection.execute(query).first()
        return None if row is None else model_view(row)

    def latest(self, task_id: int) -> ModelView | None:
        """Return the newest model of a task, or None."""
        query = MODEL.where(model.c.task_id == task_id).order_by(model.c.version.desc()).limit(1)
        with self._db.read() as connection:
            row = connection.execute(query).first()
        return None if row is None else model_view(row)

    def get(self, task_id: int, version: int) -> ModelView:
        """Return one model. Raises NotFoundError naming the versions there are."""
        found = {item.version: item for item in self.list(task_id)}
        if version not in found:
            shown = ", ".join(map(str, sorted(found))) or "none; train one first"
            raise NotFoundError(f"no version {version} of this task's model. There are: {shown}.")
        return found[version]

    def add_policy(self, model_id: int, body: Policy) -> int:
        """Add a policy, which becomes the model's default; return its id. Equal ones are kept."""
        with self._db.write() as connection:
            lock = sa.select(model.c.id).where(model.c.id == model_id).with_for_update()
            if connection.execute(lock).first() is None:
                raise NotFoundError(f"no model with id {model_id}")
            newest = _newest_policy(connection, model_id)
            if newest is not None and _to_policy(newest.body) == body:
                return int(newest.id)
            row = {
                "model_id": model_id,
                "version": 1 if newest is None else newest.version + 1,
                "body": asdict(body),
                "created_at": self._db.clock(),
            }
            insert = sa.insert(policy).values(row).returning(policy.c.id)
            policy_id = int(connection.execute(insert).scalar_one())
            bump(self._db, connection)
            return policy_id

    def policies(self, model_id: int) -> tuple[PolicyView, ...]:
        """Return the policies that a model ever had, oldest first; the last is in force."""
        query = sa.select(policy).where(policy.c.model_id == model_id).order_by(policy.c.version)
        with self._db.read() as connection:
            rows = connection.execute(query).all()
        return tuple(PolicyView(r.id, r.version, _to_policy(r.body), r.created_at) for r in rows)

    def policy(self, model_id: int) -> tuple[int, Policy]:
        """Return (policy_id, policy): the current default. Raises NotFoundError without one."""
        with self._db.read() as connection:
            row = _newest_policy(connection, model_id)
        if row is None:
            raise NotFoundError(f"model {model_id} has no policy; add one with add_policy()")
        return row.id, _to_policy(row.body)

    def record_run(
        self, task_id: int, config: Mapping[str, Any], fingerprint: str, seed: int
    ) -> int:
        """Note that a training begins; return its id."""
        row = {
            "task_id": task_id,
            "config": dict(config),
            "fingerprint": fingerprint,
            "seed": seed,
            "status": "running",
            "started_at": self._db.clock(),
        }
        with self._db.write() as connection:
            insert = sa.insert(run).values(row).returning(run.c.id)
            return int(connection.execute(insert).scalar_one())

    def finish_run(self, run_id: int, status: str, result: Mapping[str, Any] | None = None) -> None:
        """Note how a training ended, such as ``done`` or ``failed``."""
        values = {
            "status": status,
            "finished_at": self._db.clock(),
            "result": None if result is None else dict(result),
        }
        with self._db.write() as connection:
            connection.execute(sa.update(run).where(run.c.id == run_id).values(values))

    def runs(self, task_id: int) -> tuple[RunView, ...]:
        """Return the trainings of a task, oldest first."""
        query = sa.select(run).where(run.c.task_id == task_id).order_by(run.c.id)
        with self._db.read() as connection:
            return tuple(RunView(*row) for row in connection.execute(query))

    def list(self, task_id: int | None = None) -> tuple[ModelView, ...]:
        """Return all models, or those of one task, by task and version."""
        query = MODEL.order_by(model.c.task_id, model.c.version)
        if task_id is not None:
            query = query.where(model.c.task_id == task_id)
        with self._db.read() as connection:
            return tuple(model_view(row) for row in connection.execute(query))


def lock_task(connection: Connection, task_id: int) -> None:
    """Let whoever else registers or promotes models of a task wait until this transaction ends."""
    connection.execute(sa.select(task.c.id).where(task.c.id == task_id).with_for_update())


def note_change(
    database: Database,
    connection: Connection,
    model_id: int,
    action: str,
    before: str | None,
    after: str,
    who: str = "",
    why: str = "",
) -> None:
    """Write a change of a stage into the history, in the transaction that makes it."""
    row = {"model_id": model_id, "action": action, "from_stage": before, "to_stage": after}
    row |= {"who": clean_text(who), "why": clean_text(why)}
    connection.execute(sa.insert(stage_change).values(row | {"created_at": database.clock()}))
    bump(database, connection)


def _newest_policy(connection: Connection, model_id: int) -> Any:
    query = sa.select(policy).where(policy.c.model_id == model_id)
    return connection.execute(query.order_by(policy.c.version.desc()).limit(1)).first()


def _to_policy(body: Mapping[str, Any]) -> Policy:
    return Policy(
        thresholds=tuple(body["thresholds"]),
        review_below=tuple(body["review_below"]),
        review_above=tuple(body["review_above"]),
        target=body["target"],
    )


def model_view(row: Any) -> ModelView:
    """Return the model of a row of `MODEL`."""
    return ModelView(
        task_id=row.task_id,
        version=row.version,
        folder=row.folder,
        sha256=row.sha256,
        space=to_space(row),
        taxonomy_version=row.taxonomy_version,
        card=row.card,
        run_id=row.run_id,
        stage=row.stage,
        model_id=row.id,
        created_at=row.created_at,
        share=row.share or 0.0,
    )
