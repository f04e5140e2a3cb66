"""Predictions: one row per (content, model), all probabilities packed into it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from listlens.core.errors import InputError, NotFoundError
from listlens.store.database import Database, chunks
from listlens.store.schema import content, model, policy, prediction

STEPS = 65535
"""Probabilities are kept in 16 bits as multiples of 1/65535: an error of at most 7.7e-6 anywhere
in [0, 1]. float16 takes the same room and errs by up to 2.4e-4 near 1, where decisions fall."""


def pack(probs: NDArray[np.float32]) -> list[bytes]:
    """Pack `(n, k)` probabilities in [0, 1] to n values of 2 k bytes.

    Raises:
        InputError: a value outside [0, 1], or not a number.

    Example:
        >>> pack(np.array([[0.0, 1.0]], np.float32))
        [b'\\x00\\x00\\xff\\xff']
    """
    array = np.asarray(probs, np.float64)
    if array.ndim != 2 or not bool(((array >= 0) & (array <= 1)).all()):
        raise InputError("probabilities are (n, k) and lie in [0, 1]")
    return [row.tobytes() for row in np.rint(array * STEPS).astype("<u2")]


def unpack(rows: Sequence[bytes]) -> NDArray[np.float32]:
    """Undo `pack`: `(n, k)` float32; all rows have the same k."""
    if not rows:
        return np.empty((0, 0), np.float32)
    flat = np.frombuffer(b"".join(rows), "<u2").reshape(len(rows), -1)
    return (flat / STEPS).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a stored answer came from.

    Args:
        model_version: of the model.
        taxonomy_version: of the classes that it answers with.
        policy_version: of the thresholds in force then; None where the model had none, or where
            the answer was stored before this was kept.
        at: when it was given.
    """

    model_version: int
    taxonomy_version: int
    policy_version: int | None
    at: datetime


def _policy_in_force(connection: sa.Connection, model_id: int) -> int | None:
    query = sa.select(sa.func.max(policy.c.version)).where(policy.c.model_id == model_id)
    version: int | None = connection.execute(query).scalar()
    return version


class Predictions:
    """Probabilities by model and content."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def save(self, model_id: int, content_ids: Sequence[int], probs: NDArray[np.float32]) -> None:
        """Insert or replace; probs `(n, k)` in [0, 1], kept to 7.7e-6.

        Of a content that comes twice the last row counts.

        Raises:
            InputError: wrong shape or range.
            NotFoundError: the model, or contents that the store does not have (any more).
        """
        packed = pack(probs)
        if len(packed) != len(content_ids):
            raise InputError(f"{len(packed)} rows of probabilities for {len(content_ids)} contents")
        if not packed:
            return
        insert = self._db.insert(prediction)
        update = {name: insert.excluded[name] for name in ("probs", "created_at", "policy_version")}
        keys = ["model_id", "content_id"]
        with self._db.write() as connection:
            self._require(connection, model_id, [int(pk) for pk in content_ids])
            common = {
                "model_id": model_id,
                "created_at": self._db.clock(),
                "policy_version": _policy_in_force(connection, model_id),
            }
            rows = [
                {"content_id": int(pk), "probs": data, **common}
                for pk, data in sorted(zip(content_ids, packed, strict=True), key=itemgetter(0))
            ]
            upsert = insert.on_conflict_do_update(index_elements=keys, set_=update)
            self._db.bulk(connection, upsert, rows)

    def origins(self, model_id: int, content_ids: Sequence[int]) -> dict[int, Origin]:
        """Say where answers came from, by content id; absent ids have no key."""
        columns = (prediction.c.content_id, prediction.c.policy_version, prediction.c.created_at)
        query = sa.select(*columns, model.c.version, model.c.taxonomy_version).join(
            model, prediction.c.model_id == model.c.id
        )
        query = query.where(prediction.c.model_id == model_id)
        found: dict[int, Origin] = {}
        with self._db.read() as connection:
            for block in chunks(dict.fromkeys(int(pk) for pk in content_ids)):
                for row in connection.execute(query.where(prediction.c.content_id.in_(block))):
                    found[row.content_id] = Origin(
                        row.version, row.taxonomy_version, row.policy_version, row.created_at
                    )
        return found

    def since(self, model_id: int, moment: datetime, batch: int = 10_000) -> Iterator[list[int]]:
        """Yield content ids, in blocks by id, that a model answered at a moment or later."""
        query = (
            sa.select(prediction.c.content_id)
            .where(prediction.c.model_id == model_id, prediction.c.created_at >= moment)
            .order_by(prediction.c.content_id)
            .limit(batch)
        )
        last = 0
        while True:
            with self._db.read() as connection:
                later = query.where(prediction.c.content_id > last)
                page = [int(pk) for pk in connection.execute(later).scalars()]
            if page:
                yield page
            if len(page) < batch:
                return
            last = page[-1]

    def count(self, model_id: int) -> int:
        """Return how many answers of a model are stored."""
        query = sa.select(sa.func.count()).select_from(prediction)
        with self._db.read() as connection:
            return int(
                connection.execute(query.where(prediction.c.model_id == model_id)).scalar_one()
            )

    def missing(self, model_id: int, content_ids: Sequence[int]) -> list[int]:
        """Return those of `content_ids` without a prediction of this model, in order."""
        there: set[int] = set()
        query = sa.select(prediction.c.content_id).where(prediction.c.model_id == model_id)
        with self._db.read() as connection:
            for block in chunks(dict.fromkeys(int(pk) for pk in content_ids)):
                rows = connection.execute(query.where(prediction.c.content_id.in_(block)))
                there.update(rows.scalars())
        return [int(pk) for pk in content_ids if int(pk) not in there]

    def scan(
        self, model_id: int, batch: int = 10_000
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Yield all in blocks, content ids `(n,)` and probs `(n, k)`, by id; memory is flat."""
        query = (
            sa.select(prediction.c.content_id, prediction.c.probs)
            .where(prediction.c.model_id == model_id)
            .order_by(prediction.c.content_id)
            .limit(batch)
        )
        last = 0
        while True:
            with self._db.read() as connection:
                page = connection.execute(query.where(prediction.c.content_id > last)).all()
            if page:
                ids = np.array([row.content_id for row in page], np.int64)
                yield ids, unpack([row.probs for row in page])
            if len(page) < batch:
                return
            last = page[-1].content_id

    def get(self, model_id: int, content_ids: Sequence[int]) -> dict[int, NDArray[np.float32]]:
        """Return probs `(k,)` by content id; absent ids have no key."""
        found: dict[int, NDArray[np.float32]] = {}
        query = sa.select(prediction.c.content_id, prediction.c.probs)
        query = query.where(prediction.c.model_id == model_id)
        with self._db.read() as connection:
            for block in chunks(dict.fromkeys(int(pk) for pk in content_ids)):
                page = connection.execute(query.where(prediction.c.content_id.in_(block))).all()
                arrays = unpack([row.probs for row in page])
                found.update(zip((row.content_id for row in page), arrays, strict=True))
        return found

    def _require(self, connection: sa.Connection, model_id: int, ids: Sequence[int]) -> None:
        query = sa.select(model.c.id).where(model.c.id == model_id)
        if connection.execute(query).first() is None:
            raise NotFoundError(f"no model with id {model_id}; register it first")
        there: set[int] = set()
        for block in chunks(ids):
            rows = connection.execute(sa.select(content.c.id).where(content.c.id.in_(block)))
            there.update(rows.scalars())
        absent = [pk for pk in ids if pk not in there]
        if absent:
            raise NotFoundError(f"no such contents (forgotten meanwhile?): {absent[:10]}")
