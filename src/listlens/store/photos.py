"""Photos, the listings they belong to, and the runs over a source that brought them in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from listlens.core.types import ListingRow, Reason, RejectedRow, Status
from listlens.store.by_keys import among
from listlens.store.database import Database, checked_id, chunks, clean_text
from listlens.store.listings import listing_pks, save_listings
from listlens.store.photo_rows import (
    VIEW,
    Key,
    KnownPhoto,
    PhotoRecord,
    PhotoView,
    to_known,
    to_values,
    to_view,
)
from listlens.store.schema import (
    former_content,
    ingest,
    listing,
    photo,
    rejected_row,
    source,
)
from listlens.store.tombstones import Tombstones

__all__ = ["Key", "KnownPhoto", "PhotoRecord", "PhotoView", "Photos"]

_PAIR = (photo.c.listing_id, photo.c.photo_key)


class Photos:
    """Photos and listings. Every method is one transaction; hand rows in batches of thousands."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._tombstones = Tombstones(database)

    def source(self, name: str, kind: str, location: str) -> int:
        """Register a source, or update where it lies; return its id. The name is its identity."""
        with self._db.write() as connection:
            insert = self._db.insert(source).values(
                name=checked_id(name, "source"),
                kind=kind,
                location=clean_text(location),
                created_at=self._db.clock(),
            )
            update = {"kind": insert.excluded.kind, "location": insert.excluded.location}
            connection.execute(insert.on_conflict_do_update(index_elements=["name"], set_=update))
            found = connection.execute(sa.select(source.c.id).where(source.c.name == name))
            return int(found.scalar_one())

    def begin_ingest(self, source_id: int) -> int:
        """Begin one run over a source; return its id."""
        row = {"source_id": source_id, "started_at": self._db.clock()}
        with self._db.write() as connection:
            found = connection.execute(sa.insert(ingest).values(row).returning(ingest.c.id))
            return int(found.scalar_one())

    def open_ingest(self, source_id: int) -> int:
        """Return the run over a source that was not finished, or begin one: a stream never ends."""
        query = sa.select(sa.func.max(ingest.c.id)).where(
            ingest.c.source_id == source_id, ingest.c.finished_at.is_(None)
        )
        with self._db.read() as connection:
            found = connection.execute(query).scalar()
        return self.begin_ingest(source_id) if found is None else int(found)

    def known(self, source_id: int, keys: Sequence[Key]) -> dict[Key, KnownPhoto]:
        """Return what is stored of these photos; absent keys are new."""
        query = (
            sa.select(photo, listing.c.external_id, listing.c.seller_id)
            .join(listing, photo.c.listing_id == listing.c.id)
            .where(photo.c.source_id == source_id)
        )
        found: dict[Key, KnownPhoto] = {}
        with self._db.read() as connection:
            for block in chunks(keys, 5000):
                pks = listing_pks(connection, {name for name, _ in block})
                pairs = [(pks[name], key) for name, key in block if name in pks]
                if not pairs:
                    continue
                for row in connection.execute(query.where(among(connection, _PAIR, pairs))):
                    known = to_known(row)
                    found[known.listing_id, known.photo_id] = known
        return found

    def forgotten(self, keys: Sequence[Key], sellers: Sequence[str | None] = ()) -> set[Key]:
        """Return those keys that were deleted on request and must not come back, in any source.

        Args:
            keys: (listing_id, photo_id).
            sellers: where known, the seller of each key, in the same order: new listings of a
                forgotten seller are found by it alone.

        Returns:
            The keys whose photo, listing or seller has a tombstone.
        """
        return self._tombstones.among(keys, sellers)

    def save(self, source_id: int, ingest_id: int, records: Sequence[PhotoRecord]) -> list[int]:
        """Insert or update photos and their listings, and mark them as seen in this run.

        Args:
            source_id: from `source`.
            ingest_id: from `begin_ingest`.
            records: of equal keys the last one counts.

        Returns:
            One photo_pk per record, in order.
        """
        if not records:
            return []
        now = self._db.clock()
        with self._db.write() as connection:
            pks = save_listings(self._db, connection, [r.row for r in records], now)
            pairs = [(pks[r.row.listing_id], r.row.photo_id) for r in records]
            before = _existing(connection, source_id, pairs)
            last = connection.execute(sa.select(sa.func.max(photo.c.id))).scalar() or 0
            latest = dict(zip(pairs, records, strict=True))
            rows = [to_values(latest[pair], source_id, ingest_id, pair[0], now) for pair in latest]
            self._db.bulk(connection, self._photo_upsert(), rows)
            self._remember_former(connection, before, latest)
            ids = {pair: pk for pair, (pk, _) in before.items()}
            ids |= _added(connection, source_id, last)
            rest = [pair for pair in latest if pair not in ids]  # another process was faster
            ids |= {p: pk for p, (pk, _) in _existing(connection, source_id, rest).items()}
        return [ids[pair] for pair in pairs]

    def touch(self, ingest_id: int, photo_pks: Sequence[int]) -> None:
        """Mark unchanged photos as seen in this run; one that was gone is back as it was."""
        back = sa.case(
            (photo.c.status != Status.GONE, photo.c.status),
            (photo.c.reason.is_not(None), Status.FAILED.value),
            (photo.c.content_id.is_not(None), Status.OK.value),
            else_=Status.PENDING.value,
        )
        update = (
            sa.update(photo)
            .where(photo.c.id == sa.bindparam("pk"))
            .values(last_ingest_id=ingest_id, status=back)
        )
        if photo_pks:
            with self._db.write() as connection:
                connection.execute(update, [{"pk": pk} for pk in photo_pks])

    def reject(self, source_id: int, ingest_id: int, rows: Sequence[RejectedRow]) -> None:
        """Store rows of the source that cannot be used. What was forgotten is not named again."""
        values = [
            {
                "ingest_id": ingest_id,
                "at": clean_text(row.at),
                "reason": row.reason.value,
                "detail": "" if row.reason is Reason.FORGOTTEN else clean_text(row.detail),
            }
            for row in rows
        ]
        if values:
            with self._db.write() as connection:
                connection.execute(sa.insert(rejected_row), values)

    def rejected(self, ingest_id: int | None = None, batch: int = 1000) -> Iterator[RejectedRow]:
        """Yield the rejected rows of one run, or of the latest run over every source."""
        if ingest_id is None:
            latest = sa.select(sa.func.max(ingest.c.id)).group_by(ingest.c.source_id)
            query = sa.select(rejected_row).where(rejected_row.c.ingest_id.in_(latest))
        else:
            query = sa.select(rejected_row).where(rejected_row.c.ingest_id == ingest_id)
        for row in _pages(self._db, query, rejected_row.c.id, batch):
            yield RejectedRow(row.at, Reason(row.reason), row.detail)

    def save_listings(self, rows: Sequence[ListingRow]) -> None:
        """Insert or update listings that come without a photo."""
        with self._db.write() as connection:
            save_listings(self._db, connection, rows, self._db.clock())

    def finish_ingest(self, ingest_id: int) -> int:
        """End a run: photos of its source that it did not see become GONE; return how many."""
        now = self._db.clock()
        with self._db.write() as connection:
            which = sa.select(ingest.c.source_id).where(ingest.c.id == ingest_id)
            gone = connection.execute(
                sa.update(photo)
                .where(photo.c.source_id == which.scalar_subquery())
                .where(photo.c.last_ingest_id != ingest_id)
                .where(photo.c.status != Status.GONE)
                .values(status=Status.GONE.value, updated_at=now)
            ).rowcount
            done = {"finished_at": now, "n_gone": gone}
            connection.execute(sa.update(ingest).where(ingest.c.id == ingest_id).values(done))
            return gone

    def scan(
        self,
        *,
        status: Status | None = None,
        source_id: int | None = None,
        listing_id: str | None = None,
        batch: int = 1000,
    ) -> Iterator[PhotoView]:
        """Yield photos in the order they first came in (by photo_pk); memory stays flat.

        Every page is a query of its own, so rows may be saved while scanning.
        """
        query = VIEW
        if status is not None:
            query = query.where(photo.c.status == status.value)
        if source_id is not None:
            query = query.where(photo.c.source_id == source_id)
        if listing_id is not None:
            query = query.where(listing.c.external_id == listing_id)
        yield from map(to_view, _pages(self._db, query, photo.c.id, batch))

    def by_photo_id(self, photo_ids: Iterable[str]) -> dict[str, list[PhotoView]]:
        """Return the photos with each of these photo ids, of any listing and source."""
        found: dict[str, list[PhotoView]] = {}
        with self._db.read() as connection:
            for block in chunks(dict.fromkeys(photo_ids)):
                query = VIEW.where(photo.c.photo_key.in_(block)).order_by(photo.c.id)
                for view in map(to_view, connection.execute(query)):
                    found.setdefault(view.photo_id, []).append(view)
        return found

    def by_content(
        self, content_ids: Iterable[int], *, status: Status = Status.OK
    ) -> dict[int, list[PhotoView]]:
        """Return the photos of a status that show each of these contents; others have no key."""
        found: dict[int, list[PhotoView]] = {}
        query = VIEW.where(photo.c.status == status.value).order_by(photo.c.id)
        with self._db.read() as connection:
            for block in chunks(dict.fromkeys(content_ids)):
                for row in connection.execute(query.where(photo.c.content_id.in_(block))):
                    found.setdefault(row.content_id, []).append(to_view(row))
        return found

    def counts(self) -> dict[str, int]:
        """Return how many photos stand where: `ok`, `failed`, ... and `failed:truncated`, ...

        Every status has its key, 0 included; a reason has one where it occurs.
        """
        number = sa.func.count()
        query = sa.select(photo.c.status, photo.c.reason, number).group_by(
            photo.c.status, photo.c.reason
        )
        counts = {status.value: 0 for status in Status}
        with self._db.read() as connection:
            for status, reason, n in connection.execute(query):
                counts[status] += n
                if status == Status.FAILED and reason:
                    counts[f"{status}:{reason}"] = n
        return counts

    def listing(self, listing_id: str) -> dict[str, Any] | None:
        """Return `listing_id`, `seller_id`, `attributes` and `listing_pk`, or None."""
        with self._db.read() as connection:
            query = sa.select(listing).where(listing.c.external_id == listing_id)
            row = connection.execute(query).first()
        if row is None:
            return None
        return {
            "listing_id": row.external_id,
            "seller_id": row.seller_id,
            "attributes": row.attributes or {},
            "listing_pk": row.id,
        }

    def attributes(self, batch: int = 1000) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield (listing_id, attributes) of the listings that have any."""
        query = sa.select(listing).where(listing.c.attributes.is_not(None))
        for row in _pages(self._db, query, listing.c.id, batch):
            if row.attributes:
                yield row.external_id, row.attributes

    def _photo_upsert(self) -> sa.Insert:
        insert = self._db.insert(photo)
        fixed = {"id", "source_id", "listing_id", "photo_key", "created_at"}
        update = {c.name: insert.excluded[c.name] for c in photo.c if c.name not in fixed}
        keys = ["source_id", "listing_id", "photo_key"]
        return insert.on_conflict_do_update(index_elements=keys, set_=update)

    def _remember_former(
        self,
        connection: Connection,
        before: Mapping[tuple[int, str], tuple[int, int | None]],
        records: Mapping[tuple[int, str], PhotoRecord],
    ) -> None:
        """Keep the link to bytes that a photo no longer shows, so that forgetting reaches them."""
        rows = [
            {"photo_id": pk, "content_id": content_id}
            for pair, (pk, content_id) in before.items()
            if content_id is not None and records[pair].content_id != content_id
        ]
        if rows:
            connection.execute(self._db.insert(former_content).on_conflict_do_nothing(), rows)


def _existing(
    connection: Connection, source_id: int, pairs: Iterable[tuple[int, str]]
) -> dict[tuple[int, str], tuple[int, int | None]]:
    """Return (photo_pk, content_id) by (listing pk, photo id)."""
    columns = (photo.c.listing_id, photo.c.photo_key, photo.c.id, photo.c.content_id)
    query = sa.select(*columns).where(photo.c.source_id == source_id)
    found: dict[tuple[int, str], tuple[int, int | None]] = {}
    for block in chunks(dict.fromkeys(pairs), 5000):
        rows = connection.execute(query.where(among(connection, _PAIR, block)))
        for listing_pk, key, pk, content_id in rows:
            found[listing_pk, key] = (pk, content_id)
    return found


def _added(connection: Connection, source_id: int, after: int) -> dict[tuple[int, str], int]:
    """Return photos of a source that are newer than an id: photo_pk by (listing pk, photo id)."""
    query = sa.select(photo.c.listing_id, photo.c.photo_key, photo.c.id)
    # The + keeps SQLite from walking the source's whole index instead of the new ids.
    rows = connection.execute(query.where(photo.c.id > after, photo.c.source_id + 0 == source_id))
    return {(listing_pk, key): pk for listing_pk, key, pk in rows}


def _pages(database: Database, query: Any, key: Any, batch: int) -> Iterator[Any]:
    """Yield rows page by page in the order of `key`; no connection is held in between."""
    last = 0
    while True:
        with database.read() as connection:
            page = connection.execute(query.where(key > last).order_by(key).limit(batch)).all()
        yield from page
        if len(page) < batch:
            return
        last = page[-1].id
