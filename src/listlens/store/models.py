"""The registry of models, their policies, and the runs that trained them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from listlens.core.errors import InputError, NotFoundError
from listlens.core.types import EmbeddingSpace, Policy
from listlens.store.database import Database
from listlens.store.schema import model, policy, run, space, task, taxonomy
from listlens.store.spaces import save_space, to_space


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
        stage: such as ``candidate`` or ``live``.
    """

    task_id: int
    version: int
    folder: str
    sha256: str
    space: EmbeddingSpace
    taxonomy_version: int
    card: Mapping[str, Any]
    run_id: int | None = None
    stage: str = "live"


@dataclass(frozen=True, slots=True)
class ModelView(ModelRecord):
    """A registered model."""

    model_id: int = 0
    created_at: datetime | None = None


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


_MODEL = sa.select(model, *(c for c in space.c if c.name != "id")).join(
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

    def register(self, record: ModelRecord, place: Callable[[], None] = lambda: None) -> int:
        """Add a model; return its id.

        Args:
            record: the model.
            place: called in the transaction once the version is surely this model's; where it
                raises, nothing is added.

        Raises:
            InputError: the version is taken, or the task or run is not there.
        """
        try:
            with self._db.write() as connection:
                model_id = self._register(connection, record)
                place()
                return model_id
        except Exception as error:
            if isinstance(error.__cause__, IntegrityError):
                raise InputError(
                    f"cannot register version {record.version} of task {record.task_id}: the "
                    "version is taken, or the task or run does not exist. Use next_version()."
                ) from error
            raise

    def _register(self, connection: Connection, record: ModelRecord) -> int:
        row = {
            "task_id": record.task_id,
            "version": record.version,
            "folder": record.folder,
            "sha256": record.sha256,
            "space_id": save_space(self._db, connection, record.space),
            "taxonomy_version": record.taxonomy_version,
            "run_id": record.run_id,
            "stage": record.stage,
            "card": dict(record.card),
            "created_at": self._db.clock(),
        }
        return int(
            connection.execute(sa.insert(model).values(row).returning(model.c.id)).scalar_one()
        )

    def latest(self, task_id: int) -> ModelView | None:
        """Return the newest model of a task, or None."""
        query = _MODEL.where(model.c.task_id == task_id).order_by(model.c.version.desc()).limit(1)
        with self._db.read() as connection:
            row = connection.execute(query).first()
        return None if row is None else _view(row)

    def get(self, task_id: int, version: int) -> ModelView:
        """Return one model. Raises NotFoundError naming the versions there are."""
        found = {item.version: item for item in self.list() if item.task_id == task_id}
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
            return int(connection.execute(insert).scalar_one())

    def state(self) -> tuple[Any, ...]:
        """Return what changes whenever other models, stages, policies or class names are in force.

        Cheap enough to be asked every second; only good for being compared.
        """
        queries = (
            sa.select(model.c.id, model.c.stage).order_by(model.c.id),
            sa.select(sa.func.max(policy.c.id)),
            sa.select(task.c.id, task.c.name).order_by(task.c.id),
            sa.select(taxonomy.c.task_id, sa.func.max(taxonomy.c.version))
            .group_by(taxonomy.c.task_id)
            .order_by(taxonomy.c.task_id),
        )
        with self._db.read() as connection:
            return tuple(tuple(map(tuple, connection.execute(q))) for q in queries)

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

    def list(self) -> tuple[ModelView, ...]:
        """Return all models, by task and version."""
        with self._db.read() as connection:
            rows = connection.execute(_MODEL.order_by(model.c.task_id, model.c.version)).all()
        return tuple(_view(row) for row in rows)


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


def _view(row: Any) -> ModelView:
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
    )
