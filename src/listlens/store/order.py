"""Which event of a photo was the last one: an older one that arrives later changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from listlens.store.database import Database, chunks
from listlens.store.event_rows import EventRecord
from listlens.store.stream_tables import latest

Subject = tuple[str, str, str]
"""(listing_id, photo_id, source); an empty photo_id is the listing itself."""


class Order:
    """The newest event of each subject that was applied, by its moment and sequence.

    At one moment and sequence a deletion wins, and of two others the one that came later.
    """

    def __init__(self, database: Database) -> None:
        self._db = database

    def stale(self, records: Sequence[EventRecord], deletes: Sequence[bool]) -> list[bool]:
        """Return for each event whether a newer one of its subject was applied already.

        Args:
            records: any number.
            deletes: for each, whether it deletes its subject.
        """
        known = self._known(records)
        return [
            record.subject in known and _rank(record, gone) < known[record.subject]
            for record, gone in zip(records, deletes, strict=True)
        ]

    def advance(self, records: Sequence[EventRecord], deletes: Sequence[bool]) -> list[bool]:
        """Note events as applied, and return for each whether it may be.

        To be called in the transaction (`Database.together`) that applies them: until it ends,
        nobody else can apply an event of the same subjects.

        Args:
            records: of each subject one.
            deletes: for each, whether it deletes its subject.
        """
        now = self._db.clock()
        rows = [_values(record, gone, now) for record, gone in zip(records, deletes, strict=True)]
        # In one order everywhere, so that two PostgreSQL writers cannot lock each other out.
        rows.sort(key=lambda row: (row["listing_id"], row["photo_id"], row["source"]))
        insert = self._db.insert(latest)
        new = insert.excluded
        newer = sa.or_(
            new.at > latest.c.at,
            sa.and_(new.at == latest.c.at, new.sequence > latest.c.sequence),
            sa.and_(
                new.at == latest.c.at,
                new.sequence == latest.c.sequence,
                new.deleted >= latest.c.deleted,
            ),
        )
        update = {c.name: new[c.name] for c in latest.c if not c.primary_key}
        keys = ["listing_id", "photo_id", "source"]
        upsert = insert.on_conflict_do_update(index_elements=keys, set_=update, where=newer)
        with self._db.together() as connection:
            self._db.bulk(connection, upsert, rows)
            known = self._known(records)
        return [
            _rank(record, gone) == known[record.subject]
            for record, gone in zip(records, deletes, strict=True)
        ]

    def prune(self, before: datetime) -> int:
        """Forget the order of photos that were deleted before a moment; return how many."""
        old = sa.and_(latest.c.deleted == 1, latest.c.applied_at < before)
        with self._db.write() as connection:
            return connection.execute(sa.delete(latest).where(old)).rowcount

    def _known(self, records: Iterable[EventRecord]) -> dict[Subject, tuple[datetime, int, int]]:
        found: dict[Subject, tuple[datetime, int, int]] = {}
        key = sa.tuple_(latest.c.listing_id, latest.c.photo_id, latest.c.source)
        with self._db.read() as connection:
            for block in chunks(dict.fromkeys(record.subject for record in records), 300):
                for row in connection.execute(sa.select(latest).where(key.in_(block))):
                    subject = (row.listing_id, row.photo_id, row.source)
                    found[subject] = (row.at, row.sequence, row.deleted)
        return found


def _rank(record: EventRecord, deletes: bool) -> tuple[datetime, int, int]:
    return record.at, record.sequence, int(deletes)


def _values(record: EventRecord, deletes: bool, now: datetime) -> dict[str, Any]:
    return {
        "listing_id": record.listing_id,
        "photo_id": record.photo_id,
        "source": record.source,
        "at": record.at,
        "sequence": record.sequence,
        "deleted": int(deletes),
        "applied_at": now,
    }
