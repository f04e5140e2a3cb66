"""Sums over the photos of each source and day that a model answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy import Connection

from listlens.store.by_keys import among
from listlens.store.database import Database
from listlens.store.watch_tables import drift

Key = tuple[int, str]
"""model_id and source."""

_LOCK = 0x64726966  # "drif"


@dataclass(frozen=True, slots=True)
class Sums:
    """What is kept of some photos.

    Args:
        photos: how many.
        sums: `(f,)` float64 of their rows, see `listlens.learn.reference`.
    """

    photos: int
    sums: NDArray[np.float64]

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.photos + other.photos, self.sums + other.sums)


@dataclass(frozen=True, slots=True)
class DaySums(Sums):
    """The sums of a day.

    Args:
        day: such as ``2026-11-26``.
        told_at: when an alert was given; None: none was.
    """

    day: str = ""
    told_at: datetime | None = None


class Drift:
    """Sums by model, source and day."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(self, more: Mapping[Key, Sums], day: str) -> None:
        """Add to a day's sums.

        To be called in the transaction (`Database.together`) of the results.
        """
        if not more:
            return
        with self._db.write() as connection:
            if not self._db.is_sqlite:  # writers take turns; they are about to do so in the outbox
                project = sa.func.hashtext(sa.func.current_schema())
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK, project)))
            known = self._today(connection, list(more), day)
            rows = [
                _values(key, day, known[key] + sums if key in known else sums)
                for key, sums in sorted(more.items(), key=lambda item: item[0])
            ]
            insert = self._db.insert(drift)
            new = {name: insert.excluded[name] for name in ("photos", "sums")}
            keys = ["model_id", "source", "day"]
            connection.execute(insert.on_conflict_do_update(index_elements=keys, set_=new), rows)

    def _today(self, connection: Connection, keys: list[Key], day: str) -> dict[Key, Sums]:
        mine = among(connection, (drift.c.model_id, drift.c.source), keys)
        query = sa.select(drift).where(mine, drift.c.day == day)
        return {
            (row.model_id, row.source): Sums(row.photos, np.frombuffer(row.sums, "<f8"))
            for row in connection.execute(query)
        }

    def of(self, model_id: int, since: str, source: str | None = None) -> dict[str, list[DaySums]]:
        """Return source to its days, the newest first.

        Args:
            model_id: whose answers.
            since: the first day, such as ``2026-11-20``.
            source: only this one.
        """
        query = sa.select(drift).where(drift.c.model_id == model_id, drift.c.day >= since)
        if source is not None:
            query = query.where(drift.c.source == source)
        found: dict[str, list[DaySums]] = {}
        with self._db.read() as connection:
            for row in connection.execute(query.order_by(drift.c.source, drift.c.day.desc())):
                sums = np.frombuffer(row.sums, "<f8")
                one = DaySums(row.photos, sums, row.day, row.told_at)
                found.setdefault(row.source, []).append(one)
        return found

    def sources(self) -> list[str]:
        """Return every source of which sums are kept, by name."""
        query = sa.select(drift.c.source).distinct().order_by(drift.c.source)
        with self._db.read() as connection:
            return list(connection.execute(query).scalars())

    def prune(self, before: str) -> int:
        """Remove days before one; return how many rows went."""
        with self._db.write() as connection:
            return connection.execute(sa.delete(drift).where(drift.c.day < before)).rowcount

    def note_told(self, model_id: int, source: str, day: str) -> bool:
        """Note that an alert was given; return whether it is the first of the day."""
        first = sa.update(drift).where(
            drift.c.model_id == model_id, drift.c.source == source, drift.c.day == day,
            drift.c.told_at.is_(None),
        )  # fmt: skip
        with self._db.write() as connection:
            return connection.execute(first.values(told_at=self._db.clock())).rowcount == 1


def _values(key: Key, day: str, sums: Sums) -> dict[str, Any]:
    return {
        "model_id": key[0],
        "source": key[1],
        "day": day,
        "photos": sums.photos,
        "sums": sums.sums.astype("<f8").tobytes(),
    }
