"""What only a retired model needs: its stored answers, and the embeddings of its own network."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from listlens.core.types import EmbeddingSpace
from listlens.store.database import Database
from listlens.store.models import ModelView
from listlens.store.schema import model, prediction, space, stage_change, vector
from listlens.store.vectors import FileVectors


@dataclass(frozen=True, slots=True)
class Swept:
    """What was removed, or would be.

    Args:
        n_predictions: stored answers.
        n_vectors: embeddings.
    """

    n_predictions: int
    n_vectors: int


class Sweeping:
    """Removes what nothing needs any more. The model's row and folder stay."""

    def __init__(self, database: Database, vectors: FileVectors) -> None:
        self._db = database
        self._vectors = vectors

    def plan(self, of: ModelView, keep: EmbeddingSpace) -> Swept:
        """Say what sweeping a model would remove.

        Args:
            of: the model.
            keep: the space of the project's backbone, which is never swept.
        """
        with self._db.read() as connection:
            answers = sa.select(sa.func.count()).where(prediction.c.model_id == of.model_id)
            vectors = (
                sa.select(sa.func.count())
                .select_from(vector.join(space, vector.c.space_id == space.c.id))
                .where(space.c.key == of.space.id)
            )
            alone = _alone(connection, of, keep)
            return Swept(
                int(connection.execute(answers).scalar_one()),
                int(connection.execute(vectors).scalar_one()) if alone else 0,
            )

    def sweep(self, of: ModelView, keep: EmbeddingSpace) -> Swept:
        """Remove it; a kill in between is finished by the same call.

        A model that was taken back into service meanwhile keeps all.
        """
        which = prediction.c.model_id == of.model_id
        stage = sa.select(model.c.stage).where(model.c.id == of.model_id).with_for_update()
        with self._db.write() as connection:
            if connection.execute(stage).scalar() != "retired":
                return Swept(0, 0)
            removed = int(connection.execute(sa.delete(prediction).where(which)).rowcount)
            alone = _alone(connection, of, keep)
        return Swept(removed, self._vectors.drop(of.space) if alone else 0)


def _alone(connection: Connection, of: ModelView, keep: EmbeddingSpace) -> bool:
    """Whether no other model that may answer once more uses the model's embeddings."""
    if of.space.id == keep.id:
        return False
    newest = sa.select(sa.func.max(stage_change.c.id)).group_by(stage_change.c.model_id)
    for_good = sa.select(stage_change.c.model_id).where(
        stage_change.c.id.in_(newest), stage_change.c.action == "retired"
    )
    others = (
        sa.select(model.c.id)
        .join(space, model.c.space_id == space.c.id)
        .where(space.c.key == of.space.id, model.c.id != of.model_id, model.c.id.not_in(for_good))
    )
    return connection.execute(others).first() is None
