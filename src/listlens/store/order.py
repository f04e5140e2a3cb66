"""Which event of a photo was the last one: an older one that arrives later changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from listlens.store.by_keys import among
from listlens.store.database import Database, chunks
from listlens.store.event_rows import EventRecord, EventState, EventView, to_view
from listlens.store.old_marks import AT_ONCE, prune_marks
from listlens.store.stream_tables import event, latest

Subject = tuple[str, str, str]
"""(listing_id, photo_id, source); an empty photo_id is the listing itself."""

_SUBJECT = (latest.c.listing_id, latest.c.photo_id, latest.c.source)

BRING = ("photo.added", "photo.changed")
"""Kinds of event that bring a photo to look at."""


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

    def prune(self, before: datetime, limit: int = AT_ONCE) -> int:
        """Remove marks of photos deleted before a moment, and listings that are empty since then.

        See `listlens.store.old_marks.prune_marks`; returns how many marks went, up to `limit`.
        """
        return prune_marks(self._db, before, limit)

    def known_photos(self, listing_id: str, source: str) -> set[str]:
        """Return the photos of a listing that a source has told of and not deleted.

        Those whose events are still on their way are among them.
        """
        told = sa.select(latest.c.photo_id).where(
            latest.c.listing_id == listing_id,
            latest.c.source == source,
            latest.c.deleted + 0 == 0,  # the + keeps SQLite from walking all that is not deleted
        )
        coming = sa.select(event.c.photo_id).where(
            event.c.listing_id == listing_id, event.c.source == source, _on_its_way()
        )
        with self._db.read() as connection:
            return set(connection.execute(told.union(coming)).scalars()) - {""}

    def waiting(self, listing_id: str) -> int:
        """Return how many events of a listing and its photos are still on their way."""
        query = sa.select(sa.func.count()).where(event.c.listing_id == listing_id, _on_its_way())
        with self._db.read() as connection:
            return int(connection.execute(query).scalar_one())

    def photos_ahead(self, n_sample: int) -> tuple[int, list[EventView]]:
        """Return how many events that bring photos wait, and some of them, drawn by chance."""
        which = (event.c.state == EventState.WAITING.value, event.c.kind.in_(BRING))
        count = sa.select(sa.func.count()).where(*which)
        some = sa.select(event).where(*which).order_by(sa.func.random()).limit(n_sample)
        with self._db.read() as connection:
            n = int(connection.execute(count).scalar_one())
            return n, [to_view(row) for row in connection.execute(some)]

    def _known(self, records: Iterable[EventRecord]) -> dict[Subject, tuple[datetime, int, int]]:
        found: dict[Subject, tuple[datetime, int, int]] = {}
        with self._db.read() as connection:
            for block in chunks(dict.fromkeys(record.subject for record in records)):
                these = among(connection, _SUBJECT, block)
                for row in connection.execute(sa.select(latest).where(these)):
                    subject = (row.listing_id, row.photo_id, row.source)
                    found[subject] = (row.at, row.sequence, row.deleted)
        return found


def _on_its_way() -> sa.ColumnElement[bool]:
    return event.c.state.in_((EventState.WAITING.value, EventState.LEASED.value))


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
